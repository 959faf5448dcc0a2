"""Printing why the book said no: every limit in the way, and whether waiting helps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ledger.cli.books import counted
from ledger.cli.options import Format

if TYPE_CHECKING:
    from ledger.errors import Blocked

__all__ = ["telling_refusals"]

BLOCKING_CSV = ("kind", "limit", "group", "needed", "available", "held", "retryable", "frees_at")


@contextmanager
def telling_refusals(format_: Format, *, book: str, job: str) -> Iterator[None]:
    """Let a refusal say all it knows: on stdout as data, or with its message as lines.

    Raises:
        InsufficientCredits, BudgetExceeded: the refusal itself, once it is told.
    """
    from ledger.cli.output import emit_json, print_csv
    from ledger.documents import refusal_document
    from ledger.errors import BudgetExceeded, InsufficientCredits

    try:
        yield
    except (InsufficientCredits, BudgetExceeded) as error:
        document = refusal_document(error, book=book, job=job)
        if format_ is Format.JSON:
            emit_json("refusal", document)
        elif format_ is Format.CSV:
            rows = ([dict(item)[name] for name in BLOCKING_CSV] for item in document["blocking"])
            print_csv(BLOCKING_CSV, rows)
        else:
            for item, blocked in zip(document["blocking"], error.blocking, strict=True):
                error.add_note(_line(item["kind"], blocked, error.wallet))
        raise


def _line(kind: str, blocked: Blocked, wallet: str) -> str:
    """One limit in the way.

    >>> from ledger.errors import Blocked
    >>> item = Blocked("day", "user=li", 500_000_000, 100_000_000, 0, False, None)
    >>> _line("budget", item, "studio")
    "budget 'day', the share of user=li: needs 5 credits, has 1, 0 held; waiting does not help"
    """
    from ledger.units import show_credits

    limit = f"budget {blocked.limit!r}" if kind == "budget" else f"wallet {wallet!r}"
    whose = f", the share of {blocked.group}" if blocked.group else ""
    figures = (
        f"needs {counted(blocked.needed_e8)}, has {show_credits(blocked.available_e8)},"
        f" {show_credits(blocked.held_e8)} held"
    )
    return f"{limit}{whose}: {figures}; {_helps(kind, blocked)}"


def _helps(kind: str, blocked: Blocked) -> str:
    """Whether trying again helps, and when."""
    if blocked.frees_at is not None:
        earlier = ", or earlier if open holds give back enough" if blocked.held_e8 else ""
        return f"trying again helps from {blocked.frees_at}{earlier}"
    if blocked.retryable:
        return "trying again helps once open holds have given back enough"
    return f"waiting does not help{', a top-up does' if kind == 'credits' else ''}"

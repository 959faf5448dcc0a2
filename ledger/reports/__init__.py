"""Questions to a book, answered in rows: usage, variance, budgets, balances, and the month's pack.

`ask` says of which book and time, `make` makes one of the reports of `CATALOGUE`. Reports need the
extra `data`.
"""

from typing import TYPE_CHECKING, Any

from ledger.reports.catalogue import CATALOGUE, make

if TYPE_CHECKING:
    from ledger.reports.asking import Asked, ask

__all__ = ["CATALOGUE", "Asked", "ask", "make"]


def __getattr__(name: str) -> Any:
    # The command line lists the reports, and must not load a database for that.
    if name in {"Asked", "ask"}:
        from ledger.reports import asking  # noqa: PLC0415

        return getattr(asking, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

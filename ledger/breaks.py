"""What comparing a book with the provider's bill leaves behind: comparisons, and their breaks.

A break is a difference with a name of its own, worked out from what it is about. The same break
found again is the same row; what a person said of it stays.
"""

from __future__ import annotations

import json
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from ledger.records import moment
from ledger.units import e8_to_credits

__all__ = [
    "AGE_BUCKETS",
    "BREAK_KINDS",
    "BREAK_STATUSES",
    "BreakRecord",
    "BreakStatus",
    "Kept",
    "Reconciled",
    "ReconciledState",
    "ReconciliationRecord",
    "age_bucket",
]

BREAK_KINDS = (
    "missing_here",
    "missing_there",
    "amount",
    "billed_seconds",
    "option",
    "price_version",
    "rounding",
    "unit_scale",
    "duplicate_charge",
    "charged_though_failed",
    "refund_missing",
    "refund_amount",
    "never_settled",
    "late_charge",
    "cut_off",
    "exchange_rate",
)
"""Every way in which a book and a bill may differ."""

BreakStatus = Literal["open", "explained", "adjusted", "written_off", "cleared"]
"""open; explained (right as it is); adjusted (an entry corrects it); written_off (borne);
cleared (a later comparison did not find it any more)."""

BREAK_STATUSES: tuple[BreakStatus, ...] = (
    "open",
    "explained",
    "adjusted",
    "written_off",
    "cleared",
)

AGE_BUCKETS = ("0-1", "2-7", "8-30", "31-60", "> 60")
"""Ages of breaks in whole days."""

_LAST_DAYS = (1, 7, 30, 60)
_DAY_US = 86_400_000_000

ReconciledState = Literal["reconciled", "open breaks", "not yet"]


class BreakRecord(NamedTuple):
    """A break as the book keeps it; see `ledger.tables.BreakRow`."""

    book: str
    id: str
    kind: str
    """One of `BREAK_KINDS`."""
    wallet: str | None
    job: str | None
    task: str | None
    ours_e8: int | None
    """What the book says; None where it knows nothing of it."""
    theirs_e8: int | None
    """What the bill says; None where it says nothing."""
    difference_e8: int
    """Theirs less ours: above zero where the bill asks for more."""
    happened_at_us: int
    cause: str | None
    """What explains the difference to the last digit, if anything does."""
    evidence: str
    """JSON object: what both sides say, and what was tried."""
    status: str
    owner: str | None
    note: str | None
    closed_by: str | None
    """The entry that corrected it, as `kind:key`."""
    since_us: int
    until_us: int
    """The period whose comparison found it."""
    found_seq: int
    """The comparison that found it first."""
    seen_seq: int
    """The latest comparison that found it."""
    changed_at_us: int

    @property
    def ours(self) -> Decimal | None:
        """Credits in the book."""
        return None if self.ours_e8 is None else e8_to_credits(self.ours_e8)

    @property
    def theirs(self) -> Decimal | None:
        """Credits on the bill."""
        return None if self.theirs_e8 is None else e8_to_credits(self.theirs_e8)

    @property
    def difference(self) -> Decimal:
        """Credits on the bill less those in the book."""
        return e8_to_credits(self.difference_e8)

    @property
    def happened_at(self) -> datetime:
        """When what it is about happened."""
        return moment(self.happened_at_us)

    @property
    def details(self) -> dict[str, Any]:
        """`evidence`, read."""
        found: dict[str, Any] = json.loads(self.evidence)
        return found

    def age_at(self, now_us: int) -> str:
        """One of `AGE_BUCKETS`."""
        return age_bucket(self.happened_at_us, now_us)


class ReconciliationRecord(NamedTuple):
    """One comparison of a period; see `ledger.tables.ReconciliationRow`."""

    book: str
    seq: int
    since_us: int
    until_us: int
    digest: bytes
    options: str
    result: str
    recorded_at_us: int

    @property
    def since(self) -> datetime:
        """First moment of the period."""
        return moment(self.since_us)

    @property
    def until(self) -> datetime:
        """First moment after it."""
        return moment(self.until_us)

    @property
    def figures(self) -> dict[str, Any]:
        """`result`, read."""
        found: dict[str, Any] = json.loads(self.result)
        return found


class Kept(NamedTuple):
    """What keeping a comparison changed."""

    reconciliation: ReconciliationRecord
    new: int
    """Breaks that were not known before, or are open again: cleared ones, and others' sums."""
    known: int
    """Breaks that an earlier comparison had found."""
    cleared: int
    """Open breaks of the period that this comparison did not find any more."""
    breaks: tuple[BreakRecord, ...]
    """The breaks it found as they now stand, in the order they were given."""
    others: tuple[BreakRecord, ...]
    """Open breaks of the period that this comparison cannot clear: they were found over a longer
    one, or about purchases while no invoices were compared now. The period has them all the same.
    """
    replayed: bool
    """Whether the very same comparison with the same outcome was kept before; nothing changed."""


class Reconciled(NamedTuple):
    """Whether the figures of a period agree with the provider's bill."""

    state: ReconciledState
    """reconciled; open breaks: compared, and breaks are open; not yet: not compared, or charged or
    refunded since without a correction of a break."""
    open_breaks: int
    difference_e8: int
    """Sum of the open breaks' differences."""
    reconciliation: int | None
    """The latest of the comparisons that cover the period, alone or together."""
    changed: int = 0
    """How many charges and refunds of the period came after them."""

    @property
    def difference(self) -> Decimal:
        """Credits on the bill less those in the book, over all open breaks."""
        return e8_to_credits(self.difference_e8)


def age_bucket(happened_at_us: int, now_us: int) -> str:
    """How old a break is, by the whole days that have passed.

    >>> day = 86_400_000_000
    >>> [age_bucket(0, days * day) for days in (0, 1, 2, 7, 8, 30, 31, 60, 61)]
    ['0-1', '0-1', '2-7', '2-7', '8-30', '8-30', '31-60', '31-60', '> 60']
    """
    days = (now_us - happened_at_us) // _DAY_US
    place = sum(days > last for last in _LAST_DAYS)
    return AGE_BUCKETS[place]

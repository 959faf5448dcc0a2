"""The JSON about closed periods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from typing_extensions import TypedDict

from ledger.records import closed_periods
from ledger.units import iso

if TYPE_CHECKING:
    from ledger.records import Period

__all__ = [
    "ClosedPeriodDocument",
    "PeriodDocument",
    "PeriodsDocument",
    "period_document",
    "periods_document",
]


class PeriodDocument(TypedDict):
    """A period that was closed (`close`) or opened again (`reopen`)."""

    seq: int
    """Its place among all closings and reopenings of the book, from 1."""
    action: str
    name: str
    start: str
    end: str
    timezone: str
    reconciliation: int | None
    """The latest of the comparisons that it was closed on."""
    reason: str | None
    recorded_at: str


class ClosedPeriodDocument(TypedDict):
    """Data of `kling-ledger/period/v1`: what a command closed or reopened."""

    book: str
    period: PeriodDocument
    replayed: bool
    """Whether it was so before, and nothing was written."""


class PeriodsDocument(TypedDict):
    """Data of `kling-ledger/periods/v1`: every closing and reopening, in order."""

    book: str
    closed_until: str | None
    """Nothing happens before this moment any more; what is told later counts later."""
    periods: list[PeriodDocument]


def period_document(period: Period) -> PeriodDocument:
    """A closing or reopening as JSON."""
    return {
        "seq": period.seq,
        "action": period.action,
        "name": period.name,
        "start": iso(period.start),
        "end": iso(period.end),
        "timezone": period.timezone,
        "reconciliation": period.reconciliation,
        "reason": period.reason,
        "recorded_at": iso(period.recorded_at),
    }


def periods_document(book: str, periods: Sequence[Period]) -> PeriodsDocument:
    """All closings and reopenings of a book as JSON."""
    closed = closed_periods(periods)
    return {
        "book": book,
        "closed_until": iso(closed[-1].end) if closed else None,
        "periods": [period_document(period) for period in periods],
    }

"""Reports of one moment: the book as it stood then, or stands now."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from ledger.records import WalletRecord, moment, us
from ledger.reports.asking import Asked
from ledger.reports.report import Report
from ledger.spans import Span
from ledger.store import Session
from ledger.units import iso

__all__ = ["at_one_moment", "now_us", "wallets_then"]


def now_us(asked: Asked) -> int:
    """The moment that a report of one moment is of: `as_of`, or what the book's clock says."""
    return us(asked.book.now()) if asked.as_of_us is None else asked.as_of_us


def at_one_moment(report: Report, at_us: int) -> Report:
    """A report that says of which moment it is, by what was recorded before it."""
    span = Span(f"on {iso(moment(at_us))}", at_us, at_us + 1, report.asked.timezone)
    return replace(report, asked=replace(report.asked, by="recorded"), span=span)


def wallets_then(session: Session, asked: Asked) -> Iterator[tuple[WalletRecord, int]]:
    """The wallets that are asked about, each with its last entry that is known."""
    for record in session.wallet_records(asked.book.book):
        if asked.wallet is None or record.id == asked.wallet:
            place = record.seq
            if asked.as_of_us is not None:
                place, _, _ = session.recorded_before(record, asked.as_of_us)
            yield record, place

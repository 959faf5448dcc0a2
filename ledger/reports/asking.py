"""What is asked of a book: which stretch of time, by which clock, and as known when."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, TypeVar

from ledger.book import Book
from ledger.records import By, us
from ledger.spans import Span, named_moment, zone
from ledger.store.moves import Reach, entries_at

__all__ = ["EVER_US", "Asked", "ask"]

T = TypeVar("T")

EVER_US = 2**62
"""Before this moment is everything, and nothing is before its negative."""


@dataclass(frozen=True)
class Asked:
    """A question to a book, before it is said what about."""

    book: Book
    span: Span | None
    """The stretch of time; None for all of it."""
    by: By
    """Whether an entry counts when it happened, or when it was recorded."""
    as_of_us: int | None
    """Only what was recorded before this moment is known; None for everything."""
    wallet: str | None
    timezone: str
    """Where days begin."""
    against: Span | None
    """Another stretch of time, that this one is held against."""
    known_until_us: int | None
    """When the last entry that is known was recorded; None where none is."""

    kept: dict[Hashable, Any] | None = field(default=None, compare=False, repr=False)
    """What was read before, for several reports of one question; None keeps nothing."""

    def once(self, name: str, read: Callable[[], T]) -> T:
        """What `read` gives; read but once where it is kept."""
        if self.kept is None:
            return read()
        key = (name, self.reach, self.timezone)
        if key not in self.kept:
            self.kept[key] = read()
        found: T = self.kept[key]
        return found

    @property
    def reach(self) -> Reach:
        """Which entries count."""
        since_us, until_us = (-EVER_US, EVER_US) if self.span is None else self.span[1:3]
        before_us = EVER_US if self.as_of_us is None else self.as_of_us
        return Reach(since_us, until_us, self.by, before_us, self.wallet)


def ask(
    book: Book,
    *,
    span: Span | None = None,
    by: By = "happened",
    as_of: datetime | date | str | None = None,
    wallet: str | None = None,
    timezone: str = "UTC",
    against: Span | None = None,
) -> Asked:
    """A question to a book.

    Args:
        book: which one.
        span: the stretch of time, such as of `ledger.spans.span_of`; all of it, if None.
        by: whether an entry counts when it `happened` or when it was `recorded`.
        as_of: count only what was recorded before this moment, so that a report of last month can
            be made again as it was.
        wallet: only of this wallet.
        timezone: where days begin, if there is no span that says it.
        against: another span, for a report that compares two.

    Raises:
        InvalidEntry: no such time zone; the moment; the wallet's name.
        UnknownWallet: there is no such wallet.
    """
    timezone = zone(timezone).key if span is None else span.timezone
    as_of_us = None if as_of is None else us(named_moment(as_of, timezone, "as_of"))
    if wallet is not None:
        book.balance(wallet)
    return Asked(book, span, by, as_of_us, wallet, timezone, against, _known_us(book, as_of_us))


def _known_us(book: Book, as_of_us: int | None) -> int | None:
    """When the last entry of a book was recorded, or the last before a moment."""
    with book.looking() as session:
        records = list(session.wallet_records(book.book))
        recorded = [record.recorded_at_us for record in records]
        if as_of_us is not None:
            recorded = [at_us for at_us in recorded if at_us < as_of_us]
            later = [record for record in records if record.recorded_at_us >= as_of_us]
            places = [(each.id, session.recorded_before(each, as_of_us)[0]) for each in later]
            last = entries_at(session, book.book, [place for place in places if place[1]])
            recorded += [entry.recorded_at_us for entry in last]
    return max(recorded, default=None)

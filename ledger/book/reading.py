"""Looking into a book: balances, statements, holds, budgets and proofs; nothing here writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar, get_args

from sqlalchemy import Engine

from ledger.book.items import Reserve, When
from ledger.book.moving import Copied, copy_book
from ledger.book.verify import Verification, verify
from ledger.book.work import Asked, Telling
from ledger.budgets import Budget, BudgetStatus, counting, statuses
from ledger.errors import Fault, InvalidEntry, UnknownBudget, UnknownJob, UnknownWallet
from ledger.lots import lapsable
from ledger.records import (
    Balance,
    By,
    Entry,
    Hold,
    InboxRecord,
    Lot,
    Period,
    Statement,
    StatementLine,
    TrialLine,
    WalletRecord,
    moment,
    name,
    us,
)
from ledger.store import Session, Store, Transient
from ledger.store.periods import all_periods
from ledger.units import credits_to_e8, parse_moment

__all__ = ["STATES", "Clock", "Cut", "Reader", "cut_before"]

Clock = Callable[[], datetime]
T = TypeVar("T")

STATES = ("open", "unknown", "charged", "released")
"""States of a hold that one may ask for; `unknown` is open and past its deadline."""

_EVER_US = 2**62
"""Before this moment is everything, and nothing is before its negative."""


class Reader:
    """The reading half of a book."""

    def __init__(self, store: Store, book: str, clock: Clock | None) -> None:
        self.book = name(book, "the book")
        self._clock = clock
        self._store = store

    def __enter__(self) -> Self:
        """The book itself; it closes at the end."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every connection."""
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._store.close()

    @property
    def engine(self) -> Engine:
        """The database, for a service's own rows beside the book; see `join`."""
        return self._store.engine

    def now(self) -> datetime:
        """What the book's clock says."""
        return moment(self._now_us())

    @contextmanager
    def looking(self) -> Iterator[Session]:
        """A snapshot of the whole book for reading in bulk, which blocks nobody."""
        with self._store.reading() as session:
            yield session

    def books(self) -> list[str]:
        """The books of this database that have a wallet or a message, by name."""
        with self._store.reading() as session:
            return session.book_names()

    # Wallets

    def lots(self, wallet: str) -> list[Lot]:
        """Everything that came into a wallet, oldest first: what it cost, what is left of it.

        Raises:
            InvalidEntry: what was given.
            UnknownWallet: there is no such wallet.
        """
        with self._store.reading() as session:
            self._known(session, wallet)
            return session.lots(self.book, wallet, complete=True)

    def wallets(self) -> list[Balance]:
        """What every wallet of the book holds now, by name."""
        now_us = self._now_us()
        with self._store.reading() as session:
            return [
                _balance(session, record, now_us) for record in session.wallet_records(self.book)
            ]

    def balance(self, wallet: str, *, before: When = None, by: By = "recorded") -> Balance:
        """What a wallet holds now, or held before a moment; cheap whatever its age.

        Args:
            wallet: its name.
            before: count only what was recorded, or happened, before this moment.
            by: which of the two times is meant.

        Raises:
            InvalidEntry, InvalidMoment: what was given.
            UnknownWallet: there is no such wallet.

        >>> from ledger.book import Book
        >>> with Book("sqlite://") as book:
        ...     _ = book.top_up("studio", 100, key="invoice-1", at="2026-10-01")
        ...     _ = book.top_up("studio", 20, key="invoice-2", at="2026-11-01")
        ...     print(book.balance("studio", before="2026-11-01", by="happened").posted)
        100
        """
        before_us = _moment_us(before)
        _known_by(by)
        if before_us is None and (found := self._glance(wallet)) is not None:
            return found
        with self._store.reading() as session:
            record = self._known(session, wallet)
            if before_us is None:
                return _balance(session, record, self._now_us())
            return _balance_before(session, record, before_us, by)

    def statement(
        self,
        wallet: str,
        *,
        since: When = None,
        until: When = None,
        by: By = "recorded",
    ) -> Statement:
        """The entries of a wallet from one moment up to and without another, with balances.

        Opening and closing are the balances before `since` and before `until`.

        Raises:
            InvalidEntry, InvalidMoment: what was given; `until` before `since`.
            UnknownWallet: there is no such wallet.
        """
        since_us, until_us = _moment_us(since), _moment_us(until)
        _known_by(by)
        if since_us is not None and until_us is not None and until_us < since_us:
            raise InvalidEntry("statement", [Fault("until", "lies before since")])
        with self._store.reading() as session:
            record = self._known(session, wallet)
            return _statement(session, record, since_us, until_us, by)

    def trial_balance(self, *, before: When = None, by: By = "recorded") -> list[TrialLine]:
        """What every account gave and got, net, and what is owed to the owners of the wallets.

        Debits and credits add up to the same, unless the book was tampered with: the wallets' line
        comes from their running balances, the others from the movements of all entries.

        Raises:
            InvalidEntry, InvalidMoment: what was given.

        >>> from ledger.book import Book
        >>> with Book("sqlite://") as book:
        ...     _ = book.top_up("studio", 100, key="invoice-1")
        ...     for line in book.trial_balance():
        ...         print(line.account, line.debit, line.credit)
        funding 100 0
        wallets 0 100
        """
        before_us = _moment_us(before)
        _known_by(by)
        with self._store.reading() as session:
            if before_us is None:
                wallets_e8 = session.posted_now(self.book)
            else:
                wallets_e8 = session.posted_before(self.book, before_us, by=by)
            until_us = _EVER_US if before_us is None else before_us
            moved = session.moved_by_account(self.book, until_us, by=by)
        # What came into the wallets from an account is a debit of it, and a credit of theirs.
        nets = [*((account, posted_e8) for account, posted_e8 in moved), ("wallets", -wallets_e8)]
        return [TrialLine(account, max(0, net_e8), max(0, -net_e8)) for account, net_e8 in nets]

    # Jobs

    def holds(
        self, *, wallet: str | None = None, state: str | None = None, limit: int = 1000
    ) -> list[Hold]:
        """Holds of the book or of one wallet.

        Args:
            wallet: only of this wallet.
            state: `open` before their deadline or `unknown` past it, both in the order of
                deadlines; `charged` or `released` or, if None, all, in the order of jobs.
            limit: how many at most.

        Raises:
            InvalidEntry: what was given; there is no such state.
            UnknownWallet: there is no such wallet.
        """
        if state is not None and state not in STATES:
            problem = f"must be one of {', '.join(STATES)}, not {str(state)[:40]!r}"
            raise InvalidEntry("state", [Fault("", problem)])
        if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
            raise InvalidEntry("limit", [Fault("", "must be a whole number from 1 on")])
        with self._store.reading() as session:
            if wallet is not None:
                self._known(session, wallet)
            return session.holds_in(
                self.book, state, now_us=self._now_us(), wallet=wallet, limit=limit
            )

    def hold(self, job: str) -> Hold:
        """The hold of a job.

        Raises:
            InvalidEntry: what was given.
            UnknownJob: there is no such hold.
        """
        return self._look(lambda session: self._known_hold(session, job))

    def history(self, job: str) -> list[Entry]:
        """Every entry about a job, in order.

        Raises:
            InvalidEntry: what was given.
            UnknownJob: there is no such hold.
        """
        with self._store.reading() as session:
            hold = self._known_hold(session, job)
            return session.entries_of(hold)

    def inbox(self, *, discarded: bool = False) -> list[InboxRecord]:
        """The messages that wait for the reserve of their job, or for a person, oldest first.

        With `discarded`, those that a person has closed instead.
        """
        with self._store.reading() as session:
            return session.inbox(self.book, discarded=discarded)

    # Periods

    def periods(self) -> list[Period]:
        """Everything that was closed or reopened, in order.

        `records.closed_periods` says what is closed by it now.
        """
        with self._store.reading() as session:
            return all_periods(session, self.book)

    # Budgets

    def budgets(self, wallet: str) -> list[Budget]:
        """The budgets in force, by name.

        Raises:
            InvalidEntry: what was given.
            UnknownWallet: there is no such wallet.
        """
        with self._store.reading() as session:
            return session.budgets(self.book, self._known(session, wallet).id)

    def budget_status(self, wallet: str, *, title: str | None = None) -> list[BudgetStatus]:
        """How full budgets are now: a row each, or one per share that has a level.

        Raises:
            InvalidEntry: what was given.
            UnknownWallet: there is no such wallet.
            UnknownBudget: the wallet has no budget of that name.
        """
        now_us = self._now_us()
        with self._store.reading() as session:
            found = session.budgets(self.book, self._known(session, wallet).id)
            wanted = [item for item in found if title is None or item.name == title]
            if title is not None and not wanted:
                raise UnknownBudget(wallet, title, known=[item.name for item in found])
            return [
                status
                for item in wanted
                for status in statuses(item, _levels(session, item, now_us), now_us)
            ]

    # Proof

    def copy_to(self, url: str) -> Copied:
        """Copy the book to another database, such as from SQLite to PostgreSQL.

        One snapshot is copied in one transaction and verified before it is committed. Whoever
        writes in the meantime writes to the old database only, so let them stop first.

        Raises:
            InvalidEntry, MissingExtra: the URL.
            StoreUnavailable, NotALedger, NeedsMigration, NewerStore: what is there.
            StoreError: it has a book of this name already.
            VerificationFailed: this book does not agree with itself; nothing was copied.
        """
        target = Store(url)
        try:
            return copy_book(self._store, target, self.book, self.telling)
        finally:
            target.close()

    def verify(self) -> Verification:
        """Replay every entry and compare everything that follows from them.

        `findings` is empty where the book agrees with itself; the first one stands first.
        """
        with self._store.reading() as session:
            return verify(session, self.book, self.telling)

    # What the book must be told about prices and tasks

    telling: Telling | None = None
    """What messages about tasks mean; a plain book has none."""

    def asked(self, item: Reserve) -> Asked:
        """The credits a reserve asks for."""
        return Asked(credits_to_e8(item.amount), item.labels, None)

    def bill(self, price: Mapping[str, Any] | None, seconds: str | None) -> int:  # noqa: ARG002
        """A plain book knows no prices.

        Raises:
            InvalidEntry: always.
        """
        problem = "needs the credits charged: the hold carries no price to work them out with"
        raise InvalidEntry("charge", [Fault("", problem)])

    def _now_us(self) -> int:
        return us(datetime.now(UTC) if self._clock is None else self._clock())

    def _look(self, read: Callable[[Session], T]) -> T:
        """One statement without a transaction; again, if the connection turns out to be lost."""
        try:
            with self._store.single() as session:
                return read(session)
        except Transient:
            with self._store.reading() as session:
                return read(session)

    def _glance(self, wallet: str) -> Balance | None:
        """The balance from the wallet's row alone; None where lots must be looked at as well."""
        record = self._look(lambda session: self._known(session, wallet))
        now_us = self._now_us()
        if record.expires_at_us is not None and record.expires_at_us <= now_us:
            return None
        return _balance_of(record, 0)

    def _known(self, session: Session, wallet: str) -> WalletRecord:
        """The wallet's row; raises UnknownWallet with the nearest names."""
        found = session.wallet(self.book, name(wallet, "the wallet"), lock=False)
        if found is None:
            nearest = session.similar_wallets(self.book, wallet)
            raise UnknownWallet(wallet, book=self.book, nearest=nearest)
        return found

    def _known_hold(self, session: Session, job: str) -> Hold:
        """The hold of a job; raises UnknownJob with similar names."""
        found = session.hold(self.book, name(job, "the job"))
        if found is None or found.wallet is None:
            raise UnknownJob(job, book=self.book, nearest=session.similar_jobs(self.book, job))
        return found


# Moments


def _moment_us(when: When) -> int | None:
    return None if when is None else us(parse_moment(when))


def _known_by(by: str) -> None:
    if by not in get_args(By):
        problem = f"must be one of {', '.join(get_args(By))}, not {str(by)[:40]!r}"
        raise InvalidEntry("by", [Fault("", problem)])


class Cut(NamedTuple):
    """The entries of a wallet that count before a moment, and what they add up to.

    Entries are recorded in the order of their places, so what was recorded before a moment is
    everything up to one place. What happened before it is all that, because nothing is recorded
    before it happens, and some of the entries behind that place, which came late.
    """

    place: int
    """The last entry that was recorded before the moment."""
    last_seq: int
    """The last entry that counts."""
    posted_e8: int
    held_e8: int


def cut_before(session: Session, record: WalletRecord, before_us: int, by: By) -> Cut:
    """What counts of a wallet before a moment."""
    place, posted_e8, held_e8 = record.seq, record.posted_e8, record.held_e8
    if record.recorded_at_us >= before_us:
        place, posted_e8, held_e8 = session.recorded_before(record, before_us)
    if by == "recorded" or place == record.seq:
        return Cut(place, place, posted_e8, held_e8)
    last_seq, late_posted_e8, late_held_e8 = session.late(record.book, record.id, place, before_us)
    return Cut(place, max(place, last_seq), posted_e8 + late_posted_e8, held_e8 + late_held_e8)


# Balances


def _balance(session: Session, record: WalletRecord, now_us: int) -> Balance:
    lapsing_e8 = 0
    if record.expires_at_us is not None and record.expires_at_us <= now_us:
        lots = session.lots(record.book, record.id, complete=False)

        def kept_e8(expiry_us: int) -> int:
            place, _, _ = session.recorded_before(record, expiry_us)
            return session.held_since(record.book, record.id, place)

        lapsing_e8 = sum(lapsable(lots, now_us, kept_e8).values())
    return _balance_of(record, lapsing_e8)


def _balance_of(record: WalletRecord, lapsing_e8: int) -> Balance:
    return Balance(
        record.id,
        record.posted_e8,
        record.held_e8,
        record.credit_limit_e8,
        lapsing_e8,
        record.seq,
    )


def _balance_before(session: Session, record: WalletRecord, before_us: int, by: By) -> Balance:
    cut = cut_before(session, record, before_us, by)
    return Balance(
        record.id,
        cut.posted_e8,
        cut.held_e8,
        # The first entry opened the wallet, and gave it its limit.
        record.credit_limit_e8 if cut.place else 0,
        _lapsing_before_e8(session, record, cut, before_us, by),
        cut.last_seq,
    )


def _lapsing_before_e8(
    session: Session, record: WalletRecord, cut: Cut, before_us: int, by: By
) -> int:
    """Credits that had expired before a moment and that nothing had taken out by then."""
    lots = [
        lot
        for lot in session.expired_lots(record.book, record.id, before_us)
        if (lot.seq <= cut.place if by == "recorded" else lot.granted_at_us < before_us)
    ]
    if not lots:
        return 0
    # The lots as they are, less what the entries took and gave that do not count.
    since_us = before_us if by == "happened" else -_EVER_US
    undone: dict[str, int] = {}
    for text in session.lots_moved(record.book, record.id, after_seq=cut.place, since_us=since_us):
        for seq, part in json.loads(text).items():
            undone[seq] = undone.get(seq, 0) + part
    then = [
        lot._replace(
            used_e8=min(lot.used_e8 - undone.get(str(lot.seq), 0), lot.granted_e8 - lot.lapsed_e8)
        )
        for lot in lots
    ]

    def kept_e8(expiry_us: int) -> int:
        if by == "happened":
            # Below zero where a job was settled before it was reserved, as far as is known then.
            return max(0, session.held_happened(record.book, record.id, expiry_us, before_us))
        place, _, held_e8 = session.recorded_before(record, expiry_us)
        return held_e8 + session.held_then(record.book, record.id, place, cut.place)

    return sum(lapsable(then, before_us - 1, kept_e8).values())


# Statements


def _statement(
    session: Session,
    record: WalletRecord,
    since_us: int | None,
    until_us: int | None,
    by: By,
) -> Statement:
    opening = Cut(0, 0, 0, 0) if since_us is None else cut_before(session, record, since_us, by)
    if by == "recorded":
        lines = _recorded(session, record, opening, until_us)
    else:
        lines = _happened(session, record, opening, since_us, until_us)
    last = lines[-1] if lines else None
    return Statement(
        record.id,
        since_us,
        until_us,
        by,
        opening.posted_e8,
        opening.held_e8,
        lines,
        opening.posted_e8 if last is None else last.posted_after_e8,
        opening.held_e8 if last is None else last.held_after_e8,
    )


def _recorded(
    session: Session, record: WalletRecord, opening: Cut, until_us: int | None
) -> tuple[StatementLine, ...]:
    last_seq = (
        record.seq if until_us is None else cut_before(session, record, until_us, "recorded").place
    )
    entries = session.entries_between(
        record.book, record.id, after_seq=opening.place, last_seq=last_seq
    )
    return tuple(
        StatementLine(entry, entry.posted_after_e8, entry.held_after_e8) for entry in entries
    )


def _happened(
    session: Session,
    record: WalletRecord,
    opening: Cut,
    since_us: int | None,
    until_us: int | None,
) -> tuple[StatementLine, ...]:
    entries = session.happened_between(
        record.book,
        record.id,
        after_seq=opening.place,
        since_us=-_EVER_US if since_us is None else since_us,
        until_us=_EVER_US if until_us is None else until_us,
    )
    posted_e8, held_e8, lines = opening.posted_e8, opening.held_e8, []
    for entry in entries:
        posted_e8 += entry.posted_e8
        held_e8 += entry.held_e8
        lines.append(StatementLine(entry, posted_e8, held_e8))
    return tuple(lines)


# Budgets


def _levels(session: Session, budget: Budget, now_us: int) -> list[tuple[str, int, int]]:
    """How full the windows are that count now: (share, held, used)."""
    if budget.period == "job":
        return []
    first_us, last_us = counting(budget, now_us)
    return session.levels_between(budget, first_us, last_us)

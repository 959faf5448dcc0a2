"""The verbs: one object bound to one book of one database."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Self, TypeVar

from sqlalchemy import Connection

from ledger.book import inbox, limits, money, periods, releasing, reserving, settling
from ledger.book.evidence import Evidence
from ledger.book.items import Adjust, Charge, Extend, Item, Refund, Release, Reserve, TopUp, When
from ledger.book.reading import Clock
from ledger.book.work import Warm, Work
from ledger.budgets import budget
from ledger.errors import (
    BatchRefused,
    Fault,
    InvalidEntry,
    LedgerError,
    StoreError,
    StoreUnavailable,
)
from ledger.records import Entry, InboxRecord, Parked, Period, Policy, name
from ledger.store import Joined, KeyTaken, Stale, Store, Transient
from ledger.units import Amount, Length, credits_to_e8

__all__ = ["Book"]

Outcome = Entry | Parked | LedgerError
"""What became of one item of a batch."""

Asking = TypeVar("Asking")
T = TypeVar("T")

_RULES: dict[type, Callable[..., Entry | Parked]] = {
    Reserve: reserving.reserve,
    Extend: reserving.extend,
    Charge: settling.charge,
    Release: releasing.release,
    Refund: settling.refund,
    TopUp: money.top_up,
    Adjust: money.adjust,
}
_KINDS = {Charge: "charge", Release: "release", Refund: "refund"}
_AFTER_A_LOST_RACE = 20
"""So many verbs lock the wallet at once after another process was faster than a hope."""


class Unguarded(Stale):
    """What was hoped for cannot be one guarded statement."""


class Book(Evidence):
    """Wallets, holds and budgets of one tenant, kept in a database.

    Safe to share between threads. Every verb checks and writes in one transaction; repeating a
    call with the same key gives the first result again and changes nothing.

    >>> with Book("sqlite://") as book:
    ...     _ = book.top_up("studio", 100, key="invoice-1")
    ...     _ = book.reserve("studio", 40, key="job-1")
    ...     _ = book.charge("job-1", 25)
    ...     print(book.balance("studio").available)
    75
    """

    def __init__(self, url: str, *, book: str = "main", clock: Clock | None = None) -> None:
        super().__init__(Store(url), book, clock)
        self._warm = Warm()
        self._cautious = 0

    def join(self, connection: Connection) -> Self:
        """The same book inside a transaction of the caller's own.

        Whatever its verbs write is committed or rolled back with the caller's rows. Each verb is a
        savepoint: one that is refused leaves the transaction usable. The caller begins, commits
        and, after `StoreUnavailable`, rolls back and tries again. On SQLite the connection is to
        come from `engine`, or another one of the same file.

        >>> with Book("sqlite://") as book, book.engine.begin() as connection:
        ...     _ = connection.exec_driver_sql("CREATE TABLE orders (job TEXT)")
        ...     _ = connection.exec_driver_sql("INSERT INTO orders VALUES ('job-1')")
        ...     joined = book.join(connection)
        ...     _ = joined.top_up("studio", 100, key="invoice-1")
        ...     print(joined.reserve("studio", 40, key="job-1").amount)
        40

        Raises:
            NotALedger, NeedsMigration, NewerStore: what the connection's database is.
        """
        joined = copy(self)
        joined._store = Joined(connection)  # noqa: SLF001  it is our own copy
        joined._warm = Warm()  # noqa: SLF001
        return joined

    # Verbs

    def open_wallet(self, wallet: str, *, credit_limit: Amount | None = None) -> Entry:
        """Open a wallet; with a credit limit it may go that far below zero.

        The limit is none if not given, and stays what it is: to lend more, top up and adjust.

        Raises:
            InvalidAmount, InvalidEntry: the limit or the name.
            WalletExists: the name is taken with another limit, or differs only in case.
        """
        limit_e8 = None if credit_limit is None else credits_to_e8(credit_limit)
        return self._do(lambda work: money.open_wallet(work, wallet, limit_e8))

    def top_up(
        self,
        wallet: str,
        amount: Amount,
        *,
        key: str,
        cash: Amount | None = None,
        currency: str | None = None,
        expires: When = None,
        promotional: bool = False,
        at: When = None,
    ) -> Entry:
        """Bring credits into a wallet; the first top-up opens it.

        Raises:
            InvalidEntry, InvalidAmount, InvalidMoment: what was given.
            KeyReused: the key was used with other content.
            WalletExists: the name differs only in case from a wallet's.
        """
        item = TopUp(wallet, amount, key, cash, currency, expires, promotional, at)
        return self._one(money.top_up, item)

    def reserve(
        self,
        wallet: str,
        amount: Any,
        *,
        key: str,
        labels: Mapping[str, str] | None = None,
        deadline: timedelta | datetime | None = None,
        policy: Policy = "owe",
        on_deadline: str = "keep",
        at: When = None,
        dry_run: bool = False,
    ) -> Entry:
        """Set credits aside for one job, whose name is the key.

        Args:
            wallet: where the credits come from.
            amount: credits to set aside, or a quote, whose maximum is held and whose price
                version a charge by length is priced with.
            key: the job; a repeated call with the same content gives the first result.
            labels: what budgets select by, such as team, user, model.
            deadline: from when on the outcome counts as unknown: a moment, or a length from now;
                24 hours from now, if None. In a repeated call a length is the same content, a
                moment that is worked out anew is not.
            policy: what a charge above the hold does. `owe` takes it all, below zero if need be;
                `draw` takes what is available; `cap` takes no more than the hold; `reject` refuses.
            on_deadline: `keep` it held past the deadline, or `release` it.
            at: when it happened; now, if None.
            dry_run: answer without writing.

        Raises:
            InvalidEntry, InvalidAmount, InvalidMoment: what was given.
            KeyReused: the key was used with other content.
            UnknownWallet: there is no such wallet.
            InsufficientCredits: the wallet has too few available; names every limit in the way.
            BudgetExceeded: a hard budget has no room.
        """
        item = Reserve(wallet, amount, key, labels, deadline, policy, on_deadline, at)
        return self._one(reserving.reserve, item, dry_run=dry_run)

    def extend(
        self,
        job: str,
        *,
        key: str,
        amount: Amount | None = None,
        deadline: timedelta | datetime | None = None,
        at: When = None,
    ) -> Entry:
        """Set more credits aside for an open hold, give it more time, or both.

        Raises:
            InvalidEntry, InvalidAmount, InvalidMoment: what was given.
            KeyReused: the key was used with other content.
            UnknownJob: there is no such hold.
            HoldClosed: it is settled or released.
            InsufficientCredits, BudgetExceeded: there is no room for more.
        """
        return self._one(reserving.extend, Extend(job, key, amount, deadline, at))

    def charge(
        self,
        job: str,
        amount: Amount | None = None,
        *,
        seconds: Length | None = None,
        key: str | None = None,
        final: bool = True,
        at: When = None,
    ) -> Entry | Parked:
        """Take what a job cost; if `final`, the rest of its hold goes back.

        A charge is a fact: it is recorded when it is above the hold, after the deadline or after a
        release, and parked where nobody has reserved the job. The key is the job's name, if None.

        Raises:
            InvalidEntry, InvalidAmount, InvalidSeconds, InvalidMoment: what was given.
            KeyReused: the key was used with other content.
            ChargeAboveHold: above the hold, whose policy is `reject`.
        """
        return self._one(settling.charge, Charge(job, amount, seconds, key, final, at))

    def release(
        self, job: str, *, key: str | None = None, reason: str | None = None, at: When = None
    ) -> Entry:
        """Give back what a hold has set aside, unused.

        Raises:
            InvalidEntry, InvalidMoment: what was given.
            KeyReused: the key was used with other content.
            UnknownJob: there is no such hold.
            HoldClosed: it is settled or released already.
        """
        return self._one(releasing.release, Release(job, key, reason, at))

    def refund(
        self,
        job: str,
        amount: Amount | None = None,
        *,
        key: str | None = None,
        reason: str | None = None,
        at: When = None,
    ) -> Entry | Parked:
        """Give back what was charged, all of it if no amount is given.

        Balance, lots and the budget window of the charge are put back. Parked where nobody has
        reserved the job.

        Raises:
            InvalidEntry, InvalidAmount, InvalidMoment: what was given.
            KeyReused: the key was used with other content.
            RefundAboveCharge: more than was charged and not yet refunded.
        """
        return self._one(settling.refund, Refund(job, amount, key, reason, at))

    def adjust(
        self, wallet: str, amount: Amount, *, key: str, reason: str, at: When = None
    ) -> Entry:
        """Correct a wallet by an amount with a sign.

        Raises:
            InvalidEntry, InvalidAmount, InvalidMoment: what was given.
            KeyReused: the key was used with other content.
            UnknownWallet: there is no such wallet.
        """
        return self._one(money.adjust, Adjust(wallet, amount, key, reason, at))

    def expire(self, job: str, *, key: str | None = None) -> Entry:
        """Release a hold whose deadline has passed, because you know that it will not be charged.

        Raises:
            KeyReused: the key was used with other content.
            UnknownJob: there is no such hold.
            HoldClosed: it is settled already, or its deadline has not passed.
        """
        return self._do(lambda work: releasing.expire(work, job, key))

    def lapse(self, wallet: str) -> list[Entry]:
        """Take out expired credits that no open hold keeps alive.

        Raises:
            UnknownWallet: there is no such wallet.
        """
        return self._do(lambda work: money.lapse(work, wallet))

    def sweep(self, wallet: str | None = None) -> list[Entry]:
        """Write down what time alone has done: to one wallet, or to every wallet of the book.

        Holds past their deadline that were made with `on_deadline="release"` are released, and
        expired credits lapse. Nothing depends on it: no reserve counts on expired credits, and
        one that would be refused releases such holds first.

        Raises:
            UnknownWallet: there is no such wallet.
        """
        names = [wallet] if wallet is not None else [found.wallet for found in self.wallets()]
        entries = []
        for found in names:
            entries += self._do(lambda work, found=found: releasing.sweep(work, found))  # type: ignore[misc]
        return entries

    def discard(self, kind: str, key: str, *, reason: str) -> InboxRecord:
        """Close a charge or refund that waits in the inbox and will never be applied.

        It stays in the inbox with its reason, and the same call again changes nothing. What is to
        be charged after all is charged under another key.

        Raises:
            InvalidEntry: what was given.
            UnknownMessage: none waits under this key, or it was discarded for another reason.
        """
        return self._do(lambda work: inbox.discard(work, kind, key, reason))

    # Periods

    def close_period(
        self,
        period: str,
        *,
        timezone: str = "UTC",
        unreconciled: str | None = None,
        with_open_breaks: str | None = None,
    ) -> Period:
        """Freeze everything that happened before the end of a period.

        From then on a fact that happened before it is recorded all the same: it counts now, and
        its entry says which period it corrects. What has lapsed is written down first. Closing a
        period that is closed changes nothing.

        Args:
            period: a month such as `2026-10`, or days such as `2026-10-01/2026-11-01`, up to and
                without the second. It must begin where the last closed one ends; the first may
                begin anywhere, and all that was before it is frozen with it.
            timezone: where its days begin.
            unreconciled: why it is closed although no comparison with the provider's bill covers
                it; kept only then.
            with_open_breaks: why it is closed although breaks up to its end are open; kept only
                then.

        Raises:
            InvalidEntry: what was given; the book has no wallet.
            PeriodNotOver: it has not ended yet.
            PeriodOutOfOrder: it does not begin where the last closed one ends.
            NotReconciled: no comparison covers it, and no reason is given.
            OpenBreaks: breaks are open, and no reason is given.

        >>> with Book("sqlite://") as book:
        ...     _ = book.top_up("studio", 100, key="invoice-1", at="2026-10-01")
        ...     october = book.close_period("2026-10", unreconciled="no statement yet")
        ...     late = book.adjust("studio", -3, key="fix-1", reason="slip", at="2026-10-20")
        ...     before = book.balance("studio", before=october.end, by="happened")
        ...     print(late.corrects, before.posted, book.balance("studio").posted)
        2026-10 100 97
        """
        return self._do(
            lambda work: periods.close(
                work,
                period,
                timezone,
                unreconciled=unreconciled,
                with_open_breaks=with_open_breaks,
            )
        )

    def reopen_period(self, period: str, *, reason: str) -> Period:
        """Let facts count in the period that was closed last; what corrected it stays where it is.

        The same call again changes nothing.

        Raises:
            InvalidEntry: what was given; the book has no wallet.
            UnknownPeriod: it is not the last closed one, or was reopened for another reason.
        """
        return self._do(lambda work: periods.reopen(work, period, reason))

    # Budgets

    def set_budget(
        self,
        wallet: str,
        title: str,
        limit: Amount,
        *,
        key: str,
        match: Mapping[str, str] | None = None,
        period: str = "month",
        rolling_seconds: int | None = None,
        timezone: str = "UTC",
        hard: bool = True,
        thresholds: Sequence[int | str | Decimal] = (),
    ) -> Entry:
        """Limit a wallet's spending; what its current window already holds counts.

        Raises:
            InvalidEntry, InvalidAmount, InvalidBudget: what was given.
            KeyReused: the key was used with other content.
            UnknownWallet: there is no such wallet.
        """
        wanted = budget(
            title,
            self.book,
            wallet,
            limit_e8=credits_to_e8(limit),
            match=match,
            period=period,
            rolling_seconds=rolling_seconds,
            timezone=timezone,
            hard=hard,
            thresholds=thresholds,
        )
        return self._do(lambda work: limits.set_budget(work, wallet, wanted, key))

    def remove_budget(self, wallet: str, title: str, *, key: str) -> Entry:
        """Stop a budget; what it was stays in the book.

        Raises:
            KeyReused: the key was used with other content.
            UnknownWallet, UnknownBudget: there is no such thing.
        """
        return self._do(lambda work: limits.remove_budget(work, wallet, title, key))

    # Batches

    def batch(self, items: Sequence[Item], *, atomic: bool = False) -> list[Outcome]:
        """Do many items in one transaction; one outcome per item, in order.

        A refused item leaves its error as the outcome and changes nothing, as if the items were
        done one by one.

        Raises:
            BatchRefused: with `atomic`, an item was refused; nothing was written.
        """
        for place, item in enumerate(items):
            if type(item) not in _RULES:
                problem = f"is a {type(item).__name__}, not an item such as Reserve"
                raise InvalidEntry("the batch", [Fault(f"[{place}]", problem)])
        if not items:
            return []
        return self._do(lambda work: self._decide_all(work, items, atomic=atomic), many=items)

    def reserve_many(self, items: Sequence[Reserve], *, atomic: bool = False) -> list[Outcome]:
        """`batch` of reserves."""
        return self.batch(items, atomic=atomic)

    def charge_many(self, items: Sequence[Charge], *, atomic: bool = False) -> list[Outcome]:
        """`batch` of charges."""
        return self.batch(items, atomic=atomic)

    def release_many(self, items: Sequence[Release], *, atomic: bool = False) -> list[Outcome]:
        """`batch` of releases."""
        return self.batch(items, atomic=atomic)

    def refund_many(self, items: Sequence[Refund], *, atomic: bool = False) -> list[Outcome]:
        """`batch` of refunds."""
        return self.batch(items, atomic=atomic)

    # How a unit of work is run

    def _one(self, rule: Callable[[Work, Asking], T], item: Asking, *, dry_run: bool = False) -> T:
        return self._do(lambda work: rule(work, item), dry_run=dry_run)

    def _do(
        self,
        decide: Callable[[Work], T],
        *,
        many: Sequence[Item] = (),
        dry_run: bool = False,
        careful: bool = False,
    ) -> T:
        """One unit of work; raises StoreUnavailable where it is not known what became of it."""
        try:
            return self._hope_or_look(
                decide, self._now_us(), many, dry_run=dry_run, careful=careful
            )
        except (KeyTaken, Stale, Transient) as error:
            raise StoreUnavailable(f"{error}; nothing is known to be written: try again") from error

    def _hope_or_look(
        self,
        decide: Callable[[Work], T],
        now_us: int,
        many: Sequence[Item],
        *,
        dry_run: bool,
        careful: bool,
    ) -> T:
        """Hope first: no key was used before. Where that is wrong, look carefully."""
        retried = self._store.retried
        again: tuple[type[Exception], ...] = (*retried, LedgerError)
        # Only a write finds a key that was used before; a dry run must look.
        if not (dry_run or careful or self._cautious):
            try:
                return self._run(decide, now_us, many=many, dry_run=False, careful=False)
            except again as error:
                if isinstance(error, StoreError) and not isinstance(error, retried):
                    raise
                if type(error) is Stale:
                    self._cautious = _AFTER_A_LOST_RACE
        self._cautious = max(0, self._cautious - 1)
        look = partial(self._run, decide, now_us, many=many, dry_run=dry_run, careful=True)
        return self._store.persist(look)

    def _run(
        self,
        decide: Callable[[Work], T],
        now_us: int,
        *,
        many: Sequence[Item],
        dry_run: bool,
        careful: bool,
    ) -> T:
        hoping = self._store.may_hope and not careful and not many and not dry_run
        refused: LedgerError | None = None
        with self._store.single() if hoping else self._store.writing() as session:
            work = Work(
                session,
                self.book,
                now_us,
                pricing=self,
                telling=self.telling,
                warm=self._warm,
                careful=careful,
                trusting=hoping,
            )
            if many:
                work.preload(*_asked_for(many))
            try:
                result = decide(work)
            except (BatchRefused, StoreError):
                raise
            except LedgerError as error:
                # What was found on the way, such as holds past their deadline, is true all the
                # same, and is written although the caller is refused.
                if not careful or dry_run or work.is_empty:
                    raise
                refused = error
            if dry_run:
                return result
            changes = work.changes()
            if hoping and (work.is_empty or not changes.is_small):
                # Where nothing is written, nothing says whether what is warm was still true.
                raise Unguarded
            if not work.is_empty:
                session.write(self.book, changes)
        work.written()
        self._warm.give(work)
        if refused is not None:
            raise refused
        return result

    def _decide_all(self, work: Work, items: Sequence[Item], *, atomic: bool) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for place, item in enumerate(items):
            try:
                outcomes.append(_RULES[type(item)](work, item))
            except LedgerError as error:
                if not work.careful:
                    raise
                if atomic:
                    raise BatchRefused(place, error) from error
                outcomes.append(error)
        return outcomes


def _asked_for(items: Sequence[Item]) -> tuple[set[str], list[str], dict[str, list[str]]]:
    """The wallets, jobs and keys that the items of a batch will ask for."""
    wallets: set[str] = set()
    jobs: dict[str, None] = {}
    keys: dict[str, list[str]] = {}
    for item in items:
        if isinstance(item, (Reserve, TopUp, Adjust)):
            if _readable(item.wallet):
                wallets.add(item.wallet)
        elif _readable(item.job):
            jobs[item.job] = None
        kind = _KINDS.get(type(item))
        if kind is not None and isinstance(item, (Charge, Release, Refund)):
            key = item.job if item.key is None else item.key
            if _readable(key):
                keys.setdefault(kind, []).append(key)
        if isinstance(item, Reserve) and _readable(item.key):
            jobs[item.key] = None
    return wallets, list(jobs), keys


def _readable(text: object) -> bool:
    """Whether the database may be asked for a name; if not, its item will say what is wrong."""
    try:
        name(text, "a name")
    except InvalidEntry:
        return False
    return True

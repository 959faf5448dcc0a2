"""One unit of work: what was read under the lock, what is decided, what is to be written.

Nothing here talks SQL; a `Session` of the store reads and writes. Decisions change only what
stands here, and only after every check has passed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

from ledger.book.items import Reserve
from ledger.budgets import FOREVER_US, STEPS, Budget, Level, Window
from ledger.errors import UnknownJob, UnknownWallet
from ledger.records import (
    Entry,
    Hold,
    ImportRecord,
    InboxRecord,
    Lot,
    MessageRecord,
    Period,
    TaskRecord,
    WalletRecord,
    closed_periods,
    entry_hash,
    moment,
)
from ledger.store import Changes, Session, Stale, periods
from ledger.units import iso

__all__ = [
    "Asked",
    "Heard",
    "Pricing",
    "Series",
    "Telling",
    "Wallet",
    "Wanted",
    "Warm",
    "Work",
    "compact",
]

compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
"""JSON without spaces."""


class Asked(NamedTuple):
    """What a reserve asks for, once a quote has been read."""

    amount_e8: int
    labels: Mapping[str, str] | None
    price: Mapping[str, Any] | None
    """What a charge by length will be priced with."""


class Pricing(Protocol):
    """What the book must be told about prices, of which it knows nothing itself."""

    def asked(self, item: Reserve) -> Asked:
        """The credits a reserve asks for, its labels, and the price to charge by later."""

    def bill(self, price: Mapping[str, Any] | None, seconds: str | None) -> int:
        """Units of 10^-8 credit for a length, if one was told, under the price of a hold."""


class Wanted(Protocol):
    """What the book should say of a job, as far as messages about one task of it tell."""

    @property
    def state(self) -> str:
        """running, settled, unproven, unpriced, or disputed."""

    @property
    def status(self) -> str:
        """The provider's word."""

    @property
    def net_e8(self) -> int | None:
        """What the task costs in the end; 0 where it is proven to cost nothing; None not known."""

    @property
    def released(self) -> bool:
        """Whether it is proven that the hold can be let go unused."""

    @property
    def reason(self) -> str:
        """One sentence for an entry."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is contradictory or not certain."""


class Heard(NamedTuple):
    """What one message says of one task."""

    task: str
    """The provider's name for it."""
    job: str | None
    """The job it belongs to, if the message says so."""
    model: str | None
    received_us: int | None
    """When it was received; None is now."""
    body: str | None
    """As it came; None where somebody only says which job a task belongs to."""
    facts: Any
    """What `Telling` makes of the body."""


class Telling(Protocol):
    """What the book must be told about tasks, of which it knows nothing itself.

    Facts are a join: merging is commutative, associative and idempotent, so that the order and the
    number of messages do not matter.
    """

    @property
    def nothing(self) -> Any:
        """The facts of a task of which nothing was told."""

    def read(self, body: str) -> Sequence[Heard]:
        """What a kept body says; raises LedgerError where it cannot be read."""

    def merged(self, one: Any, other: Any) -> Any:
        """What both say together."""

    def text(self, facts: Any) -> str:
        """The facts as JSON: the same facts give the same text."""

    def facts(self, text: str) -> Any:
        """The facts that `text` wrote."""

    def since_us(self, facts: Any) -> int | None:
        """When the task was created, if that was told."""

    def wanted(self, facts: Any, expected_e8: int | None) -> Wanted:
        """What the book should say, given what its hold was made for."""


_MOST_WARM_HOLDS = 20_000
_MOST_WARM_WALLETS = 2_000
_MOST_MOMENTS = 100
_MOST_STEPS = 4 * STEPS
"""More steps of a rolling window than this are not kept once they have passed."""

_UNREAD = (2**62, Level(0, 0, 0))


class Since(NamedTuple):
    """What is still held by the holds that were made before a moment."""

    place: int
    """The last entry recorded before the moment."""
    held_e8: int


Series = dict[int, tuple[int, Level]]
"""Windows of one share of one budget: start → (end, level)."""


class Wallet:
    """A wallet while it is worked on, with what belongs to it as far as it was needed.

    Everything here is true as long as the wallet's hash in the database is `guard`.
    """

    __slots__ = (
        *WalletRecord._fields,
        "budgets",
        "closed",
        "guard",
        "held_since",
        "holds",
        "lots",
        "lots_complete",
        "series",
    )

    book: str
    id: str
    folded: str
    credit_limit_e8: int
    posted_e8: int
    held_e8: int
    seq: int
    hash: bytes
    expires_at_us: int | None
    budgets_seq: int
    recorded_at_us: int
    closed_until_us: int | None

    def __init__(self, record: WalletRecord) -> None:
        for column, value in zip(WalletRecord._fields, record, strict=True):
            setattr(self, column, value)
        self.guard: bytes | None = self.hash
        self.lots: dict[int, Lot] | None = None
        self.lots_complete = False
        self.budgets: list[Budget] | None = None
        self.closed: list[Period] | None = None
        self.series: dict[tuple[str, str], Series] = {}
        self.holds: dict[str, Hold] = {}
        self.held_since: dict[int, Since] = {}

    def record(self) -> WalletRecord:
        """The wallet's row."""
        return WalletRecord._make(_record(self))

    def trim(self) -> None:
        """Keep what is warm within bounds."""
        if len(self.holds) > _MOST_WARM_HOLDS:
            for job in list(self.holds)[: len(self.holds) - _MOST_WARM_HOLDS // 2]:
                del self.holds[job]
        if len(self.held_since) > _MOST_MOMENTS:
            # What is left of a lot is asked for again and again, what is spent never.
            lots = (self.lots or {}).values()
            alive = {lot.expires_at_us for lot in lots if lot.remaining_e8}
            self.held_since = {at: it for at, it in self.held_since.items() if at in alive}
        if len(self.series) > _MOST_WARM_HOLDS:
            self.series.clear()
        for series in self.series.values():
            if len(series) > _MOST_STEPS:
                passed = sorted(series)[1 : -_MOST_STEPS // 2]
                for start in passed:
                    del series[start]
                if -1 in series:
                    series[-1] = max(passed[-1], series[-1][0]), Level(0, 0, 0)


_record = attrgetter(*WalletRecord._fields)


class Warm:
    """Wallets as the last work left them, so that the next need not read them again.

    A wallet is taken out while it is worked on, so that no two threads share one.
    """

    def __init__(self) -> None:
        self._wallets: dict[str, Wallet] = {}
        self._jobs: dict[str, str] = {}

    def take(self, wallet: str) -> Wallet | None:
        """The wallet, now the caller's."""
        return self._wallets.pop(wallet, None)

    def wallet_of(self, job: str) -> str | None:
        """The wallet a job was last seen in."""
        return self._jobs.get(job)

    def give(self, work: Work) -> None:
        """Keep the wallets of finished work, unless something was staged and not written."""
        for wallet in work.wallets.values():
            if wallet.guard == wallet.hash:
                wallet.trim()
                self._wallets[wallet.id] = wallet
        self._jobs.update((job, hold.wallet) for job, hold in work.put_holds() if hold.wallet)
        if len(self._wallets) > _MOST_WARM_WALLETS or len(self._jobs) > _MOST_WARM_HOLDS:
            self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._wallets.clear()
        self._jobs.clear()


class Work:
    """A unit of work on one book.

    A hopeful one assumes that no key was used before and, where `trusting`, that what is warm is
    still true; the database refuses the write where that is wrong, and the work is done again,
    carefully.
    """

    def __init__(
        self,
        session: Session,
        book: str,
        now_us: int,
        *,
        pricing: Pricing,
        telling: Telling | None = None,
        warm: Warm | None = None,
        careful: bool = True,
        trusting: bool = False,
    ) -> None:
        self.session, self.book, self.now_us = session, book, now_us
        self.pricing, self.telling = pricing, telling
        self.warm = warm or Warm()
        self.careful, self.trusting = careful, trusting
        self.wallets: dict[str, Wallet] = {}
        self.touched: dict[str, Wallet] = {}
        self.opened: dict[str, str] = {}
        self.entries: list[Entry] = []
        self.staged: dict[tuple[str, str], Entry] = {}
        self.known: dict[tuple[str, str], Entry | None] = {}
        self.holds: dict[str, Hold | None] = {}
        self.new_holds: dict[str, Hold] = {}
        self.changed_holds: dict[str, Hold] = {}
        self.adopted_holds: dict[str, Hold] = {}
        self.new_lots: dict[tuple[str, int], Lot] = {}
        self.changed_lots: dict[tuple[str, int], Lot] = {}
        self.due: dict[str, set[str]] = {}
        self.staged_due: dict[str, set[str]] = {}
        self.windows: dict[tuple[str, str, str, int], tuple[int, Level]] = {}
        self.budgets: list[Budget] = []
        self.parked: list[InboxRecord] = []
        self.applied: list[tuple[str, str]] = []
        self.discarded: list[InboxRecord] = []
        self.periods: list[Period] = []
        self.awaiting: list[str] = []
        self.new_tasks: dict[str, TaskRecord] = {}
        self.changed_tasks: dict[str, TaskRecord] = {}
        self.messages: list[MessageRecord] = []
        self.imports: list[ImportRecord] = []
        self._nothing_waits: bool | None = None
        self.rebuilt: list[tuple[str, str]] = []

    # Reading

    def preload(
        self, wallets: Iterable[str], jobs: Collection[str], keys: Mapping[str, list[str]]
    ) -> None:
        """Lock the wallets of a batch in one order, then read what its items will ask for."""
        wanted = set(wallets)
        if jobs:
            wanted.update(self.session.wallets_of(self.book, jobs))
        for wallet in sorted(wanted):
            self.find_wallet(wallet)
        if jobs:
            self.holds |= dict.fromkeys(jobs)
            for hold in self.session.holds(self.book, jobs):
                # One that was reserved meanwhile in another wallet is read again under its lock.
                if hold.wallet is None or hold.wallet in self.wallets:
                    self.holds[hold.job] = hold
                else:
                    del self.holds[hold.job]
        if self.careful:
            for kind, used in keys.items():
                self.known |= {(kind, key): None for key in used}
                for entry in self.session.entries_by_keys(self.book, kind, used):
                    self.known[kind, entry.key] = entry

    def find_wallet(self, wallet: str) -> Wallet | None:
        """The wallet, locked until the work is done, or None where the book has none."""
        found = self.wallets.get(wallet)
        if found is not None:
            return found
        warm = self.warm.take(wallet)
        # What was read before a wallet was locked may have changed since.
        self.known.clear()
        if warm is None or not self.trusting:
            record = self.session.wallet(self.book, wallet, lock=not self.trusting)
            if record is None:
                return None
            if warm is None or warm.hash != record.hash:
                warm = Wallet(record)
        self.wallets[wallet] = warm
        return warm

    def all_wallets(self) -> list[Wallet]:
        """Every wallet of the book, by name, locked until the work is done.

        Whoever opens a wallet locks something of another one, so no further one comes up.
        """
        more = True
        while more:
            records = self.session.wallet_records(self.book, lock=not self.trusting)
            # One that was opened while we waited for the others is locked in the next round.
            more = bool({record.id for record in records} - self.wallets.keys())
            for record in records:
                if record.id not in self.wallets:
                    warm = self.warm.take(record.id)
                    known = warm if warm and warm.hash == record.hash else Wallet(record)
                    self.wallets[record.id] = known
        self.known.clear()
        return [self.wallets[wallet] for wallet in sorted(self.wallets)]

    def closed_until_us(self) -> int | None:
        """Up to when the book is closed, as its wallets say; with one of them locked.

        So nobody closes or reopens a period while a wallet is opened: that takes all of them.
        """
        if self.wallets:
            return next(iter(self.wallets.values())).closed_until_us
        return periods.closed_until_us(self.session, self.book)

    def wallet(self, wallet: str) -> Wallet:
        """The wallet; raises UnknownWallet with the nearest names."""
        found = self.find_wallet(wallet)
        if found is None:
            nearest = self.session.similar_wallets(self.book, wallet)
            raise UnknownWallet(wallet, book=self.book, nearest=nearest)
        return found

    def find_hold(self, job: str) -> Hold | None:
        """The hold of a job, read after its wallet was locked, or None."""
        if job in self.holds:
            return self.holds[job]
        if (wallet := self.warm.wallet_of(job)) is not None:
            known = self.find_wallet(wallet)
            if known is not None and (warm := known.holds.get(job)) is not None:
                return warm
        found = self.session.hold(self.book, job)
        if found is not None and found.wallet is not None and found.wallet not in self.wallets:
            # The hold may have changed before its wallet was ours.
            self.find_wallet(found.wallet)
            found = self.session.hold(self.book, job)
        self.holds[job] = found
        return found

    def hold(self, job: str) -> Hold:
        """The hold of a job; raises UnknownJob with similar names."""
        found = self.find_hold(job)
        if found is None or found.wallet is None:
            nearest = self.session.similar_jobs(self.book, job)
            raise UnknownJob(job, book=self.book, nearest=nearest)
        return found

    def earlier(self, kind: str, key: str) -> Entry | None:
        """The entry an earlier call with this key wrote; looked for only by careful work."""
        staged = self.staged.get((kind, key))
        if staged is not None or not self.careful:
            return staged
        if (kind, key) not in self.known:
            self.known[kind, key] = self.session.entry_by_key(self.book, kind, key)
        return self.known[kind, key]

    def overdue(self, wallet: Wallet) -> list[Hold]:
        """Open holds that are to be released at a deadline that has passed, earliest first."""
        if wallet.id not in self.due:
            found = self.session.overdue(self.book, wallet.id, self.now_us)
            self.due[wallet.id] = {hold.job for hold in found}
        # A batch may have made or changed holds since that the database does not know.
        jobs = self.due[wallet.id] | self.staged_due.get(wallet.id, set())
        holds = [hold for hold in map(self.find_hold, jobs) if hold and self._is_due(hold)]
        self.due[wallet.id] = {hold.job for hold in holds}
        return sorted(holds, key=attrgetter("deadline_us", "job"))

    @property
    def nothing_waits(self) -> bool:
        """Whether no message at all waits in the inbox of the book."""
        if self._nothing_waits is None:
            self._nothing_waits = self.session.nothing_waits(self.book)
        return self._nothing_waits and not self.parked

    def entry(self, wallet: str, seq: int) -> Entry:
        """The entry at a place in a wallet."""
        for staged in self.entries:
            if (staged.wallet, staged.seq) == (wallet, seq):
                return staged
        return self.session.entry(self.book, wallet, seq)

    def lots(self, wallet: Wallet, *, complete: bool = False) -> dict[int, Lot]:
        """The wallet's lots with credits left; all of them if complete."""
        if wallet.lots is None or (complete and not wallet.lots_complete):
            found = self.session.lots(self.book, wallet.id, complete=complete)
            wallet.lots = {lot.seq: lot for lot in found} | (wallet.lots or {})
            wallet.lots_complete = complete
        return wallet.lots

    def held_since_before(self, wallet: Wallet, moment_us: int) -> Since:
        """What is still held by the holds that were recorded before a moment of the past."""
        found = wallet.held_since.get(moment_us)
        if found is None:
            place, _, _ = self.session.recorded_before(wallet.record(), moment_us)
            held_e8 = self.session.held_since(self.book, wallet.id, place)
            # A batch may have changed such holds already.
            staged = [
                hold
                for _, hold in self.put_holds()
                if hold.wallet == wallet.id and hold.seq <= place
            ]
            if staged:
                jobs = [hold.job for hold in staged]
                held_e8 += sum(hold.held_e8 for hold in staged)
                held_e8 -= sum(hold.held_e8 for hold in self.session.holds(self.book, jobs))
            found = wallet.held_since[moment_us] = Since(place, held_e8)
        return found

    def budgets_of(self, wallet: Wallet) -> list[Budget]:
        """The wallet's budgets in force, by name."""
        if wallet.budgets is None:
            wallet.budgets = (
                self.session.budgets(self.book, wallet.id) if wallet.budgets_seq else []
            )
        return wallet.budgets

    def level(self, wallet: Wallet, budget: Budget, share: str, window: Window) -> Level:
        """How full a window is."""
        series = wallet.series.setdefault((budget.name, share), {})
        if window.start_us not in series:
            level = self.session.level(self.book, wallet.id, budget.name, share, window.start_us)
            series[window.start_us] = window.end_us, level or Level(0, 0, 0)
        return series[window.start_us][1]

    def steps(self, wallet: Wallet, budget: Budget, share: str, at_us: int) -> Series:
        """The steps of the rolling windows that a moment is in."""
        oldest, latest = at_us - budget.step_us - budget.span_us, at_us + budget.span_us
        place = (self.book, wallet.id, budget.name, share)
        series = wallet.series.setdefault((budget.name, share), {})
        found: Series = {}
        if series.get(-1, _UNREAD)[0] > oldest:
            # What a job of long ago needs is not worth keeping.
            passed = latest < self.now_us
            until_us = latest if passed else FOREVER_US
            found = self.session.levels(*place, after_us=oldest, until_us=until_us)
            if not passed:
                series |= {start: item for start, item in found.items() if start not in series}
                # The mark at -1 says after which moment the series is complete.
                series[-1] = oldest, Level(0, 0, 0)
        # What is known here is newer than what the database has.
        return {
            start: item
            for start, item in (found | series).items()
            if oldest < start <= latest and start >= 0
        }

    # Deciding

    def counts_at_us(self, wallet: Wallet, at_us: int) -> int:
        """When something counts that happened at a moment: now, if that is closed already."""
        closed_us = wallet.closed_until_us
        if closed_us is None or at_us >= closed_us:
            return at_us
        # Our clock may be behind that of whoever closed the period.
        return max(self.now_us, closed_us)

    def _told(self, wallet: Wallet, at_us: int, given_us: int | None) -> dict[str, str]:
        """What an entry says of a moment at which it does not count."""
        told = {}
        if at_us < self.now_us and self.counts_at_us(wallet, at_us) != at_us:
            told["corrects"] = self._period_of(wallet, at_us)
            given_us = at_us if given_us is None else given_us
        return told if given_us is None else told | {"at": iso(moment(given_us))}

    def _period_of(self, wallet: Wallet, at_us: int) -> str:
        """The closed period that a moment is in; the first one reaches back to the beginning."""
        if wallet.closed is None:
            wallet.closed = closed_periods(periods.all_periods(self.session, self.book))
        for period in wallet.closed:
            if at_us < period.end_us:
                return period.name
        # It was opened again since the wallet was read.
        raise Stale

    def write(
        self,
        wallet: Wallet,
        kind: str,
        key: str,
        digest: bytes,
        *,
        contra: str,
        job: str | None = None,
        posted_e8: int = 0,
        held_e8: int = 0,
        over_e8: int = 0,
        uncollected_e8: int = 0,
        late: int = 0,
        lots: str | None = None,
        facts: str | None = None,
        at_us: int | None = None,
        given_us: int | None = None,
    ) -> Entry:
        """Stage an entry at the end of the wallet, with its running balances and its hash.

        What happened in a closed period counts now; its facts name the period and the moment. So
        they do with the moment that a caller gave, where the caller's clock is ahead of ours.
        """
        happened_us = self.now_us if at_us is None else at_us
        counts_us = self.counts_at_us(wallet, happened_us)
        if counts_us != happened_us or (given_us is not None and given_us != happened_us):
            if told := self._told(wallet, happened_us, given_us):
                facts = compact({**json.loads(facts or "{}"), **told})
            happened_us = counts_us
        wallet.seq += 1
        wallet.posted_e8 += posted_e8
        wallet.held_e8 += held_e8
        # The clock of another machine may be ahead or behind: the order of entries is the truth,
        # and nothing is recorded before it happened.
        recorded = max(self.now_us, wallet.recorded_at_us, happened_us)
        wallet.recorded_at_us = recorded
        columns = (
            self.book,
            wallet.id,
            wallet.seq,
            kind,
            key,
            job,
            contra,
            posted_e8,
            held_e8,
            wallet.posted_e8,
            wallet.held_e8,
            over_e8,
            uncollected_e8,
            late,
            lots,
            facts,
            happened_us,
            recorded,
            digest,
        )
        wallet.hash = entry_hash(wallet.hash, columns)
        entry = Entry(*columns, wallet.hash)
        self.entries.append(entry)
        self.staged[kind, key] = entry
        self.touched[wallet.id] = wallet
        return entry

    def put_hold(self, wallet: Wallet, hold: Hold, *, new: bool = False) -> None:
        """Stage a hold as it now stands."""
        if wallet.held_since:
            self._follow(wallet, hold)
        self.holds[hold.job] = wallet.holds[hold.job] = hold
        if hold.on_deadline == "release" and self._is_due(hold):
            self.staged_due.setdefault(wallet.id, set()).add(hold.job)
        if new or hold.job in self.new_holds:
            self.new_holds[hold.job] = hold
        elif hold.job in self.adopted_holds:
            self.adopted_holds[hold.job] = hold
        else:
            self.changed_holds[hold.job] = hold

    def adopt(self, wallet: Wallet, hold: Hold) -> None:
        """Stage a hold whose job was known from parked messages only."""
        if hold.job not in self.new_holds:
            self.adopted_holds[hold.job] = hold
        self.put_hold(wallet, hold)

    def _follow(self, wallet: Wallet, hold: Hold) -> None:
        """Keep what older holds still hold as it is with this one's change."""
        before = self.holds.get(hold.job) or wallet.holds.get(hold.job)
        moved_e8 = hold.held_e8 - (0 if before is None else before.held_e8)
        for moment_us, since in wallet.held_since.items():
            if hold.seq <= since.place:
                held_e8 = since.held_e8 + moved_e8
                wallet.held_since[moment_us] = since._replace(held_e8=held_e8)

    def _is_due(self, hold: Hold) -> bool:
        releases = hold.on_deadline == "release" and hold.state == "open"
        return releases and hold.deadline_us <= self.now_us

    def park(self, record: InboxRecord, *, known: bool) -> None:
        """Stage a message for a job nobody has reserved; its hold row keeps the job's place."""
        self.parked.append(record)
        if not known or record.job in self.new_holds:
            self._put_awaited(record.job, parked=1)

    def await_job(self, job: str) -> None:
        """Keep the place of a job that a task belongs to and nobody has reserved."""
        if self.find_hold(job) is None:
            self._put_awaited(job, parked=0)
        elif job not in self.new_holds:
            self.awaiting.append(job)

    def _put_awaited(self, job: str, *, parked: int) -> None:
        awaited = Hold(
            self.book,
            job,
            None,
            0,
            0,
            "awaited",
            0,
            0,
            0,
            0,
            0,
            0,
            "owe",
            "keep",
            "{}",
            None,
            None,
            parked,
        )
        self.holds[job] = self.new_holds[job] = awaited

    def put_task(self, record: TaskRecord, *, new: bool = False) -> None:
        """Stage a task as it now stands, one version further than it was read."""
        if new or record.id in self.new_tasks:
            self.new_tasks[record.id] = record._replace(version=1)
            return
        before = self.changed_tasks.get(record.id)
        version = record.version + 1 if before is None else before.version
        self.changed_tasks[record.id] = record._replace(version=version)

    def put_lots(self, wallet: Wallet, seqs: Iterable[int | str]) -> None:
        """Stage lots that were changed in place, and when the next one expires."""
        lots = self.lots(wallet)
        for seq in map(int, seqs):
            lot = (wallet.id, seq)
            if lot in self.new_lots:
                self.new_lots[lot] = lots[seq]
            else:
                self.changed_lots[lot] = lots[seq]
        wallet.expires_at_us = min(
            (
                lot.expires_at_us
                for lot in lots.values()
                if lot.expires_at_us is not None and lot.remaining_e8
            ),
            default=None,
        )

    def put_level(
        self, wallet: Wallet, budget: Budget, share: str, window: Window, level: Level
    ) -> None:
        """Stage how full a window now is."""
        item = window.end_us, level
        wallet.series.setdefault((budget.name, share), {})[window.start_us] = item
        self.windows[wallet.id, budget.name, share, window.start_us] = item

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        return not (
            self.entries
            or self.parked
            or self.applied
            or self.discarded
            or self.periods
            or self.new_tasks
            or self.changed_tasks
            or self.messages
            or self.imports
        )

    def changes(self) -> Changes:
        """Everything that was staged."""
        return Changes(
            wallets=[(wallet.record(), wallet.guard) for wallet in self._touched()],
            entries=self.entries,
            new_holds=list(self.new_holds.values()),
            changed_holds=list(self.changed_holds.values()),
            adopted_holds=list(self.adopted_holds.values()),
            new_lots=list(self.new_lots.values()),
            changed_lots=list(self.changed_lots.values()),
            windows=self.windows,
            rebuilt=self.rebuilt,
            budgets=self.budgets,
            parked=self.parked,
            applied=self.applied,
            discarded=self.discarded,
            periods=self.periods,
            awaiting=self.awaiting,
            new_tasks=[self.new_tasks[task] for task in sorted(self.new_tasks)],
            changed_tasks=[self.changed_tasks[task] for task in sorted(self.changed_tasks)],
            messages=sorted(self.messages),
            imports=self.imports,
        )

    def written(self) -> None:
        """What was staged has been committed."""
        for wallet in self.touched.values():
            wallet.guard = wallet.hash

    def put_holds(self) -> Iterable[tuple[str, Hold]]:
        """The holds that were staged."""
        return chain(self.new_holds.items(), self.changed_holds.items(), self.adopted_holds.items())

    def _touched(self) -> list[Wallet]:
        return sorted(self.touched.values(), key=attrgetter("id"))

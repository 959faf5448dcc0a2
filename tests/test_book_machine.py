"""A naive model, the book on SQLite and the book on PostgreSQL do the same, step by step.

The model keeps sums only. What the book does by itself (lapses, releases at a deadline) is read
from the statement and checked against the model; admission is predicted wherever neither can
play a part. Both engines hold a book of one name under one clock, so even their hashes agree.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import methodcaller
from typing import Any
from uuid import uuid4

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ledger.book import Adjust, Book, Charge, Extend, Refund, Release, Reserve, TopUp
from ledger.errors import (
    BatchRefused,
    BudgetExceeded,
    ChargeAboveHold,
    HoldClosed,
    InsufficientCredits,
    InvalidEntry,
    KeyReused,
    LedgerError,
    PeriodNotOver,
    PeriodOutOfOrder,
    RefundAboveCharge,
    UnknownBudget,
    UnknownJob,
    UnknownMessage,
    UnknownPeriod,
    UnknownWallet,
    WalletExists,
)
from ledger.records import Entry, Period, Statement, closed_periods, moment
from ledger.units import credits_to_e8, e8_to_credits

Call = tuple[str, dict[str, Any]]
VERBS: dict[str, type] = {
    "reserve": Reserve,
    "extend": Extend,
    "charge": Charge,
    "release": Release,
    "refund": Refund,
    "top_up": TopUp,
    "adjust": Adjust,
}
KINDS = {"expire": "release", "set_budget": "budget", "remove_budget": "budget"}
DAY = timedelta(days=1)

WALLETS = st.sampled_from(["a", "a", "a", "b"])
JOBS = st.sampled_from([f"job-{number}" for number in range(8)])
NUMBERS = st.integers(0, 40)
AMOUNTS = st.one_of(st.integers(1, 60 * 10**8), st.sampled_from([1, 10**8, 40 * 10**8])).map(
    e8_to_credits
)
BACK = st.sampled_from([None, None, None, timedelta(minutes=1), timedelta(hours=5), DAY])
LABELS = st.sampled_from([None, {"team": "ads"}, {"team": "art"}, {"team": "ads", "user": "li"}])
DEADLINES = st.sampled_from([None, timedelta(minutes=5), timedelta(hours=3)])
PERIODS = st.sampled_from(
    ["hour", "day", "week", "month", "rolling", "lifetime", "in_flight", "job"]
)
SAME: dict[str, Callable[[datetime], Any]] = {
    "hour": lambda at: (at.date(), at.hour),
    "day": lambda at: at.date(),
    "week": lambda at: at.isocalendar()[:2],
    "month": lambda at: (at.year, at.month),
}
"""What two moments of one calendar window have in common."""
REASONS = st.sampled_from([None, "failed"])


@dataclass
class Job:
    wallet: str
    amount: int
    held: int
    reserved_at: datetime
    deadline: datetime
    policy: str
    on_deadline: str
    labels: dict[str, str]
    charged: int = 0
    refunded: int = 0
    state: str = "open"


@dataclass
class Purse:
    posted: int = 0
    held: int = 0
    seq: int = 0
    limit: int = 0
    expiries: list[datetime] = field(default_factory=list)
    budgets: dict[str, dict[str, Any]] = field(default_factory=dict)
    news: list[Entry] = field(default_factory=list)
    frozen: Any = None
    """What is known of the time before the end of the last closed period."""


class Model:
    """Sums, and who asked for what."""

    def __init__(self) -> None:
        self.now = datetime(2026, 10, 10, 12, tzinfo=UTC)
        self.purses: dict[str, Purse] = {}
        self.jobs: dict[str, Job] = {}
        self.seen: dict[tuple[str, str], tuple[Any, Entry]] = {}
        self.parked: dict[tuple[str, str], tuple[datetime, dict[str, Any]]] = {}
        self.discarded: dict[tuple[str, str], tuple[dict[str, Any], str]] = {}
        self.periods: list[Period] = []

    @property
    def closed(self) -> list[Period]:
        return closed_periods(self.periods)

    def counted(self, at: datetime) -> datetime:
        """When something counts: not in a period that is closed."""
        return self.now if self.closed and at < self.closed[-1].end else at

    def check_moment(self, entry: Entry) -> None:
        """What happened in a closed period counts now and says so."""
        told = moment(entry.told_at_us)
        assert entry.happened_at == self.counted(told)
        corrected = [period.name for period in self.closed if told < period.end]
        assert entry.corrects == (corrected[0] if corrected else None)

    def certain(self, wallet: str) -> bool:
        """Whether the book has nothing to do by itself in a wallet."""
        overdue = any(
            job.wallet == wallet
            and job.state == "open"
            and job.on_deadline == "release"
            and job.deadline <= self.now
            for job in self.jobs.values()
        )
        return not overdue and all(when > self.now for when in self.purses[wallet].expiries)

    def check(self, verb: str, given: dict[str, Any], outcome: Any) -> None:
        """Work out what a call must give, compare, and remember it."""
        kind = KINDS.get(verb, verb)
        key = given.get("key") or given["job"]
        content = (verb, {name: item for name, item in given.items() if name != "key"})
        if verb in {"release", "expire"}:
            reason = "deadline passed" if verb == "expire" else given["reason"]
            content = ("release", {"job": given["job"], "reason": reason, "at": given.get("at")})
        if verb == "expire" and given["job"] not in self.jobs:
            assert type(outcome) is UnknownJob
            return
        if (kind, key) in self.seen:
            was, first = self.seen[kind, key]
            if was == content:
                assert outcome == first._replace(replayed=True)
            else:
                assert type(outcome) is KeyReused
            return
        if verb in {"charge", "refund"} and self._waited(kind, key, given, outcome):
            return
        known = self._waits(str(given.get("job"))) if verb in {"charge", "extend"} else False
        own = self.parked.get((kind, key))
        if own is not None:
            if own[1] | {"key": None} != given | {"key": None}:
                assert type(outcome) is KeyReused
                return
            known = True
        expected = getattr(self, f"_{verb}")(given, outcome)
        if expected is not None:
            assert type(outcome) is expected, (expected, outcome)
            if verb in {"reserve", "extend"}:
                # What a deadline released on the way was written all the same.
                purse = self.purses.get(given.get("wallet") or self._wallet_of(given["job"]))
                self.by_itself(purse or Purse())
            return
        assert isinstance(outcome, Entry), outcome
        assert not outcome.replayed
        self.seen[kind, key] = content, outcome
        self._apply(outcome)
        if own is not None:
            del self.parked[kind, key]
        if verb == "reserve" or known:
            self._apply_parked(given["key"] if verb == "reserve" else given["job"])

    def _waits(self, job: str) -> bool:
        return any(given["job"] == job for _, given in self.parked.values())

    def _check_discarded(self, kind: str, key: str, given: dict[str, Any], outcome: Any) -> bool:
        if (kind, key) not in self.discarded:
            return False
        was, reason = self.discarded[kind, key]
        if was | {"key": None} == given | {"key": None}:
            assert outcome[1:5] == (kind, key, given["job"], True)
            assert outcome.discarded == reason
        else:
            assert type(outcome) is KeyReused
        return True

    def _wallet_of(self, job: str) -> str:
        return self.jobs[job].wallet if job in self.jobs else ""

    def _waited(self, kind: str, key: str, given: dict[str, Any], outcome: Any) -> bool:
        if self._check_discarded(kind, key, given, outcome):
            return True
        unknown = given["job"] not in self.jobs
        if unknown:
            self._check_parked(kind, key, given, outcome)
        return unknown

    def _check_parked(self, kind: str, key: str, given: dict[str, Any], outcome: Any) -> None:
        if (kind, key) not in self.parked:
            assert outcome[1:5] == (kind, key, given["job"], False)
            self.parked[kind, key] = self.now, given
        elif self.parked[kind, key][1] | {"key": None} == given | {"key": None}:
            assert outcome[1:5] == (kind, key, given["job"], True)
        else:
            assert type(outcome) is KeyReused

    def _apply_parked(self, job: str) -> None:
        # Charges come before refunds; of one kind and one moment, as they were told.
        waiting = sorted(
            (kind, when, place, key)
            for place, ((kind, key), (when, given)) in enumerate(self.parked.items())
            if given["job"] == job
        )
        for kind, _, _, key in waiting:
            given = self.parked[kind, key][1]
            hold = self.jobs[job]
            asked = 1 if given["amount"] is None else credits_to_e8(given["amount"])
            if (kind, key) in self.seen:
                continue
            if kind == "refund" and hold.charged - hold.refunded < asked:
                continue
            covered = max(hold.held, hold.amount - hold.charged + hold.refunded)
            if kind == "charge" and hold.policy == "reject" and asked > covered:
                continue
            purse = self.purses[hold.wallet]
            self.by_itself(purse)
            entry = purse.news[0]
            assert (entry.kind, entry.key) == (kind, key)
            assert getattr(self, f"_{kind}")(given, entry) is None
            content = {name: item for name, item in given.items() if name != "key"}
            self.seen[kind, key] = (kind, content), entry
            self._apply(entry)
            del self.parked[kind, key]

    def _apply(self, entry: Entry) -> None:
        """Find an entry in the statement, behind what the book did by itself before it."""
        purse = self.purses[entry.wallet]
        self.by_itself(purse)
        assert purse.news.pop(0) == entry
        self.check_moment(entry)
        purse.posted += entry.posted_e8
        purse.held += entry.held_e8
        assert (purse.posted, purse.held) == (entry.posted_after_e8, entry.held_after_e8)

    def by_itself(self, purse: Purse) -> None:
        """Follow lapses, releases at a deadline, and openings."""
        while purse.news:
            entry = purse.news[0]
            if entry.kind == "lapse":
                assert entry.posted_e8 < 0 == entry.held_e8
                assert any(expiry <= entry.happened_at <= self.now for expiry in purse.expiries)
            elif entry.kind == "release" and "@" in entry.key:
                hold = self.jobs[str(entry.job)]
                assert (hold.state, hold.on_deadline) == ("open", "release")
                assert hold.deadline <= self.now
                self._close(hold, entry)
            elif entry.kind != "open":
                return
            self.check_moment(entry)
            purse.posted += entry.posted_e8
            purse.held += entry.held_e8
            purse.news.pop(0)

    def _close(self, hold: Job, entry: Entry) -> None:
        assert (entry.posted_e8, entry.held_e8) == (0, -hold.held)
        hold.held, hold.state = 0, "charged" if hold.charged else "released"

    # The verbs: the class of the error, or None after checking the entry

    def _reserve(self, given: dict[str, Any], outcome: Any) -> type | None:
        if given["wallet"] not in self.purses:
            return UnknownWallet
        amount, at = credits_to_e8(given["amount"]), self.counted(given["at"] or self.now)
        labels = given["labels"] or {}
        refusal = self._refusal(given["wallet"], amount, labels, at, amount, outcome)
        if refusal is not None:
            return refusal
        assert (outcome.posted_e8, outcome.held_e8) == (0, amount)
        deadline = self.now + (given["deadline"] or DAY)
        self.jobs[given["key"]] = Job(
            given["wallet"], amount, amount, at, deadline, given["policy"], given["on_deadline"],
            labels,
        )  # fmt: skip
        return None

    def _extend(self, given: dict[str, Any], outcome: Any) -> type | None:
        hold = self.jobs.get(given["job"])
        if hold is None:
            return UnknownJob
        if hold.state != "open":
            return HoldClosed
        amount = 0 if given["amount"] is None else credits_to_e8(given["amount"])
        if type(outcome) is HoldClosed:
            # To make room, the book released the very hold that was to grow.
            self.by_itself(self.purses[hold.wallet])
            assert hold.state != "open"
            return HoldClosed
        if amount:
            whole, at = hold.amount + amount, hold.reserved_at
            refusal = self._refusal(hold.wallet, amount, hold.labels, at, whole, outcome)
            if refusal is not None:
                return refusal
        assert (outcome.posted_e8, outcome.held_e8) == (0, amount)
        hold.amount += amount
        hold.held += amount
        if given["deadline"] is not None:
            hold.deadline = self.now + given["deadline"]
        return None

    def _refusal(
        self, wallet: str, amount: int, labels: dict[str, str], at: datetime, whole: int, got: Any
    ) -> type | None:
        if not self.certain(wallet):
            return type(got) if isinstance(got, InsufficientCredits | BudgetExceeded) else None
        purse = self.purses[wallet]
        if amount > purse.posted - purse.held + purse.limit:
            return InsufficientCredits
        full = any(
            budget["hard"]
            and self._level(wallet, budget, labels, at, amount, whole) > budget["limit_e8"]
            for budget in purse.budgets.values()
        )
        return BudgetExceeded if full else None

    def _level(
        self,
        wallet: str,
        budget: dict[str, Any],
        labels: dict[str, str],
        at: datetime,
        amount: int,
        whole: int,
    ) -> int:
        """How full a budget would be; nothing where it does not count the job."""
        match, period = budget["match"] or {}, budget["period"]
        each = {label for label, value in match.items() if value == "*"}
        if not selected(labels, match):
            return 0
        if period == "job":
            return whole
        if at < budget["since"]:
            return 0
        if period == "rolling":
            ends = [at, *(job.reserved_at for job in self.jobs.values() if job.reserved_at > at)]
            ends = [end for end in ends if minute(end) <= at + timedelta(minutes=60)]
        else:
            ends = [at]
        return max(self._window(wallet, budget, labels, at, end, each) + amount for end in ends)

    def _window(
        self, wallet: str, budget: dict[str, Any], labels: dict[str, str], at: datetime,
        end: datetime, each: set[str],
    ) -> int:  # fmt: skip
        """What the jobs of a window have taken already; a rolling one ends at `end`."""
        match, period = budget["match"] or {}, budget["period"]
        total = 0
        for job in self.jobs.values():
            same = all(job.labels.get(label) == labels[label] for label in each)
            same = same and selected(job.labels, match) and job.wallet == wallet
            if not same or job.reserved_at < budget["since"]:
                continue
            if period in SAME and SAME[period](job.reserved_at) != SAME[period](at):
                continue
            # An hour moves in steps of a minute.
            step = minute(job.reserved_at)
            if period == "rolling" and not step <= end < step + timedelta(minutes=61):
                continue
            total += job.held + (0 if period == "in_flight" else job.charged - job.refunded)
        return total

    def _charge(self, given: dict[str, Any], outcome: Any) -> type | None:
        hold = self.jobs[given["job"]]
        purse = self.purses[hold.wallet]
        certain = self.certain(hold.wallet)
        amount, at = credits_to_e8(given["amount"]), given["at"] or self.now
        within = min(amount, max(hold.held, hold.amount - hold.charged + hold.refunded))
        over = amount - within
        if over and hold.policy == "reject":
            return ChargeAboveHold
        taken = amount if hold.policy == "owe" else within
        if hold.policy == "draw":
            free = purse.posted - purse.held + purse.limit
            most = min(amount, hold.held + max(0, free))
            taken = most if certain else -outcome.posted_e8
            assert taken <= most
        freed = hold.held if given["final"] else min(hold.held, taken)
        told = moment(outcome.told_at_us)
        late = hold.state != "open" or told >= hold.deadline
        assert told == at or told < self.now  # parked ones
        assert (outcome.posted_e8, outcome.held_e8, outcome.over_e8) == (-taken, -freed, over)
        assert (outcome.uncollected_e8, outcome.late) == (amount - taken, int(late))
        hold.charged += taken
        hold.held -= freed
        if given["final"]:
            hold.state = "charged"
        return None

    def _release(self, given: dict[str, Any], outcome: Any) -> type | None:
        hold = self.jobs.get(given["job"])
        if hold is None:
            return UnknownJob
        if hold.state != "open":
            return HoldClosed
        self._close(hold, outcome)
        return None

    def _expire(self, given: dict[str, Any], outcome: Any) -> type | None:
        hold = self.jobs[given["job"]]
        return HoldClosed if self.now < hold.deadline else self._release(given, outcome)

    def _refund(self, given: dict[str, Any], outcome: Any) -> type | None:
        hold = self.jobs[given["job"]]
        left = hold.charged - hold.refunded
        back = left if given["amount"] is None else credits_to_e8(given["amount"])
        if not 0 < back <= left:
            return RefundAboveCharge
        assert (outcome.posted_e8, outcome.held_e8) == (back, 0)
        hold.refunded += back
        return None

    def _top_up(self, given: dict[str, Any], outcome: Any) -> type | None:
        if given["expires"] is not None and given["expires"] <= (given["at"] or self.now):
            return InvalidEntry
        assert (outcome.posted_e8, outcome.held_e8) == (credits_to_e8(given["amount"]), 0)
        if given["expires"] is not None:
            self.purses[given["wallet"]].expiries.append(given["expires"])
        return None

    def _adjust(self, given: dict[str, Any], outcome: Any) -> type | None:
        if given["wallet"] not in self.purses:
            return UnknownWallet
        sign = -1 if given["amount"] < 0 else 1
        amount = sign * credits_to_e8(abs(given["amount"]))
        assert (outcome.posted_e8, outcome.held_e8) == (amount, 0)
        return None

    def _set_budget(self, given: dict[str, Any], outcome: Any) -> type | None:
        if given["wallet"] not in self.purses:
            return UnknownWallet
        since = datetime(1970, 1, 1, tzinfo=UTC)
        midnight = self.now.replace(hour=0, minute=0, second=0, microsecond=0)
        if given["period"] == "hour":
            since = self.now.replace(minute=0, second=0, microsecond=0)
        elif given["period"] == "day":
            since = midnight
        elif given["period"] == "week":
            since = midnight - timedelta(days=self.now.weekday())
        elif given["period"] == "month":
            since = midnight.replace(day=1)
        elif given["period"] == "rolling":
            since = self.now.replace(second=0, microsecond=0) - timedelta(hours=1)
        kept = given | {"limit_e8": credits_to_e8(given["limit"]), "since": since}
        self.purses[given["wallet"]].budgets[given["title"]] = kept
        return None

    def _remove_budget(self, given: dict[str, Any], outcome: Any) -> type | None:
        if given["wallet"] not in self.purses:
            return UnknownWallet
        found = self.purses[given["wallet"]].budgets.pop(given["title"], None)
        return UnknownBudget if found is None else None


class Lockstep(RuleBasedStateMachine):
    url = ""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        name = f"machine-{uuid4().hex[:12]}"
        self.books = [
            Book(url, book=name, clock=lambda: self.model.now) for url in ("sqlite://", self.url)
        ]
        self.calls: list[Call] = []
        self.do("top_up", wallet="a", amount=e8_to_credits(100 * 10**8), key="first", expires=None,
                promotional=False, at=None)  # fmt: skip

    def teardown(self) -> None:
        for book in self.books:
            book.close()

    def both(self, call: Callable[[Book], Any]) -> Any:
        """The outcome of a call, the same on both engines."""
        outcomes = []
        for book in self.books:
            try:
                outcomes.append(call(book))
            except LedgerError as error:
                outcomes.append(error)
        assert told(outcomes[0]) == told(outcomes[1])
        return outcomes[0]

    def read_news(self) -> None:
        for wallet in ("a", "b", "c"):
            statement = self.both(methodcaller("statement", wallet))
            if isinstance(statement, Statement):
                purse = self.model.purses.setdefault(wallet, Purse())
                purse.news += statement.entries[purse.seq :]
                purse.seq = len(statement.entries)

    def do(self, verb: str, **given: Any) -> None:
        outcome = self.both(lambda book: getattr(book, verb)(**given))
        self.read_news()
        self.model.check(verb, given, outcome)
        self.calls.append((verb, given))

    def at(self, back: timedelta | None) -> datetime | None:
        return None if back is None else self.model.now - back

    @rule(wallet=WALLETS, amount=AMOUNTS, number=NUMBERS, promotional=st.booleans(), back=BACK,
          lasts=st.sampled_from([None, None, timedelta(minutes=10), DAY]))  # fmt: skip
    def top_up(self, wallet: str, amount: Any, number: int, promotional: bool,
               back: timedelta | None, lasts: timedelta | None) -> None:  # fmt: skip
        expires = None if lasts is None else self.model.now + lasts
        self.do("top_up", wallet=wallet, amount=amount, key=f"invoice-{number}", expires=expires,
                promotional=promotional, at=self.at(back))  # fmt: skip

    def reserving(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> dict[str, Any]:
        key = draw(JOBS)
        policies = ["owe", "draw", "cap", "reject"]
        return {
            "wallet": draw(WALLETS),
            "amount": draw(AMOUNTS),
            "key": key,
            "labels": draw(LABELS),
            "deadline": draw(DEADLINES),
            "policy": draw(st.sampled_from(policies)),
            "on_deadline": draw(st.sampled_from(["keep", "release"])),
            "at": self.at(draw(BACK)),
        }

    def charging(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> dict[str, Any]:
        job = draw(JOBS)
        key = draw(st.sampled_from([None, f"{job}-1", f"{job}-2", "shared", "job-0"]))
        final, at = draw(st.booleans()), self.at(draw(BACK))
        return {"job": job, "amount": draw(AMOUNTS), "key": key, "final": final, "at": at}

    def refunding(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> dict[str, Any]:
        job = draw(JOBS)
        key = draw(st.sampled_from([None, f"{job}-1", f"{job}-2", "shared", "job-0"]))
        amount = draw(st.one_of(st.none(), AMOUNTS))
        return {"job": job, "amount": amount, "key": key, "reason": draw(REASONS), "at": None}

    def releasing(self, draw: Callable[[st.SearchStrategy[Any]], Any]) -> dict[str, Any]:
        key = draw(st.sampled_from([None, "release-1", "release-2"]))
        return {"job": draw(JOBS), "key": key, "reason": draw(REASONS), "at": self.at(draw(BACK))}

    @rule(data=st.data(), verb=st.sampled_from(["reserve", "reserve", "charge", "charge"]))
    def reserve_or_charge(self, data: st.DataObject, verb: str) -> None:
        self.do(verb, **(self.reserving if verb == "reserve" else self.charging)(data.draw))

    @rule(data=st.data(), verb=st.sampled_from(["refund", "release"]))
    def give_back(self, data: st.DataObject, verb: str) -> None:
        self.do(verb, **(self.refunding if verb == "refund" else self.releasing)(data.draw))

    @rule(wallet=WALLETS, amount=AMOUNTS, minus=st.booleans(), number=NUMBERS)
    def adjust(self, wallet: str, amount: Any, minus: bool, number: int) -> None:
        signed = -amount if minus else amount
        self.do("adjust", wallet=wallet, amount=signed, key=f"fix-{number}", reason="slip", at=None)

    @rule(job=JOBS, amount=AMOUNTS, deadline=DEADLINES, number=NUMBERS)
    def extend(self, job: str, amount: Any, deadline: timedelta | None, number: int) -> None:
        self.do("extend", job=job, key=f"more-{number}", amount=amount, deadline=deadline, at=None)

    @rule(job=JOBS)
    def expire(self, job: str) -> None:
        self.do("expire", job=job, key=None)

    @rule(wallet=WALLETS)
    def lapse(self, wallet: str) -> None:
        outcome = self.both(lambda book: book.lapse(wallet))
        assert isinstance(outcome, list) == (wallet in self.model.purses)
        self.read_news()

    @rule(wallet=st.sampled_from(["a", "b", "c"]), limit=st.sampled_from([0, 20]))
    def open_wallet(self, wallet: str, limit: int) -> None:
        outcome = self.both(lambda book: book.open_wallet(wallet, credit_limit=limit))
        known = self.model.purses.get(wallet)
        if known is not None and known.limit != limit * 10**8:
            assert type(outcome) is WalletExists
        else:
            assert (outcome.kind, outcome.replayed) == ("open", known is not None)
        self.read_news()
        self.model.purses[wallet].limit = (limit * 10**8) if known is None else known.limit

    @rule(wallet=st.sampled_from([None, "a", "b"]))
    def sweep(self, wallet: str | None) -> None:
        outcome = self.both(lambda book: book.sweep(wallet))
        assert isinstance(outcome, list) == (wallet is None or wallet in self.model.purses)
        self.read_news()

    @rule(data=st.data())
    def try_to_reserve(self, data: st.DataObject) -> None:
        given = self.reserving(data.draw)
        if given["key"] in self.model.jobs or given["wallet"] not in self.model.purses:
            return
        labels, at = given["labels"] or {}, self.model.counted(given["at"] or self.model.now)
        amount = credits_to_e8(given["amount"])
        outcome = self.both(lambda book: book.reserve(**given, dry_run=True))
        refusal = self.model._refusal(given["wallet"], amount, labels, at, amount, outcome)
        assert type(outcome) is (refusal or Entry)
        self.read_news()
        assert all(not purse.news for purse in self.model.purses.values())

    @precondition(lambda self: self.model.parked)
    @rule(data=st.data(), reason=st.sampled_from(["stray", "typo"]))
    def discard(self, data: st.DataObject, reason: str) -> None:
        kind, key = data.draw(st.sampled_from(sorted(self.model.parked)))
        for _ in range(2):
            closed = self.both(lambda book: book.discard(kind, key, reason=reason))
            assert closed.discard_reason == reason
        _, given = self.model.parked.pop((kind, key))
        self.model.discarded[kind, key] = given, reason
        other = self.both(lambda book: book.discard(kind, key, reason="another"))
        assert type(other) is UnknownMessage
        for discarded, known in ((False, self.model.parked), (True, self.model.discarded)):
            listed = self.both(methodcaller("inbox", discarded=discarded))
            assert {(item.kind, item.key) for item in listed} == set(known)

    @rule(wallet=WALLETS, title=st.sampled_from(["x", "y"]), amount=AMOUNTS,
          number=NUMBERS, match=st.sampled_from([None, {"team": "ads"}, {"team": "*"}]),
          period=PERIODS, hard=st.sampled_from([True, True, False]))  # fmt: skip
    def set_budget(self, wallet: str, title: str, amount: Any, number: int,
                   match: dict[str, str] | None, period: str, hard: bool) -> None:  # fmt: skip
        self.do("set_budget", wallet=wallet, title=title, limit=amount, key=f"limit-{number}",
                match=match, hard=hard, period=period, thresholds=(50, 100),
                rolling_seconds=3600 if period == "rolling" else None)  # fmt: skip

    @rule(wallet=WALLETS, title=st.sampled_from(["x", "y"]), number=NUMBERS)
    def remove_budget(self, wallet: str, title: str, number: int) -> None:
        self.do("remove_budget", wallet=wallet, title=title, key=f"limit-{number}")

    @rule(back=st.integers(-1, 2), length=st.integers(0, 2), follows=st.booleans())
    def close_period(self, back: int, length: int, follows: bool) -> None:
        model, today = self.model, self.model.now.date()
        end = today - timedelta(days=back)
        start = end - timedelta(days=length)
        if follows and model.closed:
            start = model.closed[-1].end.date()
        period = f"{start}/{end}"
        known = [(item.start.date(), item.end.date()) for item in model.closed]
        outcome = self.both(lambda book: book.close_period(period, unreconciled="a test"))
        if start >= end:
            assert type(outcome) is InvalidEntry
        elif (start, end) in known:
            assert outcome == model.closed[known.index((start, end))]._replace(replayed=True)
        elif back < 0:
            assert type(outcome) is PeriodNotOver
        elif known and start != known[-1][1]:
            assert type(outcome) is PeriodOutOfOrder
        else:
            assert (outcome.action, outcome.name, outcome.recorded_at) == (
                "close", period, model.now,
            )  # fmt: skip
            self.follow_period(outcome, outcome.end)

    @rule(data=st.data(), reason=st.sampled_from(["slip", "typo"]))
    def reopen_period(self, data: st.DataObject, reason: str) -> None:
        model = self.model
        names = sorted({"2026-09", *(item.name for item in model.periods)})
        period = data.draw(st.sampled_from(names))
        outcome = self.both(lambda book: book.reopen_period(period, reason=reason))
        closed, last = [item.name for item in model.closed], model.periods[-1:]
        if closed and closed[-1] == period:
            assert (outcome.action, outcome.name, outcome.reason) == ("reopen", period, reason)
            before = model.closed[:-1]
            self.follow_period(outcome, before[-1].end if before else None)
        elif [(item.action, item.name, item.reason) for item in last] == [
            ("reopen", period, reason)
        ]:
            assert outcome == last[0]._replace(replayed=True)
        else:
            assert type(outcome) is UnknownPeriod

    def follow_period(self, period: Period, closed_until: datetime | None) -> None:
        """Find a closing or reopening in every wallet, with the figures that it froze."""
        self.read_news()
        for wallet, purse in self.model.purses.items():
            self.model.by_itself(purse)
            mark = purse.news.pop(0)
            then = self.both(methodcaller("statement", wallet, until=period.end, by="happened"))
            facts = mark.details
            assert (mark.kind, facts["period"], mark.happened_at) == (
                period.action, period.name, self.model.now,
            )  # fmt: skip
            assert (facts["posted_e8"], facts["held_e8"]) == (
                sum(entry.posted_e8 for entry in then.entries),
                sum(entry.held_e8 for entry in then.entries),
            )
        self.model.periods.append(period)
        assert self.both(methodcaller("periods")) == self.model.periods
        for wallet, purse in self.model.purses.items():
            purse.frozen = self.before(wallet, closed_until)

    def before(self, wallet: str, end: datetime | None) -> Any:
        """What there is to know of the time before a moment."""
        if end is None:
            return None
        statement = methodcaller("statement", wallet, until=end, by="happened")
        balance = methodcaller("balance", wallet, before=end, by="happened")
        trial = methodcaller("trial_balance", before=end, by="happened")
        return [self.both(call) for call in (statement, balance, trial)]

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def again(self, data: st.DataObject) -> None:
        self.repeat(*data.draw(st.sampled_from(self.calls)))

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), amount=AMOUNTS)
    def again_with_another_amount(self, data: st.DataObject, amount: Any) -> None:
        verb, given = data.draw(st.sampled_from(self.calls))
        named = "limit" if verb == "set_budget" else "amount"
        self.repeat(verb, given | {named: amount} if named in given else given)

    def repeat(self, verb: str, given: dict[str, Any]) -> None:
        self.do(verb, **given)

    @rule(length=st.sampled_from([1, 59, 240, 600, 3600, 7200, 86400]))
    def time_passes(self, length: int) -> None:
        self.model.now += timedelta(seconds=length)

    @rule(data=st.data(), atomic=st.booleans(), verbs=st.lists(
        st.sampled_from(["reserve", "charge", "release", "refund"]), min_size=2, max_size=6,
    ))  # fmt: skip
    def batch(self, data: st.DataObject, verbs: list[str], atomic: bool) -> None:
        makers = {
            "reserve": self.reserving,
            "charge": self.charging,
            "release": self.releasing,
            "refund": self.refunding,
        }
        calls = [(verb, makers[verb](data.draw)) for verb in verbs]
        items = [VERBS[verb](**given) for verb, given in calls]
        outcomes = self.both(lambda book: book.batch(items, atomic=atomic))
        self.read_news()
        if isinstance(outcomes, BatchRefused):
            # Nothing was written, and one by one it is the very item that is refused.
            assert all(not purse.news for purse in self.model.purses.values())
            refused, outcomes = outcomes, self.both(lambda book: book.batch(items))
            first = next(item for item in outcomes if isinstance(item, LedgerError))
            assert (outcomes.index(first), told(first)) == (refused.index, told(refused.error))
            self.read_news()
        for (verb, given), outcome in zip(calls, outcomes, strict=True):
            self.model.check(verb, given, outcome)
        self.calls += calls

    @invariant()
    def everything_agrees(self) -> None:
        for wallet, purse in self.model.purses.items():
            self.model.by_itself(purse)
            assert not purse.news
            balance = self.both(methodcaller("balance", wallet))
            assert (balance.posted_e8, balance.held_e8) == (purse.posted, purse.held)
            open_e8 = sum(job.held for job in self.model.jobs.values() if job.wallet == wallet)
            assert open_e8 == purse.held
            assert balance.lapsing_e8 >= 0
            assert balance.lapsing_e8 == 0 or not self.model.certain(wallet)
            if self.model.closed and purse.frozen is not None:
                assert self.before(wallet, self.model.closed[-1].end) == purse.frozen
        for name, job in self.model.jobs.items():
            hold = self.both(methodcaller("hold", name))
            assert (hold.state, hold.held_e8, hold.charged_e8, hold.refunded_e8) == (
                job.state, job.held, job.charged, job.refunded,
            )  # fmt: skip
        assert self.both(lambda book: book.verify()).findings == ()


def minute(at: datetime) -> datetime:
    """The step of a rolling hour."""
    return at.replace(second=0, microsecond=0)


def selected(labels: dict[str, str], match: dict[str, str]) -> bool:
    """Whether a budget counts a job with these labels."""
    return all(name in labels and value in {"*", labels[name]} for name, value in match.items())


def told(outcome: Any) -> Any:
    """What a caller learns: errors by class and facts."""
    if isinstance(outcome, LedgerError):
        return type(outcome), str(outcome), [told(item) for item in vars(outcome).values()]
    if isinstance(outcome, list):
        return [told(item) for item in outcome]
    return outcome


def test_the_model_and_both_engines_stay_in_step(postgres_url: str) -> None:
    machine = type("Machine", (Lockstep,), {"url": postgres_url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            deadline=None,
            print_blob=True,
            # Shrinking takes minutes: each step asks two databases. Add Phase.shrink for it.
            phases=[Phase.explicit, Phase.reuse, Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )

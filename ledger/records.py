"""What the book is made of: entries, holds, balances, and the bytes their hashes cover.

Times are whole microseconds since 1970 in UTC (`…_us`), amounts are units of 10^-8 credit
(`…_e8`). Texts hold no control characters, so a line break can separate fields in what is hashed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from hashlib import sha256
from typing import Any, Literal, NamedTuple
from unicodedata import category

from ledger.errors import Fault, InvalidEntry, InvalidMoment
from ledger.units import e8_to_credits, parse_moment

__all__ = [
    "GENESIS",
    "LONGEST_NAME",
    "Balance",
    "By",
    "Crossing",
    "Entry",
    "Hold",
    "ImportRecord",
    "InboxRecord",
    "Kind",
    "Lot",
    "MessageRecord",
    "Parked",
    "Period",
    "Policy",
    "Statement",
    "StatementLine",
    "TaskRecord",
    "TrialLine",
    "WalletRecord",
    "closed_periods",
    "digest_of",
    "entry_hash",
    "labels_text",
    "moment",
    "name",
    "us",
]

Kind = Literal[
    "open",
    "top_up",
    "reserve",
    "extend",
    "charge",
    "release",
    "refund",
    "adjust",
    "lapse",
    "budget",
    "close",
    "reopen",
]
"""Kinds of entries: one per verb that changes a wallet."""

Policy = Literal["owe", "draw", "cap", "reject"]
"""What a charge above its hold does; see `ledger.Ledger.reserve`."""

By = Literal["recorded", "happened"]
"""Which of an entry's two times a question is about: when it was written, or when it happened."""

GENESIS = bytes(32)
"""The hash before the first entry of a wallet."""

LONGEST_NAME = 255
"""Longest key, wallet name, label or reason, in characters; longer ones are a slip."""

MOST_LABELS = 32
"""Most labels on one job."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Entry(NamedTuple):
    """One append-only fact in a wallet.

    `posted_e8` moves between the wallet and the contra account, `held_e8` between the wallet's
    available credits and its holds; each counts once on either side, so debits equal credits by
    the shape of the row.
    """

    book: str
    wallet: str
    seq: int
    """Place in the wallet, from 1, without gaps."""
    kind: str
    key: str
    """The caller's key; unique for the kind within the book."""
    job: str | None
    contra: str
    """The account on the other side: funding, promotion, provider, holds, …"""
    posted_e8: int
    """Change of the credits that belong to the wallet."""
    held_e8: int
    """Change of the credits that holds have set aside."""
    posted_after_e8: int
    held_after_e8: int
    over_e8: int
    """How much of a charge was above what its hold had been made for."""
    uncollected_e8: int
    """How much of a charge the hold's policy did not take."""
    late: int
    """1 where a charge came after the release or the deadline of its hold."""
    lots: str | None
    """Which lots the credits came from or went to: JSON, lot → units of 10^-8 credit."""
    facts: str | None
    """What else belongs to the fact, as JSON: seconds, reason, thresholds crossed, …"""
    happened_at_us: int
    recorded_at_us: int
    digest: bytes
    """SHA-256 of what the caller asked for."""
    hash: bytes
    """SHA-256 over the previous entry's hash, the digest and every column before it."""
    replayed: bool = False
    """Whether this is the first result of an earlier call with the same key."""

    @property
    def amount(self) -> Decimal:
        """The credits this entry is about: charged, refunded, topped up, set aside, given back."""
        sets_aside = self.kind in {"reserve", "extend", "release"}
        return e8_to_credits(abs(self.held_e8 if sets_aside else self.posted_e8))

    @property
    def posted_after(self) -> Decimal:
        """Credits in the wallet after this entry, held ones included."""
        return e8_to_credits(self.posted_after_e8)

    @property
    def held_after(self) -> Decimal:
        """Credits set aside after this entry."""
        return e8_to_credits(self.held_after_e8)

    @property
    def happened_at(self) -> datetime:
        """When it happened."""
        return moment(self.happened_at_us)

    @property
    def recorded_at(self) -> datetime:
        """When it was written down."""
        return moment(self.recorded_at_us)

    @property
    def details(self) -> dict[str, Any]:
        """`facts`, read."""
        return {} if self.facts is None else json.loads(self.facts)

    @property
    def corrects(self) -> str | None:
        """The closed period that it happened in, where that was closed before it was told."""
        found: str | None = self.details.get("corrects")
        return found

    @property
    def told_at_us(self) -> int:
        """When it was told to have happened, in microseconds since 1970.

        Not `happened_at_us`, where the period was closed already or the teller's clock was ahead.
        """
        at = self.details.get("at")
        return self.happened_at_us if at is None else us(parse_moment(at))

    @property
    def crossed(self) -> tuple[Crossing, ...]:
        """Thresholds of budgets that this entry was the first to cross."""
        return tuple(Crossing(*item) for item in self.details.get("crossed", ()))


class Crossing(NamedTuple):
    """A threshold of a budget that was reached for the first time in its window."""

    budget: str
    group: str
    """Whose share, such as `user=li`; empty where the budget is for all."""
    percent: str


class Hold(NamedTuple):
    """Credits set aside for one job, and what became of them."""

    book: str
    job: str
    wallet: str | None
    seq: int
    """The entry that made it."""
    last_seq: int
    """The last entry about it."""
    state: str
    """open, charged, released; awaited while only parked messages know the job."""
    amount_e8: int
    """What it was made for, extensions included."""
    held_e8: int
    """What is still set aside."""
    charged_e8: int
    refunded_e8: int
    deadline_us: int
    reserved_at_us: int
    policy: str
    on_deadline: str
    """`keep` (the outcome is unknown, so it stays held) or `release`."""
    labels: str
    """JSON object of texts, keys sorted."""
    terms: str | None
    """JSON: how it was asked for, and the price version a charge by length is priced with."""
    lots: str | None
    """JSON: credits its charges took from each lot and no refund gave back."""
    parked: int
    """1 where the inbox holds messages for this job that were not applied."""

    def state_at(self, now_us: int) -> str:
        """The state, where an open hold past its deadline is `unknown`."""
        return "unknown" if self.state == "open" and now_us >= self.deadline_us else self.state

    @property
    def amount(self) -> Decimal:
        """Credits it was made for, extensions included."""
        return e8_to_credits(self.amount_e8)

    @property
    def held(self) -> Decimal:
        """Credits still set aside."""
        return e8_to_credits(self.held_e8)

    @property
    def charged(self) -> Decimal:
        """Credits charged so far, refunds not deducted."""
        return e8_to_credits(self.charged_e8)

    @property
    def refunded(self) -> Decimal:
        """Credits given back after a charge."""
        return e8_to_credits(self.refunded_e8)

    @property
    def deadline(self) -> datetime:
        """From when on its outcome counts as unknown."""
        return moment(self.deadline_us)

    @property
    def reserved_at(self) -> datetime:
        """When it was reserved."""
        return moment(self.reserved_at_us)

    @property
    def label_values(self) -> dict[str, str]:
        """`labels`, read."""
        values: dict[str, str] = json.loads(self.labels)
        return values

    @property
    def price(self) -> dict[str, str] | None:
        """What a charge by length is priced with: model, version, channel, options."""
        price: dict[str, str] | None = json.loads(self.terms or "{}").get("price")
        return price


class Lot(NamedTuple):
    """Credits that came in together, with what they cost and when they lapse."""

    book: str
    wallet: str
    seq: int
    """The entry that brought them; also the lot's name."""
    origin: str
    """paid, promotional, or adjustment."""
    granted_e8: int
    used_e8: int
    lapsed_e8: int
    cash_e8: int | None
    """Money paid for them, in units of 10^-8 of the currency."""
    currency: str | None
    expires_at_us: int | None
    granted_at_us: int

    @property
    def granted(self) -> Decimal:
        """Credits that came in."""
        return e8_to_credits(self.granted_e8)

    @property
    def remaining(self) -> Decimal:
        """Credits neither used nor lapsed."""
        return e8_to_credits(self.remaining_e8)

    @property
    def cash(self) -> Decimal | None:
        """Money paid for them."""
        return None if self.cash_e8 is None else e8_to_credits(self.cash_e8)

    @property
    def expires_at(self) -> datetime | None:
        """When what is left of them lapses."""
        return None if self.expires_at_us is None else moment(self.expires_at_us)

    @property
    def remaining_e8(self) -> int:
        """Credits neither used nor lapsed."""
        return self.granted_e8 - self.used_e8 - self.lapsed_e8


class WalletRecord(NamedTuple):
    """A wallet's row; see `ledger.tables.WalletRow`."""

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
    """Nothing happens before this moment any more: the end of the last closed period."""


class InboxRecord(NamedTuple):
    """A parked message's row; see `ledger.tables.InboxRow`."""

    book: str
    kind: str
    key: str
    job: str
    content: str
    happened_at_us: int | None
    recorded_at_us: int
    place: int
    """Its place among the messages that came in together."""
    digest: bytes
    applied: int
    discarded_at_us: int | None = None
    discard_reason: str | None = None

    @property
    def is_discarded(self) -> bool:
        """Whether a person said that it will never be applied."""
        return self.discarded_at_us is not None


class TaskRecord(NamedTuple):
    """A task of the provider, as far as its messages tell; see `ledger.tables.TaskRow`."""

    book: str
    id: str
    """The provider's name for it."""
    job: str | None
    """The hold it belongs to; None until somebody says so."""
    model: str | None
    status: str
    """The provider's word: pending, processing, completed, failed, cancelled, or a new one."""
    state: str
    """What follows for the book: running, settled, unproven, unpriced, disputed."""
    facts: str
    """JSON: what all its messages say together."""
    applied: int
    """1 where the book has done what the facts ask for."""
    version: int
    """Counts changes; it guards every write."""
    first_heard_at_us: int
    last_heard_at_us: int

    @property
    def first_heard_at(self) -> datetime:
        """When the first message about it was received."""
        return moment(self.first_heard_at_us)

    @property
    def last_heard_at(self) -> datetime:
        """When the latest message about it was received."""
        return moment(self.last_heard_at_us)


class MessageRecord(NamedTuple):
    """A message about a task as it came; see `ledger.tables.MessageRow`."""

    book: str
    task: str
    digest: bytes
    """SHA-256 of the body."""
    body: str
    received_at_us: int
    recorded_at_us: int


class ImportRecord(NamedTuple):
    """How far a file was read into the book; see `ledger.tables.ImportRow`."""

    book: str
    kind: str
    """tasks, statement, cash, or corrections."""
    digest: bytes
    """SHA-256 of the file."""
    name: str
    lines: int
    """Lines that were read."""
    offset_bytes: int
    """Where the first line begins that was not read."""
    complete: int
    """1 where all of it was read."""
    result: str | None
    """JSON: what came of it so far."""
    recorded_at_us: int


class Period(NamedTuple):
    """A period of a book that was closed, or opened again; see `ledger.tables.PeriodRow`."""

    book: str
    seq: int
    """Its place among all closings and reopenings of the book, from 1."""
    action: str
    """close or reopen."""
    name: str
    """As it was asked for: 2026-10, or 2026-10-01/2026-11-01."""
    start_us: int
    """First moment inside."""
    end_us: int
    """First moment outside."""
    timezone: str
    """Where its days begin."""
    reconciliation: int | None
    """The latest of the comparisons with the provider's bill that it was closed on."""
    reason: str | None
    """Why it was reopened, or closed without a comparison or with open breaks."""
    recorded_at_us: int
    replayed: bool = False
    """Whether it was closed or reopened before, and nothing was written now."""

    @property
    def start(self) -> datetime:
        """First moment inside."""
        return moment(self.start_us)

    @property
    def end(self) -> datetime:
        """First moment outside."""
        return moment(self.end_us)

    @property
    def digest(self) -> bytes:
        """SHA-256 over its row, which stands in the entries that it made."""
        return digest_of(*self[1:10])

    @property
    def recorded_at(self) -> datetime:
        """When it was closed or reopened."""
        return moment(self.recorded_at_us)


def closed_periods(periods: Iterable[Period]) -> list[Period]:
    """The periods that are closed now, in the order of time, by everything done to them so far.

    >>> october = Period("main", 1, "close", "2026-10", 5, 8, "UTC", None, None, 9)
    >>> november = Period("main", 2, "close", "2026-11", 8, 11, "UTC", None, None, 12)
    >>> again = november._replace(seq=3, action="reopen")
    >>> [period.name for period in closed_periods([october, november, again])]
    ['2026-10']
    """
    closed: list[Period] = []
    for period in periods:
        if period.action == "close":
            closed.append(period)
        elif closed:
            closed.pop()
    return closed


class Balance(NamedTuple):
    """What a wallet holds."""

    wallet: str
    posted_e8: int
    held_e8: int
    credit_limit_e8: int
    lapsing_e8: int
    """Expired credits that no hold keeps alive and no entry has taken out yet."""
    seq: int
    """The last entry that is counted."""

    @property
    def available_e8(self) -> int:
        """What a new job may reserve: posted − held − lapsing + credit limit."""
        return self.posted_e8 - self.held_e8 - self.lapsing_e8 + self.credit_limit_e8

    @property
    def posted(self) -> Decimal:
        """Credits in the wallet, held ones included; below zero where a charge was owed."""
        return e8_to_credits(self.posted_e8)

    @property
    def held(self) -> Decimal:
        """Credits set aside by open holds."""
        return e8_to_credits(self.held_e8)

    @property
    def available(self) -> Decimal:
        """What a new job may reserve."""
        return e8_to_credits(self.available_e8)


class StatementLine(NamedTuple):
    """An entry in a statement, with the balances after it in the statement's order."""

    entry: Entry
    posted_after_e8: int
    """The entry's own running balance by `recorded`; summed again in order by `happened`."""
    held_after_e8: int

    @property
    def posted_after(self) -> Decimal:
        """Credits in the wallet after this line, held ones included."""
        return e8_to_credits(self.posted_after_e8)

    @property
    def held_after(self) -> Decimal:
        """Credits set aside after this line."""
        return e8_to_credits(self.held_after_e8)


class Statement(NamedTuple):
    """The entries of a wallet from one moment up to and without another, and what they did."""

    wallet: str
    since_us: int | None
    """First moment inside; None from the beginning."""
    until_us: int | None
    """First moment outside; None up to now."""
    by: By
    opening_posted_e8: int
    opening_held_e8: int
    lines: tuple[StatementLine, ...]
    """By `recorded` in the order of the wallet, by `happened` in the order of happening."""
    closing_posted_e8: int
    closing_held_e8: int

    @property
    def entries(self) -> tuple[Entry, ...]:
        """The entries alone, in the order of the lines."""
        return tuple(line.entry for line in self.lines)

    @property
    def since(self) -> datetime | None:
        """First moment inside."""
        return None if self.since_us is None else moment(self.since_us)

    @property
    def until(self) -> datetime | None:
        """First moment outside."""
        return None if self.until_us is None else moment(self.until_us)

    @property
    def opening_posted(self) -> Decimal:
        """Credits in the wallet before the first line, held ones included."""
        return e8_to_credits(self.opening_posted_e8)

    @property
    def opening_held(self) -> Decimal:
        """Credits set aside before the first line."""
        return e8_to_credits(self.opening_held_e8)

    @property
    def closing_posted(self) -> Decimal:
        """Credits in the wallet after the last line, held ones included."""
        return e8_to_credits(self.closing_posted_e8)

    @property
    def closing_held(self) -> Decimal:
        """Credits set aside after the last line."""
        return e8_to_credits(self.closing_held_e8)


class TrialLine(NamedTuple):
    """One account of a trial balance, net: one of the two amounts is zero."""

    account: str
    """A contra account such as `funding`, or `wallets`: what is owed to their owners."""
    debit_e8: int
    credit_e8: int

    @property
    def debit(self) -> Decimal:
        """By how many credits its debits exceed its credits."""
        return e8_to_credits(self.debit_e8)

    @property
    def credit(self) -> Decimal:
        """By how many credits its credits exceed its debits."""
        return e8_to_credits(self.credit_e8)


class Parked(NamedTuple):
    """A charge or refund that is in the inbox: its job is not reserved yet, or it was discarded."""

    book: str
    kind: str
    key: str
    job: str
    replayed: bool = False
    nearest: tuple[str, ...] = ()
    """Reserved jobs with similar names, in case this one was misspelt."""
    discarded: str | None = None
    """Why a person has discarded it since, if one has; it waits no more."""


def entry_hash(previous: bytes, columns: Sequence[Any]) -> bytes:
    """SHA-256 over the previous hash, the digest, and every column of the entry before it.

    `columns` are those of an entry up to its digest, or more. The ones before the digest stand in
    their order, one a line, nothing for NULL.
    """
    book, wallet, seq, kind, key, job, contra, posted, held, posted_after = columns[:10]
    held_after, over, uncollected, late, lots, facts, happened, recorded, digest = columns[10:19]
    # Written out, because this is much of what an entry costs in Python.
    text = (
        f"{book}\n{wallet}\n{seq}\n{kind}\n{key}\n{'' if job is None else job}\n{contra}"
        f"\n{posted}\n{held}\n{posted_after}\n{held_after}\n{over}\n{uncollected}\n{late}"
        f"\n{'' if lots is None else lots}\n{'' if facts is None else facts}"
        f"\n{happened}\n{recorded}"
    )
    return sha256(previous + digest + text.encode()).digest()


def digest_of(*fields: object) -> bytes:
    """SHA-256 of what a caller asked for, one field a line; no field may hold a line break."""
    text = "\n".join(["" if item is None else str(item) for item in fields])
    return sha256(text.encode()).digest()


def name(text: object, what: str) -> str:
    """A key, name, label or reason as it may stand in the book.

    Raises:
        InvalidEntry: not a text; empty; longer than 255 characters; begins or ends with a space;
            has a character that cannot be stored, or that cannot be seen.
    """
    if not isinstance(text, str):
        raise InvalidEntry(what, [Fault("", f"must be a text, not {type(text).__name__}")])
    if not text or len(text) > LONGEST_NAME:
        problem = f"must have 1 to {LONGEST_NAME} characters, not {len(text)}"
        raise InvalidEntry(what, [Fault("", problem)])
    # Most names are plain ASCII; the slow look at each character is for the others.
    if not (text.isascii() and text.isprintable()):
        for place, char in enumerate(text):
            if (unfit := _unfit(char)) is not None:
                problem = f"has a character that {unfit} at place {place + 1}"
                raise InvalidEntry(what, [Fault("", f"{problem} (U+{ord(char):04X})")])
        if _JOINERS.issuperset(text):
            raise InvalidEntry(what, [Fault("", "has nothing that can be seen")])
    if text[0].isspace() or text[-1].isspace():
        raise InvalidEntry(what, [Fault("", "must not begin or end with a space")])
    return text


_JOINERS = frozenset({"\u200c", "\u200d", *map(chr, range(0xE0020, 0xE0080))})
"""Characters without a shape that emoji and some scripts are made with."""


def _unfit(char: str) -> str | None:
    kind = category(char)
    if kind in {"Cc", "Cs", "Zl", "Zp"}:
        return "cannot be stored"
    # Two names that look alike hide money; so do letters that run the other way.
    return "cannot be seen" if kind == "Cf" and char not in _JOINERS else None


def labels_text(labels: Mapping[str, str] | None) -> str:
    """Labels as canonical JSON: keys sorted, no spaces.

    >>> labels_text({"user": "li", "team": "ads"})
    '{"team":"ads","user":"li"}'
    """
    if not labels:
        return "{}"
    try:
        return _labels_text(tuple(sorted(labels.items())))
    except (TypeError, AttributeError):
        raise InvalidEntry("labels", [Fault("", "must be a mapping of text to text")]) from None


@lru_cache(maxsize=4096)
def _labels_text(items: tuple[tuple[str, str], ...]) -> str:
    if len(items) > MOST_LABELS:
        raise InvalidEntry("labels", [Fault("", f"at most {MOST_LABELS}, not {len(items)}")])
    for label, value in items:
        name(label, "a label's name")
        name(value, f"label {label!r}")
    return json.dumps(dict(items), ensure_ascii=False, separators=(",", ":"))


def us(when: datetime) -> int:
    """A moment as whole microseconds since 1970 in UTC.

    Raises:
        InvalidMoment: it has no time zone, as a careless clock gives it.

    >>> us(datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC))
    1000000
    """
    if when.tzinfo is None:
        raise InvalidMoment(f"{when} has no time zone; a clock must give one, such as UTC")
    return (when - _EPOCH) // _MICROSECOND


def moment(when_us: int) -> datetime:
    """The moment of a number of microseconds since 1970.

    >>> moment(1_000_000).isoformat()
    '1970-01-01T00:00:01+00:00'
    """
    return _EPOCH + timedelta(microseconds=when_us)

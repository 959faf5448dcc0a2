"""A break: one named difference between a book and a bill, with what is known of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from ledger.breaks import age_bucket
from ledger.records import moment
from ledger.units import ExchangeRates, e8_to_credits, plain, show_credits

__all__ = ["COMPARED", "Break", "Draft", "Proposal", "Verb", "break_id", "made"]

Verb = Literal["charge", "extend", "refund", "release", "adjust"]

COMPARED = (
    "amount",
    "billed_seconds",
    "option",
    "price_version",
    "rounding",
    "unit_scale",
)
"""Kinds of breaks that have two amounts for one charge; their causes are looked for."""


class Proposal(NamedTuple):
    """An entry that would make the book agree, for a person to look at; or why there is none."""

    verb: Verb | None
    """What to do; None where the book is not what should change."""
    amount_e8: int
    """How much, in units of 10^-8 credit; above zero but for an adjustment."""
    reason: str
    """Why, in a sentence."""

    @property
    def amount(self) -> Decimal:
        """How much, in credits."""
        return e8_to_credits(self.amount_e8)


@dataclass(frozen=True, slots=True)
class Break:
    """A difference between the book and the bill."""

    id: str
    """Worked out from what it is about: the same break has the same name in every comparison."""
    kind: str
    """One of `ledger.breaks.BREAK_KINDS`."""
    scope: Literal["usage", "cash"]
    """Whether it is about jobs, or about credits that were bought."""
    wallet: str | None
    """The wallet, where the book knows of it."""
    job: str | None
    """The job, or the key of a top-up."""
    task: str | None
    """The provider's task, or its invoice."""
    lines: tuple[int, ...]
    """Numbers of the lines; at most 100."""
    ours_e8: int | None
    """What the book says, in units of 10^-8 credit; None where it says nothing."""
    theirs_e8: int | None
    """What the bill says, in units of 10^-8 credit; None where it says nothing."""
    at_us: int
    """When it happened, in microseconds since 1970: in the period, if either side has a time."""
    age: str
    """One of `ledger.breaks.AGE_BUCKETS`, at the moment of the comparison."""
    difference_money: Decimal | None
    """The difference in money at the rate of `at_us`; None where no rate was in force."""
    currency: str | None
    """Currency of that."""
    cause: str | None
    """What explains the difference to the last digit; None where nothing does."""
    evidence: Mapping[str, Any]
    """What both sides say and what was tried: plain values for JSON, amounts as strings."""
    proposal: Proposal
    """What would make the book agree."""

    @property
    def difference_e8(self) -> int:
        """Theirs less ours, in units of 10^-8 credit; what is missing counts as nothing."""
        return (self.theirs_e8 or 0) - (self.ours_e8 or 0)

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
    def at(self) -> datetime:
        """When it happened, in UTC."""
        return moment(self.at_us)


@dataclass(frozen=True, slots=True)
class Draft:
    """A break before it has a cause, a name and money."""

    kind: str
    ours_e8: int | None
    theirs_e8: int | None
    at_us: int
    proposal: Proposal
    evidence: dict[str, Any]
    wallet: str | None = None
    job: str | None = None
    task: str | None = None
    lines: tuple[int, ...] = ()
    part: str = ""
    """What tells it from another break of the same kind and job."""
    identity: str = ""
    """What it is about, where neither a job nor a task says so."""
    scope: Literal["usage", "cash"] = "usage"
    cause: str | None = None
    money: tuple[Decimal, str] | None = None
    """The difference in money, where the bill itself is in money."""
    question: Any = field(default=None, compare=False)
    """What to ask of other prices; see `ledger.reconcile.causes`."""

    @property
    def difference_e8(self) -> int:
        """Theirs less ours."""
        return (self.theirs_e8 or 0) - (self.ours_e8 or 0)

    @property
    def id(self) -> str:
        """Its name."""
        # What a job or a task is called does not change; the number of a line may.
        if self.job is not None:
            about = "job", self.job
        else:
            about = ("task", self.task) if self.task is not None else ("line", self.identity)
        return break_id(self.scope, self.kind, self.part, *about)


def break_id(*parts: str) -> str:
    """A name from what a break is about: the same today and in a year.

    >>> break_id("usage", "rounding", "", "job", "job-1")
    'brk-dbb8aea019e18941'
    """
    text = json.dumps(parts, ensure_ascii=True, separators=(",", ":"))
    return f"brk-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def made(drafts: Sequence[Draft], *, rates: ExchangeRates, now_us: int) -> list[Break]:
    """Breaks in order of time and name, with their age and the difference in money."""
    return sorted((_made(draft, rates, now_us) for draft in drafts), key=_order)


def _order(item: Break) -> tuple[int, str]:
    return item.at_us, item.id


def _made(draft: Draft, rates: ExchangeRates, now_us: int) -> Break:
    money, currency = draft.money or _in_money(draft, rates)
    return Break(
        id=draft.id,
        kind=draft.kind,
        scope=draft.scope,
        wallet=draft.wallet,
        job=draft.job,
        task=draft.task,
        lines=draft.lines,
        ours_e8=draft.ours_e8,
        theirs_e8=draft.theirs_e8,
        at_us=draft.at_us,
        age=age_bucket(draft.at_us, now_us),
        difference_money=money,
        currency=currency,
        cause=draft.cause,
        evidence=draft.evidence,
        proposal=draft.proposal,
    )


def _in_money(draft: Draft, rates: ExchangeRates) -> tuple[Decimal | None, str | None]:
    rate = rates.find(moment(draft.at_us))
    if rate is None:
        return None, None
    difference_e8 = draft.difference_e8
    money = rate.convert(abs(difference_e8))
    # Not `-money`, which the caller's decimal context would round.
    return (money.copy_negate() if difference_e8 < 0 else money), rate.currency


def seconds_text(length_us: int) -> str:
    """Microseconds as plain seconds.

    >>> seconds_text(9_200_000)
    '9.2'
    """
    return plain(Decimal(f"{length_us}E-6"))


def credits_text(amount_e8: int | None) -> str | None:
    """An amount for evidence."""
    return None if amount_e8 is None else show_credits(amount_e8)

"""What a journal is made of, before it is written in anybody's dialect."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import NamedTuple

from ledger.units import divide

__all__ = ["COST_E24", "Check", "LotOf", "Options", "Posting", "Transaction", "unit_cost"]

COST_E24 = 10**24
"""Units of a lot's cost per credit."""

_DIGITS = 16


class Options(NamedTuple):
    """What may be chosen about a journal."""

    holds: bool = False
    """Whether credits that are set aside and come back are posted."""
    label: str | None = None
    """A label whose values become accounts below the one of the model."""
    commodity: str = "CREDIT"
    currency: str = "USD"
    """What promotional credits cost nothing of."""
    cash_account: str = "Assets:Cash"


class LotOf(NamedTuple):
    """A lot as a journal shows it."""

    seq: int
    day: date
    """When it came in."""
    currency: str | None
    """Of its cost; None where the cost is not known, and credits stand for themselves."""
    unit_e24: int
    """Cost of one credit."""


class Posting(NamedTuple):
    """An amount that an account gets, or gives if it is negative."""

    account: str
    units_e8: int
    commodity: str
    lot: LotOf | None = None
    cost_e8: int = 0
    """What the credits of a lot cost, exactly: as the units, in is positive."""


class Transaction(NamedTuple):
    """Postings that add up to nothing."""

    day: date
    place: str
    """The wallet's component of accounts and the entry: studio/7."""
    narration: str
    job: str | None
    task: str | None
    metadata: Mapping[str, str]
    postings: tuple[Posting, ...]


class Check(NamedTuple):
    """What a wallet's accounts hold at the end of a day."""

    day: date
    wallet: str
    posted_e8: int
    held_e8: int
    balances: tuple[tuple[str, int], ...]
    """Accounts, and their credits."""


def unit_cost(cash_e8: int, granted_e8: int) -> int:
    """What one credit of a lot costs, in units of 10^-24: 16 digits of it.

    A program that wants a price per credit multiplies it out again; 16 digits keep that within
    the last digit of what was paid for any lot below ten million of the currency.

    >>> unit_cost(10 * 10**8, 680 * 10**8) / COST_E24
    0.01470588235294118
    """
    if not cash_e8:
        return 0
    exact_e24 = cash_e8 * COST_E24 // granted_e8
    step: int = 10 ** max(0, len(str(exact_e24)) - _DIGITS)
    return divide(cash_e8 * COST_E24, granted_e8 * step, "half_up") * step

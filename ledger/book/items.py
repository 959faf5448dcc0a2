"""What a caller asks for: one named tuple per verb, which is also an item of a batch."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from ledger.records import Policy
from ledger.units import Amount, Length

__all__ = ["Adjust", "Charge", "Extend", "Item", "Refund", "Release", "Reserve", "TopUp"]

When = datetime | date | str | None


class Reserve(NamedTuple):
    """Credits to set aside for one job; see `Ledger.reserve`."""

    wallet: str
    amount: Any
    """Credits, or a quote whose maximum is held."""
    key: str
    labels: Mapping[str, str] | None = None
    deadline: timedelta | datetime | None = None
    policy: Policy = "owe"
    on_deadline: str = "keep"
    at: When = None


class Extend(NamedTuple):
    """More credits or more time for a hold; see `Ledger.extend`."""

    job: str
    key: str
    amount: Amount | None = None
    deadline: timedelta | datetime | None = None
    at: When = None


class Charge(NamedTuple):
    """What a job cost; see `Ledger.charge`."""

    job: str
    amount: Amount | None = None
    seconds: Length | None = None
    key: str | None = None
    final: bool = True
    at: When = None


class Release(NamedTuple):
    """Credits to give back unused; see `Ledger.release`."""

    job: str
    key: str | None = None
    reason: str | None = None
    at: When = None


class Refund(NamedTuple):
    """Credits to give back after a charge; see `Ledger.refund`."""

    job: str
    amount: Amount | None = None
    key: str | None = None
    reason: str | None = None
    at: When = None


class TopUp(NamedTuple):
    """Credits that come in; see `Ledger.top_up`."""

    wallet: str
    amount: Amount
    key: str
    cash: Amount | None = None
    currency: str | None = None
    expires: datetime | date | str | None = None
    promotional: bool = False
    at: When = None


class Adjust(NamedTuple):
    """A correction; see `Ledger.adjust`."""

    wallet: str
    amount: Amount
    key: str
    reason: str
    at: When = None


Item = Reserve | Extend | Charge | Release | Refund | TopUp | Adjust

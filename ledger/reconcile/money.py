"""The bill in money: lines at another rate than the one in force, and what was paid for credits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import polars as pl

from ledger.reconcile.breaks import Draft, Proposal
from ledger.reconcile.differences import Period
from ledger.records import moment, us
from ledger.units import ExchangeRate, ExchangeRates, iso, plain, show_credits

__all__ = ["cash_drafts", "rate_drafts"]

_MOST_LINES = 100
_CENT_E8 = 1_000_000
"""The coarsest money that is believed: a hundredth of a unit."""
_WINDOW_US = 5 * 86_400_000_000
"""How far apart a top-up and its invoice may be."""
_NO_ENTRY = "credits are right; look at the rate with whoever converts them"


# Lines


def rate_drafts(statement: pl.DataFrame, rates: ExchangeRates, period: Period) -> Iterator[Draft]:
    """Lines whose money is not their credits at the rate in force: one break a currency and rate.

    Money is taken as exact as the finest amount of its currency, at most to a hundredth.
    """
    told = statement.filter(
        pl.col("money_e8").is_not_null() & pl.col("currency").is_not_null(),
        pl.col("amount_e8").is_not_null() & (pl.col("refunded_e8").fill_null(0) == 0),
        (pl.col("status") != "topup").fill_null(value=True),
    ).select("line", "amount_e8", "money_e8", "currency", "at_us")
    if told.is_empty():
        return
    told = told.filter(period_only(period))
    for (currency,), lines in told.sort("line").group_by("currency", maintain_order=True):
        yield from _of_currency(str(currency), lines, rates, period)


def period_only(period: Period) -> pl.Expr:
    """Whether a row is of the period; one without a time is."""
    inside = pl.col("at_us").is_between(period.since_us, period.until_us, closed="left")
    return inside.fill_null(value=True)


def _of_currency(
    currency: str, lines: pl.DataFrame, rates: ExchangeRates, period: Period
) -> Iterator[Draft]:
    known = [rate for rate in rates.rates if rate.currency == currency]
    if not known:
        return
    quantum_e8 = _quantum(lines["money_e8"])
    lines = lines.with_columns(pl.col("at_us").fill_null(period.since_us))
    at_rate = [_fits(rate, quantum_e8) for rate in known]
    in_force: pl.Expr = pl.lit(None, dtype=pl.Int64)
    for place, rate in enumerate(known):
        started = pl.col("at_us") >= us(rate.effective_from)
        in_force = pl.when(started).then(pl.lit(place, dtype=pl.Int64)).otherwise(in_force)
    taken: pl.Expr = pl.lit(None, dtype=pl.Int64)
    for place, fits in enumerate(at_rate):
        taken = pl.when(fits).then(pl.lit(place, dtype=pl.Int64)).otherwise(taken)
    right = pl.any_horizontal(
        (pl.col("in_force") == place) & fits for place, fits in enumerate(at_rate)
    )
    wrong = lines.with_columns(in_force.alias("in_force")).filter(
        pl.col("in_force").is_not_null() & ~right.fill_null(value=False)
    )
    wrong = wrong.with_columns(taken.alias("taken"))
    for (now, other), group in wrong.sort("line").group_by(
        "in_force", "taken", maintain_order=True
    ):
        found = None if other is None else known[int(str(other))]
        yield _rate_draft(group, known[int(str(now))], found, period)


def _quantum(money: pl.Series) -> int:
    """The finest digit that any amount has, in 10^-8 of the currency."""
    quantum_e8 = _CENT_E8
    while quantum_e8 > 1 and (money % quantum_e8 != 0).any():
        quantum_e8 //= 10
    return quantum_e8


def _fits(rate: ExchangeRate, quantum_e8: int) -> pl.Expr:
    """Whether the money is the credits at this rate, rounded in any way."""
    up, down = rate.credits_per_unit.as_integer_ratio()
    money, credits = (pl.col(name).cast(pl.Int128) for name in ("money_e8", "amount_e8"))
    return (money * up - credits * down).abs() < quantum_e8 * up


def _rate_draft(
    lines: pl.DataFrame, rate: ExchangeRate, taken: ExchangeRate | None, period: Period
) -> Draft:
    total_e8, paid_e8 = (sum(lines[name].to_list()) for name in ("amount_e8", "money_e8"))
    expected_e8 = _signed(rate, total_e8)
    evidence = {
        "lines_counted": lines.height,
        "credits": show_credits(total_e8),
        "money_there": plain(_money(paid_e8)),
        "money_at_the_rate_in_force": plain(_money(expected_e8)),
        "rate_in_force": _told(rate),
        "rate_taken": None if taken is None else _told(taken),
    }
    cause = None
    if taken is not None:
        cause = _cause(taken, rate)
    return Draft(
        "exchange_rate", total_e8, total_e8, period.place(lines["at_us"].to_list()[:1]),
        Proposal(None, 0, _NO_ENTRY), evidence,
        lines=tuple(lines["line"].drop_nulls().to_list()[:_MOST_LINES]),
        part=f"{rate.currency} {iso(rate.effective_from)}",
        identity=f"{period.since_us} {period.until_us} {'' if taken is None else _told(taken)}",
        cause=cause,
        money=(_money(paid_e8 - expected_e8), rate.currency),
    )  # fmt: skip


def _cause(taken: ExchangeRate, rate: ExchangeRate) -> str:
    shown = (plain(item.credits_per_unit) for item in (taken, rate))
    return f"{' instead of '.join(shown)} credits per {rate.currency}"


def _told(rate: ExchangeRate) -> dict[str, str]:
    return {
        "credits_per_unit": plain(rate.credits_per_unit),
        "currency": rate.currency,
        "effective_from": iso(rate.effective_from),
        "source": rate.source,
    }


def _signed(rate: ExchangeRate, amount_e8: int) -> int:
    """Credits as money, in 10^-8 of the currency."""
    converted = int(rate.convert(abs(amount_e8)).scaleb(8))
    return -converted if amount_e8 < 0 else converted


def _money(amount_e8: int) -> Decimal:
    return Decimal(f"{amount_e8}E-8")


# Purchases


class _TopUp(NamedTuple):
    wallet: str | None
    key: str | None
    credits_e8: int
    cash_e8: int | None
    currency: str | None
    at_us: int | None


class _Invoice(NamedTuple):
    invoice: str | None
    credits_e8: int
    money_e8: int | None
    currency: str | None
    at_us: int | None


def cash_drafts(
    top_ups: pl.DataFrame, invoices: pl.DataFrame, rates: ExchangeRates, period: Period
) -> tuple[list[Draft], int]:
    """Differences between the top-ups of a book and the provider's invoices, and how many agree.

    An invoice is the top-up whose key is its number; else the only one with the same credits
    within five days, if the top-up has only that one invoice, too.
    """
    ours = [_TopUp(*row) for row in top_ups.filter(period_only(period)).iter_rows()]
    theirs = [_Invoice(*row) for row in invoices.filter(period_only(period)).iter_rows()]
    ours.sort(key=lambda item: (item.key or "", item.at_us or 0, item.credits_e8))
    theirs.sort(key=lambda item: (item.invoice or "", item.at_us or 0, item.credits_e8))
    pairs, left_ours, left_theirs = _purchases(ours, theirs)
    drafts = [
        draft
        for top_up, invoice in pairs
        if (draft := _of_pair(top_up, invoice, rates, period)) is not None
    ]
    agreeing = len(pairs) - len(drafts)
    drafts += [_not_there(item, period) for item in left_ours]
    seen: dict[str, int] = {}
    for item in left_theirs:
        drafts.append(_not_here(item, period, seen))
    return drafts, agreeing


def _purchases(
    ours: Sequence[_TopUp], theirs: Sequence[_Invoice]
) -> tuple[list[tuple[_TopUp, _Invoice]], list[_TopUp], list[_Invoice]]:
    """What belongs together, and what is left of both sides."""
    keys = Counter(item.key for item in ours)
    places = {item.key: place for place, item in enumerate(ours) if item.key is not None}
    found: dict[int, int] = {}
    taken: set[int] = set()
    for place, invoice in enumerate(theirs):
        number = invoice.invoice
        mine = places.get(number) if number is not None and keys[number] == 1 else None
        if mine is not None and mine not in taken:
            found[place] = mine
            taken.add(mine)
    by_credits: dict[int, list[int]] = {}
    for place, item in enumerate(ours):
        if place not in taken:
            by_credits.setdefault(item.credits_e8, []).append(place)
    fits = {
        place: [mine for mine in by_credits.get(item.credits_e8, []) if _near(ours[mine], item)]
        for place, item in enumerate(theirs)
        if place not in found
    }
    claims = Counter(mine for several in fits.values() for mine in several)
    for place, several in fits.items():
        if len(several) == 1 and claims[several[0]] == 1:
            found[place] = several[0]
    taken = set(found.values())
    return (
        [(ours[mine], theirs[place]) for place, mine in sorted(found.items())],
        [item for place, item in enumerate(ours) if place not in taken],
        [item for place, item in enumerate(theirs) if place not in found],
    )


def _near(top_up: _TopUp, invoice: _Invoice) -> bool:
    if top_up.at_us is None or invoice.at_us is None:
        return True
    return abs(top_up.at_us - invoice.at_us) <= _WINDOW_US


def _of_pair(
    top_up: _TopUp, invoice: _Invoice, rates: ExchangeRates, period: Period
) -> Draft | None:
    same_money = (
        None in (top_up.cash_e8, invoice.money_e8)
        or (top_up.cash_e8, top_up.currency) == (invoice.money_e8, invoice.currency)
    )  # fmt: skip
    same_credits = top_up.credits_e8 == invoice.credits_e8
    if same_credits and same_money:
        return None
    at_us = period.place([invoice.at_us, top_up.at_us])
    evidence: dict[str, Any] = {
        "top_up": top_up.key,
        "invoice": invoice.invoice,
        "credits_here": show_credits(top_up.credits_e8),
        "credits_there": show_credits(invoice.credits_e8),
        "money_here": _shown(top_up.cash_e8, top_up.currency),
        "money_there": _shown(invoice.money_e8, invoice.currency),
    }
    kind, cause = "amount", None
    if not same_money:
        here = _rate_of(top_up.credits_e8, top_up.cash_e8, top_up.currency, rates, at_us)
        there = _rate_of(invoice.credits_e8, invoice.money_e8, invoice.currency, rates, at_us)
        evidence |= {"rate_here": here.told, "rate_there": there.told}
        if same_credits:
            kind = "exchange_rate"
            cause = _rate_cause(here, there)
    money = None
    currency = invoice.currency if top_up.currency == invoice.currency else None
    if top_up.cash_e8 is not None and invoice.money_e8 is not None and currency is not None:
        money = (_money(invoice.money_e8 - top_up.cash_e8), currency)
    reason = "look at the invoice: what was bought is not what was booked"
    return Draft(
        kind, top_up.credits_e8, invoice.credits_e8, at_us, Proposal(None, 0, reason), evidence,
        wallet=top_up.wallet, job=top_up.key, task=invoice.invoice, scope="cash", cause=cause,
        money=money,
    )  # fmt: skip


class _Rate(NamedTuple):
    """What a purchase says of the rate."""

    known: ExchangeRate | None
    told: Mapping[str, Any] | None


def _rate_of(
    credits_e8: int, money_e8: int | None, currency: str | None, rates: ExchangeRates, at_us: int
) -> _Rate:
    """The dated rate that a purchase was made at: the one in force, or else any other."""
    if not money_e8 or currency is None:
        return _Rate(None, None)
    known = [rate for rate in rates.rates if rate.currency == currency]
    current = rates.find(moment(at_us), currency)
    for rate in ([] if current is None else [current]) + known[::-1]:
        if abs(_signed(rate, credits_e8) - money_e8) < _CENT_E8:
            return _Rate(rate, _told(rate))
    return _Rate(None, {"credits_per_unit": _per_unit(credits_e8, money_e8), "currency": currency})


def _per_unit(credits_e8: int, money_e8: int) -> str:
    """Credits for one unit of money, to four places; for people."""
    return plain(Decimal(f"{(2 * credits_e8 * 10_000 + money_e8) // (2 * money_e8)}E-4"))


def _rate_cause(here: _Rate, there: _Rate) -> str | None:
    if here.known is None or there.known is None or here.known == there.known:
        return None
    if here.known.currency != there.known.currency:
        return f"{there.known.currency} instead of {here.known.currency}"
    return _cause(there.known, here.known)


def _not_there(item: _TopUp, period: Period) -> Draft:
    evidence = {"money_here": _shown(item.cash_e8, item.currency)}
    reason = "ask for the invoice: the provider has none for this top-up"
    return Draft(
        "missing_there", item.credits_e8, None, period.place([item.at_us]),
        Proposal(None, 0, reason), evidence, wallet=item.wallet, job=item.key, scope="cash",
    )  # fmt: skip


def _not_here(item: _Invoice, period: Period, seen: dict[str, int]) -> Draft:
    identity = f"{item.credits_e8} {item.money_e8} {item.currency} {item.at_us}"
    seen[identity] = seen.get(identity, 0) + 1
    evidence = {"money_there": _shown(item.money_e8, item.currency)}
    reason = "top up the wallet that the credits were bought for, with the invoice as the key"
    return Draft(
        "missing_here", None, item.credits_e8, period.place([item.at_us]),
        Proposal(None, 0, reason), evidence, task=item.invoice, scope="cash",
        identity=f"{identity} {seen[identity]}",
    )  # fmt: skip


def _shown(money_e8: int | None, currency: str | None) -> str | None:
    if money_e8 is None:
        return None
    return f"{plain(_money(money_e8))} {currency or ''}".rstrip()

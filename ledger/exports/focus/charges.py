"""What the entries of a book are as charges: a row each, or one for each currency that was paid.

Amounts are whole units of 10^-8, times whole microseconds since 1970 in UTC.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from ledger.costing import Costed, Costing
from ledger.exports.focus.quantities import Quantities, Sold
from ledger.lots import taken_of
from ledger.records import Entry, Period, moment, us
from ledger.store import Session
from ledger.store.posted import posted, purchases, refunded_jobs
from ledger.units import divide, parse_moment

__all__ = ["Charge", "Charges", "Currencies"]


class Charge(NamedTuple):
    """One charge in one currency."""

    kind: str
    """One of `table.CHARGES`."""
    wallet: str
    seq: int
    """The entry that it is known from."""
    key: str
    job: str | None
    currency: str
    credits_e8: int
    """Change of the wallet's credits."""
    billed_e8: int
    effective_e8: int
    sku: int | None
    quantity_e8: int | None
    consumed_e8: int | None
    priced: bool
    """Whether the book has worked the charge out from a length."""
    counts_us: int
    """When it counts."""
    told_us: int
    """When that happened which it is about."""
    expires_us: int | None
    """Top-up: when the credits lapse."""
    recorded_us: int
    corrects: str | None
    """The closed period that it corrects."""
    is_correction: bool
    """Whether that lies in an earlier month."""
    labels: str | None
    reason: str | None
    """Refund and adjustment: why; top-up without cash: `promotional` or `unpriced`."""
    about: int | None
    """Top-up and lapse: the entry that brought the credits in; debt: the one that ran into it."""


class _Facts(NamedTuple):
    """What is read of an entry's facts."""

    cash_e8: int = 0
    currency: str | None = None
    promotional: bool = False
    expires_us: int | None = None
    reason: str | None = None
    seconds: str | None = None
    priced: bool = False
    corrects: str | None = None
    told_us: int | None = None
    closed_until_us: int | None = None


_NONE = _Facts()


@lru_cache(maxsize=65_536)
def _facts(text: str | None) -> _Facts:
    if text is None:
        return _NONE
    facts: dict[str, Any] = json.loads(text)
    expires, at = facts.get("expires"), facts.get("at")
    return _Facts(
        facts.get("cash_e8") or 0,
        facts.get("currency"),
        facts.get("origin") == "promotional",
        None if expires is None else us(parse_moment(expires)),
        facts.get("reason"),
        facts.get("seconds"),
        bool(facts.get("priced")),
        facts.get("corrects"),
        None if at is None else us(parse_moment(at)),
        facts.get("closed_until_us"),
    )


class Currencies:
    """The currency of what cost nothing: the one first paid in the wallet, or in the book."""

    def __init__(self, session: Session, book: str, otherwise: str, before_us: int) -> None:
        """Read the top-ups of a book that were recorded before a moment."""
        self._of_wallet: dict[str, str] = {}
        first_us, self._of_book = None, otherwise
        for wallet, _, recorded_us, text in purchases(session, book):
            if recorded_us >= before_us or (currency := _facts(text).currency) is None:
                continue
            self._of_wallet.setdefault(wallet, currency)
            if first_us is None or recorded_us < first_us:
                first_us, self._of_book = recorded_us, currency

    def of(self, wallet: str) -> str:
        """The currency of a wallet."""
        return self._of_wallet.get(wallet, self._of_book)


class _Charged(NamedTuple):
    """What is remembered of a charge whose job gets something back."""

    credits_e8: int
    sold: Sold
    counted_us: int


class _Debtor(NamedTuple):
    """What is remembered of an entry that ran into debt."""

    owed_e8: int
    job: str | None
    key: str
    labels: str | None


class _About(NamedTuple):
    """What a charge is about."""

    told_us: int
    corrects: str | None
    is_correction: bool


class _Wallet:
    """What is known of a wallet while its entries are gone through."""

    def __init__(self, home: str) -> None:
        self.home, self.costing = home, Costing()
        self.charged: dict[str, list[_Charged]] = {}
        """Job → its charges, where it gets something back."""
        self.debtors: dict[int, _Debtor] = {}
        self.closed_us = -1
        """Before this moment everything is closed."""


_CREDITS_SOLD = Sold(0, 0, 0)
_MARKS = frozenset({"open", "close", "reopen"})


class Charges:
    """The charges of a book, wallet by wallet."""

    def __init__(
        self,
        session: Session,
        book: str,
        *,
        periods: Sequence[Period],
        quantities: Quantities,
        inside: tuple[int, int],
        before_us: int,
        currency: str,
    ) -> None:
        """Read what has to be known before the entries are gone through.

        Args:
            session: the snapshot.
            book: its name.
            periods: everything that was closed or reopened.
            quantities: works out what charges were for.
            inside: charges that count from one moment up to and without another are asked for;
                the others still decide what those cost.
            before_us: only what was recorded before this moment is known.
            currency: of a book in which nothing was ever paid for.
        """
        self._session, self._book, self._inside = session, book, inside
        self._quantities, self._before_us = quantities, before_us
        closings = (period for period in periods if period.action == "close")
        self._closings = sorted({(period.end_us, period.name) for period in closings})
        self._currencies = Currencies(session, book, currency, before_us)
        self._refunded = frozenset(refunded_jobs(session, book))

    def __iter__(self) -> Iterator[Charge]:
        """All charges that are asked for, by wallet and place."""
        for record in self._session.wallet_records(self._book):
            yield from self._of_wallet(record.id)

    def _of_wallet(self, wallet: str) -> Iterator[Charge]:
        state, (start_us, end_us) = _Wallet(self._currencies.of(wallet)), self._inside
        rows = posted(self._session, self._book, wallet, self._before_us)
        for seq, kind, key, job, posted_e8, left_e8, lots, text, at_us, told, labels, terms in rows:
            facts = _facts(text)
            if kind in _MARKS:
                until_us = facts.closed_until_us
                state.closed_us = -1 if until_us is None else until_us
                continue
            entry = Entry(
                self._book, wallet, seq, kind, key, job, "", posted_e8, 0, 0, 0, 0, left_e8, 0,
                lots, text, at_us, told, b"", b"",
            )  # fmt: skip
            item = state.costing.of(entry)
            inside, sold = start_us <= at_us < end_us, None
            if kind == "charge" and (inside or job in self._refunded):
                amount_e8 = left_e8 - posted_e8
                sold = self._quantities.of(terms, facts.seconds, amount_e8, priced=facts.priced)
                if job in self._refunded:
                    mine = _Charged(-posted_e8, sold, at_us)
                    state.charged.setdefault(job, []).append(mine)
            if posted_e8 < 0 and item.parts[-1].lot is None:
                state.debtors[seq] = _Debtor(-item.parts[-1].credits_e8, job, key, labels)
            if inside and sold and len(item.parts) == 1 and facts.corrects is None:
                # Nearly all are such, and made without asking further.
                ((_, credits_e8, cost_e8, currency),) = item.parts
                yield Charge._make((
                    kind, wallet, seq, key, job, currency or state.home, credits_e8, 0, -cost_e8,
                    *sold, facts.priced, at_us, at_us, None, told, None, False, labels, None, None,
                ))  # fmt: skip
            elif inside:
                yield from self._made(item, facts, state, sold, labels)
            if item.paid:
                yield from _paid(item, state.debtors, inside=inside)

    def _made(
        self,
        item: Costed,
        facts: _Facts,
        state: _Wallet,
        sold: Sold | None,
        labels: str | None,
    ) -> Iterator[Charge]:
        """The charge that an entry is, in each of its currencies."""
        entry, kind = item.entry, item.entry.kind
        before = state.charged.get(entry.job or "", ()) if kind == "refund" else ()
        about = self._about(entry, facts, before, state.closed_us)
        groups = _groups(item, facts, state.home)
        quantities: Sequence[tuple[int | None, int | None]] = [(None, None)] * len(groups)
        lot = None
        if kind == "refund":
            sold = _given_back(before, entry.posted_e8)
        if sold is not None:
            quantities = _divided(sold, [credits_e8 for _, credits_e8, _ in groups])
        elif kind == "top_up":
            lot, sold, quantities = entry.seq, _CREDITS_SOLD, [(entry.posted_e8, None)]
        elif kind == "lapse" and entry.lots:
            lot = int(next(iter(taken_of(entry.lots))))
        bought, reason = kind == "top_up", facts.reason
        if bought and facts.currency is None:
            reason = "promotional" if facts.promotional else "unpriced"
        for (currency, credits_e8, cost_e8), (quantity_e8, consumed_e8) in zip(
            groups, quantities, strict=True
        ):
            yield Charge(
                kind,
                entry.wallet,
                entry.seq,
                entry.key,
                entry.job,
                currency,
                credits_e8,
                cost_e8 if bought else 0,
                0 if bought else -cost_e8,
                None if sold is None else sold.sku,
                quantity_e8,
                consumed_e8,
                facts.priced,
                entry.happened_at_us,
                about.told_us,
                facts.expires_us,
                entry.recorded_at_us,
                about.corrects,
                about.is_correction,
                labels,
                reason,
                lot,
            )

    def _about(
        self, entry: Entry, facts: _Facts, before: Sequence[_Charged], closed_us: int
    ) -> _About:
        """What is corrected, if anything: a refund is about the job's charge."""
        counts_us = told_us = entry.happened_at_us
        corrects = facts.corrects
        if facts.corrects is not None and facts.told_us is not None:
            told_us = facts.told_us
        if before:
            charged_us = max(one.counted_us for one in before)
            if charged_us < closed_us and _is_earlier_month(charged_us, counts_us):
                told_us, corrects = charged_us, self._period_of(charged_us)
        is_correction = told_us < closed_us and _is_earlier_month(told_us, counts_us)
        return _About(told_us, corrects, is_correction)

    def _period_of(self, at_us: int) -> str | None:
        """The closed period that a moment is in; the first one reaches back to the beginning."""
        return next((name for end_us, name in self._closings if at_us < end_us), None)


_Groups = list[tuple[str, int, int]]
"""Currency, change of credits, and the money that moves with them."""


def _groups(item: Costed, facts: _Facts, home: str) -> _Groups:
    """An entry by the currencies that were paid for its credits.

    Credits that cost nothing go with the first of the currencies, or with the wallet's own.
    """
    entry, parts = item.entry, item.parts
    if entry.kind == "top_up":
        return [(facts.currency or home, entry.posted_e8, facts.cash_e8)]
    if len(parts) == 1 and not item.paid:
        only = parts[0]
        return [(only.currency or home, only.credits_e8, only.cost_e8)]
    groups: dict[str, list[int]] = {}
    free_e8 = 0
    for part in parts:
        if part.currency is None:
            free_e8 += part.credits_e8
        else:
            group = groups.setdefault(part.currency, [0, 0])
            group[0] += part.credits_e8
            group[1] += part.cost_e8
    if entry.kind == "refund":
        # What it was given back for went on into debts, at the cost of the lots it came from.
        for paid in item.paid:
            if paid.currency is not None:
                group = groups.setdefault(paid.currency, [0, 0])
                group[0] += paid.credits_e8
                group[1] += paid.cost_e8
                free_e8 -= paid.credits_e8
    first = min(groups, default=home)
    groups.setdefault(first, [0, 0])[0] += free_e8
    return [(currency, *groups[currency]) for currency in sorted(groups)]  # type: ignore[misc]


def _paid(item: Costed, debtors: dict[int, _Debtor], *, inside: bool) -> Iterator[Charge]:
    """The cost of debts that credits coming in have paid, a row for each debtor and currency."""
    entry = item.entry
    costs: dict[tuple[int, str], int] = {}
    found: dict[int, _Debtor] = {}
    for paid in item.paid:
        debtor = found[paid.seq] = debtors[paid.seq]
        owed_e8 = debtor.owed_e8 - paid.credits_e8
        if owed_e8 > 0:
            debtors[paid.seq] = debtor._replace(owed_e8=owed_e8)
        else:
            del debtors[paid.seq]
        if paid.cost_e8 and paid.currency is not None:
            place = (paid.seq, paid.currency)
            costs[place] = costs.get(place, 0) + paid.cost_e8
    if not inside:
        return
    for (seq, currency), cost_e8 in sorted(costs.items()):
        debtor = found[seq]
        yield Charge(
            "debt", entry.wallet, entry.seq, debtor.key, debtor.job, currency, 0, 0, cost_e8,
            None, None, None, False, entry.happened_at_us, entry.happened_at_us, None,  # noqa: FBT003
            entry.recorded_at_us, None, False, debtor.labels, None, seq,  # noqa: FBT003
        )  # fmt: skip


def _given_back(charged: Sequence[_Charged], back_e8: int) -> Sold:
    """The quantity of a refund: its share of what the job was charged for, below zero."""
    total_e8 = sum(one.credits_e8 for one in charged)
    skus = {one.sold.sku for one in charged}
    if len(skus) != 1 or not total_e8:
        # Seconds and credits do not add up to anything but credits.
        return Sold(0, -back_e8, -back_e8)
    quantity_e8 = sum(one.sold.quantity_e8 for one in charged)
    consumed_e8 = sum(one.sold.consumed_e8 for one in charged)
    share = (_share(item, back_e8, total_e8) for item in (quantity_e8, consumed_e8))
    return Sold(skus.pop(), *(-item for item in share))


def _share(whole_e8: int, part: int, total: int) -> int:
    # Nothing is rounded away altogether: what has a cost has a quantity.
    return max(1, divide(whole_e8 * part, total, "half_up"))


def _divided(sold: Sold, credits_e8: Sequence[int]) -> list[tuple[int, int]]:
    """A quantity divided over the currencies, in proportion to credits; nothing is lost."""
    if len(credits_e8) == 1:
        return [(sold.quantity_e8, sold.consumed_e8)]
    quantities, consumed = (
        _in_proportion(whole_e8, [abs(item) for item in credits_e8])
        for whole_e8 in (sold.quantity_e8, sold.consumed_e8)
    )
    return list(zip(quantities, consumed, strict=True))


def _in_proportion(whole_e8: int, weights: Sequence[int]) -> list[int]:
    sign, total, largest = (-1 if whole_e8 < 0 else 1), sum(weights), weights.index(max(weights))
    parts = [_share(abs(whole_e8), weight, total) for weight in weights]
    parts[largest] += abs(whole_e8) - sum(parts)
    return [sign * part for part in parts]


def _is_earlier_month(told_us: int, counts_us: int) -> bool:
    """Whether one moment is in an earlier month than another, in UTC."""
    if told_us == counts_us:
        return False
    told, counts = moment(told_us), moment(counts_us)
    return (told.year, told.month) < (counts.year, counts.month)

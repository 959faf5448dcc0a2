"""What credits cost: every entry of a wallet divided over the lots its credits belong to. Pure.

Credits leave a wallet lot by lot, and the book says which; the money that was paid for a lot
leaves it in the same proportion. A lot of G credits bought for C that has U credits out carries

    cost(U) = C × U / G, rounded half up to 10^-8 of its currency,

and what one entry costs is the difference of that function before and after it. So a lot that is
used up has cost its cash to the last digit, whatever the number and the order of its parts, and
at any moment what went out and what is left add up to the cash. Credits that lapse take their
money with them as used ones do, and refunded ones bring it back.

What a charge takes beyond all lots is a debt: it costs nothing until credits come in that pay it,
and then what those cost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ledger.lots import taken_of
from ledger.records import Entry

__all__ = ["Costed", "Costing", "Paid", "Part", "cost_e8", "costed"]


def cost_e8(cash_e8: int, granted_e8: int, out_e8: int) -> int:
    """What the credits cost that are out of a lot, half up; all of its cash once all are out.

    >>> cost_e8(100, 3, 1), cost_e8(100, 3, 2), cost_e8(100, 3, 3)
    (33, 67, 100)
    """
    # The rule of `units.divide`, written out: this runs for every charge.
    return (2 * cash_e8 * out_e8 + granted_e8) // (2 * granted_e8)


class Part(NamedTuple):
    """The share of an entry that belongs to one lot."""

    lot: int | None
    """The entry that brought the lot in; None for a debt, beyond all lots."""
    credits_e8: int
    """Change of the credits of that lot: in is positive, out negative."""
    cost_e8: int
    """Money that moves with them, 10^-8 of the currency: in is positive, out negative."""
    currency: str | None
    """Of the money paid for the lot; None where none was paid, or how much is not known."""


class Paid(NamedTuple):
    """Credits that come in and go at once into a debt of an earlier entry."""

    seq: int
    """The entry that had run into debt; the oldest debt is paid first."""
    credits_e8: int
    cost_e8: int
    """What these credits had cost, 10^-8 of the currency; now it is a cost of that entry."""
    currency: str | None
    lot: int
    """The lot that they are taken from."""


class Costed(NamedTuple):
    """An entry with its parts.

    What an entry is worth to the account on its other side (the money of a top-up, the expense
    of a charge with a minus, what a refund takes off the expense) is always the sum of the costs
    of its parts and of what it paid.
    """

    entry: Entry
    parts: tuple[Part, ...]
    """Credits add up to `entry.posted_e8`; none is about zero credits."""
    paid: tuple[Paid, ...]


class _Lot:
    """A lot as far as its cost goes."""

    __slots__ = ("cash_e8", "cost_e8", "currency", "granted_e8", "lapsed_e8", "out_e8", "seq")

    def __init__(self, seq: int, granted_e8: int, cash_e8: int, currency: str | None) -> None:
        self.seq, self.granted_e8, self.cash_e8 = seq, granted_e8, cash_e8
        self.currency = currency
        self.out_e8 = 0
        """Credits that are used or have lapsed."""
        self.lapsed_e8 = 0
        self.cost_e8 = 0
        """What those cost."""

    def move(self, credits_e8: int) -> int:
        """Take credits out, or bring them back (negative); gives what they cost."""
        self.out_e8 += credits_e8
        granted_e8 = self.granted_e8
        after_e8 = cost_e8(self.cash_e8, granted_e8, self.out_e8)
        moved_e8, self.cost_e8 = after_e8 - self.cost_e8, after_e8
        return moved_e8


class LotCost(NamedTuple):
    """A lot with credits left, and what those cost."""

    lot: int
    remaining_e8: int
    cost_e8: int
    currency: str | None


class _Debt:
    """What is left of a debt that one entry ran into."""

    __slots__ = ("job", "owed_e8", "seq")

    def __init__(self, seq: int, job: str | None, owed_e8: int) -> None:
        self.seq, self.job, self.owed_e8 = seq, job, owed_e8


class Costing:
    """The lots of one wallet while its entries are gone through, in order from the first.

    Knows of every job which lots it took from, which a refund into a debt needs: about 150 bytes
    a job.
    """

    def __init__(self) -> None:
        self._lots: dict[str, _Lot] = {}
        self._debts: deque[_Debt] = deque()
        self._lots_of_job: dict[str | None, tuple[_Lot, ...]] = {}
        self._alone: dict[str, tuple[_Lot]] = {}

    @property
    def remaining(self) -> tuple[LotCost, ...]:
        """The lots that have credits left, the first to come in first."""
        return tuple(
            LotCost(lot.seq, lot.granted_e8 - lot.out_e8, lot.cash_e8 - lot.cost_e8, lot.currency)
            for lot in self._lots.values()
            if lot.out_e8 < lot.granted_e8
        )

    @property
    def owed_e8(self) -> int:
        """Debts that nothing has paid yet, in units of 10^-8 credit."""
        return sum(debt.owed_e8 for debt in self._debts)

    def of(self, entry: Entry) -> Costed:
        """The parts of the next entry."""
        posted_e8, kind = entry.posted_e8, entry.kind
        if not posted_e8:
            return Costed(entry, (), ())
        if posted_e8 < 0:
            return Costed(entry, self._out(entry), ())
        if kind == "refund":
            return self._refunded(entry)
        return self._in(entry)

    def _out(self, entry: Entry) -> tuple[Part, ...]:
        """A charge, a correction downwards, or a lapse."""
        left_e8 = -entry.posted_e8
        parts = []
        taken = taken_of(entry.lots) if entry.lots else {}
        for name, part_e8 in taken.items():
            lot = self._lots[name]
            parts.append(Part(lot.seq, -part_e8, -lot.move(part_e8), lot.currency))
            left_e8 -= part_e8
            if entry.kind == "lapse":
                lot.lapsed_e8 += part_e8
        if entry.job is not None and taken:
            self._remember(entry.job, taken)
        if left_e8:
            self._debts.append(_Debt(entry.seq, entry.job, left_e8))
            parts.append(Part(None, -left_e8, 0, None))
        return tuple(parts)

    def _remember(self, job: str, taken: dict[str, int]) -> None:
        found = self._lots_of_job.get(job, ())
        if len(taken) == 1 and not found:
            # One tuple for all the jobs of a lot.
            self._lots_of_job[job] = self._alone[next(iter(taken))]
        else:
            more = (self._lots[name] for name in taken)
            self._lots_of_job[job] = (*found, *(lot for lot in more if lot not in found))

    def _in(self, entry: Entry) -> Costed:
        """A top-up, or a correction upwards: a new lot, which pays debts at once."""
        facts = entry.details
        cash_e8, currency = facts.get("cash_e8") or 0, facts.get("currency")
        lot = _Lot(entry.seq, entry.posted_e8, cash_e8, currency)
        name = str(entry.seq)
        self._lots[name], self._alone[name] = lot, (lot,)
        paid_e8 = taken_of(entry.lots)[name] if entry.lots else 0
        paid = self._pay(lot, paid_e8)
        parts = []
        if kept_e8 := entry.posted_e8 - paid_e8:
            parts.append(Part(lot.seq, kept_e8, cash_e8 - lot.cost_e8, currency))
        if paid_e8:
            parts.append(Part(None, paid_e8, 0, None))
        return Costed(entry, tuple(parts), tuple(paid))

    def _refunded(self, entry: Entry) -> Costed:
        """A refund goes into debts first, those of its own job before the others."""
        parts = []
        debt_e8 = entry.posted_e8
        for name, back_e8 in (taken_of(entry.lots) if entry.lots else {}).items():
            lot = self._lots[name]
            parts.append(Part(lot.seq, -back_e8, -lot.move(back_e8), lot.currency))
            debt_e8 += back_e8
        if not debt_e8:
            return Costed(entry, tuple(parts), ())
        parts.append(Part(None, debt_e8, 0, None))
        paid: list[Paid] = []
        left_e8 = debt_e8 - self._cancel(entry.job, debt_e8)
        for lot in self._given_by(entry.job):
            part_e8 = min(left_e8, lot.out_e8 - lot.lapsed_e8)
            if part_e8 > 0:
                # Back into its lot, and out of it at once for the debt.
                lot.move(-part_e8)
                paid += self._pay(lot, part_e8)
                left_e8 -= part_e8
        return Costed(entry, tuple(parts), tuple(paid))

    def _cancel(self, job: str | None, most_e8: int) -> int:
        """Take a refund off what its own job still owes: nothing was paid for that."""
        left_e8 = most_e8
        for debt in self._debts:
            if debt.job == job:
                part_e8 = min(left_e8, debt.owed_e8)
                debt.owed_e8 -= part_e8
                left_e8 -= part_e8
        self._debts = deque(debt for debt in self._debts if debt.owed_e8)
        return most_e8 - left_e8

    def _given_by(self, job: str | None) -> Iterator[_Lot]:
        """Lots that refunded credits had come from: its job's last ones first, then the newest."""
        own = self._lots_of_job.get(job, ())
        yield from reversed(own)
        for lot in reversed(self._lots.values()):
            if lot not in own:
                yield lot

    def _pay(self, lot: _Lot, amount_e8: int) -> list[Paid]:
        paid = []
        while amount_e8 and self._debts:
            debt = self._debts[0]
            part_e8 = min(amount_e8, debt.owed_e8)
            paid.append(Paid(debt.seq, part_e8, lot.move(part_e8), lot.currency, lot.seq))
            amount_e8 -= part_e8
            debt.owed_e8 -= part_e8
            if not debt.owed_e8:
                self._debts.popleft()
        return paid


def costed(entries: Iterable[Entry]) -> Iterator[Costed]:
    """What the entries of one wallet cost, all of them from the first, in order.

    >>> facts = '{"cash_e8":1000000000,"currency":"USD"}'
    >>> def entry(seq, kind, posted_e8, lots=None, facts=None):
    ...     return Entry("main", "studio", seq, kind, "", None, "", posted_e8, 0, 0, 0, 0, 0, 0,
    ...         lots, facts, 0, 0, b"", b"")
    >>> bought, used, rest = costed([
    ...     entry(2, "top_up", 300, facts=facts),
    ...     entry(3, "charge", -100, '{"2":100}'),
    ...     entry(4, "charge", -250, '{"2":200}'),
    ... ])
    >>> used.parts
    (Part(lot=2, credits_e8=-100, cost_e8=-333333333, currency='USD'),)
    >>> rest.parts[0].cost_e8, rest.parts[1].credits_e8
    (-666666667, -50)
    """
    costing = Costing()
    return map(costing.of, entries)

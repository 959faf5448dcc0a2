"""Forms as polars expressions: what many rows cost, and for which of them that is proven."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from math import isfinite
from operator import or_
from typing import Any, Final, NamedTuple

import polars as pl

from ledger.columns.exact import Arithmetic, Exact, TooLarge, Truth, Width, both
from ledger.columns.forms import MOST, Form, Line, Stage
from ledger.columns.plans import NUMBER, RAW_SECONDS, SECONDS, WRITTEN, over
from ledger.columns.trees import NoForm, Reader
from ledger.evolink.values import Number

__all__ = ["NARROW", "WIDE", "Ends", "Program", "Reading", "programs"]

_MOST_PROGRAMS: Final = 64
"""Most programs of one batch: each is computed for every row."""


class Program(NamedTuple):
    """What some rows cost."""

    settled: pl.Expr
    """Which rows; never null for them, whatever it is for others."""
    amount_e8: pl.Expr
    """Their amount; for other rows it means nothing."""
    reads: Mapping[str, pl.Expr]
    """Columns that both read, to be added to the rows first."""


class _Try(NamedTuple):
    """One way of holding numbers, of which the first that is large enough is taken."""

    width: Width
    places: int
    """Decimals that are told apart."""
    most: int
    """Largest number."""


class Reading(NamedTuple):
    """How numbers of a plan are read."""

    units: Callable[[str, int], tuple[pl.Expr, pl.Expr]]
    """A column as units of so many decimals, and for which rows that is the exact number."""
    tries: tuple[_Try, ...]


def _narrow(name: str, places: int) -> tuple[pl.Expr, pl.Expr]:
    """From floats, which tell all decimals of 15 digits apart.

    A decimal of at most 15 digits is the only one of so few that reads as its float. If the
    nearest number of units, divided again, reads as that float as well, it is that decimal.
    """
    number = pl.col(SECONDS if name == SECONDS else NUMBER + name)
    units = (number * 10**places).round()
    return units.cast(pl.Int64, strict=False), over(units, 10**places) == number


_WRITTEN_NUMBER: Final = r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,20})?$"
_WRITTEN_SECONDS: Final = r"^[0-9]{1,15}(\.[0-9]{1,20})?$"


def _wide(name: str, places: int) -> tuple[pl.Expr, pl.Expr]:
    """From texts, digit by digit."""
    written = pl.col(RAW_SECONDS if name == SECONDS else WRITTEN + name).cast(pl.String)
    pattern = _WRITTEN_SECONDS if name == SECONDS else _WRITTEN_NUMBER
    digits = pl.when(written.str.contains(pattern)).then(written)
    finest = digits.cast(pl.Decimal(38, 20), strict=False).to_physical()
    step = pl.lit(10 ** (20 - places), dtype=pl.Int128)
    return finest // step, finest % step == 0


NARROW: Final = Reading(_narrow, (_Try(64, 9, MOST), _Try(64, 6, MOST), _Try(128, 9, MOST)))
"""For most rows: up to nine decimals, in machine integers where they are large enough."""

WIDE: Final = Reading(_wide, tuple(_Try(128, 20, 10**digits) for digits in (15, 12, 9, 6, 4)))
"""For the rows that are left: up to twenty decimals."""


@dataclass(frozen=True, slots=True)
class _Group:
    """Forms of one skeleton, and where their combinations stand among all of a batch."""

    places: list[int]
    forms: list[Form]


Ends = Mapping[str, tuple[float | None, float | None]]
"""Smallest and largest number of some columns."""

Column = Callable[[Sequence[Any], Any], pl.Expr]
"""One value for each combination of a batch, as a column."""


def programs(
    forms: Sequence[Form | None],
    column: Column,
    reading: Reading,
    ends: Ends,
) -> Iterator[Program]:
    """Programs for the combinations of a batch that have a form.

    Args:
        forms: the form of each combination.
        column: gives one value for each combination as a column.
        reading: how numbers are read.
        ends: smallest and largest number of some columns, which narrow the bounds.
    """
    groups: dict[Hashable, _Group] = {}
    for place, form in enumerate(forms):
        if form is not None:
            group = groups.setdefault(form.skeleton, _Group([], []))
            group.places.append(place)
            group.forms.append(form)
    for group in list(groups.values())[:_MOST_PROGRAMS]:
        for attempt in reading.tries:
            compiler = _Compiler(group, len(forms), column, attempt)
            try:
                program = compiler.program(reading, ends)
            except TooLarge:
                continue
            except NoForm:
                break
            yield program
            break


class _Compiler:
    """Makes one group of forms a program."""

    def __init__(self, group: _Group, count: int, column: Column, attempt: _Try) -> None:
        self._group, self._count, self._all = group, count, column
        self._try = attempt
        self._arithmetic = Arithmetic(attempt.width, self._column)

    def _column(self, values: Sequence[Any], kind: Any) -> pl.Expr:
        """One value for each form of the group as a column; others of the batch get any value."""
        whole = [values[0]] * self._count
        for place, value in zip(self._group.places, values, strict=True):
            whole[place] = value
        return self._all(whole, kind)

    def program(self, reading: Reading, ends: Ends) -> Program:
        """The group's program.

        Raises:
            TooLarge: a number may leave its type.
            NoForm: there is none.
        """
        first = self._group.forms[0]
        settled: pl.Expr | None = None
        if len(self._group.places) < self._count:
            members = set(self._group.places)
            settled = self._all([place in members for place in range(self._count)], pl.Boolean)
        has_none = pl.col(RAW_SECONDS).is_null()
        settled = both(settled, None if first.has_length else has_none)
        columns: dict[str, Exact] = {}
        reads: dict[str, pl.Expr] = {}
        for name in first.guards:
            places = 0 if first.guards[name].whole else self._try.places
            units, exact = reading.units(name, places)
            read = f"__units {places} {name}"
            reads[read] = pl.when(exact).then(units).alias(read)
            inside, columns[name] = self._read(name, pl.col(read), places, ends)
            settled = both(settled, inside)
        reader = Reader(self._arithmetic, columns)
        total = self._total(reader)
        settled = both(settled, total.valid)
        # What does not fit a ledger is null, so that the scalar function says so.
        amount = self._arithmetic.column(total).cast(pl.Int64, strict=False)
        return Program(pl.lit(value=True) if settled is None else settled, amount, reads)

    def _read(self, name: str, units: pl.Expr, places: int, ends: Ends) -> tuple[pl.Expr, Exact]:
        """A column within its guards, and the rows that are."""
        guards = [form.guards[name] for form in self._group.forms]
        scale = 10**places
        least, most = self._bounds(ends.get(name, (None, None)), scale)
        lows = [max(least, _up(guard.least, scale)) for guard in guards]
        highs = [min(most, _down(guard.most, scale)) for guard in guards]
        low, high = min(lows), max(highs)
        if low > high:
            raise TooLarge  # no row of this batch has so few digits
        kind = pl.Int64 if self._try.width == 64 else pl.Int128
        number = self._arithmetic.read(units, scale, low, high)
        column = self._arithmetic.column(number)
        inside = column.is_between(self._column(lows, kind), self._column(highs, kind))
        if (allowed := guards[0].allowed) is not None:
            chosen = (column == pl.lit(each, dtype=kind) for each in _units_of(allowed, scale))
            inside &= reduce(or_, chosen, pl.lit(value=False))
        return inside, number

    def _bounds(self, ends: tuple[float | None, float | None], scale: int) -> tuple[int, int]:
        limit = self._try.most * (scale if self._try.places > 9 else 1)
        low, high = (None if end is None or not isfinite(end) else int(end) for end in ends)
        least = -limit if low is None else max(-limit, (low - 1) * scale)
        most = limit if high is None else min(limit, (high + 1) * scale)
        return least, most

    def _total(self, reader: Reader) -> Exact:
        """The charge in units of 10^-8 credit."""
        lines = list(zip(*(form.lines for form in self._group.forms), strict=True))
        arithmetic, unit_e8 = self._arithmetic, self._group.forms[0].unit_e8
        nothing = arithmetic.constant([(0, 1)] * len(self._group.forms))
        charges = [self._charge(line, reader) for line in lines] or [nothing]
        total = charges[0] if len(charges) == 1 else arithmetic.total(charges)
        unit = arithmetic.constant([(unit_e8, 1)] * len(self._group.forms))
        return arithmetic.product([total, unit])

    def _charge(self, lines: Sequence[Line], reader: Reader) -> Exact:
        """The charge of one component: a whole number of units."""
        arithmetic = self._arithmetic
        quantity = reader.number([line.quantity for line in lines])
        if quantity.low < 0:
            zero = arithmetic.constant([(0, 1)] * len(lines))
            positive = arithmetic.compared("gte", quantity, zero)
            valid = both(quantity.valid, positive.column)
            quantity = replace(arithmetic.greatest([quantity, zero]), valid=valid)
        stages = list(zip(*(line.stages for line in lines), strict=True))
        charges = [self._staged(quantity, stage) for stage in stages]
        whens = [reader.truth(trees) for trees in zip(*(line.whens for line in lines), strict=True)]
        found = charges[-1]
        for when, charge in zip(whens, charges[:-1], strict=True):
            found = arithmetic.chosen(Truth(when.holds), charge, found)
        valid = both(found.valid, reduce(both, (when.valid for when in whens), None))
        valid = both(valid, _at_most_one(whens))
        condition = reader.truth([line.condition for line in lines])
        nothing = arithmetic.constant([(0, 1)] * len(lines))
        return arithmetic.chosen(condition, replace(found, valid=valid), nothing)

    def _staged(self, quantity: Exact, stages: Sequence[Stage]) -> Exact:
        """What a quantity is charged: rounded, at least the smallest charge, in whole units."""
        arithmetic, first = self._arithmetic, stages[0]
        if not first.is_available:
            nothing = arithmetic.constant([(0, 1)] * len(stages))
            return replace(nothing, valid=pl.lit(value=False))
        rate = arithmetic.constant([stage.rate for stage in stages])
        if first.point == "per_component_subtotal":
            quantum = arithmetic.constant([(stage.quantum, 1) for stage in stages])
            subtotal = arithmetic.rounded(arithmetic.product([quantity, rate]), first.mode)
            subtotal = arithmetic.product([subtotal, quantum])
        elif first.point == "per_quantity":
            multiplier = arithmetic.constant([stage.multiplier for stage in stages])
            billed = arithmetic.rounded(arithmetic.product([quantity, multiplier]), first.mode)
            subtotal = arithmetic.product([billed, rate])
        else:
            subtotal = arithmetic.product([quantity, rate])
        minimum = arithmetic.constant([stage.minimum for stage in stages])
        return arithmetic.quotient(arithmetic.greatest([subtotal, minimum]))


def _at_most_one(whens: Sequence[Truth]) -> pl.Expr | None:
    """Where at most one tier holds."""
    if len(whens) < 2:
        return None
    return pl.sum_horizontal(when.column.cast(pl.UInt8) for when in whens) <= 1


def _up(value: Number, scale: int) -> int:
    return -(-value[0] * scale // value[1])


def _down(value: Number, scale: int) -> int:
    return value[0] * scale // value[1]


def _units_of(allowed: frozenset[Number], scale: int) -> list[int]:
    return sorted(up * scale // down for up, down in allowed if not up * scale % down)

"""Exact numbers as columns: whole numerators over one constant denominator, with proven bounds.

A number is held for many rows at once as `column / per`. Between which whole numbers the column
lies is proven before anything is computed, so that no step of a calculation can leave its type:
what might is refused with `TooLarge`, and computed elsewhere.

Rows whose inputs lie outside of what was promised have results too, which mean nothing: whoever
uses a column must look away from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import product
from math import gcd, lcm, prod
from operator import add, eq, ge, gt, le, lt, ne
from typing import Any, Final, Literal

import polars as pl

from ledger.evolink.values import Number
from ledger.units import Rounding

__all__ = ["Arithmetic", "Exact", "TooLarge", "Truth", "Width", "both"]

Width = Literal[64, 128]
"""Bits of the numerators."""

_KINDS: Final[Mapping[Width, Any]] = {64: pl.Int64, 128: pl.Int128}
_COMPARED: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    "eq": eq,
    "neq": ne,
    "lt": lt,
    "lte": le,
    "gt": gt,
    "gte": ge,
}


class TooLarge(Exception):
    """A numerator may leave its type."""


@dataclass(frozen=True, slots=True)
class Exact:
    """A number for each row."""

    per: int
    """Its denominator."""
    low: int
    """Smallest numerator of the rows that were promised."""
    high: int
    """Largest numerator of the rows that were promised."""
    column: pl.Expr | None = None
    """Numerators; None where they are constants."""
    values: tuple[int, ...] = ()
    """The constant of each combination of options."""
    valid: pl.Expr | None = None
    """For which rows there is such a number at all; all of them, if None."""


@dataclass(frozen=True, slots=True)
class Truth:
    """An answer for each row."""

    holds: pl.Expr | bool
    valid: pl.Expr | None = None
    """For which rows there is an answer; all of them, if None."""

    @property
    def column(self) -> pl.Expr:
        """The answers as a column."""
        return pl.lit(self.holds) if isinstance(self.holds, bool) else self.holds


def both(one: pl.Expr | None, other: pl.Expr | None) -> pl.Expr | None:
    """Where both hold; None where nothing is asked."""
    if one is None or other is None:
        return other if one is None else one
    return one & other


class Arithmetic:
    """Calculations with numerators of one width.

    Args:
        width: bits of the numerators.
        column: gives the constants of the combinations as a column.
    """

    __slots__ = ("_column", "_kind", "_most")

    def __init__(self, width: Width, column: Callable[[Sequence[int], Any], pl.Expr]) -> None:
        self._kind = _KINDS[width]
        self._most = 2 ** (width - 1) - 1
        self._column = column

    # --- Where numbers come from and go to ---

    def constant(self, numbers: Sequence[Number]) -> Exact:
        """The constant of each combination."""
        per = lcm(*(down for _, down in numbers))
        values = tuple(up * (per // down) for up, down in numbers)
        return self._constant(values, per)

    def read(self, column: pl.Expr, per: int, low: int, high: int) -> Exact:
        """A column of whole numbers over a denominator; rows outside the bounds mean nothing."""
        return self._made(column.cast(self._kind, strict=False), per, low, high)

    def column(self, number: Exact) -> pl.Expr:
        """The numerators of a number as a column."""
        if number.column is not None:
            return number.column
        if number.low == number.high:
            return self._literal(number.low)
        return self._column(number.values, self._kind)

    def _literal(self, value: int) -> pl.Expr:
        return pl.lit(value, dtype=self._kind)

    def _constant(self, values: tuple[int, ...], per: int) -> Exact:
        low, high = min(values), max(values)
        self._check(low, high, per)
        return Exact(per, low, high, values=values)

    def _check(self, *numbers: int) -> None:
        if max(map(abs, numbers)) > self._most:
            raise TooLarge

    def _made(
        self, column: pl.Expr, per: int, low: int, high: int, valid: pl.Expr | None = None
    ) -> Exact:
        self._check(low, high, per)
        return Exact(per, low, high, column, valid=valid)

    def _aligned(self, numbers: Sequence[Exact]) -> list[Exact]:
        """The same numbers over one denominator."""
        per = lcm(*(number.per for number in numbers))
        return [self._times(number, per // number.per, per) for number in numbers]

    def _times(self, number: Exact, factor: int, per: int) -> Exact:
        """A number with its numerators multiplied by a positive factor, over a denominator."""
        if number.column is None:
            found = self._constant(tuple(value * factor for value in number.values), per)
            return replace(found, valid=number.valid)
        if factor == 1:
            return replace(number, per=per)
        low, high = number.low * factor, number.high * factor
        return self._made(number.column * self._literal(factor), per, low, high, number.valid)

    # --- Operations ---

    def total(self, numbers: Sequence[Exact]) -> Exact:
        """The sum."""
        parts = self._aligned(numbers)
        lows, highs = ([getattr(part, end) for part in parts] for end in ("low", "high"))
        for end in range(2, len(parts)):
            self._check(sum(lows[:end]), sum(highs[:end]))
        return self._made(
            reduce(add, map(self.column, parts)),
            parts[0].per,
            sum(lows),
            sum(highs),
            _all_valid(parts),
        )

    def difference(self, one: Exact, other: Exact) -> Exact:
        """The first less the second."""
        one, other = self._aligned([one, other])
        low, high = one.low - other.high, one.high - other.low
        column = self.column(one) - self.column(other)
        return self._made(column, one.per, low, high, _all_valid([one, other]))

    def product(self, numbers: Sequence[Exact]) -> Exact:
        """The product, with what all constants have in common with the denominator left out."""
        columns = [number for number in numbers if number.column is not None]
        constants = [number for number in numbers if number.column is None]
        per = prod(number.per for number in numbers)
        values = [prod(each) for each in zip(*(item.values for item in constants), strict=True)]
        if values:
            common = gcd(per, *values)
            per, values = per // common, [value // common for value in values]
        if not columns:
            found = self._constant(tuple(values), per)
            return replace(found, valid=_all_valid(numbers))
        column, low, high = self.column(columns[0]), columns[0].low, columns[0].high
        for other in columns[1:]:
            low, high = _ends(low, high, other.low, other.high)
            self._check(low, high)
            column = column * self.column(other)
        if values and set(values) != {1}:
            factor = self._constant(tuple(values), 1)
            low, high = _ends(low, high, factor.low, factor.high)
            column = column * self.column(factor)
        return self._made(column, per, low, high, _all_valid(numbers))

    def least(self, numbers: Sequence[Exact]) -> Exact:
        """The smallest of some numbers."""
        parts = self._aligned(numbers)
        low, high = min(part.low for part in parts), min(part.high for part in parts)
        # What can never be the smallest need not be looked at, but must exist all the same.
        seen = [part for part in parts if part.low < high or part.high == high]
        if len(seen) == 1:
            return replace(seen[0], valid=_all_valid(parts))
        column = pl.min_horizontal(list(map(self.column, seen)))
        return self._made(column, parts[0].per, low, high, _all_valid(parts))

    def greatest(self, numbers: Sequence[Exact]) -> Exact:
        """The largest of some numbers."""
        parts = self._aligned(numbers)
        low, high = max(part.low for part in parts), max(part.high for part in parts)
        seen = [part for part in parts if part.high > low or part.low == low]
        if len(seen) == 1:
            return replace(seen[0], valid=_all_valid(parts))
        column = pl.max_horizontal(list(map(self.column, seen)))
        return self._made(column, parts[0].per, low, high, _all_valid(parts))

    def clamped(self, number: Exact, low: Exact, high: Exact) -> Exact:
        """The number, or the bound it is beyond; nothing where the bounds are the wrong way."""
        found = self.greatest([low, self.least([number, high])])
        inside = self.compared("lte", low, high)
        valid = None if inside.holds is True else inside.column
        return replace(found, valid=both(found.valid, valid))

    def rounded(self, number: Exact, mode: Rounding) -> Exact:
        """The number as a whole one: up, down, or to the nearest with halves up."""
        if number.per == 1:
            return number
        per = number.per
        # Added to the numerator, times two where it is a half: the rest is a division downwards.
        factor, more = {"ceil": (1, per - 1), "half_up": (2, per), "floor": (1, 0)}[mode]
        low, high, per = factor * number.low + more, factor * number.high + more, factor * per
        if number.column is None:
            values = tuple((factor * value + more) // per for value in number.values)
            return replace(self._constant(values, 1), valid=number.valid)
        self._check(low, high, per)
        column = number.column if factor == 1 else number.column * self._literal(factor)
        column = column + self._literal(more) if more else column
        return self._made(column // self._literal(per), 1, low // per, high // per, number.valid)

    def quotient(self, number: Exact) -> Exact:
        """The number as a whole one; nothing where it is not."""
        if number.per == 1:
            return number
        column = self.column(number)
        whole = column % self._literal(number.per) == 0
        found = self.rounded(number, "floor")
        return replace(found, valid=both(number.valid, whole))

    def compared(self, op: str, one: Exact, other: Exact) -> Truth:
        """Whether the comparison holds: `eq`, `neq`, `lt`, `lte`, `gt` or `gte`."""
        one, other = self._aligned([one, other])
        valid = _all_valid([one, other])
        compare = _COMPARED[op]
        ends = {compare(a, b) for a, b in product((one.low, one.high), (other.low, other.high))}
        decided = len(ends) == 1
        if op in {"eq", "neq"}:
            apart = one.high < other.low or other.high < one.low
            decided = apart or (one.low == one.high == other.low == other.high)
        if decided:
            return Truth(ends.pop(), valid)
        return Truth(compare(self.column(one), self.column(other)), valid)

    def chosen(self, condition: Truth, then: Exact, otherwise: Exact) -> Exact:
        """The one number where a condition holds, the other one where it does not."""
        if isinstance(condition.holds, bool):
            found = then if condition.holds else otherwise
            return replace(found, valid=both(condition.valid, found.valid))
        then, otherwise = self._aligned([then, otherwise])
        column = pl.when(condition.holds).then(self.column(then)).otherwise(self.column(otherwise))
        low, high = min(then.low, otherwise.low), max(then.high, otherwise.high)
        valid = both(condition.valid, _chosen(condition.holds, then.valid, otherwise.valid))
        return self._made(column, then.per, low, high, valid)

    def looked_up(self, key: Exact, entries: Sequence[tuple[Number, Exact]]) -> Exact:
        """The entry of a number; nothing where there is none."""
        column, found = self.column(key), []
        for (up, down), value in entries:
            place, rest = divmod(up * key.per, down)
            if not rest and key.low <= place <= key.high:
                found.append((column == self._literal(place), value))
        if not found:
            nothing = self._constant((0,) * max(1, len(key.values)), 1)
            return replace(nothing, column=self._literal(0), valid=pl.lit(value=False))
        values = self._aligned([value for _, value in found])
        chain: Any = pl
        for (matches, _), value in zip(found, values, strict=True):
            chain = chain.when(matches).then(self.column(value))
        known = reduce(lambda one, other: one | other, (matches for matches, _ in found))
        # Zero stands where nothing was found; there the result is not valid.
        low, high = min(0, *(item.low for item in values)), max(0, *(i.high for i in values))
        valid = both(key.valid, known)
        return self._made(chain.otherwise(self._literal(0)), values[0].per, low, high, valid)


def _all_valid(numbers: Sequence[Exact]) -> pl.Expr | None:
    return reduce(both, (number.valid for number in numbers))


def _ends(low: int, high: int, least: int, most: int) -> tuple[int, int]:
    ends = [one * other for one, other in product((low, high), (least, most))]
    return min(ends), max(ends)


def _chosen(holds: pl.Expr, then: pl.Expr | None, otherwise: pl.Expr | None) -> pl.Expr | None:
    """Whether the branch that is taken is valid."""
    if then is None and otherwise is None:
        return None
    always = pl.lit(value=True)
    return (
        pl.when(holds)
        .then(always if then is None else then)
        .otherwise(always if otherwise is None else otherwise)
    )

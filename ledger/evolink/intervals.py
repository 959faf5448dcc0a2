"""Pricing expressions over ranges: between which values a number must lie when some are unknown.

Interval arithmetic, exact at both ends: a result is never narrower than the truth, and is the
truth where every variable is read once or all its readings move the result the same way. Values
for which an expression has no value at all are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import chain, product
from typing import Final, TypeVar, cast

from ledger.evolink.compiling import compiled
from ledger.evolink.nodes import Apply, Constant, Expression, Lookup, Variable, kind_of
from ledger.evolink.values import (
    NoResult,
    Number,
    Value,
    as_number,
    as_text,
    clip,
    comparable,
    looks_numeric,
    number,
    quotient,
)

__all__ = ["Interval", "Known", "Unbounded", "less", "narrowed", "span_of", "truth_of"]

Interval = tuple[Number, Number]
"""All numbers from the first to the second one, both included."""


_T = TypeVar("_T")


class Known:
    """What is known of the variables: values, and intervals of some numbers."""

    __slots__ = ("intervals", "values")

    def __init__(self, values: Mapping[str, Value], intervals: Mapping[str, Interval]) -> None:
        self.values, self.intervals = values, intervals


class Unbounded(Exception):
    """A result has no bounds: a divisor may be zero, or may come as near to it as it likes."""


def less(one: Number, other: Number) -> bool:
    """Whether one number is less than another one."""
    return one[0] * other[1] < other[0] * one[1]


def _least(numbers: Sequence[Number]) -> Number:
    found = numbers[0]
    for other in numbers[1:]:
        if less(other, found):
            found = other
    return found


def _greatest(numbers: Sequence[Number]) -> Number:
    found = numbers[0]
    for other in numbers[1:]:
        if less(found, other):
            found = other
    return found


def hull(intervals: Sequence[Interval]) -> Interval:
    """The smallest interval that holds all of these."""
    return _least([low for low, _ in intervals]), _greatest([high for _, high in intervals])


# --- Numbers -------------------------------------------------------------------------------------


def span_of(expression: Expression, known: Known) -> Interval:
    """Between which numbers the value lies.

    It raises `NoResult` where no values give a number, and `Unbounded` where there is no bound.
    """
    if isinstance(expression, Constant):
        value = as_number(expression.value)
        return value, value
    if isinstance(expression, Variable):
        found = known.intervals.get(expression.name)
        if found is not None:
            return found
        value = as_number(known.values[expression.name])
        return value, value
    if isinstance(expression, Lookup):
        return _looked_up(expression, known)
    if expression.op == "if":
        return hull(_over_branches(expression, known, span_of))
    return _SPANS[expression.op]([span_of(arg, known) for arg in expression.args])


def _over_branches(
    expression: Apply, known: Known, evaluate: Callable[[Expression, Known], _T]
) -> list[_T]:
    """The results of the branches that may be taken and have one."""
    condition, then, otherwise = expression.args
    truth = truth_of(condition, known)
    if truth is not None:
        return [evaluate(then if truth else otherwise, known)]
    found: list[_T] = []
    problem = NoResult("no values are left")
    for branch, outcome in ((then, True), (otherwise, False)):
        inside = narrowed(condition, outcome, known)
        try:
            if inside is not None:
                found.append(evaluate(branch, inside))
        except NoResult as error:
            problem = error
    if not found:
        raise problem
    return found


def _looked_up(expression: Lookup, known: Known) -> Interval:
    found = []
    keys = _alternatives(expression.key, known)
    for key in keys:
        if isinstance(key, str):
            found += [expression.values[key]] if key in expression.values else []
        elif not less(*key):
            text = as_text(key[0])
            found += [expression.values[text]] if text in expression.values else []
        else:
            found += [value for text, value in expression.values.items() if _is_within(text, key)]
    if not found:
        raise NoResult(f"the lookup has no entry for {' or '.join(map(_told, keys))}")
    return _least(found), _greatest(found)


def _told(key: Interval | str) -> str:
    if isinstance(key, str):
        return clip(key)
    low, high = map(quotient, key)
    return low if low == high else f"{low} to {high}"


def _is_within(text: str, interval: Interval) -> bool:
    if not looks_numeric(text):
        return False
    value = number(text)
    return not less(value, interval[0]) and not less(interval[1], value)


def _sum(args: Sequence[Interval]) -> Interval:
    (low, high), *rest = args
    for least, most in rest:
        low = (low[0] * least[1] + least[0] * low[1], low[1] * least[1])
        high = (high[0] * most[1] + most[0] * high[1], high[1] * most[1])
    return low, high


def _product(args: Sequence[Interval]) -> Interval:
    found, *rest = args
    for other in rest:
        ends = [(a[0] * b[0], a[1] * b[1]) for a, b in product(found, other)]
        found = (_least(ends), _greatest(ends))
    return found


def _difference(args: Sequence[Interval]) -> Interval:
    first, (low, high) = args
    return _sum([first, ((-high[0], high[1]), (-low[0], low[1]))])


def _quotient(args: Sequence[Interval]) -> Interval:
    first, (low, high) = args
    if low[0] == 0 == high[0]:
        raise NoResult("divides by zero")
    if low[0] <= 0 <= high[0]:
        raise Unbounded(f"divides by a number from {quotient(low)} to {quotient(high)}")
    turned = [(down, up) if up > 0 else (-down, -up) for up, down in (high, low)]
    return _product([first, (turned[0], turned[1])])


def _minimum(args: Sequence[Interval]) -> Interval:
    return _least([low for low, _ in args]), _least([high for _, high in args])


def _maximum(args: Sequence[Interval]) -> Interval:
    return _greatest([low for low, _ in args]), _greatest([high for _, high in args])


def _clamped(args: Sequence[Interval]) -> Interval:
    value, low, high = args
    if less(high[1], low[0]):
        raise NoResult(f"clamps between {quotient(low[0])} and {quotient(high[1])}, which is less")
    return _maximum([low, _minimum([value, high])])


def _floor(args: Sequence[Interval]) -> Interval:
    ((low, high),) = args
    return (low[0] // low[1], 1), (high[0] // high[1], 1)


def _ceil(args: Sequence[Interval]) -> Interval:
    ((low, high),) = args
    return (-(-low[0] // low[1]), 1), (-(-high[0] // high[1]), 1)


_SPANS: Final[Mapping[str, Callable[[Sequence[Interval]], Interval]]] = {
    "add": _sum,
    "ceil": _ceil,
    "clamp": _clamped,
    "divide": _quotient,
    "floor": _floor,
    "max": _maximum,
    "min": _minimum,
    "multiply": _product,
    "subtract": _difference,
}


# --- Truth ---------------------------------------------------------------------------------------


def truth_of(expression: Expression, known: Known) -> bool | None:
    """Whether a condition holds, or None where it may hold and may not."""
    if isinstance(expression, Constant):
        return cast("bool", expression.value)
    if isinstance(expression, Variable):
        return cast("bool", known.values[expression.name])
    op, args = cast("Apply", expression).op, cast("Apply", expression).args
    if op in {"and", "or"}:
        return _combined(op == "or", args, known)
    if op == "not":
        truth = truth_of(args[0], known)
        return None if truth is None else not truth
    if op == "if":
        found = set(_over_branches(cast("Apply", expression), known, truth_of))
        return found.pop() if len(found) == 1 else None
    if op in {"eq", "neq"}:
        equal = _equal(args[0], args[1], known)
        return equal if equal is None or op == "eq" else not equal
    (low, high), (least, most) = (span_of(arg, known) for arg in args)
    if op in {"lt", "gte"}:
        truth = True if less(high, least) else None if less(low, most) else False
        return truth if truth is None or op == "lt" else not truth
    truth = True if less(most, low) else None if less(least, high) else False
    return truth if truth is None or op == "gt" else not truth


def _combined(decisive: bool, args: Sequence[Expression], known: Known) -> bool | None:  # noqa: FBT001
    """`or` where true decides, `and` where false does."""
    found: bool | None = not decisive
    for arg in args:
        try:
            truth = truth_of(arg, known)
        except NoResult:
            if found is None:  # values that come this far have no result, the others decided
                return decisive
            raise
        if truth is decisive:
            return decisive
        if truth is None:
            found = None
    return found


def _equal(left: Expression, right: Expression, known: Known) -> bool | None:
    if kind_of(left) == "boolean":
        one, other = truth_of(left, known), truth_of(right, known)
        return None if one is None or other is None else one is other
    pairs = [
        _same(one, other)
        for one, other in product(_alternatives(left, known), _alternatives(right, known))
    ]
    return pairs[0] if pairs and all(same is pairs[0] for same in pairs) else None


def _same(one: Interval | str, other: Interval | str) -> bool | None:
    (first, second) = (_as_interval(side) for side in (one, other))
    if first is None or second is None:
        return one == other
    if less(first[1], second[0]) or less(second[1], first[0]):
        return False
    exact = not less(*first) and not less(*second)
    return True if exact else None


def _as_interval(side: Interval | str) -> Interval | None:
    if not isinstance(side, str):
        return side
    value = comparable(side)
    return None if isinstance(value, str) else (value, value)


def _alternatives(expression: Expression, known: Known) -> list[Interval | str]:
    """Everything that a text or a number may be."""
    kind = kind_of(expression)
    if kind == "boolean":
        truth = truth_of(expression, known)
        return [as_text(value) for value in (True, False) if truth is None or truth is value]
    if kind == "number":
        return [span_of(expression, known)]
    if isinstance(expression, Apply):
        return list(chain.from_iterable(_over_branches(expression, known, _alternatives)))
    if isinstance(expression, Variable) and expression.name in known.intervals:
        return [known.intervals[expression.name]]
    value = compiled(expression)(known.values)
    return [(value, value) if isinstance(value, tuple) else as_text(value)]


# --- What a condition says of a variable ---------------------------------------------------------

_OPPOSITE: Final = {"lt": "gte", "gte": "lt", "gt": "lte", "lte": "gt", "eq": "neq", "neq": "eq"}
_TURNED: Final = {"lt": "gt", "gt": "lt", "lte": "gte", "gte": "lte", "eq": "eq", "neq": "neq"}


def narrowed(condition: Expression, outcome: bool, known: Known) -> Known | None:  # noqa: FBT001
    """What is known where a condition has an outcome; None where it cannot have it.

    Only comparisons of a variable with a constant or a known variable say something, alone or
    joined by `and` (where it holds) and `or` (where it does not).
    """
    if not isinstance(condition, Apply):
        return known
    op, args = condition.op, condition.args
    if op == "not":
        return narrowed(args[0], not outcome, known)
    if op in {"and", "or"}:
        if outcome is (op == "and"):
            inside: Known | None = known
            for arg in args:
                inside = None if inside is None else narrowed(arg, outcome, inside)
            return inside
        return known
    if op not in _OPPOSITE:
        return known
    op = op if outcome else _OPPOSITE[op]
    for left, right, seen in ((args[0], args[1], op), (args[1], args[0], _TURNED[op])):
        if isinstance(left, Variable) and left.name in known.intervals:
            return _cut(left.name, seen, right, known)
    return known


def _cut(name: str, op: str, limit: Expression, known: Known) -> Known | None:
    # Only limits that need no evaluation, so that nested conditions cost no more than their size.
    if isinstance(limit, Variable) and limit.kind == "number" and limit.name in known.values:
        bound = as_number(known.values[limit.name])
    elif isinstance(limit, Constant) and isinstance(limit.value, tuple):
        bound = limit.value
    else:
        return known
    low, high = known.intervals[name]
    if op in {"lt", "lte", "eq"} and less(bound, high):
        high = bound
    if op in {"gt", "gte", "eq"} and less(low, bound):
        low = bound
    if less(high, low):
        return None
    return Known(known.values, {**known.intervals, name: (low, high)})

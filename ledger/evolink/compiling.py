"""Pricing expressions as functions: closures over pairs of integers, made once for each rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar, cast

from ledger.evolink.nodes import Apply, Constant, Expression, Lookup, Variable, kind_of
from ledger.evolink.values import (
    NoResult,
    Number,
    Value,
    as_number,
    as_text,
    clip,
    comparable,
    converted,
    looks_numeric,
    quotient,
)

__all__ = ["compiled"]

_Environment = Mapping[str, Value]
_T = TypeVar("_T")
_Closure = Callable[[_Environment], _T]


def compiled(expression: Expression) -> Callable[[Mapping[str, Value]], Value]:
    """The expression as a function of its variables; it raises `NoResult` where it has no value.

    >>> from ledger.evolink.expressions import Declared, Scope, parse
    >>> tree = {"op": "add", "args": [{"op": "variable", "name": "x"},
    ...                               {"op": "constant", "value": "0.5"}]}
    >>> scope = Scope({"x": Declared("number")})
    >>> compiled(parse(tree, scope=scope))({"x": (5, 2)})
    (12, 4)
    """
    kind = kind_of(expression)
    if kind == "number":
        return _number(expression)
    if kind == "boolean":
        return _boolean(expression)
    return _any(expression)


def _any(expression: Expression) -> _Closure[Value]:
    if isinstance(expression, Constant):
        return _always(expression.value)
    if isinstance(expression, Variable):
        return _reading(expression.name)
    if isinstance(expression, Apply) and expression.op == "if":
        return _choosing(_boolean(expression.args[0]), *map(_any, expression.args[1:]))
    return compiled(expression)


def _always(value: _T) -> _Closure[_T]:
    return lambda _: value


def _reading(name: str) -> _Closure[Value]:
    return lambda given: given[name]


def _choosing(
    condition: _Closure[bool], then: _Closure[_T], otherwise: _Closure[_T]
) -> _Closure[_T]:
    return lambda given: then(given) if condition(given) else otherwise(given)


def _number(expression: Expression) -> _Closure[Number]:
    if isinstance(expression, Constant):
        return _always(as_number(expression.value))
    if isinstance(expression, Variable):
        return _number_named(expression.name)
    if isinstance(expression, Lookup):
        return _looking_up(expression)
    op, args = expression.op, expression.args
    if op == "if":
        return _choosing(_boolean(args[0]), _number(args[1]), _number(args[2]))
    return _NUMERIC[op]([_number(arg) for arg in args])


def _number_named(name: str) -> _Closure[Number]:
    def read(given: _Environment) -> Number:
        value = given[name]
        return value if isinstance(value, tuple) else as_number(value)

    return read


def _looking_up(expression: Lookup) -> _Closure[Number]:
    key, values = _text(expression.key), expression.values

    def look_up(given: _Environment) -> Number:
        text = key(given)
        found = values.get(text)
        if found is None:
            known = ", ".join(list(values)[:10])
            raise NoResult(f"the lookup has no entry for {clip(text)}; it has {known}")
        return found

    return look_up


def _text(expression: Expression) -> _Closure[str]:
    if isinstance(expression, Constant):
        return _always(as_text(expression.value))
    read = _any(expression)

    def text(given: _Environment) -> str:
        value = read(given)
        return value if isinstance(value, str) else as_text(value)

    return text


def _add(args: Sequence[_Closure[Number]]) -> _Closure[Number]:
    first, *rest = args

    def add(given: _Environment) -> Number:
        up, down = first(given)
        for arg in rest:
            more, per = arg(given)
            up, down = up * per + more * down, down * per
        return up, down

    return add


def _multiply(args: Sequence[_Closure[Number]]) -> _Closure[Number]:
    first, *rest = args

    def multiply(given: _Environment) -> Number:
        up, down = first(given)
        for arg in rest:
            more, per = arg(given)
            up, down = up * more, down * per
        return up, down

    return multiply


def _subtract(args: Sequence[_Closure[Number]]) -> _Closure[Number]:
    left, right = args

    def subtract(given: _Environment) -> Number:
        (up, down), (less, per) = left(given), right(given)
        return up * per - less * down, down * per

    return subtract


def _divide(args: Sequence[_Closure[Number]]) -> _Closure[Number]:
    left, right = args

    def divide(given: _Environment) -> Number:
        (up, down), (by, per) = left(given), right(given)
        if by == 0:
            raise NoResult("divides by zero")
        return (up * per, down * by) if by > 0 else (-up * per, down * -by)

    return divide


def _least(args: Sequence[_Closure[Number]]) -> _Closure[Number]:
    first, *rest = args

    def least(given: _Environment) -> Number:
        up, down = first(given)
        for arg in rest:
            other, per = arg(given)
            if other * down < up * per:
                up, down = other, per
        return up, down

    return least


def _greatest(args: Sequence[_Closure[Number]]) -> _Closure[Number]:
    first, *rest = args

    def greatest(given: _Environment) -> Number:
        up, down = first(given)
        for arg in rest:
            other, per = arg(given)
            if other * down > up * per:
                up, down = other, per
        return up, down

    return greatest


def _clamp(args: Sequence[_Closure[Number]]) -> _Closure[Number]:
    value, low, high = args

    def clamp(given: _Environment) -> Number:
        found, least, most = value(given), low(given), high(given)
        if least[0] * most[1] > most[0] * least[1]:
            raise NoResult(f"clamps between {quotient(least)} and {quotient(most)}, which is less")
        if found[0] * least[1] < least[0] * found[1]:
            return least
        return most if found[0] * most[1] > most[0] * found[1] else found

    return clamp


def _floor(args: Sequence[_Closure[Number]]) -> _Closure[Number]:
    (value,) = args

    def floor(given: _Environment) -> Number:
        up, down = value(given)
        return up // down, 1

    return floor


def _ceil(args: Sequence[_Closure[Number]]) -> _Closure[Number]:
    (value,) = args

    def ceil(given: _Environment) -> Number:
        up, down = value(given)
        return -(-up // down), 1

    return ceil


_NUMERIC: Final = {
    "add": _add,
    "ceil": _ceil,
    "clamp": _clamp,
    "divide": _divide,
    "floor": _floor,
    "max": _greatest,
    "min": _least,
    "multiply": _multiply,
    "subtract": _subtract,
}


def _boolean(expression: Expression) -> _Closure[bool]:
    if isinstance(expression, Constant):
        return _always(cast("bool", converted(expression.value, "boolean")))
    if isinstance(expression, Variable):
        return cast("_Closure[bool]", _reading(expression.name))
    op, args = cast("Apply", expression).op, cast("Apply", expression).args
    if op == "if":
        return _choosing(_boolean(args[0]), _boolean(args[1]), _boolean(args[2]))
    if op in {"and", "or", "not"}:
        return _combining(op, [_boolean(arg) for arg in args])
    if op in {"eq", "neq"}:
        return _equating(*args, equal=op == "eq")
    return _ordering(op, *map(_number, args))


def _combining(op: str, args: Sequence[_Closure[bool]]) -> _Closure[bool]:
    if op == "and":
        return lambda given: all(arg(given) for arg in args)
    if op == "or":
        return lambda given: any(arg(given) for arg in args)
    (negated,) = args
    return lambda given: not negated(given)


def _equating(left: Expression, right: Expression, *, equal: bool) -> _Closure[bool]:
    kinds = {kind_of(left), kind_of(right)}
    if kinds == {"number"}:
        return _ordering("eq" if equal else "neq", _number(left), _number(right))
    one, other = _any(left), _any(right)
    # A text that says no number is equal to itself alone, which needs no reading of decimals.
    plain = any(
        isinstance(side, Constant) and isinstance(side.value, str) and not looks_numeric(side.value)
        for side in (left, right)
    )
    if kinds == {"boolean"} or plain:
        return lambda given: (one(given) == other(given)) is equal
    return lambda given: (comparable(one(given)) == comparable(other(given))) is equal


def _ordering(op: str, left: _Closure[Number], right: _Closure[Number]) -> _Closure[bool]:
    def difference(given: _Environment) -> int:
        (up, down), (other, per) = left(given), right(given)
        return up * per - other * down

    return _SIGNS[op](difference)


_SIGNS: Final[Mapping[str, Callable[[_Closure[int]], _Closure[bool]]]] = {
    "eq": lambda of: lambda given: of(given) == 0,
    "neq": lambda of: lambda given: of(given) != 0,
    "lt": lambda of: lambda given: of(given) < 0,
    "lte": lambda of: lambda given: of(given) <= 0,
    "gt": lambda of: lambda given: of(given) > 0,
    "gte": lambda of: lambda given: of(given) >= 0,
}

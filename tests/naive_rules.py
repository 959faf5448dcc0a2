"""The provider's rules once more, as slowly and as plainly as they can be written.

Straight over the JSON, in `fractions.Fraction`, with nothing of the library: what both agree on is
what the document says.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")

Value = Fraction | str | bool


class NoPrice(Exception):
    """The rule says no price."""


def price(model: Mapping[str, Any], values: Mapping[str, Value]) -> int:
    """UC that a model of the document costs."""
    if model["pricing_status"] != "available":
        raise NoPrice
    return sum(charge(component, values) for component in model["components"])


def charge(component: Mapping[str, Any], values: Mapping[str, Value]) -> int:
    if "condition" in component and not evaluate(component["condition"], values):
        return 0
    tiers = [tier for tier in component["tiers"] if evaluate(tier["when"], values)]
    if len(tiers) > 1:
        raise NoPrice
    terms = tiers[0] if tiers else component
    if terms["pricing_status"] != "available":
        raise NoPrice
    quantity = number(evaluate(component["quantity_rule"], values))
    if quantity < 0:
        raise NoPrice
    rate = Fraction(terms["rate"]["uc"])
    multiplier = Fraction(terms.get("multiplier", "1"))
    point, mode = component["rounding"]["point"], component["rounding"]["mode"]
    if point == "per_quantity":
        subtotal = rounded(quantity * multiplier, mode) * (rate / multiplier)
    elif point == "per_tier":
        subtotal = quantity * rounded(rate, mode)
    else:
        subtotal = rounded(quantity * rate, mode)
    found = max(subtotal, Fraction(terms["minimum_charge"]["uc"]))
    if found.denominator != 1:
        raise NoPrice
    return found.numerator


def rounded(amount: Fraction, mode: str) -> Fraction:
    if mode == "ceil":
        return Fraction(math.ceil(amount))
    if mode == "floor":
        return Fraction(math.floor(amount))
    assert mode == "half_up"
    away = math.floor(abs(amount) + Fraction(1, 2))
    return Fraction(away if amount >= 0 else -away)


def number(value: Value) -> Fraction:
    if isinstance(value, str):
        assert DECIMAL.fullmatch(value)
        return Fraction(value)
    assert isinstance(value, Fraction)
    return value


def text(value: Value) -> str:
    """What a lookup looks for."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value
    places = 0
    while value.denominator != 1:
        value, places = value * 10, places + 1
        if places > 3000:
            raise NoPrice
    digits = str(abs(value.numerator)).rjust(places + 1, "0")
    sign = "-" if value < 0 else ""
    return sign + (f"{digits[:-places]}.{digits[-places:]}" if places else digits)


def same(one: Value, other: Value) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    numeric = [isinstance(side, Fraction) or DECIMAL.fullmatch(side) for side in (one, other)]
    return number(one) == number(other) if all(numeric) else one == other


def evaluate(node: Mapping[str, Any], values: Mapping[str, Value]) -> Any:
    op = node["op"]
    if op == "constant":
        return {"true": True, "false": False}.get(node["value"], node["value"])
    if op == "variable":
        return values[node["name"]]
    if op == "lookup":
        found = node["values"].get(text(evaluate(node["key"], values)))
        if found is None:
            raise NoPrice
        return Fraction(found)
    args = node["args"]
    if op == "if":
        return evaluate(args[1] if evaluate(args[0], values) else args[2], values)
    if op == "and":
        return all(evaluate(arg, values) for arg in args)
    if op == "or":
        return any(evaluate(arg, values) for arg in args)
    found = [evaluate(arg, values) for arg in args]
    if op == "not":
        return not found[0]
    if op in {"eq", "neq"}:
        return same(*found) == (op == "eq")
    return compute(op, [number(value) for value in found])


def compute(op: str, args: list[Fraction]) -> Fraction | bool:
    if (op == "divide" and args[1] == 0) or (op == "clamp" and args[1] > args[2]):
        raise NoPrice
    return OPERATIONS[op](args)


OPERATIONS: dict[str, Callable[[list[Fraction]], Fraction | bool]] = {
    "add": lambda args: sum(args, Fraction(0)),
    "multiply": lambda args: math.prod(args, start=Fraction(1)),
    "subtract": lambda args: args[0] - args[1],
    "divide": lambda args: args[0] / args[1],
    "min": min,
    "max": max,
    "clamp": lambda args: max(args[1], min(args[0], args[2])),
    "ceil": lambda args: Fraction(math.ceil(args[0])),
    "floor": lambda args: Fraction(math.floor(args[0])),
    "lt": lambda args: args[0] < args[1],
    "lte": lambda args: args[0] <= args[1],
    "gt": lambda args: args[0] > args[1],
    "gte": lambda args: args[0] >= args[1],
}

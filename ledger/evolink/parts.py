"""What a pricing document says: its heading, and the parameters and components of a model."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal, Inexact, InvalidOperation, Overflow, Subnormal, Underflow
from typing import Final, Literal

from ledger.evolink.expressions import MAX_BITS, Declared, Expression, Kind
from ledger.evolink.values import (
    MAX_CHARACTERS,
    Number,
    Value,
    as_text,
    clip,
    looks_numeric,
    number,
    quotient,
)
from ledger.units import Rounding

__all__ = [
    "Component",
    "Given",
    "Meta",
    "NotAllowed",
    "Parameter",
    "ParameterType",
    "RoundingPoint",
    "Tier",
    "declared",
    "exact",
    "reader_of",
    "undeclared_reader",
]

Given = Decimal | int | str | bool
"""What may be given as the value of a variable. Floats are refused."""

ParameterType = Literal["integer", "decimal", "enum", "boolean", "string"]

RoundingPoint = Literal["per_quantity", "per_tier", "per_component_subtotal"]
"""What is rounded: the billed quantity, the rate, or their product."""

_MOST_BITS: Final = (10**MAX_CHARACTERS).bit_length()
_BOUNDED = Context(
    prec=MAX_CHARACTERS,
    Emax=MAX_CHARACTERS,
    Emin=-MAX_CHARACTERS,
    traps=[Inexact, InvalidOperation, Overflow, Subnormal, Underflow],
)


@dataclass(frozen=True, slots=True)
class Meta:
    """The heading of a pricing document."""

    schema_version: str
    """Version of the format: `2`."""
    catalog_version: str
    """Version of the provider's catalogue."""
    pricing_version: str
    """Version of the provider's prices."""
    price_scope: str
    """Whose prices: `public_default`, before any discount of an account."""
    price_selection: str | None
    """`configured_minimum` or `route_priority`; where None, prices are the lowest configured."""
    updated_at: datetime
    """When the provider made the document."""
    fresh_until: datetime
    """Until when the provider calls it fresh."""
    cny_per_usd: Decimal
    """Exchange rate of the document."""
    uc_per_usd: Decimal
    """UC for one dollar at that rate."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value that the rule of a model declares."""

    name: str
    type: ParameterType
    default: Decimal | str | bool | None
    """What the provider takes where a request says nothing; never filled in by `Rule.price`."""
    values: tuple[str, ...] | None
    """The only values allowed, if there are such."""
    minimum: Decimal | None
    maximum: Decimal | None
    required: bool
    """Whether the provider wants it in every request."""


@dataclass(frozen=True, slots=True)
class Tier:
    """Another rate of a component, for some values."""

    when: Expression
    """For which values it holds."""
    multiplier: Decimal
    """What the component's rate was multiplied by; `rate_uc` has it already."""
    rate_uc: Decimal
    """UC for one unit."""
    minimum_uc: Decimal
    """Smallest charge in UC."""
    sku: str
    billing_rule: str
    is_available: bool
    effective_at: datetime


@dataclass(frozen=True, slots=True)
class Component:
    """One line of the bill of a model."""

    id: str
    role: str
    dimension: str
    unit: str
    """What the rate is for."""
    billing_rule: str
    """The provider's name of the way of billing, such as `per_second`."""
    sku: str
    is_available: bool
    rate_uc: Decimal
    """UC for one unit, where no tier holds."""
    minimum_uc: Decimal
    """Smallest charge in UC, where no tier holds."""
    rounding_point: RoundingPoint
    rounding_mode: Rounding
    effective_at: datetime
    """Since when the rate holds."""
    quantity: Expression
    """Billed units."""
    condition: Expression | None
    """For which values it is charged at all; always, if None."""
    tiers: tuple[Tier, ...]


class NotAllowed(Exception):
    """A value that a variable cannot have; the message says what it can."""


def exact(value: object) -> Number | None:
    """A number that was given, in lowest terms, or None where it is none of a fair size.

    >>> exact("12.4"), exact(3), exact(True), exact("1e3")
    ((62, 5), (3, 1), None, None)
    """
    if isinstance(value, Decimal):
        try:
            found = _BOUNDED.plus(value).as_integer_ratio()
        except (ArithmeticError, ValueError):  # too long, infinite or no number at all
            return None
    elif isinstance(value, str):
        if not looks_numeric(value):
            return None
        found = number(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        found = (int(value), 1)
    else:
        return None
    up, down = found
    return found if up.bit_length() <= _MOST_BITS and down.bit_length() <= _MOST_BITS else None


def declared(parameter: Parameter) -> Declared:
    """What expressions need to know of a parameter."""
    if parameter.type in {"integer", "decimal"}:
        return Declared("number", is_whole=parameter.type == "integer")
    if parameter.type == "boolean":
        return Declared("boolean")
    values = parameter.values
    if values is None or not all(map(looks_numeric, values)):
        return Declared("text")
    return Declared("text", numbers=tuple(map(number, values)))


def reader_of(parameter: Parameter) -> Callable[[object], Value]:
    """How a value of the parameter is read; what is not allowed raises `NotAllowed`."""
    if parameter.type in {"integer", "decimal"}:
        return _number_reader(parameter)
    if parameter.type == "boolean":
        return _truth
    if parameter.values is not None:
        return _choice_reader(parameter.values)
    return _text


def _number_reader(parameter: Parameter) -> Callable[[object], Number]:
    low, high = map(exact, (parameter.minimum, parameter.maximum))
    allowed = None if parameter.values is None else set(map(number, parameter.values))
    is_whole = parameter.type == "integer"
    must = _told(parameter)

    def read(value: object) -> Number:
        found = exact(value)
        if (
            found is None
            or (is_whole and found[1] != 1)
            or (low is not None and found[0] * low[1] < low[0] * found[1])
            or (high is not None and found[0] * high[1] > high[0] * found[1])
            or (allowed is not None and found not in allowed)
        ):
            raise NotAllowed(f"{must}, not {_seen(value)}")
        return found

    return read


def _told(parameter: Parameter) -> str:
    """What a number must be, in words."""
    if parameter.values is not None:
        return f"must be one of {', '.join(parameter.values)}"
    kind = "an integer" if parameter.type == "integer" else "a number"
    low, high = (
        None if bound is None else quotient(bound.as_integer_ratio())
        for bound in (parameter.minimum, parameter.maximum)
    )
    if low is not None and high is not None:
        return f"must be {kind} from {low} to {high}"
    if low is not None:
        return f"must be {kind} of at least {low}"
    return f"must be {kind}" if high is None else f"must be {kind} of at most {high}"


def _choice_reader(values: tuple[str, ...]) -> Callable[[object], str]:
    spelled = {exact(value): value for value in values if looks_numeric(value)}
    known = set(values)

    def read(value: object) -> str:
        if isinstance(value, (str, bool)):
            text = value if isinstance(value, str) else as_text(value)
            if text in known:
                return text
        elif (found := exact(value)) is not None and found in spelled:
            return spelled[found]
        raise NotAllowed(f"must be one of {', '.join(values)}, not {_seen(value)}")

    return read


def _truth(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if value in {"true", "false"}:
        return value == "true"
    raise NotAllowed(f"must be true or false, not {_seen(value)}")


def _text(value: object) -> str:
    if isinstance(value, str) and len(value) <= MAX_BITS:
        return value
    raise NotAllowed(f"must be a text of at most {MAX_BITS} characters, not {_seen(value)}")


def undeclared_reader(kinds: Collection[Kind]) -> Callable[[object], Value]:
    """How a variable that nobody declared is read: as what its expressions take it for."""
    if "boolean" in kinds:
        return _truth
    if "number" in kinds:
        return _number_reader(Parameter("", "decimal", None, None, None, None, required=False))
    return _anything


def _anything(value: object) -> Number | str:
    found = None if isinstance(value, str) else exact(value)
    return _text(value) if found is None else found


def _seen(value: object) -> str:
    if isinstance(value, float):
        return f"{value!r}, a float, which has already lost digits"
    return clip(value) if isinstance(value, (Decimal, int, str)) else type(value).__name__

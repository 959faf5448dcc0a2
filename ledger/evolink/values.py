"""Exact numbers and the other values of pricing expressions, and how they are written."""

from __future__ import annotations

import re
from math import gcd
from typing import Final, Literal, cast

__all__ = [
    "MAX_CHARACTERS",
    "Kind",
    "NoResult",
    "Number",
    "Value",
    "as_number",
    "as_text",
    "clip",
    "comparable",
    "converted",
    "decimal_text",
    "looks_numeric",
    "number",
    "quotient",
    "reduced",
]

Number = tuple[int, int]
"""An exact number: numerator and positive denominator, not always in lowest terms."""

Value = Number | str | bool
"""What an expression reads and gives."""

Kind = Literal["number", "text", "boolean", "any"]
"""What a value is; `any` is whatever it turns out to be."""

MAX_CHARACTERS: Final = 128
"""Longest constant of a document, and longest number that is taken as a value."""

_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")


class NoResult(Exception):
    """The expression has no value for these inputs; the message says why."""


def looks_numeric(text: str) -> bool:
    """Whether a text is a decimal as the provider writes them.

    >>> [looks_numeric(text) for text in ("10", "-0.50", "007", "1e3", "720p")]
    [True, True, False, False, False]
    """
    return len(text) <= MAX_CHARACTERS and _DECIMAL.fullmatch(text) is not None


def number(text: str) -> Number:
    """The number that a decimal says, in lowest terms.

    >>> number("1.334"), number("-0.5")
    ((667, 500), (-1, 2))
    """
    whole, _, part = text.partition(".")
    return reduced((int(whole + part), 10 ** len(part)))


def reduced(value: Number) -> Number:
    """The same number in lowest terms."""
    common = gcd(*value)
    return (value[0] // common, value[1] // common)


def decimal_text(value: Number) -> str | None:
    """The shortest decimal of a number, or None where it has no end.

    >>> decimal_text((5, 1)), decimal_text((-25, 20)), decimal_text((1, 10)), decimal_text((1, 3))
    ('5', '-1.25', '0.1', None)
    """
    numerator, denominator = reduced(value)
    if denominator == 1:
        return str(numerator)
    twos = (denominator & -denominator).bit_length() - 1
    rest, fives = denominator >> twos, 0
    while rest % 5 == 0:
        rest, fives = rest // 5, fives + 1
    if rest != 1:
        return None
    places = max(twos, fives)
    digits = str(abs(numerator) * 10**places // denominator).rjust(places + 1, "0")
    return f"{'-' if numerator < 0 else ''}{digits[:-places]}.{digits[-places:]}"


def converted(value: Value, kind: Kind) -> Value:
    """A value as the kind that is read; one that does not fit raises `NoResult`."""
    if kind == "number":
        return as_number(value)
    if kind == "boolean":
        if isinstance(value, bool):
            return value
        raise NoResult(f"{clip(value)} is not true or false")
    return value


def as_number(value: Value) -> Number:
    """The number that a value is, or says as a text; any other one raises `NoResult`."""
    if isinstance(value, tuple):
        return value
    if isinstance(value, str) and looks_numeric(value):
        return number(value)
    raise NoResult(f"{clip(value)} is not a number")


def as_text(value: Value) -> str:
    """The text of a value, as a lookup's key; a number without a decimal raises `NoResult`."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    text = decimal_text(value)
    if text is None:
        raise NoResult(f"{quotient(value)} is no decimal, so no lookup has an entry for it")
    return text


def comparable(value: Value) -> Number | str:
    """What `eq` compares: numbers and texts that say a number in lowest terms, other texts."""
    if isinstance(value, tuple):
        return reduced(value)
    text = as_text(value)
    return number(text) if looks_numeric(text) else text


def quotient(value: Number) -> str:
    """A number for people: a decimal where it has one, a fraction otherwise, cut if it is long."""
    text = decimal_text(value) or "/".join(map(str, reduced(value)))
    return text if len(text) <= 60 else f"{text[:57]}..."


def clip(value: object) -> str:
    """A value in a message: quoted, and not too long."""
    if isinstance(value, tuple):
        return quotient(cast("Number", value))
    # A huge integer must not be written out only to be cut.
    if isinstance(value, int) and value.bit_length() > 200:
        return "a number of more than 60 digits"
    text = value if isinstance(value, str) else str(value)
    return repr(text if len(text) <= 60 else f"{text[:57]}...")

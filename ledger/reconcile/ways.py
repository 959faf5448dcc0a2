"""The terms of a price with one thing changed: how it rounds, or one figure of another price."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from ledger.pricing import PriceVersion, Terms
from ledger.reconcile.choice import FIGURE, ROUNDING
from ledger.units import Rounding, plain, show_credits

__all__ = ["Way", "figures", "is_plain", "longest", "roundings", "versions"]


class Way(NamedTuple):
    """The terms of a job with something changed."""

    cause: str
    kind: str
    rank: int
    terms: Terms
    facts: Mapping[str, Any]
    changes: int = 1


_ROUNDED: Mapping[Rounding | None, str] = {
    "half_up": "rounding to nearest",
    "floor": "rounding down",
    None: "no rounding",
    "ceil": "rounding up",
}


def is_plain(terms: Terms) -> bool:
    """Whether the terms are a rate times a length; others say by their type what they are."""
    return type(terms) is Terms


def roundings(terms: Terms) -> Iterator[Way]:
    """The same price with lengths rounded in another way."""
    if not is_plain(terms) or terms.unit != "second":
        return
    for place, (rounding, cause) in enumerate(_ROUNDED.items()):
        if rounding != terms.quantity_rounding:
            other = replace(terms, quantity_rounding=rounding)
            facts = {"rounding_here": _ROUNDED[terms.quantity_rounding]}
            yield Way(cause, "rounding", ROUNDING + place, other, facts)


def figures(terms: Terms, other: Terms) -> Iterator[Way]:
    """The same price with one figure of another one."""
    if not (is_plain(terms) and is_plain(other)) or terms.unit != other.unit:
        return
    there, here = other.unit_price, terms.unit_price
    if there != here:
        # Where the rates are equal, the multiplier is what differs.
        products = [item.value for item in other.factors], [item.value for item in terms.factors]
        if other.rate == terms.rate and all(len(values) == 1 for values in products):
            cause = f"multiplier {plain(products[0][0])} instead of {plain(products[1][0])}"
        else:
            cause = f"{plain(there)} instead of {plain(here)} credits per {terms.unit}"
        changed = replace(terms, rate=other.rate, factors=other.factors)
        yield Way(cause, "price_version", FIGURE, changed, versions(terms.version, other.version))
    for name, kind, fields, say in _OTHER_FIGURES:
        values = {field: getattr(other, field) for field in fields}
        if values != {field: getattr(terms, field) for field in fields}:
            cause = f"{name} {say(other)} instead of {say(terms)}"
            changed = replace(terms, **values)
            yield Way(cause, kind, FIGURE, changed, versions(terms.version, other.version))


def _least(terms: Terms) -> str:
    return show_credits(terms.smallest_charge_e8) if terms.smallest_charge_e8 else "none"


def _shortest(terms: Terms) -> str:
    return "none" if terms.shortest_seconds is None else f"{plain(terms.shortest_seconds)} s"


def longest(terms: Terms) -> str:
    """The longest billed length, in words."""
    return "none" if terms.longest_seconds is None else f"{plain(terms.longest_seconds)} s"


def _quantum(terms: Terms) -> str:
    return f"to {show_credits(terms.quantum_e8)}"


_OTHER_FIGURES = (
    ("smallest charge", "price_version", ("smallest_charge_e8",), _least),
    ("shortest billed length", "price_version", ("shortest_seconds",), _shortest),
    ("longest billed length", "price_version", ("longest_seconds",), longest),
    ("charges rounded", "rounding", ("quantum_e8", "charge_rounding"), _quantum),
)


def versions(ours: PriceVersion, theirs: PriceVersion) -> dict[str, Any]:
    """Both versions, for evidence."""
    return {"price_here": ours.id, "price_there": theirs.id}

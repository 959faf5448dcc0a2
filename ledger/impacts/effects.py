"""One job under two prices: the difference of its two charges, split into effects that add up.

The terms of the first price are replaced by those of the second, one kind after another: the rate,
the multipliers, how lengths and charges are rounded, the smallest charge. What the charge changes
by at a step is the effect of that step, so the effects add up to the difference by construction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple

from ledger.errors import AmountTooLarge
from ledger.pricing import Charge, Terms
from ledger.units import e8_to_credits, plain

__all__ = ["EFFECTS", "Split", "Splitter"]

EFFECTS = ("rate", "multiplier", "rounding", "minimum", "other")
"""Kinds of effects, in the order in which terms are replaced.

- `rate`: credits per unit, before multipliers
- `multiplier`: what the rate is multiplied by, discounts included
- `rounding`: which length is billed, how it becomes a quantity, what a charge is rounded to
- `minimum`: the smallest charge
- `other`: all of it, where the two prices are not of one shape: per call against per second, or a
  published rule that is no rate times a length
"""

_RATE, _MULTIPLIER, _ROUNDING, _MINIMUM, _OTHER = range(len(EFFECTS))


class Difference(NamedTuple):
    """Something in which two prices differ, and that matters to a job."""

    place: int
    """Which of `EFFECTS` it belongs to."""
    text: str
    """In a few words."""
    moved_e8: int
    """How much the charge changes by it alone; to tell large from small, not to be added up."""


class Split(NamedTuple):
    """The charges of one job under two prices, and what their difference is made of."""

    first_e8: int
    """Charge under the first price, in units of 10^-8 credit."""
    second_e8: int
    """Charge under the second price, in units of 10^-8 credit."""
    effects_e8: tuple[int, ...]
    """One amount for each of `EFFECTS`; they add up to second minus first."""
    differs: tuple[Difference, ...]
    """What differs between the prices."""


class _Steps(NamedTuple):
    """The way from one price to another."""

    ends: tuple[Terms, Terms]
    """The two prices; kept, so that no other terms can have their identity."""
    between: tuple[Terms, Terms, Terms] | None
    """The first with the rate of the second, with its multipliers too, and with all of the second
    but its smallest charge; None where the two are not of one shape."""
    texts: tuple[str, ...]
    """What differs, by place in `EFFECTS`; rounding has `undone` instead."""
    undone: tuple[tuple[str, Terms], ...]
    """Each difference in rounding, with the terms without that difference alone."""


class Splitter:
    """Splits the differences of many jobs; the way between two prices is prepared once."""

    def __init__(self) -> None:
        self._steps: dict[tuple[int, int], _Steps] = {}

    def split(self, first: Charge, second: Charge) -> Split:
        """The difference of one job's two charges.

        >>> from ledger import MotionControl, PriceBook
        >>> job = MotionControl(quality="1080p", character_orientation="video",
        ...     reference_seconds="12.4")
        >>> page, rules = (
        ...     PriceBook.bundled(name).quote(job, at="2026-10-10").expected_charge
        ...     for name in ("evolink", "evolink-rules")
        ... )
        >>> split = Splitter().split(page, rules)
        >>> split.second_e8 - split.first_e8, dict(zip(EFFECTS, split.effects_e8))
        (-1089186160, {'rate': 0, 'multiplier': 0, 'rounding': -1089186160,
                       'minimum': 0, 'other': 0})
        >>> split.differs[0].text
        'seconds rounded to the nearest instead of up'
        """
        steps = self._steps_of(first.terms, second.terms)
        if steps.between is None:
            return _unsplit(first, second, steps.texts[_OTHER])
        by_rate, by_multiplier, by_rounding = steps.between
        before, after = first.measured_seconds, second.measured_seconds
        try:
            marks_e8 = (
                first.credits_e8,
                by_rate.bill(before).credits_e8,
                by_multiplier.bill(before).credits_e8,
                by_rounding.bill(after).credits_e8,
                second.credits_e8,
            )
            effects_e8 = (*(late - early for early, late in pairwise(marks_e8)), 0)
            differs = [
                Difference(place, text, abs(effects_e8[place]))
                for place, text in enumerate(steps.texts)
                if effects_e8[place] and place != _ROUNDING
            ]
            if effects_e8[_ROUNDING]:
                differs += _rounded(steps, by_rounding, before, after)
        except AmountTooLarge:
            # Neither charge is too large, but a mixture of the two prices is.
            return _unsplit(first, second, "a mixture of the two prices is too large to be billed")
        return Split(first.credits_e8, second.credits_e8, effects_e8, tuple(differs))

    def _steps_of(self, first: Terms, second: Terms) -> _Steps:
        key = id(first), id(second)
        found = self._steps.get(key)
        if found is None:
            found = _steps(first, second)
            if found.between is not None:
                self._steps[key] = found
        return found


def _unsplit(first: Charge, second: Charge, text: str) -> Split:
    difference_e8 = second.credits_e8 - first.credits_e8
    differs = (Difference(_OTHER, text, abs(difference_e8)),) if difference_e8 else ()
    return Split(first.credits_e8, second.credits_e8, (0, 0, 0, 0, difference_e8), differs)


def _steps(first: Terms, second: Terms) -> _Steps:
    if shapes := _other_shape(first, second):
        return _Steps((first, second), None, ("",) * _OTHER + (shapes,), ())
    by_multiplier = replace(first, rate=second.rate, factors=second.factors)
    # Half the rate times twice the multiplier is the same price, written in another way.
    same_price = first.unit_price == second.unit_price
    by_rate = by_multiplier if same_price else replace(first, rate=second.rate)
    by_rounding = replace(second, smallest_charge_e8=first.smallest_charge_e8)
    rate = f"{plain(second.rate)} instead of {plain(first.rate)} credits per {first.unit}"
    multiplier = f"{_multipliers(second)} instead of {_multipliers(first)}"
    least = " instead of ".join(_smallest(terms) for terms in (second, first))
    undone = tuple(
        (text, replace(by_rounding, **values)) for text, values in _roundings(first, second)
    )
    texts = (rate, multiplier, "", f"smallest charge {least}", "")
    return _Steps((first, second), (by_rate, by_multiplier, by_rounding), texts, undone)


def _other_shape(first: Terms, second: Terms) -> str | None:
    """Why the terms of one cannot be put into the other, if they cannot."""
    # Terms that are more than a rate times a length say so by their type.
    formulas = [type(terms) is not Terms for terms in (first, second)]
    if any(formulas):
        shapes = [
            "a formula" if is_formula else f"a rate per {terms.unit}"
            for terms, is_formula in zip((first, second), formulas, strict=True)
        ]
        return "another formula" if all(formulas) else f"{shapes[1]} instead of {shapes[0]}"
    if first.unit != second.unit:
        return f"priced per {second.unit} instead of per {first.unit}"
    return None


def _multipliers(terms: Terms) -> str:
    shown = " ".join(f"× {plain(factor.value)} ({factor.reason})" for factor in terms.factors)
    return shown or "no multiplier"


def _smallest(terms: Terms) -> str:
    least_e8 = terms.smallest_charge_e8
    return plain(e8_to_credits(least_e8)) if least_e8 else "none"


# Rounding

_ROUNDED = {"ceil": "up", "half_up": "to the nearest", "floor": "down"}
_MEASURED = {
    "output": "the generated length",
    "requested": "the length asked for",
    "input_and_output": "reference plus generated length",
}


def _length_rounding(terms: Terms) -> str:
    if terms.quantity_rounding is None:
        return "not at all"
    how = _ROUNDED[terms.quantity_rounding]
    step = terms.step_seconds
    return how if step == 1 else f"{how} in steps of {plain(step)} s"


def _charge_rounding(terms: Terms) -> str:
    quantum = f"to {plain(e8_to_credits(terms.quantum_e8))} credit"
    nearest = terms.charge_rounding == "half_up"
    return quantum if nearest else f"{_ROUNDED[terms.charge_rounding]} {quantum}"


def _seconds(value: Decimal | None) -> str:
    return "none" if value is None else f"{plain(value)} s"


class _Aspect(NamedTuple):
    """Fields of the terms that mean something together, and how a difference in them is said."""

    what: str
    fields: tuple[str, ...]
    say: Callable[[Terms], str]


_OF_CHARGES = _Aspect("charges rounded", ("quantum_e8", "charge_rounding"), _charge_rounding)
_OF_LENGTHS = (
    _Aspect("seconds rounded", ("quantity_rounding", "step_seconds"), _length_rounding),
    _Aspect(
        "shortest billed length",
        ("shortest_seconds",),
        lambda terms: _seconds(terms.shortest_seconds),
    ),
    _Aspect(
        "longest billed length",
        ("longest_seconds",),
        lambda terms: _seconds(terms.longest_seconds),
    ),
)


def _roundings(first: Terms, second: Terms) -> Iterator[tuple[str, dict[str, Any]]]:
    """What differs in rounding, in words, with the fields that would undo it."""
    lengths = _OF_LENGTHS if first.unit == "second" else ()
    for aspect in (*lengths, _OF_CHARGES):
        old = {field: getattr(first, field) for field in aspect.fields}
        if old != {field: getattr(second, field) for field in aspect.fields}:
            yield f"{aspect.what} {aspect.say(second)} instead of {aspect.say(first)}", old


def _rounded(
    steps: _Steps, rounded: Terms, before: Decimal | None, after: Decimal | None
) -> list[Difference]:
    """The differences in rounding that matter to one job: without them it costs something else."""
    charged_e8 = rounded.bill(after).credits_e8
    found = [
        Difference(_ROUNDING, text, abs(terms.bill(after).credits_e8 - charged_e8))
        for text, terms in steps.undone
    ]
    first, second = steps.ends
    if before != after:
        moved_e8 = abs(rounded.bill(before).credits_e8 - charged_e8)
        found.append(Difference(_ROUNDING, _measured(first, second), moved_e8))
    # Two differences may hide each other; then all of them are named.
    return [item for item in found if item.moved_e8] or found


def _measured(first: Terms, second: Terms) -> str:
    """Why the same job has two lengths."""
    if first.settles_on != second.settles_on:
        return f"{_MEASURED[second.settles_on]} billed instead of {_MEASURED[first.settles_on]}"
    new, old = (_seconds(terms.longest_input_seconds) for terms in (second, first))
    if new != old:
        return f"longest billed part of the reference {new} instead of {old}"
    return "another longest length, for jobs of unknown length"

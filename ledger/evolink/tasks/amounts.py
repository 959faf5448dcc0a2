"""What a told amount means, credits or the provider's unit of 10^-4 credit, and which one stands.

The provider's ledger counts UC, 10,000 to the credit, and charges whole ones. Its samples tell
`credits_reserved` in credits for most models and in UC for Kling v3 and HappyHorse (408,240 is 5 s
of Motion Control). `credits_used` is documented as credits, and the one answer of a live task that
is known has 1.783 of them. Read October and November 2026.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

from ledger.evolink.rules import UC_E8
from ledger.evolink.tasks.facts import Amounts, Facts
from ledger.figures import CREDIT_E8, in_credits, show_credits

__all__ = [
    "Amount",
    "Charge",
    "Unit",
    "amount_in",
    "charge_of",
    "read_amount",
    "shown",
    "unit_of",
    "unit_of_billing",
    "yardstick",
]

Unit = Literal["credits", "uc"]

_UC_PER_CREDIT: Final = CREDIT_E8 // UC_E8

_SMALLER: Final = 40
"""How many times smaller than the hold an amount may be, and still be what the job cost.

A hold is for the most a job can cost. A clip of 3 s costs a tenth of one of 30 s, in the cheaper
quality three quarters of that; a discount may leave a third of it.
"""

_LARGER: Final = 4
"""How many times larger than the hold: another channel, a longer clip, a hold made too small.

Between 4 and 250 times the hold neither unit fits; there is nothing that both fit.
"""

_LEAST_UC: Final = 10 * CREDIT_E8
"""Fewest UC that anything costs: an element, by the published rules of 2026-10-10."""

_ABSURD: Final = _UC_PER_CREDIT // _SMALLER
"""So many times the hold, an amount of credits fits worse than the same number of UC."""

_ABSURD_E8: Final = _UC_PER_CREDIT * CREDIT_E8
"""With nothing to measure by, as many credits as one credit has UC; no task costs that much."""


class Amount(NamedTuple):
    """What a told amount means."""

    told_e8: int
    """As told, in 10^-8 of its unit."""
    e8: int | None
    """In 10^-8 credit; None where no unit makes sense of it."""
    unit: Unit
    is_certain: bool
    """Whether the amount tells its unit, by itself or by its size beside the hold."""


class Charge(NamedTuple):
    """What the provider took for a task, as far as that can be said."""

    amount: Amount | None
    """The amount that stands; None where none was told, or none makes sense."""
    by: str
    """The field that told it."""
    is_told: bool
    """Whether any amount was told at all."""
    is_contradictory: bool
    """Whether the field told different amounts."""
    notes: tuple[str, ...]

    @property
    def e8(self) -> int | None:
        """The amount that stands, in 10^-8 credit."""
        return None if self.amount is None else self.amount.e8


def charge_of(facts: Facts, measure_e8: int | None, unit: Unit | None) -> Charge:
    """The charge that stands: of the field with the most authority, the largest amount.

    The order is the provider's own (skills and console, read November 2026): what was billed, the
    credits used, the cost.

    Args:
        facts: what the messages say.
        measure_e8: what amounts are measured by; see `yardstick`.
        unit: the unit of the `billing` object, as far as it is known.
    """
    fields: Sequence[tuple[str, Amounts, Unit | None]] = (
        ("billing.charged_credits", facts.charged, unit),
        ("usage.credits_used", facts.used, None),
        ("usage.cost.credits", facts.cost, None),
    )
    stands, by, contradictory = None, "", False
    notes: list[str] = []
    for field, told, otherwise in fields:
        read = [read_amount(item, measure_e8, otherwise) for item in told]
        notes += [_doubt(field, item, measure_e8) for item in read if not item.is_certain]
        sensible = [item for item in read if item.e8 is not None]
        if not sensible:
            continue
        largest = max(sensible, key=_e8_of)
        differs = len({item.e8 for item in sensible}) > 1 or len(sensible) < len(read)
        if stands is None:
            stands, by, contradictory = largest, field, differs
            if differs:
                notes.append(f"{field} was told as {shown(told)}; the larger stands")
        elif differs or largest.e8 != stands.e8:
            notes.append(f"{field} was told as {shown(told)}; {by} stands")
    is_told = any(told for _, told, _ in fields)
    return Charge(stands, by, is_told, contradictory, tuple(notes))


def _e8_of(amount: Amount) -> int:
    return amount.e8 or 0


def _doubt(field: str, amount: Amount, measure_e8: int | None) -> str:
    told = f"{field} is {show_credits(amount.told_e8)}"
    if amount.e8 is None:
        return f"{told}, which makes no sense in credits, nor in 10^-4 credits"
    taken = "taken as credits" if amount.unit == "credits" else "taken as 10^-4 credits"
    if measure_e8 is None:
        return f"{told}; {taken}, and no hold tells whether it is"
    return f"{told}, far from the {in_credits(measure_e8)} it is measured by; {taken}"


def shown(told: Amounts) -> str:
    """Amounts as they were told."""
    return " and ".join(map(show_credits, told))


def amount_in(unit: Unit, told_e8: int) -> int:
    """A told amount of a unit, in 10^-8 credit.

    >>> amount_in("uc", 408_240 * CREDIT_E8) == amount_in("credits", 4_082_400_000)
    True
    """
    return told_e8 // _UC_PER_CREDIT if unit == "uc" else told_e8


def unit_of(told_e8: int, measure_e8: int | None) -> Unit | None:
    """The unit that an amount tells, by itself or by its size; None where it does not.

    UC are charged whole (published rules, 2026-10-10), so a fraction is not UC.

    >>> unit_of(408_240 * CREDIT_E8, 8_164_800_000)
    'uc'
    """
    if measure_e8 is None:
        is_sure = told_e8 < _ABSURD_E8 and (told_e8 % CREDIT_E8 or not told_e8)
        return "credits" if is_sure else None
    if not told_e8 or _fits(told_e8, measure_e8):
        return "credits"
    may_be_uc = told_e8 % CREDIT_E8 == 0 and told_e8 >= _LEAST_UC
    return "uc" if may_be_uc and _fits(amount_in("uc", told_e8), measure_e8) else None


def _fits(amount_e8: int, measure_e8: int) -> bool:
    return measure_e8 <= amount_e8 * _SMALLER and amount_e8 <= measure_e8 * _LARGER


def read_amount(told_e8: int, measure_e8: int | None, otherwise: Unit | None) -> Amount:
    """What an amount means; where it does not tell its unit, it is `otherwise`, else credits.

    Every field is named after credits, so credits it is. But where that is absurd and the same
    number of UC would be less so, no unit is chosen: from 250 times what it is measured by, or with
    nothing to measure by, from 10,000 credits.
    """
    unit = unit_of(told_e8, measure_e8)
    if unit is not None:
        return Amount(told_e8, amount_in(unit, told_e8), unit, is_certain=True)
    unit = "uc" if otherwise == "uc" and told_e8 % CREDIT_E8 == 0 else "credits"
    amount_e8 = amount_in(unit, told_e8)
    absurd_e8 = _ABSURD_E8 if measure_e8 is None else max(measure_e8 * _ABSURD, _LEAST_UC)
    return Amount(told_e8, amount_e8 if amount_e8 < absurd_e8 else None, unit, is_certain=False)


def yardstick(facts: Facts, expected_e8: int | None) -> int | None:
    """What amounts are measured by: the hold, or without one the smallest told with a fraction."""
    if expected_e8 is not None and expected_e8 > 0:
        return expected_e8
    fields = (facts.charged, facts.used, facts.cost, facts.reserved, facts.held)
    told = (amount for field in fields for amount in field if amount % CREDIT_E8)
    return min((amount for amount in told if amount < _ABSURD_E8), default=None)


def unit_of_billing(facts: Facts, measure_e8: int | None) -> Unit | None:
    """The unit of the `billing` object, which has one for all; else that of the reserve."""
    inside = _units((*facts.charged, *facts.held, *facts.refunded), measure_e8)
    found = inside or _units(facts.reserved, measure_e8)
    return found.pop() if len(found) == 1 else None


def _units(amounts: Iterable[int], measure_e8: int | None) -> set[Unit]:
    found = {unit_of(told, measure_e8) for told in amounts if told}
    return {unit for unit in found if unit is not None}

"""Terms and charges: everything one version of one price says about one set of options.

`Terms.bill` is the one pricing function. It turns a length into a `Charge`, and nothing else in
the library does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Context, Decimal, Inexact
from math import gcd
from typing import Literal, NamedTuple

from ledger.documents import DearestDocument, LineDocument
from ledger.errors import AmountTooLarge, InvalidSeconds, NeedsLength
from ledger.requests import Request
from ledger.units import (
    CREDIT_E8,
    MAX_AMOUNT_E8,
    Rounding,
    divide,
    e8_to_credits,
    plain,
    show_credits,
)

__all__ = [
    "DEAREST",
    "PREFERRED",
    "Charge",
    "Factor",
    "LineItem",
    "PriceVersion",
    "SettlesOn",
    "Terms",
    "Unit",
    "asked_seconds",
    "capped",
    "exact_sum",
    "in_credits",
]

Unit = Literal["second", "call"]
"""What a price is per."""

SettlesOn = Literal["output", "requested", "input_and_output"]
"""What is measured: the generated clip, the length asked for, or reference plus generated clip."""

PREFERRED = "preferred"
"""Name of the channel that a price names first."""

_ADDING = Context(prec=500, traps=[Inexact])

DEAREST = "dearest"
"""Stands for the channel with the highest unit price, whichever it is."""


@dataclass(frozen=True, slots=True)
class PriceVersion:
    """Which published price a figure rests on."""

    id: str
    """Book, model, start, overlays and a digest of the content; changes whenever a figure does."""
    book: str
    """Name of the price book."""
    model: str
    """The provider's model id."""
    effective_from: datetime
    """First instant the price applies."""
    source: str
    """Where it was read."""
    checked: date
    """Day someone last compared it with the source."""
    note: str | None = None
    """What a reader should know about it."""


@dataclass(frozen=True, slots=True)
class Factor:
    """One multiplier of the rate, and why it applies."""

    reason: str
    """For example `quality 1080p` or `discount 5%`."""
    value: Decimal
    """What the rate is multiplied by."""


class LineItem(NamedTuple):
    """One line of a quote or a charge; the credits of all lines are the total."""

    label: str
    """What is paid for."""
    quantity: Decimal
    """Billed units."""
    unit: str
    """What one unit is."""
    unit_price: Decimal
    """Credits for one unit, exact."""
    credits_e8: int
    """Units of 10^-8 credit for this line."""

    @property
    def credits(self) -> Decimal:
        """Credits for this line."""
        return e8_to_credits(self.credits_e8)

    def document(self) -> LineDocument:
        """The line as JSON types."""
        return {
            "label": self.label,
            "quantity": plain(self.quantity),
            "unit": self.unit,
            "unit_price": plain(self.unit_price),
            "credits": show_credits(self.credits_e8),
        }


@dataclass(frozen=True, slots=True)
class Terms:
    """What one version of a price says about one set of options."""

    version: PriceVersion
    """The price these terms come from."""
    channel: str
    """The upstream channel priced: `preferred`, or the name of an alternative."""
    options: str
    """The options priced, for people: `1080p, orientation video`."""
    unit: Unit
    """What the price is per."""
    settles_on: SettlesOn
    """What is measured."""
    rate: Decimal
    """Published credits per unit, before factors."""
    factors: tuple[Factor, ...]
    """Multipliers that apply to these options."""
    quantity_rounding: Rounding | None
    """How a length becomes whole steps; None bills the exact length."""
    step_seconds: Decimal
    """Length of one step."""
    shortest_seconds: Decimal | None
    """Shortest billed length."""
    longest_seconds: Decimal | None
    """Longest billed length for these options."""
    longest_input_seconds: Decimal | None
    """Longest part of the reference clip that is billed, where the reference is billed."""
    smallest_charge_e8: int
    """Smallest charge, in units of 10^-8 credit."""
    quantum_e8: int
    """A charge is a multiple of this many units of 10^-8 credit."""
    charge_rounding: Rounding
    """How a charge becomes a multiple of the quantum."""
    default_seconds: Decimal | None = None
    """Length the provider takes when the request names none."""
    assumed: tuple[str, ...] = ()
    """Options that were not given, with the provider's default that was priced."""
    dearest: Terms | None = None
    """The terms of the channel with the highest unit price, where it is another one."""
    unit_price: Decimal = field(init=False)
    """Credits per unit, exact: the rate times all factors."""
    _step: tuple[int, int] = field(init=False, repr=False)
    _price: tuple[int, int] = field(init=False, repr=False)
    _bounds: tuple[int, int | None] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Prepare the integers that `bill` computes with."""
        numerator, denominator = self.rate.as_integer_ratio()
        for factor in self.factors:
            up, down = factor.value.as_integer_ratio()
            numerator, denominator = numerator * up, denominator * down
        set_ = object.__setattr__
        set_(self, "unit_price", _exact_quotient(numerator, denominator))
        # An exact length is counted in seconds; a call is one step.
        exact = self.quantity_rounding is None or self.unit == "call"
        step = (1, 1) if exact else self.step_seconds.as_integer_ratio()
        set_(self, "_step", step)
        # Quanta per step: unit price × step length ÷ quantum, in lowest terms.
        price = numerator * step[0] * CREDIT_E8
        per = denominator * step[1] * self.quantum_e8
        common = gcd(price, per)
        set_(self, "_price", (price // common, per // common))
        shortest, longest = self.shortest_seconds, self.longest_seconds
        fewest = 0 if shortest is None else _steps(shortest, step, "ceil")
        set_(self, "_bounds", (fewest, None if longest is None else _steps(longest, step, "floor")))

    @property
    def fraction_per_step(self) -> tuple[int, int]:
        """Quanta for one step, as a fraction in lowest terms."""
        return self._price

    @property
    def bounds_in_steps(self) -> tuple[int, int | None]:
        """Shortest and longest billed length in steps."""
        return self._bounds

    def bill(self, measured_seconds: Decimal | None) -> Charge:
        """The charge for a measured length (None for a price per call).

        The length is rounded to whole steps and kept between the shortest and the longest billed
        length; the product with the unit price is rounded to the quantum, once; the smallest
        charge is a line of its own.

        Raises:
            NeedsLength: the price is per second and there is no length.
            AmountTooLarge: the charge does not fit a ledger column.
        """
        price, per = self._price
        if self.unit == "call":
            quantity, quanta = Decimal(1), divide(price, per, self.charge_rounding)
        elif measured_seconds is None:
            raise NeedsLength(self.version.model, "is priced by length, and no length is known")
        elif measured_seconds <= 0:
            raise InvalidSeconds("a length in seconds must be more than zero")
        elif self.quantity_rounding is None:
            quantity = self._exact_length(measured_seconds)
            up, down = quantity.as_integer_ratio()
            quanta = divide(price * up, per * down, self.charge_rounding)
        else:
            steps = self._billed_steps(measured_seconds, self.quantity_rounding)
            quantity = self._step_lengths(steps)
            quanta = price * steps if per == 1 else divide(price * steps, per, self.charge_rounding)
        amount_e8 = quanta * self.quantum_e8
        total_e8 = max(amount_e8, self.smallest_charge_e8)
        if total_e8 > MAX_AMOUNT_E8:
            raise AmountTooLarge(
                f"{self.version.model}: {show_credits(total_e8)} credits do not fit a ledger"
            )
        return Charge(self, measured_seconds, quantity, amount_e8, total_e8)

    def _billed_steps(self, seconds: Decimal, rounding: Rounding) -> int:
        steps = _steps(seconds, self._step, rounding)
        fewest, most = self._bounds
        if steps < fewest:
            return fewest
        return steps if most is None or steps <= most else most

    def _step_lengths(self, steps: int) -> Decimal:
        numerator, denominator = self._step
        if numerator == denominator:
            return Decimal(steps)
        return _exact_quotient(steps * numerator, denominator)

    def _exact_length(self, seconds: Decimal) -> Decimal:
        if self.longest_seconds is not None:
            seconds = min(seconds, self.longest_seconds)
        return max(seconds, self.shortest_seconds or seconds)

    def between(self, low: Decimal, high: Decimal) -> tuple[Charge, Charge]:
        """The smallest and the largest charge for any length between two."""
        return self.bill(low), self.bill(high)

    def lines(self, charge: Charge) -> tuple[LineItem, ...]:
        """The line items of a charge under these terms."""
        quantity, amount_e8 = charge.quantity, charge.rounded_e8
        line = LineItem(self.options, quantity, self.unit, self.unit_price, amount_e8)
        rest_e8 = charge.credits_e8 - amount_e8
        if not rest_e8:
            return (line,)
        rest = e8_to_credits(rest_e8)
        return (line, LineItem("up to the smallest charge", Decimal(1), "charge", rest, rest_e8))

    def formula(self, charge: Charge) -> str:
        """The arithmetic of a charge in one line."""
        first, *more = self.lines(charge)
        unit = "s" if first.unit == "second" else f" {first.unit}"
        text = (
            f"{plain(first.quantity)}{' ' if unit == 's' else ''}{unit}"
            f" × {plain(first.unit_price)} = {in_credits(first.credits_e8)}"
        )
        if more:
            text += f", raised to the smallest charge of {in_credits(charge.credits_e8)}"
        return text

    def explained(self) -> list[str]:
        """Rate, multipliers and what is measured, for people."""
        price = f"{plain(self.rate)} credits per {self.unit}"
        if self.factors:
            product = " ".join(f"× {plain(item.value)} ({item.reason})" for item in self.factors)
            price += f" {product} = {plain(self.unit_price)} credits per {self.unit}"
        return [price, self._length_rule()] if self.unit == "second" else [price]

    def _length_rule(self) -> str:
        bounds = (self.shortest_seconds, self.longest_seconds)
        if self.settles_on == "requested" and self.step_seconds == 1 and bounds == (None, None):
            return "billed by the length asked for"
        how = {"ceil": "rounded up", "half_up": "rounded to the nearest", "floor": "rounded down"}
        step = "second" if self.step_seconds == 1 else f"{plain(self.step_seconds)} s"
        parts = [
            "billed to the exact length"
            if self.quantity_rounding is None
            else f"seconds {how[self.quantity_rounding]} to a whole {step}"
        ]
        if self.shortest_seconds is not None:
            parts.append(f"at least {plain(self.shortest_seconds)} s")
        if self.longest_seconds is not None:
            parts.append(f"at most {plain(self.longest_seconds)} s")
        basis = {
            "output": "the generated length",
            "requested": "the length asked for or handed in",
            "input_and_output": "reference plus generated length",
        }
        return f"{', '.join(parts)}; settled on {basis[self.settles_on]}"

    def measured(self, request: Request, output_seconds: Decimal | None) -> Decimal | None:
        """The length that is billed when the generated clip lasts `output_seconds`.

        Raises:
            NeedsLength: the reference clip is billed too, and its length is unknown.
        """
        if self.settles_on == "output" or self.unit == "call":
            return output_seconds
        if self.settles_on == "requested":
            seconds = asked_seconds(request)
            return self.default_seconds if seconds is None else seconds
        if output_seconds is None:
            return None
        reference = request.reference_seconds
        if reference is None:
            raise NeedsLength(
                self.version.model, "bills the reference clip too; give reference_seconds"
            )
        return exact_sum(capped(reference, self.longest_input_seconds), output_seconds)


class Charge(NamedTuple):
    """What one job costs for one length."""

    terms: Terms
    """The terms it was billed under."""
    measured_seconds: Decimal | None
    """Length before rounding; None for a price per call."""
    quantity: Decimal
    """Billed units, after rounding and the shortest and longest billed length."""
    rounded_e8: int
    """Quantity times unit price, rounded once, in units of 10^-8 credit."""
    credits_e8: int
    """Total in units of 10^-8 credit: the same, or the smallest charge if that is more."""

    @property
    def lines(self) -> tuple[LineItem, ...]:
        """Line items; their credits add up to the total."""
        return self.terms.lines(self)

    @property
    def credits(self) -> Decimal:
        """Total credits.

        >>> from ledger import MotionControl, PriceBook
        >>> job = MotionControl(character_orientation="video", quality="1080p")
        >>> PriceBook.bundled().charge(job, seconds="9.2").credits
        Decimal('108.918432')
        """
        return e8_to_credits(self.credits_e8)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know about this charge."""
        longest, measured = self.terms.longest_seconds, self.measured_seconds
        if longest is not None and measured is not None and measured > longest:
            capped = f"{plain(measured)} s measured; billed up to {plain(longest)} s"
            return (*self.terms.assumed, capped)
        return self.terms.assumed

    def document(self) -> DearestDocument:
        """The channel and the credits as JSON types."""
        return {"channel": self.terms.channel, "credits": show_credits(self.credits_e8)}

    def formula(self) -> str:
        """The arithmetic in one line.

        >>> from ledger import MotionControl, PriceBook
        >>> job = MotionControl(character_orientation="video")
        >>> PriceBook.bundled().charge(job, seconds="9.2").formula()
        '10 s × 8.1648 = 81.648 credits'
        """
        return self.terms.formula(self)


def asked_seconds(request: Request) -> Decimal | None:
    """The length a request names, whichever field of its body carries it."""
    if request.length_field is None:
        return None
    value = request.__dict__[request.length_field]
    return Decimal(value) if isinstance(value, int) else value


def exact_sum(one: Decimal, other: Decimal) -> Decimal:
    """Two lengths together, or an error where that would not be exact."""
    try:
        return _ADDING.add(one, other)
    except Inexact:
        raise InvalidSeconds("a length must not have more than 500 digits") from None


def capped(seconds: Decimal, longest: Decimal | None) -> Decimal:
    """The length, up to the longest one."""
    return seconds if longest is None else min(seconds, longest)


def in_credits(amount_e8: int) -> str:
    """An amount with its unit, in the singular where it is one."""
    shown = show_credits(amount_e8)
    return f"{shown} credit" if shown == "1" else f"{shown} credits"


def _steps(seconds: Decimal, step: tuple[int, int], rounding: Rounding) -> int:
    up, down = seconds.as_integer_ratio()
    return divide(up * step[1], down * step[0], rounding)


def _exact_quotient(numerator: int, denominator: int) -> Decimal:
    """A fraction whose denominator divides a power of ten, as an exact Decimal."""
    decimals = 0
    while numerator % denominator:
        numerator, decimals = numerator * 10, decimals + 1
    return Decimal(f"{numerator // denominator}E-{decimals}")

"""The one pricing function: a request, under the terms of a price, gives a quote or a charge.

A price source (`PriceSource`) resolves a request and a moment to `Terms`: everything one version
of one price says about one set of options. `Terms.bill` turns a length into a `Charge`, and
nothing else in the library does. A quote is up to three such charges (shortest, expected and
longest length), a settlement is one with the measured length, and the columnar engine is tested
to agree with it on every row.
"""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Context, Decimal, Inexact
from math import gcd
from typing import Literal, NamedTuple

from ledger.documents import (
    DearestDocument,
    LineDocument,
    QuoteDocument,
    RangeDocument,
    UsdDocument,
)
from ledger.errors import (
    AmountTooLarge,
    InvalidRequest,
    InvalidSeconds,
    NeedsLength,
    NoExchangeRate,
)
from ledger.requests import Limits, Request, faults
from ledger.units import (
    CREDIT_E8,
    MAX_AMOUNT_E8,
    ExchangeRate,
    ExchangeRates,
    Length,
    Rounding,
    divide,
    e8_to_credits,
    iso,
    parse_moment,
    parse_seconds,
    plain,
    show_credits,
)

__all__ = [
    "DEAREST",
    "PREFERRED",
    "Charge",
    "Factor",
    "LineItem",
    "PriceSource",
    "PriceVersion",
    "Quote",
    "SettlesOn",
    "Terms",
    "Unit",
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
        up, down = seconds.as_integer_ratio()
        numerator, denominator = self._step
        steps = divide(up * denominator, down * numerator, rounding)
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

    def measured(self, request: Request, output_seconds: Decimal | None) -> Decimal | None:
        """The length that is billed when the generated clip lasts `output_seconds`.

        Raises:
            NeedsLength: the reference clip is billed too, and its length is unknown.
        """
        if self.settles_on == "output" or self.unit == "call":
            return output_seconds
        if self.settles_on == "requested":
            asked = _asked(request)
            return self.default_seconds if asked is None else asked
        if output_seconds is None:
            return None
        reference = request.reference_seconds
        if reference is None:
            raise NeedsLength(
                self.version.model, "bills the reference clip too; give reference_seconds"
            )
        return _sum(_capped(reference, self.longest_input_seconds), output_seconds)


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
        terms = self.terms
        line = LineItem(terms.options, self.quantity, terms.unit, terms.unit_price, self.rounded_e8)
        rest_e8 = self.credits_e8 - self.rounded_e8
        if not rest_e8:
            return (line,)
        rest = e8_to_credits(rest_e8)
        return (line, LineItem("up to the smallest charge", Decimal(1), "charge", rest, rest_e8))

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
        first = self.lines[0]
        unit = "s" if first.unit == "second" else f" {first.unit}"
        text = (
            f"{plain(first.quantity)}{' ' if unit == 's' else ''}{unit}"
            f" × {plain(first.unit_price)} = {_credits(first.credits_e8)}"
        )
        if len(self.lines) > 1:
            text += f", raised to the smallest charge of {_credits(self.credits_e8)}"
        return text


class Quote(NamedTuple):
    """A priced request: what it will cost at least, as expected, and at most."""

    request: Request
    """What was priced."""
    terms: Terms
    """The terms it was priced under."""
    minimum_charge: Charge
    """The charge for the shortest length the result can have."""
    expected_charge: Charge
    """The charge for the expected length; the longest, where nothing is known."""
    maximum_charge: Charge
    """The charge for the longest length the result can have."""
    at: datetime
    """The moment whose price was taken."""
    rates: ExchangeRates
    """Exchange rates of the price book."""

    @property
    def lines(self) -> tuple[LineItem, ...]:
        """Line items of the expected charge."""
        return self.expected_charge.lines

    @property
    def minimum(self) -> Decimal:
        """Fewest credits."""
        return self.minimum_charge.credits

    @property
    def expected(self) -> Decimal:
        """Expected credits."""
        return self.expected_charge.credits

    @property
    def maximum(self) -> Decimal:
        """Most credits; what a hold should be."""
        return self.maximum_charge.credits

    @property
    def maximum_e8(self) -> int:
        """Most credits, in units of 10^-8 credit."""
        return self.maximum_charge.credits_e8

    @property
    def dearest(self) -> Charge | None:
        """The most the job can cost if the dearest channel serves it, where that costs more."""
        dearest = self.terms.dearest
        return None if dearest is None else dearest.bill(self.maximum_charge.measured_seconds)

    @property
    def length_known(self) -> bool:
        """Whether the length is known, so that minimum, expected and maximum are one figure."""
        return self.minimum_charge is self.maximum_charge

    @property
    def exchange_rate(self) -> ExchangeRate | None:
        """The dollar rate in force at the moment of the price; None where none had started."""
        try:
            return self.rates.at(self.at)
        except NoExchangeRate:
            return None

    @property
    def digest(self) -> str:
        """SHA-256 of what was priced, under which price, and the result; the same everywhere."""
        facts = {
            "request": self.request.canonical(),
            "price": self.terms.version.id,
            "channel": self.terms.channel,
            "credits": [
                show_credits(charge.credits_e8)
                for charge in (self.minimum_charge, self.expected_charge, self.maximum_charge)
            ],
        }
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know: assumed defaults, an unknown length, a cap."""
        terms, request = self.terms, self.request
        notes = list(terms.assumed)
        if not self.length_known:
            low, high = self.minimum_charge.quantity, self.maximum_charge.quantity
            guess = request.expected_seconds
            basis = "the longest" if guess is None else f"your {plain(guess)} s"
            notes.append(
                f"length unknown: from {plain(low)} to {plain(high)} billed seconds,"
                f" expected counts {basis}"
            )
        elif terms.unit == "second" and terms.settles_on != "input_and_output":
            if _asked(request) is None and terms.default_seconds is not None:
                notes.append(
                    f"no duration given: the provider takes {plain(terms.default_seconds)} s"
                )
            longest, seconds = terms.longest_seconds, self.maximum_charge.measured_seconds
            if longest is not None and seconds is not None and seconds > longest:
                notes.append(
                    f"{plain(seconds)} s is longer than the longest clip: billed up to"
                    f" {plain(longest)} s, and the provider may refuse the reference"
                )
        billed, reference = terms.longest_input_seconds, request.reference_seconds
        if billed is not None and reference is not None and reference > billed:
            notes.append(f"only the first {plain(billed)} s of the reference count")
        if request.expected_seconds is not None and self.length_known:
            notes.append("expected_seconds counts only while the length is unknown")
        if self.exchange_rate is None:
            notes.append("no exchange rate was in force: no dollars are shown")
        if (dearest := self.dearest) is not None:
            notes.append(
                f"channel {dearest.terms.channel} would cost more: at most"
                f" {_credits(dearest.credits_e8)}"
            )
        return tuple(notes)

    def explain(self) -> str:
        """How the figures come about, for people, in a few lines of text."""
        terms, version = self.terms, self.terms.version
        lines = [f"{version.model}: {terms.options}"]
        if terms.factors:
            product = " ".join(f"× {plain(item.value)} ({item.reason})" for item in terms.factors)
            lines.append(
                f"  {plain(terms.rate)} credits per {terms.unit} {product}"
                f" = {plain(terms.unit_price)} credits per {terms.unit}"
            )
        else:
            lines.append(f"  {plain(terms.rate)} credits per {terms.unit}")
        if terms.unit == "second":
            lines.append(f"  {_length_rule(terms)}")
        if self.length_known:
            measured = self.expected_charge.measured_seconds
            arrow = "" if measured is None else f"{plain(measured)} s → "
            lines.append(f"  {arrow}{self.expected_charge.formula()}")
        else:
            lines += [
                f"  at least  {self.minimum_charge.formula()}",
                f"  expected  {self.expected_charge.formula()}",
                f"  at most   {self.maximum_charge.formula()}",
            ]
        if (rate := self.exchange_rate) is not None:
            lines.append(
                f"  {_credits(self.maximum_e8)} ÷ {plain(rate.credits_per_unit)}"
                f" credits per USD (from {rate.effective_from:%Y-%m-%d})"
                f" = {plain(rate.convert(self.maximum_e8))} USD"
            )
        lines += [f"  note: {note}" for note in self.notes]
        lines.append(f"  price {version.id}")
        lines.append(f"  from {version.source}, checked {version.checked}")
        if version.note:
            lines.append(f"  {version.note}")
        return "\n".join(lines)

    def document(self) -> QuoteDocument:
        """The quote as JSON types: amounts as strings, every figure with its ground."""
        terms, version = self.terms, self.terms.version
        charges = (self.minimum_charge, self.expected_charge, self.maximum_charge)
        return {
            "model": version.model,
            "request": self.request.canonical(),
            "options": terms.options,
            "lines": [line.document() for line in self.lines],
            "credits": _range(show_credits(item.credits_e8) for item in charges),
            "billed": _range(plain(item.quantity) for item in charges),
            "length_known": self.length_known,
            "settles_on": terms.settles_on,
            "usd": self._usd(charges),
            "price": {
                "version": version.id,
                "book": version.book,
                "channel": terms.channel,
                "effective_from": iso(version.effective_from),
                "source": version.source,
                "checked": version.checked.isoformat(),
            },
            "dearest": None if self.dearest is None else self.dearest.document(),
            "at": iso(self.at),
            "digest": self.digest,
            "notes": list(self.notes),
        }

    def _usd(self, charges: Iterable[Charge]) -> UsdDocument | None:
        rate = self.exchange_rate
        if rate is None:
            return None
        low, expected, high = (plain(rate.convert(item.credits_e8)) for item in charges)
        return {
            "minimum": low,
            "expected": expected,
            "maximum": high,
            "credits_per_usd": plain(rate.credits_per_unit),
            "rate_effective_from": iso(rate.effective_from),
            "rate_source": rate.source,
        }


def _range(figures: Iterable[str]) -> RangeDocument:
    minimum, expected, maximum = figures
    return {"minimum": minimum, "expected": expected, "maximum": maximum}


class PriceSource(ABC):
    """Something that can price requests: the bundled book, or the provider's published rules.

    A source says what the terms of a request are; quoting and charging are the same for all.
    A plan is estimated under any source by `ledger.estimate`.
    """

    name: str
    """Name of the source, part of every price version."""
    rates: ExchangeRates
    """Exchange rates used to show credits as money."""

    @abstractmethod
    def terms(
        self,
        request: Request,
        *,
        at: datetime | date | str | None = None,
        version: str | None = None,
        channel: str = PREFERRED,
    ) -> Terms:
        """The terms of a request: at a moment (now, if None), or of one version of the price."""

    @abstractmethod
    def job(
        self,
        model: str,
        *,
        quality: str | None = None,
        character_orientation: str | None = None,
        sound: str | None = None,
        seconds: Length | None = None,
    ) -> Request:
        """A request from the few options a price depends on, as plans have them."""

    @abstractmethod
    def limits(self, model: str) -> Limits | None:
        """The published limits of a model's requests, where the source knows them."""

    @abstractmethod
    def model(self, name: str) -> str:
        """The id of a model, by id or short name; raises UnknownModel with the nearest names."""

    def quote(
        self,
        request: Request,
        *,
        at: datetime | date | str | None = None,
        channel: str = PREFERRED,
    ) -> Quote:
        """What a request will cost, at least, as expected and at most.

        Args:
            request: what is to be priced.
            at: the moment whose price is taken; now, if None.
            channel: `preferred`, `dearest`, or the name of an upstream channel.

        Raises:
            InvalidMoment: `at` is not a moment.
            UnknownModel: the source has no price for the model.
            NoPriceInForce: its first price starts later than `at`.
            UnknownChannel: the price has no such channel.
            UnknownOption: the price does not cover an option's value.
            InvalidRequest: the request is of another kind than the model takes, or breaks a
                published limit; has every fault.
            NeedsLength: nothing bounds the length.
            AmountTooLarge: the amount does not fit a ledger column.
        """
        moment = datetime.now(UTC) if at is None else parse_moment(at)
        terms = self.terms(request, at=moment, channel=channel)
        self._admit(request, terms)
        if terms.unit == "call":
            only = terms.bill(None)
            return Quote(request, terms, only, only, only, moment, self.rates)
        length = _asked(request)
        if length is None:
            length = terms.default_seconds
        if length is not None:
            if terms.settles_on == "input_and_output":
                length = terms.measured(request, _capped(length, terms.longest_input_seconds))
            only = terms.bill(length)
            return Quote(request, terms, only, only, only, moment, self.rates)
        low, high = self._shortest(request.model, terms), terms.longest_seconds
        if high is None:
            raise NeedsLength(terms.version.model, "has no longest length; give reference_seconds")
        guess = request.expected_seconds
        if guess is not None and terms.settles_on == "input_and_output":
            # The result is as long as the reference, and both are billed.
            each = _capped(guess, terms.longest_input_seconds)
            guess = _sum(each, each)
        return Quote(
            request,
            terms,
            terms.bill(low),
            terms.bill(high if guess is None else max(low, min(guess, high))),
            terms.bill(high),
            moment,
            self.rates,
        )

    def charge(
        self,
        request: Request,
        *,
        seconds: Length | None = None,
        at: datetime | date | str | None = None,
        version: str | None = None,
        channel: str = PREFERRED,
    ) -> Charge:
        """What a job costs now that its length is known: the same function as the quote.

        A charge is a fact, so the published limits are not checked again.

        Args:
            request: the job.
            seconds: generated length; not needed where the price is per call or settles on the
                length asked for.
            at: the moment whose price is taken; now, if None.
            version: take exactly this version of the price instead, as a hold was quoted with;
                `at` is then not looked at.
            channel: `preferred`, `dearest`, or the name of an upstream channel.

        Raises:
            InvalidSeconds: `seconds` is not a positive length.
            InvalidMoment: `at` is not a moment.
            UnknownModel: the source has no price for the model.
            UnknownVersion: no price of the model has that version.
            NoPriceInForce: its first price starts later than `at`.
            InvalidRequest: the request is of another kind than the model takes.
            UnknownChannel: the price has no such channel.
            UnknownOption: the price does not cover an option's value.
            NeedsLength: the price depends on a length that was not given.
            AmountTooLarge: the amount does not fit a ledger column.
        """
        output = None if seconds is None else parse_seconds(seconds)
        terms = self.terms(request, at=at, version=version, channel=channel)
        return terms.bill(terms.measured(request, output))

    def _shortest(self, model: str, terms: Terms) -> Decimal:
        """The shortest clip there can be: billed, or handed in, whichever is longer."""
        limits = self.limits(model)
        clip = None if limits is None else limits.clip
        handed_in = None if clip is None else clip.shortest_seconds
        both = (terms.step_seconds, terms.shortest_seconds, handed_in)
        return max(length for length in both if length is not None)

    def _admit(self, request: Request, terms: Terms) -> None:
        limits = self.limits(request.model)
        if limits is not None:
            capped = terms.longest_seconds is not None and terms.settles_on == "output"
            given = request.model_fields_set
            seconds = terms.default_seconds
            found = faults(
                limits,
                request.__dict__,
                given,
                capped=capped,
                default_seconds=None if seconds is None else int(seconds),
            )
            if found:
                raise InvalidRequest(f"request for {request.model}", found)


def _asked(request: Request) -> Decimal | None:
    """The length a request names, whichever field of its body carries it."""
    if request.length_field is None:
        return None
    value = request.__dict__[request.length_field]
    return Decimal(value) if isinstance(value, int) else value


def _sum(one: Decimal, other: Decimal) -> Decimal:
    try:
        return _ADDING.add(one, other)
    except Inexact:
        raise InvalidSeconds("a length must not have more than 500 digits") from None


def _capped(seconds: Decimal, longest: Decimal | None) -> Decimal:
    return seconds if longest is None else min(seconds, longest)


def _steps(seconds: Decimal, step: tuple[int, int], rounding: Rounding) -> int:
    up, down = seconds.as_integer_ratio()
    return divide(up * step[1], down * step[0], rounding)


def _exact_quotient(numerator: int, denominator: int) -> Decimal:
    """A fraction whose denominator divides a power of ten, as an exact Decimal."""
    decimals = 0
    while numerator % denominator:
        numerator, decimals = numerator * 10, decimals + 1
    return Decimal(f"{numerator // denominator}E-{decimals}")


def _credits(amount_e8: int) -> str:
    shown = show_credits(amount_e8)
    return f"{shown} credit" if shown == "1" else f"{shown} credits"


def _length_rule(terms: Terms) -> str:
    if terms.settles_on == "requested":
        return "billed by the length asked for"
    how = {"ceil": "rounded up", "half_up": "rounded to the nearest", "floor": "rounded down"}
    step = "second" if terms.step_seconds == 1 else f"{plain(terms.step_seconds)} s"
    parts = [
        "billed to the exact length"
        if terms.quantity_rounding is None
        else f"seconds {how[terms.quantity_rounding]} to a whole {step}"
    ]
    if terms.shortest_seconds is not None:
        parts.append(f"at least {plain(terms.shortest_seconds)} s")
    if terms.longest_seconds is not None:
        parts.append(f"at most {plain(terms.longest_seconds)} s")
    basis = {
        "output": "the generated length",
        "requested": "the length asked for",
        "input_and_output": "reference plus generated length",
    }
    return f"{', '.join(parts)}; settled on {basis[terms.settles_on]}"

"""The rule of one model: what its components charge for given values, digit for digit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from math import gcd
from typing import Final, NamedTuple, cast

from ledger.errors import AmountTooLarge, NeedsInput, RuleFailed
from ledger.evolink.compiling import compiled
from ledger.evolink.expressions import Expression, Kind, Number, Value, variables_of
from ledger.evolink.intervals import Interval, Known, Unbounded, less, narrowed, span_of, truth_of
from ledger.evolink.parts import (
    Component,
    Given,
    NotAllowed,
    Parameter,
    RoundingPoint,
    exact,
    reader_of,
    undeclared_reader,
)
from ledger.evolink.values import NoResult, clip, decimal_text, quotient
from ledger.units import MAX_AMOUNT_E8, Rounding, divide

__all__ = ["UC_E8", "Bill", "BillLine", "Billing", "Range", "Rule", "billing_of"]

UC_E8: Final = 10_000
"""Units of 10^-8 credit in one UC: 10,000 UC are one credit (evolink-cli, read 2026-11-23)."""

_MAX_UC: Final = MAX_AMOUNT_E8 // UC_E8
_ABSENT: Final = object()


class Range(NamedTuple):
    """A number that is not known, but lies between two, both included."""

    low: Decimal
    high: Decimal


class BillLine(NamedTuple):
    """What one component charges."""

    component: Component
    quantity: tuple[int, int]
    """Units, as a fraction in lowest terms: not every quantity is a decimal."""
    rate_uc: Decimal
    """UC for one unit; the tier's, where one holds."""
    multiplier: Decimal
    """What the tier's rate has been multiplied by already; 1 without a tier."""
    subtotal_uc: int | Fraction
    """UC before the smallest charge, exact; whole where the subtotal is what is rounded."""
    charge_uc: int
    """UC that are charged."""
    is_minimum: bool
    """Whether the smallest charge was more than the subtotal."""
    tier: int | None
    """Index of the tier that holds, if one does."""


class Bill(NamedTuple):
    """What a job costs by the provider's rule."""

    lines: tuple[BillLine, ...]
    """One line for each component that is charged."""
    total_uc: int
    """The sum of the lines."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The published price of one model: parameters, components, and what is said about them."""

    model: str
    """The provider's model id."""
    product: str
    operation: str
    modality: str
    lifecycle: str
    """`active`, `preview` or `deprecated`."""
    status: str
    """`available`, or `unavailable`: then it has no price."""
    settlement_basis: str
    """`request_only`, `actual_usage` or `request_then_actual`."""
    policy_version: int
    policy_source: str
    """`published`, or `legacy_text_adapter`: then its variables need not be declared."""
    policy_checksum: str
    parameters: Mapping[str, Parameter]
    components: tuple[Component, ...]
    undeclared_kinds: Mapping[str, frozenset[Kind]] = field(default_factory=dict, repr=False)
    """Variables that are read and not declared, with what they are read as."""
    undeclared: frozenset[str] = field(init=False)
    """Variables that are read and not declared; only older rules of text models have some."""
    variables: frozenset[str] = field(init=False)
    """Everything that the expressions read."""
    effective_from: datetime = field(init=False)
    """Since when all of the rates hold: the latest start of a component or tier."""
    _inputs: Mapping[str, _Input] = field(init=False, repr=False, compare=False)
    _parts: tuple[_Part, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Compile the expressions."""
        set_ = object.__setattr__
        parts = tuple(map(_Part, self.components))
        set_(self, "_parts", parts)
        set_(self, "undeclared", frozenset(self.undeclared_kinds))
        set_(self, "variables", frozenset[str]().union(*(part.variables for part in parts)))
        starts = [component.effective_at for component in self.components]
        starts += [tier.effective_at for part in self.components for tier in part.tiers]
        set_(self, "effective_from", max(starts))
        set_(self, "_inputs", _inputs(self.parameters, self.undeclared_kinds))

    def __reduce__(self) -> tuple[object, ...]:
        """Closures cannot be pickled, so a rule is compiled again from what it says."""
        return Rule, tuple(getattr(self, name) for name in _SAID)

    @property
    def is_complete(self) -> bool:
        """Whether every variable that is read is declared."""
        return not self.undeclared_kinds

    def price(self, values: Mapping[str, Given]) -> Bill:
        """What the provider charges for these values, exactly.

        Every variable that is read by a component that is charged must have a value; defaults
        are not filled in. Values that the rule does not read are not looked at, but for those of
        its parameters, which must be allowed.

        Raises:
            RuleFailed: the model is unavailable; a value is not allowed.
            NeedsInput: variables have no value; names all of them.
            RuleFailed: a component has no price for these values: no entry in a lookup, a
                division by zero, two tiers at once, a negative quantity, a charge that is no
                whole number of UC, a component that is unavailable.
            AmountTooLarge: the total does not fit a ledger column.
        """
        known = self.known(values)
        # Conditions decide what must be known, which is only looked into if something is missing.
        if len(known) < len(self._inputs) and not known.keys() >= self.variables:
            self._check_missing(Known(known, {}))
        lines: list[BillLine] = []
        total_uc = 0
        for part in self._parts:
            try:
                line = part.charge(known)
            except NoResult as error:
                raise RuleFailed(self.model, part.component.id, str(error)) from None
            if line is not None:
                lines.append(line)
                total_uc += line.charge_uc
        self._check_size(total_uc)
        return Bill(tuple(lines), total_uc)

    def span(self, values: Mapping[str, Given | Range]) -> tuple[int, int]:
        """The least and the most that these values can cost, in UC, where some are ranges.

        Never narrower than the truth; exact where each number that is not known moves the price
        one way only. Values within the ranges that have no price are left out.

        Raises:
            RuleFailed: as `price`, where no values within the ranges have a price; a range that
                is empty, or not of a number, or reaches beyond what is allowed; a divisor that
                may be zero.
            NeedsInput: as `price`.
            AmountTooLarge: as `price`, for the most.
        """
        ranges = {name: value for name, value in values.items() if isinstance(value, Range)}
        rest = {name: value for name, value in values.items() if name not in ranges}
        single = self.known(cast("Mapping[str, Given]", rest))
        intervals = {
            name: self._interval(name, item)
            for name, item in ranges.items()
            if name in self._inputs
        }
        known = Known(single, intervals)
        if not single.keys() | intervals.keys() >= self.variables:
            self._check_missing(known)
        least_uc = most_uc = 0
        for part in self._parts:
            try:
                low, high = part.span(known)
            except (NoResult, Unbounded) as error:
                raise RuleFailed(self.model, part.component.id, str(error)) from None
            least_uc, most_uc = least_uc + low, most_uc + high
        self._check_size(most_uc)
        return least_uc, most_uc

    def known(self, values: Mapping[str, Given]) -> dict[str, Value]:
        """Those values that the rule knows, checked, as its expressions read them.

        What is missing is left out, and what the rule does not know is not looked at.

        Raises:
            RuleFailed: the model is unavailable; a value is not allowed.
        """
        if self.status != "available":
            raise RuleFailed(self.model, None, "the provider lists the model as unavailable")
        known: dict[str, Value] = {}
        for name, item in self._inputs.items():
            given = values.get(name, _ABSENT)
            if given is not _ABSENT:
                try:
                    known[name] = item.read(given)
                except NotAllowed as error:
                    raise RuleFailed(self.model, None, f"{name} {error}") from None
        return known

    def _interval(self, name: str, given: Range) -> Interval:
        item = self._inputs[name]
        low, high = map(exact, given)
        if not item.is_number or low is None or high is None:
            problem = "takes no range" if not item.is_number else "must have two numbers as a range"
            raise RuleFailed(self.model, None, f"{name} {problem}")
        if item.is_whole:
            low, high = (-(-low[0] // low[1]), 1), (high[0] // high[1], 1)
        if less(high, low):
            told = f"{clip(given.low)} to {clip(given.high)}"
            raise RuleFailed(self.model, None, f"{name} has no value in the range from {told}")
        for end in (low, high):
            try:
                item.read(decimal_text(end))
            except NotAllowed as error:
                raise RuleFailed(self.model, None, f"{name} {error}") from None
        return low, high

    def _check_missing(self, known: Known) -> None:
        """Refuse values that lack what a component reads that may be charged."""
        there = known.values.keys() | known.intervals.keys()
        missing: set[str] = set()
        for part in self._parts:
            needed = part.condition_variables
            if needed <= there:
                try:
                    truth = part.truth(known)
                except (NoResult, Unbounded) as error:
                    raise RuleFailed(self.model, part.component.id, str(error)) from None
                needed = frozenset() if truth is False else part.variables
            missing |= needed - there
        if missing:
            raise NeedsInput(self.model, sorted(missing))

    def _check_size(self, total_uc: int) -> None:
        if total_uc > _MAX_UC:
            digits = f"{total_uc} UC" if total_uc < 10**30 else "the total"
            raise AmountTooLarge(f"{self.model}: {digits} does not fit a ledger")


_SAID: Final = tuple(name for name, item in Rule.__dataclass_fields__.items() if item.init)


class _Input(NamedTuple):
    """How a variable is read."""

    read: Callable[[object], Value]
    is_number: bool
    is_whole: bool = False


def _inputs(
    parameters: Mapping[str, Parameter], undeclared: Mapping[str, frozenset[Kind]]
) -> dict[str, _Input]:
    found = {
        name: _Input(reader_of(item), item.type in {"integer", "decimal"}, item.type == "integer")
        for name, item in parameters.items()
    }
    for name, kinds in undeclared.items():
        found[name] = _Input(undeclared_reader(kinds), "number" in kinds)
    return found


class Billing(NamedTuple):
    """What a tier says, or the component where no tier holds, as integers to compute with."""

    tier: int | None
    is_available: bool
    point: RoundingPoint
    mode: Rounding
    rate_uc: Decimal
    multiplier: Decimal
    rate: Number
    """UC for one unit; at `per_quantity` before the multiplier, at `per_tier` rounded."""
    minimum: Number

    def subtotal(self, quantity: Number) -> Number:
        """UC for a quantity of at least zero, before the smallest charge."""
        (up, down), (rate, per) = quantity, self.rate
        if self.point == "per_component_subtotal":
            return divide(up * rate, down * per, self.mode), 1
        if self.point == "per_quantity":
            times, by = self.multiplier.as_integer_ratio()
            return divide(up * times, down * by, self.mode) * rate, per
        return up * rate, down * per

    def charge(self, subtotal: Number) -> Number:
        """UC that are charged, if they are a whole number."""
        return self.minimum if less(subtotal, self.minimum) else subtotal


def billing_of(component: Component, number: int | None) -> Billing:
    """What a component says, or its tier of that number."""
    item = component if number is None else component.tiers[number]
    multiplier = Decimal(1) if isinstance(item, Component) else item.multiplier
    rate = item.rate_uc.as_integer_ratio()
    if component.rounding_point == "per_quantity":
        rate = component.rate_uc.as_integer_ratio()
    elif component.rounding_point == "per_tier":
        rate = divide(*rate, component.rounding_mode), 1
    return Billing(
        number,
        item.is_available,
        component.rounding_point,
        component.rounding_mode,
        item.rate_uc,
        multiplier,
        rate,
        item.minimum_uc.as_integer_ratio(),
    )


class _Part:
    """A component, compiled."""

    __slots__ = (
        "_condition",
        "_quantity",
        "_terms",
        "_whens",
        "component",
        "condition_variables",
        "variables",
    )

    def __init__(self, component: Component) -> None:
        self.component = component
        condition = component.condition
        self._condition = None if condition is None else compiled(condition)
        self._quantity = cast(
            "Callable[[Mapping[str, Value]], Number]", compiled(component.quantity)
        )
        self._whens = tuple(compiled(tier.when) for tier in component.tiers)
        self._terms = [billing_of(component, number) for number in range(len(component.tiers))]
        self._terms.append(billing_of(component, None))
        self.condition_variables = frozenset() if condition is None else variables_of(condition)
        read = (component.quantity, *(tier.when for tier in component.tiers))
        self.variables = self.condition_variables.union(*map(variables_of, read))

    def charge(self, given: Mapping[str, Value]) -> BillLine | None:
        """The line of the bill, or None where the component is not charged."""
        if self._condition is not None and not self._condition(given):
            return None
        terms = self._terms[-1]
        if self._whens:
            terms = self._terms_among([when(given) for when in self._whens])
        if not terms.is_available:
            raise NoResult(_UNAVAILABLE)
        up, down = self._quantity(given)
        if up < 0:
            raise NoResult(f"the quantity is negative, {quotient((up, down))}")
        subtotal = terms.subtotal((up, down))
        is_minimum = less(subtotal, terms.minimum)
        whole, per = terms.minimum if is_minimum else subtotal
        charge_uc, rest = divmod(whole, per)
        if rest:
            told = quotient((whole, per))
            raise NoResult(f"the charge of {told} is not a whole number of UC")
        common = gcd(up, down)
        return BillLine(
            self.component,
            (up // common, down // common),
            terms.rate_uc,
            terms.multiplier,
            subtotal[0] if subtotal[1] == 1 else Fraction(*subtotal),
            charge_uc,
            is_minimum,
            terms.tier,
        )

    def _terms_among(self, whens: Sequence[object]) -> Billing:
        matching = [number for number, when in enumerate(whens) if when is True]
        if len(matching) > 1:
            raise NoResult(f"tiers {' and '.join(map(str, matching))} match at once")
        return self._terms[matching[0] if matching else -1]

    def truth(self, known: Known) -> bool | None:
        """Whether the component is charged, or None where it may be and may not."""
        condition = self.component.condition
        return True if condition is None else truth_of(condition, known)

    def span(self, known: Known) -> tuple[int, int]:
        """The least and the most that the component can charge."""
        truth = self.truth(known)
        if truth is False:
            return 0, 0
        if truth is True:
            return self._charges(known)
        inside = narrowed(cast("Expression", self.component.condition), True, known)  # noqa: FBT003
        try:
            return (0, 0) if inside is None else (0, self._charges(inside)[1])
        except NoResult:
            return 0, 0

    def _charges(self, known: Known) -> tuple[int, int]:
        spans: list[tuple[int, int]] = []
        problem = NoResult("no values are left")
        for terms, inside in self._candidates(known):
            try:
                spans.append(self._between(terms, inside))
            except NoResult as error:
                problem = error
        if not spans:
            raise problem
        return min(low for low, _ in spans), max(high for _, high in spans)

    def _candidates(self, known: Known) -> list[tuple[Billing, Known]]:
        """The tiers that may hold, and none of them where that may be, with what is then known."""
        whens = [tier.when for tier in self.component.tiers]
        truths = [truth_of(when, known) for when in whens]
        if None not in truths or True in truths:
            return [(self._terms_among(truths), known)]
        found: list[tuple[Billing, Known]] = []
        neither: Known | None = known
        for number, (when, truth) in enumerate(zip(whens, truths, strict=True)):
            if truth is None:
                inside = narrowed(when, True, known)  # noqa: FBT003
                found += [] if inside is None else [(self._terms[number], inside)]
                neither = None if neither is None else narrowed(when, False, neither)  # noqa: FBT003
        return [*found, (self._terms[-1], neither)] if neither is not None else found

    def _between(self, terms: Billing, known: Known) -> tuple[int, int]:
        if not terms.is_available:
            raise NoResult(_UNAVAILABLE)
        low, high = span_of(self.component.quantity, known)
        if high[0] < 0:
            raise NoResult(f"the quantity is negative, {quotient(high)} at most")
        low = low if low[0] >= 0 else (0, 1)
        # A larger quantity never costs less, whatever is rounded and how.
        least, most = (terms.charge(terms.subtotal(end)) for end in (low, high))
        least_uc, most_uc = divide(*least, "ceil"), divide(*most, "floor")
        if least_uc > most_uc:
            raise NoResult(f"the charge of {quotient(least)} is not a whole number of UC")
        return least_uc, most_uc


_UNAVAILABLE: Final = "the provider lists it as unavailable"

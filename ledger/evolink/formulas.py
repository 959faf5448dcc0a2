"""Rules that are not a rate times a length: terms that ask the published rule itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from difflib import get_close_matches
from typing import Any, Final, Literal

from ledger.documents import ChannelDocument, ModelDocument
from ledger.errors import (
    Fault,
    InvalidRequest,
    InvalidSeconds,
    NeedsInput,
    NeedsLength,
    NoPriceInForce,
    RuleFailed,
    UnknownChannel,
    UnknownVersion,
)
from ledger.evolink.expressions import Apply, Constant, Expression, Lookup, Variable
from ledger.evolink.parts import Given, NotAllowed, reader_of
from ledger.evolink.rules import UC_E8, Bill, BillLine, Component, Parameter, Range, Rule, Tier
from ledger.evolink.shapes import (
    INPUT,
    LENGTHS,
    OUTPUT,
    REQUESTED,
    ignores_output,
    is_measured_later,
)
from ledger.evolink.values import decimal_text, looks_numeric, quotient
from ledger.pricebook.schema import ByOption, ModelFile
from ledger.pricing import (
    DEAREST,
    PREFERRED,
    Charge,
    LineItem,
    PriceVersion,
    SettlesOn,
    Terms,
)
from ledger.pricing.terms import in_credits
from ledger.requests import CatalogueJob, Request
from ledger.units import (
    EXACT,
    ExchangeRate,
    ExchangeRates,
    e8_to_credits,
    iso,
    parse_moment,
    parse_seconds,
    plain,
)

__all__ = [
    "ALIASES",
    "Inputs",
    "OptionKind",
    "RuleFormula",
    "RuleTerms",
    "catalogue_fields",
    "doubled",
    "inputs_of",
    "is_measured",
    "length_of",
    "options_of",
    "written",
]

_MEASURED: Final = re.compile(r"tokens$|(?:^|_)(?:seconds|search_count)$", re.ASCII)
ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "duration_seconds": ("duration",),
    "output_seconds": ("duration",),
    "image_count": ("n", "count"),
    "video_count": ("n", "count"),
    "resolution": ("quality",),
    "quality": ("resolution",),
}
"""Names in requests of the parameters of rules (the provider's client, read 2026-11-23)."""

OptionKind = Literal["number", "choice"]
"""Whether an option may be any number within bounds, or is one of a few values."""

_RAISED: Final = ", raised to its smallest charge"
_LONG_PRODUCT: Final = Context(prec=200)
_SHOWN: Final = Context(prec=16)
_LONG: Final = Decimal(1_000_000)
"""A reference longer than any; 11 days."""


def is_measured(name: str, rule: Rule) -> bool:
    """Whether a variable is measured, so that its default says nothing about a job.

    Tokens, lengths of clips and searches are; of a model that settles on its actual usage, every
    number is.
    """
    if name == REQUESTED:
        return False
    parameter = rule.parameters.get(name)
    is_number = parameter is None or parameter.type in {"integer", "decimal"}
    actual = rule.settlement_basis == "actual_usage" and is_number
    return actual or _MEASURED.search(name) is not None


def catalogue_fields(rule: Rule, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a job and its length, from what was given under the names of the rule.

    Raises:
        InvalidRequest: a name that the rule does not know, with the nearest; two lengths; a length
            where the price depends on none, or that cannot be asked for; has every fault.
    """
    length = length_of(rule)
    lengths = () if length is None else ("seconds", length, *ALIASES.get(length, ()))
    known = {*rule.parameters, *rule.undeclared} - set(lengths)
    known |= {alias for name in known for alias in ALIASES.get(name, ())}
    found, seconds = [], {name: given[name] for name in lengths if name in given}
    if len(set(map(str, seconds.values()))) > 1:
        found.append(Fault(", ".join(seconds), "say two lengths"))
    elif length == REQUESTED and REQUESTED in rule.parameters and is_measured_later(rule):
        found += _beyond(rule.parameters[REQUESTED], seconds)
    for name in given:
        if name not in known and name not in seconds:
            near = get_close_matches(name, sorted(known), n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            found.append(Fault(name, f"is nothing that the price of this model depends on{hint}"))
    if found:
        raise InvalidRequest(f"request for {rule.model}", found)
    fields: dict[str, Any] = {
        "options": {name: value for name, value in given.items() if name not in seconds}
    }
    return fields | ({"seconds": next(iter(seconds.values()))} if seconds else {})


def _beyond(asked: Parameter, seconds: Mapping[str, Any]) -> Iterator[Fault]:
    """A length that cannot be asked for: only one that was made is billed up to the longest."""
    for name, value in list(seconds.items())[:1]:
        try:
            reader_of(asked)(parse_seconds(value))
        except InvalidSeconds:
            return  # what is no length at all is refused with the rest of the request
        except NotAllowed as problem:
            yield Fault(name, str(problem))


def doubled(rule: Rule, given: Mapping[str, Any]) -> list[Fault]:
    """Options that say one parameter of a rule under two names, and not the same."""
    found = []
    for name in sorted({*rule.parameters, *rule.undeclared}):
        said = {known: given[known] for known in _names_of(name, rule) if known in given}
        if len(set(map(str, said.values()))) > 1:
            found.append(Fault(", ".join(said), f"say two values of {name}"))
    return found


def options_of(rule: Rule) -> Mapping[str, OptionKind]:
    """The options that a job of this rule may have, under all of their names."""
    found: dict[str, OptionKind] = {}
    for name in sorted({*rule.parameters, *rule.undeclared}):
        parameter = rule.parameters.get(name)
        if parameter is None:
            is_number = "number" in rule.undeclared_kinds[name]
        else:
            is_number = parameter.type in {"integer", "decimal"} and parameter.values is None
        for known in _names_of(name, rule):
            found[known] = "number" if is_number else found.get(known, "choice")
    return found


def _names_of(name: str, rule: Rule) -> tuple[str, ...]:
    """A parameter's own name and its other ones; what is declared under both has two meanings."""
    aliases = (alias for alias in ALIASES.get(name, ()) if alias not in rule.parameters)
    return name, *aliases


def length_of(rule: Rule) -> str | None:
    """The variable that is the length of a job, or None where the price depends on none."""
    for name in (REQUESTED, OUTPUT, INPUT):
        # What was made is not known where only the request counts.
        if name in rule.variables and not (name == OUTPUT and ignores_output(rule)):
            return name
    return None


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a request says about the variables of a rule."""

    values: Mapping[str, Given]
    assumed: tuple[str, ...]
    """Defaults of the provider that were taken, for people."""


def inputs_of(rule: Rule, request: Request) -> Inputs:
    """The variables that a request gives, and the provider's defaults of its options.

    A measured variable has no default: that nobody knows it is not a price.
    """
    values: dict[str, Given] = {}
    assumed: list[str] = []
    for name, parameter in rule.parameters.items():
        value = _asked(request, name, rule)
        if value is None and name in rule.variables and not is_measured(name, rule):
            value = None if name == length_of(rule) else parameter.default
            if value is not None:
                shown = plain(value) if isinstance(value, Decimal) else str(value)
                assumed.append(f"no {name} given: the provider takes {shown}")
        if value is not None:
            values[name] = value
    for name in sorted(rule.undeclared):
        if (value := _asked(request, name, rule)) is not None:
            values[name] = value
    if rule.undeclared:
        listed = ", ".join(sorted(rule.undeclared))
        assumed.append(f"the published rule is incomplete: it does not declare {listed}")
    if INPUT in rule.variables and request.reference_seconds is not None:
        values[INPUT] = request.reference_seconds
    if ignores_output(rule):
        values[OUTPUT] = 0
    return Inputs(values, tuple(assumed))


def _asked(request: Request, name: str, rule: Rule) -> Given | None:
    given = request.options if isinstance(request, CatalogueJob) else request.__dict__
    for known in _names_of(name, rule):
        value = given.get(known)
        if isinstance(value, bool | int | str | Decimal):
            return value
    return None


@dataclass(frozen=True, slots=True)
class RuleTerms(Terms):
    """The published rule of one model for one set of options."""

    rule: Rule | None = None
    inputs: Inputs = field(default_factory=lambda: Inputs({}, ()))
    length: str | None = None
    """The variable that takes the length."""

    def __post_init__(self) -> None:
        """Prepare what all terms have."""
        Terms.__post_init__(self)

    @property
    def _rule(self) -> Rule:
        assert self.rule is not None  # noqa: S101  only a default can follow defaults
        return self.rule

    def bill(self, measured_seconds: Decimal | None) -> Charge:
        """The charge for a measured length, by the rule.

        A length beyond what the rule declares is billed up to it.

        Raises:
            NeedsLength: the price depends on a length, and there is none.
            InvalidSeconds: it is not more than zero.
            NeedsInput: the rule reads a variable that has no value.
            RuleFailed: the rule has no price for these values.
            AmountTooLarge: the charge does not fit a ledger column.
        """
        bill, quantity = self._evaluated(measured_seconds)
        total_e8 = bill.total_uc * UC_E8
        measured = None if self.length is None else measured_seconds
        return Charge(self, measured, quantity, total_e8, total_e8)

    def between(self, low: Decimal, high: Decimal) -> tuple[Charge, Charge]:
        """The smallest and the largest charge for any length between two.

        The ends of the range, unless the rule can cost less or more in between.
        """
        if self.length is None:
            only = self.bill(None)
            return only, only
        ends = Range(self._bounded(low), self._bounded(high))
        values = self._complete({**self.inputs.values, self.length: ends})
        least_uc, most_uc = self._rule.span(values)
        # An end itself need not have a price, such as one in a tier that is not available.
        first = Charge(self, low, ends.low, least_uc * UC_E8, least_uc * UC_E8)
        return first, Charge(self, high, ends.high, most_uc * UC_E8, most_uc * UC_E8)

    def lines(self, charge: Charge) -> tuple[LineItem, ...]:
        """One line for each component that is charged."""
        try:
            bill, _ = self._evaluated(charge.measured_seconds)
        except RuleFailed:
            bill = None
        if bill is None or bill.total_uc * UC_E8 != charge.credits_e8:
            amount = e8_to_credits(charge.credits_e8)
            bound = LineItem("bound of the range", Decimal(1), "job", amount, charge.credits_e8)
            return (bound,)
        return tuple(map(_line, bill.lines))

    def formula(self, charge: Charge) -> str:
        """The arithmetic of a charge in one line."""
        parts = list(map(_arithmetic, self.lines(charge)))
        return " + ".join(parts) or in_credits(charge.credits_e8)

    def explained(self) -> list[str]:
        """What the rule says of each component, for people."""
        told = []
        for part in self._rule.components:
            rate = plain(_credits(part.rate_uc))
            text = f"{part.id}: {written(part.quantity)}, at {rate} credits per {part.unit}"
            for tier in part.tiers:
                text += f", at {plain(_credits(tier.rate_uc))} if {written(tier.when)}"
            if part.condition is not None:
                text += f", if {written(part.condition)}"
            told.append(text)
        return told

    def _evaluated(self, measured_seconds: Decimal | None) -> tuple[Bill, Decimal]:
        if self.length is None:
            return self._rule.price(self.inputs.values), Decimal(1)
        if measured_seconds is None:
            raise NeedsLength(self._rule.model, "is priced by length, and no length is known")
        if measured_seconds <= 0:
            raise InvalidSeconds("a length in seconds must be more than zero")
        seconds = self._bounded(measured_seconds)
        values = self._complete({**self.inputs.values, self.length: seconds})
        bill = self._rule.price(values)
        quantity = seconds
        if len(bill.lines) == 1:
            quantity = _shown(bill.lines[0].quantity)
        return bill, quantity

    def _complete(self, values: dict[str, Any]) -> dict[str, Any]:
        """The values with a reference of any length, where none is known and it does not matter.

        Raises:
            NeedsInput: it does matter.
        """
        if INPUT not in self._rule.variables or INPUT in values:
            return values
        parameter = self._rule.parameters.get(INPUT)
        low = Decimal(0) if parameter is None or parameter.minimum is None else parameter.minimum
        high = _LONG if parameter is None or parameter.maximum is None else parameter.maximum
        one = {**values, INPUT: low}
        spans = {self._rule.span({**one, INPUT: Range(low, high)}), self._rule.span(one)}
        if len(spans) > 1:
            raise NeedsInput(self._rule.model, [INPUT])
        return one

    def _bounded(self, seconds: Decimal) -> Decimal:
        """A measured length within what the rule declares; one asked for must keep to it."""
        if self.settles_on == "requested":
            return seconds
        if self.longest_seconds is not None:
            seconds = min(seconds, self.longest_seconds)
        return max(seconds, self.shortest_seconds or seconds)


def _arithmetic(line: LineItem) -> str:
    """A line as an equation; where it is rounded or raised, the figure is what comes of it."""
    product = _LONG_PRODUCT.multiply(line.quantity, line.unit_price)
    equals = "=" if product == line.credits else "→"
    raised = ", its smallest charge" if _RAISED in line.label else ""
    figures = f"{plain(line.quantity)} {line.unit} × {plain(line.unit_price)}"
    return f"{figures} {equals} {in_credits(line.credits_e8)}{raised}"


def _line(line: BillLine) -> LineItem:
    unit = line.component.unit
    label = line.component.id
    if line.is_minimum:
        label += _RAISED
    price = _credits(line.rate_uc)
    return LineItem(label, _shown(line.quantity), unit, price, line.charge_uc * UC_E8)


def _shown(quantity: tuple[int, int]) -> Decimal:
    """A quantity for people: exact where it is a decimal, 16 digits of it where it has no end."""
    text = decimal_text(quantity)
    if text is not None:
        return Decimal(text)
    return _SHOWN.divide(Decimal(quantity[0]), Decimal(quantity[1]))


@dataclass(frozen=True, slots=True)
class RuleFormula:
    """The published rule of a model as the price of a book."""

    rule: Rule
    version: PriceVersion
    base: ModelFile | None = None
    """What the bundled book knows of the model."""

    def check(self, *, at: datetime | date | str | None, version: str | None, channel: str) -> None:
        """Refuse a version, a moment or a channel that this price is not for.

        Raises:
            UnknownVersion, NoPriceInForce, UnknownChannel.
        """
        model = self.rule.model
        if version is not None and version != self.version.id:
            raise UnknownVersion(model, version, known=[self.version.id])
        if version is None:
            moment = datetime.now(UTC) if at is None else parse_moment(at)
            if moment < self.rule.effective_from:
                raise NoPriceInForce(model, iso(moment), first=iso(self.rule.effective_from))
        if channel not in {PREFERRED, DEAREST}:
            raise UnknownChannel(model, channel, known=[PREFERRED, DEAREST])

    def terms(self, request: Request, *, notes: Iterable[str] = ()) -> RuleTerms:
        """The rule for what a request says."""
        rule, inputs = self.rule, inputs_of(self.rule, request)
        length = length_of(rule)
        parameter = None if length is None else rule.parameters.get(length)
        chosen = [
            f"{name} {value}"
            for name, value in inputs.values.items()
            if name not in LENGTHS and name in rule.variables
        ]
        return RuleTerms(
            version=self.version,
            channel=PREFERRED,
            options=", ".join(chosen) or ("one call" if length is None else "all options"),
            unit="call" if length is None else "second",
            settles_on=_settles_on(rule, length),
            rate=_credits(rule.components[0].rate_uc),
            factors=(),
            quantity_rounding=None,
            step_seconds=Decimal(1),
            shortest_seconds=_shortest(parameter),
            longest_seconds=_longest(parameter, self.base, request),
            longest_input_seconds=None,
            smallest_charge_e8=0,
            quantum_e8=UC_E8,
            charge_rounding="half_up",
            default_seconds=_default_seconds(length, parameter),
            assumed=(*inputs.assumed, *notes),
            rule=rule,
            inputs=inputs,
            length=length,
        )

    def document(self, rates: ExchangeRates, at: datetime) -> ModelDocument:
        """What each component costs a unit, and how much of it is billed."""
        rule, version = self.rule, self.version
        rate, first = rates.at(max(rule.effective_from, at)), rule.components[0]
        is_one = len(rule.components) == 1 and not first.tiers
        return {
            "model": rule.model,
            "title": rule.model,
            "version": version.id,
            "effective_from": iso(rule.effective_from),
            "effective_until": None,
            "in_force": rule.effective_from <= at,
            "unit": first.unit,
            "rate": plain(_credits(first.rate_uc)),
            "settles_on": _settles_on(rule, length_of(rule)),
            "rounding": "by its formula",
            "shortest_seconds": None,
            # Each component has its own, and none of several is that of the job.
            "smallest_charge": plain(_credits(first.minimum_uc)) if is_one else "0",
            "source": version.source,
            "checked": version.checked.isoformat(),
            "note": "; ".join(_noted(part, has_least=not is_one) for part in rule.components),
            "credits_per_usd": plain(rate.credits_per_unit),
            "rate_effective_from": iso(rate.effective_from),
            "prices": [row for part in rule.components for row in _rows(part, rate)],
        }

    def figures(self, at: datetime) -> dict[str, str]:
        """Everything that changes a charge, by name; nothing before it is in force."""
        if at < self.rule.effective_from:
            return {}
        rule = self.rule
        found = {"priced": "yes" if rule.status == "available" else "unavailable"}
        for part in rule.components:
            found[f"credits per {part.unit}: {part.id}"] = plain(_credits(part.rate_uc))
            found[f"quantity: {part.id}"] = written(part.quantity)
            found[f"smallest charge: {part.id}"] = plain(_credits(part.minimum_uc))
            rounding = f"{part.rounding_mode}, {part.rounding_point}".replace("_", " ")
            found[f"rounded: {part.id}"] = rounding
            if not part.is_available:
                found[f"available: {part.id}"] = "no"
            if part.condition is not None:
                found[f"charged if: {part.id}"] = written(part.condition)
            for place, tier in enumerate(part.tiers, start=1):
                found[f"tier {place}: {part.id}"] = _tier_text(tier)
        for name, parameter in rule.parameters.items():
            if (said := _parameter_text(parameter)) and name in rule.variables:
                found[f"parameter {name}"] = said
        found["settles on"] = rule.settlement_basis.replace("_", " ")
        return found


def _tier_text(tier: Tier) -> str:
    rate, least = plain(_credits(tier.rate_uc)), plain(_credits(tier.minimum_uc))
    told = f"{rate} credits, at least {least}, if {written(tier.when)}"
    return told if tier.is_available else f"{told}; unavailable"


def _parameter_text(parameter: Parameter) -> str:
    """What can be given for a parameter, and what the provider takes where nothing is."""
    told = [] if parameter.values is None else [", ".join(parameter.values)]
    edges = (parameter.minimum, parameter.maximum)
    if any(edge is not None for edge in edges):
        told.append(" to ".join("" if edge is None else plain(edge) for edge in edges).strip())
    default = parameter.default
    if default is not None:
        shown = plain(default) if isinstance(default, Decimal) else str(default)
        told.append(f"{shown} if not given")
    return "; ".join(told)


def _noted(part: Component, *, has_least: bool) -> str:
    """How much of a component is billed, and its smallest charges."""
    told = f"{part.id}: {written(part.quantity)}"
    if not has_least:
        return told
    if part.minimum_uc:
        told += f", at least {plain(_credits(part.minimum_uc))} credits"
    for tier in part.tiers:
        if tier.minimum_uc != part.minimum_uc:
            told += f", at least {plain(_credits(tier.minimum_uc))} if {written(tier.when)}"
    return told


def _rows(part: Component, rate: ExchangeRate) -> Iterator[ChannelDocument]:
    """What a unit of a component costs, and what it costs in each of its tiers."""
    conditions = [] if part.condition is None else [f"if {written(part.condition)}"]
    yield _row(", ".join(conditions) or part.id, part, part.rate_uc, rate)
    for tier in part.tiers:
        named = ", ".join([part.id, *conditions, f"if {written(tier.when)}"])
        yield _row(named, part, tier.rate_uc, rate)


def _row(options: str, part: Component, rate_uc: Decimal, rate: ExchangeRate) -> ChannelDocument:
    price = _credits(rate_uc)
    usd = EXACT.divide(price, rate.credits_per_unit)
    return {
        "channel": PREFERRED,
        "options": options,
        "unit": part.unit,
        "unit_price": plain(price),
        "usd": plain(usd.quantize(Decimal("1E-8"), rounding="ROUND_HALF_UP", context=EXACT)),
        "longest_seconds": None,
    }


def _default_seconds(length: str | None, parameter: Parameter | None) -> Decimal | None:
    """The length the provider takes; only one that is asked for has such a default."""
    if length != REQUESTED or parameter is None:
        return None
    text = str(parameter.default)
    return Decimal(text) if looks_numeric(text) and not text.startswith("-") else None


def _shortest(parameter: Parameter | None) -> Decimal | None:
    """The shortest clip there can be, where the rule declares one."""
    if parameter is None or parameter.minimum is None:
        return None
    is_whole = parameter.type == "integer"
    least = parameter.minimum.to_integral_value(ROUND_CEILING) if is_whole else parameter.minimum
    return least or None


def _longest(
    parameter: Parameter | None, base: ModelFile | None, request: Request
) -> Decimal | None:
    """The longest clip there can be: as the rule declares it, or else as the product page does."""
    if parameter is not None and parameter.maximum is not None:
        is_whole = parameter.type == "integer"
        return parameter.maximum.to_integral_value(ROUND_FLOOR) if is_whole else parameter.maximum
    longest = None if parameter is None or base is None else base.price[-1].longest_seconds
    if isinstance(longest, ByOption):
        return longest.values.get(str(getattr(request, longest.option, None)))
    return longest


def _credits(amount_uc: Decimal) -> Decimal:
    return amount_uc.scaleb(-4, EXACT)


def _settles_on(rule: Rule, length: str | None) -> SettlesOn:
    """What is measured in the end: the generated clip, or what was asked for or handed in."""
    measured = length == OUTPUT or (length == REQUESTED and is_measured_later(rule))
    return "output" if measured else "requested"


_INFIX: Final = {
    "add": "+",
    "subtract": "-",
    "multiply": "×",
    "divide": "÷",
    "eq": "=",
    "neq": "≠",
    "lt": "<",
    "lte": "≤",
    "gt": ">",
    "gte": "≥",
    "and": "and",
    "or": "or",
}


def written(tree: Expression) -> str:
    """An expression as people write it.

    >>> seconds = Variable("input_seconds", "number")
    >>> written(Apply("max", (Apply("ceil", (seconds,)), Constant((3, 1)))))
    'max(ceil(input_seconds), 3)'
    """
    if isinstance(tree, Constant):
        return quotient(tree.value) if isinstance(tree.value, tuple) else str(tree.value)
    if isinstance(tree, Variable):
        return tree.name
    if isinstance(tree, Lookup):
        table = ", ".join(f"{key} {quotient(value)}" for key, value in tree.values.items())
        return f"{written(tree.key)} [{table}]"
    parts = list(map(_part, tree.args)) if tree.op in _INFIX else list(map(written, tree.args))
    if tree.op == "if":
        return f"({parts[1]} if {parts[0]}, otherwise {parts[2]})"
    if tree.op in _INFIX:
        return f" {_INFIX[tree.op]} ".join(parts)
    return f"{tree.op}({', '.join(parts)})"


def _part(tree: Expression) -> str:
    text = written(tree)
    return f"({text})" if isinstance(tree, Apply) and tree.op in _INFIX else text

"""What the rows of one combination of options compute, ready to be made columns of."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, NamedTuple

from ledger.columns.plans import SECONDS
from ledger.columns.trees import NoForm, Normalizer, skeleton
from ledger.errors import RuleFailed
from ledger.evolink.expressions import Apply, Constant, Expression, Variable
from ledger.evolink.formulas import RuleTerms, inputs_of
from ledger.evolink.nodes import variables_of
from ledger.evolink.parts import Component, RoundingPoint, exact
from ledger.evolink.rule import UC_E8, Rule, billing_of
from ledger.evolink.shapes import REQUESTED
from ledger.evolink.values import Number, looks_numeric, number
from ledger.pricing import Terms
from ledger.requests import Limits, Request
from ledger.units import MAX_SECONDS, Rounding

__all__ = ["MOST", "Form", "Guard", "Lengths", "Line", "Stage", "form_of", "lengths_of"]

MOST: Final = 10**15 - 1
"""Largest number of a column, and of its units: a float tells decimals of 15 digits apart."""

_LEAST_SECONDS: Final = (1, 10**20)
_ALWAYS: Final = Constant(value=True)
_HALF: Final = Constant((1, 2))


class Lengths(NamedTuple):
    """Lengths that the scalar function takes, whatever else a row says."""

    least: Number
    """Shortest length."""
    most: Number
    """Longest length; below the shortest where it takes none."""
    whole: bool
    """Whether it takes whole seconds only."""


@dataclass(frozen=True, slots=True)
class Guard:
    """The numbers of a column that a form is for."""

    least: Number
    most: Number
    whole: bool = False
    allowed: frozenset[Number] | None = None
    """The only numbers, if there are such."""

    def and_(self, other: Guard) -> Guard:
        """The numbers that both are for."""
        sets = [item.allowed for item in (self, other) if item.allowed is not None]
        return Guard(
            max(self.least, other.least, key=_exactly),
            min(self.most, other.most, key=_exactly),
            self.whole or other.whole,
            frozenset.intersection(*sets) if sets else None,
        )


class Stage(NamedTuple):
    """From a quantity to a charge."""

    is_available: bool
    point: RoundingPoint
    mode: Rounding
    rate: Number
    multiplier: Number
    minimum: Number
    quantum: int
    """What a rounded subtotal is multiplied by."""

    @property
    def skeleton(self) -> Hashable:
        """All of it but its numbers."""
        return self.is_available, self.point, self.mode


class Line(NamedTuple):
    """One component of a charge; its expressions are normal ones."""

    condition: Expression
    whens: tuple[Expression, ...]
    """When each tier holds."""
    stages: tuple[Stage, ...]
    """Of each tier, and of none at the end."""
    quantity: Expression

    @property
    def skeleton(self) -> Hashable:
        """All of it but its numbers."""
        trees = (self.condition, *self.whens, self.quantity)
        return tuple(map(skeleton, trees)), tuple(stage.skeleton for stage in self.stages)


class Form(NamedTuple):
    """What the rows of one combination cost: the sum of its lines."""

    lines: tuple[Line, ...]
    unit_e8: int
    """Units of 10^-8 credit in the unit of the lines' charges."""
    guards: Mapping[str, Guard]
    """The columns that are read, with the numbers that the form is for."""
    has_length: bool
    """Whether it is for rows with a length, or for those without one."""

    @property
    def skeleton(self) -> Hashable:
        """All of it but its numbers; forms of one skeleton are computed together."""
        guards = sorted((name, item.whole, item.allowed) for name, item in self.guards.items())
        lines = tuple(line.skeleton for line in self.lines)
        return lines, self.unit_e8, tuple(guards), self.has_length


def _exactly(value: Number) -> Fraction:
    return Fraction(*value)


def lengths_of(job: Request, terms: Terms, limits: Limits | None) -> Lengths:
    """Which lengths the scalar function takes for a job."""
    least, most = _LEAST_SECONDS, (MAX_SECONDS, 1)
    if terms.unit == "call" or job.length_field is None:
        return Lengths((1, 1), (0, 1), whole=False)
    if job.length_field == "duration":
        numbers = (0, MAX_SECONDS)
        if limits is not None:
            numbers = limits.numbers.get("duration", numbers)
        return Lengths((max(numbers[0], 1), 1), (min(numbers[1], MAX_SECONDS), 1), whole=True)
    if job.length_field == "seconds" and getattr(terms, "length", None) == REQUESTED:
        shortest, longest = terms.shortest_seconds, terms.longest_seconds
        ends = [] if shortest is None else [shortest.as_integer_ratio()]
        bounds = [] if longest is None else [longest.as_integer_ratio()]
        least, most = max([least, *ends], key=_exactly), min([most, *bounds], key=_exactly)
        return Lengths(least, most, whole=False)
    if limits is None or job.length_field != "reference_seconds":
        return Lengths(least, most, whole=False)
    clip = limits.clip
    if clip is None:  # a model that takes no reference clip
        return Lengths((1, 1), (0, 1), whole=False)
    if clip.shortest_seconds:
        least = clip.shortest_seconds.as_integer_ratio()
    # A clip that is too long is billed up to the longest length, where there is one.
    is_capped = terms.longest_seconds is not None and terms.settles_on == "output"
    if clip.longest_seconds is not None and not is_capped:
        most = clip.longest_seconds.as_integer_ratio()
    return Lengths(least, most, whole=False)


def form_of(
    job: Request, terms: Terms, lengths: Lengths | None, numbers: Sequence[str]
) -> Form | None:
    """What the rows of a combination compute, or None where the scalar function is asked instead.

    Args:
        job: a job with the options of the combination.
        terms: its terms.
        lengths: the lengths that rows may have; for rows without a length, if None.
        numbers: options of the job that are numbers of the row.
    """
    if lengths is not None and _exactly(lengths.least) > _exactly(lengths.most):
        return None
    try:
        if isinstance(terms, RuleTerms):
            return _RuleForm(job, terms, lengths, numbers).form()
        return None if lengths is None or numbers else _price_form(job, terms, lengths)
    except (NoForm, RuleFailed):
        return None


# --- A price per second --------------------------------------------------------------------------


def _price_form(job: Request, terms: Terms, lengths: Lengths) -> Form:
    seconds: Expression = Variable(SECONDS, "number")
    if terms.settles_on == "input_and_output":
        if job.length_field != "reference_seconds":
            raise NoForm  # the length of the reference is not known
        # The result is as long as the reference, and both are billed.
        each = _at_most(seconds, terms.longest_input_seconds)
        seconds = Apply("add", (each, each))
    price, per = terms.fraction_per_step
    if terms.quantity_rounding is None:
        shortest, longest = terms.shortest_seconds, terms.longest_seconds
        quantity = _at_least(_at_most(seconds, longest), shortest)
    else:
        fewest, most = terms.bounds_in_steps
        if most is not None and fewest > most:
            raise NoForm
        up, down = terms.step_seconds.as_integer_ratio()
        steps: Expression = Apply("multiply", (seconds, Constant((down, up))))
        quantity = _at_least(_at_most(_whole(steps, terms.quantity_rounding), most), fewest)
    stage = Stage(
        is_available=True,
        point="per_component_subtotal",
        mode=terms.charge_rounding,
        rate=(price, per),
        multiplier=(1, 1),
        minimum=(terms.smallest_charge_e8, 1),
        quantum=terms.quantum_e8,
    )
    normal = Normalizer({}, {SECONDS: Variable(SECONDS, "number")}, {}, {}).normal
    line = Line(_ALWAYS, (), (stage,), normal(quantity))
    guard = Guard(lengths.least, lengths.most, lengths.whole)
    return Form((line,), 1, {SECONDS: guard}, has_length=True)


def _whole(tree: Expression, mode: Rounding) -> Expression:
    if mode == "half_up":
        return Apply("floor", (Apply("add", (tree, _HALF)),))
    return Apply(mode, (tree,))


def _at_most(tree: Expression, most: Decimal | int | None) -> Expression:
    return tree if most is None else Apply("min", (tree, _constant(most)))


def _at_least(tree: Expression, least: Decimal | int | None) -> Expression:
    return Apply("max", (tree, _constant(least))) if least else tree


def _constant(value: Decimal | int) -> Constant:
    return Constant(value.as_integer_ratio())


# --- A published rule ----------------------------------------------------------------------------


class _RuleForm:
    """Finds out what of a rule is left once the options of a combination are known."""

    def __init__(
        self, job: Request, terms: RuleTerms, lengths: Lengths | None, numbers: Sequence[str]
    ) -> None:
        if terms.rule is None:
            raise NoForm
        self._rule: Rule = terms.rule
        self._terms, self._lengths = terms, lengths
        self._guards: dict[str, Guard] = {}
        self._columns: dict[str, Expression] = {}
        self._texts: dict[str, Expression] = {}
        values, sources = _traced(self._rule, job, lengths, numbers)
        if terms.length is None:
            if lengths is not None:
                raise NoForm
        elif lengths is not None:
            sources[terms.length] = SECONDS
        elif terms.default_seconds is not None:
            values[terms.length] = self._bounded_default(terms.default_seconds)
        else:
            raise NoForm  # a range
        if lengths is not None:
            self._guard(SECONDS, Guard(lengths.least, lengths.most, lengths.whole))
        for variable, column in sources.items():
            values.pop(variable, None)
            self._read(variable, column)
        self._known = self._rule.known(values)

    def _bounded_default(self, seconds: Decimal) -> Decimal:
        terms = self._terms
        if terms.settles_on == "requested":
            return seconds
        if terms.longest_seconds is not None:
            seconds = min(seconds, terms.longest_seconds)
        return max(seconds, terms.shortest_seconds or seconds)

    def form(self) -> Form:
        """The form of the rule."""
        intervals = {name: (guard.least, guard.most) for name, guard in self._guards.items()}
        normalizer = Normalizer(self._known, self._columns, self._texts, intervals)
        lines = (self._line(part, normalizer) for part in self._rule.components)
        kept = tuple(line for line in lines if line is not None)
        has_length = self._lengths is not None
        return Form(kept, UC_E8, dict(sorted(self._guards.items())), has_length)

    def _line(self, part: Component, normalizer: Normalizer) -> Line | None:
        condition: Expression = _ALWAYS
        if part.condition is not None:
            self._check_given(part.condition)
            condition = normalizer.normal(part.condition)
            if condition == Constant(value=False):
                return None
        self._check_given(part.quantity, *(tier.when for tier in part.tiers))
        return Line(
            condition,
            tuple(normalizer.normal(tier.when) for tier in part.tiers),
            tuple(_stage(part, tier) for tier in (*range(len(part.tiers)), None)),
            normalizer.normal(part.quantity),
        )

    def _check_given(self, *trees: Expression) -> None:
        """A component that may be charged needs all variables, also where a branch is not taken."""
        needed = frozenset[str]().union(*map(variables_of, trees))
        if not needed <= self._known.keys() | self._columns.keys():
            raise NoForm

    def _guard(self, column: str, guard: Guard) -> None:
        found = self._guards.get(column)
        self._guards[column] = guard if found is None else found.and_(guard)

    def _read(self, variable: str, column: str) -> None:
        """Take a column for a variable, and what the rule asks of its values for a guard."""
        tree: Expression = Variable(column, "number")
        if variable == self._terms.length and column == SECONDS:
            tree = self._bounded(tree)
        is_bounded = not isinstance(tree, Variable)
        parameter = self._rule.parameters.get(variable)
        if parameter is None:
            kinds = self._rule.undeclared_kinds[variable]
            if "number" not in kinds or "boolean" in kinds:
                raise NoForm
            self._guard(column, Guard((-MOST, 1), (MOST, 1)))
        elif parameter.type in {"integer", "decimal"}:
            if is_bounded and parameter.values is not None:
                raise NoForm
            self._guard(column, Guard(
                (-MOST, 1) if is_bounded else _ratio(parameter.minimum, -MOST),
                (MOST, 1) if is_bounded else _ratio(parameter.maximum, MOST),
                parameter.type == "integer",
                None if parameter.values is None else frozenset(map(number, parameter.values)),
            ))  # fmt: skip
        elif is_bounded or column != SECONDS or parameter.values is None:
            raise NoForm
        else:
            # Of lengths that can only be chosen, each has the spelling of the document.
            spelled = {exact(text): text for text in parameter.values if looks_numeric(text)}
            known = {value: text for value, text in spelled.items() if value is not None}
            if not known:
                raise NoForm
            self._guard(column, Guard((-MOST, 1), (MOST, 1), allowed=frozenset(known)))
            self._texts[variable] = _spelling(tree, known)
        self._columns[variable] = tree

    def _bounded(self, tree: Expression) -> Expression:
        """A measured length within what the rule declares; one asked for must keep to it."""
        terms, lengths = self._terms, self._lengths
        if terms.settles_on == "requested" or lengths is None:
            return tree
        shortest, longest = terms.shortest_seconds, terms.longest_seconds
        if longest is not None and longest < Fraction(*lengths.most):
            tree = _at_most(tree, longest)
        if shortest and shortest > Fraction(*lengths.least):
            tree = _at_least(tree, shortest)
        return tree


def _traced(
    rule: Rule, job: Request, lengths: Lengths | None, numbers: Sequence[str]
) -> tuple[dict[str, Any], dict[str, str]]:
    """The values of the variables that are the same in every row, and the others' columns.

    A job with marked values shows which variable takes which of them.
    """
    options: Mapping[str, Any] = getattr(job, "options", {})
    if not options.keys() >= set(numbers):
        raise NoForm  # one of them says the length
    marks: dict[str, Any] = {name: f"mark of {name}" for name in numbers}
    update: dict[str, Any] = {"options": {**options, **marks}} if numbers else {}
    if lengths is not None and job.length_field is not None:
        marks[SECONDS] = Decimal(1) if job.length_field != "duration" else int("987654321")
        update[job.length_field] = marks[SECONDS]
    given = inputs_of(rule, job.model_copy(update=update)).values
    columns = {id(mark): name for name, mark in marks.items()}
    sources = {name: columns[id(value)] for name, value in given.items() if id(value) in columns}
    # A number that no variable takes stands beside another one of the same meaning.
    if not set(numbers) <= set(sources.values()):
        raise NoForm
    return {name: value for name, value in given.items() if name not in sources}, sources


def _stage(part: Component, tier: int | None) -> Stage:
    terms = billing_of(part, tier)
    return Stage(
        terms.is_available,
        terms.point,
        terms.mode,
        terms.rate,
        terms.multiplier.as_integer_ratio(),
        terms.minimum,
        1,
    )


def _ratio(bound: Decimal | None, otherwise: int) -> Number:
    return (otherwise, 1) if bound is None else bound.as_integer_ratio()


def _spelling(tree: Expression, known: Mapping[Number, str]) -> Expression:
    """The text of a number, of a few that are allowed."""
    *others, (_, found) = known.items()
    text: Expression = Constant(found)
    for value, spelled in others:
        text = Apply("if", (Apply("eq", (tree, Constant(value))), Constant(spelled), text))
    return text

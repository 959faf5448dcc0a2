"""Rules that are a rate times a length, as the prices of a price book.

Most published rules multiply one length, rounded once, by a number that depends on a few options.
Such a rule says the same as a price of a book, and as one it can be listed, compared, overlaid and
computed by column. Which rules are of that shape is decided here, on the rule's own tree; one that
is not stays a formula (`ledger.evolink.formulas`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from itertools import product
from math import prod
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from ledger.evolink.expressions import Apply, Constant, Expression, Lookup, Variable, simplified
from ledger.evolink.rules import UC_E8, Component, Parameter, Rule
from ledger.evolink.values import Number, decimal_text, reduced
from ledger.pricebook.schema import (
    ChargeRounding,
    Defaults,
    ModelFile,
    Multiplier,
    Price,
    QuantityRounding,
)
from ledger.pricing import SettlesOn
from ledger.requests import BODIES, BodyKind, Limits
from ledger.units import EXACT, MAX_SECONDS, Rounding, e8_to_credits

__all__ = [
    "INPUT",
    "LENGTHS",
    "OUTPUT",
    "REQUESTED",
    "Shape",
    "Unshapely",
    "as_prices",
    "body_of",
    "ignores_output",
    "is_measured_later",
    "limits_of",
    "shape_of",
]

INPUT: Final = "input_seconds"
OUTPUT: Final = "output_seconds"
REQUESTED: Final = "duration_seconds"

LENGTHS: Final = frozenset({INPUT, OUTPUT, REQUESTED})
"""Variables that are lengths of a clip."""

BODY_OF: Final[Mapping[str, BodyKind]] = {
    "element_creation": "custom_element",
    "image_to_video": "image_to_video",
    "motion_control": "motion_control",
    "reference_to_video": "reference_to_video",
    "text_to_video": "text_to_video",
    "video_edit": "video_edit",
}
"""The request body of each operation of the catalogue."""

_OPTION_OF: Final = {"quality": "quality", "resolution": "quality", "sound": "sound"}
_MOST_WORK: Final = 20_000
"""Most nodes times combinations of options that are looked at; real rules have a few dozen."""
_ZERO: Final = Constant((0, 1))
_HALF: Final = Constant((1, 2))


@dataclass(frozen=True, slots=True)
class Shape:
    """A quantity that is one length, rounded to steps and bounded, times a factor."""

    lengths: frozenset[str]
    """The variables whose sum is the length; none where the quantity is constant."""
    factor: Number
    """What the rounded length is multiplied by, or the constant quantity."""
    mode: Rounding | None = None
    """How the length is rounded to whole steps; None bills it exactly."""
    step: Number = (1, 1)
    """Length of one step in seconds."""
    shortest: Number | None = None
    """Shortest billed length in seconds."""
    longest: Number | None = None
    """Longest billed length in seconds."""

    @property
    def rule(self) -> tuple[object, ...]:
        """Everything but the factor."""
        return self.lengths, self.mode, self.step, self.shortest, self.longest


class Unshapely(Exception):
    """The rule is not a rate times a length, or not one that a price file can hold."""


def shape_of(quantity: Expression) -> Shape | None:
    """The shape of a quantity once its options are known, or None where it is a formula.

    A settled job has a length, so a test whether one is more than zero is taken as answered.

    >>> seconds = Variable("output_seconds", "number")
    >>> shape_of(Apply("multiply", (Apply("ceil", (seconds,)), Constant((3, 2)))))
    Shape(lengths=frozenset({'output_seconds'}), factor=(3, 2), mode='ceil', step=(1, 1),
          shortest=None, longest=None)
    """
    try:
        return _shape(simplified(_settled(quantity), {}))
    except Unshapely:
        return None


def _settled(tree: Expression) -> Expression:
    """The tree of a job that has ended: its generated length is more than zero."""
    if isinstance(tree, Lookup):
        return Lookup(_settled(tree.key), tree.values)
    if not isinstance(tree, Apply):
        return tree
    if tree.op == "if" and (answer := _answered(tree.args[0])) is not None:
        return _settled(tree.args[1 if answer else 2])
    return Apply(tree.op, tuple(map(_settled, tree.args)))


def _answered(condition: Expression) -> bool | None:
    """What a test of the generated length against zero gives."""
    if not isinstance(condition, Apply) or len(condition.args) != 2:
        return None
    left, right = condition.args
    if not (isinstance(left, Variable) and left.name == OUTPUT and right == _ZERO):
        return None
    return {"gt": True, "gte": True, "neq": True, "eq": False, "lte": False, "lt": False}.get(
        condition.op
    )


def _shape(tree: Expression) -> Shape:
    if isinstance(tree, Constant) and isinstance(tree.value, tuple):
        return Shape(frozenset(), reduced(tree.value))
    if isinstance(tree, Variable) and tree.name in LENGTHS:
        return Shape(frozenset([tree.name]), (1, 1))
    if isinstance(tree, Apply) and tree.op in _PARTS:
        return _PARTS[tree.op](tree.args)
    raise Unshapely


def _product(args: Sequence[Expression]) -> Shape:
    shapes = list(map(_shape, args))
    lengths = [shape for shape in shapes if shape.lengths]
    if len(lengths) > 1:
        raise Unshapely
    found = lengths[0] if lengths else Shape(frozenset(), (1, 1))
    for number in (shape.factor for shape in shapes if not shape.lengths):
        found = replace(found, factor=_times(found.factor, number))
    return found


def _quotient(args: Sequence[Expression]) -> Shape:
    shape, divisor = _shape(args[0]), _number(args[1])
    if not divisor[0]:
        raise Unshapely
    return replace(shape, factor=_times(shape.factor, _inverse(divisor)))


def _sum(args: Sequence[Expression]) -> Shape:
    """Two lengths together; nothing else is added in this shape."""
    shapes = list(map(_shape, args))
    names = frozenset[str]().union(*(shape.lengths for shape in shapes))
    plain = all(shape == Shape(shape.lengths, (1, 1)) for shape in shapes)
    if not plain or any(not shape.lengths for shape in shapes) or len(names) != len(shapes):
        raise Unshapely
    return Shape(names, (1, 1))


def _floor(args: Sequence[Expression]) -> Shape:
    inner = args[0]
    # To the nearest is written as the floor of a half more.
    if isinstance(inner, Apply) and inner.op == "add" and _HALF in inner.args:
        rest = [arg for arg in inner.args if arg != _HALF]
        if len(rest) == 1:
            return _rounded(rest[0], "half_up")
    return _rounded(inner, "floor")


def _ceil(args: Sequence[Expression]) -> Shape:
    return _rounded(args[0], "ceil")


def _rounded(tree: Expression, mode: Rounding) -> Shape:
    shape = _shape(tree)
    if not shape.lengths or shape.rule[1:] != Shape(frozenset(), (1, 1)).rule[1:]:
        raise Unshapely
    if shape.factor[0] <= 0:
        raise Unshapely
    # One step of the count is a step of the length, as often as the factor says.
    return replace(shape, mode=mode, step=_inverse(shape.factor))


def _bounded(args: Sequence[Expression], *, least: bool) -> Shape:
    shapes = list(map(_shape, args))
    lengths = [shape for shape in shapes if shape.lengths]
    if len(lengths) != 1 or lengths[0].factor[0] <= 0:
        raise Unshapely
    found = lengths[0]
    for number in (shape.factor for shape in shapes if not shape.lengths):
        found = _with_edge(found, _times(number, _inverse(found.factor)), least=least)
    return found


def _with_edge(shape: Shape, edge: Number, *, least: bool) -> Shape:
    """The shape with a shortest or a longest length, of whole steps where it is rounded."""
    if edge[0] <= 0 or (shape.mode is not None and _times(edge, _inverse(shape.step))[1] != 1):
        raise Unshapely
    low, high = shape.shortest, shape.longest
    if least:
        low = edge if low is None or _less(low, edge) else low
    else:
        high = edge if high is None or _less(edge, high) else high
    if low is not None and high is not None and _less(high, low):
        raise Unshapely
    return replace(shape, shortest=low, longest=high)


_PARTS: Final[Mapping[str, Callable[[Sequence[Expression]], Shape]]] = {
    "multiply": _product,
    "divide": _quotient,
    "add": _sum,
    "floor": _floor,
    "ceil": _ceil,
    "max": lambda args: _bounded(args, least=True),
    "min": lambda args: _bounded(args, least=False),
}


def _number(tree: Expression) -> Number:
    if isinstance(tree, Constant) and isinstance(tree.value, tuple):
        return tree.value
    raise Unshapely


def _times(one: Number, other: Number) -> Number:
    return reduced((one[0] * other[0], one[1] * other[1]))


def _inverse(value: Number) -> Number:
    up, down = value
    return (down, up) if up > 0 else (-down, -up)


def _less(one: Number, other: Number) -> bool:
    return one[0] * other[1] < other[0] * one[1]


# Prices of a book


class _Table(NamedTuple):
    """The factors of a rule by option, and the shape they share."""

    options: tuple[str, ...]
    factors: Mapping[tuple[str, ...], Number]
    shape: Shape


def as_prices(
    rule: Rule, base: ModelFile | None, *, source: str, checked: date
) -> ModelFile | None:
    """The rule as a model of a price book, or None where it is a formula.

    Args:
        rule: what was published.
        base: what the bundled book knows of the model: its body, limits, names, longest clip.
        source: where the document was read.
        checked: the day it was captured.
    """
    body = body_of(rule, base)
    if body is None or rule.status != "available" or rule.undeclared or len(rule.components) != 1:
        return None
    [component] = rule.components
    if component.tiers or component.condition is not None or not component.is_available:
        return None
    if component.rounding_point != "per_component_subtotal" or component.minimum_uc % 1:
        return None
    try:
        table = _table(rule, component)
        _check_lengths(rule, table.shape, body)
        limits, defaults = limits_of(rule, base, source, checked), _defaults(rule)
        price = _price(rule, component, table, base, source=source, checked=checked)
        return ModelFile(
            model=rule.model,
            title=None if base is None else base.title,
            aliases=() if base is None else base.aliases,
            body=body,
            defaults=defaults,
            limits=limits,
            price=(price,),
        )
    except (Unshapely, ValidationError):
        # A figure that a price file cannot hold, such as a third, stays in its formula.
        return None


def body_of(rule: Rule, base: ModelFile | None) -> BodyKind | None:
    """The request body of a model, or None where none has all that its rule depends on."""
    body = BODY_OF.get(rule.operation) if base is None else base.body
    if body is None:
        return None
    fields = BODIES[body].model_fields
    options = [name for name in rule.variables & rule.parameters.keys() if name not in LENGTHS]
    known = all(_OPTION_OF.get(name, name) in fields for name in options)
    return body if known else None


def ignores_output(rule: Rule) -> bool:
    """Whether the rule could read what was made, but only what was asked for counts."""
    asks = bool(rule.variables & {INPUT, REQUESTED})
    return OUTPUT in rule.variables and asks and rule.settlement_basis == "request_only"


def _check_lengths(rule: Rule, shape: Shape, body: BodyKind) -> None:
    """Refuse lengths that the body does not carry, or that are not there when they are needed."""
    lengths, asked = shape.lengths, BODIES[body].length_field
    if REQUESTED in lengths and asked != "duration":
        raise Unshapely
    if INPUT in lengths and asked != "reference_seconds":
        raise Unshapely
    if ignores_output(rule):
        raise Unshapely
    if len(lengths) == 1 and lengths != {REQUESTED}:
        [name] = lengths
        _check_measured(rule.parameters[name], shape)


def _check_measured(declared: Parameter, shape: Shape) -> None:
    """Refuse a measured length that only the rule itself keeps to what is declared of it."""
    least, most = declared.minimum, declared.maximum
    if declared.type == "integer" or (least is not None and least > 0):
        raise Unshapely
    # The longest clip that is made is that of the price, unless the quantity has another one.
    has_longest = declared.name == OUTPUT and shape.longest is None
    if most is not None and not has_longest:
        raise Unshapely


def _table(rule: Rule, component: Component) -> _Table:
    read = [rule.parameters[name] for name in rule.parameters if name in rule.variables]
    chosen = [item for item in read if item.name not in LENGTHS]
    if any(_OPTION_OF.get(item.name) is None or not item.values for item in chosen):
        raise Unshapely
    if any(item.values for item in read if item.name in LENGTHS):
        raise Unshapely  # only some lengths can be asked for
    # A tree is worked through once for each combination; beyond that it is evaluated as it is.
    if _size(component.quantity) * prod(len(item.values or ()) for item in chosen) > _MOST_WORK:
        raise Unshapely
    names = tuple(_OPTION_OF[item.name] for item in chosen)
    if len(set(names)) < len(names) or len(names) > 2:
        raise Unshapely
    factors: dict[tuple[str, ...], Number] = {}
    shapes = []
    for values in _combinations(chosen):
        known = dict(zip((item.name for item in chosen), values, strict=True))
        shape = shape_of(simplified(component.quantity, known))
        if shape is None or shape.factor[0] <= 0:
            raise Unshapely
        factors[values] = shape.factor
        shapes.append(shape)
    if len({shape.rule for shape in shapes}) != 1:
        raise Unshapely
    return _Table(names, factors, shapes[0])


def _size(tree: Expression) -> int:
    """Nodes and entries of lookups."""
    if isinstance(tree, Lookup):
        return len(tree.values) + _size(tree.key)
    return 1 + sum(map(_size, tree.args)) if isinstance(tree, Apply) else 1


def _combinations(chosen: Sequence[Parameter]) -> Iterator[tuple[str, ...]]:
    return product(*(item.values or () for item in chosen))


def _price(
    rule: Rule,
    component: Component,
    table: _Table,
    base: ModelFile | None,
    *,
    source: str,
    checked: date,
) -> Price:
    shape = table.shape
    rate, multipliers = _rate(component, table)
    given: dict[str, Any] = {
        "effective_from": rule.effective_from,
        "source": source,
        "checked": checked,
        "unit": "second" if shape.lengths else "call",
        "rate": rate,
        "multiplier": multipliers,
        "smallest_charge": _credits(component.minimum_uc),
        "charge": ChargeRounding(mode=component.rounding_mode, quantum=e8_to_credits(UC_E8)),
    }
    if shape.lengths:
        given |= _lengths(rule, shape, base)
    else:
        given["settles_on"] = _settles_on(rule, shape.lengths)
    return Price(**given)


def _lengths(rule: Rule, shape: Shape, base: ModelFile | None) -> dict[str, Any]:
    """How a length is billed: rounding, bounds, and which length it is."""
    settles_on = _settles_on(rule, shape.lengths)
    longest: Any = None if shape.longest is None else _decimal(shape.longest)
    longest_input = None
    if settles_on == "input_and_output":
        longest_input, generated = rule.parameters[INPUT].maximum, rule.parameters[OUTPUT].maximum
        if longest is None and longest_input is not None and generated is not None:
            longest = EXACT.add(longest_input, generated)
    elif longest is None and shape.lengths == {OUTPUT} and rule.parameters[OUTPUT].maximum:
        longest = rule.parameters[OUTPUT].maximum
    elif longest is None and base is not None:
        # The rules name no longest clip of this model, the product page does.
        longest = base.price[-1].longest_seconds
    rounding = QuantityRounding(mode="none")
    if shape.mode is not None:
        rounding = QuantityRounding(mode=shape.mode, step_seconds=_decimal(shape.step))
    elif settles_on == "requested" and _asks_whole_seconds(rule):
        # Which says the same of whole seconds, and is what product pages say.
        rounding = QuantityRounding(mode="ceil")
    return {
        "rounding": rounding,
        "shortest_seconds": None if shape.shortest is None else _decimal(shape.shortest),
        "longest_seconds": longest,
        "longest_input_seconds": longest_input,
        "settles_on": settles_on,
    }


def is_measured_later(rule: Rule) -> bool:
    """Whether the length that is asked for only stands for the one that is made.

    Whole seconds that were asked for are what is billed: the rule takes no others.
    """
    return rule.settlement_basis != "request_only" and not _asks_whole_seconds(rule)


def _asks_whole_seconds(rule: Rule) -> bool:
    asked = rule.parameters.get(REQUESTED)
    return asked is not None and asked.type == "integer"


def _settles_on(rule: Rule, lengths: frozenset[str]) -> SettlesOn:
    if not lengths:
        return "requested"
    if lengths == {REQUESTED} and is_measured_later(rule):
        return "output"
    if lengths == {INPUT, OUTPUT}:
        return "input_and_output"
    if lengths == {OUTPUT}:
        return "output"
    # What was asked for, or what was handed in: known when the job is submitted.
    if lengths in ({REQUESTED}, {INPUT}):
        return "requested"
    raise Unshapely


def _rate(component: Component, table: _Table) -> tuple[Decimal, tuple[Multiplier, ...]]:
    """The rate in credits and its multipliers, exact: the published rate if the factors allow."""
    published = component.rate_uc.as_integer_ratio()
    bases: list[Number] = [(1, 1), *table.factors.values()]
    for base in bases:
        rate = decimal_text(_times(_times(published, base), (1, 10_000)))
        shares = {key: _times(item, _inverse(base)) for key, item in table.factors.items()}
        texts = {key: decimal_text(item) for key, item in shares.items()}
        if rate is None or any(text is None or _decimals(text) > 6 for text in texts.values()):
            continue
        if not table.options:
            [text] = texts.values()
            if text != "1":
                continue
            return Decimal(rate), ()
        return Decimal(rate), (_multiplier(table.options, texts.items()),)
    raise Unshapely


def _multiplier(
    options: tuple[str, ...], texts: Iterable[tuple[tuple[str, ...], str | None]]
) -> Multiplier:
    levels: dict[str, Any] = {}
    for key, text in texts:
        level = levels
        for value in key[:-1]:
            level = level.setdefault(value, {})
        level[key[-1]] = Decimal(str(text))
    return Multiplier.model_validate({"options": options, "table": levels})


def _decimals(text: str) -> int:
    return len(text.partition(".")[2])


def _decimal(value: Number) -> Decimal:
    text = decimal_text(value)
    if text is None:
        raise Unshapely
    return Decimal(text)


def _credits(amount_uc: Decimal) -> Decimal:
    text = decimal_text(_times(amount_uc.as_integer_ratio(), (1, 10_000)))
    return Decimal(str(text))


def _defaults(rule: Rule) -> Defaults:
    given: dict[str, Any] = {}
    for name in rule.variables & rule.parameters.keys():
        default = rule.parameters[name].default
        if default is None:
            continue
        if name == REQUESTED:
            given["duration"] = _whole(default)
        elif name in _OPTION_OF:
            given[_OPTION_OF[name]] = default
    return Defaults(**given)


def limits_of(rule: Rule, base: ModelFile | None, source: str, checked: date) -> Limits | None:
    """What a request must keep to: what the bundled book knows, under what the rule declares.

    Of a clip that is handed in the rule says nothing, and nothing is not a limit.
    """
    values = {
        _OPTION_OF[name]: item.values
        for name, item in rule.parameters.items()
        if name in _OPTION_OF and name in rule.variables and item.values
    }
    numbers = {}
    asked = rule.parameters.get(REQUESTED)
    if asked is not None and (asked.minimum is not None or asked.maximum is not None):
        least = 1 if asked.minimum is None else _whole(asked.minimum)
        most = MAX_SECONDS if asked.maximum is None else _whole(asked.maximum)
        numbers["duration"] = (least, most)
    if base is not None and base.limits is not None:
        known = base.limits
        update = {"values": {**known.values, **values}, "numbers": {**known.numbers, **numbers}}
        fields = {name: getattr(known, name) for name in Limits.model_fields}
        return Limits(**(fields | update))
    if rule.variables & {INPUT, OUTPUT}:
        return None
    return Limits(source=source, checked=checked, values=values, numbers=numbers)


def _whole(value: object) -> int:
    """A whole number of seconds, which is all that a body can ask for."""
    if isinstance(value, Decimal) and value >= 0 and value == int(value):
        return int(value)
    raise Unshapely

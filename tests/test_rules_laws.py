"""Laws of the pricing rules, against a naive evaluator and against broken documents."""

from __future__ import annotations

import copy
import json
import random
from decimal import Decimal
from fractions import Fraction
from typing import Any

import naive_rules
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rule_documents import (
    QUALITY,
    Json,
    X,
    apply,
    choice_parameter,
    component,
    constant,
    document,
    load,
    lookup,
    model,
    motion_control,
    number_parameter,
    quantity,
    sample,
    sample_text,
    tier,
    variable,
)

from ledger.errors import AmountTooLarge, InvalidPriceFile, NeedsInput, RuleFailed
from ledger.evolink.expressions import (
    Declared,
    NoResult,
    Number,
    Scope,
    Value,
    compiled,
    parse,
    simplified,
)
from ledger.evolink.intervals import Known, Unbounded, span_of
from ledger.evolink.rules import Range, Rule, Rules

MOST_UC = (2**63 - 1) // 10_000


Values = tuple[dict[str, Any], dict[str, naive_rules.Value]]


def values_for(said: Json, dice: random.Random) -> Values:
    """Values that a model allows, as the library takes them and as the naive evaluator does."""
    given: dict[str, Any] = {}
    naive: dict[str, naive_rules.Value] = {}
    for name in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens"):
        if said["policy_source"] == "legacy_text_adapter":
            given[name] = dice.choice([0, 1, dice.randrange(1_000_000)])
            naive[name] = Fraction(given[name])
    for item in said.get("parameters", []):
        value = value_of(item, dice)
        given[item["name"]] = value
        naive[item["name"]] = Fraction(value) if isinstance(value, (int, Decimal)) else value
        if isinstance(value, bool):
            naive[item["name"]] = value
    return given, naive


def value_of(item: Json, dice: random.Random) -> Any:
    if item["type"] == "boolean":
        return dice.random() < 0.5
    if item["type"] == "string" or item["type"] == "enum":
        found = dice.choice(item.get("values") or ["a", "5"])
        return found if isinstance(found, str) else json.dumps(found)
    if item.get("values"):
        return Decimal(dice.choice(item["values"]))
    low, high = (Decimal(item.get(key, end)) for key, end in (("minimum", 0), ("maximum", 600_000)))
    if item["type"] == "integer":
        return dice.randint(int(low), int(high))
    places = dice.randint(0, 6)
    return Decimal(dice.randint(int(low * 10**places), int(high * 10**places))).scaleb(-places)


def both_prices(found: Rule, said: Json, known: Values) -> tuple[int | None, int | None]:
    given, naive = known
    price: int | None = None
    is_too_large = False
    try:
        price = found.price(given).total_uc
    except RuleFailed:
        pass
    except AmountTooLarge:
        is_too_large = True
    try:
        expected: int | None = naive_rules.price(said, naive)
    except naive_rules.NoPrice:
        expected = None
    if is_too_large:
        assert expected is not None
        assert expected > MOST_UC
        return expected, expected
    return price, expected


@settings(deadline=None)
@given(st.integers(0, 2**64))
def test_every_model_of_the_sample_costs_what_the_naive_evaluator_says(seed: int) -> None:
    said, dice = sample(), random.Random(seed)
    rules = SAMPLE_RULES()
    for one in said["models"]:
        found, expected = both_prices(rules.models[one["model_id"]], one, values_for(one, dice))
        assert found == expected
        assert found is not None


def SAMPLE_RULES() -> Rules:  # noqa: N802
    text = sample_text()
    if text not in _READ:
        _READ[text] = Rules.parse(text)
    return _READ[text]


_READ: dict[bytes, Rules] = {}

decimals = st.decimals(Decimal(-20), Decimal(20), places=3).map(lambda value: f"{value:f}")
factors = st.sampled_from(["0.5", "1", "1.25", "2", "3"])
PARAMETERS = [
    number_parameter("x", minimum="-20", maximum="20"),
    number_parameter("y", minimum="0", maximum="20"),
    number_parameter("n", "integer", minimum="-3", maximum="12"),
    choice_parameter("level", "5", "10", "15"),
    choice_parameter("sound", "on", "off", "5"),
    {"name": "flag", "type": "boolean"},
]


def exactly(text: str) -> str:
    """A decimal as the provider writes it."""
    return f"{Decimal(text):f}".removeprefix("-") if Decimal(text) == 0 else f"{Decimal(text):f}"


@st.composite
def numbers(draw: st.DrawFn, depth: int = 3) -> Json:
    if depth == 0:
        return draw(
            st.one_of(
                decimals.map(exactly).map(constant),
                st.sampled_from(["x", "y", "n", "level"]).map(variable),
            )
        )
    below = numbers(depth - 1)
    op = draw(st.sampled_from(sorted(NUMERIC)))
    if op == "lookup":
        entries = draw(st.lists(decimals.map(exactly), min_size=len(KEYS), max_size=len(KEYS)))
        return lookup(draw(keys(depth - 1)), **dict(zip(KEYS, entries, strict=True)))
    if op == "if":
        return apply("if", draw(booleans(depth - 1)), draw(below), draw(below))
    if op == "clamp" and draw(st.integers(0, 3)):  # now and then bounds that may be the wrong way
        low = draw(below)
        return apply(op, draw(below), low, apply("add", low, constant(draw(factors))))
    return apply(op, *draw(st.lists(below, min_size=NUMERIC[op][0], max_size=NUMERIC[op][1])))


NUMERIC = {
    "add": (2, 4),
    "multiply": (2, 3),
    "subtract": (2, 2),
    "divide": (2, 2),
    "min": (2, 3),
    "max": (2, 3),
    "clamp": (3, 3),
    "ceil": (1, 1),
    "floor": (1, 1),
    "if": (3, 3),
    "lookup": (1, 1),
}
KEYS = ["on", "off", "true", "false", "5", "10", "15", "0", "1", "-1", "2", "2.5"]


@st.composite
def booleans(draw: st.DrawFn, depth: int = 2) -> Json:
    if depth == 0:
        return draw(st.sampled_from([variable("flag"), constant("true"), constant("false")]))
    below = booleans(depth - 1)
    op = draw(st.sampled_from(["and", "or", "not", "if", "order", "equal", "texts", "booleans"]))
    if op in {"and", "or"}:
        return apply(op, *draw(st.lists(below, min_size=2, max_size=3)))
    if op == "not":
        return apply(op, draw(below))
    if op == "if":
        return apply(op, draw(below), draw(below), draw(below))
    if op == "order":
        sign = draw(st.sampled_from(["lt", "lte", "gt", "gte"]))
        return apply(sign, draw(numbers(depth - 1)), draw(numbers(depth - 1)))
    sign = draw(st.sampled_from(["eq", "neq"]))
    sides = {"equal": numbers(depth - 1), "texts": texts(depth - 1), "booleans": below}[op]
    return apply(sign, draw(sides), draw(sides))


@st.composite
def texts(draw: st.DrawFn, depth: int = 1) -> Json:
    """What is compared: texts, some of which say numbers, and numbers."""
    if depth > 0 and draw(st.booleans()):
        below = texts(depth - 1)
        return apply("if", draw(booleans(depth - 1)), draw(below), draw(below))
    plain = st.sampled_from(["on", "5", "5.0", "007", "10", "x"]).map(constant)
    named = st.sampled_from(["sound", "level", "n"]).map(variable)
    return draw(st.one_of(plain, named))


def keys(depth: int) -> st.SearchStrategy[Json]:
    """Mostly what the table has an entry for."""
    named = st.sampled_from(["level", "sound", "flag"]).map(variable)
    whole = st.just(apply("clamp", variable("n"), constant("0"), constant("2")))
    return st.one_of(named, named, whole, texts(depth), numbers(depth), booleans(depth))


@st.composite
def components(draw: st.DrawFn, id: str = "a") -> Json:
    uc = draw(st.sampled_from(["1", "2.5", "100", "81648"]))
    quantity = draw(numbers())
    if draw(st.integers(0, 3)):  # now and then a quantity that may be negative
        quantity = apply("max", quantity, constant("0.25"))
    found = component(
        quantity,
        id=id,
        uc=uc,
        minimum=draw(st.sampled_from(["0", "1", "500"])),
        point=draw(st.sampled_from(["per_component_subtotal", "per_quantity", "per_tier"])),
        mode=draw(st.sampled_from(["half_up", "ceil", "floor"])),
    )
    if draw(st.booleans()):
        found["condition"] = draw(booleans())
    for _ in range(draw(st.integers(0, 2))):
        factor = draw(factors)
        rate = exactly(str(Decimal(uc) * Decimal(factor)))
        status = draw(st.sampled_from(["available"] * 9 + ["unavailable"]))
        found["tiers"].append(tier(draw(booleans()), factor, rate, pricing_status=status))
    return found


@st.composite
def models(draw: st.DrawFn) -> Json:
    """A model with every operation, rounding point and mode, and tiers."""
    parts = [draw(components(id=str(index))) for index in range(draw(st.integers(1, 2)))]
    return model(*parts, parameters=PARAMETERS)


def loaded_or_known_to_fail(said: Json) -> Rule | None:
    """The rule, or None where a constant part has no value or numbers may grow too large."""
    try:
        return load(said).models["clip"]
    except InvalidPriceFile as error:
        for fault in error.faults:
            assert "never has a value" in fault.problem or "8192 bits" in fault.problem
        return None


@settings(deadline=None, max_examples=150)
@given(models(), st.integers(0, 2**64))
def test_random_rules_cost_what_the_naive_evaluator_says(said: Json, seed: int) -> None:
    found = loaded_or_known_to_fail(said)
    assume(found is not None)
    assert found is not None
    dice = random.Random(seed)
    for _ in range(10):
        price, expected = both_prices(found, said, values_for(said, dice))
        assert price == expected


@settings(deadline=None, max_examples=300)
@given(numbers(), st.integers(0, 2**64))
def test_the_interval_of_an_expression_contains_each_of_its_values(tree: Json, seed: int) -> None:
    problems: list[str] = []
    found = parse(tree, scope=Scope(DECLARED, report=lambda _, problem: problems.append(problem)))
    assume(not problems)
    dice = random.Random(seed)
    one, other = internal(dice), internal(dice)
    ends = {name: sorted([fraction(one[name]), fraction(other[name])]) for name in "xyn"}
    intervals = {name: (pair(low), pair(high)) for name, (low, high) in ends.items()}
    rest = {name: value for name, value in one.items() if name not in intervals}
    values = []
    for _ in range(10):
        inside = {name: pair(between(low, high, name, dice)) for name, (low, high) in ends.items()}
        values += [value] if (value := result(found, {**rest, **inside})) is not None else []
    try:
        low, high = map(fraction, span_of(found, Known(rest, intervals)))
    except NoResult:
        assert values == []
    except Unbounded:
        pass
    else:
        assert all(low <= value <= high for value in values)


def fraction(value: Value) -> Fraction:
    assert isinstance(value, tuple)
    return Fraction(*value)


def pair(value: Fraction) -> Number:
    return value.numerator, value.denominator


def between(low: Fraction, high: Fraction, name: str, dice: random.Random) -> Fraction:
    """One of the ends, or something between them."""
    found = dice.choice([low, high, low + (high - low) * Fraction(dice.randint(0, 8), 8)])
    return Fraction(round(found)) if name == "n" else found


@settings(deadline=None, max_examples=150)
@given(models(), st.integers(0, 2**64))
def test_a_span_contains_every_price_in_its_range(said: Json, seed: int) -> None:
    found = loaded_or_known_to_fail(said)
    assume(found is not None)
    assert found is not None
    dice = random.Random(seed)
    given, _ = values_for(said, dice)
    other, _ = values_for(said, dice)
    names = dice.sample(["x", "y", "n"], dice.randint(0, 3))
    ranges = {name: Range(*sorted(Decimal(it[name]) for it in (given, other))) for name in names}
    inside = [{**given, **{name: within(ranges[name], name, dice) for name in names}}]
    inside += [{**given, **{name: ranges[name][end] for name in names}} for end in (0, 1)]
    prices = [price for values in inside if (price := price_or_none(found, values)) is not None]
    ends = span_or_problem(found, {**given, **ranges})
    if isinstance(ends, str):
        assert not prices or "divides by a number from" in ends or "does not fit" in ends
        return
    assert all(ends[0] <= price <= ends[1] for price in prices)
    if not names:
        assert ends == (prices[0], prices[0])


def span_or_problem(found: Rule, values: dict[str, Any]) -> tuple[int, int] | str:
    try:
        return found.span(values)
    except (RuleFailed, AmountTooLarge) as error:
        return str(error)


def within(given: Range, name: str, dice: random.Random) -> Decimal:
    places = 0 if name == "n" else 6
    ends = [int(end.scaleb(places)) for end in given]
    return Decimal(dice.randint(*ends)).scaleb(-places)


def price_or_none(found: Rule, values: dict[str, Any]) -> int | None:
    try:
        return found.price(values).total_uc
    except (RuleFailed, AmountTooLarge):
        return None


@settings(deadline=None, max_examples=150)
@given(numbers(), st.integers(0, 2**64), st.integers(0, 63))
def test_a_simplified_expression_has_the_same_value(tree: Json, seed: int, which: int) -> None:
    values = internal(random.Random(seed))
    problems: list[str] = []
    scope = Scope(DECLARED, report=lambda _, problem: problems.append(problem))
    found = parse(tree, scope=scope)
    assume(not problems)
    known = {name: value for bit, (name, value) in enumerate(values.items()) if which >> bit & 1}
    rest = {name: value for name, value in values.items() if name not in known}
    assert result(simplified(found, known), rest) == result(found, values)


DECLARED = {
    "x": Declared("number"),
    "y": Declared("number"),
    "n": Declared("number", is_whole=True),
    "level": Declared("text", numbers=((5, 1), (10, 1), (15, 1))),
    "sound": Declared("text"),
    "flag": Declared("boolean"),
}


def internal(dice: random.Random) -> dict[str, Value]:
    given, _ = values_for(model(parameters=PARAMETERS), dice)
    return {
        name: value if isinstance(value, (str, bool)) else Decimal(value).as_integer_ratio()
        for name, value in given.items()
    }


def result(tree: Any, values: dict[str, Value]) -> Fraction | None:
    try:
        found = compiled(tree)(values)
    except NoResult:
        return None
    assert isinstance(found, tuple)
    return Fraction(*found)


# --- Random and mutated documents ----------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(
            st.sampled_from(["meta", "models", "model", "components", "op", "args", "x"]), below
        )
    ),
    max_leaves=20,
)


@given(JSON)
def test_random_json_is_refused(value: Any) -> None:
    with pytest.raises(InvalidPriceFile):
        Rules.parse(json.dumps(value))


@given(st.binary(max_size=200))
def test_random_bytes_are_refused(text: bytes) -> None:
    with pytest.raises(InvalidPriceFile):
        Rules.parse(text)


@settings(deadline=None, max_examples=150)
@given(
    st.recursive(
        JSON,
        lambda below: st.builds(
            lambda op, args: {"op": op, "args": args},
            st.sampled_from(["add", "if", "eq", "lookup", "constant"]),
            st.lists(below, max_size=3),
        ),
    )
)
def test_random_trees_never_crash(tree: Any) -> None:
    try:
        found = Rules.parse(json.dumps(quantity(tree)))
    except InvalidPriceFile:
        return
    price_or_none(found.models["clip"], {"x": 1, "quality": "720p"})


def nodes(value: Any) -> list[tuple[Any, Any]]:
    """Every place in a document: what holds it, and under which key."""
    found = []
    for key, item in list(value.items() if isinstance(value, dict) else enumerate(value)):
        found.append((value, key))
        if isinstance(item, (dict, list)):
            found += nodes(item)
    return found


ODD: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    "",
    "0",
    "-1",
    "1e5",
    "true",
    "quality",
    [],
    {},
    "a\nb",
    "\ud800",
]


def mutate(said: Json, dice: random.Random) -> None:
    places = nodes(said)
    holder, key = dice.choice(places)
    other, another = dice.choice(places)
    kind = dice.choice(["drop", "swap", "retype", "duplicate", "rename"])
    if kind == "drop":
        del holder[key]
    elif kind == "swap":
        holder[key], other[another] = copy.deepcopy(other[another]), copy.deepcopy(holder[key])
    elif kind == "retype":
        holder[key] = copy.deepcopy(dice.choice(ODD))
    elif isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    elif kind == "duplicate":
        holder[f"{key}2"] = copy.deepcopy(holder[key])
    else:
        holder[dice.choice(["name", "op", "value", "args", "x"])] = holder.pop(key)


def small_document() -> Json:
    many = apply("gte", variable("x"), constant("10"))
    tiered = component(
        apply("divide", variable("x"), constant("3")),
        tiers=[tier(many, "0.5", "50", minimum="600")],
        condition=apply("neq", variable("quality"), constant("720p")),
    )
    return document(motion_control(), model(tiered, parameters=[X, QUALITY]))


@settings(deadline=None, max_examples=500)
@given(st.integers(0, 2**64))
def test_a_mutated_document_is_refused_or_costs_what_it_says(seed: int) -> None:
    dice = random.Random(seed)
    assert_refused_or_sound(small_document(), dice, changes=dice.randint(1, 2))


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**64))
def test_the_mutated_sample_is_refused_or_costs_what_it_says(seed: int) -> None:
    dice = random.Random(seed)
    assert_refused_or_sound(sample(), dice, changes=1)


def assert_refused_or_sound(said: Json, dice: random.Random, changes: int) -> None:
    said = json.loads(json.dumps(said))  # no two places share what is changed in one of them
    for _ in range(changes):
        mutate(said, dice)
    try:
        rules = Rules.parse(json.dumps(said))
    except InvalidPriceFile:
        return
    for one in said["models"] if "models" in said else [said["model"]]:
        found = rules.models[one["model_id"]]
        try:
            price, expected = both_prices(found, one, values_for(one, dice))
        except NeedsInput:
            continue
        assert price == expected

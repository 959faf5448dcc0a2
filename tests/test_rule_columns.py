"""Published rules by column: every row costs what the scalar function says, and few rows need it.

Amounts in the tables are worked by hand; one UC is 10,000 units of 10^-8 credit.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rule_documents import (
    Json,
    apply,
    choice_parameter,
    component,
    constant,
    document,
    lookup,
    model,
    motion_control,
    nearest_second,
    number_parameter,
    sample_text,
    tier,
    variable,
)
from test_rules_laws import DECLARED, models, numbers, result

from ledger import PriceBook, PublishedRules, estimate, price_frame
from ledger.columns.exact import Arithmetic, TooLarge, Width
from ledger.columns.expressions import AMOUNTS
from ledger.columns.frames import Engine, further_options
from ledger.columns.plans import COUNT, canonical
from ledger.columns.trees import NoForm, Normalizer, Reader, skeleton
from ledger.errors import InvalidPlan, InvalidPriceFile, LedgerError
from ledger.evolink.expressions import Expression, Scope, Value, Variable, parse

AT = "2026-11-01"
UC = 10_000
LAW = settings(deadline=None, max_examples=150)
INPUT, OUTPUT, ASKED = map(variable, ("input_seconds", "output_seconds", "duration_seconds"))

Amounts = tuple[int, int, int] | None


def published(*found: Json) -> PublishedRules:
    return PublishedRules(json.dumps(document(*found)).encode(), "rules", source="rules.json")


def text_of(value: Any) -> str | None:
    """A cell as a person would write it for `--set`."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        value = Decimal(repr(value))
    if isinstance(value, Decimal) and value.is_finite():
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return str(value)


def scalar(book: PriceBook, row: Mapping[str, Any], *, options: tuple[str, ...] = ()) -> Amounts:
    """What the scalar function says of a row; None where it refuses."""
    texts = {name: text for name in options if (text := text_of(row.get(name))) is not None}
    length = row.get("seconds")
    try:
        job = book.job(
            row["model"],
            quality=row.get("quality") or None,
            character_orientation=row.get("orientation") or None,
            sound=row.get("sound") or None,
            seconds=None if length == "" else length,
            options=texts or None,
        )
        quote = book.quote(job, at=AT)
    except LedgerError:
        return None
    return (
        quote.minimum_charge.credits_e8,
        quote.expected_charge.credits_e8,
        quote.maximum_charge.credits_e8,
    )


def assert_same(frame: pl.DataFrame, book: PriceBook, *, options: tuple[str, ...] = ()) -> int:
    """Check every row against the scalar function; gives how many have a price."""
    priced = 0
    for row in price_frame(frame, book, at=AT).to_dicts():
        wanted = scalar(book, row, options=options)
        found = row["minimum_e8"], row["expected_e8"], row["maximum_e8"]
        assert found == (wanted or (None, None, None)), row
        assert (row["not_priced"] is None) == (wanted is not None), row
        priced += wanted is not None
    return priced


def left_over(frame: pl.DataFrame, book: PriceBook, *, digit_by_digit: bool = False) -> int:
    """How many rows the expressions leave over: at first, or when they read digit by digit."""
    engine = Engine.at(book, AT, "preferred", None)
    jobs = canonical(frame.lazy(), frame.schema, "plan", further=further_options(book))
    jobs = jobs.with_columns(pl.lit(1, dtype=pl.Int64).alias(COUNT))
    priced = engine.amounts(jobs)(jobs).collect()
    left = priced.filter(pl.col(AMOUNTS[2]).is_null())
    return engine.exactly(left).null_count() if digit_by_digit else left.height


# --- Random rules --------------------------------------------------------------------------------

KINDS: Mapping[str, Any] = {
    "Float64": pl.Float64(),
    "Float32": pl.Float32(),
    "Int64": pl.Int64(),
    "Decimal 3": pl.Decimal(20, 3),
    "Decimal 20": pl.Decimal(38, 20),
}
EDGES = [Decimal(place) / 2 for place in range(-6, 26)]
HAIRS = [Decimal(0), *(Decimal(sign).scaleb(-places) for sign in (1, -1) for places in
                       (1, 3, 9, 10, 20))]  # fmt: skip
ODD_TEXTS = [
    *("", "007", "-0", "0.0", ".5", "5.", "1e3", "+5", " 5", "x", "NaN", "inf", "1_0", "true"),
    *("9" * 15, "9" * 16, "9" * 30, "0." + "0" * 20 + "1", "1." + "3" * 25, "-0.5"),
]
ODD_FLOATS = [0.1 + 0.2, 1e15, 1e16, 1e300, 1e-7, -0.0, float("nan"), float("inf"), -float("inf")]


@st.composite
def column(draw: st.DrawFn, name: str, height: int, *, whole: bool = False) -> pl.Series:
    """Numbers of any type, most of them sound; some are missing, some are none."""
    kind = draw(st.sampled_from(["String", "String", *KINDS]))
    sound: st.SearchStrategy[Any] = st.integers(0, 12).map(Decimal)
    if not whole:
        halves = st.sampled_from(EDGES).filter(lambda value: 0 < value < 12)
        sound = sound | st.decimals(0, 12, places=3) | halves
    places = int(kind.split()[1]) if kind.startswith("Decimal") else 20
    near = st.builds(Decimal.__add__, st.sampled_from(EDGES), st.sampled_from(HAIRS))
    wide = sound | near | st.integers(-25, 25).map(Decimal)
    odd: st.SearchStrategy[Any] = st.none()
    written: Any = lambda value: round(value, places)  # noqa: E731
    if kind == "String":
        written, odd = lambda value: f"{value:f}", odd | st.sampled_from(ODD_TEXTS)
    elif kind == "Int64":
        written, odd = int, odd | st.sampled_from([2**53 + 1, 2**63 - 1])
    elif kind.startswith("Float"):
        written, odd = float, odd | st.sampled_from(ODD_FLOATS)
    values = draw(st.sampled_from([sound.map(written)] * 2 + [wide.map(written)]))
    if not draw(st.integers(0, 3)):
        values = values | values | odd
    found = draw(st.lists(values, min_size=height, max_size=height))
    return pl.Series(name, found, dtype=KINDS.get(kind, pl.String()), strict=False)


def some(values: list[Any], height: int) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(values), min_size=height, max_size=height)


@st.composite
def plans_of_options(draw: st.DrawFn) -> pl.DataFrame:
    """Jobs of the model `clip` with its parameters; now and then with less or more."""
    height = draw(st.integers(5, 20))
    columns = [pl.Series("model", draw(some(["clip"] * 19 + ["gone"], height)))]
    kept = [name for name in ("x", "y", "n") if draw(st.integers(0, 19))]
    columns += [draw(column(name, height, whole=name == "n")) for name in kept]
    choices: dict[str, list[Any]] = {
        "level": ["5", "10", "15", "7", None],
        "sound": ["on", "off", "5", None],
        "flag": ["true", "false", "maybe", None],
    }
    for name, values in choices.items():
        # Most plans have few values, so that more rows are sound.
        right = some(values[:2], height)
        chosen = draw(st.just(values[:1] * height) | right | right | some(values, height))
        columns.append(pl.Series(name, chosen, dtype=pl.String))
    if not draw(st.integers(0, 19)):
        columns.append(draw(column("seconds", height)))
    return pl.DataFrame(columns)


OPTIONS = ("x", "y", "n", "level", "flag")


@settings(LAW, max_examples=120)
@given(said=models(), plan=plans_of_options())
def test_random_rules_cost_the_same_by_column(said: Json, plan: pl.DataFrame) -> None:
    try:
        book = published({**said, "operation": "image_generation"})
    except InvalidPriceFile:
        assume(False)
    assert_same(plan, book, options=OPTIONS)


def renamed(tree: Any, names: Mapping[str, str]) -> Any:
    """The same tree of other variables."""
    if isinstance(tree, list):
        return [renamed(item, names) for item in tree]
    if not isinstance(tree, dict):
        return tree
    if tree.get("op") == "variable":
        return variable(names[tree["name"]])
    return {key: renamed(value, names) for key, value in tree.items()}


@st.composite
def models_of_lengths(draw: st.DrawFn) -> Json:
    """Models whose charge depends on lengths: of an own body or of none, measured or asked for."""
    length = draw(st.sampled_from(["output_seconds", "input_seconds", "duration_seconds"]))
    names = {"x": length, "y": draw(st.sampled_from(["input_seconds", length])), "n": length,
             "level": "quality", "sound": "sound", "flag": "sound"}  # fmt: skip
    tree = renamed(draw(numbers(2)), names)
    if draw(st.booleans()):
        tree = apply("max", tree, constant("0.25"))
    part = component(
        tree,
        uc=draw(st.sampled_from(["1", "2.5", "100", "81648"])),
        minimum=draw(st.sampled_from(["0", "500"])),
        point=draw(st.sampled_from(["per_component_subtotal", "per_quantity", "per_tier"])),
        mode=draw(st.sampled_from(["half_up", "ceil", "floor"])),
    )
    if draw(st.booleans()):
        when = apply("gt", variable(length), constant("5.5"))
        part["tiers"] = [tier(when, "2", str(Decimal(part["rate"]["uc"]) * 2))]
    bounds = draw(
        st.sampled_from(
            [{}, {"minimum": "0"}, {"minimum": "2.5", "maximum": "12"}, {"maximum": "9"}]
        )
    )
    parameters = []
    for name in sorted({length, names["y"]}):
        if draw(st.integers(0, 5)):
            kind = draw(st.sampled_from(["decimal", "decimal", "integer"]))
            limits = {key: str(int(Decimal(end))) if kind == "integer" else end
                      for key, end in bounds.items()}  # fmt: skip
            parameters.append(number_parameter(name, kind, **limits))
        else:
            parameters.append(choice_parameter(name, "5", "10", "10.5", "2"))
    parameters += [choice_parameter("quality", "5", "10", "15", default="5"),
                   choice_parameter("sound", "on", "off", "5", default="off")]  # fmt: skip
    return model(
        part,
        parameters=parameters,
        operation=draw(
            st.sampled_from(["video_edit", "text_to_video", "motion_control", "dubbing"])
        ),
        settlement_basis=draw(
            st.sampled_from(["request_only", "request_then_actual", "actual_usage"])
        ),
    )


@st.composite
def plans_of_lengths(draw: st.DrawFn) -> pl.DataFrame:
    height = draw(st.integers(5, 20))
    columns = [pl.Series("model", ["clip"] * height)]
    if draw(st.booleans()):
        columns.append(pl.Series("quality", draw(some(["5", "10", "15", None], height))))
    if draw(st.integers(0, 3)):
        columns.append(pl.Series("orientation", draw(some(["video"] * 5 + [None], height))))
    if draw(st.integers(0, 9)):
        columns.append(draw(column("seconds", height)))
    kept = [name for name in ("input_seconds", "output_seconds") if not draw(st.integers(0, 4))]
    columns += [draw(column(name, height)) for name in kept]
    return pl.DataFrame(columns)


@settings(LAW, max_examples=120)
@given(said=models_of_lengths(), plan=plans_of_lengths())
def test_random_rules_of_lengths_cost_the_same_by_column(said: Json, plan: pl.DataFrame) -> None:
    try:
        book = published(said)
    except InvalidPriceFile:
        assume(False)
    further = further_options(book)
    assert_same(plan, book, options=tuple(name for name in plan.columns if name in further))


# --- Expressions ---------------------------------------------------------------------------------

PLACES = 1000
ENDS = {"x": (-20 * PLACES, 20 * PLACES), "y": (0, 20 * PLACES), "n": (-3, 12)}


@settings(LAW, max_examples=200)
@given(tree=numbers(), dice=st.randoms(use_true_random=False), width=st.sampled_from([64, 128]))
def test_an_expression_as_a_column_has_the_values_of_its_function(
    tree: Json, dice: random.Random, width: Width
) -> None:
    problems: list[str] = []
    scope = Scope(DECLARED, report=lambda _, problem: problems.append(problem))
    found = parse(tree, scope=scope)
    assume(not problems)
    known: list[dict[str, Value]] = [
        {"level": dice.choice(["5", "10"]), "sound": dice.choice(["on", "5"]), "flag": True}
        for _ in range(3)
    ]
    rows: list[dict[str, int]] = []
    for _ in range(60):
        row = {name: dice.randint(*ENDS[name]) for name in ENDS}
        rows.append(row | {"code": dice.randrange(3)})
    for row in rows[:30]:  # whole and half numbers are where rounding turns
        row |= {name: row[name] // 500 * 500 for name in "xy"}
    frame = pl.DataFrame(rows, schema=dict.fromkeys(["code", *ENDS], pl.Int64))
    try:
        column, group = as_column(found, known, width)
    except (NoForm, TooLarge):
        assume(False)
    numerators, valid = (frame.select(expr.alias("it"))["it"].to_list() for expr in column[:2])
    for row, numerator, is_valid in zip(rows, broadcast(numerators), broadcast(valid), strict=True):
        if row["code"] not in group:
            continue
        values = {"x": (row["x"], PLACES), "y": (row["y"], PLACES), "n": (row["n"], 1)}
        wanted = result(found, known[row["code"]] | values)
        assert (Fraction(numerator, column[2]) if is_valid else None) == wanted, row


def broadcast(values: list[Any]) -> list[Any]:
    return values * 60 if len(values) == 1 else values


def as_column(
    tree: Expression, known: list[dict[str, Value]], width: Width
) -> tuple[tuple[pl.Expr, pl.Expr, int], list[int]]:
    """Numerators, where they are valid, and their denominator, for those of one skeleton."""
    intervals = {name: ((low, 1), (high, 1)) for name, (low, high) in
                 {"x": (-20, 20), "y": (0, 20), "n": (-3, 12)}.items()}  # fmt: skip
    columns = {name: Variable(name, "number") for name in ENDS}
    forms = [Normalizer(each, columns, {}, intervals).normal(tree) for each in known]
    group = [place for place, form in enumerate(forms) if skeleton(form) == skeleton(forms[0])]

    def column(values: Sequence[Any], kind: Any) -> pl.Expr:
        whole = [values[group.index(place)] if place in group else values[0] for place in range(3)]
        return pl.lit(pl.Series(whole, dtype=kind)).gather(pl.col("code"))

    arithmetic = Arithmetic(width, column)
    read = {
        name: arithmetic.read(pl.col(name), 1 if name == "n" else PLACES, *ENDS[name])
        for name in ENDS
    }
    number = Reader(arithmetic, read).number([forms[place] for place in group])
    valid = pl.lit(value=True) if number.valid is None else number.valid
    return (arithmetic.column(number), valid, number.per), group


ENTRY = lookup(variable("n"), **{"2": "5"})
ABOVE = apply("gt", variable("x"), constant("0"))
LATER = apply("gt", ENTRY, constant("1"))
ALWAYS = apply("gt", variable("x"), constant("-100"))  # within the bounds of x


# x is 4 or -4, n is 2, which has an entry, or 3, which has none.
@pytest.mark.parametrize(
    ("tree", "values"),
    [
        # x, n:                                              4, 2   4, 3   -4, 2  -4, 3
        (apply("if", ABOVE, constant("7"), ENTRY), [7, 7, 5, None]),
        (apply("if", ABOVE, ENTRY, constant("7")), [5, None, 7, 7]),
        (apply("if", apply("or", ABOVE, LATER), constant("1"), constant("2")), [1, 1, 1, None]),
        (apply("if", apply("or", LATER, ABOVE), constant("1"), constant("2")), [1, None, 1, None]),
        (apply("if", apply("and", ABOVE, LATER), constant("1"), constant("2")), [1, None, 2, 2]),
        (apply("if", apply("or", ALWAYS, LATER), constant("1"), constant("2")), [1, 1, 1, 1]),
        (
            apply("if", apply("and", apply("not", ALWAYS), LATER), constant("1"), constant("2")),
            [2, 2, 2, 2],
        ),
        (
            apply("if", apply("if", ABOVE, LATER, apply("not", ABOVE)), ENTRY, constant("2")),
            [5, None, 5, None],
        ),
        (apply("multiply", ENTRY, constant("0")), [0, None, 0, None]),
        (apply("min", ENTRY, constant("-1")), [-1, None, -1, None]),
        (apply("clamp", constant("1"), variable("x"), constant("3")), [None, None, 1, 1]),
        (apply("clamp", constant("-5"), variable("x"), constant("3")), [None, None, -4, -4]),
        (lookup(apply("if", ABOVE, constant("a"), constant("b")), a="1"), [1, 1, None, None]),
        # An answer that is the same for all entries is none where there is no entry.
        (apply("if", apply("gt", ENTRY, constant("0")), constant("1"), constant("2")),
         [1, None, 1, None]),
        (lookup(ABOVE, true="1", false="0.5"), [1, 1, Fraction(1, 2), Fraction(1, 2)]),
        # Not every text of a number is its shortest decimal.
        (lookup(variable("n"), **{"2.0": "9", "3": "1"}), [None, 1, None, 1]),
        (apply("ceil", apply("divide", variable("x"), constant("3"))), [2, 2, -1, -1]),
        (apply("floor", apply("divide", variable("x"), constant("-3"))), [-2, -2, 1, 1]),
        (apply("min", variable("x"), constant("4")), [4, 4, -4, -4]),
        (apply("max", constant("-4"), variable("x")), [4, 4, -4, -4]),
        (apply("if", apply("eq", variable("n"), constant("2.0")), constant("1"), constant("0")),
         [1, 0, 1, 0]),
        (apply("if", apply("neq", variable("n"), constant("two")), constant("1"), constant("0")),
         [1, 1, 1, 1]),
    ],
)  # fmt: skip
def test_a_part_that_has_no_value_matters_only_where_it_is_asked(
    tree: Json, values: list[Any]
) -> None:
    found = parse(tree, scope=Scope(DECLARED))
    rows = [{"x": x * PLACES, "y": 0, "n": n, "code": 0} for x in (4, -4) for n in (2, 3)]
    column, _ = as_column(found, [{}] * 3, 64)
    frame = pl.DataFrame(rows).with_columns(column[0].alias("it"), column[1].alias("valid"))
    assert [
        Fraction(numerator, column[2]) if is_valid else None
        for numerator, is_valid in frame.select("it", "valid").iter_rows()
    ] == values


# --- What is settled by column -------------------------------------------------------------------

LENGTH = [number_parameter("output_seconds", minimum="0", default="0")]
MEASURED: Json = {"parameters": LENGTH, "operation": "video_edit",
                  "settlement_basis": "request_then_actual"}  # fmt: skip


CLIP = apply("max", OUTPUT, constant("0"))
CLIPPED: Json = {**MEASURED, "parameters": [
    number_parameter("output_seconds", minimum="2.5", maximum="20", default="5")
]}  # fmt: skip


def picture(quantity: Json, *parameters: Json, **said: Any) -> Json:
    """A model without a request body of its own."""
    more = {"parameters": list(parameters), "operation": "image_generation", **said}
    return model(component(quantity, uc="10000"), **more)


def steps(per_second: str) -> Json:
    """Seconds rounded up to a fraction of a second."""
    scaled = apply("ceil", apply("multiply", OUTPUT, constant(per_second)))
    return apply("divide", scaled, constant(per_second))


# 100 UC a second, at least 7 UC where that is said.
@pytest.mark.parametrize(
    ("part", "rows"),
    [
        # Up to a tenth: 5.01 s are 5.1 s.
        (component(steps("10")), {"5": 500, "5.01": 510, "0.001": 10, "5.1": 510}),
        # Up to a hundredth: 7.123 s are 7.13 s.
        (component(steps("100")), {"7.123": 713, "7.12": 712, "0.1": 10}),
        # The exact length; halves of a UC are rounded up.
        (component(OUTPUT), {"1.005": 101, "1.004999": 100, "1.015": 102, "0.004": 0}),
        (component(OUTPUT, mode="floor"), {"1.009": 100, "1.01": 101}),
        (component(OUTPUT, mode="ceil"), {"1.000001": 101, "1": 100}),
        (component(OUTPUT, minimum="7"), {"0.01": 7, "0.07": 7, "0.08": 8}),
        # To the nearest: half a second counts as a whole one.
        (component(nearest_second(OUTPUT)), {"2.499999999": 200, "2.5": 300, "2.51": 300}),
        # Quantity rounded, then times the rate: 2.4 is 2, 2.5 is 3.
        (component(OUTPUT, point="per_quantity"), {"2.4": 200, "2.5": 300}),
        # Twice as much from 5 s on.
        (
            component(OUTPUT, tiers=[tier(apply("gte", OUTPUT, constant("5")), "2", "200")]),
            {"4.99": 499, "5": 1000, "5.01": 1002},
        ),
        # A longest clip of 20 s and a shortest of 2.5 s, with a tier.
        (
            component(CLIP, tiers=[tier(apply("gte", CLIP, constant("5")), "2", "200")]),
            {"2.4": 250, "2.5": 250, "3": 300, "20": 4000, "20.01": 4000, "300": 4000},
        ),
        # Two thirds of a second, and a difference that is cut at 1: max(10 - s, 1).
        (component(apply("divide", OUTPUT, constant("1.5"))), {"1": 67, "3": 200}),
        (
            component(apply("max", apply("subtract", constant("10"), OUTPUT), constant("1"))),
            {"2.5": 750, "9": 100, "9.5": 100, "300": 100},
        ),
    ],
)
def test_a_formula_of_a_length_is_computed_by_column(part: Json, rows: dict[str, int]) -> None:
    book = published(model(part, **(CLIPPED if part["quantity_rule"] == CLIP else MEASURED)))
    plan = pl.DataFrame({"model": "clip", "seconds": list(rows)})
    assert price_frame(plan, book, at=AT)["maximum_e8"].to_list() == [
        uc * UC for uc in rows.values()
    ]
    assert left_over(plan, book) == 0
    floats = plan.with_columns(pl.col("seconds").cast(pl.Float64))
    assert left_over(floats, book) == 0
    assert assert_same(floats, book) == assert_same(plan, book) == len(rows)


def test_a_length_that_a_float_cannot_hold_is_computed_digit_by_digit() -> None:
    book = published(model(component(steps("100")), **MEASURED))
    # A hair above 5.01 s is 5.02 s; 0.1 + 0.2 is a hair above 0.3 s.
    texts = pl.DataFrame({"model": "clip", "seconds": ["5.01000000000000000001", "5.010"]})
    floats = pl.DataFrame({"model": "clip", "seconds": [0.1 + 0.2, 0.3]})
    assert price_frame(texts, book, at=AT)["maximum_e8"].to_list() == [502 * UC, 501 * UC]
    assert price_frame(floats, book, at=AT)["maximum_e8"].to_list() == [31 * UC, 30 * UC]
    for plan in (texts, floats):
        assert (left_over(plan, book), left_over(plan, book, digit_by_digit=True)) == (1, 0)


@pytest.mark.parametrize(
    ("quantity", "rows"),
    [
        (variable("x"), {"3": 3, "0.5": None, "0": 0}),  # half a unit has no whole charge
        (apply("floor", variable("x")), {"2.999": 2, "-0.5": None}),
        # Division by a number of the row, and what may be so large that it is left alone.
        (apply("ceil", apply("divide", constant("7"), variable("x"))), {"2": 4, "0": None}),
        (apply("multiply", *[variable("x")] * 9), {"1": 1, "2": 512, "11": 2_357_947_691}),
    ],
)
def test_what_has_no_form_or_no_price_is_left_to_the_scalar_function(
    quantity: Json, rows: dict[str, int | None]
) -> None:
    part = component(quantity, uc="1", point="per_tier")
    book = published(model(part, parameters=[number_parameter("x")], operation="dubbing"))
    plan = pl.DataFrame({"model": "clip", "x": list(rows)})
    assert price_frame(plan, book, at=AT)["maximum_e8"].to_list() == [
        None if uc is None else uc * UC for uc in rows.values()
    ]
    assert_same(plan, book, options=("x",))


@pytest.mark.parametrize("kind", [pl.String(), pl.Decimal(20, 8)], ids=str)
def test_digits_past_a_float_count_in_a_number_of_the_row(kind: pl.DataType) -> None:
    # Up to the next UC: the last digit is a hair above 134,217,729 x 33,333 UC.
    part = component(variable("x"), uc="33333", mode="ceil")
    book = published(model(part, parameters=[number_parameter("x")], operation="dubbing"))
    number = pl.Series("x", ["134217729.00000001", "134217729.00000000"]).cast(kind)
    priced = price_frame(pl.DataFrame([pl.Series("model", ["clip"] * 2), number]), book, at=AT)
    whole = 134_217_729 * 33_333
    assert priced["maximum_e8"].to_list() == [(whole + 1) * UC, whole * UC]


def test_two_tiers_at_once_are_no_price_by_column_either() -> None:
    tiers = [tier(apply("gt", OUTPUT, constant(at)), "2", "200") for at in ("3", "5")]
    book = published(model(component(OUTPUT, tiers=tiers), **MEASURED))
    plan = pl.DataFrame({"model": "clip", "seconds": ["3", "4", "6"]})
    priced = price_frame(plan, book, at=AT)
    assert priced["maximum_e8"].to_list() == [300 * UC, 800 * UC, None]
    assert "tiers 0 and 1 match at once" in priced["not_priced"][2]
    assert left_over(plan, book) == 1


def test_a_number_that_is_missing_is_needed_where_its_branch_is_not_taken() -> None:
    plain = apply("eq", variable("style"), constant("plain"))
    quantity = apply("if", plain, variable("x"), variable("y"))
    book = published(picture(quantity, STYLE, number_parameter("x"), number_parameter("y")))
    priced = price_frame(pl.DataFrame({"model": ["clip"], "x": [2]}), book, at=AT)
    assert priced["maximum_e8"].to_list() == [None]
    assert "y" in priced["not_priced"][0]


def test_a_length_may_stand_in_the_column_of_its_own_name() -> None:
    part = component(apply("multiply", OUTPUT, variable("x")))
    said: Json = {"parameters": [*LENGTH, number_parameter("x")], "operation": "dubbing"}
    book = published(model(part, settlement_basis="request_then_actual", **said))
    plan = pl.DataFrame({"model": "clip", "x": 2, "output_seconds": ["5", "5", "", ""],
                         "seconds": ["", "6", "6", ""]})  # fmt: skip
    priced = price_frame(plan, book, at=AT)
    assert priced["maximum_e8"].to_list() == [1000 * UC, None, 1200 * UC, None]
    assert "say two lengths" in priced["not_priced"][1]


def test_combinations_that_differ_in_numbers_alone_are_computed_together() -> None:
    table = lookup(variable("quality"), **{"720p": "1", "1080p": "1.334", "4k": "0.3333"})
    quality = choice_parameter("quality", "720p", "1080p", "4k", default="720p")
    part = component(apply("multiply", steps("10"), table), uc="81648", minimum="244944")
    book = published(model(part, **{**MEASURED, "parameters": [*LENGTH, quality]}))
    qualities = ["720p", "1080p", "4k", None] * 50
    seconds = [f"{place / 8:.3f}" for place in range(1, 201)]
    plan = pl.DataFrame({"model": "clip", "quality": qualities, "seconds": seconds})
    assert left_over(plan, book) == 0
    assert assert_same(plan, book) == 200


@pytest.mark.parametrize("name", ["evolink", "evolink-rules", "evolink-panel"])
def test_exact_lengths_of_bundled_prices_are_computed_by_column(name: str) -> None:
    book = PriceBook.bundled(name)
    models_ = [each for each in book.models if "video-edit" in each]
    plan = pl.DataFrame({"model": models_}).join(
        pl.DataFrame({"seconds": ["3", "3.01", "7.123", "12.345678", "14.999999999"]}), how="cross"
    )
    assert left_over(plan, book) == 0
    assert assert_same(plan, book) == plan.height


def test_a_charge_that_does_not_fit_a_ledger_has_no_price_by_column_either() -> None:
    book = published(picture(variable("x"), number_parameter("x")))
    # 2^63 - 1 units are 922,337,203,685,477 UC, and a job of x costs 10,000 x UC.
    plan = pl.DataFrame({"model": "clip", "x": [92_233_720_368, 92_233_720_369]})
    priced = price_frame(plan, book, at=AT)
    assert priced["maximum_e8"].to_list() == [92_233_720_368 * 10_000 * UC, None]
    assert "does not fit a ledger" in priced["not_priced"][1]


SAMPLE_LENGTHS = ["0.01", "2", "4.25", "5", "5.49", "5.5", "7", "9.999", "10", "14.91", "31", None]


def test_the_models_of_the_sample_cost_the_same_by_column() -> None:
    book = PublishedRules(sample_text(), "sample", source="sample")
    plan = pl.DataFrame({"model": book.models})
    options: dict[str, list[Any]] = {
        "quality": ["720p", "1080p", "2K", None],
        "sound": ["on", None],
        "orientation": ["video", None],
        "seconds": SAMPLE_LENGTHS,
    }
    for name, values in options.items():
        plan = plan.join(pl.DataFrame({name: pl.Series(values, dtype=pl.String)}), how="cross")
    assert assert_same(plan, book) > 500


def test_a_text_model_of_the_sample_is_computed_by_column() -> None:
    book = PublishedRules(sample_text(), "sample", source="sample")
    tokens = ["cache_read_tokens", "cache_write_tokens", "input_tokens", "output_tokens"]
    dice = random.Random(4)
    plan = pl.DataFrame({
        "model": ["gpt-5.6-luna"] * 300,
        **{name: [dice.choice([0, 999, dice.randrange(600_000)]) for _ in range(300)]
           for name in (*tokens, "prompt_tokens")},
    })  # fmt: skip
    # From 272,001 tokens on another tier holds: 300 x 246, 1 x 1,102.5 up, and twice 100 UC.
    one = pl.DataFrame({"model": "gpt-5.6-luna", "cache_read_tokens": [0], "cache_write_tokens": 0,
                        "input_tokens": 300_000, "output_tokens": 1_000,
                        "prompt_tokens": 300_000})  # fmt: skip
    assert price_frame(one, book, at=AT)["maximum_e8"].to_list() == [75_103 * UC]
    assert left_over(plan, book) == 0
    assert assert_same(plan, book, options=(*tokens, "prompt_tokens")) == 300


# --- Columns of further options ------------------------------------------------------------------

COUNT_OF_IMAGES = number_parameter("image_count", "integer", minimum="1", maximum="10", default="1")
STYLE = choice_parameter("style", "plain", "oil", default="plain")


@pytest.fixture(scope="module")
def pictures() -> PublishedRules:
    """Pictures at 1 credit each, 3 in oil; and motion control."""
    price = lookup(variable("style"), plain="1", oil="3")
    quantity = apply("multiply", variable("image_count"), price)
    return published(picture(quantity, COUNT_OF_IMAGES, STYLE), motion_control())


CREDIT_E8 = 10**8


@pytest.mark.parametrize(
    ("columns", "credits"),
    [
        ({"image_count": ["2", "10", "", None]}, [2, 10, 1, 1]),
        ({"n": [2, 10, None, 1]}, [2, 10, 1, 1]),
        ({"n": [2.0, 10.0, None, 1.0]}, [2, 10, 1, 1]),
        ({"n": ["2.0", "1", "", "3"], "style": ["oil", "plain", "", None]}, [6, 1, 1, 3]),
        ({" image_count ": ["2", "1", "1", "1"]}, [2, 1, 1, 1]),
        ({"image_count": ["2", "3", "", ""], "n": ["2", "", "4", ""]}, [2, 3, 4, 1]),
        # `count` is the number of jobs, and the amounts are for one of them.
        ({"image_count": ["2", "1", "1", "1"], "count": ["5", "5", "5", "5"]}, [2, 1, 1, 1]),
        ({"style": pl.Series(["oil", None, "oil", ""], dtype=pl.Categorical)}, [3, 1, 3, 1]),
    ],
)
def test_a_column_with_the_name_of_an_option_is_that_option(
    pictures: PublishedRules, columns: dict[str, Any], credits: list[int]
) -> None:
    plan = pl.DataFrame({"model": "clip", **columns})
    priced = price_frame(plan, pictures, at=AT)
    assert priced["maximum_e8"].to_list() == [each * CREDIT_E8 for each in credits]
    assert priced["not_priced"].null_count() == 4


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"image_count": "11"}, "clip: image_count must be an integer from 1 to 10, not '11'"),
        ({"image_count": "2.5"}, "clip: image_count must be an integer from 1 to 10, not '2.5'"),
        ({"image_count": "two"}, "clip: image_count must be an integer from 1 to 10, not 'two'"),
        ({"image_count": "1e1"}, "clip: image_count must be an integer from 1 to 10, not '1e1'"),
        ({"n": "0"}, "clip: image_count must be an integer from 1 to 10, not '0' (column n)"),
        ({"style": "Oil"}, "clip: style must be one of plain, oil, not 'Oil'"),
        ({"image_count": "2", "n": "3"}, "image_count, n: say two values of image_count"),
        (
            {"model": "motion-control", "image_count": "1"},
            "image_count: is not an option of this model",
        ),
        ({"model": "motion-control", "style": "oil"}, "style: is not an option of this model"),
    ],
)
def test_an_option_that_cannot_be_is_a_row_without_a_price(
    pictures: PublishedRules, row: dict[str, str], reason: str
) -> None:
    usual = {"model": "clip", "orientation": "video", "seconds": "10"}
    if row.get("model") is None:
        usual = {"model": "clip"}
    plan = pl.DataFrame([usual | row])
    assert price_frame(plan, pictures, at=AT)["not_priced"].to_list() == [reason]


@pytest.mark.parametrize(
    "column",
    [
        pl.Series("size", [5, 10], dtype=pl.UInt8),
        pl.Series("size", [5.0, 10.0]),
        pl.Series("size", [Decimal("5.00"), Decimal("10.00")]),
        pl.Series("size", ["5", "10"], dtype=pl.Enum(["5", "10"])),
    ],
    ids=lambda column: str(column.dtype),
)
def test_a_choice_of_numbers_may_be_a_column_of_numbers(column: pl.Series) -> None:
    size = choice_parameter("size", "5", "10")
    book = published(picture(lookup(variable("size"), **{"5": "1", "10": "4"}), size))
    plan = pl.DataFrame([pl.Series("model", ["clip", "clip"]), column])
    assert price_frame(plan, book, at=AT)["maximum_e8"].to_list() == [CREDIT_E8, 4 * CREDIT_E8]


def test_another_word_for_a_known_column_is_still_a_slip() -> None:
    tier_ = choice_parameter("resolution", "1K", "2K")
    book = published(picture(lookup(variable("resolution"), **{"1K": "1", "2K": "4"}), tier_))
    plan = pl.DataFrame({"model": ["clip"], "quality": ["2K"]})
    assert price_frame(plan, book, at=AT)["maximum_e8"].to_list() == [4 * CREDIT_E8]
    with pytest.raises(InvalidPlan, match=r"resolution: .*; did you mean quality"):
        price_frame(plan.rename({"quality": "resolution"}), book, at=AT)


def test_rows_of_other_models_do_not_mind_an_option_that_is_empty(
    pictures: PublishedRules,
) -> None:
    plan = pl.DataFrame({"model": ["clip", "motion-control"], "orientation": [None, "video"],
                         "seconds": [None, "10"], "image_count": ["2", ""]})  # fmt: skip
    priced = price_frame(plan, pictures, at=AT)
    assert priced["maximum_e8"].to_list() == [2 * CREDIT_E8, 816_480 * UC]


PLAN = "model,image_count,style,team\nclip,2,oil,ads\nclip,,,ads\nclip,3,,film\nclip,12,,film\n"


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_file_has_such_columns_too(pictures: PublishedRules, tmp_path: Path, form: str) -> None:
    path = tmp_path / f"plan.{form}"
    frame = pl.read_csv(PLAN.encode(), infer_schema=False)
    if form == "csv":
        path.write_text(PLAN)
    elif form == "parquet":
        frame.write_parquet(path)
    else:
        path.write_text("\n".join(
            json.dumps({**row, "image_count": int(row["image_count"])} if row["image_count"] else
                       {"model": row["model"], "team": row["team"]}) for row in frame.to_dicts()
        ))  # fmt: skip
    result = estimate(path, pictures, by=["team"], at=AT)
    # ads: 2 x 3 and 1; film: 3, and one row without a price.
    assert [(group.key, group.maximum_e8, group.not_priced_jobs) for group in result.groups] == [
        (("ads",), 7 * CREDIT_E8, 0),
        (("film",), 3 * CREDIT_E8, 1),
    ]
    [row] = result.not_priced
    assert row.row == 4
    assert "image_count must be an integer from 1 to 10" in row.reason
    assert result.notes == (
        "1 row: no image_count given: the provider takes 1",
        "2 rows: no style given: the provider takes plain",
    )


def test_a_plan_can_be_grouped_by_an_option(pictures: PublishedRules) -> None:
    plan = pl.DataFrame({"model": "clip", "image_count": [2, 3, 2], "style": ["oil", "", "oil"]})
    groups = estimate(plan, pictures, by=["style", "image_count"], at=AT).groups
    assert [(group.key, group.maximum_e8) for group in groups] == [
        (("oil", "2"), 12 * CREDIT_E8),
        ((None, "3"), 3 * CREDIT_E8),
    ]


def test_under_a_book_without_such_models_the_column_is_a_label() -> None:
    plan = pl.DataFrame({"model": ["custom-element"], "image_count": ["two"]})
    result = estimate(plan, PriceBook.bundled(), by=["image_count"], at=AT)
    assert [(group.key, group.jobs) for group in result.groups] == [(("two",), 1)]


def test_a_number_of_json_counts_however_it_is_written(
    pictures: PublishedRules, tmp_path: Path
) -> None:
    path = tmp_path / "plan.jsonl"
    path.write_text('{"model": "clip", "image_count": 1e1}\n{"model": "clip", "style": "oil"}\n')
    assert estimate(path, pictures, at=AT).total.maximum_e8 == 13 * CREDIT_E8


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"model": "clip", "labels": {"style": "oil"}}', r"line 1: labels\.style: is the name"),
        ('{"model": "clip", "image_conut": 2}', r"image_conut: .*; did you mean image_count\?"),
        ('{"model": "clip", "image_count": [2]}', "line 1: image_count: must be text or a number"),
    ],
)
def test_a_slip_in_the_name_of_an_option_is_refused(
    pictures: PublishedRules, tmp_path: Path, text: str, problem: str
) -> None:
    path = tmp_path / "plan.jsonl"
    path.write_text(text)
    with pytest.raises(InvalidPlan, match=problem):
        estimate(path, pictures, at=AT)


def test_measured_usage_that_is_missing_is_a_row_without_a_price() -> None:
    tokens = number_parameter("output_tokens", "integer", default="0")
    book = published(picture(variable("output_tokens"), tokens, settlement_basis="actual_usage"))
    plan = pl.DataFrame({"model": "clip", "output_tokens": [7, None]})
    priced = price_frame(plan, book, at=AT)
    assert priced["maximum_e8"].to_list() == [7 * CREDIT_E8, None]
    assert "output_tokens" in priced["not_priced"][1]


def test_a_length_and_a_number_of_pictures_are_multiplied_row_by_row() -> None:
    # A length that nobody gave is the default of 5 s, which every row takes.
    asked = number_parameter("duration_seconds", "integer", minimum="3", maximum="15", default="5")
    book = published(picture(apply("multiply", ASKED, variable("video_count")), asked,
                             number_parameter("video_count", "integer"),
                             operation="dubbing"))  # fmt: skip
    plan = pl.DataFrame({"model": "clip", "seconds": ["4", None, "16", "7"], "n": [2, 3, 1, 1]})
    priced = price_frame(plan, book, at=AT)
    assert priced["maximum_e8"].to_list() == [8 * CREDIT_E8, 15 * CREDIT_E8, None, 7 * CREDIT_E8]
    assert left_over(plan, book) == 1


def test_an_unknown_length_is_a_range_for_each_number_of_pictures() -> None:
    length = number_parameter("output_seconds", minimum="2", maximum="12")
    book = published(picture(apply("multiply", OUTPUT, variable("x")), length,
                             number_parameter("x"), operation="dubbing",
                             settlement_basis="request_then_actual"))  # fmt: skip
    plan = pl.DataFrame({"model": "clip", "seconds": [None, "5.5"], "x": ["2", "0.5"]})
    priced = price_frame(plan, book, at=AT)
    assert priced.select("minimum_e8", "maximum_e8").rows() == [
        (4 * CREDIT_E8, 24 * CREDIT_E8),
        (275_000_000, 275_000_000),
    ]


def test_clips_that_are_billed_in_part_are_counted_by_a_note() -> None:
    length = [number_parameter("output_seconds", minimum="0", maximum="20", default="0")]
    book = published(model(component(steps("10")), **{**MEASURED, "parameters": length}))
    # The third is read digit by digit.
    texts = ["20", "20.01", "25.00000000000000000001", "19"]
    result = estimate(pl.DataFrame({"model": "clip", "seconds": texts}), book, at=AT)
    assert result.total.maximum_e8 == (2000 + 2000 + 2000 + 1900) * UC
    assert result.notes == (
        "2 rows: longer than the longest clip: billed up to it, and the provider may refuse them",
    )


def test_numbers_do_not_make_combinations() -> None:
    book = published(picture(variable("x"), number_parameter("x")))
    plan = pl.DataFrame({"model": "clip", "x": pl.int_range(150_000, eager=True)})
    # 0 + 1 + ... + 149,999 = 11,249,925,000 credits
    assert estimate(plan, book, at=AT).total.maximum_e8 == 11_249_925_000 * CREDIT_E8

"""The provider's pricing document: checked in every part, and priced digit for digit."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from rule_documents import (
    QUALITY,
    Json,
    X,
    apply,
    choice_parameter,
    component,
    constant,
    document,
    heading,
    load,
    lookup,
    model,
    money,
    motion_control,
    number_parameter,
    rule,
    sample_text,
    tier,
    variable,
)

from ledger.errors import AmountTooLarge, InvalidPriceFile, NeedsInput, RuleFailed
from ledger.evolink.expressions import (
    Apply,
    Constant,
    Declared,
    Scope,
    Value,
    Variable,
    parse,
    simplified,
)
from ledger.evolink.rules import Bill, Range, Rules

MOTION = "kling-v3-motion-control"
MOST_UC = (2**63 - 1) // 10_000
"""The most UC that fit a ledger column of 10^-8 credit."""


# --- Worked values -------------------------------------------------------------------------------

WORKED = [
    # Seconds to the nearest; 1080p costs 1.334 times as much; at least three seconds of 720p.
    ("720p", "2", 244_944),  # 2 × 81,648 = 163,296, below the smallest charge
    ("1080p", "2", 244_944),  # 2 × 81,648 × 1.334 = 217,836.864, below it as well
    ("720p", "3", 244_944),  # 3 × 81,648: the smallest charge itself
    ("720p", "5.49", 408_240),  # 5 × 81,648
    ("720p", "5.5", 489_888),  # 6 × 81,648
    ("1080p", "10", 1_089_184),  # 10 × 81,648 × 1.334 = 1,089,184.32
    ("1080p", "30", 3_267_553),  # 30 × 81,648 × 1.334 = 3,267,552.96
    ("720p", "0.4", 244_944),  # 0 seconds
]


@pytest.mark.parametrize(("quality", "seconds", "uc"), WORKED)
def test_motion_control_costs_what_the_published_rule_says(
    quality: str, seconds: str, uc: int
) -> None:
    price = load(motion_control()).models[MOTION].price
    bill = price({"quality": quality, "output_seconds": Decimal(seconds), "input_seconds": 0})
    assert bill.total_uc == uc
    # The reference clip counts where the length of the result is not known.
    known: dict[str, Any] = {
        "quality": quality,
        "output_seconds": 0,
        "input_seconds": seconds,
    }
    assert price(known).total_uc == uc


@pytest.mark.parametrize(("quality", "seconds", "uc"), WORKED)
def test_the_provider_s_own_document_says_the_same(quality: str, seconds: str, uc: int) -> None:
    found = Rules.parse(sample_text()).models[MOTION]
    values: dict[str, Any] = {
        "quality": quality,
        "output_seconds": Decimal(seconds),
        "input_seconds": 0,
    }
    assert found.price(values).total_uc == uc


def test_a_bill_shows_its_arithmetic() -> None:
    found = load(motion_control()).models[MOTION]
    values: dict[str, Any] = {"quality": "1080p", "output_seconds": "1.5", "input_seconds": 0}
    bill = found.price(values)
    (line,) = bill.lines
    assert line.component is found.components[0]
    assert line.quantity == (667, 250)  # 2 × 1.334 = 2.668
    assert (line.rate_uc, line.multiplier, line.tier) == (Decimal(81648), Decimal(1), None)
    assert line.subtotal_uc == 217_837  # 217,836.864 to the nearest
    assert (line.charge_uc, line.is_minimum) == (244_944, True)
    assert bill == Bill((line,), 244_944)


def test_a_charge_equal_to_the_smallest_one_is_not_lifted_to_it() -> None:
    (line,) = rule(component(constant("3"), uc="100", minimum="300")).price({}).lines
    assert (line.charge_uc, line.is_minimum) == (300, False)


# Quantity 2.5 units at 3 UC; in a tier with multiplier 1.5, 4.5 UC.
ROUNDED = [
    # What is rounded, how, UC without the tier, UC in the tier (None: no whole number of UC).
    ("per_component_subtotal", "half_up", 8, 11),  # 7.5; 11.25
    ("per_component_subtotal", "ceil", 8, 12),
    ("per_component_subtotal", "floor", 7, 11),
    ("per_quantity", "half_up", 9, 12),  # 2.5 → 3 × 3; 3.75 → 4 × 3
    ("per_quantity", "ceil", 9, 12),
    ("per_quantity", "floor", 6, 9),
    ("per_tier", "half_up", None, None),  # 2.5 × 3 = 7.5; 2.5 × 5 = 12.5
    ("per_tier", "ceil", None, None),
    ("per_tier", "floor", None, 10),  # 2.5 × 4
]


@pytest.mark.parametrize(("point", "mode", "without", "inside"), ROUNDED)
def test_every_rounding_point_and_mode(
    point: str, mode: str, without: int | None, inside: int | None
) -> None:
    large = tier(apply("gt", variable("x"), constant("0")), "1.5", "4.5")
    found = rule(
        component(constant("2.5"), uc="3", point=point, mode=mode, tiers=[large]), parameters=[X]
    )
    for x, uc in ((0, without), (1, inside)):
        if uc is None:
            with pytest.raises(RuleFailed, match=r"is not a whole number of UC"):
                found.price({"x": x})
        else:
            assert found.price({"x": x}).total_uc == uc


def test_a_smallest_charge_can_make_a_broken_amount_whole() -> None:
    third = apply("divide", constant("1"), variable("x"))
    found = rule(component(third, uc="1", minimum="5", point="per_tier"), parameters=[X])
    (line,) = found.price({"x": 3}).lines
    assert (line.quantity, line.subtotal_uc, line.charge_uc) == ((1, 3), Fraction(1, 3), 5)


def test_a_tier_replaces_rate_smallest_charge_and_status() -> None:
    many = apply("gte", variable("x"), constant("10"))
    huge = apply("gte", variable("x"), constant("100"))
    cheap = tier(apply("and", many, apply("not", huge)), "0.5", "50", minimum="600")
    gone = tier(huge, "2", "200", pricing_status="unavailable")
    found = rule(component(variable("x"), tiers=[cheap, gone]), parameters=[X])
    assert found.price({"x": 9}).total_uc == 900  # 9 × 100
    (line,) = found.price({"x": 11}).lines
    assert line.charge_uc == 600  # 11 × 50 = 550, at least 600
    assert (line.rate_uc, line.multiplier, line.tier) == (Decimal(50), Decimal("0.5"), 0)
    with pytest.raises(RuleFailed, match="unavailable"):
        found.price({"x": 100})


def test_two_tiers_at_once_are_an_error_and_never_the_first_one() -> None:
    one = tier(apply("gt", variable("x"), constant("1")), "2", "200")
    other = tier(apply("gt", variable("x"), constant("2")), "3", "300")
    found = rule(component(constant("1"), tiers=[one, other]), parameters=[X])
    assert found.price({"x": 2}).total_uc == 200
    with pytest.raises(RuleFailed, match="tiers 0 and 1 match at once") as caught:
        found.price({"x": 3})
    assert (caught.value.model, caught.value.component) == ("clip", "output")


def test_only_components_whose_condition_holds_are_charged() -> None:
    is_1k = apply("eq", variable("size"), constant("1K"))
    found = rule(
        component(constant("1"), id="small", uc="4500", condition=is_1k),
        component(constant("1"), id="large", uc="18000", condition=apply("not", is_1k)),
        parameters=[choice_parameter("size", "1K", "2K")],
    )
    assert [line.component.id for line in found.price({"size": "1K"}).lines] == ["small"]
    assert found.price({"size": "2K"}).total_uc == 18_000


# --- What is given -------------------------------------------------------------------------------


def test_a_missing_value_is_never_a_default_and_all_are_named() -> None:
    found = load(motion_control()).models[MOTION]
    with pytest.raises(NeedsInput) as caught:
        found.price({"quality": "720p"})
    assert caught.value.variables == ("input_seconds", "output_seconds")
    with pytest.raises(NeedsInput) as caught:
        found.span({"output_seconds": Range(Decimal(3), Decimal(5))})
    assert caught.value.variables == ("input_seconds", "quality")


def test_what_is_known_is_read_as_the_expressions_read_it() -> None:
    found = load(motion_control()).models[MOTION]
    given: dict[str, Any] = {"output_seconds": "9.20", "quality": "720p", "watermark": True}
    assert found.known(given) == {"output_seconds": (46, 5), "quality": "720p"}
    with pytest.raises(RuleFailed, match="quality must be one of 720p, 1080p, not '4k'"):
        found.known({"quality": "4k"})


def test_a_component_that_is_not_charged_needs_no_values() -> None:
    long = apply("gt", variable("x"), constant("10"))
    found = rule(
        component(constant("1"), id="base"),
        component(variable("y"), id="extra", condition=long),
        parameters=[X, number_parameter("y")],
    )
    assert found.price({"x": 10}).total_uc == 100
    with pytest.raises(NeedsInput) as caught:
        found.price({"x": 11})
    assert caught.value.variables == ("y",)
    with pytest.raises(NeedsInput) as caught:
        found.price({"y": 1})  # the condition itself
    assert caught.value.variables == ("x",)
    # It may be charged somewhere between 9 and 12.
    with pytest.raises(NeedsInput):
        found.span({"x": Range(Decimal(9), Decimal(12))})
    assert found.span({"x": Range(Decimal(9), Decimal(10))}) == (100, 100)


REFUSED_VALUES: list[Any] = [
    (number_parameter("v", "integer"), "1.5", "v must be an integer, not '1.5'"),
    (number_parameter("v", "integer", minimum="3", maximum="15"), 2, "an integer from 3 to 15"),
    (number_parameter("v", minimum="0"), "-0.1", "v must be a number of at least 0, not '-0.1'"),
    (number_parameter("v", maximum="2.5"), Decimal("2.51"), "a number of at most 2.5"),
    (number_parameter("v"), 1.5, "not 1.5, a float, which has already lost digits"),
    (number_parameter("v"), True, "v must be a number, not 'True'"),
    (number_parameter("v"), "1e3", "v must be a number, not '1e3'"),
    (number_parameter("v"), Decimal("NaN"), "v must be a number, not 'NaN'"),
    (number_parameter("v"), Decimal("Infinity"), "v must be a number, not 'Infinity'"),
    (number_parameter("v"), Decimal("sNaN"), "v must be a number"),
    (number_parameter("v"), Decimal("1e999999"), "v must be a number"),
    (number_parameter("v"), Decimal("1e-999999"), "v must be a number"),
    (number_parameter("v"), "1" * 129, "v must be a number"),
    pytest.param(number_parameter("v"), 10**1_000_000, "more than 60 digits", id="huge"),
    (number_parameter("v"), None, "v must be a number, not NoneType"),
    (number_parameter("v", "integer", values=["5", "10"]), 6, "v must be one of 5, 10"),
    (choice_parameter("v", "720p", "1080p"), "4k", "v must be one of 720p, 1080p, not '4k'"),
    (choice_parameter("v", "5", "10"), "5.0", "v must be one of 5, 10, not '5.0'"),
    (choice_parameter("v", "5", "10"), 6, "v must be one of 5, 10, not '6'"),
    (choice_parameter("v", "on", "off"), True, "v must be one of on, off"),
    ({"name": "v", "type": "boolean"}, "yes", "v must be true or false, not 'yes'"),
    ({"name": "v", "type": "boolean"}, 1, "v must be true or false, not '1'"),
    ({"name": "v", "type": "string"}, 5, "v must be a text"),
    ({"name": "v", "type": "string"}, "x" * 10_000, "v must be a text of at most 8192"),
]


@pytest.mark.parametrize(("parameter", "value", "message"), REFUSED_VALUES)
def test_a_value_that_is_not_allowed_is_refused_even_if_no_expression_reads_it(
    parameter: Json, value: Any, message: str
) -> None:
    found = rule(parameters=[parameter])
    with pytest.raises(RuleFailed) as caught:
        found.price({"v": value})
    assert message in caught.value.problem
    assert caught.value.component is None


ACCEPTED_VALUES: list[tuple[Json, Any, int]] = [
    (number_parameter("v", "integer"), "5", 500),
    (number_parameter("v", "integer"), Decimal("5.0"), 500),
    (number_parameter("v"), Decimal("5E+0"), 500),
    (number_parameter("v"), "5.125", 513),  # 512.5 to the nearest, halves away from zero
    (choice_parameter("v", "5", "10"), 5, 500),
    (choice_parameter("v", "5", "10"), Decimal("5.00"), 500),
    (choice_parameter("v", "5.0", "10"), 5, 500),
    ({"name": "v", "type": "enum", "values": [5, 10.5]}, "5", 500),  # numbers of JSON
    ({"name": "v", "type": "enum", "values": [5, 10.5]}, Decimal("10.5"), 1050),
]


@pytest.mark.parametrize(("parameter", "value", "uc"), ACCEPTED_VALUES)
def test_a_number_may_be_written_in_several_ways(parameter: Json, value: Any, uc: int) -> None:
    found = rule(component(variable("v")), parameters=[parameter])
    assert found.price({"v": value}).total_uc == uc


def test_an_enumeration_of_numbers_is_a_text_to_a_lookup_and_a_number_to_arithmetic() -> None:
    both = apply("add", variable("v"), lookup(variable("v"), **{"5": "1", "10": "2"}))
    found = rule(component(both), parameters=[choice_parameter("v", "5", "10")])
    assert found.price({"v": "10"}).total_uc == 1200  # (10 + 2) × 100


def test_a_boolean_is_compared_as_a_boolean() -> None:
    has_sound = apply("eq", variable("sound"), constant("true"))
    seconds = apply("if", has_sound, constant("2"), lookup(variable("sound"), false="1"))
    found = rule(component(seconds), parameters=[{"name": "sound", "type": "boolean"}])
    assert found.price({"sound": True}).total_uc == 200
    assert found.price({"sound": "false"}).total_uc == 100


def test_texts_that_say_numbers_are_compared_as_numbers() -> None:
    is_five = apply("if", apply("eq", variable("v"), constant("5.0")), constant("1"), constant("2"))
    found = rule(component(is_five), parameters=[choice_parameter("v", "5", "auto")])
    assert found.price({"v": "5"}).total_uc == 100
    assert found.price({"v": "auto"}).total_uc == 200


@pytest.mark.parametrize(
    ("x", "uc"), [("5", 100), ("5.0", 100), ("-2.5", 200), (Decimal("5E+0"), 100), ("0.10", 400)]
)
def test_a_number_is_looked_up_as_its_shortest_decimal(x: Any, uc: int) -> None:
    found = rule(
        component(lookup(variable("x"), **{"5": "1", "-2.5": "2", "6.0": "3", "0.1": "4"})),
        parameters=[X],
    )
    assert found.price({"x": x}).total_uc == uc
    with pytest.raises(RuleFailed, match="no entry for '6'"):
        found.price({"x": 6})


FAILING: list[tuple[Json, dict[str, Any], str]] = [
    (
        component(apply("divide", constant("1"), variable("x"))),
        {"x": 0},
        "clip: component output: divides by zero",
    ),
    (
        component(apply("subtract", variable("x"), constant("2"))),
        {"x": 1},
        "the quantity is negative, -1",
    ),
    (
        component(apply("clamp", constant("1"), variable("x"), constant("2"))),
        {"x": 3},
        "clamps between 3 and 2, which is less",
    ),
    (
        component(lookup(variable("x"), **{"1": "1"})),
        {"x": 2},
        "the lookup has no entry for",
    ),
    (
        component(lookup(apply("divide", variable("x"), constant("3")), **{"1": "1"})),
        {"x": 1},
        "1/3 is no decimal",
    ),
    (component(variable("x"), pricing_status="unavailable"), {"x": 1}, "unavailable"),
    (component(constant("1"), uc="0.5", point="per_quantity"), {"x": 1}, "0.5 is not a whole"),
]


@pytest.mark.parametrize(("part", "values", "message"), FAILING)
def test_a_rule_that_gives_no_price_says_which_component_and_why(
    part: Json, values: dict[str, Any], message: str
) -> None:
    found = rule(part, parameters=[X])
    for call in (found.price, found.span):
        with pytest.raises(RuleFailed) as caught:
            call(values)
        assert message in str(caught.value)
        assert caught.value.component == "output"
        assert caught.value.model == "clip"


def test_a_model_that_is_unavailable_has_no_price() -> None:
    found = rule(pricing_status="unavailable")
    assert found.status == "unavailable"
    with pytest.raises(RuleFailed, match="clip: the provider lists the model as unavailable"):
        found.price({})


def test_what_does_not_fit_a_ledger_is_refused() -> None:
    found = rule(component(variable("x"), uc="1"), parameters=[X])
    assert found.price({"x": MOST_UC}).total_uc == MOST_UC
    for value in (MOST_UC + 1, 10**120):
        with pytest.raises(AmountTooLarge, match="clip"):
            found.price({"x": value})
        with pytest.raises(AmountTooLarge, match="clip"):
            found.span({"x": Range(Decimal(0), Decimal(value))})


def test_of_several_errors_the_documented_one_comes_first() -> None:
    failing = component(apply("divide", variable("x"), variable("y")))
    parameters = [X, number_parameter("y")]
    gone = rule(failing, parameters=parameters, pricing_status="unavailable")
    with pytest.raises(RuleFailed, match="unavailable"):
        gone.price({"x": "?"})
    found = rule(failing, parameters=parameters)
    with pytest.raises(RuleFailed, match="x must be a number"):
        found.price({"x": "?"})
    with pytest.raises(NeedsInput):
        found.price({"y": 0})
    with pytest.raises(RuleFailed, match="divides by zero"):
        found.price({"x": 1, "y": 0})


def test_a_rule_of_a_text_model_may_read_what_it_does_not_declare() -> None:
    tokens = component(
        apply("divide", variable("output_tokens"), constant("1000")), uc="735", mode="ceil"
    )
    rules = load(model(tokens, policy_source="legacy_text_adapter"))
    found = rules.models["clip"]
    assert found.undeclared == {"output_tokens"}
    assert not found.is_complete
    assert rules.warnings == (
        "models[clip]: the rule reads what it does not declare: output_tokens",
    )
    assert found.price({"output_tokens": 1001}).total_uc == 736  # 735.735 rounded up
    assert found.span({"output_tokens": Range(Decimal(0), Decimal(1001))}) == (0, 736)
    with pytest.raises(NeedsInput):
        found.price({})
    with pytest.raises(RuleFailed, match="output_tokens must be a number"):
        found.price({"output_tokens": "many"})


def test_what_nobody_declared_is_read_as_what_it_is_compared_with() -> None:
    parts = [
        component(constant("1"), id="a", condition=apply("eq", variable("mode"), constant("5"))),
        component(constant("2"), id="b", condition=apply("eq", variable("on"), constant("true"))),
    ]
    found = rule(*parts, policy_source="legacy_text_adapter")
    for mode, on, uc in (("5.0", True, 300), (5, "false", 100), ("five", False, 0)):
        assert found.price({"mode": mode, "on": on}).total_uc == uc
    with pytest.raises(RuleFailed, match="on must be true or false"):
        found.price({"mode": "5", "on": 1})
    with pytest.raises(RuleFailed, match="mode takes no range"):
        found.span({"mode": Range(Decimal(1), Decimal(2)), "on": True})


# --- What a document says ------------------------------------------------------------------------


def test_a_document_tells_its_heading() -> None:
    meta = load(model(), price_selection="route_priority").meta
    assert meta.updated_at == datetime(2026, 10, 10, 6, 52, 34, 303_000, tzinfo=UTC)
    assert meta.fresh_until == datetime(2026, 10, 10, 6, 57, tzinfo=UTC)
    assert (meta.cny_per_usd, meta.uc_per_usd) == (Decimal("6.8"), Decimal(680_000))
    assert (meta.schema_version, meta.catalog_version, meta.pricing_version) == (
        "2",
        "cat_1",
        "prc_1",
    )
    assert (meta.price_scope, meta.price_selection) == ("public_default", "route_priority")
    assert load(model()).meta.price_selection is None


def test_another_exchange_rate_works_where_the_amounts_agree_with_it() -> None:
    # 1 USD = 7.25 CNY = 725,000 UC; 100 UC are 0.000137931… USD.
    amount = {**money("100"), "usd": "0.00013793"}
    part = component(constant("2"), rate=amount)
    rules = load(model(part), exchange_rate_version="pricing-fx/v1:USD-CNY=7.25")
    assert rules.meta.uc_per_usd == 725_000
    assert rules.models["clip"].price({}).total_uc == 200


def test_dollars_may_be_rounded_either_way() -> None:
    # 100 UC are 0.000147058… dollars.
    for usd in ("0.00014705", "0.00014706", "0.0001470588"):
        part = component(constant("2"), rate={**money("100"), "usd": usd})
        assert rule(part).price({}).total_uc == 200


def test_a_document_for_one_model_says_the_same_as_a_list_of_it() -> None:
    alone = Rules.parse(json.dumps({"meta": heading(), "model": motion_control()}))
    listed = load(motion_control())
    assert list(alone.models) == [MOTION]
    assert alone.digest == listed.digest


def test_a_rule_tells_what_it_is_made_of() -> None:
    found = Rules.parse(sample_text()).models[MOTION]
    assert (found.product, found.operation, found.modality) == (
        "kling-v3",
        "motion_control",
        "video",
    )
    assert (found.lifecycle, found.status, found.policy_source) == (
        "active",
        "available",
        "published",
    )
    assert found.settlement_basis == "request_then_actual"
    assert (found.policy_version, len(found.policy_checksum)) == (1, 64)
    assert found.variables == {"input_seconds", "output_seconds", "quality"}
    assert found.is_complete
    quality = found.parameters["quality"]
    assert (quality.type, quality.default, quality.values) == ("enum", "720p", ("720p", "1080p"))
    seconds = found.parameters["output_seconds"]
    assert (seconds.default, seconds.minimum, seconds.maximum) == (Decimal(0), Decimal(0), None)
    (part,) = found.components
    assert (part.id, part.unit, part.billing_rule) == (
        "video_output",
        "output_second",
        "per_second",
    )
    assert (part.rate_uc, part.minimum_uc) == (Decimal(81648), Decimal(244944))
    assert (part.rounding_point, part.rounding_mode) == ("per_component_subtotal", "half_up")
    assert found.effective_from == datetime(2026, 4, 21, 15, 0, 36, 114_000, tzinfo=UTC)


def test_the_sample_has_24_models_and_one_incomplete_rule() -> None:
    rules = Rules.parse(sample_text())
    assert len(rules.models) == 24
    assert [name for name, found in rules.models.items() if not found.is_complete] == [
        "gpt-5.6-luna"
    ]
    assert rules.models["kling-o1-image-to-video"].parameters["duration_seconds"].default == "5"
    luna = rules.models["gpt-5.6-luna"]
    assert luna.components[-1].tiers[0].rate_uc == Decimal("1102.5")
    assert luna.parameters["prompt_tokens"].default == Decimal(0)


def test_a_rule_holds_from_the_latest_start_of_its_parts() -> None:
    late = tier(apply("gt", variable("x"), constant("1")), "2", "200")
    parts = [component(constant("1"), tiers=[late]), component(constant("1"), id="other")]
    found = rule(*parts, parameters=[X])
    assert found.effective_from == datetime(2026, 5, 1, tzinfo=UTC)


def test_a_rule_survives_pickling_and_prices_the_same() -> None:
    rules = load(motion_control())
    found = pickle.loads(pickle.dumps(rules))
    values: dict[str, Any] = {"quality": "1080p", "output_seconds": "9.2", "input_seconds": 0}
    assert found == rules
    assert found.models[MOTION].price(values) == rules.models[MOTION].price(values)


def test_a_document_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    path.write_text("\ufeff" + json.dumps(document(model())), encoding="utf-8")
    assert list(Rules.read(path).models) == ["clip"]
    assert list(Rules.read(str(path)).models) == ["clip"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [("missing.json", "No such file"), (".", "Is a directory"), ("a\0b", "not the name of a file")],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str, problem: str) -> None:
    with pytest.raises(InvalidPriceFile) as caught:
        Rules.read(tmp_path / name)
    assert caught.value.subject == str(tmp_path / name)
    assert problem in caught.value.faults[0].problem


def changed(edit: Callable[[Json], object], base: Json | None = None) -> Json:
    found = copy.deepcopy(document(motion_control()) if base is None else base)
    edit(found)
    return found


@pytest.mark.parametrize(
    ("edit", "is_same"),
    [
        (lambda it: it["meta"].update(updated_at="2027-01-01T00:00:00Z"), True),
        (lambda it: it["meta"].update(fresh_until="2027-01-01T00:00:00Z"), True),
        (lambda it: it["meta"].update(catalog_version="x", pricing_version="y"), True),
        (lambda it: it["meta"].update(price_selection="route_priority"), False),
        (lambda it: it["models"][0].update(policy_version=2), False),
        (lambda it: it["models"][0]["components"][0].update(sku_id="9"), False),
        (lambda it: it["models"][0]["components"][0].update(rate=money("81649")), False),
        (
            lambda it: it["models"][0]["components"][0].update(effective_at="2026-05-01T00:00:00Z"),
            False,
        ),
        (lambda it: it["models"][0].update(new=1.5), False),
    ],
)
def test_the_digest_tells_whether_more_than_the_freshness_differs(
    edit: Callable[[Json], object], is_same: bool
) -> None:
    before = Rules.parse(json.dumps(document(motion_control())))
    after = Rules.parse(json.dumps(changed(edit)))
    assert (before.digest == after.digest) is is_same


def test_the_digest_does_not_depend_on_the_order_of_keys_and_models() -> None:
    one, other = model(), motion_control()
    turned = {key: one[key] for key in reversed(one)}
    assert load(one, other).digest == load(other, turned).digest
    assert list(load(other, one).models) == [MOTION, "clip"]


def test_unknown_keys_are_told_where_they_do_not_stand_for_money() -> None:
    part = component(constant("1"), note="new", tiers=[])
    rules = load(
        model(part, colour="red", parameters=[number_parameter("x", step="1")]), region="eu"
    )
    assert rules.warnings == (
        "meta: the unknown key 'region' was not read",
        "models[clip]: the unknown key 'colour' was not read",
        "models[clip].parameters[x]: the unknown key 'step' was not read",
        "models[clip].components[output]: the unknown key 'note' was not read",
    )


def test_warnings_are_not_without_end() -> None:
    rules = load({**model(), **{f"key{index}": 1 for index in range(500)}})
    assert len(rules.warnings) == 101
    assert rules.warnings[-1] == "and more"


# --- Expressions ---------------------------------------------------------------------------------


def expression(tree: Json, wanted: Any = "number") -> Any:
    declared = {
        "x": Declared("number"),
        "y": Declared("number"),
        "sound": Declared("text"),
        "on": Declared("boolean"),
    }
    return parse(tree, scope=Scope(declared), wanted=wanted)


SIMPLIFIED: list[tuple[Json, dict[str, Value], Any]] = [
    (variable("x"), {}, Variable("x", "number")),
    (variable("x"), {"x": (3, 2)}, Constant((3, 2))),
    (apply("add", variable("x"), variable("y")), {"x": (1, 2), "y": (1, 2)}, Constant((1, 1))),
    (
        apply("if", apply("eq", variable("sound"), constant("on")), variable("x"), variable("y")),
        {"sound": "on"},
        Variable("x", "number"),
    ),
    # What can only fail is left, because it may never be reached.
    (
        apply("divide", constant("1"), variable("x")),
        {"x": (0, 1)},
        Apply("divide", (Constant((1, 1)), Constant((0, 1)))),
    ),
    (
        apply("max", variable("x"), apply("ceil", constant("2.5"))),
        {},
        Apply("max", (Variable("x", "number"), Constant((3, 1)))),
    ),
]


@pytest.mark.parametrize(("tree", "known", "expected"), SIMPLIFIED)
def test_what_is_known_is_folded(tree: Json, known: dict[str, Value], expected: Any) -> None:
    assert simplified(expression(tree), known) == expected


@pytest.mark.parametrize(
    ("op", "args", "expected"),
    [
        ("and", ["true", "on"], Variable("on", "boolean")),
        ("and", ["on", "false"], Apply("and", (Variable("on", "boolean"), Constant(value=False)))),
        ("and", ["false", "on"], Constant(value=False)),
        ("and", ["true", "true"], Constant(value=True)),
        ("or", ["false", "on", "false"], Variable("on", "boolean")),
        ("or", ["true", "on"], Constant(value=True)),
    ],
)
def test_and_and_or_are_cut_at_what_decides_them(op: str, args: list[str], expected: Any) -> None:
    tree = apply(op, *[variable(arg) if arg == "on" else constant(arg) for arg in args])
    assert simplified(expression(tree, "boolean"), {}) == expected


def test_an_expression_without_a_scope_for_faults_raises_the_first_one() -> None:
    with pytest.raises(
        ValueError, match=r"^quantity\.args\[1\]: reads the undeclared variable 'z'$"
    ):
        parse(
            apply("add", constant("1"), variable("z")),
            scope=Scope({}),
            path="quantity",
        )


# --- Ranges --------------------------------------------------------------------------------------


def span(*ends: str) -> Range:
    return Range(*map(Decimal, ends))


SPANS = [
    # Seconds, quality → UC: 3 s × 81,648 × 1.334 = 326,755.296; the smallest charge is 244,944.
    (span("3", "30"), "1080p", (326_755, 3_267_553)),
    (span("1", "30"), "1080p", (244_944, 3_267_553)),
    (span("5.49", "5.5"), "720p", (408_240, 489_888)),
    (span("5", "5.4"), "720p", (408_240, 408_240)),
    # With 0 the published rule takes 10 s, which lies between.
    (span("0", "30"), "720p", (244_944, 2_449_440)),
]


@pytest.mark.parametrize(("seconds", "quality", "expected"), SPANS)
def test_a_span_is_exact_where_a_longer_clip_costs_more(
    seconds: Range, quality: str, expected: tuple[int, int]
) -> None:
    found = load(motion_control()).models[MOTION]
    values: dict[str, Any] = {
        "output_seconds": seconds,
        "input_seconds": 0,
        "quality": quality,
    }
    assert found.span(values) == expected


def test_a_condition_says_what_its_branches_see() -> None:
    # Up to 10 each unit counts, from there on it is 10: never more, never less.
    capped = apply("if", apply("gte", variable("x"), constant("10")), constant("10"), variable("x"))
    turned = apply("if", apply("gt", constant("10"), variable("x")), variable("x"), constant("10"))
    joined = apply(
        "if",
        apply("not", apply("or", *[apply("gte", variable("x"), constant("10"))] * 2)),
        variable("x"),
        constant("10"),
    )
    for tree in (capped, turned, joined):
        found = rule(component(tree), parameters=[X])
        assert found.span({"x": span("5", "20")}) == (500, 1000)


def test_a_span_over_tiers_sees_each_of_them_and_none() -> None:
    many = apply("gte", variable("x"), constant("10"))
    found = rule(component(variable("x"), tiers=[tier(many, "0.5", "50")]), parameters=[X])
    assert found.span({"x": span("2", "4")}) == (200, 400)
    assert found.span({"x": span("10", "30")}) == (500, 1500)
    # Below 10 at 100 UC up to 1,000 (10 itself is not reached), from 10 on at 50 UC.
    assert found.span({"x": span("8", "30")}) == (500, 1500)
    assert found.span({"x": span("9", "11")}) == (500, 1000)


def test_a_component_that_may_be_charged_costs_nothing_at_least() -> None:
    long = apply("gt", variable("x"), constant("10"))
    found = rule(component(variable("x"), condition=long, minimum="2000"), parameters=[X])
    assert found.span({"x": span("5", "30")}) == (0, 3000)
    assert found.span({"x": span("5", "10")}) == (0, 0)
    assert found.span({"x": span("11", "12")}) == (2000, 2000)


@pytest.mark.parametrize(("op", "expected"), [("and", (0, 0)), ("or", (100, 100))])
def test_what_an_earlier_condition_decides_needs_no_later_one(
    op: str, expected: tuple[int, int]
) -> None:
    # For x up to 1 the first condition decides `and`, above 1 it decides `or`; the other fails.
    large = apply("gt", variable("x"), constant("1"))
    failing = apply("gt", apply("divide", constant("1"), variable("y")), constant("0"))
    part = component(constant("1"), condition=apply(op, large, failing))
    found = rule(part, parameters=[X, number_parameter("y")])
    assert found.span({"x": span("0", "2"), "y": 0}) == expected
    with pytest.raises(RuleFailed, match="divides by zero"):
        found.span({"x": span("2", "3") if op == "and" else span("0", "1"), "y": 0})


def test_values_without_a_price_are_left_out_of_a_span() -> None:
    below = apply("subtract", variable("x"), constant("5"))
    found = rule(component(below), parameters=[X])
    assert found.span({"x": span("0", "7")}) == (0, 200)
    with pytest.raises(RuleFailed, match="negative"):
        found.span({"x": span("0", "4")})


def test_a_divisor_that_may_be_zero_has_no_span() -> None:
    found = rule(component(apply("divide", constant("1"), variable("x"))), parameters=[X])
    assert found.span({"x": span("0.5", "2")}) == (50, 200)
    with pytest.raises(RuleFailed, match="divides by a number from 0 to 2"):
        found.span({"x": span("0", "2")})


@pytest.mark.parametrize(
    ("tree", "x", "y", "expected"),
    [
        # x × y: 10, -8, -15 and 12 at the corners.
        (apply("multiply", variable("x"), variable("y")), ("-2", "3"), ("-5", "4"), ("-15", "12")),
        (apply("subtract", variable("x"), variable("y")), ("-2", "3"), ("-5", "4"), ("-6", "8")),
        (apply("divide", variable("x"), variable("y")), ("-2", "3"), ("-4", "-1"), ("-3", "2")),
        (apply("divide", variable("x"), variable("y")), ("2", "3"), ("1", "4"), ("0.5", "3")),
        (
            apply("clamp", variable("x"), variable("y"), constant("6")),
            ("0", "9"),
            ("2", "4"),
            ("2", "6"),
        ),
        (apply("min", variable("x"), variable("y")), ("0", "9"), ("2", "4"), ("0", "4")),
        (apply("max", variable("x"), variable("y")), ("0", "9"), ("2", "4"), ("2", "9")),
        (apply("ceil", variable("x")), ("-1.5", "1.5"), ("0", "0"), ("-1", "2")),
        (apply("floor", variable("x")), ("-1.5", "1.5"), ("0", "0"), ("-2", "1")),
    ],
)
def test_every_operation_has_the_ends_of_its_interval(
    tree: Json, x: tuple[str, str], y: tuple[str, str], expected: tuple[str, str]
) -> None:
    shifted = component(apply("add", tree, constant("100")))
    found = rule(shifted, parameters=[X, number_parameter("y")])
    ends = [int(100 * (100 + Decimal(end))) for end in expected]
    assert found.span({"x": span(*x), "y": span(*y)}) == tuple(ends)


def test_what_joins_conditions_says_only_what_both_outcomes_allow() -> None:
    # Where not both hold, x may be anything in the range.
    both = apply(
        "and",
        apply("gte", variable("x"), constant("10")),
        apply("gte", variable("y"), constant("1")),
    )
    tree = apply("if", both, constant("0"), variable("x"))
    found = rule(component(tree), parameters=[X, number_parameter("y")])
    assert found.span({"x": span("5", "20"), "y": span("0", "2")}) == (0, 2000)


def test_a_lookup_over_a_range_sees_the_entries_inside() -> None:
    table = lookup(apply("ceil", variable("x")), **{"1": "5", "2": "3", "3": "9"})
    found = rule(component(table), parameters=[X])
    assert found.span({"x": span("0.5", "1.5")}) == (300, 500)
    with pytest.raises(RuleFailed, match="no entry for 4 to 5"):
        found.span({"x": span("3.5", "5")})


def test_a_range_of_an_integer_holds_integers_only() -> None:
    whole = number_parameter("n", "integer", minimum="3", maximum="15")
    found = rule(component(variable("n")), parameters=[whole])
    assert found.span({"n": span("3.2", "5.7")}) == (400, 500)
    with pytest.raises(RuleFailed, match=r"n has no value in the range from '3.2' to '3.7'"):
        found.span({"n": span("3.2", "3.7")})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"x": span("2", "1")}, "x has no value in the range from '2' to '1'"),
        ({"x": span("-1", "1")}, "x must be a number of at least 0, not '-1'"),
        ({"x": Range(Decimal(0), Decimal("NaN"))}, "x must have two numbers as a range"),
        ({"x": Range(Decimal(0), None)}, "x must have two numbers as a range"),  # type: ignore[arg-type]
        ({"x": 1, "quality": span("1", "2")}, "quality takes no range"),
    ],
)
def test_a_range_that_cannot_be_is_refused(values: dict[str, Any], message: str) -> None:
    found = rule(component(variable("x")), parameters=[{**X, "minimum": "0"}, QUALITY])
    with pytest.raises(RuleFailed) as caught:
        found.span(values)
    assert caught.value.problem == message

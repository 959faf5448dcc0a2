"""A pricing document that is not sound is refused as a whole, and every fault is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rule_documents import (
    Json,
    X,
    apply,
    component,
    constant,
    document,
    heading,
    lookup,
    model,
    money,
    motion_control,
    number_parameter,
    quantity,
    rule,
    tier,
    variable,
)

from ledger.errors import InvalidPriceFile
from ledger.evolink.expressions import (
    Declared,
    Scope,
    parse,
)
from ledger.evolink.rules import Rules


def faults(text: str | bytes | Json) -> list[tuple[str, str]]:
    with pytest.raises(InvalidPriceFile) as caught:
        Rules.parse(json.dumps(text) if isinstance(text, dict) else text, subject="a.json")
    assert caught.value.subject == "a.json"
    return [(fault.field, fault.problem) for fault in caught.value.faults]


AT = "models[clip].components[output]"


def part_with(**changes: Any) -> Json:
    return document(model(component(constant("1"), **changes)))


def without(key: str, base: Json) -> Json:
    return {name: value for name, value in base.items() if name != key}


def parameter_with(**changes: Any) -> Json:
    return document(model(parameters=[number_parameter("x", **changes)]))


def chained(levels: int) -> Json:
    """Lookups in the keys of lookups, which are nested less deep in JSON than arguments."""
    tree = variable("x")
    for _ in range(levels):
        tree = lookup(tree, **{"1": "1"})
    return tree


def wide(leaf: Json, *levels: int) -> Json:
    """A tree of additions with that many arguments on each level."""
    tree = leaf
    for count in levels:
        tree = apply("add", *[tree] * count)
    return tree


MALFORMED: list[tuple[Any, str, str]] = [
    # the outside
    ([], "", "must be an object with `meta` and `models`"),
    ({"models": [model()]}, "meta", "is required"),
    ({"meta": [], "models": [model()]}, "meta", "must be an object"),
    ({"meta": heading()}, "", "must have either `models` or `model`"),
    ({**document(model()), "model": model()}, "", "must have either `models` or `model`"),
    ({"meta": heading(), "models": {}}, "models", "must be a list of at most 10000"),
    ({"meta": heading(), "models": [1]}, "models[0]", "must be an object"),
    (document(), "models", "must have at least one model"),
    (document(model(), model()), "models[clip].model_id", "'clip' stands twice"),
    # the heading
    (document(model(), schema_version="3"), "meta.schema_version", "must be '2', not '3'"),
    (document(model(), schema_version=2), "meta.schema_version", "must be '2', not a text"),
    (document(model(), currency="CNY"), "meta.currency", "must be USD, not 'CNY'"),
    (
        document(model(), price_scope="account"),
        "meta.price_scope",
        "must be public_default, not 'account'",
    ),
    (
        document(model(), price_selection="any"),
        "meta.price_selection",
        "must be configured_minimum or route_priority, not 'any'",
    ),
    (
        document(model(), exchange_rate_version="pricing-fx/v2:USD-CNY=6.8"),
        "meta.exchange_rate_version",
        "must be like pricing-fx/v1:USD-CNY=6.8",
    ),
    (
        document(model(), exchange_rate_version="pricing-fx/v1:USD-CNY=0"),
        "meta.exchange_rate_version",
        "must be like pricing-fx/v1:USD-CNY=6.8",
    ),
    (
        document(model(), updated_at="2026-10-10 06:52"),
        "meta.updated_at",
        "must be a moment like 2026-10-10T06:52:34.303Z",
    ),
    (
        document(model(), fresh_until="2026-13-10T06:52:34Z"),
        "meta.fresh_until",
        "must be a moment like 2026-10-10T06:52:34.303Z",
    ),
    (
        {"meta": without("pricing_version", heading()), "models": [model()]},
        "meta.pricing_version",
        "is required",
    ),
    # a model
    (
        document(model(model_id="Clip 1")),
        "models[Clip 1].model_id",
        "must be small letters, digits and . _ : -, not 'Clip 1'",
    ),
    (
        document(model(model_id="a\nb")),
        "models[0].model_id",
        "must be a text of 1 to 100 characters",
    ),
    (
        document(model(lifecycle="gone")),
        "models[clip].lifecycle",
        "must be active or preview or deprecated, not 'gone'",
    ),
    (
        document(model(modality=["video"])),
        "models[clip].modality",
        "must be text or image or video or audio, which is a text",
    ),
    (
        document(model(settlement_basis="later")),
        "models[clip].settlement_basis",
        "must be request_only or actual_usage or request_then_actual, not 'later'",
    ),
    (
        document(model(policy_checksum="abc")),
        "models[clip].policy_checksum",
        "must be 64 small hexadecimal digits",
    ),
    (
        document(model(policy_version=-1)),
        "models[clip].policy_version",
        "must be a whole number from 0 to 1,000,000,000",
    ),
    (document(model(components=[])), "models[clip].components", "must have at least one component"),
    (
        document(model(components=[component(constant("1"))] * 201)),
        "models[clip].components",
        "must be a list of at most 200",
    ),
    (
        document(model(component(constant("1")), component(constant("2")))),
        f"{AT}.id",
        "'output' stands twice",
    ),
    # a parameter
    (
        document(model(parameters=[X, X])),
        "models[clip].parameters[x].name",
        "'x' stands twice",
    ),
    (
        parameter_with(type="float"),
        "models[clip].parameters[x].type",
        "must be integer or decimal or enum or boolean or string, not 'float'",
    ),
    (parameter_with(type="enum"), "models[clip].parameters[x].values", "is required"),
    (
        parameter_with(type="enum", values=["a", "a"]),
        "models[clip].parameters[x].values",
        "must differ from each other, as numbers too",
    ),
    (
        parameter_with(type="enum", values=["5", "5.0"]),
        "models[clip].parameters[x].values",
        "must differ from each other, as numbers too",
    ),
    (
        parameter_with(type="enum", values=["a"], enum=["b"]),
        "models[clip].parameters[x].enum",
        "says something else than `values`",
    ),
    (
        parameter_with(type="enum", values=["a", None]),
        "models[clip].parameters[x].values[1]",
        "must be a text of 1 to 128 characters or a number",
    ),
    (
        parameter_with(values=["a"]),
        "models[clip].parameters[x].values[0]",
        "must be a number, not 'a'",
    ),
    (
        parameter_with(minimum="2", maximum="1"),
        "models[clip].parameters[x].maximum",
        "1 is less than the minimum 2",
    ),
    (
        parameter_with(minimum=2),
        "models[clip].parameters[x].minimum",
        "must be a decimal as a text of at most 64 characters",
    ),
    (
        parameter_with(type="string", minimum="2"),
        "models[clip].parameters[x].minimum",
        "says nothing about string values",
    ),
    (
        parameter_with(minimum="2", default="1"),
        "models[clip].parameters[x].default",
        "must be a number of at least 2, not '1'",
    ),
    (
        parameter_with(type="boolean", default="maybe"),
        "models[clip].parameters[x].default",
        "must be true or false, not 'maybe'",
    ),
    (parameter_with(required="no"), "models[clip].parameters[x].required", "must be true or false"),
    # a component
    (
        part_with(pricing_status="soon"),
        f"{AT}.pricing_status",
        "must be available or unavailable, not 'soon'",
    ),
    (
        part_with(billing_unit_size=0),
        f"{AT}.billing_unit_size",
        "must be a whole number from 1 to 1,000,000,000",
    ),
    (
        part_with(billing_unit_size=1.5),
        f"{AT}.billing_unit_size",
        "must be a whole number from 1 to 1,000,000,000",
    ),
    (
        part_with(effective_at="2026-04-21"),
        f"{AT}.effective_at",
        "must be a moment like 2026-10-10T06:52:34.303Z",
    ),
    (
        part_with(rounding={"point": "per_call", "mode": "ceil"}),
        f"{AT}.rounding.point",
        "must be per_quantity or per_tier or per_component_subtotal, not 'per_call'",
    ),
    (
        part_with(rounding={"point": "per_tier", "mode": "half_even"}),
        f"{AT}.rounding.mode",
        "must be ceil or half_up or floor, not 'half_even'",
    ),
    (
        part_with(rounding={"point": "per_tier", "mode": "ceil", "step": "10"}),
        f"{AT}.rounding",
        "has the unknown key 'step'",
    ),
    (
        document(model(without("rounding", component(constant("1"))))),
        f"{AT}.rounding",
        "is required",
    ),
    (
        document(model(without("quantity_rule", component(constant("1"))))),
        f"{AT}.quantity_rule",
        "is required",
    ),
    (document(model(without("tiers", component(constant("1"))))), f"{AT}.tiers", "is required"),
    # money
    (
        part_with(rate={**money("100"), "credits": "0.1"}),
        f"{AT}.rate.credits",
        "0.1 is not 100 UC at 10,000 UC each",
    ),
    (
        part_with(rate={**money("100"), "cny": "0.01"}),
        f"{AT}.rate.cny",
        "0.01 is not 100 UC at 100,000 UC each",
    ),
    (
        # 100 UC are 0.000147058… dollars, which is more than one step of 10^-8 away.
        part_with(rate={**money("100"), "usd": "0.00014707"}),
        f"{AT}.rate.usd",
        "0.00014707 is not 100 UC at 680000 UC each",
    ),
    (
        part_with(minimum_charge={**money("100"), "usd": "0.00013889"}),  # at 7.2, an older rate
        f"{AT}.minimum_charge.usd",
        "0.00013889 is not 100 UC at 680000 UC each",
    ),
    (
        part_with(official_rate={**money("1"), "cny": "1"}),
        f"{AT}.official_rate.cny",
        "1 is not 1 UC at 100,000 UC each",
    ),
    (part_with(rate={**money("100"), "eur": "1"}), f"{AT}.rate", "has the unknown key 'eur'"),
    (part_with(rate=without("usd", money("100"))), f"{AT}.rate.usd", "is required"),
    (part_with(rate="100"), f"{AT}.rate", "must be an object"),
    (
        part_with(rate={**money("100"), "uc": 100}),
        f"{AT}.rate.uc",
        "must be a decimal as a text of at most 64 characters",
    ),
    (
        part_with(rate={**money("100"), "uc": "-100"}),
        f"{AT}.rate.uc",
        "must not be negative, and is '-100'",
    ),
    (
        part_with(rate={**money("100"), "uc": "1e2"}),
        f"{AT}.rate.uc",
        "must be a decimal as a text of at most 64 characters",
    ),
    (
        part_with(rate={**money("100"), "uc": "0" * 65}),
        f"{AT}.rate.uc",
        "must be a decimal as a text of at most 64 characters",
    ),
    # tiers
    (
        part_with(tiers=[tier(constant("true"), "2", "201")]),
        f"{AT}.tiers[0].rate.uc",
        "201 UC is not the component's rate times the multiplier, 100 × 2 = 200",
    ),
    (
        part_with(tiers=[tier(constant("true"), "2", "100")]),
        f"{AT}.tiers[0].rate.uc",
        "100 UC is not the component's rate times the multiplier, 100 × 2 = 200",
    ),
    (
        part_with(tiers=[tier(constant("true"), "0", "0")]),
        f"{AT}.tiers[0].multiplier",
        "must be more than 0",
    ),
    (
        part_with(tiers=[without("when", tier(constant("true"), "1", "100"))]),
        f"{AT}.tiers[0].when",
        "is required",
    ),
    (
        part_with(tiers=[tier(constant("1"), "1", "100")]),
        f"{AT}.tiers[0].when",
        "must be true or false, and is a text",
    ),
    # expressions
    (quantity(1), f"{AT}.quantity_rule", "must be an object with `op`"),
    (quantity({"value": "1"}), f"{AT}.quantity_rule", "must have `op`"),
    (
        quantity(apply("power", constant("2"), constant("3"))),
        f"{AT}.quantity_rule",
        "unknown operation 'power'",
    ),
    (quantity({"op": ["add"]}), f"{AT}.quantity_rule", "unknown operation \"['add']\""),
    (
        quantity(apply("add", constant("1"))),
        f"{AT}.quantity_rule",
        "add takes 2 to 32 arguments, not 1",
    ),
    (
        quantity(apply("add", *[constant("1")] * 33)),
        f"{AT}.quantity_rule",
        "add takes 2 to 32 arguments, not 33",
    ),
    (
        quantity(apply("subtract", *[constant("1")] * 3)),
        f"{AT}.quantity_rule",
        "subtract takes 2 arguments, not 3",
    ),
    (quantity(apply("ceil")), f"{AT}.quantity_rule", "ceil takes 1 arguments, not 0"),
    (quantity({"op": "floor"}), f"{AT}.quantity_rule", "floor must have `args`"),
    (quantity({"op": "floor", "args": {}}), f"{AT}.quantity_rule", "`args` must be a list"),
    (
        quantity({**constant("1"), "args": [1]}),
        f"{AT}.quantity_rule",
        "constant takes no arguments, not 1",
    ),
    (
        quantity({**constant("1"), "unit": "s"}),
        f"{AT}.quantity_rule",
        "constant has the unknown key 'unit'",
    ),
    (
        quantity({**apply("floor", variable("x")), "digits": 2}),
        f"{AT}.quantity_rule",
        "floor has the unknown key 'digits'",
    ),
    (quantity({"op": "constant"}), f"{AT}.quantity_rule", "constant must have `value`"),
    (
        quantity({**constant("1"), "value": 1}),
        f"{AT}.quantity_rule",
        "a constant must be a text of at most 128 characters",
    ),
    (
        quantity(constant("1" * 129)),
        f"{AT}.quantity_rule",
        "a constant must be a text of at most 128 characters",
    ),
    (quantity(constant("01")), f"{AT}.quantity_rule", "must be a number, not '01'"),
    (quantity(constant("true")), f"{AT}.quantity_rule", "must be a number, not 'true'"),
    (quantity(variable("z")), f"{AT}.quantity_rule", "reads the undeclared variable 'z'"),
    (
        quantity(variable("")),
        f"{AT}.quantity_rule",
        "the name of a variable must be a text of 1 to 100 characters",
    ),
    (
        quantity(apply("add", constant("1"), variable("quality"))),
        f"{AT}.quantity_rule.args[1]",
        "must be a number, and is a text",
    ),
    (
        quantity(apply("if", variable("x"), constant("1"), constant("2"))),
        f"{AT}.quantity_rule.args[0]",
        "must be true or false, and is a number",
    ),
    (
        quantity(apply("gt", variable("x"), constant("1"))),
        f"{AT}.quantity_rule",
        "must be a number, and is true or false",
    ),
    (
        quantity(
            apply(
                "if",
                apply("eq", variable("quality"), constant("true")),
                constant("1"),
                constant("2"),
            )
        ),
        f"{AT}.quantity_rule.args[0]",
        "eq mixes true or false with another kind of value",
    ),
    (
        quantity(
            apply(
                "if",
                apply(
                    "eq",
                    apply("if", constant("true"), variable("x"), constant("false")),
                    constant("5"),
                ),
                constant("1"),
                constant("2"),
            )
        ),
        f"{AT}.quantity_rule.args[0].args[0]",
        "if mixes true or false with another kind of value",
    ),
    (
        quantity({"op": "lookup", "key": variable("x")}),
        f"{AT}.quantity_rule",
        "lookup must have `values`",
    ),
    (
        quantity(lookup(variable("x"))),
        f"{AT}.quantity_rule",
        "the values of a lookup must be an object with 1 to 100 entries",
    ),
    (
        quantity(lookup(variable("x"), a="?")),
        f"{AT}.quantity_rule",
        "the value for 'a' must be a decimal of at most 64 characters",
    ),
    (
        quantity(lookup(variable("z"), a="1")),
        f"{AT}.quantity_rule.key",
        "reads the undeclared variable 'z'",
    ),
    (
        quantity(lookup(constant("b"), a="1")),
        f"{AT}.quantity_rule",
        "never has a value: the lookup has no entry for 'b'; it has a",
    ),
    (
        quantity(apply("divide", constant("3"), apply("subtract", constant("1"), constant("1")))),
        f"{AT}.quantity_rule",
        "never has a value: divides by zero",
    ),
    (
        quantity(apply("clamp", constant("1"), constant("3"), constant("2"))),
        f"{AT}.quantity_rule",
        "never has a value: clamps between 3 and 2, which is less",
    ),
    (
        quantity(chained(33)),
        f"{AT}.quantity_rule" + ".key" * 33,
        "is deeper than 32 levels",
    ),
    (
        quantity(apply("multiply", *[variable("x")] * 32)),
        f"{AT}.quantity_rule",
        "can make a number of more than 8192 bits",
    ),
    (
        quantity(
            apply("if", variable("z"), variable("z"), constant("1")),
            policy_source="legacy_text_adapter",
        ),
        "models[clip]",
        "reads 'z' as a number and as true or false",
    ),
]


@pytest.mark.parametrize(("text", "path", "problem"), MALFORMED)
def test_a_malformed_document_is_refused_and_the_fault_named(
    text: Any, path: str, problem: str
) -> None:
    assert (path, problem) in faults(json.dumps(text))


def test_one_mistake_is_one_fault() -> None:
    alone = [row for row in MALFORMED if len(faults(json.dumps(row[0]))) > 1]
    assert alone == []


def test_all_faults_are_told_at_once() -> None:
    found = faults(
        document(
            model(component(variable("z"), rate="1"), model_id="a"),
            model(component(constant("x"), id="b"), model_id="b"),
            currency="EUR",
        )
    )
    assert [path for path, _ in found] == [
        "meta.currency",
        "models[a].components[output].rate",
        "models[a].components[output].quantity_rule",
        "models[b].components[b].quantity_rule",
    ]


def test_a_document_with_very_many_faults_is_refused_after_fifty() -> None:
    assert len(faults(document(*[model(component(constant("x")))] * 100))) == 50


NOT_READ: list[tuple[str | bytes, str]] = [
    ("", "is not JSON: Expecting value"),
    ("{", "is not JSON"),
    (b"\xff\xfe", "is not UTF-8 text"),
    ('{"a": NaN}', "has NaN, which is not a number of JSON"),
    ('{"a": -Infinity}', "has -Infinity, which is not a number of JSON"),
    ('{"a": 1e99999999999999999999}', "has the number '1e99999999999999999999', which is too"),
    ("[" * 10_000 + "]" * 10_000, "is nested deeper than 64 levels"),
    ("[" * 10_000_000, "is nested deeper than 64 levels"),
    ("[" * 66 + "]" * 66, "is nested deeper than 64 levels"),
    ('{"a":' * 10_000 + "1" + "}" * 10_000, "is nested deeper than 64 levels"),
    ('{"a": ' + "9" * 1_000_000 + "}", "has a number of more than 128 characters"),
    ('{"a": 0.' + "9" * 1_000_000 + "}", "has a number of more than 128 characters"),
    ('{"a": [{"b": 1, "c": 2, "b": 1}]}', "has the key 'b' twice in one object"),
    (json.dumps([0] * 200_000), "has more than 200,000 values"),
    (b" " * (16 * 1024 * 1024 + 1), "has more than 16 MiB"),
]


@pytest.mark.parametrize(
    ("text", "problem"), NOT_READ, ids=[problem[:30] for _, problem in NOT_READ]
)
def test_what_is_no_fair_json_is_refused_before_it_is_walked(
    text: str | bytes, problem: str
) -> None:
    ((path, found),) = faults(text)
    assert path == ""
    assert problem in found


def test_a_repeated_key_is_refused_wherever_it_stands() -> None:
    text = json.dumps(document(motion_control())).replace(
        '"uc": "81648"', '"uc": "1", "uc": "81648"'
    )
    assert faults(text) == [("", "has the key 'uc' twice in one object")]


def test_a_file_is_not_read_beyond_what_a_document_may_have(tmp_path: Path) -> None:
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(10 * 1024**4)  # ten tebibytes, none of them on the disk
    with pytest.raises(InvalidPriceFile, match="has more than 16 MiB"):
        Rules.read(path)


def test_a_model_has_ten_thousand_nodes_at_most() -> None:
    fits = wide(constant("1"), 32, 31, 9)  # 8,928 leaves, 288 + 9 + 1 sums
    assert rule(component(fits)).price({}).total_uc == 892_800
    found = faults(document(model(component(fits), component(wide(constant("1"), 32, 30), id="b"))))
    ((path, problem),) = found
    assert path.startswith("models[clip].components[b].quantity_rule.args[")
    assert problem == "the model has more than 10000 nodes in its expressions"


@pytest.mark.parametrize("op", ["add", "multiply", "divide", "subtract"])
def test_no_rule_can_make_numbers_without_bound(op: str) -> None:
    tree = variable("x")
    for _ in range(20):
        tree = apply(op, tree, tree)
        if faults_of(tree):
            break
    assert any("can make a number of more than 8192 bits" in problem for problem in faults_of(tree))


def faults_of(tree: Json) -> list[str]:
    found: list[str] = []
    scope = Scope({"x": Declared("number")}, report=lambda _, problem: found.append(problem))
    parse(tree, scope=scope)
    return found


def test_integers_may_be_multiplied_more_often_than_decimals() -> None:
    tree = apply("add", *[variable("n")] * 32)
    found = rule(component(tree), parameters=[number_parameter("n", "integer")])
    assert found.price({"n": 2}).total_uc == 6400
    assert faults_of(apply("add", *[variable("x")] * 32)) != []

"""The same jobs under two price books: what they cost, and what the difference is made of."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import rule_documents as docs
from hypothesis import given, settings
from hypothesis import strategies as st
from writers import Clock

from ledger import Impact, Ledger, PriceBook, estimate, impact
from ledger.errors import InvalidEntry, InvalidInput, InvalidMoment, InvalidPlan
from ledger.evolink import PublishedRules
from ledger.impacts import EFFECTS
from ledger.pricebook.schema import ModelFile
from ledger.units import credits_to_e8, parse_moment, show_credits

AT = "2026-10-10"
PAGE, RULES = PriceBook.bundled("evolink"), PriceBook.bundled("evolink-rules")

PRICE: dict[str, Any] = {
    "effective_from": "2026-01-01T00:00:00Z",
    "source": "ours",
    "checked": "2026-06-01",
    "unit": "second",
    "rate": "2",
}


def own(name: str = "own", *, body: str = "motion_control", **changes: Any) -> PriceBook:
    """A book with one model, `clip`: 2 credits a second, rounded up, unless changed."""
    file = {"model": "clip", "body": body, "price": [{**PRICE, **changes}]}
    return PriceBook(name, [ModelFile.model_validate(file)], PAGE.rates)


def jobs(*rows: Mapping[str, Any]) -> pl.DataFrame:
    names = dict.fromkeys(name for row in rows for name in row)
    return pl.DataFrame({name: [row.get(name) for row in rows] for name in names})


def effects(result: Impact) -> dict[str, str]:
    """The effects that are not nothing."""
    return {
        effect.name: show_credits(effect.amount_e8)
        for effect in result.total.effects
        if effect.amount_e8
    }


def texts(result: Impact) -> list[str]:
    return [text for effect in result.total.effects for text in effect.what_differs]


# --- effects -------------------------------------------------------------------------------------

CLIP = {"model": "clip", "orientation": "video", "seconds": "10.2"}
HALF = {"discount": "0.5"}
NEAREST = {"rounding": {"mode": "half_up"}}
EXACTLY = {"rounding": {"mode": "none"}}


@pytest.mark.parametrize(
    ("first", "second", "parts", "said"),
    [
        # 10.2 s are 11 s, at 2 credits 22.
        ({}, {}, {}, []),
        ({}, {"rate": "3"}, {"rate": "11"}, ["3 instead of 2 credits per second"]),  # 33
        ({}, HALF, {"multiplier": "-11"}, ["× 0.5 (discount 50 %) instead of no multiplier"]),
        ({}, NEAREST, {"rounding": "-2"}, ["seconds rounded to the nearest instead of up"]),  # 20
        ({}, EXACTLY, {"rounding": "-1.6"}, ["seconds rounded not at all instead of up"]),  # 20.4
        (EXACTLY, {}, {"rounding": "1.6"}, ["seconds rounded up instead of not at all"]),
        (
            {},
            {"rounding": {"mode": "ceil", "step_seconds": "0.5"}},  # 10.5 s
            {"rounding": "-1"},
            ["seconds rounded up in steps of 0.5 s instead of up"],
        ),
        (
            {},
            {"shortest_seconds": "12"},  # 24
            {"rounding": "2"},
            ["shortest billed length 12 s instead of none"],
        ),
        (
            {},
            {"longest_seconds": "8"},  # 16
            {"rounding": "-6"},
            ["longest billed length 8 s instead of none"],
        ),
        (
            EXACTLY,
            {**EXACTLY, "charge": {"quantum": "1", "mode": "floor"}},  # 20.4, then 20
            {"rounding": "-0.4"},
            ["charges rounded down to 1 credit instead of to 0.00000001 credit"],
        ),
        (
            {},
            {"settles_on": "input_and_output"},  # 20.4 s are 21 s, so 42
            {"rounding": "20"},
            ["reference plus generated length billed instead of the generated length"],
        ),
        (
            {"settles_on": "input_and_output"},  # 42
            {"settles_on": "input_and_output", "longest_input_seconds": "5"},  # 5 s twice, 20
            {"rounding": "-22"},
            ["longest billed part of the reference 5 s instead of none"],
        ),
        ({}, {"smallest_charge": "30"}, {"minimum": "8"}, ["smallest charge 30 instead of none"]),
        ({"smallest_charge": "30"}, {}, {"minimum": "-8"}, ["smallest charge none instead of 30"]),
        (
            {"smallest_charge": "30"},
            {"rate": "3"},  # 30, then 33 above the smallest charge, which then does nothing
            {"rate": "3"},
            ["3 instead of 2 credits per second"],
        ),
        (
            {},
            # 11 s × 3 = 33; × 0.5 = 16.5; 10 s × 1.5 = 15; at least 20
            {"rate": "3", **HALF, **NEAREST, "smallest_charge": "20"},
            {"rate": "11", "multiplier": "-16.5", "rounding": "-1.5", "minimum": "5"},
            [
                "3 instead of 2 credits per second",
                "× 0.5 (discount 50 %) instead of no multiplier",
                "seconds rounded to the nearest instead of up",
                "smallest charge 20 instead of none",
            ],
        ),
        # Twice the rate at half of it is the same price.
        ({}, {"rate": "4", **HALF}, {}, []),
        (
            {},
            {"rate": "4", **HALF, **NEAREST},
            {"rounding": "-2"},
            ["seconds rounded to the nearest instead of up"],
        ),
        (
            {},
            {"unit": "call", "rate": "7"},  # 7 - 22
            {"other": "-15"},
            ["priced per call instead of per second"],
        ),
        (
            {"unit": "call", "rate": "7"},
            {"unit": "call", "rate": "5", "charge": {"quantum": "0.5"}},
            {"rate": "-2"},
            ["5 instead of 7 credits per call"],
        ),
    ],
)
def test_a_difference_is_split_into_what_it_is_made_of(
    first: dict[str, Any], second: dict[str, Any], parts: dict[str, str], said: list[str]
) -> None:
    result = impact(own(**first), own(**second), jobs(CLIP), at=AT)
    assert effects(result) == parts
    assert texts(result) == said
    assert result.total.difference == sum(map(Decimal, parts.values()))


def test_the_page_rounds_up_and_the_rules_to_the_nearest() -> None:
    # 13 s × 10.8918432 = 141.5939616; 12 s × 10.8918432 = 130.7021184, to 0.0001 130.7021.
    clip = {"model": "motion-control", "quality": "1080p", "seconds": "12.4"}
    [group] = impact(PAGE, RULES, jobs(clip | {"orientation": "video"}), at=AT).groups
    assert group.key == ("kling-v3-motion-control",)
    assert show_credits(group.first_e8) == "141.5939616"
    assert show_credits(group.second_e8) == "130.7021"
    assert str(group.difference) == "-10.8918616"
    assert str(group.change_percent) == "-7.7"  # 10.8918616 / 141.5939616 = 7.692 %
    assert [effect.amount_e8 for effect in group.effects] == [0, 0, -1089186160, 0, 0]
    assert group.effects[2].what_differs == (
        "seconds rounded to the nearest instead of up",
        "charges rounded to 0.0001 credit instead of to 0.00000001 credit",
    )


def test_only_differences_that_matter_to_a_job_are_named() -> None:
    # 11.6 s are 12 s either way; only the charge of 130.7021184 is rounded.
    clip = {"model": "motion-control", "quality": "1080p", "seconds": "11.6"}
    result = impact(PAGE, RULES, jobs(clip | {"orientation": "video"}), at=AT)
    assert effects(result) == {"rounding": "-0.0000184"}
    assert texts(result) == ["charges rounded to 0.0001 credit instead of to 0.00000001 credit"]


def test_differences_that_hide_each_other_are_all_named() -> None:
    # 10.2 s rounded down are 10 s, and 10 s are the longest as well: without one of them, the
    # other still makes it 10 s.
    second = own(rounding={"mode": "floor"}, longest_seconds="10")
    assert texts(impact(own(), second, jobs(CLIP), at=AT)) == [
        "longest billed length 10 s instead of none",
        "seconds rounded down instead of up",
    ]
    # To the nearest they are 10 s as well, but not less than the shortest.
    second = own(rounding={"mode": "half_up"}, shortest_seconds="10")
    assert texts(impact(own(), second, jobs(CLIP), at=AT)) == [
        "seconds rounded to the nearest instead of up"
    ]


def published(*components: dict[str, Any], name: str = "published", **said: Any) -> PublishedRules:
    text = json.dumps(docs.document(docs.model(*components, **said))).encode()
    return PublishedRules(text, name, source="example")


def test_against_a_formula_all_of_the_difference_is_other() -> None:
    seconds = docs.variable("duration_seconds")
    # 5 credits, and 2 credits a second: no rate times a length.
    formula = published(
        docs.component(docs.constant("5"), id="start", uc="10000"),
        docs.component(seconds, id="length", uc="20000"),
        parameters=[docs.number_parameter("duration_seconds", "integer", minimum="1")],
    )
    rate = own(body="text_to_video")
    text = {"model": "clip", "seconds": "10"}
    one = impact(rate, formula, jobs(text), at=AT)  # 20, then 25
    assert effects(one) == {"other": "5"}
    assert texts(one) == ["a formula instead of a rate per second"]
    other = impact(formula, rate, jobs(text), at=AT)
    assert effects(other) == {"other": "-5"}
    assert texts(other) == ["a rate per second instead of a formula"]
    assert effects(impact(formula, formula, jobs(text), at=AT)) == {}


def test_a_mixture_that_is_too_large_is_not_split() -> None:
    # 10^6 credits a second × 10^6 fit neither alone nor a ledger, together with 10^6 s.
    first = own(rate="1000000", multiplier=[_tiny("0.000001")])
    second = own(rate="0.1", multiplier=[_tiny("1000")], rounding={"mode": "floor"})
    clip = CLIP | {"quality": "720p", "seconds": "1000000"}
    result = impact(first, second, jobs(clip), at=AT)
    # 10^6 s × 1 credit; 10^6 s × 100 credits; in between 10^6 s × 10^9 credits or less.
    assert result.total.difference == 99_000_000
    back = impact(second, first, jobs(clip), at=AT)
    assert effects(back) == {"other": "-99000000"}
    assert texts(back) == ["a mixture of the two prices is too large to be billed"]


def _tiny(value: str) -> dict[str, Any]:
    return {"options": ["quality"], "table": {"720p": value}}


def test_of_very_many_differences_the_largest_are_named() -> None:
    def book(name: str, rate: str) -> PriceBook:
        files = [
            {
                "model": f"clip-{number}",
                "body": "motion_control",
                "price": [{**PRICE, "rate": f"{number}{rate}"}],
            }
            for number in range(10, 20)
        ]
        return PriceBook(name, map(ModelFile.model_validate, files), PAGE.rates)

    # Model 10 costs 10 and 10.1 credits a second; all of them 0.1 more. One job is longer.
    plan = jobs(
        *(CLIP | {"model": f"clip-{number}", "seconds": "10"} for number in range(10, 20)),
        CLIP | {"model": "clip-17", "seconds": "11"},
    )
    result = impact(book("old", ""), book("new", ".1"), plan, at=AT)
    assert effects(result) == {"rate": "11.1"}
    assert texts(result) == [
        "17.1 instead of 17 credits per second",
        *(f"{number}.1 instead of {number} credits per second" for number in range(10, 16)),
        "3 further differences",
    ]


# --- laws ----------------------------------------------------------------------------------------


def decimals(low: str, high: str, places: int) -> st.SearchStrategy[str]:
    return st.decimals(low, high, places=places).map(lambda value: f"{value:f}")


@st.composite
def prices(draw: st.DrawFn) -> dict[str, Any]:
    if draw(st.integers(0, 5)) == 0:
        return {"unit": "call", "rate": draw(decimals("0", "50", 8))}
    step = draw(st.sampled_from(["1", "0.1", "0.5", "3"]))
    mode = draw(st.sampled_from(["ceil", "half_up", "floor", "none"]))
    shortest = draw(st.none() | st.integers(1, 4).map(lambda steps: Decimal(step) * steps))
    longest = draw(st.none() | st.integers(5, 40).map(lambda steps: Decimal(step) * steps))
    qualities = decimals("0.000001", "3", 6)
    changes: dict[str, Any] = {
        "rate": draw(decimals("0", "50", 8)),
        "discount": draw(decimals("0", "0.999999", 6)),
        "multiplier": [
            {"options": ["quality"], "table": {"720p": draw(qualities), "1080p": draw(qualities)}}
        ],
        "rounding": {"mode": mode} | ({} if mode == "none" else {"step_seconds": step}),
        "shortest_seconds": shortest,
        "longest_seconds": longest,
        "smallest_charge": draw(st.just("0") | decimals("0", "200", 8)),
        "charge": {
            "mode": draw(st.sampled_from(["ceil", "half_up", "floor"])),
            "quantum": draw(st.sampled_from(["0.00000001", "0.0001", "0.03", "1"])),
        },
        "settles_on": draw(st.sampled_from(["output", "requested", "input_and_output"])),
    }
    return {name: value for name, value in changes.items() if value is not None}


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "model": st.just("clip"),
            "orientation": st.just("video"),
            "quality": st.sampled_from(["720p", "1080p"]),
            "seconds": decimals("0.01", "45", 4),
            "count": st.integers(0, 5),
            "team": st.sampled_from(["ads", "film", None]),
        }
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=300, deadline=None)
@given(first=prices(), second=prices(), rows=ROWS)
def test_effects_add_up_to_the_difference_and_costs_are_those_of_an_estimate(
    first: dict[str, Any], second: dict[str, Any], rows: list[dict[str, Any]]
) -> None:
    plan = jobs(*rows)
    one, other = own("one", **first), own("other", **second)
    result = impact(one, other, plan, at=AT, by=["team", "quality"])
    assert result.total.jobs == sum(row["count"] for row in rows)
    assert result.total.first_e8 == estimate(plan, one, at=AT).total.expected_e8
    assert result.total.second_e8 == estimate(plan, other, at=AT).total.expected_e8
    for group in (*result.groups, result.total):
        assert sum(effect.amount_e8 for effect in group.effects) == group.difference_e8
        assert tuple(effect.name for effect in group.effects) == EFFECTS
        for effect in group.effects:
            assert bool(effect.what_differs) == bool(effect.amount_e8)
    for place in range(len(EFFECTS)):
        parts = [group.effects[place].amount_e8 for group in result.groups]
        assert sum(parts) == result.total.effects[place].amount_e8
    if one.file("clip").price[0].unit == other.file("clip").price[0].unit:
        assert "other" not in effects(result)


@settings(max_examples=60, deadline=None)
@given(price=prices(), rows=ROWS)
def test_a_book_does_not_differ_from_itself(price: dict[str, Any], rows: list[Any]) -> None:
    book = own(**price)
    result = impact(book, book, jobs(*rows), at=AT)
    assert result.total.difference_e8 == 0
    assert effects(result) == {}
    # Nor from a book with the same figures.
    assert effects(impact(book, own(**price), jobs(*rows), at=AT)) == {}


# --- plans ---------------------------------------------------------------------------------------

VIDEO = {"model": "motion-control", "orientation": "video"}


def test_jobs_are_grouped_by_model_whichever_name_it_has() -> None:
    plan = jobs(
        VIDEO | {"seconds": "10.2", "count": 2},  # 11 s and 10 s × 8.1648
        VIDEO | {"model": "kling-v3-motion-control", "seconds": "10.2"},
        {"model": "custom-element", "count": 5},  # 1 credit, and 0.001
    )
    result = impact(PAGE, RULES, plan, at=AT)
    assert [(group.key, group.jobs) for group in result.groups] == [
        (("kling-custom-element",), 5),
        (("kling-v3-motion-control",), 3),
    ]
    assert effects(result) == {"rate": "-4.995", "rounding": "-24.4944"}
    assert result.total.jobs == 8
    assert (result.first, result.second, result.jobs_of) == ("evolink", "evolink-rules", "plan")


def test_jobs_are_grouped_by_labels_and_options() -> None:
    plan = jobs(
        VIDEO | {"seconds": "10.2", "team": "ads", "orientation": "video"},
        VIDEO | {"seconds": "10.2", "team": ""},
        VIDEO | {"seconds": "10.2", "team": "ads", "count": 3},
    )
    result = impact(PAGE, RULES, plan, at=AT, by=["team", "orientation"])
    assert result.by == ("team", "character_orientation")
    assert [(group.key, group.jobs) for group in result.groups] == [
        (("ads", "video"), 4),
        ((None, "video"), 1),
    ]
    assert impact(PAGE, RULES, plan, at=AT, by="team").groups[0].key == ("ads",)
    ungrouped = impact(PAGE, RULES, plan, at=AT, by=())
    assert ungrouped.groups == ()
    assert ungrouped.total == result.total


def test_jobs_without_a_price_are_in_neither_total() -> None:
    plan = jobs(
        VIDEO | {"seconds": "10"},
        VIDEO | {"seconds": "2"},
        VIDEO | {"seconds": "2", "count": 4},
        {"model": "nope", "seconds": "10"},
        {"model": None, "seconds": "10"},
        VIDEO | {"seconds": "x"},
        VIDEO | {"seconds": "10", "orientation": "sideways"},
    )
    result = impact(PAGE, RULES, plan, at=AT)
    assert (result.total.jobs, result.total.not_priced_jobs) == (1, 9)
    assert result.total.first_e8 == credits_to_e8("81.648")
    assert next(iter(result.not_priced.items())) == (
        "reference_seconds: is 2 s; the provider's shortest reference clip is 3 s",
        5,
    )
    assert "unknown model 'nope'" in result.not_priced
    assert sum(result.not_priced.values()) == 9


def test_a_job_without_a_price_under_one_book_names_it() -> None:
    # The rules have no price for an element before 2026-10-03.
    plan = jobs({"model": "custom-element"}, VIDEO | {"seconds": "10"})
    result = impact(PAGE, RULES, plan, at="2026-10-01")
    assert result.not_priced == {
        f"evolink-rules: kling-custom-element: no price before {_first_price()}": 1
    }
    assert impact(RULES, PAGE, plan, at="2026-10-01").not_priced == result.not_priced
    assert result.total.jobs == 1
    element, motion = result.groups
    assert (element.not_priced_jobs, motion.not_priced_jobs) == (1, 0)
    assert (element.has_price, motion.has_price) == (False, True)
    # Nothing is known of the first, which is not the same as a cost of 0.
    first, second = (group.document(result.by) for group in result.groups)
    assert (first["first_credits"], first["difference"]) == (None, None)
    assert (second["first_credits"], second["difference"]) == ("81.648", "0")


def _first_price() -> str:
    start = RULES.timeline("kling-custom-element")[0].start
    return start.isoformat().replace("+00:00", "Z")


def test_a_bad_row_has_the_reason_that_an_estimate_gives(tmp_path: Path) -> None:
    path = tmp_path / "plan.csv"
    path.write_text(
        "model,orientation,seconds,count\n"
        "motion-control,video,10,1\n"
        "motion-control,video,10,many\n"
        "motion-control,video,10,1,5\n"
        "motion-control,video,10,1.5\n"
    )
    result = impact(PAGE, RULES, path, at=AT)
    assert result.not_priced == dict(estimate(path, PAGE, at=AT).reasons)
    assert len(result.not_priced) == 3
    assert result.jobs_of == str(path)


def test_a_job_of_unknown_length_costs_what_is_expected() -> None:
    # Up to 30 s × 8.1648 under both; on average 10.2 s: 11 s and 10 s.
    plan = jobs(VIDEO | {"count": 3, "seconds": None}, VIDEO | {"seconds": "10", "count": 1})
    result = impact(PAGE, RULES, plan, at=AT)
    assert result.unknown_length_jobs == 3
    assert result.total.first_e8 == credits_to_e8("816.48")  # 100 s
    average = impact(PAGE, RULES, plan, at=AT, expected_seconds="10.2")
    assert average.total.first_e8 == credits_to_e8("351.0864")  # 43 s
    assert effects(average) == {"rounding": "-24.4944"}


def test_another_longest_length_is_told_for_jobs_of_unknown_length() -> None:
    first, second = own(longest_seconds="30"), own(longest_seconds="20")
    result = impact(first, second, jobs(CLIP | {"seconds": None}), at=AT)
    assert effects(result) == {"rounding": "-20"}  # 60 and 40
    assert "another longest length, for jobs of unknown length" in texts(result)


def test_one_model_may_be_named_for_the_whole_plan() -> None:
    plan = jobs({"orientation": "video", "seconds": "10.2"})
    assert effects(impact(PAGE, RULES, plan, at=AT, model="motion-control")) == {
        "rounding": "-8.1648"
    }


def test_sums_are_larger_than_any_column_of_integers() -> None:
    first, second = own(rate="1000000"), own(rate="900000")
    clip = CLIP | {"seconds": "1000", "count": 1_000_000_000}
    result = impact(first, second, jobs(clip, clip), at=AT)
    # 2 × 10^9 jobs × 1000 s × 10^6 credits, in 10^-8 credit.
    assert result.total.first_e8 == 2 * 10**18 * 10**8
    assert result.total.difference_e8 == -(2 * 10**17) * 10**8
    assert str(result.total.change_percent) == "-10.0"


@pytest.mark.parametrize(
    ("first_e8", "second_e8", "percent"),
    [
        (1000, 1000, "0.0"),
        (1000, 1001, "0.1"),
        (10000, 9995, "-0.1"),  # half a tenth goes up
        (10000, 9996, "0.0"),
        (3, 4, "33.3"),
        (3, 5, "66.7"),
        (0, 5, None),
        (10**30, 3 * 10**30, "200.0"),
    ],
)
def test_a_change_is_rounded_once_to_a_tenth_of_a_percent(
    first_e8: int, second_e8: int, percent: str | None
) -> None:
    group = impact(PAGE, RULES, jobs({"model": "custom-element"}), at=AT).total
    change = group._replace(first_e8=first_e8, second_e8=second_e8).change_percent
    assert (None if change is None else str(change)) == percent


def test_parts_of_a_large_file_are_added_up(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("ledger.columns.plans.JSON_ROWS", 2)
    monkeypatch.setattr("ledger.impacts.plans._AT_ONCE", 1)
    path = tmp_path / "plan.jsonl"
    lines = [json.dumps(VIDEO | {"seconds": "10.2", "team": team}) for team in "abcab"]
    path.write_text("\n".join([*lines, json.dumps(VIDEO | {"seconds": "11"})]) + "\n")
    done: list[int] = []
    result = impact(PAGE, RULES, path, at=AT, by=["team"], progress=done.append)
    assert [(group.key[0], group.jobs) for group in result.groups] == [
        ("a", 2),
        ("b", 2),
        ("c", 1),
        (None, 1),
    ]
    assert effects(result) == {"rounding": "-40.824"}  # five times a second
    assert done[-1] == 6
    assert done == sorted(done)


@pytest.mark.parametrize(
    ("plan", "options", "error", "said"),
    [
        ("nowhere.csv", {}, InvalidPlan, "is not a file"),
        (jobs({"quality": "720p"}), {}, InvalidPlan, "model: is missing"),
        (jobs(VIDEO).head(0), {}, InvalidPlan, "has no rows"),
        (jobs(VIDEO), {"by": ["team"]}, InvalidPlan, "team: is not a column to group by"),
        (jobs(VIDEO), {"by": ["model", "model"]}, InvalidPlan, "names a column twice"),
        (jobs(VIDEO), {"model": "motion-control"}, InvalidPlan, "stands in the plan already"),
        (jobs(VIDEO), {"at": "yesterday"}, InvalidMoment, "'yesterday' is not a date"),
        (5, {}, InvalidPlan, "must be a file or a polars data frame"),
    ],
)
def test_a_plan_that_cannot_be_read_is_refused(
    plan: Any, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        impact(PAGE, RULES, plan, **options)


# --- columns of further options -------------------------------------------------------------------

STYLE = docs.choice_parameter("style", "plain", "oil", default="plain")
_COUNT = docs.number_parameter("image_count", "integer", minimum="1", maximum="10", default="1")


def pictures(name: str, *, uc: str = "10000", with_style: bool = True) -> PublishedRules:
    """Pictures at 1 credit each, 3 in oil, and motion control."""
    price = docs.lookup(docs.variable("style"), plain="1", oil="3")
    number = docs.variable("image_count")
    quantity = docs.apply("multiply", number, price) if with_style else number
    parts = docs.component(quantity, uc=uc, unit="image", dimension="image")
    picture = docs.model(
        parts, parameters=[_COUNT, *([STYLE] if with_style else [])], modality="image"
    )
    text = json.dumps(docs.document(picture, docs.motion_control())).encode()
    return PublishedRules(text, name, source="example")


OLD, DEARER, PLAINER = (
    pictures("old"),
    pictures("dearer", uc="20000"),
    pictures("plainer", with_style=False),
)
PICTURES = """model,n,style,count,team
clip,2,oil,3,ads
clip,,,1,ads
clip,4,,1,film
clip,12,,2,film
clip,2,Oil,1,film
"""


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "frame"])
def test_columns_of_options_count_as_in_an_estimate(tmp_path: Path, form: str) -> None:
    frame = pl.read_csv(PICTURES.encode(), infer_schema=False)
    plan: Any = tmp_path / f"plan.{form}"
    if form == "csv":
        plan.write_text(PICTURES)
    elif form == "parquet":
        frame.write_parquet(plan)
    elif form == "jsonl":
        lines = [{key: value for key, value in row.items() if value} for row in frame.to_dicts()]
        plan.write_text("\n".join(map(json.dumps, lines)))
    else:
        plan = frame.with_columns(pl.col("n").cast(pl.Int64), pl.col("count").cast(pl.Int32))
    result = impact(OLD, DEARER, plan, by=["team"], at=AT)
    # ads: 3 × 2 × 3 and 1; film: 4. The second book costs twice that.
    assert [
        (group.key, group.jobs, group.first_e8 // 10**8, group.second_e8 // 10**8)
        for group in result.groups
    ] == [(("ads",), 4, 19, 38), (("film",), 1, 4, 8)]
    for book, total_e8 in ((OLD, result.total.first_e8), (DEARER, result.total.second_e8)):
        assert estimate(plan, book, at=AT).total.expected_e8 == total_e8
    # 12 pictures are too many, and no style is called Oil; both in the words of an estimate.
    assert result.not_priced == {
        "clip: image_count must be an integer from 1 to 10, not '12' (column n)": 2,
        "clip: style must be one of plain, oil, not 'Oil'": 1,
    }
    assert set(result.not_priced) == set(estimate(plan, OLD, at=AT).reasons)


def test_an_option_of_one_book_alone_is_none_of_the_other() -> None:
    plan = jobs({"model": "clip", "image_count": 2, "style": "oil"}, {"model": "clip"})
    refused = "plainer: style: is nothing that the price of this model depends on"
    for first, second in ((OLD, PLAINER), (PLAINER, OLD)):
        result = impact(first, second, plan, by=["style"], at=AT)
        assert result.not_priced == {refused: 1}
        assert [(group.key, group.jobs) for group in result.groups] == [(("oil",), 0), ((None,), 1)]


def test_under_two_books_without_such_models_the_column_is_a_label() -> None:
    plan = jobs({"model": "custom-element", "image_count": "two"})
    result = impact(PAGE, RULES, plan, by=["image_count"], at=AT)
    assert [(group.key, group.jobs) for group in result.groups] == [(("two",), 1)]
    named = impact(PAGE, OLD, plan, at=AT)
    assert list(named.not_priced) == [
        "evolink: image_count: is not an option of this model; old: unknown model 'custom-element'"
    ]


def test_parts_of_a_file_may_have_different_options(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("ledger.columns.plans.JSON_ROWS", 1)
    path = tmp_path / "plan.jsonl"
    rows = [{"model": "clip", "n": 3}, {"model": "clip", "style": "oil"}, {"model": "clip"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    result = impact(OLD, DEARER, path, at=AT)  # 3 + 3 + 1, and twice that
    assert (show_credits(result.total.first_e8), show_credits(result.total.second_e8)) == (
        "7",
        "14",
    )


# --- books ---------------------------------------------------------------------------------------

JUNE, OCTOBER = parse_moment("2026-06-01T12:00Z"), parse_moment("2026-10-10T12:00Z")


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    with Ledger("sqlite://", clock=lambda: OCTOBER, prices=PAGE) as found:
        found.top_up("studio", 10_000, key="invoice-1")
        yield found


def clip(seconds: str, quality: str = "720p") -> Any:
    return PAGE.job(
        "motion-control", quality=quality, character_orientation="video", seconds=seconds
    )


def reserve(ledger: Ledger, job: str, request: Any, **labels: str) -> None:
    ledger.reserve("studio", PAGE.quote(request, at=OCTOBER), key=job, labels=labels)


def test_charged_jobs_of_a_book_are_priced_again_with_their_lengths(ledger: Ledger) -> None:
    reserve(ledger, "one", clip("30"), team="ads")
    ledger.charge("one", seconds="10.2")  # 11 s and 10 s × 8.1648
    reserve(ledger, "two", clip("30", "1080p"), team="film")
    ledger.charge("two", seconds="12.4")  # 141.5939616 and 130.7021
    reserve(ledger, "element", PAGE.job("custom-element"), team="film")
    ledger.charge("element")  # 1 and 0.001
    reserve(ledger, "by amount", clip("30"))
    ledger.charge("by amount", 50)
    ledger.reserve("studio", 60, key="no quote")
    ledger.charge("no quote", 55)
    reserve(ledger, "released", clip("30"))
    ledger.release("released")
    reserve(ledger, "open", clip("30"))

    result = impact(PAGE, RULES, ledger)
    assert [(group.key[0], group.jobs) for group in result.groups] == [
        ("kling-custom-element", 1),
        ("kling-v3-motion-control", 2),
    ]
    # 89.8128 + 141.5939616 + 1, and 81.648 + 130.7021 + 0.001
    assert show_credits(result.total.first_e8) == "232.4067616"
    assert show_credits(result.total.second_e8) == "212.3511"
    assert effects(result) == {"rate": "-0.999", "rounding": "-19.0566616"}
    assert result.not_comparable == {
        "charged by an amount, not by its length": 1,
        "reserved for an amount, without a quote": 1,
    }
    assert result.not_comparable_jobs == 2
    assert result.not_priced == {}
    assert (result.at, result.jobs_of) == (None, "book main")

    teams = impact(PAGE, RULES, ledger, by=["team", "quality"])
    assert [(group.key, group.jobs) for group in teams.groups] == [
        (("ads", "720p"), 1),
        (("film", "1080p"), 1),
        (("film", None), 1),
    ]
    assert teams.total == result.total


def test_what_was_charged_is_not_looked_at(ledger: Ledger) -> None:
    # The hold takes no more than 3 s; the job was 10.2 s all the same.
    quote = PAGE.quote(clip("3"), at=OCTOBER)
    ledger.reserve("studio", quote, key="capped", policy="cap")
    ledger.charge("capped", seconds="10.2")
    assert str(ledger.hold("capped").charged) == "24.4944"
    assert show_credits(impact(PAGE, RULES, ledger).total.first_e8) == "89.8128"


def test_a_job_that_was_charged_in_parts_is_priced_in_parts(ledger: Ledger) -> None:
    reserve(ledger, "parts", clip("30"))
    ledger.charge("parts", seconds="4.2", key="part 1", final=False)
    ledger.charge("parts", seconds="5.4", key="part 2")
    result = impact(PAGE, RULES, ledger)
    assert result.total.jobs == 1
    assert show_credits(result.total.first_e8) == "89.8128"  # 5 s and 6 s
    assert effects(result) == {"rounding": "-16.3296"}  # 4 s and 5 s

    reserve(ledger, "mixed", clip("30"))
    ledger.charge("mixed", seconds="4.2", key="part 3", final=False)
    ledger.charge("mixed", 5, key="part 4")
    reserve(ledger, "mixed too", clip("30"))
    ledger.charge("mixed too", 5, key="part 5", final=False)
    ledger.charge("mixed too", seconds="4.2", key="part 6")
    mixed = impact(PAGE, RULES, ledger)
    assert mixed.total == result.total
    assert mixed.not_comparable == {"charged by an amount, not by its length": 2}


def test_a_job_that_was_refunded_in_full_is_left_out(ledger: Ledger) -> None:
    for job in ("kept", "in part", "in full"):
        reserve(ledger, job, clip("10"))
        ledger.charge(job, seconds="10")
    ledger.refund("in part", 5)
    ledger.refund("in full")
    result = impact(PAGE, RULES, ledger)
    assert show_credits(result.total.first_e8) == "163.296"  # twice 10 s × 8.1648
    assert result.not_comparable == {"refunded in full": 1}


def test_each_job_has_the_prices_of_its_own_reserve_unless_a_moment_is_named() -> None:
    clock = Clock()
    clock.now = JUNE
    with Ledger("sqlite://", clock=clock, prices=PAGE) as ledger:
        ledger.top_up("studio", 10_000, key="invoice-1")
        for job, moment in (("june", JUNE), ("october", OCTOBER)):
            clock.now = moment
            quote = PAGE.quote(PAGE.job("custom-element"), at=moment)
            ledger.reserve("studio", quote, key=job)
            ledger.charge(job)
        # The rules have no price for an element before 2026-10-03.
        result = impact(PAGE, RULES, ledger)
        assert (result.total.jobs, result.total.not_priced_jobs) == (1, 1)
        assert result.not_priced == {
            f"evolink-rules: kling-custom-element: no price before {_first_price()}": 1
        }
        named = impact(PAGE, RULES, ledger, at=AT)
        assert named.total.jobs == 2
        assert named.at == parse_moment(AT)


def test_equal_jobs_have_the_price_of_their_day() -> None:
    first, clock = own(), Clock()
    september = {**PRICE, "rate": "4", "effective_from": "2026-09-01T00:00:00Z"}
    prices = [{**PRICE, "rate": "3"}, september]
    file = {"model": "clip", "body": "motion_control", "price": prices}
    second = PriceBook("second", [ModelFile.model_validate(file)], PAGE.rates)
    job = first.job("clip", character_orientation="video", seconds="10")
    with Ledger("sqlite://", clock=clock, prices=first) as ledger:
        for name, moment in (("june", JUNE), ("october", OCTOBER)):
            clock.now = moment
            ledger.top_up("studio", 100, key=name)
            ledger.reserve("studio", first.quote(job, at=moment), key=name)
            ledger.charge(name, seconds="10")
        result = impact(first, second, ledger)
        assert str(result.total.difference) == "30"  # 20 and 20; 30 and 40
        assert str(impact(first, second, ledger, at=AT).total.difference) == "40"


def test_a_length_that_a_price_needs_and_the_book_has_not_is_no_price(ledger: Ledger) -> None:
    # What settles on the generated length does not keep the reference, which this one bills too.
    reserve(ledger, "one", clip("30"))
    ledger.charge("one", seconds="10.2")
    file = {
        "model": "kling-v3-motion-control",
        "body": "motion_control",
        "price": [{**PRICE, "settles_on": "input_and_output"}],
    }
    both = PriceBook("both", [ModelFile.model_validate(file)], PAGE.rates)
    [reason] = impact(PAGE, both, ledger).not_priced
    assert reason.startswith("both: kling-v3-motion-control: bills the reference clip too")


def test_many_equal_jobs_of_a_book_are_priced_once(ledger: Ledger) -> None:
    for number in range(20):
        reserve(ledger, f"job-{number}", clip("30"))
        ledger.charge(f"job-{number}", seconds="10.2")
    done: list[int] = []
    result = impact(PAGE, RULES, ledger, progress=done.append)
    assert effects(result) == {"rounding": "-163.296"}  # 20 × 8.1648
    assert done == list(range(1, 21))


def test_a_book_takes_no_options_of_plans_and_knows_its_labels(ledger: Ledger) -> None:
    with pytest.raises(InvalidInput, match="are for plans"):
        impact(PAGE, RULES, ledger, model="motion-control")
    with pytest.raises(InvalidInput, match="are for plans"):
        impact(PAGE, RULES, ledger, expected_seconds=5)
    assert impact(PAGE, RULES, ledger, by=["tema"]).total.jobs == 0
    reserve(ledger, "one", clip("30"), team="ads")
    ledger.charge("one", seconds="10.2")
    with pytest.raises(InvalidEntry, match=r"tema: is a label of no job; .*team"):
        impact(PAGE, RULES, ledger, by=["tema"])


def test_the_function_and_not_a_module_has_the_public_name() -> None:
    # A module of the same name would hide it as soon as something else is imported from there.
    assert sys.modules["ledger"].__dict__["impact"] is impact
    assert callable(impact)

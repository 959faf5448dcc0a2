"""The provider's pricing document as a price book: rates where it has them, formulas where not."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import product
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
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
    rule,
    sample_text,
    tier,
    variable,
)
from writers import NOON, Clock

from ledger import Ledger, MotionControl, VideoEdit, estimate, price_frame
from ledger.errors import (
    InvalidPriceFile,
    InvalidRequest,
    LedgerError,
    NeedsInput,
    NeedsLength,
    NoPriceInForce,
    RuleFailed,
    UnknownChannel,
    UnknownModel,
    UnknownVersion,
)
from ledger.evolink import PublishedRules, Rules, book_names, keep, kept_books, open_prices
from ledger.evolink.kept import FOLDER
from ledger.evolink.rules import Rule
from ledger.evolink.shapes import as_prices, shape_of
from ledger.pricebook import PriceBook
from ledger.pricebook.review import describe, differences
from ledger.pricing import Terms
from ledger.records import Entry
from ledger.requests import CatalogueJob, Request
from ledger.units import ExchangeRates

AT = "2026-11-01"
LAW = settings(max_examples=150, deadline=None)
SECONDS = st.decimals("0.01", "40", places=3)

INPUT, OUTPUT, ASKED = map(variable, ("input_seconds", "output_seconds", "duration_seconds"))


def published(*models: Json, name: str = "rules", **meta: Any) -> PublishedRules:
    text = json.dumps(document(*models, **meta)).encode()
    return PublishedRules(text, name, source="rules.json")


def clip(quantity: Json, **said: Any) -> Json:
    """A model priced by the length that is asked for."""
    asked = number_parameter("duration_seconds", "integer", minimum="3", maximum="15", default="5")
    return model(component(quantity), parameters=[asked, *said.pop("more", [])], **said)


def edit(quantity: Json, *, operation: str = "video_edit", **said: Any) -> Json:
    """A model priced by the clip that is handed in and the one that is made."""
    lengths = [
        number_parameter("input_seconds", minimum="0", default="0"),
        number_parameter("output_seconds", minimum="0", default="0"),
    ]
    return model(component(quantity), parameters=lengths, operation=operation, **said)


@pytest.fixture(scope="module")
def sample() -> PublishedRules:
    return PublishedRules(sample_text(), "sample", source="sample")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder for kept books."""
    path = tmp_path / "books"
    monkeypatch.setenv(FOLDER, str(path))
    return path


# --- Which rules are a rate times a length -------------------------------------------------------


def shape(quantity: Json) -> Any:
    [part] = published_rule(edit(quantity)).components
    return shape_of(part.quantity)


def published_rule(found: Json) -> Rule:
    return Rules.parse(json.dumps(document(found))).models["clip"]


@pytest.mark.parametrize(
    ("quantity", "mode", "step", "factor", "shortest", "longest"),
    [
        (OUTPUT, None, (1, 1), (1, 1), None, None),
        (apply("ceil", OUTPUT), "ceil", (1, 1), (1, 1), None, None),
        (apply("floor", OUTPUT), "floor", (1, 1), (1, 1), None, None),
        (nearest_second(OUTPUT), "half_up", (1, 1), (1, 1), None, None),
        (apply("floor", apply("add", constant("0.5"), OUTPUT)), "half_up", (1, 1), (1, 1), None,
         None),
        # ceil(10 x) / 10: up to a tenth of a second
        (apply("divide", apply("ceil", apply("multiply", OUTPUT, constant("10"))), constant("10")),
         "ceil", (1, 10), (1, 1), None, None),
        # 2 x ceil(x / 5): up to steps of 5 s, two fifths of a unit each second
        (apply("multiply", constant("2"), apply("ceil", apply("divide", OUTPUT, constant("5")))),
         "ceil", (5, 1), (2, 5), None, None),
        (apply("max", apply("ceil", OUTPUT), constant("3")), "ceil", (1, 1), (1, 1), (3, 1), None),
        (apply("min", apply("max", OUTPUT, constant("3")), constant("9.5")), None, (1, 1), (1, 1),
         (3, 1), (19, 2)),
        # the bound is of the product: 1.5 x is at least 6 where x is at least 4
        (apply("max", apply("multiply", OUTPUT, constant("1.5")), constant("6")), None, (1, 1),
         (3, 2), (4, 1), None),
        (apply("if", apply("gt", OUTPUT, constant("0")), apply("ceil", OUTPUT), constant("10")),
         "ceil", (1, 1), (1, 1), None, None),
        (apply("if", apply("eq", OUTPUT, constant("0")), constant("10"), OUTPUT), None, (1, 1),
         (1, 1), None, None),
        (constant("3"), None, (1, 1), (3, 1), None, None),
    ],
)  # fmt: skip
def test_a_length_rounded_once_times_a_number_is_a_shape(
    quantity: Json, mode: Any, step: Any, factor: Any, shortest: Any, longest: Any
) -> None:
    found = shape(quantity)
    assert (found.mode, found.step, found.factor) == (mode, step, factor)
    assert (found.shortest, found.longest) == (shortest, longest)


@pytest.mark.parametrize(
    "quantity",
    [
        apply("multiply", OUTPUT, OUTPUT),
        apply("divide", constant("1"), OUTPUT),
        apply("add", OUTPUT, constant("1")),
        apply("add", OUTPUT, OUTPUT),
        apply("subtract", OUTPUT, INPUT),
        apply("ceil", apply("ceil", apply("multiply", OUTPUT, constant("0.7")))),
        apply("max", OUTPUT, INPUT),
        apply("max", apply("ceil", OUTPUT), constant("2.5")),  # no whole number of steps
        apply("min", OUTPUT, constant("0")),
        apply("max", apply("min", OUTPUT, constant("3")), constant("9")),
        apply("floor", apply("multiply", OUTPUT, constant("-1"))),
        apply("if", apply("gt", OUTPUT, constant("5")), OUTPUT, constant("5")),
        apply("if", apply("gt", INPUT, constant("0")), OUTPUT, constant("5")),
        apply("clamp", OUTPUT, constant("3"), constant("9")),
    ],
)
def test_anything_else_is_a_formula(quantity: Json) -> None:
    assert shape(quantity) is None


@st.composite
def shapes(draw: st.DrawFn) -> Json:
    """Quantities of that shape, and a few that are not."""
    numbers = st.sampled_from(["0.5", "1", "1.334", "2", "3", "10", "0.01"]).map(constant)
    tree: Json = OUTPUT
    for _ in range(draw(st.integers(0, 4))):
        op = draw(st.sampled_from(["multiply", "divide", "ceil", "floor", "max", "min", "nearest"]))
        if op == "nearest":
            tree = nearest_second(tree)
        elif op in {"ceil", "floor"}:
            tree = apply(op, tree)
        else:
            parts = [tree, draw(numbers)]
            tree = apply(op, *(parts if op == "divide" else draw(st.permutations(parts))))
    return tree


@settings(LAW, max_examples=400)
@given(
    quantity=shapes(),
    seconds=SECONDS,
    uc=st.sampled_from(["1", "81648", "1102.5", "0.5"]),
    minimum=st.sampled_from(["0", "7", "244944"]),
    mode=st.sampled_from(["half_up", "ceil", "floor"]),
)
def test_a_rule_and_the_price_it_becomes_charge_the_same(
    quantity: Json, seconds: Decimal, uc: str, minimum: str, mode: str
) -> None:
    lengths = [number_parameter("output_seconds", minimum="0", default="0")]
    part = component(quantity, uc=uc, minimum=minimum, mode=mode)
    found = model(part, parameters=lengths, operation="video_edit",
                  settlement_basis="request_then_actual")  # fmt: skip
    book = published(found)
    charged = book.charge(VideoEdit(model="clip"), seconds=seconds, at=AT).credits_e8
    by_rule = published_rule(found).price({"output_seconds": seconds}).total_uc
    assert charged == by_rule * 10_000


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"operation": "image_generation"}, "no request body of its own"),
        ({"pricing_status": "unavailable"}, "no price"),
    ],
)
def test_a_model_of_another_kind_is_a_formula(said: dict[str, Any], why: str) -> None:
    found = published_rule(clip(ASKED, **said))
    assert as_prices(found, None, source="s", checked=date(2026, 10, 10)) is None, why


@pytest.mark.parametrize(
    "part",
    [
        component(ASKED, point="per_quantity"),
        component(ASKED, condition=apply("gt", ASKED, constant("3"))),
        component(ASKED, tiers=[tier(apply("gt", ASKED, constant("9")), "2", "200")]),
        component(ASKED, pricing_status="unavailable"),
        component(apply("divide", ASKED, constant("7"))),  # a seventh has no decimal
    ],
)
def test_a_component_that_no_price_file_can_hold_is_a_formula(part: Json) -> None:
    asked = number_parameter("duration_seconds", "integer", default="5")
    found = published_rule(model(part, parameters=[asked]))
    assert as_prices(found, None, source="s", checked=date(2026, 10, 10)) is None


def test_a_factor_without_a_decimal_may_become_a_rate_that_has_one() -> None:
    # 83,980 UC x 8 / 13 = 51,680 for 768p, of which 2k is 13 / 8 = 1.625.
    table = lookup(variable("quality"), **{"2k": "13", "768p": "8"})
    quantity = apply("divide", apply("multiply", ASKED, table), constant("13"))
    quality = choice_parameter("quality", "2k", "768p", default="768p")
    asked = number_parameter("duration_seconds", "integer", minimum="4", maximum="15", default="4")
    found = published_rule(model(component(quantity, uc="83980"), parameters=[asked, quality]))
    file = as_prices(found, None, source="s", checked=date(2026, 10, 10))
    assert file is not None
    [price] = file.price
    assert (price.rate, price.multiplier[0].table) == (
        Decimal("5.168"),
        {"2k": Decimal("1.625"), "768p": Decimal(1)},
    )
    assert (file.defaults.quality, file.defaults.duration) == ("768p", 4)


# --- The provider's own document -----------------------------------------------------------------

FORMULAS = {"gpt-5.6-luna", "kling-o1-image-to-video", "krea-2-turbo"}


def test_of_the_sample_three_models_are_formulas(sample: PublishedRules) -> None:
    assert len(sample.models) == 24
    assert set(sample.formulas) == FORMULAS


def jobs(book: PublishedRules, name: str) -> Iterator[tuple[Request, dict[str, Any]]]:
    """A job for every combination of options, and what the rule has to know of it."""
    parameters = book.rules.models[name].parameters
    chosen = {
        option: parameters[option].values or ()
        for option in ("quality", "sound")
        if option in parameters
    }
    orientation = "video" if "motion-control" in name else None
    for values in product(*chosen.values()):
        options = dict(zip(chosen, values, strict=True))
        seconds = "5" if "duration_seconds" in parameters else None
        if "input_seconds" in parameters and "output_seconds" in parameters:
            seconds = "4.25"
        yield (
            book.job(
                name,
                character_orientation=orientation,
                seconds=seconds,
                quality=options.get("quality"),
                sound=options.get("sound"),
            ),
            options,
        )


@pytest.mark.parametrize("seconds", ["0.01", "2", "2.499999", "5", "5.49", "5.5", "10", "14.91"])
def test_every_model_is_charged_as_its_rule_says(sample: PublishedRules, seconds: str) -> None:
    tried = 0
    for name, found in sample.rules.models.items():
        if name in FORMULAS - {"krea-2-turbo"}:
            continue
        for job, options in jobs(sample, name):
            made = Decimal(seconds)
            values: dict[str, Any] = {
                **options,
                "input_seconds": Decimal("4.25"),
                "output_seconds": made,
                # Whole seconds are made as they were asked for; of others the clip is measured.
                "duration_seconds": 5 if is_whole(found) else made,
            }
            if name in BY_INPUT:
                values["input_seconds"] = made
                job = job.model_copy(update={"reference_seconds": made})  # noqa: PLW2901
            if "duration_seconds" in found.parameters and made < 3 and not is_whole(found):
                continue  # the rule itself refuses what nobody can ask for
            charged = sample.charge(job, seconds=seconds, at=AT).credits_e8
            assert charged == found.price(values).total_uc * 10_000, (name, options)
            tried += 1
    assert tried > 30


BY_INPUT = {"kling-o1-video-edit", "kling-o1-video-edit-fast"}


def is_whole(found: Rule) -> bool:
    asked = found.parameters.get("duration_seconds")
    return asked is not None and asked.type == "integer"


@pytest.mark.parametrize(
    ("quality", "seconds", "uc"),
    [
        ("720p", "2", 244_944),
        ("1080p", "2", 244_944),
        ("720p", "5.49", 408_240),
        ("720p", "5.5", 489_888),
        ("1080p", "10", 1_089_184),
        ("1080p", "30", 3_267_553),
    ],
)
def test_motion_control_is_priced_digit_for_digit(quality: str, seconds: str, uc: int) -> None:
    book = published(motion_control())
    job = MotionControl(quality=quality, character_orientation="video")
    assert book.charge(job, seconds=seconds, at=AT).credits_e8 == uc * 10_000


def test_the_sample_differs_from_the_product_pages_where_the_rules_do(
    sample: PublishedRules,
) -> None:
    found = differences(PriceBook.bundled(), sample, datetime(2026, 11, 1, tzinfo=UTC))
    told = {(item["model"], item["what"]): (item["first"], item["second"]) for item in found}
    assert {key: value for key, value in told.items() if key[0] == "kling-v3-motion-control"} == {
        ("kling-v3-motion-control", "seconds are rounded"): ("up", "to the nearest"),
        ("kling-v3-motion-control", "shortest billed seconds"): ("3", "none"),
        ("kling-v3-motion-control", "smallest charge"): ("0", "24.4944"),
        ("kling-v3-motion-control", "charges are multiples of"): ("0.00000001", "0.0001"),
    }
    element = ("kling-custom-element", "credits per call: any options")
    assert told[element] == ("1", "0.001")
    assert told["krea-2-turbo", "priced"] == (None, "yes")
    assert not [key for key in told if key[0] in {"kling-v3-text-to-video", "kling-o3-video-edit"}]


def test_the_bundled_rules_are_those_of_the_sample(sample: PublishedRules) -> None:
    bundled = PriceBook.bundled("evolink-rules")
    found = differences(bundled, sample, datetime(2026, 11, 1, tzinfo=UTC))
    assert {item["what"] for item in found if item["model"] in bundled.models} == {
        "shortest billed seconds"  # of HappyHorse's edit, where the smallest charge says the same
    }


# --- What a price file or a request cannot say ---------------------------------------------------


def is_formula(found: Json) -> bool:
    return set(published(found).formulas) == {"clip"}


def asked(type: str = "integer", **said: Any) -> Json:
    return number_parameter("duration_seconds", type, **said)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"parameters": [asked("decimal", default="5.5")]}, "nobody can ask for half a second"),
        (
            {"parameters": [asked(minimum="2.5", maximum="7.5", default="5")]},
            "nor for half a bound",
        ),
        ({"parameters": [asked(default="5")], "operation": "motion_control"}, "it asks for none"),
        ({"parameters": [asked(default="0")]}, "nobody can ask for nothing"),
        ({"parameters": [asked(default="-5")]}, "nor for less"),
        ({"parameters": [asked(minimum="-3", maximum="15")]}, "nor for a bound below that"),
    ],
)
def test_what_a_request_cannot_ask_for_is_a_formula(said: dict[str, Any], why: str) -> None:
    assert is_formula(model(component(ASKED), **said)), why


@pytest.mark.parametrize(
    ("bounds", "least", "most"),
    [
        ({"minimum": "3"}, 3, 1_000_000),
        ({"maximum": "10"}, 1, 10),
        ({"minimum": "3", "maximum": "10"}, 3, 10),
    ],
)
@pytest.mark.parametrize("type", ["integer", "decimal"])
def test_one_bound_of_what_can_be_asked_for_is_kept_to_as_well(
    type: str, bounds: dict[str, str], least: int, most: int
) -> None:
    length = asked(type, **bounds)
    found = model(component(ASKED), parameters=[length], settlement_basis="request_then_actual")
    book = published(found)
    for seconds in (least, most):
        expected = Decimal(seconds) / 100  # 100 UC a second
        assert book.quote(book.job("clip", seconds=seconds), at=AT).maximum == expected
    outside = [seconds for seconds in (least - 1, most + 1) if 0 < seconds <= 1_000_000]
    for seconds in outside:
        with pytest.raises(InvalidRequest, match=f"must be {least} to {most}, not {seconds}"):
            book.job("clip", seconds=seconds)
    plan = pl.DataFrame({"model": "clip", "seconds": [least, *outside]})
    assert price_frame(plan, book, at=AT)["maximum_e8"].to_list() == [
        least * 1_000_000,
        *[None] * len(outside),
    ]


def test_bounds_of_whole_seconds_are_whole_seconds() -> None:
    # Half seconds as bounds of an integer: 3 to 15 are what it can be.
    length = number_parameter("output_seconds", "integer", minimum="2.5", maximum="15.5")
    style = choice_parameter("style", "plain", "oil", default="plain")
    tree = apply("multiply", OUTPUT, lookup(variable("style"), plain="1", oil="2"))
    book = published(model(component(tree), parameters=[length, style]))
    plan = pl.DataFrame({"model": "clip", "seconds": ["1", "3", "15", "16", None]})
    priced = price_frame(plan, book, at=AT)
    assert priced["maximum_e8"].to_list() == [each * 1_000_000 for each in (3, 3, 15, 15, 15)]
    for row, amount_e8 in zip(plan["seconds"], priced["maximum_e8"], strict=True):
        quote = book.quote(book.job("clip", seconds=row), at=AT)
        assert quote.maximum_charge.credits_e8 == amount_e8


@pytest.mark.parametrize("seconds", ["2", "2.99", "15.01", "20"])
def test_a_length_that_cannot_be_asked_for_is_not_priced_as_the_nearest(seconds: str) -> None:
    # A style has no place in any body, so the job is one of the catalogue.
    style = lookup(variable("style"), plain="1", oil="2")
    length = asked("decimal", minimum="3", maximum="15", default="5")
    parameters = [length, choice_parameter("style", "plain", "oil")]
    part = component(apply("multiply", ASKED, style))
    book = published(model(part, parameters=parameters, settlement_basis="request_then_actual"))
    options = {"style": "oil"}
    with pytest.raises(InvalidRequest, match=r"seconds: must be a number from 3 to 15, not '"):
        book.job("clip", seconds=seconds, options=options)
    with pytest.raises(InvalidRequest, match=r"duration: must be a number from 3 to 15, not '"):
        book.parse({"model": "clip", "duration": float(seconds), **options})
    plan = pl.DataFrame({"model": "clip", "seconds": [seconds, "3", "15"], "style": "oil"})
    priced = price_frame(plan, book, at=AT)
    assert priced["maximum_e8"].to_list() == [None, 6_000_000, 30_000_000]
    assert priced["not_priced"][0] == f"seconds: must be a number from 3 to 15, not '{seconds}'"
    # What was made is a fact: it is billed within what the rule declares.
    job = book.job("clip", seconds="5", options=options)
    assert book.charge(job, seconds=seconds, at=AT).credits == (
        Decimal("0.06") if Decimal(seconds) < 3 else Decimal("0.3")
    )


@pytest.mark.parametrize(
    "length",
    [
        {"name": "input_seconds", "type": "decimal", "minimum": "3"},
        {"name": "input_seconds", "type": "decimal", "maximum": "15"},
        {"name": "input_seconds", "type": "integer"},
        {"name": "output_seconds", "type": "decimal", "minimum": "3"},
        {"name": "output_seconds", "type": "integer"},
    ],
    ids=lambda length: " ".join(length.values()),
)
def test_a_measured_length_that_only_the_rule_keeps_to_is_a_formula(length: Json) -> None:
    seconds = variable(length["name"])
    assert is_formula(model(component(seconds), parameters=[length], operation="video_edit"))
    # That a length is not negative says nothing.
    either = {"name": length["name"], "type": "decimal", "minimum": "0"}
    assert not is_formula(model(component(seconds), parameters=[either], operation="video_edit"))


def test_a_reference_beyond_what_the_rule_declares_has_no_price() -> None:
    length = number_parameter("input_seconds", minimum="3", maximum="15")
    book = published(model(component(INPUT), parameters=[length], operation="video_edit"))
    assert book.quote(book.job("clip", seconds="15"), at=AT).maximum == Decimal("0.15")
    for seconds in ("2.9", "15.1"):
        with pytest.raises(RuleFailed, match="must be a number from 3 to 15"):
            book.quote(book.job("clip", seconds=seconds), at=AT)


@pytest.mark.parametrize(
    ("billed", "longest", "credits"),
    [
        (apply("ceil", OUTPUT), "10.5", "0.11"),  # 12.4 s are billed as 10.5 s, and those as 11
        (apply("ceil", OUTPUT), "10", "0.1"),
        (apply("min", OUTPUT, constant("10")), "8", "0.08"),
        (apply("min", OUTPUT, constant("8")), "10", "0.08"),
    ],
)
def test_a_clip_is_billed_up_to_the_longest_that_the_rule_declares(
    billed: Json, longest: str, credits: str
) -> None:
    length = number_parameter("output_seconds", minimum="0", maximum=longest)
    book = published(model(component(billed), parameters=[length], operation="video_edit"))
    job = book.job("clip")
    assert book.charge(job, seconds="12.4", at=AT).credits == Decimal(credits)
    assert book.quote(job, at=AT).maximum == Decimal(credits)


def test_a_body_that_asks_for_a_length_carries_no_reference() -> None:
    assert is_formula(edit(INPUT, operation="reference_to_video"))


def test_a_smallest_charge_of_half_a_unit_is_left_to_the_rule() -> None:
    part = component(ASKED, uc="100", minimum="1102.5")
    found = model(part, parameters=[asked(default="5")])
    assert is_formula(found)
    with pytest.raises(RuleFailed, match="whole number of UC"):
        published(found).quote(published(found).job("clip"), at=AT)


def test_only_parameters_that_the_rule_reads_are_options() -> None:
    table = lookup(variable("quality"), **{"720p": "1", "1080p": "2"})
    parameters = [
        asked(default="5"),
        choice_parameter("quality", "720p", "1080p", default="720p"),
        choice_parameter("resolution", "720p", "1080p", default="1080p"),
    ]
    book = published(model(component(apply("multiply", ASKED, table)), parameters=parameters))
    assert book.quote(book.job("clip"), at=AT).maximum == Decimal("0.05")  # 5 x 100 UC at 720p


def test_the_document_s_values_and_bounds_win_over_the_bundled_limits() -> None:
    found = motion_control()
    found["parameters"][2]["values"].append("4k")
    factors = found["components"][0]["quantity_rule"]["args"][1]["values"]
    factors["4k"] = "2.5"
    book = published(found)
    job = MotionControl(quality="4k", character_orientation="video", reference_seconds=10)
    assert book.quote(job, at=AT).maximum == Decimal("204.12")  # 10 x 8.1648 x 2.5
    with pytest.raises(InvalidRequest, match="must be 720p, 1080p or 4k, not '8k'"):
        book.job("motion-control", quality="8k", character_orientation="video")


def test_a_large_tree_of_many_options_is_not_worked_through() -> None:
    values = {f"v{number}": "2" for number in range(60)}
    quality = choice_parameter("quality", *values, default="v0")
    sound = choice_parameter("sound", *values, default="v0")
    tree = apply("multiply", ASKED, lookup(variable("quality"), **values),
                 lookup(variable("sound"), **values))  # fmt: skip
    found = model(component(tree), parameters=[asked(default="5"), quality, sound])
    assert is_formula(found)
    assert published(found).quote(published(found).job("clip"), at=AT).maximum == Decimal("0.2")


TIERS = [tier(apply("gt", variable("duration_seconds"), constant("20")), "2", "200")]


@pytest.mark.parametrize("tiers", [[], TIERS])
@pytest.mark.parametrize("basis", ["request_then_actual", "actual_usage"])
def test_a_price_and_a_formula_settle_on_the_same_length(tiers: list[Json], basis: str) -> None:
    length = asked("decimal", minimum="3", maximum="30", default="5")
    part = component(ASKED, tiers=tiers)
    book = published(model(part, parameters=[length], settlement_basis=basis))
    assert is_formula(model(part, parameters=[length])) == bool(tiers)
    job = book.job("clip", seconds="5")
    assert book.quote(job, at=AT).maximum == Decimal("0.05")
    assert book.charge(job, seconds="7.3", at=AT).credits == Decimal("0.073")


def test_whole_seconds_that_were_asked_for_are_billed_as_asked() -> None:
    length = asked(minimum="3", maximum="15", default="5")
    for tiers in ([], TIERS):
        found = model(component(ASKED, tiers=tiers), parameters=[length],
                      settlement_basis="request_then_actual")  # fmt: skip
        book = published(found)
        assert book.charge(book.job("clip"), seconds="7", at=AT).credits == Decimal("0.05")


def test_what_was_made_does_not_count_where_only_the_request_does() -> None:
    quantity = apply("if", apply("gt", OUTPUT, constant("0")), apply("ceil", OUTPUT),
                     apply("multiply", constant("2"), INPUT))  # fmt: skip
    book = published(edit(quantity, settlement_basis="request_only"))
    job = VideoEdit(model="clip", reference_seconds=8)
    assert book.quote(job, at=AT).maximum == Decimal("0.16")
    assert book.charge(job, seconds=6, at=AT).credits == Decimal("0.16")


def test_a_reference_that_matters_is_needed_and_one_that_does_not_is_not() -> None:
    matters = apply("add", INPUT, apply("multiply", constant("2"), OUTPUT))
    book = published(edit(matters, settlement_basis="request_then_actual"))
    with pytest.raises(NeedsInput, match="input_seconds"):
        book.charge(VideoEdit(model="clip"), seconds=5, at=AT)
    rule_ = motion_control()
    rule_["components"][0]["rounding"]["point"] = "per_tier"  # a formula that charges the same
    book = published(rule_)
    job = MotionControl(quality="720p", character_orientation="video")
    assert book.charge(job, seconds=10, at=AT).credits == Decimal("81.648")


def test_a_formula_of_a_known_model_keeps_its_short_name_and_its_longest_clip() -> None:
    found = motion_control()
    found["components"][0]["rounding"]["point"] = "per_tier"
    book = published(found)
    job = book.job("motion-control", character_orientation="image")
    quote = book.quote(job, at=AT)
    assert (quote.minimum, quote.maximum) == (Decimal("24.4944"), Decimal("81.648"))  # 3 to 10 s


def test_a_range_whose_end_has_no_price_is_that_of_the_rest() -> None:
    gone = tier(apply("gt", OUTPUT, constant("20")), "2", "200", pricing_status="unavailable")
    length = number_parameter("output_seconds", minimum="2", maximum="30", default="5")
    found = model(component(apply("ceil", OUTPUT), tiers=[gone]), parameters=[length],
                  operation="video_edit", settlement_basis="request_then_actual")  # fmt: skip
    quote = published(found).quote(VideoEdit(model="clip"), at=AT)
    assert quote.minimum == Decimal("0.02")
    assert quote.maximum >= Decimal("0.2")


def test_numbers_of_a_model_that_settles_on_usage_have_no_default() -> None:
    characters = number_parameter("input_characters", "integer", default="0")
    found = model(component(variable("input_characters")), parameters=[characters],
                  operation="speech", settlement_basis="actual_usage")  # fmt: skip
    book = published(found)
    with pytest.raises(NeedsInput, match="input_characters"):
        book.quote(book.job("clip"), at=AT)


def test_a_default_that_is_no_number_is_no_length() -> None:
    length = choice_parameter("duration_seconds", "auto", "5", default="auto")
    book = published(model(component(lookup(ASKED, auto="4", **{"5": "5"})), parameters=[length],
                           operation="dubbing"))  # fmt: skip
    with pytest.raises(LedgerError):
        book.quote(book.job("clip"), at=AT)
    assert book.quote(book.job("clip", seconds=5), at=AT).maximum == Decimal("0.05")


@pytest.mark.parametrize(
    ("options", "seconds", "problem"),
    [
        ({"qualty": "2K"}, None, r"qualty: is nothing that .*; did you mean quality\?"),
        ({"sound": "on"}, None, "sound: is nothing"),
        ({}, "7", "seconds: is nothing"),
    ],
)  # fmt: skip
def test_an_option_that_means_nothing_is_refused(
    options: dict[str, str], seconds: str | None, problem: str
) -> None:
    quality = choice_parameter("quality", "1K", "2K", default="1K")
    part = component(lookup(variable("quality"), **{"1K": "1", "2K": "4"}))
    book = published(model(part, parameters=[quality], operation="image_generation"))
    with pytest.raises(InvalidRequest, match=problem):
        book.job("clip", options=options, seconds=seconds)


@pytest.mark.parametrize("name", ["duration", "duration_seconds", "seconds"])
def test_a_length_may_have_any_of_its_names(name: str) -> None:
    found = model(component(ASKED), parameters=[asked(default="5")], operation="dubbing")
    book = published(found)
    assert book.quote(book.job("clip", options={name: "7"}), at=AT).maximum == Decimal("0.07")
    assert book.quote(book.parse({"model": "clip", name: 7}), at=AT).maximum == Decimal("0.07")
    with pytest.raises(InvalidRequest, match="say two lengths"):
        book.job("clip", options={"duration": "7"}, seconds=8)


def test_a_decimal_of_a_body_counts() -> None:
    size = number_parameter("megapixels", default="1")
    part = component(variable("megapixels"), uc="10000")
    book = published(model(part, parameters=[size], operation="image_generation"))
    body = {"model": "clip", "megapixels": 4.5, "prompt": "a cat"}
    assert book.quote(book.parse(body), at=AT).maximum == Decimal("4.5")


def test_a_rate_that_cannot_be_kept_is_refused() -> None:
    with pytest.raises(InvalidPriceFile, match="exchange_rate_version"):
        published(model(), exchange_rate_version="pricing-fx/v1:USD-CNY=6.80000000000000000001")


def test_an_equation_says_only_what_is_equal(sample: PublishedRules) -> None:
    told = dict.fromkeys(("cache_read_tokens", "cache_write_tokens", "output_tokens"), "0")
    job = sample.job("gpt-5.6-luna", options={"prompt_tokens": "1", "input_tokens": "9000"} | told)
    assert sample.quote(job, at=AT).expected_charge.formula() == (
        "0 1k_tokens × 0.0013 → 0.01 credits, its smallest charge"
        " + 0 1k_tokens × 0.0153 → 0.01 credits, its smallest charge"
        " + 9 1k_tokens × 0.0123 = 0.1107 credits"
        " + 0 1k_tokens × 0.0735 → 0.01 credits, its smallest charge"
    )


# --- Quotes --------------------------------------------------------------------------------------


def test_an_unknown_length_is_a_range_and_never_the_rule_s_fallback() -> None:
    book = published(motion_control())
    quote = book.quote(MotionControl(character_orientation="video"), at=AT)
    # 3 to 30 s at 8.1648; the rule itself would take 10 s.
    assert (quote.minimum, quote.maximum) == (Decimal("24.4944"), Decimal("244.944"))
    assert quote.expected == quote.maximum


def test_a_range_that_does_not_rise_with_the_length_is_not_cut_at_its_ends() -> None:
    # Ten less the seconds, at least 1: dearest for the shortest clip.
    falling = apply("max", apply("subtract", constant("10"), OUTPUT), constant("1"))
    lengths = [number_parameter("output_seconds", minimum="2", maximum="12", default="5")]
    book = published(model(component(falling, uc="10000"), parameters=lengths,
                           operation="video_edit"))  # fmt: skip
    quote = book.quote(VideoEdit(model="clip"), at=AT)
    assert (quote.minimum, quote.maximum) == (Decimal(1), Decimal(8))
    assert quote.lines[0].credits == 8


def test_measured_usage_is_needed_and_never_zero(sample: PublishedRules) -> None:
    job = sample.job("gpt-5.6-luna", options={"input_tokens": "1000"})
    with pytest.raises(NeedsInput, match=r"cache_read_tokens, .*prompt_tokens") as refused:
        sample.quote(job, at=AT)
    assert "prompt_tokens" in refused.value.variables
    told = dict.fromkeys(("cache_read_tokens", "cache_write_tokens", "output_tokens"), "0")
    job = sample.job("gpt-5.6-luna", options={"prompt_tokens": "1", "input_tokens": "9000"} | told)
    quote = sample.quote(job, at=AT)
    # 9 x 123 UC, and three times the smallest charge of 100 UC for nothing at all.
    assert quote.maximum == Decimal("0.1407")
    assert any("incomplete" in note for note in quote.notes)


def test_a_default_of_an_option_is_taken_and_told() -> None:
    parts = [
        component(constant("1"), id="small", uc="4500",
                  condition=apply("eq", variable("quality"), constant("1K"))),
        component(constant("1"), id="large", uc="18000",
                  condition=apply("eq", variable("quality"), constant("2K"))),
    ]  # fmt: skip
    quality = choice_parameter("quality", "1K", "2K", default="1K")
    book = published(model(*parts, parameters=[quality], operation="image_generation"))
    quote = book.quote(book.job("clip"), at=AT)
    assert (quote.maximum, quote.notes) == (
        Decimal("0.45"),
        ("no quality given: the provider takes 1K",),
    )
    assert book.quote(book.job("clip", quality="2K"), at=AT).maximum == Decimal("1.8")
    assert [line.label for line in quote.lines] == ["small"]
    assert "small: 1, at 0.45 credits per output_second, if quality = 1K" in quote.explain()
    with pytest.raises(RuleFailed, match="quality must be one of 1K, 2K, not '4K'"):
        book.quote(book.job("clip", quality="4K"), at=AT)


@pytest.mark.parametrize(
    ("body", "credits"),
    [
        ({"model": "clip", "n": 3}, 3),
        ({"model": "clip", "count": 2, "prompt": "a cat"}, 2),
        ({"model": "clip", "image_count": 4}, 4),
        ({"model": "clip"}, 1),
    ],
)
def test_options_of_a_body_are_found_under_their_other_names(body: Json, credits: int) -> None:
    count = number_parameter("image_count", "integer", minimum="1", maximum="10", default="1")
    part = component(variable("image_count"), uc="10000")
    book = published(model(part, parameters=[count], operation="image_generation"))
    job = book.parse(body)
    assert isinstance(job, CatalogueJob)
    assert book.quote(job, at=AT).maximum == credits


def test_a_length_that_only_an_enumeration_allows_is_priced_by_its_formula(
    sample: PublishedRules,
) -> None:
    quote = sample.quote(sample.job("kling-o1-image-to-video", seconds=10), at=AT)
    assert quote.maximum == 80
    with pytest.raises(RuleFailed, match="must be one of 5, 10, not '7'"):
        sample.quote(sample.job("kling-o1-image-to-video", seconds=7), at=AT)


def test_a_model_without_a_longest_clip_needs_its_length(sample: PublishedRules) -> None:
    with pytest.raises(NeedsLength, match="has no longest length"):
        sample.quote(sample.job("kling-o1-video-edit"), at=AT)
    # 7.123 s is 7.13 s up to a hundredth, at 12 credits.
    job = sample.job("kling-o1-video-edit", seconds="7.123")
    assert sample.quote(job, at=AT).maximum == Decimal("85.56")


def test_a_price_is_in_force_from_its_start_and_has_a_version() -> None:
    book = published(motion_control())
    job = MotionControl(character_orientation="video", reference_seconds=10)
    with pytest.raises(NoPriceInForce):
        book.quote(job, at="2026-04-21T15:00Z")
    version = book.quote(job, at=AT).terms.version
    assert version.id.startswith("rules/kling-v3-motion-control@2026-04-21T150036.114Z~")
    assert (version.source, version.checked) == ("rules.json", date(2026, 10, 10))


def test_a_formula_is_in_force_from_its_start_and_has_a_version() -> None:
    book = published(model(operation="image_generation"))
    job = book.job("clip")
    with pytest.raises(NoPriceInForce):
        book.quote(job, at="2026-04-21T15:00Z")
    version = book.quote(job, at=AT).terms.version.id
    assert book.charge(job, version=version).credits == Decimal("0.02")
    with pytest.raises(UnknownVersion):
        book.charge(job, version=f"{version[:-1]}x")
    with pytest.raises(UnknownChannel):
        book.quote(job, at=AT, channel="backup")


def test_a_version_changes_with_the_price_and_not_with_the_freshness() -> None:
    def version(**said: Any) -> str:
        uc, meta = said.pop("uc", "100"), said
        book = published(model(component(constant("2"), uc=uc), operation="image_generation"),
                         **meta)  # fmt: skip
        return book.quote(book.job("clip"), at=AT).terms.version.id

    assert version() == version(updated_at="2026-10-11T00:00:00Z", catalog_version="cat_2")
    assert version() != version(uc="101")


def test_an_unknown_model_is_told_with_those_that_are_near(sample: PublishedRules) -> None:
    with pytest.raises(UnknownModel, match="did you mean krea-2-turbo"):
        sample.job("krea-2-turb")
    assert sample.model("motion-control") == "kling-v3-motion-control"


@pytest.mark.parametrize("name", ["kling-v3-motion-control", "kling-o1-image-to-video"])
def test_a_model_with_a_class_takes_no_further_options(sample: PublishedRules, name: str) -> None:
    with pytest.raises(InvalidRequest, match="steps: is not an option of this model"):
        sample.job(name, character_orientation="video", options={"steps": "3"})


def test_dollars_are_those_of_the_document_from_its_capture_on() -> None:
    book = published(motion_control())
    assert [rate.credits_per_unit for rate in book.rates.rates] == [72, 68]
    job = MotionControl(character_orientation="video", reference_seconds=5)
    assert book.quote(job, at=AT).document()["usd"] is not None


# --- Formulas for people -------------------------------------------------------------------------


def test_a_formula_is_described_by_its_components(sample: PublishedRules) -> None:
    [shown] = describe(sample, "krea-2-turbo", datetime(2026, 11, 1, tzinfo=UTC))
    assert [(row["options"], row["unit"], row["unit_price"]) for row in shown["prices"]] == [
        ("if quality = 1K", "image", "0.45"),
        ("if quality = 2K", "image", "1.8"),
    ]
    assert shown["in_force"]


def test_tiers_and_smallest_charges_of_a_formula_are_described_too() -> None:
    many = tier(apply("gt", variable("tokens"), constant("1000")), "2", "40", minimum="30")
    parts = [
        component(variable("tokens"), id="read", uc="20", minimum="10", unit="token", tiers=[many]),
        component(constant("1"), id="call", uc="70", minimum="0", unit="call"),
    ]
    tokens = number_parameter("tokens", "integer", minimum="0")
    book = published(model(*parts, parameters=[tokens], modality="text"))
    [shown] = describe(book, "clip", datetime(2026, 11, 1, tzinfo=UTC))
    assert [(row["options"], row["unit"], row["unit_price"]) for row in shown["prices"]] == [
        ("read", "token", "0.002"),
        ("read, if tokens > 1000", "token", "0.004"),
        ("call", "call", "0.007"),
    ]
    explained = book.quote(book.job("clip", options={"tokens": "2000"}), at=AT).explain()
    assert "read: tokens, at 0.002 credits per token, at 0.004 if tokens > 1000\n" in explained
    assert "2000 token × 0.004 = 8 credits" in explained
    # No smallest charge is that of the whole job.
    assert shown["smallest_charge"] == "0"
    assert shown["note"] == (
        "read: tokens, at least 0.001 credits, at least 0.003 if tokens > 1000; call: 1"
    )


def test_what_changes_a_formula_is_a_difference() -> None:
    def book(uc: str, quantity: str) -> PublishedRules:
        return published(model(component(constant(quantity), uc=uc), operation="image_generation"))

    found = differences(book("100", "2"), book("110", "3"), datetime(2026, 11, 1, tzinfo=UTC))
    assert [(item["what"], item["first"], item["second"], item["change"]) for item in found] == [
        ("credits per output_second: output", "0.01", "0.011", "+10 %"),
        ("quantity: output", "2", "3", None),
    ]


OTHER: list[tuple[Json, str]] = [
    ({"mode": "ceil"}, "rounded: output"),
    ({"point": "per_quantity"}, "rounded: output"),
    ({"minimum": "7"}, "smallest charge: output"),
    ({"pricing_status": "unavailable"}, "available: output"),
    ({"tiers": [tier(apply("gt", constant("1"), constant("2")), "2", "200")]}, "tier 1: output"),
]


@pytest.mark.parametrize(("change", "what"), OTHER, ids=[what for _, what in OTHER])
def test_whatever_changes_a_formula_is_told(change: Json, what: str) -> None:
    def book(**said: Any) -> PublishedRules:
        part = component(constant("2"), **said)
        return published(model(part, operation="image_generation",
                               parameters=[asked(default="5")]))  # fmt: skip

    found = differences(book(), book(**change), datetime(2026, 11, 1, tzinfo=UTC))
    assert [item["what"] for item in found] == [what]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"minimum": "4"}, "duration that can be asked for"),
        ({"maximum": "10"}, "duration that can be asked for"),
        ({"default": "6"}, "default duration"),
    ],
)
def test_what_can_be_asked_for_and_what_is_taken_are_figures_of_a_price(
    change: dict[str, str], what: str
) -> None:
    def book(**said: str) -> PublishedRules:
        length = asked(**{"minimum": "3", "maximum": "15", "default": "5"} | said)
        return published(model(component(ASKED), parameters=[length]))

    found = differences(book(), book(**change), datetime(2026, 11, 1, tzinfo=UTC))
    assert [item["what"] for item in found] == [what]


def test_dollars_and_the_rounding_of_charges_are_differences_too() -> None:
    def book(mode: str) -> PublishedRules:
        return published(model(component(ASKED, mode=mode), parameters=[asked(default="5")]))

    found = differences(book("half_up"), book("ceil"), datetime(2026, 11, 1, tzinfo=UTC))
    assert [(item["what"], item["first"], item["second"]) for item in found] == [
        ("charges are rounded", "to the nearest", "up")
    ]
    early = datetime(2026, 1, 1, tzinfo=UTC)
    own = PriceBook("own", [], ExchangeRates([]))
    assert differences(PriceBook.bundled(), own, early)[-1]["what"] == "credits per USD"


# --- Overlays ------------------------------------------------------------------------------------

DISCOUNT = """
name = "acme"
[[overlay]]
model = "{model}"
source = "our contract"
checked = 2026-10-10
discount = 0.1
"""


def test_an_overlay_reaches_every_rate_and_says_where_it_does_not(tmp_path: Path) -> None:
    text = json.dumps(
        document(motion_control(), model(model_id="kling-picture", operation="image_generation"))
    ).encode()
    overlay = tmp_path / "acme.toml"
    overlay.write_text(DISCOUNT.format(model="kling-*"))
    book = PublishedRules(text, "rules", source="rules.json", overlays=[overlay])
    job = MotionControl(character_orientation="video", reference_seconds=10)
    assert book.quote(job, at=AT).maximum == Decimal("73.4832")  # 81.648 less a tenth
    [note] = book.quote(book.job("kling-picture"), at=AT).notes
    assert note == "overlay acme does not change this price: it is a formula"


@pytest.mark.parametrize("pattern", ["clip", "cl*"])
def test_an_overlay_for_a_formula_alone_is_refused(tmp_path: Path, pattern: str) -> None:
    overlay = tmp_path / "acme.toml"
    overlay.write_text(DISCOUNT.format(model=pattern))
    text = json.dumps(document(model(operation="image_generation"))).encode()
    with pytest.raises(InvalidPriceFile, match=r"overlay\.0\.model: cl\S+ is a formula"):
        PublishedRules(text, "rules", source="rules.json", overlays=[overlay])


# --- Kept books ----------------------------------------------------------------------------------


def text_of(*models: Json, **meta: Any) -> bytes:
    return json.dumps(document(*models, **meta)).encode()


def test_a_kept_book_is_found_by_its_name_and_prices_the_same(folder: Path) -> None:
    kept, before = keep(text_of(motion_control()), "mine", source="the console", now=NOON)
    assert not before
    assert (kept.source, kept.kept_at) == ("the console", NOON)
    assert kept.captured_at == datetime(2026, 10, 10, 6, 52, 34, 303_000, tzinfo=UTC)
    assert book_names()[-1] == "mine"
    job = MotionControl(character_orientation="video", reference_seconds=10)
    quote = open_prices("mine").quote(job, at=AT)
    assert quote.maximum == Decimal("81.648")
    assert quote.terms.version.source == "the console"


def test_a_newer_document_stands_beside_the_older_one(folder: Path) -> None:
    keep(text_of(motion_control()), "old", source="s", now=NOON)
    newer = text_of(motion_control(), updated_at="2026-11-10T00:00:00Z")
    keep(newer, "new", source="s", now=NOON)
    assert [item.name for item in kept_books()] == ["new", "old"]


def test_a_name_stands_for_one_document(folder: Path) -> None:
    text = text_of(motion_control())
    first, _ = keep(text, "mine", source="s", now=NOON)
    again, before = keep(text, "mine", source="another", now=datetime(2027, 1, 1, tzinfo=UTC))
    assert (again, before) == (first, True)
    with pytest.raises(InvalidPriceFile, match="is kept already"):
        keep(text_of(model()), "mine", source="s", now=NOON)


@pytest.mark.parametrize("name", ["", "a/b", "..", "-x", "x" * 65, "evolink"])
def test_a_name_that_cannot_be_a_book_s_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(InvalidPriceFile):
        keep(text_of(motion_control()), name, source="s", now=NOON, taken=("evolink",))
    assert not folder.exists()


def test_a_document_that_is_not_valid_is_not_kept(folder: Path) -> None:
    with pytest.raises(InvalidPriceFile):
        keep(b"{}", "mine", source="s", now=NOON)
    assert kept_books() == []


def test_a_kept_document_that_was_changed_is_refused(folder: Path) -> None:
    kept, _ = keep(text_of(motion_control()), "mine", source="s", now=NOON)
    kept.path.write_bytes(kept.path.read_bytes().replace(b"81648", b"81649"))
    with pytest.raises(InvalidPriceFile, match="was changed after it was kept"):
        open_prices("mine")


@pytest.mark.parametrize("damage", [b"", b"{}", None], ids=["empty", "other", "gone"])
def test_importing_the_same_document_again_mends_a_kept_one(
    folder: Path, damage: bytes | None
) -> None:
    text = text_of(motion_control())
    kept, _ = keep(text, "mine", source="s", now=NOON)
    if damage is None:
        kept.path.unlink()
    else:
        kept.path.write_bytes(damage)
    with pytest.raises(InvalidPriceFile, match="import it again"):
        open_prices("mine")
    assert keep(text, "mine", source="s", now=NOON) == (kept, True)
    assert open_prices("mine").models == ("kling-v3-motion-control",)
    assert [item.name for item in kept.path.parent.iterdir() if item.name.startswith(".")] == []


def test_a_kept_book_that_cannot_be_read_says_what_to_do(folder: Path) -> None:
    keep(text_of(motion_control()), "sound", source="s", now=NOON)
    (folder / "mine").mkdir()
    assert [item.name for item in kept_books()] == ["sound"]  # what is no book is none of ours
    (folder / "mine" / "about.json").write_text("{")
    with pytest.raises(InvalidPriceFile, match="import the document again"):
        kept_books()
    with pytest.raises(InvalidPriceFile, match="import the document again"):
        open_prices("mine")
    assert open_prices("sound").models  # another one is not its business
    (folder / "mine" / "about.json").write_bytes((folder / "sound" / "about.json").read_bytes())
    with pytest.raises(InvalidPriceFile, match="import the document again"):
        open_prices("mine")


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv(FOLDER, str(blocked / "books"))
    with pytest.raises(InvalidPriceFile, match=FOLDER):
        keep(text_of(motion_control()), "mine", source="s", now=NOON)


def test_an_unknown_book_is_told_with_all_that_are_known(folder: Path) -> None:
    keep(text_of(motion_control()), "evolink-2026-10-10", source="s", now=NOON)
    with pytest.raises(InvalidPriceFile, match=r"did you mean evolink-2026-10-10\?"):
        open_prices("evolink-2026-10-1")


def test_one_job_is_priced_under_one_document(tmp_path: Path) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path in paths:
        path.write_bytes(text_of(motion_control()))
    assert open_prices(files=paths[:1]).name == "rules-2026-10-10"
    # A name may come from the reader's settings; the file is what was asked for now.
    assert open_prices("evolink-rules", files=paths[:1]).name == "rules-2026-10-10"
    with pytest.raises(InvalidPriceFile, match="is a second pricing document"):
        open_prices(files=paths)


# --- Together with the rest ----------------------------------------------------------------------


def test_a_hold_is_charged_under_the_kept_book_it_was_quoted_with(folder: Path) -> None:
    keep(text_of(motion_control()), "mine", source="s", now=NOON)
    job = MotionControl(character_orientation="video", quality="1080p")
    clock = Clock()
    with Ledger("sqlite://", clock=clock) as ledger:
        ledger.top_up("studio", 1_000, key="invoice-1")
        quote = open_prices("mine").quote(job, at=AT)
        assert ledger.reserve("studio", quote, key="job-1").amount == Decimal("326.7553")
        charged = ledger.charge("job-1", seconds="5.5")
        assert isinstance(charged, Entry)
        assert charged.posted_e8 == -653_511 * 10_000  # 6 s x 81,648 x 1.334 = 653,510.592 UC


def test_a_hold_finds_its_book_whatever_prices_the_ledger_was_given(folder: Path) -> None:
    keep(text_of(motion_control()), "old", source="s", now=NOON)
    newer = text_of(motion_control(), updated_at="2026-11-10T00:00:00Z")
    keep(newer, "new", source="s", now=NOON)
    job = MotionControl(character_orientation="video")
    with Ledger("sqlite://", prices=open_prices("new")) as ledger:
        ledger.top_up("studio", 1_000, key="invoice-1")
        for number, name in enumerate(("old", "new", "evolink")):
            quote = open_prices(name).quote(job, at=AT)
            ledger.reserve("studio", quote, key=f"job-{number}")
            charged = ledger.charge(f"job-{number}", seconds=10)
            assert isinstance(charged, Entry)
            assert charged.amount == Decimal("81.648")


def test_options_of_a_catalogue_job_are_kept_with_its_hold(folder: Path) -> None:
    count = number_parameter("image_count", "integer", default="1")
    picture = model(component(variable("image_count"), uc="10000"), parameters=[count],
                    operation="image_generation")  # fmt: skip
    keep(text_of(picture), "mine", source="s", now=NOON)
    book = open_prices("mine")
    with Ledger("sqlite://") as ledger:
        ledger.top_up("studio", 100, key="invoice-1")
        job = book.job("clip", options={"image_count": "7"})
        ledger.reserve("studio", book.quote(job, at=AT), key="job-1")
        charged = ledger.charge("job-1")
        assert isinstance(charged, Entry)
        assert charged.posted_e8 == -7 * 10**8


PLAN = st.lists(
    st.fixed_dictionaries(
        {
            "model": st.sampled_from(
                ["kling-v3-motion-control", "clip", "picture", "tenths", "gone"]
            ),
            "quality": st.sampled_from(["720p", "1080p", "8k", None]),
            "orientation": st.sampled_from(["image", "video", None]),
            "seconds": st.one_of(st.none(), st.decimals("0", "40", places=2).map(str)),
        }
    ),
    min_size=1,
    max_size=30,
)


@LAW
@given(rows=PLAN)
def test_the_columns_of_a_plan_are_priced_as_its_jobs_are(rows: list[dict[str, Any]]) -> None:
    tenths = apply("divide", apply("ceil", apply("multiply", OUTPUT, constant("10"))),
                   constant("10"))  # fmt: skip
    length = [number_parameter("output_seconds", minimum="0", maximum="20", default="0")]
    book = published(
        motion_control(),
        clip(ASKED),
        model(model_id="picture", operation="image_generation"),
        model(component(tenths), model_id="tenths", parameters=length, operation="video_edit",
              settlement_basis="request_then_actual"),
    )  # fmt: skip
    schema = dict.fromkeys(("model", "quality", "orientation", "seconds"), pl.String)
    priced = price_frame(pl.DataFrame(rows, schema=schema), book, at=AT)
    for row, found in zip(rows, priced.iter_rows(named=True), strict=True):
        assert found["maximum_e8"] == one_by_one(book, row), row


def one_by_one(book: PublishedRules, row: Mapping[str, Any]) -> int | None:
    try:
        job = book.job(
            row["model"],
            quality=row["quality"],
            character_orientation=row["orientation"],
            seconds=row["seconds"],
        )
        return book.quote(job, at=AT).maximum_e8
    except LedgerError:
        return None


def test_a_plan_is_estimated_under_the_sample(sample: PublishedRules) -> None:
    plan = pl.DataFrame(
        {
            "model": ["kling-v3-motion-control", "krea-2-turbo", "minimax-h3-image-to-video"],
            "quality": ["1080p", "2K", "2k"],
            "orientation": ["video", None, None],
            "seconds": ["12.4", None, "4"],
            "count": [10, 1, 1],
        }
    )
    result = estimate(plan, sample, at=AT, by=["model"])
    # 10 x 12 s at 1080p: 130.7021 each; one picture; 4 s x 8.398.
    assert [(group.key, group.maximum_e8) for group in result.groups] == [
        (("kling-v3-motion-control",), 1_307_021 * 10**5),
        (("krea-2-turbo",), 18 * 10**7),
        (("minimax-h3-image-to-video",), 33_592 * 10**5),
    ]


def test_terms_of_a_rate_are_terms_like_any_other(sample: PublishedRules) -> None:
    job = MotionControl(character_orientation="video", quality="1080p")
    terms = sample.terms(job, at=AT)
    assert type(terms) is Terms
    assert (terms.rate, terms.unit_price) == (Decimal("8.1648"), Decimal("10.8918432"))


def test_the_rule_helper_and_the_book_agree_on_a_model() -> None:
    assert rule(component(constant("2"))).price({}).total_uc == 200

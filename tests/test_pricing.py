"""Quotes and charges, with the arithmetic of every figure beside it."""

from __future__ import annotations

import decimal
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ledger import (
    CustomElement,
    LedgerError,
    MotionControl,
    PriceBook,
    Quote,
    TextToVideo,
    VideoEdit,
)
from ledger.errors import (
    InvalidMoment,
    InvalidRequest,
    InvalidSeconds,
    NeedsLength,
    NoPriceInForce,
    UnknownModel,
    UnknownOption,
    UnknownVersion,
)
from ledger.units import parse_moment, show_credits

PAGES = PriceBook.bundled()
RULES = PriceBook.bundled("evolink-rules")
PANEL = PriceBook.bundled("evolink-panel")
DAY = "2026-10-10"


def motion(
    quality: str | None = "720p",
    orientation: str = "video",
    reference: Any = None,
    guess: Any = None,
) -> MotionControl:
    return MotionControl.model_validate(
        {
            "quality": quality,
            "character_orientation": orientation,
            "reference_seconds": reference,
            "expected_seconds": guess,
        }
    )


def edit(reference: Any = None) -> VideoEdit:
    return VideoEdit(model="happyhorse-1.0-video-edit", reference_seconds=reference)


@pytest.mark.parametrize(
    ("quality", "orientation", "reference", "credits_"),
    [
        ("720p", "video", "12.4", "106.1424"),  # 13 × 8.1648
        ("1080p", "video", "12.4", "141.5939616"),  # 13 × 8.1648 × 1.334 = 13 × 10.8918432
        ("720p", "image", "25", "81.648"),  # capped at 10: 10 × 8.1648
        ("1080p", "video", "45", "326.755296"),  # capped at 30: 30 × 10.8918432
        ("1080p", "video", "3", "32.6755296"),  # 3 × 10.8918432
        ("1080p", "video", "3.000001", "43.5673728"),  # 4 × 10.8918432
        ("720p", "image", "9.2", "81.648"),  # 10 × 8.1648, just within the cap
        (None, "video", "12.4", "106.1424"),  # the provider takes 720p
    ],
)
def test_motion_control_costs_what_the_product_page_says(
    quality: str | None, orientation: str, reference: str, credits_: str
) -> None:
    quote = PAGES.quote(motion(quality, orientation, reference), at=DAY)
    assert quote.minimum == quote.expected == quote.maximum == Decimal(credits_)
    assert show_credits(quote.maximum_e8) == credits_
    assert quote.length_known


@pytest.mark.parametrize(
    ("seconds", "billed"),
    [
        ("12.4", 13),
        ("13.0", 13),
        ("13.000001", 14),
        ("12.000000000001", 13),
        ("0.1", 3),
        ("31", 30),
    ],
)
def test_seconds_are_rounded_up_and_kept_within_3_and_30(seconds: str, billed: int) -> None:
    charge = PAGES.charge(motion(), seconds=seconds, at=DAY)
    assert charge.quantity == billed
    assert charge.credits == billed * Decimal("8.1648")


def test_one_element_costs_one_credit() -> None:
    quote = PAGES.quote(CustomElement(), at=DAY)
    assert quote.maximum == 1
    assert quote.lines[0].unit == "call"
    assert PAGES.charge(CustomElement(), at=DAY).formula() == "1 call × 1 = 1 credit"


@pytest.mark.parametrize(
    ("quality", "seconds", "credits_"),
    [
        ("720p", "2", "24.4944"),  # 2 × 8.1648 = 16.3296, raised to 3 × 8.1648
        ("1080p", "2", "24.4944"),  # 2 × 10.8918432 = 21.7836864 → 21.7837, raised: no factor
        ("720p", "5.49", "40.824"),  # 5 × 8.1648
        ("720p", "5.5", "48.9888"),  # 6 × 8.1648
        ("1080p", "10", "108.9184"),  # 108.918432 half up to 0.0001
        ("1080p", "30", "326.7553"),  # 326.755296 half up to 0.0001
        ("1080p", "3", "32.6755"),  # 32.6755296 half up to 0.0001
        ("720p", "0.2", "24.4944"),  # 0 s × 8.1648 = 0, raised
    ],
)
def test_motion_control_costs_what_the_published_rules_say(
    quality: str, seconds: str, credits_: str
) -> None:
    charge = RULES.charge(motion(quality), seconds=seconds, at=DAY)
    assert show_credits(charge.credits_e8) == credits_
    assert sum(line.credits_e8 for line in charge.lines) == charge.credits_e8


def test_the_smallest_charge_is_a_line_of_its_own() -> None:
    charge = RULES.charge(motion("1080p"), seconds="2", at=DAY)
    first, raised = charge.lines
    assert first.credits == Decimal("21.7837")  # 21.7836864 half up to 0.0001
    assert raised.label == "up to the smallest charge"
    assert raised.credits == Decimal("2.7107")  # 24.4944 - 21.7837
    assert raised.quantity * raised.unit_price == raised.credits
    assert charge.formula() == (
        "2 s × 10.8918432 = 21.7837 credits, raised to the smallest charge of 24.4944 credits"
    )


def test_an_element_costs_a_thousandth_by_the_published_rules() -> None:
    assert RULES.quote(CustomElement(), at=DAY).maximum == Decimal("0.001")


@pytest.mark.parametrize(
    ("quality", "seconds", "credits_"),
    [
        # 10 × 8.1648 × 1.333 = 10 × 10.8836784
        ("1080p", "10", "108.836784"),
        ("720p", "5.49", "40.824"),  # nearest second: 5 × 8.1648
        ("720p", "5.5", "48.9888"),  # halves up: 6 × 8.1648
    ],
)
def test_the_panel_rounds_to_the_nearest_second_and_takes_1_333(
    quality: str, seconds: str, credits_: str
) -> None:
    assert PANEL.charge(motion(quality), seconds=seconds, at=DAY).credits == Decimal(credits_)


def test_a_video_edit_at_launch_costs_the_exact_length_of_both_clips() -> None:
    # 6.62 + 6.62 = 13.24; 13.24 × 12.15 = 160.866
    quote = PAGES.quote(edit("6.62"), at="2026-05-01")
    assert quote.lines[0].quantity == Decimal("13.24")
    assert quote.maximum == Decimal("160.866")


def test_a_video_edit_later_costs_tenths_of_seconds_of_both_clips() -> None:
    # 13.24 → 13.3; 13.3 × 7.616 = 101.2928
    quote = PAGES.quote(edit("6.62"), at="2026-11-01")
    assert quote.lines[0].quantity == Decimal("13.3")
    assert quote.maximum == Decimal("101.2928")


@pytest.mark.parametrize(
    ("reference", "seconds", "billed"),
    [
        ("20", "15", "30"),  # the reference counts 15 at most: 15 + 15
        ("20", "9.2", "24.2"),  # 15 + 9.2
        ("3", "2.5", "6"),  # 5.5, raised to the shortest billed length
        ("4", "40", "30"),  # 44, cut to the longest billed length
    ],
)
def test_a_video_edit_is_billed_for_both_clips_within_bounds(
    reference: str, seconds: str, billed: str
) -> None:
    charge = PAGES.charge(edit(reference), seconds=seconds, at="2026-05-01")
    assert charge.quantity == Decimal(billed)
    assert charge.credits == Decimal(billed) * Decimal("12.15")


def test_a_video_edit_cannot_be_charged_without_the_length_of_the_reference() -> None:
    with pytest.raises(NeedsLength, match="give reference_seconds"):
        PAGES.charge(edit(), seconds=5, at=DAY)


@pytest.mark.parametrize(
    ("options", "at", "credits_"),
    [
        ({"duration": 5, "sound": "on"}, "2026-10-10", "40.5"),  # 5 × 5.4 × 1.5
        ({"duration": 5, "quality": "1080p"}, "2026-10-10", "36.018"),  # 5 × 5.4 × 1.334
        ({"duration": 5, "quality": "1080p"}, "2026-03-15", "35.991"),  # 5 × 5.4 × 1.333
        ({"duration": 5, "quality": "4k", "sound": "on"}, "2026-10-10", "135"),  # 5 × 5.4 × 5
        ({}, "2026-10-10", "27"),  # the provider's defaults: 5 s, 720p, no sound: 5 × 5.4
        ({"duration": 3}, "2026-10-10", "16.2"),  # 3 × 5.4, just the smallest charge
    ],
)
def test_text_to_video_costs_the_length_asked_for(
    options: dict[str, Any], at: str, credits_: str
) -> None:
    request = TextToVideo.model_validate({"model": "kling-v3-text-to-video"} | options)
    quote = PAGES.quote(request, at=at)
    assert show_credits(quote.maximum_e8) == credits_
    # What was generated does not matter: the length asked for is billed.
    assert PAGES.charge(request, at=at, seconds="1").credits_e8 == quote.maximum_e8
    assert PAGES.charge(request, at=at).credits_e8 == quote.maximum_e8


def test_assumed_defaults_are_said_in_the_notes() -> None:
    quote = PAGES.quote(TextToVideo(model="kling-v3-text-to-video"), at=DAY)
    assert quote.notes == (
        "no quality given: the provider takes 720p",
        "no sound given: the provider takes off",
        "no duration given: the provider takes 5 s",
    )


def test_an_option_the_price_does_not_cover_is_never_guessed() -> None:
    request = TextToVideo(model="kling-v3-text-to-video", duration=5, quality="4k")
    with pytest.raises(UnknownOption) as caught:
        PAGES.quote(request, at="2026-03-15")
    assert caught.value.option == "quality"
    assert caught.value.value == "4k"
    assert set(caught.value.known) == {"720p", "1080p"}


@pytest.mark.parametrize(
    "length", [12, "12", "12.0", Decimal(12), Decimal("1.2E+1"), 12.0, timedelta(seconds=12)]
)
def test_every_type_of_length_gives_the_same_charge(length: Any) -> None:
    # 12 × 8.1648 = 97.9776
    assert PAGES.charge(motion(), seconds=length, at=DAY).credits == Decimal("97.9776")
    assert PAGES.quote(motion(reference=length), at=DAY).maximum == Decimal("97.9776")


@pytest.mark.parametrize("length", [0, -1, float("nan"), float("inf"), "1e3", "", True])
def test_no_charge_is_made_for_what_is_no_length(length: Any) -> None:
    with pytest.raises(InvalidSeconds):
        PAGES.charge(motion(), seconds=length, at=DAY)


@pytest.mark.parametrize(
    ("orientation", "guess", "low", "middle", "high"),
    [
        # 3 × 8.1648; expected counts the longest; 30 × 8.1648
        ("video", None, "24.4944", "244.944", "244.944"),
        ("video", "9.2", "24.4944", "81.648", "244.944"),  # 10 × 8.1648 in the middle
        ("video", "1", "24.4944", "24.4944", "244.944"),  # a guess below the shortest
        ("video", "99", "24.4944", "244.944", "244.944"),  # a guess above the longest
        ("image", None, "24.4944", "81.648", "81.648"),  # 10 × 8.1648 at most
    ],
)
def test_an_unknown_length_gives_a_range(
    orientation: str, guess: str | None, low: str, middle: str, high: str
) -> None:
    quote = PAGES.quote(motion(orientation=orientation, guess=guess), at=DAY)
    assert not quote.length_known
    found = (quote.minimum, quote.expected, quote.maximum)
    assert found == (Decimal(low), Decimal(middle), Decimal(high))


@pytest.mark.parametrize(
    ("guess", "basis"), [(None, "counts the longest"), ("9.20", "counts your 9.2 s")]
)
def test_the_notes_say_that_the_length_is_unknown(guess: str | None, basis: str) -> None:
    (note,) = PAGES.quote(motion(guess=guess), at=DAY).notes
    assert note.startswith("length unknown: from 3 to 30 billed seconds")
    assert note.endswith(basis)


def test_a_known_length_beats_a_guess() -> None:
    assert PAGES.quote(motion(reference=5, guess=20), at=DAY).expected == Decimal("40.824")


def test_a_capped_reference_is_said_in_the_notes() -> None:
    (note,) = PAGES.quote(motion(reference=45), at=DAY).notes
    assert "45 s is longer" in note
    assert "billed up to 30 s" in note
    charge = PAGES.charge(motion(), seconds=45, at=DAY)
    assert charge.notes == ("45 s measured; billed up to 30 s",)
    assert PAGES.charge(motion(), seconds=30, at=DAY).notes == ()


def test_a_price_by_length_cannot_be_charged_without_a_length() -> None:
    with pytest.raises(NeedsLength):
        PAGES.charge(motion(), at=DAY)


@pytest.mark.parametrize("book", [PAGES, RULES, PANEL], ids=lambda book: book.name)
@pytest.mark.parametrize("seconds", ["3", "4.5", "12.4", "29.999999", "30", "45"])
@pytest.mark.parametrize("quality", ["720p", "1080p"])
def test_a_charge_equals_the_quote_for_the_same_length(
    book: PriceBook, seconds: str, quality: str
) -> None:
    quote = book.quote(motion(quality, reference=seconds), at=DAY)
    charge = book.charge(motion(quality), seconds=seconds, at=DAY)
    assert charge == quote.maximum_charge


def test_a_charge_is_a_fact_so_the_limits_are_not_checked_again() -> None:
    late = motion(reference="2.9")
    with pytest.raises(InvalidRequest):
        PAGES.quote(late, at=DAY)
    assert PAGES.charge(late, seconds="2.9", at=DAY).credits == Decimal("24.4944")


def test_a_charge_under_an_old_version_costs_the_old_price() -> None:
    request = TextToVideo(model="kling-v3-text-to-video", duration=5, quality="1080p")
    old = PAGES.quote(request, at="2026-03-15").terms.version.id
    new = PAGES.quote(request, at=DAY).terms.version.id
    assert old != new
    assert PAGES.charge(request, version=old).credits == Decimal("35.991")  # 27 × 1.333
    assert PAGES.charge(request, version=new).credits == Decimal("36.018")  # 27 × 1.334


def test_an_unknown_version_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownVersion) as caught:
        PAGES.charge(motion(), seconds=5, version="evolink/none@2020-01-01~00000000")
    assert caught.value.known == tuple(
        item.version.id for item in PAGES.timeline("kling-v3-motion-control")
    )


def test_a_new_price_applies_from_its_first_instant_and_not_a_microsecond_before() -> None:
    request = TextToVideo(model="kling-v3-text-to-video", duration=5, quality="1080p")
    start = datetime(2026, 4, 21, 15, 0, 51, 50_000, tzinfo=UTC)
    before = PAGES.quote(request, at=start - timedelta(microseconds=1))
    assert before.maximum == Decimal("35.991")
    assert PAGES.quote(request, at=start).maximum == Decimal("36.018")


def test_before_the_first_price_there_is_none() -> None:
    first = datetime(2026, 3, 1, tzinfo=UTC)
    assert PAGES.quote(CustomElement(), at=first).maximum == 1
    with pytest.raises(NoPriceInForce) as caught:
        PAGES.quote(CustomElement(), at=first - timedelta(microseconds=1))
    assert parse_moment(caught.value.first) == first


def test_a_moment_without_a_zone_is_refused() -> None:
    with pytest.raises(InvalidMoment):
        PAGES.quote(CustomElement(), at=datetime(2026, 10, 10))  # noqa: DTZ001


def test_without_a_moment_the_price_of_now_is_taken() -> None:
    before = datetime.now(UTC)
    quote = PAGES.quote(CustomElement())
    assert before <= quote.at <= datetime.now(UTC)


def test_a_model_the_book_does_not_have_is_never_priced() -> None:
    with pytest.raises(UnknownModel):
        PAGES.quote(MotionControl(model="kling-v9", character_orientation="video"))


@pytest.mark.parametrize(
    "request_",
    [
        MotionControl(model="kling-custom-element", character_orientation="video"),
        MotionControl(model="kling-v3-text-to-video", character_orientation="video"),
        TextToVideo(model="kling-v3-motion-control", duration=5),
        CustomElement(model="kling-v3-motion-control"),
    ],
    ids=lambda request: f"{type(request).__name__} of {request.model}",
)
def test_a_body_of_one_family_is_not_priced_as_a_model_of_another(request_: Any) -> None:
    with pytest.raises(LedgerError):
        PAGES.quote(request_, at=DAY)


def dollars(quote: Quote) -> str:
    usd = quote.document()["usd"]
    assert usd is not None
    return usd["maximum"]


def test_dollars_follow_the_rate_of_the_moment() -> None:
    # 1 / 72 = 0.013888… and 1 / 68 = 0.0147058823…
    assert dollars(PAGES.quote(CustomElement(), at="2026-04-20")) == "0.01388889"
    assert dollars(PAGES.quote(CustomElement(), at="2026-04-21")) == "0.01470588"


def test_a_quote_explains_itself() -> None:
    job = MotionControl(quality="1080p", character_orientation="video", reference_seconds="12.4")
    text = PAGES.quote(job, at=DAY).explain()
    lines = text.splitlines()
    rule = "seconds rounded up to a whole second, at least 3 s, at most 30 s"
    # The hash behind the tilde belongs to the price file, not to this test.
    assert lines[5].startswith("  price evolink/kling-v3-motion-control@2026-03-01~")
    assert lines[:5] + lines[6:7] == [
        "kling-v3-motion-control: 1080p, orientation video",
        "  8.1648 credits per second × 1.334 (quality 1080p) = 10.8918432 credits per second",
        f"  {rule}; settled on the generated length",
        "  12.4 s → 13 s × 10.8918432 = 141.5939616 credits",
        # 141.5939616 / 68 = 2.082264141…
        "  141.5939616 credits ÷ 68 credits per USD (from 2026-04-21) = 2.08226414 USD",
        "  from https://evolink.ai/kling-v3-motion-control, checked 2026-11-22",
    ]


def test_a_range_is_explained_by_its_three_figures() -> None:
    text = PAGES.quote(motion(guess="9.2"), at=DAY).explain()
    assert "  at least  3 s × 8.1648 = 24.4944 credits\n" in text
    assert "  expected  10 s × 8.1648 = 81.648 credits\n" in text
    assert "  at most   30 s × 8.1648 = 244.944 credits\n" in text


@pytest.mark.parametrize(
    "quote",
    [
        PAGES.quote(motion(reference="12.4"), at=DAY),
        PAGES.quote(motion(guess="9.2"), at=DAY),
        PAGES.quote(CustomElement(), at=DAY),
        PAGES.quote(edit("6.62"), at=DAY),
        RULES.quote(motion("1080p"), at=DAY),
    ],
    ids=["known", "range", "call", "both clips", "smallest charge"],
)
def test_the_document_is_json_with_amounts_as_strings_that_add_up(quote: Quote) -> None:
    document = quote.document()
    assert json.loads(json.dumps(document)) == document
    total = sum(Decimal(line["credits"]) for line in document["lines"])
    assert total == Decimal(document["credits"]["expected"])
    for name in ("credits", "billed"):
        assert all(isinstance(value, str) for value in document[name].values())
    for line in document["lines"]:
        assert all(isinstance(value, str) for value in line.values())
    assert document["credits"]["maximum"] == show_credits(quote.maximum_e8)
    assert document["digest"] == quote.digest
    assert document["notes"] == list(quote.notes)


DIGEST = """
from ledger import MotionControl, PriceBook
job = MotionControl(quality="1080p", character_orientation="video", reference_seconds=12.4)
print(PriceBook.bundled().quote(job, at="2026-10-10").digest)
"""


def test_the_digest_is_the_same_in_every_process() -> None:
    job = MotionControl(quality="1080p", character_orientation="video", reference_seconds="12.40")
    digest = PAGES.quote(job, at=DAY).digest
    assert len(digest) == 64
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", DIGEST],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == digest


def test_the_digest_changes_with_the_request_the_price_and_the_figure() -> None:
    digests = [
        PAGES.quote(motion(reference="12.4"), at=DAY).digest,
        PAGES.quote(motion(reference="12.5"), at=DAY).digest,
        PAGES.quote(motion(reference="13.4"), at=DAY).digest,
        PAGES.quote(motion("1080p", reference="12.4"), at=DAY).digest,
        RULES.quote(motion(reference="12.4"), at=DAY).digest,
        PAGES.quote(motion(guess="12.4"), at=DAY).digest,
    ]
    assert len(set(digests)) == len(digests)


def test_the_digest_is_the_same_all_through_the_life_of_a_price() -> None:
    job = motion(reference="12.4")
    assert PAGES.quote(job, at="2026-05-01").digest == PAGES.quote(job, at=DAY).digest


def test_the_callers_decimal_context_changes_no_figure() -> None:
    job, long = motion("1080p", reference="12.4"), edit("6.62")
    documents = [PAGES.quote(item, at=DAY).document() for item in (job, long)]
    texts = [PAGES.quote(item, at=DAY).explain() for item in (job, long)]
    with decimal.localcontext() as context:
        context.prec = 3
        fresh = PriceBook.bundled()
        assert [fresh.quote(item, at=DAY).document() for item in (job, long)] == documents
        assert [fresh.quote(item, at=DAY).explain() for item in (job, long)] == texts
        charge = fresh.charge(edit("6.123456"), seconds="7.654321", at="2026-05-01")
        assert show_credits(charge.credits_e8) == "167.39999055"
    # 6.123456 + 7.654321 = 13.777777; 13.777777 × 12.15 = 167.39999055


def test_a_length_of_many_digits_is_billed_exactly() -> None:
    # Anything beyond 4.1 s, however little, is another tenth: 6 + 4.2 = 10.2 s.
    length = Decimal("4.1" + "0" * 400 + "1")
    charge = PAGES.charge(edit("6"), seconds=length, at="2026-11-01")
    assert charge.quantity == Decimal("10.2")


def test_a_sum_that_could_not_be_exact_is_refused() -> None:
    with pytest.raises(InvalidSeconds, match="500 digits"):
        PAGES.charge(edit("6"), seconds=Decimal("4.1" + "0" * 600 + "1"), at="2026-11-01")


# --- nothing is left to guessing -----------------------------------------------------------------


@pytest.mark.parametrize("duration", [0, -3])
def test_a_duration_that_is_none_is_refused_when_the_request_is_made(duration: int) -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        TextToVideo(model="kling-v3-text-to-video", duration=duration)


def test_a_length_of_zero_is_never_billed() -> None:
    terms = PAGES.terms(motion(), at=DAY)
    for seconds in (Decimal(0), Decimal(-3)):
        with pytest.raises(InvalidSeconds, match="more than zero"):
            terms.bill(seconds)


def test_a_reference_length_is_refused_where_the_model_takes_no_clip() -> None:
    job = TextToVideo(model="kling-v3-text-to-video", reference_seconds=12)
    with pytest.raises(InvalidRequest, match="takes no reference clip"):
        PAGES.quote(job, at=DAY)


def test_a_guess_that_counts_for_nothing_is_mentioned() -> None:
    job = TextToVideo(model="kling-v3-text-to-video", expected_seconds=12)
    quote = PAGES.quote(job, at=DAY)
    assert quote.maximum == 27  # 5 s × 5.4, the provider's default duration
    assert "expected_seconds counts only while the length is unknown" in quote.notes


def test_an_edit_bills_fifteen_seconds_of_the_reference_and_says_so() -> None:
    quote = PAGES.quote(edit("40"), at="2026-11-01")
    assert quote.maximum == Decimal("228.48")  # (15 + 15) s × 7.616
    assert "only the first 15 s of the reference count" in quote.notes


def test_an_edit_of_more_than_the_published_sixty_seconds_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="longest reference clip is 60 s"):
        PAGES.quote(edit("61"), at="2026-11-01")


def test_a_guess_for_an_edit_counts_for_both_clips() -> None:
    job = VideoEdit(model="happyhorse-1.0-video-edit", expected_seconds=8)
    # (8 + 8) s × 7.616, as if the reference were known to last 8 s.
    assert PAGES.quote(job, at="2026-11-01").expected == Decimal("121.856")
    assert PAGES.quote(edit("8"), at="2026-11-01").expected == Decimal("121.856")


def test_the_range_begins_at_the_shortest_clip_that_may_be_handed_in() -> None:
    # The rules bill from one second on, but no reference may be shorter than three.
    quote = RULES.quote(MotionControl(quality="1080p", character_orientation="video"), at=DAY)
    assert quote.minimum == Decimal("32.6755")  # 3 s × 10.8918432, to 0.0001


def test_a_charge_says_which_defaults_it_assumed() -> None:
    job = MotionControl(character_orientation="video")
    assert PAGES.charge(job, seconds=9, at=DAY).notes == (
        "no quality given: the provider takes 720p",
    )


def test_a_price_before_any_exchange_rate_is_quoted_without_dollars(tmp_path: Path) -> None:
    path = tmp_path / "old.toml"
    path.write_text(
        'model = "old"\nbody = "custom_element"\n[[price]]\nunit = "call"\nrate = 2\n'
        'effective_from = 2025-01-01T00:00:00Z\nsource = "ours"\nchecked = 2025-01-01\n',
        encoding="utf-8",
    )
    quote = PriceBook.bundled(overlays=[path]).quote(CustomElement(model="old"), at="2025-02-01")
    assert quote.maximum == 2
    assert quote.exchange_rate is None
    assert quote.document()["usd"] is None
    assert "USD" not in quote.explain()

"""Why a bill charges another amount: what explains it to the last digit, and what explains most."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import rule_documents as docs
from planted_month import MOTION, NOW_US, SINCE_US, TEXT, UNTIL_US, Pair, frames, pair_of

from ledger import PriceBook, PriceSource
from ledger.evolink import PublishedRules
from ledger.pricebook.schema import ModelFile
from ledger.reconcile import Break, Reconciliation, reconcile

PAGE, PANEL, RULES = map(PriceBook.bundled, ("evolink", "evolink-panel", "evolink-rules"))
SECOND = 816_480_000  # 8.1648 credits
PRO = 1_089_184_320  # × 1.334

UC_READ_AS_CREDITS = "units of 10^-4 credit read as credits"
CREDITS_READ_AS_UC = "credits read as units of 10^-4 credit"
ON_THE_BILL = "the length on the bill instead of ours"


def compared(
    pairs: Sequence[Pair], *, prices: PriceSource = PAGE, alternatives: Any = None
) -> Reconciliation:
    book, statement = frames([pair.job for pair in pairs], [pair.line for pair in pairs])
    return reconcile(
        book,
        statement,
        prices=prices,
        alternatives=alternatives,
        since_us=SINCE_US,
        until_us=UNTIL_US,
        now_us=NOW_US,
    )


def billed(pair: Pair, amount_e8: int, **changes: Any) -> Pair:
    """The pair with another amount on the bill; in no money, which is not looked at here."""
    pair.line |= {"amount_e8": amount_e8, "money_e8": None} | changes
    return pair


def cause_of(pair: Pair, **more: Any) -> tuple[str, str | None]:
    (item,) = compared([pair], **more).breaks
    return item.kind, item.cause


def clip(milliseconds: int = 9_200, quality: str = "720p", number: int = 1) -> Pair:
    return pair_of(number, quality=quality, milliseconds=milliseconds)


# --- one difference ------------------------------------------------------------------------------

CASES: list[tuple[Pair, str, str | None]] = [
    # 9.2 s are billed as 10 s here.
    (billed(clip(), 9 * SECOND), "rounding", "rounding to nearest"),
    (billed(clip(9_700), 9 * SECOND), "rounding", "rounding down"),
    (billed(clip(), 7_511_616_000), "rounding", "no rounding"),  # 9.2 × 8.1648 = 75.11616
    (billed(clip(quality="1080p"), 10 * SECOND), "option", "quality 720p instead of 1080p"),
    (billed(clip(), 10 * PRO), "option", "quality 1080p instead of 720p"),
    (
        billed(clip(quality="1080p"), 9 * SECOND),
        "option",
        "quality 720p instead of 1080p, and rounding to nearest",
    ),
    (
        billed(clip(quality="1080p"), 10_883_678_400),  # 10 × 8.1648 × 1.333
        "price_version",
        "multiplier 1.333 instead of 1.334",
    ),
    (
        billed(clip(quality="1080p"), 9_795_310_560),  # 9 × 8.1648 × 1.333: rounded, too
        "price_version",
        "evolink-panel prices from 2026-03-01",
    ),
    (
        # 13 × 10.8918432 = 141.5939616: with the smallest unit of the rules, 0.0001, 141.594.
        billed(clip(13_000, "1080p"), 14_159_400_000),
        "rounding",
        "charges rounded to 0.0001 instead of to 0.00000001",
    ),
    (billed(clip(), 10 * SECOND * 10_000), "unit_scale", UC_READ_AS_CREDITS),
    (billed(clip(), SECOND // 1_000), "unit_scale", CREDITS_READ_AS_UC),
    (
        billed(clip(), 9 * SECOND * 10_000),
        "unit_scale",
        f"{UC_READ_AS_CREDITS}, and rounding to nearest",
    ),
    (billed(clip(), 12 * SECOND), "billed_seconds", "2 s more"),
    (billed(clip(), 4 * SECOND), "billed_seconds", "6 s less"),
    (billed(clip(), 45 * SECOND), "billed_seconds", "35 s more"),  # beyond the longest clip
    (billed(clip(), 13 * SECOND, seconds_us=12_001_000), "billed_seconds", ON_THE_BILL),
    (
        billed(clip(), 12 * SECOND, seconds_us=12_001_000),
        "rounding",
        f"rounding to nearest, and {ON_THE_BILL}",
    ),
    (billed(clip(), 12_345_678), "amount", None),
    (billed(clip(), 10 * SECOND + 1), "amount", None),  # to the last digit
]
"""The pair, the kind of its break, and the cause."""


@pytest.mark.parametrize(("pair", "kind", "cause"), CASES)
def test_one_difference_is_explained_to_the_last_digit(
    pair: Pair, kind: str, cause: str | None
) -> None:
    assert cause_of(pair) == (kind, cause)


def test_a_price_on_the_length_asked_for_may_be_billed_by_another() -> None:
    """Text to video of 5 s is 5 × 5.4 = 27; the bill knows of 7 s and takes 37.8."""
    pair = billed(pair_of(model=TEXT, milliseconds=5_000), 3_780_000_000, seconds_us=7_000_000)
    assert cause_of(pair) == ("billed_seconds", ON_THE_BILL)


def test_a_price_on_the_length_asked_for_may_be_billed_by_the_length_generated() -> None:
    pair = billed(pair_of(model=TEXT, milliseconds=5_000), 2_160_000_000)
    pair.job["seconds"] = "4"
    cause = "the length generated instead of the one asked for"
    assert cause_of(pair) == ("billed_seconds", cause)


def test_a_price_on_both_clips_may_be_billed_without_the_reference() -> None:
    """4 s of reference and 4 s of result cost 8 × 7.616 = 60.928, the result alone 6 × 7.616."""
    version = PAGE.in_force("happyhorse-1.0-video-edit", "2026-11-01").version.id
    price = {"model": "happyhorse-1.0-video-edit", "version": version, "channel": "preferred"}
    pair = clip()
    pair.job |= {
        "terms": json.dumps({"price": price | {"quality": "720p", "seconds": "4"}}),
        "seconds": "4",
        "charged_e8": 6_092_800_000,
    }
    cause = "the result alone, without the reference"
    assert cause_of(billed(pair, 4_569_600_000)) == ("billed_seconds", cause)


def test_an_older_version_of_the_same_price_is_an_alternative() -> None:
    """Text to video at 1080p: 5 × 7.2036 = 36.018 now, 5 × 5.4 × 1.333 = 35.991 before."""
    pairs = [
        billed(pair_of(number, model=TEXT, quality="1080p", milliseconds=5_000), 3_599_100_000)
        for number in (1, 2)
    ]
    result = compared(pairs, alternatives=[])
    assert [item.cause for item in result.breaks] == ["multiplier 1.333 instead of 1.334"] * 2
    told = result.breaks[0].evidence["cause"]
    assert told["price_here"].startswith("evolink/kling-v3-text-to-video@2026-04-21")
    assert told["price_there"].startswith("evolink/kling-v3-text-to-video@2026-03-01")


def test_a_bill_without_the_agreed_discount_is_the_price_without_the_overlay(
    tmp_path: Path,
) -> None:
    deal = tmp_path / "deal.toml"
    deal.write_text(
        """name = "deal"
[[overlay]]
model = "kling-*"
source = "contract 7"
checked = 2026-10-01
discount = 0.05
"""
    )
    prices = PriceBook.bundled(overlays=[deal])
    version = prices.in_force(MOTION, "2026-11-10").version.id
    pairs = []
    for number, quality in enumerate(["720p", "1080p", "1080p"]):
        pair = pair_of(number, quality=quality, version=version)
        pair.job["charged_e8"] = pair.amount_e8 * 95 // 100
        pairs.append(billed(pair, pair.line["amount_e8"]))
    result = compared(pairs, prices=prices)
    assert [item.sentence.partition(",")[0] for item in result.causes] == [
        "evolink prices from 2026-03-01 explains 3 of 3 breaks"
    ]


def test_a_smallest_charge_is_an_alternative_of_its_own() -> None:
    """A clip of 1.2 s costs 2 × 2 = 4; another book has a smallest charge of 30."""
    own, other = ownbook("own"), ownbook("other", smallest_charge="30")
    pair = own_clip(own, "1.2", 400_000_000)
    cause = "smallest charge 30 instead of none"
    assert cause_of(billed(pair, 3_000_000_000), prices=own, alternatives=[other]) == (
        "price_version",
        cause,
    )


def test_another_channel_is_an_alternative() -> None:
    channel = {"name": "backup", "rate": "3"}
    own = ownbook("own", channel=[channel])
    pair = billed(own_clip(own, "1.2", 400_000_000), 600_000_000)
    cause = "channel backup instead of preferred"
    assert cause_of(pair, prices=own, alternatives=[]) == ("price_version", cause)


def ownbook(name: str, **changes: Any) -> PriceBook:
    """A book with one model, `clip`: 2 credits a second, rounded up, unless changed."""
    price = {
        "effective_from": "2026-01-01T00:00:00Z",
        "source": "ours",
        "checked": "2026-06-01",
        "unit": "second",
        "rate": "2",
    }
    file = {"model": "clip", "body": "motion_control", "price": [{**price, **changes}]}
    return PriceBook(name, [ModelFile.model_validate(file)], PAGE.rates)


def own_clip(book: PriceBook, seconds: str, amount_e8: int) -> Pair:
    pair = clip()
    version = book.in_force("clip", "2026-11-01").version.id
    price = {"model": "clip", "version": version, "channel": "preferred"}
    pair.job |= {
        "terms": json.dumps({"price": price | {"character_orientation": "video"}}),
        "seconds": seconds,
        "charged_e8": amount_e8,
        "model": "clip",
    }
    pair.line["model"] = "clip"
    return pair


# --- what is not known ---------------------------------------------------------------------------


def test_a_job_reserved_without_a_quote_is_priced_by_what_the_book_knows_of_it() -> None:
    pair = billed(clip(), 9 * SECOND)
    pair.job |= {"terms": None, "version": None}
    assert cause_of(pair) == ("rounding", "rounding to nearest")


@pytest.mark.parametrize(
    "change",
    [
        {"terms": None, "version": None, "model": None},
        {"terms": None, "version": None, "model": "unheard-of"},
        {"terms": "{", "version": "elsewhere/kling-v3-motion-control@2020-01-01~00000000"},
        {"terms": "[]", "version": None, "model": None},
        {"terms": '{"price": {"model": "kling-v3-motion-control", "version": "x/y"}}'},
    ],
)
def test_a_job_that_nothing_can_price_is_left_unexplained(change: dict[str, Any]) -> None:
    pair = billed(clip(), 9 * SECOND)
    pair.job |= change
    (item,) = compared([pair]).breaks
    assert (item.kind, item.cause) == ("amount", None)
    assert item.evidence["charged_with"] == {"price": "not known to the given price sources"}


def test_a_charge_of_an_amount_has_no_length_to_price_but_may_be_whole_seconds() -> None:
    pair = billed(clip(), 12 * SECOND)
    pair.job["seconds"] = None
    assert cause_of(pair) == ("billed_seconds", "2 s more")
    pair.job["charged_e8"] = 12_345_678
    assert cause_of(pair) == ("billed_seconds", "another whole number of seconds")


def test_a_book_charged_by_hand_differs_from_the_price_of_its_quote() -> None:
    pair = clip()
    pair.job["charged_e8"] -= 5
    assert cause_of(billed(pair, 10 * SECOND)) == (
        "amount",
        "the price of its quote, not the amount charged here",
    )


def test_a_version_of_another_book_that_comes_with_the_library_is_found_by_its_name() -> None:
    version = PANEL.in_force(MOTION, "2026-11-01").version.id
    pair = pair_of(version=version, milliseconds=9_700)
    assert cause_of(billed(pair, 9 * SECOND), alternatives=[]) == ("rounding", "rounding down")


def test_a_model_that_is_priced_by_a_formula_may_have_another_length() -> None:
    """The rule of Kling O1: 40 credits for 5 s, 80 for 10 s, and no rate times a length."""
    rules = PublishedRules(docs.sample_text(), "captured", source="a capture")
    name = "kling-o1-image-to-video"
    assert name in rules.formulas
    version = rules.terms(rules.job(name, seconds="5")).version.id
    price = {"model": name, "version": version, "channel": "preferred", "seconds": "5"}
    pair = clip()
    pair.job |= {"terms": json.dumps({"price": price}), "charged_e8": 4_000_000_000}
    pair = billed(pair, 8_000_000_000, seconds_us=10_000_000)
    assert cause_of(pair, prices=rules) == ("billed_seconds", ON_THE_BILL)


# --- many differences ----------------------------------------------------------------------------


def month(amount: Callable[[Pair], int]) -> list[Pair]:
    """Sixty clips of both qualities and all fractions of a second, billed by a rule."""
    pairs = [
        pair_of(number, quality=quality, milliseconds=3_000 + 137 * number)
        for number, quality in enumerate(["720p", "1080p", "1080p"] * 20)
    ]
    return [billed(pair, amount(pair)) for pair in pairs]


def nearest(pair: Pair) -> int:
    return (pair.milliseconds + 500) // 1000


def panel_e8(pair: Pair) -> int:
    return nearest(pair) * (1_088_367_840 if pair.job["quality"] == "1080p" else SECOND)


def rules_e8(pair: Pair) -> int:
    """Rounded half up to 0.0001, which is 10,000 units."""
    return (2 * nearest(pair) * pair.rate_e8 + 10_000) // 20_000 * 10_000


WHOLE: list[tuple[Callable[[Pair], int], list[str]]] = [
    (lambda pair: nearest(pair) * pair.rate_e8, ["rounding to nearest"]),
    (lambda pair: pair.milliseconds // 1000 * pair.rate_e8, ["rounding down"]),
    (lambda pair: (2 * pair.milliseconds * pair.rate_e8 + 1000) // 2000, ["no rounding"]),
    (panel_e8, ["evolink-panel prices from 2026-03-01"]),
    (rules_e8, ["evolink-rules prices from 2026-04-21"]),
    (lambda pair: pair.amount_e8 * 10_000, [UC_READ_AS_CREDITS]),
    (lambda pair: pair.amount_e8 + 2 * pair.rate_e8, ["2 s more"]),
    (lambda pair: pair.steps * SECOND, ["quality 720p instead of 1080p"]),
]


@pytest.mark.parametrize(("amount", "causes"), WHOLE)
def test_a_bill_made_in_another_way_throughout_has_one_cause(
    amount: Callable[[Pair], int], causes: list[str]
) -> None:
    result = compared(month(amount))
    assert [item.cause for item in result.causes] == causes
    (total,) = result.causes
    assert total.breaks == total.of_breaks == len(result.breaks) > 10
    assert total.amount_e8 == total.of_amount_e8


def test_a_few_differences_of_two_sorts_are_not_put_down_to_a_book_that_has_both() -> None:
    """The panel rounds to the nearest and has 1.333; here no line does both but one."""
    pairs = [billed(clip(9_200, "1080p", number), 9 * PRO) for number in range(3)]
    pairs += [billed(clip(9_700, "1080p", number), 10_883_678_400) for number in range(3, 8)]
    pairs += [billed(clip(9_200, "720p", number), 9 * SECOND) for number in range(8, 12)]
    causes = {item.cause: item.breaks for item in compared(pairs).causes}
    assert causes == {"rounding to nearest": 7, "multiplier 1.333 instead of 1.334": 5}


def test_the_sentence_of_a_cause_counts_breaks_and_credits() -> None:
    """9.2 s rounded to the nearest: 8.1648 less each; and one amount nobody knows: 1 less."""
    pairs = [billed(clip(number=number), 9 * SECOND) for number in range(3)]
    pairs.append(billed(clip(number=3), 10 * SECOND - 100_000_000))
    (cause,) = compared(pairs).causes
    assert cause.sentence == (
        "rounding to nearest explains 3 of 4 breaks, 24.4944 of 25.4944 credits"
    )
    assert cause.kind == "rounding"


def test_other_causes_that_would_also_fit_are_named() -> None:
    (item,) = compared([billed(clip(), 9 * SECOND)]).breaks
    assert item.evidence["would_also_fit"] == [
        "evolink-panel prices from 2026-03-01",
        "evolink-rules prices from 2026-04-21",
        "rounding down",
    ]


def test_an_explained_break_proposes_what_the_bill_says() -> None:
    (less,) = compared([billed(clip(), 9 * SECOND)]).breaks
    assert (less.proposal.verb, less.proposal.amount) == ("refund", Decimal("8.1648"))
    (more,) = compared([billed(clip(), 11 * SECOND)]).breaks
    assert (more.proposal.verb, more.proposal.amount) == ("charge", Decimal("8.1648"))
    (unit,) = compared([billed(clip(), 10 * SECOND * 10_000)]).breaks
    assert unit.proposal.verb is None


def test_evidence_is_plain_json() -> None:
    breaks: list[Break] = compared(month(panel_e8)).breaks
    for item in breaks:
        told = json.loads(json.dumps(item.evidence, allow_nan=False))
        assert told == dict(item.evidence)

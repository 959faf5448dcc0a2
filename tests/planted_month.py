"""A month of jobs and its bill, with known differences planted; worked out with plain integers.

Amounts are made here without the library's pricing: a credit is 10^8 units, so motion control
costs 816,480,000 a second at 720p and, times 1.334, 1,089,184,320 at 1080p. Lengths are whole
milliseconds. What is planted is written down beside it, with its kind, difference and cause.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import polars as pl

from ledger import PriceBook
from ledger.reconcile import BOOK, INVOICES, STATEMENT, TOP_UPS
from ledger.reconcile.frames import OPTIONAL
from ledger.records import us
from ledger.units import parse_moment

__all__ = [
    "NOW_US",
    "SINCE_US",
    "UNTIL_US",
    "Month",
    "Pair",
    "Planted",
    "frames",
    "month",
    "pair_of",
]

SINCE_US, UNTIL_US = us(parse_moment("2026-11-01")), us(parse_moment("2026-12-01"))
NOW_US = us(parse_moment("2026-12-03"))
MINUTE_US, DAY_US = 60_000_000, 86_400_000_000

MOTION, TEXT, ELEMENT = "kling-v3-motion-control", "kling-v3-text-to-video", "kling-custom-element"

RATE_E8 = {
    (MOTION, "720p"): 816_480_000,
    (MOTION, "1080p"): 1_089_184_320,  # × 1.334
    (TEXT, "720p"): 540_000_000,
    (TEXT, "1080p"): 720_360_000,  # × 1.334
}
OLDER_RATE_E8 = {
    (MOTION, "1080p"): 1_088_367_840,  # × 1.333, as the panel of the product page has it
    (TEXT, "1080p"): 719_820_000,  # × 1.333, as the page had it before
}
ELEMENT_E8 = 100_000_000
OTHER_MULTIPLIER = "multiplier 1.333 instead of 1.334"
CREDITS_PER_USD = 68

Row = dict[str, Any]


class Planted(NamedTuple):
    """A difference that a comparison must find."""

    kind: str
    about: str | None
    """The job; for what the book does not know the task; for purchases the key or invoice."""
    difference_e8: int
    cause: str | None = None


class Month(NamedTuple):
    """Both sides of a month, and all that is wrong with it."""

    book: pl.DataFrame
    statement: pl.DataFrame
    book_cash: pl.DataFrame
    cash: pl.DataFrame
    planted: list[Planted]


@dataclass
class Pair:
    """A job with its line, as both are when nothing is wrong."""

    job: Row
    line: Row
    milliseconds: int = 0

    @property
    def name(self) -> str:
        return str(self.job["job"])

    @property
    def rate_e8(self) -> int:
        return RATE_E8[self.job["model"], self.job["quality"]]

    @property
    def amount_e8(self) -> int:
        return int(self.job["charged_e8"])

    @property
    def steps(self) -> int:
        return -(-self.milliseconds // 1000)

    def is_motion(self, quality: str | None = None) -> bool:
        return bool(self.job["model"] == MOTION and quality in {None, self.job["quality"]})


@dataclass
class Making:
    """The month while it is made."""

    random: random.Random
    pairs: list[Pair] = field(default_factory=list)
    lines: list[Row] = field(default_factory=list)
    planted: list[Planted] = field(default_factory=list)
    used: int = 0

    def find(self, fits: Callable[[Pair], bool]) -> Pair:
        """The next job that nothing was done to and that fits."""
        for place in range(self.used, len(self.pairs)):
            if fits(self.pairs[place]):
                pairs = self.pairs
                pairs[self.used], pairs[place] = pairs[place], pairs[self.used]
                self.used += 1
                return pairs[self.used - 1]
        raise AssertionError("the month has too few jobs for what is to be planted")

    def expect(self, kind: str, about: str, difference_e8: int, cause: str | None = None) -> None:
        self.planted.append(Planted(kind, about, difference_e8, cause))


def month(jobs: int = 2_000, *, seed: int = 1, each: int = 3, is_wrong: bool = True) -> Month:
    """A month of so many jobs, with `each` differences of every sort; none, if it is not wrong."""
    making = Making(random.Random(seed))
    versions = {
        model: PriceBook.bundled().in_force(model, "2026-11-01").version.id
        for model in (MOTION, TEXT, ELEMENT)
    }
    making.pairs = [_pair(making.random, number, versions) for number in range(jobs)]
    for _ in range(each):
        for right in RIGHT:
            right(making)
    elements_of_a_day(making)
    if is_wrong:
        for _ in range(each):
            for plant in WRONG:
                plant(making)
        money_at_another_rate(making)
    statement = [pair.line for pair in making.pairs if pair.line] + making.lines
    making.random.shuffle(statement)
    for number, line in enumerate(statement, start=2):
        line["line"] = number
    book = [pair.job for pair in making.pairs]
    making.random.shuffle(book)
    book_cash, cash = _cash(making, is_wrong=is_wrong)
    return Month(
        *frames(book, statement),
        pl.DataFrame(book_cash, schema=dict(TOP_UPS)),
        pl.DataFrame(cash, schema=dict(INVOICES)),
        making.planted,
    )


def _pair(chance: random.Random, number: int, versions: dict[str, str]) -> Pair:
    """Any job of the month."""
    model = chance.choices([MOTION, TEXT, ELEMENT], [8, 3, 1])[0]
    milliseconds = chance.randrange(3_001, 20_000)
    if model == TEXT:
        milliseconds = milliseconds // 2000 * 1000 + 3000  # 4 to 12 whole seconds
    return pair_of(
        number,
        model=model,
        quality=chance.choice(["720p", "1080p"]),
        milliseconds=milliseconds,
        at_us=chance.randrange(SINCE_US + DAY_US, UNTIL_US - DAY_US),
        version=versions[model],
        later_us=chance.randrange(MINUTE_US),
    )


def pair_of(
    number: int = 1,
    *,
    model: str = MOTION,
    quality: str = "720p",
    milliseconds: int = 9_200,
    at_us: int = SINCE_US + 9 * DAY_US,
    version: str | None = None,
    later_us: int = 0,
) -> Pair:
    """A job that was charged, and the line of the bill that charges it."""
    if version is None:
        version = PriceBook.bundled().in_force(model, "2026-11-01").version.id
    price = {"model": model, "version": version, "channel": "preferred"}
    price["digest"] = f"{number:064x}"  # another one for every prompt
    seconds = None
    if model == ELEMENT:
        milliseconds, amount_e8 = 0, ELEMENT_E8
    else:
        price["quality"] = quality
        amount_e8 = -(-milliseconds // 1000) * RATE_E8[model, quality]
    if model == MOTION:
        price["character_orientation"] = "video"
        seconds = f"{milliseconds / 1000:.3f}".rstrip("0").rstrip(".")
    if model == TEXT:
        price["seconds"] = str(milliseconds // 1000)
    job = {
        "job": f"job-{number:07}",
        "wallet": f"wallet-{number % 3}",
        "task": f"task-unified-{number:07}",
        "key": f"job-{number:07}",
        "model": model,
        "quality": price.get("quality"),
        "orientation": price.get("character_orientation"),
        "version": version,
        "channel": "preferred",
        "terms": json.dumps({"deadline": None, "price": price}),
        "state": "charged",
        "hold_e8": 2 * amount_e8 + 1,  # no length costs this
        "charged_e8": amount_e8,
        "refunded_e8": 0,
        "charged_before_e8": 0,
        "charged_after_e8": 0,
        "refunded_before_e8": 0,
        "refunded_after_e8": 0,
        "seconds": seconds,
        "at_us": at_us,
        "late": 0,
        "task_status": "completed",
        "task_net_e8": amount_e8,
        "deadline_us": at_us + DAY_US,
    }
    line = {
        "line": number + 1,
        "task": job["task"],
        "key": None,
        "model": model,
        "amount_e8": amount_e8,
        "refunded_e8": None,
        "raw_amount": str(amount_e8),
        "seconds_us": None,
        "quality": price.get("quality"),
        "at_us": at_us + later_us,
        "status": "completed",
        "money_e8": _usd_e8(amount_e8, CREDITS_PER_USD),
        "currency": "USD",
        "version": None,
    }
    return Pair(job, line, milliseconds)


def frames(jobs: Iterable[Row], lines: Iterable[Row]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows as a book and a bill."""
    return (
        pl.DataFrame(list(jobs), schema={**BOOK, **OPTIONAL}),
        pl.DataFrame(list(lines), schema=dict(STATEMENT)),
    )


def _usd_e8(amount_e8: int, credits_per_usd: int) -> int:
    return (2 * amount_e8 + credits_per_usd) // (2 * credits_per_usd)


def bill(pair: Pair, amount_e8: int, *, seconds_us: int | None = None) -> None:
    """Have the bill charge something else."""
    pair.line["amount_e8"] = amount_e8
    pair.line["money_e8"] = _usd_e8(abs(amount_e8), CREDITS_PER_USD)
    if amount_e8 < 0:
        pair.line["money_e8"] *= -1
    pair.line["seconds_us"] = seconds_us


def further(making: Making, pair: Pair, amount_e8: int, **changes: Any) -> None:
    """A second line of the same task."""
    money_e8 = _usd_e8(abs(amount_e8), CREDITS_PER_USD)
    line = {
        **pair.line,
        "amount_e8": amount_e8,
        "money_e8": -money_e8 if amount_e8 < 0 else money_e8,
        **changes,
    }
    making.lines.append(line)


def uncharged(pair: Pair, state: str) -> None:
    """The book has charged nothing for the job."""
    pair.job |= {"state": state, "charged_e8": 0, "task_status": None, "task_net_e8": None}


def any_clip(pair: Pair) -> bool:
    return bool(pair.job["model"] != ELEMENT)


# What looks odd and is right


def charged_in_two_lines(making: Making) -> None:
    pair = making.find(any_clip)
    bill(pair, pair.amount_e8 - 7)
    further(making, pair, 7)


def charged_and_given_back(making: Making) -> None:
    pair = making.find(any_clip)
    pair.job["refunded_e8"] = pair.amount_e8
    further(making, pair, -pair.amount_e8, status="refund")


def given_back_on_the_same_line(making: Making) -> None:
    pair = making.find(any_clip)
    pair.job["refunded_e8"] = pair.amount_e8
    pair.line |= {"refunded_e8": pair.amount_e8, "status": "failed"}


def charged_twice_and_once_given_back(making: Making) -> None:
    pair = making.find(any_clip)
    further(making, pair, pair.amount_e8)
    further(making, pair, pair.amount_e8, status="refund")  # a refund, whatever its sign


def failed_for_nothing(making: Making) -> None:
    pair = making.find(any_clip)
    uncharged(pair, "released")
    bill(pair, 0)
    pair.line["status"] = "failed"


def failed_for_nothing_and_unknown(making: Making) -> None:
    pair = making.find(any_clip)
    further(making, pair, 0, task=f"{pair.name}-other", status="failed")


def named_by_its_key(making: Making) -> None:
    pair = making.find(any_clip)
    pair.line |= {"task": None, "key": pair.name}


def without_a_name(making: Making) -> None:
    pair = making.find(any_clip)
    amount_e8 = pair.amount_e8 + making.used  # no other job is alike
    pair.job["charged_e8"] = pair.job["task_net_e8"] = amount_e8
    bill(pair, amount_e8)
    pair.line["task"] = None


def still_running(making: Making) -> None:
    pair = making.find(any_clip)
    uncharged(pair, "open")
    pair.job["deadline_us"] = NOW_US + DAY_US
    bill(pair, 0)
    pair.line["status"] = "other"


def of_another_month(making: Making) -> None:
    pair = making.find(any_clip)
    further(making, pair, 5, task=f"{pair.name}-later", at_us=UNTIL_US)


def bought(making: Making) -> None:
    pair = making.find(any_clip)
    further(making, pair, 68_00000000, task=None, status="topup", model=None)


def elements_of_a_day(making: Making) -> None:
    """All elements of the 15th stand on one line without a name."""
    day_us = SINCE_US + 14 * DAY_US
    pairs = [
        pair
        for pair in making.pairs
        if pair.job["model"] == ELEMENT
        and day_us <= pair.job["at_us"] < day_us + DAY_US - MINUTE_US
    ]
    if len(pairs) > 1:
        further(making, pairs[0], len(pairs) * ELEMENT_E8, task=None, at_us=day_us)
        for pair in pairs:
            pair.line = {}


RIGHT = (
    charged_in_two_lines,
    charged_and_given_back,
    given_back_on_the_same_line,
    charged_twice_and_once_given_back,
    failed_for_nothing,
    failed_for_nothing_and_unknown,
    named_by_its_key,
    without_a_name,
    still_running,
    of_another_month,
    bought,
)


# What is wrong


def unknown_line(making: Making) -> None:
    pair = making.find(any_clip)
    task = f"task-of-nobody-{making.used}"
    further(making, pair, pair.amount_e8, task=task)
    making.expect("missing_here", task, pair.amount_e8)


def no_line(making: Making) -> None:
    pair = making.find(any_clip)
    pair.line = {}
    making.expect("missing_there", pair.name, -pair.amount_e8)


def odd_amount(making: Making) -> None:
    pair = making.find(any_clip)
    bill(pair, pair.amount_e8 + 12_345_677)
    making.expect("amount", pair.name, 12_345_677)


def two_seconds_more(making: Making) -> None:
    pair = making.find(Pair.is_motion)
    bill(pair, (pair.steps + 2) * pair.rate_e8)
    making.expect("billed_seconds", pair.name, 2 * pair.rate_e8, "2 s more")


def longer_on_the_bill(making: Making) -> None:
    pair = making.find(Pair.is_motion)
    bill(pair, (pair.steps + 5) * pair.rate_e8, seconds_us=pair.milliseconds * 1000 + 5_000_000)
    cause = "the length on the bill instead of ours"
    making.expect("billed_seconds", pair.name, 5 * pair.rate_e8, cause)


def as_it_was_held(making: Making) -> None:
    pair = making.find(Pair.is_motion)
    held_e8 = (pair.steps + 3) * pair.rate_e8
    pair.job["hold_e8"] = held_e8
    bill(pair, held_e8)
    cause = "the length reserved instead of the one generated"
    making.expect("billed_seconds", pair.name, 3 * pair.rate_e8, cause)


def lower_quality(making: Making) -> None:
    pair = making.find(lambda pair: pair.is_motion("1080p"))
    amount_e8 = pair.steps * RATE_E8[MOTION, "720p"]
    bill(pair, amount_e8)
    cause = "quality 720p instead of 1080p"
    making.expect("option", pair.name, amount_e8 - pair.amount_e8, cause)


def older_price(making: Making) -> None:
    pair = making.find(lambda pair: pair.job["quality"] == "1080p")
    steps = pair.amount_e8 // pair.rate_e8
    amount_e8 = steps * OLDER_RATE_E8[pair.job["model"], "1080p"]
    bill(pair, amount_e8)
    making.expect("price_version", pair.name, amount_e8 - pair.amount_e8, OTHER_MULTIPLIER)


def rounded_to_nearest(making: Making) -> None:
    pair = making.find(lambda pair: pair.is_motion() and 0 < pair.milliseconds % 1000 < 500)
    bill(pair, pair.milliseconds // 1000 * pair.rate_e8)
    making.expect("rounding", pair.name, -pair.rate_e8, "rounding to nearest")


def other_unit(making: Making) -> None:
    pair = making.find(any_clip)
    bill(pair, pair.amount_e8 * 10_000)
    cause = "units of 10^-4 credit read as credits"
    making.expect("unit_scale", pair.name, pair.amount_e8 * 9_999, cause)


def other_unit_and_rounding(making: Making) -> None:
    pair = making.find(lambda pair: pair.is_motion() and 0 < pair.milliseconds % 1000 < 500)
    amount_e8 = pair.milliseconds // 1000 * pair.rate_e8 * 10_000
    bill(pair, amount_e8)
    cause = "units of 10^-4 credit read as credits, and rounding to nearest"
    making.expect("unit_scale", pair.name, amount_e8 - pair.amount_e8, cause)


def lower_quality_and_rounding(making: Making) -> None:
    pair = making.find(lambda pair: pair.is_motion("1080p") and 0 < pair.milliseconds % 1000 < 500)
    amount_e8 = pair.milliseconds // 1000 * RATE_E8[MOTION, "720p"]
    bill(pair, amount_e8)
    cause = "quality 720p instead of 1080p, and rounding to nearest"
    making.expect("option", pair.name, amount_e8 - pair.amount_e8, cause)


def twice(making: Making) -> None:
    pair = making.find(any_clip)
    further(making, pair, pair.amount_e8)
    making.expect("duplicate_charge", pair.name, pair.amount_e8)


def twice_at_an_older_price(making: Making) -> None:
    pair = making.find(lambda pair: pair.is_motion("1080p"))
    amount_e8 = pair.steps * OLDER_RATE_E8[MOTION, "1080p"]
    bill(pair, amount_e8)
    further(making, pair, amount_e8)
    making.expect("duplicate_charge", pair.name, amount_e8)
    making.expect("price_version", pair.name, amount_e8 - pair.amount_e8, OTHER_MULTIPLIER)


def failed_and_charged(making: Making) -> None:
    pair = making.find(any_clip)
    amount_e8 = pair.amount_e8
    uncharged(pair, "released")
    pair.line["status"] = "failed"
    making.expect("charged_though_failed", pair.name, amount_e8)


def failed_and_charged_on_both_sides(making: Making) -> None:
    pair = making.find(any_clip)
    pair.job["task_status"] = "failed"
    making.expect("charged_though_failed", pair.name, 0)


def not_given_back_there(making: Making) -> None:
    pair = making.find(any_clip)
    pair.job["refunded_e8"] = pair.amount_e8
    making.expect("refund_missing", pair.name, pair.amount_e8)


def not_given_back_here(making: Making) -> None:
    pair = making.find(any_clip)
    further(making, pair, -pair.amount_e8, status="refund")
    making.expect("refund_missing", pair.name, -pair.amount_e8)


def not_given_back_and_rounded(making: Making) -> None:
    pair = making.find(lambda pair: pair.is_motion() and 0 < pair.milliseconds % 1000 < 500)
    pair.job["refunded_e8"] = 100_000_000
    bill(pair, pair.milliseconds // 1000 * pair.rate_e8)
    making.expect("refund_missing", pair.name, 100_000_000)
    making.expect("rounding", pair.name, -pair.rate_e8, "rounding to nearest")


def given_back_in_part(making: Making) -> None:
    pair = making.find(any_clip)
    pair.job["refunded_e8"] = pair.amount_e8
    pair.line["refunded_e8"] = pair.amount_e8 - 100
    making.expect("refund_amount", pair.name, 100)


def settled_only_there(making: Making) -> None:
    pair = making.find(any_clip)
    amount_e8 = pair.amount_e8
    uncharged(pair, "open")
    making.expect("never_settled", pair.name, amount_e8)


def failed_and_still_held(making: Making) -> None:
    pair = making.find(any_clip)
    uncharged(pair, "open")
    bill(pair, 0)
    pair.line["status"] = "failed"
    making.expect("never_settled", pair.name, 0)


def never_heard_of(making: Making) -> None:
    pair = making.find(any_clip)
    uncharged(pair, "unknown")
    pair.line = {}
    making.expect("never_settled", pair.name, 0)


def released_and_charged(making: Making) -> None:
    pair = making.find(any_clip)
    amount_e8 = pair.amount_e8
    uncharged(pair, "released")
    making.expect("late_charge", pair.name, amount_e8)


def charged_here_a_month_later(making: Making) -> None:
    pair = making.find(any_clip)
    amount_e8 = pair.amount_e8
    pair.job |= {"charged_e8": 0, "charged_after_e8": amount_e8, "at_us": UNTIL_US + MINUTE_US}
    making.expect("cut_off", pair.name, amount_e8)


def charged_there_a_month_later(making: Making) -> None:
    pair = making.find(any_clip)
    pair.line["at_us"] = UNTIL_US + MINUTE_US
    making.expect("cut_off", pair.name, -pair.amount_e8)


def charged_a_month_later_and_rounded(making: Making) -> None:
    pair = making.find(lambda pair: pair.is_motion() and 0 < pair.milliseconds % 1000 < 500)
    amount_e8 = pair.amount_e8
    pair.job |= {"charged_e8": 0, "charged_before_e8": amount_e8, "at_us": SINCE_US - MINUTE_US}
    bill(pair, pair.milliseconds // 1000 * pair.rate_e8)
    making.expect("cut_off", pair.name, amount_e8)
    making.expect("rounding", pair.name, -pair.rate_e8, "rounding to nearest")


def money_at_another_rate(making: Making) -> None:
    """Three lines have the dollars of the rate that was in force up to April: 72 for 68."""
    for _ in range(3):
        pair = making.find(any_clip)
        pair.line["money_e8"] = _usd_e8(pair.amount_e8, 72)
    making.planted.append(Planted("exchange_rate", None, 0, "72 instead of 68 credits per USD"))


WRONG = (
    unknown_line,
    no_line,
    odd_amount,
    two_seconds_more,
    longer_on_the_bill,
    as_it_was_held,
    lower_quality,
    older_price,
    rounded_to_nearest,
    other_unit,
    other_unit_and_rounding,
    lower_quality_and_rounding,
    twice,
    twice_at_an_older_price,
    failed_and_charged,
    failed_and_charged_on_both_sides,
    not_given_back_there,
    not_given_back_here,
    not_given_back_and_rounded,
    given_back_in_part,
    settled_only_there,
    failed_and_still_held,
    never_heard_of,
    released_and_charged,
    charged_here_a_month_later,
    charged_there_a_month_later,
    charged_a_month_later_and_rounded,
)


# Purchases

CREDIT = 100_000_000


def _cash(making: Making, *, is_wrong: bool) -> tuple[list[Row], list[Row]]:
    """Purchases of 680 credits for 10 dollars, which is 68 a dollar."""
    ours: list[Row] = []
    theirs: list[Row] = []
    for number in range(6):
        key, at_us = f"invoice-{number}", SINCE_US + number * DAY_US
        credits_e8, money_e8 = (number + 1) * 680 * CREDIT, (number + 1) * 10 * CREDIT
        ours.append(
            {"wallet": "wallet-0", "key": key, "credits_e8": credits_e8, "cash_e8": money_e8}
            | {"currency": "USD", "at_us": at_us}
        )
        theirs.append(
            {"invoice": key, "credits_e8": credits_e8, "money_e8": money_e8}
            | {"currency": "USD", "at_us": at_us}
        )
    theirs[0]["invoice"] = "another number"  # found by its credits
    if is_wrong:
        expect = making.expect
        theirs[1]["money_e8"] = 1360 * CREDIT * CREDIT // (72 * CREDIT)  # 18.88888888
        expect("exchange_rate", "invoice-1", 0, "72 instead of 68 credits per USD")
        theirs[2]["credits_e8"] -= CREDIT
        expect("amount", "invoice-2", -CREDIT)
        ours[3]["key"], ours[3]["credits_e8"] = "gone", 77 * CREDIT
        expect("missing_there", "gone", -77 * CREDIT)
        expect("missing_here", "invoice-3", 4 * 680 * CREDIT)
    return ours, theirs

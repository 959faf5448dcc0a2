"""What holds for every price and every length, checked against plain fractions."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ledger import MotionControl, PriceBook
from ledger.pricebook import ModelFile, Overlay, OverlayFile
from ledger.pricing import Factor, PriceVersion, Terms
from ledger.units import ExchangeRates, Rounding, credits_to_e8

PRICES = [PriceBook.bundled(name) for name in PriceBook.bundled_names()]
DAY = "2026-10-10"
VERSION = PriceVersion(
    "v", "book", "model", datetime(2026, 1, 1, tzinfo=UTC), "s", date(2026, 1, 1)
)


def decimals(least: str, most: str, places: int) -> st.SearchStrategy[Decimal]:
    return st.decimals(least, most, places=places, allow_nan=False, allow_infinity=False)


rates = decimals("0", "1000", 8)
multipliers = decimals("0.000001", "10", 6)
lengths = decimals("0.000001", "100", 6)
roundings: st.SearchStrategy[Rounding] = st.sampled_from(["ceil", "half_up", "floor"])
steps = st.sampled_from([Decimal(text) for text in ("1", "0.1", "0.5", "5", "0.25", "3")])
quanta = st.sampled_from([1, 100, 10_000, 1_000_000, 100_000_000])


@st.composite
def terms(draw: st.DrawFn) -> Terms:
    shortest = draw(st.none() | decimals("0.1", "10", 1))
    longest = draw(st.none() | decimals("10", "40", 1))
    return Terms(
        version=VERSION,
        channel="preferred",
        options="anything",
        unit="second",
        settles_on="output",
        rate=draw(rates),
        factors=tuple(Factor("drawn", value) for value in draw(st.lists(multipliers, max_size=3))),
        quantity_rounding=draw(st.none() | roundings),
        step_seconds=draw(steps),
        shortest_seconds=shortest,
        longest_seconds=longest,
        longest_input_seconds=None,
        smallest_charge_e8=draw(st.integers(0, 10**10)),
        quantum_e8=draw(quanta),
        charge_rounding=draw(roundings),
    )


def whole(value: Fraction, rounding: Rounding) -> int:
    """A fraction as a whole number, said as plainly as can be."""
    if rounding == "ceil":
        return math.ceil(value)
    if rounding == "floor":
        return math.floor(value)
    return math.floor(value + Fraction(1, 2))


def naive_bill(terms: Terms, seconds: Decimal) -> tuple[Fraction, int]:
    """Billed seconds and units of 10^-8 credit, over again in fractions."""
    step, length = Fraction(terms.step_seconds), Fraction(seconds)
    low = None if terms.shortest_seconds is None else Fraction(terms.shortest_seconds)
    high = None if terms.longest_seconds is None else Fraction(terms.longest_seconds)
    if terms.quantity_rounding is not None:
        length = whole(length / step, terms.quantity_rounding) * step
        # Bounds count in whole steps too: the shortest rounded up, the longest rounded down.
        low = None if low is None else math.ceil(low / step) * step
        high = None if high is None else math.floor(high / step) * step
    if high is not None:
        length = min(length, high)
    if low is not None:
        length = max(length, low)
    credits_ = length * Fraction(terms.rate)
    for factor in terms.factors:
        credits_ *= Fraction(factor.value)
    quantum = Fraction(terms.quantum_e8, 10**8)
    units = whole(credits_ / quantum, terms.charge_rounding) * terms.quantum_e8
    return length, max(units, terms.smallest_charge_e8)


def bounds_do_not_cross(terms: Terms) -> bool:
    """Steps may push the shortest length above the longest; no published price is like that."""
    fewest, most = terms.bounds_in_steps
    return most is None or terms.quantity_rounding is None or fewest <= most


@given(terms().filter(bounds_do_not_cross), lengths)
def test_a_charge_is_the_plain_fraction(terms: Terms, seconds: Decimal) -> None:
    billed, amount_e8 = naive_bill(terms, seconds)
    charge = terms.bill(seconds)
    assert charge.credits_e8 == amount_e8
    assert Fraction(charge.quantity) == billed


@given(terms().filter(bounds_do_not_cross), lengths, lengths)
def test_a_longer_clip_never_costs_less(terms: Terms, one: Decimal, other: Decimal) -> None:
    short, long = sorted((one, other))
    assert terms.bill(short).credits_e8 <= terms.bill(long).credits_e8


@given(terms(), lengths)
def test_the_lines_add_up_to_the_total(terms: Terms, seconds: Decimal) -> None:
    charge = terms.bill(seconds)
    assert sum(line.credits_e8 for line in charge.lines) == charge.credits_e8
    assert all(line.credits_e8 >= 0 for line in charge.lines)
    assert charge.credits_e8 >= terms.smallest_charge_e8


@given(terms(), lengths)
def test_the_unit_price_is_the_exact_product_of_rate_and_factors(
    terms: Terms, seconds: Decimal
) -> None:
    product = Fraction(terms.rate)
    for factor in terms.factors:
        product *= Fraction(factor.value)
    assert Fraction(terms.unit_price) == product
    assert terms.bill(seconds).lines[0].unit_price == terms.unit_price


motions = st.fixed_dictionaries(
    {
        "character_orientation": st.sampled_from(["image", "video"]),
        "quality": st.sampled_from(["720p", "1080p"]),
    }
)


@given(st.sampled_from(PRICES), motions, lengths)
def test_every_charge_lies_between_the_shortest_and_the_longest(
    prices: PriceBook, options: dict[str, Any], seconds: Decimal
) -> None:
    job = MotionControl.model_validate(options)
    quote = prices.quote(job, at=DAY)
    charge = prices.charge(job, seconds=max(seconds, Decimal(3)), at=DAY)  # no clip is shorter
    assert quote.minimum <= charge.credits <= quote.maximum
    cap = {"image": 10, "video": 30}[job.character_orientation]
    assert charge.quantity <= cap


@given(st.sampled_from(PRICES), motions, st.none() | lengths)
def test_a_range_is_in_order_whatever_the_guess(
    prices: PriceBook, options: dict[str, Any], guess: Decimal | None
) -> None:
    job = MotionControl.model_validate(options | {"expected_seconds": guess})
    quote = prices.quote(job, at=DAY)
    assert quote.minimum <= quote.expected <= quote.maximum
    assert quote.expected_charge.credits_e8 == sum(line.credits_e8 for line in quote.lines)


@given(st.sampled_from(PRICES), motions, decimals("3", "30", 6))
def test_a_quote_of_a_known_length_is_the_charge_for_it(
    prices: PriceBook, options: dict[str, Any], seconds: Decimal
) -> None:
    known = MotionControl.model_validate(options | {"reference_seconds": seconds})
    quote = prices.quote(known, at=DAY)
    assert quote.maximum_charge == prices.charge(known, seconds=seconds, at=DAY)


@given(
    rate=decimals("0.00000001", "1000", 8),
    multiplier=multipliers,
    discount=decimals("0", "0.999999", 6),
    seconds=st.integers(3, 15),
)
def test_a_discounted_price_is_the_plain_fraction(
    rate: Decimal, multiplier: Decimal, discount: Decimal, seconds: int
) -> None:
    file = ModelFile.model_validate(
        {
            "model": "drawn",
            "body": "text_to_video",
            "price": [
                {
                    "effective_from": "2026-01-01T00:00:00Z",
                    "source": "drawn",
                    "checked": "2026-01-01",
                    "unit": "second",
                    "rate": rate,
                    "discount": discount,
                    "settles_on": "requested",
                    "multiplier": [{"options": ["quality"], "table": {"720p": multiplier}}],
                }
            ],
        }
    )
    prices = PriceBook("drawn", [file], ExchangeRates([]))
    job = prices.job("drawn", quality="720p", seconds=seconds)
    exact = Fraction(rate) * Fraction(multiplier) * (1 - Fraction(discount)) * seconds
    assert credits_to_e8(prices.quote(job, at=DAY).maximum) == whole(exact * 10**8, "half_up")


@given(motions, lengths, st.dates(date(2026, 3, 1), date(2026, 12, 31)), st.integers(1, 99))
def test_an_old_version_costs_what_it_did_whatever_overlay_comes_later(
    options: dict[str, Any], seconds: Decimal, day: date, percent: int
) -> None:
    job = MotionControl.model_validate(options)
    before = PriceBook.bundled()
    old = before.charge(job, seconds=seconds, at=day)
    change = Overlay(
        model="kling-v3-*", source="ours", checked=day, discount=Decimal(percent).scaleb(-2)
    )
    files = [before.file(model) for model in before.models]
    later = PriceBook(
        "evolink", files, before.rates, overlays=[OverlayFile(name="deal", overlay=(change,))]
    )
    assert later.charge(job, seconds=seconds, at=day).credits_e8 < old.credits_e8
    again = later.charge(job, seconds=seconds, version=old.terms.version.id)
    assert again.credits_e8 == old.credits_e8

"""One job at a time. Goals: a validated quote in 10 µs, a charge in 3 µs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from ledger import Charge, LineItem, MotionControl, PriceBook, Quote

BODY: dict[str, Any] = {
    "model": "kling-v3-motion-control",
    "prompt": "A girl dances in a sunlit courtyard",
    "image_urls": ["https://media.example.com/girl.png"],
    "video_urls": ["https://media.example.com/dance.mp4"],
    "quality": "1080p",
    "model_params": {"character_orientation": "video", "keep_sound": False},
}


@pytest.fixture(scope="module")
def prices() -> PriceBook:
    return PriceBook.bundled()


def test_one_validated_quote_with_line_items(
    benchmark: BenchmarkFixture, prices: PriceBook
) -> None:
    def price() -> tuple[LineItem, ...]:
        job = MotionControl(
            quality="1080p", character_orientation="video", reference_seconds="12.4"
        )
        return prices.quote(job).lines

    # 13 s × 10.8918432
    assert [str(line.credits) for line in price()] == ["141.5939616"]
    benchmark(price)


def test_one_quote_of_a_request_that_is_already_validated(
    benchmark: BenchmarkFixture, prices: PriceBook
) -> None:
    job = MotionControl(quality="1080p", character_orientation="video", reference_seconds="12.4")
    assert prices.quote(job).maximum == Decimal("141.5939616")
    benchmark(prices.quote, job)


def test_one_complete_request_body_read_and_quoted(
    benchmark: BenchmarkFixture, prices: PriceBook
) -> None:
    def price() -> Quote:
        return prices.quote(prices.parse(BODY))

    # Length unknown: 3 s to 30 s.
    assert (price().minimum, price().maximum) == (Decimal("32.6755296"), Decimal("326.755296"))
    benchmark(price)


def test_a_price_lookup_and_the_charge_for_a_known_length(
    benchmark: BenchmarkFixture, prices: PriceBook
) -> None:
    job = MotionControl(quality="1080p", character_orientation="video")
    seconds = Decimal("9.2")

    def charge() -> Charge:
        return prices.charge(job, seconds=seconds)

    assert charge().credits == Decimal("108.918432")  # 10 s × 10.8918432
    benchmark(charge)


def test_digest_and_document_of_a_quote(benchmark: BenchmarkFixture, prices: PriceBook) -> None:
    job = MotionControl(quality="1080p", character_orientation="video", reference_seconds="12.4")
    quote = prices.quote(job)
    assert quote.document()["credits"]["maximum"] == "141.5939616"
    benchmark(quote.document)

"""The provider's pricing rules. Goals: a document of 24 models in 50 ms, one quote in 30 µs, ten
million motion-control jobs a second from a column, be they priced by a rate or by a formula.

The provider's own document is measured where it is there (see `tests/rule_documents.py`).
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from bench_columns import ROWS, jobs
from pytest_benchmark.fixture import BenchmarkFixture
from rule_documents import (
    Json,
    apply,
    constant,
    document,
    load,
    motion_control,
    sample_text,
    tier,
    variable,
)

from ledger import MotionControl, PublishedRules, Quote, price_frame
from ledger.columns.plans import over
from ledger.evolink.rules import Bill, Range, Rule, Rules

KNOWN: dict[str, Any] = {"input_seconds": Decimal("12.4"), "quality": "1080p"}


@pytest.fixture(scope="module")
def rule() -> Rule:
    return load(motion_control()).models["kling-v3-motion-control"]


def test_the_provider_s_document_read_and_checked(benchmark: BenchmarkFixture) -> None:
    text = sample_text()
    assert len(Rules.parse(text).models) == 24
    benchmark(Rules.parse, text)


def test_one_price_by_the_rule(benchmark: BenchmarkFixture, rule: Rule) -> None:
    values = {**KNOWN, "output_seconds": Decimal("9.2")}

    def price() -> Bill:
        return rule.price(values)

    assert price().total_uc == 980_266  # 9 s × 81,648 × 1.334 = 980,265.888
    benchmark(price)


def test_the_least_and_the_most_for_a_range_of_lengths(
    benchmark: BenchmarkFixture, rule: Rule
) -> None:
    values = {**KNOWN, "output_seconds": Range(Decimal(3), Decimal(30))}

    def span() -> tuple[int, int]:
        return rule.span(values)

    assert span() == (326_755, 3_267_553)  # 3 s and 30 s × 81,648 × 1.334
    benchmark(span)


def test_the_price_of_a_text_model_with_tiers(benchmark: BenchmarkFixture) -> None:
    luna = Rules.parse(sample_text()).models["gpt-5.6-luna"]
    values = {
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "input_tokens": 300_000,
        "output_tokens": 1_000,
        "prompt_tokens": 300_000,
    }

    def price() -> Bill:
        return luna.price(values)

    # Above 272,000 tokens: 300 × 246 and 1 × 1,102.5 rounded up; the cache at least 100 each.
    assert price().total_uc == 73_800 + 1_103 + 100 + 100
    benchmark(price)


@pytest.fixture(scope="module")
def book() -> PublishedRules:
    text = json.dumps(document(motion_control())).encode()
    return PublishedRules(text, "rules", source="rules.json")


def test_the_provider_s_document_as_a_price_book(benchmark: BenchmarkFixture) -> None:
    text = sample_text()
    assert len(PublishedRules(text, "rules", source="rules.json").models) == 24
    benchmark(PublishedRules, text, "rules", source="rules.json")


def test_a_quote_from_a_rule_that_is_a_rate(
    benchmark: BenchmarkFixture, book: PublishedRules
) -> None:
    def quote() -> Quote:
        job = MotionControl(
            quality="1080p", character_orientation="video", reference_seconds="12.4"
        )
        return book.quote(job, at="2026-11-01")

    assert quote().maximum == Decimal("130.7021")
    benchmark(quote)


def test_a_quote_from_a_formula(benchmark: BenchmarkFixture) -> None:
    sample = PublishedRules(sample_text(), "rules", source="rules.json")

    def quote() -> Quote:
        return sample.quote(sample.job("krea-2-turbo", quality="2K"), at="2026-11-01")

    assert quote().maximum == Decimal("1.8")
    benchmark(quote)


def test_a_column_of_ten_million_jobs_by_the_rules(
    benchmark: BenchmarkFixture, book: PublishedRules
) -> None:
    frame = jobs(ROWS).with_columns(
        pl.col("model").cast(pl.Enum(["kling-v3-motion-control"])),
        pl.col("quality").cast(pl.Enum(["720p", "1080p"])),
        pl.col("orientation").cast(pl.Enum(["image", "video"])),
    )
    first = price_frame(frame.head(60_000), book, at="2026-11-01")
    for row in first.sample(300, seed=1).iter_rows(named=True):
        billed = min(int(Decimal(str(row["seconds"])) + Decimal("0.5")),
                     10 if row["orientation"] == "image" else 30)  # fmt: skip
        rate_uc = Decimal(81_648) * (Decimal("1.334") if row["quality"] == "1080p" else 1)
        uc = max(int(billed * rate_uc + Decimal("0.5")), 244_944)
        assert row["maximum_e8"] == uc * 10_000
    benchmark.pedantic(price_frame, (frame, book), {"at": "2026-11-01"}, rounds=5)


def formula() -> Json:
    """Motion control with a tier, which no rate can say: twice as much above 20 seconds."""
    found = motion_control()
    above = apply("gt", variable("output_seconds"), constant("20"))
    found["components"][0]["tiers"] = [tier(above, "2", "163296", minimum="244944")]
    return found


@pytest.mark.parametrize("floats", ["of three decimals", "as computed"])
def test_a_column_of_ten_million_jobs_by_a_formula(
    benchmark: BenchmarkFixture, floats: str
) -> None:
    """One float in seven of those that were computed is a hair off, and is read digit by digit."""
    book = PublishedRules(json.dumps(document(formula())).encode(), "rules", source="rules.json")
    assert set(book.formulas) == {"kling-v3-motion-control"}
    frame = jobs(ROWS).with_columns(
        pl.col("model").cast(pl.Enum(["kling-v3-motion-control"])),
        pl.col("quality").cast(pl.Enum(["720p", "1080p"])),
        pl.col("orientation").cast(pl.Enum(["image", "video"])),
    )
    if floats == "of three decimals":
        exact = over((pl.col("seconds") * 1000).round(), 1000)
        frame = frame.with_columns(exact.alias("seconds"))
    first = price_frame(frame.head(60_000), book, at="2026-11-01")
    for row in first.sample(300, seed=1).iter_rows(named=True):
        longest = Decimal(10 if row["orientation"] == "image" else 30)
        seconds = min(Decimal(str(row["seconds"])), longest)
        rate_uc = Decimal(81_648 if seconds <= 20 else 163_296)
        rate_uc *= Decimal("1.334") if row["quality"] == "1080p" else 1
        uc = max(int(int(seconds + Decimal("0.5")) * rate_uc + Decimal("0.5")), 244_944)
        assert row["maximum_e8"] == uc * 10_000
    benchmark.pedantic(price_frame, (frame, book), {"at": "2026-11-01"}, rounds=5)


def test_a_column_of_a_million_calls_of_a_text_model(benchmark: BenchmarkFixture) -> None:
    sample = PublishedRules(sample_text(), "rules", source="rules.json")
    number = pl.int_range(1_000_000, dtype=pl.Int64)
    frame = pl.select(
        model=pl.lit("gpt-5.6-luna").cast(pl.Enum(["gpt-5.6-luna"])),
        cache_read_tokens=pl.lit(0),
        cache_write_tokens=pl.lit(0),
        input_tokens=number * 7919 % 500_000,
        output_tokens=number * 31 % 9_000,
        prompt_tokens=number * 7919 % 500_000,
    )
    names = frame.columns[1:]
    priced = price_frame(frame, sample, at="2026-11-01")
    assert priced["not_priced"].null_count() == frame.height
    for row in priced.sample(300, seed=1).iter_rows(named=True):
        bill = sample.rules.models["gpt-5.6-luna"].price({name: row[name] for name in names})
        assert row["maximum_e8"] == bill.total_uc * 10_000
    benchmark.pedantic(price_frame, (frame, sample), {"at": "2026-11-01"}, rounds=5)

"""The provider's pricing rules. Goals: a document of 24 models in 50 ms, one price in 8 µs.

The provider's own document is measured where it is there (see `tests/rule_documents.py`).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from rule_documents import load, motion_control, sample_text

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

"""FOCUS exports: rows worked by hand, laws of random books, and other people's validators."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import duckdb
import histories
import polars as pl
import pytest
import typer
from hypothesis import HealthCheck, given, settings
from test_reconcile_book import HEADER
from typer.testing import CliRunner
from writers import Clock

from ledger import CustomElement, Ledger, MotionControl, PriceBook
from ledger.book import Book
from ledger.cli.export_focus import EXAMPLES
from ledger.cli.export_focus import focus as focus_command
from ledger.costing import Costing
from ledger.errors import InvalidEntry, OutputError
from ledger.exports.focus import (
    BILLING_PERIOD,
    COST_AND_USAGE,
    DEVIATIONS,
    FOCUS_VERSIONS,
    INVOICE_DETAIL,
    FocusVersion,
    check,
    focus_rows,
    write_focus,
)
from ledger.exports.focus.selfcheck import rules_of
from ledger.exports.manifest import check_manifest
from ledger.reconcile import reconcile_book
from ledger.records import us
from ledger.spans import span_of

MODEL = "kling-v3-motion-control"
OCTOBER = span_of("2026-10")
NOVEMBER = span_of("2026-11")


def at(month: int, day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


@pytest.fixture
def studio(clock: Clock) -> Iterator[Ledger]:
    """A studio with 1000 credits for 14.70 USD: a credit had cost 0.0147 USD."""
    clock.now = at(10, 1)
    with Ledger("sqlite://", clock=clock) as book:
        book.open_wallet("studio", credit_limit=1000)
        book.top_up("studio", 1000, key="invoice-881", cash="14.70", currency="USD")
        clock.now = at(10, 5, 10, 20)
        yield book
        assert book.verify().findings == ()
        for version in FOCUS_VERSIONS:
            assert check(focus_rows(book, version), version) == ()


def reserve(book: Ledger, job: str, *, quality: str = "720p", **more: Any) -> None:
    """Reserve motion control for a reference clip of 12.4 s: 13 s at most."""
    asked = MotionControl(
        quality=quality,
        character_orientation="video",
        reference_seconds="12.4",
    )
    book.reserve("studio", PriceBook.bundled().quote(asked, at=book.now()), key=job, **more)


def rows(book: Book, version: FocusVersion = "1.2", **more: Any) -> list[dict[str, Any]]:
    return [
        row for frame in focus_rows(book, version, **more) for row in frame.iter_rows(named=True)
    ]


def last(book: Book, version: FocusVersion = "1.2") -> dict[str, Any]:
    return rows(book, version)[-1]


def picked(row: dict[str, Any], *names: str) -> list[Any]:
    return [row[name] for name in names]


COSTS = ("BilledCost", "ListCost", "ContractedCost", "EffectiveCost")
CREDITS = ("PricingCurrency", "PricingCurrencyEffectiveCost", "x_Credits")


# Rows worked by hand


def test_a_top_up_is_a_purchase_that_costs_its_money_and_has_no_effective_cost(
    studio: Ledger,
) -> None:
    row = last(studio)
    assert picked(row, *COSTS) == [Decimal("14.7"), Decimal("14.7"), Decimal("14.7"), 0]
    assert picked(row, "ChargeCategory", "ChargeClass", "ChargeFrequency") == [
        "Purchase",
        None,
        "One-Time",
    ]
    assert picked(row, "PricingQuantity", "PricingUnit", "ConsumedQuantity", "ConsumedUnit") == [
        1000,
        "Credits",
        None,
        None,
    ]
    # 14.70 USD / 1000 credits
    prices = ("ListUnitPrice", "ContractedUnitPrice", "PricingCurrencyListUnitPrice")
    assert picked(row, *prices) == [Decimal("0.0147")] * 3
    assert picked(row, *CREDITS) == ["USD", 0, 1000]
    assert picked(row, "BillingCurrency", "InvoiceId", "SkuId", "SkuPriceId") == [
        "USD",
        "invoice-881",
        "evolink-credits",
        "evolink-credits#studio/2",
    ]
    assert picked(row, "ResourceId", "ResourceName", "ResourceType", "x_LedgerEntryId") == [
        "main/studio/2",
        "invoice-881",
        "Credit Lot",
        "main/studio/2",
    ]


def test_usage_is_priced_in_rounded_seconds_and_consumed_in_real_ones(studio: Ledger) -> None:
    reserve(studio, "job-1", labels={"team": "ads", "note": "=1+1, \"a\"; 'b' \\ שלום 😀"})
    studio.charge("job-1", seconds="9.2")
    row = last(studio)
    # 9.2 s are 10 s at 8.1648 credits: 81.648 credits at 0.0147 USD are 1.200 225 6 USD.
    assert picked(row, *COSTS) == [0, *[Decimal("1.2002256")] * 3]
    assert picked(row, "PricingQuantity", "PricingUnit", "ConsumedQuantity", "ConsumedUnit") == [
        10,
        "Seconds",
        Decimal("9.2"),
        "Seconds",
    ]
    assert picked(row, "ListUnitPrice", "ContractedUnitPrice") == [Decimal("0.12002256")] * 2
    assert (
        picked(row, "PricingCurrencyListUnitPrice", "PricingCurrencyContractedUnitPrice")
        == [Decimal("8.1648")] * 2
    )
    assert picked(row, *CREDITS) == ["EVOLINK_CREDIT", Decimal("81.648"), Decimal("-81.648")]
    assert picked(row, "ChargeCategory", "ChargeFrequency", "PricingCategory", "InvoiceId") == [
        "Usage",
        "Usage-Based",
        "Standard",
        None,
    ]
    version = PriceBook.bundled().in_force(MODEL, "2026-10-05").version.id
    assert picked(row, "SkuId", "SkuPriceId", "SkuMeter", "x_PriceVersion") == [
        f"{MODEL}/720p",
        f"{version}#720p,video",
        "Generated Seconds",
        version,
    ]
    assert json.loads(row["SkuPriceDetails"]) == {
        "x_Quality": "720p",
        "x_CharacterOrientation": "video",
        "x_Channel": "preferred",
    }
    assert json.loads(row["Tags"]) == {
        "team": "ads",
        "model": MODEL,
        "note": "=1+1, \"a\"; 'b' \\ שלום 😀",
    }
    assert picked(row, "ResourceId", "ResourceType", "x_CostSource", "x_Reconciled") == [
        "job-1",
        "Job",
        "computed",
        "not yet",
    ]
    assert row["ChargeDescription"] == f"{MODEL}, 720p, orientation video"


def test_a_charge_belongs_to_its_hour_and_to_its_month_in_utc(studio: Ledger, clock: Clock) -> None:
    clock.now = at(11, 2)
    studio.reserve("studio", 5, key="job-1", at=at(10, 31))
    studio.charge("job-1", 5, at="2026-11-01T00:59:59.999999+01:00")
    periods = ("ChargePeriodStart", "ChargePeriodEnd", "BillingPeriodStart", "BillingPeriodEnd")
    assert picked(last(studio), *periods) == [at(10, 31, 23), at(11, 1), at(10, 1), at(11, 1)]
    assert [len(rows(studio, span=span)) for span in (OCTOBER, NOVEMBER)] == [2, 0]


def test_reserves_and_releases_are_no_charges(studio: Ledger) -> None:
    reserve(studio, "job-1")
    studio.release("job-1", reason="never started")
    assert [row["x_LedgerKind"] for row in rows(studio)] == ["top_up"]


def test_an_element_is_one_request(studio: Ledger) -> None:
    asked = CustomElement(reference_type="video_refer")
    studio.reserve("studio", PriceBook.bundled().quote(asked, at=studio.now()), key="element-1")
    studio.charge("element-1")
    row = last(studio)
    quantities = ("PricingQuantity", "PricingUnit", "ConsumedQuantity", "ConsumedUnit")
    assert picked(row, *quantities) == [1, "Requests", 1, "Requests"]
    assert picked(row, "EffectiveCost", "PricingCurrencyListUnitPrice", "SkuId", "SkuMeter") == [
        Decimal("0.0147"),
        1,
        "kling-custom-element",
        "Requests",
    ]


@pytest.mark.parametrize(
    ("reserved", "credits", "quantity", "unit", "price"),
    [
        ("by a quote", "24.4944", 3, "Seconds", "8.1648"),  # 3 s × 8.1648
        ("by a quote", "24.5", "24.5", "Credits", 1),  # no number of seconds
        ("for an amount", 33, 33, "Credits", 1),
    ],
)
def test_an_amount_that_was_told_has_the_seconds_it_follows_from_or_none(
    studio: Ledger, reserved: str, credits: Any, quantity: Any, unit: str, price: Any
) -> None:
    if reserved == "by a quote":
        reserve(studio, "job-1")
    else:
        studio.reserve("studio", 40, key="job-1")
    studio.charge("job-1", credits)
    row = last(studio)
    names = ("PricingQuantity", "PricingUnit", "PricingCurrencyListUnitPrice", "x_CostSource")
    assert picked(row, *names) == [Decimal(quantity), unit, Decimal(price), "told"]
    assert picked(row, "ConsumedQuantity", "ConsumedUnit") == [Decimal(quantity), unit]
    assert row["PricingCurrencyEffectiveCost"] == Decimal(credits)


def test_what_the_provider_told_says_so_and_is_named_by_its_task(studio: Ledger) -> None:
    reserve(studio, "job-1")
    studio.link("job-1", "task-unified-1")
    body = '{"id": "task-unified-1", "status": "completed", "usage": {"credits_used": 40.824}}'
    studio.apply(body)
    # 5 s × 8.1648 = 40.824
    names = ("ResourceId", "ResourceName", "ResourceType", "x_CostSource", "PricingQuantity")
    assert picked(last(studio), *names) == ["task-unified-1", "job-1", "Task", "provider", 5]

    studio.link("job-1", "task-unified-2")
    assert picked(last(studio), *names[:3]) == ["job-1", "job-1", "Job"]


def test_whoever_has_no_prices_writes_the_same_costs_for_credits(
    tmp_path: Path, clock: Clock
) -> None:
    url = f"sqlite:///{tmp_path / 'credits.db'}"
    with Ledger(url, clock=clock) as priced:
        priced.top_up("studio", 1000, key="invoice-881", cash="14.70", currency="USD")
        reserve(priced, "job-1")
        priced.charge("job-1", seconds="9.2")
        by_price = last(priced)
    with Book(url, clock=clock) as plain:
        by_credits = last(plain)
    quantities = ("PricingQuantity", "PricingUnit", "PricingCurrencyListUnitPrice")
    assert picked(by_credits, *quantities) == [Decimal("81.648"), "Credits", 1]
    same = ("SkuId", "EffectiveCost", "PricingCurrencyEffectiveCost", "x_PriceVersion")
    assert picked(by_credits, *same) == picked(by_price, *same)
    assert by_credits["ChargeDescription"] == f"{MODEL}, 720p, video"


def test_a_refund_in_an_open_period_is_usage_below_zero(studio: Ledger) -> None:
    reserve(studio, "job-1")
    studio.charge("job-1", seconds="9.2")
    studio.refund("job-1", "40.824", reason="half of it")
    row = last(studio)
    # Half of 81.648 credits, 10 s and 9.2 s; 40.824 × 0.0147 = 0.600 112 8
    assert picked(row, "ChargeCategory", "ChargeClass", "x_Corrects") == ["Usage", None, None]
    assert picked(row, *COSTS) == [0, *[Decimal("-0.6001128")] * 3]
    assert picked(row, "PricingQuantity", "ConsumedQuantity") == [-5, Decimal("-4.6")]
    assert picked(row, "ListUnitPrice", "PricingCurrencyListUnitPrice") == [
        Decimal("0.12002256"),
        Decimal("8.1648"),
    ]
    assert picked(row, *CREDITS) == ["EVOLINK_CREDIT", Decimal("-40.824"), Decimal("40.824")]
    assert row["ChargeDescription"].endswith(": half of it")


def test_a_refund_of_a_closed_month_is_a_correction_in_the_open_one(
    studio: Ledger, clock: Clock
) -> None:
    reserve(studio, "job-1")
    studio.charge("job-1", seconds="9.2")
    clock.now = at(11, 2, 9)
    studio.close_period("2026-10", unreconciled="no bill yet")
    studio.refund("job-1")
    row = last(studio)
    assert picked(row, "ChargeCategory", "ChargeClass", "x_Corrects") == [
        "Usage",
        "Correction",
        "2026-10",
    ]
    periods = ("ChargePeriodStart", "ChargePeriodEnd", "BillingPeriodStart")
    assert picked(row, *periods) == [at(10, 5, 10), at(10, 5, 11), at(11, 1)]
    assert picked(row, "EffectiveCost", "PricingQuantity") == [Decimal("-1.2002256"), -10]


def test_a_refund_of_an_earlier_month_that_is_open_is_none(studio: Ledger, clock: Clock) -> None:
    reserve(studio, "job-1")
    studio.charge("job-1", seconds="9.2")
    clock.now = at(11, 2, 9)
    studio.refund("job-1")
    row = last(studio)
    assert picked(row, "ChargeClass", "ChargePeriodStart") == [None, at(11, 2, 9)]


def test_a_charge_told_after_its_month_was_closed_is_a_correction(
    studio: Ledger, clock: Clock
) -> None:
    studio.reserve("studio", 20, key="job-1")
    clock.now = at(11, 2, 9)
    studio.close_period("2026-10", unreconciled="no bill yet")
    studio.charge("job-1", 20, at=at(10, 30, 12, 30))
    names = ("ChargeClass", "x_Corrects", "ChargePeriodStart", "BillingPeriodStart")
    assert picked(last(studio), *names) == ["Correction", "2026-10", at(10, 30, 12), at(11, 1)]


def test_within_a_month_nothing_is_a_correction_whatever_is_closed(
    studio: Ledger, clock: Clock
) -> None:
    studio.reserve("studio", 20, key="job-1")
    clock.now = at(10, 12)
    studio.close_period("2026-10-01/2026-10-08", unreconciled="no bill yet")
    studio.charge("job-1", 20, at=at(10, 6))
    names = ("ChargeClass", "x_Corrects", "ChargePeriodStart", "BillingPeriodStart")
    assert picked(last(studio), *names) == [None, "2026-10-01/2026-10-08", at(10, 6), at(10, 1)]


def test_corrections_of_credits_are_adjustments(studio: Ledger) -> None:
    studio.adjust("studio", "-3", key="fix-1", reason="counted again")
    studio.adjust("studio", "2", key="fix-2", reason="sorry")
    down, up = rows(studio)[1:]
    # 3 × 0.0147; what comes in without money costs nothing.
    assert picked(down, "ChargeCategory", *COSTS) == ["Adjustment", 0, *[Decimal("0.0441")] * 3]
    assert picked(up, "ChargeCategory", *COSTS) == ["Adjustment", 0, 0, 0, 0]
    assert picked(down, *CREDITS) == ["EVOLINK_CREDIT", 3, -3]
    assert picked(up, *CREDITS) == ["EVOLINK_CREDIT", -2, 2]
    assert [row["ChargeDescription"] for row in (down, up)] == [
        "Correction of credits: counted again",
        "Correction of credits: sorry",
    ]
    empty = ("PricingQuantity", "ListUnitPrice", "SkuId", "SkuPriceId", "ResourceId", "InvoiceId")
    assert picked(down, *empty) == [None] * 6


def test_credits_that_lapse_are_an_adjustment_of_what_they_had_cost(
    studio: Ledger, clock: Clock
) -> None:
    studio.top_up(
        "studio", 100, key="short", cash=2, currency="USD", expires="2026-10-20T00:00:00.5Z"
    )
    studio.reserve("studio", 25, key="job-1")
    studio.charge("job-1", 25)
    clock.now = at(10, 21)
    studio.lapse("studio")
    bought, used, lapsed = rows(studio)[1:]
    assert bought["ChargePeriodEnd"] == at(10, 20) + timedelta(seconds=1)
    # 25 of 100 credits for 2 USD are used, 75 are lost.
    assert picked(used, "EffectiveCost", "x_Credits") == [Decimal("0.5"), -25]
    assert picked(lapsed, "ChargeCategory", *COSTS) == ["Adjustment", 0, *[Decimal("1.5")] * 3]
    assert picked(lapsed, "PricingCurrencyEffectiveCost", "ResourceId", "ResourceType") == [
        75,
        "main/studio/3",
        "Credit Lot",
    ]


def test_promotional_credits_are_bought_for_nothing_and_used_for_nothing(
    studio: Ledger, clock: Clock
) -> None:
    studio.top_up("studio", 10, key="gift", promotional=True, expires=at(12, 1))
    studio.reserve("studio", 15, key="job-1")
    studio.charge("job-1", 15)
    gift, used = rows(studio)[1:]
    assert picked(gift, "ChargeCategory", "InvoiceId", "ListUnitPrice", *COSTS) == [
        "Purchase",
        None,
        *[0] * 5,
    ]
    # 10 promotional credits are spent first, then 5 at 0.0147.
    assert picked(used, "EffectiveCost", "PricingQuantity") == [Decimal("0.0735"), 15]


def test_credits_of_an_unknown_price_are_told_from_those_that_were_given_away(
    studio: Ledger,
) -> None:
    studio.top_up("studio", 10, key="gift", promotional=True)
    studio.top_up("studio", 10, key="moved")
    assert [row["ChargeDescription"] for row in rows(studio)] == [
        "Purchase of credits: invoice-881",
        "Credits that were given away: gift",
        "Credits of a price that is not known: moved",
    ]


def test_what_was_owed_costs_when_it_is_paid(studio: Ledger, clock: Clock) -> None:
    studio.reserve("studio", 1200, key="job-1", labels={"team": "ads"})
    studio.charge("job-1", 1200)
    clock.now = at(11, 3)
    studio.top_up("studio", 500, key="invoice-9", cash=10, currency="USD")
    used, bought, owed = rows(studio)[1:]
    # 1000 credits for 14.70 USD, and 200 that nobody had bought.
    assert picked(used, "EffectiveCost", "PricingQuantity", "x_Credits") == [
        Decimal("14.7"),
        1200,
        -1200,
    ]
    assert picked(bought, "BilledCost", "EffectiveCost", "x_Credits") == [10, 0, 500]
    # 200 of 500 credits for 10 USD
    names = ("x_LedgerKind", "ChargeCategory", *COSTS)
    assert picked(owed, *names) == ["debt", "Adjustment", 0, 4, 4, 4]
    assert picked(owed, *CREDITS) == ["EVOLINK_CREDIT", 0, 0]
    assert picked(owed, "ResourceId", "Tags", "BillingPeriodStart", "ChargePeriodStart") == [
        "job-1",
        '{"team":"ads"}',
        at(11, 1),
        at(11, 3),
    ]


def test_a_refund_that_pays_another_jobs_debt_moves_its_cost_there(studio: Ledger) -> None:
    for job, credits in (("paid", 1000), ("owing", 100)):
        studio.reserve("studio", credits, key=job)
        studio.charge(job, credits)
    studio.refund("paid", 300)
    refund, *more = rows(studio)[3:]
    # 300 × 0.0147 come back; 100 of them pay for the other job at once.
    assert picked(refund, "EffectiveCost", "x_Credits", "PricingQuantity") == [
        Decimal("-4.41"),
        300,
        -300,
    ]
    assert [picked(row, "x_LedgerKind", "EffectiveCost", "ResourceId") for row in more] == [
        ["debt", Decimal("1.47"), "owing"]
    ]


def test_a_job_paid_in_two_currencies_is_a_row_in_each(studio: Ledger, clock: Clock) -> None:
    studio.open_wallet("annex")
    studio.top_up("annex", "81.648", key="euros", cash=3, currency="EUR")
    studio.top_up("annex", 100, key="dollars", cash=2, currency="USD")
    asked = MotionControl(character_orientation="video", reference_seconds="12.4")
    quote = PriceBook.bundled().quote(asked, at=studio.now())
    studio.reserve("annex", quote, key="job-1")
    studio.charge("job-1", seconds="12.1")
    euros, dollars = rows(studio)[2:4]
    # 13 s are 106.1424 credits: 81.648 for 3 EUR (10 s), and 24.4944 of 100 for 2 USD (3 s).
    names = ("BillingCurrency", "EffectiveCost", "PricingQuantity", "ConsumedQuantity", "x_Credits")
    assert picked(euros, *names) == ["EUR", 3, 10, Decimal("9.30769231"), Decimal("-81.648")]
    assert picked(dollars, *names) == [
        "USD",
        Decimal("0.489888"),
        3,
        Decimal("2.79230769"),
        Decimal("-24.4944"),
    ]


def test_quantities_of_several_currencies_add_up_to_the_whole(studio: Ledger) -> None:
    studio.open_wallet("annex")
    for currency in ("CHF", "EUR", "USD"):
        studio.top_up("annex", "27.216", key=currency, cash=2, currency=currency)
    asked = MotionControl(character_orientation="video", reference_seconds="10")
    quote = PriceBook.bundled().quote(asked, at=studio.now())
    studio.reserve("annex", quote, key="job-1")
    studio.charge("job-1", seconds="10")
    parts = [row for row in rows(studio) if row["x_LedgerKind"] == "charge"]
    assert [row["PricingQuantity"] for row in parts] == [
        Decimal("3.33333334"),
        Decimal("3.33333333"),
        Decimal("3.33333333"),
    ]


def test_a_unit_price_is_rounded_half_up_to_16_decimals(studio: Ledger) -> None:
    studio.top_up("studio", 3, key="odd", cash=2, currency="USD")
    assert last(studio)["ListUnitPrice"] == Decimal("0.6666666666666667")


def test_a_charge_that_a_policy_cut_keeps_its_quantity_and_says_what_was_taken(
    studio: Ledger,
) -> None:
    studio.reserve("studio", 30, key="job-1", policy="cap")
    studio.charge("job-1", 50)
    names = ("PricingQuantity", "PricingCurrencyEffectiveCost", "EffectiveCost")
    assert picked(last(studio), *names) == [50, 30, Decimal("0.441")]


def test_the_currency_of_what_cost_nothing_is_the_first_that_was_paid(clock: Clock) -> None:
    with Ledger("sqlite://", clock=clock) as book:
        book.top_up("lab", 5, key="gift", promotional=True)
        book.reserve("lab", 2, key="job-1")
        book.charge("job-1", 2)
        found = [row["BillingCurrency"] for row in rows(book, currency="CHF")]
        assert found == ["CHF", "CHF"]
        book.top_up("studio", 5, key="paid", cash=1, currency="EUR")
        assert {row["BillingCurrency"] for row in rows(book, currency="CHF")} == {"EUR"}
        # What is bought later does not change what was known before.
        clock.forward(days=1)
        before_us = us(book.now())
        book.top_up("lab", 5, key="more", cash=1, currency="JPY")
        known = rows(book, as_of_us=before_us)
        assert [row["BillingCurrency"] for row in known] == ["EUR"] * 3
        assert [row["BillingCurrency"] for row in rows(book)] == [*["JPY"] * 3, "EUR"]
        with pytest.raises(InvalidEntry, match="currency: must be three capital letters"):
            rows(book, currency="credits")


def test_a_comparison_with_the_bill_shows_in_usage(
    studio: Ledger, clock: Clock, tmp_path: Path
) -> None:
    for job in ("job-1", "job-2"):
        reserve(studio, job)
        studio.charge(job, seconds="9.2")
    clock.now = at(11, 2)
    reserve(studio, "job-3")
    studio.charge("job-3", seconds="9.2")
    assert [row["x_Reconciled"] for row in rows(studio)] == [None, *["not yet"] * 3]
    bill = tmp_path / "october.csv"
    lines = (
        f"{job},{MODEL},{credits},720p,2026-10-05T10:20:00Z,completed"
        # The bill has 10 s of the one, and 9 s of the other.
        for job, credits in (("job-1", "81.648"), ("job-2", "73.4832"))
    )
    bill.write_text("\n".join([HEADER, *lines]) + "\n", "utf-8")
    reconcile_book(studio, bill, since="2026-10-01", until="2026-11-01")
    assert [row["x_Reconciled"] for row in rows(studio)] == [
        None,
        "reconciled",
        "open breaks",
        "not yet",
    ]
    # Before the comparison was made, nobody knew.
    assert rows(studio, as_of_us=us(at(11, 2)))[1]["x_Reconciled"] == "not yet"


def test_every_database_gives_the_same_rows(
    studio: Ledger, clock: Clock, database_url: str, book: str
) -> None:
    month(studio, clock)
    clock.now = at(10, 1)
    with Ledger(database_url, book=book, clock=clock) as other:
        other.open_wallet("studio", credit_limit=1000)
        other.top_up("studio", 1000, key="invoice-881", cash="14.70", currency="USD")
        clock.now = at(10, 5, 10, 20)
        month(other, clock)
        found = json.dumps(rows(other), default=str).replace(book, "main")
    assert found == json.dumps(rows(studio), default=str)


# The versions


def test_version_1_4_has_no_credits_in_columns_of_currencies(studio: Ledger) -> None:
    reserve(studio, "job-1")
    studio.charge("job-1", seconds="9.2")
    bought, used = rows(studio, "1.4")
    assert not [name for name in used if name.startswith("PricingCurrency")]
    assert {"ProviderName", "PublisherName"}.isdisjoint(used)
    names = ("ServiceProviderName", "HostProviderName", "InvoiceDetailId", "x_CreditUnitPrice")
    assert picked(bought, *names) == ["EvoLink", None, "main/studio/2", None]
    assert picked(used, *names) == ["EvoLink", None, None, Decimal("8.1648")]


@pytest.mark.parametrize("version", FOCUS_VERSIONS)
def test_columns_of_focus_stand_first_by_name_and_ours_behind_them(version: FocusVersion) -> None:
    names = [column.name for column in COST_AND_USAGE[version]]
    ours = [name for name in names if name.startswith("x_")]
    theirs = [name for name in names if not name.startswith("x_")]
    assert names == sorted(theirs) + sorted(ours)


def test_the_columns_that_the_examples_of_focus_fill_are_filled_by_the_same_rows(
    studio: Ledger,
) -> None:
    """Filled columns of virtual_currency_pricing_model_a1.csv and _a2.csv of FOCUS 1.2."""
    both = {
        *("BilledCost", "BillingAccountId", "BillingAccountName", "BillingCurrency"),
        *("BillingPeriodEnd", "BillingPeriodStart", "ChargeCategory", "ChargeDescription"),
        *("ChargeFrequency", "ChargePeriodEnd", "ChargePeriodStart", "ContractedCost"),
        *("ContractedUnitPrice", "EffectiveCost", "InvoiceIssuerName", "ListCost", "ListUnitPrice"),
        *("PricingCategory", "PricingCurrency", "PricingCurrencyContractedUnitPrice"),
        *("PricingCurrencyEffectiveCost", "PricingCurrencyListUnitPrice", "PricingQuantity"),
        *("PricingUnit", "ProviderName", "PublisherName", "ResourceId", "ResourceName"),
        *("ResourceType", "ServiceName", "SkuId", "SkuPriceId"),
    }
    reserve(studio, "job-1")
    studio.charge("job-1", seconds="9.2")
    bought, used = rows(studio)
    for row, theirs in ((bought, both), (used, both | {"ConsumedQuantity", "ConsumedUnit"})):
        assert theirs <= {name for name, value in row.items() if value is not None}
    # Purchase: billed, not effective; priced in money. Usage: the other way round, in credits.
    assert (bought["EffectiveCost"], used["BilledCost"]) == (0, 0)
    assert bought["PricingCurrency"] == bought["BillingCurrency"] != used["PricingCurrency"]
    assert used["PricingCurrencyEffectiveCost"] == used["PricingQuantity"] * Decimal("8.1648")


# Laws


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(moves=histories.histories())
def test_sums_are_those_of_the_book(moves: histories.Moves) -> None:
    clock = Clock()
    with Book("sqlite://", clock=clock) as book:
        histories.play(book, clock, moves)
        paid: Counter[str] = Counter()
        left: Counter[str] = Counter()
        for wallet in histories.PLAIN_WALLETS:
            costing = Costing()
            for entry in histories.entries(book, wallet):
                costing.of(entry)
            for lot in book.lots(wallet):
                paid[lot.currency or ""] += lot.cash_e8 or 0
            for part in costing.remaining:
                left[part.currency or ""] += part.cost_e8
        for version in FOCUS_VERSIONS:
            frame = pl.concat(focus_rows(book, version))
            assert check(frame, version) == ()
            sums = frame.group_by("BillingCurrency").agg(
                pl.col("BilledCost", "EffectiveCost").sum()
            )
            for currency, billed, effective in sums.iter_rows():
                assert billed * 10**8 == paid[currency]
                # What was paid for and is not there any more has been used.
                assert effective * 10**8 == paid[currency] - left[currency]
            posted = sum(balance.posted for balance in book.wallets())
            assert frame["x_Credits"].sum() == posted


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(moves=histories.histories(most=25))
def test_the_days_of_a_span_make_the_span_and_the_past_stays_as_it_was(
    moves: histories.Moves,
) -> None:
    clock = Clock()
    with Book("sqlite://", clock=clock) as book:
        histories.play(book, clock, moves)
        whole = pl.concat(focus_rows(book, "1.2"))
        before = book.now()
        days = [span_of(f"2026-{month:02}") for month in range(1, 13)]
        parts = [frame for day in days for frame in focus_rows(book, "1.2", span=day)]
        order = ["x_LedgerEntryId", "x_LedgerKind", "BillingCurrency", "ChargeDescription"]
        assert pl.concat(parts).sort(order).equals(whole.sort(order))

        clock.forward(days=2)
        book.top_up("studio", 7, key="more", cash=1, currency="USD")
        book.adjust("annex", -1, key="less", reason="counted again")
        then = pl.concat(focus_rows(book, "1.2", as_of_us=us(before) + 1))
        assert then.equals(whole)


# Files


def month(book: Ledger, clock: Clock) -> None:
    """October, closed, and the beginning of November: every kind of row."""
    book.open_wallet("annex", credit_limit=1000)
    book.top_up("studio", 5, key="gift", promotional=True, expires=at(10, 20))
    book.top_up("annex", 100, key="euros", cash=3, currency="EUR")
    book.top_up("annex", 100, key="dollars", cash=2, currency="USD", expires=at(10, 21))
    reserve(
        book, "job-1", labels={"team": "ads", "note": "=1+1, \"a\"; 'b' \\ שלום 😀", "l": "x" * 255}
    )
    book.charge("job-1", seconds="9.2")
    reserve(book, "job-2", quality="1080p")
    book.charge("job-2", seconds="5")
    book.refund("job-2", reason="failed")
    book.reserve("annex", 150, key="job-3")
    book.charge("job-3", 150)
    asked = CustomElement(reference_type="video_refer")
    book.reserve("studio", PriceBook.bundled().quote(asked, at=book.now()), key="element-1")
    book.charge("element-1")
    book.adjust("studio", "-3", key="fix-1", reason="counted again")
    book.adjust("studio", "2", key="fix-2", reason="sorry")
    book.reserve("annex", 500, key="deep")
    book.charge("deep", 300)
    book.top_up("studio", 10, key="short", cash="0.2", currency="USD", expires=at(10, 20))
    clock.now = at(10, 25)
    book.lapse("studio")
    clock.now = at(11, 2, 9)
    book.close_period("2026-10", unreconciled="no bill yet")
    book.refund("job-1", "40.824", key="half", reason="half of it")
    book.reserve("studio", 20, key="late")
    book.charge("late", 20, at=at(10, 30, 12))
    book.top_up("annex", 500, key="more-euros", cash=9, currency="EUR")


KINDS = {"top_up", "charge", "refund", "adjust", "lapse", "debt"}


def sums_in_duckdb(path: Path, columns: str) -> dict[str, tuple[Decimal, ...]]:
    """Sums by currency in DECIMAL(38,8), as another program reads them."""
    source = f"read_csv('{path}', all_varchar = true)" if path.suffix == ".csv" else f"'{path}'"
    exact = ", ".join(f"sum({name}::DECIMAL(38,8))" for name in columns.split())
    found = duckdb.sql(f"SELECT BillingCurrency, {exact} FROM {source} GROUP BY ALL")
    assert found is not None
    return {row[0]: tuple(row[1:]) for row in found.fetchall()}


@pytest.mark.parametrize("version", FOCUS_VERSIONS)
def test_duckdb_finds_the_sums_of_the_book_in_both_formats(
    studio: Ledger, clock: Clock, tmp_path: Path, version: FocusVersion
) -> None:
    month(studio, clock)
    costing = {wallet: Costing() for wallet in ("studio", "annex")}
    for wallet, mine in costing.items():
        for entry in histories.entries(studio, wallet):
            mine.of(entry)
    left: Counter[str] = Counter()
    for mine in costing.values():
        for part in mine.remaining:
            left[str(part.currency)] += part.cost_e8
    # 14.70, 2 and 0.20 in dollars, 3 and 9 in euros.
    expected = {
        currency: (paid, paid - Decimal(left[currency]).scaleb(-8))
        for currency, paid in (("USD", Decimal("16.9")), ("EUR", Decimal(12)))
    }
    for format in ("csv", "parquet"):
        folder = tmp_path / format
        done = write_focus(studio, folder, version=version, format=format)
        path = folder / f"focus-cost-and-usage_all_v{version}.{format}"
        assert sums_in_duckdb(path, "BilledCost EffectiveCost") == expected
        (credits,) = done.files[0].totals["x_Credits"].values()
        posted = sum(balance.posted for balance in studio.wallets())
        assert Decimal(credits) == posted
        for currency, (billed, effective) in expected.items():
            assert Decimal(done.files[0].totals["BilledCost"][currency]) == billed
            assert Decimal(done.files[0].totals["EffectiveCost"][currency]) == effective
        assert done.findings == ()


def test_csv_and_parquet_say_the_same_and_parquet_has_exact_decimals(
    studio: Ledger, clock: Clock, tmp_path: Path
) -> None:
    month(studio, clock)
    for format in ("csv", "parquet"):
        write_focus(studio, tmp_path / format, version="1.2", format=format)
    frame = pl.read_parquet(tmp_path / "parquet" / "focus-cost-and-usage_all_v1.2.parquet")
    assert set(frame["x_LedgerKind"]) == KINDS
    assert frame.schema["EffectiveCost"] == pl.Decimal(38, 8)
    assert frame.schema["ListUnitPrice"] == pl.Decimal(38, 16)
    text = (tmp_path / "csv" / "focus-cost-and-usage_all_v1.2.csv").read_text("utf-8")
    read = list(csv.DictReader(text.splitlines()))
    assert len(read) == frame.height
    for theirs, ours in zip(read, frame.iter_rows(named=True), strict=True):
        for name, value in ours.items():
            if isinstance(value, datetime):
                assert theirs[name] == f"{value:%Y-%m-%dT%H:%M:%SZ}"
            elif isinstance(value, Decimal):
                assert theirs[name] == f"{value:f}"
                assert "." in theirs[name]
            else:
                assert theirs[name] == (value or "")


def test_the_same_book_gives_the_same_bytes(studio: Ledger, clock: Clock, tmp_path: Path) -> None:
    month(studio, clock)
    for format in ("csv", "parquet"):
        made = []
        for turn in ("one", "two"):
            folder = tmp_path / f"{format}-{turn}"
            write_focus(studio, folder, version="1.4", format=format)
            made.append({path.name: path.read_bytes() for path in folder.iterdir()})
        assert made[0] == made[1]
        assert len(made[0]) == 7


def test_metadata_describe_the_columns_as_they_are_and_list_the_deviations(
    studio: Ledger, clock: Clock, tmp_path: Path
) -> None:
    month(studio, clock)
    write_focus(studio, tmp_path / "out", version="1.4", span=OCTOBER)
    for dataset, columns in (
        ("cost-and-usage", COST_AND_USAGE["1.4"]),
        ("invoice-detail", INVOICE_DETAIL),
        ("billing-period", BILLING_PERIOD),
    ):
        stem = f"focus-{dataset}_2026-10_v1.4"
        document = json.loads((tmp_path / "out" / f"{stem}_metadata.json").read_text("utf-8"))
        frame = pl.read_parquet(tmp_path / "out" / f"{stem}.parquet")
        schema = document["Schema"]
        assert schema["FocusVersion"] == "1.4"
        assert schema["CreationDate"] == "2026-10-25T00:00:00Z"
        assert frame.height == document["x_Rows"]
        for described, (name, dtype) in zip(
            schema["ColumnDefinition"], frame.schema.items(), strict=True
        ):
            assert described["ColumnName"] == name
            if isinstance(dtype, pl.Decimal):
                found = (described["NumericPrecision"], described["NumberScale"])
                assert found == (dtype.precision, dtype.scale)
        assert [column.name for column in columns] == frame.columns
        assert document["Recency"]["DatasetInstanceComplete"]
        assert document["x_Meanings"] == {column.name: column.meaning for column in columns}
        assert [item["id"] for item in document["x_Deviations"]] == [
            item.id for item in DEVIATIONS if "1.4" in item.versions
        ]
    document = json.loads(
        (tmp_path / "out" / "focus-cost-and-usage_2026-10_v1.4_metadata.json").read_text("utf-8")
    )
    assert document["x_SelfCheck"] == []
    assert document["x_Period"]["end"] == "2026-11-01T00:00:00Z"


def test_invoices_and_months_follow_from_the_book(
    studio: Ledger, clock: Clock, tmp_path: Path
) -> None:
    month(studio, clock)
    write_focus(studio, tmp_path / "out", version="1.4")
    invoices = pl.read_parquet(tmp_path / "out" / "focus-invoice-detail_all_v1.4.parquet")
    found = invoices.select("InvoiceId", "BilledCost", "BillingCurrency", "InvoiceDetailId").rows()
    assert found == [
        ("euros", Decimal(3), "EUR", "main/annex/2"),
        ("dollars", Decimal(2), "USD", "main/annex/3"),
        ("more-euros", Decimal(9), "EUR", "main/annex/9"),
        ("invoice-881", Decimal("14.7"), "USD", "main/studio/2"),
        ("short", Decimal("0.2"), "USD", "main/studio/13"),
    ]
    assert set(invoices["InvoiceDetailGrain"]) == {
        '{"SubAccountId":"annex"}',
        '{"SubAccountId":"studio"}',
    }
    months = pl.read_parquet(tmp_path / "out" / "focus-billing-period_all_v1.4.parquet")
    names = ("BillingPeriodStart", "BillingPeriodStatus", "BillingPeriodLastUpdated")
    assert months.select(names).rows() == [
        (at(10, 1), "Closed", at(11, 2, 9)),
        (at(11, 1), "Open", at(11, 2, 9)),
    ]


@pytest.mark.parametrize(
    ("zone", "status", "updated"),
    [
        # In Shanghai, October ends at 16:00 UTC: its last hours in UTC can still be charged.
        ("Asia/Shanghai", "Open", at(11, 3)),
        ("UTC", "Closed", at(11, 2)),
        # In New York it ends four hours into November.
        ("America/New_York", "Closed", at(11, 2)),
    ],
)
def test_a_month_is_closed_when_the_book_is_closed_to_its_end_in_utc(
    studio: Ledger, clock: Clock, tmp_path: Path, zone: str, status: str, updated: datetime
) -> None:
    clock.now = at(11, 2)
    studio.close_period("2026-10", timezone=zone, unreconciled="no bill yet")
    clock.now = at(11, 3)
    studio.reserve("studio", 2, key="job-1")
    studio.charge("job-1", 2, at=at(10, 31, 20))
    write_focus(studio, tmp_path / "out", version="1.4")
    months = pl.read_parquet(tmp_path / "out" / "focus-billing-period_all_v1.4.parquet")
    names = ("BillingPeriodStart", "BillingPeriodStatus", "BillingPeriodLastUpdated")
    assert months.select(names).row(0) == (at(10, 1), status, updated)


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_an_empty_period_has_columns_and_no_rows(
    studio: Ledger, tmp_path: Path, format: Any
) -> None:
    done = write_focus(
        studio, tmp_path / "out", version="1.4", format=format, span=span_of("2026-12")
    )
    assert [file.rows for file in done.files] == [0, None, 0, None, 0, None]
    path = tmp_path / "out" / f"focus-cost-and-usage_2026-12_v1.4.{format}"
    read = pl.read_csv if format == "csv" else pl.read_parquet
    frame = read(path)
    assert frame.columns == [column.name for column in COST_AND_USAGE["1.4"]]
    assert frame.height == 0


def test_metadata_are_dated_in_whole_seconds_also_of_an_empty_period(
    studio: Ledger, clock: Clock, tmp_path: Path
) -> None:
    """FOCUS, CreationDate: not null, and in the form of all dates and times."""
    clock.now = datetime(2026, 10, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    studio.adjust("studio", "2", key="fix-1", reason="sorry")
    for period in ("2026-10", "2026-12"):
        folder = tmp_path / period
        write_focus(studio, folder, version="1.2", span=span_of(period))
        (path,) = folder.glob("*_metadata.json")
        document = json.loads(path.read_text("utf-8"))
        assert document["Schema"]["CreationDate"] == "2026-10-31T23:59:59Z"
        assert document["Recency"]["DatasetInstanceLastUpdated"] == "2026-10-31T23:59:59Z"


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_nothing_is_left_where_it_cannot_be_finished(
    studio: Ledger, tmp_path: Path, format: Any
) -> None:
    def stop(rows: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_focus(studio, tmp_path / "out", version="1.2", format=format, progress=stop)
    assert list(tmp_path.iterdir()) == []
    write_focus(studio, tmp_path / "out", version="1.2", format=format)
    with pytest.raises(OutputError, match="is there already"):
        write_focus(studio, tmp_path / "out", version="1.2", format=format)
    write_focus(studio, tmp_path / "out", version="1.4", format=format, overwrite=True)
    assert max(path.name for path in (tmp_path / "out").iterdir()) == "manifest.json"


_FULL = """
import resource, signal, sys
from ledger import Ledger
from ledger.errors import OutputError
from ledger.exports.focus import write_focus
with Ledger("sqlite://") as book:
    book.top_up("studio", 5, key="gift", promotional=True)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    try:
        write_focus(book, sys.argv[1], version="1.2", format=sys.argv[2])
    except OutputError as error:
        print(error.problem)
"""


@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_no_space_is_told_and_leaves_nothing(tmp_path: Path, format: str) -> None:
    done = run(sys.executable, "-c", _FULL, tmp_path / "out", format)
    assert done.stdout == "it would be larger than a file may be here\n", done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_version_that_is_not_written_is_refused(studio: Ledger, tmp_path: Path) -> None:
    wrong: Any = "1.3"
    with pytest.raises(InvalidEntry, match=r"versions are 1\.2 and 1\.4"):
        write_focus(studio, tmp_path / "out", version=wrong)


# The self-check


MUTATIONS: list[tuple[str, pl.Expr]] = [
    ("BilledCost-null", pl.lit(None, pl.Decimal(38, 8)).alias("BilledCost")),
    ("ServiceName-empty", pl.lit("").alias("ServiceName")),
    ("categories", pl.lit("Gift").alias("ChargeCategory")),
    ("class", pl.lit("Wrong").alias("ChargeClass")),
    ("frequency", pl.lit("Usage-Based").alias("ChargeFrequency")),
    ("billed", pl.lit(1).cast(pl.Decimal(38, 8)).alias("BilledCost")),
    ("prepaid", pl.lit(1).cast(pl.Decimal(38, 8)).alias("EffectiveCost")),
    ("invoice", pl.lit("invoice-1").alias("InvoiceId")),
    ("tags", pl.lit("ads").alias("Tags")),
    ("SkuId-where-priced", pl.lit(None, pl.String).alias("SkuId")),
    ("ListUnitPrice-product", (pl.col("ListUnitPrice") * 2).cast(pl.Decimal(38, 16))),
    ("ContractedUnitPrice-sign", (pl.col("ContractedUnitPrice") * -1).cast(pl.Decimal(38, 16))),
    ("PricingUnit-pair", pl.lit(None, pl.String).alias("PricingUnit")),
    ("ConsumedUnit-pair", pl.lit("Seconds").alias("ConsumedUnit")),
    ("consumed", pl.lit(1).cast(pl.Decimal(38, 8)).alias("ConsumedQuantity")),
    ("charge-period", pl.col("ChargePeriodStart").alias("ChargePeriodEnd")),
    ("billing-period", pl.col("ChargePeriodEnd").alias("BillingPeriodEnd")),
    ("later", pl.col("BillingPeriodEnd").alias("ChargePeriodStart")),
    ("correction", pl.lit("Correction").alias("ChargeClass")),
    ("currency", pl.lit("credits").alias("BillingCurrency")),
    ("pricing-currency", pl.lit("EVOLINK_CREDIT").alias("PricingCurrency")),
    ("credits", pl.lit(1).cast(pl.Decimal(38, 8)).alias("PricingCurrencyEffectiveCost")),
]


@pytest.mark.parametrize(("rule", "mutation"), MUTATIONS, ids=[rule for rule, _ in MUTATIONS])
def test_the_self_check_finds(studio: Ledger, clock: Clock, rule: str, mutation: pl.Expr) -> None:
    month(studio, clock)
    frame = pl.concat(focus_rows(studio, "1.2"))
    assert check(frame, "1.2") == ()
    found = {finding.rule: finding for finding in check(frame.with_columns(mutation), "1.2")}
    assert rule in found
    assert found[rule].first in str(found[rule])
    assert 0 < found[rule].rows <= frame.height


def test_every_kind_of_rule_of_the_self_check_is_seen_to_fail() -> None:
    kinds = {rule.name.partition("-")[2] or rule.name for rule in rules_of("1.2")}
    seen = {rule.partition("-")[2] or rule for rule, _ in MUTATIONS}
    assert kinds == seen


def test_a_missing_column_is_found(studio: Ledger) -> None:
    (frame,) = focus_rows(studio, "1.2")
    (finding,) = check(frame.drop("Tags"), "1.2")
    assert finding.problem == "there is no column Tags"


def test_deviations_are_named_once_and_say_where_the_rule_stands() -> None:
    assert len({item.id for item in DEVIATIONS}) == len(DEVIATIONS)
    for item in DEVIATIONS:
        assert "2026-11-2" in item.source
        assert item.what.endswith(".")
        assert item.why.endswith(".")
    page = (Path(__file__).parent.parent / "docs" / "exports.md").read_text("utf-8")
    listed = [
        f"| `{item.id}` | {', '.join(item.versions)} | {item.what} {item.why} |"
        for item in DEVIATIONS
    ]
    assert [line for line in page.splitlines() if line in listed] == listed


# Other people's validators


def run(*command: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


TOOLKIT = Path(sys.executable).with_name("focus-toolkit")


def test_focus_toolkit_takes_the_files_of_1_4(studio: Ledger, clock: Clock, tmp_path: Path) -> None:
    month(studio, clock)
    folder = tmp_path / "out"
    write_focus(studio, folder, version="1.4", format="csv")
    bundle: list[str | Path] = []
    for dataset in ("cost-and-usage", "invoice-detail", "billing-period"):
        path = folder / f"focus-{dataset}_all_v1.4.csv"
        done = run(TOOLKIT, "validate", path, "--dataset", dataset)
        assert done.returncode == 0, done.stdout
        bundle += [f"--{dataset}", path]
    done = run(TOOLKIT, "validate-bundle", *bundle, "--format", "json")
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout[done.stdout.index("{") :])
    assert found["counts"]["ERROR"] == found["counts"]["WARNING"] == 0
    assert {"cost_and_usage_invoice_detail_fk", "billing_period_coverage"} <= {*found["checks_run"]}


def test_focus_toolkit_finds_a_wrong_digit_and_a_lost_invoice(
    studio: Ledger, clock: Clock, tmp_path: Path
) -> None:
    month(studio, clock)
    folder = tmp_path / "out"
    write_focus(studio, folder, version="1.4", format="csv")
    path = folder / "focus-cost-and-usage_all_v1.4.csv"
    path.write_text(path.read_text("utf-8").replace("0.0147000000000000", "0.0148000000000000"))
    assert run(TOOLKIT, "validate", path, "--dataset", "cost-and-usage").returncode == 1
    invoices = folder / "focus-invoice-detail_all_v1.4.csv"
    lines = invoices.read_text("utf-8").splitlines(keepends=True)
    invoices.write_text("".join(lines[:-1]), "utf-8")
    bundle = ("--cost-and-usage", path, "--invoice-detail", invoices)
    assert run(TOOLKIT, "validate-bundle", *bundle).returncode == 1


VALIDATOR = Path(__file__).parent.parent / ".focus-validator"
CRITERIA = (
    "ACCOUNT_NAMING_SUPPORTED",
    "BILLING_BASED_ON_PROVISIONED_RESOURCES_SUPPORTED",
    "NEGOTIATED_PRICING_SUPPORTED",
    "PRICING_BILLING_CURRENCY_DIFFERENCES_SUPPORTED",
    "PUBLIC_PRICE_LIST_SUPPORTED",
    "RESOURCE_TYPE_ASSIGNMENT_SUPPORTED",
    "SUB_ACCOUNT_SUPPORTED",
    "TAGGING_SUPPORTED",
    "UNIT_PRICING_SUPPORTED",
    "USAGE_MEASUREMENT_SUPPORTED",
    "VIRTUAL_CURRENCY_SUPPORTED",
)

FALSE_ALARMS = {
    "ConsumedQuantity-C-006-C": "asks for a quantity in every row, also where it must be null",
    "ConsumedQuantity-C-004-C": "depends on the one above",
    "ConsumedQuantity-C-005-C": "is made of the one above",
    "ConsumedQuantity-C-003-C": "is made of the one above",
    "ConsumedQuantity-C-000-C": "is made of the one above",
    "InvoiceId-C-004-C": "asks for null in every row, because it cannot see what was invoiced",
    "InvoiceId-C-005-C": "asks for a value in every row, for the same reason",
    "InvoiceId-C-003-C": "is made of the two above",
    "InvoiceId-C-000-O": "is made of the two above",
    "PricingCurrency-C-003-M": "asks for ISO 4217, although a virtual currency is allowed",
    "PricingCurrency-C-000-C": "is made of the one above",
}
"""What focus-validator 2.2.1 (rules 1.2.0.1) finds in a correct file; reviewed 2026-11-23."""


def alarms(path: Path, report: Path) -> set[str]:
    """The rules that focus-validator finds broken; it ends with 0 whatever it finds."""
    (packages,) = VALIDATOR.glob("lib/python3.*/site-packages")
    done = run(
        VALIDATOR / "bin" / "focus-validator",
        "--block-download",
        "--data-file",
        path,
        "--validate-version",
        "1.2.0.1",
        "--applicability-criteria",
        ",".join(CRITERIA),
        "--output-type",
        "unittest",
        "--output-destination",
        report,
        # It looks for its list of currencies in the working directory.
        cwd=packages,
    )
    assert report.exists(), done.stderr
    return {
        str(case.get("name")).partition(" ")[0]
        for case in ET.parse(report).getroot().iter("testcase")
        if case.find("failure") is not None or case.find("error") is not None
    }


@pytest.mark.skipif(
    not (VALIDATOR / "made").exists(),
    reason="focus-validator is not installed; .ci/focus-validator installs it (Python 3.12)",
)
@pytest.mark.parametrize("format", ["csv", "parquet"])
def test_focus_validator_finds_nothing_in_1_2_but_its_known_false_alarms(
    studio: Ledger, clock: Clock, tmp_path: Path, format: Any
) -> None:
    month(studio, clock)
    write_focus(studio, tmp_path / "out", version="1.2", format=format)
    path = tmp_path / "out" / f"focus-cost-and-usage_all_v1.2.{format}"
    assert alarms(path, tmp_path / "report.xml") == set(FALSE_ALARMS)


# The command


def command(*arguments: str) -> Any:
    app = typer.Typer()
    app.command(epilog=EXAMPLES)(focus_command)
    return CliRunner().invoke(app, arguments)


def test_the_command_writes_a_month(tmp_path: Path, clock: Clock) -> None:
    db = tmp_path / "credits.db"
    with Ledger(f"sqlite:///{db}", clock=clock) as book:
        book.top_up("studio", 100, key="invoice-1", cash=2, currency="USD")
    done = command(
        *("--db", str(db), "--focus-version", "1.4", "--format", "csv", "--period", "2026-10"),
        *("--output", str(tmp_path / "out")),
    )
    assert done.exit_code == 0, done.output
    assert re.search(r"focus-cost-and-usage_2026-10_v1\.4\.csv\W+1\W", done.stdout)
    listed, findings = check_manifest(tmp_path / "out")
    assert findings == []
    assert [item.rows for item in listed] == [1, None, 1, None, 1, None]

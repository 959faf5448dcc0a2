"""The bill in money: lines at another rate, and what was paid for credits."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from planted_month import DAY_US, NOW_US, SINCE_US, UNTIL_US, frames, pair_of

from ledger import PriceBook
from ledger.reconcile import INVOICES, TOP_UPS, Break, Reconciliation, reconcile
from ledger.records import us
from ledger.units import parse_moment

PRICES = PriceBook.bundled()
CREDIT = 100_000_000
CENT = 1_000_000
APRIL = us(parse_moment("2026-04-21"))
"""68 credits a dollar from here on, 72 before."""

Row = dict[str, Any]


def compared(lines: Sequence[Row], **more: Any) -> Reconciliation:
    """The lines against a book in which every one of them has its job."""
    jobs = [pair_of(row["line"]).job | {"charged_e8": row["amount_e8"]} for row in lines]
    book, statement = frames(jobs, lines)
    period = {"since_us": SINCE_US, "until_us": UNTIL_US, "now_us": NOW_US}
    return reconcile(book, statement, prices=PRICES, **{**period, **more})


def line(number: int, credits: int, money_e8: int | None, **changes: Any) -> Row:
    row = pair_of(number).line
    row |= {"line": number, "amount_e8": credits * CREDIT, "money_e8": money_e8}
    return row | changes


# --- lines ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("credits", "money_e8", "is_right"),
    [
        (68, CREDIT, True),  # a dollar
        (34, CREDIT // 2, True),
        (68, CREDIT + CENT - 1, False),  # written to 10^-8, so it means that
        (68, CREDIT + CENT, False),  # a cent too much
        (40, 58_823_529, True),  # 0.588235294… to eight places, rounded down
        (40, 58_823_530, True),  # or up
        (40, 58_823_531, False),
        (40, 59 * CENT, True),  # rounded to a cent, up
        (40, 58 * CENT, True),  # or down
        (40, 60 * CENT, False),
        (72, CREDIT, False),  # the rate of before April
        (40, None, True),  # no money, no question
    ],
)
def test_money_is_right_where_it_is_the_credits_at_the_rate_rounded_in_any_way(
    credits: int, money_e8: int | None, is_right: bool
) -> None:
    found = compared([line(1, credits, money_e8)]).breaks
    assert [item.kind for item in found] == ([] if is_right else ["exchange_rate"])


def test_lines_at_one_other_rate_are_one_break_that_names_both_rates() -> None:
    """144 credits are 2 dollars at 72, and 2.11764706 at 68, which is 0.11764706 less."""
    rows = [line(1, 72, CREDIT), line(2, 72, CREDIT), line(3, 68, CREDIT)]
    (item,) = compared(rows).breaks
    assert (item.kind, item.lines) == ("exchange_rate", (1, 2))
    assert item.cause == "72 instead of 68 credits per USD"
    assert (item.difference_e8, item.difference_money) == (0, Decimal("-0.11764706"))
    assert item.evidence["rate_in_force"]["credits_per_unit"] == "68"
    assert item.evidence["rate_taken"]["effective_from"] == "2025-08-31T00:00:00Z"
    assert (item.evidence["lines_counted"], item.evidence["money_there"]) == (2, "2")


def test_money_at_no_known_rate_has_no_cause() -> None:
    (item,) = compared([line(1, 68, 3 * CREDIT)]).breaks
    assert (item.kind, item.cause, item.evidence["rate_taken"]) == ("exchange_rate", None, None)


def test_the_rate_is_that_of_the_lines_day() -> None:
    rows = [line(1, 72, CREDIT, at_us=APRIL - 1), line(2, 68, CREDIT, at_us=APRIL)]
    period = {"since_us": APRIL - DAY_US, "until_us": APRIL + DAY_US}
    found = [item for item in compared(rows, **period).breaks if item.kind == "exchange_rate"]
    assert found == []


@pytest.mark.parametrize(
    "change",
    [
        {"currency": "EUR"},  # no rate is known
        {"currency": None},
        {"status": "topup"},
        {"refunded_e8": CREDIT},  # of which the money may be less
        {"at_us": UNTIL_US},
    ],
)
def test_money_that_cannot_be_judged_is_left_alone(change: Row) -> None:
    found = compared([line(1, 68, 3 * CREDIT, **change)]).breaks
    assert [item for item in found if item.kind == "exchange_rate"] == []


def test_money_given_back_is_below_zero() -> None:
    found = compared([line(1, -68, -CREDIT)]).breaks
    assert [item for item in found if item.kind == "exchange_rate"] == []


def test_a_wrong_rate_in_two_months_is_two_breaks() -> None:
    (one,) = compared([line(1, 72, CREDIT)]).breaks
    (other,) = compared([line(1, 72, CREDIT)], until_us=UNTIL_US - 1).breaks
    assert one.id != other.id


# --- purchases -----------------------------------------------------------------------------------


def bought(top_ups: Sequence[Row], invoices: Sequence[Row]) -> list[Break]:
    result = compared(
        [],
        book_cash=pl.DataFrame(list(top_ups), schema=dict(TOP_UPS)),
        cash=pl.DataFrame(list(invoices), schema=dict(INVOICES)),
    )
    assert result.totals.breaks_e8 == 0  # credits that were bought are not usage
    return result.breaks


def top_up(key: str, credits: int = 680, cash: int | None = 10, **changes: Any) -> Row:
    row = {"wallet": "studio", "key": key, "credits_e8": credits * CREDIT, "currency": "USD"}
    row |= {"cash_e8": None if cash is None else cash * CREDIT, "at_us": SINCE_US}
    return row | changes


def invoice(number: str, credits: int = 680, money: int | None = 10, **changes: Any) -> Row:
    row = {"invoice": number, "credits_e8": credits * CREDIT, "currency": "USD"}
    row |= {"money_e8": None if money is None else money * CREDIT, "at_us": SINCE_US}
    return row | changes


@pytest.mark.parametrize(
    ("top_ups", "invoices", "found"),
    [
        ([top_up("a")], [invoice("a")], []),
        ([top_up("a")], [invoice("other")], []),  # the only one with these credits
        ([top_up("a", cash=None)], [invoice("a")], []),  # nobody said what was paid
        ([top_up("a")], [], ["missing_there"]),
        ([], [invoice("a")], ["missing_here"]),
        ([top_up("a")], [invoice("a", credits=681)], ["amount"]),
        ([top_up("a")], [invoice("a", money=11)], ["exchange_rate"]),
        ([top_up("a")], [invoice("b", at_us=SINCE_US + 5 * DAY_US)], []),
        (
            [top_up("a")],
            [invoice("b", at_us=SINCE_US + 5 * DAY_US + 1)],
            ["missing_here", "missing_there"],
        ),
        # Two alike: neither is guessed.
        (
            [top_up("a"), top_up("b")],
            [invoice("c")],
            ["missing_here", "missing_there", "missing_there"],
        ),
        (
            [top_up("a")],
            [invoice("b"), invoice("c")],
            ["missing_here", "missing_here", "missing_there"],
        ),
        ([top_up("a"), top_up("b")], [invoice("b"), invoice("c")], []),
        # One invoice on the list twice.
        ([top_up("a")], [invoice("a"), invoice("a")], ["missing_here"]),
        ([top_up("a", at_us=SINCE_US - 1)], [invoice("a", at_us=UNTIL_US)], []),
    ],
)
def test_a_top_up_is_held_against_its_invoice(
    top_ups: list[Row], invoices: list[Row], found: list[str]
) -> None:
    breaks = bought(top_ups, invoices)
    assert sorted(item.kind for item in breaks) == found
    assert all(item.scope == "cash" for item in breaks)


@pytest.mark.parametrize(
    ("cash", "money", "currency", "cause"),
    [
        # 1,224 credits: 18 dollars at 68, 17 at 72.
        (18, 17, "USD", "72 instead of 68 credits per USD"),
        (17, 18, "USD", "68 instead of 72 credits per USD"),
        (18, 20, "USD", None),
        (18, 18, "EUR", None),
    ],
)
def test_other_money_for_the_same_credits_names_both_rates(
    cash: int, money: int, currency: str, cause: str | None
) -> None:
    (item,) = bought([top_up("a", 1_224, cash)], [invoice("a", 1_224, money, currency=currency)])
    assert (item.kind, item.cause, item.difference_e8) == ("exchange_rate", cause, 0)
    assert item.evidence["rate_here"]["credits_per_unit"] == {18: "68", 17: "72"}[cash]
    if currency == "USD":
        assert (item.difference_money, item.currency) == (Decimal(money - cash), "USD")
        told = {17: "72", 18: "68", 20: "61.2"}[money]  # 1,224 ÷ 20
        assert item.evidence["rate_there"]["credits_per_unit"] == told


def test_a_purchase_keeps_both_its_names() -> None:
    (item,) = bought([top_up("a", at_us=SINCE_US)], [invoice("b", money=12)])
    assert (item.wallet, item.job, item.task) == ("studio", "a", "b")
    assert item.evidence["money_here"] == "10 USD"
    assert item.evidence["money_there"] == "12 USD"

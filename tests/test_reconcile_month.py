"""A month with planted differences: each is found, with its cause, and nothing else is."""

from __future__ import annotations

from collections import Counter
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_month import (
    DAY_US,
    NOW_US,
    SINCE_US,
    UNTIL_US,
    Month,
    Planted,
    frames,
    month,
    pair_of,
)

from ledger import PriceBook
from ledger.breaks import BREAK_KINDS
from ledger.reconcile import Break, Reconciliation, Tolerance, reconcile

PRICES = PriceBook.bundled()


def compared(made: Month, **more: object) -> Reconciliation:
    return reconcile(
        made.book,
        made.statement,
        cash=made.cash,
        book_cash=made.book_cash,
        since_us=SINCE_US,
        until_us=UNTIL_US,
        now_us=NOW_US,
        prices=PRICES,
        **more,  # type: ignore[arg-type]
    )


def told(breaks: list[Break]) -> Counter[Planted]:
    """What was found, as it is planted."""
    return Counter(
        Planted(item.kind, item.job or item.task, item.difference_e8, item.cause) for item in breaks
    )


def accounts_for_everything(result: Reconciliation, made: Month) -> None:
    """Every credit of the difference and every line belongs to something."""
    totals = result.totals
    both = [*result.breaks, *result.tolerated]
    usage = [item for item in both if item.scope == "usage"]
    assert totals.difference_e8 == sum(item.difference_e8 for item in usage)
    assert totals.difference_e8 == totals.breaks_e8 + totals.tolerated_e8
    assert totals.lines == made.statement.height
    assert totals.lines == totals.lines_of_period + totals.lines_outside + totals.lines_of_top_ups
    missing = {
        line for item in usage if item.kind == "missing_here" for line in item.lines
    }  # fmt: skip
    assert totals.lines_of_period == (
        totals.lines_matched + totals.lines_without_amount + len(missing)
    )
    ids = [item.id for item in both]
    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("jobs", "seed", "each"), [(2_000, 1, 3), (2_000, 2, 1), (5_000, 3, 25), (2_000, 4, 7)]
)
def test_what_is_planted_is_found_with_its_cause_and_nothing_else(
    jobs: int, seed: int, each: int
) -> None:
    made = month(jobs, seed=seed, each=each)
    result = compared(made)
    assert told(result.breaks) == Counter(made.planted)
    accounts_for_everything(result, made)


def test_every_kind_of_break_is_planted() -> None:
    assert {item.kind for item in month().planted} == set(BREAK_KINDS)


def test_a_month_of_a_hundred_thousand_jobs() -> None:
    made = month(100_000, seed=5, each=100)
    result = compared(made)
    assert told(result.breaks) == Counter(made.planted)
    accounts_for_everything(result, made)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_month_in_which_nothing_is_wrong_has_no_breaks(seed: int) -> None:
    made = month(3_000, seed=seed, each=10, is_wrong=False)
    result = compared(made)
    assert (result.breaks, result.tolerated, result.causes) == ([], [], [])
    assert result.totals.difference_e8 == 0
    assert result.totals.purchases_agreeing == made.cash.height
    accounts_for_everything(result, made)


def test_how_much_each_cause_explains_adds_up() -> None:
    made = month(2_000, each=3)
    result = compared(made)
    causes = {item.cause: item for item in result.causes}
    # Three on their own, three with an unrefunded sum, three after a cut-off.
    assert causes["rounding to nearest"].breaks == 9
    assert causes["multiplier 1.333 instead of 1.334"].breaks == 6
    kinds = {"amount", "billed_seconds", "option", "price_version", "rounding", "unit_scale"}
    amounts = [
        item
        for item in made.planted
        if item.kind in kinds and item.about and not item.about.startswith("invoice")
    ]
    assert {item.of_breaks for item in result.causes} == {len(amounts)}
    explained = [item for item in amounts if item.cause is not None]
    assert sum(item.breaks for item in result.causes) == len(explained)
    assert sum(item.amount_e8 for item in result.causes) == sum(
        abs(item.difference_e8) for item in explained
    )


# --- laws ----------------------------------------------------------------------------------------

MONTH = month(600, seed=9, each=2)
FIRST = compared(MONTH)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 2**32))
def test_the_order_of_the_rows_changes_nothing(one: int, other: int) -> None:
    result = compared(
        MONTH._replace(
            book=MONTH.book.sample(fraction=1, shuffle=True, seed=one),
            statement=MONTH.statement.sample(fraction=1, shuffle=True, seed=other),
            cash=MONTH.cash.sample(fraction=1, shuffle=True, seed=one),
            book_cash=MONTH.book_cash.sample(fraction=1, shuffle=True, seed=other),
        )
    )
    assert result.breaks == FIRST.breaks
    assert result.totals == FIRST.totals
    assert result.causes == FIRST.causes
    assert result.matches.equals(FIRST.matches)


def test_a_break_has_the_same_name_when_the_bill_is_exported_again() -> None:
    """With other numbers of lines, other lines that agree, and a day later."""
    again = MONTH.statement.with_columns(pl.col("line") + 1_000)
    result = reconcile(
        MONTH.book,
        again,
        since_us=SINCE_US,
        until_us=UNTIL_US,
        now_us=NOW_US + DAY_US,
        prices=PRICES,
    )
    usage = [item.id for item in FIRST.breaks if item.scope == "usage"]
    assert [item.id for item in result.breaks] == usage


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_any_mixture_is_accounted_for_to_the_last_digit(data: st.DataObject) -> None:
    """Random lines for a few jobs: names, amounts and times that fit, or do not."""
    credit = 100_000_000
    amounts = st.sampled_from([0, credit, 2 * credit, 5 * credit, 816_480_000, 8_164_800_000])
    times = st.sampled_from([SINCE_US - 1, SINCE_US, SINCE_US + 60_000_000, UNTIL_US - 1, UNTIL_US])
    jobs, lines = [], []
    for number in range(data.draw(st.integers(0, 4))):
        job = pair_of(number).job
        job |= {
            "state": data.draw(st.sampled_from(["open", "unknown", "charged", "released"])),
            "charged_e8": data.draw(amounts),
            "refunded_e8": data.draw(amounts),
            "charged_before_e8": data.draw(amounts),
            "refunded_after_e8": data.draw(amounts),
            "at_us": data.draw(times),
            "task_status": data.draw(st.sampled_from([None, "completed", "failed"])),
        }
        if data.draw(st.booleans()):
            job["task"] = None
        jobs.append(job)
    for number in range(data.draw(st.integers(0, 6))):
        line = pair_of(data.draw(st.integers(0, 5))).line
        line |= {
            "line": number,
            "task": data.draw(st.sampled_from([None, "", line["task"], "unknown"])),
            "key": data.draw(st.sampled_from([None, "", "job-0000001", "unknown"])),
            "amount_e8": data.draw(st.one_of(amounts, amounts.map(lambda amount: -amount))),
            "refunded_e8": data.draw(st.one_of(st.none(), amounts)),
            "at_us": data.draw(st.one_of(st.none(), times)),
            "status": data.draw(
                st.sampled_from([None, "completed", "failed", "refund", "topup", "running"])
            ),
        }
        lines.append(line)
    nothing = month(0, each=0, is_wrong=False)
    book, statement = frames(jobs, lines)
    made = nothing._replace(book=book, statement=statement)
    result = compared(made)
    accounts_for_everything(result, made)
    assert {item.kind for item in result.breaks} <= set(BREAK_KINDS)


# --- tolerance -----------------------------------------------------------------------------------


def test_what_is_let_through_is_listed_and_counted_with_the_breaks() -> None:
    result = compared(MONTH, tolerance=Tolerance(absolute_e8=20_000_000))
    assert result.tolerated
    assert {item.id for item in (*result.breaks, *result.tolerated)} == {
        item.id for item in FIRST.breaks
    }
    # The odd 0.12345677 credits, the old multipliers, and the refund that is 100 too small.
    assert {item.kind for item in result.tolerated} == {"amount", "price_version", "refund_amount"}
    accounts_for_everything(result, MONTH)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**11),
    st.integers(0, 10**12),
    st.sampled_from([None, Decimal("0.01"), Decimal("0.2")]),
)
def test_what_is_let_through_is_never_more_than_the_cap(
    absolute_e8: int, cap_e8: int, relative: Decimal | None
) -> None:
    tolerance = Tolerance(absolute_e8=absolute_e8, relative=relative, cap_e8=cap_e8)
    result = compared(MONTH, tolerance=tolerance)
    assert sum(abs(item.difference_e8) for item in result.tolerated) <= cap_e8
    assert all(abs(item.difference_e8) <= absolute_e8 for item in result.tolerated)
    accounts_for_everything(result, MONTH)

"""A job held against its lines: what kind of break it is, its sides, and what is proposed."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from planted_month import DAY_US, MINUTE_US, NOW_US, SINCE_US, UNTIL_US, frames, pair_of

from ledger import PriceBook
from ledger.errors import InvalidInput
from ledger.reconcile import Break, Reconciliation, Tolerance, reconcile
from ledger.units import show_credits

PRICES = PriceBook.bundled()
CREDIT = 100_000_000
TEN_SECONDS = 8_164_800_000  # 10 s × 8.1648, what a clip of 9.2 s costs

Row = dict[str, Any]


def compared(jobs: Sequence[Row], lines: Sequence[Row], **more: Any) -> Reconciliation:
    book, statement = frames(jobs, lines)
    period = {"since_us": SINCE_US, "until_us": UNTIL_US, "now_us": NOW_US}
    return reconcile(book, statement, prices=PRICES, **{**period, **more})


def job(**changes: Any) -> Row:
    """A clip of 9.2 s, charged 81.648 credits, held with 244.944."""
    return pair_of().job | {"hold_e8": 24_494_400_000} | changes


def line(**changes: Any) -> Row:
    """Its line on the bill."""
    return pair_of().line | {"money_e8": None, "currency": None} | changes


def breaks(job_: Row, *lines: Row, **more: Any) -> list[Break]:
    return compared([job_], lines, **more).breaks


OPEN = {"state": "open", "charged_e8": 0, "task_status": None, "task_net_e8": None}
RELEASED = OPEN | {"state": "released"}
UNKNOWN = OPEN | {"state": "unknown"}
SILENT = {"task_status": None, "task_net_e8": None}
REFUND = line(amount_e8=-TEN_SECONDS, status="refund")

# --- kinds ---------------------------------------------------------------------------------------

Side = str | None

KINDS: list[tuple[str, Row, list[Row], list[tuple[str, Side, Side, str | None, Side]]]] = [
    # (what, the job, the lines, [(kind, ours, theirs, verb, amount of the proposal)])
    ("the same", job(), [line()], []),
    ("no line", job(), [], [("missing_there", "81.648", None, None, "0")]),
    (
        "no line, and the messages say it cost nothing",
        job(task_net_e8=0, task_status="failed"),
        [],
        [("missing_there", "81.648", None, "refund", "81.648")],
    ),
    ("no line for a refund", job(charged_e8=0, refunded_e8=CREDIT, charged_before_e8=5 * CREDIT),
     [], [("refund_missing", "-1", None, None, "0")]),
    ("charged and refunded, no line", job(refunded_e8=TEN_SECONDS), [], []),
    ("an amount of its own", job(), [line(amount_e8=CREDIT)],
     [("amount", "81.648", "1", None, "0")]),
    ("nothing charged there", job(), [line(amount_e8=0)], [("amount", "81.648", "0", None, "0")]),
    ("charged on two lines", job(), [line(amount_e8=CREDIT), line(amount_e8=TEN_SECONDS - CREDIT)],
     []),
    ("charged twice", job(), [line(), line()], [("duplicate_charge", None, "81.648", None, "0")]),
    ("charged three times", job(), [line()] * 3,
     [("duplicate_charge", None, "163.296", None, "0")]),
    ("charged twice, given back once", job(), [line(), line(), REFUND], []),
    ("charged twice, given back in part", job(), [line(), line(), line(amount_e8=-CREDIT)],
     [("duplicate_charge", None, "80.648", None, "0")]),
    ("charged again with another amount", job(), [line(), line(amount_e8=CREDIT)],
     [("duplicate_charge", None, "1", None, "0")]),
    ("charged twice and never here", job(**RELEASED), [line(), line()],
     [("duplicate_charge", None, "81.648", None, "0"),
      ("late_charge", None, "81.648", "charge", "81.648")]),
    ("failed, charged only there", job(**RELEASED), [line(status="failed")],
     [("charged_though_failed", None, "81.648", None, "0")]),
    ("cancelled while held, charged only there", job(**OPEN), [line(status="cancelled")],
     [("charged_though_failed", None, "81.648", None, "0")]),
    ("failed, charged on both sides", job(), [line(status="failed")],
     [("charged_though_failed", "81.648", "81.648", None, "0")]),
    ("one attempt failed and was given back, another did not",
     job(task=None, key="j"), [line(task="a", key="j", status="failed", refunded_e8=TEN_SECONDS),
      line(task="b", key="j")], []),
    ("one attempt failed and was charged, another did not",
     job(task=None, key="j"), [line(task="a", key="j", status="failed"), line(task="b", key="j")],
     [("charged_though_failed", None, "81.648", None, "0")]),
    ("the same, and the book has charged both", job(task=None, key="j", charged_e8=2 * TEN_SECONDS),
     [line(task="a", key="j", status="failed"), line(task="b", key="j")],
     [("charged_though_failed", "81.648", "81.648", None, "0")]),
    ("the same, given back in part", job(task=None, key="j"),
     [line(task="a", key="j", status="failed", refunded_e8=CREDIT), line(task="b", key="j")],
     [("charged_though_failed", None, "80.648", None, "0")]),
    ("less there, given back here after the period",
     job(refunded_after_e8=816_480_000), [line(amount_e8=7_348_320_000)],
     [("rounding", "81.648", "73.4832", None, "0")]),
    ("failed and free there, given back here after the period",
     job(refunded_after_e8=TEN_SECONDS), [line(amount_e8=0, status="failed")],
     [("refund_missing", "81.648", "0", None, "0")]),
    ("free by its messages, given back here after the period",
     job(refunded_after_e8=TEN_SECONDS, task_net_e8=0, task_status="failed"), [],
     [("missing_there", "81.648", None, None, "0")]),
    ("charged twice, and its other amount corrected by a refund here", job(refunded_e8=816_480_000),
     [line(amount_e8=7_348_320_000)] * 2,
     [("duplicate_charge", None, "73.4832", None, "0")]),
    ("of the month before, and its other amount corrected by a refund here",
     job(charged_e8=0, charged_before_e8=TEN_SECONDS, refunded_e8=816_480_000),
     [line(amount_e8=7_348_320_000)], [("cut_off", "0", "81.648", None, "0")]),
    ("another amount and a refund of one credit, corrected by a refund here",
     job(refunded_e8=816_480_000 + CREDIT), [line(amount_e8=7_348_320_000)],
     [("refund_missing", "-1", None, None, "0")]),
    ("given back here only, and less was charged there",
     job(refunded_e8=TEN_SECONDS), [line(amount_e8=7_348_320_000)],
     [("refund_missing", "-73.4832", None, None, "0")]),
    ("more charged there, and more than that given back", job(),
     [line(amount_e8=TEN_SECONDS + CREDIT, refunded_e8=3 * CREDIT)],
     [("refund_missing", None, "-2", "refund", "2")]),
    ("failed by its messages", job(task_status="failed"), [line()],
     [("charged_though_failed", "81.648", "81.648", None, "0")]),
    ("failed, given back on the same line", job(refunded_e8=TEN_SECONDS),
     [line(status="failed", refunded_e8=TEN_SECONDS)], []),
    ("failed, given back only here", job(refunded_e8=TEN_SECONDS), [line(status="failed")],
     [("refund_missing", "-81.648", None, None, "0")]),
    ("failed and free there, charged here", job(), [line(amount_e8=0, status="failed")],
     [("refund_missing", "81.648", "0", "refund", "81.648")]),
    ("given back only there", job(), [line(), REFUND],
     [("refund_missing", None, "-81.648", "refund", "81.648")]),
    ("given back in part only there", job(), [line(refunded_e8=CREDIT)],
     [("refund_missing", None, "-1", "refund", "1")]),
    ("less given back there", job(refunded_e8=3 * CREDIT), [line(refunded_e8=CREDIT)],
     [("refund_amount", "-3", "-1", None, "0")]),
    ("more given back there", job(refunded_e8=CREDIT), [line(refunded_e8=3 * CREDIT)],
     [("refund_amount", "-1", "-3", "refund", "2")]),
    ("held, and charged there", job(**OPEN), [line()],
     [("never_settled", None, "81.648", "charge", "81.648")]),
    ("held, charged and given back there", job(**OPEN), [line(), REFUND],
     [("never_settled", None, "0", "release", "244.944")]),
    ("held, and failed for nothing there", job(**OPEN), [line(amount_e8=0, status="failed")],
     [("never_settled", None, "0", "release", "244.944")]),
    ("held, and still running there", job(**OPEN), [line(amount_e8=0, status="processing")], []),
    ("held past its deadline, and no line", job(**UNKNOWN), [],
     [("never_settled", None, None, None, "0")]),
    ("the same by the clock", job(**OPEN, deadline_us=NOW_US), [],
     [("never_settled", None, None, None, "0")]),
    ("proven to be free", job(**(UNKNOWN | {"task_net_e8": 0, "task_status": "failed"})), [],
     [("never_settled", None, None, "release", "244.944")]),
    ("held, with time left", job(**OPEN, deadline_us=NOW_US + 1), [], []),
    ("released, and charged there", job(**RELEASED), [line()],
     [("late_charge", None, "81.648", "charge", "81.648")]),
    ("released, and charged in part", job(**RELEASED), [line(refunded_e8=CREDIT)],
     [("late_charge", None, "80.648", "charge", "80.648")]),
    ("released, and more given back than charged there", job(**RELEASED),
     [line(refunded_e8=TEN_SECONDS + CREDIT)], [("refund_missing", None, "-1", "adjust", "1")]),
    ("held, and more given back than charged there", job(**OPEN),
     [line(refunded_e8=TEN_SECONDS + CREDIT)],
     [("never_settled", None, "0", "release", "244.944"),
      ("refund_missing", None, "-1", "adjust", "1")]),
    ("held, and given back without a charge there", job(**OPEN),
     [line(amount_e8=0, status="failed"), line(amount_e8=-CREDIT, status="refund")],
     [("never_settled", None, "0", "release", "244.944"),
      ("refund_missing", None, "-1", "adjust", "1")]),
    ("released, and free there", job(**RELEASED), [line(amount_e8=0, status="failed")], []),
    ("here in the month before", job(charged_e8=0, charged_before_e8=TEN_SECONDS), [line()],
     [("cut_off", "0", "81.648", None, "0")]),
    ("there in the month after", job(), [line(at_us=UNTIL_US)],
     [("cut_off", "81.648", "0", None, "0")]),
    ("half of it in the month after, here",
     job(charged_e8=TEN_SECONDS - CREDIT, charged_after_e8=CREDIT), [line()],
     [("cut_off", "80.648", "81.648", None, "0")]),
    ("half of it in the month after, there", job(),
     [line(amount_e8=TEN_SECONDS - CREDIT), line(amount_e8=CREDIT, at_us=UNTIL_US)],
     [("cut_off", "81.648", "80.648", None, "0")]),
    ("given back in the month after, here", job(refunded_after_e8=TEN_SECONDS), [line(), REFUND],
     [("cut_off", "0", "-81.648", None, "0")]),
    ("given back in the month after, there", job(refunded_e8=TEN_SECONDS),
     [line(), REFUND | {"at_us": UNTIL_US}], [("cut_off", "-81.648", "0", None, "0")]),
    ("refunded of a charge before the month", job(charged_e8=0, charged_before_e8=TEN_SECONDS,
                                                  refunded_e8=TEN_SECONDS), [REFUND], []),
    ("charged for nothing here", job(charged_e8=0, task_net_e8=0), [line(amount_e8=CREDIT)],
     [("amount", "0", "1", None, "0")]),
]  # fmt: skip


def shown(amount_e8: int | None) -> str | None:
    return None if amount_e8 is None else show_credits(amount_e8)


@pytest.mark.parametrize(("what", "job_", "lines", "found"), KINDS, ids=[row[0] for row in KINDS])
def test_a_difference_has_its_kind_its_sides_and_a_proposal(
    what: str, job_: Row, lines: list[Row], found: list[tuple[str, Side, Side, str | None, Side]]
) -> None:
    result = compared([job_], lines)
    told = [
        (
            item.kind,
            shown(item.ours_e8),
            shown(item.theirs_e8),
            item.proposal.verb,
            show_credits(item.proposal.amount_e8),
        )
        for item in result.breaks
    ]
    assert sorted(told, key=str) == sorted(found, key=str)
    assert result.totals.difference_e8 == sum(item.difference_e8 for item in result.breaks)
    assert all(item.proposal.reason for item in result.breaks)


def test_lines_of_a_task_nobody_knows_are_one_break() -> None:
    first, second = line(task="other", line=7), line(task="other", line=9, amount_e8=CREDIT)
    (item,) = compared([], [second, first]).breaks
    assert (item.kind, item.task, item.job, item.lines) == ("missing_here", "other", None, (7, 9))
    assert item.theirs == Decimal("82.648")
    assert item.proposal.reason == "find out whose it is: no job of the book has this name"


def test_a_break_in_several_parts_adds_up_to_the_difference() -> None:
    """81.648 here; twice 10 × 8.1648 - 1 there: one too much, and each a credit too little."""
    less = line(amount_e8=TEN_SECONDS - CREDIT)
    found = {item.kind: item for item in breaks(job(), less, less)}
    assert found["duplicate_charge"].difference == Decimal("80.648")
    assert found["amount"].difference == -1


def test_a_charge_on_the_last_day_may_be_on_the_next_bill() -> None:
    (item,) = breaks(job(at_us=UNTIL_US - DAY_US))
    assert item.proposal.reason == "look at the next bill: it was charged on the last day"
    (item,) = breaks(job(at_us=UNTIL_US - DAY_US - 1))
    assert item.proposal.reason == "ask the provider; the bill has no line for the job"


@pytest.mark.parametrize(
    ("messages_e8", "bill_e8", "agree", "verb"),
    [
        # 81.648 in the book: the third side decides who is right.
        (TEN_SECONDS, CREDIT, "book", None),
        (CREDIT, CREDIT, "bill", "refund"),
        (2 * CREDIT, CREDIT, "neither", None),
    ],
)
def test_the_providers_messages_are_a_third_side(
    messages_e8: int, bill_e8: int, agree: str, verb: str | None
) -> None:
    (item,) = breaks(job(task_net_e8=messages_e8), line(amount_e8=bill_e8))
    assert item.evidence["messages"]["agree_with"] == agree
    assert item.proposal.verb == verb


def test_all_three_sides_may_agree_on_a_charge_that_should_not_be() -> None:
    (item,) = breaks(job(task_status="failed"), line())
    assert item.evidence["messages"]["agree_with"] == "book and bill"


@pytest.mark.parametrize(
    ("ours", "stay"),
    [
        (RELEASED, "if they stay, charge"),
        ({}, "if they stay, explain: the book has charged them, too"),
    ],
)
def test_what_a_failed_task_costs_is_charged_here_once_if_it_stays(ours: Row, stay: str) -> None:
    (found,) = breaks(job(**ours), line(status="failed"))
    assert found.proposal.reason.startswith("ask the provider for 81.648 credits back: ")
    assert found.proposal.reason.endswith(stay)


def test_more_than_was_charged_is_given_back_to_the_wallet() -> None:
    """A job cannot be refunded more than it was charged."""
    (item,) = breaks(job(**SILENT, refunded_e8=TEN_SECONDS), line(), REFUND, REFUND)
    assert item.kind == "refund_amount"
    assert (item.proposal.verb, item.proposal.amount) == ("adjust", Decimal("81.648"))


# --- names, ages, money --------------------------------------------------------------------------


def test_a_break_is_named_by_its_kind_and_job_and_not_by_its_amounts() -> None:
    first, second, other = (
        breaks(job(), line(amount_e8=amount_e8))[0] for amount_e8 in (CREDIT, 2 * CREDIT, 0)
    )
    assert first.id == second.id == other.id
    assert first.id != breaks(job(job="job-2", key="job-2"), line(amount_e8=CREDIT))[0].id
    assert first.id != breaks(job())[0].id
    assert first.id.startswith("brk-")


def test_a_cut_off_and_its_counterpart_in_the_next_month_are_two_breaks() -> None:
    here = breaks(job(charged_e8=0, charged_after_e8=TEN_SECONDS), line())
    there = breaks(job(), line(at_us=UNTIL_US))
    assert here[0].id != there[0].id


def test_lines_without_a_name_that_are_alike_are_two_breaks() -> None:
    nameless = line(task=None, key=None)
    found = compared([], [nameless, nameless | {"line": 5}]).breaks
    assert len({item.id for item in found}) == 2


@pytest.mark.parametrize(
    ("days", "age"), [(0, "0-1"), (2, "2-7"), (8, "8-30"), (31, "31-60"), (61, "> 60")]
)
def test_a_break_is_as_old_as_what_it_is_about(days: int, age: str) -> None:
    at_us = SINCE_US + DAY_US
    (item,) = breaks(job(at_us=at_us), now_us=at_us + days * DAY_US)
    assert item.age == age
    assert item.at.isoformat() == "2026-11-02T00:00:00+00:00"


def test_a_break_without_any_time_is_as_old_as_the_period() -> None:
    (item,) = compared([], [line(task=None, at_us=None)]).breaks
    assert item.at_us == SINCE_US


@pytest.mark.parametrize(
    ("since", "money"),
    [
        # 81.648 credits at 68 a dollar since April 2026, at 72 before, at none before 2025-08-31.
        ("2026-11-10", "-1.20070588"),
        ("2026-03-10", "-1.13400000"),
        ("2025-01-10", None),
    ],
)
def test_a_difference_is_shown_in_money_at_the_rate_of_its_day(
    since: str, money: str | None
) -> None:
    from ledger.records import us
    from ledger.units import parse_moment

    at_us = us(parse_moment(since))
    (item,) = breaks(job(at_us=at_us), since_us=at_us, until_us=at_us + 1)
    assert item.difference_money == (None if money is None else Decimal(money))
    assert item.currency == (None if money is None else "USD")


# --- tolerance -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tolerance", "is_let_through"),
    [
        # 81.648 here, 82.648 there: a credit, which is 1.21 per cent of the larger amount.
        (Tolerance(), False),
        (Tolerance(absolute_e8=CREDIT), True),
        (Tolerance(absolute_e8=CREDIT - 1), False),
        (Tolerance(relative=Decimal("0.0121")), True),
        (Tolerance(relative=Decimal("0.012")), False),
        (Tolerance(absolute_e8=CREDIT, relative=Decimal("0.012")), False),
        (Tolerance(absolute_e8=CREDIT, cap_e8=CREDIT), True),
        (Tolerance(absolute_e8=CREDIT, cap_e8=CREDIT - 1), False),
    ],
)
def test_a_difference_is_let_through_within_every_limit(
    tolerance: Tolerance, is_let_through: bool
) -> None:
    result = compared([job()], [line(amount_e8=TEN_SECONDS + CREDIT)], tolerance=tolerance)
    assert len(result.tolerated) == is_let_through
    assert len(result.breaks) == (not is_let_through)
    assert result.totals.tolerated_e8 == is_let_through * CREDIT


def test_the_cap_lets_the_smallest_through_first() -> None:
    pairs = [pair_of(number) for number in (1, 2, 3)]
    bills = [
        pair.line | {"amount_e8": TEN_SECONDS + more_e8}
        for pair, more_e8 in zip(pairs, (7, 3, 5), strict=True)
    ]
    tolerance = Tolerance(absolute_e8=10, cap_e8=8)
    result = compared([pair.job for pair in pairs], bills, tolerance=tolerance)
    assert [item.difference_e8 for item in result.breaks] == [7]
    assert sorted(item.difference_e8 for item in result.tolerated) == [3, 5]


@pytest.mark.parametrize("lines", [[], [line(), line()], [line(amount_e8=TEN_SECONDS * 10_000)]])
def test_what_is_missing_or_twice_or_of_another_unit_is_never_let_through(
    lines: list[Row],
) -> None:
    tolerance = Tolerance(absolute_e8=10**18)
    result = compared([job()], lines, tolerance=tolerance)
    assert len(result.breaks) == 1
    assert result.tolerated == []


# --- what is given -------------------------------------------------------------------------------


def test_very_large_amounts_do_not_overflow() -> None:
    largest = 2**63 - 1
    lines = [line(line=number, amount_e8=largest) for number in range(5)]
    result = compared([job()], lines)
    assert result.totals.theirs_e8 == 5 * largest
    assert result.totals.difference_e8 == sum(item.difference_e8 for item in result.breaks)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"since_us": UNTIL_US}, "the period must end later than it starts"),
        ({"cash": pl.DataFrame()}, "give both or neither"),
        ({"book": pl.DataFrame({"job": ["a"]})}, "the book has no column wallet"),
        ({"statement": pl.DataFrame()}, "the statement has no column line"),
        (
            {"statement": frames([], [line()])[1].cast({"amount_e8": pl.Float64})},
            "the statement: column amount_e8 must be whole numbers, not Float64",
        ),
        (
            {"statement": frames([], [line()])[1].with_columns(task=1)},
            "the statement: column task must be text, not Int32",
        ),
        ({"book": frames([job(), job()], [])[0]}, "the book has a job twice"),
    ],
)
def test_what_cannot_be_compared_is_refused(change: Row, said: str) -> None:
    book, statement = frames([job()], [line()])
    given = {"book": book, "statement": statement} | {"since_us": SINCE_US, "until_us": UNTIL_US}
    with pytest.raises(InvalidInput, match=said):
        reconcile(**{**given, **change}, prices=PRICES, now_us=NOW_US)


def test_nothing_agrees_with_nothing() -> None:
    result = compared([], [])
    assert (result.breaks, result.matches.height) == ([], 0)
    assert result.totals.difference_e8 == 0


def test_lines_and_jobs_of_the_same_minute_in_another_period_are_not_compared() -> None:
    result = compared([], [line(at_us=UNTIL_US + MINUTE_US)])
    assert result.breaks == []
    assert result.totals.lines_outside == 1

"""Which line is which job: every match names its rule, and what is not clear stays unmatched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planted_month import (
    DAY_US,
    ELEMENT,
    MINUTE_US,
    MOTION,
    NOW_US,
    SINCE_US,
    UNTIL_US,
    frames,
)

from ledger import PriceBook
from ledger.reconcile import Reconciliation, reconcile

PRICES = PriceBook.bundled()
NOON = SINCE_US + 9 * DAY_US + DAY_US // 2
HOUR_US = 60 * MINUTE_US
CREDIT = 100_000_000

Row = dict[str, Any]


def job(name: str, credits: int = 10, at_us: int = NOON, **changes: Any) -> Row:
    """A job that was charged by an amount; its task is not known, unless given."""
    row = {"job": name, "key": name, "wallet": "studio", "model": MOTION, "state": "charged"}
    return row | {"charged_e8": credits * CREDIT, "at_us": at_us, "hold_e8": 0} | changes


def line(number: int, credits: int = 10, at_us: int | None = NOON, **changes: Any) -> Row:
    """A line without a name, unless given."""
    row = {"line": number, "model": MOTION, "amount_e8": credits * CREDIT, "at_us": at_us}
    return row | {"status": "completed"} | changes


def compared(jobs: Sequence[Row], lines: Sequence[Row], **more: Any) -> Reconciliation:
    book, statement = frames(jobs, lines)
    period = {"since_us": SINCE_US, "until_us": UNTIL_US, "now_us": NOW_US}
    return reconcile(book, statement, prices=PRICES, **{**period, **more})


def matches(jobs: Sequence[Row], lines: Sequence[Row], **more: Any) -> list[tuple[int, str, str]]:
    return [tuple(row) for row in compared(jobs, lines, **more).matches.rows()]


Case = tuple[str, list[Row], list[Row], list[tuple[int, str, str]]]

CASES: list[Case] = [
    ("by task", [job("a", task="t")], [line(1, 3, task="t")], [(1, "a", "task")]),
    ("by key", [job("a", task="t")], [line(1, 3, key="a")], [(1, "a", "key")]),
    (
        "the task counts before the key",
        [job("a", task="t"), job("b")],
        [line(1, task="t", key="b")],
        [(1, "a", "task")],
    ),
    (
        "all lines of a task, whenever they are",
        [job("a", task="t")],
        [line(1, task="t"), line(2, -3, task="t", at_us=UNTIL_US), line(3, key="a")],
        [(1, "a", "task"), (2, "a", "task"), (3, "a", "key")],
    ),
    (
        "two jobs of one task have no task",
        [job("a", task="t"), job("b", 7, task="t")],
        [line(1, task="t", key="b")],
        [(1, "b", "key")],
    ),
    ("an empty name is none", [job("a", task="")], [line(1, task="", key="")],
     [(1, "a", "amount_time")]),
    ("by amount and time", [job("a")], [line(1, at_us=NOON + HOUR_US)], [(1, "a", "amount_time")]),
    ("too late", [job("a")], [line(1, at_us=NOON + HOUR_US + 1)], []),
    ("too early", [job("a")], [line(1, at_us=NOON - HOUR_US - 1)], []),
    ("another amount", [job("a")], [line(1, 9)], []),
    ("another model", [job("a")], [line(1, model=ELEMENT)], []),
    ("no model", [job("a", model=None)], [line(1, model=None)], []),
    ("no time", [job("a")], [line(1, at_us=None)], []),
    ("the short name of the model", [job("a")], [line(1, model="motion-control")],
     [(1, "a", "amount_time")]),
    ("in the order of time", [job("a"), job("b", at_us=NOON + 3 * HOUR_US)],
     [line(1, at_us=NOON + 3 * HOUR_US), line(2)],
     [(1, "b", "amount_time"), (2, "a", "amount_time")]),
    ("two jobs alike", [job("a"), job("b", at_us=NOON + MINUTE_US)], [line(1)], []),
    ("two lines alike", [job("a")], [line(1), line(2, at_us=NOON + MINUTE_US)], []),
    (
        # The second line could be either job; the first only one, which has two lines.
        "a chain of three hours",
        [job("a"), job("b", at_us=NOON + 2 * HOUR_US)],
        [line(1), line(2, at_us=NOON + HOUR_US)],
        [],
    ),
    ("another task", [job("a", task="t")], [line(1, task="u")], []),
    ("a task for a job whose task nobody knows", [job("a")], [line(1, task="u")],
     [(1, "a", "amount_time")]),
    ("an unknown key", [job("a")], [line(1, key="z")], []),
    ("lines of one task, by their sum", [job("a")],
     [line(1, 12, task="u"), line(2, -2, task="u", at_us=NOON + MINUTE_US)],
     [(1, "a", "amount_time"), (2, "a", "amount_time")]),
    ("a net refund", [job("a", 0, refunded_e8=10 * CREDIT)], [line(1, -10)],
     [(1, "a", "amount_time")]),
    ("charged and refunded is nothing to match", [job("a", refunded_e8=10 * CREDIT)], [line(1)],
     []),
    ("several lines for one job", [job("a")], [line(1, 6), line(2, 4)],
     [(1, "a", "sum_time"), (2, "a", "sum_time")]),
    ("one line for several jobs", [job("a", 6), job("b", 4)], [line(1)],
     [(1, "a", "sum_time"), (1, "b", "sum_time")]),
    ("one line for several jobs with tasks", [job("a", 6, task="t"), job("b", 4, task="u")],
     [line(1)], [(1, "a", "sum_time"), (1, "b", "sum_time")]),
    ("another sum", [job("a")], [line(1, 6), line(2, 3)], []),
    ("one more line beside them", [job("a")], [line(1, 6), line(2, 4), line(3, 1)], []),
    ("two lines for two jobs", [job("a", 6), job("b", 4)], [line(1, 7), line(2, 3)], []),
    (
        "one line a day",
        [job("a", 6, NOON - 9 * HOUR_US), job("b", 4, NOON), job("c", 5, NOON + DAY_US),
         job("d", 2, NOON + DAY_US + 9 * HOUR_US)],
        [line(1, 10, NOON - DAY_US // 2), line(2, 7, NOON + DAY_US // 2)],
        [(1, "a", "sum_day"), (1, "b", "sum_day"), (2, "c", "sum_day"), (2, "d", "sum_day")],
    ),
    (
        "one line a day and quality",
        [job("a", 6, NOON - 9 * HOUR_US, quality="720p"), job("b", 4, quality="720p"),
         job("c", 8, quality="1080p"), job("d", 1, NOON + 9 * HOUR_US, quality="1080p")],
        [line(1, 10, NOON - DAY_US // 2, quality="720p"),
         line(2, 9, NOON - DAY_US // 2, quality="1080p")],
        [(1, "a", "sum_day"), (1, "b", "sum_day"), (2, "c", "sum_day"), (2, "d", "sum_day")],
    ),
    (
        "one line a month, with or without a time",
        [job("a", 6, SINCE_US), job("b", 4, UNTIL_US - 1), job("c", 6, NOON, model=ELEMENT),
         job("d", 5, UNTIL_US - 1, model=ELEMENT)],
        [line(1, 10, None), line(2, 11, UNTIL_US - 2, model=ELEMENT)],
        [(1, "a", "sum_period"), (1, "b", "sum_period"), (2, "c", "sum_period"),
         (2, "d", "sum_period")],
    ),
    ("the same amount in another week is not the same", [job("a")],
     [line(1, at_us=NOON + 7 * DAY_US)], []),
]  # fmt: skip


@pytest.mark.parametrize(("what", "jobs", "lines", "found"), CASES, ids=[row[0] for row in CASES])
def test_a_match_names_its_rule(
    what: str, jobs: list[Row], lines: list[Row], found: list[tuple[int, str, str]]
) -> None:
    result = compared(jobs, lines)
    assert [tuple(row) for row in result.matches.rows()] == found
    assert sum(result.totals.by_rule.values()) == result.totals.lines_matched


def test_the_window_can_be_another_one() -> None:
    jobs, lines = [job("a")], [line(1, at_us=NOON + 2 * HOUR_US)]
    assert matches(jobs, lines, window_us=2 * HOUR_US - 1) == []
    assert matches(jobs, lines, window_us=2 * HOUR_US) == [(1, "a", "amount_time")]


def test_what_is_not_clear_names_its_candidates_on_both_sides() -> None:
    jobs = [job("b"), job("a", at_us=NOON + MINUTE_US)]
    result = compared(jobs, [line(7), line(3, 5)])
    found = {item.job or item.lines: item.evidence.get("candidates") for item in result.breaks}
    assert found == {(7,): ["a", "b"], (3,): None, "a": [7], "b": [7]}
    unclear = next(item for item in result.breaks if item.lines == (7,))
    assert unclear.proposal.reason == (
        "find out whose it is: it may be any of several jobs that are alike; say which"
    )


def test_at_most_five_candidates_are_named() -> None:
    jobs = [job(f"job-{number}", at_us=NOON + number) for number in range(9)]
    (unclear,) = [item for item in compared(jobs, [line(1)]).breaks if item.kind == "missing_here"]
    assert unclear.evidence["candidates"] == [f"job-{number}" for number in range(5)]


def by_brute_force(jobs: Sequence[Row], lines: Sequence[Row]) -> list[tuple[int, str]]:
    """One to one by looking at every pair."""

    def fits(one: Row, other: Row) -> bool:
        return (
            one["model"] == other["model"]
            and one["amount_e8"] == other["charged_e8"]
            and abs(one["at_us"] - other["at_us"]) <= HOUR_US
            and (one.get("task") is None or other.get("task") is None)
        )

    found = []
    for one in lines:
        mine = [other for other in jobs if fits(one, other)]
        if len(mine) == 1 and sum(fits(item, mine[0]) for item in lines) == 1:
            found.append((one["line"], mine[0]["job"]))
    return sorted(found)


ROWS = st.tuples(
    st.integers(1, 2),
    st.integers(0, 12).map(lambda step: NOON + step * HOUR_US // 2),
    st.sampled_from([MOTION, ELEMENT]),
    st.booleans(),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(ROWS, max_size=8), st.lists(ROWS, max_size=8))
def test_one_to_one_is_what_looking_at_every_pair_gives(
    ours: list[tuple[int, int, str, bool]], theirs: list[tuple[int, int, str, bool]]
) -> None:
    jobs = [
        job(f"job-{number}", amount, at_us, model=model, task=f"t{number}" if has_task else None)
        for number, (amount, at_us, model, has_task) in enumerate(ours)
    ]
    lines = [
        line(number, amount, at_us, model=model, task=f"u{number}" if has_task else None)
        for number, (amount, at_us, model, has_task) in enumerate(theirs)
    ]
    found = [(row[0], row[1]) for row in matches(jobs, lines) if row[2] == "amount_time"]
    assert found == by_brute_force(jobs, lines)

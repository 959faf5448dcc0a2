"""A bill that was read in the wrong time zone is noticed; one that only comes later is not."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from planted_month import DAY_US, MINUTE_US, NOW_US, SINCE_US, UNTIL_US, month
from test_reconcile import PRICES, compared, job, line

from ledger.reconcile import reconcile

HOUR_US = 60 * MINUTE_US
NOON_US = SINCE_US + 12 * HOUR_US


def notes(apart_us: Sequence[int], *, here_us: int = 7 * MINUTE_US) -> tuple[str, ...]:
    """Of a bill whose lines are so far from their jobs, which are an odd while apart."""
    times = [NOON_US + number * here_us for number in range(len(apart_us))]
    jobs = [
        job(job=f"j{number}", task=f"t{number}", at_us=at_us) for number, at_us in enumerate(times)
    ]
    lines = [
        line(task=f"t{number}", at_us=at_us + apart)
        for number, (at_us, apart) in enumerate(zip(times, apart_us, strict=True))
    ]
    return compared(jobs, lines).notes


@pytest.mark.parametrize(
    ("apart_us", "told"),
    [
        # UTC+8 read as UTC, each line some minutes after the book heard of it.
        ([8 * HOUR_US, 8 * HOUR_US + 9 * MINUTE_US, 8 * HOUR_US - 9 * MINUTE_US],
         "8 h later than in the book for 3 of 3 matches"),
        ([-7 * HOUR_US] * 4, "7 h earlier than in the book for 4 of 4 matches"),
        ([-5 * HOUR_US - 30 * MINUTE_US] * 3, "5.5 h earlier"),  # India
        # Berlin: summer time ends on the 25th.
        ([2 * HOUR_US] * 6 + [HOUR_US] * 2, "2 h later than in the book for 6 of 8 matches"),
        # Beyond the end of the period.
        ([800 * HOUR_US] * 4, None),
        ([8 * HOUR_US] * 2, None),  # two say nothing
        ([8 * HOUR_US] * 3 + [0] * 3, None),  # not most
        ([0] * 5, None),
        ([30 * MINUTE_US] * 5, None),  # a slow provider
        ([8 * HOUR_US + 11 * MINUTE_US] * 5, None),  # no whole half hour
    ],
)  # fmt: skip
def test_lines_that_are_whole_hours_from_their_jobs_are_noticed(
    apart_us: list[int], told: str | None
) -> None:
    found = notes(apart_us)
    if told is None:
        assert found == ()
    else:
        assert told in found[0]


def test_dates_alone_are_no_time_zone() -> None:
    # All jobs at noon, and a bill with dates: 12 hours apart, day after day.
    assert notes([-12 * HOUR_US] * 5, here_us=DAY_US) == ()
    assert len(notes([-12 * HOUR_US] * 5)) == 1


def test_a_month_that_is_read_right_has_no_note() -> None:
    made = month()
    found = reconcile(
        made.book,
        made.statement,
        since_us=SINCE_US,
        until_us=UNTIL_US,
        now_us=NOW_US,
        prices=PRICES,
    )
    assert found.notes == ()

"""Periods, days and hours begin and end where the clocks of their zone say, and leave no gap."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import InvalidEntry
from ledger.records import moment, us
from ledger.spans import STEPS, Span, Step, between, day_of, named_moment, span_of, step_of, steps

HOUR_US = 3_600 * 10**6
LAST = 24 - Fraction(1, HOUR_US)
"""Hours of the calendar's last day, which ends with its last microsecond."""
BEHIND = Fraction(4 * 3_600 + 56 * 60 + 16, 3_600)

SPANS = [
    ("2026-10", "UTC", "2026-10-01T00:00Z", "2026-11-01T00:00Z"),
    # Summer time until 25 October, UTC+2 at its beginning and UTC+1 at its end.
    ("2026-10", "Europe/Berlin", "2026-09-30T22:00Z", "2026-10-31T23:00Z"),
    ("2026-12", "Asia/Shanghai", "2026-11-30T16:00Z", "2026-12-31T16:00Z"),
    ("2026-10-25/2026-10-26", "Europe/Berlin", "2026-10-24T22:00Z", "2026-10-25T23:00Z"),
    # The clocks of Lebanon go forward at midnight: the day begins at one o'clock.
    ("2026-03-29/2026-03-30", "Asia/Beirut", "2026-03-28T22:00Z", "2026-03-29T21:00Z"),
    # They go back from midnight to eleven: the day before has 25 hours.
    ("2026-10-24/2026-10-25", "Asia/Beirut", "2026-10-23T21:00Z", "2026-10-24T22:00Z"),
    # Cuba's midnight comes twice; the day begins with the first.
    ("2026-11-01/2026-11-02", "America/Havana", "2026-11-01T04:00Z", "2026-11-02T05:00Z"),
    # Half an hour, from UTC+11 to UTC+10:30 and back.
    ("2026-04-05/2026-04-06", "Australia/Lord_Howe", "2026-04-04T13:00Z", "2026-04-05T13:30Z"),
    ("2026-10-04/2026-10-05", "Australia/Lord_Howe", "2026-10-03T13:30Z", "2026-10-04T13:00Z"),
    # Samoa had no 30 December 2011: the 31st begins where the 29th ends.
    ("2011-12-29/2011-12-31", "Pacific/Apia", "2011-12-29T10:00Z", "2011-12-30T10:00Z"),
    ("2026-10-01T12:00+02:00/2026-10-02", "UTC", "2026-10-01T10:00Z", "2026-10-02T00:00Z"),
]


@pytest.mark.parametrize(("period", "timezone", "start", "end"), SPANS)
def test_a_period_begins_and_ends_at_midnight_where_it_is(
    period: str, timezone: str, start: str, end: str
) -> None:
    found = span_of(period, timezone)
    assert (found.name, found.timezone) == (period, timezone)
    assert (found.start, found.end) == tuple(map(datetime.fromisoformat, (start, end)))


def test_days_may_be_given_as_dates_and_moments() -> None:
    found = between(date(2026, 10, 1), datetime(2026, 10, 2, 12, tzinfo=UTC), "Europe/Berlin")
    assert found.name == "2026-10-01/2026-10-02T12:00:00+00:00"
    assert found.start == datetime(2026, 9, 30, 22, tzinfo=UTC)
    assert named_moment("2026-10-02T14:00+02:00") == found.end


@pytest.mark.parametrize(
    ("period", "timezone", "problem"),
    [
        ("2026-13", "UTC", "must be a month such as 2026-10"),
        ("2026-9", "UTC", "must be a month such as 2026-10"),
        ("october", "UTC", "must be a month such as 2026-10"),
        ("2026-10-01", "UTC", "must be a month such as 2026-10"),
        ("2026-10-01/", "UTC", "must be a month such as 2026-10"),
        ("0001-1", "UTC", "must be a month such as 2026-10"),
        ("0000-13", "UTC", "must be a month such as 2026-10"),
        # They are months, but not all of each is in the calendar.
        ("0000-12", "UTC", "0000-12 is out of range: it must begin and end in the years 1 to 9999"),
        ("9999-12", "UTC", "9999-12 is out of range"),
        ("9999-12", "America/New_York", "9999-12 is out of range"),
        ("0001-01", "Asia/Shanghai", "0001-01 is out of range"),
        ("0001-01-01/0001-02-01", "Asia/Shanghai", "0001-01-01/0001-02-01 is out of range"),
        ("2026-10-02/2026-10-01", "UTC", "must end later than it begins"),
        ("2026-10-01/2026-10-01", "UTC", "must end later than it begins"),
        # A day that never was has no moments.
        ("2011-12-30/2011-12-31", "Pacific/Apia", "must end later than it begins"),
        ("2026-10-01T12:00/2026-10-02", "UTC", "time zone"),
        ("2026-10", "Europe/Berlinn", "'Europe/Berlinn' is no time zone"),
        ("2026-10", "localtime", "'localtime' is no time zone"),
        ("2026-10", "../etc/passwd", "is no time zone"),
        ("2026-10", "", "is no time zone"),
        ("2026-10", None, "is no time zone"),
        (None, "UTC", "the period"),
    ],
)
def test_what_is_no_period_is_refused_in_words(period: Any, timezone: Any, problem: str) -> None:
    with pytest.raises(InvalidEntry, match=problem.replace("(", r"\(")):
        span_of(period, timezone)


def test_an_error_says_what_the_moment_is_for() -> None:
    with pytest.raises(InvalidEntry, match=r"^--as-of: must be a day"):
        named_moment("soon", "UTC", "--as-of")
    with pytest.raises(InvalidEntry, match=r"^--as-of: 0001-01-01 is out of range"):
        named_moment("0001-01-01", "Asia/Shanghai", "--as-of")
    with pytest.raises(InvalidEntry, match=r"^the time zone: 'Berlin' is no time zone"):
        named_moment("2026-10-01", "Berlin", "--as-of")


@pytest.mark.parametrize("when", ["soon", "2026-02-30", "2026-10-01T12:00", "", None])
def test_what_is_neither_a_day_nor_a_moment_is_refused(when: Any) -> None:
    with pytest.raises(InvalidEntry, match="must be a day such as 2026-10-01"):
        named_moment(when)


# Steps


def hours(of: Span, step: Step) -> list[tuple[str, Fraction]]:
    return [(each.name, Fraction(each.end_us - each.start_us, HOUR_US)) for each in steps(of, step)]


@pytest.mark.parametrize(
    ("period", "timezone", "step", "expected"),
    [
        (
            "2026-10-24/2026-10-27",
            "Europe/Berlin",
            "day",
            [("2026-10-24", 24), ("2026-10-25", 25), ("2026-10-26", 24)],
        ),
        ("2026-03-29/2026-03-30", "Asia/Beirut", "day", [("2026-03-29", 23)]),
        ("2026-04-05/2026-04-06", "Australia/Lord_Howe", "day", [("2026-04-05", 24.5)]),
        (
            "2011-12-29/2012-01-01",
            "Pacific/Apia",
            "day",
            [("2011-12-29", 24), ("2011-12-31", 24)],
        ),
        # The last day of a year may be of the next year's first week.
        ("2026-12-31/2027-01-05", "UTC", "week", [("2026-W53", 168), ("2027-W01", 168)]),
        ("2026-10-31/2026-11-02", "UTC", "month", [("2026-10", 744), ("2026-11", 720)]),
        (
            "2026-10-25T00:00Z/2026-10-25T02:00Z",
            "Europe/Berlin",
            "hour",
            [("2026-10-25T02:00+0200", 1), ("2026-10-25T02:00+0100", 1)],
        ),
        (
            "2026-03-29T00:30Z/2026-03-29T01:30Z",
            "Europe/Berlin",
            "hour",
            [("2026-03-29T01:00+0100", 1), ("2026-03-29T03:00+0200", 1)],
        ),
        # 02:00 becomes 01:30 on 5 April, and 02:30 on 4 October.
        (
            "2026-04-04T14:00Z/2026-04-04T16:00Z",
            "Australia/Lord_Howe",
            "hour",
            [
                ("2026-04-05T01:00+1100", 1),
                ("2026-04-05T01:30+1030", 0.5),
                ("2026-04-05T02:00+1030", 1),
            ],
        ),
        (
            "2026-10-03T15:00Z/2026-10-03T16:30Z",
            "Australia/Lord_Howe",
            "hour",
            [
                ("2026-10-04T01:00+1030", 1),
                ("2026-10-04T02:30+1100", 0.5),
                ("2026-10-04T03:00+1100", 1),
            ],
        ),
        ("2026-10-01T00:10Z/2026-10-01T00:20Z", "Asia/Kolkata", "hour", [
            ("2026-10-01T05:00+0530", 1),
        ]),
        # At one past midnight of 7 November 2010 the clocks of Newfoundland went back to one past
        # eleven: the seventh had begun a minute before.
        ("2010-11-07T03:00Z/2010-11-07T04:00Z", "America/St_Johns", "day", [("2010-11-07", 25)]),
        # The last months of the calendar, and its first days.
        ("9999-11-30/9999-12-31", "UTC", "month", [("9999-11", 720), ("9999-12", LAST + 720)]),
        ("9999-12-31T00:00Z/9999-12-31T01:00Z", "UTC", "day", [("9999-12-31", LAST)]),
        ("9999-12-27/9999-12-31", "UTC", "week", [("9999-W52", LAST + 96)]),
        ("0001-01-01/0001-01-02", "UTC", "week", [("0001-W01", 168)]),
        # Its last day is over in Shanghai before it is in UTC.
        ("9999-12-31T15:30Z/9999-12-31T23:00Z", "Asia/Shanghai", "hour",
            [("9999-12-31T23:00+0800", LAST - 15)]),
        ("9999-12-31T15:30Z/9999-12-31T23:00Z", "Asia/Shanghai", "day",
            [("9999-12-31", LAST + 8)]),
        # And its first one has not begun in Bogotá, which was 4:56:16 behind.
        ("0001-01-01T00:00Z/0001-01-01T05:30Z", "America/Bogota", "hour",
            [("0001-01-01T00:00-045616", 1 + BEHIND)]),
        ("0001-01-01T00:00Z/0001-01-01T05:30Z", "America/Bogota", "day",
            [("0001-01-01", 24 + BEHIND)]),
    ],
)  # fmt: skip
def test_steps_are_those_of_the_clock_on_the_wall(
    period: str, timezone: str, step: Step, expected: list[tuple[str, float | Fraction]]
) -> None:
    assert hours(span_of(period, timezone), step) == expected


ZONES = [
    *("UTC", "Europe/Berlin", "Asia/Beirut", "Australia/Lord_Howe", "Pacific/Apia"),
    *("America/Havana", "Asia/Kolkata", "America/St_Johns", "Antarctica/Troll", "Asia/Kathmandu"),
]
MOMENTS = st.integers(us(datetime(2009, 1, 1, tzinfo=UTC)), us(datetime(2030, 1, 1, tzinfo=UTC)))
LONGEST = {"hour": 60, "day": 900, "week": 4_000, "month": 20_000}


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(ZONES), st.sampled_from(STEPS), MOMENTS, st.data())
def test_steps_cover_a_span_without_a_gap_each_with_a_name_of_its_own(
    timezone: str, step: Any, start_us: int, data: st.DataObject
) -> None:
    start = moment(start_us)
    length = data.draw(st.timedeltas(timedelta(microseconds=1), timedelta(hours=LONGEST[step])))
    span = between(start, start + length, timezone)
    found = list(steps(span, step))
    assert all(one.end_us == after.start_us for one, after in pairwise(found))
    assert found[0].start_us <= span.start_us < found[0].end_us
    assert found[-1].start_us < span.end_us <= found[-1].end_us
    assert len({each.name for each in found}) == len(found)
    # Each is found by any of its moments as well.
    for each in (found[0], found[-1]):
        for when_us in (each.start_us, each.end_us - 1):
            assert step_of(when_us, step, timezone) == each
    if step == "day":
        for each in found:
            assert day_of(each.start_us, timezone).isoformat() == each.name
            assert day_of(each.end_us - 1, timezone).isoformat() == each.name
    if step == "hour":
        for each in found:
            first, last = (
                moment(at).astimezone(ZoneInfo(timezone)) for at in (each.start_us, each.end_us - 1)
            )
            assert (first.date(), first.hour) == (last.date(), last.hour)

"""Stretches of time as people name them: months, days, weeks, in a time zone. Pure.

The only place that knows where a period begins and ends. Every span is half-open, from its first
moment up to and without its end, and is kept as whole microseconds since 1970 in UTC.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Literal, NamedTuple, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ledger.errors import Fault, InvalidEntry, InvalidMoment
from ledger.records import moment, name, us
from ledger.units import parse_moment

__all__ = [
    "STEPS",
    "Span",
    "Step",
    "between",
    "day_of",
    "named_moment",
    "span_of",
    "step_of",
    "steps",
    "zone",
]

Step = Literal["hour", "day", "week", "month"]
"""Equal stretches that a span is divided into."""

STEPS: tuple[str, ...] = get_args(Step)

_MONTH = re.compile(r"(\d{4})-(\d{2})", re.ASCII)
_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)

_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
"""The calendar ends with the year 9999: what would begin or end outside it does so at its edge."""

_OUTSIDE = "is out of range: it must begin and end in the years 1 to 9999, in UTC as well"


class Span(NamedTuple):
    """A stretch of time: what it is called, its first moment, the first one after it, its zone."""

    name: str
    start_us: int
    end_us: int
    timezone: str

    @property
    def start(self) -> datetime:
        """First moment inside."""
        return moment(self.start_us)

    @property
    def end(self) -> datetime:
        """First moment outside."""
        return moment(self.end_us)


def span_of(period: object, timezone: object = "UTC") -> Span:
    """The span of a period that was named.

    Args:
        period: a month such as `2026-10`, or days or moments such as `2026-10-01/2026-11-01`, up
            to and without the second.
        timezone: where its days begin.

    Raises:
        InvalidEntry: no such time zone; not a period.

    >>> october = span_of("2026-10", "Europe/Berlin")
    >>> october.start.isoformat(), october.end.isoformat()
    ('2026-09-30T22:00:00+00:00', '2026-10-31T23:00:00+00:00')
    """
    here = zone(timezone)
    text = name(period, "the period")
    try:
        if month := _MONTH.fullmatch(text):
            start, end = _month(int(month[1]), int(month[2]), here)
        else:
            first, _, last = text.partition("/")
            start, end = _moment(first, here), _moment(last, here)
    except OverflowError:
        raise InvalidEntry("the period", [Fault("", f"{text} {_OUTSIDE}")]) from None
    except ValueError as error:
        told = f" ({error})" if isinstance(error, InvalidMoment) else ""
        problem = "must be a month such as 2026-10, or days such as 2026-10-01/2026-11-01"
        raise InvalidEntry("the period", [Fault("", f"{problem}{told}")]) from None
    return _checked(text, start, end, here)


def between(since: object, until: object, timezone: object = "UTC") -> Span:
    """The span from one day or moment up to and without another.

    Raises:
        InvalidEntry: no such time zone; not a day or moment; it ends before it begins.

    >>> between("2026-10-01", "2026-10-08").name
    '2026-10-01/2026-10-08'
    """
    here = zone(timezone)
    start, end = named_moment(since, here.key), named_moment(until, here.key)
    return _checked(f"{_said(since)}/{_said(until)}", start, end, here)


def _said(when: object) -> str:
    return when.isoformat() if isinstance(when, date) else str(when)


def _checked(text: str, start: datetime, end: datetime, here: ZoneInfo) -> Span:
    if end <= start:
        raise InvalidEntry("the period", [Fault("", "must end later than it begins")])
    return Span(text, us(start), us(end), here.key)


def named_moment(when: object, timezone: object = "UTC", what: str = "the period") -> datetime:
    """A moment, or the beginning of a day in a time zone.

    Args:
        when: the day or moment.
        timezone: where the day begins.
        what: what it is for, as an error says it.

    Raises:
        InvalidEntry: no such time zone; neither a day nor a moment.

    >>> named_moment("2026-10-01", "Asia/Shanghai").isoformat()
    '2026-09-30T16:00:00+00:00'
    """
    here = zone(timezone)
    problem = "must be a day such as 2026-10-01, or a moment such as 2026-10-01T12:00Z"
    try:
        if isinstance(when, datetime):
            return parse_moment(when)
        if isinstance(when, date):
            return _midnight(when, here)
        return _moment(str(when), here)
    except OverflowError:
        raise InvalidEntry(what, [Fault("", f"{when} {_OUTSIDE}")]) from None
    except ValueError as error:
        told = f" ({error})" if isinstance(error, InvalidMoment) else ""
        raise InvalidEntry(what, [Fault("", f"{problem}{told}")]) from None


def _moment(text: str, here: ZoneInfo) -> datetime:
    return parse_moment(text) if ":" in text else _midnight(date.fromisoformat(text), here)


def _midnight(day: date, here: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=here).astimezone(UTC)


def _month(year: int, number: int, here: ZoneInfo) -> tuple[datetime, datetime]:
    """Where a month begins and ends.

    Raises:
        ValueError: there is no month of that number.
        OverflowError: the calendar does not have all of it.
    """
    if not 1 <= number <= 12:
        raise ValueError
    if year == 0:
        raise OverflowError
    first = date(year, number, 1)
    return _midnight(first, here), _midnight(_month_after(first), here)


def _month_after(day: date) -> date:
    return (day + 31 * _DAY).replace(day=1)


def zone(timezone: object) -> ZoneInfo:
    """A time zone by its name.

    Raises:
        InvalidEntry: there is none of that name.
    """
    problem = f"{str(timezone)[:40]!r} is no time zone; name one such as Europe/Berlin"
    try:
        if isinstance(timezone, str) and timezone not in {"localtime", "posixrules", "Factory"}:
            return ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    raise InvalidEntry("the time zone", [Fault("", problem)])


def day_of(when_us: int, timezone: str) -> date:
    """The day that a moment is on, in a time zone.

    >>> day_of(us(parse_moment("2026-10-01T23:30Z")), "Europe/Berlin").isoformat()
    '2026-10-02'
    """
    return _local(moment(when_us), ZoneInfo(timezone)).date()


def _local(when: datetime, here: ZoneInfo) -> datetime:
    """What the clocks of a zone show, or the last that they can."""
    try:
        return when.astimezone(here)
    except OverflowError:
        return (_FIRST if when.year == 1 else _LAST).replace(tzinfo=here)


def _utc(local: datetime) -> datetime:
    """When clocks show something, or the first or last moment there is.

    Clocks that are behind UTC cannot show its first hours: their first day begins with them.
    """
    try:
        is_first = local.replace(tzinfo=UTC) == _FIRST
        return _FIRST if is_first else local.astimezone(UTC)
    except OverflowError:
        return _FIRST if local.year == 1 else _LAST


def step_of(when_us: int, step: Step, timezone: str) -> Span:
    """The hour, day, week or month that a moment is in, in a time zone.

    >>> step_of(us(parse_moment("2026-10-01T23:30Z")), "week", "UTC").name
    '2026-W40'
    """
    return next(steps(Span("", when_us, when_us + 1, timezone), step))


def steps(span: Span, step: Step) -> Iterator[Span]:
    """The hours, days, weeks or months of a span's zone that it reaches into, in order.

    The first and the last may begin before the span or end after it. Weeks begin on Monday. A day
    has 23 or 25 hours where the clocks change.

    >>> [week.name for week in steps(span_of("2026-10"), "week")]
    ['2026-W40', '2026-W41', '2026-W42', '2026-W43', '2026-W44']
    >>> october = span_of("2026-10", "Europe/Berlin")
    >>> hours = [(day.end_us - day.start_us) // 3_600_000_000 for day in steps(october, "day")]
    >>> hours.index(25) + 1, len(hours)
    (25, 31)
    """
    here = ZoneInfo(span.timezone)
    if step == "hour":
        yield from _hours(span, here)
        return
    day: date | None = _first_day(day_of(span.start_us, span.timezone), step)
    start = _begin_us(day, here)
    while day is not None and start < span.end_us:
        after = _day_after(day, step)
        end = _begin_us(after, here)
        # A zone that crossed the date line has left out a day; where the clocks go back over
        # midnight, a day is over before they show it for the last time.
        if start < end and span.start_us < end:
            yield Span(_called(day, step), start, end, span.timezone)
        day, start = after, end


def _begin_us(day: date | None, here: ZoneInfo) -> int:
    """Where a day begins; without one, where the calendar ends."""
    return us(_LAST if day is None else _utc(datetime(day.year, day.month, day.day, tzinfo=here)))


def _hours(span: Span, here: ZoneInfo) -> Iterator[Span]:
    """Hours on the clock's face; in a night in autumn two of them bear the same time.

    Where the clocks change by half an hour, one of half an hour brings the face back.
    """
    local = _local(span.start, here)
    start = _utc(local.replace(minute=0, second=0, microsecond=0))
    while us(start) < span.end_us and start < _LAST:
        shown = _local(start, here)
        end = _hour_after(start, shown)
        if us(end) > span.start_us:
            called = f"{shown.date()}T{shown:%H:%M%z}"
            yield Span(called, us(start), us(end), span.timezone)
        start = end


def _hour_after(start: datetime, shown: datetime) -> datetime:
    """When the next hour begins, of clocks that show a time at a moment."""
    if start == _FIRST and shown.replace(tzinfo=UTC) == _FIRST:
        return (shown + _HOUR).astimezone(UTC)
    left = _HOUR - timedelta(minutes=shown.minute, seconds=shown.second)
    # The last hour that clocks can show goes on to the end of the calendar.
    if start >= _LAST - _DAY:
        last = _LAST.replace(tzinfo=shown.tzinfo)
        if start >= _LAST - left or _utc(last) <= start + left:
            return _LAST
    return start + left


def _first_day(day: date, step: Step) -> date:
    if step == "week":
        return day - day.weekday() * _DAY
    return day.replace(day=1) if step == "month" else day


def _day_after(day: date, step: Step) -> date | None:
    """The first day of the next step; None where the calendar has none."""
    try:
        if step == "month":
            return _month_after(day)
        return day + (7 * _DAY if step == "week" else _DAY)
    except OverflowError:
        return None


def _called(day: date, step: Step) -> str:
    if step == "month":
        return day.isoformat()[:7]
    year, week, _ = day.isocalendar()
    return f"{year:04d}-W{week:02d}" if step == "week" else day.isoformat()

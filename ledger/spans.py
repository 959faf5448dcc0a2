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

__all__ = ["STEPS", "Span", "Step", "between", "day_of", "named_moment", "span_of", "steps", "zone"]

Step = Literal["hour", "day", "week", "month"]
"""Equal stretches that a span is divided into."""

STEPS: tuple[str, ...] = get_args(Step)

_MONTH = re.compile(r"(\d{4})-(\d{2})", re.ASCII)
_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)


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
            year, number = int(month[1]), int(month[2])
            start, end = _midnight(date(year, number, 1), here), _next_month(year, number, here)
        else:
            first, _, last = text.partition("/")
            start, end = _moment(first, here), _moment(last, here)
    except (ValueError, OverflowError) as error:
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


def named_moment(when: object, timezone: object = "UTC") -> datetime:
    """A moment, or the beginning of a day in a time zone.

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
    except (ValueError, OverflowError) as error:
        told = f" ({error})" if isinstance(error, InvalidMoment) else ""
        raise InvalidEntry("the period", [Fault("", f"{problem}{told}")]) from None


def _moment(text: str, here: ZoneInfo) -> datetime:
    return parse_moment(text) if ":" in text else _midnight(date.fromisoformat(text), here)


def _midnight(day: date, here: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=here).astimezone(UTC)


def _next_month(year: int, number: int, here: ZoneInfo) -> datetime:
    after = (year + 1, 1) if number == 12 else (year, number + 1)
    return _midnight(date(*after, 1), here)


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
    raise InvalidEntry("the period", [Fault("timezone", problem)])


def day_of(when_us: int, timezone: str) -> date:
    """The day that a moment is on, in a time zone.

    >>> day_of(us(parse_moment("2026-10-01T23:30Z")), "Europe/Berlin").isoformat()
    '2026-10-02'
    """
    return moment(when_us).astimezone(ZoneInfo(timezone)).date()


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
    day = _first_day(day_of(span.start_us, span.timezone), step)
    start = us(_midnight(day, here))
    while start < span.end_us:
        after = _day_after(day, step)
        end = us(_midnight(after, here))
        if start < end:
            # A zone that crossed the date line has left out a day.
            yield Span(_called(day, step), start, end, span.timezone)
        day, start = after, end


def _hours(span: Span, here: ZoneInfo) -> Iterator[Span]:
    """Hours on the clock's face; in a night in autumn two of them bear the same time.

    Where the clocks change by half an hour, one of half an hour brings the face back.
    """
    local = span.start.astimezone(here)
    start = local.replace(minute=0, second=0, microsecond=0).astimezone(UTC)
    while us(start) < span.end_us:
        shown = start.astimezone(here)
        end = start + _HOUR - timedelta(minutes=shown.minute, seconds=shown.second)
        if us(end) > span.start_us:
            yield Span(f"{shown:%Y-%m-%dT%H:%M%z}", us(start), us(end), span.timezone)
        start = end


def _first_day(day: date, step: Step) -> date:
    if step == "week":
        return day - day.weekday() * _DAY
    return day.replace(day=1) if step == "month" else day


def _day_after(day: date, step: Step) -> date:
    if step == "month":
        return (day + 31 * _DAY).replace(day=1)
    return day + (7 * _DAY if step == "week" else _DAY)


def _called(day: date, step: Step) -> str:
    if step == "month":
        return f"{day:%Y-%m}"
    return f"{day:%G-W%V}" if step == "week" else day.isoformat()

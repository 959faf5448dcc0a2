"""Budgets: which jobs one counts, in which window, and whether there is room. Pure.

A job counts in the window in which it was reserved: its hold, what is charged later, and what is
refunded after that all move the same window.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, timedelta
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from functools import lru_cache
from typing import Literal, NamedTuple, get_args
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from ledger.errors import Blocked, Fault, InvalidBudget, InvalidEntry
from ledger.records import labels_text, moment, name, us
from ledger.units import divide, e8_to_credits, iso, plain

__all__ = [
    "EACH",
    "FOREVER_US",
    "STEPS",
    "Budget",
    "BudgetStatus",
    "Level",
    "Period",
    "Window",
    "budget",
    "counting",
    "counts_from",
    "fullest",
    "rebuilt",
    "rolling_frees_at",
    "statuses",
]

Period = Literal["hour", "day", "week", "month", "rolling", "job", "lifetime", "in_flight"]
"""What a budget's limit is for."""

EACH = "*"
"""As a label's value: every value of the label has the limit to itself."""

FOREVER_US = 2**62
"""End of a window that never ends."""

NO_SHARE = "[]"
"""Group of a budget that is for all."""

STEPS = 60
"""A rolling window moves in sixtieths of its length."""

_LONGEST_ROLLING_SECONDS = 366 * 86_400
_HOUR_US = 3_600_000_000


class Window(NamedTuple):
    """A stretch of time that shares one limit."""

    start_us: int
    end_us: int


_LATEST: dict[tuple[str, str], Window] = {}


@lru_cache(maxsize=4096)
def _selected(selector: str) -> tuple[tuple[str, str], ...]:
    return tuple(json.loads(selector).items())


class Level(NamedTuple):
    """How full one window of a budget is."""

    held_e8: int
    used_e8: int
    peak_e8: int
    """The highest sum of both so far."""

    @property
    def total_e8(self) -> int:
        """Credits that count against the limit."""
        return self.held_e8 + self.used_e8


class Budget(NamedTuple):
    """A limit on a wallet's spending, as it was set at one moment."""

    book: str
    wallet: str
    name: str
    seq: int
    """The entry that set it."""
    limit_e8: int
    selector: str
    """JSON object: the labels a job must have; `*` counts each value by itself."""
    period: str
    rolling_seconds: int | None
    timezone: str
    hard: int
    """1 where a job without room is refused, 0 where it is only reported."""
    thresholds: str
    """JSON array of percentages, as texts, ascending."""
    counts_from_us: int
    """Jobs reserved before this moment are not counted."""
    removed: int

    @property
    def limit(self) -> Decimal:
        """Credits it allows."""
        return e8_to_credits(self.limit_e8)

    @property
    def labels(self) -> dict[str, str]:
        """The labels a job must have."""
        return dict(_selected(self.selector))

    def group(self, labels: Mapping[str, str]) -> str | None:
        """Whose share a job with these labels takes: a JSON array, or None if it does not count.

        >>> each_user = budget("b", "main", "studio", limit_e8=1, match={"user": "*"}, period="day")
        >>> each_user.group({"user": "li", "team": "ads"}), each_user.group({"team": "ads"})
        ('["li"]', None)
        """
        each = []
        for label, wanted in _selected(self.selector):
            value = labels.get(label)
            if value is None or (wanted not in (EACH, value)):
                return None
            if wanted == EACH:
                each.append(value)
        return json.dumps(each, ensure_ascii=False, separators=(",", ":")) if each else NO_SHARE

    def whose(self, group: str) -> str:
        """A group in words.

        >>> each_user = budget("b", "main", "studio", limit_e8=1, match={"user": "*"}, period="day")
        >>> each_user.whose('["li"]')
        'user=li'
        """
        each = [label for label, wanted in self.labels.items() if wanted == EACH]
        return ", ".join(
            f"{label}={value}" for label, value in zip(each, json.loads(group), strict=True)
        )

    @property
    def facts(self) -> dict[str, object]:
        """What was asked for, as entries say it."""
        return {
            "wallet": self.wallet,
            "name": self.name,
            "limit_e8": self.limit_e8,
            "selector": self.selector,
            "period": self.period,
            "rolling_seconds": self.rolling_seconds,
            "timezone": self.timezone,
            "hard": bool(self.hard),
            "thresholds": self.thresholds,
            "removed": bool(self.removed),
        }

    @property
    def step_us(self) -> int:
        """How far a rolling window moves at a time; up, so that no window is too short."""
        return divide((self.rolling_seconds or 0) * 1_000_000, STEPS, "ceil")

    @property
    def span_us(self) -> int:
        """Length of a rolling window."""
        return self.step_us * STEPS

    def window(self, at_us: int) -> Window:
        """The window a job reserved at a moment counts in; for a rolling one, its step.

        >>> from ledger.units import parse_moment
        >>> monthly = budget("b", "main", "studio", limit_e8=1, period="month",
        ...     timezone="Europe/Berlin")
        >>> march = monthly.window(us(parse_moment("2026-03-29T12:00Z")))
        >>> moment(march.start_us).isoformat(), moment(march.end_us).isoformat()
        ('2026-02-28T23:00:00+00:00', '2026-03-31T22:00:00+00:00')
        """
        if self.period == "rolling":
            start = at_us // self.step_us * self.step_us
            return Window(start, start + self.step_us + self.span_us)
        if self.period in {"lifetime", "in_flight", "job"}:
            return Window(0, FOREVER_US)
        if self.period == "hour":
            return self._hour(at_us)
        # Nearly every job falls into the window of the one before.
        latest = _LATEST.get((self.period, self.timezone))
        if latest is None or not latest.start_us <= at_us < latest.end_us:
            latest = _LATEST[self.period, self.timezone] = self._calendar_window(at_us)
        return latest

    def _hour(self, at_us: int) -> Window:
        # Counted on the clock's face, so that each of the two hours of a night in autumn that bear
        # the same number has its own window. Where clocks move by half an hour such windows
        # overlap, so none stands for a moment but by this rule.
        offset = moment(at_us).astimezone(ZoneInfo(self.timezone)).utcoffset() or timedelta(0)
        into_us = (at_us + offset // timedelta(microseconds=1)) % _HOUR_US
        return Window(at_us - into_us, at_us - into_us + _HOUR_US)

    def end_of(self, start_us: int) -> int:
        """The end of the window that starts at a moment."""
        return start_us + _HOUR_US if self.period == "hour" else self.window(start_us).end_us

    def _calendar_window(self, at_us: int) -> Window:
        local = moment(at_us).astimezone(ZoneInfo(self.timezone))
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        if self.period == "day":
            first, after = midnight, midnight + timedelta(days=1)
        elif self.period == "week":
            first = midnight - timedelta(days=midnight.weekday())
            after = first + timedelta(days=7)
        else:
            first = midnight.replace(day=1)
            after = (first + timedelta(days=32)).replace(day=1)
        return Window(us(first.astimezone(UTC)), us(after.astimezone(UTC)))

    def counted(self, start_us: int, at_us: int) -> bool:
        """Whether a step of a rolling window still counts at a moment."""
        return start_us <= at_us < start_us + self.step_us + self.span_us

    def counts(self, reserved_at_us: int) -> bool:
        """Whether jobs reserved at a moment move a window of this budget."""
        return self.period != "job" and reserved_at_us >= self.counts_from_us

    def moved(self, level: Level, held_e8: int, used_e8: int) -> Level:
        """A level after a change; a limit on credits in flight counts no spent ones."""
        held = level.held_e8 + held_e8
        used = level.used_e8 if self.period == "in_flight" else level.used_e8 + used_e8
        return Level(held, used, max(level.peak_e8, held + used))

    def blocks(
        self, group: str, amount_e8: int, level: Level, *, frees_at_us: int | None, held_e8: int
    ) -> Blocked | None:
        """Why there is no room for an amount, or None where there is."""
        if not self.hard or level.total_e8 + amount_e8 <= self.limit_e8:
            return None
        fits = amount_e8 <= self.limit_e8 and self.period != "job"
        by_clock = frees_at_us if fits and frees_at_us and frees_at_us < FOREVER_US else None
        settles = level.total_e8 - held_e8 + amount_e8 <= self.limit_e8
        return Blocked(
            limit=self.name,
            group=self.whose(group),
            needed_e8=amount_e8,
            available_e8=max(0, self.limit_e8 - level.total_e8),
            held_e8=held_e8,
            retryable=fits and (by_clock is not None or settles),
            frees_at=None if by_clock is None else iso(moment(by_clock)),
        )

    def crossed(self, before_e8: int, after_e8: int) -> list[str]:
        """The thresholds, in percent, between two peaks."""
        return [
            percent
            for percent in json.loads(self.thresholds)
            if before_e8 < _share(self.limit_e8, percent) <= after_e8
        ]


def _share(limit_e8: int, percent: str) -> int:
    # A threshold between two units is reached with the upper one.
    numerator, denominator = Decimal(percent).as_integer_ratio()
    return divide(limit_e8 * numerator, denominator * 100, "ceil")


class BudgetStatus(NamedTuple):
    """How full a budget is now, for all jobs or for one share of it.

    >>> monthly = budget("b", "main", "studio", limit_e8=300_000_000, period="month")
    >>> status = BudgetStatus(monthly, "", 0, 1, held_e8=100_000_000, used_e8=99_999_999)
    >>> status.left, status.percent, status.over
    (Decimal('1.00000001'), Decimal('66.6'), False)
    """

    budget: Budget
    group: str
    """Whose share, such as `user=li`; empty where the budget is for all."""
    starts_us: int | None
    """Jobs reserved from this moment on count; None where all of them do."""
    ends_us: int | None
    """When the next window starts from nothing; None where none does."""
    held_e8: int
    used_e8: int

    @property
    def limit(self) -> Decimal:
        """Credits the share may hold and use together."""
        return e8_to_credits(self.budget.limit_e8)

    @property
    def held(self) -> Decimal:
        """Credits set aside by open holds that count."""
        return e8_to_credits(self.held_e8)

    @property
    def used(self) -> Decimal:
        """Credits charged and not refunded by jobs that count."""
        return e8_to_credits(self.used_e8)

    @property
    def left(self) -> Decimal:
        """Credits there is room for; never below zero."""
        return e8_to_credits(max(0, self.budget.limit_e8 - self.held_e8 - self.used_e8))

    @property
    def percent(self) -> Decimal:
        """Held and used, in percent of the limit with one decimal; of a limit of nothing, 100.

        Rounded down, so that 100.0 is only shown where nothing is left.
        """
        counted_e8, limit_e8 = self.held_e8 + self.used_e8, self.budget.limit_e8
        tenths = divide(counted_e8 * 1000, limit_e8, "floor") if limit_e8 else 1000
        return Decimal(f"{tenths}E-1")

    @property
    def over(self) -> bool:
        """Whether more counts than the limit allows, as charges above their hold can do."""
        return self.held_e8 + self.used_e8 > self.budget.limit_e8


def budget(
    title: str,
    book: str,
    wallet: str,
    *,
    limit_e8: int,
    match: Mapping[str, str] | None = None,
    period: str = "month",
    rolling_seconds: int | None = None,
    timezone: str = "UTC",
    hard: bool = True,
    thresholds: Iterable[int | str | Decimal] = (),
) -> Budget:
    """A budget, checked; it counts from the first window that is set.

    Raises:
        InvalidEntry: the name cannot be stored.
        InvalidBudget: another period than the eight; a rolling window without its length, or a
            length without one; an unknown time zone; labels that cannot be stored; thresholds
            that are no percentages.
    """
    name(title, "the name of a budget")
    faults: list[Fault] = []
    if period not in get_args(Period):
        faults.append(Fault("period", f"must be one of {', '.join(get_args(Period))}"))
    if limit_e8 < 0:
        faults.append(Fault("limit", "must not be negative"))
    faults += _rolling_faults(period, rolling_seconds)
    faults += _flag_faults(hard)
    try:
        if not isinstance(timezone, str) or timezone in _NO_ZONES:
            raise ZoneInfoNotFoundError
        ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        faults.append(Fault("timezone", _unknown_zone(timezone)))
    try:
        matched = labels_text(match)
    except InvalidEntry as error:
        matched = "{}"
        faults.append(Fault("match", str(error)))
    if isinstance(thresholds, str) or not isinstance(thresholds, Iterable):
        faults.append(Fault("thresholds", "must be a list of percentages"))
        thresholds = ()
    # A soft budget that refuses nothing and reports nothing would be no budget.
    percents, wrong = _percents(thresholds or (() if hard else (100,)))
    faults += wrong
    if faults:
        raise InvalidBudget(f"budget {title!r}", faults)
    return Budget(
        book=book,
        wallet=wallet,
        name=title,
        seq=0,
        limit_e8=limit_e8,
        selector=matched,
        period=period,
        rolling_seconds=rolling_seconds,
        timezone=timezone,
        hard=int(hard),
        thresholds=json.dumps(percents, separators=(",", ":")),
        counts_from_us=0,
        removed=0,
    )


_NO_ZONES = frozenset({"localtime", "posixrules", "Factory"})
"""Names that mean another zone on another machine, or none."""


def _unknown_zone(name_: object) -> str:
    if not isinstance(name_, str):
        return f"must be the name of a time zone, such as Europe/Berlin, not {type(name_).__name__}"
    told = name_[:40]
    if told in _NO_ZONES:
        return f"{told!r} is another zone on another machine; name one, such as Europe/Berlin"
    cities = {zone.rpartition("/")[2].casefold(): zone for zone in sorted(available_timezones())}
    near = get_close_matches(told.rpartition("/")[2].casefold().replace(" ", "_"), cities, n=1)
    hint = f"; did you mean {cities[near[0]]}?" if near else ""
    return f"{told!r} is not a known time zone{hint}"


def _flag_faults(hard: object) -> list[Fault]:
    if isinstance(hard, bool):
        return []
    return [Fault("hard", f"must be true or false, not {str(hard)[:20]!r}")]


def _rolling_faults(period: str, seconds: object) -> list[Fault]:
    if period != "rolling":
        if seconds is None:
            return []
        return [Fault("rolling_seconds", "is only for a rolling window")]
    whole = isinstance(seconds, int) and not isinstance(seconds, bool)
    if not whole or not STEPS <= int(str(seconds)) <= _LONGEST_ROLLING_SECONDS:
        problem = f"must be a whole number from {STEPS} to {_LONGEST_ROLLING_SECONDS}"
        return [Fault("rolling_seconds", problem)]
    return []


def _percents(thresholds: Iterable[int | str | Decimal]) -> tuple[list[str], list[Fault]]:
    found: dict[Decimal, str] = {}
    for given in thresholds:
        try:
            percent = Decimal(str(given)) if isinstance(given, (int, str, Decimal)) else None
        except InvalidOperation:
            percent = None
        if percent is None or not percent.is_finite() or not 0 < percent <= 1000:
            problem = f"{str(given)[:20]!r} is not a percentage from above 0 to 1000"
            if isinstance(given, float):
                problem = f"{given} is a float; give a percentage as an int, a str or a Decimal"
            return [], [Fault("thresholds", problem)]
        found[percent] = plain(percent)
    return [found[percent] for percent in sorted(found)], []


def fullest(budget_: Budget, steps: Mapping[int, Level], at_us: int) -> Level:
    """The fullest of the rolling windows that a moment is in, with the highest peak.

    A window ends at the moment itself, or at a later step: another machine's clock may be ahead,
    and what is told afterwards must not fill a window twice.
    """
    # Of several that are equally full the earliest is told, in whatever order they were read.
    ends = [at_us, *sorted(start for start in steps if at_us < start <= at_us + budget_.span_us)]
    found: Level | None = None
    for end_us in ends:
        levels = [level for start, level in steps.items() if budget_.counted(start, end_us)]
        level = Level(
            sum(item.held_e8 for item in levels),
            sum(item.used_e8 for item in levels),
            max((item.peak_e8 for item in levels), default=0),
        )
        if found is None or level.total_e8 > found.total_e8:
            found = level
    return found or Level(0, 0, 0)


def rolling_frees_at(
    budget_: Budget, steps: Sequence[tuple[int, int]], amount_e8: int
) -> int | None:
    """When a rolling window has room again if nothing else happens; `steps` are (start, total)."""
    room = budget_.limit_e8 - amount_e8 - sum(total for _, total in steps)
    for start_us, total in sorted(steps):
        room += total
        if room >= 0:
            return start_us + budget_.step_us + budget_.span_us
    return None


def counts_from(budget_: Budget, at_us: int) -> int:
    """From when on a budget that is set at a moment counts: the start of its live window."""
    if budget_.period == "rolling":
        return at_us // budget_.step_us * budget_.step_us - budget_.span_us
    return budget_.window(at_us).start_us


def counting(budget_: Budget, at_us: int) -> tuple[int, int]:
    """Where the first and the last window start that count at a moment.

    It is one window, but for a rolling one, of which every step counts that has not left.

    >>> rolling = budget("b", "main", "studio", limit_e8=1, period="rolling", rolling_seconds=60)
    >>> counting(rolling, 100_500_000)
    (40000000, 100000000)
    """
    start_us = budget_.window(at_us).start_us
    return start_us - budget_.span_us, start_us


def statuses(
    budget_: Budget, levels: Iterable[tuple[str, int, int]], at_us: int
) -> list[BudgetStatus]:
    """How full a budget is at a moment, a row per share, in the order of their words.

    `levels` are (share, held, used) of the windows that count. Where each user has the limit to
    themselves and none has a level, the one row is that of `user=*`.
    """
    sums: dict[str, tuple[int, int]] = {}
    for share, held_e8, used_e8 in levels:
        held, used = sums.get(share, (0, 0))
        sums[share] = held + held_e8, used + used_e8
    rows = sorted((budget_.whose(share), *level) for share, level in sums.items())
    if not rows:
        each = [label for label, wanted in budget_.labels.items() if wanted == EACH]
        rows = [(", ".join(f"{label}={EACH}" for label in each), 0, 0)]
    starts_us, ends_us = _limits(budget_, at_us)
    return [BudgetStatus(budget_, row[0], starts_us, ends_us, *row[1:]) for row in rows]


def _limits(budget_: Budget, at_us: int) -> tuple[int | None, int | None]:
    """From when on jobs count, and when all start from nothing again."""
    if budget_.period == "rolling":
        return counting(budget_, at_us)[0], None
    start_us, end_us = budget_.window(at_us)
    return (None, None) if end_us == FOREVER_US else (start_us, end_us)


def rebuilt(
    budget_: Budget, jobs: Iterable[tuple[str, int, int, int]]
) -> dict[tuple[str, int], tuple[int, Level]]:
    """The windows of a budget from its jobs: (labels, reserved at, held, charged − refunded).

    Gives (share, start) → (end, level).
    """
    windows: dict[tuple[str, int], tuple[int, Level]] = {}
    for labels, reserved_at_us, held_e8, used_e8 in jobs:
        if not budget_.counts(reserved_at_us):
            continue
        share = budget_.group(json.loads(labels))
        if share is None or not (held_e8 or used_e8):
            continue
        start_us, end_us = budget_.window(reserved_at_us)
        _, level = windows.get((share, start_us), (end_us, Level(0, 0, 0)))
        windows[share, start_us] = end_us, budget_.moved(level, held_e8, used_e8)
    return windows

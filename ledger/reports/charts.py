"""What a picture of a report shows: which figures, in which order, and how they are called. Pure.

Pictures in files and in the terminal are drawn from the same charts. Figures stay whole numbers
here; only places on paper are rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import accumulate, islice
from typing import Literal, NamedTuple, cast
from unicodedata import category

from ledger.errors import Fault, InvalidEntry
from ledger.reports.columns import MEASURED, Column, Unit, shown
from ledger.reports.formats import period_in_words
from ledger.reports.now import wallets_then
from ledger.reports.report import Report, span_of_facts
from ledger.spans import STEPS, Span, Step, steps
from ledger.store.then import budgets_then
from ledger.units import plain

__all__ = [
    "Chart",
    "Limit",
    "Series",
    "chart_of",
    "figure_text",
    "lengths",
    "limits_of",
    "rounded",
    "shortened",
    "tick_text",
    "told_apart",
]

MOST_BARS = 15
"""Rows that get a bar of their own; the others share one, with their sum."""

MOST_PARTS = 6
"""Values of a label that get a colour of their own over time."""

MOST_PLACES = 1200
"""Hours, days, weeks or months that a picture can show side by side.

A picture is nine inches of 150 points wide, of which about 1,200 are between its axes: with more
places than that, several would have to share a point.
"""

UNITS = {"credits": "credits", "seconds": "seconds", "money": "cash", "count": "number"}
"""Units as axes say them."""

_PREFERRED: dict[str, tuple[str, ...]] = {
    "usage": ("net",),
    "reserved": ("reserved", "charged"),
    "failures": ("ended", "failed"),
    "budgets": ("limit", "used", "held"),
    "top-ups": ("credits", "left"),
    "trial-balance": ("debits", "credits"),
}
"""The measures that a report is drawn with, where it is not the first of its credits."""

_BRIDGED = ("movements", "variance")
"""Reports whose total leads from one level to another, a column after the other."""

_LEVELS = ("closing", "net")
"""Levels that may add up by themselves; others follow from what is before them."""

_NONE = "(none)"
_BETWEEN = " / "
"""Stands between the dimensions of a row."""


class Series(NamedTuple):
    """Figures of one kind, one a category."""

    title: str
    values: tuple[int, ...]


class Limit(NamedTuple):
    """What should not be passed."""

    title: str
    value: int


@dataclass(frozen=True)
class Chart:
    """A picture before it is drawn."""

    kind: Literal["bars", "time", "bridge"]
    """Bars side by side; bars over time and their running sum; a way from one level to another."""
    title: str
    of: str
    """Of which book and time."""
    unit: Unit
    measure: str
    """What the lengths are, with their unit."""
    dimension: str
    """What the categories are."""
    categories: tuple[str, ...]
    series: tuple[Series, ...]
    stacked: bool = False
    running: tuple[int, ...] | None = None
    """The sum so far, for every category up to the last that anything is known of."""
    running_of: str = "sum so far"
    limits: tuple[Limit, ...] = ()
    note: str = ""

    levels: tuple[int, ...] = ()
    """Places of a bridge that stand on the ground; the others begin where the one before ends."""

    @property
    def ways(self) -> tuple[tuple[int, int], ...]:
        """Where each part of a bridge begins and ends."""
        found: list[tuple[int, int]] = []
        at = 0
        for place, value in enumerate(self.series[0].values):
            start = 0 if place in self.levels else at
            at = start + value
            found.append((start, at))
        return tuple(found)


def chart_of(report: Report, *, limits: Sequence[Limit] = ()) -> Chart:
    """What a picture of a report shows.

    Args:
        report: any.
        limits: lines that the running sum should stay below.

    Raises:
        InvalidEntry: the report has nothing that could be the length of a bar; it has more places
            over time than could be read.
    """
    if report.name in _BRIDGED and (bridge := _bridge(report)) is not None:
        return bridge
    is_text = [column.unit == "text" for column in report.columns]
    dimensions = list(range(is_text.index(False) if False in is_text else 0))
    measures = _measures(report)
    if not measures or not dimensions:
        problem = f"{report.name} has no figures that could be drawn; it is a table only"
        raise InvalidEntry("the picture", [Fault("", problem)])
    if report.name == "statement" and report.columns[0].name in {"entry", *STEPS}:
        return _balances(report, measures[0])
    for place in dimensions:
        if report.columns[place].name in STEPS:
            rest = [other for other in dimensions if other != place]
            return _over_time(report, place, rest, measures[0], limits)
    return _bars(report, dimensions, measures)


def _measures(report: Report) -> list[int]:
    """The places of the columns that are drawn: those that are preferred, or the first."""
    names = {column.name: place for place, column in enumerate(report.columns)}
    preferred = [names[name] for name in _PREFERRED.get(report.name, ()) if name in names]
    if preferred:
        return preferred
    for units in (("credits",), MEASURED):
        for place, column in enumerate(report.columns):
            if column.unit in units:
                return [place]
    return []


def _figure(value: object) -> int:
    return value if isinstance(value, int) else 0


# Bars


def _bars(report: Report, dimensions: Sequence[int], measures: Sequence[int]) -> Chart:
    """The largest rows and the sum of the others; stretches of age or length in their order."""
    columns = [report.columns[place] for place in dimensions]
    rows = list(report.rows)
    is_ordered = columns[0].name in {"age", "length"}
    if not is_ordered:
        rows.sort(key=lambda row: -max(abs(_figure(row[place])) for place in measures))
    kept = rows if is_ordered or len(rows) <= MOST_BARS else rows[: MOST_BARS - 1]
    rest = rows[len(kept) :]
    categories = [_called(row, dimensions) for row in kept]
    note = ""
    if rest:
        categories.append(f"{len(rest):,} others")
        sums = [sum(_figure(row[place]) for row in rest) for place in measures]
        unit = report.columns[measures[0]].unit
        figures = " and ".join(
            f"{figure_text(value, unit)} {report.columns[place].title}"
            for place, value in zip(measures, sums, strict=True)
        )
        note = f"{len(rest):,} others together: {figures}"
    series = tuple(
        Series(
            report.columns[place].title,
            tuple(
                sum(_figure(row[place]) for row in group)
                for group in (*([row] for row in kept), *([rest] if rest else []))
            ),
        )
        for place in measures
    )
    by = ", ".join(column.title for column in columns)
    return Chart(
        kind="bars",
        title=f"{report.title} by {by}",
        of=period_in_words(report),
        unit=report.columns[measures[0]].unit,
        measure=_measure(report, measures),
        dimension=by,
        categories=tuple(categories),
        series=series,
        note=note,
    )


def _called(row: Sequence[object], places: Sequence[int]) -> str:
    values = [row[place] for place in places]
    return _BETWEEN.join(_NONE if value is None else str(value) for value in values)


def _measure(report: Report, places: Sequence[int]) -> str:
    titles = ", ".join(report.columns[place].title for place in places)
    unit = UNITS[report.columns[places[0]].unit]
    return titles if unit == titles else f"{titles} ({unit})"


# Over time


def _over_time(
    report: Report, when: int, rest: Sequence[int], measure: int, limits: Sequence[Limit]
) -> Chart:
    """Every step of the span, those in which nothing happened as well, and the sum so far."""
    step = cast("Step", report.columns[when].name)
    dated = [row for row in report.rows if row[when] is not None]
    # Where all of an empty book was asked for, there is no time at all.
    is_known = bool(dated) or report.asked.span is not None
    stretches = _stretches(report, step, [row[when] for row in dated]) if is_known else []
    names = [each.name for each in stretches]
    place_of = {name: place for place, name in enumerate(names)}
    parts: dict[str, list[int]] = {}
    for row in dated:
        part = _called(row, rest)
        values = parts.setdefault(part, [0] * len(names))
        values[place_of[str(row[when])]] += _figure(row[measure])
    column = report.columns[measure]
    whole = [sum(values) for values in zip(*parts.values(), strict=True)] or [0] * len(names)
    by = [step, *(report.columns[place].title for place in rest)]
    return Chart(
        kind="time",
        title=f"{report.title} by {', '.join(by)}",
        of=period_in_words(report),
        unit=column.unit,
        measure=_measure(report, [measure]),
        dimension=step,
        categories=tuple(names),
        series=_parts(parts, whole, column) if rest else (Series(column.title, tuple(whole)),),
        stacked=True,
        running=tuple(accumulate(whole))[: _known(report, stretches)],
        limits=tuple(limits),
    )


def _stretches(report: Report, step: Step, names: Iterable[str]) -> list[Span]:
    """The steps of a report's span; those of its facts as well, where it is but a moment.

    Raises:
        InvalidEntry: there are more than could be read.
    """
    span = report.span
    found = _readable(span, step)
    if report.facts is None or {each.name for each in found}.issuperset(names):
        return found
    of_facts = span_of_facts(replace(report.asked, span=None), report.facts)
    return _readable(
        span._replace(
            start_us=min(span.start_us, of_facts.start_us),
            end_us=max(span.end_us, of_facts.end_us),
        ),
        step,
    )


def _readable(span: Span, step: Step) -> list[Span]:
    found = list(islice(steps(span, step), MOST_PLACES + 1))
    if len(found) <= MOST_PLACES:
        return found
    length_us = span.end_us - span.start_us
    longer = STEPS[STEPS.index(step) + 1 :]
    fitting = [each for each in longer if length_us // _STEP_US[each] < MOST_PLACES]
    instead = f", or longer steps such as --by {fitting[0]}" if fitting else ""
    problem = (
        f"would have about {length_us // _STEP_US[step]:,} {step}s side by side, of which"
        f" {MOST_PLACES:,} can be told apart; name a shorter period{instead}"
    )
    raise InvalidEntry("the picture", [Fault("", problem)])


_HOUR_US = 3_600 * 10**6
_STEP_US = {
    "hour": _HOUR_US,
    "day": 24 * _HOUR_US,
    "week": 7 * 24 * _HOUR_US,
    # A twelfth of the 365.2425 days that a year of the calendar has in the mean.
    "month": 3_652_425 * 24 * _HOUR_US // 120_000,
}
"""How long steps are, near enough to say how many there would be."""


def _balances(report: Report, measure: int) -> Chart:
    """What a wallet had after each entry or step, from its opening balance on."""
    opening, *rows = report.rows
    column, dimension = report.columns[measure], report.columns[0]
    values = [_figure(row[measure]) for row in rows]
    names = [str(row[0]) for row in rows]
    if dimension.name in STEPS:
        found = dict(zip(names, values, strict=True))
        names = [each.name for each in _stretches(report, cast("Step", dimension.name), found)]
        values = [found.get(name, 0) for name in names]
    return Chart(
        kind="time",
        title=f"{report.title} by {dimension.title}",
        of=period_in_words(report),
        unit=column.unit,
        measure=_measure(report, [measure]),
        dimension=dimension.title,
        categories=tuple(names),
        series=(Series(column.title, tuple(values)),),
        stacked=True,
        running=tuple(accumulate(values, initial=_figure(opening[measure])))[1:],
        running_of="in the wallet",
    )


def _known(report: Report, stretches: Sequence[Span]) -> int:
    """How many of them began before the last entry: a month that runs on is not flat to its end."""
    until_us = report.asked.known_until_us
    begun = [each for each in stretches if until_us is None or each.start_us <= until_us]
    return max(len(begun), 1)


def _parts(parts: dict[str, list[int]], whole: list[int], column: Column) -> tuple[Series, ...]:
    """The largest parts in a colour each, the others together."""
    if not parts:
        return (Series(column.title, tuple(whole)),)
    largest = sorted(parts, key=lambda part: (-sum(map(abs, parts[part])), part))
    kept = largest if len(largest) <= MOST_PARTS else largest[: MOST_PARTS - 1]
    series = [Series(part, tuple(parts[part])) for part in kept]
    if rest := [parts[part] for part in largest[len(kept) :]]:
        together = tuple(sum(values) for values in zip(*rest, strict=True))
        series.append(Series(f"{len(rest):,} others", together))
    return tuple(series)


# From one level to another


def _bridge(report: Report) -> Chart | None:
    """The total of a report whose columns lead from a level to another; None if they do not."""
    if report.total is None:
        return None
    found, levels, at = list[tuple[str, int]](), list[int](), 0
    for column, value in zip(report.columns, report.total, strict=True):
        if column.unit != "credits" or not isinstance(value, int):
            continue
        is_level = column.worked_out is not None or column.name in _LEVELS
        if not found or (is_level and value == at):
            levels.append(len(found))
            at = 0
        elif not value:
            continue
        found.append((column.title, value))
        at += value
    if len(levels) < 2:
        return None
    found = found[: levels[-1] + 1]
    return Chart(
        kind="bridge",
        title=report.title,
        of=period_in_words(report),
        unit="credits",
        measure="credits",
        dimension="",
        categories=tuple(title for title, _ in found),
        series=(Series(report.title, tuple(value for _, value in found)),),
        levels=tuple(levels),
    )


# Limits


def limits_of(report: Report) -> tuple[Limit, ...]:
    """The budgets that are for all of a report: of its wallet or the only one, and of its span.

    A budget counts jobs by when they were reserved, a report by when they were charged. Where a
    report is of what was known at a moment, so are the wallets and their budgets.
    """
    asked, span = report.asked, report.asked.span
    if span is None or report.name != "usage":
        return ()
    with asked.book.looking() as session:
        wallets = [(record, place) for record, place in wallets_then(session, asked) if place]
        if len(wallets) != 1:
            return ()
        budgets = budgets_then(session, *wallets[0])
    found = []
    for budget in budgets:
        if budget.labels or budget.period not in {"hour", "day", "week", "month"}:
            continue
        if tuple(budget.window(span.start_us)) == (span.start_us, span.end_us):
            found.append(Limit(f"budget {budget.name}", budget.limit_e8))
    return tuple(sorted(found, key=lambda limit: (limit.value, limit.title)))


# Words


def shortened(text: str, most: int) -> str:
    r"""A label on one line, not longer than a number of characters, without what is not seen.

    >>> shortened("a very long label", 8), shortened("two\nlines", 20)
    ('a very …', 'two lines')
    """
    plain = "".join(_visible(char) for char in text)
    line = " ".join(plain.split())
    return line if len(line) <= most else line[: most - 1] + "…"


def told_apart(
    names: Sequence[str], most: int, width: Callable[[str], int] = len
) -> tuple[str, ...]:
    """Labels on one line each, not longer than something, with what tells them apart.

    A label that is too long loses its end; its middle, if it has several parts or would look like
    another one without its end.

    Args:
        names: the labels.
        most: how long they may be.
        width: how long a text is.

    >>> told_apart(["a very long label", "model / 00-05 s", "short"], 10)
    ('a very lo…', 'model…05 s', 'short')
    >>> told_apart(["the same-1", "the same-2"], 8)
    ('the…e-1', 'the…e-2')
    """
    lines = [shortened(name, 400) for name in names]
    cut = [_cut(line, most, 0, width) for line in lines]
    return tuple(
        _cut(line, most, (most - 1) // 2, width)
        if _BETWEEN in line or cut.count(short) > 1
        else short
        for line, short in zip(lines, cut, strict=True)
    )


def _cut(line: str, most: int, tail: int, width: Callable[[str], int]) -> str:
    """A line that is not longer than something, of which an end of a length is kept."""
    if width(line) <= most:
        return line
    end, place = "", len(line)
    while place and width(line[place - 1] + end) <= tail:
        place -= 1
        end = line[place:]
    begin = ""
    for char in line:
        if width(begin + char) > most - 1 - width(end):
            break
        begin += char
    return f"{begin.rstrip()}…{end.lstrip()}"


def _visible(char: str) -> str:
    kind = category(char)
    if kind in {"Zl", "Zp", "Cc"}:
        return " "
    # Marks that turn the direction of writing would turn that of the whole picture; those that
    # join letters or keep them apart are part of the word.
    is_part = char in "\u200c\u200d"
    return "" if kind in {"Cf", "Cs", "Cn"} and not is_part else char


def figure_text(value: int, unit: Unit) -> str:
    """A figure as pictures write it: thousands marked, every digit that counts.

    >>> figure_text(123_456_050_000_000, "credits")
    '1,234,560.5'
    """
    return f"{Decimal(shown(value, unit)):,f}"


def tick_text(value: object) -> str:
    """A place on an axis, with thousands marked.

    >>> tick_text(-2_500_000), tick_text(1 / 4)
    ('−2,500,000', '0.25')
    """
    number = Decimal(format(value, ".12g")).normalize()
    return f"{number:,f}".replace("-", "\N{MINUS SIGN}")


def lengths(values: Sequence[int], unit: Unit) -> list[float]:
    """Places on paper, in whole credits, seconds or pieces: the only figures that are rounded."""
    return [value / 10 ** _DIGITS.get(unit, 0) for value in values]


_DIGITS = {"credits": 8, "money": 8, "seconds": 9}


def rounded(value: int, unit: Unit) -> str:
    """A figure beside a bar: two decimals are enough to look at, small ones keep three digits.

    >>> rounded(123_456_789_000_000, "credits"), rounded(123_456, "credits")
    ('1,234,567.89', '0.00123')
    """
    exact = Decimal(value).scaleb(-_DIGITS.get(unit, 0))
    places = 2 if abs(exact) >= 1 or not exact else 2 - exact.adjusted()
    return f"{Decimal(plain(round(exact, places))):,f}".replace("-", "\N{MINUS SIGN}")

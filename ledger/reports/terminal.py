"""Reports as pictures made of letters, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor, log10
from shutil import get_terminal_size
from threading import Lock
from typing import Any

from rich.cells import cell_len, set_cell_size

from ledger.errors import MissingExtra
from ledger.reports.charts import (
    Chart,
    Limit,
    Series,
    chart_of,
    lengths,
    rounded,
    shortened,
    tick_text,
    told_apart,
)
from ledger.reports.report import Report

try:
    import plotext  # type: ignore[import-untyped]
except ModuleNotFoundError:
    raise MissingExtra("plots", "a picture of a report") from None

__all__ = ["plot_text"]

_DRAWING = Lock()
"""There is one figure for the whole process."""

_SIGNS = "█▓▒░#+"
"""One for each series: they can be told apart without colours as well."""

_COLOURS = (33, 214, 36, 175, 117, 246)
"""Blue, orange, green, purple, sky, grey of a terminal's 256; as near as there is to Okabe-Ito."""

_LEAST_WIDTH = 24
_TICK_CELLS = 12
"""Room that a place on an axis needs."""


def plot_text(
    report: Report,
    width: int | None = None,
    height: int | None = None,
    *,
    limits: Sequence[Limit] = (),
    colours: bool = False,
) -> str:
    """A report as a picture of lines of text.

    Args:
        report: any that has figures which can be drawn.
        width: the most cells in a line; as many as the terminal has, if None.
        height: lines of what is drawn over time; bars have as many lines as they need.
        limits: lines that the running sum of a report over time should stay below.
        colours: whether to write colours as well.

    Raises:
        InvalidEntry: the report cannot be drawn.
    """
    chart = chart_of(report, limits=limits)
    room = max(_LEAST_WIDTH, get_terminal_size().columns if width is None else width)
    lines = [*_wrapped(chart.title, room), *_wrapped(chart.of, room), ""]
    if not chart.categories:
        lines += _wrapped("nothing of this is in the book for that time", room)
    else:
        with _DRAWING:
            draw = {"bars": _bars, "time": _time, "bridge": _bridge}[chart.kind]
            lines += draw(chart, room, height or 24, colours=colours)
    if len(chart.series) > 1 and chart.categories:
        lines += ["", *_legend(chart.series, room, colours=colours)]
    if chart.note:
        lines += ["", *_wrapped(chart.note, room)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _wrapped(text: str, width: int) -> list[str]:
    """Words in lines, none of them too long."""
    lines = [""]
    for word in shortened(text, 400).split():
        joined = f"{lines[-1]} {word}".lstrip()
        if cell_len(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(_cut(word, width))
    return [line for line in lines if line]


def _cut(text: str, cells: int) -> str:
    """A label in not more than some cells, of which wide letters take two."""
    line = shortened(text, 400)
    return line if cell_len(line) <= cells else set_cell_size(line, cells - 1).rstrip() + "…"


def _legend(series: Sequence[Series], width: int, *, colours: bool) -> list[str]:
    lines = []
    for place, each in enumerate(series):
        sign = _SIGNS[place] * 2
        if colours:
            sign = f"\x1b[38;5;{_COLOURS[place]}m{sign}\x1b[0m"
        lines.append(f"{sign} {_cut(each.title, width - 3)}")
    return lines


# Drawing


def _figure(width: int, height: int) -> Any:
    """An empty figure of an exact size, on whatever the terminal's ground is."""
    figure = plotext.figure
    figure.clear.all()
    plotext.terminal.limit(width=False, height=False)
    figure.plot_size(width, height)
    figure.theme("simple")
    figure.canvas("default")
    # Nothing is drawn above and to the right.
    figure.axes(active=False, axis=[0, 1], side=1)
    return figure


def _marker(place: int, sign: str | None = None) -> Any:
    return plotext.marker(sign or _SIGNS[place], plotext.pixel(foreground=_COLOURS[place]))


def _built(figure: Any, *, colours: bool) -> list[str]:
    text = figure.build().string()
    return list((text if colours else plotext.uncolorize(text)).splitlines())


def _bars(chart: Chart, width: int, height: int, *, colours: bool) -> list[str]:  # noqa: ARG001
    """One line a bar, with its figure to the left of it, and a line between rows of several."""
    each = len(chart.series)
    rows = [
        (place, number)
        for place in range(len(chart.categories))
        for number in range(each + (each > 1))
    ][: None if each == 1 else -1]
    figures = [[rounded(value, chart.unit) for value in item.values] for item in chart.series]
    wide = max(cell_len(text) for texts in figures for text in texts)
    names = min(
        max(cell_len(shortened(name, 400)) for name in chart.categories),
        max(4, width // 2 - wide),
    )
    titles = told_apart(chart.categories, names, cell_len)
    labels = [
        f"{set_cell_size(titles[place] if number == 0 else '', names)}"
        f" {figures[number][place]:>{wide}}"
        for place, number in rows
        if number < each
    ]
    ys = [len(rows) - at for at, (_, number) in enumerate(rows) if number < each]
    values = [
        length
        for places in zip(*(lengths(item.values, chart.unit) for item in chart.series), strict=True)
        for length in places
    ]
    figure = _figure(width, len(rows) + 3)
    _one_line_each(figure, len(rows))
    _measured(figure, "x", values, width - names - wide)
    for at, (y, value) in enumerate(zip(ys, values, strict=True)):
        bar = figure.bar([y], [value], orientation="h", marker=_marker(at % each), width=1 / 4)
        figure.draw(bar)
    figure.ruler("y", 0).ticks(ys, labels=labels)
    figure.label(_cut(chart.measure, width - names - wide), "x")
    return _built(figure, colours=colours)


def _one_line_each(figure: Any, rows: int) -> None:
    """Put the whole numbers from 1 on in the middle of one line each."""
    figure.ruler("y", 0).lim(*((1, rows) if rows > 1 else (0, 2)))


def _time(chart: Chart, width: int, height: int, *, colours: bool) -> list[str]:
    """Above the sum so far and its limits, below what was added to it in each step."""
    running = lengths(chart.running or (), chart.unit)
    limits = lengths([limit.value for limit in chart.limits], chart.unit)
    figure = _dated(chart, width, max(6, height // 2 - 1))
    _measured(figure, "y", [*running, *limits], max(6, height // 2 - 1) * 3)
    ends = [-1 / 2, len(chart.categories) - 1 / 2]
    lines_ = [(ends, [limit] * 2, _marker(1, "-")) for limit in limits]
    for places, heights, marker in [
        *lines_,
        (list(range(len(running))), running, _marker(0, "hd")),
    ]:
        figure.draw(figure.signal(places, heights, marker=marker).lines(True))  # noqa: FBT003
    lines = [
        *_wrapped(f"{chart.measure}: {chart.running_of}", width),
        *_built(figure, colours=colours),
    ]
    for limit in chart.limits:
        text = f"line: {limit.title}, {rounded(limit.value, chart.unit)}"
        lines += _wrapped(text, width)
    figure = _dated(chart, width, max(6, height - height // 2 - 1))
    parts = [lengths(item.values, chart.unit) for item in chart.series]
    sums = [sum(values) for values in zip(*parts, strict=True)]
    _measured(figure, "y", sums, max(6, height // 2 - 1) * 3)
    starts = [0 / 1] * len(sums)
    for place, values in enumerate(parts):
        ends = [start + value for start, value in zip(starts, values, strict=True)]
        bar = figure.bar(list(range(len(ends))), starts, ends, marker=_marker(place), width=4 / 5)
        figure.draw(bar)
        starts = ends
    _ticks(figure, chart, width)
    text = f"{chart.measure}: in each {chart.dimension}"
    return [*lines, "", *_wrapped(text, width), *_built(figure, colours=colours)]


def _dated(chart: Chart, width: int, height: int) -> Any:
    figure = _figure(width, height)
    figure.ruler("x", 0).lim(-1 / 2, len(chart.categories) - 1 / 2)
    _ticks(figure, chart, width)
    return figure


def _ticks(figure: Any, chart: Chart, width: int) -> None:
    """As many dates as there is room for."""
    names = chart.categories
    room = max(1, (width - _TICK_CELLS) // (max(map(len, names)) + 2))
    places = list(range(0, len(names), -(-len(names) // room)))
    figure.ruler("x", 0).ticks(places, labels=[names[place] for place in places])


def _bridge(chart: Chart, width: int, height: int, *, colours: bool) -> list[str]:  # noqa: ARG001
    """From the first level to the last, each step beginning where the one before it ended."""
    values = chart.series[0].values
    rows = chart.ways
    figures = [rounded(value, chart.unit) for value in values]
    wide = max(map(cell_len, figures))
    names = min(max(map(cell_len, chart.categories)), max(4, width // 2 - wide))
    figure = _figure(width, len(rows) + 3)
    _one_line_each(figure, len(rows))
    flat = lengths([place for row in rows for place in row], chart.unit)
    _measured(figure, "x", flat, width - names - wide)
    for at, row in enumerate(rows):
        start, end = lengths(row, chart.unit)
        is_level = at in chart.levels
        sign = _marker(0 if is_level else 2 if end >= start else 1)
        y = len(rows) - at
        figure.draw(figure.bar([y], [start], [end], orientation="h", marker=sign, width=1 / 4))
    labels = [
        f"{set_cell_size(_cut(name, names), names)} {text:>{wide}}"
        for name, text in zip(chart.categories, figures, strict=True)
    ]
    figure.ruler("y", 0).ticks(list(range(len(rows), 0, -1)), labels=labels)
    figure.label(chart.measure, "x")
    return _built(figure, colours=colours)


def _measured(figure: Any, axis: str, values: Sequence[float], room: int) -> None:
    """Limits that all figures are between, and round places with thousands marked."""
    lowest, highest = min(0, *values), max(0, *values)
    if lowest == highest:
        highest = 1
    step = _step(highest - lowest, max(1, room // _TICK_CELLS))
    places = [number * step for number in range(floor(lowest / step), ceil(highest / step) + 1)]
    ruler = figure.ruler(axis, 0)
    ruler.lim(min(lowest, places[0]), max(highest, places[-1]))
    ruler.ticks(places, labels=[tick_text(place) for place in places])


def _step(length: float, most: int) -> float:
    """One, two or five of a power of ten, so that not more than some of them are in a length."""
    power: float = 10 ** floor(log10(length / most))
    return next(size * power for size in (1, 2, 5, 10) if size * power * most >= length)

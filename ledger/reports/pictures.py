"""Reports as pictures, for files and pages. The same report, the same bytes.

Colours are those of M. Okabe and K. Ito, Color Universal Design, 2008
(https://jfly.uni-koeln.de/color/), which people with any kind of colour blindness can tell apart.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from ledger.errors import Fault, InvalidEntry, MissingExtra
from ledger.reports.charts import (
    Chart,
    Limit,
    chart_of,
    lengths,
    rounded,
    shortened,
    tick_text,
    told_apart,
)
from ledger.reports.report import Report

try:
    import matplotlib as mpl
    from matplotlib import font_manager
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, MaxNLocator
except ModuleNotFoundError:
    raise MissingExtra("plots", "a picture of a report") from None

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["COLOURS", "figure_of", "inline_svg", "picture"]

COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#999999")
"""Blue, orange, green, purple, sky; grey is left to the others."""

LIMIT = "#d55e00"
"""Vermilion, with a line of its own kind."""

# What stands for ink, lines and paper can be told from every other colour, so that a page can
# replace it by its own, light or dark.
PAPER_OTHERS = "#c9c9c9"
INK, RULE, PAPER = "#1b1b1a", "#d8d8d7", "#fefefd"
_ON_A_PAGE = {INK: "currentColor", RULE: "var(--rule)", PAPER: "var(--paper)"}

_MOST_LABEL = 36
_MOST_SIDEWAYS = 15
_MOST_TICKS = 11
_MOST_SINGLE = 100
"""Bars that are drawn one by one."""
_POINT_PX = 150
"""Points of a picture in an inch."""

_DRAWING = Lock()
"""Settings of matplotlib are those of the whole process."""

_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Source Han Sans SC"),
    *("PingFang SC", "Hiragino Sans", "Microsoft YaHei", "SimHei", "WenQuanYi Zen Hei"),
    *("Malgun Gothic", "Apple SD Gothic Neo", "Noto Sans Devanagari", "Noto Sans Thai"),
    "Arial Unicode MS",
)
"""Asked, in this order, for what DejaVu Sans cannot write; what none can write is a box."""

_SETTINGS: Any = {
    "axes.edgecolor": RULE,
    "axes.facecolor": PAPER,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.unicode_minus": True,
    "figure.dpi": _POINT_PX,
    "figure.facecolor": PAPER,
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 10,
    "grid.color": RULE,
    "legend.frameon": False,
    "patch.linewidth": 1,
    "svg.fonttype": "none",
    "text.color": INK,
    # A label may have dollars in it, and is no formula.
    "text.parse_math": False,
    "xtick.color": RULE,
    "xtick.labelcolor": INK,
    "ytick.color": RULE,
    "ytick.labelcolor": INK,
}


def picture(report: Report, to: Path | str, *, limits: Sequence[Limit] = ()) -> bytes:
    """A report as a picture.

    Args:
        report: any that has figures which can be drawn.
        to: `png` or `svg`, or a file that ends in one of them; nothing is written there.
        limits: lines that the running sum of a report over time should stay below.

    Raises:
        InvalidEntry: neither of the two; the report cannot be drawn.
    """
    return drawn(chart_of(report, limits=limits), _kind_of(to))


def _kind_of(to: Path | str) -> str:
    kind = str(to).rpartition(".")[2].lower()
    if kind not in {"png", "svg"}:
        problem = f"{str(to)[-40:]!r} is no picture; name a file that ends in .png or .svg"
        raise InvalidEntry("the picture", [Fault("", problem)])
    return kind


def drawn(chart: Chart, kind: str) -> bytes:
    """A chart as the bytes of a PNG or SVG."""
    file = BytesIO()
    with _settings(chart):
        figure = _figure_of(chart)
        # No date and no program in it: the same data make the same bytes.
        metadata = {"Software": None} if kind == "png" else dict.fromkeys(("Date", "Creator"))
        figure.savefig(file, format=kind, metadata=metadata)
    return file.getvalue()


def inline_svg(chart: Chart, name: str) -> str:
    """A chart as a piece of a page, which says itself what it is of, in the page's colours.

    Args:
        chart: what to draw.
        name: of the picture, different for every one of the page.
    """
    text = drawn(replace(chart, title="", of=""), "svg").decode()
    body = text[text.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>\s*|<style.*?</style>\s*", "", body, flags=re.DOTALL)
    # Only what is referred to keeps its name, which no other picture may have.
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{name}-", body)
    for colour, own in _ON_A_PAGE.items():
        body = body.replace(colour, own)
    size = re.search(r'width="(\d+)', body)
    width = "" if size is None else f' style="max-width: {int(size[1]) * 4 // 3}px"'
    opening = re.sub(r' (?:width|height|xmlns:xlink)="[^"]*"', "", body[: body.index(">") + 1])
    if "xlink:href" in body:
        body = body.replace("xlink:href", "href")
    return f'{opening[:-1]} aria-hidden="true"{width}>{body[body.index(">") + 1 :]}'.rstrip()


def figure_of(report: Report, *, limits: Sequence[Limit] = ()) -> Figure:
    """The picture of a report before it is written, so that more can be made of it.

    Raises:
        InvalidEntry: the report cannot be drawn.
    """
    chart = chart_of(report, limits=limits)
    with _settings(chart):
        return _figure_of(chart)


@contextmanager
def _settings(chart: Chart) -> Iterator[None]:
    """Matplotlib as it is without anybody's own settings, but ours."""
    with _DRAWING, mpl.rc_context(), warnings.catch_warnings():
        # What no font can write is a box; in an SVG it is the reader's fonts that write.
        warnings.filterwarnings("ignore", message=r"Glyph \d+", category=UserWarning)
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        mpl.rcParams["font.family"] = ["sans-serif", *_fonts_for(_texts(chart))]
        mpl.rcParams["svg.hashsalt"] = chart.title
        yield


def _texts(chart: Chart) -> str:
    return "".join([chart.title, chart.of, *chart.categories, *(each[0] for each in chart.series)])


def _fonts_for(text: str) -> list[str]:
    """Further fonts, where the one that comes with matplotlib cannot write it all."""
    missing = {ord(char) for char in text} - _dejavu()
    if not missing:
        return []
    known = set(font_manager.fontManager.get_font_names())
    return [name for name in _FONTS if name in known]


@cache
def _dejavu() -> frozenset[int]:
    path = font_manager.findfont("DejaVu Sans")
    return frozenset(font_manager.get_font(path).get_charmap()) | {10, 9}


# Drawing


def _figure_of(chart: Chart) -> Figure:
    if not chart.categories:
        return _nothing(chart)
    draw = {"bars": _bars, "time": _time, "bridge": _bridge}[chart.kind]
    return draw(chart)


def _new(chart: Chart, tenths: int) -> Figure:
    """A picture nine inches wide, with what it is of above it, and a height in tenths of one."""
    figure = Figure(figsize=(9, tenths / 10))
    figure.set_layout_engine("constrained", w_pad=1 / 8, h_pad=1 / 10)
    if chart.title:
        title = shortened(chart.title, 80)
        figure.suptitle(title, x=1 / 72, ha="left", fontsize="large", fontweight="bold")
    return figure


def _nothing(chart: Chart) -> Figure:
    figure = _new(chart, 20)
    axes = _plain(figure.subplots(), chart)
    axes.set_axis_off()
    axes.text(0, 1 / 2, "nothing of this is in the book for that time")
    return figure


def _plain(axes: Axes, chart: Chart | None = None) -> Axes:
    if chart is not None and chart.of:
        axes.set_title(shortened(chart.of, 110), loc="left", fontsize="small")
    axes.set_axisbelow(True)
    return axes


def _bars(chart: Chart) -> Figure:
    """Bars to the right, so that long labels can be read; each with its figure."""
    number, each = len(chart.categories), len(chart.series)
    figure = _new(chart, 14 + number * (2 + 2 * each))
    axes = _plain(figure.subplots(), chart)
    thickness, others = 4 / 5 / each, 1 if chart.note else 0
    for place, series in enumerate(chart.series):
        offset = (place - (each - 1) / 2) * thickness
        bars = axes.barh(
            [row + offset for row in range(number)],
            lengths(series.values, chart.unit),
            height=thickness,
            color=[*[COLOURS[place]] * (number - others), *[_fainter(place)] * others],
            label=shortened(series.title, _MOST_LABEL),
        )
        figures = [rounded(value, chart.unit) for value in series.values]
        axes.bar_label(bars, figures, padding=4, fontsize="small")
    labels = told_apart(chart.categories, _MOST_LABEL)
    axes.set_yticks(range(number), labels)
    axes.set_ylim(number - 2 / 5, -3 / 5)
    if len(chart.dimension) < _MOST_SIDEWAYS:
        axes.set_ylabel(shortened(chart.dimension, _MOST_LABEL))
    axes.margins(x=1 / 8)
    axes.tick_params(axis="y", length=0)
    _measured(axes.xaxis, axes.set_xlabel, chart)
    _say(figure, axes, chart)
    return figure


def _fainter(place: int) -> str:
    """The colour of what is no row of its own."""
    return COLOURS[-1] if place == 0 else PAPER_OTHERS


def _time(chart: Chart) -> Figure:
    """Above the sum so far and its limits, below what was added to it in each step."""
    figure = _new(chart, 62)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 4))
    _plain(above, chart)
    _plain(below)
    running = lengths(chart.running or (), chart.unit)
    places = range(len(running))
    above.plot(places, running, color=INK, linewidth=2, label="so far")
    above.fill_between(places, running, 0, color=COLOURS[0], alpha=1 / 6, linewidth=0)
    if len(places) == 1:
        above.plot(places, running, "o", color=INK)
    limits = lengths([limit.value for limit in chart.limits], chart.unit)
    for limit, height in zip(chart.limits, limits, strict=True):
        text = f"{shortened(limit.title, _MOST_LABEL)}: {rounded(limit.value, chart.unit)}"
        above.axhline(height, color=LIMIT, linestyle="--", linewidth=2)
        above.annotate(
            text,
            (0, height),
            xycoords=("axes fraction", "data"),
            xytext=(6, 4),
            textcoords="offset points",
            fontsize="small",
        )
    lowest, highest = min(0, *running), max(0, *running, *limits)
    room = (highest - lowest) / (6 if limits else 12) or 1
    above.set_ylim(lowest - (room if lowest < 0 else 0), highest + room)
    _measured(above.yaxis, above.set_ylabel, chart, chart.running_of)
    _stack(below, chart)
    _dated(below, chart)
    _measured(below.yaxis, below.set_ylabel, chart, f"in each {chart.dimension}")
    figure.align_ylabels()
    _say(figure, below, chart)
    return figure


def _stack(axes: Axes, chart: Chart) -> None:
    """Bars on each other; what is above zero upwards, what is below it downwards."""
    number = len(chart.categories)
    ups, downs = [0 / 1] * number, [0 / 1] * number
    for place, series in enumerate(chart.series):
        values = lengths(series.values, chart.unit)
        starts = [(ups if value >= 0 else downs)[at] for at, value in enumerate(values)]
        ends = [start + value for start, value in zip(starts, values, strict=True)]
        label = shortened(series.title, _MOST_LABEL)
        if number > _MOST_SINGLE:
            # One outline instead of hundreds of bars.
            axes.fill_between(
                range(number), starts, ends, step="mid", color=COLOURS[place], lw=0, label=label
            )
        else:
            # What is nothing would leave a mark on the ground; one bar is there for the legend.
            drawn_at = [at for at, value in enumerate(values) if value] or [0]
            axes.bar(
                drawn_at,
                [values[at] for at in drawn_at],
                bottom=[starts[at] for at in drawn_at],
                width=4 / 5,
                color=COLOURS[place],
                edgecolor=PAPER,
                linewidth=1 / 2,
                label=label,
            )
        for at, end in enumerate(ends):
            (ups if values[at] >= 0 else downs)[at] = end
    lowest, highest = min(downs), max(ups)
    room = (highest - lowest) / 16 or 1
    axes.set_ylim(lowest - (room if lowest < 0 else 0), highest + room)


def _dated(axes: Axes, chart: Chart) -> None:
    """As many dates as there is room for; their year stands once."""
    names = chart.categories
    room = _MOST_TICKS // 2 if chart.dimension == "hour" else _MOST_TICKS
    step = -(-len(names) // room)
    places = range(0, len(names), step)
    year = names[0][:4]
    is_one = chart.dimension in {"hour", "day", "week"} and all(name[:4] == year for name in names)
    texts = [names[place] for place in places]
    if is_one:
        texts = [text[5:16].replace("T", " ") for text in texts]
    axes.set_xticks(places, texts, fontsize="small")
    axes.set_xlim(-3 / 5, len(names) - 2 / 5)
    axes.set_xlabel(f"{chart.dimension} of {year}" if is_one else chart.dimension)


def _bridge(chart: Chart) -> Figure:
    """From the first level to the last, what is added and taken away in between."""
    figure = _new(chart, 50)
    axes = _plain(figure.subplots(), chart)
    for place, (way, value) in enumerate(zip(chart.ways, chart.series[0].values, strict=True)):
        start, end = lengths(way, chart.unit)
        is_level = place in chart.levels
        colour = COLOURS[0] if is_level else COLOURS[2] if value >= 0 else LIMIT
        bar = axes.bar([place], [end - start], bottom=[start], color=colour, width=3 / 5)
        sign = "+" if value > 0 and not is_level else ""
        axes.bar_label(bar, [sign + rounded(value, chart.unit)], padding=3, fontsize="small")
        if place + 1 < len(chart.ways):
            axes.plot([place, place + 1], [end, end], color=INK, linewidth=1, zorder=0)
    texts = [shortened(name, 14) for name in chart.categories]
    axes.set_xticks(range(len(texts)), texts, fontsize="small")
    places = lengths([0, *(at for way in chart.ways for at in way)], chart.unit)
    room = (max(places) - min(places)) / 12 or 1
    axes.set_ylim(min(places) - (room if min(places) < 0 else 0), max(places) + room)
    _measured(axes.yaxis, axes.set_ylabel, chart)
    return figure


def _measured(axis: Any, label: Any, chart: Chart, what: str | None = None) -> None:
    """Round places on an axis, with thousands marked and the unit beside it."""
    axis.set_major_locator(MaxNLocator(6, integer=chart.unit == "count"))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick_text(value)))
    axis.grid(visible=True)
    label(chart.measure if what is None else f"{chart.measure}\n{what}")


def _say(figure: Figure, axes: Axes, chart: Chart) -> None:
    """Which colour is what, and what is to be said of the picture."""
    if len(chart.series) > 1:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize="small", borderaxespad=1)
    if chart.note:
        figure.supxlabel(chart.note, x=1 / 72, ha="left", fontsize="small")

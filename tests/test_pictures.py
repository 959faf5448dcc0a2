"""Pictures of reports: what they show, that they are the same every time, and that labels fit."""

from __future__ import annotations

import re
import shlex
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from command import COMMAND, ROOT, call, environment
from hypothesis import given
from hypothesis import strategies as st
from matplotlib import font_manager
from rich.cells import cell_len
from writers import Clock

from ledger import Ledger
from ledger.errors import InvalidEntry
from ledger.reports.asking import ask
from ledger.reports.catalogue import CATALOGUE, make
from ledger.reports.charts import MOST_PLACES, Limit, chart_of, limits_of, shortened
from ledger.reports.pictures import (
    COLOURS,
    _figure_of,
    _fonts_for,
    _settings,
    figure_of,
    inline_svg,
    picture,
)
from ledger.reports.report import Report
from ledger.reports.terminal import plot_text
from ledger.spans import between, span_of

CREDIT = 10**8
OCTOBER = span_of("2026-10")
STRANGE = (
    "مرحبا فريق",
    "日本チーム",
    "$x^2$ <b>&",
    "हिन्दी दल",
    "👩\u200d🎬 équipe",
    "a-name-without-an-end-" * 9,
)

# Day of October, team, credits reserved, credits charged, credits refunded.
JOBS = (
    (2, "ads", 40, 25, 0),
    (2, "film", 20, 20, 0),
    (4, "ads", 60, 50, 10),
    (5, "film", 10, None, 0),
)


def at(day: int) -> datetime:
    return datetime(2026, 10, day, 12, tzinfo=UTC)


def fill(book: Ledger, clock: Clock) -> None:
    """October so far: 25 + 20 + 50 charged, 10 refunded, 10 held for three days."""
    clock.now = datetime(2026, 9, 30, tzinfo=UTC)
    book.top_up("studio", 1000, key="invoice-1", cash="14.7", currency="USD")
    book.set_budget("studio", "monthly", 120, period="month", key="budget-1")
    book.set_budget("studio", "of ads", 90, match={"team": "ads"}, key="budget-2")
    for number, (day, team, reserved, charged, refunded) in enumerate(JOBS, 1):
        clock.now = at(day)
        book.reserve("studio", reserved, key=f"job-{number}", labels={"team": team})
        clock.now += timedelta(hours=1)
        if charged is not None:
            book.charge(f"job-{number}", charged)
        if refunded:
            book.refund(f"job-{number}", refunded, key=f"refund-{number}")
    clock.now = at(8)


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    clock = Clock()
    path = tmp_path_factory.mktemp("pictures") / "credits.db"
    with Ledger(f"sqlite:///{path}", clock=clock) as ledger:
        fill(ledger, clock)
        yield ledger


@pytest.fixture
def many() -> Iterator[Ledger]:
    """A book whose jobs have many different labels."""
    clock = Clock()
    with Ledger("sqlite://", clock=clock) as ledger:
        ledger.top_up("studio", 100_000, key="invoice-1")
        yield ledger


def spend(book: Ledger, label: str, credits: int | str) -> None:
    job = f"job-{sha256(label.encode()).hexdigest()}"
    book.reserve("studio", credits, key=job, labels={"who": label})
    book.charge(job, credits)


def usage(book: Ledger, by: str) -> Report:
    return make("usage", ask(book, span=OCTOBER), by)


# What is shown


def test_rows_are_bars_the_largest_first(book: Ledger) -> None:
    chart = chart_of(usage(book, "team"))
    # ads 25 + 50 - 10, film 20
    assert (chart.categories, chart.series[0].values) == (
        ("ads", "film"),
        (65 * CREDIT, 20 * CREDIT),
    )
    assert (chart.title, chart.measure, chart.note) == ("Usage by team", "net (credits)", "")


def test_every_day_has_its_place_and_the_sum_ends_with_the_last_entry(book: Ledger) -> None:
    chart = chart_of(usage(book, "day"))
    assert chart.categories[:3] == ("2026-10-01", "2026-10-02", "2026-10-03")
    assert len(chart.categories) == 31
    expected = {1: 45, 3: 40}  # the second and the fourth of October
    assert chart.series[0].values == tuple(expected.get(day, 0) * CREDIT for day in range(31))
    # The last entry is of the fifth.
    assert chart.running == tuple(sum_ * CREDIT for sum_ in (0, 45, 45, 85, 85))


def test_parts_over_time_add_up_to_the_whole(book: Ledger) -> None:
    parts, whole = chart_of(usage(book, "day,team")), chart_of(usage(book, "day"))
    assert [part.title for part in parts.series] == ["ads", "film"]
    sums = tuple(map(sum, zip(*(part.values for part in parts.series), strict=True)))
    assert sums == whole.series[0].values
    assert parts.running == whole.running


def test_only_a_budget_for_all_of_the_report_is_a_limit(book: Ledger) -> None:
    assert limits_of(usage(book, "day")) == (Limit("budget monthly", 120 * CREDIT),)
    week = make("usage", ask(book, span=span_of("2026-10-05/2026-10-12")), "day")
    assert limits_of(week) == ()


def test_a_budget_of_one_of_several_wallets_is_no_limit(many: Ledger) -> None:
    many.set_budget("studio", "monthly", 120, period="month", key="budget-1")
    assert len(limits_of(usage(many, "day"))) == 1
    many.top_up("annex", 1, key="invoice-2")
    assert limits_of(usage(many, "day")) == ()
    one = make("usage", ask(many, span=OCTOBER, wallet="studio"), "day")
    assert len(limits_of(one)) == 1


def test_small_rows_share_a_bar_and_its_sum_is_stated(many: Ledger) -> None:
    for number in range(1, 21):
        spend(many, f"user {number:02}", number)
    chart = chart_of(usage(many, "who"))
    assert len(chart.categories) == 15
    assert chart.categories[0] == "user 20"
    assert chart.categories[-1] == "6 others"
    # 1 + 2 + … + 6
    assert chart.series[0].values[-1] == 21 * CREDIT
    assert chart.note == "6 others together: 21 net"
    assert sum(chart.series[0].values) == 210 * CREDIT


def test_bars_of_rows_that_differ_at_their_ends_can_be_told_apart(many: Ledger) -> None:
    for number in (1, 2):
        spend(many, "a" * 60 + str(number), number)
    report = make("usage", ask(many), "who")
    ticks = [text.get_text() for text in figure_of(report).axes[0].get_yticklabels()]
    assert ticks == [f"{'a' * 18}…{'a' * 16}2", f"{'a' * 18}…{'a' * 16}1"]
    lines = plot_text(report, 40).splitlines()
    assert [line.split()[0][-2:] for line in lines if line.startswith("aa")] == ["a2", "a1"]


def test_a_part_that_is_missing_is_named_so_that_it_is_not_taken_for_the_whole(
    book: Ledger,
) -> None:
    chart = chart_of(make("usage", ask(book, span=OCTOBER), "team,model"))
    assert set(chart.categories) == {"ads / (none)", "film / (none)"}


def test_reserved_stands_beside_charged(book: Ledger) -> None:
    chart = chart_of(make("reserved", ask(book, span=OCTOBER), "team"))
    assert [series.title for series in chart.series] == ["reserved", "charged"]
    # ads 40 + 60 reserved, film 20 + 10; charged before refunds
    assert [series.values for series in chart.series] == [
        (100 * CREDIT, 30 * CREDIT),
        (75 * CREDIT, 20 * CREDIT),
    ]


def test_ages_of_holds_stay_in_their_order(book: Ledger) -> None:
    report = make("holds", ask(book, as_of="2026-10-08"), "age")
    chart = chart_of(report)
    assert chart.categories == ("2-7",)
    assert chart.series[0].values == (10 * CREDIT,)


def test_days_on_which_open_holds_began_have_their_places_up_to_now(book: Ledger) -> None:
    chart = chart_of(make("holds", ask(book, as_of="2026-10-08"), "day"))
    # The only one is of the fifth.
    assert chart.categories == ("2026-10-05", "2026-10-06", "2026-10-07", "2026-10-08")
    assert chart.series[0].values == (10 * CREDIT, 0, 0, 0)


@pytest.mark.parametrize(
    ("until", "by", "problem"),
    [
        # 50 days of 24 hours are 1,200; a day more is too much.
        ("2026-11-20", "hour", None),
        ("2026-11-21", "hour", "about 1,224 hours side by side, of which 1,200 .* as --by day$"),
        ("2126-10-01", "month", None),
        ("2126-11-01", "month", "about 1,201 months .*; name a shorter period$"),
        # From the 739,890th day of the calendar to the 3,652,059th.
        ("9999-12-31", "day", "about 2,912,169 days .*; name a shorter period$"),
        ("2030-10-01", "day", "about 1,461 days .*; name .*, or longer steps such as --by week$"),
    ],
)
def test_more_places_than_can_be_read_are_not_drawn(
    book: Ledger, until: str, by: str, problem: str | None
) -> None:
    report = make("usage", ask(book, span=between("2026-10-01", until)), by)
    if problem is None:
        assert len(chart_of(report).categories) == MOST_PLACES
        return
    with pytest.raises(InvalidEntry, match=f"the picture: would have {problem}"):
        chart_of(report)
    balance = make("statement", ask(book, span=report.asked.span, wallet="studio"), by)
    with pytest.raises(InvalidEntry, match="the picture: would have"):
        chart_of(balance)


def test_movements_are_a_way_from_opening_to_closing(book: Ledger) -> None:
    chart = chart_of(make("movements", ask(book, span=OCTOBER)))
    assert chart.kind == "bridge"
    assert chart.categories == ("opening", "refunds", "charges", "closing")
    assert chart.ways == (
        (0, 1000 * CREDIT),
        (1000 * CREDIT, 1010 * CREDIT),
        (1010 * CREDIT, 915 * CREDIT),
        (0, 915 * CREDIT),
    )


def test_a_wallets_statement_is_the_line_of_its_balance(book: Ledger) -> None:
    chart = chart_of(make("statement", ask(book, span=OCTOBER, wallet="studio"), "day"))
    assert chart.running is not None
    # 1000 at first, 45 charged on the second, 40 net on the fourth
    assert [value // CREDIT for value in chart.running[:5]] == [1000, 955, 955, 915, 915]


def asked_for(book: Ledger, name: str) -> Report:
    kind = CATALOGUE[name]
    asked = ask(
        book,
        span=OCTOBER if kind.takes_span else None,
        as_of="2026-10-08",
        wallet="studio" if kind.needs_wallet else None,
    )
    return make(name, asked)


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_report_of_the_catalogue_can_be_drawn(book: Ledger, name: str) -> None:
    report = asked_for(book, name)
    assert b"</svg>" in picture(report, "svg")
    assert report.title in plot_text(report, 80)


def test_a_report_without_figures_says_so(book: Ledger) -> None:
    report = usage(book, "team")
    texts = [place for place, column in enumerate(report.columns) if column.unit == "text"]
    bare = replace(
        report,
        columns=tuple(report.columns[place] for place in texts),
        rows=tuple(tuple(row[place] for place in texts) for row in report.rows),
        total=None,
    )
    with pytest.raises(InvalidEntry, match="usage has no figures that could be drawn"):
        picture(bare, "png")


def test_only_pictures_are_drawn(book: Ledger) -> None:
    with pytest.raises(InvalidEntry, match=r"'out.gif' is no picture"):
        picture(usage(book, "team"), "out.gif")


# How it is drawn


def test_bars_are_as_long_as_their_figures(book: Ledger) -> None:
    (axes,) = figure_of(usage(book, "team")).axes
    assert [bar.get_width() for bar in axes.patches] == [65, 20]  # type: ignore[attr-defined]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["ads", "film"]
    assert [text.get_text() for text in axes.texts] == ["65", "20"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("net (credits)", "team")


def test_spend_over_time_has_its_limit_and_both_axes_their_names(book: Ledger) -> None:
    report = usage(book, "day,team")
    above, below = figure_of(report, limits=limits_of(report)).axes
    line, limit = above.get_lines()
    assert np.asarray(line.get_ydata()).tolist() == [0, 45, 45, 85, 85]
    assert np.asarray(limit.get_ydata()).tolist() == [120, 120]
    assert [text.get_text() for text in above.texts] == ["budget monthly: 120"]
    assert above.get_ylim()[1] > 120
    assert above.get_ylabel() == "net (credits)\nsum so far"
    assert below.get_ylabel() == "net (credits)\nin each day"
    assert below.get_xlabel() == "day of 2026"
    assert [text.get_text() for text in below.get_xticklabels()][:2] == ["10-01", "10-04"]
    heights = [bar.get_height() for bar in below.patches]  # type: ignore[attr-defined]
    assert sorted(height for height in heights if height) == [20, 25, 40]
    legend = below.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["ads", "film"]


def test_refunds_of_earlier_charges_go_below_zero(book: Ledger) -> None:
    report = make("usage", ask(book, span=span_of("2026-10-04/2026-10-05")), "hour")
    # 50 charged and 10 given back in the same hour; then only what is given back.
    below = figure_of(report).axes[1]
    assert below.get_ylim()[0] == 0
    with_debts = chart_of(report)
    turned = replace(
        with_debts,
        series=(with_debts.series[0]._replace(values=(-10 * CREDIT, *(0,) * 23)),),
    )
    with _settings(turned):
        below = _figure_of(turned).axes[1]
    assert below.get_ylim()[0] < -10


def test_thousands_are_marked_on_the_axes(many: Ledger) -> None:
    spend(many, "one", "12345.6")
    (axes,) = figure_of(usage(many, "who")).axes
    texts = [text.get_text() for text in axes.get_xticklabels()]
    assert "10,000" in texts
    assert [text.get_text() for text in axes.texts] == ["12,345.6"]


def test_the_colours_differ_in_lightness_too() -> None:
    """Which is what is left of them in print; relative luminance after WCAG 2.2."""

    def luminance(colour: str) -> Decimal:
        parts = [Decimal(int(colour[at : at + 2], 16)) / 255 for at in (1, 3, 5)]
        linear = [
            part / Decimal("12.92")
            if part <= Decimal("0.03928")
            else ((part + Decimal("0.055")) / Decimal("1.055")) ** Decimal("2.4")
            for part in parts
        ]
        weights = map(Decimal, ("0.2126", "0.7152", "0.0722"))
        return sum((w * part for w, part in zip(weights, linear, strict=True)), Decimal(0))

    assert len(set(COLOURS)) == 6
    first, second = map(luminance, COLOURS[:2])
    assert (second + Decimal("0.05")) / (first + Decimal("0.05")) > 2


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_the_same_report_gives_the_same_bytes(book: Ledger, kind: str) -> None:
    first = picture(usage(book, "day,team"), f"spend.{kind}")
    with mpl.rc_context({"font.size": 30, "axes.linewidth": 5, "xtick.direction": "in"}):
        assert picture(usage(book, "day,team"), kind) == first
        assert mpl.rcParams["font.size"] == 30, "settings of others stay as they are"
    assert first.startswith(b"\x89PNG" if kind == "png" else b"<?xml")
    assert b"dc:date" not in first
    assert b"Software" not in first
    assert b"Matplotlib v" not in first


def test_a_png_has_the_size_that_it_is_drawn_in(book: Ledger) -> None:
    width, height = struct.unpack(">II", picture(usage(book, "team"), "png")[16:24])
    assert (width, height > 200) == (1350, True)


@pytest.mark.parametrize("kind", ["png", "svg"])
@pytest.mark.parametrize("number", [0, 1, 400])
def test_any_number_of_rows_is_drawn(many: Ledger, number: int, kind: str) -> None:
    for place in range(number):
        spend(many, f"user {place}", 1 + place)
    assert len(picture(usage(many, "who"), kind)) < 200_000


@pytest.mark.parametrize("label", STRANGE)
@pytest.mark.parametrize("kind", ["png", "svg"])
def test_labels_of_any_writing_are_drawn(many: Ledger, label: str, kind: str) -> None:
    spend(many, label, 5)  # a warning would be an error here
    drawn = picture(usage(many, "who"), kind)
    if kind == "svg" and label in STRANGE[:2]:
        assert label in drawn.decode(), "a reader's own fonts write it"


def test_other_fonts_are_asked_only_for_what_is_missing() -> None:
    assert _fonts_for(f"plain text, {STRANGE[0]}, שלום, Ελλάδα") == []
    known = set(font_manager.fontManager.get_font_names())
    assert set(_fonts_for(STRANGE[1])) <= known


def test_hours_of_a_month_are_drawn_in_a_few_shapes(book: Ledger) -> None:
    report = usage(book, "hour,team")
    assert len(chart_of(report).categories) == 744
    assert len(figure_of(report).axes[1].patches) == 0
    assert len(picture(report, "svg")) < 300_000


def test_a_picture_in_a_page_takes_its_colours_and_no_names_of_others(book: Ledger) -> None:
    chart = chart_of(usage(book, "day,team"))
    one, other = inline_svg(chart, "one"), inline_svg(chart, "other")
    assert one.startswith("<svg ")
    assert "currentColor" in one
    assert "#1b1b1a" not in one
    assert "<style" not in one
    assert "url(#one-" in one
    assert one.replace("one-", "other-") == other


# In the terminal


def lines_of(text: str) -> list[str]:
    return text.splitlines()


@pytest.mark.parametrize("width", [24, 40, 60, 80, 120, 200])
@pytest.mark.parametrize("by", ["who", "day", "hour", "day,who", "week", "month"])
def test_no_line_is_wider_than_the_terminal(many: Ledger, by: str, width: int) -> None:
    for place, label in enumerate(STRANGE):
        spend(many, label, 1000 * (place + 1))
    text = plot_text(usage(many, by), width)
    assert max(map(cell_len, lines_of(text))) <= width


def test_terminal_bars_are_in_proportion(many: Ledger) -> None:
    for eighths in range(1, 9):
        spend(many, f"user {eighths}", 100 * eighths)
    text = plot_text(usage(many, "who"), 80)
    bars = [line.count("█") for line in lines_of(text) if "┤" in line]
    # The longest has 800 credits; both ends of a bar lie in the middle of a cell.
    longest = bars[0] - 1
    assert longest > 60
    wanted = [longest * eighths // 8 for eighths in range(8, 0, -1)]
    assert all(abs(bar - 1 - want) <= 1 for bar, want in zip(bars, wanted, strict=True))
    assert "user 8 800┤" in text


def test_series_differ_without_colours(book: Ledger) -> None:
    report = make("reserved", ask(book, span=OCTOBER), "team")
    text = plot_text(report, 80)
    assert "\x1b" not in text
    assert "██ reserved" in text
    assert "▓▓ charged" in text
    coloured = plot_text(report, 80, colours=True)
    assert "\x1b[38;5;33m██\x1b[0m reserved" in coloured


def test_the_limit_is_drawn_and_named(book: Ledger) -> None:
    report = usage(book, "day")
    text = plot_text(report, 80, limits=limits_of(report))
    assert "line: budget monthly, 120" in text
    assert "------" in text
    assert "------" not in plot_text(report, 80)


def test_nothing_is_said_in_words(many: Ledger) -> None:
    assert "nothing of this is in the book" in plot_text(usage(many, "who"), 60)


@given(st.text(), st.integers(1, 40))
def test_a_short_label_has_one_line_and_no_marks_of_direction(text: str, most: int) -> None:
    short = shortened(text, most)
    assert len(short) <= most
    assert not set(short) & set("\n\r\t\u202e\u2067\u200f\x00\x1b\x9b")


# The command


@pytest.fixture
def folder(book: Ledger, tmp_path: Path) -> Path:
    book.copy_to(f"sqlite:///{tmp_path / 'credits.db'}")
    return tmp_path


REPORT = ("report", "usage", "--by", "day", "--period", "2026-10", "--db", "credits.db")


def test_a_picture_is_written_whole_and_never_over_another(folder: Path, book: Ledger) -> None:
    done = call(*REPORT, "--plot", "spend.png", cwd=folder)
    assert (done.status, done.said) == (0, "note: drew spend.png")
    assert "2026-10-02" in done.stdout, "the table is printed as well"
    report = usage(book, "day")
    drawn = (folder / "spend.png").read_bytes()
    assert drawn == picture(report, "png", limits=limits_of(report))
    again = call(*REPORT, "--plot", "spend.png", cwd=folder)
    assert again.status == 7
    assert "spend.png: is there already" in again.said
    assert call(*REPORT, "--plot", "spend.png", "--overwrite", cwd=folder).status == 0
    assert sorted(path.name for path in folder.iterdir()) == ["credits.db", "spend.png"]


def test_a_picture_stands_in_place_of_the_table(folder: Path) -> None:
    done = call(*REPORT, "--plot", "terminal", cwd=folder, env={"COLUMNS": "70"})
    assert done.status == 0
    assert "sum so far" in done.stdout
    assert "charged" not in done.stdout
    assert "\x1b" not in done.stdout
    assert max(map(cell_len, lines_of(done.stdout))) <= 70


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--plot", "spend.gif"], "--plot takes a file that ends in .png or .svg"),
        (["--plot", "terminal", "--format", "json"], "stands in place of the table"),
    ],
)
def test_what_is_no_picture_is_a_slip(folder: Path, options: list[str], said: str) -> None:
    done = call(*REPORT, *options, cwd=folder)
    assert done.status == 2
    assert said in done.said


def test_a_picture_in_a_missing_folder_is_refused_before_any_work(folder: Path) -> None:
    done = call(*REPORT, "--plot", "no/spend.svg", cwd=folder)
    assert done.status == 7
    assert "there is no folder no" in done.said


# The documentation


def test_the_picture_of_the_documentation_is_what_its_commands_draw(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "reports.md").read_text("utf-8")
    story = re.search(r"```bash\n(# october\.sh\n.*?)```", page, flags=re.DOTALL)
    commands = re.search(r"```console\n([^`]*--plot spend\.svg[^`]*)```", page)
    assert story is not None
    assert commands is not None
    (tmp_path / "october.sh").write_text(story[1], encoding="utf-8")
    # The page says python and kling-ledger; whoever tests may have others of these names.
    python, program = shlex.quote(sys.executable), shlex.join(COMMAND)
    named = f'python() {{ {python} "$@"; }}\nkling-ledger() {{ {program} "$@"; }}\n'
    script = f"set -e\n{named}" + re.sub(r"^\$ ", "", commands[1], flags=re.MULTILINE)
    run = ["bash", "-c", script]
    subprocess.run(run, cwd=tmp_path, env=environment(), check=True, timeout=120)
    drawn = (tmp_path / "spend.svg").read_bytes()
    assert drawn == (ROOT / "docs" / "pictures" / "spend.svg").read_bytes()
    assert len(drawn) < 60_000

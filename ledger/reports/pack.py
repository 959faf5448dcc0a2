"""The month-end pack: one page with every report of a period, its pictures, and its controls.

The same data gives the same bytes. Reports of one moment are of the end of the period, or of the
last entry where the period has not ended; no clock is asked.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from importlib.metadata import version
from typing import NamedTuple
from zoneinfo import ZoneInfo

import polars as pl
from markupsafe import Markup

from ledger.book import Book
from ledger.errors import InvalidEntry
from ledger.records import By, moment
from ledger.reports.asking import Asked, ask
from ledger.reports.catalogue import CATALOGUE, make
from ledger.reports.charts import chart_of, limits_of, shortened
from ledger.reports.columns import shown
from ledger.reports.controls import (
    Check,
    agreed,
    break_tables,
    closed,
    control_tables,
    open_breaks,
    reconciled,
)
from ledger.reports.dimensions import dimensioned, label_of
from ledger.reports.facts import Progress, nothing
from ledger.reports.folding import folded
from ledger.reports.pages import Table, figure_html, page, table_of
from ledger.reports.pictures import inline_svg
from ledger.reports.report import Report, made, span_of_facts
from ledger.reports.usage import MEASURES, spent
from ledger.spans import Span, day_of, span_of
from ledger.units import iso

__all__ = ["pack"]

MOST_ROWS = 40
"""Rows of a table; the others are in one more row, so that it adds up all the same."""

MOST_LABELS = 12
"""Names of labels that get a section."""

MOST_VALUES = 1000
"""A label with more values names single jobs, and is no way to divide a cost."""

_NOTHING = "Nothing of this is in the book for that time."

_EMPTY = {
    "budgets": "The book has no budgets.",
    "holds": "No holds were open.",
    "expiring": "No credits are going to expire.",
    "lapsed": "No credits lapsed.",
    "top-ups": "No credits came in.",
    "failures": "No jobs ended.",
    "reserved": "No jobs were reserved.",
    "usage": "No jobs were charged.",
}

_SAID = {
    "reserved": "Of the jobs that were reserved in the period, whatever became of them since.",
    "variance": "What changed the cost against the period before, a cause after the other.",
    "trial-balance": "Every entry has two sides, so debits and credits come to the same.",
    **dict.fromkeys(
        ("budgets", "holds", "expiring"),
        "As it was known at that moment; what was recorded since then is not part of it.",
    ),
}


class Figure(NamedTuple):
    """One of the figures at the head."""

    title: str
    html: Markup


@dataclass(frozen=True)
class Section:
    """A part of the pack."""

    name: str
    title: str
    said: tuple[str, ...] = ()
    svg: Markup = Markup()  # noqa: RUF009  it cannot be changed
    picture: str = ""
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass
class _Pack:
    """What is known while a pack is made."""

    asked: Asked
    span: Span
    progress: Progress
    reports: dict[str, Report] = field(default_factory=dict)
    sections: list[Section] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)


def pack(
    book: Book,
    span: Span,
    *,
    by: By = "happened",
    as_of: datetime | date | str | None = None,
    wallet: str | None = None,
    progress: Progress = nothing,
) -> str:
    """One self-contained page of HTML for the end of a month, or of any period.

    Args:
        book: which one.
        span: the period, such as `ledger.spans.span_of("2026-10")`.
        by: whether an entry counts when it `happened` or when it was `recorded`.
        as_of: count only what was recorded before this moment.
        wallet: only of this wallet.
        progress: is told how many entries were read by each report.

    Raises:
        InvalidEntry: the moment, or the wallet's name.
        UnknownWallet: there is no such wallet.

    >>> from ledger import Ledger
    >>> with Ledger("sqlite://") as ledger:
    ...     _ = ledger.top_up("studio", 100, key="invoice-1", at="2026-10-01")
    ...     text = pack(ledger, span_of("2026-10"))
    >>> text.startswith("<!doctype html>")
    True
    """
    # Several reports are made of the same entries.
    asked = replace(ask(book, span=span, by=by, as_of=as_of, wallet=wallet), kept={})
    made_of = _Pack(asked, span, progress)
    _movements(made_of)
    _usage(made_of)
    _add(made_of, "reserved", asked, title="Reserved versus charged")
    # Which outcomes are unknown is asked of the last entry, and not of a clock.
    known = replace(asked, as_of_us=_known_us(asked, span))
    _add(made_of, "failures", known, title="Refunds and failures")
    _bridge(made_of)
    end_us = _moment_us(asked, span)
    for name, title, at_us in (
        # At the end itself, the windows of its budgets are those of the next period, and empty.
        ("budgets", "Budgets", min(end_us, span.end_us - 1)),
        ("holds", "Open holds", end_us),
        ("expiring", "Expiring credits", end_us),
    ):
        then = replace(asked, span=None, as_of_us=at_us)
        _add(made_of, name, then, title=f"{title} at the end")
    _add(made_of, "lapsed", asked, title="Lapsed credits")
    _add(made_of, "top-ups", asked, title="Top-ups and their cost")
    _add(made_of, "valuation", asked, title="What is left, and its cost")
    _add(made_of, "trial-balance", asked, title="Trial balance")
    _breaks(made_of)
    tables = control_tables(
        asked, span, made_of.checks, made_of.reports["usage"], _moment_us(asked, span)
    )
    made_of.sections.append(Section("control", "Control", tables=tables))
    return page(
        "pack.html",
        title=f"Month-end pack, book {book.book}, {span.name}",
        heading=f"{_kind(span)} pack {span.name}",
        of=_of(asked, span),
        states=[closed(asked, span), reconciled(asked, span), agreed(made_of.checks)],
        figures=list(_figures(made_of)),
        sections=made_of.sections,
        footer=_footer(asked),
    )


def _kind(span: Span) -> str:
    return (
        "Month-end"
        if span.name == f"{day_of(span.start_us, span.timezone):%Y-%m}"
        else "Period-end"
    )


def _of(asked: Asked, span: Span) -> str:
    until = f"from {iso(span.start)} up to and without {iso(span.end)}"
    words = [f"Book {asked.book.book}", f"{span.name} ({span.timezone})", until, f"as {asked.by}"]
    if asked.wallet is not None:
        words.insert(1, f"wallet {asked.wallet}")
    if asked.as_of_us is not None:
        words.append(f"as known on {iso(moment(asked.as_of_us))}")
    return ", ".join(words)


def _footer(asked: Asked) -> str:
    known_us = asked.known_until_us
    last = (
        "an empty book" if known_us is None else f"entries recorded up to {iso(moment(known_us))}"
    )
    return f"Made of {last} by kling-ledger {version('kling-ledger')}."


def _bridge(made_of: _Pack) -> None:
    """What changed the cost against the period before, where the calendar has one."""
    title = "Against the period before"
    try:
        before = _before(made_of.span)
    except (OverflowError, InvalidEntry):
        text = "The calendar has no period before it."
        made_of.sections.append(Section("variance", title, (text,)))
        return
    _add(made_of, "variance", replace(made_of.asked, against=before), title=title)


def _before(span: Span) -> Span:
    """The period before one: the month before a month, else as many days as it has.

    Raises:
        OverflowError: it would begin before the year 1.
        InvalidEntry: the same.
    """
    here = ZoneInfo(span.timezone)
    first = span.start.astimezone(here)
    if _kind(span) == "Month-end":
        return span_of(f"{first.date() - timedelta(days=1):%Y-%m}", span.timezone)
    days = day_of(span.end_us - 1, span.timezone) - first.date() + timedelta(days=1)
    return span_of(f"{first.date() - days}/{first.date()}", span.timezone)


def _moment_us(asked: Asked, span: Span) -> int:
    """When the period ended; where it has not, just after the last entry that is known."""
    return min(span.end_us, _known_us(asked, span))


def _known_us(asked: Asked, span: Span) -> int:
    """The whole second before which everything that counts was recorded."""
    if asked.as_of_us is not None:
        return asked.as_of_us
    known_us = asked.known_until_us
    return span.end_us if known_us is None else (known_us // _SECOND_US + 1) * _SECOND_US


_SECOND_US = 1_000_000


# Sections


def _add(made_of: _Pack, name: str, asked: Asked, *, title: str) -> None:
    """A section of one of the reports; one line where there is nothing or it does not apply."""
    if name not in CATALOGUE:
        return
    try:
        report = make(name, asked, progress=made_of.progress)
    except InvalidEntry as error:
        made_of.sections.append(Section(name, title, (f"Not applicable: {error}.",)))
        return
    made_of.reports[name] = report
    made_of.sections.append(_section(name, title, report))


def _section(name: str, title: str, report: Report) -> Section:
    if not report.rows:
        return Section(name, title, (_EMPTY.get(report.name, _NOTHING),), notes=report.notes)
    said = _SAID.get(name)
    found = folded(report, MOST_ROWS)
    svg, picture = _picture(name, report)
    return Section(
        name,
        title,
        () if said is None else (said,),
        svg,
        picture,
        (table_of(found),),
        found.notes,
    )


def _picture(name: str, report: Report) -> tuple[Markup, str]:
    """The picture of a report, and what it shows; none where a single bar would say nothing."""
    try:
        chart = chart_of(report, limits=limits_of(report))
    except InvalidEntry:
        return Markup(), ""
    figures = [value for series in chart.series for value in series.values if value]
    if len(figures) < 2:
        return Markup(), ""
    text = f"{chart.title}, {chart.of}"
    return Markup(inline_svg(chart, name)), shortened(text, 200)  # noqa: S704  drawn by ourselves


def _movements(made_of: _Pack) -> None:
    if "movements" not in CATALOGUE:
        return
    _add(made_of, "movements", made_of.asked, title="Movements")
    report = made_of.reports["movements"]
    total = _totals(report)
    moved = [name for name in total if name not in {"opening", "closing", "held"}]
    parts_e8 = total["opening"] + sum(total[name] for name in moved)
    made_of.checks.append(Check("opening and movements | closing", parts_e8, total["closing"]))
    asked, span = made_of.asked, made_of.span
    if asked.as_of_us is None:
        wallets = [item.wallet for item in asked.book.wallets()]
        balances = (
            asked.book.balance(name, before=span.end, by=asked.by).posted_e8
            for name in wallets
            if asked.wallet in {None, name}
        )
        check = Check("closing | balances of the wallets", total["closing"], sum(balances))
        made_of.checks.append(check)


def _totals(report: Report) -> dict[str, int]:
    """The sums of a report by the names of their columns; zeros where it has no rows."""
    total = report.total or (0,) * len(report.columns)
    return {
        column.name: value or 0
        for column, value in zip(report.columns, total, strict=True)
        if column.adds_up
    }


def _usage(made_of: _Pack) -> None:
    """Usage by model, over time, and by every label; the book is read once."""
    asked = made_of.asked
    facts = spent(asked, progress=made_of.progress)
    first = _usage_by(asked, facts, "model")
    made_of.reports["usage"] = first
    made_of.sections.append(_section("usage-model", "Usage by model", first))
    net_e8 = _net(first)
    if "movements" in made_of.reports:
        moved = _totals(made_of.reports["movements"])
        cost_e8 = -moved["charges"] - moved["refunds"]
        made_of.checks.append(
            Check("usage | charges less refunds of the movements", net_e8, cost_e8)
        )
    labels, left_out = _labels(facts)
    step = _step(made_of.span)
    for name in (step, *labels):
        report = _usage_by(asked, facts, name)
        title = f"Usage by {label_of(name)}"
        slug = "usage-time" if name == step else f"usage-label-{labels.index(name) + 1}"
        made_of.sections.append(_section(slug, title, report))
        check = Check(f"usage by {label_of(name)} | usage by model", _net(report), net_e8)
        made_of.checks.append(check)
    if left_out:
        text = f"By {', '.join(map(label_of, left_out))}: see kling-ledger report usage --by."
        made_of.sections.append(Section("usage-labels", "Usage by other labels", (text,)))


def _net(report: Report) -> int:
    total = _totals(report)
    return total["charged"] - total["refunded"]


def _step(span: Span) -> str:
    days = (span.end - span.start) // timedelta(days=1)
    return "day" if days <= 62 else "week" if days <= 370 else "month"


def _labels(facts: pl.DataFrame) -> tuple[list[str], list[str]]:
    """The labels that jobs have, as dimensions, and those that are too fine or too many."""
    values: dict[str, set[str]] = {}
    for text in facts["labels"].unique().drop_nulls():
        for name, value in json.loads(text).items():
            values.setdefault(name, set()).add(value)
    # The label that a quote adds says again what the model does.
    values.pop("model", None)
    fitting = sorted(name for name in values if len(values[name]) <= MOST_VALUES)[:MOST_LABELS]
    others = sorted(set(values) - set(fitting))
    return [f"label.{name}" for name in fitting], [f"label.{name}" for name in others]


def _usage_by(asked: Asked, facts: pl.DataFrame, name: str) -> Report:
    facts = dimensioned(facts, (name,), span_of_facts(asked, facts))
    return made("usage", "Usage", asked, facts, by=(name,), measures=MEASURES)


def _breaks(made_of: _Pack) -> None:
    found = open_breaks(made_of.asked, made_of.span)
    if found:
        section = Section("breaks", "Open breaks", tables=break_tables(found))
    else:
        is_compared = reconciled(made_of.asked, made_of.span).kind != "wait"
        text = "No breaks are open." if is_compared else "Nothing has been compared with a bill."
        section = Section("breaks", "Open breaks", (text,))
    made_of.sections.append(section)


# The head


def _figures(made_of: _Pack) -> Iterator[Figure]:
    """Opening, what moved, and closing; what jobs cost."""
    moved = _totals(made_of.reports["movements"]) if "movements" in made_of.reports else {}
    usage = _totals(made_of.reports["usage"])
    figures = [
        ("Opening credits", moved.get("opening")),
        ("Came in", _plus(moved, "top_ups", "promotional")),
        ("Net usage", usage["charged"] - usage["refunded"]),
        ("Adjusted and lapsed", _plus(moved, "adjustments", "lapses")),
        ("Closing credits", moved.get("closing")),
        ("Of it held", moved.get("held")),
    ]
    for title, value in figures:
        if value is not None:
            yield Figure(title, figure_html(shown(value, "credits"), 0))
    yield Figure("Charges", figure_html(str(usage["charges"]), 0))
    yield Figure("Seconds charged", figure_html(shown(usage["seconds"], "seconds"), 0))


def _plus(moved: dict[str, int], *names: str) -> int | None:
    return sum(moved.get(name, 0) for name in names) if moved else None

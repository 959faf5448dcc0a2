"""Reports as pages of HTML that need nothing else: no file, no network, no script."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from ledger.breaks import Reconciled
from ledger.errors import MissingExtra
from ledger.reports.columns import Column, Unit, shown
from ledger.reports.formats import is_number, period_in_words
from ledger.reports.report import Report, Row

try:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup, escape
except ModuleNotFoundError:
    raise MissingExtra("plots", "a report as a page") from None

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["Cell", "Table", "as_html", "bill_cell", "in_words", "page", "table_of"]

UNITS: dict[Unit, str] = {"credits": "credits", "seconds": "s", "percent": "%", "moment": "UTC"}
"""Units as the heads of columns say them; what is counted says it by its name."""

_STATES = {"reconciled": ("ok", "✓"), "open breaks": ("bad", "✗"), "not yet": ("wait", "○")}
"""How it looks whether figures agree with the bill: never by a colour alone."""


_SHORT = 24
"""A longer text may be broken into lines."""


class Cell(NamedTuple):
    """A cell of a table: what stands there, and what kind of thing it is."""

    html: Markup
    kind: str = ""


class Head(NamedTuple):
    """The head of a column."""

    title: str
    unit: str
    is_number: bool


class Table(NamedTuple):
    """A table before it is written."""

    caption: str
    columns: Sequence[Head]
    rows: Sequence[Sequence[Cell]]
    total: Sequence[Cell] | None


def as_html(report: Report) -> str:
    """A report as one page that stands for itself.

    Every figure stands there with all its digits; the same report gives the same page.
    """
    found = report.reconciled
    return page(
        "report.html",
        title=f"{report.title}, {period_in_words(report)}",
        heading=report.title,
        of=period_in_words(report),
        bill=None if found is None else Cell(bill_cell(found.state).html + in_words(found)),
        found=table_of(report),
        said=report.notes,
        made_at=report.made_at,
    )


def page(template: str, **values: object) -> str:
    """A page made from one of the templates, with the style that all pages have."""
    return _template(template).render(style=_style(), **values) + "\n"


@cache
def _template(name: str) -> Template:
    environment = Environment(
        loader=PackageLoader("ledger.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


@cache
def _style() -> Markup:
    return Markup((files("ledger.reports") / "templates" / "style.css").read_text("utf-8"))  # noqa: S704  our own file


# Tables


def table_of(report: Report, *, caption: str | None = None) -> Table:
    """The table of a report.

    Args:
        report: what to show.
        caption: what stands above it; of which time it is, if None.
    """
    rows = [*report.rows, *([] if report.total is None else [report.total])]
    places = range(len(report.columns))
    cells = list(
        zip(*(_cells(rows, place, report.columns[place]) for place in places), strict=True)
    )
    total: list[Cell] | None = None
    if report.total is not None:
        total = [
            Cell(Markup()) if _is_name(column) and value is None else cell
            for column, value, cell in zip(report.columns, report.total, cells.pop(), strict=True)
        ]
        if report.total[0] is None:
            total[0] = Cell(Markup("total"))
    return Table(
        caption if caption is not None else f"{report.title}: {period_in_words(report)}",
        [Head(column.title, _unit(column), is_number(column)) for column in report.columns],
        [list(row) for row in cells],
        total,
    )


def plain_table(
    caption: str, columns: Sequence[tuple[str, Unit]], rows: Iterable[Sequence[object]]
) -> Table:
    """A table of rows that are no report; the last of them is not their total."""
    made = [Column(title, unit, title) for title, unit in columns]
    listed = [tuple(row) for row in rows]
    cells = [_cells(listed, place, column) for place, column in enumerate(made)]
    heads = [Head(column.title, _unit(column), is_number(column)) for column in made]
    return Table(caption, heads, [list(row) for row in zip(*cells, strict=True)], None)


def _unit(column: Column) -> str:
    """The unit under a title that does not say it itself."""
    unit = UNITS.get(column.unit, "")
    is_said = column.title == "seconds" or unit in re.findall(r"%|\w+", column.title)
    return "" if is_said else unit


def _is_name(column: Column) -> bool:
    return column.unit == "text" and column.name != "reconciled"


def _cells(rows: Sequence[Row], place: int, column: Column) -> list[Cell]:
    """The cells of a column; its figures with thousands marked and their points in one line."""
    values = [row[place] for row in rows]
    if column.name == "reconciled":
        return [bill_cell(str(value)) for value in values]
    if not is_number(column):
        return [text_cell(value) for value in values]
    texts = [shown(value, column.unit) for value in values]
    if column.unit == "moment":
        return [Cell(escape(text), "n") for text in texts]
    decimals = max((len(text.partition(".")[2]) for text in texts), default=0)
    return [Cell(figure_html(text, decimals), "n") for text in texts]


def text_cell(value: object) -> Cell:
    """A name or a label, which may be written in any direction and hold anything."""
    if value is None:
        return Cell(Markup('<span class="none">(none)</span>'))
    text = str(value)
    html = Markup('<bdi dir="auto">{}</bdi>').format(text)
    return Cell(html, "long" if len(text) > _SHORT else "short")


def bill_cell(state: str) -> Cell:
    """Whether something agrees with the bill: a colour, a sign and a word."""
    kind, sign = _STATES[state]
    html = Markup('<span aria-hidden="true">{}</span> {}').format(sign, state)
    return Cell(html, f"state {kind}")


def figure_html(text: str, decimals: int) -> Markup:
    """A figure with thousands marked; faint zeros fill it up to a number of decimals.

    >>> str(figure_html("1234.5", 3)), str(figure_html("-2", 1))
    ('1,234.5<i>00</i>', '-2<i>.0</i>')
    """
    if not text:
        return Markup()
    missing = decimals - len(text.partition(".")[2])
    zeros = "0" * missing if "." in text or not missing else "." + "0" * missing
    grouped = f"{Decimal(text):,f}"
    return Markup("{}<i>{}</i>").format(grouped, zeros) if zeros else escape(grouped)


def in_words(found: Reconciled) -> Markup:
    """How many breaks are open, and what they come to."""
    if found.state != "open breaks":
        return Markup()
    number = f"{found.open_breaks:,} {'break' if found.open_breaks == 1 else 'breaks'}"
    return Markup(": {}, {} credits").format(number, shown(found.difference_e8, "credits"))

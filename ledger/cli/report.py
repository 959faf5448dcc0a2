"""`kling-ledger report …`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.cli.books import many, open_ledger
from ledger.cli.options import (
    DEFAULT_DB,
    STDOUT,
    BookOption,
    DbOption,
    Format,
    FormatOption,
    OverwriteOption,
    WalletOption,
)
from ledger.cli.parsing import DefaultGroup
from ledger.cli.pictures import TERMINAL, PlotOption, check_plot, plot
from ledger.cli.spans import (
    AsOfOption,
    CountedBy,
    FromOption,
    PeriodOption,
    ToOption,
    ZoneOption,
    asked_moment,
    asked_span,
)
from ledger.reports.catalogue import CATALOGUE, kind_of

if TYPE_CHECKING:
    from ledger import Ledger
    from ledger.records import Entry
    from ledger.reports.asking import Asked
    from ledger.reports.charts import Limit
    from ledger.reports.explain import Explanation
    from ledger.reports.report import Report

__all__ = ["app"]

app = typer.Typer(
    cls=DefaultGroup,
    help="Ask the book: usage, variance, budgets, balances, and the pack for a month's end.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

_EXAMPLES = """
**Examples**

`kling-ledger report usage --period 2026-10 --by team,week`

`kling-ledger report usage --period 2026-10 --by user --sort net`

`kling-ledger report usage --period 2026-10 --by model --format csv --output usage.csv`

`kling-ledger report usage --period 2026-10 --by day --plot spend.png`

`kling-ledger report list`

`kling-ledger report explain usage charged team=ads --period 2026-10`
"""


class ReportFormat(StrEnum):
    """How a report is written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"
    MD = "md"
    HTML = "html"


_SUFFIXES = {
    ".json": ReportFormat.JSON,
    ".csv": ReportFormat.CSV,
    ".md": ReportFormat.MD,
    ".html": ReportFormat.HTML,
}


def _complete(incomplete: str) -> list[str]:
    return [name for name in CATALOGUE if name.startswith(incomplete)]


NameArgument = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="Which one; `report list` says all.", autocompletion=_complete
    ),
]
ByOption = Annotated[
    list[str] | None,
    typer.Option(
        "--by",
        metavar="DIMENSION",
        help="What a row is: `model`, `quality`, `day`, `week`, `month`, `wallet`, …, or the name"
        " of a label; several with commas.",
        show_default="the report's own",
    ),
]
CountedOption = Annotated[
    CountedBy,
    typer.Option(
        "--counted", help="Whether an entry counts when it happened, or when it was recorded."
    ),
]
AgainstOption = Annotated[
    str | None,
    typer.Option("--against", metavar="PERIOD", help="Another period, to be compared with."),
]
SortOption = Annotated[
    str | None,
    typer.Option(
        "--sort",
        metavar="COLUMN",
        help="In the order of a column, such as `net`: the largest first.",
        show_default="in the order of what a row is",
    ),
]
OutputOption = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="Write it there; its ending says the format. `-` is stdout.",
        show_default="stdout",
    ),
]


@app.command("show", epilog=_EXAMPLES)
def show(
    name: NameArgument,
    period: PeriodOption = None,
    since: FromOption = None,
    until: ToOption = None,
    timezone: ZoneOption = "UTC",
    as_of: AsOfOption = None,
    counted: CountedOption = CountedBy.HAPPENED,
    wallet: WalletOption = None,
    by: ByOption = None,
    against: AgainstOption = None,
    sort: SortOption = None,
    output: OutputOption = None,
    plot_: PlotOption = None,
    overwrite: OverwriteOption = False,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: Annotated[
        ReportFormat | None,
        typer.Option("--format", "-f", help="How to print it.", show_default="table"),
    ] = None,
) -> None:
    """Make a report; `show` may be left out.

    Figures are of the whole book, unless a period is named. The total is the sum of the rows to
    the last digit, and every row says whether it agrees with the provider's bill.
    """
    output = None if output == STDOUT else output
    written_as = _format_of(format_, output)
    if output is not None:
        from ledger.exports.writing import check_output

        check_output(output, overwrite=overwrite)
    if plot_ == TERMINAL and output is None and written_as is not ReportFormat.TABLE:
        raise typer.BadParameter("--plot terminal stands in place of the table; leave --format out")
    check_plot(plot_, overwrite=overwrite)
    with open_ledger(db, book) as ledger:
        asked = _asked(ledger, period, since, until, timezone, as_of, counted, wallet, against)
        report = _made(name, asked, by)
        if sort is not None:
            report = report.sorted_by(sort)
        limits = _limits(report) if plot_ is not None else ()
    if plot_ is not None:
        plot(report, plot_, limits, overwrite=overwrite)
    if output is not None:
        _write(report, written_as, output, overwrite=overwrite)
    elif written_as is ReportFormat.TABLE:
        if plot_ != TERMINAL:
            print_report(report)
    else:
        sys.stdout.write(text_of(report, written_as))
        if written_as is ReportFormat.CSV:
            _say_notes(report)


def _say_notes(report: Report) -> None:
    """What a table of figures has no room for; other formats have it in them."""
    from ledger.cli.output import say

    for note in report.notes:
        say(note)


def _limits(report: Report) -> tuple[Limit, ...]:
    from ledger.reports.charts import limits_of

    return limits_of(report)


@app.command(
    "pack", epilog="**Example**: `kling-ledger report pack --period 2026-10 --output pack.html`"
)
def pack_(
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="FILE", help="The page to write; `-` is stdout."),
    ],
    period: PeriodOption = None,
    since: FromOption = None,
    until: ToOption = None,
    timezone: ZoneOption = "UTC",
    as_of: AsOfOption = None,
    counted: CountedOption = CountedBy.HAPPENED,
    wallet: WalletOption = None,
    overwrite: OverwriteOption = False,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
) -> None:
    """Write the month-end pack: all reports of a period with pictures and controls, one page.

    The page needs nothing else, and the same data gives the same bytes.
    """
    from ledger.cli.output import ProgressBar, say
    from ledger.exports.writing import check_output, whole_file

    span = asked_span(period, since, until, timezone)
    if span is None:
        raise typer.BadParameter("a pack is of a period; say --period, such as 2026-10")
    known_at = asked_moment(as_of, timezone)
    if output != STDOUT:
        check_output(output, overwrite=overwrite)
    from ledger.reports.pack import pack

    with open_ledger(db, book) as ledger, ProgressBar(f"reading {book}") as progress:
        text = pack(
            ledger, span, by=counted.value, as_of=known_at, wallet=wallet, progress=progress
        )
    if output == STDOUT:
        sys.stdout.write(text)
        return
    with whole_file(output, overwrite=overwrite) as file:
        file.write(text.encode())
    say(f"wrote {output}")


@app.command("list")
def list_(format_: FormatOption = Format.TABLE) -> None:
    """List the reports."""
    from ledger.cli.output import emit_json, print_csv, print_table, say

    rows = [[kind.name, ", ".join(kind.by or ()), kind.summary] for kind in CATALOGUE.values()]
    if format_ is Format.JSON:
        from ledger.documents.reports import reports_document

        emit_json("reports", reports_document(CATALOGUE.values()))
    elif format_ is Format.CSV:
        print_csv(["name", "by", "summary"], rows)
    else:
        print_table(["report", "usually by", "what it says"], rows, drops=["usually by"])
        say("kling-ledger report pack writes those of a period as one page")


@app.command(
    "explain",
    epilog="**Example**: `kling-ledger report explain usage charged team=ads --period 2026-10`",
)
def explain_(
    name: NameArgument,
    column: Annotated[
        str, typer.Argument(metavar="COLUMN", help="The figure's column, by its name or its title.")
    ],
    row: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[DIMENSION=VALUE]...",
            help="The figure's row, such as `team=ads`; the total, if none. `team=` is that of"
            " jobs without a team.",
            show_default=False,
        ),
    ] = None,
    period: PeriodOption = None,
    since: FromOption = None,
    until: ToOption = None,
    timezone: ZoneOption = "UTC",
    as_of: AsOfOption = None,
    counted: CountedOption = CountedBy.HAPPENED,
    wallet: WalletOption = None,
    against: AgainstOption = None,
    last: Annotated[
        int, typer.Option(min=1, metavar="N", help="Show only the last N entries as a table.")
    ] = 50,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Show the entries that a figure is the sum of, and the prices behind them."""
    from ledger.reports.explain import explain

    wanted = dict(_cell(item) for item in row or ())
    with open_ledger(db, book) as ledger:
        asked = _asked(ledger, period, since, until, timezone, as_of, counted, wallet, against)
        rows_of_its_own = kind_of(name).by is None
        report = _made(name, asked, None if rows_of_its_own else list(wanted) or None)
        found = explain(report, column, wanted)
    _print_cell(found, format_, last)


def _cell(item: str) -> tuple[str, str | None]:
    name, equals, value = item.partition("=")
    if not equals or not name:
        raise typer.BadParameter(f"{item!r} must be DIMENSION=VALUE, such as team=ads")
    return name, value or None


def _format_of(format_: ReportFormat | None, output: Path | None) -> ReportFormat:
    """The format that was asked for, or that the ending of a file says."""
    if output is None:
        return format_ or ReportFormat.TABLE
    found = format_ or _SUFFIXES.get(output.suffix.lower())
    if found is None or found is ReportFormat.TABLE:
        known = ", ".join(_SUFFIXES)
        raise typer.BadParameter(f"{output}: name a file that ends in {known}, or say --format")
    return found


def _asked(
    ledger: Ledger,
    period: str | None,
    since: str | None,
    until: str | None,
    timezone: str,
    as_of: str | None,
    counted: CountedBy,
    wallet: str | None,
    against: str | None,
) -> Asked:
    from ledger.reports.asking import ask
    from ledger.spans import span_of

    return ask(
        ledger,
        span=asked_span(period, since, until, timezone),
        by=counted.value,
        as_of=asked_moment(as_of, timezone),
        wallet=wallet,
        timezone=timezone,
        against=None if against is None else span_of(against, timezone),
    )


def _made(name: str, asked: Asked, by: list[str] | None) -> Report:
    from ledger.cli.output import ProgressBar
    from ledger.reports.catalogue import make

    with ProgressBar(f"reading {asked.book.book}") as progress:
        return make(name, asked, by, progress=progress)


# Printing


def text_of(report: Report, format_: ReportFormat) -> str:
    """A report as it is written to a file."""
    from ledger.cli.output import json_text
    from ledger.reports.formats import as_csv, as_markdown, report_document

    if format_ is ReportFormat.CSV:
        return as_csv(report)
    if format_ is ReportFormat.MD:
        return as_markdown(report)
    if format_ is ReportFormat.HTML:
        from ledger.reports.pages import as_html

        return as_html(report)
    at = report.made_at or "1970-01-01T00:00:00Z"
    return json_text("report", report_document(report), report.notes, generated_at=at)


def _write(report: Report, format_: ReportFormat, output: Path, *, overwrite: bool) -> None:
    from ledger.cli.output import say
    from ledger.exports.writing import whole_file

    with whole_file(output, overwrite=overwrite) as file:
        file.write(text_of(report, format_).encode())
    say(f"wrote {many(len(report.rows), 'row')} to {output}")
    if format_ is ReportFormat.CSV:
        _say_notes(report)


def print_report(report: Report) -> None:
    """A report as a table, with what is to be said of it."""
    from ledger.cli.output import print_table, say
    from ledger.reports.formats import is_number, period_in_words

    total = None if report.total is None else report.written(report.total)
    if total is not None and total and not total[0]:
        total[0] = "total"
    columns = report.columns
    print_table(
        [column.title for column in columns],
        [report.readable(row) for row in report.rows],
        total=total,
        title=f"{report.title}: {period_in_words(report)}",
        numbers=[column.title for column in columns if is_number(column)],
        drops=[*(column.title for column in columns if column.minor), "bill"],
    )
    if not report.rows:
        say("nothing of this is in the book for that time")
    _say_notes(report)


_CELL_CSV = (
    *("wallet", "seq", "kind", "key", "job", "happened_at", "figure"),
    *("corrects", "version"),
)


def _what(entry: Entry) -> str:
    """The kind of an entry, and the closed period that it corrects."""
    return entry.kind if entry.corrects is None else f"{entry.kind} of {entry.corrects}"


def _print_cell(found: Explanation, format_: Format, last: int) -> None:
    from ledger.cli.books import minute
    from ledger.cli.output import emit_json, print_csv, print_table, say
    from ledger.reports.columns import shown
    from ledger.reports.dimensions import label_of
    from ledger.reports.formats import cell_document
    from ledger.reports.report import NONE

    document = cell_document(found)
    if format_ is Format.JSON:
        emit_json("cell", document)
        return
    if format_ is Format.CSV:
        facts = map(dict, document["facts"])
        print_csv(_CELL_CSV, ([fact[name] for name in _CELL_CSV] for fact in facts))
        return
    unit, title = found.column.unit, found.column.title
    of = (
        ", ".join(f"{label_of(name)} {value or NONE}" for name, value in found.row.items()) or "all"
    )
    counted = many(len(found.pieces), "entry", "entries")
    print_table(
        ["wallet", "seq", "what", "job or key", "happened (UTC)", title, "price version"],
        [
            [
                piece.entry.wallet,
                piece.entry.seq,
                _what(piece.entry),
                piece.entry.job or piece.entry.key,
                minute(piece.entry.happened_at),
                shown(piece.amount, unit),
                piece.version or "",
            ]
            for piece in found.pieces[-last:]
        ],
        total=["total", "", "", "", "", found.figure, ""],
        title=f"{found.report.title}, {title} of {of}: {counted}",
        numbers=["seq", "happened (UTC)", title],
        drops=["price version", "seq", "what", "happened (UTC)"],
    )
    if len(found.pieces) > last:
        say(f"{many(len(found.pieces) - last, 'entry', 'entries')} before these are not shown")
    for version, number in found.versions.items():
        say(f"{version}: {many(number, 'entry', 'entries')}")

"""`kling-ledger reconcile …`."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.cli.breaks import (
    print_applied,
    print_breaks,
    print_evidence,
    print_held,
    propose_from,
    write_corrections,
)
from ledger.cli.options import (
    DEFAULT_DB,
    BookOption,
    DbOption,
    Format,
    FormatOption,
    GroupOption,
    PriceBookOption,
    PricesOption,
    complete_price_book,
)
from ledger.cli.parsing import DefaultGroup

if TYPE_CHECKING:
    from ledger.statements import Mapping

app = typer.Typer(
    cls=DefaultGroup,
    help="Hold the book against what the provider says it charged; list and close the breaks.",
    no_args_is_help=True,
)

_EXAMPLES = """
**Examples**

`kling-ledger reconcile october.csv --from 2026-10-01 --to 2026-11-01`

`kling-ledger reconcile october.csv --from 2026-10-01 --to 2026-11-01 --propose corrections.jsonl`

`kling-ledger reconcile apply corrections.jsonl --write-off-cap 1`

`kling-ledger reconcile mapping october.csv > october.toml`
"""


class Status(StrEnum):
    """What may have become of a break."""

    OPEN = "open"
    EXPLAINED = "explained"
    ADJUSTED = "adjusted"
    WRITTEN_OFF = "written_off"
    CLEARED = "cleared"
    ALL = "all"


StatementArgument = Annotated[
    Path,
    typer.Argument(metavar="STATEMENT", help="CSV, JSON lines of tasks, or .xlsx."),
]
BreakArgument = Annotated[str, typer.Argument(metavar="BREAK", help="Name of the break.")]


@app.command("statement", epilog=_EXAMPLES)
def statement(
    statements: Annotated[
        list[Path],
        typer.Argument(
            metavar="STATEMENT",
            help="CSV, JSON lines of tasks, or .xlsx; all files of the bill together.",
        ),
    ],
    since: Annotated[
        str, typer.Option("--from", metavar="DATE", help="First day or moment of the period.")
    ],
    until: Annotated[
        str, typer.Option("--to", metavar="DATE", help="First day or moment after it.")
    ],
    mapping: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="How the statement is to be read (TOML); of several files, once for all of them,"
            " or once for each in their order.",
            show_default="guessed",
        ),
    ] = None,
    cash: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The provider's invoices, held against the top-ups."),
    ] = None,
    cash_mapping: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="How they are to be read.", show_default="guessed"),
    ] = None,
    tolerance: Annotated[
        str | None,
        typer.Option(metavar="CREDITS", help="Let a difference of a charge through up to this."),
    ] = None,
    tolerance_percent: Annotated[
        str | None, typer.Option(metavar="PERCENT", help="…and up to this part of the charge.")
    ] = None,
    tolerance_cap: Annotated[
        str | None, typer.Option(metavar="CREDITS", help="Let through no more than this in all.")
    ] = None,
    alternative: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Other prices the bill may have been made with: a price book or a file; may be"
            " repeated.",
            autocompletion=complete_price_book,
            show_default="the other bundled price books",
        ),
    ] = None,
    propose: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write corrections of the open breaks, to review."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Compare only; keep nothing in the book.")
    ] = False,
    allow_rejected: Annotated[
        bool,
        typer.Option("--allow-rejected", help="Keep it although lines cannot be read."),
    ] = False,
    price_book: PriceBookOption = "evolink",
    prices: PricesOption = None,
    group: GroupOption = None,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Compare the book with a statement, name every difference, and say what causes it.

    The comparison and its breaks are kept in the book; the same statement again changes nothing.
    Exits with 4 if breaks are open, with 7 if lines cannot be read.
    """
    from ledger.cli.books import open_ledger, prices_asked_for
    from ledger.cli.options import open_book_or_file
    from ledger.cli.output import ProgressBar
    from ledger.reconcile import reconcile_book, tolerance_of
    from ledger.statements import read_mapping

    _check_free(propose)
    chosen = prices_asked_for(price_book, prices, group)
    others = [open_book_or_file(name, group) for name in alternative] if alternative else None
    percent = None if tolerance_percent is None else _percent(tolerance_percent)
    with open_ledger(db, book, prices=chosen) as ledger:
        with ProgressBar(f"reading {', '.join(path.name for path in statements)}") as bar:
            held = reconcile_book(
                ledger,
                statements,
                since=since,
                until=until,
                mapping=_mappings_of(mapping),
                cash=cash,
                cash_mapping=None if cash_mapping is None else read_mapping(cash_mapping),
                alternatives=others,
                tolerance=tolerance_of(tolerance, percent, tolerance_cap),
                keep=not dry_run,
                allow_rejected=allow_rejected,
                progress=bar,
            )
        print_held(held, _now_us(ledger), format_)
    if propose is not None:
        propose_from(held, propose)
    if held.rejected and not allow_rejected:
        raise typer.Exit(7)
    if held.open_breaks:
        raise typer.Exit(4)


@app.command("breaks")
def breaks(
    status: Annotated[Status, typer.Option(help="Only those with this status.")] = Status.OPEN,
    kind: Annotated[
        str | None, typer.Option(metavar="KIND", help="Only this kind, such as rounding.")
    ] = None,
    job: Annotated[str | None, typer.Option(metavar="JOB", help="Only this job.")] = None,
    since: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="What happened from then on.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--to", metavar="DATE", help="What happened before.")
    ] = None,
    propose: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write corrections of the open ones, to review."),
    ] = None,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """List breaks that comparisons have found, oldest first."""
    from ledger.cli.books import open_ledger

    _check_free(propose)
    wanted: Any = None if status is Status.ALL else status.value
    with open_ledger(db, book) as ledger:
        found = ledger.breaks(wanted, kind=kind, job=job, since=since, until=until)
        now_us = _now_us(ledger)
    print_breaks(book, found, now_us, format_)
    if propose is not None:
        write_corrections(found, propose)


@app.command("show")
def show(
    break_id: BreakArgument,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Show one break with all its evidence."""
    from ledger.cli.books import open_ledger

    with open_ledger(db, book) as ledger:
        record, now_us = ledger.break_named(break_id), _now_us(ledger)
    if format_ is Format.TABLE:
        print_evidence(record, now_us)
    else:
        print_breaks(book, [record], now_us, format_)


@app.command("apply")
def apply(
    corrections: Annotated[
        Path, typer.Argument(metavar="FILE", help="Corrections that somebody has reviewed.")
    ],
    write_off_cap: Annotated[
        str | None,
        typer.Option(metavar="CREDITS", help="The most that may be written off in a period."),
    ] = None,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Write reviewed corrections into the book and close their breaks, each once.

    Exits with 7 if one is refused; the others are applied all the same.
    """
    from ledger.cli.books import open_ledger
    from ledger.cli.output import emit_json, print_csv
    from ledger.documents import correction_document
    from ledger.reconcile.corrections import apply_corrections, read_corrections

    items = read_corrections(corrections)
    with open_ledger(db, book) as ledger:
        done = apply_corrections(ledger, items, write_off_cap=write_off_cap)
    found = [
        correction_document(
            item.correction.break_id, item.correction.action, item.outcome, item.entry, item.error
        )
        for item in done
    ]
    if format_ is Format.JSON:
        emit_json("corrections", {"book": book, "corrections": found})
    elif format_ is Format.CSV:
        names = ("break_id", "action", "outcome", "code", "problem")
        rows: list[dict[str, Any]] = [dict(item) for item in found]
        print_csv(names, ([row[name] for name in names] for row in rows))
    else:
        print_applied(done)
    if any(item.outcome == "refused" for item in done):
        raise typer.Exit(7)


@app.command("explain")
def explain(
    break_id: BreakArgument,
    note: Annotated[str, typer.Option(metavar="TEXT", help="Why it is right as it is.")],
    owner: Annotated[str | None, typer.Option(metavar="NAME", help="Who says so.")] = None,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Say that a break is right as it is, and why; nothing is written to a wallet."""
    from ledger.cli.books import open_ledger

    with open_ledger(db, book) as ledger:
        record = ledger.resolve_break(break_id, "explained", note=note, owner=owner)
        now_us = _now_us(ledger)
    print_breaks(book, [record], now_us, format_)


@app.command("assign")
def assign(
    break_id: BreakArgument,
    owner: Annotated[str, typer.Argument(metavar="OWNER", help="Who answers for it.")],
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Say who answers for a break."""
    from ledger.cli.books import open_ledger

    with open_ledger(db, book) as ledger:
        record, now_us = ledger.assign_break(break_id, owner), _now_us(ledger)
    print_breaks(book, [record], now_us, format_)


@app.command("reopen")
def reopen(
    break_id: BreakArgument,
    note: Annotated[str | None, typer.Option(metavar="TEXT", help="Why.")] = None,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Open a break again; an entry that corrected it stays in the book."""
    from ledger.cli.books import open_ledger

    with open_ledger(db, book) as ledger:
        record = ledger.resolve_break(break_id, "open", note=note)
        now_us = _now_us(ledger)
    print_breaks(book, [record], now_us, format_)


@app.command("history")
def history(
    db: DbOption = DEFAULT_DB, book: BookOption = "main", format_: FormatOption = Format.TABLE
) -> None:
    """List the comparisons that the book has kept, latest first."""
    from ledger.cli.books import minute_of, open_ledger
    from ledger.cli.output import emit_json, print_csv, print_table, say
    from ledger.documents import reconciliation_record_document

    with open_ledger(db, book) as ledger:
        found = [reconciliation_record_document(item) for item in ledger.reconciliations()]
    names = ("seq", "since", "until", "recorded_at")
    sums = ("lines", "jobs", "ours", "theirs", "difference", "breaks")
    if format_ is Format.JSON:
        emit_json("reconciliations", {"book": book, "reconciliations": found})
    elif format_ is Format.CSV:
        rows: list[dict[str, Any]] = [{**item, **item["result"]} for item in found]
        print_csv([*names, *sums], ([row.get(name) for name in (*names, *sums)] for row in rows))
    elif found:
        print_table(
            ["no.", "from", "to", "compared (UTC)", *sums],
            [
                [
                    item["seq"],
                    item["since"][:10],
                    item["until"][:10],
                    minute_of(item["recorded_at"]),
                    *(item["result"].get(name, "") for name in sums),
                ]
                for item in found
            ],
            title=f"Comparisons of book {book}",
            numbers=["no.", *sums],
            drops=["jobs", "compared (UTC)", "lines"],
        )
    else:
        say("nothing was compared yet")


@app.command("mapping")
def mapping(
    statement: StatementArgument,
) -> None:
    """Guess how a statement is to be read, and print it as a mapping file to look over."""
    from ledger.cli.output import complain, print_text, say
    from ledger.statements import guess_mapping

    guess = guess_mapping(statement)
    print_text(guess.toml().rstrip("\n"))
    for line in (*guess.evidence, *(f"assumed: {line}" for line in guess.assumed)):
        say(line)
    if guess.open:
        complain("the file does not say everything; decide in the mapping", *map(str, guess.open))
        raise typer.Exit(7)


def _now_us(ledger: Any) -> int:
    from ledger.records import us

    return us(ledger.now())


def _mappings_of(paths: list[Path] | None) -> Mapping | list[Mapping] | None:
    """One for all files, or one for each."""
    from ledger.statements import read_mapping

    mappings = [read_mapping(path) for path in paths or ()]
    return mappings if len(mappings) > 1 else next(iter(mappings), None)


def _check_free(path: Path | None) -> None:
    """Refuse to write over corrections that somebody may have reviewed, before anything is kept."""
    if path is None:
        return
    if path.exists() and (path.is_dir() or path.stat().st_size):
        raise typer.BadParameter(
            f"--propose: {path} is there already, and may have been reviewed; name another file"
        )
    if not path.parent.is_dir():
        raise typer.BadParameter(f"--propose: there is no folder {path.parent}")


def _percent(given: str) -> Decimal:
    try:
        percent = Decimal(given)
    except InvalidOperation:
        percent = Decimal("NaN")
    if not percent.is_finite() or not 0 <= percent <= 100:
        raise typer.BadParameter(f"--tolerance-percent takes a part of 100, not {given!r}")
    return percent

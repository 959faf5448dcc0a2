"""`kling-ledger export …`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from ledger.cli import export_focus, export_journal
from ledger.cli.books import many, open_ledger
from ledger.cli.options import (
    DEFAULT_DB,
    STDOUT,
    BookOption,
    DbOption,
    OutputOption,
    OverwriteOption,
    WalletOption,
)
from ledger.cli.parsing import Group
from ledger.cli.spans import (
    AsOfOption,
    CountedBy,
    CountedByOption,
    FromOption,
    PeriodOption,
    ToOption,
    ZoneOption,
    asked_moment_us,
    asked_span,
)

if TYPE_CHECKING:
    from ledger import Ledger
    from ledger.exports.fields import Table
    from ledger.exports.journals import Dialect
    from ledger.exports.manifest import FileMade
    from ledger.exports.rows import Progress, Reading
    from ledger.reports.asking import Asked
    from ledger.spans import Span

__all__ = ["app"]

app = typer.Typer(
    cls=Group,
    help="Write files for other programs: spreadsheets, accounting, cost management, data frames.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


class FlatFormat(StrEnum):
    """How rows are written."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"


class CsvProfile(StrEnum):
    """Who is to read CSV."""

    PLAIN = "plain"
    SPREADSHEET = "spreadsheet"


class Details(StrEnum):
    """What the workbook has a row for."""

    JOBS = "jobs"
    ENTRIES = "entries"


FlatFormatOption = Annotated[
    FlatFormat, typer.Option("--format", "-f", help="How rows are written.")
]
ProfileOption = Annotated[
    CsvProfile,
    typer.Option(
        "--profile",
        help="CSV for programs, or CSV that a `spreadsheet` can open without taking text for a"
        " formula.",
    ),
]
FolderArgument = Annotated[Path, typer.Argument(metavar="FOLDER", help="The folder of an export.")]


def _writes(table: Table) -> Callable[..., None]:
    """The command that writes a table: its options are said once for all three."""

    def write(
        period: PeriodOption = None,
        since: FromOption = None,
        until: ToOption = None,
        timezone: ZoneOption = "UTC",
        as_of: AsOfOption = None,
        by: CountedByOption = CountedBy.HAPPENED,
        wallet: WalletOption = None,
        format_: FlatFormatOption = FlatFormat.CSV,
        profile: ProfileOption = CsvProfile.PLAIN,
        output: OutputOption = STDOUT,
        overwrite: OverwriteOption = False,
        db: DbOption = DEFAULT_DB,
        book: BookOption = "main",
    ) -> None:
        span = asked_span(period, since, until, timezone)
        with open_ledger(db, book) as ledger:
            asked = _asked(ledger, span, timezone, as_of, by, wallet)
            _flat(asked, table, format_, profile, output, overwrite=overwrite)

    return write


app.command(
    "entries",
    help="Write every entry of the wallets, with what its credits had cost.",
    epilog="**Example**: `kling-ledger export entries --period 2026-10 --output entries.csv`\n\n"
    "**Example**: `kling-ledger export entries --format jsonl`",
)(_writes("entries"))
app.command(
    "holds",
    help="Write the holds that were made in the span, as they stand now, or as of `--as-of`.",
    epilog="**Example**: `kling-ledger export holds --period 2026-10 --format parquet"
    " --output holds.parquet`",
)(_writes("holds"))
app.command(
    "jobs",
    help="Write the jobs with anything in the span: what was reserved, charged and refunded in it."
    "\n\nCSV has a column for each label, unless there are more than a hundred.",
    epilog="**Example**: `kling-ledger export jobs --period 2026-10 --profile spreadsheet"
    " --output jobs.csv`",
)(_writes("jobs"))


@app.command(
    epilog="**Example**: `kling-ledger export workbook --period 2026-10 --output 2026-10.xlsx`"
)
def workbook(
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Where to; `-` is stdout.", show_default=False
        ),
    ],
    period: PeriodOption = None,
    since: FromOption = None,
    until: ToOption = None,
    timezone: ZoneOption = "UTC",
    as_of: AsOfOption = None,
    by: CountedByOption = CountedBy.HAPPENED,
    wallet: WalletOption = None,
    rows: Annotated[
        Details, typer.Option("--rows", help="What one sheet has a row for.")
    ] = Details.JOBS,
    overwrite: OverwriteOption = False,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
) -> None:
    """Write a workbook: balances that add up, jobs or entries, usage, and a sheet of controls."""
    from ledger.cli.output import ProgressBar, say
    from ledger.exports.rows import reading
    from ledger.exports.workbook import write_workbook

    span = asked_span(period, since, until, timezone)
    with open_ledger(db, book) as ledger:
        asked = _asked(ledger, span, timezone, as_of, by, wallet)
        with (
            _opened(output, "A workbook", overwrite=overwrite) as file,
            ProgressBar("writing the workbook") as bar,
            reading(asked, bar) as found,
        ):
            tally = write_workbook(found, file, rows=rows.value)
    if output != STDOUT:
        say(f"wrote {output}: {_rows(tally.rows, rows.value)}")


app.command("journal", epilog=export_journal.EXAMPLES)(export_journal.journal)
app.command("focus", epilog=export_focus.EXAMPLES)(export_focus.focus)


@app.command(
    "all", epilog="**Example**: `kling-ledger export all --period 2026-10 --output 2026-10`"
)
def all_(
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="The folder to make.", show_default=False
        ),
    ],
    period: PeriodOption = None,
    since: FromOption = None,
    until: ToOption = None,
    timezone: ZoneOption = "UTC",
    as_of: AsOfOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the folder, if an export wrote it.")
    ] = False,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
) -> None:
    """Write everything for a period into one folder, with a manifest; all of it or nothing.

    That is the month-end pack, FOCUS 1.2 and 1.4, journals for beancount, hledger and ledger, a
    workbook, and entries, holds and jobs as Parquet. Entries count when they happened.
    """
    from ledger.cli.output import ProgressBar, print_table
    from ledger.exports.manifest import check_manifest
    from ledger.exports.writing import whole_folder

    span = asked_span(period, since, until, timezone)
    name = "all" if span is None else span.name.replace("/", "_").replace(":", "")
    with open_ledger(db, book) as ledger:
        asked = _asked(ledger, span, timezone, as_of, CountedBy.HAPPENED, None)
        with (
            whole_folder(output, overwrite=overwrite) as folder,
            ProgressBar(f"writing {output.name}") as bar,
        ):
            _write_all(ledger, asked, folder, name, bar)
    listed, _ = check_manifest(output)
    print_table(
        ["file", "rows", "bytes"],
        [[item.name, "" if item.rows is None else str(item.rows), item.bytes] for item in listed],
        title=f"Wrote {output}",
        numbers=["rows", "bytes"],
    )


@app.command(epilog="**Example**: `kling-ledger export check 2026-10`")
def check(folder: FolderArgument) -> None:
    """Hold the files of an export against its manifest.

    Exits with 9 if a file is missing, is not what was written, or is not listed.
    """
    from ledger.cli.output import print_table, print_text
    from ledger.errors import VerificationFailed
    from ledger.exports.manifest import check_manifest

    listed, findings = check_manifest(folder)
    if findings:
        print_table(["file", "problem"], findings, title=f"Findings in {folder}")
        raise VerificationFailed(findings)
    print_text(f"{folder}: {many(len(listed), 'file')}, all as they were written")


# What they share


def _asked(
    ledger: Ledger,
    span: Span | None,
    timezone: str,
    as_of: str | None,
    by: CountedBy,
    wallet: str | None,
) -> Asked:
    from ledger.records import moment
    from ledger.reports.asking import ask

    as_of_us = asked_moment_us(as_of, timezone)
    return ask(
        ledger,
        span=span,
        by=by.value,
        as_of=None if as_of_us is None else moment(as_of_us),
        wallet=wallet,
        timezone=timezone,
    )


def _flat(
    asked: Asked,
    table: Table,
    format_: FlatFormat,
    profile: CsvProfile,
    output: Path,
    *,
    overwrite: bool,
) -> None:
    from ledger.cli.output import ProgressBar, say
    from ledger.exports.flat import write_flat
    from ledger.exports.rows import reading

    if profile is CsvProfile.SPREADSHEET and format_ is not FlatFormat.CSV:
        raise typer.BadParameter("--profile is about CSV; other formats have no formulas")
    with (
        _opened(output, _BINARY.get(format_), overwrite=overwrite) as file,
        ProgressBar(f"writing {table}") as bar,
        reading(asked, bar) as found,
    ):
        tally = write_flat(found, table, file, format=format_.value, profile=profile.value)
    if output != STDOUT:
        say(f"wrote {output}: {_rows(tally.rows, table)}")


_BINARY = {FlatFormat.PARQUET: "Parquet"}


@contextmanager
def _opened(output: Path, binary: str | None, *, overwrite: bool) -> Iterator[BinaryIO]:
    """The file to write, or stdout; what is no text, by its name, never goes to a terminal."""
    from ledger.exports.writing import whole_file

    if output != STDOUT:
        with whole_file(output, overwrite=overwrite) as file:
            yield file
        return
    if binary is not None and sys.stdout.isatty():
        raise typer.BadParameter(f"{binary} is not for a terminal; name a file with --output")
    if (raw := getattr(sys.stdout, "buffer", None)) is not None:
        yield raw
        raw.flush()
        return
    yield _Text()  # type: ignore[misc]


class _Text:
    """Stdout where it takes text only, as for a caller within Python."""

    def write(self, data: bytes) -> int:
        sys.stdout.write(data.decode())
        return len(data)

    def writelines(self, parts: Iterator[bytes]) -> None:
        for part in parts:
            self.write(part)


def _write_all(ledger: Ledger, asked: Asked, folder: Path, name: str, bar: Progress) -> None:
    """Every file, and the manifest at last.

    Raises:
        OutputError: a file cannot be written; somebody wrote to the book meanwhile.
    """
    from dataclasses import replace

    from ledger.errors import OutputError
    from ledger.exports.manifest import write_manifest
    from ledger.exports.rows import known_until_us, reading

    if asked.as_of_us is None and (known_us := known_until_us(asked)) is not None:
        # All files are of the same entries, whoever writes in the book meanwhile.
        asked = replace(asked, as_of_us=known_us + 1)
    files: list[FileMade] = []
    with reading(asked, bar) as found:
        files += _tables(found, folder, name)
        heads = found.heads
    files += _of_others(ledger, asked, folder, name, bar)
    if asked.span is not None:
        files.append(_pack(asked, asked.span, folder, name, bar))
    with reading(asked, bar) as again:
        if again.heads != heads:
            problem = "the book was written to while its files were made; try again"
            raise OutputError(str(folder), problem)
        write_manifest(folder, again, files)


def _tables(found: Reading, folder: Path, name: str) -> Iterator[FileMade]:
    """Entries, holds and jobs as Parquet, and the workbook."""
    from typing import get_args

    from ledger.exports.fields import Table
    from ledger.exports.flat import write_flat
    from ledger.exports.manifest import file_made
    from ledger.exports.workbook import write_workbook
    from ledger.exports.writing import whole_file

    for table in get_args(Table):
        path = folder / f"{table}_{name}.parquet"
        with whole_file(path) as file:
            tally = write_flat(found, table, file, format="parquet")
        yield file_made(path, rows=tally.rows, totals=tally.totals)
    path = folder / f"workbook_{name}.xlsx"
    with whole_file(path) as file:
        tally = write_workbook(found, file)
    yield file_made(path, rows=tally.rows, totals=tally.totals)


def _of_others(
    ledger: Ledger, asked: Asked, folder: Path, name: str, bar: Progress
) -> Iterator[FileMade]:
    """FOCUS and journals."""
    from typing import get_args

    from ledger.errors import VerificationFailed
    from ledger.exports.focus import FocusVersion, focus_files
    from ledger.exports.journals import journal
    from ledger.exports.manifest import FileMade, file_made
    from ledger.exports.writing import whole_file

    span, as_of_us = asked.span, asked.as_of_us
    for version in get_args(FocusVersion):
        done = focus_files(
            ledger,
            folder,
            version=version,
            format="parquet",
            span=span,
            as_of_us=as_of_us,
            progress=bar,
        )
        if done.findings:
            raise VerificationFailed(done.findings)
        for item in done.files:
            yield FileMade(item.name, item.rows, item.bytes, item.sha256, item.totals)
    for dialect, ending in _JOURNALS.items():
        path = folder / f"journal_{name}.{ending}"
        with whole_file(path) as file:
            lines = journal(
                ledger,
                dialect,
                span=span,
                as_of_us=as_of_us,
                timezone=asked.timezone,
                progress=bar,
            )
            file.writelines(f"{line}\n".encode() for line in lines)
        yield file_made(path, rows=None)


def _pack(asked: Asked, span: Span, folder: Path, name: str, bar: Progress) -> FileMade:
    """The page that people read."""
    from ledger.exports.manifest import file_made
    from ledger.exports.writing import whole_file
    from ledger.records import moment
    from ledger.reports.pack import pack

    as_of = None if asked.as_of_us is None else moment(asked.as_of_us)
    path = folder / f"pack_{name}.html"
    with whole_file(path) as file:
        file.write(pack(asked.book, span, as_of=as_of, progress=bar).encode())
    return file_made(path, rows=None)


_JOURNALS: dict[Dialect, str] = {"beancount": "beancount", "hledger": "journal", "ledger": "ledger"}


def _rows(number: int, table: str) -> str:
    singular = {"entries": "entry", "holds": "hold", "jobs": "job"}[table]
    return many(number, singular, table)

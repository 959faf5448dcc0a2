"""A book held against a statement from a file: read, compared, and kept in the book."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl

from ledger.breaks import BreakRecord, Kept
from ledger.errors import Fault, InvalidMapping, InvalidStatement
from ledger.jobs import Ledger
from ledger.pricing import PriceSource
from ledger.reconcile.again import charged_again
from ledger.reconcile.assigned import assigned
from ledger.reconcile.books import cash_of, read_book
from ledger.reconcile.covered import with_room
from ledger.reconcile.frames import INVOICES
from ledger.reconcile.kept import record_of
from ledger.reconcile.reconciling import HOUR_US, reconcile
from ledger.reconcile.results import EXACTLY, Reconciliation, Tolerance
from ledger.reconcile.untaken import as_billed, with_proposals
from ledger.reconcile.waiting import with_waiting
from ledger.records import ImportRecord, us
from ledger.statements import Mapping, StatementFile, read_statement
from ledger.units import Amount, credits_to_e8, parse_moment, show_credits

__all__ = ["Held", "reconcile_book", "tolerance_of"]


Given = str | Path | StatementFile
"""A file, or what was read of it."""


@dataclass(frozen=True, slots=True)
class Held:
    """A book held against a statement."""

    book: str
    """Name of the book."""
    statements: tuple[StatementFile, ...]
    """What was read."""
    cash: StatementFile | None
    """The provider's invoices, where they were given."""
    result: Reconciliation
    """What was found."""
    breaks: list[BreakRecord]
    """The breaks as the book keeps them, with what people have said of them; in order of time."""
    kept: Kept | None
    """What keeping it changed; None where nothing was kept."""

    @property
    def open_breaks(self) -> list[BreakRecord]:
        """Those that nobody has dealt with."""
        return [record for record in self.breaks if record.status == "open"]

    @property
    def rejected(self) -> int:
        """Lines that could not be read, which are in none of the sums."""
        return sum(len(file.rejected) for file in self.files)

    @property
    def files(self) -> tuple[StatementFile, ...]:
        """All that was read: the statements, and the invoices."""
        return self.statements if self.cash is None else (*self.statements, self.cash)


def reconcile_book(
    book: Ledger,
    statement: Given | Sequence[Given],
    *,
    since: datetime | date | str,
    until: datetime | date | str,
    mapping: Mapping | Sequence[Mapping] | None = None,
    cash: str | Path | StatementFile | None = None,
    cash_mapping: Mapping | None = None,
    prices: PriceSource | None = None,
    alternatives: Sequence[PriceSource] | None = None,
    tolerance: Tolerance = EXACTLY,
    window_us: int = HOUR_US,
    keep: bool = True,
    allow_rejected: bool = False,
    progress: Callable[[int], None] | None = None,
) -> Held:
    """Hold a book against what the provider says it charged, over a period.

    A comparison is about the whole bill: what is in several files, or of several accounts, is to be
    given together.

    The comparison and its breaks are kept in the book, once: the same statement again changes
    nothing. With lines that cannot be read nothing is kept, unless that is allowed, because what
    they say is in none of the sums.

    Args:
        book: whose jobs.
        statement: the provider's file, or what was read of it; or several of them, whose lines are
            counted on from one file to the next.
        since: first moment of the period.
        until: first moment after it.
        mapping: how the statement is to be read; guessed, if None. Of several statements, one for
            all of them, or one for each in their order.
        cash: the provider's invoices, to be held against the top-ups; not looked at, if None.
        cash_mapping: how they are to be read.
        prices: what the jobs were priced with; the book's own, if None.
        alternatives: other prices the bill may have been made with; the other bundled price books,
            if None.
        tolerance: which differences are let through.
        window_us: how far apart a line and a job may be that have no name in common.
        keep: whether to keep it.
        allow_rejected: keep it also where lines could not be read.
        progress: is told the number of lines read.

    Raises:
        InvalidStatement, InvalidMapping: the files; none, or one of them twice; a bill in money
            that does not say how many credits are one unit of it.
        InvalidInput: the period ends before it starts.
        MissingExtra: a workbook, and the extra `xlsx` is not installed.
    """
    since_us, until_us = us(parse_moment(since)), us(parse_moment(until))
    bills = _read_all(statement, mapping, progress)
    bill = pl.concat(file.frame for file in bills)
    invoices = None if cash is None else _read(cash, cash_mapping, progress)
    prices = book.prices if prices is None else prices
    given = assigned(book, bill)
    lines = given.statement
    jobs, tasks = read_book(book, lines, since_us=since_us, until_us=until_us)
    jobs = as_billed(book, jobs, since_us=since_us, until_us=until_us)
    result = reconcile(
        jobs,
        lines,
        since_us=since_us,
        until_us=until_us,
        prices=prices,
        now_us=us(book.now()),
        alternatives=alternatives,
        tolerance=tolerance,
        cash=None if invoices is None else _invoices(invoices),
        book_cash=None if invoices is None else cash_of(book, since_us=since_us, until_us=until_us),
        tasks=_tasks(jobs, tasks, given.tasks),
        window_us=window_us,
    )
    if given.names:
        result = replace(result, breaks=given.renamed(result.breaks))
    result = with_proposals(book, jobs, charged_again(book, jobs, result))
    result = with_waiting(book, with_room(book, result))
    found = [record_of(item, since_us=since_us, until_us=until_us) for item in result.breaks]
    held = Held(book.book, bills, invoices, result, found, None)
    if not keep or (held.rejected and not allow_rejected):
        return replace(held, breaks=_as_known(book, found))
    options = _options(held, prices, tolerance, window_us)
    kept = book.keep_reconciliation(
        since=since,
        until=until,
        digest=hashlib.sha256(b"".join(file.digest for file in held.files)).digest(),
        options=options,
        result=_figures(held),
        breaks=found,
        files=_imports(held, us(book.now())),
    )
    return replace(held, breaks=list(kept.breaks), kept=kept)


def tolerance_of(
    absolute: Amount | None = None, percent: Decimal | None = None, cap: Amount | None = None
) -> Tolerance:
    """A tolerance from credits and a percentage.

    Raises:
        InvalidAmount: an amount is none.

    >>> tolerance_of("0.01", Decimal("0.5"))
    Tolerance(absolute_e8=1000000, relative=Decimal('0.005'), cap_e8=None)
    """
    return Tolerance(
        None if absolute is None else credits_to_e8(absolute),
        None if percent is None else percent.scaleb(-2),
        None if cap is None else credits_to_e8(cap),
    )


def _read_all(
    given: Given | Sequence[Given],
    mapping: Mapping | Sequence[Mapping] | None,
    progress: Callable[[int], None] | None,
) -> tuple[StatementFile, ...]:
    """The statements, the lines of each counted on from the one before.

    Raises:
        InvalidStatement, InvalidMapping: not as many mappings as files; a file; none, or one of
            them twice.
    """
    several = [given] if isinstance(given, str | Path | StatementFile) else given
    files: list[StatementFile] = []
    for item, how in zip(several, _mappings(mapping, len(several)), strict=True):
        done = sum(file.lines for file in files)
        file = _read(item, how, progress and _counted(progress, done))
        if file.digest in {other.digest for other in files}:
            raise InvalidStatement(file.name, [Fault("", "is given twice")])
        _check_credits(file)
        files.append(file if not files else _counted_on(file, files[-1]))
    if not files:
        raise InvalidStatement("the bill", [Fault("", "has no file")])
    return tuple(files)


def _mappings(mapping: Mapping | Sequence[Mapping] | None, files: int) -> Sequence[Mapping | None]:
    """How each of so many files is to be read."""
    if mapping is None or isinstance(mapping, Mapping):
        return [mapping] * files
    if len(mapping) != files:
        problem = f"are {len(mapping)} for {files} files; give one for all, or one for each"
        raise InvalidMapping("the mappings", [Fault("", problem)])
    return mapping


def _counted(progress: Callable[[int], None], done: int) -> Callable[[int], None]:
    return lambda lines: progress(done + lines)


def _counted_on(file: StatementFile, before: StatementFile) -> StatementFile:
    """A file with its lines counted on from those of another one."""
    ends = [before.frame["line"].max(), *(item.line for item in before.rejected)]
    last = max(int(str(end)) for end in [*ends, *(item.line for item in before.left_out)] if end)
    note = f"its lines are counted on: its line 1 is {last + 1:,}"
    return replace(
        file,
        frame=file.frame.with_columns(pl.col("line") + last),
        rejected=tuple(item._replace(line=item.line + last) for item in file.rejected),
        left_out=tuple(item._replace(line=item.line + last) for item in file.left_out),
        notes=(note, *file.notes),
    )


def _read(
    given: Given, mapping: Mapping | None, progress: Callable[[int], None] | None
) -> StatementFile:
    if isinstance(given, StatementFile):
        return given
    return read_statement(given, mapping, progress=progress)


def _tasks(jobs: pl.DataFrame, further: pl.DataFrame, named: pl.DataFrame) -> pl.DataFrame:
    """Further tasks of jobs; what was heard of a task counts more than what was corrected."""
    for known in (jobs.select("task"), further):
        named = named.join(known.drop_nulls("task"), on="task", how="anti")
    return pl.concat([further, named])


def _check_credits(bill: StatementFile) -> None:
    """Refuse a bill without credits: it would say that every job costs nothing.

    Raises:
        InvalidStatement: no line has credits, and there is money.
    """
    frame = bill.frame
    if frame["amount_e8"].null_count() == frame.height > frame["money_e8"].null_count():
        problem = f"amounts are in {bill.mapping.unit}; say how many credits are one of it"
        raise InvalidStatement(bill.name, [Fault("credits_per_unit", problem)])


def _as_known(book: Ledger, found: list[BreakRecord]) -> list[BreakRecord]:
    """Breaks that are not kept, with what was said of them when they were."""
    names = {item.id for item in found}
    known = {item.id: item for item in book.breaks(None) if item.id in names}
    return [
        item._replace(status=before.status, owner=before.owner, note=before.note)
        if (before := known.get(item.id)) is not None
        and before.status != "cleared"
        and (before.happened_at_us, before.difference_e8)
        == (item.happened_at_us, item.difference_e8)
        else item
        for item in found
    ]


def _invoices(file: StatementFile) -> pl.DataFrame:
    """A statement of purchases: its ids are invoices, its amounts credits that came in.

    Raises:
        InvalidStatement: it has no ids, or no money.
    """
    frame = file.frame
    faults = [
        Fault(name, f"is in no line of it; {what}: name its column in the mapping")
        for name, columns, what in (
            ("task or key", ["task", "key"], "the number of the invoice"),
            ("money", ["money_e8"], "what was paid"),
        )
        if all(frame[column].null_count() == frame.height for column in columns)
    ]
    if faults:
        raise InvalidStatement(file.name, faults)
    columns = {
        "invoice": pl.coalesce("key", "task"),
        "credits_e8": pl.col("amount_e8").abs(),
        "money_e8": pl.col("money_e8").abs(),
        "currency": pl.col("currency"),
        "at_us": pl.col("at_us"),
    }
    return frame.select(columns[name].alias(name) for name in INVOICES)


def _options(
    held: Held, prices: PriceSource, tolerance: Tolerance, window_us: int
) -> dict[str, Any]:
    """How it was compared, for whoever asks later."""
    return {
        "files": [_file(file) for file in held.files],
        "prices": prices.name,
        "tolerance": None if tolerance.absolute_e8 is None else show_credits(tolerance.absolute_e8),
        "tolerance_part": None if tolerance.relative is None else str(tolerance.relative),
        "tolerance_cap": None if tolerance.cap_e8 is None else show_credits(tolerance.cap_e8),
        "window_us": window_us,
    }


def _file(file: StatementFile) -> dict[str, Any]:
    return {"name": file.name, "sha256": file.digest.hex(), "lines": file.lines}


def _figures(held: Held) -> dict[str, Any]:
    """Counts and sums, for whoever asks later; amounts as texts."""
    totals = held.result.totals
    return {
        "lines": totals.lines_of_period,
        "lines_matched": totals.lines_matched,
        "lines_rejected": held.rejected,
        "jobs": totals.jobs,
        "jobs_matched": totals.jobs_matched,
        "ours": show_credits(totals.ours_e8),
        "theirs": show_credits(totals.theirs_e8),
        "difference": show_credits(totals.difference_e8),
        "breaks": len(held.result.breaks),
        "tolerated": len(held.result.tolerated),
        "causes": [item.sentence for item in held.result.causes],
    }


def _imports(held: Held, now_us: int) -> list[ImportRecord]:
    cash = [] if held.cash is None else [("cash", held.cash)]
    return [
        ImportRecord("", kind, file.digest, file.name, file.lines, 0, 1, None, now_us)
        for kind, file in [*(("statement", file) for file in held.statements), *cash]
    ]

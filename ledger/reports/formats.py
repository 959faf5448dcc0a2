"""Reports written out: as CSV, Markdown, and the data of JSON. The same report, the same bytes."""

from __future__ import annotations

import csv
from io import StringIO
from typing import TYPE_CHECKING

from ledger.documents.books import reconciled_document
from ledger.documents.reports import (
    CellDocument,
    ColumnDocument,
    ReportDocument,
    span_document,
)
from ledger.records import moment
from ledger.reports.columns import MEASURED, Column, shown
from ledger.units import iso

if TYPE_CHECKING:
    from ledger.reports.explain import Explanation
    from ledger.reports.report import Report

__all__ = [
    "as_csv",
    "as_markdown",
    "cell_document",
    "column_document",
    "is_number",
    "period_in_words",
    "report_document",
]


def as_csv(report: Report) -> str:
    """One line of names and one a row; the total is not among them."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in report.columns])
    writer.writerows(report.cells)
    return text.getvalue()


def as_markdown(report: Report) -> str:
    """A heading, what the report is of, its table with the total, and its notes."""
    titles = [_cell(column.title) for column in report.columns]
    rules = ["---:" if is_number(column) else "---" for column in report.columns]
    readable = map(report.readable, report.rows)
    lines = [titles, rules, *([_cell(cell) for cell in row] for row in readable)]
    if report.total is not None:
        total = report.written(report.total)
        cells = [f"**{_cell(cell)}**" if cell else "" for cell in total]
        if cells and not cells[0]:
            cells[0] = "**total**"
        lines.append(cells)
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    notes = "".join(f"\n* {_cell(note)}" for note in report.notes)
    after = f"{notes}\n" if notes else ""
    return f"## {_cell(report.title)}\n\n{_cell(period_in_words(report))}\n\n{table}\n{after}"


def _cell(text: str) -> str:
    """Text that is no Markdown and no HTML: a label may hold anything."""
    for char in "\\`*_{}[]<>#|~$&!":
        text = text.replace(char, f"\\{char}")
    return text.replace("\n", " ")


def is_number(column: Column) -> bool:
    """Whether a column is set to the right."""
    return column.unit in {*MEASURED, "percent", "moment"}


def period_in_words(report: Report) -> str:
    """Of what time a report is, and what it knew.

    Such as `Book main, 2026-10 (UTC), as happened`.
    """
    asked, span = report.asked, report.span
    words = [f"Book {asked.book.book}", f"{span.name} ({span.timezone})"]
    if asked.wallet is not None:
        words.insert(1, f"wallet {asked.wallet}")
    words.append(f"as {asked.by}")
    if asked.as_of_us is not None:
        words.append(f"as known on {iso(moment(asked.as_of_us))}")
    return ", ".join(words)


def report_document(report: Report) -> ReportDocument:
    """A report as JSON."""
    asked = report.asked
    found = report.reconciled
    return {
        "report": report.name,
        "title": report.title,
        "book": asked.book.book,
        "wallet": asked.wallet,
        "period": span_document(*report.span),
        "counted": asked.by,
        "as_of": None if asked.as_of_us is None else iso(moment(asked.as_of_us)),
        "columns": [column_document(column) for column in report.columns],
        "rows": [_row(report, row) for row in report.rows],
        "total": None if report.total is None else _row(report, report.total),
        "reconciled": None if found is None else reconciled_document(found),
        "notes": list(report.notes),
    }


def cell_document(found: Explanation) -> CellDocument:
    """A figure and what it is made of as JSON."""
    return {
        "report": found.report.name,
        "book": found.report.asked.book.book,
        "column": column_document(found.column),
        "row": dict(found.row),
        "figure": found.figure,
        "facts": [
            {
                "wallet": piece.entry.wallet,
                "seq": piece.entry.seq,
                "kind": piece.entry.kind,
                "key": piece.entry.key,
                "job": piece.entry.job,
                "happened_at": iso(piece.entry.happened_at),
                "figure": shown(piece.amount, found.column.unit),
                "corrects": piece.entry.corrects,
                "version": piece.version,
            }
            for piece in found.pieces
        ],
        "versions": found.versions,
    }


def column_document(column: Column) -> ColumnDocument:
    """A column as JSON."""
    return {
        "name": column.name,
        "unit": column.unit,
        "title": column.title,
        "adds_up": column.adds_up,
    }


def _row(report: Report, row: tuple[object, ...]) -> dict[str, str | int | None]:
    return {
        column.name: _value(value, column)
        for column, value in zip(report.columns, row, strict=True)
    }


def _value(value: object, column: Column) -> str | int | None:
    if value is None or (column.unit == "count" and isinstance(value, int)):
        return value
    return shown(value, column.unit)

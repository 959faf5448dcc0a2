"""Long reports made short: the largest rows, and one for all others, with the same total."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ledger.reports.columns import Column
from ledger.reports.report import Report, Row

__all__ = ["folded"]


def folded(report: Report, most: int) -> Report:
    """A report with its largest rows, in their order, and one for all others."""
    if len(report.rows) <= most:
        return report
    measures = [place for place, column in enumerate(report.columns) if column.adds_up]
    credits = [place for place in measures if report.columns[place].unit == "credits"]
    sizes = credits or measures
    largest = sorted(
        range(len(report.rows)),
        key=lambda at: max((abs(report.rows[at][place] or 0) for place in sizes), default=0),
        reverse=True,
    )
    kept = set(largest[:most])
    rest = [row for at, row in enumerate(report.rows) if at not in kept]
    rows = [row for at, row in enumerate(report.rows) if at in kept]
    note = f"The {most} largest rows stand for themselves; {len(rest):,} others are in one."
    others = _together(report, rest)
    return replace(report, rows=(*rows, others), notes=(*report.notes, note))


def _together(report: Report, rows: Sequence[Row]) -> Row:
    sums = {
        column.name: _sum(report, rows, place, column)
        for place, column in enumerate(report.columns)
        if column.adds_up
    }
    values: list[Any] = []
    for place, column in enumerate(report.columns):
        value: Any = None
        if column.name == "reconciled":
            value = max((row[place] for row in rows), key=_WORST.index)
        elif column.adds_up:
            value = sums[column.name]
        elif column.worked_out is not None:
            known = all(sums.get(name, 0) is not None for name in column.of)
            value = column.worked_out(sums) if known else None
        elif place == 0:
            value = f"{len(rows):,} others"
        elif column.unit == "text":
            value = ""
        values.append(value)
    return tuple(values)


def _sum(report: Report, rows: Sequence[Row], place: int, column: Column) -> Any:
    """The sum of a column; None for money of several currencies, of which the total is none."""
    if column.unit == "money" and report.total is not None and report.total[place] is None:
        return None
    return sum(row[place] or 0 for row in rows)


_WORST = ("reconciled", "open breaks", "not yet")

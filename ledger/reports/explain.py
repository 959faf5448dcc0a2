"""From a figure of a report down to the entries it is made of, and the prices behind them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

import polars as pl

from ledger.errors import Fault, InvalidEntry
from ledger.records import Entry
from ledger.reports.columns import Column, shown
from ledger.reports.dimensions import label_of
from ledger.reports.report import NONE, RECONCILED, Report, called, currencies, known_names
from ledger.store import moves as scans

__all__ = ["Explanation", "Piece", "explain"]


class Piece(NamedTuple):
    """An entry, and what it adds to a figure."""

    entry: Entry
    amount: int
    """In the units of the column."""
    version: str | None
    """The version of the price that its job was quoted with."""


class Explanation(NamedTuple):
    """A figure, and everything that it is the sum of."""

    report: Report
    column: Column
    row: Mapping[str, str | None]
    """The dimensions of its row; those that are left out are summed over."""
    amount: int
    pieces: tuple[Piece, ...]
    """In the order of wallets and their entries; they add up to the amount."""

    @property
    def figure(self) -> str:
        """The figure, written out."""
        return shown(self.amount, self.column.unit)

    @property
    def versions(self) -> dict[str, int]:
        """How many of the pieces each version of a price stands behind, by its name."""
        found = Counter(piece.version for piece in self.pieces if piece.version is not None)
        return dict(sorted(found.items()))


def explain(report: Report, column: str, row: Mapping[str, str | None]) -> Explanation:
    """The entries that one figure of a report is the sum of.

    Args:
        report: as it was made.
        column: the name or title of a column that adds up.
        row: values of the report's dimensions, None for jobs without one; several rows together
            where some are left out, and the total where all are.

    Raises:
        InvalidEntry: no such column, or one that does not add up; no such dimension or row.
    """
    wanted = _column(report, column)
    facts = report.facts
    if facts is None:
        raise InvalidEntry("the cell", [Fault("", f"{report.name} is not made of entries")])
    named = {_dimension(report, name): value for name, value in row.items()}
    _check_row(report, named)
    for name, value in named.items():
        column_of = pl.col(name).cast(pl.String)
        facts = facts.filter(column_of.is_null() if value is None else column_of == value)
    if wanted.unit == "money" and currencies(facts) > 1:
        problem = "is of several currencies, which are not added up; name the one you mean"
        raise InvalidEntry("the cell", [Fault("currency", problem)])
    # An entry may be several facts, such as one on either side of a posting.
    found = (
        facts.group_by(pl.col("wallet").cast(pl.String), "seq")
        .agg(pl.col(wanted.name).cast(pl.Int128).sum())
        .filter(pl.col(wanted.name) != 0)
        .sort("wallet", "seq")
    )
    pieces = tuple(_pieces(report, found))
    return Explanation(report, wanted, named, sum(piece.amount for piece in pieces), pieces)


def _column(report: Report, name: str) -> Column:
    # What a row is of may be called as a figure is: the length of jobs, and what it changed.
    figures = [column for column in report.columns if column.unit != "text"]
    found = called(figures, name)
    if found is None:
        problem = f"has no column {name!r}; known are {known_names(figures)}"
    elif found.of:
        problem = f"{name} is worked out from {' and '.join(found.of)}; explain those"
    elif not found.adds_up:
        sums = [column for column in figures if column.adds_up and not column.of]
        problem = f"{name} is no sum of entries; known are {known_names(sums)}"
    else:
        return found
    raise InvalidEntry("the cell", [Fault("", problem)])


def _check_row(report: Report, named: Mapping[str, str | None]) -> None:
    """Refuse values that no row has, each of them or together.

    A row may be there though nothing is behind it, such as that of an unused budget.
    """
    for name, value in named.items():
        if value not in report.values(name):
            raise InvalidEntry("the cell", [Fault(label_of(name), f"has no row {value!r}")])
    places = {report.place(name): value for name, value in named.items()}
    if named and not any(
        all(row[place] == value for place, value in places.items()) for row in report.rows
    ):
        values = " and ".join(
            f"{label_of(name)} {NONE if value is None else repr(value)}"
            for name, value in named.items()
        )
        raise InvalidEntry("the cell", [Fault("", f"has no row of {values}")])


def _dimension(report: Report, name: str) -> str:
    known = [
        column.name
        for column in report.columns
        if column.unit == "text"
        and column.name != RECONCILED.name
        and report.facts is not None
        and column.name in report.facts.columns
    ]
    for full in (name, f"label.{name}"):
        if full in known:
            return full
    shown_names = ", ".join(map(label_of, known))
    problem = f"has no {name}; known are {shown_names or 'none'}"
    raise InvalidEntry("the cell", [Fault("", problem)])


def _pieces(report: Report, found: pl.DataFrame) -> list[Piece]:
    book = report.asked.book
    rows = found.rows()
    with book.looking() as session:
        places = [(wallet, seq) for wallet, seq, _ in rows]
        entries = list(scans.entries_at(session, book.book, places))
        jobs = list({entry.job for entry in entries if entry.job is not None})
        held = scans.holds_of(session, book.book, jobs, fields=("terms",))
        versions = {job: _version(terms) for job, terms in held}
    return [
        Piece(entry, int(amount), versions.get(entry.job or ""))
        for entry, (_, _, amount) in zip(entries, rows, strict=True)
    ]


def _version(terms: str | None) -> str | None:
    version: str | None = json.loads(terms or "{}").get("price", {}).get("version")
    return version

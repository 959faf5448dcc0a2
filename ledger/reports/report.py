"""A report: rows that add up, what they are about, and whether they agree with the bill."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import polars as pl

from ledger.breaks import Reconciled, ReconciledState
from ledger.errors import Fault, InvalidEntry
from ledger.records import moment
from ledger.reports.asking import Asked
from ledger.reports.columns import Column, shown
from ledger.reports.dimensions import label_of, of_steps, steps_of, unknown_labels
from ledger.spans import STEPS, Span, Step
from ledger.units import iso

__all__ = [
    "EVERYTHING",
    "Bill",
    "Report",
    "called",
    "currencies",
    "dimension",
    "known_names",
    "made",
    "span_of_facts",
    "summed",
]

Row = tuple[Any, ...]

States = Callable[[Row | None], ReconciledState]
"""What a bill says of the row of some dimensions, or of the total."""

EVERYTHING = "all"
"""The name of a span that was not limited."""

NONE = "(none)"
"""What people read where jobs have no such label, or no model."""

SETTLING = ("charge", "refund")
"""Kinds of entries that a bill says something about."""

RECONCILED = Column("reconciled", "text", "bill")
"""Whether a row agrees with the provider's bill: reconciled, open breaks, or not yet."""


@dataclass(frozen=True)
class Report:
    """Figures of a book, a row each for what was asked for, and their total.

    Values stand in the units of their columns: see `ledger.reports.columns.Unit`.
    """

    name: str
    """Such as usage."""
    title: str
    asked: Asked
    span: Span
    """The stretch of time; where all was asked for, from the first fact to the last."""
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    total: Row | None
    """In the places of the columns; None where nothing adds up."""
    reconciled: Reconciled | None
    """Whether the book agrees with the bill of the span; None where no bill says anything of it."""
    notes: tuple[str, ...] = ()
    facts: pl.DataFrame | None = None
    """What was added up, a row each; see `ledger.reports.facts.WHERE`."""

    @property
    def made_at(self) -> str | None:
        """The moment up to which entries may count, in UTC; the same for the same data."""
        known_us = self.asked.known_until_us
        return None if known_us is None else iso(moment(known_us))

    @property
    def cells(self) -> list[list[str]]:
        """Every value written out exactly, a list a row."""
        return [self.written(row) for row in self.rows]

    def written(self, row: Row) -> list[str]:
        """The values of a row, written out exactly."""
        units = (column.unit for column in self.columns)
        return [shown(value, unit) for value, unit in zip(row, units, strict=True)]

    def readable(self, row: Row) -> list[str]:
        """The values of a row as people read them: where a dimension is nothing, it says so."""
        return [
            cell or column.none
            for cell, column in zip(self.written(row), self.columns, strict=True)
        ]

    def values(self, name: str) -> list[Any]:
        """The values of a column, in the order of the rows.

        Raises:
            KeyError: it has no such column.
        """
        place = self.place(name)
        return [row[place] for row in self.rows]

    def place(self, name: str) -> int:
        """Where a column stands.

        Raises:
            KeyError: there is none of that name.
        """
        return {column.name: place for place, column in enumerate(self.columns)}[name]

    def sorted_by(self, name: str) -> Report:
        """The same with its rows in another order: figures the largest first, others the smallest.

        Rows that have the same stay as they stood; those that have nothing come last.

        Raises:
            InvalidEntry: it has no such column; its rows follow each other, as in a statement.
        """
        problem, column = None, called(self.columns, name)
        if self.name == "statement":
            problem = "the rows of a statement follow each other"
        elif column is None:
            problem = f"there is no column {name!r}; known are {known_names(self.columns)}"
        if problem is not None or column is None:
            raise InvalidEntry("the order", [Fault("", problem or "")])
        place = self.place(column.name)
        largest_first = self.columns[place].unit not in {"text", "moment"}
        known_rows = [row for row in self.rows if row[place] is not None]
        known_rows.sort(key=lambda row: row[place], reverse=largest_first)
        unknown = [row for row in self.rows if row[place] is None]
        return replace(self, rows=(*known_rows, *unknown))

    def with_notes(self, *notes: str) -> Report:
        """The same with more to say."""
        return replace(self, notes=(*self.notes, *notes))


def called(columns: Iterable[Column], name: str) -> Column | None:
    """The column of a name or, where no name is that, of a title; None if there is none."""
    found = list(columns)
    for known in ({each.name: each for each in found}, {each.title: each for each in found}):
        if name in known:
            return known[name]
    return None


def known_names(columns: Iterable[Column]) -> str:
    """The names of columns, with the titles that do not follow from them.

    >>> known_names([dimension("label.team"), Column("still_held", "credits", "still held")])
    'team, still_held'
    >>> known_names([Column("price_change", "credits", "price")])
    'price_change (price)'
    """
    return ", ".join(map(_known, columns))


def _known(column: Column) -> str:
    name = label_of(column.name)
    follows = column.title in {name, name.replace("_", " ")}
    return name if follows else f"{name} ({column.title})"


def dimension(name: str) -> Column:
    """The column of a dimension."""
    return Column(name, "text", label_of(name), none=NONE)


def made(
    name: str,
    title: str,
    asked: Asked,
    facts: pl.DataFrame,
    *,
    by: Sequence[str],
    measures: Sequence[Column],
    notes: Sequence[str] = (),
    compared: bool = True,
) -> Report:
    """A report whose rows are the sums of facts.

    Args:
        name: of the report.
        title: of the report.
        asked: what was asked.
        facts: one row a fact, with `ledger.reports.facts.WHERE`, the dimensions, and a column of
            whole numbers for each measure that adds up.
        by: the dimensions, in the order of the columns; none for a total alone.
        measures: the figures.
        notes: what is to be said of it.
        compared: whether the provider's bill says anything of these figures.
    """
    span = span_of_facts(asked, facts)
    bill = Bill(asked, span) if compared else None
    rows, total = summed(facts, by, measures)
    columns = (*map(dimension, by), *measures)
    if bill is not None:
        columns = (*columns, RECONCILED)
        states = bill.states(facts, by)
        rows = [(*row, states(row[: len(by)])) for row in rows]
        total = (*total, states(None))
    state = None if bill is None else bill.whole
    notes = (*notes, *unknown_labels(facts, by))
    return Report(name, title, asked, span, columns, tuple(rows), total, state, tuple(notes), facts)


def summed(
    facts: pl.DataFrame, by: Sequence[str], measures: Sequence[Column]
) -> tuple[list[Row], Row]:
    """The sums of facts for each of their dimensions, in their order, and of all of them.

    Sums are made in 128 bits: a sum of 64 bits would run over in silence.
    """
    summable = [each for each in measures if each.worked_out is None]
    sums = [each.name for each in summable]
    exact = [_sum(each, facts.columns) for each in summable]
    groups = facts.group_by(by).agg(exact).sort(by, nulls_last=True) if by else facts.head(0)
    rows = (
        [
            (*row[: len(by)], *_figures(dict(zip(sums, row[len(by) :], strict=True)), measures))
            for row in groups.select(
                *(pl.col(name).cast(pl.String) for name in by), *sums
            ).iter_rows()
        ]
        if by
        else []
    )
    whole = facts.select(exact).row(0, named=True)
    return rows, (*([None] * len(by)), *_figures(whole, measures))


def _sum(column: Column, known: Collection[str]) -> pl.Expr:
    """What the figures of a column come to: their sum, or the earliest of moments."""
    if column.unit == "moment":
        return pl.col(column.name).min()
    found = pl.col(column.name).cast(pl.Int128).sum()
    if column.unit != "money" or "currency" not in known:
        return found
    one = pl.col("currency").drop_nulls().n_unique() <= 1
    return pl.when(one).then(found).alias(column.name)


def _figures(sums: dict[str, Any], measures: Sequence[Column]) -> Iterator[Any]:
    for each in measures:
        if each.worked_out is None:
            yield sums[each.name]
        elif any(sums.get(name, 0) is None for name in each.of):
            yield None
        else:
            yield each.worked_out(sums)


def currencies(facts: pl.DataFrame) -> int:
    """How many currencies the money of facts is in."""
    return facts["currency"].drop_nulls().n_unique() if "currency" in facts.columns else 0


def span_of_facts(asked: Asked, facts: pl.DataFrame) -> Span:
    """The span that was asked for; where all was, the one from the first fact to the last."""
    if asked.span is not None:
        return asked.span
    known = facts["at_us"].drop_nulls()
    first, last = (0, 0) if known.is_empty() else (known.sort().item(0), known.sort().item(-1))
    return Span(EVERYTHING, first, last + 1, asked.timezone)


class Bill:
    """Which figures agree with the provider's bill, as comparisons stand now."""

    def __init__(self, asked: Asked, span: Span) -> None:
        """What comparisons have found about a span."""
        self._asked, self._span = asked, span
        self.whole = asked.book.reconciled(since=span.start, until=span.end)
        self._compared: dict[tuple[int, int], bool] = {}

    def states(self, facts: pl.DataFrame, by: Sequence[str]) -> States:
        """Whether the figures of each row agree, given its dimensions; of the total, given None.

        A row is `not yet` where its own time was not compared, or where one of its charges or
        refunds happened at another time that was not, or came after it was; it has `open breaks`
        where an open one is about a job that is part of it.
        """
        settled = pl.col("kind").cast(pl.String).is_in(SETTLING)
        when = pl.col("happened_at_us" if "happened_at_us" in facts.columns else "at_us")
        away = facts.with_columns(when.alias("when_us")).filter(
            settled & ((when < self._span.start_us) | (when >= self._span.end_us))
        )
        since_us, until_us = self._around(away["when_us"])
        missing = pl.concat(
            [
                away.filter(self._uncompared(away["when_us"])).drop("when_us"),
                facts.filter(settled & self._unseen(facts["job"], since_us, until_us)),
            ]
        )
        disputed = facts.filter(self._disputed(facts["job"], since_us, until_us))
        rows_missing, rows_disputed = _rows(missing, by), _rows(disputed, by)
        parts = None if self._is_whole else self._parts(facts, by)

        def state(row: Row | None) -> ReconciledState:
            if row is None:
                compared = self._is_whole and missing.is_empty()
                is_open = bool(self.whole.open_breaks) or not disputed.is_empty()
            else:
                compared = row not in rows_missing and self._has_compared(row, parts)
                is_open = row in rows_disputed
            if not compared:
                return "not yet"
            return "open breaks" if is_open else "reconciled"

        return state

    @property
    def _is_whole(self) -> bool:
        return self.whole.reconciliation is not None

    def _around(self, away_us: pl.Series) -> tuple[int, int]:
        """From the first to the last moment of the span and of what happened outside it."""
        since_us, until_us = self._span[1:3]
        if not away_us.is_empty():
            known = away_us.sort()
            since_us = min(since_us, known.item(0))
            until_us = max(until_us, known.item(-1) + 1)
        return since_us, until_us

    def _disputed(self, jobs: pl.Series, since_us: int, until_us: int) -> pl.Series:
        """Whether an open break is about a job."""
        found = self._asked.book.breaks("open", since=moment(since_us), until=moment(until_us))
        return _named(jobs, [item.job for item in found if item.job is not None])

    def _unseen(self, jobs: pl.Series, since_us: int, until_us: int) -> pl.Series:
        """Whether something about a job came after its time was compared."""
        if not self.whole.changed and (since_us, until_us) == self._span[1:3]:
            return _named(jobs, [])
        found = self._asked.book.unseen_jobs(since=moment(since_us), until=moment(until_us))
        return _named(jobs, found)

    def _uncompared(self, at_us: pl.Series) -> pl.Series:
        """Whether the day of a moment was not compared, in the time zone of the span."""
        return of_steps(
            at_us,
            "day",
            self._span.timezone,
            lambda day: not self._covers(day.start_us, day.end_us),
            pl.Boolean,
        )

    def _parts(self, facts: pl.DataFrame, by: Sequence[str]) -> tuple[int, dict[str, Span]] | None:
        """Which dimension of a row says its time, and the times there are: the finest."""
        for step in STEPS:
            if step in by:
                # One moment of each is enough.
                at_us = facts.group_by(step).agg(pl.col("at_us").min())["at_us"]
                found = steps_of(at_us, cast("Step", step), self._span.timezone)
                return by.index(step), {each.name: each for each in found}
        return None

    def _has_compared(self, row: Row, parts: tuple[int, dict[str, Span]] | None) -> bool:
        if self._is_whole or parts is None:
            return self._is_whole
        place, spans = parts
        part = spans.get(row[place])
        if part is None:  # such as the opening of a statement, before all of them
            return False
        start_us = max(part.start_us, self._span.start_us)
        end_us = min(part.end_us, self._span.end_us)
        return start_us < end_us and self._covers(start_us, end_us)

    def _covers(self, start_us: int, end_us: int) -> bool:
        if (start_us, end_us) not in self._compared:
            found = self._asked.book.reconciled(since=moment(start_us), until=moment(end_us))
            self._compared[start_us, end_us] = found.reconciliation is not None
        return self._compared[start_us, end_us]


def _named(jobs: pl.Series, names: Iterable[str]) -> pl.Series:
    """Whether each of some jobs is one of others."""
    wanted = pl.Series(sorted(names), dtype=pl.String)
    return jobs.is_in(wanted.implode()).fill_null(value=False)


def _rows(facts: pl.DataFrame, by: Sequence[str]) -> set[Row]:
    """The rows that some facts are part of."""
    names = [pl.col(name).cast(pl.String) for name in by]
    return set(facts.select(names).unique().iter_rows()) if by else set()

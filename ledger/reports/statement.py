"""The statement of a wallet: opening, every entry or sums of them, closing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from ledger.errors import Fault, InvalidEntry
from ledger.reports.asking import EVER_US, Asked
from ledger.reports.columns import Column, Sums
from ledger.reports.dimensions import checked, dimensioned
from ledger.reports.facts import Progress, entries, nothing
from ledger.reports.movements import HOLDING, POSTING, until_the_end
from ledger.reports.report import Report, made, span_of_facts
from ledger.spans import STEPS

__all__ = ["CLOSING", "ENTRY", "OPENING", "statement"]

ENTRY = "entry"
"""The dimension of single entries: their places in the wallet."""

DEFAULT_BY = (ENTRY,)

OPENING, CLOSING = "opening", "closing"
"""How the first line and the total are called."""

_KNOWN = (ENTRY, "kind", "contra", *STEPS)
_OF_ENTRY = (ENTRY, "kind", "reference")

_MOVED = (Column("posted", "credits", "posted"), Column("held", "credits", "held"))


def _posted(sums: Sums) -> int:
    return sums["posted"]


def _held(sums: Sums) -> int:
    return sums["held"]


_AFTER = (
    Column("posted_after", "credits", "posted after", _posted, ("posted",)),
    Column("held_after", "credits", "held after", _held, ("held",), minor=True),
)
"""Running balances: each follows from all rows up to its own."""


def statement(
    asked: Asked,
    by: Iterable[str] | str = DEFAULT_BY,
    *,
    progress: Progress = nothing,
) -> Report:
    """What a wallet had, what moved in it and on its holds, and what it has.

    The first row is the opening balance and the total the closing one, so that opening and
    movements add up to closing. Entries that move nothing are left out.

    Args:
        asked: which book, span and wallet.
        by: `entry`, or `kind`, `contra`, and hours, days, weeks or months.
        progress: is told how many entries were read.

    Raises:
        InvalidEntry: the dimensions.

    >>> from ledger import Ledger
    >>> from ledger.reports.asking import ask
    >>> with Ledger("sqlite://") as book:
    ...     _ = book.top_up("studio", 100, key="invoice-1")
    ...     _ = book.reserve("studio", 40, key="job-1")
    ...     _ = book.charge("job-1", 25)
    ...     report = statement(ask(book, wallet="studio"), by="kind")
    >>> [(kind, posted) for kind, posted, *_ in report.cells]
    [('opening', '0'), ('charge', '-25'), ('reserve', '0'), ('top_up', '100')]
    """
    names = _checked(by)
    facts = _facts(asked, progress)
    report = made(
        "statement",
        "Statement",
        asked,
        _named(asked, facts, names),
        by=names,
        measures=_MOVED if names != _OF_ENTRY else (Column("at", "moment", "at (UTC)"), *_MOVED),
    )
    return _told(report, names)


def _checked(by: Iterable[str] | str) -> tuple[str, ...]:
    names = checked(by, _KNOWN)
    problem = None
    if unfit := [name for name in names if name not in _KNOWN]:
        shown = unfit[0].removeprefix("label.")
        problem = f"{shown} says nothing of every entry; known are {', '.join(_KNOWN)}"
    elif ENTRY in names and len(names) > 1:
        problem = f"{ENTRY} is a row each already; leave out the others"
    if problem is not None:
        raise InvalidEntry("by", [Fault("", problem)])
    return _OF_ENTRY if names == DEFAULT_BY else names


def _facts(asked: Asked, progress: Progress) -> pl.DataFrame:
    """Everything up to the end of the span, in the order in which it counts."""
    found = entries(
        until_the_end(asked),
        kinds=(*POSTING, *HOLDING),
        fields=("key", "contra", "posted_e8", "held_e8"),
        progress=progress,
    )
    return found.sort(*(("at_us", "seq") if asked.by == "happened" else ("seq",))).with_columns(
        pl.col("posted_e8").alias("posted"),
        pl.col("held_e8").alias("held"),
        pl.col("seq").cast(pl.String).alias(ENTRY),
        pl.coalesce("job", "key").alias("reference"),
    )


def _named(asked: Asked, facts: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """Facts with their rows' names; all before the span are the opening balance."""
    start_us = -EVER_US if asked.span is None else asked.span.start_us
    span, before = span_of_facts(asked, facts), pl.col("before")
    facts = facts.with_columns(
        (pl.col("at_us") < start_us).alias("before"), pl.col("at_us").clip(span.start_us)
    )
    return dimensioned(facts, names, span).with_columns(
        *(
            pl.when(before)
            .then(pl.lit(OPENING if place == 0 else None))
            .otherwise(pl.col(name).cast(pl.String))
            .alias(name)
            for place, name in enumerate(names)
        ),
        pl.when(~before).then("at_us").alias("at"),
    )


def _told(report: Report, names: Sequence[str]) -> Report:
    """The rows in their order from opening to closing, with balances where they follow."""
    # The opening balance is of no kind and no job.
    columns = tuple(column._replace(none="") for column in report.columns)
    report = replace(report, columns=columns)
    opening = [row for row in report.rows if row[0] == OPENING]
    rows = [row for row in report.rows if row[0] != OPENING]
    if not opening:
        nothing_yet = [0 if column.unit == "credits" else None for column in report.columns[1:-1]]
        state = None if report.reconciled is None else report.reconciled.state
        opening = [(OPENING, *nothing_yet, state)]
    if names == _OF_ENTRY and report.facts is not None:
        places = {entry: place for place, entry in enumerate(report.facts[ENTRY])}
        rows.sort(key=lambda row: places[row[0]])
    rows = [*opening, *rows]
    total = (CLOSING, *(report.total or ())[1:])
    if names == _OF_ENTRY:
        total = (*total[:3], None, *total[4:])
    elif len(names) > 1 or names[0] not in STEPS:
        return replace(report, rows=tuple(rows), total=total)
    columns = (*report.columns[:-1], *_AFTER, report.columns[-1])
    posted = report.place("posted")
    total = (*total[:-1], *total[posted : posted + 2], total[-1])
    return replace(report, columns=columns, rows=tuple(_running(rows, posted)), total=total)


def _running(rows: Sequence[tuple[Any, ...]], posted: int) -> Iterator[tuple[Any, ...]]:
    """Rows with what the wallet had, and what was held of it, after each of them."""
    posted_e8 = held_e8 = 0
    for row in rows:
        posted_e8 += row[posted]
        held_e8 += row[posted + 1]
        yield (*row[:-1], posted_e8, held_e8, row[-1])

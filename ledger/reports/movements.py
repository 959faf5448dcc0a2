"""What every wallet began with, what came and went, and what it ended with."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from ledger.reports.asking import EVER_US, Asked
from ledger.reports.columns import Column
from ledger.reports.facts import Progress, entries, nothing
from ledger.reports.report import Report, made

__all__ = ["HOLDING", "POSTING", "movements", "until_the_end"]

POSTING = ("top_up", "charge", "refund", "adjust", "lapse")
"""Kinds of entries that change the credits of a wallet."""

HOLDING = ("reserve", "extend", "release")
"""Kinds that only set credits aside, or give them back."""

_KINDS = (
    ("refunds", "refund"),
    ("charges", "charge"),
    ("adjustments", "adjust"),
    ("lapses", "lapse"),
)

MEASURES = (
    Column("opening", "credits", "opening"),
    Column("top_ups", "credits", "top-ups"),
    Column("promotional", "credits", "promotional", minor=True),
    Column("refunds", "credits", "refunds"),
    Column("charges", "credits", "charges"),
    Column("adjustments", "credits", "adjustments", minor=True),
    Column("lapses", "credits", "lapses"),
    Column("closing", "credits", "closing"),
    Column("held", "credits", "held", minor=True),
)


def until_the_end(asked: Asked) -> Asked:
    """The same question of everything up to the end of its span: what it opened with as well."""
    if asked.span is None:
        return asked
    return replace(asked, span=asked.span._replace(start_us=-EVER_US))


def movements(asked: Asked, *, progress: Progress = nothing) -> Report:
    """The roll-forward of every wallet: opening and movements add up to closing.

    Figures have their signs: charges and lapses are below zero.

    Args:
        asked: which book and span.
        progress: is told how many entries were read.

    >>> from ledger import Ledger
    >>> from ledger.reports.asking import ask
    >>> with Ledger("sqlite://") as book:
    ...     _ = book.top_up("studio", 100, key="invoice-1")
    ...     _ = book.reserve("studio", 40, key="job-1")
    ...     _ = book.charge("job-1", 25, final=False)
    ...     report = movements(ask(book))
    >>> dict(zip([column.name for column in report.columns], report.cells[0]))["closing"]
    '75'
    """
    facts = entries(
        until_the_end(asked),
        kinds=(*POSTING, *HOLDING),
        fields=("contra", "posted_e8", "held_e8"),
        progress=progress,
    )
    start_us = -EVER_US if asked.span is None else asked.span.start_us
    inside, posted = pl.col("at_us") >= start_us, pl.col("posted_e8")
    top_up, promotional = pl.col("kind") == "top_up", pl.col("contra") == "promotion"
    facts = facts.with_columns(
        _where(~inside, posted).alias("opening"),
        _where(inside & top_up & ~promotional, posted).alias("top_ups"),
        _where(inside & top_up & promotional, posted).alias("promotional"),
        *(
            _where(inside & (pl.col("kind") == kind), posted).alias(column)
            for column, kind in _KINDS
        ),
        posted.alias("closing"),
        pl.col("held_e8").alias("held"),
    )
    return made(
        "movements",
        "Movements",
        asked,
        facts,
        by=("wallet",),
        measures=MEASURES,
        notes=("Opening and the movements add up to closing; held is what of it is set aside.",),
    )


def _where(condition: pl.Expr, value: pl.Expr) -> pl.Expr:
    return pl.when(condition).then(value).otherwise(0)

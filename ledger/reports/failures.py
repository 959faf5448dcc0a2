"""Refunds and failures: jobs that cost nothing, what was given back, and what is not certain."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from ledger.records import moment, us
from ledger.reports.asking import Asked
from ledger.reports.columns import Column, Sums, percent_of
from ledger.reports.dimensions import checked, dimensioned
from ledger.reports.facts import Progress, nothing
from ledger.reports.jobs import DIMENSIONS, jobs, where
from ledger.reports.report import Report, made, span_of_facts
from ledger.units import iso

__all__ = ["failures"]

DEFAULT_BY = ("model",)


def _failure(sums: Sums) -> object:
    return percent_of(sums["failed"], sums["ended"])


def _refund(sums: Sums) -> object:
    return percent_of(sums["refunded"], sums["charged"])


MEASURES = (
    Column("jobs", "count", "jobs"),
    Column("ended", "count", "ended"),
    Column("failed", "count", "failed"),
    Column("failed_percent", "percent", "failed %", _failure, ("failed", "ended")),
    Column("charged", "credits", "charged"),
    Column("refunds", "count", "refunds", minor=True),
    Column("refunded", "credits", "refunded"),
    Column("refunded_percent", "percent", "refunded %", _refund, ("refunded", "charged")),
    Column("late", "count", "late", minor=True),
    Column("uncollected", "credits", "uncollected", minor=True),
    Column("unknown", "count", "unknown"),
    Column("unproven", "count", "unproven"),
)


def failures(
    asked: Asked,
    by: Iterable[str] | str = DEFAULT_BY,
    *,
    progress: Progress = nothing,
) -> Report:
    """How many of the jobs that were reserved in a span failed, and what was given back.

    A job failed where it ended and nothing was ever charged for it. It ends with a charge that is
    the last one, or with a release. It is unknown where its deadline has passed before it ended,
    and unproven where the provider calls its task failed and has not proven a refund.

    Args:
        asked: which book and span; what became of its jobs counts whenever it happened.
        by: dimensions of the rows, such as `model`, `reason`, `day`, or a label such as `team`.
            `reason` is why a job failed: the provider's word for its task, or else the reason of
            its release.
        progress: is told how many entries were read.

    Raises:
        InvalidEntry: the dimensions.
    """
    names = checked(by, (*DIMENSIONS, "reason"))
    found = jobs(asked, progress=progress)
    waiting = found.filter(~pl.col("ended"))
    notes, now_us = [], 0
    if not waiting.is_empty():
        # Only what has not ended depends on the moment it is looked at.
        now_us = us(asked.book.now()) if asked.as_of_us is None else asked.as_of_us
        notes = [f"unknown: jobs whose deadline had passed on {iso(moment(now_us))} without an end"]
    facts = _measured(found, now_us)
    facts = dimensioned(facts, names, span_of_facts(asked, facts))
    return made(
        "failures", "Refunds and failures", asked, facts, by=names, measures=MEASURES, notes=notes
    )


def _measured(found: pl.DataFrame, now_us: int) -> pl.DataFrame:
    """The figures of each entry; those of a whole job stand with its first or its last."""
    kind = pl.col("kind").cast(pl.String)
    last, ended = pl.col("last"), pl.col("ended")
    failed = ended & ~pl.col("billed")
    overdue = ~ended & (pl.col("deadline_us") <= now_us)
    released = pl.col("reason").drop_nulls().last().over("job")
    return found.with_columns(
        where(pl.col("first")).alias("jobs"),
        where(last & ended).alias("ended"),
        where(last & failed).alias("failed"),
        pl.col("charged_e8").alias("charged"),
        where(kind == "refund").alias("refunds"),
        pl.col("refunded_e8").alias("refunded"),
        pl.col("late").alias("late"),
        pl.col("uncollected_e8").alias("uncollected"),
        where(last & overdue).alias("unknown"),
        where(last, "unproven").alias("unproven"),
        pl.when(failed).then(pl.coalesce("word", released)).alias("reason"),
    )

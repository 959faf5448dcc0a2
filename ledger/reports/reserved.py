"""Reserved versus charged: how much jobs set aside, for how long, and how much of it they used."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from ledger.reports.asking import Asked
from ledger.reports.columns import SECOND_E9, Column, Sums, percent_of
from ledger.reports.dimensions import checked, dimensioned
from ledger.reports.facts import Progress, nothing
from ledger.reports.jobs import DIMENSIONS, jobs, where
from ledger.reports.report import Report, made, span_of_facts
from ledger.units import divide

__all__ = ["reserved"]

DEFAULT_BY = ("model", "length")

_HOUR_US = 3_600_000_000
_MICROSECOND_E9 = 1_000
_TENTH_E9 = SECOND_E9 // 10


def _used(sums: Sums) -> object:
    return percent_of(sums["charged"], sums["reserved"])


def _average(sums: Sums) -> int | None:
    """Tenths of a second, half up; None where no hold has ended."""
    if not sums["ended_holds"]:
        return None
    return divide(sums["held_time"], sums["ended_holds"] * _TENTH_E9, "half_up") * _TENTH_E9


MEASURES = (
    Column("jobs", "count", "jobs"),
    Column("reserved", "credits", "reserved"),
    Column("unused", "credits", "unused"),
    Column("still_held", "credits", "still held"),
    Column("over", "credits", "over"),
    Column("charged", "credits", "charged"),
    Column("used_percent", "percent", "used %", _used, ("charged", "reserved")),
    Column("over_estimates", "count", "over-estimates", minor=True),
    Column("under_estimates", "count", "under-estimates", minor=True),
    Column("ended_holds", "count", "ended", minor=True),
    Column("held_time", "seconds", "s held", minor=True),
    Column("average_held", "seconds", "average s held", _average, ("held_time", "ended_holds")),
    Column("credit_hours", "credits", "credit-hours", minor=True),
)


def reserved(
    asked: Asked,
    by: Iterable[str] | str = DEFAULT_BY,
    *,
    progress: Progress = nothing,
) -> Report:
    """What the jobs that were reserved in a span set aside, and what became of it.

    Reserved, less unused, less still held, plus over is charged, in every row.

    Args:
        asked: which book and span; what became of its jobs counts whenever it happened.
        by: dimensions of the rows, such as `model`, `length`, `day`, or a label such as `team`.
        progress: is told how many entries were read.

    Raises:
        InvalidEntry: the dimensions.
    """
    names = checked(by, DIMENSIONS)
    facts = _measured(jobs(asked, progress=progress))
    facts = dimensioned(facts, names, span_of_facts(asked, facts))
    return made("reserved", "Reserved versus charged", asked, facts, by=names, measures=MEASURES)


def _measured(found: pl.DataFrame) -> pl.DataFrame:
    """The figures of each entry; those of a whole job stand with its first, or its last charge."""
    charged, freed = pl.col("charged_e8"), pl.col("freed_e8")
    cost, made_for = pl.col("job_charged_e8"), pl.col("job_reserved_e8")
    settles, is_charge = pl.col("settles") & pl.col("ended"), pl.col("kind") == "charge"
    is_free = pl.col("ended") & pl.col("ended_at_us").is_not_null()
    first_free = pl.col("first") & is_free
    since_us, until_us = pl.col("reserved_at_us"), pl.col("ended_at_us")
    held_us = pl.max_horizontal(0, pl.col("happened_at_us") - since_us).cast(pl.Int128)
    # What was set aside later was held for so much less.
    held = (freed - where(~pl.col("first"), "reserved_e8")) * held_us
    # Half up to 10^-8 of a credit for an hour, entry by entry.
    hours = ((2 * held + _HOUR_US) // (2 * _HOUR_US)).cast(pl.Int64)
    return found.with_columns(
        where(pl.col("first")).alias("jobs"),
        pl.col("reserved_e8").alias("reserved"),
        pl.max_horizontal(0, freed - charged).alias("unused"),
        where(pl.col("first"), "job_held_e8").alias("still_held"),
        where(is_charge, pl.max_horizontal(0, charged - freed)).alias("over"),
        charged.alias("charged"),
        where(settles & (cost < made_for)).alias("over_estimates"),
        where(settles & (cost > made_for)).alias("under_estimates"),
        where(first_free, _MICROSECOND_E9 * pl.max_horizontal(0, until_us - since_us)).alias(
            "held_time"
        ),
        where(is_free, hours).alias("credit_hours"),
        where(first_free).alias("ended_holds"),
    )

"""What jobs cost: charges and refunds, by anything that is known of a job."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import polars as pl

from ledger.reports.asking import Asked
from ledger.reports.columns import Column, Sums
from ledger.reports.dimensions import NAMED, checked, dimensioned
from ledger.reports.facts import Progress, charges, nothing
from ledger.reports.report import Report, made, span_of_facts

__all__ = ["MEASURES", "spent", "usage"]

DEFAULT_BY = ("model",)
_KNOWN = tuple(name for name in NAMED if name != "contra")


def _net(sums: Sums) -> int:
    return sums["charged"] - sums["refunded"]


MEASURES = (
    Column("charges", "count", "charges"),
    Column("seconds", "seconds", "seconds"),
    Column("charged", "credits", "charged"),
    Column("refunded", "credits", "refunded"),
    Column("net", "credits", "net", _net, ("charged", "refunded")),
)


def usage(
    asked: Asked,
    by: Iterable[str] | str = DEFAULT_BY,
    *,
    progress: Progress = nothing,
) -> Report:
    """Credits charged and refunded in a span, and the seconds charged for.

    Args:
        asked: which book and span.
        by: dimensions of the rows, such as `model`, `day`, or a label such as `team`.
        progress: is told how many entries were read.

    Raises:
        InvalidEntry: the dimensions.
    """
    names = checked(by, _KNOWN)
    facts = spent(asked, names, progress=progress)
    facts = dimensioned(facts, names, span_of_facts(asked, facts))
    return made("usage", "Usage", asked, facts, by=names, measures=MEASURES)


def spent(
    asked: Asked, by: Collection[str] | None = None, *, progress: Progress = nothing
) -> pl.DataFrame:
    """The facts of usage, before they have dimensions; see `ledger.reports.facts.charges`."""
    found = charges(asked, by, progress=progress)
    return found.with_columns(
        (pl.col("kind") == "charge").cast(pl.Int64).alias("charges"),
        pl.col("seconds_e9").alias("seconds"),
        pl.col("charged_e8").alias("charged"),
        pl.col("refunded_e8").alias("refunded"),
    )

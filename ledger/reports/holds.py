"""Open holds: how old they are, and whether their outcome is unknown."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from ledger.breaks import AGE_BUCKETS, age_bucket
from ledger.records import moment
from ledger.reports.asking import Asked
from ledger.reports.columns import Column
from ledger.reports.dimensions import checked, dimensioned
from ledger.reports.facts import Progress, framed, nothing
from ledger.reports.now import at_one_moment, now_us, wallets_then
from ledger.reports.report import Report, made, span_of_facts
from ledger.store import then
from ledger.units import iso

__all__ = ["STATES", "open_holds"]

DEFAULT_BY = ("age", "state")

STATES = ("open", "unknown")
"""`unknown` is an open hold whose deadline has passed unheard."""

_KNOWN = (
    *("age", "state", "wallet", "model", "quality", "orientation", "version", "channel"),
    *("policy", "job", "hour", "day", "week", "month"),
)

_FIELDS = ("wallet", "seq", "kind", "job", "at_us", "labels", "terms", "policy", "held_e8", "age")
_SCHEMA = (*_FIELDS, "state")

MEASURES = (
    Column("holds", "count", "holds"),
    Column("held", "credits", "held"),
    Column("oldest", "moment", "oldest (UTC)"),
)


def open_holds(
    asked: Asked,
    by: Iterable[str] | str = DEFAULT_BY,
    *,
    progress: Progress = nothing,
) -> Report:
    """The credits that open holds keep, by age in whole days since they were reserved.

    Args:
        asked: which book, and at which moment: `as_of`, or now.
        by: dimensions of the rows, such as `age`, `state`, `model`, or a label such as `team`;
            days and months are those of the reservations.
        progress: is told how many holds were read.

    Raises:
        InvalidEntry: the dimensions.
    """
    names, at_us = checked(by, _KNOWN), now_us(asked)
    with asked.book.looking() as session:
        wallets = list(wallets_then(session, asked))
        found = [
            hold
            for record, place in wallets
            for hold in then.holds_then(session, record, place, only_open=True)
        ]
    rows = [_row(hold, at_us) for hold in sorted(found, key=lambda hold: (hold.wallet, hold.seq))]
    facts = framed(rows, _SCHEMA, progress=progress).with_columns(
        pl.lit(1, pl.Int64).alias("holds"),
        pl.col("held_e8").alias("held"),
        pl.col("at_us").alias("oldest"),
        # So that they stand in the order of age.
        pl.col("age").cast(pl.Enum(AGE_BUCKETS)),
    )
    facts = dimensioned(facts, names, span_of_facts(asked, facts))
    note = f"Ages are whole days on {iso(moment(at_us))}; unknown: the deadline has passed unheard."
    report = made(
        "holds",
        "Open holds",
        asked,
        facts,
        by=names,
        measures=MEASURES,
        notes=(note,),
        compared=False,
    )
    return at_one_moment(report, at_us)


def _row(hold: then.HoldThen, at_us: int) -> tuple[object, ...]:
    return (
        *(hold.wallet, hold.seq, "reserve", hold.job, hold.reserved_at_us),
        *(hold.labels, hold.terms, hold.policy, hold.held_e8),
        age_bucket(hold.reserved_at_us, at_us),
        "unknown" if at_us >= hold.deadline_us else "open",
    )

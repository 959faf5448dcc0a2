"""From entries to jobs: what each job reserved, was charged and got back, and how it stands."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import polars as pl

from ledger.costing import Costed
from ledger.exports.entry_rows import amounts, facts_of
from ledger.records import Entry

__all__ = ["HOLD", "costs_of", "job_moves", "narrow", "prices_of", "summed"]

_MOVES: dict[str, Any] = {
    "job": pl.String,
    "wallet": pl.String,
    "seq": pl.Int64,
    "kind": pl.String,
    "posted": pl.Int64,
    "held": pl.Int64,
    "over": pl.Int64,
    "uncollected": pl.Int64,
    "late": pl.Boolean,
    "final": pl.Boolean,
    "deadline": pl.Int64,
    "seconds": pl.String,
    "at": pl.Int64,
    "inside": pl.Boolean,
    "cost": pl.Int64,
    "currency": pl.String,
}
"""What is read of each entry about a job; more rows of `kind` "cost" where there is more to say."""

_FEW = pl.col("wallet", "kind", "currency")


def narrow(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    """What `job_moves` gives, as a frame."""
    columns = dict(zip(_MOVES, zip(*rows, strict=True), strict=True)) if rows else {}
    return pl.DataFrame(columns, schema=_MOVES).with_columns(_FEW.cast(pl.Categorical))


def job_moves(
    item: Costed, owing: dict[tuple[str, int], str], *, inside: bool
) -> Iterator[tuple[Any, ...]]:
    """What an entry says of its job, and of the jobs whose debts it pays."""
    entry, job = item.entry, item.entry.job
    for paid in item.paid:
        if paid.currency is None:
            continue
        owes = owing.get((entry.wallet, paid.seq))
        if owes is not None:
            yield _cost_row(owes, entry, -paid.cost_e8, paid.currency, inside=inside)
        if job is not None:
            # What a refund gives back of one job, it may at once take for another.
            yield _cost_row(job, entry, paid.cost_e8, paid.currency, inside=inside)
    if job is None:
        return
    first, *others = item.parts or ((None, 0, 0, None),)
    facts = facts_of(entry.facts)
    yield (
        job,
        entry.wallet,
        entry.seq,
        entry.kind,
        entry.posted_e8,
        entry.held_e8,
        entry.over_e8,
        entry.uncollected_e8,
        bool(entry.late),
        entry.kind == "charge" and (entry.facts is None or '"final":false' not in entry.facts),
        facts[5],
        facts[3],
        entry.happened_at_us,
        inside,
        first[2],
        first[3],
    )
    for part in others:
        if part.currency is not None:
            yield _cost_row(job, entry, part.cost_e8, part.currency, inside=inside)
    if entry.posted_e8 < 0 and any(part[0] is None for part in item.parts):
        owing[entry.wallet, entry.seq] = job


def _cost_row(
    job: str, entry: Entry, cost_e8: int, currency: str, *, inside: bool
) -> tuple[Any, ...]:
    nothing = (0, 0, 0, 0, False, False, None, None)
    place = (job, entry.wallet, entry.seq, "cost")
    return (*place, *nothing, entry.happened_at_us, inside, cost_e8, currency)


def summed(moves: pl.DataFrame, *, only_made: bool) -> pl.DataFrame:
    """One row a job that counts: what was done in the span, and how it stands as far as known.

    With `only_made` those that were reserved in the span; otherwise all that anything inside is of.
    """
    kind, inside = pl.col("kind"), pl.col("inside")
    charge, refund, own = kind == "charge", kind == "refund", kind != "cost"
    posted, taken = pl.col("posted").cast(pl.Int128), (-pl.col("posted")).cast(pl.Int128)
    set_aside = pl.when(pl.col("held") > 0).then("held").otherwise(0).cast(pl.Int128)
    found = moves.group_by("job").agg(
        pl.col("wallet").first(),
        pl.col("seq").filter(own).min(),
        pl.col("seq").filter(own).max().alias("last_seq"),
        set_aside.sum().alias("amount"),
        pl.col("held").cast(pl.Int128).sum().alias("held"),
        taken.filter(charge).sum().alias("charged_ever"),
        posted.filter(refund).sum().alias("refunded_ever"),
        set_aside.filter(inside).sum().alias("reserved"),
        taken.filter(charge & inside).sum().alias("charged"),
        posted.filter(refund & inside).sum().alias("refunded"),
        pl.col("over", "uncollected").cast(pl.Int128).filter(inside).sum(),
        (pl.col("late") & inside).any(),
        pl.col("final").any(),
        pl.col("seq").filter(charge).min().alias("charge_seq"),
        pl.col("seq").filter(kind == "release").max().alias("release_seq"),
        pl.col("deadline").drop_nulls().last(),
        pl.col("seconds").filter(charge & inside).drop_nulls().last(),
        pl.col("at").filter(kind == "reserve").first().alias("reserved_at"),
        pl.col("at").filter(charge & inside).last().alias("charged_at"),
        pl.col("at").filter((charge | refund) & inside).min().alias("first_at"),
        pl.col("at").filter((charge | refund) & inside).max().alias("last_at"),
        inside.any(),
        (inside & (kind == "reserve")).any().alias("made"),
    )
    charged = pl.col("final") | (pl.col("charge_seq") < pl.col("release_seq")).fill_null(
        value=False
    )
    return (
        found.filter("made" if only_made else "inside")
        .with_columns(
            (pl.col("charged") - pl.col("refunded")).alias("net"),
            pl.when(charged)
            .then(pl.lit("charged"))
            .when(pl.col("release_seq").is_not_null())
            .then(pl.lit("released"))
            .otherwise(pl.lit("open"))
            .alias("state"),
            pl.col("wallet").cast(pl.String),
        )
        .drop("final", "charge_seq", "release_seq", "inside", "made")
    )


def costs_of(moves: pl.DataFrame) -> pl.DataFrame:
    """What jobs cost in the span: in one currency, or in several as JSON."""
    counted = moves.filter(pl.col("inside") & pl.col("currency").is_not_null())
    sums = counted.group_by("job", "currency").agg((-pl.col("cost")).cast(pl.Int128).sum())
    sums = sums.with_columns(pl.col("currency").cast(pl.String))
    alone = sums["job"].is_unique()
    single = sums.filter(alone).with_columns(pl.lit(None, pl.String).alias("costs"))
    several: dict[str, dict[str, int]] = {}
    for job, currency, cost_e8 in sums.filter(~alone).iter_rows():
        several.setdefault(job, {})[currency] = cost_e8
    rows = [(job, None, None, amounts(costs)) for job, costs in several.items()]
    return pl.concat([single, pl.DataFrame(rows, schema=single.schema, orient="row")])


HOLD = dict.fromkeys(("job", "policy", "on_deadline", "labels", "terms"), pl.String)
_PRICE = {
    "model": "model",
    "quality": "quality",
    "orientation": "character_orientation",
    "channel": "channel",
    "version": "version",
}


def prices_of(terms: pl.Series) -> pl.DataFrame:
    """What distinct terms say of the price: a thousand jobs share one."""
    distinct = terms.unique()
    read = [json.loads(text).get("price") or {} if text else {} for text in distinct]
    columns = {name: [price.get(key) for price in read] for name, key in _PRICE.items()}
    return pl.DataFrame(
        {"terms": distinct, **columns}, schema=dict.fromkeys(("terms", *_PRICE), pl.String)
    )

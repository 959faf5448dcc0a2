"""What reports add up, as frames: one row a fact, with where it stands in the book."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice
from typing import Any

import polars as pl

from ledger.reports.asking import Asked
from ledger.reports.dimensions import hold_fields_of, read_seconds
from ledger.store import moves as scans

__all__ = ["WHERE", "Progress", "charges", "entries", "framed", "nothing"]

WHERE = ("wallet", "seq", "kind", "job", "at_us", "happened_at_us")
"""What every fact says of itself, so that a figure can be traced to it; NULL where unknown.

`wallet` and `seq` name the entry that the fact is known from, and `happened_at_us` says when that
happened. `at_us` is the time that the fact counts at.
"""

_HAPPENED = "happened_at_us"
_INTEGERS = ("seq", "lot_seq", "late")
_REPEATED = ("wallet", "kind", "contra", "policy", "labels", "terms")
"""Texts that a book has few of, against its number of entries."""

_HOLD = ("labels", "terms", "policy")
_DIGEST = r',"digest":"[0-9a-f]*"'
"""What makes the terms of every quote another text; no figure depends on it."""

_ROWS = 20_000

Progress = Callable[[int], None]
"""Is told how many rows were read."""


def nothing(rows: int) -> None:
    """Tell nobody."""


def framed(
    rows: Iterable[Any],
    columns: Sequence[str],
    *,
    progress: Progress = nothing,
) -> pl.DataFrame:
    """Rows of a query as a frame, a part at a time, so that they never stand in memory as objects.

    Columns named `…_e8`, `…_us`, `seq`, `lot_seq` and `late` are whole numbers, the others texts.
    """
    schema = {name: _type(name) for name in columns}
    repeated = pl.col([name for name in _REPEATED if name in columns])
    left, done, parts = iter(rows), 0, []
    while part := list(islice(left, _ROWS)):
        frame = pl.DataFrame(part, schema=schema, orient="row")
        if "terms" in columns:
            frame = frame.with_columns(pl.col("terms").str.replace(_DIGEST, ""))
        parts.append(frame.with_columns(repeated.cast(pl.Categorical)))
        done += len(part)
        progress(done)
    if not parts:
        return pl.DataFrame(schema=schema).with_columns(repeated.cast(pl.Categorical))
    return pl.concat(parts)


def _type(name: str) -> type[pl.DataType]:
    whole = name in _INTEGERS or name.endswith(("_e8", "_us"))
    return pl.Int64 if whole else pl.String


def entries(
    asked: Asked,
    *,
    kinds: Collection[str],
    fields: Sequence[str] = (),
    hold_fields: Sequence[str] = (),
    progress: Progress = nothing,
) -> pl.DataFrame:
    """The entries of some kinds that count, with the fields of `WHERE` and others.

    Args:
        asked: the book, the span, which time counts, and what is known.
        kinds: kinds of entries.
        fields: further columns of `ledger.store.moves.ENTRY_FIELDS`.
        hold_fields: columns of `ledger.store.moves.HOLD_FIELDS`; NULL where there is no hold.
        progress: is told how many were read.
    """
    time, name = f"{asked.by}_at_us", asked.book.book
    wanted = list(dict.fromkeys(("wallet", "seq", "kind", "job", *fields, time, _HAPPENED)))
    with asked.book.looking() as session:
        rows = scans.moves(session, name, asked.reach, kinds=kinds, fields=wanted)
        found = framed(rows, wanted, progress=progress)
        if hold_fields:
            jobs = None
            # A whole table is read several times as fast as it is looked up row by row.
            if found.height * 6 < scans.job_count(session, name):
                jobs = found["job"].unique().drop_nulls().to_list()
            held = scans.holds_of(session, name, jobs, fields=hold_fields)
            holds = framed(held, ("job", *hold_fields))
            found = found.join(holds, on="job", how="left", maintain_order="left")
    return found.with_columns(pl.col(time).alias("at_us"))


def charges(
    asked: Asked, by: Collection[str] | None = None, *, progress: Progress = nothing
) -> pl.DataFrame:
    """Charges and refunds: what jobs cost.

    Further columns are `charged_e8`, `refunded_e8` (not below zero, both), `seconds_e9`, the
    length that was charged for, and `labels`, `terms` and `policy` of the hold.

    Args:
        asked: the book, the span, which time counts, and what is known.
        by: dimensions; only what these need of the holds is read. All of it, if None.
        progress: is told how many were read.
    """
    found = entries(
        asked,
        kinds=("charge", "refund"),
        fields=("posted_e8", "facts"),
        hold_fields=_HOLD if by is None else hold_fields_of(by),
        progress=progress,
    )
    charge = pl.col("kind") == "charge"
    seconds = read_seconds(found["facts"].str.extract('"seconds":"([^"]*)"'))
    return found.with_columns(
        pl.when(charge).then(-pl.col("posted_e8")).otherwise(0).alias("charged_e8"),
        pl.when(charge).then(0).otherwise("posted_e8").alias("refunded_e8"),
        pl.when(charge).then(seconds).alias("seconds_e9"),
    ).drop("facts", "posted_e8")

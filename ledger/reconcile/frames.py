"""The frames that are compared: their columns, and what is worked out of them once.

Amounts are Int64 units of 10^-8 credit, times are Int64 microseconds since 1970 UTC. Sums are
Int128, so that no bill can overflow one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import polars as pl

from ledger.errors import CannotPrice, InvalidInput
from ledger.pricing import PriceSource

__all__ = [
    "BOOK",
    "FAILED",
    "INVOICES",
    "OPTIONAL",
    "REPEATED",
    "SETTLED",
    "STATEMENT",
    "TASKS",
    "TOP_UPS",
    "Sides",
    "book_frame",
    "checked",
    "model_ids",
    "prepared",
]

Columns = Mapping[str, type[pl.DataType]]

STATEMENT: Columns = {
    "line": pl.Int64,
    "task": pl.String,
    "key": pl.String,
    "model": pl.String,
    "amount_e8": pl.Int64,
    "refunded_e8": pl.Int64,
    "raw_amount": pl.String,
    "seconds_us": pl.Int64,
    "quality": pl.String,
    "at_us": pl.Int64,
    "status": pl.String,
    "money_e8": pl.Int64,
    "currency": pl.String,
    "version": pl.String,
}
"""Columns of a statement, one row a line.

`amount_e8` is what the line charges; below zero it gives back. `refunded_e8` is what was given
back of the same line. `seconds_us` is the length of the video in microseconds.
"""

BOOK: Columns = {
    "job": pl.String,
    "wallet": pl.String,
    "task": pl.String,
    "key": pl.String,
    "model": pl.String,
    "quality": pl.String,
    "orientation": pl.String,
    "version": pl.String,
    "channel": pl.String,
    "terms": pl.String,
    "state": pl.String,
    "hold_e8": pl.Int64,
    "charged_e8": pl.Int64,
    "refunded_e8": pl.Int64,
    "charged_before_e8": pl.Int64,
    "charged_after_e8": pl.Int64,
    "seconds": pl.String,
    "at_us": pl.Int64,
    "late": pl.Int64,
    "task_status": pl.String,
    "task_net_e8": pl.Int64,
    "deadline_us": pl.Int64,
}
"""Columns of a book, one row a job with anything in or near the period.

`terms` is JSON: the price a hold keeps (`Hold.price`), or all of its terms. `charged_e8` and
`refunded_e8` are of the period, by the moment they happened; `charged_before_e8` and
`charged_after_e8` are of the time around it. `seconds` is the length that was charged.
"""

OPTIONAL: Columns = {
    "refunded_before_e8": pl.Int64,
    "refunded_after_e8": pl.Int64,
    "last_seq": pl.Int64,
}
"""Further columns of a book: what was refunded around the period, and the number of the job's last
entry; nothing, where left out."""

REPEATED = (
    *("wallet", "model", "quality", "orientation", "version", "channel", "terms", "state"),
    "task_status",
)
"""Columns of a book that have few different texts."""

TOP_UPS: Columns = {
    "wallet": pl.String,
    "key": pl.String,
    "credits_e8": pl.Int64,
    "cash_e8": pl.Int64,
    "currency": pl.String,
    "at_us": pl.Int64,
}
"""Columns of a book's top-ups; `cash_e8` is the money paid, in 10^-8 of its currency."""

TASKS: Columns = {"task": pl.String, "job": pl.String}
"""Further tasks of jobs: one that was submitted again has another one."""

INVOICES: Columns = {
    "invoice": pl.String,
    "credits_e8": pl.Int64,
    "money_e8": pl.Int64,
    "currency": pl.String,
    "at_us": pl.Int64,
}
"""Columns of the provider's invoices, one row a purchase."""

FAILED = ("failed", "cancelled")
"""Words for a task that made nothing."""

SETTLED = ("completed", *FAILED, "refund")
"""Words after which nothing more is to come of a task."""


class Sides(NamedTuple):
    """Both frames with what the rules read, as numbers beside the row's place."""

    lines: pl.DataFrame
    """`_line` (its place), identifiers, and per line `charge_e8`, `refund_e8`, `inside`."""
    jobs: pl.DataFrame
    """`_job` (its place), identifiers, and per job what was charged and refunded, and where."""
    statement: pl.DataFrame
    """The bill, in the order of the places."""
    book: pl.DataFrame
    """The book, in the order of the places."""
    tasks: pl.DataFrame
    """`task` and `_job`: every task that names a job."""


def checked(
    frame: pl.DataFrame, columns: Columns, name: str, *, few: Collection[str] = ()
) -> pl.DataFrame:
    """The frame with exactly these columns, in their types; an empty text is none.

    Columns of `few` different texts stay categories where they come as such.

    Raises:
        InvalidInput: a column is missing, or cannot be read as its type.
    """
    missing = [column for column in columns if column not in frame.columns]
    if missing:
        raise InvalidInput(f"the {name} has no column {', '.join(missing)}")
    for column, kind in columns.items():
        found = frame.schema[column]
        texts = isinstance(found, (pl.String, pl.Categorical, pl.Enum))
        fits = texts if kind is pl.String else found.is_integer() or found == pl.Boolean
        if not fits and found != pl.Null:
            wanted = "text" if kind is pl.String else "whole numbers"
            raise InvalidInput(f"the {name}: column {column} must be {wanted}, not {found}")
    fitting = [
        frame[column]
        if column in few and frame.schema[column] == pl.Categorical
        else frame[column].cast(kind)
        for column, kind in columns.items()
    ]
    # Where nothing is empty, nothing is copied.
    empty = [column.name for column in fitting if _has_empty(column)]
    return pl.DataFrame(fitting).with_columns(
        pl.when(pl.col(column) != "").then(column).alias(column) for column in empty
    )


def _has_empty(texts: pl.Series) -> bool:
    return isinstance(texts.dtype, (pl.String, pl.Categorical)) and bool((texts == "").any())


def prepared(
    book: pl.DataFrame,
    statement: pl.DataFrame,
    tasks: pl.DataFrame | None,
    *,
    since_us: int,
    until_us: int,
) -> Sides:
    """What the rules read of both frames. A line without a time counts as in the period.

    A line that names a refund gives back, whatever its sign. Top-ups are no lines of jobs.
    """
    amount, refunded = pl.col("amount_e8"), pl.col("refunded_e8").fill_null(0)
    gives_back = (amount < 0) | ((pl.col("status") == "refund") & pl.col("refunded_e8").is_null())
    gives_back = gives_back.fill_null(value=False)
    at = pl.col("at_us")
    lines = statement.with_row_index("_line").filter(
        (pl.col("status") != "topup").fill_null(value=True)
    )
    lines = lines.select(
        "_line",
        "task",
        "key",
        pl.when(gives_back).then(0).otherwise(amount).fill_null(0).alias("charge_e8"),
        pl.when(gives_back).then(amount.abs()).otherwise(refunded).fill_null(0).alias("refund_e8"),
        at.is_between(since_us, until_us, closed="left").fill_null(value=True).alias("inside"),
        pl.col("status").is_in(FAILED).fill_null(value=False).alias("is_failed"),
        pl.col("status").is_in(SETTLED).fill_null(value=False).alias("is_settled"),
    )
    jobs = book.with_row_index("_job").select(
        "_job",
        "task",
        "key",
        _sum("charged_e8").alias("charged"),
        _sum("refunded_e8").alias("refunded"),
        _sum("charged_before_e8", "charged_after_e8").alias("charged_outside"),
        _sum("refunded_before_e8", "refunded_after_e8").alias("refunded_outside"),
        pl.col("state").is_in(["open", "unknown"]).fill_null(value=False).alias("is_open"),
        pl.col("task_status").is_in(FAILED).fill_null(value=False).alias("is_failed"),
        "at_us",
        "deadline_us",
        (pl.col("state") == "unknown").fill_null(value=False).alias("is_unknown"),
    )
    known = jobs.select("task", "_job")
    if tasks is not None and tasks.height:
        places = pl.DataFrame({"job": book["job"], "_job": jobs["_job"]})
        further = tasks.join(places, on="job").select("task", "_job")
        known = pl.concat([known, further]).unique(maintain_order=True)
    return Sides(lines, jobs, statement, book, known)


def book_frame(book: pl.DataFrame) -> pl.DataFrame:
    """The book's frame, checked: one row a job.

    Raises:
        InvalidInput: a column is missing or of the wrong type, or a job is there twice.
    """
    known = {name: kind for name, kind in OPTIONAL.items() if name in book.columns}
    frame = checked(book, {**BOOK, **known}, "book", few=REPEATED)
    frame = frame.with_columns(
        pl.lit(0, dtype=pl.Int64).alias(name) for name in OPTIONAL if name not in known
    )
    if frame["job"].null_count() or frame["job"].n_unique() < frame.height:
        raise InvalidInput("the book has a job twice, or one without a name; give one row a job")
    return frame


def model_ids(frame: pl.DataFrame, prices: PriceSource) -> pl.Expr:
    """The id of each row's model, by id or short name; as it is written, where unknown."""
    # A statement's thousand spellings of a model are few; each is asked for once.
    words: list[Any] = frame["model"].drop_nulls().unique().to_list()
    ids = {word: _model_id(word, prices) for word in words}
    return pl.col("model").replace(list(ids), list(ids.values()))


def _model_id(word: str, prices: PriceSource) -> str:
    try:
        return prices.model(word)
    except (CannotPrice, InvalidInput):
        return word


def _sum(*columns: str) -> pl.Expr:
    first, *others = (pl.col(column).fill_null(0).cast(pl.Int128) for column in columns)
    for other in others:
        first = first + other
    return first

"""A book as a frame with one row a job, to be held against a bill."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import polars as pl

from ledger.jobs import Ledger
from ledger.reconcile.frames import BOOK, FAILED, OPTIONAL, REPEATED, TASKS, TOP_UPS
from ledger.records import us
from ledger.store import Session
from ledger.store import settled as scans
from ledger.store.settled import HOLD_COLUMNS, SETTLED_COLUMNS, TASK_COLUMNS
from ledger.store.tasks import task_rows

__all__ = ["MARGIN_US", "BookRead", "cash_of", "read_book"]

T = TypeVar("T")

MARGIN_US = 40 * 86_400_000_000
"""How far around a period charges are read, to tell a cut-off from a line that is missing."""

_ROWS = 20_000
"""Rows that become part of a frame at a time."""

_FEW = ("kind", *REPEATED)
"""Columns of few different texts; each text is kept once."""

_MOST_NAMES = 10_000
"""Names that are looked up at a time."""

_TYPES: dict[str, type[pl.DataType]] = {
    "amount_e8": pl.Int64,
    "happened_at_us": pl.Int64,
    "late": pl.Int64,
    "hold_e8": pl.Int64,
    "reserved_at_us": pl.Int64,
    "deadline_us": pl.Int64,
    "last_seq": pl.Int64,
    "charged": pl.Int64,
    "refunded": pl.Int64,
}
_PRICE = {
    "model": "model",
    "quality": "quality",
    "orientation": "character_orientation",
    "version": "version",
    "channel": "channel",
}
"""Columns that come from the price a hold keeps."""

_HOLD = tuple("hold_e8" if name == "amount_e8" else name for name in HOLD_COLUMNS)


class BookRead(NamedTuple):
    """What a book says of a period and of what a statement names."""

    jobs: pl.DataFrame
    """One row a job, with the columns `ledger.reconcile.frames.BOOK` and `OPTIONAL`."""
    tasks: pl.DataFrame
    """Tasks on the statement that belong to a job beside the one it is listed with, as
    `ledger.reconcile.frames.TASKS`."""


def read_book(book: Ledger, statement: pl.DataFrame, *, since_us: int, until_us: int) -> BookRead:
    """Every job with something in or near a period, and every job that a statement names.

    Args:
        book: where from.
        statement: its columns `task` and `key` name jobs of any age.
        since_us: first moment of the period, in microseconds since 1970.
        until_us: first moment after it.
    """
    around = {"since_us": since_us - MARGIN_US, "until_us": until_us + MARGIN_US}
    with book.looking() as session:
        rows = scans.settled(session, book.book, **around)
        # Nothing keeps the entries once they are added up: they are most of the memory.
        settled = _settled(
            _frame(rows, (*SETTLED_COLUMNS, *_HOLD), each=_read_facts), since_us, until_us
        )
        held = _frame(scans.open_holds(session, book.book, before_us=until_us), _HOLD)
        # A job that was charged in part is in both.
        held = held.join(settled.select("job"), on="job", how="anti", maintain_order="left")
        jobs = pl.concat([settled, _open(held)], how="diagonal")
        tasks = _frame(scans.tasks_since(session, book.book, around["since_us"]), TASK_COLUMNS)
        unheard = _missing([statement["task"]], tasks["task"])
        older = _named(scans.tasks_named, session, book.book, unheard)
        tasks = pl.concat([tasks, _frame(older, TASK_COLUMNS)])
        billed = tasks.join(statement.select("task"), on="task", how="semi")
        names = _missing([statement["key"], statement["task"], billed["task_job"]], jobs["job"])
        others = _frame(
            _named(scans.holds_named, session, book.book, names),
            (*_HOLD, "charged", "refunded", "happened_at_us"),
        )
        jobs = pl.concat([jobs, _elsewhere(others, since_us, until_us)], how="diagonal")
        tasks = _tasks(tasks, statement, jobs)
        frame = _finished(jobs, tasks, us(book.now()))
        asked = _differing(frame, statement)
        nets = [(place, _net(book, session, task, hold_e8)) for place, task, hold_e8 in asked]
    further = billed.join(frame.select("task"), on="task", how="anti", maintain_order="left")
    return BookRead(
        frame.with_columns(_placed(nets, frame.height)).select(*BOOK, *OPTIONAL),
        further.select("task", pl.col("task_job").alias("job")).select(*TASKS),
    )


def _placed(nets: Sequence[tuple[int, int | None]], height: int) -> pl.Series:
    """What tasks cost in the end, at the places of their jobs."""
    told = pl.repeat(None, height, dtype=pl.Int64, eager=True).alias("task_net_e8")
    return told.scatter([place for place, _ in nets], [net_e8 for _, net_e8 in nets])


def cash_of(book: Ledger, *, since_us: int, until_us: int) -> pl.DataFrame:
    """The credits that were bought in a period, as `ledger.reconcile.frames.TOP_UPS`."""
    with book.looking() as session:
        rows = scans.top_ups(session, book.book, since_us=since_us, until_us=until_us)
    return pl.DataFrame(rows, schema=dict(TOP_UPS), orient="row")


def _frame(
    rows: Iterable[Any],
    columns: Sequence[str],
    *,
    each: Callable[[pl.DataFrame], pl.DataFrame] = pl.DataFrame.clone,
) -> pl.DataFrame:
    """Rows as a frame, a part at a time, so that they never stand in memory as objects."""
    schema = {name: _TYPES.get(name, pl.String) for name in columns}
    few = pl.col([name for name in _FEW if name in columns])
    found = [
        each(pl.DataFrame(part, schema=schema, orient="row")).with_columns(few.cast(pl.Categorical))
        for part in _parts(rows, _ROWS)
    ]
    if not found:
        return each(pl.DataFrame(schema=schema)).with_columns(few.cast(pl.Categorical))
    return pl.concat(found)


def _read_facts(moves: pl.DataFrame) -> pl.DataFrame:
    """What is read of an entry's facts, in place of the facts."""
    seconds = pl.col("facts").str.extract('"seconds":"([^"]*)"')
    told_us = _told_us(moves).alias("told_us")
    return moves.with_columns(seconds.alias("seconds"), told_us).drop("facts", "happened_at_us")


def _parts(items: Iterable[T], size: int) -> Iterator[list[T]]:
    left = iter(items)
    while part := list(islice(left, size)):
        yield part


def _named(
    find: Callable[[Session, str, list[str]], list[Any]],
    session: Session,
    book: str,
    names: Sequence[str],
) -> Iterator[Any]:
    for some in _parts(names, _MOST_NAMES):
        yield from find(session, book, some)


def _missing(wanted: Sequence[pl.Series], known: pl.Series) -> list[str]:
    """Names that are not known yet, each once."""
    unknown = known.alias("name").to_frame()
    left = [
        names.alias("name")
        .to_frame()
        .filter(pl.col("name") != "")
        .join(unknown, on="name", how="anti", maintain_order="left")
        for names in wanted
        if names.null_count() < len(names)
    ]
    return pl.concat(left)["name"].unique(maintain_order=True).to_list() if left else []


def _settled(moves: pl.DataFrame, since_us: int, until_us: int) -> pl.DataFrame:
    """Charges and refunds by job: in the period, before it, and after it."""
    charge, at = pl.col("kind") == "charge", pl.col("told_us")
    when = {
        "": at.is_between(since_us, until_us, closed="left"),
        "_before": at < since_us,
        "_after": at >= until_us,
    }
    sums = {
        f"{name}{place}_e8": kind & inside
        for name, kind in (("charged", charge), ("refunded", ~charge))
        for place, inside in when.items()
    }
    # Most jobs have one charge and nothing else; adding up groups costs several times as much.
    alone = moves["job"].is_unique()
    one = moves.filter(alone).select(
        *_HOLD,
        *(
            pl.when(counts).then("amount_e8").otherwise(0).alias(name)
            for name, counts in sums.items()
        ),
        pl.when(charge).then("seconds").alias("seconds"),
        at.alias("at_us"),
        "late",
    )
    several = (
        # A database gives them in any order.
        moves.filter(~alone)
        .sort("told_us", "seconds", maintain_order=True)
        .group_by("job", maintain_order=True)
        .agg(
            *(pl.col(name).first() for name in _HOLD[1:]),
            *(
                pl.col("amount_e8").filter(counts).sum().alias(name)
                for name, counts in sums.items()
            ),
            pl.col("seconds").filter(charge).drop_nulls().last(),
            at.filter(charge & when[""]).min().fill_null(at.min()).alias("at_us"),
            pl.col("late").max(),
        )
    )
    return pl.concat([one, several.select(one.columns)])


def _told_us(moves: pl.DataFrame) -> pl.Series:
    """When each happened as it was told; a correction of a closed period counts in that period."""
    told = moves["facts"].str.extract('"at":"([^"]*)"').str.to_datetime("%+", time_zone="UTC")
    return told.dt.timestamp("us").fill_null(moves["happened_at_us"])


def _open(held: pl.DataFrame) -> pl.DataFrame:
    """Jobs that nothing was charged for near the period."""
    return held.with_columns(pl.col("reserved_at_us").alias("at_us"))


def _elsewhere(older: pl.DataFrame, since_us: int, until_us: int) -> pl.DataFrame:
    """Jobs that only the statement brings up: what they cost is of another time, or nothing."""
    at = pl.col("happened_at_us")
    before, after = at < since_us, at >= until_us
    within = ~(before | after)
    return older.select(
        *_HOLD,
        *(
            pl.when(inside).then(name).otherwise(0).alias(f"{name}{place}_e8")
            for name in ("charged", "refunded")
            for place, inside in (("", within), ("_before", before), ("_after", after))
        ),
        at.alias("at_us"),
    )


def _tasks(tasks: pl.DataFrame, statement: pl.DataFrame, jobs: pl.DataFrame) -> pl.DataFrame:
    """One task a job: the one on the bill, if any; of several, one that has not failed.

    A job may be named like its task.
    """
    on_bill = statement.select("task").drop_nulls().unique()
    several = ~tasks["task_job"].is_unique()
    if several.any():
        billed = tasks["task"].is_in(on_bill["task"].implode())
        failed = tasks["task_status"].is_in(FAILED).fill_null(value=False)
        first = pl.select(billed.cast(pl.Int8) * 2 + ~failed).to_series()
        tasks = tasks.with_columns(first.alias("first")).sort(
            "first", descending=True, maintain_order=True
        )
        tasks = tasks.drop("first").unique("task_job", keep="first", maintain_order=True)
    named = jobs.select(task="job", task_job="job").join(on_bill, on="task", how="semi")
    named = named.join(tasks, on="task_job", how="anti")
    return pl.concat([tasks, named], how="diagonal")


def _finished(jobs: pl.DataFrame, tasks: pl.DataFrame, now_us: int) -> pl.DataFrame:
    # Joined beside the jobs and not with them: a join copies every column of both.
    task = (
        jobs.select("job")
        .join(tasks, left_on="job", right_on="task_job", how="left", maintain_order="left")
        .select("task", "task_status")
    )
    price = (
        jobs.select("terms")
        .join(_prices(jobs["terms"]), on="terms", how="left", maintain_order="left")
        .select(*_PRICE)
    )
    overdue = (pl.col("state") == "open") & (pl.col("deadline_us") <= now_us)
    unknown = pl.lit("unknown", dtype=pl.Categorical)
    amounts = [
        name for name in (*BOOK, *OPTIONAL) if name.endswith("_e8") and name != "task_net_e8"
    ]
    return jobs.select(
        "job",
        "wallet",
        pl.col("job").alias("key"),
        "terms",
        pl.when(overdue).then(unknown).otherwise("state").alias("state"),
        *(pl.col(name).fill_null(0) for name in amounts),
        "seconds",
        "at_us",
        pl.col("late").fill_null(0),
        "deadline_us",
        "last_seq",
    ).hstack([*task, *price])


def _prices(terms: pl.Series) -> pl.DataFrame:
    """What distinct terms say of the price: a thousand jobs share one."""
    distinct = terms.drop_nulls().unique().alias("terms")
    field = distinct.cast(pl.String).str.json_path_match
    price = {column: field(f"$.price.{name}") for column, name in _PRICE.items()}
    return pl.DataFrame([distinct]).with_columns(
        column.cast(pl.Categorical).alias(name) for name, column in price.items()
    )


def _differing(frame: pl.DataFrame, statement: pl.DataFrame) -> Iterator[tuple[int, str, int]]:
    """Place, task and hold of jobs of which the statement says another sum, or nothing.

    They are few in a good month.
    """
    told = frame.with_row_index("place").filter(pl.col("task").is_not_null())
    told = told.select(
        *("place", "task", "key", "hold_e8"),
        (pl.col("charged_e8").cast(pl.Int128) - pl.col("refunded_e8")).alias("ours"),
        pl.col("task_status").is_in(FAILED).fill_null(value=False).alias("failed"),
        pl.col("state").is_in(["open", "unknown"]).alias("open"),
    )
    amount = pl.col("amount_e8").fill_null(0).cast(pl.Int128).sum()
    back = pl.col("refunded_e8").fill_null(0).cast(pl.Int128).sum()
    for name in ("task", "key"):
        lines = statement.select(name, "amount_e8", "refunded_e8")
        sums = lines.join(told, on=name, how="semi").group_by(name).agg(theirs=amount - back)
        told = told.join(sums, on=name, how="left", suffix="_of_key", maintain_order="left")
    theirs = pl.coalesce("theirs", "theirs_of_key")
    looked_at = pl.col("ours").ne_missing(theirs) | pl.col("failed") | pl.col("open")
    yield from told.filter(looked_at).select("place", "task", "hold_e8").iter_rows()


def _net(book: Ledger, session: Session, task: str, hold_e8: int) -> int | None:
    """What a job costs in the end, as far as the messages about its task tell."""
    found = task_rows(session, book.book, [task], [])
    facts = [record.facts for record in found if record.id == task]
    if not facts:
        return None
    telling = book.telling
    return telling.wanted(telling.facts(facts[0]), hold_e8 or None).net_e8

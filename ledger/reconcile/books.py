"""A book as a frame with one row a job, to be held against a bill."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

import polars as pl

from ledger.jobs import Ledger
from ledger.reconcile.frames import BOOK, FAILED, OPTIONAL, TASKS, TOP_UPS
from ledger.records import us
from ledger.store import Session
from ledger.store import settled as scans
from ledger.store.settled import HOLD_COLUMNS, SETTLED_COLUMNS, TASK_COLUMNS
from ledger.store.tasks import task_rows

__all__ = ["MARGIN_US", "cash_of", "further_tasks", "read_book"]

T = TypeVar("T")

MARGIN_US = 40 * 86_400_000_000
"""How far around a period charges are read, to tell a cut-off from a line that is missing."""

_ROWS = 20_000
"""Rows that become part of a frame at a time."""

_REPEATED = ("kind", "wallet", "state", "terms")
"""Texts that a book has few of."""

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


def read_book(
    book: Ledger, statement: pl.DataFrame, *, since_us: int, until_us: int
) -> pl.DataFrame:
    """Every job with something in or near a period, and every job that a statement names.

    Args:
        book: where from.
        statement: its columns `task` and `key` name jobs of any age.
        since_us: first moment of the period, in microseconds since 1970.
        until_us: first moment after it.

    Returns:
        A frame with the columns `ledger.reconcile.frames.BOOK` and `OPTIONAL`.
    """
    around = {"since_us": since_us - MARGIN_US, "until_us": until_us + MARGIN_US}
    with book.looking() as session:
        rows = scans.settled(session, book.book, **around)
        # Nothing keeps the entries once they are added up: they are most of the memory.
        settled = _settled(
            _frame(rows, (*SETTLED_COLUMNS, *_HOLD), each=_read_facts), since_us, until_us
        )
        held = _frame(scans.open_holds(session, book.book, before_us=until_us), _HOLD)
        tasks = _frame(scans.tasks_since(session, book.book, around["since_us"]), TASK_COLUMNS)
        jobs = pl.concat([settled, _open(held)], how="diagonal")
        # A job that was charged in part is in both.
        jobs = jobs.unique("job", keep="first", maintain_order=True)
        unheard = _missing(statement["task"], tasks["task"])
        older = _named(scans.tasks_named, session, book.book, unheard)
        tasks = pl.concat([tasks, _frame(older, TASK_COLUMNS)])
        billed = tasks.join(statement.select("task"), on="task", how="semi")["task_job"]
        names = pl.concat([statement["key"], statement["task"], billed])
        rest = _named(scans.holds_named, session, book.book, _missing(names, jobs["job"]))
        others = _frame(rest, (*_HOLD, "charged", "refunded", "happened_at_us"))
        jobs = pl.concat([jobs, _elsewhere(others, since_us, until_us)], how="diagonal")
        frame = _finished(jobs, _tasks(tasks, statement, jobs), us(book.now()))
        asked = _differing(frame, statement)
        nets = [(job, _net(book, session, task, hold_e8)) for job, task, hold_e8 in asked]
    told = pl.DataFrame(nets, schema={"job": pl.String, "task_net_e8": pl.Int64}, orient="row")
    frame = frame.join(told, on="job", how="left", maintain_order="left")
    return frame.select(*BOOK, *OPTIONAL)


def further_tasks(book: Ledger, jobs: pl.DataFrame, statement: pl.DataFrame) -> pl.DataFrame:
    """The tasks on a statement that belong to a job beside the one it is listed with.

    Args:
        book: where from.
        jobs: what `read_book` gave.
        statement: its column `task`.

    Returns:
        A frame with the columns `ledger.reconcile.frames.TASKS`.
    """
    with book.looking() as session:
        rows = _named(
            scans.tasks_named, session, book.book, _missing(statement["task"], jobs["task"])
        )
        found = _frame(rows, TASK_COLUMNS)
    return found.select("task", pl.col("task_job").alias("job")).select(*TASKS)


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
    parts = (pl.DataFrame(part, schema=schema, orient="row") for part in _parts(rows, _ROWS))
    same = pl.col([name for name in _REPEATED if name in columns])
    found = [each(part).with_columns(same.cast(pl.Categorical)) for part in parts]
    if not found:
        return each(pl.DataFrame(schema=schema))
    return _shared(pl.concat(found))


def _shared(frame: pl.DataFrame) -> pl.DataFrame:
    """Texts that repeat as views of one copy each; a cast would copy every one of them."""
    for name in _REPEATED:
        if name in frame.columns:
            codes = frame[name].to_physical()
            distinct = frame.select(name, code=codes).unique("code").drop_nulls().sort("code")
            texts = distinct[name].cast(pl.String)
            places = distinct["code"].search_sorted(codes.fill_null(0))
            shown = texts.extend_constant(None, 1).gather(places)
            frame = frame.with_columns(pl.when(codes.is_not_null()).then(shown).alias(name))
    return frame


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


def _missing(wanted: pl.Series, known: pl.Series) -> list[str]:
    names = wanted.drop_nulls().unique(maintain_order=True).alias("name").to_frame()
    names = names.filter(pl.col("name") != "")
    left: list[str] = names.join(known.alias("name").to_frame(), on="name", how="anti")[
        "name"
    ].to_list()
    return left


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
        moves.filter(~alone)
        .group_by("job", maintain_order=True)
        .agg(
            *(pl.col(name).first() for name in _HOLD[1:]),
            *(
                pl.col("amount_e8").filter(counts).sum().alias(name)
                for name, counts in sums.items()
            ),
            pl.col("seconds").filter(charge).last(),
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
    on_bill = statement.select("task").unique().with_columns(on_bill=pl.lit(value=True))
    tasks = tasks.join(on_bill, on="task", how="left").sort(
        pl.col("on_bill").fill_null(value=False),
        ~pl.col("task_status").is_in(FAILED).fill_null(value=False),
        descending=True,
        maintain_order=True,
    )
    tasks = tasks.drop("on_bill").unique("task_job", keep="first", maintain_order=True)
    named = jobs.select(task="job", task_job="job").join(on_bill, on="task", how="semi")
    named = named.join(tasks, on="task_job", how="anti")
    return pl.concat([tasks, named], how="diagonal")


def _finished(jobs: pl.DataFrame, tasks: pl.DataFrame, now_us: int) -> pl.DataFrame:
    jobs = jobs.join(tasks, left_on="job", right_on="task_job", how="left", maintain_order="left")
    overdue = (pl.col("state") == "open") & (pl.col("deadline_us") <= now_us)
    jobs = jobs.join(_prices(jobs["terms"]), on="terms", how="left", maintain_order="left")
    amounts = [
        name for name in (*BOOK, *OPTIONAL) if name.endswith("_e8") and name != "task_net_e8"
    ]
    return jobs.select(
        "job",
        "wallet",
        "task",
        pl.col("job").alias("key"),
        *_PRICE,
        "terms",
        pl.when(overdue).then(pl.lit("unknown")).otherwise("state").alias("state"),
        *(pl.col(name).fill_null(0) for name in amounts),
        "seconds",
        "at_us",
        pl.col("late").fill_null(0),
        "task_status",
        "deadline_us",
        "last_seq",
    )


def _prices(terms: pl.Series) -> pl.DataFrame:
    """What distinct terms say of the price: a thousand jobs share one."""
    field = pl.col("terms").str.json_path_match
    found = pl.DataFrame({"terms": terms.drop_nulls().unique()}, schema={"terms": pl.String})
    return found.with_columns(
        field(f"$.price.{name}").alias(column) for column, name in _PRICE.items()
    )


def _differing(frame: pl.DataFrame, statement: pl.DataFrame) -> Iterator[tuple[str, str, int]]:
    """Job, task and hold where the statement says another sum, or nothing: few in a good month."""
    amount = pl.col("amount_e8").fill_null(0).cast(pl.Int128).sum()
    back = pl.col("refunded_e8").fill_null(0).cast(pl.Int128).sum()
    by_task = statement.group_by("task").agg((amount - back).alias("theirs"))
    by_key = statement.group_by("key").agg((amount - back).alias("of_key"))
    both = frame.filter(pl.col("task").is_not_null()).join(by_task, on="task", how="left")
    both = both.join(by_key, on="key", how="left")
    theirs = pl.coalesce("theirs", "of_key")
    ours = pl.col("charged_e8").cast(pl.Int128) - pl.col("refunded_e8")
    settled = pl.col("task_status").is_in(["failed", "cancelled"])
    looked_at = ours.ne_missing(theirs) | settled | pl.col("state").is_in(["open", "unknown"])
    yield from both.filter(looked_at).select("job", "task", "hold_e8").iter_rows()


def _net(book: Ledger, session: Session, task: str, hold_e8: int) -> int | None:
    """What a job costs in the end, as far as the messages about its task tell."""
    found = task_rows(session, book.book, [task], [])
    facts = [record.facts for record in found if record.id == task]
    if not facts:
        return None
    telling = book.telling
    return telling.wanted(telling.facts(facts[0]), hold_e8 or None).net_e8

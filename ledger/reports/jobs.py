"""What became of jobs: everything known about those that were reserved in a span, as a frame."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

import polars as pl

from ledger.book.heard import job_linked
from ledger.book.work import Telling
from ledger.reports.asking import Asked
from ledger.reports.dimensions import NAMED, read_seconds
from ledger.reports.facts import Progress, framed, nothing
from ledger.spans import STEPS
from ledger.store import Session
from ledger.store import moves as scans

__all__ = ["DIMENSIONS", "TIMELESS", "jobs", "where"]

DIMENSIONS = tuple(name for name in NAMED if name not in {"kind", "contra"})
"""What jobs can be broken down by; times are those of the reserve."""

TIMELESS = tuple(name for name in DIMENSIONS if name not in STEPS)

_ENTRY = (
    "wallet",
    "seq",
    "kind",
    "job",
    "posted_e8",
    "held_e8",
    "uncollected_e8",
    "late",
    "facts",
    "happened_at_us",
)
_HOLD = ("labels", "terms", "policy")
_PLACES = ("first", "last", "settles")
_TASK = {"job": pl.String, "word": pl.String, "unproven": pl.Int64, "length": pl.String}


def jobs(asked: Asked, *, progress: Progress = nothing) -> pl.DataFrame:
    """Every known entry about the jobs that were reserved in the span, whenever it happened.

    Columns of an entry, besides those of `ledger.reports.facts.WHERE`: `reserved_e8` and
    `charged_e8`, `refunded_e8`, `uncollected_e8`; `freed_e8`, which it let go of the hold; `late`;
    `priced_e8`, what a charge by length was priced at; `reason`; `first` and `last`, whether it is
    the first and the last entry about its job, and `settles`, whether it is the last charge.

    Columns of its job: `reserved_at_us`, and `at_us`, the time of the reserve that counts;
    `job_reserved_e8`, `job_charged_e8`, `job_held_e8` (what is still set aside), `job_priced_e8`
    (NULL where no charge tells a length); `billed`, whether it was ever charged; `ended`, whether
    no charge is to come; `ended_at_us`, when its last credits came free; `deadline_us`;
    `seconds_e9`, the length that was charged for, or else `told_length`, that of its task; `word`,
    what the provider calls a task that did not complete; `unproven`, whether a refund of it is not
    proven; `labels`, `terms`, `policy` of its hold.
    """
    return asked.once("jobs", lambda: _jobs(asked, progress))


def _jobs(asked: Asked, progress: Progress) -> pl.DataFrame:
    book, name = asked.book, asked.book.book
    fields = list(dict.fromkeys((*_ENTRY, f"{asked.by}_at_us")))
    with book.looking() as session:
        rows = scans.job_moves(session, name, asked.reach, fields=fields)
        found = _entries(framed(rows, fields, progress=progress), f"{asked.by}_at_us")
        whole = _whole(found)
        some = None
        # A whole table is read several times as fast as it is looked up row by row.
        if whole.height * 6 < scans.job_count(session, name):
            some = whole["job"].to_list()
        held = scans.holds_of(session, name, some, fields=_HOLD)
        holds = framed(held, ("job", *_HOLD))
        tasks = _tasks(session, asked, whole)
    whole = whole.join(holds, on="job", how="left").join(tasks, on="job", how="left")
    lengths = read_seconds(whole["length"])
    whole = whole.with_columns(
        pl.col("seconds_e9").fill_null(lengths), pl.col("unproven").fill_null(0)
    ).rename({"length": "told_length"})
    found = found.join(whole, on="job", how="left", maintain_order="left")
    return found.drop("facts", "counted_us", "ends", "own_e9", "until_us").with_columns(
        (pl.col("seq") == pl.col(name)).fill_null(value=False).alias(name) for name in _PLACES
    )


def where(condition: pl.Expr, value: pl.Expr | str | int = 1) -> pl.Expr:
    """A figure of those facts that meet a condition; 0 of the others."""
    figure = pl.col(value) if isinstance(value, str) else value
    return pl.when(condition).then(figure).otherwise(0)


def _entries(found: pl.DataFrame, time: str) -> pl.DataFrame:
    """What each entry did."""
    kind, facts = pl.col("kind").cast(pl.String), pl.col("facts")
    charge, frees = kind == "charge", kind.is_in(["charge", "release"])
    is_priced = charge & facts.str.contains('"priced":true', literal=True).fill_null(value=False)
    is_part = facts.str.contains('"final":false', literal=True).fill_null(value=False)
    gives_back = found.filter(kind.is_in(["release", "refund"]))
    reasons = gives_back["facts"].drop_nulls().unique()
    return found.with_columns(
        pl.col(time).alias("counted_us"),
        where(kind.is_in(["reserve", "extend"]), "held_e8").alias("reserved_e8"),
        where(charge, -pl.col("posted_e8")).alias("charged_e8"),
        where(kind == "refund", "posted_e8").alias("refunded_e8"),
        where(frees, -pl.col("held_e8")).alias("freed_e8"),
        pl.when(is_priced).then(pl.col("uncollected_e8") - pl.col("posted_e8")).alias("priced_e8"),
        (charge & ~is_part | (kind == "release")).alias("ends"),
        facts.str.extract(r'"deadline_us":(\d+)').cast(pl.Int64).alias("until_us"),
        facts.replace_strict(
            reasons, _reasons(reasons), default=None, return_dtype=pl.String
        ).alias("reason"),
        read_seconds(found["facts"].str.extract('"seconds":"([^"]*)"')).alias("own_e9"),
    )


def _reasons(facts: pl.Series) -> list[str | None]:
    return [json.loads(text).get("reason") for text in facts]


def _whole(found: pl.DataFrame) -> pl.DataFrame:
    """What all entries of a job say together; those of a job stand in their order."""
    kind = pl.col("kind").cast(pl.String)

    def known(name: str) -> pl.Expr:
        return pl.when(pl.col(name).count() > 0).then(pl.col(name).sum())

    return found.group_by("job", maintain_order=True).agg(
        pl.col("counted_us").filter(kind == "reserve").first().alias("at_us"),
        pl.col("happened_at_us").filter(kind == "reserve").first().alias("reserved_at_us"),
        pl.col("reserved_e8").sum().alias("job_reserved_e8"),
        pl.col("charged_e8").sum().alias("job_charged_e8"),
        pl.col("held_e8").sum().alias("job_held_e8"),
        known("priced_e8").alias("job_priced_e8"),
        known("own_e9").alias("seconds_e9"),
        (kind == "charge").any().alias("billed"),
        pl.col("ends").any().alias("ended"),
        pl.col("happened_at_us").filter(pl.col("freed_e8") > 0).max().alias("ended_at_us"),
        pl.col("until_us").drop_nulls().last().alias("deadline_us"),
        pl.col("seq").min().alias("first"),
        pl.col("seq").max().alias("last"),
        pl.col("seq").filter(kind == "charge").max().alias("settles"),
    )


# What the provider says


def _tasks(session: Session, asked: Asked, whole: pl.DataFrame) -> pl.DataFrame:
    """What the provider says of the tasks of jobs, as far as it had said so."""
    telling = asked.book.telling
    rows: list[Any] = []
    if telling is not None:
        rows = list(scans.tasks_of_jobs(session, asked.book.book))
        if rows and asked.as_of_us is not None:
            held = dict(whole.select("job", "job_reserved_e8").iter_rows())
            then = _as_known(
                session, asked, asked.as_of_us, telling=telling, tasks=rows, reserved_e8=held
            )
            rows = list(then)
    names = ("task", "job", "status", "state", "facts")
    tasks = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    length = pl.col("facts").str.extract(r'"video_seconds":\["([^"]*)"\]')
    found = tasks.group_by("job").agg(
        pl.col("status").filter(pl.col("status") != "completed").min().alias("word"),
        (pl.col("state") == "unproven").any().cast(pl.Int64).alias("unproven"),
        pl.when(pl.len() == 1).then(length.first()).alias("length"),
    )
    return found.select(*_TASK).cast(_TASK)  # type: ignore[arg-type]


def _as_known(
    session: Session,
    asked: Asked,
    before_us: int,
    *,
    telling: Telling,
    tasks: Iterable[Any],
    reserved_e8: Mapping[str, int],
) -> Iterator[tuple[str, str, str, str, str]]:
    """Tasks as their messages told before a moment; those heard of since then are joined again."""
    book = asked.book.book
    later = set(scans.tasks_heard_since(session, book, before_us))
    for row in tasks:
        if row[0] not in later:
            yield tuple(row)
    kept = scans.messages_before(session, book, later, before_us)
    for task, messages in groupby(kept, key=itemgetter(0)):
        facts, job = telling.nothing, None
        for _, body in messages:
            if (linked := job_linked(task, body)) is not None:
                job = linked
            else:
                facts = telling.merged(facts, telling.read(body)[0].facts)
        if job is not None:
            want = telling.wanted(facts, reserved_e8.get(job))
            yield task, job, want.status, want.state, telling.text(facts)

"""Jobs whose two sides are not the same: found by column, then read one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from operator import attrgetter
from typing import Any, NamedTuple

import polars as pl

from ledger.reconcile.frames import FAILED, SETTLED, Sides

__all__ = ["Job", "Line", "differing", "read_jobs", "read_lines"]


class Line(NamedTuple):
    """A line of the bill."""

    line: int | None
    task: str | None
    key: str | None
    model: str | None
    quality: str | None
    seconds_us: int | None
    at_us: int | None
    status: str | None
    version: str | None
    charge_e8: int
    """What it charges."""
    refund_e8: int
    """What it gives back."""
    inside: bool
    """Whether it is of the period."""

    @property
    def net_e8(self) -> int:
        """Charge less refund."""
        return self.charge_e8 - self.refund_e8

    @property
    def order(self) -> tuple[Any, ...]:
        """Where it stands among others; the same whatever order they come in."""
        return self.line or 0, self.looks

    @property
    def looks(self) -> str:
        """What it says, but for its number, which another export may change."""
        told = (self.task, self.key, self.model, self.quality, self.at_us, self.status)
        return json.dumps([*told, self.charge_e8, self.refund_e8, self.seconds_us])

    @property
    def is_failed(self) -> bool:
        """Whether it says that the task made nothing."""
        return self.status in FAILED

    @property
    def is_settled(self) -> bool:
        """Whether nothing more is to come of its task."""
        return self.status in SETTLED


class Job(NamedTuple):
    """A job of the book."""

    job: str
    wallet: str | None
    task: str | None
    model: str | None
    quality: str | None
    orientation: str | None
    channel: str | None
    version: str | None
    terms: str | None
    state: str | None
    hold_e8: int
    charged_e8: int
    refunded_e8: int
    charged_outside_e8: int
    refunded_outside_e8: int
    seconds: str | None
    at_us: int | None
    is_late: bool
    task_status: str | None
    task_net_e8: int | None
    deadline_us: int | None
    last_seq: int | None

    @property
    def net_e8(self) -> int:
        """Charged less refunded, in the period."""
        return self.charged_e8 - self.refunded_e8

    @property
    def net_ever_e8(self) -> int:
        """The same over all time: what can still be refunded."""
        return self.net_e8 + self.charged_outside_e8 - self.refunded_outside_e8

    @property
    def is_open(self) -> bool:
        """Whether credits are still set aside for it."""
        return self.state in ("open", "unknown")


def differing(sides: Sides, pairs: pl.DataFrame, now_us: int) -> pl.DataFrame:
    """Places of the jobs that need a look, as `_job`; those with lines that charge the same do not.

    A job needs one if its sums differ, if it was charged though it failed, or if it is still held
    although the bill has settled it, or its deadline has passed without a line.
    """
    lines = sides.lines.select(
        "_line", "charge_e8", "refund_e8", "inside", "is_failed", "is_settled"
    )
    # One line for several jobs has been found equal to their sum; it is none of theirs alone.
    by_sum = pairs.filter(pl.col("rule").cast(pl.String).str.starts_with("sum_"))
    shared = by_sum.filter(pl.len().over("_line") > 1).select("_job")
    jobs = sides.jobs
    if shared.height:
        jobs, pairs = (frame.join(shared, on="_job", how="anti") for frame in (jobs, pairs))
    lines = pairs.select("_line", "_job").join(lines, on="_line", how="left").filter("inside")
    sums = lines.group_by("_job").agg(
        pl.col("charge_e8").cast(pl.Int128).sum().alias("charge"),
        pl.col("refund_e8").cast(pl.Int128).sum().alias("refund"),
        (pl.col("is_failed") & (pl.col("charge_e8") > 0)).any().alias("bill_failed"),
        pl.col("is_settled").any().alias("is_settled"),
    )
    both = jobs.join(sums, on="_job", how="left", maintain_order="left")
    has_line = pl.col("charge").is_not_null()
    ours = pl.col("charged") - pl.col("refunded")
    theirs = pl.col("charge").fill_null(0) - pl.col("refund").fill_null(0)
    failed = pl.col("bill_failed").fill_null(value=False) | pl.col("is_failed")
    overdue = pl.col("is_unknown") | (pl.col("deadline_us") <= now_us)
    looked_at = (
        (ours != theirs)
        | (failed & has_line & (theirs > 0))
        | (pl.col("is_open") & pl.col("is_settled").fill_null(value=False))
        | (pl.col("is_open") & ~has_line & overdue.fill_null(value=False))
    )
    return both.filter(looked_at).select("_job")


def read_jobs(sides: Sides, places: pl.Series) -> dict[int, Job]:
    """The jobs at these places of the book's frame, by place."""
    rows = sides.book[places].with_columns(
        pl.sum_horizontal("charged_before_e8", "charged_after_e8").alias("charged_outside"),
        pl.sum_horizontal("refunded_before_e8", "refunded_after_e8").alias("refunded_outside"),
        (pl.col("late") == 1).fill_null(value=False).alias("is_late"),
        pl.col("hold_e8", "charged_e8", "refunded_e8").fill_null(0),
    )
    names = (
        *("job", "wallet", "task", "model", "quality", "orientation", "channel", "version"),
        *("terms", "state", "hold_e8", "charged_e8", "refunded_e8"),
        *("charged_outside", "refunded_outside", "seconds", "at_us", "is_late"),
        *("task_status", "task_net_e8", "deadline_us", "last_seq"),
    )
    found = rows.select(names).iter_rows()
    return {place: Job(*row) for place, row in zip(places, found, strict=True)}


def read_lines(sides: Sides, pairs: pl.DataFrame, places: pl.DataFrame) -> dict[int, list[Line]]:
    """The lines of these jobs, by the job's place; in order of their numbers."""
    wanted = pairs.join(places, on="_job", how="semi").select("_line", "_job")
    found: dict[int, list[Line]] = {}
    for job, line in zip(wanted["_job"], _lines(sides, wanted["_line"]), strict=True):
        found.setdefault(job, []).append(line)
    for lines in found.values():
        lines.sort(key=attrgetter("order"))
    return found


def lines_of(sides: Sides, places: pl.Series) -> dict[int, Line]:
    """The lines at these places of the statement's frame, by place."""
    return dict(zip(places, _lines(sides, places), strict=True))


def _lines(sides: Sides, places: pl.Series) -> Iterator[Line]:
    names = (
        *("line", "task", "key", "model", "quality"),
        *("seconds_us", "at_us", "status", "version"),
    )
    amounts = pl.DataFrame({"_line": places}).join(
        sides.lines.select("_line", "charge_e8", "refund_e8", "inside"),
        on="_line",
        how="left",
        maintain_order="left",
    )
    for row, extra in zip(
        sides.statement[places].select(names).iter_rows(), amounts.iter_rows(), strict=True
    ):
        yield Line(*row, *extra[1:])

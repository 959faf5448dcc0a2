"""Which line of a bill is which job of the book: strict rules first, and never a guess.

1. `task`: the provider's id of the task. All lines of a task belong to its job; a job that was
   submitted again has several tasks.
2. `key`: the idempotency key, which is the job's name.
3. `amount_time`: the same model and amount within the time window, where the line fits one job
   only and the job fits one line only.
4. `sum_time`, `sum_day`, `sum_period`: lines without any name. All that is left of a model within
   a stretch of time, a day (UTC), or the period is one line and several jobs, or one job and
   several lines, and the two sums are equal.

Lines of one task or key that the book does not know are one thing with one sum in rule 3. A line
that names a task never fits a job with another one, and a line that names an unknown key fits none.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import polars as pl

from ledger.pricing import PriceSource
from ledger.reconcile.frames import Sides, model_ids

__all__ = ["RULES", "Matched", "match"]

RULES = ("task", "key", "amount_time", "sum_time", "sum_day", "sum_period")
"""Rules by which a line is matched with a job, the strictest first."""

_RULE = pl.Enum(RULES)
_DAY_US = 86_400_000_000
_MOST_CANDIDATES = 5
"""Most candidates that are named for one line or job."""


class Matched(NamedTuple):
    """What belongs together, and what is left of both sides."""

    pairs: pl.DataFrame
    """`_line`, `_job`, `rule`."""
    groups: pl.DataFrame
    """Lines in the period that belong to no job: those of one name together, with their sum."""
    jobs: pl.DataFrame
    """Jobs with a charge or refund in the period that no line belongs to."""
    job_candidates: dict[int, list[int]]
    """Places of jobs that a group of lines might be, by the group's place."""
    line_candidates: dict[int, list[int]]
    """Places of groups that a job might be, by the job's place."""


def match(sides: Sides, *, prices: PriceSource, window_us: int) -> Matched:
    """Match lines and jobs by the rules above."""
    named = _by_name(sides)
    pairs = named.filter(pl.col("_job").is_not_null())
    loose = sides.lines.filter(named["_job"].is_null() & sides.lines["inside"])
    groups = _groups(loose, sides.statement, prices)
    jobs = _jobs_left(sides, pairs, prices)
    found = [pairs]
    looks = _by_amount(groups, jobs, window_us)
    found.append(_pairs_of(groups, looks.pairs, "amount_time"))
    groups, jobs = _without(groups, jobs, looks.pairs)
    for rule, both in _by_sums(groups, jobs, window_us):
        found.append(_pairs_of(groups, both, rule))
        groups, jobs = _without(groups, jobs, both)
    return Matched(pl.concat(found), groups, jobs, looks.job_candidates, looks.line_candidates)


def _by_name(sides: Sides) -> pl.DataFrame:
    """For every line the job of its task or key, and the rule; in the order of the lines."""
    lines = sides.lines
    found = _joined(lines, sides.tasks, "task")
    rule = pl.when(pl.col("_job").is_not_null()).then(pl.lit("task", dtype=_RULE)).alias("rule")
    named = lines.select("_line").hstack([found]).with_columns(rule)
    rest = lines.filter(found.is_null() & lines["key"].is_not_null())
    if rest.is_empty():
        return named
    by_key = rest.select("_line").hstack([_joined(rest, sides.jobs, "key")])
    by_key = by_key.drop_nulls().with_columns(pl.lit("key", dtype=_RULE).alias("rule"))
    return named.join(by_key, on="_line", how="left", maintain_order="left").select(
        "_line",
        pl.coalesce("_job", "_job_right").alias("_job"),
        pl.coalesce("rule", "rule_right").alias("rule"),
    )


def _joined(lines: pl.DataFrame, jobs: pl.DataFrame, name: str) -> pl.Series:
    """The job that each line names; null where none does, or more than one job has the name."""
    known = jobs.select(name, "_job").drop_nulls(name)
    if known[name].n_unique() < known.height:
        known = known.filter(pl.len().over(name) == 1)
    return lines.select(name).join(known, on=name, how="left", maintain_order="left")["_job"]


def _groups(loose: pl.DataFrame, statement: pl.DataFrame, prices: PriceSource) -> pl.DataFrame:
    """Lines without a job: those of one task or key together, every other line alone."""
    told = statement.select("line", "model", "quality", "at_us")[loose["_line"]]
    told = told.with_columns(model_ids(told, prices))
    lines = loose.hstack(told).with_columns(
        pl.coalesce(
            pl.lit("t") + pl.col("task"),
            pl.lit("k") + pl.col("key"),
            pl.lit("l") + pl.col("_line").cast(pl.String),
        ).alias("_name"),
        (pl.col("charge_e8").cast(pl.Int128) - pl.col("refund_e8")).alias("net"),
    )
    grouped = (
        lines.sort("line")
        .group_by("_name")
        .agg(
            pl.col("_line"),
            pl.col("model", "quality", "at_us").drop_nulls().first(),
            pl.col("line").min().alias("name"),
            pl.col("net").sum(),
            pl.col("task").is_not_null().any().alias("has_task"),
            pl.col("key").is_not_null().any().alias("has_key"),
        )
    )
    return grouped.drop("_name").sort("name").with_row_index("_group")


def _jobs_left(sides: Sides, pairs: pl.DataFrame, prices: PriceSource) -> pl.DataFrame:
    """Jobs with anything in the period, and no line."""
    jobs = sides.jobs.select(
        "_job",
        "at_us",
        (pl.col("charged") - pl.col("refunded")).alias("net"),
        pl.col("task").is_not_null().alias("has_task"),
    ).filter(pl.col("net") != 0)
    jobs = jobs.join(pairs.select("_job"), on="_job", how="anti")
    told = sides.book.select(pl.col("job").alias("name"), "model", "quality")[jobs["_job"]]
    told = told.with_columns(pl.col("model", "quality").cast(pl.String))
    return jobs.hstack(told.with_columns(model_ids(told, prices)))


# By amount and time


class _Looks(NamedTuple):
    """What the rule of amount and time says."""

    pairs: pl.DataFrame
    """`_group`, `_job`."""
    job_candidates: dict[int, list[int]]
    line_candidates: dict[int, list[int]]


def _by_amount(groups: pl.DataFrame, jobs: pl.DataFrame, window_us: int) -> _Looks:
    """One to one: the only job for the line, and the only line for the job."""
    has_both = pl.col("model").is_not_null() & pl.col("at_us").is_not_null()
    left = groups.filter(has_both & ~pl.col("has_key") & (pl.col("net") != 0))
    left = left.rename({"_group": "_id"})
    right = jobs.filter(has_both).rename({"_job": "_id"})
    free, told = left.filter(~pl.col("has_task")), left.filter("has_task")
    unnamed, named = right.filter(~pl.col("has_task")), right.filter("has_task")
    there = [_within(free, right, window_us), _within(told, unnamed, window_us)]
    here = [_within(unnamed, left, window_us), _within(named, free, window_us)]
    one = pl.col("count") == 1
    pairs = (
        pl.concat(item.only for item in there)
        .filter(one)
        .join(
            pl.concat(item.only for item in here).filter(one),
            left_on=["_id", "only"],
            right_on=["only", "_id"],
        )
    )
    pairs = pairs.select(pl.col("_id").alias("_group"), pl.col("only").alias("_job"))
    return _Looks(pairs, _named_candidates(there), _named_candidates(here))


class _Near(NamedTuple):
    """For each row of one side, the rows of the other side with its amount within the window."""

    only: pl.DataFrame
    """`_id`, `count`, and the latest of them as `only`; rows without any are left out."""
    others: pl.DataFrame
    """The other side's rows in order of time."""


def _within(left: pl.DataFrame, right: pl.DataFrame, window_us: int) -> _Near:
    """Count by two looks into the sorted times, not by pairs: equal amounts are very many."""
    same = ["model", "net"]
    others = right.sort("at_us", "name").select(*same, "at_us", pl.col("_id").alias("only"))
    ranked = others.with_columns((pl.int_range(pl.len()).over(same) + 1).alias("rank"))
    edges = left.select("_id", *same, pl.col("at_us").alias("mine")).sort("mine")
    upto = _upto(edges, ranked, pl.col("mine") + window_us)
    before = _upto(edges, ranked, pl.col("mine") - window_us - 1)
    rank = pl.col("rank").fill_null(0)
    only = upto.select("_id", *same, "only", rank).hstack(before.select(rank.alias("start")))
    only = only.with_columns((pl.col("rank") - pl.col("start")).alias("count"))
    return _Near(only.filter(pl.col("count") > 0), others)


def _upto(edges: pl.DataFrame, ranked: pl.DataFrame, edge: pl.Expr) -> pl.DataFrame:
    return edges.with_columns(edge.alias("at_us")).join_asof(
        ranked, on="at_us", by=["model", "net"], check_sortedness=False
    )


def _named_candidates(nears: Sequence[_Near]) -> dict[int, list[int]]:
    """Who might be who, where that is not clear."""
    found: dict[int, list[int]] = {}
    for near in nears:
        unclear = near.only
        if unclear.is_empty():
            continue
        same = ["model", "net"]
        lists = near.others.join(unclear.select(same).unique(), on=same, how="semi")
        by_amount = {
            (model, net): ids
            for model, net, ids in lists.group_by(same, maintain_order=True).agg("only").iter_rows()
        }
        rows = unclear.select("_id", *same, "start", "rank").iter_rows()
        for id_, model, net, start, rank in rows:
            found[id_] = by_amount[model, net][start : min(rank, start + _MOST_CANDIDATES)]
    return found


# By sums


def _by_sums(
    groups: pl.DataFrame, jobs: pl.DataFrame, window_us: int
) -> Iterator[tuple[str, pl.DataFrame]]:
    """One line for several jobs, or several lines for one job, with the rule that says so."""
    free = groups.filter(~pl.col("has_task") & ~pl.col("has_key") & (pl.col("net") != 0))
    if free.is_empty() or jobs.is_empty():
        return
    day = (pl.col("at_us") // _DAY_US).alias("day")
    free, jobs = free.with_columns(day), jobs.with_columns(day)
    free, jobs = _stretches(free, jobs, window_us)
    for rule, by in (
        ("sum_time", ["model", "stretch"]),
        ("sum_day", ["model", "quality", "day"]),
        ("sum_day", ["model", "day"]),
        ("sum_period", ["model", "quality"]),
        ("sum_period", ["model"]),
    ):
        both = _equal_sums(free, jobs, by)
        if not both.is_empty():
            free, jobs = _without(free, jobs, both)
            yield rule, both


def _stretches(
    groups: pl.DataFrame, jobs: pl.DataFrame, window_us: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Number the stretches of time without a gap of more than the window, model by model."""
    times = pl.concat([groups.select("model", "at_us"), jobs.select("model", "at_us")])
    times = times.drop_nulls().unique().sort("model", "at_us")
    is_new = (pl.col("model") != pl.col("model").shift()) | (pl.col("at_us").diff() > window_us)
    stretch = is_new.fill_null(value=True).cum_sum().alias("stretch")
    numbered = times.with_columns(stretch)
    first, second = (
        frame.join(numbered, on=["model", "at_us"], how="left") for frame in (groups, jobs)
    )
    return first, second


def _equal_sums(groups: pl.DataFrame, jobs: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    """All that is left of one kind, where one side is a single row and the sums are equal."""
    ours = jobs.group_by(by).agg(pl.col("net").sum(), "_job")
    theirs = groups.group_by(by).agg(pl.col("net").sum(), "_group")
    lines, several = pl.col("_group").list.len(), pl.col("_job").list.len()
    both = theirs.join(ours, on=[*by, "net"])
    both = both.filter((pl.min_horizontal(lines, several) == 1) & (lines + several > 2))
    return both.select("_group", "_job").explode("_group").explode("_job")


# What is left


def _pairs_of(groups: pl.DataFrame, both: pl.DataFrame, rule: str) -> pl.DataFrame:
    """The pairs of lines and jobs that pairs of groups and jobs stand for."""
    lines = both.join(groups.select("_group", "_line"), on="_group").explode("_line")
    return lines.select("_line", "_job", pl.lit(rule, dtype=_RULE).alias("rule"))


def _without(
    groups: pl.DataFrame, jobs: pl.DataFrame, both: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame]:
    return (
        groups.join(both, on="_group", how="anti"),
        jobs.join(both, on="_job", how="anti"),
    )

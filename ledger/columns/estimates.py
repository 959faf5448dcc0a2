"""What a plan of jobs will cost: sums by label, and the rows that have no price."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from threading import Lock
from typing import NamedTuple

import polars as pl

from ledger.columns.expressions import AMOUNTS, CAPPED
from ledger.columns.frames import FURTHER, REASON, Engine, further_options
from ledger.columns.plans import (
    ALIASES,
    COUNT,
    OPTIONS,
    RAW_COUNT,
    RAW_SECONDS,
    ROW,
    SHAPE,
    Plan,
    check_grouping,
    open_plan,
    readable,
)
from ledger.documents import EstimateDocument, GroupDocument, RangeDocument
from ledger.errors import Fault, InvalidPlan
from ledger.pricing import PREFERRED, PriceSource
from ledger.units import ExchangeRate, Length, iso, plain, show_credits

__all__ = ["Estimate", "Group", "NotPriced", "estimate"]

LEFT_ROWS = 200_000
"""Rows held at a time of those that are settled one by one."""


class NotPriced(NamedTuple):
    """A row of a plan that has no price."""

    row: int
    """Number of the row, from 1; the header is not counted."""
    reason: str
    """Why it has none."""


class Group(NamedTuple):
    """The part of a plan with one combination of labels."""

    key: tuple[str | None, ...]
    """Values of the columns the estimate was asked to group by."""
    jobs: int
    """Jobs that have a price."""
    minimum_e8: int
    """Fewest credits of the priced jobs, in units of 10^-8."""
    expected_e8: int
    """Expected credits of the priced jobs, in units of 10^-8."""
    maximum_e8: int
    """Most credits of the priced jobs, in units of 10^-8."""
    not_priced_jobs: int
    """Jobs without a price; they are in none of the amounts."""

    @property
    def has_price(self) -> bool:
        """Whether the amounts mean anything: not where every job is without a price."""
        return self.jobs > 0 or self.not_priced_jobs == 0


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a plan of jobs will cost."""

    by: tuple[str, ...]
    """Columns of the groups' keys."""
    groups: tuple[Group, ...]
    """The parts, sorted by key."""
    total: Group
    """All of it; every figure is the sum of the groups'."""
    rows: int
    """Rows read."""
    not_priced_rows: int
    """Rows without a price."""
    not_priced: tuple[NotPriced, ...]
    """The first rows without a price."""
    reasons: Mapping[str, int]
    """Rows without a price, counted by reason, most frequent first."""
    unknown_length_jobs: int
    """Priced jobs whose length is unknown, so that they cost a range."""
    notes: tuple[str, ...]
    """Assumptions made, with the number of rows they concern."""
    source: str
    """Name of the price source."""
    at: datetime
    """The moment whose prices were taken."""
    exchange_rate: ExchangeRate | None
    """The dollar rate in force at that moment; None where none had started."""

    def document(self) -> EstimateDocument:
        """The estimate as JSON types: amounts as strings."""
        rate = self.exchange_rate
        return {
            "groups": [self._group(group) for group in self.groups],
            "total": self._group(self.total),
            "rows": self.rows,
            "not_priced_rows": self.not_priced_rows,
            "not_priced": [{"row": row, "reason": reason} for row, reason in self.not_priced],
            "reasons": dict(self.reasons),
            "unknown_length_jobs": self.unknown_length_jobs,
            "notes": list(self.notes),
            "source": self.source,
            "at": iso(self.at),
            "credits_per_usd": None if rate is None else plain(rate.credits_per_unit),
            "rate_effective_from": None if rate is None else iso(rate.effective_from),
            "rate_source": None if rate is None else rate.source,
        }

    def _group(self, group: Group) -> GroupDocument:
        amounts_e8 = (group.minimum_e8, group.expected_e8, group.maximum_e8)
        low, expected, high = (show_credits(amount) for amount in amounts_e8)
        credits: RangeDocument = {"minimum": low, "expected": expected, "maximum": high}
        return {
            "key": dict(zip(self.by, group.key, strict=False)),
            "jobs": group.jobs,
            "not_priced_jobs": group.not_priced_jobs,
            "credits": credits if group.has_price else None,
            "usd": self._usd(amounts_e8) if group.has_price else None,
        }

    def _usd(self, amounts_e8: Iterable[int]) -> RangeDocument | None:
        rate = self.exchange_rate
        if rate is None:
            return None
        low, expected, high = (plain(rate.convert(amount)) for amount in amounts_e8)
        return {"minimum": low, "expected": expected, "maximum": high}


def estimate(
    plan: Plan,
    source: PriceSource,
    *,
    by: Sequence[str] = (),
    at: datetime | date | str | None = None,
    channel: str = PREFERRED,
    model: str | None = None,
    expected_seconds: Length | None = None,
    progress: Callable[[int], None] | None = None,
    on_not_priced: Callable[[Sequence[NotPriced]], None] | None = None,
    keep: int = 20,
) -> Estimate:
    """What a plan of jobs will cost: minimum, expected and maximum, in total and by label.

    Args:
        plan: a data frame, or a file: `.csv`, `.jsonl` or `.parquet`. Each row is a job: `model`,
            `quality`, `orientation`, `sound`, `seconds`, `count`, and options that models of the
            source have besides, such as `image_count`; other columns are labels.
        source: what prices the jobs.
        by: columns to group by: options or labels.
        at: the moment whose prices are taken; now, if None.
        channel: `preferred`, `dearest`, or the name of an upstream channel.
        model: model of every row, for a plan without that column.
        expected_seconds: your own average, for jobs of unknown length.
        progress: is told the number of rows done, again and again.
        on_not_priced: is handed all rows without a price, some at a time.
        keep: how many rows without a price the result holds.

    Raises:
        InvalidPlan: the file cannot be read, or its columns are wrong. A bad row is no error: it
            is counted as not priced, with its reason.
        InvalidSeconds: `expected_seconds` is not a length.
        UnknownModel: `model` is not known.
        UnknownChannel: no model of the plan has the channel.
        MissingExtra: polars is not installed.

    >>> import polars as pl
    >>> from ledger import PriceBook, estimate
    >>> plan = pl.DataFrame({"model": "kling-v3-motion-control", "orientation": "video",
    ...     "seconds": [12.4, 9.2], "count": [1, 10], "team": ["ads", "film"]})
    >>> result = estimate(plan, PriceBook.bundled(), by=["team"])
    >>> [(group.key, group.maximum_e8) for group in result.groups]
    [(('ads',), 10614240000), (('film',), 81648000000)]
    """
    engine = Engine.at(source, at, channel, expected_seconds)
    if model is not None:
        source.model(model)
    opened = open_plan(plan, model, further_options(source))
    names = [by] if isinstance(by, str) else by
    by = tuple(ALIASES.get(name, name) for name in names)
    if opened.has_header:
        check_grouping(by, opened)
    tally = _Tally(engine, by, max(keep, 0), on_not_priced)
    with readable(opened.where):
        for part in opened.parts:
            tally.add(part, progress)
    check_grouping(by, opened)
    if tally.rows == 0:
        raise InvalidPlan(opened.where, [Fault("", "has no rows")])
    engine.check_channel()
    return tally.result()


def _watched(jobs: pl.LazyFrame, progress: Callable[[int], None], done: int) -> pl.LazyFrame:
    """The same jobs; while they stream by, `progress` is told how many have."""
    lock = Lock()

    def count(frame: pl.DataFrame) -> pl.DataFrame:
        nonlocal done
        with lock:
            done += frame.height
            progress(done)
        return frame

    return jobs.map_batches(count, streamable=True, validate_output_schema=False)


@dataclass(slots=True)
class _Tally:
    """Sums of the parts so far. Sums are Int128, so they cannot overflow."""

    engine: Engine
    by: tuple[str, ...]
    keep: int
    on_not_priced: Callable[[Sequence[NotPriced]], None] | None
    rows: int = 0
    sums: list[pl.DataFrame] = field(default_factory=list)
    not_priced: list[NotPriced] = field(default_factory=list)
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, part: pl.LazyFrame, progress: Callable[[int], None] | None) -> None:
        """Add some rows of the plan."""
        known = part.collect_schema().names()
        part = part.with_columns(
            pl.lit(None, dtype=pl.String).alias(name) for name in self.by if name not in known
        )
        priced = self.engine.amounts_and_assumptions(part)
        settled = (
            pl.col(AMOUNTS[2]).is_not_null() & pl.col(COUNT).is_not_null() & pl.col(SHAPE).is_null()
        )
        watched = part if progress is None else _watched(part, progress, self.rows)
        summed = self._summed(priced(watched), settled, pl.col(CAPPED)).collect(engine="streaming")
        if rows := summed["__capped"].sum():
            self.engine.assume_capped(int(rows))
        first_row = self.rows + 1
        self.rows += int(summed["__rows"].sum())
        self.sums.append(summed.drop("__rows", "__left", "__capped"))
        if summed["__left"].sum():
            further = (name for name in known if name.startswith(FURTHER))
            asked = (*OPTIONS, *further, RAW_SECONDS, COUNT, RAW_COUNT, SHAPE, *self.by)
            columns = dict.fromkeys(asked)
            numbered = priced(part)
            if ROW not in known:
                numbered = numbered.with_row_index(ROW, offset=first_row)
            left = numbered.filter(~settled).select(ROW, *columns)
            for batch in left.collect_batches(chunk_size=LEFT_ROWS, maintain_order=True):
                self._settle(batch)

    def _settle(self, left: pl.DataFrame) -> None:
        answered = self.engine.settle(left)
        priced = pl.col(REASON).is_null()
        capped = pl.col(CAPPED)
        summed = self._summed(answered.lazy(), priced, capped, leave=False).collect()
        if rows := summed["__capped"].sum():
            self.engine.assume_capped(int(rows))
        self.sums.append(summed.drop("__rows", "__left", "__capped"))
        if len(self.sums) > 32:
            self.sums = [self._merged()]
        without = answered.filter(~priced).select(ROW, REASON)
        rejected = [NotPriced(row, reason) for row, reason in without.iter_rows()]
        for item in rejected:
            self.reasons[item.reason] = self.reasons.get(item.reason, 0) + 1
        self.not_priced += rejected[: self.keep - len(self.not_priced)]
        if rejected and self.on_not_priced is not None:
            self.on_not_priced(rejected)

    def _summed(
        self,
        jobs: pl.LazyFrame,
        priced: pl.Expr,
        capped: pl.Expr,
        *,
        leave: bool = True,
    ) -> pl.LazyFrame:
        """Sums by group of the priced rows; the others are left, or counted as without a price."""
        wide = pl.col(COUNT).fill_null(1).cast(pl.Int128)
        zero = pl.lit(0, dtype=pl.Int128)
        left_out = zero if leave else pl.when(priced).then(zero).otherwise(wide)
        ranged = priced & (pl.col(AMOUNTS[0]) != pl.col(AMOUNTS[2]))
        figures = [
            pl.when(priced).then(wide).otherwise(zero).sum().alias("__jobs"),
            *(
                pl.when(priced).then(pl.col(name) * wide).otherwise(zero).sum().alias(name)
                for name in AMOUNTS
            ),
            left_out.sum().alias("__left_out"),
            pl.when(ranged).then(wide).otherwise(zero).sum().alias("__ranged"),
            (~priced).sum().alias("__left"),
            (capped & priced).sum().alias("__capped"),
            pl.len().cast(pl.Int64).alias("__rows"),
        ]
        if not self.by:
            return jobs.select(figures)
        keys = [_label(name, self.engine.short_names) for name in self.by]
        return jobs.group_by(keys).agg(figures)

    def _merged(self) -> pl.DataFrame:
        whole = pl.concat(self.sums)
        figures = [pl.col(name).sum() for name in whole.columns if name not in self.by]
        return whole.group_by(self.by).agg(figures) if self.by else whole.select(figures)

    def result(self) -> Estimate:
        """The estimate of all batches."""
        places = len(self.by)
        groups: list[Group] = []
        ranged_jobs = 0
        for row in self._merged().rows():
            jobs, low, expected, high, left_out, ranged = row[places:]
            groups.append(Group(row[:places], jobs, low, expected, high, left_out))
            ranged_jobs += ranged
        groups.sort(key=lambda group: [(part is None, part or "") for part in group.key])
        source, moment = self.engine.source, self.engine.moment
        return Estimate(
            by=self.by,
            groups=tuple(groups) if self.by else (),
            total=_total(groups),
            rows=self.rows,
            not_priced_rows=sum(self.reasons.values()),
            not_priced=tuple(self.not_priced),
            reasons=dict(sorted(self.reasons.items(), key=lambda item: (-item[1], item[0]))),
            unknown_length_jobs=ranged_jobs,
            notes=self.engine.notes(),
            source=source.name,
            at=moment,
            exchange_rate=source.rates.find(moment),
        )


def _label(name: str, ids: Mapping[str, str]) -> pl.Expr:
    text = pl.col(name).cast(pl.String)
    if name == "model":
        # A short name and the id it stands for are one group.
        for short, full in ids.items():
            text = pl.when(text == short).then(pl.lit(full)).otherwise(text)
    return pl.when(text != "").then(text).alias(name)


def _total(groups: Iterable[Group]) -> Group:
    jobs = low = expected = high = left_out = 0
    for group in groups:
        jobs += group.jobs
        low += group.minimum_e8
        expected += group.expected_e8
        high += group.maximum_e8
        left_out += group.not_priced_jobs
    return Group((), jobs, low, expected, high, left_out)

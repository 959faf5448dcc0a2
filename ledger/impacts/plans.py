"""The jobs of a plan under two price sources: equal rows are priced once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from threading import Lock
from typing import Any

import polars as pl

from ledger.columns.frames import REASON, Engine
from ledger.columns.plans import (
    COUNT,
    OPTIONS,
    RAW_COUNT,
    RAW_SECONDS,
    SHAPE,
    Plan,
    check_grouping,
    open_plan,
    readable,
)
from ledger.errors import Fault, InvalidPlan
from ledger.impacts.effects import Split
from ledger.impacts.pairs import Pair
from ledger.impacts.results import Tally
from ledger.pricing import PREFERRED, PriceSource, Quote

__all__ = ["PlanReader"]

_JOBS = "__jobs"
_AT_ONCE = 20_000
"""Different jobs held as Python objects at a time."""

Options = tuple[str | None, ...]


class PlanReader:
    """Adds the jobs of a plan to a tally; what was priced once is remembered."""

    def __init__(self, pair: Pair, moment: datetime, guess: Decimal | None) -> None:
        self._pair, self._moment, self._guess = pair, moment, guess
        self._outcomes: dict[tuple[Options, Any], tuple[Split | str, bool]] = {}
        # The expressions are not asked: this one knows the words for rows that are no jobs.
        self._engine = Engine(pair.first, moment, PREFERRED, guess)
        self._rows = 0

    def add(
        self,
        tally: Tally,
        plan: Plan,
        *,
        by: Sequence[str],
        model: str | None,
        progress: Callable[[int], None] | None,
    ) -> str:
        """Add every job of the plan; gives the plan's name.

        Raises:
            InvalidPlan: the file cannot be read, or its columns are wrong.
        """
        opened = open_plan(plan, model)
        if opened.has_header:
            check_grouping(by, opened)
        with readable(opened.where):
            for part in opened.parts:
                read = part if progress is None else self._watched(part, progress)
                for frame in _distinct(read, by):
                    self._add_frame(tally, frame, by)
                    if progress is not None:
                        progress(self._rows)
        check_grouping(by, opened)
        if not tally.groups:
            raise InvalidPlan(opened.where, [Fault("", "has no rows")])
        return opened.where

    def _watched(self, part: pl.LazyFrame, progress: Callable[[int], None]) -> pl.LazyFrame:
        """The same rows; while they stream by, `progress` is told how many have."""
        lock = Lock()

        def count(frame: pl.DataFrame) -> pl.DataFrame:
            with lock:
                self._rows += frame.height
                progress(self._rows)
            return frame

        return part.map_batches(count, streamable=True, validate_output_schema=False)

    def _add_frame(self, tally: Tally, frame: pl.DataFrame, by: Sequence[str]) -> None:
        labels = [self._labels(frame, name) for name in by]
        keys = zip(*labels, strict=True) if labels else iter([()] * frame.height)
        reasons = self._reasons(frame)
        columns = (frame[name].to_list() for name in (*OPTIONS, RAW_SECONDS, _JOBS))
        rows = zip(*columns, strict=True)
        for row, reason, key in zip(rows, reasons, keys, strict=True):
            *options, seconds, jobs = row
            outcome, is_ranged = (
                self._outcome(tuple(options), seconds) if reason is None else (reason, False)
            )
            tally.add(key, outcome, jobs)
            if is_ranged:
                tally.unknown_length_jobs += jobs

    def _labels(self, frame: pl.DataFrame, name: str) -> list[str | None]:
        labels: list[str | None] = frame[_label_column(name)].to_list()
        # A short name and the id it stands for are one group.
        return list(map(self._pair.model, labels)) if name == "model" else labels

    def _reasons(self, frame: pl.DataFrame) -> list[str | None]:
        """Why a row is no job at all, in the words of an estimate."""
        is_bad = frame[SHAPE].is_not_null() | frame[COUNT].is_null()
        reasons: list[str | None] = [None] * frame.height
        if is_bad.any():
            said = self._engine.settle(frame.filter(is_bad))[REASON]
            for place, reason in zip(is_bad.arg_true(), said, strict=True):
                reasons[place] = reason
        return reasons

    def _outcome(self, options: Options, seconds: Any) -> tuple[Split | str, bool]:
        key = options, seconds
        found = self._outcomes.get(key)
        if found is None:
            quotes = self._pair.ask(lambda source: self._quote(source, options, seconds))
            if isinstance(quotes, str):
                found = quotes, False
            else:
                first, second = quotes
                split = self._pair.split(first.expected_charge, second.expected_charge)
                found = split, not (first.length_known and second.length_known)
            self._outcomes[key] = found
        return found

    def _quote(self, source: PriceSource, options: Options, seconds: Any) -> Quote:
        model, quality, orientation, sound = (value or None for value in options)
        if model is None:
            raise InvalidPlan("row", [Fault("model", "is empty")])
        job = source.job(
            model,
            quality=quality,
            character_orientation=orientation,
            sound=sound,
            seconds=seconds,
        )
        if self._guess is not None:
            job = job.model_copy(update={"expected_seconds": self._guess})
        return source.quote(job, at=self._moment)


def _distinct(part: pl.LazyFrame, by: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Each different job of a part once, with how often it is there."""
    known = part.collect_schema().names()
    counted = pl.col(COUNT).is_not_null()
    labels = [
        (pl.col(name).cast(pl.String) if name in known else pl.lit(None, dtype=pl.String)).alias(
            _label_column(name)
        )
        for name in by
    ]
    jobs = part.select(
        *OPTIONS,
        RAW_SECONDS,
        SHAPE,
        *labels,
        # Of the counts only whether they are one matters here, and what was written instead.
        pl.when(counted).then(pl.lit(1, dtype=pl.Int64)).alias(COUNT),
        pl.when(~counted).then(pl.col(RAW_COUNT)).alias(RAW_COUNT),
        # At most 10^9 jobs a row, so that no file has too many for 64 bits.
        pl.col(COUNT).fill_null(1).alias(_JOBS),
    ).with_columns(
        pl.when(pl.col(_label_column(name)) != "").then(pl.col(_label_column(name))) for name in by
    )
    keys = [*OPTIONS, RAW_SECONDS, SHAPE, COUNT, RAW_COUNT, *map(_label_column, by)]
    grouped = jobs.group_by(keys).agg(pl.col(_JOBS).sum())
    yield from grouped.collect(engine="streaming").iter_slices(_AT_ONCE)


def _label_column(name: str) -> str:
    return f"__label_{name}"

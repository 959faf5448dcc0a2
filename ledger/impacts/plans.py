"""The jobs of a plan under two price sources: equal rows are priced once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from threading import Lock
from typing import Any

import polars as pl

from ledger.columns.frames import REASON, Engine, further_options, in_column
from ledger.columns.plans import (
    CHOICE,
    COUNT,
    OPTIONS,
    RAW_COUNT,
    RAW_SECONDS,
    SHAPE,
    WRITTEN,
    Plan,
    check_grouping,
    open_plan,
    option_text,
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

_FURTHER = (CHOICE, WRITTEN)
"""What the columns begin with that say the value of a further option."""

Row = tuple[Any, ...]
"""Values of `OPTIONS` in one row, then its length."""

Given = tuple[tuple[str, str], ...]
"""The further options that a row has, by name."""


class PlanReader:
    """Adds the jobs of a plan to a tally; what was priced once is remembered."""

    def __init__(self, pair: Pair, moment: datetime, guess: Decimal | None) -> None:
        self._pair, self._moment, self._guess = pair, moment, guess
        self._outcomes: dict[tuple[Row, Given], tuple[Split | str, bool]] = {}
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
        # What is an option under one of them is none of the other's labels.
        further = further_options(self._pair.first, self._pair.second)
        opened = open_plan(plan, model, further)
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
        further = [name for name in frame.columns if name.startswith(_FURTHER)]
        named = [name.removeprefix(CHOICE).removeprefix(WRITTEN) for name in further]
        columns = (frame[name].to_list() for name in (*OPTIONS, *further, RAW_SECONDS, _JOBS))
        rows = zip(*columns, strict=True)
        for row, reason, key in zip(rows, reasons, keys, strict=True):
            *options, seconds, jobs = row
            given = zip(named, options[len(OPTIONS) :], strict=True)
            job = (*options[: len(OPTIONS)], seconds), _given(given)
            outcome, is_ranged = self._outcome(*job) if reason is None else (reason, False)
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

    def _outcome(self, row: Row, further: Given) -> tuple[Split | str, bool]:
        key = row, further
        found = self._outcomes.get(key)
        if found is None:
            given = dict(further)
            quotes = self._pair.ask(lambda source: self._quote(source, row, given))
            if isinstance(quotes, str):
                found = in_column(quotes, given), False
            else:
                first, second = quotes
                split = self._pair.split(first.expected_charge, second.expected_charge)
                found = split, not (first.length_known and second.length_known)
            self._outcomes[key] = found
        return found

    def _quote(self, source: PriceSource, row: Row, further: Mapping[str, str]) -> Quote:
        *options, seconds = row
        model, quality, orientation, sound = (value or None for value in options)
        if model is None:
            raise InvalidPlan("row", [Fault("model", "is empty")])
        job = source.job(
            model,
            quality=quality,
            character_orientation=orientation,
            sound=sound,
            seconds=seconds,
            options=further or None,
        )
        if self._guess is not None:
            job = job.model_copy(update={"expected_seconds": self._guess})
        return source.quote(job, at=self._moment)


def _given(further: Iterable[tuple[str, Any]]) -> Given:
    """The further options of a row that it has, as texts."""
    return tuple((name, option_text(value)) for name, value in further if value is not None)


def _distinct(part: pl.LazyFrame, by: Sequence[str]) -> Iterator[pl.DataFrame]:
    """Each different job of a part once, with how often it is there."""
    known = part.collect_schema().names()
    further = [name for name in known if name.startswith(_FURTHER)]
    counted = pl.col(COUNT).is_not_null()
    labels = [
        (pl.col(name).cast(pl.String) if name in known else pl.lit(None, dtype=pl.String)).alias(
            _label_column(name)
        )
        for name in by
    ]
    jobs = part.select(
        *OPTIONS,
        *further,
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
    keys = [*OPTIONS, *further, RAW_SECONDS, SHAPE, COUNT, RAW_COUNT, *map(_label_column, by)]
    grouped = jobs.group_by(keys).agg(pl.col(_JOBS).sum())
    yield from grouped.collect(engine="streaming").iter_slices(_AT_ONCE)


def _label_column(name: str) -> str:
    return f"__label_{name}"

"""The pricing function as polars expressions, and the scalar function for what they leave over."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import polars as pl

from ledger.columns.combinations import NOTHING, Combination, code_of, combination_of
from ledger.columns.expressions import AMOUNTS, Apply, capped, exactly_priced, pricing
from ledger.columns.forms import lengths_of
from ledger.columns.plans import (
    CHOICE,
    COUNT,
    GIVEN,
    MOST_COUNT,
    NUMBER,
    OPTIONS,
    RAW_COUNT,
    RAW_SECONDS,
    ROW,
    SECONDS,
    SHAPE,
    WRITTEN,
    Further,
    canonical,
    option_text,
)
from ledger.columns.programs import Ends
from ledger.errors import CannotPrice, Fault, InvalidInput, InvalidPlan, UnknownChannel
from ledger.evolink import OptionKind, PublishedRules
from ledger.evolink.formulas import ALIASES
from ledger.pricing import PREFERRED, PriceSource, Quote
from ledger.requests import Request
from ledger.units import Length, parse_moment, parse_seconds, plain

__all__ = ["FURTHER", "REASON", "Engine", "further_options", "in_column", "price_frame"]

REASON = "__not_priced"
"""Column that says why a row has no price."""

FURTHER = (CHOICE, GIVEN, WRITTEN)
"""What the columns of further options that `settle` reads begin with."""

ADDED = tuple(name.removeprefix("__") for name in (*AMOUNTS, REASON))
"""What `price_frame` calls them."""

MOST_COMBINATIONS = 100_000
"""Most different combinations of options; real plans have a few dozen."""

Key = tuple[str | None, ...]
"""Values of `OPTIONS` in one row, then column and value of each further option that it has."""

_Row = tuple[str | None, ...]
"""Values of the columns that make a combination, in one row."""

_LOW, _HIGH = "__low ", "__high "

_Found = tuple[int | None, int | None, int | None, str | None]
"""The three amounts of a row, or why it has none."""


def further_options(*sources: PriceSource) -> Further:
    """The options that some models of some source have besides those of every plan."""
    found: dict[str, OptionKind] = {}
    for source in sources:
        if isinstance(source, PublishedRules):
            for name, kind in source.further_options.items():
                found[name] = "number" if kind == "number" else found.get(name, kind)
    return found


def price_frame(
    frame: pl.DataFrame,
    source: PriceSource,
    *,
    at: datetime | date | str | None = None,
    channel: str = PREFERRED,
    expected_seconds: Length | None = None,
) -> pl.DataFrame:
    """The frame with the price of one job of each row, as four further columns.

    `minimum_e8`, `expected_e8` and `maximum_e8` are Int64 units of 10^-8 credit, for one job, not
    times `count`; `not_priced` is null, or says why the three others are.

    Raises:
        InvalidPlan: the frame's columns are wrong, or it has one of the four new ones already.
        UnknownChannel: no model of the frame has the channel.
        InvalidMoment: `at` is not a moment.
        InvalidSeconds: `expected_seconds` is not a length.

    >>> import polars as pl
    >>> from ledger import PriceBook, price_frame
    >>> jobs = pl.DataFrame({"model": ["kling-custom-element", "kling-v9"]})
    >>> price_frame(jobs, PriceBook.bundled()).rows()[0]
    ('kling-custom-element', 100000000, 100000000, 100000000, None)
    """
    if clash := [name for name in ADDED if name in frame.columns]:
        raise InvalidPlan("plan", [Fault(name, "is a column already") for name in clash])
    engine = Engine.at(source, at, channel, expected_seconds)
    jobs = canonical(frame.lazy(), frame.schema, "plan", further=further_options(source))
    jobs = jobs.with_columns(pl.lit(1, dtype=pl.Int64).alias(COUNT))
    priced = engine.amounts(jobs)(jobs)
    columns = priced.select(AMOUNTS).collect(engine="streaming")
    reasons = pl.Series(REASON, [None], dtype=pl.String).new_from_index(0, frame.height)
    if columns[AMOUNTS[2]].null_count():
        rows = priced.with_row_index(ROW).filter(pl.col(AMOUNTS[2]).is_null())
        left = engine.settle(rows.collect(engine="streaming"))
        engine.check_channel()
        places = left[ROW]
        columns = columns.with_columns(
            columns[name].scatter(places, left[name]) for name in AMOUNTS
        )
        reasons = reasons.scatter(places, left[REASON])
    series = [*columns.get_columns(), reasons]
    return frame.hstack([each.alias(name) for each, name in zip(series, ADDED, strict=True)])


@dataclass(slots=True)
class Engine:
    """Prices batches under one source at one moment, remembering what it resolved."""

    source: PriceSource
    moment: datetime
    channel: str
    guess: Decimal | None
    combinations: dict[Key, Combination] = field(default_factory=dict)
    assumed: dict[Key, tuple[str, ...]] = field(default_factory=dict)
    assumed_length: dict[Key, str] = field(default_factory=dict)
    assumed_rows: dict[str, int] = field(default_factory=dict)
    short_names: dict[str, str] = field(default_factory=dict)
    no_channel: UnknownChannel | None = None

    @classmethod
    def at(
        cls,
        source: PriceSource,
        at: datetime | date | str | None,
        channel: str,
        expected_seconds: Length | None,
    ) -> Engine:
        """An engine for one call; nothing is resolved yet."""
        moment = datetime.now(UTC) if at is None else parse_moment(at)
        guess = None if expected_seconds is None else parse_seconds(expected_seconds)
        return cls(source, moment, channel, guess)

    def amounts(self, jobs: pl.LazyFrame) -> Apply:
        """What adds the three amounts of a job; null where `settle` must be asked."""
        columns = _key_columns(jobs)
        rows = jobs.select(columns).unique().collect(engine="streaming").rows()
        known = self._resolved(columns, rows)
        names = _numbers_of(known.values())
        ends: Ends = {}
        if names:
            sizes = [size for name in names for size in _ends_of(name)]
            found = jobs.select(sizes).collect(engine="streaming").row(0)
            ends = dict(zip(names, zip(found[::2], found[1::2], strict=True), strict=True))
        return _pricing(columns, known, ends)

    def amounts_and_assumptions(self, jobs: pl.LazyFrame) -> Apply:
        """The same, while the rows that rest on an assumption are counted."""
        columns = _key_columns(jobs)
        given = [name.removeprefix(GIVEN) for name in columns if name.startswith(GIVEN)]
        names = (SECONDS, *given)
        sizes = [size for name in names for size in _ends_of(name)]
        no_length = pl.col(RAW_SECONDS).is_null().sum().alias("__no_length")
        counts = jobs.group_by(columns).agg(*sizes, pl.len().alias("__rows"), no_length)
        counted = counts.collect(engine="streaming")
        known = self._resolved(columns, counted.select(columns).rows())
        too_long = False
        for row in counted.iter_rows():
            key = _key_of(columns, row[: len(columns)])
            longest_seconds, rows, rows_without_length = row[len(columns) + 1], *row[-2:]
            self._assume(dict.fromkeys(self.assumed.get(key, ()), rows))
            if key in self.assumed_length:
                self._assume({self.assumed_length[key]: rows_without_length})
            too_long |= (longest_seconds or 0) > self.combinations[key].longest_seconds
        rows_of = counted.to_dict(as_series=False)
        ends = {
            name: (_first(min, rows_of[f"{_LOW}{name}"]), _first(max, rows_of[f"{_HIGH}{name}"]))
            for name in names
        }
        return _pricing(columns, known, ends, with_capped=too_long)

    def assume_capped(self, rows: int) -> None:
        """Count rows that are billed only up to the longest clip."""
        text = "longer than the longest clip: billed up to it, and the provider may refuse them"
        self._assume({text: rows})

    def _assume(self, rows_by_text: Mapping[str, int]) -> None:
        for text, rows in rows_by_text.items():
            self.assumed_rows[text] = self.assumed_rows.get(text, 0) + rows

    def _resolved(self, columns: Sequence[str], rows: Sequence[_Row]) -> dict[_Row, Combination]:
        """The combinations in a fixed order, after each of them was resolved."""
        if len(rows) > MOST_COMBINATIONS:
            problem = f"have {len(rows)} different combinations of values; is this a plan?"
            names = ", ".join(name.removeprefix(CHOICE).removeprefix(GIVEN) for name in columns)
            raise InvalidPlan("plan", [Fault(names, problem)])
        found = {}
        for row in sorted(rows, key=str):
            key = _key_of(columns, row)
            if key not in self.combinations:
                self.combinations[key] = self._resolve(key)
            found[row] = self.combinations[key]
        return found

    def settle(self, left: pl.DataFrame) -> pl.DataFrame:
        """Rows the expressions left over, priced exactly or with the reason, and `CAPPED`."""
        exact = self.exactly(left)
        answers = self._answers(left.filter(exact.is_null()))
        places = exact.is_null().arg_true()
        amounts = [
            exact.alias(name).scatter(places, [row[place] for row in answers])
            for place, name in enumerate(AMOUNTS)
        ]
        reasons = pl.Series(REASON, [None], dtype=pl.String).new_from_index(0, left.height)
        reasons = reasons.scatter(places, [row[3] for row in answers])
        known, code = self._combinations_of(left)
        return left.with_columns(*amounts, reasons, capped(known, code))

    def exactly(self, left: pl.DataFrame) -> pl.Series:
        """The amounts of rows whose numbers only have more digits than floats tell apart."""
        return exactly_priced(left, *self._combinations_of(left))

    def _combinations_of(self, left: pl.DataFrame) -> tuple[list[Combination], pl.Expr]:
        columns = _key_columns(left)
        rows = left.select(columns).unique().rows()
        if not rows:
            return [NOTHING], pl.lit(0, dtype=pl.UInt32)
        known = [self.combinations.get(_key_of(columns, row), NOTHING) for row in rows]
        return known, code_of(columns, rows)

    def _answers(self, left: pl.DataFrame) -> list[_Found]:
        """What the scalar function says of each row; equal rows are asked about once."""
        columns = _key_columns(left)
        written = [name for name in left.columns if name.startswith(WRITTEN)]
        options = [name.removeprefix(WRITTEN) for name in written]
        answers: dict[tuple[Any, ...], _Found] = {}
        found: list[_Found] = []
        on = [*columns, *written, RAW_SECONDS, COUNT, RAW_COUNT, SHAPE]
        for row in left.select(on).iter_rows():
            answer = answers.get(row)
            key = _key_of(columns, row[: len(columns)])
            if answer is None:
                numbers = dict(zip(options, row[len(columns) : -4], strict=True))
                answer = answers[row] = self._answer(key, numbers, row[-4:])
            if answer[3] is not None:
                self._assumes_nothing(key, seconds=row[-4])
            found.append(answer)
        return found

    def _assumes_nothing(self, key: Key, *, seconds: Any) -> None:
        """Take a row without a price back out of the assumptions it was counted in."""
        texts = list(self.assumed.get(key, ()))
        if seconds is None and key in self.assumed_length:
            texts.append(self.assumed_length[key])
        if self.assumed_rows:
            self._assume(dict.fromkeys(texts, -1))

    def check_channel(self) -> None:
        """Refuse a channel that no model of the plan has: it is a slip, not a missing price."""
        if self.no_channel is not None and not self.assumed:
            raise self.no_channel

    def notes(self) -> tuple[str, ...]:
        """Assumptions, with the number of rows they concern."""
        return tuple(
            f"{rows} {'row' if rows == 1 else 'rows'}: {text}"
            for text, rows in sorted(self.assumed_rows.items())
            if rows
        )

    def _resolve(self, key: Key) -> Combination:
        """Ask the scalar code about one combination of options."""
        # Any number will do: what it is decides neither about terms nor about what is assumed.
        numbers = dict.fromkeys(_further(key, GIVEN), "1")
        try:
            if key[0] and (model := self.source.model(key[0])) != key[0]:
                self.short_names[key[0]] = model
            job = self._job(key, numbers, None)
            terms = self.source.terms(job, at=self.moment, channel=self.channel)
        except (CannotPrice, InvalidInput) as error:
            if isinstance(error, UnknownChannel):
                self.no_channel = error
            return NOTHING._replace(reason=_brief(error))
        self.assumed[key] = terms.assumed
        if job.length_field == "duration" and terms.default_seconds is not None:
            shown = plain(terms.default_seconds)
            self.assumed_length[key] = f"no duration given: the provider takes {shown} s"
        amounts = None
        if not numbers:
            with suppress(CannotPrice, InvalidInput):
                amounts = _amounts(self._quote(job))
        lengths = lengths_of(job, terms, self.source.limits(job.model))
        found = combination_of(job, terms, lengths, tuple(numbers))
        return found._replace(without_length=amounts)

    def _job(self, key: Key, numbers: Mapping[str, Any], seconds: Any) -> Request:
        model, quality, orientation, sound = (value or None for value in key[: len(OPTIONS)])
        if model is None:
            raise InvalidPlan("row", [Fault("model", "is empty")])
        job = self.source.job(
            model,
            quality=quality,
            character_orientation=orientation,
            sound=sound,
            seconds=seconds,
            options=_options_of(key, numbers) or None,
        )
        if self.guess is None:
            return job
        return job.model_copy(update={"expected_seconds": self.guess})

    def _quote(self, job: Request) -> Quote:
        return self.source.quote(job, at=self.moment, channel=self.channel)

    def _answer(
        self,
        key: Key,
        numbers: Mapping[str, Any],
        rest: tuple[Any, ...],
    ) -> _Found:
        seconds, count, written_count, shape = rest
        if shape is not None:
            return None, None, None, shape
        if count is None:
            shown = str(written_count)[:20]
            problem = f"count: must be a whole number from 0 to {MOST_COUNT}, not {shown!r}"
            return None, None, None, problem
        resolved = self.combinations[key]
        if resolved.reason is not None:
            return None, None, None, resolved.reason
        try:
            return *_amounts(self._quote(self._job(key, numbers, seconds))), None
        except (CannotPrice, InvalidInput) as error:
            return None, None, None, in_column(_brief(error), _options_of(key, numbers))


def _key_columns(jobs: pl.LazyFrame | pl.DataFrame) -> list[str]:
    """The columns whose values make a combination of options."""
    names = jobs.collect_schema().names()
    return [*OPTIONS, *(name for name in names if name.startswith((CHOICE, GIVEN)))]


def _key_of(columns: Sequence[str], row: _Row) -> Key:
    """What a combination is remembered by, whichever columns a part of the plan has."""
    rest = zip(columns[len(OPTIONS) :], row[len(OPTIONS) :], strict=True)
    further = (part for column, value in rest if value is not None for part in (column, value))
    return *row[: len(OPTIONS)], *further


def _further(key: Key, kind: str) -> dict[str, str]:
    """The further options of a kind in a key."""
    rest = key[len(OPTIONS) :]
    pairs = zip(rest[::2], rest[1::2], strict=True)
    return {
        str(column).removeprefix(kind): str(value)
        for column, value in pairs
        if str(column).startswith(kind)
    }


def _options_of(key: Key, numbers: Mapping[str, Any]) -> dict[str, str]:
    """The further options of a row as texts."""
    texts = {name: option_text(value) for name, value in numbers.items() if value is not None}
    return _further(key, CHOICE) | texts


def _numbers_of(known: Iterable[Combination]) -> list[str]:
    """The columns of numbers that forms read."""
    forms = (form for item in known for form in (item.form, item.form_without_length))
    return sorted({name for form in forms if form is not None for name in form.guards})


def _ends_of(name: str) -> tuple[pl.Expr, pl.Expr]:
    column = pl.col(SECONDS if name == SECONDS else f"{NUMBER}{name}")
    return column.min().alias(f"{_LOW}{name}"), column.max().alias(f"{_HIGH}{name}")


def _first(choose: Callable[..., float], ends: Iterable[float | None]) -> float | None:
    found = [end for end in ends if end is not None]
    return choose(found) if found else None


def _pricing(
    columns: Sequence[str],
    known: Mapping[_Row, Combination],
    ends: Ends,
    *,
    with_capped: bool = False,
) -> Apply:
    combinations = list(known.values()) or [NOTHING]
    code = code_of(columns, list(known)) if known else pl.lit(0, dtype=pl.UInt32)
    return pricing(combinations, code, ends, with_capped=with_capped)


def in_column(reason: str, options: Iterable[str]) -> str:
    """A reason that names a parameter, with the column that says it under another name."""
    for name in options:
        meant = [known for known, names in ALIASES.items() if name in names]
        told = set(re.findall(r"\w+", reason))
        if name not in told and not told.isdisjoint(meant):
            return f"{reason} (column {name})"
    return reason


def _amounts(quote: Quote) -> tuple[int, int, int]:
    return (
        quote.minimum_charge.credits_e8,
        quote.expected_charge.credits_e8,
        quote.maximum_charge.credits_e8,
    )


def _brief(error: CannotPrice | InvalidInput) -> str:
    faults: Sequence[Fault] = getattr(error, "faults", ())
    return "; ".join(str(fault) for fault in faults) if faults else str(error)

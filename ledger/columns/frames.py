"""The pricing function as polars expressions, and the scalar function for what they leave over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from math import inf, prod
from typing import Any, NamedTuple

import polars as pl

from ledger.columns.plans import (
    COUNT,
    MOST_COUNT,
    OPTIONS,
    RAW_COUNT,
    RAW_SECONDS,
    ROW,
    SECONDS,
    SHAPE,
    canonical,
)
from ledger.errors import CannotPrice, Fault, InvalidInput, InvalidPlan, UnknownChannel
from ledger.pricing import PREFERRED, PriceSource, Quote, Terms
from ledger.requests import Limits, Request
from ledger.units import (
    MAX_AMOUNT_E8,
    MAX_SECONDS,
    Length,
    parse_moment,
    parse_seconds,
    plain,
)

__all__ = ["AMOUNTS", "CAPPED", "REASON", "Engine", "price_frame"]

AMOUNTS = ("__minimum_e8", "__expected_e8", "__maximum_e8")
"""Columns that pricing adds, for one job each."""

REASON = "__not_priced"
"""Column that says why a row has no price."""

CAPPED = "__capped"
"""Whether a clip is longer than the longest that is billed."""

ADDED = tuple(name.removeprefix("__") for name in (*AMOUNTS, REASON))
"""What `price_frame` calls them."""

MOST_COMBINATIONS = 100_000
"""Most different combinations of options; real plans have a few dozen."""

Key = tuple[str | None, ...]
"""Values of `OPTIONS` in one row."""


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
    jobs = canonical(frame.lazy(), frame.schema, "plan")
    jobs = jobs.with_columns(pl.lit(1, dtype=pl.Int64).alias(COUNT))
    priced = jobs.with_columns(**engine.amounts(jobs))
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


class _Combination(NamedTuple):
    """One combination of options, resolved to what the expressions compute with."""

    reason: str | None
    """Why no row of it can be priced."""
    without_length: tuple[int, int, int] | None
    """Amounts of a job without a length; None where the scalar function must be asked."""
    least: float
    """Shortest length the expressions settle."""
    most: float
    """Longest length the expressions settle; below `least` where they settle none."""
    whole: bool
    """Whether only whole seconds are settled."""
    rounding: int
    """0 up, 1 to the nearest, 2 down."""
    fewest_steps: int
    """Shortest billed length."""
    most_steps: int
    """Longest billed length."""
    price: int
    """Quanta per second, times `per`."""
    per: int
    """Denominator of the price."""
    quantum_e8: int
    """Units of 10^-8 credit in one quantum."""
    smallest_e8: int
    """Smallest charge."""
    longest_seconds: float
    """Longest billed length; infinite where there is none."""


_NOTHING = _Combination(
    reason=None,
    without_length=None,
    least=1.0,
    most=0.0,
    whole=False,
    rounding=0,
    fewest_steps=0,
    most_steps=0,
    price=0,
    per=1,
    quantum_e8=1,
    smallest_e8=0,
    longest_seconds=inf,
)
"""Settles no length at all."""

_ROUNDINGS = {"ceil": 0, "half_up": 1, "floor": 2}


@dataclass(slots=True)
class Engine:
    """Prices batches under one source at one moment, remembering what it resolved."""

    source: PriceSource
    moment: datetime
    channel: str
    guess: Decimal | None
    combinations: dict[Key, _Combination] = field(default_factory=dict)
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

    def amounts(self, jobs: pl.LazyFrame) -> dict[str, pl.Expr]:
        """Expressions for the three amounts of a job; null where `settle` must be asked."""
        distinct = jobs.select(OPTIONS).unique().collect(engine="streaming")
        return self._expressions(self._resolved(distinct.rows()))

    def amounts_and_assumptions(self, jobs: pl.LazyFrame) -> dict[str, pl.Expr]:
        """The same, while the rows that rest on an assumption are counted.

        Where there are clips that are billed only in part, the expression `CAPPED` finds them.
        """
        no_length = pl.col(RAW_SECONDS).is_null().sum()
        longest = pl.col(SECONDS).max().alias("__longest")
        counts = jobs.group_by(OPTIONS).agg(pl.len(), no_length, longest)
        counted = counts.collect(engine="streaming").rows()
        keys = self._resolved([row[:-3] for row in counted])
        too_long = False
        for *options, rows, rows_without_length, longest_seconds in counted:
            key = tuple(options)
            self._assume(dict.fromkeys(self.assumed.get(key, ()), rows))
            if key in self.assumed_length:
                self._assume({self.assumed_length[key]: rows_without_length})
            too_long |= (longest_seconds or 0) > self.combinations[key].longest_seconds
        expressions = self._expressions(keys)
        if too_long:
            caps = pl.Series([self.combinations[key].longest_seconds for key in keys])
            expressions[CAPPED] = pl.col(SECONDS) > pl.lit(caps).gather(_code(keys))
        return expressions

    def assume_capped(self, rows: int) -> None:
        """Count rows that are billed only up to the longest clip."""
        text = "longer than the longest clip: billed up to it, and the provider may refuse them"
        self._assume({text: rows})

    def _assume(self, rows_by_text: Mapping[str, int]) -> None:
        for text, rows in rows_by_text.items():
            self.assumed_rows[text] = self.assumed_rows.get(text, 0) + rows

    def _resolved(self, keys: Sequence[Key]) -> list[Key]:
        """The keys in a fixed order, after each of them was resolved."""
        if len(keys) > MOST_COMBINATIONS:
            problem = f"have {len(keys)} different combinations of values; is this a plan?"
            raise InvalidPlan("plan", [Fault(", ".join(OPTIONS), problem)])
        for key in keys:
            if key not in self.combinations:
                self.combinations[key] = self._resolve(key)
        return sorted(keys, key=str)

    def settle(self, left: pl.DataFrame) -> pl.DataFrame:
        """Rows the expressions left over, priced by the scalar function or with the reason."""
        on = [*OPTIONS, RAW_SECONDS, COUNT, RAW_COUNT, SHAPE]
        answers: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        rows = []
        for row in left.select(on).iter_rows():
            found = answers.get(row)
            if found is None:
                found = answers[row] = self._answer(row)
            if found[3] is not None:
                self._assumes_nothing(row[: len(OPTIONS)], seconds=row[len(OPTIONS)])
            rows.append(found)
        columns = [
            pl.Series(name, [row[place] for row in rows], dtype=pl.Int64)
            for place, name in enumerate(AMOUNTS)
        ]
        reason = pl.Series(REASON, [row[3] for row in rows], dtype=pl.String)
        return left.with_columns(*columns, reason)

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

    def _resolve(self, key: Key) -> _Combination:
        """Ask the scalar code about one combination of options."""
        try:
            if key[0] and (model := self.source.model(key[0])) != key[0]:
                self.short_names[key[0]] = model
            job = self._job(key, None)
            terms = self.source.terms(job, at=self.moment, channel=self.channel)
        except (CannotPrice, InvalidInput) as error:
            if isinstance(error, UnknownChannel):
                self.no_channel = error
            return _NOTHING._replace(reason=_brief(error))
        self.assumed[key] = terms.assumed
        if job.length_field == "duration" and terms.default_seconds is not None:
            shown = plain(terms.default_seconds)
            self.assumed_length[key] = f"no duration given: the provider takes {shown} s"
        try:
            quote = self._quote(job)
            amounts = _amounts(quote)
        except (CannotPrice, InvalidInput):
            amounts = None
        limits = self.source.limits(job.model)
        return _compiled(job, terms, limits)._replace(without_length=amounts)

    def _job(self, key: Key, seconds: Any) -> Request:
        model, quality, orientation, sound = (value or None for value in key)
        if model is None:
            raise InvalidPlan("row", [Fault("model", "is empty")])
        job = self.source.job(
            model,
            quality=quality,
            character_orientation=orientation,
            sound=sound,
            seconds=seconds,
        )
        if self.guess is None:
            return job
        return job.model_copy(update={"expected_seconds": self.guess})

    def _quote(self, job: Request) -> Quote:
        return self.source.quote(job, at=self.moment, channel=self.channel)

    def _expressions(self, keys: Sequence[Key]) -> dict[str, pl.Expr]:
        """The three amounts of a row, as expressions over the batch's columns."""
        if not keys:
            return dict.fromkeys(AMOUNTS, pl.lit(None, dtype=pl.Int64))
        known = [self.combinations[key] for key in keys]
        code = _code(keys)

        def column(values: Iterable[Any], kind: type[pl.DataType]) -> pl.Expr:
            values = list(values)
            if len(set(values)) == 1:
                return pl.lit(values[0], dtype=kind)
            return pl.lit(pl.Series(values, dtype=kind)).gather(code)

        seconds = pl.col(SECONDS)
        settled = seconds.is_between(
            column((item.least for item in known), pl.Float64),
            column((item.most for item in known), pl.Float64),
        )
        if any(item.whole for item in known):
            loose = column((not item.whole for item in known), pl.Boolean)
            settled &= loose | (seconds == seconds.floor())
        steps = _rounded(seconds, known, column).cast(pl.Int64, strict=False)
        steps = pl.max_horizontal(
            pl.min_horizontal(steps, column((item.most_steps for item in known), pl.Int64)),
            column((item.fewest_steps for item in known), pl.Int64),
        )
        amount = steps * column((item.price for item in known), pl.Int64)
        if any(item.per != 1 for item in known):
            per = column((item.per for item in known), pl.Int64)
            amount = (2 * amount + per) // (2 * per)
        if any(item.quantum_e8 != 1 for item in known):
            amount *= column((item.quantum_e8 for item in known), pl.Int64)
        if any(item.smallest_e8 for item in known):
            smallest = column((item.smallest_e8 for item in known), pl.Int64)
            amount = pl.max_horizontal(amount, smallest)
        with_length = pl.when(settled & pl.col(SHAPE).is_null()).then(amount)
        if not any(item.without_length for item in known):
            return dict.fromkeys(AMOUNTS, with_length)
        without = pl.col(RAW_SECONDS).is_null()
        return {
            name: pl.when(without)
            .then(
                column(
                    (item.without_length and item.without_length[at] for item in known), pl.Int64
                )
            )
            .otherwise(with_length)
            for at, name in enumerate(AMOUNTS)
        }

    def _answer(
        self, row: tuple[Any, ...]
    ) -> tuple[int | None, int | None, int | None, str | None]:
        *key, seconds, count, written_count, shape = row
        if shape is not None:
            return None, None, None, shape
        if count is None:
            shown = str(written_count)[:20]
            problem = f"count: must be a whole number from 0 to {MOST_COUNT}, not {shown!r}"
            return None, None, None, problem
        resolved = self.combinations[tuple(key)]
        if resolved.reason is not None:
            return None, None, None, resolved.reason
        try:
            return *_amounts(self._quote(self._job(tuple(key), seconds))), None
        except (CannotPrice, InvalidInput) as error:
            return None, None, None, _brief(error)


def _compiled(job: Request, terms: Terms, limits: Limits | None) -> _Combination:
    """What the expressions need, or a combination whose lengths they leave to the scalar code."""
    price, per = terms.fraction_per_step
    simple = (
        terms.unit == "second"
        and terms.settles_on != "input_and_output"
        and terms.quantity_rounding is not None
        and terms.step_seconds == 1
        and terms.charge_rounding == "half_up"
    )
    if not simple or terms.quantity_rounding is None:
        return _NOTHING
    least, most, whole = 0.0, float(MAX_SECONDS), False
    clip = limits.clip if limits is not None else None
    if job.length_field == "duration":
        whole = True
        if limits is not None and "duration" in limits.numbers:
            least, most = (float(edge) for edge in limits.numbers["duration"])
    elif clip is not None:
        least = float(clip.shortest_seconds or 0)
        if clip.longest_seconds is not None and terms.longest_seconds is None:
            most = float(clip.longest_seconds)
    fewest, longest = terms.bounds_in_steps
    most_steps = MAX_SECONDS if longest is None else longest
    largest = max(2 * price * most_steps + per, price * most_steps * terms.quantum_e8)
    if largest >= MAX_AMOUNT_E8:
        return _NOTHING
    return _Combination(
        reason=None,
        without_length=None,
        # The scalar function refuses what is shorter than 10^-30 seconds.
        least=max(least, 1e-30),
        most=most,
        whole=whole,
        rounding=_ROUNDINGS[terms.quantity_rounding],
        fewest_steps=fewest,
        most_steps=most_steps,
        price=price,
        per=per,
        quantum_e8=terms.quantum_e8,
        smallest_e8=terms.smallest_charge_e8,
        longest_seconds=inf if terms.longest_seconds is None else float(terms.longest_seconds),
    )


def _code(keys: Sequence[Key]) -> pl.Expr:
    """The position of a row's combination in `keys`."""
    # Comparing with a handful of values is ten times as fast as a join (docs/benchmarks.md).
    values = [sorted({key[at] for key in keys}, key=_nulls_last) for at in range(len(OPTIONS))]
    size = prod(len(column) for column in values)
    if max(len(column) for column in values) > 64 or size > 100_000:
        return _code_by_text(keys)
    position: pl.Expr = pl.lit(0, dtype=pl.UInt32)
    table = [0] * size
    places = [0] * len(keys)
    stride = 1
    for at, name in enumerate(OPTIONS):
        position = position + _position(name, values[at]) * stride
        for place, key in enumerate(keys):
            places[place] += values[at].index(key[at]) * stride
        stride *= len(values[at])
    for place, entry in enumerate(places):
        table[entry] = place
    return pl.lit(pl.Series(table, dtype=pl.UInt32)).gather(position)


def _position(name: str, values: Sequence[str | None]) -> pl.Expr:
    last = pl.lit(len(values) - 1, dtype=pl.UInt32)
    chain: Any = pl
    for place, value in enumerate(values[:-1]):
        chain = chain.when(pl.col(name) == value).then(pl.lit(place, dtype=pl.UInt32))
    return last if len(values) == 1 else chain.otherwise(last)


def _code_by_text(keys: Sequence[Key]) -> pl.Expr:
    """The same for a plan with very many combinations, most of them surely wrong."""
    # With its length in front, no text can be taken for another one, nor for a missing one.
    texts = ["".join("-" if p is None else f"{len(p.encode())}:{p}" for p in key) for key in keys]
    columns = []
    for name in OPTIONS:
        text = pl.col(name).cast(pl.String)
        tagged = pl.concat_str([text.str.len_bytes().cast(pl.String), pl.lit(":"), text])
        columns.append(tagged.fill_null("-"))
    return pl.concat_str(columns).replace_strict(
        pl.Series(texts, dtype=pl.String),
        pl.Series(range(len(texts)), dtype=pl.UInt32),
        return_dtype=pl.UInt32,
    )


def _nulls_last(value: str | None) -> tuple[bool, str]:
    return value is None, value or ""


def _rounded(
    seconds: pl.Expr,
    known: Sequence[_Combination],
    column: Callable[[Iterable[Any], type[pl.DataType]], pl.Expr],
) -> pl.Expr:
    used = {item.rounding for item in known if item.most >= item.least} or {0}
    # x + 0.5 may round; x - floor(x) is exact.
    nearest = seconds.floor() + (seconds - seconds.floor() >= 0.5).cast(pl.Float64)
    forms = {0: seconds.ceil(), 1: nearest, 2: seconds.floor()}
    if len(used) == 1:
        return forms[used.pop()]
    which = column((item.rounding for item in known), pl.UInt8)
    first, *others = sorted(used)
    result = forms[first]
    for other in others:
        result = pl.when(which == other).then(forms[other]).otherwise(result)
    return result


def _amounts(quote: Quote) -> tuple[int, int, int]:
    return (
        quote.minimum_charge.credits_e8,
        quote.expected_charge.credits_e8,
        quote.maximum_charge.credits_e8,
    )


def _brief(error: CannotPrice | InvalidInput) -> str:
    faults: Sequence[Fault] = getattr(error, "faults", ())
    return "; ".join(str(fault) for fault in faults) if faults else str(error)

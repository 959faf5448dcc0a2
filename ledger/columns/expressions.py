"""The amounts of all rows of a batch as polars expressions, from their combinations' constants."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import polars as pl

from ledger.columns.combinations import Combination
from ledger.columns.plans import COUNT, RAW_SECONDS, SECONDS, SHAPE
from ledger.columns.programs import NARROW, WIDE, Ends, Program, Reading, programs

__all__ = ["AMOUNTS", "CAPPED", "Apply", "capped", "exactly_priced", "pricing"]

AMOUNTS = ("__minimum_e8", "__expected_e8", "__maximum_e8")
"""Columns that pricing adds, for one job each."""

CAPPED = "__capped"
"""Whether a clip is longer than the longest that is billed."""

_CODE, _AMOUNT = "__code", "__amount_e8"

Apply = Callable[[pl.LazyFrame], pl.LazyFrame]
"""Adds columns to the rows of a batch, or of a part of it."""

_Column = Callable[[Iterable[Any], Any], pl.Expr]


def _column(values: Iterable[Any], kind: Any, code: pl.Expr | None = None) -> pl.Expr:
    """One value for each combination as a column."""
    values = list(values)
    if len(set(values)) == 1:
        return pl.lit(values[0], dtype=kind)
    return pl.lit(pl.Series(values, dtype=kind)).gather(pl.col(_CODE) if code is None else code)


def capped(known: Sequence[Combination], code: pl.Expr) -> pl.Expr:
    """Whether a clip, of a length as it was written, is billed only in part."""
    seconds = pl.col(RAW_SECONDS).cast(pl.String).cast(pl.Float64, strict=False)
    longest = _column((item.longest_seconds for item in known), pl.Float64, code)
    return (seconds > longest).fill_null(value=False).alias(CAPPED)


def pricing(
    known: Sequence[Combination], code: pl.Expr, ends: Ends, *, with_capped: bool = False
) -> Apply:
    """What adds the three amounts of a job, null where they are not settled here, and `CAPPED`.

    Args:
        known: the combinations of a batch.
        code: which of them a row's is.
        ends: smallest and largest numbers of the batch.
        with_capped: whether there is any clip that is billed only in part.
    """
    with_length: pl.Expr = pl.lit(None, dtype=pl.Int64)
    if any(item.is_steps for item in known):
        settled, amount = _of_steps(known, _column)
        with_length = pl.when(settled & pl.col(SHAPE).is_null()).then(amount)
    found = _programs(known, NARROW, ends)
    with_length = _of_programs(found, with_length)
    longest = _column((item.longest_seconds for item in known), pl.Float64)
    is_capped = pl.col(SECONDS) > longest if with_capped else pl.lit(value=False)
    amounts = _amounts(known)

    def add(jobs: pl.LazyFrame) -> pl.LazyFrame:
        # Step by step: what stands in several places of one expression is not always shared.
        jobs = jobs.with_columns(code.alias(_CODE), *_reads(found))
        jobs = jobs.with_columns(with_length.alias(_AMOUNT), is_capped.alias(CAPPED))
        return jobs.with_columns(**amounts)

    return add


def _amounts(known: Sequence[Combination]) -> dict[str, pl.Expr]:
    with_length = pl.col(_AMOUNT)
    if not any(item.without_length for item in known):
        return dict.fromkeys(AMOUNTS, with_length)
    has_one = _column((item.without_length is not None for item in known), pl.Boolean)
    without = pl.col(RAW_SECONDS).is_null() & has_one
    return {
        name: pl.when(without)
        .then(
            _column((item.without_length and item.without_length[at] for item in known), pl.Int64)
        )
        .otherwise(with_length)
        for at, name in enumerate(AMOUNTS)
    }


def exactly_priced(left: pl.DataFrame, known: Sequence[Combination], code: pl.Expr) -> pl.Series:
    """The amount of each row with numbers of up to 20 decimals; null where it is not settled."""
    nothing = pl.lit(None, dtype=pl.Int64)
    found = _programs(known, WIDE, {})
    if not found:
        return pl.Series(_AMOUNT, [None], dtype=pl.Int64).new_from_index(0, left.height)
    rows = left.lazy().with_columns(code.alias(_CODE), *_reads(found))
    return rows.with_columns(_of_programs(found, nothing).alias(_AMOUNT)).collect()[_AMOUNT]


def _programs(known: Sequence[Combination], reading: Reading, ends: Ends) -> list[Program]:
    forms = ([item.form for item in known], [item.form_without_length for item in known])
    return [each for some in forms for each in programs(some, _column, reading, ends)]


def _reads(found: Iterable[Program]) -> Iterable[pl.Expr]:
    return {name: read for program in found for name, read in program.reads.items()}.values()


def _of_programs(found: Iterable[Program], otherwise: pl.Expr) -> pl.Expr:
    is_sound = pl.col(SHAPE).is_null() & pl.col(COUNT).is_not_null()
    for program in found:
        settled = program.settled & is_sound
        otherwise = pl.when(settled).then(program.amount_e8).otherwise(otherwise)
    return otherwise


def _of_steps(known: Sequence[Combination], column: _Column) -> tuple[pl.Expr, pl.Expr]:
    """Which lengths are settled as whole steps of a second, and their amounts."""
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
    return settled, amount


def _rounded(seconds: pl.Expr, known: Sequence[Combination], column: _Column) -> pl.Expr:
    used = {item.rounding for item in known if item.is_steps}
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

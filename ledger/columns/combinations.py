"""One combination of options, resolved to what columns compute with; and where a row's stands."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, prod
from typing import Any, NamedTuple

import polars as pl

from ledger.columns.forms import Form, Lengths, form_of
from ledger.pricing import Terms
from ledger.requests import Request
from ledger.units import MAX_AMOUNT_E8, MAX_SECONDS

__all__ = ["NOTHING", "Combination", "code_of", "combination_of"]


class Combination(NamedTuple):
    """One combination of options, resolved to what the expressions compute with."""

    reason: str | None
    """Why no row of it can be priced."""
    without_length: tuple[int, int, int] | None
    """Amounts of a job without a length; None where the scalar function must be asked."""
    least: float
    """Shortest length that is settled as whole steps of a second."""
    most: float
    """Longest length of these; below `least` where there are none."""
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
    form: Form | None
    """What rows with a length compute, where it is more than steps times a price."""
    form_without_length: Form | None
    """What rows without a length compute, where that is not the same for all of them."""

    @property
    def is_steps(self) -> bool:
        """Whether any length is settled as whole steps of a second."""
        return self.least <= self.most


NOTHING = Combination(
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
    form=None,
    form_without_length=None,
)
"""Settles nothing at all."""

_ROUNDINGS = {"ceil": 0, "half_up": 1, "floor": 2}


def combination_of(
    job: Request, terms: Terms, lengths: Lengths, numbers: Sequence[str]
) -> Combination:
    """What the expressions need, or a combination that they leave to the scalar function.

    Args:
        job: a job with the options of the combination.
        terms: its terms.
        lengths: the lengths that the scalar function takes.
        numbers: options of the job that are numbers of the row.
    """
    longest = terms.longest_seconds
    is_capped = longest is not None and terms.settles_on != "input_and_output"
    found = NOTHING._replace(
        longest_seconds=float(longest) if longest is not None and is_capped else inf
    )
    steps = _steps(terms, lengths)
    if steps is not None:
        return found._replace(**steps)
    return found._replace(
        form=form_of(job, terms, lengths, numbers),
        form_without_length=form_of(job, terms, None, numbers) if numbers else None,
    )


def _steps(terms: Terms, lengths: Lengths) -> dict[str, Any] | None:
    """The constants of a price for whole seconds, the commonest and fastest form."""
    price, per = terms.fraction_per_step
    simple = (
        terms.unit == "second"
        and terms.settles_on != "input_and_output"
        and terms.quantity_rounding is not None
        and terms.step_seconds == 1
        and terms.charge_rounding == "half_up"
    )
    if not simple or terms.quantity_rounding is None:
        return None
    fewest, longest = terms.bounds_in_steps
    most_steps = MAX_SECONDS if longest is None else longest
    largest = max(2 * price * most_steps + per, price * most_steps * terms.quantum_e8)
    if largest >= MAX_AMOUNT_E8 or fewest > most_steps:
        return None
    return {
        "least": lengths.least[0] / lengths.least[1],
        "most": lengths.most[0] / lengths.most[1],
        "whole": lengths.whole,
        "rounding": _ROUNDINGS[terms.quantity_rounding],
        "fewest_steps": fewest,
        "most_steps": most_steps,
        "price": price,
        "per": per,
        "quantum_e8": terms.quantum_e8,
        "smallest_e8": terms.smallest_charge_e8,
    }


def code_of(columns: Sequence[str], keys: Sequence[tuple[str | None, ...]]) -> pl.Expr:
    """The position of a row's combination in `keys`, which are different values of `columns`."""
    # Comparing with a handful of values is ten times as fast as a join (docs/benchmarks.md).
    values = [sorted({key[at] for key in keys}, key=_nulls_last) for at in range(len(columns))]
    size = prod(len(column) for column in values)
    if max(len(column) for column in values) > 64 or size > 100_000:
        return _code_by_text(columns, keys)
    position: pl.Expr = pl.lit(0, dtype=pl.UInt32)
    table = [0] * size
    places = [0] * len(keys)
    stride = 1
    for at, name in enumerate(columns):
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


def _code_by_text(columns: Sequence[str], keys: Sequence[tuple[str | None, ...]]) -> pl.Expr:
    """The same for a plan with very many combinations, most of them surely wrong."""
    # With its length in front, no text can be taken for another one, nor for a missing one.
    texts = ["".join("-" if p is None else f"{len(p.encode())}:{p}" for p in key) for key in keys]
    tagged_columns = []
    for name in columns:
        text = pl.col(name).cast(pl.String)
        tagged = pl.concat_str([text.str.len_bytes().cast(pl.String), pl.lit(":"), text])
        tagged_columns.append(tagged.fill_null("-"))
    return pl.concat_str(tagged_columns).replace_strict(
        pl.Series(texts, dtype=pl.String),
        pl.Series(range(len(texts)), dtype=pl.UInt32),
        return_dtype=pl.UInt32,
    )


def _nulls_last(value: str | None) -> tuple[bool, str]:
    return value is None, value or ""

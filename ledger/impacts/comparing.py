"""Comparing: the jobs of a plan or of a book, priced under two price sources."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from typing_extensions import TypeIs

from ledger.errors import InvalidInput
from ledger.impacts.booked import BookReader
from ledger.impacts.pairs import Pair
from ledger.impacts.results import Impact, Tally
from ledger.pricing import PriceSource
from ledger.units import Length, parse_moment, parse_seconds

if TYPE_CHECKING:
    from ledger.book.reading import Reader
    from ledger.columns.plans import Plan

__all__ = ["impact"]


def impact(
    first: PriceSource,
    second: PriceSource,
    jobs: Plan | Reader,
    *,
    by: Sequence[str] = ("model",),
    at: datetime | date | str | None = None,
    model: str | None = None,
    expected_seconds: Length | None = None,
    progress: Callable[[int], None] | None = None,
) -> Impact:
    """What the same jobs cost under two price sources, and where the difference comes from.

    Jobs of a plan cost what their quotes expect; a column that is an option under one of the two
    sources, as `estimate` has them, is one for both. Jobs of a book are those that it has charged
    from a quote, by length or per call: they are priced again with the lengths that were charged,
    never with the amounts, and before refunds. Its other charged jobs are counted as not
    comparable.

    Args:
        first: a price book.
        second: another one; the difference is second minus first.
        jobs: a data frame, a file as `estimate` takes it, or a `Ledger`.
        by: columns of the plan, or labels of the book, to group by.
        at: the moment whose prices are taken; if None, now for a plan, and for a book the moment
            at which each job was reserved.
        model: model of every row, for a plan without that column.
        expected_seconds: your own average, for jobs of unknown length in a plan.
        progress: is told the number of rows or jobs done, again and again.

    Raises:
        InvalidMoment: `at` is not a moment.
        InvalidInput: `model` or `expected_seconds` is given with a book.
        InvalidSeconds: `expected_seconds` is not a length.
        InvalidPlan: the file cannot be read, or its columns are wrong. A bad row is no error: it
            is counted as not priced, with its reason.
        InvalidEntry: no job of the book has a label of `by`.
        MissingExtra: polars is not installed, for a plan.

    >>> import polars as pl
    >>> from ledger import PriceBook, impact
    >>> plan = pl.DataFrame({"model": ["motion-control"], "quality": ["1080p"],
    ...     "orientation": ["video"], "seconds": ["12.4"], "count": [10]})
    >>> page, rules = map(PriceBook.bundled, ("evolink", "evolink-rules"))
    >>> result = impact(page, rules, plan, at="2026-10-10")
    >>> result.total.difference, result.total.change_percent
    (Decimal('-108.918616'), Decimal('-7.7'))
    >>> [effect.name for effect in result.total.effects if effect.amount_e8]
    ['rounding']
    """
    moment = None if at is None else parse_moment(at)
    by = tuple(_OPTION.get(name, name) for name in ([by] if isinstance(by, str) else by))
    tally, pair = Tally(), Pair(first, second)
    if isinstance(jobs, (str, Path)) or not _is_book(jobs):
        # polars is an optional extra, and a book does without it.
        from ledger.impacts.plans import PlanReader  # noqa: PLC0415

        moment = datetime.now(UTC) if moment is None else moment
        guess = None if expected_seconds is None else parse_seconds(expected_seconds)
        plan = PlanReader(pair, moment, guess)
        jobs_of = plan.add(tally, jobs, by=by, model=model, progress=progress)
    else:
        if model is not None or expected_seconds is not None:
            raise InvalidInput("model and expected_seconds are for plans; a book knows its jobs")
        jobs_of = BookReader(pair, moment).add(tally, jobs, by=by, progress=progress)
    return tally.result(first.name, second.name, moment, jobs_of, by)


_OPTION = {"orientation": "character_orientation"}
"""The name that plans and books know an option by."""


def _is_book(jobs: object) -> TypeIs[Reader]:
    # Only now, because a plan needs no database.
    from ledger.book.reading import Reader  # noqa: PLC0415

    return isinstance(jobs, Reader)

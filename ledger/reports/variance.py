"""Why jobs did not cost what was expected: from quotes to charges, or from one period to another.

Both bridges add up to the last digit by the way they are made, in every row and in the total.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import polars as pl

from ledger.errors import CannotPrice, Fault, InvalidEntry, InvalidInput
from ledger.reports.asking import Asked
from ledger.reports.columns import Column, Sums, percent_of
from ledger.reports.dimensions import checked, dimensioned, unknown_labels
from ledger.reports.facts import WHERE, Progress, nothing
from ledger.reports.jobs import DIMENSIONS, TIMELESS, jobs, where
from ledger.reports.report import (
    RECONCILED,
    Bill,
    Report,
    Row,
    dimension,
    made,
    span_of_facts,
    summed,
)
from ledger.spans import Span
from ledger.units import divide

__all__ = ["variance"]

DEFAULT_BY = ("model",)


def variance(
    asked: Asked,
    by: Iterable[str] | str = DEFAULT_BY,
    *,
    progress: Progress = nothing,
) -> Report:
    """Bridges what was quoted to what was charged; with another span, its cost to this one's.

    Args:
        asked: which book and span, and which one it is held against, if any. Jobs count that were
            reserved in a span; what became of them counts whenever it happened.
        by: dimensions of the rows, such as `model`, or a label such as `team`.
        progress: is told how many entries were read.

    Raises:
        InvalidEntry: the dimensions; a span to be held against without one of its own.
    """
    if asked.against is None:
        return _from_quotes(asked, checked(by, DIMENSIONS), progress)
    if asked.span is None:
        problem = "is compared with another period; say a period of its own as well"
        raise InvalidEntry("report variance", [Fault("", problem)])
    return _from_before(asked, asked.span, asked.against, checked(by, TIMELESS), progress)


# From quotes to charges


def _reserved(sums: Sums) -> int:
    return sums["quoted"] + sums["extended"]


_CHARGED = (
    *("quoted", "extended", "failure", "still_held"),
    *("length_change", "price_change", "told"),
)


def _charged(sums: Sums) -> int:
    return sum(sums[name] for name in _CHARGED)


def _net(sums: Sums) -> int:
    return _charged(sums) + sums["refunded"]


QUOTED = (
    Column("jobs", "count", "jobs"),
    Column("quoted", "credits", "quoted"),
    Column("extended", "credits", "extended"),
    Column("reserved", "credits", "reserved", _reserved, ("quoted", "extended")),
    Column("failure", "credits", "failure"),
    Column("still_held", "credits", "still held"),
    Column("length_change", "credits", "length"),
    Column("price_change", "credits", "price"),
    Column("told", "credits", "length unknown"),
    Column("charged", "credits", "charged", _charged, _CHARGED),
    Column("refunded", "credits", "refunded"),
    Column("net", "credits", "net", _net, (*_CHARGED, "refunded")),
)


def _from_quotes(asked: Asked, names: Sequence[str], progress: Progress) -> Report:
    found = _priced(asked, jobs(asked, progress=progress))
    first, settles = pl.col("first"), pl.col("settles")
    charged, held, priced = (pl.col(f"job_{name}_e8") for name in ("charged", "held", "priced"))
    # What there was to be charged from.
    freed = pl.col("job_reserved_e8") - held
    failed = pl.col("last") & pl.col("ended") & ~pl.col("billed")
    by_length = settles & priced.is_not_null()
    facts = found.with_columns(
        where(first).alias("jobs"),
        where(first, "reserved_e8").alias("quoted"),
        where(~first, "reserved_e8").alias("extended"),
        where(failed, -freed).alias("failure"),
        where(first, -held).alias("still_held"),
        where(by_length, priced - freed).alias("length_change"),
        where(by_length, charged - priced).alias("price_change"),
        where(settles & priced.is_null(), charged - freed).alias("told"),
        (-pl.col("refunded_e8")).alias("refunded"),
    )
    facts = dimensioned(facts, names, span_of_facts(asked, facts))
    return made("variance", "From quotes to charges", asked, facts, by=names, measures=QUOTED)


def _priced(asked: Asked, found: pl.DataFrame) -> pl.DataFrame:
    """With what jobs cost by the lengths that their tasks tell, where their charges tell none."""
    told = pl.col("settles") & pl.col("job_priced_e8").is_null()
    wanted = found.filter(
        told & pl.col("told_length").is_not_null() & pl.col("terms").is_not_null()
    )
    if wanted.is_empty():
        return found
    known: dict[tuple[str, str], int | None] = {}
    rows = []
    for job, terms, seconds in wanted.select("job", "terms", "told_length").iter_rows():
        price = json.loads(terms).get("price")
        if price is None:
            continue
        price.pop("digest", None)
        key = json.dumps(price, sort_keys=True), seconds
        if key not in known:
            known[key] = _bill(asked, price, seconds)
        rows.append((job, known[key]))
    schema = {"job": pl.String, "by_task_e8": pl.Int64}
    prices = pl.DataFrame(rows, schema=schema, orient="row")
    found = found.join(prices, on="job", how="left", maintain_order="left")
    return found.with_columns(pl.col("job_priced_e8").fill_null(pl.col("by_task_e8")))


def _bill(asked: Asked, price: Mapping[str, Any], seconds: str) -> int | None:
    """What a length costs; None where the price is not known any more."""
    try:
        return asked.book.bill(price, seconds)
    except (CannotPrice, InvalidInput):
        return None


# From one period to another


class _Side(NamedTuple):
    """What the jobs of a row came to in one period."""

    jobs: int
    charged_jobs: int
    """Those that something was charged for."""
    unmeasured: int
    """Those of them whose length is not known."""
    seconds_e9: int
    charged_e8: int
    refunded_e8: int


_FIGURES = ("jobs_before", "jobs", "before", "net")

_EFFECTS = (
    Column("volume", "credits", "volume", of=_FIGURES),
    Column("mix", "credits", "mix", of=_FIGURES),
    Column("failure", "credits", "failure", of=_FIGURES),
    Column("length_change", "credits", "length", of=_FIGURES),
    Column("price_change", "credits", "price", of=_FIGURES),
    Column("refund_change", "credits", "refunds", of=_FIGURES),
)


def _change(sums: Sums) -> object:
    return percent_of(sums["net"] - sums["before"], sums["before"])


COMPARED = (
    Column("jobs_before", "count", "jobs before"),
    Column("jobs", "count", "jobs"),
    Column("before", "credits", "before"),
    *_EFFECTS,
    Column("net", "credits", "net"),
    Column("change_percent", "percent", "change %", _change, ("before", "net")),
)

_BEFORE = "_before"
_SUMS = tuple(
    Column(name + suffix, "count", "") for suffix in (_BEFORE, "") for name in _Side._fields
)


def _from_before(
    asked: Asked, span: Span, against: Span, names: Sequence[str], progress: Progress
) -> Report:
    earlier = replace(asked, span=against, against=None)
    sides = [_side(earlier, names, progress), _side(asked, names, progress)]
    facts = pl.concat(
        [
            sides[0].with_columns(
                *(pl.col(name).alias(name + _BEFORE) for name in _Side._fields),
                *(pl.lit(0, dtype=pl.Int64).alias(name) for name in _Side._fields),
            ),
            sides[1].with_columns(
                pl.lit(0, dtype=pl.Int64).alias(name + _BEFORE) for name in _Side._fields
            ),
        ]
    ).with_columns(
        (pl.col("charged_e8_before") - pl.col("refunded_e8_before")).alias("before"),
        (pl.col("charged_e8") - pl.col("refunded_e8")).alias("net"),
    )
    sums, whole = summed(facts, names, _SUMS)
    old, new = _both(whole[len(names) :])
    bridges = [(row[: len(names)], _bridge(*_both(row[len(names) :]), old, new)) for row in sums]
    nothing_yet = [0] * (len(COMPARED) - 1)
    total = [sum(column) for column in zip(nothing_yet, *(b for _, b in bridges), strict=True)]
    bills = [Bill(one, span) for one, span in ((earlier, against), (asked, span))]
    states = [bill.states(side, names) for bill, side in zip(bills, sides, strict=True)]

    def written(row: Row | None, figures: Sequence[int]) -> Row:
        known = dict(zip((each.name for each in COMPARED), figures, strict=False))
        state = max((state(row) for state in states), key=_WORST.index)
        return *(row or [None] * len(names)), *figures, _change(known), state

    return Report(
        "variance",
        "From one period to another",
        asked,
        span,
        (*map(dimension, names), *COMPARED, RECONCILED),
        tuple(written(row, figures) for row, figures in bridges),
        written(None, total),
        bills[1].whole,
        (f"before is {against.name} ({against.timezone})", *unknown_labels(facts, names)),
        facts,
    )


_WORST = ("reconciled", "open breaks", "not yet")


def _side(asked: Asked, names: Sequence[str], progress: Progress) -> pl.DataFrame:
    """The entries about the jobs of one period, with what each adds to a `_Side`."""
    found = jobs(asked, progress=progress)
    is_charged = pl.col("settles") & (pl.col("job_charged_e8") > 0)
    measured = pl.col("seconds_e9").is_not_null()
    figures = {
        "jobs": where(pl.col("first")),
        "charged_jobs": where(is_charged),
        "unmeasured": where(is_charged & ~measured),
        "seconds_e9": where(is_charged & measured, "seconds_e9"),
        "charged_e8": pl.col("charged_e8"),
        "refunded_e8": pl.col("refunded_e8"),
    }
    found = dimensioned(found, names, span_of_facts(asked, found))
    kept = dict.fromkeys((*WHERE, *names))
    return found.select(
        *kept, *(figure.cast(pl.Int64).alias(name) for name, figure in figures.items())
    )


def _both(sums: Sequence[int]) -> tuple[_Side, _Side]:
    width = len(_Side._fields)
    return _Side(*sums[:width]), _Side(*sums[width:])


def _bridge(old: _Side, new: _Side, all_old: _Side, all_new: _Side) -> list[int]:
    """One row: jobs of both, net before, what led from it to the net of now, and that.

    Each step changes one thing and keeps the cost as it was otherwise, rounded half up to 10^-8
    credit; its effect is how far it moves from the step before, so that the effects add up. A step
    that the other period has no figure for takes all that is left.
    """
    measured = not old.unmeasured and not new.unmeasured
    steps = (
        (all_new.jobs, all_old.jobs),
        (new.jobs, old.jobs),
        (new.charged_jobs, old.charged_jobs),
        (new.seconds_e9, old.seconds_e9) if measured else (new.charged_jobs, old.charged_jobs),
    )
    effects, reached_e8 = [], old.charged_e8
    for part, whole in steps:
        # Where there was none of something before, there was none of what follows either.
        next_e8 = divide(old.charged_e8 * part, whole, "half_up") if whole else new.charged_e8
        effects.append(next_e8 - reached_e8)
        reached_e8 = next_e8
    effects += [new.charged_e8 - reached_e8, old.refunded_e8 - new.refunded_e8]
    before_e8 = old.charged_e8 - old.refunded_e8
    return [old.jobs, new.jobs, before_e8, *effects, new.charged_e8 - new.refunded_e8]

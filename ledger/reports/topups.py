"""What credits cost: top-ups and what became of them, and the value of the credits that are left.

Every credit that leaves a wallet leaves one of its lots, as the book has spent them, and takes its
share of the money along; see `ledger.costing`. The figures are those at the end of the span.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import polars as pl

from ledger.book.money import lot_of
from ledger.costing import Costed, costed
from ledger.errors import Fault, InvalidEntry
from ledger.figures import CREDIT_E8
from ledger.reports.asking import EVER_US, Asked
from ledger.reports.columns import Column, Sums
from ledger.reports.dimensions import checked, dimensioned
from ledger.reports.facts import Progress, framed, nothing
from ledger.reports.now import wallets_then
from ledger.reports.report import Report, currencies, made, span_of_facts
from ledger.store import then
from ledger.units import divide

__all__ = [
    "LOT_DIMENSIONS",
    "in_order",
    "lot_dimensions",
    "money_notes",
    "parts",
    "top_ups",
    "valuation",
]

DEFAULT_BY = ("wallet", "top_up", "currency")

LOT_DIMENSIONS = ("wallet", "origin", "currency", "hour", "day", "week", "month")
"""What is known of any lot; times are those of its coming in."""

_FIELDS = (
    *("wallet", "seq", "kind", "job", "moved_at_us"),
    *("lot_seq", "lot", "origin", "currency", "at_us"),
    *("granted_e8", "cash_e8", "used_e8", "lapsed_e8", "owed_e8", "cost_used_e8"),
    "cost_lapsed_e8",
)


def parts(asked: Asked, *, progress: Progress = nothing) -> pl.DataFrame:
    """What every entry did to every lot up to the end of the span, one fact a part.

    The columns of a lot are `lot` (the key of the entry that brought it), `origin`, `currency`
    and `at_us`, when it came in; `moved_at_us` is when the entry counts. `owed_e8` is what was
    taken beyond all lots that had come in until then, less what paid such debts. It has a cost
    where it was told so late that it was taken from a lot that came in only after the span.
    """
    return asked.once("parts of lots", lambda: _parts(asked, progress))


def _parts(asked: Asked, progress: Progress) -> pl.DataFrame:
    with asked.book.looking() as session:
        wallets = list(wallets_then(session, asked))
        rows = (
            row
            for record, place in wallets
            for row in _rows(costed(then.posted_then(session, record, place)), asked)
        )
        found = framed(rows, _FIELDS, progress=progress)
    left = pl.col("granted_e8") - pl.col("used_e8") - pl.col("lapsed_e8")
    cost_left = pl.col("cash_e8") - pl.col("cost_used_e8") - pl.col("cost_lapsed_e8")
    return found.with_columns(left.alias("left_e8"), cost_left.alias("cost_left_e8"))


def _rows(entries: Iterable[Costed], asked: Asked) -> Iterator[tuple[Any, ...]]:
    """The parts of a wallet's entries that happened before the end of the span."""
    happened = asked.by == "happened"
    until_us = EVER_US if asked.span is None else asked.span.end_us
    lots: dict[int, tuple[Any, ...]] = {}
    for entry, found, paid in entries:
        at_us = entry.happened_at_us if happened else entry.recorded_at_us
        counts = at_us < until_us
        where = (entry.wallet, entry.seq, entry.kind, entry.job, at_us)
        own = entry.kind == "top_up" or (entry.kind == "adjust" and entry.posted_e8 > 0)
        if own and counts:
            lot = lot_of(entry)
            lots[entry.seq] = (entry.seq, entry.key, lot.origin, lot.currency, at_us)
            yield (*where, *lots[entry.seq], entry.posted_e8, lot.cash_e8 or 0, 0, 0, 0, 0, 0)
        if not counts:
            continue
        for part in found:
            if own and part.lot == entry.seq:
                continue
            known = None if part.lot is None else lots.get(part.lot)
            moved = _moved(-part.credits_e8, -part.cost_e8, entry.kind, in_lot=known is not None)
            yield (*where, *(known or (None, None, None, part.currency, None)), 0, 0, *moved)
        for payment in paid if own else ():
            yield (*where, *lots[payment.lot], 0, 0, payment.credits_e8, 0, 0, payment.cost_e8, 0)


def _moved(credits_e8: int, cost_e8: int, kind: str, *, in_lot: bool) -> tuple[int, ...]:
    """Used, lapsed, owed, and the cost of what was used and of what has lapsed."""
    if not in_lot:
        # A lot that comes in only after the span had nothing to give in it; what it gave all the
        # same is owed, at its cost.
        return 0, 0, credits_e8, cost_e8, 0
    if kind == "lapse":
        return 0, credits_e8, 0, 0, cost_e8
    return credits_e8, 0, 0, cost_e8, 0


# Top-ups


def _per_credit(sums: Sums) -> int | None:
    """Money for one credit; None where none was paid."""
    if not sums["cash"]:
        return None
    return divide(sums["cash"] * CREDIT_E8, sums["credits"], "half_up")


TOP_UPS = (
    Column("at", "moment", "came in (UTC)", minor=True),
    Column("credits", "credits", "credits"),
    Column("cash", "money", "cash"),
    Column("per_credit", "money", "per credit", _per_credit, ("cash", "credits"), minor=True),
    Column("used", "credits", "used"),
    Column("lapsed", "credits", "lapsed", minor=True),
    Column("left", "credits", "left"),
    Column("cost_used", "money", "cost of used", minor=True),
    Column("cost_lapsed", "money", "cost of lapsed", minor=True),
    Column("cost_left", "money", "cost of left"),
)


def top_ups(
    asked: Asked,
    by: Iterable[str] | str = DEFAULT_BY,
    *,
    progress: Progress = nothing,
) -> Report:
    """Credits that came in during a span, what they cost, and what became of them until its end.

    Args:
        asked: which book and span.
        by: dimensions of the rows: `top_up`, `wallet`, `currency`, `origin`, or times.
        progress: is told how many parts of entries were read.

    Raises:
        InvalidEntry: the dimensions.

    >>> from ledger import Ledger
    >>> from ledger.reports.asking import ask
    >>> with Ledger("sqlite://") as book:
    ...     _ = book.top_up("studio", 300, key="invoice-1", cash=10, currency="USD")
    ...     _ = book.reserve("studio", 100, key="job-1")
    ...     _ = book.charge("job-1", 100)
    ...     report = top_ups(ask(book))
    >>> dict(zip([column.name for column in report.columns], report.cells[0]))["cost_used"]
    '3.33333333'
    """
    names = lot_dimensions(by, "top_up")
    start_us = -EVER_US if asked.span is None else asked.span.start_us
    facts = parts(asked, progress=progress).filter(
        pl.col("origin").is_in(["paid", "promotional"]), pl.col("at_us") >= start_us
    )
    facts = in_order(facts, "at_us", "top_up").with_columns(
        pl.col("at_us").alias("at"), *(pl.col(f"{old}_e8").alias(new) for old, new in _FIGURES)
    )
    facts = dimensioned(facts, names, span_of_facts(asked, facts))
    notes = ("Used, lapsed and left are those at the end of the period.",)
    return made(
        "top-ups",
        "Top-ups",
        asked,
        facts,
        by=names,
        measures=TOP_UPS,
        notes=(*notes, *money_notes(facts)),
        compared=False,
    )


_FIGURES = (
    *(("granted", "credits"), ("cash", "cash"), ("used", "used"), ("lapsed", "lapsed")),
    *(("left", "left"), ("cost_used", "cost_used"), ("cost_lapsed", "cost_lapsed")),
    ("cost_left", "cost_left"),
)


def lot_dimensions(by: Iterable[str] | str, lot: str) -> tuple[str, ...]:
    """The dimensions of a report about lots, checked; `lot` is what it calls them.

    Raises:
        InvalidEntry: the dimensions; lots have no labels.
    """
    known = (lot, *LOT_DIMENSIONS)
    names = checked(by, known)
    if unfit := [name for name in names if name not in known]:
        shown = unfit[0].removeprefix("label.")
        problem = f"{shown} says nothing of lots; known are {', '.join(known)}"
        raise InvalidEntry("by", [Fault("", problem)])
    return names


def in_order(facts: pl.DataFrame, order: str, name: str) -> pl.DataFrame:
    """Facts with their lots under a name that sorts by some column."""
    facts = facts.sort(order, maintain_order=True)
    lots = pl.Enum(facts["lot"].drop_nulls().unique(maintain_order=True))
    return facts.with_columns(pl.col("lot").cast(lots).alias(name))


def money_notes(facts: pl.DataFrame) -> tuple[str, ...]:
    """What is to be said where money has several currencies, and where there is none."""
    notes = []
    if facts["currency"].has_nulls():
        notes.append("Without a currency: credits that cost nothing, or nobody said what.")
    if currencies(facts) > 1:
        notes.append("Money of several currencies is not added up.")
    return tuple(notes)


# Valuation


_SUMS = ("granted_e8", "cash_e8", "left_e8", "cost_left_e8", "owed_e8")

_VALUES = (
    *(("granted", "came_in"), ("cash", "cash"), ("left", "left"), ("owed", "owed")),
    *(("cost_left", "value"), ("average", "average_value")),
)


def _lots(found: pl.DataFrame) -> pl.DataFrame:
    """One fact a lot, which stands where its credits came in."""
    lots = found.filter(pl.col("lot").is_not_null())
    adjusted = pl.col("origin") == "adjustment"
    return (
        lots.group_by("wallet", "lot_seq", "lot", "origin", "currency", "at_us")
        .agg(pl.col(_SUMS).sum())
        .rename({"lot_seq": "seq"})
        .sort("wallet", "seq")
        .with_columns(
            pl.when(adjusted)
            .then(pl.lit("adjust"))
            .otherwise(pl.lit("top_up"))
            .cast(found.schema["kind"])
            .alias("kind"),
            pl.lit(None, pl.String).alias("job"),
        )
    )


def _averaged(lots: pl.DataFrame) -> pl.DataFrame:
    """Lots with their shares of the value at the average, which add up for wallet and currency.

    A share is the difference that a lot makes to the rounded value of all up to it.
    """
    sums: dict[tuple[str, str | None], list[int]] = {}
    for wallet, currency, granted_e8, cash_e8 in _each(lots, "granted_e8", "cash_e8"):
        whole = sums.setdefault((wallet, currency), [0, 0, 0])
        whole[0] += granted_e8
        whole[1] += cash_e8
    shares = []
    for wallet, currency, left_e8 in _each(lots, "left_e8"):
        granted_e8, cash_e8, before_e8 = sums[wallet, currency]
        after_e8 = sums[wallet, currency][2] = before_e8 + left_e8
        values = [divide(cash_e8 * left, granted_e8, "half_up") for left in (before_e8, after_e8)]
        shares.append(values[1] - values[0])
    return lots.with_columns(pl.Series("average_e8", shares, dtype=pl.Int64))


def _each(lots: pl.DataFrame, *figures: str) -> Iterator[tuple[Any, ...]]:
    return lots.select(pl.col("wallet").cast(pl.String), "currency", *figures).iter_rows()


def _average(sums: Sums) -> int | None:
    """Money for one of all credits that came in; None where none was paid."""
    return _per_credit({"cash": sums["cash"], "credits": sums["came_in"]})


_OWED_AT_COST = "What was told late is owed at the cost of the later top-up that it was paid from."

VALUATION = (
    Column("came_in", "credits", "came in", minor=True),
    Column("cash", "money", "cash"),
    Column("average", "money", "average", _average, ("cash", "came_in"), minor=True),
    Column("left", "credits", "left"),
    Column("owed", "credits", "owed"),
    Column("value", "money", "value lot by lot"),
    Column("average_value", "money", "value at average"),
)


def valuation(
    asked: Asked,
    by: Iterable[str] | str = ("wallet", "currency"),
    *,
    progress: Progress = nothing,
) -> Report:
    """What the credits that are left at the end of a span cost, lot by lot and at the average.

    Lot by lot is what was paid for the very lots that are left, as the book spends them. The
    average is the money for all credits of a wallet that came in for a currency until then, by
    their number. Left less owed is what the wallets have. What is owed has a value below zero
    where credits that came in later have paid it, because it was told after them.

    Args:
        asked: which book and span; only its end matters.
        by: dimensions of the rows: `wallet`, `lot`, `currency`, `origin`, or times.
        progress: is told how many parts of entries were read.

    Raises:
        InvalidEntry: the dimensions.
    """
    names = lot_dimensions(by, "lot")
    found = parts(asked, progress=progress)
    lots = _averaged(_lots(found))
    debts = found.filter(pl.col("owed_e8") != 0).with_columns(
        pl.lit(0, pl.Int64).alias("average_e8"), pl.col("moved_at_us").alias("at_us")
    )
    facts = pl.concat([lots, debts.select(lots.columns)])
    facts = in_order(facts, "at_us", "lot").with_columns(
        pl.col(f"{old}_e8").alias(new) for old, new in _VALUES
    )
    facts = dimensioned(facts, names, span_of_facts(asked, facts))
    return made(
        "valuation",
        "Valuation",
        asked,
        facts,
        by=names,
        measures=VALUATION,
        notes=(
            "Left less owed is what the wallets have.",
            *((_OWED_AT_COST,) if (debts["cost_left_e8"] != 0).any() else ()),
            *money_notes(facts),
        ),
        compared=False,
    )

"""Credits that will expire, and credits that have lapsed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import polars as pl

from ledger.costing import cost_e8
from ledger.lots import lapsable
from ledger.records import Lot, WalletRecord, moment
from ledger.reports.asking import EVER_US, Asked
from ledger.reports.columns import Column
from ledger.reports.dimensions import dimensioned
from ledger.reports.facts import Progress, framed, nothing
from ledger.reports.now import now_us, wallets_then
from ledger.reports.report import Report, made, span_of_facts
from ledger.reports.topups import in_order, lot_dimensions, money_notes, parts
from ledger.store import Session, then
from ledger.units import iso

__all__ = ["expiring", "lapsed"]

DEFAULT_BY = ("wallet", "lot", "currency")

_FIELDS = (
    *("wallet", "seq", "kind", "job", "at_us", "lot", "origin", "currency"),
    *("left_e8", "kept_e8", "cost_e8"),
)

EXPIRING = (
    Column("expires", "moment", "expires (UTC)"),
    Column("left", "credits", "left"),
    Column("kept", "credits", "kept by holds"),
    Column("lapsing", "credits", "will lapse"),
    Column("cost", "money", "cost of left"),
)


def expiring(
    asked: Asked,
    by: Iterable[str] | str = DEFAULT_BY,
    *,
    progress: Progress = nothing,
) -> Report:
    """Credits that are left now, or were at `as_of`, and that expire in a span.

    A hold keeps the credits alive that it would spend, the soonest to expire first; what open
    holds do not keep lapses, unless it is spent before.

    Args:
        asked: which book; the span is that of the expiries.
        by: dimensions of the rows: `lot`, `wallet`, `currency`, `origin`, or times of expiry.
        progress: is told how many lots were read.

    Raises:
        InvalidEntry: the dimensions.
    """
    names, at_us = lot_dimensions(by, "lot"), now_us(asked)
    with asked.book.looking() as session:
        wallets = list(wallets_then(session, asked))
        rows = [
            row for record, place in wallets for row in _expiring(session, record, place, at_us)
        ]
    facts = in_order(framed(rows, _FIELDS, progress=progress), "at_us", "lot")
    if asked.span is not None:
        facts = facts.filter(
            pl.col("at_us") >= asked.span.start_us, pl.col("at_us") < asked.span.end_us
        )
    facts = facts.with_columns(
        pl.col("at_us").alias("expires"),
        pl.col("left_e8").alias("left"),
        pl.col("kept_e8").alias("kept"),
        (pl.col("left_e8") - pl.col("kept_e8")).alias("lapsing"),
        pl.col("cost_e8").alias("cost"),
    )
    facts = dimensioned(facts, names, span_of_facts(asked, facts))
    note = f"What is left is that of {iso(moment(at_us))}; times are those of expiry."
    return made(
        "expiring",
        "Expiring credits",
        asked,
        facts,
        by=names,
        measures=EXPIRING,
        notes=(note, *money_notes(facts)),
        compared=False,
    )


def _expiring(
    session: Session, record: WalletRecord, place: int, at_us: int
) -> Iterator[tuple[Any, ...]]:
    lots = [
        lot
        for lot in then.lots_then(session, record, place)
        if lot.expires_at_us is not None and lot.remaining_e8
    ]
    if not lots:
        return
    keys = then.keys_of_lots(session, record.book, record.id)
    lapsing = _lapsing(session, record, place, lots, at_us)
    for lot in lots:
        yield (
            *(lot.wallet, lot.seq, "adjust" if lot.origin == "adjustment" else "top_up", None),
            *(lot.expires_at_us, keys[lot.seq], lot.origin, lot.currency, lot.remaining_e8),
            lot.remaining_e8 - lapsing.get(lot.seq, 0),
            _cost_left_e8(lot),
        )


def _lapsing(
    session: Session, record: WalletRecord, place: int, lots: Sequence[Lot], at_us: int
) -> dict[int, int]:
    """What will have lapsed of lots once all have expired, if nothing else happens until then."""
    holds = [
        (hold.seq, hold.held_e8) for hold in then.holds_then(session, record, place, only_open=True)
    ]

    def kept_e8(expiry_us: int) -> int:
        # Only holds that had been made before a lot expired keep its credits.
        last = place if expiry_us > at_us else session.recorded_before(record, expiry_us)[0]
        return sum(held_e8 for seq, held_e8 in holds if seq <= last)

    return lapsable(lots, EVER_US, kept_e8)


def _cost_left_e8(lot: Lot) -> int:
    """What the credits that are left of a lot cost."""
    cash_e8 = lot.cash_e8 or 0
    return cash_e8 - cost_e8(cash_e8, lot.granted_e8, lot.used_e8 + lot.lapsed_e8)


LAPSED = (
    Column("at", "moment", "lapsed at (UTC)"),
    Column("lapsed", "credits", "lapsed"),
    Column("cost", "money", "cost"),
)


def lapsed(
    asked: Asked,
    by: Iterable[str] | str = DEFAULT_BY,
    *,
    progress: Progress = nothing,
) -> Report:
    """Credits that lapsed unused in a span, and what they had cost.

    Args:
        asked: which book and span.
        by: dimensions of the rows: `lot`, `wallet`, `currency`, `origin`, or times of lapsing.
        progress: is told how many parts of entries were read.

    Raises:
        InvalidEntry: the dimensions.
    """
    names = lot_dimensions(by, "lot")
    start_us = -EVER_US if asked.span is None else asked.span.start_us
    facts = parts(asked, progress=progress).filter(
        pl.col("kind").cast(pl.String) == "lapse", pl.col("moved_at_us") >= start_us
    )
    facts = facts.with_columns(pl.col("moved_at_us").alias("at_us"))
    facts = in_order(facts, "at_us", "lot").with_columns(
        pl.col("at_us").alias("at"),
        pl.col("lapsed_e8").alias("lapsed"),
        pl.col("cost_lapsed_e8").alias("cost"),
    )
    facts = dimensioned(facts, names, span_of_facts(asked, facts))
    return made(
        "lapsed",
        "Lapsed credits",
        asked,
        facts,
        by=names,
        measures=LAPSED,
        notes=money_notes(facts),
        compared=False,
    )

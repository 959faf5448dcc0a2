"""Charges of an earlier period that the bill has again: two bills together tell what one cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import polars as pl

from ledger.breaks import ReconciliationRecord
from ledger.jobs import Ledger
from ledger.reconcile.breaks import Break, Proposal, break_id
from ledger.reconcile.results import Reconciliation
from ledger.units import show_credits

__all__ = ["charged_again"]

_NOT_BILLED = ("cut_off", "missing_there")
"""Breaks of a job for which the other period's bill had no charge."""


def charged_again(book: Ledger, jobs: pl.DataFrame, result: Reconciliation) -> Reconciliation:
    """The result, with a cut-off as a duplicate where the other period's bill has the charge, too.

    Args:
        book: its earlier comparisons are looked at.
        jobs: what `read_book` gave.
        result: what was found.
    """
    asked = [item.job for item in result.breaks if _may_be(item)]
    others = [
        record
        for record in book.reconciliations()
        if not (record.since_us < result.until_us and result.since_us < record.until_us)
    ]
    if not asked or not others:
        return result
    known = jobs.filter(pl.col("job").is_in(asked)).select("job", "at_us")
    times: dict[str | None, int] = dict(known.drop_nulls().iter_rows())
    earlier: dict[str | None, list[int]] = {}
    for kind in _NOT_BILLED:
        for record in book.breaks(None, kind=kind):
            earlier.setdefault(record.job, []).append(record.happened_at_us)
    breaks = [
        _again(book, item, times[item.job], others, earlier.get(item.job, []))
        if _may_be(item) and item.job in times
        else item
        for item in result.breaks
    ]
    return replace(result, breaks=sorted(breaks, key=lambda item: (item.at_us, item.id)))


def _may_be(item: Break) -> bool:
    """Whether the bill charges what the book has charged in another period."""
    return item.kind == "cut_off" and not item.ours_e8 and (item.theirs_e8 or 0) > 0


def _again(
    book: Ledger,
    item: Break,
    at_us: int,
    others: Sequence[ReconciliationRecord],
    not_billed_us: Sequence[int],
) -> Break:
    compared = [record for record in others if record.since_us <= at_us < record.until_us]
    if not compared or item.job is None:
        return item
    if any(
        record.since_us <= moment_us < record.until_us
        for record in compared
        for moment_us in not_billed_us
    ):
        return item
    # A charge that the book learned of later was in none of the comparisons before.
    charges = [entry for entry in book.history(item.job) if entry.kind == "charge"]
    told_us = max((entry.recorded_at_us for entry in charges), default=at_us)
    compared = [record for record in compared if told_us <= record.recorded_at_us]
    if not compared:
        return item
    seq = compared[0].seq
    shown = show_credits(item.theirs_e8 or 0)
    reason = f"ask the provider for {shown} credits back: comparison {seq} has the charge, too"
    return replace(
        item,
        id=break_id("usage", "duplicate_charge", "another period", "job", item.job),
        kind="duplicate_charge",
        ours_e8=None,
        evidence={**item.evidence, "charged_in_comparison": seq},
        proposal=Proposal(None, 0, reason),
    )

"""Charges that a hold did not take in full, because its policy is `cap` or `draw`.

The provider charged all the same, so the book's side of a comparison is what was asked for. What
comes back of it gives back first what was never taken: a hold that took 40 of 60 credits has 30
left to pay once the job costs 30, and so its wallet got 10 back where the provider gave back 30.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import polars as pl

from ledger.jobs import Ledger
from ledger.reconcile.breaks import Break, Proposal
from ledger.reconcile.results import Reconciliation
from ledger.records import Entry, Hold
from ledger.store import Session
from ledger.store import settled as scans
from ledger.store.tasks import task_rows
from ledger.units import show_credits

__all__ = ["as_billed", "with_proposals"]

_MOST_NAMES = 10_000
"""Names that are looked up at a time."""

_PLACES = ("", "_before", "_after")
_CHARGED, _REFUNDED = (
    [f"{name}{place}_e8" for place in _PLACES] for name in ("charged", "refunded")
)


class _Move(NamedTuple):
    """A charge or refund as the provider made it."""

    kind: str
    amount_e8: int
    at_us: int


class _Untaken(NamedTuple):
    """A job of which something was never taken."""

    moves: tuple[_Move, ...]
    asked_e8: int
    """All that was charged."""
    taken_e8: int
    """What the wallet gave for it; refunds are not deducted."""
    left_e8: int
    """What was asked for, neither taken nor given back."""


def as_billed(book: Ledger, jobs: pl.DataFrame, *, since_us: int, until_us: int) -> pl.DataFrame:
    """The jobs, their refunds as the provider gave them, and not as the wallet got them.

    Args:
        book: where the jobs are from.
        jobs: what `read_book` gave.
        since_us: first moment of the period, in microseconds since 1970 UTC.
        until_us: first moment after it.
    """
    net = pl.sum_horizontal(_CHARGED) - pl.sum_horizontal(_REFUNDED)
    # Without a refund, only the messages can say that something was given back.
    asked = (pl.sum_horizontal(_REFUNDED) > 0) | (pl.col("task_net_e8") != net)
    names = jobs.filter(asked.fill_null(value=False))["job"]
    rows = [
        (job, *_sums(item.moves, since_us, until_us))
        for job, item in _untaken(book, jobs, names.to_list()).items()
    ]
    if not rows:
        return jobs
    amounts = dict.fromkeys([*_CHARGED, *_REFUNDED], pl.Int64)
    told = pl.DataFrame(rows, schema={"job": pl.String, **amounts}, orient="row")
    return jobs.update(told, on="job", maintain_order="left")


def with_proposals(book: Ledger, jobs: pl.DataFrame, result: Reconciliation) -> Reconciliation:
    """The result, without proposals to give back what was never taken.

    Args:
        book: where the jobs are from.
        jobs: what `as_billed` gave.
        result: what was found.
    """
    names = {item.job for item in result.breaks if item.job is not None and item.scope == "usage"}
    found = _untaken(book, jobs, sorted(names))
    if not found:
        return result
    breaks = [
        _proposing(item, found[item.job]) if item.job in found and item.scope == "usage" else item
        for item in result.breaks
    ]
    return replace(result, breaks=breaks)


def _proposing(item: Break, job: _Untaken) -> Break:
    evidence = {**item.evidence, "not_taken": show_credits(job.asked_e8 - job.taken_e8)}
    proposal = item.proposal
    if proposal.verb == "refund" or (proposal.verb == "adjust" and proposal.amount_e8 > 0):
        proposal = _refund(proposal, job)
    return replace(item, evidence=evidence, proposal=proposal)


def _refund(proposal: Proposal, job: _Untaken) -> Proposal:
    """What is left to give back to the wallet, once what was never taken is given back."""
    back_e8, kept_e8 = proposal.amount_e8 - job.left_e8, _net_e8(job.moves) - job.left_e8
    if back_e8 <= 0:
        shown = [
            show_credits(amount_e8)
            for amount_e8 in (
                job.taken_e8,
                job.asked_e8,
                _net_e8(job.moves) - proposal.amount_e8,
            )
        ]
        reason = "nothing to give back: {} of the {} credits charged were taken, and {} are left"
        return Proposal(None, 0, reason.format(*shown))
    verb = proposal.verb if back_e8 > kept_e8 else "refund"
    return proposal._replace(verb=verb, amount_e8=back_e8)


def _net_e8(moves: Sequence[_Move]) -> int:
    return sum(item.amount_e8 if item.kind == "charge" else -item.amount_e8 for item in moves)


def _sums(moves: Sequence[_Move], since_us: int, until_us: int) -> Iterator[int]:
    """Charges, then refunds: in the period, before it, and after it."""
    for kind in ("charge", "refund"):
        sums = dict.fromkeys(_PLACES, 0)
        for item in moves:
            if item.kind == kind:
                place = "_before" if item.at_us < since_us else "_after"
                sums["" if since_us <= item.at_us < until_us else place] += item.amount_e8
        yield from sums.values()


# Reading


def _untaken(book: Ledger, jobs: pl.DataFrame, names: Sequence[str]) -> dict[str, _Untaken]:
    """Those of some jobs of which something was never taken."""
    if not names:
        return {}
    some = jobs.filter(pl.col("job").is_in(names)).select("job", pl.sum_horizontal(_CHARGED))
    asked_e8: dict[str, int] = dict(some.iter_rows())
    found = {}
    with book.looking() as session:
        for start in range(0, len(names), _MOST_NAMES):
            holds = scans.capped_holds(session, book.book, names[start : start + _MOST_NAMES])
            for hold in holds:
                # Where all was taken that was asked for, there is nothing to look for.
                if asked_e8.get(hold.job) == hold.charged_e8:
                    continue
                entries = [
                    entry
                    for entry in session.entries_of(hold)
                    if entry.kind in {"charge", "refund"}
                ]
                if any(entry.uncollected_e8 for entry in entries):
                    found[hold.job] = _of_entries(entries, _told_e8(book, session, hold))
    return found


def _told_e8(book: Ledger, session: Session, hold: Hold) -> int | None:
    """What a job costs in the end, as the messages about all its tasks tell; None if unknown."""
    telling = book.telling
    nets = [
        telling.wanted(telling.facts(task.facts), hold.amount_e8).net_e8
        for task in task_rows(session, book.book, (), [hold.job])
    ]
    known = [net_e8 for net_e8 in nets if net_e8 is not None]
    return sum(known) if nets and len(known) == len(nets) else None


def _of_entries(entries: Sequence[Entry], told_e8: int | None) -> _Untaken:
    """What the provider charged and gave back, as the book has it.

    No entry says that something came back of what was never taken; the messages may.
    """
    taken_e8 = -sum(entry.posted_e8 for entry in entries if entry.kind == "charge")
    untaken_e8 = sum(entry.uncollected_e8 for entry in entries)
    kept_e8 = -sum(entry.posted_e8 for entry in entries)
    is_told = told_e8 is not None and kept_e8 <= told_e8 <= kept_e8 + untaken_e8
    returned_e8 = kept_e8 + untaken_e8 - told_e8 if told_e8 is not None and is_told else untaken_e8
    moves, left_e8, never_e8 = [], returned_e8, 0
    for entry in entries:
        back_e8 = 0
        if entry.kind == "refund":
            back_e8 = min(never_e8, left_e8)
        never_e8 += entry.uncollected_e8 - back_e8
        left_e8 -= back_e8
        amount_e8 = abs(entry.posted_e8) + entry.uncollected_e8 + back_e8
        moves.append(_Move(entry.kind, amount_e8, entry.told_at_us))
    if is_told and left_e8:
        moves.append(_Move("refund", left_e8, entries[-1].told_at_us))
        never_e8 -= left_e8
    return _Untaken(tuple(moves), taken_e8 + untaken_e8, taken_e8, never_e8)

"""Charges above a hold that rejects them: what it takes to make room.

The hold of a job under the policy `reject` takes no more than it was made for. A charge that the
bill asks for beyond that is refused, unless the hold is extended in the same transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ledger.jobs import Ledger
from ledger.reconcile.breaks import Break, Proposal
from ledger.reconcile.results import Reconciliation
from ledger.records import Hold
from ledger.store import Session
from ledger.store.tasks import task_rows
from ledger.units import show_credits

__all__ = ["with_room"]

_MOST_NAMES = 10_000
"""Names that are looked up at a time."""


def with_room(book: Ledger, result: Reconciliation) -> Reconciliation:
    """The result, its proposed charges such that the holds of their jobs do not reject them.

    Args:
        book: whose holds.
        result: what was found.
    """
    asked = [item for item in result.breaks if item.proposal.verb == "charge" and item.job]
    if not asked:
        return result
    with book.looking() as session:
        holds = dict(_rejecting(session, book.book, sorted({str(item.job) for item in asked})))
        breaks = [_with_room(book, session, item, holds) for item in result.breaks]
    return replace(result, breaks=breaks) if holds else result


def _rejecting(session: Session, book: str, jobs: Sequence[str]) -> Iterator[tuple[str, Hold]]:
    for start in range(0, len(jobs), _MOST_NAMES):
        for hold in session.holds(book, jobs[start : start + _MOST_NAMES]):
            if hold.wallet is not None and hold.policy == "reject":
                yield hold.job, hold


def _with_room(book: Ledger, session: Session, item: Break, holds: Mapping[str, Hold]) -> Break:
    hold = None if item.proposal.verb != "charge" or item.job is None else holds.get(item.job)
    if hold is None:
        return item
    _, amount_e8, reason = item.proposal
    covered_e8 = max(hold.held_e8, hold.amount_e8 - hold.charged_e8 + hold.refunded_e8)
    over_e8 = amount_e8 - covered_e8
    if over_e8 <= 0:
        return item
    told = f"{reason}; its hold rejects what is above the {show_credits(covered_e8)} it covers"
    if hold.state != "open":
        # Nothing extends it any more.
        told = f"{told} and is closed, so that the wallet is adjusted"
        return replace(item, proposal=Proposal("adjust", -amount_e8, told))
    more = show_credits(over_e8)
    if waits_e8 := _waiting_e8(book, session, hold, over_e8):
        if waits_e8 <= amount_e8:
            rest = "" if waits_e8 == amount_e8 else f" ({show_credits(waits_e8)}), then the rest"
            told = f"{told}: with {more} more, what waits is charged{rest}"
        else:
            asks = show_credits(waits_e8)
            told = f"{told}: it is extended by {more} first; what waits asks for {asks}"
        return replace(item, proposal=Proposal("extend", over_e8, told))
    told = f"{told}: it is extended by {more} first"
    evidence = {**item.evidence, "extend_first": more}
    return replace(item, evidence=evidence, proposal=Proposal("charge", amount_e8, told))


def _waiting_e8(book: Ledger, session: Session, hold: Hold, over_e8: int) -> int:
    """What the hold has rejected, which is charged by itself once there is room; 0 if nothing."""
    parked_e8 = _parked_e8(session, hold) if hold.parked else 0
    return parked_e8 or max(0, _asked_e8(book, session, hold, over_e8))


def _parked_e8(session: Session, hold: Hold) -> int:
    """What charges in the inbox ask for that the hold has rejected."""
    waiting = session.waiting(hold.book, hold.job)
    charges = [item for item in waiting if item.kind == "charge" and not item.is_discarded]
    return sum(json.loads(item.content)["amount_e8"] or 0 for item in charges)


def _asked_e8(book: Ledger, session: Session, hold: Hold, over_e8: int) -> int:
    """What the provider's messages ask for beyond what was charged; 0 where nothing waits."""
    tasks = [task for task in task_rows(session, book.book, (), [hold.job]) if task.job == hold.job]
    telling = book.telling
    nets = [
        telling.wanted(telling.facts(task.facts), hold.amount_e8 + over_e8).net_e8 for task in tasks
    ]
    known = [net_e8 for net_e8 in nets if net_e8 is not None]
    if all(task.applied for task in tasks) or len(known) < len(nets):
        return 0
    return sum(known) - hold.charged_e8 + hold.refunded_e8

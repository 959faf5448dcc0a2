"""Keeping a comparison in the book it is about."""

from __future__ import annotations

import json

from ledger.breaks import BreakRecord
from ledger.reconcile.breaks import Break

__all__ = ["record_of"]


def record_of(found: Break, *, since_us: int, until_us: int) -> BreakRecord:
    """A break as the book keeps it; the book fills in what it knows better."""
    proposal = found.proposal
    evidence = {
        **found.evidence,
        "scope": found.scope,
        "lines": list(found.lines),
        "proposal": {
            "verb": proposal.verb,
            "amount": format(proposal.amount, "f"),
            "reason": proposal.reason,
        },
    }
    if found.difference_money is not None:
        evidence["difference_money"] = format(found.difference_money, "f")
        evidence["currency"] = found.currency
    return BreakRecord(
        book="",
        id=found.id,
        kind=found.kind,
        wallet=found.wallet,
        job=found.job,
        task=found.task,
        ours_e8=found.ours_e8,
        theirs_e8=found.theirs_e8,
        difference_e8=found.difference_e8,
        happened_at_us=found.at_us,
        cause=found.cause,
        evidence=json.dumps(evidence, ensure_ascii=False, sort_keys=True, separators=(",", ":")),
        status="open",
        owner=None,
        note=None,
        closed_by=None,
        since_us=since_us,
        until_us=until_us,
        found_seq=0,
        seen_seq=0,
        changed_at_us=0,
    )

"""What the book should say of a job, given what the provider's messages say of its task.

Nothing here invents an outcome: a task that failed is not refunded until that is proven, and one
that completed costs nothing only where the provider says so. A reserved amount never becomes a
charge by itself. Where messages contradict each other, more credits count as spent, not fewer, and
a person is to look at it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, NamedTuple

from ledger.evolink.tasks.amounts import (
    Charge,
    Unit,
    amount_in,
    charge_of,
    read_amount,
    shown,
    unit_of,
    unit_of_billing,
    yardstick,
)
from ledger.evolink.tasks.facts import ENDED, RUNNING, Facts
from ledger.figures import in_credits, show_credits

__all__ = ["State", "Wanted", "wanted"]

State = Literal["running", "settled", "unproven", "unpriced", "disputed"]
"""What follows from a task's messages; see docs/lifecycle.md."""

_MOST_KEPT = 2_000
"""Most outcomes that are kept for whoever asks again."""

_MOST_SHOWN = 60
"""Longest word of the provider's in a sentence, in characters."""


class Wanted(NamedTuple):
    """What the book should say of a job."""

    state: State
    """running (not ended), settled, unproven (failed, and no proof of a refund), unpriced
    (completed, and no amount yet), or disputed (the messages contradict each other)."""
    status: str
    """The provider's word to show."""
    net_e8: int | None
    """Credits the job costs in the end, in 10^-8; 0 is nothing, proven; None is not known yet."""
    released: bool
    """Whether the hold is to be let go unused: it is proven that the job costs nothing."""
    reason: str
    """One sentence for the entry and for a person; fits `ledger.records.name`."""
    notes: tuple[str, ...]
    """What is contradictory or not certain, a sentence each."""


def wanted(facts: Facts, *, expected_e8: int | None) -> Wanted:
    """What the book should say; depends on the set of messages, not on their order or number.

    Args:
        facts: what all messages of the task say together.
        expected_e8: what the hold was made for, in 10^-8 credit, to tell units by; None where no
            hold is known.

    >>> failed = wanted(Facts(("failed",), reserved=(40_824_000_000_000,)), expected_e8=None)
    >>> failed.state, failed.net_e8, failed.reason
    ('unproven', None, 'failed; no proof of a refund')
    """
    # Two tasks seldom say something that no other has said, but for when they were created.
    return _wanted(facts[:-1], expected_e8)


@lru_cache(maxsize=_MOST_KEPT)
def _wanted(told: tuple[Any, ...], expected_e8: int | None) -> Wanted:
    facts = Facts(*told)
    measure_e8 = yardstick(facts, expected_e8)
    ended = [word for word in ENDED if word in facts.statuses]
    if not ended:
        return _running(facts, measure_e8)
    unit = unit_of_billing(facts, measure_e8)
    charge = charge_of(facts, measure_e8, unit)
    if facts.refunded:
        found = _refunded(facts, ended[0], charge, measure_e8, unit)
    elif ended[0] == "completed":
        found = _completed(facts, charge, has_hold=bool(expected_e8))
    else:
        found = _failed(facts, ended[0], charge)
    notes = [*found.notes, *charge.notes, *_reserve_notes(facts, measure_e8)]
    if facts.interim and charge.amount is None:
        notes.append(f"{shown(facts.interim)} was told before the end, which is not final")
    if facts.surplus:
        notes.append(f"{shown(facts.surplus)} came back, as much as was reserved beyond the charge")
    state = found.state
    if charge.is_contradictory:
        state = "disputed"
    if len(ended) > 1:
        notes.insert(0, f"the provider says {' and '.join(ended)} of the same task")
        state = "disputed"
    return found._replace(state=state, notes=tuple(notes))


def _running(facts: Facts, measure_e8: int | None) -> Wanted:
    known = [word for word in RUNNING if word in facts.statuses]
    unknown = [word for word in facts.statuses if word not in RUNNING]
    notes = [f"{_cut(word)!r} is no status that is known; it counts as running" for word in unknown]
    if facts.interim:
        notes.append(f"{shown(facts.interim)} was told already, which is not final")
    if facts.refunded:
        notes.append("a refund is proven, though the task has not ended")
    status = (unknown or known)[-1]
    return Wanted(
        state="running",
        status=status,
        net_e8=None,
        released=False,
        reason=f"{_cut(status)}; the outcome is not known yet",
        notes=(*notes, *_reserve_notes(facts, measure_e8)),
    )


def _refunded(
    facts: Facts, status: str, charge: Charge, measure_e8: int | None, unit: Unit | None
) -> Wanted:
    """All that was held came back; what was charged beyond it did not."""
    read = [read_amount(told, measure_e8, unit) for told in facts.refunded]
    back, subject = read[-1], _subject(facts, status)
    if charge.e8 is not None and back.e8 is not None and charge.e8 > back.e8:
        told = f"{in_credits(back.e8)} refunded of {show_credits(charge.e8)} charged"
        return Wanted(
            state="disputed",
            status=status,
            net_e8=charge.e8 - back.e8,
            released=False,
            reason=f"{subject}; {told}",
            notes=("more was charged than was refunded",),
        )
    notes = ["completed and refunded"] if status == "completed" else []
    if len({amount.e8 for amount in read}) > 1:
        notes.append(f"different refunds were told: {shown(facts.refunded)}")
    amount = f" of {in_credits(back.e8)}" if back.e8 is not None and back.is_certain else ""
    return Wanted(
        state="settled",
        status=status,
        net_e8=0,
        released=True,
        reason=f"{subject}; a refund{amount} is proven",
        notes=tuple(notes),
    )


def _completed(facts: Facts, charge: Charge, *, has_hold: bool) -> Wanted:
    found = Wanted("unpriced", "completed", None, released=False, reason="", notes=())
    found = found._replace(notes=_refund_notes(facts))
    if not charge.is_told:
        return found._replace(reason="completed; the provider has not said what it cost")
    if charge.e8 is None:
        if has_hold:
            reason = "completed; what it cost is told in no unit that makes sense"
            return found._replace(state="disputed", reason=reason)
        reason = "completed; without its hold nobody knows whether its cost is told in credits"
        return found._replace(reason=reason)
    if charge.e8 == 0:
        # Also where it is called failed as well: whoever heard of that later has let the hold go.
        return found._replace(
            state="settled", net_e8=0, released=True, reason="completed at no charge"
        )
    # Words that speak of a refund, and nothing that proves it: the charge stands, and is doubted.
    doubted = bool(found.notes)
    found = found._replace(state="disputed" if doubted else "settled")
    return _charged(found, facts, charge, "completed")


def _failed(facts: Facts, status: str, charge: Charge) -> Wanted:
    subject = _subject(facts, status)
    found = Wanted(
        state="unproven",
        status=status,
        net_e8=None,
        released=False,
        reason=f"{subject}; no proof of a refund",
        notes=_refund_notes(facts),
    )
    if charge.e8:
        found = found._replace(notes=(f"charged though {status}", *found.notes))
        return _charged(found, facts, charge, f"{subject} all the same")
    if charge.e8 == 0:
        note = "0 credits are told as used, which does not prove that the hold came back"
        return found._replace(notes=(*found.notes, note))
    return found


def _charged(found: Wanted, facts: Facts, charge: Charge, subject: str) -> Wanted:
    """The charge, less what is proven to have come back of it."""
    amount = charge.amount
    if amount is None or amount.e8 is None:
        return found
    reason = f"{subject}; {in_credits(amount.e8)} charged"
    if not facts.returned:
        return found._replace(net_e8=amount.e8, reason=reason)
    # It is less than the charge it was told with, which may have been told in the other unit.
    units: tuple[Unit, Unit] = (amount.unit, "uc")
    read = [amount_in(unit, facts.returned[-1]) for unit in units]
    back_e8 = next((back for back in read if back < amount.e8), None)
    if back_e8 is None or charge.by != "billing.charged_credits":
        note = f"a refund of {shown(facts.returned)} is told, which does not fit the charge"
        return found._replace(
            state="disputed", net_e8=amount.e8, reason=reason, notes=(*found.notes, note)
        )
    return found._replace(
        net_e8=amount.e8 - back_e8,
        reason=f"{reason}, {show_credits(back_e8)} of it refunded",
        notes=(*found.notes, f"{in_credits(back_e8)} of the charge came back"),
    )


# Notes


def _refund_notes(facts: Facts) -> tuple[str, ...]:
    """What speaks of a refund and does not prove it."""
    notes = []
    proven = facts.returned[-1] if facts.returned else -1
    if facts.claimed and facts.claimed[-1] > proven:
        missing = ", ".join(facts.missing)
        notes.append(f"a refund is called completed without its proof: {missing}")
    if "released" in facts.charge_statuses:
        words = ", ".join(map(_cut, facts.refund_statuses[:4])) or "not at all"
        notes.append(f"the charge is told as released, and its refund as {words}")
    return tuple(notes)


def _reserve_notes(facts: Facts, measure_e8: int | None) -> list[str]:
    """Reserves that fit no unit; nothing else follows from them."""
    if measure_e8 is None:
        return []
    return [
        f"the unit of the {show_credits(told)} reserved is not certain"
        for told in sorted({*facts.reserved, *facts.held})
        if unit_of(told, measure_e8) is None
    ]


def _subject(facts: Facts, status: str) -> str:
    codes = _cut(", ".join(facts.error_codes))
    return f"{status} ({codes})" if codes and status != "completed" else status


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 3]}..."

"""Giving holds back unused: by a caller, or because of a deadline."""

from __future__ import annotations

from ledger.book.calls import Call, Content, call_digest, earlier, made, own_key, text_of
from ledger.book.items import Release
from ledger.book.limits import moved, planned
from ledger.book.money import lapse_expired
from ledger.book.work import Wallet, Work
from ledger.errors import HoldClosed
from ledger.records import Entry, Hold, name
from ledger.units import iso

__all__ = ["expire", "release", "release_overdue", "sweep"]

_OVERDUE = "deadline passed"


def release(work: Work, item: Release) -> Entry:
    """Give back what a hold has set aside, unused."""
    job = name(item.job, "the job")
    reason = None if item.reason is None else name(item.reason, "the reason")
    content = {"job": job, "reason": reason}
    call = made(work, "release", job if item.key is None else item.key, content, item.at)
    if (first := earlier(work, call, _released)) is not None:
        return first
    hold = work.hold(job)
    wallet = work.wallet(str(hold.wallet))
    if hold.state != "open":
        problem = f"is {hold.state} already; there is nothing to release"
        raise HoldClosed(job, state=hold.state, problem=problem)
    return _release(work, wallet, hold, call)


def expire(work: Work, job: str, key: str | None) -> Entry:
    """Release a hold whose deadline has passed."""
    content = {"job": name(job, "the job"), "reason": _OVERDUE}
    call = made(work, "release", job if key is None else key, content)
    if (first := earlier(work, call, _released)) is not None:
        return first
    hold = work.hold(job)
    wallet = work.wallet(str(hold.wallet))
    if hold.state != "open":
        raise HoldClosed(job, state=hold.state, problem=f"is {hold.state} already")
    if work.now_us < hold.deadline_us:
        problem = f"has until {iso(hold.deadline)}; release it instead"
        raise HoldClosed(job, state=hold.state, problem=problem)
    return _release(work, wallet, hold, call)


def _released(entry: Entry) -> Content:
    return {"job": entry.job, "reason": entry.details.get("reason")}


def _release(work: Work, wallet: Wallet, hold: Hold, call: Call) -> Entry:
    moves = planned(work, wallet, hold.labels, hold.reserved_at_us, held_e8=-hold.held_e8)
    moved(work, wallet, moves)
    entry = work.write(
        wallet,
        "release",
        call.key,
        call.digest,
        contra="holds",
        job=hold.job,
        held_e8=-hold.held_e8,
        facts=text_of({"reason": call.content["reason"]}),
        at_us=call.at_us,
        given_us=call.given_us,
    )
    state = "charged" if hold.charged_e8 else "released"
    work.put_hold(wallet, hold._replace(last_seq=entry.seq, state=state, held_e8=0))
    return entry


def release_overdue(work: Work, wallet: Wallet) -> list[Entry]:
    """Release the holds of a wallet whose own policy says so at their deadline."""
    released = []
    for hold in work.overdue(wallet):
        content = {"job": hold.job, "reason": _OVERDUE}
        key = own_key(wallet, hold.job)
        digest = call_digest("release", key, None, content.values())
        call = Call("release", key, content, work.now_us, None, digest)
        released.append(_release(work, wallet, hold, call))
    return released


def sweep(work: Work, wallet_name: str) -> list[Entry]:
    """Write down what time alone has done to a wallet: holds released, credits lapsed."""
    wallet = work.wallet(name(wallet_name, "the wallet"))
    return release_overdue(work, wallet) + lapse_expired(work, wallet)

"""Messages that came before the reserve of their job: they wait, and none is lost in silence."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ledger.book.calls import Call, compact, one_of, reused
from ledger.book.work import Work
from ledger.errors import UnknownMessage
from ledger.records import Hold, InboxRecord, Parked, name

__all__ = ["discard", "park", "parked", "read", "waiting"]


def park(work: Work, call: Call, hold: Hold | None) -> Parked:
    """Keep a charge or a refund until its job is reserved; `hold` is the placeholder, if any.

    Raises:
        KeyReused: another message waits under the same key.
    """
    first = _find(work, call)
    if first is None:
        record = InboxRecord(
            work.book,
            call.kind,
            call.key,
            call.content["job"],
            compact(call.content),
            call.given_us,
            work.now_us,
            _place(work, call.content["job"]),
            call.digest,
            0,
        )
        work.park(record, known=hold is not None)
    elif first.digest != call.digest:
        raise reused(call, json.loads(first.content), first.happened_at_us)
    nearest = work.session.similar_jobs(work.book, call.content["job"])
    if first is not None:
        return parked(first, nearest=nearest)
    return Parked(work.book, call.kind, call.key, call.content["job"], nearest=tuple(nearest))


def _place(work: Work, job: str) -> int:
    """Behind the messages for the job that came before: clocks need not tell them apart."""
    before = [*work.session.waiting(work.book, job), *work.parked]
    return 1 + max((record.place for record in before if record.job == job), default=-1)


def waiting(work: Work, call: Call, hold: Hold) -> InboxRecord | None:
    """The message in the inbox that says the same as a call that is made now, if there is one.

    Raises:
        KeyReused: a message with other content, perhaps for another job, waits under this key.
    """
    # Under its own job's name one waits only if the hold knows of it; under another job's, only if
    # anything waits at all. A hopeful work need not ask: its write finds out.
    if call.key == hold.job and not hold.parked and work.trusting:
        return None
    if not work.trusting and work.nothing_waits:
        return None
    first = _find(work, call)
    if first is None or first.applied or (call.kind, call.key) in work.applied:
        return None
    if first.digest != call.digest:
        raise reused(call, json.loads(first.content), first.happened_at_us)
    return first


def parked(record: InboxRecord, *, nearest: Sequence[str] = ()) -> Parked:
    """What a repeated call gets whose message is in the inbox already."""
    reason = record.discard_reason
    place = record.book, record.kind, record.key, record.job
    return Parked(*place, replayed=True, nearest=tuple(nearest), discarded=reason)


def discard(work: Work, kind: str, key: str, reason: str) -> InboxRecord:
    """Close a message that will never be applied; the same again changes nothing.

    Raises:
        UnknownMessage: none waits under this key: there never was one, it was applied, or it was
            discarded for another reason.
    """
    one_of(kind, ("charge", "refund"), "kind")
    name(key, "the key"), name(reason, "the reason")
    record = work.session.parked(work.book, kind, key)
    if record is not None and not record.is_discarded:
        # Whoever reserves or charges the job locks its hold before it looks for messages.
        work.session.waiting(work.book, record.job, lock=True)
        record = work.session.parked(work.book, kind, key)
    if record is None:
        raise UnknownMessage(kind, key, problem=f"does not wait in the inbox of {work.book!r}")
    if record.applied:
        raise UnknownMessage(kind, key, problem="waits no more: it was applied")
    if record.is_discarded:
        if record.discard_reason != reason:
            problem = f"waits no more: it was discarded ({record.discard_reason})"
            raise UnknownMessage(kind, key, problem=problem)
        return record
    record = record._replace(discarded_at_us=work.now_us, discard_reason=reason)
    work.discarded.append(record)
    return record


def read(record: InboxRecord) -> Call:
    """The call that a message was."""
    return Call(
        record.kind,
        record.key,
        json.loads(record.content),
        record.recorded_at_us if record.happened_at_us is None else record.happened_at_us,
        record.happened_at_us,
        record.digest,
    )


def _find(work: Work, call: Call) -> InboxRecord | None:
    for record in work.parked:
        if (record.kind, record.key) == (call.kind, call.key):
            return record
    return work.session.parked(work.book, call.kind, call.key)

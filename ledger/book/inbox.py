"""Messages that came before the reserve of their job: they wait, and none is lost."""

from __future__ import annotations

import json

from ledger.book.calls import Call, compact, reused
from ledger.book.work import Work
from ledger.records import Hold, InboxRecord, Parked

__all__ = ["park", "read", "waits"]


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
            call.digest,
            0,
        )
        work.park(record, known=hold is not None)
    elif first.digest != call.digest:
        raise reused(call, json.loads(first.content), first.happened_at_us)
    job = call.content["job"]
    nearest = tuple(work.session.similar_jobs(work.book, job))
    return Parked(work.book, call.kind, call.key, job, first is not None, nearest)


def waits(work: Work, call: Call, hold: Hold) -> bool:
    """Whether a message that says the same as this call waits for the job; the call is made now.

    Raises:
        KeyReused: a message with other content, perhaps for another job, waits under this key.
    """
    # Under its job's name a message waits only if the hold knows of it.
    if call.key == hold.job and not hold.parked:
        return False
    first = _find(work, call)
    if first is None or first.applied or (call.kind, call.key) in work.applied:
        return False
    if first.digest != call.digest:
        raise reused(call, json.loads(first.content), first.happened_at_us)
    return True


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

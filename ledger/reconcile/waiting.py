"""What waits in the book under the name of lines that belong to no job.

A line is missing here also where the book has heard of its task, but nobody has said which job it
belongs to; or where its charge waits in the inbox, because nobody has reserved the job.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from shlex import quote
from typing import Any

from ledger.jobs import Ledger
from ledger.reconcile.breaks import Break, Proposal
from ledger.reconcile.results import Reconciliation
from ledger.records import InboxRecord, TaskRecord, moment
from ledger.store import Session
from ledger.store.tasks import task_rows
from ledger.units import iso, show_credits

__all__ = ["with_waiting"]

_MOST_NAMES = 10_000
"""Names that are looked up at a time."""

_MOST_SHOWN = 5
"""Most messages of one line that are listed."""

_Found = dict[str, list[dict[str, Any]]]


def with_waiting(book: Ledger, result: Reconciliation) -> Reconciliation:
    """The result, each line without a job with what waits in the book under its task or key.

    Args:
        book: whose inbox and tasks.
        result: what was found.
    """
    names = {name for item in result.breaks for name in _names(item)}
    if not names:
        return result
    with book.looking() as session:
        found = _in_tasks(book, session, sorted(names))
        for record in session.inbox(book.book, discarded=False):
            for name in {record.job, record.key} & names:
                found.setdefault(name, []).append(_of_inbox(record))
    breaks = [_told(item, found) for item in result.breaks] if found else result.breaks
    return replace(result, breaks=breaks)


def _names(item: Break) -> list[str]:
    """The task and the key of a line that belongs to no job."""
    if item.kind != "missing_here" or item.scope != "usage":
        return []
    return [name for name in (item.task, item.evidence.get("key")) if name]


def _told(item: Break, found: _Found) -> Break:
    waits: list[dict[str, Any]] = []
    for name in _names(item):
        waits += [place for place in found.get(name, ()) if place not in waits]
    if not waits:
        return item
    reason = f"{waits[0]['told']}: {waits[0]['do']}; then compare again"
    shown = [{name: place[name] for name in place if name != "told"} for place in waits]
    evidence = {**item.evidence, "waits": shown[:_MOST_SHOWN]}
    return replace(item, evidence=evidence, proposal=Proposal(None, 0, reason))


def _in_tasks(book: Ledger, session: Session, names: Sequence[str]) -> _Found:
    """Tasks of these names, or of jobs of these names, that belong to no reserved job."""
    wanted, found = set(names), _Found()
    for start in range(0, len(names), _MOST_NAMES):
        some = names[start : start + _MOST_NAMES]
        tasks = task_rows(session, book.book, some, some)
        jobs = sorted({task.job for task in tasks if task.job is not None})
        reserved = {hold.job for hold in session.holds(book.book, jobs) if hold.wallet}
        for task in tasks:
            if task.job not in reserved:
                for name in {task.id, task.job} & wanted:
                    found.setdefault(str(name), []).append(_of_task(book, task))
    return found


def _of_task(book: Ledger, task: TaskRecord) -> dict[str, Any]:
    telling = book.telling
    net_e8 = telling.wanted(telling.facts(task.facts), None).net_e8
    if task.job is None:
        told = f"the book has heard of task {task.id!r}, and not which job it belongs to"
        do = f"kling-ledger holds link JOB {quote(task.id)}"
    else:
        told = f"task {task.id!r} belongs to job {task.job!r}, which nobody has reserved"
        do = _reserve(task.job, net_e8, task.first_heard_at_us)
    return {
        "in": "holds tasks --waiting",
        "task": task.id,
        "job": task.job,
        "status": task.status,
        "credits": None if net_e8 is None else show_credits(net_e8),
        "heard": iso(moment(task.last_heard_at_us)),
        "told": told,
        "do": do,
    }


def _of_inbox(record: InboxRecord) -> dict[str, Any]:
    content = json.loads(record.content)
    amount_e8, seconds = content.get("amount_e8"), content.get("seconds")
    told_us = record.recorded_at_us if record.happened_at_us is None else record.happened_at_us
    given = f"kling-ledger holds discard {record.kind} {quote(record.key)} --reason WHY"
    return {
        "in": "holds inbox",
        "kind": record.kind,
        "job": record.job,
        "key": record.key,
        "credits": None if amount_e8 is None else show_credits(amount_e8),
        "seconds": seconds,
        "heard": iso(moment(told_us)),
        "told": f"a {record.kind} of job {record.job!r} waits, which nobody has reserved",
        "do": f"{_reserve(record.job, amount_e8, told_us)}, or, if it is another job's, {given}",
    }


def _reserve(job: str, amount_e8: int | None, told_us: int) -> str:
    """The command that reserves a job on the day it was heard of, so that budgets count it then."""
    credits = "CREDITS" if not amount_e8 else show_credits(amount_e8)
    return f"kling-ledger reserve WALLET {credits} --key {quote(job)} --at {_day(told_us)}"


def _day(at_us: int) -> str:
    return moment(at_us).date().isoformat()

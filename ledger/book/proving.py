"""Checking tasks against their messages: what was kept is the truth, the rest must follow."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from ledger.book.heard import job_linked
from ledger.book.work import Telling
from ledger.errors import LedgerError
from ledger.records import MessageRecord, TaskRecord
from ledger.store import Session
from ledger.store.tasks import Told, told, untold

__all__ = ["Untrue", "untrue"]


class Untrue(NamedTuple):
    """A task or message that contradicts the messages."""

    kind: str
    row: str
    problem: str


def untrue(session: Session, book: str, telling: Telling) -> Iterator[Untrue]:
    """Everything about tasks that does not follow from what was kept of their messages."""
    for task in untold(session, book):
        yield Untrue("task", f"task {task!r}", "has messages and is missing")
    open_jobs = _OpenJobs()
    for record, rows in groupby(told(session, book), key=attrgetter("task")):
        listed = list(rows)
        sums = _Sums(telling.nothing)
        for item in listed:
            if item.message is not None and (problem := sums.add(telling, item.message)):
                yield Untrue("message", f"message about task {record.id!r}", problem)
                break
        else:
            for problem in _problems(telling, listed[0], sums):
                yield Untrue("task", f"task {record.id!r}", problem)
            open_jobs.add(telling, listed[0], sums)
    for task in open_jobs.unsettled():
        yield Untrue("task", f"task {task!r}", "is applied, and the hold of its job is still open")


class _Sums:
    """What the messages of one task say together."""

    def __init__(self, nothing: Any) -> None:
        self.facts = nothing
        self.models: set[str] = set()
        self.jobs: set[str] = set()
        self.first_us = self.last_us = 0
        self.kept = 0

    def add(self, telling: Telling, message: MessageRecord) -> str | None:
        """Add a message; gives what is wrong with it."""
        if sha256(message.body.encode()).digest() != message.digest:
            return "is not what came"
        self.first_us = (
            min(self.first_us, message.received_at_us) if self.kept else (message.received_at_us)
        )
        self.last_us = max(self.last_us, message.received_at_us)
        self.kept += 1
        if (job := job_linked(message.task, message.body)) is not None:
            self.jobs.add(job)
            return None
        try:
            heard = telling.read(message.body)
        except LedgerError as error:
            return f"cannot be read: {error}"
        if [item.task for item in heard] != [message.task]:
            return "is about another task"
        self.facts = telling.merged(self.facts, heard[0].facts)
        if heard[0].model is not None:
            self.models.add(heard[0].model)
        return None


def _problems(telling: Telling, item: Told, sums: _Sums) -> Iterator[str]:
    task = item.task
    if not sums.kept:
        yield "has no message"
        return
    if sums.jobs != ({task.job} - {None}):
        links = ", ".join(map(repr, sorted(sums.jobs))) or "no job"
        yield f"belongs to {_job(task)}; its messages give {links}"
        return
    want = telling.wanted(sums.facts, item.amount_e8 if item.wallet is not None else None)
    for what, stands, follows in (
        ("facts", task.facts, telling.text(sums.facts)),
        ("status", task.status, want.status),
        ("state", task.state, want.state),
        ("model", task.model, min(sums.models, default=None)),
        ("first_heard_at_us", task.first_heard_at_us, sums.first_us),
    ):
        if stands != follows:
            yield f"{what} is {stands}; its messages give {follows}"
    if task.last_heard_at_us < sums.last_us:
        yield f"last_heard_at_us is {task.last_heard_at_us}; its messages give {sums.last_us}"
    if task.applied and item.wallet is None:
        yield f"is applied, and nobody has reserved {_job(task)}"


def _job(task: TaskRecord) -> str:
    return "no job" if task.job is None else f"job {task.job!r}"


class _OpenJobs:
    """Jobs whose holds are open although every task of theirs has come to its end."""

    def __init__(self) -> None:
        self._final: dict[str, list[str]] = {}
        self._running: set[str] = set()

    def add(self, telling: Telling, item: Told, sums: _Sums) -> None:
        """Note a task whose hold is open."""
        if item.hold_state != "open" or item.task.job is None:
            return
        want = telling.wanted(sums.facts, item.amount_e8)
        if want.net_e8 is None or not item.task.applied:
            self._running.add(item.task.job)
        elif want.net_e8 or want.released:
            self._final.setdefault(item.task.job, []).append(item.task.id)

    def unsettled(self) -> list[str]:
        """The tasks that say otherwise."""
        return sorted(
            task for job, tasks in self._final.items() if job not in self._running for task in tasks
        )

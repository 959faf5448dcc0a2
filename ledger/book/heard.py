"""What is heard of the provider's tasks: kept word for word, joined, and linked to jobs.

A task's messages say together what is known of it. Because what they say is a join, neither their
order nor their number matters. Which job a task belongs to is said once, and kept beside them.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from hashlib import sha256
from typing import Any

from ledger.book.work import Heard, Telling, Wanted, Work, compact
from ledger.records import Entry, Hold, MessageRecord, TaskRecord
from ledger.store import tasks as stored

__all__ = ["Hearing", "Task", "job_linked"]


class Task:
    """A task with what was heard of it now."""

    __slots__ = (
        "before",
        "entries",
        "facts",
        "first_us",
        "id",
        "job",
        "known",
        "last_us",
        "linked",
        "model",
        "new",
        "notes",
        "problem",
        "row",
        "text",
        "told_us",
        "waits",
        "want",
    )

    def __init__(self, task: str, row: TaskRecord | None) -> None:
        self.id, self.row = task, row
        self.facts: Any = None
        """None until they are needed."""
        self.before: Any = None
        """The facts of the row, once they were needed."""
        self.text: str | None = None
        """The facts as JSON; None where they were not written yet."""
        self.job: str | None = None
        self.model: str | None = None
        self.first_us: int | None = None
        self.last_us = self.told_us = 0
        if row is not None:
            self.text, self.job, self.model = row.facts, row.job, row.model
            self.first_us, self.last_us = row.first_heard_at_us, row.last_heard_at_us
        self.linked = self.waits = False
        self.new = self.known = 0
        self.notes: list[str] = []
        self.problem: str | None = None
        self.want: Wanted | None = None
        self.entries: list[Entry] = []

    def said(self, telling: Telling) -> Any:
        """The facts as far as they are known."""
        if self.facts is None:
            if self.text is None:
                return telling.nothing
            self.facts = self.before = telling.facts(self.text)
        return self.facts


class Hearing:
    """The tasks that one unit of work is about, and what is heard of them."""

    def __init__(self, work: Work) -> None:
        if work.telling is None:
            raise NotImplementedError("a plain book does not know what messages about tasks mean")
        self.work, self.telling = work, work.telling
        self.tasks: dict[str, Task] = {}
        self.known: set[tuple[str, bytes]] = set()

    # Reading

    def read(self, ids: Collection[str], claimed: Collection[str]) -> None:
        """Read tasks with all others of their jobs, and lock them; then the holds."""
        work, session = self.work, self.work.session
        if not ids:
            return
        self.add(stored.task_rows(session, work.book, ids, claimed, lock=True))
        for task in ids:
            if task not in self.tasks:
                self.tasks[task] = Task(task, None)
        self.known = stored.known_messages(session, work.book, ids)
        jobs = {task.id if task.job is None else task.job for task in self.tasks.values()}
        jobs.update(claimed)
        work.preload((), sorted(jobs), {})
        if session.lock_clause:
            # Others may have linked a task to one of these jobs before its wallet was ours.
            self.add(stored.task_rows(session, work.book, (), jobs))

    def add(self, rows: Iterable[TaskRecord]) -> None:
        """Take up tasks that were read."""
        for row in rows:
            if row.id not in self.tasks:
                self.tasks[row.id] = Task(row.id, row)

    def hold(self, job: str) -> Hold | None:
        """The hold of a job, if it is reserved."""
        hold = self.work.find_hold(job)
        return None if hold is None or hold.wallet is None else hold

    # Hearing

    def hear(self, item: Heard) -> None:
        """Keep a message, unless it is known, and join what it says to the rest."""
        task, at_us = self.tasks[item.task], self.work.now_us
        if item.received_us is not None:
            at_us = max(0, min(item.received_us, at_us))
            task.told_us = max(task.told_us, at_us)
        if item.job is not None:
            # Who only says whose a task is has heard nothing of it now.
            heard_us = task.last_us if item.body is None and item.received_us is None else 0
            self.link(task, item.job, heard_us or at_us)
        if item.body is None:
            return
        if self._keep(task, item.body, at_us):
            task.new += 1
            if task.facts is None and task.text is None:
                task.facts = item.facts
            elif task.facts is not item.facts:
                task.facts = self.telling.merged(task.said(self.telling), item.facts)
            task.text = None
            if item.model is not None:
                # The same whichever comes first, should they ever differ.
                task.model = item.model if task.model is None else min(task.model, item.model)
        else:
            task.known += 1
            task.last_us = max(task.last_us, at_us)

    def _keep(self, task: Task, body: str, at_us: int) -> bool:
        digest = sha256(body.encode()).digest()
        if (task.id, digest) in self.known:
            return False
        self.known.add((task.id, digest))
        work = self.work
        work.messages.append(MessageRecord(work.book, task.id, digest, body, at_us, work.now_us))
        task.first_us = at_us if task.first_us is None else min(task.first_us, at_us)
        task.last_us = max(task.last_us, at_us)
        return True

    def link(self, task: Task, job: str, at_us: int) -> None:
        """Say which job a task belongs to; what was said first stays."""
        if task.job is None:
            task.job, task.linked = job, True
            self._keep(task, _link_text(task.id, job), at_us)
        elif task.job != job:
            task.notes.append(f"told to belong to job {job!r}; it stays with job {task.job!r}")


# Links


def job_linked(task: str, body: str) -> str | None:
    """The job that a kept message links a task to; None where it is one of the provider's."""
    if not body.startswith('{"linked":'):
        return None
    try:
        job = json.loads(body)["linked"]
        return str(job) if body == _link_text(task, job) else None
    except (ValueError, LookupError, TypeError):
        return None


def _link_text(task: str, job: str) -> str:
    # The provider's own messages name their task as `id`.
    return compact({"linked": job, "task": task})

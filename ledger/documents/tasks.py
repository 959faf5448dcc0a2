"""The JSON about the provider's tasks: what was read, what is known of them, what to ask now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import TypedDict

from ledger.documents.books import EntryDocument, entry_document
from ledger.records import moment
from ledger.units import iso, show_credits

if TYPE_CHECKING:
    from ledger.book.told import Applied
    from ledger.ingest import Ingested
    from ledger.jobs import Probe, TaskStatus
    from ledger.records import Hold, TaskRecord

__all__ = [
    "AppliedDocument",
    "IngestDocument",
    "InvalidLineDocument",
    "ProbeDocument",
    "ProbedTaskDocument",
    "SilentHoldDocument",
    "TaskDocument",
    "TasksDocument",
    "applied_document",
    "ingest_document",
    "probe_document",
    "task_document",
]


class InvalidLineDocument(TypedDict):
    """A line of a file that could not be read."""

    line: int
    problem: str


class IngestDocument(TypedDict):
    """Data of `kling-ledger/ingest/v1`: what came of a file of messages, and the tasks now."""

    book: str
    file: str
    lines: int
    messages: int
    new: int
    known: int
    charged: int
    charged_credits: str
    released: int
    released_credits: str
    refunded: int
    refunded_credits: str
    invalid: int
    invalid_lines: list[InvalidLineDocument]
    resumed_after: int
    repeated: bool
    waiting: int
    running: int
    unproven: int
    unpriced: int
    disputed: int


class TaskDocument(TypedDict):
    """A task of the provider, and what follows from its messages."""

    task: str
    job: str | None
    model: str | None
    status: str
    state: str
    net: str | None
    applied: bool
    waits: bool
    reason: str
    notes: list[str]
    first_heard_at: str
    last_heard_at: str


class TasksDocument(TypedDict):
    """Data of `kling-ledger/tasks/v1`."""

    book: str
    tasks: list[TaskDocument]


class ProbedTaskDocument(TypedDict):
    """A task to ask the provider about."""

    task: str
    job: str | None
    status: str
    state: str
    first_heard_at: str
    last_heard_at: str
    age_seconds: int


class SilentHoldDocument(TypedDict):
    """A hold past its deadline of which no task is known."""

    job: str
    wallet: str
    held: str
    deadline: str
    overdue_seconds: int


class ProbeDocument(TypedDict):
    """Data of `kling-ledger/probe-list/v1`; `task_ids` is what the provider's batch query takes."""

    book: str
    at: str
    task_ids: list[str]
    tasks: list[ProbedTaskDocument]
    silent: list[SilentHoldDocument]
    more: bool


class AppliedDocument(TypedDict):
    """Data of `kling-ledger/applied/v1`: what became of a task."""

    book: str
    task: str
    job: str | None
    status: str
    state: str
    net: str | None
    applied: bool
    waits: bool
    reason: str
    notes: list[str]
    entries: list[EntryDocument]


def ingest_document(book: str, found: Ingested) -> IngestDocument:
    """What came of a file as JSON."""
    return {
        "book": book,
        "file": found.name,
        "lines": found.lines,
        "messages": found.messages,
        "new": found.new,
        "known": found.known,
        "charged": found.charged,
        "charged_credits": show_credits(found.charged_e8),
        "released": found.released,
        "released_credits": show_credits(found.released_e8),
        "refunded": found.refunded,
        "refunded_credits": show_credits(found.refunded_e8),
        "invalid": found.invalid,
        "invalid_lines": [
            {"line": item.line, "problem": item.problem} for item in found.invalid_lines
        ],
        "resumed_after": found.resumed_after,
        "repeated": found.repeated,
        "waiting": found.waiting,
        "running": found.running,
        "unproven": found.unproven,
        "unpriced": found.unpriced,
        "disputed": found.disputed,
    }


def task_document(found: TaskStatus) -> TaskDocument:
    """A task as JSON."""
    task = found.task
    return {
        "task": task.id,
        "job": task.job,
        "model": task.model,
        "status": task.status,
        "state": task.state,
        "net": _credits_or_none(found.net_e8),
        "applied": bool(task.applied),
        "waits": found.waits,
        "reason": found.reason,
        "notes": list(found.notes),
        "first_heard_at": iso(task.first_heard_at),
        "last_heard_at": iso(task.last_heard_at),
    }


def probe_document(book: str, found: Probe, now_us: int) -> ProbeDocument:
    """What to ask the provider as JSON."""
    return {
        "book": book,
        "at": iso(moment(now_us).replace(microsecond=0)),
        "task_ids": [task.id for task in found.tasks],
        "tasks": [_probed(task, now_us) for task in found.tasks],
        "silent": [_silent(hold, now_us) for hold in found.silent],
        "more": found.more,
    }


def _probed(task: TaskRecord, now_us: int) -> ProbedTaskDocument:
    return {
        "task": task.id,
        "job": task.job,
        "status": task.status,
        "state": task.state,
        "first_heard_at": iso(task.first_heard_at),
        "last_heard_at": iso(task.last_heard_at),
        "age_seconds": max(0, now_us - task.first_heard_at_us) // 1_000_000,
    }


def _silent(hold: Hold, now_us: int) -> SilentHoldDocument:
    return {
        "job": hold.job,
        "wallet": str(hold.wallet),
        "held": show_credits(hold.held_e8),
        "deadline": iso(hold.deadline),
        "overdue_seconds": max(0, now_us - hold.deadline_us) // 1_000_000,
    }


def applied_document(book: str, found: Applied) -> AppliedDocument:
    """What became of a task as JSON."""
    return {
        "book": book,
        "task": found.task,
        "job": found.job,
        "status": found.status,
        "state": found.state,
        "net": _credits_or_none(found.net_e8),
        "applied": found.applied,
        "waits": found.waits,
        "reason": found.reason,
        "notes": list(found.notes),
        "entries": [entry_document(item) for item in found.entries],
    }


def _credits_or_none(amount_e8: int | None) -> str | None:
    return None if amount_e8 is None else show_credits(amount_e8)

"""The provider's tasks and messages: what is read of them, and what a unit of work writes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from ledger.records import Hold, ImportRecord, MessageRecord, TaskRecord
from ledger.store.session import Session, columns

__all__ = [
    "Told",
    "known_messages",
    "overdue_without_task",
    "read_import",
    "states",
    "task_rows",
    "tasks_in",
    "tasks_of",
    "told",
    "untold",
    "waiting_with_hold",
]


def task_rows(
    session: Session,
    book: str,
    ids: Collection[str],
    jobs: Collection[str],
    *,
    lock: bool = False,
) -> list[TaskRecord]:
    """Tasks by their names and those of jobs, with all others of the same jobs, by name.

    Locked in that order where asked, so that no two transactions wait for each other.
    """
    named, named_parameter = session.one_of("id", ids)
    of_job, job_parameter = session.one_of("job", jobs)
    parts = []
    parameters: list[Any] = [book]
    if ids:
        parts.append(f"SELECT id FROM tasks WHERE book = ? AND {named}")
        parts.append(
            "SELECT s.id FROM tasks AS t JOIN tasks AS s ON s.book = t.book AND s.job = t.job"
            f" WHERE t.book = ? AND t.{named}"
        )
        parameters += [book, named_parameter] * 2
    if jobs:
        parts.append(f"SELECT id FROM tasks WHERE book = ? AND {of_job}")
        parameters += [book, job_parameter]
    if not parts:
        return []
    statement = f"{_TASKS} AND id IN ({' UNION '.join(parts)}) ORDER BY id"
    found = session.rows(statement + (session.lock_clause if lock else ""), parameters)
    return [TaskRecord(*row) for row in found]


def known_messages(session: Session, book: str, ids: Collection[str]) -> set[tuple[str, bytes]]:
    """The messages that are kept about tasks: task and digest of the body."""
    condition, parameter = session.one_of("task", ids)
    statement = f"SELECT task, digest FROM messages WHERE book = ? AND {condition}"
    return {(row[0], row[1]) for row in session.rows(statement, (book, parameter))}


def waiting_with_hold(session: Session, book: str, *, after: str, limit: int) -> list[str]:
    """Tasks that are not applied although their job is reserved, by name."""
    statement = (
        f"SELECT t.id FROM tasks AS t{session.by_index('tasks_waiting')} JOIN holds AS h"
        " ON h.book = t.book AND h.job = coalesce(t.job, t.id)"
        " WHERE t.book = ? AND t.applied = 0 AND t.id > ? AND h.state <> 'awaited'"
        " ORDER BY t.id LIMIT ?"
    )
    return [row[0] for row in session.rows(statement, (book, after, limit))]


def tasks_in(
    session: Session,
    book: str,
    *,
    states: Collection[str] = (),
    unlinked: bool = False,
    waiting: bool = False,
    quiet_since_us: int | None = None,
    limit: int,
) -> list[TaskRecord]:
    """Tasks in some states, or all; those first heard of first."""
    statement, parameters = _TASKS, [book, *sorted(states)]
    if states:
        # The first half is what the index of unsettled tasks is about.
        unsettled = "" if "settled" in states else " AND state <> 'settled'"
        marks = ", ".join("?" * len(states))
        statement += f"{unsettled} AND state IN ({marks})"
    if unlinked:
        statement += " AND job IS NULL"
    if waiting:
        statement += " AND applied = 0"
    given: list[Any] = [*parameters]
    if quiet_since_us is not None:
        statement += " AND last_heard_at_us <= ?"
        given.append(quiet_since_us)
    statement += " ORDER BY first_heard_at_us, id LIMIT ?"
    return [TaskRecord(*row) for row in session.rows(statement, (*given, limit))]


def tasks_of(
    session: Session, book: str, jobs: Collection[str], *, before_us: int
) -> dict[str, str]:
    """The task of each of some jobs; of several, the last that has not failed.

    Only those that were heard of before a moment.
    """
    condition, parameter = session.one_of("job", jobs)
    rows = session.rows(
        f"SELECT job, id, status FROM tasks WHERE book = ? AND {condition}"
        " AND first_heard_at_us < ?",
        (book, parameter, before_us),
    )
    found: dict[str, tuple[bool, str]] = {}
    for job, task, status in rows:
        mine = (status not in {"failed", "cancelled"}, task)
        found[job] = max(mine, found.get(job, mine))
    return {job: task for job, (_, task) in found.items()}


def overdue_without_task(session: Session, book: str, now_us: int, *, limit: int) -> list[Hold]:
    """Open holds past their deadline of which no task is known, earliest deadline first."""
    statement = (
        f"SELECT {columns('holds', 'h.')} FROM holds AS h{session.by_index('holds_open')}"
        " WHERE h.book = ? AND h.state = 'open' AND h.deadline_us <= ?"
        " AND NOT EXISTS (SELECT 1 FROM tasks AS t WHERE t.book = h.book AND t.job = h.job)"
        " AND NOT EXISTS (SELECT 1 FROM tasks AS t WHERE t.book = h.book AND t.id = h.job)"
        " ORDER BY h.deadline_us, h.job LIMIT ?"
    )
    return [Hold(*row) for row in session.rows(statement, (book, now_us, limit))]


def states(session: Session, book: str) -> dict[tuple[str, bool], int]:
    """How many tasks are unsettled or not applied: (state, whether applied) → number."""
    statement = (
        f"SELECT state, applied, count(*) FROM tasks{session.by_index('tasks_unsettled')}"
        " WHERE book = ? AND state <> 'settled' GROUP BY state, applied UNION ALL"
        f" SELECT state, applied, count(*) FROM tasks{session.by_index('tasks_waiting')}"
        " WHERE book = ? AND applied = 0"
        " AND state = 'settled' GROUP BY state, applied"
    )
    return {(row[0], bool(row[1])): row[2] for row in session.rows(statement, (book, book))}


def read_import(session: Session, book: str, kind: str, digest: bytes) -> ImportRecord | None:
    """How far a file was read, if it ever was."""
    statement = f"SELECT {columns('imports')} FROM imports WHERE book = ? AND kind = ?"
    found = session.row(f"{statement} AND digest = ?", (book, kind, digest))
    return None if found is None else ImportRecord(*found)


class Told(NamedTuple):
    """A task as it stands, with its messages and the hold of its job: for a verification."""

    task: TaskRecord
    message: MessageRecord | None
    wallet: str | None
    """The wallet of the hold; None where the job is not reserved."""
    hold_state: str | None
    amount_e8: int | None


def told(session: Session, book: str) -> Iterator[Told]:
    """Every task with each of its messages, by task."""
    width = len(TaskRecord._fields)
    until = width + len(MessageRecord._fields)
    statement = (
        f"SELECT {columns('tasks', 't.')}, {columns('messages', 'm.')},"
        " h.wallet, h.state, h.amount_e8 FROM tasks AS t"
        " LEFT JOIN messages AS m ON m.book = t.book AND m.task = t.id"
        " LEFT JOIN holds AS h ON h.book = t.book AND h.job = t.job"
        " WHERE t.book = ? ORDER BY t.id, m.digest"
    )
    for row in session.stream(statement, (book,)):
        message = None if row[width] is None else MessageRecord(*row[width:until])
        yield Told(TaskRecord._make(row[:width]), message, *row[until:])


def untold(session: Session, book: str) -> list[str]:
    """Tasks that have messages and no row of their own."""
    statement = (
        "SELECT DISTINCT m.task FROM messages AS m WHERE m.book = ? AND NOT EXISTS"
        " (SELECT 1 FROM tasks AS t WHERE t.book = m.book AND t.id = m.task) ORDER BY m.task"
    )
    return [row[0] for row in session.rows(statement, (book,))]


_TASKS: str = f"SELECT {columns('tasks')} FROM tasks WHERE book = ?"

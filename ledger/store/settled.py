"""What jobs of a book have cost in a stretch of time: read in bulk, to be held against a bill."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from ledger.records import Hold
from ledger.store.session import Session, columns

__all__ = [
    "HOLD_COLUMNS",
    "SETTLED_COLUMNS",
    "TASK_COLUMNS",
    "capped_holds",
    "holds_named",
    "open_holds",
    "settled",
    "tasks_named",
    "tasks_since",
    "top_ups",
]

HOLD_COLUMNS = (
    "job",
    "wallet",
    "state",
    "amount_e8",
    "reserved_at_us",
    "deadline_us",
    "terms",
    "last_seq",
)
"""Columns of a hold that a comparison reads."""

SETTLED_COLUMNS = ("kind", "amount_e8", "happened_at_us", "late", "facts")
"""Columns of a charge or refund that a comparison reads, before those of its hold.

The amount of a charge is what was asked for: also what the hold's policy did not take. That of a
refund is what the wallet got; see `ledger.reconcile.untaken`.
"""

TASK_COLUMNS = ("task", "task_job", "task_status")


def settled(session: Session, book: str, *, since_us: int, until_us: int) -> Iterator[Any]:
    """Charges and refunds from one moment up to another, with the holds of their jobs.

    Corrections of a closed period count whenever they were written: they name their own moment.
    """
    session.scans()
    for record in session.wallet_records(book):
        # Nothing is recorded before it happened, so that what was recorded before is no part of it.
        place, _, _ = session.recorded_before(record, since_us)
        values = (book, record.id, place, since_us, until_us, _CORRECTS)
        yield from session.stream(_SETTLED, values)


def open_holds(session: Session, book: str, *, before_us: int) -> Iterator[Any]:
    """Holds that are open and were made before a moment."""
    statement = f"{_HOLDS} AND state = 'open' AND reserved_at_us < ?"
    return session.stream(statement, (book, before_us))


def holds_named(session: Session, book: str, jobs: Collection[str]) -> list[Any]:
    """The holds of some jobs, with what was charged and refunded for them and the last entry.

    Charged is what was asked for, also what the hold's policy did not take.
    """
    condition, parameter = session.one_of("h.job", jobs)
    return session.rows(f"{_NAMED} AND {condition}", (book, parameter))


def capped_holds(session: Session, book: str, jobs: Collection[str]) -> list[Hold]:
    """Those holds of some jobs whose policy may take less than what is charged."""
    condition, parameter = session.one_of("job", jobs)
    rows = session.rows(f"{_CAPPED} AND {condition}", (book, parameter))
    return [Hold(*row) for row in rows]


def tasks_since(session: Session, book: str, since_us: int) -> Iterator[Any]:
    """Tasks with a job that were heard of from a moment on."""
    return session.stream(f"{_TASKS} AND last_heard_at_us >= ?", (book, since_us))


def tasks_named(session: Session, book: str, tasks: Collection[str]) -> list[Any]:
    """Some tasks with a job."""
    condition, parameter = session.one_of("id", tasks)
    return session.rows(f"{_TASKS} AND {condition}", (book, parameter))


def top_ups(session: Session, book: str, *, since_us: int, until_us: int) -> list[Any]:
    """Credits that were bought in a stretch of time: wallet, key, credits, cash, currency, when."""
    return session.rows(_TOP_UPS, (book, since_us, until_us))


_CORRECTS = '%"corrects":%'
_HOLD = ", ".join(f"h.{name}" for name in HOLD_COLUMNS)
_SETTLED = (
    "SELECT e.kind, abs(e.posted_e8) + e.uncollected_e8, e.happened_at_us, e.late, e.facts,"
    f" {_HOLD}"
    " FROM entries AS e JOIN holds AS h ON h.book = e.book AND h.job = e.job"
    " WHERE e.book = ? AND e.wallet = ? AND e.seq > ? AND e.kind IN ('charge', 'refund')"
    " AND e.happened_at_us >= ?"
    " AND (e.happened_at_us < ? OR e.facts LIKE ?)"
)
_HOLDS = f"SELECT {', '.join(HOLD_COLUMNS)} FROM holds WHERE book = ?"
_CAPPED = (
    f"SELECT {columns('holds')} FROM holds WHERE book = ? AND (policy = 'cap' OR policy = 'draw')"
)
_UNTAKEN = (
    "(SELECT sum(u.uncollected_e8) FROM entries AS u WHERE u.book = h.book AND u.wallet = h.wallet"
    " AND u.seq > h.seq AND u.seq <= h.last_seq AND u.job = h.job)"
)
_ASKED = (
    "h.charged_e8 + CASE WHEN h.policy = 'cap' OR h.policy = 'draw'"
    f" THEN CAST(coalesce({_UNTAKEN}, 0) AS BIGINT) ELSE 0 END"
)
_NAMED = (
    f"SELECT {_HOLD}, {_ASKED}, h.refunded_e8, e.happened_at_us"
    " FROM holds AS h JOIN entries AS e"
    " ON e.book = h.book AND e.wallet = h.wallet AND e.seq = h.last_seq"
    " WHERE h.book = ? AND h.state <> 'awaited'"
)
_TASKS = "SELECT id, job, status FROM tasks WHERE book = ? AND job IS NOT NULL"
_TOP_UPS = (
    "SELECT e.wallet, e.key, e.posted_e8, l.cash_e8, l.currency, e.happened_at_us"
    " FROM entries AS e JOIN lots AS l"
    " ON l.book = e.book AND l.wallet = e.wallet AND l.seq = e.seq"
    " WHERE e.book = ? AND e.kind = 'top_up' AND l.origin = 'paid'"
    " AND e.happened_at_us >= ? AND e.happened_at_us < ? ORDER BY e.wallet, e.seq"
)

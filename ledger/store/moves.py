"""Entries with the holds of their jobs, read in bulk for reports."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, NamedTuple

from ledger.records import By, Entry
from ledger.store.session import Session, columns, marks

__all__ = [
    "ENTRY_FIELDS",
    "HOLD_FIELDS",
    "Reach",
    "entries_at",
    "holds_of",
    "job_count",
    "job_moves",
    "messages_before",
    "moves",
    "tasks_heard_since",
    "tasks_of_jobs",
]

ENTRY_FIELDS = (
    "wallet",
    "seq",
    "kind",
    "key",
    "job",
    "contra",
    "posted_e8",
    "held_e8",
    "over_e8",
    "uncollected_e8",
    "late",
    "facts",
    "happened_at_us",
    "recorded_at_us",
)
"""Columns of an entry that can be asked for."""

HOLD_FIELDS = ("labels", "terms", "policy", "amount_e8", "reserved_at_us", "deadline_us")
"""Columns of its job's hold that can be asked for; NULL where it has none."""


class Reach(NamedTuple):
    """Which entries of a book count."""

    since_us: int
    """First moment inside."""
    until_us: int
    """First moment outside."""
    by: By
    """Which of the two times of an entry lies inside."""
    before_us: int
    """Only what was recorded before this moment is known."""
    wallet: str | None = None
    """Only of this wallet."""


def moves(
    session: Session,
    book: str,
    reach: Reach,
    *,
    kinds: Collection[str],
    fields: Sequence[str],
) -> Iterator[Any]:
    """Entries of some kinds in a reach, by wallet and place: the fields asked for."""
    session.scans()
    some = ", ".join(f"'{kind}'" for kind in sorted(kinds))
    statement = (
        f"SELECT {', '.join(fields)} FROM entries WHERE book = ? AND wallet = ?"
        f" AND seq > ? AND kind IN ({some}) AND {reach.by}_at_us >= ?"
        f" AND {reach.by}_at_us < ? AND recorded_at_us < ? ORDER BY seq"
    )
    for record in session.wallet_records(book):
        if reach.wallet is None or record.id == reach.wallet:
            # Nothing is recorded before it happened: what was recorded before is no part of it.
            place, _, _ = session.recorded_before(record, reach.since_us)
            given = (book, record.id, place, reach.since_us, reach.until_us, reach.before_us)
            yield from session.stream(statement, given)


def holds_of(
    session: Session, book: str, jobs: Collection[str] | None, *, fields: Sequence[str]
) -> Iterator[Any]:
    """The job and some fields of the holds of some jobs; of all, if None."""
    session.scans()
    statement = f"SELECT {', '.join(('job', *fields))} FROM holds WHERE book = ?"
    if jobs is None:
        yield from session.stream(statement, (book,))
        return
    left = iter(jobs)
    while some := list(islice(left, _MOST_NAMES)):
        condition, parameter = session.one_of("job", some)
        yield from session.rows(f"{statement} AND {condition}", (book, parameter))


def entries_at(session: Session, book: str, places: Iterable[tuple[str, int]]) -> Iterator[Entry]:
    """The entries at some places of wallets, in the order of wallets and places."""
    for wallet, those in groupby(places, key=itemgetter(0)):
        left = (seq for _, seq in those)
        while some := list(islice(left, _MOST_PLACES)):
            statement = (
                f"SELECT {columns('entries')} FROM entries WHERE book = ? AND wallet = ?"
                f" AND seq IN ({marks(len(some))}) ORDER BY seq"
            )
            for row in session.rows(statement, (book, wallet, *some)):
                yield Entry(*row)


def job_count(session: Session, book: str) -> int:
    """How many jobs a book has at most: each has an entry that reserved it."""
    return sum(record.seq for record in session.wallet_records(book))


_MOST_NAMES = 10_000
"""Names that are looked up at a time."""

_MOST_PLACES = 500
"""Places that are looked up at a time."""


def job_moves(session: Session, book: str, reach: Reach, *, fields: Sequence[str]) -> Iterator[Any]:
    """Every known entry of the jobs that were reserved in a reach, by wallet and place."""
    session.scans()
    wanted = ", ".join(f"e.{field}" for field in fields)
    made, reserve = "h.reserved_at_us", ""
    if reach.by == "recorded":
        made = "r.recorded_at_us"
        reserve = " JOIN entries AS r ON r.book = h.book AND r.wallet = h.wallet AND r.seq = h.seq"
    statement = (
        f"SELECT {wanted} FROM entries AS e JOIN holds AS h ON h.book = e.book AND h.job = e.job"
        f"{reserve} WHERE e.book = ? AND e.wallet = ? AND e.seq > ? AND e.recorded_at_us < ?"
        f" AND h.wallet = e.wallet AND {made} >= ? AND {made} < ?"
        " ORDER BY e.seq"
    )
    for record in session.wallet_records(book):
        if reach.wallet is None or record.id == reach.wallet:
            place, _, _ = session.recorded_before(record, reach.since_us)
            given = (book, record.id, place, reach.before_us, reach.since_us, reach.until_us)
            yield from session.stream(statement, given)


def tasks_of_jobs(session: Session, book: str) -> Iterator[Any]:
    """Every task that belongs to a job: its name, the job, status, state, facts."""
    session.scans()
    statement = "SELECT id, job, status, state, facts FROM tasks WHERE book = ? AND job IS NOT NULL"
    return session.stream(statement, (book,))


def tasks_heard_since(session: Session, book: str, since_us: int) -> list[str]:
    """The tasks that a message about was kept from a moment on."""
    statement = "SELECT DISTINCT task FROM messages WHERE book = ? AND recorded_at_us >= ?"
    return [row[0] for row in session.rows(statement, (book, since_us))]


def messages_before(
    session: Session, book: str, tasks: Iterable[str], before_us: int
) -> Iterator[Any]:
    """The messages about some tasks that were kept before a moment, by task: task and body."""
    left = iter(sorted(tasks))
    while some := list(islice(left, _MOST_NAMES)):
        condition, parameter = session.one_of("task", some)
        statement = (
            f"SELECT task, body FROM messages WHERE book = ? AND {condition}"
            " AND recorded_at_us < ? ORDER BY task, digest"
        )
        yield from session.rows(statement, (book, parameter, before_us))

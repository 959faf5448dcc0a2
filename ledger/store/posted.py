"""What moved the credits of a wallet, with the holds of the jobs it was for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ledger.store.session import Session

__all__ = ["all_tasks", "last_task_us", "posted", "purchases", "refunded_jobs"]


def posted(session: Session, book: str, wallet: str, before_us: int) -> Iterator[Any]:
    """Entries of a wallet that were recorded before a moment, in order, without those of holds.

    Gives seq, kind, key, job, posted_e8, uncollected_e8, lots, facts, happened_at_us,
    recorded_at_us, and the labels and terms of the job's hold.
    """
    return session.stream(
        "SELECT e.seq, e.kind, e.key, e.job, e.posted_e8, e.uncollected_e8, e.lots, e.facts,"
        " e.happened_at_us, e.recorded_at_us, h.labels, h.terms"
        # LEFT, so that no plan looks for the entries of each hold.
        " FROM entries AS e LEFT JOIN holds AS h ON h.book = e.book AND h.job = e.job"
        " WHERE e.book = ? AND e.wallet = ? AND e.recorded_at_us < ? AND e.kind IN"
        " ('open', 'top_up', 'charge', 'refund', 'adjust', 'lapse', 'close', 'reopen')"
        " ORDER BY e.seq",
        (book, wallet, before_us),
    )


def purchases(session: Session, book: str) -> Iterator[Any]:
    """Every top-up of a book: wallet, seq, moment of recording, facts."""
    return session.stream(
        f"SELECT wallet, seq, recorded_at_us, facts{_OF_KIND} = 'top_up' ORDER BY wallet, seq",
        (book,),
    )


def refunded_jobs(session: Session, book: str) -> Iterator[str]:
    """The jobs that anything was given back of."""
    for (job,) in session.stream(f"SELECT DISTINCT job{_OF_KIND} = 'refund'", (book,)):
        yield job


# The index of the callers' keys has these kinds together, and it holds no reserve.
_OF_KIND = " FROM entries WHERE book = ? AND kind <> 'reserve' AND kind"


def all_tasks(session: Session, book: str, before_us: int) -> Iterator[Any]:
    """The tasks of a book that were heard of before a moment: name, job."""
    return session.stream(
        "SELECT id, job FROM tasks WHERE book = ? AND job IS NOT NULL AND first_heard_at_us < ?"
        " ORDER BY id",
        (book, before_us),
    )


def last_task_us(session: Session, book: str) -> int | None:
    """When the task of a job was last heard of for the first time; None if there is none."""
    rows: list[tuple[int | None]] = session.rows(
        "SELECT max(first_heard_at_us) FROM tasks WHERE book = ? AND job IS NOT NULL", (book,)
    )
    return rows[0][0]

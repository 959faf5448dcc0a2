"""What a verification reads: bare rows, and comparisons that the database makes by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ledger.budgets import Budget, Level
from ledger.records import Hold, InboxRecord
from ledger.store.session import Session, columns

__all__ = [
    "all_levels",
    "budget_rows",
    "budgets_with_windows",
    "entry_rows",
    "expecting",
    "holds_with_reserve",
    "inbox_rows",
    "jobs_without_hold",
    "lost_wallets",
    "lots_of_jobs",
    "unlike_holds",
]

Figures = tuple[str | int, ...]


def entry_rows(session: Session, book: str, wallet: str) -> Iterator[tuple[Any, ...]]:
    """The entries of a wallet in order, a part at a time."""
    statement = f"SELECT {columns('entries')} FROM entries WHERE book = ? AND wallet = ?"
    return session.stream(f"{statement} ORDER BY seq", (book, wallet))


def unlike_holds(
    session: Session, book: str, wallet: str
) -> Iterator[tuple[str, Figures, Figures]]:
    """Holds whose figures are not the sums of their entries: job, figures, sums.

    Figures are: state, amount, held, charged, refunded, first and last entry.
    """
    parameters = (_NOT_FINAL, book, wallet, book, wallet)
    for row in session.stream(_UNLIKE_HOLDS, parameters):
        yield row[0], tuple(row[1:8]), tuple(row[8:15])


def jobs_without_hold(session: Session, book: str, wallet: str) -> list[str]:
    """Jobs that have entries in a wallet and no hold there."""
    found = session.rows(
        "SELECT DISTINCT job FROM entries AS e WHERE book = ? AND wallet = ?"
        " AND job IS NOT NULL AND NOT EXISTS (SELECT 1 FROM holds AS h"
        " WHERE h.book = e.book AND h.job = e.job AND h.wallet = e.wallet) ORDER BY job",
        (book, wallet),
    )
    return [row[0] for row in found]


def holds_with_reserve(
    session: Session, book: str, wallet: str
) -> Iterator[tuple[Hold, tuple[Any, ...]]]:
    """The holds of a wallet, each with its reserve: kind, key, held, facts, moment, digest."""
    width = len(Hold._fields)
    statement = (
        f"SELECT {columns('holds', 'h.')}, e.kind, e.key, e.held_e8, e.facts,"
        " e.happened_at_us, e.digest FROM holds AS h JOIN entries AS e"
        " ON e.book = h.book AND e.wallet = h.wallet AND e.seq = h.seq"
        " WHERE h.book = ? AND h.wallet = ?"
    )
    for row in session.stream(statement, (book, wallet)):
        yield Hold._make(row[:width]), tuple(row[width:])


def budget_rows(session: Session, book: str, wallet: str) -> list[Budget]:
    """Every budget of a wallet as it ever was."""
    statement = f"SELECT {columns('budgets')} FROM budgets WHERE book = ? AND wallet = ?"
    return [Budget(*row) for row in session.rows(statement, (book, wallet))]


def lost_wallets(session: Session, book: str) -> list[str]:
    """Wallets that have entries and no row of their own."""
    found = session.rows(
        "SELECT DISTINCT wallet FROM entries AS e WHERE book = ? AND NOT EXISTS"
        " (SELECT 1 FROM wallets AS w WHERE w.book = e.book AND w.id = e.wallet) ORDER BY wallet",
        (book,),
    )
    return [row[0] for row in found]


def lots_of_jobs(session: Session, book: str, wallet: str) -> Iterator[tuple[Any, ...]]:
    """Charges and refunds by job: job, the lots its hold names, kind, the lots of the entry."""
    return session.stream(
        # LEFT, so that no plan scans the entries once for each hold.
        "SELECT e.job, h.lots, e.kind, e.lots FROM entries AS e"
        " LEFT JOIN holds AS h ON h.book = e.book AND h.job = e.job"
        " WHERE e.book = ? AND e.wallet = ? AND e.kind IN ('charge', 'refund')"
        " ORDER BY e.job, e.seq",
        (book, wallet),
    )


def budgets_with_windows(session: Session, book: str, wallet: str) -> list[str]:
    """The budgets that have windows in a wallet."""
    statement = "SELECT DISTINCT budget FROM windows WHERE book = ? AND wallet = ? ORDER BY budget"
    return [row[0] for row in session.rows(statement, (book, wallet))]


def all_levels(
    session: Session, book: str, wallet: str, budget: str
) -> dict[tuple[str, int], tuple[int, Level]]:
    """How full every window of a budget is: (share, start) → (end, level)."""
    found = session.rows(
        "SELECT share, start_us, end_us, held_e8, used_e8, peak_e8 FROM windows"
        " WHERE book = ? AND wallet = ? AND budget = ?",
        (book, wallet, budget),
    )
    return {(row[0], row[1]): (row[2], Level(*row[3:])) for row in found}


def inbox_rows(
    session: Session, book: str
) -> Iterator[tuple[InboxRecord, bytes | None, int | None]]:
    """Every message, with the digest of its entry and whether its job's hold knows of it."""
    width = len(InboxRecord._fields)
    statement = (
        f"SELECT {columns('inbox', 'i.')}, e.digest, h.parked FROM inbox AS i"
        " LEFT JOIN entries AS e ON e.book = i.book AND e.kind = i.kind AND e.key = i.key"
        " AND e.kind <> 'reserve'"
        " LEFT JOIN holds AS h ON h.book = i.book AND h.job = i.job"
        " WHERE i.book = ?"
    )
    for row in session.stream(statement, (book,)):
        yield InboxRecord._make(row[:width]), row[width], row[width + 1]


def expecting(session: Session, book: str) -> list[str]:
    """Jobs whose holds say that a message waits for them."""
    statement = "SELECT job FROM holds WHERE book = ? AND parked = 1 ORDER BY job"
    return [row[0] for row in session.rows(statement, (book,))]


_NOT_FINAL = '%"final":false%'
"""What the facts of a charge contain that leaves its hold open."""

_UNLIKE_HOLDS = """
    WITH sums AS (
      SELECT job,
        CASE
          WHEN sum(CASE WHEN kind = 'charge' AND (facts IS NULL OR facts NOT LIKE ?)
            THEN 1 ELSE 0 END) > 0 THEN 'charged'
          WHEN min(CASE WHEN kind = 'charge' THEN seq END)
            < max(CASE WHEN kind = 'release' THEN seq END) THEN 'charged'
          WHEN max(CASE WHEN kind = 'release' THEN seq END) > 0 THEN 'released'
          ELSE 'open' END AS state,
        sum(CASE WHEN held_e8 > 0 THEN held_e8 ELSE 0 END) AS amount_e8,
        sum(held_e8) AS held_e8,
        sum(CASE WHEN kind = 'charge' THEN -posted_e8 ELSE 0 END) AS charged_e8,
        sum(CASE WHEN kind = 'refund' THEN posted_e8 ELSE 0 END) AS refunded_e8,
        min(seq) AS seq, max(seq) AS last_seq
      FROM entries WHERE book = ? AND wallet = ? AND job IS NOT NULL GROUP BY job
    ), compared AS (
      SELECT h.job,
        h.state, h.amount_e8, h.held_e8,
        h.charged_e8, h.refunded_e8, h.seq, h.last_seq,
        coalesce(s.state, 'open') AS sum_state,
        coalesce(s.amount_e8, 0) AS sum_amount, coalesce(s.held_e8, 0) AS sum_held,
        coalesce(s.charged_e8, 0) AS sum_charged, coalesce(s.refunded_e8, 0) AS sum_refunded,
        coalesce(s.seq, 0) AS first, coalesce(s.last_seq, 0) AS last
      FROM holds AS h LEFT JOIN sums AS s ON s.job = h.job
      WHERE h.book = ? AND h.wallet = ?
    )
    SELECT * FROM compared WHERE state <> sum_state OR amount_e8 <> sum_amount
      OR held_e8 <> sum_held OR charged_e8 <> sum_charged OR refunded_e8 <> sum_refunded
      OR seq <> first OR last_seq <> last
    ORDER BY seq
"""

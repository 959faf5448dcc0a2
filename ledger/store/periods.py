"""What closing a period asks: the periods of a book, and whether a bill agrees with one."""

from __future__ import annotations

from typing import NamedTuple

from ledger.records import Period
from ledger.store.session import Session, columns

__all__ = [
    "OpenDifferences",
    "all_periods",
    "changed_since_compared",
    "closed_until_us",
    "covering",
    "open_differences",
    "unseen",
]


class OpenDifferences(NamedTuple):
    """Breaks that nobody has settled."""

    breaks: int
    sum_e8: int
    """Theirs less ours, all together."""


def all_periods(session: Session, book: str) -> list[Period]:
    """Every closing and reopening of a book, in order."""
    return [Period(*row) for row in session.rows(_PERIODS, (book,))]


def closed_until_us(session: Session, book: str) -> int | None:
    """Up to when a book is closed, as its wallets say; nobody closes or reopens it meanwhile.

    What is locked is the entry that opened a wallet: no verb but a closing ever locks that, so an
    opening waits for nobody else.
    """
    first = session.row(_FIRST + session.share_clause, (book,))
    found = None if first is None else session.row(_CLOSED_UNTIL, (book, *first))
    closed_us: int | None = None if found is None else found[0]
    return closed_us


def covering(session: Session, book: str, start_us: int, end_us: int) -> int | None:
    """The latest of the comparisons that together cover a period, or None where some is left out.

    One that covers all of it alone counts before several that do so together.
    """
    found: list[tuple[int, int, int]] = session.rows(_COMPARED, (book, start_us, end_us))
    alone = [seq for seq, since_us, until_us in found if since_us <= start_us <= end_us <= until_us]
    if alone:
        return max(alone)
    reached_us, latest = start_us, 0
    for seq, since_us, until_us in found:
        if since_us > reached_us:
            return None
        if until_us > reached_us:
            reached_us, latest = until_us, max(seq, latest)
        if reached_us >= end_us:
            return latest
    return None


def changed_since_compared(
    session: Session, book: str, start_us: int, end_us: int, *, job: str | None = None
) -> int:
    """How many charges and refunds of a period, or of a job in it, no comparison has seen."""
    found = unseen(session, book, start_us, end_us)
    return sum(job is None or of == job for of in found.values())


def unseen(session: Session, book: str, start_us: int, end_us: int) -> dict[str, str]:
    """Charges and refunds of a period that no comparison of it has seen, as kind:key → job.

    Those that corrected a break count as seen; nothing changes in a closed period. Empty where
    nothing was compared.
    """
    compared = session.rows(_RECORDED, (book, end_us, start_us))
    if not compared:
        return {}
    whole = [
        at for at, since_us, until_us in compared if since_us <= start_us <= end_us <= until_us
    ]
    seen_us = max(whole) if whole else min(at for at, _, _ in compared)
    found: dict[str, str] = {}
    for record in session.wallet_records(book):
        if record.recorded_at_us <= seen_us or (record.closed_until_us or 0) >= end_us:
            continue
        place, _, _ = session.recorded_before(record, seen_us + 1)
        rows = session.rows(_UNSEEN, (book, record.id, place, start_us, end_us))
        found |= {f"{kind}:{key}": job for kind, key, job in rows}
    corrected = {row[0] for row in session.rows(_CORRECTED, (book,))} if found else set()
    return {name: job for name, job in found.items() if name not in corrected}


def open_differences(session: Session, book: str, until_us: int) -> OpenDifferences:
    """The open breaks about what happened before a moment."""
    found = [row[0] for row in session.rows(_OPEN, (book, until_us))]
    return OpenDifferences(len(found), sum(found))


_PERIODS = f"SELECT {columns('periods')} FROM periods WHERE book = ? ORDER BY seq"
_FIRST = "SELECT wallet FROM entries WHERE book = ? ORDER BY wallet, seq LIMIT 1"
_CLOSED_UNTIL = "SELECT closed_until_us FROM wallets WHERE book = ? AND id = ?"
_COMPARED = (
    "SELECT seq, since_us, until_us FROM reconciliations"
    " WHERE book = ? AND until_us > ? AND since_us < ? ORDER BY since_us, seq"
)
_OPEN = "SELECT difference_e8 FROM breaks WHERE book = ? AND status = 'open' AND happened_at_us < ?"
_RECORDED = (
    "SELECT recorded_at_us, since_us, until_us FROM reconciliations"
    " WHERE book = ? AND since_us < ? AND until_us > ?"
)
_UNSEEN = (
    "SELECT e.kind, e.key, e.job FROM entries AS e"
    " WHERE e.book = ? AND e.wallet = ? AND e.seq > ? AND (e.kind = 'charge' OR e.kind = 'refund')"
    " AND e.happened_at_us >= ? AND e.happened_at_us < ?"
    " AND NOT EXISTS (SELECT 1 FROM reconciliations AS r WHERE r.book = e.book"
    " AND r.since_us <= e.happened_at_us AND r.until_us > e.happened_at_us"
    " AND r.recorded_at_us >= e.recorded_at_us)"
)
_CORRECTED = (
    "SELECT closed_by FROM breaks WHERE book = ? AND status = 'adjusted' AND closed_by IS NOT NULL"
)

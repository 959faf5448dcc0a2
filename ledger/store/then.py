"""A wallet with its holds, lots and budgets as they stood after one of its entries.

What stands in their rows is as of now; what later entries did is taken back, so that a moment a
while ago costs little more than now.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from ledger.budgets import Budget
from ledger.lots import taken_of
from ledger.records import Entry, Lot, WalletRecord
from ledger.store.session import Session, columns

__all__ = ["HoldThen", "budgets_then", "holds_then", "keys_of_lots", "lots_then", "posted_then"]

_EVER_US = -(2**62)


class HoldThen(NamedTuple):
    """A hold as it stood."""

    wallet: str
    seq: int
    """The entry that made it."""
    job: str
    labels: str
    terms: str | None
    policy: str
    reserved_at_us: int
    deadline_us: int
    held_e8: int
    used_e8: int
    """Charged and not refunded."""
    is_open: bool


def holds_then(
    session: Session,
    record: WalletRecord,
    place: int,
    *,
    since_us: int = _EVER_US,
    only_open: bool = False,
) -> Iterator[HoldThen]:
    """The holds of a wallet in no order; read them to the end before anything else is read.

    Args:
        session: where to read.
        record: the wallet.
        place: the last entry that counts.
        since_us: only those reserved from this moment on.
        only_open: only those that were open.
    """
    session.scans()
    given = (record.book, record.id, place, since_us)
    now_open = " AND state = 'open'" if only_open else ""
    for row in session.stream(f"{_HOLDS} AND last_seq <= ?{now_open}", (*given, place)):
        yield HoldThen._make((record.id, *row[:-1], row[-1] == "open"))
    if place == record.seq:
        return
    later = session.rows(f"{_HOLDS} AND last_seq > ?", (*given, place))
    if not later:
        return
    sums: dict[str, _Sums] = {row[1]: _Sums() for row in later}
    moved = session.stream(_MOVED, (record.book, record.id, place, place, place))
    for job, kind, held_e8, posted_e8, facts in moved:
        if job in sums:
            sums[job].add(kind, held_e8, posted_e8, facts)
    for row in later:
        then = sums[row[1]]
        if then.is_open or not only_open:
            figures = (then.deadline_us, then.held_e8, then.used_e8, then.is_open)
            yield HoldThen._make((record.id, *row[:6], *figures))


class _Sums:
    """What the entries of a job add up to."""

    def __init__(self) -> None:
        self.held_e8 = self.used_e8 = self.deadline_us = 0
        self.is_open = True

    def add(self, kind: str, held_e8: int, posted_e8: int, facts: str | None) -> None:
        self.held_e8 += held_e8
        self.used_e8 -= posted_e8
        told = json.loads(facts or "{}")
        if kind in {"reserve", "extend"}:
            self.deadline_us = told.get("deadline_us", self.deadline_us)
        elif kind == "release" or (kind == "charge" and told.get("final", True)):
            self.is_open = False


_HOLDS = (
    "SELECT seq, job, labels, terms, policy, reserved_at_us, deadline_us, held_e8,"
    " charged_e8 - refunded_e8, state FROM holds"
    " WHERE book = ? AND wallet = ? AND seq <= ? AND reserved_at_us >= ?"
)
_MOVED = (
    "SELECT e.job, e.kind, e.held_e8, e.posted_e8, e.facts FROM entries AS e"
    " JOIN holds AS h ON h.book = e.book AND h.job = e.job"
    " WHERE e.book = ? AND e.wallet = ? AND e.seq <= ? AND h.seq <= ? AND h.last_seq > ?"
    " AND h.wallet = e.wallet ORDER BY e.seq"
)


def lots_then(session: Session, record: WalletRecord, place: int) -> list[Lot]:
    """The lots of a wallet, in the order in which they came in."""
    lots = session.lots(record.book, record.id, complete=True)
    found = {str(lot.seq): lot for lot in lots if lot.seq <= place}
    for kind, text in session.stream(_LOTS_MOVED, (record.book, record.id, place)):
        for seq, part_e8 in taken_of(text).items():
            if (lot := found.get(seq)) is None:
                continue
            if kind == "lapse":
                found[seq] = lot._replace(lapsed_e8=lot.lapsed_e8 - part_e8)
            else:
                found[seq] = lot._replace(used_e8=lot.used_e8 - part_e8)
    return list(found.values())


_LOTS_MOVED = (
    "SELECT kind, lots FROM entries WHERE book = ? AND wallet = ? AND seq > ? AND lots IS NOT NULL"
)


def keys_of_lots(session: Session, book: str, wallet: str) -> dict[int, str]:
    """The keys of the entries that brought the lots of a wallet, by their places."""
    found = session.rows(
        "SELECT l.seq, e.key FROM lots AS l JOIN entries AS e"
        " ON e.book = l.book AND e.wallet = l.wallet AND e.seq = l.seq"
        " WHERE l.book = ? AND l.wallet = ?",
        (book, wallet),
    )
    return {row[0]: row[1] for row in found}


def budgets_then(session: Session, record: WalletRecord, place: int) -> list[Budget]:
    """The budgets of a wallet that were in force, by name."""
    statement = (
        f"SELECT {columns('budgets')} FROM budgets WHERE book = ? AND wallet = ? AND seq <= ?"
        " ORDER BY name, seq"
    )
    latest: dict[str, Budget] = {}
    for row in session.rows(statement, (record.book, record.id, place)):
        latest[row[2]] = Budget(*row)
    return [budget for budget in latest.values() if not budget.removed]


def posted_then(session: Session, record: WalletRecord, place: int) -> Iterator[Entry]:
    """The entries of a wallet that changed its credits, in order; read them to the end."""
    statement = (
        f"SELECT {columns('entries')} FROM entries WHERE book = ? AND wallet = ? AND seq <= ?"
        " AND posted_e8 <> 0 ORDER BY seq"
    )
    return (Entry(*row) for row in session.stream(statement, (record.book, record.id, place)))

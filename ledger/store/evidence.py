"""Reading and writing what comparisons have found, for both engines."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from ledger.breaks import BreakRecord, ReconciliationRecord
from ledger.records import ImportRecord
from ledger.store.session import Session, columns

__all__ = [
    "add_breaks",
    "add_imports",
    "add_reconciliation",
    "break_named",
    "breaks",
    "breaks_by_id",
    "change_break",
    "latest_reconciliation",
    "lock_write_offs",
    "open_differences",
    "reconciliations",
    "see_breaks",
    "written_off",
]


def reconciliations(session: Session, book: str) -> list[ReconciliationRecord]:
    """Every comparison, latest first."""
    found = session.rows(f"{_RECONCILIATIONS} ORDER BY seq DESC", (book,))
    return [ReconciliationRecord(*row) for row in found]


def latest_reconciliation(session: Session, book: str) -> ReconciliationRecord | None:
    """The comparison that was kept last."""
    found = session.row(f"{_RECONCILIATIONS} ORDER BY seq DESC LIMIT 1", (book,))
    return None if found is None else ReconciliationRecord(*found)


def add_reconciliation(session: Session, record: ReconciliationRecord) -> None:
    """Keep a comparison."""
    session.fill("reconciliations", [record])


def breaks(session: Session, book: str, conditions: Mapping[str, Any]) -> list[BreakRecord]:
    """Breaks that keep every condition, such as `{"status = ?": "open"}`, oldest first."""
    statement = " AND ".join((_BREAKS, *conditions))
    rows = session.rows(f"{statement} ORDER BY happened_at_us, id", (book, *conditions.values()))
    return [BreakRecord(*row) for row in rows]


def break_named(
    session: Session, book: str, break_id: str, *, lock: bool = False
) -> BreakRecord | None:
    """One break, locked until the transaction ends where asked."""
    statement = f"{_BREAKS} AND id = ?{session.lock_clause if lock else ''}"
    found = session.row(statement, (book, break_id))
    return None if found is None else BreakRecord(*found)


def breaks_by_id(session: Session, book: str, ids: Collection[str]) -> dict[str, BreakRecord]:
    """Those of many breaks that are known."""
    condition, parameter = session.one_of("id", ids)
    rows = session.rows(f"{_BREAKS} AND {condition}", (book, parameter))
    return {row[1]: BreakRecord(*row) for row in rows}


def add_breaks(session: Session, records: Sequence[BreakRecord]) -> None:
    """Keep breaks that were not known."""
    session.fill("breaks", records)


def add_imports(session: Session, records: Sequence[ImportRecord]) -> None:
    """Keep which files were read, unless they are known."""
    for record in records:
        if session.row(_IMPORT, (record.book, record.kind, record.digest)) is None:
            session.fill("imports", [record])


def see_breaks(session: Session, book: str, ids: Collection[str], seq: int) -> None:
    """Say that a comparison has found known breaks again."""
    condition, parameter = session.one_of("id", ids)
    statement = f"UPDATE breaks SET seen_seq = ? WHERE book = ? AND {condition} RETURNING 1"
    session.rows(statement, (seq, book, parameter))


def change_break(session: Session, record: BreakRecord, fields: Sequence[str]) -> None:
    """Write some fields of a break."""
    assigned = ", ".join(f"{field} = ?" for field in fields)
    values = [getattr(record, field) for field in fields]
    # RETURNING makes it a query on both engines.
    statement = f"UPDATE breaks SET {assigned} WHERE book = ? AND id = ? RETURNING 1"
    session.rows(statement, (*values, record.book, record.id))


def open_differences(
    session: Session, book: str, since_us: int, until_us: int, *, job: str | None = None
) -> list[int]:
    """Differences of the open breaks about what happened in a period."""
    one = "" if job is None else " AND job = ?"
    values = (book, since_us, until_us, *(() if job is None else (job,)))
    return [row[0] for row in session.rows(_OPEN + one, values)]


def lock_write_offs(session: Session, book: str) -> None:
    """Let no other transaction write breaks of the book off until this one has ended."""
    # SQLite has one writer anyway. A break has a comparison, so that the first one exists.
    session.row(f"{_RECONCILIATIONS} AND seq = 1{session.lock_clause}", (book,))


def written_off(session: Session, book: str, record: BreakRecord) -> int:
    """What the other written-off breaks of a break's period come to, signs left out."""
    values = (book, record.until_us, record.since_us, record.id)
    return sum(abs(row[0]) for row in session.rows(_WRITTEN_OFF, values))


_RECONCILIATIONS = f"SELECT {columns('reconciliations')} FROM reconciliations WHERE book = ?"
_BREAKS = f"SELECT {columns('breaks')} FROM breaks WHERE book = ?"
_IMPORT = "SELECT 1 FROM imports WHERE book = ? AND kind = ? AND digest = ?"
_OPEN = (
    "SELECT difference_e8 FROM breaks WHERE book = ? AND status = 'open'"
    " AND happened_at_us >= ? AND happened_at_us < ?"
)
_WRITTEN_OFF = (
    "SELECT difference_e8 FROM breaks WHERE book = ? AND status = 'written_off'"
    " AND since_us < ? AND until_us > ? AND id <> ?"
)

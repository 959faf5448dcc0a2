"""Reading and writing a book on PostgreSQL: one statement where a verb is small, COPY where not."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache
from typing import Any

from ledger.records import Hold, InboxRecord, TaskRecord, WalletRecord
from ledger.store.session import (
    COLUMNS,
    HOLD_CHANGES,
    TASK_CHANGES,
    TOUCH_AWAITED,
    UPSERT_IMPORT,
    WALLET_CHANGES,
    Changes,
    Session,
    Stale,
    columns,
    discard_change,
    hold_changes,
    wallet_changes,
)
from ledger.tables import METADATA

__all__ = ["PostgresSession"]

_TYPES = {
    table.name: {column.name: str(column.type).split(" ")[0].lower() for column in table.columns}
    for table in METADATA.tables.values()
}
_CASTS = {"bigint": "bigint", "text": "text", "blob": "bytea"}

_WINDOW_KEY = "book, wallet, budget, share, start_us"
_WINDOW_UPDATE = (
    f"ON CONFLICT ({_WINDOW_KEY}) DO UPDATE SET held_e8 = excluded.held_e8,"
    " used_e8 = excluded.used_e8, peak_e8 = excluded.peak_e8"
)


class PostgresSession(Session):
    """A transaction, or the one statement of a hopeful verb, on PostgreSQL."""

    lock_clause = " FOR NO KEY UPDATE"
    share_clause = " FOR SHARE"

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query."""
        found: list[Any] = self._connection.execute(_dialect(statement), parameters).fetchall()
        return found

    def stream(self, statement: str, parameters: Sequence[Any] = ()) -> Iterator[Any]:
        """The rows of a query, a part at a time."""
        with self._connection.cursor() as cursor:
            yield from cursor.stream(_dialect(statement), parameters, size=1000)

    def one_of(self, column: str, values: Collection[str]) -> tuple[str, Any]:
        """A condition that a column is one of many values, and its one parameter."""
        return f"{column} = ANY(?)", list(values)

    def scans(self) -> None:
        """Join whole tables by hashing them.

        Where the server has no statistics yet it takes tables for small, and looks each row of one
        up in the other: the time grows with the square.
        """
        self._connection.execute("SET LOCAL enable_nestloop = off")

    def fill(self, table: str, rows: Iterable[Sequence[Any]]) -> int:
        """Insert rows as they are; how many."""
        statement = f"COPY {table} ({columns(table)}) FROM STDIN"
        with self._connection.cursor() as cursor:
            with cursor.copy(statement) as copy:
                for row in rows:
                    copy.write_row(row)
            done: int = cursor.rowcount
        return done

    def _fill(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        if rows:
            self.fill(table, rows)

    def write(self, book: str, changes: Changes) -> None:
        """Write what was decided: in one guarded statement if it is one wallet and few rows."""
        levels = [(book, *key, end, *level) for key, (end, level) in changes.windows.items()]
        if changes.is_small:
            self._write_one(changes, levels)
            return
        self._write_wallets(changes.wallets)
        self._fill("holds", changes.new_holds)
        self._change_holds(book, changes.changed_holds)
        for hold in changes.adopted_holds:
            self._adopt(hold)
        self._fill("entries", [entry[:20] for entry in changes.entries])
        self._fill("lots", changes.new_lots)
        for lot in changes.changed_lots:
            self._run(_UPDATE_LOT, (lot.used_e8, lot.lapsed_e8, lot.book, lot.wallet, lot.seq))
        for wallet, budget in changes.rebuilt:
            self._run(_DELETE_WINDOWS, (book, wallet, budget))
        for level in levels:
            self._run(_UPSERT_WINDOW, level)
        self._fill("budgets", changes.budgets)
        ours = {hold.job for hold in (*changes.new_holds, *changes.adopted_holds)}
        self._park(book, changes.parked, ours)
        for item in changes.applied:
            if not self._run(_APPLIED, (book, *item)):
                raise Stale
        for record in changes.discarded:
            if not self._run(_DISCARD, discard_change(record)):
                raise Stale
        if changes.has_tasks:
            self._write_tasks(book, changes)
        self._fill("periods", [period[:10] for period in changes.periods])

    def _run(self, statement: str, parameters: Sequence[Any]) -> int:
        done: int = self._connection.execute(statement, parameters).rowcount
        return done

    def _write_one(self, changes: Changes, levels: Sequence[tuple[Any, ...]]) -> None:
        """Everything about one wallet in one round trip, unless its hash is no longer the guard."""
        statement = _one_statement(
            len(changes.entries),
            len(changes.new_holds),
            len(changes.changed_holds),
            len(changes.new_lots),
            len(changes.changed_lots),
            len(levels),
            len(settled := _settled_keys(changes)),
        )
        record, guard = changes.wallets[0]
        parameters: list[Any] = [*wallet_changes(record), record.book, record.id, guard]
        for key in settled:
            parameters += (record.book, *key)
        for entry in changes.entries:
            parameters += entry[:20]
        for hold in changes.new_holds:
            parameters += hold
        for hold in changes.changed_holds:
            parameters += (*hold_changes(hold), hold.book, hold.job)
        for lot in changes.new_lots:
            parameters += lot
        for lot in changes.changed_lots:
            parameters += (lot.used_e8, lot.lapsed_e8, lot.book, lot.wallet, lot.seq)
        for level in levels:
            parameters += level
        if not self._connection.execute(statement, parameters).fetchone()[0]:
            raise Stale

    def _write_wallets(self, wallets: Sequence[tuple[WalletRecord, bytes | None]]) -> None:
        for record, guard in wallets:
            if guard is None:
                self._run(_INSERT_WALLET, record)
            elif not self._run(
                _UPDATE_WALLET, (*wallet_changes(record), record.book, record.id, guard)
            ):
                raise Stale

    def _change_holds(self, book: str, holds: Sequence[Hold]) -> None:
        if not holds:
            return
        names = ("job", *HOLD_CHANGES)
        listed = json.dumps(
            [dict(zip(names, (hold.job, *hold_changes(hold)), strict=True)) for hold in holds],
            ensure_ascii=False,
        )
        self._run(_CHANGE_HOLDS, (listed, book))

    def _write_tasks(self, book: str, changes: Changes) -> None:
        ours = {hold.job for hold in changes.new_holds}
        for job in sorted(set(changes.awaiting) - ours):
            # Whoever reserves the job locks this row before it looks for tasks.
            if not self._run(_LOCK_AWAITED, (book, job)):
                raise Stale
        self._fill("tasks", changes.new_tasks)
        self._change_tasks(book, changes.changed_tasks)
        self._fill("messages", changes.messages)
        for record in changes.imports:
            self._run(_UPSERT_IMPORT, record)

    def _change_tasks(self, book: str, tasks: Sequence[TaskRecord]) -> None:
        if not tasks:
            return
        listed = json.dumps([task._asdict() for task in tasks], ensure_ascii=False)
        if self._run(_CHANGE_TASKS, (listed, book)) != len(tasks):
            raise Stale

    def _adopt(self, hold: Hold) -> None:
        if not self._run(_ADOPT_HOLD, (*hold[2:], hold.book, hold.job)):
            raise Stale

    def _park(self, book: str, parked: Sequence[InboxRecord], ours: set[str]) -> None:
        self._fill("inbox", parked)
        for job in sorted({record.job for record in parked} - ours):
            # Whoever reserves the job locks this row first, so that no message slips past.
            if not self._run(_TOUCH_AWAITED, (book, job)):
                raise Stale


@cache
def _dialect(statement: str) -> str:
    return statement.replace("?", "%s")


def _values(table: str, rows: int, names: Sequence[str] | None = None) -> str:
    """Rows of parameters with the types of a table's columns."""
    types = _TYPES[table]
    casts = [f"%s::{_CASTS[types[name]]}" for name in names or COLUMNS[table]]
    return ", ".join(f"({', '.join(casts)})" for _ in range(rows))


def _insert(table: str, rows: int, more: str = "") -> str:
    names = columns(table)
    values = f"(VALUES {_values(table, rows)}) AS v ({names})"
    chosen = columns(table, "v.")
    return f"INSERT INTO {table} ({names}) SELECT {chosen} FROM w, {values} {more}"


def _settled_keys(changes: Changes) -> list[tuple[str, str]]:
    """The keys of charges and refunds, under which a message of another job may wait."""
    return [(entry.kind, entry.key) for entry in changes.entries if entry.kind in _SETTLING]


_SETTLING = frozenset({"charge", "refund"})
_NOT_WAITING = (
    " AND NOT EXISTS (SELECT 1 FROM inbox AS i"
    " WHERE i.book = %s AND i.kind = %s AND i.key = %s AND i.applied = 0)"
)


@cache
def _one_statement(
    entries: int,
    new_holds: int,
    changed_holds: int,
    new_lots: int,
    changed_lots: int,
    levels: int,
    settled: int,
) -> str:
    """A chain of writes that happen only if the wallet is still the one that was read."""
    assigned = ", ".join(f"{name} = %s" for name in WALLET_CHANGES)
    guarded = f"WHERE book = %s AND id = %s AND hash = %s{_NOT_WAITING * settled} RETURNING book"
    parts = [f"w AS (UPDATE wallets SET {assigned} {guarded})"]
    if entries:
        parts.append(f"e AS ({_insert('entries', entries)})")
    if new_holds:
        parts.append(f"h AS ({_insert('holds', new_holds)})")
    if changed_holds:
        names = (*HOLD_CHANGES, "book", "job")
        changed = ", ".join(f"{name} = v.{name}" for name in HOLD_CHANGES)
        parts.append(
            f"c AS (UPDATE holds SET {changed}"
            f" FROM w, (VALUES {_values('holds', changed_holds, names)}) AS v ({', '.join(names)})"
            " WHERE holds.book = v.book AND holds.job = v.job)"
        )
    if new_lots:
        parts.append(f"l AS ({_insert('lots', new_lots)})")
    if changed_lots:
        keys = ("used_e8", "lapsed_e8", "book", "wallet", "seq")
        parts.append(
            "m AS (UPDATE lots SET used_e8 = v.used_e8, lapsed_e8 = v.lapsed_e8"
            f" FROM w, (VALUES {_values('lots', changed_lots, keys)}) AS v ({', '.join(keys)})"
            " WHERE lots.book = v.book AND lots.wallet = v.wallet AND lots.seq = v.seq)"
        )
    if levels:
        parts.append(f"b AS ({_insert('windows', levels, _WINDOW_UPDATE)})")
    return f"WITH {', '.join(parts)} SELECT count(*) FROM w"


def _assigned(names: Sequence[str]) -> str:
    return ", ".join(f"{name} = %s" for name in names)


_INSERT_WALLET = f"INSERT INTO wallets ({columns('wallets')}) VALUES {_values('wallets', 1)}"
_UPDATE_WALLET = (
    f"UPDATE wallets SET {_assigned(WALLET_CHANGES)} WHERE book = %s AND id = %s AND hash = %s"
)
_ADOPT_HOLD = (
    f"UPDATE holds SET {_assigned(COLUMNS['holds'][2:])}"
    " WHERE book = %s AND job = %s AND state = 'awaited'"
)
_TOUCH_AWAITED = TOUCH_AWAITED.replace("?", "%s")
_LOCK_AWAITED = _TOUCH_AWAITED.replace("parked = 1", "parked = parked")
_UPSERT_IMPORT = UPSERT_IMPORT.replace("?", "%s")
_UPDATE_LOT = (
    "UPDATE lots SET used_e8 = %s, lapsed_e8 = %s WHERE book = %s AND wallet = %s AND seq = %s"
)
_DELETE_WINDOWS = "DELETE FROM windows WHERE book = %s AND wallet = %s AND budget = %s"
_UPSERT_WINDOW = (
    f"INSERT INTO windows ({columns('windows')}) VALUES {_values('windows', 1)} {_WINDOW_UPDATE}"
)
_WAITS = "book = %s AND kind = %s AND key = %s AND applied = 0 AND discarded_at_us IS NULL"
_APPLIED = f"UPDATE inbox SET applied = 1 WHERE {_WAITS}"
_DISCARD = f"UPDATE inbox SET discarded_at_us = %s, discard_reason = %s WHERE {_WAITS}"
_CHANGE_HOLDS = (
    f"UPDATE holds SET {', '.join(f'{name} = v.{name}' for name in HOLD_CHANGES)}"
    " FROM json_to_recordset(%s::json) AS v (job text, "
    + ", ".join(f"{name} {_CASTS[_TYPES['holds'][name]]}" for name in HOLD_CHANGES)
    + ") WHERE holds.book = %s AND holds.job = v.job"
)
_CHANGE_TASKS = (
    f"UPDATE tasks SET {', '.join(f'{name} = v.{name}' for name in TASK_CHANGES)}"
    " FROM json_to_recordset(%s::json) AS v (id text, "
    + ", ".join(f"{name} {_CASTS[_TYPES['tasks'][name]]}" for name in TASK_CHANGES)
    + ") WHERE tasks.book = %s AND tasks.id = v.id AND tasks.version = v.version - 1"
)

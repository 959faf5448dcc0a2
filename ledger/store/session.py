"""Reading and writing a book: every statement the verbs run, for both engines.

The statements are made from the column lists of `ledger.tables`, once, and run on the driver's
own cursor: a reserve is a handful of statements, and the object-relational path would cost four
times as much as they do. A `?` stands for a parameter in both dialects.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from itertools import starmap
from typing import Any

from ledger.budgets import Budget, Level
from ledger.records import Entry, Hold, InboxRecord, Lot, WalletRecord
from ledger.tables import METADATA

__all__ = ["COLUMNS", "MOST_ROWS", "Session", "Stale", "columns", "marks"]

COLUMNS = {
    table.name: tuple(column.name for column in table.columns) for table in METADATA.tables.values()
}

MOST_ROWS = 24
"""More rows than this are not written with one statement on PostgreSQL."""

HOLD_CHANGES = (
    "last_seq",
    "state",
    "amount_e8",
    "held_e8",
    "charged_e8",
    "refunded_e8",
    "deadline_us",
    "lots",
    "parked",
)
"""Columns of a hold that change after it was made."""

WALLET_CHANGES = (
    "posted_e8",
    "held_e8",
    "seq",
    "hash",
    "expires_at_us",
    "budgets_seq",
    "recorded_at_us",
)
"""Columns of a wallet that change after it was opened."""


class Stale(Exception):
    """What was read is no longer true; nothing was written."""


def columns(table: str, prefix: str = "") -> str:
    """The columns of a table, for a statement.

    >>> columns("wallets")[:17]
    'book, id, folded,'
    """
    return ", ".join(f"{prefix}{name}" for name in COLUMNS[table])


def marks(count: int) -> str:
    """Parameters of a statement.

    >>> marks(3)
    '?, ?, ?'
    """
    return ", ".join("?" * count)


class Session(ABC):
    """One connection in one transaction; reads are the same on both engines."""

    lock_clause = ""

    @abstractmethod
    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query."""

    @abstractmethod
    def stream(self, statement: str, parameters: Sequence[Any] = ()) -> Iterator[Any]:
        """The rows of a query, a part at a time."""

    @abstractmethod
    def one_of(self, column: str, values: Collection[str]) -> tuple[str, Any]:
        """A condition that a column is one of many values, and its one parameter."""

    @abstractmethod
    def write(
        self,
        book: str,
        *,
        wallets: Sequence[tuple[WalletRecord, bytes | None]],
        entries: Sequence[Entry],
        new_holds: Sequence[Hold],
        changed_holds: Sequence[Hold],
        adopted_holds: Sequence[Hold],
        new_lots: Sequence[Lot],
        changed_lots: Sequence[Lot],
        windows: Mapping[tuple[str, str, str, int], tuple[int, Level]],
        rebuilt: Sequence[tuple[str, str]],
        budgets: Sequence[Budget],
        parked: Sequence[InboxRecord],
        applied: Sequence[tuple[str, str]],
    ) -> None:
        """Write what was decided; raises Stale where a wallet is no longer as it was read."""

    def row(self, statement: str, parameters: Sequence[Any] = ()) -> Any:
        """The only row of a query, or None."""
        found = self.rows(statement, parameters)
        return found[0] if found else None

    # Wallets

    def wallet(self, book: str, wallet: str, *, lock: bool) -> WalletRecord | None:
        """A wallet's row, locked until the transaction ends where asked."""
        found = self.row(_WALLET + (self.lock_clause if lock else ""), (book, wallet))
        return None if found is None else WalletRecord(*found)

    def wallet_names(self, book: str) -> list[str]:
        """The names of wallets, to suggest one."""
        found = self.rows("SELECT id FROM wallets WHERE book = ? ORDER BY id LIMIT 10000", (book,))
        return [row[0] for row in found]

    def wallet_records(self, book: str) -> list[WalletRecord]:
        """All wallets of a book, by name."""
        return [WalletRecord(*row) for row in self.rows(_WALLETS, (book,))]

    def wallet_by_folded(self, book: str, folded: str) -> str | None:
        """The wallet whose name differs only in how it is written."""
        found = self.row("SELECT id FROM wallets WHERE book = ? AND folded = ?", (book, folded))
        return None if found is None else str(found[0])

    # Holds

    def hold(self, book: str, job: str) -> Hold | None:
        """The hold of a job."""
        found = self.row(_HOLD, (book, job))
        return None if found is None else Hold(*found)

    def holds(self, book: str, jobs: Collection[str]) -> list[Hold]:
        """The holds of many jobs."""
        condition, parameter = self.one_of("job", jobs)
        return [Hold(*row) for row in self.rows(f"{_HOLDS} AND {condition}", (book, parameter))]

    def stream_holds(self, book: str, wallet: str) -> Iterator[Hold]:
        """The holds of a wallet, a part at a time."""
        return map(Hold._make, self.stream(f"{_HOLDS} AND wallet = ? ORDER BY seq", (book, wallet)))

    def wallets_of(self, book: str, jobs: Collection[str]) -> list[str]:
        """The wallets that hold credits for these jobs."""
        condition, parameter = self.one_of("job", jobs)
        statement = f"SELECT DISTINCT wallet FROM holds WHERE book = ? AND {condition}"
        found = self.rows(statement, (book, parameter))
        return [row[0] for row in found if row[0] is not None]

    def similar_jobs(self, book: str, job: str) -> list[str]:
        """Jobs whose names look like one: its neighbours in the order of names."""
        around = [
            row[0]
            for side in (
                "job >= ? ORDER BY job LIMIT 50",
                "job < ? ORDER BY job DESC LIMIT 50",
            )
            for row in self.rows(
                f"SELECT job FROM holds WHERE book = ? AND state <> 'awaited' AND {side}",
                (book, job),
            )
        ]
        return get_close_matches(job, around, n=3)

    def overdue(self, book: str, wallet: str, now_us: int) -> list[Hold]:
        """Open holds past their deadline that are to be released then."""
        statement = (
            f"{_HOLDS} AND wallet = ? AND state = 'open' AND deadline_us <= ?"
            " AND on_deadline = 'release' ORDER BY deadline_us, job"
        )
        return [Hold(*row) for row in self.rows(statement, (book, wallet, now_us))]

    def jobs_since(
        self, book: str, wallet: str, since_us: int
    ) -> Iterator[tuple[str, int, int, int]]:
        """What a budget counts: labels, reserved at, held, charged − refunded."""
        return self.stream(
            "SELECT labels, reserved_at_us, held_e8, charged_e8 - refunded_e8 FROM holds"
            " WHERE book = ? AND wallet = ? AND reserved_at_us >= ?",
            (book, wallet, since_us),
        )

    # Entries

    def entry(self, book: str, wallet: str, seq: int) -> Entry:
        """The entry at a place in a wallet."""
        statement = f"{_ENTRIES} AND wallet = ? AND seq = ?"
        return Entry(*self.row(statement, (book, wallet, seq)))

    def entries(self, book: str, wallet: str) -> list[Entry]:
        """The entries of a wallet, in order."""
        statement = f"{_ENTRIES} AND wallet = ? ORDER BY seq"
        return [Entry(*row) for row in self.rows(statement, (book, wallet))]

    def stream_entries(self, book: str, wallet: str) -> Iterator[Entry]:
        """The entries of a wallet in order, a part at a time."""
        statement = f"{_ENTRIES} AND wallet = ? ORDER BY seq"
        return starmap(Entry, self.stream(statement, (book, wallet)))

    def entry_by_key(self, book: str, kind: str, key: str) -> Entry | None:
        """The entry a key was used for; a reserve is found through its hold."""
        found = self.row(_BY_KEY, (book, kind, key))
        return None if found is None else Entry(*found)

    def entries_by_keys(self, book: str, kind: str, keys: Collection[str]) -> list[Entry]:
        """The entries that many keys were used for."""
        condition, parameter = self.one_of("key", keys)
        statement = f"{_ENTRIES} AND kind = ? AND kind <> 'reserve' AND {condition}"
        return [Entry(*row) for row in self.rows(statement, (book, kind, parameter))]

    # Lots, budgets, inbox

    def lots(self, book: str, wallet: str, *, complete: bool) -> list[Lot]:
        """The lots of a wallet: those with credits left, or all."""
        left = "" if complete else " AND used_e8 + lapsed_e8 < granted_e8"
        return [Lot(*row) for row in self.rows(f"{_LOTS}{left} ORDER BY seq", (book, wallet))]

    def budgets(self, book: str, wallet: str) -> list[Budget]:
        """The budgets in force, by name: the latest of each, unless it was removed."""
        latest: dict[str, Budget] = {}
        for row in self.rows(f"{_BUDGETS} ORDER BY name, seq", (book, wallet)):
            latest[row[2]] = Budget(*row)
        return [budget for budget in latest.values() if not budget.removed]

    def level(self, book: str, wallet: str, budget: str, share: str, start_us: int) -> Level | None:
        """How full one window is."""
        statement = f"{_LEVELS} AND share = ? AND start_us = ?"
        found = self.row(statement, (book, wallet, budget, share, start_us))
        return None if found is None else Level(*found[2:])

    def levels(
        self, book: str, wallet: str, budget: str, share: str, *, after_us: int
    ) -> dict[int, tuple[int, Level]]:
        """The windows of a share that start after a moment."""
        statement = f"{_LEVELS} AND share = ? AND start_us > ? ORDER BY start_us"
        found = self.rows(statement, (book, wallet, budget, share, after_us))
        return {row[0]: (row[1], Level(*row[2:])) for row in found}

    def all_levels(self, book: str, wallet: str, budget: str) -> dict[tuple[str, int], Level]:
        """How full every window of a budget is: (share, start) → level."""
        found = self.rows(
            "SELECT share, start_us, held_e8, used_e8, peak_e8 FROM windows"
            " WHERE book = ? AND wallet = ? AND budget = ?",
            (book, wallet, budget),
        )
        return {(row[0], row[1]): Level(*row[2:]) for row in found}

    def parked(self, book: str, kind: str, key: str) -> InboxRecord | None:
        """A parked message."""
        found = self.row(f"{_INBOX} AND kind = ? AND key = ?", (book, kind, key))
        return None if found is None else InboxRecord(*found)

    def waiting(self, book: str, job: str, *, lock: bool = False) -> list[InboxRecord]:
        """The messages that wait for a job."""
        if lock and self.lock_clause:
            self.rows(f"{_HOLD}{self.lock_clause}", (book, job))
        return [InboxRecord(*row) for row in self.rows(_WAITING, (book, job))]


_WALLETS = f"SELECT {columns('wallets')} FROM wallets WHERE book = ? ORDER BY id"
_WALLET = f"SELECT {columns('wallets')} FROM wallets WHERE book = ? AND id = ?"
_HOLDS = f"SELECT {columns('holds')} FROM holds WHERE book = ?"
_HOLD = f"{_HOLDS} AND job = ?"
_ENTRIES = f"SELECT {columns('entries')} FROM entries WHERE book = ?"
_BY_KEY = f"{_ENTRIES} AND kind = ? AND key = ? AND kind <> 'reserve'"
_LOTS = f"SELECT {columns('lots')} FROM lots WHERE book = ? AND wallet = ?"
_BUDGETS = f"SELECT {columns('budgets')} FROM budgets WHERE book = ? AND wallet = ?"
_LEVELS = (
    "SELECT start_us, end_us, held_e8, used_e8, peak_e8 FROM windows"
    " WHERE book = ? AND wallet = ? AND budget = ?"
)
_INBOX = f"SELECT {columns('inbox')} FROM inbox WHERE book = ?"
_WAITING = f"{_INBOX} AND job = ? AND applied = 0 ORDER BY recorded_at_us, kind, key"


class SqliteSession(Session):
    """A transaction on SQLite, which has the whole file to itself while it writes."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query."""
        found: list[Any] = self._connection.execute(statement, parameters).fetchall()
        return found

    def stream(self, statement: str, parameters: Sequence[Any] = ()) -> Iterator[Any]:
        """The rows of a query, a part at a time."""
        return iter(self._connection.execute(statement, parameters))

    def one_of(self, column: str, values: Collection[str]) -> tuple[str, Any]:
        """A condition that a column is one of many values, and its one parameter."""
        listed = json.dumps(list(values), ensure_ascii=False)
        return f"{column} IN (SELECT value FROM json_each(?))", listed

    def write(
        self,
        book: str,
        *,
        wallets: Sequence[tuple[WalletRecord, bytes | None]],
        entries: Sequence[Entry],
        new_holds: Sequence[Hold],
        changed_holds: Sequence[Hold],
        adopted_holds: Sequence[Hold],
        new_lots: Sequence[Lot],
        changed_lots: Sequence[Lot],
        windows: Mapping[tuple[str, str, str, int], tuple[int, Level]],
        rebuilt: Sequence[tuple[str, str]],
        budgets: Sequence[Budget],
        parked: Sequence[InboxRecord],
        applied: Sequence[tuple[str, str]],
    ) -> None:
        """Write what was decided."""
        run, many = self._connection.execute, self._connection.executemany
        for record, guard in wallets:
            if guard is None:
                run(_INSERT["wallets"], record)
            elif run(_SQLITE_WALLET, (*wallet_changes(record), book, record.id, guard)).rowcount:
                continue
            else:
                raise Stale
        many(_INSERT["holds"], new_holds)
        if adopted_holds:
            many(_ADOPT_HOLD, [(*hold[2:], book, hold.job) for hold in adopted_holds])
        if changed_holds:
            many(_SQLITE_HOLD, [(*hold_changes(hold), book, hold.job) for hold in changed_holds])
        many(_INSERT["entries"], [entry[:20] for entry in entries])
        for statement, rows in (
            (_INSERT["lots"], new_lots),
            (_UPDATE_LOT, [_lot_changes(lot) for lot in changed_lots]),
            (_DELETE_WINDOWS, [(book, *item) for item in rebuilt]),
            (_UPSERT_WINDOW, [(book, *key, end, *lv) for key, (end, lv) in windows.items()]),
            (_INSERT["budgets"], budgets),
            (_INSERT["inbox"], parked),
            (_APPLIED, [(book, *item) for item in applied]),
        ):
            if rows:
                many(statement, rows)


def wallet_changes(record: WalletRecord) -> tuple[Any, ...]:
    """The values of `WALLET_CHANGES`."""
    return record[4:]


def hold_changes(hold: Hold) -> tuple[Any, ...]:
    """The values of `HOLD_CHANGES`."""
    return (*hold[4:11], hold.lots, hold.parked)


def _lot_changes(lot: Lot) -> tuple[Any, ...]:
    return lot.used_e8, lot.lapsed_e8, lot.book, lot.wallet, lot.seq


def _set(names: Iterable[str]) -> str:
    return ", ".join(f"{name} = ?" for name in names)


_INSERT = {
    table: f"INSERT INTO {table} ({columns(table)}) VALUES ({marks(len(names))})"
    for table, names in COLUMNS.items()
}
_SQLITE_WALLET = f"UPDATE wallets SET {_set(WALLET_CHANGES)} WHERE book = ? AND id = ? AND hash = ?"
_SQLITE_HOLD = f"UPDATE holds SET {_set(HOLD_CHANGES)} WHERE book = ? AND job = ?"
_ADOPT_HOLD = (
    f"UPDATE holds SET {_set(COLUMNS['holds'][2:])}"
    " WHERE book = ? AND job = ? AND state = 'awaited'"
)
_UPDATE_LOT = "UPDATE lots SET used_e8 = ?, lapsed_e8 = ? WHERE book = ? AND wallet = ? AND seq = ?"
_DELETE_WINDOWS = "DELETE FROM windows WHERE book = ? AND wallet = ? AND budget = ?"
_UPSERT_WINDOW = (
    f"{_INSERT['windows']} ON CONFLICT (book, wallet, budget, share, start_us) DO UPDATE SET"
    " held_e8 = excluded.held_e8, used_e8 = excluded.used_e8, peak_e8 = excluded.peak_e8"
)
_APPLIED = "UPDATE inbox SET applied = 1 WHERE book = ? AND kind = ? AND key = ?"

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
from typing import Any, NamedTuple

from ledger.budgets import Budget, Level
from ledger.records import (
    By,
    Entry,
    Hold,
    ImportRecord,
    InboxRecord,
    Lot,
    MessageRecord,
    Period,
    TaskRecord,
    WalletRecord,
)
from ledger.tables import METADATA
from ledger.units import CREDIT_E8

__all__ = ["COLUMNS", "TASK_CHANGES", "Changes", "Session", "Stale", "columns", "marks"]

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
    "closed_until_us",
)
"""Columns of a wallet that change after it was opened."""


TASK_CHANGES = (
    "job",
    "model",
    "status",
    "state",
    "facts",
    "applied",
    "version",
    "first_heard_at_us",
    "last_heard_at_us",
)
"""Columns of a task that change after it was first heard of."""


class Stale(Exception):
    """What was read is no longer true; nothing was written."""


class Changes(NamedTuple):
    """Everything that one unit of work writes."""

    wallets: Sequence[tuple[WalletRecord, bytes | None]]
    """Each wallet's row, and the hash it had when it was read; None where it is new."""
    entries: Sequence[Entry]
    new_holds: Sequence[Hold]
    changed_holds: Sequence[Hold]
    adopted_holds: Sequence[Hold]
    """Holds whose job was known from parked messages only."""
    new_lots: Sequence[Lot]
    changed_lots: Sequence[Lot]
    windows: Mapping[tuple[str, str, str, int], tuple[int, Level]]
    """(wallet, budget, share, start) → (end, level)."""
    rebuilt: Sequence[tuple[str, str]]
    """(wallet, budget) whose windows are made anew."""
    budgets: Sequence[Budget]
    parked: Sequence[InboxRecord]
    applied: Sequence[tuple[str, str]]
    """(kind, key) of messages that wait no more."""
    discarded: Sequence[InboxRecord]
    """Messages that a person has closed."""
    periods: Sequence[Period] = ()
    """Periods that were closed or opened again."""
    awaiting: Sequence[str] = ()
    """Jobs nobody has reserved whose placeholders must stay what they are until this is written."""
    new_tasks: Sequence[TaskRecord] = ()
    changed_tasks: Sequence[TaskRecord] = ()
    """Each one version further than it was read."""
    messages: Sequence[MessageRecord] = ()
    imports: Sequence[ImportRecord] = ()
    """How far files were read."""

    @property
    def has_tasks(self) -> bool:
        """Whether it is about tasks of the provider."""
        return bool(self.new_tasks or self.changed_tasks or self.messages or self.imports)

    @property
    def is_rare(self) -> bool:
        """Whether there is more to it than entries, holds, lots and windows."""
        inbox = self.parked or self.applied or self.discarded
        return bool(self.adopted_holds or self.budgets or inbox or self.periods or self.has_tasks)

    @property
    def is_small(self) -> bool:
        """Whether PostgreSQL can write it with one statement: one known wallet and few rows."""
        if self.is_rare or self.rebuilt or len(self.wallets) != 1 or self.wallets[0][1] is None:
            return False
        holds, lots = len(self.new_holds) + len(self.changed_holds), len(self.new_lots)
        rows = len(self.entries) + holds + lots + len(self.changed_lots) + len(self.windows)
        return rows <= MOST_ROWS


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
    share_clause = ""

    @abstractmethod
    def rows(self, statement: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """All rows of a query."""

    @abstractmethod
    def stream(self, statement: str, parameters: Sequence[Any] = ()) -> Iterator[Any]:
        """The rows of a query, a part at a time."""

    @abstractmethod
    def one_of(self, column: str, values: Collection[str]) -> tuple[str, Any]:
        """A condition that a column is one of many values, and its one parameter."""

    def by_index(self, index: str) -> str:  # noqa: ARG002
        """What stands behind a table's name where it is to be read by an index of its.

        A database that keeps no statistics would rather read a whole book.
        """
        return ""

    @abstractmethod
    def write(self, book: str, changes: Changes) -> None:
        """Write what was decided; raises Stale where a wallet is no longer as it was read."""

    @abstractmethod
    def scans(self) -> None:
        """What follows reads whole tables; a database that has to be told is told."""

    @abstractmethod
    def fill(self, table: str, rows: Iterable[Sequence[Any]]) -> int:
        """Insert rows as they are; how many."""

    def row(self, statement: str, parameters: Sequence[Any] = ()) -> Any:
        """The only row of a query, or None."""
        found = self.rows(statement, parameters)
        return found[0] if found else None

    def book_names(self) -> list[str]:
        """Every book that has a wallet or a message."""
        found = self.rows("SELECT book FROM wallets UNION SELECT book FROM inbox ORDER BY book")
        return [row[0] for row in found]

    def has_rows(self, table: str, book: str) -> bool:
        """Whether a table has anything of a book."""
        return self.row(f"SELECT 1 FROM {table} WHERE book = ? LIMIT 1", (book,)) is not None

    def all_rows(self, table: str, book: str, *, order: Iterable[str]) -> Iterator[Any]:
        """Everything a table has of a book, a part at a time."""
        statement = f"SELECT {columns(table)} FROM {table} WHERE book = ?"
        return self.stream(f"{statement} ORDER BY {', '.join(order)}", (book,))

    # Wallets

    def wallet(self, book: str, wallet: str, *, lock: bool) -> WalletRecord | None:
        """A wallet's row, locked until the transaction ends where asked."""
        found = self.row(_WALLET + (self.lock_clause if lock else ""), (book, wallet))
        return None if found is None else WalletRecord(*found)

    def wallet_names(self, book: str) -> list[str]:
        """The names of wallets, to suggest one."""
        found = self.rows("SELECT id FROM wallets WHERE book = ? ORDER BY id LIMIT 10000", (book,))
        return [row[0] for row in found]

    def similar_wallets(self, book: str, wallet: str) -> list[str]:
        """Wallets whose names look like one, however they are written."""
        names = {name.casefold(): name for name in self.wallet_names(book)}
        return [names[near] for near in get_close_matches(wallet.casefold(), names, n=3)]

    def wallet_records(self, book: str, *, lock: bool = False) -> list[WalletRecord]:
        """All wallets of a book, by name; where asked, nobody changes or opens one meanwhile."""
        locks = lock and self.lock_clause
        statement = _WALLETS_AND_FIRST + self.lock_clause if locks else _WALLETS
        return [WalletRecord(*row) for row in self.rows(statement, (book,))]

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

    def holds_in(
        self, book: str, state: str | None, *, now_us: int, wallet: str | None, limit: int
    ) -> list[Hold]:
        """Holds in a state, or all: open ones in the order of deadlines, others of jobs."""
        condition, order = _IN_STATE.get(state, ("state = ?", "job"))
        given: list[Any] = []
        if state is not None:
            given.append(now_us if state in _IN_STATE else state)
        if wallet is not None:
            condition += " AND wallet = ?"
            given.append(wallet)
        statement = f"{_HOLDS} AND {condition} ORDER BY {order} LIMIT ?"
        return [Hold(*row) for row in self.rows(statement, (book, *given, limit))]

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

    def entries_between(
        self, book: str, wallet: str, *, after_seq: int, last_seq: int
    ) -> list[Entry]:
        """The entries behind one place up to another, in order."""
        statement = f"{_ENTRIES} AND wallet = ? AND seq > ? AND seq <= ? ORDER BY seq"
        found = self.rows(statement, (book, wallet, after_seq, last_seq))
        return [Entry(*row) for row in found]

    def happened_between(
        self, book: str, wallet: str, *, after_seq: int, since_us: int, until_us: int
    ) -> list[Entry]:
        """The entries behind a place that happened in a span, in the order of happening."""
        found = self.rows(_HAPPENED_BETWEEN, (book, wallet, after_seq, since_us, until_us))
        return [Entry(*row) for row in found]

    def entries_of(self, hold: Hold) -> list[Entry]:
        """The entries about a job, in order."""
        statement = f"{_ENTRIES} AND wallet = ? AND seq BETWEEN ? AND ? AND job = ? ORDER BY seq"
        place = (hold.book, hold.wallet, hold.seq, hold.last_seq, hold.job)
        return [Entry(*row) for row in self.rows(statement, place)]

    def recorded_before(self, record: WalletRecord, before_us: int) -> tuple[int, int, int]:
        """The last entry recorded before a moment: its place, and posted and held after it."""
        longest = 1 << (record.seq.bit_length() - 1)
        wallet = (record.book, record.id)
        found = self.row(_RECORDED_BEFORE, (longest, *wallet, before_us, *wallet))
        return (0, 0, 0) if found is None else (found[0], found[1], found[2])

    def held_since(self, book: str, wallet: str, place: int) -> int:
        """What is still held by the holds whose reserve is not behind a place."""
        statement = (
            "SELECT CAST(coalesce(sum(held_e8), 0) AS BIGINT) FROM holds"
            " WHERE book = ? AND wallet = ? AND state = 'open' AND seq <= ?"
        )
        return int(self.row(statement, (book, wallet, place))[0])

    def held_then(self, book: str, wallet: str, place: int, until: int) -> int:
        """How what such holds held changed between that place and a later one."""
        statement = (
            "SELECT CAST(coalesce(sum(e.held_e8), 0) AS BIGINT) FROM entries AS e"
            " JOIN holds AS h ON h.book = e.book AND h.job = e.job"
            " WHERE e.book = ? AND e.wallet = ? AND e.seq > ? AND e.seq <= ?"
            " AND e.held_e8 <> 0 AND h.seq <= ?"
        )
        return int(self.row(statement, (book, wallet, place, until, place))[0])

    def held_happened(self, book: str, wallet: str, expiry_us: int, before_us: int) -> int:
        """What jobs reserved before one moment held at another, by when things happened."""
        statement = (
            "SELECT CAST(coalesce(sum(e.held_e8), 0) AS BIGINT) FROM entries AS e"
            " JOIN holds AS h ON h.book = e.book AND h.job = e.job"
            " WHERE e.book = ? AND e.wallet = ? AND e.happened_at_us < ? AND h.reserved_at_us < ?"
        )
        return int(self.row(statement, (book, wallet, before_us, expiry_us))[0])

    def last_freed(self, book: str, wallet: str, after_seq: int) -> int:
        """The latest moment at which credits came free or back, behind a place; or 0."""
        statement = (
            "SELECT coalesce(max(happened_at_us), 0) FROM entries"
            " WHERE book = ? AND wallet = ? AND seq > ? AND (held_e8 < 0 OR kind = 'refund')"
        )
        return int(self.row(statement, (book, wallet, after_seq))[0])

    def late(self, book: str, wallet: str, after_seq: int, before_us: int) -> tuple[int, int, int]:
        """Entries behind a place that happened before a moment: the last, posted, and held."""
        found = self.row(_LATE, (book, wallet, after_seq, before_us))
        return found[0], _whole(found[1:3]), _whole(found[3:5])

    def lots_moved(self, book: str, wallet: str, *, after_seq: int, since_us: int) -> Iterator[str]:
        """What entries behind a place that happened from a moment on did to lots: JSON texts."""
        found = self.stream(_LOTS_MOVED, (book, wallet, after_seq, since_us))
        return (row[0] for row in found)

    def posted_now(self, book: str) -> int:
        """The credits of all wallets."""
        return _whole(self.row(f"SELECT {_sum('posted_e8')} FROM wallets WHERE book = ?", (book,)))

    def posted_before(self, book: str, before_us: int, *, by: By) -> int:
        """The credits of all wallets before a moment, from their running balances."""
        posted_e8 = _whole(self.row(_POSTED_BEFORE, (book, before_us, book)))
        if by == "recorded":
            return posted_e8
        return posted_e8 + _whole(self.row(_POSTED_LATE, (book, before_us, before_us)))

    def moved_by_account(self, book: str, before_us: int, *, by: By) -> list[tuple[str, int]]:
        """What came from every account before a moment, by its name."""
        found = self.rows(_MOVED_BY_ACCOUNT[by], (book, before_us))
        return [(row[0], _whole(row[1:])) for row in found]

    def entry_by_key(self, book: str, kind: str, key: str) -> Entry | None:
        """The entry a key was used for; a reserve is found through its hold."""
        found = self.row(_BY_KEY, (book, kind, key))
        return None if found is None else Entry(*found)

    def entries_by_keys(self, book: str, kind: str, keys: Collection[str]) -> list[Entry]:
        """The entries that many keys were used for."""
        condition, parameter = self.one_of("key", keys)
        entries = f"entries{self.by_index('entries_book_kind_key')}"
        statement = (
            f"SELECT {columns('entries')} FROM {entries} WHERE book = ? AND kind = ?"
            f" AND kind <> 'reserve' AND {condition}"
        )
        return [Entry(*row) for row in self.rows(statement, (book, kind, parameter))]

    # Lots, budgets, inbox

    def lots(self, book: str, wallet: str, *, complete: bool) -> list[Lot]:
        """The lots of a wallet: those with credits left, or all."""
        left = "" if complete else " AND used_e8 + lapsed_e8 < granted_e8"
        return [Lot(*row) for row in self.rows(f"{_LOTS}{left} ORDER BY seq", (book, wallet))]

    def expired_lots(self, book: str, wallet: str, before_us: int) -> list[Lot]:
        """The lots of a wallet that expired before a moment, whatever became of them."""
        statement = f"{_LOTS} AND expires_at_us < ? ORDER BY seq"
        return [Lot(*row) for row in self.rows(statement, (book, wallet, before_us))]

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
        self, book: str, wallet: str, budget: str, share: str, *, after_us: int, until_us: int
    ) -> dict[int, tuple[int, Level]]:
        """The windows of a share that start after one moment and not after another."""
        statement = f"{_LEVELS} AND share = ? AND start_us > ? AND start_us <= ?"
        found = self.rows(statement, (book, wallet, budget, share, after_us, until_us))
        return {row[0]: (row[1], Level(*row[2:])) for row in found}

    def levels_between(
        self, budget: Budget, first_us: int, last_us: int
    ) -> list[tuple[str, int, int]]:
        """Windows of a budget that start from one moment to another: (share, held, used)."""
        return self.rows(
            "SELECT share, held_e8, used_e8 FROM windows"
            " WHERE book = ? AND wallet = ? AND budget = ? AND start_us BETWEEN ? AND ?",
            (budget.book, budget.wallet, budget.name, first_us, last_us),
        )

    def parked(self, book: str, kind: str, key: str) -> InboxRecord | None:
        """A parked message."""
        found = self.row(f"{_INBOX} AND kind = ? AND key = ?", (book, kind, key))
        return None if found is None else InboxRecord(*found)

    def nothing_waits(self, book: str) -> bool:
        """Whether every message of a book was applied."""
        found = self.rows("SELECT 1 FROM inbox WHERE book = ? AND applied = 0 LIMIT 1", (book,))
        return not found

    def waiting(self, book: str, job: str, *, lock: bool = False) -> list[InboxRecord]:
        """The messages for a job that were not applied; discarded ones are among them."""
        if lock and self.lock_clause:
            self.rows(f"{_HOLD}{self.lock_clause}", (book, job))
        return [InboxRecord(*row) for row in self.rows(_WAITING, (book, job))]

    def inbox(self, book: str, *, discarded: bool) -> list[InboxRecord]:
        """The messages that wait, or those that were discarded, oldest first."""
        closed = f"discarded_at_us IS {'NOT ' if discarded else ''}NULL"
        statement = f"{_INBOX} AND applied = 0 AND {closed} {_OLDEST_FIRST}"
        return [InboxRecord(*row) for row in self.rows(statement, (book,))]


def _sum(column: str) -> str:
    """The sum of a column in two parts, credits and rest, for `_whole`.

    The sum of some movements can be more than 2^63, where SQLite gives up, though no balance is.
    """
    credits, rest = f"{column} / {CREDIT_E8}", f"{column} - {column} / {CREDIT_E8} * {CREDIT_E8}"
    parts = (f"CAST(coalesce(sum({part}), 0) AS BIGINT)" for part in (credits, rest))
    return ", ".join(parts)


def _whole(parts: Sequence[int]) -> int:
    return parts[0] * CREDIT_E8 + parts[1]


_WALLETS = f"SELECT {columns('wallets')} FROM wallets WHERE book = ? ORDER BY id"
# The entries that opened them are locked as well: who opens a wallet shares the lock of one.
_WALLETS_AND_FIRST = (
    f"SELECT {columns('wallets', 'w.')} FROM wallets AS w JOIN entries AS e"
    " ON e.book = w.book AND e.wallet = w.id AND e.seq = 1 WHERE w.book = ? ORDER BY w.id"
)
_WALLET = f"SELECT {columns('wallets')} FROM wallets WHERE book = ? AND id = ?"
_HOLDS = f"SELECT {columns('holds')} FROM holds WHERE book = ?"
_HOLD = f"{_HOLDS} AND job = ?"
_ENTRIES = f"SELECT {columns('entries')} FROM entries WHERE book = ?"
_BY_KEY = f"{_ENTRIES} AND kind = ? AND key = ? AND kind <> 'reserve'"
_HAPPENED_BETWEEN = (
    f"{_ENTRIES} AND wallet = ? AND seq > ? AND happened_at_us >= ? AND happened_at_us < ?"
    " ORDER BY happened_at_us, seq"
)
# Bisection: times of recording never fall from one place of a wallet to the next, so seventeen
# leaps, each half as long, into the primary key find the place among 100,000. The entry of a leap
# is a subquery because a planner without statistics would join the leaps to a scan of the table.
_RECORDED_BEFORE = """
WITH RECURSIVE leap (place, step) AS (
    SELECT CAST(0 AS BIGINT), CAST(? AS BIGINT)
    UNION ALL
    SELECT
        CASE
            WHEN (
                SELECT recorded_at_us FROM entries
                WHERE book = ? AND wallet = ? AND seq = place + step
            ) < ? THEN place + step
            ELSE place
        END,
        step / 2
    FROM leap WHERE step > 0
)
SELECT seq, posted_after_e8, held_after_e8 FROM entries
WHERE book = ? AND wallet = ? AND seq = (SELECT max(place) FROM leap)
"""
_LATE = (
    f"SELECT coalesce(max(seq), 0), {_sum('posted_e8')}, {_sum('held_e8')} FROM entries"
    " WHERE book = ? AND wallet = ? AND seq > ? AND happened_at_us < ?"
)
_LOTS_MOVED = (
    "SELECT lots FROM entries WHERE book = ? AND wallet = ? AND seq > ? AND happened_at_us >= ?"
    " AND lots IS NOT NULL"
)
_POSTED_BEFORE = (
    f"SELECT {_sum('e.posted_after_e8')} FROM entries AS e"
    " JOIN (SELECT wallet, max(seq) AS seq FROM entries"
    " WHERE book = ? AND recorded_at_us < ? GROUP BY wallet) AS latest"
    " ON e.wallet = latest.wallet AND e.seq = latest.seq WHERE e.book = ?"
)
_POSTED_LATE = (
    f"SELECT {_sum('posted_e8')} FROM entries"
    " WHERE book = ? AND recorded_at_us >= ? AND happened_at_us < ?"
)
_MOVED_BY_ACCOUNT = {
    by: f"SELECT contra, {_sum('posted_e8')} FROM entries"
    f" WHERE book = ? AND posted_e8 <> 0 AND {by}_at_us < ? GROUP BY contra ORDER BY contra"
    for by in ("recorded", "happened")
}
_IN_STATE: dict[str | None, tuple[str, str]] = {
    None: ("state <> 'awaited'", "job"),
    "open": ("state = 'open' AND deadline_us > ?", "deadline_us, job"),
    "unknown": ("state = 'open' AND deadline_us <= ?", "deadline_us, job"),
}
_LOTS = f"SELECT {columns('lots')} FROM lots WHERE book = ? AND wallet = ?"
_BUDGETS = f"SELECT {columns('budgets')} FROM budgets WHERE book = ? AND wallet = ?"
_LEVELS = (
    "SELECT start_us, end_us, held_e8, used_e8, peak_e8 FROM windows"
    " WHERE book = ? AND wallet = ? AND budget = ?"
)
_INBOX = f"SELECT {columns('inbox')} FROM inbox WHERE book = ?"
_OLDEST_FIRST = "ORDER BY recorded_at_us, place, kind, key"
_WAITING = f"{_INBOX} AND job = ? AND applied = 0 {_OLDEST_FIRST}"


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

    def by_index(self, index: str) -> str:
        """SQLite is told, because it guesses."""
        return f" INDEXED BY {index}"

    def scans(self) -> None:
        """SQLite looks rows up by their keys, which is what is wanted."""

    def fill(self, table: str, rows: Iterable[Sequence[Any]]) -> int:
        """Insert rows as they are; how many."""
        done: int = self._connection.executemany(_INSERT[table], rows).rowcount
        return max(0, done)

    def write(self, book: str, changes: Changes) -> None:
        """Write what was decided."""
        run, many = self._connection.execute, self._connection.executemany
        for record, guard in changes.wallets:
            if guard is None:
                run(_INSERT["wallets"], record)
            elif run(_SQLITE_WALLET, (*wallet_changes(record), book, record.id, guard)).rowcount:
                continue
            else:
                raise Stale
        if changes.new_holds:
            many(_INSERT["holds"], changes.new_holds)
        if changes.changed_holds:
            rows = [(*hold_changes(hold), book, hold.job) for hold in changes.changed_holds]
            many(_SQLITE_HOLD, rows)
        many(_INSERT["entries"], [entry[:20] for entry in changes.entries])
        if changes.rebuilt:
            many(_DELETE_WINDOWS, [(book, *item) for item in changes.rebuilt])
        if changes.windows:
            levels = [(book, *key, end, *level) for key, (end, level) in changes.windows.items()]
            many(_UPSERT_WINDOW, levels)
        if changes.new_lots:
            many(_INSERT["lots"], changes.new_lots)
        if changes.changed_lots:
            many(_UPDATE_LOT, [_lot_changes(lot) for lot in changes.changed_lots])
        if changes.is_rare:
            self._write_rare(book, changes)

    def _write_rare(self, book: str, changes: Changes) -> None:
        many = self._connection.executemany
        many(_ADOPT_HOLD, [(*hold[2:], book, hold.job) for hold in changes.adopted_holds])
        many(_INSERT["budgets"], changes.budgets)
        many(_INSERT["inbox"], changes.parked)
        many(TOUCH_AWAITED, [(book, record.job) for record in changes.parked])
        many(_APPLIED, [(book, *item) for item in changes.applied])
        many(_DISCARD, [discard_change(record) for record in changes.discarded])
        many(_INSERT["tasks"], changes.new_tasks)
        for task in changes.changed_tasks:
            if not self._connection.execute(_SQLITE_TASK, task_changes(task)).rowcount:
                raise Stale
        many(_INSERT["messages"], changes.messages)
        many(UPSERT_IMPORT, changes.imports)
        many(_INSERT["periods"], [period[:10] for period in changes.periods])


def wallet_changes(record: WalletRecord) -> tuple[Any, ...]:
    """The values of `WALLET_CHANGES`."""
    return record[4:]


def hold_changes(hold: Hold) -> tuple[Any, ...]:
    """The values of `HOLD_CHANGES`."""
    return (*hold[4:11], hold.lots, hold.parked)


def task_changes(task: TaskRecord) -> tuple[Any, ...]:
    """The values of `TASK_CHANGES`, the key, and the version it had when it was read."""
    return (*task[2:], task.book, task.id, task.version - 1)


def discard_change(record: InboxRecord) -> tuple[Any, ...]:
    """The parameters of the statement that closes a message."""
    reason, at_us = record.discard_reason, record.discarded_at_us
    return at_us, reason, record.book, record.kind, record.key


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
_SQLITE_TASK = f"UPDATE tasks SET {_set(TASK_CHANGES)} WHERE book = ? AND id = ? AND version = ?"
TOUCH_AWAITED = "UPDATE holds SET parked = 1 WHERE book = ? AND job = ? AND state = 'awaited'"
UPSERT_IMPORT = (
    f"{_INSERT['imports']} ON CONFLICT (book, kind, digest) DO UPDATE SET lines = excluded.lines,"
    " offset_bytes = excluded.offset_bytes, complete = excluded.complete,"
    " result = excluded.result, recorded_at_us = excluded.recorded_at_us"
    # Two who read the same file at once: the one who is further on says how far.
    " WHERE excluded.complete > imports.complete"
    " OR excluded.complete = imports.complete AND excluded.offset_bytes >= imports.offset_bytes"
)
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
_DISCARD = (
    "UPDATE inbox SET discarded_at_us = ?, discard_reason = ?"
    " WHERE book = ? AND kind = ? AND key = ?"
)

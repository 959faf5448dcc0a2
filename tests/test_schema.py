"""The database has the declared tables, guards itself, and knows which version it is."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Connection,
    Engine,
    create_engine,
    inspect,
    make_url,
    text,
)
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError

from ledger.errors import NeedsMigration, NewerStore, NotALedger, StoreError
from ledger.migrations.versions import v0001_tables
from ledger.store import schema
from ledger.tables import APPEND_ONLY, METADATA

ROOT = Path(__file__).parent.parent
LARGEST = 2**63 - 1
TOO_LARGE = r"out of range|cannot store REAL value in INTEGER column"

WALLET: dict[str, Any] = {
    "id": "studio",
    "folded": "studio",
    "credit_limit_e8": 0,
    "posted_e8": 0,
    "held_e8": 0,
    "seq": 1,
    "hash": bytes(32),
    "expires_at_us": None,
    "budgets_seq": 0,
    "recorded_at_us": 1,
    "closed_until_us": None,
}
ENTRY: dict[str, Any] = {
    "wallet": "studio",
    "seq": 1,
    "kind": "top_up",
    "key": "invoice-1",
    "job": None,
    "contra": "funding",
    "posted_e8": 100,
    "held_e8": 0,
    "posted_after_e8": 100,
    "held_after_e8": 0,
    "over_e8": 0,
    "uncollected_e8": 0,
    "late": 0,
    "lots": None,
    "facts": None,
    "happened_at_us": 1,
    "recorded_at_us": 1,
    "digest": bytes(32),
    "hash": bytes(32),
}
HOLD: dict[str, Any] = {
    "job": "job-1",
    "wallet": "studio",
    "seq": 2,
    "last_seq": 2,
    "state": "open",
    "amount_e8": 100,
    "held_e8": 100,
    "charged_e8": 0,
    "refunded_e8": 0,
    "deadline_us": 9,
    "reserved_at_us": 1,
    "policy": "owe",
    "on_deadline": "keep",
    "labels": "{}",
    "terms": None,
    "lots": None,
    "parked": 0,
}
AWAITED: dict[str, Any] = {
    "wallet": None,
    "seq": 0,
    "state": "awaited",
    "amount_e8": 0,
    "held_e8": 0,
}
LOT: dict[str, Any] = {
    "wallet": "studio",
    "seq": 1,
    "origin": "paid",
    "granted_e8": 100,
    "used_e8": 0,
    "lapsed_e8": 0,
    "cash_e8": None,
    "currency": None,
    "expires_at_us": None,
    "granted_at_us": 1,
}
BUDGET: dict[str, Any] = {
    "wallet": "studio",
    "name": "ads",
    "seq": 2,
    "limit_e8": 100,
    "selector": "{}",
    "period": "day",
    "rolling_seconds": None,
    "timezone": "UTC",
    "hard": 1,
    "thresholds": "[]",
    "counts_from_us": 1,
    "removed": 0,
}
WINDOW: dict[str, Any] = {
    "wallet": "studio",
    "budget": "ads",
    "share": "[]",
    "start_us": 1,
    "end_us": 2,
    "held_e8": 0,
    "used_e8": 0,
    "peak_e8": 0,
}
MESSAGE: dict[str, Any] = {
    "kind": "charge",
    "key": "early-1",
    "job": "job-2",
    "content": "{}",
    "happened_at_us": None,
    "recorded_at_us": 1,
    "place": 0,
    "digest": bytes(32),
    "applied": 0,
    "discarded_at_us": None,
    "discard_reason": None,
}
TASK: dict[str, Any] = {
    "id": "task-unified-1",
    "job": "job-1",
    "model": "kling-v3-motion-control",
    "status": "pending",
    "state": "running",
    "facts": "{}",
    "applied": 1,
    "version": 1,
    "first_heard_at_us": 1,
    "last_heard_at_us": 1,
}
BODY: dict[str, Any] = {
    "digest": bytes(32),
    "task": "task-unified-1",
    "body": "{}",
    "received_at_us": 1,
    "recorded_at_us": 1,
}
IMPORT: dict[str, Any] = {
    "kind": "tasks",
    "digest": bytes(32),
    "name": "tasks.jsonl",
    "lines": 0,
    "offset_bytes": 0,
    "complete": 0,
    "result": None,
    "recorded_at_us": 1,
}
RECONCILIATION: dict[str, Any] = {
    "seq": 1,
    "since_us": 1,
    "until_us": 2,
    "digest": bytes(32),
    "options": "{}",
    "result": "{}",
    "recorded_at_us": 1,
}
BREAK: dict[str, Any] = {
    "id": "b-1",
    "kind": "amount",
    "wallet": "studio",
    "job": "job-1",
    "task": None,
    "ours_e8": 1,
    "theirs_e8": 2,
    "difference_e8": 1,
    "happened_at_us": 1,
    "cause": None,
    "evidence": "{}",
    "status": "open",
    "owner": None,
    "note": None,
    "closed_by": None,
    "since_us": 1,
    "until_us": 2,
    "found_seq": 1,
    "seen_seq": 1,
    "changed_at_us": 1,
}
PERIOD: dict[str, Any] = {
    "seq": 1,
    "action": "close",
    "name": "2026-10",
    "start_us": 1,
    "end_us": 2,
    "timezone": "UTC",
    "reconciliation": None,
    "reason": None,
    "recorded_at_us": 1,
}
ONE_OF_EACH: dict[str, dict[str, Any]] = {
    "wallets": WALLET,
    "entries": ENTRY,
    "holds": HOLD,
    "lots": LOT,
    "budgets": BUDGET,
    "windows": WINDOW,
    "inbox": MESSAGE,
    "tasks": TASK,
    "messages": BODY,
    "imports": IMPORT,
    "reconciliations": RECONCILIATION,
    "breaks": BREAK,
    "periods": PERIOD,
}
"""A sound row of each table, but for its book."""


class Rows:
    """Rows of one book in one transaction, which is rolled back at the end."""

    def __init__(self, connection: Connection, book: str) -> None:
        self.connection, self.book = connection, book

    def add(self, table: str, verb: str = "INSERT", **changes: object) -> None:
        row = {"book": self.book, **ONE_OF_EACH[table], **changes}
        columns, values = ", ".join(row), ", ".join(f":{name}" for name in row)
        self.run(f"{verb} INTO {table} ({columns}) VALUES ({values})", **row)

    def run(self, statement: str, **values: object) -> None:
        """Run a statement; where it is refused, the transaction goes on without it."""
        with self.connection.begin_nested():
            self.connection.execute(text(statement), {"book": self.book, **values})

    def all(self, table: str) -> list[Any]:
        found = self.connection.execute(
            text(f"SELECT * FROM {table} WHERE book = :book"), {"book": self.book}
        )
        return sorted(found.all(), key=repr)


@contextmanager
def opened(url: str) -> Iterator[Engine]:
    engine = create_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def rolled_back(url: str, book: str) -> Iterator[Rows]:
    with opened(url) as engine, engine.connect() as connection:
        # The driver of SQLite would begin only at the first write, after the first savepoint.
        connection.execute(text("BEGIN" if engine.dialect.name == "sqlite" else "SELECT 1"))
        rows = Rows(connection, book)
        rows.add("wallets")
        yield rows
        connection.rollback()


@pytest.fixture
def rows(database_url: str, book: str) -> Iterator[Rows]:
    with rolled_back(database_url, book) as rows:
        yield rows


@pytest.fixture
def sqlite_rows(sqlite_url: str, book: str) -> Iterator[Rows]:
    with rolled_back(sqlite_url, book) as rows:
        yield rows


@pytest.fixture
def postgres_rows(postgres_url: str, book: str) -> Iterator[Rows]:
    with rolled_back(postgres_url, book) as rows:
        yield rows


# What the migration makes


def test_the_migrated_tables_are_the_declared_ones(database_url: str) -> None:
    with opened(database_url) as engine, engine.connect() as connection:
        found = MigrationContext.configure(
            connection,
            opts={
                "version_table": schema.VERSION_TABLE,
                "compare_type": True,
                # The table of a service that test_join plays, in the same schema.
                "include_name": lambda name, *_: name != "orders",
            },
        )
        assert compare_metadata(found, METADATA) == []


def test_constraints_indexes_and_options_are_the_declared_ones_too(empty_url: str) -> None:
    with opened(empty_url) as engine:
        METADATA.create_all(engine)
        declared = described(engine)
        METADATA.drop_all(engine)
        schema.upgrade(engine)
        assert described(engine) == declared
        assert len(declared) > len(METADATA.tables)


def described(engine: Engine) -> list[tuple[str, ...]]:
    """Every table, column, constraint, index and option, as the database itself tells them."""
    statement = DESCRIBE_SQLITE if engine.dialect.name == "sqlite" else DESCRIBE_POSTGRESQL
    with engine.connect() as connection:
        found = connection.execute(text(statement)).all()
    return [tuple(re.sub(r"\s+", " ", str(item)).strip() for item in row) for row in found]


OTHERS = f"('{schema.VERSION_TABLE}')"
DESCRIBE_SQLITE = f"""
    SELECT type, name, sql FROM sqlite_master
    WHERE sql IS NOT NULL AND type <> 'trigger' AND tbl_name NOT IN {OTHERS} ORDER BY name
"""
DESCRIBE_POSTGRESQL = f"""
    WITH ours AS (
        SELECT oid, relname, reloptions FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
          AND relname NOT IN {OTHERS}
    )
    SELECT relname, 'options', coalesce(reloptions::text, '') FROM ours
    UNION ALL
    SELECT relname, conname, pg_get_constraintdef(c.oid)
    FROM ours JOIN pg_constraint c ON c.conrelid = ours.oid
    UNION ALL
    SELECT relname, indexname, replace(indexdef, current_schema() || '.', '')
    FROM ours JOIN pg_indexes ON tablename = relname AND schemaname = current_schema()
    UNION ALL
    SELECT relname, attname, concat_ws(' ', attnum, atttypid::regtype, attnotnull,
        (SELECT collname FROM pg_collation c WHERE c.oid = attcollation))
    FROM ours JOIN pg_attribute ON attrelid = ours.oid AND attnum > 0
    ORDER BY 1, 2, 3
"""


def test_text_sorts_by_code_point_on_postgresql(postgres_rows: Rows) -> None:
    for wallet in ("b", "B", "a", "é", "Z"):
        postgres_rows.add("wallets", id=wallet, folded=f"{wallet}-folded")
    found = postgres_rows.connection.execute(
        text("SELECT id FROM wallets WHERE book = :book ORDER BY id"), {"book": postgres_rows.book}
    )
    assert found.scalars().all() == ["B", "Z", "a", "b", "studio", "é"]


def test_every_table_is_strict_on_sqlite(sqlite_rows: Rows) -> None:
    found = sqlite_rows.connection.execute(text("SELECT name, strict FROM pragma_table_list"))
    strict = {name for name, is_strict in found if is_strict}
    assert strict == set(METADATA.tables)


@pytest.mark.parametrize("value", ["9223372036854775808", "1.5", "9.3e18", "'12 credits'", "x'01'"])
def test_no_number_column_takes_anything_but_a_whole_number_on_sqlite(
    sqlite_rows: Rows, value: str
) -> None:
    tried = 0
    for table, row in ONE_OF_EACH.items():
        for column in METADATA.tables[table].columns:
            if isinstance(column.type, BigInteger):
                literal = {column.name: value}
                values = ", ".join(literal.get(name, f":{name}") for name in row)
                with pytest.raises(
                    IntegrityError, match=f"in INTEGER column {table}.{column.name}"
                ):
                    sqlite_rows.run(
                        f"INSERT INTO {table} (book, {', '.join(row)}) VALUES (:book, {values})",
                        **{**row, "seq": 1, "id": "other", "folded": "other"},
                    )
                tried += 1
    assert tried > 40


def test_an_amount_may_have_63_bits_and_no_more(rows: Rows) -> None:
    rows.add("lots", granted_e8=LARGEST)
    assert rows.all("lots")[0].granted_e8 == LARGEST
    with pytest.raises(DBAPIError, match=TOO_LARGE):
        rows.run(f"UPDATE lots SET cash_e8 = {LARGEST + 1} WHERE book = :book")


def test_an_amount_that_overflows_in_the_database_is_refused(rows: Rows) -> None:
    rows.run(f"UPDATE wallets SET posted_e8 = {LARGEST} WHERE book = :book")
    with pytest.raises(DBAPIError, match=TOO_LARGE):
        rows.run("UPDATE wallets SET posted_e8 = posted_e8 + 1 WHERE book = :book")


# Facts stay as they are


def put_facts(rows: Rows) -> None:
    rows.add("entries")
    rows.add("entries", seq=2, kind="reserve", key="job-1", posted_e8=0, held_e8=5)
    for table in ("budgets", "holds", "messages", "reconciliations", "periods"):
        rows.add(table)


@pytest.mark.parametrize("table", APPEND_ONLY)
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE {table} SET {key} = {other} WHERE book = :book",
        "UPDATE {table} SET book = book WHERE book = :book",
        "DELETE FROM {table} WHERE book = :book",
        "DELETE FROM {table}",
    ],
)
def test_a_fact_is_neither_changed_nor_deleted(rows: Rows, table: str, statement: str) -> None:
    put_facts(rows)
    before = rows.all(table)
    key, other = ("task", "'other'") if table == "messages" else ("seq", "7")
    with pytest.raises(IntegrityError, match=f"{table} are append-only"):
        rows.run(statement.format(table=table, key=key, other=other))
    assert rows.all(table) == before


def test_a_fact_is_not_changed_by_an_insert_that_finds_it(rows: Rows) -> None:
    put_facts(rows)
    with pytest.raises(IntegrityError, match="entries are append-only"):
        rows.run(
            "INSERT INTO entries SELECT * FROM entries WHERE book = :book AND seq = 1"
            " ON CONFLICT (book, wallet, seq) DO UPDATE SET facts = '{}'"
        )
    with pytest.raises(IntegrityError, match="budgets are append-only"):
        rows.run(
            "INSERT INTO budgets SELECT * FROM budgets WHERE book = :book"
            " ON CONFLICT (book, wallet, name, seq) DO UPDATE SET limit_e8 = 1"
        )


@pytest.mark.parametrize("table", [*APPEND_ONLY, "holds", "wallets CASCADE"])
def test_no_table_with_facts_or_holds_is_truncated(postgres_rows: Rows, table: str) -> None:
    put_facts(postgres_rows)
    with pytest.raises(IntegrityError, match=r"are append-only|are never deleted"):
        postgres_rows.run(f"TRUNCATE {table}")


@pytest.mark.parametrize("verb", ["INSERT OR REPLACE", "REPLACE", "INSERT OR IGNORE"])
@pytest.mark.parametrize(
    "changes",
    [
        {"seq": 1, "key": "invoice-2"},
        {"seq": 2, "kind": "charge", "posted_e8": -5},
        {"seq": 3},
    ],
    ids=["place", "place of a reserve", "key"],
)
def test_an_entry_is_not_replaced_on_sqlite(
    sqlite_rows: Rows, verb: str, changes: dict[str, Any]
) -> None:
    put_facts(sqlite_rows)
    before = sqlite_rows.all("entries")
    with pytest.raises(IntegrityError, match="entries are append-only"):
        sqlite_rows.add("entries", verb, **changes)
    assert sqlite_rows.all("entries") == before


def test_an_entry_is_not_replaced_by_a_key_that_only_becomes_equal_when_stored(
    sqlite_rows: Rows,
) -> None:
    sqlite_rows.add("entries", key="5")
    with pytest.raises(IntegrityError, match="entries are append-only"):
        sqlite_rows.add("entries", "REPLACE", seq=2, key=5)


@pytest.mark.parametrize("verb", ["INSERT OR REPLACE", "REPLACE", "INSERT OR IGNORE"])
def test_a_budget_is_not_replaced_on_sqlite(sqlite_rows: Rows, verb: str) -> None:
    put_facts(sqlite_rows)
    before = sqlite_rows.all("budgets")
    with pytest.raises(IntegrityError, match="budgets are append-only"):
        sqlite_rows.add("budgets", verb, limit_e8=7)
    assert sqlite_rows.all("budgets") == before


@pytest.mark.parametrize("table", APPEND_ONLY)
def test_a_fact_is_not_replaced_by_an_update_on_sqlite(sqlite_rows: Rows, table: str) -> None:
    put_facts(sqlite_rows)
    sqlite_rows.add("budgets", seq=3)
    key = "digest = zeroblob(32)" if table == "messages" else "seq = 2"
    with pytest.raises(IntegrityError, match="are append-only"):
        sqlite_rows.run(f"UPDATE OR REPLACE {table} SET {key} WHERE book = :book")


@pytest.mark.parametrize("verb", ["INSERT OR REPLACE", "REPLACE", "INSERT OR IGNORE"])
@pytest.mark.parametrize("table", ["messages", "reconciliations", "periods"])
def test_what_was_heard_and_found_is_not_replaced_on_sqlite(
    sqlite_rows: Rows, table: str, verb: str
) -> None:
    put_facts(sqlite_rows)
    with pytest.raises(IntegrityError, match=f"{table} are append-only"):
        sqlite_rows.add(table, verb, recorded_at_us=7)


@pytest.mark.parametrize("verb", ["INSERT", "INSERT OR REPLACE", "INSERT OR IGNORE"])
def test_a_gap_in_the_sequence_of_a_wallet_is_refused_on_sqlite(
    sqlite_rows: Rows, verb: str
) -> None:
    with pytest.raises(IntegrityError, match="entries are numbered without gaps"):
        sqlite_rows.add("entries", verb, seq=2)
    sqlite_rows.add("entries", verb, seq=1)
    with pytest.raises(IntegrityError, match="entries are numbered without gaps"):
        sqlite_rows.add("entries", verb, seq=3, key="invoice-2")
    sqlite_rows.add("entries", verb, seq=2, key="invoice-2")


def test_each_wallet_and_each_book_counts_its_own_entries(rows: Rows) -> None:
    rows.add("wallets", id="other", folded="other")
    rows.add("wallets", book=f"{rows.book}-2")
    rows.add("entries")
    rows.add("entries", wallet="other", key="invoice-2")
    rows.add("entries", book=f"{rows.book}-2")
    rows.add("entries", wallet="other", seq=2, key="invoice-3")


def test_the_guard_of_entries_looks_them_up_and_never_scans(sqlite_rows: Rows) -> None:
    columns = ["book", *ENTRY]
    program = sqlite_rows.connection.execute(
        text(f"EXPLAIN INSERT INTO entries VALUES ({', '.join(f':{name}' for name in columns)})"),
        {"book": sqlite_rows.book, **ENTRY},
    ).all()
    pages = sqlite_rows.connection.execute(
        text("SELECT name, rootpage FROM sqlite_master WHERE tbl_name = 'entries'")
    )
    names = {page: name for name, page in pages}
    starts = [place for place, step in enumerate(program) if step.p4 == "-- TRIGGER entries_insert"]
    guard = program[starts[0] :]
    read = {names.get(step.p2) for step in guard if step.opcode == "OpenRead"}
    # The table is its own primary key; sqlite_master lists that under the name of the constraint.
    assert {name.replace("sqlite_autoindex_entries_1", "entries") for name in map(str, read)} == {
        "entries",
        "entries_book_kind_key",
    }
    assert not {step.opcode for step in guard} & {"Rewind", "Last"}


def test_each_row_of_one_statement_is_guarded_on_sqlite(sqlite_rows: Rows) -> None:
    sqlite_rows.add("entries")
    again = "INSERT INTO entries SELECT book, wallet, seq + n, kind, key || n, job, contra,"
    again += " posted_e8, held_e8, posted_after_e8, held_after_e8, over_e8, uncollected_e8, late,"
    again += " lots, facts, happened_at_us, recorded_at_us, digest, hash FROM entries,"
    again += " (SELECT column1 AS n FROM (VALUES (1), (2), ({third}))) WHERE book = :book"
    with pytest.raises(IntegrityError, match="entries are numbered without gaps"):
        sqlite_rows.run(again.format(third=4))
    with pytest.raises(IntegrityError, match="entries are append-only"):
        sqlite_rows.run(again.format(third=2))
    sqlite_rows.run(again.format(third=3))
    assert len(sqlite_rows.all("entries")) == 4


def test_a_key_is_used_once_for_a_kind_in_a_book(rows: Rows) -> None:
    rows.add("entries")
    with pytest.raises(IntegrityError):
        rows.add("entries", seq=2)
    rows.add("entries", seq=2, kind="adjust")


# Holds keep what they were reserved with

KEPT = {
    "book": "elsewhere",
    "job": "job-9",
    "wallet": "other",
    "seq": 9,
    "reserved_at_us": 9,
    "policy": "cap",
    "on_deadline": "release",
    "labels": '{"team":"ads"}',
    "terms": "{}",
}


@pytest.mark.parametrize("column", KEPT)
def test_a_hold_keeps_what_it_was_reserved_with(rows: Rows, column: str) -> None:
    rows.add("wallets", id="other", folded="other")
    rows.add("wallets", book="elsewhere")
    rows.add("holds")
    before = rows.all("holds")
    with pytest.raises(IntegrityError, match="a hold keeps what it was reserved with"):
        rows.run(f"UPDATE holds SET {column} = :new WHERE book = :book", new=KEPT[column])
    assert rows.all("holds") == before


def test_every_other_column_of_a_hold_may_change(rows: Rows) -> None:
    rows.add("holds")
    rows.run(
        "UPDATE holds SET last_seq = 3, state = 'charged', amount_e8 = 120, held_e8 = 0,"
        " charged_e8 = 90, refunded_e8 = 10, deadline_us = 10, lots = '{}', parked = 1,"
        " wallet = wallet, policy = policy WHERE book = :book"
    )
    changed = {"last_seq", "state", "amount_e8", "held_e8", "charged_e8", "refunded_e8"}
    assert {"book", *HOLD} == KEPT.keys() | changed | {"deadline_us", "lots", "parked"}


def test_a_hold_never_becomes_awaited_again(rows: Rows) -> None:
    rows.add("holds")
    with pytest.raises(IntegrityError, match="a hold keeps what it was reserved with"):
        rows.run(
            "UPDATE holds SET state = 'awaited', wallet = NULL, held_e8 = 0 WHERE book = :book"
        )
    with pytest.raises(IntegrityError, match="holds_wallet"):
        rows.run("UPDATE holds SET state = 'awaited', held_e8 = 0 WHERE book = :book")


def test_an_awaited_hold_becomes_a_real_one_but_of_no_other_job(rows: Rows) -> None:
    rows.add("holds", **AWAITED)
    for column in ("book", "job"):
        with pytest.raises(IntegrityError, match="a hold keeps what it was reserved with"):
            rows.run(f"UPDATE holds SET {column} = 'other' WHERE book = :book")
    changes = {name: value for name, value in HOLD.items() if name != "job"}
    set_all = ", ".join(f"{name} = :{name}" for name in changes)
    rows.run(f"UPDATE holds SET {set_all} WHERE book = :book", **changes)
    assert rows.all("holds")[0].state == "open"


@pytest.mark.parametrize("state", [{}, AWAITED], ids=["open", "awaited"])
def test_a_hold_is_never_deleted(rows: Rows, state: dict[str, Any]) -> None:
    rows.add("holds", **state)
    for where in ("", " WHERE book = :book"):
        with pytest.raises(IntegrityError, match="holds are never deleted"):
            rows.run(f"DELETE FROM holds{where}")


def test_a_hold_takes_no_other_holds_row_on_sqlite(sqlite_rows: Rows) -> None:
    sqlite_rows.add("holds")
    sqlite_rows.add("holds", job="job-2")
    with pytest.raises(IntegrityError, match="a hold keeps what it was reserved with"):
        sqlite_rows.run("UPDATE OR REPLACE holds SET job = 'job-2' WHERE job = 'job-1'")


def test_no_table_on_sqlite_has_row_numbers_that_could_be_taken_over(sqlite_rows: Rows) -> None:
    for table in METADATA.tables:
        with pytest.raises(OperationalError, match="no such column"):
            sqlite_rows.run(f"SELECT rowid FROM {table}")


# Rules in the rows

BROKEN: list[tuple[str, dict[str, Any]]] = [
    ("wallets_held", {"held_e8": -1}),
    ("wallets_credit_limit", {"credit_limit_e8": -1}),
    ("wallets_seq", {"seq": 0}),
    ("wallets_seq", {"budgets_seq": 2}),
    ("wallets_hash", {"hash": bytes(31)}),
    ("entries_kind", {"kind": "gift", "posted_e8": 0}),
    ("entries_held_after", {"held_after_e8": -1}),
    ("entries_over", {"over_e8": -1}),
    ("entries_over", {"uncollected_e8": -1}),
    ("entries_late", {"late": 2}),
    ("entries_hashes", {"digest": b""}),
    ("entries_hashes", {"hash": bytes(33)}),
    ("entries_movement", {"posted_e8": 0}),
    ("entries_movement", {"kind": "open"}),
    ("entries_movement", {"kind": "reserve", "posted_e8": 0}),
    ("entries_movement", {"kind": "extend", "posted_e8": 0, "held_e8": -1}),
    ("entries_movement", {"kind": "charge"}),
    ("entries_movement", {"kind": "release"}),
    ("entries_movement", {"kind": "refund", "posted_e8": -1}),
    ("entries_movement", {"kind": "adjust", "posted_e8": 0}),
    ("entries_movement", {"kind": "lapse"}),
    ("entries_movement", {"kind": "budget"}),
    ("holds_state", {"state": "unknown", "held_e8": 0}),
    ("holds_wallet", {"wallet": None}),
    ("holds_wallet", AWAITED | {"wallet": "studio"}),
    ("holds_amount", {"amount_e8": 0, "held_e8": 0}),
    ("holds_held", {"held_e8": 101}),
    ("holds_held", {"held_e8": -1}),
    ("holds_held", {"state": "charged"}),
    ("holds_refunded", {"refunded_e8": 1}),
    ("holds_policy", {"policy": "forgive"}),
    ("holds_on_deadline", {"on_deadline": "charge"}),
    ("holds_parked", {"parked": 2}),
    ("lots_origin", {"origin": "found"}),
    ("lots_granted", {"granted_e8": 0}),
    ("lots_granted", {"used_e8": -1}),
    ("lots_granted", {"lapsed_e8": -1}),
    ("lots_remaining", {"used_e8": 60, "lapsed_e8": 41}),
    ("lots_cash", {"cash_e8": 1}),
    ("lots_cash", {"currency": "USD"}),
    ("lots_cash", {"cash_e8": -1, "currency": "USD"}),
    ("budgets_limit", {"limit_e8": -1}),
    ("budgets_period", {"period": "year"}),
    ("budgets_rolling", {"period": "rolling"}),
    ("budgets_rolling", {"rolling_seconds": 1}),
    ("budgets_flags", {"hard": 2}),
    ("budgets_flags", {"removed": -1}),
    ("windows_levels", {"held_e8": -1}),
    ("windows_levels", {"used_e8": -1}),
    ("windows_levels", {"peak_e8": -1}),
    ("windows_times", {"end_us": 1}),
    ("inbox_kind", {"kind": "release"}),
    ("inbox_applied", {"applied": 2}),
    ("inbox_applied", {"applied": 1, "discarded_at_us": 1, "discard_reason": "stray"}),
    ("inbox_discarded", {"discarded_at_us": 1}),
    ("inbox_discarded", {"discard_reason": "stray"}),
    ("inbox_digest", {"digest": b""}),
    ("tasks_state", {"state": "lost"}),
    ("tasks_applied", {"applied": 2}),
    ("tasks_version", {"version": 0}),
    ("tasks_times", {"first_heard_at_us": 2}),
    ("messages_digest", {"digest": b""}),
    ("imports_kind", {"kind": "video"}),
    ("imports_digest", {"digest": b""}),
    ("imports_progress", {"lines": -1}),
    ("imports_progress", {"offset_bytes": -1}),
    ("imports_progress", {"complete": 2}),
    ("reconciliations_seq", {"seq": 0}),
    ("reconciliations_times", {"until_us": 1}),
    ("reconciliations_digest", {"digest": b""}),
    ("breaks_status", {"status": "forgotten"}),
    ("breaks_found", {"found_seq": 0, "seen_seq": 0}),
    ("breaks_found", {"seen_seq": 0}),
    ("breaks_period", {"until_us": 1}),
    ("periods_seq", {"seq": 0}),
    ("periods_action", {"action": "freeze"}),
    ("periods_times", {"end_us": 1}),
]
GUARDED_BEFORE = {"entries_seq"}
"""On SQLite the sequence of entries is refused before its rule is looked at."""


@pytest.mark.parametrize(("rule", "changes"), BROKEN, ids=lambda value: str(value)[:60])
def test_a_row_that_breaks_a_rule_is_refused(
    rows: Rows, rule: str, changes: dict[str, Any]
) -> None:
    table = rule.split("_", 1)[0]
    new_name = {"id": "other", "folded": "other"} if table == "wallets" else {}
    with pytest.raises(IntegrityError, match=rf"\b{rule}\b"):
        rows.add(table, **new_name, **changes)


def test_every_rule_is_broken_once_here() -> None:
    rules = {
        constraint.name
        for table in METADATA.tables.values()
        for constraint in table.constraints
        if isinstance(constraint, CheckConstraint)
    }
    assert rules == {rule for rule, _ in BROKEN} | GUARDED_BEFORE


def test_an_entry_is_numbered_from_one(rows: Rows) -> None:
    with pytest.raises(IntegrityError, match=r"entries_seq|entries are append-only"):
        rows.add("entries", seq=0)


def test_a_sound_row_of_each_table_is_taken_once(rows: Rows) -> None:
    for table in ONE_OF_EACH:
        if table != "wallets":
            rows.add(table)
        assert len(rows.all(table)) == 1
        with pytest.raises(IntegrityError):
            rows.add(table)


def test_no_two_wallets_of_a_book_differ_only_in_case(rows: Rows) -> None:
    with pytest.raises(IntegrityError):
        rows.add("wallets", id="Studio")


@pytest.mark.parametrize("table", ["entries", "holds", "lots", "budgets", "windows"])
def test_a_row_needs_its_wallet(empty_url: str, table: str) -> None:
    with opened(empty_url) as engine:
        schema.upgrade(engine)
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":
                connection.execute(text("PRAGMA foreign_keys = ON"))
            connection.execute(text("BEGIN" if engine.dialect.name == "sqlite" else "SELECT 1"))
            with pytest.raises(IntegrityError, match=r"(?i)foreign key"):
                Rows(connection, "book").add(table)


# Which version a database is


def version_is(engine: Engine, revision: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '{revision}'"))


def refusal(engine: Engine) -> StoreError:
    with engine.connect() as connection, pytest.raises(StoreError) as caught:
        schema.require(connection)
    return caught.value


def test_the_head_is_the_last_revision_of_one_line() -> None:
    config = Config()
    config.set_main_option("script_location", "ledger:migrations")
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [schema.HEAD]
    assert all(re.fullmatch(r"\d{4}", item.revision) for item in script.walk_revisions())


def test_opening_a_book_does_not_import_alembic() -> None:
    program = "import sys, ledger.store.schema\nprint('alembic' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def test_an_upgrade_makes_the_tables_once(empty_url: str) -> None:
    with opened(empty_url) as engine:
        assert schema.upgrade(engine) == schema.Found("empty", None)
        assert set(inspect(engine).get_table_names()) == {*METADATA.tables, schema.VERSION_TABLE}
        assert schema.upgrade(engine) == schema.Found("current", schema.HEAD)
        with engine.connect() as connection:
            schema.require(connection)


UPGRADER = """
import sys
import alembic.command
from sqlalchemy import create_engine
from ledger.store import schema
engine = create_engine(sys.argv[1])
print("ready", flush=True)
input()
print(schema.upgrade(engine).state)
"""


def test_four_processes_may_upgrade_at_once(empty_url: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", UPGRADER, empty_url],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    told = [process.communicate() for process in processes]
    assert [errors for _, errors in told] == [""] * 4
    assert sorted(answer for answer, _ in told) == ["current\n"] * 3 + ["empty\n"]
    with opened(empty_url) as engine:
        assert schema.status(engine).state == "current"


def test_an_upgrade_that_fails_leaves_nothing_behind(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrate = schema._migrate

    def fail(connection: Connection) -> None:
        migrate(connection)
        raise KeyboardInterrupt

    monkeypatch.setattr(schema, "_migrate", fail)
    with opened(empty_url) as engine:
        with pytest.raises(KeyboardInterrupt):
            schema.upgrade(engine)
        assert inspect(engine).get_table_names() == []


def test_an_upgrade_that_does_not_arrive_is_an_error(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "_migrate", lambda _: None)
    with opened(empty_url) as engine, pytest.raises(StoreError, match=schema.HEAD):
        schema.upgrade(engine)


def test_an_empty_database_needs_migration(empty_url: str) -> None:
    with opened(empty_url) as engine:
        error = refusal(engine)
        assert isinstance(error, NeedsMigration)
        assert (error.code, error.exit_status) == ("needs_migration", 8)
        assert "has no ledger yet" in str(error)
        assert "kling-ledger db upgrade" in str(error)
        assert schema.status(engine).state == "empty"


def test_an_older_database_needs_migration(empty_url: str) -> None:
    with opened(empty_url) as engine:
        schema.upgrade(engine)
        version_is(engine, "0000")
        error = refusal(engine)
        assert isinstance(error, NeedsMigration)
        assert f"revision 0000 and this kling-ledger needs {schema.HEAD}" in str(error)
        assert schema.status(engine)[:2] == ("older", "0000")


def test_an_older_database_is_upgraded(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(empty_url) as engine:
        schema.upgrade(engine)
        monkeypatch.setattr(schema, "HEAD", "0003")
        to_0003 = text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '0003'")
        monkeypatch.setattr(schema, "_migrate", lambda connection: connection.execute(to_0003))
        assert schema.upgrade(engine) == schema.Found("older", "0002")
        assert schema.upgrade(engine) == schema.Found("current", "0003")


def test_a_book_of_the_first_tables_keeps_everything_when_it_is_upgraded(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(empty_url) as engine:
        with monkeypatch.context() as older:
            older.setattr(schema, "HEAD", "0001")
            schema.upgrade(engine)
        with engine.begin() as connection:
            Rows(connection, "main").add("wallets")
        assert schema.status(engine)[:2] == ("older", "0001")
        assert isinstance(refusal(engine), NeedsMigration)
        schema.upgrade(engine)
        with engine.connect() as connection:
            assert len(Rows(connection, "main").all("wallets")) == 1
            assert Rows(connection, "main").all("tasks") == []


@pytest.mark.parametrize("revision", ["0003", "9999", "10000", "b4d5e6f7"])
def test_a_newer_database_is_left_alone(empty_url: str, revision: str) -> None:
    with opened(empty_url) as engine:
        schema.upgrade(engine)
        version_is(engine, revision)
        error = refusal(engine)
        assert isinstance(error, NewerStore)
        assert (error.code, error.exit_status) == ("newer_store", 8)
        assert f"revision {revision}, made by a newer kling-ledger" in str(error)
        with pytest.raises(NewerStore):
            schema.upgrade(engine)
        assert schema.status(engine)[:2] == ("newer", revision)


@pytest.mark.parametrize("made", ["TABLE wallets (id TEXT)", "VIEW wallets AS SELECT 1 AS id"])
def test_a_table_of_somebody_else_is_left_alone(empty_url: str, made: str) -> None:
    with opened(empty_url) as engine:
        with engine.begin() as connection:
            connection.execute(text(f"CREATE {made}"))
        error = refusal(engine)
        assert isinstance(error, NotALedger)
        assert (error.code, error.exit_status) == ("not_a_ledger", 8)
        assert "has tables named wallets" in str(error)
        with pytest.raises(NotALedger):
            schema.upgrade(engine)
        assert schema.status(engine).state == "foreign"


def test_a_name_in_other_case_collides_on_sqlite(empty_sqlite_url: str) -> None:
    with opened(empty_sqlite_url) as engine:
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE Wallets (id TEXT)"))
        assert schema.status(engine).state == "foreign"


def test_a_service_may_keep_its_own_tables_beside(empty_url: str) -> None:
    with opened(empty_url) as engine:
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE videos (id TEXT)"))
            connection.execute(text("CREATE TABLE alembic_version (version_num TEXT)"))
            connection.execute(text("INSERT INTO alembic_version VALUES ('theirs')"))
        assert schema.upgrade(engine).state == "empty"
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT version_num FROM alembic_version")) == "theirs"


def test_a_book_is_never_downgraded() -> None:
    with pytest.raises(NotImplementedError, match="never downgraded"):
        v0001_tables.downgrade()


def test_the_status_names_the_server(database_url: str) -> None:
    with opened(database_url) as engine:
        found = schema.status(engine)
    assert found[:4] == (
        "current",
        schema.HEAD,
        schema.HEAD,
        make_url(database_url).get_backend_name(),
    )
    assert re.match(r"\d+\.\d+", found.server_version)


def test_an_sqlite_without_strict_tables_is_refused(
    empty_sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(empty_sqlite_url) as engine:
        schema.status(engine)
        monkeypatch.setattr(engine.dialect, "server_version_info", (3, 36, 0))
        with pytest.raises(StoreError, match=r"comes with SQLite 3\.36\.0; a ledger needs 3\.37"):
            schema.upgrade(engine)
        assert inspect(engine).get_table_names() == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://li:secret@db/credits",
        "postgresql+psycopg://li@db/credits?password=secret",
        "postgresql+psycopg://li:secret@/credits?host=/run/pg&sslpassword=secret",
    ],
)
def test_no_password_is_shown(url: str) -> None:
    shown = schema.shown_url(make_url(url))
    assert "secret" not in shown
    assert "***" in shown
    assert "li" in shown


# Citus


def test_sqlite_is_not_distributed(sqlite_url: str) -> None:
    with opened(sqlite_url) as engine, pytest.raises(StoreError, match="only PostgreSQL") as caught:
        schema.distribute(engine)
    assert caught.value.exit_status == 8


def test_a_server_without_citus_says_so(postgres_url: str) -> None:
    with opened(postgres_url) as engine:
        with engine.connect() as connection:
            if connection.scalar(text("SELECT 1 FROM pg_extension WHERE extname = 'citus'")):
                pytest.skip("this server has Citus")
        with pytest.raises(StoreError, match="does not have the Citus extension"):
            schema.distribute(engine)


def test_tables_are_not_distributed_before_they_exist(empty_postgres_url: str) -> None:
    with opened(empty_postgres_url) as engine, pytest.raises(NeedsMigration):
        schema.distribute(engine)


STAND_IN = """
CREATE TABLE pg_dist_partition (logicalrelid regclass, partmethod "char", colocated text,
    at bigint GENERATED ALWAYS AS IDENTITY);
CREATE FUNCTION create_distributed_table(
    name regclass, by text, colocate_with text DEFAULT 'default'
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('citus.enable_unsafe_triggers', true) IS DISTINCT FROM 'on' OR by <> 'book'
    THEN RAISE EXCEPTION 'not like this'; END IF;
    INSERT INTO pg_dist_partition VALUES (name, 'h', colocate_with);
END $$
"""


def test_what_citus_is_asked_for_and_that_it_is_asked_once(
    empty_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against a stand-in for Citus: it shows the statements, not that Citus takes them."""
    monkeypatch.setattr(schema, "_require_citus", lambda _: None)
    with opened(empty_postgres_url) as engine:
        schema.upgrade(engine)
        with engine.begin() as connection:
            if connection.scalar(text("SELECT to_regclass('pg_dist_partition')")):
                pytest.skip("this server has Citus")
            connection.exec_driver_sql(STAND_IN)
        done = schema.distribute(engine)
        assert (done[0], set(done)) == ("wallets", set(METADATA.tables))
        with engine.connect() as connection:
            asked = connection.execute(
                text("SELECT logicalrelid::text, colocated FROM pg_dist_partition ORDER BY at")
            ).all()
        assert [tuple(row) for row in asked] == [
            (name, "none" if name == "wallets" else "wallets") for name in done
        ]
        assert schema.distribute(engine) == ()

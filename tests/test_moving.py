"""Moving a book between databases."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from command import SCHEMAS, call
from jsonschema import Draft202012Validator
from test_book import tamper
from test_schema import Rows

from ledger.book import Book
from ledger.errors import KeyReused, NeedsMigration, StoreError, VerificationFailed
from ledger.tables import METADATA


def filled(url: str, book: str) -> Book:
    """A book with something in every table."""
    ledger = Book(url, book=book)
    ledger.top_up("studio", 100, key="invoice-1", cash="1.40", currency="USD")
    ledger.open_wallet("Атлас", credit_limit=5)
    ledger.set_budget("studio", "each", 50, key="b1", match={"user": "*"}, thresholds=[50])
    ledger.reserve("studio", 40, key="job-1", labels={"user": "日本 🎬"})
    ledger.charge("job-1", "30.00000001")
    ledger.reserve("studio", 20, key="job-2", deadline=timedelta(days=2))
    ledger.charge("job-3", 7)
    return ledger


@pytest.mark.parametrize("direction", ["there", "back"])
def test_a_book_is_copied_as_it_is(
    sqlite_url: str, postgres_url: str, book: str, direction: str
) -> None:
    old, new = sqlite_url, postgres_url
    if direction == "back":
        old, new = new, old
    with filled(old, book) as before:
        copied = before.copy_to(new)
        # open, top-up, budget, two reserves, a charge; and the opening of the other wallet.
        assert (copied.wallets, copied.entries) == (2, 7)
        assert copied.rows == {
            "wallets": 2, "entries": 7, "holds": 3, "lots": 1, "budgets": 1, "windows": 1,
            "inbox": 1, "tasks": 0, "messages": 0, "imports": 0, "reconciliations": 0, "breaks": 0,
            "periods": 0,
        }  # fmt: skip
        with Book(new, book=book) as after:
            assert after.statement("studio") == before.statement("studio")
            assert after.balance("studio") == before.balance("studio")
            assert after.hold("job-2") == before.hold("job-2")
            assert after.budget_status("studio") == before.budget_status("studio")
            assert after.inbox() == before.inbox()
            assert after.charge("job-1", "30.00000001").replayed
            with pytest.raises(KeyReused):
                after.charge("job-1", 30)
            after.reserve("studio", 7, key="job-3")
            assert after.hold("job-3").state == "charged"
            assert after.verify().findings == ()


@pytest.mark.parametrize("direction", ["there", "back"])
def test_every_row_of_every_table_is_copied(
    sqlite_url: str, postgres_url: str, book: str, direction: str
) -> None:
    old, new = sqlite_url, postgres_url
    if direction == "back":
        old, new = new, old
    with filled(old, book) as before:
        ended = f"{datetime.now(UTC) - timedelta(days=9):%Y-%m-%d}"
        before.close_period(f"2026-01-01/{ended}", unreconciled="nobody looked")
        late = before.adjust("studio", 1, key="fix-1", reason="slip", at="2026-01-05")
        with before.engine.begin() as connection:
            for table in ("tasks", "messages", "imports", "reconciliations", "breaks"):
                Rows(connection, book).add(table)
        before.copy_to(new)
        with Book(new, book=book) as after:
            assert all(rows_of(before).values())
            assert rows_of(after) == rows_of(before)
            # The freeze goes along, and the same late fact is the same.
            again = after.adjust("studio", 1, key="fix-1", reason="slip", at="2026-01-05")
            assert again == late._replace(replayed=True)
            assert after.adjust("studio", 1, key="b", reason="slip", at="2026-01-05").corrects
            assert after.verify().findings == ()


def rows_of(ledger: Book) -> dict[str, list[Any]]:
    with ledger.engine.connect() as connection:
        rows = Rows(connection, ledger.book)
        return {table: rows.all(table) for table in METADATA.tables}


def test_a_copy_never_mixes_with_a_book_that_is_there(
    sqlite_url: str, postgres_url: str, book: str
) -> None:
    with filled(sqlite_url, book) as before:
        before.copy_to(postgres_url)
        with pytest.raises(StoreError, match="already"):
            before.copy_to(postgres_url)
        with pytest.raises(StoreError, match="already"):
            before.copy_to(sqlite_url)


def test_a_book_that_contradicts_itself_is_not_copied(
    sqlite_url: str, postgres_url: str, book: str
) -> None:
    with filled(sqlite_url, book) as before:
        tamper(before.engine, "UPDATE entries SET posted_e8 = posted_e8 - 1 WHERE kind = 'charge'")
        with pytest.raises(VerificationFailed, match="entry 5"):
            before.copy_to(postgres_url)
    with Book(postgres_url, book=book) as after:
        assert after.wallets() == []


def test_a_database_without_tables_is_to_be_upgraded_first(
    sqlite_url: str, empty_postgres_url: str
) -> None:
    with filled(sqlite_url, "main") as before, pytest.raises(NeedsMigration):
        before.copy_to(empty_postgres_url)


def test_a_new_sqlite_file_is_made(sqlite_url: str, empty_sqlite_url: str) -> None:
    with filled(sqlite_url, "main") as before:
        assert before.copy_to(empty_sqlite_url).entries == 7
    with Book(empty_sqlite_url) as after:
        assert after.verify().entries == 7


def test_a_book_is_copied_from_the_command_line(
    sqlite_url: str, postgres_url: str, book: str
) -> None:
    filled(sqlite_url, book).close()
    words = ("db", "copy", "--db", sqlite_url, "--to", postgres_url, "--book", book)
    done = call(*words)
    assert done.stdout.startswith(f"copied and verified: book {book} with 2 wallets and 7 entries")
    with Book(postgres_url, book=book) as after:
        assert after.balance("studio").held == 20
    again = call(*words)
    assert (again.status, again.stdout) == (8, "")
    assert f"has a book '{book}' already" in again.stderr


def test_a_copy_is_a_document(sqlite_url: str, empty_sqlite_url: str) -> None:
    filled(sqlite_url, "main").close()
    words = ("db", "copy", "--db", sqlite_url, "--to", empty_sqlite_url, "--format")
    done = call(*words, "json")
    schema = json.loads((SCHEMAS / "copy.v1.json").read_text())
    Draft202012Validator(schema).validate(json.loads(done.stdout))
    assert (done.data["source"], done.data["rows"]["holds"]) == (sqlite_url, 3)

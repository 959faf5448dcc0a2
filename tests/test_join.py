"""A book joined to the caller's own transaction: its rows and ours live or die together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.orm import Session

from ledger import Ledger
from ledger.book import Book, Charge, Reserve
from ledger.errors import (
    BudgetExceeded,
    InsufficientCredits,
    InvalidEntry,
    NeedsMigration,
    StoreUnavailable,
)


@pytest.fixture
def ledger(database_url: str, book: str) -> Iterator[Book]:
    with Ledger(database_url, book=book) as opened:
        opened.top_up("studio", 100, key="invoice-1")
        with opened.engine.begin() as connection:
            connection.execute(text("CREATE TABLE IF NOT EXISTS orders (book TEXT, job TEXT)"))
        yield opened
        assert opened.verify().findings == ()


def order(connection: Connection, book: Book, job: str) -> None:
    row = {"book": book.book, "job": job}
    connection.execute(text("INSERT INTO orders VALUES (:book, :job)"), row)


def orders(book: Book) -> list[str]:
    with book.engine.connect() as connection:
        query = text("SELECT job FROM orders WHERE book = :book ORDER BY job")
        return list(connection.execute(query, {"book": book.book}).scalars())


def test_a_row_and_its_reserve_are_committed_together(ledger: Book) -> None:
    with ledger.engine.begin() as connection:
        order(connection, ledger, "job-1")
        ledger.join(connection).reserve("studio", 40, key="job-1")
    assert orders(ledger) == ["job-1"]
    assert ledger.balance("studio").available == 60


def test_a_connection_that_commits_by_itself_cannot_be_joined(
    ledger: Book, postgres_url: str
) -> None:
    engine = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection, pytest.raises(InvalidEntry, match="autocommit"):
        ledger.join(connection)
    engine.dispose()


def test_a_row_and_its_reserve_are_rolled_back_together(ledger: Book) -> None:
    with ledger.engine.connect() as connection:
        order(connection, ledger, "job-1")
        joined = ledger.join(connection)
        joined.reserve("studio", 40, key="job-1")
        assert joined.balance("studio").available == 60
        connection.rollback()
    assert orders(ledger) == []
    assert ledger.balance("studio").available == 100
    # The key was not used either, and nothing warm remembers what never was.
    assert not ledger.reserve("studio", 30, key="job-1").replayed
    assert ledger.balance("studio").available == 70


def test_a_joined_book_can_be_used_again_after_the_caller_rolled_back(ledger: Book) -> None:
    with ledger.engine.connect() as connection:
        joined = ledger.join(connection)
        joined.reserve("studio", 40, key="job-1")
        connection.rollback()
        assert joined.balance("studio").available == 100
        assert not joined.reserve("studio", 70, key="job-1").replayed
        connection.commit()
    assert ledger.balance("studio").available == 30


def test_a_refusal_leaves_the_callers_transaction_usable(ledger: Book) -> None:
    with ledger.engine.begin() as connection:
        order(connection, ledger, "job-1")
        joined = ledger.join(connection)
        with pytest.raises(InsufficientCredits):
            joined.reserve("studio", 101, key="job-1")
        joined.set_budget("studio", "ads", 5, key="b", match={"team": "ads"})
        with pytest.raises(BudgetExceeded):
            joined.reserve("studio", 6, key="job-1", labels={"team": "ads"})
        joined.reserve("studio", 6, key="job-2")
        order(connection, ledger, "job-2")
    assert orders(ledger) == ["job-1", "job-2"]
    assert ledger.balance("studio").held == 6


def test_a_repeated_key_is_replayed_inside_the_transaction(ledger: Book) -> None:
    first = ledger.reserve("studio", 40, key="job-1")
    with ledger.engine.begin() as connection:
        joined = ledger.join(connection)
        assert joined.reserve("studio", 40, key="job-1") == first._replace(replayed=True)
        charge = joined.charge("job-1", 25)
        assert joined.charge("job-1", 25) == charge._replace(replayed=True)
    assert ledger.balance("studio").posted == 75


def test_a_batch_is_one_part_of_the_transaction(ledger: Book) -> None:
    with ledger.engine.begin() as connection:
        joined = ledger.join(connection)
        jobs = [f"job-{number}" for number in range(40)]
        joined.reserve_many([Reserve("studio", 2, job) for job in jobs])
        joined.charge_many([Charge(job, 1) for job in jobs])
    balance = ledger.balance("studio")
    assert (balance.posted_e8, balance.held_e8) == (60 * 10**8, 0)


def test_an_orm_session_can_be_joined(ledger: Book) -> None:
    with Session(ledger.engine) as session:
        order(session.connection(), ledger, "job-1")
        ledger.join(session.connection()).reserve("studio", 40, key="job-1")
        session.commit()
    assert orders(ledger) == ["job-1"]
    assert ledger.balance("studio").held == 40


@pytest.mark.parametrize("commits", [True, False])
@pytest.mark.parametrize("how", [{}, {"isolation_level": "AUTOCOMMIT"}])
def test_an_engine_of_the_callers_own_commits_no_earlier_than_the_caller(
    sqlite_url: str, how: dict[str, Any], commits: bool
) -> None:
    # Python's SQLite driver opens no transaction for a savepoint, so releasing it would commit.
    with Ledger(sqlite_url) as book:
        book.top_up("studio", 100, key="t")
        engine = create_engine(sqlite_url)
        with engine.connect() as connection:
            joined = book.join(connection)
            joined.reserve("studio", 40, key="job-1")
            assert book.balance("studio").held == 0
            connection.commit() if commits else connection.rollback()
        engine.dispose()
        assert book.balance("studio").held == (40 if commits else 0)


def test_a_connection_to_a_database_without_a_book_is_refused(empty_url: str, ledger: Book) -> None:
    with (
        engine_of(empty_url) as engine,
        engine.connect() as connection,
        pytest.raises(NeedsMigration, match="db upgrade"),
    ):
        ledger.join(connection)


def test_what_cannot_be_joined_is_named(ledger: Book) -> None:
    with pytest.raises(InvalidEntry, match="must be an SQLAlchemy Connection, not Engine"):
        ledger.join(ledger.engine)  # type: ignore[arg-type]
    connection = ledger.engine.connect()
    connection.close()
    with pytest.raises(InvalidEntry, match="is closed"):
        ledger.join(connection)


def test_a_lost_connection_is_the_callers_to_begin_again(postgres_url: str, book: str) -> None:
    with Ledger(postgres_url, book=book) as ledger:
        ledger.top_up("studio", 100, key="t")
        with ledger.engine.connect() as connection, ledger.engine.connect() as other:
            joined = ledger.join(connection)
            joined.reserve("studio", 40, key="job-1")
            backend = connection.execute(text("SELECT pg_backend_pid()")).scalar()
            other.execute(text("SELECT pg_terminate_backend(:backend)"), {"backend": backend})
            with pytest.raises(StoreUnavailable, match="try again"):
                joined.reserve("studio", 40, key="job-2")
        assert ledger.balance("studio").held == 0


@contextmanager
def engine_of(url: str) -> Iterator[Engine]:
    engine = create_engine(url)
    try:
        yield engine
    finally:
        engine.dispose()

"""The book: one durable verb at a time, in batches, from many processes, and looking into it.

Goals: a reserve in 150 µs on SQLite and 200 µs on PostgreSQL at the median, however many holds
there are; with five budgets at most twice that; batches of 100,000 reserves a second on SQLite and
50,000 on PostgreSQL; 50,000 whole jobs a second; 300,000 entries verified a second; a statement of
10,000 lines in 100 ms. All of it stands and falls with the disk: compare with the flush latency in
the header, and with the two bare ways measured beside it.
"""

from __future__ import annotations

import multiprocessing
import sqlite3
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import count
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import uuid4

import databases
import psycopg
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sqlalchemy import BigInteger, Engine, create_engine, make_url, text
from sqlmodel import Field, Session, SQLModel, select

from ledger.book import Book, Charge, Release, Reserve
from ledger.records import Entry
from ledger.store import make_engine

LABELS = {"team": "ads", "user": "li"}
AMOUNT = Decimal("141.5939616")
MANY = 20_000
ROUNDS = 2_000
CLIENTS = 4
ENGINES = ["sqlite", "postgresql"]
Row = tuple[Any, ...]


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A new database with the tables of a book."""
    if request.param == "sqlite":
        yield databases.migrate(databases.sqlite_url(tmp_path / "ledger.db"))
        return
    server = make_url(request.getfixturevalue("postgres_server"))
    with databases.fresh_schema(server.set(drivername="postgresql+psycopg")) as inside:
        yield databases.migrate(inside)


@pytest.fixture
def book(url: str) -> Iterator[Book]:
    with Book(url) as opened:
        opened.top_up("studio", 50_000_000_000, key="invoice-1")
        yield opened
        assert opened.verify().findings == ()


def reserve_one(book: Book, first: int = 0) -> Callable[[], Entry]:
    numbers = count(first)
    return lambda: book.reserve("studio", AMOUNT, key=f"job-{next(numbers)}", labels=LABELS)


def reserves(numbers: range) -> list[Reserve]:
    return [Reserve("studio", AMOUNT, f"batch-{number}", LABELS) for number in numbers]


def test_one_durable_reserve(benchmark: BenchmarkFixture, book: Book) -> None:
    benchmark.pedantic(reserve_one(book), rounds=ROUNDS, warmup_rounds=100)
    assert book.balance("studio").held == AMOUNT * (ROUNDS + 100)


def test_one_durable_reserve_with_five_budgets(benchmark: BenchmarkFixture, book: Book) -> None:
    for number, (match, period) in enumerate(
        [
            ({}, "month"),
            ({"team": "ads"}, "month"),
            ({"team": "ads"}, "day"),
            ({"user": "*"}, "day"),
            ({"team": "ads", "user": "*"}, "in_flight"),
        ]
    ):
        book.set_budget(
            "studio", f"b{number}", 50_000_000_000, key=f"b{number}", match=match, period=period
        )
    benchmark.pedantic(reserve_one(book), rounds=ROUNDS, warmup_rounds=100)
    assert book.balance("studio").held == AMOUNT * (ROUNDS + 100)
    assert book.budget_status("studio", title="b3")[0].held == AMOUNT * (ROUNDS + 100)


def test_one_durable_charge(benchmark: BenchmarkFixture, book: Book) -> None:
    book.reserve_many(reserves(range(ROUNDS + 100)))
    numbers = count()
    benchmark.pedantic(
        lambda: book.charge(f"batch-{next(numbers)}", 100), rounds=ROUNDS, warmup_rounds=100
    )
    assert book.balance("studio").held == 0


@pytest.mark.parametrize("holds", [0, 10_000, 100_000, 1_000_000])
def test_one_durable_reserve_beside_many_holds(
    benchmark: BenchmarkFixture, book: Book, holds: int
) -> None:
    for start in range(0, holds, MANY):
        book.reserve_many(reserves(range(start, min(holds, start + MANY))))
    benchmark.pedantic(reserve_one(book), rounds=ROUNDS, warmup_rounds=100)
    assert book.balance("studio").held == AMOUNT * (holds + ROUNDS + 100)


def test_a_batch_of_reserves(benchmark: BenchmarkFixture, book: Book) -> None:
    numbers = count(0, MANY)

    def items() -> tuple[tuple[list[Reserve]], dict[str, Any]]:
        start = next(numbers)
        return (reserves(range(start, start + MANY)),), {}

    benchmark.extra_info["rows"] = MANY
    benchmark.pedantic(book.reserve_many, setup=items, rounds=5)
    assert book.balance("studio").held == AMOUNT * MANY * 5


def test_a_batch_of_whole_jobs(benchmark: BenchmarkFixture, book: Book) -> None:
    numbers = count(0, MANY)

    def items() -> tuple[tuple[list[Reserve], list[Charge]], dict[str, Any]]:
        start = next(numbers)
        reserving = reserves(range(start, start + MANY))
        return (reserving, [Charge(item.key, 100) for item in reserving]), {}

    def jobs(reserving: list[Reserve], charging: list[Charge]) -> None:
        book.reserve_many(reserving)
        book.charge_many(charging)

    benchmark.extra_info["rows"] = MANY
    benchmark.pedantic(jobs, setup=items, rounds=5)
    balance = book.balance("studio")
    spent = 100 * MANY * 5
    assert (str(balance.posted), str(balance.held)) == (str(50_000_000_000 - spent), "0")


def test_verify(benchmark: BenchmarkFixture, book: Book) -> None:
    book.reserve_many(reserves(range(MANY)))
    book.charge_many([Charge(f"batch-{number}", 100) for number in range(MANY // 2)])
    book.release_many([Release(f"batch-{number}") for number in range(MANY // 2, MANY)])
    found = book.verify()
    assert (found.entries, found.findings) == (2 * MANY + 2, ())
    benchmark.extra_info["rows"] = found.entries
    benchmark.pedantic(book.verify, rounds=5)


@pytest.mark.parametrize("entries", [100, 100_000])
def test_a_balance_beside_many_entries(
    benchmark: BenchmarkFixture, book: Book, entries: int
) -> None:
    for start in range(0, entries, MANY):
        book.reserve_many(reserves(range(start, min(entries, start + MANY))))
    assert book.balance("studio").held == AMOUNT * entries
    benchmark.pedantic(lambda: book.balance("studio"), rounds=ROUNDS, warmup_rounds=100)


def test_a_statement_of_10_000_lines(benchmark: BenchmarkFixture, book: Book) -> None:
    book.reserve_many(reserves(range(9_998)))
    assert len(book.statement("studio").lines) == 10_000
    benchmark.pedantic(lambda: book.statement("studio"), rounds=10)


# Many clients


def _client(url: str, worker: int, ready: Any, waits: Any) -> None:
    with Book(url) as book:
        book.reserve("studio", 1, key=f"{worker}-first")
        ready.wait()
        spans = []
        for number in range(500):
            started = perf_counter()
            book.reserve("studio", 1, key=f"{worker}-{number}", labels=LABELS)
            spans.append(perf_counter() - started)
        waits.put(spans)


def test_reserves_from_several_processes_on_one_wallet(
    benchmark: BenchmarkFixture, book: Book, url: str
) -> None:
    context = multiprocessing.get_context("spawn")

    def run() -> list[float]:
        ready, waits = context.Barrier(CLIENTS), context.Queue()
        workers = [
            context.Process(target=_client, args=(url, f"{uuid4().hex[:6]}", ready, waits))
            for _ in range(CLIENTS)
        ]
        for worker in workers:
            worker.start()
        spans = [span for _ in workers for span in waits.get()]
        for worker in workers:
            worker.join()
        return sorted(spans)

    spans = run()
    assert book.balance("studio").held == CLIENTS * 501
    benchmark.extra_info |= {
        "clients": CLIENTS,
        "p50_us": round(spans[len(spans) // 2] * 1e6),
        "p99_us": round(spans[len(spans) * 99 // 100] * 1e6),
        "reserves_a_second": round(CLIENTS * len(spans) / sum(spans)),
    }
    benchmark.pedantic(lambda: None, rounds=1)


# The same work in the ways one would write first


class NaiveWallet(SQLModel, table=True):
    __tablename__ = "naive_wallets"
    id: str = Field(primary_key=True)
    posted_e8: int = Field(sa_type=BigInteger)
    held_e8: int = Field(sa_type=BigInteger)


class NaiveHold(SQLModel, table=True):
    __tablename__ = "naive_holds"
    job: str = Field(primary_key=True)
    wallet: str
    held_e8: int = Field(sa_type=BigInteger)


@pytest.fixture
def naive(url: str) -> Iterator[Engine]:
    engine = make_engine(url)
    SQLModel.metadata.create_all(engine, tables=[NaiveWallet.__table__, NaiveHold.__table__])  # type: ignore[attr-defined]
    with Session(engine) as session:
        session.add(NaiveWallet(id="studio", posted_e8=2**60, held_e8=0))
        session.commit()
    yield engine
    engine.dispose()


def test_naive_get_check_add_commit(benchmark: BenchmarkFixture, naive: Engine) -> None:
    """No budgets, no keys, no entries, no hashes; and it over-admits on PostgreSQL."""
    numbers = count()

    def reserve() -> None:
        with Session(naive) as session:
            wallet = session.exec(select(NaiveWallet).where(NaiveWallet.id == "studio")).one()
            assert wallet.posted_e8 - wallet.held_e8 >= 5
            wallet.held_e8 += 5
            session.add(wallet)
            session.add(NaiveHold(job=f"job-{next(numbers)}", wallet="studio", held_e8=5))
            session.commit()

    benchmark.pedantic(reserve, rounds=ROUNDS, warmup_rounds=100)
    with Session(naive) as session:
        assert session.exec(select(NaiveWallet)).one().held_e8 == 5 * (ROUNDS + 100)


def test_bare_driver_with_the_same_rows(benchmark: BenchmarkFixture, book: Book, url: str) -> None:
    """The statements of a reserve on the driver's own cursor, with rows that are ready made."""
    for number in range(ROUNDS + 100):
        book.reserve("studio", AMOUNT, key=f"job-{number}", labels=LABELS)
    rows = _written(book.engine)
    run, book_name = Bare(url), "bare"
    wallet = (book_name, *rows["wallets"][0][1:])
    entries = [(book_name, *row[1:]) for row in rows["entries"]]
    holds = [(book_name, *row[1:]) for row in rows["holds"]]
    run.insert("wallets", wallet)
    for entry in entries[:2]:
        run.insert("entries", entry)
    numbers = count()

    def reserve() -> None:
        place = next(numbers)
        run.reserve(wallet, holds[place], entries[place + 2])

    benchmark.pedantic(reserve, rounds=ROUNDS, warmup_rounds=100)
    run.close()
    with book.engine.begin() as connection:
        # It went round the book, and says so by having no chain; it is not for `verify`.
        count_ = connection.execute(text("SELECT count(*) FROM holds WHERE book = 'bare'"))
        assert count_.scalar() == ROUNDS + 100


def _written(engine: Engine) -> dict[str, list[Row]]:
    orders = {"wallets": "id", "entries": "seq", "holds": "seq"}
    with engine.connect() as connection:
        return {
            table: [tuple(row) for row in connection.exec_driver_sql(
                f"SELECT * FROM {table} ORDER BY {order}"
            )]
            for table, order in orders.items()
        }  # fmt: skip


class Bare:
    """One connection, one transaction a reserve."""

    def __init__(self, url: str) -> None:
        self.is_sqlite = url.startswith("sqlite")
        if self.is_sqlite:
            self.connection: Any = sqlite3.connect(url.removeprefix("sqlite:///"))
            self.connection.isolation_level = None
            for pragma in ("synchronous = FULL", "foreign_keys = ON", "recursive_triggers = ON"):
                self.connection.execute(f"PRAGMA {pragma}")
        else:
            plain = make_url(url).set(drivername="postgresql")
            self.connection = psycopg.connect(
                plain.render_as_string(hide_password=False), autocommit=True
            )

    def insert(self, table: str, row: tuple[Any, ...]) -> None:
        self.connection.execute(self._insert(table, len(row)), row)

    def _insert(self, table: str, columns: int) -> str:
        mark = "?" if self.is_sqlite else "%s"
        return f"INSERT INTO {table} VALUES ({', '.join([mark] * columns)})"

    def reserve(
        self, wallet: tuple[Any, ...], hold: tuple[Any, ...], entry: tuple[Any, ...]
    ) -> None:
        run = self.connection.execute
        if self.is_sqlite:
            run("BEGIN IMMEDIATE")
            run("SELECT * FROM wallets WHERE book = ? AND id = ?", wallet[:2]).fetchall()
            run("UPDATE wallets SET seq = ? WHERE book = ? AND id = ?", (entry[2], *wallet[:2]))
            run(self._insert("holds", len(hold)), hold)
            run(self._insert("entries", len(entry)), entry)
            run("COMMIT")
            return
        marks = {"w": "UPDATE wallets SET seq = %s WHERE book = %s AND id = %s RETURNING 1"}
        run(
            f"WITH w AS ({marks['w']}), h AS ({self._insert('holds', len(hold))}),"
            f" e AS ({self._insert('entries', len(entry))}) SELECT count(*) FROM w",
            (entry[2], *wallet[:2], *hold, *entry),
        )

    def close(self) -> None:
        self.connection.close()


def test_the_disk_alone(benchmark: BenchmarkFixture, url: str) -> None:
    """One row, one commit: what nothing durable can be faster than."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE one (a BIGINT)"))
    run = Bare(url)
    benchmark.pedantic(lambda: run.connection.execute("INSERT INTO one VALUES (1)"), rounds=ROUNDS)
    run.close()
    engine.dispose()

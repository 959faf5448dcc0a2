"""Writing a book's entries and jobs for other programs.

The book has 50,000 jobs of 3 to 30 seconds, each reserved and charged in full, from one top-up of
known cash. What is checked first: the rows, and that the cost of all jobs is the cash less what is
left. Files go to memory, so that no disk is measured.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import databases
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from ledger.book import Book, Charge, Reserve
from ledger.exports.fields import Table
from ledger.exports.flat import Format, write_flat
from ledger.exports.rows import reading
from ledger.exports.tallies import Tally
from ledger.exports.workbook import write_workbook
from ledger.reports.asking import ask

JOBS = 50_000
AT_ONCE = 1_000
RATE = Decimal("8.1648")
LENGTHS = range(3, 31)


def cost(number: int) -> Decimal:
    return RATE * LENGTHS[number % len(LENGTHS)]


TOTAL = sum(map(cost, range(JOBS)), Decimal(0))


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Book]:
    """A book whose credits cost 0.01 dollar each."""
    path: Path = tmp_path_factory.mktemp("book") / "ledger.db"
    with Book(databases.migrate(databases.sqlite_url(path)), book="main") as opened:
        opened.top_up("studio", TOTAL, key="invoice-1", cash=TOTAL / 100, currency="USD")
        for first in range(0, JOBS, AT_ONCE):
            numbers = range(first, first + AT_ONCE)
            opened.batch(
                [
                    Reserve("studio", cost(number), f"job-{number}", labels={"team": "ads"})
                    for number in numbers
                ]
            )
            opened.batch([Charge(f"job-{number}", cost(number)) for number in numbers])
        yield opened


def exported(book: Book, table: Table, format: Format) -> Tally:
    with reading(ask(book)) as found:
        return write_flat(found, table, io.BytesIO(), format=format)


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("table", ["entries", "jobs"])
def test_rows(benchmark: BenchmarkFixture, book: Book, table: Table, format: Format) -> None:
    tally = exported(book, table, format)
    assert tally.rows == {"entries": 2 * JOBS + 2, "jobs": JOBS}[table]
    if table == "jobs":
        assert Decimal(tally.totals["cost"]["USD"]) * 100 == TOTAL
    result = benchmark.pedantic(lambda: exported(book, table, format), rounds=3)
    assert result == tally
    benchmark.extra_info["rows"] = tally.rows


def test_workbook(benchmark: BenchmarkFixture, book: Book) -> None:
    def write() -> Tally:
        with reading(ask(book)) as found:
            return write_workbook(found, io.BytesIO())

    assert benchmark.pedantic(write, rounds=1).rows == JOBS

"""Charges as FOCUS. Goal: Parquet of a million rows in 20 s and 1 GiB, on SQLite.

The book has 50,000 jobs of motion control that were reserved by a quote and charged by their
length, so that quantities are worked out as they are in a real one; `KLING_LEDGER_BENCH_JOBS` makes
another number of them. What is checked first: the rows, and that the cost of all usage is the cash
less what is left. `extra_info` has the peak memory of a process that does nothing else, and the
processor time of a row, which a busy machine changes less than the rate.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from itertools import count
from pathlib import Path
from time import process_time_ns

import databases
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from ledger import Ledger, MotionControl, PriceBook
from ledger.book import Charge, Reserve
from ledger.exports.focus import Focused, FocusFormat, FocusVersion, write_focus

JOBS = int(os.environ.get("KLING_LEDGER_BENCH_JOBS", "50000"))
AT_ONCE = 1_000
CREDITS = 400 * JOBS
RATE = Decimal("8.1648")

_ALONE = """
import resource, sys
from ledger import Ledger
from ledger.exports.focus import write_focus
with Ledger(sys.argv[1]) as book:
    write_focus(book, sys.argv[2], version="1.2", format="parquet")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def seconds(number: int) -> Decimal:
    """From 3 to 30 s, charged by the next whole one."""
    return Decimal(3 + number % 28) - Decimal("0.1")


USED = sum((RATE * (3 + number % 28) for number in range(JOBS)), Decimal(0))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A book whose credits cost 0.01 dollar each."""
    found = databases.migrate(databases.sqlite_url(tmp_path_factory.mktemp("book") / "ledger.db"))
    prices = PriceBook.bundled()
    quotes = [
        prices.quote(MotionControl(character_orientation="video", reference_seconds=str(length)))
        for length in (10, 20, 30)
    ]
    with Ledger(found) as book:
        book.top_up("studio", CREDITS, key="invoice-1", cash=CREDITS // 100, currency="USD")
        for first in range(0, JOBS, AT_ONCE):
            numbers = range(first, min(JOBS, first + AT_ONCE))
            labels = {"team": f"team-{first % 7}"}
            book.batch(
                [
                    Reserve("studio", quotes[number % 3], f"job-{number}", labels=labels)
                    for number in numbers
                ]
            )
            book.batch([Charge(f"job-{number}", seconds=seconds(number)) for number in numbers])
    return found


@pytest.fixture
def folders(tmp_path: Path) -> Iterator[Path]:
    """Folders that are not there."""
    return (tmp_path / str(number) for number in count())


def checked(done: Focused) -> None:
    rows = done.files[0]
    assert rows.rows == JOBS + 1
    assert Decimal(rows.totals["EffectiveCost"]["USD"]) == USED / 100
    assert done.findings == ()


@pytest.mark.parametrize("version", ["1.2", "1.4"])
@pytest.mark.parametrize("format", ["parquet", "csv"])
def test_writing_focus(
    benchmark: BenchmarkFixture,
    url: str,
    folders: Iterator[Path],
    version: FocusVersion,
    format: FocusFormat,
) -> None:
    def write() -> Focused:
        with Ledger(url) as book:
            return write_focus(book, next(folders), version=version, format=format)

    started = process_time_ns()
    checked(write())
    benchmark.extra_info["cpu_us_per_row"] = (process_time_ns() - started) // 1_000 // JOBS
    benchmark.extra_info["rows"] = JOBS
    if format == "parquet":
        alone = [sys.executable, "-c", _ALONE, url, str(next(folders))]
        told = subprocess.run(alone, capture_output=True, text=True, check=True).stdout
        benchmark.extra_info["peak_mib"] = int(told)
    benchmark.pedantic(write, rounds=3)

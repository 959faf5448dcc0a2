"""Reports over a book of a million entries on SQLite: 500,000 jobs reserved and charged in a month.

Goal: a usage report in 3 s, with opening the book. Every job has a quote with a digest of its own,
three labels, and one of 28 lengths. Fewer jobs: `KLING_LEDGER_BENCH_JOBS=50000 make bench`.

`extra_info` has the processor time of this process, which a busy machine changes less.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import process_time

import databases
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from ledger import Ledger, MotionControl, PriceBook
from ledger.book import Charge, Reserve
from ledger.reports.asking import ask
from ledger.reports.catalogue import make
from ledger.reports.report import Report
from ledger.spans import span_of

JOBS = int(os.environ.get("KLING_LEDGER_BENCH_JOBS", "500000"))
AT_ONCE = 2_000
TEAMS, USERS, LENGTHS = 20, 250, range(3, 31)
RATE_E8 = 816_480_000
"""720p, a second."""
STARTED = datetime(2026, 10, 1, tzinfo=UTC)
STEP = timedelta(days=30) / JOBS
TOTAL_E8 = sum(RATE_E8 * LENGTHS[number % len(LENGTHS)] for number in range(JOBS))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("reports") / "ledger.db"
    url = databases.migrate(databases.sqlite_url(path))
    prices = PriceBook.bundled()
    with Ledger(url, prices=prices, clock=lambda: datetime(2026, 11, 2, tzinfo=UTC)) as ledger:
        ledger.top_up("studio", 300 * JOBS, key="invoice-1", at=STARTED)
        for start in range(0, JOBS, AT_ONCE):
            numbers = range(start, min(JOBS, start + AT_ONCE))
            ledger.batch([_reserve(prices, number) for number in numbers], atomic=True)
            ledger.batch([_charge(number) for number in numbers], atomic=True)
    return url


def _reserve(prices: PriceBook, number: int) -> Reserve:
    request = MotionControl(quality="720p", character_orientation="video", prompt=f"scene {number}")
    labels = {"team": f"team-{number % TEAMS:02d}", "user": f"user-{number % USERS}"}
    at = STARTED + number * STEP
    return Reserve("studio", prices.quote(request, at=at), f"job-{number:07d}", labels, at=at)


def _charge(number: int) -> Charge:
    seconds = str(LENGTHS[number % len(LENGTHS)])
    return Charge(f"job-{number:07d}", seconds=seconds, at=STARTED + number * STEP)


def report(url: str, name: str, by: str) -> Report:
    with Ledger(url) as ledger:
        return make(name, ask(ledger, span=span_of("2026-10")), by)


@pytest.mark.parametrize(
    ("name", "by", "rows", "figure"),
    [
        ("usage", "model", 1, "net"),
        ("usage", "team,week", TEAMS * 5, "net"),
        ("usage", "day", 30, "net"),
        ("reserved", "model,length", 5, "charged"),
        ("failures", "model", 1, "charged"),
        ("variance", "model", 1, "net"),
    ],
)
def test_a_report_over_a_month(
    benchmark: BenchmarkFixture, url: str, name: str, by: str, rows: int, figure: str
) -> None:
    found = report(url, name, by)
    assert found.total is not None
    assert (len(found.rows), found.total[found.place(figure)]) == (rows, TOTAL_E8)
    before = process_time()
    benchmark.pedantic(report, (url, name, by), rounds=1)
    benchmark.extra_info["processor_seconds"] = round(process_time() - before, 2)
    benchmark.extra_info["entries"] = 2 * JOBS

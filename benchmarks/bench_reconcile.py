"""A month's bill against a book, both in memory. Goal: a million lines and jobs in 1 GiB."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import polars as pl
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from ledger import PriceBook
from ledger.reconcile import BOOK, STATEMENT, reconcile
from ledger.reconcile.frames import REPEATED

JOBS = 1_000_000
EVERY = 1_000
"""One job in so many is billed by the nearest second, the others by the next."""

SINCE_US, UNTIL_US = 1_793_491_200_000_000, 1_796_083_200_000_000  # November 2026
RATE_E8 = 816_480_000
MODEL = "kling-v3-motion-control"
PERIOD: Any = {"since_us": SINCE_US, "until_us": UNTIL_US, "now_us": UNTIL_US}


def month(jobs: int, *, named: bool = True) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Motion-control jobs of 4.25 to 20.25 s, and their bill in another order."""
    number = pl.int_range(jobs, dtype=pl.Int64)
    steps, task = number % 17 + 5, pl.format("task-unified-{}", number)
    price = f'"model":"{MODEL}","quality":"720p","character_orientation":"video"'
    version = PriceBook.bundled().in_force(MODEL, "2026-11-01").version.id
    terms = f'{{{{"deadline":null,"price":{{{{{price},"channel":"preferred","version":"{version}"'
    terms = terms.replace("{{", "{")
    at_us = SINCE_US + number * ((UNTIL_US - SINCE_US) // jobs)
    columns: dict[str, Any] = {
        "job": pl.format("job-{}", number),
        "wallet": pl.format("wallet-{}", number % 10),
        "task": task,
        "key": pl.format("job-{}", number),
        "model": pl.lit(MODEL),
        "quality": pl.lit("720p"),
        "orientation": pl.lit("video"),
        "version": pl.lit(version),
        "channel": pl.lit("preferred"),
        # The digest of its quote makes one text of another: here as many as milliseconds of length.
        "terms": pl.concat_str(pl.lit(terms + ',"digest":"'), number % 27_000, pl.lit('"}}')),
        "state": pl.lit("charged"),
        "hold_e8": pl.lit(30 * RATE_E8),
        "charged_e8": steps * RATE_E8,
        "seconds": pl.format("{}.25", steps - 1),
        "at_us": at_us,
        "task_status": pl.lit("completed"),
        "task_net_e8": steps * RATE_E8,
        "deadline_us": at_us + 86_400_000_000,
    }
    zeros: dict[str, Any] = {name: pl.lit(0) for name in BOOK if name not in columns}
    # As it is read from a book, each of few different texts kept once.
    book = (
        pl.select(**columns, **zeros)
        .select(pl.col(name).cast(kind) for name, kind in BOOK.items())
        .with_columns(pl.col([name for name in REPEATED if name in BOOK]).cast(pl.Categorical))
    )
    billed = pl.when(number % EVERY == 0).then(steps - 1).otherwise(steps)
    nothing: dict[str, Any] = {name: pl.lit(None, dtype=kind) for name, kind in STATEMENT.items()}
    lines = pl.select(
        **nothing
        | {
            "line": number + 2,
            "task": task if named else pl.lit(None, dtype=pl.String),
            "model": pl.lit(MODEL),
            "amount_e8": billed * RATE_E8,
            "raw_amount": billed.cast(pl.String),
            "at_us": at_us + 2_000_000,
            "status": pl.lit("completed"),
        }
    )
    return book, lines.sample(fraction=1, shuffle=True, seed=1)


def check(jobs: int, *, named: bool = True) -> None:
    """Compare, and be sure of the answer: every thousandth job is a second less."""
    book, lines = month(jobs, named=named)
    result = reconcile(book, lines, prices=PriceBook.bundled(), **PERIOD)
    assert result.totals.lines_matched == jobs
    assert result.totals.difference_e8 == -(jobs // EVERY) * RATE_E8
    assert [item.sentence.split(" breaks")[0] for item in result.causes] == [
        f"rounding to nearest explains {jobs // EVERY} of {jobs // EVERY}"
    ]


def test_a_million_lines_and_a_million_jobs(benchmark: BenchmarkFixture) -> None:
    check(JOBS)
    book, lines = month(JOBS)
    prices = PriceBook.bundled()
    benchmark.extra_info["jobs"] = JOBS
    benchmark.pedantic(
        reconcile, (book, lines), {"prices": prices, **PERIOD}, rounds=3, warmup_rounds=0
    )


MEMORY = """
import sys
sys.path.insert(0, "benchmarks")
import bench_reconcile
bench_reconcile.check(int(sys.argv[1]))
# Not getrusage: its maximum would include the parent's memory at the moment of the fork.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(status["VmHWM"].split()[0])
"""


@pytest.mark.parametrize("jobs", [JOBS])
def test_memory_of_a_comparison(benchmark: BenchmarkFixture, jobs: int) -> None:
    """Both frames, the libraries and the comparison, in a process of their own."""

    def run() -> int:
        command = [sys.executable, "-c", MEMORY, str(jobs)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    peak_kib = benchmark.pedantic(run, rounds=1)
    benchmark.extra_info["peak_MiB"] = peak_kib // 1024
    assert peak_kib < 1_024 * 1_024

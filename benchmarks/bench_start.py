"""Starting up. Goal: `kling-ledger --help` in 250 ms."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

PRICE_ONE = """
from ledger import MotionControl, PriceBook
job = MotionControl(character_orientation="video", reference_seconds="12.4")
print(PriceBook.bundled().quote(job).maximum)
"""
COMMANDS = {
    "python itself": ["-c", "pass"],
    "import ledger": ["-c", "import ledger"],
    "price one job": [
        "-c",
        PRICE_ONE,
    ],
    "kling-ledger --help": ["-m", "ledger", "--help"],
    "kling-ledger quote": [
        *["-m", "ledger", "quote", "motion-control"],
        *["--orientation", "video", "--seconds", "12.4", "--format", "csv"],
    ],
}
ANSWERS = {
    "price one job": "106.1424",
    "kling-ledger --help": "Usage:",
    "kling-ledger quote": "106.1424",
}


@pytest.mark.parametrize("name", COMMANDS)
def test_starting(benchmark: BenchmarkFixture, name: str) -> None:
    def run() -> str:
        command = [sys.executable, *COMMANDS[name]]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert ANSWERS.get(name, "") in run()
    benchmark.pedantic(run, rounds=10, warmup_rounds=1)

"""What every run says of itself: versions, machine, parameters."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version

import pytest

ROWS = int(os.environ.get("KLING_LEDGER_BENCH_ROWS", "10000000"))
"""Rows of the streamed Parquet file."""


def pytest_report_header() -> list[str]:
    names = ("kling-ledger", "pydantic", "polars", "typer")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return [
        f"Python {platform.python_version()}, {versions}",
        f"{os.cpu_count()} cores, {platform.machine()}, load {load}; streamed rows {ROWS:,}",
    ]


@pytest.fixture(scope="session")
def streamed_rows() -> int:
    return ROWS

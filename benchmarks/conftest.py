"""What every run says of itself, and the databases it is run on."""

from __future__ import annotations

import os
import platform
import sqlite3
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from shutil import rmtree
from statistics import median
from time import perf_counter

import databases
import pytest

ROWS = int(os.environ.get("KLING_LEDGER_BENCH_ROWS", "10000000"))
"""Rows of the streamed Parquet file."""


def pytest_report_header() -> list[str]:
    names = ("kling-ledger", "pydantic", "polars", "typer", "sqlalchemy", "sqlmodel", "psycopg")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return [
        f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, {versions}",
        f"{os.cpu_count()} cores, {platform.machine()}, load {load}; streamed rows {ROWS:,}",
        f"a flush (fdatasync of 4 KiB): {flush_latency()}",
    ]


def flush_latency() -> str:
    """How long the disk under the temporary folder takes to make one write durable."""
    waits = []
    with tempfile.TemporaryFile(buffering=0) as file:
        for _ in range(300):
            file.write(b"x" * 4096)
            started = perf_counter()
            os.fdatasync(file.fileno())
            waits.append(perf_counter() - started)
    return f"{min(waits) * 1e6:.0f} µs at best, {median(waits) * 1e6:.0f} µs at the median"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    # The disk is not the same at the end of a run as at its beginning.
    terminalreporter.write_line(f"a flush (fdatasync of 4 KiB): {flush_latency()}")


@pytest.fixture(scope="session")
def streamed_rows() -> int:
    return ROWS


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A PostgreSQL that waits for the disk, as it does by default."""
    given = os.environ.get(databases.SETTING)
    if given:
        yield given
        return
    folder = Path(tempfile.mkdtemp(prefix="klb-"))
    yield databases.start_server(folder, durable=True)
    databases.stop_server(folder)
    rmtree(folder)

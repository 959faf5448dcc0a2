"""Reading a file of the provider's messages into a book.

Each job has three messages: the answer that created its task (in an envelope that names the job),
one that it is processing, and one that it completed, which charges it. They come as they would in
life: of 300 jobs at a time, mixed, for clips of 3 to 30 seconds. Goal: 20,000 messages a second on
SQLite. The second reading is of the same messages in another file, so that all are known.

`extra_info` has the processor time of this process for a message, which a busy machine changes less
than the rate.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from itertools import count
from pathlib import Path
from time import process_time_ns
from typing import Any

import databases
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from sqlalchemy import make_url

from ledger import Ledger, ingest_tasks
from ledger.book import Reserve

JOBS = 50_000
AT_ONCE = 300
HOLD = 250
LENGTHS = range(3, 31)
RATE = Decimal("8.1648")
RESULT = "https://cdn.example.com/v/0123456789abcdef0123456789abcdef.mp4"


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A new database with the tables of a book."""
    if request.param == "sqlite":
        yield databases.migrate(databases.sqlite_url(tmp_path / "ledger.db"))
        return
    server = make_url(request.getfixturevalue("postgres_server"))
    with databases.fresh_schema(server.set(drivername="postgresql+psycopg")) as inside:
        yield databases.migrate(inside)


def seconds(number: int) -> int:
    return LENGTHS[number % len(LENGTHS)]


TOTAL = sum((RATE * seconds(number) for number in range(JOBS)), Decimal(0))


def task(number: int, status: str, more: dict[str, Any], **usage: object) -> str:
    told = {
        "id": f"task-unified-{1_795_000_000 + number // 3}-{number * 2_654_435_761 % 2**32:08x}",
        "object": "video.generation.task",
        "created": 1_795_000_000 + number // 3,
        "model": "kling-v3-motion-control",
        "status": status,
        "progress": 0,
        "type": "video",
        "task_info": {"can_cancel": True, "estimated_time": 300, "video_duration": seconds(number)},
        "usage": {
            "billing_rule": "per_second",
            "user_group": "default",
            "credits_reserved": HOLD * 10_000,
            **usage,
        },
    }
    return json.dumps(told | more)


def lines() -> Iterator[str]:
    for start in range(0, JOBS, AT_ONCE):
        numbers = range(start, min(JOBS, start + AT_ONCE))
        for number in numbers:
            yield f'{{"job":"job-{number}","body":{task(number, "pending", {})}}}'
        for number in numbers:
            yield task(number, "processing", {})
        for number in numbers:
            done = {"results": [RESULT], "duration": 212}
            # Exactly as it is told: a number of JSON with four decimals.
            yield task(number, "completed", done, credits_used=0).replace(
                '"credits_used": 0', f'"credits_used": {RATE * seconds(number)}'
            )


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    with Ledger(url) as opened:
        opened.top_up("studio", HOLD * JOBS, key="invoice-1")
        for start in range(0, JOBS, AT_ONCE):
            numbers = range(start, min(JOBS, start + AT_ONCE))
            opened.reserve_many([Reserve("studio", HOLD, f"job-{number}") for number in numbers])
        yield opened
        assert opened.verify().findings == ()


def check(ledger: Ledger) -> None:
    """Every job was charged once, and nothing is held any more."""
    balance = ledger.balance("studio")
    assert (balance.posted, balance.held_e8) == (HOLD * JOBS - TOTAL, 0)
    assert set(ledger.task_counts().values()) == {0}


def test_messages_that_charge(benchmark: BenchmarkFixture, ledger: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text("\n".join(lines()), encoding="utf-8")
    started_ns = process_time_ns()
    found = benchmark.pedantic(ingest_tasks, args=(ledger, path), rounds=1)
    benchmark.extra_info["cpu_ns"] = (process_time_ns() - started_ns) // found.messages
    check(ledger)
    assert (found.messages, found.new, found.charged) == (3 * JOBS, 3 * JOBS, JOBS)
    assert found.charged_e8 == int(TOTAL * 10**8)
    benchmark.extra_info["rows"] = 3 * JOBS


def test_messages_that_are_known(
    benchmark: BenchmarkFixture, ledger: Ledger, tmp_path: Path
) -> None:
    path, numbers = tmp_path / "tasks.jsonl", count()
    path.write_text("\n".join(lines()), encoding="utf-8")
    ingest_tasks(ledger, path)

    def another() -> tuple[tuple[Ledger, Path], dict[str, Any]]:
        # A blank line more makes it another file.
        path.write_text("\n" * next(numbers) + "\n" + "\n".join(lines()), encoding="utf-8")
        return (ledger, path), {}

    found = benchmark.pedantic(ingest_tasks, setup=another, rounds=2)
    check(ledger)
    assert (found.new, found.known, found.repeated) == (0, 3 * JOBS, False)
    benchmark.extra_info["rows"] = 3 * JOBS

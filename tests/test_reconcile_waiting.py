"""A line that is missing here, and what waits in the book under its task or its key."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from writers import Clock

from ledger import Ledger
from ledger.reconcile import reconcile_book

OCTOBER: dict[str, Any] = {"since": "2026-10-01", "until": "2026-11-01"}
FIFTH = "2026-10-05T10:00:00Z"
SAID = (
    '{"id": "task-9", "created": 1791194400, "status": "completed",'  # 2026-10-05T10:00:00Z
    ' "usage": {"credits_used": 40.5}}'
)


@pytest.fixture
def studio(database_url: str, book: str, clock: Clock) -> Iterator[Ledger]:
    clock.now = datetime(2026, 11, 20, tzinfo=UTC)
    with Ledger(database_url, book=book, clock=clock) as opened:
        opened.top_up("studio", 100, key="invoice-1", at="2026-10-01")
        yield opened


def missing(studio: Ledger, folder: Path, *, task: str = "", key: str = "") -> Any:
    """The break about the one line of a bill: 40.5 credits."""
    path = folder / "bill.csv"
    header = "Task ID,Idempotency key,Model,Credits used,Completed at,Status"
    path.write_text(f"{header}\n{task},{key},m,40.5,{FIFTH},completed\n", "utf-8")
    (found,) = reconcile_book(studio, path, **OCTOBER).open_breaks
    assert found.kind == "missing_here"
    return found


@pytest.mark.parametrize("names", [{"task": "task-9"}, {"key": "job-9"}, {}])
def test_where_nothing_waits_the_break_says_nothing_of_it(
    studio: Ledger, tmp_path: Path, names: dict[str, str]
) -> None:
    # What waits is another's, or, for the line without a name, nobody's.
    studio.apply(SAID.replace("task-9", "task-8"))
    studio.charge("job-8", "40.5", at=FIFTH)
    found = missing(studio, tmp_path, **names)
    assert "waits" not in found.details
    assert found.details["proposal"]["reason"].startswith("find out whose it is: ")


def test_a_task_without_a_job_is_named_with_the_command_that_links_it(
    studio: Ledger, tmp_path: Path
) -> None:
    studio.apply(f'{{"received_at": "{FIFTH}", "body": {SAID}}}')
    details = missing(studio, tmp_path, task="task-9").details
    (place,) = details["waits"]
    assert place == {
        "in": "holds tasks --waiting", "task": "task-9", "job": None, "status": "completed",
        "credits": "40.5", "heard": FIFTH,
        "do": "kling-ledger holds link JOB task-9",
    }  # fmt: skip
    assert details["proposal"] == {
        "verb": None, "amount": "0",
        "reason": "the book has heard of task 'task-9', and not which job it belongs to:"
        " kling-ledger holds link JOB task-9; then compare again",
    }  # fmt: skip
    # What it says is what is to be done: the break is gone then.
    studio.reserve("studio", 50, key="job-9", at="2026-10-05")
    studio.link("job-9", "task-9")
    assert reconcile_book(studio, tmp_path / "bill.csv", **OCTOBER).open_breaks == []


@pytest.mark.parametrize("names", [{"task": "task-9"}, {"key": "job-9"}])
def test_a_task_of_a_job_that_nobody_has_reserved_names_the_job(
    studio: Ledger, tmp_path: Path, names: dict[str, str]
) -> None:
    studio.apply(f'{{"job": "job-9", "received_at": "{FIFTH}", "body": {SAID}}}')
    (place,) = missing(studio, tmp_path, **names).details["waits"]
    assert (place["task"], place["job"]) == ("task-9", "job-9")
    assert place["do"] == "kling-ledger reserve WALLET 40.5 --key job-9 --at 2026-10-05"
    studio.reserve("studio", 50, key="job-9", at="2026-10-05")
    assert reconcile_book(studio, tmp_path / "bill.csv", **OCTOBER).open_breaks == []


def test_what_is_reserved_does_not_wait(studio: Ledger, tmp_path: Path) -> None:
    studio.reserve("studio", 50, key="job-9", at="2026-10-05")
    studio.apply(f'{{"job": "job-9", "received_at": "{FIFTH}", "body": {SAID}}}')
    path = tmp_path / "bill.csv"
    # The mapping takes the task for the key.
    path.write_text(f"Idempotency key,Credits used,Completed at\ntask-9,40.5,{FIFTH}\n", "utf-8")
    found = reconcile_book(studio, path, **OCTOBER).open_breaks
    assert {item.kind: "waits" in item.details for item in found} == {
        "missing_there": False, "missing_here": False,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("names", "key"),
    [
        ({"key": "job-9"}, "job-9"),
        ({"key": "job-9"}, "callback-1"),
        ({"task": "callback-1"}, "callback-1"),
    ],
)
def test_a_charge_in_the_inbox_is_named_by_its_job_or_its_key(
    studio: Ledger, tmp_path: Path, names: dict[str, str], key: str
) -> None:
    studio.charge("job-9", "40.5", key=key, at=FIFTH)
    details = missing(studio, tmp_path, **names).details
    (place,) = details["waits"]
    assert (place["in"], place["job"], place["key"]) == ("holds inbox", "job-9", key)
    assert (place["kind"], place["credits"]) == ("charge", "40.5")
    reason = "a charge of job 'job-9' waits, which nobody has reserved: "
    assert details["proposal"]["reason"].startswith(reason)
    # Once it is discarded, nothing waits.
    studio.discard("charge", key, reason="stray")
    assert "waits" not in missing(studio, tmp_path, **names).details


def test_a_line_with_a_task_and_a_key_lists_what_waits_of_both_once(
    studio: Ledger, tmp_path: Path
) -> None:
    studio.apply(f'{{"job": "job-9", "received_at": "{FIFTH}", "body": {SAID}}}')
    studio.charge("job-9", "40.5", at=FIFTH)
    found = missing(studio, tmp_path, task="task-9", key="job-9")
    assert [place["in"] for place in found.details["waits"]] == [
        "holds tasks --waiting", "holds inbox",
    ]  # fmt: skip

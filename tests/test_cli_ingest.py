"""`ingest` and the commands about tasks, as they are typed."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from command import SCHEMAS, call, run, write
from jsonschema import Draft202012Validator
from task_bodies import COMPLETED, CREATED, REFUSED, TASK, body, envelope, failed, refund, used

LINES = [
    envelope(CREATED),
    envelope(body("processing", task="task-2"), job="job-2"),
    COMPLETED,
    failed("service_error", task="task-2"),
    envelope(used("30", task="task-3"), job="job-3"),
    CREATED,
]
GOOD = "".join(f"{line}\n" for line in LINES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a book of 1,000 credits and two jobs of 80, and a file of messages."""
    for command in (
        ["wallet", "top-up", "studio", "1000", "--key", "invoice-1"],
        ["reserve", "studio", "80", "--key", "job-1"],
        ["reserve", "studio", "80", "--key", "job-2"],
    ):
        assert call(*command, cwd=tmp_path).status == 0
    write(tmp_path, "tasks.jsonl", GOOD)
    return tmp_path


def test_a_file_is_read_and_what_came_of_it_is_shown(folder: Path) -> None:
    done = call("ingest", "tasks.jsonl", cwd=folder)
    assert done.status == 0
    title, *table = done.stdout.splitlines()
    assert title == "tasks.jsonl: 6 messages in 6 lines"
    rows = [line[1:-1].split("│") for line in table if line.startswith("│")]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["new messages", "5", ""],
        ["messages known before", "1", ""],
        ["charges", "1", "65.3184"],
        ["holds released", "0", "0.0000"],
        ["refunds", "0", "0.0000"],
        ["lines that could not be read", "0", ""],
        ["tasks now: waiting for a job", "1", ""],
        ["tasks now: running", "0", ""],
        ["tasks now: refund unproven", "1", ""],
        ["tasks now: not priced", "0", ""],
        ["tasks now: disputed", "0", ""],
    ]
    assert "1 task of the book waits for its job; see: kling-ledger holds tasks" in done.said
    assert "1 task of the book failed without proof of a refund" in done.said


def test_tasks_without_a_price_are_told(folder: Path) -> None:
    write(folder, "more.jsonl", '{"job":"job-2","body":{"id":"task-9","status":"completed"}}\n')
    done = call("ingest", "more.jsonl", cwd=folder)
    assert "1 task of the book completed, and nobody said what it cost; see: " in done.said
    assert "holds tasks --state unpriced" in done.said


def test_the_same_file_again_says_so(folder: Path) -> None:
    first = call("ingest", "tasks.jsonl", "--format", "json", cwd=folder)
    again = call("ingest", "tasks.jsonl", "--format", "json", cwd=folder)
    assert (first.data["repeated"], again.data["repeated"]) == (False, True)
    assert again.data | {"repeated": False} == first.data
    assert "was read before, to its end" in again.document["warnings"][0]


def test_lines_that_cannot_be_read_end_with_7_and_the_others_are_in(folder: Path) -> None:
    write(folder, "bad.jsonl", f'{{"id": 5\n{GOOD}{REFUSED}\n')
    for format_ in ("table", "csv", "json"):
        done = call("ingest", "bad.jsonl", "--format", format_, cwd=folder)
        assert done.status == 7
        assert "bad.jsonl: 2 lines could not be read; the others are in" in done.said
        assert "line 1: is not JSON" in done.said
        assert "line 8: is an error and no task" in done.said
    assert [item["line"] for item in done.data["invalid_lines"]] == [1, 8]
    assert done.data["charged_credits"] == "65.3184"
    write(folder, "worse.jsonl", "x\n" * 30)
    assert "and 10 more" in call("ingest", "worse.jsonl", cwd=folder).said


def test_the_figures_are_one_row_of_csv(folder: Path) -> None:
    [row] = call("ingest", "tasks.jsonl", "--format", "csv", cwd=folder).rows
    assert (row["file"], row["charged"], row["charged_credits"]) == ("tasks.jsonl", "1", "65.3184")
    assert (row["repeated"], row["waiting"], row["unproven"]) == ("0", "1", "1")


def test_stdin_and_packed_files_are_read(folder: Path) -> None:
    done = run("ingest", "-", "--format", "json", stdin=GOOD, cwd=folder)
    assert (done.status, done.data["file"], done.data["new"]) == (0, "standard input", 5)
    (folder / "tasks.jsonl.gz").write_bytes(gzip.compress(GOOD.encode()))
    assert call("ingest", "tasks.jsonl.gz", "--format", "json", cwd=folder).data["known"] == 6
    assert call("ingest", "tasks.jsonl", "--format", "json", cwd=folder).data["repeated"]


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["ingest", "nowhere.jsonl"], 7, "nowhere.jsonl: cannot be read: No such file"),
        (["ingest", "."], 7, "Is a directory"),
        (["ingest", "tasks.jsonl", "--db", "nowhere.db"], 8, "there is no such file"),
        (["ingest", "tasks.jsonl", "--book", "other"], 7, "no book 'other'"),
        (["holds", "tasks", "--state", "open"], 2, "'open' is not one of"),
        (["holds", "probe-list", "--older-than", "yesterday"], 2, "is not a length such as 30s"),
        (["holds", "probe-list", "--limit", "0"], 2, "greater than or equal to 1"),
        (["holds", "link", "job-1", " x"], 7, "must not begin or end with a space"),
    ],
)
def test_mistakes_are_told(folder: Path, arguments: list[str], status: int, said: str) -> None:
    done = call(*arguments, cwd=folder)
    assert (done.status, done.stdout) == (status, "")
    assert said in done.said


def test_tasks_are_listed_with_what_they_cost_and_why(folder: Path) -> None:
    assert "no task was heard of" in call("holds", "tasks", cwd=folder).said
    call("ingest", "tasks.jsonl", cwd=folder)
    listed = call("holds", "tasks", cwd=folder)
    for shown in (TASK, "65.3184", "settled", "failed (service_error); no proof of a refund"):
        assert shown in listed.stdout
    rows = call("holds", "tasks", "--format", "csv", cwd=folder).rows
    assert [(row["task"], row["job"], row["applied"], row["waits"]) for row in rows] == [
        ("task-2", "job-2", "1", "0"),
        ("task-3", "job-3", "0", "1"),
        (TASK, "job-1", "1", "0"),
    ]
    waiting = call("holds", "tasks", "--waiting", "--format", "json", cwd=folder).data["tasks"]
    assert [(item["task"], item["net"]) for item in waiting] == [("task-3", "30")]
    assert "no such tasks" in call("holds", "tasks", "--unlinked", cwd=folder).said
    few = call("holds", "tasks", "--limit", "2", "--format", "json", cwd=folder)
    assert len(few.data["tasks"]) == 2
    assert few.document["warnings"] == ["there are more than 2; see --limit"]


def test_a_task_is_linked_to_its_job(folder: Path) -> None:
    write(folder, "tasks.jsonl", f"{COMPLETED}\n")
    call("ingest", "tasks.jsonl", cwd=folder)
    done = call("holds", "link", "job-1", TASK, cwd=folder)
    assert done.stdout.startswith(f"task {TASK} belongs to job job-1: ")
    assert "65.3184" in done.stdout
    again = call("holds", "link", "job-1", TASK, "--format", "json", cwd=folder)
    assert (again.status, again.data["entries"], again.data["net"]) == (0, [], "65.3184")
    assert call("holds", "link", "job-1", TASK, "--format", "csv", cwd=folder).rows == []
    other = call("holds", "link", "job-2", TASK, cwd=folder)
    assert (other.status, other.stdout) == (7, "")
    assert "belongs to job 'job-1', not 'job-2'" in other.said


def test_the_probe_list_has_the_ids_and_says_what_cannot_be_asked(folder: Path) -> None:
    assert "no task to ask about" in call("holds", "probe-list", cwd=folder).said
    call("ingest", "tasks.jsonl", cwd=folder)
    listed = call("holds", "probe-list", cwd=folder)
    assert "task-2" in listed.stdout
    assert TASK not in listed.stdout
    found = call("holds", "probe-list", "--format", "json", cwd=folder).data
    assert found["task_ids"] == ["task-2"]
    assert found["tasks"][0]["state"] == "unproven"
    late = call("holds", "probe-list", "--older-than", "1h", "--format", "csv", cwd=folder)
    assert late.rows == []
    call("reserve", "studio", "5", "--key", "job-9", "--deadline", "1s", cwd=folder)
    wait_past_the_deadline(folder, "job-9")
    done = call("holds", "probe-list", cwd=folder)
    assert "no task id known of job 'job-9' in wallet 'studio'" in done.said
    call("ingest", "-", stdin=refund("failed", "80", task="task-2"), cwd=folder)
    assert call("holds", "probe-list", "--format", "json", cwd=folder).data["task_ids"] == []


def wait_past_the_deadline(folder: Path, job: str) -> None:
    """Look until the book says that the outcome is unknown; it does after a second."""
    unknown = ("holds", "list", "--state", "unknown", "--format", "csv")
    while job not in call(*unknown, cwd=folder).stdout:
        pass


@pytest.mark.parametrize(
    ("schema", "arguments"),
    [
        ("ingest", ["ingest", "tasks.jsonl"]),
        ("tasks", ["holds", "tasks"]),
        ("probe-list", ["holds", "probe-list"]),
        ("applied", ["holds", "link", "job-3", "task-3"]),
    ],
)
def test_json_fits_its_published_schema(folder: Path, schema: str, arguments: list[str]) -> None:
    import json

    call("ingest", "tasks.jsonl", cwd=folder)
    published = json.loads((SCHEMAS / f"{schema}.v1.json").read_text(encoding="utf-8"))
    document = call(*arguments, "--format", "json", cwd=folder).document
    Draft202012Validator(published).validate(document)
    assert document["schema"] == f"kling-ledger/{schema}/v1"

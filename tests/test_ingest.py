"""Files of messages: every good line is in once, whatever is wrong with the file or the machine."""

from __future__ import annotations

import gzip
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from select import select
from typing import Any

import pytest
import writers
from task_bodies import COMPLETED, CREATED, TASK, body, envelope, failed, refund, reserved, used
from test_tasks import sql
from writers import Clock, figures, noon

from ledger import Ledger
from ledger import ingest as ingesting
from ledger.book import Reserve
from ledger.errors import InvalidInput
from ledger.evolink.tasks import Part, parts, read_part
from ledger.evolink.tasks.text import MAX_BYTES
from ledger.ingest import Ingested, InvalidLine, ingest_tasks

JOBS = 40
"""Jobs of 80 credits each that are reserved."""


@pytest.fixture
def studio(database_url: str, book: str, clock: Clock) -> Iterator[Ledger]:
    with Ledger(database_url, book=book, clock=clock) as ledger:
        begin(ledger)
        yield ledger
        assert ledger.verify().findings == ()


def begin(ledger: Ledger) -> None:
    """Credits, and the holds of all jobs but the last."""
    ledger.top_up("studio", 10_000, key="invoice-1")
    ledger.reserve_many([Reserve("studio", 80, f"job-{number}") for number in range(JOBS - 1)])


def month(seed: int = 1) -> list[str]:
    """Messages of all jobs: most complete, some fail, some of those come back; some come twice."""
    random, lines = Random(seed), []
    for number in range(JOBS):
        task = f"task-unified-{1_793_000_000 + number}-k3mc"
        mine = [envelope(reserved("800000", task=task), job=f"job-{number}")]
        mine.append(body("processing", task=task))
        if number % 10 == 3:
            mine.append(failed("service_error", task=task))
        elif number % 10 == 7:
            mine += [failed("service_error", task=task), refund("failed", "80", task=task)]
        else:
            mine.append(used(f"{40 + number}.5", task=task))
        lines += [(number + 3 * random.random(), line) for line in (*mine, random.choice(mine))]
    return [line for _, line in sorted(lines)]


ENDED = [number for number in range(JOBS) if number % 10 not in {3, 7}]
SPENT = sum((Decimal(40 + number) + Decimal("0.5") for number in ENDED[:-1]), Decimal(0))
"""The last job is not reserved."""


def write(folder: Path, lines: Sequence[str], name: str = "tasks.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def counts(found: Ingested) -> dict[str, int]:
    return {
        name: getattr(found, name)
        for name in ("messages", "new", "known", "charged", "released", "refunded", "invalid")
    }


def seen(ledger: Ledger) -> dict[str, Any]:
    """What the book says, but for when."""
    columns = "id, job, status, state, facts, applied"
    return {
        "figures": figures(ledger),
        "holds": [(hold.job, hold.state, hold.held_e8, hold.charged_e8) for hold in ledger.holds()],
        "entries": [
            (entry.kind, entry.key, entry.job, entry.posted_e8, entry.held_e8)
            for entry in ledger.statement("studio").entries
        ],
        "tasks": sorted(sql(ledger, f"SELECT {columns} FROM tasks WHERE book = :book")),
        "messages": sorted(sql(ledger, "SELECT task, digest FROM messages WHERE book = :book")),
    }


# A month


def test_a_file_is_read_and_the_same_file_again_changes_nothing(
    studio: Ledger, tmp_path: Path
) -> None:
    path = write(tmp_path, month())
    found = ingest_tasks(studio, path)
    assert (found.name, found.lines, found.messages) == ("tasks.jsonl", 164, 164)
    # 40 jobs with 3 messages, 4 of them with one more; each job has one twice.
    assert counts(found) == {
        "messages": 164,
        "new": 124,
        "known": 40,
        "charged": 31,
        "released": 4,
        "refunded": 0,
        "invalid": 0,
    }
    assert found.charged_e8 == int(SPENT * 10**8)
    assert found.released_e8 == 4 * 80 * 10**8
    assert (found.waiting, found.running, found.unproven, found.disputed) == (1, 0, 4, 0)
    assert (found.repeated, found.resumed_after, found.invalid_lines) == (False, 0, ())
    assert figures(studio) == (10_000 - SPENT, 320, 9_680 - SPENT)
    before = seen(studio)
    again = ingest_tasks(studio, path)
    assert again.repeated
    assert counts(again) == counts(found)
    copied = ingest_tasks(studio, write(tmp_path, month(), "copy.jsonl"))
    assert copied.repeated
    assert seen(studio) == before


def test_a_file_does_what_its_messages_do_one_by_one(
    database_url: str, book: str, tmp_path: Path
) -> None:
    ends = []
    for way in ("file", "singly"):
        with Ledger(database_url, book=f"{book}-{way}", clock=noon) as ledger:
            begin(ledger)
            if way == "file":
                ingest_tasks(ledger, write(tmp_path, month()))
            else:
                for line in month():
                    ledger.apply(line)
            told = seen(ledger)
            # In a file several messages of a task may be done at once, in its first one's place.
            ends.append(told | {"entries": sorted(told["entries"], key=repr)})
    assert ends[0] == ends[1]


def test_known_messages_in_another_file_are_skipped(studio: Ledger, tmp_path: Path) -> None:
    lines = month()
    ingest_tasks(studio, write(tmp_path, lines[:100]))
    before = studio.balance("studio").seq
    found = ingest_tasks(studio, write(tmp_path, lines[:110]))
    assert not found.repeated
    assert found.known >= 100
    assert studio.balance("studio").seq - before == found.charged + found.released


def test_a_line_may_have_many_tasks(studio: Ledger, tmp_path: Path) -> None:
    rows = ",".join(used("50", task=f"job-{number}") for number in range(5))
    found = ingest_tasks(studio, write(tmp_path, [f'{{"data":[{rows}],"total":5}}', f"[{rows}]"]))
    assert (found.lines, found.messages, found.new, found.charged) == (2, 10, 5, 5)


def test_one_document_over_many_lines_is_one_text(studio: Ledger, tmp_path: Path) -> None:
    page = {"data": [json.loads(used("50", task=f"job-{number}")) for number in range(5)]}
    path = tmp_path / "page.json"
    for start in ("", "\ufeff"):
        path.write_text(start + json.dumps(page, indent=2), encoding="utf-8")
        assert ingest_tasks(studio, path).messages == 5
    path.write_text(json.dumps(page, indent=2)[:-3], encoding="utf-8")
    found = ingest_tasks(studio, path)
    assert [item.line for item in found.invalid_lines] == [1]


def test_jobs_that_were_reserved_since_are_caught_up_with(studio: Ledger, tmp_path: Path) -> None:
    ingest_tasks(studio, write(tmp_path, [used("50", task="late")]))
    studio.reserve("studio", 80, key="late")
    found = ingest_tasks(studio, write(tmp_path, [body("processing", task="other")]))
    assert (found.charged, found.waiting) == (1, 1)
    assert studio.hold("late").charged == 50


# What may be wrong with a file


def test_lines_that_cannot_be_read_are_listed_and_the_others_are_in(
    studio: Ledger, tmp_path: Path
) -> None:
    path = tmp_path / "tasks.jsonl"
    good = [envelope(CREATED), COMPLETED]
    parts = [
        b"\xef\xbb\xbf" + good[0].encode(),
        b"",
        b'{"id": "task-1", "status": ',
        b'{"id": "task-1", "status": "completed", "usage": {"credits_used": -1}}',
        b"\xff\xfe{}",
        b"   ",
        b'{"id": "task-1", "status": "completed", "usage": {"credits_used": NaN}}\r',
        good[1].encode() + b"\r",
        b'{"error": {"code": "insufficient_quota"}}',
    ]
    path.write_bytes(b"\n".join(parts))
    found = ingest_tasks(studio, path)
    assert (found.lines, found.messages, found.charged, found.invalid) == (9, 2, 1, 5)
    assert [item.line for item in found.invalid_lines] == [3, 4, 5, 7, 9]
    assert found.invalid_lines[1].problem.startswith("usage.credits_used: ")
    again = ingest_tasks(studio, path)
    assert (again.repeated, again.invalid, again.invalid_lines) == (
        True,
        5,
        found.invalid_lines,
    )


def test_only_the_first_invalid_lines_are_listed(studio: Ledger, tmp_path: Path) -> None:
    found = ingest_tasks(studio, write(tmp_path, ["nonsense"] * 1_000 + [envelope(COMPLETED)]))
    assert (found.invalid, len(found.invalid_lines), found.charged) == (1_000, 20, 1)


def test_a_line_longer_than_any_message_is_passed_over(studio: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    for end in (b"\n", b"", b"x\n"):
        path.write_bytes(b" " * (MAX_BYTES + 2) + end + envelope(COMPLETED).encode() + b"\n")
        found = ingest_tasks(studio, path)
        if end == b"":
            # It swallows what stands on the same line.
            assert (found.lines, found.invalid, found.new) == (1, 1, 0)
        else:
            assert (found.lines, found.invalid, found.messages) == (2, 1, 1)
        assert found.invalid_lines == (InvalidLine(1, "has more than 16 MiB"),)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{}".encode("utf-16"), "is UTF-16"),
        (b"PK\x03\x04....", "is an archive"),
        (gzip.compress(b"{}"), "name it .gz"),
        (b"[\n" + b" " * (MAX_BYTES + 1), "one JSON document of more than 16 MiB"),
    ],
)
def test_a_file_of_another_kind_is_refused(
    studio: Ledger, tmp_path: Path, content: bytes, problem: str
) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=problem):
        ingest_tasks(studio, path)
    assert studio.tasks() == []


def test_a_file_that_cannot_be_opened_is_named(studio: Ledger, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"nowhere\.jsonl: cannot be read: No such file"):
        ingest_tasks(studio, tmp_path / "nowhere.jsonl")
    with pytest.raises(InvalidInput, match="Is a directory"):
        ingest_tasks(studio, tmp_path)


def test_a_packed_file_is_unpacked_on_the_way(studio: Ledger, tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl.gz"
    whole = gzip.compress("\n".join(month()).encode())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidInput, match="not a whole gzip archive"):
        ingest_tasks(studio, path)
    path.write_bytes(whole)
    assert ingest_tasks(studio, path).messages == 164
    assert ingest_tasks(studio, path).repeated
    assert figures(studio)[0] == 10_000 - SPENT


def test_a_stream_is_read_and_its_file_is_known_afterwards(studio: Ledger, tmp_path: Path) -> None:
    path = write(tmp_path, month())
    found = ingest_tasks(studio, io.BytesIO(path.read_bytes()), name="standard input")
    assert (found.name, found.messages, found.charged) == ("standard input", 164, 31)
    again = ingest_tasks(studio, io.BytesIO(path.read_bytes()))
    assert (again.repeated, again.new, again.charged) == (False, 0, 0)
    assert ingest_tasks(studio, path).repeated


def test_a_pipe_is_a_stream(studio: Ledger, tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with writers.process(fill, str(pipe), month()):
        assert ingest_tasks(studio, pipe).messages == 164


def fill(pipe: str, lines: Sequence[str], _: Connection) -> None:
    Path(pipe).write_text("\n".join(lines), encoding="utf-8")


def test_a_file_that_changes_while_it_is_read_is_not_marked_as_read(
    studio: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingesting, "LINES_AT_ONCE", 50)
    path = write(tmp_path, month())

    def grow(_: int) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(envelope(body("processing", task="task-9"), job="job-0") + "\n")

    with pytest.raises(InvalidInput, match="changed while it was read"):
        ingest_tasks(studio, path, progress=grow)
    found = ingest_tasks(studio, path)
    # All of it was read, with what came on the way; nothing of it counts twice.
    assert (found.repeated, found.new, found.charged) == (False, 0, 0)
    assert figures(studio)[0] == 10_000 - SPENT


def test_an_empty_file_has_nothing(studio: Ledger, tmp_path: Path) -> None:
    found = ingest_tasks(studio, write(tmp_path, []))
    assert (found.lines, found.messages) == (0, 0)
    assert ingest_tasks(studio, io.BytesIO(b"")).lines == 0


# What may happen to the machine


class Stop(Exception):
    """What cuts a reading off."""


def test_a_reading_that_was_cut_off_goes_on_where_it_was(
    studio: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingesting, "LINES_AT_ONCE", 50)
    path = write(tmp_path, [*month(), "nonsense"])

    def stop(messages: int) -> None:
        if messages >= 100:
            raise Stop

    with pytest.raises(Stop):
        ingest_tasks(studio, path, progress=stop)
    [(lines, offset, complete)] = sql(
        studio, "SELECT lines, offset_bytes, complete FROM imports WHERE book = :book"
    )
    assert (lines, complete) == (100, 0)
    assert path.read_bytes()[:offset].count(b"\n") == 100
    found = ingest_tasks(studio, path)
    assert (found.resumed_after, found.lines, found.messages) == (100, 165, 164)
    # The figures are of both readings together.
    assert counts(found) == {
        "messages": 164,
        "new": 124,
        "known": 40,
        "charged": 31,
        "released": 4,
        "refunded": 0,
        "invalid": 1,
    }
    assert figures(studio)[0] == 10_000 - SPENT


def test_a_packed_reading_goes_on_as_well(
    studio: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingesting, "LINES_AT_ONCE", 50)
    path = tmp_path / "tasks.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(month()).encode()))

    def stop(_: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        ingest_tasks(studio, path, progress=stop)
    found = ingest_tasks(studio, path)
    assert (found.resumed_after, found.messages, found.charged) == (50, 164, 31)


def read_until(url: str, book: str, path: str, statement: int, tells: Connection) -> None:
    """Read a file in small parts and die at a statement."""
    fuse = writers.Fuse()
    writers.watch(fuse)
    ingesting.LINES_AT_ONCE = 25  # type: ignore[misc]
    with Ledger(url, book=book, clock=noon) as ledger:
        fuse.left = statement
        ingest_tasks(ledger, path)
        fuse.left = None
    tells.send("read")


def test_a_killed_reading_leaves_nothing_half_and_nothing_twice(
    database_url: str, book: str, tmp_path: Path
) -> None:
    path = write(tmp_path, month())
    with Ledger(database_url, book=f"{book}-calm", clock=noon) as ledger:
        begin(ledger)
        ingest_tasks(ledger, path)
        calm = seen(ledger)
    with Ledger(database_url, book=book, clock=noon) as ledger:
        begin(ledger)
    random, killed = Random(5), 0
    # SQLite tells each row of a statement for many.
    most = 600 if database_url.startswith("sqlite") else 60
    for _ in count():
        # Killed again and again, until one is left alone.
        statement = random.randrange(1, most)
        with writers.process(read_until, database_url, book, str(path), statement) as (_, hears):
            done = writers.everything(hears)
        with Ledger(database_url, book=book, clock=noon) as ledger:
            assert ledger.verify().findings == ()
        if done:
            break
        killed += 1
        assert killed < 500, "nothing is ever read to its end"
    assert killed
    with Ledger(database_url, book=book, clock=noon) as ledger:
        end = seen(ledger)
        assert end | {"entries": None} == calm | {"entries": None}
        assert sorted(end["entries"], key=repr) == sorted(calm["entries"], key=repr)
        assert ingest_tasks(ledger, path).repeated


def test_a_reading_killed_at_any_moment(database_url: str, book: str, tmp_path: Path) -> None:
    """Some kill comes in every part of the file, however fast the machine."""
    path = write(tmp_path, month(2))
    reached = set()
    for statement in (3, 40, 100, 250, 450, 700):
        mine = f"{book}-{statement}"
        with Ledger(database_url, book=mine, clock=noon) as ledger:
            begin(ledger)
        with writers.process(read_until, database_url, mine, str(path), statement) as (_, hears):
            writers.everything(hears)
        with Ledger(database_url, book=mine, clock=noon) as ledger:
            reached.add(len(sql(ledger, "SELECT 1 FROM messages WHERE book = :book")))
            found = ingest_tasks(ledger, path)
            assert figures(ledger)[0] == 10_000 - SPENT
            assert (found.messages, found.new, found.charged) == (164, 124, 31)
            assert ledger.verify().findings == ()
    assert len(reached) > 2


def test_two_who_read_the_same_file_at_once(database_url: str, book: str, tmp_path: Path) -> None:
    path = write(tmp_path, month())
    with Ledger(database_url, book=book, clock=noon) as ledger:
        begin(ledger)
    running = [writers.process(read_until, database_url, book, str(path), 10**9) for _ in range(3)]
    with running[0] as (_, one), running[1] as (_, two), running[2] as (_, three):
        assert [writers.everything(each) for each in (one, two, three)] == [["read"]] * 3
    with Ledger(database_url, book=book, clock=noon) as ledger:
        assert figures(ledger)[0] == 10_000 - SPENT
        assert len(sql(ledger, "SELECT 1 FROM messages WHERE book = :book")) == 124 + JOBS
        assert sql(ledger, "SELECT complete FROM imports WHERE book = :book") == [(1,)]
        assert ledger.verify().findings == ()


def test_the_task_of_a_message_is_known(studio: Ledger, tmp_path: Path) -> None:
    ingest_tasks(studio, write(tmp_path, [envelope(COMPLETED)]))
    assert [item.task.id for item in studio.tasks()] == [TASK]


# A second process that reads


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any file is large enough for a second process, and has many parts."""
    monkeypatch.setattr(ingesting, "LINES_AT_ONCE", 20)
    monkeypatch.setattr(parts, "LARGE_BYTES", 0)
    monkeypatch.setattr(parts, "_processors", lambda: 2)


def children() -> set[int]:
    """The processes that this one has started, and whose end it has not asked for."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # Behind the name in brackets stand the state and the parent.
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(stat.parent.name))
    return found


def alone(before: set[int]) -> Callable[[int], None]:
    """What is sure at every step that there is no process that was not there before."""

    def check(_: int) -> None:
        assert children() == before

    return check


def ends(pid: int) -> bool:
    """Whether a process ends by itself."""
    try:
        watched = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select([watched], [], [], writers.PATIENCE_SECONDS)[0])
    finally:
        os.close(watched)


def ingested(url: str, book: str, path: Path, progress: Any = None) -> tuple[Ingested, Any]:
    """What came of a file in a new book, and the book."""
    with Ledger(url, book=book, clock=noon) as ledger:
        begin(ledger)
        found = ingest_tasks(ledger, path, progress=progress)
        assert ledger.verify().findings == ()
        return found, seen(ledger)


def test_a_second_process_reads_as_this_one_does(
    database_url: str, book: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: None
) -> None:
    lines = month()
    two = f"[{body('processing', task='other-1')},{body('processing', task='other-2')}]"
    lines[70:70] = ["", "nonsense", two, '{"id": "task-1", "status": ']
    path, before = write(tmp_path, lines), children()
    began: list[set[int]] = []
    there = ingested(
        database_url, f"{book}-there", path, lambda _: began.append(children() - before)
    )
    assert [len(pids) for pids in began] == [1] * 9  # 168 lines, 20 at once
    assert len(set.union(*began)) == 1
    assert children() == before
    monkeypatch.setattr(parts, "_processors", lambda: 1)
    here = ingested(database_url, f"{book}-here", path, alone(before))
    assert here == there
    assert [item.line for item in there[0].invalid_lines] == [72, 74]


@pytest.mark.parametrize("part", [1, 2, 5, 8])
def test_a_second_process_that_is_killed_is_not_needed(
    database_url: str, book: str, tmp_path: Path, large: None, part: int
) -> None:
    path, before, told = write(tmp_path, month()), children(), count(1)
    killed = []

    def kill(_: int) -> None:
        if next(told) == part:
            for pid in children() - before:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    found, _ = ingested(database_url, book, path, kill)
    assert len(killed) == 1
    assert (found.messages, found.new, found.charged) == (164, 124, 31)
    assert children() == before


def test_an_interruption_leaves_no_second_process_and_the_file_goes_on(
    studio: Ledger, tmp_path: Path, large: None
) -> None:
    path, before = write(tmp_path, month()), children()

    def interrupt(messages: int) -> None:
        if messages >= 60:
            assert len(children() - before) == 1
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest_tasks(studio, path, progress=interrupt)
    assert children() == before
    found = ingest_tasks(studio, path)
    assert (found.resumed_after, found.messages, found.charged) == (60, 164, 31)


def die_with_second(url: str, book: str, path: str, tells: Connection) -> None:
    """Tell the second process while it has something to read, and be killed."""
    ingesting.LINES_AT_ONCE = 20  # type: ignore[misc]
    parts.LARGE_BYTES = 0  # type: ignore[misc]
    parts._processors = lambda: 2

    def tell(messages: int) -> None:
        if messages >= 40:
            tells.send(children())
            os.kill(os.getpid(), signal.SIGKILL)

    with Ledger(url, book=book, clock=noon) as ledger:
        ingest_tasks(ledger, path, progress=tell)


def test_a_second_process_ends_when_the_first_one_is_killed(
    database_url: str, book: str, tmp_path: Path
) -> None:
    with Ledger(database_url, book=book, clock=noon) as ledger:
        begin(ledger)
    path = str(write(tmp_path, month()))
    with writers.process(die_with_second, database_url, book, path) as (_, hears):
        [[second]] = writers.everything(hears)
    assert ends(second)


def test_a_file_that_changes_while_a_second_process_reads(
    studio: Ledger, tmp_path: Path, large: None
) -> None:
    path = write(tmp_path, month())

    def change(_: int) -> None:
        path.write_bytes(path.read_bytes()[:-40])

    before = children()
    with pytest.raises(InvalidInput, match="changed while it was read"):
        ingest_tasks(studio, path, progress=change)
    assert children() == before


def test_what_was_read_before_an_archive_breaks_off_is_kept(
    studio: Ledger, tmp_path: Path, large: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingesting, "_BLOCK_BYTES", 1024)
    path = tmp_path / "tasks.jsonl.gz"
    whole = gzip.compress("\n".join(month() * 3).encode())
    path.write_bytes(whole[: -len(whole) // 3])
    told: list[int] = []
    with pytest.raises(InvalidInput, match="not a whole gzip archive"):
        ingest_tasks(studio, path, progress=told.append)
    [(lines,)] = sql(studio, "SELECT lines FROM imports WHERE book = :book")
    assert told == list(range(20, lines + 1, 20))
    assert lines > 60


@pytest.mark.parametrize("executable", ["", "/usr/sbin/uwsgi", "/nowhere/python3"])
def test_where_no_python_can_be_started_the_file_is_read_here(
    studio: Ledger,
    tmp_path: Path,
    large: None,
    monkeypatch: pytest.MonkeyPatch,
    executable: str,
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    found = ingest_tasks(studio, write(tmp_path, month()), progress=alone(children()))
    assert found.messages == 164


def test_a_second_process_answers_in_order_and_ends_with_its_pipe() -> None:
    asked = [Part(n, f"{line}\n".encode(), n, 0) for n, line in enumerate(month()[:3], 1)]
    pipe, answers = io.BytesIO(), io.BytesIO()
    for part in asked:
        parts._write(pipe, tuple(part))
    whole = pipe.getvalue()
    # The last part is cut off, in its length or in its text.
    for cut in (whole, whole + b"\x01", whole + b"\xff" + bytes(7) + b"x"):
        answers.seek(0)
        parts.serve(io.BytesIO(cut), answers)
        answers.seek(0)
        for part in asked:
            assert parts._read(answers) == tuple(read_part(part))
        assert parts._read(answers) is None

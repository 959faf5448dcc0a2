"""`kling-ledger export …`: what it writes, what it says, and what it refuses."""

from __future__ import annotations

import csv
import io
import json
import shlex
import sqlite3
import subprocess
from pathlib import Path

import polars as pl
import pytest
from command import COMMAND, call, environment, run
from test_cli_contract import on_terminal

from ledger.book import Book, TopUp
from ledger.exports.writing import MANIFEST
from ledger.jobs import Ledger

OCTOBER = ("--period", "2026-10")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a book in October."""
    with Book(f"sqlite:///{tmp_path / 'kling-ledger.db'}", book="main") as book:
        book.top_up("studio", 100, key="invoice-1", cash=2, currency="USD", at="2026-10-01")
        book.reserve("studio", 40, key="=job", labels={"team": "ads"}, at="2026-10-03")
        book.charge("=job", 30, at="2026-10-03")
        book.reserve("studio", 1, key="job-2", at="2026-11-01")
    return tmp_path


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir() if not item.name.startswith("kling-"))


def test_text_goes_to_stdout_unless_a_file_is_named(folder: Path) -> None:
    done = call("export", "jobs", *OCTOBER, cwd=folder)
    assert (done.status, done.stderr) == (0, "")
    assert [(row["job"], row["net"], row["cost"]) for row in done.rows] == [("=job", "30", "0.6")]
    lines = run("export", "entries", "--format", "jsonl", "--output", "-", cwd=folder)
    assert [json.loads(line)["kind"] for line in lines.stdout.splitlines()] == [
        *("open", "top_up", "reserve", "charge", "reserve")
    ]


def test_a_file_holds_the_same_as_stdout_and_its_rows_are_said(folder: Path) -> None:
    done = call("export", "entries", *OCTOBER, "--output", "entries.csv", cwd=folder)
    assert (done.status, done.stdout) == (0, "")
    assert "wrote entries.csv: 3 entries" in done.said
    shown = call("export", "entries", *OCTOBER, cwd=folder).stdout
    assert (folder / "entries.csv").read_text() == shown


def test_csv_for_a_spreadsheet_has_no_formula(folder: Path) -> None:
    done = run("export", "jobs", *OCTOBER, "--profile", "spreadsheet", cwd=folder)
    assert done.stdout.startswith("\ufeff")
    (row,) = csv.DictReader(io.StringIO(done.stdout.removeprefix("\ufeff")))
    assert (row["job"], row["label.team"]) == ("'=job", "ads")
    done = call("export", "jobs", "--profile", "spreadsheet", "--format", "jsonl", cwd=folder)
    assert done.status == 2
    assert "--profile is about CSV" in done.said


def test_a_journal_and_a_workbook_go_to_stdout_where_asked(folder: Path) -> None:
    journal = ("export", "journal", "--dialect", "hledger", *OCTOBER)
    assert call(*journal, "--output", "-", cwd=folder).stdout == call(*journal, cwd=folder).stdout
    command = [*COMMAND, "export", "workbook", *OCTOBER, "--output", "-"]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, check=True)
    assert done.stdout.startswith(b"PK")
    assert names(folder) == []


def test_parquet_goes_into_a_pipe_and_never_to_a_terminal(folder: Path) -> None:
    shown, status = on_terminal("export", "holds", "--format", "parquet", cwd=folder)
    assert status == 2
    assert "not for a terminal" in " ".join(shown.split())
    done = call("export", "holds", "--format", "parquet", "--output", "h.parquet", cwd=folder)
    assert done.status == 0
    assert pl.read_parquet(folder / "h.parquet")["job"].to_list() == ["=job", "job-2"]


def test_a_file_that_is_there_is_replaced_only_where_asked(folder: Path) -> None:
    target = folder / "jobs.csv"
    target.write_text("mine")
    done = call("export", "jobs", "--output", target, cwd=folder)
    assert done.status == 7
    assert "is there already; name another file, or say --overwrite" in done.said
    assert target.read_text() == "mine"
    assert call("export", "jobs", "--output", target, "--overwrite", cwd=folder).status == 0
    assert target.read_text().startswith("job,wallet")


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (("--period", "2026-10", "--from", "2026-10-01"), 2, "not both"),
        (("--from", "2026-10-01"), 2, "--from needs --to as well"),
        (("--to", "2026-10-01"), 2, "--to needs --from as well"),
        (("--from", "2026-11-01", "--to", "2026-10-01"), 7, "must end later than it begins"),
        (("--period", "2026-13"), 7, "must be a month such as 2026-10"),
        (("--tz", "Europe/Berlim"), 7, "is no time zone"),
        (("--period", "2026-10", "--tz", "Mars"), 7, "is no time zone"),
        (("--as-of", "yesterday"), 7, "must be a day such as"),
        (("--wallet", "studoi"), 7, "did you mean 'studio'"),
        (("--output", "."), 7, "is a folder; name a file in it"),
        (("--output", "missing/jobs.csv"), 7, "there is no folder missing"),
    ],
)
def test_a_slip_is_told_and_leaves_nothing(
    folder: Path, arguments: tuple[str, ...], status: int, words: str
) -> None:
    done = call("export", "jobs", *arguments, cwd=folder)
    assert (done.status, done.stdout) == (status, "")
    assert words in done.said
    assert names(folder) == []


def test_a_period_begins_where_its_zone_says(folder: Path) -> None:
    # 2026-11-01T00:00Z is still October in New York, and the top-up of the first is in September.
    zone = ("--tz", "America/New_York")
    done = call("export", "entries", *OCTOBER, *zone, cwd=folder)
    assert [row["kind"] for row in done.rows] == ["reserve", "charge", "reserve"]


def test_an_empty_period_is_no_error(folder: Path) -> None:
    done = call("export", "jobs", "--period", "2020-01", cwd=folder)
    assert (done.status, done.rows) == (0, [])


def test_the_workbook_says_what_it_holds(folder: Path) -> None:
    done = call("export", "workbook", *OCTOBER, "--output", "2026-10.xlsx", cwd=folder)
    assert done.status == 0
    assert "wrote 2026-10.xlsx: 1 job" in done.said
    again = call("export", "workbook", *OCTOBER, "--rows", "entries", "-o", "e.xlsx", cwd=folder)
    assert "wrote e.xlsx: 3 entries" in again.said


ALL = [
    "entries_2026-10.parquet",
    "holds_2026-10.parquet",
    "jobs_2026-10.parquet",
    "journal_2026-10.beancount",
    "journal_2026-10.journal",
    "journal_2026-10.ledger",
    "manifest.json",
    "pack_2026-10.html",
    "workbook_2026-10.xlsx",
]


def test_everything_of_a_month_stands_in_one_folder_that_can_be_checked(folder: Path) -> None:
    done = call("export", "all", *OCTOBER, "--output", "october", cwd=folder)
    assert done.status == 0, done.stderr
    found = names(folder / "october")
    assert [name for name in found if not name.startswith("focus-") and "_v1.4" not in name] == ALL
    assert {"1.2", "1.4"} == {
        version for name in found for version in ("1.2", "1.4") if f"v{version}" in name
    }
    document = json.loads((folder / "october" / MANIFEST).read_text())
    assert sorted(item["name"] for item in document["files"]) == sorted({*found} - {MANIFEST})
    checked = call("export", "check", "october", cwd=folder)
    assert (checked.status, checked.stderr) == (0, "")
    assert f"october: {len(found) - 1} files, all as they were written" in checked.stdout

    # The same book gives the same folder.
    assert call("export", "all", *OCTOBER, "-o", "again", cwd=folder).status == 0
    for name in found:
        one, other = folder / "october" / name, folder / "again" / name
        assert one.read_bytes() == other.read_bytes(), name


def test_everything_knows_what_was_heard_after_the_last_entry(folder: Path) -> None:
    with Ledger(f"sqlite:///{folder / 'kling-ledger.db'}") as ledger:
        ledger.keep_reconciliation(
            since="2026-10-01",
            until="2026-11-01",
            breaks=[],
            digest=bytes(32),
            options={},
            result={},
        )
        ledger.link("=job", "task-1")
    assert call("export", "all", *OCTOBER, "--output", "october", cwd=folder).status == 0
    (job,) = pl.read_parquet(folder / "october" / "jobs_2026-10.parquet").to_dicts()
    assert (job["job"], job["reconciled"], job["task"]) == ("=job", "reconciled", "task-1")
    assert "    ; task: task-1\n" in (folder / "october" / "journal_2026-10.journal").read_text()


def test_a_folder_is_replaced_only_where_asked_and_only_if_an_export_wrote_it(folder: Path) -> None:
    first = call("export", "all", *OCTOBER, "--output", "october", cwd=folder)
    assert first.status == 0
    done = call("export", "all", *OCTOBER, "--output", "october", cwd=folder)
    assert done.status == 7
    assert "is there already" in done.said
    more = ("--output", "october", "--overwrite")
    assert call("export", "all", "--period", "2026-11", *more, cwd=folder).status == 0
    assert (folder / "october" / "jobs_2026-11.parquet").exists()
    assert not (folder / "october" / "jobs_2026-10.parquet").exists()
    (folder / "october" / "mine.txt").write_text("kept")
    done = call("export", "all", *OCTOBER, *more, cwd=folder)
    assert done.status == 7
    assert "holds 'mine.txt', which no export wrote" in done.said
    assert names(folder) == ["october"]


def test_nothing_is_left_of_a_folder_that_could_not_be_finished(folder: Path) -> None:
    # The journals are asked for last; this label makes no difference, a broken entry does.
    with sqlite3.connect(folder / "kling-ledger.db") as database:
        database.execute("DROP TRIGGER IF EXISTS entries_update")
        for (name,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'entries'"
        ).fetchall():
            database.execute(f'DROP TRIGGER "{name}"')
        database.execute("UPDATE entries SET lots = '{\"9\":1}' WHERE kind = 'charge'")
    done = call("export", "all", *OCTOBER, "--output", "october", cwd=folder)
    assert done.status != 0
    assert names(folder) == []
    assert not [item for item in folder.iterdir() if item.name.endswith(".part")]


def test_a_file_that_was_changed_is_found(folder: Path) -> None:
    assert call("export", "all", *OCTOBER, "--output", "october", cwd=folder).status == 0
    journal = folder / "october" / "journal_2026-10.ledger"
    journal.write_text(journal.read_text().replace("30", "31"))
    done = call("export", "check", "october", cwd=folder)
    assert done.status == 9
    assert "journal_2026-10.ledger" in done.stdout
    assert "verification failed: journal_2026-10.ledger: has SHA-256" in done.said
    assert call("export", "check", folder, cwd=folder).status == 7


@pytest.mark.parametrize(
    "arguments",
    [
        ("entries", "--format", "csv"),
        ("entries", "--format", "jsonl"),
        ("entries", "--format", "parquet"),
        ("workbook", "--rows", "entries"),
        ("all",),
    ],
)
def test_a_disk_that_takes_no_more_is_told_and_leaves_nothing(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    with Book(f"sqlite:///{tmp_path / 'kling-ledger.db'}", book="main") as book:
        book.batch([TopUp("studio", 1, f"invoice-{number}") for number in range(3_000)])
    # Their hashes alone are 96,000 bytes, which nothing compresses; SQLite itself needs 32,768.
    command = shlex.join([*COMMAND, "export", *arguments, "--output", "out"])
    done = subprocess.run(
        ["bash", "-c", f"ulimit -f 64; exec {command}"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment(),
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (7, ""), done.stderr
    assert "it would be larger than a file may be here" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert [item.name for item in tmp_path.iterdir() if "ledger.db" not in item.name] == []


# --- stdout --------------------------------------------------------------------------------------

TO_STDOUT = [
    ("export", "entries", "--output", "-"),
    ("export", "jobs", "--format", "jsonl"),
    ("export", "holds", "--format", "parquet"),
    ("export", "workbook", "--output", "-"),
    ("export", "journal", "--dialect", "beancount"),
    ("report", "usage"),
    ("report", "pack", *OCTOBER, "--output", "-"),
    ("wallet", "list", "--format", "csv"),
]


def shell(folder: Path, line: str, **more: str) -> tuple[int, str]:
    """How the first command of a pipe ends, and what it says."""
    done = subprocess.run(
        ["bash", "-c", f"{shlex.join(COMMAND)} {line}; exit ${{PIPESTATUS[0]}}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        cwd=folder,
        env=environment(more),
        timeout=60,
    )
    return done.returncode, done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("arguments", TO_STDOUT)
def test_a_stdout_that_takes_no_more_is_told_as_any_output_is(
    folder: Path, arguments: tuple[str, ...]
) -> None:
    told = (7, "error: standard output: there is no space left for it\n")
    assert shell(folder, f"{shlex.join(arguments)} > /dev/full") == told


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_stdout_without_a_buffer_is_told_as_well(folder: Path) -> None:
    told = (7, "error: standard output: there is no space left for it\n")
    assert shell(folder, "export entries > /dev/full", PYTHONUNBUFFERED="1") == told


@pytest.mark.parametrize("arguments", TO_STDOUT[:5])
def test_a_reader_that_has_seen_enough_is_no_error(
    folder: Path, arguments: tuple[str, ...]
) -> None:
    # The reader is gone before anything is written: there is nothing to wait for.
    assert shell(folder, f"{shlex.join(arguments)} | true") == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_a_refusal_stays_one_when_what_is_known_of_it_cannot_be_written(folder: Path) -> None:
    line = "reserve studio 1000 --key job-3 --format json > /dev/full"
    status, said = shell(folder, line)
    assert status == 3
    first, second = said.splitlines()
    assert "has 69 credits available of the 1000 needed" in first
    assert second == "error: standard output: there is no space left for it"

"""The demo shows what can be typed: its commands, run again, print what it printed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from command import DEMO, Done, call, run, write

BOOK_COMMANDS = {
    *("wallet", "budget", "reserve", "charge", "holds", "verify", "ingest", "reconcile", "period"),
    *("report", "export"),
}
AS_OFTEN_AS_ONE_LIKES = ["wallet trial-balance", "holds inbox", "verify"]
"""What depends neither on the day it is asked nor on what the demo does afterwards."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def shown(folder: Path) -> Done:
    """The demo, which keeps its inputs and its book in `try/it`."""
    done = run("demo", "--into", "try/it", cwd=folder)
    assert done.status == 0, done.stderr
    return done


def commands(shown: Done) -> list[str]:
    return re.findall(r"^   \$ kling-ledger (.*)$", shown.stdout, flags=re.MULTILINE)


def of_the_book(line: str) -> bool:
    return line.split(maxsplit=1)[0] in BOOK_COMMANDS


def test_the_demo_leaves_nothing_and_ends_like_the_one_that_keeps_its_files(
    shown: Done, tmp_path: Path
) -> None:
    done = call("demo", cwd=tmp_path)
    assert (done.status, list(tmp_path.iterdir())) == (0, []), done.stderr
    book = done.stdout[done.stdout.index("\n7. ") :]
    kept = shown.stdout[shown.stdout.index("\n7. ") :].replace("try/it/", "")
    assert book == kept.partition("\nThe book is kept in ")[0]
    assert "goes by a clock of its own, in October 2026" in book


def test_the_demo_shows_the_worked_value(shown: Done) -> None:
    assert "12.4 s → 13 s × 10.8918432 = 141.5939616 credits" in shown.stdout
    lines = commands(shown)
    assert len([line for line in lines if not of_the_book(line)]) == 6
    assert len([line for line in lines if of_the_book(line)]) == 27


def test_the_demo_can_leave_its_inputs_and_its_book_to_try_things_on(
    shown: Done, folder: Path
) -> None:
    assert "$ kling-ledger quote try/it/requests.json" in shown.stdout
    assert "$ export KLING_LEDGER_DB=try/it/demo.db" in shown.stdout
    for name in ("dance.mp4", "plan.csv", "requests.json", "rules.json"):
        assert (folder / "try" / "it" / name).read_bytes() == (DEMO / name).read_bytes()
    assert sorted(path.name for path in (folder / "try" / "it").iterdir()) == [
        *("2026-10", "corrections.jsonl", "dance.mp4", "demo.db", "plan.csv", "request.json"),
        *("requests.json", "rules.json", "statement.csv", "tasks.jsonl"),
    ]


def test_every_command_of_the_demo_about_prices_can_be_typed(shown: Done, folder: Path) -> None:
    for line in commands(shown):
        if not of_the_book(line):
            done = call(*shlex.split(line), cwd=folder)
            assert done.status == 0, done.stderr
            assert done.stdout.strip() in shown.stdout


@pytest.mark.parametrize("line", AS_OFTEN_AS_ONE_LIKES)
def test_the_book_that_the_demo_leaves_says_what_the_demo_said(
    shown: Done, folder: Path, line: str
) -> None:
    assert line in commands(shown)
    done = call(*shlex.split(line), cwd=folder, env={"KLING_LEDGER_DB": "try/it/demo.db"})
    assert done.status == 0, done.stderr
    assert f"   $ kling-ledger {line}\n\n{done.stdout}" in shown.stdout


def test_the_demo_goes_through_everything_that_can_become_of_a_job(shown: Done) -> None:
    table = shown.stdout.partition("\n9. ")[2].partition("\n10. ")[0]
    counts = {
        cells[1].strip(): int(cells[2])
        for line in table.splitlines()
        if line.startswith("│")
        for cells in [line.split("│")]
    }
    assert set(counts) == {
        *("charged what was made", "failed, and released", "charged late", "never heard of"),
        *("charged, then refunded", "refused by a budget", "all"),
    }
    assert all(counts.values())
    assert counts.pop("all") == sum(counts.values()) == 320
    assert "budget ads reached 50 % on 2026-10-" in table


def test_the_demo_shows_a_refusal_as_the_command_tells_it(shown: Done) -> None:
    refusal = shown.stdout.partition("\n12. ")[2].partition("\n13. ")[0]
    assert refusal.rstrip().endswith("--key job-1000")
    assert "error: budget 'each-user' of wallet 'studio' for user=li has" in shown.said
    assert "budget 'each-user', the share of user=li: needs 244.944 credits, has" in shown.said
    assert "trying again helps from 2026-10-22T00:00:00Z" in shown.said


def test_the_demo_ends_with_where_its_book_is_and_what_to_type(shown: Done, folder: Path) -> None:
    ending = shown.stdout.partition("\nThe book is kept in ")[2]
    assert ending.startswith("try/it/demo.db. The month is in try/it/2026-10. Try:\n")
    (line,) = re.findall(r"\$ kling-ledger (.*)$", ending, flags=re.MULTILINE)
    done = call(*shlex.split(line), cwd=folder)
    assert done.status == 0, done.stderr
    assert "382.35 USD" in done.stdout


def test_the_settings_of_the_reader_do_not_change_the_book_of_the_demo(
    shown: Done, tmp_path: Path
) -> None:
    env = {
        "KLING_LEDGER_DB": str(tmp_path / "mine.db"),
        "KLING_LEDGER_BOOK": "mine",
        "KLING_LEDGER_PRICE_BOOK": "evolink-rules",
    }
    done = call("demo", cwd=tmp_path, env=env)
    assert (done.status, list(tmp_path.iterdir())) == (0, []), done.stderr
    proof = shown.stdout.partition("\n13. ")[2].partition("\nThe book is kept in ")[0]
    assert done.stdout.partition("\n13. ")[2] == proof.replace("try/it/", "")


def test_the_demo_closes_a_month_whose_differences_are_all_accounted_for(shown: Done) -> None:
    month = " ".join(shown.stdout.partition("\n15. ")[2].split())
    assert "rounding to nearest explains 12 of 12 breaks" in month
    assert "│ rounding │ 12 │ 12 │" in month
    assert "│ duplicate charge │ 1 │ 1 │" in month
    assert "│ missing here │ 1 │ 1 │" in month
    again = month.partition("17. ")[2]
    assert "│ all │ 2 │ 0 │" in again
    assert "closed 2026-10 of book main" in again
    assert "refund" in month.partition("16. ")[2].partition("17. ")[0]


def test_the_demo_leaves_the_month_for_people_and_for_other_programs(
    shown: Done, folder: Path
) -> None:
    assert "│ total  │     277 │ 1,768.2 │ 19,792.3486272 │" in shown.stdout
    assert "net (credits): sum so far" in shown.stdout
    done = call("export", "check", "try/it/2026-10", cwd=folder)
    assert (done.status, done.stdout) == (
        0,
        "try/it/2026-10: 16 files, all as they were written\n",
    )
    names = {path.name for path in (folder / "try" / "it" / "2026-10").iterdir()}
    assert names >= {
        *("pack_2026-10.html", "workbook_2026-10.xlsx", "journal_2026-10.beancount"),
        *("focus-cost-and-usage_2026-10_v1.2.parquet", "manifest.json"),
    }


@pytest.mark.parametrize(
    "name",
    [
        "demo.db",
        "demo.db-wal",
        "demo.db-shm",
        "request.json",
        "requests.json",
        "plan.csv",
        "tasks.jsonl",
        "statement.csv",
        "corrections.jsonl",
        "2026-10",
    ],
)
def test_the_demo_touches_nothing_that_is_there(name: str, tmp_path: Path) -> None:
    mine = write(tmp_path, name, "mine")
    done = run("demo", "--into", ".", cwd=tmp_path)
    assert (done.status, done.stdout) == (7, "")
    assert f"{name}: is there already; name another folder, or remove it" in done.said
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert mine.read_text(encoding="utf-8") == "mine"


def test_a_second_demo_leaves_the_first_ones_book(shown: Done, folder: Path) -> None:
    before = (folder / "try" / "it" / "demo.db").read_bytes()
    again = run("demo", "--into", "try/it", cwd=folder)
    assert (again.status, again.stdout) == (7, ""), again.stderr
    assert (folder / "try" / "it" / "demo.db").read_bytes() == before


def test_a_file_where_the_demo_should_go_is_one_line(tmp_path: Path) -> None:
    write(tmp_path, "file", "")
    done = run("demo", "--into", "file", cwd=tmp_path)
    assert done.status != 0
    assert (done.stdout, len(done.stderr.splitlines())) == ("", 1)
    assert "file: " in done.stderr

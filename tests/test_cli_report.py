"""Reports on the command line: what is printed, what is written, and what is refused."""

from __future__ import annotations

import json
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from command import SCHEMAS
from jsonschema import Draft202012Validator
from test_cli_ledger import Typed

from ledger.reports.catalogue import CATALOGUE

USAGE = "report usage --period 2026-10 --by team"
CSV = (
    "label.team,charges,seconds,charged,refunded,net,reconciled\n"
    "ads,1,0,25,0,25,not yet\n"
    ",1,0,6.5,1,5.5,not yet\n"
)


NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two jobs of October: one of the team ads for 25, and one of nobody's for 6.5."""
    typed = Typed(tmp_path_factory.mktemp("filled"))
    typed.now = NOW
    for line in (
        "wallet top-up studio 1000 --key invoice-1 --at 2026-09-01",
        "reserve studio 40 --key job-1 --label team=ads --at 2026-10-05",
        "charge job-1 25 --at 2026-10-06",
        "reserve studio 10 --key job-2 --at 2026-10-07",
        "charge job-2 6.5 --at 2026-10-08",
        "refund job-2 1 --at 2026-10-09",
    ):
        typed.line(line)
    return typed.folder


@pytest.fixture
def typed(filled: Path, tmp_path: Path) -> Typed:
    """A copy of that book."""
    shutil.copytree(filled, tmp_path, dirs_exist_ok=True)
    typed = Typed(tmp_path)
    typed.now = NOW
    return typed


def test_a_report_is_a_table_with_a_total(typed: Typed) -> None:
    done = typed.line(USAGE)
    lines = [line.replace("│", " ").split() for line in done.stdout.splitlines()]
    assert done.stdout.startswith("Usage: Book main, 2026-10 (UTC), as happened\n")
    assert ["ads", "1", "0", "25.0", "0", "25.0", "not", "yet"] in lines
    assert ["(none)", "1", "0", "6.5", "1", "5.5", "not", "yet"] in lines
    assert ["total", "2", "0", "31.5", "1", "30.5", "not", "yet"] in lines


def test_show_may_be_left_out_and_a_period_said_in_days(typed: Typed) -> None:
    short = typed.line(f"{USAGE} -f csv")
    assert short.stdout == CSV
    long = "report show usage --from 2026-10-01 --to 2026-11-01 --by team --format csv"
    assert typed.line(long) == short


@pytest.mark.parametrize(("name", "starts"), [("csv", "label.team,"), ("md", "## "), ("json", "{")])
def test_a_report_is_written_whole_in_the_format_its_ending_says(
    typed: Typed, name: str, starts: str
) -> None:
    done = typed.line(f"{USAGE} --output usage.{name}")
    assert (done.stdout, done.said) == ("", f"note: wrote 2 rows to usage.{name}")
    written = (typed.folder / f"usage.{name}").read_text("utf-8")
    assert written.startswith(starts)
    assert typed.line(f"{USAGE} --format {name}").stdout == written
    assert typed.line(f"{USAGE} --format {name} --output other.txt").status == 0
    assert (typed.folder / "other.txt").read_text("utf-8") == written
    assert [path.name for path in typed.folder.glob(".*")] == []


@pytest.mark.parametrize("name", sorted({"usage", "reserved", "failures", "variance"}))
def test_the_json_is_as_its_schema_says(typed: Typed, name: str) -> None:
    done = typed.line(f"report {name} --period 2026-10 --by team --format json")
    schema = json.loads((SCHEMAS / "report.v1.json").read_text("utf-8"))
    Draft202012Validator(schema).validate(done.document)
    assert (done.data["report"], done.data["counted"]) == (name, "happened")
    assert [row["label.team"] for row in done.data["rows"]] == ["ads", None]


def test_an_output_that_cannot_be_is_refused_before_any_work(typed: Typed) -> None:
    (typed.folder / "usage.csv").write_text("kept")
    (typed.folder / "folder.csv").mkdir()
    for output, problem in (
        ("usage.csv", "is there already; name another file, or say --overwrite"),
        ("folder.csv", "is a folder; name a file in it"),
        ("nowhere/usage.csv", "there is no folder nowhere"),
        ("usage.csv/usage.csv", "is not a folder"),
    ):
        done = typed.line(f"report usage --db nowhere.db --output {output}", status=7)
        assert problem in done.said
    assert (typed.folder / "usage.csv").read_text() == "kept"
    typed.line(f"{USAGE} --output usage.csv --overwrite")
    assert (typed.folder / "usage.csv").read_text() == CSV


@pytest.mark.parametrize(
    ("line", "status", "problem"),
    [
        ("report usage --output usage.txt", 2, "name a file that ends in .json, .csv, .md, .html"),
        ("report usage --output usage.csv -f table", 2, "or say --format"),
        ("report usage --period 2026-10 --from 2026-10-01", 2, "give a --period or --from and"),
        ("report usage --from 2026-10-01", 2, "--from needs --to as well"),
        ("report usage --period 2026-13", 7, "must be a month such as 2026-10"),
        ("report usage --period 2026-10 --tz Europe/Berlinn", 7, "'Europe/Berlinn' is no time"),
        ("report usage --tz Berlin", 7, "'Berlin' is no time zone"),
        ("report usage --as-of soon", 7, "error: --as-of: must be a day such as 2026-10-01"),
        ("report pack --period 2026-10 --as-of soon -o p.html", 7, "error: --as-of: must be a day"),
        ("report usage --tz Rome", 7, "error: the time zone: 'Rome' is no time zone"),
        ("report usage --period 9999-12", 7, "9999-12 is out of range"),
        (
            "report usage --from 2026-01-01 --to 9999-12-31 --by hour --plot terminal",
            7,
            "the picture: would have about 69,898,608 hours",
        ),
        (
            "report explain usage charged kind=refund team=ads",
            7,
            "has no row of kind 'refund' and team 'ads'",
        ),
        ("report usage --wallet attic", 7, "attic"),
        ("report usage --by team,team", 7, "names one of them twice"),
        ("report usage --by ''", 7, "names nothing"),
        ("report usage --against 2026-09", 7, "cannot be held against another period"),
        ("report usagee", 7, "there is no 'usagee'; did you mean usage?"),
        ("report usage --format yaml", 2, "yaml"),
        ("report usage --counted told", 2, "told"),
        ("report usage --book other", 7, "other"),
        ("report explain usage net", 7, "net is worked out from charged and refunded"),
        ("report explain budgets limit", 7, "limit is no sum of entries; known are used, held"),
        ("report usage --sort nett", 7, "there is no column 'nett'; known are model, charges"),
        ("report statement --wallet studio --sort posted", 7, "follow each other"),
        ("report explain usage charged team=art", 7, "has no row 'art'"),
        ("report explain usage charged team", 2, "must be DIMENSION=VALUE"),
        ("report", 2, "Usage"),
    ],
)
def test_a_slip_is_told_with_what_to_do(typed: Typed, line: str, status: int, problem: str) -> None:
    done = typed.line(line, status=status)
    assert problem in done.said or problem in done.stdout
    assert "Traceback" not in done.stderr


def test_a_period_may_last_for_ever(typed: Typed) -> None:
    for by in ("hour", "day", "week", "month"):
        rows = typed.line(f"report usage --from 2026-01-01 --to 9999-12-31 --by {by} -f csv").rows
        assert [row["charged"] for row in rows if row["charged"] != "0"] in (
            ["25", "6.5"],
            ["31.5"],
        )
    page = typed.line("report pack --period 2026-10-01/9999-12-31 --output -").stdout
    assert page.startswith("<!doctype html>")


@pytest.mark.parametrize("place", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="the system has no /dev/fd")
def test_stdout_by_another_name_is_no_file(typed: Typed, place: str) -> None:
    done = typed.line(f"{USAGE} --format csv --output {place}", status=7)
    assert done.said == f"error: {place}: is not a file; write to - and send that on"


def test_a_single_dash_is_stdout(typed: Typed) -> None:
    assert typed.line(f"{USAGE} --format csv --output -").stdout == CSV
    page = typed.line("report pack --period 2026-10 --output -").stdout
    assert page.startswith("<!doctype html>")
    assert not (typed.folder / "-").exists()


def test_a_misspelt_dimension_is_told_even_where_there_are_only_figures(typed: Typed) -> None:
    for option in ("", " --format csv", " --output usage.csv"):
        done = typed.line(f"report usage --by modle{option}")
        assert "no job here has a label 'modle'; did you mean model?" in done.said


def test_who_spent_most_stands_first(typed: Typed) -> None:
    done = typed.line(f"{USAGE} --sort charged --format csv")
    assert done.stdout == CSV
    assert typed.line(f"{USAGE} --sort refunded --format csv").stdout.splitlines()[1] == (
        ",1,0,6.5,1,5.5,not yet"
    )


def test_an_empty_period_is_said_to_be_one(typed: Typed) -> None:
    done = typed.line("report usage --period 2026-12")
    assert "nothing of this is in the book for that time" in done.said
    assert typed.data("report", "usage", "--period", "2026-12")["rows"] == []


def test_figures_lead_to_their_entries(typed: Typed) -> None:
    done = typed.line("report explain usage charged team=ads --period 2026-10")
    assert done.stdout.startswith("Usage, charged of team ads: 1 entry\n")
    rows = typed.line("report explain usage refunded --period 2026-10 -f csv").rows
    assert [list(row.items()) for row in rows] == [
        [
            *(("wallet", "studio"), ("seq", "7"), ("kind", "refund"), ("key", "job-2")),
            *(("job", "job-2"), ("happened_at", "2026-10-09T00:00:00Z"), ("figure", "1")),
            *(("corrects", ""), ("version", "")),
        ]
    ]
    document = typed.line("report explain usage charged team= --format json").document
    schema = json.loads((SCHEMAS / "cell.v1.json").read_text("utf-8"))
    Draft202012Validator(schema).validate(document)
    assert document["data"]["row"] == {"label.team": None}
    assert [fact["figure"] for fact in document["data"]["facts"]] == ["6.5"]
    assert document["data"]["figure"] == "6.5"


def test_only_the_last_entries_of_a_long_list_are_shown(typed: Typed) -> None:
    done = typed.line("report explain usage charged --last 1")
    assert "job-2" in done.stdout
    assert "job-1" not in done.stdout
    assert "1 entry before these are not shown" in done.said


def test_an_entry_names_the_closed_period_that_it_corrects(typed: Typed) -> None:
    typed.line("period close 2026-10 --unreconciled 'no statement yet'")
    typed.line("refund job-1 2 --key back --at 2026-10-20")
    done = typed.line("report explain usage refunded --period 2026-11")
    assert "refund of 2026-10" in done.stdout


def test_the_figures_of_a_comparison_can_be_explained(typed: Typed) -> None:
    both = "--period 2026-10 --against 2026-09"
    assert "before is 2026-09 (UTC)" in typed.line(f"report variance {both}").said
    done = typed.line(f"report explain variance net {both} -f csv")
    assert [row["figure"] for row in done.rows] == ["25", "6.5", "-1"]


def test_the_reports_are_listed(typed: Typed) -> None:
    done = typed.line("report list --format json")
    schema = json.loads((SCHEMAS / "reports.v1.json").read_text("utf-8"))
    Draft202012Validator(schema).validate(done.document)
    assert [kind["name"] for kind in done.data["reports"]] == list(CATALOGUE)
    assert [row["name"] for row in typed.line("report list -f csv").rows] == list(CATALOGUE)
    done = typed.line("report list")
    assert all(name in done.stdout for name in CATALOGUE)
    # It is no report of its own, and would be looked for here.
    assert "kling-ledger report pack" in done.said


def test_a_report_needs_a_book(tmp_path: Path) -> None:
    done = Typed(tmp_path).line("report usage", status=8)
    assert "error: " in done.stderr


def test_without_data_frames_the_missing_extra_is_named(
    typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    done = typed.line("report usage", status=2)
    assert "kling-ledger[data]" in done.said
    assert typed.line("report list").status == 0

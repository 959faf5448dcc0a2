"""Budgets, holds and proofs on the command line, and the documents of all commands of the book."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import command
import pytest
from command import DEMO, ROOT, SCHEMAS, call, write
from jsonschema import Draft202012Validator
from test_cli_ledger import Typed


@pytest.fixture
def typed(tmp_path: Path) -> Typed:
    """A new book with 1000 credits in the wallet `studio`."""
    return with_credits(tmp_path)


def with_credits(folder: Path) -> Typed:
    typed = Typed(folder)
    typed.line("wallet top-up studio 1000 --key invoice-1 --cash 14.70 --currency USD")
    return typed


# --- budgets -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "sentence", "frees"),
    [
        ("", "100 credits per month for all jobs", "2026-11-01T00:00:00Z"),
        ("--period day", "100 credits per day for all jobs", "2026-10-11T00:00:00Z"),
        (
            "--period day --timezone Asia/Tokyo",
            "100 credits per day for all jobs",
            "2026-10-10T15:00:00Z",  # midnight there
        ),
        ("--match user=*", "100 credits per month for user=*", "2026-11-01T00:00:00Z"),
        (
            "--rolling-seconds 3600",
            "100 credits per rolling window of 3,600 s for all jobs",
            "2026-10-10T13:01:00Z",  # a step is a minute
        ),
        ("--period lifetime", "100 credits in all for all jobs", None),
        ("--period in_flight", "100 credits in flight at any time for all jobs", None),
        ("--period job", "100 credits per job for all jobs", None),
    ],
)
def test_a_budget_is_set_in_words_and_refuses_by_them(
    typed: Typed, options: str, sentence: str, frees: str | None
) -> None:
    done = typed.line(f"budget set studio b 100 --key b-1 {options}")
    assert done.stdout == f"set budget b of wallet studio: {sentence}\n"
    typed.line("reserve studio 60 --key job-1 --label user=li")
    asked = "101" if "job" in options else "41"
    done = typed.line(f"reserve studio {asked} --key job-2 --label user=li", status=3)
    assert done.said.startswith("error: budget 'b' of wallet 'studio'")
    assert ("from" in done.said) == (frees is not None)
    assert frees is None or f"there is room from {frees}" in done.said


def test_a_soft_budget_is_called_soft(typed: Typed) -> None:
    done = typed.line("budget set studio b 100 --key b-1 --soft --threshold 50 --threshold 80.5")
    assert done.stdout == (
        "set budget b of wallet studio: 100 credits per month for all jobs;"
        " soft: it refuses no job; tells at 50 %, 80.5 %\n"
    )
    typed.line("budget set studio ads 1 --key b-2 --match team=ads --match user=*")
    typed.line("reserve studio 1 --key job-1 --label team=ads --label user=li")
    rows = [
        [cell.strip() for cell in line.split("│")[1:3]]
        for line in typed.line("budget status studio").stdout.splitlines()
        if line.startswith("│")
    ]
    assert rows == [["ads", "team=ads, user=li"], ["b (soft)", "all jobs"]]
    (ads, _) = typed.data("budget", "status", "studio")["status"]
    assert (ads["match"], ads["group"]) == ({"team": "ads", "user": "*"}, "user=li")
    assert typed.line("budget status studio -f csv").rows[0]["match"] == "team=ads;user=*"


def test_a_soft_budget_tells_and_does_not_refuse(typed: Typed) -> None:
    typed.line("budget set studio b 100 --key b-1 --soft --threshold 50 --threshold 100")
    done = typed.line("reserve studio 60 --key job-1 --label user=li")
    assert "budget 'b' reached 50 %" in done.said
    done = typed.line("reserve studio 60 --key job-2 --format json")
    assert "budget 'b' reached 100 %" in done.document["warnings"]
    assert done.data["entry"]["crossed"] == [{"budget": "b", "group": "", "percent": "100"}]
    (status,) = typed.data("budget", "status", "studio")["status"]
    assert (status["percent"], status["left"], status["over_limit"]) == ("120.0", "0", True)


@pytest.mark.parametrize(
    ("options", "status", "problem"),
    [
        ("--period fortnight", 2, "fortnight"),
        ("--rolling-seconds 60 --period day", 7, "is only for a rolling window"),
        ("--period rolling", 7, "rolling_seconds"),
        ("--rolling-seconds 5", 7, "rolling_seconds"),
        ("--timezone Mars/Olympus", 7, "is not a known time zone"),
        ("--threshold half", 7, "'half' is not a percentage"),
        ("--threshold 0", 7, "is not a percentage"),
        ("--match team", 2, "--match takes NAME=VALUE"),
        ("--match team=a --match team=b", 2, "--match team stands twice"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused(
    typed: Typed, options: str, status: int, problem: str
) -> None:
    done = typed.line(f"budget set studio b 100 --key b-1 {options}", status=status)
    assert problem in done.said
    assert typed.data("budget", "list", "studio")["budgets"] == []


def test_budgets_are_listed_replaced_and_removed(typed: Typed) -> None:
    typed.line("budget set studio ads 100 --key b-1 --match team=ads --match user=*")
    typed.line("budget set studio all 500 --key b-2 --rolling-seconds 3600 --soft --threshold 80")
    rows = typed.line("budget list studio -f csv").rows
    assert [(row["name"], row["match"], row["hard"]) for row in rows] == [
        ("ads", "team=ads;user=*", "1"),
        ("all", "", "0"),
    ]
    typed.line("budget set studio ads 120 --key b-3")
    assert [row["limit"] for row in typed.line("budget list studio -f csv").rows] == ["120", "500"]
    assert typed.line("budget remove studio ads --key b-4").stdout == (
        "removed budget ads of wallet studio\n"
    )
    assert "used before for the same" in typed.line("budget remove studio ads --key b-4").said
    assert (
        "has no budget 'ads'; it has 'all'"
        in typed.line("budget remove studio ads --key b-5", status=7).said
    )
    typed.line("budget status studio --name ads", status=7)


def test_the_status_of_a_budget_has_a_row_for_each_group(typed: Typed) -> None:
    typed.line("budget set studio each 100 --key b-1 --match user=* --period day")
    (row,) = typed.line("budget status studio -f csv").rows
    assert (row["group"], row["left"]) == ("user=*", "100")
    typed.line("reserve studio 30 --key job-1 --label user=li")
    typed.line("reserve studio 25 --key job-2 --label user=sam")
    typed.line("charge job-2 20.5")
    rows = typed.line("budget status studio -f csv").rows
    assert [
        [row[name] for name in ("group", "held", "used", "left", "percent", "ends_at")]
        for row in rows
    ] == [
        ["user=li", "30", "0", "70", "30.0", "2026-10-11T00:00:00Z"],
        ["user=sam", "0", "20.5", "79.5", "20.5", "2026-10-11T00:00:00Z"],
    ]
    typed.now += timedelta(days=1)
    (row,) = typed.line("budget status studio -f csv").rows
    assert (row["group"], row["used"], row["ends_at"]) == ("user=*", "0", "2026-10-12T00:00:00Z")


# --- holds ---------------------------------------------------------------------------------------


@pytest.fixture
def holds(typed: Typed) -> Typed:
    """One hold of every state, three hours later."""
    return with_holds(typed)


def with_holds(typed: Typed) -> Typed:
    typed.line("reserve studio 10 --key slow --deadline 6h --label team=ads")
    typed.line("reserve studio 20 --key lost --deadline 1h")
    typed.line("reserve studio 30 --key swept --deadline 2h --on-deadline release")
    typed.line("reserve studio 40 --key done")
    typed.line("charge done 35")
    typed.line("reserve studio 50 --key failed")
    typed.line("release failed --reason 'the provider said so'")
    typed.now += timedelta(hours=3)
    return typed


@pytest.mark.parametrize(
    ("options", "jobs"),
    [
        ("--state open", ["slow"]),
        ("--state unknown", ["lost", "swept"]),
        ("--state charged", ["done"]),
        ("--state released", ["failed"]),
        ("--state unknown --limit 1", ["lost"]),
        ("--wallet studio --state unknown", ["lost", "swept"]),
    ],
)
def test_holds_are_listed_by_state(holds: Typed, options: str, jobs: list[str]) -> None:
    done = holds.line(f"holds list {options} -f csv")
    assert [row["job"] for row in done.rows] == jobs
    assert ("there are more than 1" in done.said) == ("--limit 1" in options)


def test_an_unknown_hold_is_listed_with_its_age(holds: Typed) -> None:
    (lost, _) = holds.data("holds", "list", "--state", "unknown")["holds"]
    assert (lost["state"], lost["held"], lost["age_seconds"]) == ("unknown", "20", 3 * 3600)
    line = next(line for line in holds.line("holds list").stdout.splitlines() if "lost" in line)
    assert [cell.strip() for cell in line.split("│")[1:-1]] == [
        *("lost", "studio", "unknown", "20", "", "2026-10-10 13:00", "3 h 0 min"),
    ]


def test_all_holds_are_listed_once(holds: Typed) -> None:
    jobs = [row["job"] for row in holds.line("holds list -f csv").rows]
    assert sorted(jobs) == ["done", "failed", "lost", "slow", "swept"]


def test_a_sweep_releases_what_is_to_be_released(holds: Typed) -> None:
    (entry,) = holds.data("holds", "sweep")["entries"]
    assert (entry["kind"], entry["job"], entry["held"]) == ("release", "swept", "-30")
    assert holds.data("holds", "sweep", "--wallet", "studio")["entries"] == []
    assert holds.figures() == ("965", "30", "935")  # 1000 - 35; slow and lost are held


def test_a_hold_is_expired_once_its_deadline_has_passed(holds: Typed) -> None:
    assert "has until 2026-10-10T18:00:00Z" in holds.line("holds expire slow", status=7).said
    assert holds.line("holds expire lost").stdout.startswith("released 20 credits of lost")
    assert "used before for the same" in holds.line("holds expire lost").said
    assert "no hold for job 'lots'" in holds.line("holds expire lots", status=7).said


def test_a_hold_is_shown_with_its_entries(holds: Typed) -> None:
    shown = holds.data("holds", "show", "done")
    assert (shown["hold"]["state"], shown["hold"]["charged"]) == ("charged", "35")
    assert [(entry["kind"], entry["held"]) for entry in shown["entries"]] == [
        ("reserve", "40"),
        ("charge", "-40"),
    ]
    table = holds.line("holds show slow").stdout
    assert "slow in wallet studio: open" in table
    assert "labels: team=ads" in table
    assert "deadline: 2026-10-10T18:00:00Z, after which it stays held" in table


def test_the_hold_of_a_request_says_how_it_was_priced(typed: Typed) -> None:
    bodies = json.loads((DEMO / "requests.json").read_text(encoding="utf-8"))
    write(typed.folder, "request.json", json.dumps(bodies[0]))
    typed.line("reserve studio --request request.json --seconds 12.4 --key job-1")
    table = typed.line("holds show job-1").stdout
    assert "priced as: kling-v3-motion-control 720p video, evolink/kling-v3-motion" in table


# --- verify --------------------------------------------------------------------------------------


def test_a_sound_book_is_verified_with_what_was_checked(holds: Typed) -> None:
    done = holds.line("verify")
    # opened, topped up, five reserved, one charged, one released
    assert done.stdout.startswith("book main: 1 wallet, 9 entries replayed;")


def test_a_book_that_contradicts_itself_ends_with_9_and_its_first_finding(holds: Typed) -> None:
    with closing(sqlite3.connect(holds.folder / "kling-ledger.db")) as connection:
        connection.execute("UPDATE wallets SET posted_e8 = posted_e8 + 1")
        connection.commit()
    done = holds.line("verify -f json", status=9)
    (finding,) = done.data["findings"]
    assert (finding["kind"], finding["wallet"]) == ("wallet", "studio")
    assert finding["problem"] == "posted_e8 is 96500000001; its entries give 96500000000"
    assert done.said.startswith("error: verification failed: wallet: wallet 'studio'")
    assert [row["kind"] for row in holds.line("verify -f csv", status=9).rows] == ["wallet"]
    assert "its entries give" in holds.line("verify", status=9).stdout


# --- documents -----------------------------------------------------------------------------------

DOCUMENTS: list[tuple[str, str]] = [
    ("entry", "wallet open film --credit-limit 5"),
    ("entry", "wallet top-up studio 5 --key k --promotional --expires 2026-12-01"),
    ("entry", "wallet top-up studio 5 --key k --cash 0.07 --currency USD"),
    ("entry", "wallet adjust studio -5 --key k --reason slip"),
    ("entry", "reserve studio --request request.json --seconds 12.4 --key k --label team=ads"),
    ("entry", "reserve studio 5 --key k --dry-run"),
    ("entry", "extend slow --key k --deadline 2d --amount 3"),
    ("entry", "charge slow 10.5"),
    ("entry", "charge failed 10"),
    ("entry", "charge nobody --seconds 5"),
    ("entry", "release slow --reason r"),
    ("entry", "refund done"),
    ("entry", "budget set studio b 100 --key k --match user=* --threshold 80"),
    ("entry", "budget remove studio ads --key k"),
    ("entry", "holds expire lost"),
    ("entries", "holds sweep"),
    ("entries", "wallet lapse studio"),
    ("wallets", "wallet list"),
    ("lots", "wallet lots studio"),
    ("balance", "wallet balance studio"),
    ("balance", "wallet balance studio --before 2026-10-10T12:30Z --by happened"),
    ("statement", "wallet statement studio"),
    ("statement", "wallet statement studio --since 2026-10-11"),
    ("statement", "wallet statement studio --until 2026-10-11 --by happened --last 2"),
    ("trial-balance", "wallet trial-balance"),
    ("trial-balance", "wallet trial-balance --before 2026-01-01"),
    ("holds", "holds list"),
    ("holds", "holds list --limit 1"),
    ("hold", "holds show done"),
    ("hold", "holds show priced"),
    ("inbox", "holds inbox"),
    ("budgets", "budget list studio"),
    ("budget-status", "budget status studio"),
    ("verification", "verify"),
    ("store", "db status"),
    ("store", "db upgrade"),
]
AMOUNTS = {
    *("posted", "held", "available", "credit_limit", "lapsing", "posted_after", "held_after"),
    *("over", "uncollected", "amount", "charged", "refunded", "limit", "used", "left", "percent"),
    *("debit", "credit", "cash", "lots", "available_after"),
}


@pytest.fixture(scope="module")
def made_full(tmp_path_factory: pytest.TempPathFactory) -> Typed:
    """A book with something of everything, to copy."""
    holds = with_holds(with_credits(tmp_path_factory.mktemp("full")))
    bodies = json.loads((DEMO / "requests.json").read_text(encoding="utf-8"))
    write(holds.folder, "request.json", json.dumps(bodies[0]))
    holds.line("budget set studio ads 500 --key b-1 --match team=ads --threshold 50")
    holds.line("budget set studio each 300 --key b-2 --match user=* --rolling-seconds 3600")
    holds.line("budget set studio ever 9999 --key b-3 --period lifetime --soft")
    holds.line("reserve studio --request request.json --seconds 12.4 --key priced --label user=li")
    holds.line("charge early 5 --at 2026-10-10T12:00Z")
    holds.line("refund early --reason 'too early'")
    holds.line("wallet top-up studio 7 --key gift --expires 2026-10-10T15:30Z --promotional")
    holds.now += timedelta(hours=1)
    return holds


@pytest.fixture
def full(made_full: Typed, tmp_path: Path) -> Typed:
    """A book with something of everything, for this test alone."""
    full = Typed(Path(shutil.copytree(made_full.folder, tmp_path, dirs_exist_ok=True)))
    full.now = made_full.now
    return full


@pytest.mark.parametrize(("schema", "line"), DOCUMENTS, ids=[line for _, line in DOCUMENTS])
def test_json_is_one_document_that_its_schema_describes(
    full: Typed, schema: str, line: str
) -> None:
    def refuse(text: str) -> Any:
        raise AssertionError(f"{text} is a float")

    def check(value: Any, name: str) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                check(item, name if key.isdigit() else key)
        elif isinstance(value, list):
            for item in value:
                check(item, name)
        elif name in AMOUNTS:
            assert value is None or isinstance(value, str), name

    done = full.line(f"{line} --format json")
    document = json.loads(done.stdout, parse_float=refuse)
    assert document["schema"] == f"kling-ledger/{schema}/v1"
    shipped = json.loads((SCHEMAS / f"{schema}.v1.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(shipped)
    Draft202012Validator(shipped).validate(document)
    for broken in (document | {"data": {}}, document | {"schema": "x"}):
        assert not Draft202012Validator(shipped).is_valid(broken)
    check(document["data"], "")
    assert "_e8" not in done.stdout
    assert '_us"' not in done.stdout


@pytest.mark.parametrize(("schema", "line"), DOCUMENTS, ids=[line for _, line in DOCUMENTS])
def test_csv_parses_and_its_columns_have_names_of_their_own(
    full: Typed, schema: str, line: str
) -> None:
    done = full.line(f"{line} --format csv")
    header, *rows = csv.reader(io.StringIO(done.stdout, newline=""), strict=True)
    assert len(set(header)) == len(header)
    assert all(len(row) == len(header) for row in rows)


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("wallet list", "`wallet list`"),
        ("wallet lots studio", "`wallet lots`"),
        ("wallet statement studio", "`wallet statement`, "),
        ("wallet trial-balance", "`wallet trial-balance`"),
        ("holds list", "`holds list`"),
        ("holds inbox", "`holds inbox`"),
        ("budget list studio", "`budget list`"),
        ("budget status studio", "`budget status`"),
        ("wallet open film", "commands that write one entry"),
        ("db status", "`db upgrade`, "),
        ("verify", "`verify`"),
    ],
)
def test_the_columns_of_csv_are_those_that_are_documented(
    full: Typed, line: str, command: str
) -> None:
    page = (ROOT / "docs" / "reference" / "files.md").read_text(encoding="utf-8")
    (row,) = [row for row in page.splitlines() if row.startswith(f"| {command}") and "`, `" in row]
    columns = re.sub(r"\([^)]*\)|:.*", "", row.split("|")[2])
    header = full.line(f"{line} -f csv").stdout.splitlines()[0]
    assert re.findall(r"`(\w+)`", columns) == header.split(",")


def test_every_schema_is_named_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "files.md").read_text(encoding="utf-8")
    names = {path.name.removesuffix(".v1.json") for path in SCHEMAS.glob("*.json")}
    assert {name for name in names if f"{name}`" not in page} == set()


def test_csv_has_the_figures_of_json(full: Typed) -> None:
    for line, part in (
        ("wallet lots studio", "lots"),
        ("holds inbox", "messages"),
        ("wallet trial-balance", "lines"),
        ("wallet list", "wallets"),
    ):
        rows = full.line(f"{line} -f csv").rows
        items = full.line(f"{line} -f json").data[part]
        assert rows
        assert [
            {name: _cell(item[name]) for name in row} for row, item in zip(rows, items, strict=True)
        ] == rows


def _cell(value: Any) -> str:
    return "" if value is None else str(int(value) if isinstance(value, bool) else value)


# --- terminals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [40, 80, 120])
@pytest.mark.parametrize(
    "line",
    ["wallet list", "wallet balance studio", "wallet trial-balance", "holds show priced"],
)
def test_a_narrow_terminal_never_cuts_a_figure(full: Typed, line: str, columns: int) -> None:
    wide = full.line(line).stdout
    shown = shown_at(full, columns, line)
    figures = {word for word in wide.split() if word.replace(",", "").replace(".", "").isdigit()}
    assert figures
    assert figures <= set(re.sub(r"[│┃]", " ", shown).split())


def shown_at(full: Typed, columns: int, line: str) -> str:
    return command.shown_at(columns, *line.split(), cwd=full.folder)


def test_a_narrow_statement_keeps_the_moment_and_what_moved(full: Typed) -> None:
    wide = shown_at(full, 150, "wallet statement studio")
    assert "left out" not in wide
    assert "recorded (UTC)" in wide
    assert "left out, for want of room: reason, seq\n" in shown_at(
        full, 80, "wallet statement studio"
    )
    shown = shown_at(full, 70, "wallet statement studio")
    assert shown.startswith("Statement of wallet studio, 2026 (UTC)\n")
    assert re.search(r"^2026-10-10 15:00  reserve +priced +106\.1424 +965$", shown, re.MULTILINE)
    assert "left out, for want of room: reason, seq, held after" in shown
    assert "opening: posted 0, held 0\nclosing: posted 972, held 166.1424" in shown
    narrow = shown_at(full, 50, "wallet statement studio")
    assert re.search(r"^10-10 15:00  reserve +priced +106\.1424$", narrow, re.MULTILINE)
    records = shown_at(full, 30, "wallet statement studio")
    assert "left out" not in records
    assert "recorded (UTC)  2026-10-10 15:00" in records


@pytest.mark.parametrize("columns", [30, 40, 60, 80, 100])
def test_no_word_of_a_list_of_holds_is_broken(full: Typed, columns: int) -> None:
    shown = shown_at(full, columns, "holds list")
    words = set(re.sub(r"[│┃]", " ", shown).split())
    assert {"slow", "lost", "swept", "done", "failed", "priced"} <= words
    assert {"unknown", "charged", "released", "106.1424"} <= words
    assert all(len(line) <= columns for line in shown.splitlines() if "note:" not in line)


def test_a_long_text_gives_way_before_a_name_is_broken(typed: Typed) -> None:
    name = "the-studio-at-the-harbour"
    typed.line(f"wallet top-up {name} 100 --key i-2")
    typed.line(f"reserve {name} 40 --key job-1")
    why = "the provider took far too long over it, and then it said that it had failed"
    typed("release", "job-1", "--reason", why)
    shown = shown_at(typed, 110, "holds show job-1")
    assert "left out" not in shown
    assert shown.count(name) == 3  # in the title and with two entries
    assert {"provider", "long", "failed"} <= set(re.sub(r"[│┃]", " ", shown).split())


def test_holds_are_listed_with_what_they_hold_together(full: Typed) -> None:
    total = full.line("holds list --state unknown").stdout.splitlines()[-2]
    cells = [cell.strip() for cell in total.split("│")[1:-1]]
    assert (cells[0], cells[3]) == ("total", "50")  # 20 and 30
    rows = full.line("holds list -f csv").rows
    assert {row["job"]: row["labels"] for row in rows}["slow"] == "team=ads"
    (version,) = {row["price_version"] for row in rows} - {""}
    assert version.startswith("evolink/kling-v3-motion-control@")


def test_every_command_of_the_book_can_be_asked_for_help() -> None:
    for group in ("wallet", "budget", "holds", "db"):
        done = call(group)
        assert done.status == 2
        assert f"Usage: kling-ledger {group}" in done.stdout + done.stderr

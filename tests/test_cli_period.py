"""Closing periods on the command line."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
from command import SCHEMAS
from jsonschema import Draft202012Validator
from test_cli_ledger import Typed

CLOSE = "period close 2026-10 --unreconciled 'no statement yet'"


@pytest.fixture
def typed(tmp_path: Path) -> Typed:
    """A book with 1000 credits from October, on the third of November."""
    typed = Typed(tmp_path)
    typed.now = datetime(2026, 11, 3, 12, tzinfo=UTC)
    typed.line("wallet top-up studio 1000 --key invoice-1 --at 2026-10-01")
    return typed


def test_a_period_is_closed_and_a_late_fact_says_what_it_corrects(typed: Typed) -> None:
    done = typed.line(CLOSE)
    assert done.stdout == (
        "closed 2026-10 of book main: what happened before 2026-11-01 00:00 UTC is frozen\n"
    )
    assert done.said == (
        "note: not reconciled: no statement yet note: its figures: kling-ledger wallet"
        " trial-balance --before 2026-11-01T00:00:00Z --by happened"
    )
    late = typed.line("wallet adjust studio -3 --key f --reason slip --at 2026-10-20")
    assert "note: 2026-10 is closed: this counts from now on, as its correction" in late.stderr
    figures = typed.line("wallet trial-balance --before 2026-11-01T00:00:00Z --by happened -f csv")
    assert figures.rows == [
        {"account": "funding", "debit": "1000", "credit": "0"},
        {"account": "wallets", "debit": "0", "credit": "1000"},
    ]
    (row,) = [
        row for row in typed.line("wallet statement studio -f csv").rows if row["kind"] == "adjust"
    ]
    assert (row["corrects"], row["happened_at"]) == ("2026-10", "2026-11-03T12:00:00Z")
    (entry,) = [
        line
        for line in typed.data("wallet", "statement", "studio")["lines"]
        if line["kind"] == "adjust"
    ]
    assert (entry["corrects"], entry["facts"]["at"]) == ("2026-10", "2026-10-20T00:00:00Z")
    written = typed.line("wallet adjust studio -3 --key f --reason slip --at 2026-10-20 -f csv")
    assert [(row["outcome"], row["corrects"]) for row in written.rows] == [("replayed", "2026-10")]


def test_what_stands_in_the_way_is_told_with_its_exit_status(typed: Typed) -> None:
    # The library's own tests have every case; here is that each one ends as it is documented.
    done = typed.line("period close 2026-10", status=4)
    assert done.stdout == ""
    assert done.said.startswith("error: 2026-10 is not reconciled: no comparison covers it from")
    with closing(sqlite3.connect(typed.folder / "kling-ledger.db")) as connection:
        connection.execute(
            "INSERT INTO breaks (book, id, kind, difference_e8, happened_at_us, evidence, status,"
            " since_us, until_us, found_seq, seen_seq, changed_at_us)"
            " VALUES ('main', 'b-1', 'amount', 150000000, 1, '{}', 'open', 1, 2, 1, 1, 1)"
        )
        connection.commit()
    done = typed.line(CLOSE, status=4)
    assert done.said == (
        "error: 2026-10: 1 break is open up to its end, 1.5 credits in all (bill less book);"
        " settle them, or say why it is closed with them (--with-open-breaks REASON)"
    )
    assert "ends at 2026-12-01" in typed.line(CLOSE.replace("10", "11"), status=7).said
    assert "a month such as 2026-10" in typed.line("period close october", status=7).said
    assert "no time zone" in typed.line(f"{CLOSE} --timezone Mars", status=7).said
    assert "is not closed" in typed.line("period reopen 2026-10 --reason x", status=7).said
    assert "--reason" in typed.line("period reopen 2026-10", status=2).said
    assert "no book 'else'" in typed.line(f"{CLOSE} --book else", status=7).said
    done = typed.line(f"{CLOSE} --with-open-breaks 'asked the provider'")
    assert done.said.startswith(
        "note: not reconciled: no statement yet; 1 open break (1.5 credits): asked the provider"
    )
    typed.now = datetime(2027, 1, 3, tzinfo=UTC)
    assert "close 2026-11 first" in typed.line(CLOSE.replace("10", "12"), status=7).said


def test_the_same_again_writes_nothing_and_says_so(typed: Typed) -> None:
    typed.line(CLOSE)
    typed.now = datetime(2026, 11, 5, tzinfo=UTC)
    again = typed.line(CLOSE)
    told = "2026-10 was closed on 2026-11-03 12:00 UTC already, and nothing was written"
    assert told in again.said
    assert typed.line(f"{CLOSE} -f csv").rows[0]["outcome"] == "replayed"
    typed.line("period reopen 2026-10 --reason slip")
    again = typed.line("period reopen 2026-10 --reason slip")
    assert again.stdout == "reopened 2026-10 of book main: facts count in it again\n"
    assert "was reopened on 2026-11-05 00:00 UTC already" in again.said


def test_the_list_says_up_to_when_the_book_is_closed(typed: Typed) -> None:
    none = typed.line("period list")
    assert (none.stdout, none.said) == ("", "note: no period of book main is closed")
    assert typed.data("period", "list") == {"book": "main", "closed_until": None, "periods": []}
    typed.line("period close 2026-09 --unreconciled a --timezone Europe/Berlin")
    typed.line("period close 2026-10 --unreconciled b --timezone Europe/Berlin")
    # Berlin is an hour ahead when October ends.
    shown = typed.line("period list").stdout
    assert "Periods of book main: closed until 2026-10-31 23:00 UTC" in shown
    assert [line.split("│")[2].strip() for line in shown.splitlines() if line[:1] == "│"] == [
        "closed",
        "closed",
    ]
    typed.line("period reopen 2026-10 --reason c")
    listed = typed.data("period", "list")
    assert listed["closed_until"] == "2026-09-30T22:00:00Z"
    rows = typed.line("period list -f csv").rows
    assert [tuple(row.values()) for row in rows] == [
        ("1", "close", "2026-09", "2026-08-31T22:00:00Z", "2026-09-30T22:00:00Z",
         "Europe/Berlin", "", "not reconciled: a", "2026-11-03T12:00:00Z"),
        ("2", "close", "2026-10", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z",
         "Europe/Berlin", "", "not reconciled: b", "2026-11-03T12:00:00Z"),
        ("3", "reopen", "2026-10", "2026-09-30T22:00:00Z", "2026-10-31T23:00:00Z",
         "Europe/Berlin", "", "c", "2026-11-03T12:00:00Z"),
    ]  # fmt: skip
    assert [item["seq"] for item in listed["periods"]] == [1, 2, 3]
    typed.line("period reopen 2026-09 --reason d")
    assert "nothing is closed" in typed.line("period list").stdout


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("period", CLOSE),
        ("period", f"{CLOSE} --timezone Asia/Tokyo"),
        ("period", "period reopen 2026-09 --reason slip"),
        ("periods", "period list"),
    ],
)
def test_json_follows_its_schema(typed: Typed, name: str, line: str) -> None:
    typed.line("period close 2026-09 --unreconciled a")
    if "Tokyo" in line:
        typed.line("period reopen 2026-09 --reason b")
    document = typed.line(f"{line} -f json").document
    schema = json.loads((SCHEMAS / f"{name}.v1.json").read_text())
    Draft202012Validator(schema).validate(document)
    assert document["schema"] == f"kling-ledger/{name}/v1"


def test_a_closed_book_verifies(typed: Typed) -> None:
    typed.line(CLOSE)
    assert "all hashes" in typed.line("verify").stdout

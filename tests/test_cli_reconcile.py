"""`kling-ledger reconcile …` as finance types it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from command import SCHEMAS, Done, call
from jsonschema import Draft202012Validator
from test_reconcile_book import AGREES, HEADER, NEAREST, UNKNOWN
from writers import Clock

from ledger import Ledger, MotionControl, PriceBook
from ledger.cli.books import clock as going_by

PERIOD = ("--from", "2026-10-01", "--to", "2026-11-01")


class Studio:
    """A folder with the book of October and its statement."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.clock.now = datetime(2026, 11, 2, tzinfo=UTC)
        self.write("october.csv", HEADER, AGREES, NEAREST, UNKNOWN)
        with Ledger(f"sqlite:///{folder / 'credits.db'}", clock=self.clock) as ledger:
            ledger.top_up("studio", 1_000, key="invoice-1", at="2026-10-01")
            for job, quality, seconds, day in (
                ("job-1", "1080p", "9.2", 5),
                ("job-2", "720p", "5.4", 6),
            ):
                at = datetime(2026, 10, day, 10, tzinfo=UTC)
                asked = MotionControl(
                    quality=quality, character_orientation="video", reference_seconds="10"
                )
                quote = PriceBook.bundled().quote(asked, at=at)
                ledger.reserve("studio", quote, key=job, at=at)
                ledger.charge(job, seconds=seconds, at=at)

    def write(self, name: str, *lines: str) -> Path:
        path = self.folder / name
        path.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        return path

    def __call__(self, *words: str) -> Done:
        with going_by(self.clock):
            return call(*words, "--db", "credits.db", cwd=self.folder)

    def reconcile(self, *words: str) -> Done:
        return self("reconcile", "october.csv", *PERIOD, *words)


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    return Studio(tmp_path)


def test_every_difference_is_named_with_its_cause(studio: Studio) -> None:
    done = studio.reconcile()
    assert done.status == 4
    shown = " ".join(done.stdout.split())
    assert "the bill says 157.907232" in shown  # 108.918432 + 40.824 + 8.1648
    assert "2 lines of 3 matched with 2 jobs: 2 by key" in shown
    assert "rounding to nearest explains 1 of 1 break, 8.1648 of 8.1648 credits" in shown
    assert "│ rounding │ job-2 │ 48.9888 │ 40.8240 │ -8.1648 │ rounding to nearest │" in shown
    assert "│ missing here │ job-9 │" in shown
    assert "column 'Credits used' read as amount" in done.said


def test_what_a_guess_assumes_and_leaves_unread_is_said(studio: Studio) -> None:
    header = HEADER.replace("Idempotency key", "Request number")
    studio.write("october.csv", header, AGREES.replace("Z", ""))
    assumed = "october.csv: assumed: nothing is read from column 'Request number'"
    assert assumed in studio.reconcile("--dry-run").said
    assert "times carry no zone" in studio.reconcile("--dry-run").said
    assert (
        "times carry no zone" in call("reconcile", "mapping", "october.csv", cwd=studio.folder).said
    )


def test_corrections_that_may_have_been_reviewed_are_not_written_over(studio: Studio) -> None:
    reviewed = studio.write("corrections.jsonl", '{"break": "brk-1", "action": "none"}')
    for words in (["october.csv", *PERIOD], ["breaks"]):
        done = studio("reconcile", *words, "--propose", "corrections.jsonl")
        assert done.status == 2
        assert "may have been reviewed" in " ".join(done.stderr.split())
        done = studio("reconcile", *words, "--propose", "nowhere/corrections.jsonl")
        assert done.status == 2
        assert "there is no folder nowhere" in " ".join(done.stderr.split())
    assert reviewed.read_text("utf-8") == '{"break": "brk-1", "action": "none"}\n'
    assert studio("reconcile", "history").said == "note: nothing was compared yet"


def test_what_other_comparisons_have_found_in_the_period_is_said(studio: Studio) -> None:
    quarter = ("--from", "2026-10-01", "--to", "2027-01-01")
    assert studio("reconcile", "october.csv", *quarter).status == 4
    studio.write("october.csv", HEADER, AGREES, NEAREST.replace("40.824", "48.9888"))
    done = studio.reconcile()
    assert done.status == 0
    told = "2 open breaks of this period besides, found from 2026-10-01 up to 2027-01-01"
    assert f"{told}: compare all of that again" in " ".join(done.said.split())
    assert studio("reconcile", "october.csv", *quarter).status == 0
    assert "besides" not in studio.reconcile().said


def test_a_bill_in_two_files_is_compared_as_one(studio: Studio) -> None:
    # Two accounts: each alone would miss what the other has.
    studio.write("one.csv", HEADER, AGREES)
    studio.write("two.csv", "", HEADER, NEAREST.replace("40.824", "48.9888"))
    assert studio("reconcile", "one.csv", *PERIOD).status == 4
    done = studio("reconcile", "one.csv", "two.csv", *PERIOD)
    assert (done.status, "Book main and one.csv and 1 other file" in done.stdout) == (0, True)
    assert "two.csv: its lines are counted on: its line 1 is 3" in done.said
    assert "1 break of before cleared" in done.said  # missing there, as long as one was alone
    told = studio("reconcile", "one.csv", "two.csv", *PERIOD, "--format", "json")
    assert [file["name"] for file in told.data["statements"]] == ["one.csv", "two.csv"]
    assert told.data["replayed"]
    twice = studio("reconcile", "one.csv", "two.csv", "one.csv", *PERIOD)
    assert (twice.status, "one.csv: is given twice" in " ".join(twice.said.split())) == (7, True)


def test_files_that_are_written_in_different_ways_have_a_mapping_each(studio: Studio) -> None:
    studio.write("one.csv", HEADER, AGREES)
    # The same columns, in another order and without names: job-2 was charged 6 × 8.1648.
    studio.write("two.csv", "2026-10-06T10:00:00+00:00;48,9888;job-2")
    studio.write(
        "named.toml",
        "[columns]",
        'key = "Idempotency key"',
        'amount = "Credits used"',
        'at = "Completed at"',
    )
    studio.write(
        "plain.toml",
        'delimiter = ";"',
        'decimal = ","',
        "header = 0",
        "[columns]",
        "at = 1",
        "amount = 2",
        "key = 3",
    )
    each = ("--mapping", "named.toml", "--mapping", "plain.toml")
    assert studio("reconcile", "one.csv", "two.csv", *PERIOD, *each).status == 0
    swapped = studio("reconcile", "one.csv", "two.csv", *PERIOD, *each[2:], *each[:2])
    assert swapped.status == 7
    few = studio("reconcile", "one.csv", "two.csv", "october.csv", *PERIOD, *each)
    told = "the mappings: are 2 for 3 files; give one for all, or one for each"
    assert (few.status, told in " ".join(few.said.split())) == (7, True)


def test_a_bill_of_another_time_zone_is_noticed(studio: Studio) -> None:
    with Ledger(f"sqlite:///{studio.folder / 'credits.db'}", clock=studio.clock) as ledger:
        ledger.reserve("studio", 10, key="job-3", at="2026-10-07T10:31:00Z")
        ledger.charge("job-3", 10, at="2026-10-07T10:31:00Z")
    third = "job-3,kling-v3-motion-control,10,720p,2026-10-07T10:31:00Z,completed"
    lines = (line.replace("T10:", "T18:") for line in (AGREES, NEAREST, third))
    studio.write("october.csv", HEADER, *lines)
    told = "times on the bill are 8 h later than in the book for 3 of 3 matches"
    assert told in " ".join(studio.reconcile().said.split())
    document = json.loads(studio.reconcile("--format", "json").stdout)
    assert any(told in warning for warning in document["warnings"])


def test_a_statement_that_agrees_is_said_to_agree(studio: Studio) -> None:
    studio.write("october.csv", HEADER, AGREES, NEAREST.replace("40.824", "48.9888"))
    done = studio.reconcile()
    assert (done.status, "book and bill agree" in done.stdout) == (0, True)


def test_breaks_are_corrected_explained_and_then_gone(studio: Studio) -> None:
    studio.reconcile("--propose", "corrections.jsonl")
    lines = (studio.folder / "corrections.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["action"] for line in lines] == ["refund", "none"]
    applied = studio("reconcile", "apply", "corrections.jsonl", "--format", "csv")
    assert applied.status == 0
    assert [row["outcome"] for row in applied.rows] == ["applied", "skipped"]
    again = studio("reconcile", "apply", "corrections.jsonl", "--format", "json")
    assert [item["outcome"] for item in again.data["corrections"]] == ["already", "skipped"]
    left = studio("reconcile", "breaks", "--format", "csv").rows
    assert [(row["kind"], row["theirs"]) for row in left] == [("missing_here", "8.1648")]
    studio("reconcile", "assign", left[0]["id"], "noor")
    told = studio("reconcile", "explain", left[0]["id"], "--note", "a test of ours")
    assert "explained" in told.stdout
    assert studio.reconcile().status == 0
    closed = studio("reconcile", "breaks", "--status", "all", "--format", "json").data["breaks"]
    assert {(item["kind"], item["status"], item["owner"]) for item in closed} == {
        ("rounding", "adjusted", None),
        ("missing_here", "explained", "noor"),
    }


def test_a_write_off_needs_its_cap(studio: Studio) -> None:
    studio.reconcile("--propose", "corrections.jsonl")
    path = studio.folder / "corrections.jsonl"
    path.write_text(path.read_text("utf-8").replace('"none"', '"write_off"'), "utf-8")
    refused = studio("reconcile", "apply", "corrections.jsonl")
    assert refused.status == 7
    assert "cap: is needed" in " ".join(refused.stdout.split())
    assert studio("reconcile", "apply", "corrections.jsonl", "--write-off-cap", "9").status == 0


def test_one_break_is_shown_with_its_evidence(studio: Studio) -> None:
    studio.reconcile()
    found = studio("reconcile", "breaks", "--format", "csv").rows[0]["id"]
    shown = studio("reconcile", "show", found).stdout
    assert '"seconds": "5.4"' in shown
    assert "cause       rounding to nearest" in shown
    assert studio("reconcile", "show", "brk-0").said.startswith("error: book 'main' has no break")


def test_a_break_is_opened_again(studio: Studio) -> None:
    studio.reconcile()
    found = studio("reconcile", "breaks", "--format", "csv").rows[0]["id"]
    studio("reconcile", "explain", found, "--note", "agreed")
    assert len(studio("reconcile", "breaks", "--format", "csv").rows) == 1
    studio("reconcile", "reopen", found, "--note", "not agreed")
    assert len(studio("reconcile", "breaks", "--format", "csv").rows) == 2


def test_comparisons_are_listed_and_a_dry_run_is_none(studio: Studio) -> None:
    assert studio.reconcile("--dry-run").status == 4
    assert "nothing was compared yet" in studio("reconcile", "history").said
    studio.reconcile()
    told = studio.reconcile().said
    assert "the same as comparison 1: nothing changed" in told
    rows = studio("reconcile", "history", "--format", "csv").rows
    assert [(row["seq"], row["theirs"], row["breaks"]) for row in rows] == [
        ("1", "157.907232", "2")
    ]


def test_a_guessed_mapping_is_printed_as_a_file_that_reads_the_statement(studio: Studio) -> None:
    done = call("reconcile", "mapping", "october.csv", cwd=studio.folder)
    assert done.status == 0
    studio.write("october.toml", done.stdout)
    told = studio.reconcile("--mapping", "october.toml", "--format", "json")
    assert told.status == 4
    assert told.data["statements"][0]["guessed"] is False
    assert Decimal(told.data["totals"]["theirs"]) == Decimal("157.907232")


def test_lines_that_cannot_be_read_are_listed_and_nothing_is_kept(studio: Studio) -> None:
    studio.write("october.csv", HEADER, AGREES, NEAREST.replace("40.824", "forty"))
    done = studio.reconcile()
    assert done.status == 7
    assert "line 3, Credits used" in done.said
    assert "nothing was kept" in done.said
    assert "nothing was compared yet" in studio("reconcile", "history").said
    assert studio.reconcile("--allow-rejected").status == 4


@pytest.mark.parametrize(
    ("words", "status", "problem"),
    [
        (("reconcile", "none.csv", *PERIOD), 7, "none.csv"),
        (("reconcile", "october.csv", "--from", "2026-11-01", "--to", "2026-10-01"), 7, "later"),
        (("reconcile", "october.csv", "--from", "october", "--to", "2026-10-01"), 7, "october"),
        (("reconcile", "october.csv", *PERIOD, "--mapping", "none.toml"), 7, "none.toml"),
        (("reconcile", "october.csv", *PERIOD, "--tolerance", "a bit"), 7, "a bit"),
        (("reconcile", "october.csv", *PERIOD, "--tolerance-percent", "101"), 2, "part of 100"),
        (("reconcile", "october.csv", *PERIOD, "--tolerance-percent", "NaN"), 2, "part of 100"),
        (("reconcile", "october.csv", *PERIOD, "--alternative", "evolnik"), 7, "evolnik"),
        (("reconcile", "october.csv"), 2, "--from"),
        (("reconcile", "apply", "none.jsonl"), 7, "none.jsonl: cannot be read"),
        (("reconcile", "breaks", "--kind", "odd"), 7, "kind: is 'odd'"),
        (("reconcile", "explain", "brk-0", "--note", "x"), 7, "has no break 'brk-0'"),
    ],
)
def test_a_mistake_is_told_in_one_message(
    studio: Studio, words: tuple[str, ...], status: int, problem: str
) -> None:
    done = studio(*words)
    assert (done.status, done.stdout) == (status, "")
    assert problem in done.said
    assert "Traceback" not in done.stderr


DOCUMENTS: list[tuple[str, tuple[str, ...]]] = [
    ("reconciliation", ("reconcile", "october.csv", *PERIOD)),
    ("reconciliations", ("reconcile", "history")),
    ("breaks", ("reconcile", "breaks")),
    ("corrections", ("reconcile", "apply", "corrections.jsonl")),
]


@pytest.mark.parametrize(("name", "words"), DOCUMENTS, ids=lambda value: str(value)[:20])
def test_every_document_keeps_its_schema(studio: Studio, name: str, words: Any) -> None:
    studio.reconcile("--propose", "corrections.jsonl")
    document = studio(*words, "--format", "json").document
    schema = json.loads((SCHEMAS / f"{name}.v1.json").read_text("utf-8"))
    Draft202012Validator(schema).validate(document)
    assert document["schema"] == f"kling-ledger/{name}/v1"


def test_a_statement_of_a_wallet_says_whether_its_period_is_reconciled(studio: Studio) -> None:
    period = ("--since", "2026-10-01", "--until", "2026-11-01")
    words = ("wallet", "statement", "studio", *period)
    assert "was not yet held against the provider's bill" in studio(*words).said
    studio.reconcile()
    # -8.1648 and 8.1648
    assert "2 breaks open, 0 credits in all" in studio(*words).said
    for row in studio("reconcile", "breaks", "--format", "csv").rows:
        studio("reconcile", "explain", row["id"], "--note", "agreed")
    assert "agrees with the provider's bill" in studio(*words).said
    assert studio(*words, "--format", "json").data["reconciled"] == {
        "state": "reconciled", "open_breaks": 0, "difference": "0", "reconciliation": 1,
        "changed": 0,
    }  # fmt: skip
    assert studio(*words[:3], "--format", "json").data["reconciled"] is None


def test_amounts_in_documents_are_texts(studio: Studio) -> None:
    item = studio.reconcile("--format", "json").data["breaks"][0]
    assert (item["ours"], item["theirs"], item["difference"]) == ("48.9888", "40.824", "-8.1648")
    assert item["proposal"]["verb"] == "refund"
    assert item["age"] == "8-30"

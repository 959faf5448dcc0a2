"""A book as a frame: one row a job, with what it cost in a period and around it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from writers import Clock

from ledger import Ledger, MotionControl, PriceBook
from ledger.reconcile.books import cash_of, read_book
from ledger.reconcile.frames import BOOK, OPTIONAL, STATEMENT, book_frame
from ledger.records import us
from ledger.units import parse_moment

CREDIT = 10**8
OCTOBER = {
    "since_us": us(parse_moment("2026-10-01")),
    "until_us": us(parse_moment("2026-11-01")),
}


@pytest.fixture
def studio(database_url: str, book: str, clock: Clock) -> Iterator[Ledger]:
    clock.now = datetime(2026, 11, 2, tzinfo=UTC)
    with Ledger(database_url, book=book, clock=clock) as opened:
        opened.top_up("studio", 1_000, key="invoice-1", at="2026-01-01", cash=15, currency="USD")
        yield opened


def lines(*named: tuple[str | None, str | None]) -> pl.DataFrame:
    """A statement that names tasks and keys."""
    rows = [{"line": n, "task": task, "key": key} for n, (task, key) in enumerate(named, 2)]
    return pl.DataFrame(rows, schema=dict(STATEMENT))


def row(ledger: Ledger, job: str, statement: pl.DataFrame | None = None) -> dict[str, Any]:
    """What a frame says of a job, without what is nothing."""
    frame = read_book(ledger, lines() if statement is None else statement, **OCTOBER).jobs
    assert set(frame.columns) == {*BOOK, *OPTIONAL}
    assert frame["job"].is_unique().all()
    found = frame.filter(pl.col("job") == job).to_dicts()
    return {name: value for name, value in found[0].items() if value} if found else {}


def reserve(ledger: Ledger, job: str, at: str, **more: Any) -> None:
    ledger.reserve("studio", 50, key=job, at=at, **more)


def test_a_charge_in_the_period_is_that_of_its_job(studio: Ledger) -> None:
    reserve(studio, "job-1", "2026-10-05")
    studio.charge("job-1", 30, at="2026-10-06", final=False)
    studio.charge("job-1", 10, key="more", at="2026-10-07")
    studio.refund("job-1", 5, at="2026-10-08")
    found = row(studio, "job-1")
    assert (found["charged_e8"], found["refunded_e8"]) == (40 * CREDIT, 5 * CREDIT)
    assert (found["wallet"], found["state"], found["hold_e8"]) == ("studio", "charged", 50 * CREDIT)
    assert found["at_us"] == us(parse_moment("2026-10-06"))


def test_what_happened_around_the_period_stands_beside_it(studio: Ledger) -> None:
    reserve(studio, "job-1", "2026-09-29")
    studio.charge("job-1", 30, at="2026-09-30T23:59:59.999999Z")
    studio.refund("job-1", 4, at="2026-10-01")
    studio.refund("job-1", 6, key="second", at="2026-11-01")
    found = row(studio, "job-1")
    assert "charged_e8" not in found
    assert found["charged_before_e8"] == 30 * CREDIT
    assert (found["refunded_e8"], found["refunded_after_e8"]) == (4 * CREDIT, 6 * CREDIT)


def test_what_a_policy_did_not_take_was_asked_for_all_the_same(studio: Ledger) -> None:
    reserve(studio, "job-1", "2026-10-05", policy="cap")
    studio.charge("job-1", 60, at="2026-10-06")
    assert row(studio, "job-1")["charged_e8"] == 60 * CREDIT


def test_an_open_hold_is_there_and_unknown_once_its_deadline_has_passed(studio: Ledger) -> None:
    reserve(studio, "job-1", "2026-10-30")
    reserve(studio, "job-2", "2026-10-30", deadline="2026-11-01T12:00:00Z")
    reserve(studio, "job-3", "2026-11-01")
    assert row(studio, "job-1")["state"] == "open"
    assert row(studio, "job-2")["state"] == "unknown"
    assert row(studio, "job-3") == {}


def test_a_job_that_only_the_statement_names_is_looked_up_whatever_its_age(
    studio: Ledger,
) -> None:
    reserve(studio, "job-1", "2026-02-01")
    studio.charge("job-1", 30, at="2026-02-02")
    reserve(studio, "job-2", "2026-10-05")
    studio.release("job-2", at="2026-10-06")
    assert row(studio, "job-1") == row(studio, "job-2") == {}
    named = lines((None, "job-1"), ("job-2", None))
    assert row(studio, "job-1", named)["charged_before_e8"] == 30 * CREDIT
    released = row(studio, "job-2", named)
    assert (released["state"], released["task"]) == ("released", "job-2")
    assert "charged_e8" not in released


def test_a_price_is_read_from_what_the_hold_keeps(studio: Ledger) -> None:
    job = MotionControl(quality="1080p", character_orientation="video", reference_seconds="12.4")
    quote = PriceBook.bundled().quote(job, at="2026-10-05")
    studio.reserve("studio", quote, key="job-1", at="2026-10-05")
    studio.charge("job-1", seconds="9.2", at="2026-10-06")
    found = row(studio, "job-1")
    assert (found["model"], found["quality"]) == ("kling-v3-motion-control", "1080p")
    assert (found["orientation"], found["seconds"]) == ("video", "9.2")
    assert found["version"] == quote.terms.version.id
    assert found["charged_e8"] == 108_91843200  # 10 s × 10.8918432


def test_an_empty_book_gives_an_empty_frame(database_url: str, book: str) -> None:
    with Ledger(database_url, book=book) as nothing:
        frame = read_book(nothing, lines(("task-1", "job-1")), **OCTOBER).jobs
        assert frame.height == 0
        assert set(frame.columns) == {*BOOK, *OPTIONAL}


def test_bought_credits_are_those_of_the_period(studio: Ledger) -> None:
    studio.top_up("studio", 680, key="invoice-2", cash=10, currency="USD", at="2026-10-01")
    studio.top_up("studio", 5, key="gift", promotional=True, at="2026-10-02")
    studio.top_up("studio", 7, key="later", at="2026-11-01")
    assert cash_of(studio, **OCTOBER).rows() == [
        ("studio", "invoice-2", 680 * CREDIT, 10 * CREDIT, "USD", OCTOBER["since_us"])
    ]


def test_what_a_task_costs_stands_beside_its_own_job(studio: Ledger) -> None:
    for number in range(4):
        reserve(studio, f"job-{number}", f"2026-10-0{number + 1}")
        studio.link(f"job-{number}", f"task-{number}")
        told = {"id": f"task-{number}", "status": "completed"}
        studio.apply(json.dumps(told | {"usage": {"credits_used": 10 + number}}))
    told_lines = lines(*((f"task-{number}", None) for number in (3, 1)))
    frame = read_book(studio, told_lines, **OCTOBER).jobs
    # They were charged in November: a bill of October with nothing agrees, and none does not.
    assert dict(frame.select("job", "task_net_e8").iter_rows()) == {
        "job-0": 10 * CREDIT,
        "job-1": None,
        "job-2": 12 * CREDIT,
        "job-3": None,
    }


def test_a_second_task_of_a_job_is_told_beside_it(studio: Ledger) -> None:
    reserve(studio, "job-1", "2026-10-05")
    for task in ("task-1", "task-2", "task-3"):
        studio.link("job-1", task)
    bill = lines(("task-2", None), ("task-3", None), ("unknown", None))
    jobs, tasks = read_book(studio, bill, **OCTOBER)
    named = jobs["task"].item()
    assert {named, tasks["task"].item()} == {"task-2", "task-3"}
    assert tasks["job"].to_list() == ["job-1"]


def test_a_job_that_was_charged_in_part_and_is_open_stands_there_once(studio: Ledger) -> None:
    reserve(studio, "job-1", "2026-10-05", deadline="2026-12-01T00:00:00Z")
    reserve(studio, "job-2", "2026-10-05", deadline="2026-12-01T00:00:00Z")
    studio.charge("job-1", 10, key="part", at="2026-10-06", final=False)
    frame = read_book(studio, lines(), **OCTOBER).jobs
    found = frame.select("job", "state", "charged_e8").sort("job").rows()
    assert found == [("job-1", "open", 10 * CREDIT), ("job-2", "open", 0)]


def test_categories_and_empty_texts_are_read_like_texts(studio: Ledger) -> None:
    job = MotionControl(quality="1080p", character_orientation="video", reference_seconds="12.4")
    quote = PriceBook.bundled().quote(job, at="2026-10-05")
    studio.reserve("studio", quote, key="job-1", at="2026-10-05")
    frame = read_book(studio, lines(), **OCTOBER).jobs
    assert frame.schema["terms"] == frame.schema["wallet"] == pl.Categorical
    texts = frame.with_columns(pl.col(pl.Categorical).cast(pl.String))
    both = [book_frame(given) for given in (frame, texts)]
    assert both[0].schema["terms"] == pl.Categorical
    assert both[0].rows() == both[1].rows()
    nothing = book_frame(texts.with_columns(pl.lit("").alias("model"), pl.lit("").alias("task")))
    assert (nothing["model"].item(), nothing["task"].item()) == (None, None)

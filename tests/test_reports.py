"""Reports about jobs: totals are the sums of their parts, and figures lead to their entries."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from command import SCHEMAS
from histories import JOBS, Moves, histories, play
from hypothesis import HealthCheck, given, settings
from jsonschema import Draft202012Validator
from test_evidence import a_break
from writers import Clock

from ledger import Ledger, MotionControl, PriceBook
from ledger.cli.report import ReportFormat, text_of
from ledger.errors import InvalidEntry, UnknownWallet
from ledger.records import us
from ledger.reports.asking import Asked, ask
from ledger.reports.catalogue import CATALOGUE, kind_of, make
from ledger.reports.explain import explain
from ledger.reports.formats import as_csv, as_markdown
from ledger.reports.report import Report
from ledger.spans import STEPS, between, span_of
from ledger.units import parse_moment

CREDIT = 10**8
OCTOBER = span_of("2026-10")
ABOUT_JOBS = ("usage", "reserved", "failures", "variance")


def quote(quality: str = "1080p", seconds: str = "12.4") -> Any:
    """1080p costs 10.8918432 a second begun, 720p 8.1648; 12.4 s are 13."""
    job = MotionControl(quality=quality, character_orientation="video", reference_seconds=seconds)
    return PriceBook.bundled().quote(job, at="2026-10-01")


def october(ledger: Ledger) -> None:
    """Seven jobs of October, one of September."""
    ledger.top_up("studio", 5_000, key="invoice-1", at="2026-01-01")
    ads, art = {"team": "ads"}, {"team": "art"}
    # 13 s reserved, 10 charged: 141.5939616 and 108.918432.
    ledger.reserve("studio", quote(), key="job-1", labels=ads, at="2026-10-05T10:00Z")
    ledger.charge("job-1", seconds="9.2", at="2026-10-05T10:04Z")
    # 13 s reserved, 6 charged: 106.1424 and 48.9888; 8.9888 of it came back.
    ledger.reserve("studio", quote("720p"), key="job-2", labels=art, at="2026-10-06T10:00Z")
    ledger.charge("job-2", seconds="5.4", at="2026-10-06T10:02Z")
    ledger.refund("job-2", "8.9888", at="2026-10-07", reason="blurred")
    # Without a quote: 30 and 25 of 50, extended by 2.
    ledger.reserve("studio", 50, key="job-3", labels=ads, at="2026-10-08T10:00Z")
    ledger.extend("job-3", key="more", amount=2, at="2026-10-08T10:10Z")
    ledger.charge("job-3", 30, key="half", final=False, at="2026-10-08T10:20Z")
    ledger.charge("job-3", 25, at="2026-10-08T11:00Z")
    # Failed, by our own word.
    ledger.reserve("studio", quote("720p"), key="job-4", labels=art, at="2026-10-09T10:00Z")
    ledger.release("job-4", reason="never sent", at="2026-10-09T10:01Z")
    # Never heard of again; its deadline is the next day.
    ledger.reserve("studio", quote("720p"), key="job-5", at="2026-10-10T10:00Z",
                   deadline=parse_moment("2026-10-11T10:00Z"))  # fmt: skip
    # A hold that takes no more than it was made for: 8 s of 6.
    ledger.reserve("studio", quote("720p", "6"), key="job-6", labels=art, policy="cap",
                   at="2026-10-12T10:00Z")  # fmt: skip
    ledger.charge("job-6", seconds="8", at="2026-10-12T10:03Z")
    # Charged in November, after its deadline.
    ledger.reserve(
        "studio",
        20,
        key="job-7",
        at="2026-10-31T23:00Z",
        deadline=parse_moment("2026-10-31T23:30Z"),
    )
    ledger.charge("job-7", 12, at="2026-11-01T00:30Z")
    # September: 5 s of 13.
    ledger.reserve("studio", quote(), key="job-0", labels=ads, at="2026-09-05T10:00Z")
    ledger.charge("job-0", seconds="5", at="2026-09-05T10:04Z")


@pytest.fixture
def studio(database_url: str, book: str, clock: Clock) -> Iterator[Ledger]:
    clock.now = datetime(2026, 11, 2, tzinfo=UTC)
    with Ledger(database_url, book=book, clock=clock) as opened:
        october(opened)
        yield opened
        assert opened.verify().findings == ()


def table(report: Report, *names: str) -> list[list[str]]:
    """Some columns of the rows and the total, as they are written."""
    assert report.total is not None
    places = [report.place(name) for name in names]
    rows = [*report.cells, report.written(report.total)]
    return [[row[place] for place in places] for row in rows]


# Usage


def test_usage_is_charges_and_refunds_of_the_span(studio: Ledger) -> None:
    report = make("usage", ask(studio, span=OCTOBER))
    assert report.cells == [
        # 108.918432 + 48.9888 + 48.9888, of which 8.9888 came back; 9.2 + 5.4 + 8 s.
        ["kling-v3-motion-control", "3", "22.6", "206.896032", "8.9888", "197.907232", "not yet"],
        # In parts of 30 and 25; the charge of November is not of October.
        ["", "2", "0", "55", "0", "55", "not yet"],
    ]
    assert report.total is not None
    assert report.written(report.total)[1:-1] == ["5", "22.6", "261.896032", "8.9888", "252.907232"]


@pytest.mark.parametrize(
    ("by", "expected"),
    [
        ("team", [["ads", "163.918432"], ["art", "97.9776"]]),
        ("quality", [["1080p", "108.918432"], ["720p", "97.9776"], ["", "55"]]),
        ("week", [["2026-W41", "212.907232"], ["2026-W42", "48.9888"]]),
        ("month", [["2026-10", "261.896032"]]),
        # The refund stands beside the lengths: it is of none.
        ("length", [["05-10 s", "206.896032"], ["", "55"]]),
        ("wallet", [["studio", "261.896032"]]),
        ("policy", [["cap", "48.9888"], ["owe", "212.907232"]]),
        ("kind", [["charge", "261.896032"], ["refund", "0"]]),
    ],
)
def test_usage_can_be_broken_down_by_anything_that_is_known(
    studio: Ledger, by: str, expected: list[list[str]]
) -> None:
    report = make("usage", ask(studio, span=OCTOBER), by)
    column = by if by in {name.name for name in report.columns} else f"label.{by}"
    assert table(report, column, "charged")[:-1] == expected
    assert table(report, "charged")[-1] == ["261.896032"]


def test_days_are_those_of_the_time_zone(studio: Ledger) -> None:
    berlin = span_of("2026-11", "Europe/Berlin")
    assert table(make("usage", ask(studio, span=berlin), "day"), "day", "charged") == [
        ["2026-11-01", "12"],
        ["", "12"],
    ]
    # 1 November 00:30 in UTC is 31 October 19:30 in New York.
    there = ask(studio, span=span_of("2026-10", "America/New_York"))
    assert ["2026-10-31", "12"] in table(make("usage", there, "day"), "day", "charged")


def test_without_a_span_everything_counts(studio: Ledger) -> None:
    report = make("usage", ask(studio))
    # 261.896032 of October, 12 of November, and 5 s of September: 54.459216.
    assert table(report, "charged")[-1] == ["328.355248"]
    assert report.span.name == "all"
    assert report.span.start == datetime(2026, 9, 5, 10, 4, tzinfo=UTC)
    assert report.span.end == datetime(2026, 11, 1, 0, 30, 0, 1, tzinfo=UTC)


def test_only_one_wallet_counts_where_it_is_named(studio: Ledger) -> None:
    studio.top_up("annex", 100, key="invoice-2", at="2026-10-01")
    studio.reserve("annex", 7, key="there", at="2026-10-02")
    studio.charge("there", 7, at="2026-10-03")
    assert table(make("usage", ask(studio, wallet="annex")), "charged")[-1] == ["7"]
    for name in ABOUT_JOBS:
        assert len(make(name, ask(studio, wallet="annex"), "job").rows) == 1
    with pytest.raises(UnknownWallet):
        ask(studio, wallet="attic")


# What is known when


def test_a_report_of_a_month_can_be_made_again_as_it_was(studio: Ledger, clock: Clock) -> None:
    before = {name: make(name, ask(studio, span=OCTOBER)).cells for name in ABOUT_JOBS}
    clock.forward(days=3)
    studio.charge("job-5", 60, at="2026-10-30")
    studio.refund("job-1", 8, at="2026-10-31")
    after = {name: make(name, ask(studio, span=OCTOBER)).cells for name in ABOUT_JOBS}
    again = {
        name: make(name, ask(studio, span=OCTOBER, as_of="2026-11-03")).cells for name in ABOUT_JOBS
    }
    assert again == before
    assert all(after[name] != before[name] for name in ABOUT_JOBS)


def test_entries_can_be_counted_when_they_were_recorded(studio: Ledger, clock: Clock) -> None:
    clock.forward(days=3)
    studio.charge("job-5", 60, at="2026-10-30")
    fifth = between("2026-11-05", "2026-11-06")
    recorded = make("usage", ask(studio, span=fifth, by="recorded"), "day")
    assert table(recorded, "day", "charged") == [["2026-11-05", "60"], ["", "60"]]
    assert make("usage", ask(studio, span=fifth), "day").rows == ()
    second = between("2026-11-02", "2026-11-03")
    for name in ("reserved", "failures", "variance"):
        # All eight were written down on the second, job-5 among them.
        assert table(make(name, ask(studio, span=second, by="recorded")), "jobs")[-1] == ["8"]
        assert make(name, ask(studio, span=fifth, by="recorded")).rows == ()


def test_a_correction_of_a_closed_period_counts_when_it_counts_and_names_the_period(
    studio: Ledger,
) -> None:
    studio.close_period("2026-10", unreconciled="no statement yet")
    studio.charge("job-5", 60, at="2026-10-30")
    october_, november = ask(studio, span=OCTOBER), ask(studio, span=span_of("2026-11"))
    assert table(make("usage", october_), "charged")[-1] == ["261.896032"]
    report = make("usage", november)
    assert table(report, "charged")[-1] == ["72"]  # and 12 of job-7
    corrected = [piece.entry.corrects for piece in explain(report, "charged", {}).pieces]
    assert corrected == [None, "2026-10"]


# Reserved versus charged


def test_what_was_reserved_was_used_or_not(studio: Ledger) -> None:
    report = make("reserved", ask(studio, span=OCTOBER), "job")
    names = ("job", "reserved", "unused", "still_held", "over", "charged", "used_percent")
    assert table(report, *names) == [
        ["job-1", "141.5939616", "32.6755296", "0", "0", "108.918432", "76.9"],
        ["job-2", "106.1424", "57.1536", "0", "0", "48.9888", "46.2"],
        ["job-3", "52", "0", "0", "3", "55", "105.8"],
        ["job-4", "106.1424", "106.1424", "0", "0", "0", "0"],
        ["job-5", "106.1424", "0", "106.1424", "0", "0", "0"],
        ["job-6", "48.9888", "0", "0", "0", "48.9888", "100"],
        ["job-7", "20", "8", "0", "0", "12", "60"],
        ["", "581.0099616", "203.9715296", "106.1424", "3", "273.896032", "47.1"],
    ]


def test_holds_are_timed_and_judged(studio: Ledger) -> None:
    report = make("reserved", ask(studio, span=OCTOBER), "job")
    names = ("job", "over_estimates", "under_estimates", "ended_holds", "held_time",
             "average_held", "credit_hours")  # fmt: skip
    assert table(report, *names) == [
        # 141.5939616 credits for 4 minutes.
        ["job-1", "1", "0", "1", "240", "240", "9.43959744"],
        ["job-2", "1", "0", "1", "120", "120", "3.53808"],
        # 30 for 20 minutes, 22 for an hour, less 2 for the 10 minutes before they were set aside.
        ["job-3", "0", "1", "1", "3600", "3600", "31.66666667"],
        ["job-4", "0", "0", "1", "60", "60", "1.76904"],
        ["job-5", "0", "0", "0", "0", "", "0"],
        ["job-6", "0", "0", "1", "180", "180", "2.44944"],
        ["job-7", "1", "0", "1", "5400", "5400", "30"],
        ["", "3", "1", "6", "9600", "1600", "78.86282411"],
    ]


def test_by_default_jobs_stand_by_model_and_length(studio: Ledger) -> None:
    report = make("reserved", ask(studio, span=OCTOBER))
    assert table(report, "model", "length", "jobs") == [
        ["kling-v3-motion-control", "05-10 s", "3"],
        ["kling-v3-motion-control", "", "2"],
        ["", "", "2"],
        ["", "", "7"],
    ]


def test_a_charge_after_a_release_is_over_what_was_set_aside(studio: Ledger) -> None:
    studio.charge("job-4", 10, at="2026-10-09T11:00Z")
    report = make("reserved", ask(studio, span=OCTOBER), "job")
    figures = dict(zip((row[0] for row in report.cells), report.cells, strict=True))["job-4"]
    assert figures[2:7] == ["106.1424", "106.1424", "0", "10", "10"]


# Failures


def test_failures_are_jobs_that_ended_without_a_charge(studio: Ledger) -> None:
    report = make("failures", ask(studio, span=OCTOBER))
    names = ("model", "jobs", "ended", "failed", "failed_percent", "refunds", "refunded",
             "refunded_percent", "late", "uncollected", "unknown")  # fmt: skip
    assert table(report, *names) == [
        # 8.9888 of 206.896032; 2 s at 8.1648 were not taken of job-6.
        ["kling-v3-motion-control", "5", "4", "1", "25", "1", "8.9888", "4.3", "0", "16.3296", "1"],
        ["", "2", "2", "0", "0", "0", "0", "0", "1", "0", "0"],
        ["", "7", "6", "1", "16.7", "1", "8.9888", "3.3", "1", "16.3296", "1"],
    ]
    assert report.notes == (
        "unknown: jobs whose deadline had passed on 2026-11-02T00:00:00Z without an end",
    )


def test_a_job_is_unknown_from_its_deadline_on(studio: Ledger) -> None:
    def unknown(as_of: str) -> str:
        return table(make("failures", ask(studio, as_of=as_of)), "unknown")[-1][0]

    assert unknown("2026-11-02T00:00:00.000001Z") == "1"
    studio.extend("job-5", key="later", deadline=parse_moment("2026-11-03T00:00Z"))
    assert unknown("2026-11-02T23:59:59.999999Z") == "0"
    assert unknown("2026-11-03T00:00Z") == "1"


def test_nothing_depends_on_the_clock_once_all_jobs_have_ended(
    studio: Ledger, clock: Clock
) -> None:
    september = ask(studio, span=span_of("2026-09"))
    first = text_of(make("failures", september), ReportFormat.JSON)
    clock.forward(days=40)
    assert text_of(make("failures", september), ReportFormat.JSON) == first


TASKS = {
    "job-5": '{"id":"task-5","status":"failed","error":{"code":"moderation"}}',
    "job-1": '{"id":"task-1","status":"completed"}',
}


def test_what_the_provider_says_of_a_task_is_known_from_then_on(
    studio: Ledger, clock: Clock
) -> None:
    clock.forward(hours=1)
    for job, body in TASKS.items():
        studio.link(job, json.loads(body)["id"])
    clock.forward(hours=1)
    for body in TASKS.values():
        studio.apply(body)
    clock.forward(hours=1)
    for as_of, unproven in ((None, "1"), ("2026-11-02T03:00Z", "1"), ("2026-11-02T02:00Z", "0")):
        report = make("failures", ask(studio, span=OCTOBER, as_of=as_of))
        assert table(report, "unproven")[-1] == [unproven]
    # The refund is proven by the bill, and the hold let go: now it counts as failed.
    studio.release("job-5", at="2026-10-11", reason="not on the bill")
    report = make("failures", ask(studio, span=OCTOBER), "reason")
    assert table(report, "reason", "failed", "unproven") == [
        ["failed", "1", "1"],
        ["never sent", "1", "0"],
        ["", "0", "0"],
        ["", "2", "1"],
    ]


# Variance


def test_the_way_from_quotes_to_charges(studio: Ledger) -> None:
    report = make("variance", ask(studio, span=OCTOBER), "job")
    names = ("job", "quoted", "extended", "failure", "still_held", "length_change",
             "price_change", "told", "refunded", "net")  # fmt: skip
    assert table(report, *names) == [
        # 3 s of 10.8918432 less than were reserved.
        ["job-1", "141.5939616", "0", "0", "0", "-32.6755296", "0", "0", "0", "108.918432"],
        ["job-2", "106.1424", "0", "0", "0", "-57.1536", "0", "0", "-8.9888", "40"],
        ["job-3", "50", "2", "0", "0", "0", "0", "3", "0", "55"],
        ["job-4", "106.1424", "0", "-106.1424", "0", "0", "0", "0", "0", "0"],
        ["job-5", "106.1424", "0", "0", "-106.1424", "0", "0", "0", "0", "0"],
        # 2 s more, which its policy did not take.
        ["job-6", "48.9888", "0", "0", "0", "16.3296", "-16.3296", "0", "0", "48.9888"],
        ["job-7", "20", "0", "0", "0", "0", "0", "-8", "0", "12"],
        ["", "579.0099616", "2", "-106.1424", "-106.1424", "-73.4995296", "-16.3296", "-5",
         "-8.9888", "264.907232"],
    ]  # fmt: skip
    reserved, charged = report.place("reserved"), report.place("charged")
    assert report.total is not None
    assert report.written(report.total)[reserved] == "581.0099616"
    assert report.written(report.total)[charged] == "273.896032"


def test_a_correction_of_a_charge_by_length_is_price(studio: Ledger) -> None:
    studio.charge("job-1", "1.5", key="correction", at="2026-10-20")
    report = make("variance", ask(studio, span=OCTOBER), "job")
    row = dict(zip((column.name for column in report.columns), report.cells[0], strict=True))
    assert (row["length_change"], row["price_change"], row["told"]) == ("-32.6755296", "1.5", "0")


def test_a_charge_that_the_provider_told_is_priced_by_the_length_of_its_task(
    studio: Ledger,
) -> None:
    studio.reserve("studio", quote(), key="job-8", at="2026-10-20")
    studio.link("job-8", "task-8")
    body = {"id": "task-8", "status": "completed", "usage": {"credits_used": 110},
            "task_info": {"video_duration": 9.2}}  # fmt: skip
    studio.apply(json.dumps(body))
    report = make("variance", ask(studio, span=between("2026-10-20", "2026-10-21")))
    row = dict(zip((column.name for column in report.columns), report.cells[0], strict=True))
    # 10 s are 108.918432, 3 less than were reserved; the provider charged 1.081568 more.
    assert (row["length_change"], row["price_change"], row["told"]) == (
        "-32.6755296",
        "1.081568",
        "0",
    )


def test_the_way_from_one_month_to_another(studio: Ledger) -> None:
    asked = ask(studio, span=OCTOBER, against=span_of("2026-09"))
    report = make("variance", asked)
    names = ("model", "jobs_before", "jobs", "before", "volume", "mix", "failure",
             "length_change", "price_change", "refund_change", "net")  # fmt: skip
    assert table(report, *names) == [
        # One job for 54.459216 (5 s). Volume: seven jobs for one. Mix: five of them are of this
        # model. Failure: three of the five were charged. Length: 22.6 s at that price, which is
        # 246.15565632; price: 206.896032 was charged.
        ["kling-v3-motion-control", "1", "5", "54.459216", "326.755296", "-108.918432",
         "-108.918432", "82.77800832", "-39.25962432", "-8.9888", "197.907232"],
        # There was none before: its cost is mix.
        ["", "0", "2", "0", "0", "67", "0", "0", "0", "0", "67"],
        ["", "1", "7", "54.459216", "326.755296", "-41.918432", "-108.918432", "82.77800832",
         "-39.25962432", "-8.9888", "264.907232"],
    ]  # fmt: skip
    assert report.notes == ("before is 2026-09 (UTC)",)


def test_where_a_length_is_not_known_it_is_part_of_the_price(studio: Ledger) -> None:
    asked = ask(studio, span=OCTOBER, against=span_of("2026-09"))
    report = make("variance", asked, "team")
    names = ("label.team", "failure", "length_change", "price_change", "net")
    # job-3 of the ads tells no length: 163.918432 for two jobs, and 108.918432 for two as before.
    assert table(report, *names)[0] == ["ads", "0", "0", "55", "163.918432"]


def test_a_comparison_needs_two_periods_and_no_days(studio: Ledger) -> None:
    september = span_of("2026-09")
    with pytest.raises(InvalidEntry, match="say a period of its own as well"):
        make("variance", ask(studio, against=september))
    with pytest.raises(InvalidEntry, match="day says nothing here"):
        make("variance", ask(studio, span=OCTOBER, against=september), "day")
    with pytest.raises(InvalidEntry, match="cannot be held against another period"):
        make("usage", ask(studio, span=OCTOBER, against=september))


# Whether it agrees with the bill


def compared(ledger: Ledger, since: str, until: str, *breaks: Any) -> None:
    ledger.keep_reconciliation(
        since=since, until=until, breaks=breaks, digest=since.encode().ljust(32), options={},
        result={},
    )  # fmt: skip


def states(report: Report) -> list[str]:
    return [row[-1] for row in table(report, "reconciled")]


def test_an_open_break_about_a_job_is_one_of_its_row_alone(studio: Ledger) -> None:
    compared(studio, "2026-10-01", "2026-11-02", a_break("b-1"))
    asked = ask(studio, span=OCTOBER)
    for name in ABOUT_JOBS:
        found = states(make(name, asked, "quality"))
        assert found == ["open breaks", "reconciled", "reconciled", "open breaks"]
    studio.resolve_break("b-1", "explained", note="agreed")
    assert set(states(make("usage", asked, "quality"))) == {"reconciled"}


def test_several_comparisons_may_cover_a_span(studio: Ledger) -> None:
    compared(studio, "2026-10-01", "2026-10-08")
    assert states(make("usage", ask(studio, span=OCTOBER))) == ["not yet"] * 3
    compared(studio, "2026-10-08", "2026-11-01")
    assert states(make("usage", ask(studio, span=OCTOBER))) == ["reconciled"] * 3


def test_days_that_were_compared_are_reconciled_by_themselves(studio: Ledger) -> None:
    compared(studio, "2026-10-01", "2026-10-08")
    report = make("usage", ask(studio, span=OCTOBER), "day")
    assert table(report, "day", "reconciled") == [
        ["2026-10-05", "reconciled"],
        ["2026-10-06", "reconciled"],
        ["2026-10-07", "reconciled"],
        ["2026-10-08", "not yet"],
        ["2026-10-12", "not yet"],
        ["", "not yet"],
    ]
    # The second week was compared up to its Wednesday; by team and day each day counts.
    assert states(make("usage", ask(studio, span=OCTOBER), "week")) == ["not yet"] * 3
    assert "reconciled" in states(make("usage", ask(studio, span=OCTOBER), "team,day"))


def test_a_job_charged_in_a_month_that_was_not_compared_is_not_reconciled(studio: Ledger) -> None:
    compared(studio, "2026-10-01", "2026-11-01")
    asked = ask(studio, span=OCTOBER)
    # job-7 has no model, and was charged in November.
    assert states(make("variance", asked)) == ["reconciled", "not yet", "not yet"]
    assert states(make("usage", asked)) == ["reconciled"] * 3
    compared(studio, "2026-11-01", "2026-11-02")
    assert states(make("variance", asked)) == ["reconciled"] * 3


def test_what_came_after_the_comparison_is_to_be_compared(studio: Ledger, clock: Clock) -> None:
    compared(studio, "2026-10-01", "2026-11-02")
    clock.now += timedelta(hours=1)
    studio.reserve("studio", 5, key="after", labels={"team": "night"}, at="2026-10-20")
    studio.charge("after", 5, at="2026-10-20")
    report = make("usage", ask(studio, span=OCTOBER), "team")
    found = dict(zip(report.values("label.team"), states(report), strict=False))
    assert found.pop("night") == "not yet"
    assert set(found.values()) == {"reconciled"}
    assert states(report)[-1] == "not yet"
    compared(studio, "2026-10-01", "2026-11-02", a_break("b-1"))
    assert "not yet" not in states(make("usage", ask(studio, span=OCTOBER), "team"))


def test_two_periods_are_reconciled_where_both_are(studio: Ledger) -> None:
    asked = ask(studio, span=OCTOBER, against=span_of("2026-09"))
    compared(studio, "2026-10-01", "2026-11-02")
    assert states(make("variance", asked)) == ["not yet"] * 3
    compared(studio, "2026-09-01", "2026-10-01")
    assert states(make("variance", asked)) == ["reconciled"] * 3


# Dimensions


def test_a_label_may_be_called_like_anything_and_hold_anything(studio: Ledger) -> None:
    longest, odd = "x" * 255, '=1+1 | "two", שלום <b>'
    labels = {"model": "mine", "day": odd, "job": longest, "reconciled": "no", "charged": "all"}
    studio.reserve("studio", 5, key="odd", labels=labels, at="2026-10-02")
    studio.charge("odd", 5, at="2026-10-02")
    asked = ask(studio, span=between("2026-10-02", "2026-10-03"))
    names = [f"label.{name}" if name in {"model", "day", "job"} else name for name in labels]
    report = make("usage", asked, names)
    assert report.cells[0][:5] == ["mine", odd, longest, "no", "all"]
    assert [column.title for column in report.columns[:5]] == [
        *("label.model", "label.day", "label.job", "reconciled", "charged")
    ]
    assert next(csv.reader(StringIO(as_csv(report).partition("\n")[2])))[:3] == [
        *("mine", odd, longest)
    ]
    assert r"=1+1 \| \"two\", שלום \<b\>".replace(r"\"", '"') in as_markdown(report)
    assert make("usage", asked, "model").cells[0][0] == ""
    assert explain(report, "charged", {"label.job": longest}).amount == 5 * CREDIT


def test_people_read_that_there_is_nothing_and_programs_find_nothing(studio: Ledger) -> None:
    report = make("usage", ask(studio, span=OCTOBER), "team,model")
    assert report.readable(report.rows[1])[:2] == ["ads", "(none)"]
    assert "| ads | (none) |" in as_markdown(report)
    assert "(none)" not in as_csv(report) + text_of(report, ReportFormat.JSON)


@pytest.mark.parametrize(
    ("name", "by", "said"),
    [
        ("usage", "modle", ["no job here has a label 'modle'; did you mean model?"]),
        ("variance", "taem", ["no job here has a label 'taem'; did you mean team?"]),
        ("usage", "customer", ["no job here has a label 'customer'; jobs have 'model', 'team'"]),
        ("usage", "team,model", []),
    ],
)
def test_a_label_that_no_job_has_is_told(
    studio: Ledger, name: str, by: str, said: list[str]
) -> None:
    assert list(make(name, ask(studio, span=OCTOBER), by).notes) == said


def test_a_label_that_no_job_of_two_periods_has_is_told(studio: Ledger) -> None:
    asked = ask(studio, span=OCTOBER, against=span_of("2026-09"))
    assert make("variance", asked, "modle").notes[1].startswith("no job here has a label 'modle'")


def test_rows_stand_in_the_order_of_a_column(studio: Ledger) -> None:
    report = make("usage", ask(studio, span=OCTOBER), "day")
    net = report.values("net")
    assert report.sorted_by("net").values("net") == sorted(net, reverse=True) != net
    # Texts from the first on.
    assert report.sorted_by("net").sorted_by("day").rows == report.rows
    assert report.sorted_by("net").total == report.total
    bridge = make("variance", ask(studio, span=OCTOBER), "team")
    # By its name in CSV, and as people read it.
    assert bridge.sorted_by("still held").rows == bridge.sorted_by("still_held").rows
    teams = make("usage", ask(studio), "team").sorted_by("team").values("label.team")
    assert teams == ["ads", "art", None]


@pytest.mark.parametrize(
    ("name", "by", "problem"),
    [
        ("usage", "", "names nothing"),
        ("usage", "team,,day", "names nothing"),
        ("usage", "label.", "names nothing"),
        ("usage", "team,label.team", "names one of them twice"),
        ("usage", "contra", "contra says nothing here"),
        ("reserved", "kind", "kind says nothing here"),
        ("usages", "team", "there is no 'usages'; did you mean usage?"),
        ("xyz", "team", "there is no 'xyz'; known are usage, reserved"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(
    studio: Ledger, name: str, by: str, problem: str
) -> None:
    with pytest.raises(InvalidEntry, match=problem.replace("?", r"\?")):
        make(name, ask(studio, span=OCTOBER), by)


def test_a_moment_that_is_none_is_refused(studio: Ledger) -> None:
    with pytest.raises(InvalidEntry, match="must be a day"):
        ask(studio, as_of="soon")
    with pytest.raises(InvalidEntry, match="'Berlin' is no time zone"):
        ask(studio, timezone="Berlin")


def test_every_report_has_a_maker_and_a_name() -> None:
    for kind in CATALOGUE.values():
        assert callable(kind.maker)
        assert kind_of(kind.name) is kind


# Explaining


def explained(report: Report) -> int:
    """Check that the entries behind each figure add up to it; how many figures there are."""
    assert report.total is not None
    named = [column.name for column in report.columns if column.none]
    count = 0
    for row in (*report.rows, report.total):
        whole = {} if row is report.total else dict(zip(named, row, strict=False))
        for column, value in zip(report.columns, row, strict=True):
            if column.adds_up and not column.of:
                found = explain(report, column.name, whole)
                assert found.amount == value == sum(piece.amount for piece in found.pieces)
                places = [(piece.entry.wallet, piece.entry.seq) for piece in found.pieces]
                assert sorted(set(places)) == places
                count += 1
    return count


@pytest.mark.parametrize("name", ABOUT_JOBS)
@pytest.mark.parametrize("by", [None, "team,quality", "job"])
def test_every_figure_leads_to_its_entries(studio: Ledger, name: str, by: str | None) -> None:
    assert explained(make(name, ask(studio, span=OCTOBER), by)) > 10


def test_the_figures_of_a_comparison_lead_to_the_entries_of_both_periods(studio: Ledger) -> None:
    asked = ask(studio, span=OCTOBER, against=span_of("2026-09"))
    report = make("variance", asked)
    assert explained(report) == 12  # two rows and the total, four figures each
    assert [piece.entry.job for piece in explain(report, "before", {}).pieces] == ["job-0"]
    with pytest.raises(InvalidEntry, match="volume is worked out from jobs_before and jobs and"):
        explain(report, "volume", {})


def test_a_figure_names_the_versions_of_the_price_behind_it(studio: Ledger) -> None:
    version = quote().terms.version.id
    found = explain(make("usage", ask(studio, span=OCTOBER), "team"), "charged", {"team": "ads"})
    assert [(piece.entry.key, piece.amount, piece.version) for piece in found.pieces] == [
        ("job-1", 108_91843200, version),
        ("half", 30 * CREDIT, None),
        ("job-3", 25 * CREDIT, None),
    ]
    assert found.versions == {version: 1}
    assert found.figure == "163.918432"


@pytest.mark.parametrize(
    ("column", "row", "problem"),
    [
        ("net", {}, "net is worked out from charged and refunded; explain those"),
        ("nett", {}, "has no column 'nett'; known are charges, seconds, charged, refunded, net$"),
        ("team", {}, "has no column 'team'"),
        ("charged", {"model": "x"}, "has no model; known are team"),
        ("charged", {"reconciled": "not yet"}, "has no reconciled; known are team"),
        ("charged", {"team": "adds"}, "has no row 'adds'"),
    ],
)
def test_a_figure_that_is_not_there_is_refused_in_words(
    studio: Ledger, column: str, row: Mapping[str, str], problem: str
) -> None:
    report = make("usage", ask(studio, span=OCTOBER), "team")
    with pytest.raises(InvalidEntry, match=problem):
        explain(report, column, row)


def test_a_figure_may_be_named_as_the_table_has_it(studio: Ledger) -> None:
    bridge = make("variance", ask(studio, span=OCTOBER), "length")
    for name, title in (("still_held", "still held"), ("length_change", "length")):
        found = explain(bridge, title, {})
        assert found == explain(bridge, name, {})
        assert found.column.name == name
    # job-5 is held with 13 s of 8.1648; job-7 is charged in November.
    assert explain(bridge, "still held", {}).amount == -106_14240000
    # As a column of the table, length is what rows are of: the first one with that name.
    assert bridge.sorted_by("length").rows == bridge.rows


def test_the_known_columns_are_all_that_there_are(studio: Ledger) -> None:
    compared = make("variance", ask(studio, span=OCTOBER, against=span_of("2026-09")), "team")
    known = (
        "jobs_before, jobs, before, volume, mix, failure, length_change (length),"
        " price_change (price), refund_change (refunds), net, change_percent (change %)"
    )
    with pytest.raises(InvalidEntry) as refused:
        explain(compared, "nosuch", {})
    assert str(refused.value) == f"the cell: has no column 'nosuch'; known are {known}"
    with pytest.raises(InvalidEntry) as refused:
        compared.sorted_by("nosuch")
    known = f"team, {known}, reconciled (bill)"
    assert str(refused.value) == f"the order: there is no column 'nosuch'; known are {known}"
    with pytest.raises(InvalidEntry, match="price is worked out from jobs_before and jobs"):
        explain(compared, "price", {})


def test_a_row_is_there_only_with_all_of_its_values(studio: Ledger) -> None:
    report = make("usage", ask(studio, span=OCTOBER), "team,quality")
    # art has jobs of 720p alone, ads those of 1080p and of none.
    assert explain(report, "charged", {"team": "art", "quality": "720p"}).figure == "97.9776"
    for row, said in (
        ({"team": "art", "quality": "1080p"}, "team 'art' and quality '1080p'"),
        ({"quality": None, "team": "art"}, r"quality \(none\) and team 'art'"),
    ):
        with pytest.raises(InvalidEntry, match=f"the cell: has no row of {said}$"):
            explain(report, "charged", row)
    # One value alone stands for several rows.
    assert explain(report, "charged", {"team": "ads"}).figure == "163.918432"
    with pytest.raises(InvalidEntry, match="team: has no row 'adds'"):
        explain(report, "charged", {"quality": "720p", "team": "adds"})


# Spans of any width


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("since", "until"), [
    ("2026-09-01", "2026-12-01"),
    ("2026-01-01", "9999-12-31"),
    ("0001-01-02", "9999-12-31"),
])  # fmt: skip
def test_a_wide_span_has_the_rows_of_its_entries(
    studio: Ledger, step: str, since: str, until: str
) -> None:
    wide = make("usage", ask(studio, span=between(since, until, "Europe/Berlin")), step)
    whole = make("usage", ask(studio, timezone="Europe/Berlin"), step)
    assert wide.cells == whole.cells
    # Five days, in four weeks and three months; every hour of a charge or a refund is another.
    assert len(wide.rows) == {"hour": 8, "day": 7, "week": 4, "month": 3}[step]


def test_days_of_wide_spans_are_reconciled_as_those_of_a_month(studio: Ledger) -> None:
    compared(studio, "2026-10-01", "2026-10-08")
    wide = make("usage", ask(studio, span=between("0001-01-01", "9999-12-31")), "day")
    # Those of September, October and November.
    assert states(wide) == ["not yet", *["reconciled"] * 3, *["not yet"] * 4]


# Laws


def all_reports(ledger: Ledger) -> Iterator[Report]:
    for asked in spans(ledger):
        for name in ABOUT_JOBS:
            for by in ("team", "wallet,week"):
                if asked.against is None or (name == "variance" and by == "team"):
                    yield make(name, asked, by)


def spans(ledger: Ledger) -> Sequence[Asked]:
    start = datetime(2026, 10, 10, 12, tzinfo=UTC)
    first = between(start - timedelta(days=9), start + timedelta(days=3))
    second = between(start + timedelta(days=3), start + timedelta(days=400))
    return (
        ask(ledger),
        ask(ledger, span=first),
        ask(ledger, span=second, by="recorded"),
        ask(ledger, as_of=start + timedelta(days=3)),
        ask(ledger, span=second, against=first),
    )


def figures(report: Report, row: Sequence[Any]) -> dict[str, Any]:
    return dict(zip((column.name for column in report.columns), row, strict=True))


def kinds(ledger: Ledger, job: str) -> set[str]:
    return {entry.kind for entry in ledger.history(job)}


BRIDGE = ("volume", "mix", "failure", "length_change", "price_change", "refund_change")


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories())
def test_totals_are_the_sums_of_rows_and_bridges_arrive(moves: Moves) -> None:
    clock = Clock()
    with Ledger("sqlite://", clock=clock) as ledger:
        play(ledger, clock, moves)
        for report in all_reports(ledger):
            assert report.total is not None
            total = figures(report, report.total)
            rows = [figures(report, row) for row in report.rows]
            for column in report.columns:
                if column.adds_up:
                    assert total[column.name] == sum(row[column.name] for row in rows)
            for row in (*rows, total):
                if report.name == "reserved":
                    left = row["reserved"] - row["unused"] - row["still_held"] + row["over"]
                    assert left == row["charged"]
                if report.name == "variance" and "before" in row:
                    assert row["before"] + sum(row[name] for name in BRIDGE) == row["net"]


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories())
def test_everything_is_what_the_book_says_of_its_holds(moves: Moves) -> None:
    clock = Clock()
    with Ledger("sqlite://", clock=clock) as ledger:
        play(ledger, clock, moves)
        holds = [ledger.hold(job) for job in JOBS]
        asked = ask(ledger)
        one = {name: make(name, asked) for name in ABOUT_JOBS}
        found = {name: figures(report, report.total or ()) for name, report in one.items()}
        charged = sum(hold.charged_e8 for hold in holds)
        refunded = sum(hold.refunded_e8 for hold in holds)
        assert [found[name]["charged"] for name in ABOUT_JOBS] == [charged] * 4
        assert found["usage"]["net"] == found["variance"]["net"] == charged - refunded
        assert found["failures"]["refunded"] == refunded
        made_for = sum(hold.amount_e8 for hold in holds)
        assert found["reserved"]["reserved"] == found["variance"]["reserved"] == made_for
        assert found["reserved"]["still_held"] == sum(hold.held_e8 for hold in holds)
        assert found["variance"]["still_held"] == -found["reserved"]["still_held"]
        ended = [hold for hold in holds if hold.state != "open"]
        assert found["failures"]["ended"] == len(ended)
        billed = {hold.job for hold in ended if "charge" in kinds(ledger, hold.job)}
        assert found["failures"]["failed"] == len(ended) - len(billed)
        now_us = us(clock.now)
        assert found["failures"]["unknown"] == sum(
            hold.state_at(now_us) == "unknown" for hold in holds
        )


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories(most=20))
def test_every_figure_of_any_history_leads_to_its_entries(moves: Moves) -> None:
    clock = Clock()
    with Ledger("sqlite://", clock=clock) as ledger:
        play(ledger, clock, moves)
        for name in ABOUT_JOBS:
            explained(make(name, ask(ledger), "team"))


# Written out


def test_a_report_in_csv_is_its_rows(studio: Ledger) -> None:
    assert as_csv(make("usage", ask(studio, span=OCTOBER), "team")) == (
        "label.team,charges,seconds,charged,refunded,net,reconciled\n"
        "ads,3,9.2,163.918432,0,163.918432,not yet\n"
        "art,2,13.4,97.9776,8.9888,88.9888,not yet\n"
    )


def test_a_report_in_markdown_has_a_heading_and_a_total(studio: Ledger) -> None:
    report = make("usage", ask(studio, span=OCTOBER, as_of="2026-11-09"), "team,quality")
    assert as_markdown(report.with_notes("not *all* of it")) == (
        "## Usage\n\n"
        f"Book {studio.book}, 2026-10 (UTC), as happened, as known on 2026-11-09T00:00:00Z\n\n"
        "| team | quality | charges | seconds | charged | refunded | net | bill |\n"
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |\n"
        "| ads | 1080p | 1 | 9.2 | 108.918432 | 0 | 108.918432 | not yet |\n"
        "| ads | (none) | 2 | 0 | 55 | 0 | 55 | not yet |\n"
        "| art | 720p | 2 | 13.4 | 97.9776 | 8.9888 | 88.9888 | not yet |\n"
        "| **total** |  | **5** | **22.6** | **261.896032** | **8.9888** | **252.907232**"
        " | **not yet** |\n\n"
        "* not \\*all\\* of it\n"
    )


@pytest.mark.parametrize("name", ABOUT_JOBS)
def test_a_report_in_json_is_as_its_schema_says_with_the_same_figures(
    studio: Ledger, name: str
) -> None:
    report = make(name, ask(studio, span=OCTOBER, as_of="2026-11-09"), "team")
    document = json.loads(text_of(report, ReportFormat.JSON))
    schema = json.loads((SCHEMAS / "report.v1.json").read_text("utf-8"))
    Draft202012Validator(schema).validate(document)
    data = document["data"]
    assert document["generated_at"] == "2026-11-02T00:00:00Z"
    assert data["period"]["start"] == "2026-10-01T00:00:00Z"
    written = [["" if value is None else str(value) for value in row.values()]
               for row in (*data["rows"], data["total"])]  # fmt: skip
    assert report.total is not None
    assert written == [*report.cells, report.written(report.total)]
    assert all(isinstance(row["jobs" if name != "usage" else "charges"], int)
               for row in data["rows"])  # fmt: skip


FORMATS = (ReportFormat.CSV, ReportFormat.MD, ReportFormat.JSON)


def test_the_same_data_gives_the_same_bytes_on_every_engine(
    sqlite_url: str, postgres_url: str, book: str
) -> None:
    def written(url: str, *, fill: bool) -> list[str]:
        with Ledger(url, book=book, clock=lambda: datetime(2026, 11, 2, tzinfo=UTC)) as ledger:
            if fill:
                october(ledger)
            asked = ask(ledger, span=OCTOBER)
            return [
                text_of(make(name, asked, by), format_)
                for name in ABOUT_JOBS
                for by in (None, "team,week", "job")
                for format_ in FORMATS
            ]

    first = written(sqlite_url, fill=True)
    assert written(sqlite_url, fill=False) == first
    assert written(postgres_url, fill=True) == first


def test_an_empty_period_has_no_rows_and_a_total_of_nothing(studio: Ledger) -> None:
    for name in ABOUT_JOBS:
        report = make(name, ask(studio, span=span_of("2026-12")), "team,day")
        assert report.rows == ()
        assert report.total is not None
        assert {value for value in report.total if isinstance(value, int)} == {0}
        assert len(as_csv(report).splitlines()) == 1


def test_a_book_without_wallets_has_empty_reports(database_url: str, book: str) -> None:
    with Ledger(database_url, book=book) as empty:
        for name in ABOUT_JOBS:
            report = make(name, ask(empty))
            assert (report.rows, report.made_at) == ((), None)
            assert text_of(report, ReportFormat.JSON)

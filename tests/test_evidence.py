"""What comparisons have found is kept once, listed, and closed by people."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
from writers import Clock

from ledger.book import Book
from ledger.breaks import BreakRecord
from ledger.errors import InvalidEntry, NotReconciled, UnknownBreak, WriteOffAboveCap
from ledger.records import ImportRecord

OCTOBER: dict[str, Any] = {"since": "2026-10-01", "until": "2026-11-01"}
STARTED_US = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp()) * 10**6
ENDED_US = int(datetime(2026, 11, 1, tzinfo=UTC).timestamp()) * 10**6
FIFTH_US = int(datetime(2026, 10, 5, tzinfo=UTC).timestamp()) * 10**6
CREDIT = 10**8
DAY_US = 86_400 * 10**6


def a_break(break_id: str, **changes: Any) -> BreakRecord:
    """A charge of 40 credits for which the bill says 44."""
    found = BreakRecord(
        book="", id=break_id, kind="amount", wallet="studio", job="job-1", task="task-1",
        ours_e8=40 * CREDIT, theirs_e8=44 * CREDIT, difference_e8=4 * CREDIT,
        happened_at_us=FIFTH_US, cause=None, evidence="{}", status="open", owner=None, note=None,
        closed_by=None, since_us=STARTED_US, until_us=ENDED_US, found_seq=0, seen_seq=0,
        changed_at_us=0,
    )  # fmt: skip
    return found._replace(**changes)


def keep(ledger: Book, *breaks: BreakRecord, digest: bytes = bytes(32), **more: Any) -> Any:
    given = OCTOBER | {"options": {}, "result": {"lines": 7}} | more
    return ledger.keep_reconciliation(breaks=breaks, digest=digest, **given)


def test_the_same_comparison_again_changes_nothing(ledger: Book) -> None:
    first = keep(ledger, a_break("b-1"))
    assert (first.new, first.known, first.cleared, first.replayed) == (1, 0, 0, False)
    again = keep(ledger, a_break("b-1"))
    assert again.replayed
    assert again.reconciliation == first.reconciliation
    assert [item.seq for item in ledger.reconciliations()] == [1]
    assert first.reconciliation.figures == {"lines": 7}


def test_a_break_that_is_found_again_keeps_what_people_said_of_it(
    ledger: Book, clock: Clock
) -> None:
    keep(ledger, a_break("b-1"), a_break("b-2"))
    ledger.assign_break("b-1", "li")
    ledger.resolve_break("b-2", "explained", note="agreed with support")
    clock.now += timedelta(days=1)
    kept = keep(
        ledger, a_break("b-1", cause="rounding to nearest"), a_break("b-2"), digest=b"2" * 32
    )
    assert (kept.new, kept.known, kept.cleared) == (0, 2, 0)
    first, second = ledger.break_named("b-1"), ledger.break_named("b-2")
    assert (first.owner, first.cause, first.found_seq, first.seen_seq) == (
        "li",
        "rounding to nearest",
        1,
        2,
    )
    assert (second.status, second.note) == ("explained", "agreed with support")
    assert second.difference == 4


@pytest.mark.parametrize("status", ["explained", "adjusted", "written_off"])
def test_a_closed_break_that_comes_to_another_sum_is_open_again(ledger: Book, status: Any) -> None:
    keep(ledger, a_break("b-1"))
    ledger.resolve_break("b-1", status, note="agreed", cap=4)
    kept = keep(ledger, a_break("b-1", difference_e8=5 * CREDIT), digest=b"2" * 32)
    assert (kept.new, kept.known) == (1, 0)
    found = ledger.break_named("b-1")
    assert (found.status, found.difference_e8) == ("open", 5 * CREDIT)


def test_an_open_break_that_is_not_found_again_is_cleared_and_may_come_back(
    ledger: Book,
) -> None:
    keep(ledger, a_break("b-1"), a_break("b-2"))
    ledger.resolve_break("b-2", "written_off", note="a cent", cap=4)
    kept = keep(ledger, digest=b"2" * 32)
    assert (kept.new, kept.known, kept.cleared) == (0, 0, 1)
    assert [item.id for item in ledger.breaks()] == []
    assert {item.id: item.status for item in ledger.breaks(None)} == {
        "b-1": "cleared",
        "b-2": "written_off",
    }
    back = keep(ledger, a_break("b-1"), a_break("b-2"), digest=b"3" * 32)
    assert (back.new, back.known, back.cleared) == (1, 1, 0)
    assert ledger.break_named("b-1").status == "open"
    assert ledger.break_named("b-2").status == "written_off"


def test_a_comparison_of_another_period_clears_nothing_of_this_one(ledger: Book) -> None:
    keep(ledger, a_break("b-1"))
    kept = keep(ledger, since="2026-11-01", until="2026-12-01")
    assert kept.cleared == 0
    assert [item.id for item in ledger.breaks()] == ["b-1"]


def test_a_day_of_the_month_clears_what_was_found_for_that_day_only(ledger: Book) -> None:
    keep(ledger, a_break("b-1"))
    # What was found over the month may be about another day, too; it is named instead.
    for replayed in (False, True):
        kept = keep(ledger, since="2026-10-05", until="2026-10-06")
        assert (kept.cleared, kept.replayed) == (0, replayed)
        assert [item.id for item in kept.others] == ["b-1"]
    assert keep(ledger, since="2026-10-06", until="2026-10-07").others == ()
    assert keep(ledger, a_break("b-1")).others == ()
    kept = keep(ledger, since="2026-09-01", until="2026-12-01")
    assert (kept.cleared, kept.others) == (1, ())


def test_breaks_about_purchases_stay_open_until_invoices_are_compared_again(
    ledger: Book,
) -> None:
    cash = [ImportRecord("", "cash", bytes(32), "cash.csv", 1, 0, 1, None, FIFTH_US)]
    keep(ledger, a_break("b-1", evidence='{"scope":"cash"}'), a_break("b-2"), files=cash)
    kept = keep(ledger)
    assert (kept.cleared, [item.id for item in kept.others]) == (1, ["b-1"])
    assert [item.id for item in ledger.breaks()] == ["b-1"]
    assert keep(ledger, files=cash).cleared == 1
    assert ledger.breaks() == []


def test_what_was_said_of_a_break_says_nothing_of_the_same_in_another_month(
    ledger: Book,
) -> None:
    november: Any = {"since": "2026-11-01", "until": "2026-12-01"}
    later = {"happened_at_us": ENDED_US, "since_us": ENDED_US, "until_us": ENDED_US + 30 * DAY_US}
    keep(ledger, a_break("b-1"), a_break("b-2"))
    ledger.resolve_break("b-1", "explained", note="a test of sales")
    for replayed in (False, True):
        kept = keep(ledger, a_break("b-1", **later), **november)
        assert [(item.id, item.status) for item in kept.breaks] == [("b-1-2", "open")]
        assert kept.replayed == replayed
    assert ledger.reconciled(**OCTOBER).open_breaks == 1  # b-2
    assert ledger.reconciled(**november).open_breaks == 1
    again = keep(ledger, a_break("b-1"), a_break("b-2"))
    assert [(item.id, item.status) for item in again.breaks] == [
        ("b-1", "explained"), ("b-2", "open"),
    ]  # fmt: skip
    december = {"happened_at_us": ENDED_US + 30 * DAY_US}
    third = keep(ledger, a_break("b-1", **december), since="2026-12-01", until="2027-01-01")
    assert [item.id for item in third.breaks] == ["b-1-3"]


def test_a_hold_that_is_settled_in_another_month_is_the_same_break(ledger: Book) -> None:
    silent: Any = {"kind": "never_settled", "ours_e8": None, "theirs_e8": None, "difference_e8": 0}
    keep(ledger, a_break("b-1", **silent))
    billed = a_break("b-1", kind="never_settled", happened_at_us=ENDED_US)
    keep(ledger, billed, since="2026-11-01", until="2026-12-01")
    (found,) = ledger.breaks(None)
    assert (found.id, found.difference_e8) == ("b-1", 4 * CREDIT)


def test_breaks_are_listed_by_status_kind_job_and_time(ledger: Book) -> None:
    day_us = 86_400 * 10**6
    keep(
        ledger,
        a_break("b-late", happened_at_us=FIFTH_US + day_us, kind="rounding"),
        a_break("b-early", job="job-2"),
    )
    assert [item.id for item in ledger.breaks()] == ["b-early", "b-late"]
    assert [item.id for item in ledger.breaks(kind="rounding")] == ["b-late"]
    assert [item.id for item in ledger.breaks(job="job-2")] == ["b-early"]
    assert [item.id for item in ledger.breaks(since="2026-10-06")] == ["b-late"]
    assert [item.id for item in ledger.breaks(until="2026-10-06")] == ["b-early"]
    assert ledger.breaks("explained") == []


def test_what_is_written_off_in_a_period_stays_under_its_cap(ledger: Book) -> None:
    # 4 and -4 credits: signs do not cancel, 8 are written off together.
    keep(ledger, a_break("b-1"), a_break("b-2", difference_e8=-4 * CREDIT), a_break("b-3"))
    ledger.resolve_break("b-1", "written_off", note="too small to ask", cap=8)
    ledger.resolve_break("b-1", "written_off", note="too small to ask", cap=8)
    ledger.resolve_break("b-2", "written_off", note="too small to ask", cap=8)
    with pytest.raises(WriteOffAboveCap, match="write off 4 credits beside the 8 of its period"):
        ledger.resolve_break("b-3", "written_off", note="too small to ask", cap="11.99999999")
    assert ledger.break_named("b-3").status == "open"
    ledger.resolve_break("b-1", "open")
    ledger.resolve_break("b-3", "written_off", note="too small to ask", cap=8)


def test_the_cap_holds_for_people_who_write_off_at_the_same_time(
    database_url: str, book: str, ledger: Book
) -> None:
    # Eight breaks of 4 credits under a cap of 8: two fit, whoever is first.
    names = [f"b-{number}" for number in range(8)]
    keep(ledger, *map(a_break, names))
    start = Barrier(len(names))

    def write_off(break_id: str) -> bool:
        with Book(database_url, book=book) as own:
            own.breaks()
            start.wait()
            try:
                own.resolve_break(break_id, "written_off", note="too small to ask", cap=8)
            except WriteOffAboveCap:
                return False
            return True

    with ThreadPoolExecutor(len(names)) as people:
        assert sum(people.map(write_off, names)) == 2
    assert len(ledger.breaks("written_off")) == 2


def test_a_break_without_a_sum_is_explained_not_written_off(ledger: Book) -> None:
    # The money of an exchange rate, or a hold, is no credit that a cap could count.
    keep(ledger, a_break("b-1", kind="exchange_rate", difference_e8=0))
    with pytest.raises(InvalidEntry, match="no credits are missing; explain it"):
        ledger.resolve_break("b-1", "written_off", note="too small to ask", cap=100)
    ledger.resolve_break("b-1", "explained", note="the bank's rate")


def test_a_break_of_another_month_has_a_cap_of_its_own(ledger: Book) -> None:
    later = {"since_us": ENDED_US, "until_us": ENDED_US + 1, "happened_at_us": ENDED_US}
    keep(ledger, a_break("b-1"))
    keep(ledger, a_break("b-2", **later), since="2026-11-01", until="2026-12-01")
    for break_id in ("b-1", "b-2"):
        ledger.resolve_break(break_id, "written_off", note="too small to ask", cap=4)


def test_a_break_can_be_opened_again_and_forgets_the_entry_that_closed_it(ledger: Book) -> None:
    keep(ledger, a_break("b-1"))
    closed = ledger.resolve_break("b-1", "adjusted", closed_by="refund:break b-1")
    assert closed.closed_by == "refund:break b-1"
    assert ledger.resolve_break("b-1", "open").closed_by is None


@pytest.mark.parametrize(
    ("status", "more", "problem"),
    [
        ("explained", {}, "note: is needed: why is it explained"),
        ("written_off", {"note": "small"}, "cap: is needed"),
        ("written_off", {"cap": 1}, "note: is needed"),
        ("cleared", {}, "status: is 'cleared', not open"),
        ("lost", {}, "status: is 'lost'"),
        ("explained", {"note": "n" * 1001}, "note: has 1001 characters"),
        ("explained", {"note": "x", "owner": " "}, "the owner"),
    ],
)
def test_what_is_said_of_a_break_must_make_sense(
    ledger: Book, status: Any, more: dict[str, Any], problem: str
) -> None:
    keep(ledger, a_break("b-1"))
    with pytest.raises(InvalidEntry, match=problem):
        ledger.resolve_break("b-1", status, **more)
    assert ledger.break_named("b-1").status == "open"


def test_an_unknown_break_is_refused(ledger: Book) -> None:
    with pytest.raises(UnknownBreak, match="has no break 'b-9'"):
        ledger.break_named("b-9")
    with pytest.raises(UnknownBreak, match="has no break 'b-9'"):
        ledger.assign_break("b-9", "li")
    with pytest.raises(UnknownBreak, match="has no break 'b-9'"):
        ledger.resolve_break("b-9", "open")


@pytest.mark.parametrize(
    ("breaks", "more", "problem"),
    [
        ([], {"until": "2026-10-01"}, "must be later than its start"),
        (["b-1", "b-1"], {}, "b-1: was given twice"),
    ],
)
def test_a_comparison_must_make_sense(
    ledger: Book, breaks: list[str], more: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidEntry, match=problem):
        keep(ledger, *map(a_break, breaks), **more)
    with pytest.raises(InvalidEntry, match="kind: is 'odd'"):
        keep(ledger, a_break("b-1", kind="odd"))
    assert ledger.reconciliations() == []


def test_a_period_is_reconciled_once_comparisons_cover_it_and_nothing_is_open(
    ledger: Book,
) -> None:
    assert ledger.reconciled(**OCTOBER).state == "not yet"
    keep(ledger, until="2026-10-16", since="2026-10-01")
    assert ledger.reconciled(**OCTOBER).state == "not yet"
    keep(ledger, since="2026-10-17", until="2026-11-01")
    assert ledger.reconciled(**OCTOBER).state == "not yet"  # the 16th is missing
    keep(ledger, since="2026-10-16", until="2026-10-17")
    assert ledger.reconciled(**OCTOBER)[:2] == ("reconciled", 0)
    assert ledger.reconciled(**OCTOBER).reconciliation == 3
    kept = keep(ledger, a_break("b-1"), a_break("b-2", job="job-2", difference_e8=-CREDIT))
    found = ledger.reconciled(**OCTOBER)
    assert (found.state, found.open_breaks) == ("open breaks", 2)
    assert found.difference == 3
    assert found.reconciliation == kept.reconciliation.seq
    assert ledger.reconciled(**OCTOBER, job="job-2").open_breaks == 1
    assert ledger.reconciled(**OCTOBER, job="job-3").state == "reconciled"
    ledger.resolve_break("b-1", "explained", note="agreed")
    ledger.resolve_break("b-2", "adjusted", closed_by="refund:x")
    assert ledger.reconciled(**OCTOBER).state == "reconciled"


def test_books_do_not_see_each_others_breaks(database_url: str, book: str) -> None:
    with Book(database_url, book=book) as one, Book(database_url, book=f"{book}-2") as other:
        keep(one, a_break("b-1"))
        assert other.breaks() == []
        keep(other, a_break("b-1"))
        other.resolve_break("b-1", "explained", note="agreed")
        assert one.break_named("b-1").status == "open"


LATE: dict[str, Any] = {"at": "2026-10-20T12:00:00Z"}


@pytest.fixture
def october(ledger: Book, clock: Clock) -> Book:
    """A book in November, with a job of October that is compared and agrees."""
    clock.now = datetime(2026, 11, 2, tzinfo=UTC)
    for job in ("job-1", "job-2"):
        ledger.reserve("studio", 40, key=job, at="2026-10-20", deadline=timedelta(days=60))
    ledger.charge("job-1", 30, at="2026-10-20T10:00:00Z")
    keep(ledger)
    clock.now += timedelta(hours=1)
    return ledger


def test_a_charge_after_the_comparison_is_to_be_compared_too(october: Book, clock: Clock) -> None:
    assert october.reconciled(**OCTOBER).state == "reconciled"
    october.charge("job-2", 30, **LATE)
    assert october.reconciled(**OCTOBER).state == "not yet"
    assert october.reconciled(**OCTOBER, job="job-2").state == "not yet"
    assert october.reconciled(**OCTOBER).changed == 1
    assert october.unseen_jobs(**OCTOBER) == {"job-2"}
    assert october.reconciled(**OCTOBER, job="job-1").state == "reconciled"
    assert october.reconciled(since="2026-10-01", until="2026-10-20").state == "reconciled"
    with pytest.raises(NotReconciled, match="1 charge or refund of it came after it was compared"):
        october.close_period("2026-10")
    clock.now += timedelta(hours=1)
    # Whatever comes of it: it is another comparison, not the first one again.
    assert not keep(october).replayed
    assert keep(october).replayed
    assert october.reconciled(**OCTOBER).state == "reconciled"
    assert october.close_period("2026-10").reason is None


def test_a_changed_period_is_closed_with_a_reason(october: Book) -> None:
    october.refund("job-1", 1, key="goodwill", **LATE)
    closed = october.close_period("2026-10", unreconciled="a gift of ours")
    assert closed.reason == "changed since it was compared: a gift of ours"
    # Nothing can change it any more, and what is told of it later is of November.
    assert october.reconciled(**OCTOBER).state == "reconciled"
    october.charge("job-2", 30, **LATE)
    assert october.reconciled(**OCTOBER).state == "reconciled"


def test_what_corrects_a_break_needs_no_other_comparison(october: Book, clock: Clock) -> None:
    keep(october, a_break("b-1"), digest=b"2" * 32)
    clock.now += timedelta(hours=1)
    october.refund("job-1", 4, key="b-1 4", **LATE)
    assert october.reconciled(**OCTOBER).state == "not yet"
    october.resolve_break("b-1", "adjusted", closed_by="refund:b-1 4")
    assert october.reconciled(**OCTOBER).state == "reconciled"
    october.close_period("2026-10")


def test_parts_of_a_period_are_seen_by_their_own_comparisons(october: Book, clock: Clock) -> None:
    keep(october, since="2026-11-01", until="2026-11-02")
    both: dict[str, Any] = {"since": "2026-10-01", "until": "2026-11-02"}
    assert october.reconciled(**both).state == "reconciled"
    clock.now += timedelta(hours=1)
    october.charge("job-2", 30, at="2026-11-01T10:00:00Z")
    assert october.reconciled(**both).state == "not yet"
    assert october.reconciled(**OCTOBER).state == "reconciled"
    clock.now += timedelta(hours=1)
    keep(october, since="2026-11-01", until="2026-11-02")
    assert october.reconciled(**both).state == "reconciled"

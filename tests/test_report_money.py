"""Reports about money and limits: a story worked by hand, and laws for random histories."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import histories
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from writers import Clock

from ledger.book import Book
from ledger.cli.report import ReportFormat, text_of
from ledger.costing import Costing
from ledger.errors import InvalidEntry
from ledger.records import By
from ledger.reports.asking import Asked, ask
from ledger.reports.catalogue import CATALOGUE, kind_of, make
from ledger.reports.explain import explain
from ledger.reports.formats import as_markdown, report_document
from ledger.reports.report import Report
from ledger.spans import span_of

E8 = 10**8


def day(text: str, hour: int = 12) -> datetime:
    return datetime.fromisoformat(f"{text}T{hour:02d}:00:00").replace(tzinfo=UTC)


def october(book: Book, period: str = "2026-10", **how: Any) -> Asked:
    return ask(book, span=span_of(period), **how)


def table(report: Report, *names: str) -> list[list[str]]:
    """Some columns of a report, every value written out exactly."""
    places = [report.place(name) for name in names]
    return [[row[place] for place in places] for row in report.cells]


def total(report: Report, *names: str) -> list[str]:
    assert report.total is not None
    cells = report.written(report.total)
    return [cells[report.place(name)] for name in names]


@pytest.fixture
def studio(database_url: str, book: str, clock: Clock) -> Iterator[Book]:
    """Two months and two days of one wallet; every figure is in the comments."""
    with Book(database_url, book=book, clock=clock) as studio:
        clock.now = day("2026-09-20")
        studio.top_up("studio", 300, key="invoice-1", cash=10, currency="USD")
        clock.now = day("2026-09-21")
        studio.reserve("studio", 100, key="job-a", labels={"team": "ads"})
        studio.charge("job-a", 100)  # of invoice-1: 3.33333333 USD
        clock.now = day("2026-09-25")
        studio.top_up("studio", 10, key="trial", cash="0.3", currency="USD", expires="2026-10-02")
        # October begins with 300 − 100 + 10 = 210.
        clock.now = day("2026-10-05")
        studio.lapse("studio")  # trial, 10, on the 2nd
        studio.top_up("studio", 100, key="gift", promotional=True, expires="2026-10-20")
        studio.top_up("studio", 50, key="invoice-2", cash=1, currency="EUR")
        clock.now = day("2026-10-06")
        studio.reserve("studio", 80, key="job-b", labels={"team": "ads"})
        studio.charge("job-b", 60)  # of gift
        clock.now = day("2026-10-07")
        studio.refund("job-b", 10)  # to gift: 50 are left of it
        clock.now = day("2026-10-08")
        studio.reserve(
            "studio", 30, key="job-c", labels={"team": "art"}, deadline=timedelta(days=3)
        )
        clock.now = day("2026-10-09")
        studio.adjust("studio", -5, key="fix-1", reason="counted again")  # of gift: 45
        clock.now = day("2026-10-25")
        # job-c kept 30 of gift alive; the other 15 had lapsed on the 20th.
        studio.charge("job-c", 30)
        clock.now = day("2026-10-27")
        studio.reserve("studio", 40, key="job-d", labels={"team": "ads"})
        # 200 of invoice-1 (6.66666667 USD), 50 of invoice-2 (1 EUR), and 50 are a debt.
        studio.charge("job-d", 300)
        clock.now = day("2026-11-02")
        # 50 pay the debt (2.5 USD); 30 are left (1.5 USD).
        studio.top_up("studio", 80, key="invoice-3", cash=4, currency="USD")
        clock.now = day("2026-11-03")
        yield studio
        assert studio.verify().findings == ()


# --- movements -----------------------------------------------------------------------------------

MOVED = ("opening", "top_ups", "promotional", "refunds", "charges", "adjustments", "lapses")


@pytest.mark.parametrize(
    ("period", "moved", "closing", "held"),
    [
        # 300 − 100 + 10
        ("2026-09", ["0", "310", "0", "0", "-100", "0", "0"], "210", "0"),
        # 210 + 50 + 100 + 10 − (60 + 30 + 300) − 5 − (10 + 15)
        ("2026-10", ["210", "50", "100", "10", "-390", "-5", "-25"], "-50", "0"),
        ("2026-11", ["-50", "80", "0", "0", "0", "0", "0"], "30", "0"),
        # job-c is held since the 8th.
        ("2026-10-08/2026-10-10", ["300", "0", "0", "0", "0", "-5", "0"], "295", "30"),
        ("2027-01", ["30", "0", "0", "0", "0", "0", "0"], "30", "0"),
    ],
)
def test_opening_and_movements_are_closing(
    studio: Book, period: str, moved: list[str], closing: str, held: str
) -> None:
    report = make("movements", october(studio, period))
    assert table(report, "wallet", *MOVED, "closing", "held") == [["studio", *moved, closing, held]]
    assert total(report, *MOVED, "closing", "held") == [*moved, closing, held]
    assert sum(map(Decimal, moved)) == Decimal(closing)


def test_what_was_not_yet_recorded_is_not_in_the_movements(studio: Book) -> None:
    # On the 10th gift was not known to lapse, and job-c not charged.
    report = make("movements", october(studio, as_of="2026-10-10"))
    assert table(report, *MOVED, "closing", "held") == [
        ["210", "50", "100", "10", "-60", "-5", "-10", "295", "30"]
    ]


def test_entries_count_by_when_they_were_recorded_where_asked(studio: Book) -> None:
    # The lapse of trial on the 2nd was written on the 5th.
    for by, lapses in (("happened", "-10"), ("recorded", "0")):
        report = make("movements", october(studio, "2026-10-01/2026-10-05", by=by))
        assert table(report, "opening", "lapses") == [["210", lapses]]


def test_an_empty_book_has_no_movements() -> None:
    with Book("sqlite://") as book:
        report = make("movements", ask(book))
    assert report.rows == ()
    assert total(report, "opening", "closing") == ["0", "0"]


# --- trial balance -------------------------------------------------------------------------------


def test_debits_are_credits_at_the_beginning_within_and_at_the_end(studio: Book) -> None:
    report = make("trial-balance", october(studio))
    assert table(report, *(column.name for column in report.columns[:-1])) == [
        # account, opening debit and credit, debits, credits, closing debit and credit
        ["adjustments", "0", "0", "0", "5", "0", "5"],
        ["funding", "310", "0", "50", "0", "360", "0"],
        ["lapsed", "0", "0", "0", "25", "0", "25"],
        ["promotion", "0", "0", "100", "0", "100", "0"],
        ["provider", "0", "100", "10", "390", "0", "480"],
        # 390 + 5 + 25 out, 50 + 100 + 10 in; its owners owe 50 at the end
        ["wallets", "0", "210", "420", "160", "50", "0"],
    ]
    assert total(report, *(column.name for column in report.columns[1:-1])) == [
        *("310", "310"),
        *("580", "580"),
        *("510", "510"),
    ]


# --- statement -----------------------------------------------------------------------------------


def test_a_statement_has_every_entry_between_opening_and_closing(studio: Book) -> None:
    report = make("statement", october(studio, "2026-10-05/2026-10-08", wallet="studio"))
    names = ("entry", "kind", "reference", "posted", "held", "posted_after", "held_after")
    assert table(report, *names) == [
        # 210, less trial, which had lapsed on the 2nd
        ["opening", "", "", "200", "0", "200", "0"],
        ["7", "top_up", "gift", "100", "0", "300", "0"],
        ["8", "top_up", "invoice-2", "50", "0", "350", "0"],
        ["9", "reserve", "job-b", "0", "80", "350", "80"],
        ["10", "charge", "job-b", "-60", "-80", "290", "0"],
        ["11", "refund", "job-b", "10", "0", "300", "0"],
    ]
    assert total(report, *names) == ["closing", "", "", "300", "0", "300", "0"]
    assert table(report, "at")[0] == [""]
    assert table(report, "at")[-1] == ["2026-10-07T12:00:00Z"]


def test_a_statement_by_day_has_balances_and_one_by_kind_has_none(studio: Book) -> None:
    asked = october(studio, "2026-10-05/2026-10-08", wallet="studio")
    daily = make("statement", asked, "day")
    assert table(daily, "day", "posted", "held", "posted_after", "held_after") == [
        ["opening", "200", "0", "200", "0"],
        ["2026-10-05", "150", "0", "350", "0"],
        ["2026-10-06", "-60", "0", "290", "0"],
        ["2026-10-07", "10", "0", "300", "0"],
    ]
    assert total(daily, "day", "posted", "held", "posted_after") == ["closing", "300", "0", "300"]
    kinds = make("statement", asked, "kind")
    assert [column.name for column in kinds.columns] == ["kind", "posted", "held", "reconciled"]
    assert table(kinds, "kind", "posted", "held") == [
        ["opening", "200", "0"],
        ["charge", "-60", "-80"],
        ["refund", "10", "0"],
        ["reserve", "0", "80"],
        ["top_up", "150", "0"],
    ]


def test_an_opening_of_nothing_is_a_row_all_the_same(studio: Book) -> None:
    report = make("statement", october(studio, "2026-09", wallet="studio"), "week")
    assert table(report, "week", "posted", "posted_after", "reconciled") == [
        ["opening", "0", "0", "not yet"],
        ["2026-W38", "300", "300", "not yet"],
        ["2026-W39", "-90", "210", "not yet"],
    ]


@pytest.mark.parametrize("by", ["team", "label.kind", "model", "entry,day", "job"])
def test_a_statement_is_of_nothing_that_only_some_entries_have(studio: Book, by: str) -> None:
    with pytest.raises(InvalidEntry, match="by: "):
        make("statement", ask(studio, wallet="studio"), by)


def test_a_statement_is_of_one_wallet(studio: Book) -> None:
    with pytest.raises(InvalidEntry, match="is of one wallet; say which"):
        make("statement", ask(studio))


# --- holds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("as_of", "rows"),
    [
        # job-c: 30 held since the 8th at noon, with a deadline on the 11th at noon
        ("2026-10-08", []),
        ("2026-10-10", [["0-1", "open", "1", "30", "2026-10-08T12:00:00Z"]]),
        ("2026-10-10T12:00Z", [["2-7", "open", "1", "30", "2026-10-08T12:00:00Z"]]),
        ("2026-10-11T12:00Z", [["2-7", "unknown", "1", "30", "2026-10-08T12:00:00Z"]]),
        ("2026-10-25", [["8-30", "unknown", "1", "30", "2026-10-08T12:00:00Z"]]),
        ("2026-10-26", []),
    ],
)
def test_open_holds_are_those_of_their_moment(
    studio: Book, as_of: str, rows: list[list[str]]
) -> None:
    report = make("holds", ask(studio, as_of=as_of))
    assert table(report, "age", "state", "holds", "held", "oldest") == rows
    assert (
        report.span.name
        == f"on {as_of if 'T' in as_of else as_of + 'T00:00'}".replace("Z", "") + ":00Z"
    )


def test_holds_stand_in_the_order_of_age(clock: Clock) -> None:
    with Book("sqlite://", clock=clock) as book:
        book.top_up("studio", 1000, key="invoice-1")
        for number, days in enumerate((0, 1, 2, 7, 8, 30, 31, 60, 61, 400)):
            at = clock.now - timedelta(days=days)
            book.reserve("studio", number + 1, key=f"job-{number}", at=at, labels={"age": "old"})
        report = make("holds", ask(book), "age")
        assert table(report, "age", "holds", "held") == [
            ["0-1", "2", "3"],
            ["2-7", "2", "7"],
            ["8-30", "2", "11"],
            ["31-60", "2", "15"],
            ["> 60", "2", "19"],
        ]
        assert total(report, "holds", "held", "oldest") == ["10", "55", "2025-09-05T12:00:00Z"]
        assert table(make("holds", ask(book), "label.age"), "label.age", "holds") == [["old", "10"]]


def test_what_is_held_counts_what_was_extended_and_partly_charged(clock: Clock) -> None:
    with Book("sqlite://", clock=clock) as book:
        book.top_up("studio", 1000, key="invoice-1")
        book.reserve("studio", 10, key="a", deadline=timedelta(hours=1))
        clock.forward(minutes=1)
        before = clock.now
        book.extend("a", key="more", amount=5, deadline=timedelta(days=9))
        book.charge("a", 4, key="a-1", final=False)
        book.charge("a", 11, key="a-2", final=False)
        clock.forward(hours=2)
        # 10 + 5 − 4 − 11: nothing is held any more, and it is open all the same.
        assert table(make("holds", ask(book)), "state", "holds", "held") == [["open", "1", "0"]]
        book.release("a")
        assert make("holds", ask(book)).rows == ()
        at_first = make("holds", ask(book, as_of=before))
        assert table(at_first, "state", "held") == [["open", "10"]]
        late = make("holds", ask(book, as_of=clock.now))
        assert table(late, "state", "held") == [["open", "0"]]


# --- credits that expire and lapse ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("as_of", "rows"),
    [
        ("2026-09-30", [["trial", "USD", "2026-10-02T00:00:00Z", "10", "0", "10", "0.3"]]),
        # 60 used, 10 given back, 5 taken by the correction; job-c keeps 30.
        ("2026-10-08", [["gift", "", "2026-10-20T00:00:00Z", "50", "0", "50", "0"]]),
        ("2026-10-10", [["gift", "", "2026-10-20T00:00:00Z", "45", "30", "15", "0"]]),
        # It has expired, and nothing was written since.
        ("2026-10-25", [["gift", "", "2026-10-20T00:00:00Z", "45", "30", "15", "0"]]),
        ("2026-10-26", []),
    ],
)
def test_expiring_credits_say_when_how_much_and_what_holds_keep(
    studio: Book, as_of: str, rows: list[list[str]]
) -> None:
    report = make("expiring", ask(studio, as_of=as_of))
    names = ("lot", "currency", "expires", "left", "kept", "lapsing", "cost")
    assert table(report, *names) == rows


def test_expiring_credits_can_be_those_of_a_month_by_week(clock: Clock) -> None:
    with Book("sqlite://", clock=clock) as book:
        for key, expires in (("c", "2026-11-02"), ("b", "2026-11-08"), ("a", "2026-12-01")):
            book.top_up("studio", 8, key=key, expires=expires, cash=1, currency="USD")
        book.reserve("studio", 2, key="job-1")
        book.charge("job-1", 2)
        book.reserve("studio", 9, key="job-2")
        # In the order of expiry; the hold would spend 6 of c and 3 of b.
        assert table(make("expiring", ask(book)), "lot", "left", "kept", "cost") == [
            ["c", "6", "6", "0.75"],
            ["b", "8", "3", "1"],
            ["a", "8", "0", "1"],
        ]
        november = make("expiring", october(book, "2026-11"), "week,wallet")
        assert table(november, "week", "left", "lapsing") == [["2026-W45", "14", "5"]]
        assert "2026-10-10T12:00:00Z" in november.notes[0]


def test_a_hold_keeps_nothing_of_what_had_expired_before_it_was_made(clock: Clock) -> None:
    with Book("sqlite://", clock=clock) as book:
        book.top_up("studio", 10, key="a", expires="2026-10-11")
        book.top_up("studio", 20, key="b")
        book.reserve("studio", 4, key="early")
        clock.forward(days=2)
        book.reserve("studio", 5, key="late")  # 6 of a lapse
        assert table(make("expiring", ask(book)), "lot", "left", "kept") == [["a", "4", "4"]]
        book.charge("early", 1)
        names = ("lot", "left", "kept", "lapsing")
        assert table(make("expiring", ask(book)), *names) == [["a", "3", "0", "3"]]
        assert book.balance("studio").lapsing_e8 == 3 * E8


def test_lapsed_credits_take_their_cost_along(studio: Book) -> None:
    report = make("lapsed", october(studio))
    assert table(report, "wallet", "lot", "currency", "at", "lapsed", "cost") == [
        ["studio", "trial", "USD", "2026-10-02T00:00:00Z", "10", "0.3"],
        ["studio", "gift", "", "2026-10-20T00:00:00Z", "15", "0"],
    ]
    assert total(report, "lapsed", "cost") == ["25", "0.3"]
    assert make("lapsed", october(studio, "2026-11")).rows == ()


# --- top-ups and what is left of them ------------------------------------------------------------

BECAME = ("credits", "cash", "per_credit", "used", "lapsed", "left")
COST = ("cost_used", "cost_lapsed", "cost_left")


def test_top_ups_say_what_they_cost_and_what_became_of_them(studio: Book) -> None:
    report = make("top-ups", ask(studio))
    assert table(report, "top_up", "currency", *BECAME, *COST) == [
        # 100 by job-a, 200 by job-d
        ["invoice-1", "USD", "300", "10", "0.03333333", "300", "0", "0", "10", "0", "0"],
        ["trial", "USD", "10", "0.3", "0.03", "0", "10", "0", "0", "0.3", "0"],
        # 60 − 10 + 5 + 30
        ["gift", "", "100", "0", "", "85", "15", "0", "0", "0", "0"],
        ["invoice-2", "EUR", "50", "1", "0.02", "50", "0", "0", "1", "0", "0"],
        # 50 paid the debt of job-d.
        ["invoice-3", "USD", "80", "4", "0.05", "50", "0", "30", "2.5", "0", "1.5"],
    ]
    assert table(report, "at")[0] == ["2026-09-20T12:00:00Z"]
    # Dollars and euros are not added up.
    assert total(report, *BECAME, *COST) == ["540", "", "", "485", "25", "30", "", "", ""]
    assert "Money of several currencies is not added up." in report.notes


def test_top_ups_of_a_period_stand_as_at_its_end(studio: Book) -> None:
    early = make("top-ups", october(studio, "2026-09-15/2026-10-01"))
    assert table(early, "top_up", "used", "left", "cost_used", "cost_left") == [
        ["invoice-1", "100", "200", "3.33333333", "6.66666667"],
        ["trial", "0", "10", "0", "0.3"],
    ]
    assert total(early, "cash", "cost_left") == ["10.3", "6.96666667"]
    by_currency = make("top-ups", ask(studio), "currency")
    assert table(by_currency, "currency", "credits", "cash", "per_credit", "cost_left") == [
        # 1 / 50, and 14.3 / 390 = 0.036 666 66|6…
        ["EUR", "50", "1", "0.02", "0"],
        ["USD", "390", "14.3", "0.03666667", "1.5"],
        ["", "100", "0", "", "0"],
    ]


@pytest.mark.parametrize("by", ["team", "model", "kind"])
def test_lots_have_no_labels(studio: Book, by: str) -> None:
    for name in ("top-ups", "valuation", "lapsed", "expiring"):
        with pytest.raises(InvalidEntry, match="known are"):
            make(name, ask(studio), by)


VALUED = ("currency", "came_in", "cash", "average", "left", "owed", "value", "average_value")


def test_what_is_left_is_valued_lot_by_lot_and_on_average(studio: Book) -> None:
    assert table(make("valuation", ask(studio)), *VALUED) == [
        ["EUR", "50", "1", "0.02", "0", "0", "0", "0"],
        # 30 of invoice-3 at 0.05, or at 14.3 / 390
        ["USD", "390", "14.3", "0.03666667", "30", "0", "1.5", "1.1"],
        ["", "100", "0", "", "0", "0", "0", "0"],
    ]
    on_the_10th = make("valuation", october(studio, "2026-10-01/2026-10-10"))
    assert table(on_the_10th, *VALUED) == [
        ["EUR", "50", "1", "0.02", "50", "0", "1", "1"],
        # 200 of invoice-1 at 10 / 300, or at 10.3 / 310 = 0.033 225 80|6
        ["USD", "310", "10.3", "0.03322581", "200", "0", "6.66666667", "6.64516129"],
        ["", "100", "0", "", "45", "0", "0", "0"],
    ]
    end = make("valuation", october(studio))
    assert total(end, "left", "owed", "value", "average") == ["0", "50", "", ""]


def test_a_charge_that_is_told_after_the_next_top_up_is_owed_at_the_cost_of_that(
    clock: Clock,
) -> None:
    """10 credits for 1 dollar, then 100 for 20: of 40 charged, 30 at 0.2 came later."""
    with Book("sqlite://", clock=clock) as book:
        clock.now = day("2026-10-01")
        book.top_up("studio", 10, key="october", cash=1, currency="USD")
        book.reserve("studio", 10, key="job-1")
        clock.now = day("2026-11-02")
        book.top_up("studio", 100, key="november", cash=20, currency="USD")
        clock.now = day("2026-11-03")
        book.charge("job-1", 40, at=day("2026-10-30"))
        valued = make("valuation", october(book))
        assert table(valued, *VALUED) == [["USD", "10", "1", "0.1", "0", "30", "-6", "0"]]
        assert any("owed at the cost of the later top-up" in note for note in valued.notes)
        by_lot = make("valuation", october(book), "lot")
        assert table(by_lot, "lot", "left", "owed", "value") == [
            ["october", "0", "0", "0"],
            ["", "0", "30", "-6"],
        ]
        # -6 + 20 bought, and nothing is used in November.
        november = make("valuation", october(book, "2026-11"))
        assert table(november, "left", "owed", "value") == [["70", "0", "14"]]
        assert not any("owed at" in note for note in november.notes)
        as_recorded = make("valuation", october(book, by="recorded"))
        assert table(as_recorded, "left", "owed", "value") == [["10", "0", "1"]]


def test_a_share_of_the_average_is_given_to_every_lot(clock: Clock) -> None:
    with Book("sqlite://", clock=clock) as book:
        for number in range(3):
            book.top_up("studio", 1, key=f"n-{number}", cash="0.00000001", currency="USD")
        # 1, 2 and 3 units of 10^-8 for 3 credits: two thirds of a unit each, and never a third.
        report = make("valuation", ask(book), "lot")
        assert table(report, "lot", "value", "average_value") == [
            [f"n-{number}", "0.00000001", "0.00000001"] for number in range(3)
        ]
        book.top_up("studio", 6, key="free", cash=0, currency="USD")
        shares = table(make("valuation", ask(book), "lot"), "lot", "average_value")
        # 3 / 9 of a unit a credit: 0.33, 0.67, 1, 3, rounded 0, 1, 1, 3; the differences.
        assert [share for _, share in shares] == ["0", "0.00000001", "0", "0.00000002"]


# --- budgets -------------------------------------------------------------------------------------

PACE = ("budget", "share", "used", "held", "left", "percent", "per_day", "projected", "status")


def test_budgets_say_how_fast_they_fill_and_when_they_run_out(clock: Clock) -> None:
    with Book("sqlite://", clock=clock) as book:
        book.open_wallet("studio", credit_limit=1000)
        clock.now = day("2026-11-01", 0)
        book.set_budget("studio", "month", 100, key="b-1")
        book.set_budget("studio", "ads", 40, key="b-2", match={"team": "ads"}, hard=False)
        book.set_budget("studio", "each", 25, key="b-3", match={"user": "*"}, period="week")
        book.set_budget("studio", "flying", 30, key="b-4", period="in_flight")
        book.set_budget("studio", "ever", 70, key="b-5", period="lifetime")
        book.set_budget("studio", "single", 50, key="b-6", period="job")
        clock.now = day("2026-11-03", 0)
        book.reserve("studio", 20, key="a", labels={"team": "ads", "user": "li"})
        book.charge("a", 24)
        book.reserve("studio", 18, key="b", labels={"team": "ads", "user": "bo"})
        clock.now = day("2026-11-07", 0)
        report = make("budgets", ask(book))
        assert table(report, *PACE) == [
            # 42 in 6 days are 7 a day; 210 in the 30 days of November
            ["ads", "all", "24", "18", "0", "105", "7", "210", "over"],
            # the week began on the 2nd
            ["each", "user=bo", "0", "18", "7", "72", "3.6", "25.2", "at risk"],
            ["each", "user=li", "24", "0", "1", "96", "4.8", "33.6", "at risk"],
            # 42 since the first job, 4 days ago
            ["ever", "all", "24", "18", "28", "60", "10.5", "", "at risk"],
            ["flying", "all", "0", "18", "12", "60", "", "", "fine"],
            ["month", "all", "24", "18", "58", "42", "7", "210", "at risk"],
            ["single", "all", "0", "0", "50", "0", "", "", "fine"],
        ]
        assert dict(table(report, "share", "runs_out")[1:3]) == {
            # 25 × 5 days / 18 after the 2nd is the 8th at 22:40, and 25 × 5 / 24 the 7th at 05:00.
            "user=bo": "2026-11-08T22:40:00Z",
            "user=li": "2026-11-07T05:00:00Z",
        }
        assert dict(table(report, "budget", "runs_out")) == {
            "ads": "2026-11-07T00:00:00Z",
            "each": "2026-11-07T05:00:00Z",
            # 28 at 10.5 a day are 2 days and 16 hours.
            "ever": "2026-11-09T16:00:00Z",
            "flying": "",
            # 100 × 6 / 42 days after the 1st: the 15th at 06:51:25
            "month": "2026-11-15T06:51:00Z",
            "single": "",
        }
        assert table(report, "per")[0] == ["month, soft"]
        assert report.total is None


@pytest.mark.parametrize(
    ("used", "status", "runs_out"),
    [
        # On the 16th at 00:00, half of November has passed.
        ("49.99999999", "fine", ""),
        ("50", "fine", ""),
        ("50.00000001", "at risk", "2026-11-30T23:59:00Z"),
        ("100", "at risk", "2026-11-16T00:00:00Z"),
        ("100.00000001", "over", "2026-11-16T00:00:00Z"),
    ],
)
def test_a_budget_is_at_risk_when_it_runs_out_before_its_window_ends(
    clock: Clock, used: str, status: str, runs_out: str
) -> None:
    with Book("sqlite://", clock=clock) as book:
        book.top_up("studio", 1000, key="invoice-1")
        clock.now = day("2026-11-02", 0)
        book.set_budget("studio", "month", 100, key="b-1")
        book.reserve("studio", 1, key="a")
        book.charge("a", used)
        clock.now = day("2026-11-16", 0)
        report = make("budgets", ask(book))
        assert table(report, "status", "runs_out") == [[status, runs_out]]


def test_a_rolling_budget_has_no_end_and_counts_what_has_not_left(clock: Clock) -> None:
    with Book("sqlite://", clock=clock) as book:
        book.top_up("studio", 1000, key="invoice-1")
        week = 7 * 86_400
        book.set_budget("studio", "week", 70, key="b", period="rolling", rolling_seconds=week)
        clock.forward(days=30)
        book.reserve("studio", 10, key="old")
        clock.forward(days=5)
        book.reserve("studio", 30, key="new", labels={"team": "ads"})
        clock.forward(days=3)
        report = make("budgets", ask(book))
        assert table(report, "per", "held", "projected", "runs_out", "status") == [
            ["rolling 604800 s", "30", "", "", "fine"]
        ]


def test_a_budget_is_known_as_it_was(clock: Clock) -> None:
    with Book("sqlite://", clock=clock) as book:
        book.top_up("studio", 1000, key="invoice-1")
        book.set_budget("studio", "month", 100, key="b-1")
        book.reserve("studio", 30, key="a")
        clock.forward(days=1)
        book.charge("a", 20)
        book.set_budget("studio", "month", 50, key="b-2")
        clock.forward(days=1)
        book.refund("a", 5)
        book.remove_budget("studio", "month", key="b-3")
        assert make("budgets", ask(book)).rows == ()
        for as_of, row in {
            "2026-10-11": ["100", "0", "30"],
            "2026-10-12": ["50", "20", "0"],
        }.items():
            report = make("budgets", ask(book, as_of=as_of))
            assert table(report, "limit", "used", "held") == [row]


# --- what cannot be asked ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["budgets", "holds"])
def test_reports_of_one_moment_take_no_period(studio: Book, name: str) -> None:
    with pytest.raises(InvalidEntry, match="is of one moment; say --as-of"):
        make(name, october(studio))


@pytest.mark.parametrize("name", ["budgets", "movements", "trial-balance"])
def test_reports_with_rows_of_their_own_are_not_broken_down(studio: Book, name: str) -> None:
    with pytest.raises(InvalidEntry, match="has rows of its own"):
        make(name, ask(studio), "day")


def test_money_of_several_currencies_is_not_explained_as_one_figure(studio: Book) -> None:
    report = make("top-ups", ask(studio))
    with pytest.raises(InvalidEntry, match="is of several currencies"):
        explain(report, "cash", {})
    dollars = explain(report, "cost_used", {"currency": "USD"})
    assert [(piece.entry.job or piece.entry.key, piece.amount) for piece in dollars.pieces] == [
        ("job-a", 333_333_333),
        ("job-d", 666_666_667),
        ("invoice-3", 250_000_000),
    ]


@pytest.mark.parametrize("column", ["posted_after", "limit", "average", "oldest"])
def test_figures_that_do_not_add_up_are_not_explained(studio: Book, column: str) -> None:
    name = {"posted_after": "statement", "limit": "budgets", "average": "valuation"}
    report = make(name.get(column, "holds"), ask(studio, wallet="studio"))
    with pytest.raises(InvalidEntry, match="the cell: "):
        explain(report, column, {})


def test_one_wallet_is_as_good_as_a_book_of_its_own(studio: Book) -> None:
    studio.top_up("annex", 7, key="other", cash=1, currency="CHF", expires="2026-12-01")
    studio.set_budget("annex", "month", 5, key="b")
    studio.reserve("annex", 2, key="job-x")
    names = ("movements", "top-ups", "valuation", "holds", "budgets", "expiring")
    for name in names:
        report = make(name, ask(studio, wallet="annex"))
        assert set(report.values("wallet") if name != "holds" else ["annex"]) == {"annex"}, name
        assert report.facts is not None
        assert set(report.facts["wallet"]) == {"annex"}


# --- laws ----------------------------------------------------------------------------------------

LAWS = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
MOMENTS = st.integers(-9, 60).map(lambda days: day("2026-10-10", 18) + timedelta(days=days))


def of(report: Report, name: str) -> int:
    """A figure of the total, in its units."""
    assert report.total is not None
    value = report.total[report.place(name)]
    assert isinstance(value, int)
    return value


def named(report: Report, key: str, *names: str) -> dict[str, tuple[Any, ...]]:
    """Rows by the value of one column: the values of others."""
    places = [report.place(name) for name in (key, *names)]
    rows = [tuple(row[place] for place in places) for row in report.rows]
    return {row[0]: row[1:] for row in rows}


@given(
    moves=histories.histories(),
    ends=st.tuples(MOMENTS, MOMENTS),
    by=st.sampled_from(["happened", "recorded"]),
)
@LAWS
def test_month_ends_agree_with_each_other_and_with_the_book(
    moves: histories.Moves, ends: tuple[datetime, datetime], by: By
) -> None:
    clock = Clock()
    with Book("sqlite://", clock=clock) as book:
        histories.play(book, clock, moves)
        start, end = min(ends), max(ends) + timedelta(hours=1)
        asked = ask(book, span=span_of(f"{start.isoformat()}/{end.isoformat()}"), by=by)
        moved = make("movements", asked)
        opening = {
            name: book.balance(name, before=start, by=by) for name in histories.PLAIN_WALLETS
        }
        closing = {name: book.balance(name, before=end, by=by) for name in histories.PLAIN_WALLETS}

        # Every wallet begins and ends with what the book says.
        for wallet, figures in named(moved, "wallet", "opening", "closing", "held").items():
            assert figures == (
                opening[wallet].posted_e8,
                closing[wallet].posted_e8,
                closing[wallet].held_e8,
            )
        assert sum(of(moved, name) for name in MOVED) == of(moved, "closing")

        # Usage, corrections, top-ups and lapses are the change of the balance.
        used = make("usage", asked)
        change = of(moved, "closing") - of(moved, "opening")
        others = ("top_ups", "promotional", "adjustments", "lapses")
        assert sum(of(moved, name) for name in others) - of(used, "net") == change
        assert of(make("lapsed", asked), "lapsed") == -of(moved, "lapses")
        bought = of(moved, "top_ups") + of(moved, "promotional")
        assert of(make("top-ups", asked), "credits") == bought

        # Debits are credits, and are the book's.
        trial = make("trial-balance", asked)
        for one, other in (("opening_debit", "opening_credit"), ("debits", "credits")):
            assert of(trial, one) == of(trial, other)
        assert of(trial, "closing_debit") == of(trial, "closing_credit")
        lines = {
            line.account: (line.debit_e8, line.credit_e8)
            for line in book.trial_balance(before=end, by=by)
            if line.debit_e8 or line.credit_e8
        }
        sides = named(trial, "account", "closing_debit", "closing_credit")
        assert {account: side for account, side in sides.items() if any(side)} == lines

        # What is left of all top-ups, less debts, is what the wallets have.
        valued = make("valuation", asked)
        assert of(valued, "left") - of(valued, "owed") == of(moved, "closing")

        for wallet in histories.PLAIN_WALLETS:
            told = make("statement", replace(asked, wallet=wallet))
            written = book.statement(wallet, since=start, until=end, by=by)
            assert [(row[0], *row[-3:-1]) for row in told.rows[1:]] == [
                (str(line.entry.seq), line.posted_after_e8, line.held_after_e8)
                for line in written.lines
                if line.entry.kind not in {"open", "budget", "close", "reopen"}
            ]
            assert of(told, "posted") == written.closing_posted_e8
            assert of(told, "held") == written.closing_held_e8
            assert told.rows[0][told.place("posted")] == written.opening_posted_e8


@given(moves=histories.histories())
@LAWS
def test_what_stands_now_agrees_with_the_book(moves: histories.Moves) -> None:
    clock = Clock()
    with Book("sqlite://", clock=clock) as book:
        histories.play(book, clock, moves)
        asked = ask(book)
        balances = book.wallets()
        assert of(make("holds", asked), "held") == sum(each.held_e8 for each in balances)
        lots = [lot for name in histories.PLAIN_WALLETS for lot in book.lots(name)]
        valued = make("valuation", asked)
        assert of(valued, "left") == sum(lot.remaining_e8 for lot in lots)
        debts = of(valued, "left") - sum(each.posted_e8 for each in balances)
        assert of(valued, "owed") == debts

        # Every top-up has used, lapsed and left what its lot says, and its cash to the last digit.
        became = named(make("top-ups", asked), "top_up", "used", "lapsed", "left")
        keys = {
            (entry.wallet, entry.seq): entry.key
            for name in histories.PLAIN_WALLETS
            for entry in histories.entries(book, name)
        }
        assert became == {
            keys[lot.wallet, lot.seq]: (lot.used_e8, lot.lapsed_e8, lot.remaining_e8)
            for lot in lots
            if lot.origin != "adjustment"
        }
        money = named(
            make("top-ups", asked), "top_up", "cash", "cost_used", "cost_lapsed", "cost_left"
        )
        assert all(cash == sum(costs) for cash, *costs in money.values())

        # What is left costs what replaying the book says.
        left: Counter[tuple[str, int]] = Counter()
        for name in histories.PLAIN_WALLETS:
            costing = Costing()
            for entry in histories.entries(book, name):
                costing.of(entry)
            left.update({(name, each.lot): each.cost_e8 for each in costing.remaining})
        value = named(make("valuation", asked, "currency"), "currency", "value")
        assert sum(figures[0] for figures in value.values()) == sum(left.values())
        expiring = make("expiring", asked)
        ends = {keys[lot.wallet, lot.seq]: lot for lot in lots if lot.expires_at_us is not None}
        assert named(expiring, "lot", "left", "cost") == {
            key: (lot.remaining_e8, left[lot.wallet, lot.seq])
            for key, lot in ends.items()
            if lot.remaining_e8
        }
        gone = [
            figures[1]
            for figures in named(expiring, "lot", "expires", "lapsing").values()
            if figures[0] <= asked.book.now().timestamp() * 10**6
        ]
        assert sum(gone) == sum(each.lapsing_e8 for each in balances)


def budgets_of(book: Book) -> None:
    """A budget of every kind in either wallet."""
    for wallet in histories.PLAIN_WALLETS:
        book.open_wallet(wallet, credit_limit=500)
        for period in ("hour", "day", "week", "month", "job", "lifetime", "in_flight"):
            book.set_budget(
                wallet, period, 900, key=f"{wallet}/{period}", period=period, hard=False
            )
        more: dict[str, Any] = {"period": "rolling", "rolling_seconds": 400_000}
        book.set_budget(wallet, "rolling", 900, key=f"{wallet}/r", hard=False, **more)
        each = {"team": "*"}
        book.set_budget(wallet, "each", 900, key=f"{wallet}/each", match=each, hard=False)


NOW = ("budgets", "holds", "expiring")


@given(moves=histories.histories(), cut=st.integers(0, 40))
@LAWS
def test_a_moment_is_told_later_as_it_was_told_then(moves: histories.Moves, cut: int) -> None:
    clock = Clock()
    with Book("sqlite://", clock=clock) as book:
        budgets_of(book)
        histories.play(book, clock, moves[:cut])
        clock.forward(minutes=1)
        then, as_of = {name: make(name, ask(book)).rows for name in NOW}, clock.now
        histories.play(book, clock, moves[cut:])
        assert {name: make(name, ask(book, as_of=as_of)).rows for name in NOW} == then


@given(
    moves=histories.histories(),
    cut=st.integers(0, 40),
    by=st.sampled_from(["happened", "recorded"]),
)
@LAWS
def test_what_was_written_then_is_written_again(moves: histories.Moves, cut: int, by: By) -> None:
    clock = Clock()
    with Book("sqlite://", clock=clock) as book:
        histories.play(book, clock, moves[:cut])
        clock.forward(minutes=1)
        as_of = clock.now

        def written() -> list[str]:
            asked = ask(book, by=by, as_of=as_of)
            one = ask(book, by=by, as_of=as_of, wallet=histories.PLAIN_WALLETS[0])
            return [
                text_of(make(name, one if kind.needs_wallet else asked), ReportFormat.JSON)
                for name, kind in CATALOGUE.items()
            ]

        then = written()
        histories.play(book, clock, moves[cut:])
        assert written() == then


@given(moves=histories.histories())
@LAWS
def test_budgets_are_as_full_as_the_book_says(moves: histories.Moves) -> None:
    clock = Clock()
    with Book("sqlite://", clock=clock) as book:
        budgets_of(book)
        histories.play(book, clock, moves)
        report = make("budgets", ask(book))
        names = ("wallet", "budget", "share", "used", "held", "percent")
        rows = zip(*(report.values(name) for name in names), strict=True)
        told = {row[:3]: row[3:] for row in rows if any(row[3:5])}
        assert told == {
            (wallet, status.budget.name, status.group or "all"): (
                status.used_e8,
                status.held_e8,
                status.percent,
            )
            for wallet in histories.PLAIN_WALLETS
            for status in book.budget_status(wallet)
            if status.used_e8 or status.held_e8
        }


MINE = (
    *("budgets", "statement", "movements", "trial-balance", "holds", "expiring", "lapsed"),
    *("top-ups", "valuation"),
)


@given(moves=histories.histories(most=25), name=st.sampled_from(MINE), data=st.data())
@LAWS
def test_the_entries_of_a_figure_add_up_to_it(
    moves: histories.Moves, name: str, data: st.DataObject
) -> None:
    clock = Clock()
    with Book("sqlite://", clock=clock) as book:
        budgets_of(book)
        histories.play(book, clock, moves)
        wallet = "studio" if kind_of(name).needs_wallet else None
        span = None if not kind_of(name).takes_span else span_of("2026-10-10/2026-10-20")
        asked = ask(book, wallet=wallet, span=span)
        report = make(name, asked)
        assert make(name, asked).rows == report.rows
        texts = [column.name for column in report.columns if column.unit == "text"]
        assert report.facts is not None
        cells = [text for text in texts if text in report.facts.columns]
        for column in report.columns:
            if not column.adds_up:
                continue
            for row in data.draw(st.permutations(report.rows))[:3]:
                wanted = {cell: row[report.place(cell)] for cell in cells}
                found = explain(report, column.name, wanted)
                assert found.amount == row[report.place(column.name)]
            if report.total is not None and of_any(report, column.name) is not None:
                added = sum(row[report.place(column.name)] for row in report.rows)
                assert added == of(report, column.name)


def of_any(report: Report, name: str) -> object:
    return None if report.total is None else report.total[report.place(name)]


@pytest.mark.parametrize("name", MINE)
@pytest.mark.parametrize("how", [{}, {"as_of": "2020-01-01"}, {"span": span_of("2020-01")}])
def test_nothing_is_reported_of_where_nothing_is(
    clock: Clock, name: str, how: dict[str, Any]
) -> None:
    with Book("sqlite://", clock=clock) as book:
        book.open_wallet("studio")
        if how:
            book.top_up("studio", 5, key="later", expires="2026-12-01", cash=1, currency="USD")
            book.reserve("studio", 2, key="job-1")
            book.set_budget("studio", "month", 5, key="b")
        if "span" in how and not kind_of(name).takes_span:
            return
        wallet = "studio" if kind_of(name).needs_wallet else None
        report = make(name, ask(book, wallet=wallet, **how))
        opening = 1 if name == "statement" else 0
        assert len(report.rows) == opening
        sums = [column.name for column in report.columns if column.adds_up]
        if report.total is not None:
            assert [of(report, column) for column in sums] == [0] * len(sums)
        assert len(report_document(report)["rows"]) == opening
        assert as_markdown(report).startswith("## ")

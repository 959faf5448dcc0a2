"""Looking into a book, now and as of any moment; the figures are worked out next to the cases."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.book import Book
from ledger.errors import (
    InvalidEntry,
    InvalidMoment,
    LedgerError,
    UnknownBudget,
    UnknownJob,
    UnknownWallet,
)
from ledger.records import Balance, By, Entry, TrialLine, us
from ledger.units import credits_to_e8, parse_moment

NOON = datetime(2026, 10, 10, 12, tzinfo=UTC)
CREDIT = 10**8
MOST = Decimal(2**63 - 1).scaleb(-8)
BYS: tuple[By, ...] = ("recorded", "happened")


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def to(self, time: str) -> None:
        self.now = on_the_day(time)


def on_the_day(time: str) -> datetime:
    return datetime.fromisoformat(f"2026-10-10T{time}:00+00:00")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def ledger(database_url: str, book: str, clock: Clock) -> Iterator[Book]:
    with Book(database_url, book=book, clock=clock) as opened:
        yield opened
        assert opened.verify().findings == ()


@pytest.fixture
def day(ledger: Book, clock: Clock) -> Book:
    """A wallet with two entries that were written down later than they happened."""
    ledger.top_up("studio", 100, key="invoice-1")  # 1 opens the wallet, 2 brings the credits
    clock.to("13:00")
    ledger.reserve("studio", 40, key="job-1", deadline=timedelta(days=9))  # 3
    clock.to("14:00")
    ledger.top_up("studio", 20, key="invoice-2", at=on_the_day("12:30"))  # 4
    clock.to("15:00")
    ledger.charge("job-1", 25, at=on_the_day("13:30"))  # 5
    clock.to("16:00")
    return ledger


# Balances


@pytest.mark.parametrize(
    ("by", "before", "posted", "held", "seq"),
    [
        ("recorded", "11:59", 0, 0, 0),
        ("recorded", "12:00", 0, 0, 0),  # what was recorded at that very moment does not count
        ("recorded", "12:01", 100, 0, 2),
        ("recorded", "13:00", 100, 0, 2),
        ("recorded", "13:45", 100, 40, 3),
        ("recorded", "14:30", 120, 40, 4),
        ("recorded", "15:00", 120, 40, 4),
        ("recorded", "15:01", 95, 0, 5),
        ("recorded", "23:00", 95, 0, 5),
        ("happened", "12:00", 0, 0, 0),
        ("happened", "12:30", 100, 0, 2),
        ("happened", "12:45", 120, 0, 4),
        ("happened", "13:30", 120, 40, 4),
        ("happened", "13:31", 95, 0, 5),
        ("happened", "23:00", 95, 0, 5),
    ],
)
def test_a_balance_of_the_past_counts_what_was_before(
    day: Book, by: By, before: str, posted: int, held: int, seq: int
) -> None:
    balance = day.balance("studio", before=on_the_day(before), by=by)
    assert balance[:3] == ("studio", posted * CREDIT, held * CREDIT)
    assert (balance.available_e8, balance.seq) == ((posted - held) * CREDIT, seq)


def test_a_date_is_its_first_moment(day: Book) -> None:
    assert day.balance("studio", before="2026-10-10").posted == 0
    assert day.balance("studio", before="2026-10-11") == day.balance("studio")


def test_a_credit_limit_counts_from_the_opening_on(ledger: Book, clock: Clock) -> None:
    clock.to("13:00")
    ledger.open_wallet("agency", credit_limit=50)
    clock.to("14:00")
    ledger.top_up("agency", 1, key="invoice-1", at=on_the_day("12:00"))
    assert ledger.balance("agency", before=on_the_day("13:00")).available == 0
    assert ledger.balance("agency", before=on_the_day("13:01")).available == 50
    assert ledger.balance("agency", before=on_the_day("13:00"), by="happened").available == 1
    assert ledger.balance("agency", before=on_the_day("13:01"), by="happened").available == 51


def test_expired_credits_were_not_available_before_they_were_taken_out(
    ledger: Book, clock: Clock
) -> None:
    ledger.top_up("studio", 100, key="invoice-1")
    ledger.top_up("studio", 50, key="gift", promotional=True, expires=on_the_day("13:00"))
    ledger.reserve("studio", 30, key="job-1", deadline=timedelta(days=9))
    clock.to("15:00")
    ledger.lapse("studio")  # the hold keeps 30 of the 50; the lapse happened at 13:00
    clock.to("16:00")
    ledger.charge("job-1", 10)  # out of the gift; the 20 that it freed lapse with the next lapse

    def seen(before: str, by: By) -> tuple[object, object, object]:
        balance = ledger.balance("studio", before=on_the_day(before), by=by)
        return balance.posted, balance.held, balance.available

    assert seen("13:00", "recorded") == (150, 30, 120)
    assert seen("14:00", "recorded") == (150, 30, 100)
    assert seen("15:01", "recorded") == (130, 30, 100)
    assert seen("16:01", "recorded") == (120, 0, 100)
    assert seen("13:00", "happened") == (150, 30, 120)
    assert seen("14:00", "happened") == (130, 30, 100)
    assert seen("16:01", "happened") == (120, 0, 100)
    assert ledger.balance("studio").available == 100


@pytest.mark.parametrize(("by", "posted", "lapsing"), [("recorded", 100, 0), ("happened", 105, 5)])
def test_a_lot_counts_from_the_top_up_that_brought_it(
    ledger: Book, clock: Clock, by: By, posted: int, lapsing: int
) -> None:
    ledger.top_up("studio", 100, key="invoice-1")
    clock.to("14:00")
    ledger.top_up("studio", 5, key="2", at=on_the_day("12:00"), expires=on_the_day("13:00"))
    balance = ledger.balance("studio", before=on_the_day("13:30"), by=by)
    assert (balance.posted_e8, balance.lapsing_e8) == (posted * CREDIT, lapsing * CREDIT)


def test_a_charge_that_happened_before_its_reserve_makes_nothing_lapse(ledger: Book) -> None:
    ledger.top_up("studio", 100, key="1")
    ledger.top_up("studio", 5, key="2", at=on_the_day("10:00"), expires=on_the_day("11:15"))
    ledger.reserve("studio", 10, key="job-1")  # the 5 lapse first, as of 11:15
    ledger.charge("job-1", 10, at=on_the_day("11:00"))
    balance = ledger.balance("studio", before=on_the_day("11:30"), by="happened")
    # 5 - 5 - 10 posted, and -10 held.
    assert balance == Balance("studio", -10 * CREDIT, -10 * CREDIT, 0, 0, 6)


def test_a_lot_that_was_used_twice_before_its_refund_hides_no_other(
    ledger: Book, clock: Clock
) -> None:
    ledger.top_up("studio", 10, key="a", expires=on_the_day("12:30"))
    ledger.reserve("studio", 10, key="job-1", deadline=timedelta(days=9))
    ledger.charge("job-1", 10)
    ledger.top_up("studio", 10, key="b")
    ledger.reserve("studio", 10, key="job-2", deadline=timedelta(days=9))
    clock.to("13:00")
    ledger.refund("job-1")  # the hold of job-2 keeps them alive, and its charge takes them again
    ledger.charge("job-2", 10, at=on_the_day("12:50"))
    ledger.top_up("studio", 5, key="c", at=on_the_day("12:00"), expires=on_the_day("12:45"))
    balance = ledger.balance("studio", before=on_the_day("12:55"), by="happened")
    # 25 came in and 20 were charged, all from the first lot; the last one is still there.
    assert balance == Balance("studio", 5 * CREDIT, 0, 0, 5 * CREDIT, 9)


def test_balances_and_sums_beyond_what_a_column_holds_stay_exact(ledger: Book) -> None:
    before = NOON - timedelta(hours=1)
    ledger.top_up("rich", MOST, key="1", at=before)
    ledger.adjust("rich", f"-{MOST}", key="2", reason="moved")
    ledger.top_up("rich", MOST, key="3", at=before)
    then = ledger.balance("rich", before=NOON, by="happened")
    assert then.posted_e8 == 2 * (2**63 - 1)  # of the two top-ups; no column ever held the sum
    ledger.top_up("richer", MOST, key="4", at=before)
    lines = ledger.trial_balance(before=NOON, by="happened")
    assert [line[1:] for line in lines] == [(3 * (2**63 - 1), 0), (0, 3 * (2**63 - 1))]
    lines = ledger.trial_balance()
    assert [line[1:] for line in lines][1:] == [(3 * (2**63 - 1), 0), (0, 2 * (2**63 - 1))]


def test_every_wallet_is_listed_by_name_with_its_balance(ledger: Book, clock: Clock) -> None:
    assert ledger.wallets() == []
    ledger.top_up("studio", 100, key="invoice-1", expires=on_the_day("13:00"))
    ledger.open_wallet("agency", credit_limit=5)
    ledger.reserve("studio", 60, key="job-1", deadline=timedelta(days=9))
    clock.to("14:00")
    assert ledger.wallets() == [
        Balance("agency", 0, 0, 5 * CREDIT, 0, 1),
        Balance("studio", 100 * CREDIT, 60 * CREDIT, 0, 40 * CREDIT, 3),
    ]


# Statements


def told(ledger: Book, since: str | None, until: str | None, by: By) -> list[Any]:
    """Opening, each line and closing: posted and held, and the key of the line."""
    found = ledger.statement(
        "studio",
        since=None if since is None else on_the_day(since),
        until=None if until is None else on_the_day(until),
        by=by,
    )
    assert found.entries == tuple(line.entry for line in found.lines)
    return [
        (found.opening_posted, found.opening_held),
        *((line.entry.seq, line.posted_after, line.held_after) for line in found.lines),
        (found.closing_posted, found.closing_held),
    ]


@pytest.mark.parametrize(
    ("since", "until", "lines"),
    [
        (None, None, [(1, 0, 0), (2, 100, 0), (3, 100, 40), (4, 120, 40), (5, 95, 0)]),
        (None, "14:00", [(1, 0, 0), (2, 100, 0), (3, 100, 40)]),
        ("13:00", "15:00", [(3, 100, 40), (4, 120, 40)]),
        ("15:00", None, [(5, 95, 0)]),
    ],
)
def test_a_statement_by_recording_is_in_the_order_of_the_wallet(
    day: Book, since: str | None, until: str | None, lines: list[tuple[int, int, int]]
) -> None:
    opening = {None: (0, 0), "13:00": (100, 0), "15:00": (120, 40)}[since]
    assert told(day, since, until, "recorded") == [opening, *lines, lines[-1][1:]]


@pytest.mark.parametrize(
    ("since", "until", "lines"),
    [
        (None, None, [(1, 0, 0), (2, 100, 0), (4, 120, 0), (3, 120, 40), (5, 95, 0)]),
        (None, "13:00", [(1, 0, 0), (2, 100, 0), (4, 120, 0)]),
        ("12:30", "13:30", [(4, 120, 0), (3, 120, 40)]),
        ("13:30", None, [(5, 95, 0)]),
    ],
)
def test_a_statement_by_happening_sums_again_in_that_order(
    day: Book, since: str | None, until: str | None, lines: list[tuple[int, int, int]]
) -> None:
    opening = {None: (0, 0), "12:30": (100, 0), "13:30": (120, 40)}[since]
    assert told(day, since, until, "happened") == [opening, *lines, lines[-1][1:]]


@pytest.mark.parametrize("by", BYS)
def test_a_statement_without_entries_closes_as_it_opened(day: Book, by: By) -> None:
    assert told(day, "13:00", "13:00", by)[0] == told(day, "13:00", "13:00", by)[1]
    assert told(day, "20:00", None, by) == [(95, 0), (95, 0)]
    assert told(day, None, "11:00", by) == [(0, 0), (0, 0)]


def test_a_statement_knows_its_span(day: Book) -> None:
    found = day.statement("studio", since="2026-10-01", until="2026-11-01", by="happened")
    assert (found.wallet, found.by) == ("studio", "happened")
    assert (found.since, found.until) == (parse_moment("2026-10-01"), parse_moment("2026-11-01"))
    assert day.statement("studio")[1:3] == (None, None) == (day.statement("studio").since, None)


def test_statements_that_follow_one_another_leave_nothing_out(day: Book) -> None:
    cuts = [None, *(on_the_day(f"{hour}:00") for hour in range(12, 17)), None]
    for by in BYS:
        parts = [
            day.statement("studio", since=since, until=until, by=by)
            for since, until in pairwise(cuts)
        ]
        listed = [entry for part in parts for entry in part.entries]
        assert listed == list(day.statement("studio", by=by).entries)
        for part, following in pairwise(parts):
            assert part.closing_posted_e8 == following.opening_posted_e8
            assert part.closing_held_e8 == following.opening_held_e8


# Trial balance


def shown(lines: list[TrialLine]) -> list[tuple[object, object, object]]:
    return [(line.account, line.debit, line.credit) for line in lines]


def test_every_account_stands_in_the_trial_balance(ledger: Book, clock: Clock) -> None:
    ledger.top_up("studio", 100, key="invoice-1")
    ledger.top_up("agency", 7, key="invoice-2")
    ledger.top_up("studio", 5, key="gift", promotional=True, expires=on_the_day("13:00"))
    ledger.reserve("studio", 40, key="job-1", deadline=timedelta(days=9))
    clock.to("14:00")
    ledger.charge("job-1", 30)  # 5 of it out of the gift
    ledger.refund("job-1", 27)  # 25 of it where they came from, the other 2 to the gift
    ledger.lapse("studio")
    ledger.adjust("agency", -2, key="fix", reason="typing error")
    assert shown(ledger.trial_balance()) == [
        ("adjustments", 0, 2),
        ("funding", 107, 0),
        ("lapsed", 0, 2),
        ("promotion", 5, 0),
        ("provider", 0, 3),
        ("wallets", 0, 105),  # 100 in studio, 5 in agency
    ]


@pytest.mark.parametrize(
    ("by", "before", "lines"),
    [
        ("recorded", "12:00", [("wallets", 0, 0)]),
        ("recorded", "13:45", [("funding", 100, 0), ("wallets", 0, 100)]),
        ("recorded", "14:30", [("funding", 120, 0), ("wallets", 0, 120)]),
        ("recorded", "23:00", [("funding", 120, 0), ("provider", 0, 25), ("wallets", 0, 95)]),
        ("happened", "12:30", [("funding", 100, 0), ("wallets", 0, 100)]),
        ("happened", "13:45", [("funding", 120, 0), ("provider", 0, 25), ("wallets", 0, 95)]),
    ],
)
def test_a_trial_balance_of_the_past(
    day: Book, by: By, before: str, lines: list[tuple[str, int, int]]
) -> None:
    assert shown(day.trial_balance(before=on_the_day(before), by=by)) == lines


def test_a_wallet_in_debt_is_a_debit(ledger: Book) -> None:
    ledger.top_up("studio", 10, key="invoice-1")
    ledger.reserve("studio", 10, key="job-1")
    ledger.charge("job-1", 25)
    assert [line[:] for line in ledger.trial_balance()] == [
        ("funding", 10 * CREDIT, 0),
        ("provider", 0, 25 * CREDIT),
        ("wallets", 15 * CREDIT, 0),
    ]


@pytest.mark.parametrize(
    ("tampering", "before"),
    [
        ("UPDATE wallets SET posted_e8 = posted_e8 + 1", None),
        ("UPDATE entries SET posted_e8 = posted_e8 + 1 WHERE kind = 'top_up'", None),
        ("UPDATE entries SET posted_e8 = posted_e8 + 1 WHERE kind = 'top_up'", "2026-10-11"),
        ("UPDATE entries SET posted_after_e8 = 1 WHERE seq = 2", "2026-10-11"),
    ],
)
def test_a_trial_balance_shows_that_a_book_was_tampered_with(
    sqlite_url: str, clock: Clock, tampering: str, before: str | None
) -> None:
    with Book(sqlite_url, clock=clock) as ledger:
        ledger.top_up("studio", 100, key="invoice-1")
    connection = sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))
    with connection:
        for trigger in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            connection.execute(f"DROP TRIGGER {trigger[0]}")
        # Later than the moment that is asked about, so that the wallet's row is not the answer.
        connection.execute("UPDATE wallets SET recorded_at_us = recorded_at_us + 86400000000")
        connection.execute(tampering)
    connection.close()
    with Book(sqlite_url, clock=clock) as ledger:
        lines = ledger.trial_balance(before=before)
        assert sum(line.debit_e8 for line in lines) != sum(line.credit_e8 for line in lines)


# Holds, their history, and what waits for them


@pytest.mark.parametrize(
    ("state", "wallet", "limit", "jobs"),
    [
        (None, None, 1000, ["a", "b", "c", "d", "e", "f"]),
        (None, None, 2, ["a", "b"]),
        (None, "agency", 1000, ["e"]),
        ("open", None, 1000, ["e", "b"]),  # by deadline: 16:00, 18:00
        ("open", "studio", 1000, ["b"]),
        ("unknown", None, 1000, ["c", "a"]),  # 13:00, and 15:00, which is now
        ("unknown", None, 1, ["c"]),
        ("unknown", "agency", 1000, []),
        ("charged", None, 1000, ["d"]),
        ("charged", "agency", 1000, []),
        ("released", None, 1000, ["f"]),
    ],
)
def test_holds_are_listed_by_state(
    ledger: Book, clock: Clock, state: str | None, wallet: str | None, limit: int, jobs: list[str]
) -> None:
    ledger.top_up("studio", 100, key="invoice-1")
    ledger.top_up("agency", 100, key="invoice-2")
    for job, hour in (("a", 15), ("b", 18), ("c", 13), ("d", 18), ("f", 18)):
        ledger.reserve("studio", 10, key=job, deadline=on_the_day(f"{hour}:00"))
    ledger.reserve("agency", 10, key="e", deadline=on_the_day("16:00"))
    ledger.charge("d", 5)
    ledger.release("f")
    ledger.charge("nobody reserved this", 5)  # its job is only awaited, and never listed
    clock.to("15:00")
    assert [hold.job for hold in ledger.holds(wallet=wallet, state=state, limit=limit)] == jobs


def test_the_history_of_a_job_has_all_its_entries_and_no_others(ledger: Book, clock: Clock) -> None:
    ledger.top_up("studio", 100, key="invoice-1")
    ledger.reserve("studio", 20, key="job-1")
    ledger.reserve("studio", 20, key="job-2")
    ledger.extend("job-1", key="more", amount=5)
    ledger.charge("job-1", 10, key="first", final=False)
    ledger.charge("job-2", 20)
    clock.to("14:00")
    ledger.charge("job-1", 10, key="second")
    ledger.refund("job-1", 4, key="back")
    ledger.reserve("studio", 20, key="job-3")
    kinds = [(entry.kind, entry.key, entry.seq) for entry in ledger.history("job-1")]
    assert kinds == [
        ("reserve", "job-1", 3),
        ("extend", "more", 5),
        ("charge", "first", 6),
        ("charge", "second", 8),
        ("refund", "back", 9),
    ]
    assert [entry.kind for entry in ledger.history("job-3")] == ["reserve"]


def test_the_inbox_lists_what_waits_oldest_first(ledger: Book, clock: Clock) -> None:
    ledger.top_up("studio", 100, key="invoice-1")
    ledger.charge("job-2", 5)
    clock.to("13:00")
    ledger.charge("job-1", 5, key="k")
    ledger.refund("job-2", 1)
    clock.to("14:00")
    assert [(item.kind, item.job) for item in ledger.inbox()] == [
        ("charge", "job-2"),
        ("charge", "job-1"),
        ("refund", "job-2"),
    ]
    ledger.reserve("studio", 20, key="job-2")
    assert [(item.kind, item.job, item.key) for item in ledger.inbox()] == [
        ("charge", "job-1", "k")
    ]


# Budgets


def test_the_budgets_in_force_are_listed_by_name(ledger: Book) -> None:
    ledger.top_up("studio", 100, key="invoice-1")
    assert ledger.budgets("studio") == []
    ledger.set_budget("studio", "team", 10, key="b1", match={"team": "ads"})
    ledger.set_budget("studio", "all", 20, key="b2", period="lifetime")
    ledger.set_budget("studio", "gone", 30, key="b3")
    ledger.set_budget("studio", "team", 15, key="b4", match={"team": "ads"})
    ledger.remove_budget("studio", "gone", key="b5")
    assert [(item.name, item.limit_e8) for item in ledger.budgets("studio")] == [
        ("all", 20 * CREDIT),
        ("team", 15 * CREDIT),
    ]
    assert [item.budget.name for item in ledger.budget_status("studio")] == ["all", "team"]


class Row(NamedTuple):
    """What a row of a budget's status should say."""

    group: str
    starts: str | None
    ends: str | None
    held: int
    used: int
    left: int
    percent: str


DAY = "2026-10-10T00:00:00+00:00", "2026-10-11T00:00:00+00:00"
BUDGETS: list[tuple[dict[str, Any], list[Row]]] = [
    # li: 20 + 10 yesterday, 30 held today; bo: 16 used today, 4 of it refunded.
    ({"period": "day"}, [Row("", *DAY, 30, 12, 58, "42.0")]),
    (
        {"period": "month", "timezone": "Asia/Tokyo"},
        [Row("", "2026-09-30T15:00:00+00:00", "2026-10-31T15:00:00+00:00", 30, 42, 28, "72.0")],
    ),
    ({"period": "lifetime"}, [Row("", None, None, 30, 42, 28, "72.0")]),
    ({"period": "in_flight"}, [Row("", None, None, 30, 0, 70, "30.0")]),
    ({"period": "job"}, [Row("", None, None, 0, 0, 100, "0.0")]),
    ({"period": "job", "match": {"user": "*"}}, [Row("user=*", None, None, 0, 0, 100, "0.0")]),
    # Twelve hours and twelve minutes before 15:00; the jobs of yesterday were at 01:00.
    (
        {"period": "rolling", "rolling_seconds": 12 * 3600},
        [Row("", "2026-10-10T03:00:00+00:00", None, 30, 12, 58, "42.0")],
    ),
    (
        {"period": "rolling", "rolling_seconds": 40 * 3600, "match": {"user": "*"}},
        [
            Row("user=bo", "2026-10-08T22:40:00+00:00", None, 0, 12, 88, "12.0"),
            Row("user=li", "2026-10-08T22:40:00+00:00", None, 30, 30, 40, "60.0"),
        ],
    ),
    (
        {"period": "day", "match": {"user": "*"}},
        [Row("user=bo", *DAY, 0, 12, 88, "12.0"), Row("user=li", *DAY, 30, 0, 70, "30.0")],
    ),
    ({"period": "day", "match": {"user": "bo"}}, [Row("", *DAY, 0, 12, 88, "12.0")]),
    ({"period": "day", "match": {"user": "al"}}, [Row("", *DAY, 0, 0, 100, "0.0")]),
    (
        {"period": "day", "match": {"team": "art", "user": "*"}},
        [Row("user=*", *DAY, 0, 0, 100, "0.0")],
    ),
]


@pytest.mark.parametrize(("terms", "rows"), BUDGETS)
def test_the_status_of_a_budget_is_that_of_its_live_window(
    ledger: Book, clock: Clock, terms: dict[str, Any], rows: list[Row]
) -> None:
    clock.now = datetime(2026, 10, 9, 1, tzinfo=UTC)
    ledger.top_up("studio", 1000, key="invoice-1")
    for job, amount in (("li-1", 20), ("li-2", 10)):
        ledger.reserve("studio", amount, key=job, labels={"user": "li", "team": "ads"})
        ledger.charge(job, amount)
    clock.to("14:00")
    ledger.set_budget("studio", "limit", 100, key="b1", **terms)
    ledger.reserve("studio", 30, key="li-3", labels={"user": "li"}, deadline=timedelta(days=9))
    ledger.reserve("studio", 20, key="bo-1", labels={"user": "bo"})
    ledger.charge("bo-1", 16)
    ledger.refund("bo-1", 4)
    clock.to("15:00")
    assert [
        Row(
            status.group,
            None if status.starts_us is None else moment_text(status.starts_us),
            None if status.ends_us is None else moment_text(status.ends_us),
            int(status.held),
            int(status.used),
            int(status.left),
            str(status.percent),
        )
        for status in ledger.budget_status("studio")
    ] == rows


def moment_text(when_us: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=when_us)).isoformat()


def test_a_budget_starts_from_nothing_in_its_next_window(ledger: Book, clock: Clock) -> None:
    ledger.top_up("studio", 1000, key="invoice-1")
    ledger.set_budget("studio", "hourly", 100, key="b1", period="hour")
    ledger.reserve("studio", 30, key="job-1")
    clock.to("12:59")
    assert [status.held for status in ledger.budget_status("studio")] == [30]
    clock.to("13:00")
    assert [status.held for status in ledger.budget_status("studio")] == [0]
    ledger.reserve("studio", 5, key="job-2")
    clock.to("12:59")  # another machine's clock may be behind
    assert [status.held for status in ledger.budget_status("studio")] == [30]


def test_a_budget_that_charges_went_beyond_is_over_and_has_nothing_left(ledger: Book) -> None:
    def status(title: str) -> tuple[object, str, bool]:
        [found] = ledger.budget_status("studio", title=title)
        return found.left, str(found.percent), found.over

    ledger.top_up("studio", 1000, key="invoice-1")
    ledger.set_budget("studio", "all", 30, key="b1", period="lifetime")
    ledger.set_budget("studio", "none", 0, key="b2", period="lifetime", hard=False)
    assert status("none") == (0, "100.0", False)
    ledger.reserve("studio", "29.99999999", key="job-1")
    assert status("all") == (Decimal("0.00000001"), "99.9", False)
    ledger.extend("job-1", amount="0.00000001", key="more")
    assert status("all") == (0, "100.0", False)
    ledger.charge("job-1", 40)
    assert status("all") == (0, "133.3", True)
    assert status("none") == (0, "100.0", True)


def test_two_shares_whose_words_are_the_same_are_two_rows(ledger: Book) -> None:
    ledger.top_up("studio", 1000, key="invoice-1")
    match = {"team": "*", "user": "*"}
    ledger.set_budget("studio", "each", 100, key="b1", match=match, period="day")
    ledger.reserve("studio", 1, key="job-1", labels={"team": "a, user=b", "user": "c"})
    ledger.reserve("studio", 2, key="job-2", labels={"team": "a", "user": "b, user=c"})
    found = [(status.group, status.held_e8) for status in ledger.budget_status("studio")]
    words = "team=a, user=b, user=c"
    assert found == [(words, 1 * CREDIT), (words, 2 * CREDIT)]


# What cannot be answered

ASKED: list[tuple[Callable[[Book], Any], type[LedgerError], str]] = [
    (lambda book: book.balance("studoi"), UnknownWallet, "did you mean 'studio'"),
    (lambda book: book.statement("studoi"), UnknownWallet, "did you mean 'studio'"),
    (lambda book: book.holds(wallet="studoi"), UnknownWallet, "did you mean 'studio'"),
    (lambda book: book.budgets("studoi"), UnknownWallet, "did you mean 'studio'"),
    (lambda book: book.budget_status("studoi"), UnknownWallet, "did you mean 'studio'"),
    (lambda book: book.balance("a\0b"), InvalidEntry, "cannot be stored"),
    (lambda book: book.balance(7), InvalidEntry, "must be a text"),  # type: ignore[arg-type]
    (lambda book: book.hold("job-11"), UnknownJob, "did you mean 'job-1'"),
    (lambda book: book.history("job-11"), UnknownJob, "did you mean 'job-1'"),
    (lambda book: book.history("parked"), UnknownJob, "no hold for job 'parked'"),
    (lambda book: book.hold("parked"), UnknownJob, "no hold for job 'parked'"),
    (lambda book: book.hold(""), InvalidEntry, "1 to 255 characters"),
    (lambda book: book.holds(state="lost"), InvalidEntry, "open, unknown, charged, released"),
    (lambda book: book.holds(state="awaited"), InvalidEntry, "not 'awaited'"),
    (lambda book: book.holds(limit=0), InvalidEntry, "whole number from 1"),
    (lambda book: book.holds(limit=True), InvalidEntry, "whole number from 1"),
    (lambda book: book.holds(state="lost", wallet="studoi"), InvalidEntry, "state"),
    (lambda book: book.budget_status("studio", title="ad"), UnknownBudget, "it has 'ads'"),
    (lambda book: book.balance("studio", before="soon"), InvalidMoment, "'soon' is not a date"),
    (lambda book: book.balance("studoi", before="soon"), InvalidMoment, "'soon' is not a date"),
    (
        lambda book: book.balance("studio", before=datetime(2026, 1, 1)),  # noqa: DTZ001
        InvalidMoment,
        "no time zone",
    ),
    (
        lambda book: book.balance("studio", by="written"),  # type: ignore[arg-type]
        InvalidEntry,
        "recorded, happened, not 'written'",
    ),
    (
        lambda book: book.trial_balance(by="written"),  # type: ignore[arg-type]
        InvalidEntry,
        "recorded, happened, not 'written'",
    ),
    (
        lambda book: book.statement("studio", since="2026-10-02", until="2026-10-01"),
        InvalidEntry,
        "until: lies before since",
    ),
]


@pytest.mark.parametrize(("ask", "kind", "message"), ASKED)
def test_a_question_that_has_no_answer_is_a_typed_error(
    ledger: Book, ask: Callable[[Book], Any], kind: type[LedgerError], message: str
) -> None:
    ledger.top_up("studio", 100, key="invoice-1")
    ledger.set_budget("studio", "ads", 50, key="b1", match={"team": "ads"})
    ledger.reserve("studio", 10, key="job-1")
    ledger.charge("parked", 10)
    with pytest.raises(kind, match=message):
        ask(ledger)


# Laws: any history, with entries written down long after they happened


class Step(NamedTuple):
    """One call, and how far the clock moves before it."""

    minutes: int
    verb: str
    amount: int
    job: int
    back: int | None
    """How many minutes ago it happened; None for now."""
    lasts: int | None
    """In how many minutes credits that come in expire."""


STEPS = st.lists(
    st.builds(
        Step,
        minutes=st.sampled_from([0, 1, 5, 30]),
        verb=st.sampled_from(
            ["top_up", "reserve", "charge", "part", "release", "refund", "adjust", "lapse"]
        ),
        amount=st.integers(1, 60),
        job=st.integers(1, 4),
        back=st.one_of(st.none(), st.integers(0, 90)),
        lasts=st.one_of(st.none(), st.integers(1, 60)),
    ),
    max_size=14,
)


def play(ledger: Book, clock: Clock, steps: list[Step]) -> dict[int, Balance]:
    """Make the calls; gives the balance that was seen last at every moment."""
    seen: dict[int, Balance] = {}
    for number, step in enumerate(steps):
        clock.now += timedelta(minutes=step.minutes)
        with suppress(LedgerError):  # a refusal writes nothing
            call(ledger, step, f"key-{number}", clock.now)
        seen[us(clock.now)] = ledger.balance("studio")
    return seen


def call(ledger: Book, step: Step, key: str, now: datetime) -> None:
    at = None if step.back is None else now - timedelta(minutes=step.back)
    amount, job = step.amount, f"job-{step.job}"
    match step.verb:
        case "top_up":
            expires = None if step.lasts is None else now + timedelta(minutes=step.lasts)
            ledger.top_up("studio", amount, key=key, at=at, expires=expires)
        case "reserve":
            ledger.reserve("studio", amount, key=job, at=at)
        case "charge" | "part":
            ledger.charge(job, amount, key=key, final=step.verb == "charge", at=at)
        case "release":
            ledger.release(job, key=key, at=at)
        case "refund":
            ledger.refund(job, key=key, at=at)
        case "adjust":
            ledger.adjust("studio", -amount, key=key, reason="typing error", at=at)
        case _:
            ledger.lapse("studio")


def time_of(entry: Entry, by: By) -> int:
    return entry.recorded_at_us if by == "recorded" else entry.happened_at_us


def naive_lapsing_e8(counted: list[Entry], held_e8: int, before_us: int) -> int:
    """Expired credits that no hold keeps, from the entries that count alone."""
    left: dict[int, int] = {}
    for entry in counted:
        expires = entry.details.get("expires")
        if entry.kind == "top_up" and expires and us(parse_moment(expires)) < before_us:
            left[entry.seq] = entry.posted_e8
    for entry in counted:
        for seq, part in json.loads(entry.lots or "{}").items():
            if int(seq) in left:
                left[int(seq)] -= part
    return max(0, sum(max(0, part) for part in left.values()) - max(0, held_e8))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS)
def test_the_past_is_the_sum_of_what_was_before(database_url: str, steps: list[Step]) -> None:
    clock = Clock()
    with Book(database_url, book=f"law-{uuid4().hex}", clock=clock) as ledger:
        ledger.top_up("studio", 100, key="first", expires=NOON + timedelta(minutes=20))
        ledger.top_up("other", 1, key="other")
        seen = play(ledger, clock, steps)
        assert ledger.verify().findings == ()
        everything = ledger.statement("studio").entries
        assert [entry.seq for entry in everything] == list(range(1, len(everything) + 1))
        moments = {
            time_of(entry, by) + late for entry in everything for by in BYS for late in (0, 1)
        }
        for by in BYS:
            for before_us in sorted(moments):
                before = NOON + timedelta(microseconds=before_us - us(NOON))
                counted = [entry for entry in everything if time_of(entry, by) < before_us]
                posted_e8 = sum(entry.posted_e8 for entry in counted)
                held_e8 = sum(entry.held_e8 for entry in counted)
                assert ledger.balance("studio", before=before, by=by) == Balance(
                    "studio",
                    posted_e8,
                    held_e8,
                    0,
                    naive_lapsing_e8(counted, held_e8, before_us),
                    max((entry.seq for entry in counted), default=0),
                )
                statement_joins(ledger, before, by, everything)
                lines = ledger.trial_balance(before=before, by=by)
                assert sum(line.debit_e8 - line.credit_e8 for line in lines) == 0
                other_e8 = credits_to_e8(1) if us(NOON) < before_us else 0
                assert lines[-1] == (
                    "wallets",
                    max(0, -posted_e8 - other_e8),
                    max(0, posted_e8 + other_e8),
                )
        for now_us, balance in seen.items():
            # What was seen at a moment is what was recorded before the next microsecond.
            after = NOON + timedelta(microseconds=now_us + 1 - us(NOON))
            assert ledger.balance("studio", before=after) == balance


def statement_joins(ledger: Book, cut: datetime, by: By, everything: tuple[Entry, ...]) -> None:
    """The statements on both sides of a moment meet in the balance, and leave nothing out."""
    first = ledger.statement("studio", until=cut, by=by)
    second = ledger.statement("studio", since=cut, by=by)
    balance = ledger.balance("studio", before=cut, by=by)
    for posted_e8, held_e8 in (first[-2:], second[4:6]):
        assert (posted_e8, held_e8) == (balance.posted_e8, balance.held_e8)
    for part in (first, second):
        posted_e8, held_e8 = part.opening_posted_e8, part.opening_held_e8
        for line in part.lines:
            posted_e8 += line.entry.posted_e8
            held_e8 += line.entry.held_e8
            assert (line.posted_after_e8, line.held_after_e8) == (posted_e8, held_e8)
        assert (part.closing_posted_e8, part.closing_held_e8) == (posted_e8, held_e8)
    ordered = sorted(everything, key=lambda entry: (time_of(entry, by), entry.seq))
    assert [*first.entries, *second.entries] == ordered


def test_a_message_parked_by_a_clock_ahead_is_recorded_no_earlier_than_it_happened(
    database_url: str, book: str
) -> None:
    def opened(minute: int) -> Book:
        return Book(database_url, book=book, clock=lambda: NOON + timedelta(minutes=minute))

    with opened(0) as behind, opened(10) as ahead, opened(5) as later:
        behind.top_up("studio", 100, key="invoice-1")
        ahead.charge("job-1", 5)
        later.reserve("studio", 10, key="job-1")
        # At minute 7 the charge of minute 10 had not happened.
        before = NOON + timedelta(minutes=7)
        assert later.balance("studio", before=before, by="happened").posted == 100
        assert later.verify().findings == ()

"""Closing a period freezes what happened before its end, whatever is told later."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from test_book import tamper
from writers import Clock, named, together, wait_until_blocked

from ledger.book import Adjust, Book, Charge, Extend, Refund, Release, Reserve, TopUp
from ledger.book.items import Item
from ledger.errors import (
    InvalidEntry,
    KeyReused,
    NotReconciled,
    OpenBreaks,
    PeriodNotOver,
    PeriodOutOfOrder,
    UnknownPeriod,
)
from ledger.records import GENESIS, Entry, Period, closed_periods, entry_hash, moment
from ledger.spans import span_of
from ledger.store import Session
from ledger.store.periods import OpenDifferences, covering, open_differences

WHY = "no statement yet"
OCTOBER = datetime(2026, 10, 1, tzinfo=UTC)
NOVEMBER = datetime(2026, 11, 1, tzinfo=UTC)
IN_OCTOBER = datetime(2026, 10, 20, 9, 30, tzinfo=UTC)


@pytest.fixture
def clock() -> Clock:
    """The third of November."""
    clock = Clock()
    clock.now = datetime(2026, 11, 3, 12, tzinfo=UTC)
    return clock


@pytest.fixture
def ledger(database_url: str, book: str, clock: Clock) -> Iterator[Book]:
    """A book with 100 credits from October, of which job-1 has 40 and job-2 has 20 set aside."""
    with Book(database_url, book=book, clock=clock) as opened:
        opened.top_up("studio", 100, key="invoice-1", at=OCTOBER)
        opened.reserve("studio", 40, key="job-1", at=IN_OCTOBER)
        opened.reserve("studio", 20, key="job-2", at=IN_OCTOBER)
        yield opened
        assert opened.verify().findings == ()


def close(ledger: Book, period: str = "2026-10", **more: Any) -> Period:
    return ledger.close_period(period, **{"unreconciled": WHY} | more)


def before(ledger: Book, end: datetime) -> list[Any]:
    """Everything there is to know of the time before a moment."""
    wallets = [balance.wallet for balance in ledger.wallets()]
    return [
        ledger.trial_balance(before=end, by="happened"),
        *(ledger.statement(wallet, until=end, by="happened") for wallet in wallets),
        *(ledger.balance(wallet, before=end, by="happened") for wallet in wallets),
    ]


# What a period is


@pytest.mark.parametrize(
    ("period", "timezone", "start", "end"),
    [
        ("2026-10", "UTC", "2026-10-01T00:00:00", "2026-11-01T00:00:00"),
        ("2026-12", "UTC", "2026-12-01T00:00:00", "2027-01-01T00:00:00"),
        # Shanghai is 8 hours ahead all year.
        ("2026-10", "Asia/Shanghai", "2026-09-30T16:00:00", "2026-10-31T16:00:00"),
        # Berlin puts its clocks back on 25 October, from two hours ahead to one.
        ("2026-10", "Europe/Berlin", "2026-09-30T22:00:00", "2026-10-31T23:00:00"),
        ("2026-10-01/2026-10-08", "UTC", "2026-10-01T00:00:00", "2026-10-08T00:00:00"),
        ("2026-10-01/2026-10-08", "America/New_York", "2026-10-01T04:00:00", "2026-10-08T04:00:00"),
        ("2026-10-01T06:00Z/2026-10-02", "UTC", "2026-10-01T06:00:00", "2026-10-02T00:00:00"),
        # Clocks in Lebanon went forward at midnight, so this day began at one o'clock.
        ("2021-03-28/2021-03-29", "Asia/Beirut", "2021-03-27T22:00:00", "2021-03-28T21:00:00"),
    ],
)
def test_a_period_begins_and_ends_where_its_days_do(
    period: str, timezone: str, start: str, end: str
) -> None:
    span = span_of(period, timezone)
    found = [moment(when).replace(tzinfo=None).isoformat() for when in span[1:3]]
    assert (span.name, *found) == (period, start, end)


@pytest.mark.parametrize(
    ("period", "timezone", "problem"),
    [
        ("october", "UTC", "a month such as 2026-10"),
        ("2026-13", "UTC", "a month such as 2026-10"),
        ("2026-1", "UTC", "a month such as 2026-10"),
        ("9999-12", "UTC", "9999-12 is out of range"),
        ("0000-01", "UTC", "0000-01 is out of range"),
        ("٢٠٢٦-١٠", "UTC", "a month such as 2026-10"),
        ("2026-10-01", "UTC", "a month such as 2026-10"),
        ("2026-10-01/", "UTC", "a month such as 2026-10"),
        ("2026-10-01/2026-10-32", "UTC", "a month such as 2026-10"),
        ("2026-10-01T06:00/2026-10-02", "UTC", "has no time zone"),
        ("2026-10-02/2026-10-02", "UTC", "must end later than it begins"),
        ("2026-10-02/2026-10-01", "UTC", "must end later than it begins"),
        ("", "UTC", "1 to 255 characters"),
        (202610, "UTC", "must be a text"),
        ("2026-10", "Mars/Olympus", "no time zone"),
        ("2026-10", "../etc/passwd", "no time zone"),
        ("2026-10", "localtime", "no time zone"),
        ("2026-10", None, "no time zone"),
        ("0001-01", "Asia/Tokyo", "0001-01 is out of range"),
    ],
)
def test_what_is_no_period_is_refused_in_words(period: Any, timezone: Any, problem: str) -> None:
    with pytest.raises(InvalidEntry, match=r"^the (period|time zone): ") as refused:
        span_of(period, timezone)
    assert problem in str(refused.value)


# Closing


def test_a_closed_period_is_written_into_every_wallet(ledger: Book, clock: Clock) -> None:
    ledger.open_wallet("art")
    ledger.charge("job-1", 30, at=IN_OCTOBER)
    ledger.charge("job-2", 5)  # in November
    closed = close(ledger)
    assert (closed.seq, closed.action, closed.name) == (1, "close", "2026-10")
    assert (closed.start, closed.end, closed.recorded_at) == (OCTOBER, NOVEMBER, clock())
    assert (closed.reason, closed.reconciliation) == (f"not reconciled: {WHY}", None)
    assert ledger.periods() == [closed]
    marks = {name: ledger.statement(name).entries[-1] for name in ("studio", "art")}
    assert {name: mark.kind for name, mark in marks.items()} == {"studio": "close", "art": "close"}
    # 100 - 30 charged; of the holds, 40 were settled in October and 20 in November.
    assert marks["studio"].details == {
        "period": "2026-10",
        "number": 1,
        "start_us": closed.start_us,
        "end_us": closed.end_us,
        "posted_e8": 70 * 10**8,
        "held_e8": 20 * 10**8,
        "closed_until_us": closed.end_us,
        "reason": f"not reconciled: {WHY}",
    }
    assert (marks["art"].posted_e8, marks["art"].details["posted_e8"]) == (0, 0)


def test_closing_a_closed_period_changes_nothing(ledger: Book) -> None:
    first = close(ledger)
    entries = ledger.statement("studio")
    assert close(ledger) == first._replace(replayed=True)
    assert close(ledger, "2026-10-01/2026-11-01") == first._replace(replayed=True)
    assert ledger.close_period("2026-10") == first._replace(replayed=True)
    assert (ledger.statement("studio"), ledger.periods()) == (entries, [first])


def test_a_period_that_is_not_over_cannot_be_closed(ledger: Book, clock: Clock) -> None:
    clock.now = NOVEMBER - timedelta(microseconds=1)
    with pytest.raises(PeriodNotOver) as refused:
        close(ledger)
    assert (refused.value.exit_status, refused.value.end) == (7, "2026-11-01T00:00:00Z")
    clock.now = NOVEMBER
    assert close(ledger).end == NOVEMBER


@pytest.mark.parametrize(
    ("period", "timezone", "told"),
    [
        ("2026-12", "UTC", "close 2026-11 first"),
        ("2027-01", "UTC", "close 2026-11 first"),
        ("2026-11-08/2026-11-15", "UTC", "close 2026-11-01T00:00:00Z/2026-11-08T00:00:00Z first"),
        ("2026-09", "UTC", "the next period begins there"),
        ("2026-10-15/2026-12-01", "UTC", "the next period begins there"),
        ("2026-11", "Asia/Tokyo", "(2026-10, UTC); the next period begins there"),
        ("2026-12", "Asia/Tokyo", "close 2026-11-01T00:00:00Z/2026-11-30T15:00:00Z first"),
    ],
)
def test_periods_are_closed_one_after_another(
    ledger: Book, clock: Clock, period: str, timezone: str, told: str
) -> None:
    close(ledger)
    clock.forward(days=200)
    with pytest.raises(PeriodOutOfOrder) as refused:
        close(ledger, period, timezone=timezone)
    assert told in str(refused.value)
    assert refused.value.closed_until == "2026-11-01T00:00:00Z"
    assert [close(ledger, month).seq for month in ("2026-11", "2026-12")] == [2, 3]


def test_the_first_closed_period_reaches_back_to_the_beginning(ledger: Book) -> None:
    close(ledger)
    for at in (IN_OCTOBER, datetime(2026, 3, 1, tzinfo=UTC)):
        late = ledger.adjust("studio", 1, key=f"fix-{at.month}", reason="slip", at=at)
        assert late.corrects == "2026-10"


def test_a_book_without_wallets_has_nothing_to_close(database_url: str, book: str) -> None:
    with Book(database_url, book=book) as ledger:
        for call in (close, partial(Book.reopen_period, period="2026-10", reason="slip")):
            with pytest.raises(InvalidEntry, match="has no wallet"):
                call(ledger)


@pytest.mark.parametrize("reason", ["", " ", "a\nb", 5])
def test_a_reason_must_be_one(ledger: Book, reason: Any) -> None:
    with pytest.raises(InvalidEntry):
        ledger.close_period("2026-10", unreconciled=reason)
    with pytest.raises(InvalidEntry):
        ledger.close_period("2026-10", unreconciled=WHY, with_open_breaks=reason)
    close(ledger)
    with pytest.raises(InvalidEntry):
        ledger.reopen_period("2026-10", reason=reason)


def test_what_had_lapsed_is_of_the_period_although_nobody_had_written_it_down(
    database_url: str, book: str, clock: Clock
) -> None:
    with Book(database_url, book=book, clock=clock) as ledger:
        clock.now = OCTOBER
        ledger.top_up("studio", 10, key="gift", expires=IN_OCTOBER, promotional=True)
        ledger.top_up("studio", 5, key="later gift", expires="2026-11-02")
        clock.now = datetime(2026, 11, 3, tzinfo=UTC)
        close(ledger)
        kinds = [(entry.kind, entry.happened_at) for entry in ledger.statement("studio").entries]
        assert kinds[-3:] == [
            ("lapse", IN_OCTOBER),
            ("lapse", datetime(2026, 11, 2, tzinfo=UTC)),
            ("close", clock()),
        ]
        # 10 + 5 came in, 10 lapsed; the other 5 did so in November.
        assert ledger.statement("studio").entries[-1].details["posted_e8"] == 5 * 10**8
        assert ledger.verify().findings == ()


# The bill


def compared(ledger: Book, *spans: tuple[str, str]) -> None:
    """Comparisons with the provider's bill, first one first."""
    with ledger.engine.begin() as connection:
        for seq, (since, until) in enumerate(spans, start=1):
            connection.execute(
                text(
                    "INSERT INTO reconciliations VALUES"
                    " (:book, :seq, :since, :until, :digest, '{}', '{}', 1)"
                ),
                {
                    "book": ledger.book,
                    "seq": seq,
                    "since": span_of(f"{since}/{until}").start_us,
                    "until": span_of(f"{since}/{until}").end_us,
                    "digest": bytes(32),
                },
            )


def broken(ledger: Book, *breaks: tuple[datetime, int, str]) -> None:
    """Breaks: when, the difference, and its status."""
    with ledger.engine.begin() as connection:
        for number, (at, difference_e8, status) in enumerate(breaks):
            connection.execute(
                text(
                    "INSERT INTO breaks (book, id, kind, difference_e8, happened_at_us, evidence,"
                    " status, since_us, until_us, found_seq, seen_seq, changed_at_us) VALUES"
                    " (:book, :id, 'amount', :difference, :at, '{}', :status, 1, 2, 1, 1, 1)"
                ),
                {
                    "book": ledger.book,
                    "id": f"b-{number}",
                    "difference": difference_e8,
                    "at": int(at.timestamp()) * 10**6,
                    "status": status,
                },
            )


@pytest.mark.parametrize(
    ("spans", "seq"),
    [
        ([], None),
        ([("2026-10-01", "2026-11-01")], 1),
        ([("2026-09-01", "2026-12-01")], 1),
        ([("2026-10-01", "2026-11-01"), ("2026-09-01", "2026-12-01")], 2),
        ([("2026-10-01", "2026-10-31")], None),
        ([("2026-10-02", "2026-11-01")], None),
        ([("2026-10-15", "2026-11-01"), ("2026-10-01", "2026-10-15")], 2),
        ([("2026-10-01", "2026-10-20"), ("2026-10-10", "2026-11-05"), ("2026-10-12", "2026-10-13")],
         2),
        ([("2026-10-01", "2026-10-15"), ("2026-10-16", "2026-11-01")], None),
        ([("2026-09-01", "2026-10-01"), ("2026-11-01", "2026-12-01")], None),
        # One that covers it alone stands before two that do so together.
        ([("2026-10-01", "2026-11-01"), ("2026-10-01", "2026-10-15"), ("2026-10-15", "2026-11-02")],
         1),
    ],
)  # fmt: skip
def test_a_period_is_closed_on_the_comparisons_that_cover_it(
    ledger: Book, spans: list[tuple[str, str]], seq: int | None
) -> None:
    compared(ledger, *spans)
    if seq is None:
        with pytest.raises(NotReconciled) as refused:
            ledger.close_period("2026-10")
        assert (refused.value.exit_status, refused.value.start) == (4, "2026-10-01T00:00:00Z")
        assert ledger.periods() == []
        assert close(ledger).reason == f"not reconciled: {WHY}"
    else:
        closed = close(ledger)
        # What was not needed is not kept.
        assert (closed.reconciliation, closed.reason) == (seq, None)


@pytest.mark.parametrize(
    ("breaks", "found"),
    [
        ([(IN_OCTOBER, 5, "open"), (IN_OCTOBER, -150_000_005, "open")], (2, -150_000_000)),
        ([(datetime(2026, 8, 1, tzinfo=UTC), 7, "open")], (1, 7)),
        ([(NOVEMBER, 5, "open")], None),
        ([(IN_OCTOBER, 5, status) for status in ("explained", "adjusted", "written_off")], None),
        ([(IN_OCTOBER, 5, "cleared")], None),
    ],
)
def test_a_period_with_open_breaks_is_closed_for_a_reason_only(
    ledger: Book, breaks: list[tuple[datetime, int, str]], found: tuple[int, int] | None
) -> None:
    compared(ledger, ("2026-10-01", "2026-11-01"))
    broken(ledger, *breaks)
    if found is None:
        assert ledger.close_period("2026-10", with_open_breaks="small").reason is None
        return
    with pytest.raises(OpenBreaks) as refused:
        close(ledger)
    assert (refused.value.exit_status, refused.value.count, refused.value.difference_e8) == (
        4, *found,
    )  # fmt: skip
    assert ledger.periods() == []
    reason = close(ledger, with_open_breaks="the provider looks into it").reason
    assert reason is not None
    assert reason.endswith(": the provider looks into it")
    if found[0] == 2:
        assert reason.startswith("2 open breaks (-1.5 credits): ")


def test_differences_are_added_up_beyond_what_a_column_holds(ledger: Book) -> None:
    largest = 2**63 - 1
    broken(ledger, (IN_OCTOBER, largest, "open"), (IN_OCTOBER, largest, "open"))
    found = reading(ledger, lambda session: open_differences(session, ledger.book, 2**62))
    assert found == OpenDifferences(2, 2 * largest)
    assert reading(ledger, lambda session: covering(session, ledger.book, 0, 1)) is None


def reading(ledger: Book, read: Callable[[Session], Any]) -> Any:
    with ledger._store.reading() as session:
        return read(session)


# What is told later

LATE: list[tuple[str, Callable[[Book, datetime], Any]]] = [
    ("charge", lambda book, at: book.charge("job-1", 30, at=at)),
    ("release", lambda book, at: book.release("job-2", at=at)),
    ("adjust", lambda book, at: book.adjust("studio", -1, key="fix", reason="slip", at=at)),
    ("adjust", lambda book, at: book.adjust("studio", 1, key="fix", reason="slip", at=at)),
    ("top_up", lambda book, at: book.top_up("studio", 9, key="invoice-2", at=at)),
    ("top_up", lambda book, at: book.top_up("new", 9, key="invoice-2", at=at)),
    ("top_up", lambda book, at: book.top_up("new", 9, key="i", at=at, expires="2026-11-01")),
    ("reserve", lambda book, at: book.reserve("studio", 7, key="job-3", at=at)),
    ("reserve", lambda book, at: book.reserve("studio", 7, key="job-3", at=at,
                                              deadline=timedelta(days=1))),
    ("extend", lambda book, at: book.extend("job-1", key="more", amount=2, at=at)),
    ("extend", lambda book, at: book.extend("job-1", key="more", amount=2, at=at,
                                            deadline=timedelta(days=1))),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "tell"), LATE)
def test_a_fact_of_a_closed_period_counts_now_and_names_the_period(
    ledger: Book, clock: Clock, kind: str, tell: Callable[[Book, datetime], Any]
) -> None:
    close(ledger)
    known = before(ledger, NOVEMBER)
    entry = tell(ledger, IN_OCTOBER)
    assert (entry.kind, entry.happened_at, entry.recorded_at) == (kind, clock(), clock())
    assert (entry.corrects, entry.details["at"]) == ("2026-10", "2026-10-20T09:30:00Z")
    assert moment(entry.told_at_us) == IN_OCTOBER
    # The same call is the same call; with another moment it is another one, and says which.
    clock.forward(hours=1)
    assert tell(ledger, IN_OCTOBER) == entry._replace(replayed=True)
    with pytest.raises(KeyReused) as refused:
        tell(ledger, IN_OCTOBER + timedelta(hours=1))
    assert refused.value.differs == {"at": ("2026-10-20T09:30:00Z", "2026-10-20T10:30:00Z")}
    wallets = [line for line in before(ledger, NOVEMBER) if getattr(line, "wallet", "") != "new"]
    assert wallets == known


def test_a_refund_of_a_closed_period_counts_now(ledger: Book, clock: Clock) -> None:
    ledger.charge("job-1", 30, at=IN_OCTOBER)
    close(ledger)
    refund = ledger.refund("job-1", 10, at=IN_OCTOBER)
    assert isinstance(refund, Entry)
    assert (refund.corrects, refund.happened_at) == ("2026-10", clock())
    assert ledger.refund("job-1", 10, at=IN_OCTOBER).replayed


def test_the_first_open_moment_is_no_correction(ledger: Book) -> None:
    close(ledger)
    last = ledger.adjust("studio", 1, key="a", reason="x", at=NOVEMBER - timedelta(microseconds=1))
    first = ledger.adjust("studio", 1, key="b", reason="x", at=NOVEMBER)
    assert (last.corrects, first.corrects) == ("2026-10", None)
    assert last.details["at"] == "2026-10-31T23:59:59.999999Z"
    assert first.happened_at == NOVEMBER


def test_each_closed_period_is_named_by_what_happened_in_it(ledger: Book, clock: Clock) -> None:
    close(ledger)
    clock.forward(days=60)
    close(ledger, "2026-11")
    items = [
        Adjust("studio", 1, f"fix-{at}", "slip", at)
        for at in ("2026-09-30", "2026-10-31", "2026-11-01", "2026-11-30", "2026-12-01")
    ]
    named = [entry.corrects for entry in ledger.batch(items) if isinstance(entry, Entry)]
    assert named == ["2026-10", "2026-10", "2026-11", "2026-11", None]


def test_a_period_that_was_closed_again_under_another_name_is_named_by_that(
    ledger: Book, clock: Clock
) -> None:
    close(ledger)
    clock.forward(days=60)
    at = datetime(2026, 11, 3, tzinfo=UTC)
    named = []
    for period in ("2026-11", "2026-11-01/2026-11-08"):
        close(ledger, period)
        named.append(ledger.adjust("studio", 1, key=period, reason="x", at=at).corrects)
        ledger.reopen_period(period, reason="slip")
    assert named == ["2026-11", "2026-11-01/2026-11-08"]


def test_a_charge_that_was_in_time_is_not_late_because_its_period_is_closed(ledger: Book) -> None:
    ledger.reserve("studio", 5, key="job-4", deadline=datetime(2026, 10, 30, tzinfo=UTC),
                   at=IN_OCTOBER)  # fmt: skip
    close(ledger)
    entry = ledger.charge("job-4", 5, at=datetime(2026, 10, 29, tzinfo=UTC))
    assert isinstance(entry, Entry)
    assert (entry.late, entry.corrects) == (0, "2026-10")


def test_a_message_that_waited_over_the_closing_corrects_its_period(
    ledger: Book, clock: Clock
) -> None:
    clock.now = IN_OCTOBER
    ledger.charge("job-9", 3)
    ledger.charge("job-9", 2, key="given", at=IN_OCTOBER - timedelta(days=1))
    clock.now = datetime(2026, 11, 5, tzinfo=UTC)
    close(ledger)
    ledger.reserve("studio", 5, key="job-9")
    charges = [entry for entry in ledger.history("job-9") if entry.kind == "charge"]
    assert {(entry.key, moment(entry.told_at_us), entry.corrects) for entry in charges} == {
        ("job-9", IN_OCTOBER, "2026-10"),
        ("given", IN_OCTOBER - timedelta(days=1), "2026-10"),
    }
    assert {entry.happened_at for entry in charges} == {clock()}


def test_credits_that_lapsed_in_a_closed_period_leave_now(
    database_url: str, book: str, clock: Clock
) -> None:
    # A hold kept 10 of the gift alive; its release in October is told in November.
    with Book(database_url, book=book, clock=clock) as ledger:
        clock.now = OCTOBER
        ledger.top_up("studio", 10, key="gift", expires=IN_OCTOBER, promotional=True)
        ledger.reserve("studio", 10, key="job-1", deadline=timedelta(days=90))
        clock.now = datetime(2026, 11, 3, tzinfo=UTC)
        close(ledger)
        known = before(ledger, NOVEMBER)
        ledger.release("job-1", at=datetime(2026, 10, 25, tzinfo=UTC))
        (lapse,) = ledger.lapse("studio")
        assert (lapse.kind, lapse.happened_at) == ("lapse", clock())
        assert before(ledger, NOVEMBER) == known
        assert ledger.verify().findings == ()


def test_credits_that_are_told_of_after_they_expired_lapse_when_they_came(
    ledger: Book, clock: Clock
) -> None:
    close(ledger)
    gift = ledger.top_up("new", 9, key="gift", at=IN_OCTOBER, expires="2026-11-02")
    (lapse,) = ledger.lapse("new")
    # They expired on the second; before the third nobody knew that they were there.
    assert (gift.happened_at, lapse.happened_at) == (clock(), clock())
    statement = ledger.statement("new", by="happened")
    assert [line.posted_after for line in statement.lines] == [0, 9, 0]


def test_a_budget_counts_a_late_charge_with_its_job_and_a_late_reserve_now(ledger: Book) -> None:
    ledger.set_budget("studio", "all", 100, key="b-1")
    close(ledger)
    ledger.charge("job-1", 30, at=IN_OCTOBER)
    ledger.reserve("studio", 7, key="job-3", at=IN_OCTOBER)
    (november,) = ledger.budget_status("studio")
    assert (str(november.held), str(november.used)) == ("7", "0")


def test_a_wallet_that_is_opened_later_is_closed_as_well(ledger: Book, clock: Clock) -> None:
    close(ledger)
    opened = ledger.open_wallet("art", credit_limit=5)
    assert opened.details == {
        "credit_limit_e8": 5 * 10**8,
        "closed_until_us": ledger.periods()[0].end_us,
    }
    assert ledger.top_up("art", 9, key="invoice-2", at=IN_OCTOBER).corrects == "2026-10"
    clock.forward(days=60)
    close(ledger, "2026-11")
    assert [entry.kind for entry in ledger.statement("art").entries] == ["open", "top_up", "close"]


def test_a_machine_whose_clock_is_behind_writes_nothing_into_a_closed_period(
    ledger: Book, clock: Clock
) -> None:
    clock.now = NOVEMBER
    close(ledger)
    clock.forward(seconds=-2)  # it is October here, still
    ledger.charge("job-1", 30)
    entry = ledger.statement("studio").entries[-1]
    assert (entry.happened_at, entry.corrects, entry.details.get("at")) == (NOVEMBER, None, None)
    ahead = NOVEMBER + timedelta(seconds=20)
    reserve = ledger.reserve("studio", 1, key="job-3", at=ahead)
    assert (reserve.happened_at, moment(reserve.told_at_us)) == (NOVEMBER, ahead)
    assert ledger.open_wallet("art").happened_at == NOVEMBER
    ledger.set_budget("studio", "all", 100, key="b-1")
    assert ledger.reopen_period("2026-10", reason="slip").action == "reopen"


def test_a_reserve_told_by_a_clock_that_is_ahead_agrees_with_its_hold(
    ledger: Book, clock: Clock
) -> None:
    entry = ledger.reserve("studio", 1, key="job-3", at=clock() + timedelta(seconds=20))
    assert (entry.happened_at, entry.details["at"]) == (clock(), "2026-11-03T12:00:20Z")
    assert ledger.verify().findings == ()


def test_what_a_clock_told_that_is_ahead_is_told_again_where_a_key_is_reused(
    ledger: Book, clock: Clock
) -> None:
    ahead = clock() + timedelta(seconds=20)
    entry = ledger.charge("job-1", 30, at=ahead)
    assert isinstance(entry, Entry)
    assert (entry.happened_at, moment(entry.told_at_us), entry.corrects) == (clock(), ahead, None)
    with pytest.raises(KeyReused) as refused:
        ledger.charge("job-1", 30, at=clock())
    assert refused.value.differs == {"at": ("2026-11-03T12:00:20Z", "2026-11-03T12:00:00Z")}


def test_a_dry_run_of_a_late_reserve_says_that_it_would_correct(ledger: Book) -> None:
    close(ledger)
    entry = ledger.reserve("studio", 1, key="job-3", at=IN_OCTOBER, dry_run=True)
    assert entry.corrects == "2026-10"
    assert ledger.balance("studio").held == 60


def test_a_late_fact_and_a_closing_can_be_the_callers_transaction(ledger: Book) -> None:
    with ledger.engine.connect() as connection:
        joined = ledger.join(connection)
        close(joined)
        assert joined.adjust("studio", 1, key="a", reason="x", at=IN_OCTOBER).corrects == "2026-10"
        connection.rollback()
    assert ledger.periods() == []
    assert ledger.adjust("studio", 1, key="a", reason="x", at=IN_OCTOBER).corrects is None
    with ledger.engine.begin() as connection:
        close(ledger.join(connection))
    assert ledger.adjust("studio", 1, key="b", reason="x", at=IN_OCTOBER).corrects == "2026-10"


def test_another_process_closes_what_is_warm_here(
    ledger: Book, database_url: str, book: str, clock: Clock
) -> None:
    ledger.charge("job-1", 1, at=IN_OCTOBER, final=False)
    with Book(database_url, book=book, clock=clock) as other:
        close(other)
        late = ledger.charge("job-1", 1, key="second", at=IN_OCTOBER, final=False)
        assert isinstance(late, Entry)
        assert late.corrects == "2026-10"
        other.reopen_period("2026-10", reason="slip")
        again = ledger.charge("job-1", 1, key="third", at=IN_OCTOBER, final=False)
        assert isinstance(again, Entry)
        assert (again.corrects, again.happened_at) == (None, IN_OCTOBER)


# Reopening


def test_only_the_last_closed_period_is_reopened_and_for_a_reason(
    ledger: Book, clock: Clock
) -> None:
    with pytest.raises(UnknownPeriod, match="2026-10 is not closed"):
        ledger.reopen_period("2026-10", reason="slip")
    close(ledger)
    clock.forward(days=60)
    close(ledger, "2026-11")
    with pytest.raises(UnknownPeriod, match=r"others after it.*reopened: 2026-11") as refused:
        ledger.reopen_period("2026-10", reason="slip")
    assert (refused.value.exit_status, refused.value.last) == (7, "2026-11")
    again = ledger.reopen_period("2026-11-01/2026-12-01", reason="slip")
    assert (again.seq, again.action, again.name, again.reason) == (3, "reopen", "2026-11", "slip")
    assert ledger.reopen_period("2026-11", reason="slip") == again._replace(replayed=True)
    with pytest.raises(UnknownPeriod, match=r"is open: it was reopened already \(slip\)"):
        ledger.reopen_period("2026-11", reason="typo")
    mark = ledger.statement("studio").entries[-1]
    assert (mark.kind, mark.details["reason"]) == ("reopen", "slip")
    ledger.reopen_period("2026-10", reason="slip")
    assert closed_periods(ledger.periods()) == []
    assert close(ledger).seq == 5


def test_after_reopening_a_late_fact_is_of_the_period_again(ledger: Book, clock: Clock) -> None:
    close(ledger)
    first = ledger.adjust("studio", 1, key="a", reason="x", at=IN_OCTOBER)
    ledger.reopen_period("2026-10", reason="slip")
    second = ledger.adjust("studio", 2, key="b", reason="x", at=IN_OCTOBER)
    assert (second.happened_at, second.corrects) == (IN_OCTOBER, None)
    # What was a correction stays one.
    assert ledger.adjust("studio", 1, key="a", reason="x", at=IN_OCTOBER) == first._replace(
        replayed=True
    )
    assert ledger.balance("studio", before=NOVEMBER, by="happened").posted == 102
    close(ledger)
    mark = ledger.statement("studio").entries[-1]
    assert (mark.details["number"], mark.details["posted_e8"]) == (3, 102 * 10**8)


# The law

DAYS = st.integers(0, 33).map(lambda days: OCTOBER + timedelta(days=days, hours=7))
JOBS = st.sampled_from([f"job-{number}" for number in range(1, 6)])
KEYS = st.integers(0, 10**6).map(str)
CREDITS = st.integers(1, 30 * 10**8).map(lambda e8: f"{e8 // 10**8}.{e8 % 10**8:08d}")
ITEMS: st.SearchStrategy[Item] = st.one_of(
    st.builds(Reserve, st.just("studio"), CREDITS, JOBS, at=DAYS),
    st.builds(Charge, JOBS, CREDITS, key=KEYS, final=st.booleans(), at=DAYS),
    st.builds(Release, JOBS, key=KEYS, at=DAYS),
    st.builds(Refund, JOBS, CREDITS, key=KEYS, at=DAYS),
    st.builds(Extend, JOBS, KEYS, CREDITS, at=DAYS),
    st.builds(
        TopUp,
        st.sampled_from(["studio", "new"]),
        CREDITS,
        KEYS,
        at=DAYS,
        expires=st.sampled_from([None, "2026-11-05T07:00Z"]),
    ),
    st.builds(Adjust, st.just("studio"), CREDITS, KEYS, st.just("slip"), at=DAYS),
)
CALLS = st.lists(st.lists(ITEMS, min_size=1, max_size=4), max_size=8)


def tell(ledger: Book, calls: list[list[Item]], clock: Clock) -> list[Entry]:
    """Make the calls, one by one or in batches; what was written."""
    written = []
    for items in calls:
        clock.forward(hours=5)
        outcomes = ledger.batch(items)
        written += [item for item in outcomes if isinstance(item, Entry) and not item.replayed]
        if len(items) > 1:
            ledger.sweep()
    return written


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_the_figures_of_a_closed_period_never_change(
    engine: str, request: pytest.FixtureRequest
) -> None:
    url = "sqlite://" if engine == "sqlite" else request.getfixturevalue("postgres_url")

    @settings(
        max_examples=40,
        deadline=None,
        print_blob=True,
        # Shrinking takes minutes: every call is a transaction. Add Phase.shrink for it.
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(early=CALLS, late=CALLS, last=CALLS, now_and_then=st.booleans())
    def law(
        early: list[list[Item]], late: list[list[Item]], last: list[list[Item]], now_and_then: bool
    ) -> None:
        clock = Clock()
        clock.now = datetime(2026, 11, 3, 12, tzinfo=UTC)
        with Book(url, book=f"law-{uuid4().hex[:12]}", clock=clock) as ledger:
            ledger.top_up("studio", 100, key="first", at=OCTOBER)
            ledger.top_up("studio", 50, key="gift", at=OCTOBER, expires="2026-10-25")
            tell(ledger, early, clock)
            closed = close(ledger)
            known = known_of(ledger)
            for items in late:
                written = tell(ledger, [items], clock)
                assert known_of(ledger) == known
                for entry in written:
                    told = moment(entry.told_at_us)
                    assert (entry.corrects == "2026-10") == (told < NOVEMBER)
                    assert entry.happened_at == (clock() if told < NOVEMBER else told)
                if now_and_then:
                    assert close(ledger) == closed._replace(replayed=True)
            assert ledger.verify().findings == ()
            ledger.reopen_period("2026-10", reason="slip")
            assert known_of(ledger) == known
            for entry in tell(ledger, last, clock):
                assert entry.corrects is None
                assert entry.happened_at == moment(entry.told_at_us)
            assert ledger.verify().findings == ()

    law()


def known_of(ledger: Book) -> list[Any]:
    """Every figure of the wallets that had one by November, to the digit."""
    statement = ledger.statement("studio", until=NOVEMBER, by="happened")
    balance = ledger.balance("studio", before=NOVEMBER, by="happened")
    return [statement, balance, ledger.trial_balance(before=NOVEMBER, by="happened")]


# Proof

TAMPERED = [
    ("UPDATE wallets SET closed_until_us = NULL WHERE id = 'studio'", "wallet"),
    ("UPDATE wallets SET closed_until_us = closed_until_us - 1 WHERE id = 'art'", "wallet"),
    ("UPDATE wallets SET closed_until_us = 5 WHERE id = 'late'", "wallet"),
    ("DELETE FROM periods", "period"),
    ("DELETE FROM periods WHERE seq = 1", "period"),
    ("DELETE FROM periods WHERE seq = 4", "period"),
    ("UPDATE periods SET name = '2026-09' WHERE seq = 1", "period"),
    ("UPDATE periods SET reason = NULL WHERE seq = 1", "period"),
    ("UPDATE periods SET reason = 'else' WHERE seq = 3", "period"),
    ("UPDATE periods SET reconciliation = 5 WHERE seq = 4", "period"),
    ("UPDATE periods SET timezone = 'Asia/Tokyo' WHERE seq = 4", "period"),
    ("UPDATE periods SET recorded_at_us = 1 WHERE seq = 4", "period"),
    ("UPDATE periods SET end_us = end_us + 1 WHERE seq = 4", "period"),
    ("UPDATE periods SET start_us = start_us + 1 WHERE seq = 2", "period"),
    ("UPDATE periods SET action = 'close' WHERE seq = 3", "period"),
    ("UPDATE periods SET action = 'reopen' WHERE seq = 1", "period"),
    ("UPDATE entries SET happened_at_us = 5 WHERE kind = 'adjust'", "hash"),
    ("UPDATE entries SET facts = NULL WHERE kind = 'close'", "hash"),
    ("DELETE FROM entries WHERE kind = 'reopen'", "sequence"),
]


@pytest.mark.parametrize(("statement", "kind"), TAMPERED)
def test_verify_finds_a_freeze_that_was_tampered_with(
    ledger: Book, database_url: str, clock: Clock, statement: str, kind: str
) -> None:
    mine = f"{ledger.book}-t"
    with Book(database_url, book=mine, clock=clock) as book:
        book.top_up("studio", 100, key="invoice-1", at=OCTOBER)
        book.open_wallet("art")
        close(book)
        clock.forward(days=60)
        close(book, "2026-11")
        book.reopen_period("2026-11", reason="slip")
        book.open_wallet("late")
        book.adjust("studio", 1, key="fix", reason="slip", at=IN_OCTOBER)
        close(book, "2026-11")
        assert book.verify().findings == ()
        where = f"{'AND' if 'WHERE' in statement else 'WHERE'} book = '{mine}'"
        tamper(book.engine, f"{statement} {where}")
        found = book.verify().findings
        assert found[0].kind == kind, found


def test_verify_finds_what_was_written_into_a_closed_period(
    ledger: Book, database_url: str, clock: Clock
) -> None:
    # A book that forgot its freeze for a moment, and wrote sound entries then.
    mine = f"{ledger.book}-t"
    with Book(database_url, book=mine, clock=clock) as book:
        book.top_up("studio", 100, key="invoice-1", at=OCTOBER)
        closed = close(book)
        tamper(book.engine, f"UPDATE wallets SET closed_until_us = NULL WHERE book = '{mine}'")
    with Book(database_url, book=mine, clock=clock) as book:
        inside = book.adjust("studio", 1, key="fix", reason="slip", at=IN_OCTOBER)
        assert inside.corrects is None
        value = closed.end_us
        tamper(book.engine, f"UPDATE wallets SET closed_until_us = {value} WHERE book = '{mine}'")
        (found,) = book.verify().findings
        assert str(found) == (
            "period: wallet 'studio', entry 4: happened in a period that was closed before"
        )


def rewrite_last(ledger: Book, wallet: str, facts: str, more: str = "") -> None:
    """Give the last entry of a wallet other facts, and a chain of hashes that proves them."""
    *before, last = ledger.statement(wallet).entries
    chained = entry_hash(before[-1].hash if before else GENESIS, last._replace(facts=facts))
    literal = (
        f"'\\x{chained.hex()}'" if "postgres" in str(ledger.engine.url) else f"X'{chained.hex()}'"
    )
    for statement in (
        f"UPDATE entries SET facts = '{facts}', hash = {literal} WHERE seq = {last.seq}",
        f"UPDATE wallets SET hash = {literal}{more} WHERE seq = {last.seq}",
    ):
        column = "wallet" if "entries" in statement else "id"
        tamper(ledger.engine, f"{statement} AND {column} = '{wallet}' AND book = '{ledger.book}'")


def test_verify_adds_up_what_a_closing_froze(ledger: Book, database_url: str, clock: Clock) -> None:
    mine = f"{ledger.book}-t"
    with Book(database_url, book=mine, clock=clock) as book:
        book.top_up("studio", 100, key="invoice-1", at=OCTOBER)
        book.reserve("studio", 7, key=f"{mine}-1", at=NOVEMBER)
        close(book)
        facts = str(book.statement("studio").entries[-1].facts)
        assert '"posted_e8":10000000000,"held_e8":0,' in facts
        rewrite_last(book, "studio", facts.replace('"held_e8":0', '"held_e8":5'))
    with Book(database_url, book=mine, clock=clock) as book:
        (found,) = book.verify().findings
        assert str(found) == (
            "period: wallet 'studio', entry 4: froze 10000000000, 5; its entries give"
            " 10000000000, 0"
        )


def test_a_wallet_that_slipped_past_a_closing_is_found_and_caught_up(
    ledger: Book, clock: Clock
) -> None:
    close(ledger)
    # As if it had been opened at the very moment of the closing, which nobody waits for.
    ledger.open_wallet("stray")
    rewrite_last(ledger, "stray", '{"credit_limit_e8":0}', ", closed_until_us = NULL")
    (found,) = ledger.verify().findings
    assert (found.kind, found.wallet) == ("period", "stray")
    assert close(ledger).replayed
    assert ledger.verify().findings == ()
    assert ledger.top_up("stray", 1, key="i", at=IN_OCTOBER).corrects == "2026-10"


# Several at once


def last_month() -> tuple[str, datetime, datetime]:
    """The last month that is over: its name, a moment in it, and its end."""
    end = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    middle = end - timedelta(days=15)
    return f"{middle:%Y-%m}", middle, end


def close_last_month(ledger: Book, worker: int) -> tuple[int, bool]:
    closed = close(ledger, last_month()[0])
    return closed.seq, closed.replayed


def test_two_closers_at_once_close_once(database_url: str, book: str) -> None:
    with Book(database_url, book=book) as ledger:
        for name in ("b", "a", "c"):
            ledger.top_up(name, 10, key=name)
        answers = together(database_url, book, close_last_month, workers=4)
        assert sorted(answers) == [(1, False), (1, True), (1, True), (1, True)]
        assert len(ledger.periods()) == 1
        assert ledger.verify().findings == ()


EACH = 120


def charge_or_close(ledger: Book, worker: int) -> list[tuple[str, str | None]]:
    """What four processes charge in the month that a fifth one closes in the middle of it."""
    name, middle, _ = last_month()
    if worker == 4:
        ledger.verify()
        close(ledger, name)
        return []
    told = []
    for number in range(EACH):
        job = f"{worker}-{number}"
        ledger.reserve("studio", 2, key=job)
        if number % 3:
            entry = ledger.charge(job, 1, at=middle)
        else:
            entry = ledger.charge_many([Charge(job, 1, at=middle)])[0]  # type: ignore[assignment]
        assert isinstance(entry, Entry)
        told.append((job, entry.corrects))
        if number % 40 == 0:
            opened = ledger.top_up(f"wallet-{job}", 1, key=job, at=middle)
            told.append((opened.wallet, opened.corrects))
    return told


def test_a_charge_is_frozen_or_a_correction_while_a_period_is_closed(
    database_url: str, book: str
) -> None:
    name, middle, end = last_month()
    with Book(database_url, book=book) as ledger:
        ledger.top_up("studio", 10_000, key="invoice-1", at=middle)
        told = [item for answer in together(database_url, book, charge_or_close, workers=5)
                for item in answer]  # fmt: skip
        assert ledger.verify().findings == ()
        frozen = [
            entry.details["posted_e8"]
            for balance in ledger.wallets()
            for entry in ledger.statement(balance.wallet).entries
            if entry.kind == "close"
        ]
        then = [
            ledger.balance(balance.wallet, before=end, by="happened").posted_e8
            for balance in ledger.wallets()
        ]
        # Every wallet but those opened later has been told, and each figure is still the same.
        assert sum(frozen) == sum(then)
        kept = [job for job, corrects in told if corrects is None and not job.startswith("w")]
        opened = [job for job, corrects in told if corrects is None and job.startswith("w")]
        assert sum(then) == (10_000 - len(kept) + len(opened)) * 10**8
        assert {corrects for _, corrects in told} <= {None, name}
        assert ledger.balance("studio").posted == 10_000 - 4 * EACH
        assert len(told) == 4 * EACH + 4 * 3


def test_a_closing_waits_for_a_wallet_that_is_being_opened(postgres_url: str, book: str) -> None:
    with Book(postgres_url, book=book) as ledger, ThreadPoolExecutor() as pool:
        ledger.open_wallet("first")
        with ledger.engine.connect() as connection:
            ledger.join(connection).open_wallet("second")
            with Book(named(postgres_url, book), book=book) as other:
                closing = pool.submit(close, other, last_month()[0])
                wait_until_blocked(postgres_url, book)
                connection.commit()
                assert closing.result(timeout=60).seq == 1
        assert ledger.statement("second").entries[-1].kind == "close"
        # And an opening waits for a closing, and begins with what that has left.
        with ledger.engine.connect() as connection:
            assert ledger.join(connection).reopen_period(last_month()[0], reason="slip")
            with Book(named(postgres_url, book), book=book) as other:
                opening = pool.submit(other.open_wallet, "third")
                wait_until_blocked(postgres_url, book)
                connection.commit()
                assert "closed_until_us" not in opening.result(timeout=60).details
        assert ledger.verify().findings == ()


# Speed


def statements(ledger: Book, call: Callable[[], object]) -> list[str]:
    """The statements that a call runs on SQLite."""
    seen: list[str] = []
    connection = ledger._store._kept[0]
    connection.set_trace_callback(seen.append)
    try:
        call()
    finally:
        connection.set_trace_callback(None)
    return [item for item in seen if not item.startswith("--")]


def test_a_reserve_asks_no_more_of_a_book_with_closed_periods(tmp_path: Path) -> None:
    def asked(ledger: Book) -> list[str]:
        ledger.top_up("studio", 100, key="invoice-1", at=OCTOBER)
        close(ledger) if ledger.book == "closed" else None
        ledger.reserve("studio", 1, key="job-1")
        found = statements(ledger, lambda: ledger.reserve("studio", 1, key="job-2"))
        assert found
        return [item.partition(" ")[0] for item in found]

    clock = Clock()
    clock.now = datetime(2026, 11, 3, 12, tzinfo=UTC)
    url = f"sqlite:///{tmp_path / 'speed.db'}"
    with Book(url, book="open", clock=clock) as one, Book(url, book="closed", clock=clock) as other:
        assert asked(one) == asked(other)


def test_many_late_facts_ask_for_the_periods_once(tmp_path: Path) -> None:
    clock = Clock()
    clock.now = datetime(2026, 11, 3, 12, tzinfo=UTC)
    with Book(f"sqlite:///{tmp_path / 'speed.db'}", clock=clock) as ledger:
        ledger.top_up("studio", 100, key="invoice-1", at=OCTOBER)
        close(ledger)
        items = [Adjust("studio", 1, f"fix-{number}", "x", IN_OCTOBER) for number in range(50)]
        found = statements(ledger, lambda: ledger.batch(items))
        assert len([item for item in found if "FROM periods" in item]) == 1

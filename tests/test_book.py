"""The verbs on SQLite and on PostgreSQL; the figures are worked out next to the cases."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine
from writers import NOON, Clock, figures

from ledger import CustomElement, Ledger, MotionControl, PriceBook
from ledger.book import Book, Charge, Refund, Release, Reserve, TopUp
from ledger.book.items import Item
from ledger.errors import (
    BatchRefused,
    BudgetExceeded,
    ChargeAboveHold,
    HoldClosed,
    InsufficientCredits,
    InvalidAmount,
    InvalidBudget,
    InvalidEntry,
    InvalidMoment,
    KeyReused,
    LedgerError,
    RefundAboveCharge,
    StoreLocked,
    UnknownJob,
    UnknownWallet,
    WalletExists,
)
from ledger.records import Entry, Parked


def test_a_job_is_reserved_charged_and_the_rest_goes_back(ledger: Book) -> None:
    ledger.reserve("studio", "40.5", key="job-1")
    assert figures(ledger) == (100, Decimal("40.5"), Decimal("59.5"))
    entry = ledger.charge("job-1", "25.00000001")
    assert isinstance(entry, Entry)
    assert entry.amount == Decimal("25.00000001")
    assert figures(ledger) == (Decimal("74.99999999"), 0, Decimal("74.99999999"))
    assert ledger.hold("job-1").state == "charged"


def test_availability_counts_open_holds(ledger: Book) -> None:
    ledger.reserve("studio", 60, key="job-1")
    with pytest.raises(InsufficientCredits) as refused:
        ledger.reserve("studio", 41, key="job-2")
    assert refused.value.exit_status == 3
    assert (refused.value.needed_e8, refused.value.available_e8) == (41 * 10**8, 40 * 10**8)
    assert refused.value.retryable  # 60 are held, and 41 fit once they come back
    assert figures(ledger) == (100, 60, 40)


def test_a_refusal_does_not_burn_the_key(ledger: Book) -> None:
    with pytest.raises(InsufficientCredits):
        ledger.reserve("studio", 101, key="job-1")
    ledger.top_up("studio", 1, key="invoice-2")
    assert not ledger.reserve("studio", 101, key="job-1").replayed


@pytest.mark.parametrize("again", range(2))
def test_the_same_key_and_content_replays_the_first_result(ledger: Book, again: int) -> None:
    calls: list[Callable[[], Any]] = [
        lambda: ledger.top_up("studio", 5, key="invoice-2"),
        lambda: ledger.reserve("studio", 40, key="job-1", labels={"team": "ads"}),
        lambda: ledger.charge("job-1", 30),
        lambda: ledger.refund("job-1", 10),
        lambda: ledger.adjust("studio", "-1", key="fix-1", reason="typing error"),
    ]
    first: list[Any] = [call() for call in calls]
    before = figures(ledger)
    second = [call() for call in calls]
    assert [entry._replace(replayed=False) for entry in second] == first
    assert all(entry.replayed for entry in second)
    assert figures(ledger) == before == (84, 0, 84)  # 105 - 30 + 10 - 1


def test_a_replay_is_found_before_a_refusal(ledger: Book) -> None:
    first = ledger.reserve("studio", 60, key="job-1")
    assert ledger.reserve("studio", 60, key="job-1") == first._replace(replayed=True)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"amount": 41}, "amount"),
        ({"wallet": "other"}, "wallet"),
        ({"labels": {"team": "art"}}, "labels"),
        ({"policy": "cap"}, "policy"),
        ({"deadline": timedelta(hours=1)}, "deadline"),
        ({"at": NOON - timedelta(hours=1)}, "at"),
    ],
)
def test_another_content_under_a_used_key_names_what_differs(
    ledger: Book, change: dict[str, Any], field: str
) -> None:
    asked: dict[str, Any] = {"wallet": "studio", "amount": 40, "labels": {"team": "ads"}}
    ledger.reserve(key="job-1", **asked)
    with pytest.raises(KeyReused) as refused:
        ledger.reserve(key="job-1", **(asked | change))
    assert list(refused.value.differs) == [field]
    assert figures(ledger) == (100, 40, 60)


@pytest.mark.parametrize(
    ("policy", "taken", "uncollected"),
    [("owe", 130, 0), ("draw", 100, 30), ("cap", 40, 90)],
)
def test_a_charge_above_its_hold_follows_the_holds_policy(
    ledger: Book, policy: Any, taken: int, uncollected: int
) -> None:
    ledger.reserve("studio", 40, key="job-1", policy=policy)
    entry = ledger.charge("job-1", 130)
    assert isinstance(entry, Entry)
    assert (entry.over_e8, entry.uncollected_e8) == (90 * 10**8, uncollected * 10**8)
    assert figures(ledger) == (100 - taken, 0, 100 - taken)


def test_a_hold_that_rejects_more_than_it_holds_writes_nothing(ledger: Book) -> None:
    ledger.reserve("studio", 40, key="job-1", policy="reject")
    with pytest.raises(ChargeAboveHold):
        ledger.charge("job-1", 41)
    assert figures(ledger) == (100, 40, 60)


def test_a_charge_after_the_release_is_recorded_and_late(ledger: Book) -> None:
    ledger.reserve("studio", 40, key="job-1")
    ledger.release("job-1")
    entry = ledger.charge("job-1", 30)
    assert isinstance(entry, Entry)
    assert (entry.late, entry.over_e8) == (1, 0)
    assert figures(ledger) == (70, 0, 70)


def test_a_hold_past_its_deadline_is_unknown_and_still_held(ledger: Book, clock: Clock) -> None:
    ledger.reserve("studio", 40, key="job-1", deadline=timedelta(minutes=5))
    clock.forward(minutes=5)
    now_us = int(clock.now.timestamp()) * 10**6
    assert ledger.hold("job-1").state_at(now_us) == "unknown"
    assert figures(ledger) == (100, 40, 60)
    entry = ledger.charge("job-1", 30)
    assert isinstance(entry, Entry)
    assert entry.late == 1


def test_a_hold_that_releases_at_its_deadline_makes_room_without_a_sweep(
    ledger: Book, clock: Clock
) -> None:
    ledger.reserve("studio", 100, key="job-1", deadline=timedelta(minutes=5), on_deadline="release")
    clock.forward(minutes=6)
    ledger.reserve("studio", 100, key="job-2")
    assert ledger.hold("job-1").state == "released"
    assert figures(ledger) == (100, 100, 0)


def test_void_twice_changes_nothing(ledger: Book) -> None:
    ledger.reserve("studio", 40, key="job-1")
    ledger.release("job-1")
    with pytest.raises(HoldClosed):
        ledger.release("job-1", key="again")
    assert figures(ledger) == (100, 0, 100)


def test_refunds_never_exceed_the_charge(ledger: Book) -> None:
    ledger.reserve("studio", 40, key="job-1")
    ledger.charge("job-1", 30)
    ledger.refund("job-1", 20, key="first")
    with pytest.raises(RefundAboveCharge):
        ledger.refund("job-1", 11, key="second")
    ledger.refund("job-1", key="rest")
    assert figures(ledger) == (100, 0, 100)


def test_a_charge_for_an_unknown_job_waits_for_its_reserve(ledger: Book) -> None:
    assert isinstance(ledger.refund("job-1", 5), Parked)
    assert isinstance(ledger.charge("job-1", 30), Parked)
    assert isinstance(ledger.charge("job-1", 30), Parked)
    assert figures(ledger) == (100, 0, 100)
    ledger.reserve("studio", 40, key="job-1")
    assert figures(ledger) == (75, 0, 75)  # 100 - 30 + 5
    again = ledger.charge("job-1", 30)
    assert isinstance(again, Entry)
    assert again.replayed


def test_a_parked_charge_that_its_hold_rejects_waits_for_a_larger_hold(ledger: Book) -> None:
    ledger.charge("job-1", 50)
    ledger.reserve("studio", 40, key="job-1", policy="reject")
    assert figures(ledger) == (100, 40, 60)
    assert ledger.hold("job-1").parked == 1
    ledger.extend("job-1", key="more", amount=10)
    assert figures(ledger) == (50, 0, 50)
    assert ledger.hold("job-1").parked == 0


def test_a_waiting_charge_can_be_made_again_and_counts_once(ledger: Book) -> None:
    ledger.charge("job-1", 50, key="c")
    ledger.reserve("studio", 40, key="job-1", policy="reject")
    with pytest.raises(ChargeAboveHold):
        ledger.charge("job-1", 50, key="c")
    with pytest.raises(KeyReused, match="amount was 50, now 30"):
        ledger.charge("job-1", 30, key="c")
    ledger.extend("job-1", key="more", amount=10)
    again = ledger.charge("job-1", 50, key="c")
    assert again.replayed
    assert figures(ledger) == (50, 0, 50)


def test_a_refund_parked_before_its_charge_is_applied_with_it(ledger: Book) -> None:
    ledger.refund("job-1", 5, key="r")
    ledger.reserve("studio", 40, key="job-1")
    assert ledger.hold("job-1").parked == 1
    ledger.charge("job-1", 30)
    # 100 - 30 + 5 = 75, and nothing is held.
    assert figures(ledger) == (75, 0, 75)
    assert ledger.refund("job-1", 5, key="r").replayed
    assert figures(ledger) == (75, 0, 75)


def test_a_refund_that_waits_for_its_charge_can_be_made_in_person(ledger: Book) -> None:
    ledger.refund("job-1", 25, key="r")
    ledger.reserve("studio", 40, key="job-1")
    ledger.charge("job-1", 10, key="first", final=False)  # too little to give 25 back
    with pytest.raises(RefundAboveCharge):
        ledger.refund("job-1", 25, key="r")
    with pytest.raises(KeyReused, match="amount was 25, now 5"):
        ledger.refund("job-1", 5, key="r")
    ledger.charge("job-1", 20, key="second", final=False)
    # 100 - 10 - 20 + 25 = 95; 40 - 30 = 10 are still held.
    assert figures(ledger) == (95, 10, 85)


def test_a_key_that_waits_for_one_job_is_refused_for_another(ledger: Book) -> None:
    ledger.charge("job-1", 5, key="k")
    ledger.reserve("studio", 20, key="job-2")
    with pytest.raises(KeyReused, match="job was job-1, now job-2"):
        ledger.charge("job-2", 5, key="k")
    ledger.charge("job-2", 5)
    with pytest.raises(KeyReused, match="job was job-2, now job-3"):
        ledger.charge("job-3", 5, key="job-2")
    ledger.reserve("studio", 20, key="job-1")
    assert figures(ledger) == (90, 0, 90)


def test_a_key_that_waits_is_refused_for_the_job_of_that_name(ledger: Book) -> None:
    ledger.charge("job-1", 5, key="job-2")
    ledger.reserve("studio", 20, key="job-2")
    for _ in range(2):  # also where everything is warm
        with pytest.raises(KeyReused, match="job was job-1, now job-2"):
            ledger.charge("job-2", 7)
    ledger.charge("job-2", 7, key="of its own")
    ledger.reserve("studio", 20, key="job-1")
    assert figures(ledger) == (88, 0, 88)
    assert ledger.inbox() == []


@pytest.mark.parametrize("order", [["z", "a"], ["a", "z"]])
def test_messages_of_one_batch_are_applied_in_its_order(ledger: Book, order: list[str]) -> None:
    # Told after the reserve, the first part of 6 fits the hold of 10, and 8 more do not.
    part, rest = order
    ledger.charge_many([Charge("job-1", 6, None, part, False), Charge("job-1", 8, None, rest)])
    ledger.reserve("studio", 10, key="job-1", policy="reject")
    assert [entry.key for entry in ledger.history("job-1") if entry.kind == "charge"] == [part]
    assert [record.key for record in ledger.inbox()] == [rest]


def test_a_discarded_charge_is_never_applied_and_its_key_stays_taken(ledger: Book) -> None:
    ledger.charge("job-1", 5)
    closed = ledger.discard("charge", "job-1", reason="stray")
    assert (closed.job, closed.discard_reason) == ("job-1", "stray")
    ledger.reserve("studio", 20, key="job-1")
    again = ledger.charge("job-1", 5)
    assert isinstance(again, Parked)
    assert (again.replayed, again.discarded) == (True, "stray")
    with pytest.raises(KeyReused, match="amount was 5, now 6"):
        ledger.charge("job-1", 6)
    ledger.charge("job-1", 6, key="after all")
    assert figures(ledger) == (94, 0, 94)
    assert (ledger.inbox(), ledger.inbox(discarded=True)) == ([], [closed])
    assert ledger.verify().findings == ()


def test_a_job_whose_only_message_was_discarded_can_get_another_one(ledger: Book) -> None:
    ledger.charge("job-1", 5, key="first")
    ledger.discard("charge", "first", reason="stray")
    ledger.charge("job-1", 7, key="second")
    ledger.reserve("studio", 20, key="job-1")
    assert figures(ledger) == (93, 0, 93)
    assert ledger.verify().findings == ()


def test_a_charge_that_its_hold_rejects_can_be_discarded(ledger: Book) -> None:
    ledger.charge("job-1", 50)
    ledger.reserve("studio", 40, key="job-1", policy="reject")
    ledger.discard("charge", "job-1", reason="the provider's mistake")
    ledger.extend("job-1", key="more", amount=10)  # would have let it in
    assert figures(ledger) == (100, 50, 50)


@pytest.mark.parametrize(
    ("kind", "key", "reason"),
    [("reserve", "job-1", "why"), ("charge", "", "why"), ("charge", "job-1", "")],
)
def test_a_discard_that_makes_no_sense_is_refused(
    ledger: Book, kind: str, key: str, reason: str
) -> None:
    ledger.charge("job-1", 5)
    with pytest.raises(InvalidEntry):
        ledger.discard(kind, key, reason=reason)
    assert len(ledger.inbox()) == 1


def test_holds_that_a_batch_finds_past_their_deadline_are_released_in_it(
    ledger: Book, clock: Clock
) -> None:
    # 60 and 30 of 100 are held; their deadlines, 12:00 and 11:50, have passed by 13:00.
    clock.forward(hours=1)
    late = partial(Reserve, "studio", on_deadline="release", at="2026-10-10T11:00:00Z")
    outcomes = ledger.batch(
        [
            late(60, "job-1", deadline=datetime(2026, 10, 10, 12, tzinfo=UTC)),
            late(30, "job-2", deadline=datetime(2026, 10, 10, 11, 50, tzinfo=UTC)),
            Reserve("studio", 90, "job-3"),
            Reserve("studio", 20, "job-4"),
        ]
    )
    assert [type(outcome) for outcome in outcomes] == [Entry, Entry, Entry, InsufficientCredits]
    lines = ledger.statement("studio").entries
    assert [(line.kind, line.job) for line in lines[2:]] == [
        ("reserve", "job-1"),
        ("reserve", "job-2"),
        ("release", "job-2"),
        ("release", "job-1"),
        ("reserve", "job-3"),
    ]


def gift_and_paid(ledger: Book, clock: Clock) -> None:
    """10 of the 110 credits are a gift that expires in an hour."""
    expires = clock() + timedelta(hours=1)
    ledger.top_up("studio", 10, key="gift", expires=expires, promotional=True)


def test_a_job_that_was_admitted_after_the_expiry_keeps_nothing_alive(
    ledger: Book, clock: Clock
) -> None:
    gift_and_paid(ledger, clock)
    ledger.reserve("studio", 10, key="in time")
    clock.forward(hours=2)
    ledger.reserve("studio", 10, key="too late")  # on the paid credits
    ledger.release("in time")
    # 110 - 10 that lapse - 10 held; nothing is written yet.
    assert figures(ledger) == (110, 10, 90)
    assert ledger.balance("studio").lapsing_e8 == 10 * 10**8
    with ledger.engine.begin() as connection:  # as a process that knows nothing yet
        [lapse] = ledger.join(connection).sweep("studio")
    assert (lapse.kind, lapse.posted_e8) == ("lapse", -10 * 10**8)
    assert figures(ledger) == (100, 10, 90)
    ledger.charge("too late", 10)
    assert [(lot.origin, lot.remaining) for lot in ledger.lots("studio")] == [
        ("paid", Decimal(90)),
        ("promotional", Decimal(0)),
    ]


@pytest.mark.parametrize("spend", ["charge", "adjust"])
def test_what_a_hold_keeps_alive_is_taken_by_nothing_else(
    ledger: Book, clock: Clock, spend: str
) -> None:
    gift_and_paid(ledger, clock)
    ledger.reserve("studio", 10, key="kept")
    ledger.reserve("studio", 5, key="given up")
    ledger.release("given up")
    clock.forward(hours=2)
    if spend == "charge":
        ledger.charge("given up", 10, key="late")
    else:
        ledger.adjust("studio", -10, key="slip", reason="slip")
    # It took paid credits, so the gift lapses once its own job is gone.
    ledger.release("kept")
    assert [lapse.amount for lapse in ledger.sweep("studio")] == [10]
    assert figures(ledger) == (90, 0, 90)


def test_a_job_that_was_admitted_in_time_spends_the_expired_credits(
    ledger: Book, clock: Clock
) -> None:
    gift_and_paid(ledger, clock)
    ledger.reserve("studio", 6, key="in time")
    clock.forward(hours=2)
    ledger.charge("in time", 8)  # 6 of the gift, for which it was held, and 2 paid; 4 lapse
    assert [(lot.origin, lot.remaining) for lot in ledger.lots("studio")] == [
        ("paid", Decimal(98)),
        ("promotional", Decimal(0)),
    ]
    assert figures(ledger) == (98, 0, 98)
    assert ledger.verify().findings == ()


def test_what_lapsed_is_the_same_when_one_looks_back(ledger: Book, clock: Clock) -> None:
    gift_and_paid(ledger, clock)
    ledger.reserve("studio", 10, key="in time")
    clock.forward(hours=2)
    ledger.reserve("studio", 20, key="too late")
    ledger.release("in time")
    clock.forward(hours=1)
    then = clock()
    assert ledger.balance("studio").lapsing_e8 == 10 * 10**8
    ledger.sweep("studio")
    assert ledger.balance("studio", before=then).lapsing_e8 == 10 * 10**8
    assert ledger.balance("studio", before=then, by="happened").lapsing_e8 == 0


def test_a_batch_that_opens_two_wallets_alike_refuses_the_second(ledger: Book) -> None:
    first, second = ledger.batch([TopUp("Ads", 1, "a"), TopUp("ads", 1, "b")])
    assert isinstance(first, Entry)
    assert type(second) is WalletExists


def test_a_clock_that_is_a_minute_ahead_of_ours_can_be_told_of(ledger: Book, clock: Clock) -> None:
    ledger.reserve("studio", 20, key="job-1")
    ahead = clock() + timedelta(seconds=60)
    first = ledger.charge("job-1", 5, at=ahead)
    assert isinstance(first, Entry)
    assert (first.happened_at, first.recorded_at) == (clock(), clock())
    clock.forward(seconds=-1)  # the same call again, on a machine that lags
    with pytest.raises(InvalidMoment):
        ledger.charge("job-1", 5, at=ahead)
    clock.forward(seconds=1)
    assert ledger.charge("job-1", 5, at=ahead).replayed
    assert ledger.verify().findings == ()


def test_a_refused_reserve_keeps_what_a_deadline_released(ledger: Book, clock: Clock) -> None:
    ledger.reserve("studio", 50, key="a", deadline=timedelta(minutes=1), on_deadline="release")
    clock.forward(hours=1)
    with pytest.raises(InsufficientCredits):
        ledger.reserve("studio", 101, key="b")
    assert ledger.hold("a").state == "released"
    with pytest.raises(InsufficientCredits):
        ledger.reserve("studio", 101, key="b", dry_run=True)


def test_a_sweep_writes_down_what_time_has_done(ledger: Book, clock: Clock) -> None:
    hour = timedelta(hours=1)
    ledger.top_up("art", 30, key="gift", promotional=True, expires=clock.now + hour)
    ledger.reserve("studio", 50, key="a", deadline=hour, on_deadline="release")
    ledger.reserve("studio", 20, key="b", deadline=hour)
    assert ledger.sweep() == []
    clock.forward(hours=1)
    assert [(entry.wallet, entry.kind) for entry in ledger.sweep()] == [
        ("art", "lapse"),
        ("studio", "release"),
    ]
    assert figures(ledger) == (100, 20, 80)
    assert figures(ledger, "art") == (0, 0, 0)
    assert ledger.sweep("studio") == []
    with pytest.raises(UnknownWallet):
        ledger.sweep("nobody")


def test_a_job_with_a_fixed_price_is_charged_without_a_length(database_url: str, book: str) -> None:
    prices = PriceBook.bundled()
    element = prices.quote(CustomElement(), at="2026-10-10")  # 1 credit a call
    with Ledger(database_url, book=book, prices=prices) as opened:
        opened.top_up("studio", 100, key="t")
        opened.reserve("studio", element, key="element-1")
        charge = opened.charge("element-1")
        assert isinstance(charge, Entry)
        assert charge.amount == 1
        assert opened.charge("element-1").replayed
        with pytest.raises(KeyReused, match="amount was not given, now 1"):
            opened.charge("element-1", 1)
        opened.reserve("studio", 10, key="job-1")
        with pytest.raises(InvalidEntry, match="needs the credits charged"):
            opened.charge("job-1")


def test_extending_a_hold_that_its_deadline_releases_says_so(ledger: Book, clock: Clock) -> None:
    ledger.reserve("studio", 50, key="a", deadline=timedelta(minutes=1), on_deadline="release")
    clock.forward(hours=1)
    with pytest.raises(HoldClosed):
        ledger.extend("a", key="e", amount=80)


def test_credits_lapse_unless_a_hold_keeps_them(ledger: Book, clock: Clock) -> None:
    soon = clock.now + timedelta(hours=1)
    ledger.top_up("studio", 50, key="gift", promotional=True, expires=soon)
    ledger.reserve("studio", 30, key="job-1", deadline=timedelta(hours=9))
    clock.forward(hours=2)
    # 150 posted, 30 held; of the 50 expired the hold keeps 30, so 20 lapse.
    assert figures(ledger) == (150, 30, 100)
    assert [entry.amount for entry in ledger.lapse("studio")] == [20]
    ledger.charge("job-1", 30)
    assert figures(ledger) == (100, 0, 100)


def test_a_budget_refuses_and_says_when_it_frees(ledger: Book) -> None:
    ledger.set_budget("studio", "ads", 50, key="b1", match={"team": "ads"}, period="day")
    ledger.reserve("studio", 30, key="job-1", labels={"team": "ads"})
    with pytest.raises(BudgetExceeded) as refused:
        ledger.reserve("studio", 21, key="job-2", labels={"team": "ads"})
    blocked = refused.value.blocking[0]
    assert (blocked.limit, blocked.available_e8, blocked.held_e8) == ("ads", 20 * 10**8, 30 * 10**8)
    assert blocked.frees_at == "2026-10-11T00:00:00Z"
    ledger.reserve("studio", 21, key="job-2", labels={"team": "art"})


def test_each_user_has_the_limit_to_themselves(ledger: Book) -> None:
    ledger.set_budget("studio", "each", 20, key="b1", match={"user": "*"}, period="month")
    ledger.reserve("studio", 20, key="job-1", labels={"user": "li"})
    ledger.reserve("studio", 20, key="job-2", labels={"user": "bo"})
    with pytest.raises(BudgetExceeded, match="for user=li"):
        ledger.reserve("studio", 1, key="job-3", labels={"user": "li"})


def test_a_refund_gives_room_back_to_the_budget(ledger: Book) -> None:
    ledger.set_budget("studio", "all", 50, key="b1", period="lifetime")
    ledger.reserve("studio", 50, key="job-1")
    ledger.charge("job-1", 50)
    with pytest.raises(BudgetExceeded):
        ledger.reserve("studio", 1, key="job-2")
    ledger.refund("job-1")
    ledger.reserve("studio", 50, key="job-2")


def test_a_budget_set_later_counts_what_was_spent(ledger: Book) -> None:
    ledger.reserve("studio", 30, key="job-1")
    ledger.charge("job-1", 30)
    ledger.set_budget("studio", "all", 40, key="b1", period="month")
    with pytest.raises(BudgetExceeded):
        ledger.reserve("studio", 11, key="job-2")


def test_a_threshold_is_reported_once(ledger: Book) -> None:
    ledger.set_budget("studio", "all", 100, key="b1", period="month", thresholds=[50, 80])
    assert ledger.reserve("studio", 49, key="job-1").crossed == ()
    assert [item.percent for item in ledger.reserve("studio", 1, key="job-2").crossed] == ["50"]
    ledger.release("job-2")
    assert ledger.reserve("studio", 1, key="job-3").crossed == ()
    assert [item.percent for item in ledger.reserve("studio", 40, key="job-4").crossed] == ["80"]


def test_a_rolling_budget_frees_when_the_oldest_step_leaves(ledger: Book, clock: Clock) -> None:
    ledger.set_budget("studio", "hourly", 50, key="b1", period="rolling", rolling_seconds=3600)
    ledger.reserve("studio", 50, key="job-1")
    clock.forward(minutes=60)
    with pytest.raises(BudgetExceeded) as refused:
        ledger.reserve("studio", 1, key="job-2")
    assert refused.value.blocking[0].frees_at == "2026-10-10T13:01:00Z"
    clock.forward(minutes=1)
    ledger.reserve("studio", 50, key="job-2")


def test_a_dry_run_writes_nothing(ledger: Book) -> None:
    assert ledger.reserve("studio", 40, key="job-1", dry_run=True).amount == 40
    assert figures(ledger) == (100, 0, 100)
    with pytest.raises(InsufficientCredits):
        ledger.reserve("studio", 101, key="job-1", dry_run=True)


def test_a_batch_gives_one_outcome_per_item_in_order(ledger: Book) -> None:
    outcomes = ledger.batch(
        [
            Reserve("studio", 60, "job-1"),
            Reserve("studio", 60, "job-2"),
            Reserve("studio", 60, "job-1"),
            Charge("job-1", 50),
            Reserve("studio", 50, "job-3"),
            Release("job-3"),
            Refund("job-1", 10),
            Reserve("nowhere", 1, "job-4"),
        ]
    )
    kinds = [item.code if isinstance(item, LedgerError) else item.key for item in outcomes]
    assert kinds == [
        "job-1",
        "insufficient_credits",
        "job-1",
        "job-1",
        "job-3",
        "job-3",
        "job-1",
        "unknown_wallet",
    ]
    assert isinstance(outcomes[2], Entry)
    assert outcomes[2].replayed
    assert figures(ledger) == (60, 0, 60)


def test_a_message_parked_in_a_batch_is_applied_by_a_later_item_of_it(ledger: Book) -> None:
    ledger.batch([Charge("job-1", 30), Reserve("studio", 40, "job-1"), Refund("job-1", 5)])
    assert figures(ledger) == (75, 0, 75)
    assert ledger.hold("job-1").state == "charged"


def test_an_atomic_batch_is_all_or_nothing(ledger: Book) -> None:
    with pytest.raises(BatchRefused) as refused:
        ledger.batch([Reserve("studio", 60, "job-1"), Reserve("studio", 60, "job-2")], atomic=True)
    assert refused.value.index == 1
    assert figures(ledger) == (100, 0, 100)


def test_a_long_batch_is_the_same_as_one_by_one(ledger: Book) -> None:
    outcomes = ledger.batch([Reserve("studio", "0.2", f"job-{n}") for n in range(400)])
    assert all(isinstance(item, Entry) for item in outcomes)
    assert figures(ledger) == (100, 80, 20)
    ledger.batch([Charge(f"job-{n}", "0.1") for n in range(400)])
    assert figures(ledger) == (60, 0, 60)
    assert [entry.seq for entry in ledger.statement("studio").entries] == list(range(1, 803))


def test_unknown_names_are_errors_with_suggestions(ledger: Book) -> None:
    with pytest.raises(UnknownWallet, match="did you mean 'studio'"):
        ledger.reserve("studoi", 1, key="job-1")
    ledger.reserve("studio", 1, key="job-1")
    with pytest.raises(UnknownJob, match="did you mean 'job-1'"):
        ledger.release("job-11")


def test_two_wallets_may_not_differ_only_in_case(ledger: Book) -> None:
    with pytest.raises(WalletExists, match="'studio'"):
        ledger.top_up("Studio", 5, key="invoice-2")


@pytest.mark.parametrize(
    "amount",
    [1.5, float("nan"), Decimal("NaN"), Decimal("Infinity"), -1, 0, "1e30", "0.123456789", 10**30],
)
def test_an_amount_that_is_not_exact_and_positive_is_refused(ledger: Book, amount: Any) -> None:
    with pytest.raises(InvalidAmount):
        ledger.reserve("studio", amount, key="job-1")


@pytest.mark.parametrize("key", ["", "x" * 10_240, "a\0b", "a\nb", "\ud800", 7])
def test_a_key_that_cannot_be_stored_is_refused(ledger: Book, key: Any) -> None:
    with pytest.raises(InvalidEntry):
        ledger.reserve("studio", 1, key=key)


@pytest.mark.parametrize("text", ["👩‍💻", "'; DROP TABLE entries; --", "%s ? :x", "ключ"])
def test_any_other_text_is_only_a_text(ledger: Book, text: str) -> None:
    ledger.reserve("studio", 1, key=text, labels={text: text})
    ledger.charge(text, 1)
    assert ledger.hold(text).labels == f'{{"{text}":"{text}"}}'


def test_the_largest_balance_fits_and_no_more(ledger: Book) -> None:
    most = Decimal(2**63 - 1).scaleb(-8)
    ledger.top_up("rich", most, key="all")
    with pytest.raises(InvalidAmount):
        ledger.top_up("rich", "0.00000001", key="more")
    assert ledger.balance("rich").posted == most


def test_a_rolling_window_is_not_a_microsecond_too_short(ledger: Book, clock: Clock) -> None:
    # 61 s are no whole number of sixtieths in microseconds; reserved at the end of a step, the
    # first job leaves the window no earlier than 61 s later.
    ledger.set_budget("studio", "r", 10, key="b", period="rolling", rolling_seconds=61)
    step_us = ledger.budgets("studio")[0].step_us
    into_us = (clock() - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) % step_us
    clock.forward(microseconds=step_us - 1 - into_us)
    ledger.reserve("studio", 10, key="first")
    clock.forward(seconds=61, microseconds=-30)
    with pytest.raises(BudgetExceeded):
        ledger.reserve("studio", 10, key="second")


@pytest.mark.parametrize(
    "odd", [{"hard": Decimal("sNaN")}, {"hard": 1}, {"timezone": (1, 2)}, {"timezone": "localtime"}]
)
def test_a_budget_with_a_value_that_is_none_is_refused(ledger: Book, odd: dict[str, Any]) -> None:
    with pytest.raises(InvalidBudget):
        ledger.set_budget("studio", "b", 10, key="b", **odd)


@pytest.mark.parametrize("title", ["a\ud800", None, 5, "x" * 999, ""])
def test_the_name_of_a_budget_to_remove_must_be_one(ledger: Book, title: Any) -> None:
    with pytest.raises(InvalidEntry):
        ledger.remove_budget("studio", title, key="b")


def test_a_rolling_budget_counts_what_a_faster_clock_has_taken(
    database_url: str, book: str
) -> None:
    def opened(seconds: int) -> Book:
        return Book(database_url, book=book, clock=lambda: NOON + timedelta(seconds=seconds))

    with opened(2) as ahead, opened(0) as behind:
        ahead.top_up("studio", 1_000, key="t")
        ahead.set_budget("studio", "r", 100, key="b", period="rolling", rolling_seconds=60)
        ahead.reserve("studio", 60, key="a")
        with pytest.raises(BudgetExceeded):
            behind.reserve("studio", 41, key="b")
        behind.reserve("studio", 40, key="b")
        with pytest.raises(BudgetExceeded):
            ahead.reserve("studio", 1, key="c", at=NOON - timedelta(seconds=30))
        assert ahead.verify().findings == ()


def test_a_rolling_budget_forgets_the_steps_that_have_passed(ledger: Book, clock: Clock) -> None:
    ledger.set_budget("studio", "r", 10, key="b", period="rolling", rolling_seconds=60)
    for number in range(400):
        ledger.reserve("studio", "0.1", key=f"{number}")
        clock.forward(seconds=1)
    # 61 steps of a second count, 6.1 credits; what is kept of them is a few times as many.
    assert ledger.budget_status("studio")[0].held == Decimal(6)
    assert len(ledger._warm._wallets["studio"].series["r", "[]"]) < 300


def test_a_batch_may_go_back_to_steps_that_have_long_passed(ledger: Book, clock: Clock) -> None:
    ledger.top_up("studio", 1_000, key="t")
    ledger.set_budget("studio", "r", 1_000, key="b", period="rolling", rolling_seconds=60)
    ledger.reserve_many([Reserve("studio", 1, job) for job in ("old-1", "old-2")])
    for number in range(300):
        clock.forward(seconds=1)
        ledger.reserve("studio", 1, key=f"new-{number}")
    outcomes = ledger.charge_many([Charge("old-1", 1), Charge("new-299", 1), Charge("old-2", 1)])
    assert [type(outcome) for outcome in outcomes] == [Entry, Entry, Entry]
    assert ledger.verify().findings == ()
    ledger.refund("old-1")
    ledger.refund("old-2")


def test_thresholds_of_a_rolling_budget_count_all_its_steps(ledger: Book, clock: Clock) -> None:
    ledger.reserve("studio", 40, key="a")
    clock.forward(seconds=5)
    ledger.reserve("studio", 40, key="b")
    entry = ledger.set_budget(
        "studio", "r", 100, key="r", period="rolling", rolling_seconds=60, thresholds=[50, 90]
    )
    assert [crossing.percent for crossing in entry.crossed] == ["50"]
    clock.forward(seconds=1)
    assert [item.percent for item in ledger.reserve("studio", 10, key="c").crossed] == ["90"]


def test_what_a_budget_cannot_count_changes_nothing(ledger: Book) -> None:
    most = "80000000000"
    for number in (1, 2):
        ledger.top_up("art", most, key=f"t{number}")
        if number == 1:
            ledger.set_budget("art", "all", 5, key="b", period="lifetime", hard=False)
            ledger.reserve("art", most, key="j1")
            ledger.charge("j1", most)
    ledger.reserve_many([Reserve("art", 10, "j2"), Reserve("art", 10, "j3")])
    # 80 and 50 billion are more than the budget's column holds.
    outcomes = ledger.batch([Charge("j2", "50000000000"), Charge("j3", 10)])
    assert [type(outcome) for outcome in outcomes] == [InvalidAmount, Entry]


def test_an_item_that_cannot_be_read_costs_its_batch_nothing(ledger: Book) -> None:
    items: list[Item] = [Reserve("studio", 1, "ok"), Charge("a\ud800b", 1)]
    items.append(Reserve("a\0b", 1, "c"))
    outcomes = ledger.batch([*items, Release("ok", key="\0"), Release("ok")])
    kinds = [type(outcome) for outcome in outcomes]
    assert kinds == [Entry, InvalidEntry, InvalidEntry, InvalidEntry, Entry]


def test_an_hour_is_found_again_where_clocks_move_by_half_of_one(
    ledger: Book, clock: Clock
) -> None:
    # On Lord Howe Island 01:30 to 02:00 came twice on 5 April 2026, from 14:30 UTC on.
    clock.now = datetime(2026, 4, 4, 14, 40, tzinfo=UTC)
    ledger.top_up("howe", 100, key="t")
    ledger.set_budget("howe", "h", 100, key="b", period="hour", timezone="Australia/Lord_Howe")
    ledger.reserve("howe", 10, key="j")
    clock.forward(minutes=35)
    ledger.reserve("howe", 10, key="k")
    ledger.charge("j", 10)


def test_a_refund_that_pays_a_debt_leaves_the_lots_right(ledger: Book) -> None:
    ledger.reserve("studio", 50, key="a")
    ledger.reserve("studio", 50, key="b")
    ledger.charge("a", 50)
    ledger.charge("b", 100)
    assert figures(ledger) == (-50, 0, -50)
    ledger.refund("a")
    assert figures(ledger) == (0, 0, 0)
    assert ledger.verify().findings == ()
    ledger.top_up("studio", 30, key="t")
    ledger.refund("b", 20)
    assert figures(ledger) == (50, 0, 50)


def test_a_draw_takes_all_that_its_hold_has_set_aside(ledger: Book) -> None:
    ledger.top_up("studio", 100, key="t")
    ledger.reserve("studio", 100, key="j", policy="draw")
    ledger.charge("j", 150, final=False, key="c1")
    ledger.extend("j", key="x", amount=50)
    entry = ledger.charge("j", 50, key="c2")
    assert isinstance(entry, Entry)
    assert (str(entry.amount), entry.over_e8, entry.uncollected_e8) == ("50", 0, 0)
    assert figures(ledger) == (0, 0, 0)
    nothing = ledger.charge("j", 5, key="c3")
    assert isinstance(nothing, Entry)
    # Late, and nothing is left to draw: 5 are owed to the provider and stand as uncollected.
    assert (nothing.posted_e8, str(nothing.amount)) == (0, "0")
    assert (nothing.uncollected_e8, nothing.late) == (5 * 10**8, 1)


def test_a_dry_run_knows_the_keys_that_were_used(ledger: Book) -> None:
    first = ledger.reserve("studio", 40, key="j")
    with pytest.raises(KeyReused):
        ledger.reserve("studio", 41, key="j", dry_run=True)
    again = ledger.reserve("studio", 40, key="j", dry_run=True)
    assert again == first._replace(replayed=True)


def test_credits_that_came_back_late_lapse_when_they_came(ledger: Book, clock: Clock) -> None:
    ledger.top_up("art", 100, key="t", expires=clock.now + timedelta(days=1))
    ledger.reserve("art", 100, key="j")
    ledger.charge("j", 100)
    clock.forward(days=3)
    ledger.refund("j")
    clock.forward(days=1)
    (entry,) = ledger.lapse("art")
    assert entry.happened_at == NOON + timedelta(days=3)
    for day in range(5):
        before = NOON + timedelta(days=day)
        assert ledger.balance("art", before=before, by="happened").posted_e8 >= 0


def test_time_is_told_to_whoever_asks_though_another_wrote_last(
    database_url: str, book: str, clock: Clock
) -> None:
    with (
        Book(database_url, book=book, clock=clock) as one,
        Book(database_url, book=book, clock=clock) as two,
    ):
        one.top_up("studio", 1, key="t1")
        two.top_up("studio", 50, key="t2", expires=clock.now + timedelta(hours=1))
        clock.forward(hours=2)
        assert [entry.posted_e8 for entry in one.lapse("studio")] == [-50 * 10**8]


def test_a_threshold_that_is_reached_when_a_budget_is_set_is_told_at_once(ledger: Book) -> None:
    ledger.reserve("studio", 80, key="j")
    entry = ledger.set_budget("studio", "b", 100, key="b", thresholds=[50, 90])
    assert [crossing.percent for crossing in entry.crossed] == ["50"]
    assert [item.percent for item in ledger.reserve("studio", 10, key="k").crossed] == ["90"]
    assert ledger.set_budget("studio", "b", 100, key="b", thresholds=[50, 90]).replayed


def test_a_refusal_says_that_waiting_helps_only_where_it_does(ledger: Book, clock: Clock) -> None:
    hour = timedelta(hours=1)
    ledger.top_up("art", 50, key="t", expires=clock.now + hour)
    ledger.reserve("art", 50, key="j")
    clock.forward(hours=2)
    with pytest.raises(InsufficientCredits) as refused:
        ledger.reserve("art", 10, key="k")  # what the hold gives back lapses at once
    assert not refused.value.retryable
    ledger.set_budget("studio", "d", 10, key="b", period="day")
    with pytest.raises(BudgetExceeded) as full:
        ledger.reserve("studio", 11, key="l")
    assert full.value.blocking[0].frees_at is None  # more than the limit never fits
    ledger.reserve("studio", 10, key="m")
    clock.forward(days=1)
    with pytest.raises(BudgetExceeded) as past:
        ledger.reserve("studio", 1, key="n", at=clock.now - timedelta(days=1))
    assert past.value.blocking[0].frees_at is None  # that day is over, and stays full


def test_no_key_of_a_callers_is_one_that_the_book_makes_by_itself(
    ledger: Book, clock: Clock
) -> None:
    for job in ("a", "b"):
        ledger.reserve("studio", 10, key=job, deadline=timedelta(hours=1), on_deadline="release")
    ledger.release("a", key="b@6")
    clock.forward(hours=2)
    assert [entry.job for entry in ledger.sweep()] == ["b"]


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda book: book.reserve("studio", 1, key="j", at="1960-01-01"), "before 1970"),
        (lambda book: book.charge("j", 1, final="no"), "true or false"),
        (lambda book: book.charge("nobody"), "nobody has reserved"),
        (lambda book: book.set_budget("studio", "b", 1, key="k", thresholds=5), "a list"),
        (lambda book: book.set_budget("studio", "b", 1, key="k", hard="no"), "true or false"),
        (lambda book: book.set_budget("studio", "b", 1, key="k", timezone="Berlin"), "Europe/B"),
        (lambda book: book.top_up("studio", 1, key="k "), "end with a space"),
        (lambda book: book.top_up("stu\u200bdio", 1, key="k"), "cannot be seen"),
        (lambda book: book.top_up("\u202eoiduts", 1, key="k"), "cannot be seen"),
        (lambda book: book.top_up("\u200d", 1, key="k"), "nothing that can be seen"),
        (lambda book: book.balance("Studio"), "did you mean 'studio'"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_words(
    ledger: Book, call: Callable[[Book], Any], error: str
) -> None:
    with pytest.raises(LedgerError, match=error):
        call(ledger)
    with pytest.raises(UnknownJob):
        ledger.hold("j")


def test_a_clock_without_a_time_zone_is_refused(sqlite_url: str) -> None:
    with (
        Book(sqlite_url, clock=lambda: datetime(2026, 10, 10)) as careless,  # noqa: DTZ001
        pytest.raises(InvalidMoment, match="time zone"),
    ):
        careless.top_up("studio", 1, key="t")


def test_a_book_in_memory_leaves_the_callers_transaction_alone() -> None:
    with Book("sqlite://") as ledger:
        ledger.top_up("studio", 100, key="t")
        with ledger.engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE orders (job TEXT)")
            with pytest.raises(StoreLocked, match="join"):
                ledger.reserve("studio", 1, key="j")
            connection.exec_driver_sql("INSERT INTO orders VALUES ('j')")
        with ledger.engine.connect() as connection:
            assert connection.exec_driver_sql("SELECT job FROM orders").scalar() == "j"


TAMPERED = [
    ("UPDATE wallets SET posted_e8 = posted_e8 + 1 WHERE id = 'studio'", "wallet"),
    ("UPDATE wallets SET held_e8 = held_e8 + 1 WHERE id = 'studio'", "wallet"),
    ("UPDATE wallets SET credit_limit_e8 = 5 WHERE id = 'studio'", "wallet"),
    ("UPDATE wallets SET expires_at_us = NULL WHERE id = 'studio'", "wallet"),
    ("UPDATE wallets SET budgets_seq = 0 WHERE id = 'studio'", "wallet"),
    ("UPDATE wallets SET recorded_at_us = 0 WHERE id = 'studio'", "wallet"),
    ("UPDATE holds SET charged_e8 = charged_e8 + 1 WHERE job = 'job-1'", "hold"),
    ("UPDATE holds SET labels = '{}' WHERE job = 'job-1'", "hold"),
    ("UPDATE holds SET terms = '{}' WHERE job = 'job-1'", "hold"),
    ("UPDATE holds SET policy = 'cap' WHERE job = 'job-1'", "hold"),
    ("UPDATE holds SET deadline_us = deadline_us + 1 WHERE job = 'job-1'", "hold"),
    ("UPDATE holds SET deadline_us = deadline_us + 1 WHERE job = 'job-2'", "hold"),
    ("UPDATE holds SET reserved_at_us = 5 WHERE job = 'job-1'", "hold"),
    ("UPDATE holds SET state = 'released' WHERE job = 'job-1'", "hold"),
    ("UPDATE holds SET state = 'open' WHERE job = 'job-1'", "hold"),
    ("UPDATE holds SET lots = '{\"1\":99000000000}' WHERE job = 'job-1'", "hold"),
    ("UPDATE holds SET lots = 'x' WHERE job = 'job-1'", "hold"),
    ("UPDATE holds SET lots = NULL WHERE job = 'job-1'", "hold"),
    ("UPDATE holds SET labels = 'x' WHERE job = 'job-1'", "hold"),
    ("UPDATE holds SET wallet = 'art' WHERE job = 'job-1'", "hold"),
    ("UPDATE holds SET parked = 0 WHERE job = 'job-2'", "inbox"),
    ("UPDATE holds SET parked = 1 WHERE job = 'job-1'", "inbox"),
    ("DELETE FROM holds WHERE job = 'job-1'", "hold"),
    ("UPDATE lots SET used_e8 = used_e8 + 1", "lot"),
    ("UPDATE lots SET granted_e8 = granted_e8 + 1", "lot"),
    ("UPDATE lots SET cash_e8 = 5, currency = 'USD'", "lot"),
    ("UPDATE lots SET origin = 'promotional'", "lot"),
    ("UPDATE lots SET granted_at_us = 0", "lot"),
    ("DELETE FROM lots", "wallet"),
    ("UPDATE wallets SET folded = 'else' WHERE id = 'studio'", "wallet"),
    ("DELETE FROM wallets WHERE id = 'studio'", "wallet"),
    ("UPDATE windows SET used_e8 = used_e8 + 1", "window"),
    ("UPDATE windows SET peak_e8 = 0", "window"),
    ("UPDATE windows SET end_us = end_us + 1", "window"),
    ("UPDATE windows SET budget = 'other'", "window"),
    ("DELETE FROM windows", "window"),
    ("UPDATE budgets SET limit_e8 = limit_e8 + 1", "budget"),
    ("UPDATE budgets SET removed = 1", "budget"),
    ("UPDATE budgets SET selector = 'x'", "budget"),
    ("UPDATE budgets SET timezone = 'x'", "budget"),
    ("DELETE FROM budgets", "budget"),
    ("UPDATE inbox SET applied = 1 WHERE job = 'job-2'", "inbox"),
    ("UPDATE inbox SET content = replace(content, '3', '2') WHERE job = 'job-2'", "inbox"),
    ("UPDATE inbox SET job = 'job-1' WHERE job = 'job-2'", "inbox"),
    ("UPDATE inbox SET content = 'x' WHERE job = 'job-2'", "inbox"),
    ("UPDATE inbox SET content = '[]' WHERE job = 'job-2'", "inbox"),
    ("DELETE FROM inbox WHERE job = 'job-2'", "inbox"),
    ("DELETE FROM inbox WHERE job = 'job-3'", "inbox"),
    ("UPDATE entries SET posted_e8 = posted_e8 - 1 WHERE kind = 'charge'", "hash"),
    ("UPDATE entries SET facts = 'x' WHERE kind = 'charge'", "hash"),
    ("UPDATE entries SET job = NULL WHERE kind = 'charge'", "hash"),
    ("UPDATE entries SET happened_at_us = 0 WHERE kind = 'reserve'", "hash"),
    ("DELETE FROM entries WHERE kind = 'charge'", "sequence"),
    ("DELETE FROM entries WHERE seq > 6 AND wallet = 'studio'", "wallet"),
]


@pytest.mark.parametrize(("statement", "kind"), TAMPERED)
def test_verify_finds_what_was_tampered_with(
    database_url: str, book: str, statement: str, kind: str
) -> None:
    with Book(database_url, book=book) as ledger:
        expires = datetime.now(UTC) + timedelta(days=3)
        ledger.top_up("studio", 100, key="invoice-1", expires=expires)
        ledger.open_wallet("art")
        ledger.set_budget("studio", "all", 90, key="b1")
        ledger.charge("job-2", 33)
        ledger.charge("job-3", 1)
        ledger.reserve("studio", 40, key="job-1", labels={"team": "ads"})
        ledger.charge("job-1", 30)
        ledger.reserve("studio", 20, key="job-2", policy="reject")
        ledger.extend("job-2", key="later", deadline=timedelta(days=2))
        assert ledger.verify().findings == ()
        where = f"{'AND' if 'WHERE' in statement else 'WHERE'} book = '{book}'"
        tamper(ledger.engine, f"{statement} {where}")
    with Book(database_url, book=book) as ledger:
        found = ledger.verify().findings
        assert found[0].kind == kind, found


def tamper(engine: Engine, statement: str) -> None:
    """Change rows behind the back of every guard that the database has."""
    # An engine of no rules: SQLite keeps foreign keys only for who asks for it.
    lawless = create_engine(engine.url)
    with lawless.begin() as connection:
        if engine.dialect.name == "sqlite":
            query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
            for trigger in connection.exec_driver_sql(query).scalars().all():
                connection.exec_driver_sql(f"DROP TRIGGER {trigger}")
        else:
            connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        assert connection.exec_driver_sql(statement).rowcount > 0
    lawless.dispose()


def test_a_charge_by_seconds_is_priced_as_its_hold_was_quoted(database_url: str, book: str) -> None:
    prices = PriceBook.bundled()
    job = MotionControl(
        quality="1080p",
        character_orientation="video",
        reference_seconds="12.4",
        prompt="a secret",
        video_urls=["https://example.com/private.mp4"],
    )
    with Ledger(database_url, book=book, prices=prices) as ledger:
        ledger.top_up("studio", 1_000, key="invoice-1")
        hold = ledger.reserve("studio", prices.quote(job, at="2026-10-10"), key="job-1")
        assert hold.amount == Decimal("141.5939616")  # 13 s × 10.8918432
        entry = ledger.charge("job-1", seconds="9.2")
        assert isinstance(entry, Entry)
        assert entry.amount == Decimal("108.918432")  # 10 s × 10.8918432
        assert figures(ledger) == (Decimal("891.081568"), 0, Decimal("891.081568"))
        kept = str(ledger.hold("job-1"))
        assert "kling-v3-motion-control" in kept
        assert "secret" not in kept
        assert "example.com" not in kept


def test_a_hold_without_a_quote_cannot_be_charged_by_seconds(ledger: Book) -> None:
    ledger.reserve("studio", 40, key="job-1")
    with pytest.raises(InvalidEntry, match="no price"):
        ledger.charge("job-1", seconds=5)

"""What went wrong elsewhere does not go wrong here: one test per defect, named with its project.

Amounts, prices, budgets and lots stand in test_rivals_more. The numbers are issues and pull
requests of the projects named. What they reported and does not apply to a book like this one:

- stalls, rates and waiting (TigerBeetle #3915, #1940, #2809, #461; AI-Horde #536; ouroboros #456;
  hordak #40, #126; CockroachDB #14670): questions of speed, answered by the benchmarks; that
  nothing is summed or read again is tested here.
- prices as such (LiteLLM #23503, #1416, #20615, #21907; OpenAnt #216; headroom #3048; Kill Bill
  #1601; tokencost): the tests of prices and pricing; that nothing is reserved without a price is
  tested in test_rivals_more.
- forecasts, files and reports (hledger #2561, #1265, #2058, #742; beancount #828, #246; Infracost
  #1260, #2966, #3382, #3051; OpenCost #2092, #3894; Kubecost #2402, #4854; FOCUS #2550, #2617;
  ccusage #1785; spreadsheets): no part of a book.
- products or parts that a book does not have: subscriptions, recurring grants and rollover
  (OpenMeter #3293, #1344; Polar #10513; LiteLLM #32603), invoices at thresholds (Lago #3338),
  exchange rates inside a hold (Blnk #55), identities, queues and distributions (Blnk #90, #99 is
  a batch), metadata queries (Formance #257; TigerBeetle #28, #2105), seals over blocks of rows
  (Formance's migration 53; here each wallet has its own chain).
- a hold that settles by itself on a date (Blnk #277): a book invents no outcome, so a deadline
  makes it unknown, or releases it where that was agreed. That its credits are set aside until
  then is tested here.
- a crash that breaks the book (immudb 1.11.1; eliza's charge outside the transaction): test_crash;
  a hold that cannot be written (LiteLLM #33923): test_broken_stores; races of processes
  (LiteLLM #34732, #26672, #40095; new-api #6609; Formance #364): test_concurrency and here;
  rows that a query of several conditions left out (Jepsen's finding in TigerBeetle): test_reading.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from itertools import chain
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import Pool
from writers import NOON, Clock, figures, row_locked, with_options

from ledger.book import Adjust, Book, Charge, Refund, Release, Reserve, TopUp
from ledger.book.items import Item
from ledger.errors import (
    BatchRefused,
    BudgetExceeded,
    ChargeAboveHold,
    HoldClosed,
    InsufficientCredits,
    InvalidAmount,
    InvalidEntry,
    KeyReused,
    LedgerError,
    RefundAboveCharge,
    StoreLocked,
)
from ledger.records import Entry, Parked, entry_hash
from ledger.store import engines
from ledger.tables import METADATA

TABLES = sorted(METADATA.tables)
HALF_HOUR = timedelta(minutes=30)


@pytest.fixture
def rows(database_url: str, book: str) -> Iterator[Callable[[], dict[str, list[Any]]]]:
    """Every row of the book, to compare."""
    engine = create_engine(database_url)

    def read() -> dict[str, list[Any]]:
        with engine.connect() as connection:
            return {
                table: sorted(
                    connection.execute(
                        text(f"SELECT * FROM {table} WHERE book = :book"), {"book": book}
                    ).all(),
                    key=repr,
                )
                for table in TABLES
            }

    yield read
    engine.dispose()


def kinds(ledger: Book, wallet: str = "studio") -> list[str]:
    return [entry.kind for entry in ledger.statement(wallet).entries]


def entry_of(outcome: object) -> Entry:
    assert isinstance(outcome, Entry)
    return outcome


def at_once(calls: Sequence[Callable[[], Any]]) -> list[Any]:
    """What threads get that begin at the same moment, errors of the ledger included."""
    gate = Barrier(len(calls))

    def at_the_gate(call: Callable[[], Any]) -> Any:
        gate.wait(60)
        try:
            return call()
        except LedgerError as refused:
            return refused

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(at_the_gate, calls))


def codes(outcomes: Sequence[Any]) -> list[str]:
    """What became of calls: the code of an error, or the kind of an entry."""
    return sorted(
        item.code
        if isinstance(item, LedgerError)
        else f"replayed {item.kind}"
        if item.replayed
        else item.kind
        for item in outcomes
    )


# Holds


def test_void_twice(ledger: Book) -> None:
    """Blnk #41: a hold could be voided twice, and gave its credits back twice."""
    ledger.reserve("studio", 40, key="job-1")
    ledger.release("job-1", key="first")
    with pytest.raises(HoldClosed):
        ledger.release("job-1", key="second")
    assert ledger.release("job-1", key="first").replayed
    assert figures(ledger) == (100, 0, 100)


def test_two_partial_charges_do_not_read_the_same_remainder(ledger: Book) -> None:
    """Blnk #171: two partial commits at once each took all that was left of the hold."""
    ledger.reserve("studio", 10, key="job-1", policy="reject")
    outcomes = at_once(
        [partial(ledger.charge, "job-1", 6, key=f"part-{n}", final=False) for n in range(2)]
    )
    assert codes(outcomes) == ["charge", "charge_above_hold"]
    assert figures(ledger) == (94, 4, 90)


def test_availability_counts_open_holds(ledger: Book) -> None:
    """Blnk #181: availability ignored holds, so more was held than there was."""
    ledger.reserve("studio", 60, key="job-1")
    with pytest.raises(InsufficientCredits):
        ledger.reserve("studio", "40.00000001", key="job-2")
    ledger.reserve("studio", 40, key="job-3")
    assert figures(ledger) == (100, 100, 0)


def test_a_refused_hold_cannot_be_charged(ledger: Book) -> None:
    """Blnk #182: a rejected hold could be committed through its queued twin."""
    with pytest.raises(InsufficientCredits):
        ledger.reserve("studio", 101, key="job-1")
    assert isinstance(ledger.charge("job-1", 101), Parked)
    assert figures(ledger) == (100, 0, 100)
    assert [message.job for message in ledger.inbox()] == ["job-1"]


def test_a_settled_hold_is_no_longer_in_flight(ledger: Book) -> None:
    """Blnk #293: a settled hold was still reported as in flight."""
    ledger.set_budget("studio", "running", 40, key="b1", period="in_flight")
    ledger.reserve("studio", 40, key="job-1")
    ledger.charge("job-1", 30)
    assert (ledger.hold("job-1").state, ledger.hold("job-1").held_e8) == ("charged", 0)
    ledger.reserve("studio", 40, key="job-2")


def test_an_amount_that_is_not_positive_commits_nothing(ledger: Book) -> None:
    """Blnk #315 and credit-ledger: non-positive commits; a negative charge was a free top-up."""
    ledger.reserve("studio", 40, key="job-1")
    for amount in (0, -1, "-0.00000001", "0.000000000"):
        for call in (
            partial(ledger.charge, "job-1", amount),
            partial(ledger.refund, "job-1", amount),
            partial(ledger.top_up, "studio", amount, key="t"),
            partial(ledger.reserve, "studio", amount, key="job-2"),
            partial(ledger.extend, "job-1", key="e", amount=amount),
        ):
            with pytest.raises(InvalidAmount):
                call()
    assert figures(ledger) == (100, 40, 60)


def test_a_limit_holds_for_the_smallest_and_for_no_amount(ledger: Book) -> None:
    """TigerBeetle #2546: once zero was legal, a documented limit was no longer one."""
    ledger.set_budget("studio", "none", 0, key="b1", match={"team": "ads"})
    with pytest.raises(BudgetExceeded):
        ledger.reserve("studio", "0.00000001", key="job-1", labels={"team": "ads"})
    with pytest.raises(InvalidAmount):
        ledger.reserve("studio", 0, key="job-1", labels={"team": "ads"})


def test_an_entry_has_both_sides_or_is_not_there(ledger: Book) -> None:
    """Blnk #315: silent one-sided commits; here each row carries its contra account."""
    ledger.reserve("studio", 40, key="job-1")
    ledger.charge("job-1", 30)
    ledger.refund("job-1", 5)
    lines = ledger.trial_balance()
    assert sum(line.debit_e8 for line in lines) == sum(line.credit_e8 for line in lines) > 0
    assert all(entry.contra for entry in ledger.statement("studio").entries)


def test_a_hold_made_too_late_is_not_half_made(
    ledger: Book, rows: Callable[[], dict[str, list[Any]]]
) -> None:
    """TigerBeetle #2000: a pending transfer was half inserted before its expiry was looked at."""
    before = rows()
    with pytest.raises(InvalidEntry, match="deadline"):
        ledger.reserve("studio", 1, key="job-1", deadline=NOON)
    with pytest.raises(BatchRefused, match="deadline"):
        ledger.batch(
            [TopUp("studio", 1, "t"), Reserve("studio", 1, "j", deadline=NOON)], atomic=True
        )
    assert rows() == before


def test_a_hold_that_has_run_out_makes_room_before_any_sweep(ledger: Book, clock: Clock) -> None:
    """TigerBeetle #2118: the credits of expired holds were still shown as reserved."""
    ledger.set_budget("studio", "all", 100, key="b1", period="lifetime")
    release = {"deadline": HALF_HOUR, "on_deadline": "release"}
    ledger.reserve("studio", 60, key="job-1", **release)  # type: ignore[arg-type]
    clock.forward(minutes=30)
    ledger.reserve("studio", 100, key="job-2")
    assert figures(ledger) == (100, 100, 0)


def test_a_hold_nobody_settles_keeps_its_room_until_its_deadline(
    ledger: Book, clock: Clock
) -> None:
    """limitador #506: whoever came before others had reported their usage was let in."""
    release = {"deadline": HALF_HOUR, "on_deadline": "release"}
    ledger.set_budget("studio", "all", 50, key="b1", period="lifetime")
    for number in range(5):
        ledger.reserve("studio", 10, key=f"job-{number}", **release)  # type: ignore[arg-type]
    clock.forward(minutes=29, seconds=59, microseconds=999_999)
    with pytest.raises(BudgetExceeded):
        ledger.reserve("studio", "0.00000001", key="job-5")
    clock.forward(microseconds=1)
    ledger.reserve("studio", 50, key="job-5")


def test_whoever_asks_what_is_left_is_told_without_the_credits_in_flight(ledger: Book) -> None:
    """LibreChat #15879: a second way in looked at a balance that left out what was reserved."""
    ledger.set_budget("studio", "all", 90, key="b1", period="lifetime")
    ledger.reserve("studio", 60, key="job-1")
    calls: list[Callable[[], object]] = [
        lambda: ledger.reserve("studio", 31, key="job-2"),
        lambda: ledger.reserve("studio", 31, key="job-2", dry_run=True),
        lambda: ledger.extend("job-1", key="more", amount=31),
    ]
    for call in calls:
        with pytest.raises(BudgetExceeded):
            call()
    assert codes(ledger.batch([Reserve("studio", 31, "job-2")])) == ["budget_exceeded"]
    assert [balance.available for balance in ledger.wallets()] == [40]
    assert [status.left for status in ledger.budget_status("studio")] == [30]
    assert ledger.reserve("studio", 30, key="job-2", dry_run=True).held_after == 90
    assert figures(ledger) == (100, 60, 40)


def test_every_hold_has_a_deadline(ledger: Book, clock: Clock) -> None:
    """rafiki #2881: a pending transfer without an expiry stays for ever."""
    ledger.reserve("studio", 40, key="job-1")
    assert ledger.hold("job-1").deadline == NOON + timedelta(hours=24)
    clock.forward(hours=24)
    assert [hold.job for hold in ledger.holds(state="unknown")] == ["job-1"]


def test_finished_work_is_billed_after_its_hold_ran_out(ledger: Book, clock: Clock) -> None:
    """bursar: settling an expired lease was refused, so finished work went unbilled. Blnk #42."""
    release = {"deadline": HALF_HOUR, "on_deadline": "release"}
    ledger.reserve("studio", 40, key="job-1", **release)  # type: ignore[arg-type]
    ledger.reserve("studio", 40, key="job-2")
    ledger.release("job-2")
    clock.forward(hours=1)
    ledger.expire("job-1")
    for job in ("job-1", "job-2"):
        assert entry_of(ledger.charge(job, 30)).late == 1
    assert figures(ledger) == (40, 0, 40)


def test_a_release_gives_back_what_a_credit_limit_had_lent(ledger: Book) -> None:
    """Midaz #2317: a cancel lost the part of the hold that came from the overdraft."""
    ledger.open_wallet("agency", credit_limit=50)
    ledger.top_up("agency", 10, key="invoice-2")
    ledger.reserve("agency", 60, key="job-1")
    assert figures(ledger, "agency") == (10, 60, 0)
    ledger.release("job-1")
    assert figures(ledger, "agency") == (10, 0, 60)


def test_a_hold_never_runs_into_debt(ledger: Book) -> None:
    """Midaz #2437: holds drew on the overdraft. A charge may owe; a reserve may not."""
    ledger.reserve("studio", 10, key="job-1")
    ledger.charge("job-1", 130)
    assert figures(ledger) == (-30, 0, -30)
    with pytest.raises(InsufficientCredits):
        ledger.reserve("studio", "0.00000001", key="job-2")


@pytest.mark.parametrize(
    ("policy", "after"),
    [
        # Two holds, of 60 and of 40 credits, are charged 90 each.
        ("draw", (0, 0, 0)),
        ("cap", (0, 0, 0)),
        ("reject", (100, 100, 0)),
        ("owe", (-80, 0, -80)),
    ],
)
def test_no_wallet_goes_below_zero_unless_its_holds_may_owe(
    ledger: Book, policy: Any, after: tuple[int, int, int]
) -> None:
    """Lago #4985: nothing kept a wallet from spending more than it had."""
    ledger.reserve("studio", 60, key="job-1", policy=policy)
    ledger.reserve("studio", 40, key="job-2", policy=policy)
    at_once([partial(ledger.charge, job, 90) for job in ("job-1", "job-2")])
    assert figures(ledger) == after


def test_a_debt_does_not_grow_by_itself_and_opens_no_door(ledger: Book) -> None:
    """one-api #505: with less than nothing left, quota went on being taken."""
    ledger.reserve("studio", 10, key="job-1")
    ledger.charge("job-1", 130)
    for _ in range(3):
        ledger.charge("job-1", 130)
        ledger.sweep()
    assert figures(ledger) == (-30, 0, -30)
    for paid, left in ((29, -1), (1, 0)):
        ledger.top_up("studio", paid, key=f"pays {paid}")
        assert figures(ledger) == (left, 0, left)
        assert codes(ledger.batch([Reserve("studio", "0.00000001", "job-2")])) == [
            "insufficient_credits"
        ]
    ledger.top_up("studio", "0.00000001", key="one unit")
    ledger.reserve("studio", "0.00000001", key="job-2")


def test_charge_and_release_at_once(ledger: Book) -> None:
    """Midaz #1519: a commit was made twice; #2492: commit and cancel raced."""
    for number in range(10):
        job = f"job-{number}"
        ledger.reserve("studio", 5, key=job)
        outcomes = at_once(
            [
                partial(ledger.charge, job, 5),
                partial(ledger.charge, job, 5),
                partial(ledger.release, job),
            ]
        )
        assert codes(outcomes)[:1] == ["charge"]
        assert codes(outcomes)[2:] == ["replayed charge"]
        assert codes(outcomes)[1] in {"hold_closed", "release"}
    assert figures(ledger) == (50, 0, 50)


def test_a_charge_above_its_hold_has_a_stated_policy(ledger: Book) -> None:
    """new-api #4526: too small a hold, and a negative balance after it. Blnk #62 asks for this."""
    ledger.reserve("studio", 10, key="job-1")
    charge = entry_of(ledger.charge("job-1", 130))
    assert (charge.over_e8, charge.posted_after_e8) == (120 * 10**8, -30 * 10**8)
    ledger.top_up("studio", 130, key="invoice-2")
    ledger.reserve("studio", 10, key="job-2", policy="reject")
    with pytest.raises(ChargeAboveHold):
        ledger.charge("job-2", "10.00000001")


def test_what_a_hold_did_not_need_is_there_at_once(ledger: Book) -> None:
    """LiteLLM #38647: worst-case holds filled a budget while next to nothing was spent. #36926."""
    ledger.set_budget("studio", "all", 100, key="b1", period="lifetime")
    for number in range(10):
        ledger.reserve("studio", 90, key=f"job-{number}")
        ledger.charge(f"job-{number}", 1)
    ledger.reserve("studio", 90, key="one more")
    assert figures(ledger) == (90, 90, 0)


def test_a_hold_is_not_leaked_when_a_call_breaks_off(
    ledger: Book, rows: Callable[[], dict[str, list[Any]]]
) -> None:
    """new-api #4429: a panic leaked the hold. Here a batch is broken off midway."""
    before = rows()

    class Broken(dict[str, str]):
        def items(self) -> Any:
            raise KeyboardInterrupt

    broken = Broken(user="li")
    with pytest.raises(KeyboardInterrupt):
        ledger.batch([Reserve("studio", 5, "job-1"), Reserve("studio", 5, "job-2", broken)])
    assert rows() == before
    assert not ledger.reserve("studio", 5, key="job-1").replayed


# Keys


def test_the_same_key_is_one_fact_however_often_it_is_polled(ledger: Book) -> None:
    """LiteLLM #25015: each poll of a finished video was charged again. Also #13280, #37144."""
    ledger.reserve("studio", 40, key="job-1")
    charges = [entry_of(ledger.charge("job-1", 30)) for _ in range(10)]
    assert [charge.replayed for charge in charges] == [False] + [True] * 9
    assert figures(ledger) == (70, 0, 70)


def test_a_charge_that_is_told_in_two_ways_counts_once(
    ledger: Book, database_url: str, clock: Clock
) -> None:
    """LiteLLM #15740: a call that passed through two layers was logged, and cost, twice."""
    with Book(database_url, book=ledger.book, clock=clock) as poller:
        for number in range(10):
            job = f"job-{number}"
            ledger.reserve("studio", 2, key=job)
            told = [
                partial(ledger.charge, job, 1),
                partial(poller.charge, job, 1),
                partial(in_a_batch, poller, Charge(job, 1)),
            ]
            assert codes(at_once(told)) == ["charge", "replayed charge", "replayed charge"]
        # Both were told before the job was reserved.
        assert isinstance(ledger.charge("early", 5), Parked)
        assert isinstance(poller.charge("early", 5), Parked)
        ledger.reserve("studio", 5, key="early")
        with pytest.raises(KeyReused, match="amount was 5, now 6"):
            poller.charge("early", 6)
    assert figures(ledger) == (85, 0, 85)


def in_a_batch(ledger: Book, item: Item) -> Any:
    return ledger.batch([item])[0]


def test_a_key_is_remembered_for_ever(ledger: Book, clock: Clock) -> None:
    """Formance v3: keys are kept for a day, so a job that retries later is charged twice."""
    ledger.reserve("studio", 40, key="job-1")
    ledger.charge("job-1", 30)
    clock.forward(days=3_650)
    assert entry_of(ledger.charge("job-1", 30)).replayed
    assert ledger.reserve("studio", 40, key="job-1").replayed


def test_a_call_that_was_refused_does_not_burn_its_key(ledger: Book) -> None:
    """Autumn #1838: a failed call burnt its key for a day."""
    with pytest.raises(InsufficientCredits):
        ledger.reserve("studio", 101, key="job-1")
    ledger.top_up("studio", 1, key="invoice-2")
    assert not ledger.reserve("studio", 101, key="job-1").replayed


def test_the_same_key_with_another_content_is_an_error(ledger: Book) -> None:
    """credit-ledger: the same key with another amount passed as a replay."""
    ledger.reserve("studio", 40, key="job-1")
    ledger.charge("job-1", 30)
    ledger.refund("job-1", 20)
    calls: dict[str, Callable[[], object]] = {
        "amount was 100, now 101": partial(ledger.top_up, "studio", 101, key="invoice-1"),
        "amount was 40, now 41": partial(ledger.reserve, "studio", 41, key="job-1"),
        "amount was 30, now 31": partial(ledger.charge, "job-1", 31),
        "amount was 20, now 21": partial(ledger.refund, "job-1", 21),
    }
    for differs, call in calls.items():
        with pytest.raises(KeyReused, match=differs):
            call()
    assert figures(ledger) == (90, 0, 90)


def test_a_call_repeated_later_without_a_time_is_the_same_call(ledger: Book, clock: Clock) -> None:
    """Flexprice: a resend without a timestamp counted twice, as its time was part of its key."""
    ledger.reserve("studio", 40, key="job-1")
    ledger.charge("job-1", 30)
    clock.forward(seconds=1)
    assert entry_of(ledger.charge("job-1", 30)).replayed


def test_a_key_repeated_in_a_batch_replays(ledger: Book) -> None:
    """Formance stack #1633: one batch that repeated a key crashed the service."""
    outcomes = ledger.batch(
        [
            Reserve("studio", 5, "job-1"),
            Reserve("studio", 5, "job-1"),
            Reserve("studio", 6, "job-1"),
        ]
    )
    assert codes(outcomes) == ["key_reused", "replayed reserve", "reserve"]
    assert figures(ledger) == (100, 5, 95)


def test_items_of_a_batch_that_look_alike_are_all_charged(ledger: Book) -> None:
    """Autumn #2552: items of a batch were deduplicated wrongly, and charged once."""
    ledger.batch([Reserve("studio", 5, f"job-{n}", {"user": "li"}) for n in range(10)])
    ledger.batch([Charge(f"job-{n}", 5) for n in range(10)])
    assert figures(ledger) == (50, 0, 50)


def test_a_top_up_that_is_repeated_while_it_waits_counts_once(ledger: Book) -> None:
    """Lago #1962: top-ups were made again while one was pending."""
    outcomes = at_once([lambda: ledger.top_up("studio", 50, key="invoice-2")] * 6)
    assert codes(outcomes) == ["replayed top_up"] * 5 + ["top_up"]
    assert figures(ledger) == (150, 0, 150)


def test_the_database_itself_keeps_a_key_from_a_second_fact(
    ledger: Book, database_url: str, book: str
) -> None:
    """Blnk before 0.13.2 looked a unique reference up, and two could pass; pgledger #38: no key."""
    ledger.reserve("studio", 40, key="job-1")
    ledger.charge("job-1", 30)
    engine = create_engine(database_url)
    columns = [column.name for column in METADATA.tables["entries"].columns]
    chosen = ["seq + 1" if name == "seq" else name for name in columns]
    with engine.connect() as connection, pytest.raises(IntegrityError):
        connection.execute(
            text(
                f"INSERT INTO entries ({', '.join(columns)}) SELECT {', '.join(chosen)}"
                " FROM entries WHERE book = :book AND kind = 'charge'"
            ),
            {"book": book},
        )
    engine.dispose()


def test_two_books_may_use_the_same_keys(ledger: Book, database_url: str) -> None:
    """Formance, migration 53: keys of two ledgers in one database collided."""
    with Book(database_url, book=f"{ledger.book}-2") as other:
        for both in (ledger, other):
            both.top_up("studio", 7, key="invoice-2")
            both.reserve("studio", 5, key="job-1")
        assert other.balance("studio").posted == 7
        assert other.verify().findings == ()
    assert figures(ledger) == (107, 5, 102)


# Refunds


def test_a_job_is_refunded_once_however_many_ask_at_once(ledger: Book) -> None:
    """Blnk #315: concurrent double refunds; new-api #2025: a guard against refunding twice."""
    ledger.reserve("studio", 40, key="job-1")
    ledger.charge("job-1", 30)
    outcomes = at_once([partial(ledger.refund, "job-1", key=f"refund-{n}") for n in range(6)])
    assert codes(outcomes) == ["refund"] + ["refund_above_charge"] * 5
    assert figures(ledger) == (100, 0, 100)


def test_a_refund_restores_every_total(
    ledger: Book, rows: Callable[[], dict[str, list[Any]]]
) -> None:
    """new-api #4211: a refund restored the balance and left the used total as it was."""
    for number, period in enumerate(["hour", "day", "week", "month", "lifetime", "in_flight"]):
        ledger.set_budget("studio", period, 90, key=f"b{number}", period=period)
    ledger.set_budget("studio", "six", 90, key="b9", period="rolling", rolling_seconds=3600)
    ledger.set_budget("studio", "each", 90, key="b10", match={"user": "*"})
    ledger.top_up("studio", 10, key="gift", promotional=True, expires="2026-12-01")
    before = rows()
    ledger.reserve("studio", 40, key="job-1", labels={"user": "li"})
    ledger.charge("job-1", 30)
    ledger.refund("job-1")
    after = rows()
    assert after["lots"] == before["lots"]
    assert [(row.held_e8, row.used_e8) for row in after["windows"]] == [(0, 0)] * 8
    assert figures(ledger) == (110, 0, 110)
    ledger.reserve("studio", 90, key="job-2", labels={"user": "li"})


def test_a_refund_goes_back_to_the_window_of_its_charge(ledger: Book, clock: Clock) -> None:
    """new-api #4211: totals that a refund leaves wrong; here, after the window has changed."""
    ledger.set_budget("studio", "daily", 50, key="b1", period="day")
    ledger.reserve("studio", 50, key="job-1")
    ledger.charge("job-1", 50)
    clock.forward(days=1)
    ledger.refund("job-1")
    with pytest.raises(BudgetExceeded):
        ledger.reserve("studio", 51, key="job-2")
    ledger.reserve("studio", 50, key="job-2")


def test_a_failed_job_that_was_never_charged_costs_nothing(ledger: Book) -> None:
    """new-api #2050: a failed task was charged all the same."""
    ledger.reserve("studio", 40, key="job-1")
    ledger.release("job-1", reason="failed")
    with pytest.raises(RefundAboveCharge):
        ledger.refund("job-1")
    assert figures(ledger) == (100, 0, 100)


def test_nothing_heard_is_neither_a_refund_nor_a_charge(ledger: Book, clock: Clock) -> None:
    """elizaOS #11862: a poll that timed out was refunded while the provider went on to bill."""
    ledger.reserve("studio", 40, key="job-1", deadline=HALF_HOUR)
    clock.forward(days=2)
    ledger.sweep()
    assert figures(ledger) == (100, 40, 60)
    assert kinds(ledger) == ["open", "top_up", "reserve"]
    ledger.charge("job-1", 40)
    assert figures(ledger) == (60, 0, 60)


def test_a_failure_that_is_known_late_is_refunded_once(ledger: Book, clock: Clock) -> None:
    """elizaOS #11942: a sweep settled first, and the refund was marked as made, never made."""
    release = {"deadline": HALF_HOUR, "on_deadline": "release"}
    ledger.reserve("studio", 40, key="job-1", **release)  # type: ignore[arg-type]
    clock.forward(days=2)
    ledger.sweep()
    ledger.charge("job-1", 40)
    assert figures(ledger) == (60, 0, 60)
    assert not entry_of(ledger.refund("job-1", reason="verified failure")).replayed
    assert entry_of(ledger.refund("job-1", reason="verified failure")).replayed
    assert figures(ledger) == (100, 0, 100)


def test_a_charge_is_refunded_however_old_it_is(ledger: Book, clock: Clock) -> None:
    """Stripe: what was metered can be taken back within a day, and never after."""
    ledger.reserve("studio", 40, key="job-1")
    ledger.charge("job-1", 30)
    clock.forward(days=3_650)
    ledger.refund("job-1", 10, key="a part")
    assert entry_of(ledger.refund("job-1")).amount == 20
    with pytest.raises(RefundAboveCharge):
        ledger.refund("job-1", "0.00000001", key="too much")
    assert figures(ledger) == (100, 0, 100)


def test_a_whole_batch_can_be_refunded(ledger: Book) -> None:
    """Formance #445: reverting many transactions at once was asked for."""
    ledger.batch([Reserve("studio", 5, f"job-{n}") for n in range(10)])
    ledger.batch([Charge(f"job-{n}", 5) for n in range(10)])
    ledger.refund_many([Refund(f"job-{n}") for n in range(10)])
    assert figures(ledger) == (100, 0, 100)


# Many at once


def test_checking_and_writing_are_one(ledger: Book) -> None:
    """LiteLLM #34732, #26672, #40095, new-api #6609, eliza #10407: overspent in between."""
    ledger.set_budget("studio", "ads", 30, key="b1", match={"team": "ads"})
    calls = [
        partial(ledger.reserve, "studio", 10, key=f"job-{n}", labels={"team": "ads"})
        for n in range(16)
    ]
    assert codes(at_once(calls)) == ["budget_exceeded"] * 13 + ["reserve"] * 3
    assert figures(ledger) == (100, 30, 70)


def test_a_rich_wallet_opens_no_small_budget(ledger: Book) -> None:
    """one-api #925: a user with much quota was trusted, and ran a token with little into debt."""
    ledger.top_up("studio", 10_000_000, key="invoice-2")
    ledger.set_budget("studio", "key", 3, key="b1", match={"api_key": "*"}, period="lifetime")
    calls = [
        partial(ledger.reserve, "studio", 1, key=f"job-{n}", labels={"api_key": f"key-{n % 2}"})
        for n in range(16)
    ]
    assert codes(at_once(calls)) == ["budget_exceeded"] * 10 + ["reserve"] * 6
    assert ledger.balance("studio").held == 6


def test_the_same_key_at_once_is_one_entry(ledger: Book) -> None:
    """Formance #364: concurrent requests made two transactions of one id."""
    outcomes = at_once([lambda: ledger.reserve("studio", 100, key="job-1")] * 8)
    assert codes(outcomes) == ["replayed reserve"] * 7 + ["reserve"]
    assert figures(ledger) == (100, 100, 0)


def test_batches_over_the_same_wallets_in_other_orders_do_not_deadlock(ledger: Book) -> None:
    """Formance #764, #767 to #770: deadlocks of its lock model."""
    ledger.top_up("annex", 100, key="invoice-2")

    def batch(worker: int) -> list[Any]:
        wallets = ("studio", "annex") if worker % 2 else ("annex", "studio")
        return ledger.batch(
            [Reserve(wallet, 1, f"{worker}-{n}-{wallet}") for n in range(5) for wallet in wallets]
        )

    outcomes = at_once([partial(batch, worker) for worker in range(8)])
    assert codes([*chain.from_iterable(outcomes)]) == ["reserve"] * 80
    assert figures(ledger) == figures(ledger, "annex") == (100, 40, 60)


def test_a_row_that_refers_to_the_wallet_does_not_block_its_writers(
    postgres_url: str, book: str
) -> None:
    """PrairieLearn #14489, sim #7187: a foreign key's lock, then FOR UPDATE, is a deadlock."""
    engine = create_engine(postgres_url)
    with Book(with_options(postgres_url, "-clock_timeout=2000"), book=book) as ledger:
        ledger.top_up("studio", 100, key="invoice-1")
        ledger.reserve("studio", 1, key="job-1")
        with engine.connect() as connection:
            # What a foreign key takes on the row it refers to, until its transaction ends.
            connection.execute(
                text("SELECT 1 FROM wallets WHERE book = :b FOR KEY SHARE"), {"b": book}
            )
            ledger.reserve("studio", 1, key="job-2")  # one statement
            ledger.batch([Reserve("studio", 1, f"many-{n}") for n in range(40)])  # locks first
        assert ledger.balance("studio").held == 42
    engine.dispose()


def test_a_wallet_does_not_wait_for_another(postgres_url: str, book: str) -> None:
    """Formance: one chain of hashes over all accounts made every writer wait for every other."""
    with Book(with_options(postgres_url, "-clock_timeout=2000"), book=book) as ledger:
        ledger.top_up("studio", 100, key="invoice-1")
        with row_locked(postgres_url, book):
            ledger.top_up("annex", 100, key="invoice-2")
            ledger.reserve("annex", 10, key="job-1")
            ledger.charge("job-1", 4)
            ledger.batch([Reserve("annex", 1, f"many-{n}") for n in range(40)])
        assert figures(ledger, "annex") == (96, 40, 56)


def test_numbers_follow_the_order_of_commits(ledger: Book) -> None:
    """AI-Horde #536: exact rows, never a high-water mark, or a late committer may be missed."""

    def reserve_twenty(worker: int) -> None:
        for number in range(20):
            ledger.reserve("studio", "0.1", key=f"{worker}-{number}")

    at_once([partial(reserve_twenty, worker) for worker in range(6)])
    entries = ledger.statement("studio").entries
    assert [entry.seq for entry in entries] == list(range(1, 123))
    held = [entry.held_after_e8 for entry in entries]
    assert held == sorted(held)


def test_a_book_that_was_behind_catches_up(ledger: Book, database_url: str, clock: Clock) -> None:
    """immudb #2054: after one desync every write failed. Flexprice #2428: a stale balance."""
    with Book(database_url, book=ledger.book, clock=clock) as other:
        for number in range(5):
            ledger.reserve("studio", 10, key=f"mine-{number}")
            other.charge(f"mine-{number}", 10)
            other.reserve("studio", 10, key=f"theirs-{number}")
            assert ledger.balance("studio") == other.balance("studio")
            ledger.charge(f"theirs-{number}", 10)
        with pytest.raises(InsufficientCredits):
            other.reserve("studio", 1, key="no more")


# What the book says about itself


def test_a_result_carries_the_balances_after_it(ledger: Book) -> None:
    """TigerBeetle #27: clients asked for the balance with the transfer, not a second read."""
    ledger.reserve("studio", 40, key="job-1")
    charge = entry_of(ledger.charge("job-1", 30, final=False))
    assert (charge.posted_after_e8, charge.held_after_e8) == (70 * 10**8, 10 * 10**8)


def test_a_balance_and_its_holds_can_be_read_as_of_one_moment(
    ledger: Book, database_url: str, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TigerBeetle #2693: what was pending could not be read together with the balance."""
    monkeypatch.setattr(engines, "BUSY_SECONDS", 0.1)
    ledger.reserve("studio", 40, key="job-1")
    # PostgreSQL is asked for one snapshot; SQLite lets nobody write meanwhile.
    snapshot = {"sqlite": "SERIALIZABLE", "postgresql": "REPEATABLE READ"}
    level = snapshot[ledger.engine.dialect.name]
    with Book(database_url, book=ledger.book, clock=clock) as other:
        with ledger.engine.connect().execution_options(isolation_level=level) as connection:
            joined = ledger.join(connection)
            assert joined.balance("studio").held == 40
            with suppress(StoreLocked):
                other.reserve("studio", 10, key="job-2")
            held = {hold.job: hold.held for hold in joined.holds(state="open")}
            assert held == {"job-1": 40}
        other.reserve("studio", 10, key="job-2")
    assert figures(ledger) == (100, 50, 50)


def test_every_entry_of_one_transaction_has_the_balance_after_it(ledger: Book) -> None:
    """Formance's migrations 2, 9, 27 and 28 repaired volumes that had been stored wrong."""
    ledger.top_up("annex", 50, key="invoice-2")
    ledger.batch(
        [
            Reserve("studio", 40, "job-1"),
            Reserve("annex", 10, "job-2"),
            Charge("job-1", 25, key="a part", final=False),
            Charge("job-2", 4),
            TopUp("studio", 7, "invoice-3", at="2026-09-01"),
            Charge("job-1", 5),
            Refund("job-2"),
            Refund("job-1", 10),
            Adjust("annex", -1, "fix", "counted twice"),
        ],
        atomic=True,
    )
    after: dict[str, list[tuple[object, ...]]] = {
        wallet: [
            (entry.kind, entry.posted_after, entry.held_after)
            for entry in ledger.statement(wallet).entries[2:]
        ]
        for wallet in ("studio", "annex")
    }
    assert after == {
        "studio": [
            ("reserve", 100, 40),
            ("charge", 75, 15),
            ("top_up", 82, 15),
            ("charge", 77, 0),
            ("refund", 87, 0),
        ],
        "annex": [("reserve", 50, 10), ("charge", 46, 0), ("refund", 50, 0), ("adjust", 49, 0)],
    }
    nets = {line.account: line.debit - line.credit for line in ledger.trial_balance()}
    # 100 + 50 + 7 came in; 25 + 4 + 5 − 4 − 10 were spent; 87 + 49 are left.
    assert nets == {"funding": 157, "provider": -20, "adjustments": -1, "wallets": -136}


def test_no_charge_is_missing_from_any_total(ledger: Book) -> None:
    """LiteLLM #28979, #13280: spending that one total had and another had not. #2814."""
    users = ("ann", "bo", "li")
    ledger.set_budget("studio", "each", 30, key="b1", match={"user": "*"}, period="lifetime")
    ledger.batch([Reserve("studio", "0.3", f"job-{n}", {"user": users[n % 3]}) for n in range(300)])
    batches = [[Charge(f"job-{n}", "0.1") for n in range(at, at + 50)] for at in range(0, 300, 50)]
    at_once([partial(ledger.batch, batch) for batch in batches])
    # 300 × 0.1, a third of it for each user.
    spent = [entry.amount for entry in ledger.statement("studio").entries if entry.kind == "charge"]
    assert (len(spent), sum(spent)) == (300, 30)
    assert sum(hold.charged for hold in ledger.holds(state="charged")) == 30
    used = {status.group: status.used for status in ledger.budget_status("studio")}
    assert used == {"user=ann": 10, "user=bo": 10, "user=li": 10}
    assert [line.credit for line in ledger.trial_balance() if line.account == "provider"] == [30]
    assert figures(ledger) == (70, 0, 70)


def test_a_charge_of_another_day_stands_in_the_order_it_was_written(ledger: Book) -> None:
    """Formance #340: back-dating; its migration 3 repaired back-dated rows."""
    ledger.reserve("studio", 40, key="job-1")
    ledger.charge("job-1", 30, at="2026-10-01")
    ledger.top_up("studio", 5, key="invoice-2", at="2026-09-01")
    after = [entry.posted_after for entry in ledger.statement("studio").entries]
    assert after == [0, 100, 100, 70, 75]


def test_a_charge_that_is_told_months_later_changes_no_statement_of_before(
    ledger: Book, clock: Clock
) -> None:
    """Kill Bill #876: late usage was looked for in every period before, all of them billed."""
    ledger.set_budget("studio", "monthly", 50, key="b1", period="month")
    ledger.reserve("studio", 40, key="job-1")
    clock.now = datetime(2026, 11, 1, tzinfo=UTC)
    october = ledger.statement("studio", until="2026-11-01")
    clock.forward(days=60)
    ledger.charge("job-1", 30, at="2026-10-12")
    assert ledger.statement("studio", until="2026-11-01") == october
    # It is October's all the same, where one asks for that, and moves October's window alone.
    assert ledger.balance("studio", before="2026-11-01", by="happened").posted == 70
    ledger.top_up("studio", 100, key="invoice-2")
    ledger.reserve("studio", 50, key="job-2")
    with pytest.raises(BudgetExceeded):
        ledger.reserve("studio", 21, key="job-3", at=NOON)
    ledger.reserve("studio", 20, key="job-3", at=NOON)


def tampered(url: str, *statements: str) -> list[str]:
    """What `verify` finds after somebody wrote in an SQLite file with its guards taken off."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        triggers = connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        for (trigger,) in triggers.fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        for statement in statements:
            assert connection.execute(statement).rowcount == 1, statement
    with Book(url) as ledger:
        return [finding.kind for finding in ledger.verify().findings]


@pytest.fixture
def settled_url(sqlite_url: str) -> str:
    with Book(sqlite_url) as ledger:
        ledger.top_up("studio", 100, key="invoice-1")
        ledger.reserve("studio", 40, key="job-1")
        ledger.charge("job-1", 30)
    return sqlite_url


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("UPDATE wallets SET posted_e8 = posted_e8 - 1", "wallet"),
        ("UPDATE lots SET used_e8 = used_e8 - 1", "lot"),
        ("UPDATE holds SET charged_e8 = charged_e8 - 1", "hold"),
        ("UPDATE entries SET posted_after_e8 = posted_after_e8 - 1 WHERE seq = 4", "hash"),
    ],
)
def test_a_balance_that_is_one_unit_off_is_found(
    settled_url: str, statement: str, kind: str
) -> None:
    """beancount #411: an assertion passed where the balance was off by a cent."""
    assert kind in tampered(settled_url, statement)


def test_the_hash_of_an_entry_covers_the_one_before(settled_url: str) -> None:
    """Opencomplai #47, python-accounting: the previous hash was stored and not hashed."""
    with Book(settled_url) as ledger:
        entries = ledger.statement("studio").entries
    # Somebody raises the first top-up and gives that row a hash that fits.
    raised = entries[1]._replace(posted_e8=200 * 10**8, posted_after_e8=200 * 10**8)
    fits = entry_hash(entries[0].hash, raised)
    found = tampered(
        settled_url,
        "UPDATE entries SET posted_e8 = 20000000000, posted_after_e8 = 20000000000,"
        f" hash = x'{fits.hex()}' WHERE seq = 2",
    )
    assert found[0] == "hash"


def test_what_is_hashed_never_changes(ledger: Book) -> None:
    """Formance's migration 26 replaced the function that had hashed its log."""
    opened, entry = ledger.statement("studio").entries
    assert entry.happened_at == NOON
    # Book, wallet, seq, kind, key, job, contra; posted, held, both after it; over, uncollected,
    # late, lots, facts; when it happened and when it was recorded.
    hashed = (
        f"{ledger.book}\nstudio\n2\ntop_up\ninvoice-1\n\nfunding"
        "\n10000000000\n0\n10000000000\n0\n0\n0\n0\n"
        '\n{"origin":"paid"}\n1791633600000000\n1791633600000000'
    )
    assert entry.hash == sha256(opened.hash + entry.digest + hashed.encode()).digest()


def test_a_fact_cannot_be_deleted_changed_or_replaced(
    ledger: Book, database_url: str, book: str
) -> None:
    """Kill Bill docs #118 (deleting billed usage); SQLite: INSERT OR REPLACE skips triggers."""
    ledger.set_budget("studio", "all", 100, key="b1")
    engine = create_engine(database_url)
    columns = ", ".join(column.name for column in METADATA.tables["entries"].columns)
    statements = [
        f"{verb} WHERE book = '{book}'"
        for table in ("entries", "budgets")
        for verb in (f"DELETE FROM {table}", f"UPDATE {table} SET seq = seq + 1")
    ]
    if engine.dialect.name == "sqlite":
        statements.append(
            f"INSERT OR REPLACE INTO entries ({columns}) SELECT {columns} FROM entries"
        )
    for statement in statements:
        with engine.connect() as connection, pytest.raises(DBAPIError, match="append-only"):
            connection.execute(text(statement))
    engine.dispose()
    assert kinds(ledger) == ["open", "top_up", "budget"]


# Nothing half done


def test_a_batch_does_what_its_caller_chose_on_failure(ledger: Book) -> None:
    """Formance stack #1596: what a bulk does after a failure could not be chosen."""
    items: list[Item] = [
        Reserve("studio", 60, "job-1"),
        Reserve("studio", 60, "job-2"),
        TopUp("studio", 1, "t"),
    ]
    with pytest.raises(BatchRefused) as refused:
        ledger.batch(items, atomic=True)
    assert refused.value.index == 1
    assert figures(ledger) == (100, 0, 100)
    assert codes(ledger.batch(items)) == ["insufficient_credits", "reserve", "top_up"]
    assert figures(ledger) == (101, 60, 41)


def test_a_refused_job_takes_from_no_budget(
    ledger: Book, rows: Callable[[], dict[str, list[Any]]]
) -> None:
    """LiteLLM #36926: "over budget" with no spending behind it; a refusal must leave none."""
    ledger.set_budget("studio", "all", 50, key="b1", period="lifetime")
    ledger.set_budget("studio", "ads", 10, key="b2", match={"team": "ads"})
    before = rows()
    with pytest.raises(BudgetExceeded) as refused:
        ledger.reserve("studio", 51, key="job-1", labels={"team": "ads"})
    assert {item.limit for item in refused.value.blocking} == {"all", "ads"}
    assert rows() == before


REFUSED: dict[str, Callable[[Book], object]] = {
    "reserve": lambda ledger: ledger.reserve("studio", 1_000, key="new"),
    "reserve again": lambda ledger: ledger.reserve("studio", 6, key="open"),
    "extend": lambda ledger: ledger.extend("open", key="new", amount=1_000),
    "extend closed": lambda ledger: ledger.extend("charged", key="new", amount=1),
    "charge": lambda ledger: ledger.charge("strict", 1_000),
    "release": lambda ledger: ledger.release("charged"),
    "release unknown": lambda ledger: ledger.release("nothing"),
    "refund": lambda ledger: ledger.refund("charged", 1_000),
    "top_up": lambda ledger: ledger.top_up("STUDIO", 1, key="new"),
    "adjust": lambda ledger: ledger.adjust("nobody", 1, key="new", reason="x"),
    "expire": lambda ledger: ledger.expire("open"),
    "budget": lambda ledger: ledger.remove_budget("studio", "nothing", key="new"),
    "open": lambda ledger: ledger.open_wallet("studio", credit_limit=1),
    "batch": lambda ledger: ledger.batch(
        [Charge("open", 1), Release("charged"), Reserve("studio", 1, "new")], atomic=True
    ),
}


@pytest.mark.parametrize("verb", REFUSED)
def test_a_call_that_is_refused_changes_no_row(
    ledger: Book, rows: Callable[[], dict[str, list[Any]]], verb: str
) -> None:
    """Blnk's fuzzers, python-accounting: a failed operation must leave the state byte for byte."""
    ledger.set_budget("studio", "all", 90, key="b1", match={"team": "*"})
    ledger.reserve("studio", 5, key="open", labels={"team": "ads"})
    ledger.reserve("studio", 5, key="strict", policy="reject")
    ledger.reserve("studio", 5, key="charged")
    ledger.charge("charged", 4)
    before = rows()
    with pytest.raises(LedgerError):
        REFUSED[verb](ledger)
    assert rows() == before
    # Nor does the book remember what was refused.
    assert entry_of(ledger.charge("open", 2)).posted_after == 94


def test_nothing_is_left_to_be_checked_at_the_commit(database_url: str) -> None:
    """YugabyteDB #1709: deferred constraints are not everywhere, so a book must not need any."""
    engine = create_engine(database_url)
    constraints = {
        "sqlite": "SELECT name, sql LIKE '%DEFERR%' FROM sqlite_master WHERE type = 'table'",
        "postgresql": "SELECT conname, condeferrable FROM pg_constraint"
        " WHERE connamespace = current_schema()::regnamespace"
        " UNION ALL SELECT tgname, tgdeferrable FROM pg_trigger"
        " JOIN pg_class ON pg_class.oid = tgrelid"
        " WHERE relnamespace = current_schema()::regnamespace",
    }
    with engine.connect() as connection:
        found = connection.execute(text(constraints[engine.dialect.name])).all()
    engine.dispose()
    assert len(found) >= len(TABLES)
    assert [name for name, deferred in found if deferred] == []


def test_no_read_or_write_goes_through_the_history(sqlite_url: str, clock: Clock) -> None:
    """hordak #76 and #142 (balances by summing), ouroboros #456 (all checked on each append)."""
    statements: list[str] = []

    def traced(connection: sqlite3.Connection, _: object) -> None:
        connection.set_trace_callback(statements.append)

    event.listen(Pool, "connect", traced)
    try:
        with Book(sqlite_url, clock=clock) as ledger:
            ledger.top_up("studio", 100, key="invoice-1")
            ledger.set_budget("studio", "all", 90, key="b1")
            ledger.reserve("studio", 1, key="job-0")
            statements.clear()
            ledger.reserve("studio", 1, key="job-1")
            ledger.charge("job-1", 1)
            ledger.balance("studio")
    finally:
        event.remove(Pool, "connect", traced)
    assert any("INSERT INTO entries" in statement for statement in statements)
    reads = [item for item in statements if item.startswith("SELECT")]
    assert reads
    assert not [item for item in reads if "FROM entries" in item or "sum(" in item.lower()]

"""What went wrong elsewhere does not go wrong here: one test per defect, named with its project.

The numbers are issues and pull requests of the projects named. What they reported and does not
apply to a book like this one:

- stalls, rates and waiting (TigerBeetle #3915, #1940, #2809, #461; AI-Horde #536; ouroboros #456;
  hordak #40, #126): questions of speed, answered by the benchmarks; that nothing is summed or
  read again is tested here.
- prices as such (LiteLLM #23503, #1416, #20615, #21907; OpenAnt #216; headroom #3048; Kill Bill
  #1601; Infracost; OpenCost): the tests of prices and pricing; that nothing is reserved without a
  price is tested here.
- forecasts, files and reports (hledger #2561, #1265, #2058, #742; beancount #828, #246; Kubecost;
  ccusage's two commands; spreadsheets): no part of a book.
- products or parts that a book does not have: subscriptions, recurring grants and rollover
  (OpenMeter #3293, #1344; Polar #10513; LiteLLM #32603), invoices at thresholds (Lago #3338),
  exchange rates inside a hold (Blnk #55), identities, queues and distributions (Blnk #90, #99 is
  a batch), metadata queries (Formance #257; TigerBeetle #28, #2105), seals over blocks of rows
  (Formance's migration 53; here each wallet has its own chain).
- a crash that breaks the book (immudb 1.11.1; eliza's charge outside the transaction): test_crash;
  a hold that cannot be written (LiteLLM #33923): test_broken_stores; races of processes
  (LiteLLM #34732, #26672, #40095; new-api #6609; Formance #364): test_concurrency and here.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import chain
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import Pool
from writers import NOON, Clock, figures, with_options

from ledger import Ledger, MotionControl, PriceBook
from ledger.book import Book, Charge, Refund, Release, Reserve, TopUp
from ledger.book.items import Item
from ledger.errors import (
    BatchRefused,
    BudgetExceeded,
    CannotPrice,
    ChargeAboveHold,
    HoldClosed,
    InsufficientCredits,
    InvalidAmount,
    InvalidEntry,
    KeyReused,
    LedgerError,
    RefundAboveCharge,
    Refused,
)
from ledger.records import Entry, Parked, entry_hash
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
    """Blnk before 0.13.2: a unique reference was looked up first, and two could pass."""
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


def test_a_whole_batch_can_be_refunded(ledger: Book) -> None:
    """Formance #445: reverting many transactions at once was asked for."""
    ledger.batch([Reserve("studio", 5, f"job-{n}") for n in range(10)])
    ledger.batch([Charge(f"job-{n}", 5) for n in range(10)])
    ledger.refund_many([Refund(f"job-{n}") for n in range(10)])
    assert figures(ledger) == (100, 0, 100)


# Amounts


@pytest.mark.parametrize(
    "amount",
    ["0.000000001", Decimal("0.123456789"), 0.1, float("nan"), "NaN", "Infinity", "1e30", -1],
)
def test_what_is_no_exact_amount_is_refused_by_every_verb(ledger: Book, amount: Any) -> None:
    """credit-ledger (finer than its scale), ECC #2693 (NaN passed a budget), Blnk (floats)."""
    ledger.set_budget("studio", "all", 100, key="b1", period="lifetime")
    ledger.reserve("studio", 10, key="job-1")
    ledger.charge("job-1", 5, key="part", final=False)
    calls: list[Callable[[], object]] = [
        lambda: ledger.top_up("studio", amount, key="t"),
        lambda: ledger.reserve("studio", amount, key="job-2"),
        lambda: ledger.extend("job-1", key="e", amount=amount),
        lambda: ledger.charge("job-1", amount),
        lambda: ledger.refund("job-1", amount),
        lambda: ledger.set_budget("studio", "none", amount, key="b2"),
        lambda: ledger.open_wallet("other", credit_limit=amount),
    ]
    for call in calls:
        with pytest.raises(LedgerError) as refused:
            call()
        assert refused.value.exit_status == 7
    assert figures(ledger) == (95, 5, 90)


def test_every_digit_of_an_amount_survives(ledger: Book) -> None:
    """python-accounting and others: Decimal columns are floats on SQLite. Lago #2529."""
    amount = Decimal("12345678901.12345678")
    ledger.top_up("rich", amount, key="invoice-2")
    assert ledger.balance("rich").posted == amount
    for number in range(10):
        ledger.top_up("small", "0.1", key=f"small-{number}")
    assert ledger.balance("small").posted == 1
    with pytest.raises(InvalidAmount):
        ledger.top_up("rich", "123456789012.12345678", key="more than a column holds")


def test_many_small_charges_are_rounded_once_each(ledger: Book) -> None:
    """Lago #821 and #829: rounding fees and rounding their sum gave two totals. LiteLLM #2814."""
    third = Decimal("0.33333333")
    ledger.batch([Reserve("studio", 1, f"job-{n}") for n in range(90)])
    ledger.batch([Charge(f"job-{n}", third) for n in range(90)])
    charges = [entry for entry in ledger.statement("studio").entries if entry.kind == "charge"]
    assert sum(entry.amount for entry in charges) == 90 * third
    assert figures(ledger) == (100 - 90 * third, 0, 100 - 90 * third)


def test_the_largest_amount_is_an_integer_and_the_next_one_is_refused(
    ledger: Book, database_url: str, book: str
) -> None:
    """SQLite turns 2^63 into a float without a word; TigerBeetle #2175 was wrong above 2^64."""
    most = Decimal(2**63 - 1).scaleb(-8)
    ledger.top_up("rich", most, key="all")
    with pytest.raises(InvalidAmount):
        ledger.top_up("rich", "0.00000001", key="more")
    ledger.reserve("rich", most, key="job-1", policy="draw")
    ledger.charge("job-1", most)
    ledger.refund("job-1")
    assert ledger.balance("rich").posted == most
    engine = create_engine(database_url)
    with engine.connect() as connection, pytest.raises(DBAPIError):
        connection.execute(
            text("UPDATE wallets SET posted_e8 = posted_e8 + 1 WHERE book = :b AND id = 'rich'"),
            {"b": book},
        )
    engine.dispose()


def test_a_debt_is_not_clamped_to_zero(ledger: Book) -> None:
    """Polar #5648: clamping at zero made the balance depend on the order of events."""
    ledger.reserve("studio", 100, key="job-1")
    ledger.charge("job-1", 130)
    ledger.top_up("studio", 50, key="invoice-2")
    ledger.top_up("other", 150, key="invoice-3")
    ledger.reserve("other", 100, key="job-2")
    ledger.charge("job-2", 130)
    assert figures(ledger) == figures(ledger, "other") == (20, 0, 20)


def test_credits_are_paid_for_or_given_not_both(ledger: Book) -> None:
    """NyxID #1050: a top-up with paid and granted amounts was credited twice."""
    with pytest.raises(InvalidEntry):
        ledger.top_up(
            "studio", 50, key="t", cash=5, currency="USD", promotional=True, expires="2026-12-01"
        )
    assert figures(ledger) == (100, 0, 100)


# Prices


JOB = MotionControl(quality="720p", character_orientation="video", reference_seconds=10)
RAISED = """
name = "raised"
[[overlay]]
model = "kling-v3-motion-control"
source = "https://provider.example/prices"
checked = 2026-10-10
effective_from = 2026-10-11T00:00:00Z
rate = 16
"""


@pytest.fixture
def prices() -> PriceBook:
    return PriceBook.bundled()


@pytest.fixture
def priced(database_url: str, book: str, clock: Clock, prices: PriceBook) -> Iterator[Ledger]:
    with Ledger(database_url, book=book, clock=clock, prices=prices) as opened:
        opened.top_up("studio", 1_000, key="invoice-1")
        opened.reserve("studio", prices.quote(JOB, at=NOON), key="job-1")
        yield opened
        assert opened.verify().findings == ()


def test_the_charge_is_what_the_quote_said(priced: Ledger, prices: PriceBook) -> None:
    """Lago #5560: the fee that was kept differed from the estimate."""
    charge = entry_of(priced.charge("job-1", seconds=10))
    # 10 s × 8.1648
    assert charge.amount == priced.hold("job-1").amount == Decimal("81.648")
    assert charge.amount == prices.quote(JOB, at=NOON).expected


def test_a_price_is_not_read_again_when_a_job_settles(
    priced: Ledger, clock: Clock, tmp_path: Path
) -> None:
    """new-api #6172: a price that changed while a job ran changed what the job cost."""
    (tmp_path / "raised.toml").write_text(RAISED)
    raised = PriceBook.bundled(overlays=[tmp_path / "raised.toml"])
    clock.forward(days=1)
    url = priced.engine.url.render_as_string(hide_password=False)
    with Ledger(url, book=priced.book, clock=clock, prices=raised) as later:
        assert later.reserve("studio", raised.quote(JOB, at=clock()), key="job-2").amount == 160
        # 5 s × 8.1648, as quoted; 5 s × 16, as quoted a day later.
        assert entry_of(later.charge("job-1", seconds=5)).amount == Decimal("40.824")
        assert entry_of(later.charge("job-2", seconds=5)).amount == 80


def test_a_length_is_never_guessed(priced: Ledger) -> None:
    """new-api #5498: four seconds were charged by default where ten had been made."""
    with pytest.raises(CannotPrice, match="length"):
        priced.charge("job-1")
    assert priced.balance("studio").posted == 1_000


def test_a_length_that_cannot_be_is_not_billed(priced: Ledger) -> None:
    """fal #1175: one job was billed for 10,272 seconds, 40,500 dollars."""
    charge = entry_of(priced.charge("job-1", seconds=10_272))
    # No clip of this model is longer than 30 s: 30 × 8.1648.
    assert charge.amount == Decimal("244.944")


def test_what_has_no_price_is_not_reserved(priced: Ledger, prices: PriceBook) -> None:
    """LiteLLM #35524: a request that could not be priced was admitted without a hold. #36483."""
    with pytest.raises(CannotPrice):
        priced.reserve("studio", prices.quote(JOB, at="1999-01-01"), key="job-2")
    assert priced.balance("studio").held == Decimal("81.648")


# Budgets


def test_a_window_begins_and_ends_on_the_dot_where_the_team_is(ledger: Book, clock: Clock) -> None:
    """ccusage #349, #778, #1114: days that began at the wrong midnight."""
    berlin = {"period": "day", "timezone": "Europe/Berlin"}
    ledger.set_budget("studio", "daily", 10, key="b1", **berlin)  # type: ignore[arg-type]
    clock.now = datetime(2026, 10, 10, 21, 59, 59, 999_999, tzinfo=UTC)  # 23:59:59.999999 there
    ledger.reserve("studio", 10, key="job-1")
    with pytest.raises(BudgetExceeded):
        ledger.reserve("studio", 1, key="job-2")
    clock.now = datetime(2026, 10, 10, 22, 0, tzinfo=UTC)  # midnight there
    ledger.reserve("studio", 10, key="job-2")
    with pytest.raises(BudgetExceeded):
        ledger.reserve("studio", 1, key="job-3", at="2026-10-10T21:59:59.999999Z")


def test_a_window_resets_without_a_job_and_wipes_nothing(ledger: Book, clock: Clock) -> None:
    """LiteLLM #8364, #7129, #34492: defects of resets; #22013: one wiped real spending."""
    ledger.set_budget("studio", "daily", 50, key="b1", period="day")
    ledger.reserve("studio", 50, key="job-1")
    ledger.charge("job-1", 30)
    clock.forward(days=1)
    ledger.reserve("studio", 50, key="job-2")
    assert ledger.balance("studio").posted == 70
    ledger.top_up("studio", 100, key="invoice-2")
    with pytest.raises(BudgetExceeded):
        ledger.reserve("studio", 21, key="job-3", at=NOON)  # yesterday has 20 left
    ledger.reserve("studio", 20, key="job-3", at=NOON)


def test_what_was_spent_before_a_budget_was_set_counts(ledger: Book) -> None:
    """OpenMeter #4846: usage before a snapshot was lost, so there seemed to be credits left."""
    ledger.reserve("studio", 30, key="job-1")
    ledger.charge("job-1", 20)
    ledger.reserve("studio", 10, key="job-2")
    ledger.set_budget("studio", "monthly", 40, key="b1", period="month")
    with pytest.raises(BudgetExceeded):
        ledger.reserve("studio", 11, key="job-3")
    ledger.reserve("studio", 10, key="job-3")


def test_a_limit_that_is_changed_midway_keeps_what_was_used(ledger: Book) -> None:
    """OpenMeter #4394 and #4252: an upgrade midway lost the usage, or granted it twice."""
    ledger.set_budget("studio", "monthly", 40, key="b1", period="month")
    ledger.reserve("studio", 30, key="job-1")
    ledger.charge("job-1", 30)
    ledger.set_budget("studio", "monthly", 60, key="b2", period="month")
    ledger.set_budget("studio", "monthly", 60, key="b2", period="month")
    with pytest.raises(BudgetExceeded):
        ledger.reserve("studio", 31, key="job-2")
    ledger.reserve("studio", 30, key="job-2")


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


def test_a_refusal_tells_a_program_what_to_do(ledger: Book) -> None:
    """Comfy docs #1583: clients had to read the text of a refusal to know what it meant."""
    ledger.set_budget("studio", "daily", 50, key="b1", period="day")
    ledger.reserve("studio", 40, key="job-1")
    for amount, code, retryable in (
        (20, "budget_exceeded", True),
        (101, "insufficient_credits", False),
    ):
        with pytest.raises(Refused) as refused:
            ledger.reserve("studio", amount, key="job-2")
        error: Any = refused.value
        assert (error.code, error.exit_status, error.needed_e8) == (code, 3, amount * 10**8)
        assert error.retryable is retryable


# Lots


def test_credits_that_lapse_first_are_spent_first(
    ledger: Book, rows: Callable[[], dict[str, list[Any]]]
) -> None:
    """Autumn #2508: which lot is spent first was not settled where several could be."""
    ledger.top_up("studio", 10, key="later", promotional=True, expires="2026-12-02")
    ledger.top_up("studio", 10, key="sooner", promotional=True, expires="2026-12-01")
    ledger.reserve("studio", 15, key="job-1")
    charge = entry_of(ledger.charge("job-1", 15))
    assert json.loads(str(charge.lots)) == {"4": 10 * 10**8, "3": 5 * 10**8}


def test_credits_do_not_lapse_under_a_job_that_runs(ledger: Book, clock: Clock) -> None:
    """Flexprice #2818 and #1153: credits expired before the invoice they were meant for."""
    ledger.top_up("gifted", 10, key="gift", promotional=True, expires=NOON + HALF_HOUR)
    ledger.reserve("gifted", 10, key="job-1")
    clock.forward(hours=1)
    assert ledger.lapse("gifted") == []
    assert entry_of(ledger.charge("job-1", 10)).posted_after == 0


def test_expired_credits_are_not_available_before_any_sweep(ledger: Book, clock: Clock) -> None:
    """Flexprice #1038: what was available was computed from a field of before."""
    ledger.top_up("gifted", 10, key="gift", promotional=True, expires=NOON + HALF_HOUR)
    clock.forward(minutes=30)
    assert ledger.balance("gifted").available == 0
    with pytest.raises(InsufficientCredits):
        ledger.reserve("gifted", 1, key="job-1")


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


def test_a_charge_of_another_day_stands_in_the_order_it_was_written(ledger: Book) -> None:
    """Formance #340: back-dating; its migration 3 repaired back-dated rows."""
    ledger.reserve("studio", 40, key="job-1")
    ledger.charge("job-1", 30, at="2026-10-01")
    ledger.top_up("studio", 5, key="invoice-2", at="2026-09-01")
    after = [entry.posted_after for entry in ledger.statement("studio").entries]
    assert after == [0, 100, 100, 70, 75]


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

"""What went wrong elsewhere with amounts, prices, budgets and lots does not go wrong here.

One test per defect, named with its project; what does not apply stands in test_rivals.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from test_rivals import HALF_HOUR, entry_of
from writers import NOON, Clock, figures

from ledger import CustomElement, Ledger, MotionControl, PriceBook
from ledger.book import Book, Charge, Reserve
from ledger.errors import (
    BudgetExceeded,
    CannotPrice,
    InsufficientCredits,
    InvalidAmount,
    InvalidEntry,
    LedgerError,
    Refused,
)

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


def test_a_job_of_unknown_length_holds_its_longest_and_no_more(
    priced: Ledger, prices: PriceBook
) -> None:
    """LiteLLM #27509: a request without a length held all that was left, and blocked others."""
    unknown = MotionControl(quality="720p", character_orientation="video")
    hold = priced.reserve("studio", prices.quote(unknown, at=NOON), key="job-2")
    # The longest clip is of 30 s: 30 × 8.1648; the other job holds 10 × 8.1648.
    assert hold.amount == Decimal("244.944")
    assert priced.balance("studio").available == 1_000 - Decimal("244.944") - Decimal("81.648")


def test_a_price_per_call_is_held_too(priced: Ledger, prices: PriceBook) -> None:
    """OpenRouter: fees per image and per request stood outside the estimate and were not held."""
    hold = priced.reserve("studio", prices.quote(CustomElement(), at=NOON), key="face")
    assert hold.amount == 1
    charge = entry_of(priced.charge("face"))
    assert charge.amount == 1
    assert charge.over_e8 == 0


def test_a_job_is_charged_for_what_came_of_it_beside_what_was_held(
    priced: Ledger, prices: PriceBook
) -> None:
    """new-api #5387: the returned quality decides, and what was held and charged is to be seen."""
    returned = MotionControl(quality="1080p", character_orientation="video", reference_seconds=10)
    charge = entry_of(priced.charge("job-1", prices.quote(returned, at=NOON).expected))
    # 10 s × 10.8918432 made, 10 s × 8.1648 held: 27.270432 more.
    assert charge.amount == Decimal("108.918432")
    assert (charge.held_e8, charge.over_e8) == (-8_164_800_000, 2_727_043_200)
    told = [(entry.kind, entry.amount) for entry in priced.history("job-1")]
    assert told == [("reserve", Decimal("81.648")), ("charge", Decimal("108.918432"))]
    assert priced.balance("studio").available == 1_000 - Decimal("108.918432")


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
    """LiteLLM #8364, #7129: budgets that did not reset, or only with a change of them."""
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


def test_windows_follow_the_clock_and_no_task_that_has_to_run(ledger: Book, clock: Clock) -> None:
    """OpenMeter #2312: balances hung on a reset having run; LiteLLM #22013: it wiped spending."""

    def used_and_left() -> list[tuple[object, object]]:
        return [(status.used, status.left) for status in ledger.budget_status("studio")]

    ledger.set_budget("studio", "daily", 10, key="b1", period="day")
    for days_later in range(1, 6):  # days without any job among them
        ledger.reserve("studio", 10, key=f"job-{days_later}")
        ledger.charge(f"job-{days_later}", 10)
        ledger.sweep()
        assert used_and_left() == [(10, 0)]
        clock.forward(days=days_later)
        assert used_and_left() == [(0, 10)]
    assert ledger.balance("studio").posted == 50


def test_a_budget_set_later_does_not_begin_full(ledger: Book, clock: Clock) -> None:
    """LiteLLM #34492: a new window counted all that had ever been spent, and refused at once."""
    ledger.reserve("studio", 60, key="job-1")
    ledger.charge("job-1", 60)
    clock.now = datetime(2026, 11, 1, tzinfo=UTC)
    ledger.set_budget("studio", "monthly", 40, key="b1", period="month")
    ledger.reserve("studio", 40, key="job-2")


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


def test_credits_that_lapse_first_are_spent_first(ledger: Book) -> None:
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

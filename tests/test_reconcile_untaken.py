"""Charges that a hold did not take in full: what the book says of the bill, and what is proposed.

Every job here is reserved with 40 credits and charged 60 by the provider; its hold takes 40 of
them, so that 20 are never taken. A refund gives back first what was never taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from writers import Clock

from ledger import Ledger
from ledger.reconcile import apply_corrections, propose, reconcile_book

OCTOBER: dict[str, Any] = {"since": "2026-10-01", "until": "2026-11-01"}
NOVEMBER: dict[str, Any] = {"since": "2026-11-01", "until": "2026-12-01"}
HEADER = "Task ID,Idempotency key,Model,Credits used,Completed at,Status"
FIFTH = "2026-10-05T10:00:00Z"


@pytest.fixture(params=["cap", "draw"])
def studio(
    request: pytest.FixtureRequest, database_url: str, book: str, clock: Clock
) -> Iterator[Ledger]:
    """Job `j` took 40 of 60 in October; under `draw` because no more was there."""
    clock.now = datetime(2026, 12, 20, tzinfo=UTC)
    with Ledger(database_url, book=book, clock=clock) as opened:
        opened.top_up("studio", 40, key="invoice-1", at="2026-10-01")
        opened.reserve("studio", 40, key="j", at="2026-10-05", policy=request.param)
        opened.charge("j", 60, at=FIFTH)
        yield opened
        assert opened.verify().findings == ()


def bill(folder: Path, *lines: tuple[str, int, str]) -> Path:
    """Lines of job `j`: a name, credits, and when."""
    path = folder / "bill.csv"
    rows = [
        f"{name},,m,{amount},{at},{'refund' if amount < 0 else 'completed'}"
        if name.startswith("task")
        else f",{name},m,{amount},{at},{'refund' if amount < 0 else 'completed'}"
        for name, amount, at in lines
    ]
    path.write_text("\n".join([HEADER, *rows]) + "\n", "utf-8")
    return path


def told(studio: Ledger, path: Path, period: dict[str, Any] = OCTOBER) -> list[Any]:
    """The breaks that are open: kind, both sides, what is proposed."""
    return [
        (
            item.kind,
            item.ours,
            item.theirs,
            item.details["proposal"]["verb"],
            Decimal(item.details["proposal"]["amount"]),
        )
        for item in reconcile_book(studio, path, **period).open_breaks
    ]


@pytest.mark.parametrize(
    ("refunded", "billed", "expected"),
    [
        # What the wallet got back, what the bill charges and gives back, and the break.
        ([], [60], None),
        (["all"], [60, -60], None),  # 40 taken and 20 not taken come back
        ([10], [60, -30], None),  # 20 not taken and 10 taken: the job costs 30, and so it did here
        ([10, 15], [60, -45], None),  # 20 + 10, then 15
        ([10, "all"], [60, -60], None),  # 20 + 10, then 30
        (["all"], [60], ("refund_missing", -60, None, None, 0)),
        ([10], [60, -10], ("refund_amount", -30, -10, None, 0)),
        ([], [60, -60], ("refund_missing", None, -60, "refund", 40)),
        ([], [60, -30], ("refund_missing", None, -30, "refund", 10)),
        ([10], [60, -45], ("refund_amount", -30, -45, "refund", 15)),
        ([], [60, -20], ("refund_missing", None, -20, None, 0)),  # 40 are left, as many as taken
        ([], [60, -10], ("refund_missing", None, -10, None, 0)),
        ([], [50], ("amount", 60, 50, None, 0)),
        ([], [60, -75], ("refund_missing", None, -75, "adjust", 55)),  # 15 more than the 40 taken
    ],
)
def test_a_refund_gives_back_first_what_was_never_taken(
    studio: Ledger, tmp_path: Path, refunded: list[Any], billed: list[int], expected: Any
) -> None:
    for number, amount in enumerate(refunded):
        credits = None if amount == "all" else amount
        studio.refund("j", credits, key=f"r{number}", at=f"2026-10-0{6 + number}")
    path = bill(tmp_path, *(("j", amount, FIFTH) for amount in billed))
    assert told(studio, path) == ([] if expected is None else [expected])
    done = apply_corrections(studio, list(propose(studio.breaks())))
    if expected is not None and expected[3] is not None:
        assert [item.outcome for item in done] == ["applied"]
        assert told(studio, path) == []


def test_an_unknown_cause_proposes_no_refund_of_what_was_never_taken(
    studio: Ledger, tmp_path: Path
) -> None:
    (found,) = reconcile_book(studio, bill(tmp_path, ("j", 50, FIFTH)), **OCTOBER).breaks
    assert found.details["not_taken"] == "20"


def test_a_refund_that_the_wallet_never_needs_is_said_so(studio: Ledger, tmp_path: Path) -> None:
    path = bill(tmp_path, ("j", 60, FIFTH), ("j", -10, FIFTH))
    (found,) = reconcile_book(studio, path, **OCTOBER).breaks
    reason = "nothing to give back: 40 of the 60 credits charged were taken, and 50 are left"
    assert found.details["proposal"]["reason"] == reason


def test_a_refund_of_the_next_month_is_whole_there(studio: Ledger, tmp_path: Path) -> None:
    studio.refund("j", at="2026-11-05")
    lines = ("j", 60, FIFTH), ("j", -60, "2026-11-05T00:00:00Z")
    path = bill(tmp_path, *lines)
    assert told(studio, path, OCTOBER) == told(studio, path, NOVEMBER) == []
    assert reconcile_book(studio, path, **NOVEMBER).result.totals.ours == -60


def test_a_job_of_long_ago_is_compared_with_what_was_asked_for_it(
    studio: Ledger, tmp_path: Path, clock: Clock
) -> None:
    # Read by its name alone: October is too far away to be read with January.
    clock.now = datetime(2027, 2, 20, tzinfo=UTC)
    path = bill(tmp_path, ("j", 60, "2027-01-05T00:00:00Z"))
    january = {"since": "2027-01-01", "until": "2027-02-01"}
    assert told(studio, path, january) == [("cut_off", 0, 60, None, 0)]
    studio.refund("j", at="2026-10-06")
    path = bill(tmp_path, ("j", -60, "2027-01-06T00:00:00Z"))
    assert told(studio, path, january) == [("cut_off", 0, -60, None, 0)]


def message(task: str, used: int, *, back: int | None = None, at: str) -> str:
    """What the provider says of a task in its end."""
    body = f'{{"id": "{task}", "status": "completed", "usage": {{"credits_used": {used}}}}}'
    if back is not None:
        status = "released" if back == used else "charged"
        body = (
            f'{{"id": "{task}", "status": "completed", "usage": {{"credits_used": {used}}},'
            f' "billing": {{"charge_status": "{status}", "charged_credits": {used},'
            f' "reserved_credits": {used}, "refund_status": "completed",'
            f' "refunded_credits": {back}, "refunded_at": "2026-10-06T00:00:00Z"}}}}'
        )
    return f'{{"job": "n", "received_at": "{at}", "body": {body}}}'


@pytest.mark.parametrize("policy", ["cap", "draw"])
@pytest.mark.parametrize(
    ("order", "billed"),
    [
        (["a", "a-10"], {"a": [60, -10]}),  # 50 are left: no entry of the book could say so
        (["a-10"], {"a": [60, -10]}),
        (["a", "a-60", "b"], {"a": [60, -60], "b": [60]}),  # submitted again, 60 in the end
        (["a", "b", "a-60"], {"a": [60, -60], "b": [60]}),
        (["b", "a-60", "a"], {"a": [60, -60], "b": [60]}),
        (["a", "a-30"], {"a": [60, -30]}),
        (["a", "a-60"], {"a": [60, -60]}),
    ],
)
def test_whatever_the_order_of_messages_the_book_agrees_with_what_they_say(
    database_url: str,
    book: str,
    clock: Clock,
    tmp_path: Path,
    policy: Any,
    order: list[str],
    billed: dict[str, list[int]],
) -> None:
    clock.now = datetime(2026, 12, 20, tzinfo=UTC)
    with Ledger(database_url, book=book, clock=clock) as opened:
        opened.top_up("studio", 40, key="invoice-1", at="2026-10-01")
        opened.reserve(
            "studio", 40, key="n", at="2026-10-05", policy=policy, deadline=timedelta(days=90)
        )
        for number, item in enumerate(order):
            task, _, back = item.partition("-")
            at = f"2026-10-05T1{number}:00:00Z"
            opened.apply(message(f"task-{task}", 60, back=int(back) if back else None, at=at))
        lines = [
            (f"task-{task}", amount, FIFTH)
            for task, several in billed.items()
            for amount in several
        ]
        path = bill(tmp_path, *lines)
        assert told(opened, path) == []
        assert opened.verify().findings == ()


def test_an_adjustment_in_place_of_a_refund_gives_as_much(studio: Ledger, tmp_path: Path) -> None:
    told(studio, bill(tmp_path, ("j", 60, FIFTH), ("j", -60, FIFTH)))
    (proposed,) = propose(studio.breaks())
    adjusting = proposed.model_copy(update={"action": "adjust", "amount": Decimal(60)})
    (done,) = apply_corrections(studio, [adjusting])
    assert "amount: is 60; what mends the break is 40" in str(done.error)
    adjusting = adjusting.model_copy(update={"amount": Decimal(40)})
    assert [item.outcome for item in apply_corrections(studio, [adjusting])] == ["applied"]
    assert studio.balance("studio").posted == 40

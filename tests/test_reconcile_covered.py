"""Charges above a hold that rejects them: their proposals make room first, or say why not.

Every job here is reserved with 40 credits under the policy `reject`; the wallet has 100.
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
from ledger.errors import ChargeAboveHold, InsufficientCredits
from ledger.reconcile import apply_corrections, propose, reconcile_book

OCTOBER: dict[str, Any] = {"since": "2026-10-01", "until": "2026-11-01"}
FIFTH = "2026-10-05T10:00:00Z"


@pytest.fixture
def studio(database_url: str, book: str, clock: Clock) -> Iterator[Ledger]:
    clock.now = datetime(2026, 12, 20, tzinfo=UTC)
    with Ledger(database_url, book=book, clock=clock) as opened:
        opened.top_up("studio", 100, key="invoice-1", at="2026-10-01")
        opened.reserve(
            "studio", 40, key="j", at="2026-10-05", policy="reject", deadline=timedelta(days=90)
        )
        yield opened
        assert opened.verify().findings == ()


def bill(folder: Path, credits: str) -> Path:
    """A bill that charges job `j`, in the name of task-1 as well."""
    path = folder / "bill.csv"
    header = "Task ID,Idempotency key,Model,Credits used,Completed at,Status"
    path.write_text(f"{header}\ntask-1,j,m,{credits},{FIFTH},completed\n", "utf-8")
    return path


def told(studio: Ledger, path: Path) -> list[Any]:
    """The breaks that are open: kind, what is proposed, and the extension before it."""
    found = [
        (item.kind, item.details["proposal"], item.details.get("extend_first"))
        for item in reconcile_book(studio, path, **OCTOBER).open_breaks
    ]
    return [(kind, says["verb"], says["amount"], first) for kind, says, first in found]


def corrected(studio: Ledger) -> list[Any]:
    return apply_corrections(studio, list(propose(studio.breaks())))


def message(credits: str) -> str:
    body = f'{{"id": "task-1", "status": "completed", "usage": {{"credits_used": {credits}}}}}'
    return f'{{"job": "j", "received_at": "{FIFTH}", "body": {body}}}'


def test_a_charge_that_the_hold_covers_is_proposed_as_it_is(studio: Ledger, tmp_path: Path) -> None:
    assert told(studio, bill(tmp_path, "40")) == [("never_settled", "charge", "40", None)]
    assert [item.outcome for item in corrected(studio)] == ["applied"]


def test_a_charge_above_its_hold_is_proposed_with_the_extension_it_needs(
    studio: Ledger, tmp_path: Path
) -> None:
    path = bill(tmp_path, "44.5")
    assert told(studio, path) == [("never_settled", "charge", "44.5", "4.5")]
    (item,) = propose(studio.breaks())
    assert (item.action, item.amount, item.extend) == ("charge", Decimal("44.5"), Decimal("4.5"))
    assert "its hold rejects what is above the 40 it covers: it is extended by 4.5" in str(
        item.reason
    )
    (done,) = apply_corrections(studio, [item])
    assert (done.outcome, done.entry and done.entry.amount) == ("applied", Decimal("44.5"))
    assert [entry.kind for entry in studio.history("j")] == ["reserve", "extend", "charge"]
    assert studio.balance("studio").available == Decimal("55.5")  # 100 - 44.5, nothing held
    assert [item.outcome for item in apply_corrections(studio, [item])] == ["already"]
    assert len(studio.history("j")) == 3
    assert told(studio, path) == []


def test_after_a_kill_before_the_break_is_closed_nothing_is_written_twice(
    studio: Ledger, tmp_path: Path
) -> None:
    told(studio, bill(tmp_path, "44"))
    (item,) = propose(studio.breaks())
    apply_corrections(studio, [item])
    studio.resolve_break(item.break_id, "open", note="as if killed before")
    assert [item.outcome for item in apply_corrections(studio, [item])] == ["applied"]
    assert studio.balance("studio").posted == 56
    assert [entry.kind for entry in studio.history("j")] == ["reserve", "extend", "charge"]


@pytest.mark.parametrize(
    ("extend", "error"),
    [
        (None, ChargeAboveHold),  # a reviewer took the extension out
        (Decimal(3), ChargeAboveHold),  # 43 are covered, and 44 asked for
        (Decimal(61), InsufficientCredits),  # 60 are available
    ],
)
def test_the_extension_and_the_charge_are_written_together_or_not_at_all(
    studio: Ledger, tmp_path: Path, extend: Decimal | None, error: type[Exception]
) -> None:
    told(studio, bill(tmp_path, "44"))
    (item,) = propose(studio.breaks())
    (done,) = apply_corrections(studio, [item.model_copy(update={"extend": extend})])
    assert (done.outcome, type(done.error)) == ("refused", error)
    assert [entry.kind for entry in studio.history("j")] == ["reserve"]
    assert [item.status for item in studio.breaks()] == ["open"]
    assert [item.outcome for item in corrected(studio)] == ["applied"]


def test_a_hold_that_is_closed_cannot_be_extended_and_the_wallet_is_adjusted(
    studio: Ledger, tmp_path: Path
) -> None:
    studio.charge("j", 40, at=FIFTH)
    # Nothing was priced here, so only a message that agrees with the bill makes it a proposal.
    studio.apply(message("44"))
    path = bill(tmp_path, "44")
    assert told(studio, path) == [("amount", "adjust", "-4", None)]
    assert [item.outcome for item in corrected(studio)] == ["applied"]
    assert studio.balance("studio").posted == 56
    assert told(studio, path) == []


def test_what_a_released_hold_would_reject_is_taken_from_the_wallet(
    studio: Ledger, tmp_path: Path
) -> None:
    studio.release("j")
    assert told(studio, bill(tmp_path, "44")) == [("late_charge", "adjust", "-44", None)]
    assert told(studio, bill(tmp_path, "40")) == [("late_charge", "charge", "40", None)]


def test_where_a_rejected_message_asks_for_as_much_the_extension_is_enough(
    studio: Ledger, tmp_path: Path
) -> None:
    studio.apply(message("44"))
    assert studio.hold("j").charged == 0  # rejected
    path = bill(tmp_path, "44")
    assert told(studio, path) == [("never_settled", "extend", "4", None)]
    (item,) = propose(studio.breaks())
    assert "with 4 more, what waits is charged" in str(item.reason)
    (done,) = apply_corrections(studio, [item])
    assert (done.outcome, done.error) == ("applied", None)
    assert [entry.kind for entry in studio.history("j")] == ["reserve", "extend", "charge"]
    assert done.entry == studio.history("j")[-1]
    assert studio.balance("studio").posted == 56
    assert [item.outcome for item in apply_corrections(studio, [item])] == ["already"]
    assert told(studio, path) == []


@pytest.mark.parametrize(
    ("parked", "says", "charged", "waiting"),
    [
        (["44"], "with 4 more, what waits is charged (brk", ["44"], 0),
        (["42"], "with 4 more, what waits is charged (42), then the rest", ["42", "2"], 0),
        # 50 is rejected again, and waits on.
        (["50"], "it is extended by 4 first; what waits asks for 50", ["44"], 1),
        # One of them fits.
        (["42", "41"], "it is extended by 4 first; what waits asks for 83", ["42", "2"], 1),
    ],
)
def test_a_rejected_charge_of_the_inbox_is_taken_into_account(
    studio: Ledger,
    tmp_path: Path,
    parked: list[str],
    says: str,
    charged: list[str],
    waiting: int,
) -> None:
    for number, credits in enumerate(parked):
        studio.charge("k", credits, key=f"k{number}", at=FIFTH, final=False)
    studio.reserve("studio", 40, key="k", at="2026-10-05", policy="reject")
    path = bill(tmp_path, "44")
    path.write_text(path.read_text("utf-8").replace("task-1,j", ",k"), "utf-8")
    assert ("never_settled", "extend", "4", None) in told(studio, path)
    (item,) = (item for item in propose(studio.breaks()) if item.job == "k")
    assert says in str(item.reason)
    (done,) = apply_corrections(studio, [item])
    assert (done.outcome, done.error) == ("applied", None)
    made = [entry for entry in studio.history("k") if entry.kind == "charge"]
    assert [str(entry.amount) for entry in made] == charged
    assert len(studio.inbox()) == waiting
    assert [item.outcome for item in apply_corrections(studio, [item])] == ["already"]


def test_where_a_rejected_message_asks_for_more_than_the_bill_the_bill_is_charged(
    studio: Ledger, tmp_path: Path
) -> None:
    studio.apply(message("50"))
    path = bill(tmp_path, "44")
    assert told(studio, path) == [("never_settled", "extend", "4", None)]
    assert [item.outcome for item in corrected(studio)] == ["applied"]
    assert studio.hold("j").charged == 44


def test_where_a_rejected_message_asks_for_less_the_rest_is_charged_once(
    studio: Ledger, tmp_path: Path
) -> None:
    studio.apply(message("42"))
    path = bill(tmp_path, "44")
    assert told(studio, path) == [("never_settled", "extend", "4", None)]
    (item,) = propose(studio.breaks())
    assert [done.outcome for done in apply_corrections(studio, [item])] == ["applied"]
    studio.resolve_break(item.break_id, "open", note="as if killed before")
    assert [done.outcome for done in apply_corrections(studio, [item])] == ["applied"]
    kinds = [(entry.kind, str(entry.amount)) for entry in studio.history("j")]
    assert kinds == [("reserve", "40"), ("extend", "4"), ("charge", "42"), ("charge", "2")]


def test_an_extension_after_which_something_else_was_charged_leaves_its_break_open(
    studio: Ledger, tmp_path: Path
) -> None:
    studio.apply(message("44"))
    told(studio, bill(tmp_path, "44"))
    (item,) = propose(studio.breaks())
    # A second attempt is heard of in the meantime, together 48, and somebody makes room for 44:
    # the 4 of the correction let all through.
    studio.apply(message("4").replace("task-1", "task-2"))
    studio.extend("j", key="by hand", amount=4)
    (done,) = apply_corrections(studio, [item])
    assert done.outcome == "refused"
    assert "was extended, and 48 credits were charged since, not 44" in str(done.error)
    assert [item.status for item in studio.breaks()] == ["open"]


@pytest.mark.parametrize("back", [44, 10])
def test_what_was_given_back_after_the_extension_is_not_charged_again(
    studio: Ledger, tmp_path: Path, back: int
) -> None:
    studio.apply(message("44"))
    told(studio, bill(tmp_path, "44"))
    (item,) = propose(studio.breaks())
    # As it was written before a kill, and let the 44 through; then the provider gave some back.
    studio.extend("j", key=f"{item.break_id} 44", amount=4, at=FIFTH)
    studio.refund("j", back, key="callback")
    (done,) = apply_corrections(studio, [item])
    assert done.outcome == "refused"
    assert "was extended, and has changed since (refund 'callback'); compare again" in str(
        done.error
    )
    kinds = [(entry.kind, entry.key) for entry in studio.history("j")[2:]]
    assert kinds == [("charge", "task-1"), ("refund", "callback")]
    assert [item.status for item in studio.breaks()] == ["open"]


def test_only_a_charge_has_an_extension_beside_it(studio: Ledger, tmp_path: Path) -> None:
    studio.apply(message("44"))
    told(studio, bill(tmp_path, "44"))
    (item,) = propose(studio.breaks())
    (done,) = apply_corrections(studio, [item.model_copy(update={"extend": Decimal(4)})])
    assert "extend: is for a charge, which it makes room for" in str(done.error)
    assert len(studio.history("j")) == 1


def test_only_a_break_that_an_extension_mends_may_have_one_alone(
    studio: Ledger, tmp_path: Path
) -> None:
    told(studio, bill(tmp_path, "44"))
    (item,) = propose(studio.breaks())
    (done,) = apply_corrections(studio, [item.model_copy(update={"action": "extend"})])
    assert "action: an extension does not mend this break" in str(done.error)

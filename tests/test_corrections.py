"""Corrections are proposed for open breaks, reviewed as a file, and applied once."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from test_evidence import CREDIT, a_break, keep

from ledger.book import Book
from ledger.errors import InvalidCorrections
from ledger.reconcile.corrections import (
    Correction,
    apply_corrections,
    propose,
    read_corrections,
    written,
)


def proposing(break_id: str, verb: str | None, amount: str, **more: Any) -> Any:
    """A break with what a comparison proposes for it."""
    evidence = {"proposal": {"verb": verb, "amount": amount, "reason": "the bill says so"}}
    return a_break(break_id, evidence=json.dumps(evidence), **more)


def charged(ledger: Book) -> None:
    """A job of 50 credits that was charged 40 on the 5th of October 2026; the bill says 44."""
    ledger.reserve("studio", 50, key="job-1", at="2026-10-05")
    ledger.charge("job-1", 40, at="2026-10-05")


def corrections(ledger: Book, **changes: Any) -> list[Correction]:
    return [item.model_copy(update=changes) for item in propose(ledger.breaks())]


def outcomes(ledger: Book, items: list[Correction], **more: Any) -> list[str]:
    return [item.outcome for item in apply_corrections(ledger, items, **more)]


def test_a_proposed_charge_mends_its_break_and_is_applied_once(ledger: Book) -> None:
    charged(ledger)
    keep(ledger, proposing("b-1", "charge", "4"))
    proposed = corrections(ledger)
    first = apply_corrections(ledger, proposed)[0]
    assert first.outcome == "applied"
    assert first.entry is not None
    assert first.entry.key == "b-1 4"
    assert first.entry.amount == 4
    assert ledger.balance("studio").posted == 56  # 100 - 40 - 4
    closed = ledger.break_named("b-1")
    assert (closed.status, closed.closed_by) == ("adjusted", "charge:b-1 4")
    assert outcomes(ledger, proposed) == ["already"]
    assert ledger.balance("studio").posted == 56
    assert corrections(ledger) == []


def test_after_a_kill_between_entry_and_break_the_entry_is_not_written_twice(
    ledger: Book,
) -> None:
    charged(ledger)
    keep(ledger, proposing("b-1", "charge", "4"))
    ledger.charge("job-1", 4, key="b-1 4", at=ledger.break_named("b-1").happened_at)
    assert outcomes(ledger, corrections(ledger)) == ["applied"]
    assert ledger.balance("studio").posted == 56
    assert ledger.break_named("b-1").status == "adjusted"


@pytest.mark.parametrize(
    ("verb", "amount", "difference", "posted", "held"),
    [
        ("refund", "4", -4, 64, 7),  # 100 - 40 + 4
        ("adjust", "-4", 4, 56, 7),
        ("release", "7", 0, 60, 0),
    ],
)
def test_every_verb_mends_in_its_own_way(
    ledger: Book, verb: str, amount: str, difference: int, posted: int, held: int
) -> None:
    charged(ledger)
    ledger.reserve("studio", 7, key="job-2", at="2026-10-05")
    job = "job-2" if verb == "release" else "job-1"
    found = proposing("b-1", verb, amount, job=job, difference_e8=difference * CREDIT)
    keep(ledger, found)
    assert outcomes(ledger, corrections(ledger)) == ["applied"]
    assert ledger.balance("studio").posted == posted
    assert ledger.balance("studio").held == held


def test_a_charge_of_a_job_nobody_reserved_waits_and_leaves_its_break_open(ledger: Book) -> None:
    keep(ledger, proposing("b-1", "charge", "4", job="job-9"))
    assert outcomes(ledger, corrections(ledger)) == ["waits"]
    assert ledger.break_named("b-1").status == "open"
    ledger.reserve("studio", 50, key="job-9")
    assert outcomes(ledger, corrections(ledger)) == ["applied"]
    assert ledger.balance("studio").posted == 96


def test_what_no_entry_can_mend_is_left_until_a_person_says_what_it_is(ledger: Book) -> None:
    keep(ledger, proposing("b-1", None, "0"), proposing("b-2", None, "0"))
    first, second = corrections(ledger)
    assert (first.action, first.amount) == ("none", None)
    assert outcomes(ledger, [first, second]) == ["skipped", "skipped"]
    explained = first.model_copy(update={"action": "explain", "reason": "billed on the 1st"})
    small = second.model_copy(update={"action": "write_off", "reason": "too small"})
    assert outcomes(ledger, [explained, small], write_off_cap=4) == ["applied", "applied"]
    assert outcomes(ledger, [explained, small], write_off_cap=4) == ["already", "already"]
    assert {item.id: item.status for item in ledger.breaks(None)} == {
        "b-1": "explained",
        "b-2": "written_off",
    }


def test_write_offs_stay_under_their_cap(ledger: Book) -> None:
    keep(ledger, a_break("b-1"), a_break("b-2"))
    items = corrections(ledger, action="write_off")
    done = apply_corrections(ledger, items, write_off_cap=4)
    assert [item.outcome for item in done] == ["applied", "refused"]
    assert "is more than the cap of 4" in str(done[1].error)
    assert outcomes(ledger, items[1:]) == ["refused"]  # no cap was given


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"amount": Decimal("3.99999999")}, "amount: is 3.99999999; what mends the break is 4"),
        ({"amount": None}, "amount: is not given; what mends the break is 4"),
        ({"job": "job-2"}, "job: is 'job-2'; the break is about 'job-1'"),
        ({"job": None}, "job: is needed for a charge"),
        ({"action": "adjust", "wallet": None, "reason": None}, "wallet: is needed"),
        ({"action": "adjust"}, "amount: is 4; what mends the break is -4"),
        ({"action": "refund", "amount": Decimal(41)}, "is 41; what mends the break is 4"),
        ({"break_id": "b-9"}, "has no break 'b-9'"),
        ({"amount": Decimal("1e-9")}, "finer than 10^-8 credit"),
    ],
)
def test_a_correction_that_does_not_mend_its_break_is_refused_and_the_others_go_on(
    ledger: Book, changes: dict[str, Any], problem: str
) -> None:
    charged(ledger)
    keep(ledger, proposing("b-1", "charge", "4"), a_break("b-2"))
    wrong = corrections(ledger, **changes)[0]
    other = corrections(ledger, action="explain", reason="agreed")[1]
    done = apply_corrections(ledger, [wrong, other])
    assert [item.outcome for item in done] == ["refused", "applied"]
    assert problem in str(done[0].error)
    assert ledger.balance("studio").posted == 60


@pytest.mark.parametrize(
    ("status", "told"),
    [
        ("explained", "is explained; to correct it"),
        ("written_off", "is written off; to correct it"),
        ("adjusted", "is adjusted; to correct it"),
        ("cleared", "was not found any more; to correct it"),
    ],
)
def test_a_break_that_was_dealt_with_is_not_corrected_by_an_older_file(
    ledger: Book, status: Any, told: str
) -> None:
    charged(ledger)
    keep(ledger, proposing("b-1", "charge", "4"))
    older = corrections(ledger)
    older += corrections(ledger, action="explain", reason="late")[: status != "explained"]
    if status == "cleared":
        keep(ledger)
    else:
        ledger.resolve_break("b-1", status, note="agreed", cap=4)
    done = apply_corrections(ledger, older)
    assert {item.outcome for item in done} == {"refused"}
    assert all(told in str(item.error) for item in done)
    assert ledger.balance("studio").posted == 60
    assert ledger.break_named("b-1").status == status


def test_an_older_file_about_another_sum_of_a_closed_break_hears_that_it_is_closed(
    ledger: Book,
) -> None:
    charged(ledger)
    keep(ledger, proposing("b-1", "charge", "4"))
    older = corrections(ledger)
    # The bill is corrected: now it charges 45.
    keep(ledger, proposing("b-1", "charge", "5", difference_e8=5 * CREDIT), digest=b"2" * 32)
    ledger.resolve_break("b-1", "explained", note="agreed")
    (done,) = apply_corrections(ledger, older)
    assert "break: is explained; to correct it all the same" in str(done.error)


def test_whoever_knows_whose_a_line_is_may_say_the_job(ledger: Book) -> None:
    charged(ledger)
    keep(ledger, proposing("b-1", None, "0", job=None, kind="missing_here"))
    items = corrections(ledger, action="charge", job="job-1", amount=Decimal(4))
    assert outcomes(ledger, items) == ["applied"]
    assert outcomes(ledger, items) == ["already"]
    assert ledger.hold("job-1").charged == 44


def test_an_adjustment_takes_the_place_of_a_proposed_charge(ledger: Book) -> None:
    charged(ledger)
    keep(ledger, proposing("b-1", "charge", "4"))
    items = corrections(ledger, action="adjust", amount=Decimal(-4))
    assert outcomes(ledger, items) == ["applied"]
    assert ledger.balance("studio").posted == 56


def test_a_file_of_corrections_reads_back_as_it_was_written(ledger: Book, tmp_path: Path) -> None:
    keep(ledger, proposing("b-1", "charge", "4", cause="rounding to nearest"), a_break("b-2"))
    items = corrections(ledger)
    path = tmp_path / "corrections.jsonl"
    path.write_text("\n".join(written(items)) + "\n\n", "utf-8")
    assert read_corrections(path) == items
    assert json.loads(path.read_text("utf-8").splitlines()[0]) == {
        "break": "b-1", "action": "charge", "kind": "amount", "cause": "rounding to nearest",
        "wallet": "studio", "job": "job-1", "amount": "4", "difference": "4",
        "reason": "the bill says so (b-1)",
    }  # fmt: skip


def test_a_reason_may_have_any_mark_that_ends_a_line_elsewhere(tmp_path: Path) -> None:
    item = Correction.model_validate(
        {"break": "b-1", "action": "explain", "reason": "agreed\u2028with\x85support\nby phone"}
    )
    path = tmp_path / "corrections.jsonl"
    path.write_text("".join(f"{line}\r\n" for line in written([item, item])), "utf-8")
    assert read_corrections(path) == [item, item]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "line 1: is not JSON"),
        ('{"break": "b-1"}', "line 1, action: Field required"),
        ('{"break": "b-1", "action": "pay"}', "line 1, action: Input should be"),
        ('{"break": "b-1", "action": "charge", "amount": "four"}', "line 1, amount: "),
        ('{"break": "b-1", "action": "charge", "amount": "NaN"}', "line 1, amount: "),
        ('{"break": "b-1", "action": "none", "acount": 1}', "line 1, acount: Extra inputs"),
        ('{"break": "b-1", "break": "b-2", "action": "none"}', "a field stands there twice"),
        ('["b-1"]', "line 1: Input should be a valid dictionary"),
        ("[" * 5_000, "line 1: is not JSON"),
        ('"' + "x" * 100_000 + '"', "line 1: has 100002 characters"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, line: str, problem: str) -> None:
    path = tmp_path / "corrections.jsonl"
    path.write_text(line + '\n{"break": "b-2", "action": "none"}\n{\n', "utf-8")
    with pytest.raises(InvalidCorrections) as raised:
        read_corrections(path)
    assert problem in str(raised.value)
    assert "line 3: is not JSON" in str(raised.value)


def test_a_number_in_a_file_keeps_its_digits(tmp_path: Path) -> None:
    path = tmp_path / "corrections.jsonl"
    path.write_text('{"break": "b-1", "action": "charge", "amount": 40.82400001}', "utf-8")
    assert read_corrections(path)[0].amount == Decimal("40.82400001")


@pytest.mark.parametrize("content", [None, b"\xff\xfe{\x00"])
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "corrections.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidCorrections, match="cannot be read"):
        read_corrections(path)

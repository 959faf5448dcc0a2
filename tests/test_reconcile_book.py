"""A book held against a statement file: breaks are found, kept once, corrected, and gone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from writers import Clock

from ledger import Ledger, MotionControl, PriceBook
from ledger.errors import InvalidInput, InvalidStatement
from ledger.reconcile import reconcile_book, tolerance_of
from ledger.reconcile.corrections import apply_corrections, propose
from ledger.statements import read_statement

OCTOBER: dict[str, Any] = {"since": "2026-10-01", "until": "2026-11-01"}
DAYS_60 = timedelta(days=60)
HEADER = "Idempotency key,Model,Credits used,Quality,Completed at,Status"
AGREES = "job-1,kling-v3-motion-control,108.918432,1080p,2026-10-05T10:00:00Z,completed"
NEAREST = "job-2,kling-v3-motion-control,40.824,720p,2026-10-06T10:00:00Z,completed"
UNKNOWN = "job-9,kling-v3-motion-control,8.1648,720p,2026-10-07T10:00:00Z,completed"


@pytest.fixture
def studio(database_url: str, book: str, clock: Clock) -> Iterator[Ledger]:
    """October of a studio: 10 s in 1080p, and 5.4 s in 720p, billed as 6 (PAGE: rounded up)."""
    clock.now = datetime(2026, 11, 2, tzinfo=UTC)
    with Ledger(database_url, book=book, clock=clock) as opened:
        opened.top_up("studio", 1_000, key="invoice-1", at="2026-10-01", cash=15, currency="USD")
        for job, quality, seconds, day in (
            ("job-1", "1080p", "9.2", 5),
            ("job-2", "720p", "5.4", 6),
        ):
            at = datetime(2026, 10, day, 10, tzinfo=UTC)
            asked = MotionControl(
                quality=quality, character_orientation="video", reference_seconds="10"
            )
            quote = PriceBook.bundled().quote(asked, at=at)
            opened.reserve("studio", quote, key=job, at=at)
            opened.charge(job, seconds=seconds, at=at)
        yield opened
        assert opened.verify().findings == ()


def written(folder: Path, *lines: str, name: str = "october.csv", header: str = HEADER) -> Path:
    path = folder / name
    path.write_text("\n".join([header, *lines]) + "\n", "utf-8")
    return path


def held(studio: Ledger, path: Any, **more: Any) -> Any:
    return reconcile_book(studio, path, **OCTOBER, **more)


def test_a_book_that_agrees_has_no_break_and_its_period_is_reconciled(
    studio: Ledger, tmp_path: Path
) -> None:
    # 6 × 8.1648 = 48.9888; with 108.918432 the month is 157.907232.
    found = held(studio, written(tmp_path, AGREES, NEAREST.replace("40.824", "48.9888")))
    assert found.breaks == []
    assert (found.result.totals.ours, found.result.totals.theirs) == (Decimal("157.907232"),) * 2
    assert found.result.totals.by_rule == {"key": 2}
    assert studio.reconciled(**OCTOBER).state == "reconciled"
    assert found.kept.reconciliation.figures["lines_matched"] == 2


def test_a_break_is_named_explained_corrected_and_gone(studio: Ledger, tmp_path: Path) -> None:
    path = written(tmp_path, AGREES, NEAREST)
    found = held(studio, path)
    assert [(item.kind, item.job, item.cause) for item in found.breaks] == [
        ("rounding", "job-2", "rounding to nearest")
    ]
    assert found.breaks[0].difference == Decimal("-8.1648")  # 40.824 - 48.9888
    assert [item.sentence for item in found.result.causes] == [
        "rounding to nearest explains 1 of 1 break, 8.1648 of 8.1648 credits"
    ]
    assert studio.reconciled(**OCTOBER).state == "open breaks"
    done = apply_corrections(studio, list(propose(studio.breaks())))
    assert [item.outcome for item in done] == ["applied"]
    assert studio.hold("job-2").refunded == Decimal("8.1648")
    assert studio.reconciled(**OCTOBER).state == "reconciled"
    again = held(studio, path)
    assert again.breaks == []
    assert studio.break_named(found.breaks[0].id).status == "adjusted"


def test_the_same_statement_again_changes_nothing(studio: Ledger, tmp_path: Path) -> None:
    path = written(tmp_path, AGREES, NEAREST, UNKNOWN)
    first, again = held(studio, path), held(studio, path)
    assert [item.kind for item in first.breaks] == ["rounding", "missing_here"]
    assert (first.kept.replayed, again.kept.replayed) == (False, True)
    assert first.breaks == again.breaks
    assert len(studio.reconciliations()) == 1


def test_a_job_the_bill_does_not_know_and_a_line_the_book_does_not_know(
    studio: Ledger, tmp_path: Path
) -> None:
    found = held(studio, written(tmp_path, AGREES, UNKNOWN))
    assert [(item.kind, item.ours, item.theirs) for item in found.breaks] == [
        ("missing_there", Decimal("48.9888"), None),
        ("missing_here", None, Decimal("8.1648")),
    ]


def test_a_comparison_can_be_tried_without_keeping_it(studio: Ledger, tmp_path: Path) -> None:
    found = held(studio, written(tmp_path, AGREES, NEAREST), keep=False)
    assert (found.kept, len(found.open_breaks)) == (None, 1)
    assert studio.reconciliations() == []
    assert studio.breaks() == []


def test_with_lines_that_cannot_be_read_nothing_is_kept_unless_that_is_allowed(
    studio: Ledger, tmp_path: Path
) -> None:
    path = written(tmp_path, AGREES, NEAREST.replace("40.824", "forty"))
    found = held(studio, path)
    assert (found.rejected, found.kept) == (1, None)
    assert studio.reconciled(**OCTOBER).state == "not yet"
    assert held(studio, path, allow_rejected=True).kept is not None


def test_a_bill_in_money_without_a_rate_is_refused(studio: Ledger, tmp_path: Path) -> None:
    path = written(tmp_path, "job-1,1.6,2026-10-05", header="Idempotency key,Cost (USD),Date")
    with pytest.raises(InvalidStatement, match="credits_per_unit: amounts are in USD"):
        held(studio, path)
    assert studio.reconciliations() == []


def test_a_comparison_that_is_not_kept_knows_what_was_said_of_its_breaks(
    studio: Ledger, tmp_path: Path
) -> None:
    path = written(tmp_path, AGREES, NEAREST, UNKNOWN)
    first, second = held(studio, path).breaks
    studio.resolve_break(first.id, "explained", note="agreed", owner="li")
    tried = held(studio, path, keep=False)
    assert [item.id for item in tried.open_breaks] == [second.id]
    assert (tried.breaks[0].note, tried.breaks[0].owner) == ("agreed", "li")
    other = held(studio, written(tmp_path, AGREES, NEAREST.replace("40.824", "8.1648")), keep=False)
    assert [item.status for item in other.breaks] == ["open"]


def test_a_small_difference_is_let_through_and_counted(studio: Ledger, tmp_path: Path) -> None:
    path = written(tmp_path, AGREES, NEAREST)
    found = held(studio, path, tolerance=tolerance_of("8.1648"))
    assert (found.breaks, len(found.result.tolerated)) == ([], 1)
    assert len(held(studio, path, tolerance=tolerance_of("8.16479999")).breaks) == 1
    # 8.1648 of 48.9888 is a sixth: 16.66… %
    assert held(studio, path, tolerance=tolerance_of(percent=Decimal("16.67"))).breaks == []
    assert len(held(studio, path, tolerance=tolerance_of(percent=Decimal("16.66"))).breaks) == 1


def test_top_ups_are_held_against_invoices(studio: Ledger, tmp_path: Path) -> None:
    bill = written(tmp_path, AGREES, NEAREST.replace("40.824", "48.9888"))
    header = "Invoice,Credits,Amount (USD),Date"
    paid = written(tmp_path, "invoice-1,1000,15,2026-10-01", name="cash.csv", header=header)
    mapping = tmp_path / "cash.toml"
    mapping.write_text(
        'currency = "USD"\n[columns]\nkey = "Invoice"\namount = "Credits"\n'
        'money = "Amount (USD)"\nat = "Date"\n',
        "utf-8",
    )
    from ledger.statements import read_mapping

    invoices = read_statement(paid, read_mapping(mapping))
    found = held(studio, bill, cash=invoices)
    assert (found.breaks, found.result.totals.purchases_agreeing) == ([], 1)
    more = written(tmp_path, "invoice-1,1000,16,2026-10-01", name="cash.csv", header=header)
    other = held(studio, bill, cash=read_statement(more, read_mapping(mapping)))
    assert [item.kind for item in other.breaks] == ["exchange_rate"]


def test_invoices_without_numbers_or_money_are_refused(studio: Ledger, tmp_path: Path) -> None:
    path = written(tmp_path, AGREES)
    with pytest.raises(InvalidStatement, match="money: is in no line of it"):
        held(studio, path, cash=path)


def test_a_period_that_ends_before_it_starts_is_refused(studio: Ledger, tmp_path: Path) -> None:
    path = written(tmp_path, AGREES)
    with pytest.raises(InvalidInput, match="must end later"):
        reconcile_book(studio, path, since="2026-11-01", until="2026-10-01")


def test_the_files_are_recorded_with_their_digest(studio: Ledger, tmp_path: Path) -> None:
    path = written(tmp_path, AGREES, NEAREST)
    for _ in range(2):
        held(studio, path)
    with studio.looking() as session:
        rows = session.rows(
            "SELECT kind, digest, name, lines, complete FROM imports WHERE book = ?", (studio.book,)
        )
    assert [tuple(row) for row in rows] == [
        ("statement", read_statement(path).digest, "october.csv", 2, 1)
    ]


def test_a_break_says_whether_the_providers_own_messages_agree_with_book_or_bill(
    studio: Ledger, tmp_path: Path
) -> None:
    studio.reserve("studio", 50, key="job-3", at="2026-10-08")
    studio.link("job-3", "task-unified-3")
    body = '{"id": "task-unified-3", "status": "completed", "usage": {"credits_used": 44}}'
    studio.apply(f'{{"received_at": "2026-10-08T12:00:00Z", "body": {body}}}')
    header = HEADER.replace("Idempotency key", "Task ID")
    rows = [
        "task-unified-3,kling-v3-motion-control,40,720p,2026-10-08T12:00:00Z,completed",
        *(row.replace("job", "task") for row in (AGREES, NEAREST)),
    ]
    found = held(studio, written(tmp_path, *rows, header=header))
    of_job = next(item for item in found.breaks if item.job == "job-3")
    assert (of_job.task, of_job.ours, of_job.theirs) == ("task-unified-3", 44, 40)
    assert of_job.details["messages"] == {
        "agree_with": "book", "credits": "44", "status": "completed",
    }  # fmt: skip


def test_a_correction_in_a_closed_period_is_compared_with_the_month_it_corrects(
    studio: Ledger, clock: Clock, tmp_path: Path
) -> None:
    path = written(tmp_path, AGREES, NEAREST)
    held(studio, path)
    studio.close_period("2026-10", with_open_breaks="asked the provider")
    clock.now = datetime(2026, 12, 2, tzinfo=UTC)
    done = apply_corrections(studio, list(propose(studio.breaks())))
    assert done[0].entry is not None
    assert (done[0].entry.happened_at.month, done[0].entry.corrects) == (12, "2026-10")
    assert held(studio, path).breaks == []
    empty = written(tmp_path, "job-8,other,1,720p,2026-09-30T10:00:00Z,completed", name="later.csv")
    for since, until in (("2026-11-01", "2026-12-01"), ("2026-12-01", "2027-01-01")):
        assert reconcile_book(studio, empty, since=since, until=until).breaks == []


def test_a_correction_is_refused_where_the_job_has_changed_since_it_was_compared(
    studio: Ledger, tmp_path: Path
) -> None:
    path = written(tmp_path, AGREES, NEAREST)
    held(studio, path)
    proposed = list(propose(studio.breaks()))
    # The provider's callback comes after the comparison and before the review.
    studio.refund("job-2", "8.1648", key="callback", at="2026-10-07")
    (done,) = apply_corrections(studio, proposed)
    assert done.outcome == "refused"
    assert "has changed since it was compared (refund 'callback'); compare again" in str(done.error)
    assert studio.hold("job-2").refunded == Decimal("8.1648")
    held(studio, path)
    assert studio.breaks() == []


def test_two_breaks_of_one_job_are_corrected_in_one_run(studio: Ledger, tmp_path: Path) -> None:
    refund = NEAREST.replace("40.824", "-1").replace("completed", "refund")
    path = written(tmp_path, AGREES, NEAREST, refund)
    assert [item.kind for item in held(studio, path).breaks] == ["refund_missing", "rounding"]
    proposed = list(propose(studio.breaks()))
    assert [item.outcome for item in apply_corrections(studio, proposed)] == ["applied"] * 2
    # 48.9888 - 8.1648 - 1 = 39.824
    assert studio.hold("job-2").refunded == Decimal("9.1648")
    assert [item.outcome for item in apply_corrections(studio, proposed)] == ["already"] * 2
    assert held(studio, path).result.totals.difference == 0


def test_all_tasks_of_a_job_that_was_submitted_again_are_its_own(
    studio: Ledger, tmp_path: Path
) -> None:
    for task, at in (("task-a", "10:00"), ("task-b", "10:05")):
        body = f'{{"id": "{task}", "model": "kling-v3-motion-control", "status": "processing"}}'
        sent = f'"received_at": "2026-10-05T{at}:00Z", "job": "job-1"'
        studio.apply(f'{{{sent}, "body": {body}}}')
    header = HEADER.replace("Idempotency key", "Task ID")
    first = AGREES.replace("job-1", "task-a").replace("108.918432", "50")
    second = AGREES.replace("job-1", "task-b").replace("108.918432", "58.918432")
    other = NEAREST.replace("job-2", "task-c")
    found = held(studio, written(tmp_path, first, second, other, header=header))
    assert [tuple(row) for row in found.result.matches.rows()] == [
        (2, "job-1", "task"),
        (3, "job-1", "task"),
    ]
    assert sorted(item.kind for item in found.breaks) == ["missing_here", "missing_there"]


NOVEMBER: dict[str, Any] = {"since": "2026-11-01", "until": "2026-12-01"}


@pytest.mark.parametrize(
    ("october", "kind"),
    [
        ([AGREES, NEAREST], "duplicate_charge"),  # both bills have job-1
        ([NEAREST], "cut_off"),  # only November's has it
        ([], "cut_off"),  # October was not compared
    ],
)
def test_a_charge_on_two_bills_is_a_duplicate_and_one_on_the_other_bill_a_cut_off(
    studio: Ledger, clock: Clock, tmp_path: Path, october: list[str], kind: str
) -> None:
    if october:
        held(studio, written(tmp_path, *october))
    clock.now = datetime(2026, 12, 2, tzinfo=UTC)
    again = AGREES.replace("2026-10", "2026-11")
    path = written(tmp_path, again, name="november.csv")
    (found,) = reconcile_book(studio, path, **NOVEMBER).breaks
    assert (found.kind, found.job, found.theirs) == (kind, "job-1", Decimal("108.918432"))
    assert found.difference == Decimal("108.918432")
    if kind == "duplicate_charge":
        assert found.details["charged_in_comparison"] == 1
        assert "comparison 1 has the charge, too" in found.details["proposal"]["reason"]
    assert reconcile_book(studio, path, **NOVEMBER).kept.replayed  # type: ignore[union-attr]


def test_a_charge_that_was_told_after_october_was_compared_is_a_cut_off(
    studio: Ledger, clock: Clock, tmp_path: Path
) -> None:
    studio.reserve("studio", 50, key="job-3", at="2026-10-31T23:00:00Z", deadline=DAYS_60)
    held(studio, written(tmp_path, AGREES, NEAREST))
    clock.now = datetime(2026, 12, 2, tzinfo=UTC)
    studio.charge("job-3", 40, at="2026-10-31T23:30:00Z")
    line = "job-3,kling-v3-motion-control,40,720p,2026-11-01T00:00:05Z,completed"
    found = reconcile_book(studio, written(tmp_path, line, name="november.csv"), **NOVEMBER)
    assert [item.kind for item in found.breaks] == ["cut_off"]


BOTH = HEADER.replace("Idempotency key", "Task ID,Idempotency key")


def charged_for(studio: Ledger, jobs: dict[Decimal, str]) -> list[str]:
    """Say whose the lines are that are missing here, by their amounts; the outcomes."""
    said = [
        item.model_copy(update={"action": "charge", "job": job, "amount": item.difference})
        for item in propose(studio.breaks(kind="missing_here"))
        if item.difference is not None and (job := jobs.get(item.difference))
    ]
    return [item.outcome for item in apply_corrections(studio, said)]


@pytest.mark.parametrize("name", ["task-9,", ",job-9", ",", "task-9,job-9"])
@pytest.mark.parametrize("job", ["job-1", "job-3"])  # one with a line of its own, and one without
def test_a_line_belongs_to_the_job_that_was_charged_for_it(
    studio: Ledger, tmp_path: Path, name: str, job: str
) -> None:
    studio.reserve("studio", 50, key="job-3", at="2026-10-08", deadline=DAYS_60)
    line = f"{name},a model of theirs,{{}},720p,2026-10-09T10:00:00Z,completed"
    agreeing = [f",{AGREES}", f",{NEAREST.replace('40.824', '48.9888')}"]
    path = written(tmp_path, *agreeing, line.format(7), header=BOTH)
    assert [item.kind for item in held(studio, path).breaks] == ["missing_here"]
    assert charged_for(studio, {Decimal(7): job}) == ["applied"]
    for replayed in (False, True):
        found = held(studio, path)
        assert (found.breaks, found.kept.replayed) == ([], replayed)
        assert found.result.totals.difference == 0
    assert studio.reconciled(**OCTOBER).state == "reconciled"
    # Another export: the same line in another place, and then with another amount.
    path = written(tmp_path, line.format(7), *agreeing, header=BOTH)
    assert held(studio, path).breaks == []
    path = written(tmp_path, line.format(8), *agreeing, header=BOTH)
    kinds = sorted(item.kind for item in held(studio, path).breaks)
    if name != ",":
        assert kinds == ["amount"]
    else:  # a line without a name is known by what it says
        assert kinds == (
            ["amount", "missing_here"] if job == "job-1" else ["missing_here", "missing_there"]
        )


def test_the_length_of_a_job_is_the_last_one_told_whatever_was_charged_after_it(
    studio: Ledger, tmp_path: Path
) -> None:
    studio.charge("job-2", 1, key="a correction", at="2026-10-09")
    studio.charge("job-2", seconds="2", key="a part", at="2026-10-08")
    (found,) = held(studio, written(tmp_path, AGREES, NEAREST)).breaks
    assert found.details["seconds"] == "2"


def test_two_lines_that_are_alike_are_two(studio: Ledger, tmp_path: Path) -> None:
    studio.reserve("studio", 50, key="job-3", at="2026-10-08", deadline=DAYS_60)
    agreeing = [f",{AGREES}", f",{NEAREST.replace('40.824', '48.9888')}"]
    line = ",,theirs,7,720p,2026-10-09T10:00:00Z,completed"
    path = written(tmp_path, *agreeing, line, line, header=BOTH)
    assert len(held(studio, path).breaks) == 2
    (first, _) = propose(studio.breaks())
    said = first.model_copy(update={"action": "charge", "job": "job-3", "amount": Decimal(7)})
    assert [item.outcome for item in apply_corrections(studio, [said])] == ["applied"]
    (left,) = held(studio, path).open_breaks
    assert (left.kind, left.theirs) == ("missing_here", 7)


def test_what_the_book_learns_later_counts_more_than_a_correction(
    studio: Ledger, tmp_path: Path
) -> None:
    studio.reserve("studio", 50, key="job-3", at="2026-10-08", deadline=DAYS_60)
    rows = [
        f",{AGREES}",
        f",{NEAREST.replace('40.824', '48.9888')}",
        "task-9,,theirs,7,720p,2026-10-09T10:00:00Z,completed",
        ",job-9,theirs,8,720p,2026-10-09T10:00:00Z,completed",
    ]
    path = written(tmp_path, *rows, header=BOTH)
    held(studio, path)
    assert charged_for(studio, {Decimal(7): "job-3", Decimal(8): "job-3"}) == ["applied"] * 2
    assert held(studio, path).breaks == []
    # Both turn out to be jobs of their own, so job-3 was charged for nothing.
    for job in ("job-4", "job-9"):
        studio.reserve("studio", 50, key=job, at="2026-10-08", deadline=DAYS_60)
    studio.link("job-4", "task-9")
    found = {(item.kind, item.job, item.difference) for item in held(studio, path).open_breaks}
    assert found == {
        ("missing_there", "job-3", -15),
        ("never_settled", "job-4", 7),
        ("never_settled", "job-9", 8),
    }


def test_lines_are_counted_on_from_file_to_file(studio: Ledger, tmp_path: Path) -> None:
    first = written(tmp_path, AGREES, "Total,,1,,,", name="1.csv")  # lines 1 to 3
    second = written(tmp_path, NEAREST.replace("40.824", "forty"), UNKNOWN, name="2.csv")
    found = held(studio, [first, read_statement(second)], allow_rejected=True)
    assert [(item.kind, item.details["lines"]) for item in found.breaks] == [
        ("missing_there", []),
        ("missing_here", [6]),  # line 3 of the second
    ]
    assert [item.line for item in found.statements[1].rejected] == [5]
    assert found.rejected == 1
    with studio.looking() as session:
        rows = session.rows("SELECT name FROM imports WHERE book = ? ORDER BY name", (studio.book,))
    assert [row[0] for row in rows] == ["1.csv", "2.csv"]
    with pytest.raises(InvalidStatement, match="the bill: has no file"):
        held(studio, [])

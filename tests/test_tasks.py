"""What the provider says of tasks, and what becomes of it in the book: once, in whatever order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from hashlib import sha256
from itertools import permutations
from random import Random
from typing import Any, TypeVar
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from task_bodies import (
    COMPLETED,
    CREATED,
    REFUSED,
    TASK,
    billed,
    billing,
    body,
    envelope,
    failed,
    refund,
    reserved,
    used,
)
from test_book import tamper
from writers import NOON, Clock, figures, together

from ledger import Ledger
from ledger.book import Book
from ledger.errors import InvalidEntry, InvalidMessage, TaskLinked

COST = Decimal("65.3184")
"""8 s of Motion Control in 720p, at 8.1648 credits a second."""
UNTIL = timedelta(days=3)
T = TypeVar("T")


@pytest.fixture
def studio(database_url: str, book: str, clock: Clock) -> Iterator[Ledger]:
    """1,000 credits in `studio`, 80 of them held for job-1; it agrees with itself at the end."""
    with Ledger(database_url, book=book, clock=clock) as ledger:
        ledger.top_up("studio", 1_000, key="invoice-1")
        ledger.reserve("studio", 80, key="job-1")
        yield ledger
        assert ledger.verify().findings == ()


def only(applied: Sequence[T]) -> T:
    [item] = applied
    return item


def kinds(ledger: Ledger, job: str = "job-1") -> list[tuple[str, str, Any]]:
    """What was written for a job after its reserve: kind, key and amount."""
    return [(item.kind, item.key, item.amount) for item in ledger.history(job)[1:]]


def standing(ledger: Ledger, job: str) -> tuple[str, Any]:
    """A hold's state, and what it still holds."""
    hold = ledger.hold(job)
    return hold.state, hold.held


# What the messages of one task do


def test_a_completed_task_is_charged_once_and_the_rest_goes_back(studio: Ledger) -> None:
    linked = studio.link("job-1", TASK)
    assert (linked.status, linked.state, linked.applied) == ("submitted", "running", True)
    created = only(studio.apply(CREATED))
    assert (created.status, created.state, created.new, created.entries) == (
        "pending",
        "running",
        1,
        (),
    )
    done = only(studio.apply(COMPLETED))
    assert (done.job, done.state, done.applied, done.waits) == ("job-1", "settled", True, False)
    assert done.net_e8 == 6_531_840_000
    assert [entry.kind for entry in done.entries] == ["charge"]
    again = only(studio.apply(COMPLETED))
    assert (again.new, again.known, again.entries, again.net_e8) == (0, 1, (), 6_531_840_000)
    assert kinds(studio) == [("charge", TASK, COST)]
    assert figures(studio) == (1_000 - COST, 0, 1_000 - COST)


def test_an_envelope_says_which_job_a_task_belongs_to(studio: Ledger) -> None:
    assert only(studio.apply(envelope(CREATED))).job == "job-1"
    assert only(studio.apply(COMPLETED)).entries[0].job == "job-1"


def test_the_key_of_a_reserve_may_be_the_name_of_the_task(studio: Ledger) -> None:
    studio.reserve("studio", 80, key=TASK)
    assert only(studio.apply(COMPLETED)).job == TASK
    assert kinds(studio, TASK) == [("charge", TASK, COST)]


def test_an_amount_in_the_providers_own_unit_is_told_by_the_hold(studio: Ledger) -> None:
    studio.link("job-1", TASK)
    studio.apply(used("653184"))
    assert kinds(studio) == [("charge", TASK, COST)]


def test_failed_proves_no_refund_and_a_proof_releases_the_hold(studio: Ledger) -> None:
    studio.link("job-1", TASK)
    told = only(studio.apply(failed("generation_timeout")))
    assert (told.state, told.net_e8, told.applied) == ("unproven", None, True)
    assert figures(studio)[1] == 80
    proof = only(studio.apply(refund("failed", "653184")))
    assert (proof.state, proof.net_e8) == ("settled", 0)
    assert kinds(studio) == [("release", TASK, 80)]
    assert studio.hold("job-1").state == "released"
    assert figures(studio) == (1_000, 0, 1_000)


def test_charged_though_failed_is_charged_and_stays_unproven(studio: Ledger) -> None:
    studio.link("job-1", TASK)
    told = only(studio.apply(used("65.3184", status="failed")))
    assert (told.state, told.applied, told.notes) == ("unproven", True, ("charged though failed",))
    assert kinds(studio) == [("charge", TASK, COST)]


def test_a_proven_refund_gives_back_what_was_charged(studio: Ledger) -> None:
    studio.link("job-1", TASK)
    studio.apply(COMPLETED)
    studio.apply(refund("completed", "65.3184"))
    assert kinds(studio) == [("charge", TASK, COST), ("refund", TASK, COST)]
    assert "refund" in studio.history("job-1")[-1].details["reason"]
    assert figures(studio) == (1_000, 0, 1_000)


def test_a_part_that_came_back_is_refunded(studio: Ledger) -> None:
    studio.link("job-1", TASK)
    studio.apply(billed("completed", billing("charged", "not_required", charged="65.3184")))
    told = billing("charged", "completed", charged="65.3184", refunded="5.3184")
    studio.apply(billed("completed", f'{told},"refunded_at":"2026-10-10T11:00:00Z"'))
    assert kinds(studio) == [("charge", TASK, COST), ("refund", TASK, Decimal("5.3184"))]


def test_completed_without_an_amount_charges_nothing_yet(studio: Ledger) -> None:
    studio.link("job-1", TASK)
    assert only(studio.apply(body("completed"))).state == "unpriced"
    assert kinds(studio) == []
    studio.apply(COMPLETED)
    assert kinds(studio) == [("charge", TASK, COST)]


def test_a_contradiction_is_disputed_and_the_larger_amount_stands(studio: Ledger) -> None:
    studio.link("job-1", TASK)
    studio.apply(used("60"))
    told = only(studio.apply(used("65.5")))
    assert (told.state, told.applied) == ("disputed", True)
    assert kinds(studio) == [("charge", TASK, 60), ("charge", f"{TASK}#2", Decimal("5.5"))]
    assert studio.hold("job-1").charged == Decimal("65.5")


def test_what_cannot_be_read_leaves_nothing_behind(studio: Ledger) -> None:
    with pytest.raises(InvalidMessage):
        studio.apply([envelope(COMPLETED), '{"id": "task-2", "status": "completed", '])
    with pytest.raises(InvalidMessage, match="no task"):
        studio.apply(REFUSED)
    assert studio.tasks() == []
    assert kinds(studio) == []


@pytest.mark.parametrize("given", [json.loads(COMPLETED), [json.loads(COMPLETED)], 5, None, [None]])
def test_only_json_as_it_came_is_exact(studio: Ledger, given: Any) -> None:
    with pytest.raises(InvalidEntry, match="must be JSON as it came"):
        studio.apply(given)


def test_the_body_is_kept_word_for_word_and_once(studio: Ledger) -> None:
    spaced = '{ "status" : "completed","id":"task-9" , "usage":{"credits_used": 1.10} }'
    studio.apply([spaced, spaced, envelope(COMPLETED), COMPLETED])
    kept = sql(studio, "SELECT task, body FROM messages WHERE book = :book")
    assert sorted(kept) == sorted(
        [("task-9", spaced), (TASK, COMPLETED), (TASK, f'{{"linked":"job-1","task":"{TASK}"}}')]
    )


def sql(ledger: Ledger, statement: str) -> list[tuple[Any, ...]]:
    with ledger.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(statement), {"book": ledger.book})]


# Jobs that come later, or never


def test_a_message_for_a_job_nobody_has_reserved_waits_for_its_reserve(studio: Ledger) -> None:
    told = only(studio.apply(envelope(COMPLETED, job="job-2")))
    assert (told.waits, told.applied, told.entries) == (True, False, ())
    assert told.reason == "nobody has reserved job 'job-2'"
    assert studio.inbox() == []
    assert studio.verify().findings == ()
    studio.reserve("studio", 70, key="job-2")
    assert kinds(studio, "job-2") == [("charge", TASK, COST)]
    assert only(studio.tasks()).task.applied == 1


def test_a_charge_in_the_inbox_and_a_task_wait_for_the_same_reserve(studio: Ledger) -> None:
    studio.apply(envelope(CREATED, job="job-2"))
    studio.charge("job-2", 60)
    assert studio.verify().findings == ()
    studio.apply(COMPLETED)
    studio.charge("job-3", 5)
    studio.apply(envelope(used("4", task="task-3"), job="job-3"))
    assert studio.verify().findings == ()
    studio.reserve("studio", 80, key="job-2")
    studio.reserve("studio", 80, key="job-3")
    # The charge of the inbox comes first; the task asks for what is missing, or gives back.
    assert kinds(studio, "job-2") == [("charge", "job-2", 60), ("charge", TASK, COST - 60)]
    assert kinds(studio, "job-3") == [("charge", "job-3", 5), ("refund", "task-3", 1)]


def test_reserves_of_a_batch_apply_what_waits_for_them(studio: Ledger) -> None:
    studio.apply([envelope(used(f"{n}", task=f"task-{n}"), job=f"more-{n}") for n in (5, 6)])
    from ledger.book import Reserve

    studio.reserve_many([Reserve("studio", 10, f"more-{n}") for n in (5, 6, 7)])
    assert kinds(studio, "more-5") == [("charge", "task-5", 5)]
    assert kinds(studio, "more-6") == [("charge", "task-6", 6)]
    assert kinds(studio, "more-7") == []


def test_a_task_whose_job_is_not_known_waits_for_a_link(studio: Ledger) -> None:
    told = only(studio.apply(COMPLETED))
    assert (told.job, told.waits) == (None, True)
    assert studio.task_counts()["waiting"] == 1
    assert [item.task.id for item in studio.tasks(unlinked=True)] == [TASK]
    linked = studio.link("job-1", TASK)
    assert [entry.kind for entry in linked.entries] == ["charge"]
    assert studio.link("job-1", TASK).entries == ()
    assert studio.tasks(unlinked=True) == []
    assert studio.tasks(waiting=True) == []


def test_a_link_that_comes_later_does_not_move_the_charge(studio: Ledger, clock: Clock) -> None:
    """The message does not tell when its task was created, but when it was received."""
    heard = clock.now + timedelta(hours=1)
    body = json.loads(COMPLETED)
    del body["created"]
    clock.forward(days=40)
    told = {"received_at": heard.isoformat(), "body": body}
    studio.apply(json.dumps(told))
    studio.link("job-1", TASK)
    (charge,) = studio.history("job-1")[1:]
    assert (charge.kind, charge.happened_at) == ("charge", heard)
    assert only(studio.tasks()).task.last_heard_at == heard
    assert studio.verify().findings == ()


def test_a_link_may_be_said_before_anything_else(studio: Ledger) -> None:
    linked = studio.link("job-2", TASK)
    assert (linked.waits, linked.reason) == (True, "nobody has reserved job 'job-2'")
    studio.reserve("studio", 80, key="job-2")
    assert only(studio.tasks()).task.applied == 1
    studio.apply(COMPLETED)
    assert kinds(studio, "job-2") == [("charge", TASK, COST)]


def test_a_known_message_brings_the_link_that_was_missing(studio: Ledger) -> None:
    studio.apply(COMPLETED)
    told = only(studio.apply(envelope(COMPLETED)))
    assert (told.known, told.job) == (1, "job-1")
    assert kinds(studio) == [("charge", TASK, COST)]


def test_a_task_belongs_to_one_job(studio: Ledger) -> None:
    studio.link("job-1", TASK)
    with pytest.raises(TaskLinked, match="belongs to job 'job-1', not 'job-2'"):
        studio.link("job-2", TASK)
    told = only(studio.apply(envelope(COMPLETED, job="job-2")))
    assert (told.job, told.notes) == (
        "job-1",
        ("told to belong to job 'job-2'; it stays with job 'job-1'",),
    )
    assert kinds(studio) == [("charge", TASK, COST)]


@pytest.mark.parametrize(("job", "task"), [("", TASK), ("job-1", " x"), ("a\nb", TASK)])
def test_names_that_cannot_be_stored_are_refused(studio: Ledger, job: str, task: str) -> None:
    with pytest.raises(InvalidEntry):
        studio.link(job, task)
    assert studio.tasks() == []


def test_catching_up_does_what_nobody_was_told_of(studio: Ledger) -> None:
    studio.apply([used("5", task=f"task-{number}") for number in range(4)])
    for number in (1, 3):
        # Its key is the name of the task, so no message had named it as a job.
        studio.reserve("studio", 10, key=f"task-{number}")
    assert kinds(studio, "task-1") == []
    caught = studio.catch_up()
    assert [(item.task, item.applied) for item in caught] == [("task-1", True), ("task-3", True)]
    assert studio.catch_up() == []
    assert kinds(studio, "task-3") == [("charge", "task-3", 5)]


# Several tasks of one job


def test_a_job_costs_what_all_its_tasks_cost(studio: Ledger) -> None:
    studio.apply(envelope(failed("service_error", task="task-1")))
    studio.apply(envelope(CREATED))
    studio.apply(refund("failed", "65.3184", task="task-1"))
    assert kinds(studio) == []  # the other task runs, so the hold stays
    studio.apply(COMPLETED)
    assert kinds(studio) == [("charge", TASK, COST)]
    assert studio.hold("job-1").held == 0


def test_as_long_as_a_task_runs_its_hold_stays_open(studio: Ledger) -> None:
    studio.apply(envelope(used("30", task="task-1")))
    assert studio.hold("job-1").state == "charged"
    studio.reserve("studio", 80, key="job-2")
    studio.apply([envelope(CREATED, job="job-2"), envelope(used("30", task="task-2"), job="job-2")])
    assert kinds(studio, "job-2") == [("charge", "task-2", 30)]
    assert standing(studio, "job-2") == ("open", 50)
    studio.apply(used("40"))
    assert kinds(studio, "job-2") == [("charge", "task-2", 30), ("charge", TASK, 40)]
    assert standing(studio, "job-2") == ("charged", 0)


def test_a_second_task_that_is_heard_of_too_late_finds_the_hold_closed(studio: Ledger) -> None:
    studio.apply(envelope(used("30", task="task-2")))
    studio.apply(envelope(CREATED))
    assert standing(studio, "job-1") == ("charged", 0)
    [charge] = only(studio.apply(used("40"))).entries
    assert (charge.late, charge.posted_e8, charge.over_e8) == (1, -4_000_000_000, 0)


@pytest.mark.parametrize("refund_first", [False, True])
def test_a_refund_is_given_back_while_another_task_of_the_job_runs(
    studio: Ledger, refund_first: bool
) -> None:
    studio.apply([envelope(CREATED), envelope(body("pending", task="task-2"))])
    told = [used("30", task="task-2"), refund("completed", "30", task="task-2")]
    for said in reversed(told) if refund_first else told:
        studio.apply(said)
    # Whichever comes first, task-2 costs nothing; the hold stays open for the other.
    hold = studio.hold("job-1")
    assert (hold.state, hold.charged_e8 - hold.refunded_e8) == ("open", 0)
    assert figures(studio)[0] == 1_000
    studio.apply(COMPLETED)
    assert kinds(studio)[-1] == ("charge", TASK, COST)
    assert figures(studio) == (1_000 - COST, 0, 1_000 - COST)


def test_a_refund_beside_what_a_person_charged_leaves_that(studio: Ledger) -> None:
    studio.apply([envelope(CREATED), envelope(used("30", task="task-2"))])
    studio.charge("job-1", 40, final=False)
    studio.apply(refund("completed", "30", task="task-2"))
    assert kinds(studio)[2:] == [("refund", "task-2", 30)]
    studio.apply(used("41"))
    assert kinds(studio)[3:] == [("charge", TASK, 1)]


def test_what_a_person_charged_for_a_running_task_stays(studio: Ledger) -> None:
    studio.apply([envelope(CREATED), envelope(used("30", task="task-2"))])
    studio.charge("job-1", 40, final=False)
    # 31 is asked for now, and 70 were charged; the other 39 may be for the task that runs.
    studio.apply(used("31", task="task-2"))
    assert kinds(studio) == [("charge", "task-2", 30), ("charge", "job-1", 40)]
    studio.apply(used("41"))
    assert kinds(studio)[2:] == [("charge", TASK, 2)]


# People and policies


def test_a_hold_that_a_person_has_settled_at_the_same_cost_is_agreed_with(studio: Ledger) -> None:
    studio.charge("job-1", COST)
    told = only(studio.apply(envelope(COMPLETED)))
    assert (told.applied, told.entries) == (True, ())
    assert kinds(studio) == [("charge", "job-1", COST)]


@pytest.mark.parametrize(
    ("charged", "then"),
    [
        (60, ("charge", TASK, Decimal("5.3184"))),
        (70, ("refund", TASK, Decimal("4.6816"))),
    ],
)
def test_another_cost_than_a_person_charged_is_made_up(
    studio: Ledger, charged: int, then: tuple[str, str, Decimal]
) -> None:
    studio.charge("job-1", charged)
    studio.apply(envelope(COMPLETED))
    assert kinds(studio) == [("charge", "job-1", charged), then]


def test_a_hold_that_a_person_released_is_charged_late(studio: Ledger) -> None:
    studio.release("job-1")
    [charge] = only(studio.apply(envelope(COMPLETED))).entries
    assert (charge.late, charge.amount) == (1, COST)


def test_what_a_person_did_afterwards_stays_until_the_provider_says_more(studio: Ledger) -> None:
    studio.apply(envelope(COMPLETED))
    studio.refund("job-1", 5, reason="goodwill")
    studio.apply([COMPLETED, used("65.3184", duration="144")])
    studio.catch_up()
    assert kinds(studio)[1:] == [("refund", "job-1", 5)]
    studio.apply(used("66"))  # the larger of two amounts stands
    assert kinds(studio)[2:] == [("charge", f"{TASK}#2", Decimal("5.6816"))]


def test_a_key_that_was_used_for_something_else_is_left_alone(studio: Ledger) -> None:
    studio.reserve("studio", 80, key="job-2")
    studio.charge("job-2", 1, key=TASK)
    studio.charge("job-9", 1, key=f"{TASK}#2")  # it waits in the inbox under that key
    studio.apply(envelope(COMPLETED))
    assert kinds(studio) == [("charge", f"{TASK}#3", COST)]


def test_a_long_name_of_a_task_still_gives_keys(studio: Ledger) -> None:
    task = "t" * 255
    studio.apply([envelope(used("60", task=task)), used("61", task=task)])
    studio.apply(used("62", task=task))
    keys = [key for _, key, _ in kinds(studio)]
    assert keys[0] == task
    assert len(keys) == len(set(keys)) == 2
    assert all(len(key) <= 255 for key in keys)


def test_what_the_book_refuses_is_told_and_tried_again(studio: Ledger) -> None:
    studio.reserve("studio", 50, key="job-2", policy="reject")
    told = only(studio.apply(envelope(COMPLETED, job="job-2")))
    assert (told.applied, told.waits, told.state) == (False, False, "settled")
    assert "policy is to reject" in told.reason
    assert kinds(studio, "job-2") == []
    assert only(studio.catch_up()).applied is False
    assert [item.task.id for item in studio.tasks(waiting=True)] == [TASK]
    studio.extend("job-2", key="more", amount=20)
    assert kinds(studio, "job-2") == [("extend", "more", 20), ("charge", TASK, COST)]
    assert studio.tasks(waiting=True) == []


def test_one_refusal_does_not_keep_the_others_back(studio: Ledger) -> None:
    studio.reserve("studio", 50, key="job-2", policy="reject")
    told = studio.apply([envelope(used("60", task="task-2"), job="job-2"), envelope(COMPLETED)])
    assert [item.applied for item in told] == [False, True]
    assert kinds(studio) == [("charge", TASK, COST)]


def test_what_a_policy_did_not_take_is_not_asked_for_again(studio: Ledger) -> None:
    studio.reserve("studio", 60, key="job-2", policy="cap")
    studio.apply(envelope(COMPLETED, job="job-2"))
    studio.apply(used("66"))
    # 65.3184 asked, 60 taken; then 0.6816 more asked, none taken.
    assert kinds(studio, "job-2") == [("charge", TASK, 60), ("charge", f"{TASK}#2", 0)]
    uncollected = [entry.uncollected_e8 for entry in studio.history("job-2")[1:]]
    assert uncollected == [531_840_000, 68_160_000]
    studio.apply(refund("completed", "66"))
    assert kinds(studio, "job-2")[2:] == [("refund", TASK, 60)]


def test_what_was_not_taken_before_a_refund_is_not_asked_for_after_it(studio: Ledger) -> None:
    studio.reserve("studio", 40, key="job-2", policy="cap")
    studio.apply(envelope(used("60", task="task-a"), job="job-2"))
    studio.apply(refund("failed", "60", task="task-a"))
    studio.apply(envelope(used("60", task="task-b"), job="job-2"))
    # Each time 60 are asked and 40 taken; the refund gives back 20 that never were, and 40.
    untaken_e8 = [entry.uncollected_e8 for entry in studio.history("job-2")[1:]]
    assert [kind for kind, _, _ in kinds(studio, "job-2")] == ["charge", "refund", "charge"]
    assert [amount for _, _, amount in kinds(studio, "job-2")] == [40, 40, 40]
    assert untaken_e8 == [2_000_000_000, 0, 2_000_000_000]


@pytest.mark.parametrize(("charged", "back"), [(("30", "60"), "20"), (("60", "80"), "30")])
def test_a_capped_hold_takes_the_same_in_whatever_order_a_refund_comes(
    studio: Ledger, charged: tuple[str, str], back: str
) -> None:
    part = billed("completed", billing("charged", "completed", charged=charged[0], refunded=back)
                  + ',"refunded_at":"2026-10-10T11:00:00Z"', task="task-2")  # fmt: skip
    told = [billed("completed", billing("charged", "pending", charged=amount), task="task-2")
            for amount in charged]  # fmt: skip
    for number, order in enumerate(permutations([*told, part])):
        job, name = f"more-{number}", f"task-2-{number}"
        studio.reserve("studio", 40, key=job, policy="cap")
        studio.link(job, name)
        for said in order:
            studio.apply(said.replace("task-2", name))
        # 60 less 20 that came back is 40, and 80 less 30 is more; the hold was made for 40.
        hold = studio.hold(job)
        assert hold.charged_e8 - hold.refunded_e8 == 4_000_000_000


def test_a_hold_that_draws_takes_what_there_is(studio: Ledger) -> None:
    studio.open_wallet("poor")
    studio.top_up("poor", 60, key="invoice-2")
    studio.reserve("poor", 55, key="job-2", policy="draw")
    told = only(studio.apply(envelope(COMPLETED, job="job-2")))
    assert told.applied
    assert studio.balance("poor").posted == 0
    studio.apply(COMPLETED)
    assert kinds(studio, "job-2") == [("charge", TASK, 60)]


def test_an_extension_may_make_sense_of_an_amount(studio: Ledger) -> None:
    # A fraction cannot be 10^-4 credits, and as credits it is 375 times the hold.
    told = only(studio.apply(envelope(used("30000.5"))))
    assert (told.state, told.net_e8) == ("disputed", None)
    studio.top_up("studio", 100_000, key="invoice-2")
    studio.extend("job-1", key="more", amount=29_920)
    assert kinds(studio)[1:] == [("charge", TASK, Decimal("30000.5"))]
    assert only(studio.tasks()).task.state == "settled"


# When it happened


def test_a_charge_happened_when_its_message_was_received(studio: Ledger, clock: Clock) -> None:
    clock.forward(hours=2)
    studio.apply(envelope(COMPLETED, at="2026-10-10T13:00:00Z"))
    charge = studio.history("job-1")[-1]
    assert charge.happened_at == datetime(2026, 10, 10, 13, tzinfo=UTC)
    assert only(studio.tasks()).task.last_heard_at == charge.happened_at


def test_without_that_it_happened_when_the_task_was_created(studio: Ledger, clock: Clock) -> None:
    clock.forward(days=5)
    created = datetime(2026, 10, 12, 9, tzinfo=UTC)
    studio.link("job-1", TASK)
    studio.apply(used("65.3184", created=str(int(created.timestamp()))))
    studio.apply(refund("completed", "65.3184"))
    _, charge, back = studio.history("job-1")
    assert (charge.happened_at, back.happened_at) == (created, clock.now)


def test_a_task_was_not_charged_before_its_hold_was_made(studio: Ledger, clock: Clock) -> None:
    # The provider tells whole seconds of its own clock: half a minute before our reserve.
    studio.link("job-1", TASK)
    studio.apply(used("65.3184", created=str(int(NOON.timestamp()) - 30)))
    assert studio.history("job-1")[-1].happened_at == NOON
    clock.forward(minutes=1)
    studio.reserve("studio", 80, key="job-2")
    long_ago = str(int(NOON.timestamp()) - 86_400)
    studio.apply(envelope(used("5", task="task-2", created=long_ago), job="job-2"))


def test_a_charge_that_waited_happened_when_it_was_heard_of(studio: Ledger, clock: Clock) -> None:
    bare = '{"id":"task-2","status":"completed","usage":{"credits_used":10.5}}'
    studio.apply(envelope(bare, job="job-2", at="2026-10-09T12:00:00Z"))
    studio.apply(envelope(bare.replace("task-2", "task-3"), job="job-3"))
    clock.forward(hours=30)
    studio.reserve("studio", 40, key="job-2", at=NOON - timedelta(hours=48))
    studio.reserve("studio", 40, key="job-3")
    charges = [studio.history(job)[1] for job in ("job-2", "job-3")]
    # The first when it was heard of, as there is no other time; the other not before its reserve.
    assert [charge.happened_at for charge in charges] == [
        *(NOON - timedelta(hours=24), studio.hold("job-3").reserved_at),
    ]


def test_the_future_is_now(studio: Ledger) -> None:
    studio.apply(envelope(COMPLETED, at="2027-01-01T00:00:00Z"))
    assert studio.history("job-1")[-1].happened_at == NOON


# Looking


def test_tasks_are_listed_by_state(studio: Ledger, clock: Clock) -> None:
    studio.apply(envelope(CREATED))
    clock.forward(minutes=1)
    studio.apply(failed("service_error", task="task-2"))
    clock.forward(minutes=1)
    studio.apply(body("completed", task="task-3"))
    assert [item.task.id for item in studio.tasks()] == [TASK, "task-2", "task-3"]
    assert [item.task.id for item in studio.tasks(state="unproven")] == ["task-2"]
    assert [item.task.id for item in studio.tasks(limit=1)] == [TASK]
    assert [item.waits for item in studio.tasks()] == [False, True, True]
    assert studio.task_counts() == {
        "waiting": 2,
        "running": 1,
        "unproven": 1,
        "unpriced": 1,
        "disputed": 0,
    }
    for wrong in ({"state": "lost"}, {"limit": 0}, {"limit": True}):
        with pytest.raises(InvalidEntry):
            studio.tasks(**wrong)


def test_the_probe_list_has_what_is_not_settled_oldest_first(studio: Ledger, clock: Clock) -> None:
    others = [failed("x", task="t-1"), body("completed", task="t-2")]
    for number, told in enumerate([CREATED, *others]):
        studio.apply(told)
        clock.forward(minutes=1 + number)
    studio.apply([used("5", task="t-3"), used("6", task="t-4"), used("7", task="t-4")])
    found = studio.probe_list()
    # t-3 is settled, t-4 is disputed: asking again would not help.
    assert [task.id for task in found.tasks] == [TASK, "t-1", "t-2"]
    assert (found.silent, found.more) == ((), False)
    assert [task.id for task in studio.probe_list(limit=2).tasks] == [TASK, "t-1"]
    assert studio.probe_list(limit=2).more
    # An answer that says nothing new makes room for the others all the same.
    studio.apply(CREATED)
    quiet = studio.probe_list(older_than=timedelta(minutes=3))
    assert [task.id for task in quiet.tasks] == ["t-1", "t-2"]


def test_holds_past_their_deadline_without_a_task_are_told(studio: Ledger, clock: Clock) -> None:
    studio.reserve("studio", 5, key="job-2")
    studio.reserve("studio", 5, key="t-3", deadline=timedelta(hours=1))
    studio.reserve("studio", 5, key="job-4", deadline=timedelta(hours=1))
    studio.link("job-2", "t-2")
    studio.apply(body("processing", task="t-3"))
    clock.forward(hours=2)
    assert [hold.job for hold in studio.probe_list().silent] == ["job-4"]
    clock.forward(days=1)
    assert [hold.job for hold in studio.probe_list().silent] == ["job-4", "job-1"]


def test_a_copied_book_has_its_tasks(studio: Ledger, tmp_path: Any) -> None:
    studio.apply([envelope(COMPLETED), failed("x", task="task-2")])
    url = f"sqlite:///{tmp_path / 'copy.db'}"
    copied = studio.copy_to(url)
    assert (copied.rows["tasks"], copied.rows["messages"]) == (2, 3)
    with Ledger(url, book=studio.book) as other:
        assert [item.task for item in other.tasks()] == [item.task for item in studio.tasks()]
        assert other.verify().findings == ()


def test_messages_may_be_applied_in_a_transaction_of_the_callers(studio: Ledger) -> None:
    with studio.engine.connect() as connection:
        with connection.begin():
            studio.join(connection).apply(envelope(CREATED))
        transaction = connection.begin()
        studio.join(connection).apply(COMPLETED)
        transaction.rollback()
    assert kinds(studio) == []
    studio.apply(COMPLETED)
    assert kinds(studio) == [("charge", TASK, COST)]


def test_a_late_message_for_a_closed_month_is_a_correction(studio: Ledger, clock: Clock) -> None:
    clock.forward(days=25)
    studio.close_period("2026-10", unreconciled="a test")
    studio.apply(envelope(COMPLETED, at="2026-10-10T13:00:00Z"))
    charge = studio.history("job-1")[-1]
    assert (charge.corrects, charge.happened_at) == ("2026-10", clock.now)


# The law: the same book, whatever the order and the number of messages


@dataclass(frozen=True)
class Said:
    """Something that is done to a book: a message, or the reserve of a job."""

    text: str = ""
    job: str = ""
    policy: Any = "owe"


def does(ledger: Ledger, part: Sequence[Said]) -> None:
    """Do a few things: the reserves one by one, the messages together."""
    for said in part:
        if said.job:
            ledger.reserve("studio", 80, key=said.job, policy=said.policy)
    texts = [said.text for said in part if said.text]
    if texts:
        ledger.apply(texts)


def seen(ledger: Ledger) -> dict[str, Any]:
    """What the book says, but for how and when it came to that."""
    ledger.catch_up()
    holds = {}
    for hold in ledger.holds():
        net_e8 = hold.charged_e8 - hold.refunded_e8
        # Whether a job that costs nothing was charged and refunded, or released at once, is how.
        state = hold.state if hold.state == "open" else "charged" if net_e8 else "free"
        holds[hold.job] = (state, hold.held_e8, net_e8)
    tasks = {
        task.id: (task.job, task.model, task.status, task.state, task.facts, task.applied)
        for task in (item.task for item in ledger.tasks())
    }
    assert ledger.verify().findings == ()
    return {
        "figures": figures(ledger),
        "holds": holds,
        "tasks": tasks,
        "inbox": ledger.inbox(),
        "messages": sorted(sql(ledger, "SELECT task, digest FROM messages WHERE book = :book")),
    }


def told_of(task: str, job: str | None = None) -> Callable[[str], str]:
    """Puts the messages of a task into an envelope, if they name a job."""
    return lambda inner: inner if job is None else envelope(inner, job=job)


FEW = [
    Said(job="job-1"),
    Said(envelope(CREATED)),
    Said(COMPLETED),
    Said(refund("completed", "65.3184")),
]
"""Every order of these is tried."""

MANY = [
    *(Said(job=f"job-{number}") for number in range(1, 9)),
    Said(job="job-9", policy="cap"),
    Said(job="t-10"),
    # A task that completes.
    Said(envelope(CREATED)),
    Said(body("processing")),
    Said(COMPLETED),
    # One that is charged and comes back, one that fails and comes back, one that only fails.
    Said(envelope(reserved("800000", task="t-2"), job="job-2")),
    Said(used("70", task="t-2")),
    Said(refund("completed", "70", task="t-2")),
    Said(failed("service_error", task="t-3")),
    Said(envelope(refund("failed", "80", task="t-3"), job="job-3")),
    Said(envelope(failed("generation_timeout", task="t-4"), job="job-4")),
    Said(body("cancelled", task="t-4")),
    # Contradictions: two amounts, and charged though failed.
    Said(envelope(used("50", task="t-5"), job="job-5")),
    Said(used("60", task="t-5")),
    Said(used("55", task="t-5", status="failed")),
    # A part comes back.
    Said(envelope(billed("completed", billing("charged", "pending", charged="40"), task="t-6"),
                  job="job-6")),
    Said(billed("completed", billing("charged", "completed", charged="40", refunded="15")
                + ',"refunded_at":"2026-10-10T11:00:00Z"', task="t-6")),
    # Two tasks of one job, of which one fails; and two that both cost something.
    Said(envelope(used("20", task="t-7a"), job="job-7")),
    Said(envelope(failed("service_error", task="t-7b"), job="job-7")),
    Said(refund("failed", "80", task="t-7b")),
    Said(envelope(reserved("80", task="t-8a"), job="job-8")),
    Said(used("15", task="t-8a")),
    Said(envelope(used("20", task="t-8b"), job="job-8")),
    # More than a hold that is capped, in two steps; a job with the name of its task.
    Said(envelope(used("60", task="t-9"), job="job-9")),
    Said(used("95", task="t-9")),
    Said(used("10", task="t-10")),
    Said(reserved("80", task="t-10")),
    # Nobody reserves this job, and nobody says whose this task is.
    Said(envelope(used("30", task="t-11"), job="job-11")),
    Said(used("30", task="t-12", status="failed")),
]  # fmt: skip


def end_of(url: str, parts: Sequence[Sequence[Said]]) -> dict[str, Any]:
    """The end of a book of its own in which things were done in parts."""
    with Ledger(url, book=f"law-{uuid4().hex[:12]}", clock=Clock()) as ledger:
        ledger.top_up("studio", 1_000, key="invoice-1")
        for part in parts:
            does(ledger, part)
        return seen(ledger)


def test_every_order_of_a_few_messages_ends_in_the_same_book(database_url: str) -> None:
    ends = [end_of(database_url, [[said] for said in order]) for order in permutations(FEW)]
    assert ends[0]["figures"] == (1_000, 0, 1_000)
    assert ends[0]["holds"] == {"job-1": ("free", 0, 0)}
    assert all(end == ends[0] for end in ends)


def test_every_way_to_part_a_few_messages_ends_in_the_same_book() -> None:
    once = end_of("sqlite://", [FEW])
    for order in permutations(FEW):
        for cuts in range(8):
            parts: list[list[Said]] = [[]]
            for place, said in enumerate(order):
                if place and cuts >> (place - 1) & 1:
                    parts.append([])
                parts[-1].append(said)
            assert end_of("sqlite://", parts) == once


MANY_END = {
    "job-1": ("charged", 0, 6_531_840_000),
    "job-2": ("free", 0, 0),
    "job-3": ("free", 0, 0),
    "job-4": ("open", 8_000_000_000, 0),
    "job-5": ("charged", 0, 6_000_000_000),
    "job-6": ("charged", 0, 2_500_000_000),
    "job-7": ("charged", 0, 2_000_000_000),
    "job-8": ("charged", 0, 3_500_000_000),
    "job-9": ("charged", 0, 8_000_000_000),
    "t-10": ("charged", 0, 1_000_000_000),
}
"""Worked by hand from what the messages say; holds are of 80 credits."""


def test_the_end_of_many_messages_is_the_one_that_was_worked_out(database_url: str) -> None:
    end = end_of(database_url, [MANY])
    assert end["holds"] == MANY_END
    spent = Decimal(sum(net for _, _, net in MANY_END.values())).scaleb(-8)
    assert end["figures"] == (1_000 - spent, 80, 920 - spent)
    assert [task for task, told in end["tasks"].items() if not told[-1]] == ["t-11", "t-12"]


@pytest.fixture(scope="module")
def once() -> dict[str, Any]:
    return end_of("sqlite://", [MANY])


def shuffled(random: Random) -> list[list[Said]]:
    """The many, each message one to five times, in any order and in parts of any size."""
    order = [said for said in MANY for _ in range(1 if said.job else random.randint(1, 5))]
    random.shuffle(order)
    parts = []
    while order:
        size = random.choice((1, 1, 2, 3, 10, 40))
        parts.append([order.pop() for _ in range(min(size, len(order)))])
    return parts


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(random=st.randoms(use_true_random=False))
def test_any_order_and_number_of_messages_ends_in_the_same_book(
    once: dict[str, Any], random: Random
) -> None:
    assert end_of("sqlite://", shuffled(random)) == once


@pytest.mark.parametrize("seed", range(4))
def test_so_it_does_on_postgresql(postgres_url: str, once: dict[str, Any], seed: int) -> None:
    assert end_of(postgres_url, shuffled(Random(seed))) == once


def deliver(url: str, _: Book, worker: int, *, book: str) -> int:
    """A process that does everything in an order of its own, and how often nothing was new."""
    random = Random(worker)
    new = 0
    with Ledger(url, book=book, clock=Clock()) as ledger:
        for part in shuffled(random):
            for said in part:
                if said.job:
                    ledger.reserve("studio", 80, key=said.job, policy=said.policy, deadline=UNTIL)
            if texts := [said.text for said in part if said.text]:
                new += sum(item.new for item in ledger.apply(texts))
    return new


def test_several_processes_end_in_the_same_book(
    database_url: str, book: str, once: dict[str, Any]
) -> None:
    with Ledger(database_url, book=book, clock=Clock()) as ledger:
        ledger.top_up("studio", 1_000, key="invoice-1")
        answers = together(database_url, book, partial(_deliver, database_url, book), workers=4)
        # Each message was new to one of them.
        assert sum(answers) == len([said for said in MANY if said.text])
        assert seen(ledger) == once


def _deliver(url: str, book: str, opened: Book, worker: int) -> int:
    return deliver(url, opened, worker, book=book)


# Verification


def test_a_plain_book_verifies_entries_only(studio: Ledger) -> None:
    studio.apply(envelope(COMPLETED))
    tampered = f"UPDATE tasks SET state = 'running' WHERE book = '{studio.book}'"
    tamper(studio.engine, tampered)
    url = studio.engine.url.render_as_string(hide_password=False)
    with Book(url, book=studio.book) as plain:
        assert plain.verify().findings == ()
    assert studio.verify().findings[0].kind == "task"
    tamper(studio.engine, tampered.replace("running", "settled"))


X = sha256(b"x").hexdigest()
TAMPERED = [
    ("UPDATE tasks SET state = 'running' WHERE id = 't-1'", "task", "state is running"),
    ("UPDATE tasks SET status = 'failed' WHERE id = 't-1'", "task", "status is failed"),
    ("UPDATE tasks SET facts = '{}' WHERE id = 't-1'", "task", "facts is {}"),
    ("UPDATE tasks SET model = 'm' WHERE id = 't-1'", "task", "model is m"),
    ("UPDATE tasks SET job = 'job-2' WHERE id = 't-1'", "task", "belongs to job 'job-2'"),
    ("UPDATE tasks SET job = NULL WHERE id = 't-1'", "task", "belongs to no job"),
    ("UPDATE tasks SET job = 'job-1' WHERE id = 't-4'", "task", "belongs to job 'job-1'"),
    ("UPDATE tasks SET applied = 1 WHERE id = 't-3'", "task", "nobody has reserved job 'job-3'"),
    ("UPDATE tasks SET applied = 1 WHERE id = 't-4'", "task", "nobody has reserved no job"),
    ("UPDATE tasks SET applied = 1 WHERE id = 't-5'", "task", "hold of its job is still open"),
    ("UPDATE tasks SET first_heard_at_us = 0 WHERE id = 't-1'", "task", "first_heard_at_us is 0"),
    ("UPDATE tasks SET first_heard_at_us = 0, last_heard_at_us = 0 WHERE id = 't-1'", "task", ""),
    ("DELETE FROM tasks WHERE id = 't-1'", "task", "is missing"),
    ("DELETE FROM messages WHERE task = 't-1'", "task", "has no message"),
    ("DELETE FROM messages WHERE task = 't-1' AND body LIKE '%%used%%'", "task", "facts is"),
    ("DELETE FROM messages WHERE task = 't-1' AND body LIKE '%%linked%%'", "task", "belongs to"),
    (
        "UPDATE messages SET body = replace(body, '65', '64') WHERE body LIKE '%%used\":65%%'",
        "message",
        "is not what came",
    ),
    (
        "UPDATE messages SET task = 't-4' WHERE task = 't-1' AND body LIKE '%%used%%'",
        "message",
        "is about another task",
    ),
    (
        f"UPDATE messages SET body = 'x', digest = decode('{X}', 'hex') WHERE task = 't-2'",
        "message",
        "cannot be read",
    ),
]


@pytest.mark.parametrize(("statement", "kind", "problem"), TAMPERED)
def test_verify_finds_tasks_that_were_tampered_with(
    database_url: str, book: str, statement: str, kind: str, problem: str
) -> None:
    if database_url.startswith("sqlite"):
        statement = statement.replace("decode('", "(x'").replace("', 'hex')", "')")
    with Ledger(database_url, book=book) as ledger:
        ledger.top_up("studio", 1_000, key="invoice-1")
        ledger.reserve("studio", 80, key="job-1")
        ledger.reserve("studio", 80, key="job-2")
        ledger.reserve("studio", 50, key="job-5", policy="reject")
        ledger.apply(
            [
                envelope(reserved("80", task="t-1")),
                used("65.3184", task="t-1"),
                body("processing", task="t-2"),
                envelope(used("5", task="t-3"), job="job-3"),
                failed("x", task="t-4"),
                envelope(used("60", task="t-5"), job="job-5"),
            ]
        )
        assert ledger.verify().findings == ()
        tamper(ledger.engine, f"{statement} AND book = '{book}'")
        found = ledger.verify().findings
    assert any(item.kind == kind and problem in item.problem for item in found), found

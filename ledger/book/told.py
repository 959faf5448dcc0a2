"""What the provider says of its tasks, done in the book.

A task's messages say together what its job costs; the book is brought there by its own verbs, in
the same unit of work that keeps the messages. Because the book is compared with what they ask for,
the order and the number of messages do not matter; see `ledger.book.heard` for how they are kept.

A task whose job nobody has reserved waits in its own row, and not in the inbox: without the hold,
neither the unit of an amount nor whether it is to be charged or given back is certain, and what
the next message says would have to be undone there. The reserve of the job applies it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from hashlib import sha256
from itertools import count
from typing import NamedTuple

from ledger.book import releasing, settling
from ledger.book.heard import Hearing, Task
from ledger.book.items import Charge, Refund, Release
from ledger.book.work import Heard, Wanted, Work
from ledger.errors import LedgerError, StoreError, TaskLinked
from ledger.records import LONGEST_NAME, Entry, Hold, ImportRecord, TaskRecord, moment
from ledger.store import tasks as stored
from ledger.units import e8_to_credits

__all__ = ["Applied", "Imported", "apply_told", "catch_up", "link", "tell"]


class Applied(NamedTuple):
    """What became of a task with the messages that were told together."""

    task: str
    job: str | None
    """The job it belongs to; None until somebody says so."""
    status: str
    """The provider's word, such as completed."""
    state: str
    """running, settled, unproven, unpriced, or disputed."""
    applied: bool
    """Whether the book now says what the messages ask for."""
    waits: bool
    """Whether it is still to be told which job it belongs to, or the job is not reserved."""
    net_e8: int | None
    """What the task costs in the end, 10^-8 credits each; None is not known yet."""
    new: int
    """Messages that were not known before."""
    known: int
    entries: tuple[Entry, ...]
    """What was written for its job."""
    reason: str
    """Why, or why not; one sentence."""
    notes: tuple[str, ...]
    """What is contradictory or not certain."""


Imported = Callable[[list[Applied]], ImportRecord]
"""How far a file was read, given what became of its latest messages."""


def tell(work: Work, heard: Sequence[Heard], imported: Imported | None = None) -> list[Applied]:
    """Keep messages and do what they ask for; an outcome for each task, in order."""
    ids = dict.fromkeys(item.task for item in heard)
    desk = _Desk(work)
    desk.read(ids, {item.job for item in heard if item.job is not None})
    for item in heard:
        desk.hear(item)
    done = desk.done(ids)
    if imported is not None:
        work.imports.append(imported(done)._replace(recorded_at_us=work.now_us))
    return done


def catch_up(work: Work, ids: Collection[str]) -> list[Applied]:
    """Do what tasks ask for that were heard of before."""
    desk = _Desk(work)
    desk.read(ids, ())
    return desk.done(ids)


def link(work: Work, job: str, task: str) -> Applied:
    """Say which job a task belongs to; the same again changes nothing.

    Raises:
        TaskLinked: it belongs to another one.
    """
    desk = _Desk(work)
    desk.read([task], [job])
    belongs = desk.tasks[task].job
    if belongs not in {None, job}:
        raise TaskLinked(task, job=str(belongs), asked=job)
    desk.hear(Heard(task, job, None, None, None, None))
    return desk.done([task])[0]


def apply_told(work: Work, job: str, *, before_e8: int | None = None) -> None:
    """Do what the tasks of a job ask for that was reserved just now, or extended.

    `before_e8` is what its hold was made for before; amounts are measured by that.
    """
    if work.telling is not None:
        desk = _Desk(work, before_e8)
        desk.add(stored.task_rows(work.session, work.book, [job], [job]))
        desk.done(desk.tasks)


class _Plan(NamedTuple):
    """What the tasks of one job ask for together."""

    net_e8: int
    """What is known of their costs."""
    final: bool
    """Whether there is no more to come."""
    released: bool
    """Whether it is proven that the job costs nothing."""


class _Step(NamedTuple):
    """What is to be done for one job."""

    hold: Hold
    plan: _Plan
    charge_e8: int
    refund_e8: int
    lead: Task
    """The task in whose name it is done."""
    group: list[Task]


class _Desk(Hearing):
    """The tasks that one unit of work is about, and what is done for them in the book."""

    def __init__(self, work: Work, before_e8: int | None = None) -> None:
        super().__init__(work)
        self.before_e8 = before_e8

    def done(self, ids: Collection[str]) -> list[Applied]:
        """Bring the book where the tasks ask for it; the outcomes of those that were asked for."""
        for task in self.tasks.values():
            # A service may use the provider's name of a task as the key of its reserve.
            if task.job is None and self.hold(task.id) is not None:
                self.link(task, task.id, task.last_us or self.work.now_us)
        groups: dict[str, list[Task]] = {}
        for task in self.tasks.values():
            if task.job is not None:
                groups.setdefault(task.job, []).append(task)
            else:
                self._wait(task, "it is not known which job it belongs to")
        steps = [step for job, group in groups.items() if (step := self._step(job, group))]
        self._look_up_keys(steps)
        for step in steps:
            self._do(step)
        for task in self.tasks.values():
            self._write(task)
        return [_outcome(self.tasks[task]) for task in ids]

    def _wait(self, task: Task, problem: str) -> None:
        task.waits, task.problem = True, problem
        task.want = self.telling.wanted(task.said(self.telling), None)

    def _step(self, job: str, group: list[Task]) -> _Step | None:
        """What is to be done for a job; None where the book says what is asked for."""
        hold = self.hold(job)
        if hold is None:
            self.work.await_job(job)
            for task in group:
                self._wait(task, f"nobody has reserved job {job!r}")
            return None
        wants = []
        for task in group:
            task.want = self.telling.wanted(task.said(self.telling), hold.amount_e8)
            wants.append(task.want)
        plan = _plan(wants)
        if not plan.final and not plan.net_e8 and hold.charged_e8 == hold.refunded_e8:
            return None
        lead = max(group, key=_is_lead)
        # What a person has done since then stays, unless the provider says something new; which it
        # does of tasks that have ended since.
        if _is_done(group) and plan == self._plan_before(group, hold):
            return None
        asked_e8, kept_e8 = self._so_far_e8(hold)
        theirs_e8 = kept_e8
        if not plan.final:
            # What was charged beside the others may be for the task that runs.
            theirs_e8 = min(kept_e8, self._plan_before(group, hold).net_e8)
        return _Step(
            hold,
            plan,
            max(0, plan.net_e8 - asked_e8, _capped_e8(hold, plan.net_e8) - kept_e8),
            max(0, theirs_e8 - plan.net_e8),
            lead,
            group,
        )

    def _plan_before(self, group: list[Task], hold: Hold) -> _Plan:
        """What the tasks of a job asked for before anything was heard now."""
        before_e8 = hold.amount_e8 if self.before_e8 is None else self.before_e8
        wants = []
        for task in group:
            if task.linked:
                continue
            if task.text is not None and task.want is not None and self.before_e8 is None:
                wants.append(task.want)
            elif task.row is not None:
                facts = self.telling.facts(task.row.facts) if task.before is None else task.before
                wants.append(self.telling.wanted(facts, before_e8))
        return _plan(wants)

    def _so_far_e8(self, hold: Hold) -> tuple[int, int]:
        """What was asked of a job, and what was taken of it; refunds are deducted from both.

        A refund gives back first what was never taken, so that only what was not taken after it
        is asked for still.
        """
        kept_e8 = hold.charged_e8 - hold.refunded_e8
        if hold.policy in _ALL_OR_NOTHING or hold.last_seq == hold.seq:
            return kept_e8, kept_e8
        entries = self.work.session.entries_of(hold)
        known = {entry.seq for entry in entries}
        entries += [
            entry for entry in self.work.entries if entry.job == hold.job and entry.seq not in known
        ]
        refunds = [entry.seq for entry in entries if entry.kind == "refund"]
        untaken = (entry.uncollected_e8 for entry in entries if entry.seq > max(refunds, default=0))
        return kept_e8 + sum(untaken), kept_e8

    def _look_up_keys(self, steps: Sequence[_Step]) -> None:
        """Ask for all keys at once, whether they are free."""
        keys: dict[str, list[str]] = {}
        for step in steps:
            for kind, needed in (
                ("charge", step.charge_e8),
                ("refund", step.refund_e8),
                ("release", _may_release(step)),
            ):
                if needed:
                    keys.setdefault(kind, []).append(step.lead.id)
        self.work.preload((), (), keys)

    def _do(self, step: _Step) -> None:
        """Charge, refund or release; what the book refuses is told, and tried again later."""
        work, lead, plan, job = self.work, step.lead, step.plan, step.hold.job
        at = moment(max(task.told_us for task in step.group) or work.now_us)
        reason = str(lead.want.reason if lead.want is not None else "")[:LONGEST_NAME].strip()
        try:
            if step.charge_e8:
                amount, key = e8_to_credits(step.charge_e8), self._key("charge", lead.id)
                at = moment(self._charged_us(step))
                made = settling.charge(work, Charge(job, amount, None, key, plan.final, at))
                lead.entries += [made] if isinstance(made, Entry) else []
            elif step.refund_e8:
                amount, key = e8_to_credits(step.refund_e8), self._key("refund", lead.id)
                back = settling.refund(work, Refund(job, amount, key, reason or None, at))
                lead.entries += [back] if isinstance(back, Entry) else []
            if _may_release(step) and work.hold(job).state == "open":
                key = self._key("release", lead.id)
                lead.entries.append(releasing.release(work, Release(job, key, reason or None, at)))
        except StoreError:
            raise
        except LedgerError as error:
            for task in step.group:
                task.problem = str(error)

    def _charged_us(self, step: _Step) -> int:
        """When a job was charged: when a message about it was received, if that is told.

        Or else when its task was created, by which the provider lists what it has charged; or when
        it was last heard of, if that is not told either.
        """
        told_us = max(task.told_us for task in step.group)
        if told_us:
            return told_us
        since = [self.telling.since_us(task.said(self.telling)) for task in step.group]
        created_us = min(max((item for item in since if item), default=0), self.work.now_us)
        if not created_us:
            # Heard of before its job was reserved, it may be told of a hold that was made earlier.
            heard_us = max(task.last_us for task in step.group) or self.work.now_us
            return max(heard_us, min(step.hold.reserved_at_us, self.work.now_us))
        # The provider tells whole seconds of its own clock: the hold was made before the task.
        reserved_us = step.hold.reserved_at_us
        return reserved_us if 0 < reserved_us - created_us < _CLOCKS_DIFFER_US else created_us

    def _key(self, kind: str, task: str) -> str:
        """The task's name, or the first of task#2, task#3, … that nobody has used."""
        work = self.work
        stem = task if len(task) < LONGEST_NAME - 10 else sha256(task.encode()).hexdigest()
        for number in count(1):
            key = task if number == 1 else f"{stem}#{number}"
            waits = kind != "release" and not work.nothing_waits
            if work.earlier(kind, key) is None and not (
                waits and work.session.parked(work.book, kind, key)
            ):
                break
        return key

    def _write(self, task: Task) -> None:
        want, row = task.want, task.row
        if want is None:
            return
        text = self.telling.text(task.said(self.telling)) if task.text is None else task.text
        now_us = self.work.now_us
        record = TaskRecord(
            self.work.book,
            task.id,
            task.job,
            task.model,
            want.status,
            want.state,
            text,
            int(not task.waits and task.problem is None),
            1 if row is None else row.version,
            now_us if task.first_us is None else task.first_us,
            task.last_us or now_us,
        )
        if record != row:
            self.work.put_task(record, new=row is None)


_CLOCKS_DIFFER_US = 60_000_000
"""How far the provider's clock may be from ours: a minute."""

_ALL_OR_NOTHING = ("owe", "reject")
"""Policies of holds under which nothing is asked that is not taken."""


def _outcome(task: Task) -> Applied:
    want, waits = task.want, task.waits
    reason, notes = task.problem, tuple(task.notes)
    if want is not None:
        notes += want.notes
        reason = want.reason if reason is None else reason
    return Applied(
        task.id,
        task.job,
        "" if want is None else want.status,
        "" if want is None else want.state,
        not waits and task.problem is None,
        waits,
        None if want is None else want.net_e8,
        task.new,
        task.known,
        tuple(task.entries),
        reason or "",
        notes,
    )


def _capped_e8(hold: Hold, net_e8: int) -> int:
    """What a hold takes of a cost however it was told, where its policy says so; otherwise 0."""
    return min(net_e8, hold.amount_e8) if hold.policy == "cap" else 0


def _is_done(group: Sequence[Task]) -> bool:
    """Whether the book followed all tasks of a job before, and one of them did not run any more."""
    ended = False
    for task in group:
        row = task.row
        if row is None or not row.applied or task.linked:
            return False
        ended = ended or row.state != "running"
    return ended


def _is_lead(task: Task) -> tuple[bool, bool]:
    """Whether something is done in the name of a task: it tells a cost, and it is news."""
    tells = task.want is not None and task.want.net_e8 is not None
    return tells, task.linked or task.text is None


def _may_release(step: _Step) -> bool:
    """Whether what is left of a hold goes back: no more is to come, and what there was is known."""
    return step.plan.final and bool(step.plan.net_e8 or step.plan.released)


def _plan(wants: Sequence[Wanted]) -> _Plan:
    nets = [want.net_e8 for want in wants]
    known = [net for net in nets if net is not None]
    final = len(known) == len(nets)
    return _Plan(sum(known), final, final and all(want.released for want in wants))

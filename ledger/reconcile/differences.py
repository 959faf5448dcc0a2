"""What kind of difference there is between a job and its lines, part by part.

The parts of one job add up to its difference: what was charged in another period, what was charged
twice, what the charge is too much or too little, and what was not given back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ledger.reconcile.breaks import Draft, Proposal, credits_text, seconds_text
from ledger.reconcile.causes import Question
from ledger.reconcile.sides import Job, Line
from ledger.records import moment
from ledger.units import iso, show_credits

__all__ = ["Period", "drafts_of_job", "missing_here", "missing_there"]

_MOST_LINES = 100
_NEAR_US = 86_400_000_000
"""A day: how near the end of a period a charge may be expected on the next bill."""


@dataclass(frozen=True, slots=True)
class Period:
    """What is compared."""

    since_us: int
    until_us: int

    def has(self, at_us: int | None) -> bool:
        """Whether a moment is of the period."""
        return at_us is not None and self.since_us <= at_us < self.until_us

    def place(self, times_us: Sequence[int | None]) -> int:
        """When a break happened: the first of these times in the period, or the first there is."""
        known = [at_us for at_us in times_us if at_us is not None]
        inside = [at_us for at_us in known if self.has(at_us)]
        return next(iter([*inside, *known]), self.since_us)


@dataclass(slots=True)
class _Case:
    """One job with its lines, while its parts are taken off one after another."""

    job: Job
    lines: Sequence[Line]
    period: Period
    inside: list[Line] = field(init=False)
    charges: list[Line] = field(init=False)
    ours_e8: int = field(init=False)
    """Charged here, and not yet explained."""
    theirs_e8: int = field(init=False)
    """Charged there."""
    given_here_e8: int = field(init=False)
    """Refunded here."""
    given_there_e8: int = field(init=False)
    """Refunded there."""

    def __post_init__(self) -> None:
        self.inside = [line for line in self.lines if line.inside]
        self.charges = [line for line in self.inside if line.charge_e8]
        self.ours_e8, self.given_here_e8 = self.job.charged_e8, self.job.refunded_e8
        self.theirs_e8 = sum(line.charge_e8 for line in self.inside)
        self.given_there_e8 = sum(line.refund_e8 for line in self.inside)

    @property
    def is_failed(self) -> bool:
        """Whether the bill or the provider's messages say that the task made nothing."""
        told = any(line.is_failed for line in self.charges or self.inside)
        return told or self.job.task_status in ("failed", "cancelled")

    def net_corrections(self) -> None:
        """Take refunds that have corrected the charge off both, where they are enough for that."""
        over_e8, given_e8 = self.ours_e8 - self.theirs_e8, self.given_here_e8 - self.given_there_e8
        if 0 < over_e8 <= given_e8:
            self.ours_e8 -= over_e8
            self.given_here_e8 -= over_e8
        elif given_e8 <= over_e8 < 0:
            self.theirs_e8 += over_e8
            self.given_there_e8 += over_e8

    @property
    def is_settled_for_nothing(self) -> bool:
        """Whether the bill says that nothing more is to come, and never charged anything."""
        return not self.charges and any(line.is_settled for line in self.inside)

    def draft(
        self,
        kind: str,
        ours_e8: int | None,
        theirs_e8: int | None,
        proposal: Proposal,
        **more: Any,
    ) -> Draft:
        """A part of the difference, with what both sides say."""
        lines = self.inside or list(self.lines)
        return Draft(
            kind,
            ours_e8,
            theirs_e8,
            self.period.place([*(line.at_us for line in lines), self.job.at_us]),
            proposal,
            _evidence(self.job, self.lines, theirs_e8),
            wallet=self.job.wallet,
            job=self.job.job,
            task=self.job.task or next((line.task for line in lines if line.task), None),
            lines=numbers(lines),
            **more,
        )


def drafts_of_job(job: Job, lines: Sequence[Line], period: Period) -> Iterator[Draft]:
    """The parts of the difference between a job and its lines."""
    if not lines:
        if job.is_open and not job.net_e8:
            yield from _never_heard_of(_Case(job, lines, period))
        elif job.refunded_e8 and not job.charged_e8:
            yield _other_refund(_Case(job, lines, period))
        else:
            yield missing_there(job, period)
        return
    case = _Case(job, lines, period)
    yield from _other_period(case)
    yield from _failed_attempt(case)
    yield from _twice(case)
    if case.is_failed:
        yield from _failed(case)
    if case.theirs_e8 and not case.ours_e8 and job.state != "charged":
        yield from _not_charged_here(case)
    elif job.is_open and not case.ours_e8 and case.is_settled_for_nothing:
        yield from _settled_for_nothing(case)
    case.net_corrections()
    if case.ours_e8 != case.theirs_e8:
        yield _other_amount(case)
    if case.given_here_e8 != case.given_there_e8:
        yield _other_refund(case)


def _other_period(case: _Case) -> Iterator[Draft]:
    """What one side has in this period and the other side before or after it."""
    job, outside = case.job, [line for line in case.lines if not line.inside]
    yield from _shifted(
        case,
        "charge",
        (case.ours_e8, job.charged_outside_e8),
        (case.theirs_e8, sum(line.charge_e8 for line in outside)),
    )
    yield from _shifted(
        case,
        "refund",
        (case.given_here_e8, job.refunded_outside_e8),
        (case.given_there_e8, sum(line.refund_e8 for line in outside)),
    )


def _shifted(
    case: _Case, what: str, ours: tuple[int, int], theirs: tuple[int, int]
) -> Iterator[Draft]:
    """A charge or refund that is in the period on one side only; the rest is compared as usual."""
    (here_e8, here_outside_e8), (there_e8, there_outside_e8) = ours, theirs
    if here_e8 == there_e8:
        return
    if there_e8 and not here_e8 and here_outside_e8:
        moved, rest = (0, here_outside_e8), here_outside_e8  # ours belongs to another period
    elif here_e8 and not there_e8 and there_outside_e8:
        moved, rest = (here_e8, 0), 0  # theirs does; its amount is that period's matter
    elif here_e8 + here_outside_e8 == there_e8 or there_e8 + there_outside_e8 == here_e8:
        moved, rest = (here_e8, there_e8), there_e8
    else:
        return
    sign = 1 if what == "charge" else -1
    reason = "nothing to correct: the other side has it in another period"
    draft = case.draft(
        "cut_off", sign * moved[0], sign * moved[1], Proposal(None, 0, reason),
        part=f"{what}, {'there' if moved[1] > moved[0] else 'here'}",
    )  # fmt: skip
    draft.evidence["outside_the_period"] = {
        "ours": show_credits(sign * here_outside_e8),
        "theirs": show_credits(sign * there_outside_e8),
    }
    yield draft
    if what == "charge":
        case.ours_e8 = rest
        if rest == 0:
            case.theirs_e8 = 0
    else:
        case.given_here_e8 = rest
        if rest == 0:
            case.given_there_e8 = 0


def _failed_attempt(case: _Case) -> Iterator[Draft]:
    """What a task costs that failed, where the job was submitted again and that went well."""
    failed = {line.task for line in case.inside if line.is_failed and line.task}
    attempts = [line for line in case.inside if line.task in failed]
    charged_e8 = sum(line.charge_e8 for line in attempts)
    others = [line for line in case.charges if line.task not in failed]
    if not charged_e8 or not any(line.task for line in others):
        return
    returned_e8 = sum(line.refund_e8 for line in attempts)
    net_e8 = charged_e8 - returned_e8
    if net_e8 < 0:
        return
    case.charges = others
    is_ours = case.ours_e8 == case.theirs_e8
    if net_e8:
        shown = show_credits(net_e8)
        reason = f"ask the provider for {shown} credits back: this task failed, another one did not"
        draft = case.draft(
            "charged_though_failed",
            net_e8 if is_ours else None,
            net_e8,
            Proposal(None, 0, reason),
            part="attempt",
        )
        draft.evidence["failed_tasks"] = sorted(str(task) for task in failed)
        yield draft
    if is_ours:
        # The book has both charges, and perhaps the refund, which is compared later.
        case.ours_e8 -= net_e8
        case.theirs_e8 -= net_e8
    else:
        case.theirs_e8 -= charged_e8
        case.given_there_e8 -= returned_e8


def _twice(case: _Case) -> Iterator[Draft]:
    """Lines that charge the task again, as far as no refund takes them back."""
    amounts = [line.charge_e8 for line in case.charges]
    surplus_e8 = surplus(amounts, case.ours_e8) if case.theirs_e8 else 0
    if not surplus_e8:
        return
    returned_e8 = min(max(case.given_there_e8 - case.given_here_e8, 0), surplus_e8)
    case.theirs_e8 -= surplus_e8
    case.given_there_e8 -= returned_e8
    if left_e8 := surplus_e8 - returned_e8:
        shown = show_credits(left_e8)
        reason = f"ask the provider for {shown} credits back: the task was charged more than once"
        draft = case.draft("duplicate_charge", None, left_e8, Proposal(None, 0, reason))
        draft.evidence["charges"] = [show_credits(amount_e8) for amount_e8 in amounts]
        yield draft


def surplus(amounts_e8: Sequence[int], ours_e8: int) -> int:
    """What of several charges of one task is a repetition; 0 where they are parts of one charge.

    >>> surplus([50, 50], 50), surplus([50, 7], 50), surplus([45, 45], 40), surplus([30, 30], 50)
    (50, 7, 45, 0)
    """
    total_e8 = sum(amounts_e8)
    if len(amounts_e8) < 2 or total_e8 <= ours_e8:
        return 0
    if ours_e8 and (ours_e8 in amounts_e8 or sum(set(amounts_e8)) == ours_e8):
        return total_e8 - ours_e8
    one_e8 = amounts_e8[0]
    if len(set(amounts_e8)) == 1 and abs(one_e8 - ours_e8) <= abs(total_e8 - ours_e8):
        return total_e8 - one_e8
    return 0


def _failed(case: _Case) -> Iterator[Draft]:
    """A task that made nothing: it should cost nothing."""
    theirs_e8 = case.theirs_e8 - case.given_there_e8
    ours_e8 = case.ours_e8 - case.given_here_e8
    if theirs_e8 > 0 and (not case.ours_e8 or not case.given_here_e8):
        shown = show_credits(theirs_e8)
        nothing = not case.ours_e8 and not case.given_here_e8
        stay = "charge" if ours_e8 < theirs_e8 else "explain: the book has charged them, too"
        reason = f"ask the provider for {shown} credits back: the task failed; if they stay, {stay}"
        yield case.draft(
            "charged_though_failed",
            None if nothing else ours_e8,
            theirs_e8,
            Proposal(None, 0, reason),
        )
    elif not case.theirs_e8 and ours_e8 > 0:
        back_e8 = ours_e8 - theirs_e8
        proposal = _refund(case.job, back_e8, "the task failed, and the bill has no charge for it")
        yield case.draft("refund_missing", ours_e8, theirs_e8, proposal, part="here")
    else:
        return
    case.ours_e8 = case.theirs_e8 = case.given_here_e8 = case.given_there_e8 = 0


def _not_charged_here(case: _Case) -> Iterator[Draft]:
    """The bill charges a job that the book still holds, or has let go.

    What it gives back beyond its charge is no charge; it is compared later.
    """
    net_e8 = max(0, case.theirs_e8 - case.given_there_e8)
    if case.job.is_open:
        if net_e8:
            proposal = Proposal("charge", net_e8, "the bill has settled the job")
        else:
            proposal = _release(case.job, "the bill has charged the job and given all of it back")
        yield case.draft("never_settled", None, net_e8, proposal)
    elif net_e8:
        reason = "the bill charges the job after it was released here"
        yield case.draft("late_charge", None, net_e8, Proposal("charge", net_e8, reason))
    case.given_there_e8 -= case.theirs_e8 - net_e8
    case.theirs_e8 = 0


def _settled_for_nothing(case: _Case) -> Iterator[Draft]:
    """The bill never charged the job, and the book still holds credits for it."""
    proposal = _release(case.job, "the bill has settled the job without a charge")
    yield case.draft("never_settled", None, 0, proposal)


def _never_heard_of(case: _Case) -> Iterator[Draft]:
    """A hold past its deadline that the bill says nothing of."""
    job = case.job
    if job.task_net_e8 == 0:
        proposal = _release(job, "the provider's messages prove that the job costs nothing")
    else:
        reason = (
            "ask the provider what became of the task: nothing is billed, nothing is given back"
        )
        proposal = Proposal(None, 0, reason)
    yield case.draft("never_settled", None, None, proposal)


def _other_amount(case: _Case) -> Draft:
    """Both sides charge, and not the same; what explains it is looked for later."""
    job, difference_e8 = case.job, case.theirs_e8 - case.ours_e8
    lengths = {line.seconds_us for line in case.charges}
    qualities = {line.quality for line in case.charges}
    question = Question(
        terms=job.terms,
        version=job.version,
        channel=job.channel,
        model=job.model,
        quality=job.quality,
        orientation=job.orientation,
        seconds=job.seconds,
        their_seconds_us=lengths.pop() if len(lengths) == 1 else None,
        their_quality=qualities.pop() if len(qualities) == 1 else None,
        hold_e8=job.hold_e8,
        ours_e8=case.ours_e8,
        theirs_e8=case.theirs_e8,
        at_us=job.at_us,
    )
    reason = "makes the book say what the bill says"
    if difference_e8 > 0:
        proposal = Proposal("charge", difference_e8, reason)
    else:
        proposal = _refund(job, -difference_e8, reason)
    return case.draft("amount", case.ours_e8, case.theirs_e8, proposal, question=question)


def _other_refund(case: _Case) -> Draft:
    """The charges agree, and what was given back does not."""
    here_e8, there_e8 = case.given_here_e8, case.given_there_e8
    if there_e8 > here_e8:
        proposal = _refund(case.job, there_e8 - here_e8, "the bill gives back more than the book")
    else:
        shown = show_credits(here_e8 - there_e8)
        reason = f"ask the provider for {shown} credits back: the book has them as refunded"
        proposal = Proposal(None, 0, reason)
    if here_e8 and there_e8:
        return case.draft("refund_amount", -here_e8, -there_e8, proposal)
    ours, theirs = (-given_e8 if given_e8 else None for given_e8 in (here_e8, there_e8))
    part = "there" if here_e8 else "here"
    return case.draft("refund_missing", ours, theirs, proposal, part=part)


def missing_there(job: Job, period: Period, candidates: Sequence[int] = ()) -> Draft:
    """The book has charged a job, and the bill has no line for it."""
    proposal = Proposal(None, 0, "ask the provider; the bill has no line for the job")
    if job.task_net_e8 == 0:
        reason = "the provider's messages say that the job costs nothing, and the bill agrees"
        proposal = _refund(job, job.net_e8, reason)
    elif job.at_us is not None and job.at_us >= period.until_us - _NEAR_US:
        proposal = Proposal(None, 0, "look at the next bill: it was charged on the last day")
    evidence = _evidence(job, (), None)
    if candidates:
        evidence["candidates"] = list(candidates)
    return Draft(
        "missing_there", job.net_e8, None, period.place([job.at_us]), proposal, evidence,
        wallet=job.wallet, job=job.job, task=job.task,
    )  # fmt: skip


def missing_here(
    lines: Sequence[Line],
    period: Period,
    *,
    identity: str,
    candidates: Sequence[str] = (),
) -> Draft:
    """The bill has lines that belong to no job of the book."""
    first = lines[0]
    task, key = first.task, first.key
    named = task or key
    if candidates:
        reason = "it may be any of several jobs that are alike; say which"
    else:
        reason = "no job of the book has this name" if named else "no job fits it"
    evidence = _evidence_of_lines(lines) | ({"key": key} if key else {})
    if candidates:
        evidence["candidates"] = list(candidates)
    return Draft(
        "missing_here",
        None,
        sum(line.net_e8 for line in lines),
        period.place([line.at_us for line in lines]),
        Proposal(None, 0, f"find out whose it is: {reason}"),
        evidence,
        task=task,
        lines=numbers(lines),
        identity=identity,
    )


def _refund(job: Job, amount_e8: int, reason: str) -> Proposal:
    """Credits back to the job; to its wallet, where that is more than the job was charged.

    None, where the book has given them back before or after the period.
    """
    if 0 < amount_e8 <= job.refunded_outside_e8:
        return Proposal(None, 0, "nothing more to give back: the book has, in another period")
    if 0 < amount_e8 <= job.net_ever_e8:
        return Proposal("refund", amount_e8, reason)
    return Proposal("adjust", amount_e8, f"{reason}; more than the job has been charged")


def _release(job: Job, reason: str) -> Proposal:
    return Proposal("release", job.hold_e8, reason)


def numbers(lines: Sequence[Line]) -> tuple[int, ...]:
    """The numbers of the lines, up to the most a break names."""
    known = [line.line for line in lines if line.line is not None]
    return tuple(known[:_MOST_LINES])


# Evidence


def _evidence(job: Job, lines: Sequence[Line], theirs_e8: int | None) -> dict[str, Any]:
    """What both sides and the provider's messages say."""
    found: dict[str, Any] = {
        "model": job.model,
        "quality": job.quality,
        "state": job.state,
        "charged": credits_text(job.charged_e8),
        "refunded": credits_text(job.refunded_e8),
        "held": credits_text(job.hold_e8),
        "seconds": job.seconds,
        "price": job.version,
        "charged_late": job.is_late or None,
        "deadline": None if job.deadline_us is None else iso(moment(job.deadline_us)),
        "last_entry": job.last_seq or None,
        "bill": _evidence_of_lines(lines) if lines else None,
        "messages": _evidence_of_messages(job, lines, theirs_e8),
    }
    return {name: value for name, value in found.items() if value is not None}


def _evidence_of_lines(lines: Sequence[Line]) -> dict[str, Any]:
    """What the lines say, each word once."""
    shown = lines[:_MOST_LINES]
    found: dict[str, Any] = {
        "model": _once([line.model for line in shown]),
        "quality": _once([line.quality for line in shown]),
        "status": _once([line.status for line in shown]),
        "seconds": _once(
            [None if line.seconds_us is None else seconds_text(line.seconds_us) for line in shown]
        ),
        "price": _once([line.version for line in shown]),
        "charged": show_credits(sum(line.charge_e8 for line in lines)),
        "refunded": show_credits(sum(line.refund_e8 for line in lines)),
    }
    return {name: value for name, value in found.items() if value is not None}


def _once(words: Sequence[str | None]) -> str | list[str] | None:
    """The words without repetition; one alone as it is."""
    if len(words) == 1:
        return words[0] or None
    found = list(dict.fromkeys(word for word in words if word))
    return (found[0] if len(found) == 1 else found) or None


def _evidence_of_messages(
    job: Job, lines: Sequence[Line], theirs_e8: int | None
) -> dict[str, Any] | None:
    """The third side: what the provider's own messages said, and with whom they agree."""
    if job.task_status is None and job.task_net_e8 is None:
        return None
    found: dict[str, Any] = {"status": job.task_status}
    if job.task_net_e8 is not None:
        bill_e8 = sum(line.net_e8 for line in lines) if lines else theirs_e8 or 0
        agree = [
            side
            for side, amount_e8 in (("book", job.net_ever_e8), ("bill", bill_e8))
            if amount_e8 == job.task_net_e8
        ]
        found["credits"] = show_credits(job.task_net_e8)
        found["agree_with"] = " and ".join(agree) or "neither"
    return found

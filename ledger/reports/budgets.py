"""How full budgets are, how fast they fill, and when they run out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ledger.budgets import FOREVER_US, Budget, BudgetStatus, counting, statuses
from ledger.records import WalletRecord
from ledger.reports.asking import Asked
from ledger.reports.columns import Column, Sums
from ledger.reports.facts import Progress, framed, nothing
from ledger.reports.now import at_one_moment, now_us, wallets_then
from ledger.reports.report import Report, dimension, span_of_facts
from ledger.store import Session, then
from ledger.units import divide

__all__ = ["ALL", "AT_RISK", "FINE", "OVER", "budgets"]

ALL = "all"
"""The share of a budget that is for all: others name a label, such as `user=li`."""

OVER, AT_RISK, FINE = "over", "at risk", "fine"

_DAY_US = 86_400_000_000
_MINUTE_US = 60_000_000
_SOON_US = 30 * _DAY_US
"""A budget that never starts anew is at risk when it runs out within this time."""

_LONGEST_US = 36_525 * _DAY_US
"""What lasts a century does not run out."""

_FIELDS = ("wallet", "seq", "kind", "job", "at_us", "budget", "share", "used_e8", "held_e8")


def _no_sum(sums: Sums) -> None:
    """Nothing that could be added up."""


MEASURES = (
    Column("per", "text", "per", minor=True),
    Column("limit", "credits", "limit", _no_sum),
    Column("used", "credits", "used"),
    Column("held", "credits", "held", minor=True),
    Column("left", "credits", "left", _no_sum, ("used", "held")),
    Column("percent", "percent", "%", _no_sum, ("used", "held")),
    Column("per_day", "credits", "a day", _no_sum, ("used", "held"), minor=True),
    Column("projected", "credits", "at the end", _no_sum, ("used", "held"), minor=True),
    Column("runs_out", "moment", "runs out (UTC)"),
    Column("status", "text", "status"),
)


_NOTE = "A day: what counts, held credits as well, by the days of the window that have passed."


def budgets(asked: Asked, *, progress: Progress = nothing) -> Report:
    """Every budget and share in the window of now, or of `as_of`.

    How fast one fills is what counts against it, held credits as well, by the time that has passed
    of its window. At that rate it comes to `projected` at the end of the window, and runs out at
    `runs_out`, if that is before the end.

    Args:
        asked: which book, and at which moment: `as_of`, or now.
        progress: is told how many jobs were read.

    >>> from ledger import Ledger
    >>> from ledger.reports.asking import ask
    >>> with Ledger("sqlite://") as book:
    ...     _ = book.top_up("studio", 100, key="invoice-1")
    ...     _ = book.set_budget("studio", "monthly", 30, key="b-1")
    ...     _ = book.reserve("studio", 15, key="job-1")
    ...     report = budgets(ask(book))
    >>> report.cells[0][:8]
    ['studio', 'monthly', 'all', 'month', '30', '0', '15', '15']
    """
    at_us = now_us(asked)
    with asked.book.looking() as session:
        found = [
            (budget, jobs)
            for record, place in list(wallets_then(session, asked))
            for budget, jobs in _counted(session, record, place, at_us)
        ]
    facts = [job.fact(budget) for budget, jobs in found for job in jobs]
    rows = [row for budget, jobs in found for row in _rows(budget, jobs, at_us)]
    frame = framed(facts, _FIELDS, progress=progress)
    frame = frame.rename({"used_e8": "used", "held_e8": "held"})
    report = Report(
        "budgets",
        "Budgets",
        asked,
        span_of_facts(asked, frame),
        (dimension("wallet"), dimension("budget"), dimension("share"), *MEASURES),
        tuple(rows),
        None,
        None,
        (_NOTE,),
        frame,
    )
    return at_one_moment(report, at_us)


class _Job(NamedTuple):
    """What one job counts against a budget."""

    group: str
    """Whose share, as `Budget.group` says it."""
    used_e8: int
    held_e8: int
    hold: then.HoldThen

    def fact(self, budget: Budget) -> tuple[Any, ...]:
        hold = self.hold
        where = (hold.wallet, hold.seq, "reserve", hold.job, hold.reserved_at_us)
        return (*where, budget.name, budget.whose(self.group) or ALL, self.used_e8, self.held_e8)


def _counted(
    session: Session, record: WalletRecord, place: int, at_us: int
) -> Iterator[tuple[Budget, list[_Job]]]:
    """The budgets of a wallet, each with the jobs that count in its window of a moment."""
    found = then.budgets_then(session, record, place)
    first_us = [max(budget.counts_from_us, counting(budget, at_us)[0]) for budget in found]
    holds: list[then.HoldThen] = []
    if any(budget.period != "job" for budget in found):
        holds = list(then.holds_then(session, record, place, since_us=min(first_us)))
        holds.sort(key=lambda hold: hold.seq)
    for budget in found:
        yield budget, list(_jobs(budget, holds, at_us))


def _jobs(budget: Budget, holds: Sequence[then.HoldThen], at_us: int) -> Iterator[_Job]:
    first_us, last_us = counting(budget, at_us)
    groups: dict[str, str | None] = {}
    for hold in holds:
        if not budget.counts(hold.reserved_at_us):
            continue
        if not first_us <= budget.window(hold.reserved_at_us).start_us <= last_us:
            continue
        if hold.labels not in groups:
            groups[hold.labels] = budget.group(json.loads(hold.labels))
        group = groups[hold.labels]
        # A limit on credits in flight counts no spent ones.
        used_e8 = 0 if budget.period == "in_flight" else hold.used_e8
        if group is not None and (used_e8 or hold.held_e8):
            yield _Job(group, used_e8, hold.held_e8, hold)


def _rows(budget: Budget, jobs: Sequence[_Job], at_us: int) -> Iterator[tuple[Any, ...]]:
    levels = [(job.group, job.held_e8, job.used_e8) for job in jobs]
    first_us = {
        budget.whose(group): min(job.hold.reserved_at_us for job in jobs if job.group == group)
        for group in {job.group for job in jobs}
    }
    for status in statuses(budget, levels, at_us):
        pace = _pace(status, at_us, first_us.get(status.group, at_us))
        yield (
            *(budget.wallet, budget.name, status.group or ALL, _per(budget)),
            *(budget.limit_e8, status.used_e8, status.held_e8),
            max(0, budget.limit_e8 - status.used_e8 - status.held_e8),
            status.percent,
            *pace,
            _judged(status, pace.runs_out_us, at_us),
        )


def _per(budget: Budget) -> str:
    """What a limit is for, in words."""
    words = [budget.period.replace("_", " ")]
    if budget.period == "rolling":
        words = [f"rolling {budget.rolling_seconds} s"]
    elif budget.timezone != "UTC" and budget.period in {"hour", "day", "week", "month"}:
        words.append(budget.timezone)
    return ", ".join(words if budget.hard else [*words, "soft"])


class _Pace(NamedTuple):
    """How fast a budget fills; None where that says nothing."""

    per_day_e8: int | None
    projected_e8: int | None
    """What it comes to at the end of its window; None where it has none."""
    runs_out_us: int | None


def _pace(status: BudgetStatus, at_us: int, first_us: int) -> _Pace:
    """What follows from the time that has passed; where all jobs count, since the first of them."""
    budget, counted_e8 = status.budget, status.held_e8 + status.used_e8
    if budget.period in {"job", "in_flight"}:
        return _Pace(None, None, None)
    full_us = at_us if counted_e8 >= budget.limit_e8 else None
    starts_us = first_us if status.starts_us is None else status.starts_us
    if (passed_us := at_us - starts_us) <= 0:
        return _Pace(None, None, full_us)
    per_day_e8 = divide(counted_e8 * _DAY_US, passed_us, "half_up")
    if budget.period == "rolling":
        # What leaves the window makes room again, so it does not fill in a straight line.
        return _Pace(per_day_e8, None, full_us)
    if full_us is None and counted_e8:
        left_us = divide((budget.limit_e8 - counted_e8) * passed_us, counted_e8, "ceil")
        if at_us + left_us < min(status.ends_us or FOREVER_US, at_us + _LONGEST_US):
            # A guess to the microsecond would claim too much.
            full_us = max(at_us, (at_us + left_us) // _MINUTE_US * _MINUTE_US)
    if status.ends_us is None:
        return _Pace(per_day_e8, None, full_us)
    whole_us = status.ends_us - starts_us
    return _Pace(per_day_e8, divide(counted_e8 * whole_us, passed_us, "half_up"), full_us)


def _judged(status: BudgetStatus, runs_out_us: int | None, at_us: int) -> str:
    if status.over:
        return OVER
    if runs_out_us is None:
        return FINE
    ends = status.ends_us is not None
    return AT_RISK if ends or runs_out_us <= at_us + _SOON_US else FINE

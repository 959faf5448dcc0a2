"""What a comparison says: sums, matches, breaks, their causes, and what was let through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

import polars as pl

from ledger.reconcile.breaks import COMPARED, Break
from ledger.units import e8_to_credits, show_credits

__all__ = ["EXACTLY", "CauseTotal", "Reconciliation", "Tolerance", "Totals"]

_TOLERABLE = frozenset({*COMPARED, "refund_amount"} - {"unit_scale"})
"""Kinds with an amount on both sides; what is missing, or paid twice, is never let through."""


class Tolerance(NamedTuple):
    """Differences that are let through; none, unless said otherwise.

    A difference must be within both limits, where both are given. The smallest go first, until the
    cap is reached.
    """

    absolute_e8: int | None = None
    """Largest difference of one break, in units of 10^-8 credit."""
    relative: Decimal | None = None
    """Largest part of the larger amount: 0.01 is one per cent."""
    cap_e8: int | None = None
    """Most that is let through in all, signs aside; no cap, if None."""

    def fits(self, item: Break) -> bool:
        """Whether a break may be let through, as far as it alone is looked at."""
        if self.absolute_e8 is None and self.relative is None:
            return False
        if item.kind not in _TOLERABLE or item.scope != "usage" or not item.difference_e8:
            return False
        size_e8 = abs(item.difference_e8)
        if self.absolute_e8 is not None and size_e8 > self.absolute_e8:
            return False
        if self.relative is None:
            return True
        up, down = self.relative.as_integer_ratio()
        return size_e8 * down <= up * max(abs(item.ours_e8 or 0), abs(item.theirs_e8 or 0))


EXACTLY = Tolerance()
"""Lets nothing through."""


class CauseTotal(NamedTuple):
    """How much one cause explains of all breaks with two amounts for one charge."""

    cause: str
    kind: str
    """Kind of its breaks."""
    breaks: int
    """Breaks it explains."""
    of_breaks: int
    """Breaks with two amounts."""
    amount_e8: int
    """Differences it explains, signs aside, in units of 10^-8 credit."""
    of_amount_e8: int
    """All differences of such breaks, signs aside."""

    @property
    def sentence(self) -> str:
        """For people.

        >>> CauseTotal("rounding to nearest", "rounding", 41, 44, 3_720_000_000,
        ...     3_800_000_000).sentence
        'rounding to nearest explains 41 of 44 breaks, 37.2 of 38 credits'
        """
        amounts = f"{show_credits(self.amount_e8)} of {show_credits(self.of_amount_e8)} credits"
        breaks = "break" if self.of_breaks == 1 else "breaks"
        return f"{self.cause} explains {self.breaks} of {self.of_breaks} {breaks}, {amounts}"


class Totals(NamedTuple):
    """Counts and sums; amounts are in units of 10^-8 credit."""

    lines: int
    """Lines of the bill."""
    lines_of_period: int
    """Lines of jobs in the period."""
    lines_outside: int
    """Lines of jobs before or after it: evidence, in no sum."""
    lines_of_top_ups: int
    """Lines that are no jobs."""
    lines_matched: int
    """Lines of the period that belong to a job."""
    lines_without_amount: int
    """Lines of the period that belong to no job and ask for nothing."""
    jobs: int
    """Jobs of the book."""
    jobs_matched: int
    """Jobs that a line of the period belongs to."""
    by_rule: Mapping[str, int]
    """Matched lines of the period by the rule that made the match."""
    ours_e8: int
    """Charged less refunded in the book."""
    theirs_e8: int
    """Charged less refunded on the bill."""
    breaks_e8: int
    """Sum of the differences of all breaks about jobs."""
    tolerated_e8: int
    """Sum of the differences that were let through."""
    purchases_agreeing: int
    """Top-ups that agree with their invoice."""

    @property
    def difference_e8(self) -> int:
        """Theirs less ours: the breaks and what was let through, to the last digit."""
        return self.theirs_e8 - self.ours_e8

    @property
    def ours(self) -> Decimal:
        """Credits in the book."""
        return e8_to_credits(self.ours_e8)

    @property
    def theirs(self) -> Decimal:
        """Credits on the bill."""
        return e8_to_credits(self.theirs_e8)

    @property
    def difference(self) -> Decimal:
        """Credits on the bill less those in the book."""
        return e8_to_credits(self.difference_e8)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """A book compared with a bill."""

    since_us: int
    """First moment of the period, in microseconds since 1970."""
    until_us: int
    """First moment after it."""
    totals: Totals
    matches: pl.DataFrame
    """`line`, `job` and `rule`, one row a match, in order of line and job."""
    breaks: list[Break]
    """Differences, in order of time."""
    causes: list[CauseTotal]
    """What explains the differences of amounts, the one that explains most first."""
    tolerated: list[Break]
    """Differences that were let through, in order of time."""
    notes: tuple[str, ...] = ()
    """What looks odd about the bill as a whole, such as times of another time zone."""


def let_through(breaks: Sequence[Break], tolerance: Tolerance) -> tuple[list[Break], list[Break]]:
    """Breaks that stay, and those within the tolerance, both in their order."""
    small = sorted(
        (item for item in breaks if tolerance.fits(item)),
        key=lambda item: (abs(item.difference_e8), item.id),
    )
    left_e8 = tolerance.cap_e8
    passed: set[str] = set()
    for item in small:
        if left_e8 is not None:
            left_e8 -= abs(item.difference_e8)
            if left_e8 < 0:
                break
        passed.add(item.id)
    stay = [item for item in breaks if item.id not in passed]
    return stay, [item for item in breaks if item.id in passed]


def cause_totals(breaks: Sequence[Break]) -> list[CauseTotal]:
    """How much each cause explains."""
    compared = [item for item in breaks if item.kind in COMPARED and item.scope == "usage"]
    of_amount_e8 = sum(abs(item.difference_e8) for item in compared)
    found: dict[tuple[str, str], list[int]] = {}
    for item in compared:
        if item.cause is not None:
            sizes = found.setdefault((item.cause, item.kind), [])
            sizes.append(abs(item.difference_e8))
    totals = [
        CauseTotal(cause, kind, len(sizes), len(compared), sum(sizes), of_amount_e8)
        for (cause, kind), sizes in found.items()
    ]
    return sorted(totals, key=lambda item: (-item.breaks, -item.amount_e8, item.cause))

"""What a comparison of two price books says, and the sums it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from ledger.documents import EffectDocument, EffectsDocument, ImpactDocument, ImpactGroupDocument
from ledger.impacts.effects import EFFECTS, Split
from ledger.units import divide, e8_to_credits, iso, plain, show_credits

__all__ = ["Effect", "Impact", "ImpactGroup", "Tally"]

Key = tuple[str | None, ...]

_MOST_TEXTS = 8
"""Most differences that one effect of one group is explained with."""


class Effect(NamedTuple):
    """One part of a difference."""

    name: str
    """One of `ledger.impacts.EFFECTS`."""
    amount_e8: int
    """What it changes the cost by, in units of 10^-8 credit."""
    what_differs: tuple[str, ...]
    """What differs between the two prices, the one that moves most credits first."""


class ImpactGroup(NamedTuple):
    """The jobs with one combination of labels, under both price books."""

    key: Key
    """Values of the columns that were grouped by."""
    jobs: int
    """Jobs that have a price under both."""
    first_e8: int
    """What they cost under the first, in units of 10^-8 credit."""
    second_e8: int
    """What they cost under the second, in units of 10^-8 credit."""
    effects: tuple[Effect, ...]
    """What the difference is made of: one of each of `ledger.impacts.EFFECTS`, in that order."""
    not_priced_jobs: int
    """Jobs without a price under one of them; they are in no amount."""

    @property
    def has_price(self) -> bool:
        """Whether the amounts mean anything: not where every job is without a price."""
        return self.jobs > 0 or self.not_priced_jobs == 0

    @property
    def difference_e8(self) -> int:
        """Second minus first, in units of 10^-8 credit; the effects add up to it."""
        return self.second_e8 - self.first_e8

    @property
    def difference(self) -> Decimal:
        """Second minus first, in credits."""
        return e8_to_credits(self.difference_e8)

    @property
    def change_percent(self) -> Decimal | None:
        """The difference in percent of the first, to one decimal; None where that is nothing."""
        if not self.first_e8:
            return None
        tenths = divide(abs(self.difference_e8) * 1000, self.first_e8, "half_up")
        return Decimal(f"{-tenths if self.difference_e8 < 0 else tenths}E-1")

    def document(self, by: tuple[str, ...]) -> ImpactGroupDocument:
        """The group as JSON types: amounts as strings."""
        change = self.change_percent
        rate, multiplier, rounding, minimum, other = map(_effect, self.effects)
        parts: EffectsDocument = {
            "rate": rate,
            "multiplier": multiplier,
            "rounding": rounding,
            "minimum": minimum,
            "other": other,
        }
        return {
            "key": dict(zip(by, self.key, strict=False)),
            "jobs": self.jobs,
            "first_credits": show_credits(self.first_e8) if self.has_price else None,
            "second_credits": show_credits(self.second_e8) if self.has_price else None,
            "difference": show_credits(self.difference_e8) if self.has_price else None,
            "change_percent": None if change is None else plain(change),
            "effects": parts,
            "not_priced_jobs": self.not_priced_jobs,
        }


def _effect(effect: Effect) -> EffectDocument:
    return {
        "credits": show_credits(effect.amount_e8),
        "what_differs": list(effect.what_differs),
    }


@dataclass(frozen=True, slots=True)
class Impact:
    """What the same jobs cost under two price books, and where the difference comes from."""

    first: str
    """Name of the first price book."""
    second: str
    """Name of the second; differences are second minus first."""
    at: datetime | None
    """The moment whose prices were taken; None where each job has its own, that of its reserve."""
    jobs_of: str
    """Where the jobs are from: a plan's file, or `book` and its name."""
    by: tuple[str, ...]
    """Columns of the groups' keys."""
    groups: tuple[ImpactGroup, ...]
    """The parts, sorted by key."""
    total: ImpactGroup
    """All of it; every figure is the sum of the groups'."""
    not_priced: Mapping[str, int]
    """Jobs without a price under one of the books, counted by reason, most frequent first."""
    not_comparable: Mapping[str, int]
    """Jobs of a book that were not charged by a price, counted by reason, most frequent first."""
    unknown_length_jobs: int
    """Compared jobs whose length is unknown; they count with what is expected, the longest."""

    @property
    def not_comparable_jobs(self) -> int:
        """Jobs of a book that were not charged by a price; they are in no other figure."""
        return sum(self.not_comparable.values())

    def document(self) -> ImpactDocument:
        """The comparison as JSON types: amounts as strings."""
        return {
            "first": self.first,
            "second": self.second,
            "at": None if self.at is None else iso(self.at),
            "jobs_of": self.jobs_of,
            "groups": [group.document(self.by) for group in self.groups],
            "total": self.total.document(self.by),
            "not_priced": dict(self.not_priced),
            "not_comparable": dict(self.not_comparable),
            "not_comparable_jobs": self.not_comparable_jobs,
            "unknown_length_jobs": self.unknown_length_jobs,
        }


@dataclass(slots=True)
class _Sums:
    """The figures of one group so far; Python's integers do not overflow."""

    jobs: int = 0
    first_e8: int = 0
    second_e8: int = 0
    effects_e8: list[int] = field(default_factory=lambda: [0] * len(EFFECTS))
    moved_e8: list[dict[str, int]] = field(default_factory=lambda: [{} for _ in EFFECTS])
    """How many credits each difference has to do with, by effect."""
    not_priced_jobs: int = 0

    def add(self, split: Split, jobs: int) -> None:
        """Add equal jobs."""
        self.jobs += jobs
        self.first_e8 += split.first_e8 * jobs
        self.second_e8 += split.second_e8 * jobs
        for place, amount_e8 in enumerate(split.effects_e8):
            self.effects_e8[place] += amount_e8 * jobs
        for place, text, moved_e8 in split.differs:
            self.move(place, text, moved_e8 * jobs)

    def move(self, place: int, text: str, amount_e8: int) -> None:
        """Count credits for one difference."""
        moved_e8 = self.moved_e8[place]
        moved_e8[text] = moved_e8.get(text, 0) + amount_e8

    def merge(self, other: _Sums) -> None:
        """Add another group."""
        self.jobs += other.jobs
        self.first_e8 += other.first_e8
        self.second_e8 += other.second_e8
        self.not_priced_jobs += other.not_priced_jobs
        for place, amount_e8 in enumerate(other.effects_e8):
            self.effects_e8[place] += amount_e8
            for text, moved_e8 in other.moved_e8[place].items():
                self.move(place, text, moved_e8)

    def group(self, key: Key) -> ImpactGroup:
        """The group as it is told."""
        effects = tuple(
            Effect(name, amount_e8, _texts(moved_e8) if amount_e8 else ())
            for name, amount_e8, moved_e8 in zip(
                EFFECTS, self.effects_e8, self.moved_e8, strict=True
            )
        )
        sums = (self.jobs, self.first_e8, self.second_e8)
        return ImpactGroup(key, *sums, effects, self.not_priced_jobs)


def _texts(moved_e8: Mapping[str, int]) -> tuple[str, ...]:
    texts = sorted(moved_e8, key=lambda text: (-moved_e8[text], text))
    if len(texts) <= _MOST_TEXTS:
        return tuple(texts)
    kept = _MOST_TEXTS - 1
    return (*texts[:kept], f"{len(texts) - kept} further differences")


@dataclass(slots=True)
class Tally:
    """Sums by group, and what is in none of them."""

    groups: dict[Key, _Sums] = field(default_factory=dict)
    not_priced: dict[str, int] = field(default_factory=dict)
    not_comparable: dict[str, int] = field(default_factory=dict)
    unknown_length_jobs: int = 0

    def add(self, key: Key, outcome: Split | str, jobs: int) -> None:
        """Add equal jobs: their split, or why they have no price."""
        sums = self.groups.get(key)
        if sums is None:
            sums = self.groups[key] = _Sums()
        if isinstance(outcome, str):
            sums.not_priced_jobs += jobs
            self.not_priced[outcome] = self.not_priced.get(outcome, 0) + jobs
        else:
            sums.add(outcome, jobs)

    def leave_out(self, reason: str) -> None:
        """Count a job that cannot be compared."""
        self.not_comparable[reason] = self.not_comparable.get(reason, 0) + 1

    def result(
        self, first: str, second: str, at: datetime | None, jobs_of: str, by: tuple[str, ...]
    ) -> Impact:
        """The comparison of all jobs."""
        total, groups = _Sums(), []
        for key, sums in self.groups.items():
            total.merge(sums)
            groups.append(sums.group(key))
        groups.sort(key=lambda group: [(part is None, part or "") for part in group.key])
        return Impact(
            first=first,
            second=second,
            at=at,
            jobs_of=jobs_of,
            by=by,
            groups=tuple(groups) if by else (),
            total=total.group(()),
            not_priced=_by_frequency(self.not_priced),
            not_comparable=_by_frequency(self.not_comparable),
            unknown_length_jobs=self.unknown_length_jobs,
        )


def _by_frequency(reasons: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0])))

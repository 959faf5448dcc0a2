"""Which cause a difference is put down to: the one that explains most of all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

__all__ = ["Explanation", "chosen"]

# The order in which causes are believed where they explain the same breaks: the plainest first.
UNIT, OWN, ROUNDING, FIGURE, VERSION, BOOK, OPTION, LENGTH, HOLD = range(0, 90, 10)

# Causes that fit almost anything are looked at only when the others are through.
PLAIN, TWO_AT_ONCE, WHOLE_SECONDS = range(3)


class Explanation(NamedTuple):
    """Something that gives the bill's amount to the last digit."""

    cause: str
    """In a few words; the same words for the same cause."""
    kind: str
    """Kind of the break that it makes."""
    rank: int
    """Smaller is plainer."""
    tier: int
    """Looked at after all of a smaller one."""
    facts: Mapping[str, Any]
    """Evidence."""
    changes: int = 1
    """How many figures of our price it changes."""


def chosen(explained: Sequence[Iterable[Explanation]]) -> list[Explanation | None]:
    """For each difference the cause it is put down to: the one that explains most of all of them.

    Of causes that explain as many, the plainer one; causes that fit almost anything come last. A
    whole price that changes several figures gives way to fewer single changes that explain as much.

    >>> nearest = Explanation("rounding to nearest", "rounding", 1, 0, {})
    >>> book = Explanation("another book", "price_version", 2, 0, {}, changes=2)
    >>> [item and item.cause for item in chosen([[nearest, book], [book], [], [nearest, book]])]
    ['another book', 'another book', None, 'another book']
    >>> [item and item.cause for item in chosen([[nearest, book], [nearest, book]])]
    ['rounding to nearest', 'rounding to nearest']
    """
    result: list[Explanation | None] = [None] * len(explained)
    for tier in (PLAIN, TWO_AT_ONCE, WHOLE_SECONDS):
        places: _Places = {}
        for place, items in enumerate(explained):
            if result[place] is None:
                for item in items:
                    if item.tier == tier:
                        places.setdefault(item.cause, {}).setdefault(place, item)
        taken = _most(places)
        _resolve_composites(taken, places)
        for cause, found in taken.items():
            for place in found:
                result[place] = places[cause][place]
    return result


_Places = dict[str, dict[int, Explanation]]
"""The differences that each cause explains, by their place."""


def _most(places: _Places) -> dict[str, set[int]]:
    """Causes, the one that explains most of what is left first, with what each is taken for."""
    counts = {cause: len(found) for cause, found in places.items()}
    rank = {cause: min(item.rank for item in found.values()) for cause, found in places.items()}
    causes_of: dict[int, list[str]] = {}
    for cause, found in places.items():
        for place in found:
            causes_of.setdefault(place, []).append(cause)
    taken: dict[str, set[int]] = {}
    while counts:
        best = min(counts, key=lambda cause: (-counts[cause], rank[cause], cause))
        if not counts.pop(best):
            break
        taken[best] = {place for place in places[best] if place in causes_of}
        for place in taken[best]:
            for cause in causes_of.pop(place):
                if cause in counts:
                    counts[cause] -= 1
    return taken


def _resolve_composites(taken: dict[str, set[int]], places: _Places) -> None:
    """Put what a whole price explains down to single changes, where fewer of them are new."""
    single = {
        cause: found for cause, found in places.items() if next(iter(found.values())).changes == 1
    }
    for cause in [name for name in taken if name not in single]:
        left = taken[cause]
        split: dict[str, set[int]] = {}
        for known in taken:
            if known in single and left:
                split[known] = left & single[known].keys()
                left = left - split[known]
        others = {
            name: {place: found[place] for place in left & found.keys()}
            for name, found in single.items()
            if left & found.keys()
        }
        fresh = _most(others)
        covered: set[int] = set().union(*fresh.values())
        changes = max(item.changes for item in places[cause].values())
        if covered == left and len(fresh) < changes:
            del taken[cause]
            for name, found in (*split.items(), *fresh.items()):
                taken.setdefault(name, set()).update(found)

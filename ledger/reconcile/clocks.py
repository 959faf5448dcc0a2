"""Whether the times of a bill look as if they were read in the wrong time zone."""

from __future__ import annotations

import polars as pl

from ledger.reconcile.frames import Sides

__all__ = ["zone_note"]

_STEP_US = 1_800_000_000
"""Time zones lie whole half hours apart."""
_LEAST_STEPS, _MOST_STEPS = 2, 28
"""Half an hour is how long a task may take; no two clocks are more than 14 hours from UTC."""
_SLACK_US = 600_000_000
"""How far the book's own time of a charge may be from the bill's: ten minutes."""
_FEWEST = 3
"""Fewest matches that say something."""
_DAY_US = 86_400_000_000


def zone_note(pairs: pl.DataFrame, sides: Sides) -> str | None:
    """A sentence, where most lines are as many whole half hours from their jobs; else None.

    Only lines that are found by a name count, those outside of the period as well: the others
    were found by their time.

    Args:
        pairs: what belongs together: `_line`, `_job`, `rule`.
        sides: both frames.
    """
    named = pairs.filter(pl.col("rule").cast(pl.String).is_in(["task", "key"]))
    times = pl.DataFrame(
        {
            "there": sides.statement["at_us"][named["_line"]],
            "here": sides.book["at_us"][named["_job"]],
        }
    ).drop_nulls()
    # Dates alone are hours away from everything that happened on them.
    if times.height < _FEWEST or (times["there"] % _DAY_US).n_unique() == 1:
        return None
    apart = pl.col("there") - pl.col("here")
    steps = (apart + _STEP_US // 2) // _STEP_US
    near = (apart - steps * _STEP_US).abs() <= _SLACK_US
    shifted = steps.abs().is_between(_LEAST_STEPS, _MOST_STEPS)
    counts = times.filter(near & shifted).group_by(steps.alias("steps")).len()
    if counts.is_empty():
        return None
    found, count = counts.sort("len", "steps", descending=True).row(0)
    if count < _FEWEST or 2 * count <= times.height:
        return None
    half = ".5" if found % 2 else ""
    told = f"{abs(found) // 2}{half} h {'later' if found > 0 else 'earlier'}"
    return (
        f"times on the bill are {told} than in the book for {count:,} of {times.height:,} matches:"
        " was it read in the right time zone?"
    )

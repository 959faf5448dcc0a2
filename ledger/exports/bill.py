"""Whether the provider's bill agrees with a job, as far as comparisons with it cover the job."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from ledger.records import moment
from ledger.reports.asking import Asked

__all__ = ["Bill"]


class Bill(NamedTuple):
    """What comparisons with the provider's bill say of jobs."""

    compared: tuple[tuple[int, int], ...]
    """Stretches of time that comparisons cover, in microseconds since 1970."""
    unseen: tuple[str, ...]
    """Jobs that were charged or refunded in one of these after it was compared."""
    disputed: tuple[str, ...]
    """Jobs that an open break is about."""

    @staticmethod
    def of(asked: Asked) -> Bill:
        """What is known of it."""
        book, before_us = asked.book, asked.reach.before_us
        known = [item for item in book.reconciliations() if item.recorded_at_us < before_us]
        compared = sorted({(item.since_us, item.until_us) for item in known})
        if not compared:
            return Bill((), (), ())
        since_us, until_us = compared[0][0], max(until_us for _, until_us in compared)
        unseen = book.unseen_jobs(since=moment(since_us), until=moment(until_us))
        found = {item.seq for item in known}
        disputed = {
            item.job
            for item in book.breaks(None)
            # One that was settled later was open then.
            if (item.status == "open" or item.changed_at_us >= before_us)
            and item.found_seq in found
            and item.job is not None
        }
        return Bill(tuple(compared), tuple(sorted(unseen)), tuple(sorted(disputed)))

    @property
    def state(self) -> pl.Expr:
        """Of a job: whether all that was charged or refunded in the span was compared."""
        covered = [
            pl.any_horizontal(
                pl.lit(value=False),
                *(pl.col(at).is_between(*span, closed="left") for span in self.compared),
            )
            for at in ("first_at", "last_at")
        ]
        unseen, disputed = (
            pl.col("job").is_in(pl.Series(jobs, dtype=pl.String).implode())
            for jobs in (self.unseen, self.disputed)
        )
        return (
            pl.when(~pl.all_horizontal(covered).fill_null(value=False) | unseen)
            .then(pl.lit("not yet"))
            .when(disputed)
            .then(pl.lit("open breaks"))
            .otherwise(pl.lit("reconciled"))
        )

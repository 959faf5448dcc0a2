"""What is exported of a book, as frames: entries, holds, and jobs, a row each.

Amounts are whole units of 10^-8 and times whole microseconds since 1970 in UTC; `Field.kind` says
which a column is. How they are written is for `ledger.exports.flat` to say.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from itertools import groupby, islice
from operator import itemgetter
from typing import NamedTuple, TypeVar

import polars as pl

from ledger.costing import Costed, Costing
from ledger.exports.bill import Bill
from ledger.exports.entry_rows import entry_row
from ledger.exports.fields import FIELDS, Table, schema_of
from ledger.exports.job_rows import HOLD, costs_of, job_moves, narrow, prices_of, summed
from ledger.records import Entry
from ledger.reports.asking import Asked
from ledger.store import Session
from ledger.store.posted import last_task_us

__all__ = ["Head", "Progress", "Reading", "known_until_us", "label_names", "reading"]

Progress = Callable[[int], None]
"""Is told how many rows were read."""

T = TypeVar("T")

_ROWS = 20_000
"""Rows that become a frame at a time."""


class Head(NamedTuple):
    """The last entry of a wallet that is known: its hash stands for all before it."""

    wallet: str
    seq: int
    hash: str
    """SHA-256 in hexadecimal digits; empty where nothing is known yet."""
    recorded_at_us: int


class Reading:
    """One snapshot of a book, from which everything of an export is read."""

    def __init__(self, session: Session, asked: Asked, bill: Bill, progress: Progress) -> None:
        """Nothing is read yet."""
        self.asked = asked
        self._session, self._bill, self._progress = session, bill, progress

    @cached_property
    def heads(self) -> list[Head]:
        """The last known entry of every wallet, by name."""
        session, asked = self._session, self.asked
        name, before_us = asked.book.book, asked.reach.before_us
        found = []
        for record in session.wallet_records(name):
            if asked.wallet not in {None, record.id}:
                continue
            place = record.seq
            if record.recorded_at_us >= before_us:
                place, _, _ = session.recorded_before(record, before_us)
            if place:
                entry = session.entry(name, record.id, place)
                found.append(Head(record.id, place, entry.hash.hex(), entry.recorded_at_us))
        return found

    @property
    def made_at_us(self) -> int | None:
        """When the last known entry was recorded; None in an empty book."""
        return max((head.recorded_at_us for head in self.heads), default=None)

    def frames(self, table: Table) -> Iterator[pl.DataFrame]:
        """The rows of a table with the columns of `FIELDS`, in parts.

        Entries come by wallet and place; holds (those made in the span, as they stand as far as is
        known) and jobs (those with anything in the span, and what they cost in it) by job.
        """
        if table == "entries":
            return self._entries()
        return self._of_jobs(table, self._holds_made if table == "holds" else self._jobs)

    def known(self) -> Iterator[Costed]:
        """Every entry that is known, wallet by wallet from the first, with what it cost."""
        before_us, done = self.asked.reach.before_us, 0
        self._session.scans()
        rows = self._session.all_rows("entries", self.asked.book.book, order=("wallet", "seq"))
        for wallet, own in groupby(rows, key=itemgetter(1)):
            if self.asked.wallet not in {None, wallet}:
                continue
            costing = Costing()
            for row in own:
                entry = Entry(*row)
                if entry.recorded_at_us >= before_us:
                    break
                yield costing.of(entry)
                done += 1
                if done % _ROWS == 0:
                    self._progress(done)

    def _entries(self) -> Iterator[pl.DataFrame]:
        counts = _inside(self.asked)
        names = [item.name for item in FIELDS["entries"]]
        schema = schema_of(FIELDS["entries"])
        for part in _parts(item for item in self.known() if counts(item.entry)):
            rows = [entry_row(item) for item in part]
            yield pl.DataFrame(
                dict(zip(names, zip(*rows, strict=True), strict=True)), schema=schema
            )

    @cached_property
    def _moves(self) -> pl.DataFrame:
        """Every known entry about a job, narrow: about 130 bytes each."""
        counts, frames = _inside(self.asked), [narrow([])]
        owing: dict[tuple[str, int], str] = {}
        for part in _parts(self.known()):
            inside = (
                row for item in part for row in job_moves(item, owing, inside=counts(item.entry))
            )
            frames.append(narrow(list(inside)))
        return pl.concat(frames)

    @cached_property
    def _holds_made(self) -> pl.DataFrame:
        sums = summed(self._moves, only_made=True).drop("charged", "refunded")
        return sums.rename({"charged_ever": "charged", "refunded_ever": "refunded"})

    @cached_property
    def _jobs(self) -> pl.DataFrame:
        sums = summed(self._moves, only_made=False)
        for more in (costs_of(self._moves), self._tasks()):
            sums = sums.join(more, on="job", how="left")
        cost = pl.when(pl.col("costs").is_null()).then(pl.col("cost").fill_null(0))
        return sums.with_columns(cost, self._bill.state.alias("reconciled"))

    def _tasks(self) -> pl.DataFrame:
        """The task of every job: of several the last that has not failed."""
        rows = self._session.all_rows("tasks", self.asked.book.book, order=("id",))
        found: dict[str, tuple[bool, str]] = {}
        for row in rows:
            task, job, status, first_heard_us = row[1], row[2], row[4], row[9]
            if job is not None and first_heard_us < self.asked.reach.before_us:
                mine = (status not in {"failed", "cancelled"}, task)
                found[job] = max(mine, found.get(job, mine))
        columns = {"job": list(found), "task": [task for _, task in found.values()]}
        return pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))

    def _of_jobs(self, table: Table, sums: pl.DataFrame) -> Iterator[pl.DataFrame]:
        """What the holds were made with, beside the sums, in the order of jobs."""
        names, done = [item.name for item in FIELDS[table]], 0
        rows = self._session.all_rows("holds", self.asked.book.book, order=("job",))
        for part in _parts(row for row in rows if row[2] is not None):
            done += len(part)
            self._progress(done)
            few = [(row[1], row[12], row[13], row[14], row[15]) for row in part]
            frame = pl.DataFrame(few, schema=HOLD, orient="row")
            frame = frame.join(prices_of(frame["terms"]), on="terms", how="left", nulls_equal=True)
            frame = frame.join(sums, on="job", how="inner").sort("job")
            if frame.height:
                yield frame.select(names)


@contextmanager
def reading(asked: Asked, progress: Progress = lambda _: None) -> Iterator[Reading]:
    """A snapshot of a book to export from.

    Args:
        asked: which entries count.
        progress: is told how many entries were read, from the first again for every table.
    """
    # Before the snapshot is taken: a book in memory has but one connection.
    bill = Bill.of(asked)
    with asked.book.looking() as session:
        yield Reading(session, asked, bill, progress)


def known_until_us(asked: Asked) -> int | None:
    """When the last of what exports are made from was recorded, in microseconds since 1970.

    That is entries, and also comparisons with the bill and tasks. None in an empty book.
    """
    book = asked.book
    with book.looking() as session:
        task_us = last_task_us(session, book.book)
    compared = [item.recorded_at_us for item in book.reconciliations()]
    known = [each for each in (asked.known_until_us, task_us, *compared) if each is not None]
    return max(known, default=None)


def _inside(asked: Asked) -> Callable[[Entry], bool]:
    since_us, until_us, by, _, _ = asked.reach
    if by == "recorded":
        return lambda entry: since_us <= entry.recorded_at_us < until_us
    return lambda entry: since_us <= entry.happened_at_us < until_us


def _parts(items: Iterable[T]) -> Iterator[list[T]]:
    left = iter(items)
    while part := list(islice(left, _ROWS)):
        yield part


def label_names(frames: Iterable[pl.DataFrame]) -> list[str]:
    """The names of all labels of holds or jobs, sorted."""
    found: set[str] = set()
    for frame in frames:
        for text in frame["labels"].unique():
            found.update(json.loads(text))
    return sorted(found)

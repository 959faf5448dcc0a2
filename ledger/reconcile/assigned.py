"""Lines that were missing here until somebody said whose they are.

A correction that charges a job for such a line does not change what the bill calls it. So later
comparisons are told: the line belongs to the job that was charged for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import polars as pl

from ledger.breaks import BreakRecord
from ledger.jobs import Ledger
from ledger.reconcile.breaks import Break, break_id
from ledger.reconcile.frames import TASKS
from ledger.reconcile.sides import Line

__all__ = ["Assigned", "assigned"]


class Assigned(NamedTuple):
    """A statement with what people have said of its lines."""

    statement: pl.DataFrame
    """Lines without a task have the key of the job that was charged for them."""
    tasks: pl.DataFrame
    """Tasks and the jobs that were charged for them; columns are `TASKS`."""
    names: Mapping[str, str]
    """Names that breaks would now have, and those they had before lines like theirs were gone."""

    def renamed(self, breaks: Sequence[Break]) -> list[Break]:
        """The breaks under the names they had."""
        return [replace(item, id=self.names.get(item.id, item.id)) for item in breaks]


def assigned(book: Ledger, statement: pl.DataFrame) -> Assigned:
    """What corrections of earlier comparisons say of a statement's lines.

    Args:
        book: where the corrections are.
        statement: the bill; columns are `ledger.reconcile.STATEMENT`.
    """
    of_task: dict[str, str] = {}
    of_key: dict[str, str] = {}
    nameless: dict[str, str] = {}
    moments: list[int] = []
    for record, job in _charged_for(book):
        if record.task is not None:
            of_task[record.task] = job
        elif key := record.details.get("key"):
            of_key[key] = job
        else:
            nameless[record.id] = job
            moments.append(record.happened_at_us)
    names: dict[str, str] = {}
    if nameless:
        found, names = _places(statement, nameless, moments)
        statement = _named(statement, found)
    if of_key:
        statement = _renamed(statement, _unknown(book, of_key))
    tasks = pl.DataFrame(list(of_task.items()), schema=dict(TASKS), orient="row")
    return Assigned(statement, tasks, names)


def _charged_for(book: Ledger) -> list[tuple[BreakRecord, str]]:
    """Breaks about lines that were missing here, each with the job that was charged for it."""
    records: dict[str, BreakRecord] = {}
    for record in book.breaks("adjusted", kind="missing_here"):
        verb, _, key = (record.closed_by or "").partition(":")
        if verb == "charge" and record.details.get("scope") == "usage":
            records[key] = record
    if not records:
        return []
    with book.looking() as session:
        entries = session.entries_by_keys(book.book, "charge", list(records))
    return [(records[entry.key], entry.job) for entry in entries if entry.job is not None]


def _unknown(book: Ledger, of_key: Mapping[str, str]) -> dict[str, str]:
    """Keys that are still no jobs of the book; one that was reserved since is its own."""
    with book.looking() as session:
        known = {hold.job for hold in session.holds(book.book, list(of_key)) if hold.wallet}
    return {key: job for key, job in of_key.items() if key not in known}


def _renamed(statement: pl.DataFrame, of_key: Mapping[str, str]) -> pl.DataFrame:
    is_one = pl.col("task").is_null() & pl.col("key").is_in(list(of_key))
    key = pl.when(is_one).then(pl.col("key").replace(dict(of_key))).otherwise("key")
    return statement.with_columns(key.alias("key"))


# Lines without a name


def _places(
    statement: pl.DataFrame, nameless: Mapping[str, str], moments: Sequence[int]
) -> tuple[dict[int, str], dict[str, str]]:
    """The jobs of lines without a name, by the line's place: known by everything they say.

    And names of breaks: lines that are alike are numbered, and those left keep their numbers.
    """
    at = pl.col("at_us")
    rows = statement.with_row_index("place").filter(
        pl.col("task").is_null() & pl.col("key").is_null(),
        at.is_null() | at.is_in(list(moments)),
    )
    alike: dict[str, list[int]] = {}
    for row in rows.sort("line").iter_rows(named=True):
        alike.setdefault(_looks(row), []).append(row["place"])
    found: dict[int, str] = {}
    names: dict[str, str] = {}
    for looks, places in alike.items():
        given = [
            break_id("usage", "missing_here", "", "line", f"{looks} {number}")
            for number in range(1, len(places) + 1)
        ]
        left = [name for name in given if name not in nameless]
        if len(left) < len(given):
            names |= zip(given, left, strict=False)
            found |= {
                place: nameless[name]
                for place, name in zip(places, given, strict=True)
                if name in nameless
            }
    return found, names


def _looks(row: Mapping[str, Any]) -> str:
    """What a line says, as the name of its break has it."""
    amount_e8, refund_e8 = row["amount_e8"] or 0, row["refunded_e8"]
    if amount_e8 < 0 or (row["status"] == "refund" and refund_e8 is None):
        amount_e8, refund_e8 = 0, abs(amount_e8)
    names = ("line", "task", "key", "model", "quality", "seconds_us", "at_us", "status", "version")
    said = [row[name] for name in names]
    return Line._make([*said, amount_e8, refund_e8 or 0, True]).looks


def _named(statement: pl.DataFrame, jobs: Mapping[int, str]) -> pl.DataFrame:
    """The statement, the lines at these places with the key of their job."""
    keys = pl.repeat(None, statement.height, dtype=pl.String, eager=True)
    keys = keys.scatter(list(jobs), list(jobs.values()))
    return statement.with_columns(pl.coalesce(keys, statement["key"]).alias("key"))

"""What is exported of a book, as frames: entries, holds, and jobs, a row each.

Amounts are whole units of 10^-8 and times whole microseconds since 1970 in UTC; `Field.kind` says
which a column is. How they are written is for `ledger.exports.flat` to say.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, Literal, NamedTuple, TypeVar

import polars as pl

from ledger.costing import Costed, Costing
from ledger.figures import show_credits
from ledger.lots import taken_of
from ledger.records import Entry, moment, us
from ledger.reports.asking import Asked
from ledger.store import Session
from ledger.store.posted import last_task_us
from ledger.units import parse_moment

__all__ = [
    "FIELDS",
    "Field",
    "Head",
    "Kind",
    "Progress",
    "Reading",
    "Table",
    "Tally",
    "known_until_us",
    "label_names",
    "reading",
]

Table = Literal["entries", "holds", "jobs"]
"""What can be exported."""

Kind = Literal["text", "json", "count", "flag", "credits", "money", "moment"]
"""What the values of a column are; `credits` and `money` are integers of 10^-8."""

Progress = Callable[[int], None]
"""Is told how many rows were read."""

T = TypeVar("T")

_ROWS = 20_000
"""Rows that become a frame at a time."""


class Field(NamedTuple):
    """A column of an export."""

    name: str
    kind: Kind


def _fields(**kinds: str) -> tuple[Field, ...]:
    found: dict[str, Any] = {name: kind for kind, names in kinds.items() for name in names.split()}
    return tuple(Field(name, found[name]) for name in found)


def _ordered(names: str, **kinds: str) -> tuple[Field, ...]:
    known = {item.name: item for item in _fields(**kinds)}
    return tuple(known[name] for name in names.split())


FIELDS: dict[Table, tuple[Field, ...]] = {
    "entries": _ordered(
        "wallet seq kind key job contra posted held posted_after held_after over uncollected late"
        " cost currency debt_paid debt_cost cash expires reason seconds corrects deadline"
        " happened_at recorded_at hash costs lots",
        text="wallet kind key job contra currency reason seconds corrects hash",
        json="costs lots",
        count="seq",
        flag="late",
        credits="posted held posted_after held_after over uncollected debt_paid",
        money="cost debt_cost cash",
        moment="expires deadline happened_at recorded_at",
    ),
    "holds": _ordered(
        "job wallet seq last_seq state amount held charged refunded policy on_deadline"
        " model quality orientation channel version reserved_at deadline labels",
        text="job wallet state policy on_deadline model quality orientation channel version",
        json="labels",
        count="seq last_seq",
        credits="amount held charged refunded",
        moment="reserved_at deadline",
    ),
    "jobs": _ordered(
        "job wallet task state model quality orientation channel version seconds reserved charged"
        " refunded net over uncollected late cost currency reconciled reserved_at charged_at costs"
        " labels",
        text="job wallet task state model quality orientation channel version seconds currency"
        " reconciled",
        json="costs labels",
        flag="late",
        credits="reserved charged refunded net over uncollected",
        money="cost",
        moment="reserved_at charged_at",
    ),
}
"""The columns of every export, in their order."""

_TYPES: dict[Kind, Any] = {
    "text": pl.String,
    "json": pl.String,
    "count": pl.Int64,
    "flag": pl.Boolean,
    "credits": pl.Int64,
    "money": pl.Int64,
    "moment": pl.Int64,
}


class Head(NamedTuple):
    """The last entry of a wallet that is known: its hash stands for all before it."""

    wallet: str
    seq: int
    hash: str
    """SHA-256 in hexadecimal digits; empty where nothing is known yet."""
    recorded_at_us: int


@dataclass
class Tally:
    """What went through an export: rows, and the sums of its amounts."""

    rows: int = 0
    credits: dict[str, int] = field(default_factory=dict)
    """Sums of the columns of credits, in 10^-8."""
    money: dict[str, dict[str, int]] = field(default_factory=dict)
    """Sums of the columns of money, by currency, in 10^-8."""

    @property
    def totals(self) -> dict[str, dict[str, str]]:
        """Column → `credits` or the currency → sum, exact."""
        credits = {name: {"credits": show_credits(sum_)} for name, sum_ in self.credits.items()}
        money = {
            name: {currency: show_credits(sums[currency]) for currency in sorted(sums)}
            for name, sums in self.money.items()
        }
        return credits | money

    def add(self, frame: pl.DataFrame, fields: Sequence[Field]) -> None:
        """Count the rows of a part."""
        self.rows += frame.height
        names = [item.name for item in fields if item.kind == "credits" and _adds_up(item.name)]
        # In 128 bits: a sum of 64 would run over in silence.
        sums = frame.select(pl.col(name).cast(pl.Int128).sum() for name in names).row(0)
        for name, part_e8 in zip(names, sums, strict=True):
            self.credits[name] = self.credits.get(name, 0) + int(part_e8)
        for item in fields:
            if item.kind == "money":
                self._add_money(frame, item.name)

    def _add_money(self, frame: pl.DataFrame, name: str) -> None:
        sums = self.money.setdefault(name, {})
        known = frame.filter(pl.col("currency").is_not_null() & pl.col(name).is_not_null())
        total = pl.col(name).cast(pl.Int128).sum()
        for currency, part_e8 in known.group_by("currency").agg(total).iter_rows():
            sums[currency] = sums.get(currency, 0) + int(part_e8)
        if name == "cost":
            for text in frame["costs"].drop_nulls():
                for currency, amount in json.loads(text).items():
                    sums[currency] = sums.get(currency, 0) + _e8(amount)


def _adds_up(name: str) -> bool:
    return not name.endswith("_after")


def _e8(text: str) -> int:
    whole, _, decimals = text.removeprefix("-").partition(".")
    amount_e8 = int(f"{whole}{decimals:0<8}")
    return -amount_e8 if text.startswith("-") else amount_e8


# What is known of a book


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
        schema = {item.name: _TYPES[item.kind] for item in FIELDS["entries"]}
        for part in _parts(item for item in self.known() if counts(item.entry)):
            rows = [_entry_row(item) for item in part]
            yield pl.DataFrame(
                dict(zip(names, zip(*rows, strict=True), strict=True)), schema=schema
            )

    @cached_property
    def _moves(self) -> pl.DataFrame:
        """Every known entry about a job, narrow: about 130 bytes each."""
        counts, frames = _inside(self.asked), [_narrow([])]
        owing: dict[tuple[str, int], str] = {}
        for part in _parts(self.known()):
            inside = (
                row for item in part for row in _job_rows(item, owing, inside=counts(item.entry))
            )
            frames.append(_narrow(list(inside)))
        return pl.concat(frames)

    @cached_property
    def _holds_made(self) -> pl.DataFrame:
        sums = _summed(self._moves, only_made=True).drop("charged", "refunded")
        return sums.rename({"charged_ever": "charged", "refunded_ever": "refunded"})

    @cached_property
    def _jobs(self) -> pl.DataFrame:
        sums = _summed(self._moves, only_made=False)
        for more in (_costs(self._moves), self._tasks()):
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
            frame = pl.DataFrame(few, schema=_HOLD, orient="row")
            frame = frame.join(_prices(frame["terms"]), on="terms", how="left", nulls_equal=True)
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


def _inside(asked: Asked) -> Callable[[Entry], bool]:
    since_us, until_us, by, _, _ = asked.reach
    if by == "recorded":
        return lambda entry: since_us <= entry.recorded_at_us < until_us
    return lambda entry: since_us <= entry.happened_at_us < until_us


def _parts(items: Iterable[T]) -> Iterator[list[T]]:
    left = iter(items)
    while part := list(islice(left, _ROWS)):
        yield part


# Entries


def _entry_row(item: Costed) -> tuple[Any, ...]:
    entry = item.entry
    cost_e8, currency, costs, debt_paid_e8, debt_cost_e8 = _money(item)
    cash_e8, expires_us, reason, seconds, corrects, deadline_us = _facts(entry.facts)
    return (
        entry.wallet,
        entry.seq,
        entry.kind,
        entry.key,
        entry.job,
        entry.contra,
        entry.posted_e8,
        entry.held_e8,
        entry.posted_after_e8,
        entry.held_after_e8,
        entry.over_e8,
        entry.uncollected_e8,
        bool(entry.late),
        cost_e8,
        currency,
        debt_paid_e8,
        debt_cost_e8,
        cash_e8,
        expires_us,
        reason,
        seconds,
        corrects,
        deadline_us,
        entry.happened_at_us,
        entry.recorded_at_us,
        entry.hash.hex(),
        costs,
        None if entry.lots is None else _lots(entry.lots),
    )


def _money(item: Costed) -> tuple[int | None, str | None, str | None, int | None, int | None]:
    """Cost, currency, costs in several currencies, debt paid, and what that had cost."""
    if not item.parts:
        return None, None, None, None, None
    if len(item.parts) == 1 and not item.paid:
        only = item.parts[0]
        return only.cost_e8, only.currency, None, None, None
    costs: dict[str, int] = {}
    for part in item.parts:
        if part.currency is not None:
            costs[part.currency] = costs.get(part.currency, 0) + part.cost_e8
    debt_paid_e8, debt_cost_e8 = None, None
    if item.paid:
        debt_paid_e8 = sum(paid.credits_e8 for paid in item.paid)
        debt_cost_e8 = 0
        for paid in item.paid:
            if paid.currency is not None:
                costs.setdefault(paid.currency, 0)
                debt_cost_e8 += paid.cost_e8
    if len(costs) > 1:
        # A refund can pay debts from lots of several currencies; what those cost is in no column.
        several = len({paid.currency for paid in item.paid if paid.currency is not None}) > 1
        return None, None, _amounts(costs), debt_paid_e8, None if several else debt_cost_e8
    for currency, cost_e8 in costs.items():
        return cost_e8, currency, None, debt_paid_e8, debt_cost_e8
    return 0, None, None, debt_paid_e8, debt_cost_e8


def _amounts(amounts_e8: dict[str, int]) -> str:
    shown = {name: show_credits(amounts_e8[name]) for name in sorted(amounts_e8)}
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":"))


@lru_cache(maxsize=4096)
def _lots(text: str) -> str:
    parts = ",".join(f'"{lot}":"{show_credits(part)}"' for lot, part in taken_of(text).items())
    return f"{{{parts}}}"


_NO_FACTS = (None, None, None, None, None, None)


@lru_cache(maxsize=4096)
def _facts(
    text: str | None,
) -> tuple[int | None, int | None, str | None, str | None, str | None, int | None]:
    """Cash, expiry, reason, seconds, the closed period corrected, the deadline."""
    if text is None:
        return _NO_FACTS
    facts = json.loads(text)
    expires = facts.get("expires")
    return (
        facts.get("cash_e8"),
        None if expires is None else us(parse_moment(expires)),
        facts.get("reason"),
        facts.get("seconds"),
        facts.get("corrects"),
        facts.get("deadline_us"),
    )


# Jobs


_MOVES: dict[str, Any] = {
    "job": pl.String,
    "wallet": pl.String,
    "seq": pl.Int64,
    "kind": pl.String,
    "posted": pl.Int64,
    "held": pl.Int64,
    "over": pl.Int64,
    "uncollected": pl.Int64,
    "late": pl.Boolean,
    "final": pl.Boolean,
    "deadline": pl.Int64,
    "seconds": pl.String,
    "at": pl.Int64,
    "inside": pl.Boolean,
    "cost": pl.Int64,
    "currency": pl.String,
}
"""What is read of each entry about a job; more rows of `kind` "cost" where there is more to say."""

_FEW = pl.col("wallet", "kind", "currency")


def _narrow(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    columns = dict(zip(_MOVES, zip(*rows, strict=True), strict=True)) if rows else {}
    return pl.DataFrame(columns, schema=_MOVES).with_columns(_FEW.cast(pl.Categorical))


def _job_rows(
    item: Costed, owing: dict[tuple[str, int], str], *, inside: bool
) -> Iterator[tuple[Any, ...]]:
    """What an entry says of its job, and of the jobs whose debts it pays."""
    entry, job = item.entry, item.entry.job
    for paid in item.paid:
        if paid.currency is None:
            continue
        owes = owing.get((entry.wallet, paid.seq))
        if owes is not None:
            yield _cost_row(owes, entry, -paid.cost_e8, paid.currency, inside=inside)
        if job is not None:
            # What a refund gives back of one job, it may at once take for another.
            yield _cost_row(job, entry, paid.cost_e8, paid.currency, inside=inside)
    if job is None:
        return
    first, *others = item.parts or ((None, 0, 0, None),)
    facts = _facts(entry.facts)
    yield (
        job,
        entry.wallet,
        entry.seq,
        entry.kind,
        entry.posted_e8,
        entry.held_e8,
        entry.over_e8,
        entry.uncollected_e8,
        bool(entry.late),
        entry.kind == "charge" and (entry.facts is None or '"final":false' not in entry.facts),
        facts[5],
        facts[3],
        entry.happened_at_us,
        inside,
        first[2],
        first[3],
    )
    for part in others:
        if part.currency is not None:
            yield _cost_row(job, entry, part.cost_e8, part.currency, inside=inside)
    if entry.posted_e8 < 0 and any(part[0] is None for part in item.parts):
        owing[entry.wallet, entry.seq] = job


def _cost_row(
    job: str, entry: Entry, cost_e8: int, currency: str, *, inside: bool
) -> tuple[Any, ...]:
    nothing = (0, 0, 0, 0, False, False, None, None)
    place = (job, entry.wallet, entry.seq, "cost")
    return (*place, *nothing, entry.happened_at_us, inside, cost_e8, currency)


def _summed(moves: pl.DataFrame, *, only_made: bool) -> pl.DataFrame:
    """One row a job that counts: what was done in the span, and how it stands as far as known.

    With `only_made` those that were reserved in the span; otherwise all that anything inside is of.
    """
    kind, inside = pl.col("kind"), pl.col("inside")
    charge, refund, own = kind == "charge", kind == "refund", kind != "cost"
    posted, taken = pl.col("posted").cast(pl.Int128), (-pl.col("posted")).cast(pl.Int128)
    set_aside = pl.when(pl.col("held") > 0).then("held").otherwise(0).cast(pl.Int128)
    found = moves.group_by("job").agg(
        pl.col("wallet").first(),
        pl.col("seq").filter(own).min(),
        pl.col("seq").filter(own).max().alias("last_seq"),
        set_aside.sum().alias("amount"),
        pl.col("held").cast(pl.Int128).sum().alias("held"),
        taken.filter(charge).sum().alias("charged_ever"),
        posted.filter(refund).sum().alias("refunded_ever"),
        set_aside.filter(inside).sum().alias("reserved"),
        taken.filter(charge & inside).sum().alias("charged"),
        posted.filter(refund & inside).sum().alias("refunded"),
        pl.col("over", "uncollected").cast(pl.Int128).filter(inside).sum(),
        (pl.col("late") & inside).any(),
        pl.col("final").any(),
        pl.col("seq").filter(charge).min().alias("charge_seq"),
        pl.col("seq").filter(kind == "release").max().alias("release_seq"),
        pl.col("deadline").drop_nulls().last(),
        pl.col("seconds").filter(charge & inside).drop_nulls().last(),
        pl.col("at").filter(kind == "reserve").first().alias("reserved_at"),
        pl.col("at").filter(charge & inside).last().alias("charged_at"),
        pl.col("at").filter((charge | refund) & inside).min().alias("first_at"),
        pl.col("at").filter((charge | refund) & inside).max().alias("last_at"),
        inside.any(),
        (inside & (kind == "reserve")).any().alias("made"),
    )
    charged = pl.col("final") | (pl.col("charge_seq") < pl.col("release_seq")).fill_null(
        value=False
    )
    return (
        found.filter("made" if only_made else "inside")
        .with_columns(
            (pl.col("charged") - pl.col("refunded")).alias("net"),
            pl.when(charged)
            .then(pl.lit("charged"))
            .when(pl.col("release_seq").is_not_null())
            .then(pl.lit("released"))
            .otherwise(pl.lit("open"))
            .alias("state"),
            pl.col("wallet").cast(pl.String),
        )
        .drop("final", "charge_seq", "release_seq", "inside", "made")
    )


def _costs(moves: pl.DataFrame) -> pl.DataFrame:
    """What jobs cost in the span: in one currency, or in several as JSON."""
    counted = moves.filter(pl.col("inside") & pl.col("currency").is_not_null())
    sums = counted.group_by("job", "currency").agg((-pl.col("cost")).cast(pl.Int128).sum())
    sums = sums.with_columns(pl.col("currency").cast(pl.String))
    alone = sums["job"].is_unique()
    single = sums.filter(alone).with_columns(pl.lit(None, pl.String).alias("costs"))
    several: dict[str, dict[str, int]] = {}
    for job, currency, cost_e8 in sums.filter(~alone).iter_rows():
        several.setdefault(job, {})[currency] = cost_e8
    rows = [(job, None, None, _amounts(costs)) for job, costs in several.items()]
    return pl.concat([single, pl.DataFrame(rows, schema=single.schema, orient="row")])


_HOLD = dict.fromkeys(("job", "policy", "on_deadline", "labels", "terms"), pl.String)
_PRICE = {
    "model": "model",
    "quality": "quality",
    "orientation": "character_orientation",
    "channel": "channel",
    "version": "version",
}


def _prices(terms: pl.Series) -> pl.DataFrame:
    """What distinct terms say of the price: a thousand jobs share one."""
    distinct = terms.unique()
    read = [json.loads(text).get("price") or {} if text else {} for text in distinct]
    columns = {name: [price.get(key) for price in read] for name, key in _PRICE.items()}
    return pl.DataFrame(
        {"terms": distinct, **columns}, schema=dict.fromkeys(("terms", *_PRICE), pl.String)
    )


def label_names(frames: Iterable[pl.DataFrame]) -> list[str]:
    """The names of all labels of holds or jobs, sorted."""
    found: set[str] = set()
    for frame in frames:
        for text in frame["labels"].unique():
            found.update(json.loads(text))
    return sorted(found)

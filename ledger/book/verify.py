"""Checking a book against itself: every entry is replayed, every projection is rebuilt.

Entries are the truth. A wallet's chain of hashes shows that none was changed, left out or moved;
what follows from them must be what stands in wallets, holds, lots, budgets, windows and the
inbox. Where a wallet's entries themselves are in doubt, the first bad one is reported, and what
follows from them is not looked at.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from ledger.book.calls import call_digest
from ledger.book.money import folded, lot_of
from ledger.book.proving import untrue
from ledger.book.work import Telling
from ledger.budgets import Budget, Level, rebuilt
from ledger.lots import summed, taken_of
from ledger.records import (
    GENESIS,
    Entry,
    Hold,
    InboxRecord,
    Lot,
    Period,
    WalletRecord,
    closed_periods,
    entry_hash,
    us,
)
from ledger.store import Session, proofs
from ledger.store.periods import all_periods
from ledger.units import parse_moment

__all__ = ["Finding", "Verification", "verify"]


class Finding(NamedTuple):
    """One row that contradicts the entries."""

    kind: str
    """sequence, hash, balance, wallet, hold, lot, budget, window, inbox, period, task, message."""
    wallet: str
    row: str
    problem: str

    def __str__(self) -> str:
        place = f"wallet {self.wallet!r}, {self.row}" if self.wallet else self.row
        return f"{self.kind}: {place}: {self.problem}"


class Verification(NamedTuple):
    """What was checked and what was found."""

    wallets: int
    entries: int
    findings: tuple[Finding, ...]


class _Sums:
    """What the entries of one wallet add up to."""

    def __init__(self) -> None:
        self.seq, self.hash = 0, GENESIS
        self.posted_e8 = self.held_e8 = 0
        self.recorded_at_us = 0
        self.granted: dict[str, Entry] = {}
        self.used: dict[str, int] = {}
        self.lapsed: dict[str, int] = {}
        self.deadlines: dict[str, int] = {}
        """Jobs whose deadline was moved → the deadline."""
        self.opened: dict[str, Any] = {}
        self.budgets: dict[int, dict[str, Any]] = {}
        self.closed_until_us = -1
        """Nothing is to happen before this moment any more."""
        self.marks: list[Entry] = []
        """Closings and reopenings of periods."""
        self.frozen: list[tuple[int, int]] = []
        """What had happened before the end of each of their periods: posted and held."""
        self.inside: int | None = None
        """The first entry that happened in a period that was closed before."""


def verify(session: Session, book: str, telling: Telling | None = None) -> Verification:
    """Check a whole book in one snapshot; findings stand in the order of wallets and entries.

    What follows for tasks is looked at only where somebody tells what their messages mean.
    """
    session.scans()
    findings = [
        Finding("wallet", wallet, "the wallet", "has entries and is missing")
        for wallet in proofs.lost_wallets(session, book)
    ]
    entries = 0
    periods = all_periods(session, book)
    findings += _periods(periods)
    ends_us = sorted({period.end_us for period in periods})
    wallets = session.wallet_records(book)
    for record in wallets:
        sums = _Sums()
        broken = _replayed(session, record, sums, ends_us)
        entries += sums.seq
        if broken is not None:
            findings.append(broken)
            continue
        findings += _wallet(session, record, sums)
        findings += _marks(record, sums, periods)
        findings += _lots(session, record, sums)
        counted = [*_holds(session, record, sums), *_taken_by_jobs(session, record)]
        counted += _budgets(session, record, sums)
        # Windows are the sums of holds as budgets select them.
        findings += counted or _windows(session, record)
    findings += _inbox(session, book)
    if telling is not None:
        findings += [Finding(kind, "", *told) for kind, *told in untrue(session, book, telling)]
    return Verification(len(wallets), entries, tuple(findings))


# Entries


def _replayed(
    session: Session, record: WalletRecord, sums: _Sums, ends_us: Sequence[int]
) -> Finding | None:
    """Add the entries up; gives the first that does not follow from the one before it."""
    seq, chained, posted_e8, held_e8 = 0, GENESIS, 0, 0
    closed_us, until = -1, _Until(ends_us)
    row: tuple[Any, ...] = ()
    for row in proofs.entry_rows(session, record.book, record.id):
        _, _, at, kind, _, _, _, posted, held, posted_after, held_after = row[:11]
        seq += 1
        if at != seq:
            problem = f"follows entry {seq - 1}; what stood between is missing"
            return Finding("sequence", record.id, f"entry {at}", problem)
        chained = entry_hash(chained, row)
        if chained != row[19]:
            problem = "this row, or the one before it, is not what was written"
            return Finding("hash", record.id, f"entry {at}", problem)
        posted_e8 += posted
        held_e8 += held
        if posted_e8 != posted_after or held_e8 != held_after:
            problem = f"posted and held are {posted_after}, {held_after}; {posted_e8}, {held_e8}"
            return Finding("balance", record.id, f"entry {at}", f"{problem} follow")
        if row[16] < closed_us and sums.inside is None:
            sums.inside = seq
        if ends_us:
            until.add(row[16], posted, held)
        if kind == "reserve":
            continue
        if row[14]:
            into = sums.lapsed if kind == "lapse" else sums.used
            for lot, part in taken_of(row[14]).items():
                into[lot] = into.get(lot, 0) + part
        if kind in _MORE:
            _more(sums, row, until)
            closed_us = sums.closed_until_us
    sums.seq, sums.hash, sums.posted_e8, sums.held_e8 = seq, chained, posted_e8, held_e8
    sums.recorded_at_us = row[17] if row else 0
    return None


class _Until:
    """What had happened before the ends of periods, as far as the entries were looked at."""

    def __init__(self, ends_us: Sequence[int]) -> None:
        self._ends_us = ends_us
        self._posted_e8, self._held_e8 = [0] * (len(ends_us) + 1), [0] * (len(ends_us) + 1)

    def add(self, happened_us: int, posted_e8: int, held_e8: int) -> None:
        place = bisect_right(self._ends_us, happened_us)
        self._posted_e8[place] += posted_e8
        self._held_e8[place] += held_e8

    def before(self, end_us: int) -> tuple[int, int]:
        place = bisect_right(self._ends_us, end_us)
        return sum(self._posted_e8[:place]), sum(self._held_e8[:place])


_MORE = frozenset({"open", "top_up", "adjust", "extend", "budget", "close", "reopen"})


def _more(sums: _Sums, row: tuple[Any, ...], until: _Until) -> None:
    """What the rarer kinds of entries say."""
    entry = Entry(*row)
    if entry.kind == "open":
        sums.opened = entry.details
        sums.closed_until_us = sums.opened.get("closed_until_us", -1)
    elif entry.kind in {"close", "reopen"}:
        sums.marks.append(entry)
        sums.frozen.append(until.before(entry.details["end_us"]))
        sums.closed_until_us = entry.details.get("closed_until_us", -1)
    elif entry.kind == "budget":
        sums.budgets[entry.seq] = entry.details
    elif entry.kind == "extend":
        if "deadline_us" in entry.details:
            sums.deadlines[str(entry.job)] = entry.details["deadline_us"]
    elif entry.posted_e8 > 0:
        sums.granted[str(entry.seq)] = entry


# What follows from them


def _wallet(session: Session, record: WalletRecord, sums: _Sums) -> Iterator[Finding]:
    lots = session.lots(record.book, record.id, complete=False)
    expiries = [lot.expires_at_us for lot in lots if lot.expires_at_us is not None]
    for what, stands, follows in (
        ("seq", record.seq, sums.seq),
        ("posted_e8", record.posted_e8, sums.posted_e8),
        ("held_e8", record.held_e8, sums.held_e8),
        ("hash", record.hash.hex(), sums.hash.hex()),
        ("credit_limit_e8", record.credit_limit_e8, sums.opened.get("credit_limit_e8", 0)),
        ("budgets_seq", record.budgets_seq, max(sums.budgets, default=0)),
        ("expires_at_us", record.expires_at_us, min(expiries, default=None)),
        ("recorded_at_us", record.recorded_at_us, sums.recorded_at_us),
        ("closed_until_us", record.closed_until_us, _or_none(sums.closed_until_us)),
        ("folded", record.folded, folded(record.id)),
    ):
        if stands != follows:
            problem = f"{what} is {stands}; its entries give {follows}"
            yield Finding("wallet", record.id, "the wallet", problem)


def _or_none(when_us: int) -> int | None:
    return None if when_us < 0 else when_us


def _periods(rows: Sequence[Period]) -> Iterator[Finding]:
    """Periods are closed one after another, and only the last closed one is reopened."""
    for place, row in enumerate(rows):
        closed = closed_periods(rows[:place])
        last = closed[-1] if closed else None
        if row.seq != place + 1:
            problem = f"follows number {place}; what stood between is missing"
        elif row.action == "close" and last is not None and row.start_us != last.end_us:
            problem = f"does not begin where {last.name} ends"
        elif row.action == "reopen" and (last is None or row[3:7] != last[3:7]):
            problem = "was not the last closed one"
        else:
            continue
        yield Finding("period", "", f"number {row.seq}, {row.action} of {row.name}", problem)


def _marks(record: WalletRecord, sums: _Sums, rows: Sequence[Period]) -> Iterator[Finding]:
    """Compare what a wallet was told of periods with the periods of its book."""
    # Whoever was opened later was told of the later ones only.
    first = max(0, len(rows) - len(sums.marks))
    closed = closed_periods(rows[:first])
    began_us = closed[-1].end_us if closed else None
    if sums.opened.get("closed_until_us") != began_us or len(sums.marks) > len(rows):
        problem = f"its {len(sums.marks)} closings and reopenings are not the last of its book's"
        yield Finding("period", record.id, "the wallet", f"{problem} {len(rows)}")
        return
    for mark, row, frozen in zip(sums.marks, rows[first:], sums.frozen, strict=True):
        facts = mark.details
        if (mark.kind, mark.digest) != (row.action, row.digest):
            problem = f"is not number {row.seq} of the periods, {row.action} of {row.name}"
            yield Finding("period", record.id, f"entry {mark.seq}", problem)
        elif (facts["posted_e8"], facts["held_e8"]) != frozen:
            problem = f"froze {facts['posted_e8']}, {facts['held_e8']}; its entries give"
            yield Finding(
                "period", record.id, f"entry {mark.seq}", f"{problem} {frozen[0]}, {frozen[1]}"
            )
    if sums.inside is not None:
        problem = "happened in a period that was closed before"
        yield Finding("period", record.id, f"entry {sums.inside}", problem)


def _holds(session: Session, record: WalletRecord, sums: _Sums) -> Iterator[Finding]:
    wallet = record.id
    for job, stands, follows in proofs.unlike_holds(session, record.book, wallet):
        problem = f"{_HOLD_FIGURES} are {list(stands)}; its entries give {list(follows)}"
        yield Finding("hold", wallet, f"job {job!r}", problem)
    for job in proofs.jobs_without_hold(session, record.book, wallet):
        yield Finding("hold", wallet, f"job {job!r}", "has entries and no hold")
    for hold, reserved in proofs.holds_with_reserve(session, record.book, wallet):
        unlike = _unlike_its_reserve(hold, reserved, sums.deadlines.get(hold.job))
        if unlike is not None:
            yield Finding("hold", wallet, f"job {hold.job!r}", unlike)


_HOLD_FIGURES = "state, amount, held, charged, refunded, first and last entry"


def _unlike_its_reserve(
    hold: Hold, reserved: tuple[Any, ...], deadline_us: int | None
) -> str | None:
    """What a hold says otherwise than the entry that made it: (kind, key, held, …)."""
    kind, key, held_e8, facts, happened_at_us, digest = reserved
    if (kind, key) != ("reserve", hold.job):
        return "has no reserve"
    asked = (hold.wallet, held_e8, hold.labels, hold.policy, hold.on_deadline, hold.terms)
    # The moment is in the digest only if the caller gave it.
    if digest != call_digest("reserve", key, None, asked) and digest != call_digest(
        "reserve", key, _told_us(facts, happened_at_us), asked
    ):
        return "its labels, policy or terms are not those of its reserve"
    # A deadline that was never moved stands first in the facts of the reserve.
    kept = hold.deadline_us == deadline_us
    if deadline_us is None:
        first = f'{{"deadline_us":{hold.deadline_us}'
        kept = facts.startswith((f"{first}}}", f"{first},"))
    if not kept or hold.reserved_at_us != happened_at_us:
        return "its moments are not those of its entries"
    if hold.lots is not None and not hold.charged_e8:
        return "it has taken nothing from any lot"
    return None


def _told_us(facts: str, happened_at_us: int) -> int:
    """The moment a reserve was told with, where that is not the one at which it counts."""
    at = json.loads(facts).get("at") if '"at":' in facts else None
    return happened_at_us if at is None else us(parse_moment(at))


def _taken_by_jobs(session: Session, wallet: WalletRecord) -> Iterator[Finding]:
    """Compare what each job has taken from the lots with its charges and refunds."""
    rows = proofs.lots_of_jobs(session, wallet.book, wallet.id)
    for (job, stands), entries in groupby(rows, key=itemgetter(0, 1)):
        follows: str | None = None
        for _, _, kind, lots in entries:
            if lots:
                sign = 1 if kind == "charge" else -1
                parts = {lot: sign * part for lot, part in taken_of(lots).items()}
                follows = summed(follows, parts, sign)
        if stands != follows:
            problem = f"its lots are {stands}; its charges and refunds give {follows}"
            yield Finding("hold", wallet.id, f"job {job!r}", problem)


def _lots(session: Session, record: WalletRecord, sums: _Sums) -> Iterator[Finding]:
    for lot in session.lots(record.book, record.id, complete=True):
        seq = str(lot.seq)
        brought = sums.granted.pop(seq, None)
        if brought is None:
            yield Finding("lot", record.id, f"lot {seq}", "was never brought in")
            continue
        used, lapsed = sums.used.get(seq, 0), sums.lapsed.get(seq, 0)
        stands, follows = lot, lot_of(brought)._replace(used_e8=used, lapsed_e8=lapsed)
        if stands != follows:
            unlike = [
                f"{field} is {stands[place]}; its entries give {follows[place]}"
                for place, field in enumerate(Lot._fields)
                if stands[place] != follows[place]
            ]
            yield Finding("lot", record.id, f"lot {seq}", ", ".join(unlike))
    for seq in sums.granted:
        yield Finding("lot", record.id, f"lot {seq}", "was brought in and is missing")


def _budgets(session: Session, record: WalletRecord, sums: _Sums) -> Iterator[Finding]:
    rows = {budget.seq: budget for budget in proofs.budget_rows(session, record.book, record.id)}
    for seq in sorted({*rows, *sums.budgets}):
        place = f"budget of entry {seq}"
        if seq not in rows:
            yield Finding("budget", record.id, place, "was set and is missing")
        elif seq not in sums.budgets:
            yield Finding("budget", record.id, place, "has no entry")
        elif _told(rows[seq]) != {**sums.budgets[seq], "crossed": None}:
            yield Finding("budget", record.id, place, "is not what its entry says")


def _told(budget: Budget) -> dict[str, Any]:
    """A budget as its entry says it, which leaves out what was not given."""
    facts = budget.facts | {"counts_from_us": budget.counts_from_us}
    return {field: value for field, value in facts.items() if value is not None} | {"crossed": None}


def _windows(session: Session, record: WalletRecord) -> Iterator[Finding]:
    budgets = session.budgets(record.book, record.id)
    for title in proofs.budgets_with_windows(session, record.book, record.id):
        if title not in {budget.name for budget in budgets}:
            yield Finding("window", record.id, f"budget {title!r}", "is no budget in force")
    for budget in budgets:
        jobs = session.jobs_since(record.book, record.id, budget.counts_from_us)
        follows = {key: level for key, (_, level) in rebuilt(budget, jobs).items()}
        found = proofs.all_levels(session, record.book, record.id, budget.name)
        for share, start_us in sorted({*follows, *found}):
            end_us, stands = found.get((share, start_us), (None, _NOTHING))
            problem = _unlike_window(stands, follows.get((share, start_us), _NOTHING))
            if problem is None and end_us not in {None, budget.end_of(start_us)}:
                problem = "does not end when it should"
            if problem is not None:
                row = f"budget {budget.name!r} {share}"
                yield Finding("window", record.id, row, problem)


_NOTHING = Level(0, 0, 0)


def _unlike_window(stands: Level, follows: Level) -> str | None:
    if stands[:2] != follows[:2]:
        return f"held, used are {list(stands[:2])}; its jobs give {list(follows[:2])}"
    # How full it once was cannot be worked out from its jobs as they stand.
    return "is fuller than it ever was" if stands.peak_e8 < stands.total_e8 else None


# Messages


def _inbox(session: Session, book: str) -> Iterator[Finding]:
    waiting = set()
    for message, digest, parked in proofs.inbox_rows(session, book):
        row = f"{message.kind} {message.key!r} for job {message.job!r}"
        if not _as_asked(message):
            yield Finding("inbox", "", row, "is not what was asked for")
        elif message.applied:
            if digest != message.digest:
                yield Finding("inbox", "", row, "was applied and has no entry")
        else:
            waiting.add(message.job)
            if not parked:
                yield Finding("inbox", "", row, "waits, and its job's hold does not know of it")
    for job in proofs.expecting(session, book):
        if job not in waiting:
            yield Finding("inbox", "", f"job {job!r}", "a message that waited for it is missing")


def _as_asked(message: InboxRecord) -> bool:
    try:
        content = json.loads(message.content)
    except ValueError:
        return False
    if not isinstance(content, dict) or content.get("job") != message.job:
        return False
    given_us = message.happened_at_us
    asked = call_digest(message.kind, message.key, given_us, content.values())
    return asked == message.digest

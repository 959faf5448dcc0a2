"""Checking a book against itself: every entry is replayed, every projection is rebuilt.

Entries are the truth. A wallet's chain of hashes shows that none was changed, left out or moved;
what follows from them must be what stands in wallets, holds, lots, budgets, windows and the
inbox. Where a wallet's entries themselves are in doubt, the first bad one is reported, and what
follows from them is not looked at.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from ledger.book.calls import call_digest
from ledger.budgets import Budget, Level, rebuilt
from ledger.lots import taken_of
from ledger.records import GENESIS, Entry, Hold, InboxRecord, WalletRecord, entry_hash
from ledger.store import Session, proofs

__all__ = ["Finding", "Verification", "verify"]


class Finding(NamedTuple):
    """One row that contradicts the entries."""

    kind: str
    """sequence, hash, balance, wallet, hold, lot, budget, window, or inbox."""
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
        self.granted: dict[str, int] = {}
        self.used: dict[str, int] = {}
        self.lapsed: dict[str, int] = {}
        self.deadlines: dict[str, int] = {}
        """Jobs whose deadline was moved → the deadline."""
        self.opened: dict[str, Any] = {}
        self.budgets: dict[int, dict[str, Any]] = {}


def verify(session: Session, book: str) -> Verification:
    """Check a whole book in one snapshot; findings stand in the order of wallets and entries."""
    findings: list[Finding] = []
    entries = 0
    wallets = session.wallet_records(book)
    for record in wallets:
        sums = _Sums()
        broken = _replayed(session, record, sums)
        entries += sums.seq
        if broken is not None:
            findings.append(broken)
            continue
        findings += _wallet(session, record, sums)
        findings += _lots(session, record, sums)
        counted = [*_holds(session, record, sums), *_budgets(session, record, sums)]
        # Windows are the sums of holds as budgets select them.
        findings += counted or _windows(session, record)
    findings += _inbox(session, book)
    return Verification(len(wallets), entries, tuple(findings))


# Entries


def _replayed(session: Session, record: WalletRecord, sums: _Sums) -> Finding | None:
    """Add the entries up; gives the first that does not follow from the one before it."""
    seq, chained, posted_e8, held_e8 = 0, GENESIS, 0, 0
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
        if kind == "reserve":
            continue
        if row[14]:
            into = sums.lapsed if kind == "lapse" else sums.used
            for lot, part in taken_of(row[14]).items():
                into[lot] = into.get(lot, 0) + part
        if kind in _MORE:
            _more(sums, row)
    sums.seq, sums.hash, sums.posted_e8, sums.held_e8 = seq, chained, posted_e8, held_e8
    sums.recorded_at_us = row[17] if row else 0
    return None


_MORE = frozenset({"open", "top_up", "adjust", "extend", "budget"})


def _more(sums: _Sums, row: tuple[Any, ...]) -> None:
    """What the rarer kinds of entries say."""
    entry = Entry(*row)
    if entry.kind == "open":
        sums.opened = entry.details
    elif entry.kind == "budget":
        sums.budgets[entry.seq] = entry.details
    elif entry.kind == "extend":
        if "deadline_us" in entry.details:
            sums.deadlines[str(entry.job)] = entry.details["deadline_us"]
    elif entry.posted_e8 > 0:
        sums.granted[str(entry.seq)] = entry.posted_e8


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
    ):
        if stands != follows:
            problem = f"{what} is {stands}; its entries give {follows}"
            yield Finding("wallet", record.id, "the wallet", problem)


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
        "reserve", key, happened_at_us, asked
    ):
        return "its labels, policy or terms are not those of its reserve"
    # A deadline that was never moved stands first in the facts of the reserve.
    kept = hold.deadline_us == deadline_us
    if deadline_us is None:
        first = f'{{"deadline_us":{hold.deadline_us}'
        kept = facts.startswith((f"{first}}}", f"{first},"))
    if not kept or hold.reserved_at_us != happened_at_us:
        return "its moments are not those of its entries"
    return None if _took(hold) else "its lots are not what its charges took"


def _took(hold: Hold) -> bool:
    if hold.lots is None:
        return True
    try:
        taken_e8 = sum(taken_of(hold.lots).values())
    except ValueError:
        return False
    return 0 <= taken_e8 <= hold.charged_e8 - hold.refunded_e8


def _lots(session: Session, record: WalletRecord, sums: _Sums) -> Iterator[Finding]:
    for lot in session.lots(record.book, record.id, complete=True):
        seq = str(lot.seq)
        stands = [lot.granted_e8, lot.used_e8, lot.lapsed_e8]
        follows = [sums.granted.pop(seq, 0), sums.used.get(seq, 0), sums.lapsed.get(seq, 0)]
        if stands != follows:
            problem = f"granted, used, lapsed are {stands}; the entries give {follows}"
            yield Finding("lot", record.id, f"lot {seq}", problem)
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
        elif _told(rows[seq]) != sums.budgets[seq]:
            yield Finding("budget", record.id, place, "is not what its entry says")


def _told(budget: Budget) -> dict[str, Any]:
    """A budget as its entry says it, which leaves out what was not given."""
    facts = budget.facts | {"counts_from_us": budget.counts_from_us}
    return {field: value for field, value in facts.items() if value is not None}


def _windows(session: Session, record: WalletRecord) -> Iterator[Finding]:
    for budget in session.budgets(record.book, record.id):
        jobs = session.jobs_since(record.book, record.id, budget.counts_from_us)
        follows = {key: level for key, (_, level) in rebuilt(budget, jobs).items()}
        stands = session.all_levels(record.book, record.id, budget.name)
        for key in sorted({*follows, *stands}):
            yield from _window(record, budget, key, stands.get(key), follows.get(key))


def _window(
    record: WalletRecord,
    budget: Budget,
    key: tuple[str, int],
    stands: Level | None,
    follows: Level | None,
) -> Iterator[Finding]:
    is_, should = (stands or Level(0, 0, 0)), (follows or Level(0, 0, 0))
    row = f"budget {budget.name!r} {key[0]}"
    if is_[:2] != should[:2]:
        problem = f"held, used are {list(is_[:2])}; its jobs give {list(should[:2])}"
        yield Finding("window", record.id, row, problem)
    elif is_.peak_e8 < is_.total_e8:
        yield Finding("window", record.id, row, "is fuller than it ever was")


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

"""Checking a book against itself: every entry is replayed, every projection is rebuilt.

Entries are the truth. A wallet's chain of hashes shows that none was changed, left out or moved;
what follows from them must be what stands in wallets, holds, lots and windows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

from ledger import lots as lotting
from ledger.book.calls import call_digest
from ledger.budgets import Budget, Level, rebuilt
from ledger.records import GENESIS, Entry, Hold, WalletRecord, entry_hash
from ledger.store import Session

__all__ = ["Finding", "Verification", "verify"]


class Finding(NamedTuple):
    """One row that contradicts the entries."""

    kind: str
    """hash, sequence, balance, wallet, hold, lot, or window."""
    wallet: str
    row: str
    problem: str

    def __str__(self) -> str:
        return f"{self.kind}: wallet {self.wallet!r}, {self.row}: {self.problem}"


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
        self.jobs: dict[str, list[int]] = {}
        self.reserved: dict[str, Entry] = {}
        self.used: dict[str, int] = {}
        self.lapsed: dict[str, int] = {}
        self.granted: dict[str, int] = {}


def verify(session: Session, book: str) -> Verification:
    """Check a whole book in one snapshot; findings stand in the order of wallets and entries."""
    findings: list[Finding] = []
    entries = 0
    wallets = session.wallet_records(book)
    for record in wallets:
        sums = _Sums()
        findings += _replayed(session, record, sums)
        findings += _wallet(record, sums)
        findings += _holds(session, record, sums)
        findings += _lots(session, record, sums)
        findings += _windows(session, record)
        entries += sums.seq
    return Verification(len(wallets), entries, tuple(findings))


def _replayed(session: Session, record: WalletRecord, sums: _Sums) -> Iterator[Finding]:
    for entry in session.stream_entries(record.book, record.id):
        place = f"entry {entry.seq}"
        if entry.seq != sums.seq + 1:
            problem = f"follows entry {sums.seq}; what stood between is missing"
            yield Finding("sequence", record.id, place, problem)
        if entry_hash(sums.hash, entry.digest, entry[:18]) != entry.hash:
            yield Finding("hash", record.id, place, "the row or one before it was changed")
        sums.posted_e8 += entry.posted_e8
        sums.held_e8 += entry.held_e8
        if (sums.posted_e8, sums.held_e8) != (entry.posted_after_e8, entry.held_after_e8):
            yield Finding("balance", record.id, place, "the running balances are not the sums")
            sums.posted_e8, sums.held_e8 = entry.posted_after_e8, entry.held_after_e8
        sums.seq, sums.hash = entry.seq, entry.hash
        _add(sums, entry)


def _add(sums: _Sums, entry: Entry) -> None:
    if entry.job is not None:
        job = sums.jobs.setdefault(entry.job, [0, 0, 0, 0, 0])
        job[0] += max(0, entry.held_e8)
        job[1] += entry.held_e8
        job[2] -= entry.posted_e8 if entry.kind == "charge" else 0
        job[3] += entry.posted_e8 if entry.kind == "refund" else 0
        job[4] = entry.seq
    if entry.kind == "reserve":
        sums.reserved[entry.key] = entry
    if entry.posted_e8 > 0 and entry.kind in {"top_up", "adjust"}:
        sums.granted[str(entry.seq)] = entry.posted_e8
    taken: lotting.Taken = json.loads(entry.lots) if entry.lots else {}
    into = sums.lapsed if entry.kind == "lapse" else sums.used
    for lot, part in taken.items():
        into[lot] = into.get(lot, 0) + part


def _wallet(record: WalletRecord, sums: _Sums) -> Iterator[Finding]:
    for what, stands, follows in (
        ("seq", record.seq, sums.seq),
        ("posted_e8", record.posted_e8, sums.posted_e8),
        ("held_e8", record.held_e8, sums.held_e8),
        ("hash", record.hash.hex(), sums.hash.hex()),
    ):
        if stands != follows:
            problem = f"{what} is {stands}; its entries give {follows}"
            yield Finding("wallet", record.id, "the wallet", problem)


def _holds(session: Session, record: WalletRecord, sums: _Sums) -> Iterator[Finding]:
    for hold in session.stream_holds(record.book, record.id):
        row = f"job {hold.job!r}"
        follows = sums.jobs.pop(hold.job, None)
        stands = _figures(hold)
        if follows is None:
            yield Finding("hold", record.id, row, "has no entries")
        elif stands != follows:
            problem = (
                "amount, held, charged, refunded, last_seq are"
                f" {stands}; its entries give {follows}"
            )
            yield Finding("hold", record.id, row, problem)
        if follows is not None and not _as_asked(hold, sums.reserved.pop(hold.job, None)):
            problem = "its labels, policy or terms are not those of its reserve"
            yield Finding("hold", record.id, row, problem)
    for job in sums.jobs:
        yield Finding("hold", record.id, f"job {job!r}", "has entries and no hold")


def _as_asked(hold: Hold, entry: Entry | None) -> bool:
    """Whether a hold still says what its reserve's digest covers."""
    if entry is None:
        return False
    asked = (
        entry.wallet,
        entry.held_e8,
        hold.labels,
        hold.policy,
        hold.on_deadline,
        hold.terms,
    )
    # The moment is in the digest only if the caller gave it.
    return entry.digest in {
        call_digest("reserve", entry.key, None, asked),
        call_digest("reserve", entry.key, entry.happened_at_us, asked),
    }


def _figures(hold: Hold) -> list[int]:
    return [hold.amount_e8, hold.held_e8, hold.charged_e8, hold.refunded_e8, hold.last_seq]


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
    if is_[:2] != should[:2]:
        problem = f"held, used are {list(is_[:2])}; its jobs give {list(should[:2])}"
        yield Finding("window", record.id, f"budget {budget.name!r} {key[0]}", problem)

"""The JSON about comparisons with the provider's bill: sums, breaks, causes, corrections."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from ledger.documents.books import EntryDocument, entry_document
from ledger.records import moment
from ledger.units import iso, show_credits

if TYPE_CHECKING:
    from ledger.breaks import BreakRecord, ReconciliationRecord
    from ledger.errors import LedgerError
    from ledger.records import Entry

__all__ = [
    "BreakDocument",
    "BreaksDocument",
    "CauseDocument",
    "CorrectionDocument",
    "CorrectionsDocument",
    "KeptDocument",
    "ProposalDocument",
    "ReconciliationDocument",
    "ReconciliationsDocument",
    "RejectedDocument",
    "StatementFileDocument",
    "TotalsDocument",
    "break_document",
    "correction_document",
    "reconciliation_record_document",
]


class ProposalDocument(TypedDict):
    """An entry that would make the book agree, or why there is none."""

    verb: str | None
    """charge, refund, release, adjust; null where no entry of the book mends it."""
    amount: str
    reason: str


class BreakDocument(TypedDict):
    """A difference between the book and the bill, and what became of it."""

    id: str
    kind: str
    status: str
    """open, explained, adjusted, written_off, cleared."""
    wallet: str | None
    job: str | None
    task: str | None
    lines: list[int]
    """Lines of the statement; at most 100."""
    ours: str | None
    """Credits in the book; null where it says nothing."""
    theirs: str | None
    """Credits on the bill; null where it says nothing."""
    difference: str
    """Theirs less ours, in credits."""
    difference_money: str | None
    currency: str | None
    happened_at: str
    age: str
    """Bucket of days: 0-1, 2-7, 8-30, 31-60, > 60."""
    cause: str | None
    """What explains the difference to the last digit."""
    evidence: dict[str, Any]
    """What both sides say, and what was tried."""
    proposal: ProposalDocument | None
    owner: str | None
    note: str | None
    closed_by: str | None
    """The entry that corrected it, as kind:key."""


class BreaksDocument(TypedDict):
    """Data of `kling-ledger/breaks/v1`."""

    book: str
    breaks: list[BreakDocument]


class RejectedDocument(TypedDict):
    """A line that could not be read; it is in none of the sums."""

    line: int
    column: str
    problem: str


class StatementFileDocument(TypedDict):
    """A file that was read."""

    name: str
    sha256: str
    lines: int
    """Lines that hold something."""
    mapping: str
    """How it was read, as TOML."""
    guessed: bool
    """Whether the mapping was guessed."""
    rejected: list[RejectedDocument]
    left_out: list[RejectedDocument]
    """Lines that are no charge: totals, and headers that come again."""
    notes: list[str]


class TotalsDocument(TypedDict):
    """Counts and sums of a comparison; amounts in credits."""

    lines: int
    lines_of_period: int
    lines_outside: int
    lines_of_top_ups: int
    lines_matched: int
    jobs: int
    jobs_matched: int
    by_rule: dict[str, int]
    """Matched lines of the period by the rule that made the match."""
    ours: str
    theirs: str
    difference: str
    tolerated: str
    purchases_agreeing: int


class CauseDocument(TypedDict):
    """How much one cause explains."""

    cause: str
    kind: str
    breaks: int
    of_breaks: int
    amount: str
    of_amount: str
    sentence: str


class KeptDocument(TypedDict):
    """A comparison that the book has kept."""

    seq: int
    since: str
    until: str
    recorded_at: str
    options: dict[str, Any]
    result: dict[str, Any]


class ReconciliationDocument(TypedDict):
    """Data of `kling-ledger/reconciliation/v1`."""

    book: str
    since: str
    until: str
    statements: list[StatementFileDocument]
    cash: StatementFileDocument | None
    totals: TotalsDocument
    causes: list[CauseDocument]
    breaks: list[BreakDocument]
    tolerated: list[BreakDocument]
    kept: int | None
    """Number of the comparison in the book; null where it was not kept."""
    new_breaks: int
    cleared_breaks: int
    replayed: bool


class ReconciliationsDocument(TypedDict):
    """Data of `kling-ledger/reconciliations/v1`."""

    book: str
    reconciliations: list[KeptDocument]


class CorrectionDocument(TypedDict):
    """What became of one correction."""

    break_id: str
    action: str
    outcome: str
    """applied, already, waits, skipped, refused."""
    entry: EntryDocument | None
    code: str | None
    """Code of the error, where it was refused."""
    problem: str | None


class CorrectionsDocument(TypedDict):
    """Data of `kling-ledger/corrections/v1`."""

    book: str
    corrections: list[CorrectionDocument]


_OWN = ("proposal", "lines", "difference_money", "currency")
"""What a record keeps in its evidence and a document beside it."""


def break_document(record: BreakRecord, *, now_us: int) -> BreakDocument:
    """A break as JSON; `now_us` is when it has its age."""
    evidence = record.details
    return {
        "id": record.id,
        "kind": record.kind,
        "status": record.status,
        "wallet": record.wallet,
        "job": record.job,
        "task": record.task,
        "lines": evidence.get("lines", []),
        "ours": None if record.ours_e8 is None else show_credits(record.ours_e8),
        "theirs": None if record.theirs_e8 is None else show_credits(record.theirs_e8),
        "difference": show_credits(record.difference_e8),
        "difference_money": evidence.get("difference_money"),
        "currency": evidence.get("currency"),
        "happened_at": iso(record.happened_at),
        "age": record.age_at(now_us),
        "cause": record.cause,
        "evidence": {name: item for name, item in evidence.items() if name not in _OWN},
        "proposal": evidence.get("proposal"),
        "owner": record.owner,
        "note": record.note,
        "closed_by": record.closed_by,
    }


def reconciliation_record_document(record: ReconciliationRecord) -> KeptDocument:
    """A comparison that was kept, as JSON."""
    return {
        "seq": record.seq,
        "since": iso(record.since),
        "until": iso(record.until),
        "recorded_at": iso(moment(record.recorded_at_us)),
        "options": json.loads(record.options),
        "result": record.figures,
    }


def correction_document(
    break_id: str, action: str, outcome: str, entry: Entry | None, error: LedgerError | None
) -> CorrectionDocument:
    """What became of a correction, as JSON."""
    return {
        "break_id": break_id,
        "action": action,
        "outcome": outcome,
        "entry": None if entry is None else entry_document(entry),
        "code": None if error is None else error.code,
        "problem": None if error is None else str(error),
    }

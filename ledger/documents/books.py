"""The JSON about a book: entries, balances, statements, holds, budgets, proofs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from ledger.errors import InsufficientCredits
from ledger.records import moment
from ledger.units import iso, show_credits

if TYPE_CHECKING:
    from ledger.book.verify import Verification
    from ledger.breaks import Reconciled
    from ledger.budgets import Budget, BudgetStatus
    from ledger.errors import Blocked, BudgetExceeded
    from ledger.records import (
        Balance,
        Crossing,
        Entry,
        Hold,
        InboxRecord,
        Lot,
        Parked,
        Statement,
        StatementLine,
        TrialLine,
    )

__all__ = [
    "BalanceDocument",
    "BlockingDocument",
    "BookFindingDocument",
    "BudgetDocument",
    "BudgetStatusDocument",
    "BudgetStatusesDocument",
    "BudgetsDocument",
    "CopyDocument",
    "CrossingDocument",
    "EntriesDocument",
    "EntryDocument",
    "FiguresDocument",
    "HoldDocument",
    "HoldHistoryDocument",
    "HoldsDocument",
    "InboxDocument",
    "LotDocument",
    "LotsDocument",
    "MessageDocument",
    "ParkedDocument",
    "ReconciledDocument",
    "RefusalDocument",
    "StatementDocument",
    "StatementLineDocument",
    "StoreDocument",
    "TrialBalanceDocument",
    "TrialLineDocument",
    "TrialTotalDocument",
    "VerificationDocument",
    "WalletsDocument",
    "WrittenDocument",
    "balance_document",
    "budget_document",
    "budget_status_document",
    "entry_document",
    "hold_document",
    "lot_document",
    "message_document",
    "parked_document",
    "reconciled_document",
    "refusal_document",
    "statement_document",
    "trial_balance_document",
    "verification_document",
]


class CrossingDocument(TypedDict):
    """A threshold of a budget that was reached for the first time in its window."""

    budget: str
    group: str
    percent: str


class EntryDocument(TypedDict):
    """One fact in a wallet; `posted` and `held` are changes with a sign."""

    book: str
    wallet: str
    seq: int
    kind: str
    key: str
    job: str | None
    contra: str
    posted: str
    held: str
    posted_after: str
    held_after: str
    over: str
    uncollected: str
    late: bool
    cash: str | None
    currency: str | None
    expires: str | None
    reason: str | None
    corrects: str | None
    """The closed period that it happened in; it counts when it was told, `facts` has both."""
    seconds: str | None
    lots: dict[str, str]
    facts: dict[str, Any]
    crossed: list[CrossingDocument]
    happened_at: str
    recorded_at: str
    digest: str
    hash: str


class ParkedDocument(TypedDict):
    """A charge or refund that waits in the inbox until its job is reserved."""

    book: str
    kind: str
    key: str
    job: str
    nearest: list[str]
    """Reserved jobs with similar names."""
    discarded: str | None
    """Why a person has discarded it since."""


class WrittenDocument(TypedDict):
    """Data of `kling-ledger/entry/v1`: what a verb wrote, an entry or a parked message."""

    entry: EntryDocument | None
    parked: ParkedDocument | None
    available_after: str | None
    replayed: bool
    dry_run: bool


class EntriesDocument(TypedDict):
    """Data of `kling-ledger/entries/v1`: what one command wrote."""

    book: str
    entries: list[EntryDocument]


class BalanceDocument(TypedDict):
    """Data of `kling-ledger/balance/v1`: a wallet, now or before a moment."""

    book: str
    wallet: str
    posted: str
    held: str
    available: str
    credit_limit: str
    lapsing: str
    seq: int
    before: str | None
    by: str


class WalletsDocument(TypedDict):
    """Data of `kling-ledger/wallets/v1`."""

    book: str
    wallets: list[BalanceDocument]


class FiguresDocument(TypedDict):
    """The two figures a statement carries forward."""

    posted: str
    held: str


class StatementLineDocument(EntryDocument):
    """An entry of a statement; the balances after it are those in the statement's order."""


class ReconciledDocument(TypedDict):
    """Whether the figures of a period agree with the provider's bill."""

    state: str
    """reconciled, open breaks, or not yet."""
    open_breaks: int
    difference: str
    """Theirs less ours over all open breaks, in credits."""
    reconciliation: int | None
    changed: int
    """How many charges and refunds of the period came after it was compared."""


class StatementDocument(TypedDict):
    """Data of `kling-ledger/statement/v1`: from `since` to before `until`."""

    book: str
    wallet: str
    since: str | None
    until: str | None
    by: str
    opening: FiguresDocument
    lines: list[StatementLineDocument]
    closing: FiguresDocument
    reconciled: ReconciledDocument | None
    """Of the book's bill for the same period; null where the period has no start or no end."""


class LotDocument(TypedDict):
    """Credits that came in together; `lot` is the `seq` of the entry that brought them."""

    lot: int
    origin: str
    granted: str
    used: str
    lapsed: str
    remaining: str
    cash: str | None
    currency: str | None
    expires: str | None
    granted_at: str


class LotsDocument(TypedDict):
    """Data of `kling-ledger/lots/v1`: everything that came into a wallet, oldest first."""

    book: str
    wallet: str
    lots: list[LotDocument]


class BlockingDocument(TypedDict):
    """A limit that had no room; `kind` is `credits` for the wallet's own, or `budget`."""

    kind: str
    limit: str
    group: str
    needed: str
    available: str
    held: str
    retryable: bool
    frees_at: str | None


class RefusalDocument(TypedDict):
    """Data of `kling-ledger/refusal/v1`: why the book said no; nothing was written."""

    code: str
    message: str
    book: str
    wallet: str
    job: str
    retryable: bool
    blocking: list[BlockingDocument]


class HoldDocument(TypedDict):
    """Credits set aside for one job, and what became of them."""

    book: str
    job: str
    wallet: str
    state: str
    amount: str
    held: str
    charged: str
    refunded: str
    policy: str
    on_deadline: str
    labels: dict[str, str]
    price: dict[str, str] | None
    reserved_at: str
    deadline: str
    age_seconds: int


class HoldsDocument(TypedDict):
    """Data of `kling-ledger/holds/v1`."""

    book: str
    at: str
    holds: list[HoldDocument]


class HoldHistoryDocument(TypedDict):
    """Data of `kling-ledger/hold/v1`."""

    hold: HoldDocument
    entries: list[EntryDocument]


class MessageDocument(TypedDict):
    """A parked charge or refund; `amount` is `all` where a refund gives back everything."""

    kind: str
    key: str
    job: str
    amount: str | None
    seconds: str | None
    final: bool | None
    reason: str | None
    happened_at: str | None
    recorded_at: str
    discarded_at: str | None
    discard_reason: str | None


class InboxDocument(TypedDict):
    """Data of `kling-ledger/inbox/v1`."""

    book: str
    messages: list[MessageDocument]


class BudgetDocument(TypedDict):
    """A limit on a wallet's spending."""

    name: str
    limit: str
    match: dict[str, str]
    period: str
    rolling_seconds: int | None
    timezone: str
    hard: bool
    thresholds: list[str]
    counts_from: str | None
    seq: int


class BudgetsDocument(TypedDict):
    """Data of `kling-ledger/budgets/v1`."""

    book: str
    wallet: str
    budgets: list[BudgetDocument]


class BudgetStatusDocument(TypedDict):
    """How full a budget is, for one group."""

    name: str
    match: dict[str, str]
    group: str
    period: str
    hard: bool
    limit: str
    held: str
    used: str
    left: str
    percent: str
    over_limit: bool
    starts_at: str | None
    ends_at: str | None


class BudgetStatusesDocument(TypedDict):
    """Data of `kling-ledger/budget-status/v1`."""

    book: str
    wallet: str
    at: str
    status: list[BudgetStatusDocument]


class TrialLineDocument(TypedDict):
    """What one account was debited or credited, net."""

    account: str
    debit: str
    credit: str


class TrialTotalDocument(TypedDict):
    """The sums of a trial balance, which are equal unless the book contradicts itself."""

    debit: str
    credit: str


class TrialBalanceDocument(TypedDict):
    """Data of `kling-ledger/trial-balance/v1`."""

    book: str
    before: str | None
    by: str
    lines: list[TrialLineDocument]
    total: TrialTotalDocument


class BookFindingDocument(TypedDict):
    """One row that contradicts the entries."""

    kind: str
    wallet: str
    row: str
    problem: str


class VerificationDocument(TypedDict):
    """Data of `kling-ledger/verification/v1`."""

    book: str
    wallets: int
    entries: int
    findings: list[BookFindingDocument]


class StoreDocument(TypedDict):
    """Data of `kling-ledger/store/v1`: a database, and what the command did to it."""

    url: str
    state: str
    revision: str | None
    needed: str
    dialect: str
    server_version: str
    found: str | None
    distributed: list[str]
    books: list[str]


class CopyDocument(TypedDict):
    """Data of `kling-ledger/copy/v1`: a book that was copied to another database."""

    source: str
    target: str
    book: str
    wallets: int
    entries: int
    rows: dict[str, int]
    """Rows by table."""


def entry_document(entry: Entry) -> EntryDocument:
    """An entry as JSON.

    >>> from ledger.records import Entry
    >>> entry = Entry("main", "studio", 2, "top_up", "invoice-1", None, "funding", 10**8, 0, 10**8,
    ...     0, 0, 0, 0, None, '{"origin":"paid"}', 0, 0, bytes(32), bytes(32))
    >>> document = entry_document(entry)
    >>> document["posted"], document["facts"], document["happened_at"]
    ('1', {'origin': 'paid'}, '1970-01-01T00:00:00Z')
    """
    facts = _facts(entry)
    return {
        "book": entry.book,
        "wallet": entry.wallet,
        "seq": entry.seq,
        "kind": entry.kind,
        "key": entry.key,
        "job": entry.job,
        "contra": entry.contra,
        "posted": show_credits(entry.posted_e8),
        "held": show_credits(entry.held_e8),
        "posted_after": show_credits(entry.posted_after_e8),
        "held_after": show_credits(entry.held_after_e8),
        "over": show_credits(entry.over_e8),
        "uncollected": show_credits(entry.uncollected_e8),
        "late": bool(entry.late),
        "cash": facts.get("cash"),
        "currency": facts.get("currency"),
        "expires": facts.get("expires"),
        "reason": facts.get("reason"),
        "corrects": facts.get("corrects"),
        "seconds": facts.get("seconds"),
        "lots": {lot: show_credits(part) for lot, part in json.loads(entry.lots or "{}").items()},
        "facts": facts,
        "crossed": [_crossing(item) for item in entry.crossed],
        "happened_at": _iso(entry.happened_at_us),
        "recorded_at": _iso(entry.recorded_at_us),
        "digest": entry.digest.hex(),
        "hash": entry.hash.hex(),
    }


def _facts(entry: Entry) -> dict[str, Any]:
    """What else belongs to an entry, with amounts and moments as everywhere in the JSON."""
    facts: dict[str, Any] = {}
    for name, value in entry.details.items():
        if name.endswith("_e8"):
            facts[name.removesuffix("_e8")] = show_credits(value)
        elif name.endswith("_us"):
            facts[name.removesuffix("_us")] = _iso(value)
        elif name != "crossed":
            facts[name] = value
    return facts


def _crossing(item: Crossing) -> CrossingDocument:
    return {"budget": item.budget, "group": item.group, "percent": item.percent}


def parked_document(item: Parked) -> ParkedDocument:
    """A parked message, as the verb that parked it tells it."""
    return {
        "book": item.book,
        "kind": item.kind,
        "key": item.key,
        "job": item.job,
        "nearest": list(item.nearest),
        "discarded": item.discarded,
    }


def balance_document(
    book: str, balance: Balance, *, before: str | None = None, by: str = "recorded"
) -> BalanceDocument:
    """A balance as JSON."""
    return {
        "book": book,
        "wallet": balance.wallet,
        "posted": show_credits(balance.posted_e8),
        "held": show_credits(balance.held_e8),
        "available": show_credits(balance.available_e8),
        "credit_limit": show_credits(balance.credit_limit_e8),
        "lapsing": show_credits(balance.lapsing_e8),
        "seq": balance.seq,
        "before": before,
        "by": by,
    }


def statement_document(
    book: str, statement: Statement, reconciled: Reconciled | None = None
) -> StatementDocument:
    """A statement as JSON."""
    return {
        "book": book,
        "wallet": statement.wallet,
        "since": _iso_or_none(statement.since_us),
        "until": _iso_or_none(statement.until_us),
        "by": statement.by,
        "opening": _figures(statement.opening_posted_e8, statement.opening_held_e8),
        "lines": [_line(line) for line in statement.lines],
        "closing": _figures(statement.closing_posted_e8, statement.closing_held_e8),
        "reconciled": None if reconciled is None else reconciled_document(reconciled),
    }


def reconciled_document(reconciled: Reconciled) -> ReconciledDocument:
    """Whether a period agrees with the bill, as JSON."""
    return {
        "state": reconciled.state,
        "open_breaks": reconciled.open_breaks,
        "difference": show_credits(reconciled.difference_e8),
        "reconciliation": reconciled.reconciliation,
        "changed": reconciled.changed,
    }


def _line(line: StatementLine) -> StatementLineDocument:
    return {
        **entry_document(line.entry),
        "posted_after": show_credits(line.posted_after_e8),
        "held_after": show_credits(line.held_after_e8),
    }


def _figures(posted_e8: int, held_e8: int) -> FiguresDocument:
    return {"posted": show_credits(posted_e8), "held": show_credits(held_e8)}


def lot_document(lot: Lot) -> LotDocument:
    """A lot as JSON."""
    return {
        "lot": lot.seq,
        "origin": lot.origin,
        "granted": show_credits(lot.granted_e8),
        "used": show_credits(lot.used_e8),
        "lapsed": show_credits(lot.lapsed_e8),
        "remaining": show_credits(lot.remaining_e8),
        "cash": None if lot.cash_e8 is None else show_credits(lot.cash_e8),
        "currency": lot.currency,
        "expires": _iso_or_none(lot.expires_at_us),
        "granted_at": _iso(lot.granted_at_us),
    }


def refusal_document(
    error: InsufficientCredits | BudgetExceeded, *, book: str, job: str
) -> RefusalDocument:
    """A refusal as JSON, with every limit that was in the way."""
    of_wallet = isinstance(error, InsufficientCredits)
    return {
        "code": error.code,
        "message": str(error),
        "book": book,
        "wallet": error.wallet,
        "job": job,
        "retryable": error.retryable,
        # The wallet's own credits come first; a budget may be called "credits", too.
        "blocking": [
            _blocking("credits" if of_wallet and not place else "budget", item)
            for place, item in enumerate(error.blocking)
        ],
    }


def _blocking(kind: str, blocked: Blocked) -> BlockingDocument:
    return {
        "kind": kind,
        "limit": blocked.limit,
        "group": blocked.group,
        "needed": show_credits(blocked.needed_e8),
        "available": show_credits(blocked.available_e8),
        "held": show_credits(blocked.held_e8),
        "retryable": blocked.retryable,
        "frees_at": blocked.frees_at,
    }


def hold_document(hold: Hold, now_us: int) -> HoldDocument:
    """A hold as JSON, with its state and age at a moment."""
    terms: dict[str, Any] = json.loads(hold.terms or "{}")
    return {
        "book": hold.book,
        "job": hold.job,
        "wallet": hold.wallet or "",
        "state": hold.state_at(now_us),
        "amount": show_credits(hold.amount_e8),
        "held": show_credits(hold.held_e8),
        "charged": show_credits(hold.charged_e8),
        "refunded": show_credits(hold.refunded_e8),
        "policy": hold.policy,
        "on_deadline": hold.on_deadline,
        "labels": json.loads(hold.labels),
        "price": terms.get("price"),
        "reserved_at": _iso(hold.reserved_at_us),
        "deadline": _iso(hold.deadline_us),
        "age_seconds": max(0, now_us - hold.reserved_at_us) // 1_000_000,
    }


def message_document(record: InboxRecord) -> MessageDocument:
    """A message of the inbox as JSON."""
    content: dict[str, Any] = json.loads(record.content)
    amount_e8, whole = content.get("amount_e8"), record.kind == "refund"
    return {
        "kind": record.kind,
        "key": record.key,
        "job": record.job,
        "amount": show_credits(amount_e8) if amount_e8 is not None else "all" if whole else None,
        "seconds": content.get("seconds"),
        "final": content.get("final"),
        "reason": content.get("reason"),
        "happened_at": _iso_or_none(record.happened_at_us),
        "recorded_at": _iso(record.recorded_at_us),
        "discarded_at": _iso_or_none(record.discarded_at_us),
        "discard_reason": record.discard_reason,
    }


def budget_document(budget: Budget) -> BudgetDocument:
    """A budget as JSON."""
    return {
        "name": budget.name,
        "limit": show_credits(budget.limit_e8),
        "match": budget.labels,
        "period": budget.period,
        "rolling_seconds": budget.rolling_seconds,
        "timezone": budget.timezone,
        "hard": bool(budget.hard),
        "thresholds": json.loads(budget.thresholds),
        "counts_from": _iso(budget.counts_from_us) if budget.counts_from_us > 0 else None,
        "seq": budget.seq,
    }


def budget_status_document(status: BudgetStatus) -> BudgetStatusDocument:
    """How full a budget is, as JSON."""
    budget = status.budget
    return {
        "name": budget.name,
        "match": budget.labels,
        "group": status.group,
        "period": budget.period,
        "hard": bool(budget.hard),
        "limit": show_credits(budget.limit_e8),
        "held": show_credits(status.held_e8),
        "used": show_credits(status.used_e8),
        "left": show_credits(max(0, budget.limit_e8 - status.held_e8 - status.used_e8)),
        "percent": str(status.percent),
        "over_limit": status.over,
        "starts_at": _iso_or_none(status.starts_us),
        "ends_at": _iso_or_none(status.ends_us),
    }


def trial_balance_document(
    book: str, lines: list[TrialLine], *, before: str | None = None, by: str = "recorded"
) -> TrialBalanceDocument:
    """A trial balance as JSON, with its sums."""
    return {
        "book": book,
        "before": before,
        "by": by,
        "lines": [
            {
                "account": line.account,
                "debit": show_credits(line.debit_e8),
                "credit": show_credits(line.credit_e8),
            }
            for line in lines
        ],
        "total": {
            "debit": show_credits(sum(line.debit_e8 for line in lines)),
            "credit": show_credits(sum(line.credit_e8 for line in lines)),
        },
    }


def verification_document(book: str, verification: Verification) -> VerificationDocument:
    """What was checked and found, as JSON."""
    return {
        "book": book,
        "wallets": verification.wallets,
        "entries": verification.entries,
        "findings": [
            {
                "kind": item.kind,
                "wallet": item.wallet,
                "row": item.row,
                "problem": item.problem,
            }
            for item in verification.findings
        ],
    }


def _iso(when_us: int) -> str:
    return iso(moment(when_us))


def _iso_or_none(when_us: int | None) -> str | None:
    return None if when_us is None else _iso(when_us)

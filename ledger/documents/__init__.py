"""The JSON the library prints, as types; the JSON Schemas under `ledger/schemas` come from here.

Amounts, quantities and rates are strings of plain digits, so that no reader turns them into
floats. Fields may be added within a version; none is renamed or removed.
"""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

from ledger.documents.books import (
    BalanceDocument,
    BookFindingDocument,
    BudgetDocument,
    BudgetsDocument,
    BudgetStatusDocument,
    BudgetStatusesDocument,
    CopyDocument,
    CrossingDocument,
    EntriesDocument,
    EntryDocument,
    FiguresDocument,
    HoldDocument,
    HoldHistoryDocument,
    HoldsDocument,
    InboxDocument,
    MessageDocument,
    ParkedDocument,
    StatementDocument,
    StatementLineDocument,
    StoreDocument,
    TrialBalanceDocument,
    TrialLineDocument,
    TrialTotalDocument,
    VerificationDocument,
    WalletsDocument,
    WrittenDocument,
    balance_document,
    budget_document,
    budget_status_document,
    entry_document,
    hold_document,
    message_document,
    parked_document,
    statement_document,
    trial_balance_document,
    verification_document,
)
from ledger.documents.prices import (
    ChannelDocument,
    DearestDocument,
    DifferenceDocument,
    DifferencesDocument,
    EstimateDocument,
    FaultDocument,
    FindingDocument,
    FindingsDocument,
    GroupDocument,
    LineDocument,
    ModelDocument,
    ModelsDocument,
    NamedQuoteDocument,
    NotPricedDocument,
    NotQuotedDocument,
    PriceDocument,
    QuoteDocument,
    QuotesDocument,
    RangeDocument,
    UsdDocument,
)

__all__ = [
    "BalanceDocument",
    "BookFindingDocument",
    "BudgetDocument",
    "BudgetStatusDocument",
    "BudgetStatusesDocument",
    "BudgetsDocument",
    "ChannelDocument",
    "CopyDocument",
    "CrossingDocument",
    "DearestDocument",
    "DifferenceDocument",
    "DifferencesDocument",
    "EntriesDocument",
    "EntryDocument",
    "Envelope",
    "EstimateDocument",
    "FaultDocument",
    "FiguresDocument",
    "FindingDocument",
    "FindingsDocument",
    "GroupDocument",
    "HoldDocument",
    "HoldHistoryDocument",
    "HoldsDocument",
    "InboxDocument",
    "LineDocument",
    "MessageDocument",
    "ModelDocument",
    "ModelsDocument",
    "NamedQuoteDocument",
    "NotPricedDocument",
    "NotQuotedDocument",
    "ParkedDocument",
    "PriceDocument",
    "QuoteDocument",
    "QuotesDocument",
    "RangeDocument",
    "StatementDocument",
    "StatementLineDocument",
    "StoreDocument",
    "TrialBalanceDocument",
    "TrialLineDocument",
    "TrialTotalDocument",
    "UsdDocument",
    "VerificationDocument",
    "WalletsDocument",
    "WrittenDocument",
    "balance_document",
    "budget_document",
    "budget_status_document",
    "entry_document",
    "hold_document",
    "message_document",
    "parked_document",
    "statement_document",
    "trial_balance_document",
    "verification_document",
]


class Envelope(TypedDict):
    """What every command prints with `--format json`."""

    schema: str
    generated_at: str
    data: Any
    warnings: list[str]

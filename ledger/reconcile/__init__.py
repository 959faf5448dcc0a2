"""A book compared with the provider's bill: what agrees, what does not, and why.

Two data frames and price sources in, results out; nothing here reads or writes a database.
"""

from ledger.reconcile.breaks import Break, Proposal
from ledger.reconcile.frames import BOOK, INVOICES, STATEMENT, TOP_UPS
from ledger.reconcile.matching import RULES
from ledger.reconcile.reconciling import reconcile
from ledger.reconcile.results import CauseTotal, Reconciliation, Tolerance, Totals

__all__ = [
    "BOOK",
    "INVOICES",
    "RULES",
    "STATEMENT",
    "TOP_UPS",
    "Break",
    "CauseTotal",
    "Proposal",
    "Reconciliation",
    "Tolerance",
    "Totals",
    "reconcile",
]

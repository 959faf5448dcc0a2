"""A book compared with the provider's bill: what agrees, what does not, and why.

`reconcile` compares two data frames and knows no database; `reconcile_book` reads a book and a
file, and keeps what was found.
"""

from ledger.reconcile.breaks import Break, Proposal
from ledger.reconcile.corrections import (
    Applied,
    Correction,
    apply_corrections,
    propose,
    read_corrections,
)
from ledger.reconcile.frames import BOOK, INVOICES, STATEMENT, TASKS, TOP_UPS
from ledger.reconcile.held import Held, reconcile_book, tolerance_of
from ledger.reconcile.matching import RULES
from ledger.reconcile.reconciling import reconcile
from ledger.reconcile.results import CauseTotal, Reconciliation, Tolerance, Totals

__all__ = [
    "BOOK",
    "INVOICES",
    "RULES",
    "STATEMENT",
    "TASKS",
    "TOP_UPS",
    "Applied",
    "Break",
    "CauseTotal",
    "Correction",
    "Held",
    "Proposal",
    "Reconciliation",
    "Tolerance",
    "Totals",
    "apply_corrections",
    "propose",
    "read_corrections",
    "reconcile",
    "reconcile_book",
    "tolerance_of",
]

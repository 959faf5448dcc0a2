"""Where a book is kept: engines, transactions, statements, migrations."""

from ledger.store.engines import Joined, KeyTaken, Store, Transient, driver_errors, make_engine
from ledger.store.session import Changes, Session, Stale

__all__ = [
    "Changes",
    "Joined",
    "KeyTaken",
    "Session",
    "Stale",
    "Store",
    "Transient",
    "driver_errors",
    "make_engine",
]

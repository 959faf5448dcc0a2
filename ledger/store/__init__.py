"""Where a book is kept: engines, transactions, statements, migrations."""

from ledger.store.engines import KeyTaken, Store, Transient, make_engine
from ledger.store.session import Session, Stale

__all__ = ["KeyTaken", "Session", "Stale", "Store", "Transient", "make_engine"]

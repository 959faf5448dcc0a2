"""Where a book is kept: engines, transactions, statements, migrations."""

from ledger.store.engines import KeyTaken, Store, Transient, make_engine
from ledger.store.session import MOST_ROWS, Session, Stale

__all__ = ["MOST_ROWS", "KeyTaken", "Session", "Stale", "Store", "Transient", "make_engine"]

"""Questions to a book, answered in rows: usage, variance, budgets, balances, and the month's pack.

`ask` says of which book and time, `make` makes one of the reports of `CATALOGUE`. Reports need the
extra `data`.
"""

from ledger.reports.asking import Asked, ask
from ledger.reports.catalogue import CATALOGUE, make

__all__ = ["CATALOGUE", "Asked", "ask", "make"]

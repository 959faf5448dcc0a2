"""Statements: what the provider says it charged, read exactly from whatever finance has.

A statement is CSV or another text file with columns, JSON of tasks, or a workbook. A mapping says
which column holds what; without one, a guess is made and explained. Lines that cannot be read are
rejected by number, column and reason, never dropped, and no amount ever passes through a float.
"""

from ledger.errors import MissingExtra

try:
    import polars as pl  # noqa: F401
except ImportError:
    raise MissingExtra("data", "reading a statement") from None

from ledger.statements.guessing import Guess, guess_mapping
from ledger.statements.mapping import Columns, Mapping, read_mapping
from ledger.statements.reading import COLUMNS, StatementFile, read_statement
from ledger.statements.sources import Rejected

__all__ = [
    "COLUMNS",
    "Columns",
    "Guess",
    "Mapping",
    "Rejected",
    "StatementFile",
    "guess_mapping",
    "read_mapping",
    "read_statement",
]

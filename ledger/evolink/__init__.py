"""The provider: its published pricing rules, exactly as it publishes them."""

from ledger.evolink.formulas import OptionKind
from ledger.evolink.kept import Kept, keep, kept_books
from ledger.evolink.rules import Rules
from ledger.evolink.source import PublishedRules, book_names, open_prices

__all__ = [
    "Kept",
    "OptionKind",
    "PublishedRules",
    "Rules",
    "book_names",
    "keep",
    "kept_books",
    "open_prices",
]

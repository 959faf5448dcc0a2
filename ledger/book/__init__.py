"""The book: verbs, balances, and what the database is asked."""

from ledger.book.book import Book
from ledger.book.items import Adjust, Charge, Extend, Refund, Release, Reserve, TopUp

__all__ = ["Adjust", "Book", "Charge", "Extend", "Refund", "Release", "Reserve", "TopUp"]

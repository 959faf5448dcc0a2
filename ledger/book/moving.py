"""Moving a book to another database: every row as it is, checked before it counts."""

from __future__ import annotations

from typing import NamedTuple

from ledger.book.verify import verify
from ledger.book.work import Telling
from ledger.errors import StoreError, VerificationFailed
from ledger.store import Store
from ledger.tables import METADATA

__all__ = ["Copied", "copy_book"]


class Copied(NamedTuple):
    """What was copied."""

    rows: dict[str, int]
    """Rows by table."""
    wallets: int
    entries: int


def copy_book(source: Store, target: Store, book: str, telling: Telling | None = None) -> Copied:
    """Copy a book in one transaction, and verify the copy before it is committed.

    Raises:
        StoreError: the target has rows of this book already.
        VerificationFailed: the book does not agree with itself; nothing was copied.
    """
    rows = {}
    with source.reading() as reading, target.writing() as writing:
        for table in METADATA.sorted_tables:
            if writing.has_rows(table.name, book):
                raise StoreError(f"{target.name} has a book {book!r} already; copy into a new one")
        for table in METADATA.sorted_tables:
            order = [column.name for column in table.primary_key.columns]
            rows[table.name] = writing.fill(
                table.name, reading.all_rows(table.name, book, order=order)
            )
        found = verify(writing, book, telling)
        if found.findings:
            raise VerificationFailed(found.findings)
    return Copied(rows, found.wallets, found.entries)

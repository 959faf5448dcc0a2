"""The same history makes the same reports and the same files, whichever engine keeps the book."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import get_args
from uuid import uuid4

import histories
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_exports import exported
from test_report_money import budgets_of
from writers import Clock

from ledger.book import Book
from ledger.cli.report import ReportFormat, text_of
from ledger.exports.fields import Table
from ledger.exports.focus import FOCUS_VERSIONS, focus_rows
from ledger.exports.journals import Dialect, journal
from ledger.records import By
from ledger.reports.asking import ask
from ledger.reports.catalogue import CATALOGUE, make
from ledger.spans import Span, span_of


def made(book: Book, span: Span | None, by: By) -> Iterator[tuple[str, bytes]]:
    """Everything that can be written about a book, by its name."""
    asked = ask(book, span=span, by=by)
    for name, kind in CATALOGUE.items():
        wallet = histories.PLAIN_WALLETS[0] if kind.needs_wallet else None
        mine = ask(book, span=span if kind.takes_span else None, by=by, wallet=wallet)
        yield name, text_of(make(name, mine), ReportFormat.JSON).encode()
    for table in get_args(Table):
        yield table, exported(asked, table, "jsonl")[0]
    for dialect in get_args(Dialect):
        yield dialect, "\n".join(journal(book, dialect, span=span, holds=True)).encode()
    for version in FOCUS_VERSIONS:
        for frame in focus_rows(book, version, span=span):
            yield f"FOCUS {version}", frame.write_ndjson().encode()


@pytest.mark.parametrize("by", get_args(By))
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    moves=histories.histories(),
    span=st.sampled_from([None, span_of("2026-10-05/2026-10-16", "Asia/Shanghai")]),
)
def test_both_engines_write_the_same(
    postgres_url: str, by: By, moves: histories.Moves, span: Span | None
) -> None:
    name = f"book-{uuid4().hex[:12]}"
    with ExitStack() as opened:
        books = []
        for url in ("sqlite://", postgres_url):
            clock = Clock()
            books.append(book := opened.enter_context(Book(url, book=name, clock=clock)))
            budgets_of(book)
            histories.play(book, clock, moves)
        here, there = (made(book, span, by) for book in books)
        for mine, other in zip(here, there, strict=True):
            assert mine == other

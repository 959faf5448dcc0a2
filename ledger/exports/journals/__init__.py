"""Journals for accounting programs: beancount, hledger and ledger, from the same rows."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import get_args

from ledger.book import Book
from ledger.errors import Fault, InvalidEntry
from ledger.exports.journals.dialects import DIALECTS, Dialect, Writer
from ledger.exports.journals.history import Found, Question, sorted_texts
from ledger.exports.journals.model import Options
from ledger.records import moment, name
from ledger.spans import Span, zone
from ledger.units import iso

__all__ = ["Dialect", "journal"]

_COMMODITY = re.compile(r"[A-Z][A-Z_]{2,22}[A-Z]", re.ASCII)
_ACCOUNT = re.compile(
    r"(?:Assets|Liabilities|Equity|Income|Expenses)(?::[A-Z0-9][A-Za-z0-9-]*)+", re.ASCII
)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)


def journal(
    book: Book,
    dialect: Dialect,
    *,
    span: Span | None = None,
    as_of_us: int | None = None,
    wallet: str | None = None,
    timezone: str = "UTC",
    holds: bool = False,
    label: str | None = None,
    commodity: str = "CREDIT",
    currency: str = "USD",
    cash_account: str = "Assets:Cash",
    progress: Callable[[int], None] = lambda _: None,
) -> Iterator[str]:
    r"""The lines of a journal, without line ends.

    Entries count on the day on which they happened. With a span, each wallet opens with what it
    held before, lot by lot. Every wallet's accounts are asserted, exactly, at the end and at the
    end of every month before it. What was spent beyond all lots stands as credits until other
    credits pay it, and as what those cost from then on.

    Args:
        book: whose entries; they are read in one snapshot when the first line is asked for.
        dialect: beancount, hledger or ledger.
        span: the stretch of time; all of it, if None.
        as_of_us: only what was recorded before this moment, in microseconds since 1970.
        wallet: only of this wallet.
        timezone: where days begin, if there is no span that says it.
        holds: also move credits that are set aside to `Assets:EvoLink:Reserved` and back.
        label: a label whose values become accounts below that of the model.
        commodity: what credits are called: 4 to 24 capital letters and `_`.
        currency: what promotional credits cost nothing of.
        cash_account: where the money for top-ups comes from.
        progress: is told how many entries were read.

    Raises:
        InvalidEntry: what was given.
        UnknownWallet: there is no such wallet.

    >>> with Book("sqlite://") as book:
    ...     _ = book.top_up("studio", 680, key="invoice-1", cash=10, currency="USD",
    ...         at="2026-10-01")
    ...     lines = list(journal(book, "hledger"))
    >>> print(*lines[-12:-2], sep="\n")
    2026-10-01 * (Studio/2) EvoLink | top up
        ; entry: 2
        ; kind: top_up
        ; key: invoice-1
        Assets:EvoLink:Credits:Studio  680.00000000 CREDIT @@ 10.00000000 USD
        ; lot: 2
        Assets:Cash  -10.00000000 USD
    <BLANKLINE>
    ; studio: posted 680, held 0
    2026-10-01 * kling-ledger | balances
    """
    options = Options(holds, label, commodity, currency, cash_account)
    _check(dialect, options)
    if wallet is not None:
        book.balance(wallet)
    here = zone(timezone if span is None else span.timezone).key
    question = Question(book, span, as_of_us, wallet, here, options)
    return _lines(question, DIALECTS[dialect](commodity), progress)


def _check(dialect: str, options: Options) -> None:
    faults = []
    if dialect not in DIALECTS:
        known = ", ".join(get_args(Dialect))
        faults.append(Fault("dialect", f"must be one of {known}, not {str(dialect)[:40]!r}"))
    if not _COMMODITY.fullmatch(options.commodity):
        problem = "must be 4 to 24 capital letters, with _ inside, such as EVOLINK_CREDIT"
        faults.append(Fault("commodity", problem))
    if not _CURRENCY.fullmatch(options.currency):
        faults.append(Fault("currency", "must be three capital letters (ISO 4217), such as USD"))
    if not _ACCOUNT.fullmatch(options.cash_account):
        faults.append(Fault("cash_account", "must be an account such as Assets:Bank:Checking"))
    if faults:
        raise InvalidEntry("the journal", faults)
    if options.label is not None:
        name(options.label, "the label")


def _lines(question: Question, writer: Writer, progress: Callable[[int], None]) -> Iterator[str]:
    for found in sorted_texts(question, writer.text, progress):
        yield from _introduction(question, found)
        yield from writer.head(f"Credits of book {question.book.book}", found)
        for text in found.texts:
            yield from text.split("\n")[:-1]


def _introduction(question: Question, found: Found) -> Iterator[str]:
    span, known_us = question.span, found.known_us
    what = "all entries" if span is None else f"entries of {span.name}"
    yield f"; {what}, by the day on which they happened ({question.timezone})"
    if known_us is not None:
        yield f"; as known after the entry of {iso(moment(known_us))}"
    if not question.options.holds:
        yield "; credits that are set aside for running jobs are not posted apart"
    yield "; Equity:Rounding, where it stands, takes what a cost per credit makes of the last digit"

"""From a book to the transactions and checks of a journal, in the order of days.

Entries are costed in the order in which they were recorded, wallet by wallet; a journal is in the
order of days. Written transactions are sorted in a temporary database that the system deletes, so
that a month of a million jobs needs no memory for them.
"""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing
from datetime import date, timedelta
from functools import lru_cache
from tempfile import gettempdir
from typing import NamedTuple

from ledger.book import Book
from ledger.costing import Costed, Costing
from ledger.errors import OutputError
from ledger.exports.journals.model import Check, Options, Posting, Transaction
from ledger.exports.journals.names import component, expense_account, word
from ledger.exports.journals.posting import OPENING, ROUNDING, WalletPostings
from ledger.figures import show_credits
from ledger.records import Entry, WalletRecord
from ledger.reports.asking import EVER_US
from ledger.spans import Span, day_of
from ledger.store import Session
from ledger.store.moves import holds_of
from ledger.store.tasks import tasks_of

__all__ = ["Found", "Question", "sorted_texts"]

_ROWS = 5_000
"""Entries that are read at a time."""

_QUARTER_US = 900_000_000
"""Days begin on a quarter of an hour in every time zone."""

_OPENING, _MOVES, _CHECKS = range(3)


class Question(NamedTuple):
    """What a journal is asked for."""

    book: Book
    span: Span | None
    as_of_us: int | None
    wallet: str | None
    timezone: str
    options: Options


class Found(NamedTuple):
    """What is known when everything was read, and the texts can be given out."""

    accounts: Mapping[str, str | None]
    """Every account that is used, and the name of the wallet or label that it is for."""
    commodities: tuple[str, ...]
    first_day: date | None
    """The day of the first transaction; None where there is none."""
    known_us: int | None
    """When the last entry that counts was recorded."""
    texts: Iterator[str]
    """The transactions and checks, in the order of days."""


class _Job(NamedTuple):
    """What a hold says about the entries of its job."""

    account: str
    task: str | None
    metadata: dict[str, str]


def sorted_texts(
    question: Question,
    write: Callable[[Transaction | Check], str],
    progress: Callable[[int], None],
) -> Iterator[Found]:
    """Read the book once; gives what was found, whose texts are to be used before going on.

    Args:
        question: what is asked for.
        write: the text of a transaction or check.
        progress: is told how many entries were read.

    Raises:
        OutputError: there is no room for the temporary file.
    """
    with closing(sqlite3.connect("", isolation_level=None)) as store:
        store.execute(
            "CREATE TABLE texts (day INTEGER, rank INTEGER, at INTEGER, wallet INTEGER,"
            " seq INTEGER, text TEXT, PRIMARY KEY (day, rank, at, wallet, seq)) WITHOUT ROWID"
        )
        reader = _Reader(question, progress)
        rows = ((*place, write(item)) for place, item in reader.rows())
        try:
            store.execute("BEGIN")
            store.executemany("INSERT INTO texts VALUES (?, ?, ?, ?, ?, ?)", rows)
            store.execute("COMMIT")
        except sqlite3.OperationalError as error:
            problem = f"cannot take the temporary file that a journal is sorted in: {error}"
            raise OutputError(gettempdir(), problem) from error
        found = store.execute("SELECT text FROM texts ORDER BY day, rank, at, wallet, seq")
        yield Found(
            dict(sorted(reader.accounts.items())),
            tuple(sorted(reader.commodities)),
            reader.first_day,
            reader.known_us,
            (row[0] for row in found),
        )


_Place = tuple[int, int, int, int, int]
_Month = tuple[int, int]


class _Sums:
    """What happened to a wallet, month by month."""

    def __init__(self) -> None:
        self.posted: dict[_Month, int] = defaultdict(int)
        self.held: dict[_Month, int] = defaultdict(int)
        self.owed: dict[_Month, int] = defaultdict(int)

    def add(self, month: _Month, posted_e8: int, held_e8: int, owed_e8: int) -> None:
        self.posted[month] += posted_e8
        self.held[month] += held_e8
        self.owed[month] += owed_e8

    def until(self, month: _Month | None) -> tuple[int, int, int]:
        """Posted, held and owed at the end of a month; of everything, if None."""
        posted, held, owed = (
            sum(each for key, each in sums.items() if month is None or key <= month)
            for sums in (self.posted, self.held, self.owed)
        )
        return posted, held, owed


_BEFORE: _Month = (-1, 0)
"""Sorts before every month: what had happened before the span."""


class _Opening:
    """What a wallet held before the span, lot by lot."""

    def __init__(self) -> None:
        self.lots: dict[int, list[int]] = {}
        self.owed_e8 = 0
        self.held_e8 = 0

    def add(self, item: Costed) -> None:
        self.held_e8 += item.entry.held_e8
        for part in item.parts:
            if part.lot is None:
                self.owed_e8 += part.credits_e8
                continue
            lot = self.lots.setdefault(part.lot, [0, 0])
            lot[0] += part.credits_e8
            lot[1] += part.cost_e8
            if lot == [0, 0]:
                del self.lots[part.lot]


class _Reader:
    """Goes through a book once."""

    def __init__(self, question: Question, progress: Callable[[int], None]) -> None:
        self._question, self._options = question, question.options
        self._progress, self._read = progress, 0
        span = question.span
        self._since_us, self._until_us = (
            (-EVER_US, EVER_US) if span is None else (span.start_us, span.end_us)
        )
        self._before_us = EVER_US if question.as_of_us is None else question.as_of_us
        self._days: dict[int, date] = {}
        self._names: dict[str, str] = {}
        self.accounts: dict[str, str | None] = {}
        self.commodities: set[str] = set()
        self.first_day: date | None = None
        self.last_day: date | None = None
        self.known_us: int | None = None
        if span is not None:
            self.first_day = self.day(span.start_us)
            self.last_day = self.day(span.end_us - 1)

    def rows(self) -> Iterator[tuple[_Place, Transaction | Check]]:
        """Everything of the journal with its place, in no order."""
        question, sums = self._question, {}
        with question.book.looking() as session:
            records = session.wallet_records(question.book.book)
            for number, record in enumerate(records):
                if question.wallet in {None, record.id}:
                    sums[number, record.id] = _Sums()
                    yield from self._wallet(session, number, record, sums[number, record.id])
        for (number, wallet), mine in sums.items():
            yield from self._checks(number, wallet, mine)

    def day(self, when_us: int) -> date:
        """The day of a moment, in the time zone of the journal."""
        quarter = when_us // _QUARTER_US
        found = self._days.get(quarter)
        if found is None:
            found = self._days[quarter] = day_of(when_us, self._question.timezone)
        return found

    # One wallet

    def _wallet(
        self, session: Session, number: int, record: WalletRecord, sums: _Sums
    ) -> Iterator[tuple[_Place, Transaction]]:
        postings = WalletPostings(record.id, self._options)
        own = postings.accounts
        self._names |= dict.fromkeys((own.credits, own.reserved, own.owed), record.id)
        costing, opening = Costing(), _Opening()
        for page in self._pages(session, record):
            items = [costing.of(entry) for entry in page]
            jobs = self._jobs(session, items)
            for item in items:
                entry = item.entry
                job = jobs.get(entry.job or "", _NO_JOB)
                day = self.day(entry.happened_at_us)
                postings.know(item, day, job.account)
                if entry.happened_at_us < self._since_us:
                    opening.add(item)
                elif entry.happened_at_us < self._until_us:
                    owed_e8 = sum(part.credits_e8 for part in item.parts if part.lot is None)
                    month = (day.year, day.month)
                    sums.add(month, entry.posted_e8, entry.held_e8, owed_e8)
                    lines = postings.of(item, job.account)
                    if lines:
                        place = (day.toordinal(), _MOVES, entry.happened_at_us, number, entry.seq)
                        self._use(day, lines)
                        yield place, _transaction(item, day, postings, job, lines)
                postings.forget(item)
        if lines := self._opened(postings, opening, sums):
            day = self.first_day or date.min
            self._use(day, lines)
            place = (day.toordinal(), _OPENING, 0, number, 0)
            yield (
                place,
                Transaction(
                    day, f"{postings.accounts.component}/0", "opening", None, None, {}, lines
                ),
            )

    def _pages(self, session: Session, record: WalletRecord) -> Iterator[list[Entry]]:
        last = record.seq
        if record.recorded_at_us >= self._before_us:
            last, _, _ = session.recorded_before(record, self._before_us)
        for after in range(0, last, _ROWS):
            page = session.entries_between(
                record.book, record.id, after_seq=after, last_seq=min(last, after + _ROWS)
            )
            self.known_us = max(self.known_us or 0, page[-1].recorded_at_us)
            yield page
            self._read += len(page)
            self._progress(self._read)

    def _jobs(self, session: Session, items: Iterable[Costed]) -> dict[str, _Job]:
        """What is to be known of the jobs of entries that are posted, or run into debt."""
        wanted = {
            entry.job: None
            for entry, parts, _ in items
            if entry.job is not None and (self._posts(entry) or (parts and parts[-1].lot is None))
        }
        book = self._question.book.book
        tasks = tasks_of(session, book, list(wanted), before_us=self._before_us)
        found = {}
        for job, labels, terms in holds_of(session, book, wanted, fields=("labels", "terms")):
            found[job] = self._job(job, labels, terms, tasks.get(job))
        return found

    def _posts(self, entry: Entry) -> bool:
        moves = entry.posted_e8 or (entry.held_e8 and self._options.holds)
        return bool(moves) and self._since_us <= entry.happened_at_us < self._until_us

    def _job(self, job: str, labels: str, terms: str | None, task: str | None) -> _Job:
        account, value, facts = _told(labels, terms, self._options.label)
        if value is not None:
            self._names[account] = value
        mine = {"job": job} if task is None else {"job": job, "task": task}
        return _Job(account, task, mine | facts)

    def _opened(
        self, postings: WalletPostings, opening: _Opening, sums: _Sums
    ) -> tuple[Posting, ...]:
        """What a wallet held when the span began, lot by lot."""
        credit, accounts = self._options.commodity, postings.accounts
        lines: list[Posting] = []
        worth: dict[str, int] = defaultdict(int)
        rounding: dict[str, int] = defaultdict(int)
        for seq, (credits_e8, cost_e8) in opening.lots.items():
            line = postings.in_lot(seq, credits_e8, cost_e8)
            currency = None if line.lot is None else line.lot.currency
            worth[currency or credit] -= credits_e8 if currency is None else cost_e8
            if cost_e8 and credits_e8 * cost_e8 <= 0:
                # Facts that were told late leave a last digit of cost where no credits are.
                rounding[currency or credit] += cost_e8
                line = line._replace(cost_e8=0)
            if credits_e8:
                lines.append(line)
        if opening.owed_e8:
            lines.append(Posting(accounts.owed, opening.owed_e8, credit))
            worth[credit] -= opening.owed_e8
        lines += [
            Posting(OPENING, each, key) for key, each in worth.items() if each or key != credit
        ]
        lines += [Posting(ROUNDING, each, key) for key, each in rounding.items() if each]
        if opening.held_e8 and self._options.holds:
            lines.append(Posting(accounts.reserved, opening.held_e8, credit))
            lines.append(Posting(accounts.credits, -opening.held_e8, credit))
        posted_e8 = sum(lot[0] for lot in opening.lots.values()) + opening.owed_e8
        sums.add(_BEFORE, posted_e8, opening.held_e8, opening.owed_e8)
        return tuple(lines)

    def _use(self, day: date, lines: Iterable[Posting]) -> None:
        """Count accounts, commodities and days that have been used."""
        for line in lines:
            self.accounts[line.account] = self._names.get(line.account)
            self.commodities.add(line.commodity)
            if line.lot is not None and line.lot.currency is not None:
                self.commodities.add(line.lot.currency)
        if self._question.span is None:
            self.first_day = min(self.first_day or day, day)
            self.last_day = max(self.last_day or day, day)

    # What a wallet holds

    def _checks(self, number: int, wallet: str, sums: _Sums) -> Iterator[tuple[_Place, Check]]:
        """What a wallet's accounts hold at the end of every month, and of the span."""
        accounts = WalletPostings(wallet, self._options).accounts
        if self.first_day is None or self.last_day is None:
            return
        for month_end in (*_month_ends(self.first_day, self.last_day), None):
            month = None if month_end is None else (month_end.year, month_end.month)
            posted_e8, held_e8, owed_e8 = sums.until(month)
            reserved_e8 = held_e8 if self._options.holds else 0
            balances = {
                accounts.credits: posted_e8 - owed_e8 - reserved_e8,
                accounts.reserved: reserved_e8,
                accounts.owed: owed_e8,
            }
            used = tuple((name, each) for name, each in balances.items() if name in self.accounts)
            if not used:
                return
            day = month_end or self.last_day
            place = (day.toordinal(), _CHECKS, 0, number, 0)
            yield place, Check(day, wallet, posted_e8, held_e8, used)


@lru_cache(maxsize=4096)
def _told(
    labels: str, terms: str | None, label: str | None
) -> tuple[str, str | None, dict[str, str]]:
    """What many jobs have in common: the account, the value of a label, what is noted of them."""
    price = json.loads(terms or "{}").get("price") or {}
    named: dict[str, str] = json.loads(labels)
    account = expense_account(price.get("model"))
    value = None if label is None else named.get(label)
    if value is not None:
        account += f":{component(value)}"
    facts = {}
    for field in ("model", "version", "channel"):
        if price.get(field):
            facts["price" if field == "version" else field] = str(price[field])
    if named:
        facts["labels"] = " ".join(f"{word(key)}={word(each)}" for key, each in named.items())
    return account, value, facts


_NO_JOB = _Job(expense_account(None), None, {})


def _month_ends(first: date, last: date) -> Iterator[date]:
    """The last days of the months that end before a day."""
    day = first
    while True:
        after = (day.replace(day=1) + timedelta(days=31)).replace(day=1)
        if after > last:
            return
        yield after - timedelta(days=1)
        day = after


def _transaction(
    item: Costed, day: date, postings: WalletPostings, job: _Job, lines: tuple[Posting, ...]
) -> Transaction:
    entry = item.entry
    facts = entry.details
    metadata = {"entry": str(entry.seq), "kind": entry.kind, "key": entry.key, **job.metadata}
    if entry.job is not None:
        metadata["job"] = entry.job
    for field in ("seconds", "reason", "corrects"):
        if facts.get(field) is not None:
            metadata[field] = str(facts[field])
    if entry.uncollected_e8:
        metadata["uncollected"] = show_credits(entry.uncollected_e8)
    narration = entry.kind.replace("_", " ")
    place = f"{postings.accounts.component}/{entry.seq}"
    return Transaction(day, place, narration, entry.job, job.task, metadata, lines)

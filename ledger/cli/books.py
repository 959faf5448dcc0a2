"""Opening a book, reading what was typed, and printing entries: shared by the commands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ledger.cli.options import Format, open_book

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import URL, Engine

    from ledger import Ledger
    from ledger.pricebook import PriceBook
    from ledger.records import Entry

_CLOCK: ContextVar[Callable[[], datetime] | None] = ContextVar("clock", default=None)


@contextmanager
def clock(given: Callable[[], datetime]) -> Iterator[None]:
    """Let the commands of this process go by another clock, as the demo does."""
    token = _CLOCK.set(given)
    try:
        yield
    finally:
        _CLOCK.reset(token)


def now() -> datetime:
    """What time it is for the commands."""
    given = _CLOCK.get()
    return datetime.now(UTC) if given is None else given()


# Opening


_IN_MEMORY = "a book in memory ends with the command; name a file, such as credits.db"


def database_url(db: str) -> URL:
    """The URL of a database; what has no scheme is the path of an SQLite file.

    Raises:
        InvalidEntry: not a URL; a book in memory, which would end with the command.
        StoreUnavailable: the file is a folder, or its folder does not exist.
    """
    from sqlalchemy import URL, make_url
    from sqlalchemy.exc import ArgumentError

    from ledger.errors import Fault, InvalidEntry

    problem = None
    url = URL.create("sqlite", database=db)
    if not db.strip():
        problem = "has no name"
    elif db == ":memory:" or (db.startswith("file:") and "memory" in db):
        problem = _IN_MEMORY
    elif re.match(r"[A-Za-z][A-Za-z0-9+]+:", db):
        try:
            url = make_url(db)
        except ArgumentError:
            problem = f"{db!r} is neither a file nor a URL such as sqlite:///credits.db"
        else:
            problem = _unfit(url)
    if problem is not None:
        raise InvalidEntry("the database", [Fault("", problem)])
    _require_folder(url)
    return url


def _unfit(url: URL) -> str | None:
    """What is wrong with the URL of an SQLite file, in the words of the command line."""
    if url.get_backend_name() != "sqlite":
        return None
    if url.host:
        path = "/".join(part for part in (url.host, url.database) if part)
        return f"a file has three slashes; did you mean sqlite:///{path}?"
    path = url.database or ""
    in_memory = path in {"", ":memory:"} or path.startswith("file::memory:")
    return _IN_MEMORY if in_memory or url.query.get("mode") == "memory" else None


def _require_folder(url: URL) -> None:
    """Pass only a file that is in a folder, and is none.

    Raises:
        StoreUnavailable: it is a folder, or its folder does not exist.
    """
    from ledger.errors import StoreUnavailable

    if url.get_backend_name() != "sqlite" or url.database is None or url.query:
        return
    path = Path(url.database)
    if path.is_dir():
        raise StoreUnavailable(f"{url.database}: is a folder, not a database")
    if not path.parent.is_dir():
        raise StoreUnavailable(f"{url.database}: the folder {path.parent} does not exist")


def open_ledger(
    db: str, book: str, *, creates: bool = False, prices: PriceBook | None = None
) -> Ledger:
    """The book that the options name; only what brings credits in makes a new file or book.

    Raises:
        InvalidEntry: the database or the name of the book.
        StoreError: there is no ledger, or it cannot be used.
        UnknownBook: the database has books, but not this one.
    """
    from ledger import Ledger
    from ledger.records import name

    url = database_url(db)
    name(book, "the book")
    if not creates:
        require_file(url)
    text = url.render_as_string(hide_password=False)
    ledger = Ledger(text, book=book, clock=_CLOCK.get(), prices=prices)
    if not creates:
        try:
            _require_book(ledger)
        except BaseException:
            ledger.close()
            raise
    return ledger


def _require_book(ledger: Ledger) -> None:
    """Pass a book that is there; a typing error must not look like an empty book.

    Raises:
        UnknownBook: the database has books, but not this one.
    """
    from ledger.errors import UnknownBook

    known = ledger.books()
    if known and ledger.book not in known:
        raise UnknownBook(ledger.book, known=known)


def require_file(url: URL) -> None:
    """Pass only an SQLite file that has a ledger; a typing error must not make a new one.

    Raises:
        StoreUnavailable: there is no such file.
        NeedsMigration: it has no tables yet.
    """
    import shlex
    import sqlite3
    from urllib.parse import quote

    from sqlalchemy import NullPool, create_engine
    from sqlalchemy.exc import DBAPIError

    from ledger.errors import NeedsMigration, StoreUnavailable
    from ledger.store import schema

    path = url.database
    if url.get_backend_name() != "sqlite" or path is None or url.query:
        return
    hint = f"make a ledger with: kling-ledger db upgrade --db {shlex.quote(path)}"
    if not Path(path).exists():
        raise StoreUnavailable(f"{path}: there is no such file; {hint}, or by topping a wallet up")
    # Read-only, so that looking changes nothing; whatever else is wrong, opening it will tell.
    engine = create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True),
        poolclass=NullPool,
    )
    try:
        with engine.connect() as connection:
            found = schema.check(connection)
    except DBAPIError:
        return
    if found.state == "empty":
        raise NeedsMigration(f"{path} has no ledger yet; {hint}")


@contextmanager
def engine_of(db: str) -> Iterator[tuple[URL, Engine]]:
    """An engine for the commands that look after the database itself."""
    from ledger.store import driver_errors, make_engine

    url = database_url(db)
    engine = make_engine(url.render_as_string(hide_password=False))
    try:
        with driver_errors(engine):
            yield url, engine
    finally:
        engine.dispose()


def prices_asked_for(
    price_book: str, prices: list[Path] | None, group: str | None
) -> PriceBook | None:
    """The price book of the options; None for the bundled one, which loads when it is needed."""
    if price_book == "evolink" and not prices and group is None:
        return None
    return open_book(price_book, prices, group)


# What was typed


def labels_of(given: Sequence[str] | None, option: str = "--label") -> dict[str, str]:
    """Labels from `name=value`.

    >>> labels_of(["team=ads", "note=a=b"])
    {'team': 'ads', 'note': 'a=b'}
    """
    labels: dict[str, str] = {}
    for item in given or ():
        label, equals, value = item.partition("=")
        if not equals or not label or not value:
            raise typer.BadParameter(f"{option} takes NAME=VALUE, such as team=ads, not {item!r}")
        if labels.setdefault(label, value) != value:
            raise typer.BadParameter(f"{option} {label} stands twice")
    return labels


def pairs(labels: Mapping[str, str], between: str = ";") -> str:
    """Labels in one cell.

    >>> pairs({"team": "ads", "user": "li"})
    'team=ads;user=li'
    """
    return between.join(f"{label}={value}" for label, value in labels.items())


_LENGTH = re.compile(r"(?:(\d{1,5})d)?(?:(\d{1,5})h)?(?:(\d{1,6})m)?(?:(\d{1,7})s)?", re.ASCII)


def deadline_of(given: str | None) -> timedelta | datetime | None:
    """A deadline from a length such as 30s, 90m, 6h, 2d or 1d12h, or from a moment.

    Raises:
        InvalidMoment: neither; a time without a time zone.

    >>> deadline_of("1d12h"), deadline_of("2026-12-01T08:00Z").isoformat()
    (datetime.timedelta(days=1, seconds=43200), '2026-12-01T08:00:00+00:00')
    """
    from ledger.errors import InvalidMoment
    from ledger.units import parse_moment

    if given is None:
        return None
    if given and (found := _LENGTH.fullmatch(given)):
        return _length(found)
    try:
        return parse_moment(given)
    except InvalidMoment as error:
        if re.match(r"\d{4}-\d\d-\d\dT", given, re.ASCII) and "time zone" in str(error):
            raise
        raise InvalidMoment(
            f"{given[:40]!r} is neither a length such as 30s, 90m, 6h, 2d or 1d12h,"
            " nor a moment such as 2026-10-10T08:00Z"
        ) from None


def length_of(given: str | None) -> timedelta | None:
    """A length of time such as 30s, 90m, 6h, 2d or 1d12h.

    >>> length_of("90m")
    datetime.timedelta(seconds=5400)
    """
    if given is None:
        return None
    if not given or (found := _LENGTH.fullmatch(given)) is None:
        raise typer.BadParameter(f"{given[:40]!r} is not a length such as 30s, 90m, 6h or 1d12h")
    return _length(found)


def _length(found: re.Match[str]) -> timedelta:
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


# Entries

ENTRIES_CSV = (
    *("wallet", "seq", "kind", "key", "job", "contra", "posted", "held", "posted_after"),
    *("held_after", "over", "uncollected", "late", "cash", "currency", "expires", "reason"),
    *("corrects", "seconds", "happened_at", "recorded_at"),
)
"""Columns of entries as CSV."""


def print_entries(book: str, entries: Sequence[Entry], format_: Format, *, title: str) -> None:
    """What a command that writes several entries has written."""
    from ledger.cli.output import emit_json, print_csv, say
    from ledger.documents import entry_document

    if format_ is Format.JSON:
        emit_json("entries", {"book": book, "entries": [entry_document(item) for item in entries]})
    elif format_ is Format.CSV:
        print_csv(ENTRIES_CSV, entry_rows(entries))
    elif entries:
        print_entry_table(entries, title=title)
    else:
        say("nothing to do")


def entry_rows(entries: Sequence[Entry]) -> Iterator[list[object]]:
    """Entries as rows of CSV."""
    from ledger.documents import entry_document

    for entry in entries:
        known: dict[str, object] = {**entry_document(entry)}
        yield [known[name] for name in ENTRIES_CSV]


def print_entry_table(entries: Sequence[Entry], *, title: str) -> None:
    """Entries, one a line: what each moved, and why."""
    from ledger.cli.output import print_table
    from ledger.units import show_credits

    reasons = any(entry.details.get("reason") for entry in entries)
    numbers = ["seq", "happened (UTC)", "posted", "held"]
    print_table(
        [
            *("wallet", "seq", "happened (UTC)", "what", "job or key", "posted", "held"),
            *(["reason"] if reasons else []),
        ],
        [
            [
                entry.wallet,
                entry.seq,
                minute(entry.happened_at),
                what(entry),
                entry.job or entry.key,
                show_credits(entry.posted_e8) if entry.posted_e8 else "",
                show_credits(entry.held_e8) if entry.held_e8 else "",
                *([entry.details.get("reason", "")] if reasons else []),
            ]
            for entry in entries
        ],
        title=title,
        numbers=numbers,
        drops=["reason", "wallet", "seq", "job or key"],
    )


def counted(amount_e8: int) -> str:
    """An amount without its sign, and what it counts.

    >>> counted(100_000_000), counted(-250_000_000)
    ('1 credit', '2.5 credits')
    """
    from ledger.figures import in_credits

    return in_credits(abs(amount_e8))


def many(number: int, one: str, several: str | None = None) -> str:
    """A number of things.

    >>> many(1, "wallet"), many(1200, "entry", "entries")
    ('1 wallet', '1,200 entries')
    """
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def minute(when: datetime) -> str:
    """A moment for people, in UTC.

    >>> minute(datetime(2026, 10, 10, 8, 5, 59, tzinfo=UTC))
    '2026-10-10 08:05'
    """
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M}"


def minute_of(text: str | None) -> str:
    """A moment of a document for people; nothing for none.

    >>> minute_of("2026-10-10T08:05:59Z"), minute_of(None)
    ('2026-10-10 08:05', '')
    """
    return "" if text is None else text[:16].replace("T", " ")


def word(kind: str) -> str:
    """A kind of entry as people say it.

    >>> word("top_up")
    'top up'
    """
    return kind.replace("_", " ")


def what(entry: Entry) -> str:
    """A kind of entry in a table, and whether it came late."""
    return f"{word(entry.kind)}, late" if entry.late else word(entry.kind)


def age(seconds: int) -> str:
    """How long ago, in the two largest units.

    >>> age(59), age(3_720), age(200_000)
    ('59 s', '1 h 2 min', '2 d 7 h')
    """
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3600)
    minutes = rest // 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min" if minutes else f"{rest} s"

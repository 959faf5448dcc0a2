"""Opening a book, reading what was typed, and printing what was written: shared by the verbs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
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
    from ledger.records import Entry, Parked

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


def database_url(db: str) -> URL:
    """The URL of a database; what has no scheme is the path of an SQLite file.

    Raises:
        InvalidEntry: not a URL; a book in memory, which would end with the command.
    """
    from sqlalchemy import URL, make_url
    from sqlalchemy.exc import ArgumentError

    from ledger.errors import Fault, InvalidEntry

    if not re.match(r"[A-Za-z][A-Za-z0-9+]*:", db):
        if not db.strip() or Path(db).is_dir():
            problem = f"{db!r} is a folder, not a file" if db.strip() else "has no name"
            raise InvalidEntry("the database", [Fault("", problem)])
        return URL.create("sqlite", database=db)
    try:
        url = make_url(db)
    except ArgumentError:
        problem = f"{db!r} is neither a file nor a URL such as sqlite:///credits.db"
        raise InvalidEntry("the database", [Fault("", problem)]) from None
    if url.get_backend_name() == "sqlite" and url.database in {None, "", ":memory:"}:
        problem = "a book in memory ends with the command; name a file, such as credits.db"
        raise InvalidEntry("the database", [Fault("", problem)])
    return url


def open_ledger(
    db: str, book: str, *, creates: bool = False, prices: PriceBook | None = None
) -> Ledger:
    """The book that the options name; only what brings credits in makes a new file.

    Raises:
        InvalidEntry: the database or the name of the book.
        StoreError: there is no ledger, or it cannot be used.
    """
    from ledger import Ledger
    from ledger.records import name

    url = database_url(db)
    name(book, "the book")
    if not creates:
        require_file(url)
    text = url.render_as_string(hide_password=False)
    return Ledger(text, book=book, clock=_CLOCK.get(), prices=prices)


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
    if url.get_backend_name() != "sqlite" or path is None or path.startswith("file:"):
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


_LENGTH = re.compile(r"(?:(\d{1,5})d)?(?:(\d{1,5})h)?(?:(\d{1,6})m)?(?:(\d{1,7})s)?", re.ASCII)


def deadline_of(given: str | None) -> timedelta | datetime | None:
    """A deadline from a length such as 6h, 90m, 2d or 1d12h, or from a moment.

    Raises:
        InvalidMoment: neither.

    >>> deadline_of("1d12h"), deadline_of("2026-12-01T08:00Z").isoformat()
    (datetime.timedelta(days=1, seconds=43200), '2026-12-01T08:00:00+00:00')
    """
    from ledger.errors import InvalidMoment
    from ledger.units import parse_moment

    if given is None:
        return None
    if given and (found := _LENGTH.fullmatch(given)):
        days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    try:
        return parse_moment(given)
    except InvalidMoment:
        raise InvalidMoment(
            f"{given[:40]!r} is neither a length such as 6h, 90m or 2d,"
            " nor a moment such as 2026-10-10T08:00Z"
        ) from None


# What was written

WRITTEN_CSV = (
    *("outcome", "kind", "wallet", "seq", "key", "job", "posted", "held", "posted_after"),
    *("held_after", "available_after", "over", "uncollected", "late", "happened_at"),
    "recorded_at",
)


def print_written(
    ledger: Ledger,
    outcome: Entry | Parked,
    format_: Format,
    *,
    dry_run: bool = False,
    notes: Sequence[str] = (),
) -> None:
    """One entry, or a message that waits, with the balances after it and what is special."""
    from ledger.cli.output import emit_json, print_csv, print_figures, say
    from ledger.documents import entry_document, parked_document
    from ledger.records import Entry

    told = [*notes, *_notes(outcome)]
    if dry_run:
        told.append("dry run: there is room, and nothing was written")
    entry = outcome if isinstance(outcome, Entry) else None
    available = None if entry is None else _available_after(ledger, entry)
    if format_ is Format.JSON:
        data = {
            "entry": None if entry is None else entry_document(entry),
            "parked": None if isinstance(outcome, Entry) else parked_document(outcome),
            "available_after": available,
            "replayed": outcome.replayed,
            "dry_run": dry_run,
        }
        emit_json("entry", data, told)
        return
    if format_ is Format.CSV:
        print_csv(WRITTEN_CSV, [_csv_row(outcome, available, dry_run=dry_run)])
    elif entry is None:
        print_figures(f"parked the {outcome.kind} of {outcome.job}", [])
    else:
        print_figures(_sentence(entry, dry_run=dry_run), _figures(entry, str(available)))
    for note in told:
        say(note)


def _available_after(ledger: Ledger, entry: Entry) -> str:
    """What a new job could reserve right after an entry."""
    from ledger.units import show_credits

    balance = ledger.balance(entry.wallet)
    lapsing_e8 = balance.lapsing_e8 if balance.seq == entry.seq else 0
    own_e8 = entry.posted_after_e8 - entry.held_after_e8
    return show_credits(own_e8 + balance.credit_limit_e8 - lapsing_e8)


def _csv_row(outcome: Entry | Parked, available: str | None, *, dry_run: bool) -> list[object]:
    from ledger.documents import entry_document
    from ledger.records import Entry

    state = "replayed" if outcome.replayed else "dry_run" if dry_run else "written"
    if not isinstance(outcome, Entry):
        state = "replayed" if outcome.replayed else "parked"
        known: dict[str, object] = {"kind": outcome.kind, "key": outcome.key, "job": outcome.job}
    else:
        known = {**entry_document(outcome)}
    known |= {"outcome": state, "available_after": available}
    return [known.get(name) for name in WRITTEN_CSV]


def _sentence(entry: Entry, *, dry_run: bool) -> str:
    from ledger.units import show_credits

    credits = f"{show_credits(abs(entry.posted_e8 or entry.held_e8))} credits"
    wallet, job = f"wallet {entry.wallet}", entry.job
    if entry.kind == "reserve":
        verb = "would reserve" if dry_run else "reserved"
        return f"{verb} {credits} in {wallet} for {job}"
    if entry.kind == "budget":
        return _budget_sentence(entry)
    return {
        "open": f"opened {wallet}",
        "top_up": f"topped up {wallet} by {credits}",
        "extend": f"extended {job} in {wallet}" + (f" by {credits}" if entry.held_e8 else ""),
        "charge": f"charged {credits} to {wallet} for {job}",
        "release": f"released {credits} of {job} to {wallet}",
        "refund": f"refunded {credits} of {job} to {wallet}",
        "adjust": f"adjusted {wallet} by {show_credits(entry.posted_e8)} credits",
        "lapse": f"{credits} of {wallet} lapsed",
    }.get(entry.kind, f"{entry.kind} of {credits} in {wallet}")


def _budget_sentence(entry: Entry) -> str:
    from ledger.documents import entry_document

    facts = entry_document(entry)["facts"]
    title = f"budget {facts['name']} of wallet {entry.wallet}"
    if facts["removed"]:
        return f"removed {title}"
    matched = ", ".join(f"{name}={value}" for name, value in json.loads(facts["selector"]).items())
    length = f" of {facts['rolling_seconds']:,} s" if facts.get("rolling_seconds") else ""
    period = {"in_flight": "in flight at any time", "lifetime": "in all"}.get(
        facts["period"], f"per {facts['period']}{' window' if length else ''}{length}"
    )
    return f"set {title}: {facts['limit']} credits {period} for {matched or 'all jobs'}"


def _figures(entry: Entry, available: str) -> list[tuple[str, str]]:
    from ledger.units import show_credits

    if entry.kind == "budget":
        return []
    return [
        ("posted", show_credits(entry.posted_after_e8)),
        ("held", show_credits(entry.held_after_e8)),
        ("available", available),
    ]


def _notes(outcome: Entry | Parked) -> list[str]:
    """What a person should know about an outcome besides its figures."""
    from ledger.records import Entry
    from ledger.units import show_credits

    replayed = (
        f"{outcome.kind} key {outcome.key!r} was used before for the same:"
        " this is the first result, and nothing more was written"
    )
    if not isinstance(outcome, Entry):
        waits = (
            f"nobody has reserved job {outcome.job!r} yet: the {outcome.kind} waits in the inbox"
        )
        return [replayed, waits] if outcome.replayed else [waits]
    notes = [replayed] if outcome.replayed and outcome.kind != "open" else []
    if outcome.replayed and outcome.kind == "open":
        notes.append(f"wallet {outcome.wallet!r} is open already, and nothing more was written")
    if outcome.late:
        notes.append("late: after the release or the deadline of its hold")
    if outcome.over_e8:
        notes.append(f"{show_credits(outcome.over_e8)} credits more than its hold was made for")
    if outcome.uncollected_e8:
        left = show_credits(outcome.uncollected_e8)
        notes.append(f"{left} credits of it were not taken, by the policy of its hold")
    for item in outcome.crossed:
        whose = f" for {item.group}" if item.group else ""
        notes.append(f"budget {item.budget!r}{whose} reached {item.percent} %")
    if outcome.posted_after_e8 < 0 and outcome.posted_e8 < 0:
        notes.append(f"wallet {outcome.wallet!r} is below zero")
    return notes


ENTRIES_CSV = (
    *("wallet", "seq", "kind", "key", "job", "contra", "posted", "held", "posted_after"),
    *("held_after", "over", "uncollected", "late", "happened_at", "recorded_at"),
)


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
    """Entries, one a line: what each moved."""
    from ledger.cli.output import print_table
    from ledger.units import show_credits

    numbers = ["seq", "happened", "posted", "held"]
    print_table(
        ["wallet", "seq", "happened", "what", "job or key", "posted", "held"],
        [
            [
                entry.wallet,
                entry.seq,
                minute(entry.happened_at),
                what(entry),
                entry.job or entry.key,
                show_credits(entry.posted_e8) if entry.posted_e8 else "",
                show_credits(entry.held_e8) if entry.held_e8 else "",
            ]
            for entry in entries
        ],
        title=title,
        numbers=numbers,
        narrow=["seq", "what", "job or key", "posted", "held"],
    )


def minute(when: datetime) -> str:
    """A moment for people, in UTC.

    >>> minute(datetime(2026, 10, 10, 8, 5, 59, tzinfo=UTC))
    '2026-10-10 08:05'
    """
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M}"


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

"""`kling-ledger db …`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ledger.cli.books import engine_of, many, require_file
from ledger.cli.options import (
    DEFAULT_DB,
    BookOption,
    DbOption,
    Format,
    FormatOption,
)
from ledger.cli.parsing import Group

if TYPE_CHECKING:
    from sqlalchemy import URL, Engine

app = typer.Typer(
    cls=Group,
    help="Make the tables of a database, or bring them up to date.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command()
def upgrade(db: DbOption = DEFAULT_DB, format_: FormatOption = Format.TABLE) -> None:
    """Make the tables of a ledger, or bring them up to date; safe to repeat.

    A new SQLite file is made by the first top-up, too; on PostgreSQL this command is needed once.
    """
    from ledger.store import schema

    with engine_of(db) as (url, engine):
        found = schema.upgrade(engine)
        done = {"empty": "the tables were made", "older": f"brought up from {found.revision}"}
        said = done.get(found.state, "up to date already")
        _print(url, engine, format_, said, found=found.state)


@app.command()
def status(db: DbOption = DEFAULT_DB, format_: FormatOption = Format.TABLE) -> None:
    """Show which version the tables have, which this program needs, and which books there are.

    Exits with 8 if they must be upgraded first, or the database is no ledger.
    """
    from ledger.cli.books import database_url
    from ledger.store import schema

    require_file(database_url(db))
    with engine_of(db) as (url, engine):
        _print(url, engine, format_, "")
        with engine.connect() as connection:
            schema.require(connection)


@app.command()
def distribute(db: DbOption = DEFAULT_DB, format_: FormatOption = Format.TABLE) -> None:
    """Shard the tables by book on PostgreSQL with Citus; safe to repeat."""
    from ledger.store import schema

    with engine_of(db) as (url, engine):
        tables = schema.distribute(engine)
        said = f"distributed {', '.join(tables)}" if tables else "all tables are distributed"
        _print(url, engine, format_, said, distributed=tables)


@app.command()
def copy(
    to: Annotated[str, typer.Option("--to", metavar="URL", help="Where the copy goes.")],
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Copy a book to another database as it is, such as from SQLite to PostgreSQL.

    It is one snapshot, written in one transaction and verified before it is committed. Whoever
    writes meanwhile writes to the old database only, so let them stop first.
    """
    from ledger.cli.books import database_url, open_ledger
    from ledger.cli.output import emit_json, print_csv, print_text
    from ledger.store.schema import shown_url

    source, target = database_url(db), database_url(to)
    with open_ledger(db, book) as ledger:
        copied = ledger.copy_to(target.render_as_string(hide_password=False))
    if format_ is Format.JSON:
        document = {
            "source": shown_url(source),
            "target": shown_url(target),
            "book": book,
            "wallets": copied.wallets,
            "entries": copied.entries,
            "rows": copied.rows,
        }
        emit_json("copy", document)
    elif format_ is Format.CSV:
        print_csv(("table", "rows"), copied.rows.items())
    else:
        print_text(
            f"copied and verified: book {book} with {many(copied.wallets, 'wallet')} and"
            f" {many(copied.entries, 'entry', 'entries')},"
            f" from {shown_url(source)} to {shown_url(target)}"
        )


def _print(
    url: URL,
    engine: Engine,
    format_: Format,
    said: str,
    *,
    found: str | None = None,
    distributed: tuple[str, ...] = (),
) -> None:
    from ledger.cli.output import emit_json, print_csv, print_text
    from ledger.store import schema

    status = schema.status(engine)
    books = _books(url) if status.state == "current" else []
    document = {
        "url": schema.shown_url(url),
        "state": status.state,
        "revision": status.revision,
        "needed": status.head,
        "dialect": status.dialect,
        "server_version": status.server_version,
        "found": found,
        "distributed": list(distributed),
        "books": books,
    }
    if format_ is Format.JSON:
        emit_json("store", document)
    elif format_ is Format.CSV:
        row = {name: value for name, value in document.items() if name != "distributed"}
        print_csv(list(row), [list((row | {"books": ";".join(books)}).values())])
    else:
        rows = [
            ("database", document["url"]),
            ("server", f"{status.dialect} {status.server_version}"),
            ("tables", f"{status.state}, revision {status.revision or 'none'}"),
            ("needed", f"revision {status.head}"),
            ("books", ", ".join(books) or "none yet"),
        ]
        lines = [f"{name:<9} {value}" for name, value in rows]
        print_text("\n".join([*lines, *([said] if said else [])]))


def _books(url: URL) -> list[str]:
    from ledger import Ledger

    with Ledger(url.render_as_string(hide_password=False)) as ledger:
        return ledger.books()

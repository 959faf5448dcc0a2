"""Which tables a database has, and making them: check on every open, upgrade on demand.

Checking costs two short reads and does not import Alembic, which takes 150 ms; only `upgrade`
does.
"""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Final, Literal, NamedTuple

from sqlalchemy import URL, Connection, Engine, bindparam, column, func, select, table, text
from sqlalchemy.exc import DBAPIError

from ledger.errors import NeedsMigration, NewerStore, NotALedger, StoreError
from ledger.tables import METADATA

__all__ = [
    "HEAD",
    "VERSION_TABLE",
    "Found",
    "State",
    "Status",
    "check",
    "distribute",
    "require",
    "shown_url",
    "status",
    "upgrade",
]

HEAD: Final = "0002"
"""The revision this version of the library reads and writes."""

VERSION_TABLE: Final = "kling_ledger_version"
"""Where the revision stands; not Alembic's own name, so that a service may keep its own beside."""

State = Literal["empty", "older", "current", "newer", "foreign"]
"""What a database is to this version; `foreign` has other tables under the ledger's names."""

_MAKE_VERSION_TABLE: Final = (
    f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL,"
    f" CONSTRAINT {VERSION_TABLE}_pkc PRIMARY KEY (version_num))"
)
"""As Alembic makes it."""
_VERSION: Final = table(VERSION_TABLE, column("version_num"))
_TABLES: Final = tuple(sorted(METADATA.tables))
_OLDEST_SQLITE: Final = (3, 37)
_MOST_ATTEMPTS: Final = 10
# Serialization failure, deadlock, duplicate row, duplicate table, function or schema object:
# what PostgreSQL tells those that make the same tables at the same time, once one is done.
_RACED: Final = frozenset({"40001", "40P01", "23505", "42P07", "42723", "42710"})

_SEEN_BY_SQLITE: Final = text(
    "SELECT lower(name) FROM sqlite_master"
    " WHERE type IN ('table', 'view') AND lower(name) IN :names"
).bindparams(bindparam("names", expanding=True))
_SEEN_BY_POSTGRESQL: Final = text(
    "SELECT name FROM unnest(CAST(:names AS text[])) name WHERE to_regclass(name) IS NOT NULL"
)
_DISTRIBUTED: Final = text(
    "SELECT name FROM unnest(CAST(:names AS text[])) name WHERE to_regclass(name) IN"
    " (SELECT logicalrelid FROM pg_dist_partition WHERE partmethod = 'h')"
)
_DISTRIBUTE: Final = text(
    "SELECT create_distributed_table(CAST(:name AS regclass), 'book',"
    " colocate_with => CAST(:with_whom AS text))"
)


class Found(NamedTuple):
    """What a look into a database found."""

    state: State
    revision: str | None
    """What the version table says; None where there is none."""
    colliding: tuple[str, ...] = ()
    """Tables of somebody else under the ledger's names."""


class Status(NamedTuple):
    """A database as `kling-ledger db status` tells it."""

    state: State
    revision: str | None
    head: str
    dialect: str
    server_version: str


def check(connection: Connection) -> Found:
    """What the database is, in two reads; nothing is written or locked."""
    seen = _existing(connection, (VERSION_TABLE, *_TABLES))
    revision = _revision(connection) if VERSION_TABLE in seen else None
    if revision is not None:
        return Found(_age(revision), revision)
    colliding = tuple(sorted(seen - {VERSION_TABLE}))
    return Found("foreign" if colliding else "empty", None, colliding)


def require(connection: Connection) -> None:
    """Pass only a database whose tables are the ones this version knows.

    Raises:
        NotALedger: other tables stand under the ledger's names.
        NewerStore: a newer version of this library made the tables.
        NeedsMigration: the tables are older, or not there yet.
    """
    url = connection.engine.url
    found = check(connection)
    _refuse_strangers(found, url)
    if found.state == "current":
        return
    if found.state == "older":
        problem = f"is at revision {found.revision} and this kling-ledger needs {HEAD}; migrate it"
    else:
        problem = "has no ledger yet; make one"
    shown = shown_url(url)
    # A command that is to be copied must not have stars for a password.
    given = f" --db {shlex.quote(shown)}" if "***" not in shown else ", with the same database"
    raise NeedsMigration(f"{shown} {problem} with: kling-ledger db upgrade{given}")


def upgrade(engine: Engine) -> Found:
    """Bring the tables to this version's, in one transaction; what was found before.

    Safe to repeat, and safe from several processes at once: one of them does the work, the
    others wait for it.

    Raises:
        StoreError: this SQLite is too old.
        NotALedger: other tables stand under the ledger's names.
        NewerStore: a newer version of this library made the tables.
    """
    attempts = 0
    while True:
        attempts += 1
        try:
            with _writing(engine) as connection:
                return _upgraded(connection)
        except DBAPIError as error:
            # PostgreSQL lets the slower ones wait for the first transaction and then tells them
            # that its tables exist, so the second attempt finds the work done. No lock of
            # another kind is needed, and this one works wherever tables are unique.
            if attempts == _MOST_ATTEMPTS or getattr(error.orig, "sqlstate", None) not in _RACED:
                raise


def status(engine: Engine) -> Status:
    """What `kling-ledger db status` shows; any database is fine."""
    with engine.connect() as connection:
        found = check(connection)
        return Status(found.state, found.revision, HEAD, engine.dialect.name, _version(connection))


def distribute(engine: Engine) -> tuple[str, ...]:
    """Shard the tables by book with Citus, all co-located; the tables that were not yet.

    Safe to repeat. Citus sets triggers up on the shards only where it is told that it may; those
    of a book look at nothing but their own row.

    Raises:
        StoreError: the database has no Citus.
        NotALedger, NewerStore, NeedsMigration: as `require` says.
    """
    with _writing(engine) as connection:
        require(connection)
        _require_citus(connection)
        waiting = _undistributed(connection)
        if waiting:
            connection.execute(text("SET LOCAL citus.enable_unsafe_triggers TO on"))
            # Foreign keys join the tables, so their shards are not made in parallel.
            connection.execute(text("SET LOCAL citus.multi_shard_modify_mode TO 'sequential'"))
        for name in waiting:
            with_whom = "none" if name == "wallets" else "wallets"
            connection.execute(_DISTRIBUTE, {"name": name, "with_whom": with_whom})
        return waiting


def shown_url(url: URL) -> str:
    """A database's URL without its password.

    >>> from sqlalchemy import make_url
    >>> shown_url(make_url("postgresql+psycopg://li:secret@db/credits"))
    'postgresql://li:***@db/credits'
    """
    url = url.set(drivername=url.get_backend_name())
    secret = {key: "***" for key in url.query if "password" in key.lower()}
    # The stars are ours, not a password that needs escaping.
    return url.update_query_dict(secret).render_as_string(hide_password=True).replace("%2A", "*")


def _existing(connection: Connection, names: Collection[str]) -> set[str]:
    """Those of the names that a statement would reach."""
    statement = _SEEN_BY_SQLITE if connection.dialect.name == "sqlite" else _SEEN_BY_POSTGRESQL
    return set(connection.execute(statement, {"names": list(names)}).scalars())


def _revision(connection: Connection) -> str | None:
    found: str | None = connection.execute(select(func.max(_VERSION.c.version_num))).scalar()
    return found


def _age(revision: str) -> State:
    """Revisions count up in four digits; whatever else it says was written by a later version."""
    if revision == HEAD:
        return "current"
    known = revision.isascii() and revision.isdigit() and len(revision) == len(HEAD)
    return "older" if known and revision < HEAD else "newer"


def _refuse_strangers(found: Found, url: URL) -> None:
    if found.state == "newer":
        raise NewerStore(
            f"{shown_url(url)} is at revision {found.revision}, made by a newer kling-ledger; this"
            f" one knows revisions up to {HEAD}: update it"
        )
    if found.state == "foreign":
        raise NotALedger(
            f"{shown_url(url)} has tables named {', '.join(found.colliding)} that are not a"
            " ledger's; keep the ledger in a database or schema of its own"
        )


@contextmanager
def _writing(engine: Engine) -> Iterator[Connection]:
    """One transaction, whatever the engine's habit; on SQLite nobody else writes meanwhile."""
    with engine.connect() as connection:
        if engine.dialect.name != "sqlite":
            connection.execution_options(isolation_level="READ COMMITTED")
        with connection.begin():
            # The driver starts a transaction late, not before DDL; our own engines do not wait.
            if engine.dialect.name == "sqlite" and not _in_transaction(connection):
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection


def _in_transaction(connection: Connection) -> bool:
    return bool(getattr(connection.connection.dbapi_connection, "in_transaction", False))


def _upgraded(connection: Connection) -> Found:
    _require_strict_tables(connection)
    found = check(connection)
    if found.state == "older" and connection.dialect.name != "sqlite":
        # Whoever comes second waits here, and then sees what the first one left.
        connection.execute(select(_VERSION.c.version_num).with_for_update())
        found = check(connection)
    _refuse_strangers(found, connection.engine.url)
    if found.state == "empty" and connection.dialect.name != "sqlite":
        # Whoever makes this table makes the others; the slower ones are told that it exists.
        connection.execute(text(_MAKE_VERSION_TABLE))
    if found.state != "current":
        _migrate(connection)
        if check(connection).state != "current":
            raise StoreError(f"the migrations did not lead to revision {HEAD}")
    return found


def _migrate(connection: Connection) -> None:
    # Alembic is slow to import and needed once in the life of a book.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "ledger:migrations")
    config.attributes.update(connection=connection, version_table=VERSION_TABLE)
    command.upgrade(config, HEAD)


def _require_strict_tables(connection: Connection) -> None:
    found = connection.dialect.server_version_info or ()
    if connection.dialect.name == "sqlite" and found < _OLDEST_SQLITE:
        needed = ".".join(map(str, _OLDEST_SQLITE))
        raise StoreError(
            f"this Python comes with SQLite {_version(connection)}; a ledger needs {needed} or"
            " newer, which can keep an amount from turning into a float"
        )


def _version(connection: Connection) -> str:
    return ".".join(map(str, connection.dialect.server_version_info or ()))


def _require_citus(connection: Connection) -> None:
    if connection.dialect.name != "postgresql":
        raise StoreError("only PostgreSQL with the Citus extension can distribute a book's tables")
    found = connection.execute(text("SELECT 1 FROM pg_extension WHERE extname = 'citus'"))
    if found.first() is None:
        raise StoreError(
            f"{shown_url(connection.engine.url)} does not have the Citus extension; install Citus"
            " and run CREATE EXTENSION citus in this database, or leave the tables as they are:"
            " a book works on one server without it"
        )


def _undistributed(connection: Connection) -> tuple[str, ...]:
    """The tables that still are on one server, wallets first: the others refer to them."""
    order = ("wallets", *(name for name in _TABLES if name != "wallets"))
    done = set(connection.execute(_DISTRIBUTED, {"names": list(order)}).scalars())
    return tuple(name for name in order if name not in done)

"""Engines and transactions: the only place that opens, commits or rolls back.

SQLite runs in WAL mode with full synchronisation, every write begins IMMEDIATE. On PostgreSQL a
hopeful verb is one statement that commits by itself; the careful way locks the wallet first.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import timedelta
from functools import partial
from threading import Lock, RLock
from time import monotonic
from typing import Any, ClassVar, TypeVar
from weakref import WeakSet

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import StaticPool
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random

from ledger.errors import (
    Fault,
    InvalidEntry,
    MissingExtra,
    NotALedger,
    StoreError,
    StoreLocked,
    StoreUnavailable,
)
from ledger.store import schema
from ledger.store.session import Session, SqliteSession, Stale

__all__ = ["Joined", "KeyTaken", "Store", "Transient", "driver_errors", "make_engine"]

BUSY_SECONDS = 30
"""How long a write waits for another process to finish its own on SQLite."""

T = TypeVar("T")

_ATTEMPTS = 8
_LONGEST_PAUSE = timedelta(milliseconds=50)

_PATIENCE_MS = 1000
"""How long SQLite waits at a time: an interrupt is heard only in between."""


class KeyTaken(Exception):
    """A unique key of the database was taken already; nothing was written."""


class Transient(StoreUnavailable):
    """A serialization failure, a deadlock or a lost connection; the same key may be retried."""


def make_engine(url: str) -> Engine:
    """An engine whose connections keep the rules of the book, also for a service's own rows.

    Raises:
        InvalidEntry: not the URL of a database; another engine than SQLite and PostgreSQL.
        MissingExtra: PostgreSQL without psycopg.
    """
    try:
        parsed = make_url(url)
        problem = _unfit(parsed)
        if problem is None and parsed.get_backend_name() == "sqlite":
            return _sqlite_engine(parsed)
        if problem is None:
            parsed = parsed.set(drivername="postgresql+psycopg")
            return create_engine(parsed, pool_reset_on_return="rollback")
    except (ArgumentError, NoSuchModuleError, ValueError):
        problem = "is not the URL of a database, such as sqlite:///credits.db"
    except ModuleNotFoundError:
        raise MissingExtra("postgres", "keeping a book on PostgreSQL") from None
    raise InvalidEntry("the database", [Fault("", problem)])


_DRIVERS = {"sqlite", "sqlite+pysqlite", "postgresql", "postgresql+psycopg"}


def _unfit(url: URL) -> str | None:
    """What is wrong with a URL that reads well."""
    if url.drivername not in _DRIVERS:
        return f"{url.drivername} is not supported; use sqlite or postgresql"
    if url.get_backend_name() != "sqlite":
        return None
    if url.host:
        path = "/".join(part for part in (url.host, url.database) if part)
        return f"needs three slashes; did you mean sqlite:///{path}?"
    if url.query:
        return f"an SQLite file takes no options such as {next(iter(url.query))}"
    if "\0" in (url.database or ""):
        return "the name of a file has no NUL"
    return None


def _sqlite_engine(url: Any) -> Engine:
    memory = url.database in {None, "", ":memory:"}
    engine = create_engine(
        url,
        connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS},
        **({"poolclass": StaticPool} if memory else {}),
    )

    @event.listens_for(engine, "connect")
    def _configure(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "recursive_triggers = ON",
            "cache_size = -65536",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        # The write lock comes first: with SQLite's deferred BEGIN two reserves could both read
        # the old balance.
        if not connection.get_execution_options().get("ledger_only_reads"):
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


class Store:
    """The connections of one database; safe to share between threads, and across a fork."""

    retried: tuple[type[Exception], ...] = (KeyTaken, Stale, Transient)
    """After what a unit of work is done again."""

    def __init__(self, url: str) -> None:
        self._on(make_engine(url))
        self.may_hope = not self.is_sqlite
        self._is_memory = isinstance(self.engine.pool, StaticPool)
        self._kept: list[Any] = []
        self._writing: Any = RLock() if self.is_sqlite else None
        self._keeping, self._busy, self._torn = Lock(), 0, False
        self._check_whole()
        _STORES.add(self)
        try:
            with self.errors():
                self._open()
        except BaseException:
            self.engine.dispose()
            raise

    def _on(self, engine: Engine) -> None:
        self.engine = engine
        self.name = schema.shown_url(engine.url)
        self.is_sqlite = engine.dialect.name == "sqlite"

    def _open(self) -> None:
        """Make the tables of a new SQLite file; anything else must have them."""
        if self.is_sqlite:
            with self.engine.connect() as connection:
                found = schema.check(connection.execution_options(ledger_only_reads=True))
            if found.state == "empty":
                schema.upgrade(self.engine)
        with self.engine.connect() as connection:
            schema.require(connection.execution_options(ledger_only_reads=True))

    def close(self) -> None:
        """Close every connection."""
        with self._keeping:
            for connection in self._kept:
                connection.close()
            self._kept.clear()
        self.engine.dispose()

    def before_fork(self) -> None:
        """Close what is idle: no child of SQLite's may have a file open that its parent opened.

        SQLite keeps its locks by process. A child that inherits an open file believes that it
        holds the parent's locks, holds none, and writes where nobody will read it.
        """
        self._keeping.acquire()
        pool: Any = self.engine.pool
        taken = 0 if self._is_memory else pool.checkedout()
        self._torn = self.is_sqlite and bool(self._busy or taken)
        if self.is_sqlite and not self._is_memory:
            for connection in self._kept:
                with suppress(Exception):  # whatever is wrong with it, the fork goes on
                    connection.close()
            self._kept.clear()
            self.engine.dispose()

    def after_fork(self, *, in_child: bool) -> None:
        """Go on in the parent; in the child, have connections of one's own."""
        if not in_child:
            self._keeping.release()
            return
        # A lock that another thread of the parent held would never be free here.
        self._keeping, self._busy = Lock(), 0
        self._writing = RLock() if self.is_sqlite else None
        if self._torn:
            _TORN.add(self.name)
        if not self.is_sqlite:
            # Closing them, or letting them be collected, would end them for the parent as well.
            _INHERITED.extend(self._kept)
            self._kept = []
            self.engine.dispose(close=False)

    def _check_whole(self) -> None:
        if self.name in _TORN:
            raise StoreUnavailable(
                f"{self.name}: was in use while this process was forked, so it cannot be used here;"
                " fork before the book is opened, or while nothing uses it"
            )

    def errors(self) -> AbstractContextManager[None]:
        """Turn what the drivers raise into errors of the ledger."""
        return driver_errors(self.engine)

    @contextmanager
    def _connection(self, begin: str | None = None) -> Iterator[Any]:
        """A driver's connection, kept between verbs: a pool's checkout costs as much as a write."""
        with self._keeping:
            self._busy += 1
        try:
            connection = self._begun(begin)
            try:
                yield connection
            except BaseException:
                if self._rolled_back(connection):
                    self._keep(connection)
                else:
                    self._lose(connection)
                raise
            self._keep(connection)
        finally:
            with self._keeping:
                self._busy -= 1

    def _begun(self, begin: str | None) -> Any:
        """A kept connection or a new one, with its transaction begun."""
        if _TORN:
            self._check_whole()
        with self._keeping:
            kept = self._kept.pop() if self._kept else None
        connection = self._connect() if kept is None else kept
        if begin is None:
            return connection
        if self._is_memory and connection.in_transaction:
            self._keep(connection)
            raise StoreLocked(f"{self.name}: a transaction of yours is open in it; join it")
        try:
            self._begin(connection, begin)
        except BaseException:
            if self._rolled_back(connection):
                self._keep(connection)
                raise
            self._lose(connection)
            if kept is None:
                raise
            # It was lost while nobody used it; nothing has happened yet, so a new one will do.
            return self._begun(begin)
        return connection

    def _begin(self, connection: Any, begin: str) -> None:
        """Begin a transaction; on SQLite wait for whoever is writing."""
        until = monotonic() + BUSY_SECONDS
        while True:
            try:
                connection.execute(begin)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorname != "SQLITE_BUSY" or monotonic() > until:
                    raise
            else:
                return

    def _keep(self, connection: Any) -> None:
        with self._keeping:
            self._kept.append(connection)

    def _lose(self, connection: Any) -> None:
        """Close a connection that was lost; whatever cut it off has cut the kept ones off, too."""
        with self._keeping:
            lost, self._kept = [connection, *self._kept], []
        for each in lost:
            with suppress(Exception):
                each.close()

    def _connect(self) -> Any:
        fairy = self.engine.raw_connection()
        connection = fairy.driver_connection
        if not self._is_memory:
            fairy.detach()
        if self.is_sqlite:
            connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}")  # type: ignore[union-attr]
        if not self.is_sqlite:
            from psycopg.types.numeric import Int8Dumper  # noqa: PLC0415  only with PostgreSQL

            connection.autocommit = True  # type: ignore[union-attr]
            # One type for all whole numbers, so that a statement is prepared once.
            connection.adapters.register_dumper(int, Int8Dumper)  # type: ignore[union-attr]
        return connection

    def _rolled_back(self, connection: Any) -> bool:
        """Leave an unfinished transaction; whether the connection can be used again."""
        try:
            if not self.is_sqlite:
                if connection.closed or connection.broken:
                    return False
                connection.execute("ROLLBACK")
            elif connection.in_transaction:
                connection.execute("ROLLBACK")
        except Exception:  # noqa: BLE001  whatever is wrong with it, it is of no more use
            return False
        return True

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction that commits at the end, or leaves nothing behind."""
        lock = self._writing if self.is_sqlite else nullcontext()
        begin = "BEGIN IMMEDIATE" if self.is_sqlite else "BEGIN"
        with lock, self.errors(), self._connection(begin) as connection:
            yield self._session(connection)
            connection.execute("COMMIT")

    @contextmanager
    def single(self) -> Iterator[Session]:
        """No transaction around statements that stand alone: a look, or one guarded write."""
        lock = self._writing if self._is_memory else nullcontext()
        with lock, self.errors(), self._connection() as connection:
            yield self._session(connection)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A snapshot to read from, which blocks nobody."""
        begin = "BEGIN" if self.is_sqlite else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
        lock = self._writing if self._is_memory else nullcontext()
        with lock, self.errors(), self._connection(begin) as connection:
            yield self._session(connection)
            connection.execute("ROLLBACK")

    def persist(self, attempt: Callable[[], T]) -> T:
        """Do something, again where another transaction was in its way, a few times.

        Raises:
            KeyTaken, Stale, Transient: it was in the way every time.
        """
        waits = Retrying(
            retry=retry_if_exception_type(self.retried),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_random(0, _LONGEST_PAUSE),
            reraise=True,
        )
        return waits(attempt)

    def _session(self, connection: Any) -> Session:
        if self.is_sqlite:
            return SqliteSession(connection)
        from ledger.store.postgres import PostgresSession  # noqa: PLC0415  an optional extra

        return PostgresSession(connection)


_STORES: WeakSet[Store] = WeakSet()
_INHERITED: list[Any] = []
"""Connections of the parent, which only it may close."""
_TORN: set[str] = set()
"""Databases that the parent was using at the moment of the fork."""
_FORKING: list[Store] = []


def _before_fork() -> None:
    _FORKING.clear()
    for store in list(_STORES):
        store.before_fork()
        _FORKING.append(store)


def _after_fork(*, in_child: bool) -> None:
    for store in _FORKING:
        store.after_fork(in_child=in_child)
    _FORKING.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=partial(_after_fork, in_child=False),
        after_in_child=partial(_after_fork, in_child=True),
    )


class Joined(Store):
    """A transaction of the caller's own, in which every unit of work is a savepoint."""

    # After a deadlock or a lost connection the caller's rows are gone as well.
    retried = (KeyTaken, Stale)
    may_hope = False

    _checked: ClassVar[WeakSet[Engine]] = WeakSet()
    """Databases whose tables were found in order."""

    def __init__(self, connection: Any) -> None:
        problem = None
        if not isinstance(connection, Connection):
            problem = f"must be an SQLAlchemy Connection, not {type(connection).__name__}"
        elif connection.closed:
            problem = "is closed"
        elif connection.dialect.driver not in {"pysqlite", "psycopg"}:
            problem = f"works with pysqlite and psycopg, not {connection.dialect.driver}"
        if problem is not None:
            raise InvalidEntry("a joined connection", [Fault("", problem)])
        self._on(connection.engine)
        if not self.is_sqlite and _is_autocommit(connection):
            problem = "must not be in autocommit mode: it could not be rolled back"
            raise InvalidEntry("a joined connection", [Fault("", problem)])
        self._joined = connection
        with self.errors():
            if connection.engine not in self._checked:
                schema.require(connection)
                self._checked.add(connection.engine)

    def close(self) -> None:
        """Leave the connection to its owner."""

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what the drivers raise into errors of the ledger."""
        try:
            with driver_errors(self.engine):
                yield
        except Transient:
            # Without this, the caller's own rollback fails on it and hides what happened.
            if self._joined.connection.driver_connection.closed:
                self._joined.invalidate()
            raise

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A savepoint that is kept at the end, or leaves nothing behind."""
        with self.errors():
            connection = self._driver()
            connection.execute("SAVEPOINT kling_ledger")
            try:
                yield self._session(connection)
            except BaseException:
                with suppress(Exception):  # where it is lost, the first error says so
                    connection.execute("ROLLBACK TO SAVEPOINT kling_ledger")
                    connection.execute("RELEASE SAVEPOINT kling_ledger")
                raise
            connection.execute("RELEASE SAVEPOINT kling_ledger")

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """What the caller's transaction sees."""
        with self.errors():
            yield self._session(self._driver())

    single = reading

    def _driver(self) -> Any:
        """The driver's connection, in a transaction that the caller will end."""
        if not self._joined.in_transaction():
            self._joined.begin()
        connection: Any = self._joined.connection.driver_connection
        # Without one, releasing the savepoint would already commit.
        if self.is_sqlite and not connection.in_transaction:
            connection.execute("BEGIN IMMEDIATE")
        return connection


def _is_autocommit(connection: Connection) -> bool:
    driver: Any = connection.connection.driver_connection
    return bool(driver.autocommit)


@contextmanager
def driver_errors(engine: Engine) -> Iterator[None]:
    """Turn what the drivers raise about a database into errors of the ledger."""
    try:
        yield
    except DBAPIError as error:
        raise _typed(engine, error.orig or error) from error
    except sqlite3.Error as error:
        raise _typed(engine, error) from error
    except Exception as error:
        if type(error).__module__.startswith("psycopg"):
            raise _typed(engine, error) from error
        raise


_LOST = {"OperationalError", "InterfaceError", "AdminShutdown", "ConnectionTimeout"}


def _typed(engine: Engine, error: BaseException) -> Exception:
    store = schema.shown_url(engine.url)
    told = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if engine.dialect.name == "sqlite":
        return _sqlite_error(error, store, told)
    state = getattr(error, "sqlstate", None)
    if state == "23505":
        return KeyTaken(told)
    kind = type(error).__name__
    if state in {"40001", "40P01"} or (state or "")[:2] in {"08", "57"} or kind in _LOST:
        return Transient(f"{store}: {told}")
    return StoreUnavailable(f"{store}: {told}")


def _sqlite_error(error: BaseException, store: str, told: str) -> Exception:
    code = getattr(error, "sqlite_errorname", "") or ""
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreLocked(f"{store}: another process keeps it locked; try again")
    if code in {"SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_CONSTRAINT_UNIQUE"} or (
        code == "SQLITE_CONSTRAINT_TRIGGER"
    ):
        return KeyTaken(told)
    if code.startswith("SQLITE_READONLY") or code == "SQLITE_CANTOPEN":
        # A reader, too: SQLite keeps who reads what in a file beside the database.
        hint = "the file and its folder must be there, and SQLite must be allowed to write to both"
        return StoreUnavailable(f"{store}: {told}; {hint}")
    if code == "SQLITE_NOTADB":
        return NotALedger(f"{store}: the file is not a database")
    if isinstance(error, sqlite3.OperationalError):
        return StoreUnavailable(f"{store}: {told}")
    return StoreError(f"{store}: {told}")

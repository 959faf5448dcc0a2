"""Databases as fixtures.

`database_url` has the tables; on PostgreSQL the tests of one process share it, so each test works
in its own `book`. `empty_url` has nothing, and belongs to one test. Both run the test on SQLite
and on PostgreSQL.
"""

from __future__ import annotations

import gc
import os
import shutil
from collections.abc import Generator, Iterator
from pathlib import Path
from uuid import uuid4

import databases
import pytest
from sqlalchemy import URL
from writers import Clock

from ledger.book import Book
from ledger.evolink.kept import FOLDER

_RUN = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    # Whatever price books this user has kept are not the tests' business.
    os.environ[FOLDER] = os.devnull
    folder = databases.begin_run()
    if folder is not None:
        config.stash[_RUN] = folder


def pytest_unconfigure(config: pytest.Config) -> None:
    # Extension modules look at what is left when the process ends.
    gc.unfreeze()
    folder = config.stash.get(_RUN, None)
    if folder is not None:
        databases.end_run(folder)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the thousands of tests, which stay to the end, out of every search for garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.collect()
        gc.freeze()


@pytest.fixture
def book() -> str:
    """A book that no other test writes in."""
    return f"book-{uuid4().hex[:12]}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A database with the tables of a book."""
    url: str = request.getfixturevalue(f"{_prefix(request)}_url")
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest) -> str:
    """A database with nothing in it, for this test alone."""
    url: str = request.getfixturevalue(f"empty_{_prefix(request)}_url")
    return url


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """An SQLite file with the tables of a book, for this test alone."""
    return databases.sqlite_url(Path(shutil.copyfile(sqlite_template, tmp_path / "ledger.db")))


@pytest.fixture
def empty_sqlite_url(tmp_path: Path) -> str:
    """An SQLite file that does not exist yet."""
    return databases.sqlite_url(tmp_path / "empty.db")


@pytest.fixture(scope="session")
def postgres_url(postgres_server: URL) -> Iterator[str]:
    """A PostgreSQL schema with the tables of a book, shared by the tests of this process."""
    with databases.fresh_schema(postgres_server) as url:
        yield databases.migrate(url)


@pytest.fixture
def empty_postgres_url(postgres_server: URL) -> Iterator[str]:
    """A PostgreSQL schema with nothing in it, for this test alone."""
    with databases.fresh_schema(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_server() -> URL:
    """A running PostgreSQL."""
    return databases.server()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the tables, to copy."""
    path = tmp_path_factory.mktemp("template") / "ledger.db"
    databases.migrate(databases.sqlite_url(path))
    return path


def _prefix(request: pytest.FixtureRequest) -> str:
    return {"sqlite": "sqlite", "postgresql": "postgres"}[request.param]


@pytest.fixture
def clock() -> Clock:
    """A clock for one test."""
    return Clock()


@pytest.fixture
def ledger(database_url: str, book: str, clock: Clock) -> Iterator[Book]:
    """A book with 100 credits in the wallet `studio`, which agrees with itself at the end."""
    with Book(database_url, book=book, clock=clock) as opened:
        opened.top_up("studio", 100, key="invoice-1")
        yield opened
        assert opened.verify().findings == ()

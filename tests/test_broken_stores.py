"""A database that fails gives a typed error, keeps what it has, and takes the same key later."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from threading import Thread
from traceback import format_exception
from typing import Any

import databases
import pytest
import writers
from sqlalchemy import create_engine, event, make_url, text
from sqlalchemy.pool import Pool
from writers import (
    end_connections,
    figures,
    named,
    row_locked,
    wait_until_blocked,
    with_options,
)

from ledger import Ledger
from ledger.book import Reserve
from ledger.errors import LedgerError, StoreError, StoreLocked, StoreUnavailable
from ledger.store import engines, schema

Told = tuple[str, int, str]
"""Code, exit status and message of an error."""


def refusal(call: Callable[[], object]) -> Told:
    """What a call that fails tells, which must be an error of the ledger."""
    with pytest.raises(StoreError) as caught:
        call()
    return told(caught.value)


def told(error: LedgerError) -> Told:
    return error.code, error.exit_status, str(error)


def opened(url: str) -> None:
    """Open a book as a service does, and reserve."""
    with Ledger(url) as ledger:
        ledger.reserve("studio", 1, key="job-1")


def path_of(url: str) -> Path:
    return Path(str(make_url(url).database))


@pytest.fixture
def filled_url(sqlite_url: str) -> str:
    """An SQLite file with a book of some pages, all of it in the file itself."""
    with Ledger(sqlite_url) as ledger:
        ledger.top_up("studio", 1_000, key="invoice-1")
        ledger.batch([Reserve("studio", "0.1", f"old-{number}") for number in range(500)])
    return sqlite_url


# Files that are something else


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"job,seconds\njob-1,12.4\n" * 500, "not_a_ledger"),
        (b"hello", "not_a_ledger"),
        (b"SQLite format 3\0" + bytes(4080), "not_a_ledger"),
        (b"SQLite format 3\0" + bytes(range(256)) * 16, "not_a_ledger"),
    ],
    ids=["text", "short", "header and zeros", "header and noise"],
)
def test_a_file_that_is_no_database_is_left_alone(
    tmp_path: Path, content: bytes, code: str
) -> None:
    path = tmp_path / "plan.csv"
    path.write_bytes(content)
    assert refusal(lambda: opened(databases.sqlite_url(path)))[:2] == (code, 8)
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", [".", "missing/ledger.db"])
def test_a_folder_is_no_database(tmp_path: Path, name: str) -> None:
    url = databases.sqlite_url(tmp_path / name)
    assert refusal(lambda: opened(url))[:2] == ("store_unavailable", 8)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("left", [0.9, 0.5, 0.1, 0.001])
def test_a_truncated_database_is_not_taken_for_a_whole_one(filled_url: str, left: float) -> None:
    path = path_of(filled_url)
    os.truncate(path, int(path.stat().st_size * left))
    assert refusal(lambda: opened(filled_url))[1] == 8


def test_a_database_without_the_end_of_its_last_page_does_not_verify(filled_url: str) -> None:
    # The engine itself may open such a file, and reads zeros where it ends.
    path = path_of(filled_url)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM")  # so that the last page is in use
    os.truncate(path, path.stat().st_size - 1_000)

    def verified() -> None:
        with Ledger(filled_url) as ledger:
            ledger.verify()

    assert refusal(verified)[:2] == ("store_error", 8)


def test_a_page_of_nonsense_is_not_taken_for_entries(filled_url: str) -> None:
    path = path_of(filled_url)
    with closing(sqlite3.connect(path)) as connection:
        root, size = connection.execute(
            "SELECT rootpage, page_size FROM sqlite_master, pragma_page_size WHERE name = 'entries'"
        ).fetchone()
    content = bytearray(path.read_bytes())
    content[(root - 1) * size : root * size] = os.urandom(size)
    path.write_bytes(content)
    with Ledger(filled_url) as ledger:
        assert refusal(ledger.verify)[:2] == ("store_error", 8)
        assert refusal(lambda: ledger.statement("studio"))[:2] == ("store_error", 8)


# Other versions


@pytest.mark.parametrize(
    ("revision", "code", "advice"),
    [
        ("0000", "needs_migration", "kling-ledger db upgrade"),
        ("9999", "newer_store", "update it"),
    ],
)
def test_a_book_of_another_version_is_not_opened(
    empty_url: str, revision: str, code: str, advice: str
) -> None:
    databases.migrate(empty_url)
    engine = create_engine(empty_url)
    with engine.begin() as connection:
        statement = f"UPDATE {schema.VERSION_TABLE} SET version_num = '{revision}'"
        connection.execute(text(statement))
    found = refusal(lambda: opened(empty_url))
    assert found[:2] == (code, 8)
    assert advice in found[2]
    with engine.connect() as connection:
        for table in ("wallets", "entries"):
            assert connection.scalar(text(f"SELECT count(*) FROM {table}")) == 0
    engine.dispose()


def test_an_empty_server_needs_migration(empty_postgres_url: str) -> None:
    found = refusal(lambda: opened(empty_postgres_url))
    assert found[:2] == ("needs_migration", 8)
    assert "has no ledger yet" in found[2]


def test_tables_of_somebody_else_are_not_a_ledger(empty_url: str) -> None:
    engine = create_engine(empty_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE wallets (id TEXT)"))
    assert refusal(lambda: opened(empty_url))[:2] == ("not_a_ledger", 8)
    engine.dispose()


def test_a_book_that_is_not_opened_leaves_no_connection(empty_postgres_url: str, book: str) -> None:
    try:
        opened(named(empty_postgres_url, book))
    except StoreError as error:
        kept = error  # as a caller does who shows it later
        assert end_connections(empty_postgres_url, book) == 0
        del kept


# Read-only


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that another user may look into."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def opened_by_nobody(url: str) -> Told:
    """What a user without rights is told."""
    writers.as_nobody()
    try:
        opened(url)
    except LedgerError as error:
        return told(error)
    return "opened", 0, ""


@pytest.mark.parametrize("folder_mode", [0o555, 0o777], ids=["folder too", "file only"])
def test_a_read_only_file_refuses_and_stays_as_it_is(
    filled_url: str, public_folder: Path, folder_mode: int
) -> None:
    path = Path(shutil.copy(path_of(filled_url), public_folder))
    url, before = databases.sqlite_url(path), path.read_bytes()
    path.chmod(0o444)
    public_folder.chmod(folder_mode)
    found = writers.answer(opened_by_nobody, url)
    assert found[:2] == ("store_unavailable", 8)
    assert str(path) in found[2]
    assert path.read_bytes() == before
    public_folder.chmod(0o755)
    path.chmod(0o644)
    opened(url)


def test_a_read_only_folder_has_no_room_for_a_new_book(public_folder: Path) -> None:
    public_folder.chmod(0o555)
    url = databases.sqlite_url(public_folder / "new.db")
    assert writers.answer(opened_by_nobody, url)[:2] == ("store_unavailable", 8)
    assert list(public_folder.iterdir()) == []


def test_a_read_only_server_refuses(postgres_url: str) -> None:
    url = with_options(postgres_url, "-cdefault_transaction_read_only=on")
    with Ledger(url, book="read-only") as ledger:
        found = refusal(lambda: ledger.top_up("studio", 1, key="invoice-1"))
        assert found[:2] == ("store_unavailable", 8)
        assert "read-only" in found[2]
        assert ledger.verify().wallets == 0


# A full disk


def until_the_disk_is_full(url: str) -> tuple[int, list[Told], bool]:
    """Reserve until a file may not grow; then again when there is room."""
    refused: list[Told] = []
    many = [Reserve("studio", "0.1", f"batch-{number}") for number in range(2_000)]
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    written = 0
    with Ledger(url) as ledger:
        room = path_of(url).stat().st_size + 100_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            ledger.batch(many)
        except LedgerError as error:
            refused.append(told(error))
        try:
            while True:
                ledger.reserve("studio", "0.1", key=f"new-{written}")
                written += 1
        except LedgerError as error:
            refused.append(told(error))
        assert ledger.verify().findings == ()
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        again = ledger.reserve("studio", "0.1", key=f"new-{written}")
        ledger.batch(many)
    return written, refused, again.replayed


def test_a_full_disk_loses_nothing_and_takes_the_same_keys_later(filled_url: str) -> None:
    written, refused, was_there_before = writers.answer(until_the_disk_is_full, filled_url)
    assert [item[:2] for item in refused] == [("store_unavailable", 8)] * 2
    assert not was_there_before
    with Ledger(filled_url) as ledger:
        assert ledger.verify().findings == ()
        entries = ledger.statement("studio").entries
        # Opened, topped up, 500 old ones, those with room, the one without, and the batch.
        assert len(entries) == 2 + 500 + written + 1 + 2_000
        assert ledger.reserve("studio", "0.1", key=f"new-{written}").replayed


def test_a_database_that_may_not_grow_is_full(filled_url: str) -> None:
    with closing(sqlite3.connect(path_of(filled_url))) as connection:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()

    def limited(connection: sqlite3.Connection, _: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {pages + 3}")

    many = [Reserve("studio", "0.1", f"batch-{number}") for number in range(2_000)]
    event.listen(Pool, "connect", limited)
    try:
        with Ledger(filled_url) as ledger:
            before = ledger.balance("studio")
            found = refusal(lambda: ledger.batch(many))
            assert found[:2] == ("store_unavailable", 8)
            assert "full" in found[2]
            assert ledger.balance("studio") == before
            assert ledger.verify().findings == ()
    finally:
        event.remove(Pool, "connect", limited)
    with Ledger(filled_url) as ledger:
        assert not any(entry.replayed for entry in ledger.batch(many))  # type: ignore[union-attr]


def test_a_full_server_refuses_and_keeps_what_it_has(empty_postgres_url: str) -> None:
    databases.migrate(empty_postgres_url)
    with Ledger(empty_postgres_url) as ledger:
        ledger.top_up("studio", 100, key="invoice-1")
        with server_that_fails("disk_full", empty_postgres_url):
            for call in (
                lambda: ledger.reserve("studio", 1, key="job-1"),
                lambda: ledger.batch([Reserve("studio", 1, f"{number}") for number in range(40)]),
                lambda: ledger.charge("job-0", 1),
            ):
                assert refusal(call)[:2] == ("store_unavailable", 8)
        assert ledger.verify().findings == ()
        assert ledger.balance("studio").held == 0
        assert not ledger.reserve("studio", 1, key="job-1").replayed


@contextmanager
def server_that_fails(condition: str, url: str) -> Iterator[None]:
    """A server that has no room for another row, at the end of each statement that needs it."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(
            text(
                "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
                f" RAISE EXCEPTION 'no room' USING ERRCODE = '{condition}'; END $$"
            )
        )
        for table in ("entries", "inbox"):
            connection.execute(
                text(
                    f"CREATE TRIGGER fail AFTER INSERT ON {table}"
                    " FOR EACH STATEMENT EXECUTE FUNCTION fail()"
                )
            )
        yield
        connection.execute(text("DROP FUNCTION fail() CASCADE"))
    engine.dispose()


# Locked


def keep_locked(path: Path, held: Any, enough: Any) -> bool:
    """Keep the write lock of a file until it is enough."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        held.set()
        return bool(enough.wait(60))


@contextmanager
def locked(path: Path) -> Iterator[Callable[[], None]]:
    """A file that another process keeps locked; call what is given to end that."""
    held, enough = writers.processes.Event(), writers.processes.Event()
    with ThreadPoolExecutor(1) as thread:
        answer = thread.submit(writers.answer, keep_locked, path, held, enough)
        try:
            assert held.wait(60)
            yield enough.set
        finally:
            enough.set()
            assert answer.result()


def test_a_file_that_another_process_keeps_locked_says_so(
    filled_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "BUSY_SECONDS", 0.1)
    with locked(path_of(filled_url)), Ledger(filled_url) as ledger:
        with pytest.raises(StoreLocked) as caught:
            ledger.reserve("studio", 1, key="job-1")
        assert told(caught.value)[:2] == ("store_locked", 8)
        assert ledger.balance("studio").held == 50  # reading needs no lock
    with Ledger(filled_url) as ledger:
        assert not ledger.reserve("studio", 1, key="job-1").replayed


def test_a_write_waits_for_a_lock_that_is_given_up(filled_url: str) -> None:
    with (
        locked(path_of(filled_url)) as end,
        Ledger(filled_url) as ledger,
        ThreadPoolExecutor(1) as thread,
    ):
        waiting = thread.submit(ledger.reserve, "studio", 1, key="job-1")
        end()
        assert not waiting.result().replayed


def test_a_row_that_is_locked_too_long_says_so(postgres_url: str, book: str) -> None:
    with Ledger(with_options(postgres_url, "-clock_timeout=100"), book=book) as ledger:
        ledger.top_up("studio", 10, key="invoice-1")
        with row_locked(postgres_url, book):
            found = refusal(lambda: ledger.reserve("studio", 1, key="job-1"))
            assert found[1] == 8
            assert "lock timeout" in found[2]
        assert not ledger.reserve("studio", 1, key="job-1").replayed


# Servers that are not there, and connections that end


NOWHERE = [
    "postgresql://li:geheim@127.0.0.1:1/credits",
    "postgresql://li:geheim@no-such-host.invalid/credits",
    "postgresql://li:geheim@/credits?host=/no/such/folder",
    "postgresql://127.0.0.1:1/credits?user=li&password=geheim",
]


@pytest.mark.parametrize("url", NOWHERE)
def test_a_server_that_is_not_there_is_unavailable(url: str) -> None:
    assert refusal(lambda: opened(url))[:2] == ("store_unavailable", 8)


@pytest.mark.parametrize(
    "url",
    [
        *NOWHERE,
        "postgresql://h/credits?password=geheim&unknown=1",
        "postgresql://li:geheim@127.0.0.1:port/credits",
        "postgresql//li:geheim@127.0.0.1/credits",
        "mysql://li:geheim@127.0.0.1/credits",
    ],
)
def test_no_error_shows_a_password(url: str) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011  whatever it is, it is shown
        opened(url)
    assert "geheim" not in "".join(format_exception(caught.value))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://li@127.0.0.1:port/credits",
        "postgresql//127.0.0.1/credits",
        "mysql://127.0.0.1/credits",
        "credits.db",
        "",
    ],
)
def test_what_is_no_url_of_a_database_is_bad_input(url: str) -> None:
    with pytest.raises(LedgerError) as caught:
        opened(url)
    assert told(caught.value)[:2] == ("invalid_entry", 7)


def refuse_the_password(server: socket.socket, seen: list[bytes]) -> None:
    """Speak as much PostgreSQL as it takes to ask for a password and refuse it."""
    client, _ = server.accept()
    with client:
        client.recv(4096)
        client.sendall(b"R" + (8).to_bytes(4, "big") + (3).to_bytes(4, "big"))
        seen.append(client.recv(4096))
        fields = b'SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user "li"\0\0'
        client.sendall(b"E" + (len(fields) + 4).to_bytes(4, "big") + fields)


def test_a_wrong_password_is_refused_and_not_shown() -> None:
    seen: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        answering = Thread(target=refuse_the_password, args=(server, seen))
        answering.start()
        url = f"postgresql://li:geheim@127.0.0.1:{port}/credits?sslmode=disable&gssencmode=disable"
        code, status, message = refusal(lambda: opened(url))
        answering.join()
    assert b"geheim" in seen[0]
    assert (code, status) == ("store_unavailable", 8)
    assert "password authentication failed" in message
    assert "geheim" not in message


READS: list[Callable[[Ledger], object]] = [
    lambda ledger: ledger.balance("studio"),
    lambda ledger: ledger.statement("studio"),
    lambda ledger: ledger.hold("job-1"),
    lambda ledger: ledger.verify(),
]


@pytest.mark.parametrize("read", READS, ids=["balance", "statement", "hold", "verify"])
def test_a_read_after_the_server_ended_its_connection_is_answered(
    postgres_url: str, book: str, read: Callable[[Ledger], object]
) -> None:
    with Ledger(named(postgres_url, book), book=book) as ledger:
        ledger.top_up("studio", 10, key="invoice-1")
        ledger.reserve("studio", 1, key="job-1")
        before = read(ledger)
        assert end_connections(postgres_url, book) == 1
        assert read(ledger) == before


def test_a_write_after_the_server_ended_its_connection_is_done_once(
    postgres_url: str, book: str
) -> None:
    with Ledger(named(postgres_url, book), book=book) as ledger:
        ledger.top_up("studio", 10, key="invoice-1")
        for number in range(5):
            assert end_connections(postgres_url, book) == 1
            assert not ledger.reserve("studio", 1, key=f"job-{number}").replayed
            assert end_connections(postgres_url, book) == 1
            assert not ledger.charge(f"job-{number}", 1).replayed
        assert len(ledger.statement("studio").entries) == 2 + 10
        assert ledger.verify().findings == ()


def test_a_restart_of_the_server_costs_no_write(postgres_url: str, book: str) -> None:
    with Ledger(named(postgres_url, book), book=book) as ledger:
        ledger.top_up("studio", 100, key="invoice-1")
        with ThreadPoolExecutor(12) as threads:
            with row_locked(postgres_url, book):
                calls = [
                    threads.submit(ledger.reserve, "studio", 1, key=f"early-{number}")
                    for number in range(12)
                ]
                # Twelve connections at once, all of which are kept.
                wait_until_blocked(postgres_url, book, 12)
            assert [call.result().replayed for call in calls] == [False] * 12
        assert end_connections(postgres_url, book) == 12
        assert not ledger.reserve("studio", 1, key="late").replayed


WRITES: dict[str, Callable[[Ledger], Any]] = {
    "reserve": lambda ledger: ledger.reserve("studio", 1, key="job-2"),
    "charge": lambda ledger: ledger.charge("job-1", 2),
    "top_up": lambda ledger: ledger.top_up("studio", 5, key="invoice-2"),
    "batch": lambda ledger: ledger.batch([Reserve("studio", 1, "job-3")])[0],
}


@pytest.mark.parametrize("verb", WRITES)
def test_a_connection_that_ends_during_a_write_is_tried_again(
    postgres_url: str, book: str, verb: str
) -> None:
    with Ledger(named(postgres_url, book), book=book) as ledger:
        ledger.top_up("studio", 10, key="invoice-1")
        ledger.reserve("studio", 3, key="job-1")
        with ThreadPoolExecutor(1) as thread:
            with row_locked(postgres_url, book):
                writing = thread.submit(WRITES[verb], ledger)
                wait_until_blocked(postgres_url, book)
                assert end_connections(postgres_url, book) == 1
            entry = writing.result()
        assert not entry.replayed
        assert WRITES[verb](ledger) == entry._replace(replayed=True)
        assert len(ledger.statement("studio").entries) == 4
        assert ledger.verify().findings == ()


def test_connections_that_end_all_the_time_lose_nothing_and_do_nothing_twice(
    postgres_url: str, book: str
) -> None:
    url = named(postgres_url, book)
    engine = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    ending = text(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE application_name = :book"
    )
    with Ledger(url, book=book) as ledger, engine.connect() as killer:
        ledger.top_up("studio", 1_000, key="invoice-1")

        finished: list[str] = []

        def work(worker: int) -> None:
            for number in range(40):
                job = f"{worker}-{number}"
                insist(partial(ledger.reserve, "studio", 2, key=job))
                insist(partial(ledger.charge, job, 1))
                finished.append(job)

        ended, before = 0, 0
        with ThreadPoolExecutor(4) as threads:
            working = [threads.submit(work, worker) for worker in range(4)]
            while not all(done.done() for done in working):
                # Now and then only, so that something gets done in between.
                if len(finished) >= before + 3:
                    before = len(finished)
                    ended += killer.scalar(ending, {"book": book})
        assert [done.result() for done in working] == [None] * 4
        assert ended > 40
    engine.dispose()
    with Ledger(postgres_url, book=book) as ledger:
        assert ledger.verify().findings == ()
        assert len(ledger.statement("studio").entries) == 2 + 160 * 2
        assert figures(ledger) == (840, 0, 840)


def insist(call: Callable[[], object]) -> None:
    """Call again with the same key while the store is unavailable."""
    while True:
        try:
            call()
        except StoreUnavailable:
            continue
        return

"""Other processes that write in a book: what they run, and how they are started.

They are forked from one small server process that has imported the library and never opened a
database, so that starting one takes a few milliseconds and nothing of the parent comes along.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from multiprocessing.connection import Connection
from random import Random
from time import monotonic, perf_counter
from traceback import format_exc
from typing import Any, NamedTuple, TypeVar, cast

from sqlalchemy import create_engine, event, make_url, text
from sqlalchemy.pool import Pool

from ledger.book import Adjust, Book, Charge, Extend, Refund, Release, Reserve, TopUp
from ledger.book.items import Item
from ledger.errors import LedgerError
from ledger.records import Entry, Parked

processes = multiprocessing.get_context("forkserver")
# The main program of a test run is imported again in every process; pytest may be that program.
processes.set_forkserver_preload(
    [
        "ledger.cli.output",
        "ledger.jobs",
        "ledger.store.postgres",
        "multiprocessing.popen_forkserver",
        "pytest",
        "rich.table",
        "sqlalchemy.dialects.postgresql.psycopg",
        "sqlalchemy.dialects.sqlite",
    ]
)

Answer = TypeVar("Answer")

NOON = datetime(2026, 10, 10, 12, tzinfo=UTC)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **length: float) -> None:
        self.now += timedelta(**length)


def noon() -> datetime:
    """A clock that stands still, so that two runs write the very same entries."""
    return NOON


# What a writer does


class Step(NamedTuple):
    """One call: a verb, or a batch where there are several items."""

    items: tuple[Item, ...]
    atomic: bool = False

    def run(self, book: Book) -> list[str]:
        """Make the call; what became of each item, in short."""
        if len(self.items) > 1:
            return [told(item) for item in book.batch(self.items, atomic=self.atomic)]
        try:
            return [told(do(book, self.items[0]))]
        except LedgerError as refused:
            return [told(refused)]


_VERBS = {
    Reserve: Book.reserve,
    Extend: Book.extend,
    Charge: Book.charge,
    Release: Book.release,
    Refund: Book.refund,
    TopUp: Book.top_up,
    Adjust: Book.adjust,
}


def do(book: Book, item: Item) -> Entry | Parked:
    """The verb that an item of a batch stands for."""
    verb: Callable[..., Entry | Parked] = _VERBS[type(item)]  # type: ignore[assignment]
    return verb(book, **item._asdict())


def told(outcome: Entry | Parked | LedgerError) -> str:
    """What became of an item, the same for the first call and for its repetition."""
    if isinstance(outcome, LedgerError):
        return outcome.code
    if isinstance(outcome, Parked):
        return f"parked {outcome.kind} {outcome.key}"
    return f"{outcome.wallet} {outcome.seq} {outcome.kind} {outcome.key} {outcome.amount}"


WALLETS = ("annex", "poor", "studio")
FUNDS = Step(
    (
        TopUp("studio", 1_000_000, "invoice-1", cash=14_700, currency="USD"),
        TopUp("studio", 500, "gift-1", promotional=True, expires="2026-12-01"),
        TopUp("annex", 1_000_000, "invoice-2"),
        TopUp("poor", 1, "invoice-3"),
    )
)
"""What every script needs first."""


def script(seed: int, jobs: int) -> list[Step]:
    """Single verbs and small batches about many jobs, each call with its keys.

    Every refusal in it stays one whenever the call is repeated: nothing fits into the wallet
    `poor`, and a hold is settled before it is released in vain.
    """
    random = Random(seed)
    waiting = [_job(random, f"job-{number}") for number in range(jobs)]
    steps = []
    while waiting:
        items = []
        for _ in range(random.choice((1, 1, 1, 2, 5))):
            mine = random.choice(waiting[:8])
            items.append(mine.pop(0))
            waiting = [job for job in waiting if job]
            if not waiting:
                break
        refusable = any(isinstance(item, Release) or item[0] == "poor" for item in items)
        steps.append(Step(tuple(items), atomic=not refusable and random.random() < 0.3))
    return steps


def _job(random: Random, job: str) -> list[Item]:
    """One job's life, from top-up to refund."""
    wallet = random.choice(("studio", "studio", "annex"))
    labels = {"team": random.choice(("ads", "art")), "user": random.choice(("li", "bo", "ada"))}
    held = Decimal(random.randrange(1, 10**10)).scaleb(-8)
    cost = (held / 3).quantize(Decimal("0.00000001")) + Decimal("0.00000001")
    reserve = Reserve(wallet, held, job, labels)
    lives: list[list[Item]] = [
        [reserve, Charge(job, cost)],
        [reserve, Charge(job, held * 2)],
        [reserve, Charge(job, cost), Refund(job)],
        [reserve, Charge(job, cost, key=f"{job}/1", final=False), Charge(job, cost)],
        [reserve, Charge(job, held), Refund(job, cost, f"{job}/1"), Refund(job, cost, f"{job}/2")],
        [reserve, Extend(job, f"{job}/more", held), Charge(job, held * 2)],
        [reserve, Release(job, reason="failed")],
        [reserve, Charge(job, cost), Release(job)],
        [Charge(job, cost), reserve],
        [TopUp(wallet, held, f"{job}/invoice"), Adjust(wallet, -cost, f"{job}/fix", "a slip")],
        [Reserve("poor", held + 1, job)],
    ]
    return random.choice(lives)


# Running it in another process


def follow(
    url: str, book: str, steps: Sequence[Step], places: Sequence[int], heard: Connection
) -> None:
    """Make some of the calls, acknowledge each after it returned, and wait for the end."""
    with Book(url, book=book, clock=noon) as ledger:
        for place in places:
            heard.send((place, steps[place].run(ledger)))
        heard.send(None)
        signal.pause()


@contextmanager
def process(target: Callable[..., None], *given: object) -> Iterator[tuple[Any, Connection]]:
    """A process and what it tells; its last argument is the end it tells it into."""
    hears, tells = processes.Pipe(duplex=False)
    running = processes.Process(target=target, args=(*given, tells), daemon=True)
    running.start()
    tells.close()
    try:
        yield running, hears
    finally:
        running.kill()
        running.join()
        running.close()
        hears.close()


def everything(hears: Connection) -> list[Any]:
    """What a process has told until it ended."""
    told_: list[Any] = []
    while True:
        try:
            told_.append(hears.recv())
        except (EOFError, OSError):
            # The last message may be half a message, and so not an acknowledgement.
            return told_


def figures(ledger: Book, wallet: str = "studio") -> tuple[object, object, object]:
    """Posted, held, available."""
    balance = ledger.balance(wallet)
    return balance.posted, balance.held, balance.available


def spin(seconds: float) -> None:
    """Wait for less than a scheduler's tick."""
    until = perf_counter() + seconds
    while perf_counter() < until:
        pass


# Many at once


def together(
    url: str, book: str, work: Callable[[Book, int], Answer], workers: int = 8
) -> list[Answer]:
    """What processes answer that begin at the same moment, each with a book of its own."""
    gate = processes.Barrier(workers)
    with ExitStack() as stack:
        running = [
            stack.enter_context(process(_at_the_gate, url, book, work, worker, gate))
            for worker in range(workers)
        ]
        answers = []
        for _, hears in running:
            assert hears.poll(PATIENCE_SECONDS), "a process does not answer"
            failed, answer = hears.recv()
            assert not failed, answer
            answers.append(answer)
    return answers


PATIENCE_SECONDS = 300
"""Far longer than anything here takes; a deadlock that nobody resolves ends it."""


def _at_the_gate(
    url: str, book: str, work: Callable[[Book, int], Any], worker: int, gate: Any, tells: Connection
) -> None:
    try:
        with Book(url, book=book) as ledger:
            ledger.verify()
            gate.wait(PATIENCE_SECONDS)
            tells.send((False, work(ledger, worker)))
    except Exception:
        tells.send((True, format_exc()))
        raise


# With less than it needs


def as_nobody() -> None:
    """Give up what lets root write in spite of a file's permissions."""
    if os.geteuid() == 0:
        os.setgid(65_534)
        os.setuid(65_534)


def answer(work: Callable[..., Answer], *given: object) -> Answer:
    """What a process of its own answers."""
    with process(_answer, work, *given) as (_, hears):
        assert hears.poll(PATIENCE_SECONDS), "the process does not answer"
        failed, told_ = hears.recv()
    assert not failed, told_
    return cast("Answer", told_)


def _answer(work: Callable[..., Any], *given: Any) -> None:
    *arguments, tells = given
    try:
        tells.send((False, work(*arguments)))
    except Exception:  # noqa: BLE001  whatever it is, the parent says it
        tells.send((True, format_exc()))


# Dying at a chosen statement


class Fuse:
    """Kills its own process at the n-th statement from when it is lit.

    On SQLite that is before the statement runs; on PostgreSQL when the server has answered.
    """

    def __init__(self) -> None:
        self.left: int | None = None

    def burn(self, statement: str) -> None:
        # What triggers do is traced as well, behind a dash.
        if self.left is None or statement.startswith("--"):
            return
        self.left -= 1
        if not self.left:
            os.kill(os.getpid(), signal.SIGKILL)


def watch(fuse: Fuse) -> None:
    """Let every new connection of this process burn a fuse."""

    @event.listens_for(Pool, "connect")
    def _connected(connection: Any, _: object) -> None:
        if hasattr(connection, "set_trace_callback"):
            connection.set_trace_callback(fuse.burn)
            return
        execute = connection.execute

        def executed(statement: str, *given: Any, **more: Any) -> Any:
            done = execute(statement, *given, **more)
            fuse.burn(statement)
            return done

        connection.execute = executed


def follow_until(
    url: str, book: str, steps: Sequence[Step], statement: int, heard: Connection
) -> None:
    """Make the calls and die at a statement of them."""
    fuse = Fuse()
    watch(fuse)
    with Book(url, book=book, clock=noon) as ledger:
        fuse.left = statement
        for place, step in enumerate(steps):
            heard.send((place, step.run(ledger)))
    fuse.left = None


# A PostgreSQL server, from outside


def with_options(url: str, options: str) -> str:
    there = make_url(url)
    given = f"{there.query.get('options', '')} {options}"
    return there.update_query_dict({"options": given}).render_as_string(hide_password=False)


def named(url: str, book: str) -> str:
    """A URL whose connections can be told from those of others."""
    return (
        make_url(url)
        .update_query_dict({"application_name": book})
        .render_as_string(hide_password=False)
    )


def ask(url: str, statement: str, **values: object) -> Any:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        answer = connection.scalar(text(statement), values)
    engine.dispose()
    return answer


def end_connections(url: str, book: str) -> int:
    """End the connections of a book's process, as a restart of the server would."""
    ended: int = ask(
        url,
        "SELECT count(pg_terminate_backend(pid, 10000)) FROM pg_stat_activity"
        " WHERE application_name = :book",
        book=book,
    )
    return ended


def wait_until_blocked(url: str, book: str, count: int = 1) -> None:
    """Wait until statements of a book wait for a lock."""
    until = monotonic() + 30
    while monotonic() < until:
        blocked = ask(
            url,
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE application_name = :book AND wait_event_type = 'Lock'",
            book=book,
        )
        if blocked == count:
            return
    raise AssertionError("nothing waits for the lock")


@contextmanager
def row_locked(url: str, book: str) -> Iterator[None]:
    """The wallet's row, locked by somebody else."""
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            text("SELECT 1 FROM wallets WHERE book = :book FOR NO KEY UPDATE"), {"book": book}
        )
        yield
    engine.dispose()

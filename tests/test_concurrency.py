"""Many processes and threads on one book: never over-admitting, never twice, never stuck."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from random import Random
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool
from writers import figures, named, noon, row_locked, together, wait_until_blocked

from ledger.book import Book, Charge, Refund, Reserve
from ledger.book.items import Item
from ledger.errors import (
    BudgetExceeded,
    HoldClosed,
    InsufficientCredits,
    LedgerError,
    RefundAboveCharge,
    UnknownMessage,
)
from ledger.records import Entry

EACH = 1000
"""Calls of each of the eight processes."""


def entries_of(ledger: Book, wallet: str = "studio") -> list[Entry]:
    """The statement of a book that agrees with itself, numbered without gaps."""
    assert ledger.verify().findings == ()
    entries = list(ledger.statement(wallet).entries)
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    return entries


# Reserves


def reserve_each(ledger: Book, worker: int) -> tuple[int, int]:
    """How many reserves of one credit were admitted, and how many deadlocks it took."""
    deadlocks: list[BaseException] = []
    _note_deadlocks(deadlocks)
    admitted = 0
    for number in range(EACH):
        labels = {"user": f"user-{worker % 4}", "team": ("ads", "art")[number % 2]}
        try:
            ledger.reserve("studio", 1, key=f"{worker}-{number}", labels=labels)
            admitted += 1
        except (InsufficientCredits, BudgetExceeded):
            pass
    return admitted, len(deadlocks)


def _note_deadlocks(deadlocks: list[BaseException]) -> None:
    """Note what PostgreSQL resolves and the book then does again, unseen by its caller."""

    @event.listens_for(Pool, "connect")
    def _connected(connection: Any, _: object) -> None:
        if not hasattr(connection, "info"):
            return
        execute = connection.execute

        def executed(*given: Any, **more: Any) -> Any:
            try:
                return execute(*given, **more)
            except Exception as error:
                if getattr(error, "sqlstate", None) == "40P01":
                    deadlocks.append(error)
                raise

        connection.execute = executed


def test_eight_processes_admit_exactly_what_the_wallet_has(database_url: str, book: str) -> None:
    with Book(database_url, book=book) as ledger:
        ledger.top_up("studio", 6_000, key="invoice-1")
        answers = together(database_url, book, reserve_each)
        assert sum(admitted for admitted, _ in answers) == 6_000
        assert sum(deadlocks for _, deadlocks in answers) == 0
        entries = entries_of(ledger)
        assert Counter(entry.kind for entry in entries) == {"open": 1, "top_up": 1, "reserve": 6000}
        assert figures(ledger) == (6_000, 6_000, 0)


def test_eight_processes_admit_exactly_what_overlapping_budgets_allow(
    database_url: str, book: str
) -> None:
    # Each of 4 users asks for 2,000 credits and may have 1,200; half of all is for ads, which
    # may have 1,500. Alone these two would admit at least 4,400: users with 1,200, 1,200, 1,000
    # and 1,000. All together may have 4,000, so that many are admitted whoever comes first.
    with Book(database_url, book=book) as ledger:
        ledger.top_up("studio", 10_000, key="invoice-1")
        ledger.set_budget("studio", "each", 1_200, key="b1", match={"user": "*"})
        ledger.set_budget("studio", "ads", 1_500, key="b2", match={"team": "ads"}, period="day")
        ledger.set_budget("studio", "all", 4_000, key="b3", period="lifetime")
        answers = together(database_url, book, reserve_each)
        assert sum(admitted for admitted, _ in answers) == 4_000
        assert sum(deadlocks for _, deadlocks in answers) == 0
        entries = entries_of(ledger)
        assert ledger.balance("studio").held == 4_000
        jobs = [ledger.hold(entry.key) for entry in entries if entry.kind == "reserve"]
    assert len(jobs) == 4_000
    assert sum('"team":"ads"' in job.labels for job in jobs) <= 1_500
    assert max(Counter(job.labels.partition('"user":')[2] for job in jobs).values()) <= 1_200


def reserve_the_same(ledger: Book, worker: int) -> list[tuple[int, bool]]:
    """The place of each entry, and whether it was there before."""
    jobs = [f"job-{number}" for number in range(100)]
    Random(worker).shuffle(jobs)
    written = {job: ledger.reserve("studio", 5, key=job, labels={"of": job}) for job in jobs}
    return [(written[job].seq, written[job].replayed) for job in sorted(jobs)]


def test_the_same_reserve_from_eight_processes_is_one_entry_and_seven_replays(
    database_url: str, book: str
) -> None:
    with Book(database_url, book=book) as ledger:
        ledger.top_up("studio", 500, key="invoice-1")
        answers = together(database_url, book, reserve_the_same)
        for same in zip(*answers, strict=True):
            assert len({seq for seq, _ in same}) == 1
            assert sorted(replayed for _, replayed in same) == [False] + [True] * 7
        assert len(entries_of(ledger)) == 102
        assert ledger.balance("studio").held == 500


def test_a_reserve_whose_twin_was_faster_is_not_told_that_there_is_no_room(
    postgres_url: str, book: str
) -> None:
    url = named(postgres_url, book)
    with Book(url, book=book) as first, Book(url, book=book) as second:
        second.top_up("studio", 1, key="invoice-1")
        second.reserve("studio", 1, key="job-1")
        first.top_up("studio", 1, key="invoice-2")
        with ThreadPoolExecutor(2) as threads:
            with row_locked(postgres_url, book):
                # Both see room for one credit and wait for the wallet, the first one first.
                faster = threads.submit(first.reserve, "studio", 1, key="twin")
                wait_until_blocked(postgres_url, book, 1)
                slower = threads.submit(second.reserve, "studio", 1, key="twin")
                wait_until_blocked(postgres_url, book, 2)
            assert not faster.result().replayed
            assert slower.result() == faster.result()._replace(replayed=True)


def test_a_batch_charges_a_job_as_it_stands_once_its_wallet_is_its_own(
    postgres_url: str, book: str
) -> None:
    url = named(postgres_url, book)
    with Book(url, book=book) as batch, Book(postgres_url, book=book) as other:
        other.top_up("art", 100, key="invoice-1")
        with ExitStack() as first_wallet, ThreadPoolExecutor(1) as threads:
            first_wallet.enter_context(row_locked(postgres_url, book))
            # The batch knows of no job yet, and waits for the first wallet.
            items: list[Item] = [Reserve("art", 1, "job-0"), Charge("late", 10, key="second")]
            outcomes = threads.submit(batch.batch, items)
            wait_until_blocked(postgres_url, book, 1)
            other.top_up("studio", 100, key="invoice-2")
            other.reserve("studio", 50, key="late")
            with other.engine.begin() as connection:
                other.join(connection).charge("late", 10, key="first", final=False)
                first_wallet.close()
                # It has read the job without the first charge, and waits for the second wallet.
                wait_until_blocked(postgres_url, book, 1)
        assert [type(outcome) for outcome in outcomes.result()] == [Entry, Entry]
        hold = other.hold("late")
        assert (str(hold.charged), str(hold.held), hold.state) == ("20", "0", "charged")
        assert other.verify().findings == ()


def reserve_in_a_minute(ledger: Book, worker: int) -> int:
    """How many of a hundred jobs a rolling budget admits, while its steps go by."""
    admitted = 0
    for number in range(100):
        try:
            ledger.reserve("studio", 1, key=f"rolling-{worker}-{number}")
        except BudgetExceeded:
            continue
        admitted += 1
    return admitted


def test_eight_processes_admit_exactly_what_a_rolling_budget_allows(
    database_url: str, book: str
) -> None:
    with Book(database_url, book=book) as ledger:
        ledger.top_up("studio", 10_000, key="invoice-1")
        # A step is a second, so that processes whose clocks were read in different steps meet.
        ledger.set_budget("studio", "r", 50, key="b1", period="rolling", rolling_seconds=60)
        assert sum(together(database_url, book, reserve_in_a_minute)) == 50
        assert ledger.balance("studio").held == 50
        assert ledger.verify().findings == ()


# Charges and refunds


def settle_the_same(ledger: Book, worker: int) -> Counter[str]:
    """Charge and refund the same jobs under the same keys; how many facts were new."""
    jobs = [f"job-{number}" for number in range(60)]
    Random(worker).shuffle(jobs)
    new: Counter[str] = Counter()
    for job in jobs:
        done = [
            ledger.charge(job, 2, key=f"{job}/1", final=False),
            ledger.charge(job, 3),
            ledger.refund(job, 1, key=f"{job}/1"),
            ledger.refund(job, reason="all the rest"),
        ]
        new.update(f"{fact.kind} {fact.key}" for fact in done if not fact.replayed)
    return new


def test_eight_processes_settle_the_same_jobs_and_each_fact_is_once(
    database_url: str, book: str
) -> None:
    with Book(database_url, book=book) as ledger:
        ledger.top_up("studio", 600, key="invoice-1")
        ledger.set_budget("studio", "all", 600, key="b1", period="lifetime")
        ledger.batch([Reserve("studio", 10, f"job-{number}") for number in range(60)])
        answers = together(database_url, book, settle_the_same)
        new = sum(answers, Counter())
        assert set(new.values()) == {1}
        assert len(new) == 60 * 4
        # What is open, topped up and limited, 60 reserves, 120 charges, 120 refunds.
        assert len(entries_of(ledger)) == 3 + 60 + 240
        assert figures(ledger) == (600, 0, 600)
        ledger.reserve("studio", 600, key="the budget has all its room again")


def settle_each_in_its_own_way(ledger: Book, worker: int) -> Counter[str]:
    """Charge, release or refund the same jobs under keys of one's own."""
    told: Counter[str] = Counter()
    for number in range(40):
        job = f"job-{number}"
        key = f"{job}/{worker}"
        calls: dict[str, Callable[[], object]] = {
            "release": partial(ledger.release, job, key=key),
            "charge": partial(ledger.charge, job, 1, key=key),
            "refund": partial(ledger.refund, job, 8, key=key),
        }
        for verb, call in calls.items():
            try:
                call()
                told[verb] += 1
            except HoldClosed:
                told["nothing to release"] += 1
            except RefundAboveCharge:
                told["nothing to refund"] += 1
    return told


def test_different_keys_race_and_every_limit_of_a_job_holds(database_url: str, book: str) -> None:
    with Book(database_url, book=book) as ledger:
        ledger.top_up("studio", 400, key="invoice-1")
        ledger.batch([Reserve("studio", 10, f"job-{number}") for number in range(40)])
        told = sum(together(database_url, book, settle_each_in_its_own_way), Counter())
        # A job is released at most once. Each of 8 charges of 1 is a fact, late or not; a refund
        # of 8 fits once, when all 8 have been charged.
        assert told["release"] + told["nothing to release"] == 320
        assert told["release"] <= 40
        assert (told["charge"], told["refund"], told["nothing to refund"]) == (320, 40, 280)
        entries_of(ledger)
        assert figures(ledger) == (400, 0, 400)


# Batches


JOBS = [(f"job-{number}", ("studio", "annex")[number % 2]) for number in range(240)]


def reserve_or_discard(ledger: Book, worker: int) -> int:
    """How many of the charges that wait were closed before their job was reserved."""
    jobs = [f"job-{number}" for number in range(200)]
    Random(worker).shuffle(jobs)
    closed = 0
    for job in jobs:
        if worker % 2:
            ledger.reserve("studio", 1, key=job)
            continue
        try:
            ledger.discard("charge", job, reason="stray")
            closed += 1
        except UnknownMessage:
            pass
    return closed


def test_a_charge_that_waits_is_applied_or_discarded_and_never_both(
    database_url: str, book: str
) -> None:
    with Book(database_url, book=book) as ledger:
        ledger.top_up("studio", 200, key="invoice-1")
        ledger.charge_many([Charge(f"job-{number}", 1) for number in range(200)])
        together(database_url, book, reserve_or_discard)
        charged = {entry.job for entry in entries_of(ledger) if entry.kind == "charge"}
        discarded = {record.job for record in ledger.inbox(discarded=True)}
        assert not charged & discarded
        assert len(charged) + len(discarded) == 200
        assert ledger.inbox() == []
        # What was discarded is still held: its job was reserved, and nothing was charged.
        assert figures(ledger) == (200 - len(charged), len(discarded), 0)


def batches_or_single_verbs(ledger: Book, worker: int) -> Counter[tuple[str, str]]:
    """The same jobs from all: half of the processes in batches, half of them one by one."""
    jobs = list(JOBS)
    Random(worker).shuffle(jobs)
    new: Counter[tuple[str, str]] = Counter()
    for start in range(0, len(jobs), 20):
        part = jobs[start : start + 20]
        outcomes: list[Any] = []
        if worker % 2:
            outcomes += ledger.batch([Reserve(wallet, 4, job) for job, wallet in part])
            outcomes += ledger.batch([Charge(job, 3) for job, _ in part], atomic=True)
            outcomes += ledger.batch([Refund(job, 1) for job, _ in part])
        else:
            for job, wallet in part:
                outcomes.append(ledger.reserve(wallet, 4, key=job))
                outcomes.append(ledger.charge(job, 3))
                outcomes.append(ledger.refund(job, 1))
        new.update((fact.kind, fact.key) for fact in outcomes if not fact.replayed)
    return new


def test_batches_race_with_single_verbs_and_each_fact_is_once(database_url: str, book: str) -> None:
    with Book(database_url, book=book) as ledger:
        for wallet in ("studio", "annex"):
            ledger.top_up(wallet, 1_000, key=wallet)
        answers = together(database_url, book, batches_or_single_verbs)
        new = sum(answers, Counter())
        assert set(new.values()) == {1}
        assert len(new) == 240 * 3
        for wallet in ("studio", "annex"):
            assert len(entries_of(ledger, wallet)) == 2 + 120 * 3
            assert figures(ledger, wallet) == (1_000 - 120 * 2, 0, 1_000 - 120 * 2)


# Reading meanwhile


def reserve_and_settle(ledger: Book, worker: int) -> int:
    for number in range(150):
        job = f"{worker}-{number}"
        ledger.reserve("studio", 2, key=job, labels={"user": str(worker)})
        ledger.charge(job, 1)
    return 0


def look(ledger: Book, worker: int) -> int:
    """Look again and again, and find the book whole each time."""
    if worker:
        return reserve_and_settle(ledger, worker)
    looked = 0
    while ledger.balance("studio").seq < 3 + 3 * 300:
        assert ledger.verify().findings == ()
        balance = ledger.balance("studio")
        last = ledger.statement("studio").entries[balance.seq - 1]
        assert (balance.posted, balance.held) == (last.posted_after, last.held_after)
        looked += 1
    return looked


def test_a_reader_finds_the_book_whole_at_any_moment(database_url: str, book: str) -> None:
    with Book(database_url, book=book) as ledger:
        ledger.top_up("studio", 1_000, key="invoice-1")
        ledger.set_budget("studio", "each", 1_000, key="b1", match={"user": "*"})
        looked, *_ = together(database_url, book, look, workers=4)
        assert looked > 0


# Threads


def all_at_once(ledger: Book, calls: Sequence[Any]) -> list[Any]:
    """What threads get that begin at the same moment, errors of the ledger included."""
    gate = Barrier(len(calls))

    def at_the_gate(call: Any) -> Any:
        gate.wait(60)
        try:
            return call()
        except LedgerError as refused:
            return refused

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(at_the_gate, calls))


@pytest.mark.parametrize("memory", [False, True], ids=["file or server", "memory"])
def test_threads_may_share_a_book(database_url: str, book: str, memory: bool) -> None:
    with Book("sqlite://" if memory else database_url, book=book, clock=noon) as ledger:
        ledger.top_up("studio", 500, key="invoice-1")
        ledger.set_budget("studio", "each", 90, key="b1", match={"user": "*"})

        def work(worker: int) -> int:
            admitted = 0
            for number in range(100):
                labels = {"user": str(worker // 2)}
                try:
                    ledger.reserve("studio", 1, key=f"{worker}-{number}", labels=labels)
                    admitted += 1
                except BudgetExceeded:
                    assert ledger.balance("studio").held >= 90
            return admitted

        admitted = all_at_once(ledger, [partial(work, worker) for worker in range(8)])
        # 8 threads ask for 100 each; two of them share a user, who may have 90.
        assert sum(admitted) == 4 * 90
        assert len(entries_of(ledger)) == 3 + 360
        assert ledger.balance("studio").held == 360


def test_threads_that_repeat_one_call_get_one_answer(database_url: str, book: str) -> None:
    with Book(database_url, book=book, clock=noon) as ledger:
        ledger.top_up("studio", 100, key="invoice-1")
        for job in map(str, range(20)):
            calls = [partial(ledger.reserve, "studio", 1, key=job)] * 8
            answers = all_at_once(ledger, calls)
            assert sorted(entry.replayed for entry in answers) == [False] + [True] * 7
            assert len({entry.hash for entry in answers}) == 1
        assert len(entries_of(ledger)) == 22


# A process that forks

FORKS = """
import os, sys
from pathlib import Path
from ledger.book import Book

url, name, folder = sys.argv[1:]
ledger = Book(url, book=name)
ledger.reserve("studio", 1, key="before")  # its connection is kept
children = []
for child in range(3):
    pid = os.fork()
    if not pid:
        told = []
        for number in range(100):
            told.append(ledger.reserve("studio", 1, key=f"{child}-{number}").key)
        Path(folder, str(child)).write_text("\\n".join(told))
        os._exit(0)
    children.append(pid)
ledger.reserve("studio", 1, key="meanwhile")
ledger.close()  # and the parent is gone for the book, while its children go on
assert all(os.waitpid(pid, 0)[1] == 0 for pid in children)
Book(url, book=name).reserve("studio", 1, key="after")
"""


def forked(script: str, *given: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", script, *given],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_children_of_a_process_that_used_the_book_lose_nothing(
    database_url: str, book: str, tmp_path: Path
) -> None:
    with Book(database_url, book=book) as ledger:
        ledger.top_up("studio", 1_000, key="invoice-1")
    forked(FORKS, database_url, book, str(tmp_path))
    with Book(database_url, book=book) as ledger:
        told = {key for child in range(3) for key in (tmp_path / str(child)).read_text().split()}
        told |= {"before", "meanwhile", "after"}
        assert len(told) == 303
        reserved = {entry.key for entry in entries_of(ledger) if entry.kind == "reserve"}
        assert reserved == told


LEAVES = """
import os, sys
from ledger.book import Book

url, name = sys.argv[1:]
ledger = Book(url, book=name)
ledger.reserve("studio", 1, key="parent")
readable, writable = os.pipe()
if os.fork():
    # As a server that puts itself into the background.
    ledger.close()
    os._exit(0)
os.close(writable)
assert os.read(readable, 1) == b""  # the parent is gone
ledger.reserve("studio", 1, key="first")
writes = "import sys; from ledger.book import Book; Book(sys.argv[1], book=sys.argv[2])"
writes += ".reserve('studio', 1, key='other')"
other = os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", writes, url, name])
assert other == 0
ledger.reserve("studio", 1, key="second")
"""


def test_a_child_whose_parent_is_gone_shares_one_history_with_other_processes(
    database_url: str, book: str
) -> None:
    with Book(database_url, book=book) as ledger:
        ledger.top_up("studio", 1_000, key="invoice-1")
    forked(LEAVES, database_url, book)
    with Book(database_url, book=book) as ledger:
        keys = [entry.key for entry in entries_of(ledger) if entry.kind == "reserve"]
        assert keys == ["parent", "first", "other", "second"]


BUSY = """
import os, sys
from ledger.book import Book
from ledger.errors import StoreUnavailable

url, name = sys.argv[1:]
ledger = Book(url, book=name)
with ledger.engine.begin() as connection:
    ledger.join(connection).reserve("studio", 1, key="joined")
    pid = os.fork()
    if not pid:
        for use in (lambda: ledger.balance("studio"), lambda: Book(url, book=name)):
            try:
                use()
            except StoreUnavailable as error:
                assert "while this process was forked" in str(error)
            else:
                os._exit(1)
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
ledger.reserve("studio", 1, key="after")
"""


def test_a_child_of_a_fork_in_the_middle_of_it_is_refused_on_sqlite(
    sqlite_url: str, book: str
) -> None:
    with Book(sqlite_url, book=book) as ledger:
        ledger.top_up("studio", 1_000, key="invoice-1")
    forked(BUSY, sqlite_url, book)
    with Book(sqlite_url, book=book) as ledger:
        assert [entry.key for entry in entries_of(ledger)][2:] == ["joined", "after"]

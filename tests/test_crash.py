"""A writer may be killed at any moment: nothing acknowledged is lost, nothing is half written.

Writers follow a script and are killed with SIGKILL. Because the clock stands still, a run with
crashes must write the very same entries, hash by hash, as a run without.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import count
from random import Random
from typing import Any, NamedTuple

import writers
from writers import FUNDS, WALLETS, Step, noon

from ledger.book import Adjust, Book, Charge, Extend, Refund, Release, Reserve, TopUp

Heights = dict[str, int]
"""The last entry of every wallet."""
Statements = dict[str, list[tuple[Any, ...]]]
"""The entries of every wallet, without the name of the book and what follows from it."""


class Calm(NamedTuple):
    """A run without crashes."""

    outcomes: list[list[str]]
    """What the caller was told, by step."""
    heights: list[Heights]
    """How far the wallets were before each step, and after the last."""
    statements: Statements


def calm(steps: Sequence[Step]) -> Calm:
    """Follow a script without a crash."""
    with Book("sqlite://", clock=noon) as ledger:
        begin(ledger)
        heights, outcomes = [heights_of(ledger)], []
        for step in steps:
            outcomes.append(step.run(ledger))
            heights.append(heights_of(ledger))
        return Calm(outcomes, heights, statements_of(ledger))


def begin(ledger: Book) -> None:
    """What is there before a script."""
    FUNDS.run(ledger)
    ledger.set_budget("studio", "ads", 900_000, key="b-1", match={"team": "ads"}, thresholds=[1])
    ledger.set_budget("studio", "each", 900_000, key="b-2", match={"user": "*"}, period="day")


def heights_of(ledger: Book) -> Heights:
    return {wallet: ledger.balance(wallet).seq for wallet in WALLETS}


def statements_of(ledger: Book) -> Statements:
    return {
        wallet: [entry[1:19] for entry in ledger.statement(wallet).entries] for wallet in WALLETS
    }


def agrees(told: Sequence[str], expected: Sequence[str]) -> bool:
    """Whether a call says what it would without crashes; what was parked may be applied by now."""
    return len(told) == len(expected) and all(
        now == once or once.startswith("parked ") for now, once in zip(told, expected, strict=True)
    )


class Survivors:
    """The book between crashes, compared with the run without any."""

    def __init__(self, ledger: Book, steps: Sequence[Step], expected: Calm) -> None:
        self.steps, self.expected = steps, expected
        self.done = 0
        """How many steps have been acknowledged."""
        begin(ledger)

    def hear(self, acknowledgements: Sequence[tuple[int, list[str]]]) -> None:
        for place, outcomes in acknowledgements:
            assert agrees(outcomes, self.expected.outcomes[place])
            self.done = max(self.done, place + 1)

    def check(self, ledger: Book) -> None:
        """Everything acknowledged is there, and of the call that was cut off all or nothing."""
        assert ledger.verify().findings == ()
        found = statements_of(ledger)
        heights = {wallet: len(entries) for wallet, entries in found.items()}
        assert heights in self.expected.heights[self.done : self.done + 2]
        for wallet, entries in found.items():
            assert entries == self.expected.statements[wallet][: len(entries)]

    def finish(self, ledger: Book) -> None:
        """Every call again with the same keys completes the script and does nothing twice."""
        for step, once in zip(self.steps, self.expected.outcomes, strict=True):
            assert agrees(step.run(ledger), once)
        assert statements_of(ledger) == self.expected.statements
        assert ledger.verify().findings == ()


def test_a_killed_writer_loses_nothing_it_has_acknowledged(database_url: str, book: str) -> None:
    random = Random(20_261_010)
    kills = 110 if database_url.startswith("sqlite") else 36
    steps = writers.script(seed=1, jobs=kills * 8)
    with Book(database_url, book=book, clock=noon) as ledger:
        survivors = Survivors(ledger, steps, calm(steps))
    killed = 0
    while killed < kills:
        # Some calls are repeated, as by a caller who did not note that they were answered.
        first = max(0, survivors.done - random.randrange(3))
        heard_before_the_end = random.randrange(4)
        places = range(first, survivors.done + heard_before_the_end + 4)
        with writers.process(writers.follow, database_url, book, steps, places) as (writer, hears):
            heard: list[Any] = [hears.recv() for _ in range(heard_before_the_end + 1)]
            # A call takes about this long, so the end comes anywhere in the next one.
            writers.spin(random.uniform(0, 0.001))
            writer.kill()
            heard += writers.everything(hears)
        # A writer that had nothing left to do does not count.
        killed += None not in heard
        survivors.hear([item for item in heard if item is not None])
        with Book(database_url, book=book, clock=noon) as ledger:
            survivors.check(ledger)
    with Book(database_url, book=book, clock=noon) as ledger:
        survivors.finish(ledger)


EACH_VERB_ONCE = [
    Step((Reserve("studio", 40, "job-1", {"team": "ads", "user": "li"}),)),
    Step((Extend("job-1", "more", 10),)),
    Step((Charge("job-1", Decimal("12.5"), key="part", final=False),)),
    Step((Charge("job-1", 60),)),
    Step((Refund("job-1", 5),)),
    Step((Charge("job-2", 7),)),
    Step((Reserve("studio", 9, "job-2", {"user": "bo"}), Reserve("annex", 9, "job-3"))),
    Step((Release("job-3"),)),
    Step((TopUp("annex", 3, "invoice-9"),)),
    Step((Adjust("annex", "-1.00000001", "fix", "a slip"),)),
    Step((Reserve("studio", 4, "job-5"), Reserve("poor", 2, "job-4"), Charge("job-5", 4))),
    Step((Reserve("annex", 1, "job-7"), TopUp("studio", 1, "invoice-10")), atomic=True),
]


def test_a_writer_may_die_at_any_statement(database_url: str, book: str) -> None:
    expected = calm(EACH_VERB_ONCE)
    died_in = set()
    for statement in count(1):
        mine = f"{book}-{statement}"
        with Book(database_url, book=mine, clock=noon) as ledger:
            survivors = Survivors(ledger, EACH_VERB_ONCE, expected)
        with writers.process(
            writers.follow_until, database_url, mine, EACH_VERB_ONCE, statement
        ) as (writer, hears):
            survivors.hear(writers.everything(hears))
            writer.join()
            died = writer.exitcode != 0
        with Book(database_url, book=mine, clock=noon) as ledger:
            survivors.check(ledger)
            survivors.finish(ledger)
        if not died:
            break
        died_in.add(survivors.done)
    assert died_in == set(range(len(EACH_VERB_ONCE)))

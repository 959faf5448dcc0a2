"""A book whose jobs are priced: reserve from a quote, charge by the length that was made.

The book below knows only credits. What a quote was priced with is kept with its hold, so that a
charge months later is priced with the very same version; prompts and addresses are not kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple, get_args

from ledger.book import Book, told
from ledger.book.items import Reserve
from ledger.book.reading import Clock
from ledger.book.told import Applied, Imported
from ledger.book.work import Asked, Heard
from ledger.errors import Fault, InvalidEntry
from ledger.evolink import book_names, open_prices
from ledger.evolink.tasks import (
    Facts,
    State,
    TaskMessage,
    Wanted,
    facts_from,
    facts_of,
    facts_text,
    merged,
    read_messages,
    wanted,
)
from ledger.pricebook import PriceBook
from ledger.pricing import Charge, PriceSource, Quote
from ledger.pricing.terms import asked_seconds
from ledger.records import Hold, ImportRecord, TaskRecord, name
from ledger.requests import CatalogueJob
from ledger.store import tasks as stored
from ledger.units import plain

__all__ = ["PROBE_STATES", "TASK_STATES", "Ledger", "Probe", "TaskStatus", "heard"]

TASK_STATES: tuple[str, ...] = get_args(State)
"""States of a task, as its messages tell."""

PROBE_STATES = ("running", "unproven", "unpriced")
"""States in which the provider's next answer may settle a task."""

MOST_PROBED = 50
"""Most tasks of one batch query to the provider: `POST /v1/tasks/batch`, read 2026-11-22."""

_CAUGHT_UP_AT_ONCE = 500


class TaskStatus(NamedTuple):
    """A task of the provider, and what follows from its messages as the book stands now."""

    task: TaskRecord
    waits: bool
    """Whether it is still to be told which job it belongs to, or the job is not reserved."""
    net_e8: int | None
    """What it costs in the end, 10^-8 credits each; None is not known yet."""
    reason: str
    """Why; one sentence."""
    notes: tuple[str, ...]
    """What is contradictory or not certain."""


class Probe(NamedTuple):
    """What to ask the provider about now."""

    tasks: tuple[TaskRecord, ...]
    """Tasks that are not settled; those first heard of first."""
    silent: tuple[Hold, ...]
    """Holds past their deadline of which no task is known."""
    more: bool
    """Whether there are more tasks than were asked for."""


_SUBMITTED = Wanted(
    "running", "submitted", None, released=False, reason="nothing was heard of it yet", notes=()
)
"""What follows where somebody has only said which job a task belongs to."""


class _Provider:
    """What messages of the provider mean, as the book is told."""

    nothing = Facts()

    def read(self, body: str) -> list[Heard]:
        return [heard(message) for message in read_messages(body)]

    def merged(self, one: Facts, other: Facts) -> Facts:
        if not one.statuses:
            return other
        return merged(one, other) if other.statuses else one

    def text(self, facts: Facts) -> str:
        return facts_text(facts) if facts.statuses else "{}"

    def facts(self, text: str) -> Facts:
        return self.nothing if text == "{}" else facts_from(text)

    def since_us(self, facts: Facts) -> int | None:
        return facts.created_us

    def wanted(self, facts: Facts, expected_e8: int | None) -> Wanted:
        if not facts.statuses:
            return _SUBMITTED
        return wanted(facts, expected_e8=expected_e8)


def heard(message: TaskMessage) -> Heard:
    """A message as the book keeps it."""
    return Heard(
        message.task,
        message.job,
        message.model,
        message.received_us,
        message.body,
        facts_of(message),
    )


class Ledger(Book):
    """Wallets, holds and budgets of one tenant, with prices.

    >>> from ledger.requests import MotionControl
    >>> prices = PriceBook.bundled()
    >>> job = MotionControl(quality="1080p", character_orientation="video",
    ...     reference_seconds="12.4")
    >>> quote = prices.quote(job, at="2026-10-10")
    >>> with Ledger("sqlite://", prices=prices) as ledger:
    ...     _ = ledger.top_up("studio", 1_000, key="invoice-881")
    ...     hold = ledger.reserve("studio", quote, key="job-1", labels={"team": "ads"})
    ...     charge = ledger.charge("job-1", seconds="9.2")
    ...     print(hold.amount, charge.amount, ledger.balance("studio").available)
    141.5939616 108.918432 891.081568
    """

    def __init__(
        self,
        url: str,
        *,
        book: str = "main",
        clock: Clock | None = None,
        prices: PriceSource | None = None,
    ) -> None:
        super().__init__(url, book=book, clock=clock)
        self._prices = prices
        self._named: dict[str, PriceSource] = {}

    @property
    def prices(self) -> PriceSource:
        """What charges by length are priced with; the bundled price book, if none was given."""
        if self._prices is None:
            self._prices = PriceBook.bundled()
        return self._prices

    # Tasks of the provider

    telling = _Provider()

    def apply(
        self, messages: TaskMessage | str | bytes | Iterable[TaskMessage | str | bytes]
    ) -> list[Applied]:
        """Keep what the provider says of tasks, and do in the book what follows; once.

        Takes the JSON of a create response, a task query, a callback, a batch query or a task
        list, alone or as `{"job": …, "received_at": …, "body": …}`; or messages that were read
        from it. All of a call is one transaction. The same message again, and messages in another
        order, end in the same book: a job is charged what its tasks cost as far as is proven, and
        its hold is released where it is proven that they cost nothing.

        A task belongs to the job that a message's envelope or `link` names, or to the hold whose
        key is the task's own name; until that is reserved, the task waits. What the book refuses,
        such as a charge above a hold that rejects that, is no error: `reason` says why, and the
        next message, or `catch_up`, tries again.

        Raises:
            InvalidEntry: something else than JSON, such as what a parser made of it.
            InvalidMessage: a text that cannot be read; nothing was written.

        >>> body = '{"id": "task-unified-1", "status": "completed", "usage": {"credits_used": 25}}'
        >>> with Ledger("sqlite://") as ledger:
        ...     _ = ledger.top_up("studio", 100, key="invoice-1")
        ...     _ = ledger.reserve("studio", 40, key="job-1")
        ...     _ = ledger.link("job-1", "task-unified-1")
        ...     for _ in range(2):
        ...         applied = ledger.apply(body)[0]
        ...     print(applied.state, applied.known, ledger.balance("studio").available)
        settled 1 75
        """
        items: list[Heard] = []
        given: Any = messages
        if isinstance(given, (TaskMessage, str, bytes, Mapping)) or not isinstance(given, Iterable):
            given = [given]
        for item in given:
            if not isinstance(item, (TaskMessage, str, bytes)):
                kind = type(item).__name__
                problem = f"must be JSON as it came, so that amounts stay exact, not a {kind}"
                raise InvalidEntry("a message", [Fault("", problem)])
            found = [item] if isinstance(item, TaskMessage) else read_messages(item)
            items += map(heard, found)
        return self.tell(items)

    def tell(self, messages: Sequence[Heard], *, imported: Imported | None = None) -> list[Applied]:
        """The same for messages in the form the book keeps, and how far a file was read."""
        if not messages and imported is None:
            return []
        return self._do(lambda work: told.tell(work, messages, imported), careful=True)

    def link(self, job: str, task: str) -> Applied:
        """Say which job a task of the provider belongs to; the same again changes nothing.

        Best said as soon as the provider has answered with the task's name. What was heard of the
        task before is done now; so it is later, if the job is reserved later.

        Raises:
            InvalidEntry: what was given.
            TaskLinked: the task belongs to another job.
        """
        name(job, "the job"), name(task, "the task")
        return self._do(lambda work: told.link(work, job, task), careful=True)

    def catch_up(self) -> list[Applied]:
        """Do what tasks ask for that waited or were refused, where their jobs are reserved."""
        done: list[Applied] = []
        after = ""
        while True:
            with self._store.reading() as session:
                ids = stored.waiting_with_hold(
                    session, self.book, after=after, limit=_CAUGHT_UP_AT_ONCE
                )
            if not ids:
                return done
            done += self._do(lambda work, ids=ids: told.catch_up(work, ids), careful=True)  # type: ignore[misc]
            after = ids[-1]

    def tasks(
        self,
        *,
        state: str | None = None,
        unlinked: bool = False,
        waiting: bool = False,
        limit: int = 1000,
    ) -> list[TaskStatus]:
        """Tasks of the provider, those first heard of first.

        Args:
            state: only `running`, `settled`, `unproven`, `unpriced`, or `disputed` ones.
            unlinked: only those of which no job is known.
            waiting: only those that the book does not follow yet: their job is not known or not
                reserved, or the book has refused.
            limit: how many at most.

        Raises:
            InvalidEntry: what was given.
        """
        if state is not None and state not in TASK_STATES:
            problem = f"must be one of {', '.join(TASK_STATES)}, not {str(state)[:40]!r}"
            raise InvalidEntry("state", [Fault("", problem)])
        _counting(limit)
        with self._store.reading() as session:
            found = stored.tasks_in(
                session,
                self.book,
                states=() if state is None else (state,),
                unlinked=unlinked,
                waiting=waiting,
                limit=limit,
            )
            jobs = [task.job for task in found if task.job is not None]
            holds = {hold.job: hold for hold in session.holds(self.book, jobs) if hold.wallet}
        return [self._status(task, holds.get(task.job or "")) for task in found]

    def _status(self, task: TaskRecord, hold: Hold | None) -> TaskStatus:
        facts = self.telling.facts(task.facts)
        want = self.telling.wanted(facts, None if hold is None else hold.amount_e8)
        return TaskStatus(task, hold is None, want.net_e8, want.reason, want.notes)

    def task_counts(self) -> dict[str, int]:
        """How many tasks are `waiting`, and how many `running`, `unproven`, `unpriced`, `disputed`.

        Those that wait are counted in their state as well.
        """
        with self._store.reading() as session:
            found = stored.states(session, self.book)
        counts = dict.fromkeys(("waiting", *(item for item in TASK_STATES if item != "settled")), 0)
        for (state, applied), number in found.items():
            if state in counts:
                counts[state] += number
            counts["waiting"] += 0 if applied else number
        return counts

    def imported(self, kind: str, digest: bytes) -> ImportRecord | None:
        """How far a file was read into the book, by its SHA-256; None if it never was."""
        with self._store.reading() as session:
            return stored.read_import(session, self.book, kind, digest)

    def probe_list(self, *, limit: int = MOST_PROBED, older_than: timedelta | None = None) -> Probe:
        """What to ask the provider about now: tasks that are not settled, and silent holds.

        Args:
            limit: how many tasks at most; the provider takes 50 in one batch query.
            older_than: only tasks that nothing was heard of for so long, so that those that were
                asked about just now make room for others.

        Raises:
            InvalidEntry: what was given.
        """
        _counting(limit)
        now_us = self._now_us()
        if older_than is not None and older_than < timedelta(0):
            raise InvalidEntry("older than", [Fault("", "must not be less than nothing")])
        quiet_us = None if older_than is None else now_us - older_than // timedelta(microseconds=1)
        with self._store.reading() as session:
            found = stored.tasks_in(
                session, self.book, states=PROBE_STATES, quiet_since_us=quiet_us, limit=limit + 1
            )
            silent = stored.overdue_without_task(session, self.book, now_us, limit=limit)
        return Probe(tuple(found[:limit]), tuple(silent), len(found) > limit)

    # Prices

    def asked(self, item: Reserve) -> Asked:
        """The credits a reserve asks for: a quote's maximum, or the amount given.

        A quote adds the label `model`, unless the caller has one of that name.
        """
        quote = item.amount
        if not isinstance(quote, Quote):
            return super().asked(item)
        labels = {"model": quote.request.model, **(item.labels or {})}
        return Asked(quote.maximum_e8, labels, _kept(quote))

    def bill(self, price: Mapping[str, Any] | None, seconds: str | None) -> int:
        """Units of 10^-8 credit for a length, under the version a hold was quoted with.

        Raises:
            InvalidEntry: the hold was made for an amount, without a quote.
            NeedsLength: the price depends on the length, and none was given.
            UnknownVersion: the price source does not have that version.
        """
        if price is None:
            return super().bill(price, seconds)
        return self.charge_under(price, seconds).credits_e8

    def charge_under(self, price: Mapping[str, Any], seconds: str | None) -> Charge:
        """What a length is charged, with its terms, under the version a hold was quoted with.

        Args:
            price: what the hold keeps of its quote; `Hold.price`.
            seconds: the generated length, where one was told.

        Raises:
            NeedsLength: the price depends on the length, and none was given.
            UnknownVersion: the price source does not have that version.
        """
        prices = self._prices_of(price["version"])
        options = price.get("options")
        request = prices.job(
            price["model"],
            quality=price.get("quality"),
            character_orientation=price.get("character_orientation"),
            sound=price.get("sound"),
            seconds=price.get("seconds"),
            options=None if options is None else json.loads(options),
        )
        return prices.charge(
            request, seconds=seconds, version=price["version"], channel=price["channel"]
        )

    def _prices_of(self, version: str) -> PriceSource:
        """Where a version is looked up: the given prices if it is theirs, or the book it names."""
        book = version.partition("/")[0]
        if self._prices is not None and self._prices.name.partition("+")[0] == book:
            return self._prices
        if book not in self._named:
            self._named[book] = open_prices(book) if book in book_names() else self.prices
        return self._named[book]


def _counting(limit: int) -> None:
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise InvalidEntry("limit", [Fault("", "must be a whole number from 1 on")])


def _kept(quote: Quote) -> dict[str, str]:
    """What is kept of a quote: enough to price the same job again, and its digest."""
    request, terms = quote.request, quote.terms
    kept = {
        "model": request.model,
        "version": terms.version.id,
        "channel": terms.channel,
        "digest": quote.digest,
    }
    if isinstance(request, CatalogueJob) and request.options:
        kept["options"] = json.dumps(request.options, sort_keys=True, separators=(",", ":"))
    for option in ("quality", "character_orientation", "sound"):
        if (value := getattr(request, option, None)) is not None:
            kept[option] = value
    # A price on the generated length does not depend on the reference; the others do.
    length = None if terms.settles_on == "output" else asked_seconds(request)
    return kept if length is None else kept | {"seconds": plain(length)}

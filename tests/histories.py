"""Random histories of wallets: what people and jobs ask of a book, one call after another."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from hypothesis import strategies as st
from writers import Clock, do

from ledger.book import Adjust, Book, Charge, Extend, Refund, Release, Reserve, TopUp
from ledger.book.items import Item
from ledger.errors import LedgerError
from ledger.records import Entry, Policy, closed_periods
from ledger.units import e8_to_credits

PLAIN_WALLETS = ("studio", "annex")

# Few jobs and amounts of one size, so that charges, refunds and debts meet each other.
AMOUNTS = st.one_of(
    st.integers(1, 60 * 10**8), st.sampled_from([1, 3, 10**8, 7 * 10**8, 40 * 10**8])
).map(e8_to_credits)
CASH = st.one_of(st.none(), st.integers(0, 9 * 10**8).map(e8_to_credits))
JOBS = tuple(f"job-{number}" for number in range(4))
BACK = st.sampled_from([None, None, None, timedelta(hours=5), timedelta(days=9)])
FORWARD = st.sampled_from([None, None, timedelta(minutes=10), timedelta(days=4)])

POLICIES: tuple[Policy, ...] = ("owe", "owe", "draw", "cap")


class Close(NamedTuple):
    """Everything up to the beginning of a day is closed."""

    days_back: int
    timezone: str


class Reopen(NamedTuple):
    """What was closed last is opened again."""


Moves = Sequence[tuple[timedelta | None, timedelta | None, Item | Close | Reopen]]
"""How far the clock goes forward, how far back the call says it happened, and the call."""

MARKS = st.one_of(
    st.builds(Close, st.integers(0, 3), st.sampled_from(["UTC", "UTC", "Asia/Shanghai"])),
    st.builds(Close, st.integers(0, 3), st.just("UTC")),
    st.builds(Reopen),
)


@st.composite
def _items(
    draw: st.DrawFn, wallets: Sequence[str], jobs: Sequence[str], labels: Sequence[str]
) -> Item:
    amount, key = draw(AMOUNTS), f"key-{draw(st.integers(0, 10**9))}"
    wallet, job = draw(st.sampled_from(wallets)), draw(st.sampled_from(jobs))
    kind = draw(
        st.sampled_from([TopUp, TopUp, Reserve, Charge, Charge, Charge, Refund, Refund, None])
    )
    if kind is TopUp:
        cash = draw(CASH)
        currency = None if cash is None else draw(st.sampled_from(["USD", "USD", "EUR"]))
        return TopUp(
            wallet,
            amount,
            key,
            cash=cash,
            currency=currency,
            promotional=cash is None and draw(st.booleans()),
        )
    if kind is Reserve:
        named = {"team": draw(st.sampled_from(labels))} if draw(st.booleans()) else None
        policy = draw(st.sampled_from(POLICIES))
        return Reserve(wallet, amount, job, labels=named, policy=policy)
    if kind is Charge:
        return Charge(job, amount, key=key, final=draw(st.booleans()))
    if kind is Refund:
        return Refund(job, draw(st.sampled_from([None, None, amount])), key)
    if draw(st.booleans()):
        way = draw(st.sampled_from(["up", "down"]))
        return Adjust(wallet, amount if way == "up" else -amount, key, reason="counted again")
    if draw(st.booleans()):
        return Extend(job, key, amount)
    return Release(job)


def histories(
    wallets: Sequence[str] = PLAIN_WALLETS,
    jobs: Sequence[str] = JOBS,
    labels: Sequence[str] = ("ads", "art"),
    *,
    most: int = 40,
) -> st.SearchStrategy[Moves]:
    """Calls in an order, from top-ups that some lots expire of to refunds into debts."""
    return st.lists(
        st.tuples(
            FORWARD,
            BACK,
            # One call in eight is about periods.
            st.integers(0, 7).flatmap(
                lambda which: _items(wallets, jobs, labels) if which else MARKS
            ),
        ),
        min_size=8,
        max_size=most,
    )


LASTS = (None, timedelta(minutes=5), timedelta(days=5))


def play(
    book: Book,
    clock: Clock,
    moves: Moves,
    wallets: Sequence[str] = PLAIN_WALLETS,
    jobs: Sequence[str] = JOBS,
) -> None:
    """Make the calls; what the book refuses is no part of the history."""
    # Without limits and reserved jobs most calls would be refused or wait.
    for wallet in wallets:
        book.open_wallet(wallet, credit_limit=500)
    book.top_up(wallets[0], 30, key="first", cash="0.44", currency="USD")
    for number, job in enumerate(jobs):
        book.reserve(wallets[number // 3 % len(wallets)], 1, key=job)
    for number, (forward, back, item) in enumerate(moves):
        clock.now += forward or timedelta(0)
        if isinstance(item, Close | Reopen):
            _mark(book, clock, item)
            continue
        more: dict[str, Any] = {}
        if isinstance(item, TopUp) and (lasts := LASTS[number % 3]) is not None:
            more["expires"] = clock.now + lasts
        if back is not None:
            more["at"] = clock.now - back
        try:
            do(book, item._replace(**more))
        except LedgerError:
            continue
    clock.now += timedelta(days=9)
    for wallet in wallets:
        book.lapse(wallet)


def _mark(book: Book, clock: Clock, mark: Close | Reopen) -> None:
    closed = closed_periods(book.periods())
    last = closed[-1] if closed else None
    try:
        if isinstance(mark, Close):
            zone = ZoneInfo(mark.timezone)
            since = last.end.astimezone(zone).date() if last else "2026-09-01"
            until = (clock.now.astimezone(zone) - timedelta(days=mark.days_back)).date()
            book.close_period(f"{since}/{until}", timezone=mark.timezone, unreconciled="no bill")
        elif last:
            book.reopen_period(last.name, reason="one more invoice")
    except LedgerError:
        return


def entries(book: Book, wallet: str) -> tuple[Entry, ...]:
    """All entries of a wallet, in order."""
    return book.statement(wallet).entries

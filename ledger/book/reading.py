"""Looking into a book: balances, statements, holds, budgets and proofs; nothing here writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

from ledger.book.items import Reserve
from ledger.book.verify import Verification, verify
from ledger.book.work import Asked, Work
from ledger.errors import Fault, InvalidEntry
from ledger.lots import lapsable_e8
from ledger.records import Balance, Entry, Hold, name, us
from ledger.store import Store
from ledger.units import credits_to_e8

__all__ = ["Clock", "Reader"]

Clock = Callable[[], datetime]


class Reader:
    """The reading half of a book."""

    def __init__(self, store: Store, book: str, clock: Clock | None) -> None:
        self.book = name(book, "the book")
        self._clock = clock
        self._store = store

    def __enter__(self) -> Self:
        """The book itself; it closes at the end."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every connection."""
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._store.close()

    def balance(self, wallet: str) -> Balance:
        """What a wallet holds now; one read, whatever its age.

        Raises:
            UnknownWallet: there is no such wallet.
        """
        now_us = self._now_us()
        with self._store.reading() as session:
            found = Work(session, self.book, now_us, pricing=self, trusting=True).wallet(wallet)
            lapsing_e8 = 0
            if found.expires_at_us is not None and found.expires_at_us <= now_us:
                lots = session.lots(self.book, wallet, complete=False)
                lapsing_e8 = lapsable_e8(lots, found.held_e8, now_us)
        return Balance(
            wallet,
            found.posted_e8,
            found.held_e8,
            found.credit_limit_e8,
            lapsing_e8,
            found.seq,
        )

    def hold(self, job: str) -> Hold:
        """The hold of a job.

        Raises:
            UnknownJob: there is no such hold.
        """
        with self._store.reading() as session:
            return Work(session, self.book, self._now_us(), pricing=self, trusting=True).hold(job)

    def statement(self, wallet: str) -> list[Entry]:
        """Every entry of a wallet, in order, with running balances.

        Raises:
            UnknownWallet: there is no such wallet.
        """
        with self._store.reading() as session:
            Work(session, self.book, 0, pricing=self, trusting=True).wallet(wallet)
            return session.entries(self.book, wallet)

    def verify(self) -> Verification:
        """Replay every entry and compare everything that follows from them.

        `findings` is empty where the book agrees with itself; the first one stands first.
        """
        with self._store.reading() as session:
            return verify(session, self.book)

    # What the book must be told about prices

    def asked(self, item: Reserve) -> Asked:
        """The credits a reserve asks for."""
        return Asked(credits_to_e8(item.amount), item.labels, None)

    def bill(self, price: Mapping[str, Any] | None, seconds: str) -> int:  # noqa: ARG002
        """A plain book knows no prices.

        Raises:
            InvalidEntry: always.
        """
        problem = "needs the credits charged: the hold carries no price to charge seconds with"
        raise InvalidEntry("charge", [Fault("", problem)])

    def _now_us(self) -> int:
        return us(datetime.now(UTC) if self._clock is None else self._clock())

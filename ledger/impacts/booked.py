"""The jobs of a book under two price sources: what was charged by its length is priced again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from ledger.errors import Fault, InvalidEntry
from ledger.impacts.effects import Split
from ledger.impacts.pairs import Pair
from ledger.impacts.results import Tally
from ledger.pricing import Charge, PriceSource, Terms
from ledger.requests import Request

if TYPE_CHECKING:
    from ledger.book.reading import Reader
    from ledger.records import Hold

__all__ = ["BookReader"]

_EVERY = 2**62
"""More holds than there can be."""

_NO_QUOTE = "reserved for an amount, without a quote"
_BY_AMOUNT = "charged by an amount, not by its length"
_REFUNDED = "refunded in full"

Price = Mapping[str, str]
"""What a hold keeps of its quote."""


class _Charged(NamedTuple):
    """What the charges of one job say about its length."""

    seconds: list[str | None]
    """Length of each charge; None for a price per call, or on the length asked for."""
    is_priced: bool
    """Whether every charge was priced by the book, and none was an amount that was handed in."""


class BookReader:
    """Adds the charged jobs of a book to a tally; equal jobs are priced once."""

    def __init__(self, pair: Pair, at: datetime | None) -> None:
        self._pair, self._at = pair, at
        self._outcomes: dict[tuple[str, ...], Split | str] = {}
        self._requests: dict[tuple[int, str], Request] = {}
        self._labels: set[str] = {"model", "quality", "character_orientation", "sound"}
        self._done = 0

    def add(
        self,
        tally: Tally,
        book: Reader,
        *,
        by: Sequence[str],
        progress: Callable[[int], None] | None,
    ) -> str:
        """Add every job that was charged; gives what to call the book.

        Raises:
            InvalidEntry: no job has a label that is to be grouped by.
        """
        for wallet in book.wallets():
            charged = _charged(book, wallet.wallet)
            # Read after its charges, a job that was charged is among the holds.
            holds = book.holds(wallet=wallet.wallet, limit=_EVERY) if charged else []
            for hold in holds:
                if hold.job in charged:
                    self._add_job(tally, hold, charged[hold.job], by)
                    self._done += 1
                    if progress is not None:
                        progress(self._done)
        if tally.groups:
            self._check_grouping(by)
        return f"book {book.book}"

    def _add_job(self, tally: Tally, hold: Hold, charged: _Charged, by: Sequence[str]) -> None:
        price = hold.price
        if price is None:
            tally.leave_out(_NO_QUOTE)
        elif not charged.is_priced:
            tally.leave_out(_BY_AMOUNT)
        elif hold.refunded_e8 >= hold.charged_e8 > 0:
            tally.leave_out(_REFUNDED)
        else:
            labels = {**hold.label_values, **_shown(price)}
            labels["model"] = self._pair.model(price["model"]) or ""
            self._labels.update(labels)
            key = tuple(labels.get(name) for name in by)
            at = hold.reserved_at if self._at is None else self._at
            tally.add(key, self._outcome(price, charged.seconds, at), 1)

    def _outcome(self, price: Price, lengths: Sequence[str | None], at: datetime) -> Split | str:
        """One job; where it was charged in parts, each of them is priced as it was."""
        splits: list[Split] = []
        for seconds in lengths:
            outcome = self._priced(price, seconds, at)
            if isinstance(outcome, str):
                return outcome
            splits.append(outcome)
        return splits[0] if len(splits) == 1 else _together(splits)

    def _priced(self, price: Price, seconds: str | None, at: datetime) -> Split | str:
        channel = price["channel"]
        job = json.dumps([price.get(name) for name in _KEPT])

        def terms(source: PriceSource) -> Terms:
            return source.terms(self._request(source, price, job), at=at, channel=channel)

        def charge(source: PriceSource) -> Charge:
            request = self._request(source, price, job)
            return source.charge(request, seconds=seconds, at=at, channel=channel)

        # The moments of two jobs differ; what they cost does, where the versions do.
        both = self._pair.ask(terms)
        if isinstance(both, str):
            return both
        key = (job, channel, seconds or "", *(item.version.id for item in both))
        found = self._outcomes.get(key)
        if found is None:
            charges = self._pair.ask(charge)
            found = charges if isinstance(charges, str) else self._pair.split(*charges)
            self._outcomes[key] = found
        return found

    def _request(self, source: PriceSource, price: Price, job: str) -> Request:
        key = id(source), job
        found = self._requests.get(key)
        if found is None:
            found = self._requests[key] = _request(source, price)
        return found

    def _check_grouping(self, by: Sequence[str]) -> None:
        faults = [
            Fault(name, f"is a label of no job; there are {', '.join(sorted(self._labels))}")
            for name in by
            if name not in self._labels
        ]
        if faults:
            raise InvalidEntry("labels to group by", faults)


_KEPT = ("model", "quality", "character_orientation", "sound", "seconds", "options")


def _charged(book: Reader, wallet: str) -> dict[str, _Charged]:
    """The charges of a wallet by job; the amounts are not looked at."""
    found: dict[str, _Charged] = {}
    for line in book.statement(wallet).lines:
        entry = line.entry
        if entry.kind == "charge" and entry.job is not None:
            facts = entry.details
            before = found.get(entry.job, _Charged([], is_priced=True))
            found[entry.job] = _Charged(
                [*before.seconds, facts.get("seconds")],
                is_priced=before.is_priced and bool(facts.get("priced")),
            )
    return found


def _shown(price: Price) -> dict[str, str]:
    return {name: price[name] for name in _KEPT[1:4] if name in price}


def _request(source: PriceSource, price: Price) -> Request:
    options = price.get("options")
    return source.job(
        price["model"],
        quality=price.get("quality"),
        character_orientation=price.get("character_orientation"),
        sound=price.get("sound"),
        seconds=price.get("seconds"),
        options=None if options is None else json.loads(options),
    )


def _together(splits: Sequence[Split]) -> Split:
    """The parts of one job as one."""
    effects_e8 = tuple(map(sum, zip(*(split.effects_e8 for split in splits), strict=True)))
    return Split(
        sum(split.first_e8 for split in splits),
        sum(split.second_e8 for split in splits),
        effects_e8,
        tuple(item for split in splits for item in split.differs),
    )

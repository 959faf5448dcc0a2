"""A book whose jobs are priced: reserve from a quote, charge by the length that was made.

The book below knows only credits. What a quote was priced with is kept with its hold, so that a
charge months later is priced with the very same version; prompts and addresses are not kept.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ledger.book import Book
from ledger.book.items import Reserve
from ledger.book.reading import Clock
from ledger.book.work import Asked
from ledger.evolink import book_names, open_prices
from ledger.pricebook import PriceBook
from ledger.pricing import PriceSource, Quote
from ledger.pricing.terms import asked_seconds
from ledger.requests import CatalogueJob
from ledger.units import plain

__all__ = ["Ledger"]


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
        ).credits_e8

    def _prices_of(self, version: str) -> PriceSource:
        """Where a version is looked up: the given prices if it is theirs, or the book it names."""
        book = version.partition("/")[0]
        if self._prices is not None and self._prices.name.partition("+")[0] == book:
            return self._prices
        if book not in self._named:
            self._named[book] = open_prices(book) if book in book_names() else self.prices
        return self._named[book]


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

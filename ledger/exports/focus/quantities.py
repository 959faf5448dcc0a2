"""What was bought with a charge: seconds, requests, or just credits, and the price of one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from ledger.book import Book
from ledger.errors import LedgerError
from ledger.exports.focus.table import AMOUNT_SCALE, PRICE_SCALE
from ledger.jobs import Ledger
from ledger.pricing import Charge, Terms
from ledger.pricing.terms import PREFERRED
from ledger.units import divide, parse_seconds

__all__ = ["CREDIT_SKU", "Quantities", "Sku", "Sold"]

CREDIT_SKU = "evolink-credits"
"""SkuId of credits: of those bought, and of those charged where nothing else is known."""

_ONE_E16 = 10**PRICE_SCALE
_MOST_KNOWN = 100_000
"""Charges whose quantities are remembered; forgotten together when there are more."""


class Sku(NamedTuple):
    """What a quantity is of; a thousand charges share one."""

    unit: str
    """Seconds, Requests, or Credits."""
    meter: str
    sku: str
    price_id: str
    details: str | None
    """Options that the price depends on, as JSON."""
    unit_price_e16: int
    """Credits for one unit, in units of 10^-16."""
    version: str | None
    description: str | None


class Sold(NamedTuple):
    """The quantity of one charge."""

    sku: int
    """Place of its `Sku` in `Quantities.skus`."""
    quantity_e8: int
    """Units after rounding, in 10^-8."""
    consumed_e8: int
    """Units before, as far as known."""


_CREDITS = Sku("Credits", "Credits", CREDIT_SKU, f"{CREDIT_SKU}#1", None, _ONE_E16, None, None)


class Quantities:
    """Works out the quantity of charges; what is the same for many is worked out once."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._places: dict[Sku, int] = {_CREDITS: 0}
        self._known: dict[tuple[int, str | None, int, bool], Sold] = {}
        self._terms: dict[str | None, int] = {}
        self._numbers: dict[str, int] = {}

    @property
    def skus(self) -> tuple[Sku, ...]:
        """All that was found so far; what is there keeps its place."""
        return tuple(self._places)

    def of(self, terms: str | None, seconds: str | None, amount_e8: int, *, priced: bool) -> Sold:
        """The quantity of a charge.

        A charge that the book worked out itself has the quantity of its price; one that was told
        as an amount has the quantity that comes to exactly that under the price of its hold, if
        there is one. Otherwise the quantity is the credits.

        Args:
            terms: JSON of the hold's terms.
            seconds: the length that was told.
            amount_e8: what was asked for, taken or not.
            priced: whether the book has worked it out from the length.
        """
        place = (self._shared(terms), seconds, amount_e8, priced)
        found = self._known.get(place)
        if found is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            found = self._known[place] = self._work_out(terms, seconds, amount_e8, priced=priced)
        return found

    def _shared(self, terms: str | None) -> int:
        """What terms share with those of other quotes: all but the digest, as a number."""
        found = self._terms.get(terms)
        if found is None:
            if len(self._terms) >= _MOST_KNOWN:
                self._terms.clear()
            head, _, rest = (terms or "").partition('"digest":"')
            shared = head + rest.partition('"')[2]
            found = self._terms[terms] = self._numbers.setdefault(shared, len(self._numbers))
        return found

    def _work_out(
        self, terms: str | None, seconds: str | None, amount_e8: int, *, priced: bool
    ) -> Sold:
        price: dict[str, Any] | None = json.loads(terms).get("price") if terms else None
        if price is None:
            return Sold(0, amount_e8, amount_e8)
        charge = self._charge(price, seconds, amount_e8, priced=priced)
        if charge is None:
            return Sold(self._place(_told(price)), amount_e8, amount_e8)
        quantity_e8 = _scaled(charge.quantity, AMOUNT_SCALE)
        consumed_e8 = quantity_e8
        if seconds is not None and charge.terms.unit == "second":
            consumed_e8 = _scaled(parse_seconds(seconds), AMOUNT_SCALE)
        return Sold(self._place(_sold_under(price, charge.terms)), quantity_e8, consumed_e8)

    def _place(self, sku: Sku) -> int:
        return self._places.setdefault(sku, len(self._places))

    def _charge(
        self, price: Mapping[str, Any], seconds: str | None, amount_e8: int, *, priced: bool
    ) -> Charge | None:
        """The charge that comes to an amount under the price of a hold, if one is found."""
        if not isinstance(self._book, Ledger):
            return None
        try:
            # Any length will do to learn the terms.
            charge = self._book.charge_under(price, seconds or "1")
            if priced or charge.credits_e8 == amount_e8:
                return charge if charge.credits_e8 == amount_e8 else None
            unit_price = charge.terms.unit_price
            if charge.terms.unit != "second" or not unit_price:
                return None
            up, down = unit_price.as_integer_ratio()
            length, rest = divmod(amount_e8 * down, up)
            if rest or not length:
                return None
            again = charge.terms.bill(Decimal(length).scaleb(-AMOUNT_SCALE))
        except LedgerError:
            # A charge is a fact, whether or not its price is at hand.
            return None
        return again if again.credits_e8 == amount_e8 else None


def _sold_under(price: Mapping[str, Any], terms: Terms) -> Sku:
    """Seconds or requests, under the terms of a price."""
    unit, meter = ("Seconds", "Generated Seconds")
    if terms.unit == "call":
        unit, meter = ("Requests", "Requests")
    return Sku(
        unit,
        meter,
        _model(price),
        _price_id(price, ",".join(_options(price))),
        _details(price),
        _scaled(terms.unit_price, PRICE_SCALE),
        str(price["version"]),
        f"{price['model']}, {terms.options}",
    )


def _told(price: Mapping[str, Any]) -> Sku:
    """Credits, for a job whose price does not come to what was charged."""
    said = [str(price["model"]), *_options(price)]
    return _CREDITS._replace(
        sku=_model(price),
        price_id=_price_id(price, "told"),
        details=_details(price),
        version=str(price["version"]),
        description=", ".join(said),
    )


_OPTIONS = {
    "quality": "x_Quality",
    "character_orientation": "x_CharacterOrientation",
    "sound": "x_Sound",
    "channel": "x_Channel",
    "options": "x_Options",
}
"""What a price depends on → its name in SkuPriceDetails."""


def _options(price: Mapping[str, Any]) -> list[str]:
    """The options of a price, without the channel that all prices name first."""
    values = (price.get(name) for name in _OPTIONS if price.get(name) != PREFERRED)
    return [str(value) for value in values if value is not None]


def _model(price: Mapping[str, Any]) -> str:
    """A SkuId: what is made, whatever its price."""
    quality = price.get("quality")
    return str(price["model"] if quality is None else f"{price['model']}/{quality}")


def _price_id(price: Mapping[str, Any], option: str) -> str:
    """A SkuPriceId: one unit price, which a version of a price has one of for each option."""
    return f"{price['version']}#{option}" if option else str(price["version"])


def _details(price: Mapping[str, Any]) -> str:
    details = {key: price[name] for name, key in _OPTIONS.items() if price.get(name) is not None}
    return json.dumps(details, ensure_ascii=False, separators=(",", ":"))


def _scaled(number: Decimal, scale: int) -> int:
    """A number in units of 10^-scale, rounded half up."""
    numerator, denominator = number.as_integer_ratio()
    return divide(numerator * 10**scale, denominator, "half_up")

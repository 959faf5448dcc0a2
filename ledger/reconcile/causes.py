"""Why a bill charges another amount: the same job priced in other ways, by the same function.

Every alternative comes from price data: other versions and other books, figure by figure or as a
whole, other ways to round, other options that the model has, and other lengths that the book or
the bill knows. One that gives the bill's amount to the last digit explains the difference; which
one is taken is decided over all differences together (`choice`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, NamedTuple

from ledger.errors import CannotPrice, InvalidInput
from ledger.evolink import open_prices
from ledger.pricebook import PriceBook
from ledger.pricing import PREFERRED, PriceSource, Terms
from ledger.reconcile.breaks import seconds_text
from ledger.reconcile.choice import (
    BOOK,
    FIGURE,
    HOLD,
    LENGTH,
    OPTION,
    OWN,
    PLAIN,
    ROUNDING,
    TWO_AT_ONCE,
    UNIT,
    VERSION,
    WHOLE_SECONDS,
    Explanation,
)
from ledger.reconcile.ways import Way, figures, is_plain, longest, roundings, versions
from ledger.records import moment
from ledger.requests import Request
from ledger.units import (
    CREDIT_E8,
    MAX_AMOUNT_E8,
    MAX_SECONDS,
    divide,
    parse_seconds,
    plain,
    show_credits,
)

__all__ = ["Alternatives", "Question", "Tried", "other_books"]

_UC = 10_000
"""Units in which the provider counts inside; a credit has so many."""


class Question(NamedTuple):
    """A charge that the bill has with another amount."""

    terms: str | None
    """JSON of what the charge was priced with."""
    version: str | None
    channel: str | None
    model: str | None
    quality: str | None
    orientation: str | None
    seconds: str | None
    """Length that was charged here."""
    their_seconds_us: int | None
    """Length on the bill."""
    their_quality: str | None
    """Quality on the bill."""
    hold_e8: int
    """What was set aside for the job."""
    ours_e8: int
    theirs_e8: int
    at_us: int | None


class Tried(NamedTuple):
    """What came of trying everything for one charge."""

    rests_on: Mapping[str, Any]
    """The price that our own charge rests on."""
    fits: tuple[Explanation, ...]
    """What gives the bill's amount."""


class _Known(NamedTuple):
    """What jobs with the same options under the same price have in common."""

    request: Request
    terms: Terms
    ways: tuple[Way, ...]
    rounded: tuple[tuple[Way, Way], ...]
    """Ways, each with another rounding besides: thousands of lengths are asked about them."""
    free: Terms
    """The terms without a shortest or longest length, and without a smallest charge."""


_Answers = Mapping[int, tuple[Explanation, ...]]


def other_books(prices: PriceSource) -> tuple[PriceSource, ...]:
    """The price books that come with the library, but for the one given.

    Of a book with overlays the one without them is another book: perhaps a bill forgot a discount.
    """
    names = (name for name in PriceBook.bundled_names() if name != prices.name)
    return tuple(PriceBook.bundled(name) for name in names)


class Alternatives:
    """Prices jobs in other ways; equal jobs are priced once."""

    def __init__(self, prices: PriceSource, others: Sequence[PriceSource]) -> None:
        self._sources = (prices, *others)
        self._known: dict[tuple[str | None, ...], _Known | None] = {}
        self._answers: dict[tuple[Any, ...], _Answers] = {}
        self._tried: dict[tuple[Any, ...], Tried] = {}
        self._reread: dict[str, PriceSource] = {}

    def explain(self, question: Question) -> Tried:
        """Everything that gives the bill's amount, and what our own rests on."""
        price = _price(question)
        known = self._known_of(_key(price), price, question)
        is_held = question.theirs_e8 == question.hold_e8
        amounts = question.ours_e8, question.theirs_e8, is_held
        # What is known is kept for good, so no other can have its identity.
        key = id(known), question.seconds, question.their_seconds_us, *amounts
        if key not in self._tried:
            fits = tuple(self._fits(known, question))
            self._tried[key] = Tried(_rests_on(known), fits)
        return self._tried[key]

    def _fits(self, known: _Known | None, question: Question) -> Iterator[Explanation]:
        ours_e8, theirs_e8 = question.ours_e8, question.theirs_e8
        if ours_e8 and (theirs_e8 == ours_e8 * _UC or theirs_e8 * _UC == ours_e8):
            yield _unit(ours_e8, theirs_e8, None)
        if theirs_e8 == question.hold_e8 != ours_e8:
            cause = "the length reserved instead of the one generated"
            facts = {"held": show_credits(theirs_e8)}
            yield Explanation(cause, "billed_seconds", HOLD, PLAIN, facts)
        if known is None:
            return
        answers = self._answers_of(known, question)
        yield from answers.get(theirs_e8, ())
        yield from _whole_seconds(known, question)
        for amount_e8 in (theirs_e8 * _UC, *([theirs_e8 // _UC] if theirs_e8 % _UC == 0 else [])):
            for item in answers.get(amount_e8, ()):
                if item.tier == PLAIN and amount_e8 != ours_e8:
                    yield _unit(amount_e8, theirs_e8, item)

    # What a job's options and price are

    def _known_of(
        self, key: tuple[str | None, ...], price: Mapping[str, Any], question: Question
    ) -> _Known | None:
        key = (*key, question.their_quality)
        if price.get("version") is None:
            key = (*key, str(question.at_us))
        if key not in self._known:
            self._known[key] = self._resolve(price, question)
        return self._known[key]

    def _resolve(self, price: Mapping[str, Any], question: Question) -> _Known | None:
        for source in self._asked(price.get("version")):
            try:
                request = _request(source, price)
                terms = self._terms(source, request, price, question)
            except (CannotPrice, InvalidInput):
                continue
            ways = tuple(self._ways(source, price, terms, question))
            rounded = tuple(
                (way, second)
                for way in ways
                if way.kind != "rounding" or way.rank >= FIGURE
                for second in roundings(way.terms)
            )
            return _Known(request, terms, ways, rounded, _free(terms))
        return None

    def _asked(self, version: str | None) -> Iterator[PriceSource]:
        """Where a version may be found: the sources given, and the book that its name names."""
        yield from self._sources
        book = (version or "").partition("/")[0]
        if book and book not in self._reread:
            try:
                self._reread[book] = open_prices(book)
            except InvalidInput:
                return
        if book:
            yield self._reread[book]

    def _terms(
        self,
        source: PriceSource,
        request: Request,
        price: Mapping[str, Any],
        question: Question,
    ) -> Terms:
        """The terms a job was charged under; those of its day, where nothing was kept of them."""
        version = price.get("version")
        at = None if question.at_us is None else moment(question.at_us)
        channel = price.get("channel") or PREFERRED
        return source.terms(request, at=at, version=version, channel=channel)

    # Other ways to price it

    def _ways(
        self,
        source: PriceSource,
        price: Mapping[str, Any],
        terms: Terms,
        question: Question,
    ) -> Iterator[Way]:
        yield from roundings(terms)
        for other, kind_of_source in self._other_terms(source, price, terms, question):
            single = list(figures(terms, other))
            yield from single
            changes = len(single) + (terms.quantity_rounding != other.quantity_rounding)
            date = f"{other.version.effective_from:%Y-%m-%d}"
            cause = f"{other.version.book} prices from {date}"
            facts = versions(terms.version, other.version)
            yield Way(cause, "price_version", kind_of_source, other, facts, max(2, changes))
        yield from self._other_options(source, price, terms, question)
        if terms.dearest is not None:
            cause = f"channel {terms.dearest.channel} instead of {terms.channel}"
            yield Way(cause, "price_version", FIGURE, terms.dearest, {})

    def _other_terms(
        self,
        source: PriceSource,
        price: Mapping[str, Any],
        terms: Terms,
        question: Question,
    ) -> Iterator[tuple[Terms, int]]:
        """The terms of the same options under every other version of every source."""
        at = None if question.at_us is None else moment(question.at_us)
        for other in (source, *(item for item in self._sources if item is not source)):
            rank = VERSION if other is source else BOOK
            try:
                request = _request(other, price)
                found = [
                    other.terms(request, at=at, version=version)
                    for version in _version_ids(other, request.model)
                ]
            except (CannotPrice, InvalidInput):
                continue
            yield from ((item, rank) for item in found if item.version.id != terms.version.id)

    def _other_options(
        self,
        source: PriceSource,
        price: Mapping[str, Any],
        terms: Terms,
        question: Question,
    ) -> Iterator[Way]:
        limits = source.limits(terms.version.model)
        values = {} if limits is None else limits.values
        for option in ("quality", "sound", "character_orientation"):
            known = dict.fromkeys(values.get(option, _VALUES[option]))
            if option == "quality" and question.their_quality:
                known.setdefault(question.their_quality)
            for value in known:
                was = price.get(option)
                if value == was:
                    continue
                try:
                    other = self._terms(
                        source, _request(source, {**price, option: value}), price, question
                    )
                except (CannotPrice, InvalidInput):
                    continue
                name = option.replace("_", " ")
                cause = f"{name} {value} instead of {was or 'the default'}"
                facts = {"credits_per_unit_there": plain(other.unit_price)}
                yield Way(cause, "option", OPTION, other, facts)

    # What they come to

    def _answers_of(self, known: _Known, question: Question) -> _Answers:
        key = id(known), question.seconds, question.their_seconds_us
        if key not in self._answers:
            found: dict[int, dict[str, Explanation]] = {}
            for amount_e8, item in _priced(known, question):
                found.setdefault(amount_e8, {}).setdefault(item.cause, item)
            self._answers[key] = {
                amount_e8: tuple(items.values()) for amount_e8, items in found.items()
            }
        return self._answers[key]


_VALUES: Mapping[str, Sequence[str]] = {
    "quality": (),
    "sound": ("on", "off"),
    "character_orientation": ("image", "video"),
}
"""Values of options that are the same for every model; the others are the model's."""

_KEPT = (
    *("model", "version", "channel", "quality", "character_orientation"),
    *("sound", "seconds", "options"),
)
"""What of a kept price changes a charge; its digest does not."""


def _key(price: Mapping[str, Any]) -> tuple[str | None, ...]:
    return tuple(price.get(name) for name in _KEPT)


def _price(question: Question) -> Mapping[str, Any]:
    """What a charge is priced with; from the columns, where nothing was kept of a quote."""
    try:
        terms = json.loads(question.terms) if question.terms else {}
    except ValueError:
        terms = {}
    if isinstance(terms, dict):
        price = terms.get("price", terms)
        if isinstance(price, dict) and "model" in price:
            return price
    return {
        "model": question.model,
        "version": question.version,
        "channel": question.channel,
        "quality": question.quality,
        "character_orientation": question.orientation,
    }


def _rests_on(known: _Known | None) -> dict[str, Any]:
    if known is None:
        return {"price": "not known to the given price sources"}
    terms = known.terms
    return {"price": terms.version.id, "credits_per_unit": plain(terms.unit_price)}


def _request(source: PriceSource, price: Mapping[str, Any]) -> Request:
    options = price.get("options")
    return source.job(
        price["model"] or "",
        quality=price.get("quality"),
        character_orientation=price.get("character_orientation"),
        sound=price.get("sound"),
        seconds=price.get("seconds"),
        options=None if options is None else json.loads(options),
    )


def _version_ids(source: PriceSource, model: str) -> list[str | None]:
    """All versions of a model; one of no name, where a source prices by formulas."""
    if isinstance(source, PriceBook):
        return [item.version.id for item in source.timeline(model)] or [None]
    return [None]


# Amounts


def _priced(known: _Known, question: Question) -> Iterator[tuple[int, Explanation]]:
    """Every amount that the job could have been charged with, and why."""
    request, terms = known.request, known.terms
    length = None if question.seconds is None else parse_seconds(question.seconds)
    facts = {"seconds": question.seconds} if question.seconds else {}
    for amount_e8 in _bill(terms, request, length):
        yield (
            amount_e8,
            Explanation(
                "the price of its quote, not the amount charged here", "amount", OWN, PLAIN, facts
            ),
        )
    lengths = list(_lengths(known, question, length))
    for cause, told, measured in lengths:
        for amount_e8 in _bill_measured(terms, measured):
            yield (
                amount_e8,
                Explanation(cause, "billed_seconds", LENGTH, PLAIN, {**facts, **told}),
            )
    for way in known.ways:
        for amount_e8 in _bill(way.terms, request, length):
            yield amount_e8, _because(way, facts, PLAIN)
    yield from _two_at_once(known, length, lengths, facts)


def _two_at_once(
    known: _Known,
    length: Decimal | None,
    lengths: Sequence[tuple[str, Mapping[str, Any], Decimal | None]],
    facts: Mapping[str, Any],
) -> Iterator[tuple[int, Explanation]]:
    """Another price, option or figure, and another rounding or length besides."""
    for way in known.ways:
        for cause, told, measured in lengths:
            for amount_e8 in _bill_measured(way.terms, measured):
                both = {**facts, **told}
                yield amount_e8, _because(way, both, TWO_AT_ONCE, besides=cause, place=9)
    for way, second in known.rounded:
        for amount_e8 in _bill(second.terms, known.request, length):
            place = second.rank - ROUNDING
            yield (
                amount_e8,
                _because(way, facts, TWO_AT_ONCE, besides=second.cause, place=place),
            )


def _because(
    way: Way, facts: Mapping[str, Any], tier: int, *, besides: str = "", place: int = 0
) -> Explanation:
    cause = f"{way.cause}, and {besides}" if besides else way.cause
    told = {**facts, **way.facts}
    return Explanation(cause, way.kind, way.rank + place, tier, told, way.changes)


def _lengths(
    known: _Known, question: Question, length: Decimal | None
) -> Iterator[tuple[str, Mapping[str, Any], Decimal | None]]:
    """Other lengths that somebody knows of, as they would be measured."""
    terms, request = known.terms, known.request
    if terms.unit != "second":
        return
    asked = terms.settles_on == "requested"
    if question.their_seconds_us and question.their_seconds_us > 0:
        told = seconds_text(question.their_seconds_us)
        facts = {"seconds_there": told}
        theirs = parse_seconds(told)
        cause = "the length on the bill instead of ours"
        yield cause, facts, theirs if asked else _measured(terms, request, theirs)
    if asked and length is not None:
        yield "the length generated instead of the one asked for", {}, length
    if terms.settles_on == "input_and_output" and length is not None:
        yield "the result alone, without the reference", {}, length


def _measured(terms: Terms, request: Request, length: Decimal | None) -> Decimal | None:
    try:
        return terms.measured(request, length)
    except (CannotPrice, InvalidInput):
        return None


def _bill(terms: Terms, request: Request, length: Decimal | None) -> Iterator[int]:
    try:
        measured = terms.measured(request, length)
    except (CannotPrice, InvalidInput):
        return
    yield from _bill_measured(terms, measured)


def _bill_measured(terms: Terms, measured: Decimal | None) -> Iterator[int]:
    """The charge, if there is one: what cannot be priced explains nothing."""
    try:
        yield terms.bill(measured).credits_e8
    except (CannotPrice, InvalidInput):
        return


# Units and whole seconds


def _unit(from_e8: int, theirs_e8: int, besides: Explanation | None) -> Explanation:
    """The bill counts in another unit than the one it was read in."""
    up = theirs_e8 > from_e8
    cause = (
        "units of 10^-4 credit read as credits" if up else "credits read as units of 10^-4 credit"
    )
    facts: dict[str, Any] = {"factor": "10000" if up else "0.0001"}
    if besides is None:
        return Explanation(cause, "unit_scale", UNIT, PLAIN, facts)
    facts |= besides.facts
    return Explanation(
        f"{cause}, and {besides.cause}", "unit_scale", besides.rank, TWO_AT_ONCE, facts
    )


def _whole_seconds(known: _Known, question: Question) -> Iterator[Explanation]:
    """The bill's amount is a whole number of seconds at our rate."""
    terms = known.terms
    theirs = _seconds_for(known.free, question.theirs_e8)
    if theirs is None:
        return
    ours = _seconds_for(known.free, question.ours_e8)
    facts = {
        "seconds_billed_there": str(theirs),
        "credits_per_second": plain(terms.unit_price),
        "longest_billed": longest(terms),
    }
    if ours is None:
        cause = "another whole number of seconds"
    else:
        more = theirs - ours
        cause = f"{abs(more)} s {'more' if more > 0 else 'less'}"
        facts["seconds_billed_here"] = str(ours)
    yield Explanation(cause, "billed_seconds", LENGTH, WHOLE_SECONDS, facts)


def _free(terms: Terms) -> Terms:
    if not is_plain(terms):
        return terms
    return replace(terms, shortest_seconds=None, longest_seconds=None, smallest_charge_e8=0)


def _seconds_for(terms: Terms, amount_e8: int) -> int | None:
    """How many whole seconds cost so much, under terms that are `_free`."""
    if not is_plain(terms) or terms.unit != "second" or not 0 < amount_e8 <= MAX_AMOUNT_E8:
        return None
    numerator, denominator = terms.unit_price.as_integer_ratio()
    if not numerator:
        return None
    seconds = divide(amount_e8 * denominator, numerator * CREDIT_E8, "half_up")
    if not 0 < seconds <= MAX_SECONDS:
        return None
    return seconds if amount_e8 in _bill_measured(terms, Decimal(seconds)) else None

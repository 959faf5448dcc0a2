"""Looking at price books: all prices of a model, what differs between two books, what is stale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from itertools import product
from typing import Any

from ledger.documents import (
    ChannelDocument,
    DifferenceDocument,
    FindingDocument,
    ModelDocument,
)
from ledger.errors import CannotPrice, NoPriceInForce
from ledger.pricebook.book import InForce, PriceBook
from ledger.pricebook.schema import ByOption, Overlay, Price
from ledger.pricing import PREFERRED, Terms
from ledger.units import EXACT, ExchangeRate, iso, parse_moment, plain, show_credits

__all__ = ["all_terms", "describe", "differences", "findings"]

Options = Mapping[str, str]

OPTION_NAMES = ("quality", "sound", "character_orientation")
"""Options in the order in which they are shown."""

_ROUNDED = {"none": "not at all", "ceil": "up", "half_up": "to the nearest", "floor": "down"}


def all_terms(book: PriceBook, stretch: InForce) -> Iterator[tuple[Options, Terms]]:
    """The terms of one price for every combination of options and every channel it covers.

    Raises:
        UnknownModel: the book does not have the model.
    """
    model = stretch.version.model
    kind = book.kind(model)
    values = _option_values(stretch.price)
    for combination in product(*values.values()):
        options = dict(zip(values, combination, strict=True))
        fields: dict[str, Any] = {"model": model, **options}
        request = kind.model_construct(**fields)
        for channel in (PREFERRED, *(item.name for item in stretch.price.channel)):
            try:
                terms = book.terms(request, version=stretch.version.id, channel=channel)
            except CannotPrice:
                continue  # a table of two options need not cover every pair
            yield options, terms


def describe(book: PriceBook, model: str, at: datetime) -> list[ModelDocument]:
    """Every price of a model, oldest first, with the unit price of every combination of options.

    Raises:
        UnknownModel: with the nearest names.
    """
    model = book.model(model)
    if (formula := book.formulas.get(model)) is not None:
        return [formula.document(book.rates, at)]
    title = book.file(model).title or model
    return [_price_document(book, item, title, at) for item in book.timeline(model)]


def _price_document(book: PriceBook, item: InForce, title: str, at: datetime) -> ModelDocument:
    price, rate = item.price, book.rates.at(max(item.start, at))
    step = plain(price.rounding.step_seconds)
    rounding = "billed to the exact length"
    if price.rounding.mode != "none":
        rounding = f"rounded {_ROUNDED[price.rounding.mode]}"
        rounding += " to whole seconds" if step == "1" else f" to multiples of {step} s"
    return {
        "model": item.version.model,
        "title": title,
        "version": item.version.id,
        "effective_from": iso(item.start),
        "effective_until": None if item.end is None else iso(item.end),
        "in_force": item.start <= at and (item.end is None or at < item.end),
        "unit": price.unit,
        "rate": plain(price.rate),
        "settles_on": price.settles_on,
        "rounding": rounding if price.unit == "second" else "one charge per call",
        "shortest_seconds": _seconds(price.shortest_seconds),
        "smallest_charge": plain(price.smallest_charge),
        "source": price.source,
        "checked": price.checked.isoformat(),
        "note": price.note,
        "credits_per_usd": plain(rate.credits_per_unit),
        "rate_effective_from": iso(rate.effective_from),
        "prices": [_channel_document(terms, rate) for _, terms in all_terms(book, item)],
    }


def _channel_document(terms: Terms, rate: ExchangeRate) -> ChannelDocument:
    # The unit price may have more than eight decimals, so dollars are not taken from an amount.
    usd = EXACT.divide(terms.unit_price, rate.credits_per_unit)
    return {
        "channel": terms.channel,
        "options": terms.options,
        "unit": terms.unit,
        "unit_price": plain(terms.unit_price),
        "usd": plain(usd.quantize(Decimal("1E-8"), rounding="ROUND_HALF_UP", context=EXACT)),
        "longest_seconds": _seconds(terms.longest_seconds),
    }


def differences(first: PriceBook, second: PriceBook, at: datetime) -> list[DifferenceDocument]:
    """Every figure that differs between two books at a moment, model by model."""
    found: list[DifferenceDocument] = []
    for model in sorted({*first.models, *second.models}):
        ours, theirs = _figures(first, model, at), _figures(second, model, at)
        # Of a model that only one of them prices, all figures would say the same.
        both = ours and theirs
        for what in dict.fromkeys([*ours, *theirs]) if both else ("priced",):
            one, other = ours.get(what), theirs.get(what)
            if one != other:
                found.append(_difference(model, what, one, other))
    rates = [book.rates.find(at) for book in (first, second)]
    dollars = [None if rate is None else plain(rate.credits_per_unit) for rate in rates]
    if dollars[0] != dollars[1]:
        found.append(_difference("all models", "credits per USD", *dollars))
    return found


def _difference(model: str, what: str, one: str | None, other: str | None) -> DifferenceDocument:
    change = None
    # A percentage says something about a price, and nothing about a quantum.
    if one is not None and other is not None and what.startswith(("credits per", "smallest")):
        try:
            before, after = Decimal(one), Decimal(other)
        except ArithmeticError:
            pass  # words, not figures
        else:
            if before:
                ratio = EXACT.divide(EXACT.subtract(after, before), before)
                percent = EXACT.multiply(ratio, Decimal(100))
                shown = percent.quantize(Decimal("1E-4"), rounding="ROUND_HALF_EVEN", context=EXACT)
                change = f"{'+' if shown > 0 else ''}{plain(shown)} %"
    return {"model": model, "what": what, "first": one, "second": other, "change": change}


def _figures(book: PriceBook, model: str, at: datetime) -> dict[str, str]:
    """Everything that changes a charge, by the name a person would give it."""
    if model not in book.models:
        return {}
    if (formula := book.formulas.get(model)) is not None:
        return formula.figures(at)
    try:
        item = book.in_force(model, at)
    except NoPriceInForce:
        return {}
    price = item.price
    figures = {"priced": "yes"}
    for options, terms in all_terms(book, item):
        channel = "" if terms.channel == PREFERRED else f", channel {terms.channel}"
        named = ", ".join(options[name] for name in OPTION_NAMES if name in options)
        named = named or "any options"
        figures[f"credits per {terms.unit}: {named}{channel}"] = plain(terms.unit_price)
        if terms.longest_seconds is not None:
            figures[f"longest billed seconds: {named}"] = plain(terms.longest_seconds)
    if price.unit == "second":
        figures["seconds are rounded"] = _ROUNDED[price.rounding.mode]
        figures["seconds are rounded to"] = plain(price.rounding.step_seconds)
        figures["shortest billed seconds"] = _seconds(price.shortest_seconds) or "none"
    figures["smallest charge"] = plain(price.smallest_charge)
    figures["charges are multiples of"] = (
        show_credits(1) if price.charge is None else plain(price.charge.quantum)
    )
    figures["charges are rounded"] = (
        _ROUNDED["half_up"] if price.charge is None else _ROUNDED[price.charge.mode]
    )
    file = book.file(model)
    for name, default in file.defaults.model_dump(exclude_none=True).items():
        figures[f"default {name}"] = str(default)
    for name, edges in (file.limits.numbers if file.limits else {}).items():
        figures[f"{name} that can be asked for"] = " to ".join(map(str, edges))
    figures["settles on"] = price.settles_on.replace("_", " ")
    return figures


def findings(book: PriceBook, today: date, *, most_days: int) -> list[FindingDocument]:
    """What a person should look at: stale figures, prices not started, overlays that collide.

    A missing source or day of checking, and two prices of one date, cannot be loaded at all; they
    are reported then, by `InvalidPriceFile`.
    """
    now = parse_moment(today)
    found: list[FindingDocument] = []
    for model in book.models:
        if (formula := book.formulas.get(model)) is not None:
            shown = formula.document(book.rates, now)
            age = (today - date.fromisoformat(shown["checked"])).days
            if age > most_days:
                found.append(_finding("stale", shown["version"], f"last checked {age} days ago"))
            continue
        timeline = book.timeline(model)
        current = [item for item in timeline if item.start <= now]
        if not current:
            first = timeline[0].start
            found.append(_finding("no price yet", model, f"the first price starts at {iso(first)}"))
        found += _doubtful(model, timeline)
        limits = book.limits(model)
        if limits is not None and (age := (today - limits.checked).days) > most_days:
            found.append(_finding("stale", f"limits of {model}", f"last checked {age} days ago"))
        for item in current[-1:]:
            age = (today - item.price.checked).days
            if age > most_days:
                where = item.version.id
                found.append(_finding("stale", where, f"last checked {age} days ago"))
            if age < 0:
                problem = f"checked in the future, on {item.price.checked}"
                found.append(_finding("checked too late", item.version.id, problem))
    found += _overlay_findings(book, now)
    for currency in sorted({rate.currency for rate in book.rates.rates}):
        rate = book.rates.find(now, currency)
        if rate is None:
            continue
        age = (today - rate.checked).days
        if age > most_days:
            where = f"exchange rate {currency} from {rate.effective_from:%Y-%m-%d}"
            found.append(_finding("stale", where, f"last checked {age} days ago"))
    return found


def _doubtful(model: str, timeline: Sequence[InForce]) -> Iterator[FindingDocument]:
    """Figures that are allowed, and surely not meant."""
    for place, item in enumerate(timeline):
        where = item.version.id
        if not item.price.rate:
            yield _finding("free", where, "the rate is zero")
        for channel in item.price.channel:
            if channel.source is None:
                problem = f"channel {channel.name} names no source"
                yield _finding("no source", where, problem)
        before = timeline[place - 1].price if place else item.price
        if before.longest_seconds is not None and item.price.longest_seconds is None:
            problem = f"the longest billed length of the price of {model} before is gone"
            yield _finding("lost cap", where, problem)


def _overlay_findings(book: PriceBook, now: datetime) -> Iterator[FindingDocument]:
    changes = [
        (overlay.name, number, change)
        for overlay in book.overlays
        for number, change in enumerate(overlay.overlay)
    ]
    for place, (name, number, change) in enumerate(changes):
        where = f"{name}, overlay.{number}"
        if change.effective_until is not None and change.effective_until <= now:
            problem = f"ended at {iso(change.effective_until)}"
            yield _finding("ended", where, problem)
        for other_name, other_number, other in changes[place + 1 :]:
            if shared := _collide(change, other):
                yield _finding(
                    "overlapping",
                    where,
                    f"{', '.join(shared)} of {change.model} is set again by {other_name},"
                    f" overlay.{other_number}, which wins",
                )


def _collide(one: Overlay, other: Overlay) -> list[str]:
    """Figures that two overlays both set for one model at one time."""
    figures = ("rate", "multiplier", "discount", "smallest_charge")
    shared = [
        name
        for name in figures
        if getattr(one, name) is not None and getattr(other, name) is not None
    ]
    # Two patterns that mean one model without containing each other are not found here.
    same_model = fnmatchcase(one.model, other.model) or fnmatchcase(other.model, one.model)
    same_group = None in (one.user_group, other.user_group) or one.user_group == other.user_group
    apart = (
        one.effective_until is not None
        and other.effective_from is not None
        and one.effective_until <= other.effective_from
    ) or (
        other.effective_until is not None
        and one.effective_from is not None
        and other.effective_until <= one.effective_from
    )
    return shared if same_model and same_group and not apart else []


def _finding(kind: str, where: str, problem: str) -> FindingDocument:
    return {"kind": kind, "where": where, "problem": problem}


def _seconds(seconds: Decimal | None) -> str | None:
    return None if seconds is None else plain(seconds)


def _option_values(price: Price) -> dict[str, list[str]]:
    """Values of each option that the price's tables name, in the order of the tables."""
    values: dict[str, dict[str, None]] = {}
    tables = [*price.multiplier, *(m for c in price.channel for m in c.multiplier or ())]
    for table in tables:
        for depth, option in enumerate(table.options):
            values.setdefault(option, {}).update(dict.fromkeys(table.known(depth)))
    if isinstance(price.longest_seconds, ByOption):
        longest = price.longest_seconds
        values.setdefault(longest.option, {}).update(dict.fromkeys(longest.values))
    return {option: list(names) for option, names in values.items()}

"""Quotes: a priced request, with its range, its explanation, its digest and its JSON."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from ledger.documents import QuoteDocument, RangeDocument, UsdDocument
from ledger.pricing.terms import Charge, LineItem, Terms, asked_seconds, in_credits
from ledger.requests import Request
from ledger.units import ExchangeRate, ExchangeRates, iso, plain, show_credits

__all__ = ["Quote"]


class Quote(NamedTuple):
    """A priced request: what it will cost at least, as expected, and at most."""

    request: Request
    """What was priced."""
    terms: Terms
    """The terms it was priced under."""
    minimum_charge: Charge
    """The charge for the shortest length the result can have."""
    expected_charge: Charge
    """The charge for the expected length; the longest, where nothing is known."""
    maximum_charge: Charge
    """The charge for the longest length the result can have."""
    at: datetime
    """The moment whose price was taken."""
    rates: ExchangeRates
    """Exchange rates of the price book."""

    @property
    def lines(self) -> tuple[LineItem, ...]:
        """Line items of the expected charge."""
        return self.expected_charge.lines

    @property
    def minimum(self) -> Decimal:
        """Fewest credits."""
        return self.minimum_charge.credits

    @property
    def expected(self) -> Decimal:
        """Expected credits."""
        return self.expected_charge.credits

    @property
    def maximum(self) -> Decimal:
        """Most credits; what a hold should be."""
        return self.maximum_charge.credits

    @property
    def maximum_e8(self) -> int:
        """Most credits, in units of 10^-8 credit."""
        return self.maximum_charge.credits_e8

    @property
    def dearest(self) -> Charge | None:
        """The most the job can cost if the dearest channel serves it, where that costs more."""
        dearest = self.terms.dearest
        return None if dearest is None else dearest.bill(self.maximum_charge.measured_seconds)

    @property
    def length_known(self) -> bool:
        """Whether the length is known, so that minimum, expected and maximum are one figure."""
        return self.minimum_charge is self.maximum_charge

    @property
    def exchange_rate(self) -> ExchangeRate | None:
        """The dollar rate in force at the moment of the price; None where none had started."""
        return self.rates.find(self.at)

    @property
    def digest(self) -> str:
        """SHA-256 of what was priced, under which price, and the result; the same everywhere."""
        facts = {
            "request": self.request.canonical(),
            "price": self.terms.version.id,
            "channel": self.terms.channel,
            "credits": [
                show_credits(charge.credits_e8)
                for charge in (self.minimum_charge, self.expected_charge, self.maximum_charge)
            ],
        }
        text = json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader should know: assumed defaults, an unknown length, a cap."""
        terms, request = self.terms, self.request
        notes = list(terms.assumed)
        if not self.length_known:
            low, high = self.minimum_charge.quantity, self.maximum_charge.quantity
            guess = request.expected_seconds
            basis = "the longest" if guess is None else f"your {plain(guess)} s"
            notes.append(
                f"length unknown: from {plain(low)} to {plain(high)} billed seconds,"
                f" expected counts {basis}"
            )
        elif terms.unit == "second" and terms.settles_on != "input_and_output":
            if asked_seconds(request) is None and terms.default_seconds is not None:
                notes.append(
                    f"no duration given: the provider takes {plain(terms.default_seconds)} s"
                )
            longest, seconds = terms.longest_seconds, self.maximum_charge.measured_seconds
            if longest is not None and seconds is not None and seconds > longest:
                notes.append(
                    f"{plain(seconds)} s is longer than the longest clip: billed up to"
                    f" {plain(longest)} s, and the provider may refuse the reference"
                )
        billed, reference = terms.longest_input_seconds, request.reference_seconds
        if billed is not None and reference is not None and reference > billed:
            notes.append(f"only the first {plain(billed)} s of the reference count")
        if request.expected_seconds is not None and self.length_known:
            notes.append("expected_seconds counts only while the length is unknown")
        if self.exchange_rate is None:
            notes.append("no exchange rate was in force: no dollars are shown")
        if (dearest := self.dearest) is not None:
            notes.append(
                f"channel {dearest.terms.channel} would cost more: at most"
                f" {in_credits(dearest.credits_e8)}"
            )
        return tuple(notes)

    def explain(self) -> str:
        """How the figures come about, for people, in a few lines of text."""
        terms, version = self.terms, self.terms.version
        lines = [f"{version.model}: {terms.options}"]
        lines += [f"  {line}" for line in terms.explained()]
        if self.length_known:
            measured = self.expected_charge.measured_seconds
            arrow = "" if measured is None else f"{plain(measured)} s → "
            lines.append(f"  {arrow}{self.expected_charge.formula()}")
        else:
            lines += [
                f"  at least  {self.minimum_charge.formula()}",
                f"  expected  {self.expected_charge.formula()}",
                f"  at most   {self.maximum_charge.formula()}",
            ]
        if (rate := self.exchange_rate) is not None:
            lines.append(
                f"  {in_credits(self.maximum_e8)} ÷ {plain(rate.credits_per_unit)}"
                f" credits per USD (from {rate.effective_from:%Y-%m-%d})"
                f" = {plain(rate.convert(self.maximum_e8))} USD"
            )
        lines += [f"  note: {note}" for note in self.notes]
        lines.append(f"  price {version.id}")
        lines.append(f"  from {version.source}, checked {version.checked}")
        if version.note:
            lines.append(f"  {version.note}")
        return "\n".join(lines)

    def document(self) -> QuoteDocument:
        """The quote as JSON types: amounts as strings, every figure with its ground."""
        terms, version = self.terms, self.terms.version
        charges = (self.minimum_charge, self.expected_charge, self.maximum_charge)
        return {
            "model": version.model,
            "request": self.request.canonical(),
            "options": terms.options,
            "lines": [line.document() for line in self.lines],
            "credits": _range(show_credits(item.credits_e8) for item in charges),
            "billed": _range(plain(item.quantity) for item in charges),
            "length_known": self.length_known,
            "settles_on": terms.settles_on,
            "usd": self._usd(charges),
            "price": {
                "version": version.id,
                "book": version.book,
                "channel": terms.channel,
                "effective_from": iso(version.effective_from),
                "source": version.source,
                "checked": version.checked.isoformat(),
            },
            "dearest": None if self.dearest is None else self.dearest.document(),
            "at": iso(self.at),
            "digest": self.digest,
            "notes": list(self.notes),
        }

    def _usd(self, charges: Iterable[Charge]) -> UsdDocument | None:
        rate = self.exchange_rate
        if rate is None:
            return None
        low, expected, high = (plain(rate.convert(item.credits_e8)) for item in charges)
        return {
            "minimum": low,
            "expected": expected,
            "maximum": high,
            "credits_per_usd": plain(rate.credits_per_unit),
            "rate_effective_from": iso(rate.effective_from),
            "rate_source": rate.source,
        }


def _range(figures: Iterable[str]) -> RangeDocument:
    minimum, expected, maximum = figures
    return {"minimum": minimum, "expected": expected, "maximum": maximum}

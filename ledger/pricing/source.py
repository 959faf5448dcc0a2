"""The interface of everything that can price requests; quoting and charging are written once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal

from ledger.errors import InvalidRequest, NeedsLength
from ledger.pricing.quotes import Quote
from ledger.pricing.terms import PREFERRED, Charge, Terms, asked_seconds, capped, exact_sum
from ledger.requests import Limits, Request, faults
from ledger.units import ExchangeRates, Length, parse_moment, parse_seconds

__all__ = ["PriceSource"]


class PriceSource(ABC):
    """Something that can price requests: the bundled book, or the provider's published rules.

    A source says what the terms of a request are; quoting and charging are the same for all.
    A plan is estimated under any source by `ledger.estimate`.
    """

    name: str
    """Name of the source, part of every price version."""
    rates: ExchangeRates
    """Exchange rates used to show credits as money."""

    @abstractmethod
    def terms(
        self,
        request: Request,
        *,
        at: datetime | date | str | None = None,
        version: str | None = None,
        channel: str = PREFERRED,
    ) -> Terms:
        """The terms of a request: at a moment (now, if None), or of one version of the price."""

    @abstractmethod
    def job(
        self,
        model: str,
        *,
        quality: str | None = None,
        character_orientation: str | None = None,
        sound: str | None = None,
        seconds: Length | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Request:
        """A request from the few options a price depends on, as plans have them.

        `options` are further parameters, for models that have no request class of their own.
        """

    @abstractmethod
    def limits(self, model: str) -> Limits | None:
        """The published limits of a model's requests, where the source knows them."""

    @abstractmethod
    def model(self, name: str) -> str:
        """The id of a model, by id or short name; raises UnknownModel with the nearest names."""

    def quote(
        self,
        request: Request,
        *,
        at: datetime | date | str | None = None,
        channel: str = PREFERRED,
    ) -> Quote:
        """What a request will cost, at least, as expected and at most.

        Args:
            request: what is to be priced.
            at: the moment whose price is taken; now, if None.
            channel: `preferred`, `dearest`, or the name of an upstream channel.

        Raises:
            InvalidMoment: `at` is not a moment.
            UnknownModel: the source has no price for the model.
            NoPriceInForce: its first price starts later than `at`.
            UnknownChannel: the price has no such channel.
            UnknownOption: the price does not cover an option's value.
            InvalidRequest: the request is of another kind than the model takes, or breaks a
                published limit; has every fault.
            NeedsLength: nothing bounds the length.
            NeedsInput: a published rule reads usage that nobody gave.
            RuleFailed: a published rule has no price for these values.
            AmountTooLarge: the amount does not fit a ledger column.
        """
        moment = datetime.now(UTC) if at is None else parse_moment(at)
        terms = self.terms(request, at=moment, channel=channel)
        self._admit(request, terms)
        if terms.unit == "call":
            only = terms.bill(None)
            return Quote(request, terms, only, only, only, moment, self.rates)
        length = asked_seconds(request)
        if length is None:
            length = terms.default_seconds
        if length is not None:
            if terms.settles_on == "input_and_output":
                length = terms.measured(request, capped(length, terms.longest_input_seconds))
            only = terms.bill(length)
            return Quote(request, terms, only, only, only, moment, self.rates)
        low, high = self._shortest(request.model, terms), terms.longest_seconds
        if high is None:
            raise NeedsLength(terms.version.model, "has no longest length; give reference_seconds")
        guess = request.expected_seconds
        if guess is not None and terms.settles_on == "input_and_output":
            # The result is as long as the reference, and both are billed.
            each = capped(guess, terms.longest_input_seconds)
            guess = exact_sum(each, each)
        least, most = terms.between(low, high)
        expected = most if guess is None else terms.bill(max(low, min(guess, high)))
        return Quote(request, terms, least, expected, most, moment, self.rates)

    def charge(
        self,
        request: Request,
        *,
        seconds: Length | None = None,
        at: datetime | date | str | None = None,
        version: str | None = None,
        channel: str = PREFERRED,
    ) -> Charge:
        """What a job costs now that its length is known: the same function as the quote.

        A charge is a fact, so the published limits are not checked again.

        Args:
            request: the job.
            seconds: generated length; not needed where the price is per call or settles on the
                length asked for.
            at: the moment whose price is taken; now, if None.
            version: take exactly this version of the price instead, as a hold was quoted with;
                `at` is then not looked at.
            channel: `preferred`, `dearest`, or the name of an upstream channel.

        Raises:
            InvalidSeconds: `seconds` is not a positive length.
            InvalidMoment: `at` is not a moment.
            UnknownModel: the source has no price for the model.
            UnknownVersion: no price of the model has that version.
            NoPriceInForce: its first price starts later than `at`.
            InvalidRequest: the request is of another kind than the model takes.
            UnknownChannel: the price has no such channel.
            UnknownOption: the price does not cover an option's value.
            NeedsLength: the price depends on a length that was not given.
            NeedsInput: a published rule reads usage that nobody gave.
            RuleFailed: a published rule has no price for these values.
            AmountTooLarge: the amount does not fit a ledger column.
        """
        output = None if seconds is None else parse_seconds(seconds)
        terms = self.terms(request, at=at, version=version, channel=channel)
        return terms.bill(terms.measured(request, output))

    def _shortest(self, model: str, terms: Terms) -> Decimal:
        """The shortest clip there can be: billed, or handed in, whichever is longer."""
        limits = self.limits(model)
        clip = None if limits is None else limits.clip
        handed_in = None if clip is None else clip.shortest_seconds
        both = (terms.step_seconds, terms.shortest_seconds, handed_in)
        return max(length for length in both if length is not None)

    def _admit(self, request: Request, terms: Terms) -> None:
        limits = self.limits(request.model)
        if limits is not None:
            capped = terms.longest_seconds is not None and terms.settles_on == "output"
            given = request.model_fields_set
            seconds = terms.default_seconds
            found = faults(
                limits,
                request.__dict__,
                given,
                capped=capped,
                default_seconds=None if seconds is None else int(seconds),
            )
            if found:
                raise InvalidRequest(f"request for {request.model}", found)

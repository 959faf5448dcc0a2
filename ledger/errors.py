"""Every exception of the library: one tree, stable codes, the facts as attributes.

    LedgerError
    ├── InvalidInput           what was given cannot be read           (exit status 7)
    │   ├── InvalidAmount      not an exact amount of credits
    │   ├── InvalidSeconds     not a length of time
    │   ├── InvalidMoment      not a moment with a time zone
    │   ├── InvalidRequest     a request breaks the provider's published limits
    │   ├── InvalidPriceFile   a price file or overlay breaks its schema
    │   ├── InvalidPlan        a plan of jobs cannot be read
    │   └── InvalidMedia       a file is not a video that can be measured
    ├── CannotPrice            the request is fine, the price is missing (exit status 6)
    │   ├── UnknownModel       no price book entry for this model
    │   ├── UnknownOption      the price does not cover this option
    │   ├── UnknownChannel     the price has no such channel
    │   ├── UnknownVersion     no such version of a price
    │   ├── NoPriceInForce     no price had started on that day
    │   ├── NoExchangeRate     no exchange rate had started on that day
    │   ├── NeedsLength        the price depends on a length nobody gave
    │   └── AmountTooLarge     the result does not fit a ledger column
    └── MissingExtra           an optional dependency is not installed (exit status 2)

Codes and exit statuses never change meaning once published.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

__all__ = [
    "AmountTooLarge",
    "CannotPrice",
    "Fault",
    "InvalidAmount",
    "InvalidInput",
    "InvalidMedia",
    "InvalidMoment",
    "InvalidPlan",
    "InvalidPriceFile",
    "InvalidRequest",
    "InvalidSeconds",
    "LedgerError",
    "MissingExtra",
    "NeedsLength",
    "NoExchangeRate",
    "NoPriceInForce",
    "UnknownChannel",
    "UnknownModel",
    "UnknownOption",
    "UnknownVersion",
]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with one field.

    >>> print(Fault("prompt", "has 2600 characters; the provider takes at most 2500"))
    prompt: has 2600 characters; the provider takes at most 2500
    """

    field: str
    """Path of the field as the writer of the document knows it."""
    problem: str
    """What is wrong and what would be right, without quoting private content."""

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}" if self.field else self.problem


class LedgerError(Exception):
    """Anything this library refuses to do; catch this to catch all of them."""

    code: ClassVar[str] = "ledger_error"
    """Stable, machine-readable name of the class."""
    exit_status: ClassVar[int] = 1
    """What the command line exits with."""

    def __reduce__(self) -> tuple[object, ...]:
        # The classes build their own messages, so an error is rebuilt from what it holds.
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[LedgerError], args: tuple[object, ...], facts: dict[str, object]) -> object:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(facts)
    return error


class InvalidInput(LedgerError):
    """Something handed in cannot be read as what it should be."""

    code = "invalid_input"
    exit_status = 7


class InvalidAmount(InvalidInput, ValueError):
    """An amount is not a finite, non-negative number of credits with at most 8 decimals."""

    code = "invalid_amount"


class InvalidSeconds(InvalidInput, ValueError):
    """A length of time is not a finite, positive number of seconds."""

    code = "invalid_seconds"


class InvalidMoment(InvalidInput, ValueError):
    """A moment has no time zone, or is not a date or a time at all."""

    code = "invalid_moment"


class _Faulty(InvalidInput):
    """An input with one or more faults, all reported at once."""

    def __init__(self, subject: str, faults: Iterable[Fault]) -> None:
        self.subject = subject
        self.faults: Sequence[Fault] = tuple(faults)
        if len(self.faults) == 1:
            super().__init__(f"{subject}: {self.faults[0]}")
        else:
            listed = "".join(f"\n  - {fault}" for fault in self.faults)
            super().__init__(f"{subject}: {len(self.faults)} faults{listed}")


class InvalidRequest(_Faulty):
    """A request breaks the provider's published limits; `faults` has all of them."""

    code = "invalid_request"


class InvalidPriceFile(_Faulty):
    """A price file or overlay is not valid; `subject` names the file."""

    code = "invalid_price_file"


class InvalidPlan(_Faulty):
    """A plan of jobs cannot be read at all; single bad rows are reported, not raised."""

    code = "invalid_plan"


class InvalidMedia(_Faulty):
    """A file is not a video that can be measured; `subject` names the file."""

    code = "invalid_media"


class CannotPrice(LedgerError):
    """A sound request that this price book has no price for; never a price of zero."""

    code = "cannot_price"
    exit_status = 6


class UnknownModel(CannotPrice):
    """The price book has no entry for this model; `nearest` holds similar names."""

    code = "unknown_model"

    def __init__(self, model: str, *, book: str, nearest: Sequence[str] = ()) -> None:
        self.model, self.book, self.nearest = model, book, tuple(nearest)
        hint = f"; did you mean {' or '.join(self.nearest)}?" if nearest else ""
        super().__init__(f"unknown model {model!r} in price book {book}{hint}")


class UnknownOption(CannotPrice):
    """The price in force does not cover the value of an option; `known` lists what it does."""

    code = "unknown_option"

    def __init__(self, model: str, option: str, value: object, *, known: Sequence[str]) -> None:
        self.model, self.option, self.value, self.known = model, option, value, tuple(known)
        given = "not given" if value is None else repr(value)
        super().__init__(f"{model}: {option} is {given}; priced are {', '.join(known) or 'none'}")


class UnknownChannel(CannotPrice):
    """The price in force has no channel of that name; `known` lists those it has."""

    code = "unknown_channel"

    def __init__(self, model: str, channel: str, *, known: Sequence[str]) -> None:
        self.model, self.channel, self.known = model, channel, tuple(known)
        super().__init__(f"{model}: unknown channel {channel!r}; known are {', '.join(known)}")


class UnknownVersion(CannotPrice):
    """No price of this book carries that version id."""

    code = "unknown_version"

    def __init__(self, model: str, version: str, *, known: Sequence[str]) -> None:
        self.model, self.version, self.known = model, version, tuple(known)
        super().__init__(f"{model}: unknown price version {version}; known: {', '.join(known)}")


class NoPriceInForce(CannotPrice):
    """The model is known, but its first price starts later than the moment asked for."""

    code = "no_price_in_force"

    def __init__(self, model: str, at: str, *, first: str) -> None:
        self.model, self.at, self.first = model, at, first
        super().__init__(f"{model}: no price in force at {at}; the first one starts at {first}")


class NoExchangeRate(CannotPrice):
    """No exchange rate for the currency had started at that moment."""

    code = "no_exchange_rate"

    def __init__(self, currency: str, at: str) -> None:
        self.currency, self.at = currency, at
        super().__init__(f"no exchange rate for {currency} at {at}")


class NeedsLength(CannotPrice):
    """The price depends on a length that nobody gave and nothing bounds."""

    code = "needs_length"

    def __init__(self, model: str, what: str) -> None:
        self.model, self.what = model, what
        super().__init__(f"{model}: {what}")


class AmountTooLarge(CannotPrice):
    """The exact result is larger than a ledger column holds (2^63 - 1 units of 10^-8)."""

    code = "amount_too_large"


class MissingExtra(LedgerError):
    """An optional dependency is not installed; `extra` names what to install."""

    code = "missing_extra"
    exit_status = 2

    def __init__(self, extra: str, purpose: str) -> None:
        self.extra, self.purpose = extra, purpose
        super().__init__(
            f"{purpose} needs an optional dependency: python -m pip install 'kling-ledger[{extra}]'"
        )

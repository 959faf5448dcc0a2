"""Credits, seconds, moments and money: exact conversions and the rounding rules.

Amounts are integers of 10^-8 credit, named `…_e8`. At the edges they are `Decimal`, in JSON
they are strings. No float ever holds an amount. Lengths may arrive as floats, because clocks
and media files produce them; a float means its shortest decimal form, so 12.4 is 12.4.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from ledger.errors import (
    InvalidAmount,
    InvalidMoment,
    InvalidSeconds,
    NoExchangeRate,
)
from ledger.figures import CREDIT_E8, show_credits

__all__ = [
    "CREDIT_E8",
    "EXACT",
    "MAX_AMOUNT_E8",
    "MAX_SECONDS",
    "STRICT",
    "Amount",
    "Day",
    "ExactDecimal",
    "ExchangeRate",
    "ExchangeRates",
    "Length",
    "Moment",
    "Rounding",
    "credits_to_e8",
    "divide",
    "e8_to_credits",
    "iso",
    "parse_moment",
    "parse_seconds",
    "plain",
    "show_credits",
]

MAX_AMOUNT_E8 = 2**63 - 1
"""Largest amount a BIGINT column holds: about 92 billion credits."""

MAX_SECONDS = 1_000_000
"""Longest length accepted anywhere, about eleven days: more is a slip of the unit."""

EXACT = Context(prec=500)
"""For sums of lengths and rates; the caller's own decimal context must not round our figures."""

STRICT = ConfigDict(
    frozen=True,
    extra="forbid",
    use_attribute_docstrings=True,
    hide_input_in_errors=True,  # prompts and signed addresses are nobody else's business
)
"""How all our pydantic models are configured."""

Rounding = Literal["ceil", "half_up", "floor"]
"""How a quotient becomes a whole number: up, to the nearest with halves up, or down."""

Amount = int | str | Decimal
"""What may be given as an amount of credits. Floats are refused."""

Length = int | str | Decimal | float | timedelta
"""What may be given as a length of time in seconds."""

# Plain digits only: no exponent, no sign, no underscores, no digits of other scripts. The longest
# sensible amount has 11 digits before the point and 8 behind it.
_PLAIN_NUMBER = re.compile(r"[0-9]{1,20}(?:\.[0-9]{1,20})?|\.[0-9]{1,20}", re.ASCII)


def divide(numerator: int, denominator: int, rounding: Rounding) -> int:
    """The one rounding rule: `numerator / denominator` as a whole number, both at least zero.

    >>> divide(5, 2, "ceil"), divide(5, 2, "half_up"), divide(5, 2, "floor")
    (3, 3, 2)
    >>> divide(9, 4, "half_up")
    2
    """
    if rounding == "ceil":
        return -(-numerator // denominator)
    if rounding == "half_up":
        return (2 * numerator + denominator) // (2 * denominator)
    return numerator // denominator


def credits_to_e8(credits: Amount) -> int:
    """An amount of credits as a whole number of 10^-8 credit.

    Raises:
        InvalidAmount: a float or another type; not plain digits; NaN, infinite or negative;
            finer than 10^-8 credit; larger than a ledger column holds.

    >>> credits_to_e8("10.8918432")
    1089184320
    """
    if isinstance(credits, bool) or not isinstance(credits, (int, str, Decimal)):
        lost = "; a float has already lost digits" if isinstance(credits, float) else ""
        raise InvalidAmount(
            f"an amount of credits must be an int, a str or a Decimal, not {_kind(credits)}{lost}"
        )
    if isinstance(credits, str):
        if not _PLAIN_NUMBER.fullmatch(credits):
            if _PLAIN_NUMBER.fullmatch(credits.removeprefix("-")):
                raise InvalidAmount(f"{_clip(credits)} is negative; an amount must not be")
            raise InvalidAmount(f"{_clip(credits)} is not an amount; write it like 12.5")
        credits = Decimal(credits)
    if isinstance(credits, int) and abs(credits) > MAX_AMOUNT_E8:
        raise InvalidAmount("an amount must be less than a ledger column holds, 92 billion credits")
    if isinstance(credits, Decimal):
        if not credits.is_finite():
            raise InvalidAmount(f"an amount must be finite, not {credits}")
        if credits.adjusted() > 30 or int(credits.as_tuple().exponent) < -30:
            raise InvalidAmount("an amount must be below 2^63 units of 10^-8 credit, and no finer")
        numerator, denominator = credits.as_integer_ratio()
    else:
        numerator, denominator = credits, 1
    if numerator < 0:
        raise InvalidAmount("an amount must not be negative")
    amount_e8, rest = divmod(numerator * CREDIT_E8, denominator)
    if rest:
        raise InvalidAmount(f"{_clip(credits)} is finer than 10^-8 credit")
    if amount_e8 > MAX_AMOUNT_E8:
        raise InvalidAmount(f"{_clip(credits)} credits is more than a ledger column holds")
    return amount_e8


def e8_to_credits(amount_e8: int) -> Decimal:
    """The exact number of credits, without trailing zeros.

    >>> e8_to_credits(14159396160)
    Decimal('141.5939616')
    """
    return Decimal(show_credits(amount_e8))


def plain(number: Decimal) -> str:
    """A Decimal as plain digits: no exponent, no trailing zeros.

    >>> plain(Decimal("13.000")), plain(Decimal("1E+2"))
    ('13', '100')
    """
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def parse_seconds(length: Length) -> Decimal:
    """A positive length of time as an exact number of seconds.

    A float stands for its shortest decimal form: 12.4 is 12.4, not 12.4000000000000003….

    Raises:
        InvalidSeconds: another type; not plain digits; NaN or infinite; zero or negative; more
            than `MAX_SECONDS`.

    >>> parse_seconds(12.4), parse_seconds("13.000001"), parse_seconds(timedelta(seconds=9.2))
    (Decimal('12.4'), Decimal('13.000001'), Decimal('9.2'))
    """
    if isinstance(length, Decimal):
        seconds = length
    elif isinstance(length, str):
        if not _PLAIN_NUMBER.fullmatch(length):
            raise InvalidSeconds(f"{_clip(length)} is not a length in seconds; write it like 12.4")
        seconds = Decimal(length)
    elif isinstance(length, timedelta):
        microseconds = (length.days * 86_400 + length.seconds) * 1_000_000 + length.microseconds
        seconds = Decimal(plain(Decimal(f"{microseconds}E-6")))
    elif isinstance(length, float):
        seconds = Decimal(float.__repr__(length))
    elif isinstance(length, int) and not isinstance(length, bool):
        seconds = Decimal(min(length, MAX_SECONDS + 1))
    else:
        raise InvalidSeconds(
            f"a length must be an int, str, Decimal, float or timedelta, not {_kind(length)}"
        )
    if not seconds.is_finite():
        raise InvalidSeconds(f"a length in seconds must be finite, not {seconds}")
    if seconds <= 0:
        raise InvalidSeconds("a length in seconds must be more than zero")
    if seconds.adjusted() < -30:
        raise InvalidSeconds("a length in seconds must be more than 10^-30")
    if seconds > MAX_SECONDS:
        raise InvalidSeconds(f"a length must be at most {MAX_SECONDS} seconds")
    return seconds


def parse_moment(moment: datetime | date | str) -> datetime:
    """A moment in UTC; a date alone is its first instant in UTC.

    Raises:
        InvalidMoment: not ISO 8601, or a time without a time zone.

    >>> parse_moment("2026-10-10")
    datetime.datetime(2026, 10, 10, 0, 0, tzinfo=datetime.timezone.utc)
    """
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment) if ":" in moment else date.fromisoformat(moment)
        except ValueError:
            raise InvalidMoment(
                f"{_clip(moment)} is not a date like 2026-10-10 or a time like 2026-10-10T08:00Z"
            ) from None
    if not isinstance(moment, date):
        raise InvalidMoment(f"a moment must be a datetime, a date or a str, not {_kind(moment)}")
    if not isinstance(moment, datetime):
        return datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
    if moment.tzinfo is None:
        raise InvalidMoment(f"{moment.isoformat()} has no time zone; add one, such as Z for UTC")
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise InvalidMoment(f"{moment.isoformat()} is outside the years 1 to 9999 in UTC") from None


def iso(moment: datetime) -> str:
    """A moment as ISO 8601 in UTC, ending in Z.

    >>> iso(parse_moment("2026-10-10T08:00:00+02:00"))
    '2026-10-10T06:00:00Z'
    """
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _exact_decimal(value: object) -> object:
    # A float in a price file has already lost digits, so it is refused before pydantic reads it.
    # Prices come from TOML, where the loader reads every number as Decimal.
    if isinstance(value, float):
        raise ValueError(  # noqa: TRY004  pydantic reports ValueError with the field's name
            "is a float, which has already lost digits; write it in TOML or as a string"
        )
    if isinstance(value, Decimal) and not value.is_finite():
        raise ValueError(f"must be a finite number, not {value}")
    if isinstance(value, str) and not _PLAIN_NUMBER.fullmatch(value):
        raise ValueError("must be plain digits, such as 8.1648")
    return value


ExactDecimal = Annotated[
    Decimal,
    BeforeValidator(_exact_decimal),
    Field(ge=0, lt=10**9, max_digits=24, decimal_places=12, allow_inf_nan=False),
]
"""A non-negative number read without loss: from TOML, a string, an int or a Decimal."""


def _written_date(value: object) -> object:
    # pydantic would read a number as seconds since 1970, so 20260101 would mean August 1970.
    if isinstance(value, (int, float, Decimal)):
        raise ValueError("must be a date, written like 2026-10-10")  # noqa: TRY004
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_written_date)]
"""A moment with a time zone in a price file; never a number."""

Day = Annotated[date, BeforeValidator(_written_date)]
"""A day in a price file; never a number."""


class ExchangeRate(BaseModel):
    """How many credits one unit of a currency bought, from a moment on."""

    model_config = STRICT

    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")]
    """ISO 4217 code."""
    credits_per_unit: Annotated[ExactDecimal, Field(gt=0)]
    """Credits for one unit of the currency, for example 68 for one US dollar."""
    effective_from: Moment
    """First instant this rate applies."""
    source: Annotated[str, Field(min_length=1)]
    """Where the figure was read."""
    checked: Day
    """Day someone last compared the figure with its source."""
    note: str | None = None
    """What a reader should know about it."""

    def convert(self, amount_e8: int, *, decimals: int = 8) -> Decimal:
        """Credits as money, rounded half up once, at `decimals` places.

        Eight places is what the provider's own money objects carry for dollars.

        >>> rate = ExchangeRate(currency="USD", credits_per_unit="72", source="example",
        ...     effective_from="2026-01-01T00:00:00Z", checked="2026-01-01")
        >>> rate.convert(credits_to_e8("8.1648"))
        Decimal('0.11340000')
        """
        numerator, denominator = self.credits_per_unit.as_integer_ratio()
        scaled = divide(amount_e8 * denominator * 10**decimals, CREDIT_E8 * numerator, "half_up")
        return Decimal(f"{scaled}E-{decimals}")


class ExchangeRates:
    """Dated exchange rates; looks up the one in force at a moment."""

    __slots__ = ("_by_currency", "rates")

    def __init__(self, rates: Iterable[ExchangeRate]) -> None:
        self.rates = tuple(sorted(rates, key=lambda rate: (rate.currency, rate.effective_from)))
        self._by_currency: dict[str, list[ExchangeRate]] = {}
        for rate in self.rates:
            self._by_currency.setdefault(rate.currency, []).append(rate)

    def at(self, moment: datetime, currency: str = "USD") -> ExchangeRate:
        """The rate in force at a moment.

        Raises:
            NoExchangeRate: the currency is unknown, or its first rate starts later.
        """
        rate = self.find(moment, currency)
        if rate is None:
            raise NoExchangeRate(currency, moment.isoformat())
        return rate

    def find(self, moment: datetime, currency: str = "USD") -> ExchangeRate | None:
        """The rate in force at a moment, or None where none had started."""
        rates = self._by_currency.get(currency, [])
        index = bisect_right(rates, moment, key=lambda rate: rate.effective_from)
        return rates[index - 1] if index else None


def _kind(value: object) -> str:
    return type(value).__name__


def _clip(value: object) -> str:
    """A short, quoted form of a value for an error message."""
    text = str(value)
    return repr(text if len(text) <= 40 else f"{text[:37]}...")

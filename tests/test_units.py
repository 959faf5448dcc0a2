"""Amounts, lengths, moments and money are read exactly, or refused."""

from __future__ import annotations

import decimal
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ledger import PriceBook
from ledger.errors import InvalidAmount, InvalidMoment, InvalidSeconds, NoExchangeRate
from ledger.units import (
    CREDIT_E8,
    MAX_AMOUNT_E8,
    MAX_SECONDS,
    ExchangeRate,
    ExchangeRates,
    Rounding,
    credits_to_e8,
    divide,
    e8_to_credits,
    parse_moment,
    parse_seconds,
    plain,
    show_credits,
)


class NumpyLikeFloat(float):
    """A float whose repr is no number, as that of numpy.float64 is."""

    def __repr__(self) -> str:
        return f"np.float64({float.__repr__(self)})"


@pytest.mark.parametrize(
    ("given", "amount_e8"),
    [
        (0, 0),
        (1, 100_000_000),
        ("1", 100_000_000),
        (Decimal(1), 100_000_000),
        ("0.00000001", 1),
        (".5", 50_000_000),
        ("8.1648", 816_480_000),
        ("10.8918432", 1_089_184_320),
        ("12.500000000000", 1_250_000_000),  # zeros behind the eighth place lose nothing
        ("007", 700_000_000),
        (Decimal("1E+2"), 10_000_000_000),
        (Decimal("-0"), 0),
        # 2^63 - 1 = 9223372036854775807 units of 10^-8
        ("92233720368.54775807", 2**63 - 1),
        (Decimal("92233720368.54775807"), 2**63 - 1),
    ],
)
def test_an_amount_is_read_to_the_last_unit(given: int | str | Decimal, amount_e8: int) -> None:
    assert credits_to_e8(given) == amount_e8


@pytest.mark.parametrize(
    "given",
    [
        1.0,
        float("nan"),
        float("inf"),
        True,
        False,
        None,
        b"1",
        [1],
        timedelta(seconds=1),
        "",
        " ",
        " 1",
        "1 ",
        "1\n",
        "1_000",
        "1,5",
        "1e3",
        "+1",
        "-1",
        "1.",
        ".",
        "0x10",
        "١٢",
        "１２",
        "²",
        "nan",
        "NaN",
        "inf",
        "Infinity",
        "1" * 21,
        -1,
        Decimal("-0.00000001"),
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("-Infinity"),
        "0.123456789",
        "0.000000001",
        Decimal("1E-9"),
        Decimal("1E+30"),
        Decimal("1E+999999"),
        Decimal("1E-999999"),
        10**30,
        "92233720368.54775808",
        Decimal("92233720368.54775808"),
        92_233_720_369,
    ],
)
def test_a_bad_amount_is_refused(given: Any) -> None:
    with pytest.raises(InvalidAmount):
        credits_to_e8(given)


def test_a_refused_float_is_told_that_it_has_lost_digits() -> None:
    with pytest.raises(InvalidAmount, match="not float; a float has already lost digits"):
        credits_to_e8(0.1)  # type: ignore[arg-type]


def test_an_int_too_long_to_print_is_still_a_refused_amount() -> None:
    with pytest.raises(InvalidAmount):
        credits_to_e8(10**5000)


def test_a_long_refused_amount_is_not_repeated_in_full() -> None:
    with pytest.raises(InvalidAmount) as caught:
        credits_to_e8("x" * 10_000)
    assert len(str(caught.value)) < 120


@given(st.integers(min_value=0, max_value=MAX_AMOUNT_E8))
def test_what_is_shown_reads_back_as_the_same_amount(amount_e8: int) -> None:
    shown = show_credits(amount_e8)
    assert credits_to_e8(shown) == amount_e8
    assert credits_to_e8(e8_to_credits(amount_e8)) == amount_e8
    assert "." not in shown or not shown.endswith("0")
    assert "E" not in shown


@pytest.mark.parametrize(
    ("amount_e8", "shown"),
    [
        (0, "0"),
        (1, "0.00000001"),
        (10, "0.0000001"),
        (100_000_000, "1"),
        (150_000_000, "1.5"),
        (-150_000_000, "-1.5"),
        (MAX_AMOUNT_E8, "92233720368.54775807"),
    ],
)
def test_an_amount_shows_all_its_digits_and_no_more(amount_e8: int, shown: str) -> None:
    assert show_credits(amount_e8) == shown
    assert e8_to_credits(amount_e8) == Decimal(shown)


@pytest.mark.parametrize(
    ("numerator", "denominator", "rounding", "whole"),
    [
        (0, 7, "ceil", 0),
        (7, 7, "ceil", 1),
        (8, 7, "ceil", 2),
        (8, 7, "floor", 1),
        (13, 7, "floor", 1),
        (1, 2, "half_up", 1),  # 0.5 goes up
        (3, 2, "half_up", 2),
        (5, 2, "half_up", 3),  # not 2, as halves to even would have it
        (10, 7, "half_up", 1),  # 1.43
        (11, 7, "half_up", 2),  # 1.57
        (10**40 + 1, 2, "half_up", 5 * 10**39 + 1),
    ],
)
def test_a_quotient_becomes_whole_by_the_rule_named(
    numerator: int, denominator: int, rounding: Rounding, whole: int
) -> None:
    assert divide(numerator, denominator, rounding) == whole


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (13, "13"),
        ("13", "13"),
        ("13.000001", "13.000001"),
        (12.4, "12.4"),
        (0.1 + 0.2, "0.30000000000000004"),  # the shortest decimal form, not the binary value
        (1e-6, "0.000001"),
        (1e5, "100000"),
        (Decimal("12.40"), "12.4"),
        (timedelta(seconds=12, milliseconds=400), "12.4"),
        (timedelta(microseconds=1), "0.000001"),
        (timedelta(days=1), "86400"),
        (MAX_SECONDS, "1000000"),
    ],
)
def test_a_length_is_read_exactly(given: Any, seconds: str) -> None:
    assert parse_seconds(given) == Decimal(seconds)


@pytest.mark.parametrize(
    "given",
    [
        0,
        0.0,
        -0.0,
        "0",
        "0.000",
        Decimal(0),
        timedelta(0),
        -1,
        -12.4,
        "-1",
        Decimal("-0.1"),
        timedelta(seconds=-1),
        float("nan"),
        float("inf"),
        float("-inf"),
        float("1e999"),
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        1e-320,
        Decimal("1E-999999"),
        Decimal("1E+999999"),
        "1e3",
        "١٢",
        "１２",
        "12,4",
        "12s",
        "1_0",
        " 12",
        "12 ",
        "",
        "nan",
        True,
        False,
        None,
        b"12",
        [12],
        1_000_001,
        "1000000.000001",
    ],
)
def test_a_bad_length_is_refused(given: Any) -> None:
    with pytest.raises(InvalidSeconds):
        parse_seconds(given)


def test_an_int_too_long_to_print_is_still_a_refused_length() -> None:
    with pytest.raises(InvalidSeconds):
        parse_seconds(10**5000)


def test_a_float_whose_repr_is_no_number_is_read_by_its_value() -> None:
    assert parse_seconds(NumpyLikeFloat(12.4)) == Decimal("12.4")


@given(st.floats(min_value=1e-9, max_value=MAX_SECONDS))
def test_a_float_means_its_shortest_decimal_form(seconds: float) -> None:
    assert parse_seconds(seconds) == Decimal(repr(seconds))


@pytest.mark.parametrize(
    ("given", "text"),
    [("13.000", "13"), ("1E+2", "100"), ("0.0100", "0.01"), ("1E-7", "0.0000001"), ("100", "100")],
)
def test_a_number_prints_without_exponent_or_idle_zeros(given: str, text: str) -> None:
    assert plain(Decimal(given)) == text


def test_the_callers_decimal_context_changes_no_amount_and_no_length() -> None:
    with decimal.localcontext() as context:
        context.prec = 3
        assert credits_to_e8("92233720368.54775807") == 2**63 - 1
        assert show_credits(e8_to_e8(10_891_843_212)) == "108.91843212"
        assert plain(parse_seconds("13.000001")) == "13.000001"
        assert plain(parse_seconds(timedelta(days=11, microseconds=1))) == "950400.000001"


def e8_to_e8(amount_e8: int) -> int:
    """There and back by way of Decimal."""
    return credits_to_e8(e8_to_credits(amount_e8))


PLUS_TWO = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("given", "moment"),
    [
        ("2026-10-10", datetime(2026, 10, 10, tzinfo=UTC)),
        (date(2026, 10, 10), datetime(2026, 10, 10, tzinfo=UTC)),
        ("2026-10-10T08:00Z", datetime(2026, 10, 10, 8, tzinfo=UTC)),
        ("2026-10-10T08:00:00+02:00", datetime(2026, 10, 10, 6, tzinfo=UTC)),
        (datetime(2026, 10, 10, 1, tzinfo=PLUS_TWO), datetime(2026, 10, 9, 23, tzinfo=UTC)),
    ],
)
def test_a_moment_is_read_as_utc(given: datetime | date | str, moment: datetime) -> None:
    found = parse_moment(given)
    assert found == moment
    assert found.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "given",
    [
        "",
        "yesterday",
        "2026-13-01",
        "2026-02-30",
        "10/10/2026",
        "2026-10-10T08:00",
        "1791619200",
        datetime(2026, 10, 10),  # noqa: DTZ001  the missing zone is the point
    ],
)
def test_a_moment_without_a_zone_or_a_meaning_is_refused(given: datetime | str) -> None:
    with pytest.raises(InvalidMoment):
        parse_moment(given)


@pytest.mark.parametrize("given", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_moment_outside_the_calendar_once_in_utc_is_refused(given: str) -> None:
    with pytest.raises(InvalidMoment):
        parse_moment(given)


@pytest.mark.parametrize("given", [5, 1.5, True, [], b"2026-10-10"])
def test_what_is_no_date_at_all_is_refused_as_a_moment(given: Any) -> None:
    with pytest.raises(InvalidMoment):
        parse_moment(given)


def rate(credits_per_unit: str, start: str, currency: str = "USD") -> ExchangeRate:
    return ExchangeRate.model_validate(
        {
            "currency": currency,
            "credits_per_unit": credits_per_unit,
            "effective_from": start,
            "source": "test",
            "checked": "2026-01-01",
        }
    )


@pytest.mark.parametrize(
    ("credits_", "at", "decimals", "dollars"),
    [
        # 8.1648 / 72 = 0.1134 exactly
        ("8.1648", "2026-04-20T23:59:59.999999Z", 8, "0.1134"),
        # 8.1648 / 68 = 0.120070588… → 0.12007059
        ("8.1648", "2026-04-21T00:00:00Z", 8, "0.12007059"),
        # 1 / 72 = 0.01388… → 0.014; 1 / 68 = 0.01470… → 0.015
        ("1", "2026-04-20", 3, "0.014"),
        ("1", "2026-04-21", 3, "0.015"),
        # 36 / 72 = 0.5 → half up 1
        ("36", "2026-04-20", 0, "1"),
        # 35 / 72 = 0.486 → 0
        ("35", "2026-04-20", 0, "0"),
    ],
)
def test_the_bundled_dollar_rates_convert_credits_by_date(
    credits_: str, at: str, decimals: int, dollars: str
) -> None:
    found = PriceBook.bundled().rates.at(parse_moment(at))
    assert found.convert(credits_to_e8(credits_), decimals=decimals) == Decimal(dollars)


def test_a_rate_applies_from_its_first_instant_on() -> None:
    later, first = rate("68", "2026-04-21T00:00:00Z"), rate("72", "2026-01-01T00:00:00Z")
    rates = ExchangeRates([later, first, rate("10", "2025-01-01T00:00:00Z", "CNY")])
    start = later.effective_from
    assert rates.at(start) is later
    assert rates.at(start - timedelta(microseconds=1)) is first
    assert rates.at(first.effective_from) is first
    assert rates.at(start, "CNY").credits_per_unit == 10


@pytest.mark.parametrize(("at", "currency"), [("2025-12-31", "USD"), ("2026-06-01", "EUR")])
def test_no_rate_on_that_day_is_an_error_that_names_currency_and_day(
    at: str, currency: str
) -> None:
    rates = ExchangeRates([rate("72", "2026-01-01T00:00:00Z")])
    with pytest.raises(NoExchangeRate) as caught:
        rates.at(parse_moment(at), currency)
    assert caught.value.currency == currency
    assert at in caught.value.at


@given(
    amount_e8=st.integers(min_value=0, max_value=MAX_AMOUNT_E8),
    per_unit=st.integers(min_value=1, max_value=10_000),
    decimals=st.integers(min_value=0, max_value=8),
)
def test_money_is_within_half_of_its_last_place(
    amount_e8: int, per_unit: int, decimals: int
) -> None:
    money = rate(str(per_unit), "2026-01-01T00:00:00Z").convert(amount_e8, decimals=decimals)
    scaled = int(money.scaleb(decimals, decimal.Context(prec=60)))
    # Half up: the exact quotient lies from half a place below to just under half a place above.
    doubled, whole = 2 * amount_e8 * 10**decimals, per_unit * CREDIT_E8
    assert (2 * scaled - 1) * whole <= doubled < (2 * scaled + 1) * whole


@pytest.mark.parametrize("figure", [72.5, "nan", "-1", "0", Decimal("NaN"), "1e3", True])
def test_an_exchange_rate_must_be_an_exact_positive_number(figure: Any) -> None:
    with pytest.raises(ValidationError, match="credits_per_unit"):
        rate(figure, "2026-01-01T00:00:00Z")

"""Amounts and lengths as people and programs write them, read without a rounding.

Both are whole numbers of a smallest unit: 10^-8 of a credit or of money, a millionth of a second.
A column is read by integer expressions; what they cannot settle goes to the scalar function,
one distinct text at a time, which reads it or says why not. No float is ever made of a text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import polars as pl

from ledger.units import MAX_AMOUNT_E8, MAX_SECONDS

__all__ = [
    "CREDIT_UNITS",
    "GROUP_MARKS",
    "WIDE",
    "Read",
    "Unreadable",
    "Writing",
    "clip",
    "read_numbers",
]

CREDIT_UNITS: Final = ("credits", "uc")
"""Units of credits: a credit, and the provider's 10^-4 of it."""

GROUP_MARKS: Final = ",.'\u2019 \u00a0\u202f\u2009"
"""What may stand between groups of three digits."""

WIDE: Final = {
    **{code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)},
    0x3000: " ",
    0xFFE5: "\u00a5",
    0x2212: "-",
    0x2013: "-",
    0xFEFF: None,
    0x200B: None,
}
"""The wide forms of East Asian keyboards, and other dashes that mean a minus."""

_WORDS: Final[Mapping[str, str]] = {
    **dict.fromkeys(("credit", "credits", "积分", "點數", "点数", "点"), "credits"),
    "uc": "uc",
    **dict.fromkeys(("usd", "us$", "$", "美元"), "USD"),
    **dict.fromkeys(("cny", "rmb", "cn\u00a5", "元", "人民币", "yuan"), "CNY"),
    **dict.fromkeys(("eur", "\u20ac", "euro", "欧元"), "EUR"),
    **dict.fromkeys(("gbp", "\u00a3"), "GBP"),
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds", "秒"), "seconds"),
}
_SHARED: Final[Mapping[str, frozenset[str]]] = {"\u00a5": frozenset({"CNY", "JPY"})}
"""Marks that more than one currency uses."""

_LONGEST: Final = 80
"""Characters of the longest text that can be a number."""

_NUMBER: Final = re.compile(
    r"(?P<sign>[+-]?)\s*(?P<mark>[^\d\s.,'+-]*)\s*(?P<inner>[+-]?)\s*"
    r"(?P<digits>[0-9.,'\u2019 \u00a0\u202f\u2009]*[0-9])(?P<exponent>[eE][+-]?[0-9]{1,3})?"
    r"\s*(?P<unit>[^\d\s+-]*)\s*(?P<trailing>-?)"
)


class Unreadable(ValueError):
    """Why a text is not what it should be; the message is the end of a sentence about it."""


@dataclass(frozen=True)
class Writing:
    """How the numbers of a column are written, and what they count.

    >>> Writing("credits").parse("1,234.5"), Writing("uc").parse("408240")
    (123450000000, 4082400000)
    >>> Writing("credits", decimal=",").parse("(40,824 credits)")
    -4082400000
    """

    unit: str
    """`credits`, `uc`, `seconds`, or the code of a currency."""
    decimal: str = "."
    """What stands before the fraction: a point or a comma."""

    @cached_property
    def places(self) -> int:
        """Decimals that are kept; one more is too fine."""
        return {"uc": 4, "seconds": 6}.get(self.unit, 8)

    def parse(self, text: str) -> int:
        """The number as a whole number of its smallest unit.

        Raises:
            Unreadable: a formula; no number; another unit; a mark that is neither a decimal mark
                nor stands between groups of three digits; too fine; too large.
        """
        text = text.translate(WIDE).strip() if len(text) <= _LONGEST else text
        if text.startswith(("=", "@")):
            raise Unreadable(f"{clip(text)} is a formula; write its value")
        bracketed = text.startswith("(") and text.endswith(")")
        found = _NUMBER.fullmatch(text[1:-1].strip() if bracketed else text)
        if found is None or len(text) > _LONGEST:
            raise Unreadable(f"{clip(text)} is not a number")
        signs = [sign for sign in found.group("sign", "inner", "trailing") if sign]
        if len(signs) + bracketed > 1:
            raise Unreadable(f"{clip(text)} has more than one sign")
        for word in found.group("mark", "unit"):
            self._check_unit(word, text)
        value = self._exact(found["digits"], found["exponent"] or "", text)
        return -value if bracketed or signs == ["-"] else value

    def _check_unit(self, word: str, text: str) -> None:
        key = word.casefold()
        if not word or self.unit in _SHARED.get(key, ()) or key == self.unit.casefold():
            return
        meant = _WORDS.get(key)
        if meant is None and key not in _SHARED:
            raise Unreadable(f"{clip(text)} is not a number")
        if meant != self.unit:
            raise Unreadable(f"{clip(text)} is in {meant or word}, not in {self.unit}")

    def _exact(self, digits: str, exponent: str, text: str) -> int:
        whole, mark, fraction = digits.partition(self.decimal)
        if (mark and not fraction.isdigit()) or not _grouped(whole, self.decimal):
            raise Unreadable(
                f"{clip(text)} has marks that fit neither a fraction after {self.decimal!r}"
                " nor groups of three digits"
            )
        whole = re.sub(r"[^0-9]", "", whole)
        power = self.places - len(fraction) + int(exponent[1:] or 0)
        value, rest = int(whole + fraction), 0
        if power < 0:
            value, rest = divmod(value, 10**-power)
        elif value:
            value *= 10**power
        if self.unit == "seconds":
            # A length is no amount: beyond a millionth of a second it is what a clock made up.
            value += 2 * rest >= 10 ** max(-power, 0) and rest > 0
            if value > MAX_SECONDS * 1_000_000:
                raise Unreadable(f"{clip(text)} is more than {MAX_SECONDS} seconds")
        elif rest:
            least = "10^-4 uc" if self.unit == "uc" else f"10^-8 {self.unit}"
            raise Unreadable(f"{clip(text)} is finer than {least}, so it cannot be kept exactly")
        if value > MAX_AMOUNT_E8:
            raise Unreadable(f"{clip(text)} is more than a ledger column holds")
        return value


def _grouped(whole: str, decimal: str) -> bool:
    """Whether the digits before the fraction have no marks, or the same one at every thousand."""
    if whole.isdigit() or not whole:
        return True
    mark = next(char for char in whole if not char.isdigit())
    return mark != decimal and bool(
        re.fullmatch(rf"[1-9][0-9]{{0,2}}(?:{re.escape(mark)}[0-9]{{3}})+", whole)
    )


@dataclass(frozen=True)
class Read:
    """A column of numbers, read."""

    values: pl.Series
    """Int64; null where there was nothing, or nothing readable."""
    problems: Mapping[str, str]
    """What is wrong with each text that is no number."""
    grouped: str | None
    """A text that was read with a mark between thousands, if any."""


def read_numbers(column: pl.Series, writing: Writing) -> Read:
    """Every text of a column as a whole number of the smallest unit."""
    if column.null_count() == len(column):
        return Read(column.cast(pl.Int64), {}, None)
    values, grouped = _by_columns(column, writing)
    odd = column.filter(values.is_null() & column.is_not_null()).unique()
    if odd.is_empty():
        return Read(values, {}, grouped)
    known: dict[str, int] = {}
    problems: dict[str, str] = {}
    for text in odd:
        try:
            known[text] = writing.parse(text)
        except Unreadable as error:
            problems[text] = str(error)
    answers = pl.Series([*known.values()], dtype=pl.Int64)
    found = column.replace_strict(
        pl.Series([*known], dtype=pl.String), answers, default=None, return_dtype=pl.Int64
    )
    filled = pl.select(pl.coalesce(values, found)).to_series()
    return Read(filled, problems, grouped)


def _by_columns(column: pl.Series, writing: Writing) -> tuple[pl.Series, str | None]:
    """What has the plain form, perhaps with thousands, as integers; null elsewhere."""
    point, places = re.escape(writing.decimal), writing.places
    # 18 digits in all, so that nothing overflows.
    tail = rf"(?:{point}[0-9]{{1,{places}}})?$"
    plain = rf"^-?[0-9]{{1,{18 - places}}}{tail}"
    grouped: str | None = None
    text = column
    if not (usual := column.str.contains(plain)).all():
        for mark in GROUP_MARKS.replace(writing.decimal, ""):
            form = rf"^-?[1-9][0-9]{{0,2}}(?:{re.escape(mark)}[0-9]{{3}})+{tail}"
            rows = column.str.contains(form)
            if not rows.any():
                continue
            grouped = grouped or column.filter(rows)[0]
            bare = text.str.replace_all(mark, "", literal=True)
            text = pl.select(pl.when(rows).then(bare).otherwise(text)).to_series()
        usual = text.str.contains(plain)
    frame = pl.DataFrame({"text": text, "usual": usual})
    parts = pl.col("text").str.strip_prefix("-").str.splitn(writing.decimal, 2)
    whole = parts.struct.field("field_0").cast(pl.Int64, strict=False)
    fraction = parts.struct.field("field_1").fill_null("").str.pad_end(places, "0")
    size = whole * 10**places + fraction.cast(pl.Int64, strict=False)
    signed = pl.when(pl.col("text").str.starts_with("-")).then(-size).otherwise(size)
    if writing.unit == "seconds":
        signed = pl.when(size <= MAX_SECONDS * 1_000_000).then(signed)
    return frame.select(pl.when(pl.col("usual")).then(signed)).to_series(), grouped


def clip(text: str) -> str:
    """A short, quoted form of a text for a message."""
    return repr(text if len(text) <= 40 else f"{text[:37]}…")

"""Times as people and programs write them: whole microseconds since 1970 in UTC.

A form says how a time is written: `iso`, `seconds` or `milliseconds` since 1970, `excel` (days as
a sheet counts them), or a pattern such as `%d/%m/%Y %H:%M`. A column is read by expressions, one
form after the other; what is left goes to the scalar function, which reads it or says why not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import cached_property
from typing import Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from ledger.records import us
from ledger.statements.amounts import WIDE, Unreadable, clip
from ledger.units import divide

__all__ = ["EARLIEST_US", "LATEST_US", "Clock", "Times", "is_form", "zone"]

Overlap = Literal["refuse", "earlier", "later"]
"""What a local time means that a clock shows twice, when summer time ends."""

EARLIEST_US: Final = us(datetime(2000, 1, 1, tzinfo=UTC))
"""Times before 2000 are a slip of the form."""
LATEST_US: Final = us(datetime(2100, 1, 1, tzinfo=UTC))
"""Times from 2100 on are a slip of the form."""

_DIVISORS: Final = {"seconds": 6, "milliseconds": 3, "microseconds": 0}
_NAMED: Final = ("iso", "excel", *_DIVISORS)
_DIRECTIVES: Final = {
    "Y": "[0-9]{4}",
    "y": "[0-9]{2}",
    "m": "[0-9]{1,2}",
    "d": "[0-9]{1,2}",
    "H": "[0-9]{1,2}",
    "M": "[0-9]{2}",
    "S": "[0-5][0-9]",  # no leap seconds: only one of the two readers would take them
}
"""Parts of a pattern that a column is read with."""
_SCALAR_ONLY: Final = frozenset("IpfbBz")
"""Parts that only the scalar function reads."""
_OFFSET: Final = re.compile(r"([+-])(\d{2}):?(\d{2})")
_ISO: Final = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-5][0-9]"
    r"(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:?[0-9]{2})?$"
)
_ISO_FORM: Final = re.compile(
    r"[0-9]{4}-?[0-9]{2}-?[0-9]{2}(?:[T ][0-9]{2}:?[0-9]{2}.*)?", re.ASCII | re.DOTALL
)
_PLAIN: Final = re.compile(r"([0-9]{1,17})(?:\.([0-9]{1,17}))?", re.ASCII)
_EXCEL_DAY_0: Final = datetime(1899, 12, 30)  # noqa: DTZ001  a sheet has no zone
_LONGEST: Final = 64


def zone(name: str) -> tzinfo:
    """A time zone by its name in the tz database, or a fixed offset such as `+08:00`.

    Raises:
        Unreadable: no such zone.

    >>> zone("Asia/Shanghai"), zone("+08:00")
    (zoneinfo.ZoneInfo(key='Asia/Shanghai'),
     datetime.timezone(datetime.timedelta(seconds=28800)))
    """
    if found := _OFFSET.fullmatch(name):
        minutes = int(found[2]) * 60 + int(found[3])
        if minutes < 24 * 60:
            return timezone(timedelta(minutes=-minutes if found[1] == "-" else minutes))
    try:
        found_zone = ZoneInfo(name)
        # The data frames bring a time zone database of their own.
        pl.Series([datetime(2000, 1, 1)]).dt.replace_time_zone(name)  # noqa: DTZ001
    except (ZoneInfoNotFoundError, ValueError, OSError, pl.exceptions.PolarsError):
        raise Unreadable(
            f"{clip(name)} is not a time zone; write it like Asia/Shanghai, UTC or +08:00"
        ) from None
    return found_zone


def is_form(form: str) -> bool:
    """Whether a form is one of the named ones, or a pattern with a day, a month and a year.

    >>> is_form("iso"), is_form("%d/%m/%Y %H:%M"), is_form("%H:%M"), is_form("dd/mm/yyyy")
    (True, True, False, False)
    """
    if form in _NAMED:
        return True
    parts = re.findall(r"%(.)", form)
    return (
        set(parts) <= {*_DIRECTIVES, *_SCALAR_ONLY, "%"}
        and len(parts) == len(set(parts))
        and "d" in parts
        and len({"m", "b", "B"} & set(parts)) == 1
        and len({"Y", "y"} & set(parts)) == 1
        and ("I" in parts) == ("p" in parts)
        and not {"I", "H"} <= set(parts)
    )


@dataclass(frozen=True)
class Times:
    """A column of times, read."""

    values: pl.Series
    """Int64 microseconds since 1970 in UTC; null where there was nothing, or nothing readable."""
    problems: Mapping[str, str]
    """What is wrong with each text that is no time."""
    days_only: int
    """Texts that were a date without a time of day."""


@dataclass(frozen=True)
class Clock:
    """How the times of a column are written, and which zone those without one are in.

    >>> clock = Clock(("iso", "%d/%m/%Y %H:%M"), "Asia/Shanghai")
    >>> [clock.parse(text) // 1_000_000 for text in ("2026-10-11T06:00:00Z", "11/10/2026 14:00")]
    [1791698400, 1791698400]
    """

    forms: Sequence[str]
    """Tried in this order."""
    timezone: str = "UTC"
    """Zone of times that carry none."""
    overlap: Overlap = "refuse"
    """What a local time means that comes twice."""

    @cached_property
    def zone(self) -> tzinfo:
        """The zone of times that carry none."""
        return zone(self.timezone)

    def parse(self, text: str) -> int:
        """A time as microseconds since 1970 in UTC.

        Raises:
            Unreadable: no form fits; outside 2000 to 2099; a local time that does not exist or
                comes twice.
        """
        if len(text) <= _LONGEST:
            text = text.translate(WIDE).strip()
            for form in self.forms:
                if (when := _read(text, form)) is not None:
                    when_us = when if isinstance(when, int) else self._placed(when, text)
                    if not EARLIEST_US <= when_us < LATEST_US:
                        raise Unreadable(f"{clip(text)} is outside the years 2000 to 2099")
                    return when_us
        raise Unreadable(f"{clip(text)} is not a time written as {' or '.join(self.forms)}")

    def _placed(self, when: datetime, text: str) -> int:
        """A local time in UTC; what a change of the clocks makes unclear is refused."""
        if not 1999 <= when.year <= 2100:
            raise Unreadable(f"{clip(text)} is outside the years 2000 to 2099")
        if when.tzinfo is None:
            first = when.replace(tzinfo=self.zone, fold=0)
            second = when.replace(tzinfo=self.zone, fold=1)
            if first.utcoffset() != second.utcoffset():
                back = first.astimezone(UTC).astimezone(self.zone).replace(tzinfo=None)
                if back != when:
                    raise Unreadable(
                        f"{clip(text)} does not exist in {self.timezone}: the clocks go forward"
                    )
                if self.overlap == "refuse":
                    raise Unreadable(
                        f"{clip(text)} comes twice in {self.timezone}: the clocks go back;"
                        ' say overlap = "earlier" or "later"'
                    )
            when = second if self.overlap == "later" else first
        return us(when)

    def read(self, column: pl.Series) -> Times:
        """Every text of a column as microseconds since 1970."""
        rows = pl.DataFrame({"row": pl.arange(len(column), eager=True), "text": column})
        rows = rows.filter(pl.col("text").is_not_null())
        done: list[pl.DataFrame] = []
        for form in self.forms:
            if rows.is_empty():
                break
            answered = rows.with_columns(self._expression(form, rows["text"]).alias("us"))
            settled = pl.col("us").is_between(EARLIEST_US, LATEST_US, closed="left")
            # What no expression settles is left to the scalar function, which says why.
            done.append(answered.filter(settled).select("row", "us"))
            rows = answered.filter(settled.fill_null(value=False).not_()).drop("us")
        problems: dict[str, str] = {}
        known: dict[str, int] = {}
        for text in rows["text"].unique():
            try:
                known[text] = self.parse(text)
            except Unreadable as error:
                problems[text] = str(error)
        left = rows.select(
            "row",
            pl.col("text")
            .replace_strict([*known], [*known.values()], default=None, return_dtype=pl.Int64)
            .alias("us"),
        )
        whole = pl.DataFrame({"row": pl.arange(len(column), eager=True)})
        found = pl.concat([*done, left.filter(pl.col("us").is_not_null())])
        joined = whole.join(found, on="row", how="left", maintain_order="left")
        bare = ~column.str.contains(r":|^[0-9.]*$") | column.str.contains(r"^[0-9.]+\.[0-9]{4}$")
        days = int((bare & joined["us"].is_not_null()).sum())
        return Times(joined["us"], problems, days)

    def _expression(self, form: str, texts: pl.Series) -> pl.Expr:
        """Microseconds where a text has the plain shape of a form; null elsewhere."""
        text = pl.col("text")
        if form == "iso":
            return self._iso(texts)
        if form in _DIVISORS:
            number = pl.when(text.str.contains(r"^[0-9]{9,16}$")).then(text)
            scale: int = 10 ** _DIVISORS[form]
            return number.cast(pl.Int64, strict=False) * scale
        parts = set(re.findall(r"%(.)", form))
        if form == "excel" or not parts <= _DIRECTIVES.keys() or len(self.forms) > 1:
            # Two patterns may fit one text; which of them counts is for one function to say.
            return pl.lit(None, dtype=pl.Int64)
        shape = re.sub(r"%(.)", lambda found: _DIRECTIVES[found[1]], re.escape(form))
        padded = "%H" not in form
        local = (
            pl.when(text.str.contains(f"^{shape}$"))
            .then(pl.concat_str(text, pl.lit(" 00:00")) if padded else text)
            .str.to_datetime(f"{form} %H:%M" if padded else form, strict=False, time_unit="us")
        )
        return self._in_utc(local)

    def _iso(self, texts: pl.Series) -> pl.Expr:
        text = pl.col("text")
        usual = pl.when(text.str.contains(_ISO)).then(text)
        local = (
            usual.str.slice(0, 19)
            .str.replace(" ", "T", literal=True)
            .str.to_datetime("%Y-%m-%dT%H:%M:%S", strict=False, time_unit="us")
        )
        if texts.str.contains(".", literal=True).any():
            digits = usual.str.extract(r"\.([0-9]+)").fill_null("0").str.pad_end(6, "0")
            local += pl.duration(microseconds=digits.cast(pl.Int64, strict=False))
        in_utc = text.str.ends_with("Z")
        if texts.str.ends_with("Z").all():
            return local.to_physical()
        offset = usual.str.extract_groups(r"([+-])([0-9]{2}):?([0-9]{2})$")
        hours = offset.struct.field("2").cast(pl.Int64, strict=False)
        minutes = offset.struct.field("3").cast(pl.Int64, strict=False)
        sign = pl.when(offset.struct.field("1") == "-").then(-1).otherwise(1)
        # The end of a date alone, such as -10-11, is no offset; `usual` has a time of day.
        east_us = pl.when(hours < 24, minutes < 60).then(sign * (hours * 60 + minutes) * 60_000_000)
        has_offset = text.str.contains(r"[+-][0-9]{2}:?[0-9]{2}$") & ~in_utc
        return (
            pl.when(in_utc)
            .then(local.to_physical())
            .when(has_offset)
            .then(local.to_physical() - east_us)
            .otherwise(self._in_utc(local))
        )

    def _in_utc(self, local: pl.Expr) -> pl.Expr:
        """Local times in UTC; those that a change of the clocks makes unclear are null."""
        if isinstance(self.zone, timezone):
            east = self.zone.utcoffset(None) // timedelta(microseconds=1)
            return local.to_physical() - east
        placed = local.dt.replace_time_zone(
            self.timezone, ambiguous="null", non_existent="null"
        ).dt.convert_time_zone("UTC")
        return placed.to_physical()


def _read(text: str, form: str) -> datetime | int | None:
    """A text as one form has it: a time, microseconds since 1970, or nothing."""
    if form == "iso":
        try:
            return datetime.fromisoformat(text) if _ISO_FORM.fullmatch(text) else None
        except ValueError:
            return None
    if form in _DIVISORS:
        when_us = _decimals(text, _DIVISORS[form])
        return when_us if when_us is not None and EARLIEST_US <= when_us < LATEST_US else None
    if form == "excel":
        days_e12 = _decimals(text, 12)
        # A sheet holds no finer part of a day than a millisecond.
        if days_e12 is None or not 36_526 <= days_e12 // 10**12 < 73_051:
            return None
        return _EXCEL_DAY_0 + timedelta(milliseconds=divide(days_e12 * 864, 10**7, "half_up"))
    try:
        return datetime.strptime(text, form)  # noqa: DTZ007  the zone is added where it is known
    except ValueError:
        return None


def _decimals(text: str, places: int) -> int | None:
    """A plain number with so many decimals, as a whole number of its last place."""
    if (found := _PLAIN.fullmatch(text)) is None:
        return None
    fraction = (found[2] or "").ljust(places, "0")[:places]
    return int(found[1] + fraction)

"""What a figure of a report is: its unit, its name, and how it is written out exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from ledger.figures import show_credits
from ledger.records import moment
from ledger.units import divide, iso, plain

__all__ = ["MEASURED", "SECOND_E9", "Column", "Sums", "Unit", "percent_of", "shown"]

Unit = Literal["text", "count", "credits", "money", "seconds", "percent", "moment"]
"""What the values of a column are.

`credits` and `money` are integers of 10^-8, `seconds` of 10^-9, `moment` whole microseconds since
1970 in UTC, `percent` and everything else that is worked out a Decimal. Money of several
currencies is never added up: where the facts of a row have more than one `currency`, there is
none. A moment is the earliest of its row's facts.
"""

MEASURED = ("count", "credits", "money", "seconds")
"""Units of columns that add up."""

SECOND_E9 = 1_000_000_000
"""Units of 10^-9 in a second: lengths are added up to the nanosecond."""

Sums = Mapping[str, int]
"""The figures of one row that add up, by the names of their columns."""


class Column(NamedTuple):
    """A column of a report."""

    name: str
    """As it stands in JSON and CSV."""
    unit: Unit
    title: str
    """As people read it."""
    worked_out: Callable[[Sums], object] | None = None
    """How it follows from the sums of its row, where it does not add up by itself."""
    of: tuple[str, ...] = ()
    """The columns that it is worked out from."""
    none: str = ""
    """How people read that there is nothing; in CSV and JSON it stays nothing."""
    minor: bool = False
    """Whether a terminal that is too narrow for all leaves it out first."""

    @property
    def adds_up(self) -> bool:
        """Whether the figures of all rows add up to that of the total."""
        return self.unit in MEASURED and self.worked_out is None


def percent_of(part: int, whole: int) -> Decimal | None:
    """A share in percent with one decimal, half away from zero; None of nothing.

    >>> percent_of(1, 8), percent_of(-2, 3), percent_of(1, 0)
    (Decimal('12.5'), Decimal('-66.7'), None)
    """
    if whole == 0:
        return None
    tenths = divide(abs(part) * 1000, abs(whole), "half_up")
    return Decimal(tenths if part * whole >= 0 else -tenths).scaleb(-1)


def shown(value: Any, unit: Unit) -> str:
    """A value written out: every digit that counts, and nothing for None.

    >>> shown(1_250_000_000, "credits"), shown(1_500_000_000, "seconds"), shown(None, "count")
    ('12.5', '1.5', '')
    """
    if value is None:
        return ""
    if isinstance(value, Decimal):
        return plain(value)
    if unit in {"credits", "money"}:
        return show_credits(value)
    if unit == "seconds":
        return plain(Decimal(value).scaleb(-9))
    return iso(moment(value)) if unit == "moment" else str(value)

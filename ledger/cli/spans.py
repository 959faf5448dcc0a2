"""The options that say of which time a report or an export is, and what they mean together."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ledger.spans import Span

__all__ = [
    "AsOfOption",
    "CountedBy",
    "CountedByOption",
    "FromOption",
    "PeriodOption",
    "ToOption",
    "ZoneOption",
    "asked_moment",
    "asked_moment_us",
    "asked_span",
]


class CountedBy(StrEnum):
    """Which of an entry's two times says whether it counts."""

    HAPPENED = "happened"
    RECORDED = "recorded"


PeriodOption = Annotated[
    str | None,
    typer.Option(
        "--period",
        metavar="PERIOD",
        help="A month such as `2026-10`, or days up to and without the second, such as"
        " `2026-10-01/2026-11-01`.",
        show_default="everything",
    ),
]
FromOption = Annotated[
    str | None,
    typer.Option("--from", metavar="DATE", help="First day or moment, instead of a period."),
]
ToOption = Annotated[
    str | None, typer.Option("--to", metavar="DATE", help="First day or moment after it.")
]
ZoneOption = Annotated[
    str,
    typer.Option("--tz", metavar="ZONE", help="Where days begin, such as `Europe/Berlin`."),
]
AsOfOption = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="DATE",
        help="Only what had been recorded before this day or moment.",
        show_default="now",
    ),
]
CountedByOption = Annotated[
    CountedBy,
    typer.Option(
        "--counted", help="Whether an entry counts when it happened, or when it was recorded."
    ),
]


def asked_span(period: str | None, since: str | None, until: str | None, tz: str) -> Span | None:
    """The span that the options name; None where they name none.

    Raises:
        BadParameter: a period and days at once; one of two days.
        InvalidEntry: no such time zone; not a period, day or moment; it ends before it begins.

    >>> asked_span(None, "2026-10-01", "2026-10-08", "UTC").name
    '2026-10-01/2026-10-08'
    """
    from ledger.spans import between, span_of, zone

    # A misspelt zone is a slip, whether or not the rest needs it.
    zone(tz)
    if period is not None:
        if since is not None or until is not None:
            raise typer.BadParameter("give a --period or --from and --to, not both")
        return span_of(period, tz)
    if since is None and until is None:
        return None
    if since is None or until is None:
        missing, given = ("--from", "--to") if since is None else ("--to", "--from")
        raise typer.BadParameter(f"{given} needs {missing} as well")
    return between(since, until, tz)


def asked_moment(when: str | None, tz: str) -> datetime | None:
    """The moment of `--as-of`; None where none was given.

    Raises:
        InvalidEntry: no such time zone; neither a day nor a moment.
    """
    from ledger.spans import named_moment

    return None if when is None else named_moment(when, tz, "--as-of")


def asked_moment_us(when: str | None, tz: str) -> int | None:
    """The moment of `--as-of`, in microseconds since 1970; None where none was given.

    Raises:
        InvalidEntry: no such time zone; neither a day nor a moment.
    """
    from ledger.records import us

    found = asked_moment(when, tz)
    return None if found is None else us(found)

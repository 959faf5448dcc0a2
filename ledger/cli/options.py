"""Options that several commands share, each with one help text."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ledger.pricebook import PriceBook


class Format(StrEnum):
    """How data are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def _complete_price_book(incomplete: str) -> list[str]:
    from ledger.pricebook.files import bundled_names

    return [name for name in bundled_names() if name.startswith(incomplete)]


def complete_model(incomplete: str) -> list[str]:
    """Model ids and short names that begin with what was typed."""
    from ledger.pricebook import PriceBook

    book = PriceBook.bundled()
    return sorted(name for name in (*book.models, *book.aliases) if name.startswith(incomplete))


FormatOption = Annotated[
    Format, typer.Option("--format", "-f", help="How to print the data.", show_default=True)
]
PriceBookOption = Annotated[
    str,
    typer.Option(
        "--price-book",
        metavar="NAME",
        help="Bundled price book: `evolink`, `evolink-rules` or `evolink-panel`.",
        autocompletion=_complete_price_book,
        envvar="KLING_LEDGER_PRICE_BOOK",
    ),
]
PricesOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--prices",
        metavar="FILE",
        help="Your own price file or overlay (TOML); may be repeated, later ones win.",
        envvar="KLING_LEDGER_PRICES",
    ),
]
GroupOption = Annotated[
    str | None,
    typer.Option("--group", metavar="NAME", help="Your user group, for overlays that name one."),
]
AtOption = Annotated[
    str | None,
    typer.Option(
        "--at", metavar="DATE", help="Take the prices of this day or moment.", show_default="now"
    ),
]
ChannelOption = Annotated[
    str,
    typer.Option(
        "--channel", metavar="NAME", help="Upstream channel: `preferred`, `dearest`, or a name."
    ),
]
ExpectedOption = Annotated[
    str | None,
    typer.Option(
        "--expected-seconds",
        metavar="SECONDS",
        help="Your own average length, for jobs of unknown length.",
    ),
]


def open_book(name: str, prices: list[Path] | None, group: str | None = None) -> PriceBook:
    """The price book that the options ask for."""
    from difflib import get_close_matches

    from ledger.errors import Fault, InvalidPriceFile
    from ledger.pricebook import PriceBook

    book = PriceBook.bundled(name, overlays=prices or (), user_group=group)
    groups = {change.user_group for file in book.overlays for change in file.overlay}
    known = sorted(item for item in groups if item is not None)
    if group is not None and group not in known:
        nearest = get_close_matches(group, known, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        problem = f"no price file names the group {group!r}{hint}"
        raise InvalidPriceFile("--group", [Fault("", problem)])
    return book

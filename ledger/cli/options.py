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


class By(StrEnum):
    """Which time of an entry counts."""

    RECORDED = "recorded"
    HAPPENED = "happened"


class Message(StrEnum):
    """What may wait in the inbox."""

    CHARGE = "charge"
    REFUND = "refund"


class HoldState(StrEnum):
    """States of a hold that can be listed."""

    OPEN = "open"
    UNKNOWN = "unknown"
    CHARGED = "charged"
    RELEASED = "released"


class TaskState(StrEnum):
    """States of a task of the provider that can be listed."""

    RUNNING = "running"
    SETTLED = "settled"
    UNPROVEN = "unproven"
    UNPRICED = "unpriced"
    DISPUTED = "disputed"


class OnCharge(StrEnum):
    """What a charge above its hold does."""

    OWE = "owe"
    DRAW = "draw"
    CAP = "cap"
    REJECT = "reject"


class OnDeadline(StrEnum):
    """What becomes of a hold at its deadline."""

    KEEP = "keep"
    RELEASE = "release"


class BudgetPeriod(StrEnum):
    """What a budget's limit is for."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    ROLLING = "rolling"
    JOB = "job"
    LIFETIME = "lifetime"
    IN_FLIGHT = "in_flight"


def complete_price_book(incomplete: str) -> list[str]:
    """Names of price books that begin with what was typed."""
    from ledger.evolink import book_names

    return [name for name in book_names() if name.startswith(incomplete)]


def complete_model(incomplete: str) -> list[str]:
    """Model ids and short names that begin with what was typed."""
    from ledger.pricebook import PriceBook

    book = PriceBook.bundled()
    return sorted(name for name in (*book.models, *book.aliases) if name.startswith(incomplete))


STDOUT = Path("-")

OutputOption = Annotated[
    Path,
    typer.Option(
        "--output", "-o", metavar="FILE", help="Where to; `-` is stdout.", show_default="stdout"
    ),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Replace a file that is there already.")
]
WalletOption = Annotated[
    str | None, typer.Option("--wallet", metavar="WALLET", help="Only this wallet.")
]
FormatOption = Annotated[
    Format, typer.Option("--format", "-f", help="How to print the data.", show_default=True)
]
PriceBookOption = Annotated[
    str,
    typer.Option(
        "--price-book",
        metavar="NAME",
        help="Price book: `evolink`, `evolink-rules`, `evolink-panel`, or one you imported.",
        autocompletion=complete_price_book,
        envvar="KLING_LEDGER_PRICE_BOOK",
    ),
]
PricesOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--prices",
        metavar="FILE",
        help="Your own price file or overlay (TOML), or the provider's pricing rules (JSON);"
        " may be repeated, later ones win.",
        envvar="KLING_LEDGER_PRICES",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="A parameter of a model's published rule, or measured usage; may be repeated.",
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

DbOption = Annotated[
    str,
    typer.Option(
        "--db",
        metavar="URL",
        help="Database: a file such as `credits.db`, or a URL such as `postgresql://…`.",
        envvar="KLING_LEDGER_DB",
    ),
]
BookOption = Annotated[
    str,
    typer.Option("--book", metavar="NAME", help="Whose book.", envvar="KLING_LEDGER_BOOK"),
]
KeyOption = Annotated[
    str,
    typer.Option(
        "--key",
        metavar="KEY",
        help="Your name for this; the same key and content again change nothing.",
    ),
]
JobKeyOption = Annotated[
    str | None,
    typer.Option("--key", metavar="KEY", help="Your name for this.", show_default="the job"),
]
HappenedOption = Annotated[
    str | None,
    typer.Option("--at", metavar="DATE", help="When it happened.", show_default="now"),
]
ReasonOption = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Why; it stays in the book.")
]
ByOption = Annotated[
    By, typer.Option("--by", help="By when it was recorded, or by when it happened.")
]
BeforeOption = Annotated[
    str | None,
    typer.Option("--before", metavar="DATE", help="As of just before this day or moment."),
]
WalletArgument = Annotated[str, typer.Argument(metavar="WALLET", help="The wallet.")]
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="The key it was reserved with.")]
DEFAULT_DB = "kling-ledger.db"


def open_book(name: str, prices: list[Path] | None, group: str | None = None) -> PriceBook:
    """The price book that the options ask for."""
    from difflib import get_close_matches

    from ledger.errors import Fault, InvalidPriceFile
    from ledger.evolink import open_prices

    book = open_prices(name, prices or (), user_group=group)
    groups = {change.user_group for file in book.overlays for change in file.overlay}
    known = sorted(item for item in groups if item is not None)
    if group is not None and group not in known:
        nearest = get_close_matches(group, known, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        problem = f"no price file names the group {group!r}{hint}"
        raise InvalidPriceFile("--group", [Fault("", problem)])
    return book


def open_book_or_file(name: str, group: str | None) -> PriceBook:
    """The price book of a name, or that of a file: an overlay, or the provider's pricing rules."""
    if name.lower().endswith((".toml", ".json")):
        return open_book("evolink", [Path(name)], group)
    return open_book(name, None)

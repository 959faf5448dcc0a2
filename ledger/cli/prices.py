"""`kling-ledger prices …`."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.cli.impact import EXAMPLES, impact
from ledger.cli.options import (
    Format,
    FormatOption,
    GroupOption,
    PriceBookOption,
    PricesOption,
    complete_model,
    open_book,
    open_book_or_file,
)
from ledger.cli.parsing import Group

if TYPE_CHECKING:
    from collections.abc import Callable

    from ledger.documents import ChannelDocument, ModelDocument
    from ledger.evolink import Kept
    from ledger.pricebook import PriceBook

app = typer.Typer(
    cls=Group,
    help="Look at the dated prices everything rests on.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

OnOption = Annotated[
    str | None,
    typer.Option("--on", metavar="DATE", help="As of this day or moment.", show_default="now"),
]


@app.command("list")
def list_(
    on: OnOption = None,
    price_book: PriceBookOption = "evolink",
    prices: PricesOption = None,
    group: GroupOption = None,
    format_: FormatOption = Format.TABLE,
) -> None:
    """List the models and their prices in force."""
    from ledger.cli.output import print_csv, print_table, say

    source, moment = open_book(price_book, prices, group), _moment(on)
    current = [item for model in source.models if (item := _current(source, model, moment))]
    if missing := len(source.models) - len(current):
        say(f"{missing} of {len(source.models)} models have no price yet on {moment:%Y-%m-%d}")
    if format_ is Format.JSON:
        _emit(source, moment, current)
        return
    if format_ is Format.CSV:
        print_csv(
            [
                *("model", "unit", "lowest", "highest", "lowest_usd", "highest_usd"),
                *("credits_per_usd", "effective_from", "source", "checked", "version"),
            ],
            [
                [
                    item["model"],
                    item["unit"],
                    *(row["unit_price"] for row in _extremes(item)),
                    *(row["usd"] for row in _extremes(item)),
                    *(item["credits_per_usd"], item["effective_from"], item["source"]),
                    *(item["checked"], item["version"]),
                ]
                for item in current
            ],
        )
        return
    header = ["model", "unit", "credits", "USD", "since", "checked"]
    shown = _dollars([row for item in current for row in item["prices"]])
    rows = [
        [
            *(item["model"], item["unit"], *_span(item, shown)),
            *(item["effective_from"][:10], item["checked"]),
        ]
        for item in current
    ]
    title = f"{source.title} ({source.name}), USD at {_rate(source, moment)}"
    print_table(header, rows, title=title, numbers=["credits", "USD"])


@app.command(epilog="**Example**: `kling-ledger prices show motion-control --on 2026-04-01`")
def show(
    model: Annotated[
        str, typer.Argument(help="Model or its short name.", autocompletion=complete_model)
    ],
    on: OnOption = None,
    price_book: PriceBookOption = "evolink",
    prices: PricesOption = None,
    group: GroupOption = None,
    format_: FormatOption = Format.TABLE,
) -> None:
    """Show every price of a model.

    With its date, source and options. With --on, only the price in force then.
    """
    from ledger.cli.output import print_csv
    from ledger.pricebook.review import describe

    source, moment = open_book(price_book, prices, group), _moment(on)
    shown = describe(source, model, moment)
    if on is not None:
        shown = [item for item in shown if item["in_force"]]
        if not shown:
            source.in_force(model, moment)  # raises
    if format_ is Format.JSON:
        _emit(source, moment, shown)
    elif format_ is Format.CSV:
        print_csv(
            [
                "model",
                "version",
                "effective_from",
                "channel",
                "options",
                "unit",
                "credits",
                "usd",
                "credits_per_usd",
                "longest_seconds",
                "source",
                "checked",
            ],
            [
                [
                    item["model"],
                    item["version"],
                    item["effective_from"],
                    row["channel"],
                    row["options"],
                    row["unit"],
                    row["unit_price"],
                    row["usd"],
                    item["credits_per_usd"],
                    row["longest_seconds"],
                    item["source"],
                    item["checked"],
                ]
                for item in shown
                for row in item["prices"]
            ],
        )
    else:
        for item in shown:
            _show_one(item)


@app.command()
def check(
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]…", help="Your own price files or overlays."),
    ] = None,
    days: Annotated[
        int, typer.Option(min=0, help="Report prices that nobody checked for this many days.")
    ] = 180,
    price_book: PriceBookOption = "evolink",
    on: OnOption = None,
    format_: FormatOption = Format.TABLE,
) -> None:
    """Check price files for what a person should look at.

    Schema, sources, dates that overlap or are missing, stale prices.
    Exits with 7 if a file is invalid, and with 6 if there are findings.
    """
    from ledger.cli.output import emit_json, print_csv, print_table, say
    from ledger.pricebook.review import findings

    source = open_book(price_book, files)
    found = findings(source, _moment(on).date(), most_days=days)
    header = ["kind", "where", "problem"]
    rows = [[item["kind"], item["where"], item["problem"]] for item in found]
    if format_ is Format.JSON:
        emit_json("price-findings", {"book": source.name, "findings": found})
    elif format_ is Format.CSV:
        print_csv(header, rows)
    elif rows:
        print_table(header, rows, title=f"Findings in {source.name}")
    else:
        say(f"{source.name}: {len(source.models)} models, nothing to report")
    if found:
        raise typer.Exit(6)


@app.command(epilog="**Example**: `kling-ledger prices diff evolink evolink-rules`")
def diff(
    first: Annotated[
        str, typer.Argument(metavar="A", help="A price book, a price file, or pricing rules.")
    ],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one.")],
    on: OnOption = None,
    group: GroupOption = None,
    format_: FormatOption = Format.TABLE,
) -> None:
    """Show what differs between two price books.

    A TOML file is laid over the bundled book `evolink`; a JSON file is the provider's pricing
    rules. Of a model that only one of them prices, only that is said.
    """
    from ledger.cli.output import emit_json, print_csv, print_table, say
    from ledger.pricebook.review import differences
    from ledger.units import iso

    moment = _moment(on)
    ours, theirs = open_book_or_file(first, group), open_book_or_file(second, group)
    found = differences(ours, theirs, moment)
    if format_ is Format.JSON:
        data = {"first": ours.name, "second": theirs.name, "at": iso(moment), "differences": found}
        emit_json("price-differences", data)
        return
    header = ["model", "what", ours.name, theirs.name, "change"]
    rows = [
        [item["model"], item["what"], item["first"] or "–", item["second"] or "–", item["change"]]
        for item in found
    ]
    if format_ is Format.CSV:
        print_csv(header, rows)
    elif rows:
        title = f"{ours.name} and {theirs.name} on {moment:%Y-%m-%d}"
        print_table(header, rows, title=title)
    else:
        say(f"{ours.name} and {theirs.name} do not differ on {moment:%Y-%m-%d}")


app.command("impact", epilog=EXAMPLES)(impact)


@app.command(
    "import",
    epilog="**Example**: `kling-ledger prices import rules.json --name evolink-2026-10-10`",
)
def import_(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The provider's pricing rules (JSON).")
    ],
    name: Annotated[
        str, typer.Option("--name", metavar="NAME", help="What the book is called from now on.")
    ],
    from_: Annotated[
        str | None,
        typer.Option("--source", metavar="TEXT", help="Where it was read.", show_default="FILE"),
    ] = None,
    format_: FormatOption = Format.TABLE,
) -> None:
    """Keep the provider's pricing rules as a price book of their own.

    It is priced with by `--price-book NAME`, in every command. The document is kept as it is, with
    its digest and the day of its capture; a newer one is kept beside it under another name.
    """
    from ledger.cli.output import say
    from ledger.evolink import PublishedRules, keep
    from ledger.evolink.loading import bytes_of
    from ledger.pricebook.files import bundled_names

    text, source = bytes_of(file), from_ or str(file)
    # What cannot be priced with is not kept.
    book = PublishedRules(text, name, source=str(file))
    kept, before = keep(text, name, source=source, now=datetime.now(UTC), taken=bundled_names())
    _print_books([kept], format_)
    for warning in book.rules.warnings:
        say(warning)
    if before:
        say(f"{name} was kept before, with the same content")


@app.command()
def books(format_: FormatOption = Format.TABLE) -> None:
    """List the price books you have imported."""
    from ledger.cli.output import say
    from ledger.evolink import kept_books

    found = kept_books()
    _print_books(found, format_)
    if not found and format_ is Format.TABLE:
        say("no book was imported; the bundled ones are evolink, evolink-panel and evolink-rules")


def _print_books(found: list[Kept], format_: Format) -> None:
    from ledger.cli.output import emit_json, print_csv, print_table

    documents = [item.document() for item in found]
    if format_ is Format.JSON:
        emit_json("price-books", {"books": documents})
    elif format_ is Format.CSV:
        print_csv(BOOKS_CSV, ([dict(item)[name] for name in BOOKS_CSV] for item in documents))
    elif documents:
        print_table(
            ["book", "captured (UTC)", "source"],
            [
                [item["name"], item["captured_at"][:16].replace("T", " "), item["source"]]
                for item in documents
            ],
            title="Imported price books",
        )


BOOKS_CSV = ("name", "captured_at", "kept_at", "source", "digest", "path")


@app.command()
def schema(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Which one; without it, the names are listed.",
            show_default=False,
            autocompletion=lambda incomplete: [
                name for name in _schema_names() if name.startswith(incomplete)
            ],
        ),
    ] = None,
) -> None:
    """Print a JSON Schema.

    Of the price files, or of what the commands print.
    """
    from difflib import get_close_matches

    names = _schema_names()
    if name is None:
        typer.echo("\n".join(names))
    elif name in names:
        path = files("ledger") / "schemas" / f"{name}{_SCHEMA}"
        typer.echo(path.read_text(encoding="utf-8"), nl=False)
    else:
        nearest = get_close_matches(name, names, n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(names)}"
        raise typer.BadParameter(f"no schema {name!r}; {hint}")


_SCHEMA = ".v1.json"


def _schema_names() -> list[str]:
    folder = files("ledger") / "schemas"
    names = (item.name for item in folder.iterdir())
    return sorted(name.removesuffix(_SCHEMA) for name in names if name.endswith(_SCHEMA))


def _rate(source: PriceBook, moment: datetime) -> str:
    from ledger.units import plain

    rate = source.rates.find(moment)
    if rate is None:
        return "no rate in force"
    return f"{plain(rate.credits_per_unit)} credits from {rate.effective_from:%Y-%m-%d}"


def _moment(on: str | None) -> datetime:
    from ledger.units import parse_moment

    return datetime.now(UTC) if on is None else parse_moment(on)


def _current(source: PriceBook, model: str, moment: datetime) -> ModelDocument | None:
    from ledger.pricebook.review import describe

    return next((item for item in describe(source, model, moment) if item["in_force"]), None)


def _emit(source: PriceBook, moment: datetime, models: list[ModelDocument]) -> None:
    from ledger.cli.output import emit_json
    from ledger.units import iso, plain

    rate = source.rates.find(moment)
    data = {
        "book": source.name,
        "at": iso(moment),
        "models": models,
        "credits_per_usd": None if rate is None else plain(rate.credits_per_unit),
        "rate_effective_from": None if rate is None else iso(rate.effective_from),
    }
    emit_json("prices", data)


def _extremes(item: ModelDocument) -> tuple[ChannelDocument, ChannelDocument]:
    """The cheapest and the dearest combination of options."""
    from decimal import Decimal

    ordered = sorted(item["prices"], key=lambda row: Decimal(row["unit_price"]))
    return ordered[0], ordered[-1]


def _dollars(rows: list[ChannelDocument]) -> Callable[[str], str]:
    """How dollars are shown in one column: all to eight decimals where one of them needs it.

    Figures of two precisions would be filled up with zeros that nobody worked out.
    """
    from decimal import Decimal

    from ledger.cli.output import money

    return str if any(Decimal(row["usd"]) < Decimal("0.001") for row in rows) else money


def _span(item: ModelDocument, shown: Callable[[str], str]) -> tuple[str, str]:
    """The lowest and the highest unit price, in credits and in dollars."""
    low, high = _extremes(item)
    if low["unit_price"] == high["unit_price"]:
        return low["unit_price"], shown(low["usd"])
    return (
        f"{low['unit_price']} – {high['unit_price']}",
        f"{shown(low['usd'])} – {shown(high['usd'])}",
    )


def _show_one(item: ModelDocument) -> None:
    from ledger.cli.output import print_table, print_text

    shown = _dollars(item["prices"])
    until = item["effective_until"]
    now = ", in force" if item["in_force"] else ""
    print_table(
        ["options", "channel", "unit", "credits", "USD", "longest"],
        [
            [
                row["options"],
                row["channel"],
                row["unit"],
                row["unit_price"],
                shown(row["usd"]),
                row["longest_seconds"] and f"{row['longest_seconds']} s",
            ]
            for row in item["prices"]
        ],
        title=f"{item['title']} ({item['model']})",
        numbers=["credits", "USD", "longest"],
    )
    shortest = item["shortest_seconds"]
    facts = [
        f"from {item['effective_from']} until {until or 'further notice'}{now}",
        f"seconds: {item['rounding']}" + (f", at least {shortest} s" if shortest else "")
        if item["unit"] == "second"
        else item["rounding"],
        f"settles on: {item['settles_on'].replace('_', ' ')}",
    ]
    if item["smallest_charge"] != "0":
        facts.append(f"smallest charge: {item['smallest_charge']} credits")
    facts.append(
        f"USD at {item['credits_per_usd']} credits, from {item['rate_effective_from'][:10]}"
    )
    facts.append(f"source: {item['source']}, checked {item['checked']}")
    facts.append(f"version: {item['version']}")
    if item["note"]:
        facts.append(f"note: {item['note']}")
    print_text("\n".join(f"  {fact}" for fact in facts) + "\n")

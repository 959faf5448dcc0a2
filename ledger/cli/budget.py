"""`kling-ledger budget …`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ledger.cli.books import labels_of, minute, minute_of, now, open_ledger, pairs, word
from ledger.cli.options import (
    DEFAULT_DB,
    BookOption,
    BudgetPeriod,
    DbOption,
    Format,
    FormatOption,
    KeyOption,
    WalletArgument,
)
from ledger.cli.parsing import AmountCommand, Group
from ledger.cli.written import print_written

if TYPE_CHECKING:
    from ledger.documents import BudgetDocument, BudgetStatusDocument

app = typer.Typer(
    cls=Group,
    help="Limit what jobs may spend, by label and period.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

SET_EXAMPLES = """
**Examples**

`kling-ledger budget set studio ads 5000 --match team=ads --threshold 80 --key ads-2026-11`

`kling-ledger budget set studio each-user 300 --match user=* --period day --key users-1`

`kling-ledger budget set studio burst 500 --rolling-seconds 3600 --soft --key burst-1`
"""
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The name of the budget.")]


@app.command("set", cls=AmountCommand, epilog=SET_EXAMPLES)
def set_(
    wallet: WalletArgument,
    name: NameArgument,
    limit: Annotated[
        str, typer.Argument(metavar="LIMIT", help="Credits that jobs may hold and use.")
    ],
    key: KeyOption,
    match: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="Only jobs with this label; `user=*` gives each user the limit. May be repeated.",
        ),
    ] = None,
    period: Annotated[
        BudgetPeriod | None,
        typer.Option(help="What the limit is for.", show_default="month"),
    ] = None,
    rolling_seconds: Annotated[
        int | None, typer.Option(metavar="N", help="Length of a rolling window.")
    ] = None,
    timezone: Annotated[
        str, typer.Option(metavar="ZONE", help="Where hours, days, weeks and months begin.")
    ] = "UTC",
    soft: Annotated[
        bool, typer.Option("--soft", help="Do not refuse a job; only tell the thresholds.")
    ] = False,
    threshold: Annotated[
        list[str] | None,
        typer.Option(metavar="PERCENT", help="Tell once when so much is reached; may be repeated."),
    ] = None,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Set a budget, in place of one of the same name.

    What its current window holds already counts.
    """
    default = BudgetPeriod.MONTH if rolling_seconds is None else BudgetPeriod.ROLLING
    matched = labels_of(match, "--match")
    with open_ledger(db, book) as ledger:
        entry = ledger.set_budget(
            wallet,
            name,
            limit,
            key=key,
            match=matched,
            period=(period or default).value,
            rolling_seconds=rolling_seconds,
            timezone=timezone,
            hard=not soft,
            thresholds=threshold or (),
        )
        print_written(ledger, entry, format_)


@app.command("list")
def list_(
    wallet: WalletArgument,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """List the budgets of a wallet."""
    from ledger.cli.output import emit_json, print_csv, print_table, say
    from ledger.documents import budget_document

    with open_ledger(db, book) as ledger:
        found = [budget_document(item) for item in ledger.budgets(wallet)]
    if format_ is Format.JSON:
        emit_json("budgets", {"book": book, "wallet": wallet, "budgets": found})
    elif format_ is Format.CSV:
        header = ["name", "limit", "match", "period", "rolling_seconds", "timezone", "hard"]
        print_csv([*header, "thresholds", "counts_from"], map(_csv_row, found))
    elif found:
        print_table(
            ["budget", "limit", "for", "per", "when full", "tells at %"],
            [
                [
                    item["name"],
                    item["limit"],
                    _matched(item),
                    _period(item),
                    "refuses" if item["hard"] else "tells",
                    ", ".join(item["thresholds"]),
                ]
                for item in found
            ],
            title=f"Budgets of wallet {wallet}",
            numbers=["limit"],
        )
    else:
        say(f"wallet {wallet} has no budgets")


def _csv_row(item: BudgetDocument) -> list[object]:
    return [
        item["name"],
        item["limit"],
        pairs(item["match"]),
        item["period"],
        item["rolling_seconds"],
        item["timezone"],
        item["hard"],
        ";".join(item["thresholds"]),
        item["counts_from"],
    ]


def _matched(item: BudgetDocument) -> str:
    return pairs(item["match"], ", ") or "all jobs"


def _period(item: BudgetDocument) -> str:
    if item["period"] == "rolling":
        return f"rolling {item['rolling_seconds']:,} s"
    calendar = item["period"] in {"hour", "day", "week", "month"}
    zone = f" ({item['timezone']})" if calendar and item["timezone"] != "UTC" else ""
    return f"{word(item['period'])}{zone}"


@app.command()
def status(
    wallet: WalletArgument,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only this budget.", show_default="all")
    ] = None,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Show how full the budgets of a wallet are now."""
    from ledger.cli.output import emit_json, print_csv, print_table, say
    from ledger.documents import budget_status_document
    from ledger.units import iso

    moment = now().replace(microsecond=0)
    with open_ledger(db, book) as ledger:
        found = [budget_status_document(item) for item in ledger.budget_status(wallet, title=name)]
    if format_ is Format.JSON:
        data = {"book": book, "wallet": wallet, "at": iso(moment), "status": found}
        emit_json("budget-status", data)
    elif format_ is Format.CSV:
        header = [
            *(
                "name",
                "match",
                "group",
                "period",
                "hard",
                "limit",
                "held",
                "used",
                "left",
                "percent",
            ),
            *("over_limit", "starts_at", "ends_at"),
        ]
        rows = [dict(item) | {"match": pairs(item["match"])} for item in found]
        print_csv(header, ([row[column] for column in header] for row in rows))
    elif found:
        numbers = ["limit", "held", "used", "left", "%", "until (UTC)"]
        print_table(
            ["budget", "for", *numbers],
            [_status_row(item) for item in found],
            title=f"Budgets of wallet {wallet} on {minute(moment)} UTC",
            numbers=numbers,
            drops=["until (UTC)", "held", "used", "%"],
        )
    else:
        say(f"wallet {wallet} has no budgets")


def _status_row(item: BudgetStatusDocument) -> list[str]:
    until = item["ends_at"]
    return [
        item["name"] if item["hard"] else f"{item['name']} (soft)",
        _share(item),
        *(item["limit"], item["held"], item["used"], item["left"], item["percent"]),
        word(item["period"]) if until is None else minute_of(until),
    ]


def _share(item: BudgetStatusDocument) -> str:
    """Which jobs share a limit: what a budget matches, with the values of one share in it."""
    from ledger.budgets import EACH

    fixed = {label: value for label, value in item["match"].items() if value != EACH}
    return ", ".join(part for part in (pairs(fixed, ", "), item["group"]) if part) or "all jobs"


@app.command()
def remove(
    wallet: WalletArgument,
    name: NameArgument,
    key: KeyOption,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Stop a budget; what it was stays in the book."""
    with open_ledger(db, book) as ledger:
        print_written(ledger, ledger.remove_budget(wallet, name, key=key), format_)

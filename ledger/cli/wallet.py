"""`kling-ledger wallet …`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ledger.cli.books import (
    minute_of,
    open_ledger,
    print_entries,
    word,
)
from ledger.cli.options import (
    DEFAULT_DB,
    BeforeOption,
    BookOption,
    By,
    ByOption,
    DbOption,
    Format,
    FormatOption,
    HappenedOption,
    KeyOption,
    WalletArgument,
)
from ledger.cli.parsing import AmountCommand, Group
from ledger.cli.statement import statement
from ledger.cli.written import print_written

if TYPE_CHECKING:
    from ledger.documents import LotDocument
    from ledger.records import Balance, TrialLine

app = typer.Typer(
    cls=Group,
    help="Look after wallets, and bring credits in.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command("open", epilog="**Example**: `kling-ledger wallet open studio --credit-limit 50`")
def open_(
    wallet: WalletArgument,
    credit_limit: Annotated[
        str,
        typer.Option(metavar="CREDITS", help="How far below zero it may go."),
    ] = "0",
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Open a wallet; the first top-up does it, too.

    The credit limit stays as it is.
    """
    with open_ledger(db, book, creates=True) as ledger:
        entry = ledger.open_wallet(wallet, credit_limit=credit_limit)
        print_written(ledger, entry, format_)


@app.command("list")
def list_(
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """List the wallets of a book with what they hold."""
    from ledger.cli.output import emit_json, print_csv, print_table, say
    from ledger.documents import balance_document

    with open_ledger(db, book) as ledger:
        found = [balance_document(ledger.book, item) for item in ledger.wallets()]
    if format_ is Format.JSON:
        emit_json("wallets", {"book": book, "wallets": found})
        return
    names = ["wallet", "posted", "held", "available", "credit_limit", "lapsing"]
    if format_ is Format.CSV:
        print_csv(
            [*names, "seq"], ([dict(item)[name] for name in (*names, "seq")] for item in found)
        )
    elif found:
        print_table(
            [word(name) for name in names],
            [
                [
                    item["wallet"],
                    *(item["posted"], item["held"], item["available"]),
                    *(_or_nothing(item["credit_limit"]), _or_nothing(item["lapsing"])),
                ]
                for item in found
            ],
            title=f"Wallets of book {book}",
            numbers=[word(name) for name in names[1:]],
            drops=["lapsing", "credit limit", "posted"],
        )
    else:
        say(f"book {book} has no wallets yet; open one with: kling-ledger wallet open NAME")


@app.command()
def balance(
    wallet: WalletArgument,
    before: BeforeOption = None,
    by: ByOption = By.RECORDED,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Show what a wallet holds, now or before a moment.

    Available is what a new job may reserve: posted, less what is held and what has expired, plus
    the credit limit.
    """
    from ledger.cli.output import emit_json, print_csv
    from ledger.documents import balance_document
    from ledger.units import iso, parse_moment

    _require_before(before, by)
    moment = None if before is None else parse_moment(before)
    told = None if moment is None else iso(moment)
    with open_ledger(db, book) as ledger:
        found = ledger.balance(wallet, before=moment, by=by.value)
    document = balance_document(book, found, before=told, by=by.value)
    if format_ is Format.JSON:
        emit_json("balance", document)
    elif format_ is Format.CSV:
        names = [name for name in document if name != "book"]
        print_csv(names, [[value for name, value in document.items() if name != "book"]])
    else:
        _print_balance(found, told, by)


def _require_before(before: str | None, by: By) -> None:
    """All that has happened is all that was recorded, so without a moment both are the same."""
    if before is None and by is By.HAPPENED:
        raise typer.BadParameter("--by happened belongs to --before")


def _print_balance(found: Balance, before: str | None, by: By) -> None:
    from ledger.cli.output import print_figures
    from ledger.units import show_credits

    figures = [("posted", found.posted_e8), ("held", found.held_e8)]
    if found.lapsing_e8:
        figures.append(("lapsing", found.lapsing_e8))
    if found.credit_limit_e8:
        figures.append(("credit limit", found.credit_limit_e8))
    figures.append(("available", found.available_e8))
    when = "" if before is None else f", {by.value} before {before}"
    print_figures(
        f"wallet {found.wallet}{when}", [(name, show_credits(item)) for name, item in figures]
    )


app.command()(statement)


@app.command()
def lots(
    wallet: WalletArgument,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """List what came into a wallet, oldest first: what was paid, and what is left of it."""
    from ledger.cli.output import Shortened, emit_json, print_csv, print_table, say
    from ledger.documents import lot_document
    from ledger.units import show_credits

    with open_ledger(db, book) as ledger:
        items = ledger.lots(wallet)
    found = [lot_document(item) for item in items]
    if format_ is Format.JSON:
        emit_json("lots", {"book": book, "wallet": wallet, "lots": found})
        return
    if format_ is Format.CSV:
        print_csv(LOTS_CSV, ([dict(item)[name] for name in LOTS_CSV] for item in found))
    elif found:
        sums = (
            sum(lot.granted_e8 for lot in items),
            sum(lot.used_e8 for lot in items),
            sum(lot.lapsed_e8 for lot in items),
            sum(lot.remaining_e8 for lot in items),
        )
        figures = ["granted", "used", "lapsed", "remaining"]
        numbers = ["lot", *figures, "paid", "expires (UTC)", "granted on (UTC)"]
        days = Shortened("expires (UTC)", lambda cell: cell[:10], "expires")
        print_table(
            ["lot", "origin", *numbers[1:]],
            map(_lot_row, found),
            total=["", "total", *map(show_credits, sums), "", "", ""],
            title=f"Lots of wallet {wallet}",
            numbers=numbers,
            drops=["granted on (UTC)", "lapsed", "lot", "used", days],
        )
    else:
        say(f"nothing has come into wallet {wallet} yet")


LOTS_CSV = (
    *("lot", "origin", "granted", "used", "lapsed", "remaining", "cash", "currency"),
    *("expires", "granted_at"),
)


def _lot_row(lot: LotDocument) -> list[object]:
    return [
        lot["lot"],
        lot["origin"],
        lot["granted"],
        *(_or_nothing(lot["used"]), _or_nothing(lot["lapsed"]), _or_nothing(lot["remaining"])),
        "" if lot["cash"] is None else f"{lot['cash']} {lot['currency'] or ''}".strip(),
        minute_of(lot["expires"]),
        minute_of(lot["granted_at"]),
    ]


@app.command(
    "top-up",
    cls=AmountCommand,
    epilog=(
        "**Example**: `kling-ledger wallet top-up studio 1000 --key invoice-881 --cash 14.70"
        " --currency USD`"
    ),
)
def top_up(
    wallet: WalletArgument,
    amount: Annotated[str, typer.Argument(metavar="AMOUNT", help="Credits that come in.")],
    key: KeyOption,
    cash: Annotated[str | None, typer.Option(metavar="AMOUNT", help="Money paid for them.")] = None,
    currency: Annotated[
        str | None, typer.Option(metavar="CODE", help="Its currency, such as `USD`.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="DATE", help="When they lapse.", show_default="never")
    ] = None,
    promotional: Annotated[
        bool, typer.Option("--promotional", help="They were a present.")
    ] = False,
    at: HappenedOption = None,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Bring credits into a wallet.

    The first top-up opens it, and makes the database where it is an SQLite file.
    """
    with open_ledger(db, book, creates=True) as ledger:
        entry = ledger.top_up(
            wallet,
            amount,
            key=key,
            cash=cash,
            currency=currency,
            expires=expires,
            promotional=promotional,
            at=at,
        )
        print_written(ledger, entry, format_)


@app.command(
    cls=AmountCommand,
    epilog=(
        "**Example**: `kling-ledger wallet adjust studio -5 --key fix-1 --reason"
        ' "typing error in invoice 881"`'
    ),
)
def adjust(
    wallet: WalletArgument,
    amount: Annotated[
        str, typer.Argument(metavar="AMOUNT", help="Credits to add, or with a minus to take.")
    ],
    key: KeyOption,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why; it stays in the book.", show_default=False)
    ],
    at: HappenedOption = None,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Correct a wallet by an amount with a sign, such as 5 or -5."""
    with open_ledger(db, book) as ledger:
        entry = ledger.adjust(wallet, amount, key=key, reason=reason, at=at)
        print_written(ledger, entry, format_)


@app.command()
def lapse(
    wallet: WalletArgument,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Take out expired credits that no open hold keeps alive.

    They are not available from the moment they expire, lapsed or not.
    """
    with open_ledger(db, book) as ledger:
        entries = ledger.lapse(wallet)
    print_entries(book, entries, format_, title=f"Lapsed credits of wallet {wallet}")


@app.command("trial-balance")
def trial_balance(
    before: BeforeOption = None,
    by: ByOption = By.RECORDED,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Show what every account was debited and credited; the sums are equal.

    The account `wallets` is what the book owes to the owners of its wallets. Exits with 9 if the
    sums differ.
    """
    from ledger.units import iso, parse_moment

    _require_before(before, by)
    moment = None if before is None else parse_moment(before)
    told = None if moment is None else iso(moment)
    with open_ledger(db, book) as ledger:
        lines = ledger.trial_balance(before=moment, by=by.value)
    _print_trial_balance(book, lines, told, by, format_)
    _require_equal_sums(book, lines)


def _print_trial_balance(
    book: str, lines: list[TrialLine], before: str | None, by: By, format_: Format
) -> None:
    from ledger.cli.output import emit_json, print_csv, print_table
    from ledger.documents import trial_balance_document

    document = trial_balance_document(book, lines, before=before, by=by.value)
    if format_ is Format.JSON:
        emit_json("trial-balance", document)
        return
    header = ["account", "debit", "credit"]
    rows = [[line["account"], line["debit"], line["credit"]] for line in document["lines"]]
    if format_ is Format.CSV:
        print_csv(header, rows)
        return
    when = "" if before is None else f", {by.value} before {before}"
    print_table(
        header,
        [[account, _or_nothing(debit), _or_nothing(credit)] for account, debit, credit in rows],
        total=["total", document["total"]["debit"], document["total"]["credit"]],
        title=f"Trial balance of book {book}{when}",
        numbers=["debit", "credit"],
    )


def _require_equal_sums(book: str, lines: list[TrialLine]) -> None:
    """Pass a trial balance whose debits are its credits.

    Raises:
        VerificationFailed: they differ.
    """
    from ledger.errors import VerificationFailed
    from ledger.units import show_credits

    debits_e8, credits_e8 = (
        sum(line.debit_e8 for line in lines),
        sum(line.credit_e8 for line in lines),
    )
    if debits_e8 != credits_e8:
        problem = (
            f"book {book!r}: debits of {show_credits(debits_e8)} are not credits of"
            f" {show_credits(credits_e8)}; find out where with: kling-ledger verify"
        )
        raise VerificationFailed([problem])


def _or_nothing(figure: str) -> str:
    return "" if figure == "0" else figure

"""`kling-ledger wallet …`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ledger.cli.books import (
    minute,
    open_ledger,
    print_entries,
    print_written,
    what,
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

if TYPE_CHECKING:
    from ledger.records import Balance, Statement, TrialLine

app = typer.Typer(
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
            narrow=["wallet", "posted", "held", "available"],
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

    Available is what a new job may reserve: posted, less what is held, plus the credit limit.
    """
    from ledger.cli.output import emit_json, print_csv
    from ledger.documents import balance_document
    from ledger.units import iso, parse_moment

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


def _print_balance(found: Balance, before: str | None, by: By) -> None:
    from ledger.cli.output import print_figures
    from ledger.units import show_credits

    figures = [("posted", found.posted_e8), ("held", -found.held_e8)]
    if found.lapsing_e8:
        figures.append(("lapsing", -found.lapsing_e8))
    if found.credit_limit_e8:
        figures.append(("credit limit", found.credit_limit_e8))
    figures.append(("available", found.available_e8))
    when = "" if before is None else f", {by.value} before {before}"
    print_figures(
        f"wallet {found.wallet}{when}", [(name, show_credits(item)) for name, item in figures]
    )


@app.command()
def statement(
    wallet: WalletArgument,
    since: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="From this day or moment on.", show_default="all"),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="DATE", help="Up to just before this day or moment."),
    ] = None,
    by: ByOption = By.RECORDED,
    last: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Only the last N lines.", show_default="all"),
    ] = None,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Show the entries of a wallet with running balances.

    Opening and closing balances are those before SINCE and before UNTIL.
    """
    from ledger.cli.output import emit_json, print_csv
    from ledger.documents import statement_document
    from ledger.units import parse_moment

    first = None if since is None else parse_moment(since)
    end = None if until is None else parse_moment(until)
    with open_ledger(db, book) as ledger:
        found = ledger.statement(wallet, since=first, until=end, by=by.value)
    shown = found if last is None else _last(found, last)
    if format_ is Format.TABLE:
        _print_statement(shown, left_out=len(found.lines) - len(shown.lines))
        return
    document = statement_document(book, shown)
    if format_ is Format.JSON:
        emit_json("statement", document)
        return
    names = (
        *("wallet", "seq", "kind", "key", "job", "contra", "posted", "held", "posted_after"),
        *("held_after", "over", "uncollected", "late", "happened_at", "recorded_at"),
    )
    print_csv(names, ([dict(line)[name] for name in names] for line in document["lines"]))


def _last(statement: Statement, count: int) -> Statement:
    """The end of a statement; it opens with the balances before its first line."""
    if count >= len(statement.lines):
        return statement
    before, kept = statement.lines[-count - 1], statement.lines[-count:]
    return statement._replace(
        lines=kept,
        opening_posted_e8=before.posted_after_e8,
        opening_held_e8=before.held_after_e8,
    )


def _print_statement(statement: Statement, *, left_out: int) -> None:
    from ledger.cli.output import print_table, say
    from ledger.units import show_credits

    def carried(what: str, posted_e8: int, held_e8: int) -> list[str]:
        return ["", "", what, "", "", "", show_credits(posted_e8), show_credits(held_e8)]

    numbers = ["posted", "held", "posted after", "held after"]
    happened = statement.by == "happened"
    rows: list[list[object]] = [
        [
            line.entry.seq,
            minute(line.entry.happened_at if happened else line.entry.recorded_at),
            what(line.entry),
            line.entry.job or line.entry.key,
            show_credits(line.entry.posted_e8) if line.entry.posted_e8 else "",
            show_credits(line.entry.held_e8) if line.entry.held_e8 else "",
            show_credits(line.posted_after_e8),
            show_credits(line.held_after_e8),
        ]
        for line in statement.lines
    ]
    opening = carried("opening", statement.opening_posted_e8, statement.opening_held_e8)
    print_table(
        ["seq", statement.by, "what", "job or key", *numbers],
        [opening, *rows],
        total=carried("closing", statement.closing_posted_e8, statement.closing_held_e8),
        title=f"Statement of wallet {statement.wallet}{_span(statement)}",
        numbers=["seq", statement.by, *numbers],
        narrow=["seq", "what", "job or key", "posted", "posted after", "held after"],
    )
    if left_out:
        say(f"{left_out:,} lines before these are not shown")


def _span(statement: Statement) -> str:
    since = "" if statement.since is None else f" from {minute(statement.since)}"
    until = "" if statement.until is None else f" until {minute(statement.until)}"
    return f"{since}{until} UTC" if since or until else ""


@app.command(
    "top-up",
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
    # So that -5 is an amount and not an option nobody knows.
    context_settings={"ignore_unknown_options": True},
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

    The account `wallets` is what the book owes to the owners of its wallets.
    """
    from ledger.units import iso, parse_moment

    moment = None if before is None else parse_moment(before)
    told = None if moment is None else iso(moment)
    with open_ledger(db, book) as ledger:
        lines = ledger.trial_balance(before=moment, by=by.value)
    _print_trial_balance(book, lines, told, by, format_)


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


def _or_nothing(figure: str) -> str:
    return "" if figure == "0" else figure

"""`kling-ledger wallet statement`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.cli.books import ENTRIES_CSV, counted, many, minute, open_ledger, what
from ledger.cli.options import (
    DEFAULT_DB,
    BookOption,
    By,
    ByOption,
    DbOption,
    Format,
    FormatOption,
    WalletArgument,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ledger.breaks import Reconciled
    from ledger.documents import FiguresDocument, StatementDocument
    from ledger.records import Entry, Statement

__all__ = ["statement"]


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
    from ledger.cli.output import emit_json, print_csv, say
    from ledger.documents import statement_document
    from ledger.units import parse_moment

    first = None if since is None else parse_moment(since)
    end = None if until is None else parse_moment(until)
    with open_ledger(db, book) as ledger:
        found = ledger.statement(wallet, since=first, until=end, by=by.value)
        reconciled = None
        if first is not None and end is not None and first < end:
            reconciled = ledger.reconciled(since=first, until=end)
    shown = found if last is None else _last(found, last)
    if format_ is Format.TABLE:
        _print(shown, left_out=len(found.lines) - len(shown.lines))
        if reconciled is not None:
            say(_agreement(reconciled))
        return
    document = statement_document(book, shown, reconciled)
    if format_ is Format.JSON:
        emit_json("statement", document)
    else:
        print_csv(ENTRIES_CSV, _csv_rows(document))


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


def _agreement(reconciled: Reconciled) -> str:
    """Whether the book's figures of the period agree with the bill."""
    if reconciled.changed:
        came = many(reconciled.changed, "charge or refund", "charges and refunds")
        return f"{came} of this period came after it was compared; compare it again"
    if reconciled.state == "not yet":
        return "the book was not yet held against the provider's bill of all of this period"
    if reconciled.state == "reconciled":
        return "the book agrees with the provider's bill of this period"
    breaks, credits = many(reconciled.open_breaks, "break"), counted(reconciled.difference_e8)
    return f"the provider's bill of this period: {breaks} open, {credits} in all"


def _csv_rows(document: StatementDocument) -> Iterator[list[object]]:
    def carried(kind: str, figures: FiguresDocument) -> list[object]:
        row = {
            "wallet": document["wallet"],
            "kind": kind,
            "posted_after": figures["posted"],
            "held_after": figures["held"],
        }
        return [row.get(name) for name in ENTRIES_CSV]

    yield carried("opening", document["opening"])
    for line in document["lines"]:
        known: dict[str, Any] = {**line}
        yield [known[name] for name in ENTRIES_CSV]
    yield carried("closing", document["closing"])


# As a table


def _print(statement: Statement, *, left_out: int) -> None:
    from ledger.cli.output import Shortened, print_table, print_text, say
    from ledger.units import show_credits

    moments = [_moment(statement, line.entry) for line in statement.lines]
    years = sorted({when[:4] for when in moments})
    reasons = any(_reason(entry) for entry in statement.entries)
    when = f"{statement.by} (UTC)"
    numbers = ["posted", "held", "posted after", "held after"]
    header = ["seq", when, "what", "job or key", *numbers, *(["reason"] if reasons else [])]

    def carried(named: str, posted_e8: int, held_e8: int) -> list[str]:
        figures = ["", "", show_credits(posted_e8), show_credits(held_e8)]
        return ["", "", named, "", *figures, ""][: len(header)]

    rows: list[list[object]] = [
        [
            line.entry.seq,
            moment,
            what(line.entry),
            line.entry.job or line.entry.key,
            show_credits(line.entry.posted_e8) if line.entry.posted_e8 else "",
            show_credits(line.entry.held_e8) if line.entry.held_e8 else "",
            show_credits(line.posted_after_e8),
            show_credits(line.held_after_e8),
            *([_reason(line.entry)] if reasons else []),
        ]
        for line, moment in zip(statement.lines, moments, strict=True)
    ]
    # The title says the year and the zone, so that moments may go without them.
    shorter = [Shortened(when, lambda cell: cell[5:], statement.by)] if len(years) == 1 else []
    year = f", {years[0]} (UTC)" if len(years) == 1 else " (UTC)"
    missing = print_table(
        header,
        [carried("opening", statement.opening_posted_e8, statement.opening_held_e8), *rows],
        total=carried("closing", statement.closing_posted_e8, statement.closing_held_e8),
        title=f"Statement of wallet {statement.wallet}{_span(statement)}{year}",
        numbers=["seq", when, *numbers],
        drops=["reason", "seq", "held after", *shorter, "posted after", "what"],
    )
    if "held after" in missing:
        print_text(_carried(statement))
    if left_out:
        say(f"{many(left_out, 'line')} before these {'is' if left_out == 1 else 'are'} not shown")


def _carried(statement: Statement) -> str:
    """The balances before and after, for a table that has no room for them."""
    from ledger.units import show_credits

    carried = (
        ("opening", statement.opening_posted_e8, statement.opening_held_e8),
        ("closing", statement.closing_posted_e8, statement.closing_held_e8),
    )
    return "\n".join(
        f"{named}: posted {show_credits(posted_e8)}, held {show_credits(held_e8)}"
        for named, posted_e8, held_e8 in carried
    )


def _moment(statement: Statement, entry: Entry) -> str:
    return minute(entry.happened_at if statement.by == "happened" else entry.recorded_at)


def _reason(entry: Entry) -> str:
    return str(entry.details.get("reason") or "")


def _span(statement: Statement) -> str:
    since = "" if statement.since is None else f" from {minute(statement.since)}"
    until = "" if statement.until is None else f" until {minute(statement.until)}"
    return f"{since}{until}"

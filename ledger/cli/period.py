"""`kling-ledger period …`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ledger.cli.books import minute, open_ledger
from ledger.cli.options import DEFAULT_DB, BookOption, DbOption, Format, FormatOption
from ledger.cli.parsing import Group

if TYPE_CHECKING:
    from ledger.records import Period

app = typer.Typer(
    cls=Group,
    help="Close periods that are reconciled, so that their figures stay as they are.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

PeriodArgument = Annotated[
    str,
    typer.Argument(
        metavar="PERIOD",
        help="A month such as `2026-10`, or days up to and without the second, such as"
        " `2026-10-01/2026-11-01`.",
    ),
]


@app.command(
    epilog=(
        "**Example**: `kling-ledger period close 2026-10`\n\n"
        "**Example**: `kling-ledger period close 2026-10 --timezone Asia/Shanghai"
        ' --unreconciled "the provider sends statements from November on"`'
    )
)
def close(
    period: PeriodArgument,
    timezone: Annotated[
        str, typer.Option(metavar="ZONE", help="Where its days begin, such as `Europe/Berlin`.")
    ] = "UTC",
    unreconciled: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="Close it although no comparison covers it: why?"),
    ] = None,
    with_open_breaks: Annotated[
        str | None,
        typer.Option(
            metavar="REASON", help="Close it although breaks up to its end are open: why?"
        ),
    ] = None,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Freeze what happened before the end of a period.

    What is told of it later is recorded all the same: it counts from then on, as a correction that
    names the period. Closing a closed period changes nothing. Exits with 4 if no comparison covers
    the period, or if breaks up to its end are open.
    """
    with open_ledger(db, book) as ledger:
        closed = ledger.close_period(
            period,
            timezone=timezone,
            unreconciled=unreconciled,
            with_open_breaks=with_open_breaks,
        )
    _print_one(book, closed, format_)


@app.command(epilog='**Example**: `kling-ledger period reopen 2026-10 --reason "wrong invoice"`')
def reopen(
    period: PeriodArgument,
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why; it stays in the book.", show_default=False)
    ],
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Let facts count in the period that was closed last.

    What has corrected it already stays where it is.
    """
    with open_ledger(db, book) as ledger:
        reopened = ledger.reopen_period(period, reason=reason)
    _print_one(book, reopened, format_)


@app.command("list")
def list_(
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """List every closing and reopening, and up to when the book is closed."""
    from ledger.cli.output import emit_json, print_csv, print_table, say
    from ledger.documents import periods_document
    from ledger.records import closed_periods

    with open_ledger(db, book) as ledger:
        found = ledger.periods()
    document = periods_document(book, found)
    if format_ is Format.JSON:
        emit_json("periods", document)
        return
    if format_ is Format.CSV:
        rows = ([dict(item)[name] for name in PERIOD_CSV[1:]] for item in document["periods"])
        print_csv(PERIOD_CSV[1:], rows)
        return
    if not found:
        say(f"no period of book {book} is closed")
        return
    closed = closed_periods(found)
    until = f"closed until {minute(closed[-1].end)} UTC" if closed else "nothing is closed"
    header = ["no.", "what", "period", "from (UTC)", "until (UTC)", "comparison", "on (UTC)"]
    reasons = any(period.reason for period in found)
    print_table(
        [*header, *(["reason"] if reasons else [])],
        [
            [
                period.seq,
                _WORDS[period.action],
                period.name,
                minute(period.start),
                minute(period.end),
                "" if period.reconciliation is None else str(period.reconciliation),
                minute(period.recorded_at),
                *([period.reason or ""] if reasons else []),
            ]
            for period in found
        ],
        title=f"Periods of book {book}: {until}",
        numbers=["no.", "from (UTC)", "until (UTC)", "comparison", "on (UTC)"],
        drops=["comparison", "on (UTC)", "from (UTC)", "no."],
    )


PERIOD_CSV = (
    *("outcome", "seq", "action", "name", "start", "end", "timezone", "reconciliation"),
    *("reason", "recorded_at"),
)
_WORDS = {"close": "closed", "reopen": "reopened"}


def _print_one(book: str, period: Period, format_: Format) -> None:
    """What a command closed or reopened, or that it was so before."""
    from ledger.cli.output import emit_json, print_csv, print_text, say
    from ledger.documents import period_document

    document, word = period_document(period), _WORDS[period.action]
    notes = []
    if period.replayed:
        when = minute(period.recorded_at)
        notes.append(f"{period.name} was {word} on {when} UTC already, and nothing was written")
    if format_ is Format.JSON:
        emit_json("period", {"book": book, "period": document, "replayed": period.replayed}, notes)
        return
    if format_ is Format.CSV:
        known = dict(document) | {"outcome": "replayed" if period.replayed else "written"}
        print_csv(PERIOD_CSV, [[known[name] for name in PERIOD_CSV]])
    elif period.action == "close":
        end = minute(period.end)
        print_text(f"closed {period.name} of book {book}: what happened before {end} UTC is frozen")
        notes.append(f"its figures: kling-ledger wallet trial-balance --before {document['end']}"
                     " --by happened")  # fmt: skip
    else:
        print_text(f"reopened {period.name} of book {book}: facts count in it again")
    if period.reason is not None and period.action == "close":
        notes.insert(0, period.reason)
    for note in notes:
        say(note)

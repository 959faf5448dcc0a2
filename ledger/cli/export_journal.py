"""`kling-ledger export journal`."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from ledger.cli.books import open_ledger
from ledger.cli.options import (
    DEFAULT_DB,
    STDOUT,
    BookOption,
    DbOption,
    OutputOption,
    OverwriteOption,
    WalletOption,
)
from ledger.cli.spans import (
    AsOfOption,
    FromOption,
    PeriodOption,
    ToOption,
    ZoneOption,
    asked_moment_us,
    asked_span,
)

__all__ = ["EXAMPLES", "journal"]

EXAMPLES = """
**Examples**

`kling-ledger export journal --dialect beancount --period 2026-10 --output 2026-10.beancount`

`kling-ledger export journal --dialect hledger --label team --holds | hledger -f - balance`
"""


class DialectName(StrEnum):
    """A program that a journal is for."""

    BEANCOUNT = "beancount"
    HLEDGER = "hledger"
    LEDGER = "ledger"


def journal(
    dialect: Annotated[
        DialectName, typer.Option("--dialect", help="The program that is to read it.")
    ],
    period: PeriodOption = None,
    since: FromOption = None,
    until: ToOption = None,
    timezone: ZoneOption = "UTC",
    as_of: AsOfOption = None,
    wallet: WalletOption = None,
    holds: Annotated[
        bool, typer.Option("--holds", help="Also post credits that are set aside and come back.")
    ] = False,
    label: Annotated[
        str | None,
        typer.Option(
            "--label",
            metavar="LABEL",
            help="Divide expenses by the values of this label, such as `team`.",
        ),
    ] = None,
    commodity: Annotated[
        str, typer.Option("--commodity", metavar="NAME", help="What credits are called.")
    ] = "CREDIT",
    currency: Annotated[
        str,
        typer.Option(
            "--currency", metavar="CODE", help="What promotional credits cost nothing of."
        ),
    ] = "USD",
    cash_account: Annotated[
        str,
        typer.Option(
            "--cash-account", metavar="ACCOUNT", help="Where the money for top-ups comes from."
        ),
    ] = "Assets:Cash",
    output: OutputOption = STDOUT,
    overwrite: OverwriteOption = False,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
) -> None:
    """Write a journal for beancount, hledger or ledger.

    Credits stand in lots at what they cost, and what each wallet holds is asserted to the last
    digit. With a period, each wallet opens with what it held before.
    """
    from ledger.cli.output import ProgressBar, say
    from ledger.exports.journals import journal as journal_of
    from ledger.exports.writing import check_output, whole_file

    if output != STDOUT:
        check_output(output, overwrite=overwrite)
    span = asked_span(period, since, until, timezone)
    with open_ledger(db, book) as ledger, ProgressBar("writing the journal") as bar:
        lines = journal_of(
            ledger,
            dialect.value,
            span=span,
            as_of_us=asked_moment_us(as_of, timezone),
            wallet=wallet,
            timezone=timezone,
            holds=holds,
            label=label,
            commodity=commodity,
            currency=currency,
            cash_account=cash_account,
            progress=bar,
        )
        if output == STDOUT:
            for line in lines:
                sys.stdout.write(f"{line}\n")
            return
        with whole_file(output, overwrite=overwrite) as file:
            for line in lines:
                file.write(f"{line}\n".encode())
    say(f"wrote the journal to {output}")

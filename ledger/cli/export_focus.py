"""`kling-ledger export focus`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ledger.cli.books import open_ledger
from ledger.cli.options import DEFAULT_DB, BookOption, DbOption
from ledger.cli.spans import (
    AsOfOption,
    FromOption,
    PeriodOption,
    ToOption,
    asked_moment_us,
    asked_span,
)

__all__ = ["EXAMPLES", "focus"]

EXAMPLES = (
    "**Example**: `kling-ledger export focus --period 2026-10 --output october`\n\n"
    "**Example**: `kling-ledger export focus --focus-version 1.4 --format csv --period 2026-10"
    " --output october-1.4`"
)


class FocusVersion(StrEnum):
    """Versions of the specification."""

    V1_2 = "1.2"
    V1_4 = "1.4"


class FocusFormat(StrEnum):
    """How rows are written."""

    CSV = "csv"
    PARQUET = "parquet"


def focus(
    output: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="FOLDER", help="The folder to make.", show_default=False
        ),
    ],
    focus_version: Annotated[
        FocusVersion,
        typer.Option(help="`1.2` has prices in credits; `1.4` is in money only."),
    ] = FocusVersion.V1_2,
    format_: Annotated[
        FocusFormat, typer.Option("--format", "-f", help="How rows are written.")
    ] = FocusFormat.PARQUET,
    period: PeriodOption = None,
    since: FromOption = None,
    until: ToOption = None,
    as_of: AsOfOption = None,
    currency: Annotated[
        str,
        typer.Option(
            metavar="CODE", help="Billing currency of a book in which nothing was ever paid for."
        ),
    ] = "USD",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the folder, if an export wrote it.")
    ] = False,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
) -> None:
    """Write charges as FOCUS, the format of cost management.

    Makes a folder with rows and metadata: Cost and Usage, and with version 1.4 Invoice Detail and
    Billing Period. Months begin in UTC, as FOCUS asks. The folder appears complete or not at all.
    """
    from ledger.cli.output import ProgressBar, print_table, say
    from ledger.errors import VerificationFailed
    from ledger.exports.focus import write_focus

    span = asked_span(period, since, until, "UTC")
    as_of_us = asked_moment_us(as_of, "UTC")
    with open_ledger(db, book) as ledger, ProgressBar("writing charges") as progress:
        done = write_focus(
            ledger,
            output,
            version=focus_version.value,
            format=format_.value,
            span=span,
            as_of_us=as_of_us,
            currency=currency,
            overwrite=overwrite,
            progress=progress,
        )
    print_table(
        ["file", "rows", "bytes"],
        [[it.name, "" if it.rows is None else str(it.rows), it.bytes] for it in done.files],
        title=f"Wrote {output}",
        numbers=["rows", "bytes"],
    )
    if done.findings:
        raise VerificationFailed(done.findings)
    say("where the files depart from FOCUS on purpose stands in their metadata, x_Deviations")

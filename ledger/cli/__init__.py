"""The command line: parse, call the library once, print.

Only Typer is imported here. Everything else loads when a command runs, so that help and shell
completion stay quick.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from ledger.cli.parsing import AmountCommand, Group
from ledger.cli.streams import forget_stdout, open_streams, stdout_failure
from ledger.errors import LedgerError

__all__ = ["app", "main"]

app = typer.Typer(
    name="kling-ledger",
    cls=Group,
    help=(
        "What AI video costs: exact quotes and plans from dated prices, and a book of the credits"
        " that jobs reserve and spend."
    ),
    epilog=(
        "Exit status: 0 fine, 1 unexpected, 2 usage, 3 refused for credits or a budget,"
        " 4 not reconciled or with open breaks, 6 cannot be priced,"
        " 7 input data invalid or output that cannot be written,"
        " 8 database locked or not usable,"
        " 9 verification failed, 130 interrupted."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"kling-ledger {version('kling-ledger')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    pass


from ledger.cli import (  # noqa: E402  they register on `app`
    budget,
    db,
    demo,
    estimate,
    export,
    holds,
    ingest,
    jobs,
    period,
    prices,
    quote,
    reconcile,
    report,
    verify,
    wallet,
)

_PRICES, _BOOK = "Commands about prices", "Commands about the book"

app.command("quote", epilog=quote.EXAMPLES, rich_help_panel=_PRICES)(quote.quote)
app.command("estimate", epilog=estimate.EXAMPLES, rich_help_panel=_PRICES)(estimate.estimate)
app.add_typer(prices.app, name="prices", rich_help_panel=_PRICES)
app.command("demo", rich_help_panel=_PRICES)(demo.demo)
app.add_typer(wallet.app, name="wallet", rich_help_panel=_BOOK)
app.command("reserve", cls=AmountCommand, epilog=jobs.RESERVE_EXAMPLES, rich_help_panel=_BOOK)(
    jobs.reserve
)
app.command("extend", cls=AmountCommand, rich_help_panel=_BOOK)(jobs.extend)
app.command("charge", cls=AmountCommand, epilog=jobs.CHARGE_EXAMPLES, rich_help_panel=_BOOK)(
    jobs.charge
)
app.command("release", rich_help_panel=_BOOK)(jobs.release)
app.command("refund", cls=AmountCommand, rich_help_panel=_BOOK)(jobs.refund)
app.add_typer(budget.app, name="budget", rich_help_panel=_BOOK)
app.add_typer(holds.app, name="holds", rich_help_panel=_BOOK)
app.add_typer(period.app, name="period", rich_help_panel=_BOOK)
app.add_typer(reconcile.app, name="reconcile", rich_help_panel=_BOOK)
app.command("ingest", epilog=ingest.EXAMPLES, rich_help_panel=_BOOK)(ingest.ingest)
app.add_typer(report.app, name="report", rich_help_panel=_BOOK)
app.add_typer(export.app, name="export", rich_help_panel=_BOOK)
app.command("verify", rich_help_panel=_BOOK)(verify.verify)
app.add_typer(db.app, name="db", rich_help_panel=_BOOK)


def main() -> Any:
    """Run the command line; every user's mistake ends in one message and its exit status."""
    open_streams()
    try:
        _run()
    except LedgerError as error:
        _complain(str(error), *getattr(error, "__notes__", ()))
        _flush_after_an_error()
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        _complain("interrupted")
        sys.exit(130)
    except Exception as error:
        _end_if_stdout_failed(error)
        if isinstance(error, OSError):
            where = f"{error.filename}: " if error.filename else ""
            _complain(f"{where}{error.strerror or error}")
            sys.exit(1)
        if os.environ.get("KLING_LEDGER_DEBUG"):
            raise
        _complain(
            f"unexpected {type(error).__name__}; this is a defect of kling-ledger."
            " Set KLING_LEDGER_DEBUG=1 to see where, and please report it"
        )
        sys.exit(1)


def _run() -> None:
    try:
        app(prog_name="kling-ledger")
    except SystemExit as end:
        if end.code == 130:
            raise KeyboardInterrupt from None
        if isinstance(end.__context__, BrokenPipeError):
            raise BrokenPipeError from None
        # What is still in the buffer may not fit the disk; that is to be said, too.
        sys.stdout.flush()
        raise


def _end_if_stdout_failed(error: Exception) -> None:
    """End quietly if nobody reads on (`| head`), and as with any output if it cannot be written.

    Whatever wrote to stdout may have made an error of its own of that.
    """
    failure = error if isinstance(error, BrokenPipeError) else stdout_failure()
    if failure is None:
        return
    forget_stdout()
    if isinstance(failure, BrokenPipeError):
        # The reader has what it wanted.
        sys.exit(0)
    refusal = _output_error(failure)
    _complain(str(refusal))
    sys.exit(refusal.exit_status)


def _flush_after_an_error() -> None:
    """Say if what stands on stdout beside an error could not be written; the error counts."""
    try:
        sys.stdout.flush()
    except OSError as failure:
        forget_stdout()
        if not isinstance(failure, BrokenPipeError):
            _complain(str(_output_error(failure)))


def _output_error(failure: OSError) -> LedgerError:
    from ledger.errors import OutputError
    from ledger.exports.writing import reason_of

    return OutputError("standard output", reason_of(failure))


def _complain(message: str, *more: str) -> None:
    from ledger.cli.output import complain

    complain(message, *more)

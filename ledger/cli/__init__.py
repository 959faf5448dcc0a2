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
        " 4 not reconciled or with open breaks, 6 cannot be priced, 7 input data invalid,"
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
    _open_closed_streams()
    try:
        _run()
    except LedgerError as error:
        _complain(str(error), *getattr(error, "__notes__", ()))
        sys.exit(error.exit_status)
    except BrokenPipeError:
        # The reader (`| head`) has what it wanted.
        _forget_stdout()
        sys.exit(0)
    except KeyboardInterrupt:
        _complain("interrupted")
        sys.exit(130)
    except OSError as error:
        _forget_stdout()
        where = f"{error.filename}: " if error.filename else ""
        _complain(f"{where}{error.strerror or error}")
        sys.exit(1)
    except Exception as error:
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


def _forget_stdout() -> None:
    """Python would complain again, on its way out, about a stdout that cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _open_closed_streams() -> None:
    """Who closes stdout or stderr (`>&-`) wants to hear nothing, as with /dev/null."""
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  until the end
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115


def _complain(message: str, *more: str) -> None:
    from ledger.cli.output import complain

    complain(message, *more)

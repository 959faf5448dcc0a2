"""The command line: parse, call the library once, print.

Only Typer is imported here. Everything else loads when a command runs, so that help and shell
completion stay quick.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from ledger.errors import LedgerError

__all__ = ["app", "main"]

app = typer.Typer(
    name="kling-ledger",
    help="What AI video costs: exact quotes and plans, from dated prices.",
    epilog=(
        "Exit status: 0 fine, 1 unexpected, 2 usage, 6 cannot be priced, 7 input data invalid,"
        " 130 interrupted."
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


from ledger.cli import demo, estimate, prices, quote  # noqa: E402  they register on `app`

app.command("quote", epilog=quote.EXAMPLES)(quote.quote)
app.command("estimate", epilog=estimate.EXAMPLES)(estimate.estimate)
app.add_typer(prices.app, name="prices")
app.command("demo")(demo.demo)


def main() -> Any:
    """Run the command line; every user's mistake ends in one message and its exit status."""
    try:
        _run()
    except LedgerError as error:
        _complain(str(error))
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


def _complain(message: str) -> None:
    from ledger.cli.output import complain

    complain(message)

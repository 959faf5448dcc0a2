"""`--plot`: a report as a picture, in a file or in the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ledger.reports.charts import Limit
    from ledger.reports.report import Report

__all__ = ["TERMINAL", "PlotOption", "check_plot", "plot"]

TERMINAL = "terminal"
"""Where a picture made of letters goes."""

PlotOption = Annotated[
    str | None,
    typer.Option(
        "--plot",
        metavar="FILE",
        help="Draw it: to a file that ends in .png or .svg, or with `terminal` here, in place of"
        " the table.",
        show_default="no picture",
    ),
]


def check_plot(to: str | None, *, overwrite: bool) -> None:
    """Refuse a picture that could not be written, before any work is done for it.

    Raises:
        BadParameter: neither a picture nor the terminal.
        OutputError: the file cannot be written, or is there already.
    """
    if to is None or to == TERMINAL:
        return
    if not to.lower().endswith((".png", ".svg")):
        problem = f"--plot takes a file that ends in .png or .svg, or terminal, not {to!r}"
        raise typer.BadParameter(problem)
    from ledger.exports.writing import check_output

    check_output(Path(to), overwrite=overwrite)


def plot(report: Report, to: str, limits: Sequence[Limit], *, overwrite: bool) -> None:
    """Draw a report to a file, or to stdout in letters.

    Raises:
        InvalidEntry: it has nothing that could be drawn.
        MissingExtra: matplotlib or plotext is not installed.
        OutputError: the file cannot be written.
    """
    if to == TERMINAL:
        from ledger.reports.terminal import plot_text

        colours = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        sys.stdout.write(plot_text(report, limits=limits, colours=colours))
        return
    from ledger.cli.output import say
    from ledger.exports.writing import whole_file
    from ledger.reports.pictures import picture

    drawn = picture(report, to, limits=limits)
    with whole_file(Path(to), overwrite=overwrite) as file:
        file.write(drawn)
    say(f"drew {to}")

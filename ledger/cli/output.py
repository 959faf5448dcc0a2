"""Printing: data on stdout as a table, JSON or CSV; everything said about them on stderr."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from time import monotonic
from typing import IO, TYPE_CHECKING, Any, NamedTuple
from unicodedata import category

from rich.box import SIMPLE
from rich.cells import cell_len
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ledger.units import ExchangeRate, iso, plain

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = [
    "ProgressBar",
    "Shortened",
    "complain",
    "emit_json",
    "json_text",
    "money",
    "print_csv",
    "print_figures",
    "print_table",
    "print_text",
    "rate_in_words",
    "say",
]


class _Console(Console):
    def on_broken_pipe(self) -> None:
        # Rich would end with status 1; a reader that has seen enough is no error.
        raise BrokenPipeError


def _console(stream: IO[str]) -> Console:
    # A pipe has no width; a table that is cut to a guessed one would lose digits.
    width = None if stream.isatty() else 10_000
    return _Console(file=stream, width=width, highlight=False, soft_wrap=False)


def say(message: str) -> None:
    """A note for the person at the terminal."""
    _console(sys.stderr).print(Text(f"note: {_cell(message)}", style="dim"), soft_wrap=True)


def complain(message: str, *more: str) -> None:
    """What went wrong, and what else is known about it, a line each."""
    text = Text("error: ", style="bold red").append(_cell(message), style="not bold default")
    for line in more:
        text.append(f"\n  {_cell(line)}", style="not bold default")
    _console(sys.stderr).print(text, soft_wrap=True)


def emit_json(schema: str, data: Any, warnings: Iterable[str] = ()) -> None:
    """One JSON document in the envelope that every command uses."""
    now = iso(datetime.now(UTC).replace(microsecond=0))
    sys.stdout.write(json_text(schema, data, warnings, generated_at=now))


def json_text(schema: str, data: Any, warnings: Iterable[str], *, generated_at: str) -> str:
    """The envelope as text; a report bears the time of its data, so that it can be made again."""
    document = {
        "schema": f"kling-ledger/{schema}/v1",
        "generated_at": generated_at,
        "data": data,
        "warnings": list(warnings),
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def print_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Rows as CSV; nothing stands for an empty cell, 1 and 0 for yes and no."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_plain(cell) for cell in row] for row in rows)


def _plain(cell: object) -> object:
    if isinstance(cell, bool):
        return int(cell)
    return "" if cell is None else cell


class Shortened(NamedTuple):
    """A column whose cells are cut before others are left out, such as dates without their year."""

    name: str
    cut: Callable[[str], str]
    then: str
    """What the column is called then."""


class _Column(NamedTuple):
    name: str
    cells: list[str]
    """The footer last, where there is one."""
    number: bool

    @property
    def widest(self) -> int:
        lines = [line for text in (self.name, *self.cells) for line in text.splitlines()]
        return max(map(cell_len, lines))

    @property
    def least(self) -> int:
        """How wide it must be so that no word and no number is broken."""
        if self.number:
            return self.widest
        words = [word for text in (self.name, *self.cells) for word in text.split()]
        return max((cell_len(word) for word in words), default=1)


def print_table(
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    title: str | None = None,
    total: Sequence[object] | None = None,
    numbers: Sequence[str] = (),
    drops: Sequence[str | Shortened] = (),
) -> list[str]:
    """Rows as a table; columns named in `numbers` are aligned to the right and never broken.

    A terminal that is too narrow gets no frame, then not the columns of `drops`, one after the
    other, and at last one cell a line. Gives the names of the columns that were left out.
    """
    console = _console(sys.stdout)
    if title:
        console.print(Text(_cell(title), style="bold"), soft_wrap=True)
    lines = [[_cell(cell) for cell in row] for row in (*rows, *([total] if total else []))]
    columns = []
    for place, name in enumerate(header):
        cells = [line[place] for line in lines]
        number = name in numbers
        columns.append(_Column(name, _aligned(cells) if number else cells, number))
    fitting = _fitting(columns, drops, console.width)
    if fitting is None:
        _print_records(console, columns)
        return []
    shown, framed, left_out = fitting
    console.print(_table(shown, framed, console.width, has_total=bool(total)))
    if left_out:
        say(f"left out, for want of room: {', '.join(left_out)}")
    return left_out


def _fitting(
    columns: list[_Column], drops: Sequence[str | Shortened], width: int
) -> tuple[list[_Column], bool, list[str]] | None:
    """The columns that there is room for, whether there is room for a frame, what is left out."""
    left_out: list[str] = []
    for step in (None, *drops):
        if isinstance(step, Shortened):
            columns = [_cut(each, step) if each.name == step.name else each for each in columns]
        elif step is not None:
            left_out += [each.name for each in columns if each.name == step]
            columns = [each for each in columns if each.name != step]
        needed = sum(each.least for each in columns)
        for framed in (True, False):
            if needed + _between(len(columns), framed=framed) <= width:
                return columns, framed, left_out
    return None


def _cut(column: _Column, step: Shortened) -> _Column:
    return column._replace(name=step.then, cells=[step.cut(cell) for cell in column.cells])


def _between(columns: int, *, framed: bool) -> int:
    """What a table needs besides its cells."""
    return 3 * columns + 1 if framed else 2 * (columns - 1)


def _table(columns: list[_Column], framed: bool, width: int, *, has_total: bool) -> Table:
    table = Table(show_footer=has_total)
    if not framed:
        table = Table(
            show_footer=has_total, box=SIMPLE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0)
        )
    widths = _widths(columns, width - _between(len(columns), framed=framed))
    rows = len(columns[0].cells) - has_total
    for column, wide in zip(columns, widths, strict=True):
        table.add_column(
            column.name,
            footer=Text(column.cells[-1] if has_total else ""),
            justify="right" if column.number else "left",
            overflow="fold",
            no_wrap=column.number,
            width=wide,
        )
    for row in range(rows):
        table.add_row(*(Text(column.cells[row]) for column in columns))
    return table


def _widths(columns: list[_Column], room: int) -> list[int]:
    """Each column as wide as its longest word, and what is left to those that need it most."""
    widths = [column.least for column in columns]
    wanted = [column.widest for column in columns]
    spare = min(room - sum(widths), sum(wanted) - sum(widths))
    for _ in range(spare):
        place = max(range(len(columns)), key=lambda at: wanted[at] - widths[at])
        widths[place] += 1
    return widths


def _print_records(console: Console, columns: Sequence[_Column]) -> None:
    """One cell a line, for a terminal too narrow for the table: no digit may be cut off."""
    names = max(cell_len(column.name) for column in columns)
    for row in range(len(columns[0].cells)):
        cells = [(column.name, column.cells[row]) for column in columns if column.cells[row]]
        text = "\n".join(f"{name:<{names}}  {cell}" for name, cell in cells)
        console.print(Text(text + "\n"), soft_wrap=True)


def _cell(value: object) -> str:
    """Text that cannot move the cursor: a label may hold anything."""
    text = "" if value is None else str(value)
    return "".join("�" if category(char) == "Cc" and char != "\n" else char for char in text)


def _aligned(cells: Sequence[str]) -> list[str]:
    """Plain numbers with thousands marked and as many decimals as the longest of them."""
    decimals = max((len(cell.partition(".")[2]) for cell in cells if _is_number(cell)), default=0)
    return [f"{Decimal(cell):,.{decimals}f}" if _is_number(cell) else cell for cell in cells]


def _is_number(cell: str) -> bool:
    return cell.replace(".", "", 1).removeprefix("-").isdecimal()


def print_figures(title: str, figures: Iterable[tuple[str, str]]) -> None:
    """A sentence, and figures under it with their points in one column."""
    console = _console(sys.stdout)
    console.print(Text(_cell(title), style="bold"), soft_wrap=True)
    named = [(name, _cell(figure)) for name, figure in figures]
    cells = _aligned([figure for _, figure in named])
    names = max((len(name) for name, _ in named), default=0)
    width = max((len(cell) for cell in cells), default=0)
    for (name, _), cell in zip(named, cells, strict=True):
        console.print(Text(f"  {name:<{names}}  {cell:>{width}}"), soft_wrap=True)


def print_text(text: str) -> None:
    """Plain text on stdout."""
    _console(sys.stdout).print(Text(text), soft_wrap=True)


class ProgressBar:
    """A bar on a terminal for work of more than a second; nothing anywhere else."""

    def __init__(self, what: str) -> None:
        """Nothing is shown yet."""
        self._what = escape(what)
        self._started = monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._shown = sys.stderr.isatty()

    def __call__(self, done: int) -> None:
        """Show how much is done."""
        if not self._shown or monotonic() - self._started < 1:
            return
        if self._bar is None or self._task is None:
            from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

            self._bar = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                TextColumn("{task.completed:,.0f} rows"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task(self._what, total=None)
            self._bar.start()
        self._bar.update(self._task, completed=done)

    def __enter__(self) -> ProgressBar:
        """Start counting the time."""
        return self

    def __exit__(self, *_: object) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()


def rate_in_words(rate: ExchangeRate | None) -> str:
    """The rate that dollars are shown at."""
    if rate is None:
        return "no exchange rate in force"
    return f"{plain(rate.credits_per_unit)} credits per USD from {rate.effective_from:%Y-%m-%d}"


def money(amount: Any) -> str:
    """Dollars for people: four decimals, which is what the provider's pages use at most."""
    exact = Decimal(amount)
    step = Decimal("1E-4") if not exact or abs(exact) >= Decimal("0.0001") else Decimal("1E-8")
    return f"{exact.quantize(step, rounding=ROUND_HALF_UP)}"

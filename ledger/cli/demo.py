"""`kling-ledger demo`."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from importlib.resources import as_file, files
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer


def demo(
    into: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Copy the example inputs there, and keep the book, to try on."
        ),
    ] = None,
) -> None:
    """Show it all on example inputs.

    Request bodies, a real clip, a plan of jobs, where the price sources disagree; ten days of a
    book: budgets, a few hundred jobs, a refusal; and the end of its month: the provider's messages
    and statement, every difference with its cause, corrections, closing, the proof; and what
    people and other programs read of the month.
    Every step prints the command that it runs. Nothing that is in FOLDER already is changed.
    """
    with as_file(files("ledger") / "demo") as shipped:
        _show_prices(shipped if into is None else _copied(shipped, into))
        with _workplace(shipped, into) as folder:
            _show_book(folder)
        if into is not None:
            _show_where(into)


def _show_prices(folder: Path) -> None:
    requests, clip, plan = folder / "requests.json", folder / "dance.mp4", folder / "plan.csv"
    rules = folder / "rules.json"
    steps: list[tuple[str, list[str | Path]]] = [
        ("The request bodies one would send to the provider", ["quote", requests]),
        (
            "One of them explained: a real clip is measured, checked and priced",
            [
                "quote",
                "motion-control",
                "--quality",
                "1080p",
                "--orientation",
                "video",
                "--video",
                clip,
                "--explain",
            ],
        ),
        (
            "A plan of jobs: ranges where the length is unknown, and what has no price",
            ["estimate", plan, "--by", "team", "--allow-not-priced"],
        ),
        (
            "Where the product pages and the published rules disagree",
            ["prices", "diff", "evolink", "evolink-rules"],
        ),
        (
            "What that makes of the plan, and why",
            ["prices", "impact", "evolink", "evolink-rules", "--jobs", plan, "--allow-not-priced"],
        ),
        (
            "A job priced from the provider's own pricing document",
            ["quote", "krea-2-turbo", "--quality", "2K", "--prices", rules, "--explain"],
        ),
    ]
    for number, (title, arguments) in enumerate(steps, start=1):
        _show_step(number, title, arguments)


def _show_step(number: int, title: str, arguments: list[str | Path]) -> None:
    from ledger.cli.output import print_text

    words = [as_typed(argument) for argument in arguments]
    print_text(f"\n{number}. {title}\n   $ kling-ledger {shlex.join(words)}\n")
    needed = {"estimate": "polars", "impact": "polars", "--video": "av"}
    missing = {module for word, module in needed.items() if word in words} - _installed()
    if missing:
        print_text(f"   left out: {', '.join(missing)} is not installed")
        return
    sys.stdout.flush()
    command = [sys.executable, "-m", "ledger", *map(str, arguments)]
    done = subprocess.run(command, check=False)  # noqa: S603  our own command
    if done.returncode:
        raise typer.Exit(done.returncode)


def _show_book(folder: Path) -> None:
    from ledger.cli.demo_book import show
    from ledger.cli.output import print_text

    numbers = count(7)
    show(folder, lambda title: print_text(f"\n{next(numbers)}. {title}"))


def _show_where(into: Path) -> None:
    """Where the book is that was kept, and how one goes on with it."""
    from ledger.cli.demo_book import DATABASE
    from ledger.cli.demo_month import EXPORTS
    from ledger.cli.output import print_text

    path = shlex.quote(as_typed(into / DATABASE))
    exports = shlex.quote(as_typed(into / EXPORTS))
    found = [
        f"\nThe book is kept in {path}.",
        *([f"The month is in {exports}."] if (into / EXPORTS).exists() else []),
        f"Try:\n   $ kling-ledger wallet lots studio --db {path}",
    ]
    print_text(" ".join(found))


@contextmanager
def _workplace(shipped: Path, into: Path | None) -> Iterator[Path]:
    """Where the demo's book is kept: beside the inputs, or for the time of the demo only."""
    if into is not None:
        yield into
        return
    with TemporaryDirectory(prefix="kling-ledger-") as temporary:
        folder = Path(temporary).resolve()
        (folder / "requests.json").write_bytes((shipped / "requests.json").read_bytes())
        # So that the commands are shown as one would type them there.
        with chdir(folder):
            yield folder


def _installed() -> set[str]:
    return {module for module in ("polars", "av") if find_spec(module) is not None}


INPUTS = ("requests.json", "plan.csv", "dance.mp4", "rules.json")


def _copied(shipped: Path, into: Path) -> Path:
    """The inputs of the demo in a folder of the reader's, where nothing of theirs is touched.

    Raises:
        InvalidInput: it is no folder; a file of the demo is there already.
    """
    from ledger.cli.demo_book import DATABASE, REQUEST
    from ledger.cli.demo_month import CORRECTIONS, EXPORTS, MESSAGES, STATEMENT
    from ledger.errors import InvalidInput

    if into.exists() and not into.is_dir():
        raise InvalidInput(f"{into}: is not a folder")
    written = (REQUEST, MESSAGES, STATEMENT, CORRECTIONS, EXPORTS)
    for name in (*(f"{DATABASE}{ending}" for ending in ("", "-wal", "-shm")), *written):
        if (into / name).exists():
            raise _is_there(into / name)
    for name in INPUTS:
        path = into / name
        if path.exists() and (
            not path.is_file() or path.read_bytes() != (shipped / name).read_bytes()
        ):
            raise _is_there(path)
    into.mkdir(parents=True, exist_ok=True)
    for name in INPUTS:
        (into / name).write_bytes((shipped / name).read_bytes())
    return into


def _is_there(path: Path) -> Exception:
    from ledger.errors import InvalidInput

    return InvalidInput(f"{path}: is there already; name another folder, or remove it")


def as_typed(argument: object) -> str:
    """A path as one would type it here.

    >>> as_typed(Path.cwd() / "plan.csv"), as_typed("--by")
    ('plan.csv', '--by')
    """
    if isinstance(argument, Path) and argument.is_relative_to(Path.cwd()):
        return str(argument.relative_to(Path.cwd()))
    return str(argument)

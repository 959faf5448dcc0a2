"""The command line as the tests call it: for real in a process of its own, or quickly in this one.

`run` is the truth; `call` is the same command without the time to start Python, for the bulk, and
`shown_at` is it on a real terminal, in a process that is forked.
"""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import select
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import typer.main
from writers import processes

from ledger.cli import main

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "ledger" / "demo"
SCHEMAS = ROOT / "ledger" / "schemas"
COMMAND = [sys.executable, "-m", "ledger"]

_made_once = patch("typer.main.get_command", cache(typer.main.get_command))
"""Typer makes all commands anew for every line, which takes longer than most lines do."""

_BOXES = str.maketrans(dict.fromkeys("╭╮╰╯│─", " "))


@dataclass(frozen=True)
class Done:
    """What a command printed and how it ended."""

    stdout: str
    stderr: str
    status: int

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.stdout)

    @property
    def data(self) -> Any:
        return self.document["data"]

    @property
    def rows(self) -> list[dict[str, str]]:
        """The CSV on stdout."""
        return list(csv.DictReader(io.StringIO(self.stdout, newline="")))

    @property
    def said(self) -> str:
        """Stderr without boxes and line breaks, so that a sentence can be found in it."""
        return " ".join(self.stderr.translate(_BOXES).split())


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """This environment without what would change how the command behaves."""
    left_out = ("KLING_LEDGER_", "_KLING_LEDGER_", "NO_COLOR", "FORCE_COLOR", "TTY_", "PYTHON")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    # Price books that were imported are this user's, and not the tests'.
    clean |= {"KLING_LEDGER_PRICE_DIR": os.devnull}
    clean |= {"COLUMNS": "100", "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "TERM": "xterm"}
    return clean | dict(more or {})


def run(
    *args: str | Path,
    stdin: str | bytes | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Done:
    """The real command, in a process of its own."""
    given = stdin.encode() if isinstance(stdin, str) else stdin or b""
    done = subprocess.run(
        [*COMMAND, *map(str, args)],
        input=given,
        capture_output=True,
        check=False,
        cwd=cwd,
        env=environment(env),
        timeout=60,
    )
    return Done(done.stdout.decode(), done.stderr.decode(), done.returncode)


def call(
    *args: str | Path,
    stdin: str | bytes = b"",
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Done:
    """The same in this process."""
    given = stdin.encode() if isinstance(stdin, str) else stdin
    out, err = io.StringIO(newline=""), io.StringIO(newline="")
    with (
        _made_once,
        _environment(environment(env)),
        _given(["kling-ledger", *map(str, args)], given),
        chdir(cwd or Path.cwd()),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        try:
            main()
            status = 0
        except SystemExit as end:
            status = 0 if end.code is None else int(end.code)
    return Done(out.getvalue(), err.getvalue(), status)


def shown_at(columns: int, *arguments: str, cwd: Path | None = None) -> str:
    """What a terminal of that width shows, without colours, of a command that ends well."""
    env = environment({"COLUMNS": str(columns), "LINES": "50", "NO_COLOR": "1"})
    keeper, terminal = pty.openpty()
    given = (os.ttyname(terminal), arguments, env, cwd or Path.cwd())
    process = processes.Process(target=_type_on, args=given, daemon=True)
    process.start()
    shown = b""
    try:
        while keeper in select.select([keeper, process.sentinel], [], [], 60)[0]:
            shown += os.read(keeper, 65536)
        process.join(0)
        assert process.exitcode == 0, shown
    finally:
        process.kill()
        process.join()
        process.close()
        os.close(terminal)
    with os.fdopen(keeper, "rb", buffering=0) as rest:
        try:
            while block := rest.read(65536):
                shown += block
        except OSError:  # the other side is closed
            pass
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.decode().replace("\r\n", "\n"))


def _type_on(
    terminal: str, arguments: tuple[str, ...], env: Mapping[str, str], folder: Path
) -> None:
    opened = os.open(terminal, os.O_RDWR | os.O_NOCTTY)
    for stream in range(3):
        os.dup2(opened, stream)
    sys.stdin, sys.stdout, sys.stderr = (
        open(stream, mode, encoding="utf-8", closefd=False)  # noqa: SIM115  as long as the process
        for stream, mode in enumerate("rww")
    )
    with _environment(env), chdir(folder):
        sys.argv = ["kling-ledger", *arguments]
        main()


@contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _given(arguments: list[str], stdin: bytes) -> Iterator[None]:
    before = sys.argv, sys.stdin
    sys.argv, sys.stdin = arguments, io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    try:
        yield
    finally:
        sys.argv, sys.stdin = before


def write(folder: Path, name: str, content: str | bytes) -> Path:
    """A file with exactly this content."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path

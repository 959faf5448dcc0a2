"""The command line as the tests call it: for real in a process of its own, or quickly in this one.

`run` is the truth; `call` is the same command without the time to start Python, for the bulk.
"""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.cli import main

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "ledger" / "demo"
SCHEMAS = ROOT / "ledger" / "schemas"
COMMAND = [sys.executable, "-m", "ledger"]

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

"""The provider's tasks as JSON: a line each, or whole documents of its task list.

Numbers keep the digits they were written with. A row is a task; a reply of the task list, or a
query of several, holds its rows in `data`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import compress
from operator import itemgetter
from typing import Any, Final

import polars as pl

from ledger.errors import Fault, InvalidMapping
from ledger.statements.sources import LINE, Cells, Content, File, Rejected

__all__ = ["TaskFile"]

_ROWS: Final = 50_000
"""Rows that make a frame."""
_BATCH: Final = 100
"""Rows held as objects at a time; more of them outgrow the processor's cache."""
_LARGEST_DOCUMENT: Final = 256 << 20
"""Bytes of a JSON document that is not one of lines."""
_DEEPEST: Final = 3
"""Levels of objects in which columns are looked for."""
_SAMPLE: Final = 1_000
"""Rows that are looked at for columns."""

Row = dict[str, Any]


class _BadLine(Exception):
    """Why a line holds no rows."""


def _pairs(pairs: list[tuple[str, Any]]) -> Row:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _BadLine(f"has {twice!r} twice in one object")
    return found


_TEXTS: Final[dict[str, Any]] = {"parse_float": str, "parse_int": str, "parse_constant": str}
_DECODER: Final[Any] = json.JSONDecoder(**_TEXTS)
_SCAN: Final[Callable[[str, int], tuple[Any, int]]] = _DECODER.scan_once
_PAIRS: Final = json.JSONDecoder(**_TEXTS, object_pairs_hook=_pairs)


class TaskFile:
    """A file of JSON as a table; columns are paths such as `usage.credits_used`."""

    def __init__(self, file: File, encoding: str = "utf-8") -> None:
        self.file, self.encoding, self.notes = file, encoding, list[str]()
        self.is_document = self._is_document()
        found: dict[str, None] = {}
        looked_at = 0
        for _, rows in self._batches([]):
            for row in rows:
                found |= dict.fromkeys(_paths(row))
            looked_at += len(rows)
            if looked_at >= _SAMPLE:
                break
        self.header = list(found)

    def _is_document(self) -> bool:
        """Whether all of it is one value, and not one of each line."""
        lines = next(self.file.pieces(self.encoding), b"").lstrip().split(b"\n", 2)
        if lines[0].startswith(b"[") or len(lines) == 1:
            return lines[0].startswith(b"[")
        # A line that is cut off is still a line, where another object begins on the next.
        return not lines[0].rstrip().endswith(b"}") and not lines[1].startswith(b"{")

    def cells(self, wanted: Mapping[int | str, Content]) -> Iterator[Cells]:
        """The cells of some columns, some rows at a time."""
        gathered = _Gathered([str(place) for place in wanted])
        self.seen = gathered.seen
        rejected: list[Rejected] = []
        for lines, rows in self._batches(rejected):
            gathered.add(lines, rows, rejected)
            if len(gathered.lines) >= _ROWS or len(rejected) >= _ROWS:
                yield Cells(gathered.taken(), rejected[:])
                rejected.clear()
        if gathered.lines or rejected:
            yield Cells(gathered.taken(), rejected)

    def _batches(self, rejected: list[Rejected]) -> Iterator[tuple[list[int], list[Row]]]:
        """Some rows at a time and the line of each; lines that hold none are told."""
        if self.is_document:
            rows = self._document()
            yield list(range(1, len(rows) + 1)), rows
            return
        first = 1
        for texts in self._texts():
            values = _plain_values(texts)
            if values is not None:
                yield list(range(first, first + len(texts))), values
            else:
                yield self._one_by_one(texts, first, rejected)
            first += len(texts)

    @staticmethod
    def _one_by_one(
        texts: list[str], first: int, rejected: list[Rejected]
    ) -> tuple[list[int], list[Row]]:
        lines: list[int] = []
        found: list[Row] = []
        for line, text in enumerate(texts, start=first):
            try:
                rows = _tasks(_value(text.strip())) if text.strip() else []
            except _BadLine as error:
                rejected.append(Rejected(line, "", str(error)))
                continue
            found += rows
            lines += [line] * len(rows)
        return lines, found

    def _texts(self) -> Iterator[list[str]]:
        """Some lines at a time."""
        pending = b""
        for piece in self.file.pieces(self.encoding):
            whole, end, rest = piece.rpartition(b"\n")
            if not end:
                pending += piece
                continue
            lines = (pending + whole).decode().split("\n")
            pending = rest
            for place in range(0, len(lines), _BATCH):
                yield lines[place : place + _BATCH]
        if pending:
            yield [pending.decode()]

    def _document(self) -> list[Row]:
        if self.file.size > _LARGEST_DOCUMENT:
            self.file.whole(_LARGEST_DOCUMENT)
        text = b"".join(self.file.pieces(self.encoding)).decode()
        try:
            value = _PAIRS.decode(text)
        except json.JSONDecodeError as error:
            problem = f"is not JSON: {error.msg}, column {error.colno}"
            raise self.file.refuse(problem, f"line {error.lineno}") from None
        except (_BadLine, RecursionError) as error:
            raise self.file.refuse(f"is not JSON: {error}") from None
        rows = value.get("data", [value]) if isinstance(value, dict) else value
        if isinstance(rows, dict):
            rows = [rows]
        if not isinstance(rows, list) or not all(type(row) is dict for row in rows):
            raise self.file.refuse("is no list of tasks")
        return rows

    def check(self, wanted: Mapping[int | str, Content]) -> None:
        """Refuse columns that no row has, once all rows were read.

        Raises:
            InvalidMapping: has every one of them.
        """
        missing = [str(place) for place in wanted if str(place) not in self.seen]
        if missing:
            known = ", ".join(self.header[:20])
            faults = [
                Fault("columns", f"{name!r} is in no row; there are {known}") for name in missing
            ]
            raise InvalidMapping(str(self.file.path), faults)


_GAPS: Final = ("\t", "\r", '" :')
"""What may stand between a key and its colon; text itself has no bare tabs."""


class _Gathered:
    """Columns that are made from rows."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.steps = {path: path.split(".") for path in paths}
        self.seen: set[str] = set()
        """Columns that had something."""
        self.lines: list[int] = []
        self.columns: dict[str, list[str | None]] = {path: [] for path in paths}

    def add(self, lines: list[int], rows: Sequence[Row], rejected: list[Rejected]) -> None:
        """Take the cells of some rows; rows with a cell that is no text are rejected."""
        level: dict[tuple[str, ...], list[Any]] = {(): list(rows)}
        for steps in self.steps.values():
            for depth in range(1, len(steps) + 1):
                if (key := tuple(steps[:depth])) not in level:
                    level[key] = _within(level[key[:-1]], key[-1], is_top=depth == 1)
        found = {path: level[tuple(steps)] for path, steps in self.steps.items()}
        bad: set[int] = set()
        for path, values in found.items():
            kinds = set(map(type, values))
            if kinds != {type(None)}:
                self.seen.add(path)
            if not kinds <= {str, type(None)}:
                found[path] = [_text(value) for value in values]
                wrong = [place for place, value in enumerate(found[path]) if value is _NO_TEXT]
                problem = "is no text and no number"
                rejected.extend(Rejected(lines[place], path, problem) for place in wrong)
                bad.update(wrong)
        if bad:
            keep = [place not in bad for place in range(len(rows))]
            lines = list(compress(lines, keep))
            found = {path: list(compress(values, keep)) for path, values in found.items()}
        self.lines.extend(lines)
        for path, values in found.items():
            self.columns[path].extend(values)

    def taken(self) -> pl.DataFrame:
        """What was gathered, which is then gone."""
        schema: dict[str, pl.DataType] = {LINE: pl.Int64()}
        schema |= dict.fromkeys(self.columns, pl.String())
        frame = pl.DataFrame({LINE: self.lines, **self.columns}, schema=schema)
        self.lines.clear()
        for values in self.columns.values():
            values.clear()
        return frame


def _within(values: list[Any], name: str, *, is_top: bool) -> list[Any]:
    """What objects have under a name; nothing for what has none, or is no object."""
    if not is_top and not any(values):
        return [None] * len(values)
    try:
        return list(map(itemgetter(name), values))
    except (KeyError, TypeError, IndexError):
        if is_top:
            return [value.get(name) for value in values]
        return [value.get(name) if type(value) is dict else None for value in values]


_NO_TEXT: Final = object()
"""Stands for a value that is no cell."""


def _text(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if value is None or isinstance(value, str) else _NO_TEXT


def _plain_values(texts: list[str]) -> list[Row] | None:
    """The objects of some lines, each a task; None where one of them needs a closer look."""
    values: list[Row] = []
    try:
        for text in texts:
            value, end = _SCAN(text, 0)
            if end != len(text) or type(value) is not dict or "data" in value:
                return None
            values.append(value)
    except (StopIteration, ValueError, RecursionError):
        return None
    # Looking at every pair of every object takes as long as all the rest. Each key has a colon
    # behind its quote, so lines with as many of those as keys cannot have a key twice.
    whole = "\n".join(texts)
    if any(gap in whole for gap in _GAPS) or whole.count('":') != _keys(values):
        return None
    return values


def _tasks(value: Row) -> list[Row]:
    """The rows of a reply of the task list, or the one task."""
    rows = value.get("data")
    if type(rows) is not list:
        return [value]
    if not all(type(row) is dict for row in rows):
        raise _BadLine("has something in data that is no object")
    return rows


def _value(text: str) -> Row:
    """The object a line holds, looked at pair by pair."""
    try:
        value, end = _PAIRS.raw_decode(text)
    except json.JSONDecodeError as error:
        raise _BadLine(f"is not JSON: {error.msg}, column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise _BadLine(f"is not JSON: {error}") from None
    if text[end:].strip():
        raise _BadLine(f"has something after its object, column {end + 1}")
    if type(value) is not dict:
        raise _BadLine("is not an object")
    return value


def _keys(rows: list[Row]) -> int:
    """Keys of some objects and of all within them, level by level."""
    count = 0
    level = rows
    while level:
        count += sum(map(len, level))
        # Nearly all values are text, numbers included.
        nested = [item for row in level for item in row.values() if type(item) is not str]
        level = []
        while nested:
            level += [item for item in nested if type(item) is dict]
            nested = [part for item in nested if type(item) is list for part in item]
    return count


def _paths(row: Row, before: str = "", level: int = 1) -> Iterator[str]:
    for name, value in row.items():
        if type(value) is dict and level < _DEEPEST:
            yield from _paths(value, f"{before}{name}.", level + 1)
        elif type(value) is not list:
            yield before + name

"""A statement's file: what it is, its digest, and its text in pieces that end at a line's end.

The file is read twice, once for its digest and what kind of file it is, once for its lines; if the
two readings differ, it changed in between, and nothing of it counts.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol

import polars as pl

from ledger.errors import Fault, InvalidStatement

__all__ = ["LINE", "Cells", "Content", "File", "Rejected", "Table", "examine", "readable"]

Kind = Literal["text", "json", "xlsx"]
"""What a file is: columns of text, JSON, or a workbook."""

Content = Literal["number", "time", "text"]
"""What a column is for; a workbook's cells are of a type of their own."""

LINE: Final = "line"
"""Column with the line of the file, from 1; in a workbook the row of the sheet."""

_PIECE: Final = 8 << 20
"""Bytes read at a time."""
_LONGEST_LINE: Final = 64 << 20
"""Bytes without a line's end that are no statement."""
_HEAD: Final = 1 << 16

_MAGIC: Final = (
    (
        b"\xd0\xcf\x11\xe0",
        "is protected by a password, or an .xls of before 2007; save it as .xlsx",
    ),
    (b"\x1f\x8b", "is compressed; unpack it first"),
    (b"BZh", "is compressed; unpack it first"),
    (b"\xfd7zXZ", "is compressed; unpack it first"),
    (b"%PDF", "is a PDF; ask for the same as CSV, JSON lines or XLSX"),
    (b"PAR1", "is Parquet; write it as CSV or JSON lines"),
    (b"SQLite format 3", "is a database"),
)
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Rejected(NamedTuple):
    """A line that could not be read, or is no charge."""

    line: int
    """Line of the file, from 1; in a workbook the row of the sheet."""
    column: str
    """Column as the file has it; empty where it is the whole line."""
    problem: str
    """What is wrong."""

    def __str__(self) -> str:
        column = f", column {self.column!r}" if self.column else ""
        return f"line {self.line}{column}: {self.problem}"


class Cells(NamedTuple):
    """Some lines of a statement: their number, and the cells asked for, each as text."""

    frame: pl.DataFrame
    rejected: list[Rejected]


class Table(Protocol):
    """A file as a table of text."""

    header: list[str]
    """Its columns; of JSON, what was found in the first lines."""
    notes: list[str]
    """What was noticed while reading."""

    def cells(self, wanted: dict[int | str, Content]) -> Iterator[Cells]:
        """The cells of some columns, named by `str()` of the key; blank lines are left out."""
        ...


@dataclass
class File:
    """A file that was looked through once."""

    path: Path
    digest: bytes
    """SHA-256 of its bytes."""
    kind: Kind
    mark: str | None
    """Encoding that the mark at its start names."""
    not_utf8_line: int | None
    """First line that is not UTF-8; None where all are."""
    old_line_ends: bool
    """Whether its lines end as on old Macs, with a carriage return alone."""
    head: bytes
    """Its beginning."""
    size: int

    def refuse(self, problem: str, where: str = "") -> InvalidStatement:
        """The error that says what is wrong with the whole file."""
        return InvalidStatement(str(self.path), [Fault(where, problem)])

    def same(self, digest: bytes) -> None:
        """Check that a second reading found the same bytes.

        Raises:
            InvalidStatement: it did not.
        """
        if digest != self.digest:
            raise self.refuse("changed while it was read; wait until it is complete")

    def whole(self, most: int) -> bytes:
        """All of it, for what cannot be read in pieces.

        Raises:
            InvalidStatement: larger than `most`, or changed.
        """
        if self.size > most:
            raise self.refuse(f"has {self.size:,} bytes; at most {most:,} can be read")
        with readable(self.path):
            data = self.path.read_bytes()
        self.same(sha256(data).digest())
        return data

    def pieces(self, encoding: str) -> Iterator[bytes]:
        """Its text as UTF-8, lines ending in a line feed, cut anywhere.

        Raises:
            InvalidStatement: not in that encoding; changed since it was looked through.
        """
        if self.mark is not None:
            encoding = self.mark
        plain = codecs.lookup(encoding).name == "utf-8"
        if plain and self.not_utf8_line is not None:
            problem = "is not UTF-8; name its encoding in the mapping, such as gb18030"
            raise self.refuse(problem, f"line {self.not_utf8_line}")
        digest, decoder = sha256(), codecs.getincrementaldecoder(encoding)()
        held, line, first = b"", 1, True
        with readable(self.path), self.path.open("rb") as file:
            while True:
                raw = file.read(_PIECE)
                digest.update(raw)
                piece = raw
                if not plain:
                    try:
                        piece = decoder.decode(raw, final=not raw).encode()
                    except UnicodeError:
                        problem = f"is not {encoding}; name another encoding in the mapping"
                        raise self.refuse(problem, f"line {line} or later") from None
                piece = held + piece
                if first and piece:
                    piece, first = piece.removeprefix(codecs.BOM_UTF8), False
                held = b"\r" if raw and piece.endswith(b"\r") else b""
                piece = piece[: len(piece) - len(held)].replace(b"\r\n", b"\n")
                if self.old_line_ends:
                    piece = piece.replace(b"\r", b"\n")
                line += piece.count(b"\n")
                if piece:
                    yield piece
                if not raw:
                    break
        self.same(digest.digest())


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turn the system's errors into ours, which name the file."""
    try:
        yield
    except OSError as error:
        problem = f"cannot be read: {error.strerror or error}"
        raise InvalidStatement(str(path), [Fault("", problem)]) from None


def examine(path: Path) -> File:
    """Look through a file: its digest, and what it is.

    Raises:
        InvalidStatement: a folder; missing; empty; no kind of file that is read.
    """
    with readable(path):
        try:
            kind = "" if path.is_file() else "is a folder" if path.is_dir() else "is not a file"
        except ValueError:
            kind = "is not the name of a file"
        if kind:
            raise InvalidStatement(str(path), [Fault("", kind)])
        seen = _Seen()
        with path.open("rb") as stream:
            while piece := stream.read(_PIECE):
                seen.look(piece, path)
    seen.look(b"", path, final=True)
    file = seen.file(path)
    if not file.size:
        raise file.refuse("is empty")
    for magic, problem in _MAGIC:
        if file.head.startswith(magic):
            raise file.refuse(problem)
    if file.kind == "text" and file.mark is None and b"\0" in file.head:
        nuls = file.head.count(b"\0")
        if nuls * 4 > len(file.head):
            raise file.refuse("is UTF-16 without a mark, or no text; save it as UTF-8")
        if nuls * 100 > len(file.head):
            raise file.refuse("is no text")
    return file


class _Seen:
    """What one reading of a file shows."""

    def __init__(self) -> None:
        self.digest, self.size, self.head = sha256(), 0, b""
        self.decoder = codecs.getincrementaldecoder("utf-8")()
        self.not_utf8_line: int | None = None
        self.feeds = self.returns = self.unended = 0

    def look(self, piece: bytes, path: Path, *, final: bool = False) -> None:
        self.digest.update(piece)
        self.size += len(piece)
        if len(self.head) < _HEAD:
            self.head += piece[:_HEAD]
        if self.not_utf8_line is None:
            try:
                self.decoder.decode(piece, final)
            except UnicodeDecodeError as error:
                before = bytes(error.object)[: error.start].count(b"\n")
                self.not_utf8_line = self.feeds + before + 1
        self.feeds += piece.count(b"\n")
        self.returns += piece.count(b"\r")
        end = max(piece.rfind(b"\n"), piece.rfind(b"\r"))
        self.unended = len(piece) - end - 1 + (self.unended if end < 0 else 0)
        if self.unended > _LONGEST_LINE and not self.head.startswith((b"PK", b"{", b"[")):
            problem = f"has a line of more than {_LONGEST_LINE >> 20} MiB; it is no statement"
            raise InvalidStatement(str(path), [Fault("", problem)])

    def file(self, path: Path) -> File:
        head = self.head
        mark = next((name for bom, name in _MARKS if head.startswith(bom)), None)
        start = head.removeprefix(codecs.BOM_UTF8).lstrip()[:1]
        json_ending = path.suffix.lower() in {".json", ".jsonl", ".ndjson"}
        is_json = json_ending or start == b"{" or head.lstrip()[:2] in {b"[{", b"[\n", b"[\r"}
        kind: Kind = "xlsx" if head.startswith(b"PK") else "json" if is_json else "text"
        old = self.feeds == 0 and self.returns > 0
        return File(
            path, self.digest.digest(), kind, mark, self.not_utf8_line, old, head, self.size
        )

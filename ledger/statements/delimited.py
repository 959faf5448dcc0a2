"""Statements as columns of text: CSV and its relatives, with any mark between the columns.

Plain pieces of a file are read by polars. A piece with anything unusual in it (a quotation mark
within a cell, a line's end within quotes, a stray carriage return) is read by the csv module,
which is slower and says what is wrong. A law in the tests holds both to one answer.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Generator, Iterable, Iterator, Mapping
from itertools import chain, compress, islice
from typing import Final, NamedTuple

import polars as pl

from ledger.statements.sources import LINE, Cells, Content, File, Rejected

__all__ = ["DelimitedFile", "first_rows"]

_EXTRA: Final = 4
"""Cells beyond the header that are looked at."""
_SLOW_ROWS: Final = 50_000
"""Rows held at a time of those that the csv module reads."""
_LONGEST_CELL: Final = 16 << 20
"""Characters of a cell; prompts and pictures stand in some exports."""
_LONGEST_HEAD: Final = 1 << 20
"""Bytes in which the header must come."""
_TRIES: Final = 10_000
"""Line ends looked at for one that is outside quotes."""


class DelimitedFile:
    """A text file as a table."""

    def __init__(self, file: File, *, delimiter: str, encoding: str, header: int) -> None:
        csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
        self.file, self.delimiter, self.notes = file, delimiter, list[str]()
        pieces = file.pieces(encoding)
        text, self.line = self._after(pieces, max(header - 1, 0))
        self.pieces = chain([text], pieces)
        reader = csv.reader(self._lines(), delimiter=delimiter)
        try:
            names = next(reader, None)
        except csv.Error as error:
            raise file.refuse(f"has a header that cannot be read: {error}", "header") from None
        if names is None or not any(name.strip() for name in names):
            raise file.refuse("has no header there", f"line {max(header, 1)}")
        self.width = len(names)
        self.header = [name.strip() for name in names] if header else [""] * self.width
        if header:
            for _ in range(reader.line_num):
                text = text.partition(b"\n")[2] if b"\n" in text else b""
            self.line += reader.line_num
        self.pieces = chain([text], pieces)

    def _after(self, pieces: Iterator[bytes], lines: int) -> tuple[bytes, int]:
        """The first piece without so many lines at its start, and the number of the next line."""
        text = next(pieces, b"")
        for number in range(lines):
            _, end, rest = text.partition(b"\n")
            if not end:
                raise self.file.refuse(f"has {number + 1} lines; the header was to come later")
            text = rest
        return text, lines + 1

    def _lines(self) -> Iterator[str]:
        # A header may have line ends within quotes, but stands in the first piece.
        first = next(self.pieces, b"")
        yield from io.StringIO(first.decode(errors="replace"), newline="\n")

    def cells(self, wanted: Mapping[int | str, Content]) -> Iterator[Cells]:
        """The cells of some columns, piece by piece."""
        columns = [int(place) for place in wanted]
        pending = b""
        for piece in self.pieces:
            data = pending + piece
            end = _cut(data)
            if not end and len(data) > _LONGEST_CELL:
                # Somewhere a quotation mark stands alone; which one, only a slow look tells.
                yield from self._slowly(_text_lines(chain([data], self.pieces)), columns)
                return
            block, pending = data[:end], data[end:]
            if not block:
                continue
            if (cells := self._plainly(block, columns)) is not None:
                yield cells
                self.line += block.count(b"\n")
                continue
            lines = list(io.StringIO(block.decode(), newline="\n"))
            left = yield from self._by_csv(iter(lines), columns, len(lines))
            if left is not None:
                rest = _text_lines(chain(["".join(lines[left:]).encode(), pending], self.pieces))
                yield from self._slowly(rest, columns)
                return
        if pending:
            yield from self._slowly(_text_lines([pending]), columns)

    def _plainly(self, block: bytes, columns: list[int]) -> Cells | None:
        """A piece in which nothing is unusual, or None."""
        if b"\r" in block or not self.delimiter.isascii():
            return None
        quoted = b'"' in block
        if quoted and not self._quotes_are_plain(block):
            return None
        names = [str(index) for index in range(self.width + _EXTRA)]
        extra = list(range(self.width, self.width + _EXTRA))
        try:
            read = pl.read_csv(
                block,
                has_header=False,
                schema=dict.fromkeys(names, pl.String()),
                columns=None if quoted else sorted({*columns, *extra}),
                separator=self.delimiter,
                quote_char='"' if quoted else None,
                truncate_ragged_lines=True,
                missing_columns="insert",
            )
        except pl.exceptions.PolarsError:
            return None
        has_quotes = pl.any_horizontal(pl.all().str.contains('"', literal=True))
        if read.height != block.count(b"\n") or (quoted and read.select(has_quotes.any()).item()):
            return None
        numbers = pl.int_range(self.line, self.line + read.height, eager=True).alias(LINE)
        read = read.with_columns(numbers)
        beyond = pl.any_horizontal(pl.col(names[self.width :]).fill_null("") != "")
        too_many = read.filter(beyond)[LINE].to_list()
        frame = read.select(LINE, *map(str, columns))
        empty = pl.all_horizontal(pl.exclude(LINE).str.strip_chars().fill_null("") == "")
        if nothing := frame.filter(empty)[LINE].to_list():
            # Nothing in the columns asked for is not yet a blank line.
            lines = block.split(b"\n")
            blank = [row for row in nothing if self._is_blank(lines[row - self.line])]
            frame = frame.filter(~pl.col(LINE).is_in(blank))
        if too_many:
            frame = frame.filter(~pl.col(LINE).is_in(too_many))
        return Cells(frame, [self._too_many(line) for line in too_many])

    def _quotes_are_plain(self, block: bytes) -> bool:
        """Whether every quotation mark opens or closes a cell, and none does both."""
        mark = self.delimiter.encode()
        opening = block.count(mark + b'"') + block.count(b'\n"') + block.startswith(b'"')
        closing = block.count(b'"' + mark) + block.count(b'"\n')
        return opening == closing and opening + closing == block.count(b'"')

    def _is_blank(self, line: bytes) -> bool:
        return not line.decode().replace(self.delimiter, "").replace('"', "").strip()

    def _too_many(self, line: int) -> Rejected:
        return Rejected(line, "", f"has more cells than the header, which has {self.width}")

    def _slowly(self, lines: Iterator[str], columns: list[int]) -> Iterator[Cells]:
        left = yield from self._by_csv(lines, columns, _SLOW_ROWS)
        if left is not None:
            raise self.file.refuse("has a quotation mark that never closes", f"line {self.line}")

    def _by_csv(
        self, lines: Iterator[str], columns: list[int], most: int
    ) -> Generator[Cells, None, int | None]:
        """Records by the csv module; returns where one begins that does not end, or None."""
        records = _Records(lines, self.delimiter, self.line)
        while not records.over:
            batch = records.take(most)
            self._check_end(records, batch)
            if batch.rows or batch.rejected:
                yield self._framed(batch, columns)
        self.line = records.line
        return records.open_at

    def _check_end(self, records: _Records, batch: _Batch) -> None:
        """A last line without an end and with too few cells was cut off, perhaps in a number."""
        ended = records.open_at is not None or not records.unended
        if records.over and not ended and batch.rows and len(batch.rows[-1]) < self.width:
            short = len(batch.rows.pop())
            problem = f"ends after {short} of {self.width} cells: the file is cut off there"
            batch.rejected.append(Rejected(batch.starts.pop(), "", problem))

    def _framed(self, batch: _Batch, columns: list[int]) -> Cells:
        rows, starts, width = batch.rows, batch.starts, self.width
        if any(len(row) > width and any(row[width:]) for row in rows):
            fits = [not any(row[width:]) for row in rows]
            too_many = [line for line, fit in zip(starts, fits, strict=True) if not fit]
            batch.rejected.extend(map(self._too_many, too_many))
            rows, starts = list(compress(rows, fits)), list(compress(starts, fits))
        short = any(len(row) < width for row in rows)
        data = {
            str(index): [row[index] if not short or index < len(row) else None for row in rows]
            for index in columns
        }
        schema: dict[str, pl.DataType] = {LINE: pl.Int64()} | dict.fromkeys(data, pl.String())
        return Cells(pl.DataFrame({LINE: starts, **data}, schema=schema), batch.rejected)


class _Batch(NamedTuple):
    """Some records, the lines they begin on, and what could not be read."""

    rows: list[list[str]]
    starts: list[int]
    rejected: list[Rejected]


class _Records:
    """The records of some lines, blank ones left out."""

    def __init__(self, lines: Iterator[str], delimiter: str, line: int) -> None:
        self.reader = csv.reader(self._watched(lines), delimiter=delimiter, strict=True)
        self.first = self.line = line
        self.over = self.unended = False
        self.open_at: int | None = None
        """Lines before a quotation mark that never closes."""

    def _watched(self, lines: Iterator[str]) -> Iterator[str]:
        for line in lines:
            self.unended = not line.endswith("\n")
            yield line

    def take(self, most: int) -> _Batch:
        """The next records."""
        batch = _Batch([], [], [])
        while len(batch.rows) < most:
            try:
                row = next(self.reader, None)
            except csv.Error as error:
                if "unexpected end" in str(error):
                    self.over, self.open_at = True, self.line - self.first
                    return batch
                batch.rejected.append(Rejected(self.line, "", _said(error)))
                row = []
            if row is None:
                self.over = True
                return batch
            if any(cell and not cell.isspace() for cell in row):
                batch.rows.append(row)
                batch.starts.append(self.line)
            self.line = self.first + self.reader.line_num
        return batch


def _said(error: csv.Error) -> str:
    """What the csv module complains of, in words for who wrote the file."""
    if "expected after" in str(error):
        return "its quotation marks do not fit; a mark within a quoted cell is written twice"
    if "new-line character" in str(error):
        return "has a carriage return within a cell that is not quoted"
    return str(error)


def first_rows(file: File, encoding: str, delimiter: str, most: int) -> list[tuple[int, list[str]]]:
    """The first records and the lines they begin on, whatever they are like."""
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
    text = next(file.pieces(encoding), b"")[:_LONGEST_HEAD].decode(errors="ignore")
    reader = csv.reader(io.StringIO(text, newline="\n"), delimiter=delimiter)
    rows: list[tuple[int, list[str]]] = []
    before = 0
    try:
        for row in islice(reader, most):
            rows.append((before + 1, row))
            before = reader.line_num
    except csv.Error:
        pass
    return rows


def _text_lines(pieces: Iterable[bytes]) -> Iterator[str]:
    """The lines of a text in pieces, each with its end."""
    pending = b""
    for piece in pieces:
        data = pending + piece
        end = data.rfind(b"\n") + 1
        pending = data[end:]
        yield from io.StringIO(data[:end].decode(), newline="\n")
    if pending:
        yield pending.decode()


def _cut(data: bytes) -> int:
    """Where the last line ends that ends outside quotes; 0 if none is found."""
    end = data.rfind(b"\n")
    quotes = data.count(b'"', 0, end + 1)
    for _ in range(_TRIES):
        if end < 0 or quotes % 2 == 0:
            break
        earlier = data.rfind(b"\n", 0, end)
        quotes -= data.count(b'"', earlier + 1, end + 1)
        end = earlier
    return end + 1 if quotes % 2 == 0 else 0

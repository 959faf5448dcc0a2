"""Statements in workbooks: the cells of one sheet as text, safely.

A sheet holds numbers as binary fractions of 15 significant digits. The shortest decimal that gives
the same number back is what was typed, as long as it has no more digits than that; others are
refused as amounts. Dates come from the cell's format, in the workbook's own calendar.
"""

from __future__ import annotations

import copy
import io
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta
from typing import Any, Final
from xml.etree import ElementTree as ET

import polars as pl

from ledger.errors import MissingExtra
from ledger.statements.sources import LINE, Cells, Content, File, Rejected

__all__ = ["SheetFile"]

_LARGEST: Final = 256 << 20
"""Bytes of a workbook."""
_LARGEST_INSIDE: Final = 1 << 30
"""Bytes of its parts together, unpacked."""
_MOST_CELLS: Final = 30_000_000
"""Cells of the rectangle that a sheet spans: a million rows of thirty columns."""
_ROWS: Final = 50_000
_DIGITS: Final = 15
"""Significant digits that a sheet holds."""

_NO_VALUE: Final = (
    "is a formula without a stored value; open the workbook, save it, and read it again"
)
_CELL: Final = re.compile(rb'<(?:\w+:)?c\b[^>]*?\br="([A-Z]{1,3})([0-9]{1,7})"')
_FORMULA: Final = re.compile(
    rb'<(?:\w+:)?c\b[^>]*?\br="([A-Z]{1,3})([0-9]{1,7})"[^>]*>\s*<(?:\w+:)?f\b'
)
_RELATION: Final = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


class SheetFile:
    """A sheet of a workbook as a table."""

    def __init__(self, file: File, *, sheet: str | None, header: int, decimal: str) -> None:
        try:
            import python_calamine as calamine  # noqa: PLC0415  an extra that only workbooks need
        except ImportError:
            raise MissingExtra("xlsx", "reading a workbook") from None
        self.file, self.decimal, self.notes = file, decimal, list[str]()
        data = file.whole(_LARGEST)
        self.formulas: dict[int, set[int]] = {}
        parts = self._unpacked(data)
        name, part = self._chosen(parts, sheet)
        self._measure(data, part)
        try:
            with calamine.CalamineWorkbook.from_filelike(io.BytesIO(data)) as book:
                rows = book.get_sheet_by_name(name).to_python(skip_empty_area=False)
        except calamine.CalamineError as error:
            raise file.refuse(f"cannot be read as a workbook: {error}") from None
        names = rows[header - 1] if 0 < header <= len(rows) else []
        self.header = [self._text(cell, "text")[0] or "" for cell in names]
        if header and not any(self.header):
            raise file.refuse("has no header there", f"row {header} of sheet {name!r}")
        if not header:
            self.header = [""] * max(map(len, rows), default=0)
        self.body, self.line = rows[header:], header + 1

    def shown(self, cell: Any) -> str:
        """A cell as the text of a header."""
        return self._text(cell, "text")[0] or ""

    def below(self, line: int) -> SheetFile:
        """The same sheet with its header on that line."""
        self.header = [self.shown(cell) for cell in self.body[line - self.line]]
        self.body, self.line = self.body[line - self.line + 1 :], line + 1
        return self

    def _unpacked(self, data: bytes) -> dict[str, bytes]:
        """The small parts that say where the sheets are, once all parts were found to be sound."""
        kept: dict[str, bytes] = {}
        total = 0
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                names = set(archive.namelist())
                for info in archive.infolist():
                    if info.flag_bits & 1:
                        raise self.file.refuse("is protected by a password; save it without one")
                    # What a part says of its own size may be a lie, so it is unpacked to its end.
                    whole = copy.copy(info)
                    whole.file_size = _LARGEST_INSIDE + 1
                    size, first = 0, b""
                    with archive.open(whole) as part:
                        while piece := part.read(1 << 20):
                            first = first or piece
                            size += len(piece)
                            if total + size > _LARGEST_INSIDE:
                                problem = f"unpacks to more than {_LARGEST_INSIDE >> 20} MiB"
                                raise self.file.refuse(problem)
                            if info.filename in _SMALL:
                                kept[info.filename] = kept.get(info.filename, b"") + piece
                    total += size
                    if size != info.file_size:
                        raise self.file.refuse("is damaged: a part has another size than it says")
                    if b"<!DOCTYPE" in first or b"<!ENTITY" in first:
                        raise self.file.refuse("declares entities, which no workbook needs")
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError) as error:
            raise self.file.refuse(f"is damaged or no workbook: {error}") from None
        if "xl/workbook.xml" not in names:
            kind = "an OpenDocument file" if "content.xml" in names else "an archive"
            raise self.file.refuse(f"is {kind}, no .xlsx workbook")
        return kept

    def _chosen(self, parts: Mapping[str, bytes], sheet: str | None) -> tuple[str, str]:
        """Name and part of the sheet asked for, or of the first that is not hidden."""
        try:
            book = ET.fromstring(parts["xl/workbook.xml"])  # noqa: S314
            relations = ET.fromstring(parts["xl/_rels/workbook.xml.rels"])  # noqa: S314
        except (ET.ParseError, KeyError) as error:
            raise self.file.refuse(f"is damaged: {error}") from None
        targets = {item.get("Id"): item.get("Target") or "" for item in relations}
        sheets: dict[str, str] = {}
        hidden: set[str] = set()
        for item in book.findall(".//{*}sheet"):
            name = item.get("name") or ""
            target = targets.get(item.get(_RELATION), "").lstrip("/")
            sheets[name] = target if target.startswith("xl/") else f"xl/{target}"
            if (item.get("state") or "visible") != "visible":
                hidden.add(name)
        if sheet is None:
            sheet = next((name for name in sheets if name not in hidden), None)
            if sheet is not None and len(sheets) > 1:
                self.notes.append(f"sheet {sheet!r} was read, of {', '.join(map(repr, sheets))}")
        if sheet is None or sheet not in sheets:
            asked = "no sheet that can be seen" if sheet is None else f"no sheet {sheet!r}"
            raise self.file.refuse(f"has {asked}; it has {', '.join(map(repr, sheets)) or 'none'}")
        return sheet, sheets[sheet]

    def _measure(self, data: bytes, part: str) -> None:
        """Find the formulas of a sheet, and refuse one that spans more than memory holds."""
        columns: set[bytes] = set()
        last_row = 0
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if part not in archive.namelist():
                raise self.file.refuse("is damaged: a sheet is missing")
            with archive.open(part) as stream:
                held = b""
                while piece := stream.read(4 << 20):
                    text = held + piece
                    end = text.rfind(b"<", 0, max(text.rfind(b' r="'), 0))
                    text, held = (text[:end], text[end:]) if end > 0 else (b"", text)
                    last_row = max(last_row, self._note(text, columns))
                last_row = max(last_row, self._note(held, columns))
        width = max((_number(letters) for letters in columns), default=0)
        if width * last_row > _MOST_CELLS:
            raise self.file.refuse(
                f"spans {last_row:,} rows × {width:,} columns;"
                f" at most {_MOST_CELLS:,} cells are read"
            )

    def _note(self, text: bytes, columns: set[bytes]) -> int:
        cells = _CELL.findall(text)
        columns.update(letters for letters, _ in cells)
        for letters, row in _FORMULA.findall(text):
            self.formulas.setdefault(_number(letters) - 1, set()).add(int(row))
        return max((int(row) for _, row in cells), default=0)

    def cells(self, wanted: Mapping[int | str, Content]) -> Iterator[Cells]:
        """The cells of some columns, some rows at a time."""
        taken: dict[int, int] = {}
        for begin in range(0, len(self.body), _ROWS):
            rows = self.body[begin : begin + _ROWS]
            first = self.line + begin
            used = [
                (first + number, row)
                for number, row in enumerate(rows)
                if any(not _is_empty(cell) for cell in row)
            ]
            rejected: list[Rejected] = []
            data: dict[str, list[str | None]] = {}
            for place, content in wanted.items():
                index = int(place)
                values: list[str | None] = []
                formulas = self.formulas.get(index, set())
                for line, row in used:
                    cell = row[index] if index < len(row) else ""
                    text, problem = self._text(cell, content)
                    if line in formulas:
                        taken[index] = taken.get(index, 0) + 1
                        if text is None:
                            problem = _NO_VALUE
                    if problem is not None:
                        rejected.append(Rejected(line, self._name(index), problem))
                    values.append(text)
                data[str(place)] = values
            schema: dict[str, pl.DataType] = {LINE: pl.Int64()} | dict.fromkeys(data, pl.String())
            lines = [line for line, _ in used]
            frame = pl.DataFrame({LINE: lines, **data}, schema=schema)
            bad = {item.line for item in rejected}
            yield Cells(frame.filter(~pl.col(LINE).is_in(bad)) if bad else frame, rejected)
        for index, count in sorted(taken.items()):
            cells = "1 cell is a formula" if count == 1 else f"{count:,} cells are formulas"
            self.notes.append(
                f"column {self._name(index)!r}: {cells}; the values stored with them were read"
            )

    def _name(self, index: int) -> str:
        name = self.header[index] if index < len(self.header) else ""
        return name or str(index + 1)

    def _text(self, cell: Any, content: Content) -> tuple[str | None, str | None]:
        """A cell as text, and what is wrong with it."""
        if isinstance(cell, str):
            return cell.strip() or None, None
        if isinstance(cell, bool):
            return ("true" if cell else "false"), None
        if isinstance(cell, (datetime, date)):
            problem = "is a date, not a number" if content == "number" else None
            return str(cell), problem
        if isinstance(cell, (time, timedelta)):
            return _duration(cell, content), None
        text = repr(cell).removesuffix(".0") if isinstance(cell, float) else str(cell)
        digits = re.sub(r"[eE].*", "", text).lstrip("-").replace(".", "").strip("0")
        if len(digits) > _DIGITS or (content == "text" and len(text) > _DIGITS):
            problem = f"is {text}, more digits than the {_DIGITS} that a sheet holds"
            hint = "; keep it as text" if content == "text" else "; round it in the sheet"
            return text, problem + hint
        return (text.replace(".", self.decimal) if content == "number" else text), None


_SMALL: Final = ("xl/workbook.xml", "xl/_rels/workbook.xml.rels")
"""Parts that say where the sheets are."""


def _is_empty(cell: object) -> bool:
    return isinstance(cell, str) and not cell.strip()


def _number(letters: bytes) -> int:
    """The number of a column by its letters: A is 1."""
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


def _duration(cell: time | timedelta, content: Content) -> str:
    if isinstance(cell, time):
        if content != "number":
            return cell.isoformat()
        cell = timedelta(
            hours=cell.hour,
            minutes=cell.minute,
            seconds=cell.second,
            microseconds=cell.microsecond,
        )
    microseconds = cell // timedelta(microseconds=1)
    whole, rest = divmod(abs(microseconds), 1_000_000)
    return f"{'-' if microseconds < 0 else ''}{whole}.{rest:06d}".rstrip("0").rstrip(".")

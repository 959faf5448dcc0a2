"""Workbooks written by hand, so that a test knows every byte that a reader gets."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from xml.sax.saxutils import escape

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"

STYLES = f"""<styleSheet xmlns="{MAIN}"><fonts count="1"><font/></fonts><fills count="1">
<fill/></fills><borders count="1"><border/></borders><cellStyleXfs count="1"><xf/></cellStyleXfs>
<cellXfs count="2"><xf numFmtId="0"/><xf numFmtId="22" applyNumberFormat="1"/></cellXfs>
</styleSheet>"""


class Formula(NamedTuple):
    """A formula and the value a program stored with it."""

    text: str
    value: str | None


class Raw(NamedTuple):
    """The digits of a number as they stand in the file."""

    digits: str


Cell = str | int | datetime | Formula | Raw | None


def cell(reference: str, value: Cell, first_day: datetime) -> str:
    match value:
        case None:
            return ""
        case Formula(text, stored):
            inner = "" if stored is None else f"<v>{stored}</v>"
            return f'<c r="{reference}"><f>{escape(text)}</f>{inner}</c>'
        case Raw(digits):
            return f'<c r="{reference}"><v>{digits}</v></c>'
        case datetime():
            days = (value - first_day).total_seconds() / 86_400
            return f'<c r="{reference}" s="1"><v>{days!r}</v></c>'
        case int():
            return f'<c r="{reference}"><v>{value}</v></c>'
    text = escape(str(value))
    return f'<c r="{reference}" t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'


def sheet(rows: Sequence[Sequence[Cell]], first_day: datetime) -> str:
    lines = []
    for number, row in enumerate(rows, start=1):
        cells = (
            cell(f"{chr(65 + index)}{number}", item, first_day) for index, item in enumerate(row)
        )
        lines.append(f'<row r="{number}">{"".join(cells)}</row>')
    return f'<worksheet xmlns="{MAIN}"><sheetData>{"".join(lines)}</sheetData></worksheet>'


def workbook(
    rows: Sequence[Sequence[Cell]],
    *,
    since_1904: bool = False,
    hidden: Mapping[str, Sequence[Sequence[Cell]]] | None = None,
    more: Mapping[str, str] | None = None,
) -> bytes:
    """A workbook whose visible sheet is `Bill`; hidden sheets stand before it."""
    # Day 0 of the 1900 system, which counts a 29 February 1900 that never was, and of the other.
    first_day = datetime(1904, 1, 1) if since_1904 else datetime(1899, 12, 30)  # noqa: DTZ001
    sheets = {**(hidden or {}), "Bill": rows}
    listed = "".join(
        f'<sheet name="{escape(name)}" sheetId="{number}" r:id="rId{number}"'
        f' state="{"visible" if name == "Bill" else "hidden"}"/>'
        for number, name in enumerate(sheets, start=1)
    )
    related = "".join(
        f'<Relationship Id="rId{number}" Type="{RELATIONS}/worksheet"'
        f' Target="worksheets/sheet{number}.xml"/>'
        for number in range(1, len(sheets) + 1)
    )
    types = "".join(
        f'<Override PartName="/xl/worksheets/sheet{number}.xml" ContentType="application/vnd.'
        'openxmlformats-officedocument.spreadsheetml.worksheet+xml"/>'
        for number in range(1, len(sheets) + 1)
    )
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{PACKAGE}/content-types"><Default Extension="xml"'
        f' ContentType="application/xml"/><Default Extension="rels" ContentType="application/vnd.'
        f'openxmlformats-package.relationships+xml"/><Override PartName="/xl/workbook.xml"'
        f' ContentType="{kind}.sheet.main+xml"/><Override PartName="/xl/styles.xml"'
        f' ContentType="{kind}.styles+xml"/>{types}</Types>',
        "_rels/.rels": f'<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="rId1"'
        f' Type="{RELATIONS}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{MAIN}" xmlns:r="{RELATIONS}">'
        f'<workbookPr date1904="{int(since_1904)}"/><sheets>{listed}</sheets></workbook>',
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{PACKAGE}/relationships">{related}'
        f'<Relationship Id="rId99" Type="{RELATIONS}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": STYLES,
    }
    for number, item in enumerate(sheets.values(), start=1):
        parts[f"xl/worksheets/sheet{number}.xml"] = sheet(item, first_day)
    parts |= more or {}
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return packed.getvalue()

"""A workbook for finance: balances that add up, jobs or entries, usage, and what to check it by.

A spreadsheet keeps numbers as binary fractions of 15 significant digits. So every total also
stands beside its number as text, exactly, and the sheet `Control` says so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, BinaryIO, Literal, NamedTuple

import polars as pl

from ledger.costing import Costed
from ledger.errors import InvalidInput, MissingExtra
from ledger.exports.fields import FIELDS, Field
from ledger.exports.flat import as_text
from ledger.exports.rows import Reading
from ledger.exports.tallies import Tally
from ledger.figures import show_credits
from ledger.records import moment
from ledger.units import iso

try:
    from xlsxwriter import Workbook  # type: ignore[import-untyped]
    from xlsxwriter.exceptions import FileCreateError  # type: ignore[import-untyped]
    from xlsxwriter.format import Format  # type: ignore[import-untyped]
    from xlsxwriter.worksheet import Worksheet  # type: ignore[import-untyped]
except ModuleNotFoundError:
    raise MissingExtra("xlsx", "writing a workbook") from None

__all__ = ["LONGEST_TEXT", "MOST_ROWS", "write_workbook"]

MOST_ROWS = 1_048_576
"""Rows of a sheet: https://support.microsoft.com, "Excel specifications and limits"."""

LONGEST_TEXT = 32_767
"""Characters of a cell, in units of UTF-16; the same page."""

_MOST_VALUES = 1_000
"""Values of one label that get a row of their own in `Usage`."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_DATE = datetime(1900, 3, 1)  # noqa: DTZ001 - all dates of a workbook are in UTC
"""The calendars of spreadsheets agree from then on."""

PRECISION = (
    "Numbers in a spreadsheet have 15 significant digits. Exact amounts stand as text in the"
    " columns named exact; CSV, JSON lines and Parquet are exact throughout."
)

Cell = str | int | Decimal | None


class Bucket(NamedTuple):
    """One movement of the summary, by the kind of entry."""

    title: str
    includes: Callable[[Costed], bool]


def _is(*kinds: str) -> Callable[[Costed], bool]:
    return lambda item: item.entry.kind in kinds


_MOVEMENTS = (
    Bucket("Top-ups", lambda item: item.entry.kind == "top_up" and not _is_promotional(item)),
    Bucket("Promotional", lambda item: item.entry.kind == "top_up" and _is_promotional(item)),
    Bucket("Charges", _is("charge")),
    Bucket("Refunds", _is("refund")),
    Bucket("Adjustments", _is("adjust")),
    Bucket("Lapses", _is("lapse")),
)


def _is_promotional(item: Costed) -> bool:
    return item.entry.contra == "promotion"


def write_workbook(
    reading: Reading, file: BinaryIO, *, rows: Literal["jobs", "entries"] = "jobs"
) -> Tally:
    """Write the workbook of a span; gives what is in its sheet of jobs or entries.

    Args:
        reading: the snapshot of the book.
        file: where to.
        rows: what the sheet of details has a row for.

    Raises:
        InvalidInput: there are more rows than a sheet can have.
    """
    options = {
        "constant_memory": True,
        "strings_to_formulas": False,
        "strings_to_urls": False,
        "strings_to_numbers": False,
    }
    made_at_us, writable = reading.made_at_us, _Writable(file)
    try:
        with Workbook(writable, options) as workbook:
            made_at = _EPOCH if made_at_us is None else moment(made_at_us)
            workbook.set_properties(
                {
                    "title": f"Credits of book {reading.asked.book.book}",
                    "author": "kling-ledger",
                    "created": made_at.replace(tzinfo=None),
                }
            )
            return _Sheets(workbook, reading).write(rows)
    except FileCreateError as error:
        cause = error.args[0] if error.args else None
        raise (cause if isinstance(cause, OSError) else error) from None
    finally:
        writable.let_go()


class _Writable:
    """A file until it is let go of; from then on nothing is done with it.

    An archive that an error has left unfinished writes its end when it is dropped, into a file
    that is closed by then.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file: BinaryIO | None = file
        self._at = 0

    def let_go(self) -> None:
        """Do nothing from now on."""
        self._file = None

    def write(self, data: bytes) -> int:
        """Write."""
        if self._file is not None:
            self._file.write(data)
        self._at += len(data)
        return len(data)

    def seek(self, at: int, whence: int = 0) -> int:
        """Go to a place from the beginning, as archives do, unless it is a pipe."""
        if self._file is not None:
            self._file.seek(at, whence)
        self._at = at
        return at

    def tell(self) -> int:
        """Where it is."""
        return self._at

    def flush(self) -> None:
        """Bring it to the system."""
        if self._file is not None:
            self._file.flush()


class _Sheets:
    """The sheets of one workbook."""

    def __init__(self, workbook: Workbook, reading: Reading) -> None:
        self._workbook, self._reading = workbook, reading
        self._formats = {
            "head": workbook.add_format({"bold": True, "bottom": 1, "text_wrap": True}),
            "bold": workbook.add_format({"bold": True}),
            "amount": workbook.add_format({"num_format": "#,##0.00######"}),
            "total": workbook.add_format({"num_format": "#,##0.00######", "bold": True, "top": 1}),
            "date": workbook.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"}),
            "text": workbook.add_format({"num_format": "@"}),
        }
        self._sheets: list[_Sheet] = []

    def _sheet(self, name: str, header: Sequence[str], widths: Sequence[int]) -> _Sheet:
        sheet = _Sheet(self._workbook.add_worksheet(name), self._formats, header, widths)
        self._sheets.append(sheet)
        return sheet

    def write(self, rows: Literal["jobs", "entries"]) -> Tally:
        summary = _summed_up(self._reading)
        self._summary(summary)
        self._cost(summary)
        tally = self._details(rows)
        self._usage()
        self._control(tally)
        return tally

    def _summary(self, summary: _Summary) -> None:
        """Opening and movements make closing, wallet by wallet."""
        movements = [bucket.title for bucket in _MOVEMENTS]
        header = ["Wallet", "Opening", *movements, "Closing", "Difference", "Closing, exact"]
        sheet = self._sheet("Summary", header, [24, *[16] * 9, 24])
        total = [0] * (len(_MOVEMENTS) + 2)
        for wallet, figures in sorted(summary.credits.items()):
            total = [one + other for one, other in zip(total, figures, strict=True)]
            sheet.add([wallet, *_balanced(figures)])
        sheet.add(["Total", *_balanced(total)], bold=True)

    def _cost(self, summary: _Summary) -> None:
        """The same in money: what the credits of a wallet had cost."""
        header = ["Wallet", "Currency", "Opening", "Bought", "Used", "Adjusted", "Lapsed"]
        header += ["Closing", "Difference", "Closing, exact"]
        sheet = self._sheet("Cost", header, [24, 10, *[16] * 7, 24])
        totals: dict[str, list[int]] = {}
        for (wallet, currency), figures in sorted(summary.money.items()):
            total = totals.setdefault(currency, [0] * len(figures))
            totals[currency] = [one + other for one, other in zip(total, figures, strict=True)]
            sheet.add([wallet, currency, *_balanced(figures)])
        for currency, figures in sorted(totals.items()):
            sheet.add(["Total", currency, *_balanced(figures)], bold=True)

    def _details(self, table: Literal["jobs", "entries"]) -> Tally:
        fields, tally = FIELDS[table], Tally()
        header = [_title(item) for item in fields]
        sheet = self._sheet(table.capitalize(), header, [_width(item) for item in fields])
        for frame in self._reading.frames(table):
            tally.add(frame, fields)
            # The header, the totals, and their exact digits have rows of their own.
            if tally.rows > MOST_ROWS - 3:
                raise InvalidInput(
                    f"there are more {table} than the {MOST_ROWS:,} rows a sheet can have; export"
                    f" a shorter period, or: kling-ledger export {table} --format parquet"
                )
            sheet.add_frame(frame, fields)
        sheet.filters(tally.rows)
        totals = [_total(tally, item) for item in fields]
        sheet.add(["Total", *map(_credits, totals[1:])], bold=True)
        exact = [None if total is None else show_credits(total) for total in totals[1:]]
        sheet.add(["Total, exact", *exact], bold=True)
        return tally

    def _usage(self) -> None:
        header = ["By", "Value", "Jobs", "Charged", "Refunded", "Net", "Net, exact"]
        sheet = self._sheet("Usage", header, [20, 32, 10, *[16] * 3, 24])
        for by, values in _usage(self._reading.frames("jobs")):
            shown = sorted(values.items(), key=lambda item: (item[0] is None, item[0] or ""))
            if len(shown) > _MOST_VALUES:
                sheet.add([by, f"{len(shown):,} values: too many to list"])
                continue
            for value, (jobs, charged_e8, refunded_e8) in shown:
                net_e8 = charged_e8 - refunded_e8
                amounts = map(_credits, (charged_e8, refunded_e8, net_e8))
                sheet.add([by, value, jobs, *amounts, show_credits(net_e8)])

    def _control(self, tally: Tally) -> None:
        asked, made_at_us = self._reading.asked, self._reading.made_at_us
        sheet = self._sheet("Control", ["What", "Number", "Exact"], [40, 24, 70])
        span = asked.span
        described: list[tuple[str, str | None]] = [
            ("Book", asked.book.book),
            ("Period", "everything" if span is None else span.name),
            ("From (UTC)", None if span is None else iso(span.start)),
            ("Up to and without (UTC)", None if span is None else iso(span.end)),
            ("Time zone of the period", asked.timezone),
            ("Entries count when they", asked.by),
            ("As of (UTC)", None if asked.as_of_us is None else iso(moment(asked.as_of_us))),
            ("Last entry recorded (UTC)", None if made_at_us is None else iso(moment(made_at_us))),
            ("Precision", PRECISION),
        ]
        for name, text in described:
            sheet.add([name, None, text])
        details = self._sheets[2]
        sheet.add([f"Rows of {details.name}", tally.rows, str(tally.rows)])
        for name, sums in tally.totals.items():
            for unit, text in sums.items():
                sheet.add([f"Sum of {name}, {unit}", Decimal(text), text])
        cut = sum(each.cut for each in self._sheets)
        sheet.add(["Texts cut to fit a cell", cut, str(cut)])
        for each in self._sheets[:-1]:
            sheet.add([f"SHA-256 of {each.name}", each.rows, each.digest])
        for head in self._reading.heads:
            sheet.add([f"Last entry of wallet {head.wallet}", head.seq, head.hash])


class _Sheet:
    """A sheet that is written from top to bottom, and what it takes to check its data.

    The digest is the SHA-256 of all rows but the header: the cells of each as text, with tabs
    between them and a line feed behind, in UTF-8; amounts with their exact digits.
    """

    def __init__(
        self,
        sheet: Worksheet,
        formats: dict[str, Format],
        header: Sequence[str],
        widths: Sequence[int],
    ) -> None:
        self.name: str = sheet.get_name()
        self.rows = 0
        self.cut = 0
        self._sheet, self._formats, self._sha = sheet, formats, hashlib.sha256()
        self._columns = len(header)
        for column, width in enumerate(widths):
            sheet.set_column(column, column, width)
        sheet.freeze_panes(1, 1)
        for column, title in enumerate(header):
            sheet.write_string(0, column, title, formats["head"])

    @property
    def digest(self) -> str:
        return self._sha.hexdigest()

    def filters(self, rows: int) -> None:
        """Let people choose among the rows so far."""
        self._sheet.autofilter(0, 0, max(rows, 1), self._columns - 1)

    def add(self, cells: Sequence[Cell], *, bold: bool = False) -> None:
        """The next row."""
        self.rows += 1
        self._sha.update(("\t".join(map(_plain, cells)) + "\n").encode())
        for column, cell in enumerate(cells):
            self._write(column, cell, bold=bold)

    def add_frame(self, frame: pl.DataFrame, fields: Sequence[Field]) -> None:
        """The next rows, all at once: what a cell is, its column says."""
        lines = frame.select(_line(fields)).to_series()
        self._sha.update("".join(f"{line}\n" for line in lines).encode())
        writers = [self._writer(frame, item) for item in fields]
        columns = (_values(frame, item) for item in fields)
        for row in zip(*columns, strict=True):
            self.rows += 1
            at = self.rows
            for column, value in enumerate(row):
                if value is not None:
                    write, format_ = writers[column]
                    write(at, column, value, format_)

    def _writer(self, frame: pl.DataFrame, item: Field) -> tuple[Callable[..., Any], Format | None]:
        """How the cells of a column are written, and in which format."""
        sheet, formats = self._sheet, self._formats
        match item.kind:
            case "credits" | "money":
                return sheet.write_number, formats["amount"]
            case "count":
                return sheet.write_number, None
            case "flag":
                return sheet.write_boolean, None
            case "moment":
                return self._write_moment, formats["date"]
        longest: Any = frame[item.name].str.len_chars().max()
        if longest is None or 2 * longest <= LONGEST_TEXT:
            return sheet.write_string, formats["text"]
        return self._write_fitting, formats["text"]

    def _write_fitting(self, row: int, column: int, text: str, format_: Format) -> None:
        self._sheet.write_string(row, column, self._fitting(text), format_)

    def _write_moment(self, row: int, column: int, at: datetime, format_: Format) -> None:
        if at >= _FIRST_DATE:
            self._sheet.write_datetime(row, column, at, format_)
        else:
            # What a spreadsheet has no date for stays text.
            text = iso(at.replace(tzinfo=UTC))
            self._sheet.write_string(row, column, text, self._formats["text"])

    def _write(self, column: int, cell: Cell, *, bold: bool) -> None:
        sheet, row, formats = self._sheet, self.rows, self._formats
        if cell is None:
            return
        if isinstance(cell, str):
            text = self._fitting(cell)
            sheet.write_string(row, column, text, formats["bold" if bold else "text"])
        elif isinstance(cell, Decimal):
            sheet.write_number(row, column, cell, formats["total" if bold else "amount"])
        else:
            sheet.write_number(row, column, cell)

    def _fitting(self, text: str) -> str:
        """A text that a cell can hold; what is longer ends in an ellipsis."""
        if len(text) * 2 <= LONGEST_TEXT or len(text.encode("utf-16-le")) <= 2 * LONGEST_TEXT:
            return text
        self.cut += 1
        units = text.encode("utf-16-le")[: 2 * (LONGEST_TEXT - 1)]
        return units.decode("utf-16-le", errors="ignore") + "…"


def _plain(cell: Cell) -> str:
    if cell is None:
        return ""
    return f"{cell:f}" if isinstance(cell, Decimal) else str(cell)


def _credits(amount_e8: int | None) -> Decimal | None:
    return None if amount_e8 is None else Decimal(show_credits(amount_e8))


def _values(frame: pl.DataFrame, item: Field) -> list[Any]:
    """A column with values as cells take them."""
    if item.kind in {"credits", "money"}:
        # From plain digits: zeros that say nothing would be written as well.
        texts = frame.select(as_text(item)).to_series()
        return [None if text is None else Decimal(text) for text in texts]
    values = frame[item.name]
    return (values.cast(pl.Datetime("us")) if item.kind == "moment" else values).to_list()


def _line(fields: Sequence[Field]) -> pl.Expr:
    """A row as the digest of a sheet takes it."""
    texts = (
        pl.col(item.name).cast(pl.UInt8) if item.kind == "flag" else as_text(item)
        for item in fields
    )
    return pl.concat_str((text.cast(pl.String).fill_null("") for text in texts), separator="\t")


def _title(item: Field) -> str:
    return f"{item.name} (UTC)" if item.kind == "moment" else item.name


def _width(item: Field) -> int:
    wide = {"text": 22, "json": 30, "credits": 16, "money": 16, "moment": 20}
    return wide.get(item.kind, 10)


def _total(tally: Tally, item: Field) -> int | None:
    """The sum of a column; of money only where it is all of one currency."""
    if item.kind == "credits":
        return tally.credits.get(item.name, 0) if not item.name.endswith("_after") else None
    if item.kind == "money":
        sums = tally.money.get(item.name, {})
        return next(iter(sums.values())) if len(sums) == 1 else None
    return None


def _balanced(figures: Sequence[int]) -> Iterator[Cell]:
    """Opening, movements, closing, and whether they add up: exact, before they are rounded."""
    yield from map(_credits, figures)
    yield _credits(sum(figures[:-1]) - figures[-1])
    yield show_credits(figures[-1])


# What is added up


class _Summary(NamedTuple):
    """Opening, movements and closing."""

    credits: dict[str, list[int]]
    """By wallet."""
    money: dict[tuple[str, str], list[int]]
    """By wallet and currency: opening, bought, used, adjusted, lapsed, closing."""


def _summed_up(reading: Reading) -> _Summary:
    asked = reading.asked
    since_us, until_us = asked.reach.since_us, asked.reach.until_us
    found, later_e8 = _Summary({}, {}), dict[str, int]()
    corrections: set[tuple[str, int]] = set()
    for item in reading.known():
        entry = item.entry
        at_us = entry.recorded_at_us if asked.by == "recorded" else entry.happened_at_us
        own = found.credits.setdefault(entry.wallet, [0] * (len(_MOVEMENTS) + 2))
        # From the running balance of the wallet, so that it does not follow from the movements.
        later_e8[entry.wallet] = later_e8.get(entry.wallet, 0)
        if at_us >= until_us:
            later_e8[entry.wallet] += entry.posted_e8
        own[-1] = entry.posted_after_e8 - later_e8[entry.wallet]
        if entry.kind == "adjust":
            corrections.add((entry.wallet, entry.seq))
        if at_us >= until_us or not entry.posted_e8:
            continue
        is_before = at_us < since_us
        own[0 if is_before else _place(item)] += entry.posted_e8
        _add_money(found.money, item, corrections, is_before=is_before)
    return found


def _place(item: Costed) -> int:
    places = (place for place, bucket in enumerate(_MOVEMENTS, 1) if bucket.includes(item))
    return next(places)


_MONEY_PLACES = {"top_up": 1, "charge": 2, "refund": 2, "adjust": 3, "lapse": 4}


def _add_money(
    money: dict[tuple[str, str], list[int]],
    item: Costed,
    corrections: Collection[tuple[str, int]],
    *,
    is_before: bool,
) -> None:
    """What the parts of an entry had cost; what pays a debt comes in and is used at once.

    Used by what had run into it: a job, or a correction.
    """
    place = _MONEY_PLACES[item.entry.kind]
    moves = [(part.currency, place, part.cost_e8) for part in item.parts]
    for paid in item.paid:
        owed = 3 if (item.entry.wallet, paid.seq) in corrections else 2
        moves += [(paid.currency, place, paid.cost_e8), (paid.currency, owed, -paid.cost_e8)]
    for currency, at, cost_e8 in moves:
        if currency is not None:
            figures = money.setdefault((item.entry.wallet, currency), [0] * 6)
            figures[0 if is_before else at] += cost_e8
            figures[-1] += cost_e8


Usage = dict[str | None, tuple[int, int, int]]
"""Value → jobs, charged, refunded."""


def _usage(frames: Iterable[pl.DataFrame]) -> list[tuple[str, Usage]]:
    """What jobs cost by model, by quality, and by every label."""
    found: dict[str, Usage] = {"model": {}, "quality": {}}
    sums = [pl.len(), *(pl.col(name).cast(pl.Int128).sum() for name in ("charged", "refunded"))]
    for frame in frames:
        for name in ("model", "quality"):
            for value, *figures in frame.group_by(name).agg(sums).iter_rows():
                _count(found[name], value, figures)
        for text, *figures in frame.group_by("labels").agg(sums).iter_rows():
            for name, value in json.loads(text).items():
                _count(found.setdefault(f"label {name}", {}), value, figures)
    return [
        ("model", found.pop("model")),
        ("quality", found.pop("quality")),
        *sorted(found.items()),
    ]


def _count(usage: Usage, value: str | None, figures: Sequence[int]) -> None:
    before = usage.get(value, (0, 0, 0))
    jobs, charged_e8, refunded_e8 = map(sum, zip(before, figures, strict=True))
    usage[value] = (jobs, charged_e8, refunded_e8)

"""The files of an export: data, metadata, and a list of them, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from queue import Queue
from threading import Event, Thread
from typing import Any, BinaryIO, Literal, NamedTuple, cast, get_args

import polars as pl
from polars.io.plugins import register_io_source

from ledger.book import Book
from ledger.errors import Fault, InvalidEntry
from ledger.exports.focus.billing import Billing
from ledger.exports.focus.frames import CURRENCY, Progress, charge_frames, schema_of
from ledger.exports.focus.metadata import Dataset, metadata_of
from ledger.exports.focus.selfcheck import Checking, Finding
from ledger.exports.focus.table import (
    BILLING_PERIOD,
    COST_AND_USAGE,
    FOCUS_VERSIONS,
    INVOICE_DETAIL,
    Column,
    FocusVersion,
)
from ledger.exports.manifest import FileMade, file_made, write_manifest
from ledger.exports.rows import reading
from ledger.exports.writing import whole_file, whole_folder
from ledger.records import Period, closed_periods, moment
from ledger.reports.asking import ask
from ledger.spans import Span
from ledger.units import iso, plain

__all__ = ["FOCUS_FORMATS", "FocusFormat", "Focused", "focus_files", "write_focus"]

FocusFormat = Literal["csv", "parquet"]
"""How rows are written."""

FOCUS_FORMATS: tuple[FocusFormat, ...] = get_args(FocusFormat)

_ROW_GROUP = 100_000
_WAITING = 4
"""Parts that wait to be written at most."""

_ADDED_UP = ("BilledCost", "EffectiveCost", "x_Credits")


class Focused(NamedTuple):
    """What was written."""

    files: tuple[FileMade, ...]
    """Cost and Usage first."""
    findings: tuple[Finding, ...]
    """Rules that rows break: there should be none."""


class _Sums:
    """Rows, sums by currency, and the last moment of recording of the charges that go by."""

    def __init__(self) -> None:
        self.rows = 0
        self.made_us: int | None = None
        self._sums: dict[str, dict[str, Decimal]] = {name: {} for name in _ADDED_UP}

    def add(self, frame: pl.DataFrame) -> None:
        self.rows += frame.height
        latest_us = int(cast("int", frame["recorded_us"].max()))
        self.made_us = max(latest_us, self.made_us or 0)
        for currency, *sums in (
            frame.group_by("BillingCurrency").agg(pl.col(*_ADDED_UP).sum()).iter_rows()
        ):
            for name, part in zip(_ADDED_UP, sums, strict=True):
                key = "credits" if name == "x_Credits" else currency
                mine = self._sums[name]
                mine[key] = mine.get(key, Decimal(0)) + part

    @property
    def totals(self) -> dict[str, dict[str, str]]:
        return {
            name: {currency: plain(sums[currency]) for currency in sorted(sums)}
            for name, sums in self._sums.items()
        }


def write_focus(
    book: Book,
    folder: str | Path,
    *,
    version: FocusVersion,
    format: FocusFormat = "parquet",
    span: Span | None = None,
    as_of_us: int | None = None,
    currency: str = CURRENCY,
    overwrite: bool = False,
    progress: Progress = lambda _: None,
) -> Focused:
    """Write the charges of a book as FOCUS into a folder that appears complete or not at all.

    There is a file of rows and one of metadata for Cost and Usage; of version 1.4 also for Invoice
    Detail and Billing Period; and `manifest.json`, which lists them. The same book gives the same
    bytes.

    Args:
        book: whose charges; with prices if it is a `Ledger`, otherwise in credits only.
        folder: where to.
        version: `1.2`, with prices in credits, or `1.4`, in money only.
        format: `csv` or `parquet`.
        span: only charges that count in it; all, if None.
        as_of_us: only what was recorded before this moment, in microseconds since 1970.
        currency: billing currency of a book in which nothing was ever paid for.
        overwrite: whether a folder that an export wrote may be replaced.
        progress: is told how many rows were written.

    Raises:
        InvalidEntry: no such version or format; the currency.
        OutputError: the folder cannot be written, or is there already.
    """
    if version not in FOCUS_VERSIONS or format not in FOCUS_FORMATS:
        problem = f"FOCUS {version} as {format} is not written; versions are 1.2 and 1.4, as csv"
        raise InvalidEntry("the export", [Fault("", f"{problem} or parquet")])
    asked = ask(book, span=span, as_of=None if as_of_us is None else moment(as_of_us))
    if as_of_us is None and asked.known_until_us is not None:
        # All files are of the same entries, whoever writes in the book meanwhile.
        asked = replace(asked, as_of_us=asked.known_until_us + 1)
    with whole_folder(Path(folder), overwrite=overwrite) as path:
        done = focus_files(
            book,
            path,
            version=version,
            format=format,
            span=span,
            as_of_us=asked.as_of_us,
            currency=currency,
            progress=progress,
        )
        with reading(asked) as found:
            write_manifest(path, found, done.files)
    return done


def focus_files(
    book: Book,
    folder: Path,
    *,
    version: FocusVersion,
    format: FocusFormat,
    span: Span | None = None,
    as_of_us: int | None = None,
    currency: str = CURRENCY,
    progress: Progress = lambda _: None,
) -> Focused:
    """Write the same files, without a list of them, into a folder that is there."""
    columns = COST_AND_USAGE[version]
    names = [column.name for column in columns]
    sums, checking, billing = _Sums(), Checking(version), Billing()

    def rows() -> Iterator[pl.DataFrame]:
        for frame in charge_frames(
            book, span=span, as_of_us=as_of_us, currency=currency, progress=progress
        ):
            sums.add(frame)
            checking.add(frame)
            billing.add(frame)
            yield frame.select(names)

    writing = _Writing(folder, version, format, span)
    name = writing.rows("cost-and-usage", columns, rows())
    datasets = [Dataset("CostAndUsage", name, columns, sums.rows, sums.totals)]
    periods = _known_periods(book, as_of_us)
    if version == "1.4":
        for title, file, more, frame in (
            ("InvoiceDetail", "invoice-detail", INVOICE_DETAIL, billing.invoice_detail()),
            ("BillingPeriod", "billing-period", BILLING_PERIOD, billing.billing_period(periods)),
        ):
            name = writing.rows(file, more, [frame] if frame.height else [])
            datasets.append(Dataset(title, name, more, frame.height, {}))
    closed = closed_periods(periods)
    # FOCUS wants a date also of no rows, in whole seconds.
    made_us = sums.made_us
    if made_us is None and as_of_us is not None:
        made_us = as_of_us - 1
    made_at = None if made_us is None else iso(moment(made_us).replace(microsecond=0))
    for dataset in datasets:
        metadata = metadata_of(
            dataset,
            version,
            made_at=made_at,
            period=None if span is None else _said(span),
            as_of=None if as_of_us is None else iso(moment(as_of_us)),
            is_complete=bool(span and closed and closed[-1].end_us >= span.end_us),
            findings=checking.findings,
        )
        writing.metadata(dataset, metadata)
    return Focused(tuple(writing.files), checking.findings)


def _known_periods(book: Book, as_of_us: int | None) -> list[Period]:
    found = book.periods()
    return found if as_of_us is None else [it for it in found if it.recorded_at_us < as_of_us]


def _said(span: Span) -> dict[str, str]:
    return {
        "name": span.name,
        "start": iso(span.start),
        "end": iso(span.end),
        "timezone": span.timezone,
    }


class _Writing:
    """The files of one export, as they are written one after another."""

    def __init__(
        self, folder: Path, version: FocusVersion, format: FocusFormat, span: Span | None
    ) -> None:
        period = "all" if span is None else span.name.replace("/", "_").replace(":", "")
        self._folder, self._format, self._rest = folder, format, f"{period}_v{version}"
        self.files: list[FileMade] = []

    def rows(self, dataset: str, columns: Sequence[Column], frames: Iterable[pl.DataFrame]) -> str:
        """Write rows; gives the name of the file."""
        name = f"focus-{dataset}_{self._rest}.{self._format}"
        with whole_file(self._folder / name) as file:
            if self._format == "csv":
                _write_csv(frames, columns, file)
            else:
                _write_parquet(frames, columns, file)
        return name

    def metadata(self, dataset: Dataset, metadata: dict[str, Any]) -> None:
        """Write what describes rows, and remember both files."""
        name = f"{dataset.file.removesuffix('.' + self._format)}_metadata.json"
        with whole_file(self._folder / name) as file:
            file.write(_json(metadata))
        self.files += [
            file_made(self._folder / dataset.file, rows=dataset.rows, totals=dataset.totals),
            file_made(self._folder / name, rows=None),
        ]


def _json(document: Any) -> bytes:
    return (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()


def _write_csv(frames: Iterable[pl.DataFrame], columns: Sequence[Column], file: BinaryIO) -> None:
    """Decimals always have their point, so that no reader takes a column for whole numbers."""
    header = pl.DataFrame(schema=schema_of(columns)).write_csv()
    file.write(header.encode())
    for frame in frames:
        rows = frame.write_csv(include_header=False, datetime_format="%Y-%m-%dT%H:%M:%SZ")
        file.write(rows.encode())


def _write_parquet(
    frames: Iterable[pl.DataFrame], columns: Sequence[Column], file: BinaryIO
) -> None:
    """Rows are made in this thread, because polars would ask for them from any of its own.

    A snapshot of a database belongs to the thread that took it.
    """
    parts: Queue[pl.DataFrame | None] = Queue(maxsize=_WAITING)
    ended, failed = Event(), list[BaseException]()

    def asked(
        names: list[str] | None, _predicate: Any, _rows: int | None, _size: int | None
    ) -> Iterator[pl.DataFrame]:
        while (frame := parts.get()) is not None:
            yield frame if names is None else frame.select(names)
        ended.set()

    def sink() -> None:
        try:
            register_io_source(asked, schema=schema_of(columns)).sink_parquet(
                cast("BinaryIO", _Only(file)), compression="zstd", row_group_size=_ROW_GROUP
            )
        except BaseException as error:  # noqa: BLE001  it is raised in the other thread
            failed.append(error)
            # Whoever makes rows must not wait for room.
            while not ended.is_set() and parts.get() is not None:
                pass

    writer = Thread(target=sink, name="parquet")
    writer.start()
    try:
        for frame in frames:
            if failed:
                break
            parts.put(frame)
    finally:
        parts.put(None)
        writer.join()
    if failed:
        raise failed[0]


class _Only:
    """A file that can be written to and nothing else: polars would write past its buffer."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        """Write."""
        return self._file.write(data)

    def flush(self) -> None:
        """Whoever opened the file does that."""

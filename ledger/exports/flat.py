"""Entries, holds and jobs as CSV, JSON lines and Parquet.

Every format says the same: amounts are exact, moments are in UTC, and the same data give the same
bytes. A part of the rows is in memory at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, BinaryIO, Literal, cast

import polars as pl
from polars.io.plugins import register_io_source

from ledger.exports.fields import FIELDS, Field, Table, schema_of
from ledger.exports.rows import Reading, label_names
from ledger.exports.tallies import Tally

__all__ = [
    "LARGEST_LABELS",
    "Format",
    "Profile",
    "as_text",
    "neutral",
    "write_flat",
]

Format = Literal["csv", "jsonl", "parquet"]
Profile = Literal["plain", "spreadsheet"]
"""How CSV is written: for programs, or so that a spreadsheet takes no text for a formula."""

LARGEST_LABELS = 100
"""With more names of labels than this, labels stand in one column of JSON only."""

_AMOUNT = pl.Decimal(38, 8)
_E8 = pl.lit("0.00000001").cast(_AMOUNT)
_BOM = b"\xef\xbb\xbf"
_SECOND_US = 1_000_000
_ROW_GROUP = 100_000

# A spreadsheet takes text for a formula that begins with one of these, in some languages also in
# their full width, whatever spaces stand before it and whether or not it is quoted.
_FORMULA = r"^\s*[=+\-@\t\r＝＋－＠]"


def write_flat(
    reading: Reading,
    table: Table,
    file: BinaryIO,
    *,
    format: Format,
    profile: Profile = "plain",
) -> Tally:
    """Write the rows of a table; gives their number and the sums of their amounts.

    Args:
        reading: the snapshot of the book.
        table: which rows.
        file: where to.
        format: `csv`, `jsonl` or `parquet`.
        profile: how CSV is written.
    """
    fields, tally = FIELDS[table], Tally()
    frames = _tallied(reading.frames(table), fields, tally)
    if format == "parquet":
        _write_parquet(frames, fields, file)
    elif format == "jsonl":
        for frame in frames:
            lines = frame.select(_json_line(fields)).to_series()
            file.write("".join(f"{line}\n" for line in lines).encode())
    else:
        labels = _labels(reading, table)
        file.writelines(_csv(frames, fields, labels, spreadsheet=profile == "spreadsheet"))
    if not tally.rows:
        tally.add(_empty(fields), fields)
    return tally


def neutral(text: str) -> str:
    """A text as a spreadsheet shows it and never works it out.

    >>> neutral("=1+1"), neutral("  @SUM(A1)"), neutral("a=1"), neutral("-")
    ("'=1+1", "'  @SUM(A1)", 'a=1', "'-")
    """
    frame = pl.DataFrame({"text": [text]}, schema={"text": pl.String})
    return str(frame.select(_neutral(pl.col("text"))).item())


def _neutral(text: pl.Expr) -> pl.Expr:
    return pl.when(text.str.contains(_FORMULA)).then("'" + text).otherwise(text)


def _tallied(
    frames: Iterable[pl.DataFrame], fields: Sequence[Field], tally: Tally
) -> Iterator[pl.DataFrame]:
    for frame in frames:
        tally.add(frame, fields)
        yield frame


def _empty(fields: Sequence[Field]) -> pl.DataFrame:
    return pl.DataFrame(schema=schema_of(fields))


# How values are written


def _amount(name: str) -> pl.Expr:
    """Units of 10^-8 as an exact decimal number."""
    return pl.col(name).cast(_AMOUNT) * _E8


def _digits(name: str) -> pl.Expr:
    """An amount as plain digits, without zeros that say nothing."""
    return _amount(name).cast(pl.String).str.replace(r"\.?0+$", "")


def _moment(name: str) -> pl.Expr:
    """A moment as ISO 8601 in UTC."""
    at = pl.col(name).cast(pl.Datetime("us", "UTC"))
    whole = pl.col(name) % _SECOND_US == 0
    exactly = at.dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    return pl.when(whole).then(at.dt.strftime("%Y-%m-%dT%H:%M:%SZ")).otherwise(exactly)


def as_text(item: Field) -> pl.Expr:
    """A column as CSV has it: amounts as plain digits, moments as ISO 8601, others as they are."""
    if item.kind in {"credits", "money"}:
        return _digits(item.name).alias(item.name)
    return _moment(item.name).alias(item.name) if item.kind == "moment" else pl.col(item.name)


# CSV


def _labels(reading: Reading, table: Table) -> list[str]:
    """The labels that get a column of their own, by name."""
    if table == "entries":
        return []
    found = label_names(reading.frames(table))
    return found if len(found) <= LARGEST_LABELS else []


def _csv(
    frames: Iterable[pl.DataFrame],
    fields: Sequence[Field],
    labels: Sequence[str],
    *,
    spreadsheet: bool,
) -> Iterator[bytes]:
    columns = [_cell(item, spreadsheet=spreadsheet) for item in fields]
    for label in labels:
        # A name may hold anything; only what follows the $ of a path is quoted by its brackets.
        value = pl.col(_path_column(label))
        columns.append((_neutral(value) if spreadsheet else value).alias(f"label.{label}"))
    quote: Any = "non_numeric" if spreadsheet else "necessary"
    if spreadsheet:
        yield _BOM
    yield _with_labels(_empty(fields), labels).select(columns).write_csv(quote_style=quote).encode()
    for frame in frames:
        rows = _with_labels(frame, labels).select(columns)
        yield rows.write_csv(include_header=False, quote_style=quote).encode()


def _cell(item: Field, *, spreadsheet: bool) -> pl.Expr:
    if item.kind == "flag":
        return pl.col(item.name).cast(pl.UInt8)
    if not spreadsheet:
        return as_text(item)
    if item.kind in {"credits", "money"}:
        # Numbers stay numbers, negative ones as well: they stand without quotes.
        return _amount(item.name).alias(item.name)
    text = _neutral(pl.col(item.name)).alias(item.name)
    return text if item.kind in {"text", "json"} else as_text(item)


def _path_column(label: str) -> str:
    return f"\0{label}"


def _with_labels(frame: pl.DataFrame, labels: Sequence[str]) -> pl.DataFrame:
    """A column for each label; each distinct text of labels is read once."""
    if not labels:
        return frame
    texts = frame["labels"].unique()
    read = [json.loads(text) for text in texts]
    columns = {_path_column(label): [item.get(label) for item in read] for label in labels}
    schema = dict.fromkeys(("labels", *columns), pl.String)
    table = pl.DataFrame({"labels": texts, **columns}, schema=schema)
    return frame.join(table, on="labels", how="left", maintain_order="left")


# JSON lines


def _json_line(fields: Sequence[Field]) -> pl.Expr:
    """A row as an object; what is JSON already stands in it as it is."""
    plain = pl.struct(as_text(item) for item in fields if item.kind != "json")
    parts = [plain.struct.json_encode().str.strip_suffix("}")]
    for item in fields:
        if item.kind == "json":
            parts += [pl.lit(f',"{item.name}":'), pl.col(item.name).fill_null("null")]
    return pl.concat_str(*parts, pl.lit("}"))


# Parquet


def _write_parquet(frames: Iterable[pl.DataFrame], fields: Sequence[Field], file: BinaryIO) -> None:
    columns = [_typed(item) for item in fields]
    schema = _empty(fields).select(columns).schema

    def parts(
        names: list[str] | None, _predicate: Any, _rows: int | None, _size: int | None
    ) -> Iterator[pl.DataFrame]:
        for frame in frames:
            typed = frame.select(columns)
            yield typed if names is None else typed.select(names)

    rows = register_io_source(parts, schema=schema)
    rows.sink_parquet(cast("BinaryIO", _Only(file)), compression="zstd", row_group_size=_ROW_GROUP)


def _typed(item: Field) -> pl.Expr:
    if item.kind in {"credits", "money"}:
        return _amount(item.name).alias(item.name)
    if item.kind == "moment":
        return pl.col(item.name).cast(pl.Datetime("us", "UTC"))
    return pl.col(item.name)


class _Only:
    """A file that can be written to and nothing else: polars would write past its buffer."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        """Write."""
        return self._file.write(data)

    def flush(self) -> None:
        """Whoever opened the file does that."""

"""Reading a plan of jobs: a data frame or a file, as batches of rows with known columns."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from difflib import get_close_matches
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from ledger.errors import Fault, InvalidPlan
from ledger.evolink import OptionKind
from ledger.units import plain

__all__ = [
    "CHOICE",
    "COUNT",
    "GIVEN",
    "NUMBER",
    "OPTIONS",
    "RAW_COUNT",
    "RAW_SECONDS",
    "ROW",
    "SECONDS",
    "SHAPE",
    "WRITTEN",
    "Further",
    "Plan",
    "canonical",
    "check_grouping",
    "open_plan",
    "option_text",
    "over",
    "readable",
    "taken_from",
]

Plan = str | Path | pl.DataFrame | pl.LazyFrame
"""A plan: a `.csv`, `.jsonl` or `.parquet` file, or a data frame."""

OPTIONS = ("model", "quality", "character_orientation", "sound")
"""Columns a price depends on, besides the length."""

ALIASES = {
    "orientation": "character_orientation",
    "reference_seconds": "seconds",
    "duration": "seconds",
}
"""Other headers for the same columns."""

OTHER_WORDS = {
    **dict.fromkeys(("sec", "secs", "second", "length", "duration_seconds"), "seconds"),
    **dict.fromkeys(("resolution", "tier"), "quality"),
    **dict.fromkeys(("qty", "quantity"), "count"),
}
"""Headers that people use for the known columns; asked about, not guessed."""

KNOWN = (*OPTIONS, "seconds", "count")
"""Columns of every plan; others are options of some models, or labels."""

Further = Mapping[str, OptionKind]
"""Options that some models have besides those of every plan: `number` or `choice`."""

SECONDS, COUNT = "seconds", "count"
"""The length and the number of jobs, as numbers; null where they are not simply that."""

ROW, SHAPE = "__row", "__shape"
"""Number of a row, from 1, and why it does not fit the header; for CSV files."""

EXTRA = ("__extra1", "__extra2", "__extra3", "__extra4")
"""Cells a row of a CSV file has too many."""

INTERNAL = (ROW, *EXTRA)
"""Columns that a reader adds."""

RAW_SECONDS, RAW_COUNT = "__seconds", "__count"
"""The same as they were written; null where nothing was."""

CHOICE, GIVEN, WRITTEN, NUMBER = "__choice ", "__given ", "__written ", "__number "
"""Before the name of a further option: the text of a choice; of a number whether it is given, as it
was written, and as Float64 where that says it exactly."""

JSON_ENDINGS = (".jsonl", ".ndjson")
"""Endings of files of JSON lines."""

JSON_ROWS = 500_000
"""Rows of a JSON lines file held at a time."""

MOST_COUNT = 1_000_000_000
"""Most jobs one row may stand for."""

_PLAIN_SECONDS = r"^[0-9]{1,20}(\.[0-9]{1,20})?$"
_PLAIN_COUNT = r"^[0-9]{1,10}(\.0{1,9})?$"
_PLAIN_NUMBER = r"^-?(0|[1-9][0-9]{0,14})(\.[0-9]{1,15})?$"
_IS_GIVEN = pl.Enum(["given"])


class Opened(NamedTuple):
    """A plan whose header was read."""

    where: str
    """What errors call it."""
    parts: Iterator[pl.LazyFrame]
    """Its rows with known columns; a part may be larger than memory."""
    columns: list[str]
    """Columns it can be grouped by; grows while a file without a header is read."""
    has_header: bool
    """Whether `columns` is complete before anything is read."""


def check_grouping(by: Sequence[str], opened: Opened) -> None:
    """Refuse columns to group by that a plan does not have, with the nearest, or names twice.

    Raises:
        InvalidPlan: has every fault.
    """
    found, columns = [], opened.columns
    for name in by:
        if name not in columns:
            nearest = get_close_matches(name, columns, n=1)
            hint = f"did you mean {nearest[0]}?" if nearest else f"it has {', '.join(columns)}"
            found.append(Fault(name, f"is not a column to group by; {hint}"))
    if len(set(by)) < len(by):
        found.append(Fault(", ".join(by), "names a column twice"))
    if found:
        raise InvalidPlan(opened.where, found)


def taken_from(columns: Iterable[str], further: Further) -> Further:
    """The further options that a plan with these columns can have."""
    taken = {*KNOWN, *ALIASES}
    names = [name.strip() for name in columns]
    return {name: kind for name, kind in further.items() if name in names and name not in taken}


def open_plan(plan: Plan, model: str | None = None, further: Further | None = None) -> Opened:
    """A plan, ready to be read.

    Args:
        plan: a file or a data frame.
        model: model of every row, for a plan without that column.
        further: options of some models, which columns of their names then are.

    Raises:
        InvalidPlan: the file cannot be read, or its columns are wrong; also while iterating.
    """
    if isinstance(plan, (str, Path)):
        where, frames = str(plan), _open(Path(plan), further or {})
        has_header = Path(plan).suffix.lower() not in JSON_ENDINGS
    else:
        if not isinstance(plan, (pl.DataFrame, pl.LazyFrame)):
            raise InvalidPlan("plan", [Fault("", "must be a file or a polars data frame")])
        where, frames, has_header = "plan", iter([plan.lazy()]), True
    columns = list(OPTIONS)
    first: pl.LazyFrame | None = None

    def checked(frame: pl.LazyFrame) -> pl.LazyFrame:
        schema = frame.collect_schema()
        # Of JSON lines, only the first part must show that there are models at all.
        rows = canonical(
            frame, schema, where, model, further=further, must_have_model=frame is first
        )
        names = (name for name in _names(schema) if name not in (*KNOWN, *INTERNAL))
        columns.extend(name for name in names if name not in columns)
        return rows

    with readable(where):
        first = next(frames, None)
        if first is None:
            raise InvalidPlan(where, [Fault("", "has no rows")])
        head = checked(first)
    return Opened(where, chain([head], map(checked, frames)), columns, has_header)


@contextmanager
def readable(where: str) -> Iterator[None]:
    """Turn a reader's own errors into ours, which name the file."""
    try:
        yield
    except pl.exceptions.NoDataError:
        raise InvalidPlan(where, [Fault("", "has no rows")]) from None
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise InvalidPlan(where, [Fault("", f"cannot be read: {lines[0]}")]) from None


def canonical(
    frame: pl.LazyFrame,
    schema: pl.Schema,
    where: str,
    model: str | None = None,
    *,
    further: Further | None = None,
    must_have_model: bool = True,
) -> pl.LazyFrame:
    """Known columns under one name each and of a workable type; labels as they are.

    A column of a further option stands there as a label, too, and may be grouped by.

    Raises:
        InvalidPlan: a column is missing, double, misspelt or of an unusable type.
    """
    headers = [name.strip() for name in schema if name not in INTERNAL]
    _check_header(headers, where, further or {})
    options = taken_from(headers, further or {})
    names = dict(zip(schema, _names(schema), strict=True))
    kinds = dict(zip(names.values(), schema.dtypes(), strict=True))
    found = [
        Fault(name, f"is of type {kind}; it must be text or a number")
        for name, kind in kinds.items()
        if kind.is_nested() or kind in (pl.Binary, pl.Object)
    ]
    if "model" not in kinds and model is None and must_have_model:
        problem = "is missing; name the model in each row, or once for the whole plan"
        found.append(Fault("model", problem))
    if "model" in kinds and model is not None:
        found.append(Fault("model", "stands in the plan already; name it there or here"))
    if found:
        raise InvalidPlan(where, found)
    lazy = frame.rename({old: new for old, new in names.items() if old != new})
    labels = [name for name in kinds if name not in (*KNOWN, *INTERNAL)]
    return lazy.select(
        *([ROW] if ROW in kinds else []),
        _shape(list(kinds)),
        *(_option(name, kinds.get(name), model) for name in OPTIONS),
        *_seconds(kinds.get(SECONDS), where),
        *_count(kinds.get(COUNT), where),
        *(each for name, kind in options.items() for each in _further(name, kind, kinds[name])),
        *labels,
    )


def _names(schema: pl.Schema) -> list[str]:
    return [ALIASES.get(name.strip(), name.strip()) for name in schema]


def _shape(columns: Sequence[str]) -> pl.Expr:
    if EXTRA[0] not in columns:
        return pl.lit(None, dtype=pl.String).alias(SHAPE)
    problem = pl.lit("the row has more cells than the header")
    return _only(pl.any_horizontal(pl.col(EXTRA).is_not_null()), problem).alias(SHAPE)


def _option(name: str, kind: pl.DataType | None, model: str | None) -> pl.Expr:
    if kind is None:
        return pl.lit(model if name == "model" else None, dtype=pl.String).alias(name)
    if kind == pl.String or isinstance(kind, (pl.Enum, pl.Categorical)):
        return pl.col(name)
    return pl.col(name).cast(pl.String)


def _further(name: str, option: OptionKind, kind: pl.DataType) -> Iterator[pl.Expr]:
    """A further option, which is not given where its cell is empty."""
    column = pl.col(name)
    if isinstance(kind, (pl.Enum, pl.Categorical)) or kind == pl.Null:
        column, kind = column.cast(pl.String), pl.String()
    written = _written(column) if kind == pl.String else column
    if option == "choice":
        yield _text_of(written, kind).alias(f"{CHOICE}{name}")
        return
    given = pl.when(written.is_not_null()).then(pl.lit("given", dtype=_IS_GIVEN))
    yield given.alias(f"{GIVEN}{name}")
    if kind.is_float():
        written = written.cast(pl.Float64)
    elif not (kind.is_integer() or isinstance(kind, pl.Decimal)):
        written = written.cast(pl.String)
    yield written.alias(f"{WRITTEN}{name}")
    yield _number_of(column, kind).alias(f"{NUMBER}{name}")


def _text_of(column: pl.Expr, kind: pl.DataType) -> pl.Expr:
    """A value as the text it would be written as; whole numbers without a point."""
    text = column.cast(pl.String)
    if isinstance(kind, pl.Decimal) and kind.scale:
        return text.str.strip_chars_end("0").str.strip_chars_end(".")
    if not kind.is_float():
        return text
    whole = column.cast(pl.Int64, strict=False)
    return pl.when(whole.cast(kind) == column).then(whole.cast(pl.String)).otherwise(text)


def _number_of(column: pl.Expr, kind: pl.DataType) -> pl.Expr:
    """A number as Float64 where at most 15 digits say it, so that the float stands for no other."""
    if kind == pl.String:
        short = column.str.contains(_PLAIN_NUMBER) & (column.str.len_bytes() <= 16)
        return _only(short, column).cast(pl.Float64, strict=False)
    if isinstance(kind, pl.Decimal):
        read = column.cast(pl.Float64)
        fits = read.abs() < 10 ** max(15 - kind.scale, 0)
        return _only(fits, read) if kind.scale <= 8 else pl.lit(None, dtype=pl.Float64)
    if kind.is_integer() or kind.is_float():
        return column.cast(pl.Float64)
    return pl.lit(None, dtype=pl.Float64)


def option_text(value: Any) -> str:
    """A number of a further option as the rules write it: plain digits, where it is one."""
    if isinstance(value, float):
        value = Decimal(float.__repr__(value))
    if isinstance(value, Decimal):
        return plain(value) if value.is_finite() and -40 < value.adjusted() < 40 else str(value)
    return str(value)


def _seconds(kind: pl.DataType | None, where: str) -> tuple[pl.Expr, pl.Expr]:
    """The length as it was written, and as Float64 where that decides the rounding exactly.

    Reading a decimal as the nearest Float64 never carries it past a half second or a published
    limit, which have six decimals at most, but may put it there. So a Float64 decides, unless it
    is such a number and was written with more than 15 digits. Such lengths, and odd ones, are null
    here and left to the scalar function.
    """
    column = pl.col(SECONDS)
    written: pl.Expr
    number: pl.Expr
    if kind is None or kind == pl.Null:
        nothing = pl.lit(None, dtype=pl.String)
        return nothing.alias(RAW_SECONDS), nothing.cast(pl.Float64).alias(SECONDS)
    if kind == pl.String:
        digits = _only(column.str.contains(_PLAIN_SECONDS), column)
        read = digits.cast(pl.Float64, strict=False)
        at_edge = (column.str.len_bytes() > 15) & (read == over((read * 1e6).round(), 10**6))
        written, number = _written(column), _only(~at_edge, read)
    elif isinstance(kind, pl.Decimal):
        written = column
        number = column.cast(pl.Float64) if kind.scale <= 8 else pl.lit(None, dtype=pl.Float64)
    elif kind == pl.Duration:
        written, number = _duration(column, kind)
    elif kind.is_float():
        written = number = column.cast(pl.Float64)
    elif kind.is_integer():
        written, number = column, column.cast(pl.Float64)
    else:
        raise InvalidPlan(where, [Fault(SECONDS, f"is of type {kind}; it must be a number")])
    return written.alias(RAW_SECONDS), number.alias(SECONDS)


def _duration(column: pl.Expr, kind: pl.DataType) -> tuple[pl.Expr, pl.Expr]:
    # In its own unit, because nanoseconds overflow and Python's timedelta has only microseconds.
    unit = getattr(kind, "time_unit", None) or "us"
    decimals = {"ns": 9, "us": 6, "ms": 3}[unit]
    total = column.to_physical()
    sign = pl.when(total < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    whole = (total.abs() // 10**decimals).cast(pl.String)
    rest = (total.abs() % 10**decimals).cast(pl.String).str.zfill(decimals)
    return pl.concat_str([sign, whole, pl.lit("."), rest]), over(
        total.cast(pl.Float64), 10**decimals
    )


def _count(kind: pl.DataType | None, where: str) -> tuple[pl.Expr, pl.Expr]:
    """The count as it was written, and as Int64 where it is a whole number of jobs."""
    column = pl.col(COUNT)
    written: pl.Expr
    number: pl.Expr
    if kind is None or kind == pl.Null:
        return (
            pl.lit(None, dtype=pl.String).alias(RAW_COUNT),
            pl.lit(1, dtype=pl.Int64).alias(COUNT),
        )
    if kind == pl.String:
        written = _written(column)
        digits = _only(column.str.contains(_PLAIN_COUNT), column)
        number = digits.cast(pl.Float64, strict=False).cast(pl.Int64, strict=False)
    elif kind.is_integer():
        written, number = column, column.cast(pl.Int64, strict=False)
    elif kind.is_float() or isinstance(kind, pl.Decimal):
        whole = column.cast(pl.Int64, strict=False)
        written = column
        number = _only(whole.cast(pl.Float64) == column.cast(pl.Float64), whole)
    else:
        raise InvalidPlan(where, [Fault(COUNT, f"is of type {kind}; it must be a whole number")])
    number = _only(number.is_between(0, MOST_COUNT), number)
    jobs = pl.when(written.is_null()).then(1).otherwise(number)
    return written.alias(RAW_COUNT), jobs.alias(COUNT)


def _only(condition: pl.Expr, column: pl.Expr) -> pl.Expr:
    """The column where the condition holds, null elsewhere."""
    return pl.when(condition).then(column).otherwise(None)


def over(numbers: pl.Expr, divisor: int) -> pl.Expr:
    """Floats divided by a power of ten, each to the nearest float.

    By a plain number polars multiplies with its inverse, which is off by a digit now and then.
    """
    return numbers / (numbers * 0 + divisor)


def _written(column: pl.Expr) -> pl.Expr:
    return _only(column != "", column)


def _open(path: Path, further: Further) -> Iterator[pl.LazyFrame]:
    where = str(path)
    if not path.is_file():
        raise InvalidPlan(where, [Fault("", "is not a file")])
    if path.stat().st_size == 0:
        raise InvalidPlan(where, [Fault("", "is empty")])
    match path.suffix.lower():
        case ".csv":
            return iter([_scan_csv(path, further)])
        case ".parquet" | ".pq":
            return iter([pl.scan_parquet(path)])
        case suffix if suffix in JSON_ENDINGS:
            return _read_json_lines(path, further)
        case ".json":
            problem = "is no plan; request bodies are priced by: kling-ledger quote"
            raise InvalidPlan(where, [Fault("", problem)])
        case suffix:
            problem = f"has the ending {suffix!r}; a plan is .csv, .jsonl or .parquet"
            raise InvalidPlan(where, [Fault("", problem)])


def _scan_csv(path: Path, further: Further) -> pl.LazyFrame:
    # Every cell is read as text: only text still shows the digits that were written. One column
    # more than the header has catches what stands behind the last one, such as the 4 of an
    # unquoted 12,4. A row that is too short cannot be told from one with empty cells at its end.
    with readable(str(path)):
        with path.open("rb") as file:
            header = file.readline(1_000_000)
        cells = pl.read_csv(header, has_header=False, infer_schema=False).row(0)
    names = [(cell or "").strip().removeprefix("\ufeff") for cell in cells]
    if len(names) == 1 and (found := re.search(r"[;\t|]", names[0])):
        problem = f"has {found.group()!r} between the columns; a plan has commas"
        raise InvalidPlan(str(path), [Fault("header", problem)])
    _check_header(names, str(path), further)
    lazy = pl.scan_csv(
        path,
        has_header=False,
        skip_rows=1,
        schema=dict.fromkeys([*names, *EXTRA], pl.String()),
        row_index_name=ROW,
        row_index_offset=1,
        missing_columns="insert",
        extra_columns="ignore",
        truncate_ragged_lines=True,
    )
    return lazy.filter(~pl.all_horizontal(pl.exclude(ROW).is_null()))  # blank lines


def _read_json_lines(path: Path, further: Further) -> Iterator[pl.LazyFrame]:
    """Objects line by line; numbers are kept as the text they were written in."""
    with path.open("rb") as file:
        lines = enumerate(file, start=1)
        while chunk := list(islice(lines, JSON_ROWS)):
            rows = []
            for number, line in chunk:
                if text := line.strip():
                    try:
                        rows.append(_json_row(text, further))
                    except _LineError as error:
                        raise InvalidPlan(f"{path}, line {number}", [error.fault]) from None
            if rows:
                names = dict.fromkeys(name for row in rows for name in row)
                data = {name: [row.get(name) for row in rows] for name in names}
                yield pl.DataFrame(data, schema=dict.fromkeys(names, pl.String)).lazy()


class _LineError(Exception):
    """What is wrong with one line of a file."""

    def __init__(self, field: str, problem: str) -> None:
        self.fault = Fault(field, problem)
        super().__init__(problem)


def _json_row(line: bytes, further: Further) -> dict[str, str | None]:
    try:
        text = line.decode("utf-8-sig")
        row = _DECODE(text)
        if not isinstance(row, dict):
            raise _LineError("", "is not an object")
        # Looking at every pair of every object takes as long as all the rest. A line that has as
        # many colons behind quotes as it has keys cannot have a key twice.
        if text.count('":') != len(row) or '" :' in text or '"\t:' in text:
            _DECODE_PAIRS(text)
    except json.JSONDecodeError as error:
        raise _LineError("", f"is not JSON: {error.msg}, column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise _LineError("", f"is not JSON: {error}") from None
    if (labels := row.pop("labels", None)) is not None:
        row |= _json_labels(labels, row, further)
    for name, value in row.items():
        kind = type(value)
        if kind is str or value is None:
            continue
        if kind is bool:
            row[name] = "true" if value else "false"
        elif kind is not _Exponent:
            raise _LineError(name, "must be text or a number")
        elif ALIASES.get(name, name) in (SECONDS, COUNT) or name in further:
            row[name] = value.digits()
    return row


def _json_labels(labels: Any, row: dict[str, Any], further: Further) -> dict[str, Any]:
    if not isinstance(labels, dict):
        raise _LineError("labels", "must be an object")
    for name in labels:
        if name in row or name in KNOWN or name in ALIASES or name in further:
            raise _LineError(f"labels.{name}", "is the name of a column")
    return labels


def _json_number(text: str) -> str:
    return _Exponent(text) if "e" in text or "E" in text else text


class _Exponent(str):
    """A JSON number with an exponent, as it was written."""

    __slots__ = ()

    def digits(self) -> str:
        """The same in plain digits, where it can be a length or a count at all."""
        number = Decimal(self)
        return plain(number) if -20 < number.adjusted() < 20 else str(self)


def _json_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _LineError(twice, "stands twice in one object")
    return found


_NUMBERS: dict[str, Any] = {"parse_float": _json_number, "parse_int": _json_number}
_DECODE = json.JSONDecoder(**_NUMBERS, parse_constant=str).decode
_DECODE_PAIRS = json.JSONDecoder(
    **_NUMBERS, parse_constant=str, object_pairs_hook=_json_object
).decode


def _check_header(names: Sequence[str], where: str, further: Further) -> None:
    """Refuse headers that are empty, double, or a slip of a known one or a further option.

    A slip would silently become a label, and the jobs would be priced without it.
    """
    found: list[Fault] = []
    canonical = [ALIASES.get(name, name) for name in names]
    for position, (name, meant) in enumerate(zip(names, canonical, strict=True), start=1):
        if not name:
            found.append(Fault(f"column {position}", "has no header"))
        elif name.startswith("__"):
            found.append(Fault(name, "must not begin with two underscores"))
        elif canonical.index(meant) < position - 1:
            found.append(Fault(name, f"stands twice in the header (as {meant})"))
        elif meant not in KNOWN and (slip := _slip(name, canonical, further)):
            problem = f"is not a known column; did you mean {slip}? A label needs another name"
            found.append(Fault(name, problem))
    if found:
        raise InvalidPlan(where, found)


def _slip(name: str, canonical: Sequence[str], further: Further) -> str | None:
    """The known column that this header was surely meant to be, where that one is not there."""
    lower = name.lower()
    if name in further and lower not in OTHER_WORDS:
        return None
    nearest = [OTHER_WORDS[lower]] if lower in OTHER_WORDS else []
    if not nearest:
        known = [item for item in (*KNOWN, *ALIASES) if abs(len(item) - len(lower)) <= 1]
        nearest = get_close_matches(lower, known, n=1, cutoff=0.75)
    if not nearest:
        options = [item for item in further if abs(len(item) - len(lower)) <= 1]
        nearest = get_close_matches(lower, options, n=1, cutoff=0.9)
    if not nearest or ALIASES.get(nearest[0], nearest[0]) in canonical:
        return None
    return nearest[0]

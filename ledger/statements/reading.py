"""Statements read: lines with exact amounts in one shape, whatever file they come in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Final

import polars as pl

from ledger.errors import Fault, InvalidMapping
from ledger.figures import show_credits
from ledger.statements.amounts import CREDIT_UNITS, Writing, clip, read_numbers
from ledger.statements.guessing import Guess, guess_of, table_of
from ledger.statements.mapping import FIELDS, TASKS, Mapping, Place, places
from ledger.statements.moments import Clock
from ledger.statements.sources import LINE, Cells, Content, File, Rejected, Table, examine
from ledger.statements.task_rows import TaskFile
from ledger.statements.words import NEGATIVE, TOTALS, plain_header, same_status
from ledger.units import MAX_AMOUNT_E8

__all__ = ["COLUMNS", "StatementFile", "read_statement"]

COLUMNS: Final[dict[str, pl.DataType]] = {
    "line": pl.Int64(),
    "task": pl.String(),
    "key": pl.String(),
    "model": pl.String(),
    "amount_e8": pl.Int64(),
    "refunded_e8": pl.Int64(),
    "raw_amount": pl.String(),
    "seconds_us": pl.Int64(),
    "quality": pl.String(),
    "at_us": pl.Int64(),
    "status": pl.String(),
    "money_e8": pl.Int64(),
    "currency": pl.String(),
    "version": pl.String(),
}
"""Columns of a statement's frame, one row a line."""

MOST_REJECTED: Final = 100_000
"""Lines that may be unreadable; beyond that the mapping is wrong, not the lines."""
_LONGEST_NAME: Final = 255
"""Characters of an id, as in the book."""
_NUMBERS: Final = ("amount", "refunded", "seconds", "money")
_IDENTITY: Final = ("task", "key", "model", "at")
_FIRST: Final = "first"
"""The file's own first column, where a totals line says so."""
_SHORTENED: Final = r"^[0-9](?:[.,][0-9]+)?[eE]\+[0-9]{1,3}$"
"""An id that a spreadsheet took for a number and shortened."""


@dataclass(frozen=True, slots=True)
class StatementFile:
    """A statement that was read."""

    frame: pl.DataFrame
    """One row a line; columns and types are `COLUMNS`."""
    digest: bytes
    """SHA-256 of the file."""
    name: str
    """Name of the file, without its folder."""
    lines: int
    """Lines that hold something, the header not counted: read, rejected or left out."""
    mapping: Mapping
    """How it was read."""
    rejected: tuple[Rejected, ...]
    """Lines that could not be read, each with its column and what is wrong; in none of the sums."""
    left_out: tuple[Rejected, ...]
    """Lines that are no charge: totals, and headers that come again."""
    notes: tuple[str, ...]
    """What was noticed or assumed."""
    guess: Guess | None
    """Why it was read so, where no mapping was given."""


def read_statement(
    path: str | Path,
    mapping: Mapping | None = None,
    *,
    progress: Callable[[int], None] | None = None,
) -> StatementFile:
    """The lines of a statement, with exact amounts.

    Args:
        path: CSV or another text file with columns, JSON lines or documents of tasks, or `.xlsx`.
        mapping: how it is to be read; guessed, if None.
        progress: is told the number of lines done, again and again.

    Raises:
        InvalidStatement: a folder; missing; empty; no kind of file that is read; not in the
            encoding named; changed while it was read; no line of it can be read.
        InvalidMapping: it does not fit the file, or nothing was given and something in the file
            can be read in two ways.
        MissingExtra: a workbook, and the extra `xlsx` is not installed.
    """
    file = examine(Path(path))
    guess: Guess | None = None
    if mapping is None:
        guess = guess_of(file)
        if guess.open:
            raise InvalidMapping(f"{file.path}: no mapping was given", guess.open)
        mapping = guess.mapping
    table = table_of(file, mapping)
    reader = _Reader(file, table, mapping)
    for cells in table.cells(reader.wanted):
        reader.add(cells)
        if progress is not None:
            progress(reader.lines)
    if isinstance(table, TaskFile) and mapping != TASKS:
        table.check(dict.fromkeys(reader.named, "text"))
    return reader.result(guess)


def resolve(table: Table, mapping: Mapping, where: str) -> dict[str, tuple[Place, ...]]:
    """The columns of a table that each thing stands in, as a table counts them: from 0, or paths.

    Raises:
        InvalidMapping: a column is not there, or its header stands twice; has every fault.
    """
    found: dict[str, tuple[Place, ...]] = {}
    faults: list[Fault] = []
    for name in FIELDS:
        given = places(getattr(mapping.columns, name))
        if not given:
            continue
        if isinstance(table, TaskFile):
            found[name] = tuple(str(place) for place in given)
            continue
        indexes: list[Place] = []
        for place in given:
            index = _index(table.header, place)
            if isinstance(index, str):
                faults.append(Fault(f"columns.{name}", index))
            else:
                indexes.append(index)
        found[name] = tuple(indexes)
    if faults:
        raise InvalidMapping(where, faults)
    return found


def _index(header: list[str], place: Place) -> int | str:
    """The number of a column from 0, or what is wrong with how it is named."""
    if isinstance(place, int):
        return place - 1 if place <= len(header) else f"is {place}; there are {len(header)} columns"
    exact = [index for index, name in enumerate(header) if name == place.strip()]
    plain = plain_header(place)
    like = exact or [index for index, name in enumerate(header) if plain_header(name) == plain]
    if len(like) == 1:
        return like[0]
    if like:
        numbers = " and ".join(str(index + 1) for index in like)
        return f"{place!r} stands in columns {numbers}; name the one that is meant by its number"
    nearest = get_close_matches(place, header, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"it has {', '.join(header[:20])}"
    return f"{place!r} is not in the header; {hint}"


@dataclass
class _Reader:
    """Turns cells into lines, and remembers what could not be."""

    file: File
    table: Table
    mapping: Mapping
    lines: int = 0
    parts: list[pl.DataFrame] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    left_out: list[tuple[Rejected, str | None]] = field(default_factory=list)
    grouped: str | None = None
    days_only: int = 0

    def __post_init__(self) -> None:
        mapping = self.mapping
        self.columns = resolve(self.table, mapping, str(self.file.path))
        content: dict[str, Content] = dict.fromkeys(_NUMBERS, "number")
        content |= {"at": "time", "time_of_day": "time"}
        self.wanted: dict[int | str, Content] = {}
        for name, given in self.columns.items():
            for place in given:
                self.wanted.setdefault(place, content.get(name, "text"))
        self.named = list(self.wanted)
        self.has_first = not isinstance(self.table, TaskFile)
        if self.has_first:
            self.wanted.setdefault(0, "time")
        unit = mapping.unit
        self.in_credits = unit in CREDIT_UNITS
        point = mapping.decimal
        currency = mapping.currency or (unit if not self.in_credits else "USD")
        self.writings = {
            "amount": Writing(unit, point),
            "refunded": Writing(unit, point),
            "seconds": Writing("seconds", point),
            "money": Writing(currency, point),
        }
        forms = mapping.time_formats
        if self.file.kind == "xlsx" and "iso" not in forms:
            forms = ("iso", *forms)  # cells that are dates come so
        self.clock = Clock(forms, mapping.timezone, mapping.overlap)
        own = {word.strip().casefold(): meant for word, meant in mapping.status.items()}
        self.status = partial(same_status, own=own)

    def add(self, cells: Cells) -> None:
        """Read some lines.

        Raises:
            InvalidStatement: more lines are unreadable than a few.
        """
        self.rejected += cells.rejected
        self.lines += cells.frame.height + len({item.line for item in cells.rejected})
        frame = self._without_totals(self._texts(cells.frame))
        if not frame.is_empty():
            self._add(frame)
        if len(self.rejected) > MOST_REJECTED:
            raise self._nothing(f"has more than {MOST_REJECTED:,} lines that cannot be read")

    def _texts(self, cells: pl.DataFrame) -> pl.DataFrame:
        """One column of text for each thing; nothing where a cell holds nothing."""
        parts: list[pl.Expr] = [pl.col(LINE)]
        live = {name for name in cells.columns if cells[name].null_count() < cells.height}
        several: dict[str, int] = {}
        for name in (*FIELDS, _FIRST):
            given = self.columns.get(name, (0,) if name == _FIRST and self.has_first else ())
            given = tuple(place for place in given if str(place) in live)
            texts = [
                pl.col(str(place)).str.strip_chars(" \t\r\n\u00a0\u3000\ufeff") for place in given
            ]
            texts = [pl.when(text != "").then(text) for text in texts]
            value = pl.coalesce(texts) if texts else pl.lit(None, dtype=pl.String)
            parts.append(value.alias(name))
            if len(texts) > 1 and name in self.writings:
                several[name] = len(texts)
                parts += [text.alias(f"{name}.{number}") for number, text in enumerate(texts)]
        frame = cells.select(parts)
        for name, count in several.items():
            frame = self._agreeing(frame, name, count)
        if "time_of_day" in self.columns:
            day = pl.col("at").str.replace(r"[T ]00:00(:00)?$", "")
            time = pl.col("time_of_day")
            joined = pl.when(time.is_null()).then(pl.col("at")).otherwise(day + " " + time)
            frame = frame.with_columns(joined.alias("at"))
        return frame

    def _agreeing(self, frame: pl.DataFrame, name: str, count: int) -> pl.DataFrame:
        """Refuse lines in which two columns for one thing say different things."""
        names = [f"{name}.{number}" for number in range(count)]
        first = pl.col(name)
        odd = frame.filter(pl.any_horizontal(pl.col(names).ne(first).fill_null(value=False)))
        bad: list[int] = []
        for row in odd.select(LINE, *names).iter_rows():
            texts = [text for text in row[1:] if text is not None]
            read = read_numbers(pl.Series(texts, dtype=pl.String), self.writings[name])
            if not read.problems and read.values.n_unique() == 1:
                continue
            self._reject(
                row[0], name, f"is {' in one column and '.join(map(clip, texts))} in another"
            )
            bad.append(row[0])
        frame = frame.drop(names)
        return frame.filter(~pl.col(LINE).is_in(bad)) if bad else frame

    def _without_totals(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Leave out lines that add up others, and headers that come again."""
        if not self.has_first:
            return frame
        alone = pl.all_horizontal(
            pl.col(name).is_null() | pl.col(name).str.contains(TOTALS) for name in _IDENTITY
        )
        said = pl.any_horizontal(
            pl.col(name).str.contains(TOTALS).fill_null(value=False)
            for name in (*_IDENTITY, "status", _FIRST)
        )
        first = pl.col(_FIRST).is_null() | pl.col(_FIRST).str.contains(TOTALS)
        own_first = 0 not in {place for name in _IDENTITY for place in self.columns.get(name, ())}
        totals = alone & said & (first if not own_first else pl.lit(value=True))
        titles = {
            name: self.table.header[int(given[0])]
            for name, given in self.columns.items()
            if self.table.header[int(given[0])]
        }
        if "time_of_day" in titles:
            del titles["at"]
        same = [pl.col(name).eq_missing(pl.lit(title)) for name, title in titles.items()]
        header = pl.all_horizontal(same) if same else pl.lit(value=False)
        marked = frame.with_columns(totals.alias("totals"), header.alias("header"))
        odd = marked.filter(pl.col("totals") | pl.col("header"))
        if odd.is_empty():
            return frame
        for line, amount, is_header in odd.select(LINE, "amount", "header").iter_rows():
            what = (
                "the header again"
                if is_header
                else f"a totals line ({(amount or 'no amount')[:40]})"
            )
            self.left_out.append((Rejected(line, "", what), None if is_header else amount))
        keep = ~(pl.col("totals") | pl.col("header"))
        return marked.filter(keep).drop("totals", "header")

    def _add(self, frame: pl.DataFrame) -> None:
        bad: set[int] = set()
        values: dict[str, pl.Series] = {}
        for name, writing in self.writings.items():
            read = read_numbers(frame[name], writing)
            values[name] = read.values
            if name == "amount":
                self.grouped = self.grouped or read.grouped
            bad |= self._refuse(frame, name, read.problems)
        times = self.clock.read(frame["at"])
        self.days_only += times.days_only
        bad |= self._refuse(frame, "at", times.problems)
        typed = frame.with_columns(
            *(values[name].alias(f"{name}.value") for name in values),
            times.values.alias("at.value"),
            self._words("status", self.status),
            self._words("model", lambda word: self.mapping.models.get(word, word)),
            pl.col("quality").str.to_lowercase(),
        )
        bad |= self._unfit(typed)
        if bad:
            typed = typed.filter(~pl.col(LINE).is_in(bad))
        self.parts.append(self._shaped(typed))

    def _words(self, name: str, meaning: Callable[[str], str]) -> pl.Expr:
        return pl.col(name).map_batches(
            lambda column: column.replace(
                words := column.drop_nulls().unique(),
                pl.Series([meaning(word) for word in words], dtype=pl.String),
            ),
            return_dtype=pl.String,
        )

    def _shaped(self, typed: pl.DataFrame) -> pl.DataFrame:
        """The frame's columns, charges positive."""
        amount, refunded = pl.col("amount.value"), pl.col("refunded.value")
        money, currency = pl.col("money.value"), pl.col("currency").str.to_uppercase()
        if self.mapping.sign == "charges_negative":
            amount, money = -amount, -money
        if self.mapping.given_back == "positive":
            gives = pl.col("status").is_in(NEGATIVE).fill_null(value=False)
            amount = pl.when(gives).then(-amount.abs()).otherwise(amount)
            money = pl.when(gives).then(-money.abs()).otherwise(money)
        if not self.in_credits:
            # What is in money is money; it is credits as well where the mapping says how many.
            money, rate = pl.coalesce(amount, money), self.mapping.credits_per_unit
            currency = pl.lit(self.mapping.unit)
            if rate is None:
                amount = refunded = pl.lit(None, dtype=pl.Int64)
            else:
                top, bottom = rate.as_integer_ratio()
                amount = _times(amount, top, bottom)
                refunded = _times(refunded, top, bottom)
        known = pl.coalesce(currency, pl.lit(self.mapping.currency, dtype=pl.String))
        columns = {
            "amount_e8": amount,
            "refunded_e8": refunded,
            "raw_amount": pl.col("amount"),
            "seconds_us": pl.col("seconds.value"),
            "at_us": pl.col("at.value"),
            "money_e8": money,
            "currency": pl.when(money.is_not_null()).then(known),
        }
        return typed.select(
            columns.get(name, pl.col(name)).cast(kind).alias(name) for name, kind in COLUMNS.items()
        )

    def _unfit(self, typed: pl.DataFrame) -> set[int]:
        """Lines whose parts are sound but make no charge that can be placed."""
        bad: set[int] = set()
        amount = pl.coalesce("amount", "refunded" if self.in_credits else "money")
        waits = pl.col("status").is_null() | pl.col("status").is_in(
            ["completed", "charge", *NEGATIVE]
        )
        checks: list[tuple[str, pl.Expr, str]] = [
            ("amount", amount.is_null() & waits, "has no amount"),
            (
                "",
                pl.all_horizontal(pl.col(name).is_null() for name in _IDENTITY),
                "has nothing to know it by: no task, key, model or time",
            ),
            ("seconds", pl.col("seconds.value") < 0, "is below zero"),
            (
                "refunded",
                pl.col("refunded.value") < 0,
                "is below zero; it is written without a sign",
            ),
            (
                "currency",
                ~pl.col("currency").str.contains("^[A-Za-z]{3}$"),
                "is not a currency such as USD",
            ),
        ]
        for name in ("task", "key", "model", "quality", "status", "version"):
            text = pl.col(name)
            checks += [
                (
                    name,
                    text.str.len_chars() > _LONGEST_NAME,
                    f"has more than {_LONGEST_NAME} characters",
                ),
                (
                    name,
                    text.str.contains(r"[\x00-\x1f\x7f\x{FFFD}]"),
                    "has a character that cannot be stored, or that was lost before",
                ),
            ]
        for name in ("task", "key"):
            problem = "is an id that a spreadsheet has shortened; keep the column as text"
            checks.append((name, pl.col(name).str.contains(_SHORTENED), problem))
        if (rate := self.mapping.credits_per_unit) is not None:
            top, bottom = rate.as_integer_ratio()
            for name in ("amount", "refunded"):
                size = pl.col(f"{name}.value").cast(pl.Int128).abs() * top
                checks += [
                    (name, size > MAX_AMOUNT_E8 * bottom, "is more than a ledger column holds"),
                    (name, size % bottom != 0, f"× {rate} credits is finer than 10^-8 credit"),
                ]
        marks = typed.select(
            LINE,
            *(check.fill_null(value=False).alias(str(n)) for n, (_, check, _) in enumerate(checks)),
        )
        for number, (name, _, problem) in enumerate(checks):
            if name in {"seconds", "refunded"} and name not in self.columns:
                continue
            for line in marks.filter(pl.col(str(number)))[LINE]:
                self._reject(line, name, problem)
                bad.add(line)
        return bad

    def _refuse(self, frame: pl.DataFrame, name: str, said: AnyMapping[str, str]) -> set[int]:
        """Reject the lines that hold an unreadable text."""
        if not said:
            return set()
        rows = frame.filter(pl.col(name).is_in([*said])).select(LINE, name)
        for line, text in rows.iter_rows():
            self._reject(line, name, said[text])
        return set(rows[LINE])

    def _reject(self, line: int, name: str, problem: str) -> None:
        self.rejected.append(Rejected(line, self._title(name), problem))

    def _title(self, name: str) -> str:
        """A column as the file has it."""
        given = self.columns.get(name)
        if not given:
            return name
        if isinstance(given[0], str):
            return given[0]
        return self.table.header[given[0]] or str(given[0] + 1)

    def result(self, guess: Guess | None) -> StatementFile:
        """The statement, once all its lines were read.

        Raises:
            InvalidStatement: there are lines, and none could be read, or there are none.
        """
        if not self.lines:
            raise self.file.refuse("has a header and no lines" if self.has_first else "has no rows")
        parts = [part for part in self.parts if not part.is_empty()]
        if not parts and self.rejected:
            raise self._nothing(f"has {self.lines:,} lines, and none can be read")
        frame = pl.concat(parts, rechunk=False) if parts else pl.DataFrame(schema=COLUMNS)
        doubts = self._doubts(frame) if self.mapping != TASKS else []
        if doubts and guess is not None:
            # A guess looks at the first lines; what only later ones show was never asked.
            raise InvalidMapping(f"{self.file.path}: no mapping was given", doubts)
        return StatementFile(
            frame=frame,
            digest=self.file.digest,
            name=self.file.path.name,
            lines=self.lines,
            mapping=self.mapping,
            rejected=tuple(sorted(self.rejected)),
            left_out=tuple(item for item, _ in self.left_out),
            notes=(*self.table.notes, *map(str, doubts), *self._notes(frame)),
            guess=guess,
        )

    def _doubts(self, frame: pl.DataFrame) -> list[Fault]:
        """Signs that all lines together make doubtful."""
        charged = pl.coalesce("amount_e8", "money_e8")
        gives = pl.col("status").is_in(NEGATIVE).fill_null(value=False)
        given, below, above = frame.select(
            (gives & (charged > 0)).sum().alias("given"),
            (~gives & (charged < 0)).sum().alias("below"),
            (~gives & (charged > 0)).sum().alias("above"),
        ).row(0)
        found = []
        if given:
            problem = f"{given:,} refunds or top-ups have amounts that count as charges"
            found.append(Fault("given_back", f"{problem}; say positive if those were given back"))
        if below > above:
            problem = f"{below:,} amounts of charges are below zero and {above:,} above"
            found.append(Fault("sign", f"{problem}; say what a charge is"))
        return found

    def _nothing(self, problem: str) -> Exception:
        error = self.file.refuse(problem)
        first = [
            Fault(f"line {line}" + (f", {column}" if column else ""), said)
            for line, column, said in sorted(self.rejected)[:5]
        ]
        return type(error)(str(self.file.path), [Fault("", problem), *first])

    def _notes(self, frame: pl.DataFrame) -> Iterator[str]:
        if self.grouped is not None:
            yield (
                f"amounts such as {self.grouped!r} were read with a mark between thousands,"
                f" {self.mapping.decimal!r} before a fraction"
            )
        if self.days_only:
            yield f"{self.days_only:,} lines have a date without a time; they count from its start"
        if not self.in_credits and self.mapping.credits_per_unit is None:
            yield f"amounts are in {self.mapping.unit}; without credits_per_unit none is in credits"
        for name in self.columns if self.mapping != TASKS else ():
            value = {"at": "at_us", "seconds": "seconds_us", "refunded": "refunded_e8"}.get(name)
            column = value or name
            if column in frame and frame[column].null_count() == frame.height:
                yield f"no line has anything for {name} (column {self._title(name)!r})"
        for item, amount in self.left_out:
            yield self._about_total(frame, item, amount)

    def _about_total(self, frame: pl.DataFrame, item: Rejected, amount: str | None) -> str:
        note = f"line {item.line} was left out: {item.problem}"
        if amount is None or not self.in_credits:
            return note
        value = read_numbers(pl.Series([amount]), self.writings["amount"]).values[0]
        before = frame.filter(pl.col(LINE) < item.line)["amount_e8"].cast(pl.Int128)
        above = int(before.sum())
        above = -above if self.mapping.sign == "charges_negative" else above
        if value is None:
            return note
        if value == above:
            return f"{note}; the lines above it add up to the same"
        return f"{note}; the lines above it that were read add up to {show_credits(above)} credits"


def _times(value: pl.Expr, top: int, bottom: int) -> pl.Expr:
    """Money as credits; what does not come out exactly was rejected before."""
    return (value.cast(pl.Int128) * top // bottom).cast(pl.Int64, strict=False)

"""How a statement is probably to be read: a mapping, and the evidence for every choice.

A guess is never silent. What the file itself decides is evidence, what it leaves to custom is
assumed and said, and what is not said, or in two ways, stays open until somebody says which.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final

import polars as pl

from ledger.errors import Fault, InvalidMapping
from ledger.statements.amounts import Unreadable, Writing
from ledger.statements.delimited import DelimitedFile, first_rows
from ledger.statements.forms import FormGuess
from ledger.statements.mapping import FIELDS, TASKS, Columns, Mapping
from ledger.statements.moments import zone
from ledger.statements.sheets import SheetFile
from ledger.statements.sources import Cells, Content, File, Table, examine
from ledger.statements.task_rows import TaskFile
from ledger.statements.words import (
    HEADERS,
    LEFT_OUT,
    NEGATIVE,
    STATUSES,
    TOTALS,
    header_parts,
    money_unit,
    plain_header,
    same_status,
)

__all__ = ["Guess", "guess_mapping", "guess_of", "table_of"]

_HEAD: Final = 30
"""Rows among which the header is looked for."""
_SAMPLE: Final = 2_000
"""Rows that settle what the first rows can settle."""
_DELIMITERS: Final = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a bar"}
_MOST_UNREAD: Final = 10
_OF_CREDITS: Final = ("amount", "refunded", "money")
_CORE: Final = r"([0-9][0-9.,'\x{2019} \x{00A0}\x{202F}]*)"
_COMMA_DECIDES: Final = (
    r"^0,[0-9]|^[^,]*,(?:[0-9]{1,2}|[0-9]{4,})$|^[0-9]{4,},[0-9]+$|\.[0-9]{3}[,.][0-9]"
    r"|['\x{2019} \x{00A0}\x{202F}][0-9]{3},[0-9]"
)
"""Amounts whose comma stands before a fraction, or whose points do not."""
_POINT_DECIDES: Final = (
    r"^0\.[0-9]|^[^.]*\.(?:[0-9]{1,2}|[0-9]{4,})$|^[0-9]{4,}\.[0-9]+$|,[0-9]{3}[,.][0-9]"
    r"|['\x{2019} \x{00A0}\x{202F}][0-9]{3}\.[0-9]"
)
"""Amounts whose point stands before a fraction, or whose commas do not."""
_COMMA_OPEN: Final = r"^[1-9][0-9]{0,2},[0-9]{3}$"
_POINT_OPEN: Final = r"^[1-9][0-9]{0,2}\.[0-9]{3}$"
_UNIT_WORDS: Final = (
    ("credits", r"(?i)credits?\b|积分|点数"),
    ("uc", r"(?i)\buc\b|[0-9]uc\b"),
    ("USD", r"(?i)\$|usd|美元"),
    ("CNY", r"(?i)cny|rmb|元|人民币"),
    ("EUR", r"(?i)\x{20AC}|eur"),
)


@dataclass(frozen=True)
class Guess:
    """How a statement is probably to be read, and why."""

    mapping: Mapping
    """What was found; not to be used while anything is open."""
    evidence: tuple[str, ...]
    """What each choice rests on, in words."""
    assumed: tuple[str, ...]
    """What the file does not say and custom does."""
    open: tuple[Fault, ...]
    """What the file does not say, or in two ways; each names the key of the mapping for it."""

    def toml(self) -> str:
        """The mapping as a file to edit, with the evidence and the open questions as comments."""
        lines = [f"# {line}" for line in self.evidence]
        lines += [f"# assumed: {line}" for line in self.assumed]
        lines += [f"# TO DO: {fault}" for fault in self.open]
        comments = "\n".join(_one_line(line) for line in lines)
        return f"{comments}\n\n{self.mapping.toml()}" if lines else self.mapping.toml()


def guess_mapping(path: str | Path) -> Guess:
    """How a statement is probably to be read.

    Raises:
        InvalidStatement: a folder; missing; empty; no kind of file that is read.
        MissingExtra: a workbook, and the extra `xlsx` is not installed.
    """
    return guess_of(examine(Path(path)))


def table_of(file: File, mapping: Mapping) -> Table:
    """A file as the table that a mapping says it is.

    Raises:
        InvalidStatement: it cannot be read so.
        InvalidMapping: JSON with a decimal comma.
    """
    if file.kind == "json":
        if mapping.decimal != ".":
            fault = Fault("decimal", "must be a point: JSON writes numbers with one")
            raise InvalidMapping(str(file.path), [fault])
        return TaskFile(file, mapping.encoding)
    if file.kind == "xlsx":
        return SheetFile(file, sheet=mapping.sheet, header=mapping.header, decimal=mapping.decimal)
    return DelimitedFile(
        file, delimiter=mapping.delimiter, encoding=mapping.encoding, header=mapping.header
    )


def guess_of(file: File) -> Guess:
    """How a file that was looked through is probably to be read."""
    guesser = _Guesser(file)
    if file.kind == "json":
        tasks = TaskFile(file)
        if {"id", "model", "status"} <= set(tasks.header):
            evidence = "rows with id, model and status are the provider's tasks"
            return Guess(TASKS, (evidence,), (), ())
        guesser.columns(tasks.header)
        table: Table | None = tasks
    else:
        table = guesser.layout()
    if table is not None and not guesser.open:
        guesser.contents(table)
    return guesser.result()


@dataclass
class _Guesser:
    file: File
    data: dict[str, Any] = field(default_factory=dict)
    chosen: dict[str, int | str] = field(default_factory=dict)
    """The column of each thing, from 0, or its path."""
    evidence: list[str] = field(default_factory=list)
    assumed: list[str] = field(default_factory=list)
    open: list[Fault] = field(default_factory=list)
    unit_known: bool = False
    timezone: str | None = None
    """What the header of the times names."""
    titles: list[str] = field(default_factory=list)

    def ask(self, key: str, problem: str) -> None:
        self.open.append(Fault(key, problem))

    # --- where the columns are -----------------------------------------------------------------

    def layout(self) -> Table | None:
        """Encoding, delimiter and header; None where they cannot be found."""
        if self.file.kind == "xlsx":
            sheet = SheetFile(self.file, sheet=None, header=0, decimal=".")
            rows = [
                (sheet.line + number, [sheet.shown(cell) for cell in row])
                for number, row in enumerate(islice(sheet.body, _HEAD))
            ]
            line, names = self._header(rows)
        else:
            encoding = self._encoding()
            if encoding is None:
                return None
            line, names = self._delimiter(encoding)
        if line != 1:
            self.data["header"] = line
            self.evidence.append(f"line {line} read as the header: it has the names of columns")
        self.columns(names)
        if self.file.kind == "xlsx":
            return sheet.below(line)
        return None if self.open else table_of(self.file, self._mapping())

    def _encoding(self) -> str | None:
        file = self.file
        if file.mark is not None:
            self.data["encoding"] = file.mark
            self.evidence.append(f"encoding {file.mark}: the mark at its start")
            return file.mark
        if file.not_utf8_line is None:
            return "utf-8"
        try:
            rows = first_rows(file, "gb18030", ",", _HEAD)
            names = " ".join(cell for _, row in rows for cell in row)
            if re.search("任务|模型|积分|状态|时间|金额|日期|消费|币种", names):
                for _ in file.pieces("gb18030"):
                    pass
                self.data["encoding"] = "gb18030"
                self.evidence.append("encoding gb18030: it is not UTF-8, and its header is Chinese")
                return "gb18030"
        except (UnicodeError, type(file.refuse(""))):
            pass
        self.ask(
            "encoding",
            f"is not UTF-8 (line {file.not_utf8_line}); name it, such as gb18030 or cp1252",
        )
        return None

    def _delimiter(self, encoding: str) -> tuple[int, list[str]]:
        best: tuple[tuple[int, int, int], str, int, list[str]] | None = None
        for delimiter in _DELIMITERS:
            rows = first_rows(self.file, encoding, delimiter, _HEAD)
            line, names = self._header(rows)
            same = sum(len(row) == len(names) for _, row in rows)
            score = (_known(names), len(names) > 1, same)
            if best is None or score > best[0]:
                best = (score, delimiter, line, names)
        assert best is not None  # noqa: S101  there are delimiters
        _, delimiter, line, names = best
        if delimiter != ",":
            self.data["delimiter"] = delimiter
            self.evidence.append(f"{_DELIMITERS[delimiter]} read as the mark between columns")
        return line, names

    def _header(self, rows: Sequence[tuple[int, list[str]]]) -> tuple[int, list[str]]:
        found = max(rows, key=lambda row: (_known(row[1]), -row[0]), default=(1, []))
        return (found[0], [name.strip() for name in found[1]])

    def columns(self, names: Sequence[str]) -> None:
        """Which column holds what, by the headers."""
        self.titles = list(names)
        candidates: dict[str, list[tuple[int, int, str | None]]] = {}
        for index, name in enumerate(names):
            if (why := _why_not(name)) is not None:
                self.assumed.append(f"column {name!r} left out: it {why}")
            for thing, rank, currency in _meanings(name):
                candidates.setdefault(thing, []).append((rank, index, currency))
            self._mojibake(name)
        is_json = self.file.kind == "json"
        for thing in FIELDS:
            found = sorted(candidates.get(thing, ()), key=lambda item: item[:2])
            if not found:
                continue
            best = [item for item in found if item[0] == found[0][0]]
            titles = [repr(names[item[1]]) for item in best]
            if len(best) > 1 and thing in {"task", "amount", "at", "money"}:
                self.ask(f"columns.{thing}", f"could be {' or '.join(titles)}; name one")
                continue
            _, index, currency = found[0]
            self._choose(thing, names[index] if is_json else index, names[index], currency)
            if thing == "at" and len(found) > 1:
                others = ", ".join(repr(names[item[1]]) for item in found[1:])
                self.assumed.append(f"{titles[0]} read as the time of the charge, not {others}")
        self._amount_or_money()
        self._check_found()
        self._unread()

    def _unread(self) -> None:
        """Name the columns that nothing is read from: one of them may be the task."""
        read = set(self.chosen.values())
        unread = [
            name
            for index, name in enumerate(self.titles)
            if name and index not in read and name not in read and _why_not(name) is None
        ]
        if unread and self.chosen:
            listed = ", ".join(map(repr, unread[:_MOST_UNREAD]))
            more = f" and {len(unread) - _MOST_UNREAD:,} more" if unread[_MOST_UNREAD:] else ""
            columns = "column" if len(unread) == 1 else "columns"
            self.assumed.append(f"nothing is read from {columns} {listed}{more}")

    def _choose(self, thing: str, place: int | str, title: str, currency: str | None) -> None:
        self.chosen[thing] = place
        self.evidence.append(f"column {title!r} read as {thing}: name")
        plain = plain_header(title)
        if thing == "amount":
            if currency is not None:
                self.data["unit"] = currency
            elif re.search(r"\buc\b|消耗uc|扣费uc", plain):
                self.data["unit"] = "uc"
            elif not re.search(r"credit|积分|点", plain):
                return
            unit = self.data.get("unit", "credits")
            self.unit_known = True
            self.evidence.append(f"amounts read in {unit}: the name of {title!r}")
        elif thing == "money" and currency is not None:
            self.data["currency"] = currency
        elif thing == "at":
            self.timezone = _zone_of(title)

    def _amount_or_money(self) -> None:
        """A sheet of money alone has no amount in credits; its money is the amount."""
        if "amount" in self.chosen or "money" not in self.chosen:
            return
        if any(fault.field == "columns.amount" for fault in self.open):
            return
        self.chosen["amount"] = self.chosen.pop("money")
        self.evidence = [
            line.replace("read as money:", "read as amount:") for line in self.evidence
        ]
        if (currency := self.data.pop("currency", None)) is not None:
            self.data["unit"], self.unit_known = currency, True
            self.evidence.append(f"amounts read in {currency}: the name of the column")

    def _check_found(self) -> None:
        asked = {fault.field for fault in self.open}
        if "amount" not in self.chosen and "columns.amount" not in asked:
            self.ask("columns.amount", "no column has a name that means the charge; name it")
        if not {"task", "key", "model", "at"} & self.chosen.keys() and not asked:
            self.ask("columns.task", "no column has a name that means the task; name it")

    def _mojibake(self, name: str) -> None:
        try:
            meant = name.encode("cp1252").decode("utf-8")
        except UnicodeError:
            return
        if meant != name and not name.isascii():
            self.ask(
                "encoding",
                f"{name!r} looks like {meant!r} read in the wrong encoding and saved again;"
                " ask for the file anew",
            )

    # --- what stands in them -------------------------------------------------------------------

    def contents(self, table: Table) -> None:
        """Unit, decimal mark, times, signs and words, by the lines themselves."""
        content: dict[str, Content] = {"amount": "number", "at": "time"}
        wanted: dict[int | str, Content] = {
            place: content.get(thing, "text") for thing, place in self.chosen.items()
        }
        names = {str(place): thing for thing, place in self.chosen.items()}
        titles = {
            thing: self.titles[place]
            for thing, place in self.chosen.items()
            if isinstance(place, int)
        }
        forms = FormGuess(is_sheet=self.file.kind == "xlsx")
        marks = _Marks()
        sample: list[pl.DataFrame] = []
        rows = 0
        for cells in table.cells(wanted):
            frame = _named(cells, names, titles)
            rows += frame.height
            # One statement may need all its lines to decide a question, most need a few.
            if rows - frame.height < _SAMPLE:
                sample.append(frame.head(_SAMPLE))
            if "amount" in frame:
                marks.look(frame["amount"])
            if "at" in frame:
                forms.look(frame["at"], first=rows == frame.height)
            if rows >= _SAMPLE and not marks.undecided and not forms.undecided:
                break
        if sample:
            first = pl.concat(sample)
            self._unit(first)
            self._decimal(marks)
            self._times(forms)
            self._currency(first)
            self._signs(first)
            self._status_words(first)

    def _unit(self, sample: pl.DataFrame) -> None:
        if self.unit_known or "amount" not in sample:
            return
        texts = sample["amount"].drop_nulls()
        for unit, pattern in _UNIT_WORDS:
            if texts.str.contains(pattern).any():
                self.data["unit"] = unit
                self.evidence.append(f"amounts read in {unit}: {texts[0]!r}")
                return
        if "currency" in sample:
            codes = sample["currency"].drop_nulls().unique().to_list()
            if len(codes) == 1 and re.fullmatch("[A-Z]{3}", codes[0]):
                self.data["unit"] = codes[0]
                self.evidence.append(f"amounts read in {codes[0]}: the column of currencies")
                return
        self.ask("unit", "nothing says what the amounts are in; say credits, uc, or USD")

    def _decimal(self, marks: _Marks) -> None:
        if self.file.kind == "json":
            return
        comma, point = marks.comma, marks.point
        if comma is not None and point is not None:
            self.ask("decimal", f"is a comma in {comma!r} and a point in {point!r}; say which")
        elif comma is not None:
            self.data["decimal"] = ","
            self.evidence.append(f"decimal comma: {comma!r}")
        elif point is None and marks.open_comma is not None:
            self.ask(
                "decimal",
                f"a comma in {marks.open_comma!r} may stand before a fraction or between"
                ' thousands; say decimal = "," or "."',
            )
        elif point is None and marks.open_point is not None and self.data.get("delimiter") == ";":
            self.ask(
                "decimal",
                f"a point in {marks.open_point!r} may stand before a fraction or between"
                ' thousands; say decimal = "." or ","',
            )

    def _times(self, forms: FormGuess) -> None:
        if "at" not in self.chosen:
            return
        answer = forms.answer()
        if answer.problem is not None:
            self.ask("time_formats", answer.problem)
            return
        if answer.forms != ("iso",) and answer.forms:
            self.data["time_formats"] = answer.forms
            self.evidence.append(f"times read as {', '.join(answer.forms)}: {answer.example!r}")
        self.assumed += answer.assumed
        if answer.without_zone is not None and self.timezone is not None:
            self.data["timezone"] = self.timezone
            title = self._title(self.chosen["at"])
            self.evidence.append(f"times read in {self.timezone}: the name of column {title!r}")
        elif answer.without_zone is not None:
            self.data["timezone"] = "UTC"
            self.assumed.append(
                f"times carry no zone ({answer.without_zone!r}): read as UTC; say timezone"
            )

    def _currency(self, sample: pl.DataFrame) -> None:
        if "money" in sample and "currency" not in sample and "currency" not in self.data:
            self.ask("currency", "nothing says which currency the money column is in; name it")

    def _signs(self, sample: pl.DataFrame) -> None:
        if "amount" not in sample:
            return
        writing = Writing(self.data.get("unit", "credits"), self.data.get("decimal", "."))
        status = sample["status"] if "status" in sample else [None] * sample.height
        gives: list[bool] = [same_status(word or "", {}) in NEGATIVE for word in status]
        values = [_sign(text, writing) for text in sample["amount"]]
        charges = [sign for sign, give in zip(values, gives, strict=True) if not give]
        given = [sign for sign, give in zip(values, gives, strict=True) if give]
        below, above = charges.count(-1), charges.count(1)
        if below and not above:
            self.data["sign"] = "charges_negative"
            self.evidence.append("charges are negative: no amount of a charge is above zero")
        elif below > above:
            self.ask("sign", "more amounts are below zero than above; say what a charge is")
        elif below:
            self.assumed.append("charges are positive; amounts below zero were given back")
        if self.data.get("sign") is None and given.count(1):
            self._given_back(sample, gives, given.count(-1))

    def _given_back(self, sample: pl.DataFrame, gives: list[bool], below: int) -> None:
        """Refunds written above zero: given back on a line of their own, or once charged?"""
        words = [same_status(word or "", {}) for word in sample["status"]]
        own_lines = "topup" in words
        if "task" in sample:
            tasks = sample["task"].to_list()
            charged = {task for task, give in zip(tasks, gives, strict=True) if not give}
            own_lines |= any(
                task in charged for task, give in zip(tasks, gives, strict=True) if give and task
            )
        if own_lines and not below:
            self.data["given_back"] = "positive"
            self.evidence.append("refunds and top-ups have lines of their own, without a sign")
        else:
            self.ask(
                "given_back",
                "lines that are refunds have amounts above zero; say positive if those were given"
                " back, signed if they were charged",
            )

    def _status_words(self, sample: pl.DataFrame) -> None:
        if "status" not in sample:
            return
        words = sample["status"].drop_nulls().unique().sort()
        unknown = [word for word in words if word.strip().casefold() not in STATUSES]
        known = {"pending", "processing", "running", "queued", "处理中", "排队中"}
        if strange := [word for word in unknown if word.casefold() not in known][:5]:
            listed = ", ".join(map(repr, strange))
            self.assumed.append(f"status words that are not known stay as they are: {listed}")

    # --- the result ----------------------------------------------------------------------------

    def _mapping(self) -> Mapping:
        columns: dict[str, int | str] = {}
        for thing, place in self.chosen.items():
            columns[thing] = self._title(place)
        data = {"columns": columns, **self.data}
        if self.open or "amount" not in columns:
            made = Columns.model_construct(_fields_set=set(columns), **columns)
            return Mapping.model_construct(
                _fields_set={"columns", *self.data}, **{**data, "columns": made}
            )
        return Mapping.model_validate(data)

    def _title(self, place: int | str) -> int | str:
        if isinstance(place, str):
            return place
        name = self.titles[place] if place < len(self.titles) else ""
        return name if name and self.titles.count(name) == 1 else place + 1

    def result(self) -> Guess:
        return Guess(self._mapping(), tuple(self.evidence), tuple(self.assumed), tuple(self.open))


def _meanings(header: str) -> Iterator[tuple[str, int, str | None]]:
    """The things a header may mean, how sure that is (0 first), and the currency it names."""
    currency, plain = money_unit(header)
    found = list(_by_name(plain, currency))
    if not found:
        first, suffix, _ = header_parts(header)
        if suffix is not None:
            # "Credits (remaining)" are no charge: what stands behind an amount matters.
            currency, plain = money_unit(first)
            found = [item for item in _by_name(plain, currency) if item[0] not in _OF_CREDITS]
    yield from ((thing, rank, currency) for thing, rank in found)


def _by_name(plain: str, currency: str | None) -> Iterator[tuple[str, int]]:
    """The things a plain header may mean, with how sure that is, 0 first."""
    for thing, groups in HEADERS.items():
        for rank, group in enumerate(groups):
            if plain in group:
                if thing == "amount" and currency is not None:
                    yield "money", 0
                else:
                    yield thing, rank
    if not plain and currency is not None:
        yield "money", 0


def _why_not(header: str) -> str | None:
    """Why a header that looks like something is not taken for it."""
    return LEFT_OUT.get(money_unit(header)[1]) or LEFT_OUT.get(
        plain_header(header_parts(header)[0])
    )


def _zone_of(header: str) -> str | None:
    """The time zone that a header names, if there is such a zone."""
    named = header_parts(header)[2]
    try:
        return None if named is None or zone(named) is None else named
    except Unreadable:
        return None


def _known(names: Iterable[str]) -> int:
    """How many different things a row of headers names."""
    return len({thing for name in names for thing, _, _ in _meanings(name)})


class _Marks:
    """What stands before a fraction, by amounts that can be read in one way only."""

    def __init__(self) -> None:
        self.comma: str | None = None
        self.point: str | None = None
        self.open_comma: str | None = None
        self.open_point: str | None = None

    @property
    def undecided(self) -> bool:
        is_open = self.open_comma or self.open_point
        return bool(is_open) and self.comma is None and self.point is None

    def look(self, texts: pl.Series) -> None:
        """Learn from some amounts."""
        core = texts.str.extract(_CORE).str.strip_chars(" \u00a0\u202f'\u2019.,")
        for name, pattern in (
            ("comma", _COMMA_DECIDES),
            ("point", _POINT_DECIDES),
            ("open_comma", _COMMA_OPEN),
            ("open_point", _POINT_OPEN),
        ):
            if getattr(self, name) is None:
                found = texts.filter(core.str.contains(pattern).fill_null(value=False))
                setattr(self, name, found[0] if len(found) else None)


def _named(cells: Cells, names: dict[str, str], titles: dict[str, str]) -> pl.DataFrame:
    """The cells by the things they are, empty ones as nothing; only of lines that are charges."""
    frame = cells.frame.select(
        pl.col(place).str.strip_chars(" \t\r\n\u00a0\u3000\ufeff").alias(thing)
        for place, thing in names.items()
    )
    frame = frame.with_columns(pl.when(pl.all() != "").then(pl.all()))
    total = pl.any_horizontal(pl.all().str.contains(TOTALS).fill_null(value=False))
    if not titles:
        return frame.filter(~total)
    header = pl.all_horizontal(pl.col(thing).eq_missing(pl.lit(titles[thing])) for thing in titles)
    return frame.filter(~total & ~header)


def _sign(text: str | None, writing: Writing) -> int:
    try:
        value = 0 if text is None else writing.parse(text)
    except Unreadable:
        return 0
    return (value > 0) - (value < 0)


def _one_line(text: str) -> str:
    return re.sub(r"[\r\n\x00-\x1f\x7f]+", " ", text)

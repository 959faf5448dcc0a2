"""Statements by law: whatever dialect a table is written in, the exact amounts come back."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ledger.errors import InvalidStatement
from ledger.figures import show_credits
from ledger.statements import Columns, Mapping, guess_mapping, read_statement, sources
from ledger.statements.amounts import Unreadable, Writing, read_numbers
from ledger.statements.delimited import DelimitedFile
from ledger.statements.moments import Clock
from ledger.statements.sources import LINE, Rejected, examine

ROOMY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


# --- scalar and columnar agree -------------------------------------------------------------------


@ROOMY
@given(
    st.lists(st.text("0123456789.,-+eE '$(c)\u00a0=", max_size=14), min_size=1, max_size=20),
    st.sampled_from(["credits", "uc", "USD", "seconds"]),
    st.sampled_from([".", ","]),
)
def test_a_column_of_amounts_is_read_as_each_of_them(
    texts: list[str], unit: str, decimal: str
) -> None:
    writing = Writing(unit, decimal)
    expected: list[int | None] = []
    problems = {}
    for text in texts:
        try:
            expected.append(writing.parse(text))
        except Unreadable as error:
            expected.append(None)
            problems[text] = str(error)
    answer = read_numbers(pl.Series(texts, dtype=pl.String), writing)
    assert answer.values.to_list() == expected
    assert answer.problems == problems


ZONES = ("UTC", "Asia/Shanghai", "America/New_York", "Australia/Lord_Howe", "-03:30")
CHANGES = tuple(map(datetime.fromisoformat, ("2026-03-08T01:00", "2026-11-01", "2026-04-05")))
"""Before the clocks change in New York, twice, and on Lord Howe."""
FORMS = (
    *("iso", "seconds", "milliseconds", "%d/%m/%Y %H:%M:%S", "%m/%d/%y %H:%M", "%Y.%m.%d"),
    *("%d %b %Y %I:%M %p", "excel"),
)


@st.composite
def times(draw: st.DrawFn) -> str:
    """A time in some form, perhaps spoilt."""
    moment = draw(st.datetimes(datetime(1998, 1, 1), datetime(2102, 1, 1)))  # noqa: DTZ001
    if draw(st.booleans()):
        moment = draw(st.sampled_from(CHANGES)) + timedelta(minutes=draw(st.integers(0, 240)))
    seconds = int(moment.replace(tzinfo=UTC).timestamp())
    form = draw(st.sampled_from(FORMS))
    text = {
        "iso": moment.isoformat(draw(st.sampled_from("T ")))
        + draw(st.sampled_from(["", "Z", "+08:00", "-0330"])),
        "seconds": str(seconds),
        "milliseconds": str(seconds * 1_000 + 17),
        "excel": f"{seconds // 86_400 + 25_569}.{seconds % 1_000:03d}",
    }.get(form) or moment.strftime(form)
    if draw(st.integers(0, 9)) == 0:
        place = draw(st.integers(0, len(text)))
        text = (
            text[:place]
            + draw(st.sampled_from(["x", " ", "0", "9", ":", "-", "\u0663"]))
            + text[place + 1 :]
        )
    return text


@ROOMY
@given(
    st.lists(times(), min_size=1, max_size=20),
    st.lists(st.sampled_from(FORMS), min_size=1, max_size=3, unique=True),
    st.sampled_from(ZONES),
    st.sampled_from(["refuse", "earlier", "later"]),
)
def test_a_column_of_times_is_read_as_each_of_them(
    texts: list[str], forms: list[str], zone: str, overlap: str
) -> None:
    clock = Clock(tuple(forms), zone, overlap)  # type: ignore[arg-type]
    expected: list[int | None] = []
    problems = {}
    for text in texts:
        try:
            expected.append(clock.parse(text))
        except Unreadable as error:
            expected.append(None)
            problems[text] = str(error)
    answer = clock.read(pl.Series(texts, dtype=pl.String))
    assert answer.values.to_list() == expected
    assert answer.problems == problems


# --- both readers of text agree ------------------------------------------------------------------


class Slow(DelimitedFile):
    """Reads everything with the csv module."""

    def _plainly(self, block: bytes, columns: list[int]) -> None:
        return None


def cells_of(
    table: DelimitedFile, columns: list[int]
) -> tuple[list[tuple[object, ...]], list[Rejected]]:
    rows: list[tuple[object, ...]] = []
    rejected: list[Rejected] = []
    for cells in table.cells(dict.fromkeys(columns, "text")):
        empty = [pl.col(str(index)).fill_null("") for index in columns]
        rows += cells.frame.select(LINE, *empty).rows()
        rejected += cells.rejected
    return rows, rejected


@settings(ROOMY, max_examples=400)
@example(body='""1""\n', piece=8, columns=[0])  # polars alone reads a 1 here
@given(
    body=st.text('ab1,"\n\r ;é', max_size=60),
    piece=st.sampled_from([8, 16, 64, 8 << 20]),
    columns=st.sampled_from([[0], [1], [0, 2], [0, 1, 2]]),
)
def test_plain_and_careful_reading_give_one_answer(
    tmp_path_factory: pytest.TempPathFactory, body: str, piece: int, columns: list[int]
) -> None:
    path = tmp_path_factory.mktemp("law") / "bill.csv"
    path.write_bytes(f"a,b,c\n{body}".encode())
    answers = []
    whole = sources._PIECE
    for kind, size in ((DelimitedFile, piece), (Slow, whole)):
        sources._PIECE = size  # type: ignore[misc]
        try:
            table = kind(examine(path), delimiter=",", encoding="utf-8", header=1)
            answers.append(cells_of(table, columns))
        except InvalidStatement as error:
            answers.append(([], [Rejected(0, "", str(error))]))
        finally:
            sources._PIECE = whole  # type: ignore[misc]
    assert answers[0] == answers[1]


# --- the round trip ------------------------------------------------------------------------------


Quoting = Literal[0, 1, 2]


class Dialect(NamedTuple):
    delimiter: str
    decimal: str
    encoding: str
    quoting: Quoting
    ends: str
    group: str
    unit: str

    def written(self, amount_e8: int) -> str:
        """An amount as this dialect writes it, worked out apart from the library's reader."""
        places = 4 if self.unit == "uc" else 8
        sign = "-" if amount_e8 < 0 else ""
        whole, rest = divmod(abs(amount_e8), 10**places)
        digits = f"{whole:,}".replace(",", self.group)
        fraction = f"{rest:0{places}d}".rstrip("0")
        return f"{sign}{digits}{self.decimal}{fraction}" if fraction else f"{sign}{digits}"


QUOTING: tuple[Quoting, ...] = (
    csv.QUOTE_MINIMAL,
    csv.QUOTE_ALL,
    csv.QUOTE_NONNUMERIC,
)
DIALECTS = st.builds(
    Dialect,
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    decimal=st.sampled_from([".", ","]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "gb18030", "utf-16"]),
    quoting=st.sampled_from(QUOTING),
    ends=st.sampled_from(["\n", "\r\n"]),
    group=st.sampled_from(["", "'", " "]),
    unit=st.sampled_from(["credits", "uc"]),
)
AMOUNTS = st.one_of(
    st.integers(-(2**63) + 1, 2**63 - 1),
    st.integers(0, 10**12),
    st.integers(0, 400_000).map(lambda steps: steps * 10_000),
)
ROWS = st.lists(
    st.tuples(
        st.text(st.sampled_from("abz09-_任务é,;|\"'\n ."), min_size=1, max_size=12)
        .map(str.strip)
        .filter(lambda text: text != "" and "\n" not in text and not text[0].isdigit()),
        AMOUNTS,
        st.datetimes(datetime(2001, 1, 1), datetime(2099, 1, 1)),  # noqa: DTZ001
    ),
    min_size=1,
    max_size=30,
)
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001


def written(rows: list[tuple[str, int, datetime]], dialect: Dialect) -> bytes:
    text = io.StringIO()
    writer = csv.writer(
        text,
        delimiter=dialect.delimiter,
        quoting=dialect.quoting,
        lineterminator=dialect.ends,
    )
    amount = "UC charged" if dialect.unit == "uc" else "Credits used"
    writer.writerow(["Task ID", amount, "Created at"])
    for task, amount_e8, moment in rows:
        writer.writerow([task, dialect.written(amount_e8), moment.isoformat()])
    return text.getvalue().encode(dialect.encoding)


@settings(ROOMY, max_examples=200)
@given(rows=ROWS, dialect=DIALECTS)
def test_a_table_in_any_dialect_comes_back_exactly(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, int, datetime]],
    dialect: Dialect,
) -> None:
    path = tmp_path_factory.mktemp("law") / "bill.csv"
    path.write_bytes(written(rows, dialect))
    mapping = Mapping(
        columns=Columns(task=1, amount=2, at=3),
        delimiter=dialect.delimiter,
        decimal=dialect.decimal,
        encoding=dialect.encoding,
        unit=dialect.unit,
    )
    statement = read_statement(path, mapping)
    assert statement.rejected == ()
    assert statement.lines == len(rows)
    assert statement.frame.select("task", "amount_e8", "at_us").rows() == [
        (task, amount_e8, (moment - EPOCH) // timedelta(microseconds=1))
        for task, amount_e8, moment in rows
    ]


@settings(ROOMY, max_examples=100)
@given(rows=ROWS, dialect=DIALECTS.filter(lambda item: item.encoding != "gb18030"))
def test_a_guess_never_reads_an_amount_otherwise(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, int, datetime]],
    dialect: Dialect,
) -> None:
    path = tmp_path_factory.mktemp("law") / "bill.csv"
    path.write_bytes(written(rows, dialect))
    guess = guess_mapping(path)
    # What is not asked about must be right.
    assert {fault.field for fault in guess.open} <= {"decimal", "sign"}
    if guess.open:
        return
    sign = -1 if guess.mapping.sign == "charges_negative" else 1
    statement = read_statement(path)
    assert statement.frame["amount_e8"].to_list() == [sign * row[1] for row in rows]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_usual_dialects_are_guessed(
    tmp_path: Path, delimiter: str, decimal: str, encoding: str
) -> None:
    dialect = Dialect(delimiter, decimal, encoding, QUOTING[0], "\r\n", "", "credits")
    moment = datetime(2026, 10, 11, 6)  # noqa: DTZ001
    rows = [("t1", 4_082_400_000, moment), ("t2", 14_159_396_160, moment)]
    path = tmp_path / "bill.csv"
    path.write_bytes(written(rows, dialect))
    statement = read_statement(path)
    assert statement.guess is not None
    found = statement.guess.mapping
    assert (found.delimiter, found.decimal, found.unit) == (delimiter, decimal, "credits")
    # 4,082,400,000 + 14,159,396,160 units of 10^-8
    assert show_credits(int(statement.frame["amount_e8"].sum())) == "182.4179616"


@pytest.fixture(autouse=True)
def _piece_is_as_it_was() -> Iterator[None]:
    before = sources._PIECE
    yield
    assert before == sources._PIECE

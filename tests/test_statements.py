"""Statements: what is read from whatever finance has, and what is refused by line and column.

Five seconds of motion control at 720p are 5 × 8.1648 = 40.824 credits, or 408,240 of the
provider's smallest unit. 2026-10-11T06:00:00Z is 1,791,698,400 seconds after 1970.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from workbooks import Cell, Formula, Raw, workbook

from ledger.errors import InvalidMapping, InvalidStatement
from ledger.statements import (
    COLUMNS,
    Columns,
    Mapping,
    StatementFile,
    delimited,
    read_statement,
    sources,
)
from ledger.statements.amounts import Unreadable, Writing, read_numbers
from ledger.statements.mapping import TASKS
from ledger.statements.moments import Clock

FIVE_SECONDS_E8 = 4_082_400_000
AT_US = 1_791_698_400_000_000
HEADER = "Task ID,Model,Credits used,Created at,Status"
LINE = "t1,kling,40.824,2026-10-11T06:00:00Z,completed"


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., StatementFile]:
    """Write a file and read it; the ending says nothing, the content does."""

    def write_and_read(
        content: str | bytes, mapping: Mapping | None = None, name: str = "bill.csv", **more: Any
    ) -> StatementFile:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_statement(path, mapping, **more)

    return write_and_read


Reading = Callable[..., StatementFile]


def mapped(columns: dict[str, Any] | None = None, **more: Any) -> Mapping:
    return Mapping(columns=Columns(**(columns or {"task": "task", "amount": "amount"})), **more)


def rejections(statement: StatementFile) -> list[tuple[int, str]]:
    return [(item.line, item.column) for item in statement.rejected]


# --- amounts -------------------------------------------------------------------------------------

AMOUNTS: list[tuple[str, str, str, int]] = [
    # text, unit, decimal mark, units of 10^-8 (seconds: of 10^-6)
    ("40.824", "credits", ".", FIVE_SECONDS_E8),
    ("40,824", "credits", ",", FIVE_SECONDS_E8),
    ("40,824", "credits", ".", 4_082_400_000_000),
    ("408240", "uc", ".", FIVE_SECONDS_E8),
    ("408240.0001", "uc", ".", FIVE_SECONDS_E8 + 1),
    ("0.00000001", "credits", ".", 1),
    ("-40.824", "credits", ".", -FIVE_SECONDS_E8),
    ("\u221240.824", "credits", ".", -FIVE_SECONDS_E8),
    ("40.824-", "credits", ".", -FIVE_SECONDS_E8),
    ("(40.824)", "credits", ".", -FIVE_SECONDS_E8),
    ("+40.824", "credits", ".", FIVE_SECONDS_E8),
    ("1,234,567.5", "credits", ".", 123_456_750_000_000),
    ("1.234.567,5", "credits", ",", 123_456_750_000_000),
    ("1 234 567,5", "credits", ",", 123_456_750_000_000),
    ("1\u202f234,5", "credits", ",", 123_450_000_000),
    ("1'234.5", "credits", ".", 123_450_000_000),
    ("40.824 credits", "credits", ".", FIVE_SECONDS_E8),
    ("40.824积分", "credits", ".", FIVE_SECONDS_E8),
    ("４０．８２４", "credits", ".", FIVE_SECONDS_E8),
    ("4.0824E+1", "credits", ".", FIVE_SECONDS_E8),
    ("4082.4e-2", "credits", ".", FIVE_SECONDS_E8),
    ("1e-8", "credits", ".", 1),
    (".5", "credits", ".", 50_000_000),
    ("40.82400000000", "credits", ".", FIVE_SECONDS_E8),
    ("92233720368.54775807", "credits", ".", 2**63 - 1),
    ("$0.6004", "USD", ".", 60_040_000),
    ("-$0.6004", "USD", ".", -60_040_000),
    ("$-0.6004", "USD", ".", -60_040_000),
    ("¥4.0824", "CNY", ".", 408_240_000),
    ("￥4.0824", "CNY", ".", 408_240_000),
    ("4.0824 元", "CNY", ".", 408_240_000),
    ("12.4 s", "seconds", ".", 12_400_000),
    ("12.0333333333", "seconds", ".", 12_033_333),
    ("12.0333335", "seconds", ".", 12_033_334),  # halves go up
]


@pytest.mark.parametrize(("text", "unit", "decimal", "value"), AMOUNTS)
def test_an_amount_is_read_exactly(text: str, unit: str, decimal: str, value: int) -> None:
    writing = Writing(unit, decimal)
    assert writing.parse(text) == value
    assert read_numbers(pl.Series([text, None]), writing).values.to_list() == [value, None]


@pytest.mark.parametrize(
    ("text", "unit", "decimal", "problem"),
    [
        ("=1+1", "credits", ".", "is a formula"),
        ("", "credits", ".", "is not a number"),
        ("abc", "credits", ".", "is not a number"),
        ("NaN", "credits", ".", "is not a number"),
        ("inf", "credits", ".", "is not a number"),
        ("40%", "credits", ".", "is not a number"),
        ("--5", "credits", ".", "more than one sign"),
        ("(-5)", "credits", ".", "more than one sign"),
        ("40.824 uc", "credits", ".", "is in uc, not in credits"),
        ("$40.824", "credits", ".", "is in USD, not in credits"),
        ("¥40", "USD", ".", "not in USD"),
        ("1,23", "credits", ".", "neither a fraction"),
        ("0,824", "credits", ".", "neither a fraction"),
        ("1,2345", "credits", ".", "neither a fraction"),
        ("1.2.3", "credits", ".", "neither a fraction"),
        ("12,34,567", "credits", ".", "neither a fraction"),
        ("0.000000001", "credits", ".", "finer than 10^-8"),
        ("0.00001", "uc", ".", "finer than 10^-4 uc"),
        ("1e-9", "credits", ".", "finer than 10^-8"),
        ("92233720368.54775808", "credits", ".", "more than a ledger column"),
        ("1e999", "credits", ".", "more than a ledger column"),
        ("9" * 1_000_000, "credits", ".", "is not a number"),
        ("1000001", "seconds", ".", "more than 1000000 seconds"),
        ("４０²", "credits", ".", "is not a number"),
    ],
)
def test_what_is_no_exact_amount_is_refused(
    text: str, unit: str, decimal: str, problem: str
) -> None:
    writing = Writing(unit, decimal)
    with pytest.raises(Unreadable, match=problem.replace("^", r"\^")) as error:
        writing.parse(text)
    assert len(str(error.value)) < 200
    answer = read_numbers(pl.Series([text]), writing)
    assert answer.values.to_list() == [None]
    assert answer.problems == {text: str(error.value)}


# --- times ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "form", "zone"),
    [
        ("2026-10-11T06:00:00Z", "iso", "Asia/Shanghai"),
        ("2026-10-11 06:00:00", "iso", "UTC"),
        ("2026-10-11T14:00:00+08:00", "iso", "UTC"),
        ("2026-10-11T14:00:00+0800", "iso", "UTC"),
        ("2026-10-11T00:30:00-05:30", "iso", "UTC"),
        ("2026-10-11 14:00", "iso", "Asia/Shanghai"),
        ("2026-10-11 14:00:00.000", "iso", "+08:00"),
        ("20261011T060000Z", "iso", "UTC"),
        ("1791698400", "seconds", "Asia/Shanghai"),
        ("1791698400.0", "seconds", "UTC"),
        ("1791698400000", "milliseconds", "UTC"),
        ("1791698400000000", "microseconds", "UTC"),
        ("11/10/2026 06:00", "%d/%m/%Y %H:%M", "UTC"),
        ("10/11/2026 06:00", "%m/%d/%Y %H:%M", "UTC"),
        ("11.10.26 08:00:00", "%d.%m.%y %H:%M:%S", "Europe/Berlin"),
        ("10/11/2026 6:00 AM", "%m/%d/%Y %I:%M %p", "UTC"),
        ("2026年10月11日 14:00", "%Y年%m月%d日 %H:%M", "Asia/Shanghai"),
        # 46306 days after 1899-12-30 is 2026-10-11; a quarter of a day is six hours.
        ("46306.25", "excel", "UTC"),
    ],
)
def test_a_time_is_read_at_its_place(text: str, form: str, zone: str) -> None:
    clock = Clock((form,), zone)
    assert clock.parse(text) == AT_US
    assert clock.read(pl.Series([None, text])).values.to_list() == [None, AT_US]


@pytest.mark.parametrize(
    ("text", "form", "zone", "problem"),
    [
        ("11/10/2026", "iso", "UTC", "is not a time written as iso"),
        ("2026-02-29T00:00:00Z", "iso", "UTC", "is not a time"),
        ("2026-10-11T24:00:01Z", "iso", "UTC", "is not a time"),
        ("2026-10-11T06:00:60Z", "iso", "UTC", "is not a time"),
        ("2026-10-11T06:00:00+25:00", "iso", "UTC", "is not a time"),
        ("1999-12-31T23:59:59Z", "iso", "UTC", "outside the years"),
        ("0001-01-01T00:00:00", "iso", "Asia/Shanghai", "outside the years"),
        ("9999-12-31T23:59:59", "iso", "-08:00", "outside the years"),
        ("1791698400000", "seconds", "UTC", "is not a time written as seconds"),
        ("13/13/2026 06:00", "%d/%m/%Y %H:%M", "UTC", "is not a time"),
        ("12.4", "excel", "UTC", "is not a time"),
        ("x" * 1_000_000, "iso", "UTC", "is not a time"),
        # New York: 2026-03-08 02:00 is followed by 03:00, and 2026-11-01 02:00 by 01:00.
        ("2026-03-08 02:30:00", "iso", "America/New_York", "does not exist"),
        ("2026-11-01 01:30:00", "iso", "America/New_York", "comes twice"),
    ],
)
def test_what_is_no_clear_time_is_refused(text: str, form: str, zone: str, problem: str) -> None:
    clock = Clock((form,), zone)
    with pytest.raises(Unreadable, match=problem):
        clock.parse(text)
    times = clock.read(pl.Series([text]))
    assert times.values.to_list() == [None]
    assert problem in times.problems[text]


def test_a_time_that_comes_twice_is_the_one_the_mapping_says() -> None:
    # 01:30 of daylight time is 05:30 UTC, of standard time 06:30.
    text, zone = "2026-11-01 01:30:00", "America/New_York"
    early, late = (Clock(("iso",), zone, which).parse(text) for which in ("earlier", "later"))
    assert early == Clock(("iso",)).parse("2026-11-01T05:30:00Z")
    assert late == Clock(("iso",)).parse("2026-11-01T06:30:00Z")


# --- CSV that is read ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        f"{HEADER}\n{LINE}\n",
        f"{HEADER}\n{LINE}",
        f"\ufeff{HEADER}\r\n{LINE}\r\n",
        f"{HEADER}\r{LINE}\r",
        f"\n\n{HEADER}\n\n{LINE}\n,,,,\n",
        f"EvoLink usage for October\n\n{HEADER}\n{LINE}\n",
        f"{HEADER}\n{LINE}\n".replace(",", ";").replace("40.824", "40.8240"),
        f"{HEADER}\n{LINE}\n".replace(",", "\t"),
        f"{HEADER}\n{LINE}\n".replace(",", "|"),
        '"' + f"{HEADER}\n{LINE}".replace(",", '","').replace("\n", '"\n"') + '"\n',
        f"task_id,model,credits_used,created_at,status\n{LINE.replace('completed', 'SUCCESS')}\n",
        "任务ID,模型,消耗积分,时间,状态\nt1,kling,40.824,2026-10-11T06:00:00Z,成功\n",
        "任务ID,模型,消耗积分,时间,状态\nt1,kling,40.824,2026-10-11T06:00:00Z,已完成\n".encode(
            "gbk"
        ),
        f"{HEADER}\n{LINE}\n".encode("utf-16"),
    ],
)
def test_a_statement_is_read_as_programs_write_it(read: Reading, content: str | bytes) -> None:
    statement = read(content)
    assert statement.rejected == ()
    assert statement.frame.schema == pl.Schema(COLUMNS)
    columns = ["task", "model", "amount_e8", "at_us", "status"]
    assert statement.frame.select(columns).rows() == [
        ("t1", "kling", FIVE_SECONDS_E8, AT_US, "completed")
    ]


def test_a_statement_says_what_file_it_was(read: Reading) -> None:
    content = f"{HEADER}\n{LINE}\n".encode()
    statement = read(content, name="october.csv")
    assert statement.digest == hashlib.sha256(content).digest()
    assert (statement.name, statement.lines) == ("october.csv", 1)


def test_every_field_is_read(read: Reading) -> None:
    columns = {
        name: name
        for name in (
            *("task", "key", "model", "amount", "refunded", "seconds"),
            *("quality", "at", "status", "money", "currency", "version"),
        )
    }
    content = (
        f"{','.join(columns)}\n"
        "t1,job-1,Kling 3,408240,244944,12.4,1080P,2026-10-11T06:00:00Z,fertig,0.6004,usd,v7\n"
    )
    mapping = mapped(
        columns, unit="uc", models={"Kling 3": "kling-v3"}, status={"Fertig": "completed"}
    )
    assert read(content, mapping).frame.row(0, named=True) == {
        "line": 2,
        "task": "t1",
        "key": "job-1",
        "model": "kling-v3",
        "amount_e8": FIVE_SECONDS_E8,
        "refunded_e8": 2_449_440_000,
        "raw_amount": "408240",
        "seconds_us": 12_400_000,
        "quality": "1080p",
        "at_us": AT_US,
        "status": "completed",
        "money_e8": 60_040_000,
        "currency": "USD",
        "version": "v7",
    }


def test_a_line_is_numbered_as_an_editor_does(read: Reading) -> None:
    content = 'task,note,amount\nt1,"two\nlines",1\n\nt2,"a ""quoted"" word",2\nt3,,x\n'
    statement = read(content, mapped())
    assert statement.frame["line"].to_list() == [2, 5]
    assert rejections(statement) == [(6, "amount")]


def test_a_column_may_be_named_by_its_number(read: Reading) -> None:
    content = "id,x,x\nt1,5,6\n"
    mapping = mapped({"task": 1, "amount": 3})
    assert read(content, mapping).frame["amount_e8"].to_list() == [600_000_000]
    headerless = mapped({"task": 1, "amount": 3}, header=0)
    assert read("t1,5,6\nt2,5,7\n", headerless).frame["amount_e8"].to_list() == [
        600_000_000,
        700_000_000,
    ]


def test_of_several_columns_the_first_that_has_something_counts(read: Reading) -> None:
    mapping = mapped({"task": "task", "amount": ("final", "estimate")})
    content = "task,estimate,final\nt1,5,\nt2,5,6\nt3,7,7.00\n"
    statement = read(content, mapping)
    assert statement.frame["amount_e8"].to_list() == [500_000_000, 700_000_000]
    # 5 and 6 cannot both be what was charged.
    assert [str(item) for item in statement.rejected] == [
        "line 3, column 'final': is '6' in one column and '5' in another"
    ]


def test_a_date_and_a_time_of_day_make_one_time(read: Reading) -> None:
    columns = {"task": "task", "amount": "amount", "at": "date", "time_of_day": "time"}
    content = "task,amount,date,time\nt1,1,2026-10-11,14:00:00\n"
    statement = read(content, mapped(columns, timezone="Asia/Shanghai"))
    assert statement.frame["at_us"].to_list() == [AT_US]


def test_charges_may_be_negative_and_refunds_without_a_sign(read: Reading) -> None:
    columns = {"task": "task", "amount": "amount", "status": "type"}
    negative = "task,amount,type\nt1,-5,charge\nt1,5,refund\n,100,top-up\n"
    positive = negative.replace("-5", "5")
    expected = [500_000_000, -500_000_000]
    signed = read(negative, mapped(columns, sign="charges_negative"))
    assert signed.frame["amount_e8"].to_list() == expected
    unsigned = read(positive, mapped(columns, given_back="positive"))
    assert unsigned.frame["amount_e8"].to_list() == expected
    # A top-up without a task, a model or a time cannot be told from any other.
    assert rejections(signed) == rejections(unsigned) == [(4, "")]


def test_money_is_credits_only_where_the_mapping_says_how_many(read: Reading) -> None:
    content = "task,amount\nt1,4.0824\n"
    alone = read(content, mapped(unit="CNY"))
    assert alone.frame.select("amount_e8", "money_e8", "currency").row(0) == (
        None,
        408_240_000,
        "CNY",
    )
    assert any("credits_per_unit" in note for note in alone.notes)
    # 4.0824 CNY at 10 credits each are 40.824 credits.
    both = read(content, mapped(unit="CNY", credits_per_unit=10))
    assert both.frame.select("amount_e8", "money_e8").row(0) == (FIVE_SECONDS_E8, 408_240_000)


def test_money_that_makes_no_exact_amount_is_refused(read: Reading) -> None:
    # 0.00000001 × 72.5 credits is 0.000000725, finer than 10^-8.
    content = "task,amount\nt1,0.00000001\nt2,2\n"
    statement = read(content, mapped(unit="USD", credits_per_unit="72.5"))
    assert statement.frame["amount_e8"].to_list() == [14_500_000_000]
    assert rejections(statement) == [(2, "amount")]


def test_a_missing_amount_is_missing_not_zero(read: Reading) -> None:
    statement = read(
        f"{HEADER}\nt1,k,,2026-10-11T06:00:00Z,failed\nt2,k,,2026-10-11T06:00:00Z,completed\n"
    )
    assert statement.frame.select("task", "amount_e8").rows() == [("t1", None)]
    assert [str(item) for item in statement.rejected] == [
        "line 3, column 'Credits used': has no amount"
    ]


# --- lines that are left out or rejected ---------------------------------------------------------


@pytest.mark.parametrize(
    "word", ["Total", "TOTAL:", "Grand total", "Subtotal", "合计", "总计：", "Summe"]
)
def test_a_totals_line_is_left_out_and_compared(read: Reading, word: str) -> None:
    statement = read(f"{HEADER}\n{LINE}\n{word},,40.824,,\n")
    assert statement.frame.height == 1
    assert [item.line for item in statement.left_out] == [3]
    assert "line 3 was left out: a totals line (40.824)" in statement.notes[-1]
    assert "add up to the same" in statement.notes[-1]


def test_a_totals_line_that_disagrees_is_told(read: Reading) -> None:
    statement = read(f"{HEADER}\n{LINE}\nTotal,,50,,\n")
    assert "the lines above it that were read add up to 40.824 credits" in statement.notes[-1]


def test_a_task_or_model_called_total_is_no_totals_line(read: Reading) -> None:
    statement = read(f"{HEADER}\n{LINE.replace('kling', 'Total Recall')}\n")
    assert statement.frame["model"].to_list() == ["Total Recall"]


def test_a_header_that_comes_again_is_left_out(read: Reading) -> None:
    statement = read(f"{HEADER}\n{LINE}\n{HEADER}\n{LINE.replace('t1', 't2')}\n")
    assert statement.frame["task"].to_list() == ["t1", "t2"]
    assert [str(item) for item in statement.left_out] == ["line 3: the header again"]


@pytest.mark.parametrize(
    ("line", "column", "problem"),
    [
        ("t2,k,=1+1,2026-10-11T06:00:00Z,completed", "Credits used", "is a formula"),
        ("t2,k,abc,2026-10-11T06:00:00Z,completed", "Credits used", "is not a number"),
        ("t2,k,1,tomorrow,completed", "Created at", "is not a time"),
        ("t2,k,1,2026-10-11T06:00:00Z,completed,more", "", "more cells than the header"),
        (",,1,,completed", "", "nothing to know it by"),
        ("1.23E+17,k,1,2026-10-11T06:00:00Z,completed", "Task ID", "spreadsheet has shortened"),
        ("a\0b,k,1,2026-10-11T06:00:00Z,completed", "Task ID", "cannot be stored"),
        ("a\ufffdb,k,1,2026-10-11T06:00:00Z,completed", "Task ID", "lost before"),
        (f"{'x' * 1_000_000},k,1,2026-10-11T06:00:00Z,ok", "Task ID", "more than 255 characters"),
        ('"t2"x,k,1,2026-10-11T06:00:00Z,completed', "", "quotation marks do not fit"),
        ('t2,k,""1"",2026-10-11T06:00:00Z,completed\n', "", "quotation marks do not fit"),
        ("t2,k\rk,1,2026-10-11T06:00:00Z,completed", "", "carriage return"),
        ("t2,k,1,2026-10-11T06:00:00Z,completed\nt3,k,1", "", "cut off"),
    ],
)
def test_a_line_that_cannot_be_read_is_rejected_alone(
    read: Reading, line: str, column: str, problem: str
) -> None:
    statement = read(f"{HEADER}\n{LINE}\n{line}")
    assert statement.frame["task"].to_list()[0] == "t1"
    assert [item.column for item in statement.rejected] == [column]
    assert problem in statement.rejected[0].problem
    assert statement.frame.height + 1 == statement.lines
    assert len(str(statement.rejected[0])) < 300


@pytest.mark.parametrize("note", ["=1+1", "x" * 1_000_000, 'a "b" c', "two\nlines", "a,b"])
def test_a_column_that_is_not_read_may_hold_anything(read: Reading, note: str) -> None:
    quoted = '"' + note.replace('"', '""') + '"'
    statement = read(f"{HEADER},Prompt\n{LINE},{quoted}\n")
    assert (statement.frame.height, statement.rejected) == (1, ())


def test_text_that_looks_like_a_formula_stays_text(read: Reading) -> None:
    statement = read(f"{HEADER}\n{LINE.replace('t1', '=1+1')}\n")
    assert statement.frame["task"].to_list() == ["=1+1"]


def test_a_line_with_too_few_cells_has_empty_ones_at_its_end(read: Reading) -> None:
    statement = read(f"{HEADER}\nt0,k,1\n{LINE}\n")
    assert statement.frame.select("task", "status").rows() == [("t0", None), ("t1", "completed")]


def test_thousands_are_told_where_nothing_else_proves_them(read: Reading) -> None:
    statement = read('task,amount\nt1,"40,824"\n', mapped())
    assert statement.frame["amount_e8"].to_list() == [4_082_400_000_000]
    assert "'40,824'" in statement.notes[0]


def test_a_lone_quotation_mark_in_a_large_file_spoils_no_line(
    read: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_PIECE", 256)
    monkeypatch.setattr(delimited, "_LONGEST_CELL", 1_024)
    lines = [f"t{number},note,1" for number in range(1_000)]
    lines[500] = 't500,5" wide,1'
    statement = read("\n".join(["task,note,amount", *lines]) + "\n", mapped())
    assert statement.rejected == ()
    assert statement.frame["line"].to_list() == list(range(2, 1_002))


# --- files that are refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (f"{HEADER}\n".encode(), "has a header and no lines"),
        (f"{HEADER}\n\n\n".encode(), "has a header and no lines"),
        (
            f"{HEADER}\nt1,k,x,2026-10-11T06:00:00Z,z\n".encode(),
            "has 1 lines, and none can be read",
        ),
        (f'{HEADER}\n{LINE}\n"t2,k\n{LINE}\n'.encode(), "line 3: has a quotation mark that never"),
        (f"{HEADER}\n{LINE}\n".encode("utf-16-le"), "is UTF-16 without a mark"),
        (b"\x1f\x8b\x08\0", "is compressed"),
        (b"%PDF-1.7", "is a PDF"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 512, "protected by a password"),
        (b"PK\x03\x04 and no archive", "is damaged or no workbook"),
    ],
)
def test_a_file_that_is_no_statement_is_refused(
    read: Reading, content: bytes, problem: str
) -> None:
    with pytest.raises(InvalidStatement, match=problem):
        read(content)


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidStatement, match="is a folder"):
        read_statement(tmp_path)
    with pytest.raises(InvalidStatement, match="is not a file"):
        read_statement(tmp_path / "none.csv")
    with pytest.raises(InvalidStatement, match="is not"):
        read_statement("a\0b")


def test_text_in_another_encoding_than_the_mapping_says_is_refused(read: Reading) -> None:
    content = "task,amount\nt1,1\nt2,1\n广告,1\n".encode("gbk")
    with pytest.raises(InvalidStatement, match="line 4: is not UTF-8"):
        read(content, mapped())
    assert read(content, mapped(encoding="gb18030")).frame["task"].to_list()[-1] == "广告"
    with pytest.raises(InvalidStatement, match="is not ascii"):
        read(content, mapped(encoding="ascii"))


@pytest.mark.parametrize("how", ["longer", "shorter", "other"])
def test_a_file_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(sources, "_PIECE", 4_096)
    path = tmp_path / "bill.csv"
    lines = "".join(f"t{number},1\n" for number in range(5_000))
    path.write_text(f"task,amount\n{lines}", encoding="utf-8")
    size = path.stat().st_size
    changed: list[int] = []

    def change(done: int) -> None:
        if not changed:
            changed.append(done)
            with path.open("r+b") as file:
                file.seek(size - 2)
                if how == "shorter":
                    file.truncate()
                else:
                    file.write(b"2\n" if how == "other" else b"1\nt,1\n")

    with pytest.raises(InvalidStatement, match="changed while it was read"):
        read_statement(path, mapped(), progress=change)
    assert changed[0] < 5_000


def test_progress_tells_the_lines_done(read: Reading) -> None:
    done: list[int] = []
    read(f"{HEADER}\n{LINE}\n{LINE}\n", progress=done.append)
    assert done[-1] == 2


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"task": "tsk", "amount": "amount"}, "columns.task: 'tsk' is not in the header; did you"),
        ({"task": "task", "amount": "twice"}, "'twice' stands in columns 3 and 4"),
        ({"task": 9, "amount": "amount"}, "columns.task: is 9; there are 4 columns"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(
    read: Reading, columns: dict[str, Any], problem: str
) -> None:
    with pytest.raises(InvalidMapping, match=problem):
        read("task,amount,twice,twice\nt1,1,2,3\n", mapped(columns))


# --- the provider's tasks as JSON ----------------------------------------------------------------

TASK = {
    "id": "task-unified-1",
    "model": "kling-v3-motion-control",
    "type": "video",
    "status": "completed",
    "created_at": 1791698400,
    "credits_used": 40.824,
}
NESTED = {
    "id": "task-unified-1",
    "model": "kling-v3-motion-control",
    "status": "completed",
    "created": 1791698400,
    "usage": {"credits_used": 40.824, "cost": {"usd": "0.6004"}},
    "billing": {"charged_credits": "40.8240"},
}


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(TASK),
        json.dumps(TASK) + "\n\n",
        "\ufeff" + json.dumps(TASK) + "\r\n",
        json.dumps(NESTED) + "\n",
        json.dumps(TASK | {"created_at": "2026-10-11T06:00:00Z"}),
        json.dumps([TASK]),
        json.dumps({"data": [TASK], "total": 1}),
        json.dumps({"data": [TASK], "total": 1}, indent=2),
        json.dumps([TASK], indent=2),
        json.dumps(TASK).replace("40.824", "4.0824e1"),
    ],
)
def test_the_providers_tasks_need_no_mapping(read: Reading, content: str) -> None:
    statement = read(content, name="tasks.jsonl")
    assert statement.rejected == ()
    assert statement.frame.select("task", "amount_e8", "at_us", "status").rows() == [
        ("task-unified-1", FIVE_SECONDS_E8, AT_US, "completed")
    ]


def test_the_duration_of_a_task_is_not_the_length_of_its_video(read: Reading) -> None:
    statement = read(json.dumps(TASK | {"duration": 214}), name="tasks.jsonl")
    assert statement.frame["seconds_us"].to_list() == [None]


def test_a_task_without_an_amount_waits_for_one_or_is_rejected(read: Reading) -> None:
    bare = {name: value for name, value in TASK.items() if name != "credits_used"}
    rows = [bare | {"status": status} for status in ("processing", "failed", "completed")]
    statement = read("\n".join(map(json.dumps, [*rows, TASK])), name="tasks.jsonl")
    assert statement.frame["amount_e8"].to_list() == [None, None, FIVE_SECONDS_E8]
    assert rejections(statement) == [(3, "credits_used")]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (json.dumps(TASK)[:-20], "is not JSON"),
        ('{"id": ', "is not JSON"),
        ("[1]", "is not an object"),
        ("17", "is not an object"),
        (json.dumps(TASK) + " x", "has something after"),
        ('{"id":"t","credits_used":1,"credits_used":2}', "has 'credits_used' twice"),
        ('{"id":"t","usage":{"credits_used":1 , "credits_used" :2}}', "has 'credits_used' twice"),
        ('{"id":"t","credits_used":1,"credits_used"\t:2}', "has 'credits_used' twice"),
        (json.dumps(TASK | {"credits_used": {"x": 1}}), "is no text and no number"),
        (json.dumps(TASK | {"credits_used": float("nan")}), "is not a number"),
        (json.dumps(TASK | {"credits_used": True}), "is not a number"),
        (json.dumps(TASK | {"usage": {"credits_used": 41}}), "in another"),
        ('{"data": [1]}', "no object"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_a_line_of_json_that_is_no_task_is_rejected(read: Reading, line: str, problem: str) -> None:
    statement = read(f"{json.dumps(TASK)}\n{line}\n{json.dumps(TASK)}\n", name="tasks.jsonl")
    assert [item.line for item in statement.rejected] == [2]
    assert problem in statement.rejected[0].problem
    assert statement.frame["line"].to_list() == [1, 3]


@pytest.mark.parametrize("content", ['[{"id": 1},', '[{"id": 1}] x', "[1, 2]", '{\n"data": [\n'])
def test_a_json_document_that_is_broken_is_refused(read: Reading, content: str) -> None:
    with pytest.raises(InvalidStatement):
        read(content, name="tasks.json")


def test_a_path_that_no_row_has_is_refused(read: Reading) -> None:
    mapping = mapped({"task": "id", "amount": "credits_used", "at": "creatd_at"})
    with pytest.raises(InvalidMapping, match="'creatd_at' is in no row"):
        read(json.dumps(TASK), mapping, name="tasks.jsonl")


@pytest.mark.parametrize("piece", [1, 7, 64])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_tasks_may_be_cut_anywhere_while_they_are_read(
    read: Reading, monkeypatch: pytest.MonkeyPatch, piece: int, end: str
) -> None:
    monkeypatch.setattr(sources, "_PIECE", piece)
    rows = [TASK | {"id": f"任务-{number}"} for number in range(5)]
    content = end.join(json.dumps(row, ensure_ascii=False) for row in rows)
    statement = read(content, TASKS, name="tasks.jsonl")
    assert statement.frame["task"].to_list() == [row["id"] for row in rows]
    assert statement.frame["line"].to_list() == [1, 2, 3, 4, 5]


# --- workbooks -----------------------------------------------------------------------------------

TITLES: list[Cell] = ["Task ID", "Credits used", "Created at", "Status"]
SIX = datetime(2026, 10, 11, 6, 0)  # noqa: DTZ001  a sheet has no zone


@pytest.mark.parametrize("since_1904", [False, True])
def test_a_workbook_is_read_by_its_own_calendar(read: Reading, since_1904: bool) -> None:
    rows: list[list[Cell]] = [TITLES, ["t1", Raw("40.824"), SIX, "completed"]]
    statement = read(workbook(rows, since_1904=since_1904), name="bill.xlsx")
    assert statement.rejected == ()
    assert statement.frame.select("line", "task", "amount_e8", "at_us").rows() == [
        (2, "t1", FIVE_SECONDS_E8, AT_US)
    ]


@pytest.mark.parametrize(
    ("digits", "value"),
    [
        # What Excel writes for 40.824: 17 digits of the nearest double.
        ("40.823999999999998", FIVE_SECONDS_E8),
        ("40.824", FIVE_SECONDS_E8),
        ("1E-8", 1),
        ("5", 500_000_000),
    ],
)
def test_a_number_of_a_sheet_is_what_was_typed(read: Reading, digits: str, value: int) -> None:
    statement = read(workbook([TITLES, ["t1", Raw(digits), SIX, "ok"]]))
    assert statement.frame["amount_e8"].to_list() == [value]


def test_numbers_of_a_sheet_have_a_point_whatever_its_texts_have(read: Reading) -> None:
    rows: list[list[Cell]] = [["task", "amount"], ["t1", Raw("1.234")], ["t2", "1,5"]]
    statement = read(workbook(rows), mapped(decimal=","))
    assert statement.frame["amount_e8"].to_list() == [123_400_000, 150_000_000]


@pytest.mark.parametrize(
    ("cells", "column", "problem"),
    [
        # 0.1 + 0.2 in binary: more digits than a sheet holds.
        (["t1", Raw("0.30000000000000004"), SIX, "ok"], "Credits used", "more digits than the 15"),
        ([Raw("1234567890123456789"), Raw("1"), SIX, "ok"], "Task ID", "keep it as text"),
        (["t1", SIX, SIX, "ok"], "Credits used", "is a date, not a number"),
        (["t1", Formula("A1*2", None), SIX, "ok"], "Credits used", "without a stored value"),
        (["t1", "=1+1", SIX, "ok"], "Credits used", "is a formula"),
    ],
)
def test_a_cell_that_cannot_be_trusted_is_rejected(
    read: Reading, cells: list[Cell], column: str, problem: str
) -> None:
    statement = read(workbook([TITLES, ["t0", Raw("1.5"), SIX, "ok"], cells]))
    assert rejections(statement) == [(3, column)]
    assert problem in statement.rejected[0].problem


def test_the_stored_value_of_a_formula_is_taken_and_told(read: Reading) -> None:
    statement = read(workbook([TITLES, ["t1", Formula("5*8.1648", "40.824"), SIX, "ok"]]))
    assert statement.frame["amount_e8"].to_list() == [FIVE_SECONDS_E8]
    assert any("'Credits used': 1 cell is a formula" in note for note in statement.notes)


def test_the_first_sheet_that_can_be_seen_is_read_and_told(read: Reading) -> None:
    rows: list[list[Cell]] = [
        ["October"],
        [],
        TITLES,
        ["t1", Raw("1"), SIX, "ok"],
        [],
        ["Total", 1],
    ]
    content = workbook(rows, hidden={"Notes": [["x"]]})
    statement = read(content)
    assert statement.frame.select("line", "task").rows() == [(4, "t1")]
    assert statement.mapping.header == 3
    assert [item.line for item in statement.left_out] == [6]
    assert any("sheet 'Bill' was read" in note for note in statement.notes)
    with pytest.raises(InvalidStatement, match="no sheet 'Bil'; it has 'Notes', 'Bill'"):
        read(content, mapped(sheet="Bil"))


def rezipped(content: bytes, change: Callable[[bytearray], None]) -> bytes:
    data = bytearray(content)
    change(data)
    return bytes(data)


def lie_about_size(data: bytearray) -> None:
    """Say in the archive's directory that the sheet unpacks to ten bytes."""
    place = data.rfind(b"xl/worksheets/sheet1.xml") - 46
    assert data[place : place + 4] == b"PK\x01\x02"
    data[place + 24 : place + 28] = (10).to_bytes(4, "little")


def encrypt(data: bytearray) -> None:
    place = data.rfind(b"xl/worksheets/sheet1.xml") - 46
    data[place + 8] |= 1


def test_a_workbook_that_lies_or_is_locked_is_refused(read: Reading) -> None:
    good = workbook([TITLES, ["t1", Raw("1"), SIX, "ok"]])
    with pytest.raises(InvalidStatement, match="another size than it says"):
        read(rezipped(good, lie_about_size))
    with pytest.raises(InvalidStatement, match="password"):
        read(rezipped(good, encrypt))
    with pytest.raises(InvalidStatement, match="is damaged"):
        read(good[: len(good) // 2])
    with pytest.raises(InvalidStatement, match="declares entities"):
        read(workbook([TITLES], more={"xl/workbook.xml": '<!DOCTYPE x [<!ENTITY a "b">]><x/>'}))


def test_a_workbook_that_unpacks_to_too_much_is_refused(
    read: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ledger.statements import sheets

    monkeypatch.setattr(sheets, "_LARGEST_INSIDE", 1 << 20)
    bomb = workbook([TITLES], more={"xl/media/zeros": "0" * (2 << 20)})
    assert len(bomb) < 10_000
    with pytest.raises(InvalidStatement, match="unpacks to more than 1 MiB"):
        read(bomb)


def test_a_sheet_that_spans_too_much_is_refused(read: Reading) -> None:
    far = '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
    content = workbook([TITLES, ["t1", Raw("1"), SIX, "ok"]])
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        text = archive.read("xl/worksheets/sheet1.xml").decode().replace("</sheetData>", far)
    with pytest.raises(InvalidStatement, match="1,048,576 rows × 16,384 columns"):
        read(workbook([TITLES], more={"xl/worksheets/sheet1.xml": text}))


def test_another_archive_is_no_workbook(read: Reading) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("content.xml", "<x/>")
    with pytest.raises(InvalidStatement, match="OpenDocument"):
        read(packed.getvalue())

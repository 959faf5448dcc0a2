"""Guessed mappings: what a file decides, what is assumed aloud, what is asked; mapping files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from workbooks import Raw, workbook

from ledger.errors import InvalidMapping, InvalidStatement
from ledger.statements import Columns, Guess, Mapping, guess_mapping, read_mapping, read_statement

HEADER = "Task ID,Credits used,Created at,Status"


@pytest.fixture
def guess(tmp_path: Path) -> Callable[..., Guess]:
    """Write a file and guess how it is to be read."""

    def write_and_guess(content: str | bytes, name: str = "bill.csv") -> Guess:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return guess_mapping(path)

    return write_and_guess


Guessing = Callable[..., Guess]


def bill(*rows: str, header: str = HEADER) -> str:
    return "\n".join([header, *rows]) + "\n"


def asked(found: Guess) -> list[str]:
    return [fault.field for fault in found.open]


# --- columns -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "columns", "unit"),
    [
        ("task_id,credits_used", {"task": "task_id", "amount": "credits_used"}, "credits"),
        ("taskId,usedCredits", {"task": "taskId", "amount": "usedCredits"}, "credits"),
        ("任务ID,消耗积分", {"task": "任务ID", "amount": "消耗积分"}, "credits"),
        ("任务编号,消耗（积分）", {"task": "任务编号", "amount": "消耗（积分）"}, "credits"),
        ("Task,UC charged", {"task": "Task", "amount": "UC charged"}, "uc"),
        ("Task,Amount (USD)", {"task": "Task", "amount": "Amount (USD)"}, "USD"),
        ("任务ID,金额（元）", {"task": "任务ID", "amount": "金额（元）"}, "CNY"),
        ("id,job,credits", {"task": "id", "key": "job", "amount": "credits"}, "credits"),
        (
            "Task ID,Video model,规格,State,Debit (credits)",
            {
                "task": "Task ID",
                "model": "Video model",
                "amount": "Debit (credits)",
                "quality": "规格",
                "status": "State",
            },
            "credits",
        ),
        (
            "Task ID,Credits reserved,Credits used,Balance",
            {"task": "Task ID", "amount": "Credits used"},
            "credits",
        ),
        (
            "Task ID,Credits,Cost (USD)",
            {"task": "Task ID", "amount": "Credits", "money": "Cost (USD)"},
            "credits",
        ),
    ],
)
def test_headers_say_what_a_column_holds(
    guess: Guessing, header: str, columns: dict[str, str], unit: str
) -> None:
    found = guess(f"{header}\n{','.join('1' for _ in header.split(','))}\n")
    assert found.open == ()
    given = {name: value for name, value in found.mapping.columns if value is not None}
    assert (given, found.mapping.unit) == (columns, unit)
    for name, title in columns.items():
        assert f"column {title!r} read as {name}: name" in found.evidence


def test_what_looks_like_a_charge_or_a_length_and_is_none_is_told(guess: Guessing) -> None:
    found = guess("Task ID,Credits used,Credits reserved,Duration\nt1,1,2,3\n")
    assert found.mapping.columns.seconds is None
    assert any("'Duration' left out: it may be the processing time" in x for x in found.assumed)
    assert any("'Credits reserved' left out" in line for line in found.assumed)


@pytest.mark.parametrize(
    ("content", "key", "words"),
    [
        ("Task ID,Credits used,Used credits\nt,1,2\n", "columns.amount", "could be 'Credits used'"),
        ("Task ID,Credits used,Credits used\nt,1,2\n", "columns.amount", "name one"),
        ("Task ID,Foo\nt,1\n", "columns.amount", "no column has a name"),
        ("Foo,Credits used\nt,1\n", "columns.task", "no column has a name"),
        ("Task ID,Amount\nt,1\n", "unit", "nothing says what the amounts are in"),
        ("Task ID,Credits,Money\nt,1,2\n", "currency", "which currency"),
        ("ä»»åŠ¡ID,Credits used\nt,1\n", "encoding", "looks like '任务ID' read in the wrong"),
        (
            "Task ID,Credits used\nM\u00fcller,1\n".encode("cp1252"),
            "encoding",
            "is not UTF-8 (line 2)",
        ),
    ],
)
def test_what_the_file_leaves_open_is_asked(
    guess: Guessing, content: str | bytes, key: str, words: str
) -> None:
    found = guess(content)
    assert key in asked(found)
    assert any(words in fault.problem for fault in found.open)
    assert f"# TO DO: {key}: " in found.toml()


def test_amounts_may_say_their_unit_themselves(guess: Guessing) -> None:
    assert guess("Task ID,Amount\nt,40.824 credits\n").mapping.unit == "credits"
    assert guess("Task ID,Amount\nt,¥4.08 元\n").mapping.unit == "CNY"
    assert guess("Task ID,Amount,Currency\nt,4.08,EUR\n").mapping.unit == "EUR"


# --- decimal marks -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amounts", "decimal"),
    [
        (["40,82"], ","),
        (["40,824", "5,5"], ","),
        (["1.234,56"], ","),
        (["0,824"], ","),
        (["1.234.567"], ","),
        (["56'312,899"], ","),
        (["56 312,899"], ","),
        (["56'312.899"], "."),
        (["1,234,567"], "."),
        (["40,824", "40.5"], "."),
        (["40.824"], "."),
        (["40"], "."),
        (["1,234.5"], "."),
    ],
)
def test_the_decimal_mark_is_what_the_amounts_decide(
    guess: Guessing, amounts: list[str], decimal: str
) -> None:
    found = guess(bill(*(f'"t","{amount}",,' for amount in amounts)))
    assert (found.open, found.mapping.decimal) == ((), decimal)


@pytest.mark.parametrize(
    ("amounts", "mark"),
    [(["40,824"], ","), (["40,82", "40.82"], ","), (["40.824"], ";")],
)
def test_a_mark_that_may_be_either_is_asked_about(
    guess: Guessing, amounts: list[str], mark: str
) -> None:
    lines = bill(*(f'"t";"{amount}";;' for amount in amounts), header=HEADER.replace(",", ";"))
    assert asked(guess(lines if mark == ";" else lines.replace(";", ","))) == ["decimal"]


def test_a_mark_is_decided_by_the_last_line_if_need_be(guess: Guessing) -> None:
    lines = [f'"t{number}","40,824",,' for number in range(5_000)]
    assert asked(guess(bill(*lines))) == ["decimal"]
    assert guess(bill(*lines, '"t","40,82",,')).mapping.decimal == ","


# --- times ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("times", "forms"),
    [
        (["2026-10-11T06:00:00Z"], ("iso",)),
        (["1791698400"], ("seconds",)),
        (["1791698400000"], ("milliseconds",)),
        (["2026/10/11 06:00:00"], ("%Y/%m/%d %H:%M:%S",)),
        (["2026年10月11日 06:00"], ("%Y年%m月%d日 %H:%M",)),
        (["13/10/2026 06:00"], ("%d/%m/%Y %H:%M",)),
        (["10/13/2026 06:00"], ("%m/%d/%Y %H:%M",)),
        (["10/11/2026 06:00", "13/11/2026 06:00"], ("%d/%m/%Y %H:%M",)),
        (["10/11/2026 06:00", "11/13/2026 06:00"], ("%m/%d/%Y %H:%M",)),
        (["11.10.2026 06:00"], ("%d.%m.%Y %H:%M",)),
        (["11-Oct-2026"], ("%d-%b-%Y",)),
        (["10/13/2026 6:00 AM"], ("%m/%d/%Y %I:%M %p",)),
        (["46306.25"], ("excel",)),
        (["2026-10-11T06:00:00Z", "1791698400"], ("iso", "seconds")),
    ],
)
def test_times_say_how_they_are_written(
    guess: Guessing, times: list[str], forms: tuple[str, ...]
) -> None:
    found = guess(bill(*(f't,1,"{time}",' for time in times)))
    assert (found.open, found.mapping.time_formats) == ((), forms)


@pytest.mark.parametrize(
    ("times", "words"),
    [
        (["10/11/2026 14:00"], '"%d/%m/%Y %H:%M" or "%m/%d/%Y %H:%M", and so can all others'),
        (["10-11-2026"], '"%d-%m-%Y" or "%m-%d-%Y"'),
        (["10/11/12"], '"%d/%m/%y" or "%m/%d/%y" or "%y/%m/%d"'),
        (["13/11/2026", "11/13/2026"], "one order is wrong"),
        (["yesterday"], "is written in no way that is known"),
    ],
)
def test_times_that_can_be_read_in_two_ways_are_asked_about(
    guess: Guessing, times: list[str], words: str
) -> None:
    found = guess(bill(*(f"t,1,{time}," for time in times)))
    assert asked(found) == ["time_formats"]
    assert words in found.open[0].problem


def test_the_order_of_day_and_month_may_be_decided_by_one_line_of_many(guess: Guessing) -> None:
    lines = [f"t{number},1,10/11/2026 14:{number % 60:02d}," for number in range(5_000)]
    assert asked(guess(bill(*lines))) == ["time_formats"]
    assert guess(bill(*lines, "t,1,10/31/2026 14:00,")).mapping.time_formats == ("%m/%d/%Y %H:%M",)


def test_a_time_without_a_zone_is_assumed_aloud(guess: Guessing) -> None:
    found = guess(bill("t,1,2026-10-11 06:00:00,"))
    assert found.mapping.timezone == "UTC"
    assert any("carry no zone ('2026-10-11 06:00:00')" in line for line in found.assumed)
    assert guess(bill("t,1,2026-10-11T06:00:00Z,")).assumed == ()


@pytest.mark.parametrize(
    ("header", "timezone"),
    [
        ("Completed at (UTC)", "UTC"),
        ("Created at [GMT]", "UTC"),
        ("created_at_utc", "UTC"),
        ("Completed at (UTC+8)", "+08:00"),
        ("Completed at (GMT-03:30)", "-03:30"),
        ("Created time (Asia/Shanghai)", "Asia/Shanghai"),
        ("完成时间（北京时间）", "Asia/Shanghai"),
        ("Date", "UTC"),  # assumed
        ("Date (local)", "UTC"),  # names none
        ("Date (CST)", "UTC"),  # stands for several
        ("Date (Mars/Olympus)", "UTC"),  # there is none
        ("Date (UTC+99)", "UTC"),
    ],
)
def test_a_header_may_name_the_zone_of_its_times(
    guess: Guessing, header: str, timezone: str
) -> None:
    found = guess(f"Task ID,Credits used,{header}\nt,1,2026-10-11 06:00:00\n")
    assert found.open == ()
    assert (found.mapping.columns.at, found.mapping.timezone) == (header, timezone)
    named = f"times read in {timezone}: the name of column {header!r}" in found.evidence
    assert named == (not header.startswith("Date"))
    assert named != any("carry no zone" in line for line in found.assumed)


def test_what_stands_behind_an_amount_is_not_passed_over(guess: Guessing) -> None:
    found = guess("Task ID (ours),Credits used,Credits (remaining)\nt,1,99\n")
    assert (found.mapping.columns.task, found.mapping.columns.amount) == (
        "Task ID (ours)",
        "Credits used",
    )
    assert asked(guess("Task ID,Credits (remaining)\nt,99\n")) == ["columns.amount"]


def test_columns_that_nothing_is_read_from_are_named_in_one_note(guess: Guessing) -> None:
    content = "Task ID,Request ID,Credits used,Balance,Note\nt,r,1,9,x\n"
    assert [line for line in guess(content).assumed if "nothing is read" in line] == [
        "nothing is read from columns 'Request ID', 'Note'"
    ]
    names = ",".join(f"Note {number}" for number in range(13))
    wide = guess(f"Task ID,Credits used,{names}\n")
    assert wide.assumed[0].endswith("'Note 8', 'Note 9' and 3 more")


# --- signs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "sign", "given_back"),
    [
        (["t,5,,completed"], "charges_positive", "signed"),
        (["t,-5,,completed"], "charges_negative", "signed"),
        (["t,-5,,completed", "t,5,,refund", ",100,,topup"], "charges_negative", "signed"),
        (["t,5,,completed", "t,5,,refund"], "charges_positive", "positive"),
        (["t,5,,completed", "u,100,,充值"], "charges_positive", "positive"),
        (["t,5,,completed", "t,-5,,refund"], "charges_positive", "signed"),
    ],
)
def test_signs_are_what_the_lines_decide(
    guess: Guessing, rows: list[str], sign: str, given_back: str
) -> None:
    found = guess(bill(*rows))
    assert found.open == ()
    assert (found.mapping.sign, found.mapping.given_back) == (sign, given_back)


@pytest.mark.parametrize(
    ("rows", "key"),
    [
        (["t,5,,completed", "u,5,,refunded"], "given_back"),
        (["t,-5,,", "u,-5,,", "v,100,,"], "sign"),
    ],
)
def test_signs_that_may_mean_either_are_asked_about(
    guess: Guessing, rows: list[str], key: str
) -> None:
    assert asked(guess(bill(*rows))) == [key]


@pytest.mark.parametrize(
    ("late", "key"),
    [(["t1,5,,refund"], "given_back"), ([f"u{n},-5,," for n in range(6_000)], "sign")],
)
def test_signs_that_only_later_lines_make_doubtful_stop_the_reading(
    guess: Guessing, tmp_path: Path, late: list[str], key: str
) -> None:
    found = guess(bill(*(f"t{number},5,,completed" for number in range(5_000)), *late))
    assert found.open == ()  # the first lines show nothing of it
    with pytest.raises(InvalidMapping) as error:
        read_statement(tmp_path / "bill.csv")
    assert [fault.field for fault in error.value.faults] == [key]
    # Whoever writes a mapping decides, and is told all the same.
    statement = read_statement(tmp_path / "bill.csv", found.mapping)
    assert any(note.startswith(f"{key}: ") for note in statement.notes)


# --- the guess as a file -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        bill("t,1,2026-10-11 06:00:00,ok"),
        "任务ID;模型;消耗积分;时间;状态\nt1;k;40,82;13/11/2026 14:00;成功\n".encode("gbk"),
        "usage\n\nTask ID\tAmount (USD)\n\nt1\t(4.5)\n",
        workbook([["x"], ["Task ID", "Credits used"], ["t1", Raw("1.5")]]),
        '{"task_id":"t","credits":"1.5"}\n',
    ],
)
def test_a_guess_written_down_and_read_again_is_the_same_mapping(
    guess: Guessing, tmp_path: Path, content: str | bytes
) -> None:
    found = guess(content)
    assert found.open == ()
    (tmp_path / "bill.toml").write_text(found.toml(), encoding="utf-8")
    mapping = read_mapping(tmp_path / "bill.toml")
    assert mapping == found.mapping
    by_guess, by_file = (read_statement(tmp_path / "bill.csv", how) for how in (None, mapping))
    assert by_guess.frame.equals(by_file.frame)
    assert (by_guess.guess, by_file.guess) == (found, None)


def test_a_statement_that_leaves_something_open_is_not_read(
    guess: Guessing, tmp_path: Path
) -> None:
    guess(bill("t,1,10/11/2026 14:00,"))
    with pytest.raises(InvalidMapping, match="no mapping was given: time_formats: '10/11/2026"):
        read_statement(tmp_path / "bill.csv")


def test_a_guess_refuses_what_no_reader_takes(guess: Guessing) -> None:
    with pytest.raises(InvalidStatement, match="is empty"):
        guess("")


# --- mapping files -------------------------------------------------------------------------------

COLUMNS = '[columns]\ntask = "id"\namount = "credits"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "columns: is required"),
        ("[columns]\n", "must name a column for amount"),
        ('[columns]\namount = "x"\n', "must name a column for task, key, or model and at"),
        (f'colour = "red"\n{COLUMNS}', "colour: is not a key of a mapping"),
        (f'{COLUMNS}colour = "red"\n', "columns.colour"),
        (f"{COLUMNS}model = 0\n", "columns.model: must be a header, a number from 1"),
        (f"{COLUMNS}model = 1.5\n", "columns.model: must be a header, a number from 1"),
        (f"{COLUMNS}model = []\n", "columns.model: must be a header, a number from 1"),
        (f'{COLUMNS}time_of_day = "t"\n', "must name a column for at"),
        (f'unit = "points"\n{COLUMNS}', "unit: must"),
        (f"credits_per_unit = 68\n{COLUMNS}", "goes with a unit that is a currency"),
        (f'decimal = ";"\n{COLUMNS}', "decimal: must be '.' or ','"),
        (f'delimiter = ";;"\n{COLUMNS}', "delimiter: "),
        (f'encoding = "klingon"\n{COLUMNS}', "must be an encoding such as utf-8"),
        (f'encoding = "base64"\n{COLUMNS}', "must be an encoding such as utf-8"),
        (f'timezone = "Mars/Olympus"\n{COLUMNS}', "is not a time zone"),
        (f'timezone = "../etc/passwd"\n{COLUMNS}', "is not a time zone"),
        (f'time_formats = ["dd/mm/yyyy"]\n{COLUMNS}', "must be iso, seconds"),
        (f'time_formats = ["%H:%M"]\n{COLUMNS}', "must be iso, seconds"),
        (f"header = -1\n{COLUMNS}", "header: must be"),
        ("columns = \n", "is not TOML"),
    ],
)
def test_a_mapping_file_that_makes_no_sense_is_refused(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "map.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidMapping) as error:
        read_mapping(path)
    assert words in str(error.value)


def test_a_mapping_file_has_all_its_faults_told_at_once(tmp_path: Path) -> None:
    path = tmp_path / "map.toml"
    path.write_text(f'unit = "points"\ndecimal = ";"\n{COLUMNS}', encoding="utf-8")
    with pytest.raises(InvalidMapping) as error:
        read_mapping(path)
    assert [fault.field for fault in error.value.faults] == ["unit", "decimal"]


def test_a_mapping_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidMapping, match="cannot be read"):
        read_mapping(tmp_path / "none.toml")
    with pytest.raises(InvalidMapping, match="cannot be read"):
        read_mapping(tmp_path)
    (tmp_path / "map.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidMapping, match="is not UTF-8"):
        read_mapping(tmp_path / "map.toml")


def test_a_mapping_survives_its_file(tmp_path: Path) -> None:
    mapping = Mapping(
        columns=Columns(task=("id", "任务"), amount=3, at="when"),
        unit="CNY",
        credits_per_unit="10.5",
        delimiter="\t",
        encoding="gb18030",
        timezone="Asia/Shanghai",
        time_formats=("iso", "%d.%m.%Y"),
        status={'完成 "x"\\': "completed"},
        models={"Kling 3": "kling-v3"},
    )
    path = tmp_path / "map.toml"
    path.write_text(mapping.toml(), encoding="utf-8")
    assert read_mapping(path) == mapping


def test_json_has_no_decimal_comma(tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text('{"id":"t","credits_used":1.5}\n', encoding="utf-8")
    mapping = Mapping(columns=Columns(task="id", amount="credits_used"), decimal=",")
    with pytest.raises(InvalidMapping, match="decimal: must be a point"):
        read_statement(path, mapping)

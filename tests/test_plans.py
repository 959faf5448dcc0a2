"""Plans read from files: what every reader makes of them, and what is refused by name.

A job of motion control at 720p with a reference of 12.4 s costs 13 × 8.1648 = 106.1424 credits;
one of 5 s costs 5 × 8.1648 = 40.824 credits.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from ledger import Estimate, PriceBook, estimate
from ledger.columns import NotPriced
from ledger.errors import InvalidPlan

AT = "2026-10-10"
HEADER = "model,orientation,seconds"
ROW = "motion-control,video,12.4"
JOB_E8 = 10_614_240_000
FIVE_SECONDS_E8 = 4_082_400_000
JOB = {"model": "motion-control", "orientation": "video", "seconds": 12.4}


@pytest.fixture(scope="module")
def book() -> PriceBook:
    return PriceBook.bundled()


@pytest.fixture
def read(book: PriceBook, tmp_path: Path) -> Any:
    """Write a plan and estimate it; the ending says what it is."""

    def write_and_estimate(content: str | bytes, name: str = "plan.csv", **more: Any) -> Estimate:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return estimate(path, book, **({"at": AT} | more))

    return write_and_estimate


def refusal(error: pytest.ExceptionInfo[InvalidPlan]) -> str:
    """The message without the folder."""
    return str(error.value).rpartition("/")[2]


def lines(*rows: Any) -> str:
    return "".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows)


# --- one plan in five forms ----------------------------------------------------------------------


def test_one_plan_has_one_estimate_in_whatever_form_it_comes(
    book: PriceBook, tmp_path: Path
) -> None:
    plan = pl.DataFrame(
        {
            "model": ["motion-control", "v3-text-to-video", "kling-v9", "motion-control", None],
            "quality": ["1080p", None, "720p", "", None],
            "orientation": ["video", None, None, "image", None],
            "seconds": ["12.40", "5", "5", None, None],
            "count": ["2", None, "3", "0", "1"],
            "team": ["ads", "film", "ads", None, "広告"],
        }
    )
    plan.write_csv(tmp_path / "plan.csv")
    plan.write_ndjson(tmp_path / "plan.jsonl")
    plan.write_parquet(tmp_path / "plan.parquet")
    expected = estimate(plan, book, by=["team", "quality"], at=AT)
    # 2 × 13 × 10.8918432 = 283.1879232 and 5 × 5.4 = 27: 310.1879232 credits
    assert expected.total.maximum_e8 == 31_018_792_320
    assert [item.row for item in expected.not_priced] == [3, 5]
    forms: list[Any] = [plan.lazy(), *(tmp_path / f"plan.{end}" for end in ENDINGS)]
    for form in [*forms, *map(str, forms[1:])]:
        assert estimate(form, book, by=["team", "quality"], at=AT) == expected


ENDINGS = ("csv", "jsonl", "parquet")


@pytest.mark.parametrize("name", ["plan.csv", "PLAN.CSV"])
def test_the_ending_may_be_in_capitals(read: Any, name: str) -> None:
    assert read(f"{HEADER}\n{ROW}\n", name).total.maximum_e8 == JOB_E8


@pytest.mark.parametrize("ending", ["pq", "parquet"])
def test_both_endings_of_parquet_are_read(book: PriceBook, tmp_path: Path, ending: str) -> None:
    pl.DataFrame([JOB]).write_parquet(tmp_path / f"plan.{ending}")
    assert estimate(tmp_path / f"plan.{ending}", book, at=AT).total.maximum_e8 == JOB_E8


# --- CSV that is read ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        f"{HEADER}\n{ROW}\n",
        f"{HEADER}\n{ROW}",
        f"{HEADER}\r\n{ROW}\r\n",
        f"\ufeff{HEADER}\n{ROW}\n",
        f'\ufeff"model","orientation","seconds"\r\n{ROW}\r\n',
        f" model , orientation ,seconds \n{ROW}\n",
        'model,orientation,seconds\n"motion-control","video","12.4"\n',
        "model,character_orientation,reference_seconds\nmotion-control,video,12.400\n",
        "duration,model,orientation\n12.4,kling-v3-motion-control,video\n",
    ],
)
def test_a_csv_is_read_as_programs_write_it(read: Any, text: str) -> None:
    result = read(text)
    assert (result.rows, result.total.maximum_e8, result.not_priced) == (1, JOB_E8, ())


@pytest.mark.parametrize(
    "label", ["two\nlines", 'a "quoted" word', "a, comma", "広告 チーム", "é", "\U0001f3ac"]
)
def test_any_text_may_be_a_label(read: Any, label: str) -> None:
    quoted = label.replace('"', '""')
    result = read(f'{HEADER},équipe\n{ROW},"{quoted}"\n{ROW},plain\n', by=["équipe"])
    assert {group.key: group.maximum_e8 for group in result.groups} == {
        (label,): JOB_E8,
        ("plain",): JOB_E8,
    }


def test_a_label_that_looks_like_a_number_stays_as_it_was_written(read: Any) -> None:
    result = read(f"{HEADER},scene\n{ROW},007\n{ROW},7\n{ROW},7.0\n", by=["scene"])
    assert [group.key for group in result.groups] == [("007",), ("7",), ("7.0",)]


def test_a_quoted_empty_cell_is_an_empty_cell(read: Any) -> None:
    result = read(f'{HEADER},count,team\nmotion-control,video,"","",""\n', by=["team"])
    assert (result.total.jobs, result.groups[0].key, result.unknown_length_jobs) == (1, (None,), 1)


def test_digits_past_a_float_decide_as_they_were_written(read: Any) -> None:
    # 13.0000000000000001 s are billed as 14 s: 14 × 8.1648 = 114.3072
    result = read(f"{HEADER}\nmotion-control,video,13.0000000000000001\n")
    assert result.total.maximum_e8 == 11_430_720_000


def test_a_last_empty_line_is_no_row(read: Any) -> None:
    assert read(f"{HEADER}\n{ROW}\n\n").rows == 1


def test_a_million_rows_with_a_few_bad_ones_are_counted_exactly(
    book: PriceBook, tmp_path: Path
) -> None:
    rows = [f"{ROW},ads"] * 1_000_000
    rows[0] = "kling-v9,video,12.4,ads"
    rows[499_999] = "motion-control,video,soon,ads"
    rows[999_999] = "motion-control,video,0.0,film"
    path = tmp_path / "plan.csv"
    path.write_text("\n".join([f"{HEADER},team", *rows]), encoding="utf-8")
    result = estimate(path, book, by=["team"], at=AT)
    assert (result.rows, result.not_priced_rows) == (1_000_000, 3)
    assert [item.row for item in result.not_priced] == [1, 500_000, 1_000_000]
    # 999,997 × 106.1424 credits
    assert result.total.maximum_e8 == 999_997 * JOB_E8
    assert [tuple(group) for group in result.groups] == [
        (("ads",), 999_997, *[999_997 * JOB_E8] * 3, 2),
        (("film",), 0, 0, 0, 0, 1),
    ]


# --- CSV that is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("model,orientation,secnds", "secnds: is not a known column; did you mean seconds?"),
        ("modle,orientation,seconds", "modle: is not a known column; did you mean model?"),
        ("model,orientaton,seconds", "orientaton: is not a known column; did you mean orientation"),
        ("model,qualty,seconds", "qualty: is not a known column; did you mean quality?"),
        ("Model,orientation,seconds", "Model: is not a known column; did you mean model?"),
        ("model,orientation,SECONDS", "SECONDS: is not a known column; did you mean seconds?"),
        ("model,seconds,duration", "duration: stands twice in the header (as seconds)"),
        ("model,team,team", "team: stands twice in the header"),
        ("model,,seconds", "column 2: has no header"),
        ("model,seconds,", "column 3: has no header"),
        ("model,__row,seconds", "__row: must not begin with two underscores"),
        ("quality,orientation,seconds", "model: is missing"),
    ],
)
def test_a_header_that_is_no_plan_is_refused(read: Any, header: str, problem: str) -> None:
    with pytest.raises(InvalidPlan) as error:
        read(f"{header}\n{ROW}\n")
    assert refusal(error).startswith(f"plan.csv: {problem}")


def test_all_slips_of_a_header_are_named_at_once(read: Any) -> None:
    with pytest.raises(InvalidPlan) as error:
        read(f"modle,orientaton,secnds\n{ROW}\n")
    assert [fault.field for fault in error.value.faults] == ["modle", "orientaton", "secnds"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\n\n", "has no header"),
        (f"{HEADER}\n".encode(), "has no rows"),
        (HEADER.encode(), "has no rows"),
        (f"{HEADER},team\n{ROW},Müller\n".encode("latin-1"), "utf-8"),
        (f"{HEADER},größe\n{ROW},M\n".encode("latin-1"), "utf-8"),
        (f"{HEADER}\n{ROW}\n".encode("utf-16"), "utf-8"),
        (b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "cannot be read"),
    ],
)
def test_what_is_no_csv_is_refused(read: Any, content: bytes, problem: str) -> None:
    with pytest.raises(InvalidPlan) as error:
        read(content, by=["team"] if b"team" in content else [])
    assert problem in refusal(error)


@pytest.mark.parametrize(
    "row",
    [
        "motion-control,video,12,4",  # a comma for the point: 12 s would be priced for 12.4 s
        f"{ROW},x,y",
        f"{ROW},,y",
    ],
)
def test_a_row_with_more_cells_than_the_header_is_not_priced_silently(read: Any, row: str) -> None:
    try:
        result = read(f"{HEADER}\n{ROW}\n{row}\n")
    except InvalidPlan:
        return
    assert [item.row for item in result.not_priced] == [2]


def test_an_extra_cell_does_not_push_a_label_away(read: Any) -> None:
    try:
        result = read(f"{HEADER},team\nmotion-control,video,12,4,ads\n", by=["team"])
    except InvalidPlan:
        return
    assert [group.key for group in result.groups if group.jobs] == []


def test_cells_missing_at_the_end_of_a_row_are_empty(read: Any) -> None:
    # Without seconds: 3 to 30 s, 24.4944 to 244.944 credits.
    total = read(f"{HEADER}\n{ROW}\nmotion-control,video\n").total
    assert (total.minimum_e8 - JOB_E8, total.maximum_e8 - JOB_E8) == (2_449_440_000, 24_494_400_000)


@pytest.mark.parametrize("separator", [";", "\t"])
def test_another_separator_is_named_in_the_refusal(read: Any, separator: str) -> None:
    with pytest.raises(InvalidPlan) as error:
        read(f"{HEADER}\n{ROW}\n".replace(",", separator))
    assert "comma" in refusal(error)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("plan.xlsx", "has the ending '.xlsx'; a plan is .csv, .jsonl or .parquet"),
        ("plan.csv.gz", "has the ending '.gz'; a plan is .csv, .jsonl or .parquet"),
        ("plan", "has the ending ''; a plan is .csv, .jsonl or .parquet"),
    ],
)
def test_an_unknown_ending_is_refused(read: Any, name: str, problem: str) -> None:
    with pytest.raises(InvalidPlan) as error:
        read(f"{HEADER}\n{ROW}\n", name)
    assert refusal(error) == f"{name}: {problem}"


def test_a_folder_and_a_missing_file_are_refused(book: PriceBook, tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for name in ("folder.csv", "no such plan.csv"):
        with pytest.raises(InvalidPlan) as error:
            estimate(tmp_path / name, book)
        assert refusal(error) == f"{name}: is not a file"


@pytest.mark.parametrize("seconds", ["1e3", " 5", "5 ", "+5", "-5", "0", "nan", "inf", '"12,4"'])
def test_a_length_that_is_not_plain_digits_costs_its_row_only(read: Any, seconds: str) -> None:
    result = read(f"{HEADER}\n{ROW}\nmotion-control,video,{seconds}\n")
    assert (result.total.maximum_e8, result.not_priced[0].row) == (JOB_E8, 2)


# --- JSON lines ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        lines(JOB),
        "\ufeff" + lines(JOB),
        lines(JOB).replace("\n", "\r\n"),
        "\n" + lines(JOB) + "\n  \n",
        lines(JOB).strip(),
        lines(JOB).replace("12.4", "12.40"),
        lines(JOB).replace("12.4", '"12.4"'),
        lines(JOB | {"count": 1, "team": None, "labels": {}}),
        lines(JOB | {"count": None, "labels": None}),
    ],
)
@pytest.mark.parametrize("ending", ["jsonl", "ndjson"])
def test_json_lines_are_read_as_programs_write_them(read: Any, content: str, ending: str) -> None:
    result = read(content, f"plan.{ending}")
    assert (result.rows, result.total.maximum_e8, result.not_priced) == (1, JOB_E8, ())


def test_numbers_of_json_lines_count_as_they_were_written(read: Any) -> None:
    content = lines(JOB, JOB).replace("12.4", "13.0000000000000001", 1)
    # 14 × 8.1648 + 13 × 8.1648 = 220.4496
    assert read(content, "plan.jsonl").total.maximum_e8 == 22_044_960_000


@pytest.mark.parametrize("written", ["12.40", "007", "1e5", "12345678901234567890123"])
def test_a_number_is_a_label_as_it_was_written(read: Any, written: str) -> None:
    number = written if not written.startswith("00") else f'"{written}"'
    content = lines(JOB | {"scene": "?"}).replace('"?"', number)
    assert read(content, "plan.jsonl", by=["scene"]).groups[0].key == (written,)


@pytest.mark.parametrize("written", ["1e999", "NaN", "Infinity", "-5", "true", '"soon"', "1E-400"])
def test_a_number_that_is_no_length_costs_its_row_only(read: Any, written: str) -> None:
    content = lines(JOB) + lines(JOB).replace("12.4", written)
    result = read(content, "plan.jsonl")
    assert (result.total.maximum_e8, [item.row for item in result.not_priced]) == (JOB_E8, [2])


def test_an_empty_line_of_json_lines_is_no_row(read: Any) -> None:
    result = read(lines(JOB, "\n", JOB | {"model": "kling-v9"}), "plan.jsonl")
    assert (result.rows, [item.row for item in result.not_priced]) == (2, [2])


def test_an_object_of_labels_is_read_as_labels(read: Any) -> None:
    content = lines(JOB | {"labels": {"team": "ads", "user": "li"}}, JOB | {"team": "film"})
    result = read(content, "plan.jsonl", by=["team", "user"])
    assert [group.key for group in result.groups] == [("ads", "li"), ("film", None)]


@pytest.mark.parametrize(
    ("bad", "problem"),
    [
        ('{"model"\n', "plan.jsonl, line 3: is not JSON"),
        ("[1, 2]\n", "plan.jsonl, line 3: is not an object"),
        ('"text"\n', "plan.jsonl, line 3: is not an object"),
        ("{} {}\n", "plan.jsonl, line 3: is not JSON"),
        ('{"model": "x"', "plan.jsonl, line 3: is not JSON"),
        (lines({"model": {"id": 1}}), "plan.jsonl, line 3: model: must be text or a number"),
        (lines({"model": "x", "tags": ["a"]}), "plan.jsonl, line 3: tags: must be text or a num"),
        (lines({"labels": {"a": {}}}), "plan.jsonl, line 3: a: must be text or a number"),
        ("[" * 100_000 + "\n", "plan.jsonl, line 3: is not JSON"),
    ],
)
def test_a_line_that_is_no_job_is_refused_with_its_number(
    read: Any, bad: str, problem: str
) -> None:
    with pytest.raises(InvalidPlan) as error:
        read(lines(JOB, JOB, bad), "plan.jsonl")
    assert refusal(error).startswith(problem)


def test_a_line_that_is_not_utf_8_is_refused_with_its_number(read: Any) -> None:
    with pytest.raises(InvalidPlan, match=r"line 2: .*utf-8"):
        read(lines(JOB).encode() + b'{"team": "\xfc"}\n', "plan.jsonl")


def test_a_refusal_names_one_line_only(read: Any) -> None:
    # The parser's own line number, always 1 or 2, would contradict ours.
    with pytest.raises(InvalidPlan) as error:
        read(lines(JOB, JOB, '{"model"\n'), "plan.jsonl")
    assert refusal(error).count("line ") == 1


@pytest.mark.parametrize("bad", ['"ads"', '["ads"]', "7"])
def test_labels_that_are_no_object_are_not_dropped_silently(read: Any, bad: str) -> None:
    content = lines(JOB | {"labels": "?"}).replace('"?"', bad)
    try:
        result = read(content, "plan.jsonl", by=["labels"])
    except InvalidPlan as error:
        assert "line 1" in str(error)  # noqa: PT017
        return
    assert result.groups[0].key != (None,)


def test_a_label_does_not_become_an_option(read: Any) -> None:
    content = lines(JOB | {"labels": {"quality": "1080p"}})
    try:
        result = read(content, "plan.jsonl")
    except InvalidPlan:
        return
    assert result.total.maximum_e8 == JOB_E8


def test_a_key_that_stands_twice_in_a_line_is_refused_as_in_a_header(read: Any) -> None:
    with pytest.raises(InvalidPlan, match=r"line 1: seconds: stands twice"):
        read('{"model": "element", "seconds": 5, "seconds": 50}\n', "plan.jsonl")


@pytest.mark.parametrize("content", ["", "\n", " \n\n"])
def test_json_lines_without_a_line_are_refused(read: Any, content: str) -> None:
    with pytest.raises(InvalidPlan, match=r"is empty|has no rows"):
        read(content, "plan.jsonl")


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the reader hold three lines of a file at a time, not half a million."""
    monkeypatch.setattr("ledger.columns.plans.JSON_ROWS", 3)


ELEMENT = {"model": "element"}  # 1 credit


@pytest.mark.usefixtures("small_parts")
def test_rows_are_numbered_on_from_one_part_of_a_file_to_the_next(read: Any) -> None:
    bad = {"model": "kling-v9"}
    result = read(lines(ELEMENT, ELEMENT, bad, bad, "\n", ELEMENT, "\n\n\n\n", bad), "plan.jsonl")
    assert [item.row for item in result.not_priced] == [3, 4, 6]
    assert (result.rows, result.total.maximum_e8) == (6, 300_000_000)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("places", [{0}, {2}, {3}, {6}, {0, 6}, set(range(7))])
def test_a_label_may_stand_in_any_part_of_a_file(read: Any, places: set[int]) -> None:
    rows = [ELEMENT | ({"team": "ads"} if place in places else {}) for place in range(7)]
    result = read(lines(*rows), "plan.jsonl", by=["team"])
    expected = {("ads",): len(places), (None,): 7 - len(places)}
    assert {group.key: group.jobs for group in result.groups} == {
        key: jobs for key, jobs in expected.items() if jobs
    }


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("place", [0, 3, 6])
def test_an_option_may_stand_in_any_part_of_a_file(read: Any, place: int) -> None:
    # Six jobs at 720p and one at 1080p: 6 × 106.1424 + 141.5939616 = 778.4483616
    rows = [JOB | ({"quality": "1080p"} if at == place else {}) for at in range(7)]
    assert read(lines(*rows), "plan.jsonl").total.maximum_e8 == 77_844_836_160


@pytest.mark.usefixtures("small_parts")
def test_a_row_without_a_model_is_one_row_wherever_it_stands(read: Any) -> None:
    rows = [*[ELEMENT] * 6, {"team": "ads"}]
    result = read(lines(*rows), "plan.jsonl")
    assert result.not_priced == (NotPriced(7, "model: is empty"),)


# --- Parquet -------------------------------------------------------------------------------------


def test_a_parquet_that_is_none_is_refused(read: Any) -> None:
    with pytest.raises(InvalidPlan, match=r"plan\.parquet: cannot be read: .+"):
        read("this is no parquet", "plan.parquet")


@pytest.mark.parametrize("keep", [4, 100, 0.5, 0.99])
def test_a_truncated_parquet_is_refused(read: Any, tmp_path: Path, keep: float) -> None:
    pl.DataFrame([JOB] * 1000).write_parquet(tmp_path / "whole.parquet")
    content = (tmp_path / "whole.parquet").read_bytes()
    cut = int(keep if keep > 1 else len(content) * keep)
    with pytest.raises(InvalidPlan, match=r"plan\.parquet: cannot be read: .+"):
        read(content[:cut], "plan.parquet")


def test_a_parquet_with_damaged_pages_is_refused(read: Any, tmp_path: Path) -> None:
    frame = pl.DataFrame([JOB | {"seconds": number / 100 + 5} for number in range(1000)])
    frame.write_parquet(tmp_path / "whole.parquet")
    content = bytearray((tmp_path / "whole.parquet").read_bytes())
    content[4:4000] = bytes(len(content[4:4000]))
    with pytest.raises(InvalidPlan, match=r"plan\.parquet: cannot be read: .+"):
        read(bytes(content), "plan.parquet")


def test_types_of_a_parquet_are_kept(book: PriceBook, tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "model": pl.Series(["motion-control"] * 3, dtype=pl.Categorical),
            "orientation": pl.Series(["video"] * 3, dtype=pl.Enum(["image", "video"])),
            "seconds": pl.Series([5_000, 12_400, None], dtype=pl.Duration("ms")),
            "count": pl.Series([1, None, 0], dtype=pl.UInt8),
        }
    )
    frame.write_parquet(tmp_path / "plan.parquet")
    result = estimate(tmp_path / "plan.parquet", book, at=AT)
    assert result.total.maximum_e8 == FIVE_SECONDS_E8 + JOB_E8
    assert result.total.jobs == 2


def test_a_parquet_without_rows_is_refused(book: PriceBook, tmp_path: Path) -> None:
    pl.DataFrame(schema={"model": pl.String}).write_parquet(tmp_path / "plan.parquet")
    with pytest.raises(InvalidPlan, match="has no rows"):
        estimate(tmp_path / "plan.parquet", book, at=AT)


def test_counts_of_a_csv_that_went_through_floats_are_read_as_in_a_frame(
    read: Any, book: PriceBook
) -> None:
    # A column of counts with a gap becomes 2.0 in many programs; a frame with 2.0 is 2 jobs.
    frame = pl.DataFrame([JOB | {"count": 2.0}])
    assert estimate(frame, book, at=AT).total.jobs == 2
    assert read(f"{HEADER},count\n{ROW},2.0\n").total.jobs == 2


def test_a_row_number_does_not_count_the_header(read: Any) -> None:
    result = read(f"{HEADER}\nkling-v9,video,5\n{ROW}\n")
    assert result.not_priced == (NotPriced(1, "unknown model 'kling-v9' in price book evolink"),)

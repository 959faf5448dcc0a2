"""`kling-ledger estimate`: plans of jobs, their groups, and the rows without a price.

A job of motion control at 720p with a reference of 12.4 s costs 13 × 8.1648 = 106.1424 credits,
one at 1080p 13 × 10.8918432 = 141.5939616, and one of 5 s at 720p 5 × 8.1648 = 40.824.
"""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from command import DEMO, Done, call, run, write

AT = ("--at", "2026-10-10")
HEADER = "model,quality,orientation,seconds"
ROW = "motion-control,720p,video,12.4"
FIVE = "motion-control,720p,video,5"
PLAN = DEMO / "plan.csv"
FIGURES = ("minimum", "expected", "maximum")


def plan(folder: Path, *rows: str, header: str = HEADER) -> str:
    """A plan as a CSV file in the folder; its name."""
    return write(folder, "plan.csv", "\n".join([header, *rows]) + "\n").name


def amounts(done: Done, name: str = "maximum") -> list[str]:
    return [row[name] for row in done.rows]


def sums(items: list[dict[str, str]]) -> list[Decimal]:
    return [sum((Decimal(item[name]) for item in items), Decimal()) for name in FIGURES]


def rejected(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def left_overs(folder: Path) -> list[str]:
    return [item.name for item in folder.iterdir() if "unfinished" in item.name]


# --- figures -------------------------------------------------------------------------------------


def test_a_plan_is_the_sum_of_its_jobs(tmp_path: Path) -> None:
    name = plan(tmp_path, f"{ROW},2", f"{FIVE},", header=f"{HEADER},count")
    done = call("estimate", name, *AT, "--format", "csv", cwd=tmp_path)
    assert done.status == 0
    (row,) = done.rows
    wanted = {"jobs": "3", "maximum_usd": "3.72218824", "not_priced_jobs": "0"}
    wanted |= dict.fromkeys(FIGURES, "253.1088")
    assert row | wanted == row


def test_csv_json_lines_and_parquet_give_the_same_data(tmp_path: Path) -> None:
    rows = list(csv.DictReader(PLAN.read_text(encoding="utf-8").splitlines()))
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    write(tmp_path, "plan.csv", PLAN.read_bytes())
    write(tmp_path, "plan.jsonl", lines)
    pl.DataFrame(rows).write_parquet(tmp_path / "plan.parquet")
    typed = pl.DataFrame(rows).with_columns(
        pl.col("seconds").replace("", None).cast(pl.Decimal(10, 3)),
        pl.col("count").cast(pl.Int64),
    )
    typed.write_parquet(tmp_path / "typed.pq")
    options = (*AT, "--by", "team,user", "--allow-not-priced", "--format", "json")
    names = ("plan.csv", "plan.jsonl", "plan.parquet", "typed.pq")
    first, *others = [call("estimate", name, *options, cwd=tmp_path).data for name in names]
    assert first["rows"] == 2400
    for other in others:
        for name in ("groups", "total", "rows", "unknown_length_jobs", "credits_per_usd"):
            assert other[name] == first[name]
        assert [item["row"] for item in other["not_priced"]] == [401, 1201, 2001]


@pytest.mark.parametrize("by", [(), ("team",), ("team", "user"), ("model", "quality", "sound")])
def test_groups_add_up_to_the_total_in_every_format(by: tuple[str, ...]) -> None:
    grouping = [word for name in by for word in ("--by", name)]
    options = ("estimate", str(PLAN), *grouping, *AT, "--allow-not-priced", "--format")
    data = call(*options, "json").data
    table = call(*options, "csv").rows
    text = call(*options, "table").stdout
    total = data["total"]
    assert [total["credits"][name] for name in FIGURES] == [
        *("259802.6071616", "281819.4802496", "281819.4802496")
    ]
    exact = [Decimal(total["credits"][name]) for name in FIGURES]
    if by:
        assert sums([group["credits"] for group in data["groups"] if group["credits"]]) == exact
        assert sum(group["jobs"] for group in data["groups"]) == total["jobs"]
        for group, row in zip(data["groups"], table, strict=True):
            assert {name: group["key"][name] or "" for name in by} == {n: row[n] for n in by}
            if group["jobs"] == 0:  # nothing in it has a price, which is not a price of nothing
                assert group["credits"] is group["usd"] is None
                assert {row[name] for name in (*FIGURES, "maximum_usd")} == {""}
                continue
            assert [group["credits"][name] for name in FIGURES] == [row[name] for name in FIGURES]
            assert group["usd"]["maximum"] == row["maximum_usd"]
    else:
        assert data["groups"] == []
    assert sums([row for row in table if row["jobs"] != "0"]) == exact
    for figure in exact:
        assert f"{figure:,}" in text


@pytest.mark.parametrize(
    "options",
    [("--by", "team", "--by", "quality"), ("--by", "team,quality"), ("--by=team, quality",)],
)
def test_columns_to_group_by_may_be_repeated_or_listed(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    rows = (f"{ROW},ads", f"{FIVE},ads", "motion-control,1080p,video,12.4,film")
    name = plan(tmp_path, *rows, header=f"{HEADER},team")
    done = call("estimate", name, *options, *AT, "--format", "csv", cwd=tmp_path)
    assert [(row["team"], row["quality"], row["maximum"]) for row in done.rows] == [
        ("ads", "720p", "146.9664"),
        ("film", "1080p", "141.5939616"),
    ]


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("nope", "nope: is not a column to group by; it has model, quality"),
        ("quality,quality", "names a column twice"),
        ("", "is not a column to group by"),
        (",", "is not a column to group by"),
        ("seconds", "seconds: is not a column to group by"),
    ],
)
def test_a_column_that_is_not_there_is_refused(tmp_path: Path, by: str, message: str) -> None:
    done = call("estimate", plan(tmp_path, ROW), "--by", by, cwd=tmp_path)
    assert (done.status, done.stdout) == (7, "")
    assert message in done.said


def test_one_model_may_be_named_for_all_rows(tmp_path: Path) -> None:
    write(tmp_path, "plan.csv", "quality,orientation,seconds\n1080p,video,12.4\n720p,video,12.4\n")
    options = (*AT, "--format", "csv")
    done = call("estimate", "plan.csv", "--model", "motion-control", *options, cwd=tmp_path)
    assert (done.status, amounts(done)) == (0, ["247.7363616"])
    without = call("estimate", "plan.csv", *options, cwd=tmp_path)
    assert (without.status, without.stdout) == (7, "")
    assert "model: is missing" in without.said


def test_a_mistyped_model_for_all_rows_is_refused_by_name(tmp_path: Path) -> None:
    write(tmp_path, "plan.csv", "quality,orientation,seconds\n720p,video,12.4\n")
    done = call("estimate", "plan.csv", "--model", "motion-controll", cwd=tmp_path)
    assert done.status == 6
    assert "did you mean" in done.said + done.stdout


@pytest.mark.parametrize(("options", "expected"), [((), "244.944"), (("7.5",), "65.3184")])
def test_an_expected_length_moves_only_the_expected_figure(
    tmp_path: Path, options: tuple[str, ...], expected: str
) -> None:
    given = [f"--expected-seconds={seconds}" for seconds in options]
    name = plan(tmp_path, "motion-control,720p,video,")
    done = call("estimate", name, *given, *AT, "--format", "csv", cwd=tmp_path)
    (row,) = done.rows
    assert [row[name] for name in FIGURES] == ["24.4944", expected, "244.944"]
    assert "1 job of unknown length" in done.said


@pytest.mark.parametrize(
    ("options", "credits"),
    [
        (("--at", "2026-10-08"), "60.75"),
        (("--at", "2026-10-09"), "38.08"),
        (("--at", "2026-10-09", "--prices", "deal.toml"), "34.272"),
    ],
)
def test_the_day_and_the_price_files_decide(
    tmp_path: Path, options: tuple[str, ...], credits: str
) -> None:
    deal = (
        'name = "deal"\n[[overlay]]\nmodel = "happyhorse-*"\ndiscount = 0.1\n'
        'source = "contract"\nchecked = 2026-10-01\n'
    )
    write(tmp_path, "deal.toml", deal)
    name = plan(tmp_path, "happyhorse-1.0-text-to-video,720p,,5")
    done = call("estimate", name, *options, "--format", "csv", cwd=tmp_path)
    assert amounts(done) == [credits]


@pytest.mark.parametrize(
    "option",
    ["--at=nonsense", "--at=2026-10-10T08:00", "--expected-seconds=abc", "--price-book=nope"],
)
def test_a_wrong_option_is_refused_before_anything_is_priced(tmp_path: Path, option: str) -> None:
    done = call(
        *("estimate", plan(tmp_path, ROW), option, "--not-priced", "r.csv"),
        cwd=tmp_path,
    )
    assert (done.status, done.stdout) == (7, "")
    assert sorted(item.name for item in tmp_path.iterdir()) == ["plan.csv"]


# --- rows without a price ------------------------------------------------------------------------


def test_rows_without_a_price_are_listed_and_make_the_status_6() -> None:
    done = call("estimate", PLAN, *AT, "--format", "json")
    assert done.status == 6
    assert [item["row"] for item in done.data["not_priced"]] == [401, 1201, 2001]
    assert done.data["not_priced_rows"] == done.data["total"]["not_priced_jobs"] == 3
    assert sum(done.data["reasons"].values()) == 3
    assert done.data["total"]["credits"]["minimum"] == "259802.6071616"
    table = call("estimate", PLAN, *AT)
    assert table.status == 6
    for part in ("Not priced: 3 rows, 3 jobs", "│ 401 ", "│ 1201", "did you mean"):
        assert part in table.stdout


def test_they_may_be_allowed() -> None:
    done = call("estimate", PLAN, *AT, "--allow-not-priced", "--format", "csv")
    assert (done.status, done.rows[0]["not_priced_jobs"]) == (0, "3")
    assert "3 jobs in 3 rows without a price" in done.said


@pytest.mark.parametrize(
    "seconds",
    ["1e999", "NaN", "nan", "inf", "-5", "-0", "0", "2.9", "abc", '"12,4"', "9" * 30, "0x10", " "],
)
def test_an_odd_length_is_a_row_without_a_price_and_never_zero(
    tmp_path: Path, seconds: str
) -> None:
    name = plan(tmp_path, ROW, f"motion-control,720p,video,{seconds}")
    done = call("estimate", name, *AT, "--format", "json", cwd=tmp_path)
    assert done.status == 6
    assert [item["row"] for item in done.data["not_priced"]] == [2]
    assert done.data["total"]["credits"]["minimum"] == "106.1424"


@pytest.mark.parametrize("count", ["-1", "1.5", "x", "1e999", "NaN", "9" * 30])
def test_an_odd_count_is_a_row_without_a_price(tmp_path: Path, count: str) -> None:
    name = plan(tmp_path, f"{ROW},1", f"{ROW},{count}", header=f"{HEADER},count")
    done = call("estimate", name, *AT, "--format", "json", cwd=tmp_path)
    assert done.status == 6
    assert [item["row"] for item in done.data["not_priced"]] == [2]
    assert done.data["total"]["credits"]["maximum"] == "106.1424"


def test_only_unpriced_rows_make_zero_jobs(tmp_path: Path) -> None:
    name = plan(tmp_path, "nothing,720p,video,5", "nothing,720p,video,5")
    done = call("estimate", name, "--format", "json", cwd=tmp_path)
    assert (done.status, done.data["total"]["jobs"]) == (6, 0)
    assert done.data["reasons"] == {"unknown model 'nothing' in price book evolink": 2}


def test_the_file_of_rejects_has_every_row(tmp_path: Path) -> None:
    bad = [f"model-{number},720p,video,5" for number in range(250)]
    rows = [row for pair in zip(bad, [ROW] * 250, strict=True) for row in pair]
    done = call(
        *("estimate", plan(tmp_path, *rows), "--not-priced", "r.csv", "--format", "json"),
        cwd=tmp_path,
    )
    header, *lines = rejected(tmp_path / "r.csv")
    assert (done.status, header) == (6, ["row", "reason"])
    assert [line[0] for line in lines] == [str(number) for number in range(1, 501, 2)]
    assert lines[-1][1].startswith("unknown model 'model-249'")
    assert done.data["not_priced_rows"] == 250
    assert left_overs(tmp_path) == []


def test_the_file_of_rejects_is_there_even_if_empty(tmp_path: Path) -> None:
    done = call("estimate", plan(tmp_path, ROW), "--not-priced", "r.csv", cwd=tmp_path)
    assert done.status == 0
    assert rejected(tmp_path / "r.csv") == [["row", "reason"]]


@pytest.mark.parametrize("earlier", [None, "an earlier file\n"])
def test_an_error_half_way_leaves_the_file_of_rejects_as_it_was(
    tmp_path: Path, earlier: str | None
) -> None:
    rows = [{"model": "nothing", "seconds": "5"}] * 500_000
    lines = json.dumps(rows[0]) + "\n"
    write(tmp_path, "plan.jsonl", lines * len(rows) + "{not json\n")  # in the second part
    if earlier is not None:
        write(tmp_path, "r.csv", earlier)
    done = call("estimate", "plan.jsonl", "--not-priced", "r.csv", cwd=tmp_path)
    assert (done.status, done.stdout) == (7, "")
    assert "plan.jsonl, line 500001: is not JSON" in done.said
    assert left_overs(tmp_path) == []
    if earlier is None:
        assert not (tmp_path / "r.csv").exists()
    else:
        assert (tmp_path / "r.csv").read_text(encoding="utf-8") == earlier


def test_an_earlier_file_of_rejects_is_replaced_on_success(tmp_path: Path) -> None:
    write(tmp_path, "r.csv", "an earlier file\n" * 1000)
    name = plan(tmp_path, "nothing,720p,video,5")
    call("estimate", name, "--not-priced", "r.csv", cwd=tmp_path)
    assert [line[0] for line in rejected(tmp_path / "r.csv")] == ["row", "1"]


def test_a_folder_that_does_not_exist_is_one_line(tmp_path: Path) -> None:
    name = plan(tmp_path, ROW)
    done = call("estimate", name, "--not-priced", "nowhere/r.csv", cwd=tmp_path)
    assert done.status != 0
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "nowhere" in done.stderr


def test_the_message_about_it_names_the_file_that_was_asked_for(tmp_path: Path) -> None:
    name = plan(tmp_path, ROW)
    done = call("estimate", name, "--not-priced", "nowhere/r.csv", cwd=tmp_path)
    assert "nowhere/r.csv" in done.stderr
    assert "unfinished" not in done.stderr


@pytest.mark.parametrize("target", [".", "folder", "folder/.."])
def test_a_folder_as_the_file_of_rejects_is_the_users_mistake(tmp_path: Path, target: str) -> None:
    (tmp_path / "folder").mkdir()
    done = call("estimate", plan(tmp_path, ROW), "--not-priced", target, cwd=tmp_path)
    assert done.status != 0
    assert "defect" not in done.said
    assert len(done.stderr.splitlines()) == 1
    assert left_overs(tmp_path) == []


def test_the_plan_itself_is_not_overwritten_by_its_rejects(tmp_path: Path) -> None:
    name = plan(tmp_path, ROW)
    before = (tmp_path / name).read_bytes()
    done = call("estimate", name, "--not-priced", name, cwd=tmp_path)
    assert done.status != 0
    assert (tmp_path / name).read_bytes() == before


# --- files ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("plan.csv", "", "plan.csv: is empty"),
        ("plan.csv", HEADER + "\n", "plan.csv: has no rows"),
        ("plan.csv", HEADER, "plan.csv: has no rows"),
        ("plan.csv", HEADER.replace("seconds", "secnds") + f"\n{ROW}\n", "did you mean seconds?"),
        ("plan.csv", f"{HEADER},seconds\n{ROW},5\n", "stands twice in the header"),
        ("plan.csv", f"{HEADER},\n{ROW},5\n", "has no header"),
        ("plan.csv", "quality,seconds\n720p,5\n", "model: is missing"),
        ("plan.csv", (f"{HEADER}\n{ROW}\n").replace(",", ";"), "has ';' between the columns"),
        ("plan.csv", (f"{HEADER}\n{ROW}\n").replace(",", "\t"), "between the columns"),
        ("plan.csv", b"model,seconds\n\xff\xfe,5\n", "plan.csv"),
        ("plan.jsonl", "[1]\n", "line 1: is not an object"),
        ("plan.jsonl", '{"model":\n', "line 1: is not JSON"),
        ("plan.jsonl", '{"model": {"a": 1}}\n', "must be text or a number"),
        ("plan.jsonl", "\n\n", "has no rows"),
        ("plan.parquet", "not parquet at all", "cannot be read"),
        ("plan.txt", ROW, "a plan is .csv, .jsonl or .parquet"),
        ("plan", ROW, "a plan is .csv, .jsonl or .parquet"),
    ],
)
@pytest.mark.parametrize("format_", ["table", "json", "csv"])
def test_a_file_that_is_no_plan_is_refused_by_name(
    tmp_path: Path, name: str, content: str | bytes, message: str, format_: str
) -> None:
    write(tmp_path, name, content)
    done = call("estimate", name, "--format", format_, cwd=tmp_path)
    assert (done.status, done.stdout) == (7, "")
    assert name in done.said
    assert message in done.said


@pytest.mark.parametrize("name", ["nowhere.csv", ".", ""])
def test_a_plan_that_is_not_a_file_is_refused(tmp_path: Path, name: str) -> None:
    done = call("estimate", name, cwd=tmp_path)
    assert (done.status, done.stdout) == (7, "")
    assert "is not a file" in done.said


@pytest.mark.parametrize(
    "content",
    [
        f"\ufeff{HEADER}\n{ROW}\n",
        f"{HEADER}\r\n{ROW}\r\n",
        f"{HEADER}\n{ROW}",
        f"{HEADER}\n\n{ROW}\n\n",
        '"model","quality","orientation","seconds"\n"motion-control","720p","video","12.4"\n',
        "model,quality,character_orientation,reference_seconds\nmotion-control,720p,video,12.4\n",
        "seconds , orientation,quality,model\n12.4,video,720p,motion-control\n",
    ],
)
def test_harmless_differences_of_csv_files_change_nothing(tmp_path: Path, content: str) -> None:
    write(tmp_path, "plan.csv", content)
    done = call("estimate", "plan.csv", *AT, "--format", "csv", cwd=tmp_path)
    assert (done.status, amounts(done)) == (0, ["106.1424"])


LABELS = [
    "zoë",
    "日本語",
    "a\nb",
    'say "hi"',
    "a,b",
    "=SUM(A1)",
    "[bold]x[/bold]",
    "🎬",
]


@pytest.mark.parametrize("label", LABELS)
def test_labels_come_out_as_they_went_in(tmp_path: Path, label: str) -> None:
    with (tmp_path / "plan.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*HEADER.split(","), "team"])
        writer.writerow([*ROW.split(","), label])
        writer.writerow([*FIVE.split(","), ""])
    options = ("estimate", "plan.csv", "--by", "team", *AT, "--format")
    groups: list[Any] = call(*options, "json", cwd=tmp_path).data["groups"]
    assert [group["key"]["team"] for group in groups] == [label, None]
    rows = call(*options, "csv", cwd=tmp_path).rows
    assert [(row["team"], row["maximum"]) for row in rows] == [(label, "106.1424"), ("", "40.824")]
    table = call(*options, "table", cwd=tmp_path)
    assert table.status == 0
    for line in label.split("\n"):
        assert line in table.stdout


def test_a_label_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    name = plan(tmp_path, f"{ROW},a\x1b[31mred", header=f"{HEADER},team")
    done = run("estimate", name, "--by", "team", *AT, cwd=tmp_path)
    assert done.status == 0
    assert "\x1b" not in done.stdout


def test_the_total_row_is_told_apart_from_a_team_named_total(tmp_path: Path) -> None:
    name = plan(tmp_path, f"{ROW},total", header=f"{HEADER},team")
    done = call("estimate", name, "--by", "team", *AT, "--format", "csv", cwd=tmp_path)
    assert [row["team"] for row in done.rows] == ["total"]

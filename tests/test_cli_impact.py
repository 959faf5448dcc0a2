"""`kling-ledger prices impact`: the same jobs under two price books, as a reader sees it."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest
import rule_documents as docs
from command import COMMAND, DEMO, call, environment, write

IMPACT = ("prices", "impact", "evolink", "evolink-rules")
AT = ("--at", "2026-10-10")
PLAN = """model,quality,orientation,seconds,count,team
motion-control,1080p,video,12.4,10,ads
motion-control,720p,video,10,1,film
custom-element,,,,5,film
"""
TOO_SHORT = "motion-control,720p,video,2,3,film\n"


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    return write(tmp_path, "plan.csv", PLAN)


def test_the_table_says_what_both_books_cost_and_where_the_difference_comes_from(
    plan: Path,
) -> None:
    done = call(*IMPACT, "--jobs", "plan.csv", *AT, cwd=plan.parent)
    assert (done.status, done.stderr) == (0, "")
    costs, effects = done.stdout.split("Where the difference comes from")
    # 10 × 141.5939616 + 81.648 and 10 × 130.7021 + 81.648; 5 × 1 and 5 × 0.001.
    assert costs.startswith("evolink and evolink-rules on 2026-10-10, 16 jobs of plan.csv\n")
    assert cells(costs) == [
        ["model", "jobs", "evolink", "evolink-rules", "difference", "change"],
        ["kling-custom-element", "5", "5.000000", "0.005", "-4.995000", "-99.9 %"],
        ["kling-v3-motion-control", "11", "1,497.587616", "1,388.669", "-108.918616", "-7.3 %"],
        ["total", "16", "1,502.587616", "1,388.674", "-113.913616", "-7.6 %"],
    ]
    rounded = "charges rounded to 0.0001 credit instead of to 0.00000001 credit"
    nearest = "seconds rounded to the nearest instead of up"
    assert cells(effects) == [
        ["model", "effect", "credits", "what differs"],
        ["kling-custom-element", "rate", "-4.995000", "0.001 instead of 1 credits per call"],
        ["kling-v3-motion-control", "rounding", "-108.918616", nearest],
        ["", "", "", rounded],
        ["total", "rate", "-4.995000", ""],
        ["total", "rounding", "-108.918616", ""],
    ]


def cells(table: str) -> list[list[str]]:
    """The texts of a table's rows, its header first."""
    lines = [line.replace("┃", "│") for line in table.splitlines()]
    return [
        [cell.strip() for cell in line[1:-1].split("│")] for line in lines if line.startswith("│")
    ]


def test_without_a_difference_there_is_nothing_to_explain(plan: Path) -> None:
    done = call("prices", "impact", "evolink", "evolink", "--jobs", plan, *AT)
    assert done.status == 0
    assert "evolink (A)" in done.stdout
    assert "Where the difference comes from" not in done.stdout


def test_json_csv_and_table_have_the_same_figures(plan: Path) -> None:
    options = (*IMPACT, "--jobs", plan, *AT)
    rows = call(*options, "--format", "csv").rows
    data = call(*options, "--format", "json").data
    assert (data["first"], data["second"]) == ("evolink", "evolink-rules")
    assert data["at"] == "2026-10-10T00:00:00Z"
    assert len(rows) == len(data["groups"]) == 2
    for row, group in zip(rows, data["groups"], strict=True):
        assert row["model"] == group["key"]["model"]
        assert (row["first_book"], row["second_book"]) == ("evolink", "evolink-rules")
        for name in ("jobs", "first_credits", "second_credits", "difference", "change_percent"):
            assert row[name] == str(group[name])
        parts = {name: effect["credits"] for name, effect in group["effects"].items()}
        assert {name: row[name] for name in parts} == parts
        assert sum(map(Decimal, parts.values())) == Decimal(group["difference"])
    assert data["total"]["difference"] == "-113.913616"
    assert data["total"]["key"] == {}
    rounding = data["groups"][1]["effects"]["rounding"]
    assert rounding["what_differs"][0] == "seconds rounded to the nearest instead of up"


def test_labels_may_be_grouped_by(plan: Path) -> None:
    done = call(*IMPACT, "--jobs", plan, *AT, "--by", "team,orientation", "--format", "csv")
    assert [
        (row["team"], row["character_orientation"], row["jobs"], row["difference"])
        for row in done.rows
    ] == [
        ("ads", "video", "10", "-108.918616"),
        ("film", "video", "1", "0"),
        ("film", "", "5", "-4.995"),
    ]


def test_a_label_with_the_name_of_a_figure_is_told_apart(tmp_path: Path) -> None:
    write(tmp_path, "plan.csv", "model,rate\ncustom-element,high\n")
    done = call(*IMPACT, "--jobs", tmp_path / "plan.csv", *AT, "--by", "rate", "--format", "csv")
    [row] = done.rows
    assert (row["label_rate"], row["rate"]) == ("high", "-0.999")


def test_jobs_without_a_price_end_with_6_unless_that_is_allowed(plan: Path) -> None:
    plan.write_text(PLAN + TOO_SHORT)
    options = (*IMPACT, "--jobs", plan, *AT)
    done = call(*options)
    assert done.status == 6
    assert "Not priced: 3 jobs" in done.stdout
    assert "is 2 s; the provider's shortest reference clip is 3 s" in done.stdout
    assert "3 jobs without a price under one of the two: in none of the amounts" in done.said
    assert call(*options, "--allow-not-priced").status == 0
    # The amounts are those of the jobs that both can price.
    data = call(*options, "--format", "json").data
    assert data["total"]["difference"] == "-113.913616"
    assert data["total"]["not_priced_jobs"] == 3


def test_a_model_that_nobody_prices_has_no_amounts(plan: Path) -> None:
    plan.write_text("model\nnope\ncustom-element\n")
    done = call(*IMPACT, "--jobs", plan, *AT, "--format", "csv")
    assert done.status == 6
    element, nope = done.rows
    assert (element["first_credits"], element["not_priced_jobs"]) == ("1", "0")
    assert (nope["first_credits"], nope["difference"], nope["not_priced_jobs"]) == ("", "", "1")
    table = call(*IMPACT, "--jobs", plan, *AT).stdout
    assert re.search(r"│ nope +│ +0 │ +│ +│ +│ +│ +1 │", table)


def test_a_change_too_small_for_a_decimal_is_not_called_nothing(plan: Path) -> None:
    # 130.7021184 and 130.7021: less than a twentieth of a tenth of a percent.
    plan.write_text("model,quality,orientation,seconds\nmotion-control,1080p,video,11.6\n")
    done = call(*IMPACT, "--jobs", plan, *AT)
    assert re.search(r"│ +-0\.0000184 │ +≈ 0 % │", done.stdout)


def test_files_stand_for_price_books(plan: Path) -> None:
    overlay = """name = "deal"
[[overlay]]
model = "kling-v3-motion-control"
smallest_charge = 100
source = "contract"
checked = 2026-10-01
"""
    write(plan.parent, "deal.toml", overlay)
    done = call(
        "prices", "impact", "evolink", "deal.toml", "--jobs", "plan.csv", *AT, cwd=plan.parent
    )
    # 81.648 of the one job of 10 s at 720p become 100.
    assert "evolink and evolink+deal on 2026-10-10" in done.stdout
    assert re.search(r"minimum +│ +18\.352 │ smallest charge 100 instead of none", done.stdout)


def test_a_column_that_is_an_option_under_published_rules_counts(tmp_path: Path) -> None:
    """Pictures at 1 credit and then at 2; the plan has 3 jobs of 4 pictures."""
    count = docs.number_parameter("image_count", "integer", minimum="1", default="1")
    for name, uc in (("old", "10000"), ("new", "20000")):
        parts = docs.component(docs.variable("image_count"), uc=uc)
        model = docs.model(parts, parameters=[count], modality="image")
        write(tmp_path, f"{name}.json", json.dumps(docs.document(model)))
    write(tmp_path, "plan.csv", "model,image_count,count\nclip,4,3\nclip,0,1\n")
    files = ("prices", "impact", "old.json", "new.json", "--jobs", "plan.csv", *AT)
    done = call(*files, "--by", "image_count", "--format", "csv", cwd=tmp_path)
    assert done.status == 6
    assert [
        (row["image_count"], row["first_credits"], row["second_credits"], row["not_priced_jobs"])
        for row in done.rows
    ] == [("0", "", "", "1"), ("4", "12", "24", "0")]
    table = call(*files, cwd=tmp_path).stdout
    assert "image_count must be an integer of at least 1, not '0'" in table


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give --jobs or --book, one of them"),
        (["--jobs", "plan.csv", "--book", "main"], "give --jobs or --book, one of them"),
        (["--book", "main", "--model", "motion-control"], "belong to --jobs"),
        (["--book", "main", "--expected-seconds", "8"], "belong to --jobs"),
    ],
)
def test_whose_jobs_is_asked_for_in_words(arguments: list[str], said: str) -> None:
    done = call(*IMPACT, *arguments)
    assert done.status == 2
    assert said in done.said


def test_the_variable_for_a_book_does_not_get_into_the_way_of_a_plan(plan: Path) -> None:
    assert call(*IMPACT, "--jobs", plan, *AT, env={"KLING_LEDGER_BOOK": "main"}).status == 0


def test_the_jobs_of_a_book(tmp_path: Path) -> None:
    def type_(*words: str) -> None:
        assert call(*words, cwd=tmp_path).status == 0, words

    nothing = call(*IMPACT, "--book", "main", cwd=tmp_path)
    assert nothing.status == 8
    request = write(
        tmp_path,
        "request.json",
        '{"model": "kling-v3-motion-control", "quality": "1080p", "image_urls":'
        ' ["https://x.example/a.png"], "video_urls": ["https://x.example/a.mp4"],'
        ' "model_params": {"character_orientation": "video"}}',
    )
    type_("wallet", "top-up", "studio", "2000", "--key", "invoice-1")
    empty = call(*IMPACT, "--book", "main", cwd=tmp_path)
    assert empty.status == 0
    assert "no job was charged from a quote: there is nothing to compare" in empty.said
    for job in ("one", "two", "three"):
        type_("reserve", "studio", "--request", request.name, "--key", job, "--label", "team=ads")
    type_("charge", "one", "--seconds", "12.4")
    type_("charge", "two", "50")
    type_("release", "three")
    done = call(*IMPACT, "--book", "main", "--at", "2026-10-10", "--by", "team", cwd=tmp_path)
    assert done.status == 0, done.stderr
    assert "on 2026-10-10, 1 job of book main" in done.stdout
    assert "-10.8918616" in done.stdout
    assert "Not comparable: 1 job" in done.stdout
    assert "1 job of the book cannot be compared" in done.said
    own = call(*IMPACT, "--book", "main", cwd=tmp_path)
    assert "at the reserve of each job, 1 job of book main" in own.stdout
    data = call(*IMPACT, "--book", "main", "--format", "json", cwd=tmp_path).data
    assert data["at"] is None
    assert data["not_comparable"] == {"charged by an amount, not by its length": 1}


def test_a_terminal_of_100_columns_shows_every_amount() -> None:
    main, follower = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, *IMPACT, "--jobs", "plan.csv", *AT],
        cwd=DEMO,
        stdout=follower,
        stderr=subprocess.DEVNULL,
        env=environment({"COLUMNS": "100", "NO_COLOR": "1"}),
    )
    os.close(follower)
    shown = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(main)
    assert process.wait(60) == 6
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()
    assert max(map(len, lines)) <= 100
    text = "\n".join(lines)
    for amount in (
        "281,819.4802496",
        "271,739.1632",
        "-10,080.3170496",
        "-9,892.5050496",
        "-3.6 %",
    ):
        assert amount in text

"""`kling-ledger prices …`: looking at the dated prices, and at one's own files."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from command import SCHEMAS, call, write

TODAY = ("--on", "2026-11-23")
HORSE = "happyhorse-1.0-text-to-video"

DEAL = """name = "{name}"
[[overlay]]
model = "kling-v3-motion-control"
{figure}
source = "contract"
checked = 2026-11-01
"""
SCHEMA_NAMES = sorted(path.name.removesuffix(".v1.json") for path in SCHEMAS.glob("*.v1.json"))


def deal(folder: Path, name: str = "deal", figure: str = "discount = 0.05") -> str:
    return write(folder, f"{name}.toml", DEAL.format(name=name, figure=figure)).name


# --- list ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on", "credits", "usd"),
    [
        ("2026-04-20", "8.1648 – 10.8918432", "0.1134 – 0.1513"),  # 72 credits a dollar
        ("2026-04-21", "8.1648 – 10.8918432", "0.1201 – 0.1602"),  # 68
        ("2026-11-23", "8.1648 – 10.8918432", "0.1201 – 0.1602"),
    ],
)
def test_the_list_shows_the_prices_of_a_day(on: str, credits: str, usd: str) -> None:
    done = call("prices", "list", "--on", on, "--format", "csv")
    rows = {row["model"]: row for row in done.rows}
    motion = rows["kling-v3-motion-control"]
    assert done.status == 0
    assert f"{motion['lowest']} – {motion['highest']}" == credits
    exact = [Decimal(motion[name]) for name in ("lowest_usd", "highest_usd")]
    assert " – ".join(f"{value:.4f}" for value in exact) == usd


@pytest.mark.parametrize(
    ("on", "price"),
    [
        ("2026-04-20", None),
        ("2026-04-27", "12.15 – 21.6027"),
        ("2026-10-08", "12.15 – 21.6027"),
        ("2026-10-08T20:40:06.503Z", "12.15 – 21.6027"),
        ("2026-10-08T20:40:06.504Z", "7.616 – 13.09952"),
        ("2026-10-09", "7.616 – 13.09952"),
    ],
)
def test_the_list_shows_a_model_only_once_it_has_a_price(on: str, price: str | None) -> None:
    rows = call("prices", "list", "--on", on, "--format", "csv").rows
    spans = {row["model"]: f"{row['lowest']} – {row['highest']}" for row in rows}
    assert spans.get(HORSE) == price


def test_the_list_agrees_with_its_json() -> None:
    rows = call("prices", "list", *TODAY, "--format", "csv").rows
    models = call("prices", "list", *TODAY, "--format", "json").data["models"]
    assert len(rows) == len(models) == 12
    for row, model in zip(rows, models, strict=True):
        assert (row["model"], row["version"]) == (model["model"], model["version"])
        prices = sorted(Decimal(item["unit_price"]) for item in model["prices"])
        assert (row["lowest"], row["highest"]) == (str(prices[0]), str(prices[-1]))


@pytest.mark.parametrize("book", ["evolink", "evolink-rules", "evolink-panel"])
def test_every_book_can_be_listed(book: str) -> None:
    done = call("prices", "list", "--price-book", book, *TODAY)
    assert done.status == 0
    assert f"({book})" in done.stdout
    assert "kling-v3-motion-control" in done.stdout


def test_the_list_before_the_first_price_is_empty() -> None:
    done = call("prices", "list", "--on", "2026-02-20", "--format", "json")
    assert (done.status, done.data["models"]) == (0, [])


def test_the_list_has_the_overlays_applied(tmp_path: Path) -> None:
    name = deal(tmp_path, figure="discount = 0.5")
    done = call("prices", "list", "--prices", name, *TODAY, "--format", "csv", cwd=tmp_path)
    rows = {row["model"]: (row["lowest"], row["highest"]) for row in done.rows}
    assert rows["kling-v3-motion-control"] == ("4.0824", "5.4459216")
    assert rows["kling-custom-element"] == ("1", "1")


# --- show ----------------------------------------------------------------------------------------


def test_showing_a_model_shows_all_its_prices() -> None:
    done = call("prices", "show", HORSE, "--format", "csv")
    assert [(row["effective_from"][:10], row["options"], row["credits"]) for row in done.rows] == [
        ("2026-04-27", "720p", "12.15"),
        ("2026-04-27", "1080p", "21.6027"),
        ("2026-10-08", "720p", "7.616"),
        ("2026-10-08", "1080p", "13.09952"),
    ]


@pytest.mark.parametrize(
    ("on", "credits"), [("2026-10-08", ["12.15", "21.6027"]), ("2026-10-09", ["7.616", "13.09952"])]
)
def test_showing_a_day_shows_only_its_price(on: str, credits: list[str]) -> None:
    rows = call("prices", "show", HORSE, "--on", on, "--format", "csv").rows
    assert [row["credits"] for row in rows] == credits


@pytest.mark.parametrize("name", ["motion-control", "kling-v3-motion-control"])
def test_the_table_says_where_a_price_comes_from(name: str) -> None:
    done = call("prices", "show", name, *TODAY)
    for part in (
        "Kling 3.0 Motion Control (kling-v3-motion-control)",
        "10.8918432",
        "up to whole seconds, at least 3 s",
        "settles on: output",
        "source: https://evolink.ai/kling-v3-motion-control, checked 2026-11-22",
        "version: evolink/kling-v3-motion-control@2026-03-01",
    ):
        assert part in done.stdout


def test_a_day_before_the_first_price_has_none() -> None:
    done = call("prices", "show", "motion-control", "--on", "2026-02-28")
    assert (done.status, done.stdout) == (6, "")
    assert "the first one starts at 2026-03-01" in done.said


def test_a_mistyped_model_is_refused_with_the_nearest() -> None:
    done = call("prices", "show", "motion-controll")
    assert (done.status, done.stdout) == (6, "")
    assert "did you mean motion-control" in done.said


@pytest.mark.parametrize(
    "command", [("list",), ("show", "element"), ("check",), ("diff", "a", "b")]
)
@pytest.mark.parametrize("on", ["nonsense", "2026-10-10T08:00", "2026-02-30", ""])
def test_what_is_no_moment_is_refused(command: tuple[str, ...], on: str) -> None:
    done = call("prices", *command, "--on", on)
    assert (done.status, done.stdout) == (7, "")
    assert "is not a date" in done.said or "has no time zone" in done.said


# --- check ---------------------------------------------------------------------------------------


def test_checking_a_fresh_book_finds_nothing() -> None:
    done = call("prices", "check", *TODAY)
    assert (done.status, done.stdout) == (0, "")
    assert "12 models, nothing to report" in done.said
    assert call("prices", "check", *TODAY, "--format", "json").data["findings"] == []


def test_checking_finds_stale_prices_and_rates() -> None:
    done = call("prices", "check", "--days", "10", "--on", "2026-12-10", "--format", "json")
    assert done.status == 6
    findings = {item["where"].partition("@")[0]: item for item in done.data["findings"]}
    assert {item["kind"] for item in findings.values()} == {"stale"}
    assert findings["evolink/kling-v3-motion-control"]["problem"] == "last checked 18 days ago"
    assert findings[f"evolink/{HORSE}"]["problem"] == "last checked 61 days ago"
    assert "exchange rate USD from 2026-04-21" in findings


@pytest.mark.parametrize(("days", "stale"), [("17", True), ("18", False)])
def test_a_price_is_stale_after_more_than_so_many_days(days: str, stale: bool) -> None:
    done = call("prices", "check", "--days", days, "--on", "2026-12-10", "--format", "csv")
    found = [row for row in done.rows if "kling-v3-motion-control" in row["where"]]
    assert bool(found) is stale


def test_checking_finds_overlays_that_collide(tmp_path: Path) -> None:
    one, two = deal(tmp_path), deal(tmp_path, "other", "discount = 0.1")
    done = call("prices", "check", one, two, *TODAY, "--format", "csv", cwd=tmp_path)
    assert done.status == 6
    assert [(row["kind"], row["where"]) for row in done.rows] == [
        ("overlapping", "deal, overlay.0")
    ]
    assert "set again by other, overlay.0, which wins" in done.rows[0]["problem"]


def test_overlays_of_different_figures_do_not_collide(tmp_path: Path) -> None:
    one, two = deal(tmp_path), deal(tmp_path, "other", "rate = 4")
    assert call("prices", "check", one, two, *TODAY, cwd=tmp_path).status == 0


def test_overlays_that_meet_by_a_pattern_collide_too(tmp_path: Path) -> None:
    one = deal(tmp_path)
    wide = DEAL.format(name="wide", figure="discount = 0.1").replace(
        "kling-v3-motion-control", "kling-*"
    )
    write(tmp_path, "wide.toml", wide)
    done = call("prices", "check", one, "wide.toml", *TODAY, "--format", "csv", cwd=tmp_path)
    assert (done.status, [row["kind"] for row in done.rows]) == (6, ["overlapping"])


@pytest.mark.parametrize(
    ("on", "status"), [("2026-11-24", 0), ("2026-11-25", 6), ("2026-11-26", 6)]
)
def test_checking_finds_overlays_that_have_ended(tmp_path: Path, on: str, status: int) -> None:
    name = deal(tmp_path, figure="rate = 4\neffective_until = 2026-11-25T00:00:00Z")
    done = call("prices", "check", name, "--on", on, "--format", "json", cwd=tmp_path)
    assert done.status == status
    assert [item["kind"] for item in done.data["findings"]] == ["ended"] * (status == 6)


def test_an_invalid_file_is_refused_with_every_fault(tmp_path: Path) -> None:
    figures = "discount = 1.5\nrate = -1\ndiscont = 0.1\neffective_from = 2026-01-01T00:00:00"
    name = deal(tmp_path, figure=figures)
    done = call("prices", "check", name, cwd=tmp_path)
    assert (done.status, done.stdout) == (7, "")
    assert "deal.toml: 4 faults" in done.said
    for field in ("discount", "rate", "discont", "effective_from"):
        assert f"- overlay.0.{field}: " in done.said


@pytest.mark.parametrize("days", ["-1", "ten", "1.5", ""])
def test_days_must_be_a_whole_number(days: str) -> None:
    done = call("prices", "check", f"--days={days}")
    assert (done.status, done.stdout) == (2, "")
    assert "--days" in done.said


# --- diff ----------------------------------------------------------------------------------------


def test_the_rules_round_otherwise_and_have_a_smallest_charge() -> None:
    done = call("prices", "diff", "evolink", "evolink-rules", *TODAY, "--format", "json")
    found = {(item["model"], item["what"]): item for item in done.data["differences"]}
    motion, element = "kling-v3-motion-control", "kling-custom-element"
    rounding = found[motion, "seconds are rounded"]
    assert (done.status, rounding["first"], rounding["second"]) == (0, "up", "to the nearest")
    smallest = found[motion, "smallest charge"]
    assert (smallest["first"], smallest["second"]) == ("0", "24.4944")
    price = found[element, "credits per call: any options"]
    assert (price["first"], price["second"], price["change"]) == ("1", "0.001", "-99.9 %")
    assert {model for model, _ in found} == {motion, element}


def test_the_other_way_round_the_figures_change_sides() -> None:
    there = call("prices", "diff", "evolink", "evolink-rules", *TODAY, "--format", "json").data
    back = call("prices", "diff", "evolink-rules", "evolink", *TODAY, "--format", "json").data
    forth = {(i["model"], i["what"]): (i["first"], i["second"]) for i in there["differences"]}
    assert forth == {
        (i["model"], i["what"]): (i["second"], i["first"]) for i in back["differences"]
    }


def test_a_file_is_compared_with_the_book_it_is_laid_over(tmp_path: Path) -> None:
    name = deal(tmp_path)
    done = call("prices", "diff", "evolink", name, *TODAY, "--format", "csv", cwd=tmp_path)
    assert {(row["model"], row["change"]) for row in done.rows} == {
        ("kling-v3-motion-control", "-5 %")
    }
    assert {row["evolink+deal"] for row in done.rows} == {"7.75656", "10.34725104"}


def test_two_files_are_compared(tmp_path: Path) -> None:
    one, two = deal(tmp_path), deal(tmp_path, "other", "discount = 0.24")
    done = call("prices", "diff", one, two, *TODAY, "--format", "json", cwd=tmp_path)
    assert {item["change"] for item in done.data["differences"]} == {"-20 %"}


def test_a_book_does_not_differ_from_itself() -> None:
    done = call("prices", "diff", "evolink", "evolink", *TODAY)
    assert (done.status, done.stdout) == (0, "")
    assert "do not differ on 2026-11-23" in done.said


@pytest.mark.parametrize("names", [("evolink", "evolinkk"), ("nowhere.toml", "evolink")])
def test_what_cannot_be_compared_is_refused_by_name(tmp_path: Path, names: tuple[str, str]) -> None:
    done = call("prices", "diff", *names, cwd=tmp_path)
    assert (done.status, done.stdout) == (7, "")
    assert "evolinkk" in done.said or "nowhere.toml" in done.said


# --- schema --------------------------------------------------------------------------------------


def test_the_schemas_are_listed() -> None:
    assert call("prices", "schema").stdout.split() == SCHEMA_NAMES
    assert {"quote", "estimate", "prices", "price-file"} <= set(SCHEMA_NAMES)


@pytest.mark.parametrize("name", SCHEMA_NAMES)
def test_a_schema_is_printed_exactly_as_it_is_shipped(name: str) -> None:
    done = call("prices", "schema", name)
    assert (done.status, done.stderr) == (0, "")
    assert done.stdout.encode() == (SCHEMAS / f"{name}.v1.json").read_bytes()


@pytest.mark.parametrize(
    ("name", "hint"), [("qoute", "did you mean quote?"), ("zzz", "known are applied, balance, ")]
)
def test_an_unknown_schema_is_refused_with_the_nearest(name: str, hint: str) -> None:
    done = call("prices", "schema", name)
    assert (done.status, done.stdout) == (2, "")
    assert hint in done.said


DOUBTFUL = """model = "kling-v3-motion-control"
[[price]]
effective_from = 2026-11-01T00:00:00Z
source = "ours"
checked = 2026-11-01
unit = "second"
rate = 0
[[price.multiplier]]
options = ["quality"]
table = { "720p" = 1, "1080p" = 1 }
[[price.channel]]
name = "backup"
"""


def test_checking_finds_what_is_allowed_and_surely_not_meant(tmp_path: Path) -> None:
    write(tmp_path, "mine.toml", DOUBTFUL)
    done = call("prices", "check", "mine.toml", *TODAY, "--format", "csv", cwd=tmp_path)
    assert done.status == 6
    assert [row["kind"] for row in done.rows] == ["free", "no source", "lost cap"]


def test_checking_finds_limits_that_nobody_looked_at_for_long() -> None:
    done = call("prices", "check", "--on", "2027-11-23", "--format", "csv")
    assert done.status == 6
    assert "limits of kling-v3-motion-control" in [row["where"] for row in done.rows]


def test_a_label_with_the_name_of_a_figure_has_a_column_of_its_own(tmp_path: Path) -> None:
    write(tmp_path, "plan.csv", "model,jobs\nelement,many\n")
    done = call("estimate", "plan.csv", "--by", "jobs", "--format", "csv", cwd=tmp_path)
    assert (done.rows[0]["label_jobs"], done.rows[0]["jobs"]) == ("many", "1")

"""The provider's pricing rules on the command line: imported, listed, compared, priced with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command import DEMO, Done, call, write
from rule_documents import component, constant, document, model, motion_control

RULES = DEMO / "rules.json"
ON = ("--on", "2026-11-01")
QUOTE = ("quote", "motion-control", "--orientation", "video", "--at", "2026-11-01")


def kept(folder: Path, *args: str | Path) -> Done:
    """A command of a user whose imported books stand in a folder of this test."""
    return call(*args, cwd=folder, env={"KLING_LEDGER_PRICE_DIR": str(folder / "books")})


def rules(folder: Path, name: str = "rules.json", **meta: Any) -> str:
    text = json.dumps(document(motion_control(), **meta))
    return write(folder, name, text).name


def test_rules_are_imported_listed_and_priced_with(tmp_path: Path) -> None:
    done = kept(tmp_path, "prices", "import", rules(tmp_path), "--name", "mine")
    assert done.status == 0
    assert "mine" in done.stdout
    again = kept(tmp_path, "prices", "import", "rules.json", "--name", "mine")
    assert "mine was kept before, with the same content" in again.said
    listed = kept(tmp_path, "prices", "books", "--format", "csv").rows
    assert [(row["name"], row["captured_at"], row["source"]) for row in listed] == [
        ("mine", "2026-10-10T06:52:34.303000Z", "rules.json")
    ]
    quoted = kept(tmp_path, *QUOTE, "--seconds", "12.4", "--price-book", "mine", "--format", "csv")
    assert quoted.rows[0]["maximum"] == "97.9776"  # 12 s x 8.1648


def test_where_a_document_was_read_can_be_said(tmp_path: Path) -> None:
    done = kept(tmp_path, "prices", "import", rules(tmp_path), "--name", "mine", "--source",
                "https://example.com/rules", "--format", "json")  # fmt: skip
    [book] = done.data["books"]
    assert book["source"] == "https://example.com/rules"
    assert Path(book["path"]).read_bytes() == (tmp_path / "rules.json").read_bytes()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("evolink", "is the name of a bundled book"),
        ("a/b", "must have letters, digits, dots"),
        ("mine", "is kept already"),
    ],
)
def test_a_name_that_is_taken_or_is_none_is_refused(tmp_path: Path, name: str, said: str) -> None:
    kept(tmp_path, "prices", "import", rules(tmp_path), "--name", "mine")
    newer = rules(tmp_path, "newer.json", updated_at="2026-11-10T00:00:00Z")
    done = kept(tmp_path, "prices", "import", newer, "--name", name)
    assert done.status == 7
    assert said in done.said
    assert len(kept(tmp_path, "prices", "books", "--format", "csv").rows) == 1


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{}", "meta"),
        ("[1, 2", "is not JSON"),
        (b"\xff\xfe", "UTF-8"),
        ("", "is not JSON"),
        ('{"meta": 1, "meta": 2}', "twice"),
    ],
)
def test_a_file_that_is_no_document_is_refused_with_its_faults(
    tmp_path: Path, content: str | bytes, said: str
) -> None:
    write(tmp_path, "bad.json", content)
    for command in (
        ("prices", "import", "bad.json", "--name", "x"),
        (*QUOTE, "--prices", "bad.json"),
    ):
        done = kept(tmp_path, *command)
        assert done.status == 7
        assert "bad.json" in done.said
        assert said in done.said
        assert "Traceback" not in done.stderr


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = kept(tmp_path, "prices", "import", "gone.json", "--name", "x")
    assert (done.status, "gone.json" in done.said) == (7, True)


def test_nothing_imported_is_said(tmp_path: Path) -> None:
    assert "no book was imported" in kept(tmp_path, "prices", "books").said
    assert kept(tmp_path, "prices", "books", "--format", "json").data == {"books": []}


def test_warnings_of_a_document_are_said(tmp_path: Path) -> None:
    text = json.dumps(document(model(component(constant("1"), colour="red"))))
    write(tmp_path, "rules.json", text)
    done = kept(tmp_path, "prices", "import", "rules.json", "--name", "x")
    assert done.status == 0
    assert "colour" in done.said


def test_page_and_rules_are_compared_model_by_model() -> None:
    rows = call("prices", "diff", "evolink", RULES, *ON, "--format", "csv").rows
    told = {(row["model"], row["what"]): (row["evolink"], row["rules-2026-10-10"]) for row in rows}
    assert told["kling-v3-motion-control", "seconds are rounded"] == ("up", "to the nearest")
    assert told["kling-v3-motion-control", "smallest charge"] == ("0", "24.4944")
    assert told["kling-custom-element", "credits per call: any options"] == ("1", "0.001")
    assert told["krea-2-turbo", "priced"] == ("–", "yes")
    assert not [key for key in told if key[0] == "kling-v3-text-to-video"]


def test_parameters_without_a_flag_are_set() -> None:
    done = call("quote", "krea-2-turbo", "--set", "quality=2K", "--prices", RULES, "--at",
                "2026-11-01", "--format", "csv")  # fmt: skip
    assert done.rows[0]["maximum"] == "1.8"


@pytest.mark.parametrize(
    ("args", "status", "said"),
    [
        (("krea-2-turbo", "--set", "quality"), 2, "--set takes NAME=VALUE"),
        (("krea-2-turbo", "--set", "quality=4K"), 6, "quality must be one of 1K, 2K, not '4K'"),
        (("motion-control", "--orientation", "video", "--set", "x=1"), 7,
         "x: is not an option of this model"),
        (("krea-2-turb",), 6, "did you mean krea-2-turbo?"),
    ],
)  # fmt: skip
def test_what_a_rule_does_not_take_is_said(args: tuple[str, ...], status: int, said: str) -> None:
    done = call("quote", *args, "--prices", RULES, "--at", "2026-11-01")
    assert done.status == status
    assert said in done.said


def test_a_body_s_options_are_not_set_from_outside(tmp_path: Path) -> None:
    write(tmp_path, "body.json", '{"model": "krea-2-turbo"}')
    done = call("quote", "body.json", "--set", "quality=2K", "--prices", RULES, cwd=tmp_path)
    assert done.status == 2
    assert "--set: the options of a request body stand in the body" in done.said


def test_a_formula_is_listed_and_shown() -> None:
    listed = call("prices", "list", "--prices", RULES, *ON, "--format", "csv").rows
    assert {row["model"]: (row["lowest"], row["highest"]) for row in listed}["krea-2-turbo"] == (
        "0.45",
        "1.8",
    )
    shown = call("prices", "show", "krea-2-turbo", "--prices", RULES, *ON)
    assert "if quality = 2K" in shown.stdout
    early = call("prices", "show", "krea-2-turbo", "--prices", RULES, "--on", "2026-07-01")
    assert (early.status, "the first one starts at 2026-07-04" in early.said) == (6, True)


def test_prices_check_looks_at_rules_too() -> None:
    done = call("prices", "check", RULES, "--on", "2026-11-01")
    assert (done.status, done.stdout) == (0, "")
    # Captured on 2026-10-10: 183 days later every price of it is old.
    done = call("prices", "check", RULES, "--on", "2027-04-11", "--format", "csv")
    stale = {row["where"].partition("@")[0] for row in done.rows if row["kind"] == "stale"}
    assert (done.status, "rules-2026-10-10/krea-2-turbo" in stale) == (6, True)

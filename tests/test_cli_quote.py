"""`kling-ledger quote`, from a model and options, from bodies, and from real clips.

Worked values: 720p costs 8.1648 credits a second, 1080p 8.1648 × 1.334 = 10.8918432. A clip of
12.4 s is billed as 13 s: 13 × 8.1648 = 106.1424 and 13 × 10.8918432 = 141.5939616.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from command import DEMO, Done, call, run, write

AT = ("--at", "2026-10-10")
MOTION = ("quote", "motion-control", "--orientation", "video")
FIVE = (*MOTION, "--seconds", "5", *AT)
"""5 × 8.1648 = 40.824 credits."""
CLIP = DEMO / "dance.mp4"

BODY: dict[str, Any] = {
    "model": "kling-v3-motion-control",
    "image_urls": ["https://media.example.com/girl.png"],
    "video_urls": ["https://media.example.com/dance.mp4"],
    "quality": "1080p",
    "model_params": {"character_orientation": "video"},
}
ELEMENT: dict[str, Any] = {
    "model": "kling-custom-element",
    "model_params": {
        "element_name": "Hero",
        "element_description": "A young woman",
        "reference_type": "image_refer",
        "element_image_list": {
            "frontal_image": "https://media.example.com/front.jpg",
            "refer_images": [{"image_url": "https://media.example.com/side.jpg"}],
        },
    },
}
TOO_LONG_A_NAME = ELEMENT | {"model_params": ELEMENT["model_params"] | {"element_name": "x" * 21}}

DEAL = """name = "deal"
[[overlay]]
model = "kling-v3-motion-control"
discount = 0.05
source = "contract"
checked = 2026-10-01
[[overlay]]
model = "kling-v3-motion-control"
user_group = "partners"
discount = 0.5
source = "contract"
checked = 2026-10-01
"""
BETTER_DEAL = """name = "better"
[[overlay]]
model = "kling-v3-*"
discount = 0.1
source = "contract"
checked = 2026-10-01
"""
OWN_MODEL = """model = "house-model"
aliases = ["house"]
body = "motion_control"
[[price]]
effective_from = 2026-01-01T00:00:00Z
source = "contract"
checked = 2026-10-01
unit = "second"
rate = 2
[[price.channel]]
name = "slow"
rate = 1.5
[[price.channel]]
name = "fast"
rate = 3
"""


def maximum(done: Done) -> str:
    """Credits at most of the only quote."""
    (row,) = done.rows
    return row["maximum"]


def labels(done: Done) -> list[str]:
    return [row["request"] for row in done.rows]


# --- worked values -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "credits"),
    [
        ("motion-control --quality 720p --orientation video --seconds 12.4", "106.1424"),
        ("motion-control --quality 1080p --orientation video --seconds 12.4", "141.5939616"),
        ("motion-control --quality 720p --orientation image --seconds 25", "81.648"),
        ("motion-control --quality 1080p --orientation video --seconds 45", "326.755296"),
        ("motion-control --quality 1080p --orientation video --seconds 3", "32.6755296"),
        ("motion-control --quality 1080p --orientation video --seconds 3.0000001", "43.5673728"),
        ("kling-v3-motion-control --quality 720p --orientation video --seconds 13", "106.1424"),
        ("element", "1"),
        ("custom-element", "1"),
    ],
)
@pytest.mark.parametrize("format_", ["csv", "json", "table"])
def test_the_worked_values_come_out_in_every_format(
    options: str, credits: str, format_: str
) -> None:
    done = call("quote", *options.split(), *AT, "--format", format_)
    assert done.status == 0, done.stderr
    if format_ == "csv":
        assert maximum(done) == credits
    elif format_ == "json":
        (quote,) = done.data["quotes"]
        assert quote["credits"] == dict.fromkeys(("minimum", "expected", "maximum"), credits)
        assert done.data["total"]["maximum"] == credits
    else:
        total = next(line for line in done.stdout.splitlines() if "total" in line)
        cells = [cell.strip() for cell in total.split("│")]
        assert credits in cells, total


@pytest.mark.parametrize("seconds", ["2.9", "2.9999999", "0.1"])
def test_a_reference_shorter_than_three_seconds_is_refused(seconds: str) -> None:
    done = call(*MOTION, "--seconds", seconds)
    assert (done.status, done.stdout) == (7, "")
    assert f"is {seconds} s; the provider's shortest reference clip is 3 s" in done.said


@pytest.mark.parametrize("seconds", ["0", "-5", "nan", "inf", "1e999", "abc", "", "12,4", "1" * 40])
def test_what_is_no_length_is_refused_and_never_priced(seconds: str) -> None:
    done = call(*MOTION, f"--seconds={seconds}")
    assert (done.status, done.stdout) == (7, "")
    assert "reference_seconds" in done.said or "length" in done.said


def test_an_unknown_length_is_a_range_and_says_so() -> None:
    done = call(*MOTION, "--quality", "720p", *AT, "--format", "csv")
    (row,) = done.rows
    assert (row["minimum"], row["expected"], row["maximum"]) == ("24.4944", "244.944", "244.944")
    assert (row["billed_minimum"], row["billed_maximum"], row["unit"]) == ("3", "30", "second")
    assert "length unknown" in done.said


def test_an_expected_length_moves_only_the_expected_figure() -> None:
    options = ("--quality", "720p", "--expected-seconds", "11.5", *AT, "--format", "csv")
    (row,) = call(*MOTION, *options).rows
    assert (row["minimum"], row["expected"], row["maximum"]) == ("24.4944", "97.9776", "244.944")


@pytest.mark.parametrize("guess", ["abc", "0", "-1", "nan", "1e999"])
def test_an_expected_length_that_is_none_is_refused(guess: str) -> None:
    done = call(*MOTION, f"--expected-seconds={guess}")
    assert (done.status, done.stdout) == (7, "")
    assert "length" in done.said


@pytest.mark.parametrize(
    ("option", "value", "hint"),
    [
        ("--quality", "4k", "720p or 1080p"),
        ("--orientation", "sideways", "'image' or 'video'"),
        ("--sound", "loud", "sound"),
    ],
)
def test_an_option_of_an_unknown_value_is_refused_with_what_is_known(
    option: str, value: str, hint: str
) -> None:
    done = call("quote", "motion-control", "--seconds", "5", option, value)
    assert (done.status, done.stdout) == (7, "")
    assert hint in done.said


# --- models --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("motion-controll", "motion-control"),
        ("kling-v3-motion-contrl", "kling-v3-motion-control"),
        ("custom-elemnt", "custom-element"),
        ("kling-custom-elements", "kling-custom-element"),
    ],
)
def test_a_mistyped_model_is_refused_with_the_nearest(written: str, meant: str) -> None:
    done = call("quote", written)
    assert (done.status, done.stdout) == (6, "")
    assert f"unknown model '{written}'" in done.said
    assert meant in done.said.partition("did you mean")[2]


def test_an_empty_model_suggests_no_model_at_random() -> None:
    done = call("quote", "")
    assert done.status in {2, 6, 7}
    assert "did you mean" not in done.said


def test_a_folder_is_not_taken_for_a_mistyped_model(tmp_path: Path) -> None:
    done = call("quote", ".", cwd=tmp_path)
    assert (done.status, done.stdout) == (7, "")
    assert "did you mean" not in done.said


# --- bodies --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "places"),
    [
        (json.dumps(ELEMENT), ["r.json"]),
        (json.dumps(ELEMENT, indent=4), ["r.json"]),
        (json.dumps([ELEMENT]), ["r.json[0]"]),
        (json.dumps([ELEMENT, BODY]), ["r.json[0]", "r.json[1]"]),
        (f"{json.dumps(ELEMENT)}\n{json.dumps(BODY)}\n", ["r.json, line 1", "r.json, line 2"]),
        (f"{json.dumps(ELEMENT)}\n\n{json.dumps(BODY)}", ["r.json, line 1", "r.json, line 3"]),
        (f"{json.dumps(ELEMENT)}\r\n{json.dumps(BODY)}\r\n", ["r.json, line 1", "r.json, line 2"]),
    ],
)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_bodies_are_read_as_an_object_an_array_or_lines(
    tmp_path: Path, content: str, places: list[str], mark: str
) -> None:
    write(tmp_path, "r.json", mark + content)
    done = call("quote", "r.json", *AT, "--format", "csv", cwd=tmp_path)
    assert (done.status, labels(done)) == (0, places)
    assert done.rows[0]["maximum"] == "1"


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_bodies_are_read_from_standard_input(mark: str) -> None:
    done = run("quote", "-", *AT, "--format", "csv", stdin=mark + json.dumps([ELEMENT, BODY]))
    assert (done.status, labels(done)) == (0, ["standard input[0]", "standard input[1]"])
    assert [row["maximum"] for row in done.rows] == ["1", "326.755296"]


def test_the_examples_of_the_demo_are_all_priced() -> None:
    done = call("quote", DEMO / "requests.json", *AT, "--format", "csv")
    assert done.status == 0
    assert [row["maximum"] for row in done.rows] == [
        *("244.944", "108.918432", "326.755296", "1", "1", "86.4", "40.5", "38.08")
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is empty"),
        (" \n\t\n", "is empty"),
        ("[]", "is an empty array"),
        ("{", "is not JSON"),
        ('{"model": "element",}', "is not JSON"),
        ('{"model": "kling-custom-element", "seed": NaN}', "is not JSON"),
        ("model,seconds\nelement,5\n", "is not JSON"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        ("[" * 100_000, "nested too deep"),
        ("null", "is not a JSON object"),
        ("12", "is not a JSON object"),
        ('"motion-control"', "is not a JSON object"),
        ("[[]]", "r.json[0]: is not a JSON object"),
        ("{}", "model: is required"),
        ('{"model": 5}', "model: is required"),
    ],
)
def test_a_file_that_is_no_request_is_named_with_what_is_wrong(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    write(tmp_path, "r.json", content)
    done = call("quote", "r.json", cwd=tmp_path)
    assert (done.status, done.stdout) == (7, "")
    assert "r.json" in done.said
    assert message in done.said


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    done = call("quote", "nowhere.json", cwd=tmp_path)
    assert (done.status, done.stderr) == (7, "error: nowhere.json: No such file or directory\n")


def test_every_fault_of_a_body_is_reported_at_once(tmp_path: Path) -> None:
    params = {"element_name": "x" * 21, "element_voice_idd": "1"}
    write(tmp_path, "r.json", json.dumps({"model": "kling-custom-element", "model_params": params}))
    done = call("quote", "r.json", "--format", "json", cwd=tmp_path)
    (failure,) = done.data["not_priced"]
    assert {fault["field"] for fault in failure["faults"]} == {
        "model_params.element_name",
        "model_params.element_description",
        "model_params.reference_type",
        "model_params.element_voice_idd",
    }
    for fault in failure["faults"]:
        assert f"- {fault['field']}: {fault['problem']}" in done.said


@pytest.mark.parametrize(
    ("bad", "status"),
    [(TOO_LONG_A_NAME, 7), (ELEMENT | {"model": "kling-custom-elemnt"}, 6), ([1], 7)],
)
def test_one_bad_body_among_good_ones_costs_only_itself(
    tmp_path: Path, bad: object, status: int
) -> None:
    write(tmp_path, "r.json", json.dumps([ELEMENT, bad, BODY]))
    done = call("quote", "r.json", *AT, "--format", "csv", cwd=tmp_path)
    assert done.status == status
    assert labels(done) == ["r.json[0]", "r.json[2]"]
    assert "error: r.json[1]: " in done.stderr
    assert "r.json[1]" not in done.stdout
    table = call("quote", "r.json", *AT, cwd=tmp_path)
    assert table.status == status
    assert "2 priced, 1 not" in table.stdout
    assert "327.755296" in table.stdout  # the total of the good ones


@pytest.mark.parametrize(
    ("bodies", "status"),
    [
        ([ELEMENT | {"model": "nothing"}, TOO_LONG_A_NAME], 6),
        ([TOO_LONG_A_NAME, ELEMENT | {"model": "nothing"}], 7),
    ],
)
def test_the_status_is_that_of_the_first_failure(
    tmp_path: Path, bodies: list[object], status: int
) -> None:
    write(tmp_path, "r.json", json.dumps(bodies))
    done = call("quote", "r.json", "--format", "json", cwd=tmp_path)
    assert done.status == status
    assert [item["name"] for item in done.data["not_priced"]] == ["r.json[0]", "r.json[1]"]
    assert done.data["total"] == {"minimum": "0", "expected": "0", "maximum": "0"}


def test_a_bad_line_is_named_by_its_number(tmp_path: Path) -> None:
    write(tmp_path, "r.jsonl", f'{json.dumps(ELEMENT)}\n{{"model":\n{json.dumps(ELEMENT)}\n')
    done = call("quote", "r.jsonl", "--format", "csv", cwd=tmp_path)
    assert (done.status, labels(done)) == (7, ["r.jsonl, line 1", "r.jsonl, line 3"])
    assert "error: r.jsonl, line 2: is not JSON" in done.said


def test_json_says_which_request_each_quote_belongs_to(tmp_path: Path) -> None:
    write(tmp_path, "r.json", json.dumps([ELEMENT, [], BODY]))
    done = call("quote", "r.json", "--format", "json", cwd=tmp_path)
    quoted = [json.dumps(item) for item in done.data["quotes"]]
    assert "r.json[0]" in quoted[0]
    assert "r.json[2]" in quoted[1]


@pytest.mark.parametrize(
    ("option", "value"), [("--quality", "720p"), ("--orientation", "image"), ("--sound", "on")]
)
def test_options_of_a_job_together_with_a_body_are_refused(option: str, value: str) -> None:
    done = call("quote", DEMO / "requests.json", option, value)
    assert (done.status, done.stdout) == (2, "")
    assert f"{option}: the options of a request body stand in the body" in done.said


def test_seconds_give_a_body_its_length(tmp_path: Path) -> None:
    write(tmp_path, "r.json", json.dumps([BODY, ELEMENT]))
    done = call("quote", "r.json", "--seconds", "12.4", *AT, "--format", "csv", cwd=tmp_path)
    assert [row["maximum"] for row in done.rows] == ["141.5939616", "1"]


@pytest.mark.parametrize("seconds", ["2.9", "abc", "1e999", "-1"])
def test_seconds_that_no_body_can_have_are_refused(tmp_path: Path, seconds: str) -> None:
    write(tmp_path, "r.json", json.dumps(BODY))
    done = call("quote", "r.json", f"--seconds={seconds}", cwd=tmp_path)
    assert (done.status, done.stdout) == (7, "")


# --- clips ---------------------------------------------------------------------------------------


def test_a_clip_is_measured_and_quoted() -> None:
    done = call(*MOTION, "--quality", "1080p", "--video", CLIP, *AT, "--format", "csv")
    assert (done.status, maximum(done)) == (0, "141.5939616")
    assert "note: dance.mp4: 12.4 s, 720×1280" in done.said


def test_several_clips_and_folders_are_quoted_one_by_one(tmp_path: Path) -> None:
    takes = tmp_path / "takes"
    takes.mkdir()
    write(takes, "one.mp4", CLIP.read_bytes())
    write(takes, "two.mov", CLIP.read_bytes())
    write(takes, "notes.txt", "not a clip")
    done = call(
        *(*MOTION, "--quality", "720p", "--video", "takes", "--video", CLIP),
        *(*AT, "--format", "csv"),
        cwd=tmp_path,
    )
    assert (done.status, labels(done)) == (0, ["takes/one.mp4", "takes/two.mov", str(CLIP)])
    assert {row["maximum"] for row in done.rows} == {"106.1424"}


def test_a_bad_clip_among_good_ones_costs_only_itself(tmp_path: Path) -> None:
    write(tmp_path, "bad.mp4", "no video at all")
    done = call(*MOTION, "--video", "bad.mp4", "--video", CLIP, "--format", "csv", cwd=tmp_path)
    assert (done.status, labels(done)) == (7, [str(CLIP)])
    assert "error: bad.mp4: " in done.stderr


def test_json_says_which_clip_each_quote_belongs_to(tmp_path: Path) -> None:
    write(tmp_path, "take.mp4", CLIP.read_bytes())
    done = call(*MOTION, "--video", "take.mp4", "--format", "json", cwd=tmp_path)
    assert "take.mp4" in json.dumps(done.data)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("nowhere.mp4", None, "nowhere.mp4: is not a file"),
        ("empty.mp4", b"", "empty.mp4: "),
        ("text.mp4", b"plainly text", "text.mp4: "),
        ("request.mp4", json.dumps(BODY).encode(), "request.mp4: "),
    ],
)
def test_what_is_not_a_video_is_refused_by_name(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    if content is not None:
        write(tmp_path, name, content)
    done = call(*MOTION, "--video", name, cwd=tmp_path)
    assert done.status == 7
    assert f"error: {message}" in done.stderr
    assert done.stdout.strip() == ""


def test_a_folder_without_clips_is_refused(tmp_path: Path) -> None:
    done = call(*MOTION, "--video", ".", cwd=tmp_path)
    assert (done.status, done.stdout) == (7, "")
    assert "no video files" in done.said


def test_a_clip_beyond_the_limits_is_refused_with_every_fault(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "small.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for _ in range(12):
            container.mux(stream.encode(av.VideoFrame(160, 120, "yuv420p")))
        container.mux(stream.encode())
    done = call(*MOTION, "--video", "small.mp4", "--format", "json", cwd=tmp_path)
    (failure,) = done.data["not_priced"]
    assert done.status == 7
    assert [(fault["field"], fault["problem"]) for fault in failure["faults"]] == [
        ("length", "is 1.2 s; the provider takes at least 3 s"),
        ("width", "is 160 px; the provider takes at least 340 px"),
        ("height", "is 120 px; the provider takes at least 340 px"),
    ]


def test_a_clip_for_a_model_that_takes_none_is_refused() -> None:
    done = call("quote", "kling-v3-text-to-video", "--video", CLIP)
    assert done.status == 7
    assert "kling-v3-text-to-video takes no reference clip" in done.said


@pytest.mark.parametrize("target", [MOTION[1], str(DEMO / "requests.json")])
def test_seconds_and_a_clip_together_are_refused(target: str) -> None:
    done = call("quote", target, "--seconds", "12.4", "--video", CLIP)
    assert (done.status, done.stdout) == (2, "")
    assert "give --seconds or --video, not both" in done.said


def test_a_clip_gives_a_body_its_length(tmp_path: Path) -> None:
    write(tmp_path, "r.json", json.dumps(BODY))
    done = call("quote", "r.json", "--video", CLIP, *AT, "--format", "csv", cwd=tmp_path)
    assert (done.status, maximum(done)) == (0, "141.5939616")


def test_a_clip_for_many_bodies_is_mentioned_once(tmp_path: Path) -> None:
    write(tmp_path, "r.json", json.dumps([BODY, BODY, BODY]))
    done = call("quote", "r.json", "--video", CLIP, *AT, "--format", "csv", cwd=tmp_path)
    assert done.stderr.count("dance.mp4: 12.4 s") == 1


@pytest.mark.parametrize("clips", [(CLIP, CLIP), (DEMO,)])
def test_bodies_take_one_clip_only(tmp_path: Path, clips: tuple[Path, ...]) -> None:
    write(tmp_path, "r.json", json.dumps(BODY))
    given = [word for clip in clips for word in ("--video", str(clip))]
    done = call("quote", "r.json", *given, cwd=tmp_path)
    assert (done.status, done.stdout) == (2, "")
    assert "one --video" in done.said


# --- explaining ----------------------------------------------------------------------------------


def test_an_explanation_shows_the_arithmetic_the_rules_and_the_source() -> None:
    done = call(*MOTION, "--quality", "1080p", "--seconds", "12.4", "--explain", *AT)
    for part in (
        "8.1648 credits per second × 1.334 (quality 1080p) = 10.8918432 credits per second",
        "12.4 s → 13 s × 10.8918432 = 141.5939616 credits",
        "68 credits per USD (from 2026-04-21) = 2.08226414 USD",
        "price evolink/kling-v3-motion-control@2026-03-01",
        "from https://evolink.ai/kling-v3-motion-control, checked 2026-11-22",
    ):
        assert part in done.stdout
    assert done.status == 0


def test_an_explanation_of_many_requests_explains_each(tmp_path: Path) -> None:
    write(tmp_path, "r.json", json.dumps([BODY, ELEMENT]))
    done = call("quote", "r.json", "--explain", *AT, cwd=tmp_path)
    assert "kling-v3-motion-control: 1080p" in done.stdout
    assert "kling-custom-element: " in done.stdout


def test_nothing_to_explain_prints_nothing_on_stdout(tmp_path: Path) -> None:
    write(tmp_path, "r.json", json.dumps(TOO_LONG_A_NAME))
    done = call("quote", "r.json", "--explain", cwd=tmp_path)
    assert (done.status, done.stdout) == (7, "")


@pytest.mark.parametrize("format_", ["csv", "json"])
def test_explain_leaves_data_formats_as_they_are(format_: str) -> None:
    explained = call(*FIVE, "--explain", "--format", format_)
    plainly = call(*FIVE, "--format", format_)
    assert explained.status == 0
    if format_ == "csv":
        assert explained.rows == plainly.rows
    else:
        assert explained.data == plainly.data


# --- moments -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "credits"),
    [
        ("2026-10-08", "60.75"),
        ("2026-10-08T20:40:06Z", "60.75"),
        ("2026-10-08T20:40:06.504Z", "38.08"),
        ("2026-10-08T22:40:06.503+02:00", "60.75"),
        ("2026-10-08T22:40:06.504+02:00", "38.08"),
        ("2026-10-09", "38.08"),
    ],
)
def test_a_job_is_priced_by_the_price_of_its_moment(at: str, credits: str) -> None:
    done = call(
        *("quote", "happyhorse-1.0-text-to-video", "--quality", "720p"),
        *("--seconds", "5", "--at", at, "--format", "csv"),
    )
    assert (done.status, maximum(done)) == (0, credits)


@pytest.mark.parametrize(("at", "usd"), [("2026-04-20", "0.567"), ("2026-04-21", "0.60035294")])
def test_dollars_are_those_of_the_moment(at: str, usd: str) -> None:
    done = call(*MOTION, "--seconds", "5", "--at", at, "--format", "csv")
    assert done.rows[0]["maximum_usd"] == usd


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("nonsense", "is not a date like 2026-10-10"),
        ("2026-13-01", "is not a date"),
        ("2026-10-10T08:00", "has no time zone"),
        ("2026-10-10T08:00:00", "has no time zone"),
        ("", "is not a date"),
        ("tomorrow", "is not a date"),
        ("1e999", "is not a date"),
    ],
)
def test_what_is_no_moment_is_refused(at: str, message: str) -> None:
    done = call(*MOTION, "--seconds", "5", "--at", at)
    assert (done.status, done.stdout) == (7, "")
    assert message in done.said


def test_a_day_before_the_first_price_has_none() -> None:
    done = call(*MOTION, "--seconds", "5", "--at", "2026-02-28")
    assert (done.status, done.stdout) == (6, "")
    assert "the first one starts at 2026-03-01" in done.said


# --- books, overlays, groups, channels -----------------------------------------------------------


@pytest.mark.parametrize(
    ("book", "credits"),
    [("evolink", "141.5939616"), ("evolink-rules", "130.7021"), ("evolink-panel", "130.6041408")],
)
@pytest.mark.parametrize("by_variable", [False, True])
def test_each_book_has_its_own_figures(book: str, credits: str, by_variable: bool) -> None:
    options = (*MOTION, "--quality", "1080p", "--seconds", "12.4", *AT, "--format", "csv")
    if by_variable:
        done = call(*options, env={"KLING_LEDGER_PRICE_BOOK": book})
    else:
        done = call(*options, "--price-book", book)
    assert (done.status, maximum(done)) == (0, credits)


def test_an_unknown_book_is_refused_with_the_known_ones() -> None:
    done = call(*FIVE, "--price-book", "evolink-rulez")
    assert (done.status, done.stdout) == (7, "")
    assert "known are evolink, evolink-panel, evolink-rules; did you mean evolink-rules?" in (
        done.said
    )


@pytest.fixture
def deals(tmp_path: Path) -> Path:
    """A folder with price files of one's own."""
    write(tmp_path, "deal.toml", DEAL)
    write(tmp_path, "better.toml", BETTER_DEAL)
    write(tmp_path, "house.toml", OWN_MODEL)
    return tmp_path


@pytest.mark.parametrize(
    ("options", "credits"),
    [
        ("--prices deal.toml", "38.7828"),  # 40.824 × 0.95
        ("--prices deal.toml --group partners", "20.412"),  # × 0.5
        ("--prices deal.toml --prices better.toml", "36.7416"),  # × 0.9, the later one
        ("--prices better.toml --prices deal.toml", "38.7828"),
        ("--prices house.toml", "40.824"),
    ],
)
def test_later_price_files_win_and_groups_see_their_own(
    deals: Path, options: str, credits: str
) -> None:
    done = call(*FIVE, *options.split(), "--format", "csv", cwd=deals)
    assert (done.status, maximum(done)) == (0, credits)


def test_a_group_that_no_price_file_names_is_refused(deals: Path) -> None:
    done = call(*FIVE, "--prices", "deal.toml", "--group", "partner", cwd=deals)
    assert (done.status, done.stdout) == (7, "")
    assert "'partner'" in done.said
    assert "partners" in done.said.partition("'partner'")[2]


def test_price_files_may_come_from_the_environment(deals: Path) -> None:
    given = {"KLING_LEDGER_PRICES": f"{deals / 'deal.toml'}:{deals / 'better.toml'}"}
    assert maximum(call(*FIVE, "--format", "csv", env=given)) == "36.7416"


def test_the_price_version_names_the_overlays(deals: Path) -> None:
    done = call(*FIVE, "--prices", "deal.toml", "--format", "csv", cwd=deals)
    assert "@2026-03-01+deal~" in done.rows[0]["price_version"]


@pytest.mark.parametrize(
    ("content", "messages"),
    [
        ("name = [", ["is not TOML"]),
        ("", ["neither [[overlay]] nor [[price]]"]),
        (b"\xff\xfe", ["is not UTF-8 text"]),
        (DEAL.replace("discount = 0.05", "discont = 0.05\nrate = 1"), ["discont: is not a key"]),
        (DEAL.replace("0.05", "1.5"), ["overlay.0.discount"]),
        (DEAL.replace("0.05", "-0.05"), ["overlay.0.discount"]),
        (DEAL.replace("0.05", "nan"), ["overlay.0.discount"]),
        (DEAL.replace("0.05", "1e-400"), ["overlay.0.discount"]),
        (DEAL.replace('"contract"', '""'), ["overlay.0.source", "overlay.1.source"]),
        (DEAL.replace("motion-control", "motion-contrl"), ["did you mean kling-v3-motion-control"]),
    ],
)
def test_a_broken_price_file_is_refused_with_every_fault(
    tmp_path: Path, content: str | bytes, messages: list[str]
) -> None:
    write(tmp_path, "mine.toml", content)
    done = call(*FIVE, "--prices", "mine.toml", cwd=tmp_path)
    assert (done.status, done.stdout) == (7, "")
    for message in messages:
        assert message in done.said


def test_a_missing_price_file_is_named(tmp_path: Path) -> None:
    done = call(*FIVE, "--prices", "nowhere.toml", cwd=tmp_path)
    assert (done.status, done.stderr) == (7, "error: nowhere.toml: No such file or directory\n")


@pytest.mark.parametrize(
    ("channel", "credits"),
    [("preferred", "10"), ("slow", "7.5"), ("fast", "15"), ("dearest", "15")],
)
@pytest.mark.parametrize("name", ["house", "house-model"])
def test_a_channel_has_its_own_price(deals: Path, channel: str, credits: str, name: str) -> None:
    done = call(
        *("quote", name, "--orientation", "video", "--seconds", "5", *AT),
        *("--prices", "house.toml", "--channel", channel, "--format", "csv"),
        cwd=deals,
    )
    assert (done.status, maximum(done)) == (0, credits)


def test_an_unknown_channel_is_refused_with_the_known_ones(deals: Path) -> None:
    options = ("--prices", "house.toml", "--channel", "nope")
    done = call("quote", "house", "--orientation", "video", "--seconds", "5", *options, cwd=deals)
    assert (done.status, done.stdout) == (6, "")
    assert "known are preferred, slow, fast, dearest" in done.said


def test_a_clip_longer_than_its_orientation_allows_is_refused(tmp_path: Path) -> None:
    shutil.copy(DEMO / "dance.mp4", tmp_path)
    arguments = ("quote", "motion-control", "--orientation", "image", "--video", "dance.mp4")
    done = call(*arguments, cwd=tmp_path)
    assert (done.status, done.stdout) == (7, "")
    assert "length: is 12.4 s; with 720p, orientation image it may be 10 s" in done.stderr


def test_one_clip_named_twice_is_one_job(tmp_path: Path) -> None:
    shutil.copy(DEMO / "dance.mp4", tmp_path)
    done = call(
        *("quote", "motion-control", "--orientation", "video", "--format", "json"),
        *("--video", "dance.mp4", "--video", "dance.mp4"),
        cwd=tmp_path,
    )
    assert [quote["name"] for quote in done.data["quotes"]] == ["dance.mp4"]


def test_a_key_that_stands_twice_in_a_body_is_refused(tmp_path: Path) -> None:
    body = '{"model": "kling-v3-motion-control", "model": "kling-custom-element"}'
    write(tmp_path, "twice.json", body)
    done = call("quote", "twice.json", cwd=tmp_path)
    assert done.status == 7
    assert "stands twice" in done.stderr

"""Requests hold what the provider takes, and every fault is named at once by its path."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from ledger import (
    CustomElement,
    ImageToVideo,
    LedgerError,
    MotionControl,
    PriceBook,
    TextToVideo,
    VideoEdit,
)
from ledger.errors import InvalidRequest, UnknownModel
from ledger.requests import callback_problem

PRICES = PriceBook.bundled()

MOTION: dict[str, Any] = {
    "model": "kling-v3-motion-control",
    "quality": "1080p",
    "prompt": "dance",
    "image_urls": ["https://media.example.com/a.png"],
    "video_urls": ["https://media.example.com/a.mp4"],
    "callback_url": "https://hooks.example.com/done",
    "model_params": {"character_orientation": "video", "keep_sound": True},
}
ELEMENT: dict[str, Any] = {
    "model": "kling-custom-element",
    "model_params": {
        "element_name": "hero",
        "element_description": "a knight",
        "reference_type": "video_refer",
        "element_video_list": {"refer_videos": [{"video_url": "https://media.example.com/a.mp4"}]},
        "element_voice_id": "v1",
    },
}
PICTURES: dict[str, Any] = {
    "frontal_image": "https://media.example.com/f.png",
    "refer_images": [{"image_url": "https://media.example.com/1.png"}],
}
SHOTS: dict[str, Any] = {
    "model": "kling-v3-text-to-video",
    "prompt": "a day",
    "duration": 10,
    "sound": "on",
    "model_params": {
        "multi_shot": True,
        "shot_type": "customize",
        "multi_prompt": [
            {"index": 1, "prompt": "morning", "duration": "4"},
            {"index": 2, "prompt": "evening", "duration": "6"},
        ],
    },
}


def changed(
    body: Mapping[str, Any], params: Mapping[str, Any] | None = None, **top: Any
) -> dict[str, Any]:
    """A copy of a body with other fields; None takes a field away."""
    new = copy.deepcopy(dict(body)) | top
    new["model_params"] = new["model_params"] | dict(params or {})
    new["model_params"] = {k: v for k, v in new["model_params"].items() if v is not None}
    return {name: value for name, value in new.items() if value is not None}


def problems(body: Mapping[str, Any]) -> dict[str, str]:
    """The faults of a body, by field."""
    with pytest.raises(InvalidRequest) as caught:
        PRICES.parse(body)
    found = {fault.field: fault.problem for fault in caught.value.faults}
    assert len(found) == len(caught.value.faults)
    return found


@pytest.mark.parametrize("body", [MOTION, ELEMENT, SHOTS], ids=lambda body: body["model"])
def test_a_body_of_the_provider_comes_back_unchanged(body: dict[str, Any]) -> None:
    request = PRICES.parse(body)
    assert request.body() == body
    assert PRICES.parse(json.loads(json.dumps(request.body()))) == request


def test_all_faults_are_reported_at_once_each_by_its_path() -> None:
    body = changed(
        MOTION,
        {"character_orientation": "sideways", "keep_sound": "yes", "mood": "glad"},
        prompt="x" * 2501,
        quality="8k",
        image_urls=["ftp://media.example.com/a.png"],
        video_urls=None,
        callback_url="http://hooks.example.com/",
    )
    assert problems(body).keys() == {
        "model_params.character_orientation",
        "model_params.keep_sound",
        "model_params.mood",
        "prompt",
        "quality",
        "image_urls.0",
        "video_urls",
        "callback_url",
    }


@pytest.mark.parametrize(
    ("body", "field", "problem"),
    [
        (changed(MOTION, prompt="x" * 2501), "prompt", "has 2501 characters"),
        (changed(MOTION, quality="4k"), "quality", "must be 720p or 1080p, not '4k'"),
        (changed(MOTION, image_urls=[]), "image_urls", "exactly 1"),
        (
            changed(MOTION, image_urls=["https://a.example.com/1"] * 2),
            "image_urls",
            "has 2 items; the provider takes exactly 1",
        ),
        (changed(MOTION, video_urls=["https://a.example.com/1"] * 2), "video_urls", "exactly 1"),
        (changed(MOTION, image_urls=None), "image_urls", "is required"),
        (
            changed(MOTION, {"character_orientation": None}),
            "model_params.character_orientation",
            "is required",
        ),
        (
            changed(
                MOTION, {"character_orientation": "image", "element_list": [{"element_id": "e"}]}
            ),
            "model_params.element_list",
            "may be given only with character_orientation = video",
        ),
        (
            changed(MOTION, {"element_list": [{"element_id": "e"}, {"element_id": "f"}]}),
            "model_params.element_list",
            "has 2 items; the provider takes 0 to 1",
        ),
        (changed(MOTION, duration=5), "duration", "is not a field of this request"),
        (
            changed(MOTION, {"keep_original_sound": True}),
            "model_params.keep_original_sound",
            "did you mean keep_sound?",
        ),
        (changed(MOTION, qualty="720p"), "qualty", "did you mean quality?"),
        (
            changed(MOTION, {"prompt": "x"}),
            "model_params.prompt",
            "belongs at the top level of the request",
        ),
        (
            changed(MOTION, {"character_orientation": None}, character_orientation="video"),
            "character_orientation",
            "belongs under model_params",
        ),
        (changed(MOTION, callback_url=5), "callback_url", "text"),
        (
            changed(ELEMENT, {"element_name": "n" * 21}),
            "model_params.element_name",
            "has 21 characters; the provider takes at most 20",
        ),
        (changed(ELEMENT, {"element_name": ""}), "model_params.element_name", "at least 1"),
        (
            changed(ELEMENT, {"element_description": "d" * 101}),
            "model_params.element_description",
            "has 101 characters; the provider takes at most 100",
        ),
        (
            changed(ELEMENT, {"reference_type": "audio"}),
            "model_params.reference_type",
            "must be 'image_refer' or 'video_refer'",
        ),
        (
            changed(ELEMENT, {"element_video_list": None}),
            "model_params.element_video_list",
            "is required with reference_type = video_refer",
        ),
        (
            changed(SHOTS, duration=11),
            "model_params.multi_prompt",
            "the shots last 10 s together, the video 11 s",
        ),
        (changed(SHOTS, duration=5.5), "duration", "must be a whole number"),
        (changed(SHOTS, duration="10"), "duration", "must be a whole number"),
        (changed(SHOTS, {"shot_type": None}), "model_params.multi_shot", "needs shot_type"),
        (
            changed(SHOTS, {"multi_prompt": None}),
            "model_params.multi_prompt",
            "is required with shot_type = customize",
        ),
        (
            changed(
                SHOTS, {"multi_prompt": None, "multi_shot": None, "shot_type": None}, duration=16
            ),
            "duration",
            "must be 3 to 15, not 16",
        ),
        (changed(SHOTS, seed=3), "seed", "is not a field of this model"),
    ],
)
def test_a_fault_is_named_by_its_field(body: dict[str, Any], field: str, problem: str) -> None:
    found = problems(body)
    assert found.keys() == {field}
    assert problem in found[field]


def test_parameters_that_are_no_object_are_refused() -> None:
    found = problems(MOTION | {"model_params": None})
    assert found["model_params"] == "must be an object"


def test_a_voice_goes_only_with_a_reference_video() -> None:
    body = changed(
        ELEMENT,
        {
            "reference_type": "image_refer",
            "element_video_list": None,
            "element_image_list": PICTURES,
        },
    )
    assert problems(body) == {
        "model_params.element_voice_id": "may be given only with reference_type = video_refer"
    }


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (changed(MOTION, prompt="x" * 2500), MotionControl),
        (changed(MOTION, prompt="舞" * 2500), MotionControl),  # characters, not bytes
        (changed(MOTION, {"element_list": [{"element_id": "e"}]}), MotionControl),
        (changed(MOTION, {"watermark_info": {"enabled": False}}), MotionControl),
        (changed(ELEMENT, {"element_name": "n" * 20}), CustomElement),
        (changed(ELEMENT, {"element_description": "d" * 100}), CustomElement),
        (changed(SHOTS, duration=10), TextToVideo),
        (
            changed(SHOTS, {"multi_prompt": None, "multi_shot": None, "shot_type": None}),
            TextToVideo,
        ),
    ],
)
def test_a_body_at_the_edge_of_the_limits_is_taken(
    body: dict[str, Any], expected: type[object]
) -> None:
    assert type(PRICES.parse(body)) is expected


@pytest.mark.parametrize(
    "clips",
    [
        {"refer_videos": [{"video_url": "https://media.example.com/a.mp4"}]},
        {"video_url": "https://media.example.com/a.mp4"},
    ],
)
def test_both_documented_shapes_of_the_element_clip_are_taken(clips: dict[str, Any]) -> None:
    body = changed(ELEMENT, {"element_video_list": clips})
    assert PRICES.parse(body).body() == body


@pytest.mark.parametrize(
    "clips",
    [
        {},
        {"refer_videos": []},
        {"refer_videos": [{"video_url": "https://media.example.com/a.mp4"}] * 2},
        {
            "refer_videos": [{"video_url": "https://media.example.com/a.mp4"}],
            "video_url": "https://media.example.com/b.mp4",
        },
    ],
    ids=["none", "empty", "two", "one in each shape"],
)
def test_an_element_is_made_from_exactly_one_clip(clips: dict[str, Any]) -> None:
    assert "model_params.element_video_list" in problems(
        changed(ELEMENT, {"element_video_list": clips})
    )


@pytest.mark.parametrize("count", [0, 4])
def test_an_element_takes_one_to_three_further_pictures(count: int) -> None:
    pictures = PICTURES | {"refer_images": PICTURES["refer_images"] * count}
    params = {
        "reference_type": "image_refer",
        "element_voice_id": None,
        "element_video_list": None,
        "element_image_list": pictures,
    }
    found = problems(changed(ELEMENT, params))
    assert f"refer_images has {count} items" in found["model_params.element_image_list"]


def test_a_reference_of_2_9_seconds_is_refused_by_name_of_the_limit() -> None:
    job = MotionControl(character_orientation="video", reference_seconds="2.9")
    with pytest.raises(InvalidRequest) as caught:
        PRICES.quote(job)
    (fault,) = caught.value.faults
    assert fault.field == "reference_seconds"
    assert fault.problem == "is 2.9 s; the provider's shortest reference clip is 3 s"


def test_a_reference_of_exactly_3_seconds_is_taken() -> None:
    job = MotionControl(character_orientation="video", reference_seconds="3")
    assert PRICES.quote(job).length_known


def test_an_element_with_orientation_image_is_refused_when_quoted_too() -> None:
    job = MotionControl.model_validate(
        {"character_orientation": "image", "element_list": [{"element_id": "e"}]}
    )
    with pytest.raises(InvalidRequest, match="element_list: may be given only with"):
        PRICES.quote(job)


def test_an_element_clip_longer_than_8_seconds_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="longest reference clip is 8 s"):
        PRICES.quote(CustomElement(reference_seconds="8.1"))


@pytest.mark.parametrize(
    "host",
    [
        "hooks.example.com",
        "HOOKS.EXAMPLE.COM",
        "hooks.example.com.",
        "hooks.example.com:8443",
        "user:pass@hooks.example.com",
        "8.8.8.8",
        "[2606:4700:4700::1111]",
        "xn--fiqs8s.cn",
        "10.example.com",
    ],
)
def test_a_public_https_address_may_be_called_back(host: str) -> None:
    assert callback_problem(f"https://{host}/done?job=1") is None
    assert callback_problem(f"HTTPS://{host}") is None


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:443",
        "127.0.0.1.",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "0.0.0.0",
        "10.1.2.3",
        "172.16.0.9",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "255.255.255.255",
        "[::1]",
        "[::1]:8443",
        "[::]",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[fd00::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:10.0.0.1]",
        "localhost",
        "localhost.",
        "LOCALHOST",
        "LocalHost:8080",
        "a.localhost",
        "foo.local",
        "FOO.LOCAL.",
        "db.internal",
        "metadata.google.internal",
        "intranet",
        "hooks.example.com@127.0.0.1",
        "user:pass@10.0.0.1",
        "１２７.0.0.1",
    ],
)
def test_no_private_host_may_be_called_back(host: str) -> None:
    assert callback_problem(f"https://{host}/x") == "must be on a public host"


@pytest.mark.parametrize(
    "host",
    [
        "224.0.0.1",  # multicast
        "[ff0e::1]",
        "[64:ff9b::7f00:1]",  # 127.0.0.1 by way of NAT64
        "[2002:7f00:1::]",  # 127.0.0.1 by way of 6to4
        "127.0.0\u30021",  # IDNA reads the ideographic full stop as a dot
        "foo.\uff4cocal",  # IDNA reads the wide letter as l
        "%31%32%37.0.0.%31",  # browsers and many clients decode the host
        "127.0.0.1\\@example.com",  # browsers end the host at the backslash
        "localhost.localdomain",
        "printer.home.arpa",
        "a..b",
        ".com",
    ],
)
def test_no_host_in_disguise_may_be_called_back(host: str) -> None:
    assert callback_problem(f"https://{host}/x") is not None


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        ("http://hooks.example.com/", "must begin with https://"),
        ("ftp://hooks.example.com/", "must begin with https://"),
        ("hooks.example.com", "must begin with https://"),
        ("", "must begin with https://"),
        ("https://", "is not an address"),
        ("https:///path", "is not an address"),
        ("https://hooks.example.com:99999/", "is not an address"),
        ("https://hooks.example.com:http/", "is not an address"),
        ("https://[::1/", "is not an address"),
        ("https://hooks.example.com/a b", "is not an address"),
        ("https://127.0.0.1\t.example.com/", "is not an address"),
        ("https://hooks.example.com/\n", "is not an address"),
    ],
)
def test_what_is_no_https_address_may_not_be_called_back(address: str, problem: str) -> None:
    assert callback_problem(address) == problem


def test_a_callback_address_may_have_2048_characters_and_no_more() -> None:
    stem = "https://hooks.example.com/"
    longest = stem + "x" * (2048 - len(stem))
    assert PRICES.parse(changed(MOTION, callback_url=longest)).callback_url == longest
    found = problems(changed(MOTION, callback_url=longest + "x"))
    assert found["callback_url"] == "has 2049 characters; the provider takes at most 2048"


SECRET = "hunter2"


@pytest.mark.parametrize(
    "body",
    [
        changed(MOTION, callback_url=f"http://u:{SECRET}@hooks.example.com/?token={SECRET}"),
        changed(MOTION, callback_url=f"https://u:{SECRET}@127.0.0.1/"),
        changed(MOTION, image_urls=[f"ftp://media.example.com/?sig={SECRET}"]),
        changed(MOTION, video_urls=[f"https://media.example.com/ {SECRET}"]),
        changed(MOTION, image_urls=f"https://media.example.com/?sig={SECRET}"),
        changed(MOTION, {"watermark_info": f"https://media.example.com/?sig={SECRET}"}),
        changed(ELEMENT, {"element_video_list": {"video_url": f"file:///{SECRET}"}}),
    ],
)
def test_a_secret_in_an_address_is_never_repeated(body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest) as caught:
        PRICES.parse(body)
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value.faults)


def test_a_secret_in_an_address_is_not_repeated_by_the_class_either() -> None:
    with pytest.raises((LedgerError, ValidationError)) as caught:
        MotionControl(character_orientation="video", image_urls=(f"ftp://h/?sig={SECRET}",))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("body", [{}, {"model": None}, {"model": 5}])
def test_a_body_without_a_model_is_refused(body: dict[str, Any]) -> None:
    assert problems(body) == {"model": "is required"}


def test_a_misspelt_model_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(UnknownModel) as caught:
        PRICES.parse(MOTION | {"model": "kling-v3-motion-contrl"})
    assert "kling-v3-motion-control" in caught.value.nearest


def test_a_body_with_a_short_model_name_is_not_let_past_the_limits() -> None:
    # The provider knows no short names: either is right, the name refused or the limits checked.
    with pytest.raises((UnknownModel, InvalidRequest)):
        PRICES.parse(changed(MOTION, model="motion-control", prompt="x" * 2501))


@pytest.mark.parametrize("body", [[], "text", None, 5])
def test_a_body_that_is_no_object_is_refused_in_words(body: Any) -> None:
    with pytest.raises(InvalidRequest):
        PRICES.parse(body)


@pytest.mark.parametrize("length", [10, "10", "10.0", Decimal("1E+1"), 10.0, timedelta(seconds=10)])
def test_the_length_of_a_shot_is_sent_in_plain_digits(length: Any) -> None:
    shot = {"index": 1, "prompt": "all", "duration": length}
    request = TextToVideo.model_validate(
        {"model": "kling-v3-text-to-video", "duration": 10, "multi_prompt": [shot]}
    )
    assert request.body()["model_params"]["multi_prompt"][0]["duration"] == "10"


def test_shots_are_added_up_against_the_length_the_provider_takes_by_default() -> None:
    # 4 + 6 = 10 seconds of shots, but without a duration the provider makes 5 seconds.
    assert "model_params.multi_prompt" in problems(changed(SHOTS, duration=None))


def test_the_lengths_that_are_not_sent_stay_out_of_the_body() -> None:
    job = MotionControl(character_orientation="video", reference_seconds=9, expected_seconds=4)
    assert "reference_seconds" not in job.body()
    assert "expected_seconds" not in job.body()
    assert job.canonical()["reference_seconds"] == "9"
    assert job.canonical()["expected_seconds"] == "4"


def test_a_request_cannot_be_changed_after_it_was_checked() -> None:
    job = MotionControl(character_orientation="video")
    with pytest.raises(ValidationError, match="frozen"):
        job.quality = "1080p"


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("kling-v3-motion-control", MotionControl),
        ("motion-control", MotionControl),
        ("kling-custom-element", CustomElement),
        ("kling-v3-image-to-video", ImageToVideo),
        ("happyhorse-1.0-video-edit", VideoEdit),
    ],
)
def test_a_job_from_a_few_options_has_the_class_of_its_model(
    model: str, kind: type[object]
) -> None:
    orientation = "video" if kind is MotionControl else None
    job = PRICES.job(model, character_orientation=orientation)
    assert type(job) is kind
    assert job.model == PRICES.model(model)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"sound": "on"}, "sound"),
        ({"quality": "8k"}, "quality"),
        ({"character_orientation": "left"}, "character_orientation"),
        ({"seconds": "2"}, "reference_seconds"),
    ],
)
def test_a_job_with_an_option_its_model_lacks_is_refused(
    options: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        PRICES.job("motion-control", **({"character_orientation": "video"} | options))
    assert [fault.field for fault in caught.value.faults] == [field]


def test_a_fractional_length_is_refused_where_whole_seconds_are_asked_for() -> None:
    with pytest.raises(InvalidRequest, match="duration: must be a whole number"):
        PRICES.job("kling-v3-text-to-video", seconds="5.5")

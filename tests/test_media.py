"""Measuring clips: real files made here, and clips by hand at each edge of the published limits."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from typing import Any

import av
import pytest

from ledger import Clip, PriceBook, probe
from ledger.errors import InvalidMedia
from ledger.media import clip_faults, find_clips
from ledger.requests import ClipLimits

DANCE = Path(str(files("ledger") / "demo" / "dance.mp4"))

CODECS = {"mp4": "libx264", "mov": "libx264", "webm": "libvpx", "avi": "mpeg4", "matroska": "vp8"}


def write_video(
    path: Path, format: str, *, frames: int = 5, rate: int | Fraction = 5, codec: str = ""
) -> Path:
    """A tiny grey clip of 64 × 48 pixels."""
    with av.open(str(path), "w", format=format) as container:
        stream: Any = container.add_stream(codec or CODECS[format], rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(frames):
            frame = av.VideoFrame(64, 48, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([128]) * plane.buffer_size)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_sound(path: Path, format: str) -> Path:
    """A tenth of a second of silence, and no picture."""
    with av.open(str(path), "w", format=format) as container:
        stream: Any = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        frame.sample_rate = 8000
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def refusal(error: pytest.ExceptionInfo[InvalidMedia]) -> str:
    return str(error.value).rpartition("/")[2]


# --- measuring -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [DANCE, str(DANCE)])
def test_the_shipped_clip_is_what_the_manual_says(path: str | Path) -> None:
    assert probe(path) == Clip(
        path=DANCE,
        seconds=Decimal("12.4"),
        width=720,
        height=1280,
        frames_per_second=Decimal(25),
        container="mp4",
        codec="h264",
        size_bytes=DANCE.stat().st_size,
    )


def test_a_clip_says_in_one_line_what_it_is() -> None:
    clip = probe(DANCE)
    size = DANCE.stat().st_size
    assert str(clip) == f"dance.mp4: 12.4 s, 720×1280, 25 fps, mp4/h264, {size} B"
    large = hand_made(size_bytes=12_345_678, frames_per_second=None)
    assert str(large) == "clip.mp4: 12.4 s, 720×1280, mp4/h264, 12.3 MB"


@pytest.mark.parametrize(
    ("format", "ending", "container", "codec"),
    [
        ("mp4", "mp4", "mp4", "h264"),
        ("mp4", "m4v", "mp4", "h264"),
        ("mov", "mov", "mov", "h264"),
        ("webm", "webm", "webm", "vp8"),
        ("matroska", "mkv", "mkv", "vp8"),
        ("webm", "mp4", "webm", "vp8"),  # a wrong ending: what is in the file counts
        ("mp4", "webm", "mp4", "h264"),
        ("avi", "mp4", "avi", "mpeg4"),
        ("mp4", "bin", "mp4", "h264"),
        ("mp4", "MP4", "mp4", "h264"),
        ("mov", "MOV", "mov", "h264"),
    ],
)
def test_a_clip_is_measured_whatever_its_container_and_its_ending(
    tmp_path: Path, format: str, ending: str, container: str, codec: str
) -> None:
    path = write_video(
        tmp_path / f"clip.{ending}", format, codec="libvpx" if codec == "vp8" else ""
    )
    clip = probe(path)
    assert (clip.container, clip.codec, clip.width, clip.height) == (container, codec, 64, 48)
    assert clip.seconds == 1  # 5 frames at 5 a second
    assert clip.frames_per_second == 5
    assert clip.size_bytes == path.stat().st_size


@pytest.mark.parametrize(
    ("frames", "rate", "seconds", "frames_per_second"),
    [
        (1, 25, "0.04", "25"),
        (7, 25, "0.28", "25"),
        # 1001 ÷ 30000 × 30 = 1.001 s; 30000 ÷ 1001 = 29.97002997…
        (30, Fraction(30000, 1001), "1.001", "29.97"),
        # 1 ÷ 3 of a second three times
        (3, 3, "1", "3"),
        # 5 ÷ 24 = 0.208333333…, kept at nine decimals
        (5, 24, "0.208333333", "24"),
    ],
)
def test_lengths_are_exact_to_nine_decimals(
    tmp_path: Path, frames: int, rate: int | Fraction, seconds: str, frames_per_second: str
) -> None:
    clip = probe(write_video(tmp_path / "clip.mp4", "mp4", frames=frames, rate=rate))
    assert clip.seconds == Decimal(seconds)
    assert clip.frames_per_second == Decimal(frames_per_second)


def test_a_name_in_any_script_is_measured(tmp_path: Path) -> None:
    path = write_video(tmp_path / "踊り é 100% :x.mp4", "mp4")
    assert probe(path).path == path


def test_a_length_that_the_header_does_not_tell_is_counted_from_the_packets(
    tmp_path: Path,
) -> None:
    path = write_video(tmp_path / "clip.webm", "webm")
    content = path.read_bytes()
    place = content.index(b"\x44\x89")  # the element Duration of the segment's Info
    path.write_bytes(content[:place] + b"\xec\x89" + content[place + 2 :])  # made a Void
    # Four whole frames of 0.2 s lie before the last packet; its own length may be unknown.
    assert Decimal("0.8") <= probe(path).seconds <= 1


# --- what is no clip -----------------------------------------------------------------------------


def _text(path: Path) -> None:
    path.write_text("model,seconds\nmotion-control,12.4\n")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _zeros(path: Path) -> None:
    path.write_bytes(bytes(4096))


def _truncated(path: Path) -> None:
    path.write_bytes(DANCE.read_bytes()[:200])


def _header_only(path: Path) -> None:
    path.write_bytes(DANCE.read_bytes()[:32])


@pytest.mark.parametrize("write", [_text, _empty, _zeros, _truncated, _header_only])
def test_a_file_that_is_no_video_is_refused(tmp_path: Path, write: Callable[[Path], None]) -> None:
    write(tmp_path / "clip.mp4")
    with pytest.raises(InvalidMedia) as error:
        probe(tmp_path / "clip.mp4")
    assert refusal(error) == "clip.mp4: is not a video that can be read"


def test_a_picture_is_no_video(tmp_path: Path) -> None:
    encoder: Any = av.CodecContext.create("png", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 64, 64, "rgb24"
    encoder.time_base = Fraction(1, 25)
    packets = [*encoder.encode(av.VideoFrame(64, 64, "rgb24")), *encoder.encode(None)]
    (tmp_path / "picture.png").write_bytes(b"".join(map(bytes, packets)))
    with pytest.raises(InvalidMedia):
        probe(tmp_path / "picture.png")


def test_a_truncated_webm_is_refused_or_measured_but_never_fails_otherwise(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.webm", "webm", frames=20)
    content = whole.read_bytes()
    refused = 0
    for cut in range(1, len(content), 97):
        path = tmp_path / "cut.webm"
        path.write_bytes(content[:cut])
        try:
            clip = probe(path)
        except InvalidMedia:
            refused += 1
        else:
            assert 0 < clip.seconds <= 4
    assert refused


def test_a_file_with_sound_only_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidMedia) as error:
        probe(write_sound(tmp_path / "sound.mp4", "mp4"))
    assert refusal(error) == "sound.mp4: has no video stream"


def test_a_clip_without_a_frame_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidMedia):
        probe(write_video(tmp_path / "none.mp4", "mp4", frames=0))


@pytest.mark.parametrize("name", ["no such clip.mp4", "folder.mp4", ""])
def test_what_is_no_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(InvalidMedia, match="is not a file"):
        probe(tmp_path / name)


# --- folders -------------------------------------------------------------------------------------


def test_a_folder_stands_for_its_clips_in_order_of_their_names(tmp_path: Path) -> None:
    names = ["b.mp4", "a.mov", "sub/c.webm", "sub/deep/A.MP4", "d.mkv", "e.m4v"]
    for name in [*names, "notes.txt", "plan.csv", "mp4"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert find_clips([tmp_path]) == sorted(tmp_path / name for name in names)


def test_files_and_folders_are_kept_in_the_order_they_were_named(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.mp4").touch()
    (tmp_path / "z.bin").touch()
    named: list[str | Path] = [
        tmp_path / "z.bin",
        str(tmp_path / "sub"),
        tmp_path / "sub" / "a.mp4",
    ]
    clip = tmp_path / "sub" / "a.mp4"
    assert find_clips(named) == [tmp_path / "z.bin", clip, clip]


def test_nothing_stands_for_nothing() -> None:
    assert find_clips([]) == []


def test_a_folder_without_clips_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InvalidMedia, match="the folder has no video files"):
        find_clips([tmp_path])


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidMedia, match="no such clip"):
        find_clips([tmp_path / "no such clip.mp4"])


def test_a_folder_with_the_name_of_a_clip_is_no_clip(tmp_path: Path) -> None:
    (tmp_path / "takes.mp4").mkdir()
    (tmp_path / "takes.mp4" / "1.mp4").touch()
    assert find_clips([tmp_path]) == [tmp_path / "takes.mp4" / "1.mp4"]


# --- published limits ----------------------------------------------------------------------------


def hand_made(**fields: Any) -> Clip:
    usual: dict[str, Any] = {
        "path": Path("clip.mp4"),
        "seconds": Decimal("12.4"),
        "width": 720,
        "height": 1280,
        "frames_per_second": Decimal(25),
        "container": "mp4",
        "codec": "h264",
        "size_bytes": 1_000_000,
    }
    return Clip(**(usual | fields))


def limits_of(model: str) -> ClipLimits:
    limits = PriceBook.bundled().limits(model)
    assert limits is not None
    assert limits.clip is not None
    return limits.clip


MOTION, ELEMENT = "kling-v3-motion-control", "kling-custom-element"
EDIT, HAPPY = "kling-o3-video-edit", "happyhorse-1.0-video-edit"
# Both sides count; an element's sides are 720 to 2160, a motion reference's 340 to 3850.
SQUARE = {"width": 1000, "height": 1000}


@pytest.mark.parametrize(
    ("model", "fields", "fault"),
    [
        # Motion control: 3 to 30 s, 340 to 3850 px, 100,000,000 bytes, mp4 or mov.
        (MOTION, {"seconds": "3"}, None),
        (MOTION, {"seconds": "3.000000001"}, None),
        (
            MOTION,
            {"seconds": "2.999999999"},
            "length: is 2.999999999 s; the provider takes at least 3 s",
        ),
        (MOTION, {"seconds": "30"}, None),
        (MOTION, {"seconds": "29.999999999"}, None),
        (
            MOTION,
            {"seconds": "30.000000001"},
            "length: is 30.000000001 s; the provider takes at most 30 s",
        ),
        (MOTION, {"width": 340}, None),
        (MOTION, {"width": 341}, None),
        (MOTION, {"width": 339}, "width: is 339 px; the provider takes at least 340 px"),
        (MOTION, {"height": 340}, None),
        (MOTION, {"height": 339}, "height: is 339 px; the provider takes at least 340 px"),
        (MOTION, {"width": 3850}, None),
        (MOTION, {"width": 3849}, None),
        (MOTION, {"width": 3851}, "width: is 3851 px; the provider takes at most 3850 px"),
        (MOTION, {"height": 3850}, None),
        (MOTION, {"height": 3851}, "height: is 3851 px; the provider takes at most 3850 px"),
        (MOTION, {"size_bytes": 99_999_999}, None),
        (MOTION, {"size_bytes": 100_000_000}, None),
        (
            MOTION,
            {"size_bytes": 100_000_001},
            "size: is 100,000,001 bytes; the provider takes 100 MB",
        ),
        (MOTION, {"container": "mov"}, None),
        (MOTION, {"container": "webm"}, "format: is webm; the provider takes mp4, mov"),
        (MOTION, {"container": "mkv"}, "format: is mkv; the provider takes mp4, mov"),
        (MOTION, {"frames_per_second": "1"}, None),  # no frame rate is published
        (MOTION, {"frames_per_second": "500"}, None),
        # Custom element: at most 8 s, 720 to 2160 px, webm too; no shortest length.
        (ELEMENT, SQUARE | {"seconds": "0.1"}, None),
        (ELEMENT, SQUARE | {"seconds": "8"}, None),
        (ELEMENT, SQUARE | {"seconds": "7.999999999"}, None),
        (
            ELEMENT,
            SQUARE | {"seconds": "8.000000001"},
            "length: is 8.000000001 s; the provider takes at most 8 s",
        ),
        (ELEMENT, {"seconds": "5", "width": 720, "height": 2160}, None),
        (
            ELEMENT,
            {"seconds": "5", "width": 719, "height": 2160},
            "width: is 719 px; the provider takes at least 720 px",
        ),
        (
            ELEMENT,
            {"seconds": "5", "width": 720, "height": 2161},
            "height: is 2161 px; the provider takes at most 2160 px",
        ),
        (ELEMENT, SQUARE | {"seconds": "5", "container": "webm"}, None),
        # Kling O3 video edit: 24 to 60 frames a second, 200,000,000 bytes.
        (EDIT, {"frames_per_second": "24"}, None),
        (EDIT, {"frames_per_second": "24.001"}, None),
        (
            EDIT,
            {"frames_per_second": "23.976"},
            "frame rate: is 23.976 fps; the provider takes at least 24 fps",
        ),
        (EDIT, {"frames_per_second": "60"}, None),
        (EDIT, {"frames_per_second": "59.999"}, None),
        (
            EDIT,
            {"frames_per_second": "60.001"},
            "frame rate: is 60.001 fps; the provider takes at most 60 fps",
        ),
        (EDIT, {"frames_per_second": None}, None),
        (EDIT, {"size_bytes": 200_000_000}, None),
        (
            EDIT,
            {"size_bytes": 200_000_001},
            "size: is 200,000,001 bytes; the provider takes 200 MB",
        ),
        # HappyHorse video edit: at least 8 frames a second.
        (HAPPY, {"frames_per_second": "8"}, None),
        (
            HAPPY,
            {"frames_per_second": "7.999"},
            "frame rate: is 7.999 fps; the provider takes at least 8 fps",
        ),
        (HAPPY, {"seconds": "60"}, None),
        (HAPPY, {"seconds": "60.1"}, "length: is 60.1 s; the provider takes at most 60 s"),
    ],
)
def test_the_edges_of_published_limits(
    model: str, fields: dict[str, Any], fault: str | None
) -> None:
    exact = {
        name: Decimal(value) if isinstance(value, str) and name != "container" else value
        for name, value in fields.items()
    }
    found = [str(item) for item in clip_faults(hand_made(**exact), limits_of(model))]
    assert found == ([] if fault is None else [fault])


def test_all_faults_of_a_clip_are_named_at_once() -> None:
    clip = hand_made(
        container="avi",
        size_bytes=200_000_001,
        seconds=Decimal(1),
        width=100,
        height=5000,
        frames_per_second=Decimal(10),
    )
    assert [fault.field for fault in clip_faults(clip, limits_of(EDIT))] == [
        "format",
        "size",
        "length",
        "width",
        "height",
        "frame rate",
    ]


def test_limits_that_say_nothing_find_nothing() -> None:
    clip = hand_made(seconds=Decimal(10_000), width=1, size_bytes=10**12)
    assert clip_faults(clip, ClipLimits(formats=("mp4",))) == []


# --- from the file to the price ------------------------------------------------------------------


def test_the_shipped_clip_may_be_sent_and_has_a_price() -> None:
    clip, book = probe(DANCE), PriceBook.bundled()
    assert clip_faults(clip, limits_of(MOTION)) == []
    job = book.job(MOTION, quality="1080p", character_orientation="video", seconds=clip.seconds)
    # 12.4 s → 13 s × 8.1648 × 1.334
    assert book.quote(job, at="2026-10-10").maximum == Decimal("141.5939616")


def test_a_tiny_clip_has_every_fault_it_should_have(tmp_path: Path) -> None:
    clip = probe(write_video(tmp_path / "clip.webm", "webm"))
    assert [str(fault) for fault in clip_faults(clip, limits_of(MOTION))] == [
        "format: is webm; the provider takes mp4, mov",
        "length: is 1 s; the provider takes at least 3 s",
        "width: is 64 px; the provider takes at least 340 px",
        "height: is 48 px; the provider takes at least 340 px",
    ]


def test_a_copy_under_another_name_is_the_same_clip(tmp_path: Path) -> None:
    copy = Path(shutil.copy(DANCE, tmp_path / "copy.mov"))
    clip, original = probe(copy), probe(DANCE)
    assert (clip.seconds, clip.size_bytes) == (original.seconds, original.size_bytes)

"""Measuring a real clip: length, frame, format and size, checked against published limits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from ledger.errors import Fault, InvalidMedia, MissingExtra
from ledger.requests import ClipLimits
from ledger.units import plain

try:
    import av
except ImportError:
    raise MissingExtra("media", "measuring a video file") from None

__all__ = ["Clip", "clip_faults", "find_clips", "probe"]

# Up to PyAV 18, a title in another encoding would make a sound video unreadable.
_OPTIONS: dict[str, Any] = (
    {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}
)

# PyAV names a demuxer by all formats it reads; the ending says which of them the file claims.
_CONTAINERS = {
    "mov,mp4,m4a,3gp,3g2,mj2": "mp4",
    "matroska,webm": "webm",
}
_ENDINGS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".webm": "webm", ".mkv": "mkv"}


@dataclass(frozen=True, slots=True)
class Clip:
    """What a video file is like."""

    path: Path
    """The file."""
    seconds: Decimal
    """Length of the video stream."""
    width: int
    """Width in pixels, as stored."""
    height: int
    """Height in pixels, as stored."""
    frames_per_second: Decimal | None
    """Average frame rate, where the file tells."""
    container: str
    """`mp4`, `mov`, `webm`, or the demuxer's own name for anything else."""
    codec: str
    """Video codec, such as `h264`."""
    size_bytes: int
    """Size of the file."""

    def __str__(self) -> str:
        """One line for people."""
        rate = f", {plain(self.frames_per_second)} fps" if self.frames_per_second else ""
        size = (
            f"{self.size_bytes / 1e6:.1f} MB" if self.size_bytes >= 1e5 else f"{self.size_bytes} B"
        )
        return (
            f"{self.path.name}: {plain(self.seconds)} s, {self.width}×{self.height}{rate},"
            f" {self.container}/{self.codec}, {size}"
        )


def probe(path: str | Path) -> Clip:
    """What a video file is like; the header is read, and the packets where it tells no length.

    A header is believed: a file that was cut off behind it measures its full length.

    Raises:
        MissingExtra: PyAV is not installed (on import of this module).
        InvalidMedia: there is no such file, it is not a video, or its length cannot be told.
    """
    path = Path(path)
    if not path.is_file():
        raise InvalidMedia(str(path), [Fault("", "is not a file")])
    size = path.stat().st_size
    try:
        with av.open(str(path), **_OPTIONS) as container:
            if not container.streams.video:
                raise InvalidMedia(str(path), [Fault("", "has no video stream")])
            if container.format.name == "image2" or container.format.name.endswith("_pipe"):
                raise InvalidMedia(str(path), [Fault("", "is a picture, not a video")])
            stream = container.streams.video[0]
            seconds = _length(container, stream)
            rate = stream.average_rate
            context = stream.codec_context
            width, height, codec = context.width, context.height, context.name
            name = container.format.name
    except (av.error.FFmpegError, ValueError, EOFError):
        raise InvalidMedia(str(path), [Fault("", "is not a video that can be read")]) from None
    if seconds is None or seconds <= 0:
        raise InvalidMedia(str(path), [Fault("seconds", "the file does not tell its length")])
    if not width or not height:
        raise InvalidMedia(str(path), [Fault("frame", "the file does not tell its size")])
    return Clip(
        path=path,
        seconds=_decimal(seconds),
        width=width,
        height=height,
        frames_per_second=None if not rate else _decimal(Fraction(rate), decimals=3),
        container=_container(path, name),
        codec=codec,
        size_bytes=size,
    )


def find_clips(paths: Iterable[str | Path]) -> list[Path]:
    """The files named, and the video files in the folders named, in order of their names.

    Raises:
        InvalidMedia: a path does not exist, or a folder has no video files.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        if path.is_dir():
            clips = sorted(
                item
                for item in path.rglob("*")
                if item.suffix.lower() in _ENDINGS and item.is_file()
            )
            if not clips:
                raise InvalidMedia(str(path), [Fault("", "the folder has no video files")])
            found += clips
        elif path.exists():
            found.append(path)
        else:
            raise InvalidMedia(str(path), [Fault("", "is not a file")])
    return found


def clip_faults(clip: Clip, limits: ClipLimits) -> list[Fault]:
    """Every way in which the provider would not take the clip."""
    found: list[Fault] = []
    if clip.container not in limits.formats:
        known = ", ".join(limits.formats)
        found.append(Fault("format", f"is {clip.container}; the provider takes {known}"))
    if limits.most_bytes is not None and clip.size_bytes > limits.most_bytes:
        megabytes = limits.most_bytes // 1_000_000
        problem = f"is {clip.size_bytes:,} bytes; the provider takes {megabytes} MB"
        found.append(Fault("size", problem))
    found += _between("length", clip.seconds, limits.shortest_seconds, limits.longest_seconds, "s")
    for side, pixels in (("width", clip.width), ("height", clip.height)):
        found += _between(side, pixels, limits.smallest_side, limits.largest_side, "px")
    if clip.frames_per_second is not None:
        found += _between(
            "frame rate",
            clip.frames_per_second,
            limits.fewest_frames_per_second,
            limits.most_frames_per_second,
            "fps",
        )
    return found


def _between(
    what: str,
    value: Decimal | int,
    least: Decimal | int | None,
    most: Decimal | int | None,
    unit: str,
) -> list[Fault]:
    shown = plain(Decimal(value))
    if least is not None and value < least:
        problem = f"is {shown} {unit}; the provider takes at least {plain(Decimal(least))} {unit}"
        return [Fault(what, problem)]
    if most is not None and value > most:
        problem = f"is {shown} {unit}; the provider takes at most {plain(Decimal(most))} {unit}"
        return [Fault(what, problem)]
    return []


def _length(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream
) -> Fraction | None:
    """Exact length of the video stream; of the whole file, where the stream does not tell."""
    if stream.duration is not None and stream.time_base is not None:
        return stream.duration * stream.time_base
    if container.duration is not None:
        return Fraction(container.duration, av.time_base)
    last = Fraction(0)
    for packet in container.demux(stream):
        if packet.pts is not None and packet.time_base is not None:
            last = max(last, (packet.pts + (packet.duration or 0)) * packet.time_base)
    return last or None


def _container(path: Path, demuxer: str) -> str:
    claimed = _ENDINGS.get(path.suffix.lower())
    actual = _CONTAINERS.get(demuxer, demuxer)
    # mp4 and mov, and webm and mkv, are read by one demuxer each; within a pair the ending decides.
    family = {"mp4": {"mp4", "mov"}, "webm": {"webm", "mkv"}}.get(actual, set())
    return claimed if claimed in family else actual


def _decimal(fraction: Fraction, decimals: int = 9) -> Decimal:
    """The fraction at nine decimals, halves up: finer than any clock in a media file."""
    scaled = (2 * fraction.numerator * 10**decimals + fraction.denominator) // (
        2 * fraction.denominator
    )
    return Decimal(plain(Decimal(f"{scaled}E-{decimals}")))

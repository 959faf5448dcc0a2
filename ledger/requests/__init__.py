"""What can be bought from the provider, and what the provider takes."""

from ledger.requests.bodies import (
    CatalogueJob,
    CustomElement,
    ImageToVideo,
    MotionControl,
    ReferenceToVideo,
    Request,
    TextToVideo,
    VideoEdit,
)
from ledger.requests.limits import ClipLimits, Limits, callback_problem, faults
from ledger.requests.reading import BODIES, BodyKind, build, must, read_body

__all__ = [
    "BODIES",
    "BodyKind",
    "CatalogueJob",
    "ClipLimits",
    "CustomElement",
    "ImageToVideo",
    "Limits",
    "MotionControl",
    "ReferenceToVideo",
    "Request",
    "TextToVideo",
    "VideoEdit",
    "build",
    "callback_problem",
    "faults",
    "must",
    "read_body",
]

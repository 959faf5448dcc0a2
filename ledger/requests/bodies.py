"""What can be bought: the provider's request bodies as pydantic models.

The provider's `POST /v1/videos/generations` takes one body per family of models. Here each
family is one class. Attributes are flat; `body()` gives the nested JSON the provider wants, and
`ledger.PriceBook.parse` reads it. A request built in Python may leave out media and texts, which
do not change a price; a body that is to be sent must be complete. Both are checked against the
model's published limits, which are data (`ledger/requests/limits.py`).

Shapes: docs.evolink.ai, API manual of the Kling and HappyHorse series, read 2026-11-23.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    PlainSerializer,
    StrictBool,
    StrictInt,
    StrictStr,
    model_validator,
)
from pydantic_core import PydanticCustomError

from ledger.errors import InvalidSeconds
from ledger.units import STRICT, Length, parse_seconds, plain

__all__ = [
    "CatalogueJob",
    "CustomElement",
    "ImageToVideo",
    "MotionControl",
    "ReferenceToVideo",
    "Request",
    "TextToVideo",
    "VideoEdit",
]


def _seconds(value: Length) -> Decimal:
    try:
        return parse_seconds(value)
    except InvalidSeconds as error:
        raise PydanticCustomError("seconds", "{problem}", {"problem": str(error)}) from None


Seconds = Annotated[Decimal, BeforeValidator(_seconds), PlainSerializer(plain, when_used="json")]
Url = Annotated[StrictStr, Field(pattern=r"^https?://[^\s/]+\S*$")]


class _Part(BaseModel):
    model_config = STRICT


class ElementRef(_Part):
    """An element used in a request."""

    element_id: Annotated[StrictStr, Field(min_length=1)]
    """Id that the provider returned when the element was made."""


class Watermark(_Part):
    """Watermark of the result."""

    enabled: StrictBool
    """Whether the result carries a watermark."""


class Shot(_Part):
    """One shot of a video made of several."""

    index: StrictInt
    """Place in the video, from 1."""
    prompt: StrictStr
    """What happens in this shot."""
    duration: Seconds
    """Length of this shot in seconds; the provider's examples write it as a string."""


class ReferImage(_Part):
    """A further view of an element."""

    image_url: Url
    """Address of the picture."""


class ElementImages(_Part):
    """Pictures an element is made from."""

    frontal_image: Url
    """The view from the front."""
    refer_images: tuple[ReferImage, ...]
    """Other views."""


class ReferVideo(_Part):
    """The clip an element is made from."""

    video_url: Url
    """Address of the clip."""


class ElementVideos(_Part):
    """Clips an element is made from: exactly one, in either of the two documented shapes."""

    refer_videos: tuple[ReferVideo, ...] | None = None
    """Shape of the API manual since 2026-08-06."""
    video_url: Url | None = None
    """Shape of the product page."""

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        if (self.refer_videos is None) == (self.video_url is None):
            raise PydanticCustomError(
                "one_shape", "must have refer_videos or video_url, one of them"
            )
        return self


class Request(BaseModel):
    """What all requests share. `reference_seconds` and `expected_seconds` are never sent."""

    model_config = STRICT

    nested: ClassVar[frozenset[str]] = frozenset()
    """Attributes that the provider keeps under `model_params`."""
    length_field: ClassVar[str | None] = None
    """Attribute that says how long the generated clip will be."""

    model: StrictStr
    """The provider's model id."""
    callback_url: StrictStr | None = None
    """HTTPS address that the provider tells when the task has ended."""
    reference_seconds: Seconds | None = None
    """Length of the reference clip, where there is one."""
    expected_seconds: Seconds | None = None
    """Your own guess of the generated length, used only while the true one is unknown."""

    def body(self) -> dict[str, Any]:
        """The JSON body to send to the provider.

        >>> MotionControl(quality="1080p", character_orientation="video").body()
        {'model': 'kling-v3-motion-control', 'quality': '1080p',
         'model_params': {'character_orientation': 'video'}}
        """
        flat = self.model_dump(
            mode="json", exclude_none=True, exclude={"reference_seconds", "expected_seconds"}
        )
        nested = {name: flat.pop(name) for name in tuple(flat) if name in self.nested}
        return flat | ({"model_params": nested} if nested else {})

    def canonical(self) -> dict[str, Any]:
        """Everything a price may depend on, in JSON types; the ground of every digest."""
        lengths = {
            name: plain(value)
            for name in ("reference_seconds", "expected_seconds")
            if (value := getattr(self, name)) is not None
        }
        return self.body() | lengths


class MotionControl(Request):
    """Moves a character's picture the way a reference clip moves.

    >>> MotionControl(character_orientation="image", reference_seconds=12.4).reference_seconds
    Decimal('12.4')
    """

    nested = frozenset({"character_orientation", "element_list", "keep_sound", "watermark_info"})
    length_field = "reference_seconds"

    model: StrictStr = "kling-v3-motion-control"
    """The provider's model id."""
    character_orientation: Literal["image", "video"]
    """Which input the character's orientation follows; sets the longest clip: 10 or 30 seconds."""
    quality: StrictStr | None = None
    """Resolution tier; the provider takes 720p when it is left out."""
    prompt: StrictStr | None = None
    """Guidance in words."""
    image_urls: tuple[Url, ...] | None = None
    """The character's picture."""
    video_urls: tuple[Url, ...] | None = None
    """The clip whose motion is taken; the generated clip is as long as this one."""
    keep_sound: StrictBool | None = None
    """Whether the sound of the reference clip is kept; costs nothing."""
    element_list: tuple[ElementRef, ...] | None = None
    """Element to control; only with orientation `video`, made by `video_refer`."""
    watermark_info: Watermark | None = None
    """Watermark of the result."""


class CustomElement(Request):
    """Makes a reusable element (a character or an object) from pictures or a clip.

    >>> CustomElement(reference_type="video_refer").model
    'kling-custom-element'
    """

    nested = frozenset(
        {
            "element_name",
            "element_description",
            "reference_type",
            "element_image_list",
            "element_video_list",
            "element_voice_id",
        }
    )

    model: StrictStr = "kling-custom-element"
    """The provider's model id."""
    element_name: Annotated[StrictStr, Field(min_length=1)] | None = None
    """Name of the element."""
    element_description: StrictStr | None = None
    """What the element looks like."""
    reference_type: Literal["image_refer", "video_refer"] | None = None
    """What the element is made from."""
    element_image_list: ElementImages | None = None
    """The pictures, for `image_refer`."""
    element_video_list: ElementVideos | None = None
    """The clip, for `video_refer`."""
    element_voice_id: StrictStr | None = None
    """Voice of the element; only for `video_refer`."""


class _Generated(Request):
    """Requests whose generated length is asked for by `duration`."""

    nested = frozenset(
        {"multi_shot", "shot_type", "multi_prompt", "element_list", "watermark_info"}
    )
    length_field = "duration"

    prompt: StrictStr | None = None
    """What the video shows."""
    negative_prompt: StrictStr | None = None
    """What it must not show."""
    duration: Annotated[StrictInt, Field(gt=0)] | None = None
    """Length asked for, in whole seconds; the provider takes 5 when it is left out."""
    quality: StrictStr | None = None
    """Resolution tier; the provider takes 720p when it is left out."""
    aspect_ratio: StrictStr | None = None
    """Shape of the frame, such as `16:9`."""
    seed: StrictInt | None = None
    """Seed of the random numbers."""
    multi_shot: StrictBool | None = None
    """Whether the video is made of several shots."""
    shot_type: Literal["customize", "intelligence"] | None = None
    """Who decides on the shots."""
    multi_prompt: tuple[Shot, ...] | None = None
    """The shots; their lengths add up to the length of the video."""
    element_list: tuple[ElementRef, ...] | None = None
    """Elements that appear."""
    watermark_info: Watermark | None = None
    """Watermark of the result."""


class TextToVideo(_Generated):
    """Makes a video from words.

    >>> TextToVideo(model="kling-v3-text-to-video", duration=5, sound="on").sound
    'on'
    """

    sound: Literal["on", "off"] | None = None
    """Whether sound is generated; the provider takes `off` when it is left out."""


class ImageToVideo(_Generated):
    """Makes a video from a first picture, and a last one if wanted.

    >>> ImageToVideo(model="kling-v3-image-to-video", duration=5).quality is None
    True
    """

    sound: Literal["on", "off"] | None = None
    """Whether sound is generated; the provider takes `off` when it is left out."""
    image_start: Url | None = None
    """First picture (Kling)."""
    image_end: Url | None = None
    """Last picture (Kling)."""
    image_urls: tuple[Url, ...] | None = None
    """First picture (HappyHorse); all pictures (Kling O3)."""


class ReferenceToVideo(_Generated):
    """Makes a video in the manner of a reference clip or of pictures.

    >>> ReferenceToVideo(model="kling-o3-reference-to-video", duration=10).duration
    10
    """

    video_url: Url | None = None
    """Reference clip (Kling)."""
    image_urls: tuple[Url, ...] | None = None
    """Reference pictures."""
    keep_original_sound: StrictBool | None = None
    """Whether the sound of the reference clip is kept."""


class VideoEdit(Request):
    """Changes a given video; the result is as long as the original.

    >>> VideoEdit(model="kling-o3-video-edit", reference_seconds=8).length_field
    'reference_seconds'
    """

    nested = _Generated.nested
    length_field = "reference_seconds"

    prompt: StrictStr | None = None
    """What to change."""
    video_url: Url | None = None
    """The video to change (Kling)."""
    video_urls: tuple[Url, ...] | None = None
    """The video to change (HappyHorse)."""
    image_urls: tuple[Url, ...] | None = None
    """Pictures to take the style from."""
    quality: StrictStr | None = None
    """Resolution tier; the provider takes 720p when it is left out."""
    keep_original_sound: StrictBool | None = None
    """Whether the sound of the video is kept."""
    seed: StrictInt | None = None
    """Seed of the random numbers."""
    multi_shot: StrictBool | None = None
    """Whether the video is made of several shots."""
    shot_type: Literal["customize"] | None = None
    """Who decides on the shots."""
    multi_prompt: tuple[Shot, ...] | None = None
    """The shots; their lengths add up to the length of the video."""
    element_list: tuple[ElementRef, ...] | None = None
    """Elements that appear; only such as were made from pictures."""
    watermark_info: Watermark | None = None
    """Watermark of the result."""


class CatalogueJob(Request):
    """A job of a model of the catalogue that has no class of its own: what its price depends on.

    >>> CatalogueJob(model="krea-2-turbo", options={"quality": "2K"}).body()
    {'model': 'krea-2-turbo', 'quality': '2K'}
    """

    length_field = "seconds"

    options: dict[str, StrictBool | StrictInt | StrictStr] = Field(default_factory=dict)
    """Parameters of its published rule, with measured usage such as tokens; decimals as texts."""
    seconds: Seconds | None = None
    """Length that is asked for or measured, where the price depends on one."""

    def body(self) -> dict[str, Any]:
        """The parameters; a complete body has more, which no price depends on."""
        return {"model": self.model, **self.options}

    def canonical(self) -> dict[str, Any]:
        """Everything the price may depend on, in JSON types."""
        length = {} if self.seconds is None else {"seconds": plain(self.seconds)}
        return super().canonical() | length

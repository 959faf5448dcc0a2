"""The format of price files, overlays and exchange rates: the runtime model is the file format.

The docstring under each field is its description in the published JSON Schema.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Discriminator, Field, Tag, model_validator

from ledger.pricing import DEAREST, PREFERRED, SettlesOn, Unit
from ledger.requests import BodyKind, Limits
from ledger.units import EXACT, STRICT, Day, ExactDecimal, ExchangeRate, Moment, Rounding

__all__ = [
    "BookFile",
    "ByOption",
    "Channel",
    "ChargeRounding",
    "Defaults",
    "ModelFile",
    "Multiplier",
    "Overlay",
    "OverlayFile",
    "Price",
    "QuantityRounding",
    "RatesFile",
]


Rate = Annotated[ExactDecimal, Field(le=1_000_000, decimal_places=8)]
Multiple = Annotated[ExactDecimal, Field(gt=0, le=1000, decimal_places=6)]
Discount = Annotated[ExactDecimal, Field(ge=0, lt=1, decimal_places=6)]
Seconds = Annotated[ExactDecimal, Field(gt=0, le=1_000_000, decimal_places=6)]
Credits = Annotated[ExactDecimal, Field(decimal_places=8)]
OptionName = Literal["quality", "sound", "character_orientation"]
Text = Annotated[str, Field(min_length=1)]
Table = dict[str, "Multiple | dict[str, Multiple]"]


class Multiplier(BaseModel):
    """What the rate is multiplied by, by the value of one option or of two."""

    model_config = STRICT

    options: Annotated[tuple[OptionName, ...], Field(min_length=1, max_length=2)]
    """The options, in the order of the table's levels."""
    table: dict[str, Any]
    """Multiplier by value; with two options, a table of tables."""

    @model_validator(mode="before")
    @classmethod
    def _levels(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("table"), dict):
            options = data.get("options") or ()
            flat = _TABLES.get(len(options))
            if flat is not None:
                data = data | {"table": flat.model_validate({"table": data["table"]}).table}
        return data

    def value(self, chosen: Mapping[str, str | None]) -> Decimal | None:
        """The multiplier for these option values, or None where the table has none."""
        level: Any = self.table
        for option in self.options:
            if not isinstance(level, dict) or (value := chosen.get(option)) not in level:
                return None
            level = level[value]
        return level if isinstance(level, Decimal) else None

    def known(self, depth: int = 0) -> list[str]:
        """Values the table has at one level, in the order of the table."""
        if depth == 0:
            return list(self.table)
        return list(dict.fromkeys(name for level in self.table.values() for name in level))


class _OneLevel(BaseModel):
    table: Annotated[dict[str, Multiple], Field(min_length=1)]


class _TwoLevels(BaseModel):
    table: Annotated[dict[str, dict[str, Multiple]], Field(min_length=1)]


_TABLES: Mapping[int, type[_OneLevel | _TwoLevels]] = {1: _OneLevel, 2: _TwoLevels}


class ByOption(BaseModel):
    """A length that depends on the value of an option."""

    model_config = STRICT

    option: OptionName
    """The option."""
    values: Annotated[dict[str, Seconds], Field(min_length=1)]
    """Seconds by value."""


def _is_table(value: object) -> str:
    return "~table" if isinstance(value, (dict, ByOption)) else "~number"


_Longest = Annotated[
    Annotated[Seconds, Tag("~number")] | Annotated[ByOption, Tag("~table")],
    Discriminator(_is_table),
]


class QuantityRounding(BaseModel):
    """How a length becomes a billed quantity."""

    model_config = STRICT

    mode: Literal["ceil", "half_up", "floor", "none"]
    """`ceil` rounds up, `half_up` to the nearest with halves up, `none` bills the exact length."""
    step_seconds: Seconds = Decimal(1)
    """The length is rounded to a multiple of this."""

    @model_validator(mode="after")
    def _a_step_is_for_rounding(self) -> Self:
        if self.mode == "none" and self.step_seconds != 1:
            raise ValueError("step_seconds says nothing where the mode is none")
        return self


class ChargeRounding(BaseModel):
    """What a charge is rounded to."""

    model_config = STRICT

    mode: Rounding = "half_up"
    """How a charge becomes a multiple of the quantum."""
    quantum: Annotated[ExactDecimal, Field(gt=0, le=1, decimal_places=8)]
    """The smallest difference between two charges, in credits."""


class Channel(BaseModel):
    """Another upstream channel that may serve the model at its own price."""

    model_config = STRICT

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    """Name of the channel."""
    rate: Rate | None = None
    """Credits per unit; the preferred channel's, when left out."""
    multiplier: tuple[Multiplier, ...] | None = None
    """Multipliers; the preferred channel's, when left out."""
    source: Text | None = None
    """Where the channel's figures were read."""


class Price(BaseModel):
    """What a model costs from a moment on, until the next price starts."""

    model_config = STRICT

    effective_from: Moment
    """First instant this price applies."""
    source: Text
    """Page or document the figures were read from."""
    checked: Day
    """Day someone last compared the figures with the source."""
    unit: Unit
    """What the rate is for: one second, or one call."""
    rate: Rate
    """Credits per unit, before multipliers."""
    multiplier: tuple[Multiplier, ...] = ()
    """Multipliers of the rate by option; all of them apply."""
    discount: Discount = Decimal(0)
    """Part of the price that is taken off: 0.05 is five per cent."""
    rounding: QuantityRounding = QuantityRounding(mode="ceil")
    """How a length becomes a billed quantity."""
    shortest_seconds: Seconds | None = None
    """Shortest billed length."""
    longest_seconds: _Longest | None = None
    """Longest billed length."""
    longest_input_seconds: Seconds | None = None
    """Longest billed part of the reference clip, where `settles_on` is `input_and_output`."""
    smallest_charge: Credits = Decimal(0)
    """Smallest charge in credits; no multiplier applies to it."""
    charge: ChargeRounding | None = None
    """What a charge is rounded to; 10^-8 credit, half up, when left out."""
    settles_on: SettlesOn = "output"
    """Length billed in the end: of the generated clip, the one asked for, or of both clips."""
    channel: tuple[Channel, ...] = ()
    """Further channels; the price itself is the preferred one."""
    note: str | None = None
    """What a reader should know about this price."""

    @model_validator(mode="after")
    def _sound(self) -> Price:
        if self.unit == "call" and (self.multiplier or self.shortest_seconds):
            raise ValueError("a price per call has no multipliers and no shortest length")
        longest = self.longest_seconds
        caps = list(longest.values.values()) if isinstance(longest, ByOption) else [longest]
        for cap in caps:
            if cap is not None and self.shortest_seconds and cap < self.shortest_seconds:
                raise ValueError("longest_seconds is shorter than shortest_seconds")
        if self.rounding.mode != "none":
            step = self.rounding.step_seconds
            for length in (self.shortest_seconds, *caps):
                if length is not None and EXACT.remainder(length, step):
                    raise ValueError("shortest and longest must be multiples of step_seconds")
        names = [channel.name for channel in self.channel]
        if len(set(names)) < len(names) or {PREFERRED, DEAREST} & set(names):
            raise ValueError(f"channel names must differ, and not be {PREFERRED} or {DEAREST}")
        return self


class Defaults(BaseModel):
    """What the provider takes where a request says nothing."""

    model_config = STRICT

    quality: str | None = None
    """Resolution tier."""
    sound: Literal["on", "off"] | None = None
    """Generated sound."""
    duration: Annotated[int, Field(gt=0)] | None = None
    """Length asked for, in seconds."""


class ModelFile(BaseModel):
    """One file of a price book: everything about one model."""

    model_config = STRICT

    model: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    """The provider's model id."""
    title: Text | None = None
    """Name for people."""
    aliases: tuple[Text, ...] = ()
    """Short names the command line understands."""
    body: BodyKind | None = None
    """Request body the model takes; needed unless a book this one is based on has it."""
    defaults: Defaults = Defaults()
    """What the provider takes where a request says nothing."""
    limits: Limits | None = None
    """Published limits of a request."""
    price: Annotated[tuple[Price, ...], Field(min_length=1)]
    """Prices by date; each starts where the one before ends."""

    @model_validator(mode="after")
    def _no_two_prices_on_one_date(self) -> ModelFile:
        seen: set[datetime] = set()
        for price in self.price:
            if price.effective_from in seen:
                raise ValueError(f"two prices start at {price.effective_from.isoformat()}")
            seen.add(price.effective_from)
        return self


class BookFile(BaseModel):
    """The file `book.toml` of a book."""

    model_config = STRICT

    title: Text
    """Name for people."""
    description: Text
    """What the book reproduces, and when to use it."""
    based_on: Text | None = None
    """Book that provides everything this one does not say."""


class RatesFile(BaseModel):
    """The file of exchange rates."""

    model_config = STRICT

    rate: Annotated[tuple[ExchangeRate, ...], Field(min_length=1)]
    """Exchange rates by date."""


class Overlay(BaseModel):
    """A user's own change of a price."""

    model_config = STRICT

    model: Text
    """Model id, or a pattern such as `kling-*`."""
    source: Text
    """Where the figure was agreed or read."""
    checked: Day
    """Day someone last compared it with the source."""
    effective_from: Moment | None = None
    """First instant the change applies; from the first price on, when left out."""
    effective_until: Moment | None = None
    """First instant the change no longer applies."""
    user_group: Text | None = None
    """Applies only to this user group of the account; to everybody, when left out."""
    rate: Rate | None = None
    """Replaces the rate."""
    multiplier: tuple[Multiplier, ...] | None = None
    """Replaces the multipliers of the same options."""
    discount: Discount | None = None
    """Replaces the discount: 0.05 is five per cent off."""
    smallest_charge: Credits | None = None
    """Replaces the smallest charge."""
    note: str | None = None
    """What a reader should know."""

    @model_validator(mode="after")
    def _changes_something(self) -> Overlay:
        figures = (self.rate, self.multiplier, self.discount, self.smallest_charge)
        if all(figure is None for figure in figures):
            raise ValueError(
                "changes nothing; give a rate, multiplier, discount or smallest_charge"
            )
        start, end = self.effective_from, self.effective_until
        if start and end and start >= end:
            raise ValueError("effective_until must be later than effective_from")
        return self

    def applies(self, model: str, at: datetime, user_group: str | None) -> bool:
        """Whether the change is in force for a model, at a moment, for a user group."""
        return (
            fnmatchcase(model, self.model)
            and self.user_group in (None, user_group)
            and (self.effective_from is None or self.effective_from <= at)
            and (self.effective_until is None or at < self.effective_until)
        )


class OverlayFile(BaseModel):
    """A user's own file of changes."""

    model_config = STRICT

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    """Name that becomes part of every price version it touches."""
    overlay: Annotated[tuple[Overlay, ...], Field(min_length=1)]
    """The changes; later ones win."""

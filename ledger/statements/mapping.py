"""A mapping says how a statement is to be read: its columns, its unit, its zone; a TOML file."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from collections.abc import Mapping as AnyMapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from ledger.errors import Fault, InvalidMapping
from ledger.requests.reading import must
from ledger.statements.amounts import CREDIT_UNITS, Unreadable
from ledger.statements.moments import Overlap, is_form, zone
from ledger.units import STRICT, ExactDecimal, plain

__all__ = ["FIELDS", "TASKS", "Column", "Columns", "Mapping", "Place", "places", "read_mapping"]

Place = Annotated[str, Field(min_length=1)] | Annotated[int, Field(ge=1, le=16_384)]
"""A column by its header, or by its number, from 1; in JSON a path such as `usage.credits_used`."""

Column = Place | Annotated[tuple[Place, ...], Field(min_length=1, max_length=8)]
"""One column, or several of which the first that has something counts."""


def _known_zone(name: str) -> str:
    try:
        zone(name)
    except Unreadable as error:
        raise ValueError(str(error)) from None
    return name


def _known_form(form: str) -> str:
    if not is_form(form):
        raise ValueError(
            "must be iso, seconds, milliseconds, microseconds, excel or a pattern"
            " such as %d/%m/%Y %H:%M"
        )
    return form


def _known_unit(unit: str) -> str:
    if unit not in CREDIT_UNITS and not re.fullmatch("[A-Z]{3}", unit):
        raise ValueError("must be credits, uc or a currency such as USD")
    return unit


def _known_encoding(name: str) -> str:
    try:
        "".encode(name)
        b"".decode(name)
    except (LookupError, UnicodeError, ValueError):
        raise ValueError(f"must be an encoding such as utf-8 or gb18030, not {name!r}") from None
    return name


class Columns(BaseModel):
    """Which columns hold what; those not named are not read."""

    model_config = STRICT

    task: Column | None = None
    """The provider's task id."""
    key: Column | None = None
    """The idempotency key, which is the job's name in the book."""
    model: Column | None = None
    """Model id."""
    amount: Column | None = None
    """What was charged, in `unit`."""
    refunded: Column | None = None
    """What was given back for the same task, in `unit`, without a sign."""
    seconds: Column | None = None
    """Length of the video in seconds; not the processing time."""
    quality: Column | None = None
    """Resolution, such as 720p."""
    at: Column | None = None
    """When it was charged."""
    time_of_day: Column | None = None
    """The time of day, where `at` has the date alone."""
    status: Column | None = None
    """What became of the task, or what kind of line it is."""
    money: Column | None = None
    """The same charge in money."""
    currency: Column | None = None
    """ISO 4217 code of the money."""
    version: Column | None = None
    """Version of the price."""


FIELDS = tuple(Columns.model_fields)
"""What a line of a statement can tell, in order."""


class Mapping(BaseModel):
    """How a statement is to be read."""

    model_config = STRICT

    columns: Columns
    """Which columns hold what."""
    unit: Annotated[str, AfterValidator(_known_unit)] = "credits"
    """What `amount` and `refunded` count: credits, uc (10^-4 credit), or a currency."""
    credits_per_unit: Annotated[ExactDecimal, Field(gt=0, decimal_places=6)] | None = None
    """Credits for one unit of the currency, where `unit` is one; without it, only money is read."""
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    """Currency of the money column, where no column says it."""
    sign: Literal["charges_positive", "charges_negative"] = "charges_positive"
    """How a charge is written in `amount`."""
    given_back: Literal["signed", "positive"] = "signed"
    """Whether lines that are refunds or top-ups carry a sign of their own, or are all positive."""
    decimal: Literal[".", ","] = "."
    """What stands before the fraction of a number."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1, pattern=r'^[^"\r\n\x00]$')] = ","
    """What stands between the columns of a text file."""
    encoding: Annotated[str, AfterValidator(_known_encoding)] = "utf-8"
    """Encoding of a text file; a mark at its start is left out."""
    sheet: str | None = None
    """Name of the sheet of a workbook; without it, the first."""
    header: Annotated[int, Field(ge=0, le=1000)] = 1
    """Line of the header, from 1; 0 where there is none and columns go by number."""
    timezone: Annotated[str, AfterValidator(_known_zone)] = "UTC"
    """Zone of times that carry none, such as Asia/Shanghai, UTC or +08:00."""
    overlap: Overlap = "refuse"
    """What a local time means that comes twice, when the clocks go back."""
    time_formats: Annotated[
        tuple[Annotated[str, AfterValidator(_known_form)], ...], Field(min_length=1, max_length=8)
    ] = ("iso",)
    """How times are written, tried in order: iso, seconds, milliseconds, microseconds, excel, or
    patterns."""
    status: dict[str, str] = {}
    """The statement's words and ours: completed, failed, cancelled, refund, topup, charge."""
    models: dict[str, str] = {}
    """The statement's names of models and their ids."""

    @model_validator(mode="after")
    def _fits_together(self) -> Mapping:
        columns = self.columns
        if columns.amount is None and columns.money is None:
            raise ValueError("must name a column for amount")
        if not any((columns.task, columns.key, columns.model, columns.at)):
            raise ValueError("must name a column for task, key, or model and at")
        if columns.time_of_day is not None and columns.at is None:
            raise ValueError("must name a column for at, which has the date")
        if self.credits_per_unit is not None and self.unit in CREDIT_UNITS:
            raise ValueError("has credits_per_unit, which goes with a unit that is a currency")
        return self

    def toml(self) -> str:
        """The mapping as a file, without what is as it would be anyway."""
        lines: list[str] = []
        for name in type(self).model_fields:
            value = getattr(self, name)
            if name not in {"columns", "status", "models"} and name in self.model_fields_set:
                lines += [] if value is None else [f"{name} = {_toml(value)}"]
        tables: list[tuple[str, Iterator[tuple[str, Any]]]] = [
            ("columns", ((name, getattr(self.columns, name)) for name in FIELDS)),
            ("status", iter(self.status.items())),
            ("models", iter(self.models.items())),
        ]
        for title, items in tables:
            rows = [f"{_key(name)} = {_toml(value)}" for name, value in items if value is not None]
            lines += ["", f"[{title}]", *rows] if rows else []
        return "\n".join(lines).lstrip("\n") + "\n"


TASKS = Mapping(
    columns=Columns(
        task=("id", "task_id"),
        model="model",
        amount=("credits_used", "usage.credits_used", "billing.charged_credits"),
        refunded="billing.refunded_credits",
        at=("created_at", "created"),
        status="status",
        money="usage.cost.usd",
    ),
    currency="USD",
    time_formats=("iso", "seconds", "milliseconds"),
)
"""The provider's task list and task queries, which need no mapping of one's own."""


def places(column: Column | None) -> tuple[Place, ...]:
    """The columns that hold one thing, the first that has something counts."""
    if column is None:
        return ()
    return column if isinstance(column, tuple) else (column,)


def read_mapping(path: str | Path) -> Mapping:
    """The mapping that a TOML file holds.

    Raises:
        InvalidMapping: it cannot be read, is not TOML, or breaks the schema; has every fault.
    """
    where = str(path)
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        data = tomllib.loads(text, parse_float=Decimal)
    except UnicodeDecodeError:
        raise InvalidMapping(where, [Fault("", "is not UTF-8 text")]) from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidMapping(where, [Fault("", f"is not TOML: {error}")]) from None
    except (OSError, ValueError) as error:
        problem = f"cannot be read: {getattr(error, 'strerror', None) or error}"
        raise InvalidMapping(where, [Fault("", problem)]) from None
    return checked(data, where)


def checked(data: AnyMapping[str, Any], where: str) -> Mapping:
    """A mapping from plain data.

    Raises:
        InvalidMapping: it breaks the schema; has every fault.
    """
    try:
        return Mapping.model_validate(data)
    except ValidationError as error:
        found: dict[str, Fault] = {}
        for detail in error.errors(include_url=False):
            # A column is one of three shapes; what each of them misses says one thing.
            parts = [str(part) for part in detail["loc"]]
            is_column = len(parts) > 2 and parts[0] == "columns"
            name = ".".join(parts[:2] if is_column else parts)
            problem = "must be a header, a number from 1, or a list of them"
            found.setdefault(name, Fault(name, problem if is_column else _problem(detail)))
        raise InvalidMapping(where, found.values()) from None


def _problem(detail: Any) -> str:
    if detail["type"] == "extra_forbidden":
        return "is not a key of a mapping"
    if detail["type"] == "missing":
        return "is required"
    return must(str(detail["msg"]))


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return plain(value) if isinstance(value, Decimal) else str(value)

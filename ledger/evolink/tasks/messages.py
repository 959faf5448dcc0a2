"""Reading the provider's task messages: tolerant towards new fields, strict towards amounts.

The shapes are those of the provider's documentation and client, read in October and November
2026: the answer that creates a task, the query of a task, the body of a callback (the same as the
query), and the rows of the batch query and the task list. Amounts are kept as they are told,
because the unit is not always credits; `ledger.evolink.tasks.outcome` decides what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, NamedTuple

from ledger.errors import (
    Fault,
    InvalidAmount,
    InvalidEntry,
    InvalidMessage,
    InvalidMoment,
    InvalidSeconds,
)
from ledger.evolink.tasks.text import Unreadable, decoded, items, part
from ledger.evolink.values import clip
from ledger.records import name, us
from ledger.units import EXACT, MAX_SECONDS, credits_to_e8, parse_moment, parse_seconds, plain

__all__ = ["Billing", "TaskMessage", "read_messages"]

MAX_FAULTS: Final = 50
"""Most faults that are told of one text."""
MAX_ERROR: Final = 1_000
"""Longest error message that is kept apart from the body, in characters."""

_FAR_FROM_LIMITS: Final = 10**10
_FINEST: Final = Decimal("1E-8")
_ENVELOPE: Final = ("job", "received_at", "body")
_YEARS: Final = range(2000, 2100)
"""Years that a time of the provider's may be of."""
_CREATED: Final = range(946_684_800, 4_102_444_800)
"""The same as seconds since 1970, as `created` may say them; or milliseconds."""
_NOTHING: Final[Mapping[str, Any]] = {}


class Billing(NamedTuple):
    """What the newer `billing` object of a task says; amounts as told, their unit unknown."""

    charge_status: str | None
    """Such as unknown, reserved, charged, released."""
    refund_status: str | None
    """Such as unknown, not_required, pending, failed, completed."""
    refund_scope: str | None
    """Where a refund went, such as account_balance."""
    reserved: Decimal | None
    """`reserved_credits`."""
    charged: Decimal | None
    """`charged_credits`."""
    refunded: Decimal | None
    """`refunded_credits`."""
    refunded_at_us: int | None
    """When it was refunded; None unless it was told as a time in UTC."""


class TaskMessage(NamedTuple):
    """What one message says of one task."""

    task: str
    """The provider's name of the task, such as task-unified-1."""
    job: str | None
    """From the envelope, when given."""
    model: str | None
    status: str
    """The provider's word; known are pending, processing, completed, failed, cancelled."""
    created_us: int | None
    """When the task was created; None where that is not told as a moment."""
    reserved: Decimal | None
    """`usage.credits_reserved` as told; its unit is unknown."""
    used: Decimal | None
    """`usage.credits_used`, or `usage.cost.credits` where that is not told; as told."""
    user_group: str | None
    billing_rule: str | None
    video_seconds: str | None
    """`task_info.video_duration`; the top-level `duration` is the time of processing."""
    error_code: str | None
    error: str | None
    """The error's message, without characters that cannot be seen."""
    billing: Billing | None
    received_us: int | None
    """From the envelope, when given."""
    body: str
    """This task's part of the text, word for word."""
    cost: Decimal | None = None
    """`usage.cost.credits` as told."""
    used_is_cost: bool = False
    """Whether `used` is `cost`, because `usage.credits_used` was not told."""


def read_messages(text: str | bytes, *, where: str = "") -> list[TaskMessage]:
    """What a text of the provider's says of tasks, in its order.

    The text is one task, a list of tasks, an object with the list as `data`, or an envelope
    around any of these that names the job and the time of receipt:
    `{"job": "job-1", "received_at": "2026-10-10T12:00:00Z", "body": {...}}`.

    Args:
        text: JSON, as text or in UTF-8.
        where: where it stands, such as `tasks.jsonl:3`; errors begin with it.

    Raises:
        InvalidMessage: with every fault: not JSON within limits, no task, a name that cannot be
            stored, or an amount that is negative, no number, or finer than 10^-8.

    >>> [message] = read_messages('{"id": "task-unified-1", "status": "completed",'
    ...     ' "usage": {"credits_used": 65.3184}}')
    >>> message.task, message.status, message.used
    ('task-unified-1', 'completed', Decimal('65.3184'))
    """
    subject = where or "task message"
    try:
        body, value = decoded(text)
    except Unreadable as error:
        raise InvalidMessage(subject, [Fault("", str(error))]) from None
    reader = _Reader()
    found = reader.text(value, body)
    if reader.faults:
        raise InvalidMessage(subject, reader.faults)
    return found


class _Reader:
    """Reads the tasks of one text, and takes note of every fault."""

    __slots__ = ("faults", "job", "path", "received_us")

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.path = ""
        """What stands before the name of a field."""
        self.job: str | None = None
        self.received_us: int | None = None

    def fault(self, field: str, problem: str) -> None:
        """Take note of a fault of a field, or of what holds the fields."""
        self.faults.append(Fault((self.path + field).rstrip("."), problem))

    # The outside

    def text(self, value: object, body: str) -> list[TaskMessage]:
        """The messages of a whole text."""
        if isinstance(value, dict) and "id" not in value and "body" in value:
            return self.envelope(value, body)
        return self.tasks(value, body)

    def envelope(self, value: dict[str, object], body: str) -> list[TaskMessage]:
        """The messages inside an envelope."""
        for key in value:
            if key not in _ENVELOPE:
                self.fault(clip(key), f"is no field of an envelope; it has {', '.join(_ENVELOPE)}")
        if value.get("job") is not None:
            self.job = self.name(value["job"], "job")
        if (received := value.get("received_at")) is not None:
            self.received_us = self.received(received)
        self.path = "body."
        found = self.tasks(value["body"], part(body, value, "body"))
        if self.job is not None and len(found) > 1:
            self.path = ""
            self.fault("job", f"is one job for {len(found)} tasks; give each task an envelope")
        return found

    def tasks(self, value: object, body: str) -> list[TaskMessage]:
        """The messages of one task, or of a list of tasks."""
        if isinstance(value, list):
            return self.rows(body, self.path.removesuffix("."))
        if not isinstance(value, dict):
            self.fault("", "must be an object or a list of objects")
        elif "id" in value:
            return [self.task(value, body)]
        elif isinstance(value.get("data"), list):
            return self.rows(part(body, value, "data"), f"{self.path}data")
        elif "data" in value:
            self.fault("data", "must be a list of tasks")
        elif "error" in value:
            self.fault("", "is an error and no task; what was refused at once has no task")
        else:
            self.fault("", "has no `id`, so it is about no task, and no list of tasks as `data`")
        return []

    def rows(self, body: str, path: str) -> list[TaskMessage]:
        """The messages of a list of tasks."""
        found = []
        for index, (value, row) in enumerate(items(body)):
            self.path = f"{path}[{index}]."
            if isinstance(value, dict):
                found.append(self.task(value, row))
            else:
                self.fault("", "must be an object")
            if len(self.faults) >= MAX_FAULTS:
                break
        return found

    # One task

    def task(self, told: dict[str, Any], body: str) -> TaskMessage:
        """What an object says of its task; worth nothing if a fault was found."""
        get = told.get
        usage = self.table(get("usage"), "usage")
        used = self.used(told, usage)
        cost = usage.get("cost")
        if cost is not None:
            credits = cost.get("credits") if isinstance(cost, dict) else None
            cost = self.amount(credits, "usage.cost.credits")
        info = get("task_info")
        code, problem = _error(get("error"))
        return TaskMessage(
            task=self.name(get("id"), "id"),
            job=self.job,
            model=_label(get("model")),
            status=self.name(get("status"), "status"),
            created_us=_created_us(get("created", get("created_at"))),
            reserved=self.amount(usage.get("credits_reserved"), "usage.credits_reserved"),
            used=cost if used is None else used,
            user_group=_label(usage.get("user_group")),
            billing_rule=_label(usage.get("billing_rule")),
            video_seconds=_seconds(info.get("video_duration")) if isinstance(info, dict) else None,
            error_code=code,
            error=problem,
            billing=None if get("billing") is None else self.billing(told["billing"]),
            received_us=self.received_us,
            body=body,
            cost=cost,
            used_is_cost=used is None and cost is not None,
        )

    def used(self, told: dict[str, Any], usage: Mapping[str, Any]) -> Decimal | None:
        """The credits used; a row of the task list has them outside of `usage`."""
        used = self.amount(usage.get("credits_used"), "usage.credits_used")
        if "credits_used" not in told:
            return used
        row = self.amount(told["credits_used"], "credits_used")
        if used is not None and row is not None and used != row:
            self.fault("credits_used", "says something else than usage.credits_used")
        return row if used is None else used

    def billing(self, value: object) -> Billing:
        """The `billing` object."""
        get = self.table(value, "billing").get
        return Billing(
            charge_status=_label(get("charge_status")),
            refund_status=_label(get("refund_status")),
            refund_scope=_label(get("refund_scope")),
            reserved=self.amount(get("reserved_credits"), "billing.reserved_credits"),
            charged=self.amount(get("charged_credits"), "billing.charged_credits"),
            refunded=self.amount(get("refunded_credits"), "billing.refunded_credits"),
            refunded_at_us=_utc_us(get("refunded_at")),
        )

    # Values that must be right

    def table(self, value: object, field: str) -> Mapping[str, Any]:
        """An object that has amounts, or nothing."""
        if isinstance(value, dict):
            return value
        if value is not None:
            self.fault(field, "must be an object")
        return _NOTHING

    def amount(self, value: object, field: str) -> Decimal | None:
        """An amount as told, or None where none is."""
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, str, Decimal)):
            self.fault(field, "must be a number")
            return None
        if _is_plainly_fine(value):
            return Decimal(value)
        try:
            credits_to_e8(value)
        except InvalidAmount as error:
            self.fault(field, str(error))
            return None
        return Decimal(value)

    def name(self, value: object, field: str) -> str:
        """A name that must be there, and that can be stored."""
        if value is None:
            self.fault(field, "is required")
            return ""
        try:
            return name(value, field)
        except InvalidEntry as error:
            self.fault(field, error.faults[0].problem)
            return ""

    def received(self, value: object) -> int | None:
        """The time of receipt."""
        try:
            return us(parse_moment(value if isinstance(value, str) else ""))
        except InvalidMoment:
            self.fault("received_at", "must be a time like 2026-10-10T12:00:00Z")
            return None


def _is_plainly_fine(value: int | str | Decimal) -> bool:
    """Whether an amount is far from any limit, as nearly all are; the full check costs more."""
    if isinstance(value, str) or not 0 <= value < _FAR_FROM_LIMITS:
        return False
    return isinstance(value, int) or value.quantize(_FINEST, context=EXACT) == value


# Values that only explain: what cannot be kept is left out, and stays in the body.


def _label(value: object) -> str | None:
    return _kept(value) if isinstance(value, str) else None


@lru_cache(maxsize=1024)
def _kept(text: str) -> str | None:
    try:
        return name(text, "")
    except InvalidEntry:
        return None


def _error(value: object) -> tuple[str | None, str | None]:
    """Code and message of an error."""
    if isinstance(value, dict):
        code, message = value.get("code"), value.get("message")
    else:
        code, message = None, value
    if isinstance(code, int):
        code = str(code)
    if not isinstance(message, str):
        return _label(code), None
    seen = "".join(char if char.isprintable() else " " for char in message[:MAX_ERROR])
    return _label(code), seen.strip() or None


def _seconds(value: object) -> str | None:
    """A length in seconds, as plain digits."""
    if type(value) is int and 0 < value <= MAX_SECONDS:
        return str(value)
    if not isinstance(value, (int, str, Decimal)):
        return None
    try:
        return plain(parse_seconds(value))
    except InvalidSeconds:
        return None


def _created_us(value: object) -> int | None:
    """Seconds or milliseconds since 1970, or a time with a zone; none outside of 2000 to 2099."""
    if isinstance(value, str):
        when = _time(value)
        return None if when is None else us(when)
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        return None
    for per_second in (1, 1_000):
        if _CREATED.start * per_second <= value < _CREATED.stop * per_second:
            scale = 1_000_000 // per_second
            return value * scale if isinstance(value, int) else int(EXACT.multiply(value, scale))
    return None


def _utc_us(value: object) -> int | None:
    """A time that is told in UTC; one in another zone proves no refund, as the provider says."""
    when = _time(value) if isinstance(value, str) else None
    return us(when) if when is not None and when.utcoffset() == timedelta() else None


def _time(text: str) -> datetime | None:
    """A time with a zone, or None; the year 1 is how some programs write that there is none."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    return when if when.tzinfo is not None and when.year in _YEARS else None

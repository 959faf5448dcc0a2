"""What all messages of one task say together: the same, whatever their order or number.

Messages come late, twice, out of order or never, so nothing may depend on which came last. Facts
are a join: each field is a small set that only grows (the largest amounts, the first words), and
joining is commutative, associative and idempotent. What contradicts itself stays visible.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Final, NamedTuple

from ledger.errors import Fault, InvalidMessage
from ledger.evolink.tasks.messages import Billing, TaskMessage
from ledger.figures import show_credits
from ledger.units import EXACT

__all__ = [
    "ENDED",
    "RUNNING",
    "Amounts",
    "Facts",
    "FactsWithText",
    "Texts",
    "facts_from",
    "facts_of",
    "facts_text",
    "merged",
]

RUNNING: Final = ("pending", "processing")
"""Words for a task that has not ended, in their order; an unknown word counts as one."""

ENDED: Final = ("completed", "failed", "cancelled")
"""Words for a task that has ended."""

MOST_AMOUNTS: Final = 8
"""Most different amounts that are kept of one field; the largest ones."""

MOST_TEXTS: Final = 8
"""Most different texts that are kept of one field, besides the known statuses."""

Amounts = tuple[int, ...]
"""Different amounts as told, ascending, in 10^-8 of whatever unit they were told in."""

Texts = tuple[str, ...]
"""Different texts, sorted."""

_KNOWN: Final = frozenset({*RUNNING, *ENDED})


class Facts(NamedTuple):
    """What all messages of one task say together.

    Follows from their bodies alone: the job and the time of receipt are not part of it.
    """

    statuses: Texts = ()
    """Every word that was told."""
    charged: Amounts = ()
    """`billing.charged_credits` of a charge that stood when the task had ended."""
    used: Amounts = ()
    """`usage.credits_used`, told when the task had ended."""
    cost: Amounts = ()
    """`usage.cost.credits`, told when the task had ended."""
    interim: Amounts = ()
    """Told as used or charged before the task had ended, or before the charge was made."""
    reserved: Amounts = ()
    """`usage.credits_reserved`."""
    held: Amounts = ()
    """`billing.reserved_credits`."""
    refunded: Amounts = ()
    """Proven refunds of all that was held."""
    returned: Amounts = ()
    """Proven refunds of a part of a charge that stands."""
    surplus: Amounts = ()
    """What came back because more was reserved than charged; no part of the charge."""
    claimed: Amounts = ()
    """Refunds that are called completed, without the proof; 0 where no amount was told."""
    missing: Texts = ()
    """The fields that keep a claimed refund from being proven."""
    charge_statuses: Texts = ()
    refund_statuses: Texts = ()
    error_codes: Texts = ()
    video_seconds: Texts = ()
    """Lengths of the clip, told when the task had ended."""
    models: Texts = ()
    user_groups: Texts = ()
    billing_rules: Texts = ()
    created_us: int | None = None
    """When the task was created; the earliest, if several were told. The last field: nothing that
    is wanted follows from it."""


class FactsWithText(Facts):
    """Facts that were written as text already."""

    text: str | None = None

    @classmethod
    def of(cls, fields: Iterable[Any], text: str) -> FactsWithText:
        """Facts by their fields, and what `facts_text` made of them."""
        made = cls._make(fields)
        made.text = text
        return made


def facts_of(message: TaskMessage) -> Facts:
    """What one message says.

    A refund of all is proven by what the provider's own client asks for: `refund_status` is
    completed, `charge_status` released, the time is in UTC, and as much came back as was reserved,
    more than nothing (client of the command line 0.14.1, read November 2026). A refund of a part
    is proven by the same with a charge that stands, and less came back than was charged.
    """
    billing, ended = message.billing, message.status in ENDED
    # While credits are only reserved, what was used is not what will be charged.
    final = ended and (billing is None or billing.charge_status != "reserved")
    used = () if message.used_is_cost else _amounts(message.used)
    cost = _amounts(message.cost)
    facts = Facts(
        statuses=(message.status,),
        used=used if final else (),
        cost=cost if final else (),
        interim=() if final else _joined_amounts(_positive(used), _positive(cost)),
        reserved=_amounts(message.reserved),
        error_codes=_texts(message.error_code),
        video_seconds=_texts(message.video_seconds) if ended else (),
        models=_texts(message.model),
        user_groups=_texts(message.user_group),
        billing_rules=_texts(message.billing_rule),
        created_us=message.created_us,
    )
    return facts if billing is None else merged(facts, _facts_of_billing(billing, final=final))


def _facts_of_billing(billing: Billing, *, final: bool) -> Facts:
    """What the `billing` object says; it only proves what stands in one and the same object."""
    charged, refunded = _amounts(billing.charged), _amounts(billing.refunded)
    held = _amounts(billing.reserved)
    told = charged if billing.charge_status == "charged" else ()
    if billing.charge_status is None:
        # Where no word says how the charge stands, an amount is one; a zero may be nothing yet.
        told = _positive(charged)
    missing: Texts | None = None
    surplus = _is_surplus(held, charged, refunded)
    if billing.refund_status == "completed" and not surplus:
        missing = _missing(billing)
    proven = missing == ()
    return Facts(
        charged=told if final else (),
        interim=() if final else _positive(told),
        held=held,
        refunded=refunded if proven and billing.charge_status == "released" else (),
        returned=refunded if proven and billing.charge_status == "charged" and final else (),
        surplus=refunded if surplus else (),
        claimed=(refunded or (0,)) if missing else (),
        missing=missing or (),
        charge_statuses=_texts(billing.charge_status),
        refund_statuses=_texts(billing.refund_status),
    )


def _is_surplus(held: Amounts, charged: Amounts, refunded: Amounts) -> bool:
    """Whether what came back is what was held beyond the charge, and nothing of the charge.

    The provider says that too large a reserve is given back after success (Wan 3.0, read November
    2026), and not under which name. Counted as a refund, it would be taken off the charge.
    """
    if not (held and charged and refunded):
        return False
    return charged[0] > 0 and refunded[0] > 0 and held[0] - charged[0] == refunded[0]


def _missing(billing: Billing) -> Texts:
    """The fields that keep a refund, called completed, from being proven."""
    missing = []
    back = billing.refunded or 0
    if billing.charge_status == "released":
        enough = 0 < back == billing.reserved
    else:
        enough = 0 < back < (billing.charged or 0)
        if billing.charge_status != "charged":
            missing.append("charge_status")
    if billing.refund_scope not in {None, "account_balance"}:
        missing.append("refund_scope")
    if billing.refunded_at_us is None:
        missing.append("refunded_at")
    if not enough:
        missing.append("refunded_credits")
    return tuple(missing)


def merged(a: Facts, b: Facts) -> Facts:
    """What both say together; the order and repetition of messages make no difference.

    >>> merged(Facts(("completed",), used=(5,)), Facts(("pending",))) == merged(
    ...     Facts(("pending",)), Facts(("completed",), used=(5,)))
    True
    """
    if a is b or a == b:
        return a
    fields: list[Any] = [
        one if one == other else join(one, other)
        for join, one, other in zip(_JOINS, a, b, strict=True)
    ]
    return Facts(*fields)


def _joined_statuses(one: Texts, other: Texts) -> Texts:
    words = {*one, *other}
    unknown = sorted(words - _KNOWN)[:MOST_TEXTS]
    return tuple(sorted([*(words & _KNOWN), *unknown]))


def _joined_amounts(one: Amounts, other: Amounts) -> Amounts:
    return tuple(sorted({*one, *other})[-MOST_AMOUNTS:])


def _joined_texts(one: Texts, other: Texts) -> Texts:
    return tuple(sorted({*one, *other})[:MOST_TEXTS])


def _earliest(one: int | None, other: int | None) -> int | None:
    return min((when for when in (one, other) if when is not None), default=None)


_AMOUNTS: Final = frozenset(
    {
        *("charged", "used", "cost", "interim", "reserved", "held"),
        *("refunded", "returned", "surplus", "claimed"),
    }
)


def _join_of(field: str) -> Callable[[Any, Any], Any]:
    if field == "statuses":
        return _joined_statuses
    if field == "created_us":
        return _earliest
    return _joined_amounts if field in _AMOUNTS else _joined_texts


_JOINS: Final = tuple(map(_join_of, Facts._fields))


def _amounts(told: Decimal | None) -> Amounts:
    return () if told is None else (int(told.scaleb(8, EXACT)),)


def _positive(amounts: Amounts) -> Amounts:
    return tuple(amount for amount in amounts if amount)


def _texts(text: str | None) -> Texts:
    return () if text is None else (text,)


# As text


def facts_text(facts: Facts) -> str:
    """The facts as compact JSON; equal facts give equal text. Amounts are as they were told.

    >>> facts_text(Facts(("completed",), used=(6531840000,), models=("kling-v3-motion-control",)))
    '{"models":["kling-v3-motion-control"],"statuses":["completed"],"used":["65.3184"]}'
    """
    if isinstance(facts, FactsWithText) and facts.text is not None:
        return facts.text
    told: dict[str, object] = {}
    for field, place in _IN_TEXT:
        value: Any = facts[place]
        if value is None or value == ():
            continue
        if field in _AMOUNTS:
            value = [show_credits(item) for item in value]
        told[field] = value
    return _JSON.encode(told)


_JSON: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
_IN_TEXT: Final = sorted((field, place) for place, field in enumerate(Facts._fields))


def facts_from(text: str) -> Facts:
    """The facts that `facts_text` wrote.

    Raises:
        InvalidMessage: the text is not of that kind.
    """
    try:
        told = json.loads(text)
        if told["statuses"]:
            return Facts(**{field: _READ[field](value) for field, value in told.items()})
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        pass
    problem = "are not what this library writes; join the task's messages again"
    raise InvalidMessage("facts of a task", [Fault("", problem)])


def _read_amounts(value: list[str]) -> Amounts:
    found = []
    for text in value:
        whole, _, fraction = text.partition(".")
        found.append(int(f"{whole}{fraction:0<8}"))
    return tuple(found)


def _read_texts(value: list[str]) -> Texts:
    "".join(value)  # nothing but texts
    return tuple(value)


def _reader_of(field: str) -> Callable[[Any], Any]:
    if field == "created_us":
        return int
    return _read_amounts if field in _AMOUNTS else _read_texts


_READ: Final = {field: _reader_of(field) for field in Facts._fields}

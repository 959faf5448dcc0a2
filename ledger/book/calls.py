"""What a caller asked for, read once: its key, its content, and what a repeated call gets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple

from ledger.book.work import Wallet, Work, compact
from ledger.errors import Fault, InvalidAmount, InvalidEntry, InvalidMoment, KeyReused
from ledger.records import LONGEST_NAME, Entry, digest_of, moment, name, us
from ledger.units import (
    MAX_AMOUNT_E8,
    Amount,
    credits_to_e8,
    iso,
    parse_moment,
    show_credits,
)

__all__ = [
    "Call",
    "Content",
    "call_digest",
    "compact",
    "deadline_of",
    "earlier",
    "fits",
    "made",
    "moment_given",
    "one_of",
    "own_key",
    "positive",
    "reused",
    "signed",
    "text_of",
]

DEADLINE = timedelta(hours=24)
"""How long a hold waits to hear of its job by default: results are kept by the provider for 24 h.

docs.evolink.ai, task query, read 2026-11-22."""

_CLOCKS_DIFFER_US = 60_000_000
"""How far ahead of ours the clock of whoever saw a thing happen may be: a minute."""

_LONGEST_DEADLINE = timedelta(days=3660)
_MICROSECOND = timedelta(microseconds=1)

Content = Mapping[str, Any]
"""What a caller asked for, by field; amounts as `…_e8`."""


class Call(NamedTuple):
    """One call of a verb, or one item of a batch: what its key stands for from now on."""

    kind: str
    key: str
    content: Content
    at_us: int
    """When it happened."""
    given_us: int | None
    """The same, if the caller said so."""
    digest: bytes
    """SHA-256 over all of it."""


def made(work: Work, kind: str, key: object, content: Content, at: Any = None) -> Call:
    """A call, once its key and its moment have been read."""
    text = name(key, "the key")
    at_us, given_us = moment_given(at, work.now_us)
    digest = call_digest(kind, text, given_us, content.values())
    return Call(kind, text, content, at_us, given_us, digest)


def call_digest(kind: str, key: str, given_us: int | None, content: Iterable[object]) -> bytes:
    """SHA-256 over what a caller asked for."""
    return digest_of(kind, key, given_us, *content)


def earlier(work: Work, call: Call, was: Callable[[Entry], Content]) -> Entry | None:
    """The result an earlier call with this key had, or None where there was none.

    Raises:
        KeyReused: its content was another; `was` reads that from its entry.
    """
    if work.careful:
        # With the wallet locked first, whoever was faster with this key has been seen.
        job = call.content.get("job")
        work.find_wallet(call.content["wallet"]) if job is None else work.find_hold(job)
    first = work.earlier(call.kind, call.key)
    if first is None:
        return None
    if first.digest == call.digest:
        return first._replace(replayed=True)
    raise reused(call, was(first), first.told_at_us)


def reused(call: Call, was: Content, was_at_us: int | None) -> KeyReused:
    """The error that names in which fields a call differs from the first one with its key."""
    now = call.content
    differs = {
        field.removesuffix("_e8"): (_told(field, was.get(field)), _told(field, now.get(field)))
        for field in dict.fromkeys([*was, *now])
        if was.get(field) != now.get(field)
    }
    if not differs:
        given_us = call.given_us
        before = "not given" if was_at_us is None else iso(moment(was_at_us))
        differs["at"] = before, "not given" if given_us is None else iso(moment(given_us))
    return KeyReused(call.kind, call.key, differs=differs)


def _told(field: str, value: object) -> str:
    if value is None:
        return "not given"
    if field.endswith("_e8") and isinstance(value, int):
        return show_credits(value)
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def text_of(content: Content) -> str | None:
    """What is neither None nor empty, as compact JSON; None where nothing is left."""
    kept = {field: value for field, value in content.items() if value is not None and value != []}
    return compact(kept) if kept else None


def own_key(wallet: Wallet, subject: str) -> str:
    """A key for what the book does by itself: no two entries share it, whatever was done before."""
    # No key of a caller's ends in a space.
    key = f"{subject}@{wallet.seq + 1} "
    return key if len(key) <= LONGEST_NAME else f"{digest_of(wallet.id, key).hex()} "


# Reading what is given


def positive(amount_e8: int) -> int:
    """An amount of more than zero."""
    if amount_e8 <= 0:
        raise InvalidAmount("an amount must be more than zero")
    return amount_e8


def signed(amount: Amount) -> int:
    """A correction with its sign."""
    text = amount.strip() if isinstance(amount, str) else amount
    negative = isinstance(text, (int, Decimal)) and not _is_nan(text) and text < 0
    if isinstance(text, str) and text[:1] in {"-", "+"}:
        negative, text = text[0] == "-", text[1:]
    elif negative and isinstance(text, (int, Decimal)):
        text = -text
    amount_e8 = credits_to_e8(text)
    if not amount_e8:
        raise InvalidAmount("a correction must not be zero")
    return -amount_e8 if negative else amount_e8


def _is_nan(number: int | Decimal) -> bool:
    return isinstance(number, Decimal) and number.is_nan()


def fits(amount_e8: int) -> None:
    """Refuse a balance that would not fit its column."""
    if abs(amount_e8) > MAX_AMOUNT_E8:
        raise InvalidAmount("the balance would be more than a ledger column holds, 92 billion")


def moment_given(at: datetime | date | str | None, now_us: int) -> tuple[int, int | None]:
    """When something happened, and the same again if it was given rather than now."""
    if at is None:
        return now_us, None
    at_us = us(parse_moment(at))
    if at_us < 0:
        raise InvalidMoment(f"{iso(moment(at_us))} lies before 1970")
    if at_us > now_us + _CLOCKS_DIFFER_US:
        raise InvalidMoment(f"{iso(moment(at_us))} lies in the future; `at` is when it happened")
    # It did not happen after we heard of it, whatever the other clock says.
    return min(at_us, now_us), at_us


def deadline_of(deadline: timedelta | datetime | None, now_us: int) -> tuple[int, str | None]:
    """The deadline, and how it was given: a length from now stays the same in a repeated call."""
    if deadline is None:
        return now_us + DEADLINE // _MICROSECOND, None
    if isinstance(deadline, timedelta):
        if not timedelta(0) < deadline <= _LONGEST_DEADLINE:
            problem = "must be more than nothing and at most ten years"
            raise InvalidEntry("the deadline", [Fault("", problem)])
        length_us = deadline // _MICROSECOND
        return now_us + length_us, f"+{length_us}"
    at_us = us(parse_moment(deadline))
    return at_us, str(at_us)


def one_of(value: object, allowed: Sequence[str], what: str) -> None:
    """Refuse what is not in a short list of words."""
    if value not in allowed:
        problem = f"must be one of {', '.join(allowed)}, not {str(value)[:40]!r}"
        raise InvalidEntry(what, [Fault("", problem)])

"""JSON within limits, with the part of the text that each value was written as."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Final, NoReturn

from ledger.evolink.values import clip

__all__ = ["MAX_BYTES", "Unreadable", "decoded", "items", "part"]

MAX_BYTES: Final = 16 * 1024 * 1024
"""Largest text; a page of the provider's task list has a few hundred kilobytes."""
MAX_DEPTH: Final = 64
"""Deepest nesting of objects and lists; also the limit of the provider's client."""
MAX_DIGITS: Final = 128
"""Longest number that is written as a number of JSON."""

_SPACES: Final = " \t\n\r"
_SPACE = re.compile(f"[{_SPACES}]*")


class Unreadable(ValueError):
    """The text is not JSON within the limits; the message says why, without quoting values."""


def decoded(text: str | bytes) -> tuple[str, object]:
    """The text without what surrounds it, and its value; no number becomes a float.

    Raises:
        Unreadable: too large, or nested too deep; not UTF-8; empty or not JSON; a key stands twice
            in an object; a number of more than 128 characters, or one that is none (NaN).

    >>> decoded(b' {"credits_used": 1.10} ')
    ('{"credits_used": 1.10}', {'credits_used': Decimal('1.10')})
    """
    if len(text) > MAX_BYTES:
        raise Unreadable(f"has more than {MAX_BYTES // 1024 // 1024} MiB")
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        elif not text.isascii():
            text.encode("utf-8")
        text = text.removeprefix("\ufeff").strip(_SPACES)
        if not text:
            raise Unreadable("is empty")
        value = _JSON.decode(text)
    except UnicodeError:
        raise Unreadable("is not UTF-8 text") from None
    except json.JSONDecodeError as error:
        # In a file, the text is a line of its own; its number there is not 1.
        within = f"line {error.lineno}, " if "\n" in text else ""
        problem = f"is not JSON: {error.msg.removesuffix(' at')} at {within}column {error.colno}"
        raise Unreadable(problem) from None
    except RecursionError:
        raise Unreadable(f"is nested deeper than {MAX_DEPTH} levels") from None
    # Few texts have so many brackets at all, so few are walked through.
    if text.count("{") + text.count("[") > MAX_DEPTH and _is_too_deep(value):
        raise Unreadable(f"is nested deeper than {MAX_DEPTH} levels")
    return text, value


def part(text: str, value: dict[str, object], key: str) -> str:
    """How a member was written; `decoded` has read the value from the text.

    >>> part('{"job": "job-1", "body": {"id" : 1}}', {"job": "job-1", "body": {"id": 1}}, "body")
    '{"id" : 1}'
    """
    *others, last = value
    if last == key and not any(isinstance(value[other], (dict, list)) for other in others):
        # Where nothing is escaped before it, what looks like the key is the key, and not one
        # further inside; and nothing stands behind the last member.
        found = re.search(rf'(?<!\\)"{key}"[{_SPACES}]*:[{_SPACES}]*', text)
        if found is not None and "\\" not in text[: found.start()]:
            return text[found.end() : -1].rstrip(_SPACES)
    return dict(_members(text))[key]


def _members(text: str) -> Iterator[tuple[str, str]]:
    """Key and text of each member of an object."""
    at = _past_space(text, 1)
    while text[at] != "}":
        key, at = _JSON.raw_decode(text, at)
        start = _past_space(text, _past_space(text, at) + 1)
        _, end = _JSON.raw_decode(text, start)
        yield key, text[start:end]
        at = _past_comma(text, end)


def items(text: str) -> Iterator[tuple[object, str]]:
    """Value and text of each item of a list that `decoded` has read.

    >>> list(items('[{"id" : 1}, 2]'))
    [({'id': 1}, '{"id" : 1}'), (2, '2')]
    """
    at = _past_space(text, 1)
    while text[at] != "]":
        value, end = _JSON.raw_decode(text, at)
        yield value, text[at:end]
        at = _past_comma(text, end)


def _past_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return at if found is None else found.end()


def _past_comma(text: str, at: int) -> int:
    at = _past_space(text, at)
    return _past_space(text, at + 1) if text[at] == "," else at


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        [(repeated, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise Unreadable(f"has the key {clip(repeated)} twice in one object")
    return found


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise Unreadable(f"has a number of more than {MAX_DIGITS} characters")
    return int(text)


def _decimal(text: str) -> Decimal:
    if len(text) > MAX_DIGITS:
        raise Unreadable(f"has a number of more than {MAX_DIGITS} characters")
    try:
        return Decimal(text)
    except ArithmeticError:
        raise Unreadable(f"has the number {clip(text)}, which is too large") from None


def _constant(text: str) -> NoReturn:
    raise Unreadable(f"has {text}, which is not a number of JSON")


_JSON = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_float=_decimal,
    parse_int=_integer,
    parse_constant=_constant,
)


def _is_too_deep(value: object) -> bool:
    """Whether objects and lists are nested deeper than the limit; without recursion."""
    level: list[object] = [value]
    for _ in range(MAX_DEPTH):
        below: list[object] = []
        for item in level:
            if isinstance(item, dict):
                below += item.values()
            elif isinstance(item, list):
                below += item
        level = [item for item in below if isinstance(item, (dict, list))]
        if not level:
            return False
    return True

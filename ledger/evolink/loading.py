"""Reading a pricing document as JSON, within limits that no sound document comes near to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Final, NoReturn

from ledger.errors import Fault, InvalidPriceFile
from ledger.evolink.values import clip

__all__ = ["MAX_BYTES", "MAX_FAULTS", "Faults", "bytes_of", "loaded"]

MAX_BYTES: Final = 16 * 1024 * 1024
"""Largest document."""
MAX_JSON_DEPTH: Final = 64
"""Deepest nesting of objects and lists; also the limit of the provider's client."""
MAX_VALUES: Final = 200_000
"""Most values in a document, counting objects and lists."""
MAX_DIGITS: Final = 128
"""Longest number that is written as a number of JSON."""
MAX_FAULTS: Final = 50
"""Most faults that are told of one document."""


class Faults:
    """Everything wrong with one document, up to the point where more would not help."""

    __slots__ = ("found", "subject")

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.found: list[Fault] = []

    def add(self, path: str, problem: str) -> None:
        """Take note of a fault; refuse the document at once when there are too many."""
        self.found.append(Fault(path, problem))
        if len(self.found) >= MAX_FAULTS:
            self.refuse()

    def refuse(self) -> None:
        """Refuse the document if anything is wrong with it."""
        if self.found:
            raise InvalidPriceFile(self.subject, self.found)


class _Repeating(dict[str, object]):
    """An object of JSON in which a key stands twice."""

    repeated: str


def bytes_of(path: Path) -> bytes:
    """The bytes of a file, one more than a document may have at most.

    Raises:
        InvalidPriceFile: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidPriceFile(str(path), [Fault("", str(error.strerror))]) from None
    except ValueError:
        raise InvalidPriceFile(str(path), [Fault("", "is not the name of a file")]) from None


def loaded(text: str | bytes, subject: str) -> object:
    """The document as JSON types; numbers with a point or an exponent are `Decimal`.

    Raises:
        InvalidPriceFile: it is too large or nested too deep, is not UTF-8 or not JSON, has a key
            twice, or a number of more than 128 characters, or one that is none (NaN).
    """

    def refuse(problem: str) -> NoReturn:
        raise InvalidPriceFile(subject, [Fault("", problem)])

    if len(text) > MAX_BYTES:
        refuse(f"has more than {MAX_BYTES // 1024 // 1024} MiB")
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8")
        document = json.loads(
            text.removeprefix("\ufeff"),
            parse_int=_integer,
            parse_float=_decimal,
            parse_constant=_constant,
            object_pairs_hook=_object,
        )
    except UnicodeDecodeError:
        refuse("is not UTF-8 text")
    except json.JSONDecodeError as error:
        refuse(f"is not JSON: {error}")
    except ValueError as error:  # from the functions below
        refuse(str(error))
    except RecursionError:
        refuse(f"is nested deeper than {MAX_JSON_DEPTH} levels")
    problem = _beyond_limits(document)
    if problem:
        refuse(problem)
    return document


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"has a number of more than {MAX_DIGITS} characters")
    return int(text)


def _decimal(text: str) -> Decimal:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"has a number of more than {MAX_DIGITS} characters")
    try:
        return Decimal(text)
    except ArithmeticError:
        raise ValueError(f"has the number {clip(text)}, which is too large") from None


def _constant(text: str) -> NoReturn:
    raise ValueError(f"has {text}, which is not a number of JSON")


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        marked = _Repeating(found)
        [(marked.repeated, _)] = Counter(key for key, _ in pairs).most_common(1)
        return marked
    return found


def _beyond_limits(document: object) -> str:
    """Which limit a document breaks, or nothing; without recursion."""
    level: list[object] = [document]
    values = depth = 0
    while level:
        values += len(level)
        if values > MAX_VALUES:
            return f"has more than {MAX_VALUES:,} values"
        if depth > MAX_JSON_DEPTH:
            return f"is nested deeper than {MAX_JSON_DEPTH} levels"
        below: list[object] = []
        for item in level:
            if isinstance(item, _Repeating):
                return f"has the key {clip(item.repeated)} twice in one object"
            children: Iterable[object] = ()
            if isinstance(item, dict):
                children = item.values()
            elif isinstance(item, list):
                children = item
            below += children
        level, depth = below, depth + 1
    return ""

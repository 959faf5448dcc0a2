"""Pricing documents that a user has kept: each under a name, as it was captured, for good.

A kept book is a folder of two files, the document byte for byte and what is known about it. It is
written beside and then renamed, so that there is never half of one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from platformdirs import user_data_path

from ledger.documents import PriceBookDocument
from ledger.errors import Fault, InvalidPriceFile
from ledger.evolink.rules import Rules
from ledger.units import iso, parse_moment

__all__ = ["FOLDER", "Kept", "find", "keep", "kept_books", "kept_names"]

FOLDER = "KLING_LEDGER_PRICE_DIR"
"""Environment variable: where kept books stand; a folder of the user's data, if not set."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
_DOCUMENT, _ABOUT = "rules.json", "about.json"


class Kept(NamedTuple):
    """What is known about a kept book."""

    name: str
    path: Path
    """The document."""
    source: str
    """Where it was read."""
    captured_at: datetime
    """When the provider says that it was made."""
    kept_at: datetime
    digest: str
    """SHA-256 of its bytes."""

    def document(self) -> PriceBookDocument:
        """The book as JSON types."""
        return {
            "name": self.name,
            "captured_at": iso(self.captured_at),
            "kept_at": iso(self.kept_at),
            "source": self.source,
            "digest": self.digest,
            "path": str(self.path),
        }


def keep(
    text: bytes, name: str, *, source: str, now: datetime, taken: tuple[str, ...] = ()
) -> tuple[Kept, bool]:
    """Keep a pricing document under a name; also whether it was kept before.

    Args:
        text: the document, as the provider answered it.
        name: what the book is called from now on, such as `evolink-2026-10-10`.
        source: where it was read, for those who look at a price later.
        now: the moment of keeping.
        taken: names that other books have.

    Raises:
        InvalidPriceFile: the name cannot be used or stands for another document, or the document
            is not valid; nothing was kept.
    """
    if not _NAME.fullmatch(name):
        problem = "must have letters, digits, dots, dashes and underscores only, 64 at most"
        raise InvalidPriceFile(f"price book {name[:80]!r}", [Fault("name", problem)])
    if name.lower().endswith((".json", ".toml")):
        problem = "would be taken for a file; leave the ending out"
        raise InvalidPriceFile(f"price book {name}", [Fault("name", problem)])
    if name in taken:
        problem = "is the name of a bundled book; choose another one"
        raise InvalidPriceFile(f"price book {name}", [Fault("name", problem)])
    rules = Rules.parse(text, subject=source)
    digest = hashlib.sha256(text).hexdigest()
    before = find(name)
    if before is not None:
        if before.digest == digest:
            _mend(before, text)
            return before, True
        problem = f"is kept already, captured {iso(before.captured_at)}; choose another name"
        raise InvalidPriceFile(f"price book {name}", [Fault("name", problem)])
    about = {
        "name": name,
        "source": source,
        "captured_at": iso(rules.meta.updated_at),
        "kept_at": iso(now),
        "digest": digest,
    }
    with _writable(name):
        folder = _folder()
        folder.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=".", dir=folder))
        try:
            (beside / _DOCUMENT).write_bytes(text)
            (beside / _ABOUT).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
            beside.chmod(0o755)
            beside.rename(folder / name)
        except OSError:
            shutil.rmtree(beside, ignore_errors=True)
            raise
    return _read(folder / name), False


def _mend(kept: Kept, text: bytes) -> None:
    """Write a kept document again where it was changed or lost."""
    try:
        is_whole = kept.path.read_bytes() == text
    except OSError:
        is_whole = False
    if not is_whole:
        with _writable(kept.name):
            beside = kept.path.with_name(f".{_DOCUMENT}")
            beside.write_bytes(text)
            beside.replace(kept.path)


def find(name: str) -> Kept | None:
    """The kept book of a name, if there is one.

    Raises:
        InvalidPriceFile: it is there and cannot be read.
    """
    path = _folder() / name
    return _read(path) if _NAME.fullmatch(name) and (path / _ABOUT).is_file() else None


def kept_books() -> list[Kept]:
    """Every kept book, by name.

    Raises:
        InvalidPriceFile: one cannot be read.
    """
    return [_read(_folder() / name) for name in kept_names()]


def kept_names() -> list[str]:
    """Names of the kept books, sorted; what else stands in their folder is none of them."""
    folder = _folder()
    if not folder.is_dir():
        return []
    names = (item.name for item in folder.iterdir() if (item / _ABOUT).is_file())
    return sorted(name for name in names if _NAME.fullmatch(name))


def _folder() -> Path:
    given = os.environ.get(FOLDER)
    return Path(given) if given else user_data_path("kling-ledger") / "prices"


def _read(folder: Path) -> Kept:
    try:
        about = json.loads((folder / _ABOUT).read_text(encoding="utf-8"))
        if about["name"] != folder.name:
            raise ValueError  # a copy of another one
        return Kept(
            folder.name,
            folder / _DOCUMENT,
            str(about["source"]),
            parse_moment(about["captured_at"]),
            parse_moment(about["kept_at"]),
            str(about["digest"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        problem = f"cannot be read; remove the folder {folder} and import the document again"
        raise InvalidPriceFile(f"price book {folder.name}", [Fault("", problem)]) from None


@contextmanager
def _writable(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        problem = f"cannot be kept in {_folder()}: {error.strerror}; see {FOLDER}"
        raise InvalidPriceFile(f"price book {name}", [Fault("", problem)]) from None

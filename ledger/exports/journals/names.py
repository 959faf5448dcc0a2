"""Names of wallets, labels and models as components of accounts, and texts for comments."""

from __future__ import annotations

import json
import re
import unicodedata
from functools import lru_cache
from hashlib import sha256

__all__ = ["component", "expense_account", "is_link", "quoted", "word"]

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,39}", re.ASCII)
_MADE = re.compile(r"-[0-9a-f]{12}$", re.ASCII)
_OTHER = re.compile(r"[^A-Za-z0-9]+", re.ASCII)

EXPENSES = "Expenses:AI"

ACCOUNTS = {
    "kling-v3-motion-control": "Kling:MotionControl",
    "kling-custom-element": "Kling:Element",
    "kling-v3-text-to-video": "Kling:TextToVideo",
    "kling-v3-image-to-video": "Kling:ImageToVideo",
    "kling-o3-text-to-video": "KlingO3:TextToVideo",
    "kling-o3-image-to-video": "KlingO3:ImageToVideo",
    "kling-o3-reference-to-video": "KlingO3:ReferenceToVideo",
    "kling-o3-video-edit": "KlingO3:VideoEdit",
}
"""The expense account of each model that has a name of its own."""


@lru_cache(maxsize=4096)
def component(name: str, *, caseless: bool = False) -> str:
    """A name as a component of an account that all three programs accept.

    A plain name only gets a capital first letter. Of any other one, what letters and digits it
    has stand before 12 hexadecimal digits of its SHA-256, so that no two names become one.

    Args:
        name: of a wallet, a label's value, a model.
        caseless: no two of these names differ only in case, as is true of a book's wallets.

    >>> component("studio", caseless=True), component("ads"), component("Ads")
    ('Studio', 'Ads', 'Ads-9210f3b6cd17')
    """
    plain = _PLAIN.fullmatch(name) and not _MADE.search(name)
    if plain and (caseless or not name[0].isupper()):
        return name[0].upper() + name[1:]
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    seen = _OTHER.sub("-", ascii_only).strip("-")[:40].rstrip("-") or "X"
    return f"{seen[0].upper()}{seen[1:]}-{sha256(name.encode()).hexdigest()[:12]}"


def expense_account(model: str | None) -> str:
    """The account of what jobs of a model cost.

    >>> expense_account("kling-v3-motion-control"), expense_account("wan-9")
    ('Expenses:AI:Kling:MotionControl', 'Expenses:AI:Other:Wan-9')
    """
    if model is None:
        return f"{EXPENSES}:Unpriced"
    return f"{EXPENSES}:{ACCOUNTS.get(model) or f'Other:{component(model)}'}"


_LINK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_/.-]{0,99}", re.ASCII)


def is_link(name: str) -> bool:
    """Whether a job's name can stand where programs want a single plain word."""
    return _LINK.fullmatch(name) is not None


# What ends a value, or is read as a date or as another value, in the comments of hledger or ledger.
_SPECIAL = re.compile(r'[\[\],;"\\]')
_WORD = re.compile(r"[\w.@/+-]+")


def quoted(text: str) -> str:
    r"""A text as a value in a comment: as it is, or as a JSON string where that could be misread.

    >>> quoted("job 1"), quoted("take [2], again")
    ('job 1', '"take \\u005b2\\u005d\\u002c again"')
    """
    if text == text.strip() and not _SPECIAL.search(text):
        return text
    return _SPECIAL.sub(_escaped, json.dumps(text, ensure_ascii=False)[1:-1]).join('""')


def _escaped(found: re.Match[str]) -> str:
    char = found[0]
    return char if char in {'"', "\\"} else f"\\u{ord(char):04x}"


def word(text: str) -> str:
    """A text as one word of a value, for lists such as those of labels.

    >>> word("ads"), word("Zoë K")
    ('ads', '"Zoë K"')
    """
    return text if _WORD.fullmatch(text) else json.dumps(text, ensure_ascii=False)

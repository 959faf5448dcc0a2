"""The provider's pricing document: what it says of every model, ready to price with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from os import PathLike
from pathlib import Path
from typing import Any, Final, cast

from ledger.evolink.loading import bytes_of, loaded
from ledger.evolink.parts import Component, Meta, Parameter, Tier
from ledger.evolink.reading import Reader
from ledger.evolink.rule import UC_E8, Bill, BillLine, Range, Rule

__all__ = [
    "UC_E8",
    "Bill",
    "BillLine",
    "Component",
    "Meta",
    "Parameter",
    "Range",
    "Rule",
    "Rules",
    "Tier",
]

_FRESHNESS: Final = frozenset({"catalog_version", "fresh_until", "pricing_version", "updated_at"})


@dataclass(frozen=True, slots=True)
class Rules:
    """A pricing document, checked in every part."""

    meta: Meta
    """Its heading."""
    models: Mapping[str, Rule]
    """The rule of each model by its id, in the order of the document."""
    digest: str
    """SHA-256 of the economic content: equal where nothing but the freshness differs."""
    warnings: tuple[str, ...]
    """What was not read, and rules that are declared incomplete."""

    @classmethod
    def read(cls, path: str | PathLike[str]) -> Rules:
        """The document in a file.

        Raises:
            InvalidPriceFile: the file cannot be read, or is not a valid document; has every
                fault found, 50 at most, each with its path.
        """
        return cls.parse(bytes_of(Path(path)), subject=str(path))

    @classmethod
    def parse(cls, text: str | bytes, subject: str = "rules.json") -> Rules:
        """The document that a text says; `subject` is what errors call it.

        Raises:
            InvalidPriceFile: as for `read`.
        """
        document = loaded(text, subject)
        reader = Reader(subject)
        meta, models = reader.read(document)
        digest = _digest(cast("dict[str, Any]", document))
        return cls(meta, models, digest, tuple(reader.warnings))


def _digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of the content without its freshness, in a canonical form.

    The order of models and of keys says nothing about prices, and whether a document answers for
    one model or for a list of one does not either.
    """
    meta = {key: value for key, value in document["meta"].items() if key not in _FRESHNESS}
    rest = {key: value for key, value in document.items() if key not in {"meta", "model", "models"}}
    models = document["models"] if "models" in document else [document["model"]]
    content = {
        **rest,
        "meta": meta,
        "models": sorted(models, key=lambda model: str(model["model_id"])),
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), default=_number)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _number(value: object) -> object:
    if isinstance(value, Decimal):
        return {"number": str(value)}
    raise TypeError(f"{type(value).__name__} is not a type of JSON")

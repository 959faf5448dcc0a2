"""The JSON of `manifest.json`, the list of an export's files: it is printed by no command."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from typing_extensions import TypedDict

__all__ = [
    "MANIFEST_SCHEMA",
    "ExportedFileDocument",
    "HeadDocument",
    "ManifestDocument",
]

MANIFEST_SCHEMA: Literal["kling-ledger/manifest/v1"] = "kling-ledger/manifest/v1"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""64 hexadecimal digits."""

Count = Annotated[int, Field(ge=0, strict=True)]


class HeadDocument(TypedDict):
    """The last entry of a wallet that was known: its hash stands for all before it."""

    wallet: str
    seq: Annotated[int, Field(ge=1, strict=True)]
    hash: Sha256


class ExportedFileDocument(TypedDict):
    """One file of an export."""

    name: Annotated[str, Field(min_length=1)]
    """Its name in the folder of the manifest, never a path."""
    rows: Count | None
    """Null where it has none."""
    bytes: Count
    sha256: Sha256
    totals: dict[str, dict[str, str]]
    """Column → `credits` or a currency → sum, exact."""


class ManifestDocument(TypedDict):
    """A file `manifest.json`: what its folder holds, and what that was made from.

    Nothing in it is of the moment at which it was written.
    """

    schema: Literal["kling-ledger/manifest/v1"]
    library: str
    """The version that wrote the files."""
    database_revision: str
    book: str
    wallet: str | None
    """Null for all wallets."""
    period: str | None
    """Null for everything, and so are `start` and `end`."""
    start: str | None
    end: str | None
    timezone: str
    by: Literal["happened", "recorded"]
    """Which time of an entry says whether it counts."""
    as_of: str | None
    """Only what was recorded before this moment is known."""
    last_recorded_at: str | None
    """Null for an empty book."""
    wallets: list[HeadDocument]
    files: list[ExportedFileDocument]

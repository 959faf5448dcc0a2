"""The list of the files of an export: what each holds, and how to tell that it is still the same.

A manifest says what the files were made from (book, period, last entry of each wallet with its
hash) and for each its rows, control totals, size and SHA-256. Nothing in it is of the moment at
which it was written, so that the same book gives the same manifest.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from pydantic import TypeAdapter, ValidationError

from ledger.documents.manifests import MANIFEST_SCHEMA, ExportedFileDocument, ManifestDocument
from ledger.errors import InvalidInput
from ledger.exports.rows import Reading
from ledger.exports.writing import MANIFEST, whole_file
from ledger.records import moment
from ledger.requests.reading import must
from ledger.store.schema import HEAD
from ledger.units import iso

__all__ = ["FileMade", "Finding", "check_manifest", "file_made", "write_manifest"]

_PART = 1 << 20


class FileMade(NamedTuple):
    """One file of an export."""

    name: str
    rows: int | None
    """None where it has none."""
    bytes: int
    sha256: str
    """In hexadecimal digits."""
    totals: Mapping[str, Mapping[str, str]]
    """Column → `credits` or a currency → sum, exact."""


class Finding(NamedTuple):
    """A file that is not what its manifest says."""

    name: str
    problem: str

    def __str__(self) -> str:
        """As a sentence."""
        return f"{self.name}: {self.problem}"


def file_made(
    path: Path, *, rows: int | None, totals: Mapping[str, Mapping[str, str]] | None = None
) -> FileMade:
    """What a manifest says of a file that was written."""
    return FileMade(path.name, rows, path.stat().st_size, _sha256(path), totals or {})


def write_manifest(folder: Path, reading: Reading, files: Iterable[FileMade]) -> None:
    """Write the manifest of a folder's files, in the order of their names.

    Raises:
        OutputError: it cannot be written.
    """
    asked, made_at_us = reading.asked, reading.made_at_us
    span = asked.span
    document: ManifestDocument = {
        "schema": MANIFEST_SCHEMA,
        "library": f"kling-ledger {version('kling-ledger')}",
        "database_revision": HEAD,
        "book": asked.book.book,
        "wallet": asked.wallet,
        "period": None if span is None else span.name,
        "start": None if span is None else iso(span.start),
        "end": None if span is None else iso(span.end),
        "timezone": asked.timezone,
        "by": asked.by,
        "as_of": None if asked.as_of_us is None else iso(moment(asked.as_of_us)),
        "last_recorded_at": None if made_at_us is None else iso(moment(made_at_us)),
        "wallets": [
            {"wallet": head.wallet, "seq": head.seq, "hash": head.hash} for head in reading.heads
        ],
        "files": [_document(file) for file in sorted(files)],
    }
    with whole_file(folder / MANIFEST) as file:
        file.write(f"{json.dumps(document, indent=2, ensure_ascii=False)}\n".encode())


def check_manifest(folder: Path) -> tuple[list[FileMade], list[Finding]]:
    """Hold the files of a folder against its manifest.

    Returns:
        The files it lists, and what is not as it says, in the order of the list; then what it
        does not list.

    Raises:
        InvalidInput: there is no manifest, or it is none.
    """
    listed = _read(folder / MANIFEST)
    findings = [finding for item in listed if (finding := _differs(folder, item)) is not None]
    times = Counter(item.name for item in listed)
    findings += [Finding(name, "is listed twice") for name in times if times[name] > 1]
    known = {MANIFEST, *(item.name for item in listed)}
    strange = sorted(item.name for item in folder.iterdir() if item.name not in known)
    return listed, findings + [Finding(name, "is not in the manifest") for name in strange]


def _differs(folder: Path, item: FileMade) -> Finding | None:
    path = folder / item.name
    try:
        if not path.is_file():
            return Finding(item.name, "is missing")
        size = path.stat().st_size
        if size != item.bytes:
            return Finding(item.name, f"has {size:,} bytes, and {item.bytes:,} were written")
        found = _sha256(path)
    except OSError as error:
        return Finding(item.name, f"cannot be read: {error.strerror}")
    if found != item.sha256:
        return Finding(item.name, f"has SHA-256 {found[:12]}…, and {item.sha256[:12]}… was written")
    return None


def _document(file: FileMade) -> ExportedFileDocument:
    return {
        "name": file.name,
        "rows": file.rows,
        "bytes": file.bytes,
        "sha256": file.sha256,
        "totals": {column: dict(sums) for column, sums in file.totals.items()},
    }


def _read(path: Path) -> list[FileMade]:
    """The files that a manifest lists.

    Raises:
        InvalidInput: it cannot be read, or is none.
    """
    try:
        document: object = json.loads(path.read_bytes())
        manifest = TypeAdapter(ManifestDocument).validate_python(document)
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror}; name the folder of an export") from None
    except ValidationError as error:
        raise _no_manifest(path, *_first_fault(error)) from None
    except (ValueError, RecursionError):
        raise _no_manifest(path, "it", "must be JSON") from None
    for number, item in enumerate(manifest["files"]):
        # A name with a path in it would have us read files elsewhere.
        if item["name"] != Path(item["name"]).name or item["name"] == ".." or "\0" in item["name"]:
            problem = f"must be the name of a file in the folder, not {item['name'][:60]!r}"
            raise _no_manifest(path, f"files.{number}.name", problem)
    return [FileMade(**item) for item in manifest["files"]]


def _first_fault(error: ValidationError) -> tuple[str, str]:
    """Where a manifest is first not as it should be, and how."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"])) or "it"
    return where, "is required" if first["type"] == "missing" else must(str(first["msg"]))


def _no_manifest(path: Path, where: str, problem: str) -> InvalidInput:
    return InvalidInput(f"{path}: is no manifest of an export; {where} {problem}")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(_PART):
            digest.update(part)
    return digest.hexdigest()

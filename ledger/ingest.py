"""Files of the provider's messages, read into a book: a part at a time, and nothing twice.

A file is JSON lines: each line is what the provider answers or calls back, alone or in an envelope
that names the job and the time of receipt. About two thousand messages are one transaction, which
also says how far the file was read; after a kill the next call goes on there.
"""

from __future__ import annotations

import gc
import gzip
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import file_digest, sha256
from pathlib import Path
from stat import S_ISREG
from typing import IO, Any, Final, NamedTuple, cast

from ledger.book.told import Applied
from ledger.book.work import Heard
from ledger.errors import InvalidInput, InvalidMessage
from ledger.evolink.tasks import read_messages
from ledger.evolink.tasks.text import MAX_BYTES
from ledger.jobs import Ledger, heard
from ledger.records import ImportRecord

__all__ = ["Ingested", "InvalidLine", "ingest_tasks"]

MESSAGES_AT_ONCE: Final = 2_000
"""About so many messages are one transaction."""

MOST_LISTED: Final = 20
"""Most invalid lines that are listed; all are counted."""

_KIND: Final = "tasks"


class InvalidLine(NamedTuple):
    """A line that could not be read; the others were."""

    line: int
    """Its number, from 1."""
    problem: str


@dataclass(frozen=True, slots=True)
class Ingested:
    """What came of a file of messages."""

    name: str
    lines: int
    """Lines of the file, blank ones included."""
    messages: int
    """Messages in them; a line may have several."""
    new: int
    """Messages that were not known before."""
    known: int
    charged: int
    """Charges that were written; `charged_e8` is their sum."""
    charged_e8: int
    released: int
    released_e8: int
    refunded: int
    refunded_e8: int
    invalid: int
    """Lines that could not be read."""
    invalid_lines: tuple[InvalidLine, ...]
    """The first 20 of them."""
    resumed_after: int
    """Lines that an earlier call had read, which was cut off; 0 if there was none."""
    repeated: bool
    """Whether all of this very file was read before, so that nothing was done now."""
    waiting: int
    """Tasks of the book now whose job is not known or not reserved, or that it has refused."""
    running: int
    """Tasks of the book now that have not ended, as far as is known."""
    unproven: int
    """Tasks of the book now that failed without proof of a refund."""
    unpriced: int
    """Tasks of the book now that completed, and nobody said what they cost."""
    disputed: int
    """Tasks of the book now of which the provider said things that contradict each other."""


def ingest_tasks(
    ledger: Ledger,
    source: str | Path | IO[bytes],
    *,
    name: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Ingested:
    """Read a file of messages into a book; the same file again changes nothing.

    Lines that cannot be read are listed and counted, and the others are in. What was read from a
    stream is kept as well, but a stream that was cut off is read again from its beginning.

    Args:
        ledger: the book.
        source: a file (`.gz` is unpacked on the way), or a stream of bytes.
        name: what it is called in what is reported; the file's name, if None.
        progress: is told from time to time how many messages were read.

    Raises:
        InvalidInput: the file cannot be read, or it changed while it was read.
        StoreError: the database cannot be used; what was done so far stays done.
    """
    with _opened(source, name) as file:
        before = None if file.digest is None else ledger.imported(_KIND, file.digest)
        reading = _Reading(ledger, file, before)
        repeated = before is not None and bool(before.complete)
        resumed_after = 0 if repeated else reading.at.lines
        if not repeated:
            with _rare_collections():
                reading.run(progress)
    return Ingested(
        name=file.name,
        lines=reading.at.lines,
        resumed_after=resumed_after,
        repeated=repeated,
        **cast("Any", reading.counts._asdict()),
        **cast("Any", ledger.task_counts()),
    )


@dataclass(slots=True)
class _Place:
    """How far a file was read."""

    lines: int = 0
    offset_bytes: int = 0


class _Counts(NamedTuple):
    """What came of the lines that were read."""

    messages: int = 0
    new: int = 0
    known: int = 0
    charged: int = 0
    charged_e8: int = 0
    released: int = 0
    released_e8: int = 0
    refunded: int = 0
    refunded_e8: int = 0
    invalid: int = 0
    invalid_lines: tuple[InvalidLine, ...] = ()

    @classmethod
    def read(cls, text: str | None) -> _Counts:
        """The counts that `text` wrote."""
        told = json.loads(text or "{}")
        lines = (InvalidLine(*item) for item in told.pop("invalid_lines", ()))
        return cls(**told, invalid_lines=tuple(lines))

    def text(self) -> str:
        """As JSON, for the book."""
        return json.dumps(self._asdict(), ensure_ascii=False, separators=(",", ":"))

    def refused(self, line: int, problem: str) -> _Counts:
        """With a line that could not be read."""
        listed = self.invalid_lines
        if len(listed) < MOST_LISTED:
            listed += (InvalidLine(line, problem),)
        return self._replace(invalid=self.invalid + 1, invalid_lines=listed)

    def plus(self, applied: Iterable[Applied]) -> _Counts:
        """With what became of messages."""
        sums = dict.fromkeys(_SUMS, 0)
        for item in applied:
            sums["new"] += item.new
            sums["known"] += item.known
            for entry in item.entries:
                done = _DONE[entry.kind]
                sums[done] += 1
                sums[f"{done}_e8"] += abs(entry.posted_e8 or entry.held_e8)
        return self._replace(**{name: getattr(self, name) + sum_ for name, sum_ in sums.items()})


_DONE = {"charge": "charged", "release": "released", "refund": "refunded"}
_SUMS = (
    *("new", "known", "charged", "charged_e8"),
    *("released", "released_e8", "refunded", "refunded_e8"),
)


class _Reading:
    """One call of `ingest_tasks` on one file."""

    def __init__(self, ledger: Ledger, file: _File, before: ImportRecord | None) -> None:
        self.ledger, self.file = ledger, file
        self.at = _Place() if before is None else _Place(before.lines, before.offset_bytes)
        self.counts = _Counts.read(None if before is None else before.result)
        self.waiting: list[Heard] = []

    def run(self, progress: Callable[[int], None] | None) -> None:
        """Read all that is left."""
        file = self.file
        for line, text in file.texts(self.at):
            self._hear(line, text)
            if len(self.waiting) >= MESSAGES_AT_ONCE:
                self._tell()
                if progress is not None:
                    progress(self.counts.messages)
        self._tell()
        file.check_unchanged()
        # What came before its job was reserved, elsewhere or in this file, need not wait any more.
        self.counts = self.counts.plus(self.ledger.catch_up())
        digest = file.digest or file.seen.digest()
        self.ledger.tell([], imported=lambda _: self._record(digest, self.counts, complete=1))

    def _hear(self, line: int, text: bytes | None) -> None:
        """Take up what a line says; one that cannot be read is counted."""
        if text is None:
            problem = f"has more than {MAX_BYTES // 1024 // 1024} MiB"
            self.counts = self.counts.refused(line, problem)
            return
        if text.isspace():
            return
        try:
            messages = read_messages(text)
        except InvalidMessage as error:
            problem = "; ".join(map(str, error.faults))
            self.counts = self.counts.refused(line, problem)
            return
        self.counts = self.counts._replace(messages=self.counts.messages + len(messages))
        self.waiting += map(heard, messages)

    def _tell(self) -> None:
        """Keep what was heard, do what it asks for, and note how far the file was read."""
        digest, applied = self.file.digest, []
        if digest is not None:
            applied = self.ledger.tell(
                self.waiting, imported=lambda done: self._record(digest, self.counts.plus(done))
            )
        elif self.waiting:
            applied = self.ledger.tell(self.waiting)
        self.counts, self.waiting = self.counts.plus(applied), []

    def _record(self, digest: bytes, counts: _Counts, *, complete: int = 0) -> ImportRecord:
        return ImportRecord(
            self.ledger.book,
            _KIND,
            digest,
            self.file.name,
            self.at.lines,
            self.at.offset_bytes,
            complete,
            counts.text(),
            0,
        )


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Let Python look for cycles rarely: messages make none, and looking takes a tenth of it."""
    before = gc.get_threshold()
    gc.set_threshold(200_000, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


# Files


class _File:
    """A file or a stream, as lines."""

    def __init__(self, stream: IO[bytes], name: str, *, digest: bytes | None) -> None:
        self.stream, self.name, self.digest = stream, name, digest
        """`digest` is SHA-256 of the file; None for a stream, which is known only at its end."""
        self.seen = sha256()
        """Of what was read of a stream."""
        self.raw: IO[bytes] | None = None
        self._was: tuple[int, ...] = ()

    def texts(self, at: _Place) -> Iterator[tuple[int, bytes | None]]:
        """Number and text of each line behind a place; the place moves on with them.

        A file that is one document over many lines is one text. None stands for a line that is
        longer than any message.

        Raises:
            InvalidInput: not a text in UTF-8, or an archive that is not whole.
        """
        try:
            if at.offset_bytes:
                self.stream.seek(at.offset_bytes)
            while text := self._part(MAX_BYTES + 2, at):
                number = at.lines + 1
                if number == 1:
                    self._require_utf8(text)
                    if text.removeprefix(b"\xef\xbb\xbf").strip() in {b"{", b"["}:
                        text += self._rest(at)
                at.lines += text.count(b"\n") + (not text.endswith(b"\n"))
                too_long = len(text) > MAX_BYTES + 1
                while too_long and text and not text.endswith(b"\n"):
                    text = self._part(MAX_BYTES, at)
                yield number, None if too_long else text
        except (gzip.BadGzipFile, EOFError, zlib.error):
            problem = "is not a whole gzip archive; what was read before it breaks off is kept"
            raise InvalidInput(f"{self.name}: {problem}") from None
        except OSError as error:
            raise InvalidInput(f"{self.name}: cannot be read: {error.strerror or error}") from None

    def _part(self, most: int, at: _Place) -> bytes:
        """A line, or as much of it as is wanted."""
        text = self.stream.readline(most)
        at.offset_bytes += len(text)
        if self.digest is None:
            self.seen.update(text)
        return text

    def _rest(self, at: _Place) -> bytes:
        """All of a document whose first line was read."""
        parts, size = [], 0
        while part := self._part(MAX_BYTES, at):
            parts.append(part)
            size += len(part)
            if size > MAX_BYTES:
                raise InvalidInput(f"{self.name}: {_ONE_DOCUMENT}")
        return b"".join(parts)

    def _require_utf8(self, text: bytes) -> None:
        if text.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise InvalidInput(f"{self.name}: is UTF-16; save it as UTF-8")
        if text.startswith((b"PK\x03\x04", b"\x1f\x8b")):
            raise InvalidInput(f"{self.name}: is an archive; unpack it, or name it .gz")

    def watch(self, raw: IO[bytes]) -> None:
        """Remember what the file looks like before it is read."""
        self.raw, self._was = raw, _looks(raw)

    def check_unchanged(self) -> None:
        """Raise InvalidInput if the file is not what it was when its digest was taken."""
        if self.raw is not None and _looks(self.raw) != self._was:
            problem = "changed while it was read; read it again: what is in the book stays once"
            raise InvalidInput(f"{self.name}: {problem}")


_ONE_DOCUMENT = (
    f"is one JSON document of more than {MAX_BYTES // 1024 // 1024} MiB over many lines;"
    " write one message a line"
)


def _looks(file: IO[bytes]) -> tuple[int, ...]:
    found = os.fstat(file.fileno())
    return found.st_size, found.st_mtime_ns


@contextmanager
def _opened(source: str | Path | IO[bytes], name: str | None) -> Iterator[_File]:
    if not isinstance(source, (str, Path)):
        yield _File(source, name or "the stream", digest=None)
        return
    path = Path(source)
    shown = _storable(name or path.name)
    try:
        raw = path.open("rb")
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be read: {error.strerror}") from None
    with raw:
        if not S_ISREG(os.fstat(raw.fileno()).st_mode):
            yield _File(raw, shown, digest=None)
            return
        file = _File(raw, shown, digest=file_digest(raw, "sha256").digest())
        file.watch(raw)
        raw.seek(0)
        if path.suffix.lower() == ".gz":
            file.stream = cast("IO[bytes]", gzip.GzipFile(fileobj=raw, mode="rb"))
        yield file


def _storable(name: str) -> str:
    """A file's name as text, whatever bytes it is made of."""
    return name.encode("utf-8", "replace").decode("utf-8")

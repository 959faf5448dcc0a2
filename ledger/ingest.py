"""Files of the provider's messages, read into a book: a part at a time, and nothing twice.

A file is JSON lines: each line is what the provider answers or calls back, alone or in an envelope
that names the job and the time of receipt. Some four thousand lines are one transaction, which also
says how far the file was read; after a kill the next call goes on there. Of a large file, a second
process reads the lines ahead while this one writes.
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
from ledger.errors import InvalidInput
from ledger.evolink.tasks import FactsWithText, Part, PartRead, PartReader
from ledger.evolink.tasks.text import MAX_BYTES
from ledger.jobs import Ledger
from ledger.records import ImportRecord

__all__ = ["Ingested", "InvalidLine", "ingest_tasks"]

LINES_AT_ONCE: Final = 4_000
"""At most so many lines are one transaction."""

_BYTES_AT_ONCE: Final = 2 * 1024 * 1024
"""From so many bytes on, fewer lines are one; each may be a list of tasks."""

_BLOCK_BYTES: Final = 64 * 1024

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

    From 8 MiB on, and with more than one processor, a second Python process reads ahead; it ends
    with this call, and where it cannot be started or ends too early, all is read in this one.

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


class _Place(NamedTuple):
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

    def run(self, progress: Callable[[int], None] | None) -> None:
        """Read all that is left."""
        file = self.file
        with PartReader(size_bytes=file.size_bytes - self.at.offset_bytes) as reader:
            for part, found in reader.read(file.parts(self.at)):
                self._tell(part, found)
                if progress is not None:
                    progress(self.counts.messages)
        file.check_unchanged()
        # What came before its job was reserved, elsewhere or in this file, need not wait any more.
        self.counts = self.counts.plus(self.ledger.catch_up())
        digest = file.digest or file.seen.digest()
        self.ledger.tell([], imported=lambda _: self._record(digest, self.counts, complete=1))

    def _tell(self, part: Part, found: PartRead) -> None:
        """Keep what a part says, do what it asks for, and note how far the file was read."""
        self.at = _Place(part.last_line, part.end_bytes)
        for line, problem in found.problems:
            self.counts = self.counts.refused(line, problem)
        self.counts = self.counts._replace(messages=self.counts.messages + len(found.messages))
        facts = [FactsWithText.of(*item) for item in found.facts]
        heard = [
            Heard(task, job, model, received_us, body, facts[place])
            for task, job, model, received_us, body, place in found.messages
        ]
        before, digest = self.counts, self.file.digest
        if digest is None:
            self.counts = before.plus(self.ledger.tell(heard))
            return

        def imported(done: list[Applied]) -> ImportRecord:
            self.counts = before.plus(done)
            return self._record(digest, self.counts)

        self.ledger.tell(heard, imported=imported)

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
    """A file or a stream, as parts of whole lines."""

    def __init__(self, stream: IO[bytes], name: str, *, digest: bytes | None) -> None:
        self.stream, self.name, self.digest = stream, name, digest
        """`digest` is SHA-256 of the file; None for a stream, which is known only at its end."""
        self.seen = sha256()
        """Of what was read of a stream."""
        self.size_bytes = 0
        """Of what is to be read; 0 where that is not known."""
        self.raw: IO[bytes] | None = None
        self._was: tuple[int, ...] = ()
        self._held = b""
        """What was read, and belongs to no part yet."""
        self._is_over = False

    def parts(self, at: _Place) -> Iterator[Part]:
        """The lines behind a place, some at a time.

        A file that is one document over many lines is one part, and so is a line that is longer
        than any message, without its text.

        Raises:
            InvalidInput: not a text in UTF-8, or an archive that is not whole.
        """
        try:
            if at.offset_bytes:
                self.stream.seek(at.offset_bytes)
            while text := self._lines():
                line, is_one, problem = at.lines + 1, False, None
                if line == 1:
                    self._require_utf8(text)
                    first, _, _ = text.partition(b"\n")
                    is_one = first.removeprefix(b"\xef\xbb\xbf").strip() in {b"{", b"["}
                if is_one:
                    text += self._rest(len(text))
                lines, size = text.count(b"\n") + (not text.endswith(b"\n")), len(text)
                if len(text) > MAX_BYTES + 1 and lines == 1:
                    problem = f"has more than {MAX_BYTES // 1024 // 1024} MiB"
                    size += 0 if text.endswith(b"\n") else self._skip()
                    text = b""
                at = _Place(at.lines + lines, at.offset_bytes + size)
                yield Part(line, text, at.lines, at.offset_bytes, is_one, problem)
        except (gzip.BadGzipFile, EOFError, zlib.error):
            problem = "is not a whole gzip archive; what was read before it breaks off is kept"
            raise InvalidInput(f"{self.name}: {problem}") from None
        except OSError as error:
            raise InvalidInput(f"{self.name}: cannot be read: {error.strerror or error}") from None

    def _lines(self) -> bytes:
        """The next lines, or the one that is too long; it and the last one may lack their end.

        Nothing where the file ends.
        """
        blocks, size, ends = [self._held], len(self._held), self._held.count(b"\n")
        while not self._is_over and ends < LINES_AT_ONCE:
            if size > MAX_BYTES or (ends and size >= _BYTES_AT_ONCE):
                break
            block = self._read()
            blocks.append(block)
            size, ends = size + len(block), ends + block.count(b"\n")
        text = b"".join(blocks)
        end = len(text)
        if ends and text.find(b"\n", 0, MAX_BYTES + 1) < 0:
            end = text.index(b"\n") + 1
        elif ends >= LINES_AT_ONCE:
            end -= len(text.split(b"\n", LINES_AT_ONCE)[-1])
        elif ends and not self._is_over:
            end = text.rindex(b"\n") + 1
        self._held = text[end:]
        return text[:end]

    def _read(self) -> bytes:
        """The next block; nothing at the end, behind which a file may have grown meanwhile."""
        block = b"" if self._is_over else self.stream.read(_BLOCK_BYTES)
        self._is_over = not block
        if self.digest is None:
            self.seen.update(block)
        return block

    def _rest(self, size: int) -> bytes:
        """All that is left of a document of which so many bytes are known."""
        blocks = [self._held]
        self._held = b""
        while (size := size + len(blocks[-1])) <= MAX_BYTES and (block := self._read()):
            blocks.append(block)
        if size > MAX_BYTES:
            raise InvalidInput(f"{self.name}: {_ONE_DOCUMENT}")
        return b"".join(blocks)

    def _skip(self) -> int:
        """Pass over what is left of a line; how many bytes."""
        size = 0
        while block := self._read():
            end = block.find(b"\n") + 1
            if end:
                self._held = block[end:]
                return size + end
            size += len(block)
        return size

    def _require_utf8(self, text: bytes) -> None:
        if text.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise InvalidInput(f"{self.name}: is UTF-16; save it as UTF-8")
        if text.startswith((b"PK\x03\x04", b"\x1f\x8b")):
            raise InvalidInput(f"{self.name}: is an archive; unpack it, or name it .gz")

    def watch(self, raw: IO[bytes]) -> None:
        """Remember what the file looks like before it is read."""
        self.raw, self._was = raw, _looks(raw)
        self.size_bytes = self._was[0]

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
            file.size_bytes = 0
        yield file


def _storable(name: str) -> str:
    """A file's name as text, whatever bytes it is made of."""
    return name.encode("utf-8", "replace").decode("utf-8")

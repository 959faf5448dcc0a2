"""Parts of a file of messages: read here, or by a second process while the first one writes.

Reading takes about as long as writing, and needs neither the book nor the file: a part is some
whole lines, and what is read of it are plain values. The second process is another Python with a
pipe to it and one from it. It ends when its pipe does, so also when the first one is killed; and
where it ends too early, the first one reads on by itself.
"""

from __future__ import annotations

import gc
import marshal
import os
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import PurePath
from queue import SimpleQueue
from struct import Struct
from threading import Thread
from typing import IO, Any, Final, NamedTuple, Self

from ledger.errors import InvalidInput, InvalidMessage
from ledger.evolink.tasks.facts import Facts, facts_of, facts_text, merged
from ledger.evolink.tasks.messages import read_messages

__all__ = ["Part", "PartRead", "PartReader", "read_part", "serve"]

LARGE_BYTES: Final = 8 * 1024 * 1024
"""From so many bytes on, a second process is worth its start, which takes a quarter of a second."""

_BESIDE_ITS_START: Final = 1
"""Parts that are read here while the second process starts."""

_AHEAD: Final = 2
"""Parts that the second process may have before it besides the one that is waited for."""

_LENGTH: Final = Struct("<Q")

_START: Final = f"import sys; sys.path[:] = sys.argv[1:]; import {__name__}; {__name__}.main()"


class Part(NamedTuple):
    """Some lines of a file."""

    line: int
    """Number of the first one, from 1."""
    text: bytes
    last_line: int
    """Number of the last one."""
    end_bytes: int
    """Where the next part begins."""
    is_one: bool = False
    """Whether all of it is one document over many lines."""
    problem: str | None = None
    """Why its only line is not even looked at."""


class PartRead(NamedTuple):
    """What a part says, in values that a pipe takes."""

    messages: list[tuple[Any, ...]]
    """For each message: task, job, model, time of receipt, body, and the place of its facts."""
    facts: list[tuple[tuple[Any, ...], str]]
    """What all messages of the part say together of each of its tasks, and the same as text."""
    problems: list[tuple[int, str]]
    """Lines that could not be read, and why."""


def read_part(part: Part) -> PartRead:
    r"""What the messages of a part say.

    >>> lines = b'{"id": "task-1", "status": "pending"}\nnonsense'
    >>> read_part(Part(7, lines, 8, len(lines))).problems
    [(8, 'is not JSON: Expecting value at column 1')]
    """
    messages: list[tuple[Any, ...]] = []
    problems = [] if part.problem is None else [(part.line, part.problem)]
    told: dict[str, Facts] = {}
    places: dict[str, int] = {}
    texts = [part.text] if part.is_one else part.text.split(b"\n")
    for line, text in enumerate(texts, part.line):
        if not text or text.isspace():
            continue
        try:
            found = read_messages(text)
        except InvalidMessage as error:
            problems.append((line, "; ".join(map(str, error.faults))))
            continue
        for item in found:
            task, facts = item.task, facts_of(item)
            place = places.setdefault(task, len(places))
            told[task] = merged(told[task], facts) if task in told else facts
            messages.append((task, item.job, item.model, item.received_us, item.body, place))
    return PartRead(messages, [(tuple(it), facts_text(it)) for it in told.values()], problems)


class PartReader:
    """Reads parts, those of a large file in a second process."""

    def __init__(self, *, size_bytes: int = 0) -> None:
        self._done_bytes = size_bytes
        self._second: _Second | None = None
        self._is_alone = _processors() < 2

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        self._is_alone = True
        if self._second is not None:
            self._second.close()
            self._second = None

    def read(self, parts: Iterable[Part]) -> Iterator[tuple[Part, PartRead]]:
        """Each part with what it says, in their order.

        Raises:
            InvalidInput: the parts do, once those before it were given.
        """
        ahead: deque[Part] = deque()
        here = _BESIDE_ITS_START
        problem: InvalidInput | None = None
        left = iter(parts)
        while True:
            try:
                part = next(left, None)
            except InvalidInput as error:
                part, problem = None, error
            if part is None:
                break
            self._start_if_large(part)
            if self._second is not None and here:
                here -= 1
                yield part, read_part(part)
                continue
            if self._second is not None and not self._second.send(part):
                self._leave()
            ahead.append(part)
            while ahead and (self._second is None or len(ahead) > _AHEAD):
                yield self._next(ahead)
        while ahead:
            yield self._next(ahead)
        if problem is not None:
            raise problem

    def _start_if_large(self, part: Part) -> None:
        self._done_bytes += len(part.text)
        if not self._is_alone and self._second is None and self._done_bytes >= LARGE_BYTES:
            self._second = _second()
            self._is_alone = self._second is None

    def _next(self, ahead: deque[Part]) -> tuple[Part, PartRead]:
        part = ahead.popleft()
        found = None if self._second is None else self._second.receive()
        if found is None:
            self._leave()
            found = read_part(part)
        return part, found


def _processors() -> int:
    """How many processors this process may use."""
    may_use = getattr(os, "sched_getaffinity", None)
    return (os.cpu_count() or 1) if may_use is None else len(may_use(0))


# The second process


class _Second:
    """The second process, as the first one sees it."""

    def __init__(self, process: subprocess.Popen[bytes], to: IO[bytes], of: IO[bytes]) -> None:
        self.process, self._to, self._of = process, to, of

    def send(self, part: Part) -> bool:
        """Give it a part; whether it is still there."""
        try:
            _write(self._to, tuple(part))
        except OSError:
            return False
        return True

    def receive(self) -> PartRead | None:
        """What the next part says; None where it ended before it said so."""
        try:
            found = _read(self._of)
        except OSError:
            return None
        return None if found is None else PartRead(*found)

    def close(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()
        for pipe in (self._to, self._of):
            with suppress(OSError):
                pipe.close()


def _second() -> _Second | None:
    """A second process, or None where none can be started."""
    # Inside another program, the program's own file stands where Python's should.
    is_python = PurePath(sys.executable or "").name.lower().startswith(("python", "pypy"))
    if not is_python or getattr(sys, "frozen", False):
        return None
    # Whoever interrupts the first one does not interrupt both; the first one ends the second.
    apart: dict[str, Any] = {"process_group": 0}
    if sys.platform == "win32":
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        apart = {"creationflags": flags}
    try:
        process = subprocess.Popen(  # noqa: S603  our own Python with our own code
            [sys.executable, "-c", _START, *sys.path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            **apart,
        )
    except (OSError, ValueError):
        return None
    if process.stdin is None or process.stdout is None:
        return None
    return _Second(process, process.stdin, process.stdout)


def main() -> None:
    """What the second process does."""
    sink = sys.stdout.buffer
    sys.stdout = sys.stderr
    gc.disable()
    with suppress(OSError):
        serve(sys.stdin.buffer, sink)
    # Not `exit`: a thread may still wait for the pipe.
    os._exit(0)


def serve(source: IO[bytes], sink: IO[bytes]) -> None:
    """Read parts from one pipe and write what they say into the other, until the first one ends."""
    parts: SimpleQueue[Part | None] = SimpleQueue()
    # Taken in while others are read: otherwise both processes could wait for the other to read.
    Thread(target=_take_in, args=(source, parts), daemon=True).start()
    while (part := parts.get()) is not None:
        _write(sink, tuple(read_part(part)))


def _take_in(source: IO[bytes], parts: SimpleQueue[Part | None]) -> None:
    found: Any = ()
    while found is not None:
        try:
            found = _read(source)
        except OSError:
            found = None
        parts.put(None if found is None else Part(*found))


def _write(pipe: IO[bytes], value: tuple[Any, ...]) -> None:
    data = marshal.dumps(value)
    pipe.write(_LENGTH.pack(len(data)))
    pipe.write(data)
    pipe.flush()


def _read(pipe: IO[bytes]) -> tuple[Any, ...] | None:
    """The next value; None where the pipe ends before it does."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(head)
    data = pipe.read(size)
    if len(data) < size:
        return None
    found: tuple[Any, ...] = marshal.loads(data)  # noqa: S302  written by our own process
    return found

"""The streams of the process: what becomes of a stdout that is closed, or cannot be written."""

from __future__ import annotations

import io
import os
import select
import sys
from typing import Any, cast

__all__ = ["forget_stdout", "open_streams", "stdout_failure"]


class _Stdout(io.FileIO):
    """Stdout that remembers why it could not be written.

    What writes to it (a compressor, a data frame) may make something else of the error; and an
    error of the system alone does not say of which file it is.
    """

    failure: OSError | None = None

    def write(self, data: Any, /) -> int:
        """Write everything, or remember why not.

        Whoever started the process may have made stdout non-blocking: what does not fit waits.
        Without a buffer in between (`python -u`) nobody else would write the rest.
        """
        left = memoryview(data).cast("B")
        size = len(left)
        while left:
            written = self._written(left)
            if written is None:
                select.select([], [self], [])
            else:
                left = left[written:]
        return size

    def _written(self, data: Any) -> int | None:
        try:
            return cast("int | None", super().write(data))
        except OSError as error:
            self.failure = error
            raise


def open_streams() -> None:
    """Give stdout and stderr to a process that has none, and watch over stdout.

    Who closes one of them (`>&-`) wants to hear nothing, as with /dev/null.
    """
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115  until the end
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115
    stream = sys.stdout
    if stream is not sys.__stdout__ or not isinstance(stream, io.TextIOWrapper):
        return  # a caller's own
    buffer: Any = stream.buffer
    file = getattr(buffer, "raw", buffer)
    if type(file) is not io.FileIO:
        return  # a console of another system
    watched = _Stdout(file.fileno(), "w", closefd=False)
    sys.stdout = io.TextIOWrapper(
        # Python's own is without a buffer where that is asked for (`python -u`).
        watched if file is buffer else io.BufferedWriter(watched),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def stdout_failure() -> OSError | None:
    """Why stdout could not be written; None where it could."""
    buffer = getattr(sys.stdout, "buffer", None)
    failure: OSError | None = getattr(getattr(buffer, "raw", buffer), "failure", None)
    return failure


def forget_stdout() -> None:
    """Python would complain again, on its way out, about a stdout that cannot be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

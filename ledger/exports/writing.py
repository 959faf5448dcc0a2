"""Files that appear whole or not at all.

What is written stands under a hidden temporary name beside its place until it is complete and on
the disk; then it is renamed. Whatever happens before that (an error, a full disk, the end of the
process) leaves what was there before, at most with the hidden file beside it.
"""

from __future__ import annotations

import errno
import io
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from ledger.errors import OutputError

__all__ = ["MANIFEST", "check_output", "reason_of", "whole_file", "whole_folder"]

MANIFEST = "manifest.json"
"""The file of a folder that lists its other files; it is written last."""

_REASONS = {
    errno.ENOSPC: "there is no space left for it",
    errno.EDQUOT: "there is no space left for it within your quota",
    errno.EFBIG: "it would be larger than a file may be here",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "there is no permission to write it",
    errno.EPERM: "there is no permission to write it",
    errno.EIO: "the disk reports an error",
    errno.ENAMETOOLONG: "the name is too long",
    errno.EISDIR: "is a folder",
}

_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
"""Failures of whatever writes the file that are about the disk, whoever reports them."""


def reason_of(error: OSError) -> str:
    """What an error of the system means for who wants a file.

    >>> reason_of(OSError(errno.ENOSPC, "No space left on device"))
    'there is no space left for it'
    """
    return _REASONS.get(error.errno or 0, error.strerror or "cannot be written")


def check_output(path: Path, *, overwrite: bool = False, folder: bool = False) -> None:
    """Refuse an output that could not be written, before any work is done for it.

    Args:
        path: the file or folder.
        overwrite: whether one that is there may be replaced.
        folder: whether it is to be a folder.

    Raises:
        OutputError: its folder is missing or none; it is a folder or a device, or a file where a
            folder is wanted; it is there already; a folder holds what no export wrote.
    """
    target = _target(path)
    if not folder and _is_open_file(path):
        raise OutputError(str(path), "is not a file; write to - and send that on")
    if not target.parent.exists():
        raise OutputError(str(path), f"there is no folder {path.parent}")
    if not target.parent.is_dir():
        raise OutputError(str(path), f"{path.parent} is not a folder")
    if not target.exists():
        return
    if folder:
        _check_folder(path, target, overwrite=overwrite)
    elif target.is_dir():
        raise OutputError(str(path), "is a folder; name a file in it")
    elif not target.is_file():
        raise OutputError(str(path), "is not a file; write to - and send that on")
    elif not overwrite:
        raise OutputError(str(path), "is there already; name another file, or say --overwrite")


@contextmanager
def whole_file(path: Path, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """A file to write that appears at the end, complete; on any error nothing is left of it.

    A symbolic link stays one: the file that it leads to is replaced.

    Args:
        path: where to.
        overwrite: whether a file that is there may be replaced; it keeps its permissions.

    Raises:
        OutputError: what `check_output` refuses; no permission; no space left.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "figures.csv"
    >>> with whole_file(path) as file:
    ...     _ = file.write(b"credits")
    ...     path.exists()
    False
    >>> path.read_text()
    'credits'
    """
    check_output(path, overwrite=overwrite)
    target = _target(path)
    temporary = _beside(target)
    with _told(path):
        raw = _Raw(temporary)
    try:
        with _told(path, raw=raw):
            if overwrite and target.exists():
                os.fchmod(raw.fileno(), target.stat().st_mode & 0o7777)
            file = io.BufferedWriter(raw, buffer_size=1 << 20)
            yield cast("BinaryIO", file)
            file.flush()
            os.fsync(raw.fileno())
        raw.close()
        with _told(path):
            _place(path, temporary, target, overwrite=overwrite)
    finally:
        raw.close()
        temporary.unlink(missing_ok=True)
    _sync_folder(target.parent)


@contextmanager
def whole_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """A folder to fill that appears at the end, complete; on any error nothing is left of it.

    Args:
        path: where to.
        overwrite: whether a folder that is there may be replaced: one that is empty, or that has
            only what its `manifest.json` lists. Between its end and the beginning of the new one
            lies one rename; the new one is complete by then.

    Raises:
        OutputError: what `check_output` refuses; no permission; no space left.
    """
    check_output(path, overwrite=overwrite, folder=True)
    target = _target(path)
    temporary = _beside(target)
    with _told(path):
        temporary.mkdir()
    try:
        with _told(path, folder=temporary):
            yield temporary
            for file in sorted(temporary.rglob("*")):
                _sync(file)
            _sync_folder(temporary)
        with _told(path):
            _place_folder(path, temporary, target, overwrite=overwrite)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _sync_folder(target.parent)


class _Raw(io.FileIO):
    """A new file that remembers why it could not be written."""

    failed: OSError | None = None

    def __init__(self, path: Path) -> None:
        super().__init__(path, "x")

    def write(self, data: Any, /) -> int:
        """Write, or remember why not."""
        try:
            return super().write(data)
        except OSError as error:
            self.failed = error
            raise


@contextmanager
def _told(path: Path, *, raw: _Raw | None = None, folder: Path | None = None) -> Iterator[None]:
    """Say of failures to write what is wrong with which file.

    While somebody else writes into `raw` or `folder`, only what is surely about that is ours to
    tell: a database that cannot be read is another matter.
    """
    try:
        yield
    except OutputError as error:
        hidden = Path(error.path)
        if folder is None or not hidden.is_relative_to(folder):
            raise
        raise OutputError(str(path / hidden.relative_to(folder)), error.problem) from error
    except Exception as error:
        # A library between us and the file may have made something else of its error.
        cause = error if raw is None or raw.failed is None else raw.failed
        if not isinstance(cause, OSError):
            raise
        if cause is error and (raw or folder) and cause.errno not in _OF_THE_DISK:
            raise
        raise OutputError(str(path), reason_of(cause)) from error


def _target(path: Path) -> Path:
    """What a path leads to, links followed.

    Raises:
        OutputError: links in a circle; a name that cannot be one, or be looked up.
    """
    try:
        target = path.resolve()
        target.exists()
    except OSError as error:
        raise OutputError(str(path), reason_of(error)) from None
    except (RuntimeError, ValueError):
        raise OutputError(str(path), "is no name of a file, or a link to itself") from None
    return target


_OPEN_FILES = re.compile(r"/dev/fd|/proc/\d+(/task/\d+)?/fd")
_MOST_LINKS = 40


def _is_open_file(path: Path) -> bool:
    """Whether a path is but another name for what the process has open, as /dev/stdout is.

    Where it leads differs: to a pipe that has no name, or to a file that the shell has just made.
    """
    for _ in range(_MOST_LINKS):
        folder = path.parent.resolve()
        if _OPEN_FILES.fullmatch(str(folder)):
            return True
        if not path.is_symlink():
            return False
        path = folder / path.readlink()
    return False


def _beside(target: Path) -> Path:
    # Short, because a name may have 255 bytes.
    return target.with_name(f".{target.name[:40]}.{secrets.token_hex(6)}.part")


def _place(path: Path, temporary: Path, target: Path, *, overwrite: bool) -> None:
    """Give a complete file its name.

    Raises:
        OutputError: somebody else has made one meanwhile.
    """
    if not overwrite:
        try:
            # Unlike a rename, a link never replaces what came to be meanwhile.
            target.hardlink_to(temporary)
        except FileExistsError:
            problem = "is there already; name another file, or say --overwrite"
            raise OutputError(str(path), problem) from None
        except OSError:
            pass  # a file system without links
        else:
            return
    temporary.replace(target)


def _place_folder(path: Path, temporary: Path, target: Path, *, overwrite: bool) -> None:
    """Give a complete folder its name, in the place of one that it replaces."""
    if not target.exists():
        temporary.rename(target)
        return
    _check_folder(path, target, overwrite=overwrite)
    if not any(target.iterdir()):
        temporary.rename(target)
        return
    old = _beside(target)
    target.rename(old)
    try:
        temporary.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _check_folder(path: Path, target: Path, *, overwrite: bool) -> None:
    if not target.is_dir():
        raise OutputError(str(path), "is not a folder; name another one")
    found = sorted(item.name for item in target.iterdir())
    if not found:
        return
    if not overwrite:
        problem = "is there already; name another folder, or say --overwrite"
        raise OutputError(str(path), problem)
    # What somebody has put there, or a folder named by mistake, is not ours to delete.
    strange = sorted(set(found) - _listed(target))
    if strange:
        problem = f"holds {strange[0]!r}, which no export wrote; name another folder"
        raise OutputError(str(path), problem)


def _listed(folder: Path) -> set[str]:
    """The files that a folder's own manifest lists, and the manifest."""
    try:
        document = json.loads((folder / MANIFEST).read_bytes())
        return {MANIFEST, *(str(item["name"]) for item in document["files"])}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return set()


def _sync(path: Path) -> None:
    if path.is_file() and not path.is_symlink():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Bring names to the disk, where a folder can be opened."""
    with suppress(OSError):
        opened = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)

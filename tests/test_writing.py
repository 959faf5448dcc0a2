"""Files and folders that appear whole or not at all, whatever stops the writer."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from textwrap import dedent

import pytest
from command import ROOT

from ledger.errors import OutputError
from ledger.exports.writing import MANIFEST, check_output, whole_file, whole_folder

MANIFEST_OF_ONE = '{"files": [{"name": "a.csv"}]}'


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def write(path: Path, text: str = "new", *, overwrite: bool = False) -> None:
    with whole_file(path, overwrite=overwrite) as file:
        file.write(text.encode())


def child(program: str, *arguments: str | Path) -> tuple[int, str]:
    """How a process of its own ends, and what it says at last."""
    done = subprocess.run(
        [sys.executable, "-c", dedent(program), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
        timeout=60,
    )
    return done.returncode, (done.stdout + done.stderr).strip()


# --- a file --------------------------------------------------------------------------------------


def test_a_file_is_not_there_before_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "figures.csv"
    with whole_file(path) as file:
        file.write(b"a" * 3_000_000)
        assert not path.exists()
    assert path.read_bytes() == b"a" * 3_000_000
    assert names(tmp_path) == ["figures.csv"]


def test_an_empty_file_is_a_file(tmp_path: Path) -> None:
    write(tmp_path / "none.csv", "")
    assert (tmp_path / "none.csv").read_bytes() == b""


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), OSError(2, "not ours")])
@pytest.mark.parametrize("before", [None, "old"])
def test_nothing_is_left_of_a_file_whose_writer_fails(
    tmp_path: Path, error: BaseException, before: str | None
) -> None:
    path = tmp_path / "figures.csv"
    if before is not None:
        path.write_text(before)

    def fail() -> None:
        with whole_file(path, overwrite=True) as file:
            file.write(b"half")
            raise error

    with pytest.raises(type(error)) as raised:
        fail()
    assert raised.value is error
    assert names(tmp_path) == ([] if before is None else ["figures.csv"])
    assert before is None or path.read_text() == before


def test_a_file_that_is_there_stays_unless_it_may_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "figures.csv"
    path.write_text("old")
    with pytest.raises(OutputError, match="is there already; name another file, or say --overwr"):
        write(path)
    assert path.read_text() == "old"
    write(path, overwrite=True)
    assert path.read_text() == "new"
    assert names(tmp_path) == ["figures.csv"]


def test_a_file_that_comes_to_be_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "figures.csv"

    def race() -> None:
        with whole_file(path) as file:
            file.write(b"ours")
            path.write_text("theirs")

    with pytest.raises(OutputError, match="is there already"):
        race()
    assert path.read_text() == "theirs"
    assert names(tmp_path) == ["figures.csv"]


def test_a_replaced_file_keeps_its_permissions_and_a_new_one_has_the_usual_ones(
    tmp_path: Path,
) -> None:
    path, fresh = tmp_path / "private.csv", tmp_path / "fresh.csv"
    path.write_text("old")
    path.chmod(0o600)
    write(path, overwrite=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = os.umask(0o027)
    try:
        write(fresh)
    finally:
        os.umask(before)
    assert stat.S_IMODE(fresh.stat().st_mode) == 0o640


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("missing/figures.csv", "there is no folder"),
        ("file/figures.csv", "is not a folder"),
        ("folder", "is a folder; name a file in it"),
        ("circle", "is no name of a file, or a link to itself"),
        ("fifo", "is not a file; write to -"),
        ("n" * 256, "the name is too long"),
        ("nul\0", "is no name of a file"),
    ],
)
def test_a_place_where_no_file_can_be_is_refused(tmp_path: Path, place: str, problem: str) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    (tmp_path / "circle").symlink_to("circle")
    os.mkfifo(tmp_path / "fifo")
    before = names(tmp_path)
    with pytest.raises(OutputError, match=problem) as raised:
        write(tmp_path / place, overwrite=True)
    assert raised.value.path == str(tmp_path / place)
    assert names(tmp_path) == before


@pytest.mark.skipif(not Path("/dev/fd").exists(), reason="the system has no /dev/fd")
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_open_already_is_no_file_wherever_it_leads(tmp_path: Path, overwrite: bool) -> None:
    """A pipe, a file that a shell has made for the output, and a link to one of them."""
    (tmp_path / "shell.csv").touch()
    reading, writing = os.pipe()
    with (tmp_path / "shell.csv").open("wb") as shell:
        (tmp_path / "link").symlink_to(f"/dev/fd/{writing}")
        for place in (f"/dev/fd/{writing}", f"/dev/fd/{shell.fileno()}", tmp_path / "link"):
            with pytest.raises(OutputError, match="is not a file; write to - and send that on"):
                check_output(Path(place), overwrite=overwrite)
    os.close(reading)
    os.close(writing)
    assert names(tmp_path) == ["link", "shell.csv"]


def test_a_long_name_is_as_good_as_a_short_one(tmp_path: Path) -> None:
    write(tmp_path / ("ü" * 127))
    assert names(tmp_path) == ["ü" * 127]


def test_the_file_behind_a_link_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / "target.csv", tmp_path / "link.csv"
    link.symlink_to(target)
    write(link)  # it leads to nothing yet
    assert target.read_text() == "new"
    with pytest.raises(OutputError, match="is there already"):
        write(link)
    write(link, "newer", overwrite=True)
    assert link.is_symlink()
    assert target.read_text() == "newer"
    assert names(tmp_path / "there") == ["target.csv"]


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from ledger.exports.writing import whole_file, whole_folder
    folder = Path(sys.argv[1])
    with whole_folder(folder / "new") as new, whole_file(folder / "a.csv", overwrite=True) as file:
        file.write(b"half" * 1_000_000)
        file.flush()
        (new / "b.csv").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_is_killed_leaves_what_was_there_before(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("old")
    status, _ = child(KILLED, tmp_path)
    assert status == -signal.SIGKILL
    assert (tmp_path / "a.csv").read_text() == "old"
    others = [name for name in names(tmp_path) if name != "a.csv"]
    assert len(others) == 2
    assert all(name.startswith(".") and name.endswith(".part") for name in others)


LIMITED = """
    import resource, sys
    from pathlib import Path
    from ledger.errors import OutputError
    from ledger.exports.writing import whole_file, whole_folder
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    path = Path(sys.argv[1])
    try:
        if sys.argv[2] == "file":
            with whole_file(path) as file:
                for _ in range(100):
                    file.write(b"x" * 10_000)
        elif sys.argv[2] == "hidden":
            # As a library does that makes an error of its own out of ours.
            with whole_file(path) as file:
                try:
                    file.write(b"x" * 2_000_000)
                except OSError as error:
                    raise RuntimeError("something went wrong") from error
        else:
            with whole_folder(path) as folder, whole_file(folder / "a.csv") as file:
                file.write(b"x" * 1_000_000)
    except OutputError as error:
        print(error)
"""


@pytest.mark.parametrize(
    ("how", "where"), [("file", ""), ("hidden", ""), ("folder", "/a.csv")]
)  # fmt: skip
def test_a_file_that_grows_too_large_is_an_error_and_leaves_nothing(
    tmp_path: Path, how: str, where: str
) -> None:
    status, said = child(LIMITED, tmp_path / "out", how)
    assert (status, said) == (
        0,
        f"{tmp_path / 'out'}{where}: it would be larger than a file may be here",
    )
    assert names(tmp_path) == []


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only a system that lets this user mount a small disk can fill it")
    try:
        with pytest.raises(OutputError, match="there is no space left for it"):
            write(small / "figures.csv", "x" * 3_000_000)
        assert names(small) == []

        def fill() -> None:
            with whole_folder(small / "all") as folder:
                (folder / "a.csv").write_bytes(b"x" * 3_000_000)

        with pytest.raises(OutputError, match="there is no space left for it"):
            fill()
        assert names(small) == []
    finally:
        subprocess.run(["umount", small], check=True)


FORBIDDEN = """
    import os, sys
    from pathlib import Path
    from ledger.errors import OutputError
    from ledger.exports.writing import whole_file, whole_folder
    if os.geteuid() == 0:
        os.setuid(65534)  # who may do everything is refused nothing
    for whole in (whole_file, whole_folder):
        try:
            with whole(Path(sys.argv[1])):
                print("was let in")
        except OutputError as error:
            print(error.problem)
"""


def test_a_folder_that_one_may_not_write_to_is_an_error() -> None:
    # Not in this test's own folder, which nobody else can look into.
    closed = Path(tempfile.mkdtemp())
    closed.chmod(0o555)
    try:
        status, said = child(FORBIDDEN, closed / "figures.csv")
        assert (status, said.splitlines()) == (0, ["there is no permission to write it"] * 2)
        assert names(closed) == []
    finally:
        closed.rmdir()


# --- a folder ------------------------------------------------------------------------------------


def test_a_folder_is_not_there_before_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "2026-10"
    with whole_folder(path) as folder:
        write(folder / "a.csv")
        assert not path.exists()
    assert names(tmp_path) == ["2026-10"]
    assert names(path) == ["a.csv"]


def test_nothing_is_left_of_a_folder_whose_writer_fails(tmp_path: Path) -> None:
    def fail() -> None:
        with whole_folder(tmp_path / "2026-10") as folder:
            write(folder / "a.csv")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert names(tmp_path) == []


def test_a_folder_that_an_export_wrote_is_replaced_as_a_whole_where_asked(tmp_path: Path) -> None:
    path = tmp_path / "2026-10"
    path.mkdir()
    (path / "a.csv").write_text("old")
    (path / MANIFEST).write_text(MANIFEST_OF_ONE)
    with pytest.raises(OutputError, match="is there already"):
        check_output(path, folder=True)
    with whole_folder(path, overwrite=True) as folder:
        write(folder / "b.csv")
    assert names(tmp_path) == ["2026-10"]
    assert names(path) == ["b.csv"]


def test_an_empty_folder_is_as_good_as_none(tmp_path: Path) -> None:
    path = tmp_path / "2026-10"
    path.mkdir()
    with whole_folder(path) as folder:
        write(folder / "b.csv")
    assert names(path) == ["b.csv"]


@pytest.mark.parametrize(
    "manifest", [None, "", "[]", "[" * 100_000, '{"files": 3}', MANIFEST_OF_ONE]
)
def test_a_folder_with_anything_that_no_export_wrote_is_never_replaced(
    tmp_path: Path, manifest: str | None
) -> None:
    path = tmp_path / "documents"
    path.mkdir()
    (path / "thesis.txt").write_text("years of work")
    if manifest is not None:
        (path / MANIFEST).write_text(manifest)
    before = names(path)

    def replace() -> None:
        with whole_folder(path, overwrite=True):
            pytest.fail("it was let in")

    with pytest.raises(OutputError, match="which no export wrote"):
        replace()
    assert names(path) == before


def test_what_somebody_puts_into_a_folder_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "2026-10"
    path.mkdir()

    def race() -> None:
        with whole_folder(path) as folder:
            write(folder / "b.csv")
            (path / "theirs.txt").write_text("kept")

    with pytest.raises(OutputError, match="is there already"):
        race()
    assert names(tmp_path) == ["2026-10"]
    assert names(path) == ["theirs.txt"]


def test_a_file_is_no_folder_to_replace(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(OutputError, match="is not a folder"):
        check_output(tmp_path / "file", overwrite=True, folder=True)

"""What every command promises: where it prints, how it ends, and what a terminal changes."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from command import COMMAND, DEMO, ROOT, SCHEMAS, Done, call, environment, run, shown_at, write
from jsonschema import Draft202012Validator

AT = ("--at", "2026-10-10")
QUOTE = ("quote", "motion-control", "--quality", "1080p", "--orientation", "video")
IMPACT = ("prices", "impact", "evolink", "evolink-rules")
PLAN = DEMO / "plan.csv"
ESCAPE = "\x1b"
COMMANDS = [
    *([], ["quote"], ["estimate"], ["demo"], ["prices"]),
    *(
        ["prices", name]
        for name in ("list", "show", "check", "diff", "import", "books", "impact", "schema")
    ),
    *([name] for name in ("reserve", "extend", "charge", "release", "refund", "verify")),
    *([name] for name in ("wallet", "budget", "holds", "reconcile", "period", "db")),
    *(["wallet", name] for name in ("open", "list", "balance", "statement", "top-up", "adjust")),
    *(["wallet", name] for name in ("lapse", "trial-balance", "lots")),
    *(["budget", name] for name in ("set", "list", "status", "remove")),
    *(["holds", name] for name in ("list", "show", "expire", "sweep", "inbox", "discard")),
    *(["holds", name] for name in ("tasks", "link", "probe-list")),
    ["ingest"],
    *(
        ["reconcile", name]
        for name in ("statement", "breaks", "show", "apply", "explain", "assign", "reopen")
    ),
    *(["reconcile", name] for name in ("history", "mapping")),
    *(["period", name] for name in ("close", "reopen", "list")),
    ["report"],
    *(["report", name] for name in ("show", "list", "explain", "pack")),
    ["export"],
    *(["export", name] for name in ("entries", "holds", "jobs", "workbook", "journal")),
    *(["export", name] for name in ("focus", "all", "check")),
    *(["db", name] for name in ("upgrade", "status", "distribute")),
]
DOCUMENTS: list[tuple[str, list[str], int]] = [
    ("quote", [*QUOTE, "--seconds", "12.4"], 0),
    ("quote", [*QUOTE, "--prices", "house.toml"], 0),
    ("quote", ["quote", str(DEMO / "requests.json")], 0),
    ("quote", ["quote", "mixed.json"], 7),
    ("quote", [*QUOTE, "--video", str(DEMO / "dance.mp4")], 0),
    ("quote", [*QUOTE, "--video", "mixed.json"], 7),
    ("estimate", ["estimate", str(PLAN)], 6),
    ("estimate", ["estimate", str(PLAN), "--allow-not-priced"], 0),
    ("estimate", ["estimate", str(PLAN), "--by", "team,quality", "--allow-not-priced"], 0),
    ("prices", ["prices", "list"], 0),
    ("prices", ["prices", "list", "--on", "2026-02-20"], 0),
    ("prices", ["prices", "list", "--price-book", "evolink-rules"], 0),
    ("prices", ["prices", "show", "motion-control"], 0),
    ("prices", ["prices", "show", "house", "--prices", "house.toml"], 0),
    ("price-findings", ["prices", "check", "--on", "2026-11-23"], 0),
    ("price-findings", ["prices", "check", "--days", "10", "--on", "2027-12-10"], 6),
    ("price-differences", ["prices", "diff", "evolink", "evolink-rules"], 0),
    ("price-differences", ["prices", "diff", "evolink", "evolink"], 0),
    ("price-differences", ["prices", "diff", "evolink", "house.toml"], 0),
    ("price-impact", [*IMPACT, "--jobs", str(PLAN)], 6),
    ("price-impact", [*IMPACT, "--jobs", str(PLAN), "--by", "team", "--allow-not-priced"], 0),
]
HOUSE = """model = "house-model"
aliases = ["house"]
body = "motion_control"
[[price]]
effective_from = 2026-01-01T00:00:00Z
source = "contract"
checked = 2026-10-01
unit = "second"
rate = 2
[[price.channel]]
name = "fast"
rate = 3
"""
MISTAKES: list[tuple[list[str], int]] = [
    (["nothing"], 2),
    (["quote"], 2),
    (["quote", "motion-control", "--nothing"], 2),
    (["quote", "motion-control", "--format", "yaml"], 2),
    (["quote", "motion-control", "--seconds", "5", "--video", "x.mp4"], 2),
    (["quote", "mixed.json", "--quality", "720p"], 2),
    (["quote", "motion-controll"], 6),
    (["quote", "motion-control", "--orientation", "video", "--seconds", "2.9"], 7),
    (["quote", "motion-control", "--orientation", "video", "--seconds", "1e999"], 7),
    (["quote", "motion-control", "--orientation", "sideways"], 7),
    (["quote", "motion-control", "--orientation", "video", "--video", "mixed.json"], 7),
    (["quote", "motion-control", "--orientation", "video", "--at", "nonsense"], 7),
    (["quote", "motion-control", "--orientation", "video", "--at", "2026-02-01"], 6),
    (["quote", "motion-control", "--orientation", "video", "--price-book", "nope"], 7),
    (["quote", "motion-control", "--orientation", "video", "--prices", "mixed.json"], 7),
    (["quote", "motion-control", "--orientation", "video", "--channel", "nope"], 6),
    (["quote", "nowhere.json"], 7),
    (["quote", "house.toml"], 7),
    (["quote", "\udcff.json"], 7),
    (["estimate"], 2),
    (["estimate", "nowhere.csv"], 7),
    (["estimate", "mixed.json"], 7),
    (["estimate", str(PLAN), "--by", "nope"], 7),
    (["estimate", str(PLAN), "--at", "nonsense"], 7),
    (["estimate", str(PLAN), "--expected-seconds", "x"], 7),
    (["prices", "nothing"], 2),
    (["prices", "show"], 2),
    (["prices", "show", "nope"], 6),
    (["prices", "show", "motion-control", "--on", "2026-01-01"], 6),
    (["prices", "check", "mixed.json"], 7),
    (["prices", "check", "--days", "-1"], 2),
    (["prices", "diff", "evolink"], 2),
    (["prices", "diff", "evolink", "nope"], 7),
    ([*IMPACT], 2),
    ([*IMPACT, "--jobs", "nowhere.csv"], 7),
    ([*IMPACT, "--jobs", str(PLAN), "--book", "main"], 2),
    ([*IMPACT, "--book", "main", "--model", "motion-control"], 2),
    ([*IMPACT, "--book", "main"], 8),
    (["prices", "impact", "evolink", "nope", "--jobs", str(PLAN)], 7),
    (["prices", "schema", "nope"], 2),
    (["demo", "--nothing"], 2),
    (["wallet", "nothing"], 2),
    (["wallet", "balance"], 2),
    (["wallet", "balance", "studio"], 8),
    (["wallet", "balance", "studio", "--db", "house.toml"], 8),
    (["wallet", "balance", "studio", "--before", "nonsense"], 7),
    (["wallet", "balance", "studio", "--by", "written"], 2),
    (["wallet", "top-up", "studio", "5"], 2),
    (["wallet", "top-up", "studio", "five", "--key", "invoice-1"], 7),
    (["reserve", "studio", "--key", "job-1"], 2),
    (["charge", "job-1", "5", "--seconds", "5"], 2),
    (["holds", "list", "--state", "lost"], 2),
    (["holds", "list", "--limit", "0"], 2),
    (["holds", "tasks", "--state", "lost"], 2),
    (["holds", "link", "job-1"], 2),
    (["holds", "probe-list", "--older-than", "soon"], 2),
    (["ingest"], 2),
    (["ingest", "nowhere.jsonl"], 8),
    (["budget", "set", "studio", "ads", "5", "--key", "k", "--match", "team"], 2),
    (["verify", "--db", "mixed.json"], 8),
    (["db", "status"], 8),
    (["db", "upgrade", "--db", "mysql://localhost/credits"], 7),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a request that can be priced beside two that cannot, and a price file."""
    good = {"model": "kling-v3-text-to-video", "prompt": "Rain", "duration": 5, "quality": "720p"}
    write(tmp_path, "mixed.json", json.dumps([good, {}, {"model": "nope"}]))
    write(tmp_path, "house.toml", HOUSE)
    return tmp_path


# --- stdout, stderr, status ----------------------------------------------------------------------


@pytest.mark.parametrize(("schema", "arguments", "status"), DOCUMENTS)
def test_json_is_one_document_that_its_schema_describes(
    folder: Path, schema: str, arguments: list[str], status: int
) -> None:
    done = call(*arguments, "--format", "json", cwd=folder)
    assert done.status == status, done.stderr
    assert done.document["schema"] == f"kling-ledger/{schema}/v1"
    shipped = json.loads((SCHEMAS / f"{schema}.v1.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(shipped)
    Draft202012Validator(shipped).validate(done.document)


@pytest.mark.parametrize("schema", sorted({schema for schema, _, _ in DOCUMENTS}))
def test_a_schema_refuses_what_is_not_its_document(folder: Path, schema: str) -> None:
    arguments = next(arguments for name, arguments, _ in DOCUMENTS if name == schema)
    document = call(*arguments, "--format", "json", cwd=folder).document
    shipped = json.loads((SCHEMAS / f"{schema}.v1.json").read_text(encoding="utf-8"))
    for broken in (document | {"data": {}}, document | {"schema": "x"}, {"data": document["data"]}):
        assert not Draft202012Validator(shipped).is_valid(broken)


@pytest.mark.parametrize(("schema", "arguments", "status"), DOCUMENTS)
def test_no_amount_is_a_json_number(
    folder: Path, schema: str, arguments: list[str], status: int
) -> None:
    def refuse(text: str) -> Any:
        raise AssertionError(f"{text} is a float")

    done = call(*arguments, "--format", "json", cwd=folder)
    document = json.loads(done.stdout, parse_float=refuse)
    amounts = {"credits", "usd", "minimum", "expected", "maximum", "unit_price", "rate", "quantity"}

    def check(value: Any, name: str) -> None:
        if isinstance(value, dict):
            for key, item in value.items():
                check(item, key)
        elif isinstance(value, list):
            for item in value:
                check(item, name)
        elif name in amounts:
            assert value is None or isinstance(value, str), name

    check(document["data"], "")


@pytest.mark.parametrize(("schema", "arguments", "status"), DOCUMENTS)
def test_csv_parses_and_ends_with_the_same_status(
    folder: Path, schema: str, arguments: list[str], status: int
) -> None:
    done = call(*arguments, "--format", "csv", cwd=folder)
    assert done.status == status
    header, *rows = csv.reader(io.StringIO(done.stdout, newline=""), strict=True)
    assert len(set(header)) == len(header) or arguments[-2:] == ["evolink", "evolink"]
    assert all(len(row) == len(header) for row in rows)


@pytest.mark.parametrize(
    "arguments", [["quote", str(DEMO / "requests.json")], ["quote", "mixed.json"]]
)
def test_csv_has_the_figures_of_json(folder: Path, arguments: list[str]) -> None:
    rows = call(*arguments, *AT, "--format", "csv", cwd=folder).rows
    data = call(*arguments, *AT, "--format", "json", cwd=folder).data
    assert [
        [row[name] for name in ("minimum", "expected", "maximum", "maximum_usd", "digest")]
        for row in rows
    ] == [
        [
            *(item["credits"][name] for name in ("minimum", "expected", "maximum")),
            *(item["usd"]["maximum"], item["digest"]),
        ]
        for item in data["quotes"]
    ]


def test_a_thing_is_said_about_the_data_on_stderr_only(folder: Path) -> None:
    done = run("quote", "mixed.json", *AT, "--format", "json", cwd=folder)
    assert done.status == 7
    assert len(done.data["quotes"]) == 1
    assert len(done.data["not_priced"]) == 2
    assert done.stderr.count("error: ") == 2


def test_notes_stand_on_stderr_and_in_the_warnings() -> None:
    options = ("quote", "motion-control", "--orientation", "video", *AT)
    table = call(*options)
    assert "note: length unknown" in table.stderr
    assert "length unknown" not in table.stdout
    assert any(
        "length unknown" in item for item in call(*options, "--format", "json").document["warnings"]
    )


WITH_FORMAT = [
    ([*arguments, "--format", "json"], status)
    for arguments, status in MISTAKES
    if "--format" not in arguments
    and arguments[0] in {"quote", "estimate", "prices"}
    and arguments[:2] not in (["prices", "nothing"], ["prices", "schema"])
]


@pytest.mark.parametrize(("arguments", "status"), [*MISTAKES, *WITH_FORMAT])
def test_a_mistake_has_its_status_and_no_traceback(
    folder: Path, arguments: list[str], status: int
) -> None:
    done = call(*arguments, cwd=folder)
    assert done.status == status, done.stderr
    assert done.stderr.strip()
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr
    if "json" in arguments and done.stdout:
        assert done.data["not_priced"]


def test_the_module_and_the_script_are_one_command(folder: Path) -> None:
    script = shutil.which("kling-ledger", path=str(Path(sys.executable).parent))
    if script is None:
        pytest.skip("kling-ledger is not installed as a script")
    for arguments in ([*QUOTE, "--seconds", "12.4", *AT], ["quote", "nope"], ["--help"]):
        by_script = subprocess.run(
            [script, *arguments], capture_output=True, check=False, cwd=folder, env=environment()
        )
        by_module = run(*arguments, cwd=folder)
        assert by_script.stdout.decode() == by_module.stdout
        assert by_script.stderr.decode() == by_module.stderr
        assert by_script.returncode == by_module.status


def test_the_version_is_that_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert run("--version") == Done(f"kling-ledger {project['version']}\n", "", 0)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(command: list[str]) -> None:
    short, long = call(*command, "-h"), call(*command, "--help")
    assert short == long
    assert (short.status, short.stderr) == (0, "")
    assert " ".join(["Usage: kling-ledger", *command]) in short.stdout
    text = re.sub(r"[╭╰│].*", "", short.stdout).partition("Usage:")[2]
    assert len([line for line in text.splitlines()[1:] if line.strip().endswith(".")]) >= 1, text


@pytest.mark.parametrize(
    "command", ["quote", "estimate", "prices impact", "reserve", "charge", "budget set"]
)
def test_every_example_of_the_help_is_a_command_line_that_works(command: str, folder: Path) -> None:
    for name in ("requests.json", "plan.csv", "dance.mp4"):
        write(folder, name, (DEMO / name).read_bytes())
    write(folder, "request.json", json.dumps(json.loads((DEMO / "requests.json").read_text())[0]))
    write(folder, "requests.jsonl", json.dumps(json.loads((DEMO / "requests.json").read_text())[3]))
    pl.read_csv(PLAN, infer_schema=False).write_parquet(folder / "plan.parquet")
    call("wallet", "top-up", "studio", "1000", "--key", "invoice-1", cwd=folder)
    lines = [
        line.strip()
        for line in call(*command.split(), "-h", env={"COLUMNS": "200"}).stdout.splitlines()
    ]
    examples = [
        line for line in lines if f"kling-ledger {command} " in line and "Usage" not in line
    ]
    assert len(examples) >= 2
    for example in examples:
        # What stands behind it says what it is for.
        words = re.split("  +", example.partition("kling-ledger ")[2])[0].split()
        stdin = (folder / "requests.jsonl").read_text() if "-" in words else ""
        done = call(*words, stdin=stdin, cwd=folder)
        assert done.status in {0, 6}, (example, done.stderr)


@pytest.mark.parametrize("arguments", [[], ["prices"]])
def test_a_command_without_its_subcommand_shows_help(arguments: list[str]) -> None:
    done = call(*arguments)
    assert done.status == 2
    assert "Usage: kling-ledger" in done.stdout + done.stderr


# --- price files and their schema ----------------------------------------------------------------


def _parsed(path: Path) -> Any:
    """A TOML file as JSON would carry it: decimals as text, digit for digit."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: plain(item) for name, item in value.items()}
        if isinstance(value, list):
            return [plain(item) for item in value]
        return value if isinstance(value, (str, int, bool)) else value.isoformat()

    with path.open("rb") as file:
        return plain(tomllib.load(file, parse_float=str))


SHIPPED_PRICES = sorted(
    path for path in (ROOT / "ledger" / "prices").rglob("*.toml") if path.name != "book.toml"
)
"""All but the descriptions of the books, whose format is not published."""


@pytest.mark.parametrize("path", SHIPPED_PRICES, ids=lambda path: "/".join(path.parts[-2:]))
def test_the_shipped_price_files_are_what_their_schema_says(path: Path) -> None:
    name = "exchange-rates" if path.name == "exchange-rates.toml" else "price-file"
    schema = json.loads((SCHEMAS / f"{name}.v1.json").read_text(encoding="utf-8"))
    document = _parsed(path)
    Draft202012Validator(schema).validate(document)
    assert not Draft202012Validator(schema).is_valid(document | {"surprise": 1})


# --- colours, pipes, disks -----------------------------------------------------------------------

TALKATIVE = ["quote", "motion-control", "--orientation", "video", *AT]


@pytest.mark.parametrize(
    "arguments", [TALKATIVE, ["quote", "nope"], ["--help"], ["quote", "--nothing"]]
)
@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_pipe_gets_no_escape_codes(arguments: list[str], env: Mapping[str, str]) -> None:
    done = run(*arguments, env=env)
    assert done.stdout + done.stderr
    assert ESCAPE not in done.stdout + done.stderr


def on_terminal(
    *arguments: str,
    env: Mapping[str, str] | None = None,
    columns: int = 150,
    cwd: Path | None = None,
) -> tuple[str, int]:
    """What a terminal of that width shows, and the status."""
    keeper, terminal = pty.openpty()
    size = {"COLUMNS": str(columns), "LINES": "50"}
    with subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        cwd=cwd,
        env=environment(size | dict(env or {})),
    ) as process:
        os.close(terminal)
        shown = b""
        while select.select([keeper], [], [], 60)[0]:
            try:
                block = os.read(keeper, 65536)
            except OSError:  # the other side is closed
                break
            if not block:
                break
            shown += block
        status = process.wait(60)
    os.close(keeper)
    return shown.decode().replace("\r\n", "\n"), status


COLOUR = re.compile(r"\x1b\[[0-9;]*(3[0-7]|9[0-7])[0-9;]*m")


def test_a_terminal_gets_style() -> None:
    shown, status = on_terminal(*TALKATIVE)
    assert status == 0
    assert ESCAPE in shown


def test_an_error_is_red_on_a_terminal_unless_colour_is_not_wanted() -> None:
    shown, status = on_terminal("quote", "nope")
    assert status == 6
    assert COLOUR.search(shown)
    plain, _ = on_terminal("quote", "nope", env={"NO_COLOR": "1"})
    assert "unknown model 'nope'" in plain
    assert not COLOUR.search(plain)


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
@pytest.mark.parametrize(
    "arguments",
    [
        ["estimate", str(PLAN), "--by", "team", "--allow-not-priced"],
        ["quote", str(DEMO / "requests.json")],
        ["prices", "show", "motion-control"],
    ],
)
def test_a_narrow_terminal_never_cuts_a_figure(arguments: list[str], columns: int) -> None:
    wide = call(*arguments).stdout
    words = set(re.sub(r"[│┃]", " ", shown_at(columns, *arguments)).split())
    figures = {word for word in wide.split() if re.fullmatch(r"[\d,]+\.\d+", word)}
    assert figures
    assert figures <= words


def test_a_short_plan_shows_no_progress_even_on_a_terminal() -> None:
    shown, status = on_terminal("estimate", str(PLAN), *AT, "--allow-not-priced")
    assert status == 0
    assert "pricing plan.csv" not in shown


def test_a_long_plan_shows_progress_on_a_terminal_only(tmp_path: Path) -> None:
    plan = write(tmp_path, "long.jsonl", '{"model": "element"}\n' * 600_000)
    shown, status = on_terminal("estimate", str(plan), *AT)
    assert status == 0
    assert "pricing long.jsonl" in shown
    piped = run("estimate", plan, *AT)
    assert (piped.status, piped.stderr) == (0, "")
    assert "pricing" not in piped.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["prices", "schema", "price-file"],
        ["estimate", str(PLAN), "--by", "job", "--allow-not-priced", "--format", "csv"],
        ["estimate", str(PLAN), "--by", "job", "--allow-not-priced", "--format", "json"],
        ["estimate", str(PLAN), "--by", "job", "--allow-not-priced"],
    ],
)
def test_a_reader_that_has_enough_is_no_error(arguments: list[str]) -> None:
    with subprocess.Popen(
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(1)
        process.stdout.close()
        said = process.stderr.read().decode()
        status = process.wait(60)
    assert "error" not in said
    assert "Broken" not in said
    assert "Traceback" not in said
    assert status == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize(
    "arguments",
    [
        ["quote", "element"],
        ["quote", "element", "--format", "json"],
        ["quote", "element", "--format", "csv"],
        ["prices", "schema", "quote"],
        ["--version"],
        ["--help"],
    ],
)
def test_a_full_disk_is_one_line_and_status_7(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, *arguments],
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            env=environment(),
        )
    assert done.returncode == 7
    assert done.stderr.decode() == "error: standard output: there is no space left for it\n"


@pytest.mark.skipif(os.name != "posix", reason="how a shell closes a stream")
@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
@pytest.mark.parametrize(("words", "status"), [("prices list", 0), ("quote nope", 6)])
def test_a_closed_stream_is_told_nothing(words: str, status: int, closed: str) -> None:
    line = f"'{sys.executable}' -m ledger {words} {closed}"
    done = subprocess.run(
        ["/bin/sh", "-c", line], capture_output=True, text=True, check=False, env=environment()
    )
    assert done.returncode == status, done.stderr
    assert "defect" not in done.stdout + done.stderr
    assert bool(done.stdout) == (status == 0 and not closed.startswith(">"))


# --- interrupts and defects ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def big_plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan that takes seconds: every row has a label of its own, and one in 50 no price."""
    number = pl.int_range(2_000_000, eager=True)
    rejected = number % 50 == 0
    path = tmp_path_factory.mktemp("plans") / "big.csv"
    pl.DataFrame({"job": number, "seconds": (number % 27 + 3).cast(pl.String) + ".5"}).select(
        pl.lit("motion-control").alias("model"),
        pl.when(rejected).then(pl.lit("4k")).otherwise(pl.lit("720p")).alias("quality"),
        pl.lit("video").alias("orientation"),
        "seconds",
        "job",
    ).write_csv(path)
    return path


def interrupted(plan: Path, folder: Path, *, from_bytes: int) -> Done:
    """An estimate that is interrupted once its file of rejects has so many bytes."""
    unfinished = folder / ".r.csv.unfinished"
    with subprocess.Popen(
        [*COMMAND, "estimate", str(plan), "--by", "job", "--not-priced", "r.csv"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        try:
            give_up = time.monotonic() + 30
            while not unfinished.exists() or unfinished.stat().st_size < from_bytes:
                assert process.poll() is None, "it ended before it could be interrupted"
                assert time.monotonic() < give_up, "it never began to write its file"
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()  # or a failed test would wait for its full pipe for ever
    return Done(out.decode(), err.decode(), process.returncode)


@pytest.mark.parametrize("from_bytes", [0, 1])
def test_an_interrupt_ends_with_130_and_leaves_no_file(
    big_plan: Path, tmp_path: Path, from_bytes: int
) -> None:
    done = interrupted(big_plan, tmp_path, from_bytes=from_bytes)
    assert (done.status, done.stdout) == (130, ""), done.stderr
    assert "Traceback" not in done.stderr
    assert "defect" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_says_so(big_plan: Path, tmp_path: Path) -> None:
    assert "interrupted" in interrupted(big_plan, tmp_path, from_bytes=0).stderr


DEFECT = """
import sys
from ledger.cli import app, main
@app.command("break")
def break_() -> None:
    raise ZeroDivisionError("a secret")
sys.argv = ["kling-ledger", "break"]
main()
"""


@pytest.mark.parametrize("debug", [False, True])
def test_a_defect_is_one_line_unless_it_is_looked_for(debug: bool) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DEFECT],
        capture_output=True,
        text=True,
        check=False,
        env=environment({"KLING_LEDGER_DEBUG": "1"} if debug else {}),
    )
    assert (done.returncode, done.stdout) == (1, "")
    if debug:
        assert "Traceback" in done.stderr
        assert "ZeroDivisionError: a secret" in done.stderr
    else:
        assert len(done.stderr.splitlines()) == 1
        assert "unexpected ZeroDivisionError" in done.stderr
        assert "KLING_LEDGER_DEBUG=1" in done.stderr


# --- shell completion ----------------------------------------------------------------------------


def completed(line: str) -> list[str]:
    """What bash offers at the end of the line."""
    words = line.split(" ")
    env = {
        "_KLING_LEDGER_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    done = run(env=env)
    assert (done.status, done.stderr) == (0, "")
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (
            "kling-ledger ",
            [
                *("quote", "estimate", "demo", "prices", "wallet", "reserve", "extend", "charge"),
                *("release", "refund", "budget", "holds", "ingest", "reconcile", "period"),
                *("report", "export", "verify", "db"),
            ],
        ),
        ("kling-ledger holds list --state ", ["open", "unknown", "charged", "released"]),
        ("kling-ledger pr", ["prices"]),
        (
            "kling-ledger prices ",
            ["list", "show", "check", "diff", "import", "books", "impact", "schema"],
        ),
        ("kling-ledger quote mot", ["motion-control"]),
        ("kling-ledger prices show kling-c", ["kling-custom-element"]),
        ("kling-ledger estimate plan.csv --model custom", ["custom-element"]),
        (
            "kling-ledger quote element --price-book ",
            ["evolink", "evolink-panel", "evolink-rules"],
        ),
        ("kling-ledger quote element --price-book evolink-r", ["evolink-rules"]),
        ("kling-ledger quote element --form", ["--format"]),
        ("kling-ledger quote element --format j", ["json"]),
        ("kling-ledger quote nothing-like-", []),
    ],
)
def test_bash_completes_commands_models_books_and_options(line: str, words: list[str]) -> None:
    assert sorted(completed(line)) == sorted(words)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_can_be_shown(shell: str) -> None:
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed")
    # Not the last command, or the shell would become it and not be found as its parent.
    line = f"'{sys.executable}' -m ledger --show-completion; exit $?"
    line = line.replace("$?", "$status") if shell == "fish" else line
    done = subprocess.run(
        [program, "-c", line], capture_output=True, text=True, check=False, env=environment()
    )
    if "not supported" in done.stderr:
        pytest.skip("the shell cannot be told here")
    assert done.returncode == 0, done.stderr
    assert "_KLING_LEDGER_COMPLETE" in done.stdout
    assert f"complete_{shell}" in done.stdout


_SLOWLY_READ = """
import sys
from ledger.cli.streams import open_streams
open_streams()
print("begins", file=sys.stderr, flush=True)
sys.stdout.write("x" * 300_000)
sys.stdout.flush()
"""


def test_a_stdout_that_does_not_block_takes_everything_all_the_same() -> None:
    """Some programs give their children such a pipe; what does not fit is to wait."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with open(writing, "wb", buffering=0) as full:  # noqa: PTH123  a pipe has no path
        filled = 0
        while written := full.write(b"." * 4096):
            filled += written
        process = subprocess.Popen(
            [sys.executable, "-c", _SLOWLY_READ], stdout=full, stderr=subprocess.PIPE
        )
    with process, open(reading, "rb") as rest:  # noqa: PTH123
        assert process.stderr is not None
        assert process.stderr.readline() == b"begins\n"
        assert rest.read() == b"." * filled + b"x" * 300_000
    assert process.returncode == 0

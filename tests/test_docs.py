"""The documentation is true: its examples run, its lists are complete, its links lead somewhere.

A block of TOML, JSON or shell whose first line is a comment with a file name, such as
`# deal.toml`, is that file for the console blocks of its page.
"""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import pytest
from command import DEMO, ROOT, call, environment
from pytest_examples import CodeExample, EvalExample, find_examples

import ledger
from ledger import errors

DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
COMMANDS_PAGE = DOCS / "reference" / "commands.md"
"""Generated; its console blocks are synopses, not examples."""
WRITTEN = [page for page in PAGES if page != COMMANDS_PAGE]

FENCE = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```", flags=re.DOTALL | re.MULTILINE)
FILE_NAME = re.compile(r"\A# ([\w.-]+\.(?:toml|jsonl?|csv|sh))\n")


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture
def inputs(tmp_path: Path) -> Path:
    """A folder with the inputs that every page may use."""
    for file in ("requests.json", "plan.csv", "dance.mp4", "rules.json"):
        (tmp_path / file).write_bytes((DEMO / file).read_bytes())
    return tmp_path


# --- examples ------------------------------------------------------------------------------------

PYTHON = [item for item in find_examples(*WRITTEN) if "python" in item.prefix_tags()]


@pytest.mark.parametrize("example", PYTHON, ids=lambda item: f"{name(item.path)}:{item.start_line}")
def test_python_examples_print_what_they_say(
    example: CodeExample,
    eval_example: EvalExample,
    inputs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(inputs)
    if eval_example.update_examples:
        eval_example.run_print_update(example)
    else:
        eval_example.run_print_check(example)


@dataclass(frozen=True)
class Typed:
    """A console block: commands typed in one folder, each with the lines shown under it."""

    page: Path
    line: int
    commands: list[str]
    shown: list[list[str]]


def blocks(page: Path) -> Iterator[tuple[str, str, int]]:
    """Language, text and first line of every fenced block."""
    text = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(text):
        first = text.count("\n", 0, found.start(3)) + 1
        yield found[2], textwrap.dedent(found[3]), first


def typed(page: Path) -> Iterator[Typed]:
    for language, text, first in blocks(page):
        if language != "console":
            continue
        lines = [line.rstrip() for line in text.splitlines()]
        starts = [number for number, line in enumerate(lines) if line.startswith("$ ")]
        assert starts, f"{name(page)}:{first}: a console block without a command"
        ends = [*starts[1:], len(lines)]
        commands, outputs = [], []
        for start, end in zip(starts, ends, strict=True):
            shown = lines[start + 1 : end]
            while shown and end < len(lines) and shown[-1].startswith("# "):
                shown.pop()  # a comment on the command that follows
            commands.append(lines[start].removeprefix("$ "))
            outputs.append(shown)
        yield Typed(page, first + starts[0], commands, outputs)


def without_end(lines: list[str]) -> list[str]:
    """The lines up to the last that is not blank."""
    return "\n".join(line.rstrip() for line in lines).rstrip().splitlines()


_NEXT, _TOLD = "--- the next command", "what-it-told"
CONSOLE = [item for page in WRITTEN for item in typed(page)]


def typed_for_real(lines: list[str], folder: Path) -> tuple[list[str], str]:
    """What each line prints and what all say on stderr, in one shell."""
    python = shlex.quote(sys.executable)
    script = f'python() {{ {python} "$@"; }}\nkling-ledger() {{ {python} -m ledger "$@"; }}\n'
    for line in lines:
        script += f"{line}\necho '{_NEXT}'\n"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=environment({"KLING_LEDGER_PRICE_DIR": str(folder / "books")}),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.stdout.split(f"{_NEXT}\n")[:-1], done.stderr


def typed_here(line: str, folder: Path) -> tuple[str, str]:
    """The same for one line, in this process if the shell has nothing to do with it."""
    if line.startswith("kling-ledger ") and not set(line) & set("|&;<>()$`*?~#{}"):
        env = {"KLING_LEDGER_PRICE_DIR": str(folder / "books")}
        done = call(*shlex.split(line)[1:], cwd=folder, env=env)
        return done.stdout, done.stderr
    if found := re.fullmatch(r"\. \./(\S+\.sh) > (\S+)", line):
        for name_, content in left_by((folder / found[1]).read_text("utf-8")).items():
            (folder / name_.replace(_TOLD, found[2])).write_bytes(content)
        return "", ""
    (printed,), said = typed_for_real([line], folder)
    return printed, said


@cache
def left_by(script: str) -> dict[str, bytes]:
    """The files that a script of a page leaves; many examples of a page begin with the same one."""
    with TemporaryDirectory() as name_:
        folder = Path(name_)
        (folder / "script").write_text(script, encoding="utf-8")
        _, said = typed_for_real([f". ./script > {_TOLD}"], folder)
        assert said == ""
        (folder / "script").unlink()
        return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("item", CONSOLE, ids=lambda item: f"{name(item.page)}:{item.line}")
def test_console_examples_print_what_they_show(item: Typed, inputs: Path) -> None:
    for language, text, _ in blocks(item.page):
        if language in {"toml", "json", "bash"} and (found := FILE_NAME.match(text)):
            (inputs / found[1]).write_text(text, encoding="utf-8")
    # On a terminal an error is seen as well.
    seen = [bool(shown) and shown[0].startswith("error: ") for shown in item.shown]
    if item.page.name == "README.md":
        ends = [" 2>&1" if also else "" for also in seen]
        lines = [command + end for command, end in zip(item.commands, ends, strict=True)]
        outputs, said = typed_for_real(lines, inputs)
    else:
        outputs, said = [], ""
        for command, also in zip(item.commands, seen, strict=True):
            output, error = typed_here(command, inputs)
            outputs.append(output + error if also else output)
            said += error
    for command, shown, output in zip(item.commands, item.shown, outputs, strict=True):
        assert without_end(output.splitlines()) == without_end(shown), (command, said)
    assert "Traceback" not in said
    assert "command not found" not in said


def test_the_readme_has_examples_of_both_kinds() -> None:
    assert [item for item in PYTHON if item.path.name == "README.md"]
    assert [item for item in CONSOLE if item.page.name == "README.md"]


# --- generated files and complete lists ----------------------------------------------------------


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_files_are_not_stale(generate: ModuleType) -> None:
    assert [name(path) for path in generate.stale()] == []


def test_a_stale_file_would_be_noticed(
    generate: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    assert len(generate.stale()) == len(generate.SCHEMAS) + 2


def text_of(page: Path) -> str:
    assert page.is_file(), f"{name(page)} is missing"
    return page.read_text(encoding="utf-8")


ERRORS = [
    kind
    for kind in (getattr(errors, item) for item in errors.__all__)
    if issubclass(kind, errors.LedgerError)
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_every_error_is_in_the_reference_with_its_code_and_status(
    error: type[errors.LedgerError],
) -> None:
    wanted = (f"`{error.__name__}`", f"`{error.code}`", f" {error.exit_status} ")
    rows = text_of(DOCS / "reference" / "errors.md").splitlines()
    assert [row for row in rows if all(part in row for part in wanted)]


@pytest.mark.parametrize("status", [0, 1, 2, 3, 4, 6, 7, 8, 9, 130])
def test_every_exit_status_is_in_the_reference(status: int) -> None:
    lines = text_of(DOCS / "reference" / "errors.md").splitlines()
    about = [line for line in lines if line.startswith("|") or re.search(r"\b[Ee]xit", line)]
    assert [line for line in about if re.search(rf"(?<![≥>.] )(?<!\.)\b{status}\b(?!\.\d)", line)]


COMMAND_NAMES = [
    *("quote", "estimate", "demo"),
    *("prices list", "prices show", "prices check", "prices diff", "prices schema"),
    *("prices import", "prices books", "prices impact"),
    *("reserve", "extend", "charge", "release", "refund", "verify"),
    *("wallet open", "wallet list", "wallet balance", "wallet statement", "wallet top-up"),
    *("wallet adjust", "wallet lapse", "wallet lots", "wallet trial-balance"),
    *("budget set", "budget list", "budget status", "budget remove"),
    *("holds list", "holds show", "holds expire", "holds sweep", "holds inbox"),
    *("holds discard", "holds tasks", "holds link", "holds probe-list", "ingest"),
    *("reconcile statement", "reconcile breaks", "reconcile show", "reconcile apply"),
    *("reconcile explain", "reconcile assign", "reconcile reopen", "reconcile history"),
    "reconcile mapping",
    *("period close", "period reopen", "period list"),
    *("report show", "report list", "report explain", "report pack"),
    *("export entries", "export holds", "export jobs", "export workbook", "export journal"),
    *("export focus", "export all", "export check"),
    *("db upgrade", "db status", "db distribute", "db copy"),
]
GROUPS = ("prices", "wallet", "budget", "holds", "reconcile", "period", "report", "export", "db")


@pytest.mark.parametrize("command", COMMAND_NAMES)
def test_every_command_is_in_the_reference(command: str) -> None:
    assert f"## `kling-ledger {command}`" in text_of(COMMANDS_PAGE)


def test_these_are_all_commands() -> None:
    shown = [
        word
        for arguments in ([], *([group] for group in GROUPS))
        for line in call(*arguments, "--help").stdout.partition("Commands")[2].splitlines()
        if (found := re.match(r"│ ([\w-]+)  ", line))
        for word in [" ".join([*arguments, found[1]])]
    ]
    assert sorted(shown) == sorted([*COMMAND_NAMES, *GROUPS])


@pytest.mark.parametrize("public", sorted(ledger.__all__))
def test_every_public_name_is_in_the_documentation(public: str) -> None:
    pages = [text_of(page) for page in DOCS.rglob("*.md")]
    assert [page for page in pages if re.search(rf"\b{public}\b", page)]


# --- links ---------------------------------------------------------------------------------------

LINK = re.compile(r"(?<!`)\[[^\]\n]*\]\(<?([^)\s>]+)>?(?: \"[^\"]*\")?\)")


def links(page: Path) -> Iterator[str]:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in LINK.findall(text):
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors(page: Path) -> set[str]:
    """The anchors of the headings, as the documentation builder and GitHub make them."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ +(.*?) *$", text, flags=re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", heading.lower()) for heading in headings]
    return {re.sub(r"[\s-]+", "-", heading).strip("-") for heading in plain}


LINKS = [(page, target) for page in PAGES for target in links(page)]


@pytest.mark.parametrize(("page", "target"), LINKS, ids=lambda item: str(item).rpartition("/")[2])
def test_a_link_leads_to_a_file_and_a_heading_that_are_there(page: Path, target: str) -> None:
    path, _, anchor = target.partition("#")
    there = (page.parent / path).resolve() if path else page
    assert there.exists(), f"{name(page)} links to {target}"
    assert there.is_relative_to(ROOT), f"{name(page)} links out of the project: {target}"
    if anchor and there.suffix == ".md":
        assert anchor in anchors(there), f"{name(page)} links to {target}"


# --- tidiness ------------------------------------------------------------------------------------

SOURCES = [
    path
    for path in sorted((ROOT / "ledger").rglob("*.py"))
    if not path.is_relative_to(ROOT / "ledger" / "columns")
]
"""All but `columns`, where lengths (never amounts) are floats; its own tests say how."""

TEXTS = [
    *PAGES,
    *(path for path in (ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md") if path.is_file()),
    *(
        path
        for path in sorted((ROOT / "ledger").rglob("*"))
        if path.suffix in {".py", ".json", ".toml", ".csv"}
    ),
]


@pytest.mark.parametrize("path", TEXTS, ids=name)
def test_no_text_knows_the_machine_it_was_written_on(path: Path) -> None:
    found = re.findall(
        r"(?<![\w.:/-])(?:/work|/root|/tmp|/home/\w+)\b[^\s`'\")]*", path.read_text("utf-8")
    )
    assert found == []


def floats(tree: ast.AST) -> Iterator[ast.Constant | ast.Call]:
    """Calls of `float`, and its literals but for the cutoff of a likeness of two names."""
    cutoffs = {
        id(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg == "cutoff"
    }
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=float()) if id(node) not in cutoffs:
                yield node
            case ast.Call(func=ast.Name(id="float")):
                yield node


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_no_float_touches_an_amount(path: Path) -> None:
    found = list(floats(ast.parse(path.read_text(encoding="utf-8"))))
    if path.name == "media.py":  # a size in megabytes is for reading only
        found = [node for node in found if not isinstance(node, ast.Constant)]
    assert [f"{name(path)}:{node.lineno}" for node in found] == []

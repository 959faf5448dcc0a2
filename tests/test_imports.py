"""Imports point one way, and what is heavy is loaded only where it is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ["polars", "sqlalchemy", "sqlmodel", "av", "typer", "rich", "numpy"]

NOTHING_MORE = "import ledger"
ONE_JOB = """
from ledger import MotionControl, PriceBook
job = MotionControl(quality="1080p", character_orientation="video", reference_seconds="12.4")
quote = PriceBook.bundled().quote(job, at="2026-10-10")
assert str(quote.maximum) == "141.5939616"
quote.explain(), quote.document()
"""
ONE_BODY = """
from ledger import PriceBook
body = {"model": "kling-custom-element", "model_params": {
    "element_name": "a", "element_description": "b", "reference_type": "video_refer",
    "element_video_list": {"video_url": "https://media.example.com/a.mp4"}}}
prices = PriceBook.bundled()
prices.charge(prices.parse(body), at="2026-10-10")
"""


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_imports_point_one_way() -> None:
    program = "import sys\nfrom importlinter.cli import lint_imports\nsys.exit(lint_imports())"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "imports point one way KEPT" in done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    "program", [NOTHING_MORE, ONE_JOB, ONE_BODY], ids=["import", "one job", "one body"]
)
def test_pricing_one_job_loads_nothing_heavy(program: str) -> None:
    loaded = run(f"{program}\nimport sys\nprint(*[m for m in {HEAVY!r} if m in sys.modules])")
    assert loaded.split() == []


def test_the_check_for_heavy_modules_sees_them() -> None:
    loaded = run(f"import polars, sys\nprint(*[m for m in {HEAVY!r} if m in sys.modules])")
    assert "polars" in loaded.split()


def test_importing_the_library_loads_none_of_its_parts() -> None:
    loaded = run("import ledger, sys\nprint(*[m for m in sys.modules if m.startswith('ledger')])")
    assert loaded.split() == ["ledger"]

"""Makes the files that are generated: the command reference, the JSON Schemas, the demo's plan.

python docs/generate.py            write them
python docs/generate.py --check    fail if one of them is stale
"""

from __future__ import annotations

import csv
import io
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from ledger import documents
from ledger.pricebook.schema import ModelFile, OverlayFile, RatesFile

ROOT = Path(__file__).resolve().parent.parent

SCHEMAS: dict[str, Any] = {
    "price-file": ModelFile,
    "overlay-file": OverlayFile,
    "exchange-rates": RatesFile,
    "quote": documents.QuotesDocument,
    "estimate": documents.EstimateDocument,
    "prices": documents.ModelsDocument,
    "price-findings": documents.FindingsDocument,
    "price-differences": documents.DifferencesDocument,
    "price-impact": documents.ImpactDocument,
    "price-books": documents.PriceBooksDocument,
    "entry": documents.WrittenDocument,
    "entries": documents.EntriesDocument,
    "wallets": documents.WalletsDocument,
    "balance": documents.BalanceDocument,
    "lots": documents.LotsDocument,
    "statement": documents.StatementDocument,
    "trial-balance": documents.TrialBalanceDocument,
    "refusal": documents.RefusalDocument,
    "holds": documents.HoldsDocument,
    "hold": documents.HoldHistoryDocument,
    "inbox": documents.InboxDocument,
    "ingest": documents.IngestDocument,
    "tasks": documents.TasksDocument,
    "probe-list": documents.ProbeDocument,
    "applied": documents.AppliedDocument,
    "budgets": documents.BudgetsDocument,
    "budget-status": documents.BudgetStatusesDocument,
    "period": documents.ClosedPeriodDocument,
    "periods": documents.PeriodsDocument,
    "reconciliation": documents.ReconciliationDocument,
    "reconciliations": documents.ReconciliationsDocument,
    "breaks": documents.BreaksDocument,
    "corrections": documents.CorrectionsDocument,
    "report": documents.ReportDocument,
    "reports": documents.ReportsDocument,
    "cell": documents.CellDocument,
    "verification": documents.VerificationDocument,
    "store": documents.StoreDocument,
    "copy": documents.CopyDocument,
    "manifest": documents.ManifestDocument,
}
"""What each shipped schema describes; printed data stand in an envelope."""

FILE_SCHEMAS = {"price-file", "overlay-file", "exchange-rates", "manifest"}


class _WithDialect(GenerateJsonSchema):
    def generate(self, schema: Any, mode: Any = "validation") -> Any:
        return {"$schema": self.schema_dialect} | super().generate(schema, mode=mode)


def json_schema(name: str) -> str:
    """One JSON Schema, as text."""
    kind = SCHEMAS[name]
    schema = TypeAdapter(kind).json_schema(schema_generator=_WithDialect)
    if name not in FILE_SCHEMAS:
        envelope = TypeAdapter(documents.Envelope).json_schema(schema_generator=_WithDialect)
        definitions = schema.pop("$defs", {})
        schema.pop("$schema")
        envelope["properties"]["schema"] = {"const": f"kling-ledger/{name}/v1", "type": "string"}
        envelope["properties"]["data"] = schema
        schema = envelope | {"$defs": definitions}
    schema["$id"] = f"urn:kling-ledger:{name}:v1"
    return json.dumps(schema, indent=2, ensure_ascii=False, sort_keys=True) + "\n"


def command_reference() -> str:
    """Every command with its help, options and examples, as Markdown; Typer writes it."""
    command = [sys.executable, "-m", "typer", "ledger.cli", "utils", "docs"]
    options = ["--name", "kling-ledger", "--title", "Commands"]
    done = subprocess.run([*command, *options], check=True, capture_output=True, text=True)
    return "\n".join(line.rstrip() for line in done.stdout.splitlines()).rstrip() + "\n"


def demo_plan() -> str:
    """A studio's plan for a month: 2,400 rows made up from a fixed seed, three of them wrong."""
    chance = random.Random(20261101)  # noqa: S311  nothing here is secret
    teams = {"ads": ["li", "sam", "zoë"], "film": ["ada", "noor"], "social": ["max", "yuki", "eva"]}
    rows: list[list[str]] = []
    for number in range(1, 2401):
        team = chance.choices(list(teams), weights=[5, 2, 6])[0]
        model, quality, orientation, sound, seconds = _made_up_job(chance)
        rows.append(
            [
                f"job-{number:04d}",
                team,
                chance.choice(teams[team]),
                model,
                quality,
                orientation,
                sound,
                seconds,
                str(chance.choices([1, 2, 4], weights=[8, 2, 1])[0]),
            ]
        )
    rows[400][3:8] = ["kling-v3-motion-control", "720p", "video", "", "2.4"]
    rows[1200][3:8] = ["kling-v3-motion-controll", "720p", "video", "", "8"]
    rows[2000][3:8] = ["kling-v3-motion-control", "4k", "video", "", "11.2"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = "job team user model quality orientation sound seconds count"
    writer.writerow(header.split())
    writer.writerows(rows)
    return text.getvalue()


def _made_up_job(chance: random.Random) -> tuple[str, str, str, str, str]:
    quality = chance.choices(["720p", "1080p"], weights=[3, 2])[0]
    kind = chance.choices(
        ["motion", "text", "image", "element", "edit"], weights=[70, 9, 12, 5, 4]
    )[0]
    if kind == "element":
        return "kling-custom-element", "", "", "", ""
    if kind == "edit":
        seconds = f"{chance.uniform(3.2, 14):.2f}"
        return "kling-o3-video-edit", quality, "", "", seconds
    if kind == "motion":
        orientation = chance.choices(["video", "image"], weights=[4, 1])[0]
        seconds = f"{min(29.8, 3.1 + chance.expovariate(1 / 7)):.2f}"
        unknown = chance.random() < 0.04
        return "kling-v3-motion-control", quality, orientation, "", "" if unknown else seconds
    model = f"kling-v3-{kind}-to-video"
    return model, quality, "", chance.choice(["on", "off"]), str(chance.choice([5, 5, 5, 8, 10]))


def generated() -> dict[Path, str]:
    """Every generated file with its text."""
    texts = {ROOT / "docs/reference/commands.md": command_reference()}
    for name in SCHEMAS:
        texts[ROOT / f"ledger/schemas/{name}.v1.json"] = json_schema(name)
    texts[ROOT / "ledger/demo/plan.csv"] = demo_plan()
    return texts


def stale() -> list[Path]:
    """Generated files that are not what they would be made to be now."""
    return [
        path
        for path, text in generated().items()
        if not path.is_file() or path.read_text(encoding="utf-8") != text
    ]


def main() -> None:
    """Write the files, or check them."""
    if "--check" in sys.argv[1:]:
        if paths := stale():
            names = ", ".join(str(path.relative_to(ROOT)) for path in paths)
            sys.exit(f"stale: {names}; run python docs/generate.py")
        return
    for path, text in generated().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

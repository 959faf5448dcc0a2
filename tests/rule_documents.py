"""Small pricing documents in the provider's format, and where the provider's own sample is."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ledger.evolink.rules import Rule, Rules

Json = dict[str, Any]

SAMPLE = "evolink-pricing-rules-20261010.json"
UC_PER_USD = 680_000


def sample_text() -> bytes:
    """The provider's answer of 2026-10-10 for 24 models; skips the test where it is not there."""
    given = os.environ.get("KLING_LEDGER_SHARED_DATA")
    folder = Path(given) if given else Path(__file__).parents[2] / "shared" / "data"
    if not (folder / SAMPLE).is_file():
        pytest.skip(f"{SAMPLE} is not in {folder}; set KLING_LEDGER_SHARED_DATA to its folder")
    return (folder / SAMPLE).read_bytes()


def sample() -> Json:
    found = json.loads(sample_text())
    assert isinstance(found, dict)
    return found


def document(*models: Json, **meta: Any) -> Json:
    """A document for a list of models."""
    return {"meta": heading(**meta), "models": list(models)}


def heading(**changes: Any) -> Json:
    return {
        "schema_version": "2",
        "catalog_version": "cat_1",
        "pricing_version": "prc_1",
        "price_scope": "public_default",
        "currency": "USD",
        "exchange_rate_version": "pricing-fx/v1:USD-CNY=6.8",
        "updated_at": "2026-10-10T06:52:34.303000193Z",
        "fresh_until": "2026-10-10T06:57:00Z",
        **changes,
    }


def model(
    *components: Json, model_id: str = "clip", parameters: list[Json] | None = None, **changes: Any
) -> Json:
    """A model; with no component given it has one of 2 seconds."""
    return {
        "model_id": model_id,
        "product_id": "clips",
        "operation": "text_to_video",
        "modality": "video",
        "lifecycle": "active",
        "pricing_status": "available",
        "settlement_basis": "request_only",
        "policy_version": 1,
        "policy_checksum": "0" * 64,
        "policy_source": "published",
        "parameters": parameters or [],
        "components": list(components) or [component(constant("2"))],
        **changes,
    }


def component(
    quantity: Json,
    *,
    id: str = "output",
    uc: str = "100",
    minimum: str = "0",
    point: str = "per_component_subtotal",
    mode: str = "half_up",
    tiers: list[Json] | None = None,
    **changes: Any,
) -> Json:
    return {
        "id": id,
        "role": "video_output",
        "dimension": "output_second",
        "sku_id": "1",
        "unit": "output_second",
        "billing_unit_size": 1,
        "display_unit_size": 1,
        "rate": money(uc),
        "minimum_charge": money(minimum),
        "billing_rule": "per_second",
        "pricing_status": "available",
        "effective_at": "2026-04-21T15:00:36.114Z",
        "quantity_rule": quantity,
        "rounding": {"point": point, "mode": mode},
        "tiers": tiers or [],
        **changes,
    }


def tier(when: Json, multiplier: str, uc: str, *, minimum: str = "0", **changes: Any) -> Json:
    return {
        "when": when,
        "multiplier": multiplier,
        "sku_id": "2",
        "rate": money(uc),
        "minimum_charge": money(minimum),
        "billing_rule": "per_second",
        "pricing_status": "available",
        "effective_at": "2026-05-01T00:00:00Z",
        **changes,
    }


def money(uc: str) -> Json:
    """An amount in the provider's four units."""
    amount = Decimal(uc)
    usd = (amount / UC_PER_USD).quantize(Decimal("0.00000001"))
    return {
        "uc": uc,
        "credits": _plain(amount.scaleb(-4)),
        "cny": _plain(amount.scaleb(-5)),
        "usd": f"{usd:f}",
    }


def _plain(amount: Decimal) -> str:
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def number_parameter(name: str, type: str = "decimal", **changes: Any) -> Json:
    return {"name": name, "type": type, **changes}


def choice_parameter(name: str, *values: str, **changes: Any) -> Json:
    return {"name": name, "type": "enum", "values": list(values), **changes}


def constant(value: str) -> Json:
    return {"op": "constant", "value": value}


def variable(name: str) -> Json:
    return {"op": "variable", "name": name}


def lookup(key: Json, **values: str) -> Json:
    return {"op": "lookup", "key": key, "values": values}


def apply(op: str, *args: Json) -> Json:
    return {"op": op, "args": list(args)}


def nearest_second(seconds: Json) -> Json:
    return apply("floor", apply("add", seconds, constant("0.5")))


def motion_control() -> Json:
    """The rule of kling-v3-motion-control as published on 2026-10-10."""
    output, reference = variable("output_seconds"), variable("input_seconds")
    billed = apply(
        "if",
        apply("gt", output, constant("0")),
        nearest_second(output),
        apply(
            "if",
            apply("gt", reference, constant("0")),
            nearest_second(reference),
            constant("10"),
        ),
    )
    factor = lookup(variable("quality"), **{"720p": "1", "1080p": "1.334"})
    return model(
        component(
            apply("multiply", billed, factor), id="video_output", uc="81648", minimum="244944"
        ),
        model_id="kling-v3-motion-control",
        operation="motion_control",
        settlement_basis="request_then_actual",
        parameters=[
            number_parameter("output_seconds", minimum="0", default="0"),
            number_parameter("input_seconds", minimum="0", default="0"),
            choice_parameter("quality", "720p", "1080p", default="720p"),
        ],
    )


X = number_parameter("x")
QUALITY = choice_parameter("quality", "720p", "1080p")


def load(*models: Json, **meta: Any) -> Rules:
    return Rules.parse(json.dumps(document(*models, **meta)))


def rule(*components: Json, **said: Any) -> Rule:
    """The rule of one model with these components."""
    return load(model(*components, **said)).models["clip"]


def quantity(tree: Any, **said: Any) -> Json:
    """A document with one component that has this quantity, of `x` and `quality`."""
    return document(model(component(tree), parameters=[X, QUALITY], **said))

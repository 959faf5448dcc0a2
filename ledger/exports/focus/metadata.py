"""What FOCUS wants to be told beside the rows: version, schema, precision; and our own choices."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from importlib.metadata import version as installed
from typing import Any, NamedTuple

from ledger.exports.focus.deviations import deviations_of
from ledger.exports.focus.selfcheck import Finding
from ledger.exports.focus.table import (
    AMOUNT_SCALE,
    PRECISION,
    PRICE_SCALE,
    Column,
    FocusVersion,
    Kind,
)

__all__ = ["Dataset", "definitions", "metadata_of", "schema_id"]

_KINDS: dict[Kind, dict[str, Any]] = {
    "text": {"DataType": "STRING", "StringEncoding": "UTF-8"},
    "json": {"DataType": "JSON", "StringEncoding": "UTF-8"},
    "moment": {"DataType": "DATETIME"},
    "amount": {"DataType": "DECIMAL", "NumericPrecision": PRECISION, "NumberScale": AMOUNT_SCALE},
    "price": {"DataType": "DECIMAL", "NumericPrecision": PRECISION, "NumberScale": PRICE_SCALE},
}


class Dataset(NamedTuple):
    """One file, as its metadata describe it."""

    name: str
    """CostAndUsage, InvoiceDetail, or BillingPeriod."""
    file: str
    columns: Sequence[Column]
    rows: int
    totals: Mapping[str, Mapping[str, str]]
    """Column → currency → sum; exact."""


def schema_id(dataset: str, version: FocusVersion, columns: Sequence[Column]) -> str:
    """A name for a set of columns, which changes with any of them."""
    digest = sha256(json.dumps(definitions(columns)).encode()).hexdigest()
    return f"kling-ledger-{dataset}-{version}-{digest[:12]}"


def definitions(columns: Sequence[Column]) -> list[dict[str, Any]]:
    """ColumnDefinition of the specification's schema metadata."""
    return [{"ColumnName": column.name, **_KINDS[column.kind]} for column in columns]


def metadata_of(
    dataset: Dataset,
    version: FocusVersion,
    *,
    made_at: str | None,
    period: Mapping[str, str] | None,
    as_of: str | None,
    is_complete: bool,
    findings: Sequence[Finding],
) -> dict[str, Any]:
    """The metadata of one file as JSON types.

    Args:
        dataset: the file.
        version: of the specification.
        made_at: when the last entry was recorded that counts; where none does, the last
            moment of which entries are known.
        period: what was asked for; None for everything.
        as_of: before when things had to be recorded.
        is_complete: whether the book has closed all of the period.
        findings: what the self-check found.
    """
    identity = schema_id(dataset.name, version, dataset.columns)
    document: dict[str, Any] = {
        "DataGenerator": {"DataGenerator": "kling-ledger"},
        "DatasetInstance": {
            "DatasetInstanceId": dataset.file,
            "DatasetInstanceName": dataset.file,
            "FocusDatasetId": dataset.name,
        },
        "Recency": {
            "DatasetInstanceId": dataset.file,
            "DatasetInstanceLastUpdated": made_at,
            "DatasetInstanceComplete": is_complete,
        },
        "Schema": {
            "SchemaId": identity,
            "DatasetInstanceId": dataset.file,
            "FocusVersion": version,
            "DataGeneratorVersion": installed("kling-ledger"),
            "CreationDate": made_at,
            "ColumnDefinition": definitions(dataset.columns),
        },
        "x_Period": period,
        "x_AsOf": as_of,
        "x_Rows": dataset.rows,
        "x_Totals": dataset.totals,
        "x_Meanings": {column.name: column.meaning for column in dataset.columns},
    }
    if dataset.name == "CostAndUsage":
        document["x_SelfCheck"] = [finding._asdict() for finding in findings]
    document["x_Deviations"] = [
        {"id": item.id, "what": item.what, "why": item.why, "source": item.source}
        for item in deviations_of(version)
    ]
    return document

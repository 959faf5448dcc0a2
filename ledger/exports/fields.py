"""What can be exported of a book: the tables, their columns, and what stands in each column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import polars as pl

__all__ = ["FIELDS", "Field", "Kind", "Table", "schema_of"]

Table = Literal["entries", "holds", "jobs"]
"""What can be exported."""

Kind = Literal["text", "json", "count", "flag", "credits", "money", "moment"]
"""What the values of a column are; `credits` and `money` are integers of 10^-8."""


class Field(NamedTuple):
    """A column of an export."""

    name: str
    kind: Kind


def _fields(**kinds: str) -> tuple[Field, ...]:
    found: dict[str, Any] = {name: kind for kind, names in kinds.items() for name in names.split()}
    return tuple(Field(name, found[name]) for name in found)


def _ordered(names: str, **kinds: str) -> tuple[Field, ...]:
    known = {item.name: item for item in _fields(**kinds)}
    return tuple(known[name] for name in names.split())


FIELDS: dict[Table, tuple[Field, ...]] = {
    "entries": _ordered(
        "wallet seq kind key job contra posted held posted_after held_after over uncollected late"
        " cost currency debt_paid debt_cost cash expires reason seconds corrects deadline"
        " happened_at recorded_at hash costs lots",
        text="wallet kind key job contra currency reason seconds corrects hash",
        json="costs lots",
        count="seq",
        flag="late",
        credits="posted held posted_after held_after over uncollected debt_paid",
        money="cost debt_cost cash",
        moment="expires deadline happened_at recorded_at",
    ),
    "holds": _ordered(
        "job wallet seq last_seq state amount held charged refunded policy on_deadline"
        " model quality orientation channel version reserved_at deadline labels",
        text="job wallet state policy on_deadline model quality orientation channel version",
        json="labels",
        count="seq last_seq",
        credits="amount held charged refunded",
        moment="reserved_at deadline",
    ),
    "jobs": _ordered(
        "job wallet task state model quality orientation channel version seconds reserved charged"
        " refunded net over uncollected late cost currency reconciled reserved_at charged_at costs"
        " labels",
        text="job wallet task state model quality orientation channel version seconds currency"
        " reconciled",
        json="costs labels",
        flag="late",
        credits="reserved charged refunded net over uncollected",
        money="cost",
        moment="reserved_at charged_at",
    ),
}
"""The columns of every export, in their order."""

_TYPES: dict[Kind, Any] = {
    "text": pl.String,
    "json": pl.String,
    "count": pl.Int64,
    "flag": pl.Boolean,
    "credits": pl.Int64,
    "money": pl.Int64,
    "moment": pl.Int64,
}


def schema_of(fields: Sequence[Field]) -> pl.Schema:
    """The columns with the types that their values have while they are read."""
    return pl.Schema({item.name: _TYPES[item.kind] for item in fields})

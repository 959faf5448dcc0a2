"""The JSON of reports."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from typing_extensions import TypedDict

from ledger.documents.books import ReconciledDocument
from ledger.records import moment
from ledger.units import iso

__all__ = [
    "CellDocument",
    "ColumnDocument",
    "FactDocument",
    "ReportDocument",
    "ReportKindDocument",
    "ReportsDocument",
    "SpanDocument",
    "reports_document",
    "span_document",
]


class SpanDocument(TypedDict):
    """A stretch of time, from `start` up to and without `end`."""

    name: str
    start: str
    end: str
    timezone: str


class ColumnDocument(TypedDict):
    """A column of a report."""

    name: str
    unit: str
    """text, count, credits, money, seconds, percent, or moment."""
    title: str
    adds_up: bool
    """Whether the figures of all rows add up to that of the total."""


class ReportDocument(TypedDict):
    """Data of `kling-ledger/report/v1`: any report.

    Rows map the names of the columns to what stands there: counts as numbers, all other figures
    as texts of plain digits, null where there is nothing to say.
    """

    report: str
    title: str
    book: str
    wallet: str | None
    period: SpanDocument
    counted: str
    """Whether entries count when they happened, or when they were recorded."""
    as_of: str | None
    columns: list[ColumnDocument]
    rows: list[dict[str, str | int | None]]
    total: dict[str, str | int | None] | None
    reconciled: ReconciledDocument | None
    notes: list[str]


class ReportKindDocument(TypedDict):
    """One of the reports there are."""

    name: str
    summary: str
    by: list[str] | None
    """What its rows are, where nothing else is asked for; null where they are what they are."""
    takes_span: bool
    """Whether it is of a stretch of time; else it is of one moment."""
    needs_wallet: bool
    takes_against: bool
    """Whether it can be held against another stretch of time."""


class ReportsDocument(TypedDict):
    """Data of `kling-ledger/reports/v1`."""

    reports: list[ReportKindDocument]


class FactDocument(TypedDict):
    """An entry that is part of a figure."""

    wallet: str
    seq: int
    kind: str
    key: str
    job: str | None
    happened_at: str
    figure: str
    """What it adds to the figure."""
    corrects: str | None
    """The closed period that it happened in, where that was closed before it was told."""
    version: str | None
    """The version of the price that its job was quoted with."""


class CellDocument(TypedDict):
    """Data of `kling-ledger/cell/v1`: one figure of a report, and all that it is made of."""

    report: str
    book: str
    column: ColumnDocument
    row: dict[str, str | None]
    figure: str
    facts: list[FactDocument]
    versions: dict[str, int]
    """How many of the facts each version of a price stands behind."""


def span_document(name: str, start_us: int, end_us: int, timezone: str) -> SpanDocument:
    """A stretch of time as JSON."""
    return {
        "name": name,
        "start": iso(moment(start_us)),
        "end": iso(moment(end_us)),
        "timezone": timezone,
    }


class _Kind(Protocol):
    """What is listed of a report; see `ledger.reports.catalogue.Kind`."""

    @property
    def name(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def by(self) -> tuple[str, ...] | None: ...
    @property
    def takes_span(self) -> bool: ...
    @property
    def needs_wallet(self) -> bool: ...
    @property
    def takes_against(self) -> bool: ...


def reports_document(kinds: Iterable[_Kind]) -> ReportsDocument:
    """The reports there are as JSON."""
    return {
        "reports": [
            {
                "name": kind.name,
                "summary": kind.summary,
                "by": None if kind.by is None else list(kind.by),
                "takes_span": kind.takes_span,
                "needs_wallet": kind.needs_wallet,
                "takes_against": kind.takes_against,
            }
            for kind in kinds
        ]
    }

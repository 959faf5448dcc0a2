"""The JSON about prices, quotes and plans."""

from __future__ import annotations

from typing import Any

from typing_extensions import TypedDict

__all__ = [
    "ChannelDocument",
    "DearestDocument",
    "DifferenceDocument",
    "DifferencesDocument",
    "EffectDocument",
    "EffectsDocument",
    "EstimateDocument",
    "FaultDocument",
    "FindingDocument",
    "FindingsDocument",
    "GroupDocument",
    "ImpactDocument",
    "ImpactGroupDocument",
    "LineDocument",
    "ModelDocument",
    "ModelsDocument",
    "NamedQuoteDocument",
    "NotPricedDocument",
    "NotQuotedDocument",
    "PriceBookDocument",
    "PriceBooksDocument",
    "PriceDocument",
    "QuoteDocument",
    "QuotesDocument",
    "RangeDocument",
    "UsdDocument",
]


class RangeDocument(TypedDict):
    """Least, expected and most."""

    minimum: str
    expected: str
    maximum: str


class UsdDocument(RangeDocument):
    """The same in US dollars, with the rate that was used."""

    credits_per_usd: str
    rate_effective_from: str
    rate_source: str


class LineDocument(TypedDict):
    """A line item of the expected charge."""

    label: str
    quantity: str
    unit: str
    unit_price: str
    credits: str


class PriceDocument(TypedDict):
    """The price a figure rests on."""

    version: str
    book: str
    channel: str
    effective_from: str
    source: str
    checked: str


class DearestDocument(TypedDict):
    """The most a job can cost on the channel with the highest price."""

    channel: str
    credits: str


class QuoteDocument(TypedDict):
    """A priced request."""

    model: str
    request: dict[str, Any]
    options: str
    lines: list[LineDocument]
    credits: RangeDocument
    billed: RangeDocument
    length_known: bool
    settles_on: str
    usd: UsdDocument | None
    price: PriceDocument
    dearest: DearestDocument | None
    at: str
    digest: str
    notes: list[str]


class FaultDocument(TypedDict):
    """One thing wrong with one field."""

    field: str
    problem: str


class NamedQuoteDocument(QuoteDocument):
    """A priced request, with what the command line calls it: file and place, or clip."""

    name: str


class NotQuotedDocument(TypedDict):
    """A request without a price."""

    name: str
    code: str
    message: str
    faults: list[FaultDocument]


class QuotesDocument(TypedDict):
    """Data of `kling-ledger/quote/v1`."""

    quotes: list[NamedQuoteDocument]
    not_priced: list[NotQuotedDocument]
    total: RangeDocument


class GroupDocument(TypedDict):
    """A part of a plan."""

    key: dict[str, str | None]
    jobs: int
    not_priced_jobs: int
    credits: RangeDocument | None
    usd: RangeDocument | None


class NotPricedDocument(TypedDict):
    """A row of a plan without a price."""

    row: int
    reason: str


class EstimateDocument(TypedDict):
    """Data of `kling-ledger/estimate/v1`."""

    groups: list[GroupDocument]
    total: GroupDocument
    rows: int
    not_priced_rows: int
    not_priced: list[NotPricedDocument]
    reasons: dict[str, int]
    unknown_length_jobs: int
    notes: list[str]
    source: str
    at: str
    credits_per_usd: str | None
    rate_effective_from: str | None
    rate_source: str | None


class ChannelDocument(TypedDict):
    """The price of one combination of options on one channel."""

    channel: str
    options: str
    unit: str
    unit_price: str
    usd: str
    longest_seconds: str | None


class ModelDocument(TypedDict):
    """One price of one model."""

    model: str
    title: str
    version: str
    effective_from: str
    effective_until: str | None
    in_force: bool
    unit: str
    rate: str
    settles_on: str
    rounding: str
    shortest_seconds: str | None
    smallest_charge: str
    source: str
    checked: str
    note: str | None
    credits_per_usd: str
    rate_effective_from: str
    prices: list[ChannelDocument]


class ModelsDocument(TypedDict):
    """Data of `kling-ledger/prices/v1`."""

    book: str
    at: str
    models: list[ModelDocument]
    credits_per_usd: str | None
    rate_effective_from: str | None


class FindingDocument(TypedDict):
    """Something about a price book that a person should look at."""

    kind: str
    where: str
    problem: str


class FindingsDocument(TypedDict):
    """Data of `kling-ledger/price-findings/v1`."""

    book: str
    findings: list[FindingDocument]


class DifferenceDocument(TypedDict):
    """One figure that differs between two price books."""

    model: str
    what: str
    first: str | None
    second: str | None
    change: str | None


class DifferencesDocument(TypedDict):
    """Data of `kling-ledger/price-differences/v1`."""

    first: str
    second: str
    at: str
    differences: list[DifferenceDocument]


class PriceBookDocument(TypedDict):
    """A price book that was imported."""

    name: str
    captured_at: str
    kept_at: str
    source: str
    digest: str
    path: str


class PriceBooksDocument(TypedDict):
    """Data of `kling-ledger/price-books/v1`."""

    books: list[PriceBookDocument]


class EffectDocument(TypedDict):
    """One part of a difference between two price books."""

    credits: str
    what_differs: list[str]


class EffectsDocument(TypedDict):
    """The parts of a difference; they add up to it."""

    rate: EffectDocument
    multiplier: EffectDocument
    rounding: EffectDocument
    minimum: EffectDocument
    other: EffectDocument


class ImpactGroupDocument(TypedDict):
    """Some jobs under two price books; the difference is second minus first."""

    key: dict[str, str | None]
    jobs: int
    first_credits: str | None
    second_credits: str | None
    difference: str | None
    change_percent: str | None
    effects: EffectsDocument
    not_priced_jobs: int


class ImpactDocument(TypedDict):
    """Data of `kling-ledger/price-impact/v1`."""

    first: str
    second: str
    at: str | None
    jobs_of: str
    groups: list[ImpactGroupDocument]
    total: ImpactGroupDocument
    not_priced: dict[str, int]
    not_comparable: dict[str, int]
    not_comparable_jobs: int
    unknown_length_jobs: int

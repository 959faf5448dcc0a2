"""The columns of FOCUS, version by version: which there are, and what the book fills them with.

FOCUS, the FinOps Open Cost and Usage Specification (https://focus.finops.org), says what the
columns mean. Versions 1.2 (ratified 2025-05-29) and 1.4 (ratified 2026-06) were read 2026-11-22.
In 1.2 the currency that something is priced in may be a virtual one; in 1.4 it must be one of
ISO 4217, so that a price in credits has no column but our own.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

__all__ = [
    "AMOUNT_SCALE",
    "BILLING_PERIOD",
    "CHARGES",
    "COST_AND_USAGE",
    "CREDITS",
    "FOCUS_VERSIONS",
    "INVOICE_DETAIL",
    "ISSUER",
    "PRECISION",
    "PRICE_SCALE",
    "Column",
    "FocusVersion",
    "Kind",
]

FocusVersion = Literal["1.2", "1.4"]
"""Versions of the specification that are written."""

FOCUS_VERSIONS: tuple[FocusVersion, ...] = get_args(FocusVersion)

Kind = Literal["text", "json", "moment", "amount", "price"]
"""What the values of a column are: `amount` has 8 decimals, `price` 16."""

AMOUNT_SCALE = 8
PRICE_SCALE = 16
PRECISION = 38
"""Digits of a number; what Parquet's decimal128 holds."""

CREDITS = "EVOLINK_CREDIT"
"""The currency of credits. It has more than three letters, so that no one takes it for money."""

ISSUER = "EvoLink"
"""Who sells the credits, writes the invoices, and is asked for the videos."""


class Column(NamedTuple):
    """A column, and what stands in it."""

    name: str
    kind: Kind
    nullable: bool
    meaning: str
    """Where the value comes from."""


class Category(NamedTuple):
    """What a fact of the book is in FOCUS."""

    category: str
    """ChargeCategory."""
    frequency: str
    """ChargeFrequency."""
    is_priced: bool
    """Whether it has a quantity, prices and a SKU."""


CHARGES: dict[str, Category] = {
    "top_up": Category("Purchase", "One-Time", is_priced=True),
    "charge": Category("Usage", "Usage-Based", is_priced=True),
    "refund": Category("Usage", "Usage-Based", is_priced=True),
    "adjust": Category("Adjustment", "One-Time", is_priced=False),
    "lapse": Category("Adjustment", "One-Time", is_priced=False),
    "debt": Category("Adjustment", "One-Time", is_priced=False),
}
"""Kinds of rows. All but `debt` are kinds of entries; reserves and releases are no charges.

A row of `debt` is the cost of credits that were used before they were there: known, and counted,
when credits come in that pay for them.
"""


_COLUMNS: tuple[tuple[str, str, Kind, str, str], ...] = (
    ("", "BilledCost", "amount", "", "top-up: the money paid; 0 for everything else"),
    ("", "BillingAccountId", "text", "", "the book"),
    ("", "BillingAccountName", "text", "null", "the book"),
    ("", "BillingCurrency", "text", "", "currency that was paid for the credits"),
    ("", "BillingPeriodEnd", "moment", "", "first moment of the next month, UTC"),
    ("", "BillingPeriodStart", "moment", "", "first moment of the month in which it counts, UTC"),
    ("", "ChargeCategory", "text", "", "Purchase, Usage or Adjustment, by the kind of the row"),
    ("", "ChargeClass", "text", "null", "Correction where it is about a closed, earlier month"),
    ("", "ChargeDescription", "text", "null", "model and options; key or reason of the entry"),
    ("", "ChargeFrequency", "text", "", "One-Time or Usage-Based, by the kind of the row"),
    (
        "",
        "ChargePeriodEnd",
        "moment",
        "",
        "end of that hour; of a top-up that lapses: when it does",
    ),
    ("", "ChargePeriodStart", "moment", "", "beginning of the hour in which it happened, UTC"),
    (
        "",
        "ConsumedQuantity",
        "amount",
        "null",
        "generated seconds or requests; credits where neither is known",
    ),
    ("", "ConsumedUnit", "text", "null", "Seconds, Requests or Credits"),
    ("", "ContractedCost", "amount", "", "the same as ListCost"),
    ("", "ContractedUnitPrice", "price", "null", "the same as ListUnitPrice"),
    (
        "",
        "EffectiveCost",
        "amount",
        "",
        "what the credits had cost that were used, given back or lost; top-up: 0",
    ),
    ("1.4", "HostProviderName", "text", "null", "not known to the book: null"),
    ("1.4", "InvoiceDetailId", "text", "null", "top-up that was paid for: the entry"),
    ("", "InvoiceId", "text", "null", "top-up that was paid for: its key"),
    ("", "InvoiceIssuerName", "text", "", "EvoLink"),
    ("", "ListCost", "amount", "", "top-up: the money paid; others: EffectiveCost"),
    (
        "",
        "ListUnitPrice",
        "price",
        "null",
        "ListCost for one PricingUnit, rounded half up to 16 decimals",
    ),
    ("", "PricingCategory", "text", "null", "Standard, where there is a price"),
    ("1.2", "PricingCurrency", "text", "", "EVOLINK_CREDIT; top-up: the currency paid"),
    (
        "1.2",
        "PricingCurrencyContractedUnitPrice",
        "price",
        "null",
        "the same as PricingCurrencyListUnitPrice",
    ),
    (
        "1.2",
        "PricingCurrencyEffectiveCost",
        "amount",
        "",
        "credits that were used, given back (below 0) or lost; top-up: 0",
    ),
    (
        "1.2",
        "PricingCurrencyListUnitPrice",
        "price",
        "null",
        "published credits for one PricingUnit; top-up: ListUnitPrice",
    ),
    ("", "PricingQuantity", "amount", "null", "seconds after rounding, requests, or credits"),
    ("", "PricingUnit", "text", "null", "Seconds, Requests or Credits"),
    ("1.2", "ProviderName", "text", "", "EvoLink"),
    ("1.2", "PublisherName", "text", "", "EvoLink"),
    (
        "",
        "ResourceId",
        "text",
        "null",
        "the job's task, if it has exactly one, or the job; the lot of a top-up or lapse",
    ),
    ("", "ResourceName", "text", "null", "the job; key of the top-up"),
    ("", "ResourceType", "text", "null", "Task, Job or Credit Lot"),
    ("", "ServiceCategory", "text", "", "AI and Machine Learning"),
    ("", "ServiceName", "text", "", "EvoLink"),
    ("1.4", "ServiceProviderName", "text", "", "EvoLink"),
    ("", "ServiceSubcategory", "text", "", "Generative AI"),
    ("", "SkuId", "text", "null", "model and quality; evolink-credits"),
    ("", "SkuMeter", "text", "null", "Generated Seconds, Requests or Credits"),
    ("", "SkuPriceDetails", "json", "null", "the options the price depends on"),
    ("", "SkuPriceId", "text", "null", "price version and options; of credits: the top-up"),
    ("", "SubAccountId", "text", "", "the wallet"),
    ("", "SubAccountName", "text", "", "the wallet"),
    ("", "Tags", "json", "null", "labels of the job"),
    ("", "x_Corrects", "text", "null", "closed period of the book that it corrects"),
    (
        "",
        "x_CostSource",
        "text",
        "null",
        "usage: computed from the length, provider's message, or told by the caller",
    ),
    ("1.4", "x_CreditUnitPrice", "price", "null", "published credits for one PricingUnit"),
    ("", "x_Credits", "amount", "", "change of the wallet's credits"),
    ("", "x_LedgerEntryId", "text", "", "book/wallet/place of the entry"),
    ("", "x_LedgerKind", "text", "", "top_up, charge, refund, adjust, lapse, or debt"),
    ("", "x_PriceVersion", "text", "null", "price version"),
    (
        "",
        "x_Reconciled",
        "text",
        "null",
        "usage: whether a comparison with the provider's bill covers it",
    ),
)
"""Version (none: all), name, kind, whether it may be null, and what stands in it.

The columns of FOCUS stand first, by name, then our own.
"""

COST_AND_USAGE: dict[FocusVersion, tuple[Column, ...]] = {
    version: tuple(
        Column(name, kind, null == "null", meaning)
        for only, name, kind, null, meaning in _COLUMNS
        if only in {"", version}
    )
    for version in FOCUS_VERSIONS
}
"""The columns of the dataset Cost and Usage, in their order."""

_INVOICE_COLUMNS: tuple[tuple[str, Kind, str, str], ...] = (
    ("BilledCost", "amount", "", "the money paid"),
    ("BillingAccountId", "text", "", "the book"),
    ("BillingCurrency", "text", "", "currency that was paid"),
    ("BillingPeriodEnd", "moment", "", "first moment of the next month, UTC"),
    ("BillingPeriodStart", "moment", "", "first moment of the month in which it counts, UTC"),
    ("ChargeCategory", "text", "", "Purchase"),
    ("InvoiceDetailCreated", "moment", "", "when the top-up was recorded"),
    ("InvoiceDetailDescription", "text", "null", "what the row of Cost and Usage says"),
    ("InvoiceDetailGrain", "json", "null", "the wallet, as SubAccountId"),
    ("InvoiceDetailId", "text", "", "book/wallet/place of the entry"),
    ("InvoiceDetailLastUpdated", "moment", "", "when the top-up was recorded"),
    ("InvoiceId", "text", "", "key of the top-up"),
    ("InvoiceIssueDate", "moment", "null", "when the top-up counts"),
    ("InvoiceIssueStatus", "text", "", "Issued"),
    ("InvoiceIssuerName", "text", "", "EvoLink"),
    ("PaymentDueDate", "moment", "null", "not known to the book: null"),
    ("PaymentTerms", "text", "", "Prepaid"),
    ("ReferenceInvoiceId", "text", "", "the same as InvoiceId: it adjusts no other invoice"),
)

_PERIOD_COLUMNS: tuple[tuple[str, Kind, str, str], ...] = (
    ("BillingPeriodCreated", "moment", "", "its first moment"),
    ("BillingPeriodEnd", "moment", "", "first moment of the next month, UTC"),
    ("BillingPeriodLastUpdated", "moment", "", "when it was closed, or a charge last recorded"),
    ("BillingPeriodStart", "moment", "", "first moment of the month, UTC"),
    ("BillingPeriodStatus", "text", "", "Closed where the book has closed the month, or Open"),
    ("InvoiceIssuerName", "text", "", "EvoLink"),
)


def _columns(rows: tuple[tuple[str, Kind, str, str], ...]) -> tuple[Column, ...]:
    return tuple(Column(name, kind, null == "null", meaning) for name, kind, null, meaning in rows)


INVOICE_DETAIL: tuple[Column, ...] = _columns(_INVOICE_COLUMNS)
"""The columns of the dataset Invoice Detail of version 1.4: a row for each top-up paid for."""

BILLING_PERIOD: tuple[Column, ...] = _columns(_PERIOD_COLUMNS)
"""The columns of the dataset Billing Period of version 1.4: a row for each month with charges."""

"""Where the export departs from FOCUS on purpose, or FOCUS leaves the choice to us, and why.

The list is written with every export, so that whoever reads the file has it. The specification
and its repository were read 2026-11-22.
"""

from __future__ import annotations

from typing import NamedTuple

from ledger.exports.focus.table import FocusVersion

__all__ = ["DEVIATIONS", "Deviation", "deviations_of"]


class Deviation(NamedTuple):
    """One choice that a reader of the file should know."""

    id: str
    versions: tuple[FocusVersion, ...]
    what: str
    why: str
    source: str
    """Where the rule stands, and when it was read."""


_BOTH: tuple[FocusVersion, ...] = ("1.2", "1.4")
_READ = "read 2026-11-22"

DEVIATIONS: tuple[Deviation, ...] = (
    Deviation(
        "virtual-currency",
        ("1.2",),
        "PricingCurrency is EVOLINK_CREDIT, except for purchases.",
        "FOCUS 1.2 allows a virtual currency there. The code has more than three letters, so that"
        " no program takes it for one of ISO 4217; validators that ask for ISO 4217 object.",
        f"FOCUS 1.2, CurrencyFormat and the appendix on virtual currency, {_READ}",
    ),
    Deviation(
        "no-credit-prices",
        ("1.4",),
        "There are no PricingCurrency columns; x_Credits and x_CreditUnitPrice have the credits.",
        "The published text of FOCUS 1.4 asks for ISO 4217 in every column of a currency; that it"
        " lost the virtual ones is known to its authors.",
        f"FOCUS 1.4, CurrencyFormat; FOCUS_Spec issue 2550 and pull request 2617, {_READ}",
    ),
    Deviation(
        "cost-of-lots",
        _BOTH,
        "ListCost and ContractedCost of usage are its EffectiveCost: what the credits that were"
        " used had cost. The unit prices in money follow from them.",
        "Jobs are priced in credits. What a credit is worth in money is known from the purchase"
        " that it came from, and from nowhere else.",
        f"FOCUS 1.2, ListCost-C-009 and ContractedCost-C-009, {_READ}",
    ),
    Deviation(
        "prepaid-balance",
        _BOTH,
        "EffectiveCost of usage does not add up to BilledCost of purchases.",
        "Credits that are left have not been used; those that lapsed are in rows of their own.",
        f"FOCUS 1.2, EffectiveCost-C-012, {_READ}",
    ),
    Deviation(
        "promotional",
        _BOTH,
        "Promotional credits, and credits whose price the book was not told, are purchases that"
        " cost nothing; their use costs nothing. ChargeDescription tells the two apart.",
        "FOCUS has no shape for virtual currency that is given away, and no cost may be null.",
        f"FOCUS 1.2, appendix on virtual currency, {_READ}",
    ),
    Deviation(
        "lapse",
        _BOTH,
        "Credits that lapse are an Adjustment whose EffectiveCost is what they had cost, with"
        " BilledCost 0.",
        "The money is spent and nothing was used for it; without the row, the cost of the credits"
        " would be in no period.",
        f"FOCUS 1.2, EffectiveCost-C-008 to C-010, {_READ}",
    ),
    Deviation(
        "correction-of-credits",
        _BOTH,
        "A correction of a wallet's credits is an Adjustment with BilledCost 0. One that takes"
        " credits away carries what they had cost; one that adds some costs nothing.",
        "No money moves. What was wrongly charged or left out is known in credits only.",
        f"FOCUS 1.2, ChargeCategory, {_READ}",
    ),
    Deviation(
        "debt",
        _BOTH,
        "Credits that nobody had bought when their use was recorded have no cost in the row of it."
        " The cost is an Adjustment for the same resource in the period in which they are paid for."
        " So a refund can take the Usage of a resource below zero; with its Adjustments it is not."
        " A use that is recorded after the credits were bought carries their cost, also where it"
        " happened before.",
        "What they cost is not known before; and a period that is closed does not change.",
        "our decision, 2026-11-23",
    ),
    Deviation(
        "refund",
        _BOTH,
        "A refund is usage below zero. It is a Correction where the charge counts in an earlier"
        " month and the book was closed beyond it; its charge period is then that of the charge.",
        "An invoiced period is one that the book has closed; the provider invoices purchases only.",
        f"FOCUS 1.2 and 1.4, ChargeClass, {_READ}",
    ),
    Deviation(
        "billing-period",
        _BOTH,
        "Billing periods are months in UTC. One is Closed when the book is closed to its end, which"
        " for months that were closed in a zone east of UTC is when the next one is. Rows are those"
        " of x_Period, which may be a part of a month or reach over several.",
        "What the book has not closed may still get charges; and a file may be asked for any span.",
        f"FOCUS 1.2, BillingPeriodStart; FOCUS 1.4, BillingPeriodStatus, {_READ}",
    ),
    Deviation(
        "charge-period",
        _BOTH,
        "The charge period is the hour in UTC in which a charge happened; of a purchase whose"
        " credits lapse it ends when they do.",
        "The book knows when a job was charged, and not from when to when a video was made.",
        f"FOCUS 1.2, ChargePeriodStart, {_READ}",
    ),
    Deviation(
        "invoice",
        _BOTH,
        "InvoiceId is the key of a top-up that was paid for. Usage, which was paid for before, has"
        " none.",
        "The key is the caller's name for the purchase, and best the number of its invoice.",
        f"FOCUS 1.2, InvoiceId, {_READ}",
    ),
    Deviation(
        "invoice-dates",
        ("1.4",),
        "Invoice Detail gives the moment of the top-up as InvoiceIssueDate, no PaymentDueDate, and"
        " Prepaid as PaymentTerms.",
        "Credits are paid for when they are bought; the invoice itself is not in the book.",
        f"FOCUS 1.4, Invoice Detail, {_READ}",
    ),
    Deviation(
        "accounts",
        _BOTH,
        "BillingAccountId is the name of the book, SubAccountId that of the wallet.",
        "The provider's own number of the account is not in the book.",
        f"FOCUS 1.2, BillingAccountId, {_READ}",
    ),
    Deviation(
        "provider",
        _BOTH,
        "All names of providers and publishers are EvoLink; HostProviderName is null.",
        "Credits are bought there, and whose machines make a video is not on its bill.",
        f"FOCUS 1.2, ProviderName and PublisherName; FOCUS 1.4, HostProviderName, {_READ}",
    ),
    Deviation(
        "quantity",
        _BOTH,
        "Where a charge does not follow from the price of its hold, it is so many Credits at one"
        " credit each. Where no length was told, ConsumedQuantity is the PricingQuantity.",
        "A hold may be made for a plain amount, and a bill may differ from the published price.",
        f"FOCUS 1.2, PricingQuantity and ConsumedQuantity, {_READ}",
    ),
    Deviation(
        "part-of-a-price",
        _BOTH,
        "The credits of a charge are not always the published unit price times the quantity: a"
        " policy may take less, and a smallest charge may ask for more.",
        "The unit price is the published one; x_Credits is what was taken.",
        f"FOCUS 1.2, PricingCurrencyListUnitPrice, {_READ}",
    ),
    Deviation(
        "several-currencies",
        _BOTH,
        "A charge paid with credits that were bought in several currencies has a row for each, with"
        " quantities in proportion to the credits. Credits that cost nothing go with the first of"
        " the currencies, or with the one first paid in the wallet or the book, or with USD.",
        "A row has one BillingCurrency.",
        f"FOCUS 1.2, BillingCurrency, {_READ}",
    ),
    Deviation(
        "tax",
        _BOTH,
        "There are no rows of Tax.",
        "The book knows what was paid for credits, and no more.",
        f"FOCUS 1.2, ChargeCategory, {_READ}",
    ),
    Deviation(
        "reconciled-now",
        _BOTH,
        "x_Reconciled tells the state of breaks as it is when the file is written, also with a"
        " moment before which everything else is known.",
        "What people have said of a break is kept as it stands, not as it stood.",
        "our decision, 2026-11-23",
    ),
)
"""All of them."""


def deviations_of(version: FocusVersion) -> tuple[Deviation, ...]:
    """Those of a version."""
    return tuple(item for item in DEVIATIONS if version in item.versions)

"""The one pricing function: a request, under the terms of a price, gives a quote or a charge.

A price source (`PriceSource`) resolves a request and a moment to `Terms`: everything one version
of one price says about one set of options. `Terms.bill` turns a length into a `Charge`. A quote
is up to three such charges (shortest, expected and longest length), a settlement is one with the
measured length, and the columnar engine is tested to agree with it on every row.
"""

from ledger.pricing.quotes import Quote
from ledger.pricing.source import PriceSource
from ledger.pricing.terms import (
    DEAREST,
    PREFERRED,
    Charge,
    Factor,
    LineItem,
    PriceVersion,
    SettlesOn,
    Terms,
    Unit,
)

__all__ = [
    "DEAREST",
    "PREFERRED",
    "Charge",
    "Factor",
    "LineItem",
    "PriceSource",
    "PriceVersion",
    "Quote",
    "SettlesOn",
    "Terms",
    "Unit",
]

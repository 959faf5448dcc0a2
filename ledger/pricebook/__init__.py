"""Price books: dated prices and published limits as data, and the price in force at a moment.

A book is a folder with one TOML file per model. A new price is appended, never edited, so an
old job prices to its old cost. Users change prices with overlays, which replace a rate, a
multiplier or a discount without copying the book.
"""

from ledger.pricebook.book import InForce, PriceBook
from ledger.pricebook.schema import ModelFile, Overlay, OverlayFile, Price, RatesFile

__all__ = ["InForce", "ModelFile", "Overlay", "OverlayFile", "Price", "PriceBook", "RatesFile"]

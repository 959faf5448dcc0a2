"""What AI video jobs cost, exactly: quotes, plans, and charges for what was made.

Prices are dated data, amounts are exact, and one function prices everything. The names below
are the library; they load on first use, so that `import ledger` stays quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ledger.columns import Estimate, estimate, price_frame
    from ledger.errors import LedgerError
    from ledger.evolink import PublishedRules, open_prices
    from ledger.impacts import Impact, impact
    from ledger.jobs import Ledger
    from ledger.media import Clip, probe
    from ledger.pricebook import PriceBook
    from ledger.pricing import Charge, LineItem, PriceSource, Quote, Terms
    from ledger.requests import (
        CustomElement,
        ImageToVideo,
        MotionControl,
        ReferenceToVideo,
        TextToVideo,
        VideoEdit,
    )

__all__ = [
    "Charge",
    "Clip",
    "CustomElement",
    "Estimate",
    "ImageToVideo",
    "Impact",
    "Ledger",
    "LedgerError",
    "LineItem",
    "MotionControl",
    "PriceBook",
    "PriceSource",
    "PublishedRules",
    "Quote",
    "ReferenceToVideo",
    "Terms",
    "TextToVideo",
    "VideoEdit",
    "estimate",
    "impact",
    "open_prices",
    "price_frame",
    "probe",
]

_HOME = {
    "Charge": "pricing",
    "Clip": "media",
    "CustomElement": "requests",
    "Estimate": "columns",
    "ImageToVideo": "requests",
    "Impact": "impacts",
    "Ledger": "jobs",
    "LedgerError": "errors",
    "LineItem": "pricing",
    "MotionControl": "requests",
    "PriceBook": "pricebook",
    "PriceSource": "pricing",
    "PublishedRules": "evolink",
    "Quote": "pricing",
    "ReferenceToVideo": "requests",
    "Terms": "pricing",
    "TextToVideo": "requests",
    "VideoEdit": "requests",
    "estimate": "columns",
    "open_prices": "evolink",
    "impact": "impacts",
    "price_frame": "columns",
    "probe": "media",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ledger' has no attribute {name!r}")
    value = getattr(import_module(f"ledger.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

"""What AI video jobs cost, exactly: quotes, plans, and charges for what was made.

Prices are dated data, amounts are exact, and one function prices everything. The names below
are the library; they load on first use, so that `import ledger` stays quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ledger.book.told import Applied
    from ledger.columns import Estimate, estimate, price_frame
    from ledger.errors import LedgerError
    from ledger.evolink import PublishedRules, open_prices
    from ledger.impacts import Impact, impact
    from ledger.ingest import Ingested, ingest_tasks
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
    from ledger.statements import (
        Guess,
        Mapping,
        StatementFile,
        guess_mapping,
        read_mapping,
        read_statement,
    )

__all__ = [
    "Applied",
    "Charge",
    "Clip",
    "CustomElement",
    "Estimate",
    "Guess",
    "ImageToVideo",
    "Impact",
    "Ingested",
    "Ledger",
    "LedgerError",
    "LineItem",
    "Mapping",
    "MotionControl",
    "PriceBook",
    "PriceSource",
    "PublishedRules",
    "Quote",
    "ReferenceToVideo",
    "StatementFile",
    "Terms",
    "TextToVideo",
    "VideoEdit",
    "estimate",
    "guess_mapping",
    "impact",
    "ingest_tasks",
    "open_prices",
    "price_frame",
    "probe",
    "read_mapping",
    "read_statement",
]

_HOME = {
    "Applied": "book.told",
    "Charge": "pricing",
    "Clip": "media",
    "CustomElement": "requests",
    "Estimate": "columns",
    "Guess": "statements",
    "ImageToVideo": "requests",
    "Impact": "impacts",
    "Ingested": "ingest",
    "Ledger": "jobs",
    "LedgerError": "errors",
    "LineItem": "pricing",
    "Mapping": "statements",
    "MotionControl": "requests",
    "PriceBook": "pricebook",
    "PriceSource": "pricing",
    "PublishedRules": "evolink",
    "Quote": "pricing",
    "ReferenceToVideo": "requests",
    "StatementFile": "statements",
    "Terms": "pricing",
    "TextToVideo": "requests",
    "VideoEdit": "requests",
    "estimate": "columns",
    "guess_mapping": "statements",
    "open_prices": "evolink",
    "impact": "impacts",
    "ingest_tasks": "ingest",
    "price_frame": "columns",
    "probe": "media",
    "read_mapping": "statements",
    "read_statement": "statements",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ledger' has no attribute {name!r}")
    value = getattr(import_module(f"ledger.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

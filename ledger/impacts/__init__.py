"""What the same jobs would have cost under two price books, and where the difference comes from."""

from ledger.impacts.comparing import impact
from ledger.impacts.effects import EFFECTS, Difference, Split, Splitter
from ledger.impacts.results import Effect, Impact, ImpactGroup

__all__ = [
    "EFFECTS",
    "Difference",
    "Effect",
    "Impact",
    "ImpactGroup",
    "Split",
    "Splitter",
    "impact",
]

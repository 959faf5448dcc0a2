"""The provider's task messages: reading them, joining what they say, and what follows from it."""

from ledger.evolink.tasks.facts import (
    Facts,
    FactsWithText,
    facts_from,
    facts_of,
    facts_text,
    merged,
)
from ledger.evolink.tasks.messages import Billing, TaskMessage, read_messages
from ledger.evolink.tasks.outcome import State, Wanted, wanted
from ledger.evolink.tasks.parts import Part, PartRead, PartReader, read_part

__all__ = [
    "Billing",
    "Facts",
    "FactsWithText",
    "Part",
    "PartRead",
    "PartReader",
    "State",
    "TaskMessage",
    "Wanted",
    "facts_from",
    "facts_of",
    "facts_text",
    "merged",
    "read_messages",
    "read_part",
    "wanted",
]

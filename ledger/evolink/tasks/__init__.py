"""The provider's task messages: reading them, joining what they say, and what follows from it."""

from ledger.evolink.tasks.facts import Facts, facts_from, facts_of, facts_text, merged
from ledger.evolink.tasks.messages import Billing, TaskMessage, read_messages
from ledger.evolink.tasks.outcome import State, Wanted, wanted

__all__ = [
    "Billing",
    "Facts",
    "State",
    "TaskMessage",
    "Wanted",
    "facts_from",
    "facts_of",
    "facts_text",
    "merged",
    "read_messages",
    "wanted",
]

"""An entry as a row: what it moved, what its credits had cost, and the facts that came with it."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from ledger.costing import Costed
from ledger.figures import show_credits
from ledger.lots import taken_of
from ledger.records import us
from ledger.units import parse_moment

__all__ = ["amounts", "entry_row", "facts_of"]


def entry_row(item: Costed) -> tuple[Any, ...]:
    """The values of an entry, in the order of the columns of `entries`."""
    entry = item.entry
    cost_e8, currency, costs, debt_paid_e8, debt_cost_e8 = _money(item)
    cash_e8, expires_us, reason, seconds, corrects, deadline_us = facts_of(entry.facts)
    return (
        entry.wallet,
        entry.seq,
        entry.kind,
        entry.key,
        entry.job,
        entry.contra,
        entry.posted_e8,
        entry.held_e8,
        entry.posted_after_e8,
        entry.held_after_e8,
        entry.over_e8,
        entry.uncollected_e8,
        bool(entry.late),
        cost_e8,
        currency,
        debt_paid_e8,
        debt_cost_e8,
        cash_e8,
        expires_us,
        reason,
        seconds,
        corrects,
        deadline_us,
        entry.happened_at_us,
        entry.recorded_at_us,
        entry.hash.hex(),
        costs,
        None if entry.lots is None else _lots(entry.lots),
    )


def _money(item: Costed) -> tuple[int | None, str | None, str | None, int | None, int | None]:
    """Cost, currency, costs in several currencies, debt paid, and what that had cost."""
    if not item.parts:
        return None, None, None, None, None
    if len(item.parts) == 1 and not item.paid:
        only = item.parts[0]
        return only.cost_e8, only.currency, None, None, None
    costs: dict[str, int] = {}
    for part in item.parts:
        if part.currency is not None:
            costs[part.currency] = costs.get(part.currency, 0) + part.cost_e8
    debt_paid_e8, debt_cost_e8 = None, None
    if item.paid:
        debt_paid_e8 = sum(paid.credits_e8 for paid in item.paid)
        debt_cost_e8 = 0
        for paid in item.paid:
            if paid.currency is not None:
                costs.setdefault(paid.currency, 0)
                debt_cost_e8 += paid.cost_e8
    if len(costs) > 1:
        # A refund can pay debts from lots of several currencies; what those cost is in no column.
        several = len({paid.currency for paid in item.paid if paid.currency is not None}) > 1
        return None, None, amounts(costs), debt_paid_e8, None if several else debt_cost_e8
    for currency, cost_e8 in costs.items():
        return cost_e8, currency, None, debt_paid_e8, debt_cost_e8
    return 0, None, None, debt_paid_e8, debt_cost_e8


def amounts(amounts_e8: dict[str, int]) -> str:
    """Amounts by currency as JSON, exact.

    >>> amounts({"USD": 40_000_000, "EUR": 2})
    '{"EUR":"0.00000002","USD":"0.4"}'
    """
    shown = {name: show_credits(amounts_e8[name]) for name in sorted(amounts_e8)}
    return json.dumps(shown, ensure_ascii=False, separators=(",", ":"))


@lru_cache(maxsize=4096)
def _lots(text: str) -> str:
    parts = ",".join(f'"{lot}":"{show_credits(part)}"' for lot, part in taken_of(text).items())
    return f"{{{parts}}}"


_NO_FACTS = (None, None, None, None, None, None)


@lru_cache(maxsize=4096)
def facts_of(
    text: str | None,
) -> tuple[int | None, int | None, str | None, str | None, str | None, int | None]:
    """Cash, expiry, reason, seconds, the closed period corrected, the deadline."""
    if text is None:
        return _NO_FACTS
    facts = json.loads(text)
    expires = facts.get("expires")
    return (
        facts.get("cash_e8"),
        None if expires is None else us(parse_moment(expires)),
        facts.get("reason"),
        facts.get("seconds"),
        facts.get("corrects"),
        facts.get("deadline_us"),
    )

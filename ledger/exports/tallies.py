"""Control totals of an export: how many rows went by, and what their amounts add up to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from ledger.exports.fields import Field
from ledger.figures import show_credits

__all__ = ["Tally"]


@dataclass
class Tally:
    """What went through an export: rows, and the sums of its amounts."""

    rows: int = 0
    credits: dict[str, int] = field(default_factory=dict)
    """Sums of the columns of credits, in 10^-8."""
    money: dict[str, dict[str, int]] = field(default_factory=dict)
    """Sums of the columns of money, by currency, in 10^-8."""

    @property
    def totals(self) -> dict[str, dict[str, str]]:
        """Column → `credits` or the currency → sum, exact."""
        credits = {name: {"credits": show_credits(sum_)} for name, sum_ in self.credits.items()}
        money = {
            name: {currency: show_credits(sums[currency]) for currency in sorted(sums)}
            for name, sums in self.money.items()
        }
        return credits | money

    def add(self, frame: pl.DataFrame, fields: Sequence[Field]) -> None:
        """Count the rows of a part."""
        self.rows += frame.height
        names = [item.name for item in fields if item.kind == "credits" and _adds_up(item.name)]
        # In 128 bits: a sum of 64 would run over in silence.
        sums = frame.select(pl.col(name).cast(pl.Int128).sum() for name in names).row(0)
        for name, part_e8 in zip(names, sums, strict=True):
            self.credits[name] = self.credits.get(name, 0) + int(part_e8)
        for item in fields:
            if item.kind == "money":
                self._add_money(frame, item.name)

    def _add_money(self, frame: pl.DataFrame, name: str) -> None:
        sums = self.money.setdefault(name, {})
        known = frame.filter(pl.col("currency").is_not_null() & pl.col(name).is_not_null())
        total = pl.col(name).cast(pl.Int128).sum()
        for currency, part_e8 in known.group_by("currency").agg(total).iter_rows():
            sums[currency] = sums.get(currency, 0) + int(part_e8)
        if name == "cost":
            for text in frame["costs"].drop_nulls():
                for currency, amount in json.loads(text).items():
                    sums[currency] = sums.get(currency, 0) + _e8(amount)


def _adds_up(name: str) -> bool:
    return not name.endswith("_after")


def _e8(text: str) -> int:
    whole, _, decimals = text.removeprefix("-").partition(".")
    amount_e8 = int(f"{whole}{decimals:0<8}")
    return -amount_e8 if text.startswith("-") else amount_e8

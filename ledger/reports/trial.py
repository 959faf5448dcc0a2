"""The trial balance: what every account had, what moved on it, and what it has."""

from __future__ import annotations

import polars as pl

from ledger.reports.asking import EVER_US, Asked
from ledger.reports.columns import Column
from ledger.reports.facts import Progress, entries, nothing
from ledger.reports.movements import POSTING, until_the_end
from ledger.reports.report import Report, made

__all__ = ["WALLETS", "trial_balance"]

WALLETS = "wallets"
"""The account of what is owed to the owners of the wallets."""

MEASURES = (
    Column("opening_debit", "credits", "opening debit", minor=True),
    Column("opening_credit", "credits", "opening credit", minor=True),
    Column("debits", "credits", "debits"),
    Column("credits", "credits", "credits"),
    Column("closing_debit", "credits", "closing debit"),
    Column("closing_credit", "credits", "closing credit"),
)


def trial_balance(asked: Asked, *, progress: Progress = nothing) -> Report:
    """Every account at the beginning of a span, what moved on it, and at the end.

    What comes into a wallet is a debit of the account it comes from, and a credit of the wallets.
    Opening and closing are net: each account stands on one side. In each of the three pairs the
    debits are the credits.

    Args:
        asked: which book and span.
        progress: is told how many entries were read.

    >>> from ledger import Ledger
    >>> from ledger.reports.asking import ask
    >>> with Ledger("sqlite://") as book:
    ...     _ = book.top_up("studio", 100, key="invoice-1")
    ...     report = trial_balance(ask(book))
    >>> [(row[0], *row[5:7]) for row in report.cells]
    [('funding', '100', '0'), ('wallets', '0', '100')]
    """
    found = entries(
        until_the_end(asked), kinds=POSTING, fields=("contra", "posted_e8"), progress=progress
    )
    account, posted = pl.col("contra").cast(pl.String), pl.col("posted_e8")
    facts = pl.concat(
        [
            found.with_columns(account.alias("account"), posted.alias("debit")),
            found.with_columns(pl.lit(WALLETS).alias("account"), (-posted).alias("debit")),
        ]
    )
    start_us = -EVER_US if asked.span is None else asked.span.start_us
    before, debit = pl.col("at_us") < start_us, pl.col("debit")
    facts = facts.with_columns(
        pl.when(before).then(debit).otherwise(0).alias("opening"),
        pl.when(~before & (debit > 0)).then(debit).otherwise(0).alias("debits"),
        pl.when(~before & (debit < 0)).then(-debit).otherwise(0).alias("credits"),
        debit.alias("closing"),
    )
    facts = facts.with_columns(side for name in ("opening", "closing") for side in _sides(name))
    return made(
        "trial-balance",
        "Trial balance",
        asked,
        facts,
        by=("account",),
        measures=MEASURES,
        notes=(f"{WALLETS} is what is owed to the owners of the wallets.",),
    )


def _sides(name: str) -> tuple[pl.Expr, pl.Expr]:
    """The movements of an account on the side where their net stands, with its sign."""
    net, moved = pl.col(name).cast(pl.Int128).sum().over("account"), pl.col(name)
    return (
        pl.when(net > 0).then(moved).otherwise(0).alias(f"{name}_debit"),
        pl.when(net < 0).then(-moved).otherwise(0).alias(f"{name}_credit"),
    )

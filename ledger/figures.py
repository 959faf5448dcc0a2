"""How an amount of credits is written: the smallest piece that messages and figures share."""

from __future__ import annotations

__all__ = ["CREDIT_E8", "in_credits", "show_credits"]

CREDIT_E8 = 100_000_000
"""Units of 10^-8 in one credit."""


def show_credits(amount_e8: int) -> str:
    """The exact number of credits as plain digits, every significant one of them.

    >>> show_credits(14159396160), show_credits(100_000_000), show_credits(-1)
    ('141.5939616', '1', '-0.00000001')
    """
    sign = "-" if amount_e8 < 0 else ""
    whole, fraction = divmod(abs(amount_e8), CREDIT_E8)
    digits = f"{fraction:08d}".rstrip("0")
    return f"{sign}{whole}.{digits}" if digits else f"{sign}{whole}"


def in_credits(amount_e8: int) -> str:
    """An amount, and what it counts.

    >>> in_credits(100_000_000), in_credits(-250_000_000)
    ('1 credit', '-2.5 credits')
    """
    amount = show_credits(amount_e8)
    return "1 credit" if amount == "1" else f"{amount} credits"

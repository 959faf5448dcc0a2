"""The pricing function over data frames: a plan of jobs, priced exactly, streamed if it is large.

Each distinct combination of options is resolved once, by the scalar code: to a few integers where
the price is so much a second, to what is left of the published rule where it is a formula. The rows
are then priced by polars expressions over whole numbers. Rows that the expressions cannot settle (a
rule without such a form, an error) are handed to the scalar function one distinct value at a time,
which prices them or says why not. So both forms agree on every row, by test.
"""

from ledger.errors import MissingExtra

try:
    import polars as pl  # noqa: F401
except ImportError:
    raise MissingExtra("data", "pricing a plan of jobs") from None

from ledger.columns.estimates import Estimate, Group, NotPriced, estimate
from ledger.columns.frames import price_frame

__all__ = ["Estimate", "Group", "NotPriced", "estimate", "price_frame"]

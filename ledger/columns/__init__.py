"""The pricing function over data frames: a plan of jobs, priced exactly, streamed if it is large.

Each distinct combination of options is resolved once, by the scalar code, to a few integers;
the rows are then priced by polars expressions over those integers. Rows that the expressions
cannot settle (an unusual length, an error) are handed to the scalar function one distinct value
at a time, which prices them or says why not. So both forms agree on every row, by test.
"""

from ledger.errors import MissingExtra

try:
    import polars as pl  # noqa: F401
except ImportError:
    raise MissingExtra("data", "pricing a plan of jobs") from None

from ledger.columns.estimates import Estimate, Group, NotPriced, estimate
from ledger.columns.frames import price_frame

__all__ = ["Estimate", "Group", "NotPriced", "estimate", "price_frame"]

"""Two more datasets of version 1.4 that the book can fill: invoices and months."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from ledger.exports.focus.frames import schema_of
from ledger.exports.focus.table import BILLING_PERIOD, INVOICE_DETAIL, ISSUER
from ledger.records import Period, closed_periods, moment, us

__all__ = ["Billing"]

_SECOND = "1s"
_MOMENT = pl.Datetime("us", "UTC")


class Billing:
    """Collects invoices and months from the frames of charges that go by."""

    def __init__(self) -> None:
        self._invoices: list[pl.DataFrame] = []
        self._months: list[pl.DataFrame] = []

    def add(self, charges: pl.DataFrame) -> None:
        """Look at more charges, of `frames.charge_frames`."""
        paid = charges.filter(pl.col("InvoiceId").is_not_null())
        if paid.height:
            self._invoices.append(paid.select(_INVOICE))
        months = charges.group_by("BillingPeriodStart", "BillingPeriodEnd")
        self._months.append(months.agg(pl.col("recorded_us").max()))

    def invoice_detail(self) -> pl.DataFrame:
        """A row for each top-up that was paid for."""
        schema = schema_of(INVOICE_DETAIL)
        found = pl.concat(self._invoices) if self._invoices else pl.DataFrame(schema=schema)
        return found.select(list(schema))

    def billing_period(self, periods: Sequence[Period]) -> pl.DataFrame:
        """A row for each month that has charges.

        Args:
            periods: everything that was closed or reopened, as far as it is known.
        """
        rows = []
        if self._months:
            found = pl.concat(self._months).group_by("BillingPeriodStart", "BillingPeriodEnd")
            for start, end, recorded_us in (
                found.agg(pl.col("recorded_us").max()).sort("BillingPeriodStart").iter_rows()
            ):
                closing = _closing(periods, us(end))
                updated_us = max(recorded_us, closing.recorded_at_us if closing else recorded_us)
                updated = moment(updated_us).replace(microsecond=0)
                status = "Open" if closing is None else "Closed"
                rows.append((start, end, updated, start, status, ISSUER))
        return pl.DataFrame(rows, schema=schema_of(BILLING_PERIOD), orient="row")


def _closing(periods: Sequence[Period], end_us: int) -> Period | None:
    """What closed the book up to the end of a month or beyond."""
    return next((it for it in closed_periods(periods) if it.end_us >= end_us), None)


_RECORDED = pl.col("recorded_us").cast(_MOMENT).dt.truncate(_SECOND)

_INVOICE = [
    *(
        pl.col(name)
        for name in (
            "BilledCost",
            "BillingAccountId",
            "BillingCurrency",
            "BillingPeriodEnd",
            "BillingPeriodStart",
            "ChargeCategory",
            "InvoiceDetailId",
            "InvoiceId",
            "InvoiceIssuerName",
        )
    ),
    _RECORDED.alias("InvoiceDetailCreated"),
    pl.col("ChargeDescription").alias("InvoiceDetailDescription"),
    # The names of a struct's fields become those of the JSON object.
    pl.struct("SubAccountId").struct.json_encode().alias("InvoiceDetailGrain"),
    _RECORDED.alias("InvoiceDetailLastUpdated"),
    pl.col("counts_us").cast(_MOMENT).dt.truncate(_SECOND).alias("InvoiceIssueDate"),
    pl.lit("Issued").alias("InvoiceIssueStatus"),
    pl.lit(None, _MOMENT).alias("PaymentDueDate"),
    pl.lit("Prepaid").alias("PaymentTerms"),
    pl.col("InvoiceId").alias("ReferenceInvoiceId"),
]

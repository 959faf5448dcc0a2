"""Charges as rows of FOCUS: frames with its columns, a part at a time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import polars as pl

from ledger.book import Book
from ledger.errors import Fault, InvalidEntry
from ledger.exports.bill import Bill
from ledger.exports.focus.charges import Charge, Charges
from ledger.exports.focus.quantities import CREDIT_SKU, Quantities, Sku
from ledger.exports.focus.table import (
    AMOUNT_SCALE,
    CHARGES,
    COST_AND_USAGE,
    CREDITS,
    ISSUER,
    PRECISION,
    PRICE_SCALE,
    Column,
    FocusVersion,
    Kind,
)
from ledger.records import moment
from ledger.reports.asking import EVER_US, ask
from ledger.spans import Span
from ledger.store.posted import all_tasks

__all__ = ["CURRENCY", "Progress", "charge_frames", "focus_rows", "schema_of"]

Progress = Callable[[int], None]
"""Is told how many rows were made."""

CURRENCY = "USD"
"""Billing currency of a book in which nothing was ever paid for: what the provider prices in."""

_ROWS = 50_000
_AT_ONCE = 250
_HOUR_US = 3_600_000_000
_SECOND_US = 1_000_000

_TYPES: dict[Kind, Any] = {
    "text": pl.String,
    "json": pl.String,
    "moment": pl.Datetime("us", "UTC"),
    "amount": pl.Decimal(PRECISION, AMOUNT_SCALE),
    "price": pl.Decimal(PRECISION, PRICE_SCALE),
}


def schema_of(columns: Sequence[Column]) -> pl.Schema:
    """The columns of a dataset with their types."""
    return pl.Schema({column.name: _TYPES[column.kind] for column in columns})


def focus_rows(
    book: Book,
    version: FocusVersion,
    *,
    span: Span | None = None,
    as_of_us: int | None = None,
    currency: str = CURRENCY,
    progress: Progress = lambda _: None,
) -> Iterator[pl.DataFrame]:
    """The charges of a book as rows of the FOCUS dataset Cost and Usage, in parts.

    Rows come by wallet and place. What the credits of a charge had cost depends on everything
    that happened before it, so all entries are gone through, whatever the span.

    Args:
        book: whose charges; with prices if it is a `Ledger`, otherwise in credits only.
        version: of the specification.
        span: only charges that count in it.
        as_of_us: only what was recorded before this moment, in microseconds since 1970.
        currency: billing currency of a book in which nothing was ever paid for.
        progress: is told how many rows were made.

    Raises:
        InvalidEntry: the currency is not three capital letters.

    >>> from ledger import Ledger
    >>> with Ledger("sqlite://") as book:
    ...     _ = book.top_up("studio", 1000, key="invoice-881", cash="14.70", currency="USD")
    ...     (rows,) = focus_rows(book, "1.2")
    >>> rows["BilledCost"].item(), rows["ListUnitPrice"].item()
    (Decimal('14.70000000'), Decimal('0.0147000000000000'))
    """
    columns = COST_AND_USAGE[version]
    names = [column.name for column in columns]
    for frame in charge_frames(
        book, span=span, as_of_us=as_of_us, currency=currency, progress=progress
    ):
        yield frame.select(names)


def charge_frames(
    book: Book,
    *,
    span: Span | None,
    as_of_us: int | None,
    currency: str = CURRENCY,
    progress: Progress = lambda _: None,
) -> Iterator[pl.DataFrame]:
    """The same with the columns of all versions, and what they were made from.

    Raises:
        InvalidEntry: the currency is not three capital letters.
    """
    if not re.fullmatch("[A-Z]{3}", currency):
        problem = "must be three capital letters (ISO 4217), such as USD"
        raise InvalidEntry("the export", [Fault("currency", problem)])
    before_us = EVER_US if as_of_us is None else as_of_us
    as_of = None if as_of_us is None else moment(as_of_us)
    # Before the snapshot is taken: a book in memory has but one connection.
    bill = Bill.of(ask(book, span=span, as_of=as_of))
    periods = [period for period in book.periods() if period.recorded_at_us < before_us]
    start_us, end_us = (-EVER_US, EVER_US) if span is None else span[1:3]
    quantities, done = Quantities(book), 0
    with book.looking() as session:
        session.scans()
        tasks = _tasks(all_tasks(session, book.book, before_us))
        charges = Charges(
            session,
            book.book,
            periods=periods,
            quantities=quantities,
            inside=(start_us, end_us),
            before_us=before_us,
            currency=currency,
        )
        left = iter(charges)
        while columns := _columns(left):
            yield _frame(book.book, columns, quantities.skus, tasks, bill)
            done += len(columns["kind"])
            progress(done)


def _tasks(rows: Iterator[Any]) -> pl.DataFrame:
    """Tasks with their jobs, and the task of each job that has exactly one."""
    found = list(rows)
    frame = pl.DataFrame(found, schema={"task": pl.String, "job": pl.String}, orient="row")
    alone = pl.when(pl.col("task").len().over("job") == 1).then("task")
    return frame.with_columns(alone.alias("only"))


_CHARGE: dict[str, Any] = {
    "kind": pl.String,
    "wallet": pl.String,
    "seq": pl.Int64,
    "key": pl.String,
    "job": pl.String,
    "currency": pl.String,
    "credits_e8": pl.Int64,
    "billed_e8": pl.Int64,
    "effective_e8": pl.Int64,
    "sku": pl.Int64,
    "quantity_e8": pl.Int64,
    "consumed_e8": pl.Int64,
    "priced": pl.Boolean,
    "counts_us": pl.Int64,
    "told_us": pl.Int64,
    "expires_us": pl.Int64,
    "recorded_us": pl.Int64,
    "corrects": pl.String,
    "is_correction": pl.Boolean,
    "labels": pl.String,
    "reason": pl.String,
    "about": pl.Int64,
}


def _columns(charges: Iterator[Charge]) -> dict[str, list[Any]]:
    """The next part of the charges, column by column; empty at the end."""
    columns: dict[str, list[Any]] = {name: [] for name in _CHARGE}
    for _ in range(_ROWS // _AT_ONCE):
        # Few at a time: rows that are kept as rows keep the garbage collector busy.
        rows = list(islice(charges, _AT_ONCE))
        if not rows:
            break
        for column, values in zip(columns.values(), zip(*rows, strict=True), strict=True):
            column.extend(values)
    return columns if columns["kind"] else {}


def _frame(
    book: str,
    columns: dict[str, list[Any]],
    skus: tuple[Sku, ...],
    tasks: pl.DataFrame,
    bill: Bill,
) -> pl.DataFrame:
    """A part of the charges with all columns of all versions."""
    frame = pl.DataFrame(columns, schema=_CHARGE)
    frame = frame.join(_sku_frame(skus), on="sku", how="left", maintain_order="left")
    frame = _with_tasks(frame, tasks).with_columns(
        first_at=pl.col("counts_us"), last_at=pl.col("counts_us")
    )
    frame = frame.with_columns(
        pl.lit(book).alias("book"),
        bill.state.alias("reconciled"),
        *_of_kind(),
    )
    frame = frame.with_columns(_amounts())
    return frame.with_columns(**_texts(), **_moments())


def _sku_frame(skus: tuple[Sku, ...]) -> pl.DataFrame:
    schema: dict[str, Any] = dict.fromkeys(Sku._fields, pl.String)
    schema["unit_price_e16"] = pl.Int128
    frame = pl.DataFrame(skus, schema=schema, orient="row").rename({"sku": "sku_id"})
    return frame.with_row_index("sku").with_columns(pl.col("sku").cast(pl.Int64))


def _with_tasks(frame: pl.DataFrame, tasks: pl.DataFrame) -> pl.DataFrame:
    """The task of a job that has one, and whether a task's message told an amount."""
    nothing = {"task": pl.lit(None, pl.String), "by_task": pl.lit(value=False)}
    if not tasks.height:
        return frame.with_columns(**nothing)
    alone = tasks.filter(pl.col("only").is_not_null()).select("job", task="only")
    # The first message about a task has its name for a key, later ones task#2, task#3, ….
    told = tasks.select("job", stem="task", by_task=pl.lit(value=True))
    stem = pl.col("key").str.replace(r"#\d+$", "")
    frame = frame.with_columns(stem.alias("stem"))
    frame = frame.join(alone, on="job", how="left", maintain_order="left")
    frame = frame.join(told, on=["job", "stem"], how="left", maintain_order="left")
    return frame.with_columns(pl.col("by_task").fill_null(value=False))


_KIND = pl.col("kind")


def _is(*kinds: str) -> pl.Expr:
    return _KIND.is_in(kinds)


def _of_kind() -> list[pl.Expr]:
    """What is the same for all charges of a kind."""
    priced = [kind for kind, category in CHARGES.items() if category.is_priced]
    return [
        _KIND.replace_strict({kind: it.category for kind, it in CHARGES.items()}).alias(
            "ChargeCategory"
        ),
        _KIND.replace_strict({kind: it.frequency for kind, it in CHARGES.items()}).alias(
            "ChargeFrequency"
        ),
        _is(*priced).alias("is_priced"),
    ]


# Figures


def _amount(units_e8: pl.Expr) -> pl.Expr:
    """Units of 10^-8 as the decimal number they are."""
    return units_e8.cast(pl.Int128).reinterpret(dtype=_TYPES["amount"])


def _amounts() -> list[pl.Expr]:
    bought = _KIND == "top_up"
    billed, effective = pl.col("billed_e8"), pl.col("effective_e8")
    cost = pl.when(bought).then(billed).otherwise(effective)
    quantity = pl.col("quantity_e8")
    money_price = _quotient_e16(cost, quantity)
    credit_price = pl.when("is_priced").then(pl.col("unit_price_e16"))
    priced_in = pl.when(bought).then(money_price).otherwise(credit_price)
    used = pl.when(bought).then(0).otherwise(-pl.col("credits_e8"))
    consumed = pl.when(_is("charge", "refund")).then("consumed_e8")
    prices = {
        "ListUnitPrice": money_price,
        "ContractedUnitPrice": money_price,
        "PricingCurrencyListUnitPrice": priced_in,
        "PricingCurrencyContractedUnitPrice": priced_in,
        "x_CreditUnitPrice": pl.when(~bought).then(credit_price),
    }
    amounts = {
        "BilledCost": billed,
        "ListCost": cost,
        "ContractedCost": cost,
        "EffectiveCost": effective,
        "PricingQuantity": quantity,
        "ConsumedQuantity": consumed,
        "PricingCurrencyEffectiveCost": used,
        "x_Credits": pl.col("credits_e8"),
    }
    return [
        *(_amount(expression).alias(name) for name, expression in amounts.items()),
        *(
            expression.reinterpret(dtype=_TYPES["price"]).alias(name)
            for name, expression in prices.items()
        ),
    ]


def _quotient_e16(cost_e8: pl.Expr, quantity_e8: pl.Expr) -> pl.Expr:
    """Cost for one unit, in 10^-16, rounded half up; both have the same sign."""
    # A cost of 63 bits times 10^16 stays within 128 bits.
    cost, quantity = cost_e8.cast(pl.Int128).abs(), quantity_e8.cast(pl.Int128).abs()
    doubled = cost * pl.lit(2 * 10**PRICE_SCALE, pl.Int128) + quantity
    return pl.when(quantity > 0).then(doubled // (quantity * 2))


# Words


def _texts() -> dict[str, pl.Expr]:
    bought, job = _KIND == "top_up", pl.col("job")
    usage = _is("charge", "refund")
    entry = pl.concat_str("book", pl.lit("/"), "wallet", pl.lit("/"), "seq")
    lot = pl.concat_str("book", pl.lit("/"), "wallet", pl.lit("/"), "about")
    of_lot, is_paid = _is("top_up", "lapse"), bought & (pl.col("billed_e8") > 0)
    priced = pl.col("is_priced")
    sku = pl.when(priced).then("sku_id")
    source = pl.when("priced").then(pl.lit("computed")).when("by_task").then(pl.lit("provider"))
    null = pl.lit(None, pl.String)
    credit = pl.concat_str(pl.lit(f"{CREDIT_SKU}#"), "wallet", pl.lit("/"), "seq")
    constants = {
        "InvoiceIssuerName": ISSUER,
        "ProviderName": ISSUER,
        "PublisherName": ISSUER,
        "ServiceProviderName": ISSUER,
        "ServiceName": ISSUER,
        "ServiceCategory": "AI and Machine Learning",
        "ServiceSubcategory": "Generative AI",
    }
    return {
        **{name: pl.lit(value) for name, value in constants.items()},
        "BillingAccountId": pl.col("book"),
        "BillingAccountName": pl.col("book"),
        "SubAccountId": pl.col("wallet"),
        "SubAccountName": pl.col("wallet"),
        "BillingCurrency": pl.col("currency"),
        "ChargeClass": pl.when("is_correction").then(pl.lit("Correction")),
        "ChargeDescription": _description(),
        "ConsumedUnit": pl.when(usage).then("unit"),
        "HostProviderName": null,
        "InvoiceId": pl.when(is_paid).then("key"),
        "InvoiceDetailId": pl.when(is_paid).then(entry),
        "PricingCategory": pl.when(priced).then(pl.lit("Standard")),
        "PricingCurrency": pl.when(bought).then("currency").otherwise(pl.lit(CREDITS)),
        "PricingUnit": pl.when(priced).then("unit"),
        "ResourceId": pl.when(of_lot).then(lot).otherwise(pl.coalesce("task", "job")),
        "ResourceName": pl.when(bought).then("key").otherwise(job),
        "ResourceType": pl.when(of_lot)
        .then(pl.lit("Credit Lot"))
        .when(pl.col("task").is_not_null())
        .then(pl.lit("Task"))
        .when(job.is_not_null())
        .then(pl.lit("Job")),
        "SkuId": sku,
        "SkuMeter": pl.when(priced).then("meter"),
        "SkuPriceDetails": pl.when(priced).then("details"),
        "SkuPriceId": pl.when(bought).then(credit).when(priced).then("price_id"),
        "Tags": pl.when(pl.col("labels") != "{}").then("labels"),
        "x_Corrects": pl.col("corrects"),
        "x_CostSource": pl.when(usage).then(source.otherwise(pl.lit("told"))),
        "x_LedgerEntryId": entry,
        "x_LedgerKind": _KIND,
        "x_PriceVersion": pl.when(usage).then("version"),
        "x_Reconciled": pl.when(usage).then("reconciled"),
    }


def _description() -> pl.Expr:
    """What a charge is for, in words."""
    named = pl.coalesce("description", pl.lit("Job charged in credits"))
    because = pl.when(pl.col("reason").is_not_null()).then(pl.lit(": ") + pl.col("reason"))
    without_cash = {
        "promotional": "Credits that were given away: ",
        "unpriced": "Credits of a price that is not known: ",
    }
    bought = pl.col("reason").replace_strict(without_cash, default="Purchase of credits: ")
    said = {
        "top_up": bought + pl.col("key"),
        "charge": named,
        "refund": pl.concat_str(pl.lit("Refund, "), named, because.fill_null("")),
        "adjust": pl.concat_str(pl.lit("Correction of credits"), because.fill_null("")),
        "lapse": pl.lit("Credits that lapsed unused"),
        "debt": pl.concat_str(
            pl.lit("Cost of credits used before they were bought, entry "), "about"
        ),
    }
    found = pl.when(_KIND == "top_up").then(said.pop("top_up"))
    for kind, words in said.items():
        found = found.when(_is(kind)).then(words)  # type: ignore[assignment]
    return found


def _moments() -> dict[str, pl.Expr]:
    moment_type = _TYPES["moment"]
    start_us = pl.col("told_us") - pl.col("told_us") % _HOUR_US
    # The first whole second at which the credits are gone.
    expires_us = -(-pl.col("expires_us") // _SECOND_US) * _SECOND_US
    ends_us = pl.when(_KIND == "top_up").then(expires_us)
    month = pl.col("counts_us").cast(moment_type).dt.truncate("1mo")
    return {
        "ChargePeriodStart": start_us.cast(moment_type),
        "ChargePeriodEnd": pl.coalesce(ends_us, start_us + _HOUR_US).cast(moment_type),
        "BillingPeriodStart": month,
        "BillingPeriodEnd": month.dt.offset_by("1mo"),
    }

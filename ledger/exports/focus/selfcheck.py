"""Rows held against what FOCUS asks of a row, and against what we say of them ourselves."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import polars as pl

from ledger.exports.focus.table import CHARGES, COST_AND_USAGE, CREDITS, FocusVersion

__all__ = ["Checking", "Finding", "check", "rules_of"]


class Finding(NamedTuple):
    """A rule that rows break."""

    rule: str
    problem: str
    rows: int
    first: str
    """The entry of the first such row."""

    def __str__(self) -> str:
        more = f", and {self.rows - 1} more" if self.rows > 1 else ""
        return f"{self.rule}: {self.problem} (entry {self.first}{more})"


class _Rule(NamedTuple):
    name: str
    problem: str
    broken: pl.Expr


def check(
    rows: pl.DataFrame | Iterable[pl.DataFrame], version: FocusVersion
) -> tuple[Finding, ...]:
    """Hold rows of Cost and Usage against the rules of a version.

    >>> check(pl.DataFrame(schema=["BilledCost"]), "1.2")[0].problem
    'there is no column BillingAccountId'
    """
    checking = Checking(version)
    for frame in [rows] if isinstance(rows, pl.DataFrame) else rows:
        checking.add(frame)
    return checking.findings


class Checking:
    """The same, a part at a time."""

    def __init__(self, version: FocusVersion) -> None:
        self._version, self._found = version, dict[str, Finding]()
        self.rules = rules_of(version)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found so far."""
        return tuple(self._found.values())

    def add(self, frame: pl.DataFrame) -> None:
        """Look at more rows."""
        names = [column.name for column in COST_AND_USAGE[self._version]]
        if missing := [name for name in names if name not in frame.columns]:
            self._found |= {item.problem: item for item in _missing(missing)}
            return
        counts = frame.select(rule.broken.sum().alias(rule.name) for rule in self.rules).row(0)
        for rule, count in zip(self.rules, counts, strict=True):
            if count:
                first = frame.filter(rule.broken)["x_LedgerEntryId"].item(0)
                earlier = Finding(rule.name, rule.problem, 0, str(first))
                earlier = self._found.get(rule.name, earlier)
                self._found[rule.name] = earlier._replace(rows=earlier.rows + int(count))


def _missing(names: Iterable[str]) -> Iterator[Finding]:
    for name in names:
        yield Finding("columns", f"there is no column {name}", 0, "")


def rules_of(version: FocusVersion) -> tuple[_Rule, ...]:
    """What is checked of every row."""
    rules = [
        *(
            _Rule(f"{column.name}-null", f"{column.name} is null", pl.col(column.name).is_null())
            for column in COST_AND_USAGE[version]
            if not column.nullable
        ),
        *(
            _Rule(
                f"{column.name}-empty",
                f"{column.name} is an empty text",
                (pl.col(column.name) == "").fill_null(value=False),
            )
            for column in COST_AND_USAGE[version]
            if column.kind in {"text", "json"}
        ),
        *_of_categories(),
        *_of_prices(),
        *_of_times(),
        _Rule(
            "currency",
            "BillingCurrency has not three capital letters",
            ~pl.col("BillingCurrency").str.contains("^[A-Z]{3}$"),
        ),
    ]
    if version == "1.2":
        rules += _of_credits()
    return tuple(rules)


_BOUGHT = pl.col("ChargeCategory") == "Purchase"
_USED = pl.col("ChargeCategory") == "Usage"
_CORRECTION = pl.col("ChargeClass").is_not_null()


def _of_categories() -> list[_Rule]:
    categories = sorted({kind.category for kind in CHARGES.values()})
    return [
        _Rule(
            "categories",
            f"ChargeCategory is none of {', '.join(categories)}",
            ~pl.col("ChargeCategory").is_in(categories),
        ),
        _Rule(
            "class",
            "ChargeClass is neither null nor Correction",
            (pl.col("ChargeClass") != "Correction").fill_null(value=False),
        ),
        _Rule(
            "frequency",
            "ChargeFrequency does not fit the category",
            (pl.col("ChargeFrequency") == "Usage-Based") != _USED,
        ),
        _Rule(
            "billed",
            "BilledCost is not 0, and it is no purchase",
            (pl.col("BilledCost") != 0) & ~_BOUGHT,
        ),
        _Rule("prepaid", "EffectiveCost of a purchase is not 0", _BOUGHT & _is_not("Effective")),
        _Rule(
            "invoice",
            "InvoiceId does not stand with the money paid",
            pl.col("InvoiceId").is_null() == (_BOUGHT & (pl.col("BilledCost") != 0)),
        ),
        _Rule(
            "tags",
            "Tags is no JSON object",
            ~pl.col("Tags").str.contains(r"^\{.*\}$").fill_null(value=True),
        ),
    ]


def _is_not(name: str) -> pl.Expr:
    return pl.col(f"{name}Cost") != 0


def _of_prices() -> list[_Rule]:
    priced = _BOUGHT | _USED
    needed = ("PricingQuantity", "ListUnitPrice", "ContractedUnitPrice", "SkuId", "SkuPriceId")
    rules = [
        _Rule(
            f"{name}-where-priced",
            f"{name} does not stand with usage and purchases, and only there",
            pl.col(name).is_null() == priced,
        )
        for name in needed
    ]
    for cost, price in (("ListCost", "ListUnitPrice"), ("ContractedCost", "ContractedUnitPrice")):
        rules.append(
            _Rule(
                f"{price}-product",
                f"{price} times PricingQuantity is not {cost}",
                _differ(pl.col(price), pl.col("PricingQuantity"), pl.col(cost)),
            )
        )
        rules.append(_Rule(f"{price}-sign", f"{price} is below zero", pl.col(price) < 0))
    for quantity, unit in (
        ("PricingQuantity", "PricingUnit"),
        ("ConsumedQuantity", "ConsumedUnit"),
    ):
        rules.append(
            _Rule(
                f"{unit}-pair",
                f"{unit} and {quantity} do not stand together",
                pl.col(unit).is_null() != pl.col(quantity).is_null(),
            )
        )
    rules.append(
        _Rule(
            "consumed",
            "ConsumedQuantity does not stand with usage, and only there",
            pl.col("ConsumedQuantity").is_null() == _USED,
        )
    )
    return [rule._replace(broken=rule.broken.fill_null(value=False)) for rule in rules]


def _differ(price: pl.Expr, quantity: pl.Expr, cost: pl.Expr) -> pl.Expr:
    """Whether a product is off by more than 10^-9 of the cost, or of one unit of money.

    That much is what validators let pass, and what the rounding of a unit price to 16 decimals
    needs.
    """
    # In units of 10^-24: a price has 16 decimals, a quantity and a cost have 8.
    cost_e8 = cost.to_physical().cast(pl.Int128)
    product = price.to_physical().cast(pl.Int128) * quantity.to_physical().cast(pl.Int128)
    allowed = pl.max_horizontal(cost_e8.abs() * pl.lit(10**7, pl.Int128), pl.lit(10**15, pl.Int128))
    return (product - cost_e8 * pl.lit(10**16, pl.Int128)).abs() > allowed


def _of_times() -> list[_Rule]:
    start, end = pl.col("ChargePeriodStart"), pl.col("ChargePeriodEnd")
    month, next_month = pl.col("BillingPeriodStart"), pl.col("BillingPeriodEnd")
    return [
        _Rule("charge-period", "the charge period is empty", start >= end),
        _Rule(
            "billing-period",
            "the billing period is no month",
            (month.dt.truncate("1mo") != month) | (month.dt.offset_by("1mo") != next_month),
        ),
        _Rule(
            "later",
            "a charge lies after its billing period",
            start >= next_month,
        ),
        _Rule(
            "correction",
            "a Correction is not about an earlier month",
            _CORRECTION & (start >= month),
        ),
    ]


def _of_credits() -> list[_Rule]:
    in_credits = pl.col("PricingCurrency") == CREDITS
    return [
        _Rule(
            "pricing-currency",
            "PricingCurrency is not that of the purchase, or of credits",
            in_credits == _BOUGHT,
        ),
        _Rule(
            "credits",
            "PricingCurrencyEffectiveCost is not what left the wallet",
            pl.col("PricingCurrencyEffectiveCost")
            != pl.when(_BOUGHT).then(0).otherwise(-pl.col("x_Credits")),
        ),
    ]

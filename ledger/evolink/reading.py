"""From JSON to the heading and the rules of a pricing document, with every fault by its path.

What a document must look like is read from the provider's own client (evolink-cli,
`pricing-rules-client.js`, Apache-2.0, read 2026-11-23).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final, TypeVar, cast, get_args

from ledger.errors import InvalidMoment
from ledger.evolink.expressions import Constant, Expression, Kind, Scope, parse
from ledger.evolink.loading import Faults
from ledger.evolink.parts import (
    Component,
    Meta,
    NotAllowed,
    Parameter,
    ParameterType,
    RoundingPoint,
    Tier,
    declared,
    reader_of,
)
from ledger.evolink.rule import Rule
from ledger.evolink.values import as_text, clip, looks_numeric
from ledger.units import EXACT, Rounding, parse_moment, plain

__all__ = ["Reader"]

SCHEMA_VERSION: Final = "2"

_UC_PER_CREDIT: Final = 10_000
_UC_PER_CNY: Final = 100_000
_USD_STEP: Final = Decimal("0.00000001")
"""Dollars are rounded to their eighth decimal."""

_IDENTIFIER = re.compile(r"[a-z0-9][a-z0-9._:-]*")
_CHECKSUM = re.compile(r"[a-f0-9]{64}")
_MOMENT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,9})?"
    r"(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
_EXCHANGE_RATE = re.compile(r"pricing-fx/v1:USD-CNY=(.+)", re.DOTALL)

_MAX_DECIMAL: Final = 64
_MAX_WARNINGS: Final = 100
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)

_Choice = TypeVar("_Choice", bound=str)

_STATUS: Final = ("available", "unavailable")
_POINTS: Final[tuple[RoundingPoint, ...]] = get_args(RoundingPoint)
_MODES: Final[tuple[Rounding, ...]] = get_args(Rounding)
_TYPES: Final[tuple[ParameterType, ...]] = get_args(ParameterType)

_META_KEYS: Final = frozenset(
    {
        "catalog_version",
        "currency",
        "exchange_rate_version",
        "fresh_until",
        "price_scope",
        "price_selection",
        "pricing_version",
        "schema_version",
        "updated_at",
    }
)
_MODEL_KEYS: Final = frozenset(
    {
        "components",
        "lifecycle",
        "modality",
        "model_id",
        "operation",
        "parameters",
        "policy_checksum",
        "policy_source",
        "policy_version",
        "pricing_status",
        "product_id",
        "settlement_basis",
    }
)
_PARAMETER_KEYS: Final = frozenset(
    {
        "default",
        "description",
        "enum",
        "maximum",
        "minimum",
        "name",
        "required",
        "type",
        "values",
    }
)
_RATED: Final = frozenset(
    {
        "billing_rule",
        "effective_at",
        "minimum_charge",
        "official_rate",
        "pricing_status",
        "rate",
        "sku_id",
    }
)
_TIER_KEYS: Final = _RATED | {"multiplier", "when"}
_COMPONENT_KEYS: Final = _RATED | {
    "billing_unit_size",
    "condition",
    "dimension",
    "display_unit_size",
    "id",
    "label_key",
    "quantity_rule",
    "role",
    "rounding",
    "tiers",
    "unit",
}


class _Table:
    """An object of the document; what is wrong with a key is told, and read as something harmless.

    Nothing harmless gets out: a document with a fault is refused as a whole.
    """

    __slots__ = ("_data", "_reader", "path")

    def __init__(self, data: Mapping[str, object], path: str, reader: Reader) -> None:
        self._data, self.path, self._reader = data, path, reader

    def fault(self, key: str, problem: str) -> None:
        self._reader.faults.add(f"{self.path}.{key}" if self.path else key, problem)

    def get(self, key: str) -> object:
        return self._data.get(key)

    def has(self, key: str) -> bool:
        return key in self._data

    def needs(self, key: str) -> bool:
        """Whether the key is there, which it must be."""
        if key not in self._data:
            self.fault(key, "is required")
        return key in self._data

    def text(self, key: str, most: int = 100) -> str:
        value = self._data.get(key)
        if not self.needs(key):
            return ""
        if not isinstance(value, str) or not 0 < len(value) <= most or not value.isprintable():
            self.fault(key, f"must be a text of 1 to {most} characters")
            return ""
        return value

    def identifier(self, key: str, most: int = 100) -> str:
        value = self.text(key, most)
        if value and not _IDENTIFIER.fullmatch(value):
            self.fault(key, f"must be small letters, digits and . _ : -, not {clip(value)}")
        return value

    def choice(self, key: str, allowed: Sequence[_Choice]) -> _Choice:
        if self.needs(key) and (value := self._data[key]) not in allowed:
            told = f"not {clip(value)}" if isinstance(value, str) else "which is a text"
            self.fault(key, f"must be {' or '.join(allowed)}, {told}")
        value = self._data.get(key)
        return cast("_Choice", value) if value in allowed else allowed[0]

    def whole(self, key: str, least: int) -> int:
        value = self._data.get(key)
        if self.needs(key) and (
            isinstance(value, bool) or not isinstance(value, int) or not least <= value <= 10**9
        ):
            self.fault(key, f"must be a whole number from {least} to 1,000,000,000")
            return least
        return cast("int", value)

    def decimal(self, key: str, *, signed: bool = False) -> Decimal:
        value = self._data.get(key)
        if not self.needs(key):
            return Decimal(1)
        if not isinstance(value, str) or len(value) > _MAX_DECIMAL or not looks_numeric(value):
            self.fault(key, f"must be a decimal as a text of at most {_MAX_DECIMAL} characters")
            return Decimal(1)
        if value.startswith("-") and not signed:
            self.fault(key, f"must not be negative, and is {clip(value)}")
            return Decimal(1)
        return Decimal(value)

    def moment(self, key: str) -> datetime:
        value = self._data.get(key)
        if not self.needs(key):
            return _NEVER
        try:
            if isinstance(value, str) and _MOMENT.fullmatch(value):
                return parse_moment(value.upper())
        except InvalidMoment:
            pass
        self.fault(key, "must be a moment like 2026-10-10T06:52:34.303Z")
        return _NEVER

    def table(self, key: str) -> _Table | None:
        value = self._data.get(key)
        if not self.needs(key):
            return None
        path = f"{self.path}.{key}" if self.path else key
        if not isinstance(value, dict):
            self.fault(key, "must be an object")
            return None
        return _Table(value, path, self._reader)

    def tables(self, key: str, most: int, name: str) -> list[_Table]:
        """The objects of a list, each with a path that has its own name where it has one."""
        value = self._data.get(key)
        if not isinstance(value, list) or len(value) > most:
            self.fault(key, f"must be a list of at most {most}")
            return []
        found = []
        for index, item in enumerate(value):
            if not isinstance(item, dict):
                self.fault(f"{key}[{index}]", "must be an object")
                continue
            own = item.get(name)
            fair = isinstance(own, str) and 0 < len(own) <= 100 and own.isprintable()
            path = f"{self.path}.{key}" if self.path else key
            found.append(_Table(item, f"{path}[{own if fair else index}]", self._reader))
        return found

    def only(self, keys: Sequence[str]) -> None:
        """Refuse unknown keys, because they may change what is paid."""
        for key in self._data:
            if key not in keys:
                self._reader.faults.add(self.path, f"has the unknown key {clip(key)}")

    def warn(self, known: frozenset[str]) -> None:
        for key in self._data:
            if key not in known:
                where = f"{self.path}: " if self.path else ""
                self._reader.warn(f"{where}the unknown key {clip(key)} was not read")


class Reader:
    """One reading of one document."""

    def __init__(self, subject: str) -> None:
        self.faults = Faults(subject)
        self.warnings: list[str] = []
        self._uc_per_usd = Decimal(0)

    def warn(self, warning: str) -> None:
        """Take note of what does not keep the document from being used."""
        if len(self.warnings) < _MAX_WARNINGS:
            self.warnings.append(warning)
        elif len(self.warnings) == _MAX_WARNINGS:
            self.warnings.append("and more")

    def read(self, document: object) -> tuple[Meta, dict[str, Rule]]:
        """The heading and the rules.

        Raises:
            InvalidPriceFile: has every fault found, 50 at most.
        """
        if not isinstance(document, dict):
            self.faults.add("", "must be an object with `meta` and `models`")
            self.faults.refuse()
        top = _Table(cast("dict[str, object]", document), "", self)
        top.warn(frozenset({"meta", "model", "models"}))
        heading = top.table("meta")
        meta = None if heading is None else self._meta(heading)
        if top.has("model") == top.has("models"):
            self.faults.add("", "must have either `models` or `model`")
        if top.has("model"):
            top = _Table({"models": [top.get("model")]}, "", self)
        models = top.tables("models", 10_000, "model_id") if top.has("models") else []
        rules: dict[str, Rule] = {}
        for table in models:
            rule = self._rule(table)
            name = table.get("model_id")
            if rule is not None and rule.model in rules:
                table.fault("model_id", f"{clip(name)} stands twice")
            if rule is not None:
                rules[rule.model] = rule
        if top.get("models") == []:
            self.faults.add("models", "must have at least one model")
        self.faults.refuse()
        return cast("Meta", meta), rules

    def _meta(self, table: _Table) -> Meta:
        table.warn(_META_KEYS)
        version = table.get("schema_version")
        if table.needs("schema_version") and version != SCHEMA_VERSION:
            told = clip(version) if isinstance(version, str) else "a text"
            table.fault("schema_version", f"must be '{SCHEMA_VERSION}', not {told}")
        scope = table.choice("price_scope", ["public_default"])
        table.choice("currency", ["USD"])
        selection: str | None = None
        if table.has("price_selection"):
            selection = table.choice("price_selection", ["configured_minimum", "route_priority"])
        cny_per_usd = self._exchange_rate(table)
        self._uc_per_usd = Decimal(plain(EXACT.multiply(cny_per_usd, _UC_PER_CNY)))
        return Meta(
            schema_version=SCHEMA_VERSION,
            catalog_version=table.text("catalog_version", 128),
            pricing_version=table.text("pricing_version", 128),
            price_scope=scope,
            price_selection=selection,
            updated_at=table.moment("updated_at"),
            fresh_until=table.moment("fresh_until"),
            cny_per_usd=cny_per_usd,
            uc_per_usd=self._uc_per_usd,
        )

    def _exchange_rate(self, table: _Table) -> Decimal:
        value = table.get("exchange_rate_version")
        if not table.needs("exchange_rate_version"):
            return Decimal(0)
        found = _EXCHANGE_RATE.fullmatch(value) if isinstance(value, str) else None
        if found and len(found[1]) <= _MAX_DECIMAL and looks_numeric(found[1]):
            rate = Decimal(found[1])
            if rate > 0:
                return rate
        table.fault("exchange_rate_version", "must be like pricing-fx/v1:USD-CNY=6.8")
        return Decimal(0)

    def _rule(self, table: _Table) -> Rule | None:
        before = len(self.faults.found)
        table.warn(_MODEL_KEYS)
        parameters = self._parameters(table)
        source = table.choice("policy_source", ["published", "legacy_text_adapter"])
        scope = Scope(
            {name: declared(parameter) for name, parameter in parameters.items()},
            is_open=source == "legacy_text_adapter",
            report=self.faults.add,
        )
        components = self._components(table, scope)
        checksum = table.text("policy_checksum")
        if checksum and not _CHECKSUM.fullmatch(checksum):
            table.fault("policy_checksum", "must be 64 small hexadecimal digits")
        said = {
            "model": table.identifier("model_id"),
            "product": table.identifier("product_id"),
            "operation": table.identifier("operation", 50),
            "modality": table.choice("modality", ["text", "image", "video", "audio"]),
            "lifecycle": table.choice("lifecycle", ["active", "preview", "deprecated"]),
            "status": table.choice("pricing_status", _STATUS),
            "settlement_basis": table.choice(
                "settlement_basis", ["request_only", "actual_usage", "request_then_actual"]
            ),
        }
        version = table.whole("policy_version", 0)
        kinds = self._undeclared(table, scope)
        if len(self.faults.found) > before:
            return None
        return Rule(
            **said,
            policy_version=version,
            policy_source=source,
            policy_checksum=checksum,
            parameters=parameters,
            components=tuple(components),
            undeclared_kinds=kinds,
        )

    def _undeclared(self, table: _Table, scope: Scope) -> dict[str, frozenset[Kind]]:
        for name, kinds in scope.undeclared.items():
            if {"boolean", "number"} <= kinds:
                problem = f"reads {clip(name)} as a number and as true or false"
                self.faults.add(table.path, problem)
        if scope.undeclared:
            names = ", ".join(sorted(scope.undeclared)[:20])
            names += ", ..." if len(scope.undeclared) > 20 else ""
            self.warn(f"{table.path}: the rule reads what it does not declare: {names}")
        return {name: frozenset(kinds) for name, kinds in scope.undeclared.items()}

    # --- Parameters ------------------------------------------------------------------------------

    def _parameters(self, table: _Table) -> dict[str, Parameter]:
        found: dict[str, Parameter] = {}
        if not table.has("parameters"):
            return found
        for item in table.tables("parameters", 100, "name"):
            parameter = self._parameter(item)
            if parameter.name and parameter.name in found:
                item.fault("name", f"{clip(parameter.name)} stands twice")
            found[parameter.name] = parameter
        return found

    def _parameter(self, table: _Table) -> Parameter:
        before = len(self.faults.found)
        table.warn(_PARAMETER_KEYS)
        type_ = table.choice("type", _TYPES)
        is_number = type_ in {"integer", "decimal"}
        required = table.get("required")
        if table.has("required") and not isinstance(required, bool):
            table.fault("required", "must be true or false")
        bounds: dict[str, Decimal | None] = {"minimum": None, "maximum": None}
        for key in bounds:
            if table.has(key):
                bounds[key] = table.decimal(key, signed=True)
                if not is_number:
                    table.fault(key, f"says nothing about {type_} values")
        least, most = bounds["minimum"], bounds["maximum"]
        if least is not None and most is not None and least > most:
            table.fault("maximum", f"{plain(most)} is less than the minimum {plain(least)}")
        found = Parameter(
            name=table.text("name"),
            type=type_,
            default=None,
            values=self._values(table, type_),
            minimum=least,
            maximum=most,
            required=bool(required),
        )
        if len(self.faults.found) > before or table.get("default") is None:
            return found
        return self._with_default(found, table)

    def _values(self, table: _Table, type_: ParameterType) -> tuple[str, ...] | None:
        lists = [key for key in ("values", "enum") if table.has(key)]
        if not lists:
            if type_ == "enum":
                table.fault("values", "is required")
            return None
        key = lists[0]
        given = table.get(key)
        if len(lists) > 1 and given != table.get("enum"):
            table.fault("enum", "says something else than `values`")
        if type_ == "boolean":
            table.fault(key, "says nothing about boolean values")
            return None
        if not isinstance(given, list) or not 0 < len(given) <= 100:
            table.fault(key, "must be a list of 1 to 100")
            return None
        values = tuple(map(_value_text, given))
        for index, text in enumerate(values):
            if text is None or not 0 < len(text) <= 128 or not text.isprintable():
                table.fault(f"{key}[{index}]", "must be a text of 1 to 128 characters or a number")
            elif type_ in {"integer", "decimal"} and not looks_numeric(text):
                table.fault(f"{key}[{index}]", f"must be a number, not {clip(text)}")
        same = [Decimal(text) if text and looks_numeric(text) else text for text in values]
        if len(set(same)) < len(same):
            table.fault(key, "must differ from each other, as numbers too")
        return tuple(text or "" for text in values)

    def _with_default(self, parameter: Parameter, table: _Table) -> Parameter:
        default = _plain_number(table.get("default"))
        try:
            value = reader_of(parameter)(default)
        except NotAllowed as error:
            table.fault("default", str(error))
            return parameter
        typed = Decimal(as_text(value)) if isinstance(value, tuple) else value
        return replace(parameter, default=typed)

    # --- Components ------------------------------------------------------------------------------

    def _components(self, table: _Table, scope: Scope) -> list[Component]:
        found: list[Component] = []
        if not table.needs("components"):
            return found
        if table.get("components") == []:
            table.fault("components", "must have at least one component")
        seen: set[str] = set()
        for item in table.tables("components", 200, "id"):
            component = self._component(item, scope)
            if component.id and component.id in seen:
                item.fault("id", f"{clip(component.id)} stands twice")
            seen.add(component.id)
            found.append(component)
        return found

    def _component(self, table: _Table, scope: Scope) -> Component:
        table.warn(_COMPONENT_KEYS)
        for key in ("billing_unit_size", "display_unit_size"):
            table.whole(key, 1)
        if table.has("label_key"):
            table.text("label_key")
        rounding = table.table("rounding")
        point, mode = _POINTS[0], _MODES[0]
        if rounding is not None:
            rounding.only(["point", "mode"])
            point, mode = rounding.choice("point", _POINTS), rounding.choice("mode", _MODES)
        rate_uc = self._rate(table)
        condition = None
        if table.has("condition"):
            condition = self._expression(table, "condition", scope, "boolean")
        return Component(
            id=table.text("id"),
            role=table.text("role"),
            dimension=table.text("dimension"),
            unit=table.text("unit"),
            billing_rule=table.text("billing_rule", 60),
            sku=table.text("sku_id"),
            is_available=table.choice("pricing_status", _STATUS) == "available",
            rate_uc=rate_uc,
            minimum_uc=self._money(table, "minimum_charge"),
            rounding_point=point,
            rounding_mode=mode,
            effective_at=table.moment("effective_at"),
            quantity=self._expression(table, "quantity_rule", scope, "number"),
            condition=condition,
            tiers=self._tiers(table, scope, rate_uc),
        )

    def _tiers(self, table: _Table, scope: Scope, rate_uc: Decimal) -> tuple[Tier, ...]:
        if not table.needs("tiers"):
            return ()
        return tuple(self._tier(item, scope, rate_uc) for item in table.tables("tiers", 100, "\0"))

    def _tier(self, table: _Table, scope: Scope, component_rate_uc: Decimal) -> Tier:
        before = len(self.faults.found)
        table.warn(_TIER_KEYS)
        multiplier = table.decimal("multiplier")
        if multiplier == 0:
            table.fault("multiplier", "must be more than 0")
        rate_uc = self._rate(table)
        expected = EXACT.multiply(component_rate_uc, multiplier)
        if rate_uc != expected and len(self.faults.found) == before:
            problem = (
                f"{plain(rate_uc)} UC is not the component's rate times the multiplier,"
                f" {plain(component_rate_uc)} × {plain(multiplier)} = {plain(expected)}"
            )
            table.fault("rate.uc", problem)
        return Tier(
            when=self._expression(table, "when", scope, "boolean"),
            multiplier=multiplier,
            rate_uc=rate_uc,
            minimum_uc=self._money(table, "minimum_charge"),
            sku=table.text("sku_id"),
            billing_rule=table.text("billing_rule", 60),
            is_available=table.choice("pricing_status", _STATUS) == "available",
            effective_at=table.moment("effective_at"),
        )

    def _expression(self, table: _Table, key: str, scope: Scope, wanted: Kind) -> Expression:
        if not table.needs(key):
            return Constant((1, 1))
        return parse(table.get(key), scope=scope, path=f"{table.path}.{key}", wanted=wanted)

    # --- Money -----------------------------------------------------------------------------------

    def _rate(self, table: _Table) -> Decimal:
        if table.has("official_rate"):
            self._money(table, "official_rate")
        return self._money(table, "rate")

    def _money(self, table: _Table, key: str) -> Decimal:
        """UC of an amount; its other units must say the same."""
        before = len(self.faults.found)
        money = table.table(key)
        if money is None:
            return Decimal(1)
        money.only(["uc", "credits", "cny", "usd"])
        uc, credits, cny, usd = map(money.decimal, ("uc", "credits", "cny", "usd"))
        if len(self.faults.found) > before:
            return uc
        for unit, amount, per_unit in (
            ("credits", credits, _UC_PER_CREDIT),
            ("cny", cny, _UC_PER_CNY),
        ):
            if EXACT.multiply(amount, per_unit) != uc:
                problem = f"{plain(amount)} is not {plain(uc)} UC at {per_unit:,} UC each"
                money.fault(unit, problem)
        per_usd = self._uc_per_usd
        off_uc = EXACT.abs(EXACT.subtract(EXACT.multiply(usd, per_usd), uc))
        if per_usd and off_uc > EXACT.multiply(_USD_STEP, per_usd):
            problem = f"{plain(usd)} is not {plain(uc)} UC at {plain(per_usd)} UC each"
            money.fault("usd", problem)
        return uc


def _value_text(value: object) -> str | None:
    """A value of an enumeration as a text; one that is a number as plain digits."""
    if isinstance(value, bool):
        return "true" if value else "false"
    number = _plain_number(value)
    return number if isinstance(number, str) else None


def _plain_number(value: object) -> object:
    """A number of JSON as plain digits, None if there would be too many; anything else as it is."""
    if isinstance(value, bool) or not isinstance(value, (int, Decimal)):
        return value
    decimal = Decimal(value)
    return plain(decimal) if abs(decimal.adjusted()) <= 128 else None

"""What a pricing expression is made of: constants, variables, lookups and operations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from ledger.evolink.values import Kind, Number, Value

__all__ = [
    "OPERATIONS",
    "Apply",
    "Constant",
    "Expression",
    "Lookup",
    "Operation",
    "Variable",
    "kind_of",
    "variables_of",
]

MAX_ARGUMENTS: Final = 32
"""Most arguments of an operation."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A value that stands in the document."""

    value: Value


@dataclass(frozen=True, slots=True)
class Variable:
    """A value that is given, read as a certain kind."""

    name: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Lookup:
    """A number out of a table; the key is the text of a value, a number as its shortest decimal."""

    key: Expression
    values: Mapping[str, Number]


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation on the values of other expressions."""

    op: str
    args: tuple[Expression, ...]


Expression = Constant | Variable | Lookup | Apply


class Operation(NamedTuple):
    """How many arguments an operation has, of which kind, and the kind of its value."""

    fewest: int
    most: int
    takes: Kind
    gives: Kind


def _all_operations() -> dict[str, Operation]:
    found = {op: Operation(2, MAX_ARGUMENTS, "number", "number") for op in ("add", "multiply")}
    found |= {op: Operation(2, MAX_ARGUMENTS, "number", "number") for op in ("min", "max")}
    found |= {op: Operation(2, 2, "number", "number") for op in ("subtract", "divide")}
    found |= {op: Operation(1, 1, "number", "number") for op in ("ceil", "floor")}
    found["clamp"] = Operation(3, 3, "number", "number")
    found |= {op: Operation(2, 2, "number", "boolean") for op in ("lt", "lte", "gt", "gte")}
    found |= {op: Operation(2, 2, "any", "boolean") for op in ("eq", "neq")}
    found |= {op: Operation(2, MAX_ARGUMENTS, "boolean", "boolean") for op in ("and", "or")}
    found["not"] = Operation(1, 1, "boolean", "boolean")
    found["if"] = Operation(3, 3, "any", "any")
    return found


OPERATIONS: Final = _all_operations()


def kind_of(expression: Expression) -> Kind:
    """What the value of an expression is."""
    if isinstance(expression, Constant):
        return _kind_of_value(expression.value)
    if isinstance(expression, Variable):
        return expression.kind
    if isinstance(expression, Lookup):
        return "number"
    if expression.op == "if":
        one, other = map(kind_of, expression.args[1:])
        return one if one == other else "any"
    return OPERATIONS[expression.op].gives


def _kind_of_value(value: Value) -> Kind:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, tuple) else "text"


def variables_of(expression: Expression) -> frozenset[str]:
    """Names of all the variables that an expression reads."""
    if isinstance(expression, Variable):
        return frozenset([expression.name])
    if isinstance(expression, Lookup):
        return variables_of(expression.key)
    if isinstance(expression, Apply):
        return frozenset[str]().union(*map(variables_of, expression.args))
    return frozenset()

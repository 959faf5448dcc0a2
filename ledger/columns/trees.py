"""Pricing expressions of many combinations of options, as one column.

Once a combination's options are known, its expressions read nothing but numbers of the row. They
are brought into a form of few operations (`normal`). Combinations whose expressions then differ in
their constants alone are computed together: a constant becomes a column, too.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final, cast

import polars as pl

from ledger.columns.exact import Arithmetic, Exact, Truth, both
from ledger.evolink.expressions import simplified
from ledger.evolink.intervals import Interval, Known, Unbounded, truth_of
from ledger.evolink.nodes import Apply, Constant, Expression, Lookup, Variable, kind_of
from ledger.evolink.values import (
    NoResult,
    Number,
    comparable,
    decimal_text,
    looks_numeric,
    number,
    reduced,
)

__all__ = ["NoForm", "Normalizer", "Reader", "skeleton"]

_MOST_NODES: Final = 2_000
"""Most nodes of one form; real rules have a few dozen."""
_COMPARISONS: Final = frozenset({"lt", "lte", "gt", "gte"})
_NEVER: Final = Lookup(Constant((0, 1)), {})
"""Has no value."""


class NoForm(Exception):
    """The expression has no form as a column; the scalar function prices its rows."""


class Normalizer:
    """Brings the expressions of one combination into the form that columns have.

    Args:
        known: values of the variables that are the same in every row.
        columns: what stands for each of the other variables: a number over columns.
        texts: what stands for those of them that are read as texts, as a choice of constants.
        intervals: between which numbers the columns lie.
    """

    __slots__ = ("_columns", "_intervals", "_known", "_left", "_texts")

    def __init__(
        self,
        known: Mapping[str, Any],
        columns: Mapping[str, Expression],
        texts: Mapping[str, Expression],
        intervals: Mapping[str, Interval],
    ) -> None:
        self._known, self._columns, self._texts = known, columns, texts
        self._intervals = Known({}, intervals)
        self._left = _MOST_NODES

    def normal(self, tree: Expression) -> Expression:
        """The expression over columns, without division, texts, and questions that are answered.

        Raises:
            NoForm: there is none.
        """
        return self._normal(simplified(tree, self._known))

    def _normal(self, tree: Expression) -> Expression:
        self._left -= 1
        if self._left < 0:
            raise NoForm
        if isinstance(tree, Constant):
            return tree
        if isinstance(tree, Variable):
            return self._column_of(tree)
        if isinstance(tree, Lookup):
            return self._looked_up(self._normal(tree.key), tree.values)
        if tree.op == "if":
            return self._choice(tree)
        args = tuple(map(self._normal, tree.args))
        if tree.op == "divide":
            return simplified(Apply("multiply", (args[0], _inverse(args[1]))), {})
        if tree.op in {"eq", "neq"}:
            return self._equation(tree.op, *args)
        if any(kind_of(arg) in {"text", "any"} for arg in args):
            raise NoForm
        return simplified(Apply(tree.op, args), {})

    def _column_of(self, tree: Variable) -> Expression:
        found = self._columns.get(tree.name)
        if found is None or tree.kind == "boolean":
            raise NoForm
        # A number that nobody declared is one however it is read.
        return found if tree.kind == "number" else self._texts.get(tree.name, found)

    def _choice(self, tree: Apply) -> Expression:
        condition = self._normal(tree.args[0])
        truth = self._answer(condition)
        if truth is not None:
            return self._normal(tree.args[1 if truth else 2])
        then, otherwise = map(self._normal, tree.args[1:])
        return Apply("if", (condition, then, otherwise))

    def _answer(self, condition: Expression) -> bool | None:
        """What a condition says for every row, where it cannot fail for one."""
        if isinstance(condition, Constant):
            return cast("bool", condition.value)
        if not _cannot_fail(condition):
            return None
        try:
            return truth_of(condition, self._intervals)
        except (NoResult, Unbounded):
            return None

    def _looked_up(self, key: Expression, values: Mapping[str, Number]) -> Expression:
        if isinstance(key, Constant):
            found = simplified(Lookup(key, values), {})
            return found if isinstance(found, Constant) else _NEVER
        if isinstance(key, Apply) and key.op == "if":
            condition, then, otherwise = key.args
            branches = (self._looked_up(branch, values) for branch in (then, otherwise))
            return Apply("if", (condition, *branches))
        if kind_of(key) == "boolean":
            branches = (self._looked_up(Constant(text), values) for text in ("true", "false"))
            return Apply("if", (key, *branches))
        if kind_of(key) != "number":
            raise NoForm
        # A number is found under its shortest decimal.
        entries = {
            text: value
            for text, value in values.items()
            if looks_numeric(text) and decimal_text(number(text)) == text
        }
        return Lookup(key, entries)

    def _equation(self, op: str, left: Expression, right: Expression) -> Expression:
        """Texts are compared in the branches that choose between them."""
        self._left -= 1
        if self._left < 0:
            raise NoForm
        for side, other in ((left, right), (right, left)):
            if isinstance(side, Apply) and side.op == "if" and kind_of(side) in {"text", "any"}:
                condition, *texts = side.args
                branches = [self._equation(op, text, other) for text in texts]
                return Apply("if", (condition, *branches))
        if isinstance(left, Constant) and isinstance(right, Constant):
            return simplified(Apply(op, (left, right)), {})
        kinds = {kind_of(left), kind_of(right)}
        if kinds in ({"number"}, {"boolean"}):
            return Apply(op, (left, right))
        if kinds == {"number", "text"}:
            return _number_and_text(op, left, right)
        raise NoForm


def _number_and_text(op: str, left: Expression, right: Expression) -> Expression:
    text, side = (left, right) if kind_of(left) == "text" else (right, left)
    if not isinstance(text, Constant):
        raise NoForm
    value = comparable(text.value)
    if not isinstance(value, str):
        return Apply(op, (side, Constant(value)))
    if not _cannot_fail(side):
        raise NoForm
    return Constant(op == "neq")


def _inverse(tree: Expression) -> Expression:
    if not isinstance(tree, Constant) or not isinstance(tree.value, tuple):
        raise NoForm
    up, down = reduced(tree.value)
    if not up:
        raise NoForm
    return Constant((down, up) if up > 0 else (-down, -up))


def _cannot_fail(tree: Expression) -> bool:
    """Whether a normal expression has a value for all numbers."""
    if isinstance(tree, Lookup):
        return False
    if not isinstance(tree, Apply):
        return True
    return tree.op != "clamp" and all(map(_cannot_fail, tree.args))


def skeleton(tree: Expression) -> Hashable:
    """All of a normal expression but its numbers."""
    if isinstance(tree, Constant):
        return () if isinstance(tree.value, tuple) else (tree.value,)
    if isinstance(tree, Variable):
        return tree.name
    if isinstance(tree, Lookup):
        return ("lookup", skeleton(tree.key), *tree.values)
    return (tree.op, *map(skeleton, tree.args))


class Reader:
    """Computes normal expressions of one skeleton, one for each combination, as a column."""

    __slots__ = ("_arithmetic", "_columns", "_operations")

    def __init__(self, arithmetic: Arithmetic, columns: Mapping[str, Exact]) -> None:
        self._arithmetic, self._columns = arithmetic, columns
        self._operations = {
            "add": arithmetic.total,
            "max": arithmetic.greatest,
            "min": arithmetic.least,
            "multiply": arithmetic.product,
        }

    def number(self, trees: Sequence[Expression]) -> Exact:
        """The number that the expressions say.

        Raises:
            NoForm: they say none.
            TooLarge: a numerator may leave its type.
        """
        first = trees[0]
        if isinstance(first, Constant):
            return self._arithmetic.constant([_number(tree) for tree in trees])
        if isinstance(first, Variable):
            return self._columns[first.name]
        if isinstance(first, Lookup):
            return self._looked_up(cast("Sequence[Lookup]", trees))
        applied = cast("Sequence[Apply]", trees)
        below = list(zip(*(tree.args for tree in applied), strict=True))
        if first.op == "if":
            then, otherwise = map(self.number, below[1:])
            return self._arithmetic.chosen(self.truth(below[0]), then, otherwise)
        if kind_of(first) != "number":
            raise NoForm
        return self._applied(first.op, list(map(self.number, below)))

    def _applied(self, op: str, args: Sequence[Exact]) -> Exact:
        if op in self._operations:
            return self._operations[op](args)
        if op == "subtract":
            return self._arithmetic.difference(*args)
        if op == "clamp":
            return self._arithmetic.clamped(*args)
        return self._arithmetic.rounded(args[0], "ceil" if op == "ceil" else "floor")

    def _looked_up(self, trees: Sequence[Lookup]) -> Exact:
        key = self.number([tree.key for tree in trees])
        entries = [
            (number(text), self._arithmetic.constant([tree.values[text] for tree in trees]))
            for text in trees[0].values
        ]
        return self._arithmetic.looked_up(key, entries)

    def truth(self, trees: Sequence[Expression]) -> Truth:
        """The answer that the expressions say; errors as for `number`."""
        first = trees[0]
        if isinstance(first, Constant) and isinstance(first.value, bool):
            return Truth(first.value)
        if not isinstance(first, Apply):
            raise NoForm
        below = list(zip(*(cast("Apply", tree).args for tree in trees), strict=True))
        op = first.op
        if op == "not":
            return _negated(self.truth(below[0]))
        if op in {"and", "or"}:
            return _joined(op, list(map(self.truth, below)))
        if op == "if":
            return _either(*map(self.truth, below))
        if op in _COMPARISONS or kind_of(first.args[0]) == "number":
            return self._arithmetic.compared(op, *map(self.number, below))
        one, other = map(self.truth, below)
        same = one.column == other.column if op == "eq" else one.column != other.column
        return Truth(same, both(one.valid, other.valid))


def _number(tree: Expression) -> Number:
    value = cast("Constant", tree).value
    if not isinstance(value, tuple):
        raise NoForm
    return value


def _negated(truth: Truth) -> Truth:
    holds = truth.holds
    return Truth(not holds if isinstance(holds, bool) else ~holds, truth.valid)


def _joined(op: str, parts: Sequence[Truth]) -> Truth:
    """`and` and `or` from the left: what stands behind the part that decides need not exist."""
    decisive = op == "or"
    found = parts[-1]
    for part in reversed(parts[:-1]):
        if isinstance(part.holds, bool):
            rest = Truth(decisive) if part.holds is decisive else found
            found = Truth(rest.holds, both(part.valid, rest.valid))
            continue
        holds = part.column | found.column if decisive else part.column & found.column
        # Where the part decides, the rest is not asked.
        decides = part.column if decisive else ~part.column
        needed = None if found.valid is None else decides | found.valid
        found = Truth(holds, both(part.valid, needed))
    return found


def _either(condition: Truth, then: Truth, otherwise: Truth) -> Truth:
    if isinstance(condition.holds, bool):
        found = then if condition.holds else otherwise
        return Truth(found.holds, both(condition.valid, found.valid))
    holds = pl.when(condition.holds).then(then.column).otherwise(otherwise.column)
    valid = condition.valid
    if then.valid is not None or otherwise.valid is not None:
        always = pl.lit(value=True)
        taken = (
            pl.when(condition.holds)
            .then(always if then.valid is None else then.valid)
            .otherwise(always if otherwise.valid is None else otherwise.valid)
        )
        valid = both(valid, taken)
    return Truth(holds, valid)

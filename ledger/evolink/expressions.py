"""Pricing expressions: trees of operations that are typed and bounded when they are read.

A tree is checked once: every operation, its number of arguments, the kind of every value and the
size that every intermediate number can reach. What is compiled from it cannot fail but for the
values it is given: a division by zero, a lookup without an entry.

The operations and their limits are those of the provider's own client (evolink-cli,
`pricing-rules-client.js` and `pricing-rules-estimate.js`, read 2026-11-23).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, cast

from ledger.evolink.compiling import compiled
from ledger.evolink.nodes import (
    OPERATIONS,
    Apply,
    Constant,
    Expression,
    Lookup,
    Variable,
    kind_of,
    variables_of,
)
from ledger.evolink.values import (
    MAX_CHARACTERS,
    Kind,
    NoResult,
    Number,
    Value,
    clip,
    converted,
    looks_numeric,
    number,
    reduced,
)

__all__ = [
    "MAX_BITS",
    "MAX_DEPTH",
    "MAX_NODES",
    "Apply",
    "Constant",
    "Declared",
    "Expression",
    "Kind",
    "Lookup",
    "NoResult",
    "Number",
    "Scope",
    "Value",
    "Variable",
    "compiled",
    "kind_of",
    "parse",
    "simplified",
    "variables_of",
]

MAX_DEPTH: Final = 32
"""Deepest node below the root of an expression."""
MAX_NODES: Final = 10_000
"""Most nodes in all the expressions of one model."""
MAX_NAME: Final = 100
"""Longest name of a variable, and longest key and most entries of a lookup."""
MAX_DECIMAL: Final = 64
"""Longest decimal of a document, but for constants."""
MAX_BITS: Final = 8192
"""Largest numerator or denominator that an expression may be able to produce."""

_INPUT_BITS: Final = (10**MAX_CHARACTERS).bit_length()
"""Bits of a numerator or denominator with as many digits as a value may have."""


class Declared(NamedTuple):
    """What is known of a variable before it has a value."""

    kind: Kind
    numbers: tuple[Number, ...] | None = None
    """The values of an enumeration of numbers, which may be read as a number, too."""
    is_whole: bool = False
    """Whether the number is an integer."""


def simplified(expression: Expression, known: Mapping[str, Value]) -> Expression:
    """The expression with known variables replaced and constants folded.

    It has the same value for all values of the variables that are left, and fails for the same
    ones: a part that can only fail is left as it is.

    >>> scope = Scope({"x": Declared("number"), "quality": Declared("text")})
    >>> tree = {"op": "multiply", "args": [{"op": "variable", "name": "x"}, {"op": "lookup",
    ...     "key": {"op": "variable", "name": "quality"}, "values": {"720p": "1", "1080p": "1.6"}}]}
    >>> simplified(parse(tree, scope=scope), {"quality": "1080p"})
    Apply(op='multiply', args=(Variable(name='x', kind='number'), Constant(value=(8, 5))))
    """
    if isinstance(expression, Constant):
        return expression
    if isinstance(expression, Variable):
        if expression.name not in known:
            return expression
        return Constant(converted(known[expression.name], expression.kind))
    if isinstance(expression, Lookup):
        key = simplified(expression.key, known)
        return _folded(Lookup(key, expression.values), [key])
    args = [simplified(arg, known) for arg in expression.args]
    if expression.op == "if" and isinstance(args[0], Constant):
        return args[1] if args[0].value else args[2]
    if expression.op in {"and", "or"}:
        return _shortened(expression.op, args)
    return _folded(Apply(expression.op, tuple(args)), args)


def _folded(expression: Expression, parts: Sequence[Expression]) -> Expression:
    if not all(isinstance(part, Constant) for part in parts):
        return expression
    try:
        value = compiled(expression)({})
    except NoResult:
        return expression
    return Constant(reduced(value) if isinstance(value, tuple) else value)


def _shortened(op: str, args: Sequence[Expression]) -> Expression:
    """`and` and `or` without what decides nothing, up to what decides everything."""
    left: list[Expression] = []
    for arg in args:
        if isinstance(arg, Constant):
            if arg.value is (op == "and"):
                continue
            left.append(arg)
            break
        left.append(arg)
    if not left:
        return Constant(op == "and")
    return left[0] if len(left) == 1 else Apply(op, tuple(left))


_LEAVES: Final[Mapping[str, tuple[str, ...]]] = {
    "constant": ("value",),
    "variable": ("name",),
    "lookup": ("key", "values"),
}


class Scope:
    """What the expressions of one model may read, and what reading them has found so far.

    Args:
        declared: the variables by name.
        is_open: whether others may be read, too; they are then kept in `undeclared`.
        report: is told the path and the problem of every fault; where there is none, a fault is a
            `ValueError`.
    """

    __slots__ = ("_report", "declared", "is_open", "nodes", "undeclared")

    def __init__(
        self,
        declared: Mapping[str, Declared],
        *,
        is_open: bool = False,
        report: Callable[[str, str], None] | None = None,
    ) -> None:
        self.declared, self.is_open, self._report = declared, is_open, report
        self.nodes = 0
        self.undeclared: dict[str, set[Kind]] = {}

    def report(self, path: str, problem: str) -> None:
        """Take note of a fault."""
        if self._report is None:
            raise ValueError(f"{path}: {problem}" if path else problem)
        self._report(path, problem)


class _Node(NamedTuple):
    """An expression that was read, and what is known of its value."""

    expression: Expression
    kind: Kind | None
    """None after a fault: it fits everywhere, so that one fault is reported once."""
    bits: tuple[int, int] = (0, 0)
    """Powers of two that the numerator and the denominator cannot exceed."""
    constant: Value | None = None
    """The value, where no variable has a say."""


_FAULTY = _Node(Constant((1, 1)), None)


def parse(json: object, *, scope: Scope, path: str = "", wanted: Kind = "number") -> Expression:
    """The expression that a JSON value says, checked; every fault goes to the scope.

    Where there were faults, what is returned stands for nothing and must not be evaluated.
    """
    return _read(json, scope, _Place(path, wanted)).expression


class _Place(NamedTuple):
    """Where a node stands, and what is wanted of it."""

    path: str
    wanted: Kind
    depth: int = 0

    def below(self, step: str, wanted: Kind) -> _Place:
        return _Place(f"{self.path}.{step}", wanted, self.depth + 1)


def _read(json: object, scope: Scope, at: _Place) -> _Node:
    scope.nodes += 1
    # Stop at the first node too many, so that a huge tree is not walked to its end.
    if scope.nodes > MAX_NODES:
        if scope.nodes == MAX_NODES + 1:
            scope.report(at.path, f"the model has more than {MAX_NODES} nodes in its expressions")
        return _FAULTY
    problem = _shape(json, at.depth)
    if problem:
        scope.report(at.path, problem)
        return _FAULTY
    node = cast("dict[str, object]", json)
    op = cast("str", node["op"])
    found: _Node | str
    if op == "constant":
        found = _constant(node["value"], at.wanted)
    elif op == "variable":
        found = _variable(node["name"], scope, at.wanted)
    elif op == "lookup":
        found = _lookup(node, scope, at)
    else:
        found = _apply(op, cast("list[object]", node["args"]), scope, at)
    if isinstance(found, str):
        scope.report(at.path, found)
        return _FAULTY
    problem = _unfit(found, at.wanted)
    if problem:
        scope.report(at.path, problem)
        return _FAULTY
    return found


def _shape(json: object, depth: int) -> str:
    """What is wrong with the outside of a node, or nothing."""
    if not isinstance(json, dict):
        return "must be an object with `op`"
    if depth > MAX_DEPTH:
        return f"is deeper than {MAX_DEPTH} levels"
    op = json.get("op")
    if not isinstance(op, str) or (op not in _LEAVES and op not in OPERATIONS):
        return f"unknown operation {clip(op)}" if "op" in json else "must have `op`"
    needed = _LEAVES.get(op, ("args",))
    for key in needed:
        if key not in json:
            return f"{op} must have `{key}`"
    args = json.get("args", [])
    if not isinstance(args, list):
        return "`args` must be a list"
    if op in _LEAVES:
        if args:
            return f"{op} takes no arguments, not {len(args)}"
    elif not OPERATIONS[op].fewest <= len(args) <= OPERATIONS[op].most:
        fewest, most, *_ = OPERATIONS[op]
        takes = f"{fewest}" if fewest == most else f"{fewest} to {most}"
        return f"{op} takes {takes} arguments, not {len(args)}"
    for key in json:
        if key not in needed and key not in {"op", "args"}:
            return f"{op} has the unknown key {clip(key)}"
    return ""


_WORDS: Final[Mapping[Kind | None, str]] = {
    "number": "a number",
    "boolean": "true or false",
    "text": "a text",
    "any": "a number or a text",
}


def _unfit(node: _Node, wanted: Kind) -> str:
    """Why a node cannot stand where it stands, or nothing."""
    if max(node.bits) > MAX_BITS:
        return f"can make a number of more than {MAX_BITS} bits"
    if wanted in {"number", "boolean"} and node.kind not in {wanted, None}:
        return f"must be {_WORDS[wanted]}, and is {_WORDS[node.kind]}"
    return ""


def _constant(value: object, wanted: Kind) -> _Node | str:
    if not isinstance(value, str) or len(value) > MAX_CHARACTERS:
        return f"a constant must be a text of at most {MAX_CHARACTERS} characters"
    if wanted == "number":
        if not looks_numeric(value):
            return f"must be a number, not {clip(value)}"
        found = number(value)
        return _Node(Constant(found), "number", _bits(found), found)
    # The key of a lookup is a text in any case.
    if value in {"true", "false"} and wanted != "text":
        return _Node(Constant(value == "true"), "boolean", constant=value == "true")
    return _Node(Constant(value), "text", constant=value)


def _bits(value: Number) -> tuple[int, int]:
    """The smallest powers of two that the numerator and the denominator do not exceed."""
    return max(abs(value[0]) - 1, 0).bit_length(), (value[1] - 1).bit_length()


def _variable(name: object, scope: Scope, wanted: Kind) -> _Node | str:
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not name.isprintable():
        return f"the name of a variable must be a text of 1 to {MAX_NAME} characters"
    declared = scope.declared.get(name)
    bits = (_INPUT_BITS, _INPUT_BITS)
    if declared is None:
        if not scope.is_open:
            return f"reads the undeclared variable {clip(name)}"
        kind: Kind = "any" if wanted == "text" else wanted
        scope.undeclared.setdefault(name, set()).add(kind)
        return _Node(Variable(name, kind), kind, bits)
    if declared.kind == "number":
        return _Node(
            Variable(name, "number"), "number", (bits[0], 0 if declared.is_whole else bits[1])
        )
    if wanted == "number" and declared.numbers is not None:
        sizes = [_bits(value) for value in declared.numbers]
        most = (max(up for up, _ in sizes), max(down for _, down in sizes))
        return _Node(Variable(name, "number"), "number", most)
    return _Node(Variable(name, declared.kind), declared.kind)


def _lookup(node: Mapping[str, object], scope: Scope, at: _Place) -> _Node | str:
    key = _read(node["key"], scope, at.below("key", "text"))
    entries = node["values"]
    if not isinstance(entries, dict) or not 0 < len(entries) <= MAX_NAME:
        return f"the values of a lookup must be an object with 1 to {MAX_NAME} entries"
    values: dict[str, Number] = {}
    for text, value in entries.items():
        if not 0 < len(text) <= MAX_NAME or not text.isprintable():
            return f"a key of a lookup must be a text of 1 to {MAX_NAME} characters"
        if not isinstance(value, str) or len(value) > MAX_DECIMAL or not looks_numeric(value):
            return (
                f"the value for {clip(text)} must be a decimal of at most {MAX_DECIMAL} characters"
            )
        values[text] = number(value)
    bits = [_bits(value) for value in values.values()]
    most = (max(up for up, _ in bits), max(down for _, down in bits))
    return _checked(_Node(Lookup(key.expression, values), "number", most), [key])


def _apply(op: str, args: Sequence[object], scope: Scope, at: _Place) -> _Node | str:
    operation = OPERATIONS[op]
    takes: list[Kind] = [operation.takes] * len(args)
    if op == "if":
        takes = ["boolean", at.wanted, at.wanted]
    parts = [
        _read(arg, scope, at.below(f"args[{index}]", kind))
        for index, (arg, kind) in enumerate(zip(args, takes, strict=True))
    ]
    if any(part.kind is None for part in parts):
        return _FAULTY
    kind = operation.gives
    if op == "if":
        kinds = {part.kind for part in parts[1:]}
        # As the key of a lookup every value has its text; compared, it would depend on the branch.
        if "boolean" in kinds and len(kinds) > 1 and at.wanted != "text":
            return "if mixes true or false with another kind of value"
        kind = (parts[1].kind if len(kinds) == 1 else None) or "any"
    elif op in {"eq", "neq"}:
        found = _alike(parts, scope)
        if found is None:
            return f"{op} mixes true or false with another kind of value"
        parts = found
    expression = Apply(op, tuple(part.expression for part in parts))
    return _checked(_Node(expression, kind, _size(op, parts)), parts)


def _alike(parts: list[_Node], scope: Scope) -> list[_Node] | None:
    """Both sides of an equation as the kind they are compared as, or None where there is none."""
    kinds = {part.kind for part in parts}
    if len(kinds) == 1 or not kinds & {"boolean", "number"}:
        return parts
    if "boolean" in kinds:
        return _as_booleans(parts, scope)
    return [_as_number(part) for part in parts]


def _as_booleans(parts: Sequence[_Node], scope: Scope) -> list[_Node] | None:
    """Both sides as booleans, where the other one is a variable of a kind that nobody declared."""
    found = []
    for part in parts:
        side = part.expression
        if part.kind == "boolean":
            found.append(part)
        elif isinstance(side, Variable) and side.name in scope.undeclared:
            scope.undeclared[side.name].add("boolean")
            found.append(_Node(Variable(side.name, "boolean"), "boolean"))
        else:
            return None
    return found


def _as_number(part: _Node) -> _Node:
    """A constant that says a number as that number."""
    if isinstance(part.constant, str) and looks_numeric(part.constant):
        found = number(part.constant)
        return _Node(Constant(found), "number", _bits(found), found)
    return part


def _checked(node: _Node, parts: Sequence[_Node]) -> _Node | str:
    """The node with its value where all its parts are constant; one must exist."""
    constants = [part.constant for part in parts if part.constant is not None]
    if len(constants) < len(parts) or max(node.bits) > MAX_BITS:
        return node
    folded = [Constant(value) for value in constants]
    expression = node.expression
    if isinstance(expression, Lookup):
        expression = Lookup(folded[0], expression.values)
    elif isinstance(expression, Apply):
        expression = Apply(expression.op, tuple(folded))
    try:
        return node._replace(constant=compiled(expression)({}))
    except NoResult as error:
        return f"never has a value: {error}"


def _size(op: str, parts: Sequence[_Node]) -> tuple[int, int]:
    """Bits of the numerator and the denominator of a result.

    The products that a comparison makes on its way are at most twice as large.
    """
    if OPERATIONS[op].gives == "boolean":
        return 0, 0
    ups, downs = zip(*(part.bits for part in (parts[1:] if op == "if" else parts)), strict=True)
    if op in {"ceil", "floor"}:
        return ups[0], 0
    if op in {"add", "subtract"}:
        most = max(up - down for up, down in zip(ups, downs, strict=True))
        return most + sum(downs) + (len(parts) - 1).bit_length(), sum(downs)
    if op == "multiply":
        return sum(ups), sum(downs)
    if op == "divide":
        return ups[0] + downs[1], downs[0] + ups[1]
    return max(ups), max(downs)

"""The public names exist, are sorted, documented and fully annotated."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import pytest
from pydantic import BaseModel

import ledger

PARTS = sorted(
    item.name for item in iter_modules(ledger.__path__, "ledger.") if item.name != "ledger.__main__"
)
MODULES = ["ledger", *PARTS]


def test_every_public_name_exists_and_is_listed() -> None:
    for name in ledger.__all__:
        assert getattr(ledger, name) is not None
    assert dir(ledger) == sorted(ledger.__all__)


def test_the_public_names_are_sorted_and_told_once() -> None:
    assert ledger.__all__ == sorted(set(ledger.__all__))


def test_a_name_that_is_not_public_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Leger'"):
        _ = ledger.Leger
    assert not hasattr(ledger, "nothing")


@pytest.mark.parametrize("module", PARTS)
def test_every_part_says_what_it_is_for_and_what_it_gives(module: str) -> None:
    part = import_module(module)
    assert inspect.getdoc(part), module
    for name in getattr(part, "__all__", ()):
        assert hasattr(part, name), f"{module}.{name}"


def own_members(kind: type[Any]) -> Iterator[tuple[str, Any]]:
    """Public methods and properties that the library itself wrote, inherited ones included."""
    for base in kind.__mro__:
        if not base.__module__.startswith("ledger"):
            continue
        for name, member in vars(base).items():
            if name.startswith("_") or (issubclass(base, BaseModel) and name == "model_config"):
                continue
            if isinstance(member, (classmethod, staticmethod)):
                yield f"{base.__name__}.{name}", member.__func__
            elif isinstance(member, property) and member.fget is not None:
                yield f"{base.__name__}.{name}", member.fget
            elif isinstance(member, cached_property):
                yield f"{base.__name__}.{name}", member.func
            elif inspect.isfunction(member):
                yield f"{base.__name__}.{name}", member


def _is_ours(value: Callable[..., Any]) -> bool:
    return value.__module__.startswith("ledger")


def public_callables() -> Iterator[tuple[str, Callable[..., Any]]]:
    """Public functions, and the methods and properties of public classes, each once."""
    seen: dict[str, Callable[..., Any]] = {}
    for module in MODULES:
        part = import_module(module)
        for name in getattr(part, "__all__", ()):
            value = getattr(part, name)
            if inspect.isclass(value):
                seen.update(own_members(value))
                if inspect.isfunction(value.__init__) and _is_ours(value.__init__):
                    seen[f"{name}.__init__"] = value.__init__
            elif inspect.isfunction(value):
                seen[name] = value
    yield from seen.items()


CALLABLES = dict(public_callables())


def test_there_is_something_to_check() -> None:
    assert {"PriceSource.quote", "Quote.notes", "PriceBook.bundled", "credits_to_e8"} <= set(
        CALLABLES
    )


@pytest.mark.parametrize("name", sorted(ledger.__all__))
def test_every_public_name_has_a_docstring_of_its_own(name: str) -> None:
    value = getattr(ledger, name)
    assert value.__doc__
    # A dataclass or named tuple without a docstring gets its signature as one.
    assert not value.__doc__.startswith(f"{name}(")


@pytest.mark.parametrize("name", sorted(name for name in CALLABLES if "__init__" not in name))
def test_every_public_method_says_what_it_does(name: str) -> None:
    text = CALLABLES[name].__doc__
    assert text
    first = text.strip().splitlines()[0]
    assert re.search(r"[.:?]$", first), first


@pytest.mark.parametrize("name", sorted(CALLABLES))
def test_every_public_callable_is_annotated_in_full(name: str) -> None:
    signature = inspect.signature(CALLABLES[name])
    bare = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.annotation is parameter.empty and parameter.name not in {"self", "cls"}
    ]
    assert bare == []
    assert signature.return_annotation is not signature.empty


def test_every_field_of_a_public_class_is_described() -> None:
    for name in ledger.__all__:
        kind = getattr(ledger, name)
        if inspect.isclass(kind) and issubclass(kind, BaseModel):
            for field, info in kind.model_fields.items():
                assert info.description, f"{name}.{field}"

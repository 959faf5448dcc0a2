"""Two price sources that are asked the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from ledger.errors import (
    CannotPrice,
    Fault,
    InvalidInput,
    LedgerError,
    NoPriceInForce,
    UnknownModel,
)
from ledger.impacts.effects import Split, Splitter
from ledger.pricing import Charge, PriceSource

__all__ = ["Pair"]

T = TypeVar("T")


class Pair:
    """Two price sources, and the differences between them that were met so far."""

    def __init__(self, first: PriceSource, second: PriceSource) -> None:
        self.first, self.second = first, second
        self._splitter = Splitter()
        self._models: dict[str, str] = {}

    def ask(self, question: Callable[[PriceSource], T]) -> tuple[T, T] | str:
        """The answers of both, or why one of them has none."""
        answers: list[T] = []
        reasons: list[str] = []
        said: list[str] = []
        for source in (self.first, self.second):
            try:
                answers.append(question(source))
            except (CannotPrice, InvalidInput) as error:
                reasons.append(_brief(error))
                said.append(f"{source.name}: {reasons[-1]}")
        if not reasons:
            first, second = answers
            return first, second
        return reasons[0] if len(set(reasons)) < len(reasons) else "; ".join(said)

    def split(self, first: Charge, second: Charge) -> Split:
        """The difference of one job's two charges, split into its effects."""
        return self._splitter.split(first, second)

    def model(self, name: str | None) -> str | None:
        """The id of a model by id or short name; as it is written where neither knows it."""
        if name is None:
            return None
        found = self._models.get(name)
        if found is None:
            found = self._models[name] = self._model(name)
        return found

    def _model(self, name: str) -> str:
        for source in (self.first, self.second):
            try:
                return source.model(name)
            except UnknownModel:
                continue
        return name


def _brief(error: LedgerError) -> str:
    """What is wrong, without what differs from job to job or is said beside it."""
    if isinstance(error, UnknownModel):
        hint = f"; did you mean {' or '.join(error.nearest)}?" if error.nearest else ""
        return f"unknown model {error.model!r}{hint}"
    if isinstance(error, NoPriceInForce):
        return f"{error.model}: no price before {error.first}"
    faults: Sequence[Fault] = getattr(error, "faults", ())
    return "; ".join(map(str, faults)) if faults else str(error)

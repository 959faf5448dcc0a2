"""How the times of a statement are written, by the times themselves."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from itertools import product
from typing import Final, NamedTuple

import polars as pl

from ledger.statements.amounts import WIDE, Unreadable, clip
from ledger.statements.moments import Clock

__all__ = ["FormAnswer", "FormGuess"]

_SAMPLE: Final = 500
"""Distinct times that are looked at one by one."""
_EPOCHS: Final = (
    ("seconds", re.compile(r"[0-9]{9,10}(?:\.[0-9]+)?", re.ASCII)),
    ("milliseconds", re.compile(r"[0-9]{12,13}", re.ASCII)),
    ("microseconds", re.compile(r"[0-9]{15,16}", re.ASCII)),
)
_EXCEL: Final = re.compile(r"[3-6][0-9]{4}(?:\.[0-9]+)?", re.ASCII)
_PLAIN_DAYS: Final = (
    *("%Y/%m/%d", "%Y.%m.%d", "%Y-%m-%d", "%Y年%m月%d日"),
    *("%d %b %Y", "%d-%b-%Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y"),
)
_TWOFOLD_DAYS: Final = tuple(
    order.replace("/", mark)
    for mark in "/-."
    for order in ("%d/%m/%Y", "%m/%d/%Y", "%d/%m/%y", "%m/%d/%y", "%y/%m/%d")
)
_HOURS: Final = (
    "",
    " %H:%M:%S",
    " %H:%M",
    " %H:%M:%S.%f",
    " %I:%M:%S %p",
    " %I:%M %p",
    "T%H:%M:%S",
)
_PATTERNS: Final = tuple(
    day + hour for day, hour in product((*_PLAIN_DAYS, *_TWOFOLD_DAYS), _HOURS)
)


class FormAnswer(NamedTuple):
    """How times are written, or why that cannot be said."""

    forms: tuple[str, ...]
    problem: str | None
    assumed: tuple[str, ...]
    without_zone: str | None
    example: str


@dataclass
class _Alike:
    """Times that one form reads, and the forms that read all of them."""

    example: str
    forms: list[str]


@dataclass
class FormGuess:
    """Learns from times how they are written."""

    is_sheet: bool = False
    """Whether dates may be cells of a type of their own, which come as ISO."""
    groups: list[_Alike] = field(default_factory=list)
    unread: str | None = None
    without_zone: str | None = None

    @property
    def undecided(self) -> bool:
        """Whether more lines could decide what these do not."""
        return any(len(group.forms) > 1 for group in self.groups)

    def look(self, texts: pl.Series, *, first: bool) -> None:
        """Learn from some times; after the first lines, only from what their days decide."""
        if first:
            for text in texts.drop_nulls().unique(maintain_order=True).head(_SAMPLE):
                self._learn(text.translate(WIDE).strip())
        for group in self.groups:
            if len(group.forms) > 1:
                self._narrow(group, texts)

    def _learn(self, text: str) -> None:
        for group in self.groups:
            if alive := [form for form in group.forms if _reads(form, text)]:
                group.forms = alive
                self._note_zone(alive[0], text)
                return
        found = _forms_of(text)
        if not found:
            self.unread = self.unread or text
            return
        self.groups.append(_Alike(text, found))
        self._note_zone(found[0], text)

    def _note_zone(self, form: str, text: str) -> None:
        has_zone = form in {name for name, _ in _EPOCHS}
        if form == "iso":
            has_zone = datetime.fromisoformat(text).tzinfo is not None
        if not has_zone:
            self.without_zone = self.without_zone or text

    def _narrow(self, group: _Alike, texts: pl.Series) -> None:
        """Look at the days alone, which are few, for one that only one order fits."""
        days = {form: re.split(r"[ T]", form)[0] for form in group.forms}
        shape = re.sub(r"[0-9]+", r"[0-9]+", re.escape(re.split(r"[ T]", group.example)[0]))
        parts = texts.str.extract(rf"^({shape})(?:[ T]|$)").drop_nulls().unique()
        for day in parts:
            alive = [form for form in group.forms if _reads(days[form], day)]
            if alive and len(alive) < len(group.forms):
                group.forms = alive
                if len(alive) == 1:
                    return

    def answer(self) -> FormAnswer:
        """What was learnt."""
        example = self.groups[0].example if self.groups else ""
        assumed: list[str] = []
        chosen: list[str] = []
        for group in self.groups:
            forms = group.forms
            if len(forms) > 1 and "." in forms[0] and forms[0].startswith("%d.%m."):
                assumed.append(f"{group.example!r} has the day first, as dates with points do")
                forms = forms[:1]
            if len(forms) > 1:
                listed = " or ".join(f'"{form}"' for form in forms)
                problem = f"{group.example!r} can be read as {listed}, and so can all others"
                return FormAnswer((), problem, (), self.without_zone, example)
            if forms[0] == "excel":
                assumed.append(f"{group.example!r} counts days as a sheet does, from 1900")
            chosen.append(forms[0])
        if self.unread is not None:
            said = f"{clip(self.unread)} is written in no way that is known"
            if not chosen:
                return FormAnswer((), f"{said}; give its pattern", (), None, example)
            assumed.append(f"{said}; such lines are rejected")
        orders = {_order(form) for form in chosen} - {None}
        if len(orders) > 1:
            listed = " and others as ".join(f'"{form}"' for form in chosen if _order(form))
            problem = f"some times read only as {listed}; one order is wrong"
            return FormAnswer((), problem, (), self.without_zone, example)
        return FormAnswer(tuple(chosen), None, tuple(assumed), self.without_zone, example)


def _order(form: str) -> str | None:
    """The order of day, month and year in a pattern that has only digits."""
    if form.startswith("%") and re.match(r"%[dmy][/.-]%[dmy][/.-]%[Yyd]", form):
        return "".join(re.findall(r"%([dmYy])", form)[:3]).lower()
    return None


def _forms_of(text: str) -> list[str]:
    """All forms that read a time."""
    if _reads("iso", text):
        return ["iso"]
    for name, shape in _EPOCHS:
        if shape.fullmatch(text) and _reads(name, text):
            return [name]
    if _EXCEL.fullmatch(text):
        return ["excel"]
    return _told_apart([form for form in _PATTERNS if _reads(form, text)])


def _told_apart(forms: list[str]) -> list[str]:
    """Without those that read a text as another of them does, such as %B beside %b in May."""
    return [form for form in forms if "%B" not in form] or forms


def _reads(form: str, text: str) -> bool:
    try:
        # In a zone without summer time, and such that an overlap is nobody's question here.
        Clock((form,), "UTC").parse(text)
    except Unreadable:
        return False
    return True

"""What the rows of a report are about: models, labels, days; any of them, one or several."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from decimal import Decimal
from difflib import get_close_matches
from itertools import pairwise
from typing import Any, cast

import polars as pl

from ledger.errors import Fault, InvalidEntry
from ledger.reports.columns import SECOND_E9
from ledger.spans import STEPS, Span, Step, step_of
from ledger.units import divide

__all__ = [
    "NAMED",
    "checked",
    "dimensioned",
    "hold_fields_of",
    "is_label",
    "label_of",
    "of_steps",
    "steps_of",
    "unknown_labels",
]

NAMED: Mapping[str, str] = {
    "wallet": "wallet",
    "model": "model",
    "quality": "quality",
    "orientation": "orientation",
    "version": "version",
    "channel": "channel",
    "policy": "policy",
    "kind": "kind",
    "contra": "contra",
    "job": "job",
    "length": "length",
    **{step: step for step in STEPS},
}
"""Dimensions that are no labels, and how people read them."""

_PRICE = {
    "model": "model",
    "quality": "quality",
    "orientation": "character_orientation",
    "version": "version",
    "channel": "channel",
}
"""Dimensions that come from the price a hold keeps."""

_LABEL = "label."
_MOST_NAMED = 12


def checked(by: Iterable[str] | str, known: Collection[str] = tuple(NAMED)) -> tuple[str, ...]:
    """The dimensions that were asked for; whatever is no name of one is the name of a label.

    `label.model` is the label of that name, where `model` is the model. A report may know names of
    its own besides those of `NAMED`.

    Raises:
        InvalidEntry: none is named, one is named twice, or a report has no such dimension.

    >>> checked("model,day"), checked(["team"]), checked("label.model")
    (('model', 'day'), ('label.team',), ('label.model',))
    """
    parts = [by] if isinstance(by, str) else list(by)
    names = [name.strip() for part in parts for name in part.split(",")]
    found = tuple(
        name if name in {*NAMED, *known} or name.startswith(_LABEL) else _LABEL + name
        for name in names
    )
    problem = None
    if not all(name.removeprefix(_LABEL) for name in found):
        problem = "names nothing; name a dimension such as model, day, or a label such as team"
    elif len(set(found)) < len(found):
        problem = "names one of them twice"
    elif unfit := [name for name in found if name in NAMED and name not in known]:
        fitting = ", ".join(sorted(known))
        problem = f"{unfit[0]} says nothing here; known are {fitting}, and the names of labels"
    if problem is not None:
        raise InvalidEntry("by", [Fault("", problem)])
    return found


def is_label(name: str) -> bool:
    """Whether a dimension is a label."""
    return name.startswith(_LABEL)


def label_of(name: str) -> str:
    """How people read a dimension: a label by its own name, unless that means something else."""
    own = name.removeprefix(_LABEL)
    return name if is_label(name) and own in NAMED else own


def dimensioned(facts: pl.DataFrame, by: Sequence[str], span: Span) -> pl.DataFrame:
    """Facts with the columns that their rows are grouped by.

    Args:
        facts: with `at_us` for times, `labels` for labels, `terms` for what a price says, and
            `seconds_e9` for lengths; and `wallet`, `kind`, `contra`, `policy`, `job` as they are.
        by: dimensions, checked.
        span: in whose time zone hours, days, weeks and months are.
    """
    prices = [name for name in by if name in _PRICE and name not in facts.columns]
    if prices:
        facts = _looked_up(facts, "terms", {name: _price(name) for name in prices})
    labels = [name for name in by if is_label(name)]
    if labels:
        facts = _looked_up(facts, "labels", {name: _label(name) for name in labels})
    for name in by:
        if name in STEPS:
            facts = facts.with_columns(
                _step(facts["at_us"], cast("Step", name), span.timezone).alias(name)
            )
    if "length" in by:
        facts = facts.with_columns(_length(facts["seconds_e9"]))
    return facts


def unknown_labels(facts: pl.DataFrame, by: Iterable[str]) -> tuple[str, ...]:
    """What is to be said of labels that no job has; a misspelt dimension looks like one.

    Args:
        facts: with the columns of their dimensions.
        by: dimensions, checked.
    """
    return tuple(
        _unknown(facts, name.removeprefix(_LABEL))
        for name in by
        if is_label(name) and not facts.is_empty() and facts[name].null_count() == facts.height
    )


def _unknown(facts: pl.DataFrame, name: str) -> str:
    labels = facts["labels"].unique().drop_nulls() if "labels" in facts.columns else ()
    known = sorted({label for text in labels for label in json.loads(text)})
    near = get_close_matches(name, [*NAMED, *known], n=1)
    listed = ", ".join(map(repr, known[:_MOST_NAMED]))
    hint = f"did you mean {near[0]}?" if near else f"jobs have {listed}" if known else ""
    return f"no job here has a label {name!r}" + (f"; {hint}" if hint else "")


def hold_fields_of(by: Iterable[str]) -> tuple[str, ...]:
    """The columns of holds that dimensions are read from.

    >>> hold_fields_of(["day", "quality", "label.team"])
    ('labels', 'terms')
    """
    fields = {_field_of(name) for name in by}
    return tuple(sorted(field for field in fields if field is not None))


def _field_of(name: str) -> str | None:
    if is_label(name):
        return "labels"
    return "terms" if name in _PRICE else "policy" if name == "policy" else None


def _looked_up(
    facts: pl.DataFrame, column: str, read: Mapping[str, Callable[[dict[str, Any]], str | None]]
) -> pl.DataFrame:
    """Columns read from a JSON text, each distinct text once."""
    texts = facts[column].unique().drop_nulls()
    values = [json.loads(text) for text in texts]
    found = {name: [get(value) for value in values] for name, get in read.items()}
    schema = dict.fromkeys(found, pl.String)
    table = pl.DataFrame({column: texts, **found}, schema={column: texts.dtype, **schema})
    return facts.join(table, on=column, how="left", maintain_order="left")


def _price(name: str) -> Callable[[dict[str, Any]], str | None]:
    return lambda terms: terms.get("price", {}).get(_PRICE[name])


def _label(name: str) -> Callable[[dict[str, Any]], str | None]:
    return lambda labels: labels.get(name.removeprefix(_LABEL))


def steps_of(at_us: pl.Series, step: Step, timezone: str) -> list[Span]:
    """The hours, days, weeks or months that some moments are in, in order.

    Those in which nothing happened are left out: a span may be as wide as the calendar.
    """
    known = at_us.drop_nulls().unique().sort().to_list()
    found: list[Span] = []
    place = 0
    while place < len(known):
        found.append(step_of(known[place], step, timezone))
        place = bisect_left(known, found[-1].end_us, place)
    return found


def of_steps(
    at_us: pl.Series,
    step: Step,
    timezone: str,
    say: Callable[[Span], Any],
    dtype: type[pl.DataType],
) -> pl.Series:
    """What is said of the step that each moment is in; nothing where there is no moment."""
    found = steps_of(at_us, step, timezone)
    starts = pl.Series([each.start_us for each in found], dtype=pl.Int64)
    places = starts.search_sorted(at_us, side="right").cast(pl.Int64) - 1
    said = pl.Series([say(each) for each in found], dtype=dtype)
    return said.gather(places.set(at_us.is_null(), None))


def _step(at_us: pl.Series, step: Step, timezone: str) -> pl.Series:
    return of_steps(at_us, step, timezone, lambda found: found.name, pl.String)


_LENGTHS = (5, 10, 15, 20, 30)


def _length(seconds_e9: pl.Series) -> pl.Series:
    """Lengths in stretches of seconds, so named that they stand in their order."""
    names = pl.Series([f"{before:02d}-{last:02d} s" for before, last in pairwise((0, *_LENGTHS))])
    names = names.append(pl.Series([f"> {_LENGTHS[-1]} s"]))
    ends = pl.Series([last * SECOND_E9 for last in _LENGTHS])
    return (
        names.gather(ends.search_sorted(seconds_e9, side="left"))
        .set(seconds_e9.is_null(), None)
        .alias("length")
    )


def read_seconds(texts: pl.Series) -> pl.Series:
    """Lengths in units of 10^-9 s, half up; each distinct text is read once."""
    distinct = texts.unique().drop_nulls()
    read = [_seconds_e9(text) for text in distinct]
    table = pl.DataFrame({"text": distinct, "e9": read}, schema={"text": pl.String, "e9": pl.Int64})
    frame = texts.alias("text").to_frame().join(table, on="text", how="left", maintain_order="left")
    return frame["e9"]


def _seconds_e9(text: str) -> int:
    numerator, denominator = Decimal(text).as_integer_ratio()
    return divide(numerator * SECOND_E9, denominator, "half_up")

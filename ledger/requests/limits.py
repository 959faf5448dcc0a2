"""What the provider takes: published limits as data, and the one check of a request against them.

The numbers live in the price files. The kinds of rule are here. Every fault of a request is
found, not only the first.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import cached_property, reduce
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, PositiveInt

from ledger.errors import Fault
from ledger.requests.bodies import Shot
from ledger.units import EXACT, STRICT, Day, ExactDecimal, plain

__all__ = ["ClipLimits", "Limits", "Together", "callback_problem", "faults"]


Name = Annotated[str, Field(pattern=r"^[a-z_]+$")]
Between = tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]]


class ClipLimits(BaseModel):
    """What a clip that is handed in must be like."""

    model_config = STRICT

    formats: tuple[str, ...]
    """Accepted containers: mp4, mov, webm."""
    most_bytes: PositiveInt | None = None
    """Largest file. A published 100 MB is read as 100,000,000 bytes, the stricter reading."""
    shortest_seconds: ExactDecimal | None = None
    """Shortest clip."""
    longest_seconds: ExactDecimal | None = None
    """Longest clip."""
    smallest_side: PositiveInt | None = None
    """Fewest pixels of either side."""
    largest_side: PositiveInt | None = None
    """Most pixels of either side."""
    fewest_frames_per_second: ExactDecimal | None = None
    """Lowest frame rate."""
    most_frames_per_second: ExactDecimal | None = None
    """Highest frame rate."""
    source: str | None = None
    """Where these limits were read, when not where the others were."""


class Together(BaseModel):
    """Several lists that share one limit."""

    model_config = STRICT

    fields: tuple[Name, ...]
    """The lists."""
    most: PositiveInt
    """Most items of all of them together."""


class Limits(BaseModel):
    """The published limits of one model's requests."""

    model_config = STRICT

    source: Annotated[str, Field(min_length=1)]
    """Where the limits were read."""
    checked: Day
    """Day someone last compared them with the source."""
    required: tuple[Name, ...] = ()
    """Fields that a complete request must have."""
    not_taken: tuple[Name, ...] = ()
    """Fields of the family's body that this model does not take."""
    characters: dict[str, PositiveInt] = Field(default_factory=dict)
    """Most characters of a text."""
    items: dict[str, Between] = Field(default_factory=dict)
    """Fewest and most items of a list."""
    values: dict[Name, tuple[str, ...]] = Field(default_factory=dict)
    """Values that an option may have."""
    numbers: dict[Name, Between] = Field(default_factory=dict)
    """Smallest and largest value of a whole number."""
    only_with: dict[Name, dict[Name, str]] = Field(default_factory=dict)
    """A field that may be given only together with a value of another field."""
    needed_with: dict[Name, dict[Name, str]] = Field(default_factory=dict)
    """A field that must be given in a complete request with a value of another field."""
    together: tuple[Together, ...] = ()
    """Lists that share one limit."""
    clip: ClipLimits | None = None
    """What the reference clip must be like."""

    @cached_property
    def rules(self) -> Mapping[str, tuple[Rule, ...]]:
        """The rules of each field, prepared once."""
        rules: dict[str, list[Rule]] = {name: [_not_taken] for name in self.not_taken}

        def add(name: str, rule: Rule) -> None:
            rules.setdefault(name, []).append(rule)

        for name, most in self.characters.items():
            add(name, _at_most_characters(most))
        for path, (fewest, most) in self.items.items():
            name, _, inner = path.partition(".")
            add(name, _count_between(inner, fewest, most))
        for name, allowed in self.values.items():
            add(name, _one_of(allowed))
        for name, (least, most) in self.numbers.items():
            add(name, _between(least, most))
        for name, conditions in self.only_with.items():
            add(name, _only_with(conditions))
        add("multi_shot", _shot_type_is_given)
        add("multi_prompt", _shot_prompts(self.characters.get("multi_prompt.prompt")))
        add("callback_url", lambda value, _: callback_problem(value))
        return {name: tuple(found) for name, found in rules.items()}


Rule = Callable[[Any, Mapping[str, Any]], str | None]
"""Takes a field's value and all fields; says what is wrong, or None."""


def faults(
    limits: Limits,
    fields: Mapping[str, Any],
    given: Iterable[str],
    *,
    complete: bool = False,
    capped: bool = False,
    default_seconds: int | None = None,
) -> list[Fault]:
    """Every breach of the published limits.

    Args:
        limits: the model's published limits.
        fields: values by attribute name; None means not given.
        given: names of the fields to look at.
        complete: whether the request is to be sent, so that required fields must be there.
        capped: whether the price bills an over-long reference clip only up to a longest length;
            then too long a reference is not a fault.
        default_seconds: length the provider takes where the request names none.
    """
    found: list[Fault] = []
    rules = limits.rules
    for name in given:
        value = fields.get(name)
        if value is None:
            continue
        if name == "reference_seconds":
            problem = _reference_problem(limits.clip, value, capped=capped)
            if problem is not None:
                found.append(Fault(name, problem))
        for rule in rules.get(name, ()):
            problem = rule(value, fields)
            if problem is not None:
                found.append(Fault(name, problem))
    if fields.get("multi_prompt") is not None:
        problem = _shots_problem(fields, default_seconds)
        found += [Fault("multi_prompt", problem)] if problem else []
    for group in limits.together:
        count = sum(len(fields.get(name) or ()) for name in group.fields)
        if count > group.most:
            names = " and ".join(group.fields)
            found.append(
                Fault(names, f"have {count} items together; the provider takes {group.most}")
            )
    return found + _missing(limits, fields) if complete else found


def _missing(limits: Limits, fields: Mapping[str, Any]) -> list[Fault]:
    found = [Fault(name, "is required") for name in limits.required if fields.get(name) is None]
    for name, conditions in limits.needed_with.items():
        if fields.get(name) is None and _all_hold(conditions, fields):
            reason = " and ".join(f"{other} = {value}" for other, value in conditions.items())
            found.append(Fault(name, f"is required with {reason}"))
    if fields.get("shot_type") == "customize" and fields.get("multi_prompt") is None:
        found.append(Fault("multi_prompt", "is required with shot_type = customize"))
    return found


def _all_hold(conditions: Mapping[str, str], fields: Mapping[str, Any]) -> bool:
    return all(fields.get(other) == value for other, value in conditions.items())


def _reference_problem(clip: ClipLimits | None, seconds: Any, *, capped: bool) -> str | None:
    if clip is None:
        return "this model takes no reference clip"
    if not isinstance(seconds, Decimal):
        return None
    shortest, longest = clip.shortest_seconds, clip.longest_seconds
    if shortest is not None and seconds < shortest:
        return (
            f"is {plain(seconds)} s; the provider's shortest reference clip is {plain(shortest)} s"
        )
    if longest is not None and not capped and seconds > longest:
        return f"is {plain(seconds)} s; the provider's longest reference clip is {plain(longest)} s"
    return None


def _not_taken(_: Any, __: Mapping[str, Any]) -> str | None:
    return "is not a field of this model"


def _at_most_characters(most: int) -> Rule:
    def rule(value: Any, _: Mapping[str, Any]) -> str | None:
        if not isinstance(value, str) or len(value) <= most:
            return None
        return f"has {len(value)} characters; the provider takes at most {most}"

    return rule


def _count_between(inner: str, fewest: int, most: int) -> Rule:
    """For a list, or for the list `inner` inside an object."""

    def rule(value: Any, _: Mapping[str, Any]) -> str | None:
        if inner:
            value = getattr(value, inner, None)
        if not isinstance(value, (tuple, list)) or fewest <= len(value) <= most:
            return None
        span = f"exactly {most}" if fewest == most else f"{fewest} to {most}"
        what = f"{inner} has" if inner else "has"
        return f"{what} {len(value)} items; the provider takes {span}"

    return rule


def _one_of(allowed: tuple[str, ...]) -> Rule:
    def rule(value: Any, _: Mapping[str, Any]) -> str | None:
        if not isinstance(value, str) or value in allowed:
            return None
        # Only what could be a value is repeated; anything else may be private.
        given = f", not {value!r}" if re.fullmatch(r"[\w .-]{1,20}", value) else ""
        return f"must be {_either(allowed)}{given}"

    return rule


def _between(least: int, most: int) -> Rule:
    def rule(value: Any, _: Mapping[str, Any]) -> str | None:
        if not isinstance(value, int) or isinstance(value, bool) or least <= value <= most:
            return None
        return f"must be {least} to {most}, not {value}"

    return rule


def _only_with(conditions: Mapping[str, str]) -> Rule:
    def rule(value: Any, fields: Mapping[str, Any]) -> str | None:
        for other, wanted in conditions.items():
            if value and fields.get(other) not in (None, wanted):
                return f"may be given only with {other} = {wanted}"
        return None

    return rule


def _shot_type_is_given(value: Any, fields: Mapping[str, Any]) -> str | None:
    return "needs shot_type" if value is True and fields.get("shot_type") is None else None


def _shot_prompts(most_characters: int | None) -> Rule:
    def rule(value: Any, _: Mapping[str, Any]) -> str | None:
        for number, shot in enumerate(value, start=1):
            if not isinstance(shot, Shot):
                return None  # its shape is at fault already
            if most_characters is not None and len(shot.prompt) > most_characters:
                return (
                    f"the prompt of shot {number} has {len(shot.prompt)} characters;"
                    f" the provider takes at most {most_characters}"
                )
        return None

    return rule


def _shots_problem(fields: Mapping[str, Any], default_seconds: int | None) -> str | None:
    """The shots of a video last as long as the video."""
    shots = fields.get("multi_prompt")
    total = fields.get("duration") or fields.get("reference_seconds") or default_seconds
    if not isinstance(shots, tuple) or not isinstance(total, (int, Decimal)):
        return None
    length = reduce(EXACT.add, (shot.duration for shot in shots), Decimal(0))
    if length == total:
        return None
    return f"the shots last {plain(length)} s together, the video {plain(Decimal(total))} s"


_HOST = re.compile(r"[a-z0-9-]+(?:\.[a-z0-9-]+)+", re.ASCII)

# Names that only exist inside a network, by their last part.
_LOCAL = frozenset(
    ("arpa", "home", "internal", "invalid", "lan", "local", "localdomain", "localhost", "test")
)

# IPv6 ranges that carry an IPv4 address inside, which may be a private one: NAT64 and 6to4.
_TUNNELS = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("2002::/16"))


def callback_problem(address: Any) -> str | None:
    """Why the provider would not call this address back, or None.

    The provider calls only HTTPS addresses on public hosts (API manual, read 2026-11-23). The
    address itself is never part of the answer: it may carry a secret.

    >>> callback_problem("https://hooks.example.com/done")
    >>> callback_problem("http://10.0.0.7/")
    'must begin with https://'
    """
    if not isinstance(address, str):
        return None
    try:
        parts = urlsplit(address)
        host, _ = (parts.hostname or "").removesuffix("."), parts.port
    except ValueError:
        return "is not an address"
    if parts.scheme.lower() != "https":
        return "must begin with https://"
    if not host or any(character.isspace() or character < " " for character in address):
        return "is not an address"
    if any(character in parts.netloc for character in "%\\"):
        return "must be on a public host"
    return None if _is_public(host) else "must be on a public host"


def _is_public(host: str) -> bool:
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        # A name. Resolving it would touch the network, so only names that cannot be public are
        # refused, and numbers in disguise: 2130706433, 0x7f.1 and 127.1 all mean 127.0.0.1.
        last = host.rpartition(".")[2]
        disguised = last.isdigit() or last.startswith("0x")
        return bool(_HOST.fullmatch(host)) and not disguised and last not in _LOCAL
    tunnelled = any(ip in network for network in _TUNNELS)
    return ip.is_global and not ip.is_multicast and not tunnelled


def _either(values: tuple[str, ...]) -> str:
    return values[0] if len(values) == 1 else f"{', '.join(values[:-1])} or {values[-1]}"

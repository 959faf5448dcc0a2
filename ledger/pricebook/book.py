"""The price of a model at a moment, with overlays applied, as terms to price a request under."""

from __future__ import annotations

import hashlib
import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from difflib import get_close_matches
from fnmatch import fnmatchcase
from operator import attrgetter
from pathlib import Path
from typing import Any, Protocol

from ledger.documents import ModelDocument
from ledger.errors import (
    Fault,
    InvalidPriceFile,
    InvalidRequest,
    NoPriceInForce,
    UnknownChannel,
    UnknownModel,
    UnknownOption,
    UnknownVersion,
)
from ledger.pricebook.files import append, bundled_names, read_bundled, read_user_file
from ledger.pricebook.schema import (
    ByOption,
    ModelFile,
    Multiplier,
    Overlay,
    OverlayFile,
    Price,
)
from ledger.pricing import DEAREST, PREFERRED, Factor, PriceSource, PriceVersion, Terms, Unit
from ledger.requests import BODIES, Limits, Request, build, read_body
from ledger.units import (
    EXACT,
    ExchangeRates,
    Length,
    credits_to_e8,
    iso,
    parse_moment,
    parse_seconds,
    plain,
)

__all__ = ["Formula", "InForce", "PriceBook", "length_fields"]

_Getter = Callable[[object], object]


@dataclass(frozen=True, slots=True)
class InForce:
    """One stretch of time of one model: the price with all overlays applied."""

    start: datetime
    """First instant."""
    end: datetime | None
    """First instant of the next stretch."""
    price: Price
    """The merged price."""
    version: PriceVersion
    """Its identity."""


class Formula(Protocol):
    """The price of a model that no price file can hold, as far as a book shows it."""

    def document(self, rates: ExchangeRates, at: datetime) -> ModelDocument:
        """What the model costs, as JSON."""

    def figures(self, at: datetime) -> dict[str, str]:
        """Everything that changes a charge, by name; nothing before it is in force."""


class PriceBook(PriceSource):
    """Dated prices of many models; the bundled book reproduces the provider's product pages.

    >>> from ledger import MotionControl, PriceBook
    >>> prices = PriceBook.bundled()
    >>> job = MotionControl(
    ...     quality="1080p", character_orientation="video", reference_seconds="12.4"
    ... )
    >>> prices.quote(job, at="2026-10-10").maximum
    Decimal('141.5939616')
    """

    def __init__(
        self,
        name: str,
        models: Iterable[ModelFile],
        rates: ExchangeRates,
        *,
        overlays: Sequence[OverlayFile] = (),
        user_group: str | None = None,
        title: str = "",
        description: str = "",
        origins: Mapping[tuple[str, datetime], str] | None = None,
    ) -> None:
        """Put a book together from files that were read; most callers want `bundled`.

        Prices in `origins` come from a user's own file of that name, and say so in their version.

        Raises:
            InvalidPriceFile: an overlay matches no model of the book.
        """
        self.formulas: Mapping[str, Formula] = {}
        """Prices of models that are no price file's."""
        self._origins = dict(origins or {})
        added = dict.fromkeys(self._origins.values())
        self.name = "+".join([name, *added, *(overlay.name for overlay in overlays)])
        self.title, self.description = title, description
        self.rates = rates
        self.overlays = tuple(overlays)
        self.user_group = user_group
        self._base_name = name
        self._files = {file.model: file for file in models}
        self._aliases = {
            alias: file.model for file in self._files.values() for alias in file.aliases
        }
        self._timelines: dict[str, tuple[list[datetime], list[InForce]]] = {}
        self._getters: dict[tuple[str, int], tuple[type[Request], _Getter]] = {}
        self._terms: dict[tuple[str, int, str, object], Terms] = {}
        self._check_overlays()

    def _check_overlays(self) -> None:
        """Refuse overlays that would change nothing, because their author expects that they do."""
        for overlay in self.overlays:
            for number, change in enumerate(overlay.overlay):
                matched = [model for model in self._files if fnmatchcase(model, change.model)]
                if not matched:
                    nearest = get_close_matches(change.model, self._files, n=1)
                    hint = f"; did you mean {nearest[0]}?" if nearest else ""
                    problem = f"matches no model of {self._base_name}: {change.model}{hint}"
                    fault = Fault(f"overlay.{number}.model", problem)
                    raise InvalidPriceFile(f"overlay {overlay.name}", [fault])
                for model in matched:
                    self._timeline(model)  # raises where tables do not fit together

    @classmethod
    def bundled(
        cls,
        name: str = "evolink",
        *,
        overlays: Iterable[str | Path] = (),
        user_group: str | None = None,
    ) -> PriceBook:
        """A book that comes with the library, with the user's own price files on top.

        Args:
            name: `evolink` (the product pages), `evolink-rules` (the published rules as of
                2026-10-10) or `evolink-panel` (the billing panel of the product pages).
            overlays: TOML files, later ones win: overlays, or price files of further models.
            user_group: user group of the account, for overlays that name one.

        Raises:
            InvalidPriceFile: there is no such book, or a file is not valid; has every fault.
        """
        book, models, rates = read_bundled(name)
        merged = dict(models)
        changes: list[OverlayFile] = []
        origins: dict[tuple[str, datetime], str] = {}
        for path in overlays:
            file = read_user_file(Path(path))
            if isinstance(file, OverlayFile):
                changes.append(file)
            else:
                merged[file.model] = append(merged.get(file.model), file, str(path))
                stem = re.sub(r"[^A-Za-z0-9._-]", "-", Path(path).stem)
                origins |= {(file.model, price.effective_from): stem for price in file.price}
        return cls(
            name,
            merged.values(),
            rates,
            overlays=changes,
            user_group=user_group,
            title=book.title,
            description=book.description,
            origins=origins,
        )

    @staticmethod
    def bundled_names() -> tuple[str, ...]:
        """Names of the books that come with the library."""
        return bundled_names()

    @property
    def models(self) -> tuple[str, ...]:
        """Ids of all models, sorted."""
        return tuple(sorted(self._files))

    @property
    def aliases(self) -> Mapping[str, str]:
        """Model ids by their short names."""
        return self._aliases

    def model(self, name: str) -> str:
        """The id of a model, by id or short name.

        Raises:
            UnknownModel: with the nearest names.
        """
        if name in self._files:
            return name
        if name in self._aliases:
            return self._aliases[name]
        known = [*self._files, *self._aliases]
        nearest = get_close_matches(name, known, n=2) or [item for item in known if name in item]
        raise UnknownModel(name, book=self.name, nearest=nearest[:3])

    def file(self, model: str) -> ModelFile:
        """Everything the book says about a model."""
        return self._files[self.model(model)]

    def limits(self, model: str) -> Limits | None:
        """The published limits of a model's requests; None where the book has none."""
        file = self._files.get(self._aliases.get(model, model))
        return file.limits if file is not None else None

    def kind(self, model: str) -> type[Request]:
        """The request class of a model."""
        body = self.file(model).body
        if body is None:
            raise UnknownModel(model, book=self.name)
        return BODIES[body]

    def parse(self, body: Mapping[str, Any]) -> Request:
        """The request that a complete JSON body of the provider's means.

        Raises:
            UnknownModel: the body names a model the book does not have.
            InvalidRequest: no model, or any fault of shape or limits; has all of them.

        >>> body = {"model": "kling-custom-element", "model_params": {"element_name": "x" * 21}}
        >>> PriceBook.bundled().parse(body)
        Traceback (most recent call last):
        ledger.errors.InvalidRequest: request for kling-custom-element: 3 faults
          - model_params.element_name: has 21 characters; the provider takes at most 20
          - model_params.element_description: is required
          - model_params.reference_type: is required
        """
        if not isinstance(body, Mapping):
            raise InvalidRequest("request", [Fault("", "must be a JSON object")])
        model = body.get("model")
        if not isinstance(model, str):
            raise InvalidRequest("request", [Fault("model", "is required")])
        if model not in self._files:
            # The provider knows ids only, so a short name is no model here.
            raise UnknownModel(model, book=self.name, nearest=[self.model(model)])
        file = self._files[model]
        return read_body(self.kind(model), body, file.limits, file.defaults.duration)

    def job(
        self,
        model: str,
        *,
        quality: str | None = None,
        character_orientation: str | None = None,
        sound: str | None = None,
        seconds: Length | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Request:
        """A request from the few options a price depends on, as plans and the command line have.

        Args:
            model: model id or short name.
            quality: resolution tier.
            character_orientation: which input the character's orientation follows.
            sound: `on` or `off`.
            seconds: length of the reference clip, or the length asked for, as the model has it.
            options: further parameters; only models without a request class take any.

        Raises:
            UnknownModel: with the nearest names.
            InvalidSeconds: `seconds` is no length, and the model asks for a duration.
            InvalidRequest: no length, an option the model does not have, or a breach of its
                limits; has every fault.

        >>> PriceBook.bundled().job("kling-v3-text-to-video", seconds="5").duration
        5
        """
        model = self.model(model)
        kind = self.kind(model)
        given = {
            "quality": quality,
            "character_orientation": character_orientation,
            "sound": sound,
        }
        fields: dict[str, Any] = {name: value for name, value in given.items() if value}
        if options:
            problem = "is not an option of this model"
            faults = [Fault(name, problem) for name in options]
            raise InvalidRequest(f"request for {model}", faults)
        if seconds is not None:
            fields |= length_fields(kind, seconds)
        file = self._files.get(model)
        default_seconds = None if file is None else file.defaults.duration
        return build(kind, {"model": model} | fields, self.limits(model), default_seconds)

    def timeline(self, model: str) -> Sequence[InForce]:
        """All prices of a model in order of time, with overlays applied.

        Raises:
            UnknownModel: with the nearest names.
        """
        starts, stretches = self._timeline(self.model(model))
        return stretches[: len(starts)]

    def in_force(self, model: str, at: datetime | date | str | None = None) -> InForce:
        """The price of a model at a moment (now, if None).

        Raises:
            UnknownModel: with the nearest names.
            NoPriceInForce: the first price starts later.
        """
        model = self.model(model)
        moment = datetime.now(UTC) if at is None else parse_moment(at)
        stretches = self._timeline(model)[1]
        return stretches[self._index(model, moment)]

    def terms(
        self,
        request: Request,
        *,
        at: datetime | date | str | None = None,
        version: str | None = None,
        channel: str = PREFERRED,
    ) -> Terms:
        """The terms of a request: at a moment (now, if None), or of one version of the price.

        Raises:
            UnknownModel: the book has no such model.
            UnknownVersion: no price of the model has that version.
            NoPriceInForce: the first price starts later than `at`.
            UnknownChannel: the price has no such channel.
            UnknownOption: the price does not cover an option's value.
        """
        model = request.model
        if version is not None:
            index = self._index_of_version(model, version)
        else:
            moment = datetime.now(UTC) if at is None else parse_moment(at)
            index = self._index(model, moment)
        kind, getter = self._getters.get((model, index)) or self._getter(model, index)
        if not isinstance(request, kind):
            problem = f"takes a {kind.__name__}, not a {type(request).__name__}"
            raise InvalidRequest(f"request for {model}", [Fault("model", problem)])
        key = (model, index, channel, getter(request))
        found = self._terms.get(key)
        if found is None:
            found = self._terms[key] = self._resolve(request, model, index, channel)
        return found

    def _timeline(self, model: str) -> tuple[list[datetime], list[InForce]]:
        found = self._timelines.get(model)
        if found is None:
            if model not in self._files:
                self.model(model)  # raises, with the nearest names
                raise UnknownModel(model, book=self.name, nearest=[self._aliases[model]])
            file = self._files[model]
            stretches = list(self._stretches(file, self.overlays))
            starts = [item.start for item in stretches]
            # Behind those in force stand the prices without overlays, for charges by version.
            stretches += self._stretches(file, ()) if self.overlays else ()
            found = self._timelines[model] = (starts, stretches)
        return found

    def _index(self, model: str, moment: datetime) -> int:
        starts, stretches = self._timeline(model)
        index = bisect_right(starts, moment) - 1
        if index < 0:
            raise NoPriceInForce(model, iso(moment), first=iso(stretches[0].start))
        return index

    def _index_of_version(self, model: str, version: str) -> int:
        """Where a version stands; prices that overlays cover now can still be asked for."""
        stretches = self._timeline(model)[1]
        for index, item in enumerate(stretches):
            if item.version.id == version:
                return index
        # Without an overlay in its name, the digest alone says which figures are meant: the same
        # stretch of time may have been cut at another moment by overlays that were loaded then.
        name, _, digest = version.rpartition("~")
        if name.partition("@")[0] == f"{self._base_name}/{model}" and "+" not in name:
            for index, item in enumerate(stretches):
                if item.version.id.endswith(f"~{digest}"):
                    return index
        raise UnknownVersion(model, version, known=[item.version.id for item in stretches])

    def _stretches(self, file: ModelFile, overlays: Sequence[OverlayFile]) -> Iterator[InForce]:
        prices = sorted(file.price, key=lambda price: price.effective_from)
        changes = [
            (overlay.name, change)
            for overlay in overlays
            for change in overlay.overlay
            if fnmatchcase(file.model, change.model)
            and change.user_group in (None, self.user_group)
        ]
        edges = {price.effective_from.astimezone(UTC) for price in prices}
        for _, change in changes:
            edges |= {
                edge.astimezone(UTC)
                for edge in (change.effective_from, change.effective_until)
                if edge is not None and edge > prices[0].effective_from
            }
        starts = sorted(edges)
        for start, end in zip(starts, [*starts[1:], None], strict=True):
            base = [price for price in prices if price.effective_from <= start][-1]
            applied = [
                (name, change)
                for name, change in changes
                if change.applies(file.model, start, self.user_group)
            ]
            price = base
            for name, change in applied:
                price = _changed(price, change, file.model, name)
            origin = self._origins.get((file.model, base.effective_from))
            names = [] if origin is None else [origin]
            names += dict.fromkeys(name for name, _ in applied)
            yield InForce(start, end, price, self._version(file.model, start, price, names))

    def _version(
        self, model: str, start: datetime, price: Price, overlays: Sequence[str]
    ) -> PriceVersion:
        midnight = start.time() == datetime.min.time()
        day = start.strftime("%Y-%m-%d")
        if not midnight:
            fraction = f".{start.microsecond:06d}".rstrip("0") if start.microsecond else ""
            day += f"T{start:%H%M%S}{fraction}Z"
        id_ = f"{self._base_name}/{model}@{day}{''.join(f'+{name}' for name in overlays)}"
        return PriceVersion(
            id=f"{id_}~{_digest(price)}",
            book=self.name,
            model=model,
            effective_from=start,
            source=price.source,
            checked=price.checked,
            note=price.note,
        )

    def _getter(self, model: str, index: int) -> tuple[type[Request], _Getter]:
        """The model's kind of request, and what takes from one the options the price asks for."""
        price, kind = self._timeline(model)[1][index].price, self.kind(model)
        names = [name for name in _options(price) if name in kind.model_fields]
        getter = attrgetter(*names) if names else _nothing
        return self._getters.setdefault((model, index), (kind, getter))

    def _resolve(self, request: Request, model: str, index: int, channel: str) -> Terms:
        stretch = self._timeline(model)[1][index]
        price, defaults = stretch.price, self._files[model].defaults
        chosen: dict[str, str | None] = {}
        assumed: list[str] = []
        for name in _options(price):
            value = getattr(request, name, None)
            if value is None and (default := getattr(defaults, name, None)) is not None:
                value = default
                assumed.append(f"no {name} given: the provider takes {default}")
            chosen[name] = value
        names = [PREFERRED, *(item.name for item in price.channel)]
        if channel not in names and channel != DEAREST:
            raise UnknownChannel(model, channel, known=[*names, DEAREST])
        shared: dict[str, Any] = {
            "version": stretch.version,
            "options": _describe(chosen, price.unit),
            "unit": price.unit,
            "settles_on": price.settles_on,
            "quantity_rounding": None if price.rounding.mode == "none" else price.rounding.mode,
            "step_seconds": price.rounding.step_seconds,
            "shortest_seconds": price.shortest_seconds,
            "longest_seconds": _longest(price, model, chosen),
            "longest_input_seconds": price.longest_input_seconds,
            "smallest_charge_e8": credits_to_e8(price.smallest_charge),
            "quantum_e8": 1 if price.charge is None else credits_to_e8(price.charge.quantum),
            "charge_rounding": "half_up" if price.charge is None else price.charge.mode,
            "default_seconds": None if defaults.duration is None else Decimal(defaults.duration),
            "assumed": tuple(assumed),
        }
        by_channel: dict[str, Terms] = {}
        for name in names:
            try:
                factors = _factors(price, name, model, chosen)
            except UnknownOption:
                # Another channel need not serve every option; it is then no alternative.
                if name in (channel, PREFERRED):
                    raise
                continue
            rate = _channel_rate(price, name)
            by_channel[name] = Terms(channel=name, rate=rate, factors=factors, **shared)
        dearest = max(by_channel.values(), key=lambda terms: terms.unit_price)
        picked = dearest if channel == DEAREST else by_channel[channel]
        if dearest.unit_price == picked.unit_price:
            return picked
        return replace(picked, dearest=dearest)


def length_fields(kind: type[Request], seconds: Length) -> dict[str, Any]:
    """The length under the name that the kind of request has for it."""
    if kind.length_field != "duration":
        return {kind.length_field or "reference_seconds": seconds}
    length = parse_seconds(seconds)
    return {"duration": int(length) if length == int(length) else length}


def _nothing(_: object) -> tuple[()]:
    return ()


def _options(price: Price) -> list[str]:
    """Options the price depends on, in a fixed order."""
    tables = [*price.multiplier, *(m for c in price.channel for m in c.multiplier or ())]
    names = {name for table in tables for name in table.options}
    if isinstance(price.longest_seconds, ByOption):
        names.add(price.longest_seconds.option)
    return [name for name in ("quality", "sound", "character_orientation") if name in names]


def _factors(
    price: Price, channel: str, model: str, chosen: Mapping[str, str | None]
) -> tuple[Factor, ...]:
    own = next((item.multiplier for item in price.channel if item.name == channel), None)
    factors = []
    for table in price.multiplier if own is None else own:
        value = table.value(chosen)
        if value is None:
            depth = next(
                (d for d, name in enumerate(table.options) if chosen[name] not in table.known(d)),
                len(table.options) - 1,
            )
            option = table.options[depth]
            raise UnknownOption(model, option, chosen[option], known=table.known(depth))
        reason = ", ".join(f"{name} {chosen[name]}" for name in table.options)
        factors.append(Factor(reason, value))
    if price.discount:
        kept = EXACT.subtract(Decimal(1), price.discount)
        percent = plain(EXACT.multiply(price.discount, Decimal(100)))
        factors.append(Factor(f"discount {percent} %", kept))
    return tuple(factors)


def _channel_rate(price: Price, channel: str) -> Decimal:
    own = next((item.rate for item in price.channel if item.name == channel), None)
    return price.rate if own is None else own


def _longest(price: Price, model: str, chosen: Mapping[str, str | None]) -> Decimal | None:
    longest = price.longest_seconds
    if not isinstance(longest, ByOption):
        return longest
    value = chosen[longest.option]
    if value is None or value not in longest.values:
        raise UnknownOption(model, longest.option, value, known=sorted(longest.values))
    return longest.values[value]


def _describe(chosen: Mapping[str, str | None], unit: Unit) -> str:
    words = []
    if chosen.get("quality"):
        words.append(str(chosen["quality"]))
    if chosen.get("character_orientation"):
        words.append(f"orientation {chosen['character_orientation']}")
    if chosen.get("sound"):
        words.append(f"sound {chosen['sound']}")
    return ", ".join(words) or ("one call" if unit == "call" else "all options")


def _changed(price: Price, change: Overlay, model: str, overlay: str) -> Price:
    update: dict[str, Any] = {"source": change.source, "checked": change.checked}
    for name in ("rate", "discount", "smallest_charge"):
        value = getattr(change, name)
        if value is not None:
            update[name] = value
    if change.multiplier is not None:
        try:
            update["multiplier"] = _replaced(
                price, change.multiplier, exactly=change.model == model
            )
        except ValueError as error:
            fault = Fault(f"{change.model}.multiplier", str(error))
            raise InvalidPriceFile(f"overlay {overlay}", [fault]) from None
    if change.note is not None:
        update["note"] = change.note
    return price.model_copy(update=update)


def _replaced(
    price: Price, tables: Sequence[Multiplier], *, exactly: bool
) -> tuple[Multiplier, ...]:
    """A price's multipliers with those of the same options replaced.

    An overlay for a pattern of models leaves a price alone that has no such table. One for just
    this model may add a table, but never beside one that shares an option with it: both would
    multiply.
    """
    kept = {frozenset(table.options): table for table in price.multiplier}
    for table in tables:
        options = frozenset(table.options)
        if options not in kept:
            if shared := [other for other in kept if other & options]:
                together = ", ".join(sorted(shared[0]))
                raise ValueError(
                    f"the price has one table of {together} together; replace that one"
                )
            if not exactly:
                continue
            if price.unit == "call":
                raise ValueError("a price per call has no multipliers")
        kept[options] = table
    return tuple(kept.values())


def _digest(price: Price) -> str:
    """Eight hex digits over the figures of a price; notes and sources do not count."""
    figures = price.model_dump(
        mode="json", exclude={"source", "checked", "note", "effective_from"}, exclude_defaults=True
    )
    text = json.dumps(_plain_numbers(figures), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _plain_numbers(value: Any) -> Any:
    """JSON in which equal numbers look equal: 1, 1.0 and 1.00 are one figure."""
    if isinstance(value, dict):
        return {name: _plain_numbers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain_numbers(item) for item in value]
    if isinstance(value, str) and value and value[0].isdigit() and value.isascii():
        try:
            return plain(Decimal(value))
        except ArithmeticError:
            return value
    return value

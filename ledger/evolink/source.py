"""The provider's published rules as a price book: the whole catalogue, digit for digit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from difflib import get_close_matches
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from ledger.errors import Fault, InvalidPriceFile, InvalidRequest, RuleFailed, UnknownModel
from ledger.evolink.formulas import (
    ALIASES,
    OptionKind,
    RuleFormula,
    catalogue_fields,
    doubled,
    options_of,
)
from ledger.evolink.kept import Kept, find, kept_names
from ledger.evolink.loading import bytes_of
from ledger.evolink.rules import Meta, Rule, Rules
from ledger.evolink.shapes import REQUESTED, Unshapely, as_prices, body_of, limits_of
from ledger.pricebook import InForce, PriceBook
from ledger.pricebook.files import bundled_names, read_bundled, read_user_file
from ledger.pricebook.schema import ModelFile, OverlayFile
from ledger.pricing import PREFERRED, PriceVersion, Terms
from ledger.requests import BODIES, CatalogueJob, Limits, Request, build, read_body
from ledger.units import (
    EXACT,
    ExchangeRate,
    ExchangeRates,
    Length,
    iso,
    plain,
)

__all__ = ["PublishedRules", "book_names", "open_prices"]

_BASE = "evolink"
_NO_PRICE = frozenset({"official_rate", "label_key"})


class PublishedRules(PriceBook):
    """Prices as the provider's own pricing document has them.

    A rule that is a rate times a length is a price like any other, so it is listed, compared and
    overlaid as one. The others are formulas, and each is priced by evaluating the rule, for a plan
    of jobs by column. Bodies, limits and longest clips, of which the rules say nothing, are
    those of the bundled book.
    """

    def __init__(
        self,
        text: bytes,
        name: str,
        *,
        source: str,
        overlays: Iterable[str | Path] = (),
        user_group: str | None = None,
    ) -> None:
        """Read a pricing document; most callers want `read` or `kept`.

        Raises:
            InvalidPriceFile: the document or an overlay is not valid; has every fault.
        """
        rules = Rules.parse(text, subject=source)
        self.rules, self.source = rules, source
        self._checked = rules.meta.updated_at.date()
        base, rates = read_bundled(_BASE)[1:]
        formulas: dict[str, Rule] = {}
        files: list[ModelFile] = []
        for model, rule in rules.models.items():
            file = as_prices(rule, base.get(model), source=source, checked=self._checked)
            if file is None:
                formulas[model] = rule
            else:
                files.append(file)
        priced = [file.model for file in files]
        changes = [_overlay(Path(path), formulas, priced) for path in overlays]
        self._formulas: dict[str, RuleFormula] = {}
        super().__init__(
            name,
            files,
            _rates(rates, rules.meta, source),
            overlays=changes,
            user_group=user_group,
            title=f"Published rules of {self._checked:%Y-%m-%d}",
            description=f"The provider's pricing rules as captured {iso(rules.meta.updated_at)}.",
        )
        digests = _digests(text)
        self._formulas = {
            model: RuleFormula(rule, self._version_of_rule(rule, digests[model]), base.get(model))
            for model, rule in formulas.items()
        }
        self.formulas = self._formulas
        self._aliases |= {
            alias: model for model in formulas if model in base for alias in base[model].aliases
        }

    def _version_of_rule(self, rule: Rule, digest: str) -> PriceVersion:
        start = rule.effective_from
        return PriceVersion(
            id=f"{self._base_name}/{rule.model}@{start:%Y-%m-%d}~{digest}",
            book=self.name,
            model=rule.model,
            effective_from=start,
            source=self.source,
            checked=self._checked,
        )

    @classmethod
    def read(
        cls,
        path: str | Path,
        *,
        name: str | None = None,
        overlays: Iterable[str | Path] = (),
        user_group: str | None = None,
    ) -> Self:
        """The document in a file, under a name of its own: `rules-` and the day of its capture.

        Raises:
            InvalidPriceFile: the file cannot be read, or is not valid; has every fault.
        """
        text = bytes_of(Path(path))
        if name is None:
            captured = Rules.parse(text, subject=str(path)).meta.updated_at
            name = f"rules-{captured:%Y-%m-%d}"
        return cls(text, name, source=str(path), overlays=overlays, user_group=user_group)

    @classmethod
    def kept(
        cls,
        name: str,
        *,
        overlays: Iterable[str | Path] = (),
        user_group: str | None = None,
    ) -> Self | None:
        """The document that was kept under a name, if there is one.

        Raises:
            InvalidPriceFile: it cannot be read any more, or an overlay is not valid.
        """
        found = find(name)
        if found is None:
            return None
        text = _text_of(found)
        return cls(text, name, source=found.source, overlays=overlays, user_group=user_group)

    @property
    def models(self) -> tuple[str, ...]:
        """Ids of all models, sorted."""
        return tuple(sorted([*super().models, *self._formulas]))

    @cached_property
    def further_options(self) -> Mapping[str, OptionKind]:
        """Options of jobs besides those that every source knows, with what their values are.

        Each is an option of some model here; `job` refuses it for the others.
        """
        found: dict[str, OptionKind] = {}
        for model, formula in self._formulas.items():
            if self.kind(model) is CatalogueJob:
                for name, kind in options_of(formula.rule).items():
                    found[name] = "number" if kind == "number" else found.get(name, kind)
        # A length that is asked for has a place of its own.
        found.pop(REQUESTED, None)
        return dict(sorted(found.items()))

    def model(self, name: str) -> str:
        """The id of a model, by id or short name.

        Raises:
            UnknownModel: with the nearest names.
        """
        if name in self._formulas:
            return name
        try:
            return super().model(name)
        except UnknownModel:
            known = [*self.models, *self.aliases]
            nearest = get_close_matches(name, known, n=3) or [
                item for item in known if name in item
            ]
            raise UnknownModel(name, book=self.name, nearest=nearest[:3]) from None

    def limits(self, model: str) -> Limits | None:
        """The published limits of a model's requests, where anybody knows them."""
        formula = self._formulas.get(self.aliases.get(model, model))
        if formula is None:
            return super().limits(model)
        if self.kind(formula.rule.model) is CatalogueJob:
            return None
        try:
            return limits_of(formula.rule, formula.base, self.source, self._checked)
        except Unshapely:
            return None if formula.base is None else formula.base.limits

    def kind(self, model: str) -> type[Request]:
        """The request class of a model; `CatalogueJob` where none has what its price depends on."""
        formula = self._formulas.get(self.aliases.get(model, model))
        if formula is None:
            return super().kind(model)
        body = body_of(formula.rule, formula.base)
        return CatalogueJob if body is None else BODIES[body]

    def timeline(self, model: str) -> Sequence[InForce]:
        """All prices of a model in order of time; none of a formula, which is no price of a file.

        Raises:
            UnknownModel: with the nearest names.
        """
        return [] if self.model(model) in self._formulas else super().timeline(model)

    def in_force(self, model: str, at: datetime | date | str | None = None) -> InForce:
        """The price of a model at a moment (now, if None).

        Raises:
            UnknownModel: with the nearest names.
            NoPriceInForce: the first price starts later.
            RuleFailed: the model is priced by a formula, which is no one price.
        """
        formula = self._formulas.get(self.model(model))
        if formula is None:
            return super().in_force(model, at)
        formula.check(at=at, version=None, channel=PREFERRED)
        raise RuleFailed(model, None, "is priced by a formula; see its terms")

    def parse(self, body: Mapping[str, Any]) -> Request:
        """The request that a complete JSON body of the provider's means.

        Of a model without a class of its own, only what its price depends on is read.

        Raises:
            UnknownModel: the body names a model the document does not have.
            InvalidRequest: no model, or any fault of shape or limits; has all of them.
        """
        model = body.get("model") if isinstance(body, Mapping) else None
        formula = self._formulas.get(model) if isinstance(model, str) else None
        if formula is None:
            return super().parse(body)
        rule = formula.rule
        kind = self.kind(rule.model)
        if kind is not CatalogueJob:
            return read_body(kind, body, self.limits(rule.model))
        flat = {**body, **_mapping(body.get("model_params"))}
        names = {*rule.parameters, *rule.undeclared, "seconds"}
        names |= {alias for name in names for alias in ALIASES.get(name, ())}
        # A complete body has much that no price depends on, such as a prompt.
        given = {name: _scalar(value) for name, value in flat.items() if name in names}
        return build(kind, {"model": rule.model} | catalogue_fields(rule, given), None)

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
            options: further parameters of the model's rule, and measured usage such as tokens.

        Raises:
            UnknownModel: with the nearest names.
            InvalidSeconds: `seconds` is no length, and the model asks for a duration.
            InvalidRequest: no length, an option the model does not have, or a breach of its
                limits; has every fault.
        """
        name = self.model(model)
        given = {
            "quality": quality,
            "character_orientation": character_orientation,
            "sound": sound,
        }
        if name not in self._formulas or self.kind(name) is not CatalogueJob:
            return super().job(name, seconds=seconds, options=options, **given)
        said: dict[str, Any] = {key: value for key, value in given.items() if value}
        said |= dict(options or {})
        if seconds is not None:
            said["seconds"] = seconds
        rule = self._formulas[name].rule
        fields = catalogue_fields(rule, said)
        if found := doubled(rule, fields["options"]):
            raise InvalidRequest(f"request for {name}", found)
        return build(CatalogueJob, {"model": name} | fields, None)

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
            UnknownModel: the document has no such model.
            UnknownVersion: no price of the model has that version.
            NoPriceInForce: the first price starts later than `at`.
            UnknownChannel: the price has no such channel.
            UnknownOption: the price does not cover an option's value.
        """
        formula = self._formulas.get(request.model)
        if formula is None:
            return super().terms(request, at=at, version=version, channel=channel)
        formula.check(at=at, version=version, channel=channel)
        return formula.terms(request, notes=self._not_overlaid(request.model))

    def _not_overlaid(self, model: str) -> Iterator[str]:
        """What an overlay's author should know of a price that it does not reach."""
        for overlay in self.overlays:
            if any(fnmatchcase(model, change.model) for change in overlay.overlay):
                yield f"overlay {overlay.name} does not change this price: it is a formula"


def book_names() -> tuple[str, ...]:
    """Names of all price books: the bundled ones and those that were kept."""
    return (*bundled_names(), *kept_names())


def open_prices(
    name: str = _BASE,
    files: Iterable[str | Path] = (),
    *,
    user_group: str | None = None,
) -> PriceBook:
    """A price book by its name, bundled or kept, or the pricing document among the files.

    Args:
        name: name of the book.
        files: overlays and price files (TOML); a pricing document (JSON) is a book of its own,
            and takes the place of the named one.
        user_group: user group of the account, for overlays that name one.

    Raises:
        InvalidPriceFile: there is no such book, two documents, or a file that is not valid.
    """
    paths = [Path(path) for path in files]
    documents = [path for path in paths if path.suffix.lower() == ".json"]
    overlays = [path for path in paths if path not in documents]
    if len(documents) > 1:
        problem = "is a second pricing document; a job is priced under one"
        raise InvalidPriceFile(str(documents[1]), [Fault("", problem)])
    if documents:
        return PublishedRules.read(documents[0], overlays=overlays, user_group=user_group)
    if name not in bundled_names():
        kept = PublishedRules.kept(name, overlays=overlays, user_group=user_group)
        if kept is not None:
            return kept
        known = book_names()
        nearest = get_close_matches(name, known, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        problem = f"known are {', '.join(known)}{hint}"
        raise InvalidPriceFile(f"price book {name}", [Fault("", problem)])
    return PriceBook.bundled(name, overlays=overlays, user_group=user_group)


def _overlay(path: Path, formulas: Mapping[str, Rule], priced: Sequence[str]) -> OverlayFile:
    """An overlay for rules: its changes reach what is a rate times a length."""
    file = read_user_file(path)
    if not isinstance(file, OverlayFile):
        problem = "is a price file; published rules take overlays only"
        raise InvalidPriceFile(str(path), [Fault("", problem)])
    faults = [
        Fault(f"overlay.{number}.model", f"{change.model} is a formula; it has no rate to change")
        for number, change in enumerate(file.overlay)
        if any(fnmatchcase(model, change.model) for model in formulas)
        and not any(fnmatchcase(model, change.model) for model in priced)
    ]
    if faults:
        raise InvalidPriceFile(str(path), faults)
    return file


def _text_of(found: Kept) -> bytes:
    """The document of a kept book, which nobody changed."""
    problem = "was changed after it was kept"
    try:
        text = bytes_of(found.path)
    except InvalidPriceFile as error:
        problem = f"has lost its document: {error.faults[0].problem}"
    else:
        if hashlib.sha256(text).hexdigest() == found.digest:
            return text
    problem += f"; import it again ({found.path})"
    raise InvalidPriceFile(f"price book {found.name}", [Fault("", problem)])


def _rates(known: ExchangeRates, meta: Meta, source: str) -> ExchangeRates:
    """The bundled exchange rates, and the document's own from its capture on if it differs."""
    own = meta.uc_per_usd.scaleb(-4, EXACT)
    current = known.find(meta.updated_at)
    if current is not None and current.credits_per_unit == own:
        return known
    try:
        rate = ExchangeRate(
            currency="USD",
            credits_per_unit=own,
            effective_from=meta.updated_at,
            source=source,
            checked=meta.updated_at.date(),
        )
    except ValidationError:
        problem = f"has a rate of {plain(meta.cny_per_usd)} CNY for a dollar, which cannot be kept"
        raise InvalidPriceFile(source, [Fault("meta.exchange_rate_version", problem)]) from None
    return ExchangeRates([*known.rates, rate])


def _digests(text: bytes) -> dict[str, str]:
    """Eight hex digits over what each model's charges depend on."""
    # Digits stay as they were written, however many there are.
    document = json.loads(text, parse_float=str)
    models: Sequence[dict[str, Any]] = document.get("models") or [document["model"]]
    return {model["model_id"]: _digest(model) for model in models}


def _digest(model: Mapping[str, Any]) -> str:
    content = {
        "parameters": model.get("parameters"),
        "components": [
            {name: value for name, value in part.items() if name not in _NO_PRICE}
            for part in model["components"]
        ],
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _scalar(value: object) -> object:
    """A value of a body as the rules write it: a decimal as the text of its digits."""
    return f"{Decimal(repr(value)):f}" if isinstance(value, float) else value


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

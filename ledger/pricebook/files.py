"""Reading price files: the bundled books, and a user's own files, with every fault named."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from decimal import Decimal
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from ledger.errors import Fault, InvalidPriceFile
from ledger.pricebook.schema import BookFile, Defaults, ModelFile, OverlayFile, RatesFile
from ledger.requests import must
from ledger.units import ExchangeRates

__all__ = ["append", "bundled_names", "read_bundled", "read_user_file"]

_Schema = TypeVar("_Schema", bound=BaseModel)


def _read(schema: type[_Schema], text: str, where: str) -> _Schema:
    """One TOML document, with every fault named by its path.

    TOML floats are read as Decimal, digit for digit, so a rate of 8.1648 is exactly that.
    """
    return _validate(schema, _toml(text, where), where)


def _toml(text: str, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text.removeprefix("\ufeff"), parse_float=_decimal)
    except tomllib.TOMLDecodeError as error:
        raise InvalidPriceFile(where, [Fault("", f"is not TOML: {error}")]) from None
    except (ValueError, RecursionError):
        problem = "is not TOML: a number is too long, or tables are nested too deep"
        raise InvalidPriceFile(where, [Fault("", problem)]) from None


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except ArithmeticError:
        return Decimal("Infinity")  # 1e9999999999999999999: refused by the schema, with its field


def _validate(schema: type[_Schema], data: Mapping[str, Any], where: str) -> _Schema:
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        details = error.errors(include_url=False)
        paths = [_path(detail["loc"]) for detail in details]
        found = [
            Fault(path, _problem(detail))
            for path, detail in zip(paths, details, strict=True)
            # A list whose items are all at fault counts as empty; that says nothing new.
            if detail["type"] != "too_short" or not any(p.startswith(f"{path}.") for p in paths)
        ]
        raise InvalidPriceFile(where, found) from None


def _path(loc: Iterable[int | str]) -> str:
    """The path as the writer of the file knows it, without pydantic's tags of alternatives."""
    return ".".join(str(part) for part in loc if not str(part).startswith("~"))


def _problem(detail: Any) -> str:
    if detail["type"] == "extra_forbidden":
        return "is not a key of this table"
    if detail["type"] == "missing":
        return "is required"
    return must(str(detail["msg"]))


def read_user_file(path: Path) -> OverlayFile | ModelFile:
    """A user's own file: changes of prices, or a model's prices.

    Raises:
        InvalidPriceFile: it cannot be read, or breaks the schema; has every fault.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidPriceFile(str(path), [Fault("", str(error.strerror))]) from None
    except UnicodeDecodeError:
        raise InvalidPriceFile(str(path), [Fault("", "is not UTF-8 text")]) from None
    except ValueError:
        raise InvalidPriceFile(str(path), [Fault("", "is not the name of a file")]) from None
    data = _toml(text, str(path))
    if "overlay" in data:
        return _validate(OverlayFile, data, str(path))
    if "price" in data:
        return _validate(ModelFile, data, str(path))
    fault = Fault("", "has neither [[overlay]] nor [[price]]; it must have one of them")
    raise InvalidPriceFile(str(path), [fault])


def _folder() -> Traversable:
    return files("ledger") / "prices"


def bundled_names() -> tuple[str, ...]:
    """Names of the books that come with the library."""
    return tuple(sorted(item.name for item in _folder().iterdir() if item.is_dir()))


@cache
def read_bundled(name: str) -> tuple[BookFile, Mapping[str, ModelFile], ExchangeRates]:
    """A bundled book: its description, its models and the exchange rates.

    Raises:
        InvalidPriceFile: there is no such book.
    """
    folder = _folder() / name
    if name not in bundled_names():
        nearest = get_close_matches(name, bundled_names(), n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        known = ", ".join(bundled_names())
        raise InvalidPriceFile(f"price book {name}", [Fault("", f"known are {known}{hint}")])
    book = _read(BookFile, _text(folder / "book.toml"), f"{name}/book.toml")
    models: dict[str, ModelFile] = {}
    if book.based_on is not None:
        models = dict(read_bundled(book.based_on)[1])
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if not item.name.endswith(".toml") or item.name == "book.toml":
            continue
        where = f"{name}/{item.name}"
        file = _read(ModelFile, _text(item), where)
        if item.name != f"{file.model}.toml":
            raise InvalidPriceFile(where, [Fault("model", "must be the name of the file")])
        base = models.get(file.model)
        if base is not None:
            given = {key: getattr(file, key) for key in file.model_fields_set}
            file = base.model_copy(update=given)
        models[file.model] = file
    rates = _read(RatesFile, _text(_folder() / "exchange-rates.toml"), "exchange-rates.toml")
    return book, models, ExchangeRates(rates.rate)


def _text(item: Traversable) -> str:
    return item.read_text(encoding="utf-8")


def append(base: ModelFile | None, file: ModelFile, path: str) -> ModelFile:
    """A user's price file on top of a model the book knows: its prices are added or win."""
    if base is None:
        if file.body is None:
            raise InvalidPriceFile(path, [Fault("body", "is required for a new model")])
        return file
    if file.defaults != Defaults() and file.defaults != base.defaults:
        # Defaults have no date: they would change what old jobs cost.
        raise InvalidPriceFile(path, [Fault("defaults", "of a known model cannot be changed")])
    _check_options(base, file, path)
    prices = {price.effective_from: price for price in (*base.price, *file.price)}
    update: dict[str, Any] = {"price": tuple(prices.values())}
    for name in file.model_fields_set - {"model", "price", "defaults"}:
        update[name] = getattr(file, name)
    return base.model_copy(update=update)


def _check_options(base: ModelFile, file: ModelFile, path: str) -> None:
    """Refuse a price that prices every quality alike, unless it says so in a table."""
    limits = file.limits or base.limits
    tiers = limits.values.get("quality", ()) if limits is not None else ()
    for number, price in enumerate(file.price):
        named = {option for table in price.multiplier for option in table.options}
        if price.unit == "second" and len(tiers) > 1 and "quality" not in named:
            problem = f"is missing for quality ({', '.join(tiers)}); a block inherits nothing"
            raise InvalidPriceFile(path, [Fault(f"price.{number}.multiplier", problem)])

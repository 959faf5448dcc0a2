"""`kling-ledger quote`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.cli.options import (
    AtOption,
    ChannelOption,
    ExpectedOption,
    Format,
    FormatOption,
    GroupOption,
    PriceBookOption,
    PricesOption,
    SetOption,
    complete_model,
    open_book,
)

if TYPE_CHECKING:
    from ledger.documents import NotQuotedDocument
    from ledger.errors import LedgerError
    from ledger.media import Clip
    from ledger.pricebook import PriceBook
    from ledger.pricing import Charge, LineItem, Quote
    from ledger.requests import Request
    from ledger.units import ExchangeRate

EXAMPLES = """
**Examples**

`kling-ledger quote motion-control --quality 1080p --orientation video --seconds 12.4`

`kling-ledger quote motion-control --orientation video --video dance.mp4 --explain`

`kling-ledger quote request.json --seconds 12.4`    the very body one would POST

`cat requests.jsonl | kling-ledger quote - --format json`
"""


def quote(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODEL|FILE|-",
            help="A model, or request bodies: a JSON object, an array, or JSON lines.",
            autocompletion=complete_model,
        ),
    ],
    quality: Annotated[
        str | None, typer.Option(metavar="TIER", help="Resolution tier, such as `1080p`.")
    ] = None,
    orientation: Annotated[
        str | None, typer.Option(metavar="WHICH", help="Character orientation: `image` or `video`.")
    ] = None,
    sound: Annotated[
        str | None, typer.Option(metavar="on|off", help="Generated sound: `on` or `off`.")
    ] = None,
    seconds: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS", help="Length of the reference clip, or the length asked for."
        ),
    ] = None,
    video: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="CLIP|FOLDER",
            help="Measure a real clip, check it and quote it; may be repeated.",
        ),
    ] = None,
    set_: SetOption = None,
    expected_seconds: ExpectedOption = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say how each figure comes about.")
    ] = False,
    at: AtOption = None,
    price_book: PriceBookOption = "evolink",
    prices: PricesOption = None,
    group: GroupOption = None,
    channel: ChannelOption = "preferred",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Say what a job will cost.

    Give a model and its options, or the request bodies you would send to the provider.
    """
    from ledger.cli.books import labels_of
    from ledger.errors import LedgerError
    from ledger.units import parse_moment, parse_seconds

    source = open_book(price_book, prices, group)
    moment = None if at is None else parse_moment(at)
    guess = None if expected_seconds is None else parse_seconds(expected_seconds)
    options = {"quality": quality, "character_orientation": orientation, "sound": sound}
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if set_:
        given["options"] = labels_of(set_, "--set")
    if seconds is not None and video:
        raise typer.BadParameter("give --seconds or --video, not both")
    if _is_model(target, source):
        jobs = _jobs(source, target, given, seconds, video)
    else:
        if given:
            flags = {"character_orientation": "orientation", "options": "set"}
            names = ", ".join(f"--{flags.get(name, name)}" for name in given)
            raise typer.BadParameter(f"{names}: the options of a request body stand in the body")
        jobs = requests_of(source, target, seconds, video)
    quotes: list[tuple[str, Quote]] = []
    failures: list[tuple[str, LedgerError]] = []
    for label, job in jobs:
        try:
            if isinstance(job, LedgerError):
                raise job
            guessed = {} if guess is None else {"expected_seconds": guess}
            request = job.model_copy(update=guessed)
            quoted = source.quote(request, at=moment, channel=channel)
            if video:
                _check_fits(label, quoted)
            quotes.append((label, quoted))
        except LedgerError as error:
            failures.append((label, error))
    _print(quotes, failures, format_, explain=explain)
    if failures:
        raise typer.Exit(failures[0][1].exit_status)


def _is_model(target: str, source: PriceBook) -> bool:
    from ledger.errors import InvalidInput, UnknownModel

    if target in source.models or target in source.aliases:
        return True
    if not target.strip():
        raise UnknownModel(target, book=source.name)
    if Path(target).is_dir():
        raise InvalidInput(f"{target} is a folder, neither a model nor a file of request bodies")
    endings = {".json", ".jsonl", ".ndjson", ".csv", ".parquet", ".mp4", ".mov", ".webm"}
    if target == "-" or Path(target).suffix.lower() in endings or Path(target).exists():
        return False
    source.model(target)  # raises, with the nearest names
    return True


def _jobs(
    source: PriceBook,
    model: str,
    options: dict[str, Any],
    seconds: str | None,
    video: list[Path] | None,
) -> Iterator[tuple[str, Request | LedgerError]]:
    """The job of a model and its options, once for each clip."""
    from ledger.errors import LedgerError

    model = source.model(model)
    if not video:
        yield model, source.job(model, seconds=seconds, **options)
        return
    from ledger.media import find_clips

    for path in dict.fromkeys(find_clips(video)):
        try:
            yield (
                str(path),
                source.job(model, seconds=_measured(source, model, _clip(path)), **options),
            )
        except LedgerError as error:
            yield str(path), error


def _check_fits(label: str, quoted: Quote) -> None:
    """Refuse a real clip that is longer than the options allow; a mere number is priced capped.

    Raises:
        InvalidMedia: with the length and the longest one.
    """
    from ledger.errors import Fault, InvalidMedia
    from ledger.units import plain

    longest, seconds = quoted.terms.longest_seconds, quoted.request.reference_seconds
    if quoted.terms.settles_on != "output" or longest is None or seconds is None:
        return
    if seconds > longest:
        problem = f"is {plain(seconds)} s; with {quoted.terms.options} it may be {plain(longest)} s"
        raise InvalidMedia(label, [Fault("length", problem)])


def _measured(source: PriceBook, model: str, clip: Clip) -> Any:
    """The length of a clip that the provider would take for the model.

    Raises:
        InvalidMedia: it cannot be read, or breaks the published limits; has every fault.
    """
    from ledger.errors import Fault, InvalidMedia
    from ledger.media import clip_faults

    path = clip.path
    limits = source.limits(model)
    if limits is None or limits.clip is None:
        raise InvalidMedia(str(path), [Fault("", f"{model} takes no reference clip")])
    if found := clip_faults(clip, limits.clip):
        raise InvalidMedia(str(path), found)
    return clip.seconds


def _clip(path: Path) -> Clip:
    """A clip, measured and mentioned."""
    from ledger.cli.output import say
    from ledger.media import probe

    clip = probe(path)
    say(str(clip))
    return clip


def requests_of(
    source: PriceBook, target: str, seconds: str | None, video: list[Path] | None = None
) -> Iterator[tuple[str, Request | LedgerError]]:
    """The requests of a file of bodies, each with its place in the file."""
    from ledger.errors import Fault, InvalidRequest, LedgerError
    from ledger.units import parse_seconds

    bodies = list(_read_bodies(target))
    if video and (len(video) > 1 or video[0].is_dir()):
        raise typer.BadParameter("request bodies take one --video, the clip they all refer to")
    length = None if seconds is None else parse_seconds(seconds)

    @cache
    def clip() -> Clip:
        return _clip((video or [])[0])

    for label, body in bodies:
        try:
            if isinstance(body, LedgerError):
                raise body
            if not isinstance(body, dict):
                raise InvalidRequest(label, [Fault("", "is not a JSON object")])
            job = source.parse(body)
            if video and job.length_field == "reference_seconds":
                length = _measured(source, job.model, clip())
            if length is not None and job.length_field == "reference_seconds":
                job = job.model_copy(update={"reference_seconds": length})
                job = type(job).model_validate(job.model_dump(exclude_none=True))
            yield label, job
        except LedgerError as error:
            yield label, error


def _read_bodies(target: str) -> Iterator[tuple[str, Any]]:
    """JSON values of a file: one object, the items of one array, or one a line."""
    from ledger.errors import Fault, InvalidRequest

    name = "standard input" if target == "-" else Path(target).name
    suffix = Path(target).suffix.lower()
    if suffix in {".csv", ".parquet", ".pq"}:
        problem = "is a plan, not a request body; a plan is priced by: kling-ledger estimate"
        raise InvalidRequest(name, [Fault("", problem)])
    if suffix in {".mp4", ".mov", ".webm", ".m4v"}:
        raise InvalidRequest(name, [Fault("", "is a clip; name a model, and the clip by --video")])
    try:
        raw = sys.stdin.buffer.read() if target == "-" else Path(target).read_bytes()
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise InvalidRequest(name, [Fault("", str(error.strerror))]) from None
    except UnicodeDecodeError:
        raise InvalidRequest(name, [Fault("", "is not UTF-8 text")]) from None
    if not text.strip():
        raise InvalidRequest(name, [Fault("", "is empty")])
    try:
        whole = _json(text)
    except ValueError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) == 1 or not lines[0].lstrip().startswith("{") or lines[0].strip() == "{":
            raise InvalidRequest(name, [Fault("", f"is not JSON: {error}")]) from None
        yield from _read_lines(name, text)
        return
    if isinstance(whole, list):
        if not whole:
            raise InvalidRequest(name, [Fault("", "is an empty array")])
        yield from ((f"{name}[{place}]", body) for place, body in enumerate(whole))
    else:
        yield name, whole


def _read_lines(name: str, text: str) -> Iterator[tuple[str, Any]]:
    from ledger.errors import Fault, InvalidRequest

    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            label = f"{name}, line {number}"
            try:
                yield label, _json(line)
            except ValueError as error:
                yield label, InvalidRequest(label, [Fault("", f"is not JSON: {error}")])


def _json(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not a JSON number")

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError("a key stands twice in one object")
        return found

    try:
        return json.loads(text, parse_constant=refuse, object_pairs_hook=once)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _print(
    quotes: list[tuple[str, Quote]],
    failures: list[tuple[str, LedgerError]],
    format_: Format,
    *,
    explain: bool,
) -> None:
    from ledger.cli.output import complain, emit_json, print_csv, print_text, say

    # One request's notes need no name; of several, each note says whose it is.
    several = len(quotes) > 1
    notes = [
        f"{label}: {note}" if several else note for label, item in quotes for note in item.notes
    ]
    if format_ is Format.JSON:
        data = {
            "quotes": [{"name": label, **item.document()} for label, item in quotes],
            "not_priced": [_failure(label, error) for label, error in failures],
            "total": _total(quotes),
        }
        emit_json("quote", data, notes)
    elif explain and format_ is Format.TABLE:
        if quotes:
            print_text("\n\n".join(item.explain() for _, item in quotes))
    elif format_ is Format.CSV:
        print_csv(_CSV_HEADER, (_csv_row(label, item) for label, item in quotes))
    elif quotes:
        _print_tables(quotes, failures)
    explained = explain and format_ is Format.TABLE
    if format_ is not Format.JSON and not explained:
        for note in notes:
            say(note)
    for label, error in failures:
        message = str(error)
        complain(message if message.startswith(label) else f"{label}: {message}")


def _print_tables(quotes: list[tuple[str, Quote]], failures: list[tuple[str, LedgerError]]) -> None:
    from ledger.cli.output import money, print_table

    if len(quotes) == 1 and not failures:
        _print_one(quotes[0][1])
        return
    numbers = ["billed", "minimum", "expected", "maximum", "max. USD"]
    total = _total(quotes)
    rates = {item.exchange_rate for _, item in quotes}
    dollars = [_usd(item.exchange_rate, item.maximum_charge) for _, item in quotes]
    exact = [
        item.exchange_rate.convert(item.maximum_e8) for _, item in quotes if item.exchange_rate
    ]
    count = f"{len(quotes)} priced, {len(failures)} not" if failures else f"{len(quotes)} priced"
    print_table(
        ["request", "model", "options", *numbers],
        [[*_row(label, item), usd] for (label, item), usd in zip(quotes, dollars, strict=True)],
        total=[
            count,
            "",
            "",
            "",
            total["minimum"],
            total["expected"],
            total["maximum"],
            money(sum(exact)) if len(rates) == 1 and None not in rates else "",
        ],
        title=f"Credits, {_rates(rates)}",
        numbers=numbers,
    )


def _rates(rates: set[ExchangeRate | None]) -> str:
    from ledger.cli.output import rate_in_words

    known = sorted(rate_in_words(rate) for rate in rates if rate is not None)
    return " or ".join(known) or rate_in_words(None)


def _usd(rate: ExchangeRate | None, item: Charge | LineItem) -> str:
    from ledger.cli.output import money

    return "" if rate is None else money(rate.convert(item.credits_e8))


def _print_one(item: Quote) -> None:
    from ledger.cli.output import print_table, print_text
    from ledger.units import plain, show_credits

    rate = item.exchange_rate
    if item.length_known:
        print_table(
            ["line", "quantity", "unit", "credits per unit", "credits", "USD"],
            [
                [
                    line.label,
                    plain(line.quantity),
                    line.unit,
                    plain(line.unit_price),
                    show_credits(line.credits_e8),
                    _usd(rate, line),
                ]
                for line in item.lines
            ],
            total=[
                "total",
                "",
                "",
                "",
                show_credits(item.maximum_e8),
                _usd(rate, item.maximum_charge),
            ],
            title=item.terms.version.model,
            numbers=["quantity", "credits per unit", "credits", "USD"],
        )
    else:
        charges = [
            ("minimum", item.minimum_charge),
            ("expected", item.expected_charge),
            ("maximum", item.maximum_charge),
        ]
        print_table(
            ["", "seconds", "credits per second", "credits", "USD"],
            [
                [
                    name,
                    plain(charge.quantity),
                    plain(item.terms.unit_price),
                    show_credits(charge.credits_e8),
                    _usd(rate, charge),
                ]
                for name, charge in charges
            ],
            title=f"{item.terms.version.model}: {item.terms.options}",
            numbers=["seconds", "credits per second", "credits", "USD"],
        )
    print_text(f"price {item.terms.version.id}, {_rates({rate})}")


_CSV_HEADER = (
    "request",
    "model",
    "options",
    "unit",
    "billed_minimum",
    "billed_maximum",
    "minimum",
    "expected",
    "maximum",
    "maximum_usd",
    "credits_per_usd",
    "price_version",
    "digest",
)


def _csv_row(label: str, item: Quote) -> list[str | None]:
    document = item.document()
    billed, credits, usd = document["billed"], document["credits"], document["usd"]
    return [
        label,
        document["model"],
        document["options"],
        item.terms.unit,
        billed["minimum"],
        billed["maximum"],
        credits["minimum"],
        credits["expected"],
        credits["maximum"],
        usd and usd["maximum"],
        usd and usd["credits_per_usd"],
        document["price"]["version"],
        document["digest"],
    ]


def _row(label: str, item: Quote) -> list[str]:
    from ledger.units import plain, show_credits

    low, high = item.minimum_charge, item.maximum_charge
    billed = plain(high.quantity)
    unit = "s" if item.terms.unit == "second" else item.terms.unit
    return [
        label,
        item.terms.version.model,
        item.terms.options,
        f"{billed} {unit}" if item.length_known else f"{plain(low.quantity)}–{billed} {unit}",
        show_credits(low.credits_e8),
        show_credits(item.expected_charge.credits_e8),
        show_credits(high.credits_e8),
    ]


def _total(quotes: list[tuple[str, Quote]]) -> dict[str, str]:
    from ledger.units import show_credits

    return {
        "minimum": show_credits(sum(item.minimum_charge.credits_e8 for _, item in quotes)),
        "expected": show_credits(sum(item.expected_charge.credits_e8 for _, item in quotes)),
        "maximum": show_credits(sum(item.maximum_charge.credits_e8 for _, item in quotes)),
    }


def _failure(label: str, error: LedgerError) -> NotQuotedDocument:
    faults = getattr(error, "faults", ())
    return {
        "name": label,
        "code": error.code,
        "message": str(error),
        "faults": [{"field": fault.field, "problem": fault.problem} for fault in faults],
    }

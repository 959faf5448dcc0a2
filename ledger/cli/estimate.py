"""`kling-ledger estimate`."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Protocol

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
    complete_model,
    open_book,
)

if TYPE_CHECKING:
    from ledger.columns import Estimate, Group, NotPriced

EXAMPLES = """
**Examples**

`kling-ledger estimate plan.csv`

`kling-ledger estimate plan.parquet --by team --by model --format csv`

`kling-ledger estimate plan.csv --price-book evolink-rules --at 2026-10-10`

`kling-ledger estimate plan.csv --not-priced rejects.csv --allow-not-priced`
"""


def estimate(
    plan: Annotated[
        Path,
        typer.Argument(
            metavar="PLAN",
            help="The plan: .csv, .jsonl or .parquet, one row per job.",
        ),
    ],
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Group by an option or a label; may be repeated, or a list with commas.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Model of every row, for a plan without that column.",
            autocompletion=complete_model,
        ),
    ] = None,
    expected_seconds: ExpectedOption = None,
    not_priced: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write all rows without a price to this CSV file."),
    ] = None,
    allow_not_priced: Annotated[
        bool,
        typer.Option("--allow-not-priced", help="Exit with 0 although rows have no price."),
    ] = False,
    at: AtOption = None,
    price_book: PriceBookOption = "evolink",
    prices: PricesOption = None,
    group: GroupOption = None,
    channel: ChannelOption = "preferred",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Say what a plan of jobs will cost.

    Columns: model, quality, orientation, sound, seconds, count. Under published rules, options
    of their models are columns too, such as image_count; every other column is a label.
    Rows without a price are listed and counted as not priced, never as zero. Exits with 6 if
    there are any.
    """
    from ledger.cli.output import ProgressBar
    from ledger.columns import estimate as price_plan

    columns = [name.strip() for item in by or () for name in item.split(",")]
    source = open_book(price_book, prices, group)
    with _rejects(not_priced, plan) as reject, ProgressBar(f"pricing {plan.name}") as bar:
        result = price_plan(
            plan,
            source,
            by=columns,
            at=at,
            channel=channel,
            model=model,
            expected_seconds=expected_seconds,
            progress=bar,
            on_not_priced=reject,
        )
    _print(result, format_)
    if result.not_priced_rows and not allow_not_priced:
        raise typer.Exit(6)


class _Reject(Protocol):
    def __call__(self, rows: Sequence[NotPriced]) -> None: ...


def _writable(unfinished: Path, path: Path) -> IO[str]:
    from ledger.errors import InvalidInput

    try:
        return unfinished.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be written: {error.strerror}") from None


@contextmanager
def _rejects(path: Path | None, plan: Path) -> Iterator[_Reject | None]:
    """Writes rows without a price as they come; the file appears whole or not at all."""
    from ledger.errors import InvalidInput

    if path is None:
        yield None
        return
    if path.is_dir() or not path.name or path.name == "..":
        raise InvalidInput(f"{path}: is a folder; --not-priced takes a file")
    if path.exists() and plan.exists() and path.samefile(plan):
        raise InvalidInput(f"{path}: is the plan itself; --not-priced takes another file")
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with _writable(unfinished, path) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["row", "reason"])
            yield writer.writerows
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _print(result: Estimate, format_: Format) -> None:
    from ledger.cli.output import emit_json, print_csv, print_table, rate_in_words, say

    warnings = _warnings(result)
    rate = result.exchange_rate
    if format_ is Format.JSON:
        emit_json("estimate", result.document(), warnings)
        return
    figures = ["jobs", "minimum", "expected", "maximum", "max. USD", "not priced"]
    rows = [[*group.key, *_figures(result, group)] for group in result.groups]
    total = ["total", *[""] * (len(result.by) - 1), *_figures(result, result.total)]
    if format_ is Format.CSV:
        names = ["jobs", "minimum", "expected", "maximum", "maximum_usd", "not_priced_jobs"]
        names.append("credits_per_usd")
        if not result.by:
            print_csv(names, [_figures(result, result.total, exact=True)])
        else:
            exact = [[*group.key, *_figures(result, group, exact=True)] for group in result.groups]
            # A label may have the name of a figure; two columns of one name help nobody.
            labels = [f"label_{name}" if name in names else name for name in result.by]
            print_csv([*labels, *names], exact)
    else:
        title = (
            f"Credits for {_many(result.total.jobs, 'job')}, {_many(result.rows, 'row')} read,"
            f" price book {result.source}, {rate_in_words(rate)}"
        )
        if result.by:
            print_table([*result.by, *figures], rows, title=title, total=total, numbers=figures)
        else:
            print_table(figures, [_figures(result, result.total)], title=title, numbers=figures)
        if result.not_priced:
            more = result.not_priced_rows - len(result.not_priced)
            print_table(
                ["row", "reason"],
                result.not_priced,
                title=f"Not priced: {_many(result.not_priced_rows, 'row')},"
                f" {_many(result.total.not_priced_jobs, 'job')}"
                + (f"; the first {len(result.not_priced)}" if more else ""),
            )
    for warning in warnings:
        say(warning)


def _warnings(result: Estimate) -> list[str]:
    warnings = list(result.notes)
    if result.unknown_length_jobs:
        warnings.append(
            f"{_many(result.unknown_length_jobs, 'job')} of unknown length: counted from the"
            " shortest to the longest"
        )
    if result.not_priced_rows:
        warnings.append(
            f"{_many(result.total.not_priced_jobs, 'job')} in"
            f" {_many(result.not_priced_rows, 'row')} without a price: in none of the amounts"
        )
    return warnings


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _figures(result: Estimate, group: Group, *, exact: bool = False) -> list[str]:
    from ledger.cli.output import money
    from ledger.units import plain, show_credits

    rate = result.exchange_rate
    if not group.has_price:
        empty = [""] * 4
        return [str(group.jobs), *empty, str(group.not_priced_jobs), *([""] if exact else [])]
    usd = None if rate is None else rate.convert(group.maximum_e8)
    return [
        str(group.jobs),
        *(show_credits(amount) for amount in group[2:5]),
        "" if usd is None else plain(usd) if exact else money(usd),
        str(group.not_priced_jobs),
        *(["" if rate is None else plain(rate.credits_per_unit)] if exact else []),
    ]

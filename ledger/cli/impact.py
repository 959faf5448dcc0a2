"""`kling-ledger prices impact`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.cli.options import (
    DEFAULT_DB,
    DbOption,
    ExpectedOption,
    Format,
    FormatOption,
    GroupOption,
    complete_model,
    complete_price_book,
    open_book_or_file,
)

if TYPE_CHECKING:
    from ledger.impacts import Impact, ImpactGroup

__all__ = ["EXAMPLES", "impact"]

EXAMPLES = """
**Examples**

`kling-ledger prices impact evolink evolink-rules --jobs plan.csv --allow-not-priced`

`kling-ledger prices impact evolink evolink-rules --jobs plan.csv --by team --at 2026-10-10`

`kling-ledger prices impact evolink evolink-rules --book main`
"""

_MOST_REASONS = 20


def impact(
    first: Annotated[
        str,
        typer.Argument(
            metavar="A",
            help="A price book, a price file, or pricing rules.",
            autocompletion=complete_price_book,
        ),
    ],
    second: Annotated[
        str,
        typer.Argument(metavar="B", help="Another one.", autocompletion=complete_price_book),
    ],
    jobs: Annotated[
        Path | None,
        typer.Option(metavar="PLAN", help="The jobs of a plan: .csv, .jsonl or .parquet."),
    ] = None,
    book: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The jobs that this book has charged, such as `main`."),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN",
            help="Group by an option or a label; may be repeated, or a list with commas.",
            show_default="model",
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
    allow_not_priced: Annotated[
        bool,
        typer.Option("--allow-not-priced", help="Exit with 0 although jobs have no price."),
    ] = False,
    at: Annotated[
        str | None,
        typer.Option(
            metavar="DATE",
            help="Take the prices of this day or moment.",
            show_default="now; with --book, when each job was reserved",
        ),
    ] = None,
    group: GroupOption = None,
    db: DbOption = DEFAULT_DB,
    format_: FormatOption = Format.TABLE,
) -> None:
    """Say what the same jobs would have cost under two price books.

    The difference is split into what it comes from: rate, multiplier, rounding, smallest charge.
    Of a book, the jobs that were charged by length or per call are priced again, with the length
    that was charged. Exits with 6 if jobs have no price under one of the two.
    """
    from ledger.cli.output import ProgressBar
    from ledger.impacts import impact as compare

    if (jobs is None) == (book is None):
        raise typer.BadParameter("give --jobs or --book, one of them: whose jobs are compared")
    if book is not None and (model is not None or expected_seconds is not None):
        raise typer.BadParameter("--model and --expected-seconds belong to --jobs")
    columns = [name.strip() for item in by or ("model",) for name in item.split(",")]
    ours, theirs = open_book_or_file(first, group), open_book_or_file(second, group)
    if jobs is not None:
        with ProgressBar(f"comparing {jobs.name}") as bar:
            result = compare(
                ours,
                theirs,
                jobs,
                by=columns,
                at=at,
                model=model,
                expected_seconds=expected_seconds,
                progress=bar,
            )
    elif book is not None:
        from ledger.cli.books import open_ledger

        with open_ledger(db, book) as ledger, ProgressBar(f"comparing {book}") as bar:
            result = compare(ours, theirs, ledger, by=columns, at=at, progress=bar)
    _print(result, format_)
    if result.not_priced and not allow_not_priced:
        raise typer.Exit(6)


def _print(result: Impact, format_: Format) -> None:
    from ledger.cli.output import emit_json, print_csv, say

    warnings = _warnings(result)
    if format_ is Format.JSON:
        emit_json("price-impact", result.document(), warnings)
        return
    if format_ is Format.CSV:
        labels = [f"label_{name}" if name in _CSV else name for name in result.by]
        print_csv([*labels, *_CSV], (_exact(result, part) for part in result.groups))
    else:
        _print_tables(result)
    for warning in warnings:
        say(warning)


_CSV = (
    *("jobs", "first_book", "second_book", "first_credits", "second_credits", "difference"),
    *("change_percent", "rate", "multiplier", "rounding", "minimum", "other", "not_priced_jobs"),
)


def _exact(result: Impact, part: ImpactGroup) -> list[object]:
    document = part.document(result.by)
    return [
        *part.key,
        part.jobs,
        result.first,
        result.second,
        document["first_credits"],
        document["second_credits"],
        document["difference"],
        document["change_percent"],
        *(_credits(effect.amount_e8) for effect in part.effects),
        part.not_priced_jobs,
    ]


def _print_tables(result: Impact) -> None:
    from ledger.cli.books import many
    from ledger.cli.output import print_table

    when = "at the reserve of each job" if result.at is None else f"on {result.at:%Y-%m-%d}"
    title = (
        f"{result.first} and {result.second} {when},"
        f" {many(result.total.jobs, 'job')} of {result.jobs_of}"
    )
    ours, theirs = result.first, result.second
    if ours == theirs:
        ours, theirs = f"{ours} (A)", f"{theirs} (B)"
    numbers = ["jobs", ours, theirs, "difference", "change"]
    if result.not_priced:
        numbers.append("not priced")
    cells = len(numbers)
    print_table(
        [*result.by, *numbers],
        [[*part.key, *_figures(part)[:cells]] for part in result.groups],
        title=title,
        total=["total", *[""] * (len(result.by) - 1), *_figures(result.total)[:cells]],
        numbers=numbers,
        drops=["not priced", "change"],
    )
    if rows := _effects(result):
        print_table(
            [*result.by, "effect", "credits", "what differs"],
            rows,
            title="Where the difference comes from",
            numbers=["credits"],
            drops=["what differs"],
        )
    _print_reasons("Not priced", result.not_priced)
    _print_reasons("Not comparable", result.not_comparable)


def _figures(part: ImpactGroup) -> list[str]:
    not_priced = f"{part.not_priced_jobs:,}" if part.not_priced_jobs else ""
    if not part.has_price:
        return [f"{part.jobs:,}", "", "", "", "", not_priced]
    change = part.change_percent
    # What is too small for a decimal is not nothing.
    shown = "≈ 0 %" if part.difference_e8 and not change else f"{change} %"
    return [
        f"{part.jobs:,}",
        _credits(part.first_e8),
        _credits(part.second_e8),
        _credits(part.difference_e8),
        "–" if change is None else shown,
        not_priced,
    ]


def _effects(result: Impact) -> list[list[str | None]]:
    """A row for each effect that is not nothing, and the totals where there are several groups."""
    parts = [
        (part.key, effect, "\n".join(effect.what_differs))
        for part in result.groups
        for effect in part.effects
        if effect.amount_e8
    ]
    if len({key for key, _, _ in parts}) > 1:
        key = ("total", *[""] * (len(result.by) - 1))
        parts += [(key, effect, "") for effect in result.total.effects if effect.amount_e8]
    return [[*key, effect.name, _credits(effect.amount_e8), text] for key, effect, text in parts]


def _print_reasons(title: str, reasons: Mapping[str, int]) -> None:
    from ledger.cli.books import many
    from ledger.cli.output import print_table

    if not reasons:
        return
    rows = [[f"{jobs:,}", reason] for reason, jobs in list(reasons.items())[:_MOST_REASONS]]
    more = "; the most frequent reasons" if len(reasons) > _MOST_REASONS else ""
    named = f"{title}: {many(sum(reasons.values()), 'job')}{more}"
    print_table(["jobs", "reason"], rows, title=named, numbers=["jobs"])


def _credits(amount_e8: int) -> str:
    from ledger.units import show_credits

    return show_credits(amount_e8)


def _warnings(result: Impact) -> list[str]:
    from ledger.cli.books import many

    warnings = []
    if result.unknown_length_jobs:
        jobs = many(result.unknown_length_jobs, "job")
        warnings.append(f"{jobs} of unknown length: counted with what their quotes expect")
    if not_priced := sum(result.not_priced.values()):
        jobs = many(not_priced, "job")
        warnings.append(f"{jobs} without a price under one of the two: in none of the amounts")
    if result.not_comparable:
        jobs = many(result.not_comparable_jobs, "job")
        warnings.append(f"{jobs} of the book cannot be compared: in none of the amounts")
    if not result.groups:
        warnings.append("no job was charged from a quote: there is nothing to compare")
    return warnings

"""`kling-ledger ingest`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ledger.cli.books import many, open_ledger
from ledger.cli.options import DEFAULT_DB, BookOption, DbOption, Format, FormatOption

if TYPE_CHECKING:
    from ledger.documents import IngestDocument

EXAMPLES = """
**Examples**

`kling-ledger ingest tasks.jsonl`

`zcat callbacks-2026-10.jsonl.gz | kling-ledger ingest -`

A line that names the job: `{"job": "job-1", "received_at": "2026-10-10T12:00:00Z", "body": {…}}`
"""

INGEST_CSV = (
    *("file", "lines", "messages", "new", "known", "charged", "charged_credits"),
    *("released", "released_credits", "refunded", "refunded_credits", "invalid"),
    *("resumed_after", "repeated", "waiting", "running", "unproven", "unpriced", "disputed"),
)


def ingest(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="JSON lines of the provider's answers and callbacks; also .gz; `-` for stdin.",
        ),
    ],
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Read what the provider says of tasks, and do in the book what follows.

    Each line is a create response, a task query, a callback, a batch query or a task list, alone
    or in an envelope that names the job. Jobs are charged, released and refunded as far as it is
    proven. The same message counts once, and a file that was cut off goes on where it was. Lines
    that cannot be read are listed; exits with 7 if there are any.
    """
    from ledger.cli.output import ProgressBar
    from ledger.documents import ingest_document
    from ledger.ingest import ingest_tasks

    source = sys.stdin.buffer if file == "-" else file
    name = "standard input" if file == "-" else None
    with open_ledger(db, book) as ledger, ProgressBar(f"reading {name or file}") as bar:
        found = ingest_document(book, ingest_tasks(ledger, source, name=name, progress=bar))
    _print(found, format_)
    if found["invalid"]:
        raise typer.Exit(7)


def _print(found: IngestDocument, format_: Format) -> None:
    from ledger.cli.output import complain, emit_json, print_csv, print_table, say

    notes = _notes(found)
    if format_ is Format.JSON:
        emit_json("ingest", found, notes)
    elif format_ is Format.CSV:
        print_csv(INGEST_CSV, [[dict(found)[name] for name in INGEST_CSV]])
    else:
        read = many(found["messages"], "message")
        title = f"{found['file']}: {read} in {many(found['lines'], 'line')}"
        print_table(
            ["what", "number", "credits"], _rows(found), title=title, numbers=["number", "credits"]
        )
    if format_ is not Format.JSON:
        for note in notes:
            say(note)
    if found["invalid"]:
        listed = [f"line {item['line']:,}: {item['problem']}" for item in found["invalid_lines"]]
        if found["invalid"] > len(listed):
            listed.append(f"and {found['invalid'] - len(listed):,} more")
        lines = many(found["invalid"], "line")
        complain(f"{found['file']}: {lines} could not be read; the others are in", *listed)


def _rows(found: IngestDocument) -> list[tuple[str, str, str]]:
    return [
        ("new messages", str(found["new"]), ""),
        ("messages known before", str(found["known"]), ""),
        ("charges", str(found["charged"]), found["charged_credits"]),
        ("holds released", str(found["released"]), found["released_credits"]),
        ("refunds", str(found["refunded"]), found["refunded_credits"]),
        ("lines that could not be read", str(found["invalid"]), ""),
        ("tasks now: waiting for a job", str(found["waiting"]), ""),
        ("tasks now: running", str(found["running"]), ""),
        ("tasks now: refund unproven", str(found["unproven"]), ""),
        ("tasks now: not priced", str(found["unpriced"]), ""),
        ("tasks now: disputed", str(found["disputed"]), ""),
    ]


def _notes(found: IngestDocument) -> list[str]:
    """What a person should know besides the figures."""
    notes = []
    if found["repeated"]:
        notes.append(
            f"{found['file']} was read before, to its end: these are the figures of then, and"
            " nothing was done now"
        )
    elif found["resumed_after"]:
        lines = many(found["resumed_after"], "line")
        notes.append(f"went on behind {lines} that were read before")
    for state, number, what in (
        ("--waiting", found["waiting"], "waits for its job|wait for their jobs, or were refused"),
        ("--state unproven", found["unproven"], "failed without proof of a refund|"),
        (
            "--state unpriced",
            found["unpriced"],
            "completed, and nobody said what it cost|completed, and nobody said what they cost",
        ),
        ("--state disputed", found["disputed"], "is disputed|are disputed"),
    ):
        if number:
            one, _, several = what.partition("|")
            said = one if number == 1 else several or one
            notes.append(
                f"{many(number, 'task')} of the book {said}; see: kling-ledger holds tasks {state}"
            )
    return notes

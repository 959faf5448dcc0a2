"""`kling-ledger holds …`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from ledger.cli.books import (
    age,
    length_of,
    minute_of,
    now,
    open_ledger,
    pairs,
    print_entries,
    print_entry_table,
)
from ledger.cli.options import (
    DEFAULT_DB,
    BookOption,
    DbOption,
    Format,
    FormatOption,
    HoldState,
    JobArgument,
    JobKeyOption,
    Message,
    TaskState,
)
from ledger.cli.parsing import Group
from ledger.cli.written import print_written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ledger.documents import HoldDocument, MessageDocument, TaskDocument
    from ledger.records import InboxRecord

app = typer.Typer(
    cls=Group,
    help="Look after holds: jobs that are not settled yet.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)

WalletOption = Annotated[
    str | None, typer.Option("--wallet", metavar="NAME", help="Only this wallet.")
]


@app.command("list", epilog="**Example**: `kling-ledger holds list --state unknown`")
def list_(
    wallet: WalletOption = None,
    state: Annotated[
        HoldState | None,
        typer.Option(help="Only these; `unknown` is past its deadline.", show_default="all"),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many.")] = 1000,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """List holds with their age, open ones in the order of their deadlines."""
    from ledger.cli.output import emit_json, print_csv, print_table, say
    from ledger.documents import hold_document
    from ledger.records import us
    from ledger.units import iso, show_credits

    moment = now()
    wanted = None if state is None else state.value
    with open_ledger(db, book) as ledger:
        # One more than asked for tells whether there are more.
        items = ledger.holds(wallet=wallet, state=wanted, limit=limit + 1)
    found = [hold_document(item, us(moment)) for item in items[:limit]]
    notes = [f"there are more than {limit:,}; see --limit"] if len(items) > limit else []
    if format_ is Format.JSON:
        data = {"book": book, "at": iso(moment.replace(microsecond=0)), "holds": found}
        emit_json("holds", data, notes)
        return
    if format_ is Format.CSV:
        print_csv(HOLDS_CSV, map(_csv_row, found))
    elif found:
        deadline = "deadline (UTC)"
        held = show_credits(sum(item.held_e8 for item in items[:limit]))
        print_table(
            ["job", "wallet", "state", "held", "charged", deadline, "age"],
            map(_row, found),
            total=["total", "", "", held, "", "", ""],
            title=f"Holds of book {book}" if wallet is None else f"Holds of wallet {wallet}",
            numbers=["held", "charged", deadline, "age"],
            drops=["charged", "wallet", "age", deadline],
        )
    else:
        notes.append("no such holds" if wanted or wallet else f"book {book} has no holds yet")
    for note in notes:
        say(note)


HOLDS_CSV = (
    *("job", "wallet", "state", "amount", "held", "charged", "refunded", "policy"),
    *("on_deadline", "labels", "price_version", "reserved_at", "deadline", "age_seconds"),
)


def _csv_row(item: HoldDocument) -> list[object]:
    known = dict(item) | {
        "labels": pairs(item["labels"]),
        "price_version": (item["price"] or {}).get("version"),
    }
    return [known[name] for name in HOLDS_CSV]


def _row(item: HoldDocument) -> list[str]:
    return [
        item["job"],
        item["wallet"],
        item["state"],
        _or_nothing(item["held"]),
        _or_nothing(item["charged"]),
        minute_of(item["deadline"]),
        age(item["age_seconds"]),
    ]


def _or_nothing(figure: str) -> str:
    return "" if figure == "0" else figure


@app.command()
def show(
    job: JobArgument,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Show the hold of a job and every entry about it."""
    from ledger.cli.books import ENTRIES_CSV, entry_rows
    from ledger.cli.output import emit_json, print_csv, print_figures, print_text
    from ledger.documents import entry_document, hold_document
    from ledger.records import us

    with open_ledger(db, book) as ledger:
        hold, entries = ledger.hold(job), ledger.history(job)
    document = hold_document(hold, us(now()))
    if format_ is Format.JSON:
        shown = [entry_document(item) for item in entries]
        emit_json("hold", {"hold": document, "entries": shown})
    elif format_ is Format.CSV:
        print_csv(ENTRIES_CSV, entry_rows(entries))
    else:
        names = ("amount", "held", "charged", "refunded")
        figures = list(zip(names, _amounts(document), strict=True))
        title = f"{document['job']} in wallet {document['wallet']}: {document['state']}"
        print_figures(title, figures)
        print_text("\n".join(f"  {fact}" for fact in _facts(document)) + "\n")
        print_entry_table(entries, title="Its entries")


def _amounts(hold: HoldDocument) -> tuple[str, str, str, str]:
    return hold["amount"], hold["held"], hold["charged"], hold["refunded"]


def _facts(hold: HoldDocument) -> list[str]:
    """What stands in a hold besides its figures, in words."""
    labels = ", ".join(f"{name}={value}" for name, value in hold["labels"].items())
    then = "stays held" if hold["on_deadline"] == "keep" else "is released"
    facts = [
        f"labels: {labels or 'none'}",
        f"deadline: {hold['deadline']}, after which it {then}",
        f"a charge above it: {hold['policy']}",
    ]
    if (price := hold["price"]) is not None:
        options = [
            price[name]
            for name in ("quality", "character_orientation", "sound")
            if price.get(name) is not None
        ]
        facts.append(f"priced as: {' '.join([price['model'], *options])}, {price['version']}")
    return facts


@app.command()
def expire(
    job: JobArgument,
    key: JobKeyOption = None,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Release a hold past its deadline, because you know it will not be charged."""
    with open_ledger(db, book) as ledger:
        print_written(ledger, ledger.expire(job, key=key), format_)


@app.command()
def sweep(
    wallet: WalletOption = None,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Release overdue holds that are to be released, and take out expired credits.

    A hold that is kept past its deadline stays; see `holds list --state unknown`.
    """
    with open_ledger(db, book) as ledger:
        entries = ledger.sweep(wallet)
    print_entries(book, entries, format_, title="Released and lapsed")


@app.command()
def inbox(
    discarded: Annotated[
        bool, typer.Option("--discarded", help="Those that were discarded instead, with why.")
    ] = False,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """List charges and refunds that wait: their job is not reserved, or they do not fit it."""
    with open_ledger(db, book) as ledger:
        records = ledger.inbox(discarded=discarded)
    _print_messages(book, records, format_, discarded=discarded)


@app.command(epilog="**Example**: `kling-ledger holds discard charge job-7 --reason stray`")
def discard(
    kind: Annotated[Message, typer.Argument(metavar="KIND", help="`charge` or `refund`.")],
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its key, as `holds inbox` lists it.")],
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; it stays in the book.")
    ],
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Close a charge or refund of the inbox that will never be applied; it moves no credits."""
    with open_ledger(db, book) as ledger:
        record = ledger.discard(kind.value, key, reason=reason)
    _print_messages(book, [record], format_, discarded=True)


def _print_messages(
    book: str, records: Sequence[InboxRecord], format_: Format, *, discarded: bool
) -> None:
    from ledger.cli.output import emit_json, print_csv, print_table, say
    from ledger.documents import message_document

    found = [message_document(item) for item in records]
    if format_ is Format.JSON:
        emit_json("inbox", {"book": book, "messages": found})
    elif format_ is Format.CSV:
        print_csv(MESSAGES_CSV, ([dict(item)[name] for name in MESSAGES_CSV] for item in found))
    elif found:
        why = ["why"] if discarded else []
        print_table(
            ["recorded (UTC)", "what", "job", "key", "credits", *why],
            [
                [
                    minute_of(item["recorded_at"]),
                    item["kind"],
                    item["job"],
                    item["key"],
                    _credits(item),
                    *([item["discard_reason"] or ""] if discarded else []),
                ]
                for item in found
            ],
            title=f"{'Discarded' if discarded else 'Waiting'} in book {book}",
            numbers=["recorded (UTC)", "credits"],
            drops=["recorded (UTC)", "key"],
        )
    else:
        say(f"book {book}: nothing {'was discarded' if discarded else 'waits'}")


@app.command(epilog="**Example**: `kling-ledger holds tasks --state unproven`")
def tasks(
    state: Annotated[
        TaskState | None,
        typer.Option(help="Only these; `unproven` failed without proof of a refund."),
    ] = None,
    unlinked: Annotated[
        bool, typer.Option("--unlinked", help="Only those of which no job is known.")
    ] = False,
    waiting: Annotated[
        bool,
        typer.Option(
            "--waiting",
            help="Only those whose job is not known or not reserved, or that the book has refused.",
        ),
    ] = False,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many.")] = 1000,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """List the provider's tasks, as their messages tell, those first heard of first."""
    from ledger.cli.output import emit_json, print_csv, print_table, say
    from ledger.documents import task_document

    wanted = None if state is None else state.value
    with open_ledger(db, book) as ledger:
        items = ledger.tasks(state=wanted, unlinked=unlinked, waiting=waiting, limit=limit + 1)
    found = [task_document(item) for item in items[:limit]]
    notes = [f"there are more than {limit:,}; see --limit"] if len(items) > limit else []
    if format_ is Format.JSON:
        emit_json("tasks", {"book": book, "tasks": found}, notes)
        return
    if format_ is Format.CSV:
        print_csv(TASKS_CSV, map(_task_csv_row, found))
    elif found:
        heard = "last heard (UTC)"
        print_table(
            ["task", "job", "state", "credits", "in the book", heard, "why"],
            [
                [
                    item["task"],
                    item["job"] or "",
                    item["state"],
                    item["net"] or "",
                    "yes" if item["applied"] else "waits" if item["waits"] else "no",
                    minute_of(item["last_heard_at"]),
                    "; ".join([item["reason"], *item["notes"]]),
                ]
                for item in found
            ],
            title=f"Tasks of book {book}",
            numbers=["credits", heard],
            drops=[heard, "why"],
        )
    else:
        notes.append("no such tasks" if wanted or unlinked or waiting else "no task was heard of")
    for note in notes:
        say(note)


TASKS_CSV = (
    *("task", "job", "model", "status", "state", "net", "applied", "waits", "reason", "notes"),
    *("first_heard_at", "last_heard_at"),
)


def _task_csv_row(item: TaskDocument) -> list[object]:
    known = dict(item) | {"notes": "; ".join(item["notes"])}
    return [known[name] for name in TASKS_CSV]


@app.command(epilog="**Example**: `kling-ledger holds link job-1 task-unified-1756817821-4x3rx6ny`")
def link(
    job: JobArgument,
    task: Annotated[str, typer.Argument(metavar="TASK", help="The provider's name of the task.")],
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Say which job a task of the provider belongs to, and do what was heard of it."""
    from ledger.cli.books import ENTRIES_CSV, entry_rows
    from ledger.cli.output import emit_json, print_csv, print_figures, say
    from ledger.documents import applied_document

    with open_ledger(db, book) as ledger:
        applied = ledger.link(job, task)
    if format_ is Format.JSON:
        emit_json("applied", applied_document(book, applied), applied.notes)
        return
    if format_ is Format.CSV:
        print_csv(ENTRIES_CSV, entry_rows(applied.entries))
    else:
        print_figures(f"task {task} belongs to job {job}: {applied.reason}", [])
        if applied.entries:
            print_entry_table(applied.entries, title="Written")
    for note in applied.notes:
        say(note)


@app.command("probe-list", epilog="**Example**: `kling-ledger holds probe-list --older-than 10m`")
def probe_list(
    limit: Annotated[
        int, typer.Option(min=1, metavar="N", help="At most so many; the provider takes 50.")
    ] = 50,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than", metavar="LENGTH", help="Only those that were silent for so long."
        ),
    ] = None,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """List the tasks to ask the provider about now, in one batch query, oldest first.

    These are tasks that run, that failed without proof of a refund, and that completed without a
    price. Jobs past their deadline of which no task is known cannot be asked about; they are said.
    """
    from ledger.cli.output import emit_json, print_csv, print_table, say
    from ledger.documents import probe_document
    from ledger.records import us

    silence = length_of(older_than)
    with open_ledger(db, book) as ledger:
        found = ledger.probe_list(limit=limit, older_than=silence)
    document = probe_document(book, found, us(now()))
    notes = [f"there are more than {limit:,} to ask about"] if found.more else []
    notes += [
        f"no task id known of job {item['job']!r} in wallet {item['wallet']!r}: past its deadline"
        f" for {age(item['overdue_seconds'])}; see: kling-ledger holds link"
        for item in document["silent"]
    ]
    if format_ is Format.JSON:
        emit_json("probe-list", document, notes)
        return
    if format_ is Format.CSV:
        print_csv(
            PROBE_CSV, ([dict(item)[name] for name in PROBE_CSV] for item in document["tasks"])
        )
    elif document["tasks"]:
        print_table(
            ["task", "job", "status", "state", "age"],
            [
                (
                    *(item["task"], item["job"] or "", item["status"], item["state"]),
                    age(item["age_seconds"]),
                )
                for item in document["tasks"]
            ],
            title=f"To ask about, book {book}",
            numbers=["age"],
            drops=["age", "status", "job"],
        )
    else:
        notes.append("no task to ask about")
    for note in notes:
        say(note)


PROBE_CSV = ("task", "job", "status", "state", "first_heard_at", "last_heard_at", "age_seconds")


MESSAGES_CSV = (
    *("kind", "key", "job", "amount", "seconds", "final", "reason"),
    *("happened_at", "recorded_at", "discarded_at", "discard_reason"),
)


def _credits(item: MessageDocument) -> str:
    if item["amount"] is not None:
        return item["amount"]
    return "as its request" if item["seconds"] is None else f"for {item['seconds']} s"

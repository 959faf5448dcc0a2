"""`kling-ledger reserve`, `extend`, `charge`, `release` and `refund`: what becomes of one job."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ledger.cli.books import (
    deadline_of,
    labels_of,
    now,
    open_ledger,
    prices_asked_for,
)
from ledger.cli.options import (
    DEFAULT_DB,
    BookOption,
    ChannelOption,
    DbOption,
    Format,
    FormatOption,
    GroupOption,
    HappenedOption,
    JobArgument,
    JobKeyOption,
    KeyOption,
    OnCharge,
    OnDeadline,
    PriceBookOption,
    PricesOption,
    ReasonOption,
    WalletArgument,
    open_book,
)
from ledger.cli.refusals import telling_refusals
from ledger.cli.written import about_hold, print_written

if TYPE_CHECKING:
    from ledger.pricebook import PriceBook
    from ledger.pricing import Quote

RESERVE_EXAMPLES = """
**Examples**

`kling-ledger reserve studio 140 --key job-1 --label team=ads --label user=li`

`kling-ledger reserve studio --request request.json --seconds 12.4 --key job-2`

`kling-ledger reserve studio 140 --key job-3 --dry-run`    is there room?
"""
CHARGE_EXAMPLES = """
**Examples**

`kling-ledger charge job-1 108.918432`

`kling-ledger charge job-2 --seconds 9.2`    priced as its request was
"""

_DEADLINE = (
    "From when on the outcome counts as unknown: a length such as `30s`, `90m`, `6h`, `2d` or"
    " `1d12h`, or a moment with its time zone."
)


def reserve(
    wallet: WalletArgument,
    amount: Annotated[
        str | None, typer.Argument(metavar="AMOUNT", help="Credits to set aside.")
    ] = None,
    *,
    key: Annotated[str, typer.Option("--key", metavar="JOB", help="The name of the job.")],
    request: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|-",
            help="Price this request body as `quote` does, and set its maximum aside.",
        ),
    ] = None,
    seconds: Annotated[
        str | None,
        typer.Option(metavar="SECONDS", help="Length of the reference clip of the request."),
    ] = None,
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="What budgets select by; may be repeated."),
    ] = None,
    deadline: Annotated[
        str | None, typer.Option(metavar="WHEN", help=_DEADLINE, show_default="24h")
    ] = None,
    policy: Annotated[
        OnCharge, typer.Option(help="What a charge above the hold does.")
    ] = OnCharge.OWE,
    on_deadline: Annotated[
        OnDeadline, typer.Option(help="Keep it held past its deadline, or release it.")
    ] = OnDeadline.KEEP,
    at: HappenedOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say whether there is room; write nothing.")
    ] = False,
    price_book: PriceBookOption = "evolink",
    prices: PricesOption = None,
    group: GroupOption = None,
    channel: ChannelOption = "preferred",
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Set credits aside for one job, if there is room.

    Exits with 3 if the wallet or a budget has none, and says which and whether waiting helps;
    nothing is written then.
    """
    if (amount is None) == (request is None):
        raise typer.BadParameter("give AMOUNT or --request, one of them")
    if seconds is not None and request is None:
        raise typer.BadParameter("--seconds belongs to --request")
    labels, until = labels_of(label), deadline_of(deadline)
    asked: Any = amount
    notes: list[str] = []
    source = prices_asked_for(price_book, prices, group)
    if request is not None:
        source = source or open_book(price_book, prices, group)
        asked = _quoted(source, request, seconds, channel, at)
        notes = list(asked.notes)
    with open_ledger(db, book, prices=source) as ledger:
        with telling_refusals(format_, book=book, job=key):
            entry = ledger.reserve(
                wallet,
                asked,
                key=key,
                labels=labels,
                deadline=until,
                policy=policy.value,
                on_deadline=on_deadline.value,
                at=at,
                dry_run=dry_run,
            )
        more, hints = ([], []) if dry_run else about_hold(ledger, entry)
        notes += more
        print_written(ledger, entry, format_, dry_run=dry_run, notes=notes, hints=hints)


def _quoted(
    source: PriceBook, target: str, seconds: str | None, channel: str, at: str | None
) -> Quote:
    """The one request of a file, priced at the moment the job was submitted.

    Raises:
        InvalidRequest: it cannot be read, or there are several.
        CannotPrice: it has no price.
    """
    from ledger.cli.quote import requests_of
    from ledger.errors import Fault, InvalidRequest, LedgerError
    from ledger.units import parse_moment

    found = list(requests_of(source, target, seconds))
    if len(found) > 1:
        problem = f"has {len(found)} requests; reserve takes one"
        raise InvalidRequest("standard input" if target == "-" else target, [Fault("", problem)])
    ((_, job),) = found
    if isinstance(job, LedgerError):
        raise job
    moment = now() if at is None else parse_moment(at)
    return source.quote(job, at=moment, channel=channel)


def extend(
    job: JobArgument,
    key: KeyOption,
    amount: Annotated[
        str | None, typer.Option(metavar="CREDITS", help="More credits to set aside.")
    ] = None,
    deadline: Annotated[str | None, typer.Option(metavar="WHEN", help=_DEADLINE)] = None,
    at: HappenedOption = None,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Give an open hold more credits, more time, or both.

    Exits with 3 if there is no room for more.
    """
    if amount is None and deadline is None:
        raise typer.BadParameter("give --amount, --deadline, or both")
    until = deadline_of(deadline)
    with open_ledger(db, book) as ledger:
        with telling_refusals(format_, book=book, job=job):
            entry = ledger.extend(job, key=key, amount=amount, deadline=until, at=at)
        notes, hints = about_hold(ledger, entry)
        print_written(ledger, entry, format_, notes=notes, hints=hints)


def charge(
    job: JobArgument,
    amount: Annotated[
        str | None,
        typer.Argument(
            metavar="AMOUNT",
            help="Credits the job cost; if not given, what its request costs, priced again.",
        ),
    ] = None,
    seconds: Annotated[
        str | None,
        typer.Option(
            metavar="SECONDS",
            help="Length that was made; priced with the price version of the hold's request.",
        ),
    ] = None,
    key: JobKeyOption = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="More charges will follow; keep the rest held.")
    ] = False,
    at: HappenedOption = None,
    price_book: PriceBookOption = "evolink",
    prices: PricesOption = None,
    group: GroupOption = None,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Take what a job cost; the rest of its hold goes back.

    A charge is a fact: it is written also if it is above the hold or late. If nobody has reserved
    the job yet, it waits in the inbox.
    """
    if amount is not None and seconds is not None:
        raise typer.BadParameter("give AMOUNT or --seconds, not both")
    source = prices_asked_for(price_book, prices, group)
    with open_ledger(db, book, prices=source) as ledger:
        outcome = ledger.charge(job, amount, seconds=seconds, key=key, final=not partial, at=at)
        print_written(ledger, outcome, format_)


def release(
    job: JobArgument,
    key: JobKeyOption = None,
    reason: ReasonOption = None,
    at: HappenedOption = None,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Give back what a hold has set aside, unused."""
    with open_ledger(db, book) as ledger:
        entry = ledger.release(job, key=key, reason=reason, at=at)
        print_written(ledger, entry, format_)


def refund(
    job: JobArgument,
    amount: Annotated[
        str | None,
        typer.Argument(metavar="AMOUNT", help="Credits to give back; all, if not given."),
    ] = None,
    key: JobKeyOption = None,
    reason: ReasonOption = None,
    at: HappenedOption = None,
    db: DbOption = DEFAULT_DB,
    book: BookOption = "main",
    format_: FormatOption = Format.TABLE,
) -> None:
    """Give back what was charged, all of it or a part.

    It returns to the balance and to the budget's window of the job. If nobody has reserved the
    job yet, it waits in the inbox.
    """
    with open_ledger(db, book) as ledger:
        outcome = ledger.refund(job, amount, key=key, reason=reason, at=at)
        print_written(ledger, outcome, format_)

"""The second half of `kling-ledger demo`: ten days of a studio in a book of its own.

Nothing here depends on the day it runs: the book goes by a clock of October 2026, and chance has
a fixed seed.
"""

from __future__ import annotations

import heapq
import json
import os
import random
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ledger.cli.books import clock, minute
from ledger.cli.demo import as_typed

if TYPE_CHECKING:
    from ledger import Ledger
    from ledger.pricing import Quote
    from ledger.records import Entry, Parked

JOBS = 320
DATABASE = "demo.db"
BODIES, REQUEST = "requests.json", "request.json"

_OPENED = datetime(2026, 10, 12, 7, tzinfo=UTC)
_CLOSED = datetime(2026, 10, 21, 17, tzinfo=UTC)
_MONTH_END = datetime(2026, 11, 2, 9, tzinfo=UTC)
_TEAMS = {"ads": ["li", "sam", "zoë"], "film": ["ada", "noor"], "social": ["max", "yuki", "eva"]}
_OUTCOMES = {"charged": 84, "failed": 6, "late": 3, "refunded": 5, "unheard": 2}
_TOLD = {
    "charged": "charged what was made",
    "failed": "failed, and released",
    "late": "charged late",
    "refunded": "charged, then refunded",
    "unheard": "never heard of",
    "refused": "refused by a budget",
}


class _Clock:
    """A clock that is moved."""

    def __init__(self) -> None:
        self.now = _OPENED

    def __call__(self) -> datetime:
        return self.now


class _Job(NamedTuple):
    """What the studio asks for, and what becomes of it."""

    name: str
    submitted: datetime
    quote: Quote
    labels: dict[str, str]
    made_seconds: str | None
    outcome: str


class _Told:
    """What became of the jobs, for a table."""

    def __init__(self) -> None:
        self.jobs = dict.fromkeys(_TOLD, 0)
        self.reserved_e8 = dict.fromkeys(_TOLD, 0)
        self.charged_e8 = dict.fromkeys(_TOLD, 0)
        self.refunded_e8 = dict.fromkeys(_TOLD, 0)
        self.thresholds: list[str] = []

    def heard(self, entry: Entry | Parked, job: _Job) -> None:
        """Count what an entry moved, and note a threshold that it was the first to cross."""
        from ledger.records import Entry

        if not isinstance(entry, Entry):
            return
        moved_e8 = {"reserve": entry.held_e8, "charge": -entry.posted_e8, "refund": entry.posted_e8}
        sums = {"reserve": self.reserved_e8, "charge": self.charged_e8, "refund": self.refunded_e8}
        if entry.kind in sums:
            sums[entry.kind][job.outcome] += moved_e8[entry.kind]
        for item in entry.crossed:
            self.thresholds.append(
                f"budget {item.budget} reached {item.percent} % on {minute(entry.happened_at)}"
            )


def show(folder: Path, title: Callable[[str], None]) -> None:
    """Run a book from its first top-up to its proof, in a folder; every command is shown."""
    from ledger import Ledger
    from ledger.cli.output import print_text

    bodies = json.loads((folder / BODIES).read_text(encoding="utf-8"))
    (folder / REQUEST).write_text(json.dumps(bodies[0], indent=2) + "\n", encoding="utf-8")
    time = _Clock()
    with clock(time), _environment(folder / DATABASE):
        title("A book of credits: a wallet, what came in, and two budgets")
        print_text("   From here on the demo goes by a clock of its own, in October 2026.\n")
        print_text(f"   $ export KLING_LEDGER_DB={shlex.quote(as_typed(folder / DATABASE))}\n")
        _type(
            "wallet open studio",
            "wallet top-up studio 26000 --key invoice-881 --cash 382.35 --currency USD",
            "wallet top-up studio 400 --key welcome --promotional --expires 2026-12-31",
            "budget set studio ads 9000 --key ads-1 --match team=ads --threshold 50 --threshold 80",
            "budget set studio each-user 480 --key users-1 --match 'user=*' --period day",
        )
        title("One job: reserved at its maximum, charged by the seconds that were made")
        request = shlex.quote(as_typed(folder / REQUEST))
        asked = f"reserve studio --request {request} --label team=ads --label user=li"
        _type(f"{asked} --seconds 12.4 --key job-0001")
        time.now += timedelta(minutes=4)
        print_text("")
        _type("charge job-0001 --seconds 9.2")
        title(f"{JOBS} more in ten days, through the library: ledger.reserve, charge, release, …")
        with Ledger(f"sqlite:///{folder / DATABASE}", clock=time) as ledger:
            _print_told(_ten_days(ledger, time, bodies))
        title("A charge for a job that nobody has reserved is a fact, too: it waits")
        _type("charge job-0999 --seconds 7", "holds inbox")
        title("Holds nobody has heard of stay held until somebody knows")
        _type("holds list --state unknown")
        title("A refusal, and why: the length is not known, so the longest one counts")
        _refuse(f"{asked} --key job-1000")
        title("Where the studio stands")
        _type("wallet balance studio", "budget status studio", "wallet statement studio --last 8")
        _show_month(folder, time, title)
        title("The proof: debits are credits, and every figure follows from the entries")
        _type("wallet trial-balance", "verify")


def _show_month(folder: Path, time: _Clock, title: Callable[[str], None]) -> None:
    """What the provider says of the month, held against the book, and the month closed."""
    from importlib.util import find_spec

    from ledger import Ledger
    from ledger.cli.demo_month import CORRECTIONS, MESSAGES, STATEMENT, look_over, play_provider
    from ledger.cli.output import print_text

    time.now = _MONTH_END
    with Ledger(f"sqlite:///{folder / DATABASE}", clock=time) as ledger:
        play_provider(ledger, folder)
    messages, statement, corrections = (
        shlex.quote(as_typed(folder / name)) for name in (MESSAGES, STATEMENT, CORRECTIONS)
    )
    title("Month end: the provider's messages; a dozen of its callbacks were lost")
    _type(f"ingest {messages}", "holds list --state unknown")
    if find_spec("polars") is None:
        print_text("   left out: polars is not installed")
        return
    title("The provider's statement of the month: every difference, and what causes it")
    compare = f"reconcile {statement} --from 2026-10-01 --to 2026-11-01"
    _type_to(f"{compare} --propose {corrections}", 4)
    title("Corrections: looked over by a person, then applied once")
    for line in look_over(folder / CORRECTIONS):
        print_text(f"   noor explains: {line}")
    print_text("")
    _type(f"reconcile apply {corrections}")
    title("The same statement again finds nothing that is open, and the month is closed")
    _type(compare, "period close 2026-10")
    _show_reports(folder, title)


def _show_reports(folder: Path, title: Callable[[str], None]) -> None:
    """What people read of the month, and what other programs do."""
    from importlib.util import find_spec

    from ledger.cli.demo_month import EXPORTS
    from ledger.cli.output import print_text

    title("What the month cost, and that the provider's bill says the same")
    _type("report usage --period 2026-10 --by team")
    needed = ("jinja2", "matplotlib", "plotext", "xlsxwriter")
    if missing := [module for module in needed if find_spec(module) is None]:
        print_text(f"   left out: {', '.join(missing)} is not installed")
        return
    print_text("")
    _type("report usage --period 2026-10 --by day --plot terminal")
    title("A folder for finance: the month's pack, FOCUS, journals, a workbook, and a manifest")
    exports = shlex.quote(as_typed(folder / EXPORTS))
    _type(f"export all --period 2026-10 --output {exports}", f"export check {exports}")


# Typing commands


@contextmanager
def _environment(database: Path) -> Iterator[None]:
    """The settings of the demo, and none of the reader's own."""
    before = {name: value for name, value in os.environ.items() if name.startswith("KLING_LEDGER_")}
    for name in before.keys() - {"KLING_LEDGER_DEBUG"}:
        del os.environ[name]
    os.environ["KLING_LEDGER_DB"] = str(database)
    try:
        yield
    finally:
        del os.environ["KLING_LEDGER_DB"]
        os.environ.update(before)


@cache
def _commands() -> Any:
    """All commands, which take a tenth of a second to put together."""
    from typer.main import get_command

    from ledger.cli import app

    return get_command(app)


def _type(*lines: str) -> None:
    """Run commands as if they were typed here."""
    from ledger.cli.output import print_text

    for place, line in enumerate(lines):
        if place:
            print_text("")
        print_text(f"   $ kling-ledger {line}\n")
        sys.stdout.flush()
        _commands()(shlex.split(line), prog_name="kling-ledger", standalone_mode=False)


def _type_to(line: str, status: int) -> None:
    """A command that ends with a status of its own; it says why by itself."""
    import typer

    try:
        _type(line)
    except typer.Exit as end:
        if end.exit_code != status:
            raise


def _refuse(line: str) -> None:
    """A command that is refused; it says why by itself."""
    from ledger.cli.output import complain
    from ledger.errors import BudgetExceeded

    try:
        _type(line)
    except BudgetExceeded as error:
        sys.stdout.flush()
        complain(str(error), *error.__notes__)


# Ten days


def _ten_days(ledger: Ledger, time: _Clock, bodies: list[Any]) -> _Told:
    """Reserve every job at its moment, and settle it at its own, in the order of time."""
    from ledger.errors import BudgetExceeded

    told = _Told()
    settling: list[tuple[datetime, str, _Job]] = []
    for job in _jobs(bodies):
        _settle_until(ledger, time, settling, job.submitted, told)
        time.now = job.submitted
        deadline = timedelta(hours=2)
        try:
            entry = ledger.reserve(
                "studio", job.quote, key=job.name, labels=job.labels, deadline=deadline
            )
        except BudgetExceeded:
            told.jobs["refused"] += 1
            continue
        told.jobs[job.outcome] += 1
        told.heard(entry, job)
        if job.outcome != "unheard":
            taken = timedelta(hours=3) if job.outcome == "late" else timedelta(minutes=4)
            heapq.heappush(settling, (job.submitted + taken, job.name, job))
    _settle_until(ledger, time, settling, _CLOSED, told)
    time.now = _CLOSED
    return told


def _settle_until(
    ledger: Ledger,
    time: _Clock,
    settling: list[tuple[datetime, str, _Job]],
    until: datetime,
    told: _Told,
) -> None:
    while settling and settling[0][0] <= until:
        time.now, name, job = heapq.heappop(settling)
        if job.outcome == "failed":
            told.heard(ledger.release(name, reason="failed at the provider"), job)
            continue
        told.heard(ledger.charge(name, seconds=job.made_seconds), job)
        if job.outcome == "refunded":
            told.heard(ledger.refund(name, reason="the provider's filter took it"), job)


def _jobs(bodies: list[Any]) -> Iterator[_Job]:
    """Jobs of working days, made from the example requests."""
    from ledger import PriceBook

    prices = PriceBook.bundled()
    chance = random.Random(20261012)  # noqa: S311  nothing here is secret
    moments = sorted(_OPENED + _into_the_days(chance) for _ in range(JOBS))
    for number, submitted in enumerate(moments, start=2):
        body = chance.choices(bodies, weights=[9, 6, 4, 1, 1, 3, 2, 2])[0]
        request = prices.parse(body)
        made = None
        if request.length_field == "reference_seconds":
            asked = chance.randint(31, 190)
            request = request.model_copy(update={"reference_seconds": _tenths(asked)})
            made = _tenths(max(30, asked - chance.randint(0, 40)))
        quote = prices.quote(request, at=submitted)
        if quote.terms.settles_on == "output" and made is None:
            made = _tenths(chance.randint(41, 50))
        team = chance.choices(list(_TEAMS), weights=[5, 2, 4])[0]
        yield _Job(
            f"job-{number:04d}",
            submitted,
            quote,
            {"team": team, "user": chance.choice(_TEAMS[team])},
            None if made is None else str(made),
            chance.choices(list(_OUTCOMES), weights=list(_OUTCOMES.values()))[0],
        )


def _into_the_days(chance: random.Random) -> timedelta:
    """A moment from 7:10 to 15:00 of a working day, counted from the first one's 7:00."""
    return timedelta(days=chance.choice([0, 1, 2, 3, 4, 7, 8, 9]), minutes=chance.randint(10, 480))


def _tenths(tenths: int) -> Decimal:
    return Decimal(tenths).scaleb(-1)


def _print_told(told: _Told) -> None:
    from ledger.cli.output import print_table, print_text
    from ledger.units import show_credits

    sums = (told.reserved_e8, told.charged_e8, told.refunded_e8)
    numbers = ["jobs", "reserved", "charged", "refunded"]
    print_table(
        ["what became of them", *numbers],
        [
            [
                words,
                told.jobs[outcome],
                *(show_credits(of[outcome]) if of[outcome] else "" for of in sums),
            ]
            for outcome, words in _TOLD.items()
        ],
        total=[
            "all",
            sum(told.jobs.values()),
            *(show_credits(sum(of.values())) for of in sums),
        ],
        numbers=numbers,
    )
    print_text("\n".join(told.thresholds))

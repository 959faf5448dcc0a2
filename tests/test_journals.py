"""Journals for accounting programs, read by these programs.

What they are run on are files; nothing of them is imported here. hledger and ledger come with the
system, so tests that need one that is not installed are skipped and say so.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

import histories
import pytest
import typer
from hypothesis import HealthCheck, given, settings
from typer.testing import CliRunner
from writers import Clock

from ledger.book import Book
from ledger.cli import export_journal
from ledger.costing import Costing
from ledger.errors import InvalidEntry, OutputError, UnknownWallet
from ledger.exports.journals import Dialect, history, journal
from ledger.exports.journals.dialects import DIALECTS, ROUNDING
from ledger.exports.journals.names import component, expense_account, quoted
from ledger.jobs import Ledger
from ledger.records import us
from ledger.spans import Span, span_of
from ledger.units import e8_to_credits

DIALECT_NAMES: tuple[Dialect, ...] = get_args(Dialect)
OCTOBER = span_of("2026-10")

# beancount is a dependency of the tests, but is run as any other program: its licence is the GPL.
_BEANCOUNT = """
import json, sys
from collections import defaultdict
from beancount import loader
told = []
for path in sys.argv[1:]:
    entries, errors, options = loader.load_file(path)
    sums = defaultdict(int)
    lots = defaultdict(int)
    for entry in entries:
        for posting in getattr(entry, "postings", None) or ():
            sums[posting.account + " " + posting.units.currency] += posting.units.number
            if posting.cost is not None:
                lots[posting.account + " " + posting.cost.label] += posting.units.number
    told.append({
        "errors": [error.message for error in errors],
        "sums": {key: str(each) for key, each in sums.items()},
        "lots": {key: str(each) for key, each in lots.items() if each},
    })
print(json.dumps(told))
"""


def installed(program: str) -> pytest.MarkDecorator:
    missing = shutil.which(program) is None
    return pytest.mark.skipif(missing, reason=f"{program} is not installed on this system")


PROGRAMS = [
    "beancount",
    pytest.param("hledger", marks=installed("hledger")),
    pytest.param("ledger", marks=installed("ledger")),
]


def check(dialect: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Have a program check a file as strictly as it can."""
    command = {
        "beancount": [str(Path(sys.executable).with_name("bean-check")), str(path)],
        "hledger": ["hledger", "-f", str(path), "check", "--strict", "ordereddates", "payees"],
        "ledger": ["ledger", "-f", str(path), "--pedantic", "--explicit", "--check-payees", "bal"],
    }[dialect]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def written(path: Path, lines: Iterator[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


LOT_2 = '{0.01470588235294118 USD, 2026-09-20, "lot-2"}'


@pytest.fixture
def studio(clock: Clock) -> Iterator[Book]:
    """One of everything, in September and October, worked out below."""
    with Book("sqlite://", clock=clock) as book:
        fill(book)
        yield book
        assert book.verify().findings == ()


def fill(book: Book) -> None:
    book.top_up(
        "studio",
        680,
        key="invoice-1",
        cash=10,
        currency="USD",
        at="2026-09-20",
        expires="2027-01-01",
    )
    book.top_up("studio", 50, key="gift", promotional=True, at="2026-09-21")
    book.reserve("studio", 100, key="job-1", labels={"team": "ads"}, at="2026-09-22")
    book.charge("job-1", 80, at="2026-09-23")
    book.reserve("studio", 620, key="job-2", labels={"team": "art"}, at="2026-10-01")
    book.charge("job-2", 700, at="2026-10-02")
    book.refund("job-1", 30, reason="too dark", at="2026-10-03")
    book.top_up("studio", 100, key="invoice-2", cash=2, currency="USD", at="2026-10-04")
    book.reserve("studio", 15, key="job-3", at="2026-10-05")
    book.adjust("studio", -5, key="count", reason="counted again", at="2026-10-06")


def transaction(lines: list[str], first: str) -> list[str]:
    """The lines of a transaction, from the first to the empty one."""
    start = lines.index(first)
    return lines[start : lines.index("", start)]


# What it says


def test_a_charge_takes_credits_at_cost_from_lots_and_the_debt(studio: Book) -> None:
    # 80 of lot 2 are used, so 600 are left, and 50 of the gift: 50 of 700 are owed.
    # 10 USD − 10 USD × 80/680 (1.17647059, half up) = 8.82352941; the gift cost nothing.
    # 600 × 0.01470588235294118 = 8.823529411764708: within half of the last digit.
    lines = list(journal(studio, "beancount"))
    assert transaction(lines, '2026-10-02 * "EvoLink" "charge job-2" ^job-2') == [
        '2026-10-02 * "EvoLink" "charge job-2" ^job-2',
        '  entry: "7"',
        '  kind: "charge"',
        '  key: "job-2"',
        '  job: "job-2"',
        '  labels: "team=art"',
        f"  Assets:EvoLink:Credits:Studio  -600.00000000 CREDIT {LOT_2}",
        '  Assets:EvoLink:Credits:Studio  -50.00000000 CREDIT {0 USD, 2026-09-21, "lot-3"}',
        "  Liabilities:EvoLink:Owed:Studio  -50.00000000 CREDIT",
        "  Expenses:AI:Unpriced  8.82352941 USD",
        "  Expenses:AI:Unpriced  50.00000000 CREDIT",
    ]


def test_what_a_cost_per_credit_makes_of_the_last_digit_is_posted_apart(tmp_path: Path) -> None:
    with Book("sqlite://", clock=Clock()) as book:
        book.top_up("studio", 300, key="bought", cash=10, currency="USD")
        book.reserve("studio", 300, key="job-1")
        for number in range(3):
            book.charge("job-1", 100, key=f"part-{number}", final=False)
        lines = list(journal(book, "beancount"))
        exact = list(journal(book, "hledger"))
    # The three cost 3.33333333, …34 and …33; 100 × 0.03333333333333333 is 3.333333333333333.
    expenses = [line for line in lines if line.startswith("  Expenses:AI:Unpriced")]
    assert [line.split()[1] for line in expenses] == ["3.33333333", "3.33333334", "3.33333333"]
    rounding = [line for line in lines if line.startswith("  Equity:Rounding")]
    assert rounding == ["  Equity:Rounding  -0.00000001 USD"]
    assert lines.index(rounding[0]) == lines.index(expenses[1]) + 1
    assert not [line for line in exact if line.startswith("    Equity:Rounding")]
    assert check("beancount", written(tmp_path / "whole", iter(lines))).returncode == 0
    lines.remove(rounding[0])
    assert check("beancount", written(tmp_path / "without", iter(lines))).returncode != 0


def test_hledger_gets_the_total_cost_of_each_lot(studio: Book) -> None:
    lines = list(journal(studio, "hledger"))
    assert transaction(lines, "2026-10-02 * (Studio/7) EvoLink | charge job-2")[6:] == [
        "    Assets:EvoLink:Credits:Studio  -600.00000000 CREDIT @@ 8.82352941 USD",
        "    ; lot: 2",
        "    Assets:EvoLink:Credits:Studio  -50.00000000 CREDIT @@ 0.00000000 USD",
        "    ; lot: 3",
        "    Liabilities:EvoLink:Owed:Studio  -50.00000000 CREDIT",
        "    Expenses:AI:Unpriced  8.82352941 USD",
        "    Expenses:AI:Unpriced  50.00000000 CREDIT",
    ]


def test_a_debt_turns_into_money_when_credits_pay_it(studio: Book) -> None:
    # The refund of 30 pays 30 of the debt with credits that had cost 30/680 of 10 USD:
    # 10 − round(10 × 650/680 = 9.55882353) = 0.44117647; nothing comes back to the wallet.
    lines = list(journal(studio, "ledger"))
    start = lines.index("2026-10-03 * (Studio/8) EvoLink")
    assert lines[start + 7 : start + 11] == [
        "    Liabilities:EvoLink:Owed:Studio  30.00000000 CREDIT",
        "    Expenses:AI:Unpriced  -30.00000000 CREDIT",
        "    Expenses:AI:Unpriced  0.00000000 USD",
        "",
    ]
    # By team it is seen where the money goes: from `ads` to `art`.
    by_team = list(journal(studio, "hledger", label="team"))
    start = by_team.index("2026-10-03 * (Studio/8) EvoLink | refund job-1")
    assert by_team[start + 7 : start + 11] == [
        "    Liabilities:EvoLink:Owed:Studio  30.00000000 CREDIT",
        "    Expenses:AI:Unpriced:Art  -30.00000000 CREDIT",
        "    Expenses:AI:Unpriced:Art  0.44117647 USD",
        "    Expenses:AI:Unpriced:Ads  -0.44117647 USD",
    ]
    # The next top-up pays the 20 that are left at 0.02 USD, and 80 of it stay.
    start = by_team.index("2026-10-04 * (Studio/9) EvoLink | top up")
    assert by_team[start + 4 : start + 11] == [
        "    Assets:EvoLink:Credits:Studio  80.00000000 CREDIT @@ 1.60000000 USD",
        "    ; lot: 9",
        "    Liabilities:EvoLink:Owed:Studio  20.00000000 CREDIT",
        "    Assets:Cash  -2.00000000 USD",
        "    Expenses:AI:Unpriced:Art  -20.00000000 CREDIT",
        "    Expenses:AI:Unpriced:Art  0.40000000 USD",
        "",
    ]


def test_a_span_opens_with_what_was_there_lot_by_lot(studio: Book) -> None:
    lines = list(journal(studio, "beancount", span=OCTOBER))
    # 680 − 80 = 600 of lot 2, and the 50 of the gift.
    assert transaction(lines, '2026-10-01 * "EvoLink" "opening"') == [
        '2026-10-01 * "EvoLink" "opening"',
        f"  Assets:EvoLink:Credits:Studio  600.00000000 CREDIT {LOT_2}",
        '  Assets:EvoLink:Credits:Studio  50.00000000 CREDIT {0 USD, 2026-09-21, "lot-3"}',
        "  Equity:Opening-Balances  -8.82352941 USD",
    ]
    assert not [line for line in lines if line.startswith("2026-09")]
    # 730 − 80 − 700 + 30 + 100 − 5 = 75; without holds, what is held is only said.
    assert lines[-4:] == [
        "; studio: posted 75, held 15",
        "2026-11-01 balance Assets:EvoLink:Credits:Studio  75.00000000 ~ 0 CREDIT",
        "2026-11-01 balance Liabilities:EvoLink:Owed:Studio  0.00000000 ~ 0 CREDIT",
        "",
    ]


def told_late(book: Book) -> None:
    """Bought for two units of the last digit, three credits of one unit each, told out of order.

    Recorded: a −1 (cost 1), b −1 (0), a's refund +1 (0), c −1 (0), d −1 (−1); a in October, the
    others in September. So September has 3 − 3 credits, and 2 − 0 − 0 − 1 = 1 of their cost.
    """
    book.open_wallet("studio", credit_limit=1)
    book.top_up(
        "studio", "0.00000003", key="few", cash="0.00000002", currency="USD", at="2026-09-20"
    )
    for job in "abcd":
        book.reserve("studio", "0.00000001", key=job, at="2026-09-21")
    book.charge("a", "0.00000001", at="2026-10-02")
    book.charge("b", "0.00000001", at="2026-09-22")
    book.refund("a", key="back", at="2026-10-03")
    book.charge("c", "0.00000001", at="2026-09-22")
    book.charge("d", "0.00000001", at="2026-09-22")


@pytest.mark.parametrize("dialect", PROGRAMS)
def test_cost_that_opens_without_credits_is_posted_as_rounding(
    dialect: Dialect, clock: Clock, tmp_path: Path
) -> None:
    with Book("sqlite://", clock=clock) as book:
        told_late(book)
        lines = list(journal(book, dialect, span=OCTOBER))
    indent, opening = ("  ", "opening") if dialect == "beancount" else ("    ", "(Studio/0)")
    place = next(number for number, line in enumerate(lines) if opening in line)
    assert lines[place + 1 : lines.index("", place)] == [
        f"{indent}Equity:Opening-Balances  -0.00000001 USD",
        f"{indent}Equity:Rounding  0.00000001 USD",
    ]
    done = check(dialect, written(tmp_path / "journal", iter(lines)))
    assert done.returncode == 0, done.stderr


def test_a_wallet_that_only_owes_is_asserted(clock: Clock) -> None:
    with Book("sqlite://", clock=clock) as book:
        book.open_wallet("studio", credit_limit=50)
        book.reserve("studio", 5, key="job-1")
        book.charge("job-1", 5)
        lines = list(journal(book, "beancount"))
    found = [line for line in lines if " balance " in line]
    assert found == ["2026-10-11 balance Liabilities:EvoLink:Owed:Studio  -5.00000000 ~ 0 CREDIT"]


def test_holds_move_credits_without_a_lot(studio: Book) -> None:
    lines = list(journal(studio, "hledger", holds=True))
    assert transaction(lines, "2026-10-05 * (Studio/10) EvoLink | reserve job-3")[5:] == [
        "    Assets:EvoLink:Reserved:Studio  15.00000000 CREDIT",
        "    Assets:EvoLink:Credits:Studio  -15.00000000 CREDIT",
    ]
    assert lines[-6:] == [
        "; studio: posted 75, held 15",
        "2026-10-06 * kling-ledger | balances",
        "    Assets:EvoLink:Credits:Studio  0 CREDIT = 60.00000000 CREDIT",
        "    Assets:EvoLink:Reserved:Studio  0 CREDIT = 15.00000000 CREDIT",
        "    Liabilities:EvoLink:Owed:Studio  0 CREDIT = 0.00000000 CREDIT",
        "",
    ]


def test_every_month_inside_is_asserted(studio: Book) -> None:
    lines = list(journal(studio, "beancount"))
    found = [line for line in lines if " balance Assets:EvoLink:Credits" in line]
    assert found == [
        "2026-10-01 balance Assets:EvoLink:Credits:Studio  650.00000000 ~ 0 CREDIT",
        "2026-10-07 balance Assets:EvoLink:Credits:Studio  75.00000000 ~ 0 CREDIT",
    ]


def test_only_what_was_recorded_by_then_counts(studio: Book, clock: Clock) -> None:
    before = us(clock.now)
    clock.forward(days=1)
    first = list(journal(studio, "hledger", as_of_us=us(clock.now)))
    studio.top_up("studio", 1, key="later")
    assert list(journal(studio, "hledger", as_of_us=us(clock.now))) == first
    assert list(journal(studio, "hledger")) != first
    assert not [line for line in journal(studio, "hledger", as_of_us=before) if " * " in line]


def test_a_correction_of_a_closed_period_names_it(studio: Book, clock: Clock) -> None:
    clock.now = datetime.fromisoformat("2026-11-02T12:00Z")
    studio.release("job-3")
    studio.close_period("2026-10", unreconciled="no bill yet")
    studio.adjust("studio", 1, key="late", reason="found", at="2026-10-20")
    lines = list(journal(studio, "hledger", span=span_of("2026-11")))
    assert "    ; corrects: 2026-10" in lines


def test_a_task_is_named_and_linked(database_url: str, book: str) -> None:
    with Ledger(database_url, book=book, clock=Clock()) as opened:
        opened.top_up("studio", 100, key="invoice-1")
        opened.reserve("studio", 40, key="job-1")
        opened.link("job-1", "task-unified-1")
        opened.apply(
            '{"id": "task-unified-1", "status": "completed", "usage": {"credits_used": 9}}'
        )
        lines = list(journal(opened, "beancount"))
    found = [line for line in lines if "charge job-1" in line]
    assert found == ['2026-10-10 * "EvoLink" "charge job-1" ^job-1 ^task-unified-1']
    assert '  task: "task-unified-1"' in lines


@pytest.mark.parametrize("dialect", DIALECT_NAMES)
def test_the_same_history_gives_the_same_bytes_on_both_engines(
    postgres_url: str, dialect: Dialect
) -> None:
    found = []
    book = f"journal-{dialect}"
    for url in (postgres_url, "sqlite://"):
        with Book(url, book=book, clock=Clock()) as opened:
            fill(opened)
            found.append(list(journal(opened, dialect, span=OCTOBER, holds=True)))
    assert found[0] == found[1]


def test_progress_counts_every_entry_that_is_read(
    studio: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The studio has 11 entries: it is opened, and ten things happen. Those of another are added.
    monkeypatch.setattr(history, "_ROWS", 4)
    studio.top_up("annex", 1, key="invoice-9")
    told: list[int] = []
    for _ in journal(studio, "ledger", progress=told.append):
        pass
    # 2 of the annex, then pages of 4, 4 and 3.
    assert told == [2, 6, 10, 13]


def test_an_empty_book_and_an_empty_period_give_files_that_hold_nothing(studio: Book) -> None:
    with Book("sqlite://") as empty:
        nothing = list(journal(empty, "beancount"))
    assert not [line for line in nothing if re.match(r"\d{4}-", line)]
    before = list(journal(studio, "hledger", span=span_of("2026-01")))
    assert not [line for line in before if " * " in line]


# Names


def test_no_two_names_become_one_account() -> None:
    names = ["ads", "Ads", "a b", "a-b", "a.b", "名", "前", "😀", "é", "e", "x" * 255, "x" * 254]
    names += [component(name) for name in names]
    # A component is capitalised, so a name that looks like one gets digits of its own.
    assert len({component(name) for name in names}) == len(set(names))
    assert all(re.fullmatch(r"[A-Z0-9][A-Za-z0-9-]*", component(name)) for name in names)


@pytest.mark.parametrize(
    ("model", "account"),
    [
        ("kling-v3-motion-control", "Expenses:AI:Kling:MotionControl"),
        ("kling-custom-element", "Expenses:AI:Kling:Element"),
        ("kling-o3-video-edit", "Expenses:AI:KlingO3:VideoEdit"),
        (
            "happyhorse-1.0-video-edit",
            f"Expenses:AI:Other:{component('happyhorse-1.0-video-edit')}",
        ),
        (None, "Expenses:AI:Unpriced"),
    ],
)
def test_a_model_has_its_account(model: str | None, account: str) -> None:
    assert expense_account(model) == account


@pytest.mark.parametrize("text", ["[2026-13-99]", "a, date:x", 'say "so"', "; no", "\\", " x"])
def test_what_a_comment_could_misread_is_escaped_and_can_be_read_back(text: str) -> None:
    assert not re.search(r"[\[\],;]", quoted(text))
    assert json.loads(quoted(text)) == text


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"commodity": "CR"}, "commodity"),
        ({"commodity": "CREDIT1"}, "commodity"),
        ({"currency": "usd"}, "currency"),
        ({"cash_account": "Bank"}, "cash_account"),
        ({"label": ""}, "label"),
    ],
)
def test_a_wrong_option_is_refused_before_anything_is_read(
    studio: Book, options: dict[str, str], field: str
) -> None:
    with pytest.raises(InvalidEntry, match=field):
        journal(studio, "hledger", **options)  # type: ignore[arg-type]


def test_an_unknown_dialect_or_wallet_is_refused(studio: Book) -> None:
    with pytest.raises(InvalidEntry, match="beancount, hledger, ledger"):
        journal(studio, "quickbooks")  # type: ignore[arg-type]
    with pytest.raises(UnknownWallet, match="studio"):
        journal(studio, "hledger", wallet="studios")


# Read by the programs


@pytest.mark.parametrize("dialect", PROGRAMS)
@pytest.mark.parametrize("commodity", ["CREDIT", "EVOLINK_CREDIT"])
def test_the_program_accepts_it_and_finds_every_changed_digit(
    studio: Book, dialect: Dialect, commodity: str, tmp_path: Path
) -> None:
    path = tmp_path / "journal"
    lines = list(journal(studio, dialect, span=OCTOBER, holds=True, commodity=commodity))
    assert (done := check(dialect, written(path, iter(lines)))).returncode == 0, done.stderr
    if commodity != "CREDIT":
        return
    kinds = {
        "a lot": "-600.00000000",
        "an expense": "Expenses:AI:Unpriced  8.82352941",
        "a debt": "Liabilities:EvoLink:Owed:Studio  -50.00000000",
        "an opening": "Equity:Opening-Balances  -8.82352941",
        "an assertion": "60.00000000",
        "what is held": "Assets:EvoLink:Reserved:Studio  15.00000000",
    }
    for kind, text in kinds.items():
        place = next(number for number, line in enumerate(lines) if text in line)
        wrong = list(lines)
        changed = f"{text[:-1]}{int(text[-1]) + 2}"
        wrong[place] = wrong[place].replace(text, changed)
        assert check(dialect, written(path, iter(wrong))).returncode != 0, kind
    unknown = [line.replace("Expenses:AI:Unpriced", "Expenses:AI:Other") for line in lines]
    at = next(n for n, line in enumerate(lines) if "Expenses:AI:Unpriced  " in line)
    assert check(dialect, written(path, iter([*lines[:at], *unknown[at:]]))).returncode != 0


STRANGE_WALLETS = ("studio", 'a:b "q" \\', "[2026-13-99] ;x, date:y", "名前 😀")
STRANGE_JOBS = ("job-0", "job 1 [=2026/99/99]", ":tag: x::y", 'j"2\\', "عربى", "a;b")
STRANGE_LABELS = ("ads", "Ads", "=1+1", "type:Z, w", "x" * 255, "🎬", "[1]")


class Case:
    """A history, its journals, and what the book says the programs should find."""

    def __init__(self, book: Book, folder: Path) -> None:
        self.folder, self.book = folder, book
        whole = None
        self.variants: list[tuple[str, Span | None, dict[str, object]]] = [
            ("whole", whole, {"holds": True, "label": "team"}),
            ("span", span_of("2026-10-05/2026-10-31", "Asia/Kathmandu"), {"holds": True}),
            ("plain", whole, {}),
        ]

    def write(self, dialect: Dialect) -> list[Path]:
        return [
            written(
                self.folder / f"{name}.{dialect}",
                journal(self.book, dialect, span=span, **options),  # type: ignore[arg-type]
            )
            for name, span, options in self.variants
        ]

    def compare(self, sums: list[dict[str, Decimal]]) -> None:
        """Compare balances by account and commodity with the book's."""
        for (name, span, options), found in zip(self.variants, sums, strict=True):
            for balance in self.book.wallets():
                posted, held = balance.posted, balance.held
                if span is not None:
                    then = self.book.balance(balance.wallet, before=span.end, by="happened")
                    posted, held = then.posted, then.held
                mine = component(balance.wallet, caseless=True)
                credits, reserved, owed = (
                    found.get(f"{account}:{mine} CREDIT", Decimal(0))
                    for account in (
                        "Assets:EvoLink:Credits",
                        "Assets:EvoLink:Reserved",
                        "Liabilities:EvoLink:Owed",
                    )
                )
                assert credits + reserved + owed == posted, name
                assert reserved == (held if options.get("holds") else 0), name

    def spent(self) -> dict[str, Decimal]:
        """Money that is neither cash nor in lots, by currency: all that came in, less what is."""
        left: dict[str, int] = defaultdict(int)
        for balance in self.book.wallets():
            costing = Costing()
            for entry in histories.entries(self.book, balance.wallet):
                costing.of(entry)
                if entry.kind == "top_up" and "cash_e8" in entry.details:
                    left[entry.details["currency"]] += entry.details["cash_e8"]
            for lot in costing.remaining:
                if lot.currency is not None:
                    left[lot.currency] -= lot.cost_e8
        return {currency: e8_to_credits(each) for currency, each in left.items() if each}


@contextmanager
def case_of(moves: histories.Moves) -> Iterator[Case]:
    clock = Clock()
    with TemporaryDirectory() as folder, Book("sqlite://", clock=clock) as book:
        histories.play(book, clock, moves, STRANGE_WALLETS, STRANGE_JOBS)
        yield Case(book, Path(folder))


HISTORIES = histories.histories(STRANGE_WALLETS, STRANGE_JOBS, STRANGE_LABELS)
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=10, deadline=None, suppress_health_check=SLOW)
@given(moves=HISTORIES)
def test_beancount_finds_the_balances_and_the_lots_of_the_book(moves: histories.Moves) -> None:
    with case_of(moves) as case:
        command = [sys.executable, "-c", _BEANCOUNT, *map(str, case.write("beancount"))]
        done = subprocess.run(command, capture_output=True, check=True, timeout=60)
        told = json.loads(done.stdout)
        assert [each["errors"] for each in told] == [[], [], []]
        sums = [{key: Decimal(text) for key, text in each["sums"].items()} for each in told]
        case.compare(sums)
        assert _money(sums[0]) == _money(sums[2]) == case.spent()
        for balance in case.book.wallets():
            account = f"Assets:EvoLink:Credits:{component(balance.wallet, caseless=True)}"
            for lot in case.book.lots(balance.wallet):
                if lot.cash is not None or lot.origin == "promotional":
                    remaining = told[0]["lots"].get(f"{account} lot-{lot.seq}", "0")
                    assert Decimal(remaining) == lot.remaining


@installed("hledger")
@settings(max_examples=12, deadline=None, suppress_health_check=SLOW)
@given(moves=HISTORIES)
def test_hledger_finds_the_balances_of_the_book(moves: histories.Moves) -> None:
    compare_plain("hledger", moves, _hledger)


@installed("ledger")
@settings(max_examples=12, deadline=None, suppress_health_check=SLOW)
@given(moves=HISTORIES)
def test_ledger_finds_the_balances_of_the_book(moves: histories.Moves) -> None:
    compare_plain("ledger", moves, _ledger)


def compare_plain(
    dialect: Dialect, moves: histories.Moves, read: Callable[[Path], dict[str, Decimal]]
) -> None:
    with case_of(moves) as case:
        paths = case.write(dialect)
        for path in paths:
            done = check(dialect, path)
            assert done.returncode == 0, done.stderr
        sums = [read(path) for path in paths]
        case.compare(sums)
        assert _money(sums[0]) == _money(sums[2]) == case.spent()


def _money(found: dict[str, Decimal]) -> dict[str, Decimal]:
    """What expenses, income and equity have of each currency, without what rounding made."""
    sums: dict[str, Decimal] = defaultdict(Decimal)
    for key, amount in found.items():
        account, currency = key.split(" ")
        if currency != "CREDIT" and account not in {"Assets:Cash", ROUNDING}:
            sums[currency] += amount
    return {currency: amount for currency, amount in sums.items() if amount}


def _hledger(path: Path) -> dict[str, Decimal]:
    command = ["hledger", "-f", str(path), "bal", "--flat", "-E", "-N", "-O", "json"]
    done = subprocess.run(command, capture_output=True, check=True, timeout=60)
    rows, _ = json.loads(done.stdout, parse_float=Decimal)
    found: dict[str, Decimal] = defaultdict(Decimal)
    for account, _, _, amounts in rows:
        for amount in amounts:
            quantity = amount["aquantity"]
            places = -int(quantity["decimalPlaces"])
            value = Decimal(quantity["decimalMantissa"]).scaleb(places)
            # One that has a cost stands apart from those with another, or none.
            found[f"{account} {amount['acommodity']}"] += value
    return found


def _ledger(path: Path) -> dict[str, Decimal]:
    line = "%(account)\t%(quantity(amount))\t%(commodity(amount))\n"
    command = ["ledger", "-f", str(path), "reg", "--format", line]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    found: dict[str, Decimal] = defaultdict(Decimal)
    for row in done.stdout.splitlines():
        account, quantity, commodity = row.split("\t")
        found[f"{account} {commodity}"] += Decimal(quantity)
    return found


def test_the_command_writes_a_whole_file_or_none(sqlite_url: str, tmp_path: Path) -> None:
    with Book(sqlite_url, clock=Clock()) as book:
        fill(book)
        expected = list(journal(book, "hledger", span=OCTOBER, label="team"))
    app, path = typer.Typer(), tmp_path / "october.journal"
    app.command()(export_journal.journal)
    arguments = ["--db", sqlite_url, "--dialect", "hledger", "--period", "2026-10"]
    arguments += ["--label", "team"]
    printed = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert printed.stdout.splitlines() == expected
    to_file = [*arguments, "--output", str(path)]
    done = CliRunner().invoke(app, to_file, catch_exceptions=False)
    assert (done.stdout, done.exit_code) == ("", 0)
    assert path.read_text("utf-8").splitlines() == expected
    with pytest.raises(OutputError, match="--overwrite"):
        CliRunner().invoke(app, to_file, catch_exceptions=False)
    path.unlink()
    with pytest.raises(InvalidEntry, match="commodity"):
        CliRunner().invoke(app, [*to_file, "--commodity", "x"], catch_exceptions=False)
    assert list(tmp_path.glob("*.journal")) == []


def test_every_dialect_is_tested() -> None:
    assert set(DIALECTS) == set(DIALECT_NAMES)

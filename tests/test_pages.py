"""Reports as pages and the month-end pack: whole, exact, readable by people and browsers."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from command import call
from matplotlib.image import imread
from writers import Clock

from ledger import Ledger
from ledger.breaks import BreakRecord
from ledger.reports.asking import ask
from ledger.reports.catalogue import CATALOGUE, make
from ledger.reports.columns import shown
from ledger.reports.folding import folded
from ledger.reports.pack import pack
from ledger.reports.pages import as_html, bill_cell, figure_html
from ledger.reports.report import Report
from ledger.spans import span_of

CREDIT = 10**8
OCTOBER = span_of("2026-10")
ARABIC = "مرحبا فريق"
MARKUP = "<script>alert(1)</script> & \"co\" 'x'"

# Day of October, team, credits reserved, credits charged, credits refunded.
JOBS = (
    (2, "ads", "141.5939616", "108.918432", "0"),
    (2, ARABIC, "2000", "1234.5", "0"),
    (4, MARKUP, "60", "50", "10"),
    (5, "ads", "10", None, "0"),
)


def fill(book: Ledger, clock: Clock) -> None:
    """September: 1 charged. October: 108.918432 + 1234.5 + 50 charged, 10 of it refunded."""
    clock.now = datetime(2026, 9, 1, tzinfo=UTC)
    book.top_up("studio", 5000, key="invoice-1", cash="73.5", currency="USD")
    book.reserve("studio", 2, key="job-0", labels={"team": "ads"})
    book.charge("job-0", 1)
    book.set_budget("studio", "monthly", 1300, period="month", key="budget-1", hard=False)
    for number, (day, team, reserved, charged, refunded) in enumerate(JOBS, 1):
        clock.now = datetime(2026, 10, day, 12, tzinfo=UTC)
        book.reserve("studio", reserved, key=f"job-{number}", labels={"team": team})
        clock.now += timedelta(hours=1)
        if charged is not None:
            book.charge(f"job-{number}", charged)
        if refunded != "0":
            book.refund(f"job-{number}", refunded, key=f"refund-{number}")
    clock.now = datetime(2026, 11, 3, tzinfo=UTC)
    book.top_up("studio", 7, key="invoice-2")


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ledger]:
    clock = Clock()
    path = tmp_path_factory.mktemp("pages") / "credits.db"
    with Ledger(f"sqlite:///{path}", clock=clock) as ledger:
        fill(ledger, clock)
        yield ledger


@pytest.fixture(scope="module")
def october(book: Ledger) -> str:
    return pack(book, OCTOBER)


@pytest.fixture
def folder(book: Ledger, tmp_path: Path) -> Path:
    book.copy_to(f"sqlite:///{tmp_path / 'credits.db'}")
    return tmp_path


def usage(book: Ledger, by: str = "team") -> Report:
    return make("usage", ask(book, span=OCTOBER), by)


# Reading a page


class Page(HTMLParser):
    """The tables and all attributes of a page; every tag that is opened must be closed."""

    VOID = ("meta", "br", "hr", "link", "img", "input")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self._table: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self._open.append(tag)
        if tag == "table":
            self._table = self.tables.setdefault(dict(attrs)["id"] or "", [])
        elif tag == "tr":
            self._table.append([])
        elif tag in {"td", "th"}:
            self._table[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self._open):
            self._table[-1][-1] += data
        self.texts.append(data)


def values(row: list[str], report: Report) -> list[object]:
    """A row of a table as numbers and texts."""
    return [
        Decimal(cell.replace(",", "")) if column.adds_up else cell.lstrip("✓✗○ ")
        for cell, column in zip(row, report.columns, strict=True)
    ]


def expected(report: Report) -> list[list[object]]:
    return [
        [
            Decimal(shown(value, column.unit))
            if column.adds_up
            else "(none)"
            if value is None
            else value
            if column.unit == "text"
            else shown(value, column.unit)
            for value, column in zip(row, report.columns, strict=True)
        ]
        for row in report.rows
    ]


# A report as a page


def test_every_figure_stands_in_the_page_with_all_its_digits(book: Ledger) -> None:
    report = usage(book, "team,day")
    header, *rows, total = Page(as_html(report)).tables["rows"]
    net = report.place("net")
    assert [row[net] for row in rows] == ["40.000000", "108.918432", "1,234.500000"]
    assert total[net] == "1,383.418432"
    assert total[0] == "total"
    assert header[net] == "netcredits"
    assert [row[:2] for row in rows] == [row[:2] for row in expected(report)]


def test_figures_are_filled_up_with_faint_zeros() -> None:
    assert figure_html("1234567.5", 4) == "1,234,567.5<i>000</i>"
    assert figure_html("-3", 2) == "-3<i>.00</i>"
    assert figure_html("12.5", 1) == "12.5"
    assert figure_html("", 3) == ""


def test_labels_are_text_and_keep_their_own_direction(book: Ledger) -> None:
    text = as_html(usage(book))
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; &#34;co&#34; &#39;x&#39;" in text
    assert f'<bdi dir="auto">{ARABIC}</bdi>' in text
    assert [row[0] for row in Page(text).tables["rows"]][1:-1] == [MARKUP, "ads", ARABIC]


def test_names_and_notes_are_text_as_well() -> None:
    with Ledger("sqlite://", book="<i>books</i>", clock=Clock()) as ledger:
        ledger.top_up("<b>studio</b>", 1, key="invoice-1")
        report = make("movements", ask(ledger, span=OCTOBER)).with_notes("a < b")
        texts = (as_html(report), pack(ledger, OCTOBER))
    assert "<li>a &lt; b</li>" in texts[0]
    for text in texts:
        assert "&lt;i&gt;books&lt;/i&gt;" in text
        assert "<i>books" not in text
        assert "<b>" not in text


@pytest.mark.parametrize(
    ("state", "sign", "kind"),
    [("reconciled", "✓", "ok"), ("open breaks", "✗", "bad"), ("not yet", "○", "wait")],
)
def test_the_bill_is_a_word_and_a_sign_and_a_colour(state: str, sign: str, kind: str) -> None:
    cell = bill_cell(state)
    assert cell.kind == f"state {kind}"
    assert cell.html == f'<span aria-hidden="true">{sign}</span> {state}'


def test_a_page_asks_nobody_for_anything_and_can_be_read_aloud(book: Ledger, october: str) -> None:
    for text in (as_html(usage(book)), october):
        page = Page(text)
        links = [
            (tag, name, value)
            for tag, name, value in page.attributes
            if name in {"href", "src", "srcset", "data", "action", "xlink:href"}
        ]
        assert [link for link in links if not link[2].startswith("#")] == []
        assert re.findall(r"url\((?!#)|@import|<script|<link|<img", text) == []
        assert ("html", "lang", "en") in page.attributes
        assert text.count("<title>") == 1
        assert text.count("<h1>") == 1
        assert text.count("<caption>") == text.count("<table")
        assert text.count("<th>") == 0, "every head says what it is the head of"
        assert 'charset="utf-8"' in text
        assert "prefers-color-scheme: dark" in text
        assert "@media print" in text
        names = [value for _, name, value in page.attributes if name == "id"]
        assert len(names) == len(set(names))
        goals = {value[1:] for _, name, value in links if name == "href"}
        assert goals <= set(names)


def test_an_empty_report_says_so(book: Ledger) -> None:
    report = make("usage", ask(book, span=span_of("2026-08")), "team")
    assert "nothing of this is in the book for that time" in as_html(report)


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_report_is_a_page_with_its_own_figures(book: Ledger, name: str) -> None:
    kind = CATALOGUE[name]
    span = OCTOBER if kind.takes_span else None
    wallet = "studio" if kind.needs_wallet else None
    report = make(name, ask(book, span=span, as_of="2026-11-02", wallet=wallet))
    table = Page(as_html(report)).tables["rows"]
    rows = table[1 : 1 + len(report.rows)]
    for row, wanted in zip(rows, report.rows, strict=True):
        for cell, value, column in zip(row, wanted, report.columns, strict=True):
            if value is not None and column.adds_up:
                assert Decimal(cell.replace(",", "")) == Decimal(shown(value, column.unit))


def test_the_command_writes_the_page(folder: Path, book: Ledger) -> None:
    options = ("--by", "team", "--period", "2026-10", "--db", "credits.db")
    done = call("report", "usage", *options, "--output", "usage.html", cwd=folder)
    assert done.status == 0
    assert (folder / "usage.html").read_text("utf-8") == as_html(usage(book))


# Long tables


def test_a_long_report_is_folded_with_the_same_total(book: Ledger) -> None:
    report = usage(book)
    short = folded(report, 1)
    assert folded(report, 3) is report
    assert short.total == report.total
    assert [row[0] for row in short.rows] == [ARABIC, "2 others"]
    net = report.place("net")
    # 40 of one, 108.918432 of the other
    assert short.rows[1][net] == 14_891_843_200
    for place, column in enumerate(report.columns):
        if column.adds_up:
            assert sum(row[place] for row in short.rows) == (report.total or ())[place]
    assert short.notes == ("The 1 largest rows stand for themselves; 2 others are in one.",)


def test_money_of_several_currencies_is_not_added_up_in_the_row_of_the_others() -> None:
    with Ledger("sqlite://", clock=Clock()) as book:
        for number, currency in enumerate(("USD", "EUR", "USD"), 1):
            key = f"invoice-{number}"
            book.top_up("studio", 100 * number, key=key, cash=number, currency=currency)
        short = folded(make("top-ups", ask(book)), 1)
        row = short.rows[-1]
        assert (row[0], row[short.place("credits")]) == ("2 others", 300 * CREDIT)
        assert [row[short.place(name)] for name in ("cash", "cost_left", "per_credit")] == [
            None
        ] * 3
        one = folded(make("top-ups", ask(book), "top_up"), 1)
        assert one.rows[-1][one.place("cash")] is None


# The pack


def test_the_pack_rolls_the_month_forward_to_the_last_digit(october: str) -> None:
    header, row, total = Page(october).tables["movements-table"]
    named = dict(zip(header, row, strict=True))
    figures = {name.removesuffix("credits"): value for name, value in named.items()}
    assert figures["opening"] == "4,999"
    assert figures["charges"] == "-1,393.418432"
    assert figures["refunds"] == "10"
    assert figures["closing"] == "3,615.581568"
    assert figures["held"] == "10"
    assert total[1:] == row[1:]


def test_the_pack_has_usage_by_everything_there_is(october: str) -> None:
    tables = Page(october).tables
    for name in ("usage-model-table", "usage-time-table", "usage-label-1-table"):
        total = dict(zip(tables[name][0], tables[name][-1], strict=True))
        assert total["netcredits"] == "1,383.418432", name
    assert tables["usage-label-1-table"][0][0] == "team"


def test_every_comparison_of_figures_in_the_pack_agrees(october: str) -> None:
    first, *rows = Page(october).tables["control-table1"]
    assert first[-1] == "result"
    assert len(rows) >= 5
    assert {row[-1] for row in rows} == {"agrees"}
    assert {row[1].replace(",", "") for row in rows} >= {"3615.581568", "1383.418432"}
    assert f"All {len(rows)} comparisons of the figures in this pack agree." in october


def test_the_pack_names_the_chains_that_it_is_made_of(october: str, book: Ledger) -> None:
    _, row = Page(october).tables["control-table2"]
    last = book.statement("studio").entries[-1]
    assert row[:2] == ["studio", str(last.seq)]
    assert row[3] == last.hash.hex()


def test_holds_and_budgets_are_those_of_the_end_of_the_period(october: str) -> None:
    page = Page(october)
    assert page.tables["holds-table"][-1][2:4] == ["1", "10"]
    assert any("2026-11-01T00:00:00Z" in text for text in page.texts)
    header, row = page.tables["budgets-table"]
    budget = dict(zip(header, row, strict=True))
    # That of October, in its last moment: 108.918432 + 1234.5 + 50 - 10, and 10 that are held.
    assert (budget["budget"], budget["usedcredits"]) == ("monthly", "1,383.418432")
    assert (budget["heldcredits"], budget["status"]) == ("10", "over")


def test_what_does_not_apply_is_one_line() -> None:
    with Ledger("sqlite://", clock=Clock()) as empty:
        text = pack(empty, OCTOBER)
    for line in (
        "The book has no budgets.",
        "No holds were open.",
        "No credits came in.",
        "No jobs were charged.",
        "Nothing has been compared with a bill.",
    ):
        assert f"<p>{line}</p>" in text


def test_the_pack_is_the_same_whenever_it_is_made(book: Ledger, october: str) -> None:
    assert pack(book, OCTOBER) == october
    later = Clock()
    later.now = datetime(2027, 5, 1, tzinfo=UTC)
    with Ledger(book.engine.url.render_as_string(), clock=later) as again:
        assert pack(again, OCTOBER) == october


def test_as_of_makes_the_pack_again_as_it_was(book: Ledger) -> None:
    text = pack(book, OCTOBER, as_of="2026-10-03")
    header, row, _ = Page(text).tables["movements-table"]
    # Without the fifty of the fourth, and what came back of them.
    assert dict(zip(header, row, strict=True))["closingcredits"] == "3,655.581568"


def test_what_is_made_or_set_later_is_no_part_of_a_pack_of_then(tmp_path: Path) -> None:
    clock = Clock()
    with Ledger(f"sqlite:///{tmp_path / 'credits.db'}", clock=clock) as book:
        fill(book, clock)
        then = pack(book, OCTOBER, as_of="2026-11-04")
        assert "budget monthly" in then
        clock.now = datetime(2026, 11, 5, tzinfo=UTC)
        book.top_up("annex", 5, key="invoice-3")
        book.set_budget("studio", "monthly", 7777, period="month", key="budget-2")
        assert pack(book, OCTOBER, as_of="2026-11-04") == then


def test_the_first_month_of_the_calendar_has_none_before_it(book: Ledger) -> None:
    text = pack(book, span_of("0001-01"))
    assert "<p>The calendar has no period before it.</p>" in text


def test_a_label_with_a_value_for_every_job_gets_no_table() -> None:
    clock = Clock()
    with Ledger("sqlite://", clock=clock) as ledger:
        ledger.top_up("studio", 5000, key="invoice-1")
        for number in range(1001):
            key = f"job-{number}"
            ledger.reserve("studio", 1, key=key, labels={"request": f"r-{number}", "team": "ads"})
            ledger.charge(key, 1)
        text = pack(ledger, OCTOBER)
    assert "By request: see kling-ledger report usage --by." in text
    assert Page(text).tables["usage-label-1-table"][0][0] == "team"


def a_break(break_id: str, **changes: Any) -> BreakRecord:
    """A charge of 50 credits for which the bill says 54."""
    start, end = OCTOBER.start_us, OCTOBER.end_us
    found = BreakRecord(
        book="", id=break_id, kind="amount", wallet="studio", job="job-3", task="task-3",
        ours_e8=50 * CREDIT, theirs_e8=54 * CREDIT, difference_e8=4 * CREDIT,
        happened_at_us=start + 3 * 86_400_000_000, cause="rounding to nearest", evidence="{}",
        status="open", owner=None, note=None, closed_by=None, since_us=start, until_us=end,
        found_seq=0, seen_seq=0, changed_at_us=0,
    )  # fmt: skip
    return found._replace(**changes)


def test_the_pack_says_whether_the_month_is_closed_and_agrees_with_the_bill() -> None:
    clock = Clock()
    with Ledger("sqlite://", clock=clock) as ledger:
        fill(ledger, clock)
        assert {"Not closed", "Not reconciled"} <= set(Page(pack(ledger, OCTOBER)).texts)
        figures = {"lines": 4, "lines_matched": 3, "jobs": 3, "jobs_matched": 3}
        found: Any = {
            "since": "2026-10-01",
            "until": "2026-11-01",
            "options": {},
            "result": figures,
        }
        ledger.keep_reconciliation(breaks=[a_break("b-1")], digest=bytes(32), **found)
        text = pack(ledger, OCTOBER)
        assert "Compared, with open breaks" in Page(text).texts
        assert "3 of 4 lines of the bill and 3 of 3 jobs matched." in text
        assert "1 break is open, 4 credits (bill less book)." in text
        tables = Page(text).tables
        assert tables["breaks-table1"][1:] == [["rounding to nearest", "1", "4"]]
        assert tables["breaks-table2"][1][2] == "job-3"
        states = {row[0]: row[-1] for row in tables["usage-label-1-table"][1:]}
        assert (states[MARKUP], states["ads"]) == ("✗ open breaks", "✓ reconciled")

        ledger.keep_reconciliation(breaks=[], digest=b"2" * 32, **found)
        ledger.close_period("2026-10")
        text = pack(ledger, OCTOBER)
        assert {"Closed", "Reconciled"} <= set(Page(text).texts)
        # The one that was open has not been found again.
        assert "No breaks are open: 1 cleared." in text
        ledger.reopen_period("2026-10", reason="a late invoice")
        text = pack(ledger, OCTOBER)
        assert "Opened again" in Page(text).texts
        assert "Reason: a late invoice." in text


def test_the_command_writes_the_pack_whole(folder: Path, october: str) -> None:
    options = ("report", "pack", "--db", "credits.db", "--output", "pack.html")
    done = call(*options, "--period", "2026-10", cwd=folder)
    assert (done.status, done.stdout, done.said) == (0, "", "note: wrote pack.html")
    assert (folder / "pack.html").read_text("utf-8") == october
    again = call(*options, "--period", "2026-10", cwd=folder)
    assert again.status == 7
    assert "pack.html: is there already" in again.said
    slip = call(*options, "--overwrite", cwd=folder)
    assert slip.status == 2
    assert "a pack is of a period" in slip.said
    zone = call(*options, "--overwrite", "--period", "2026-10", "--tz", "Mars/Base", cwd=folder)
    assert zone.status == 7
    assert (folder / "pack.html").read_text("utf-8") == october


# In a browser

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")


def browse(folder: Path, text: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Show a page without a network; what the page has to complain about is on stderr."""
    assert CHROMIUM is not None
    (folder / "page.html").write_text(text, encoding="utf-8")
    flags = (
        *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"),
        *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
        *(f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr", "--v=0"),
        *("--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=2000"),
    )
    page = (folder / "page.html").as_uri()
    return subprocess.run(
        [CHROMIUM, *flags, *options, page],
        capture_output=True,
        text=True,
        check=True,
        cwd=folder,
        timeout=120,
    )


def complaints(done: subprocess.CompletedProcess[str]) -> list[str]:
    return [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@in_a_browser
def test_a_browser_reads_the_pack_as_it_was_written(tmp_path: Path, october: str) -> None:
    done = browse(tmp_path, october, "--dump-dom")
    assert complaints(done) == []
    shown_tables, written = Page(done.stdout).tables, Page(october).tables
    assert shown_tables == written
    assert len(written) >= 12


@in_a_browser
def test_a_request_or_an_error_in_a_page_would_be_noticed(tmp_path: Path, october: str) -> None:
    asks = october.replace("</main>", '<img src="https://example.com/seen.png"></main>')
    done = browse(tmp_path, asks, "--dump-dom")
    assert any("Content Security Policy" in line for line in complaints(done))


@in_a_browser
@pytest.mark.parametrize(
    ("scheme", "width", "lightness"), [(1, 1280, "light"), (0, 500, "dark")], ids=str
)
def test_a_browser_shows_the_pack_in_light_and_dark(
    tmp_path: Path, october: str, scheme: int, width: int, lightness: str
) -> None:
    browse(
        tmp_path,
        october,
        "--screenshot=page.png",
        f"--window-size={width},1600",
        f"--blink-settings=preferredColorScheme={scheme}",
    )
    image = imread(tmp_path / "page.png")[:, :, :3]
    assert image.shape[:2] == (1600, width)
    ground = image[2, 2].mean()
    assert ground > 0.9 if lightness == "light" else ground < 0.2
    is_drawn = abs(image - image[2, 2]).max(axis=2) > 0.2
    assert 0.01 < is_drawn.mean() < 0.6, "neither blank nor full"
    # The blue of the pictures, #0072b2.
    is_blue = abs(image - [0, 0x72 / 255, 0xB2 / 255]).max(axis=2) < 0.05
    assert is_blue.mean() > 0.01


@in_a_browser
def test_the_pack_prints(tmp_path: Path, october: str) -> None:
    browse(tmp_path, october, "--print-to-pdf=page.pdf", "--no-pdf-header-footer")
    printed = (tmp_path / "page.pdf").read_bytes()
    assert printed.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) >= 2

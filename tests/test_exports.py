"""Entries, holds, jobs and the workbook, read back by programs nobody here wrote."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args
from uuid import uuid4

import duckdb
import histories
import openpyxl  # type: ignore[import-untyped]
import polars as pl
import pytest
from command import SCHEMAS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from python_calamine import CalamineWorkbook
from writers import Clock

from ledger.book import Book
from ledger.breaks import BreakRecord
from ledger.errors import InvalidInput
from ledger.exports import rows as rows_module
from ledger.exports import workbook as workbook_module
from ledger.exports.fields import FIELDS, Table
from ledger.exports.flat import Format, Profile, neutral, write_flat
from ledger.exports.manifest import check_manifest, file_made, write_manifest
from ledger.exports.rows import reading
from ledger.exports.tallies import Tally
from ledger.exports.workbook import write_workbook
from ledger.exports.writing import MANIFEST, whole_folder
from ledger.records import By, us
from ledger.reports.asking import Asked, ask
from ledger.reports.catalogue import make
from ledger.spans import between, span_of
from ledger.units import e8_to_credits

OCTOBER = span_of("2026-10")
EMPTY = span_of("2026-08")
STRANGE = {
    "formula": '=HYPERLINK("http://x","y")',
    "spaces": "a  =b",
    "rtl": "שלום עולם",
    "emoji": "👩‍🚀🎬",
    "quotes": "\"a\"; \\ , 'b'",
    "long": "x" * 255,
    "escaped": "_x0041_",
    "unsaid": "\ufffe",
    "-minus": "@at",
    "+1": "-5",
}


def fill(book: Book, clock: Clock) -> None:
    """Two wallets in October, with a debt, a refund, two currencies, and strange labels."""
    # 100 credits for 2 USD, 10 for 1 EUR, 5 for nothing.
    book.top_up("studio", 100, key="invoice-1", cash=2, currency="USD", at="2026-09-20")
    book.top_up("studio", 10, key="invoice-2", cash=1, currency="EUR", at="2026-10-01")
    book.top_up("annex", 5, key="gift", promotional=True, at="2026-10-02")
    # 30 of the first lot, of which 6 come back: 0.60 less 0.12 USD.
    book.reserve("studio", 40, key="job-1", labels={"team": "ads"}, at="2026-10-03T08:00Z")
    book.charge("job-1", 30, at="2026-10-03T08:05:00.25Z")
    book.refund("job-1", 6, key="back-1", at="2026-10-04")
    # 76 of the first lot, for 1.52 USD, and 4 of the second, for 0.40 EUR.
    book.reserve("studio", 80, key="=2+3", labels=STRANGE, at="2026-10-05")
    book.charge("=2+3", 80, at="2026-10-05")
    # 5 of the gift and 2 that nobody has; they cost 2/4 of 3 USD in November.
    book.reserve("annex", 5, key="job-3", labels={"team": "film"}, at="2026-10-06")
    book.charge("job-3", 7, at="2026-10-06")
    book.adjust("studio", -1, key="fix-1", reason="=counted wrong", at="2026-10-07")
    book.reserve("studio", 1, key="job-4", at="2026-10-08")
    book.release("job-4", at="2026-10-08")
    book.reserve("studio", 2, key="job-5", at="2026-10-09")
    clock.now = datetime(2026, 11, 2, tzinfo=UTC)
    book.top_up("annex", 4, key="invoice-3", cash=3, currency="USD", at="2026-11-02")


@pytest.fixture(scope="module")
def filled(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Book]:
    path = tmp_path_factory.mktemp("exports") / "ledger.db"
    path.write_bytes(sqlite_template.read_bytes())
    clock = Clock()
    with Book(f"sqlite:///{path}", book="main", clock=clock) as book:
        fill(book, clock)
        assert book.verify().findings == ()
        yield book


def exported(
    asked: Asked, table: Table, format: Format, profile: Profile = "plain"
) -> tuple[bytes, Tally]:
    file = io.BytesIO()
    with reading(asked) as found:
        tally = write_flat(found, table, file, format=format, profile=profile)
    return file.getvalue(), tally


def parsed(asked: Asked, table: Table) -> list[dict[str, Any]]:
    return [json.loads(line) for line in exported(asked, table, "jsonl")[0].splitlines()]


def of_october(book: Book, **changes: Any) -> Asked:
    return replace(ask(book, span=OCTOBER), **changes)


# --- what the rows say ---------------------------------------------------------------------------

JOBS = [
    # job, state, reserved, charged, refunded, net, cost, currency, costs
    ("=2+3", "charged", "80", "80", "0", "80", None, None, {"EUR": "0.4", "USD": "1.52"}),
    ("job-1", "charged", "40", "30", "6", "24", "0.48", "USD", None),
    ("job-3", "charged", "5", "7", "0", "7", "0", None, None),
    ("job-4", "released", "1", "0", "0", "0", "0", None, None),
    ("job-5", "open", "2", "0", "0", "0", "0", None, None),
]


def test_a_job_has_what_was_done_for_it_in_the_span_and_what_that_had_cost(filled: Book) -> None:
    names = ("job", "state", "reserved", "charged", "refunded", "net", "cost", "currency", "costs")
    found = [tuple(row[name] for name in names) for row in parsed(of_october(filled), "jobs")]
    assert found == JOBS


def test_what_pays_a_debt_later_is_a_cost_of_the_job_that_ran_into_it(filled: Book) -> None:
    # 2 of the 4 credits that cost 3 USD.
    november = ask(filled, span=span_of("2026-11"))
    (job,) = parsed(november, "jobs")
    assert (job["job"], job["charged"], job["cost"], job["currency"]) == (
        "job-3",
        "0",
        "1.5",
        "USD",
    )
    (entry,) = parsed(november, "entries")
    assert {name: entry[name] for name in ("posted", "cost", "debt_paid", "debt_cost", "cash")} == {
        "posted": "4",
        "cost": "1.5",
        "debt_paid": "2",
        "debt_cost": "1.5",
        "cash": "3",
    }


def test_a_refund_that_pays_another_jobs_debt_takes_its_cost_there(clock: Clock) -> None:
    with Book("sqlite://", clock=clock) as book:
        book.open_wallet("studio", credit_limit=50)
        # 30 credits for 0.60 USD go to the first job, the second one owes 20. What comes back of
        # the first, 20 credits or 0.40 USD, pays that.
        book.top_up("studio", 30, key="invoice-1", cash="0.6", currency="USD")
        for job, amount in (("first", 30), ("second", 20)):
            book.reserve("studio", amount, key=job)
            book.charge(job, amount)
        book.refund("first", 20, key="back-1")
        found = {row["job"]: (row["net"], row["cost"]) for row in parsed(ask(book), "jobs")}
        assert found == {"first": ("10", "0.2"), "second": ("20", "0.4")}


def test_an_entry_says_which_lots_its_credits_are_of_and_what_those_had_cost(filled: Book) -> None:
    charge = next(row for row in parsed(of_october(filled), "entries") if row["key"] == "=2+3"
                  and row["kind"] == "charge")  # fmt: skip
    assert charge["posted"] == "-80"
    assert charge["lots"] == {"2": "76", "3": "4"}
    assert (charge["cost"], charge["costs"]) == (None, {"EUR": "-0.4", "USD": "-1.52"})
    assert charge["happened_at"] == "2026-10-05T00:00:00Z"
    assert bytes.fromhex(charge["hash"]) == filled.history("=2+3")[-1].hash


def test_moments_keep_their_microseconds(filled: Book) -> None:
    times = [row["happened_at"] for row in parsed(of_october(filled), "entries")]
    assert "2026-10-03T08:05:00.250000Z" in times


def test_a_hold_stands_as_it_stood_when_less_was_known(
    database_url: str, book: str, clock: Clock
) -> None:
    with Book(database_url, book=book, clock=clock) as opened:
        opened.top_up("studio", 10, key="invoice-1")
        opened.reserve("studio", 3, key="job-1")
        clock.forward(hours=1)
        opened.extend("job-1", amount=2, key="more")
        clock.forward(hours=1)
        opened.charge("job-1", 4, final=False)
        opened.release("job-1", key="rest")
        hours = [
            parsed(ask(opened, as_of=datetime(2026, 10, 10, hour, tzinfo=UTC)), "holds")
            for hour in (12, 13, 14, 15)
        ]
    names = ("state", "amount", "held", "charged", "last_seq")
    assert [[tuple(row[name] for name in names) for row in rows] for rows in hours] == [
        [],
        [("open", "3", "3", "0", 3)],
        [("open", "5", "5", "0", 4)],
        [("charged", "5", "0", "4", 6)],
    ]


def test_only_what_was_recorded_before_a_moment_is_known(filled: Book) -> None:
    asked = ask(filled, as_of="2026-11-01")
    assert {row["recorded_at"] for row in parsed(asked, "entries")} == {"2026-10-10T12:00:00Z"}
    assert len(parsed(asked, "entries")) + 1 == len(parsed(ask(filled), "entries"))


def test_entries_count_by_when_they_were_recorded_where_asked(filled: Book) -> None:
    asked = of_october(filled, by="recorded")
    # The first top-up happened in September and was told in October; both wallets were opened.
    more = {"invoice-1"}
    keys = {row["key"] for row in parsed(asked, "entries")}
    assert more == keys - {row["key"] for row in parsed(of_october(filled), "entries")}


def test_one_wallet_alone(filled: Book) -> None:
    found = parsed(of_october(filled, wallet="annex"), "jobs")
    assert [row["job"] for row in found] == ["job-3"]


def test_a_task_and_the_price_version_stand_with_their_job(tmp_path: Path, clock: Clock) -> None:
    from ledger import Ledger, MotionControl, PriceBook

    request = MotionControl(quality="720p", character_orientation="video", reference_seconds="3")
    quote = PriceBook.bundled().quote(request, at="2026-10-10")
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}", clock=clock) as opened:
        opened.top_up("studio", 100, key="invoice-1")
        opened.reserve("studio", quote, key="job-1")
        opened.link("job-1", "task-unified-1")
        opened.charge("job-1", seconds="2.5")
        (job,) = parsed(ask(opened), "jobs")
    assert (job["task"], job["seconds"], job["quality"]) == ("task-unified-1", "2.5", "720p")
    assert job["version"].startswith("evolink/kling-v3-motion-control@")


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories.histories())
def test_jobs_holds_entries_and_the_summary_say_the_same(moves: histories.Moves) -> None:
    def totals(table: Table, **asked: Any) -> Tally:
        return exported(ask(book, **asked), table, "jsonl")[1]

    clock = Clock()
    with Book("sqlite://", clock=clock) as book:
        histories.play(book, clock, moves)
        # From before the first fact to after the last, cut in the midst of things.
        days = ["2026-09-20", "2026-10-08", "2026-10-10T12:05Z", "2026-10-14", "2027-06-01"]
        parts = [between(*each) for each in pairwise(days)]
        for by in get_args(By):
            jobs, entries = totals("jobs", by=by), totals("entries", by=by)
            both: list[tuple[Table, Tally]] = [("jobs", jobs), ("entries", entries)]
            for table, whole in both:
                cut = [totals(table, by=by, span=part) for part in parts]
                assert added([each.credits for each in cut]) == added([whole.credits])
                for name, sums in whole.money.items():
                    assert added([each.money[name] for each in cut]) == added([sums])
            balances = book.wallets()
            assert e8_to_credits(entries.credits["posted"]) == sum(b.posted for b in balances)
            assert e8_to_credits(entries.credits["held"]) == sum(b.held for b in balances)
            holds = totals("holds", by=by).credits
            assert holds["charged"] - holds["refunded"] == jobs.credits["net"]
            assert holds["held"] == entries.credits["held"]
            for span in (None, *parts):
                asked = ask(book, by=by, span=span)
                with reading(asked) as found:
                    money = workbook_module._summed_up(found).money
                closing = [{str(currency): sums[-1]} for (_, currency), sums in money.items()]
                valued = make("valuation", asked, by="currency")
                values = zip(valued.values("currency"), valued.values("value"), strict=True)
                assert added(closing) == added([{str(name): value} for name, value in values])
            with reading(ask(book, by=by)) as found:
                money = workbook_module._summed_up(found).money
            used = [{currency: -sums[2]} for (_, currency), sums in money.items()]
            assert added(used) == added([jobs.money["cost"]])
            left = [{currency: sums[-1]} for (_, currency), sums in money.items()]
            assert added(left) == added([entries.money["cost"]])


def test_a_correction_that_ran_into_debt_is_no_cost_of_a_job(clock: Clock) -> None:
    with Book("sqlite://", clock=clock) as book:
        book.open_wallet("studio")
        book.adjust("studio", -10, key="fix-1", reason="counted wrong")
        # 20 credits for 2 USD: half of them pay the correction.
        book.top_up("studio", 20, key="invoice-1", cash=2, currency="USD")
        with reading(ask(book)) as found:
            money = workbook_module._summed_up(found).money
    # Opening, bought, used, adjusted, lapsed, closing.
    assert money["studio", "USD"] == [0, 200_000_000, 0, -100_000_000, 0, 100_000_000]


def added(sums: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sums by name, without those that are nothing."""
    found: Counter[str] = Counter()
    for each in sums:
        for name, part in each.items():
            found[name] += part
    return {name: sum_ for name, sum_ in found.items() if sum_}


OCTOBER_COMPARED: dict[str, Any] = {
    "since": "2026-10-01",
    "until": "2026-11-01",
    "options": {},
    "result": {},
}


def a_break(job: str) -> BreakRecord:
    """A charge of 30 credits for which the bill says 34."""
    return BreakRecord(
        book="", id="b-1", kind="amount", wallet="studio", job=job, task=None,
        ours_e8=30 * 10**8, theirs_e8=34 * 10**8, difference_e8=4 * 10**8,
        happened_at_us=us(datetime(2026, 10, 3, tzinfo=UTC)), cause=None, evidence="{}",
        status="open", owner=None, note=None, closed_by=None, since_us=OCTOBER.start_us,
        until_us=OCTOBER.end_us, found_seq=0, seen_seq=0, changed_at_us=0,
    )  # fmt: skip


def test_a_job_says_whether_the_bill_agrees_with_it(clock: Clock) -> None:
    def states(**known: Any) -> dict[str, str]:
        rows = parsed(ask(book, span=OCTOBER, **known), "jobs")
        return {row["job"]: row["reconciled"] for row in rows}

    with Book("sqlite://", clock=clock) as book:
        book.top_up("studio", 500, key="invoice-1", at="2026-10-01")
        for job in ("agrees", "disputed", "told-late"):
            book.reserve("studio", 40, key=job, at="2026-10-03")
        for job in ("agrees", "disputed"):
            book.charge(job, 30, at="2026-10-03")
        assert set(states().values()) == {"not yet"}
        clock.forward(days=1)
        compared_at = clock.now
        book.keep_reconciliation(breaks=[a_break("disputed")], digest=bytes(32), **OCTOBER_COMPARED)
        clock.forward(days=1)
        then = {"agrees": "reconciled", "disputed": "open breaks", "told-late": "not yet"}
        assert states() == then
        # What is charged or refunded after the comparison was not compared.
        book.charge("told-late", 30, at="2026-10-03")
        assert states() == then
        book.resolve_break("b-1", "explained", note="agreed with support")
        assert states() == {**then, "disputed": "reconciled"}
        # As it was before the comparison, and before the break was settled.
        assert set(states(as_of=compared_at).values()) == {"not yet"}
        assert states(as_of=clock.now) == then
        for job in then:
            (row,) = (row for row in parsed(ask(book), "jobs") if row["job"] == job)
            compared = book.reconciled(since=OCTOBER.start, until=OCTOBER.end, job=job)
            assert row["reconciled"] == compared.state


# --- checked by others ---------------------------------------------------------------------------


def recomputed(table: Table, format: Format, path: Path) -> tuple[int, dict[str, Decimal]]:
    """Rows and totals, as DuckDB works them out."""
    names = [
        item.name
        for item in FIELDS[table]
        if item.kind in {"credits", "money"} and not item.name.endswith("_after")
    ]
    sums = ", ".join(f"coalesce(sum(CAST({name} AS DECIMAL(38,8))), 0)" for name in names)
    source = {
        "csv": f"read_csv('{path}', all_varchar=true, header=true)",
        "jsonl": f"read_json('{path}', format='newline_delimited')",
        "parquet": f"'{path}'",
    }[format]
    with duckdb.connect() as database:
        (found,) = database.execute(f"SELECT count(*), {sums} FROM {source}").fetchall()
    return found[0], dict(zip(names, found[1:], strict=True))


@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("table", ["entries", "holds", "jobs"])
def test_duckdb_works_out_the_same_totals(
    filled: Book, tmp_path: Path, table: Table, format: Format
) -> None:
    content, tally = exported(of_october(filled), table, format)
    path = tmp_path / f"rows.{format}"
    path.write_bytes(content)
    rows, sums = recomputed(table, format, path)
    assert rows == tally.rows > 0
    for name, sum_e8 in tally.credits.items():
        assert sums[name] * 10**8 == sum_e8, name
    # The columns hold what is of one currency; what is of several stands in `costs`.
    several = {"entries": Decimal("-1.52"), "jobs": Decimal("1.52"), "holds": Decimal(0)}[table]
    usd_e8 = tally.money.get("cost", {}).get("USD", 0)
    eur_e8 = (
        tally.money.get("cost", {}).get("EUR", 0)
        + {"entries": 1, "jobs": -1}.get(table, 0) * 4 * 10**7
    )
    assert sums.get("cost", 0) + several == Decimal(usd_e8 + eur_e8) / 10**8


def test_parquet_has_exact_types(filled: Book) -> None:
    content, _ = exported(of_october(filled), "jobs", "parquet")
    frame = pl.read_parquet(io.BytesIO(content))
    assert frame.schema["charged"] == pl.Decimal(38, 8)
    assert frame.schema["cost"] == pl.Decimal(38, 8)
    assert frame.schema["charged_at"] == pl.Datetime("us", "UTC")
    assert frame.columns == [item.name for item in FIELDS["jobs"]]
    assert frame["net"].sum() == Decimal(111)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 10**16), min_size=1, max_size=6))
def test_no_amount_loses_a_digit_in_any_format(amounts_e8: list[int]) -> None:
    with Book("sqlite://") as book:
        for place, amount_e8 in enumerate(amounts_e8):
            book.top_up("studio", Decimal(amount_e8).scaleb(-8), key=f"invoice-{place}")
        asked = ask(book)
        csv, _ = exported(asked, "entries", "csv")
        lines = parsed(asked, "entries")
        parquet = pl.read_parquet(io.BytesIO(exported(asked, "entries", "parquet")[0]))
    written = [line.split(",")[6] for line in csv.decode().splitlines()[2:]]
    exact = [Decimal(amount_e8).scaleb(-8) for amount_e8 in amounts_e8]
    assert [Decimal(text) for text in written] == exact
    assert [Decimal(line["posted"]) for line in lines[1:]] == exact
    assert parquet["posted"].to_list()[1:] == exact


def test_every_format_says_the_same(filled: Book) -> None:
    asked = of_october(filled)
    for table in ("entries", "holds", "jobs"):
        lines = parsed(asked, table)
        parquet = pl.read_parquet(io.BytesIO(exported(asked, table, "parquet")[0]))
        csv = pl.read_csv(io.BytesIO(exported(asked, table, "csv")[0]), infer_schema=False)
        assert parquet.height == csv.height == len(lines)
        for item in FIELDS[table]:
            given = [line[item.name] for line in lines]
            texts = csv[item.name].to_list()
            if item.kind in {"credits", "money"}:
                assert texts == given
                exact = [None if text is None else Decimal(text) for text in given]
                assert parquet[item.name].to_list() == exact
            elif item.kind in {"text", "moment"}:
                assert texts == given
            elif item.kind == "json":
                assert [None if text is None else json.loads(text) for text in texts] == given


@pytest.mark.parametrize("table", ["entries", "holds", "jobs"])
@pytest.mark.parametrize("format", ["csv", "jsonl", "parquet"])
def test_an_empty_period_has_columns_and_no_rows(
    filled: Book, table: Table, format: Format
) -> None:
    content, tally = exported(ask(filled, span=EMPTY), table, format)
    assert tally.rows == 0
    assert set(tally.credits.values()) == {0}
    if format == "csv":
        names = [item.name for item in FIELDS[table]]
        assert content.decode().splitlines() == [",".join(names)]
    elif format == "parquet":
        assert pl.read_parquet(io.BytesIO(content)).columns == [i.name for i in FIELDS[table]]
    else:
        assert content == b""


# --- spreadsheets --------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠"])
@pytest.mark.parametrize("spaces", ["", " ", "\u00a0 "])
def test_text_that_looks_like_a_formula_gets_an_apostrophe(start: str, spaces: str) -> None:
    assert neutral(f"{spaces}{start}1") == f"'{spaces}{start}1"
    assert neutral(f"a{spaces}{start}1") == f"a{spaces}{start}1"


def test_csv_for_spreadsheets_keeps_numbers_and_disarms_text(filled: Book) -> None:
    import csv as csv_module

    content, _ = exported(of_october(filled), "jobs", "csv", "spreadsheet")
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv_module.DictReader(io.StringIO(content.decode("utf-8-sig"), newline="")))
    strange = rows[0]
    assert strange["job"] == "'=2+3"
    assert strange["label.formula"] == f"'{STRANGE['formula']}"
    assert strange["label.-minus"] == "'@at"
    assert strange["label.+1"] == "'-5"
    assert strange["label.rtl"] == STRANGE["rtl"]
    assert strange["label.quotes"] == STRANGE["quotes"]
    entries = exported(of_october(filled), "entries", "csv", "spreadsheet")[0].decode("utf-8-sig")
    charge = next(line for line in entries.splitlines() if '"charge","job-1"' in line)
    # A negative amount is a number: without quotes and without an apostrophe.
    assert ",-30.00000000," in charge
    assert '"\'=counted wrong"' in entries


def test_plain_csv_leaves_text_as_it_is(filled: Book) -> None:
    frame = pl.read_csv(
        io.BytesIO(exported(of_october(filled), "jobs", "csv")[0]), infer_schema=False
    )
    labels = {
        name.removeprefix("label."): frame[name][0]
        for name in frame.columns
        if name.startswith("label.")
    }
    assert {name: value for name, value in labels.items() if value is not None} == STRANGE
    assert frame["label.team"].to_list() == [None, "ads", "film", None, None]
    assert (
        frame["labels"].str.json_decode(pl.Struct({"formula": pl.String}))[0]["formula"]
        == (STRANGE["formula"])
    )


def test_too_many_labels_for_columns_stand_in_one(clock: Clock) -> None:
    with Book("sqlite://", clock=clock) as book:
        book.top_up("studio", 200, key="invoice-1")
        for number in range(101):
            book.reserve("studio", 1, key=f"job-{number}", labels={f"label-{number}": "x"})
        content, _ = exported(ask(book), "jobs", "csv")
    assert content.decode().splitlines()[0].split(",") == [item.name for item in FIELDS["jobs"]]


# --- the workbook --------------------------------------------------------------------------------


def made(asked: Asked, **options: Any) -> bytes:
    file = io.BytesIO()
    with reading(asked) as found:
        write_workbook(found, file, **options)
    return file.getvalue()


Sheets = dict[str, list[list[Any]]]


def by_openpyxl(content: bytes) -> Sheets:
    book = openpyxl.load_workbook(io.BytesIO(content))
    for sheet in book:
        for row in sheet.iter_rows():
            assert all(cell.data_type != "f" for cell in row), "a formula"
            assert all(cell.hyperlink is None for cell in row), "a link"
    return {
        sheet.title: [
            [unescaped(cell) for cell in row] for row in sheet.iter_rows(values_only=True)
        ]
        for sheet in book
    }


def unescaped(cell: Any) -> Any:
    """What openpyxl leaves as it stands in the file, and spreadsheets read as the format says."""
    return cell.replace("_x005F_", "_") if isinstance(cell, str) else cell


def by_calamine(content: bytes) -> Sheets:
    book = CalamineWorkbook.from_filelike(io.BytesIO(content))
    return {name: book.get_sheet_by_name(name).to_python() for name in book.sheet_names}


def same(cell: Any) -> Any:
    """A cell as either reader gives it."""
    if cell is None or cell == "":
        return None
    if isinstance(cell, bool):
        return cell
    if type(cell) is date:
        return datetime(cell.year, cell.month, cell.day)  # noqa: DTZ001  a sheet knows no zones
    return float(cell) if isinstance(cell, (int, float)) else cell


@pytest.mark.parametrize("rows", ["jobs", "entries"])
def test_two_readers_see_the_same_cells_and_no_formula(filled: Book, rows: str) -> None:
    content = made(of_october(filled), rows=rows)
    one, other = by_openpyxl(content), by_calamine(content)
    assert list(one) == list(other) == ["Summary", "Cost", rows.capitalize(), "Usage", "Control"]
    for name, cells in one.items():
        assert [[same(cell) for cell in row] for row in cells] == [
            [same(cell) for cell in row] for row in other[name]
        ]


SUMMARY = [
    # wallet, opening, top-ups, promotional, charges, refunds, adjustments, lapses, closing
    ("annex", 0, 0, 5, -7, 0, 0, 0, -2),
    ("studio", 100, 10, 0, -110, 6, -1, 0, 5),
    ("Total", 100, 10, 5, -117, 6, -1, 0, 3),
]
COST = [
    # wallet, currency, opening, bought, used, adjusted, lapsed, closing:
    # 2 USD less 0.60 + 1.52 − 0.12, and 1 EUR less 0.40 and the 0.10 that was counted wrong.
    ("studio", "EUR", 0, 1, -0.4, -0.1, 0, 0.5),
    ("studio", "USD", 2, 0, -2, 0, 0, 0),
    ("Total", "EUR", 0, 1, -0.4, -0.1, 0, 0.5),
    ("Total", "USD", 2, 0, -2, 0, 0, 0),
]


def test_opening_and_movements_make_closing(filled: Book) -> None:
    sheets = by_openpyxl(made(of_october(filled)))
    assert [tuple(row[:9]) for row in sheets["Summary"][1:]] == SUMMARY
    assert [row[9:] for row in sheets["Summary"][1:]] == [[0, "-2"], [0, "5"], [0, "3"]]
    assert [tuple(row[:8]) for row in sheets["Cost"][1:]] == COST
    assert {row[8] for row in sheets["Cost"][1:]} == {0}


def test_the_summary_closes_at_what_the_book_says(filled: Book) -> None:
    for by in ("happened", "recorded"):
        sheets = by_openpyxl(made(of_october(filled, by=by)))
        for wallet in ("annex", "studio"):
            (row,) = [row for row in sheets["Summary"] if row[0] == wallet]
            balance = filled.balance(wallet, before=OCTOBER.end, by=by)
            assert row[10] == f"{balance.posted}"


def test_cells_have_the_types_that_finance_needs(filled: Book) -> None:
    content = made(of_october(filled))
    book = openpyxl.load_workbook(io.BytesIO(content))
    sheet = book["Jobs"]
    columns = {cell.value: cell.column for cell in sheet[1]}
    charged_at = sheet.cell(3, columns["charged_at (UTC)"])
    assert charged_at.is_date
    assert charged_at.value.isoformat() == "2026-10-03T08:05:00.250000"
    charged = sheet.cell(3, columns["charged"])
    assert (charged.value, charged.number_format) == (30, "#,##0.00######")
    assert sheet.cell(2, 1).value == "=2+3"
    assert sheet.cell(2, 1).data_type in {"s", "inlineStr"}
    assert sheet.cell(7, columns["net"]).value == 111
    assert sheet.cell(8, columns["net"]).value == "111"


def test_labels_come_through_the_workbook_as_they_are(filled: Book) -> None:
    for sheets in (by_openpyxl(made(of_october(filled))), by_calamine(made(of_october(filled)))):
        labels = json.loads(sheets["Jobs"][1][-1])
        unlike = {name for name, value in labels.items() if value != STRANGE[name]}
        # No file of this format can hold what is no character; it comes back escaped.
        assert unlike <= {"unsaid"}
        usage = {(row[0], row[1]) for row in sheets["Usage"]}
        for name in set(STRANGE) - {"unsaid"}:
            assert (f"label {name}", STRANGE[name]) in usage


def test_the_control_sheet_can_be_worked_out_from_the_others(filled: Book) -> None:
    asked = of_october(filled)
    sheets = by_openpyxl(made(asked))
    control = {row[0]: row[1:] for row in sheets["Control"][1:]}
    assert control["Rows of Jobs"] == [5, "5"]
    assert control["Sum of net, credits"] == [111, "111"]
    assert control["Sum of cost, USD"] == [2, "2"]
    assert control["Sum of cost, EUR"] == [0.4, "0.4"]
    assert "15 significant digits" in control["Precision"][1]
    # annex ends with the charge of job-3, before the top-up of November was recorded.
    assert control["Last entry of wallet studio"][1] == filled.history("job-5")[-1].hash.hex()
    # All figures of this sheet are short enough to be read back exactly.
    lines = [
        "\t".join("" if cell is None else f"{cell}" for cell in row) + "\n"
        for row in sheets["Summary"][1:]
    ]
    assert control["SHA-256 of Summary"] == [3, hashlib.sha256("".join(lines).encode()).hexdigest()]


def test_a_text_that_no_cell_can_hold_is_cut_and_counted(clock: Clock) -> None:
    # A quote is escaped in JSON, and an emoji counts twice: 32 x (2 + 506 + 510 + 6) units and two
    # braces less a comma are two more than a cell can hold.
    with Book("sqlite://", clock=clock) as book:
        book.top_up("studio", 9, key="invoice-1")
        for char in ('"', "\U0001f600", "x"):
            labels = {f"{place:02d}{char * 253}": char * 255 for place in range(32)}
            book.reserve("studio", 1, key=f"job-{ord(char):x}", labels=labels)
        sheets = by_openpyxl(made(ask(book)))
    texts = [row[-1] for row in sheets["Jobs"][1:4]]
    assert [text.endswith("…") for text in texts] == [True, True, False]
    emoji, quotes, _ = (len(text.encode("utf-16-le")) // 2 for text in texts)
    assert quotes == 32_767
    assert emoji in {32_766, 32_767}  # half an emoji is none
    assert {row[0]: row[1] for row in sheets["Control"]}["Texts cut to fit a cell"] == 2


def test_more_rows_than_a_sheet_can_have_is_an_error_that_names_parquet(
    filled: Book, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The format's own limit would take a million rows to reach.
    monkeypatch.setattr(workbook_module, "MOST_ROWS", 7)
    with pytest.raises(InvalidInput, match=r"export jobs --format parquet"):
        made(of_october(filled))
    monkeypatch.setattr(workbook_module, "MOST_ROWS", 8)
    assert made(of_october(filled))


def test_an_empty_period_has_a_workbook(filled: Book) -> None:
    sheets = by_openpyxl(made(ask(filled, span=EMPTY)))
    assert [row[0] for row in sheets["Summary"][1:]] == ["annex", "studio", "Total"]
    assert sheets["Jobs"][1][0] == "Total"


# --- the same bytes ------------------------------------------------------------------------------


WAYS: list[tuple[Format, Profile]] = [
    ("csv", "plain"),
    ("csv", "spreadsheet"),
    ("jsonl", "plain"),
    ("parquet", "plain"),
]


def everything(book: Book) -> dict[str, bytes]:
    asked = ask(book, span=OCTOBER)
    files = {
        f"{table}.{format}.{profile}": exported(asked, table, format, profile)[0]
        for table in FIELDS
        for format, profile in WAYS
    }
    return files | {"workbook": made(asked)}


def test_the_same_book_gives_the_same_bytes_on_any_database(
    filled: Book, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Parts of another size must not show either.
    first = everything(filled)
    monkeypatch.setattr(rows_module, "_ROWS", 3)
    assert everything(filled) == first
    monkeypatch.undo()
    name = f"main-{uuid4().hex[:8]}"
    clock = Clock()
    with Book(postgres_url, book=name, clock=clock) as other:
        fill(other, clock)
        found = everything(other)
    # Only what holds the name of the book differs: the hashes cover it.
    assert {key for key in first if found[key] != first[key]} == {
        *(key for key in first if key.startswith("entries")),
        "workbook",
    }
    with zipfile.ZipFile(io.BytesIO(first["workbook"])) as parts:
        # The clock of this machine is nowhere in it: the last entry's moment stands for it.
        assert b">2026-11-02T00:00:00Z</dcterms:created>" in parts.read("docProps/core.xml")
        assert {part.date_time for part in parts.infolist()} == {(1980, 1, 31, 0, 0, 0)}


def test_hashes_apart_entries_are_the_same_bytes_on_postgresql(
    filled: Book, postgres_url: str
) -> None:
    clock = Clock()
    with Book(postgres_url, book=f"main-{uuid4().hex[:8]}", clock=clock) as other:
        fill(other, clock)
        found = parsed(of_october(other), "entries")
    known = parsed(of_october(filled), "entries")
    assert [row | {"hash": ""} for row in found] == [row | {"hash": ""} for row in known]


# --- the manifest --------------------------------------------------------------------------------


@pytest.fixture
def folder(filled: Book, tmp_path: Path) -> Path:
    path = tmp_path / "2026-10"
    with whole_folder(path) as inside, reading(of_october(filled)) as found:
        files = []
        for table in ("jobs", "entries"):
            with (inside / f"{table}.csv").open("wb") as file:
                tally = write_flat(found, table, file, format="csv")
            made_now = file_made(inside / f"{table}.csv", rows=tally.rows, totals=tally.totals)
            files.append(made_now)
        write_manifest(inside, found, files)
    return path


def test_a_manifest_says_what_each_file_holds_and_what_it_was_made_from(
    filled: Book, folder: Path
) -> None:
    document = json.loads((folder / MANIFEST).read_bytes())
    assert document["book"] == "main"
    assert (document["period"], document["start"]) == ("2026-10", "2026-10-01T00:00:00Z")
    assert document["last_recorded_at"] == "2026-11-02T00:00:00Z"
    assert [item["wallet"] for item in document["wallets"]] == ["annex", "studio"]
    assert document["wallets"][1]["hash"] == filled.history("job-5")[-1].hash.hex()
    entries, jobs = document["files"]
    assert jobs["name"] == "jobs.csv"
    assert jobs["rows"] == 5
    assert jobs["totals"]["net"] == {"credits": "111"}
    assert jobs["totals"]["cost"] == {"EUR": "0.4", "USD": "2"}
    content = (folder / "entries.csv").read_bytes()
    assert entries["sha256"] == hashlib.sha256(content).hexdigest()
    assert entries["bytes"] == len(content)
    assert check_manifest(folder)[1] == []


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("entries.csv", lambda content: content.replace(b"-80", b"-90"), "has SHA-256"),
        ("jobs.csv", lambda content: content + b" ", "bytes, and"),
        ("jobs.csv", None, "is missing"),
        ("extra.csv", lambda _: b"new", "is not in the manifest"),
    ],
)
def test_the_first_file_that_differs_is_told(
    folder: Path, name: str, change: Any, problem: str
) -> None:
    path = folder / name
    if change is None:
        path.unlink()
    else:
        path.write_bytes(change(path.read_bytes() if path.exists() else b""))
    _, (finding,) = check_manifest(folder)
    assert finding.name == name
    assert problem in finding.problem


@pytest.mark.parametrize(
    ("files", "problem"),
    [
        (lambda files: [files[0], *files], "is listed twice"),
        (lambda files: [*files, files[0] | {"name": "x" * 5_000}], "cannot be read: File name too"),
    ],
)
def test_a_manifest_that_nobody_wrote_so_is_no_match(
    folder: Path, files: Any, problem: str
) -> None:
    path = folder / MANIFEST
    document = json.loads(path.read_bytes())
    path.write_text(json.dumps(document | {"files": files(document["files"])}), "utf-8")
    _, (finding,) = check_manifest(folder)
    assert problem in finding.problem


def test_a_manifest_fits_its_published_schema(folder: Path) -> None:
    schema = json.loads((SCHEMAS / "manifest.v1.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    document = json.loads((folder / MANIFEST).read_bytes())
    validator = Draft202012Validator(schema)
    validator.validate(document)
    assert set(document) == set(schema["properties"])
    first = document["files"][0]
    for broken in (
        {"schema": "kling-ledger/manifest/v2"},
        {"by": "guessed"},
        {"wallets": [{"wallet": "studio", "seq": 0, "hash": "00" * 32}]},
        {"files": [first | {"totals": {"net": {"credits": 111}}}]},
        {"files": [first | {"sha256": "no digest"}]},
        {"files": [{"name": "a"}]},
    ):
        assert not validator.is_valid(document | broken), broken


def damaged(document: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A manifest whose first file is something else."""
    first, *others = document["files"]
    return document | {"files": [first | changes, *others]}


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": "../a"}, "files.0.name must be the name of a file in the folder, not '../a'"),
        ({"name": "/etc/passwd"}, "files.0.name must be the name of a file in the folder"),
        ({"name": ".."}, "files.0.name must be the name of a file in the folder, not '..'"),
        ({"name": "a\0"}, "files.0.name must be the name of a file in the folder"),
        ({"name": ""}, "files.0.name string should have at least 1 character"),
        ({"name": 1}, "files.0.name must be text"),
        ({"bytes": "12"}, "files.0.bytes must be a valid integer"),
        ({"rows": True}, "files.0.rows must be a valid integer"),
        ({"sha256": "ab"}, "files.0.sha256 string should match pattern"),
        ({"totals": {"net": {"credits": 1.5}}}, "files.0.totals.net.credits must be text"),
    ],
)
def test_a_damaged_manifest_says_where(folder: Path, changes: dict[str, Any], problem: str) -> None:
    document = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_text(json.dumps(damaged(document, **changes)))
    with pytest.raises(InvalidInput) as refused:
        check_manifest(folder)
    assert f"{MANIFEST}: is no manifest of an export; {problem}" in str(refused.value)


def test_a_manifest_may_say_more_than_is_known_here(folder: Path) -> None:
    document = json.loads((folder / MANIFEST).read_bytes())
    (folder / MANIFEST).write_text(json.dumps(damaged(document | {"more": 1}, colour="red")))
    assert check_manifest(folder)[1] == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "No such file or directory; name the folder of an export"),
        ("", "is no manifest of an export; it must be JSON"),
        ("[" * 100_000, "is no manifest of an export; it must be JSON"),
        ("[]", "is no manifest of an export; it must be a valid dictionary"),
        ('{"files": 1}', "is no manifest of an export; schema is required"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, content: str | None, problem: str) -> None:
    if content is not None:
        (tmp_path / MANIFEST).write_text(content)
    with pytest.raises(InvalidInput, match=MANIFEST) as refused:
        check_manifest(tmp_path)
    assert problem in str(refused.value)

"""Reports worked out a second time, by DuckDB from the Parquet files of the same book.

Nothing here knows how a report is made: each figure is a query over the exported entries and
holds. Budgets are left out, because no export has them, and so are figures that are no sums.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest
from test_exports import exported
from writers import Clock

from ledger import Ledger
from ledger.book import Book
from ledger.reports import ask, make
from ledger.units import CREDIT_E8


def fill(book: Book, clock: Clock) -> None:
    """Two wallets with a debt, a capped charge, a refund, a lapse, an extension, an open hold."""
    clock.now = datetime(2026, 10, 15, tzinfo=UTC)
    book.top_up("studio", 300, key="invoice-1", cash=6, currency="USD", at="2026-09-20")
    book.top_up("annex", 5, key="gift", promotional=True, expires="2026-10-20", at="2026-10-02")
    jobs = [("ads", "30"), ("ads", "12.34567891"), ("film", "60"), (None, "45")]
    for number, (team, charged) in enumerate(jobs):
        job, at = f"job-{number}", f"2026-10-0{number + 3}"
        labels = {} if team is None else {"team": team}
        book.reserve("studio", 40, key=job, labels=labels, policy="cap", at=at)
        if number == 1:
            book.extend(job, key="more", amount=5, at=at)
        book.charge(job, charged, at=at)
    book.refund("job-0", 6, key="back-1", at="2026-10-08")
    book.reserve("annex", 3, key="owing", at="2026-10-09")
    book.charge("owing", 9, at="2026-10-09")
    book.top_up("annex", 10, key="invoice-2", cash="0.30", currency="USD", at="2026-10-10")
    book.top_up("annex", 7, key="gift-2", promotional=True, expires="2026-10-20", at="2026-10-11")
    book.adjust("studio", -1, key="fix-1", reason="counted wrong", at="2026-10-12")
    book.reserve("studio", 4, key="failed", labels={"team": "ads"}, at="2026-10-13")
    book.release("failed", reason="timed out", at="2026-10-13")
    book.reserve(
        "studio", 2, key="open", at="2026-10-14", deadline=datetime(2026, 12, 1, tzinfo=UTC)
    )
    clock.now = datetime(2026, 11, 2, tzinfo=UTC)
    assert [entry.kind for entry in book.lapse("annex")] == ["lapse"]


@pytest.fixture(scope="module")
def book(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Book]:
    path = tmp_path_factory.mktemp("recomputed") / "ledger.db"
    path.write_bytes(sqlite_template.read_bytes())
    clock = Clock()
    with Ledger(f"sqlite:///{path}", clock=clock) as opened:
        fill(opened, clock)
        assert opened.verify().findings == ()
        yield opened


@pytest.fixture(scope="module")
def tables(
    book: Book, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[duckdb.DuckDBPyConnection]:
    folder = tmp_path_factory.mktemp("parquet")
    with duckdb.connect() as database:
        for table in ("entries", "holds"):
            path = folder / f"{table}.parquet"
            path.write_bytes(exported(ask(book), table, "parquet")[0])
            database.execute(f"CREATE TABLE {table} AS FROM read_parquet('{path}')")
        yield database


def plain(value: object) -> str:
    """A figure of DuckDB as reports write it."""
    if isinstance(value, Decimal):
        return f"{value:f}".rstrip("0").rstrip(".") if value else "0"
    return str(value)


MOVED = "sum(posted) FILTER (kind = '{}')"
TOTALS = [
    ("usage", "charges", "SELECT count(*) FROM entries WHERE kind = 'charge'"),
    ("usage", "charged", "SELECT -sum(posted) FROM entries WHERE kind = 'charge'"),
    ("usage", "refunded", "SELECT sum(posted) FROM entries WHERE kind = 'refund'"),
    ("usage", "net", "SELECT -sum(posted) FROM entries WHERE kind IN ('charge', 'refund')"),
    ("reserved", "jobs", "SELECT count(*) FROM holds"),
    ("reserved", "reserved", "SELECT sum(amount) FROM holds"),
    ("reserved", "charged", "SELECT sum(charged) FROM holds"),
    ("reserved", "still_held", "SELECT sum(held) FROM holds"),
    ("failures", "failed", "SELECT count(*) FROM holds WHERE state = 'released'"),
    ("failures", "refunds", "SELECT count(*) FROM entries WHERE kind = 'refund'"),
    ("failures", "uncollected", "SELECT sum(uncollected) FROM entries"),
    ("failures", "late", "SELECT count(*) FROM entries WHERE late"),
    ("variance", "quoted", "SELECT sum(held) FROM entries WHERE kind = 'reserve'"),
    ("variance", "extended", "SELECT sum(held) FROM entries WHERE kind = 'extend'"),
    ("variance", "net", "SELECT sum(charged) - sum(refunded) FROM holds"),
    ("movements", "top_ups", "SELECT sum(posted) FROM entries WHERE contra = 'funding'"),
    ("movements", "promotional", "SELECT sum(posted) FROM entries WHERE contra = 'promotion'"),
    ("movements", "refunds", f"SELECT {MOVED.format('refund')} FROM entries"),
    ("movements", "charges", f"SELECT {MOVED.format('charge')} FROM entries"),
    ("movements", "adjustments", f"SELECT {MOVED.format('adjust')} FROM entries"),
    ("movements", "lapses", f"SELECT {MOVED.format('lapse')} FROM entries"),
    ("movements", "closing", "SELECT sum(posted) FROM entries"),
    ("movements", "held", "SELECT sum(held) FROM entries"),
    ("trial-balance", "debits", "SELECT sum(abs(posted)) FROM entries"),
    ("trial-balance", "credits", "SELECT sum(abs(posted)) FROM entries"),
    ("holds", "holds", "SELECT count(*) FROM holds WHERE held > 0"),
    ("holds", "held", "SELECT sum(held) FROM holds"),
    ("lapsed", "lapsed", "SELECT -sum(posted) FROM entries WHERE kind = 'lapse'"),
    ("top-ups", "credits", "SELECT sum(posted) FROM entries WHERE kind = 'top_up'"),
    ("top-ups", "cash", "SELECT sum(cash) FROM entries"),
    ("valuation", "came_in", "SELECT sum(posted) FROM entries WHERE kind = 'top_up'"),
    ("valuation", "cash", "SELECT sum(cash) FROM entries"),
]


@pytest.mark.parametrize(("name", "column", "query"), TOTALS)
def test_duckdb_comes_to_the_same_total(
    book: Book, tables: duckdb.DuckDBPyConnection, name: str, column: str, query: str
) -> None:
    report = make(name, ask(book))
    assert report.total is not None
    told = report.written(report.total)[report.place(column)]
    assert told == plain(tables.execute(query).fetchall()[0][0])
    # No figure is nothing: a report that forgot everything would agree with an empty table.
    assert told != "0" or column == "late"


BY_TEAM = """
    SELECT json_extract_string(h.labels, '$.team') AS team, count(*) FILTER (e.kind = 'charge'),
        sum(CASE WHEN e.kind = 'charge' THEN -e.posted ELSE 0 END),
        sum(CASE WHEN e.kind = 'refund' THEN e.posted ELSE 0 END)
    FROM entries AS e JOIN holds AS h ON h.job = e.job
    WHERE e.kind IN ('charge', 'refund') GROUP BY team ORDER BY team NULLS LAST
"""
BY_DAY = """
    SELECT strftime(happened_at AT TIME ZONE 'UTC', '%Y-%m-%d') AS day,
        count(*) FILTER (kind = 'charge'),
        sum(CASE WHEN kind = 'charge' THEN -posted ELSE 0 END),
        sum(CASE WHEN kind = 'refund' THEN posted ELSE 0 END)
    FROM entries WHERE kind IN ('charge', 'refund') GROUP BY day ORDER BY day
"""


@pytest.mark.parametrize(("by", "query"), [("team", BY_TEAM), ("day", BY_DAY)])
def test_duckdb_comes_to_the_same_rows(
    book: Book, tables: duckdb.DuckDBPyConnection, by: str, query: str
) -> None:
    report = make("usage", ask(book), by)
    places = [0, *(report.place(name) for name in ("charges", "charged", "refunded"))]
    told = [[row[place] for place in places] for row in report.cells]
    found: list[Any] = tables.execute(query).fetchall()
    assert told == [[row[0] or "", *map(plain, row[1:])] for row in found]
    assert len(told) > 2


def test_duckdb_comes_to_the_same_accounts_and_wallets(
    book: Book, tables: duckdb.DuckDBPyConnection
) -> None:
    accounts = make("trial-balance", ask(book))
    nets = {
        name: debit - credit
        for name, debit, credit in zip(
            accounts.values("account"),
            accounts.values("closing_debit"),
            accounts.values("closing_credit"),
            strict=True,
        )
    }
    query = "SELECT contra, sum(posted) FROM entries GROUP BY contra HAVING sum(posted) <> 0"
    found = {name: int(net * CREDIT_E8) for name, net in tables.execute(query).fetchall()}
    assert {name: net for name, net in nets.items() if net and name != "wallets"} == found
    wallets = dict(
        zip(*map(make("movements", ask(book)).values, ("wallet", "closing")), strict=True)
    )
    query = "SELECT wallet, sum(posted) FROM entries GROUP BY wallet"
    assert wallets == {
        name: int(posted * CREDIT_E8) for name, posted in tables.execute(query).fetchall()
    }

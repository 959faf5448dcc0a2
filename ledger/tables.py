"""The tables of a book, with the rules the database itself keeps.

Every key starts with the book, so that the tables shard by book. Entries and budgets are facts
and only ever appended; wallets, holds, lots and windows are projections that `verify` rebuilds.
Amounts are BIGINT units of 10^-8 credit; on SQLite the tables are STRICT, so that an amount can
never turn into a float, and have no row numbers besides their keys: a row is one page to write,
and nothing can be replaced by its number. Column names and order of facts are those of
`ledger.records`: an entry's hash covers its columns in this order.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
)
from sqlalchemy import text as sql
from sqlmodel import Field, SQLModel

__all__ = [
    "APPEND_ONLY",
    "METADATA",
    "BreakRow",
    "BudgetRow",
    "EntryRow",
    "HoldRow",
    "ImportRow",
    "InboxRow",
    "LotRow",
    "MessageRow",
    "PeriodRow",
    "ReconciliationRow",
    "TaskRow",
    "WalletRow",
    "WindowRow",
]

METADATA = MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_N_name)s",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "ck": "%(table_name)s_%(constraint_name)s",
        "fk": "%(table_name)s_%(column_0_N_name)s_fk",
        "pk": "%(table_name)s_pk",
    }
)

APPEND_ONLY = ("entries", "budgets", "messages", "reconciliations", "periods")
"""Tables whose rows are facts; triggers refuse to change or delete them."""

# STRICT tables on SQLite know INTEGER, TEXT and BLOB only.
_BIG = BigInteger().with_variant(Integer(), "sqlite")
# Sorted by code point on both engines, whatever the language of the server.
_TEXT = Text().with_variant(Text(collation="C"), "postgresql")


class _Row(SQLModel):
    """What all tables share."""

    metadata = METADATA


def _text(*, primary_key: bool = False, nullable: bool = False) -> Any:
    return Field(sa_column=Column(_TEXT, primary_key=primary_key, nullable=nullable))


def _int(*, primary_key: bool = False, nullable: bool = False) -> Any:
    column = Column(_BIG, primary_key=primary_key, nullable=nullable, autoincrement=False)
    return Field(sa_column=column)


def _bytes() -> Any:
    return Field(sa_column=Column(LargeBinary, nullable=False))


def _check(name: str, rule: str) -> CheckConstraint:
    return CheckConstraint(rule, name=name)


def _of_wallet() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(["book", "wallet"], ["wallets.book", "wallets.id"])


class WalletRow(_Row, table=True):
    """A wallet as it stands: the sum of its entries."""

    __tablename__: ClassVar[Any] = "wallets"
    __table_args__ = (
        UniqueConstraint("book", "folded"),
        _check("held", "held_e8 >= 0"),
        _check("credit_limit", "credit_limit_e8 >= 0"),
        _check("seq", "seq >= 1 AND budgets_seq BETWEEN 0 AND seq"),
        _check("hash", "length(hash) = 32"),
        {"sqlite_strict": True, "sqlite_with_rowid": False, "postgresql_with": {"fillfactor": 50}},
    )
    book: str = _text(primary_key=True)
    id: str = _text(primary_key=True)
    folded: str = _text()
    """The name without case, so that no two wallets differ only in that."""
    credit_limit_e8: int = _int()
    posted_e8: int = _int()
    held_e8: int = _int()
    seq: int = _int()
    """The last entry."""
    hash: bytes = _bytes()
    """The last entry's hash: it stands for the whole history, and guards every write."""
    expires_at_us: int | None = _int(nullable=True)
    """When the next lot with credits left expires."""
    budgets_seq: int = _int()
    """The last entry that changed a budget; 0 where there is none."""
    recorded_at_us: int = _int()
    """When the last entry was written."""
    closed_until_us: int | None = _int(nullable=True)
    """Nothing happens before this moment any more: the end of the last closed period."""


class EntryRow(_Row, table=True):
    """One fact; see `ledger.records.Entry`."""

    __tablename__: ClassVar[Any] = "entries"
    __table_args__ = (
        _of_wallet(),
        # A reserve's key is its job, which the primary key of holds keeps unique.
        Index(
            "entries_book_kind_key",
            "book",
            "kind",
            "key",
            unique=True,
            sqlite_where=sql("kind <> 'reserve'"),
            postgresql_where=sql("kind <> 'reserve'"),
        ),
        _check(
            "kind",
            "kind = 'reserve' OR kind = 'charge' OR kind = 'release'"
            " OR kind = 'refund' OR kind = 'top_up' OR kind = 'extend'"
            " OR kind = 'adjust' OR kind = 'lapse' OR kind = 'open'"
            " OR kind = 'budget' OR kind = 'close' OR kind = 'reopen'",
        ),
        _check("seq", "seq >= 1"),
        _check("held_after", "held_after_e8 >= 0"),
        _check("over", "over_e8 >= 0 AND uncollected_e8 >= 0"),
        _check("late", "late IN (0, 1)"),
        _check("hashes", "length(digest) = 32 AND length(hash) = 32"),
        _check(
            "movement",
            "CASE kind"
            " WHEN 'top_up' THEN posted_e8 > 0 AND held_e8 = 0"
            " WHEN 'reserve' THEN posted_e8 = 0 AND held_e8 > 0"
            " WHEN 'extend' THEN posted_e8 = 0 AND held_e8 >= 0"
            " WHEN 'charge' THEN posted_e8 <= 0 AND held_e8 <= 0"
            " WHEN 'release' THEN posted_e8 = 0 AND held_e8 <= 0"
            " WHEN 'refund' THEN posted_e8 > 0 AND held_e8 = 0"
            " WHEN 'adjust' THEN posted_e8 <> 0 AND held_e8 = 0"
            " WHEN 'lapse' THEN posted_e8 < 0 AND held_e8 = 0"
            " ELSE posted_e8 = 0 AND held_e8 = 0 END",
        ),
        {"sqlite_strict": True, "sqlite_with_rowid": False},
    )
    book: str = _text(primary_key=True)
    wallet: str = _text(primary_key=True)
    seq: int = _int(primary_key=True)
    kind: str = _text()
    key: str = _text()
    job: str | None = _text(nullable=True)
    contra: str = _text()
    posted_e8: int = _int()
    held_e8: int = _int()
    posted_after_e8: int = _int()
    held_after_e8: int = _int()
    over_e8: int = _int()
    uncollected_e8: int = _int()
    late: int = _int()
    lots: str | None = _text(nullable=True)
    facts: str | None = _text(nullable=True)
    happened_at_us: int = _int()
    recorded_at_us: int = _int()
    digest: bytes = _bytes()
    hash: bytes = _bytes()


class HoldRow(_Row, table=True):
    """A hold as it stands; see `ledger.records.Hold`."""

    __tablename__: ClassVar[Any] = "holds"
    __table_args__ = (
        _of_wallet(),
        # Only open holds: small whatever the age of the book.
        Index(
            "holds_open",
            "book",
            "wallet",
            "deadline_us",
            sqlite_where=sql("state = 'open'"),
            postgresql_where=sql("state = 'open'"),
        ),
        _check(
            "state",
            "state = 'open' OR state = 'charged' OR state = 'released' OR state = 'awaited'",
        ),
        _check("wallet", "(wallet IS NULL) = (state = 'awaited')"),
        _check("amount", "amount_e8 > 0 OR state = 'awaited'"),
        _check("held", "held_e8 BETWEEN 0 AND amount_e8 AND (held_e8 = 0 OR state = 'open')"),
        _check("refunded", "refunded_e8 BETWEEN 0 AND charged_e8"),
        _check(
            "policy",
            "policy = 'owe' OR policy = 'draw' OR policy = 'cap' OR policy = 'reject'",
        ),
        _check("on_deadline", "on_deadline IN ('keep','release')"),
        _check("parked", "parked IN (0, 1)"),
        {"sqlite_strict": True, "sqlite_with_rowid": False, "postgresql_with": {"fillfactor": 80}},
    )
    book: str = _text(primary_key=True)
    job: str = _text(primary_key=True)
    wallet: str | None = _text(nullable=True)
    seq: int = _int()
    last_seq: int = _int()
    state: str = _text()
    amount_e8: int = _int()
    held_e8: int = _int()
    charged_e8: int = _int()
    refunded_e8: int = _int()
    deadline_us: int = _int()
    reserved_at_us: int = _int()
    policy: str = _text()
    on_deadline: str = _text()
    labels: str = _text()
    terms: str | None = _text(nullable=True)
    lots: str | None = _text(nullable=True)
    parked: int = _int()


class LotRow(_Row, table=True):
    """Credits that came in together; see `ledger.records.Lot`."""

    __tablename__: ClassVar[Any] = "lots"
    __table_args__ = (
        _of_wallet(),
        Index(
            "lots_remaining",
            "book",
            "wallet",
            sqlite_where=sql("used_e8 + lapsed_e8 < granted_e8"),
            postgresql_where=sql("used_e8 + lapsed_e8 < granted_e8"),
        ),
        _check(
            "origin",
            "origin = 'paid' OR origin = 'promotional' OR origin = 'adjustment'",
        ),
        _check("granted", "granted_e8 > 0 AND used_e8 >= 0 AND lapsed_e8 >= 0"),
        _check("remaining", "used_e8 + lapsed_e8 <= granted_e8"),
        _check("cash", "(cash_e8 IS NULL) = (currency IS NULL) AND coalesce(cash_e8, 0) >= 0"),
        {"sqlite_strict": True, "sqlite_with_rowid": False},
    )
    book: str = _text(primary_key=True)
    wallet: str = _text(primary_key=True)
    seq: int = _int(primary_key=True)
    origin: str = _text()
    granted_e8: int = _int()
    used_e8: int = _int()
    lapsed_e8: int = _int()
    cash_e8: int | None = _int(nullable=True)
    currency: str | None = _text(nullable=True)
    expires_at_us: int | None = _int(nullable=True)
    granted_at_us: int = _int()


class BudgetRow(_Row, table=True):
    """A budget as it was set at one moment; see `ledger.budgets.Budget`."""

    __tablename__: ClassVar[Any] = "budgets"
    __table_args__ = (
        _of_wallet(),
        _check("limit", "limit_e8 >= 0"),
        _check(
            "period",
            "period IN ('hour','day','week','month','rolling','job','lifetime','in_flight')",
        ),
        _check("rolling", "(period = 'rolling') = (rolling_seconds IS NOT NULL)"),
        _check("flags", "hard IN (0, 1) AND removed IN (0, 1)"),
        {"sqlite_strict": True, "sqlite_with_rowid": False},
    )
    book: str = _text(primary_key=True)
    wallet: str = _text(primary_key=True)
    name: str = _text(primary_key=True)
    seq: int = _int(primary_key=True)
    limit_e8: int = _int()
    selector: str = _text()
    period: str = _text()
    rolling_seconds: int | None = _int(nullable=True)
    timezone: str = _text()
    hard: int = _int()
    thresholds: str = _text()
    counts_from_us: int = _int()
    removed: int = _int()


class WindowRow(_Row, table=True):
    """How full one window of a budget is: the sum of its jobs."""

    __tablename__: ClassVar[Any] = "windows"
    __table_args__ = (
        _of_wallet(),
        _check("levels", "held_e8 >= 0 AND used_e8 >= 0 AND peak_e8 >= 0"),
        _check("times", "start_us < end_us"),
        {"sqlite_strict": True, "sqlite_with_rowid": False, "postgresql_with": {"fillfactor": 70}},
    )
    book: str = _text(primary_key=True)
    wallet: str = _text(primary_key=True)
    budget: str = _text(primary_key=True)
    share: str = _text(primary_key=True)
    """Whose share: a JSON array of the values of the labels that count each by itself."""
    start_us: int = _int(primary_key=True)
    end_us: int = _int()
    held_e8: int = _int()
    used_e8: int = _int()
    peak_e8: int = _int()


class InboxRow(_Row, table=True):
    """A charge or refund that waits for the reserve of its job."""

    __tablename__: ClassVar[Any] = "inbox"
    __table_args__ = (
        Index(
            "inbox_waiting",
            "book",
            "job",
            sqlite_where=sql("applied = 0"),
            postgresql_where=sql("applied = 0"),
        ),
        _check("kind", "kind IN ('charge','refund')"),
        _check("applied", "applied = 0 OR applied = 1 AND discarded_at_us IS NULL"),
        _check("discarded", "(discarded_at_us IS NULL) = (discard_reason IS NULL)"),
        _check("digest", "length(digest) = 32"),
        {"sqlite_strict": True, "sqlite_with_rowid": False},
    )
    book: str = _text(primary_key=True)
    kind: str = _text(primary_key=True)
    key: str = _text(primary_key=True)
    job: str = _text()
    content: str = _text()
    """JSON: what was asked for."""
    happened_at_us: int | None = _int(nullable=True)
    recorded_at_us: int = _int()
    place: int = _int()
    """Its place among the messages that came in together."""
    digest: bytes = _bytes()
    applied: int = _int()
    discarded_at_us: int | None = _int(nullable=True)
    """When a person said that it will never be applied."""
    discard_reason: str | None = _text(nullable=True)


class TaskRow(_Row, table=True):
    """A task of the provider, as far as its messages tell; see `ledger.records.TaskRecord`."""

    __tablename__: ClassVar[Any] = "tasks"
    __table_args__ = (
        Index(
            "tasks_of_job",
            "book",
            "job",
            sqlite_where=sql("job IS NOT NULL"),
            postgresql_where=sql("job IS NOT NULL"),
        ),
        # Only what is still to be heard of: small whatever the age of the book.
        Index(
            "tasks_unsettled",
            "book",
            "first_heard_at_us",
            sqlite_where=sql("state <> 'settled'"),
            postgresql_where=sql("state <> 'settled'"),
        ),
        # Those that wait for their job, or that the book has refused.
        Index(
            "tasks_waiting",
            "book",
            "id",
            sqlite_where=sql("applied = 0"),
            postgresql_where=sql("applied = 0"),
        ),
        _check(
            "state",
            "state IN ('running','settled','unproven','unpriced','disputed')",
        ),
        _check("applied", "applied IN (0, 1)"),
        _check("version", "version >= 1"),
        _check("times", "first_heard_at_us <= last_heard_at_us"),
        {"sqlite_strict": True, "sqlite_with_rowid": False, "postgresql_with": {"fillfactor": 80}},
    )
    book: str = _text(primary_key=True)
    id: str = _text(primary_key=True)
    job: str | None = _text(nullable=True)
    """The hold it belongs to; NULL until somebody says so."""
    model: str | None = _text(nullable=True)
    status: str = _text()
    """The provider's word: pending, processing, completed, failed, cancelled, or a new one."""
    state: str = _text()
    """What follows for the book: running, settled, unproven, unpriced, disputed."""
    facts: str = _text()
    """JSON: what all its messages say together."""
    applied: int = _int()
    """1 where the book has done what the facts ask for."""
    version: int = _int()
    """Counts changes; it guards every write."""
    first_heard_at_us: int = _int()
    last_heard_at_us: int = _int()


class MessageRow(_Row, table=True):
    """A message of the provider as it came; the same again is not kept twice."""

    __tablename__: ClassVar[Any] = "messages"
    __table_args__ = (
        _check("digest", "length(digest) = 32"),
        {"sqlite_strict": True, "sqlite_with_rowid": False},
    )
    book: str = _text(primary_key=True)
    task: str = _text(primary_key=True)
    """First in the key: tasks are named by the time, so that what is new stands together."""
    digest: bytes = Field(sa_column=Column(LargeBinary, primary_key=True, nullable=False))
    """SHA-256 of the body."""
    body: str = _text()
    received_at_us: int = _int()
    recorded_at_us: int = _int()


class ImportRow(_Row, table=True):
    """A file that was read into the book, and how far."""

    __tablename__: ClassVar[Any] = "imports"
    __table_args__ = (
        _check("kind", "kind IN ('tasks','statement','cash','corrections')"),
        _check("digest", "length(digest) = 32"),
        _check("progress", "lines >= 0 AND offset_bytes >= 0 AND complete IN (0, 1)"),
        {"sqlite_strict": True, "sqlite_with_rowid": False},
    )
    book: str = _text(primary_key=True)
    kind: str = _text(primary_key=True)
    digest: bytes = Field(sa_column=Column(LargeBinary, primary_key=True, nullable=False))
    """SHA-256 of the file."""
    name: str = _text()
    lines: int = _int()
    offset_bytes: int = _int()
    complete: int = _int()
    result: str | None = _text(nullable=True)
    """JSON: what came of it."""
    recorded_at_us: int = _int()


class ReconciliationRow(_Row, table=True):
    """One comparison of a period with what the provider says; a fact."""

    __tablename__: ClassVar[Any] = "reconciliations"
    __table_args__ = (
        _check("seq", "seq >= 1"),
        _check("times", "since_us < until_us"),
        _check("digest", "length(digest) = 32"),
        {"sqlite_strict": True, "sqlite_with_rowid": False},
    )
    book: str = _text(primary_key=True)
    seq: int = _int(primary_key=True)
    since_us: int = _int()
    until_us: int = _int()
    digest: bytes = _bytes()
    """SHA-256 of what was compared: statements and options."""
    options: str = _text()
    result: str = _text()
    """JSON: counts and sums."""
    recorded_at_us: int = _int()


class BreakRow(_Row, table=True):
    """A difference between statement and book, and what became of it."""

    __tablename__: ClassVar[Any] = "breaks"
    __table_args__ = (
        Index(
            "breaks_open",
            "book",
            "happened_at_us",
            sqlite_where=sql("status = 'open'"),
            postgresql_where=sql("status = 'open'"),
        ),
        Index(
            "breaks_of_job",
            "book",
            "job",
            sqlite_where=sql("job IS NOT NULL"),
            postgresql_where=sql("job IS NOT NULL"),
        ),
        _check(
            "status",
            "status IN ('open','explained','adjusted','written_off','cleared')",
        ),
        _check("found", "found_seq >= 1 AND seen_seq >= found_seq"),
        _check("period", "since_us < until_us"),
        {"sqlite_strict": True, "sqlite_with_rowid": False, "postgresql_with": {"fillfactor": 80}},
    )
    book: str = _text(primary_key=True)
    id: str = _text(primary_key=True)
    """Worked out from what it is about: the same break has the same name every time."""
    kind: str = _text()
    wallet: str | None = _text(nullable=True)
    job: str | None = _text(nullable=True)
    task: str | None = _text(nullable=True)
    ours_e8: int | None = _int(nullable=True)
    theirs_e8: int | None = _int(nullable=True)
    difference_e8: int = _int()
    """Theirs less ours; what is missing counts as nothing."""
    happened_at_us: int = _int()
    cause: str | None = _text(nullable=True)
    evidence: str = _text()
    status: str = _text()
    owner: str | None = _text(nullable=True)
    note: str | None = _text(nullable=True)
    closed_by: str | None = _text(nullable=True)
    """The entry that closed it, as kind:key."""
    since_us: int = _int()
    until_us: int = _int()
    found_seq: int = _int()
    """The reconciliation that found it first."""
    seen_seq: int = _int()
    """The latest one that found it."""
    changed_at_us: int = _int()


class PeriodRow(_Row, table=True):
    """A period that was closed or opened again; a fact."""

    __tablename__: ClassVar[Any] = "periods"
    __table_args__ = (
        _check("seq", "seq >= 1"),
        _check("action", "action IN ('close','reopen')"),
        _check("times", "start_us < end_us"),
        {"sqlite_strict": True, "sqlite_with_rowid": False},
    )
    book: str = _text(primary_key=True)
    seq: int = _int(primary_key=True)
    action: str = _text()
    name: str = _text()
    """Such as 2026-10."""
    start_us: int = _int()
    end_us: int = _int()
    timezone: str = _text()
    reconciliation: int | None = _int(nullable=True)
    """The reconciliation it was closed on."""
    reason: str | None = _text(nullable=True)
    recorded_at_us: int = _int()

"""The tables of a book, and the triggers that keep facts as they are.

Everything is written out: what a revision makes must not change when `ledger.tables` does.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_HOLD_NEVER_CHANGES = ("book", "job")
_HOLD_KEEPS = ("wallet", "seq", "reserved_at_us", "policy", "on_deadline", "labels", "terms")
"""What a hold keeps from the reserve that made it."""


def upgrade() -> None:
    """Make seven tables with their indexes and triggers."""
    _wallets()
    _entries()
    _holds()
    _lots()
    _budgets()
    _windows()
    _inbox()
    statements = _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL
    for statement in statements:
        op.execute(statement)


def downgrade() -> None:
    """Refuse: a tool never drops facts."""
    raise NotImplementedError("A book is never downgraded: no tool drops the facts in it.")


def _wallets() -> None:
    op.create_table(
        "wallets",
        _text("book"),
        _text("id"),
        _text("folded"),
        _int("credit_limit_e8"),
        _int("posted_e8"),
        _int("held_e8"),
        _int("seq"),
        _bytes("hash"),
        _int("expires_at_us", nullable=True),
        _int("budgets_seq"),
        _int("recorded_at_us"),
        _int("closed_until_us", nullable=True),
        sa.PrimaryKeyConstraint("book", "id", name="wallets_pk"),
        sa.UniqueConstraint("book", "folded", name="wallets_book_folded_key"),
        _check("wallets_held", "held_e8 >= 0"),
        _check("wallets_credit_limit", "credit_limit_e8 >= 0"),
        _check("wallets_seq", "seq >= 1 AND budgets_seq BETWEEN 0 AND seq"),
        _check("wallets_hash", "length(hash) = 32"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": 50},
    )


def _entries() -> None:
    op.create_table(
        "entries",
        _text("book"),
        _text("wallet"),
        _int("seq"),
        _text("kind"),
        _text("key"),
        _text("job", nullable=True),
        _text("contra"),
        _int("posted_e8"),
        _int("held_e8"),
        _int("posted_after_e8"),
        _int("held_after_e8"),
        _int("over_e8"),
        _int("uncollected_e8"),
        _int("late"),
        _text("lots", nullable=True),
        _text("facts", nullable=True),
        _int("happened_at_us"),
        _int("recorded_at_us"),
        _bytes("digest"),
        _bytes("hash"),
        sa.PrimaryKeyConstraint("book", "wallet", "seq", name="entries_pk"),
        _of_wallet("entries"),
        _check(
            "entries_kind",
            "kind = 'reserve' OR kind = 'charge' OR kind = 'release'"
            " OR kind = 'refund' OR kind = 'top_up' OR kind = 'extend'"
            " OR kind = 'adjust' OR kind = 'lapse' OR kind = 'open'"
            " OR kind = 'budget' OR kind = 'close' OR kind = 'reopen'",
        ),
        _check("entries_seq", "seq >= 1"),
        _check("entries_held_after", "held_after_e8 >= 0"),
        _check("entries_over", "over_e8 >= 0 AND uncollected_e8 >= 0"),
        _check("entries_late", "late IN (0, 1)"),
        _check("entries_hashes", "length(digest) = 32 AND length(hash) = 32"),
        _check(
            "entries_movement",
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
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    _partial_index(
        "entries_book_kind_key",
        "entries",
        ["book", "kind", "key"],
        where="kind <> 'reserve'",
        unique=True,
    )


def _holds() -> None:
    op.create_table(
        "holds",
        _text("book"),
        _text("job"),
        _text("wallet", nullable=True),
        _int("seq"),
        _int("last_seq"),
        _text("state"),
        _int("amount_e8"),
        _int("held_e8"),
        _int("charged_e8"),
        _int("refunded_e8"),
        _int("deadline_us"),
        _int("reserved_at_us"),
        _text("policy"),
        _text("on_deadline"),
        _text("labels"),
        _text("terms", nullable=True),
        _text("lots", nullable=True),
        _int("parked"),
        sa.PrimaryKeyConstraint("book", "job", name="holds_pk"),
        _of_wallet("holds"),
        _check(
            "holds_state",
            "state = 'open' OR state = 'charged' OR state = 'released' OR state = 'awaited'",
        ),
        _check("holds_wallet", "(wallet IS NULL) = (state = 'awaited')"),
        _check("holds_amount", "amount_e8 > 0 OR state = 'awaited'"),
        _check("holds_held", "held_e8 BETWEEN 0 AND amount_e8 AND (held_e8 = 0 OR state = 'open')"),
        _check("holds_refunded", "refunded_e8 BETWEEN 0 AND charged_e8"),
        _check(
            "holds_policy",
            "policy = 'owe' OR policy = 'draw' OR policy = 'cap' OR policy = 'reject'",
        ),
        _check("holds_on_deadline", "on_deadline IN ('keep','release')"),
        _check("holds_parked", "parked IN (0, 1)"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": 80},
    )
    _partial_index("holds_open", "holds", ["book", "wallet", "deadline_us"], where="state = 'open'")


def _lots() -> None:
    op.create_table(
        "lots",
        _text("book"),
        _text("wallet"),
        _int("seq"),
        _text("origin"),
        _int("granted_e8"),
        _int("used_e8"),
        _int("lapsed_e8"),
        _int("cash_e8", nullable=True),
        _text("currency", nullable=True),
        _int("expires_at_us", nullable=True),
        _int("granted_at_us"),
        sa.PrimaryKeyConstraint("book", "wallet", "seq", name="lots_pk"),
        _of_wallet("lots"),
        _check(
            "lots_origin",
            "origin = 'paid' OR origin = 'promotional' OR origin = 'adjustment'",
        ),
        _check("lots_granted", "granted_e8 > 0 AND used_e8 >= 0 AND lapsed_e8 >= 0"),
        _check("lots_remaining", "used_e8 + lapsed_e8 <= granted_e8"),
        _check("lots_cash", "(cash_e8 IS NULL) = (currency IS NULL) AND coalesce(cash_e8, 0) >= 0"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    _partial_index(
        "lots_remaining", "lots", ["book", "wallet"], where="used_e8 + lapsed_e8 < granted_e8"
    )


def _budgets() -> None:
    op.create_table(
        "budgets",
        _text("book"),
        _text("wallet"),
        _text("name"),
        _int("seq"),
        _int("limit_e8"),
        _text("selector"),
        _text("period"),
        _int("rolling_seconds", nullable=True),
        _text("timezone"),
        _int("hard"),
        _text("thresholds"),
        _int("counts_from_us"),
        _int("removed"),
        sa.PrimaryKeyConstraint("book", "wallet", "name", "seq", name="budgets_pk"),
        _of_wallet("budgets"),
        _check("budgets_limit", "limit_e8 >= 0"),
        _check(
            "budgets_period",
            "period IN ('hour','day','week','month','rolling','job','lifetime','in_flight')",
        ),
        _check("budgets_rolling", "(period = 'rolling') = (rolling_seconds IS NOT NULL)"),
        _check("budgets_flags", "hard IN (0, 1) AND removed IN (0, 1)"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _windows() -> None:
    op.create_table(
        "windows",
        _text("book"),
        _text("wallet"),
        _text("budget"),
        _text("share"),
        _int("start_us"),
        _int("end_us"),
        _int("held_e8"),
        _int("used_e8"),
        _int("peak_e8"),
        sa.PrimaryKeyConstraint("book", "wallet", "budget", "share", "start_us", name="windows_pk"),
        _of_wallet("windows"),
        _check("windows_levels", "held_e8 >= 0 AND used_e8 >= 0 AND peak_e8 >= 0"),
        _check("windows_times", "start_us < end_us"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": 70},
    )


def _inbox() -> None:
    op.create_table(
        "inbox",
        _text("book"),
        _text("kind"),
        _text("key"),
        _text("job"),
        _text("content"),
        _int("happened_at_us", nullable=True),
        _int("recorded_at_us"),
        _int("place"),
        _bytes("digest"),
        _int("applied"),
        _int("discarded_at_us", nullable=True),
        _text("discard_reason", nullable=True),
        sa.PrimaryKeyConstraint("book", "kind", "key", name="inbox_pk"),
        _check("inbox_kind", "kind IN ('charge','refund')"),
        _check("inbox_applied", "applied = 0 OR applied = 1 AND discarded_at_us IS NULL"),
        _check("inbox_discarded", "(discarded_at_us IS NULL) = (discard_reason IS NULL)"),
        _check("inbox_digest", "length(digest) = 32"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )
    _partial_index("inbox_waiting", "inbox", ["book", "job"], where="applied = 0")


def _text(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    kind = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    return sa.Column(name, kind, nullable=nullable)


def _int(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column(name, kind, nullable=nullable, autoincrement=False)


def _bytes(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.LargeBinary(), nullable=False)


def _check(name: str, rule: str) -> sa.CheckConstraint:
    return sa.CheckConstraint(rule, name=name)


def _of_wallet(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["book", "wallet"], ["wallets.book", "wallets.id"], name=f"{table}_book_wallet_fk"
    )


def _partial_index(
    name: str, table: str, columns: list[str], *, where: str, unique: bool = False
) -> None:
    op.create_index(
        name,
        table,
        columns,
        unique=unique,
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(where),
    )


def _row(side: str, columns: tuple[str, ...]) -> str:
    return ", ".join(f"{side}.{column}" for column in columns)


def _hold_changed(differs: str) -> str:
    """The condition that an update touches what a hold keeps; `differs` compares two rows."""
    return (
        f"({_row('OLD', _HOLD_NEVER_CHANGES)}) {differs} ({_row('NEW', _HOLD_NEVER_CHANGES)})"
        " OR (OLD.state <> 'awaited'"
        f" AND ({_row('OLD', _HOLD_KEEPS)}) {differs} ({_row('NEW', _HOLD_KEEPS)}))"
    )


# Updates of the other columns, which every charge makes, never look at this trigger. A hold
# cannot become awaited again either: that takes away its wallet.
_HOLD_COLUMNS = ", ".join((*_HOLD_NEVER_CHANGES, *_HOLD_KEEPS))
_HOLD_KEPT = "a hold keeps what it was reserved with"

# The insert guard runs with every entry. INSERT OR REPLACE removes rows without any delete
# trigger, whichever unique key they collide on: the place in the wallet, or the caller's key (the
# partial index answers that, so its condition is repeated). ORDER BY … LIMIT 1 is one step into the
# primary key.
_SQLITE = (
    """
    CREATE TRIGGER entries_insert BEFORE INSERT ON entries
    WHEN NEW.seq <> 1 + coalesce((SELECT seq FROM entries
            WHERE book = NEW.book AND wallet = NEW.wallet ORDER BY seq DESC LIMIT 1), 0)
      OR (NEW.kind <> 'reserve' AND EXISTS (SELECT 1 FROM entries
            WHERE book = NEW.book AND kind = NEW.kind AND key = NEW.key AND kind <> 'reserve'))
    BEGIN
      SELECT CASE WHEN NEW.seq > 1 + coalesce((SELECT seq FROM entries
            WHERE book = NEW.book AND wallet = NEW.wallet ORDER BY seq DESC LIMIT 1), 0)
        THEN RAISE(ABORT, 'entries are numbered without gaps')
        ELSE RAISE(ABORT, 'entries are append-only') END;
    END
    """,
    """
    CREATE TRIGGER entries_update BEFORE UPDATE ON entries
    BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END
    """,
    """
    CREATE TRIGGER entries_delete BEFORE DELETE ON entries
    BEGIN SELECT RAISE(ABORT, 'entries are append-only'); END
    """,
    """
    CREATE TRIGGER budgets_insert BEFORE INSERT ON budgets
    WHEN EXISTS (
            SELECT 1 FROM budgets WHERE book = NEW.book AND wallet = NEW.wallet
              AND name = NEW.name AND seq = NEW.seq)
    BEGIN SELECT RAISE(ABORT, 'budgets are append-only'); END
    """,
    """
    CREATE TRIGGER budgets_update BEFORE UPDATE ON budgets
    BEGIN SELECT RAISE(ABORT, 'budgets are append-only'); END
    """,
    """
    CREATE TRIGGER budgets_delete BEFORE DELETE ON budgets
    BEGIN SELECT RAISE(ABORT, 'budgets are append-only'); END
    """,
    f"""
    CREATE TRIGGER holds_update BEFORE UPDATE OF {_HOLD_COLUMNS} ON holds
    WHEN {_hold_changed("IS NOT")}
    BEGIN SELECT RAISE(ABORT, '{_HOLD_KEPT}'); END
    """,
    """
    CREATE TRIGGER holds_delete BEFORE DELETE ON holds
    BEGIN SELECT RAISE(ABORT, 'holds are never deleted'); END
    """,
)


def _refuses(trigger: str, event: str, each: str, message: str) -> str:
    return (
        f"CREATE TRIGGER {trigger} BEFORE {event}"
        f" FOR EACH {each} EXECUTE FUNCTION kling_ledger_append_only('{message}')"
    )


_POSTGRESQL = (
    """
    CREATE FUNCTION kling_ledger_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      RAISE EXCEPTION USING MESSAGE = TG_ARGV[0], ERRCODE = 'restrict_violation';
    END
    $$
    """,
    _refuses("entries_change", "UPDATE OR DELETE ON entries", "ROW", "entries are append-only"),
    _refuses("entries_truncate", "TRUNCATE ON entries", "STATEMENT", "entries are append-only"),
    _refuses("budgets_change", "UPDATE OR DELETE ON budgets", "ROW", "budgets are append-only"),
    _refuses("budgets_truncate", "TRUNCATE ON budgets", "STATEMENT", "budgets are append-only"),
    _refuses(
        "holds_update",
        f"UPDATE OF {_HOLD_COLUMNS} ON holds",
        f"ROW WHEN ({_hold_changed('IS DISTINCT FROM')})",
        _HOLD_KEPT,
    ),
    _refuses("holds_delete", "DELETE ON holds", "ROW", "holds are never deleted"),
    _refuses("holds_truncate", "TRUNCATE ON holds", "STATEMENT", "holds are never deleted"),
)

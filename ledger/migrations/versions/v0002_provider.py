"""The tables of what the provider says, and of what came of comparing it with the book."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from ledger.migrations.versions.v0001_tables import (
    _bytes,
    _check,
    _int,
    _partial_index,
    _refuses,
    _text,
)

revision = "0002"
down_revision = "0001"

_APPEND_ONLY = ("messages", "reconciliations", "periods")
_KEYS = {
    "messages": ("book", "task", "digest"),
    "reconciliations": ("book", "seq"),
    "periods": ("book", "seq"),
}


def upgrade() -> None:
    """Make six tables with their indexes and triggers."""
    _tasks()
    _messages()
    _imports()
    _reconciliations()
    _breaks()
    _periods()
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    for table in _APPEND_ONLY:
        for statement in _sqlite(table) if on_sqlite else _postgresql(table):
            op.execute(statement)


def downgrade() -> None:
    """Refuse: a tool never drops facts."""
    raise NotImplementedError("A book is never downgraded: no tool drops the facts in it.")


def _tasks() -> None:
    op.create_table(
        "tasks",
        _text("book"),
        _text("id"),
        _text("job", nullable=True),
        _text("model", nullable=True),
        _text("status"),
        _text("state"),
        _text("facts"),
        _int("applied"),
        _int("version"),
        _int("first_heard_at_us"),
        _int("last_heard_at_us"),
        sa.PrimaryKeyConstraint("book", "id", name="tasks_pk"),
        _check("tasks_state", "state IN ('running','settled','unproven','unpriced','disputed')"),
        _check("tasks_applied", "applied IN (0, 1)"),
        _check("tasks_version", "version >= 1"),
        _check("tasks_times", "first_heard_at_us <= last_heard_at_us"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": 80},
    )
    _partial_index("tasks_of_job", "tasks", ["book", "job"], where="job IS NOT NULL")
    _partial_index(
        "tasks_unsettled", "tasks", ["book", "first_heard_at_us"], where="state <> 'settled'"
    )
    _partial_index("tasks_waiting", "tasks", ["book", "id"], where="applied = 0")


def _messages() -> None:
    op.create_table(
        "messages",
        _text("book"),
        _text("task"),
        _bytes("digest"),
        _text("body"),
        _int("received_at_us"),
        _int("recorded_at_us"),
        sa.PrimaryKeyConstraint("book", "task", "digest", name="messages_pk"),
        _check("messages_digest", "length(digest) = 32"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _imports() -> None:
    op.create_table(
        "imports",
        _text("book"),
        _text("kind"),
        _bytes("digest"),
        _text("name"),
        _int("lines"),
        _int("offset_bytes"),
        _int("complete"),
        _text("result", nullable=True),
        _int("recorded_at_us"),
        sa.PrimaryKeyConstraint("book", "kind", "digest", name="imports_pk"),
        _check("imports_kind", "kind IN ('tasks','statement','cash','corrections')"),
        _check("imports_digest", "length(digest) = 32"),
        _check("imports_progress", "lines >= 0 AND offset_bytes >= 0 AND complete IN (0, 1)"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _reconciliations() -> None:
    op.create_table(
        "reconciliations",
        _text("book"),
        _int("seq"),
        _int("since_us"),
        _int("until_us"),
        _bytes("digest"),
        _text("options"),
        _text("result"),
        _int("recorded_at_us"),
        sa.PrimaryKeyConstraint("book", "seq", name="reconciliations_pk"),
        _check("reconciliations_seq", "seq >= 1"),
        _check("reconciliations_times", "since_us < until_us"),
        _check("reconciliations_digest", "length(digest) = 32"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _breaks() -> None:
    op.create_table(
        "breaks",
        _text("book"),
        _text("id"),
        _text("kind"),
        _text("wallet", nullable=True),
        _text("job", nullable=True),
        _text("task", nullable=True),
        _int("ours_e8", nullable=True),
        _int("theirs_e8", nullable=True),
        _int("difference_e8"),
        _int("happened_at_us"),
        _text("cause", nullable=True),
        _text("evidence"),
        _text("status"),
        _text("owner", nullable=True),
        _text("note", nullable=True),
        _text("closed_by", nullable=True),
        _int("since_us"),
        _int("until_us"),
        _int("found_seq"),
        _int("seen_seq"),
        _int("changed_at_us"),
        sa.PrimaryKeyConstraint("book", "id", name="breaks_pk"),
        _check(
            "breaks_status", "status IN ('open','explained','adjusted','written_off','cleared')"
        ),
        _check("breaks_found", "found_seq >= 1 AND seen_seq >= found_seq"),
        _check("breaks_period", "since_us < until_us"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
        postgresql_with={"fillfactor": 80},
    )
    _partial_index("breaks_open", "breaks", ["book", "happened_at_us"], where="status = 'open'")
    _partial_index("breaks_of_job", "breaks", ["book", "job"], where="job IS NOT NULL")


def _periods() -> None:
    op.create_table(
        "periods",
        _text("book"),
        _int("seq"),
        _text("action"),
        _text("name"),
        _int("start_us"),
        _int("end_us"),
        _text("timezone"),
        _int("reconciliation", nullable=True),
        _text("reason", nullable=True),
        _int("recorded_at_us"),
        sa.PrimaryKeyConstraint("book", "seq", name="periods_pk"),
        _check("periods_seq", "seq >= 1"),
        _check("periods_action", "action IN ('close','reopen')"),
        _check("periods_times", "start_us < end_us"),
        sqlite_strict=True,
        sqlite_with_rowid=False,
    )


def _sqlite(table: str) -> list[str]:
    """Refuse to change, delete or replace a row, and to insert one under a used key."""
    message = f"{table} are append-only"
    same = " AND ".join(f"{column} = NEW.{column}" for column in _KEYS[table])
    refuse = f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
    known = f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {same})"  # noqa: S608  our own names
    return [
        f"CREATE TRIGGER {table}_insert BEFORE INSERT ON {table} {known} {refuse}",
        f"CREATE TRIGGER {table}_update BEFORE UPDATE ON {table} {refuse}",
        f"CREATE TRIGGER {table}_delete BEFORE DELETE ON {table} {refuse}",
    ]


def _postgresql(table: str) -> list[str]:
    message = f"{table} are append-only"
    return [
        _refuses(f"{table}_change", f"UPDATE OR DELETE ON {table}", "ROW", message),
        _refuses(f"{table}_truncate", f"TRUNCATE ON {table}", "STATEMENT", message),
    ]

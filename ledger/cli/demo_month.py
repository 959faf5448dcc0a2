"""The last part of `kling-ledger demo`: what the provider says of the month, and closing it.

The provider is played here: messages about most tasks, and a statement that differs from the book
in ways that statements do.
"""

from __future__ import annotations

import csv
import json
import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ledger import Ledger
    from ledger.records import Entry, Hold

__all__ = ["CORRECTIONS", "EXPORTS", "MESSAGES", "STATEMENT", "look_over", "play_provider"]

MESSAGES, STATEMENT, CORRECTIONS = "tasks.jsonl", "statement.csv", "corrections.jsonl"
EXPORTS = "2026-10"
"""The folder that everything about the month is written to."""

_COLUMNS = ("Task ID", "Idempotency key", "Model", "Quality", "Status", "Credits", "Completed at")
_LOST = 12
"""Jobs whose callback never came, and whose length the provider rounds to the nearest second."""
_ROUNDED = "kling-v3-motion-control"
_MINUTE = timedelta(minutes=1)


class _Task(NamedTuple):
    """A job as the provider knows it."""

    id: str
    job: str
    model: str
    quality: str | None
    state: str
    """charged, refunded, released, or open: nobody has told the book."""
    net_e8: int
    reserved_e8: int
    seconds: str | None
    created: datetime
    ended: datetime


def play_provider(ledger: Ledger, folder: Path) -> None:
    """Write the messages and the statement of the month, as the provider would give them."""
    tasks = list(_tasks(ledger))
    chance = random.Random(20261101)  # noqa: S311  nothing here is secret
    fitting = [task for task in tasks if _nearest_e8(task) not in (None, task.net_e8)]
    lost = {task.id for task in chance.sample(fitting, min(_LOST, len(fitting)))}
    told = [task for task in tasks if task.id not in lost]
    lines = [json.dumps(item) for task in told for item in _messages(task)]
    (folder / MESSAGES).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    with (folder / STATEMENT).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(_statement(tasks, lost))


def look_over(path: Path) -> list[str]:
    """Explain what no entry can mend, as a person would; gives what was changed."""
    reasons = {
        "missing_here": "a test of ours outside the book; the key is revoked",
        "duplicate_charge": "the provider gives it back in November, ticket 4711",
        "never_settled": "the provider looks into it, ticket 4712",
    }
    lines, changed = [], []
    for line in path.read_text(encoding="utf-8").splitlines():
        item: dict[str, Any] = json.loads(line)
        if item["action"] == "none" or item["kind"] in reasons:
            item |= {"action": "explain", "owner": "noor"}
            item["reason"] = reasons.get(item["kind"], "seen, and right as it is")
            item.pop("amount", None)
            changed.append(f"{item['kind'].replace('_', ' ')}: {item['reason']}")
        lines.append(json.dumps(item, ensure_ascii=False))
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return list(dict.fromkeys(changed))


# What the provider knows


def _tasks(ledger: Ledger) -> Iterator[_Task]:
    charges = _last(ledger, "charge")
    holds = sorted(ledger.holds(limit=10_000), key=lambda hold: hold.reserved_at_us)
    for number, hold in enumerate(holds, start=1):
        charge = charges.get(hold.job)
        state = "refunded" if hold.refunded_e8 else hold.state
        ended = hold.reserved_at + 4 * _MINUTE if charge is None else charge.happened_at
        price = hold.price or {}
        yield _Task(
            f"task-unified-{hold.reserved_at:%m%d}-{number:04d}",
            hold.job,
            price.get("model", ""),
            price.get("quality"),
            state,
            _net_e8(hold),
            hold.amount_e8,
            None if charge is None else charge.details.get("seconds"),
            hold.reserved_at,
            ended,
        )


def _last(ledger: Ledger, kind: str) -> dict[str, Entry]:
    entries = ledger.statement("studio").entries
    return {str(entry.job): entry for entry in entries if entry.kind == kind}


def _net_e8(hold: Hold) -> int:
    """What the provider takes; where nobody has told the book, half of what is set aside."""
    return hold.amount_e8 // 2 if hold.state == "open" else hold.charged_e8 - hold.refunded_e8


def _nearest_e8(task: _Task) -> int | None:
    """What a charge by whole seconds is under the rule of the billing panel: the nearest second."""
    if task.state != "charged" or task.seconds is None or task.model != _ROUNDED:
        return None
    seconds = Decimal(task.seconds)
    up = int(seconds.to_integral_value(ROUND_CEILING))
    nearest = int(seconds.to_integral_value(ROUND_HALF_UP))
    rate_e8, rest = divmod(task.net_e8, up)
    return None if rest else rate_e8 * nearest


def _messages(task: _Task) -> Iterator[dict[str, Any]]:
    """The answer to the request, and the callback at the end."""
    created = {
        "id": task.id,
        "model": task.model,
        "object": "video.generation.task",
        "created": int(task.created.timestamp()),
        "status": "pending",
        "usage": {"billing_rule": "per_second", "credits_reserved": task.reserved_e8 // 10_000},
    }
    yield _told(task, task.created, created)
    if task.state == "released":
        reserved = task.reserved_e8 // 10_000
        ended = {
            "status": "failed",
            "error": {"code": "generation_timeout", "message": "timed out", "type": "task_error"},
            "billing": {
                "charge_status": "released",
                "refund_status": "completed",
                "reserved_credits": reserved,
                "refunded_credits": reserved,
                "refunded_at": f"{task.ended:%Y-%m-%dT%H:%M:%SZ}",
            },
        }
    else:
        ended = {"status": "completed", "usage": {"credits_used": _credits(_charged_e8(task))}}
        if task.state == "refunded":
            ended["billing"] = {
                "charge_status": "released",
                "refund_status": "completed",
                "reserved_credits": _credits(task.reserved_e8),
                "refunded_credits": _credits(task.reserved_e8),
                "refunded_at": f"{task.ended:%Y-%m-%dT%H:%M:%SZ}",
            }
    yield _told(task, task.ended, created | {"usage": {}} | ended)


def _charged_e8(task: _Task) -> int:
    return task.net_e8 or task.reserved_e8


def _credits(amount_e8: int) -> str:
    from ledger.units import show_credits

    return show_credits(amount_e8)


def _told(task: _Task, at: datetime, body: dict[str, Any]) -> dict[str, Any]:
    return {"job": task.job, "received_at": f"{at:%Y-%m-%dT%H:%M:%SZ}", "body": body}


def _statement(tasks: list[_Task], lost: set[str]) -> Iterator[list[str | None]]:
    """The month as the provider bills it: nearly as it was."""
    billed = [task for task in tasks if task.net_e8]
    twice = next(task for task in billed if task.state == "charged" and task.id not in lost)
    for task in billed:
        nearest_e8 = _nearest_e8(task) if task.id in lost else None
        line = _line(task, task.net_e8 if nearest_e8 is None else nearest_e8)
        yield line
        if task is twice:
            yield line
    stray = billed[-1]
    stray = stray._replace(id="task-unified-1099-0001", job="test-of-key", net_e8=24_494_400_00)
    yield _line(stray, stray.net_e8)


def _line(task: _Task, amount_e8: int) -> list[str | None]:
    ended = f"{task.ended:%Y-%m-%dT%H:%M:%SZ}"
    amount = _credits(amount_e8)
    return [task.id, task.job, task.model, task.quality, "completed", amount, ended]

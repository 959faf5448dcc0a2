"""Printing what a verb has written: one entry, or a message that waits."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ledger.cli.books import counted, minute
from ledger.cli.options import Format

if TYPE_CHECKING:
    from ledger import Ledger
    from ledger.records import Entry, Parked

__all__ = ["about_hold", "print_written"]

WRITTEN_CSV = (
    *("outcome", "kind", "wallet", "seq", "key", "job", "posted", "held", "posted_after"),
    *("held_after", "available_after", "over", "uncollected", "late", "cash", "currency"),
    *("expires", "reason", "corrects", "seconds", "happened_at", "recorded_at"),
)


def print_written(
    ledger: Ledger,
    outcome: Entry | Parked,
    format_: Format,
    *,
    dry_run: bool = False,
    notes: Sequence[str] = (),
    hints: Sequence[str] = (),
) -> None:
    """One entry, or a message that waits, with the balances after it and what is special.

    `hints` are for people only; `notes` are warnings of the JSON, too.
    """
    from ledger.cli.output import emit_json, print_csv, print_figures, say
    from ledger.documents import entry_document, parked_document
    from ledger.records import Entry

    told = [*notes, *_notes(ledger, outcome)]
    if dry_run:
        told.append("dry run: there is room, and nothing was written")
    entry = outcome if isinstance(outcome, Entry) else None
    available = None if entry is None else _available_after(ledger, entry)
    if format_ is Format.JSON:
        data = {
            "entry": None if entry is None else entry_document(entry),
            "parked": None if isinstance(outcome, Entry) else parked_document(outcome),
            "available_after": available,
            "replayed": outcome.replayed,
            "dry_run": dry_run,
        }
        emit_json("entry", data, told)
        return
    if format_ is Format.CSV:
        print_csv(WRITTEN_CSV, [_csv_row(outcome, available, dry_run=dry_run)])
    elif not isinstance(outcome, Entry):
        print_figures(_parked_title(outcome), [])
    else:
        entry = outcome
        print_figures(_title(entry, dry_run=dry_run), _figures(entry, str(available)))
    for note in (*told, *(hints if format_ is Format.TABLE else ())):
        say(note)


def about_hold(ledger: Ledger, entry: Entry) -> tuple[list[str], list[str]]:
    """What a reserve or an extension has led to, as notes and hints for `print_written`.

    Messages that had waited for the job, those that wait on, and the deadline of its hold.
    """
    hold = ledger.hold(str(entry.job))
    notes, hints = [], []
    if hold.last_seq > entry.seq and not entry.replayed:
        applied = f"what waited for job {hold.job!r} was applied"
        notes.append(f"{applied}; see: kling-ledger holds show {shlex.quote(hold.job)}")
    elif hold.state == "open":
        hints.append(f"the outcome counts as unknown from {minute(hold.deadline)} UTC on")
    if hold.parked and any(record.job == hold.job for record in ledger.inbox()):
        waiting = f"a message for job {hold.job!r} could not be applied and waits on"
        notes.append(f"{waiting}; see: kling-ledger holds inbox")
    return notes, hints


def _available_after(ledger: Ledger, entry: Entry) -> str:
    """What a new job could reserve right after an entry."""
    from ledger.units import show_credits

    balance = ledger.balance(entry.wallet)
    lapsing_e8 = balance.lapsing_e8 if balance.seq == entry.seq else 0
    own_e8 = entry.posted_after_e8 - entry.held_after_e8
    return show_credits(own_e8 + balance.credit_limit_e8 - lapsing_e8)


def _csv_row(outcome: Entry | Parked, available: str | None, *, dry_run: bool) -> list[object]:
    from ledger.documents import entry_document
    from ledger.records import Entry

    state = "replayed" if outcome.replayed else "dry_run" if dry_run else "written"
    if not isinstance(outcome, Entry):
        state = "replayed" if outcome.replayed else "parked"
        if outcome.discarded is not None:
            state = "discarded"
        known: dict[str, object] = {"kind": outcome.kind, "key": outcome.key, "job": outcome.job}
    else:
        known = {**entry_document(outcome)}
    known |= {"outcome": state, "available_after": available}
    return [known.get(name) for name in WRITTEN_CSV]


# Sentences


def _title(entry: Entry, *, dry_run: bool) -> str:
    sentence = _sentence(entry, dry_run=dry_run)
    if not entry.replayed or entry.kind == "budget":
        return sentence
    # Without a word, yesterday's balance would look like the one of now.
    return f"{sentence}, earlier; right after it, at the time:"


def _sentence(entry: Entry, *, dry_run: bool) -> str:
    from ledger.units import show_credits

    credits = counted(entry.posted_e8 or entry.held_e8)
    wallet, job = f"wallet {entry.wallet}", entry.job
    if entry.kind == "reserve":
        verb = "would reserve" if dry_run else "reserved"
        return f"{verb} {credits} in {wallet} for {job}"
    if entry.kind == "budget":
        return _budget_sentence(entry)
    sign = "-" if entry.posted_e8 < 0 else ""
    return {
        "open": f"opened {wallet}",
        "top_up": f"topped up {wallet} by {credits}",
        "extend": f"extended {job} in {wallet}" + (f" by {credits}" if entry.held_e8 else ""),
        "charge": f"charged {counted(entry.posted_e8)} to {wallet} for {job}",
        "release": f"released {credits} of {job} to {wallet}",
        "refund": f"refunded {credits} of {job} to {wallet}",
        "adjust": f"adjusted {wallet} by {sign}{credits}",
        "lapse": f"{credits} of {wallet} lapsed",
    }.get(entry.kind, f"{entry.kind} of {show_credits(entry.posted_e8)} credits in {wallet}")


def _budget_sentence(entry: Entry) -> str:
    from ledger.documents import entry_document

    facts: dict[str, Any] = entry_document(entry)["facts"]
    title = f"budget {facts['name']} of wallet {entry.wallet}"
    if facts["removed"]:
        return f"removed {title}"
    matched = ", ".join(f"{name}={value}" for name, value in json.loads(facts["selector"]).items())
    length = f" of {facts['rolling_seconds']:,} s" if facts.get("rolling_seconds") else ""
    period = {"in_flight": "in flight at any time", "lifetime": "in all"}.get(
        facts["period"], f"per {facts['period']}{' window' if length else ''}{length}"
    )
    limit = "1 credit" if facts["limit"] == "1" else f"{facts['limit']} credits"
    soft = "" if facts["hard"] else "; soft: it refuses no job"
    percents = ", ".join(f"{percent} %" for percent in json.loads(facts["thresholds"]))
    tells = f"; tells at {percents}" if percents else ""
    return f"set {title}: {limit} {period} for {matched or 'all jobs'}{soft}{tells}"


def _figures(entry: Entry, available: str) -> list[tuple[str, str]]:
    from ledger.units import show_credits

    if entry.kind == "budget":
        return []
    return [
        ("posted", show_credits(entry.posted_after_e8)),
        ("held", show_credits(entry.held_after_e8)),
        ("available", available),
    ]


# Notes


def _notes(ledger: Ledger, outcome: Entry | Parked) -> list[str]:
    """What a person should know about an outcome besides its figures."""
    from ledger.records import Entry

    notes: list[str] = []
    if not isinstance(outcome, Entry) and outcome.discarded is not None:
        return [_waits(outcome)]
    if outcome.replayed and outcome.kind == "open" and isinstance(outcome, Entry):
        notes.append(f"wallet {outcome.wallet!r} is open already, and nothing more was written")
    elif outcome.replayed:
        notes.append(
            f"{outcome.kind} key {outcome.key!r} was used before for the same:"
            " this is the first result, and nothing more was written"
        )
    if not isinstance(outcome, Entry):
        return [*notes, _waits(outcome)]
    if outcome.corrects is not None:
        notes.append(f"{outcome.corrects} is closed: this counts from now on, as its correction")
    if outcome.late:
        notes.append(f"late: {_why_late(ledger, outcome)}")
    if outcome.over_e8:
        notes.append(f"{counted(outcome.over_e8)} more than its hold was made for")
    if outcome.uncollected_e8:
        left = counted(outcome.uncollected_e8)
        were = "was" if left == "1 credit" else "were"
        notes.append(f"{left} of it {were} not taken, by the policy of its hold")
    for item in outcome.crossed:
        whose = f" for {item.group}" if item.group else ""
        notes.append(f"budget {item.budget!r}{whose} reached {item.percent} %")
    if outcome.posted_after_e8 < 0 and outcome.posted_e8 < 0:
        notes.append(f"wallet {outcome.wallet!r} is below zero")
    return notes


def _parked_title(message: Parked) -> str:
    if message.discarded is not None:
        return f"the {message.kind} of {message.job} stays discarded"
    return f"parked the {message.kind} of {message.job}"


def _waits(message: Parked) -> str:
    if message.discarded is not None:
        return f"the {message.kind} under this key was discarded: {message.discarded}"
    waits = f"nobody has reserved job {message.job!r} yet: the {message.kind} waits in the inbox"
    if not message.nearest:
        return waits
    return f"{waits}; did you mean {' or '.join(map(repr, message.nearest))}?"


def _why_late(ledger: Ledger, entry: Entry) -> str:
    """What had closed the hold before a charge, or that its time was over."""
    before = [item for item in ledger.history(str(entry.job)) if item.seq < entry.seq]
    if any(item.kind == "charge" and item.details.get("final", True) for item in before):
        return "the job had been charged before"
    if any(item.kind == "release" for item in before):
        return "its hold had been released"
    return "the deadline of its hold had passed"

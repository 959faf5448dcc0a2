"""Printing comparisons, their breaks, and what became of corrections."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger.cli.options import Format

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ledger.breaks import BreakRecord
    from ledger.documents import BreakDocument, RejectedDocument, StatementFileDocument
    from ledger.reconcile.corrections import Applied
    from ledger.reconcile.held import Held
    from ledger.statements import StatementFile

__all__ = [
    "print_applied",
    "print_breaks",
    "print_evidence",
    "print_held",
    "propose_from",
    "write_corrections",
]

_MOST_ROWS = 50


def print_held(held: Held, now_us: int, format_: Format) -> None:
    """A comparison: sums, kinds, causes, and the breaks that are open."""
    from ledger.cli.output import emit_json, say

    warnings = _warnings(held)
    if format_ is Format.JSON:
        emit_json("reconciliation", _document(held, now_us), warnings)
        return
    if format_ is Format.CSV:
        _print_csv(held.breaks, now_us)
    else:
        _print_tables(held, now_us)
    for warning in warnings:
        say(warning)


def _document(held: Held, now_us: int) -> dict[str, Any]:
    from ledger.documents import break_document
    from ledger.reconcile.kept import record_of
    from ledger.records import moment
    from ledger.units import iso, show_credits

    result, totals = held.result, held.result.totals
    period = {"since_us": result.since_us, "until_us": result.until_us}
    return {
        "book": held.book,
        "since": iso(moment(result.since_us)),
        "until": iso(moment(result.until_us)),
        "statements": [_file(file) for file in held.statements],
        "cash": None if held.cash is None else _file(held.cash),
        "totals": {
            "lines": totals.lines,
            "lines_of_period": totals.lines_of_period,
            "lines_outside": totals.lines_outside,
            "lines_of_top_ups": totals.lines_of_top_ups,
            "lines_matched": totals.lines_matched,
            "jobs": totals.jobs,
            "jobs_matched": totals.jobs_matched,
            "by_rule": dict(totals.by_rule),
            "ours": show_credits(totals.ours_e8),
            "theirs": show_credits(totals.theirs_e8),
            "difference": show_credits(totals.difference_e8),
            "tolerated": show_credits(totals.tolerated_e8),
            "purchases_agreeing": totals.purchases_agreeing,
        },
        "causes": [
            {
                "cause": item.cause,
                "kind": item.kind,
                "breaks": item.breaks,
                "of_breaks": item.of_breaks,
                "amount": show_credits(item.amount_e8),
                "of_amount": show_credits(item.of_amount_e8),
                "sentence": item.sentence,
            }
            for item in result.causes
        ],
        "breaks": [break_document(record, now_us=now_us) for record in held.breaks],
        "tolerated": [
            break_document(record_of(item, **period), now_us=now_us) for item in result.tolerated
        ],
        "kept": None if held.kept is None else held.kept.reconciliation.seq,
        "new_breaks": 0 if held.kept is None else held.kept.new,
        "cleared_breaks": 0 if held.kept is None else held.kept.cleared,
        "replayed": held.kept is not None and held.kept.replayed,
    }


def _file(file: StatementFile) -> StatementFileDocument:
    return {
        "name": file.name,
        "sha256": file.digest.hex(),
        "lines": file.lines,
        "mapping": file.mapping.toml(),
        "guessed": file.guess is not None,
        "rejected": [_rejected(item) for item in file.rejected],
        "left_out": [_rejected(item) for item in file.left_out],
        "notes": list(file.notes),
    }


def _rejected(item: Any) -> RejectedDocument:
    return {"line": item.line, "column": item.column, "problem": item.problem}


def _print_tables(held: Held, now_us: int) -> None:
    from ledger.cli.books import many
    from ledger.cli.output import print_figures, print_text
    from ledger.records import moment
    from ledger.units import show_credits

    result, totals = held.result, held.result.totals
    since, until = moment(result.since_us), moment(result.until_us)
    print_figures(
        f"Book {held.book} and {_names(held)}, {_day(since)} up to {_day(until)}",
        [
            ("the book says", show_credits(totals.ours_e8)),
            ("the bill says", show_credits(totals.theirs_e8)),
            ("difference", show_credits(totals.difference_e8)),
        ],
    )
    rules = ", ".join(f"{number:,} by {_RULES[rule]}" for rule, number in totals.by_rule.items())
    print_text(
        f"\n{many(totals.lines_matched, 'line')} of {totals.lines_of_period:,} matched with"
        f" {many(totals.jobs_matched, 'job')}{f': {rules}' if rules else ''}"
    )
    if not held.breaks:
        print_text("No break: book and bill agree." if not result.tolerated else "No break.")
        return
    print_text("")
    _print_kinds(held)
    if result.causes:
        print_text("\n".join(["", *(f"• {item.sentence}" for item in result.causes), ""]))
    _print_breaks(held.open_breaks, now_us, title="Open breaks")


def _names(held: Held) -> str:
    from ledger.cli.books import many

    first, *others = held.statements
    return first.name if not others else f"{first.name} and {many(len(others), 'other file')}"


_RULES = {
    "task": "task",
    "key": "key",
    "amount_time": "model, amount and time",
    "sum_time": "sums of an hour",
    "sum_day": "sums of a day",
    "sum_period": "sums of the period",
}


def _day(when: Any) -> str:
    from ledger.cli.books import minute

    text = minute(when)
    return text.removesuffix(" 00:00")


def _print_kinds(held: Held) -> None:
    from ledger.cli.output import print_table
    from ledger.units import show_credits

    kinds: dict[str, list[BreakRecord]] = {}
    for record in held.breaks:
        kinds.setdefault(record.kind, []).append(record)
    numbers = ["breaks", "open", "difference"]
    print_table(
        ["kind", *numbers],
        [[kind.replace("_", " "), *_counts(records)] for kind, records in sorted(kinds.items())],
        title="Breaks by kind",
        total=["all", *_counts(held.breaks)],
        numbers=numbers,
    )
    if held.result.tolerated:
        from ledger.cli.output import say

        amount = show_credits(held.result.totals.tolerated_e8)
        say(f"{len(held.result.tolerated):,} differences within the tolerance, {amount} credits")


def _counts(records: list[BreakRecord]) -> list[str]:
    from ledger.units import show_credits

    still_open = sum(record.status == "open" for record in records)
    difference_e8 = sum(record.difference_e8 for record in records)
    return [f"{len(records):,}", f"{still_open:,}", show_credits(difference_e8)]


def _print_breaks(records: list[BreakRecord], now_us: int, *, title: str) -> None:
    from ledger.cli.books import many
    from ledger.cli.output import print_table, say
    from ledger.documents import break_document

    if not records:
        return
    numbers = ["ours", "theirs", "difference"]
    stands = "owner" if all(record.status == "open" for record in records) else "status"
    documents = [break_document(record, now_us=now_us) for record in records[:_MOST_ROWS]]
    print_table(
        ["break", "days", "kind", "job or task", *numbers, "cause", stands],
        [
            [
                item["id"],
                item["age"],
                item["kind"].replace("_", " "),
                item["job"] or item["task"] or item["evidence"].get("key") or _lines(item),
                item["ours"],
                item["theirs"],
                item["difference"],
                item["cause"] or "",
                (item["owner"] if stands == "owner" else item["status"].replace("_", " ")) or "",
            ]
            for item in documents
        ],
        title=f"{title}: {many(len(records), 'break')}",
        numbers=numbers,
        drops=["owner", "days", "break", "cause", "status"],
    )
    if len(records) > _MOST_ROWS:
        say(f"the first {_MOST_ROWS} are shown; --format csv or json has all")


def _lines(item: BreakDocument) -> str:
    return "line " + ", ".join(map(str, item["lines"][:3])) if item["lines"] else ""


_CSV = (
    *("id", "kind", "status", "wallet", "job", "task", "ours", "theirs", "difference"),
    *("difference_money", "currency", "happened_at", "age", "cause", "owner", "note", "closed_by"),
)


def _print_csv(records: list[BreakRecord], now_us: int) -> None:
    from ledger.cli.output import print_csv
    from ledger.documents import break_document

    rows: list[dict[str, Any]] = [dict(break_document(item, now_us=now_us)) for item in records]
    print_csv(_CSV, ([row[name] for name in _CSV] for row in rows))


def print_breaks(book: str, records: list[BreakRecord], now_us: int, format_: Format) -> None:
    """Breaks in a list."""
    from ledger.cli.output import emit_json, say
    from ledger.documents import break_document

    if format_ is Format.JSON:
        found = [break_document(record, now_us=now_us) for record in records]
        emit_json("breaks", {"book": book, "breaks": found})
    elif format_ is Format.CSV:
        _print_csv(records, now_us)
    elif records:
        _print_breaks(records, now_us, title=f"Breaks of book {book}")
    else:
        say("no breaks")


def print_evidence(record: BreakRecord, now_us: int) -> None:
    """One break with everything that is known of it."""
    import json

    from ledger.cli.output import print_text
    from ledger.documents import break_document

    item = break_document(record, now_us=now_us)
    told = {
        "kind": item["kind"],
        "status": item["status"],
        "happened": item["happened_at"],
        "days": item["age"],
        "wallet": item["wallet"],
        "job": item["job"],
        "task": item["task"],
        "lines": ", ".join(map(str, item["lines"])),
        "ours": item["ours"],
        "theirs": item["theirs"],
        "difference": item["difference"],
        "cause": item["cause"],
        "owner": item["owner"],
        "note": item["note"],
        "closed by": item["closed_by"],
    }
    lines = [f"  {name:<10}  {text}" for name, text in told.items() if text]
    print_text("\n".join([item["id"], *lines]))
    if item["proposal"] is not None:
        verb, reason = item["proposal"]["verb"] or "none", item["proposal"]["reason"]
        print_text(f"  {'proposal':<10}  {verb}: {reason}")
    evidence = json.dumps(item["evidence"], indent=2, ensure_ascii=False)
    print_text("\n".join(f"  {line}" for line in ("evidence", *evidence.splitlines())))


def print_applied(done: Sequence[Applied]) -> None:
    """What became of corrections."""
    from ledger.cli.books import many
    from ledger.cli.output import print_table
    from ledger.units import show_credits

    print_table(
        ["break", "action", "credits", "outcome"],
        [
            [
                item.correction.break_id,
                item.correction.action.replace("_", " "),
                "" if item.entry is None else show_credits(item.entry.posted_e8),
                item.outcome if item.error is None else f"refused: {item.error}",
            ]
            for item in done
        ],
        title=f"{many(len(done), 'correction')}",
        numbers=["credits"],
        drops=["break"],
    )


def _warnings(held: Held) -> list[str]:
    from ledger.cli.books import many

    warnings: list[str] = []
    for file in held.files:
        warnings += _about(file)
    warnings += held.result.notes
    if held.rejected and held.kept is None:
        warnings.append("nothing was kept, because lines are in none of the sums")
    elif held.kept is not None:
        kept = held.kept
        told = f"kept as comparison {kept.reconciliation.seq}"
        if kept.replayed:
            told = f"the same as comparison {kept.reconciliation.seq}: nothing changed"
        elif kept.cleared:
            told += f"; {many(kept.cleared, 'break')} of before cleared"
        warnings.append(told)
        warnings += _still_open(kept.others, held)
    return warnings


def _still_open(others: Sequence[BreakRecord], held: Held) -> list[str]:
    """What the period has besides, found by comparisons that this one does not stand for."""
    from ledger.cli.books import many
    from ledger.records import moment

    told = []
    of_cash = [item for item in others if item.details.get("scope") == "cash"]
    if of_cash and held.cash is None:
        breaks = many(len(of_cash), "open break")
        told.append(f"{breaks} about purchases besides: compare again with --cash")
    longer: dict[tuple[int, int], int] = {}
    for item in others:
        if held.cash is not None or item not in of_cash:
            span = item.since_us, item.until_us
            longer[span] = longer.get(span, 0) + 1
    for (since_us, until_us), count in sorted(longer.items()):
        since, until = _day(moment(since_us)), _day(moment(until_us))
        told.append(
            f"{many(count, 'open break')} of this period besides, found from {since} up to {until}:"
            " compare all of that again"
        )
    return told


def _about(file: StatementFile) -> list[str]:
    from ledger.cli.books import many

    told = []
    if file.guess is not None:
        told.append(f"{file.name}: {'; '.join(file.guess.evidence)}")
        told += [f"{file.name}: assumed: {line}" for line in file.guess.assumed]
    told += [f"{file.name}: {note}" for note in file.notes]
    if file.rejected:
        told.append(f"{file.name}: {many(len(file.rejected), 'line')} cannot be read:")
        for item in file.rejected[:20]:
            column = f", {item.column}" if item.column else ""
            told.append(f"line {item.line}{column}: {item.problem}")
    return told


def propose_from(held: Held, path: Path) -> None:
    """Write corrections of the open breaks of a comparison to a file."""
    from ledger.cli.output import say

    if held.kept is None:
        say("no corrections were written: only breaks that are kept can be corrected")
        return
    write_corrections(held.breaks, path)


def write_corrections(records: list[BreakRecord], path: Path) -> None:
    """Write corrections of the open ones of some breaks to a file."""
    from ledger.cli.books import many
    from ledger.cli.output import say
    from ledger.reconcile.corrections import propose, written

    lines = list(written(propose(records)))
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    told = f"{many(len(lines), 'correction')} written to {path}"
    say(f"{told}; look them over, then: kling-ledger reconcile apply {path}")

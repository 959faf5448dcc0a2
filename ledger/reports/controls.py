"""What stands at the head and the end of a pack: closed, reconciled, agreeing, made of what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import NamedTuple

from ledger.breaks import BREAK_STATUSES, BreakRecord
from ledger.figures import in_credits
from ledger.records import Period, moment
from ledger.reports.asking import Asked
from ledger.reports.columns import Unit
from ledger.reports.formats import period_in_words
from ledger.reports.pages import Table, plain_table
from ledger.reports.report import Report, Row
from ledger.spans import Span
from ledger.store import moves as scans
from ledger.units import iso

__all__ = [
    "Check",
    "State",
    "agreed",
    "break_tables",
    "closed",
    "control_tables",
    "open_breaks",
    "reconciled",
]

MOST_BREAKS = 100
"""Breaks that are listed one by one."""


class State(NamedTuple):
    """Something that is so or not."""

    title: str
    said: str
    kind: str
    """ok, bad, or wait."""


class Check(NamedTuple):
    """Two figures that must be the same."""

    what: str
    one_e8: int
    other_e8: int

    @property
    def agrees(self) -> bool:
        """Whether they are."""
        return self.one_e8 == self.other_e8


# States


def closed(asked: Asked, span: Span) -> State:
    """What was done to the period last, by what is known."""
    as_of_us = asked.as_of_us
    known = [
        item for item in asked.book.periods() if as_of_us is None or item.recorded_at_us < as_of_us
    ]
    latest: dict[tuple[int, int], Period] = {(item.start_us, item.end_us): item for item in known}
    last = latest.get((span.start_us, span.end_us))
    if last is None:
        around = [
            item
            for item in latest.values()
            if item.action == "close"
            and item.start_us <= span.start_us
            and span.end_us <= item.end_us
        ]
        last = around[-1] if around else None
    if last is None:
        return State("Not closed", "Entries may still be recorded into this period.", "wait")
    reason = f" Reason: {last.reason}." if last.reason else ""
    if last.action == "close":
        said = (
            f"{last.name} was closed on {iso(last.recorded_at)}, digest {last.digest.hex()[:16]}…"
        )
        return State("Closed", said + reason, "ok")
    return State(
        "Opened again", f"{last.name} was opened again on {iso(last.recorded_at)}.{reason}", "wait"
    )


def reconciled(asked: Asked, span: Span) -> State:
    """Whether the period agrees with the provider's bill, and what was compared."""
    found = asked.book.reconciled(since=span.start, until=span.end)
    if found.changed:
        came = "charge or refund" if found.changed == 1 else "charges and refunds"
        said = f"{found.changed:,} {came} came after it was compared; compare it again."
        return State("Not reconciled", said, "wait")
    if found.state == "not yet":
        return State("Not reconciled", "Not compared with the provider's bill yet.", "wait")
    said = ""
    for record in asked.book.reconciliations():
        if record.seq == found.reconciliation:
            figures = record.figures
            lines, jobs = (
                f"{figures.get(f'{name}_matched', 0):,} of {figures.get(name, 0):,}"
                for name in ("lines", "jobs")
            )
            said = (
                f"Comparison {record.seq} of {iso(moment(record.recorded_at_us))}:"
                f" {lines} lines of the bill and {jobs} jobs matched."
            )
    if found.state == "reconciled":
        settled = _settled(asked, span)
        return State("Reconciled", f"{said} No breaks are open{settled}.".strip(), "ok")
    number = f"{found.open_breaks:,} {'break is' if found.open_breaks == 1 else 'breaks are'} open"
    return State(
        "Compared, with open breaks",
        f"{said} {number}, {in_credits(found.difference_e8)} (bill less book).".strip(),
        "bad",
    )


def _settled(asked: Asked, span: Span) -> str:
    """How many breaks were found and are not open any more, by what became of them."""
    found = asked.book.breaks(None, since=span.start, until=span.end)
    number = Counter(item.status for item in found if item.status != "open")
    parts = [
        f"{number[status]:,} {status.replace('_', ' ')}"
        for status in BREAK_STATUSES
        if number[status]
    ]
    return f": {', '.join(parts)}" if parts else ""


def agreed(checks: Sequence[Check]) -> State:
    """Whether figures that must be the same are."""
    wrong = [check for check in checks if check.one_e8 != check.other_e8]
    number = len(checks)
    if wrong:
        said = (
            f"{len(wrong)} of {number} comparisons of the figures in this pack differ: see Control."
        )
        return State("Figures do not agree", said, "bad")
    return State(
        "Figures agree", f"All {number} comparisons of the figures in this pack agree.", "ok"
    )


# Breaks


def open_breaks(asked: Asked, span: Span) -> list[BreakRecord]:
    """The open breaks of a span, of the wallet that was asked for, oldest first."""
    found = asked.book.breaks("open", since=span.start, until=span.end)
    return [item for item in found if asked.wallet in {None, item.wallet}]


def break_tables(found: Sequence[BreakRecord]) -> tuple[Table, ...]:
    """Open breaks, summed up by cause, and the oldest of them one by one."""
    caption = "Open breaks by what explains them; difference is the bill less the book"
    columns: tuple[tuple[str, Unit], ...] = (
        ("cause", "text"),
        ("breaks", "count"),
        ("difference", "credits"),
    )
    causes = plain_table(caption, columns, _by_cause(found))
    listed = plain_table(
        f"The {min(len(found), MOST_BREAKS)} oldest of {len(found):,}",
        (
            ("break", "text"),
            ("kind", "text"),
            ("job or task", "text"),
            ("happened", "moment"),
            ("ours", "credits"),
            ("theirs", "credits"),
            ("difference", "credits"),
            ("cause", "text"),
            ("owner", "text"),
        ),
        (
            (
                item.id,
                item.kind.replace("_", " "),
                item.job or item.task or "",
                item.happened_at_us,
                item.ours_e8,
                item.theirs_e8,
                item.difference_e8,
                item.cause or "",
                item.owner or "",
            )
            for item in found[:MOST_BREAKS]
        ),
    )
    return causes, listed


def _by_cause(found: Sequence[BreakRecord]) -> list[tuple[str, int, int]]:
    sums: dict[str, list[int]] = {}
    for item in found:
        cause = item.cause or f"{item.kind.replace('_', ' ')}, not explained"
        each = sums.setdefault(cause, [0, 0])
        each[0] += 1
        each[1] += item.difference_e8
    rows = [(cause, number, amount_e8) for cause, (number, amount_e8) in sums.items()]
    return sorted(rows, key=lambda row: (-row[1], row[0]))


# Controls


def control_tables(
    asked: Asked, span: Span, checks: Sequence[Check], usage: Report, at_us: int
) -> tuple[Table, ...]:
    """What proves a pack: figures that agree, and the chains of entries that it is made of."""
    compared = plain_table(
        "Figures that must be the same",
        (
            ("what", "text"),
            ("one", "credits"),
            ("the other", "credits"),
            ("difference", "credits"),
            ("result", "text"),
        ),
        (
            (
                check.what.replace("|", "="),
                check.one_e8,
                check.other_e8,
                check.one_e8 - check.other_e8,
                "agrees" if check.one_e8 == check.other_e8 else "DIFFERS",
            )
            for check in checks
        ),
    )
    chains = plain_table(
        "Chains of entries, up to the last that is known",
        (
            ("wallet", "text"),
            ("entries", "count"),
            ("last recorded", "moment"),
            ("hash of the last entry", "text"),
        ),
        _chains(asked),
    )
    counts = plain_table(
        "Made of",
        (("what", "text"), ("value", "text")),
        (
            ("period", period_in_words(usage)),
            ("first moment", iso(span.start)),
            ("first moment after it", iso(span.end)),
            ("last entry recorded", usage.made_at or "none"),
            (
                "moment of open holds and expiring credits",
                iso(moment(at_us)),
            ),
            ("charges and refunds in the period", f"{_height(usage):,}"),
            ("version of kling-ledger", version("kling-ledger")),
        ),
    )
    return compared, chains, counts


def _height(report: Report) -> int:
    return 0 if report.facts is None else report.facts.height


def _chains(asked: Asked) -> Iterator[Row]:
    with asked.book.looking() as session:
        for record in session.wallet_records(asked.book.book):
            if asked.wallet not in {None, record.id}:
                continue
            place = record.seq
            if asked.as_of_us is not None:
                place, _, _ = session.recorded_before(record, asked.as_of_us)
            if not place:
                continue
            last = list(scans.entries_at(session, asked.book.book, [(record.id, place)]))
            yield record.id, place, last[0].recorded_at_us, last[0].hash.hex()

"""Comparing a book with a provider's bill: what agrees, what does not, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import attrgetter

import polars as pl

from ledger.errors import InvalidInput
from ledger.pricing import PriceSource
from ledger.reconcile.breaks import Draft, Proposal, made
from ledger.reconcile.causes import Alternatives, Tried, other_books
from ledger.reconcile.choice import Explanation, chosen
from ledger.reconcile.clocks import zone_note
from ledger.reconcile.differences import Period, drafts_of_job, missing_here, missing_there
from ledger.reconcile.frames import (
    INVOICES,
    STATEMENT,
    TASKS,
    TOP_UPS,
    Sides,
    book_frame,
    checked,
    prepared,
)
from ledger.reconcile.matching import RULES, Matched, match
from ledger.reconcile.money import cash_drafts, rate_drafts
from ledger.reconcile.results import (
    EXACTLY,
    Reconciliation,
    Tolerance,
    Totals,
    cause_totals,
    let_through,
)
from ledger.reconcile.sides import differing, lines_of, read_jobs, read_lines
from ledger.units import ExchangeRates

__all__ = ["HOUR_US", "reconcile"]

HOUR_US = 3_600_000_000
"""How far apart a charge here and there may be, where nothing but model and amount tells."""

_MOST_ALSO = 5


def reconcile(
    book: pl.DataFrame,
    statement: pl.DataFrame,
    *,
    since_us: int,
    until_us: int,
    prices: PriceSource,
    now_us: int,
    alternatives: Sequence[PriceSource] | None = None,
    tolerance: Tolerance = EXACTLY,
    cash: pl.DataFrame | None = None,
    book_cash: pl.DataFrame | None = None,
    tasks: pl.DataFrame | None = None,
    rates: ExchangeRates | None = None,
    window_us: int = HOUR_US,
) -> Reconciliation:
    """Compare a book with a bill over a period, to the last digit.

    The order of the rows on either side makes no difference.

    Args:
        book: one row a job with anything in or near the period; see `ledger.reconcile.BOOK`.
        statement: the bill, one row a line; see `ledger.reconcile.STATEMENT`. Lines outside the
            period are evidence only; one without a time is of the period.
        since_us: first moment of the period, in microseconds since 1970 UTC.
        until_us: first moment after it.
        prices: what the jobs were priced with.
        now_us: the moment at which breaks have their age.
        alternatives: other prices that the bill may have been made with; if None, the other price
            books that come with the library.
        tolerance: which differences are let through.
        cash: the provider's invoices; see `ledger.reconcile.INVOICES`.
        book_cash: top-ups of the book; see `ledger.reconcile.TOP_UPS`.
        tasks: further tasks of jobs; see `ledger.reconcile.TASKS`.
        rates: exchange rates; those of `prices`, if None.
        window_us: how far apart a line and a job without a common name may be.

    Raises:
        InvalidInput: the period ends before it starts; a frame has no such column, or of another
            type; a job is there twice; only one of `cash` and `book_cash` is given.
    """
    if since_us >= until_us:
        raise InvalidInput("the period must end later than it starts")
    if (cash is None) != (book_cash is None):
        raise InvalidInput("cash and book_cash are compared with each other; give both or neither")
    book, statement = book_frame(book), checked(statement, STATEMENT, "statement")
    rates = prices.rates if rates is None else rates
    period = Period(since_us, until_us)
    further = None if tasks is None else checked(tasks, TASKS, "list of tasks")
    sides = prepared(book, statement, further, since_us=since_us, until_us=until_us)
    matched = match(sides, prices=prices, window_us=window_us)
    drafts = list(_missing_here(matched, sides, period))
    drafts += _of_jobs(matched, sides, period, now_us)
    others = other_books(prices) if alternatives is None else alternatives
    drafts = _explained(drafts, Alternatives(prices, others))
    drafts += rate_drafts(statement, rates, period)
    agreeing = 0
    if cash is not None and book_cash is not None:
        top_ups = checked(book_cash, TOP_UPS, "list of top-ups")
        invoices = checked(cash, INVOICES, "list of invoices")
        of_cash, agreeing = cash_drafts(top_ups, invoices, rates, period)
        drafts += of_cash
    every = made(drafts, rates=rates, now_us=now_us)
    breaks, tolerated = let_through(every, tolerance)
    note = zone_note(matched.pairs, sides)
    return Reconciliation(
        since_us,
        until_us,
        totals=_totals(matched, sides, agreeing)._replace(
            breaks_e8=sum(item.difference_e8 for item in breaks if item.scope == "usage"),
            tolerated_e8=sum(item.difference_e8 for item in tolerated),
        ),
        matches=_matches(matched, sides),
        breaks=breaks,
        causes=cause_totals(breaks),
        tolerated=tolerated,
        notes=() if note is None else (note,),
    )


def _missing_here(matched: Matched, sides: Sides, period: Period) -> Iterator[Draft]:
    """Lines that belong to no job, those of one name together."""
    left = matched.groups.filter(pl.col("net") != 0)
    places = left["_line"].explode()
    by_place = lines_of(sides, places)
    names = sides.book["job"]
    alike: dict[str, int] = {}
    for group, of_group in left.select("_group", "_line").iter_rows():
        lines = sorted((by_place[place] for place in of_group), key=attrgetter("order"))
        looks = lines[0].looks
        alike[looks] = alike.get(looks, 0) + 1
        known = matched.job_candidates.get(group, ())
        yield missing_here(
            lines,
            period,
            identity=f"{looks} {alike[looks]}",
            candidates=sorted(names[place] for place in known),
        )


def _of_jobs(matched: Matched, sides: Sides, period: Period, now_us: int) -> Iterator[Draft]:
    """The differences of all jobs that need a look."""
    places = differing(sides, matched.pairs, now_us)
    jobs = read_jobs(sides, places["_job"])
    lines = read_lines(sides, matched.pairs, places)
    numbers = dict(matched.groups.select("_group", "name").iter_rows())
    for place, job in jobs.items():
        known = [
            numbers[group] for group in matched.line_candidates.get(place, ()) if group in numbers
        ]
        if known and place not in lines:
            yield missing_there(job, period, sorted(known))
        else:
            yield from drafts_of_job(job, lines.get(place, ()), period)


# Causes


def _explained(drafts: Sequence[Draft], alternatives: Alternatives) -> list[Draft]:
    """The drafts, those with two amounts put down to what explains most of them."""
    asked = [draft for draft in drafts if draft.question is not None]
    tried = [alternatives.explain(draft.question) for draft in asked]
    found = chosen([item.fits for item in tried])
    told = [
        _with_cause(draft, answers, taken)
        for draft, answers, taken in zip(asked, tried, found, strict=True)
    ]
    return [draft for draft in drafts if draft.question is None] + told


def _with_cause(draft: Draft, tried: Tried, taken: Explanation | None) -> Draft:
    evidence = {**draft.evidence, "charged_with": tried.rests_on}
    if taken is None:
        return replace(draft, proposal=_unexplained(draft), evidence=evidence, question=None)
    evidence["cause"] = taken.facts
    also = {
        item.cause for item in tried.fits if item.tier == taken.tier and item.cause != taken.cause
    }
    if also:
        evidence["would_also_fit"] = sorted(also)[:_MOST_ALSO]
    proposal = draft.proposal
    if taken.kind == "unit_scale":
        reason = "check the unit of the bill's amounts, and read it again"
        proposal = Proposal(None, 0, reason)
    return replace(
        draft,
        kind=taken.kind,
        cause=taken.cause,
        proposal=proposal,
        evidence=evidence,
        question=None,
    )


def _unexplained(draft: Draft) -> Proposal:
    """Nothing explains the amount: only the provider's own messages could speak for it."""
    messages = draft.evidence.get("messages") or {}
    if draft.proposal.verb is None:
        return draft.proposal
    if messages.get("agree_with") == "bill":
        reason = "the provider's messages and the bill say the same"
        return draft.proposal._replace(reason=reason)
    return Proposal(None, 0, "find out why first: nothing that was tried gives the bill's amount")


# Sums


def _totals(matched: Matched, sides: Sides, agreeing: int) -> Totals:
    lines = sides.lines
    inside = lines.filter("inside")
    pairs = matched.pairs.join(inside.select("_line"), on="_line", how="semi")
    once = pairs.unique("_line")
    counts = dict(once["rule"].cast(pl.String).value_counts().iter_rows())
    net = inside.select(
        pl.col("charge_e8").cast(pl.Int128).sum() - pl.col("refund_e8").cast(pl.Int128).sum()
    ).item()
    ours = sides.jobs.select((pl.col("charged") - pl.col("refunded")).sum()).item()
    nothing = matched.groups.filter(pl.col("net") == 0)["_line"].list.len().sum()
    return Totals(
        lines=sides.statement.height,
        lines_of_period=inside.height,
        lines_outside=lines.height - inside.height,
        lines_of_top_ups=sides.statement.height - lines.height,
        lines_matched=once.height,
        lines_without_amount=int(nothing),
        jobs=sides.jobs.height,
        jobs_matched=pairs["_job"].n_unique(),
        by_rule={rule: counts[rule] for rule in RULES if rule in counts},
        ours_e8=int(ours),
        theirs_e8=int(net),
        breaks_e8=0,
        tolerated_e8=0,
        purchases_agreeing=agreeing,
    )


def _matches(matched: Matched, sides: Sides) -> pl.DataFrame:
    """Every match with the rule that made it."""
    pairs = matched.pairs
    return pl.DataFrame(
        {
            "line": sides.statement["line"][pairs["_line"]],
            "job": sides.book["job"][pairs["_job"]],
            "rule": pairs["rule"],
        }
    ).sort("line", "job")

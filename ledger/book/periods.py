"""Closing a period: what happened before its end is frozen, and what is told later counts later.

The closed periods of a book are one stretch of time up to a moment, which every wallet carries
with it. So each verb knows the freeze with the wallet's row that it reads anyway, and the hash
that guards a wallet's writes guards them against a closing as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ledger.book.calls import text_of
from ledger.book.money import lapse_expired
from ledger.book.reading import cut_before
from ledger.book.work import Wallet, Work
from ledger.errors import (
    Fault,
    InvalidEntry,
    NotReconciled,
    OpenBreaks,
    PeriodNotOver,
    PeriodOutOfOrder,
    UnknownPeriod,
)
from ledger.figures import in_credits
from ledger.records import (
    LONGEST_NAME,
    Period,
    WalletRecord,
    closed_periods,
    digest_of,
    moment,
    name,
)
from ledger.spans import Span, span_of, zone
from ledger.store import periods as stored
from ledger.units import iso

__all__ = ["close", "reopen"]


# Closing


def close(
    work: Work,
    period: str,
    timezone: str,
    *,
    unreconciled: str | None,
    with_open_breaks: str | None,
) -> Period:
    """Freeze what happened up to the end of a period; one that is closed stays as it is."""
    span = span_of(period, timezone)
    for reason in (unreconciled, with_open_breaks):
        if reason is not None:
            name(reason, "the reason")
    wallets = _wallets(work)
    rows = stored.all_periods(work.session, work.book)
    closed = closed_periods(rows)
    _catch_up(work, wallets, closed)
    for row in closed:
        if (row.start_us, row.end_us) == span[1:3]:
            return row._replace(replayed=True)
    if span.end_us > work.now_us:
        raise PeriodNotOver(span.name, end=iso(moment(span.end_us)))
    if closed:
        _require_next(span, timezone, closed[-1])
    reconciliation, reasons = _agreed(work, span, unreconciled, with_open_breaks)
    row = Period(
        work.book,
        rows[-1].seq + 1 if rows else 1,
        "close",
        *span,
        reconciliation,
        "; ".join(reasons) or None,
        work.now_us,
    )
    for wallet, before in wallets:
        # What has lapsed by now is of the period, if it did so in it.
        lapse_expired(work, wallet)
        _mark(work, wallet, before, row, row.end_us)
    work.periods.append(row)
    return row


def _wallets(work: Work) -> list[tuple[Wallet, WalletRecord]]:
    """Every wallet of the book, locked, each with its row as it stands in the database.

    Raises:
        InvalidEntry: there is none.
    """
    found = [(wallet, wallet.record()) for wallet in work.all_wallets()]
    if not found:
        problem = f"cannot be closed or reopened: book {work.book!r} has no wallet"
        raise InvalidEntry("the period", [Fault("", problem)])
    return found


def _require_next(span: Span, timezone: str, last: Period) -> None:
    """Pass only a period that begins where the last closed one ends.

    Raises:
        PeriodOutOfOrder: it begins earlier or later.
    """
    if span.start_us == last.end_us:
        return
    begins, until = iso(moment(span.start_us)), iso(moment(last.end_us))
    told = f"begins at {begins}, and the book is closed until {until} ({last.name}, "
    if span.start_us < last.end_us:
        problem = f"{told}{last.timezone}); the next period begins there"
    else:
        problem = f"{told}{last.timezone}); close {_following(span, timezone, last)} first"
    raise PeriodOutOfOrder(span.name, closed_until=until, problem=problem)


def _following(span: Span, timezone: str, last: Period) -> str:
    """The period to close next: a month where one fits, or all that lies between."""
    local = moment(last.end_us).astimezone(zone(timezone))
    month = span_of(f"{local:%Y-%m}", timezone)
    if month.start_us == last.end_us and month.end_us <= span.start_us:
        return month.name
    return f"{iso(moment(last.end_us))}/{iso(moment(span.start_us))}"


def _agreed(
    work: Work, span: Span, unreconciled: str | None, with_open_breaks: str | None
) -> tuple[int | None, list[str]]:
    """The comparison a period is closed on, and why it is closed although something is missing.

    Raises:
        NotReconciled: none covers it, or it has changed since, and there is no reason.
        OpenBreaks: breaks up to its end are open, and there is no reason.
    """
    reasons = []
    start_us, end_us = span[1:3]
    reconciliation = stored.covering(work.session, work.book, start_us, end_us)
    if reconciliation is None:
        if unreconciled is None:
            start, end = iso(moment(start_us)), iso(moment(end_us))
            raise NotReconciled(span.name, start=start, end=end)
        reasons.append(f"not reconciled: {unreconciled}")
    elif changed := stored.changed_since_compared(work.session, work.book, start_us, end_us):
        if unreconciled is None:
            start, end = iso(moment(start_us)), iso(moment(end_us))
            raise NotReconciled(span.name, start=start, end=end, changed=changed)
        reasons.append(f"changed since it was compared: {unreconciled}")
    count, sum_e8 = stored.open_differences(work.session, work.book, end_us)
    if count:
        if with_open_breaks is None:
            raise OpenBreaks(span.name, count=count, difference_e8=sum_e8)
        breaks = "1 open break" if count == 1 else f"{count} open breaks"
        reasons.append(f"{breaks} ({in_credits(sum_e8)}): {with_open_breaks}")
    return reconciliation, reasons


# Reopening


def reopen(work: Work, period: str, reason: str) -> Period:
    """Let things happen again in the period that was closed last."""
    name(period, "the period"), name(reason, "the reason")
    wallets = _wallets(work)
    rows = stored.all_periods(work.session, work.book)
    closed = closed_periods(rows)
    _catch_up(work, wallets, closed)
    if not closed or not _is(closed[-1], period):
        return _reopened_before(rows, closed, period, reason)
    last = closed[-1]
    row = last._replace(
        seq=rows[-1].seq + 1,
        action="reopen",
        reconciliation=None,
        reason=reason,
        recorded_at_us=work.now_us,
    )
    until_us = closed[-2].end_us if len(closed) > 1 else None
    for wallet, before in wallets:
        _mark(work, wallet, before, row, until_us)
    work.periods.append(row)
    return row


def _reopened_before(
    rows: Sequence[Period], closed: Sequence[Period], period: str, reason: str
) -> Period:
    """The same call's first result.

    Raises:
        UnknownPeriod: it was reopened for another reason, or cannot be.
    """
    last = closed[-1].name if closed else None
    if rows and rows[-1].action == "reopen" and _is(rows[-1], period):
        if rows[-1].reason == reason:
            return rows[-1]._replace(replayed=True)
        problem = f"is open: it was reopened already ({rows[-1].reason})"
        raise UnknownPeriod(period, last=last, problem=problem)
    is_closed = any(_is(row, period) for row in closed)
    problem = "is closed, and others after it" if is_closed else "is not closed"
    raise UnknownPeriod(period, last=last, problem=problem)


def _is(row: Period, period: str) -> bool:
    """Whether a period is meant by its name, or by its days in its own time zone."""
    if row.name == period:
        return True
    try:
        return span_of(period, row.timezone)[1:3] == (row.start_us, row.end_us)
    except InvalidEntry:
        return False


# What every wallet is told


def _mark(
    work: Work, wallet: Wallet, before: WalletRecord, row: Period, until_us: int | None
) -> None:
    """Write a closing or reopening into the chain of a wallet, with the figures that it froze."""
    then = cut_before(work.session, before, row.end_us, "happened")
    now = [
        entry
        for entry in work.entries
        if entry.wallet == wallet.id and entry.happened_at_us < row.end_us
    ]
    facts = {
        "period": row.name,
        "number": row.seq,
        "start_us": row.start_us,
        "end_us": row.end_us,
        "posted_e8": then.posted_e8 + sum(entry.posted_e8 for entry in now),
        "held_e8": then.held_e8 + sum(entry.held_e8 for entry in now),
        "closed_until_us": until_us,
        "reason": row.reason,
    }
    key = f"{row.name} no. {row.seq} of {wallet.id} "
    # No key of a caller's ends in a space.
    key = key if len(key) <= LONGEST_NAME else f"{digest_of(key).hex()} "
    work.write(wallet, row.action, key, row.digest, contra="memo", facts=text_of(facts))
    wallet.closed_until_us, wallet.closed = until_us, None


def _catch_up(
    work: Work, wallets: Iterable[tuple[Wallet, WalletRecord]], closed: Sequence[Period]
) -> None:
    """Close what slipped past the last closing.

    A wallet is opened under a lock that a closing takes of every other one, so that none is
    missed. Only the first ones of a book have no other, and where two of them are opened at the
    very moment of a closing, they may not see each other.
    """
    if not closed:
        return
    for wallet, before in wallets:
        if wallet.closed_until_us != closed[-1].end_us:
            _mark(work, wallet, before, closed[-1], closed[-1].end_us)

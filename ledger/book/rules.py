"""What each verb does: checks first, then changes; every rule of the book is here once.

A rule gets a unit of work and an item, and returns the entry it staged, or that an earlier call
with the same key wrote. Errors are raised before anything is staged.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from operator import itemgetter
from typing import Any

from ledger import lots as lotting
from ledger.book.items import Adjust, Charge, Extend, Refund, Release, Reserve, TopUp
from ledger.book.work import Wallet, Work
from ledger.budgets import Budget, Level, Window, counts_from, rebuilt, rolling_frees_at
from ledger.errors import (
    Blocked,
    BudgetExceeded,
    ChargeAboveHold,
    Fault,
    HoldClosed,
    InsufficientCredits,
    InvalidAmount,
    InvalidEntry,
    InvalidMoment,
    KeyReused,
    LedgerError,
    RefundAboveCharge,
    UnknownBudget,
    WalletExists,
)
from ledger.records import (
    GENESIS,
    LONGEST_NAME,
    Entry,
    Hold,
    InboxRecord,
    Lot,
    Parked,
    WalletRecord,
    digest_of,
    labels_text,
    moment,
    name,
    us,
)
from ledger.units import (
    MAX_AMOUNT_E8,
    Amount,
    credits_to_e8,
    iso,
    parse_moment,
    parse_seconds,
    plain,
    show_credits,
)

__all__ = [
    "adjust",
    "charge",
    "expire",
    "extend",
    "lapse",
    "open_wallet",
    "refund",
    "release",
    "remove_budget",
    "reserve",
    "set_budget",
    "top_up",
]

DEADLINE = timedelta(hours=24)
"""How long a hold waits to hear of its job by default: results are kept by the provider for 24 h.

docs.evolink.ai, task query, read 2026-11-22."""

_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_LONGEST_DEADLINE = timedelta(days=3660)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)


# Reserving


def reserve(work: Work, item: Reserve) -> Entry:
    """Set credits aside, if the wallet and every matching budget have room for them."""
    key, wallet_name = name(item.key, "the key"), name(item.wallet, "the wallet")
    asked = work.pricing.asked(item)
    amount_e8, labels = _positive(asked.amount_e8), labels_text(asked.labels)
    deadline_us, rule = _deadline(item.deadline, work.now_us)
    _one_of(item.policy, ("owe", "draw", "cap", "reject"), "policy")
    _one_of(item.on_deadline, ("keep", "release"), "on_deadline")
    at_us = _at(item.at, work.now_us)
    terms = _json({"deadline": rule, "price": asked.price})
    given = None if item.at is None else at_us
    digest = digest_of(
        "reserve",
        wallet_name,
        key,
        amount_e8,
        labels,
        item.policy,
        item.on_deadline,
        terms,
        given,
    )
    awaited = None
    if work.careful:
        awaited = work.find_hold(key)
        if awaited is not None and awaited.wallet is not None:
            first = work.entry(awaited.wallet, awaited.seq)
            was = {
                "wallet": awaited.wallet,
                "amount": show_credits(first.held_e8),
                "labels": awaited.labels,
                "policy": awaited.policy,
                "on_deadline": awaited.on_deadline,
                **_told_terms(awaited.terms),
            }
            now = {
                "wallet": wallet_name,
                "amount": show_credits(amount_e8),
                "labels": labels,
                "policy": item.policy,
                "on_deadline": item.on_deadline,
                **_told_terms(terms),
            }
            return _replay(first, digest, was, now, at_us=given)
    elif work.holds.get(key) is not None:
        # This batch, or the reading ahead of it, knows the job already.
        work.careful = True
        return reserve(work, item)
    if deadline_us <= at_us:
        raise InvalidEntry("the deadline", [Fault("", f"lies before {iso(moment(at_us))}")])
    wallet = work.wallet(wallet_name)
    _admit(work, wallet, amount_e8, asked.labels or {}, at_us, whole_e8=amount_e8)
    _fits(wallet.held_e8 + amount_e8)
    _lapse_expired(work, wallet)
    crossed = _move(work, wallet, labels, at_us, amount_e8, 0)
    entry = work.write(
        wallet,
        "reserve",
        key,
        digest,
        contra="holds",
        job=key,
        held_e8=amount_e8,
        facts=_json({"crossed": crossed}),
        at_us=at_us,
    )
    hold = Hold(
        work.book,
        key,
        wallet.id,
        entry.seq,
        entry.seq,
        "open",
        amount_e8,
        amount_e8,
        0,
        0,
        deadline_us,
        at_us,
        item.policy,
        item.on_deadline,
        labels,
        terms,
        None,
        0,
    )
    if awaited is None:
        work.put_hold(wallet, hold, new=True)
    else:
        work.adopt(wallet, hold)
        _apply_parked(work, wallet, key)
    return entry


def extend(work: Work, item: Extend) -> Entry:
    """Set more credits aside for an open hold, or give it more time."""
    job, key = name(item.job, "the job"), name(item.key, "the key")
    amount_e8 = 0 if item.amount is None else _positive(credits_to_e8(item.amount))
    if item.amount is None and item.deadline is None:
        raise InvalidEntry("extend", [Fault("", "needs more credits, a deadline, or both")])
    at_us = _at(item.at, work.now_us)
    given = None if item.at is None else at_us
    deadline_us, rule = None, None
    if item.deadline is not None:
        deadline_us, rule = _deadline(item.deadline, work.now_us)
    digest = digest_of("extend", job, key, amount_e8, rule, given)
    if (first := work.earlier("extend", key)) is not None:
        was = {
            "job": str(first.job),
            "amount": show_credits(first.held_e8),
            "deadline": str(first.details.get("rule")),
        }
        now = {"job": job, "amount": show_credits(amount_e8), "deadline": str(rule)}
        return _replay(first, digest, was, now, at_us=given)
    hold = work.hold(job)
    wallet = work.wallet(str(hold.wallet))
    if hold.state != "open":
        raise HoldClosed(job, state=hold.state, problem=f"is {hold.state} and cannot be extended")
    if deadline_us is not None and deadline_us <= at_us:
        raise InvalidEntry("the deadline", [Fault("", f"lies before {iso(moment(at_us))}")])
    if amount_e8:
        whole_e8 = hold.amount_e8 + amount_e8
        labels = json.loads(hold.labels)
        _admit(work, wallet, amount_e8, labels, hold.reserved_at_us, whole_e8=whole_e8)
        hold = work.hold(job)
        if hold.state != "open":
            problem = "was released at its deadline and cannot be extended"
            raise HoldClosed(job, state=hold.state, problem=problem)
        _fits(wallet.held_e8 + amount_e8)
        _fits(whole_e8)
    _lapse_expired(work, wallet)
    crossed = _move(work, wallet, hold.labels, hold.reserved_at_us, amount_e8, 0)
    entry = work.write(
        wallet,
        "extend",
        key,
        digest,
        contra="holds",
        job=job,
        held_e8=amount_e8,
        facts=_json({"rule": rule, "deadline_us": deadline_us, "crossed": crossed}),
        at_us=at_us,
    )
    work.put_hold(
        wallet,
        hold._replace(
            last_seq=entry.seq,
            amount_e8=hold.amount_e8 + amount_e8,
            held_e8=hold.held_e8 + amount_e8,
            deadline_us=hold.deadline_us if deadline_us is None else deadline_us,
        ),
    )
    return entry


def _admit(
    work: Work,
    wallet: Wallet,
    amount_e8: int,
    labels: Mapping[str, str],
    at_us: int,
    *,
    whole_e8: int,
) -> None:
    """Raise unless the wallet and all budgets have room; release what a deadline frees first."""
    blocking = _blocking(work, wallet, amount_e8, labels, at_us, whole_e8=whole_e8)
    if blocking and _release_overdue(work, wallet):
        blocking = _blocking(work, wallet, amount_e8, labels, at_us, whole_e8=whole_e8)
    if not blocking:
        return
    if blocking[0].limit == "credits":
        raise InsufficientCredits(wallet.id, blocking)
    raise BudgetExceeded(wallet.id, blocking)


def _blocking(
    work: Work,
    wallet: Wallet,
    amount_e8: int,
    labels: Mapping[str, str],
    at_us: int,
    *,
    whole_e8: int,
) -> list[Blocked]:
    blocking = []
    available_e8 = _available_e8(work, wallet)
    if amount_e8 > available_e8:
        settles = amount_e8 <= available_e8 + wallet.held_e8
        blocking.append(
            Blocked("credits", "", amount_e8, available_e8, wallet.held_e8, settles, None)
        )
    for budget in work.budgets_of(wallet):
        share = budget.group(labels)
        if share is None:
            continue
        if budget.period == "job":
            level, held_e8, frees_us, asked_e8 = Level(0, 0, 0), 0, None, whole_e8
        elif not budget.counts(at_us):
            continue
        else:
            level, frees_us = _level_now(work, wallet, budget, share, at_us, amount_e8)
            held_e8, asked_e8 = level.held_e8, amount_e8
        blocked = budget.blocks(share, asked_e8, level, frees_at_us=frees_us, held_e8=held_e8)
        if blocked is not None:
            blocking.append(blocked)
    return blocking


def _level_now(
    work: Work, wallet: Wallet, budget: Budget, share: str, at_us: int, amount_e8: int
) -> tuple[Level, int | None]:
    """How full a budget is at a moment, with its peak so far, and when it has room by itself."""
    window = budget.window(at_us)
    if budget.period != "rolling":
        return work.level(wallet, budget, share, window), window.end_us
    steps = work.steps(wallet, budget, share, at_us)
    levels = [level for _, level in steps.values()]
    level = Level(
        sum(item.held_e8 for item in levels),
        sum(item.used_e8 for item in levels),
        max((item.peak_e8 for item in levels), default=0),
    )
    if level.total_e8 + amount_e8 <= budget.limit_e8:
        return level, None
    totals = [(start, item.total_e8) for start, (_, item) in steps.items()]
    return level, rolling_frees_at(budget, totals, amount_e8)


def _move(
    work: Work, wallet: Wallet, labels: str, reserved_at_us: int, held_e8: int, used_e8: int
) -> list[tuple[str, str, str]]:
    """Move every budget's window of a job; gives the thresholds crossed for the first time."""
    crossed: list[tuple[str, str, str]] = []
    budgets = work.budgets_of(wallet)
    if not budgets or not (held_e8 or used_e8):
        return crossed
    texts = json.loads(labels)
    for budget in budgets:
        share = budget.group(texts)
        if share is None or not budget.counts(reserved_at_us):
            continue
        window = budget.window(reserved_at_us)
        before = work.level(wallet, budget, share, window)
        after = budget.moved(before, held_e8, used_e8)
        total_e8, peak_e8 = after.total_e8, before.peak_e8
        if budget.period == "rolling":
            now, _ = _level_now(work, wallet, budget, share, reserved_at_us, 0)
            total_e8 = now.total_e8 - before.total_e8 + after.total_e8
            peak_e8 = now.peak_e8
            after = after._replace(peak_e8=max(before.peak_e8, total_e8))
        work.put_level(wallet, budget, share, window, after)
        if total_e8 > peak_e8:
            whose = budget.whose(share)
            crossed += [
                (budget.name, whose, percent) for percent in budget.crossed(peak_e8, total_e8)
            ]
    return crossed


# Settling


def charge(work: Work, item: Charge) -> Entry | Parked:
    """Take what a job cost; a charge is a fact, so it is recorded whatever the balance says."""
    job = name(item.job, "the job")
    key = job if item.key is None else name(item.key, "the key")
    if (item.amount is None) == (item.seconds is None):
        problem = "needs the credits charged or the seconds generated, one of them"
        raise InvalidEntry("charge", [Fault("", problem)])
    amount_e8 = None if item.amount is None else _positive(credits_to_e8(item.amount))
    seconds = None if item.seconds is None else plain(parse_seconds(item.seconds))
    at_us = _at(item.at, work.now_us)
    given = None if item.at is None else at_us
    digest = digest_of("charge", job, key, amount_e8, seconds, int(item.final), given)
    content: dict[str, Any] = {"job": job}
    if amount_e8 is not None:
        content["amount"] = show_credits(amount_e8)
    if seconds is not None:
        content["seconds"] = seconds
    content["final"] = bool(item.final)
    if (first := work.earlier("charge", key)) is not None:
        was: dict[str, Any] = {"job": first.job, "final": first.details.get("final", True)}
        if "seconds" in first.details:
            was["seconds"] = first.details["seconds"]
        else:
            was["amount"] = show_credits(first.uncollected_e8 - first.posted_e8)
        return _replay(first, digest, was, content, at_us=given)
    hold = work.find_hold(job)
    if hold is None or hold.wallet is None:
        return _park(work, "charge", key, job, digest, content, given, hold)
    wallet = work.wallet(hold.wallet)
    return _charge(work, wallet, hold, key, digest, amount_e8, seconds, item.final, at_us)


def _charge(
    work: Work,
    wallet: Wallet,
    hold: Hold,
    key: str,
    digest: bytes,
    amount_e8: int | None,
    seconds: str | None,
    final: bool,
    at_us: int,
) -> Entry:
    if amount_e8 is None:
        amount_e8 = _positive(work.pricing.bill(_price_of(hold.terms), str(seconds)))
    taken_e8, over_e8 = _taken(work, wallet, hold, amount_e8)
    _fits(wallet.posted_e8 - taken_e8)
    _fits(hold.charged_e8 + taken_e8)
    late = hold.state != "open" or at_us >= hold.deadline_us
    freed_e8 = hold.held_e8 if final else min(hold.held_e8, taken_e8)
    _lapse_expired(work, wallet)
    taken = lotting.take(work.lots(wallet), taken_e8)
    crossed = _move(work, wallet, hold.labels, hold.reserved_at_us, -freed_e8, taken_e8)
    entry = work.write(
        wallet,
        "charge",
        key,
        digest,
        contra="provider",
        job=hold.job,
        posted_e8=-taken_e8,
        held_e8=-freed_e8,
        over_e8=over_e8,
        uncollected_e8=amount_e8 - taken_e8,
        late=int(late),
        lots=_json(taken),
        facts=_json({"seconds": seconds, "final": None if final else False, "crossed": crossed}),
        at_us=at_us,
    )
    work.put_lots(wallet, taken)
    work.put_hold(
        wallet,
        hold._replace(
            last_seq=entry.seq,
            state="charged" if final else hold.state,
            held_e8=hold.held_e8 - freed_e8,
            charged_e8=hold.charged_e8 + taken_e8,
            lots=_json(_sum_of(hold.lots, taken, 1)),
        ),
    )
    return entry


def _taken(work: Work, wallet: Wallet, hold: Hold, amount_e8: int) -> tuple[int, int]:
    """How much of a charge is taken, and how much of it is above what the hold was made for."""
    covered_e8 = max(0, hold.amount_e8 - hold.charged_e8)
    over_e8 = max(0, amount_e8 - covered_e8)
    if not over_e8 or hold.policy == "owe":
        return amount_e8, over_e8
    if hold.policy == "reject":
        raise ChargeAboveHold(hold.job, asked_e8=amount_e8, covered_e8=covered_e8)
    within_e8 = amount_e8 - over_e8
    if hold.policy == "cap":
        return within_e8, over_e8
    # What the hold no longer has set aside comes out of the available credits as well.
    free_e8 = _available_e8(work, wallet) - max(0, within_e8 - hold.held_e8)
    return within_e8 + max(0, min(over_e8, free_e8)), over_e8


def release(work: Work, item: Release) -> Entry:
    """Give back what a hold has set aside, unused."""
    job = name(item.job, "the job")
    key = job if item.key is None else name(item.key, "the key")
    reason = None if item.reason is None else name(item.reason, "the reason")
    at_us = _at(item.at, work.now_us)
    given = None if item.at is None else at_us
    digest = digest_of("release", job, key, reason, given)
    if (first := work.earlier("release", key)) is not None:
        was = {"job": str(first.job), "reason": str(first.details.get("reason"))}
        return _replay(first, digest, was, {"job": job, "reason": str(reason)}, at_us=given)
    hold = work.hold(job)
    wallet = work.wallet(str(hold.wallet))
    if hold.state != "open":
        problem = f"is {hold.state} already; there is nothing to release"
        raise HoldClosed(job, state=hold.state, problem=problem)
    return _release(work, wallet, hold, key, digest, reason, at_us)


def expire(work: Work, job: str, key: str | None) -> Entry:
    """Release a hold whose deadline has passed."""
    hold = work.hold(name(job, "the job"))
    key = job if key is None else name(key, "the key")
    reason = "deadline passed"
    digest = digest_of("release", job, key, reason, None)
    if (first := work.earlier("release", key)) is not None:
        was = {"job": str(first.job), "reason": str(first.details.get("reason"))}
        return _replay(first, digest, was, {"job": job, "reason": reason}, at_us=None)
    wallet = work.wallet(str(hold.wallet))
    hold = work.hold(job)
    if hold.state != "open":
        raise HoldClosed(job, state=hold.state, problem=f"is {hold.state} already")
    if work.now_us < hold.deadline_us:
        problem = f"its deadline, {iso(hold.deadline)}, has not passed; release it instead"
        raise HoldClosed(job, state=hold.state, problem=problem)
    return _release(work, wallet, hold, key, digest, reason, work.now_us)


def _release(
    work: Work,
    wallet: Wallet,
    hold: Hold,
    key: str,
    digest: bytes,
    reason: str | None,
    at_us: int,
) -> Entry:
    _move(work, wallet, hold.labels, hold.reserved_at_us, -hold.held_e8, 0)
    entry = work.write(
        wallet,
        "release",
        key,
        digest,
        contra="holds",
        job=hold.job,
        held_e8=-hold.held_e8,
        facts=_json({"reason": reason}),
        at_us=at_us,
    )
    state = "charged" if hold.charged_e8 else "released"
    work.put_hold(wallet, hold._replace(last_seq=entry.seq, state=state, held_e8=0))
    return entry


def _release_overdue(work: Work, wallet: Wallet) -> bool:
    """Release the holds of a wallet whose own policy says so at their deadline."""
    released = False
    for found in work.session.overdue(work.book, wallet.id, work.now_us):
        hold = work.find_hold(found.job)
        if hold is not None and hold.state == "open":
            reason, key = "deadline passed", _own_key(wallet, hold.job)
            digest = digest_of("release", hold.job, key, reason, None)
            _release(work, wallet, hold, key, digest, reason, work.now_us)
            released = True
    return released


def refund(work: Work, item: Refund) -> Entry | Parked:
    """Give back what was charged: to the balance, the lots, and the window of the charge."""
    job = name(item.job, "the job")
    key = job if item.key is None else name(item.key, "the key")
    amount_e8 = None if item.amount is None else _positive(credits_to_e8(item.amount))
    reason = None if item.reason is None else name(item.reason, "the reason")
    at_us = _at(item.at, work.now_us)
    given = None if item.at is None else at_us
    digest = digest_of("refund", job, key, amount_e8, reason, given)
    content = {
        "job": job,
        "amount": "all" if amount_e8 is None else show_credits(amount_e8),
        "reason": reason,
    }
    if (first := work.earlier("refund", key)) is not None:
        was = {
            "job": first.job,
            "amount": "all" if first.details.get("all") else show_credits(first.posted_e8),
            "reason": first.details.get("reason"),
        }
        return _replay(first, digest, was, content, at_us=given)
    hold = work.find_hold(job)
    if hold is None or hold.wallet is None:
        return _park(work, "refund", key, job, digest, content, given, hold)
    wallet = work.wallet(hold.wallet)
    return _refund(work, wallet, hold, key, digest, amount_e8, reason, at_us)


def _refund(
    work: Work,
    wallet: Wallet,
    hold: Hold,
    key: str,
    digest: bytes,
    amount_e8: int | None,
    reason: str | None,
    at_us: int,
) -> Entry:
    refundable_e8 = hold.charged_e8 - hold.refunded_e8
    back_e8 = refundable_e8 if amount_e8 is None else amount_e8
    if back_e8 > refundable_e8 or not back_e8:
        raise RefundAboveCharge(hold.job, asked_e8=back_e8, refundable_e8=refundable_e8)
    _fits(wallet.posted_e8 + back_e8)
    _lapse_expired(work, wallet)
    # The wallet's debt is paid first; the rest returns to lots.
    to_lots_e8 = max(0, back_e8 - max(0, -wallet.posted_e8))
    taken: dict[str, int] = json.loads(hold.lots or "{}")
    lots = work.lots(wallet, complete=True)
    back = lotting.give_back(lots, to_lots_e8, taken=taken)
    crossed = _move(work, wallet, hold.labels, hold.reserved_at_us, 0, -back_e8)
    entry = work.write(
        wallet,
        "refund",
        key,
        digest,
        contra="provider",
        job=hold.job,
        posted_e8=back_e8,
        lots=_json({seq: -part for seq, part in back.items()}),
        facts=_json(
            {"reason": reason, "all": True if amount_e8 is None else None, "crossed": crossed}
        ),
        at_us=at_us,
    )
    work.put_lots(wallet, back)
    work.put_hold(
        wallet,
        hold._replace(
            last_seq=entry.seq,
            refunded_e8=hold.refunded_e8 + back_e8,
            lots=_json(_sum_of(hold.lots, back, -1)),
        ),
    )
    return entry


# Messages that came too early


def _park(
    work: Work,
    kind: str,
    key: str,
    job: str,
    digest: bytes,
    content: dict[str, Any],
    given_us: int | None,
    hold: Hold | None,
) -> Parked:
    if (first := work.session.parked(work.book, kind, key)) is not None or (
        first := next((item for item in work.parked if item[1:3] == (kind, key)), None)
    ) is not None:
        was, now = json.loads(first.content), content
        if first.digest != digest:
            raise _reused(kind, key, was, now, first.happened_at_us, given_us)
        return Parked(work.book, kind, key, job, replayed=True)
    record = InboxRecord(
        work.book,
        kind,
        key,
        job,
        _compact(content),
        given_us,
        work.now_us,
        digest,
        0,
    )
    work.park(record, known=hold is not None)
    return Parked(work.book, kind, key, job)


def _apply_parked(work: Work, wallet: Wallet, job: str) -> None:
    """Apply the messages that waited for a job: charges first, then refunds, oldest first."""
    waiting = work.session.waiting(work.book, job, lock=True)
    waiting += [record for record in work.parked if record.job == job]
    for record in sorted(waiting, key=lambda item: (item.kind, item.recorded_at_us, item.key)):
        content = json.loads(record.content)
        at_us = record.happened_at_us or record.recorded_at_us
        amount_e8 = _parked_amount_e8(content)
        hold = work.hold(job)
        if work.earlier(record.kind, record.key) is not None:
            # Another job was charged under the same key meanwhile; a person must look at it.
            continue
        if record.kind == "charge":
            try:
                _charge(
                    work,
                    wallet,
                    hold,
                    record.key,
                    record.digest,
                    amount_e8,
                    content.get("seconds"),
                    content["final"],
                    at_us,
                )
            except LedgerError:
                # The reserve stands; a charge that its hold rejects, or that cannot be priced,
                # stays in the inbox for a person to look at.
                continue
        elif hold.charged_e8 - hold.refunded_e8 >= (amount_e8 or 1):
            _refund(
                work,
                wallet,
                hold,
                record.key,
                record.digest,
                amount_e8,
                content["reason"],
                at_us,
            )
        else:
            continue
        work.applied.append((record.kind, record.key))


def _parked_amount_e8(content: Mapping[str, Any]) -> int | None:
    amount = content.get("amount")
    return None if amount in {None, "all"} else credits_to_e8(amount)


# Money in, corrections, expiry


def open_wallet(work: Work, wallet: str, credit_limit_e8: int) -> Entry:
    """Open a wallet; opening it again on the same terms is a replay."""
    name(wallet, "the wallet")
    found = work.find_wallet(wallet)
    if found is not None:
        if found.credit_limit_e8 != credit_limit_e8:
            raise WalletExists(
                wallet,
                existing=wallet,
                problem=f"exists with a credit limit of {show_credits(found.credit_limit_e8)}"
                f" credits, not {show_credits(credit_limit_e8)}",
            )
        return work.entry(wallet, 1)._replace(replayed=True)
    return _opened(work, wallet, credit_limit_e8)[1]


def _opened(work: Work, wallet: str, credit_limit_e8: int) -> tuple[Wallet, Entry]:
    folded = unicodedata.normalize("NFKC", wallet).casefold()
    similar = work.session.wallet_by_folded(work.book, folded)
    if similar is not None:
        problem = f"differs only in how it is written from {similar!r}; use that name"
        raise WalletExists(wallet, existing=similar, problem=problem)
    opened = Wallet(
        WalletRecord(
            work.book, wallet, folded, credit_limit_e8, 0, 0, 0, GENESIS, None, 0, work.now_us
        )
    )
    opened.guard, opened.lots, opened.lots_complete = None, {}, True
    work.wallets[wallet] = opened
    digest = digest_of("open", wallet, credit_limit_e8)
    facts = _json({"credit_limit_e8": credit_limit_e8})
    return opened, work.write(opened, "open", wallet, digest, contra="memo", facts=facts)


def top_up(work: Work, item: TopUp) -> Entry:
    """Bring credits in, as a lot; the first top-up opens the wallet."""
    wallet_name, key = name(item.wallet, "the wallet"), name(item.key, "the key")
    amount_e8 = _positive(credits_to_e8(item.amount))
    cash_e8 = None if item.cash is None else credits_to_e8(item.cash)
    at_us = _at(item.at, work.now_us)
    given = None if item.at is None else at_us
    expires_us = None if item.expires is None else us(parse_moment(item.expires))
    if faults := _top_up_faults(item):
        raise InvalidEntry("top_up", faults)
    origin = "promotional" if item.promotional else "paid"
    digest = digest_of(
        "top_up", wallet_name, key, amount_e8, cash_e8, item.currency, expires_us, origin, given
    )
    content: dict[str, Any] = {
        "wallet": wallet_name,
        "amount": show_credits(amount_e8),
        "cash": None if cash_e8 is None else show_credits(cash_e8),
        "currency": item.currency,
        "expires": None if expires_us is None else iso(moment(expires_us)),
        "origin": origin,
    }
    if (first := work.earlier("top_up", key)) is not None:
        was = {"wallet": first.wallet, "amount": show_credits(first.posted_e8), **first.details}
        return _replay(first, digest, was, content, at_us=given)
    if expires_us is not None and expires_us <= at_us:
        raise InvalidEntry("top_up", [Fault("expires", "lies before the top-up")])
    wallet = work.find_wallet(wallet_name)
    if wallet is None:
        wallet, _ = _opened(work, wallet_name, 0)
    _fits(wallet.posted_e8 + amount_e8)
    facts = {name: content[name] for name in ("cash", "currency", "expires", "origin")}
    contra = "promotion" if item.promotional else "funding"
    return _bring_in(
        work,
        wallet,
        "top_up",
        key,
        digest,
        amount_e8,
        contra=contra,
        origin=origin,
        cash_e8=cash_e8,
        currency=item.currency,
        expires_us=expires_us,
        facts=facts,
        at_us=at_us,
    )


def _top_up_faults(item: TopUp) -> list[Fault]:
    faults = []
    if (item.cash is None) != (item.currency is None):
        faults.append(Fault("cash", "and currency belong together: give both or neither"))
    if item.currency is not None and not (
        isinstance(item.currency, str) and _CURRENCY.fullmatch(item.currency)
    ):
        faults.append(Fault("currency", "must be three capital letters (ISO 4217), such as USD"))
    if item.promotional and item.cash is not None:
        faults.append(Fault("cash", "was not paid for promotional credits; make two top-ups"))
    return faults


def _bring_in(
    work: Work,
    wallet: Wallet,
    kind: str,
    key: str,
    digest: bytes,
    amount_e8: int,
    *,
    contra: str,
    origin: str,
    facts: Mapping[str, Any],
    at_us: int,
    cash_e8: int | None = None,
    currency: str | None = None,
    expires_us: int | None = None,
) -> Entry:
    """Add a lot; a debt of the wallet is paid from it at once."""
    _lapse_expired(work, wallet)
    paid_e8 = min(amount_e8, max(0, -wallet.posted_e8))
    lots = work.lots(wallet)
    seq = wallet.seq + 1
    entry = work.write(
        wallet,
        kind,
        key,
        digest,
        contra=contra,
        posted_e8=amount_e8,
        lots=_json({str(seq): paid_e8} if paid_e8 else {}),
        facts=_json(facts),
        at_us=at_us,
    )
    lots[seq] = Lot(
        work.book,
        wallet.id,
        seq,
        origin,
        amount_e8,
        paid_e8,
        0,
        cash_e8,
        currency,
        expires_us,
        at_us,
    )
    work.new_lots[wallet.id, seq] = lots[seq]
    work.put_lots(wallet, [seq])
    return entry


def adjust(work: Work, item: Adjust) -> Entry:
    """Correct a wallet by an amount with a sign."""
    wallet_name, key = name(item.wallet, "the wallet"), name(item.key, "the key")
    reason = name(item.reason, "the reason")
    amount_e8 = _signed(item.amount)
    at_us = _at(item.at, work.now_us)
    given = None if item.at is None else at_us
    digest = digest_of("adjust", wallet_name, key, amount_e8, reason, given)
    content = {"wallet": wallet_name, "amount": show_credits(amount_e8), "reason": reason}
    if (first := work.earlier("adjust", key)) is not None:
        was = {
            "wallet": first.wallet,
            "amount": show_credits(first.posted_e8),
            "reason": first.details["reason"],
        }
        return _replay(first, digest, was, content, at_us=given)
    wallet = work.wallet(wallet_name)
    _fits(wallet.posted_e8 + amount_e8)
    if amount_e8 > 0:
        return _bring_in(
            work,
            wallet,
            "adjust",
            key,
            digest,
            amount_e8,
            contra="adjustments",
            origin="adjustment",
            facts={"reason": reason},
            at_us=at_us,
        )
    _lapse_expired(work, wallet)
    taken = lotting.take(work.lots(wallet), -amount_e8)
    entry = work.write(
        wallet,
        "adjust",
        key,
        digest,
        contra="adjustments",
        posted_e8=amount_e8,
        lots=_json(taken),
        facts=_json({"reason": reason}),
        at_us=at_us,
    )
    work.put_lots(wallet, taken)
    return entry


def lapse(work: Work, wallet: str) -> list[Entry]:
    """Take out expired credits that no open hold keeps alive."""
    return _lapse_expired(work, work.wallet(name(wallet, "the wallet")))


def _available_e8(work: Work, wallet: Wallet) -> int:
    available_e8 = wallet.posted_e8 - wallet.held_e8 + wallet.credit_limit_e8
    if wallet.expires_at_us is not None and wallet.expires_at_us <= work.now_us:
        lots = work.lots(wallet).values()
        available_e8 -= lotting.lapsable_e8(lots, wallet.held_e8, work.now_us)
    return available_e8


def _lapse_expired(work: Work, wallet: Wallet) -> list[Entry]:
    if wallet.expires_at_us is None or wallet.expires_at_us > work.now_us:
        return []
    lots = work.lots(wallet)
    left_e8 = lotting.lapsable_e8(lots.values(), wallet.held_e8, work.now_us)
    expired = [
        lot
        for lot in sorted(lots.values(), key=lotting.order, reverse=True)
        if lot.expires_at_us is not None and lot.expires_at_us <= work.now_us
    ]
    entries = []
    for lot in expired:
        part_e8 = min(left_e8, lot.remaining_e8)
        if not part_e8:
            continue
        left_e8 -= part_e8
        lots[lot.seq] = lot._replace(lapsed_e8=lot.lapsed_e8 + part_e8)
        entry = work.write(
            wallet,
            "lapse",
            _own_key(wallet, f"lot {lot.seq} of {wallet.id}"),
            digest_of("lapse", lot.seq, part_e8),
            contra="lapsed",
            posted_e8=-part_e8,
            lots=_json({str(lot.seq): part_e8}),
            at_us=lot.expires_at_us,
        )
        entries.append(entry)
    work.put_lots(wallet, [lot.seq for lot in expired])
    return entries


# Budgets


def set_budget(work: Work, wallet_name: str, budget: Budget, key: str) -> Entry:
    """Set a budget, in place of one of the same name; what its window already holds counts."""
    name(key, "the key")
    digest = _budget_digest(wallet_name, budget)
    if (first := work.earlier("budget", key)) is not None:
        was = first.details | {"wallet": first.wallet}
        return _replay(first, digest, was, _budget_facts(wallet_name, budget), at_us=None)
    wallet = work.wallet(name(wallet_name, "the wallet"))
    since_us = 0 if budget.removed else counts_from(budget, work.now_us)
    return _put_budget(work, wallet, budget._replace(counts_from_us=since_us), key, digest)


def remove_budget(work: Work, wallet_name: str, title: str, key: str) -> Entry:
    """Stop a budget; what it was stays in the book."""
    name(key, "the key")
    if (first := work.earlier("budget", key)) is not None:
        was = {"wallet": first.wallet, "name": first.details["name"]}
        was["removed"] = str(bool(first.details.get("removed")))
        now = {"wallet": wallet_name, "name": title, "removed": "True"}
        if was == now:
            return first._replace(replayed=True)
        raise _reused("budget", key, was, now, None, None)
    wallet = work.wallet(name(wallet_name, "the wallet"))
    found = next((item for item in work.budgets_of(wallet) if item.name == title), None)
    if found is None:
        known = [item.name for item in work.budgets_of(wallet)]
        raise UnknownBudget(wallet_name, title, known=known)
    gone = found._replace(removed=1)
    return _put_budget(work, wallet, gone, key, _budget_digest(wallet_name, gone))


def _put_budget(work: Work, wallet: Wallet, budget: Budget, key: str, digest: bytes) -> Entry:
    others = [item for item in work.budgets_of(wallet) if item.name != budget.name]
    facts = _json(_budget_facts(wallet.id, budget) | {"counts_from_us": budget.counts_from_us})
    entry = work.write(wallet, "budget", key, digest, contra="memo", facts=facts)
    budget = budget._replace(seq=entry.seq)
    wallet.budgets_seq = entry.seq
    wallet.budgets = sorted([*others, *([] if budget.removed else [budget])], key=_by_name)
    work.budgets.append(budget)
    work.rebuilt.append((wallet.id, budget.name))
    for key_ in [key_ for key_ in wallet.series if key_[0] == budget.name]:
        del wallet.series[key_]
    if not budget.removed:
        jobs = work.session.jobs_since(work.book, wallet.id, budget.counts_from_us)
        for (share, start_us), (end_us, level) in rebuilt(budget, jobs).items():
            work.put_level(wallet, budget, share, Window(start_us, end_us), level)
        wallet.series.clear()
    return entry


_by_name = itemgetter(Budget._fields.index("name"))


def _budget_facts(wallet: str, budget: Budget) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "wallet": wallet,
        "name": budget.name,
        "limit": show_credits(budget.limit_e8),
        "selector": budget.selector,
        "period": budget.period,
        "rolling_seconds": budget.rolling_seconds,
        "timezone": budget.timezone,
        "hard": bool(budget.hard),
        "thresholds": budget.thresholds,
        "removed": bool(budget.removed),
    }
    return facts


def _budget_digest(wallet: str, budget: Budget) -> bytes:
    return digest_of("budget", *_budget_facts(wallet, budget).values())


# Small things


def _own_key(wallet: Wallet, subject: str) -> str:
    """A key for what the book does by itself: no two entries share it, whatever was done before."""
    key = f"{subject}@{wallet.seq + 1}"
    return key if len(key) <= LONGEST_NAME else digest_of(wallet.id, key).hex()


def _json(content: Mapping[str, Any] | None) -> str | None:
    """What is not None as compact JSON; None where nothing is left."""
    kept = {name: value for name, value in (content or {}).items() if value not in (None, [])}
    return _compact(kept) if kept else None


def _price_of(terms: str | None) -> Mapping[str, Any] | None:
    price: Mapping[str, Any] | None = json.loads(terms or "{}").get("price")
    return price


def _told_terms(terms: str | None) -> dict[str, str]:
    told = json.loads(terms or "{}")
    return {
        "deadline": str(told.get("deadline", "the default")),
        "price": json.dumps(told.get("price"), sort_keys=True),
    }


def _sum_of(lots: str | None, parts: Mapping[str, int], sign: int) -> dict[str, int]:
    total: dict[str, int] = json.loads(lots or "{}")
    for seq, part in parts.items():
        total[seq] = max(0, total.get(seq, 0) + sign * part)
    return {seq: part for seq, part in total.items() if part}


def _replay(
    first: Entry,
    digest: bytes,
    was: Mapping[str, Any],
    now: Mapping[str, Any],
    *,
    at_us: int | None,
) -> Entry:
    """The first result again, or the error that names what differs."""
    if first.digest == digest:
        return first._replace(replayed=True)
    raise _reused(first.kind, first.key, was, now, first.happened_at_us, at_us)


def _reused(
    verb: str,
    key: str,
    was: Mapping[str, Any],
    now: Mapping[str, Any],
    was_at_us: int | None,
    at_us: int | None,
) -> KeyReused:
    differs = {
        field: (_told(was.get(field)), _told(now.get(field)))
        for field in dict.fromkeys([*was, *now])
        if field not in {"crossed", "counts_from_us"} and was.get(field) != now.get(field)
    }
    if not differs:
        before = "not given" if was_at_us is None else iso(moment(was_at_us))
        differs["at"] = before, "not given" if at_us is None else iso(moment(at_us))
    return KeyReused(verb, key, differs=differs)


def _told(value: object) -> str:
    text = "not given" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _positive(amount_e8: int) -> int:
    if amount_e8 <= 0:
        raise InvalidAmount("an amount must be more than zero")
    return amount_e8


def _signed(amount: Amount) -> int:
    """A correction with its sign."""
    text = amount.strip() if isinstance(amount, str) else amount
    negative = isinstance(text, (int, Decimal)) and not _is_nan(text) and text < 0
    if isinstance(text, str) and text[:1] in {"-", "+"}:
        negative, text = text[0] == "-", text[1:]
    elif negative and isinstance(text, (int, Decimal)):
        text = -text
    amount_e8 = _positive(credits_to_e8(text))
    return -amount_e8 if negative else amount_e8


def _is_nan(number: int | Decimal) -> bool:
    return isinstance(number, Decimal) and number.is_nan()


def _fits(amount_e8: int) -> None:
    if abs(amount_e8) > MAX_AMOUNT_E8:
        raise InvalidAmount("the balance would be more than a ledger column holds, 92 billion")


def _at(at: datetime | date | str | None, now_us: int) -> int:
    if at is None:
        return now_us
    at_us = us(parse_moment(at))
    if at_us > now_us:
        raise InvalidMoment(f"{iso(moment(at_us))} lies in the future; `at` is when it happened")
    return at_us


def _deadline(deadline: timedelta | datetime | None, now_us: int) -> tuple[int, str | None]:
    """The deadline, and how it was given: a length from now stays the same in a repeated call."""
    if deadline is None:
        return now_us + DEADLINE // timedelta(microseconds=1), None
    if isinstance(deadline, timedelta):
        if not timedelta(0) < deadline <= _LONGEST_DEADLINE:
            problem = "must be more than nothing and at most ten years"
            raise InvalidEntry("the deadline", [Fault("", problem)])
        length_us = deadline // timedelta(microseconds=1)
        return now_us + length_us, f"+{length_us}"
    at_us = us(parse_moment(deadline))
    return at_us, str(at_us)


def _one_of(value: object, allowed: Sequence[str], what: str) -> None:
    if value not in allowed:
        problem = f"must be one of {', '.join(allowed)}, not {str(value)[:40]!r}"
        raise InvalidEntry(what, [Fault("", problem)])

"""Setting credits aside: the one decision that can be refused."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta

from ledger.book.calls import (
    Call,
    Content,
    deadline_of,
    earlier,
    fits,
    made,
    one_of,
    positive,
    reused,
    text_of,
)
from ledger.book.items import Extend, Reserve
from ledger.book.limits import level_now, moved, planned
from ledger.book.money import available_e8, lapse_expired
from ledger.book.releasing import release_overdue
from ledger.book.settling import apply_waiting
from ledger.book.told import apply_told
from ledger.book.work import Asked, Wallet, Work
from ledger.budgets import Level
from ledger.errors import (
    Blocked,
    BudgetExceeded,
    Fault,
    HoldClosed,
    InsufficientCredits,
    InvalidEntry,
)
from ledger.records import Entry, Hold, labels_text, moment, name
from ledger.units import credits_to_e8, iso

__all__ = ["extend", "reserve"]


def reserve(work: Work, item: Reserve) -> Entry:
    """Set credits aside, if the wallet and every matching budget have room for them."""
    asked = work.pricing.asked(item)
    call, deadline_us = _reserve_call(work, item, asked)
    job, content = call.key, call.content
    awaited = None
    if work.careful:
        # With the wallet locked first, whoever was faster with this key has been seen.
        work.find_wallet(content["wallet"])
        awaited = work.find_hold(job)
        if awaited is not None and awaited.wallet is not None:
            return _reserved_before(work, call, awaited)
    elif work.holds.get(job) is not None:
        # This batch, or the reading ahead of it, knows the job already.
        work.careful = True
        return reserve(work, item)
    amount_e8 = asked.amount_e8
    _ahead(deadline_us, call.at_us)
    wallet = work.wallet(content["wallet"])
    counts_us = work.counts_at_us(wallet, call.at_us)
    _admit(work, wallet, amount_e8, asked.labels or {}, counts_us, whole_e8=amount_e8)
    fits(wallet.held_e8 + amount_e8)
    moves = planned(work, wallet, content["labels"], counts_us, held_e8=amount_e8)
    lapse_expired(work, wallet)
    crossed = moved(work, wallet, moves)
    entry = work.write(
        wallet,
        "reserve",
        job,
        call.digest,
        contra="holds",
        job=job,
        held_e8=amount_e8,
        facts=_facts(deadline_us, crossed),
        at_us=call.at_us,
        given_us=call.given_us,
    )
    hold = _hold(work, wallet, entry, content, deadline_us)
    if awaited is None:
        work.put_hold(wallet, hold, new=True)
    else:
        work.adopt(wallet, hold)
        apply_waiting(work, wallet, job)
        apply_told(work, job)
    return entry


def _reserve_call(work: Work, item: Reserve, asked: Asked) -> tuple[Call, int]:
    wallet, _ = name(item.wallet, "the wallet"), name(item.key, "the key")
    amount_e8, labels = positive(asked.amount_e8), labels_text(asked.labels)
    deadline_us, rule = deadline_of(item.deadline, work.now_us)
    one_of(item.policy, ("owe", "draw", "cap", "reject"), "policy")
    one_of(item.on_deadline, ("keep", "release"), "on_deadline")
    plain = rule is None and asked.price is None
    content = {
        "wallet": wallet,
        "amount_e8": amount_e8,
        "labels": labels,
        "policy": item.policy,
        "on_deadline": item.on_deadline,
        "terms": None if plain else text_of({"deadline": rule, "price": asked.price}),
    }
    return made(work, "reserve", item.key, content, item.at), deadline_us


def _reserved_before(work: Work, call: Call, hold: Hold) -> Entry:
    """The first result of a reserve, or the error that names what differs."""
    first = work.entry(str(hold.wallet), hold.seq)
    if first.digest == call.digest:
        return first._replace(replayed=True)
    was = {
        "wallet": hold.wallet,
        "amount_e8": first.held_e8,
        "labels": hold.labels,
        "policy": hold.policy,
        "on_deadline": hold.on_deadline,
        "terms": hold.terms,
    }
    told = call._replace(content=_told_terms(call.content))
    raise reused(told, _told_terms(was), first.told_at_us)


def _told_terms(content: Content) -> Content:
    """The parts of what is kept as one text, so that the one that differs can be named."""
    terms = json.loads(content["terms"] or "{}")
    price = {f"price {field}": value for field, value in terms.get("price", {}).items()}
    # The digest of the quote differs as well where only the rest of the request does.
    price["quote"] = price.pop("price digest", None)
    parts = {"deadline": _told_deadline(terms.get("deadline")), **price}
    return {field: item for field, item in content.items() if field != "terms"} | parts


def _told_deadline(rule: str | None) -> str:
    if rule is None:
        return "the default"
    if rule.startswith("+"):
        return f"{timedelta(microseconds=int(rule))} from then"
    return iso(moment(int(rule)))


def _facts(deadline_us: int, crossed: Sequence[object]) -> str | None:
    if crossed:
        return text_of({"deadline_us": deadline_us, "crossed": crossed})
    return f'{{"deadline_us":{deadline_us}}}'


def _hold(work: Work, wallet: Wallet, entry: Entry, content: Content, deadline_us: int) -> Hold:
    return Hold(
        work.book,
        entry.key,
        wallet.id,
        entry.seq,
        entry.seq,
        "open",
        entry.held_e8,
        entry.held_e8,
        0,
        0,
        deadline_us,
        entry.happened_at_us,
        content["policy"],
        content["on_deadline"],
        content["labels"],
        content["terms"],
        None,
        0,
    )


def extend(work: Work, item: Extend) -> Entry:
    """Set more credits aside for an open hold, or give it more time."""
    call, deadline_us = _extend_call(work, item)
    if (first := earlier(work, call, _extended)) is not None:
        return first
    job, amount_e8 = call.content["job"], call.content["amount_e8"] or 0
    hold = work.hold(job)
    wallet = work.wallet(str(hold.wallet))
    if hold.state != "open":
        raise HoldClosed(job, state=hold.state, problem=f"is {hold.state} and cannot be extended")
    if deadline_us is not None:
        _ahead(deadline_us, call.at_us)
    if amount_e8:
        _grow(work, wallet, hold, amount_e8)
    moves = planned(work, wallet, hold.labels, hold.reserved_at_us, held_e8=amount_e8)
    lapse_expired(work, wallet)
    crossed = moved(work, wallet, moves)
    entry = work.write(
        wallet,
        "extend",
        call.key,
        call.digest,
        contra="holds",
        job=job,
        held_e8=amount_e8,
        facts=text_of(
            {"deadline_us": deadline_us, "asked": call.content["deadline"], "crossed": crossed}
        ),
        at_us=call.at_us,
        given_us=call.given_us,
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
    if hold.parked:
        apply_waiting(work, wallet, job)
    if amount_e8:
        apply_told(work, job, before_e8=hold.amount_e8)
    return entry


def _extend_call(work: Work, item: Extend) -> tuple[Call, int | None]:
    job, _ = name(item.job, "the job"), name(item.key, "the key")
    amount_e8 = None if item.amount is None else positive(credits_to_e8(item.amount))
    if item.amount is None and item.deadline is None:
        raise InvalidEntry("extend", [Fault("", "needs more credits, a deadline, or both")])
    deadline_us, rule = None, None
    if item.deadline is not None:
        deadline_us, rule = deadline_of(item.deadline, work.now_us)
    told = None if rule is None else _told_deadline(rule)
    content = {"job": job, "amount_e8": amount_e8, "deadline": told}
    return made(work, "extend", item.key, content, item.at), deadline_us


def _extended(entry: Entry) -> Content:
    return {
        "job": entry.job,
        "amount_e8": entry.held_e8 or None,
        "deadline": entry.details.get("asked"),
    }


def _grow(work: Work, wallet: Wallet, hold: Hold, amount_e8: int) -> None:
    """Raise unless there is room for more, and the hold is still open after room was made."""
    whole_e8 = hold.amount_e8 + amount_e8
    labels = json.loads(hold.labels)
    _admit(work, wallet, amount_e8, labels, hold.reserved_at_us, whole_e8=whole_e8)
    now = work.hold(hold.job)
    if now.state != "open":
        problem = "was released at its deadline and cannot be extended"
        raise HoldClosed(hold.job, state=now.state, problem=problem)
    fits(wallet.held_e8 + amount_e8)
    fits(whole_e8)


def _ahead(deadline_us: int, at_us: int) -> None:
    if deadline_us <= at_us:
        raise InvalidEntry("the deadline", [Fault("", f"lies before {iso(moment(at_us))}")])


# Whether there is room


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
    if blocking and release_overdue(work, wallet):
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
    """Every limit in the way: the wallet's credits first, then the budgets by name."""
    blocking = []
    free_e8 = available_e8(work, wallet)
    if amount_e8 > free_e8:
        settles = amount_e8 <= available_e8(work, wallet, settled=True)
        blocking.append(Blocked("credits", "", amount_e8, free_e8, wallet.held_e8, settles, None))
    for budget in work.budgets_of(wallet):
        share = budget.group(labels)
        if share is None:
            continue
        if budget.period == "job":
            level, held_e8, frees_us, asked_e8 = Level(0, 0, 0), 0, None, whole_e8
        elif not budget.counts(at_us):
            continue
        else:
            level, frees_us = level_now(work, wallet, budget, share, at_us, amount_e8=amount_e8)
            if at_us < work.now_us:
                frees_us = None  # a job of the past finds the same window again
            held_e8, asked_e8 = level.held_e8, amount_e8
        blocked = budget.blocks(share, asked_e8, level, frees_at_us=frees_us, held_e8=held_e8)
        if blocked is not None:
            blocking.append(blocked)
    return blocking

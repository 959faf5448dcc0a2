"""Charges and refunds: facts, recorded whatever the balance says, and each only once."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter

from ledger import lots as lotting
from ledger.book import inbox
from ledger.book.calls import Call, Content, earlier, fits, made, positive, text_of
from ledger.book.items import Charge, Refund
from ledger.book.limits import moved, planned
from ledger.book.money import available_e8, lapse_expired, spend
from ledger.book.work import Wallet, Work
from ledger.errors import ChargeAboveHold, Fault, InvalidEntry, LedgerError, RefundAboveCharge
from ledger.records import Entry, Hold, InboxRecord, Parked, name
from ledger.units import credits_to_e8, parse_seconds, plain

__all__ = ["apply_waiting", "charge", "refund"]


def charge(work: Work, item: Charge) -> Entry | Parked:
    """Take what a job cost; a charge is a fact, so it is recorded whatever the balance says."""
    return _settle(work, _charge_call(work, item), _charge, was=_charged)


def refund(work: Work, item: Refund) -> Entry | Parked:
    """Give back what was charged: to the balance, the lots, and the window of the charge."""
    return _settle(work, _refund_call(work, item), _refund, was=_refunded)


def _settle(
    work: Work,
    call: Call,
    rule: Callable[[Work, Wallet, Hold, Call], Entry],
    *,
    was: Callable[[Entry], Content],
) -> Entry | Parked:
    """Do what a call asks for, once; without a reserve of its job it waits in the inbox."""
    if (first := earlier(work, call, was)) is not None:
        return first
    hold = work.find_hold(call.content["job"])
    if hold is None or hold.wallet is None:
        if not work.careful:
            # Whether the key was used for another job is not known yet.
            work.careful = True
            return _settle(work, call, rule, was=was)
        _can_wait(call)
        return inbox.park(work, call, hold)
    wallet = work.wallet(hold.wallet)
    waiting = inbox.waiting(work, call, hold)
    if waiting is not None and waiting.is_discarded:
        return inbox.parked(waiting)
    entry = rule(work, wallet, hold, call)
    if waiting is not None:
        work.applied.append((call.kind, call.key))
    if hold.parked:
        apply_waiting(work, wallet, hold.job)
    return entry


def _can_wait(call: Call) -> None:
    """Refuse a charge that says nothing: the price of its request is not known."""
    content = call.content
    if call.kind == "charge" and content["amount_e8"] is None and content["seconds"] is None:
        problem = f"needs the credits or the seconds: nobody has reserved {content['job']!r}"
        raise InvalidEntry("charge", [Fault("", problem)])


def _charge_call(work: Work, item: Charge) -> Call:
    job = name(item.job, "the job")
    if item.amount is not None and item.seconds is not None:
        problem = "needs the credits charged or the seconds generated, not both"
        raise InvalidEntry("charge", [Fault("", problem)])
    if not isinstance(item.final, bool):
        raise InvalidEntry("charge", [Fault("final", "must be true or false")])
    content = {
        "job": job,
        "amount_e8": None if item.amount is None else positive(credits_to_e8(item.amount)),
        "seconds": None if item.seconds is None else plain(parse_seconds(item.seconds)),
        "final": item.final,
    }
    return made(work, "charge", job if item.key is None else item.key, content, item.at)


def _charged(entry: Entry) -> Content:
    facts = entry.details
    asked_e8 = entry.uncollected_e8 - entry.posted_e8
    return {
        "job": entry.job,
        "amount_e8": None if facts.get("priced") else asked_e8,
        "seconds": facts.get("seconds"),
        "final": facts.get("final", True),
    }


def _charge(work: Work, wallet: Wallet, hold: Hold, call: Call) -> Entry:
    amount_e8, seconds, final = (call.content[field] for field in ("amount_e8", "seconds", "final"))
    priced = amount_e8 is None
    if priced:
        amount_e8 = positive(work.pricing.bill(hold.price, seconds))
    taken_e8, over_e8 = _taken(work, wallet, hold, amount_e8)
    fits(wallet.posted_e8 - taken_e8)
    fits(hold.charged_e8 + taken_e8)
    late = hold.state != "open" or call.at_us >= hold.deadline_us
    freed_e8 = hold.held_e8 if final else min(hold.held_e8, taken_e8)
    moves = planned(
        work, wallet, hold.labels, hold.reserved_at_us, held_e8=-freed_e8, used_e8=taken_e8
    )
    lapse_expired(work, wallet)
    taken = spend(work, wallet, taken_e8, hold)
    crossed = moved(work, wallet, moves)
    facts = {
        "seconds": seconds,
        "priced": priced or None,
        "final": None if final else False,
        "crossed": crossed,
    }
    entry = work.write(
        wallet,
        "charge",
        call.key,
        call.digest,
        contra="provider",
        job=hold.job,
        posted_e8=-taken_e8,
        held_e8=-freed_e8,
        over_e8=over_e8,
        uncollected_e8=amount_e8 - taken_e8,
        late=int(late),
        lots=lotting.taken_text(taken),
        facts=text_of(facts),
        at_us=call.at_us,
        given_us=call.given_us,
    )
    work.put_lots(wallet, taken)
    work.put_hold(
        wallet,
        hold._replace(
            last_seq=entry.seq,
            state="charged" if final else hold.state,
            held_e8=hold.held_e8 - freed_e8,
            charged_e8=hold.charged_e8 + taken_e8,
            lots=lotting.summed(hold.lots, taken, 1),
        ),
    )
    return entry


def _taken(work: Work, wallet: Wallet, hold: Hold, amount_e8: int) -> tuple[int, int]:
    """How much of a charge is taken, and how much of it is above what the hold was made for."""
    # What was refunded is covered again, so that the order of charges and refunds does not matter.
    covered_e8 = max(hold.held_e8, hold.amount_e8 - hold.charged_e8 + hold.refunded_e8)
    over_e8 = max(0, amount_e8 - covered_e8)
    if hold.policy == "draw":
        # A late one finds nothing set aside any more, and draws all of it.
        most_e8 = hold.held_e8 + max(0, available_e8(work, wallet))
        return min(amount_e8, most_e8), over_e8
    if not over_e8 or hold.policy == "owe":
        return amount_e8, over_e8
    if hold.policy == "reject":
        raise ChargeAboveHold(hold.job, asked_e8=amount_e8, covered_e8=covered_e8)
    return covered_e8, over_e8


def _refund_call(work: Work, item: Refund) -> Call:
    job = name(item.job, "the job")
    content = {
        "job": job,
        "amount_e8": None if item.amount is None else positive(credits_to_e8(item.amount)),
        "reason": None if item.reason is None else name(item.reason, "the reason"),
    }
    return made(work, "refund", job if item.key is None else item.key, content, item.at)


def _refunded(entry: Entry) -> Content:
    facts = entry.details
    return {
        "job": entry.job,
        "amount_e8": None if facts.get("all") else entry.posted_e8,
        "reason": facts.get("reason"),
    }


def _back_e8(hold: Hold, call: Call) -> int:
    refundable_e8 = hold.charged_e8 - hold.refunded_e8
    asked_e8 = call.content["amount_e8"]
    back_e8: int = refundable_e8 if asked_e8 is None else asked_e8
    if back_e8 > refundable_e8 or not back_e8:
        raise RefundAboveCharge(hold.job, asked_e8=back_e8, refundable_e8=refundable_e8)
    return back_e8


def _refund(work: Work, wallet: Wallet, hold: Hold, call: Call) -> Entry:
    back_e8 = _back_e8(hold, call)
    fits(wallet.posted_e8 + back_e8)
    moves = planned(work, wallet, hold.labels, hold.reserved_at_us, used_e8=-back_e8)
    lapse_expired(work, wallet)
    # The wallet's debt is paid first; the rest returns to lots.
    to_lots_e8 = max(0, back_e8 - max(0, -wallet.posted_e8))
    taken = lotting.taken_of(hold.lots) if hold.lots else {}
    lots = work.lots(wallet, complete=True)
    back = lotting.give_back(lots, to_lots_e8, taken=taken)
    crossed = moved(work, wallet, moves)
    facts = {
        "reason": call.content["reason"],
        "all": call.content["amount_e8"] is None or None,
        "crossed": crossed,
    }
    entry = work.write(
        wallet,
        "refund",
        call.key,
        call.digest,
        contra="provider",
        job=hold.job,
        posted_e8=back_e8,
        lots=lotting.taken_text({seq: -part for seq, part in back.items()}),
        facts=text_of(facts),
        at_us=call.at_us,
        given_us=call.given_us,
    )
    work.put_lots(wallet, back)
    work.put_hold(
        wallet,
        hold._replace(
            last_seq=entry.seq,
            refunded_e8=hold.refunded_e8 + back_e8,
            lots=lotting.summed(hold.lots, back, -1),
        ),
    )
    return entry


# Messages that waited


def apply_waiting(work: Work, wallet: Wallet, job: str) -> None:
    """Apply the messages that wait for a job: charges first, then refunds, oldest first.

    What cannot be applied (a charge that its hold rejects, a refund of more than was charged, a
    key that another job used meanwhile) waits on: the hold remembers it, the next charge, refund
    or extension of the job tries again, and the inbox lists it for a person, who may discard it.
    """
    waiting = work.session.waiting(work.book, job, lock=True)
    waiting += [record for record in work.parked if record.job == job]
    left = 0
    for record in sorted(waiting, key=attrgetter("kind", "recorded_at_us", "place", "key")):
        if (record.kind, record.key) in work.applied:
            continue
        if not record.is_discarded and _applied(work, wallet, record):
            work.applied.append((record.kind, record.key))
        else:
            left = 1
    hold = work.hold(job)
    if hold.parked != left:
        work.put_hold(wallet, hold._replace(parked=left))


def _applied(work: Work, wallet: Wallet, record: InboxRecord) -> bool:
    call, hold = inbox.read(record), work.hold(record.job)
    if work.earlier(call.kind, call.key) is not None:
        return False
    try:
        if call.kind == "charge":
            _charge(work, wallet, hold, call)
        else:
            _refund(work, wallet, hold, call)
    except LedgerError:
        return False
    return True

"""Credits that come in, corrections, and credits that lapse."""

from __future__ import annotations

import re
import unicodedata

from ledger import lots as lotting
from ledger.book.calls import (
    Call,
    Content,
    call_digest,
    earlier,
    fits,
    made,
    own_key,
    positive,
    signed,
    text_of,
)
from ledger.book.items import Adjust, TopUp
from ledger.book.work import Wallet, Work
from ledger.errors import Fault, InvalidEntry, WalletExists
from ledger.figures import in_credits, show_credits
from ledger.records import GENESIS, Entry, Hold, Lot, WalletRecord, digest_of, name, us
from ledger.units import credits_to_e8, iso, parse_moment

__all__ = [
    "adjust",
    "available_e8",
    "folded",
    "has_expired",
    "lapse",
    "lapse_expired",
    "lot_of",
    "open_wallet",
    "spend",
    "top_up",
]

_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)


def open_wallet(work: Work, wallet: str, credit_limit_e8: int | None) -> Entry:
    """Open a wallet; opening it again on the same terms is a replay."""
    name(wallet, "the wallet")
    found = work.find_wallet(wallet)
    if found is None:
        return _opened(work, wallet, credit_limit_e8 or 0)[1]
    if credit_limit_e8 is not None and found.credit_limit_e8 != credit_limit_e8:
        raise WalletExists(
            wallet,
            existing=wallet,
            problem=f"exists with a credit limit of {in_credits(found.credit_limit_e8)},"
            f" not {show_credits(credit_limit_e8)}",
        )
    return work.entry(wallet, 1)._replace(replayed=True)


def _opened(work: Work, wallet: str, credit_limit_e8: int) -> tuple[Wallet, Entry]:
    seen = folded(wallet)
    similar = work.opened.get(seen) or work.session.wallet_by_folded(work.book, seen)
    if similar is not None:
        problem = f"differs only in how it is written from {similar!r}; use that name"
        raise WalletExists(wallet, existing=similar, problem=problem)
    closed_us = work.closed_until_us()
    record = WalletRecord(
        work.book, wallet, seen, credit_limit_e8, 0, 0, 0, GENESIS, None, 0, work.now_us, closed_us
    )
    opened = Wallet(record)
    opened.guard, opened.lots, opened.lots_complete = None, {}, True
    work.wallets[wallet] = opened
    work.opened[seen] = wallet
    digest = digest_of("open", wallet, credit_limit_e8)
    facts = text_of({"credit_limit_e8": credit_limit_e8, "closed_until_us": closed_us})
    return opened, work.write(opened, "open", wallet, digest, contra="memo", facts=facts)


def folded(wallet: str) -> str:
    """A name without what the eye does not tell apart: case, forms of letters, joiners."""
    seen = (char for char in unicodedata.normalize("NFKC", wallet) if not _is_format(char))
    return "".join(seen).casefold()


def _is_format(char: str) -> bool:
    return unicodedata.category(char) == "Cf"


def top_up(work: Work, item: TopUp) -> Entry:
    """Bring credits in, as a lot; the first top-up opens the wallet."""
    call = _top_up_call(work, item)
    if (first := earlier(work, call, _topped_up)) is not None:
        return first
    content = call.content
    if content["expires"] is not None and us(parse_moment(content["expires"])) <= call.at_us:
        raise InvalidEntry("the top-up", [Fault("expires", "lies before the top-up")])
    wallet = work.find_wallet(content["wallet"])
    if wallet is None:
        wallet, _ = _opened(work, content["wallet"], 0)
    facts = {field: content[field] for field in _TOP_UP_FACTS}
    contra = "promotion" if content["origin"] == "promotional" else "funding"
    return _bring_in(work, wallet, call, contra=contra, facts=facts)


_TOP_UP_FACTS = ("cash_e8", "currency", "expires", "origin")


def _top_up_call(work: Work, item: TopUp) -> Call:
    wallet, _ = name(item.wallet, "the wallet"), name(item.key, "the key")
    amount_e8 = positive(credits_to_e8(item.amount))
    cash_e8 = None if item.cash is None else credits_to_e8(item.cash)
    expires = None if item.expires is None else iso(parse_moment(item.expires))
    if faults := _top_up_faults(item):
        raise InvalidEntry("the top-up", faults)
    content = {
        "wallet": wallet,
        "amount_e8": amount_e8,
        "cash_e8": cash_e8,
        "currency": item.currency,
        "expires": expires,
        "origin": "promotional" if item.promotional else "paid",
    }
    return made(work, "top_up", item.key, content, item.at)


def _topped_up(entry: Entry) -> Content:
    facts = {field: entry.details.get(field) for field in _TOP_UP_FACTS}
    return {"wallet": entry.wallet, "amount_e8": entry.posted_e8, **facts}


def _top_up_faults(item: TopUp) -> list[Fault]:
    faults = []
    if (item.cash is None) != (item.currency is None):
        faults.append(Fault("cash", "needs its currency, and a currency its cash"))
    if item.currency is not None and not (
        isinstance(item.currency, str) and _CURRENCY.fullmatch(item.currency)
    ):
        faults.append(Fault("currency", "must be three capital letters (ISO 4217), such as USD"))
    if item.promotional and item.cash is not None:
        faults.append(Fault("cash", "was not paid for promotional credits; make two top-ups"))
    return faults


def _bring_in(work: Work, wallet: Wallet, call: Call, *, contra: str, facts: Content) -> Entry:
    """Add a lot; a debt of the wallet is paid from it at once."""
    amount_e8: int = call.content["amount_e8"]
    fits(wallet.posted_e8 + amount_e8)
    lapse_expired(work, wallet)
    paid_e8 = min(amount_e8, max(0, -wallet.posted_e8))
    lots = work.lots(wallet)
    seq = wallet.seq + 1
    entry = work.write(
        wallet,
        call.kind,
        call.key,
        call.digest,
        contra=contra,
        posted_e8=amount_e8,
        lots=lotting.taken_text({str(seq): paid_e8} if paid_e8 else {}),
        facts=text_of(facts),
        at_us=call.at_us,
        given_us=call.given_us,
    )
    lots[seq] = work.new_lots[wallet.id, seq] = lot_of(entry)
    work.put_lots(wallet, [seq])
    return entry


def lot_of(entry: Entry) -> Lot:
    """The lot that an entry brings in; what pays a debt of the wallet is used at once."""
    facts, paid = entry.details, lotting.taken_of(entry.lots) if entry.lots else {}
    expires = facts.get("expires")
    return Lot(
        entry.book,
        entry.wallet,
        entry.seq,
        facts.get("origin", "adjustment"),
        entry.posted_e8,
        sum(paid.values()),
        0,
        facts.get("cash_e8"),
        facts.get("currency"),
        None if expires is None else us(parse_moment(expires)),
        entry.happened_at_us,
    )


def adjust(work: Work, item: Adjust) -> Entry:
    """Correct a wallet by an amount with a sign."""
    wallet_name, _ = name(item.wallet, "the wallet"), name(item.key, "the key")
    reason = name(item.reason, "the reason")
    amount_e8 = signed(item.amount)
    content = {"wallet": wallet_name, "amount_e8": amount_e8, "reason": reason}
    call = made(work, "adjust", item.key, content, item.at)
    if (first := earlier(work, call, _adjusted)) is not None:
        return first
    wallet = work.wallet(wallet_name)
    facts = {"reason": reason}
    if amount_e8 > 0:
        return _bring_in(work, wallet, call, contra="adjustments", facts=facts)
    fits(wallet.posted_e8 + amount_e8)
    lapse_expired(work, wallet)
    taken = spend(work, wallet, -amount_e8, None)
    entry = work.write(
        wallet,
        "adjust",
        call.key,
        call.digest,
        contra="adjustments",
        posted_e8=amount_e8,
        lots=lotting.taken_text(taken),
        facts=text_of(facts),
        at_us=call.at_us,
        given_us=call.given_us,
    )
    work.put_lots(wallet, taken)
    return entry


def _adjusted(entry: Entry) -> Content:
    reason = entry.details["reason"]
    return {"wallet": entry.wallet, "amount_e8": entry.posted_e8, "reason": reason}


def lapse(work: Work, wallet: str) -> list[Entry]:
    """Take out expired credits that no open hold keeps alive."""
    return lapse_expired(work, work.wallet(name(wallet, "the wallet")))


def available_e8(work: Work, wallet: Wallet, *, settled: bool = False) -> int:
    """What a new job may reserve, in units of 10^-8 credit; expired credits are not in it.

    With `settled`, as if nothing were held: what a hold kept alive lapses when it is gone.
    """
    free_e8 = wallet.posted_e8 - (0 if settled else wallet.held_e8) + wallet.credit_limit_e8
    if has_expired(work, wallet):
        free_e8 -= sum(_lapsable(work, wallet, settled=settled).values())
    return free_e8


def has_expired(work: Work, wallet: Wallet) -> bool:
    """Whether the wallet has a lot with something left whose time is over."""
    return wallet.expires_at_us is not None and wallet.expires_at_us <= work.now_us


def _lapsable(work: Work, wallet: Wallet, *, settled: bool = False) -> dict[int, int]:
    def kept_e8(expiry_us: int) -> int:
        return 0 if settled else work.held_since_before(wallet, expiry_us).held_e8

    return lotting.lapsable(work.lots(wallet).values(), work.now_us, kept_e8)


def spend(work: Work, wallet: Wallet, amount_e8: int, hold: Hold | None) -> lotting.Taken:
    """Take an amount from the wallet's lots, for a job or a correction."""
    lots = work.lots(wallet)
    if not has_expired(work, wallet):
        return lotting.take(lots, amount_e8)
    own = set()
    if hold is not None:
        own = {
            lot.seq
            for lot in lots.values()
            if lot.expires_at_us is not None
            and lotting.is_expired(lot, work.now_us)
            and hold.seq <= work.held_since_before(wallet, lot.expires_at_us).place
        }
    own_e8 = 0 if hold is None else hold.held_e8
    return lotting.take(lots, amount_e8, now_us=work.now_us, own=own, own_e8=own_e8)


def lapse_expired(work: Work, wallet: Wallet) -> list[Entry]:
    """Write down what has lapsed by now, the lots that expired first first."""
    if not has_expired(work, wallet):
        return []
    lots, lapsed = work.lots(wallet), _lapsable(work, wallet)
    entries = []
    for seq, part_e8 in lapsed.items():
        lot = lots[seq]
        lots[seq] = lot._replace(lapsed_e8=lot.lapsed_e8 + part_e8)
        key = own_key(wallet, f"lot {lot.seq} of {wallet.id}")
        entry = work.write(
            wallet,
            "lapse",
            key,
            call_digest("lapse", key, None, (lot.seq, part_e8)),
            contra="lapsed",
            posted_e8=-part_e8,
            lots=lotting.taken_text({str(lot.seq): part_e8}),
            at_us=_lapsed_at_us(work, wallet, lot),
        )
        entries.append(entry)
    work.put_lots(wallet, lapsed)
    return entries


def _lapsed_at_us(work: Work, wallet: Wallet, lot: Lot) -> int:
    """When a lot lapsed: at its expiry, or when a hold that kept it or a refund gave it free."""
    # One that was told of only after its period was closed came in after it had expired.
    expiry_us = max(lot.expires_at_us or 0, lot.granted_at_us)
    place, _, _ = work.session.recorded_before(wallet.record(), expiry_us)
    freed_us = work.session.last_freed(work.book, wallet.id, place)
    staged = (
        entry.happened_at_us
        for entry in work.entries
        if entry.wallet == wallet.id and (entry.held_e8 < 0 or entry.kind == "refund")
    )
    return max(expiry_us, freed_us, *staged)

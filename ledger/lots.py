"""Lots: which credits are spent first, and where refunded ones go back. Pure.

Credits that lapse soonest are spent first; of those that lapse together, promotional ones before
paid ones, then older before newer. What a charge takes beyond all lots is a debt of the wallet
(`posted < 0`), and the next credits that come in pay it first.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping

from ledger.records import Lot

__all__ = [
    "NEVER_US",
    "Taken",
    "give_back",
    "is_expired",
    "lapsable",
    "order",
    "summed",
    "take",
    "taken_of",
    "taken_text",
]

NEVER_US = 2**62
"""Expiry of a lot that never lapses, for sorting."""

Taken = dict[str, int]
"""Lot → units of 10^-8 credit, as it stands in the JSON of entries and holds."""


_ORIGINS = {"promotional": 0, "adjustment": 1, "paid": 2}


def taken_text(taken: Mapping[str, int]) -> str | None:
    """The JSON of entries and holds; None where nothing was taken.

    >>> taken_text({"2": 20, "1": 5})
    '{"2":20,"1":5}'
    """
    parts = ",".join([f'"{lot}":{part}' for lot, part in taken.items()])
    return f"{{{parts}}}" if parts else None


def taken_of(text: str) -> Taken:
    """What `taken_text` wrote; several times as fast as a reader of any JSON.

    >>> taken_of('{"2":20,"1":-5}')
    {'2': 20, '1': -5}
    """
    pairs = [pair.split(":") for pair in text[1:-1].split(",")]
    return {lot[1:-1]: int(part) for lot, part in pairs}


def summed(text: str | None, parts: Mapping[str, int], sign: int) -> str | None:
    """What a job has taken from each lot after a charge (sign 1) or a refund (sign -1).

    >>> summed('{"1":20}', {"1": 5, "2": 7}, -1)
    '{"1":15}'
    """
    if text is None and sign > 0:
        return taken_text(parts)
    total = taken_of(text) if text else {}
    for seq, part in parts.items():
        total[seq] = max(0, total.get(seq, 0) + sign * part)
    return taken_text({seq: part for seq, part in total.items() if part})


def order(lot: Lot) -> tuple[int, int, int]:
    """Which lot is spent first."""
    expires = NEVER_US if lot.expires_at_us is None else lot.expires_at_us
    return expires, _ORIGINS[lot.origin], lot.seq


def take(
    lots: MutableMapping[int, Lot],
    amount_e8: int,
    *,
    now_us: int = -1,
    own: Collection[int] = (),
    own_e8: int = 0,
) -> Taken:
    """Spend an amount from the lots, soonest to lapse first; what is missing is a debt.

    Lots that have expired by `now_us` are there only because holds keep them alive. The job that
    is charged takes what its own hold keeps, at most `own_e8` of the lots in `own`; what others
    keep is taken last.

    >>> lots = {1: Lot("main", "studio", 1, "paid", 30, 0, 0, None, None, None, 0),
    ...         2: Lot("main", "studio", 2, "promotional", 20, 0, 0, None, None, 5_000, 0)}
    >>> take(lots, 25), lots[1].remaining_e8, lots[2].remaining_e8
    ({'2': 20, '1': 5}, 25, 0)
    """
    ordered = sorted(lots.values(), key=order) if len(lots) > 1 else list(lots.values())
    turns = [(ordered, amount_e8)]
    if now_us >= 0 and (expired := [lot for lot in ordered if is_expired(lot, now_us)]):
        kept = [lot for lot in expired if lot.seq in own]
        lasting = [lot for lot in ordered if not is_expired(lot, now_us)]
        turns = [(kept, own_e8), (lasting, amount_e8), (expired, amount_e8)]
    taken: Taken = {}
    for those, turn_e8 in turns:
        most_e8 = min(turn_e8, amount_e8)
        for lot in those:
            now = lots[lot.seq]
            part = min(now.remaining_e8, most_e8)
            if part > 0:
                taken[str(lot.seq)] = taken.get(str(lot.seq), 0) + part
                lots[lot.seq] = now._replace(used_e8=now.used_e8 + part)
                amount_e8 -= part
                most_e8 -= part
    return taken


def give_back(lots: MutableMapping[int, Lot], amount_e8: int, *, taken: Mapping[str, int]) -> Taken:
    """Return a refunded amount to the lots its charges took from, the last one first.

    What those did not give (the charge had run into debt, and a later lot paid it) goes to the
    newest lots that still have something to get back.
    """
    back: Taken = {}
    own = sorted((lots[int(seq)] for seq in taken), key=order, reverse=True)
    others = sorted(lots.values(), key=lambda lot: lot.seq, reverse=True)
    for lot, most in [
        *((lot, taken[str(lot.seq)]) for lot in own),
        *((lot, lot.used_e8) for lot in others),
    ]:
        if not amount_e8:
            break
        now = lots[lot.seq]
        part = min(most, now.used_e8, amount_e8)
        if part > 0:
            back[str(lot.seq)] = back.get(str(lot.seq), 0) + part
            lots[lot.seq] = now._replace(used_e8=now.used_e8 - part)
            amount_e8 -= part
    return back


def is_expired(lot: Lot, now_us: int) -> bool:
    """Whether a lot's time is over."""
    return lot.expires_at_us is not None and lot.expires_at_us <= now_us


def lapsable(lots: Iterable[Lot], now_us: int, kept_e8: Callable[[int], int]) -> dict[int, int]:
    """What is left of expired lots and kept alive by no hold: lot → units of 10^-8 credit.

    A hold keeps the credits alive that it would spend, the soonest to lapse first, and only those
    that had not expired when it was made: `kept_e8` says what is still held by those made before
    a moment.

    >>> lots = [Lot("main", "studio", 1, "paid", 30, 0, 0, None, None, 5_000, 0)]
    >>> lapsable(lots, 6_000, lambda expiry_us: 20)
    {1: 10}
    """
    found, used_e8 = {}, 0
    for lot in sorted(lots, key=order):
        if lot.expires_at_us is None or not is_expired(lot, now_us) or not lot.remaining_e8:
            continue
        alive_e8 = min(lot.remaining_e8, max(0, kept_e8(lot.expires_at_us) - used_e8))
        used_e8 += alive_e8
        if alive_e8 < lot.remaining_e8:
            found[lot.seq] = lot.remaining_e8 - alive_e8
    return found

"""From what entries cost to postings that add up to nothing.

Every account is told once what each entry means for it:

    credits of a lot with a known cost    at that cost; the other side gets the money
    promotional credits                   at a cost of nothing
    credits of unknown cost               for themselves; the other side gets credits, too
    a debt                                credits that are owed; the other side gets them, and
                                          money instead when other credits have paid the debt
    holds                                 credits without a lot: a hold has not chosen one
"""

from __future__ import annotations

from datetime import date

from ledger.costing import Costed, Paid, Part
from ledger.exports.journals.model import LotOf, Options, Posting, unit_cost
from ledger.exports.journals.names import component
from ledger.records import Entry

__all__ = ["CREDITS", "OPENING", "ROUNDING", "Accounts", "WalletPostings", "lot_of"]

CREDITS = "Assets:EvoLink:Credits:"

PROMOTIONAL = "Income:Credits:Promotional"
EXPIRED = "Expenses:Credits:Expired"
ADJUSTMENTS = "Equity:Adjustments"
UNPRICED = "Equity:Credits:Unpriced"
OPENING = "Equity:Opening-Balances"
ROUNDING = "Equity:Rounding"


class Accounts:
    """The accounts of one wallet."""

    def __init__(self, wallet: str) -> None:
        self.component = component(wallet, caseless=True)
        self.credits = f"{CREDITS}{self.component}"
        self.reserved = f"Assets:EvoLink:Reserved:{self.component}"
        self.owed = f"Liabilities:EvoLink:Owed:{self.component}"


def lot_of(entry: Entry, day: date, currency: str) -> LotOf:
    """The lot that an entry brought in."""
    facts = entry.details
    if facts.get("cash_e8") is not None:
        unit_e24 = unit_cost(facts["cash_e8"], entry.posted_e8)
        return LotOf(entry.seq, day, facts["currency"], unit_e24)
    return LotOf(entry.seq, day, currency if facts.get("origin") == "promotional" else None, 0)


class _Others:
    """The other side of a transaction, summed by account and commodity."""

    def __init__(self, commodity: str) -> None:
        self._commodity = commodity
        self._sums: dict[tuple[str, str], int] = {}

    def add(self, account: str, units_e8: int, commodity: str) -> None:
        key = account, commodity
        self._sums[key] = self._sums.get(key, 0) + units_e8

    def postings(self) -> list[Posting]:
        """Money is shown also where it is none, so that it is seen that something was free."""
        return [
            Posting(account, units_e8, commodity)
            for (account, commodity), units_e8 in self._sums.items()
            if units_e8 or commodity != self._commodity
        ]


class WalletPostings:
    """The postings of one wallet's entries, in order from the first."""

    def __init__(self, wallet: str, options: Options) -> None:
        self.accounts = Accounts(wallet)
        self._options = options
        self._lots: dict[int, LotOf] = {}
        self._debtors: dict[int, list[int | str]] = {}
        """Entries in debt: how much they still owe, and the account of what they cost."""

    def know(self, item: Costed, day: date, account: str) -> None:
        """Remember what later entries need to know of one, before it is posted or left out."""
        entry = item.entry
        if entry.posted_e8 > 0 and entry.kind != "refund":
            self._lots[entry.seq] = lot_of(entry, day, self._options.currency)
        for part in item.parts:
            if part.lot is None and part.credits_e8 < 0:
                self._debtors[entry.seq] = [-part.credits_e8, self._other(entry, account)]

    def forget(self, item: Costed) -> None:
        """Drop debts that this entry has paid."""
        for paid in item.paid:
            debtor = self._debtors[paid.seq]
            debtor[0] = int(debtor[0]) - paid.credits_e8
            if not debtor[0]:
                del self._debtors[paid.seq]

    def of(self, item: Costed, account: str) -> tuple[Posting, ...]:
        """The postings of an entry, the wallet's own first."""
        entry, credit = item.entry, self._options.commodity
        own: list[Posting] = []
        others = _Others(credit)
        if item.parts:
            other, owed_e8 = self._other(entry, account), 0
            for part in item.parts:
                if part.lot is None:
                    own.append(Posting(self.accounts.owed, part.credits_e8, credit))
                    owed_e8 = part.credits_e8
                else:
                    own.append(self._own(part))
                    others.add(other, *self._value(part, -1))
            for paid in item.paid:
                debtor = str(self._debtors[paid.seq][1])
                others.add(debtor, -paid.credits_e8, credit)
                others.add(debtor, *self._value(paid, 1))
                others.add(other, *self._value(paid, -1))
                owed_e8 -= paid.credits_e8
            # A new debt, or what a refund takes off its own job's.
            others.add(other, -owed_e8, credit)
        if entry.held_e8 and self._options.holds:
            own.append(Posting(self.accounts.reserved, entry.held_e8, credit))
            own.append(Posting(self.accounts.credits, -entry.held_e8, credit))
        return (*own, *others.postings())

    def _own(self, part: Part) -> Posting:
        return self.in_lot(int(part.lot or 0), part.credits_e8, part.cost_e8)

    def in_lot(self, seq: int, credits_e8: int, cost_e8: int) -> Posting:
        """Credits of a lot that come into the wallet's account, or leave it."""
        lot = self._lots[seq]
        credit = self._options.commodity
        return Posting(self.accounts.credits, credits_e8, credit, lot, cost_e8)

    def _value(self, item: Part | Paid, sign: int) -> tuple[int, str]:
        """What credits of a lot are worth to the other side."""
        lot = self._lots[int(item.lot or 0)]
        if lot.currency is None:
            return sign * item.credits_e8, self._options.commodity
        return sign * item.cost_e8, lot.currency

    def _other(self, entry: Entry, account: str) -> str:
        if entry.kind == "top_up":
            facts = entry.details
            if facts.get("cash_e8") is not None:
                return self._options.cash_account
            return PROMOTIONAL if facts.get("origin") == "promotional" else UNPRICED
        if entry.kind == "adjust":
            return ADJUSTMENTS
        return EXPIRED if entry.kind == "lapse" else account

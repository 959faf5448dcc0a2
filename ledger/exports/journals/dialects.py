"""How transactions and checks are written for beancount, hledger and ledger.

What a lot's credits cost is exact in hledger and ledger, which take the total (`@@`). beancount
wants a cost per credit and multiplies: what that makes of the last digit goes to
`Equity:Rounding`, in whole units of 10^-8, so that every other amount stays exact.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Literal

from ledger.exports.journals.history import Found
from ledger.exports.journals.model import COST_E24, Check, Posting, Transaction
from ledger.exports.journals.names import component, is_link, quoted
from ledger.exports.journals.posting import CREDITS, ROUNDING
from ledger.figures import show_credits

__all__ = ["DIALECTS", "ROUNDING", "Dialect", "Writer"]

Dialect = Literal["beancount", "hledger", "ledger"]
"""A program that a journal is for."""

PAYEE = "EvoLink"
CHECKS = "kling-ledger"

TAGS = (
    "channel",
    "corrects",
    "entry",
    "job",
    "key",
    "kind",
    "labels",
    "lot",
    "model",
    "price",
    "reason",
    "seconds",
    "task",
    "uncollected",
)
"""The metadata that transactions may have."""


def fixed(units_e8: int) -> str:
    """An amount with all of its eight decimals.

    >>> fixed(-147_058_824), fixed(5)
    ('-1.47058824', '0.00000005')
    """
    whole, decimals = divmod(abs(units_e8), 10**8)
    return f"{'-' if units_e8 < 0 else ''}{whole}.{decimals:08d}"


class Writer(ABC):
    """One dialect."""

    def __init__(self, commodity: str) -> None:
        self.commodity = commodity

    @abstractmethod
    def text(self, item: Transaction | Check) -> str:
        """A transaction or check, as lines with an empty one behind."""

    @abstractmethod
    def head(self, title: str, found: Found) -> Iterator[str]:
        """What stands before the transactions: what is declared."""


class Beancount(Writer):
    """See beancount's language syntax, version 3 (read 2026-11-23)."""

    def __init__(self, commodity: str) -> None:
        super().__init__(commodity)
        self._rounds = False

    def head(self, title: str, found: Found) -> Iterator[str]:
        yield f'option "title" {_string(title)}'
        for name in found.commodities:
            if name != self.commodity:
                yield f'option "operating_currency" "{name}"'
        yield ""
        first = found.first_day
        if first is None:
            return
        for name in found.commodities:
            yield f"{first} commodity {name}"
        yield ""
        named = dict(found.accounts)
        if self._rounds:
            named[ROUNDING] = None
        for account, holder in sorted(named.items()):
            # The book has chosen the lots; the program is not to choose again, and a charge may
            # bear an earlier day than the top-up that it was told after.
            booking = ' "NONE"' if account.startswith(CREDITS) else ""
            yield f"{first} open {account}{booking}"
            if holder is not None:
                yield f"  name: {_string(holder)}"
        yield ""

    def text(self, item: Transaction | Check) -> str:
        if isinstance(item, Check):
            after = item.day + timedelta(days=1)
            lines = [
                f"{after} balance {account}  {fixed(units_e8)} ~ 0 {self.commodity}"
                for account, units_e8 in item.balances
            ]
            return "\n".join((*_said(item), *lines, "\n"))
        links = "".join(f" ^{_link(name)}" for name in (item.job, item.task) if name is not None)
        shown = item.narration if item.job is None else f"{item.narration} {item.job}"
        lines = [f'{item.day} * "{PAYEE}" {_string(shown)}{links}']
        lines += [f"  {key}: {_string(value)}" for key, value in item.metadata.items()]
        lines += [f"  {posting.account}  {self._amount(posting)}" for posting in item.postings]
        for currency, units_e8 in self._residues(item.postings).items():
            self._rounds = True
            lines.append(f"  {ROUNDING}  {fixed(units_e8)} {currency}")
        return "\n".join((*lines, "\n"))

    def _residues(self, postings: Iterable[Posting]) -> dict[str, int]:
        """What is missing of each currency after costs per credit were multiplied out, 10^-8."""
        sums_e32: dict[str, int] = defaultdict(int)
        for posting in postings:
            lot = posting.lot
            if lot is not None and lot.currency is not None:
                sums_e32[lot.currency] += posting.units_e8 * lot.unit_e24
            elif posting.commodity != self.commodity:
                sums_e32[posting.commodity] += posting.units_e8 * COST_E24
        missing = ((name, -_nearest(total)) for name, total in sums_e32.items())
        return {name: units_e8 for name, units_e8 in missing if units_e8}

    @staticmethod
    def _amount(posting: Posting) -> str:
        amount = f"{fixed(posting.units_e8)} {posting.commodity}"
        lot = posting.lot
        if lot is None or lot.currency is None:
            return amount
        cost = f"{_unit(lot.unit_e24)} {lot.currency}"
        return f'{amount} {{{cost}, {lot.day}, "lot-{lot.seq}"}}'


def _nearest(sum_e32: int) -> int:
    return (2 * sum_e32 + COST_E24) // (2 * COST_E24)


def _unit(unit_e24: int) -> str:
    whole, decimals = divmod(unit_e24, COST_E24)
    text = f"{whole}.{decimals:024d}".rstrip("0")
    return text.removesuffix(".")


def _string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _link(name: str) -> str:
    return name if is_link(name) else component(name)


def _said(check: Check) -> Iterator[str]:
    held = f", held {show_credits(check.held_e8)}"
    yield f"; {quoted(check.wallet)}: posted {show_credits(check.posted_e8)}{held}"


class _Plain(Writer):
    """What hledger and ledger have in common."""

    def __init__(self, commodity: str) -> None:
        super().__init__(commodity)
        self._shown = {commodity: commodity if commodity.isalpha() else f'"{commodity}"'}

    def _symbol(self, commodity: str) -> str:
        return self._shown.get(commodity, commodity)

    def head(self, title: str, found: Found) -> Iterator[str]:
        yield f"; {title}"
        yield ""
        for name in found.commodities:
            yield from self._declared(self._symbol(name))
        yield f"payee {PAYEE}"
        yield f"payee {CHECKS}"
        yield from self._tags()
        yield ""
        for account, holder in found.accounts.items():
            if holder is not None:
                yield f"; {account} is {quoted(holder)}"
            yield f"account {account}"
        yield ""

    @abstractmethod
    def _declared(self, symbol: str) -> Iterator[str]:
        """A commodity's directive."""

    def _tags(self) -> Iterable[str]:
        return ()

    @abstractmethod
    def _described(self, payee: str, narration: str) -> str:
        """What stands in the first line of a transaction."""

    def text(self, item: Transaction | Check) -> str:
        if isinstance(item, Check):
            symbol = self._symbol(self.commodity)
            lines = [f"{item.day} * {self._described(CHECKS, 'balances')}"]
            lines += [
                f"    {account}  0 {symbol} = {fixed(units_e8)} {symbol}"
                for account, units_e8 in item.balances
            ]
            return "\n".join((*_said(item), *lines, "\n"))
        job = item.job
        shown = f"{item.narration} {job}" if job and is_link(job) else item.narration
        lines = [f"{item.day} * ({item.place}) {self._described(PAYEE, shown)}"]
        lines += [f"    ; {key}: {quoted(value)}" for key, value in item.metadata.items()]
        for posting in item.postings:
            lines += self._posted(posting)
        return "\n".join((*lines, "\n"))

    def _posted(self, posting: Posting) -> list[str]:
        amount = f"{fixed(posting.units_e8)} {self._symbol(posting.commodity)}"
        lot = posting.lot
        if lot is None:
            return [f"    {posting.account}  {amount}"]
        if lot.currency is not None:
            amount += f" @@ {fixed(abs(posting.cost_e8))} {lot.currency}"
        return [f"    {posting.account}  {amount}", f"    ; lot: {lot.seq}"]


class HLedger(_Plain):
    """See hledger's manual, version 1.25 (read 2026-11-23)."""

    def _declared(self, symbol: str) -> Iterator[str]:
        yield f"commodity 1000.00000000 {symbol}"

    def _described(self, payee: str, narration: str) -> str:
        return f"{payee} | {narration}"


class LedgerCli(_Plain):
    """See ledger's manual, version 3.3 (read 2026-11-23)."""

    def _declared(self, symbol: str) -> Iterator[str]:
        yield f"commodity {symbol}"
        yield f"    format 1000.00000000 {symbol}"

    def _tags(self) -> Iterable[str]:
        return (f"tag {name}" for name in TAGS)

    def _described(self, payee: str, narration: str) -> str:  # noqa: ARG002
        return payee


DIALECTS: dict[Dialect, type[Writer]] = {
    "beancount": Beancount,
    "hledger": HLedger,
    "ledger": LedgerCli,
}

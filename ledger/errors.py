"""Every exception of the library: one tree, stable codes, the facts as attributes.

    LedgerError
    ├── InvalidInput           what was given cannot be read           (exit status 7)
    │   ├── InvalidAmount      not an exact amount of credits
    │   ├── InvalidSeconds     not a length of time
    │   ├── InvalidMoment      not a moment with a time zone
    │   ├── InvalidRequest     a request breaks the provider's published limits
    │   ├── InvalidPriceFile   a price file or overlay breaks its schema
    │   ├── InvalidPlan        a plan of jobs cannot be read
    │   ├── InvalidMessage     a message of the provider's cannot be read
    │   ├── InvalidStatement   a statement cannot be read
    │   ├── InvalidMapping     what says how a statement is to be read makes no sense
    │   ├── InvalidCorrections  corrections that cannot be read or mend nothing
    │   ├── InvalidMedia       a file is not a video that can be measured
    │   ├── InvalidEntry       a key, label, name or reason that cannot be stored
    │   └── InvalidBudget      a budget that makes no sense
    ├── CannotPrice            the request is fine, the price is missing (exit status 6)
    │   ├── UnknownModel       no price book entry for this model
    │   ├── UnknownOption      the price does not cover this option
    │   ├── UnknownChannel     the price has no such channel
    │   ├── UnknownVersion     no such version of a price
    │   ├── NoPriceInForce     no price had started on that day
    │   ├── NoExchangeRate     no exchange rate had started on that day
    │   ├── NeedsLength        the price depends on a length nobody gave
    │   ├── NeedsInput         a published rule reads a value nobody gave
    │   ├── RuleFailed         a published rule gives no price for these values
    │   └── AmountTooLarge     the result does not fit a ledger column
    ├── Refused                the book says no; nothing was written   (exit status 3)
    │   ├── InsufficientCredits    the wallet has fewer credits available
    │   ├── BudgetExceeded     a budget has no room left
    │   ├── ChargeAboveHold    a hold that takes no more than it was made for
    │   └── WriteOffAboveCap   more would be written off than is allowed
    ├── Disagreement           the book and the provider's bill differ (exit status 4)
    │   ├── NotReconciled      nobody has compared a period that is to be closed
    │   └── OpenBreaks         differences are open in a period that is to be closed
    ├── Conflict               the book does not fit what was asked    (exit status 7)
    │   ├── UnknownBook        no book of that name in the database
    │   ├── UnknownWallet      no wallet of that name in the book
    │   ├── UnknownJob         no hold for that job
    │   ├── UnknownBudget      no budget of that name on the wallet
    │   ├── UnknownMessage     no charge or refund waits in the inbox under that key
    │   ├── UnknownBreak       no comparison has found a break of that name
    │   ├── TaskLinked         the task belongs to another job
    │   ├── UnknownPeriod      no such period is closed, or not as the last one
    │   ├── PeriodNotOver      a period that has not ended yet cannot be closed
    │   ├── PeriodOutOfOrder   another period is to be closed first, or is closed already
    │   ├── WalletExists       the name is taken, or differs only in case from one that is
    │   ├── KeyReused          the key was used before, with other content
    │   ├── HoldClosed         the hold is settled or released already
    │   ├── RefundAboveCharge  more would be given back than was charged
    │   └── BatchRefused       one item of an all-or-nothing batch was refused
    ├── StoreError             the database cannot be used as it is    (exit status 8)
    │   ├── StoreUnavailable   not reachable, not writable, or full
    │   ├── StoreLocked        another process holds it for too long
    │   ├── NotALedger         a file or database that is something else
    │   ├── NeedsMigration     the tables are older than this library
    │   └── NewerStore         the tables are newer than this library
    ├── OutputError            a file cannot be written as asked       (exit status 7)
    ├── VerificationFailed     the book contradicts itself             (exit status 9)
    └── MissingExtra           an optional dependency is not installed (exit status 2)

Codes and exit statuses never change meaning once published.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from ledger.figures import in_credits, show_credits

__all__ = [
    "AmountTooLarge",
    "BatchRefused",
    "Blocked",
    "BudgetExceeded",
    "CannotPrice",
    "ChargeAboveHold",
    "Conflict",
    "Disagreement",
    "Fault",
    "HoldClosed",
    "InsufficientCredits",
    "InvalidAmount",
    "InvalidBudget",
    "InvalidCorrections",
    "InvalidEntry",
    "InvalidInput",
    "InvalidMapping",
    "InvalidMedia",
    "InvalidMessage",
    "InvalidMoment",
    "InvalidPlan",
    "InvalidPriceFile",
    "InvalidRequest",
    "InvalidSeconds",
    "InvalidStatement",
    "KeyReused",
    "LedgerError",
    "MissingExtra",
    "NeedsInput",
    "NeedsLength",
    "NeedsMigration",
    "NewerStore",
    "NoExchangeRate",
    "NoPriceInForce",
    "NotALedger",
    "NotReconciled",
    "OpenBreaks",
    "OutputError",
    "PeriodNotOver",
    "PeriodOutOfOrder",
    "RefundAboveCharge",
    "Refused",
    "RuleFailed",
    "StoreError",
    "StoreLocked",
    "StoreUnavailable",
    "TaskLinked",
    "UnknownBook",
    "UnknownBreak",
    "UnknownBudget",
    "UnknownChannel",
    "UnknownJob",
    "UnknownMessage",
    "UnknownModel",
    "UnknownOption",
    "UnknownPeriod",
    "UnknownVersion",
    "UnknownWallet",
    "VerificationFailed",
    "WalletExists",
    "WriteOffAboveCap",
]


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with one field.

    >>> print(Fault("prompt", "has 2600 characters; the provider takes at most 2500"))
    prompt: has 2600 characters; the provider takes at most 2500
    """

    field: str
    """Path of the field as the writer of the document knows it."""
    problem: str
    """What is wrong and what would be right, without quoting private content."""

    def __str__(self) -> str:
        return f"{self.field}: {self.problem}" if self.field else self.problem


class LedgerError(Exception):
    """Anything this library refuses to do; catch this to catch all of them."""

    code: ClassVar[str] = "ledger_error"
    """Stable, machine-readable name of the class."""
    exit_status: ClassVar[int] = 1
    """What the command line exits with."""

    def __reduce__(self) -> tuple[object, ...]:
        # The classes build their own messages, so an error is rebuilt from what it holds.
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[LedgerError], args: tuple[object, ...], facts: dict[str, object]) -> object:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(facts)
    return error


class InvalidInput(LedgerError):
    """Something handed in cannot be read as what it should be."""

    code = "invalid_input"
    exit_status = 7


class InvalidAmount(InvalidInput, ValueError):
    """An amount is not a finite, non-negative number of credits with at most 8 decimals."""

    code = "invalid_amount"


class InvalidSeconds(InvalidInput, ValueError):
    """A length of time is not a finite, positive number of seconds."""

    code = "invalid_seconds"


class InvalidMoment(InvalidInput, ValueError):
    """A moment has no time zone, or is not a date or a time at all."""

    code = "invalid_moment"


class _Faulty(InvalidInput):
    """An input with one or more faults, all reported at once."""

    def __init__(self, subject: str, faults: Iterable[Fault]) -> None:
        self.subject = subject
        self.faults: Sequence[Fault] = tuple(faults)
        if len(self.faults) == 1:
            super().__init__(f"{subject}: {self.faults[0]}")
        else:
            listed = "".join(f"\n  - {fault}" for fault in self.faults)
            super().__init__(f"{subject}: {len(self.faults)} faults{listed}")


class InvalidRequest(_Faulty):
    """A request breaks the provider's published limits; `faults` has all of them."""

    code = "invalid_request"


class InvalidPriceFile(_Faulty):
    """A price file or overlay is not valid; `subject` names the file."""

    code = "invalid_price_file"


class InvalidPlan(_Faulty):
    """A plan of jobs cannot be read at all; single bad rows are reported, not raised."""

    code = "invalid_plan"


class InvalidMessage(_Faulty):
    """A message about a task cannot be read, or its amounts are not exact; `subject` is where."""

    code = "invalid_message"


class InvalidStatement(_Faulty):
    """A statement cannot be read at all; single bad lines are reported, not raised."""

    code = "invalid_statement"


class InvalidMapping(_Faulty):
    """A mapping does not fit its statement, or none could be guessed; `faults` says what to say."""

    code = "invalid_mapping"


class InvalidCorrections(_Faulty):
    """Corrections of breaks cannot be read, or do not mend what they are about."""

    code = "invalid_corrections"


class InvalidMedia(_Faulty):
    """A file is not a video that can be measured; `subject` names the file."""

    code = "invalid_media"


class InvalidEntry(_Faulty):
    """A key, name, label or reason cannot be stored; `subject` says which."""

    code = "invalid_entry"


class InvalidBudget(_Faulty):
    """A budget makes no sense; `faults` has everything wrong with it."""

    code = "invalid_budget"


class CannotPrice(LedgerError):
    """A sound request that this price book has no price for; never a price of zero."""

    code = "cannot_price"
    exit_status = 6


class UnknownModel(CannotPrice):
    """The price book has no entry for this model; `nearest` holds similar names."""

    code = "unknown_model"

    def __init__(self, model: str, *, book: str, nearest: Sequence[str] = ()) -> None:
        self.model, self.book, self.nearest = model, book, tuple(nearest)
        hint = f"; did you mean {' or '.join(self.nearest)}?" if nearest else ""
        super().__init__(f"unknown model {model!r} in price book {book}{hint}")


class UnknownOption(CannotPrice):
    """The price in force does not cover the value of an option; `known` lists what it does."""

    code = "unknown_option"

    def __init__(self, model: str, option: str, value: object, *, known: Sequence[str]) -> None:
        self.model, self.option, self.value, self.known = model, option, value, tuple(known)
        given = "not given" if value is None else repr(value)
        super().__init__(f"{model}: {option} is {given}; priced are {', '.join(known) or 'none'}")


class UnknownChannel(CannotPrice):
    """The price in force has no channel of that name; `known` lists those it has."""

    code = "unknown_channel"

    def __init__(self, model: str, channel: str, *, known: Sequence[str]) -> None:
        self.model, self.channel, self.known = model, channel, tuple(known)
        super().__init__(f"{model}: unknown channel {channel!r}; known are {', '.join(known)}")


class UnknownVersion(CannotPrice):
    """No price of this book carries that version id."""

    code = "unknown_version"

    def __init__(self, model: str, version: str, *, known: Sequence[str]) -> None:
        self.model, self.version, self.known = model, version, tuple(known)
        super().__init__(f"{model}: unknown price version {version}; known: {', '.join(known)}")


class NoPriceInForce(CannotPrice):
    """The model is known, but its first price starts later than the moment asked for."""

    code = "no_price_in_force"

    def __init__(self, model: str, at: str, *, first: str) -> None:
        self.model, self.at, self.first = model, at, first
        super().__init__(f"{model}: no price in force at {at}; the first one starts at {first}")


class NoExchangeRate(CannotPrice):
    """No exchange rate for the currency had started at that moment."""

    code = "no_exchange_rate"

    def __init__(self, currency: str, at: str) -> None:
        self.currency, self.at = currency, at
        super().__init__(f"no exchange rate for {currency} at {at}")


class NeedsLength(CannotPrice):
    """The price depends on a length that nobody gave and nothing bounds."""

    code = "needs_length"

    def __init__(self, model: str, what: str) -> None:
        self.model, self.what = model, what
        super().__init__(f"{model}: {what}")


class NeedsInput(CannotPrice):
    """A published rule reads values that nobody gave; `variables` names all of them."""

    code = "needs_input"

    def __init__(self, model: str, variables: Iterable[str]) -> None:
        self.model, self.variables = model, tuple(variables)
        listed = " and ".join(filter(None, [", ".join(self.variables[:-1]), self.variables[-1]]))
        verb, them = ("has", "it") if len(self.variables) == 1 else ("have", "them")
        super().__init__(
            f"{model}: the price depends on {listed}, which {verb} no value;"
            f" give {them} as measured"
        )


class RuleFailed(CannotPrice):
    """A published rule gives no price for these values; `component` is None for the whole model."""

    code = "rule_failed"

    def __init__(self, model: str, component: str | None, problem: str) -> None:
        self.model, self.component, self.problem = model, component, problem
        where = f"component {component}: " if component is not None else ""
        super().__init__(f"{model}: {where}{problem}")


class AmountTooLarge(CannotPrice):
    """The exact result is larger than a ledger column holds (2^63 - 1 units of 10^-8)."""

    code = "amount_too_large"


@dataclass(frozen=True, slots=True)
class Blocked:
    """One limit that had no room for what was asked."""

    limit: str
    """`credits`, or the name of the budget."""
    group: str
    """Whose share of the budget, such as `user=li`; empty where the budget is for all."""
    needed_e8: int
    """What was asked of it."""
    available_e8: int
    """What it still had."""
    held_e8: int
    """How much of it open holds had taken."""
    retryable: bool
    """Whether waiting can help."""
    frees_at: str | None
    """When there will be room at the latest, if the clock alone decides."""

    @property
    def needed(self) -> Decimal:
        """Credits that were asked of it."""
        return Decimal(show_credits(self.needed_e8))

    @property
    def available(self) -> Decimal:
        """Credits it still had."""
        return Decimal(show_credits(self.available_e8))

    @property
    def held(self) -> Decimal:
        """Credits that open holds had taken of it."""
        return Decimal(show_credits(self.held_e8))


class Refused(LedgerError):
    """The book said no, and wrote nothing; the same key may be tried again."""

    code = "refused"
    exit_status = 3


class InsufficientCredits(Refused):
    """The wallet has fewer credits available than were asked for.

    `blocking` has every limit that said no, this one first; `retryable` says whether waiting
    can help (open holds may give back enough), and a top-up always does.
    """

    code = "insufficient_credits"

    def __init__(self, wallet: str, blocking: Sequence[Blocked]) -> None:
        self.wallet, self.blocking = wallet, tuple(blocking)
        first = self.blocking[0]
        self.needed_e8, self.available_e8 = first.needed_e8, first.available_e8
        self.held_e8, self.retryable = first.held_e8, all(item.retryable for item in blocking)
        hint = "; open holds may give back enough" if first.retryable else "; top it up"
        super().__init__(
            f"wallet {wallet!r} has {in_credits(first.available_e8)} available of the"
            f" {show_credits(first.needed_e8)} needed ({show_credits(first.held_e8)} held)"
            f"{hint}{_also(self.blocking)}"
        )


class BudgetExceeded(Refused):
    """A hard budget has no room for the job; `blocking` has every budget that said no."""

    code = "budget_exceeded"

    def __init__(self, wallet: str, blocking: Sequence[Blocked]) -> None:
        self.wallet, self.blocking = wallet, tuple(blocking)
        first = self.blocking[0]
        self.budget, self.group = first.limit, first.group
        self.needed_e8, self.available_e8 = first.needed_e8, first.available_e8
        self.held_e8, self.retryable = first.held_e8, all(item.retryable for item in blocking)
        whose = f" for {first.group}" if first.group else ""
        super().__init__(
            f"budget {first.limit!r} of wallet {wallet!r}{whose} has"
            f" {in_credits(first.available_e8)} left of the {show_credits(first.needed_e8)} needed"
            f" ({show_credits(first.held_e8)} held); {_waiting(first)}{_also(self.blocking)}"
        )


class ChargeAboveHold(Refused):
    """The charge is larger than its hold, whose policy is to reject that."""

    code = "charge_above_hold"

    def __init__(self, job: str, *, asked_e8: int, covered_e8: int) -> None:
        self.job, self.asked_e8, self.covered_e8 = job, asked_e8, covered_e8
        super().__init__(
            f"job {job!r}: a charge of {in_credits(asked_e8)} is more than the"
            f" {show_credits(covered_e8)} its hold still covers, and the hold's policy is to reject"
            " that; nothing was written"
        )


class WriteOffAboveCap(Refused):
    """More credits would be written off in a period than the caller allows."""

    code = "write_off_above_cap"

    def __init__(self, break_id: str, *, asked_e8: int, before_e8: int, cap_e8: int) -> None:
        self.break_id, self.asked_e8 = break_id, asked_e8
        self.before_e8, self.cap_e8 = before_e8, cap_e8
        super().__init__(
            f"break {break_id}: to write off {in_credits(asked_e8)} beside the"
            f" {show_credits(before_e8)} of its period already written off is more than the cap of"
            f" {show_credits(cap_e8)}; nothing was written"
        )


class Disagreement(LedgerError):
    """The book and the provider's bill do not agree yet; nothing was written."""

    code = "disagreement"
    exit_status = 4


class NotReconciled(Disagreement):
    """A period is to be closed that no comparison with the provider's bill covers.

    Or `changed` charges and refunds of it came after the comparison that does.
    """

    code = "not_reconciled"

    def __init__(self, period: str, *, start: str, end: str, changed: int = 0) -> None:
        self.period, self.start, self.end, self.changed = period, start, end, changed
        problem = f"no comparison covers it from {start} to {end}; reconcile it"
        if changed:
            entries = "1 charge or refund" if changed == 1 else f"{changed:,} charges and refunds"
            problem = f"{entries} of it came after it was compared; compare it again"
        super().__init__(
            f"{period} is not reconciled: {problem}, or say why it is closed without"
            " (--unreconciled REASON)"
        )


class OpenBreaks(Disagreement):
    """A period is to be closed with breaks that nobody has settled, in it or before it."""

    code = "open_breaks"

    def __init__(self, period: str, *, count: int, difference_e8: int) -> None:
        self.period, self.count, self.difference_e8 = period, count, difference_e8
        breaks = "1 break is" if count == 1 else f"{count:,} breaks are"
        sign = "-" if difference_e8 < 0 else ""
        super().__init__(
            f"{period}: {breaks} open up to its end, {sign}{in_credits(abs(difference_e8))} in all"
            " (bill less book); settle them, or say why it is closed with them"
            " (--with-open-breaks REASON)"
        )


class Conflict(LedgerError):
    """What was asked does not fit what the book says."""

    code = "conflict"
    exit_status = 7


class UnknownBook(Conflict):
    """The database has no book of that name; `known` lists those it has."""

    code = "unknown_book"

    def __init__(self, book: str, *, known: Sequence[str] = ()) -> None:
        self.book, self.known = book, tuple(known)
        listed = ", ".join(map(repr, self.known)) or "none"
        super().__init__(f"no book {book!r} in this database; it has {listed}")


class UnknownWallet(Conflict):
    """The book has no wallet of that name; `nearest` holds similar names."""

    code = "unknown_wallet"

    def __init__(self, wallet: str, *, book: str, nearest: Sequence[str] = ()) -> None:
        self.wallet, self.book, self.nearest = wallet, book, tuple(nearest)
        hint = f"; did you mean {' or '.join(map(repr, self.nearest))}?" if nearest else ""
        super().__init__(f"no wallet {wallet!r} in book {book!r}{hint}")


class UnknownJob(Conflict):
    """The book has no hold for that job; `nearest` holds similar names."""

    code = "unknown_job"

    def __init__(self, job: str, *, book: str, nearest: Sequence[str] = ()) -> None:
        self.job, self.book, self.nearest = job, book, tuple(nearest)
        hint = f"; did you mean {' or '.join(map(repr, self.nearest))}?" if nearest else ""
        super().__init__(f"no hold for job {job!r} in book {book!r}{hint}")


class UnknownMessage(Conflict):
    """No charge or refund waits in the inbox under that key; `problem` says what is known of it."""

    code = "unknown_message"

    def __init__(self, kind: str, key: str, *, problem: str) -> None:
        self.kind, self.key, self.problem = kind, key, problem
        super().__init__(f"{kind} {key!r} {problem}")


class UnknownBreak(Conflict):
    """No comparison has found a break of that name."""

    code = "unknown_break"

    def __init__(self, break_id: str, *, book: str) -> None:
        self.break_id, self.book = break_id, book
        super().__init__(
            f"book {book!r} has no break {break_id!r}; kling-ledger reconcile breaks lists them"
        )


class UnknownPeriod(Conflict):
    """No such period can be opened again; `last` is the one that can, if there is one."""

    code = "unknown_period"

    def __init__(self, period: str, *, last: str | None, problem: str) -> None:
        self.period, self.last = period, last
        hint = f"; only the last closed period can be reopened: {last}" if last else ""
        super().__init__(f"{period} {problem}{hint}")


class PeriodNotOver(Conflict):
    """A period cannot be closed before it has ended."""

    code = "period_not_over"

    def __init__(self, period: str, *, end: str) -> None:
        self.period, self.end = period, end
        super().__init__(f"{period} ends at {end}; it cannot be closed before")


class PeriodOutOfOrder(Conflict):
    """Periods are closed one after another; `closed_until` is where the next one begins."""

    code = "period_out_of_order"

    def __init__(self, period: str, *, closed_until: str, problem: str) -> None:
        self.period, self.closed_until = period, closed_until
        super().__init__(f"{period} {problem}")


class TaskLinked(Conflict):
    """A task of the provider belongs to another job than the one that was named."""

    code = "task_linked"

    def __init__(self, task: str, *, job: str, asked: str) -> None:
        self.task, self.job, self.asked = task, job, asked
        super().__init__(
            f"task {task!r} belongs to job {job!r}, not {asked!r}; what it cost is in the book for"
            " that job, so correct the two jobs by hand"
        )


class UnknownBudget(Conflict):
    """The wallet has no budget of that name; `known` lists those it has."""

    code = "unknown_budget"

    def __init__(self, wallet: str, budget: str, *, known: Sequence[str] = ()) -> None:
        self.wallet, self.budget, self.known = wallet, budget, tuple(known)
        listed = ", ".join(map(repr, self.known)) or "none"
        super().__init__(f"wallet {wallet!r} has no budget {budget!r}; it has {listed}")


class WalletExists(Conflict):
    """A wallet of that name exists with other terms, or one that differs only in case."""

    code = "wallet_exists"

    def __init__(self, wallet: str, *, existing: str, problem: str) -> None:
        self.wallet, self.existing = wallet, existing
        super().__init__(f"wallet {wallet!r}: {problem}")


class KeyReused(Conflict):
    """The key was used before for the same verb, with other content; `differs` names the fields."""

    code = "key_reused"

    def __init__(self, verb: str, key: str, *, differs: Mapping[str, tuple[str, str]]) -> None:
        self.verb, self.key, self.differs = verb, key, dict(differs)
        told = "; ".join(
            f"{field} was {before}, now {after}" for field, (before, after) in differs.items()
        )
        super().__init__(f"{verb} key {key!r} was used before with other content: {told}")


class HoldClosed(Conflict):
    """The hold is settled or released already; `state` says which."""

    code = "hold_closed"

    def __init__(self, job: str, *, state: str, problem: str) -> None:
        self.job, self.state = job, state
        super().__init__(f"job {job!r} {problem}")


class RefundAboveCharge(Conflict):
    """More would be given back than was charged and not yet refunded."""

    code = "refund_above_charge"

    def __init__(self, job: str, *, asked_e8: int, refundable_e8: int) -> None:
        self.job, self.asked_e8, self.refundable_e8 = job, asked_e8, refundable_e8
        if refundable_e8:
            problem = (
                f"a refund of {in_credits(asked_e8)} is more than the"
                f" {show_credits(refundable_e8)} charged and not yet refunded"
            )
        else:
            problem = "nothing is charged that was not refunded already"
        super().__init__(f"job {job!r}: {problem}")


class BatchRefused(Conflict):
    """An item of an all-or-nothing batch was refused, so nothing was written."""

    code = "batch_refused"

    def __init__(self, index: int, error: LedgerError) -> None:
        self.index, self.error = index, error
        super().__init__(f"item {index} of the batch: {error}; nothing was written")


class StoreError(LedgerError):
    """The database cannot be used as it is."""

    code = "store_error"
    exit_status = 8


class StoreUnavailable(StoreError):
    """The database cannot be reached, written to, or has no space left."""

    code = "store_unavailable"


class StoreLocked(StoreError):
    """Another process kept the database locked for longer than the timeout."""

    code = "store_locked"


class NotALedger(StoreError):
    """The file is not a database, or the database holds something else."""

    code = "not_a_ledger"


class NeedsMigration(StoreError):
    """The tables are older than this library, or missing; `kling-ledger db upgrade` helps."""

    code = "needs_migration"


class NewerStore(StoreError):
    """The tables were made by a newer version of this library."""

    code = "newer_store"


class OutputError(LedgerError):
    """A file or folder cannot be written as asked; what was at `path` before is still there."""

    code = "output_error"
    exit_status = 7

    def __init__(self, path: str, problem: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(f"{path}: {problem}")


class VerificationFailed(LedgerError):
    """The book contradicts itself; `findings` has what was found, the first one first."""

    code = "verification_failed"
    exit_status = 9

    def __init__(self, findings: Sequence[object]) -> None:
        self.findings = tuple(findings)
        more = f" (and {len(self.findings) - 1} more)" if len(self.findings) > 1 else ""
        super().__init__(f"verification failed: {self.findings[0]}{more}")


class MissingExtra(LedgerError):
    """An optional dependency is not installed; `extra` names what to install."""

    code = "missing_extra"
    exit_status = 2

    def __init__(self, extra: str, purpose: str) -> None:
        self.extra, self.purpose = extra, purpose
        super().__init__(
            f"{purpose} needs an optional dependency: python -m pip install 'kling-ledger[{extra}]'"
        )


def _waiting(blocked: Blocked) -> str:
    if blocked.frees_at is not None:
        earlier = ", or earlier if open holds give back enough" if blocked.held_e8 else ""
        return f"there is room from {blocked.frees_at}{earlier}"
    return "open holds may give back enough" if blocked.retryable else "waiting does not help"


def _also(blocking: Sequence[Blocked]) -> str:
    others = [f"budget {item.limit!r}" for item in blocking[1:]]
    return f"; also blocked by {', '.join(others)}" if others else ""

"""Corrections: proposed for every open break, looked at by a person, then applied once.

A file of corrections has one JSON object a line. Whoever reviews it may delete lines, or change
the action: write a small difference off, explain one that is right, or leave one for later.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ledger.book import Book
from ledger.book.items import Charge, Extend
from ledger.breaks import BreakRecord
from ledger.errors import BatchRefused, Fault, InvalidCorrections, LedgerError
from ledger.records import Entry
from ledger.units import Amount, credits_to_e8, e8_to_credits, show_credits

__all__ = [
    "Action",
    "Applied",
    "Correction",
    "apply_corrections",
    "propose",
    "read_corrections",
    "written",
]

Action = Literal["charge", "extend", "refund", "release", "adjust", "write_off", "explain", "none"]
"""What becomes of a break: an entry of that kind, a write-off, an explanation, or nothing yet."""

_MOVES = ("charge", "release", "refund")
"""Entries after which a job is not what it was when it was compared."""

_LONGEST_LINE = 100_000


def _decimal(value: object) -> object:
    """Amounts are texts: a float has lost its digits before it could be read."""
    if isinstance(value, float):
        raise ValueError('must be a text such as "4.0824", not a float')  # noqa: TRY004
    return value


class Correction(BaseModel):
    """One line of a file of corrections."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    break_id: str = Field(alias="break")
    """The break it closes."""
    action: Action
    """What to do."""
    kind: str | None = None
    """Kind of the break, for the reader."""
    cause: str | None = None
    """What explains the difference, for the reader."""
    wallet: str | None = None
    """Needed for an adjustment."""
    job: str | None = None
    """Needed for a charge, extension, refund or release."""
    amount: Annotated[Decimal | None, BeforeValidator(_decimal)] = None
    """Credits: above zero but for an adjustment, which has a sign."""
    extend: Annotated[Decimal | None, BeforeValidator(_decimal)] = None
    """Credits that the hold is extended by before a charge that it would reject, with it or not
    at all."""
    difference: Annotated[Decimal | None, BeforeValidator(_decimal)] = None
    """Theirs less ours, for the reader."""
    key: str | None = None
    """Key of the entry; the break's name, if left out."""
    reason: str | None = None
    """Why; kept with the entry, or as the note of what is explained or written off."""
    owner: str | None = None
    """Who answers for it."""


class Applied(NamedTuple):
    """What became of one correction."""

    correction: Correction
    outcome: Literal["applied", "already", "waits", "skipped", "refused"]
    """already: it was applied before; waits: in the inbox, until its job is reserved."""
    entry: Entry | None
    """The entry that was written, or had been."""
    error: LedgerError | None
    """Why it was refused."""


def propose(breaks: Iterable[BreakRecord]) -> Iterator[Correction]:
    """What would make the book agree, for every open break; nothing is written.

    A break that no entry of the book can mend has the action `none`, with the reason why.
    """
    for record in breaks:
        if record.status == "open":
            yield _proposed(record)


def written(corrections: Iterable[Correction]) -> Iterator[str]:
    """Corrections as lines of JSON."""
    for item in corrections:
        values = item.model_dump(mode="json", by_alias=True, exclude_none=True)
        yield json.dumps(values, ensure_ascii=False)


def read_corrections(path: str | Path) -> list[Correction]:
    """Read a file of corrections; blank lines are passed over.

    Raises:
        InvalidCorrections: lines that cannot be read, each with its number and what is wrong.
    """
    found, faults = [], []
    try:
        lines = Path(path).read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidCorrections(str(path), [Fault("", f"cannot be read: {_why(error)}")]) from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                found.append(_read(line))
            except ValidationError as error:
                faults += [_fault(number, item) for item in error.errors()]
            except ValueError as error:
                faults.append(Fault(f"line {number}", str(error)))
    if faults:
        raise InvalidCorrections(str(path), faults)
    return found


def apply_corrections(
    book: Book, corrections: Sequence[Correction], *, write_off_cap: Amount | None = None
) -> list[Applied]:
    """Apply corrections one by one; each closes its break, and none is applied twice.

    A correction that is refused changes nothing and does not stop the others.

    Args:
        book: where the breaks were found.
        corrections: what a person has looked at.
        write_off_cap: the most credits that may be written off in a period altogether.
    """
    return [_apply(book, item, write_off_cap) for item in corrections]


def _proposed(record: BreakRecord) -> Correction:
    found = record.details.get("proposal") or {}
    verb = found.get("verb")
    amount = None if verb is None or verb == "release" else Decimal(found["amount"])
    return Correction.model_validate(
        {
            "break": record.id,
            "action": verb or "none",
            "kind": record.kind,
            "cause": record.cause,
            "wallet": record.wallet,
            "job": record.job,
            "amount": amount,
            "extend": record.details.get("extend_first") if verb == "charge" else None,
            "difference": record.difference,
            "reason": _reason(record, found),
            "owner": record.owner,
        }
    )


def _reason(record: BreakRecord, proposal: dict[str, Any]) -> str:
    told = proposal.get("reason") or record.kind
    return f"{told} ({record.id})"


def _apply(book: Book, item: Correction, cap: Amount | None) -> Applied:
    if item.action == "none":
        return Applied(item, "skipped", None, None)
    try:
        record = book.break_named(item.break_id)
        if item.action in {"write_off", "explain"}:
            return _said(book, item, record, cap)
        return _posted(book, item, record)
    except LedgerError as error:
        return Applied(item, "refused", None, error)


def _said(book: Book, item: Correction, record: BreakRecord, cap: Amount | None) -> Applied:
    status: Any = "written_off" if item.action == "write_off" else "explained"
    _check(item, record, is_done=record.status == status)
    if record.status == status:
        return Applied(item, "already", None, None)
    book.resolve_break(record.id, status, note=item.reason, owner=item.owner, cap=cap)
    return Applied(item, "applied", None, None)


def _posted(book: Book, item: Correction, record: BreakRecord) -> Applied:
    """Write the entry, then close the break; done again after a kill, the key finds the entry."""
    key = item.key or f"{record.id} {show_credits(record.difference_e8)}"
    closed_by = f"{item.action}:{key}"
    is_done = record.status == "adjusted" and record.closed_by == closed_by
    _check(item, record, is_done=is_done)
    if is_done:
        return Applied(item, "already", None, None)
    _check_unchanged(book, record, closed_by)
    entry = _entry(book, item, record, key)
    if not isinstance(entry, Entry):
        return Applied(item, "waits", None, None)
    book.resolve_break(
        record.id, "adjusted", note=item.reason, owner=item.owner, closed_by=closed_by
    )
    return Applied(item, "applied", entry, None)


def _entry(book: Book, item: Correction, record: BreakRecord, key: str) -> Any:
    # Dated like the break; where that period is closed, the entry names it.
    at = min(record.happened_at, book.now())
    if item.action == "charge":
        return _charge(book, item, key, at)
    if item.action == "extend":
        return _extended(book, item, record, key)
    if item.action == "refund":
        return book.refund(str(item.job), item.amount, key=key, reason=item.reason, at=at)
    if item.action == "release":
        return book.release(str(item.job), key=key, reason=item.reason)
    reason = str(item.reason)
    return book.adjust(str(item.wallet), item.amount or 0, key=key, reason=reason, at=at)


def _charge(book: Book, item: Correction, key: str, at: datetime) -> Any:
    """Charge a job; where its hold is to be extended for that, both or neither.

    Raises:
        Refused: the charge; or its extension, as there is no room for it.
    """
    charge = Charge(str(item.job), item.amount, key=key, at=at)
    if item.extend is None:
        return book.charge(charge.job, charge.amount, key=key, at=at)
    # Dated like the charge: it never takes more than is held.
    extend = Extend(charge.job, f"{key} room", item.extend, at=at)
    try:
        return book.batch([extend, charge], atomic=True)[1]
    except BatchRefused as error:
        raise error.error from None


def _extended(book: Book, item: Correction, record: BreakRecord, key: str) -> Any:
    """Extend a hold, so that what it has rejected is charged; then charge what is left, if any.

    Done again after a kill, the extension and the charge are found by their keys.

    Raises:
        InvalidCorrections: what waited has charged more than the bill says; or something was given
            back since, which is not to be charged again.
    """
    job, at = str(item.job), min(record.happened_at, book.now())
    entry = book.extend(job, key=key, amount=item.amount, at=at)
    made = [item for item in book.history(job) if item.seq > entry.seq and item.kind in _MOVES]
    charged_e8 = -sum(item.posted_e8 for item in made if item.kind == "charge")
    back = [item for item in made if item.kind != "charge"]
    if back or charged_e8 > record.difference_e8:
        told = f"{show_credits(charged_e8)} credits were charged since"
        told = f"{told}, not {show_credits(record.difference_e8)}"
        if back:
            told = f"has changed since ({back[0].kind} {back[0].key!r})"
        problem = f"was extended, and {told}; compare again"
        raise InvalidCorrections(f"the correction of {record.id}", [Fault("job", problem)])
    if charged_e8 < record.difference_e8:
        rest_e8 = record.difference_e8 - charged_e8
        return book.charge(job, e8_to_credits(rest_e8), key=f"{key} rest", at=at)
    # What moved the credits is what a reader looks for.
    return made[0] if made else entry


def _check(item: Correction, record: BreakRecord, *, is_done: bool) -> None:
    """Refuse a correction that is not about its break, or would not mend it.

    Raises:
        InvalidCorrections: the break is not open, unless it is done already; or with every fault.
    """
    if not is_done:
        # What a break that was dealt with would need says nothing to whoever applies a file twice.
        _check_open(record)
    faults = []
    if record.job is not None and item.job not in (None, record.job):
        faults.append(Fault("job", f"is {item.job!r}; the break is about {record.job!r}"))
    if item.action in {"charge", "extend", "refund", "release"} and item.job is None:
        entry = "an extension" if item.action == "extend" else f"a {item.action}"
        faults.append(Fault("job", f"is needed for {entry}"))
    if item.action == "extend" and (record.details.get("proposal") or {}).get("verb") != "extend":
        problem = "an extension does not mend this break; a charge may have one, as `extend`"
        faults.append(Fault("action", problem))
    if item.extend is not None and item.action != "charge":
        faults.append(Fault("extend", "is for a charge, which it makes room for"))
    if item.action == "adjust":
        faults += [
            Fault(field, "is needed for an adjustment")
            for field in ("wallet", "reason")
            if getattr(item, field) is None
        ]
    wanted = _mends(item.action, record)
    if wanted is not None and item.amount != wanted:
        told = "not given" if item.amount is None else show_credits(credits_to_e8(abs(item.amount)))
        faults.append(Fault("amount", f"is {told}; what mends the break is {_shown(wanted)}"))
    if faults:
        raise InvalidCorrections(f"the correction of {record.id}", faults)


def _check_open(record: BreakRecord) -> None:
    """Refuse what was proposed for a break that has been dealt with since.

    Raises:
        InvalidCorrections: the break is not open.
    """
    if record.status != "open":
        told = "was not found any more" if record.status == "cleared" else f"is {record.status}"
        problem = f"{told.replace('_', ' ')}; to correct it all the same, open it again"
        raise InvalidCorrections(f"the correction of {record.id}", [Fault("break", problem)])


def _check_unchanged(book: Book, record: BreakRecord, closed_by: str) -> None:
    """Refuse an entry where the job has been charged or refunded since it was compared.

    A callback that came in the meantime may have mended the break already.

    Raises:
        InvalidCorrections: the job is not what it was.
    """
    last = record.details.get("last_entry")
    if last is None or record.job is None:
        return
    later: list[Entry] = []
    for item in book.history(record.job):
        name = f"{item.kind}:{item.key}"
        if name == closed_by and item.kind == "extend":
            # Before a kill; what came after it was let through by it.
            break
        if item.seq > last and item.kind in _MOVES and name != closed_by:
            later.append(item)
    if not later:
        return
    # Other breaks of the same job may be mended in the same run.
    corrected = {item.closed_by for item in book.breaks(None, job=record.job)}
    others = [item for item in later if f"{item.kind}:{item.key}" not in corrected]
    if others:
        told = f"{others[0].kind} {others[0].key!r}"
        problem = f"has changed since it was compared ({told}); compare again"
        raise InvalidCorrections(f"the correction of {record.id}", [Fault("job", problem)])


def _mends(action: str, record: BreakRecord) -> Decimal | None:
    """The amount an entry must have; None where it has none or cannot be told."""
    proposal = record.details.get("proposal") or {}
    if action not in {"charge", "extend", "refund", "adjust"}:
        return None
    verb = proposal.get("verb")
    if action == verb:
        return Decimal(proposal["amount"])
    if action == "adjust" and verb in {"charge", "refund"}:
        # Not the whole difference, where some of it was never taken from the wallet.
        return Decimal(proposal["amount"]).copy_abs() * (1 if verb == "refund" else -1)
    return -record.difference if action == "adjust" else abs(record.difference)


def _shown(amount: Decimal) -> str:
    return format(amount.normalize(), "f")


def _read(line: str) -> Correction:
    if len(line) > _LONGEST_LINE:
        raise ValueError(f"has {len(line)} characters; at most {_LONGEST_LINE}")
    try:
        values = json.loads(line, parse_float=Decimal, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from None
    return Correction.model_validate(values)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a field stands there twice")
    return values


def _fault(number: int, error: Any) -> Fault:
    place = ".".join(map(str, error["loc"]))
    return Fault(f"line {number}" + (f", {place}" if place else ""), str(error["msg"]))


def _why(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "it is not UTF-8 text"

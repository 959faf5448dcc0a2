"""What comparisons with the provider's bill have found: kept, listed, and closed one by one."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any, TypeVar

from ledger.book.items import When
from ledger.book.reading import Reader
from ledger.breaks import (
    BREAK_KINDS,
    BREAK_STATUSES,
    BreakRecord,
    BreakStatus,
    Kept,
    Reconciled,
    ReconciledState,
    ReconciliationRecord,
)
from ledger.errors import Fault, InvalidEntry, StoreUnavailable, UnknownBreak, WriteOffAboveCap
from ledger.records import ImportRecord, name, us
from ledger.store import KeyTaken, Session, Stale, Transient, evidence
from ledger.store.periods import changed_since_compared, covering, unseen
from ledger.units import Amount, credits_to_e8, parse_moment

__all__ = ["Evidence"]

T = TypeVar("T")

_LONGEST_NOTE = 1_000

_FOUND = (
    "wallet",
    "job",
    "task",
    "ours_e8",
    "theirs_e8",
    "difference_e8",
    "happened_at_us",
    "cause",
    "evidence",
    "since_us",
    "until_us",
)
"""What a comparison writes of a break that it finds again; the rest is what people said of it."""


class Evidence(Reader):
    """The half of a book that knows what was found when it was held against a bill."""

    def keep_reconciliation(
        self,
        *,
        since: datetime | date | str,
        until: datetime | date | str,
        digest: bytes,
        options: Mapping[str, Any],
        result: Mapping[str, Any],
        breaks: Sequence[BreakRecord],
        files: Sequence[ImportRecord] = (),
    ) -> Kept:
        """Keep one comparison and its breaks, in one transaction.

        A break that is known keeps its status, owner and note; an open one of the same period that
        is not among them any more is cleared, one about purchases only where invoices were
        compared. The same comparison again changes nothing. A break whose name is already that of
        something in another period gets a number behind it.

        Args:
            since: first moment of the period.
            until: first moment after it.
            digest: SHA-256 of what was compared.
            options: how it was compared, as plain values for JSON.
            result: counts and sums, as plain values for JSON.
            breaks: what was found; status and the numbers of comparisons are filled in here.
            files: what was read for it; one that is known is not kept again.

        Raises:
            InvalidEntry, InvalidMoment: a period that ends before it starts, a break of no known
                kind, or one twice.
        """
        since_us, until_us = us(parse_moment(since)), us(parse_moment(until))
        if since_us >= until_us:
            raise InvalidEntry("the period", [Fault("until", "must be later than its start")])
        _check(breaks)
        given = breaks
        now_us = self._now_us()
        said = (since_us, until_us, digest, _text(options), _text(result))

        with_cash = any(item.kind == "cash" for item in files)

        def unseen(session: Session) -> int:
            return changed_since_compared(session, self.book, since_us, until_us)

        def keep(session: Session) -> Kept:
            breaks = self._own_names(session, since_us, until_us, given)
            latest = evidence.latest_reconciliation(session, self.book)
            known = evidence.breaks_by_id(session, self.book, [item.id for item in breaks])
            changed = [i for i in breaks if i.id in known and _differs(i, known[i.id])]
            fresh = [item for item in breaks if item.id not in known]
            names = {item.id for item in breaks}
            gone = self._gone(session, since_us, until_us, names, with_cash=with_cash)
            names |= {item.id for item in gone}
            others = self._others(session, since_us, until_us, names)
            same = latest is not None and latest[2:7] == said
            if latest is not None and same and not (fresh or changed or gone or unseen(session)):
                found = tuple(known[item.id] for item in breaks)
                return Kept(latest, 0, len(known), 0, found, others, replayed=True)
            seq = 1 if latest is None else latest.seq + 1
            record = ReconciliationRecord(self.book, seq, *said, now_us)
            evidence.add_reconciliation(session, record)
            evidence.add_breaks(session, [_new(item, record) for item in fresh])
            evidence.see_breaks(session, self.book, list(known), seq)
            for item in changed:
                _take_over(session, known[item.id], item, now_us)
            for item in gone:
                cleared = item._replace(status="cleared", changed_at_us=now_us)
                evidence.change_break(session, cleared, ("status", "changed_at_us"))
            evidence.add_imports(session, [item._replace(book=self.book) for item in files])
            back = sum(_comes_back(item, known[item.id]) for item in changed)
            now = evidence.breaks_by_id(session, self.book, [item.id for item in breaks])
            stand = tuple(now[item.id] for item in breaks)
            new = len(fresh) + back
            return Kept(record, new, len(known) - back, len(gone), stand, others, replayed=False)

        return self._keeping(keep)

    def reconciliations(self) -> list[ReconciliationRecord]:
        """Every comparison that was kept, latest first."""
        with self._store.reading() as session:
            return evidence.reconciliations(session, self.book)

    def breaks(
        self,
        status: BreakStatus | None = "open",
        *,
        kind: str | None = None,
        job: str | None = None,
        since: When = None,
        until: When = None,
    ) -> list[BreakRecord]:
        """Breaks by status (all of them, if None), oldest first; of what happened in a period.

        Raises:
            InvalidEntry, InvalidMoment: what was given.
        """
        _one_of("status", status, BREAK_STATUSES)
        _one_of("kind", kind, BREAK_KINDS)
        wanted = {
            "status = ?": status,
            "kind = ?": kind,
            "job = ?": job,
            "happened_at_us >= ?": None if since is None else us(parse_moment(since)),
            "happened_at_us < ?": None if until is None else us(parse_moment(until)),
        }
        given = {condition: value for condition, value in wanted.items() if value is not None}
        with self._store.reading() as session:
            return evidence.breaks(session, self.book, given)

    def break_named(self, break_id: str) -> BreakRecord:
        """One break.

        Raises:
            UnknownBreak: no comparison has found one of that name.
        """
        with self._store.reading() as session:
            return self._known_break(session, break_id)

    def resolve_break(
        self,
        break_id: str,
        status: BreakStatus,
        *,
        note: str | None = None,
        owner: str | None = None,
        closed_by: str | None = None,
        cap: Amount | None = None,
    ) -> BreakRecord:
        """Say what became of a break, or open it again; the same again changes nothing.

        Args:
            break_id: the break.
            status: explained, adjusted, written_off, or open again.
            note: why; needed for what is explained or written off.
            owner: who answers for it.
            closed_by: the entry that corrected it, as `kind:key`.
            cap: the most credits that may be written off in the break's period, all its written-off
                breaks together; needed for a write-off.

        Raises:
            InvalidEntry, InvalidAmount: what was given.
            UnknownBreak: no comparison has found one of that name.
            WriteOffAboveCap: the sum written off in the period would be above the cap.
        """
        cap_e8 = _cap(status, note, cap)
        owner = None if owner is None else name(owner, "the owner")
        now_us = self._now_us()

        def resolve(session: Session) -> BreakRecord:
            before = self._known_break(session, break_id, lock=True)
            after = before._replace(
                status=status,
                note=note or before.note,
                owner=owner or before.owner,
                closed_by=closed_by or (None if status == "open" else before.closed_by),
            )
            if after == before:
                return before
            if status == "written_off":
                self._check_cap(session, after, cap_e8)
            after = after._replace(changed_at_us=now_us)
            fields = ("status", "note", "owner", "closed_by", "changed_at_us")
            evidence.change_break(session, after, fields)
            return after

        return self._keeping(resolve)

    def assign_break(self, break_id: str, owner: str) -> BreakRecord:
        """Say who answers for a break.

        Raises:
            InvalidEntry: the owner's name.
            UnknownBreak: no comparison has found one of that name.
        """
        owner = name(owner, "the owner")
        now_us = self._now_us()

        def assign(session: Session) -> BreakRecord:
            found = self._known_break(session, break_id, lock=True)
            if found.owner != owner:
                found = found._replace(owner=owner, changed_at_us=now_us)
                evidence.change_break(session, found, ("owner", "changed_at_us"))
            return found

        return self._keeping(assign)

    def reconciled(
        self,
        *,
        since: datetime | date | str,
        until: datetime | date | str,
        job: str | None = None,
    ) -> Reconciled:
        """Whether the figures of a period, or of a job in it, agree with the provider's bill.

        A period counts as compared where comparisons cover all of it, one alone or several
        together. Once something is charged or refunded in it that they have not seen, it is to be
        compared again; corrections of breaks are no such thing.

        Raises:
            InvalidMoment: what was given.
        """
        since_us, until_us = us(parse_moment(since)), us(parse_moment(until))
        with self._store.reading() as session:
            compared = covering(session, self.book, since_us, until_us)
            changed = changed_since_compared(session, self.book, since_us, until_us, job=job)
            open_e8 = evidence.open_differences(session, self.book, since_us, until_us, job=job)
        state: ReconciledState = "open breaks" if open_e8 else "reconciled"
        if compared is None or changed:
            state = "not yet"
        return Reconciled(state, len(open_e8), sum(open_e8), compared, changed)

    def unseen_jobs(
        self, *, since: datetime | date | str, until: datetime | date | str
    ) -> frozenset[str]:
        """Jobs with a charge or refund in a period that came after it was compared.

        Raises:
            InvalidMoment: what was given.
        """
        since_us, until_us = us(parse_moment(since)), us(parse_moment(until))
        with self._store.reading() as session:
            return frozenset(unseen(session, self.book, since_us, until_us).values())

    # How it is written

    def _keeping(self, change: Callable[[Session], T]) -> T:
        """One transaction, done again where another one was in the way."""

        def attempt() -> T:
            with self._store.writing() as session:
                return change(session)

        try:
            return self._store.persist(attempt)
        except (KeyTaken, Stale, Transient) as error:
            raise StoreUnavailable(f"{error}; nothing is known to be written: try again") from error

    def _known_break(self, session: Session, break_id: str, *, lock: bool = False) -> BreakRecord:
        found = evidence.break_named(session, self.book, break_id, lock=lock)
        if found is None:
            raise UnknownBreak(break_id, book=self.book)
        return found

    def _own_names(
        self, session: Session, since_us: int, until_us: int, given: Sequence[BreakRecord]
    ) -> list[BreakRecord]:
        """The breaks, those with another name whose own is that of something in another period.

        A task that is charged in October and again in November is twice the same kind of break. A
        hold settles once: what is said of it in November is about the same one.
        """
        named, asked, number = list(given), list(range(len(given))), 1
        while asked:
            ids = [named[place].id for place in asked]
            known = evidence.breaks_by_id(session, self.book, ids)
            asked = [
                place
                for place in asked
                if (before := known.get(named[place].id)) is not None
                and before.kind != "never_settled"
                and since_us <= named[place].happened_at_us < until_us
                and not since_us <= before.happened_at_us < until_us
            ]
            number += 1
            for place in asked:
                named[place] = named[place]._replace(id=f"{given[place].id}-{number}")
        return named

    def _gone(
        self,
        session: Session,
        since_us: int,
        until_us: int,
        found: Collection[str],
        *,
        with_cash: bool,
    ) -> list[BreakRecord]:
        """Open breaks of the same period, or of a part of it, that were not found any more.

        One that was found over a longer period may be about what lies outside of this one, too.
        """
        within = {"status = ?": "open", "since_us >= ?": since_us, "until_us <= ?": until_us}
        return [
            record
            for record in evidence.breaks(session, self.book, within)
            if record.id not in found and (with_cash or record.details.get("scope") != "cash")
        ]

    def _others(
        self, session: Session, since_us: int, until_us: int, names: Collection[str]
    ) -> tuple[BreakRecord, ...]:
        """Open breaks about what happened in a period, but for those named."""
        happened = {"happened_at_us >= ?": since_us, "happened_at_us < ?": until_us}
        found = evidence.breaks(session, self.book, {"status = ?": "open", **happened})
        return tuple(record for record in found if record.id not in names)

    def _check_cap(self, session: Session, record: BreakRecord, cap_e8: int) -> None:
        if not record.difference_e8:
            problem = "cannot be written_off: no credits are missing; explain it"
            raise InvalidEntry("the break", [Fault("status", problem)])
        # One after another: two that ask at once would each see only the other ones.
        evidence.lock_write_offs(session, self.book)
        before_e8 = evidence.written_off(session, self.book, record)
        asked_e8 = abs(record.difference_e8)
        if before_e8 + asked_e8 > cap_e8:
            raise WriteOffAboveCap(record.id, asked_e8=asked_e8, before_e8=before_e8, cap_e8=cap_e8)


def _text(values: Mapping[str, Any]) -> str:
    return json.dumps(values, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _check(breaks: Sequence[BreakRecord]) -> None:
    seen: set[str] = set()
    for item in breaks:
        _one_of("kind", item.kind, BREAK_KINDS)
        if item.id in seen:
            raise InvalidEntry("the breaks", [Fault(item.id, "was given twice")])
        seen.add(item.id)


def _cap(status: str, note: str | None, cap: Amount | None) -> int:
    """The cap of a write-off in units of 10^-8 credit, once what was given has been checked."""
    _one_of("status", status, ("open", "explained", "adjusted", "written_off"))
    if status in {"explained", "written_off"} and not note:
        raise InvalidEntry("the break", [Fault("note", f"is needed: why is it {status}?")])
    if note is not None and len(note) > _LONGEST_NOTE:
        problem = f"has {len(note)} characters; at most {_LONGEST_NOTE}"
        raise InvalidEntry("the break", [Fault("note", problem)])
    if cap is not None:
        return credits_to_e8(cap)
    if status == "written_off":
        problem = "is needed: the most credits that may be written off in the period"
        raise InvalidEntry("the break", [Fault("cap", problem)])
    return 0


def _one_of(field: str, value: str | None, known: Collection[str]) -> None:
    if value is not None and value not in known:
        raise InvalidEntry("the break", [Fault(field, f"is {value!r}, not {', '.join(known)}")])


def _differs(found: BreakRecord, known: BreakRecord) -> bool:
    """Whether a comparison says other things of a break than the one before."""
    return known.status == "cleared" or any(
        getattr(found, field) != getattr(known, field) for field in _FOUND
    )


def _comes_back(found: BreakRecord, known: BreakRecord) -> bool:
    """Whether a closed break is open again: it was gone, or what was said was of another sum."""
    changed = found.difference_e8 != known.difference_e8
    return known.status == "cleared" or (known.status != "open" and changed)


def _new(item: BreakRecord, record: ReconciliationRecord) -> BreakRecord:
    return item._replace(
        book=record.book,
        status="open",
        found_seq=record.seq,
        seen_seq=record.seq,
        changed_at_us=record.recorded_at_us,
    )


def _take_over(session: Session, known: BreakRecord, found: BreakRecord, now_us: int) -> None:
    """Write what a comparison now says; what was cleared, or said of another sum, is open again."""
    status = "open" if _comes_back(found, known) else known.status
    record = found._replace(book=known.book, status=status, changed_at_us=now_us)
    evidence.change_break(session, record, (*_FOUND, "status", "changed_at_us"))

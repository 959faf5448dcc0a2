"""Budgets in a book: setting and removing them, and moving their windows with each job."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import NamedTuple

from ledger.book.calls import Call, Content, earlier, fits, made, text_of
from ledger.book.work import Wallet, Work
from ledger.budgets import Budget, Level, Window, counts_from, fullest, rebuilt, rolling_frees_at
from ledger.errors import UnknownBudget
from ledger.records import Entry, name

__all__ = ["Move", "level_now", "moved", "planned", "remove_budget", "set_budget"]

_by_name = itemgetter(Budget._fields.index("name"))


def level_now(
    work: Work, wallet: Wallet, budget: Budget, share: str, at_us: int, *, amount_e8: int = 0
) -> tuple[Level, int | None]:
    """How full a budget is at a moment, with its peak so far, and when it has room by itself."""
    window = budget.window(at_us)
    if budget.period != "rolling":
        return work.level(wallet, budget, share, window), window.end_us
    steps = {start: level for start, (_, level) in work.steps(wallet, budget, share, at_us).items()}
    level = fullest(budget, steps, at_us)
    if level.total_e8 + amount_e8 <= budget.limit_e8:
        return level, None
    totals = [(start, item.total_e8) for start, item in steps.items()]
    return level, rolling_frees_at(budget, totals, amount_e8)


class Move(NamedTuple):
    """What one job does to one window of a budget."""

    budget: Budget
    share: str
    window: Window
    level: Level
    before_e8: int
    """The highest total so far, of the window or of the rolling one that it is in."""
    total_e8: int


def planned(
    work: Work,
    wallet: Wallet,
    labels: str,
    reserved_at_us: int,
    *,
    held_e8: int = 0,
    used_e8: int = 0,
) -> list[Move]:
    """How a job will move every budget's window; nothing is staged yet.

    Raises:
        InvalidAmount: a window would hold more than a ledger column does.
    """
    budgets = work.budgets_of(wallet)
    if not budgets or not (held_e8 or used_e8):
        return []
    texts = json.loads(labels)
    moves = []
    for budget in budgets:
        share = budget.group(texts)
        if share is None or not budget.counts(reserved_at_us):
            continue
        window = budget.window(reserved_at_us)
        before = work.level(wallet, budget, share, window)
        after = budget.moved(before, held_e8, used_e8)
        total_e8, peak_e8 = after.total_e8, before.peak_e8
        if budget.period == "rolling":
            now, _ = level_now(work, wallet, budget, share, reserved_at_us)
            total_e8 = now.total_e8 - before.total_e8 + after.total_e8
            peak_e8 = now.peak_e8
            after = after._replace(peak_e8=max(before.peak_e8, total_e8))
        fits(max(total_e8, after.total_e8))
        moves.append(Move(budget, share, window, after, peak_e8, total_e8))
    return moves


def moved(work: Work, wallet: Wallet, moves: Iterable[Move]) -> list[tuple[str, str, str]]:
    """Stage what was planned; gives the thresholds crossed for the first time."""
    crossed = []
    for move in moves:
        work.put_level(wallet, move.budget, move.share, move.window, move.level)
        crossed += _crossings(move.budget, move.share, move.before_e8, move.total_e8)
    return crossed


def _crossings(
    budget: Budget, share: str, before_e8: int, after_e8: int
) -> list[tuple[str, str, str]]:
    if after_e8 <= before_e8:
        return []
    whose = budget.whose(share)
    return [(budget.name, whose, percent) for percent in budget.crossed(before_e8, after_e8)]


def set_budget(work: Work, wallet_name: str, budget: Budget, key: str) -> Entry:
    """Set a budget, in place of one of the same name; what its window already holds counts."""
    name(wallet_name, "the wallet")
    call = made(work, "budget", key, budget.facts)
    if (first := earlier(work, call, _set)) is not None:
        return first
    wallet = work.wallet(wallet_name)
    since_us = counts_from(budget, work.now_us)
    return _put(work, wallet, budget._replace(counts_from_us=since_us), call)


def remove_budget(work: Work, wallet_name: str, title: str, key: str) -> Entry:
    """Stop a budget; what it was stays in the book."""
    content = {
        "wallet": name(wallet_name, "the wallet"),
        "name": name(title, "the budget"),
        "removed": True,
    }
    call = made(work, "budget", key, content)
    if (first := earlier(work, call, _removed)) is not None:
        return first
    wallet = work.wallet(wallet_name)
    found = next((item for item in work.budgets_of(wallet) if item.name == title), None)
    if found is None:
        known = [item.name for item in work.budgets_of(wallet)]
        raise UnknownBudget(wallet_name, title, known=known)
    return _put(work, wallet, found._replace(removed=1), call)


def _put(work: Work, wallet: Wallet, budget: Budget, call: Call) -> Entry:
    others = [item for item in work.budgets_of(wallet) if item.name != budget.name]
    windows = {}
    if not budget.removed:
        jobs = work.session.jobs_since(work.book, wallet.id, budget.counts_from_us)
        windows = rebuilt(budget, jobs)
    # What is reached already is told now; no later entry will be the first to reach it.
    crossed = []
    for share, (start_us, level) in sorted(_now_in(budget, windows, work.now_us).items()):
        fits(level.total_e8)
        crossed += _crossings(budget, share, 0, level.total_e8)
        end_us, own = windows[share, start_us]
        windows[share, start_us] = end_us, own._replace(peak_e8=level.total_e8)
    facts = budget.facts | {"counts_from_us": budget.counts_from_us, "crossed": crossed}
    entry = work.write(wallet, "budget", call.key, call.digest, contra="memo", facts=text_of(facts))
    budget = budget._replace(seq=entry.seq)
    wallet.budgets_seq = entry.seq
    wallet.budgets = sorted([*others, *([] if budget.removed else [budget])], key=_by_name)
    work.budgets.append(budget)
    work.rebuilt.append((wallet.id, budget.name))
    wallet.series.clear()
    for (share, start_us), (end_us, level) in windows.items():
        work.put_level(wallet, budget, share, Window(start_us, end_us), level)
    return entry


def _now_in(
    budget: Budget, windows: Mapping[tuple[str, int], tuple[int, Level]], now_us: int
) -> dict[str, tuple[int, Level]]:
    """How full each share of a budget is now: share → (the latest start that counts, level)."""
    shares: dict[str, dict[int, Level]] = {}
    for (share, start_us), (end_us, level) in windows.items():
        if start_us <= now_us < end_us:
            shares.setdefault(share, {})[start_us] = level
    if budget.period != "rolling":
        return {share: (start, steps[start]) for share, steps in shares.items() for start in steps}
    return {share: (max(steps), fullest(budget, steps, now_us)) for share, steps in shares.items()}


def _set(entry: Entry) -> Content:
    own = {"counts_from_us", "crossed"}
    return {field: value for field, value in entry.details.items() if field not in own}


def _removed(entry: Entry) -> Content:
    return {field: entry.details.get(field) for field in ("wallet", "name", "removed")}

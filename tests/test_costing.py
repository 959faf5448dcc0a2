"""What credits cost: tables worked by hand, and laws for random histories of a real book."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import histories
import pytest
from hypothesis import HealthCheck, given, settings
from writers import Clock

from ledger.book import Book
from ledger.costing import Costed, Costing, Paid, Part, costed
from ledger.records import Entry, Lot

CREDIT = 10**8
USD = 10**8


@pytest.fixture
def studio(clock: Clock) -> Iterator[Book]:
    """A book with an empty wallet `studio`, and reservations of 1 credit for `a`, `b` and `c`."""
    with Book("sqlite://", clock=clock) as book:
        book.open_wallet("studio", credit_limit=1000)
        for job in ("a", "b", "c"):
            book.reserve("studio", 1, key=job)
        yield book
        assert book.verify().findings == ()


def last(book: Book) -> Costed:
    """The last entry of the wallet, with what it cost."""
    return list(costed(histories.entries(book, "studio")))[-1]


# Entries 1 to 4 open the wallet and reserve, so the first top-up is entry, and lot, 5.


def test_what_moves_no_credits_has_no_parts(studio: Book) -> None:
    assert [item.parts + item.paid for item in costed(histories.entries(studio, "studio"))] == [
        ()
    ] * 4


def test_a_lot_comes_in_with_its_cash_and_goes_out_in_proportion(studio: Book) -> None:
    studio.top_up("studio", 300, key="bought", cash=10, currency="USD")
    assert last(studio).parts == (Part(5, 300 * CREDIT, 10 * USD, "USD"),)

    # 10 USD × 100 / 300 = 3.333 333 33|3
    studio.charge("a", 100, key="a-1", final=False)
    assert last(studio).parts == (Part(5, -100 * CREDIT, -333_333_333, "USD"),)

    # 10 USD × 200 / 300 = 6.666 666 66|6, rounded up to …67; the difference is 3.333 333 34
    studio.charge("a", 100, key="a-2", final=False)
    assert last(studio).parts == (Part(5, -100 * CREDIT, -333_333_334, "USD"),)

    # The last third makes it 10 USD.
    studio.charge("a", 100, key="a-3")
    assert last(studio).parts == (Part(5, -100 * CREDIT, -333_333_333, "USD"),)


def test_a_charge_across_two_lots_and_a_debt_has_three_parts(studio: Book) -> None:
    studio.top_up("studio", 10, key="bought", cash="0.20", currency="USD")
    studio.top_up("studio", 20, key="euros", cash=1, currency="EUR")
    studio.charge("a", 35)
    assert last(studio).parts == (
        Part(5, -10 * CREDIT, -20_000_000, "USD"),
        Part(6, -20 * CREDIT, -1 * USD, "EUR"),
        Part(None, -5 * CREDIT, 0, None),
    )


def test_the_oldest_debt_is_paid_first_and_costs_what_paid_it(studio: Book) -> None:
    studio.charge("a", 4)  # entry 5
    studio.charge("b", 6)  # entry 6
    studio.top_up("studio", 7, key="bought", cash="0.70", currency="USD")  # entry 7
    # All of 4, and 3 of 6, at 0.10 USD each; nothing of the lot is left.
    assert last(studio) == (
        last(studio).entry,
        (Part(None, 7 * CREDIT, 0, None),),
        (
            Paid(5, 4 * CREDIT, 40_000_000, "USD", 7),
            Paid(6, 3 * CREDIT, 30_000_000, "USD", 7),
        ),
    )
    studio.top_up("studio", 10, key="more", cash=3, currency="USD")
    assert last(studio).parts == (
        Part(8, 7 * CREDIT, 210_000_000, "USD"),
        Part(None, 3 * CREDIT, 0, None),
    )
    assert last(studio).paid == (Paid(6, 3 * CREDIT, 90_000_000, "USD", 8),)


def test_a_refund_brings_back_what_the_credits_had_cost(studio: Book) -> None:
    studio.top_up("studio", 300, key="bought", cash=10, currency="USD")
    studio.charge("a", 100)
    studio.charge("b", 100)
    # From 200 out to 150 out: 6.666 666 67 − 5 = 1.666 666 67
    studio.refund("a", 50)
    assert last(studio).parts == (Part(5, 50 * CREDIT, 166_666_667, "USD"),)


def test_a_refund_takes_off_what_its_own_job_still_owes_and_nothing_is_paid(studio: Book) -> None:
    studio.top_up("studio", 10, key="bought", cash=1, currency="USD")
    studio.charge("a", 15)
    studio.charge("b", 2)
    studio.refund("a", 5)
    # The older debt of `a` was 5; the 2 that `b` owes stay.
    assert last(studio).parts == (Part(None, 5 * CREDIT, 0, None),)
    assert last(studio).paid == ()
    studio.top_up("studio", 2, key="more", cash=1, currency="USD")
    assert last(studio).paid == (Paid(7, 2 * CREDIT, 1 * USD, "USD", 9),)


def test_a_refund_that_pays_the_debt_of_another_job_brings_its_cost_there(studio: Book) -> None:
    studio.top_up("studio", 10, key="dear", cash=5, currency="USD")  # lot 5
    studio.charge("a", 10)
    studio.top_up("studio", 10, key="cheap", cash=1, currency="USD")  # lot 7
    studio.charge("b", 13)  # entry 8: 10 of lot 7, 3 owed
    studio.refund("a", 10)
    # `a` had used lot 5: 3 of its credits pay for `b` at 0.50 USD, the rest goes back.
    assert last(studio).parts == (
        Part(5, 7 * CREDIT, 350_000_000, "USD"),
        Part(None, 3 * CREDIT, 0, None),
    )
    assert last(studio).paid == (Paid(8, 3 * CREDIT, 150_000_000, "USD", 5),)


def test_a_refund_whose_lots_nobody_knows_pays_from_the_newest_that_was_used(studio: Book) -> None:
    studio.charge("a", 4)  # entry 5, a debt of 4
    studio.top_up("studio", 10, key="bought", cash=5, currency="USD")  # pays it; lot 6
    studio.charge("b", 8)  # entry 7: 6 of lot 6, 2 owed
    studio.refund("a")
    # `a` has taken from no lot itself; what it used of lot 6 pays for `b`, the rest goes back.
    assert last(studio).parts == (
        Part(6, 2 * CREDIT, 1 * USD, "USD"),
        Part(None, 2 * CREDIT, 0, None),
    )
    assert last(studio).paid == (Paid(7, 2 * CREDIT, 1 * USD, "USD", 6),)


def test_a_refund_takes_no_more_from_a_lot_than_was_used_of_it(studio: Book, clock: Clock) -> None:
    studio.top_up("studio", 3, key="dear", cash=3, currency="USD")  # lot 5
    studio.charge("a", 3, key="a-1", final=False)
    studio.release("c")
    studio.top_up("studio", 10, key="cheap", cash=1, currency="USD", expires="2026-10-11")  # lot 8
    studio.charge("a", 2, key="a-2")
    clock.forward(days=2)
    studio.release("b")
    studio.lapse("studio")  # 8 of lot 8
    studio.charge("b", 5)  # entry 12, all of it owed
    assert last(studio).entry.seq == 12
    studio.refund("a")
    # 2 of lot 8 at 0.10 USD, which is all that was used of it, and 3 of lot 5 at 1 USD.
    assert last(studio).paid == (
        Paid(12, 2 * CREDIT, 20_000_000, "USD", 8),
        Paid(12, 3 * CREDIT, 300_000_000, "USD", 5),
    )


def test_promotional_and_unpriced_credits_cost_nothing(studio: Book) -> None:
    studio.top_up("studio", 5, key="gift", promotional=True)
    assert last(studio).parts == (Part(5, 5 * CREDIT, 0, None),)
    studio.top_up("studio", 5, key="unpriced")
    studio.charge("a", 8)
    assert last(studio).parts == (
        Part(5, -5 * CREDIT, 0, None),
        Part(6, -3 * CREDIT, 0, None),
    )


def test_what_lapses_takes_its_money_along(studio: Book, clock: Clock) -> None:
    studio.top_up("studio", 8, key="bought", cash=1, currency="USD", expires="2026-10-11")
    studio.charge("a", 2)
    clock.forward(days=2)
    studio.release("b")
    studio.release("c")
    studio.lapse("studio")
    # 1 USD × 2 / 8 = 0.25 is used.
    assert last(studio).entry.kind == "lapse"
    assert last(studio).parts == (Part(5, -6 * CREDIT, -75_000_000, "USD"),)


def test_an_adjustment_brings_in_a_lot_without_cost_and_takes_out_of_any(studio: Book) -> None:
    studio.top_up("studio", 10, key="bought", cash=1, currency="USD")
    studio.adjust("studio", 3, key="found", reason="counted again")
    assert last(studio).parts == (Part(6, 3 * CREDIT, 0, None),)
    studio.adjust("studio", -15, key="lost", reason="counted again")
    assert last(studio).parts == (
        Part(6, -3 * CREDIT, 0, None),
        Part(5, -10 * CREDIT, -1 * USD, "USD"),
        Part(None, -2 * CREDIT, 0, None),
    )
    studio.adjust("studio", 2, key="again", reason="counted again")
    assert last(studio).parts == (Part(None, 2 * CREDIT, 0, None),)
    assert last(studio).paid == (Paid(7, 2 * CREDIT, 0, None, 8),)


def test_a_charge_is_costed_for_what_its_policy_took(studio: Book) -> None:
    studio.top_up("studio", 10, key="bought", cash=1, currency="USD")
    studio.reserve("studio", 4, key="capped", policy="cap")
    studio.charge("capped", 9)
    assert last(studio).entry.uncollected_e8 == 5 * CREDIT
    assert last(studio).parts == (Part(5, -4 * CREDIT, -40_000_000, "USD"),)


# Laws


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(moves=histories.histories())
def test_parts_add_up_to_entries_lots_and_cash(moves: histories.Moves) -> None:
    clock = Clock()
    with Book("sqlite://", clock=clock) as book:
        histories.play(book, clock, moves)
        for wallet in book.wallets():
            check(book.lots(wallet.wallet), histories.entries(book, wallet.wallet))


def check(lots: list[Lot], entries: tuple[Entry, ...]) -> None:
    costing = Costing()
    in_lot: Counter[int | None] = Counter()
    cost_of_lot: Counter[int | None] = Counter()
    owed: Counter[int] = Counter()
    cash: Counter[str] = Counter()
    spent: Counter[str] = Counter()
    for entry in entries:
        _, parts, paid = costing.of(entry)
        assert sum(part.credits_e8 for part in parts) == entry.posted_e8
        for part in parts:
            assert part.credits_e8 != 0 <= part.cost_e8 * part.credits_e8
            in_lot[part.lot] += part.credits_e8
            cost_of_lot[part.lot] += part.cost_e8
            if part.lot is None and part.credits_e8 < 0:
                owed[entry.seq] -= part.credits_e8
        for debt in paid:
            assert debt.credits_e8 > 0 <= debt.cost_e8
            owed[debt.seq] -= debt.credits_e8
            assert owed[debt.seq] >= 0
            spent[str(debt.currency)] += debt.cost_e8
        if entry.kind == "top_up" and "cash_e8" in entry.details:
            cash[entry.details["currency"]] += entry.details["cash_e8"]
        moved: tuple[Part | Paid, ...] = (*parts, *paid)
        if entry.kind != "top_up":
            for each in moved:
                spent[str(each.currency)] -= each.cost_e8
        # Whatever was paid for credits is in lots or was spent, to the last digit, at any moment.
        left = Counter(spent)
        for rest in costing.remaining:
            left[str(rest.currency)] += rest.cost_e8
        assert +left == +cash
        assert costing.owed_e8 == max(0, -entry.posted_after_e8) == -in_lot[None]
    for lot in lots:
        assert in_lot[lot.seq] == lot.remaining_e8
    assert {rest.lot: rest.remaining_e8 for rest in costing.remaining} == {
        lot.seq: lot.remaining_e8 for lot in lots if lot.remaining_e8
    }


def test_random_histories_run_into_every_kind_of_part() -> None:
    """The laws above would hold for histories without debts and closed periods, too."""
    met: set[str] = set()

    @settings(max_examples=60, deadline=None, database=None, derandomize=True)
    @given(moves=histories.histories())
    def look(moves: histories.Moves) -> None:
        clock = Clock()
        with Book("sqlite://", clock=clock) as book:
            histories.play(book, clock, moves)
            for wallet in book.wallets():
                for item in costed(histories.entries(book, wallet.wallet)):
                    kind = item.entry.kind
                    met.update(f"{kind} {_lot(part)}" for part in item.parts)
                    met.update(f"{kind} pays" for _ in item.paid)
                    if item.entry.details.get("corrects"):
                        met.add(f"{kind} corrects")
            met.update(period.action for period in book.periods())

    look()
    assert {
        "close",
        "reopen",
        "charge corrects",
        "refund corrects",
        "top_up lot",
        "top_up debt",
        "top_up pays",
        "charge lot",
        "charge debt",
        "refund lot",
        "refund debt",
        "refund pays",
        "adjust lot",
        "adjust debt",
        "adjust pays",
        "lapse lot",
    } <= met


def _lot(part: Part) -> str:
    return "debt" if part.lot is None else "lot"

"""The reports there are: what each says, what it can be broken down by, and who makes it.

Only names stand here, so that the command line can list reports without loading a data frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from ledger.errors import Fault, InvalidEntry, MissingExtra

if TYPE_CHECKING:
    from ledger.reports.asking import Asked
    from ledger.reports.facts import Progress
    from ledger.reports.report import Report

__all__ = ["CATALOGUE", "Kind", "kind_of", "make"]


class Kind(NamedTuple):
    """One of the reports."""

    name: str
    summary: str
    """What it says, in one line."""
    home: str
    """The function that makes it, as `module:name` below `ledger.reports`."""
    by: tuple[str, ...] | None = None
    """What its rows are, where nothing else is asked for; None where they are what they are."""
    takes_span: bool = True
    """Whether it is of a stretch of time; else it is of now, or of `as_of`."""
    needs_wallet: bool = False
    takes_against: bool = False
    """Whether it can be held against another span."""

    @property
    def maker(self) -> Callable[..., Report]:
        """The function that makes it.

        Raises:
            MissingExtra: polars is not installed.
        """
        try:
            import_module("polars")
        except ModuleNotFoundError:
            raise MissingExtra("data", "a report") from None
        module, _, name = self.home.partition(":")
        found: Callable[..., Any] = getattr(import_module(f"ledger.reports.{module}"), name)
        return found


CATALOGUE: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("usage", "What jobs cost, and the seconds charged for.", "usage:usage", ("model",)),
        Kind(
            "reserved",
            "What jobs set aside, for how long, and how much of it they used.",
            "reserved:reserved",
            ("model", "length"),
        ),
        Kind(
            "failures",
            "How many jobs failed, what was given back, and what is not certain.",
            "failures:failures",
            ("model",),
        ),
        Kind(
            "variance",
            "Why cost is not what was quoted, or what another period's was.",
            "variance:variance",
            ("model",),
            takes_against=True,
        ),
        Kind(
            "budgets",
            "How full budgets are, how fast they fill, and when they run out.",
            "budgets:budgets",
            takes_span=False,
        ),
        Kind(
            "statement",
            "What one wallet had, every entry or sums of them, and what it has.",
            "statement:statement",
            ("entry",),
            needs_wallet=True,
        ),
        Kind(
            "movements",
            "Opening, top-ups, refunds, charges, adjustments, lapses, closing of every wallet.",
            "movements:movements",
        ),
        Kind(
            "trial-balance",
            "Debits and credits of every account; both come to the same.",
            "trial:trial_balance",
        ),
        Kind(
            "holds",
            "Credits that open holds keep, by age and state.",
            "holds:open_holds",
            ("age", "state"),
            takes_span=False,
        ),
        Kind(
            "expiring",
            "Credits that will expire, when, what holds keep of them, and what they cost.",
            "expiry:expiring",
            ("wallet", "lot", "currency"),
        ),
        Kind(
            "lapsed",
            "Credits that have lapsed unused, and what they had cost.",
            "expiry:lapsed",
            ("wallet", "lot", "currency"),
        ),
        Kind(
            "top-ups",
            "Credits that came in, what they cost, and what became of them.",
            "topups:top_ups",
            ("wallet", "top_up", "currency"),
        ),
        Kind(
            "valuation",
            "What the credits that are left cost, lot by lot and on average.",
            "topups:valuation",
            ("wallet", "currency"),
        ),
    )
}


def kind_of(name: str) -> Kind:
    """The report of a name.

    Raises:
        InvalidEntry: there is none.

    >>> kind_of("usage").by
    ('model',)
    """
    if name in CATALOGUE:
        return CATALOGUE[name]
    near = get_close_matches(name, CATALOGUE, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(CATALOGUE)}"
    raise InvalidEntry("the report", [Fault("", f"there is no {name!r}; {hint}")])


def make(
    name: str,
    asked: Asked,
    by: Sequence[str] | str | None = None,
    *,
    progress: Progress = lambda rows: None,  # noqa: ARG005
) -> Report:
    """Make a report by its name.

    Args:
        name: one of `CATALOGUE`.
        asked: which book and span, and what is known.
        by: dimensions of its rows; its usual ones, if None.
        progress: is told how many rows were read.

    Raises:
        InvalidEntry: there is no such report; it takes no dimensions, no span, no wallet, or
            needs one; the dimensions.
        MissingExtra: polars is not installed.

    >>> from ledger import Ledger
    >>> from ledger.reports.asking import ask
    >>> with Ledger("sqlite://") as book:
    ...     _ = book.top_up("studio", 100, key="invoice-1")
    ...     _ = book.reserve("studio", 40, key="job-1", labels={"team": "ads"})
    ...     _ = book.charge("job-1", 25)
    ...     report = make("usage", ask(book), by="team")
    >>> report.cells
    [['ads', '1', '0', '25', '0', '25', 'not yet']]
    """
    kind = kind_of(name)
    problem = None
    if by is not None and kind.by is None:
        problem = "has rows of its own; it cannot be broken down"
    elif asked.span is not None and not kind.takes_span:
        problem = "is of one moment; say --as-of instead of a period"
    elif asked.wallet is None and kind.needs_wallet:
        problem = "is of one wallet; say which"
    elif asked.against is not None and not kind.takes_against:
        problem = "cannot be held against another period"
    if problem is not None:
        raise InvalidEntry(f"report {name}", [Fault("", problem)])
    if kind.by is None:
        return kind.maker(asked, progress=progress)
    return kind.maker(asked, kind.by if by is None else by, progress=progress)

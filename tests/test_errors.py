"""Errors form one documented tree, carry facts, and survive the way between processes."""

from __future__ import annotations

import copy
import inspect
import pickle
import re

import pytest

from ledger import errors
from ledger.errors import (
    AmountTooLarge,
    BatchRefused,
    Blocked,
    BudgetExceeded,
    CannotPrice,
    ChargeAboveHold,
    Conflict,
    Disagreement,
    Fault,
    HoldClosed,
    InsufficientCredits,
    InvalidAmount,
    InvalidBudget,
    InvalidCorrections,
    InvalidEntry,
    InvalidInput,
    InvalidMapping,
    InvalidMedia,
    InvalidMessage,
    InvalidMoment,
    InvalidPlan,
    InvalidPriceFile,
    InvalidRequest,
    InvalidSeconds,
    InvalidStatement,
    KeyReused,
    LedgerError,
    MissingExtra,
    NeedsInput,
    NeedsLength,
    NeedsMigration,
    NewerStore,
    NoExchangeRate,
    NoPriceInForce,
    NotALedger,
    NotReconciled,
    OpenBreaks,
    OutputError,
    PeriodNotOver,
    PeriodOutOfOrder,
    RefundAboveCharge,
    Refused,
    RuleFailed,
    StoreError,
    StoreLocked,
    StoreUnavailable,
    TaskLinked,
    UnknownBook,
    UnknownBreak,
    UnknownBudget,
    UnknownChannel,
    UnknownJob,
    UnknownMessage,
    UnknownModel,
    UnknownOption,
    UnknownPeriod,
    UnknownVersion,
    UnknownWallet,
    VerificationFailed,
    WalletExists,
    WriteOffAboveCap,
)

FAULTS = [Fault("prompt", "is too long"), Fault("", "has no model")]

BLOCKED = [Blocked("ads", "user=li", 5, 3, 1, True, "2026-10-11T00:00:00Z")]

ONE_OF_EACH: list[LedgerError] = [
    LedgerError("anything"),
    InvalidInput("unreadable"),
    InvalidAmount("not an amount"),
    InvalidSeconds("not a length"),
    InvalidMoment("not a moment"),
    InvalidRequest("request", FAULTS),
    InvalidPriceFile("prices.toml", FAULTS[:1]),
    InvalidPlan("plan.csv", FAULTS),
    InvalidMessage("tasks.jsonl:3", FAULTS),
    InvalidStatement("october.csv", FAULTS),
    InvalidMapping("october.toml", FAULTS[:1]),
    InvalidCorrections("corrections.jsonl", FAULTS),
    InvalidMedia("clip.mp4", FAULTS),
    CannotPrice("no price"),
    UnknownModel("klingg", book="evolink", nearest=["kling-a", "kling-b"]),
    UnknownOption("kling", "quality", "8k", known=["720p", "1080p"]),
    UnknownChannel("kling", "north", known=["preferred"]),
    UnknownVersion("kling", "v0", known=["v1"]),
    NoPriceInForce("kling", "2020-01-01", first="2026-03-01"),
    NoExchangeRate("USD", "2020-01-01"),
    NeedsLength("kling", "is priced by length"),
    AmountTooLarge("too large"),
    MissingExtra("data", "estimating a plan"),
    InvalidEntry("the key", FAULTS[:1]),
    InvalidBudget("budget 'ads'", FAULTS),
    Refused("no"),
    InsufficientCredits("studio", BLOCKED),
    BudgetExceeded("studio", BLOCKED),
    ChargeAboveHold("job-1", asked_e8=5, covered_e8=3),
    WriteOffAboveCap("b-1", asked_e8=5, before_e8=3, cap_e8=7),
    Disagreement("do not agree"),
    NotReconciled("2026-10", start="2026-10-01T00:00:00Z", end="2026-11-01T00:00:00Z"),
    OpenBreaks("2026-10", count=2, difference_e8=-5),
    Conflict("does not fit"),
    UnknownWallet("studoi", book="main", nearest=["studio"]),
    UnknownJob("job-11", book="main", nearest=["job-1"]),
    UnknownBudget("studio", "adds", known=["ads"]),
    UnknownMessage("charge", "job-1", problem="waits no more: it was applied"),
    UnknownBreak("b-1", book="main"),
    TaskLinked("task-unified-1", job="job-1", asked="job-2"),
    UnknownPeriod("2026-09", last="2026-10", problem="is closed, and 2026-10 after it"),
    PeriodNotOver("2026-11", end="2026-12-01T00:00:00Z"),
    PeriodOutOfOrder("2026-12", closed_until="2026-11-01T00:00:00Z", problem="comes too early"),
    WalletExists("Studio", existing="studio", problem="differs only in case"),
    KeyReused("reserve", "job-1", differs={"amount": ("5", "6")}),
    HoldClosed("job-1", state="released", problem="is released already"),
    RefundAboveCharge("job-1", asked_e8=5, refundable_e8=3),
    BatchRefused(3, InvalidAmount("not an amount")),
    StoreError("cannot be used"),
    StoreUnavailable("is full"),
    StoreLocked("is locked"),
    NotALedger("is a picture"),
    NeedsMigration("is old"),
    NewerStore("is new"),
    OutputError("october.csv", "is there already"),
    VerificationFailed(["entry 3: hash"]),
    UnknownBook("mian", known=["main"]),
    NeedsInput("kling", ["input_seconds", "output_seconds"]),
    RuleFailed("kling", "video_output", "divides by zero"),
]


def one(kind: type[LedgerError]) -> LedgerError:
    """The example of one class."""
    return next(error for error in ONE_OF_EACH if type(error) is kind)


# Exit statuses as the design documents them.
DOCUMENTED_STATUSES = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 130}


def public_errors() -> list[type[LedgerError]]:
    found = [getattr(errors, name) for name in errors.__all__]
    return [item for item in found if issubclass(item, LedgerError)]


def facts(error: LedgerError) -> dict[str, object]:
    """What an error carries; an error inside it is compared by its class and message."""
    return {
        name: (type(value), str(value)) if isinstance(value, LedgerError) else value
        for name, value in vars(error).items()
    }


def name_of(error: LedgerError) -> str:
    return type(error).__name__


def test_every_public_error_is_exercised_here() -> None:
    assert {type(error) for error in ONE_OF_EACH} == set(public_errors())


def test_every_code_is_its_class_name_in_snake_case_and_unique() -> None:
    codes = [kind.code for kind in public_errors()]
    assert len(set(codes)) == len(codes)
    for kind in public_errors():
        assert re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower() == kind.code


def test_every_error_has_its_own_docstring_and_a_documented_exit_status() -> None:
    for kind in public_errors():
        assert "__doc__" in vars(kind), kind
        assert inspect.getdoc(kind), kind
        assert kind.exit_status in DOCUMENTED_STATUSES, kind


@pytest.mark.parametrize(
    ("family", "status"),
    [
        (InvalidInput, 7),
        (CannotPrice, 6),
        (Refused, 3),
        (Disagreement, 4),
        (Conflict, 7),
        (StoreError, 8),
        (OutputError, 7),
        (VerificationFailed, 9),
        (MissingExtra, 2),
    ],
)
def test_a_family_shares_one_exit_status(family: type[LedgerError], status: int) -> None:
    members = [kind for kind in public_errors() if issubclass(kind, family)]
    assert {kind.exit_status for kind in members} == {status}


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    tree = re.findall(r"^    ([│ ]*)(?:[├└]── )?([A-Z]\w+)", errors.__doc__ or "", re.MULTILINE)
    assert {name for _, name in tree} == {kind.__name__ for kind in public_errors()}
    parents: dict[str, str] = {}
    below: list[str] = ["LedgerError"]
    for indent, name in tree[1:]:
        depth = len(indent) // 4 + 1
        parents[name] = below[depth - 1]
        below[depth:] = [name]
    for kind in public_errors():
        if kind is not LedgerError:
            public_bases = [base for base in kind.__mro__[1:] if base.__name__ in errors.__all__]
            assert parents[kind.__name__] == public_bases[0].__name__


@pytest.mark.parametrize("error", ONE_OF_EACH, ids=name_of)
def test_an_error_survives_pickling_with_its_facts(error: LedgerError) -> None:
    found = pickle.loads(pickle.dumps(error))
    assert type(found) is type(error)
    assert str(found) == str(error)
    assert facts(found) == facts(error)


@pytest.mark.parametrize("error", ONE_OF_EACH, ids=name_of)
def test_an_error_can_be_copied_with_its_facts(error: LedgerError) -> None:
    for found in (copy.copy(error), copy.deepcopy(error)):
        assert type(found) is type(error)
        assert str(found) == str(error)
        assert facts(found) == facts(error)


def test_what_is_no_value_is_a_value_error_too() -> None:
    for kind in (InvalidAmount, InvalidSeconds, InvalidMoment):
        assert issubclass(kind, ValueError)


def test_one_fault_stands_on_the_line_of_its_subject() -> None:
    assert str(InvalidPriceFile("a.toml", FAULTS[:1])) == "a.toml: prompt: is too long"


def test_several_faults_stand_below_each_other_and_are_counted() -> None:
    error = InvalidRequest("request for kling", iter(FAULTS))
    assert str(error) == ("request for kling: 2 faults\n  - prompt: is too long\n  - has no model")
    assert error.faults == tuple(FAULTS)
    assert error.subject == "request for kling"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (one(UnknownModel), ["klingg", "evolink", "did you mean kling-a or kling-b?"]),
        (one(UnknownOption), ["kling", "quality", "'8k'", "720p, 1080p"]),
        (UnknownOption("kling", "sound", None, known=[]), ["sound is not given", "none"]),
        (one(UnknownChannel), ["kling", "'north'", "preferred"]),
        (one(UnknownVersion), ["kling", "v0", "v1"]),
        (one(NoPriceInForce), ["kling", "2020-01-01", "2026-03-01"]),
        (one(NoExchangeRate), ["USD", "2020-01-01"]),
        (one(MissingExtra), ["estimating a plan", "kling-ledger[data]"]),
        (NeedsInput("kling", ["output_seconds"]), ["kling", "on output_seconds, which has", "it"]),
        (NeedsInput("kling", ["a", "b", "c"]), ["kling", "on a, b and c, which have", "them"]),
        (RuleFailed("kling", "video", "divides by zero"), ["kling: component video: divides"]),
        (RuleFailed("kling", None, "is unavailable"), ["kling: is unavailable"]),
    ],
)
def test_a_message_names_what_was_given_and_what_would_be_right(
    error: LedgerError, words: list[str]
) -> None:
    for word in words:
        assert word in str(error)


def test_an_unknown_model_with_nothing_near_makes_no_suggestion() -> None:
    assert "did you mean" not in str(UnknownModel("zzz", book="evolink"))

"""Wallets and jobs on the command line; the figures are worked out next to the cases.

720p costs 8.1648 credits a second: a reference of 12.4 s is quoted as 13 × 8.1648 = 106.1424, and
9.2 s that were made are charged as 10 × 8.1648 = 81.648.
"""

from __future__ import annotations

import json
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from command import DEMO, ROOT, SCHEMAS, Done, call, environment, run, write
from jsonschema import Draft202012Validator

from ledger.budgets import Period
from ledger.cli import books, options
from ledger.records import Policy

NOON = datetime(2026, 10, 10, 12, tzinfo=UTC)


class Typed:
    """Commands typed in one folder, at a moment that stands still until it is moved."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder, self.env, self.now = folder, env, NOON

    def __call__(self, *words: str | Path, stdin: str = "", status: int = 0) -> Done:
        with books.clock(lambda: self.now):
            done = call(*words, stdin=stdin, cwd=self.folder, env=self.env)
        assert done.status == status, (words, done.stdout, done.stderr)
        return done

    def line(self, line: str, *, status: int = 0) -> Done:
        """The same, typed as one line."""
        return self(*shlex.split(line), status=status)

    def data(self, *words: str | Path, status: int = 0) -> Any:
        return self(*words, "--format", "json", status=status).data

    def figures(self, wallet: str = "studio") -> tuple[str, str, str]:
        """Posted, held, available."""
        found = self.data("wallet", "balance", wallet)
        return found["posted"], found["held"], found["available"]


@pytest.fixture
def typed(tmp_path: Path) -> Typed:
    """A new book with 1000 credits in the wallet `studio`."""
    typed = Typed(tmp_path)
    typed("wallet", "top-up", "studio", "1000", "--key", "invoice-1")
    bodies = json.loads((DEMO / "requests.json").read_text(encoding="utf-8"))
    write(tmp_path, "request.json", json.dumps(bodies[0]))
    return typed


# --- the whole loop, on both engines -------------------------------------------------------------


def test_a_job_is_reserved_from_its_request_and_charged_by_its_length(
    database_url: str, book: str, tmp_path: Path
) -> None:
    typed = Typed(tmp_path, KLING_LEDGER_DB=database_url, KLING_LEDGER_BOOK=book)
    bodies = json.loads((DEMO / "requests.json").read_text(encoding="utf-8"))
    request = write(tmp_path, "request.json", json.dumps(bodies[0]))
    typed("wallet", "open", "studio", "--credit-limit", "50")
    typed.line("wallet top-up studio 1000 --key i-1 --cash 14.70 --currency USD")
    typed.line("budget set studio ads 120 --key b-1 --match team=ads --period day")
    held = typed.data(
        *("reserve", "studio", "--request", request, "--seconds", "12.4"),
        *("--key", "job-1", "--label", "team=ads", "--label", "user=li"),
    )
    assert (held["entry"]["held"], held["available_after"]) == ("106.1424", "943.8576")
    refused = typed.line("reserve studio 14 --key job-2 --label team=ads", status=3)
    assert refused.stdout == ""
    assert "has 13.8576 credits left of the 14 needed" in refused.said
    assert "there is room from 2026-10-11T00:00:00Z" in refused.said
    charged = typed.data("charge", "job-1", "--seconds", "9.2")
    assert (charged["entry"]["posted"], charged["entry"]["held"]) == ("-81.648", "-106.1424")
    typed("refund", "job-1", "1.648", "--reason", "a black frame")
    assert typed.figures() == ("920", "0", "970")  # 1000 - 81.648 + 1.648, and the limit of 50
    (status,) = typed.data("budget", "status", "studio")["status"]
    assert (status["used"], status["left"], status["percent"]) == ("80", "40", "66.6")
    assert typed.data("wallet", "trial-balance")["lines"] == [
        {"account": "funding", "debit": "1000", "credit": "0"},
        {"account": "provider", "debit": "0", "credit": "80"},
        {"account": "wallets", "debit": "0", "credit": "920"},
    ]
    verified = typed.data("verify")
    assert (verified["wallets"], verified["entries"], verified["findings"]) == (1, 6, [])


def test_books_of_one_database_know_nothing_of_each_other(typed: Typed) -> None:
    typed("wallet", "top-up", "studio", "5", "--key", "invoice-1", "--book", "other")
    assert typed.figures() == ("1000", "0", "1000")
    assert typed.data("wallet", "list", "--book", "other")["wallets"][0]["posted"] == "5"
    assert typed.data("db", "status")["books"] == ["main", "other"]
    assert "books main, other" in " ".join(typed("db", "status").stdout.split())
    assert typed("db", "status", "-f", "csv").rows[0]["books"] == "main;other"


# --- what was written ----------------------------------------------------------------------------


def test_what_is_held_is_never_negative(typed: Typed) -> None:
    typed("reserve", "studio", "40", "--key", "job-1")
    assert typed("wallet", "balance", "studio").stdout.splitlines() == [
        *("wallet studio", "  posted     1,000", "  held          40", "  available    960"),
    ]


def test_a_written_entry_is_shown_with_the_balances_after_it(typed: Typed) -> None:
    done = typed("reserve", "studio", "40.5", "--key", "job-1")
    assert done.stdout.splitlines() == [
        "reserved 40.5 credits in wallet studio for job-1",
        "  posted     1,000.0",
        "  held          40.5",
        "  available    959.5",
    ]
    assert "counts as unknown from 2026-10-11 12:00 UTC on" in done.said


def test_the_same_call_again_is_said_to_be_a_replay(typed: Typed) -> None:
    words = ("reserve", "studio", "40", "--key", "job-1")
    first, again = typed(*words), typed(*words)
    (sentence, *figures), (replayed, *then) = first.stdout.splitlines(), again.stdout.splitlines()
    assert (replayed, then) == (f"{sentence}, earlier; right after it, at the time:", figures)
    assert "reserve key 'job-1' was used before for the same" in again.said
    assert typed.data(*words)["replayed"] is True
    (row,) = typed(*words, "--format", "csv").rows
    assert (row["outcome"], row["held"], row["available_after"]) == ("replayed", "40", "960")
    assert typed.figures() == ("1000", "40", "960")


def test_the_figures_of_a_replay_are_those_of_the_first_call(typed: Typed) -> None:
    typed("reserve", "studio", "40", "--key", "job-1")
    typed("reserve", "studio", "60", "--key", "job-2")
    assert typed.data("reserve", "studio", "40", "--key", "job-1")["available_after"] == "960"


def test_other_content_under_a_used_key_names_what_differs(typed: Typed) -> None:
    typed("reserve", "studio", "40", "--key", "job-1")
    done = typed("reserve", "studio", "41", "--key", "job-1", status=7)
    assert "amount was 40, now 41" in done.said
    done = typed("wallet", "top-up", "studio", "999", "--key", "invoice-1", status=7)
    assert "amount was 1000, now 999" in done.said


REFUSED = (
    "error: wallet 'studio' has 960 credits available of the 961 needed (40 held);"
    " open holds may give back enough; also blocked by budget 'ads', budget 'each'"
)
"""1000 credits, of which another job holds 40; so it does of the 500 of team=ads in the month."""
BLOCKING = [
    ("credits", "credits", "", "961", "960", "40", True, None),
    ("budget", "ads", "", "961", "460", "40", False, None),
    ("budget", "each", "user=li", "961", "100", "0", False, None),
]


@pytest.fixture
def blocked(typed: Typed) -> Typed:
    """A job in flight, and two budgets."""
    typed.line("budget set studio ads 500 --key b-1 --match team=ads")
    typed.line("budget set studio each 100 --key b-2 --match user=* --period day")
    typed.line("reserve studio 40 --key job-0 --label team=ads")
    return typed


ASKED = "reserve studio 961 --key job-1 --label team=ads --label user=li"


@pytest.mark.parametrize("asked", [ASKED, f"{ASKED} --dry-run"])
def test_a_refusal_names_every_limit_in_the_way_and_whether_waiting_helps(
    blocked: Typed, asked: str
) -> None:
    done = blocked.line(asked, status=3)
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        REFUSED,
        (
            "  wallet 'studio': needs 961 credits, has 960, 40 held;"
            " trying again helps once open holds have given back enough"
        ),
        "  budget 'ads': needs 961 credits, has 460, 40 held; waiting does not help",
        (
            "  budget 'each', the share of user=li: needs 961 credits, has 100, 0 held;"
            " waiting does not help"
        ),
    ]


def test_a_refusal_is_a_document_and_rows_for_programs(blocked: Typed) -> None:
    done = blocked.line(f"{ASKED} -f json", status=3)
    assert done.document["schema"] == "kling-ledger/refusal/v1"
    shipped = json.loads((SCHEMAS / "refusal.v1.json").read_text(encoding="utf-8"))
    Draft202012Validator(shipped).validate(done.document)
    assert [done.data[name] for name in ("code", "book", "wallet", "job", "retryable")] == [
        *("insufficient_credits", "main", "studio", "job-1", False),
    ]
    assert done.said == f"error: {done.data['message']}"
    assert [tuple(item.values()) for item in done.data["blocking"]] == BLOCKING
    rows = blocked.line(f"{ASKED} -f csv", status=3).rows
    assert [row["available"] for row in rows] == ["960", "460", "100"]
    assert [row["retryable"] for row in rows] == ["1", "0", "0"]


def test_a_refused_extension_says_when_there_is_room(blocked: Typed) -> None:
    blocked.line("reserve studio 90 --key job-1 --label user=li")
    done = blocked.line("extend job-1 --key more-1 --amount 11", status=3)
    assert (
        "budget 'each', the share of user=li: needs 11 credits, has 10, 90 held;"
        " trying again helps from 2026-10-11T00:00:00Z, or earlier if open holds give back enough"
    ) in done.said
    document = blocked.line("extend job-1 --key more-1 --amount 11 -f json", status=3)
    assert document.data["code"] == "budget_exceeded"
    assert document.data["blocking"][0]["frees_at"] == "2026-10-11T00:00:00Z"


def test_a_dry_run_answers_and_writes_nothing(typed: Typed) -> None:
    done = typed("reserve", "studio", "40", "--key", "job-1", "--dry-run")
    assert done.stdout.startswith("would reserve 40 credits in wallet studio for job-1\n")
    assert "nothing was written" in done.said
    assert typed.data("reserve", "studio", "40", "--key", "job-1", "--dry-run")["dry_run"] is True
    typed("reserve", "studio", "1001", "--key", "job-1", "--dry-run", status=3)
    assert typed.figures() == ("1000", "0", "1000")
    assert typed.data("reserve", "studio", "41", "--key", "job-1")["replayed"] is False


@pytest.mark.parametrize(
    ("amount", "posted"),
    [(["-5.5"], "994.5"), (["--", "-5.5"], "994.5"), (["5.5"], "1005.5"), (["+5.5"], "1005.5")],
)
def test_a_wallet_is_adjusted_up_and_down(typed: Typed, amount: list[str], posted: str) -> None:
    typed("wallet", "adjust", "studio", "--key", "fix-1", "--reason", "slip", *amount)
    assert typed.figures()[0] == posted


@pytest.mark.parametrize(
    "line",
    [
        "wallet top-up studio -5 --key k",
        "wallet top-up -5.5 --key k",
        "reserve studio -5 --key job-2",
        "extend job-1 --key more-1 --amount -5",
        "charge job-1 -5",
        "charge --key k job-1 -.5",
        "refund job-1 -5",
        "budget set studio b -5 --key k",
    ],
)
def test_a_negative_amount_is_an_amount_that_is_refused(typed: Typed, line: str) -> None:
    typed("reserve", "studio", "40", "--key", "job-1")
    missing = line == "wallet top-up -5.5 --key k"  # the wallet
    done = typed.line(line, status=2 if missing else 7)
    assert "No such option" not in done.said
    assert typed.figures() == ("1000", "40", "960")


def test_a_correction_of_nothing_is_refused(typed: Typed) -> None:
    done = typed.line("wallet adjust studio 0 --key k --reason none", status=7)
    assert done.said == "error: a correction must not be zero"


def test_an_option_nobody_knows_is_no_amount(typed: Typed) -> None:
    words = ("wallet", "adjust", "studio", "--key", "fix-1", "--reason", "slip")
    typed(*words, "5", "--nothing", status=2)
    typed(*words, "-x", status=2)
    assert typed.figures()[0] == "1000"


def test_a_charge_above_its_hold_says_how_much_and_what_was_not_taken(typed: Typed) -> None:
    typed("reserve", "studio", "40", "--key", "job-1", "--policy", "cap")
    done = typed("charge", "job-1", "50")
    assert "10 credits more than its hold was made for" in done.said
    assert "10 credits of it were not taken, by the policy of its hold" in done.said
    typed("reserve", "studio", "40", "--key", "job-2", "--policy", "reject")
    assert (
        "is more than the 40 its hold still covers" in typed("charge", "job-2", "50", status=3).said
    )


def test_a_late_charge_is_written_and_said_to_be_late(typed: Typed) -> None:
    typed("reserve", "studio", "40", "--key", "job-1", "--deadline", "6h")
    typed.now += timedelta(hours=6)
    done = typed("charge", "job-1", "30")
    assert "late: the deadline of its hold had passed" in done.said
    assert typed.figures() == ("970", "0", "970")


def test_a_late_charge_says_what_came_before_it(typed: Typed) -> None:
    typed("reserve", "studio", "40", "--key", "job-1")
    typed("charge", "job-1", "30")
    again = typed("charge", "job-1", "1", "--key", "more-1")
    assert "late: the job had been charged before" in again.said
    assert again.stdout.startswith("charged 1 credit to wallet studio for job-1\n")
    typed("reserve", "studio", "40", "--key", "job-2")
    typed("release", "job-2")
    assert "late: its hold had been released" in typed("charge", "job-2", "30").said
    typed("reserve", "studio", "40", "--key", "job-3", "--deadline", "1h")
    typed("charge", "job-3", "10", "--key", "part-1", "--partial")
    typed.now += timedelta(hours=1)
    done = typed("charge", "job-3", "10")
    assert "late: the deadline of its hold had passed" in done.said
    assert "late: the deadline of its hold had passed" in typed("charge", "job-3", "10").said


def test_a_wallet_below_zero_is_mentioned(typed: Typed) -> None:
    typed("reserve", "studio", "40", "--key", "job-1")
    assert "wallet 'studio' is below zero" in typed("charge", "job-1", "1000.00000001").said


def test_parts_of_a_job_are_charged_until_the_last_one(typed: Typed) -> None:
    typed("reserve", "studio", "40", "--key", "job-1")
    typed("charge", "job-1", "10", "--key", "part-1", "--partial")
    assert typed.figures() == ("990", "30", "960")
    typed("charge", "job-1", "5", "--key", "part-2")
    assert typed.figures() == ("985", "0", "985")


def test_a_hold_is_given_more_credits_and_more_time(typed: Typed) -> None:
    typed("reserve", "studio", "40", "--key", "job-1")
    done = typed.line("extend job-1 --key more-1 --amount 2.5 --deadline 2d")
    assert done.stdout.startswith("extended job-1 in wallet studio by 2.5 credits\n")
    assert "counts as unknown from 2026-10-12 12:00 UTC on" in done.said
    typed("extend", "job-1", "--key", "more-2", status=2)
    typed("release", "job-1", "--reason", "cancelled")
    assert typed.figures() == ("1000", "0", "1000")
    assert "is released" in typed("extend", "job-1", "--key", "m", "--amount", "1", status=7).said


def test_a_job_whose_price_needs_no_length_is_charged_without_one(typed: Typed) -> None:
    bodies = json.loads((DEMO / "requests.json").read_text(encoding="utf-8"))
    element = write(typed.folder, "element.json", json.dumps(bodies[3]))
    typed("reserve", "studio", "--request", element, "--key", "job-1")
    typed("charge", "job-1")
    assert typed.figures() == ("999", "0", "999")  # an element costs one credit


# --- what was typed ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("deadline", "length"),
    [
        ("6h", timedelta(hours=6)),
        ("90m", timedelta(minutes=90)),
        ("2d", timedelta(days=2)),
        ("1d12h", timedelta(hours=36)),
        ("45s", timedelta(seconds=45)),
        ("2026-10-10T13:00Z", timedelta(hours=1)),
        ("2026-10-11", timedelta(hours=12)),
        ("2026-10-10T15:30:00+02:00", timedelta(hours=1, minutes=30)),
    ],
)
def test_a_deadline_is_a_length_or_a_moment(typed: Typed, deadline: str, length: timedelta) -> None:
    typed("reserve", "studio", "40", "--key", "job-1", "--deadline", deadline)
    shown = typed.data("holds", "show", "job-1")["hold"]["deadline"]
    assert datetime.fromisoformat(shown) == NOON + length


@pytest.mark.parametrize(
    "deadline", ["", "6", "6 h", "h", "-6h", "0h", "99999d", "2026-10-09", "2026-10-10T15:30", "٣h"]
)
def test_what_is_no_deadline_is_refused(typed: Typed, deadline: str) -> None:
    done = typed("reserve", "studio", "40", "--key", "job-1", f"--deadline={deadline}", status=7)
    assert "deadline" in done.said or "30s, 90m, 6h" in done.said or "no time zone" in done.said
    assert typed.figures() == ("1000", "0", "1000")


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["--key", "job-1"], 2),
        (["5"], 2),
        (["5", "--key", "job-1", "--request", "request.json"], 2),
        (["5", "--key", "job-1", "--seconds", "5"], 2),
        (["5", "--key", "job-1", "--label", "team"], 2),
        (["5", "--key", "job-1", "--label", "=ads"], 2),
        (["5", "--key", "job-1", "--label", "team="], 2),
        (["5", "--key", "job-1", "--label", "team=ads", "--label", "team=film"], 2),
        (["5", "--key", "job-1", "--policy", "beg"], 2),
        (["5", "--key", ""], 7),
        (["5", "--key", "a\nb"], 7),
        (["5", "--key", "k" * 256], 7),
        (["5", "--key", "job-1", "--label", "team=\x1b[2J"], 7),
        (["5", "--key", "job-1", "--at", "2026-10-11"], 7),
        (["5", "--key", "job-1", "--book", ""], 7),
        (["0", "--key", "job-1"], 7),
        (["1e3", "--key", "job-1"], 7),
        (["nan", "--key", "job-1"], 7),
        (["5.000000001", "--key", "job-1"], 7),
        (["92233720368.54775808", "--key", "job-1"], 7),
        (["--request", "nowhere.json", "--key", "job-1"], 7),
        (["--request", str(DEMO / "requests.json"), "--key", "job-1"], 7),
        (["--request", "request.json", "--key", "job-1", "--seconds", "x"], 7),
        (["--request", "request.json", "--key", "job-1", "--channel", "nope"], 6),
        (["--request", "request.json", "--key", "job-1", "--price-book", "nope"], 7),
        (["--request", "request.json", "--key", "job-1", "--at", "2026-01-01"], 6),
    ],
)
def test_a_reserve_that_makes_no_sense_is_refused_and_nothing_is_written(
    typed: Typed, words: list[str], status: int
) -> None:
    done = typed("reserve", "studio", *words, status=status)
    assert done.stdout == ""
    assert "\x1b" not in done.stderr
    assert "defect" not in done.stderr
    assert typed.figures() == ("1000", "0", "1000")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("wallet list --format xml", "'xml' is not one of 'table', 'json', 'csv'."),
        ("wallet list --format cvs", "'table', 'json', 'csv'; did you mean 'csv'?"),
        ("holds list --state unknwon", "'released'; did you mean 'unknown'?"),
        ("reserve studio 5 --key k --policy Reject", "'reject'; did you mean 'reject'?"),
    ],
)
def test_a_choice_that_is_none_is_told_in_plain_words(
    typed: Typed, line: str, problem: str
) -> None:
    done = typed.line(line, status=2)
    assert problem in done.said
    assert "Value error" not in done.said


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("--db credits.db wallet list", "kling-ledger COMMAND --db credits.db"),
        ("wallet --db credits.db list", "kling-ledger wallet COMMAND --db credits.db"),
        ("-f json verify", "-f goes after the command"),
        ("wallet --book main list", "--book goes after the command"),
    ],
)
def test_an_option_before_its_command_is_told_where_it_goes(
    typed: Typed, line: str, hint: str
) -> None:
    assert hint in typed.line(line, status=2).said


def test_an_option_that_no_command_of_a_group_has_is_none(typed: Typed) -> None:
    assert "No such option: --channel" in typed.line("wallet --channel x list", status=2).said


def test_by_happened_needs_a_moment_where_it_would_change_nothing(typed: Typed) -> None:
    for command in ("balance studio", "trial-balance"):
        done = typed.line(f"wallet {command} --by happened", status=2)
        assert "--by happened belongs to --before" in done.said
        typed.line(f"wallet {command} --by happened --before 2026-10-11")
    typed.line("wallet statement studio --by happened")  # another order


def test_labels_keep_what_stands_behind_the_first_equals_sign(typed: Typed) -> None:
    typed("reserve", "studio", "5", "--key", "job-1", "--label", "query=a=b", "--label", "user=zoë")
    assert typed.data("holds", "show", "job-1")["hold"]["labels"] == {"query": "a=b", "user": "zoë"}


def test_a_request_can_come_from_a_pipe(typed: Typed) -> None:
    body = (typed.folder / "request.json").read_text(encoding="utf-8")
    words = ("reserve", "studio", "--request", "-", "--seconds", "12.4", "--key", "job-1")
    done = typed(*words, stdin=body)
    assert done.stdout.startswith("reserved 106.1424 credits")


def test_a_request_is_priced_at_the_moment_of_the_job_and_said_with_its_notes(
    typed: Typed,
) -> None:
    words = ("reserve", "studio", "--request", "request.json", "--key", "job-1")
    done = typed(*words, "--at", "2026-10-09T08:00Z", "--format", "json")
    assert done.data["entry"]["held"] == "244.944"  # 30 s, the longest, × 8.1648
    assert done.data["entry"]["happened_at"] == "2026-10-09T08:00:00Z"
    assert any("length unknown" in item for item in done.document["warnings"])


def test_a_charge_needs_the_prices_its_request_was_priced_with(typed: Typed) -> None:
    deal = (
        'name = "deal"\n[[overlay]]\nmodel = "kling-v3-motion-control"\ndiscount = 0.5\n'
        'source = "contract"\nchecked = 2026-10-01\n'
    )
    prices = ("--prices", write(typed.folder, "deal.toml", deal))
    words = ("reserve", "studio", "--request", "request.json", "--seconds", "12.4")
    held = typed.data(*words, "--key", "job-1", *prices)
    assert held["entry"]["held"] == "53.0712"  # half of 106.1424
    assert "unknown price version" in typed("charge", "job-1", "--seconds", "9.2", status=6).said
    charged = typed.data("charge", "job-1", "--seconds", "9.2", *prices)
    assert charged["entry"]["posted"] == "-40.824"  # half of 81.648


@pytest.mark.parametrize("words", [["5", "--seconds", "5"], ["abc"], ["--seconds", "-5"], ["0"]])
def test_a_charge_that_makes_no_sense_takes_nothing(typed: Typed, words: list[str]) -> None:
    typed("reserve", "studio", "40", "--key", "job-1")
    assert call("charge", "job-1", *words, cwd=typed.folder).status in {2, 7}
    assert typed.figures() == ("1000", "40", "960")


# --- messages that come too early ----------------------------------------------------------------


def test_a_charge_of_a_job_nobody_reserved_waits_and_is_applied(typed: Typed) -> None:
    done = typed("charge", "job-1", "30")
    assert done.stdout == "parked the charge of job-1\n"
    assert "nobody has reserved job 'job-1' yet: the charge waits in the inbox" in done.said
    again = typed("charge", "job-1", "30", "--format", "csv")
    assert [again.rows[0][name] for name in ("outcome", "kind", "job")] == [
        *("replayed", "charge", "job-1"),
    ]
    typed("refund", "job-1")
    shown = typed("holds", "inbox", "--format", "csv").rows
    assert [(row["kind"], row["job"], row["amount"]) for row in shown] == [
        ("charge", "job-1", "30"),
        ("refund", "job-1", "all"),
    ]
    done = typed("reserve", "studio", "40", "--key", "job-1")
    assert "what waited for job 'job-1' was applied" in done.said
    assert typed.figures() == ("1000", "0", "1000")
    assert "nothing waits" in typed("holds", "inbox").said


def test_a_message_that_will_never_fit_is_discarded_with_a_reason(typed: Typed) -> None:
    typed("charge", "job-1", "30")
    done = typed("holds", "discard", "charge", "job-1", "--reason", "a typo")
    assert "Discarded in book main" in done.stdout
    assert "a typo" in done.stdout
    assert "nothing waits" in typed("holds", "inbox").said
    shown = typed("holds", "inbox", "--discarded", "--format", "csv").rows
    assert [(row["key"], row["amount"], row["discard_reason"]) for row in shown] == [
        ("job-1", "30", "a typo")
    ]
    again = typed("charge", "job-1", "30")
    assert again.stdout == "the charge of job-1 stays discarded\n"
    assert again.said == "note: the charge under this key was discarded: a typo"
    told = typed("charge", "job-1", "30", "--format", "csv").rows[0]
    assert (told["outcome"], told["job"]) == ("discarded", "job-1")
    typed("reserve", "studio", "40", "--key", "job-1")
    assert typed.figures() == ("1000", "40", "960")


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("job-1", "charge 'job-1' waits no more: it was applied"),
        ("job-9", "charge 'job-9' does not wait in the inbox of 'main'"),
        ("stray", "charge 'stray' waits no more: it was discarded (a typo)"),
    ],
)
def test_only_what_waits_can_be_discarded(typed: Typed, key: str, said: str) -> None:
    typed("charge", "job-1", "30")
    typed("reserve", "studio", "40", "--key", "job-1")
    typed("charge", "job-2", "30", "--key", "stray")
    typed("holds", "discard", "charge", "stray", "--reason", "a typo")
    refused = call("holds", "discard", "charge", key, "--reason", "why not", cwd=typed.folder)
    assert refused.status == 7
    assert said in refused.said


def test_a_parked_charge_names_jobs_that_may_have_been_meant(typed: Typed) -> None:
    typed("reserve", "studio", "40", "--key", "render-17")
    done = typed("charge", "rendr-17", "30")
    assert "waits in the inbox; did you mean 'render-17'?" in done.said
    told = typed("charge", "rendr-17", "30", "--format", "json").data
    assert told["parked"]["nearest"] == ["render-17"]
    assert "did you mean" not in typed("charge", "quite another one", "30").said


def test_a_message_that_cannot_be_applied_is_mentioned_by_the_reserve(typed: Typed) -> None:
    typed("charge", "job-1", "50")
    done = typed("reserve", "studio", "40", "--key", "job-1", "--policy", "reject")
    assert (
        "a message for job 'job-1' could not be applied and waits on; see: kling-ledger holds inbox"
    ) in done.said
    typed("extend", "job-1", "--key", "more-1", "--amount", "10")
    assert typed.figures() == ("950", "0", "950")


def test_the_deadline_is_a_hint_for_people_and_no_warning(typed: Typed) -> None:
    words = ("reserve", "studio", "40", "--key", "job-1")
    assert typed(*words, "--format", "json").document["warnings"] == []
    assert (
        "counts as unknown" not in typed("reserve", "studio", "5", "--key", "j", "-f", "csv").said
    )
    assert "has no time zone" in (
        typed("extend", "job-1", "--key", "k", "--deadline", "2026-12-01T08:00", status=7).said
    )


# --- looking -------------------------------------------------------------------------------------


def test_a_statement_is_cut_where_its_balances_are(typed: Typed) -> None:
    typed.now += timedelta(hours=1)
    typed("reserve", "studio", "40", "--key", "job-1")
    typed.now += timedelta(hours=1)
    typed("charge", "job-1", "30", "--at", "2026-10-10T12:30Z")
    cut = "2026-10-10T13:30Z"
    before, after = (
        typed.data("wallet", "statement", "studio", option, cut)
        for option in ("--until", "--since")
    )
    assert before["closing"] == after["opening"] == {"posted": "1000", "held": "40"}
    assert [line["kind"] for line in before["lines"]] == ["open", "top_up", "reserve"]
    assert [line["kind"] for line in after["lines"]] == ["charge"]
    # The charge happened half an hour before its reserve was written.
    happened = typed.data("wallet", "statement", "studio", "--by", "happened", "--until", cut)
    assert [line["kind"] for line in happened["lines"]] == ["open", "top_up", "charge", "reserve"]
    assert [line["posted_after"] for line in happened["lines"]] == ["0", "1000", "970", "970"]
    balance = typed.data("wallet", "balance", "studio", "--before", cut)
    assert (balance["posted"], balance["held"], balance["before"]) == (
        *("1000", "40"),
        "2026-10-10T13:30:00Z",
    )


def test_the_last_lines_of_a_statement_open_with_the_balance_before_them(typed: Typed) -> None:
    for number in range(1, 5):
        typed("reserve", "studio", str(number), "--key", f"job-{number}")
    done = typed("wallet", "statement", "studio", "--last", "2", "--format", "json")
    assert done.data["opening"] == {"posted": "1000", "held": "3"}  # 1 + 2
    assert [line["job"] for line in done.data["lines"]] == ["job-3", "job-4"]
    assert done.data["closing"] == {"posted": "1000", "held": "10"}
    assert (
        "4 lines before these are not shown"
        in typed("wallet", "statement", "studio", "--last", "2").said
    )
    everything = typed.data("wallet", "statement", "studio", "--last", "99")
    assert len(everything["lines"]) == 6


def test_expired_credits_are_not_available_and_are_taken_out_once(typed: Typed) -> None:
    typed.line("wallet top-up studio 50 --key gift-1 --promotional --expires 2026-10-11")
    assert typed.figures() == ("1050", "0", "1050")
    typed.now += timedelta(days=1)
    assert typed.figures() == ("1050", "0", "1000")
    assert "lapsing" in typed("wallet", "balance", "studio").stdout
    (entry,) = typed.data("wallet", "lapse", "studio")["entries"]
    assert (entry["kind"], entry["posted"]) == ("lapse", "-50")
    assert typed.figures() == ("1000", "0", "1000")
    done = typed("wallet", "lapse", "studio")
    assert (done.stdout, done.said) == ("", "note: nothing to do")


def test_lots_say_what_was_paid_and_what_is_left(typed: Typed) -> None:
    typed.line("wallet top-up studio 500 --key i-2 --cash 7.35 --currency USD --expires 2026-12-01")
    typed.line("wallet top-up studio 50 --key gift --promotional --expires 2026-10-11")
    typed("reserve", "studio", "60", "--key", "job-1")
    typed("charge", "job-1", "60")  # 50 that lapse soonest, 10 of those that lapse in December
    typed.line("wallet top-up studio 1 --key gift-2 --promotional --expires 2026-10-11")
    typed.now += timedelta(days=1)
    typed("wallet", "lapse", "studio")
    lots = typed.data("wallet", "lots", "studio")["lots"]
    names = ("lot", "origin", "granted", "used", "lapsed", "remaining", "cash", "expires")
    assert [tuple(lot[name] for name in names) for lot in lots] == [
        (2, "paid", "1000", "0", "0", "1000", None, None),
        (3, "paid", "500", "10", "0", "490", "7.35", "2026-12-01T00:00:00Z"),
        (4, "promotional", "50", "50", "0", "0", None, "2026-10-11T00:00:00Z"),
        (7, "promotional", "1", "0", "1", "0", None, "2026-10-11T00:00:00Z"),
    ]
    rows = typed("wallet", "lots", "studio", "-f", "csv").rows
    assert (rows[1]["cash"], rows[1]["currency"], rows[0]["cash"]) == ("7.35", "USD", "")
    total = typed("wallet", "lots", "studio").stdout.splitlines()[-2]
    cells = [cell.strip() for cell in total.split("│")[1:-1]]
    assert cells == ["", "total", "1,551", "60", "1", "1,490", "", "", ""]
    typed("wallet", "open", "film")
    assert "nothing has come into wallet film" in typed("wallet", "lots", "film").said


def test_a_statement_as_csv_opens_and_closes_and_has_every_fact(typed: Typed) -> None:
    typed.line("wallet top-up studio 50 --key i-2 --cash 0.73 --currency USD --expires 2026-12-01")
    typed("reserve", "studio", "40", "--key", "job-1", "--policy", "cap")
    typed("charge", "job-1", "45")
    typed.line("wallet adjust studio -5 --key fix-1 --reason 'counted twice'")
    opening, *rows, closing = typed.line("wallet statement studio --last 4 -f csv").rows
    assert (opening["kind"], opening["posted_after"], opening["seq"]) == ("opening", "1000", "")
    assert (closing["kind"], closing["posted_after"], closing["held_after"]) == (
        *("closing", "1005"),
        "0",
    )
    topped_up, _, charged, adjusted = rows
    facts = ("key", "cash", "currency", "expires")
    assert [topped_up[name] for name in facts] == ["i-2", "0.73", "USD", "2026-12-01T00:00:00Z"]
    assert [charged[name] for name in ("over", "uncollected", "late", "job")] == [
        *("5", "5", "0", "job-1"),
    ]
    assert (adjusted["reason"], adjusted["job"], adjusted["key"]) == ("counted twice", "", "fix-1")
    lines = typed.data("wallet", "statement", "studio")["lines"]
    assert lines[-1]["reason"] == "counted twice"
    assert "counted twice" in typed("wallet", "statement", "studio").stdout


def test_a_trial_balance_whose_sums_differ_ends_with_9(typed: Typed) -> None:
    with closing(sqlite3.connect(typed.folder / "kling-ledger.db")) as connection:
        connection.execute("UPDATE wallets SET posted_e8 = posted_e8 + 1")
        connection.commit()
    for format_ in ("table", "json", "csv"):
        done = typed("wallet", "trial-balance", "--format", format_, status=9)
        assert "funding" in done.stdout
        assert "debits of 1000 are not credits of 1000.00000001" in done.said


def test_wallets_are_listed_by_name(typed: Typed) -> None:
    typed("wallet", "open", "film", "--credit-limit", "20")
    rows = typed("wallet", "list", "--format", "csv").rows
    assert [(row["wallet"], row["available"]) for row in rows] == [
        ("film", "20"),
        ("studio", "1000"),
    ]


def test_opening_a_wallet_again_is_no_error_unless_its_terms_differ(typed: Typed) -> None:
    typed("wallet", "open", "film", "--credit-limit", "20")
    assert "is open already" in typed("wallet", "open", "film", "--credit-limit", "20").said
    assert "credit limit of 20" in typed("wallet", "open", "film", status=7).said
    assert "differs only in how it is written" in typed("wallet", "open", "FILM", status=7).said


@pytest.mark.parametrize(
    "words",
    [
        ("wallet", "balance", "studoi"),
        ("wallet", "statement", "studoi"),
        ("wallet", "lapse", "studoi"),
        ("wallet", "adjust", "studoi", "5", "--key", "k", "--reason", "r"),
        ("reserve", "studoi", "5", "--key", "k"),
        ("budget", "list", "studoi"),
        ("budget", "status", "studoi"),
        ("budget", "set", "studoi", "b", "5", "--key", "k"),
        ("holds", "list", "--wallet", "studoi"),
        ("holds", "sweep", "--wallet", "studoi"),
    ],
    ids=" ".join,
)
def test_an_unknown_wallet_is_refused_with_near_names(typed: Typed, words: tuple[str]) -> None:
    done = typed(*words, status=7)
    assert "no wallet 'studoi' in book 'main'; did you mean 'studio'?" in done.said


# --- databases -----------------------------------------------------------------------------------

NOT_MAKING = [
    *("wallet list", "wallet balance studio", "wallet statement studio", "wallet trial-balance"),
    *("wallet lapse studio", "wallet adjust studio 5 --key k --reason r"),
    *("reserve studio 5 --key job-1", "extend job-1 --key k --amount 5", "charge job-1 5"),
    *("release job-1", "refund job-1", "verify", "db status"),
    *("budget set studio b 5 --key k", "budget list studio", "budget status studio"),
    *("budget remove studio b --key k", "holds list", "holds show job-1", "holds expire job-1"),
    *("holds sweep", "holds inbox"),
]


@pytest.mark.parametrize("words", NOT_MAKING)
def test_a_typing_error_in_a_path_makes_no_database(words: str, tmp_path: Path) -> None:
    done = call(*words.split(), "--db", "nowhere.db", cwd=tmp_path)
    assert (done.status, done.stdout) == (8, "")
    assert "nowhere.db: there is no such file" in done.said
    assert "kling-ledger db upgrade --db nowhere.db" in done.said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", ["wallet list", "db status", "reserve studio 5 --key job-1"])
def test_a_database_without_a_ledger_is_left_as_it_is(words: str, tmp_path: Path) -> None:
    for name in ("empty.db", "other.db"):
        path = write(tmp_path, name, b"")
        if name == "other.db":
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("CREATE TABLE songs (title)")
        before = path.read_bytes()
        done = call(*words.split(), "--db", name, cwd=tmp_path)
        assert (done.status, done.stdout) == (8, "")
        assert f"{name} has no ledger yet" in done.said
        assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("words", ["wallet list", "db status", "db upgrade", "verify"])
def test_what_is_no_database_or_not_ours_is_said_to_be_so(words: str, tmp_path: Path) -> None:
    write(tmp_path, "text.db", "this is no database at all, and longer than a header " * 40)
    done = call(*words.split(), "--db", "text.db", cwd=tmp_path)
    assert done.status == 8, done.stderr
    assert "not a database" in done.said
    with closing(sqlite3.connect(tmp_path / "theirs.db")) as connection:
        connection.execute("CREATE TABLE wallets (colour)")
    done = call(*words.split(), "--db", "theirs.db", cwd=tmp_path)
    assert done.status == 8, done.stderr
    assert "that are not a ledger's" in done.said


def test_a_ledger_of_another_version_is_not_touched(typed: Typed) -> None:
    with closing(sqlite3.connect(typed.folder / "kling-ledger.db")) as connection:
        connection.execute("UPDATE kling_ledger_version SET version_num = '9999'")
        connection.commit()
    for words in ("wallet list", "db status", "db upgrade", "wallet open film"):
        assert "made by a newer kling-ledger" in typed.line(words, status=8).said
    assert typed("db", "status", "--format", "json", status=8).data["state"] == "newer"


def test_a_database_is_upgraded_and_then_up_to_date(empty_url: str, tmp_path: Path) -> None:
    typed = Typed(tmp_path, KLING_LEDGER_DB=empty_url)
    first, again = typed.data("db", "upgrade"), typed.data("db", "upgrade")
    assert (first["found"], again["found"]) == ("empty", "current")
    status = typed.data("db", "status")
    assert (status["state"], status["revision"]) == ("current", status["needed"])
    assert typed("wallet", "list", "--format", "csv").rows == []


def test_postgresql_without_tables_is_told_how_to_make_them(
    empty_postgres_url: str, tmp_path: Path
) -> None:
    for words in ("wallet open studio", "wallet list", "db status"):
        done = run(*words.split(), "--db", empty_postgres_url, cwd=tmp_path)
        assert done.status == 8, done.stderr
        assert "has no ledger yet; make one with: kling-ledger db upgrade" in done.said


def test_distributing_needs_citus(database_url: str, tmp_path: Path) -> None:
    done = call("db", "distribute", "--db", database_url, cwd=tmp_path)
    assert (done.status, done.stdout) == (8, "")
    assert "Citus" in done.said


@pytest.mark.parametrize("words", ["wallet list", "wallet open studio", "db status", "db upgrade"])
def test_a_server_that_is_not_there_is_one_line_without_the_password(words: str) -> None:
    url = "postgresql://li:secret@127.0.0.1:1/credits"
    done = call(*words.split(), "--db", url)
    assert (done.status, done.stdout) == (8, "")
    assert "connection" in done.said
    assert "secret" not in done.said
    assert "defect" not in done.said


@pytest.mark.parametrize(
    ("db", "file"),
    [
        ("credits.db", "credits.db"),
        ("sqlite:///credits.db", "credits.db"),
        ("what now? 100%.db", "what now? 100%.db"),
        ("a#b@c.db", "a#b@c.db"),
        ("kredite-äöü", "kredite-äöü"),
    ],
)
def test_a_database_is_a_file_or_a_url(db: str, file: str, tmp_path: Path) -> None:
    assert call("wallet", "open", "studio", "--db", db, cwd=tmp_path).status == 0
    assert (tmp_path / file).is_file()
    done = call("wallet", "list", "--db", db, "--format", "csv", cwd=tmp_path)
    assert [row["wallet"] for row in done.rows] == ["studio"], done.stderr
    assert call("db", "status", "--db", db, cwd=tmp_path).status == 0


@pytest.mark.parametrize(
    ("db", "status"),
    [
        ("", 7),
        (".", 8),
        ("sqlite:///.", 8),
        ("sqlite://", 7),
        ("sqlite:///:memory:", 7),
        (":memory:", 7),
        ("file::memory:", 7),
        ("file:x?mode=memory&cache=shared", 7),
        ("sqlite:///file::memory:?uri=true", 7),
        ("sqlite:///x?mode=memory&uri=true", 7),
        ("sqlite:///credits.db?mode=ro&uri=true", 7),
        ("sqlite://credits.db", 7),
        ("sqlite:credits.db", 7),
        ("mysql://localhost/x", 7),
        ("postgres://localhost/x", 7),
        ("nowhere/credits.db", 8),
    ],
)
def test_what_is_no_database_for_a_ledger_is_refused(db: str, status: int, tmp_path: Path) -> None:
    done = call("wallet", "open", "studio", f"--db={db}", cwd=tmp_path)
    assert (done.status, done.stdout) == (status, ""), done.stderr
    assert "defect" not in done.said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", ["wallet list", "wallet open studio", "db upgrade", "db status"])
@pytest.mark.parametrize(
    ("db", "problem"),
    [
        (":memory:", "a book in memory ends with the command"),
        ("file::memory:", "a book in memory ends with the command"),
        ("sqlite://credits.db", "did you mean sqlite:///credits.db?"),
        ("sqlite://old/credits.db", "did you mean sqlite:///old/credits.db?"),
        ("nowhere/credits.db", "the folder nowhere does not exist"),
        ("sqlite:///nowhere/credits.db", "the folder nowhere does not exist"),
        (".", ".: is a folder, not a database"),
        ("sqlite:///.", ".: is a folder, not a database"),
    ],
)
def test_a_database_that_cannot_be_says_why(
    words: str, db: str, problem: str, tmp_path: Path
) -> None:
    done = call(*words.split(), "--db", db, cwd=tmp_path)
    assert done.status == (8 if "folder" in problem else 7), done.stderr
    assert problem in done.said


OTHER_BOOK = [
    *(words for words in NOT_MAKING if words != "db status"),
    *("wallet lots studio", "db copy --to copy.db"),
]


@pytest.mark.parametrize("words", OTHER_BOOK)
def test_a_typing_error_in_a_book_is_no_empty_book(typed: Typed, words: str) -> None:
    done = typed.line(f"{words} --book mian", status=7)
    assert done.stdout == ""
    assert "no book 'mian' in this database; it has 'main'" in done.said


def test_a_database_without_any_book_has_empty_answers(tmp_path: Path) -> None:
    typed = Typed(tmp_path)
    typed("db", "upgrade")
    assert "has no wallets yet" in typed("wallet", "list", "--book", "any").said
    assert typed.data("db", "status")["books"] == []


def test_the_settings_of_the_environment_are_the_defaults(typed: Typed) -> None:
    env = {"KLING_LEDGER_DB": str(typed.folder / "kling-ledger.db"), "KLING_LEDGER_BOOK": "other"}
    done = call("wallet", "open", "film", cwd=ROOT, env=env)
    assert done.status == 0, done.stderr
    assert not (ROOT / "kling-ledger.db").exists()
    assert [row["wallet"] for row in typed("wallet", "list", "--book", "other", "-f", "csv").rows]


# --- what loads, and what the words are ----------------------------------------------------------


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import ledger.cli, sys\n"
        "print(*[m for m in ('sqlalchemy', 'sqlmodel', 'pydantic', 'polars') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env=environment(),
    )
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    ("choices", "known"), [(options.BudgetPeriod, Period), (options.OnCharge, Policy)]
)
def test_the_choices_are_those_of_the_library(choices: Any, known: Any) -> None:
    assert [item.value for item in choices] == list(get_args(known))


def test_a_name_in_the_database_cannot_move_the_cursor(typed: Typed) -> None:
    typed("reserve", "studio", "5", "--key", "job-1")
    with closing(sqlite3.connect(typed.folder / "kling-ledger.db")) as connection:
        for (trigger,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        ).fetchall():
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute("UPDATE holds SET job = ?", ("job-1\x1b[2J\x9b2J",))
        connection.commit()
    for words in (["holds", "list"], ["verify"]):
        done = call(*words, cwd=typed.folder)
        assert "job-1�[2J" in done.stdout.replace("\\x1b", "�")
        assert not {"\x1b", "\x9b"} & set(done.stdout + done.stderr)


def test_the_real_command_does_the_same(tmp_path: Path) -> None:
    done: Callable[..., Done] = lambda *words: run(*words, cwd=tmp_path)  # noqa: E731
    assert done("wallet", "top-up", "studio", "10", "--key", "invoice-1").status == 0
    refused = done("reserve", "studio", "11", "--key", "job-1")
    assert (refused.status, refused.stdout) == (3, "")
    assert len(refused.stderr.splitlines()) == 2  # the error, and the one limit in the way

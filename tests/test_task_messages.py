"""The provider's messages about tasks: what is read, what they say together, what follows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal, localcontext
from functools import reduce
from itertools import permutations
from typing import NamedTuple

import pytest
import task_bodies as bodies
from hypothesis import given, settings
from hypothesis import strategies as st
from task_bodies import TASK, billed, billing, body, envelope, failed, refund, reserved, used

from ledger.errors import InvalidMessage
from ledger.evolink.tasks import (
    Billing,
    Facts,
    TaskMessage,
    Wanted,
    facts_from,
    facts_of,
    facts_text,
    merged,
    read_messages,
    wanted,
)
from ledger.records import name
from ledger.units import credits_to_e8, e8_to_credits


def one(text: str | bytes) -> TaskMessage:
    [message] = read_messages(text)
    return message


def joined(texts: Sequence[str]) -> Facts:
    """What all messages of the texts say together."""
    return reduce(merged, [facts_of(item) for text in texts for item in read_messages(text)])


def outcome(texts: Sequence[str], hold: str | None) -> Wanted:
    expected_e8 = None if hold is None else credits_to_e8(hold)
    return wanted(joined(texts), expected_e8=expected_e8)


# --- reading -------------------------------------------------------------------------------------


def test_everything_that_is_needed_is_read_from_a_task() -> None:
    assert one(bodies.COMPLETED) == TaskMessage(
        task=TASK,
        job=None,
        model="kling-v3-motion-control",
        status="completed",
        created_us=1_793_526_000_000_000,
        reserved=None,
        used=Decimal("65.3184"),
        user_group="default",
        billing_rule="per_second",
        video_seconds="8",  # not 143, the time of processing
        error_code=None,
        error=None,
        billing=None,
        received_us=None,
        body=bodies.COMPLETED,
    )


def test_the_newer_billing_object_is_read_as_it_is_told() -> None:
    message = one(refund("failed", "408240"))
    assert message.billing == Billing(
        charge_status="released",
        refund_status="completed",
        refund_scope="account_balance",
        reserved=Decimal(408240),
        charged=Decimal(0),
        refunded=Decimal(408240),
        refunded_at_us=1_793_526_242_000_000,  # 2026-11-01T09:44:02Z
    )


def test_an_envelope_names_the_job_and_the_time_of_receipt() -> None:
    message = one(envelope(bodies.COMPLETED))
    assert message.job == "job-1"
    assert message.received_us == 1_791_633_600_000_000  # 2026-10-10T12:00:00Z
    assert message.body == bodies.COMPLETED
    assert message._replace(job=None, received_us=None) == one(bodies.COMPLETED)


@pytest.mark.parametrize(
    ("text", "tasks"),
    [
        (bodies.CREATED, [TASK]),
        (bodies.CREATED_2025, [TASK]),
        (bodies.IMAGE, ["task-unified-1782900000-nb2l"]),
        (bodies.ELEMENT_ALONE, ["task-video-1793526000-elem"]),
        (bodies.PAGE, [TASK, "task-unified-1793526001-k3mc"]),
        (f"[{bodies.COMPLETED}, {bodies.ELEMENT}]", [TASK, "task-video-1793526000-elem"]),
        (f'{{"total":1,"data" : [ {bodies.COMPLETED} ]}}', [TASK]),
        (
            envelope(bodies.PAGE).replace('"job":"job-1",', ""),
            [TASK, "task-unified-1793526001-k3mc"],
        ),
        ('{"data":[],"total":0}', []),
        ("[]", []),
    ],
)
def test_tasks_are_read_from_every_documented_shape(text: str, tasks: list[str]) -> None:
    assert [message.task for message in read_messages(text)] == tasks


@pytest.mark.parametrize(
    "text",
    [
        bodies.COMPLETED,
        f"\n {bodies.COMPLETED} \r\n",
        f"\ufeff{bodies.COMPLETED}",
        envelope(bodies.COMPLETED),
        envelope(f" {bodies.COMPLETED} "),
        f'{{"body":{bodies.COMPLETED},"job":"job-1"}}',  # the body is not the last member
        envelope(bodies.COMPLETED, job='x\\"body\\": {}'),  # a job that looks like the key
        f'{{ "received_at" : null , "bod\\u0079" : {bodies.COMPLETED} }}',
        f"[\n{bodies.COMPLETED}\n]",
        f'{{"total":1,"data":[{bodies.COMPLETED}]}}',
        f'{{"data":[{bodies.COMPLETED}],"total":1}}',
        f'{{"notes":{{"data":[1]}},"data":[{bodies.COMPLETED}]}}',
        f'{{"more\\"data":1,"data":[{bodies.COMPLETED}]}}',  # a key that ends like the other
        envelope(f'{{"data":[{bodies.COMPLETED}]}}'),
    ],
)
def test_the_body_of_a_task_is_kept_word_for_word(text: str) -> None:
    message = one(text)
    assert message.body == bodies.COMPLETED
    assert one(text.encode()).body == bodies.COMPLETED
    assert one(message.body) == message._replace(job=None, received_us=None)


@pytest.mark.parametrize("key", ["body", "data"])
def test_a_key_that_is_written_with_escapes_is_not_taken_for_one_further_inside(key: str) -> None:
    inner = body("completed", **{key: '[{"id":"other"}]'})
    escaped = f"\\u{ord(key[0]):04x}{key[1:]}"
    text = f'{{"{escaped}":{inner if key == "body" else f"[{inner}]"}}}'
    assert (one(text).task, one(text).body) == (bodies.TASK, inner)


@pytest.mark.parametrize(
    ("told", "amount"),
    [
        ("65.3184", "65.3184"),
        ('"65.3184"', "65.3184"),
        ("408240", "408240"),
        ("4.0824e5", "408240"),
        ("0", "0"),
        ("-0", "0"),
        ("0.00000001", "0.00000001"),
        ("0.100000000000", "0.1"),
        ("92233720368.54775807", "92233720368.54775807"),  # 2^63 - 1 of 10^-8
        ("null", None),
    ],
)
def test_amounts_are_exact(told: str, amount: str | None) -> None:
    assert one(used(told)).used == (None if amount is None else Decimal(amount))
    expected = () if amount is None else (int(Decimal(amount) * 10**8),)
    assert facts_of(one(used(told))).used == expected


def test_the_decimal_context_of_the_caller_does_not_round_what_is_told() -> None:
    with localcontext(prec=3):
        assert outcome([used("65.31840001")], "65.3184").net_e8 == 6_531_840_001
        created = one(body("pending", created="1793526000.123456")).created_us
    assert created == 1_793_526_000_123_456


@pytest.mark.parametrize(
    ("amount", "problem"),
    [
        ("-1", "an amount must not be negative"),
        ("-0.5", "an amount must not be negative"),
        ("0.000000001", "'1E-9' is finer than 10^-8 credit"),
        ("1e-400", "an amount must be below 2^63 units of 10^-8 credit, and no finer"),
        ("1e400", "an amount must be below 2^63 units of 10^-8 credit, and no finer"),
        (
            "92233720368.54775808",
            "'92233720368.54775808' credits is more than a ledger column holds",
        ),
        ("92233720369", "'92233720369' credits is more than a ledger column holds"),
        ("9" * 30, "an amount must be less than a ledger column holds, 92 billion credits"),
        ("true", "must be a number"),
        ("[1]", "must be a number"),
        ("{}", "must be a number"),
        ('""', "'' is not an amount; write it like 12.5"),
        ('"1,5"', "'1,5' is not an amount; write it like 12.5"),
        ('"1e3"', "'1e3' is not an amount; write it like 12.5"),
        ('"NaN"', "'NaN' is not an amount; write it like 12.5"),
        ('"-1"', "'-1' is negative; an amount must not be"),
        ('"١"', "'١' is not an amount; write it like 12.5"),
    ],
)
@pytest.mark.parametrize(
    ("template", "field"),
    [
        (used("AMOUNT"), "usage.credits_used"),
        (reserved("AMOUNT"), "usage.credits_reserved"),
        (body("completed", usage='{"cost":{"credits":AMOUNT,"usd":1}}'), "usage.cost.credits"),
        (body("completed", credits_used="AMOUNT"), "credits_used"),
        *(
            (billed("failed", f'"{field}":AMOUNT'), f"billing.{field}")
            for field in ("reserved_credits", "charged_credits", "refunded_credits")
        ),
    ],
)
def test_what_is_no_exact_amount_is_refused(
    template: str, field: str, amount: str, problem: str
) -> None:
    assert faults(template.replace("AMOUNT", amount)) == [(field, problem)]


def faults(text: str | bytes) -> list[tuple[str, str]]:
    with pytest.raises(InvalidMessage) as caught:
        read_messages(text, where="tasks.jsonl:3")
    assert caught.value.subject == "tasks.jsonl:3"
    return [(fault.field, fault.problem) for fault in caught.value.faults]


NO_TASK = "has no `id`, so it is about no task, and no list of tasks as `data`"
DEEP = "is nested deeper than 64 levels"
NO_FIELD = "is no field of an envelope; it has job, received_at, body"
NEGATIVE = "an amount must not be negative"
NO_TIME = "must be a time like 2026-10-10T12:00:00Z"
UNFIT = "has a character that cannot be stored at place"
LENGTH = len(bodies.COMPLETED)


@pytest.mark.parametrize(
    ("text", "field", "problem"),
    [
        # no JSON
        ("", "", "is empty"),
        (" \n\ufeff"[:2], "", "is empty"),
        (b"\xef\xbb\xbf", "", "is empty"),
        (
            bodies.COMPLETED[:-1],
            "",
            f"is not JSON: Expecting ',' delimiter at column {LENGTH}",
        ),
        (
            f"{bodies.COMPLETED}7",
            "",
            f"is not JSON: Extra data at column {LENGTH + 1}",
        ),
        ('{"id"}', "", "is not JSON: Expecting ':' delimiter at column 6"),
        (
            '{"id":"a\nb"}',
            "",
            "is not JSON: Invalid control character at line 1, column 9",
        ),
        (bodies.COMPLETED.encode("utf-16"), "", "is not UTF-8 text"),
        ('{"id":"任务"}'.encode("gbk"), "", "is not UTF-8 text"),
        ('{"id":"\ud800"}', "", "is not UTF-8 text"),
        (used("NaN"), "", "has NaN, which is not a number of JSON"),
        (used("-Infinity"), "", "has -Infinity, which is not a number of JSON"),
        (used("1" * 129), "", "has a number of more than 128 characters"),
        (used("0." + "1" * 127), "", "has a number of more than 128 characters"),
        (used("1e" + "9" * 19), "", f"has the number '1e{'9' * 19}', which is too large"),
        ('{"id":"a","id":"b"}', "", "has the key 'id' twice in one object"),
        (body("failed", usage='{"a":1,"a":1}'), "", "has the key 'a' twice in one object"),
        ("[" * 65 + "]" * 65, "", DEEP),
        ("[" * 100_000, "", DEEP),
        ('{"a":' * 100_000, "", DEEP),
        (" " * (16 * 1024 * 1024 + 1), "", "has more than 16 MiB"),
        # no task
        ("1", "", "must be an object or a list of objects"),
        ('"task-1"', "", "must be an object or a list of objects"),
        ("null", "", "must be an object or a list of objects"),
        ("{}", "", NO_TASK),
        (bodies.REFUSED, "", "is an error and no task; what was refused at once has no task"),
        ('{"data":{"id":"a"}}', "data", "must be a list of tasks"),
        ("[1]", "[0]", "must be an object"),
        (f'{{"data":[{bodies.ROW},null]}}', "data[1]", "must be an object"),
        (f'[{bodies.ROW},{{"id":"a"}}]', "[1].status", "is required"),
        # a name
        ('{"id":null,"status":"failed"}', "id", "is required"),
        ('{"id":7,"status":"failed"}', "id", "must be a text, not int"),
        ('{"id":"","status":"failed"}', "id", "must have 1 to 255 characters, not 0"),
        ('{"id":"a\\u0000","status":"failed"}', "id", f"{UNFIT} 2 (U+0000)"),
        ('{"id":"\\ud800","status":"failed"}', "id", f"{UNFIT} 1 (U+D800)"),
        ('{"id":"a"}', "status", "is required"),
        ('{"id":"a","status":true}', "status", "must be a text, not bool"),
        # objects with amounts
        (body("failed", usage="[]"), "usage", "must be an object"),
        (body("failed", billing='"released"'), "billing", "must be an object"),
        (
            used("5", credits_used="6"),
            "credits_used",
            "says something else than usage.credits_used",
        ),
        (f'{{"data":[{bodies.ROW},{used("-1")}]}}', "data[1].usage.credits_used", NEGATIVE),
        # our envelope
        (envelope(used("-1")), "body.usage.credits_used", NEGATIVE),
        (envelope(f"[{used('-1')}]"), "body[0].usage.credits_used", NEGATIVE),
        (envelope("7"), "body", "must be an object or a list of objects"),
        (envelope(envelope(bodies.ROW)), "body", NO_TASK),
        (envelope(bodies.ROW, job=" a"), "job", "must not begin or end with a space"),
        (envelope(bodies.PAGE), "job", "is one job for 2 tasks; give each task an envelope"),
        (envelope(bodies.ROW, at="2026-10-10T12:00"), "received_at", NO_TIME),
        (f'{{"received_at":1,"body":{bodies.ROW}}}', "received_at", NO_TIME),
        (f'{{"task":"a","body":{bodies.ROW}}}', "'task'", NO_FIELD),
    ],
)
def test_what_is_no_message_is_refused_and_the_fault_is_named(
    text: str | bytes, field: str, problem: str
) -> None:
    assert faults(text) == [(field, problem)]


def test_new_fields_may_be_nested_as_deep_as_the_limit() -> None:
    assert one(body("failed", new="[" * 63 + "]" * 63)).status == "failed"
    assert faults(body("failed", new="[" * 64 + "]" * 64)) == [("", DEEP)]


def test_all_faults_of_a_text_are_told_at_once_up_to_fifty() -> None:
    bad = used("-1", task="").replace('"status":"completed"', '"status":""')
    assert [field for field, _ in faults(bad)] == ["usage.credits_used", "id", "status"]
    assert len(faults(f"[{','.join([used('-1')] * 80)}]")) == 50


@pytest.mark.parametrize(
    ("text", "where"), [('{"id" 5}', "at column 7"), ('{"id":\n5,}', "at line 2, column 3")]
)
def test_what_is_not_json_is_told_with_its_place(text: str, where: str) -> None:
    with pytest.raises(InvalidMessage, match=rf"is not JSON: .* {where}\Z"):
        read_messages(text)


def test_numbers_of_a_million_digits_are_refused_without_being_worked_out() -> None:
    for digits in ("9" * 1_000_000, "0." + "9" * 1_000_000, "1e" + "9" * 1_000_000):
        for text in (used(digits), body("pending", progress=digits)):
            assert faults(text) == [("", "has a number of more than 128 characters")]
    assert faults(used('"' + "9" * 1_000_000 + '"')) == [
        ("usage.credits_used", f"'{'9' * 37}...' is not an amount; write it like 12.5")
    ]


def test_an_error_begins_with_where_the_message_stands_and_quotes_no_body() -> None:
    secret = "https://cdn.example/out.mp4?sign=c2VjcmV0"
    with pytest.raises(InvalidMessage) as caught:
        read_messages(used("-1", results=f'["{secret}"]'), where="tasks.jsonl:7")
    assert str(caught.value) == (
        "tasks.jsonl:7: usage.credits_used: an amount must not be negative"
    )
    with pytest.raises(InvalidMessage, match=r"\Atask message: is empty\Z"):
        read_messages("")
    assert (caught.value.code, caught.value.exit_status) == ("invalid_message", 7)


@pytest.mark.parametrize(
    ("members", "left_out"),
    [
        ({"created": '"yesterday"'}, {"created_us": None}),
        ({"created": "17935260"}, {"created_us": None}),  # July 1970
        ({"created": "true"}, {"created_us": None}),
        ({"created": '"0001-01-01T00:00:00Z"'}, {"created_us": None}),  # Go writes so: never
        ({"created": '"9999-12-31T23:59:59-23:59"'}, {"created_us": None}),  # no moment in UTC
        ({"created": '"2026-11-01T09:40:00"'}, {"created_us": None}),  # whose nine o'clock?
        ({"created": '"2026-11-01T17:40:00+08:00"'}, {"created_us": 1_793_526_000_000_000}),
        ({"created": "1793526000123"}, {"created_us": 1_793_526_000_123_000}),  # milliseconds
        ({"task_info": "[]"}, {"video_seconds": None}),
        ({"task_info": '{"video_duration":0}'}, {"video_seconds": None}),
        ({"task_info": '{"video_duration":7.960}'}, {"video_seconds": "7.96"}),
        ({"task_info": '{"video_duration":true}'}, {"video_seconds": None}),
        ({"error": '"out of memory"'}, {"error": "out of memory", "error_code": None}),
        ({"error": '{"code":500,"message":"a\\nb\\ud800"}'}, {"error_code": "500", "error": "a b"}),
        ({"error": '{"code":[],"message":[]}'}, {"error_code": None, "error": None}),
        ({"usage": '{"cost":12}'}, {"cost": None, "used": None}),
        ({"results": '{"7":[[]]}', "brand_new": "[1e9]"}, {}),
    ],
)
def test_what_only_explains_is_left_out_where_it_cannot_be_kept(
    members: dict[str, str], left_out: dict[str, object]
) -> None:
    text = body("failed", **members)
    usual = one(body("failed"))._asdict()
    assert one(text)._asdict() == {**usual, **left_out, "body": text}


@pytest.mark.parametrize("model", ["7", "null", '""', '"a\\u0007b"', '" a"', f'"{"a" * 256}"'])
def test_a_model_that_cannot_be_kept_is_left_out(model: str) -> None:
    text = bodies.COMPLETED.replace(f'"{bodies.MOTION}"', model)
    assert one(text) == one(bodies.COMPLETED)._replace(model=None, body=text)


@pytest.mark.parametrize(
    ("at", "accepted"),
    [
        ('"2026-11-01T09:44:02Z"', True),
        ('"2026-11-01T09:44:02.123456+00:00"', True),
        ('"2026-11-01T17:44:02+08:00"', False),
        ('"2026-11-01T09:44:02"', False),
        ('"2026-11-01"', False),
        ('"0001-01-01T00:00:00Z"', False),
        ('"soon"', False),
        ("1793526242", False),
        ("null", False),
    ],
)
def test_only_a_time_in_utc_is_part_of_a_proof(at: str, accepted: bool) -> None:
    told = billing("released", "completed", reserved="5", refunded="5")
    message = one(billed("failed", f'{told},"refunded_at":{at}'))
    assert message.billing is not None
    assert (message.billing.refunded_at_us is not None) is accepted


def test_the_cost_stands_in_for_the_credits_used_and_is_marked() -> None:
    both = one(body("completed", usage='{"credits_used":5,"cost":{"credits":6}}'))
    assert (both.used, both.cost, both.used_is_cost) == (Decimal(5), Decimal(6), False)
    cost = one(body("completed", usage='{"cost":{"credits":6,"usd":0.1}}'))
    assert (cost.used, cost.cost, cost.used_is_cost) == (Decimal(6), Decimal(6), True)


# --- what follows --------------------------------------------------------------------------------


class Case(NamedTuple):
    """Messages, the hold's amount, and what the book should say."""

    said: list[str]
    hold: str | None
    state: str
    net: str | None
    reason: str
    notes: Sequence[str] = ()
    status: str = "completed"


CHARGED = billed(
    "completed", billing("charged", "not_required", reserved="653184", charged="653184")
)
NO_PROOF = "failed; no proof of a refund"
AT_NO_CHARGE = "completed at no charge"
FAR = "far from the 65.3184 credits it is measured by"


def claimed(charge: str = "released", **changes: str) -> str:
    """A refund that is called completed, with the changed or left out members of its proof."""
    amounts = {"reserved": "408240", "charged": "0", "refunded": "408240", **changes}
    at = amounts.pop("at", REFUNDED_AT)
    scope = amounts.pop("scope", '"account_balance"')
    kept = {key: value for key, value in amounts.items() if value}
    told = billing(charge, "completed", **kept)
    return body("failed", billing=f'{{"refund_scope":{scope},{told}{at and ","}{at}}}')


REFUNDED_AT = bodies.REFUNDED_AT

OUTCOMES: dict[str, Case] = {
    # running
    "created, reserved in UC": Case(
        [bodies.CREATED], "65.3184", "running", None, "pending; the outcome is not known yet",
        status="pending",
    ),
    "created, reserved in credits": Case(
        [bodies.CREATED_IN_CREDITS], "65.3184", "running", None,
        "pending; the outcome is not known yet", status="pending",
    ),
    "created, with the estimate of an older manual": Case(
        [bodies.CREATED_2025], "65.3184", "running", None,
        "pending; the outcome is not known yet", status="pending",
    ),
    "a reserve in no unit that fits": Case(
        [reserved("1000")], "65.3184", "running", None, "pending; the outcome is not known yet",
        ["the unit of the 1000 reserved is not certain"], status="pending",
    ),
    "processing is later than pending": Case(
        [body("processing"), bodies.CREATED], None, "running", None,
        "processing; the outcome is not known yet", status="processing",
    ),
    "a word that nobody knows": Case(
        [body("processing"), used("65.3184", status="archived")], "65.3184", "running", None,
        "archived; the outcome is not known yet",
        [
            "'archived' is no status that is known; it counts as running",
            "65.3184 was told already, which is not final",
        ],
        status="archived",
    ),
    "charged while it runs": Case(
        [billed("processing", billing("charged", "unknown", charged="65.3184"))], "65.3184",
        "running", None, "processing; the outcome is not known yet",
        ["65.3184 was told already, which is not final"], status="processing",
    ),
    "refunded while it runs": Case(
        [refund("processing", "408240")], "65.3184", "running", None,
        "processing; the outcome is not known yet",
        ["a refund is proven, though the task has not ended"], status="processing",
    ),
    # completed
    "completed, in credits": Case(
        [bodies.CREATED, bodies.COMPLETED], "65.3184", "settled", "65.3184",
        "completed; 65.3184 credits charged",
    ),
    "completed, in UC": Case(  # 653,184 / 10,000
        [bodies.COMPLETED_IN_UC], "65.3184", "settled", "65.3184",
        "completed; 65.3184 credits charged",
    ),
    "completed, in both units": Case(
        [bodies.COMPLETED, bodies.COMPLETED_IN_UC], "65.3184", "settled", "65.3184",
        "completed; 65.3184 credits charged",
    ),
    "a short clip of a hold for 30 s": Case(  # 3 s: 24.4944 of 326.755296, a thirteenth
        [used("24.4944")], "326.755296", "settled", "24.4944",
        "completed; 24.4944 credits charged",
    ),
    "the same in UC": Case(
        [used("244944")], "326.755296", "settled", "24.4944", "completed; 24.4944 credits charged"
    ),
    "another model, one live answer": Case(
        [bodies.IMAGE], None, "settled", "1.783", "completed; 1.783 credits charged"
    ),
    "a row of the task list": Case(
        [bodies.ROW], "65.3184", "settled", "65.3184", "completed; 65.3184 credits charged"
    ),
    "the cost alone": Case(
        [body("completed", usage='{"cost":{"credits":"65.3184","usd":"0.96"}}')], "65.3184",
        "settled", "65.3184", "completed; 65.3184 credits charged",
    ),
    "an element in UC": Case(  # 10 UC are 0.001 credit
        [bodies.ELEMENT, bodies.ELEMENT_ALONE], "0.001", "settled", "0.001",
        "completed; 0.001 credits charged",
    ),
    "an element for a whole credit": Case(  # nothing costs 1 UC, so it is 1 credit
        [used("1")], "0.001", "settled", "1", "completed; 1 credit charged",
        [f"usage.credits_used is 1, {FAR.replace('65.3184', '0.001')}; taken as credits"],
    ),
    "at no charge": Case([used("0")], "65.3184", "settled", "0", AT_NO_CHARGE),
    "no amount": Case(
        [bodies.CREATED, body("completed")], "65.3184", "unpriced", None,
        "completed; the provider has not said what it cost",
    ),
    "a reserve is no charge": Case(
        [reserved("653184", "completed")], "65.3184", "unpriced", None,
        "completed; the provider has not said what it cost",
    ),
    "told before the end, and never after": Case(
        [used("65.3184", status="processing"), body("completed")], "65.3184", "unpriced", None,
        "completed; the provider has not said what it cost",
        ["65.3184 was told before the end, which is not final"],
    ),
    "told before the end, and another amount after": Case(
        [used("40", status="processing"), bodies.COMPLETED], "65.3184", "settled", "65.3184",
        "completed; 65.3184 credits charged",
    ),
    "completed before the charge was made": Case(
        [
            billed("completed", billing("reserved", "unknown", reserved="653184"),
                   usage='{"credits_used":0}'),
        ],
        "65.3184", "unpriced", None, "completed; the provider has not said what it cost",
    ),
    "and charged then": Case(
        [
            billed("completed", billing("reserved", "unknown", reserved="653184"),
                   usage='{"credits_used":0}'),
            CHARGED,
        ],
        "65.3184", "settled", "65.3184", "completed; 65.3184 credits charged",
    ),
    # units
    "without a hold, more than a credit of UC": Case(
        [bodies.COMPLETED_IN_UC], None, "unpriced", None,
        "completed; without its hold nobody knows whether its cost is told in credits",
        ["usage.credits_used is 653184, which makes no sense in credits, nor in 10^-4 credits"],
    ),
    "without a hold, few whole credits": Case(
        [used("44")], None, "settled", "44", "completed; 44 credits charged",
        ["usage.credits_used is 44; taken as credits, and no hold tells whether it is"],
    ),
    "without a hold, measured by a reserve with a fraction": Case(
        [reserved("40.824"), bodies.COMPLETED_IN_UC], None, "settled", "65.3184",
        "completed; 65.3184 credits charged",
    ),
    "without a hold, measured by the smallest with a fraction": Case(  # 9000.5 is 439 times 20.5
        [reserved("20.5"), used("9000.5")], None, "unpriced", None,
        "completed; without its hold nobody knows whether its cost is told in credits",
        ["usage.credits_used is 9000.5, which makes no sense in credits, nor in 10^-4 credits"],
    ),
    "a hold made much too small": Case(
        [used("40")], "1", "settled", "40", "completed; 40 credits charged",
        ["usage.credits_used is 40, far from the 1 credit it is measured by; taken as credits"],
    ),
    "an absurd number of credits, and no UC": Case(
        [used("653184.5")], "65.3184", "disputed", None,
        "completed; what it cost is told in no unit that makes sense",
        ["usage.credits_used is 653184.5, which makes no sense in credits, nor in 10^-4 credits"],
    ),
    "an absurd number of credits, and no hold": Case(
        [used("653184.5")], None, "unpriced", None,
        "completed; without its hold nobody knows whether its cost is told in credits",
        ["usage.credits_used is 653184.5, which makes no sense in credits, nor in 10^-4 credits"],
    ),
    "an absurd number of credits, beside a reserve": Case(
        [reserved("40.824"), used("653184.5")], None, "unpriced", None,
        "completed; without its hold nobody knows whether its cost is told in credits",
        ["usage.credits_used is 653184.5, which makes no sense in credits, nor in 10^-4 credits"],
    ),
    "far below the hold": Case(  # 1 / 65.3184 is less than a fortieth
        [used("1")], "65.3184", "settled", "1", "completed; 1 credit charged",
        [f"usage.credits_used is 1, {FAR}; taken as credits"],
    ),
    "billing in the unit of its reserve": Case(
        # 5,000 tells no unit beside 65.3184; 653,184 beside it is UC, so 5,000 is 0.5
        [billed("completed", billing("charged", "unknown", reserved="653184", charged="5000"))],
        "65.3184", "settled", "0.5", "completed; 0.5 credits charged",
        [f"billing.charged_credits is 5000, {FAR}; taken as 10^-4 credits"],
    ),
    "billing in the unit of the reserve outside": Case(
        [
            reserved("653184"),
            billed("completed", billing("charged", "unknown", charged="5000")),
        ],
        "65.3184", "settled", "0.5", "completed; 0.5 credits charged",
        [f"billing.charged_credits is 5000, {FAR}; taken as 10^-4 credits"],
    ),
    # authority
    "what was billed stands above what was used": Case(
        [used("70"), CHARGED], "65.3184", "settled", "65.3184",
        "completed; 65.3184 credits charged",
        ["usage.credits_used was told as 70; billing.charged_credits stands"],
    ),
    "what was used stands above the cost": Case(
        [body("completed", usage='{"credits_used":65.3184,"cost":{"credits":60.5}}')], "65.3184",
        "settled", "65.3184", "completed; 65.3184 credits charged",
        ["usage.cost.credits was told as 60.5; usage.credits_used stands"],
    ),
    "an amount of billing whose state is not told": Case(
        [billed("completed", '"charged_credits":65.3184')], "65.3184", "settled", "65.3184",
        "completed; 65.3184 credits charged",
    ),
    "a zero of billing whose state is not told": Case(
        [billed("completed", '"charged_credits":0')], "65.3184", "unpriced", None,
        "completed; the provider has not said what it cost",
    ),
    "of two amounts the larger stands": Case(
        [used("65.3184"), used("57.1536")], "65.3184", "disputed", "65.3184",
        "completed; 65.3184 credits charged",
        ["usage.credits_used was told as 57.1536 and 65.3184; the larger stands"],
    ),
    "first nothing, then an amount": Case(
        [used("0"), used("65.3184")], "65.3184", "disputed", "65.3184",
        "completed; 65.3184 credits charged",
        ["usage.credits_used was told as 0 and 65.3184; the larger stands"],
    ),
    # failed
    "moderated": Case(
        [bodies.CREATED, bodies.MODERATED], "65.3184", "unproven", None,
        "failed (content_policy_violation); no proof of a refund", status="failed",
    ),
    "timed out, with nothing used": Case(
        [bodies.TIMED_OUT], "65.3184", "unproven", None,
        "failed (generation_timeout); no proof of a refund",
        ["0 credits are told as used, which does not prove that the hold came back"],
        status="failed",
    ),
    "cancelled": Case(
        [bodies.CANCELLED], "65.3184", "unproven", None,
        "cancelled (request_cancelled); no proof of a refund", status="cancelled",
    ),
    "charged though failed": Case(
        [used("65.3184", status="failed")], "65.3184", "unproven", "65.3184",
        "failed all the same; 65.3184 credits charged", ["charged though failed"],
        status="failed",
    ),
    "charged though cancelled, by billing": Case(
        [billed("cancelled", billing("charged", "pending", reserved="653184", charged="653184"))],
        "65.3184", "unproven", "65.3184", "cancelled all the same; 65.3184 credits charged",
        ["charged though cancelled"], status="cancelled",
    ),
    "a refund that is pending": Case(
        [billed("failed", billing("released", "pending", reserved="653184"))], "65.3184",
        "unproven", None, NO_PROOF,
        ["the charge is told as released, and its refund as pending"], status="failed",
    ),
    # refunded
    "refunded, with proof, in UC": Case(
        [bodies.CREATED, refund("failed", "408240")], "65.3184", "settled", "0",
        "failed; a refund of 40.824 credits is proven", status="failed",
    ),
    "refunded, with proof, in credits": Case(
        [refund("cancelled", "40.824")], "65.3184", "settled", "0",
        "cancelled; a refund of 40.824 credits is proven", status="cancelled",
    ),
    "refunded, with proof, and no hold to tell the unit by": Case(
        [refund("failed", "408240")], None, "settled", "0", "failed; a refund is proven",
        status="failed",
    ),
    "the proof came in another message than the end": Case(
        [refund("processing", "408240"), failed("service_error")], "65.3184", "settled", "0",
        "failed (service_error); a refund of 40.824 credits is proven", status="failed",
    ),
    "charged first, refunded then": Case(
        [used("40.824", status="failed"), refund("failed", "408240")], "65.3184", "settled", "0",
        "failed; a refund of 40.824 credits is proven", status="failed",
    ),
    "completed and refunded": Case(
        [CHARGED, refund("completed", "653184")], "65.3184", "settled", "0",
        "completed; a refund of 65.3184 credits is proven", ["completed and refunded"],
    ),
    "two refunds are told": Case(
        [refund("failed", "408240"), refund("failed", "653184")], "65.3184", "settled", "0",
        "failed; a refund of 65.3184 credits is proven",
        ["different refunds were told: 408240 and 653184"], status="failed",
    ),
    "less came back than was charged": Case(  # 65.3184 - 40.824
        [CHARGED, refund("completed", "408240")], "65.3184", "disputed", "24.4944",
        "completed; 40.824 credits refunded of 65.3184 charged",
        ["more was charged than was refunded"],
    ),
    "no time": Case(
        [claimed(at="")], "65.3184", "unproven", None, NO_PROOF,
        [
            "a refund is called completed without its proof: refunded_at",
            "the charge is told as released, and its refund as completed",
        ],
        status="failed",
    ),
    "no amount reserved, so nothing to compare with": Case(
        [claimed(reserved="")], "65.3184", "unproven", None, NO_PROOF,
        [
            "a refund is called completed without its proof: refunded_credits",
            "the charge is told as released, and its refund as completed",
        ],
        status="failed",
    ),
    "less than was reserved": Case(
        [claimed(refunded="400000")], "65.3184", "unproven", None, NO_PROOF,
        [
            "a refund is called completed without its proof: refunded_credits",
            "the charge is told as released, and its refund as completed",
        ],
        status="failed",
    ),
    "nothing of nothing": Case(
        [claimed(reserved="0", refunded="0")], "65.3184", "unproven", None, NO_PROOF,
        [
            "a refund is called completed without its proof: refunded_credits",
            "the charge is told as released, and its refund as completed",
        ],
        status="failed",
    ),
    "to somewhere else": Case(
        [claimed(scope='"voucher"')], "65.3184", "unproven", None, NO_PROOF,
        [
            "a refund is called completed without its proof: refund_scope",
            "the charge is told as released, and its refund as completed",
        ],
        status="failed",
    ),
    "not released": Case(
        [claimed("reserved")], "65.3184", "unproven", None, NO_PROOF,
        ["a refund is called completed without its proof: charge_status, refunded_credits"],
        status="failed",
    ),
    "first without the proof, then with it": Case(
        [claimed(at=""), claimed()], "65.3184", "settled", "0",
        "failed; a refund of 40.824 credits is proven", status="failed",
    ),
    "completed, and a refund that is not proven": Case(
        [CHARGED, claimed("released", at="").replace("failed", "completed")], "65.3184",
        "disputed", "65.3184", "completed; 65.3184 credits charged",
        [
            "a refund is called completed without its proof: refunded_at",
            "the charge is told as released, and its refund as completed, not_required",
        ],
    ),
    "all of a charge that still stands": Case(
        [
            billed("completed", billing("charged", "completed", charged="65.3184",
                                        refunded="65.3184") + f",{REFUNDED_AT}"),
        ],
        "65.3184", "disputed", "65.3184", "completed; 65.3184 credits charged",
        ["a refund is called completed without its proof: refunded_credits"],
    ),
    "a part came back": Case(  # 65.3184 - 10
        [
            billed("completed", billing("charged", "completed", charged="653184",
                                        refunded="100000") + f",{REFUNDED_AT}"),
        ],
        "65.3184", "settled", "55.3184", "completed; 65.3184 credits charged, 10 of it refunded",
        ["10 credits of the charge came back"],
    ),
    "a part came back, first without the proof": Case(  # 65.3184 - 10
        [
            billed("completed", billing("charged", "completed", charged="65.3184",
                                        refunded="10") + at)
            for at in ("", f",{REFUNDED_AT}")
        ],
        "65.3184", "settled", "55.3184", "completed; 65.3184 credits charged, 10 of it refunded",
        ["10 credits of the charge came back"],
    ),
    "a part came back of a charge that makes no sense": Case(
        [
            billed("completed", billing("charged", "completed", charged="653184.5",
                                        refunded="10") + f",{REFUNDED_AT}"),
            bodies.COMPLETED,
        ],
        "65.3184", "disputed", "65.3184", "completed; 65.3184 credits charged",
        [
            "a refund of 10 is told, which does not fit the charge",
            (
                "billing.charged_credits is 653184.5, which makes no sense in credits,"
                " nor in 10^-4 credits"
            ),
        ],
    ),
    "a part came back, then more": Case(  # 65.3184 - 20.5
        [
            billed("completed", billing("charged", "completed", charged="65.3184",
                                        refunded=part) + f",{REFUNDED_AT}")
            for part in ("10", "20.5")
        ],
        "65.3184", "settled", "44.8184",
        "completed; 65.3184 credits charged, 20.5 of it refunded",
        ["20.5 credits of the charge came back"],
    ),
    "a part came back of a charge told in both units": Case(  # 65.3184 - 100,000 UC
        [
            billed("completed", billing("charged", "not_required", charged="65.3184")),
            billed("completed", billing("charged", "completed", charged="653184",
                                        refunded="100000") + f",{REFUNDED_AT}"),
        ],
        "65.3184", "settled", "55.3184", "completed; 65.3184 credits charged, 10 of it refunded",
        ["10 credits of the charge came back"],
    ),
    "a part came back, though it failed": Case(
        [
            billed("failed", billing("charged", "completed", charged="65.3184",
                                     refunded="10") + f",{REFUNDED_AT}"),
        ],
        "65.3184", "unproven", "55.3184",
        "failed all the same; 65.3184 credits charged, 10 of it refunded",
        ["charged though failed", "10 credits of the charge came back"], status="failed",
    ),
    "what was reserved beyond the charge came back": Case(
        # 244.944 - 65.3184 = 179.6256: the rest of a hold for 30 s, and not off the charge
        [
            billed("completed", billing("charged", "completed", reserved="244.944",
                                        charged="65.3184", refunded="179.6256")),
        ],
        "244.944", "settled", "65.3184", "completed; 65.3184 credits charged",
        ["179.6256 came back, as much as was reserved beyond the charge"],
    ),
    # contradictions
    "completed and failed": Case(
        [bodies.COMPLETED, bodies.MODERATED], "65.3184", "disputed", "65.3184",
        "completed; 65.3184 credits charged",
        ["the provider says completed and failed of the same task"],
    ),
    "completed at no charge, and failed": Case(
        [used("0"), failed("service_error")], "65.3184", "disputed", "0",
        "completed at no charge",
        ["the provider says completed and failed of the same task"],
    ),
    "failed and cancelled, and refunded": Case(
        [refund("failed", "408240"), bodies.CANCELLED], "65.3184", "disputed", "0",
        "failed (request_cancelled); a refund of 40.824 credits is proven",
        ["the provider says failed and cancelled of the same task"], status="failed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OUTCOMES.values(), ids=OUTCOMES.keys())
def test_what_the_book_should_say_follows_from_the_messages(case: Case) -> None:
    found = outcome(case.said, case.hold)
    assert found == Wanted(
        state=case.state,  # type: ignore[arg-type]
        status=case.status,
        net_e8=None if case.net is None else credits_to_e8(case.net),
        released=case.net == "0",
        reason=case.reason,
        notes=tuple(case.notes),
    )
    for said in permutations(case.said):
        assert outcome([*said, *said], case.hold) == found


def test_a_hold_of_nothing_measures_nothing() -> None:
    """Only parked messages know such a job."""
    for text in (bodies.COMPLETED, bodies.COMPLETED_IN_UC, bodies.CREATED):
        assert outcome([text], "0") == outcome([text], None)


def test_the_first_moment_counts_and_the_length_at_the_end() -> None:
    first = body("pending", created="1793525999", task_info='{"video_duration":5}')
    facts = joined([bodies.COMPLETED, first, body("processing", created="null")])
    assert facts.created_us == 1_793_525_999_000_000
    assert facts.video_seconds == ("8",)


def test_the_raw_amounts_stay_in_the_facts() -> None:
    facts = joined([bodies.CREATED, bodies.COMPLETED_IN_UC, bodies.COMPLETED])
    assert json.loads(facts_text(facts)) == {
        "billing_rules": ["per_second"],
        "created_us": 1_793_526_000_000_000,
        "models": ["kling-v3-motion-control"],
        "reserved": ["408240"],
        "statuses": ["completed", "pending"],
        "used": ["65.3184", "653184"],
        "user_groups": ["default"],
        "video_seconds": ["8"],
    }


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "null",
        '{"statuses":[]}',
        '{"statuses":"completed"',
        '{"statuses":[7]}',
        '{"statuses":["completed"],"colour":["red"]}',
        '{"statuses":["completed"],"used":["much"]}',
        '{"statuses":["completed"],"used":[65]}',
        '{"statuses":["completed"],"created_us":null}',
        "[" * 100_000,
    ],
)
def test_facts_that_somebody_else_wrote_are_refused(text: str) -> None:
    with pytest.raises(InvalidMessage, match="are not what this library writes"):
        facts_from(text)


# --- laws ----------------------------------------------------------------------------------------

AMOUNTS = st.sampled_from(
    ["0", "1", "10", "40.824", "408240", "65.3184", "653184", "57.1536", "1000", "653184.5", "1e7"]
)
STATUSES = st.sampled_from(
    ["pending", "processing", "completed", "failed", "cancelled", "archived"]
)


@st.composite
def messages(draw: st.DrawFn) -> str:
    """Some message about one task."""
    members = {}
    if draw(st.booleans()):
        fields = draw(
            st.dictionaries(st.sampled_from(["credits_used", "credits_reserved"]), AMOUNTS)
        )
        cost = draw(st.none() | AMOUNTS)
        told = [f'"{key}":{value}' for key, value in fields.items()]
        told += [] if cost is None else [f'"cost":{{"credits":{cost}}}']
        members["usage"] = "{" + ",".join(told) + "}"
    if draw(st.booleans()):
        charge = draw(st.sampled_from(["unknown", "reserved", "charged", "released"]))
        back = draw(st.sampled_from(["unknown", "not_required", "pending", "failed", "completed"]))
        amounts = st.dictionaries(st.sampled_from(["reserved", "charged", "refunded"]), AMOUNTS)
        told = [billing(charge, back, **draw(amounts))]
        told += draw(st.sampled_from([[], [REFUNDED_AT]]))
        members["billing"] = "{" + ",".join(told) + "}"
    code = draw(st.none() | st.sampled_from(["service_error", "x" * 255]))
    if code is not None:
        members["error"] = f'{{"code":"{code}"}}'
    members["created"] = draw(st.sampled_from(["1793526000", "1793526001", "null"]))
    return body(draw(STATUSES), **members)


HOLDS = st.sampled_from([None, 0, 100_000, 6_531_840_000, 32_675_529_600, 2**63 - 1])


@settings(max_examples=300, deadline=None)
@given(st.lists(messages(), min_size=1, max_size=6), st.data(), HOLDS)
def test_the_order_and_number_of_messages_make_no_difference(
    said: list[str], data: st.DataObject, hold_e8: int | None
) -> None:
    facts = joined(said)
    again = data.draw(st.permutations(said + data.draw(st.lists(st.sampled_from(said)))))
    assert joined(again) == facts
    assert facts_text(joined(again)) == facts_text(facts)
    assert wanted(joined(again), expected_e8=hold_e8) == wanted(facts, expected_e8=hold_e8)


@settings(max_examples=200, deadline=None)
@given(*[messages().map(lambda text: facts_of(one(text)))] * 3)
def test_joining_is_commutative_associative_and_idempotent(a: Facts, b: Facts, c: Facts) -> None:
    assert merged(a, b) == merged(b, a)
    assert merged(merged(a, b), c) == merged(a, merged(b, c))
    assert merged(a, merged(a, b)) == merged(a, b)


def test_joining_keeps_its_laws_where_more_is_told_than_is_kept() -> None:
    said = [used(str(amount), status=f"word {amount:02}") for amount in range(1, 13)]
    said += [used(str(amount)) for amount in range(1, 13)]
    facts = joined(said)
    assert facts == joined(said[::-1]) == joined(said[7:] + said[:9])
    assert facts.used == tuple(credits_to_e8(amount) for amount in range(5, 13))  # the largest
    assert facts.statuses == ("completed", *(f"word {number:02}" for number in range(1, 9)))


@settings(max_examples=200, deadline=None)
@given(st.lists(messages(), min_size=1, max_size=4))
def test_facts_survive_the_way_through_text(said: list[str]) -> None:
    facts = joined(said)
    assert facts_from(facts_text(facts)) == facts


@settings(max_examples=300, deadline=None)
@given(st.lists(messages(), min_size=1, max_size=6), HOLDS)
def test_nothing_invents_an_outcome(said: list[str], hold_e8: int | None) -> None:
    facts = joined(said)
    found = wanted(facts, expected_e8=hold_e8)
    assert found.state in {"running", "settled", "unproven", "unpriced", "disputed"}
    assert found.net_e8 is None or found.net_e8 >= 0
    # A hold is let go exactly where nothing is owed, and that is proven or said of a completion.
    assert found.released is (found.net_e8 == 0)
    if found.released:
        assert facts.refunded or (0 in {*facts.charged, *facts.used, *facts.cost})
    ended = {"completed", "failed", "cancelled"} & {*facts.statuses}
    assert (found.state == "running") == (not ended)
    if not ended or not (facts.charged or facts.used or facts.cost):
        assert found.net_e8 in ((0,) if ended and facts.refunded else (None,))
    if found.state == "settled":
        assert found.net_e8 is not None
        assert len(ended) == 1
    # What is paid was told, in one of the two units, less what came back.
    if found.net_e8 and not facts.returned and not facts.refunded:
        told = {*facts.charged, *facts.used, *facts.cost}
        assert found.net_e8 in told | {amount // 10_000 for amount in told}
    assert name(found.reason, "the reason") == found.reason
    assert all(name(note, "a note") for note in found.notes if len(note) < 255)


@settings(max_examples=100, deadline=None)
@given(st.integers(min_value=1, max_value=10**9), st.integers(min_value=25, max_value=400))
def test_an_amount_near_the_hold_is_understood_in_either_unit(uc: int, percent: int) -> None:
    """Whatever is told within a fortieth and four times of the hold; here a quarter to four."""
    amount_e8 = (uc + 9) * 10_000
    hold_e8 = max(1, amount_e8 * 100 // percent)
    for told in (e8_to_credits(amount_e8), Decimal(uc + 9)):
        found = wanted(facts_of(one(used(f"{told:f}"))), expected_e8=hold_e8)
        assert (found.state, found.net_e8, found.notes) == ("settled", amount_e8, ())


# --- bad input -----------------------------------------------------------------------------------

SEEDS = [
    bodies.CREATED, bodies.COMPLETED, bodies.IMAGE, bodies.ELEMENT, bodies.MODERATED, bodies.PAGE,
    refund("failed", "408240"), CHARGED, envelope(bodies.COMPLETED), envelope(bodies.PAGE),
]  # fmt: skip


def survives(text: str | bytes) -> None:
    """Whatever it is, it is read and works on, or is refused."""
    try:
        found = read_messages(text)
    except InvalidMessage:
        return
    for message in found:
        assert one(message.body) == message._replace(job=None, received_us=None)
        message.body.encode()
        facts = facts_of(message)
        assert facts_from(facts_text(facts)) == facts
        for hold_e8 in (None, 6_531_840_000):
            assert name(wanted(facts, expected_e8=hold_e8).reason, "the reason")


@pytest.mark.parametrize("seed", SEEDS)
def test_a_message_that_breaks_off_is_refused(seed: str) -> None:
    for end in range(len(seed)):
        with pytest.raises(InvalidMessage):
            read_messages(seed[:end])


@settings(max_examples=500, deadline=None)
@given(st.data())
def test_changed_messages_are_read_or_refused(data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(SEEDS))
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 12)))
        pieces = [*'{}[]",:-.0e9', "null", "true", "1e999", "\\ud800", '"id":', "[[", "\x00", "é"]
        new = data.draw(st.sampled_from(pieces) | st.text(max_size=3))
        text = text[:start] + new + text[end:]
    survives(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["id", "status", "usage", "billing", "error", "created", "task_info", "body", "data",
             "job", "credits_used", "cost", "credits", "charge_status", "reserved_credits"]
        ),
        inner,
        max_size=6,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(JSON)
def test_any_json_is_read_or_refused(value: object) -> None:
    survives(json.dumps(value))
    survives(json.dumps({"id": "a", "status": "completed", "usage": value, "billing": value}))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str | bytes) -> None:
    survives(text)

"""What the provider says of tasks, in the shapes of its documentation and its client.

Shapes and figures were read in October and November 2026: the API manual (answer that creates a
task, query, callback, batch query), the client of the command line 0.14.1 (`usage.cost`, the
`billing` object, the rows of the list), and one answer of a live task (an image, 2026-07-01).
Bodies are made as text, so that numbers stand as they were written.

One second of Motion Control in 720p costs 8.1648 credits, 81,648 of the provider's UC; a job of 8 s
costs 65.3184 credits, and the manual's sample reserves 408,240, which is 5 s in UC.
"""

from __future__ import annotations

TASK = "task-unified-1793526000-k3mc"
MOTION = "kling-v3-motion-control"

USAGE = '"billing_rule":"per_second","user_group":"default"'
REFUNDED_AT = '"refunded_at":"2026-11-01T09:44:02Z"'


def body(status: str, *, task: str = TASK, model: str = MOTION, **members: str) -> str:
    """A task with that status; members are added as the JSON they are given as."""
    progress = {"pending": 0, "processing": 42}.get(status, 100)
    told = {
        "created": "1793526000",
        "id": f'"{task}"',
        "model": f'"{model}"',
        "object": '"video.generation.task"',
        "progress": str(progress),
        "status": f'"{status}"',
        "task_info": '{"can_cancel":false,"estimated_time":300,"video_duration":8}',
        "type": '"video"',
        **members,
    }
    return "{" + ",".join(f'"{key}":{value}' for key, value in told.items()) + "}"


def used(amount: str, *, status: str = "completed", **members: str) -> str:
    """A task that tells the credits used."""
    return body(status, usage=f'{{{USAGE},"credits_used":{amount}}}', **members)


def reserved(amount: str, status: str = "pending", **members: str) -> str:
    """A task that tells the credits reserved."""
    return body(status, usage=f'{{{USAGE},"credits_reserved":{amount}}}', **members)


def billed(status: str, billing: str, **members: str) -> str:
    """A task with the newer `billing` object."""
    return body(status, billing=f'{{"refund_scope":"account_balance",{billing}}}', **members)


def billing(charge: str, refund: str, **amounts: str) -> str:
    """The members of a `billing` object."""
    told = [f'"charge_status":"{charge}"', f'"refund_status":"{refund}"']
    return ",".join([*told, *(f'"{key}_credits":{value}' for key, value in amounts.items())])


def failed(code: str, *, status: str = "failed", **members: str) -> str:
    """A task that ended with an error."""
    error = f'{{"code":"{code}","message":"The task failed.","type":"task_error"}}'
    return body(status, error=error, **members)


def refund(status: str, amount: str, **members: str) -> str:
    """A task whose refund has the proof that the provider's own client asks for."""
    told = billing("released", "completed", reserved=amount, charged="0", refunded=amount)
    return billed(status, f"{told},{REFUNDED_AT}", **members)


CREATED = reserved("408240")
"""The answer that creates a task, as in the manual: 5 s in UC, although the clip has 8."""

CREATED_IN_CREDITS = reserved("65.3184")
CREATED_2025 = body("pending", estimated_cost="65.3184")
"""An older manual's answer: no usage, and an estimate that is no charge."""

COMPLETED = used(
    "65.3184",
    duration="143",
    results='["https://cdn.example/out.mp4?sign=c2VjcmV0"]',
    result_data="[]",
)
"""Query and callback; `duration` is the time of processing."""

COMPLETED_IN_UC = used("653184", duration="143")

IMAGE = (
    '{"created":1782900000,"id":"task-unified-1782900000-nb2l","model":"nanobanana-2-lite",'
    '"object":"image.generation.task","progress":100,'
    '"results":["https://cdn.example/1.png"],"status":"completed","type":"image",'
    '"task_info":{"can_cancel":false},'
    '"usage":{"credits_used":1.783,"input_tokens":13,"output_tokens":1290,"total_tokens":1303}}'
)
"""The one live answer that is known: plain credits, and no billing rule, reserve or group."""

ELEMENT = used(
    "10",
    model="kling-custom-element",
    task="task-video-1793526000-elem",
    results="[]",
    result_data='[{"element_id":"872145","element_name":"Mei"}]',
)
ELEMENT_ALONE = used(
    "10",
    model="kling-custom-element",
    task="task-video-1793526000-elem",
    result_data='{"element_id":872145}',
)
"""Both shapes of an element's result."""

REFUSED = (
    '{"error":{"code":"insufficient_quota","message":"Not enough credits","type":"quota_error"}}'
)
"""Refused at once: there is no task, and nothing was charged."""

MODERATED = failed("content_policy_violation", usage=f'{{{USAGE},"credits_reserved":408240}}')
TIMED_OUT = failed("generation_timeout", usage=f'{{{USAGE},"credits_used":0}}')
CANCELLED = failed("request_cancelled", status="cancelled")

ROW = (
    f'{{"id":"{TASK}","model":"{MOTION}","type":"video","status":"completed",'
    '"created_at":"2026-11-01T09:40:00Z","credits_used":65.3184,"has_results":true}'
)
ROW_RUNNING = (
    '{"id":"task-unified-1793526001-k3mc","model":"kling-v3-motion-control","type":"video",'
    '"status":"processing","created_at":1793526001,"has_results":false}'
)
PAGE = f'{{"data":[{ROW},{ROW_RUNNING}],"total":2,"page":1,"page_size":20}}'
"""The task list; the batch query answers with whole tasks in the same frame."""


def envelope(inner: str, *, job: str = "job-1", at: str = "2026-10-10T12:00:00Z") -> str:
    """Our own frame around what came in."""
    return f'{{"job":"{job}","received_at":"{at}","body":{inner}}}'

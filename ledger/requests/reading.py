"""From the provider's JSON to a request, with every fault at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Literal

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ledger.errors import Fault, InvalidRequest
from ledger.requests.bodies import (
    CustomElement,
    ImageToVideo,
    MotionControl,
    ReferenceToVideo,
    Request,
    TextToVideo,
    VideoEdit,
)
from ledger.requests.limits import Limits, faults

__all__ = ["BODIES", "BodyKind", "build", "must", "read_body"]

BodyKind = Literal[
    "custom_element",
    "image_to_video",
    "motion_control",
    "reference_to_video",
    "text_to_video",
    "video_edit",
]

BODIES: Mapping[str, type[Request]] = {
    "custom_element": CustomElement,
    "image_to_video": ImageToVideo,
    "motion_control": MotionControl,
    "reference_to_video": ReferenceToVideo,
    "text_to_video": TextToVideo,
    "video_edit": VideoEdit,
}
"""The request class of each kind of body a price file can name."""


def read_body(
    kind: type[Request],
    body: Mapping[str, Any],
    limits: Limits | None,
    default_seconds: int | None = None,
) -> Request:
    """The request that a complete body of the provider's means.

    Raises:
        InvalidRequest: with every fault of shape and every breach of the published limits.
    """
    flat, found = _flatten(kind, body)
    return _validated(kind, flat, limits, found, default_seconds, complete=True)


def build(
    kind: type[Request],
    fields: Mapping[str, Any],
    limits: Limits | None,
    default_seconds: int | None = None,
) -> Request:
    """A request from flat attributes, which need not be complete.

    Raises:
        InvalidRequest: with every fault of shape and every breach of the published limits.
    """
    return _validated(kind, fields, limits, [], default_seconds, complete=False)


def _validated(
    kind: type[Request],
    flat: Mapping[str, Any],
    limits: Limits | None,
    found: list[Fault],
    default_seconds: int | None,
    *,
    complete: bool,
) -> Request:
    try:
        request = kind.model_validate(flat)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=True)
        found += [_shape_fault(kind, detail, complete=complete) for detail in details]
        wrong = {detail["loc"][0] for detail in details if detail["loc"]}
        fields = {name: value for name, value in flat.items() if name not in wrong}
    else:
        fields = request.__dict__
    if limits is not None:
        # Whether too long a reference is refused or capped is for the price to say.
        breaches = faults(
            limits,
            fields,
            flat,
            complete=complete,
            capped=True,
            default_seconds=default_seconds,
        )
        known = {fault.field for fault in found}
        for breach in breaches:
            field = _path(kind, breach.field, complete=complete)
            if not any(name == field or name.startswith(f"{field}.") for name in known):
                found.append(Fault(field, breach.problem))
    if found:
        raise InvalidRequest(f"request for {_model_name(flat, kind)}", found)
    return request


def _flatten(kind: type[Request], body: Mapping[str, Any]) -> tuple[dict[str, Any], list[Fault]]:
    """Lift `model_params` to the top, and name every field that stands at the wrong level."""
    flat = dict(body)
    params = flat.pop("model_params", {})
    nested, found = kind.nested, []
    if not nested.isdisjoint(flat):
        misplaced = sorted(nested & flat.keys())
        found = [Fault(name, "belongs under model_params") for name in misplaced]
    if not isinstance(params, Mapping):
        return flat, [*found, Fault("model_params", "must be an object")]
    for name, value in params.items():
        if name in nested:
            flat[name] = value
        elif name in kind.model_fields:
            found.append(Fault(f"model_params.{name}", "belongs at the top level of the request"))
        else:
            problem = _not_a_field(str(name), nested)
            found.append(Fault(f"model_params.{name}", problem))
    return flat, found


def _path(kind: type[Request], field: str, *, complete: bool) -> str:
    return (
        f"model_params.{field}"
        if complete and field.split(".", maxsplit=1)[0] in kind.nested
        else field
    )


def _shape_fault(kind: type[Request], detail: ErrorDetails, *, complete: bool) -> Fault:
    field = _path(kind, ".".join(str(part) for part in detail["loc"]), complete=complete)
    context = detail.get("ctx", {})
    match detail["type"]:
        case "missing":
            problem = "is required"
        case "extra_forbidden":
            names = kind.model_fields.keys() - {"expected_seconds"}
            problem = _not_a_field(str(detail["loc"][-1]), names)
        case "literal_error":
            given = detail["input"]
            shown = isinstance(given, str) and re.fullmatch(r"[\w .-]{1,20}", given)
            problem = f"must be {context['expected']}" + (f", not {given!r}" if shown else "")
        case "string_pattern_mismatch":
            problem = "must be an http or https address"
        case "int_type" | "int_from_float" | "int_parsing":
            problem = "must be a whole number"
        case "seconds":
            problem = str(context["problem"])
        case _:
            problem = must(detail["msg"])
    return Fault(field, problem)


def must(message: str) -> str:
    """A message of pydantic's in our own manner."""
    message = message.removeprefix("Value error, ")
    for theirs, ours in (
        ("Input should be a valid string", "must be text"),
        ("Input should be a valid ", "must be a valid "),
        ("Input should ", "must "),
        ("Decimal input should ", "must "),
    ):
        message = message.replace(theirs, ours)
    return message[0].lower() + message[1:]


def _not_a_field(name: str, known: Any) -> str:
    nearest = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return "is not a field of this request" + (f"; did you mean {nearest[0]}?" if nearest else "")


def _model_name(fields: Mapping[str, Any], kind: type[Request]) -> str:
    model = fields.get("model") or kind.model_fields["model"].default
    return model if isinstance(model, str) else kind.__name__

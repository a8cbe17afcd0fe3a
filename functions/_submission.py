"""What the three ways to post a job share: headers and bodies in, the accepted job out."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from comfyline.api.v1 import views
from comfyline.contract.limits import MAX_WAIT_SECONDS
from comfyline.contract.v1 import requests, responses
from comfyline.service.errors import (
    MAX_FIELD_ERRORS,
    ComfylineError,
    FieldError,
    InvalidRequest,
    MalformedRequest,
)
from comfyline.service.intake.submit import Accepted, Caller
from comfyline.service.metrics import Metric, Metrics
from functions._http import Answer, Request
from functions._wiring import Wiring

F = TypeVar("F", bound=BaseModel)

_KEY = re.compile(r"[\x20-\x7e]{1,255}")
_WEBHOOK = "webhook_url is reserved and not supported yet."


def caller(request: Request) -> Caller:
    """Who posts.

    Raises:
        MalformedRequest: the Idempotency-Key is none.
    """
    key = idempotency_key(request)
    return Caller(
        owner=request.owner, limits=request.limits, idempotency_key=key, request_id=request.id
    )


def accept(request: Request, wiring: Wiring, *, wait: int | None) -> Answer:
    """Accept the body's job: 202, or 200 with the whole job if it ended within `wait` seconds."""
    accepted = measured(wiring.metrics, lambda: _submitted(request, wiring))
    return answer(wiring, accepted, wait=wait)


def _submitted(request: Request, wiring: Wiring) -> Accepted:
    request.require_jobs_enabled()
    sent = request.json()
    return wiring.submitter.submit(parse_submission(sent), sent, caller(request))


def measured(metrics: Metrics, post: Callable[[], Accepted]) -> Accepted:
    """What `post` returns or raises, recorded."""
    try:
        accepted = post()
    except ComfylineError as error:
        metrics.record(Metric.JOBS_REFUSED, code=error.code)
        raise
    metrics.record(Metric.JOBS_REPLAYED if accepted.replayed else Metric.JOBS_ACCEPTED)
    return accepted


def answer(wiring: Wiring, accepted: Accepted, *, wait: int | None) -> Answer:
    """The accepted job, waited for if that was asked."""
    body = views.accepted(accepted.job)
    headers = {"location": body.location}
    if accepted.replayed:
        headers["idempotent-replayed"] = "true"
    if wait is None:
        return Answer(body, 202, headers)
    headers["preference-applied"] = f"wait={wait}"
    view = _ended(wiring, accepted, wait)
    return Answer(view, 200, headers) if view else Answer(body, 202, headers)


def _ended(wiring: Wiring, accepted: Accepted, wait: int) -> responses.JobView | None:
    record = wiring.wait_room.wait(accepted.job, f"wait_{secrets.token_hex(8)}", wait)
    if record is None:
        return None
    return views.job_view(record, store=wiring.artifacts, now=wiring.clock())


def preferred_wait(request: Request) -> int | None:
    """The seconds of `Prefer: wait=N` (RFC 7240), at most what the service waits; None: none.

    Raises:
        MalformedRequest: N is no number.
    """
    for preference in (request.header("prefer") or "").split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() != "wait":
            continue
        text = value.strip().strip('"')
        if not (text.isascii() and text.isdigit()):
            raise MalformedRequest("Prefer: wait=N takes a number of seconds.")
        return min(int(text[:9]), MAX_WAIT_SECONDS)
    return None


def idempotency_key(request: Request) -> str | None:
    """The key of the header, unquoted if it is a structured-field string.

    Raises:
        MalformedRequest: it is empty, too long or not printable.
    """
    key = request.header("idempotency-key")
    if key is None:
        return None
    if len(key) >= 2 and key[0] == key[-1] == '"':
        key = key[1:-1]
    if not _KEY.fullmatch(key) or not key.strip():
        raise MalformedRequest("Idempotency-Key is 1 to 255 printable ASCII characters.")
    return key


def parse_submission(sent: Any) -> requests.TextToImageRequest | requests.WorkflowRequest:
    """The request in one of its two forms.

    Raises:
        InvalidRequest: with every field that is wrong.
    """
    if not isinstance(sent, dict):
        raise InvalidRequest("The body is a JSON object.", [FieldError(("body",), "not an object")])
    if "webhook_url" in sent:
        raise InvalidRequest(_WEBHOOK, [FieldError(("body", "webhook_url"), _WEBHOOK)])
    if ("prompt" in sent) == ("workflow" in sent):
        detail = "Send exactly one of `prompt` and `workflow`."
        raise InvalidRequest(detail, [FieldError(("body",), detail)])
    if "workflow" in sent:
        return parse(requests.WorkflowRequest, sent)
    return parse(requests.TextToImageRequest, sent)


def parse(form: type[F], sent: Any) -> F:
    """The body as `form`.

    Raises:
        InvalidRequest: with every field that is wrong.
    """
    try:
        return form.model_validate(sent)
    except ValidationError as error:
        raise InvalidRequest("The request has invalid fields.", _field_errors(error)) from error


def _field_errors(error: ValidationError) -> list[FieldError]:
    if error.error_count() > MAX_FIELD_ERRORS:
        # Each that is listed takes a kilobyte, and a body has room for half a million.
        return [FieldError(("body",), f"{error.error_count()} fields are invalid")]
    return [FieldError(("body", *e["loc"]), e["msg"]) for e in error.errors()]

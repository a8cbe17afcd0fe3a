"""POST /api/v1/jobs"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

from aws_lambda_powertools import Logger
from pydantic import ValidationError

from comfyline import views, wire
from comfyline.domain.errors import (
    MAX_FIELD_ERRORS,
    FieldError,
    InvalidRequest,
    MalformedRequest,
)
from comfyline.settings import SubmitJobSettings
from comfyline.usecases.submit import Defaults, Submission, submit
from functions import _wiring
from functions._http import Answer, Request, http_handler

logger = Logger(service="submit_job")

_KEY = re.compile(r"[\x20-\x7e]{1,255}")


@http_handler(logger)
def handler(request: Request) -> Answer:
    """202 with the job; a replay of the same key and body answers the same job."""
    settings = _wiring.settings(SubmitJobSettings)
    sent = request.json()
    accepted = submit(
        Submission(
            owner=request.owner,
            request=parse_submission(sent),
            sent=sent,
            idempotency_key=idempotency_key(request),
            request_id=request.id,
        ),
        store=_wiring.jobs(settings.jobs_table),
        queue=_wiring.queue(settings),
        clock=_wiring.clock,
        defaults=_defaults(settings),
    )
    body = views.accepted(accepted.job)
    headers = {"location": body.location}
    if accepted.replayed:
        headers["idempotent-replayed"] = "true"
    return Answer(body, 202, headers)


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


def parse_submission(sent: Any) -> wire.TextToImageRequest | wire.WorkflowRequest:
    """The request in one of its two forms.

    Raises:
        InvalidRequest: with the fields that are wrong.
    """
    if not isinstance(sent, dict):
        raise InvalidRequest("The body is a JSON object.", [FieldError(("body",), "not an object")])
    if ("prompt" in sent) == ("workflow" in sent):
        detail = "Send exactly one of `prompt` and `workflow`."
        raise InvalidRequest(detail, [FieldError(("body",), detail)])
    form = wire.WorkflowRequest if "workflow" in sent else wire.TextToImageRequest
    try:
        return form.model_validate(sent)
    except ValidationError as error:
        raise InvalidRequest("The request has invalid fields.", _field_errors(error)) from error


def _field_errors(error: ValidationError) -> list[FieldError]:
    if error.error_count() > MAX_FIELD_ERRORS:
        # Each that is listed takes a kilobyte, and a body has room for half a million.
        return [FieldError(("body",), f"{error.error_count()} fields are invalid")]
    return [FieldError(("body", *e["loc"]), e["msg"]) for e in error.errors()]


def _defaults(settings: SubmitJobSettings) -> Defaults:
    return Defaults(
        checkpoint=settings.default_checkpoint,
        start_deadline=timedelta(seconds=settings.start_deadline_seconds),
        execution_timeout=timedelta(seconds=settings.execution_timeout_seconds),
        retention=timedelta(seconds=settings.retention_seconds),
    )

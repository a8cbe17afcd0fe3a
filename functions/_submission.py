"""What the ways to post a job share: a request in, the accepted job out."""

from __future__ import annotations

import re

from comfyline.api.v1 import commands, views
from comfyline.contract.limits import MAX_WAIT_SECONDS
from comfyline.contract.v1 import responses
from comfyline.service.access.slots import Limits
from comfyline.service.errors import MalformedRequest
from comfyline.service.intake.submission import Accepted, Caller
from functions._http import Answer
from functions._request import Request
from functions._wiring import Wiring

_KEY = re.compile(r"[\x20-\x7e]{1,255}")


def submit(request: Request, wiring: Wiring, *, wait: int | None) -> Answer:
    """Accept the body's job: 202, or 200 with the whole job if it ends within `wait` seconds."""
    submitter = wiring.intake.submitter
    with submitter.refusals_recorded():
        request.require_jobs_enabled()
        submission = commands.submission(request.json())
        accepted = submitter.submit(submission, caller_of(request, idempotency_key(request)))
    return _answer(accepted, wiring, wait, request.limits)


def retry(request: Request, wiring: Wiring) -> Answer:
    """Accept a new job from the input of the job in the path: 202."""
    submitter = wiring.intake.submitter
    with submitter.refusals_recorded():
        request.require_jobs_enabled()
        accepted = submitter.retry(request.job_id, caller_of(request, idempotency_key(request)))
    return _answer(accepted, wiring, None, request.limits)


def caller_of(request: Request, key: str | None) -> Caller:
    """Who posts the request, with this idempotency key."""
    sender = request.sender
    return Caller(
        owner=sender.owner,
        user=sender.user,
        limits=sender.limits,
        allowance=sender.allowance,
        idempotency_key=key,
        request_id=request.id,
        owner_watched_until=request.owner_watched_until,
    )


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
        raise MalformedRequest("Idempotency-Key must have 1 to 255 printable ASCII characters.")
    return key


def preferred_wait(request: Request) -> int | None:
    """The seconds of `Prefer: wait=N` (RFC 7240), at most MAX_WAIT_SECONDS; None: not sent.

    Raises:
        MalformedRequest: N is not a number.
    """
    for preference in (request.header("prefer") or "").split(","):
        name, _, value = preference.partition(";")[0].partition("=")
        if name.strip().lower() != "wait":
            continue
        text = value.strip().strip('"')
        if not (text.isascii() and text.isdigit()):
            raise MalformedRequest("N in Prefer: wait=N must be a whole number of seconds.")
        return min(int(text[:9]), MAX_WAIT_SECONDS)
    return None


def _answer(accepted: Accepted, wiring: Wiring, wait: int | None, limits: Limits) -> Answer:
    body = views.accepted(accepted.job)
    headers = {"location": body.location}
    if accepted.replayed:
        headers["idempotent-replayed"] = "true"
    if wait is None:
        return Answer(body, 202, headers)
    headers["preference-applied"] = f"wait={wait}"
    view = _ended(accepted, wiring, wait, limits)
    return Answer(view, 200, headers) if view else Answer(body, 202, headers)


def _ended(
    accepted: Accepted, wiring: Wiring, seconds: int, limits: Limits
) -> responses.JobView | None:
    """The whole job if it ends within that time."""
    record = wiring.intake.wait_room.wait(accepted.job, seconds, limits)
    if record is None:
        return None
    return views.job_view(record, store=wiring.aws.artifacts, now=wiring.clock())

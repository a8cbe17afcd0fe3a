"""POST /api/v2/jobs"""

from __future__ import annotations

from comfyline.api.comfy_v2 import commands
from comfyline.service.errors import IdempotencyKeyReused, InvalidRequest, MalformedRequest
from comfyline.service.intake.submission import Caller
from comfyline.service.jobs.job import Job, JobParams, JobRecord
from functions._comfy import count_bytes, views
from functions._handlers import at_start
from functions._http import Answer, http_handler
from functions._request import Request
from functions._submission import caller_of, idempotency_key
from functions._wiring import Wiring

at_start(lambda wiring: wiring.intake.submitter)


@http_handler(for_tokens=True)
def handler(request: Request, wiring: Wiring) -> Answer:
    """201 with the new job. A key that has made a job is refused, whatever the request is."""
    with wiring.intake.submitter.refusals_recorded():
        request.require_jobs_enabled()
        caller = caller_of(request, _key_of(request))
        try:
            record = _submitted(request, wiring, caller)
        except InvalidRequest:
            if earlier := wiring.intake.submitter.earlier(caller):
                raise _reused(earlier) from None
            raise
    position = wiring.queue_position(record.job)
    return Answer(views(wiring).job(record, queue_position=position), 201)


def _key_of(request: Request) -> str | None:
    """The Idempotency-Key.

    Raises:
        InvalidRequest: it is empty, too long or not printable. Comfy's contract has a 422 for it.
    """
    try:
        return idempotency_key(request)
    except MalformedRequest as error:
        raise InvalidRequest(error.detail) from error


def _submitted(request: Request, wiring: Wiring, caller: Caller) -> JobRecord:
    lane = commands.priority(request.header("x-comfyline-priority"))
    sent = commands.submission(request.json(), lane)
    spend = count_bytes(request, wiring)
    submission = wiring.intake.asset_resolver.resolved(sent, request.principal, spend)
    accepted = wiring.intake.submitter.submit(submission, caller)
    if accepted.replayed:
        raise _reused(accepted.job)
    return JobRecord(accepted.job, JobParams(params={}, metadata=submission.metadata))


def _reused(earlier: Job) -> IdempotencyKeyReused:
    text = f"This Idempotency-Key has made the job {earlier.id}. Use a new key for a new job."
    return IdempotencyKeyReused(text, earlier.id)

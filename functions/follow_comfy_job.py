"""GET /api/v2/jobs/{job_id}/events: a long poll, because the gateway cannot stream.

A client reads the frames of the answer, and connects again as long as the job has not ended.
"""

from __future__ import annotations

from dataclasses import replace

from comfyline.api.comfy_v2.errors import ComfyRefusal
from comfyline.api.comfy_v2.events import event_stream
from comfyline.api.comfy_v2.views import MAX_OUTPUTS
from comfyline.service.jobs.job import JobRecord
from comfyline.service.jobs.result import Artifact
from functions._comfy import BRIEF_PATIENCE, retried, views
from functions._handlers import at_start
from functions._http import Answer, http_handler
from functions._request import Request
from functions._wiring import Wiring

HEADERS = {"content-type": "text/event-stream", "cache-control": "no-store"}


at_start(lambda wiring: (wiring.aws.jobs, wiring.aws.artifacts))


@http_handler(scope="jobs:read", for_tokens=True)
def handler(request: Request, wiring: Wiring) -> Answer:
    """200 with the state of the job: when it has changed, after a while, or at once if it ended."""
    record, artifacts = _read(request, wiring)
    if not record.job.status.is_terminal:
        job = wiring.intake.wait_room.follow(record.job, request.gateway_id, request.limits)
        if job is None:
            # A client of Comfy takes 501 for "no events here", and goes on without them.
            raise ComfyRefusal("not_implemented", "Too many clients wait; poll the job instead.")
        record = replace(record, job=job)
        if job.status.is_terminal:
            record, artifacts = _read(request, wiring)
    position = wiring.queue_position(record.job)
    return Answer(event_stream(record.job, artifacts, position, views(wiring)), 200, HEADERS)


def _read(request: Request, wiring: Wiring) -> tuple[JobRecord, tuple[Artifact, ...]]:
    return retried(
        lambda: wiring.read_artifacts(request.job_id, request.principal, range(MAX_OUTPUTS)),
        wiring,
        BRIEF_PATIENCE,
    )

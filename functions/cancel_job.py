"""DELETE /api/v1/jobs/{job_id}"""

from __future__ import annotations

from aws_lambda_powertools import Logger

from comfyline.api.v1 import views
from comfyline.contract.v1 import responses
from comfyline.service.jobs.cancel import Cancellation, cancel, purge
from comfyline.service.settings import CancelJobSettings
from functions import _wiring
from functions._http import Answer, Request, http_handler, invalid

logger = Logger(service="cancel_job")


@http_handler(logger)
def handler(request: Request) -> Answer:
    """202 with what became of the cancel, or of the purge."""
    text = request.query("purge")
    if text not in (None, "true", "false"):
        raise invalid("purge is true or false", "query", "purge")
    done = _done(request, is_purge=text == "true")
    status = views.status_of(done.job)
    return Answer(
        responses.CancelAnswer(job_id=done.job.id, status=status, message=done.message), 202
    )


def _done(request: Request, *, is_purge: bool) -> Cancellation:
    settings = _wiring.settings(CancelJobSettings)
    store, clock = _wiring.jobs(settings.jobs_table), _wiring.clock
    if not is_purge:
        return cancel(request.job_id, request.owner, store=store, clock=clock)
    files = _wiring.artifacts(settings.artifacts_bucket)
    return purge(request.job_id, request.owner, store=store, artifacts=files, clock=clock)

"""DELETE /api/v1/jobs/{job_id}"""

from __future__ import annotations

from aws_lambda_powertools import Logger

from comfyline import views, wire
from comfyline.settings import CancelJobSettings
from comfyline.usecases.cancel import cancel
from functions import _wiring
from functions._http import Answer, Request, http_handler

logger = Logger(service="cancel_job")


@http_handler(logger)
def handler(request: Request) -> Answer:
    """202 with what became of the cancel."""
    settings = _wiring.settings(CancelJobSettings)
    store = _wiring.jobs(settings.jobs_table)
    done = cancel(request.job_id, request.owner, store=store, clock=_wiring.clock)
    status = views.status_of(done.job)
    return Answer(wire.CancelAnswer(job_id=done.job.id, status=status, message=done.message), 202)

"""POST /api/v1/jobs/{job_id}/retry"""

from __future__ import annotations

from aws_lambda_powertools import Logger

from comfyline.service.intake.submit import Accepted
from functions._http import Answer, Request, http_handler
from functions._submission import answer, caller, measured
from functions._wiring import Wiring

logger = Logger(service="retry_job")


@http_handler(logger)
def handler(request: Request, wiring: Wiring) -> Answer:
    """202 with a new job from the same input."""
    return answer(wiring, measured(wiring.metrics, lambda: _retried(request, wiring)), wait=None)


def _retried(request: Request, wiring: Wiring) -> Accepted:
    request.require_jobs_enabled()
    return wiring.submitter.retry(request.job_id, caller(request))

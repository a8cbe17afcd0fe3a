"""POST /api/v1/jobs/{job_id}/retry"""

from __future__ import annotations

from aws_lambda_powertools import Logger

from comfyline.service.intake.submit import Accepted
from functions._http import Answer, Request, http_handler
from functions._submission import answer, caller, measured, submitter

logger = Logger(service="retry_job")


@http_handler(logger)
def handler(request: Request) -> Answer:
    """202 with a new job from the same input."""
    return answer(measured(lambda: _retried(request)), wait=None)


def _retried(request: Request) -> Accepted:
    request.require_jobs_enabled()
    return submitter().retry(request.job_id, caller(request))

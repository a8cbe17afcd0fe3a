"""POST /api/v1/jobs/{job_id}/retry"""

from __future__ import annotations

from aws_lambda_powertools import Logger

from functions._http import Answer, Request, http_handler
from functions._submission import answer, caller, submitter

logger = Logger(service="retry_job")


@http_handler(logger)
def handler(request: Request) -> Answer:
    """202 with a new job from the same input."""
    request.require_jobs_enabled()
    return answer(submitter().retry(request.job_id, caller(request)), wait=None)

"""GET /api/v1/jobs/{job_id}/artifacts"""

from __future__ import annotations

from comfyline.api.v1.results import artifact_page
from comfyline.contract.limits import MAX_ARTIFACTS_PER_PAGE
from comfyline.service.jobs.artifacts import numbers_of
from functions._handlers import at_start
from functions._http import Answer, http_handler
from functions._paging import limit_of
from functions._request import Request
from functions._wiring import Wiring

at_start(lambda wiring: (wiring.aws.jobs, wiring.aws.artifacts))


@http_handler(scope="jobs:read", for_tokens=True)
def handler(request: Request, wiring: Wiring) -> Answer:
    """200 with one page of the files of an ended job, in the job's order."""
    limit = limit_of(request, MAX_ARTIFACTS_PER_PAGE)
    numbers = numbers_of(request.query("cursor"), limit)
    record, artifacts = wiring.read_artifacts(request.job_id, request.principal, numbers)
    store, now = wiring.aws.artifacts, wiring.clock()
    return Answer(artifact_page(record, numbers, artifacts, store=store, now=now))

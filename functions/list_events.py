"""GET /api/v1/jobs/{job_id}/events"""

from __future__ import annotations

from comfyline.api.v1.history import event_list
from functions._handlers import at_start
from functions._http import Answer, http_handler
from functions._request import Request, invalid
from functions._wiring import Wiring

MAX_VERSION_DIGITS = 9  # a job changes a few thousand times at most


at_start(lambda wiring: wiring.aws.jobs)


@http_handler(scope="jobs:read", for_tokens=True)
def handler(request: Request, wiring: Wiring) -> Answer:
    """200 with the job's changes of state after version `after`, and their messages."""
    after = _version(request.query("after"))
    record = wiring.read_job(request.job_id, request.principal)
    return Answer(event_list(record.job, after=after))


def _version(text: str | None) -> int:
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_VERSION_DIGITS):
        raise invalid(
            "after must be a version: a whole number of at most 9 digits", "query", "after"
        )
    return int(text)

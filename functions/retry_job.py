"""POST /api/v1/jobs/{job_id}/retry"""

from __future__ import annotations

from functions._handlers import at_start
from functions._http import Answer, http_handler
from functions._request import Request
from functions._submission import retry
from functions._wiring import Wiring

at_start(lambda wiring: wiring.intake.submitter)


@http_handler(for_tokens=True)
def handler(request: Request, wiring: Wiring) -> Answer:
    """202 with a new job from the same input."""
    return retry(request, wiring)

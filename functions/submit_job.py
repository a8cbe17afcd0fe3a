"""POST /api/v1/jobs"""

from __future__ import annotations

from functions._handlers import at_start
from functions._http import Answer, http_handler
from functions._request import Request
from functions._submission import preferred_wait, submit
from functions._wiring import Wiring

at_start(lambda wiring: wiring.intake.submitter)


@http_handler(for_tokens=True)
def handler(request: Request, wiring: Wiring) -> Answer:
    """202 with the job, or 200 with the ended job if the caller asked to wait."""
    return submit(request, wiring, wait=preferred_wait(request))

"""POST /api/v1/generate: submit and wait, in one call."""

from __future__ import annotations

from comfyline.contract.limits import MAX_WAIT_SECONDS
from functions._handlers import at_start
from functions._http import Answer, http_handler
from functions._request import Request
from functions._submission import preferred_wait, submit
from functions._wiring import Wiring

at_start(lambda wiring: wiring.intake.submitter)


@http_handler(for_tokens=True)
def handler(request: Request, wiring: Wiring) -> Answer:
    """200 with the ended job, or 202 with its location; `Prefer: wait=N` shortens the wait."""
    wait = preferred_wait(request)
    return submit(request, wiring, wait=MAX_WAIT_SECONDS if wait is None else wait)

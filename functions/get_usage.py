"""GET /api/v1/usage"""

from __future__ import annotations

from comfyline.contract.v1 import responses
from functions._handlers import at_start
from functions._http import Answer, http_handler
from functions._request import Request
from functions._wiring import Wiring

at_start(lambda wiring: wiring.aws.ledger)


@http_handler(scope="jobs:read")
def handler(request: Request, wiring: Wiring) -> Answer:
    """200 with the totals of the caller's ended jobs."""
    used = wiring.aws.ledger.usage(request.owner)
    view = responses.UsageView(owner=request.owner, gpu_seconds=used.gpu_seconds, jobs=used.jobs)
    return Answer(view)

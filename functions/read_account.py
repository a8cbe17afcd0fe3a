"""GET /api/v1/me and /api/v1/usage"""

from __future__ import annotations

from comfyline.contract.v1 import responses
from functions._caller import caller_view
from functions._handlers import Event, at_start, lambda_handler
from functions._http import Answer, http_handler
from functions._request import ANY_SCOPE, Request
from functions._wiring import Wiring

at_start(lambda wiring: (wiring.aws.ledger, wiring.aws.owners))


@lambda_handler
def handler(event: Event, wiring: Wiring) -> dict[str, object]:
    """What the route names."""
    of_route = {"GET /api/v1/me": _me, "GET /api/v1/usage": _usage}
    return of_route[event["routeKey"]](event, None, wiring)


@http_handler(scope=ANY_SCOPE, for_tokens=True)
def _me(request: Request, wiring: Wiring) -> Answer:
    """200 with the caller. Only a key with a cap or a rate costs a read of a table."""
    sender = request.sender
    is_counted = sender.user is None and sender.limits.needs_slots
    occupancy = wiring.aws.owners.occupancy(sender.owner, wiring.clock()) if is_counted else None
    return Answer(caller_view(sender, occupancy))


@http_handler(scope="jobs:read")
def _usage(request: Request, wiring: Wiring) -> Answer:
    """200 with the totals of the caller's ended jobs."""
    used = wiring.aws.ledger.usage(request.owner)
    view = responses.UsageView(owner=request.owner, gpu_seconds=used.gpu_seconds, jobs=used.jobs)
    return Answer(view)

"""GET /api/v1/admin/dead-letters and POST /api/v1/admin/dead-letters/redrive"""

from __future__ import annotations

from comfyline.api.v1 import trouble
from functions._handlers import Event, at_start, lambda_handler, logger
from functions._http import Answer, http_handler
from functions._request import Request
from functions._wiring import Wiring

at_start(lambda wiring: (wiring.aws.dead_letters, wiring.aws.jobs, wiring.aws.queue))


@lambda_handler
def handler(event: Event, wiring: Wiring) -> dict[str, object]:
    """What the route names."""
    of_route = {
        "GET /api/v1/admin/dead-letters": _list,
        "POST /api/v1/admin/dead-letters/redrive": _redrive,
    }
    return of_route[event["routeKey"]](event, None, wiring)


@http_handler(scope="admin")
def _list(_request: Request, wiring: Wiring) -> Answer:
    """200 with the tickets that can be seen."""
    return Answer(trouble.dead_letter_list(wiring.admin.look_at_dead_letters()))


@http_handler(scope="admin")
def _redrive(request: Request, wiring: Wiring) -> Answer:
    """200 with what this call has done."""
    done = wiring.admin.redrive()
    extra = {"action": "redriven", "owner": request.owner, "outcomes": dict(done)}
    logger.warning("an operator has redriven dead letters", extra=extra)
    return Answer(trouble.redrive_answer(done))

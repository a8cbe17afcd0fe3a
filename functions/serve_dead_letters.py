"""GET /api/v1/admin/dead-letters and POST /api/v1/admin/dead-letters/redrive"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from comfyline.api.v1 import trouble
from functions._handlers import at_start, logger
from functions._http import Answer, http_handler
from functions._request import Request
from functions._wiring import Wiring

at_start(lambda wiring: (wiring.aws.dead_letters, wiring.aws.jobs, wiring.aws.queue))


@http_handler(scope="admin")
def handler(request: Request, wiring: Wiring) -> Answer:
    """What the route names."""
    return _ROUTES[request.event["routeKey"]](request, wiring)


def _list(_request: Request, wiring: Wiring) -> Answer:
    """200 with the tickets that can be seen."""
    return Answer(trouble.dead_letter_list(wiring.admin.look_at_dead_letters()))


def _redrive(request: Request, wiring: Wiring) -> Answer:
    """200 with what this call has done."""
    done = wiring.admin.redrive()
    extra = {"action": "redriven", "owner": request.owner, "outcomes": dict(done)}
    logger.warning("an operator has redriven dead letters", extra=extra)
    return Answer(trouble.redrive_answer(done))


_ROUTES: Mapping[str, Callable[[Request, Wiring], Answer]] = {
    "GET /api/v1/admin/dead-letters": _list,
    "POST /api/v1/admin/dead-letters/redrive": _redrive,
}

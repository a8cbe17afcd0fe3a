"""GET and PUT /api/v1/admin/switches"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from comfyline.api.v1.parsing import parsed
from comfyline.contract.v1.switches import SwitchesRequest, SwitchesView
from comfyline.service.access.keys import Flags, Switches
from functions._handlers import at_start, logger
from functions._http import Answer, http_handler
from functions._request import Request
from functions._wiring import Wiring

at_start(lambda wiring: wiring.aws.keys)


@http_handler(scope="admin")
def handler(request: Request, wiring: Wiring) -> Answer:
    """What the route names."""
    return _ROUTES[request.event["routeKey"]](request, wiring)


def _read(_request: Request, wiring: Wiring) -> Answer:
    """200 with the switches."""
    return Answer(_view(wiring.aws.keys.switches()))


def _set(request: Request, wiring: Wiring) -> Answer:
    """200 with the switches as they are now; 409 if another operator was faster."""
    asked = parsed(SwitchesRequest, request.json())
    flags = Flags(asked.jobs_enabled, asked.sockets_enabled)
    switches = wiring.admin.set_switches(flags, asked.version, request.owner)
    extra = {"action": "switched", "owner": request.owner, "version": switches.version}
    logger.warning("an operator has set the switches", extra=extra)
    return Answer(_view(switches))


def _view(switches: Switches) -> SwitchesView:
    return SwitchesView(
        jobs_enabled=switches.flags.jobs_enabled,
        sockets_enabled=switches.flags.websocket_enabled,
        version=switches.version,
        changed_at=switches.changed_at,
        changed_by=switches.changed_by or None,
    )


_ROUTES: Mapping[str, Callable[[Request, Wiring], Answer]] = {
    "GET /api/v1/admin/switches": _read,
    "PUT /api/v1/admin/switches": _set,
}

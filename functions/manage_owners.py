"""The routes for operators about owners: /api/v1/admin/errors"""

from __future__ import annotations

from comfyline.api.v1 import accounts
from comfyline.contract.limits import DEFAULT_FAILURE_DAYS, MAX_FAILURE_DAYS
from comfyline.service.ledger.failures import days_until
from functions._handlers import Event, at_start, lambda_handler
from functions._http import Answer, http_handler
from functions._paging import number_of
from functions._request import Request
from functions._wiring import Wiring

at_start(lambda wiring: wiring.aws.ledger)


@lambda_handler
def handler(event: Event, wiring: Wiring) -> dict[str, object]:
    """What the route names."""
    of_route = {"GET /api/v1/admin/errors": _errors}
    return of_route[event["routeKey"]](event, None, wiring)


@http_handler(scope="admin")
def _errors(request: Request, wiring: Wiring) -> Answer:
    """200 with the failures of the last days, in groups."""
    days = number_of(request, "days", DEFAULT_FAILURE_DAYS, MAX_FAILURE_DAYS)
    groups = wiring.aws.ledger.failures(days_until(wiring.clock(), days))
    return Answer(accounts.failure_list(groups, days))

"""GET /api/v1/me and /api/v1/usage"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime

from comfyline.contract.v1 import responses
from comfyline.service.ledger.months import MONTHS, month_of, months_before
from comfyline.service.ledger.store import Usage, UsageByMonth
from functions._caller import caller_view
from functions._handlers import Event, at_start, lambda_handler
from functions._http import Answer, http_handler
from functions._request import ANY_SCOPE, Request, invalid
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
    """200 with the totals of the caller's ended jobs, on request with those of each month."""
    by = request.query("by")
    if by not in (None, "month"):
        raise invalid("Send `month`, or leave it out.", "query", "by")
    used = wiring.aws.ledger.usage_by_month(request.owner)
    view = responses.UsageView(
        owner=request.owner,
        gpu_seconds=used.total.gpu_seconds,
        jobs=used.total.jobs,
        months=_months(used, wiring.clock()) if by else None,
    )
    return Answer(view)


def _months(used: UsageByMonth, now: datetime) -> list[responses.MonthUsage]:
    none = Usage()
    return [
        responses.MonthUsage(month=month, **asdict(used.months.get(month, none)))
        for month in reversed(months_before(month_of(now), MONTHS))
    ]

"""GET /api/v1/admin/workers, /queues, /jobs and /alarms: what operators read"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from comfyline.api.v1 import fleet, trouble
from comfyline.contract.limits import MAX_SEARCHED_JOBS
from comfyline.service.jobs.job import Status
from functions._handlers import at_start
from functions._http import Answer, http_handler
from functions._paging import count_jobs, limit_of
from functions._request import Request, invalid
from functions._wiring import Wiring

DEFAULT_LIMIT = 20
_STATUSES = (Status.QUEUED, Status.RUNNING)

at_start(lambda wiring: (wiring.aws.presence, wiring.admin.queues))


@http_handler(scope="admin")
def handler(request: Request, wiring: Wiring) -> Answer:
    """What the route names."""
    return _ROUTES[request.event["routeKey"]](request, wiring)


def _workers(_request: Request, wiring: Wiring) -> Answer:
    """200 with the workers that have reported themselves lately."""
    return Answer(fleet.worker_list(wiring.aws.presence.active(wiring.clock())))


def _queues(_request: Request, wiring: Wiring) -> Answer:
    """200 with the queues, which may be read by several operators at once."""
    return Answer(fleet.queue_list(wiring.admin.queues()))


def _jobs(request: Request, wiring: Wiring) -> Answer:
    """200 with one page of the jobs of all owners that have not ended."""
    status, limit = _status(request.query("status")), limit_of(request, DEFAULT_LIMIT)
    count_jobs(request, wiring, MAX_SEARCHED_JOBS if status else limit)
    jobs, cursor = wiring.admin.list_live(status, limit, request.query("cursor"))
    return Answer(fleet.live_job_page(jobs, cursor))


def _alarms(_request: Request, wiring: Wiring) -> Answer:
    """200 with the deployment's alarms."""
    return Answer(trouble.alarm_list(wiring.admin.alarms(), wiring.admin.stage))


def _status(text: str | None) -> Status | None:
    if text is None:
        return None
    if text not in _STATUSES:
        raise invalid(f"status must be one of {', '.join(_STATUSES)}", "query", "status")
    return Status(text)


_ROUTES: Mapping[str, Callable[[Request, Wiring], Answer]] = {
    "GET /api/v1/admin/workers": _workers,
    "GET /api/v1/admin/queues": _queues,
    "GET /api/v1/admin/jobs": _jobs,
    "GET /api/v1/admin/alarms": _alarms,
}

"""GET /api/v2/jobs, /api/v2/jobs/{job_id} and its workflow and logs"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from comfyline.api.comfy_v2.labels import label_filter
from comfyline.api.comfy_v2.views import job_list
from comfyline.contract.comfy_v2.common import PREFIX
from comfyline.contract.comfy_v2.jobs import WorkflowView
from comfyline.contract.limits import MAX_SEARCHED_JOBS
from comfyline.service.jobs.read import ListFilter
from functions._comfy import job_view, retried
from functions._handlers import at_start
from functions._http import Answer, http_handler
from functions._paging import count_jobs, limit_of
from functions._request import Request
from functions._wiring import Wiring

DEFAULT_LIMIT = 50  # of Comfy's proxy


at_start(lambda wiring: wiring.aws.jobs)


@http_handler(scope="jobs:read", for_tokens=True)
def handler(request: Request, wiring: Wiring) -> Answer:
    """200 with what the route names."""
    return _ROUTES[request.event["routeKey"]](request, wiring)


def _read(request: Request, wiring: Wiring) -> Answer:
    return Answer(job_view(request.job_id, request, wiring))


def _list(request: Request, wiring: Wiring) -> Answer:
    limit = limit_of(request, DEFAULT_LIMIT)
    labels = label_filter(request.event.get("rawQueryString") or "")
    count_jobs(request, wiring, MAX_SEARCHED_JOBS if labels else limit)
    records, cursor = retried(
        lambda: wiring.read_page(
            request.owner,
            asked=ListFilter(metadata=labels),
            limit=limit,
            cursor=request.query("cursor"),
        ),
        wiring,
    )
    return Answer(job_list(records, cursor))


def _workflow(request: Request, wiring: Wiring) -> Answer:
    graph = retried(lambda: wiring.read_graph(request.job_id, request.principal), wiring)
    return Answer(WorkflowView(workflow=dict(graph), format="api"))


def _logs(request: Request, wiring: Wiring) -> Answer:
    """204: the service keeps no logs of the engine."""
    retried(lambda: wiring.read_job(request.job_id, request.principal), wiring)
    return Answer("", 204)


_ROUTES: Mapping[str, Callable[[Request, Wiring], Answer]] = {
    f"GET {PREFIX}/jobs": _list,
    f"GET {PREFIX}/jobs/{{job_id}}": _read,
    f"GET {PREFIX}/jobs/{{job_id}}/workflow": _workflow,
    f"GET {PREFIX}/jobs/{{job_id}}/logs": _logs,
}

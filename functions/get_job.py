"""GET /api/v1/jobs/{job_id} and /api/v1/jobs/{job_id}/graph"""

from __future__ import annotations

from comfyline.api.v1 import views
from functions._handlers import at_start
from functions._http import Answer, http_handler
from functions._request import Request
from functions._wiring import Wiring

at_start(lambda wiring: (wiring.aws.jobs, wiring.aws.queue, wiring.aws.artifacts))


@http_handler(scope="jobs:read", for_tokens=True)
def handler(request: Request, wiring: Wiring) -> Answer:
    """200 with the whole job, or with the workflow that it runs."""
    is_graph = request.event["routeKey"].endswith("/graph")
    return _graph(request, wiring) if is_graph else _job(request, wiring)


def _job(request: Request, wiring: Wiring) -> Answer:
    record = wiring.read_job(request.job_id, request.principal)
    position = wiring.queue_position(record.job)
    store, now = wiring.aws.artifacts, wiring.clock()
    return Answer(views.job_view(record, store=store, now=now, queue_position=position))


def _graph(request: Request, wiring: Wiring) -> Answer:
    from comfyline.api.v1.graphs import graph_view  # reads of jobs never load it

    graph = wiring.read_graph(request.job_id, request.principal)
    return Answer(graph_view(request.job_id, graph))

"""GET /api/v1/jobs"""

from __future__ import annotations

from comfyline.api.v1 import views
from comfyline.service.access.budgets import REQUESTS
from comfyline.service.jobs.job import Status
from functions._http import Answer, Request, http_handler, invalid
from functions._paging import limit_of
from functions._wiring import Wiring

DEFAULT_LIMIT = 20
# A longer page counts as a request for each so many jobs, because it reads as much.
JOBS_PER_REQUEST = 20


@http_handler()
def handler(request: Request, wiring: Wiring) -> Answer:
    """200 with one page of the caller's jobs, newest first."""
    status, limit = _status(request.query("status")), limit_of(request, DEFAULT_LIMIT)
    if more := (limit - 1) // JOBS_PER_REQUEST:
        wiring.access.budgets.spend(request.owner, REQUESTS, request.limits, more)
    records, cursor = wiring.read_page(
        request.owner,
        status=status,
        limit=limit,
        cursor=request.query("cursor"),
    )
    return Answer(views.job_page(records, cursor, wiring.clock()))


def _status(text: str | None) -> Status | None:
    if text is None:
        return None
    try:
        return Status(text)
    except ValueError:
        raise invalid(f"status must be one of {', '.join(Status)}", "query", "status") from None

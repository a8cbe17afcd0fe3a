"""GET /api/v1/jobs"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from comfyline.api.v1 import views
from comfyline.contract.limits import MAX_METADATA_FILTERS, MAX_SEARCHED_JOBS
from comfyline.service.jobs.job import Status
from comfyline.service.jobs.read import ListFilter
from functions._handlers import at_start
from functions._http import Answer, http_handler
from functions._paging import count_jobs, limit_of
from functions._request import Request, invalid
from functions._wiring import Wiring

DEFAULT_LIMIT = 20
_METADATA = re.compile(r"metadata\[(.*)\]", re.DOTALL)


at_start(lambda wiring: (wiring.aws.jobs, wiring.aws.artifacts))


@http_handler(scope="jobs:read")
def handler(request: Request, wiring: Wiring) -> Answer:
    """200 with one page of the caller's jobs, newest first."""
    asked, limit = _filter(request), limit_of(request, DEFAULT_LIMIT)
    count_jobs(request, wiring, MAX_SEARCHED_JOBS if asked.metadata else limit)
    records, cursor = wiring.read_page(
        request.owner,
        asked=asked,
        limit=limit,
        cursor=request.query("cursor"),
    )
    page = views.job_page(records, cursor, store=wiring.aws.artifacts, now=wiring.clock())
    return Answer(page)


def _filter(request: Request) -> ListFilter:
    # The gateway joins the values of a repeated name to one text, so the query is parsed here.
    query = parse_qsl(request.event.get("rawQueryString") or "", keep_blank_values=True)
    given = [(match[1], value) for name, value in query if (match := _METADATA.fullmatch(name))]
    pairs = dict(given)
    if len(pairs) < len(given):
        raise invalid("a name of metadata comes twice", "query", "metadata")
    if len(pairs) > MAX_METADATA_FILTERS:
        problem = f"a list is filtered by at most {MAX_METADATA_FILTERS} pairs of metadata"
        raise invalid(problem, "query", "metadata")
    return ListFilter(status=_status(request.query("status")), metadata=pairs)


def _status(text: str | None) -> Status | None:
    if text is None:
        return None
    try:
        return Status(text)
    except ValueError:
        raise invalid(f"status must be one of {', '.join(Status)}", "query", "status") from None

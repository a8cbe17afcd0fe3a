"""GET /api/v1/jobs"""

from __future__ import annotations

import re

from comfyline.api.v1 import views
from comfyline.contract.v1 import responses
from comfyline.service.jobs.job import Status
from functions._http import Answer, Request, http_handler, invalid
from functions._wiring import Wiring

DEFAULT_LIMIT, MAX_LIMIT = 20, 100


@http_handler()
def handler(request: Request, wiring: Wiring) -> Answer:
    """200 with one page of the caller's jobs, newest first."""
    records, cursor = wiring.read_page(
        request.owner,
        status=_status(request.query("status")),
        limit=_limit(request.query("limit")),
        cursor=request.query("cursor"),
    )
    now = wiring.clock()
    jobs = [views.job_view(record, store=None, now=now) for record in records]
    return Answer(responses.JobPage(jobs=jobs, next_cursor=cursor))


def _status(text: str | None) -> Status | None:
    if text is None:
        return None
    try:
        return Status(text)
    except ValueError:
        raise invalid(f"status must be one of {', '.join(Status)}", "query", "status") from None


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if not (re.fullmatch(r"[0-9]{1,3}", text) and 1 <= int(text) <= MAX_LIMIT):
        raise invalid(f"limit must be a number from 1 to {MAX_LIMIT}", "query", "limit")
    return int(text)

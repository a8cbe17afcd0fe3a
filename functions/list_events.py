"""GET /api/v1/jobs/{job_id}/events"""

from __future__ import annotations

from aws_lambda_powertools import Logger

from comfyline.api.v1 import views
from comfyline.service.jobs.read import read_job
from comfyline.service.settings import ListEventsSettings
from functions import _wiring
from functions._http import Answer, Request, http_handler, invalid

MAX_VERSION_DIGITS = 9  # a job changes some thousand times at most

logger = Logger(service="list_events")


@http_handler(logger)
def handler(request: Request) -> Answer:
    """200 with the job's changes of state beyond a version."""
    store = _wiring.jobs(_wiring.settings(ListEventsSettings).jobs_table)
    after = _version(request.query("after"))
    record = read_job(request.job_id, request.owner, store=store, clock=_wiring.clock)
    return Answer(views.event_list(record.job, after=after))


def _version(text: str | None) -> int:
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= MAX_VERSION_DIGITS):
        raise invalid("after is a version, a whole number", "query", "after")
    return int(text)

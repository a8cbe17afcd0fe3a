"""GET /api/v1/jobs/{job_id}"""

from __future__ import annotations

from aws_lambda_powertools import Logger

from comfyline.api.v1 import views
from comfyline.service.jobs.read import queue_position, read_job
from comfyline.service.settings import GetJobSettings
from functions import _wiring
from functions._http import Answer, Request, http_handler

logger = Logger(service="get_job")


@http_handler(logger)
def handler(request: Request) -> Answer:
    """200 with the whole job."""
    settings = _wiring.settings(GetJobSettings)
    store = _wiring.jobs(settings.jobs_table)
    record = read_job(request.job_id, request.owner, store=store, clock=_wiring.clock)
    position = queue_position(record.job, queue=_wiring.queue(settings))
    artifacts = _wiring.artifacts(settings.artifacts_bucket)
    now = _wiring.clock()
    return Answer(views.job_view(record, store=artifacts, now=now, queue_position=position))

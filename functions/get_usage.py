"""GET /api/v1/usage"""

from __future__ import annotations

from aws_lambda_powertools import Logger

from comfyline.contract.v1 import responses
from comfyline.service.settings import GetUsageSettings
from functions import _wiring
from functions._http import Answer, Request, http_handler

logger = Logger(service="get_usage")


@http_handler(logger)
def handler(request: Request) -> Answer:
    """200 with what the caller's ended jobs have used in all."""
    used = _wiring.ledger(_wiring.settings(GetUsageSettings).owners_table).usage(request.owner)
    view = responses.UsageView(owner=request.owner, gpu_seconds=used.gpu_seconds, jobs=used.jobs)
    return Answer(view)

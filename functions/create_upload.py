"""POST /api/v1/uploads"""

from __future__ import annotations

from aws_lambda_powertools import Logger

from comfyline.contract.v1 import requests, responses
from functions._http import Answer, Request, http_handler
from functions._submission import parse
from functions._wiring import Wiring

logger = Logger(service="create_upload")


@http_handler(logger)
def handler(request: Request, wiring: Wiring) -> Answer:
    """201 with a form that stores one file of exactly the type and size that were named."""
    asked = parse(requests.UploadRequest, request.json())
    upload_id, form, expires_at = wiring.offer_upload(asked, request.owner)
    accepted = responses.UploadAccepted(
        upload_id=upload_id, url=form.url, fields=dict(form.fields), expires_at=expires_at
    )
    return Answer(accepted, 201)

"""POST /api/v1/uploads"""

from __future__ import annotations

from aws_lambda_powertools import Logger

from comfyline.contract.v1 import requests, responses
from comfyline.service.files.offer_upload import offer_upload
from comfyline.service.settings import CreateUploadSettings
from functions import _wiring
from functions._http import Answer, Request, http_handler
from functions._submission import parse

logger = Logger(service="create_upload")


@http_handler(logger)
def handler(request: Request) -> Answer:
    """201 with a form that stores one file of exactly the type and size that were named."""
    settings = _wiring.settings(CreateUploadSettings)
    asked = parse(requests.UploadRequest, request.json())
    uploads = _wiring.uploads(settings.artifacts_bucket)
    upload_id, form, expires_at = offer_upload(
        asked, request.owner, uploads=uploads, clock=_wiring.clock
    )
    accepted = responses.UploadAccepted(
        upload_id=upload_id, url=form.url, fields=dict(form.fields), expires_at=expires_at
    )
    return Answer(accepted, 201)

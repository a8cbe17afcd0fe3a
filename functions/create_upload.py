"""POST /api/v1/uploads"""

from __future__ import annotations

from comfyline.api.v1.uploads import new_upload
from comfyline.contract.v1 import responses
from comfyline.service.access.budgets import UPLOAD_BYTES, UPLOADS
from functions._handlers import at_start
from functions._http import Answer, http_handler
from functions._request import Request
from functions._wiring import Wiring

at_start(lambda wiring: wiring.aws.uploads)


@http_handler(for_tokens=True)
def handler(request: Request, wiring: Wiring) -> Answer:
    """201 with a form that stores one file of exactly this type and size."""
    asked, budgets = new_upload(request.json()), wiring.access.budgets
    budgets.spend(request.principal, UPLOADS, request.limits)
    budgets.spend(request.principal, UPLOAD_BYTES, request.limits, asked.bytes)
    offer = wiring.files.offer_upload(asked, request.principal)
    if asked.blake3 is not None:
        wiring.files.assets.claim(offer.upload_id, asked, asked.blake3, request.principal)
    accepted = responses.UploadAccepted(
        upload_id=offer.upload_id,
        url=offer.form.url,
        fields=dict(offer.form.fields),
        expires_at=offer.expires_at,
    )
    return Answer(accepted, 201)

"""Offer a caller a form to upload a file with."""

from __future__ import annotations

from datetime import datetime, timedelta

from comfyline.contract.ids import OwnerId, UploadId, random_upload_id
from comfyline.contract.v1.requests import UploadRequest
from comfyline.service.clock import Clock
from comfyline.service.files import uploads as up
from comfyline.service.files.uploads import UploadForm, UploadStore

# Enough for the largest file over a slow line; the signer's own credentials do not last for hours.
FORM_LIFETIME = timedelta(minutes=15)


def offer_upload(
    asked: UploadRequest, owner: OwnerId, *, uploads: UploadStore, clock: Clock
) -> tuple[UploadId, UploadForm, datetime]:
    """A form that stores the file under the owner, its id, and when the form is void."""
    now = clock()
    upload_id = random_upload_id(now)
    form = uploads.offer(
        up.upload_key(owner, upload_id),
        content_type=asked.content_type,
        size=asked.bytes,
        sha256=asked.sha256,
        seconds=int(FORM_LIFETIME.total_seconds()),
    )
    return upload_id, form, now + FORM_LIFETIME

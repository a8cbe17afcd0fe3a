"""Offer a caller a form to upload a file with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from comfyline.contract.ids import Principal, UploadId, random_upload_id
from comfyline.service.clock import Clock
from comfyline.service.files.uploads import UploadForm, UploadStore, upload_key

# Enough for the largest file over a slow connection, and shorter than the life of the credentials
# that sign the form.
FORM_LIFETIME = timedelta(minutes=15)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUpload:
    """A file that a caller wants to upload."""

    name: str
    content_type: str
    bytes: int
    sha256: str | None = None  # hexadecimal; None: the content is not checked
    blake3: str | None = None  # hexadecimal; announces an asset


@dataclass(frozen=True, slots=True)
class Offer:
    """A form that stores one file, the id of that file, and when the form stops working."""

    upload_id: UploadId
    form: UploadForm
    expires_at: datetime


def offer_upload(
    asked: NewUpload, caller: Principal, *, uploads: UploadStore, clock: Clock
) -> Offer:
    """A form that stores exactly this file under the caller."""
    now = clock()
    upload_id = random_upload_id(now)
    form = uploads.offer(
        upload_key(caller, upload_id),
        name=asked.name,
        content_type=asked.content_type,
        size=asked.bytes,
        sha256=asked.sha256,
        seconds=int(FORM_LIFETIME.total_seconds()),
    )
    return Offer(upload_id, form, now + FORM_LIFETIME)

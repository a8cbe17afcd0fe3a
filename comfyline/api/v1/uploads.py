"""Make a command of a request for an upload."""

from __future__ import annotations

from typing import Any

from comfyline.api.v1.parsing import parsed
from comfyline.contract.v1.requests import UploadRequest
from comfyline.service.files.offer_upload import NewUpload


def new_upload(sent: Any) -> NewUpload:
    """The file that the body announces.

    Raises:
        InvalidRequest: with every field that is wrong.
    """
    form = parsed(UploadRequest, sent)
    return NewUpload(
        name=form.name,
        content_type=form.content_type,
        bytes=form.bytes,
        sha256=form.sha256,
        blake3=form.blake3,
    )

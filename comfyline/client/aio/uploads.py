"""Uploads an input file to the file store."""

from __future__ import annotations

import hashlib
from pathlib import Path

from comfyline.client.aio.api import AsyncApi
from comfyline.client.errors import UploadFailed
from comfyline.contract.media_types import media_type_of
from comfyline.contract.v1 import responses


async def upload(api: AsyncApi, file: Path, *, announced: bool = False) -> str:
    """Store the file; returns `upload:<id>`, the form in which `inputs` name an upload.

    `announced`: Comfy's own clients find the file by its hash.

    Raises:
        UploadFailed: the file store refused the file.
        ApiError, TransportFailed, UnexpectedAnswer: as each call.
    """
    content = file.read_bytes()
    content_type = media_type_of(file.name)
    wanted = {
        "name": file.name,
        "content_type": content_type,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    if announced:
        from blake3 import blake3  # only this needs it

        wanted["blake3"] = blake3(content).hexdigest()
    form = await api.call(responses.UploadAccepted, "POST", "/uploads", body=wanted)
    request = api.http.build_request(
        "POST", form.url, data=form.fields, files={"file": (file.name, content, content_type)}
    )
    response = await api.send(request)
    if not response.is_success:
        # The message leaves out the URL, because everyone with its signature can upload.
        raise UploadFailed(f"{file.name}: HTTP {response.status_code} from the file store")
    return f"upload:{form.upload_id}"

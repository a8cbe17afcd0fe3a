"""Uploads an input file to the file store."""

from __future__ import annotations

import hashlib
from pathlib import Path

from comfyline.client.aio.api import AsyncApi
from comfyline.client.errors import NotConfigured, UploadFailed
from comfyline.contract.limits import MAX_UPLOAD_BYTES
from comfyline.contract.media_types import media_type_of
from comfyline.contract.v1 import responses


async def upload(api: AsyncApi, file: Path, *, announced: bool = False) -> str:
    """Store the file; returns `upload:<id>`, the form in which `inputs` name an upload.

    `announced`: Comfy's own clients find the file by its hash.

    Raises:
        NotConfigured: the package that computes this hash is not installed.
        UploadFailed: the file is empty or too large, or the file store refused it.
        ApiError, TransportFailed, UnexpectedAnswer: as each call.
    """
    _check_size(file)
    content = file.read_bytes()
    content_type = media_type_of(file.name)
    wanted = {
        "name": file.name,
        "content_type": content_type,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    if announced:
        wanted["blake3"] = _blake3(content)
    form = await api.call(responses.UploadAccepted, "POST", "/uploads", body=wanted)
    request = api.http.build_request(
        "POST", form.url, data=form.fields, files={"file": (file.name, content, content_type)}
    )
    response = await api.send(request)
    if not response.is_success:
        # The message leaves out the URL, because everyone with its signature can upload.
        raise UploadFailed(f"{file.name}: HTTP {response.status_code} from the file store")
    return f"upload:{form.upload_id}"


def _check_size(file: Path) -> None:
    """Refuse the file before it is read into memory."""
    size = file.stat().st_size
    if not 1 <= size <= MAX_UPLOAD_BYTES:
        raise UploadFailed(
            f"{file.name} has {size} bytes; a file to upload has 1 to {MAX_UPLOAD_BYTES} bytes"
        )


def _blake3(content: bytes) -> str:
    """The hash by which Comfy's own clients know a file, in hexadecimal."""
    try:
        from blake3 import blake3  # compiled, and nothing else of the client needs it
    except ModuleNotFoundError:
        raise NotConfigured(
            "An upload for Comfy's own clients needs the package blake3. "
            "Install it: pip install 'comfyline[upload]'"
        ) from None
    return str(blake3(content).hexdigest())

"""Assets as Comfy API v2 shows them, and the request that makes one of known bytes."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from comfyline.contract.comfy_v2.common import Answer


class Asset(Answer):
    """A file: one that was uploaded, or an output of a job."""

    id: str = Field(description="Names the file in a workflow.")
    hash: str | None = Field(description="`blake3:` and the hash; null for an output.")
    size_bytes: int = Field(description="The file's size.")
    content_type: str = Field(description="The file's media type.")
    created_at: datetime = Field(description="When it was made.")
    url: str = Field(description="A signed URL of the file, which needs no key.")
    url_expires_at: datetime = Field(description="When `url` stops working.")
    file_path: str = Field(description="The file's name.")
    created_new: bool | None = Field(
        default=None, description="Whether this request has made it; null when it is read."
    )
    expires_at: datetime | None = Field(
        default=None, description="When the service removes it; each use within a job renews it."
    )
    job_id: str | None = Field(default=None, description="The job that made it.")


class FromHash(BaseModel):
    """An asset over bytes that were sent before."""

    model_config = ConfigDict(extra="forbid", strict=True, defer_build=True)

    hash: str = Field(description="`blake3:` and 64 hexadecimal digits.")
    file_path: str | None = Field(default=None, description="The name; null: that of the bytes.")
    tags: list[str] | None = Field(default=None, description="Ignored.")
    expires_in: int | None = Field(default=None, description="Ignored: the lifetime is fixed.")


FORM = {
    "type": "object",
    "required": ["file", "content_type", "file_path"],
    "properties": {
        "file": {"type": "string", "description": "The bytes of the file."},
        "content_type": {"type": "string", "description": "The file's media type."},
        "file_path": {"type": "string", "description": "Its name: a relative path."},
        "expected_hash": {"type": "string", "description": "`blake3:` and the hash, if known."},
        "tags": {"type": "string", "description": "Ignored."},
        "expires_in": {"type": "integer", "description": "Ignored: the lifetime is fixed."},
    },
}

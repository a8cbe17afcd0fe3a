"""Artifacts in S3."""

from __future__ import annotations

import re
from itertools import islice
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

from botocore.exceptions import ClientError

from comfyline.adapters.aws.errors import translated

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MAX_DELETED = 1000  # keys in one DeleteObjects; a limit of AWS
MAX_NAME = 200  # characters. Common file systems allow 255 bytes; it also bounds the URL

_UNSAFE = re.compile(r'[\x00-\x1f\x7f"\\/]')


class S3ArtifactStore:
    """`ArtifactStore` in S3.

    The clients must be configured by `s3_config`. `signer` signs the URLs; without one the client
    does.
    """

    def __init__(self, client: S3Client, bucket: str, *, signer: S3Client | None = None) -> None:
        self._client, self._signer = client, signer or client
        self._bucket = bucket

    @translated()
    def put(self, key: str, body: IO[bytes], content_type: str) -> None:
        """See ArtifactStore. A large file is sent in parts. boto3 closes `body`."""
        extra = {"ContentType": content_type}
        self._client.upload_fileobj(body, self._bucket, key, ExtraArgs=extra)

    def sign(self, key: str, *, name: str, seconds: int) -> str:
        """See ArtifactStore. A browser saves the file and does not show it as a page."""
        params = {
            "Bucket": self._bucket,
            "Key": key,
            "ResponseContentDisposition": content_disposition(name),
        }
        return self._signer.generate_presigned_url("get_object", Params=params, ExpiresIn=seconds)

    @translated()
    def delete_prefix(self, prefix: str) -> None:
        """See ArtifactStore."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix
        )
        keys = (entry["Key"] for page in pages for entry in page.get("Contents", []))
        while chunk := list(islice(keys, MAX_DELETED)):
            self._delete(chunk)

    def _delete(self, keys: list[str]) -> None:
        objects: Any = {"Objects": [{"Key": key} for key in keys], "Quiet": True}
        answer = self._client.delete_objects(Bucket=self._bucket, Delete=objects)
        for refused in answer.get("Errors", []):
            raise ClientError({"Error": {"Code": refused.get("Code", "")}}, "DeleteObjects")


def content_disposition(name: str) -> str:
    """The header that downloads a file under `name`, with both forms of the name (RFC 6266).

    `name` may contain any characters.
    """
    safe = _UNSAFE.sub("_", name)[:MAX_NAME] or "file"
    plain = safe.encode("ascii", "replace").decode().replace("?", "_")
    encoded = quote(safe, safe="", errors="replace")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"

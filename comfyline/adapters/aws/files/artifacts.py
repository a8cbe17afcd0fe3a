"""Artifacts in S3."""

from __future__ import annotations

import re
from itertools import islice
from threading import Semaphore
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from botocore.exceptions import ClientError

from comfyline.adapters.aws.errors import translated
from comfyline.contract.texts import UNSAFE
from comfyline.service.files.artifacts import Readable

if TYPE_CHECKING:
    from boto3.s3.transfer import TransferConfig
    from botocore.config import Config
    from mypy_boto3_s3 import S3Client

# A part is in memory while it is sent: 384 MiB for all. One file uses the whole line already; the
# second one fills the gap while the first is completed. S3 allows 10,000 parts: files of 80 GB.
PART_BYTES = 8 * 1024 * 1024
# Of one large file. S3 takes 90 ms for a part, and 30 ms more until it answers. So 24 connections
# bring as much as 18 that never wait.
CONNECTIONS = 24
LARGE_AT_ONCE = 2
MAX_DELETED = 1000  # keys in one DeleteObjects; a limit of AWS
MAX_NAME = 200  # characters. Common file systems allow 255 bytes; it also bounds the URL

_UNSAFE = re.compile(rf'[{UNSAFE}"\\/]')


class S3ArtifactStore:
    """`ArtifactStore` in S3.

    The clients must be configured by `s3_config`. `signer` signs the URLs; without one the client
    does.
    """

    def __init__(self, client: S3Client, bucket: str, *, signer: S3Client | None = None) -> None:
        self._client, self._signer = client, signer or client
        self._bucket = bucket
        self._large = Semaphore(LARGE_AT_ONCE)

    @translated()
    def put(self, key: str, body: Readable, content_type: str) -> None:
        """See ArtifactStore. A large file is sent in parts over several connections."""
        head = body.read(PART_BYTES)
        if len(head) < PART_BYTES:
            self._client.put_object(
                Bucket=self._bucket, Key=key, Body=head, ContentType=content_type
            )
            return
        with self._large:
            self._client.upload_fileobj(
                _Rejoined(head, body),  # type: ignore[arg-type]  # only `read` is called
                self._bucket,
                key,
                ExtraArgs={"ContentType": content_type},
                Config=_in_parts(),
            )

    def sign(
        self,
        key: str,
        *,
        name: str,
        seconds: int,
        shown_as: str | None = None,
        method: Literal["GET", "HEAD"] = "GET",
    ) -> str:
        """See ArtifactStore. S3 checks the method as a part of the signature."""
        kind = "inline" if shown_as else "attachment"
        params = {
            "Bucket": self._bucket,
            "Key": key,
            "ResponseContentDisposition": content_disposition(name, kind),
            **({"ResponseContentType": shown_as} if shown_as else {}),
        }
        call = "head_object" if method == "HEAD" else "get_object"
        return self._signer.generate_presigned_url(call, Params=params, ExpiresIn=seconds)

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


class _Rejoined:
    """A file whose first bytes were read already. It cannot seek, so nothing is read twice."""

    def __init__(self, head: bytes, rest: Readable) -> None:
        self._head, self._rest = head, rest

    def read(self, size: int = -1) -> bytes:
        if not self._head:
            return self._rest.read(size)
        if 0 <= size < len(self._head):
            found, self._head = self._head[:size], self._head[size:]
            return found
        found, self._head = self._head, b""
        return found + self._rest.read(size if size < 0 else size - len(found))


def uploads_config(files_at_once: int) -> Config:
    """The configuration of a client that sends so many files at once, LARGE_AT_ONCE of them large.

    It keeps every connection open: a further one would be opened anew for each part.
    """
    from botocore.config import Config

    return Config(max_pool_connections=CONNECTIONS * LARGE_AT_ONCE + files_at_once)


def _in_parts() -> TransferConfig:
    # Imported here, because the functions that only sign URLs start faster without it.
    from boto3.s3.transfer import TransferConfig

    config = TransferConfig(
        multipart_threshold=PART_BYTES, multipart_chunksize=PART_BYTES, max_concurrency=CONNECTIONS
    )
    config.max_in_memory_upload_chunks = CONNECTIONS
    return config


def content_disposition(name: str, kind: str = "attachment") -> str:
    """The header that downloads or shows a file as `name`, with both forms of it (RFC 6266).

    `name` may contain any characters.
    """
    safe = _UNSAFE.sub("_", name)[:MAX_NAME] or "file"
    plain = safe.encode("ascii", "replace").decode().replace("?", "_")
    encoded = quote(safe, safe="", errors="replace")
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{encoded}"

"""Models in S3."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.response import StreamingBody

from comfyline.adapters.aws.errors import error_code, translated
from comfyline.service.files.models import (
    BeyondEnd,
    ModelChanged,
    ModelMissing,
    ModelPart,
    PartsUnsupported,
)

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef

CHUNK = 1024 * 1024  # few reads for gigabytes, and little memory for many connections

# S3 answers 403 for a missing key if the caller may not list the bucket, and a worker may not.
_MISSING = frozenset({"403", "404", "AccessDenied", "NoSuchBucket", "NoSuchKey"})
_CHANGED = frozenset({"412", "PreconditionFailed"})
_BEYOND_END = frozenset({"416", "InvalidRange"})
_PARTIAL = 206  # the HTTP status of a part


def models_config(connections: int) -> Config:
    """Options for the client of `S3ModelStore`, to read that many parts at the same time.

    The checksums of S3 are not computed, because the SHA-256 of the lock covers the whole file.
    """
    return Config(max_pool_connections=connections, response_checksum_validation="when_required")


class S3ModelStore:
    """`ModelStore` in S3. A file's version is its ETag."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    @contextmanager
    def open(
        self, key: str, start: int, end: int, version: str | None = None
    ) -> Iterator[ModelPart]:
        """See ModelStore."""
        with translated():
            found = self._get(key, f"bytes={start}-{end - 1}", version)
        # What is not read to its end must not keep its connection.
        with closing(found["Body"]) as body:
            yield ModelPart(found["ETag"], self._size(key, found, version), _chunks(body))

    def _size(self, key: str, found: GetObjectOutputTypeDef, version: str | None) -> int:
        """The size of the whole file of which `found` is a part."""
        is_part = found["ResponseMetadata"]["HTTPStatusCode"] == _PARTIAL
        size = found.get("ContentRange", "").rpartition("/")[2]
        if not is_part or not size.isdigit():
            raise PartsUnsupported(f"{self._address(key)} cannot be read in parts")
        if version not in (None, found["ETag"]):  # from a store that ignores the condition
            raise ModelChanged(f"{self._address(key)} was replaced")
        return int(size)

    def _get(self, key: str, part: str, version: str | None) -> GetObjectOutputTypeDef:
        condition: Any = {} if version is None else {"IfMatch": version}
        try:
            return self._client.get_object(Bucket=self._bucket, Key=key, Range=part, **condition)
        except ClientError as error:
            if error_code(error) in _MISSING:
                raise ModelMissing(self._address(key)) from error
            if error_code(error) in _CHANGED:
                raise ModelChanged(f"{self._address(key)} was replaced") from error
            if error_code(error) in _BEYOND_END:
                raise BeyondEnd(self._address(key)) from error
            raise

    def _address(self, key: str) -> str:
        return f"s3://{self._bucket}/{key}"


def _chunks(body: StreamingBody) -> Iterator[bytes]:
    with translated():
        yield from body.iter_chunks(CHUNK)

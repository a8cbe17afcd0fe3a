"""Models in S3."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from comfyline.adapters.aws.errors import error_code, translated
from comfyline.service.files.models import ModelMissing

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CHUNK = 4 * 1024 * 1024  # few reads for gigabytes, and little memory for several files

# S3 answers 403 for a missing key if the caller may not list the bucket, and a worker may not.
_MISSING = frozenset({"403", "404", "AccessDenied", "NoSuchBucket", "NoSuchKey"})


class S3ModelStore:
    """`ModelStore` in S3."""

    def __init__(self, client: S3Client, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    def read(self, key: str) -> Iterator[bytes]:
        """See ModelStore."""
        with translated():
            try:
                found = self._client.get_object(Bucket=self._bucket, Key=key)
            except ClientError as error:
                if error_code(error) in _MISSING:
                    raise ModelMissing(f"s3://{self._bucket}/{key}") from error
                raise
            yield from found["Body"].iter_chunks(CHUNK)

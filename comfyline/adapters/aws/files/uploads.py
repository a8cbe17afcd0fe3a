"""Uploads of clients in S3. A client stores a file with a presigned form."""

from __future__ import annotations

import base64
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from botocore.exceptions import ClientError

from comfyline.adapters.aws.errors import error_code, translated
from comfyline.adapters.aws.files.artifacts import content_disposition
from comfyline.service.files.uploads import StoredUpload, UploadForm

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef, HeadObjectOutputTypeDef

CHUNK = 1024 * 1024
# The last characters of a name, with its suffix. S3 has room for 2 KB of metadata, and a character
# takes up to 12 bytes of it.
MAX_NAME = 100
# S3 returns it as metadata of the file. Its values are ASCII, so the name is percent-encoded.
_NAME_FIELD = "x-amz-meta-name"


class S3UploadStore:
    """`UploadStore` in S3.

    The clients must be configured by `s3_config`. `signer` signs the forms; without one the client
    does.
    """

    def __init__(self, client: S3Client, bucket: str, *, signer: S3Client | None = None) -> None:
        self._client, self._signer = client, signer or client
        self._bucket = bucket

    def offer(
        self,
        key: str,
        *,
        name: str,
        content_type: str,
        size: int,
        sha256: str | None,
        seconds: int,
    ) -> UploadForm:
        """See UploadStore. S3 refuses a file of another name, type, size or checksum."""
        fields = {
            _NAME_FIELD: _kept(name),
            "Content-Type": content_type,
            **_checksum(sha256),
        }
        conditions: list[Any] = [{name: value} for name, value in fields.items()]
        conditions.append(["content-length-range", size, size])
        post = self._signer.generate_presigned_post(
            self._bucket, key, Fields=fields, Conditions=conditions, ExpiresIn=seconds
        )
        return UploadForm(post["url"], post["fields"])

    @translated()
    def put(self, key: str, body: IO[bytes], *, name: str, content_type: str) -> None:
        """See UploadStore."""
        self._client.put_object(
            Bucket=self._bucket,
            Key=key,
            Body=body,
            ContentType=content_type,
            Metadata={"name": _kept(name)},
        )

    @translated()
    def copy(self, source: str, key: str, *, name: str, content_type: str) -> bool:
        """See UploadStore. S3 copies the bytes; files have at most 100 MB, and S3 allows 5 GB."""
        try:
            self._client.copy_object(
                Bucket=self._bucket,
                Key=key,
                CopySource={"Bucket": self._bucket, "Key": source},
                ContentType=content_type,
                Metadata={"name": _kept(name)},
                MetadataDirective="REPLACE",
            )
        except ClientError as error:
            if error_code(error) in {"404", "NoSuchKey"}:
                return False
            raise
        return True

    def sign(self, key: str, *, name: str, seconds: int) -> str:
        """See UploadStore. A browser saves the file and does not show it as a page."""
        params = {
            "Bucket": self._bucket,
            "Key": key,
            "ResponseContentDisposition": content_disposition(name),
        }
        return self._signer.generate_presigned_url("get_object", Params=params, ExpiresIn=seconds)

    @translated()
    def look(self, key: str) -> StoredUpload | None:
        """See UploadStore."""
        try:
            found = self._client.head_object(Bucket=self._bucket, Key=key)
        except ClientError as error:
            if error_code(error) in {"404", "NoSuchKey"}:
                return None
            raise
        return _stored(found)

    @translated()
    def fetch(self, key: str, into: IO[bytes]) -> StoredUpload | None:
        """See UploadStore."""
        try:
            found = self._client.get_object(Bucket=self._bucket, Key=key)
        except self._client.exceptions.NoSuchKey:
            return None
        for chunk in found["Body"].iter_chunks(CHUNK):
            into.write(chunk)
        return _stored(found)


def _kept(name: str) -> str:
    return quote(name[-MAX_NAME:])


def _stored(found: HeadObjectOutputTypeDef | GetObjectOutputTypeDef) -> StoredUpload:
    name = unquote(found["Metadata"].get("name", ""))
    return StoredUpload(found["ContentType"], found["ContentLength"], found["LastModified"], name)


def _checksum(sha256: str | None) -> dict[str, str]:
    if sha256 is None:
        return {}
    encoded = base64.b64encode(bytes.fromhex(sha256)).decode()
    return {"x-amz-checksum-algorithm": "SHA256", "x-amz-checksum-sha256": encoded}

"""The form of an upload: S3 accepts it, and it fixes key, type, size and checksum."""

from __future__ import annotations

import pytest
import requests
from botocore.config import Config

from comfyline.adapters.aws.files.uploads import S3UploadStore
from tests.contract.conftest import AwsClient

BODY = b"not really an image"


@pytest.fixture
def uploads(aws_client: AwsClient) -> S3UploadStore:
    client = aws_client("s3", config=Config(signature_version="s3v4"))
    client.create_bucket(Bucket="files")
    return S3UploadStore(client, "files")


def test_a_posted_file_is_found(uploads: S3UploadStore) -> None:
    assert uploads.look("uploads/x/1") is None
    form = uploads.offer(
        "uploads/x/1", content_type="image/png", size=len(BODY), sha256=None, seconds=60
    )
    answer = requests.post(form.url, data=form.fields, files={"file": BODY}, timeout=5)
    assert answer.status_code == 204
    found = uploads.look("uploads/x/1")
    assert found is not None
    assert (found.content_type, found.bytes) == ("image/png", len(BODY))


def test_the_form_fixes_key_type_size_and_checksum(uploads: S3UploadStore) -> None:
    form = uploads.offer("k", content_type="image/png", size=7, sha256="ab" * 32, seconds=60)
    fields = dict(form.fields)
    assert fields["key"] == "k"
    assert fields["Content-Type"] == "image/png"
    assert fields["x-amz-checksum-sha256"] == "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s="
    assert {"policy", "x-amz-signature"} <= fields.keys()

"""The form of an upload: S3 accepts it, and it fixes key, type, size and checksum."""

from __future__ import annotations

import io

import pytest
import requests
from botocore.config import Config

from comfyline.adapters.aws.files.uploads import MAX_NAME, S3UploadStore
from tests.contract.conftest import AwsClient

BODY = b"not really an image"


@pytest.fixture
def uploads(aws_client: AwsClient) -> S3UploadStore:
    client = aws_client("s3", config=Config(signature_version="s3v4"))
    client.create_bucket(Bucket="files")
    return S3UploadStore(client, "files")


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("a photo (1).png", "a photo (1).png"),
        ("写真 हिन्दी 🦊.png", "写真 हिन्दी 🦊.png"),
        ('../a\\b"c%20\n.png', '../a\\b"c%20\n.png'),
        ("🦊" * 200 + ".png", "🦊" * (MAX_NAME - 4) + ".png"),
        ("x", "x"),
    ],
)
def test_a_posted_file_is_found(uploads: S3UploadStore, name: str, kept: str) -> None:
    assert uploads.look("uploads/x/1") is None
    form = uploads.offer(
        "uploads/x/1", name=name, content_type="image/png", size=len(BODY), sha256=None, seconds=60
    )
    answer = requests.post(form.url, data=form.fields, files={"file": BODY}, timeout=5)
    assert answer.status_code == 204
    found = uploads.look("uploads/x/1")
    assert found is not None
    assert (found.name, found.content_type, found.bytes) == (kept, "image/png", len(BODY))
    assert uploads.fetch("uploads/x/1", file := io.BytesIO()) == found
    assert file.getvalue() == BODY


def test_a_file_without_a_name_is_found(uploads: S3UploadStore, aws_client: AwsClient) -> None:
    aws_client("s3").put_object(Bucket="files", Key="k", Body=BODY, ContentType="audio/flac")
    found = uploads.look("k")
    assert found is not None
    assert (found.name, found.content_type) == ("", "audio/flac")


def test_a_file_is_put_and_copied_with_another_name(uploads: S3UploadStore) -> None:
    uploads.put("k", io.BytesIO(BODY), name="é.png", content_type="image/png")
    first = uploads.look("k")
    assert first is not None
    assert (first.name, first.content_type, first.bytes) == ("é.png", "image/png", len(BODY))
    for key in ("other", "k"):  # onto itself too, which gives the file a new age
        assert uploads.copy("k", key, name="b.webp", content_type="image/webp")
        assert uploads.fetch(key, file := io.BytesIO()) == uploads.look(key)
        assert file.getvalue() == BODY
    found = uploads.look("other")
    assert found is not None
    assert (found.name, found.content_type) == ("b.webp", "image/webp")
    assert not uploads.copy("nothing", "k", name="b", content_type="text/plain")
    url = uploads.sign("k", name="b.webp", seconds=60)
    assert requests.get(url, timeout=5).content == BODY


def test_the_form_fixes_key_type_size_and_checksum(uploads: S3UploadStore) -> None:
    form = uploads.offer(
        "k", name="a.png", content_type="image/png", size=7, sha256="ab" * 32, seconds=60
    )
    fields = dict(form.fields)
    assert fields["key"] == "k"
    assert fields["x-amz-meta-name"] == "a.png"
    assert fields["Content-Type"] == "image/png"
    assert fields["x-amz-checksum-sha256"] == "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s="
    assert {"policy", "x-amz-signature"} <= fields.keys()

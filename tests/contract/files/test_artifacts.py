"""What every ArtifactStore does."""

from __future__ import annotations

import io
from hashlib import sha256
from random import Random
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.stub import Stubber

from comfyline.adapters.aws.files.artifacts import PART_BYTES, S3ArtifactStore, content_disposition
from comfyline.service.errors import Unavailable
from tests.contract.conftest import AwsClient, Files


class OnceReadable:
    """A body that cannot seek, and that is hashed as it is read."""

    def __init__(self, body: bytes) -> None:
        self._body, self.digest = io.BytesIO(body), sha256()

    def read(self, size: int = -1) -> bytes:
        found = self._body.read(size)
        self.digest.update(found)
        return found


def put(files: Files, key: str, body: bytes = b"pixels") -> None:
    files.store.put(key, io.BytesIO(body), "image/png")


class TestArtifactStore:
    def test_a_file_is_stored_with_its_type(self, files: Files) -> None:
        put(files, "jobs/a/1/0_image.png")
        assert files.look("jobs/a/1/0_image.png") == (b"pixels", "image/png")

    def test_the_same_key_overwrites(self, files: Files) -> None:
        put(files, "jobs/a/1/0_image.png")
        put(files, "jobs/a/1/0_image.png", b"")
        assert files.look("jobs/a/1/0_image.png") == (b"", "image/png")

    @pytest.mark.parametrize("more", [-1, 0, 1, PART_BYTES, 2 * PART_BYTES + 7])
    def test_each_byte_is_read_once_and_in_order(self, files: Files, more: int) -> None:
        body = Random(more).randbytes(PART_BYTES + more)
        read = OnceReadable(body)
        files.store.put("jobs/a/1/0_image.png", read, "image/png")
        assert files.look("jobs/a/1/0_image.png") == (body, "image/png")
        assert read.digest.digest() == sha256(body).digest()

    def test_keys_may_contain_any_characters(self, files: Files) -> None:
        put(files, "jobs/a/1/0_füchse & 50%+?#.png")
        assert files.look("jobs/a/1/0_füchse & 50%+?#.png") is not None

    def test_only_the_files_under_the_prefix_are_deleted(self, files: Files) -> None:
        for key in ("jobs/a/1/0", "jobs/a/2/0", "jobs/ab/1/0"):
            put(files, key)
        files.store.delete_prefix("jobs/a/")
        left = [key for key in ("jobs/a/1/0", "jobs/a/2/0", "jobs/ab/1/0") if files.look(key)]
        assert left == ["jobs/ab/1/0"]

    def test_an_empty_prefix_is_no_error(self, files: Files) -> None:
        files.store.delete_prefix("jobs/none/")
        assert files.look("jobs/none/") is None

    def test_each_file_and_name_has_its_own_url(self, files: Files) -> None:
        files_and_names = [("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")]
        urls = {files.store.sign(key, name=name, seconds=900) for key, name in files_and_names}
        assert len(urls) == 4


@pytest.mark.parametrize(
    ("name", "plain", "encoded"),
    [
        ("image_00001_.png", "image_00001_.png", "image_00001_.png"),
        ("füchse.png", "f_chse.png", "f%C3%BCchse.png"),
        ('a"; filename="b.exe', "a_; filename=_b.exe", "a_%3B%20filename%3D_b.exe"),
        ("a\r\nSet-Cookie: b", "a__Set-Cookie: b", "a__Set-Cookie%3A%20b"),
        ("../../etc/passwd", ".._.._etc_passwd", ".._.._etc_passwd"),
        ("x\u202egnp.exe", "x_gnp.exe", "x_gnp.exe"),  # it would be shown as xexe.png
        ("a\u2028b\u2066c", "a_b_c", "a_b_c"),
        ("\ud800", "_", "_"),
        ("", "file", "file"),
    ],
)
def test_a_hostile_name_cannot_leave_its_quotes(name: str, plain: str, encoded: str) -> None:
    expected = f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"
    assert content_disposition(name) == expected


def test_a_long_name_is_cut() -> None:
    assert len(content_disposition("x" * 10_000)) < 500


def test_a_signed_url_names_the_key_and_the_file_name(aws_session: Any) -> None:
    # Signing makes no call: no AWS could be reached here.
    store = S3ArtifactStore(aws_session.client("s3"), "artifacts")
    url = urlsplit(store.sign("jobs/a/1/0_image.png", name="image.png", seconds=900))
    query = parse_qs(url.query)
    assert url.path.endswith("/jobs/a/1/0_image.png")
    assert query["response-content-disposition"] == [content_disposition("image.png")]


def test_a_large_prefix_is_deleted_in_calls_of_a_thousand(aws_client: AwsClient) -> None:
    client = aws_client("s3")
    client.create_bucket(Bucket="artifacts")
    for n in range(1_001):
        client.put_object(Bucket="artifacts", Key=f"jobs/a/{n}", Body=b"")
    S3ArtifactStore(client, "artifacts").delete_prefix("jobs/a/")
    assert client.list_objects_v2(Bucket="artifacts")["KeyCount"] == 0


@pytest.mark.parametrize("code", ["InternalError", "SlowDown"])
def test_a_file_that_could_not_be_deleted_is_an_error(aws_session: Any, code: str) -> None:
    client = aws_session.client("s3")
    with Stubber(client) as stub:
        stub.add_response("list_objects_v2", {"Contents": [{"Key": "jobs/a/0"}]})
        stub.add_response("delete_objects", {"Errors": [{"Key": "jobs/a/0", "Code": code}]})
        with pytest.raises(Unavailable):
            S3ArtifactStore(client, "artifacts").delete_prefix("jobs/a/")

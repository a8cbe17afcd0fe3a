"""What every ModelStore does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ResponseStreamingError
from botocore.response import StreamingBody
from botocore.stub import Stubber

from comfyline.adapters.aws.files.models import CHUNK, S3ModelStore
from comfyline.adapters.memory.files import InMemoryModelStore
from comfyline.service.errors import Unavailable
from comfyline.service.files.models import (
    BeyondEnd,
    ModelChanged,
    ModelMissing,
    ModelPart,
    ModelStore,
    PartsUnsupported,
)
from tests.contract.conftest import Get, adapters


@dataclass(frozen=True, slots=True)
class Models:
    """A store, and a function that puts a file there."""

    store: ModelStore
    put: Callable[[str, bytes], object]


def _in_memory(_get: Get) -> Models:
    store = InMemoryModelStore()
    return Models(store, store.files.__setitem__)


def _in_s3(get: Get) -> Models:
    client = get("aws_client")("s3")
    client.create_bucket(Bucket="files")
    return Models(
        S3ModelStore(client, "files"),
        lambda key, body: client.put_object(Bucket="files", Key=key, Body=body),
    )


models = adapters(_in_memory, _in_s3)


KEY = "models/checkpoints/a b+(1).safetensors"


def read(models: Models, start: int, end: int, version: str | None = None) -> tuple[Any, ...]:
    """Version and size of the file, and the chunks of the part."""
    with models.store.open(KEY, start, end, version) as part:
        return part.version, part.size, list(part.chunks)


class TestModelStore:
    @pytest.mark.parametrize("size", [1, CHUNK, CHUNK + 1])
    def test_a_file_comes_in_chunks(self, models: Models, size: int) -> None:
        body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
        models.put(KEY, body)
        _, found, chunks = read(models, 0, size)
        assert (found, b"".join(chunks)) == (size, body)
        assert all(len(chunk) <= CHUNK for chunk in chunks)

    @pytest.mark.parametrize(("start", "end"), [(0, 1), (3, 7), (9, 10), (8, 99)])
    def test_a_part_is_read_alone(self, models: Models, start: int, end: int) -> None:
        models.put(KEY, b"0123456789")
        _, size, chunks = read(models, start, end)
        assert (size, b"".join(chunks)) == (10, b"0123456789"[start:end])

    def test_parts_of_one_file_have_one_version(self, models: Models) -> None:
        models.put(KEY, b"0123456789")
        first, second = (read(models, n, n + 5)[0] for n in (0, 5))
        assert first == second
        assert read(models, 5, 10, first)[2] == [b"56789"]

    def test_a_file_that_was_replaced_is_not_mixed_with_the_old_one(self, models: Models) -> None:
        models.put(KEY, b"0123456789")
        version = read(models, 0, 5)[0]
        models.put(KEY, b"abcdefghij")
        with pytest.raises(ModelChanged):
            read(models, 5, 10, version)
        assert read(models, 0, 5)[0] != version

    @pytest.mark.parametrize("body", [b"", b"0123"])
    def test_a_part_beyond_the_end_is_an_error(self, models: Models, body: bytes) -> None:
        models.put(KEY, body)
        with pytest.raises(BeyondEnd):
            read(models, 4, 8)

    def test_a_missing_file_is_an_error(self, models: Models) -> None:
        with pytest.raises(ModelMissing, match="models/checkpoints/a"):
            read(models, 0, 1)


@pytest.mark.parametrize("code", ["AccessDenied", "NoSuchBucket"])
def test_a_file_that_may_not_be_read_counts_as_missing(aws_session: Any, code: str) -> None:
    client = aws_session.client("s3")
    with Stubber(client) as stub:
        stub.add_client_error("get_object", code, http_status_code=403)
        reading = S3ModelStore(client, "files").open("models/a", 0, 1)
        with pytest.raises(ModelMissing, match="s3://files/models/a"):
            reading.__enter__()


class _HalfAFile:
    """A connection that ends in the middle of a file, with or without an error."""

    def __init__(self, error: Exception | None) -> None:
        self.error, self.chunks = error, [b"half"]
        self.is_closed = False

    def read(self, _size: int | None = None) -> bytes:
        if self.chunks:
            return self.chunks.pop()
        if self.error is not None:
            raise self.error
        return b""

    def close(self) -> None:
        self.is_closed = True


@contextmanager
def answered(aws_session: Any, stream: _HalfAFile, **fields: Any) -> Iterator[ModelPart]:
    """What the store makes of this answer to a request for the bytes 0 to 7."""
    client = aws_session.client("s3")
    answer = {
        "Body": StreamingBody(stream, content_length=8),
        "ETag": '"1"',
        "ContentRange": "bytes 0-7/8",
        "ResponseMetadata": {"HTTPStatusCode": 206},
        **fields,
    }
    with Stubber(client) as stub:
        stub.add_response("get_object", answer)
        with S3ModelStore(client, "files").open("models/a", 0, 8) as part:
            yield part


@pytest.mark.parametrize("error", [ResponseStreamingError(error="reset"), None])
def test_half_a_part_is_unavailable(aws_session: Any, error: Exception | None) -> None:
    stream = _HalfAFile(error)
    with answered(aws_session, stream) as part:
        assert next(part.chunks) == b"half"
        with pytest.raises(Unavailable):
            next(part.chunks)
    assert stream.is_closed


@pytest.mark.parametrize("chunks", [0, 1])
def test_a_part_that_is_given_up_frees_its_connection(aws_session: Any, chunks: int) -> None:
    stream = _HalfAFile(None)
    with answered(aws_session, stream) as part:
        for _ in range(chunks):
            next(part.chunks)
    assert stream.is_closed


@pytest.mark.parametrize(
    "fields", [{"ResponseMetadata": {"HTTPStatusCode": 200}}, {"ContentRange": "bytes 0-7/*"}]
)
def test_a_store_without_parts_is_told(aws_session: Any, fields: dict[str, Any]) -> None:
    stream = _HalfAFile(None)
    reading = answered(aws_session, stream, **fields)
    with pytest.raises(PartsUnsupported, match="cannot be read in parts"):
        reading.__enter__()
    assert stream.is_closed

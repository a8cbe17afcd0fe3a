"""What every ModelStore does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from botocore.exceptions import ResponseStreamingError
from botocore.response import StreamingBody
from botocore.stub import Stubber

from comfyline.adapters.aws.files.models import CHUNK, S3ModelStore
from comfyline.adapters.memory.files import InMemoryModelStore
from comfyline.service.errors import Unavailable
from comfyline.service.files.models import ModelMissing, ModelStore
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


class TestModelStore:
    @pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1])
    def test_a_file_comes_in_chunks(self, models: Models, size: int) -> None:
        body = (b"0123456789abcdef" * (size // 16 + 1))[:size]
        models.put("models/checkpoints/a b+(1).safetensors", body)
        chunks = list(models.store.read("models/checkpoints/a b+(1).safetensors"))
        assert b"".join(chunks) == body
        assert all(len(chunk) <= CHUNK for chunk in chunks)

    def test_a_missing_file_is_an_error_at_the_first_chunk(self, models: Models) -> None:
        reading = models.store.read("models/checkpoints/none")
        with pytest.raises(ModelMissing, match="models/checkpoints/none"):
            next(reading)


@pytest.mark.parametrize("code", ["AccessDenied", "NoSuchBucket"])
def test_a_file_that_may_not_be_read_counts_as_missing(aws_session: Any, code: str) -> None:
    client = aws_session.client("s3")
    with Stubber(client) as stub:
        stub.add_client_error("get_object", code, http_status_code=403)
        with pytest.raises(ModelMissing, match="s3://files/models/a"):
            next(S3ModelStore(client, "files").read("models/a"))


class _HalfAFile:
    """A connection that ends in the middle of a file, with or without an error."""

    def __init__(self, error: Exception | None) -> None:
        self.error, self.chunks = error, [b"half"]

    def read(self, _size: int | None = None) -> bytes:
        if self.chunks:
            return self.chunks.pop()
        if self.error is not None:
            raise self.error
        return b""


@pytest.mark.parametrize("error", [ResponseStreamingError(error="reset"), None])
def test_half_a_file_is_unavailable(aws_session: Any, error: Exception | None) -> None:
    client = aws_session.client("s3")
    with Stubber(client) as stub:
        body = StreamingBody(_HalfAFile(error), content_length=8)
        stub.add_response("get_object", {"Body": body})
        reading = S3ModelStore(client, "files").read("models/a")
        assert next(reading) == b"half"
        with pytest.raises(Unavailable):
            next(reading)

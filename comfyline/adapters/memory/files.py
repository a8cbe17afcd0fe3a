"""Files in memory. Tests read and change a store's `files`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import IO
from urllib.parse import urlencode

from comfyline.service.files.models import BeyondEnd, ModelChanged, ModelMissing, ModelPart
from comfyline.service.files.uploads import StoredUpload, UploadForm

MODEL_CHUNK = 1024


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An artifact."""

    body: bytes
    content_type: str


class InMemoryArtifactStore:
    """`ArtifactStore` in memory. `files` holds the artifacts by key."""

    def __init__(self) -> None:
        self.files: dict[str, StoredFile] = {}

    def put(self, key: str, body: IO[bytes], content_type: str) -> None:
        """See ArtifactStore."""
        self.files[key] = StoredFile(body.read(), content_type)

    def sign(self, key: str, *, name: str, seconds: int) -> str:
        """See ArtifactStore. No server answers at this URL."""
        return f"memory:///{key}?{urlencode({'name': name, 'seconds': seconds})}"

    def delete_prefix(self, prefix: str) -> None:
        """See ArtifactStore."""
        for key in [*self.files]:
            if key.startswith(prefix):
                self.files.pop(key, None)


class InMemoryUploadStore:
    """`UploadStore` in memory. `files` holds the uploads by key, and `bodies` their bytes."""

    def __init__(self) -> None:
        self.files: dict[str, StoredUpload] = {}
        self.bodies: dict[str, bytes] = {}

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
        """See UploadStore. No server answers at this URL."""
        fields = {"Content-Type": content_type, "size": str(size), "seconds": str(seconds)}
        return UploadForm(
            "memory:///", {"key": key, "name": name, **fields, "sha256": sha256 or ""}
        )

    def look(self, key: str) -> StoredUpload | None:
        """See UploadStore."""
        return self.files.get(key)

    def fetch(self, key: str, into: IO[bytes]) -> StoredUpload | None:
        """See UploadStore."""
        stored = self.files.get(key)
        if stored is not None:
            into.write(self.bodies[key])
        return stored


class InMemoryModelStore:
    """`ModelStore` in memory. `files` holds the models by key."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    @contextmanager
    def open(
        self, key: str, start: int, end: int, version: str | None = None
    ) -> Iterator[ModelPart]:
        """See ModelStore. The chunks are small, so that tests can count them."""
        if key not in self.files:
            raise ModelMissing(key)
        body = self.files[key]
        found = sha256(body).hexdigest()
        if version not in (None, found):
            raise ModelChanged(key)
        if start >= len(body):
            raise BeyondEnd(key)
        yield ModelPart(found, len(body), _chunks(body[start:end]))


def _chunks(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), MODEL_CHUNK):
        yield body[start : start + MODEL_CHUNK]

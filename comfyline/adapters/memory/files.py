"""Files in memory. Tests read and change a store's `files`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from io import BytesIO
from typing import IO, Literal
from urllib.parse import urlencode

from comfyline.contract.ids import Principal, UploadId
from comfyline.service.clock import Clock, utc_now
from comfyline.service.files.artifacts import Readable
from comfyline.service.files.asset_store import Asset
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

    def put(self, key: str, body: Readable, content_type: str) -> None:
        """See ArtifactStore."""
        self.files[key] = StoredFile(body.read(), content_type)

    def sign(
        self,
        key: str,
        *,
        name: str,
        seconds: int,
        shown_as: str | None = None,
        method: Literal["GET", "HEAD"] = "GET",
    ) -> str:
        """See ArtifactStore. No server answers at this URL."""
        asked = {"name": name, "seconds": seconds, "as": shown_as, "method": method}
        return f"memory:///{key}?{urlencode(asked)}"

    def delete_prefix(self, prefix: str) -> None:
        """See ArtifactStore."""
        for key in [*self.files]:
            if key.startswith(prefix):
                self.files.pop(key, None)


class InMemoryUploadStore:
    """`UploadStore` in memory. `files` holds the uploads by key, and `bodies` their bytes."""

    def __init__(self, clock: Clock = utc_now) -> None:
        self._clock = clock
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

    def put(self, key: str, body: IO[bytes], *, name: str, content_type: str) -> None:
        """See UploadStore."""
        self.bodies[key] = body.read()
        size = len(self.bodies[key])
        self.files[key] = StoredUpload(content_type, size, self._clock(), name)

    def copy(self, source: str, key: str, *, name: str, content_type: str) -> bool:
        """See UploadStore. The memory has no artifacts beside the uploads."""
        if source not in self.bodies:
            return False
        self.put(key, BytesIO(self.bodies[source]), name=name, content_type=content_type)
        return True

    def sign(self, key: str, *, name: str, seconds: int) -> str:
        """See UploadStore. No server answers at this URL."""
        return f"memory:///{key}?{urlencode({'name': name, 'seconds': seconds})}"

    def look(self, key: str) -> StoredUpload | None:
        """See UploadStore."""
        return self.files.get(key)

    def fetch(self, key: str, into: IO[bytes]) -> StoredUpload | None:
        """See UploadStore."""
        stored = self.files.get(key)
        if stored is not None:
            into.write(self.bodies[key])
        return stored


class InMemoryAssetStore:
    """`AssetStore` in memory."""

    def __init__(self) -> None:
        self._assets: dict[tuple[Principal, UploadId], Asset] = {}

    def put(self, asset: Asset, *, replaces: datetime | None = None) -> Asset | None:
        """See AssetStore."""
        existing = self._assets.get((asset.principal, asset.id))
        if existing is not None and existing.stored_at != replaces:
            return existing
        self._assets[asset.principal, asset.id] = asset
        return None

    def get(self, caller: Principal, asset_id: UploadId) -> Asset | None:
        """See AssetStore."""
        return self._assets.get((caller, asset_id))

    def with_hash(self, caller: Principal, hash_: str) -> Sequence[Asset]:
        """See AssetStore."""
        return [a for a in self._assets.values() if (a.principal, a.hash) == (caller, hash_)]

    def with_name(self, caller: Principal, file_path: str) -> Sequence[Asset]:
        """See AssetStore."""
        return [
            a for a in self._assets.values() if (a.principal, a.file_path) == (caller, file_path)
        ]

    def delete(self, asset: Asset) -> None:
        """See AssetStore."""
        self._assets.pop((asset.principal, asset.id), None)


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

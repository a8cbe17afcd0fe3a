"""What is too large for a row, by key. Signing a URL or a form makes no call."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Protocol


class ArtifactStore(Protocol):
    """Output files, under the prefix of their job and attempt."""

    def put(self, key: str, body: IO[bytes], content_type: str) -> None:
        """Store a file; the same key again overwrites it."""

    def sign(self, key: str, *, name: str, seconds: int) -> str:
        """A URL that fetches the file, under `name`, for that long. Makes no call."""

    def delete_prefix(self, prefix: str) -> None:
        """Remove every file under `prefix`."""


@dataclass(frozen=True, slots=True)
class UploadForm:
    """A form that a browser or a client posts, with the file as its last field."""

    url: str
    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class StoredUpload:
    """An upload that has arrived."""

    content_type: str
    bytes: int
    stored_at: datetime


class UploadStore(Protocol):
    """Files that callers send for their jobs to use."""

    def offer(
        self, key: str, *, content_type: str, size: int, sha256: str | None, seconds: int
    ) -> UploadForm:
        """A form that stores exactly one file of that type and size at `key`, for that long.

        Makes no call.
        """

    def look(self, key: str) -> StoredUpload | None:
        """What lies at `key`, None if nothing has arrived."""

    def fetch(self, key: str, into: IO[bytes]) -> StoredUpload | None:
        """Write the file at `key` into `into`; None if there is none."""


class ModelMissing(Exception):
    """Nothing lies at the key, or it may not be read: S3 does not tell one from the other."""


class ModelStore(Protocol):
    """The engine's models, large and never changed."""

    def read(self, key: str) -> Iterator[bytes]:
        """The file at `key`, in chunks of at most a few MiB.

        Raises:
            ModelMissing: there is nothing to read; raised by the first chunk.
            Unavailable: out of reach, also in the middle.
        """

"""The store of a job's output files. Signing a URL makes no call."""

from __future__ import annotations

from typing import IO, Protocol


class ArtifactStore(Protocol):
    """Output files, under the prefix of their job and attempt."""

    def put(self, key: str, body: IO[bytes], content_type: str) -> None:
        """Store a file; the same key again overwrites it."""

    def sign(self, key: str, *, name: str, seconds: int) -> str:
        """A URL that fetches the file, under `name`, for that long. Makes no call."""

    def delete_prefix(self, prefix: str) -> None:
        """Remove every file under `prefix`."""

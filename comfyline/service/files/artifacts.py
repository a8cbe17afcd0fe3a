"""The store of the files that jobs make."""

from __future__ import annotations

from typing import IO, Protocol


class ArtifactStore(Protocol):
    """Artifacts, each under the prefix of its job and attempt."""

    def put(self, key: str, body: IO[bytes], content_type: str) -> None:
        """Store a file, or overwrite the one at the same key."""

    def sign(self, key: str, *, name: str, seconds: int) -> str:
        """A URL that downloads the file as `name` and is valid for `seconds`. Makes no call."""

    def delete_prefix(self, prefix: str) -> None:
        """Remove every file under `prefix`."""

"""The store of the files that jobs make."""

from __future__ import annotations

from typing import Literal, Protocol


class Readable(Protocol):
    """Bytes that are read once, from the first to the last."""

    def read(self, size: int = -1, /) -> bytes:
        """The next `size` bytes at most, or all that are left; none at the end."""


class ArtifactStore(Protocol):
    """Artifacts, each under the prefix of its job and attempt."""

    def put(self, key: str, body: Readable, content_type: str) -> None:
        """Store a file, or overwrite the one at the same key.

        Every byte of `body` is read once, in order, so that the caller can hash what is stored.
        """

    def sign(
        self,
        key: str,
        *,
        name: str,
        seconds: int,
        shown_as: str | None = None,
        method: Literal["GET", "HEAD"] = "GET",
    ) -> str:
        """A URL that is valid for `seconds` and for this method. Makes no call.

        A browser saves the file as `name`. With `shown_as`, a media type, it shows the file as such
        in the page.
        """

    def delete_prefix(self, prefix: str) -> None:
        """Remove every file under `prefix`."""

"""The store of the engine's models, which are large and never change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


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

"""The store of the engine's models. They are large and never change."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class ModelMissing(Exception):
    """There is no file at the key, or reading it is forbidden: S3 does not tell which."""


class ModelStore(Protocol):
    """The engine's models."""

    def read(self, key: str) -> Iterator[bytes]:
        """The file at `key`, in chunks of at most a few MiB.

        Raises:
            ModelMissing: there is no file to read; raised by the first chunk.
            Unavailable: the store is out of reach; raised by any chunk.
        """

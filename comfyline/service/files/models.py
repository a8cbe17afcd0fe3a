"""The store of the engine's models. They are large, and read in parts over many connections."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol


class ModelMissing(Exception):
    """There is no file at the key, or reading it is forbidden: S3 does not tell which."""


class ModelChanged(Exception):
    """Another file is at the key than when its first part was read."""


class BeyondEnd(Exception):
    """The file ends before the part begins."""


class PartsUnsupported(Exception):
    """The store answers a request for a part with something else, so no model can be read."""


@dataclass(frozen=True, slots=True)
class ModelPart:
    """A part of a file that is about to be read."""

    version: str  # of the file: it changes whenever the file does
    size: int  # of the whole file, in bytes
    chunks: Iterator[bytes]  # the bytes of the part, at most 1 MiB at a time


class ModelStore(Protocol):
    """The engine's models."""

    def open(
        self, key: str, start: int, end: int, version: str | None = None
    ) -> AbstractContextManager[ModelPart]:
        """The bytes `start` to `end - 1` of the file at `key`; fewer if the file ends before.

        The block may end before all of them are read. Other threads may read other parts at the
        same time. `version`: of the parts that were read before.

        Raises:
            ModelMissing: there is no file to read.
            ModelChanged: the file has another version.
            BeyondEnd: the file ends before `start`.
            PartsUnsupported: the store cannot read a part of a file.
            Unavailable: the store is out of reach; also raised by any chunk.
        """

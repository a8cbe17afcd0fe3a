"""Keep what arrives in pieces: in memory while it is little, else in a temporary file."""

from __future__ import annotations

import tempfile
import threading
import weakref
from dataclasses import dataclass

IN_MEMORY_BYTES = 16 * 1024 * 1024  # beyond it everything goes to disk


class Spool:
    """An append-only store of byte strings. Its file is removed with the last reference to it."""

    def __init__(self) -> None:
        self.size = 0  # bytes
        self._file = tempfile.SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115
        self._lock = threading.Lock()  # because reading moves the file's position
        weakref.finalize(self, self._file.close)

    def append(self, content: bytes) -> Span:
        """Keep `content`.

        Raises:
            OSError: the disk is full.
        """
        with self._lock:
            self._file.seek(self.size)
            self._file.write(content)
        span = Span(self, self.size, len(content))
        self.size += len(content)
        return span

    def read(self, start: int, size: int) -> bytes:
        """`size` bytes from `start`."""
        with self._lock:
            self._file.seek(start)
            return self._file.read(size)


@dataclass(frozen=True, slots=True)
class Span:
    """One byte string in a spool."""

    spool: Spool
    start: int
    size: int

    def read(self) -> bytes:
        """The byte string."""
        return self.spool.read(self.start, self.size)

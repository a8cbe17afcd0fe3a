"""Which parts of an unfinished file are complete, so that the next process fetches only the rest.

One line describes the file, and one line is added after each complete part:

    <SHA-256 of the lock> <bytes> <bytes of a part> <version in the store>
    3
    0

What was written before the process was killed is still there afterwards. After a crash of the
machine it may be wrong; the SHA-256 of the whole file shows that.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(slots=True)
class Journal:
    """The complete parts of one file. One process writes it at a time, from any of its threads."""

    path: Path
    file: str  # what the file must be, and the size of its parts; a journal of another is void
    version: str | None = None  # of the file in the store; None before the first part is read
    complete: set[int] = field(default_factory=set)

    @classmethod
    def opened(cls, path: Path, file: str) -> Journal:
        """The journal at `path`; an empty one if there is none of this file."""
        journal = cls(path, file)
        with suppress(OSError, ValueError):
            head, *parts = path.read_text().splitlines()
            known, _, version = head.rpartition(" ")
            if known == file:
                journal.complete = {int(part) for part in parts}
                journal.version = version
        return journal

    def begin(self, version: str) -> None:
        """Note the version of the file whose parts follow.

        Raises:
            OSError: the disk is full, or broken.
        """
        self.path.write_text(f"{self.file} {version}\n")
        self.version = version

    def add(self, part: int) -> None:
        """Note a part that is written completely.

        Raises:
            OSError: the disk is full, or broken.
        """
        journal = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(journal, f"{part}\n".encode())
        finally:
            os.close(journal)
        self.complete.add(part)

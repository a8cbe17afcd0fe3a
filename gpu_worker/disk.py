"""The disks that jobs write to: the engine's folders, and where the worker keeps files."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

PROBE_BYTES = 1024 * 1024


def free_bytes(folder: Path) -> int:
    """The free space of the file system that `folder` is on.

    Raises:
        OSError: the folder cannot be reached.
    """
    return shutil.disk_usage(folder).free


@dataclass(frozen=True, slots=True)
class Disk:
    """Folders, and the free space below which no job may write to them.

    A folder that does not exist is left out: the engine makes its folders when it starts.
    """

    folders: tuple[Path, ...]
    floor_bytes: int
    free: Callable[[Path], int] = free_bytes

    def is_low(self) -> bool:
        """Whether a folder has less free space than the floor, or cannot be reached."""
        return any(self._shortages())

    def fault(self) -> str | None:
        """Why jobs cannot write; None if they can. Writes a small file into each folder."""
        return next(chain(self._shortages(), self._refusals()), None)

    def _shortages(self) -> Iterator[str]:
        for folder in filter(Path.is_dir, self.folders):
            try:
                free = self.free(folder)
            except OSError as error:
                yield f"{folder} cannot be read: {error.strerror}"
            else:
                if free < self.floor_bytes:
                    wanted, left = self.floor_bytes // 2**20, free // 2**20
                    yield f"the disk of {folder} has {left} MiB left, less than {wanted} MiB"

    def _refusals(self) -> Iterator[str]:
        # Free space does not show a quota, a read-only file system or a broken disk.
        for folder in filter(Path.is_dir, self.folders):
            try:
                with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
                    file.write(bytes(PROBE_BYTES))
            except OSError as error:
                yield f"{folder} cannot be written: {error.strerror}"

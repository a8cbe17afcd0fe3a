"""The engine's folders on this machine, from which a job's files are removed at its end."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

FOLDERS = ("output", "input")


@dataclass(frozen=True, slots=True)
class Workspace:
    """ComfyUI's base folder. None: the engine is not ours, so nothing is removed."""

    base: Path | None = None

    def remove(self, folder: str) -> None:
        """Remove an attempt's folder (its `attempt_path`), and the job's once that is empty."""
        if self.base is None:
            return
        for name in FOLDERS:
            path = self.base / name / folder
            shutil.rmtree(path, ignore_errors=True)
            try:
                path.parent.rmdir()
            except OSError:  # it holds another attempt's folder, or it was never made
                continue

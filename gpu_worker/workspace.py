"""The engine's directories on this machine: what a job left there goes when the job has ended."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

FOLDERS = ("output", "input")


@dataclass(frozen=True, slots=True)
class Workspace:
    """ComfyUI's base directory; None where the engine is not ours and nothing can be removed."""

    base: Path | None = None

    def remove(self, folder: str) -> None:
        """Remove an attempt's folder (its `attempt_path`), and its job's once that is empty."""
        if self.base is None:
            return
        for name in FOLDERS:
            path = self.base / name / folder
            shutil.rmtree(path, ignore_errors=True)
            try:
                path.parent.rmdir()
            except OSError:  # another attempt's, or never made
                continue

"""The start options of the simulator, and its folders."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# The first one is for examples. The recorded workflows name the others.
CHECKPOINTS = (
    "sd15-sim.safetensors",
    "random-sd15-tiny.safetensors",
    "random-sd15.safetensors",
)
CURRENT_VERSION = "0.33.0"
OLD_VERSION = "0.3.60"
GUISES = (CURRENT_VERSION, OLD_VERSION)
STEP_MS = 50.0  # of one sampler step
MAX_UPLOAD_BYTES = 100 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Options:
    """Start options. Tests change times of a running simulator in `faults.Switchboard`."""

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8188  # 0: any free port
    checkpoints: tuple[str, ...] = CHECKPOINTS
    step_ms: float = STEP_MS
    start_window_ms: float = 2.0  # from "taken from the queue" to "execution begins"
    time_scale: float = 1.0  # factor on the seconds of ProbeSleep and on the progress throttle
    preview_method: str = "latent2rgb"
    preview_size: int = 256  # longest side of a preview; ComfyUI's own default is 512
    max_upload_bytes: int = MAX_UPLOAD_BYTES
    guise: str = CURRENT_VERSION
    quiet_log: bool = False  # `logging.raiseExceptions` is off

    @property
    def is_old(self) -> bool:
        """Whether to imitate a version without `/api/jobs`, `/features` and prompt_id rules."""
        return self.guise == OLD_VERSION


@dataclass(frozen=True, slots=True)
class Folders:
    """ComfyUI's base directory, with `input`, `output` and `temp`."""

    base: Path

    def prepare(self) -> None:
        """Create the three folders. `temp` starts empty, as in ComfyUI."""
        shutil.rmtree(self.base / "temp", ignore_errors=True)
        for name in ("input", "output", "temp"):
            (self.base / name).mkdir(parents=True, exist_ok=True)

    def of_type(self, kind: str) -> Path | None:
        """The folder of a file `type`, or None for an unknown type."""
        return self.base / kind if kind in ("input", "output", "temp") else None


Exit = Callable[[int], None]
"""Ends the process at once with that status and without clean-up. Outside tests: `os._exit`."""

"""A process that fills a folder with one model: its arguments are

folder, the server's port, the model's SHA-256 and bytes, and the bytes of a part.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from comfyline.adapters.memory.metrics import InMemoryMetrics
from comfyline.service.graphs.lock import Model
from gpu_worker.models.download import Pace
from gpu_worker.models.folder import ModelFolder
from tests.support.model_server import store_at


def main() -> None:
    """Fill the folder with the one model, as a worker does."""
    folder, port, sha256, size, part = sys.argv[1:]
    model = Model(path="checkpoints/a.safetensors", sha256=sha256, bytes=int(size))
    pace = Pace(part_bytes=int(part), pause_seconds=0.05)
    with store_at(int(port)) as store:
        models = ModelFolder(store, Path(folder), InMemoryMetrics(), pace, connections=4)
        assert asyncio.run(models.fill([model], asyncio.Event()))
        models.flush()


if __name__ == "__main__":
    main()

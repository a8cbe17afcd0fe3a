"""A models folder, and a store in memory that records what is read."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from comfyline.adapters.memory.files import InMemoryModelStore
from comfyline.adapters.memory.metrics import InMemoryMetrics
from comfyline.service.errors import Unavailable
from comfyline.service.files.models import ModelPart
from comfyline.service.graphs.lock import Model
from gpu_worker.models.download import Pace
from gpu_worker.models.folder import ModelFolder

BODY = random.Random(7).randbytes(7000)
PART = 2048  # bytes, so that BODY has four parts, the last one shorter
PARTS = 4


def a_model(name: str = "a", body: bytes = BODY) -> Model:
    return Model(
        path=f"checkpoints/{name}.safetensors",
        sha256=hashlib.sha256(body).hexdigest(),
        bytes=len(body),
    )


class CountingStore(InMemoryModelStore):
    """Records reads. The first `breaks` of them fail after one chunk."""

    def __init__(self, *models: Model, body: bytes = BODY, breaks: int = 0) -> None:
        super().__init__()
        self.files = {model.key: body for model in models}
        self.reads: list[tuple[str, int]] = []  # keys, and where each read began
        self.breaks = breaks

    @contextmanager
    def open(
        self, key: str, start: int, end: int, version: str | None = None
    ) -> Iterator[ModelPart]:
        self.reads.append((key, start))
        with super().open(key, start, end, version) as part:
            yield replace(part, chunks=self._breaking(part.chunks))

    def _breaking(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        yield next(chunks)
        if self.breaks:
            self.breaks -= 1
            raise Unavailable("reset")
        yield from chunks


def a_folder(store: InMemoryModelStore, root: Path) -> ModelFolder:
    return ModelFolder(store, root, InMemoryMetrics(), Pace(part_bytes=PART, pause_seconds=0.001))


async def fill(store: InMemoryModelStore, root: Path, *models: Model) -> bool:
    return await a_folder(store, root).fill(models, asyncio.Event())


def hidden(root: Path) -> set[str]:
    """The worker's own files, without the lock."""
    return {p.name for p in root.rglob(".*") if p.is_file()} - {".lock"}


def files(root: Path) -> set[str]:
    """The files that an engine would see."""
    return {p.name for p in root.rglob("*") if p.is_file() and not p.name.startswith(".")}

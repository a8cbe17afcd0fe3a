"""The context of a running node: time, progress, files and the interrupt flag."""

from __future__ import annotations

import asyncio
import errno
import os
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from comfyui_sim.engine import Engine
from comfyui_sim.node_types import Picture
from comfyui_sim.prompt_queue import QueueItem

# ComfyUI sends a node's progress at most this often, except the first report, the last one, and
# those with a preview. The factor lets reports through that come every 100 ms.
PROGRESS_EVERY_S = 0.1 * 0.9
PROGRESS_EVERY_PART = 0.005

Report = Callable[[int, int, Picture | None], None]
"""Sends a progress step: value, maximum and preview."""


class NodeRun:
    """The `NodeContext` of a running node."""

    def __init__(self, engine: Engine, item: QueueItem, node_id: str, report: Report) -> None:
        self.options = engine.options
        self.folders = engine.folders
        self.prompt = item.prompt
        self.extra_data = item.extra_data
        self.memory = engine.state.memory(node_id, item.prompt[node_id]["class_type"])
        self._engine = engine
        self._item = item
        self._node_id = node_id
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._sent: tuple[float, int] | None = None

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self.options.time_scale)

    async def step(self) -> None:
        await asyncio.sleep(self._engine.faults.step_ms / 1000)

    async def progress(
        self, value: int, total: int, picture: Callable[[], Picture] | None = None
    ) -> None:
        await self._engine.faults.pass_stall()
        self._engine.state.raise_if_interrupted()
        if picture is None and not self._is_due(value, total):
            return
        self._sent = (time.monotonic(), value)
        self._report(value, total, None if picture is None else await asyncio.to_thread(picture))

    def _is_due(self, value: int, total: int) -> bool:
        if self._sent is None or value >= total:
            return True
        at, before = self._sent
        waited = time.monotonic() - at >= PROGRESS_EVERY_S * self.options.time_scale
        return waited and (value - before) / total >= PROGRESS_EVERY_PART

    def send_picture(self, picture: Picture) -> None:
        self._engine.hub.send_picture(picture, self.extra_data.get("client_id"))

    def send_text(self, text: str) -> None:
        self._engine.hub.send_text(text, self._node_id)

    def write(self, path: Path, body: bytes) -> None:
        limit = self._engine.faults.disk_bytes
        if limit is None:
            path.write_bytes(body)
            return
        room = max(0, limit - self._used(path))
        path.write_bytes(body[:room])
        if len(body) > room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def _used(self, replaced: Path) -> int:
        roots = (self.folders.base / "output", self.folders.base / "temp")
        files = (
            Path(at, name) for root in roots for at, _, names in os.walk(root) for name in names
        )
        return sum(_size(file) for file in files if file != replaced)

    def queue_again(self, prompt: Mapping[str, Any]) -> None:
        # A node may run in a thread, and the queue belongs to the event loop.
        self._loop.call_soon_threadsafe(self._put, dict(prompt))

    def _put(self, prompt: dict[str, Any]) -> None:
        queue, item = self._engine.queue, self._item
        number = queue.next_number(front=True)
        queue.put(number, str(uuid.uuid4()), prompt, item.extra_data, item.outputs)


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:  # a worker removes files while others are written
        return 0

"""The context of a running node: time, progress and the interrupt flag."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from comfyui_sim.engine import Engine
from comfyui_sim.prompt_queue import QueueItem

# ComfyUI sends a node's progress at most this often, except the first report, the last one, and
# those with a preview. The factor lets reports through that come every 100 ms.
PROGRESS_EVERY_S = 0.1 * 0.9
PROGRESS_EVERY_PART = 0.005

Report = Callable[[int, int, bytes | None], None]
"""Sends a progress step: value, maximum and preview."""


class NodeRun:
    """The `NodeContext` of a running node."""

    def __init__(self, engine: Engine, item: QueueItem, report: Report) -> None:
        self.options = engine.options
        self.folders = engine.folders
        self.prompt = item.prompt
        self.extra_data = item.extra_data
        self._engine = engine
        self._report = report
        self._sent: tuple[float, int] | None = None

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds * self.options.time_scale)

    async def step(self) -> None:
        await asyncio.sleep(self._engine.faults.step_ms / 1000)

    async def progress(
        self, value: int, total: int, preview: Callable[[], bytes] | None = None
    ) -> None:
        await self._engine.faults.pass_stall()
        self._engine.state.raise_if_interrupted()
        if preview is None and not self._is_due(value, total):
            return
        self._sent = (time.monotonic(), value)
        picture = None if preview is None else await asyncio.to_thread(preview)
        self._report(value, total, picture)

    def _is_due(self, value: int, total: int) -> bool:
        if self._sent is None or value >= total:
            return True
        at, before = self._sent
        waited = time.monotonic() - at >= PROGRESS_EVERY_S * self.options.time_scale
        return waited and (value - before) / total >= PROGRESS_EVERY_PART

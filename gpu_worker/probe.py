"""Probe whether this worker can run a job: free disk, an engine that answers, the warm-up."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from comfyline.service.graphs.graph import Graph
from gpu_worker.comfy.engine import ComfyEngine
from gpu_worker.disk import Disk
from gpu_worker.prepare import WarmUpFailed, warm_up

# Less than the grace of the heartbeat (heartbeat.GRACE): the job that may have caused the fault
# is leased until the probe has ended.
PROBE_SECONDS = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerProbe:
    """Probes one worker. Without a warm-up graph, an engine that answers is enough."""

    engine: ComfyEngine
    disk: Disk
    warm_up: Graph | None
    seconds: float = PROBE_SECONDS

    async def __call__(self) -> str | None:
        """Why this worker cannot run jobs; None if it can.

        Raises:
            EngineCrashLoop: the engine does not stay up.
        """
        try:
            async with asyncio.timeout(self.seconds):
                return await self._reason()
        except TimeoutError:
            return f"the probe did not end within {self.seconds:.0f} s"

    async def _reason(self) -> str | None:
        await self.engine.wait_ready()
        if (reason := await asyncio.to_thread(self.disk.fault)) is not None:
            return reason
        if self.warm_up is None:
            return None
        try:
            await warm_up(self.engine, self.warm_up, asyncio.Event())
        except WarmUpFailed as failed:
            return f"the warm-up failed: {failed}"
        return None

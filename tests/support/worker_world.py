"""A worker at work on the ports in memory, beside an engine: what tests of it share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from comfyline.adapters.memory.files import InMemoryArtifactStore, InMemoryUploadStore
from comfyline.adapters.memory.jobs import InMemoryJobStore
from comfyline.adapters.memory.metrics import InMemoryMetrics
from comfyline.adapters.memory.queue import InMemoryJobQueue
from comfyline.contract.ids import random_job_id, random_worker_id
from comfyline.service.graphs.graph import fingerprint
from comfyline.service.graphs.text_to_image import TextToImage, text_to_image_graph
from comfyline.service.jobs.claim import Terms
from comfyline.service.jobs.finish import Finisher
from comfyline.service.jobs.job import Job, JobParams, Status
from comfyline.service.jobs.lifecycle import submitted
from gpu_worker.comfy.engine import ComfyEngine
from gpu_worker.comfy.keeper import ForeignEngine, Keeper
from gpu_worker.comfy.watchdog import DEFAULT_LIMITS, Limits
from gpu_worker.heartbeat import Heartbeat
from gpu_worker.inputs import Inputs
from gpu_worker.outputs import Collector
from gpu_worker.protection import Protection
from gpu_worker.run import Toolbox
from gpu_worker.worker import Worker
from gpu_worker.workspace import Workspace
from tests.support.builders import PARAMS, a_job
from tests.support.eventually import eventually

LEASE = timedelta(seconds=20)
EMPTY_IMAGE = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x/y"}},
}


def now() -> datetime:
    """UTC."""
    return datetime.now(UTC)


@dataclass
class World:
    """A worker at work, and what is around it."""

    url: str  # of the engine
    base: Path  # its directory
    http: httpx.AsyncClient
    limits: Limits = DEFAULT_LIMITS
    jobs: InMemoryJobStore = field(default_factory=InMemoryJobStore)
    queue: InMemoryJobQueue = field(default_factory=lambda: InMemoryJobQueue(now))
    artifacts: InMemoryArtifactStore = field(default_factory=InMemoryArtifactStore)
    metrics: Any = field(default_factory=InMemoryMetrics)
    protection: Protection | None = None
    uploads: InMemoryUploadStore = field(default_factory=InMemoryUploadStore)

    def submit(self, graph: Mapping[str, Any] | None = None, **overrides: Any) -> Job:
        graph = graph or a_graph()
        job = submitted(
            replace(
                a_job(id=random_job_id(now()), queued_at=now(), fingerprint=fingerprint(graph)),
                **{"start_deadline": now() + timedelta(hours=1), **overrides},
            )
        )
        self.jobs.put_request(job, JobParams(params={}), graph)
        assert self.jobs.add(job) is None
        self.queue.send(job.id, job.owner, job.priority)
        return job

    def job(self, job: Job) -> Job:
        current = self.jobs.get(job.id)
        assert current is not None
        return current

    async def until(self, job: Job, *statuses: Status) -> Job:
        await eventually(lambda: self.job(job).status in statuses)
        return self.job(job)

    async def faults(self, **switches: Any) -> None:
        (await self.http.post("/sim/faults", json=switches)).raise_for_status()

    async def executed(self) -> int:
        return int((await self.http.get("/sim/executed")).json()["count"])

    @asynccontextmanager
    async def working(self, keeper: Keeper | None = None) -> AsyncIterator[asyncio.Event]:
        """A worker until the block ends; the event drains it earlier."""
        drain = asyncio.Event()
        keeper = keeper or ForeignEngine()
        async with ComfyEngine.connected(self.url, keeper, self.limits) as engine:
            working = asyncio.create_task(self.worker(engine).work(drain))
            try:
                yield drain
            finally:
                drain.set()
                await asyncio.wait_for(working, 20)

    def worker(self, engine: ComfyEngine) -> Worker:
        """A worker with that engine."""
        tools = Toolbox(
            store=self.jobs,
            clock=now,
            engine=engine,
            finisher=Finisher(store=self.jobs, queue=self.queue, clock=now),
            heartbeat=Heartbeat(
                store=self.jobs,
                queue=self.queue,
                clock=now,
                lease=LEASE,
                interval=timedelta(seconds=0.05),
            ),
            collector=Collector(http=engine.http, artifacts=self.artifacts),
            workspace=Workspace(self.base),
            inputs=Inputs(engine.http, self.uploads),
            metrics=self.metrics,
        )
        return Worker(
            queue=self.queue,
            terms=Terms(worker_id=random_worker_id(), lease=LEASE),
            tools=tools,
            long_poll_seconds=1,
            protection=self.protection,
        )


def a_graph(*, seed: int = 1, steps: int = 4) -> Mapping[str, Any]:
    params = {**PARAMS, "seed": seed, "steps": steps, "width": 64, "height": 64}
    return text_to_image_graph(TextToImage(**params, model="sd15-sim.safetensors"))

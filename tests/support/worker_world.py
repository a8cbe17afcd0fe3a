"""A worker on in-memory ports, beside an engine, for the tests of the worker."""

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
from comfyline.service.files.artifacts import ArtifactStore
from comfyline.service.graphs.graph import fingerprint
from comfyline.service.graphs.text_to_image import TextToImage, text_to_image_graph
from comfyline.service.jobs.claim import Terms
from comfyline.service.jobs.finish import Finisher
from comfyline.service.jobs.job import Job, JobParams, Status
from comfyline.service.jobs.lifecycle import submitted
from comfyline.service.jobs.store import JobStore
from comfyline.service.queue.tickets import JobQueue
from gpu_worker.collector import Collector
from gpu_worker.comfy.engine import ComfyEngine
from gpu_worker.comfy.keeper import ForeignEngine, Keeper
from gpu_worker.comfy.watchdog import DEFAULT_PATIENCE, Patience
from gpu_worker.heartbeat import Heartbeat
from gpu_worker.inputs import Inputs
from gpu_worker.protection import Protection
from gpu_worker.toolbox import Toolbox
from gpu_worker.worker import Worker
from gpu_worker.workspace import Workspace
from tests.support.builders import PARAMS, a_job
from tests.support.eventually import eventually

LEASE = timedelta(seconds=20)
HEARTBEAT = timedelta(seconds=0.05)
EMPTY_IMAGE = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x/y"}},
}


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


@dataclass
class World:
    """An engine, the ports that a worker uses, and what a test does to them."""

    url: str  # the engine's
    base: Path  # the engine's base folder
    http: httpx.AsyncClient  # for the engine
    patience: Patience = DEFAULT_PATIENCE
    jobs: InMemoryJobStore = field(default_factory=InMemoryJobStore)
    queue: InMemoryJobQueue = field(default_factory=lambda: InMemoryJobQueue(now))
    artifacts: InMemoryArtifactStore = field(default_factory=InMemoryArtifactStore)
    metrics: InMemoryMetrics = field(default_factory=InMemoryMetrics)
    protection: Protection | None = None
    uploads: InMemoryUploadStore = field(default_factory=InMemoryUploadStore)

    def submit(self, graph: Mapping[str, Any] | None = None, **overrides: Any) -> Job:
        """Store a queued job and send its ticket."""
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
        """The job's current row."""
        current = self.jobs.get(job.id)
        assert current is not None
        return current

    async def until(self, job: Job, *statuses: Status) -> Job:
        """The job, once it has one of these statuses."""
        await eventually(lambda: self.job(job).status in statuses)
        return self.job(job)

    async def faults(self, **switches: Any) -> None:
        """Make the simulated engine fail in these ways from now on."""
        (await self.http.post("/sim/faults", json=switches)).raise_for_status()

    async def executed(self) -> int:
        """How many prompts the simulated engine has begun to execute."""
        return int((await self.http.get("/sim/executed")).json()["count"])

    @asynccontextmanager
    async def working(self, keeper: Keeper | None = None) -> AsyncIterator[asyncio.Event]:
        """Run a worker until the block ends; setting the yielded event drains it earlier."""
        drain = asyncio.Event()
        keeper = keeper or ForeignEngine()
        async with ComfyEngine.connected(self.url, keeper, self.patience) as engine:
            working = asyncio.create_task(self.worker(engine).work(drain))
            try:
                yield drain
            finally:
                drain.set()
                await asyncio.wait_for(working, 20)

    def worker(self, engine: ComfyEngine) -> Worker:
        """A worker on that engine and on this world's ports."""
        return a_worker(
            self,
            engine,
            store=self.jobs,
            queue=self.queue,
            artifacts=self.artifacts,
            base=self.base,
        )


def a_worker(
    world: World,
    engine: ComfyEngine,
    *,
    store: JobStore,
    queue: JobQueue,
    artifacts: ArtifactStore,
    base: Path,
    lease: timedelta = LEASE,
    heartbeat: timedelta = HEARTBEAT,
) -> Worker:
    """A worker on these ports, and otherwise on the world's."""
    tools = Toolbox(
        store=store,
        clock=now,
        metrics=world.metrics,
        engine=engine,
        inputs=Inputs(engine.http, world.uploads),
        collector=Collector(http=engine.http, artifacts=artifacts),
        workspace=Workspace(base),
        heartbeat=Heartbeat(store=store, queue=queue, clock=now, lease=lease, interval=heartbeat),
        finisher=Finisher(store=store, queue=queue, clock=now),
    )
    return Worker(
        queue=queue,
        terms=Terms(worker_id=random_worker_id(), lease=lease),
        tools=tools,
        long_poll_seconds=1,
        protection=world.protection,
    )


def a_graph(*, seed: int = 1, steps: int = 4) -> Mapping[str, Any]:
    """A small text-to-image graph."""
    params = {**PARAMS, "seed": seed, "steps": steps, "width": 64, "height": 64}
    return text_to_image_graph(TextToImage(**params, model="sd15-sim.safetensors"))

"""The deployment in memory, with an engine and workers, for the tests of the worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx

from comfyline.adapters.memory.jobs import InMemoryJobStore
from comfyline.contract.ids import random_worker_id
from comfyline.service.clock import Clock
from comfyline.service.files.artifacts import ArtifactStore
from comfyline.service.graphs.catalogue import Catalogue
from comfyline.service.graphs.graph import Graph
from comfyline.service.graphs.text_to_image import TextToImage, text_to_image_graph
from comfyline.service.jobs.claim import Terms
from comfyline.service.jobs.job import Job, Status
from comfyline.service.jobs.store import JobStore
from comfyline.service.queue.tickets import JobQueue
from gpu_worker.collector import Collector
from gpu_worker.comfy.engine import ComfyEngine
from gpu_worker.comfy.keeper import ForeignEngine, Keeper
from gpu_worker.comfy.watchdog import DEFAULT_PATIENCE
from gpu_worker.disk import Disk
from gpu_worker.engine_files import OverHttp, SharedFolders
from gpu_worker.health import Health, Patience
from gpu_worker.heartbeat import Heartbeat
from gpu_worker.inputs import Inputs
from gpu_worker.models.loading import Loading
from gpu_worker.probe import WorkerProbe
from gpu_worker.protection import Protection
from gpu_worker.thumbnails import Thumbnails
from gpu_worker.toolbox import Toolbox
from gpu_worker.turnstile import Turnstile
from gpu_worker.worker import Worker
from gpu_worker.workspace import Workspace
from tests.support.builders import PARAMS, now
from tests.support.eventually import WITHIN, eventually
from tests.support.world import InMemoryDeployment

LEASE = timedelta(seconds=20)
HEARTBEAT = timedelta(seconds=0.05)
EMPTY_IMAGE = {
    "1": {
        "class_type": "EmptyImage",
        "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x/y"}},
}


def give_threads() -> None:
    """Give this loop threads for several workers, each of which blocks three with long polls.

    A deployed worker has its own 32. By default a loop has four more than the machine has cores.
    """
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(64))


class WorkerWorld(InMemoryDeployment):
    """A deployment in memory in real time, with an engine and the workers that use it."""

    def __init__(
        self,
        url: str,
        base: Path,
        http: httpx.AsyncClient,
        *,
        store: InMemoryJobStore | None = None,
        lease: timedelta = LEASE,
        heartbeat: timedelta = HEARTBEAT,
    ) -> None:
        super().__init__(now, store=store, lease=lease)
        give_threads()
        self.url = url  # of the engine
        self.base = base  # the engine's base folder
        self.http = http  # a client of the engine
        self.shares_disk = True  # workers find the engine's files in its base folder
        self.graph = a_graph()
        self.heartbeat = heartbeat
        self.patience = DEFAULT_PATIENCE
        self.protection: Protection | None = None
        self.disk: Disk | None = None
        self.thumbnails: Thumbnails | None = None
        self.warm_up: Graph | None = None
        self.catalogue = Catalogue()  # of the workers' lock
        self.health_patience = Patience(pauses=(0.1,))
        self.healths: list[Health] = []  # of the workers so far

    async def until(self, job: Job, *statuses: Status) -> Job:
        """The job, once it has one of these statuses."""
        await eventually(lambda: self.row(job.id).status in statuses)
        return self.row(job.id)

    async def faults(self, **switches: Any) -> None:
        """Make the simulated engine fail in these ways from now on."""
        # Not by httpx, which refuses halves of surrogate pairs.
        (await self.http.post("/sim/faults", content=json.dumps(switches))).raise_for_status()

    async def executed(self) -> int:
        """How many prompts the simulated engine has begun to execute."""
        return int((await self.http.get("/sim/executed")).json()["count"])

    @asynccontextmanager
    async def working(self, keeper: Keeper | None = None) -> AsyncIterator[asyncio.Event]:
        """Run a worker until the block ends; setting the yielded event drains it earlier."""
        keeper = keeper or ForeignEngine(has_other_workers=not self.shares_disk)
        async with (
            ComfyEngine.connected(self.url, keeper, self.patience) as engine,
            self.drained(self.worker(engine)) as drain,
        ):
            yield drain

    @asynccontextmanager
    async def drained(self, worker: Worker) -> AsyncIterator[asyncio.Event]:
        """Run this worker until the block ends, and drain it then."""
        drain = asyncio.Event()
        working = asyncio.create_task(worker.work(drain))
        try:
            yield drain
        finally:
            await self.drain(working, drain)
            await working

    async def drain(self, working: asyncio.Task[None], drain: asyncio.Event) -> None:
        """Drain a worker, and return once it has ended, with or without an error."""
        drain.set()
        async with asyncio.timeout(WITHIN):
            # A drain waits for the end of open long polls, which would last up to a second.
            while not working.done():
                self.queue.end_polls()
                await asyncio.wait({working}, timeout=0.05)
        await asyncio.gather(working, return_exceptions=True)  # the error is not reported again

    def health(self, engine: ComfyEngine, disk: Disk) -> Health:
        """The health of a worker of that engine."""
        probe = WorkerProbe(engine=engine, disk=disk, warm_up=self.warm_up)
        health = Health(probe, engine.restart, self.metrics, self.health_patience)
        self.healths.append(health)
        return health

    def worker(
        self,
        engine: ComfyEngine,
        *,
        store: JobStore | None = None,
        queue: JobQueue | None = None,
        artifacts: ArtifactStore | None = None,
        base: Path | None = None,
        clock: Clock = now,
        clock_fault: Callable[[], str | None] = lambda: None,
        loading: Loading | None = None,
    ) -> Worker:
        """A worker; the ports and the base folder that are given replace those of this world."""
        jobs, tickets = store or self.store, queue or self.queue
        disk = self.disk or Disk((base or self.base,), floor_bytes=0)
        tools = Toolbox(
            store=jobs,
            clock=clock,
            metrics=self.metrics,
            engine=engine,
            files=(
                SharedFolders(Workspace(base or self.base))
                if self.shares_disk
                else OverHttp(engine)
            ),
            turnstile=Turnstile(),
            inputs=Inputs(self.uploads),
            collector=Collector(artifacts=artifacts or self.artifacts),
            health=self.health(engine, disk),
            disk=disk,
            heartbeat=Heartbeat(
                store=jobs, queue=tickets, clock=clock, lease=self.lease, interval=self.heartbeat
            ),
            finisher=replace(self.finisher(store, queue), clock=clock),
            progress_interval=timedelta(seconds=10),
            thumbnails=self.thumbnails,
            catalogue=self.catalogue,
        )
        return Worker(
            queue=tickets,
            terms=Terms(worker_id=random_worker_id(), lease=self.lease),
            tools=tools,
            long_poll_seconds=1,
            protection=self.protection,
            clock_fault=clock_fault,
            loading=loading,
        )


def a_graph(*, seed: int = 1, steps: int = 4) -> Graph:
    """A small text-to-image graph."""
    params = {**PARAMS, "seed": seed, "steps": steps, "width": 64, "height": 64}
    return text_to_image_graph(TextToImage(**params, model="sd15-sim.safetensors"))

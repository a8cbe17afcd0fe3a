"""Whose fault it is: two workers, of which at most one is unhealthy, and jobs that may do harm."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx
import pytest

from comfyline.adapters.memory.files import InMemoryArtifactStore
from comfyline.service.files.artifacts import ArtifactStore
from comfyline.service.graphs.graph import Graph
from comfyline.service.jobs.cancel import cancel
from comfyline.service.jobs.job import Job, Status
from comfyline.service.metrics import Metric
from comfyui_sim.options import Options
from comfyui_sim.server import Simulator
from gpu_worker.comfy.engine import ComfyEngine
from gpu_worker.comfy.keeper import ForeignEngine
from gpu_worker.disk import Disk
from gpu_worker.health import Health, Patience, WorkerUnhealthy
from tests.support import web
from tests.support.builders import now
from tests.support.eventually import WITHIN, eventually
from tests.support.worker_world import EMPTY_IMAGE, WorkerWorld, a_graph

NO_SPACE = {"kind": "error", "message": "[Errno 28] No space left on device: 'output/x.png'"}
BROKEN_GPU = {"kind": "cuda_error"}
SLEEP = {
    "1": EMPTY_IMAGE["1"],
    "3": {
        "class_type": "ProbeSleep",
        "inputs": {"images": ["1", 0], "seconds": 60.0, "progress": True, "nonce": 0},
    },
    "2": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "x"}},
}
PLENTY = 2**40


@dataclass
class Machine:
    """A worker with its engine and its disk."""

    sim: Simulator
    http: httpx.AsyncClient
    work: asyncio.Task[None]
    drain: asyncio.Event
    health: Health
    folder: Path  # of the engine
    space: list[int]  # bytes that its disk can hold, set by the test

    async def faults(self, **nodes: dict[str, Any]) -> None:
        """Make these node classes fail from now on."""
        answer = await self.http.post("/sim/faults", json={"nodes": nodes})
        answer.raise_for_status()

    async def disk(self, size: int | None) -> None:
        """Give the engine's disk this size in bytes."""
        (await self.http.post("/sim/faults", json={"disk_bytes": size})).raise_for_status()

    async def executed(self) -> int:
        return int((await self.http.get("/sim/executed")).json()["count"])


@dataclass
class Site:
    """Two workers on one deployment in memory. Each probe runs a graph that saves a picture."""

    world: WorkerWorld
    machines: list[Machine]

    async def end(self, job: Job) -> Job:
        await eventually(lambda: self.world.row(job.id).status.is_terminal)
        return self.world.row(job.id)

    async def running(self, job: Job, attempt: int) -> Job:
        """The job, once this attempt runs."""
        state = (attempt, Status.RUNNING)
        row = self.world.row
        await eventually(lambda: (row(job.id).attempt, row(job.id).status) == state)
        return row(job.id)

    def queued(self, graph: Graph, jobs: int) -> list[Job]:
        return [self.world.queued(graph) for _ in range(jobs)]


def used(folder: Path) -> int:
    """The bytes of all files below the folder. They may be removed meanwhile."""
    files = [Path(at, name) for at, _, names in os.walk(folder) for name in names]
    return sum(file.stat().st_size for file in files if file.exists())


@asynccontextmanager
async def a_machine(
    world: WorkerWorld, folder: Path, artifacts: ArtifactStore | None = None
) -> AsyncIterator[Machine]:
    async with (
        Simulator(Options(data_dir=folder, port=0, step_ms=2)) as sim,
        web.AsyncClient(base_url=sim.url) as http,
        ComfyEngine.connected(sim.url, ForeignEngine()) as engine,
    ):
        space, drain = [PLENTY], asyncio.Event()
        world.disk = Disk((folder,), floor_bytes=2**20, free=lambda _: space[0] - used(folder))
        work = asyncio.create_task(
            world.worker(engine, base=folder, artifacts=artifacts).work(drain)
        )
        try:
            yield Machine(sim, http, work, drain, world.healths[-1], folder, space)
        finally:
            await world.drain(work, drain)


async def a_site(
    stack: AsyncExitStack,
    http: httpx.AsyncClient,
    folder: Path,
    *,
    workers: int,
    artifacts: ArtifactStore | None = None,
) -> Site:
    world = WorkerWorld("", folder, http)
    world.warm_up = EMPTY_IMAGE
    machines = [
        await stack.enter_async_context(a_machine(world, folder / str(number), artifacts))
        for number in range(workers)
    ]
    return Site(world, machines)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with AsyncExitStack() as stack, web.AsyncClient() as http:
        yield await a_site(stack, http, tmp_path, workers=2)


@pytest.mark.parametrize(
    ("fault", "reason"), [(NO_SPACE, "No space left"), (BROKEN_GPU, "CUDA error")]
)
async def test_an_unhealthy_worker_costs_no_good_job_and_takes_none(
    site: Site, fault: dict[str, Any], reason: str
) -> None:
    unhealthy, healthy = site.machines
    await unhealthy.faults(SaveImage=fault, PreviewImage=fault)
    jobs = site.queued(EMPTY_IMAGE, 20)
    ended = [await site.end(job) for job in jobs]
    assert [job.status for job in ended] == [Status.SUCCEEDED] * 20
    assert {(job.failures, job.faults) for job in ended} == {(0, 0)}
    assert reason in str(unhealthy.health.reason)
    assert (unhealthy.health.allows_jobs, healthy.health.allows_jobs) == (False, True)
    taken = sum(entry.event == "worker_unhealthy" for job in ended for entry in job.history)
    assert taken == 1, "the unhealthy worker took jobs after its first fault"


async def test_an_unhealthy_worker_that_recovers_takes_jobs_again(site: Site) -> None:
    unhealthy, healthy = site.machines
    healthy.drain.set()
    await unhealthy.faults(SaveImage=NO_SPACE)
    (job,) = site.queued(EMPTY_IMAGE, 1)
    await eventually(lambda: site.world.row(job.id).unhealthy_workers == 1)
    await eventually(lambda: unhealthy.health.reason)
    assert site.world.row(job.id).status is Status.QUEUED
    await unhealthy.faults()
    done = await site.end(job)
    assert (done.status, done.attempt, done.unhealthy_workers) == (Status.SUCCEEDED, 2, 1)
    assert (unhealthy.health.allows_jobs, unhealthy.health.reason) == (True, None)


async def test_a_job_that_meets_three_unhealthy_workers_ends_with_a_clear_error(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack, web.AsyncClient() as http:
        site = await a_site(stack, http, tmp_path, workers=3)
        for machine in site.machines:
            await machine.faults(SaveImage=NO_SPACE)
        (job,) = site.queued(EMPTY_IMAGE, 1)
        done = await site.end(job)
    assert done.error is not None
    assert (done.attempt, done.faults, done.error.type) == (3, 0, "worker_unhealthy")
    assert "Retry the job later" in done.error.message
    assert "No space left" in done.error.message


@pytest.mark.parametrize(
    ("fault", "error_type", "advice"),
    [
        (NO_SPACE, "out_of_disk", "Make fewer or smaller files"),
        (BROKEN_GPU, "gpu_error", "Check the node"),
        ({"kind": "out_of_memory"}, "out_of_memory", "Use smaller"),
        ({"kind": "error", "message": "[Errno 24] Too many open files"}, "out_of_resources", "too"),
    ],
)
async def test_a_job_that_breaks_any_worker_ends_after_two_and_takes_none_with_it(
    site: Site, fault: dict[str, Any], error_type: str, advice: str
) -> None:
    for machine in site.machines:
        await machine.faults(KSampler=fault)
    poison = site.world.queued(a_graph())
    good = site.queued(EMPTY_IMAGE, 6)
    done = await site.end(poison)
    assert done.error is not None
    assert (done.status, done.attempt, done.faults) == (Status.FAILED, 2, 2)
    assert (done.error.type, done.error.node_type) == (error_type, "KSampler")
    assert advice in done.error.message
    assert [(await site.end(job)).status for job in good] == [Status.SUCCEEDED] * 6
    await eventually(lambda: all(machine.health.allows_jobs for machine in site.machines))
    assert site.world.metrics.sum(Metric.WORKERS_UNHEALTHY, reason=error_type) == 0


async def test_a_job_that_fills_any_disk_ends_and_no_worker_leaves_service(site: Site) -> None:
    """Its files are removed before the probe, so that the probe finds space again."""
    for machine in site.machines:
        await machine.disk(8 * 2**20)
    fill = {"mebibytes": 64, "filename_prefix": "full"}
    poison = site.world.queued({"1": {"class_type": "CaseFillDisk", "inputs": fill}})
    good = site.queued(EMPTY_IMAGE, 10)
    done = await site.end(poison)
    assert done.error is not None
    assert (done.status, done.attempt, done.faults) == (Status.FAILED, 2, 2)
    assert (done.error.type, done.error.node_type) == ("out_of_disk", "CaseFillDisk")
    assert [(await site.end(job)).status for job in good] == [Status.SUCCEEDED] * 10
    await eventually(lambda: all(machine.health.allows_jobs for machine in site.machines))
    assert not any(machine.work.done() for machine in site.machines)


async def test_with_one_of_two_disks_full_twenty_good_jobs_succeed(site: Site) -> None:
    unhealthy, healthy = site.machines
    await unhealthy.disk(0)
    jobs = site.queued(EMPTY_IMAGE, 20)
    assert [(await site.end(job)).status for job in jobs] == [Status.SUCCEEDED] * 20
    assert (unhealthy.health.allows_jobs, healthy.health.allows_jobs) == (False, True)
    before = await unhealthy.executed()
    more = site.queued(EMPTY_IMAGE, 5)
    assert [(await site.end(job)).attempt for job in more] == [1] * 5
    assert site.world.metrics.sum(Metric.WORKERS_UNHEALTHY, reason="out_of_disk") >= 1
    await unhealthy.disk(None)
    await eventually(lambda: unhealthy.health.allows_jobs)
    assert await unhealthy.executed() > before, "the worker was not probed"


async def test_a_job_that_fills_the_disk_is_stopped_before_the_disk_is_full(site: Site) -> None:
    """Each worker's disk gets short while the job runs, and has space again without its files."""
    job = site.world.queued(SLEEP)
    for attempt in (1, 2):
        await site.running(job, attempt)
        for machine in site.machines:
            machine.space[0] = 0
        await eventually(lambda: not all(m.health.allows_jobs for m in site.machines))
        for machine in site.machines:
            machine.space[0] = PLENTY
    done = await site.end(job)
    assert done.error is not None
    assert (done.error.type, done.attempt, done.faults) == ("out_of_disk", 2, 2)
    after = site.queued(EMPTY_IMAGE, 4)
    assert [(await site.end(job)).status for job in after] == [Status.SUCCEEDED] * 4


async def test_a_job_that_is_stopped_for_the_disk_loses_its_files_before_the_probe(
    tmp_path: Path,
) -> None:
    """Only files of the job take the space, so each probe finds it free again."""
    async with AsyncExitStack() as stack, web.AsyncClient() as http:
        site = await a_site(stack, http, tmp_path, workers=1)
        (machine,) = site.machines
        machine.space[0] = 4 * 2**20
        job = site.world.queued(SLEEP)
        for attempt in (1, 2):
            running = await site.running(job, attempt)
            folder = machine.folder / "output" / running.attempt_path
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "large.bin").write_bytes(bytes(8 * 2**20))
        done = await site.end(job)
        await eventually(lambda: machine.health.allows_jobs)
    assert done.error is not None
    assert (done.error.type, done.attempt, done.faults) == ("out_of_disk", 2, 2)
    assert done.unhealthy_workers == 0


async def test_a_disk_that_is_full_before_any_job_runs_keeps_the_worker_out(site: Site) -> None:
    full, healthy = site.machines
    full.space[0] = 0
    jobs = site.queued(EMPTY_IMAGE, 6)
    ended = [await site.end(job) for job in jobs]
    assert [(job.status, job.unhealthy_workers) for job in ended] == [(Status.SUCCEEDED, 0)] * 6
    assert await full.executed() == 0
    assert await healthy.executed() == 6
    await eventually(lambda: full.health.reason is not None and "MiB left" in full.health.reason)


async def test_a_cancel_during_the_probe_is_obeyed_at_once(site: Site) -> None:
    unhealthy, healthy = site.machines
    healthy.drain.set()
    await unhealthy.faults(KSampler=NO_SPACE, SaveImage={"kind": "error", "message": "slow"})
    job = site.world.queued(a_graph())
    await eventually(lambda: not unhealthy.health.allows_jobs)
    cancel(job.id, job.owner, store=site.world.store, clock=now)
    done = await site.end(job)
    assert done.status is Status.CANCELED


async def test_a_worker_that_stays_unhealthy_ends(tmp_path: Path) -> None:
    async with web.AsyncClient() as http:
        world = WorkerWorld("", tmp_path, http)
        world.warm_up = EMPTY_IMAGE
        world.health_patience = Patience(pauses=(0.05,), give_up_seconds=0.2)
        async with a_machine(world, tmp_path / "only") as machine:
            await machine.faults(SaveImage=NO_SPACE)
            job = world.queued(EMPTY_IMAGE)
            with pytest.raises(WorkerUnhealthy, match="No space left"):
                await asyncio.wait_for(asyncio.shield(machine.work), WITHIN)
        assert world.row(job.id).lease is None
        assert world.row(job.id).status is Status.QUEUED


class NoSpaceForArtifacts(InMemoryArtifactStore):
    """The worker's own disk is full when it stores the files of a job."""

    def put(self, key: str, body: IO[bytes], content_type: str) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/tmp/spool")


async def test_a_worker_that_cannot_keep_the_files_of_a_job_suspects_its_disk(
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack, web.AsyncClient() as http:
        site = await a_site(stack, http, tmp_path, workers=1, artifacts=NoSpaceForArtifacts())
        job = site.world.queued(EMPTY_IMAGE)
        done = await site.end(job)
    assert done.error is not None
    assert (done.error.type, done.attempt, done.faults) == ("out_of_disk", 2, 2)
    assert "/tmp/spool" not in done.error.message

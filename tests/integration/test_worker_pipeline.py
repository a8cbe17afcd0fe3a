"""Jobs overlap on one worker: one ahead, one running, one finishing, and never more."""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import IO, Any

import pytest

from comfyline.adapters.memory.files import InMemoryArtifactStore
from comfyline.service.errors import Unavailable
from comfyline.service.jobs.cancel import cancel
from comfyline.service.jobs.job import Job, JobOptions, PictureEncoding, PictureFormat, Status
from comfyline.service.queue.lanes import Priority
from comfyui_sim.options import Options
from comfyui_sim.server import Simulator
from gpu_worker.comfy.watchdog import Patience
from tests.support import web
from tests.support.builders import now
from tests.support.eventually import WITHIN, eventually
from tests.support.worker_world import EMPTY_IMAGE, LEASE, WorkerWorld, a_graph


class SlowStore(InMemoryArtifactStore):
    """Stores nothing until `gate` opens, and fails the next `failures` puts."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.held: set[int] = (
            set()
        )  # the numbers of the files that wait for the gate; empty: all wait
        self.waiting = 0
        self.failures = 0

    def put(self, key: str, body: IO[bytes], content_type: str) -> None:
        self.waiting += 1
        number = int(key.split("/")[3].split("_")[0])
        assert (
            self.gate.is_set() or (self.held and number not in self.held) or self.gate.wait(WITHIN)
        )
        if self.failures:
            self.failures -= 1
            raise Unavailable("slow down")
        super().put(key, body, content_type)


@pytest.fixture
def store() -> SlowStore:
    return SlowStore()


@pytest.fixture
async def world(tmp_path: Path, store: SlowStore) -> AsyncIterator[WorkerWorld]:
    options = Options(data_dir=tmp_path, port=0, step_ms=2)
    async with Simulator(options) as sim, web.AsyncClient(base_url=sim.url) as http:
        world = WorkerWorld(sim.url, tmp_path, http)
        world.artifacts = store
        yield world


async def in_engine(world: WorkerWorld) -> tuple[int, int]:
    """How many prompts run and how many wait."""
    queue = (await world.http.get("/queue")).json()
    return len(queue["queue_running"]), len(queue["queue_pending"])


def claimed(world: WorkerWorld, *jobs: Job) -> list[bool]:
    return [world.row(job.id).lease is not None for job in jobs]


async def until_one_is_ahead(world: WorkerWorld) -> None:
    async with asyncio.timeout(WITHIN):
        while await in_engine(world) != (1, 1):
            await asyncio.sleep(0.01)


async def test_exactly_one_prompt_waits_behind_the_running_one(world: WorkerWorld) -> None:
    await world.faults(step_ms=100)
    jobs = [world.queued(a_graph(seed=n, steps=600)) for n in range(3)]
    async with world.working():
        await until_one_is_ahead(world)
        await world.until(jobs[0], Status.RUNNING)
        assert claimed(world, *jobs) == [True, True, False]
        assert world.row(jobs[1].id).status is Status.QUEUED


async def test_the_next_job_runs_while_the_last_is_stored(
    world: WorkerWorld, store: SlowStore
) -> None:
    store.gate.clear()
    first, second = world.queued(a_graph(seed=1)), world.queued(a_graph(seed=2))
    async with world.working():
        await eventually(lambda: store.waiting == 2)
        assert world.row(first.id).status is Status.RUNNING
        store.gate.set()
        await world.until(first, Status.SUCCEEDED)
        await world.until(second, Status.SUCCEEDED)


async def test_jobs_that_cannot_be_stored_stop_the_claiming(
    world: WorkerWorld, store: SlowStore
) -> None:
    store.gate.clear()
    jobs = [world.queued(a_graph(seed=n)) for n in range(5)]
    async with world.working():
        await eventually(lambda: sum(claimed(world, *jobs)) == 3)
        await eventually(lambda: store.waiting == 3)
        assert sum(claimed(world, *jobs)) == 3
        store.gate.set()
        for job in jobs:
            await world.until(job, Status.SUCCEEDED)


async def test_a_canceled_job_ahead_never_runs(world: WorkerWorld) -> None:
    await world.faults(step_ms=100)
    running = world.queued(a_graph(seed=1, steps=600))
    async with world.working():
        # Only then the next, because jobs that are claimed together reach the engine in any order.
        await world.until(running, Status.RUNNING)
        ahead = world.queued(a_graph(seed=2))
        await until_one_is_ahead(world)
        assert cancel(ahead.id, ahead.owner, store=world.store, clock=now).job.is_canceling
        await world.until(ahead, Status.CANCELED)
        assert world.row(running.id).status is Status.RUNNING
        assert await world.executed() == 1


async def test_a_drained_worker_gives_back_the_running_job_and_the_one_ahead(
    world: WorkerWorld,
) -> None:
    await world.faults(step_ms=100)
    jobs = [world.queued(a_graph(seed=n, steps=600)) for n in range(2)]
    async with world.working() as drain:
        await until_one_is_ahead(world)
        await world.until(jobs[0], Status.RUNNING)
        drained_at = now()
        drain.set()
        for job in jobs:
            await eventually(lambda job=job: world.row(job.id).lease is None)
    for job in jobs:
        back = world.row(job.id)
        assert (back.status, back.interruptions, back.failures) == (Status.QUEUED, 1, 0)
        assert back.history[-1].at - drained_at < LEASE
    tickets = world.queue.receive(Priority.NORMAL, wait_seconds=0, limit=10)
    assert {ticket.job_id for ticket in tickets} == {job.id for job in jobs}


async def test_a_job_that_left_the_gpu_is_stored_although_the_worker_drains(
    world: WorkerWorld, store: SlowStore
) -> None:
    store.gate.clear()
    job = world.queued(a_graph())
    async with world.working() as drain:
        await eventually(lambda: store.waiting)
        drain.set()
        await asyncio.sleep(0.1)
        assert world.row(job.id).status is Status.RUNNING
        store.gate.set()
        done = await world.until(job, Status.SUCCEEDED)
    assert done.interruptions == 0


async def test_an_unreachable_store_gives_the_job_back(
    world: WorkerWorld, store: SlowStore
) -> None:
    store.failures = 1
    job = world.queued(a_graph())
    async with world.working():
        done = await world.until(job, Status.SUCCEEDED)
    assert (done.attempt, done.failures, done.interruptions) == (2, 0, 1)


async def test_files_made_before_a_node_failed_are_stored_and_listed(world: WorkerWorld) -> None:
    await world.faults(nodes={"VAEDecode": {"kind": "error"}})
    job = world.queued(two_outputs())
    async with world.working():
        await world.until(job, Status.FAILED)
    record = world.store.read(job.id)
    assert record is not None
    assert [artifact.node for artifact in record.artifacts] == ["02"]
    assert record.artifacts[0].key in world.artifacts.files


def two_outputs() -> dict[str, Any]:
    """A graph that saves an image at once, and another after a sampler."""
    save = {"class_type": "SaveImage", "inputs": {"images": ["01", 0], "filename_prefix": "e"}}
    return {"01": EMPTY_IMAGE["1"], "02": save, **a_graph()}


async def test_nothing_of_an_ended_job_stays_in_the_engine(world: WorkerWorld) -> None:
    job = world.queued(a_graph())
    async with world.working():
        await world.until(job, Status.SUCCEEDED)
    assert (await world.http.get("/history")).json() == {}
    assert not [path for path in (world.base / "output").rglob("*") if path.is_file()]


async def test_a_muted_socket_does_not_stop_the_execution_timeout(world: WorkerWorld) -> None:
    await world.faults(mute_sockets=True, step_ms=100)
    job = world.queued(a_graph(steps=600), execution_timeout=timedelta(seconds=0.2))
    async with world.working():
        done = await world.until(job, Status.FAILED)
    assert done.error is not None
    assert done.error.type == "execution_timeout"


async def test_a_foreign_engine_that_hangs_gets_no_work_until_it_is_idle(
    world: WorkerWorld,
) -> None:
    world.patience = Patience(pending=60, disobedient=0.2)
    await world.faults(stall=True)
    await world.http.post("/prompt", json={"prompt": EMPTY_IMAGE})  # from another client
    job = world.queued(a_graph())
    async with world.working():
        await eventually(lambda: world.row(job.id).lease is not None)
        await world.faults(stall=False)
        await world.until(job, Status.SUCCEEDED)
        await world.faults(step_ms=100)
        stuck = world.queued(a_graph(seed=9, steps=600))
        await world.until(stuck, Status.RUNNING)
        await world.faults(stall=True)
        cancel(stuck.id, stuck.owner, store=world.store, clock=now)
        await world.until(stuck, Status.CANCELED)
        other = world.queued(EMPTY_IMAGE)
        await asyncio.sleep(0.5)
        assert await in_engine(world) == (1, 0)  # the stuck one; a claimed job waits outside
        await world.faults(stall=False, step_ms=1)
        await world.until(other, Status.SUCCEEDED)


async def test_a_watched_job_lists_each_file_as_it_is_stored(
    world: WorkerWorld, store: SlowStore
) -> None:
    store.held = {1}
    store.gate.clear()
    job = world.queued(two_outputs())
    world.store.watch(job.id, now() + timedelta(hours=1))
    async with world.working():
        await eventually(lambda: world.row(job.id).stored == 1)
        record = world.store.read(job.id)
        assert record is not None
        assert record.job.status is Status.RUNNING
        assert [artifact.key in world.artifacts.files for artifact in record.artifacts] == [True]
        store.gate.set()
        await world.until(job, Status.SUCCEEDED)
    record = world.store.read(job.id)
    assert record is not None
    assert len(record.artifacts) == 2


class Fleet:
    """Records each request."""

    def __init__(self) -> None:
        self.asked: list[bool] = []

    async def ask(self, *, protected: bool) -> None:
        self.asked.append(protected)


async def test_protection_is_requested_only_while_the_worker_holds_a_job(
    world: WorkerWorld,
) -> None:
    world.protection = fleet = Fleet()
    async with world.working():
        assert fleet.asked == []
        await world.until(world.queued(), Status.SUCCEEDED)
        assert fleet.asked == [True]


async def test_pictures_are_stored_in_the_format_that_the_job_asks_for(
    world: WorkerWorld, store: SlowStore
) -> None:
    webp = PictureEncoding(format=PictureFormat.WEBP, quality=80)
    async with world.working():
        job = await world.until(
            world.queued(EMPTY_IMAGE, options=JobOptions(output=webp)), Status.SUCCEEDED
        )
    record = world.store.read(job.id)
    assert record is not None
    (made,) = record.artifacts
    body = store.files[made.key].body
    assert (made.name[-5:], made.content_type, made.kind) == (".webp", "image/webp", "image")
    assert made.key.endswith(made.name)
    assert store.files[made.key].content_type == "image/webp"
    assert (made.bytes, made.sha256) == (len(body), hashlib.sha256(body).hexdigest())
    assert body[8:12] == b"WEBP"

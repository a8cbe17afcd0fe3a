"""A worker makes thumbnails of an ended job's pictures, and delays neither its end nor its own."""

from __future__ import annotations

import io
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from comfyline.service.jobs.artifact_keys import thumbnail_key
from comfyline.service.jobs.job import Status
from comfyui_sim.options import Options
from comfyui_sim.server import Simulator
from gpu_worker.thumbnail_process import ThumbnailProcess
from gpu_worker.thumbnails import Thumbnails
from tests.support import web
from tests.support.eventually import eventually
from tests.support.worker_world import WorkerWorld, a_graph

HANGS = (sys.executable, "-c", "import time; time.sleep(600)")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[WorkerWorld]:
    options = Options(data_dir=tmp_path, port=0, step_ms=5)
    async with Simulator(options) as sim, web.AsyncClient(base_url=sim.url) as http:
        world = WorkerWorld(sim.url, tmp_path, http)
        world.thumbnails = Thumbnails(world.store, world.artifacts)
        yield world


async def test_an_ended_job_gets_a_thumbnail_and_its_row_stays(world: WorkerWorld) -> None:
    job = world.queued(a_graph())
    async with world.working():
        done = await world.until(job, Status.SUCCEEDED)
        await eventually(lambda: _thumbnails(world, job.id) == (0,))
    record = world.store.read(job.id)
    assert record is not None
    assert (done.stored, record.artifacts_total, record.job) == (1, 1, done)
    body = world.artifacts.files[thumbnail_key(done, 0)].body
    with Image.open(io.BytesIO(body)) as picture:
        assert (picture.format, picture.size) == ("WEBP", (64, 64))


async def test_the_next_job_and_the_stop_wait_for_no_thumbnail(world: WorkerWorld) -> None:
    world.thumbnails = Thumbnails(world.store, world.artifacts, ThumbnailProcess(HANGS))
    jobs = [world.queued(a_graph(seed=seed)) for seed in range(5)]  # more than may wait
    async with world.working():
        for job in jobs:
            await world.until(job, Status.SUCCEEDED)
    # The worker has stopped: `working` waits less than a thumbnail may take.
    assert all(_thumbnails(world, job.id) == () for job in jobs)
    assert list((world.base / "comfyline").iterdir()) == []  # their files are removed


def _thumbnails(world: WorkerWorld, job_id: str) -> tuple[int, ...]:
    record = world.store.read(job_id)  # type: ignore[arg-type]
    assert record is not None
    return record.thumbnails

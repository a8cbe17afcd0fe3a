"""Previews of a running job are stored if the caller asked for them and the job is watched."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from comfyline.service.jobs.artifact_keys import preview_key
from comfyline.service.jobs.job import Job, JobOptions, Status
from comfyui_sim.options import Options
from comfyui_sim.server import Simulator
from gpu_worker import previews, reporter
from tests.support import web
from tests.support.builders import now
from tests.support.eventually import eventually
from tests.support.worker_world import WorkerWorld, a_graph


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[WorkerWorld]:
    """The worker of this world writes the progress of a watched job at once."""
    monkeypatch.setattr(reporter, "WATCHED_INTERVAL", timedelta(milliseconds=5))
    options = Options(data_dir=tmp_path, port=0, step_ms=10)
    async with Simulator(options) as sim, web.AsyncClient(base_url=sim.url) as http:
        yield WorkerWorld(sim.url, tmp_path, http)


def submitted(world: WorkerWorld, *, asked: bool, watched: bool) -> Job:
    job = world.queued(a_graph(steps=40), options=JobOptions(wants_previews=asked))
    if watched:
        world.store.watch(job.id, now() + timedelta(hours=1))
    return job


async def test_a_preview_is_stored_while_the_job_is_watched(world: WorkerWorld) -> None:
    job = submitted(world, asked=True, watched=True)
    async with world.working():
        await eventually(lambda: world.row(job.id).previewed == 1)
        running = world.row(job.id)
        assert running.status is Status.RUNNING
        shown = world.artifacts.files[preview_key(running)]
        done = await world.until(job, Status.SUCCEEDED)
    assert shown.content_type == "image/jpeg"
    with Image.open(BytesIO(shown.body)) as picture:
        assert picture.format == "JPEG"
    assert done.attempt == 1
    record = world.store.read(job.id)
    assert record is not None
    assert preview_key(done) not in [artifact.key for artifact in record.artifacts]


async def test_a_newer_preview_replaces_the_last(
    world: WorkerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previews, "INTERVAL", timedelta(milliseconds=5))
    job = submitted(world, asked=True, watched=True)
    async with world.working():
        await eventually(lambda: world.row(job.id).previewed >= 2)
        done = await world.until(job, Status.SUCCEEDED)
    assert len(world.artifacts.files) == 2
    assert preview_key(done) in world.artifacts.files


async def test_there_is_a_pause_between_previews(
    world: WorkerWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(previews, "INTERVAL", timedelta(hours=1))
    job = submitted(world, asked=True, watched=True)
    async with world.working():
        done = await world.until(job, Status.SUCCEEDED)
    assert done.previewed == 1


@pytest.mark.parametrize(("asked", "watched"), [(True, False), (False, True)])
async def test_without_the_request_or_a_subscriber_no_preview_is_stored(
    world: WorkerWorld, asked: bool, watched: bool
) -> None:
    job = submitted(world, asked=asked, watched=watched)
    async with world.working():
        done = await world.until(job, Status.SUCCEEDED)
    assert (done.previewed, len(world.artifacts.files)) == (0, 1)

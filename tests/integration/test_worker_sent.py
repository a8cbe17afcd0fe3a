"""Jobs with nodes that send pictures, queue prompts, or are valid only in part."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from comfyline.service.jobs.job import Job, JobOptions, JobRecord, Status
from comfyui_sim.options import Options
from comfyui_sim.server import Simulator
from tests.support import web
from tests.support.worker_world import EMPTY_IMAGE, WorkerWorld

PICTURES = {
    "class_type": "EmptyImage",
    "inputs": {"width": 16, "height": 8, "batch_size": 3, "color": 255},
}
SENDER = {
    "1": PICTURES,
    "2": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}},
}
BOTH = {
    **SENDER,
    "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}
HALF_WRONG = {
    **EMPTY_IMAGE,
    "3": {"class_type": "SaveImage", "inputs": {"filename_prefix": "bad"}},
}
REQUEUE = {"1": {"class_type": "CaseRequeue", "inputs": {"rounds": 3, "filename_prefix": "part"}}}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[WorkerWorld]:
    options = Options(data_dir=tmp_path, port=0, step_ms=2)
    async with Simulator(options) as sim, web.AsyncClient(base_url=sim.url) as http:
        yield WorkerWorld(sim.url, tmp_path, http)


async def ended(world: WorkerWorld, graph: Mapping[str, Any], **options: Any) -> JobRecord:
    job = world.queued(graph, **options)
    async with world.working():
        await world.until(job, Status.SUCCEEDED, Status.FAILED)
    return record(world, job)


def record(world: WorkerWorld, job: Job) -> JobRecord:
    found = world.store.read(job.id)
    assert found is not None
    return found


@pytest.mark.parametrize("previews", [False, True])
async def test_each_picture_that_is_sent_is_an_artifact(world: WorkerWorld, previews: bool) -> None:
    done = await ended(world, SENDER, options=JobOptions(wants_previews=previews))
    assert done.job.status is Status.SUCCEEDED
    files = done.result.artifacts
    assert [(file.name, file.node, file.content_type) for file in files] == [
        (f"image_2_0000{number}.png", "2", "image/png") for number in (1, 2, 3)
    ]
    assert all(world.artifacts.files[file.key].body.startswith(b"\x89PNG") for file in files)


async def test_pictures_that_are_sent_stand_beside_files(world: WorkerWorld) -> None:
    done = await ended(world, BOTH)
    assert sorted(file.node for file in done.result.artifacts) == ["2"] * 3 + ["3"] * 3


async def test_an_output_that_is_left_out_is_a_warning(world: WorkerWorld) -> None:
    done = await ended(world, HALF_WRONG)
    assert done.job.status is Status.SUCCEEDED
    assert [file.node for file in done.result.artifacts] == ["2"]
    (warning,) = done.result.warnings
    assert (warning.node_id, warning.node_type) == ("3", "SaveImage")
    assert "images" in warning.message
    assert done.result.is_partial


async def test_a_strict_job_fails_with_the_error_of_the_output(world: WorkerWorld) -> None:
    done = await ended(world, HALF_WRONG, options=JobOptions(strict=True))
    assert done.job.status is Status.FAILED
    assert done.job.error is not None
    assert (done.job.error.node_id, done.job.error.node_type) == ("3", "SaveImage")
    assert done.result.artifacts == ()
    assert list((world.base / "output").rglob("*.png")) == []


async def test_a_job_that_queues_prompts_fails_and_the_next_one_runs(world: WorkerWorld) -> None:
    queuing, after = world.queued(REQUEUE), world.queued(EMPTY_IMAGE)
    async with world.working():
        await world.until(queuing, Status.FAILED)
        await world.until(after, Status.SUCCEEDED)
        queue = (await world.http.get("/queue")).json()
    error = world.row(queuing.id).error
    assert error is not None
    assert (error.type, error.node_id, error.node_type) == ("queues_prompts", "1", "CaseRequeue")
    assert queue == {"queue_running": [], "queue_pending": []}
    assert record(world, after).job.attempt == 1


async def test_gpu_time_ends_with_the_timeout(world: WorkerWorld) -> None:
    sleep = {"images": ["1", 0], "seconds": 3.0, "progress": False, "nonce": 0}
    graph = {
        **EMPTY_IMAGE,
        "3": {"class_type": "ProbeSleep", "inputs": sleep},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "x"}},
    }
    done = await ended(world, graph, execution_timeout=timedelta(seconds=1))
    assert done.job.error is not None
    assert (done.job.error.type, done.job.error.node_id) == ("execution_timeout", "3")
    assert 0.9 < done.job.gpu_seconds < sleep["seconds"]  # the node itself runs on to its end

"""What a worker measures while it runs jobs."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from comfyline.adapters.memory.metrics import InMemoryMetrics
from comfyline.service.jobs.job import Status
from comfyline.service.metrics import Metric
from comfyui_sim.options import Options
from comfyui_sim.server import Simulator
from gpu_worker.phases import Phase, timed
from tests.support import web
from tests.support.worker_world import WorkerWorld, a_graph


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[WorkerWorld]:
    async with (
        Simulator(Options(data_dir=tmp_path, port=0, step_ms=2)) as sim,
        web.AsyncClient(base_url=sim.url) as http,
    ):
        yield WorkerWorld(sim.url, tmp_path, http)


def phases(world: WorkerWorld) -> Counter[str]:
    """How often each phase was measured."""
    recorded = world.metrics.recorded
    return Counter(of["phase"] for metric, _, of in recorded if metric is Metric.PHASE_TIME)


async def test_each_phase_of_each_job_is_measured(world: WorkerWorld) -> None:
    job = world.queued(a_graph(steps=8))
    rejected = world.queued({"1": {"class_type": "Nothing", "inputs": {}}})
    async with world.working():
        done = await world.until(job, Status.SUCCEEDED)
        await world.until(rejected, Status.FAILED)
    assert world.metrics.sum(Metric.JOBS_CLAIMED) == 2
    assert world.metrics.sum(Metric.ATTEMPTS_ENDED, outcome="ended") == 2
    assert phases(world) == {"claim": 2, "inputs": 2, "queued_ahead": 1, "run": 1} | {
        "collect": 1,
        "finish": 2,
    }
    # The phase ends when the worker learns of the prompt's end, a moment after that end.
    assert world.metrics.sum(Metric.PHASE_TIME, phase="run") >= done.gpu_seconds > 0


async def test_a_job_that_is_given_back_is_an_attempt_of_its_own(world: WorkerWorld) -> None:
    job = world.queued(a_graph(steps=2000))
    async with world.working() as drain:
        await world.until(job, Status.RUNNING)
        drain.set()
        await world.until(job, Status.QUEUED)
    assert world.metrics.sum(Metric.ATTEMPTS_ENDED, outcome="given_back") == 1
    assert phases(world)["run"] == 1


def test_a_phase_that_raises_has_taken_its_time() -> None:
    metrics = InMemoryMetrics()
    with pytest.raises(ValueError, match="broken"), timed(metrics, Phase.COLLECT):
        raise ValueError("broken")
    ((metric, seconds, of),) = metrics.recorded
    assert (metric, of) == (Metric.PHASE_TIME, {"phase": "collect"})
    assert seconds >= 0

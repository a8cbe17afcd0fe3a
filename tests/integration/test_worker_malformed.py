"""A whole worker, with its main loop on SQS's client, goes on beside malformed tickets and rows."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from comfyline.adapters.aws.queue import SqsJobQueue
from comfyline.contract.ids import JobId, random_job_id
from comfyline.service.errors import Unreadable
from comfyline.service.jobs.job import Job, Status
from comfyline.service.jobs.store import Work
from comfyline.service.metrics import Metric
from comfyline.service.queue.lanes import Priority
from comfyui_sim.options import Options
from comfyui_sim.server import Simulator
from gpu_worker.comfy.engine import ComfyEngine
from gpu_worker.comfy.keeper import ForeignEngine
from tests.support import web
from tests.support.builders import NOW
from tests.support.eventually import eventually
from tests.support.malformed import malformed_ticket
from tests.support.sqs import InMemorySqs
from tests.support.worker_world import WorkerWorld, a_graph

GOOD = 5
LANES = {priority: priority.value for priority in Priority}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[WorkerWorld]:
    options = Options(data_dir=tmp_path, port=0, step_ms=1)
    async with Simulator(options) as sim, web.AsyncClient(base_url=sim.url) as http:
        yield WorkerWorld(sim.url, tmp_path, http)


class SomeUnreadable:
    """The store of jobs, in which the rows of some ids cannot be read."""

    def __init__(self, store: object, unreadable: set[JobId]) -> None:
        self._store, self._unreadable = store, unreadable

    def work(self, job_id: JobId) -> Work | None:
        if job_id in self._unreadable:
            raise Unreadable(f"{job_id} has schema 99")
        found: Work | None = self._store.work(job_id)  # type: ignore[attr-defined]
        return found

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


async def test_the_worker_runs_the_good_jobs_and_deletes_the_malformed_tickets(
    world: WorkerWorld, is_long: bool
) -> None:
    sqs, bad = InMemorySqs(), 1_000 if is_long else 100
    queue = SqsJobQueue(
        sqs,  # type: ignore[arg-type]
        LANES,
        on_unreadable=lambda: world.metrics.record(Metric.ITEMS_UNREADABLE),
    )
    jobs, unreadable = list[Job](), {random_job_id(NOW) for _ in range(bad // 10)}
    rows = iter(sorted(unreadable))
    for n in range(bad):
        lane = [*Priority][n % 3]
        sqs.send_message(QueueUrl=lane.value, MessageBody=malformed_ticket(n))
        if n % 10 == 0:
            body = json.dumps({"schema": 1, "job_id": next(rows)})
            sqs.send_message(QueueUrl=lane.value, MessageBody=body)
        if n % (bad // GOOD) == 0:
            job = world.queued(a_graph(seed=n), priority=lane)
            jobs.append(job)
            queue.send(job.id, job.owner, lane)
    store = SomeUnreadable(world.store, unreadable)
    async with ComfyEngine.connected(world.url, ForeignEngine(), world.patience) as engine:
        worker = world.worker(engine, store=store, queue=queue)  # type: ignore[arg-type]
        async with world.drained(worker):
            for job in jobs:
                await world.until(job, Status.SUCCEEDED)
            await eventually(lambda: not any(sqs.bodies(url) for url in LANES.values()))
    assert world.metrics.sum(Metric.ITEMS_UNREADABLE) == bad + len(unreadable)

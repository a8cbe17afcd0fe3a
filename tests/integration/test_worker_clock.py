"""A worker on a machine with a wrong clock neither loses nor doubles a job.

Each worker is wired as in a deployment, with a clock that this test sets. Moto answers with the
right time, as AWS does.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from moto.core.botocore_stubber import BotocoreStubber

from comfyline.service.clock import utc_now
from comfyline.service.graphs.graph import Graph, fingerprint
from comfyline.service.jobs.job import Job, JobParams, Status
from comfyui_sim.options import Options
from comfyui_sim.server import Simulator
from gpu_worker.health import WorkerUnhealthy
from gpu_worker.wiring import Wiring
from tests.support import web
from tests.support.builders import a_job
from tests.support.eventually import WITHIN, eventually
from tests.support.gateway import Gateway
from tests.support.worker_world import EMPTY_IMAGE, a_graph, give_threads

LEASE_SECONDS = 3.0


@dataclass
class WrongClock:
    """The true time, and an error that a test changes."""

    error: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        return utc_now() + self.error


@dataclass
class Machine:
    """A worker, its clock and its engine."""

    wiring: Wiring
    clock: WrongClock
    http: httpx.AsyncClient

    async def executed(self) -> int:
        return int((await self.http.get("/sim/executed")).json()["count"])


@dataclass
class Site:
    """Workers on one AWS, and the jobs that they share."""

    environ: Mapping[str, str]
    folder: Path
    stack: AsyncExitStack
    machines: list[Machine] = field(default_factory=list)

    async def machine(self, error: timedelta = timedelta(0), *, step_ms: float = 5) -> Machine:
        """Start a worker on a machine with this error of its clock."""
        data = self.folder / str(len(self.machines))
        options = Options(data_dir=data, port=0, step_ms=step_ms)
        sim = await self.stack.enter_async_context(Simulator(options))
        http = await self.stack.enter_async_context(web.AsyncClient(base_url=sim.url))
        clock = WrongClock(error)
        wiring = Wiring({**self.environ, "COMFYUI_URL": sim.url}, clock)
        await self.stack.enter_async_context(working(wiring))
        self.machines.append(Machine(wiring, clock, http))
        return self.machines[-1]

    @property
    def ports(self) -> Wiring:
        """Anything wired to the deployment."""
        return self.machines[0].wiring

    def queued(self, graph: Graph) -> Job:
        job = a_job(queued_at=utc_now(), fingerprint=fingerprint(graph))
        self.ports.aws.jobs.put_request(job, JobParams(params={}), graph)
        assert self.ports.aws.jobs.add(job) is None
        self.ticket(job)
        return job

    def ticket(self, job: Job) -> None:
        self.ports.aws.queue.send(job.id, job.owner, job.priority)

    def row(self, job: Job) -> Job:
        row = self.ports.aws.jobs.get(job.id)
        assert row is not None
        return row

    async def until(self, job: Job, look: Callable[[Job], bool]) -> Job:
        await eventually(lambda: look(self.row(job)))
        return self.row(job)


@asynccontextmanager
async def working(wiring: Wiring) -> AsyncIterator[None]:
    """The worker's process, without its signals."""
    drain = asyncio.Event()
    async with wiring.engine() as engine:
        health = wiring.health(engine)
        activity = wiring.activity(engine, health)
        async with wiring.presence(activity, asyncio.Event()):
            worker = wiring.worker(engine, health, None, activity)
            # A drain waits for the end of the long poll, and moto polls for as long as AWS does.
            worker = replace(worker, long_poll_seconds=1)
            work = asyncio.create_task(worker.work(drain))
            try:
                yield
            finally:
                drain.set()
                await asyncio.wait_for(work, WITHIN)


@pytest.fixture
def whole_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Moto writes a row attribute by attribute. One call of DynamoDB at a time sees whole rows."""
    lock, answer = threading.Lock(), BotocoreStubber.__call__

    def answer_alone(stubber: Any, event_name: str, request: Any, **kwargs: Any) -> Any:
        with lock if "dynamodb" in request.url else nullcontext():
            return answer(stubber, event_name, request, **kwargs)

    monkeypatch.setattr(BotocoreStubber, "__call__", answer_alone)


@pytest.fixture
async def site(gateway: Gateway, tmp_path: Path, whole_rows: None) -> AsyncIterator[Site]:
    environ = {
        **gateway.environ,
        "LEASE_SECONDS": str(LEASE_SECONDS),
        "HEARTBEAT_SECONDS": "0.5",
        "MIN_FREE_DISK_MIB": "0",
    }
    give_threads()
    async with AsyncExitStack() as stack:
        yield Site(environ, tmp_path, stack)


@pytest.mark.parametrize("seconds", [-180, 180, 1200])
async def test_a_worker_with_a_wrong_clock_takes_no_job_and_says_why(
    site: Site, seconds: int
) -> None:
    wrong, right = await site.machine(timedelta(seconds=seconds)), await site.machine()
    jobs = [site.queued(EMPTY_IMAGE) for _ in range(6)]
    ended = [await site.until(job, lambda row: row.status.is_terminal) for job in jobs]
    assert [(job.status, job.attempt) for job in ended] == [(Status.SUCCEEDED, 1)] * 6
    assert (await wrong.executed(), await right.executed()) == (0, 6)
    assert f"{abs(seconds)} s" in str(wrong.wiring.clock.fault)


async def test_a_worker_whose_clock_stays_wrong_ends(site: Site) -> None:
    environ = {**site.environ, "UNHEALTHY_SECONDS": "0.5"}
    wiring = Wiring(environ, WrongClock(timedelta(minutes=20)))
    async with wiring.engine() as engine:
        health = wiring.health(engine)
        activity = wiring.activity(engine, health)
        async with wiring.presence(activity, asyncio.Event()):
            work = wiring.worker(engine, health, None, activity).work(asyncio.Event())
            with pytest.raises(WorkerUnhealthy, match="s ahead of AWS"):
                await asyncio.wait_for(work, WITHIN)


@pytest.mark.parametrize("seconds", [-180, 180])
async def test_a_clock_that_is_set_right_lets_the_worker_take_jobs(
    site: Site, seconds: int
) -> None:
    machine = await site.machine(timedelta(seconds=seconds))
    job = site.queued(EMPTY_IMAGE)
    machine.clock.error = timedelta(0)
    done = await site.until(job, lambda row: row.status.is_terminal)
    assert (done.status, done.attempt) == (Status.SUCCEEDED, 1)


@pytest.mark.parametrize("seconds", [-180, 180, 1200])
async def test_a_clock_that_jumps_in_mid_job_costs_no_attempt(site: Site, seconds: int) -> None:
    """The other worker gets a second ticket for the job all the time, and must not take it."""
    jumping = await site.machine(step_ms=100)
    job = site.queued(a_graph(steps=int(2 * LEASE_SECONDS * 10)))
    await site.until(job, lambda row: row.status is Status.RUNNING)
    other = await site.machine()
    jumping.clock.error = timedelta(seconds=seconds)
    while not site.row(job).status.is_terminal:
        site.ticket(job)
        await asyncio.sleep(0.5)
    done = site.row(job)
    assert (done.status, done.attempt, done.failures) == (Status.SUCCEEDED, 1, 0)
    assert await other.executed() == 0

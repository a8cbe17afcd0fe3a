"""Workers, engines, tickets and stores fail at random; no job is lost, none ends twice.

Three workers with an engine process each work on one world in memory. A seed fixes which jobs and
which misfortunes come; when they strike depends on the machine. `CHAOS_JOBS` and `CHAOS_SEED` make
it longer or other.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from comfyline.adapters.memory.files import InMemoryUploadStore
from comfyline.adapters.memory.jobs import InMemoryJobStore
from comfyline.adapters.memory.queue import InMemoryJobQueue
from comfyline.contract.ids import random_worker_id
from comfyline.service.clock import Clock
from comfyline.service.jobs.cancel import cancel
from comfyline.service.jobs.claim import Terms
from comfyline.service.jobs.due import TIDY_DELAY
from comfyline.service.jobs.finish import Finisher
from comfyline.service.jobs.job import Job, Priority, Status
from comfyline.service.jobs.sweep import Sweeper
from gpu_worker.comfy.engine import ComfyEngine
from gpu_worker.comfy.watchdog import Limits
from gpu_worker.heartbeat import Heartbeat
from gpu_worker.inputs import Inputs
from gpu_worker.outputs import Collector
from gpu_worker.run import Toolbox
from gpu_worker.supervisor import EngineProcess, Policy
from gpu_worker.worker import Worker
from gpu_worker.workspace import Workspace
from tests.support.eventually import eventually
from tests.support.invariants import Chronicle, check_record, check_tidy
from tests.support.ports import a_free_port
from tests.support.switches import Line
from tests.support.worker_world import EMPTY_IMAGE, World, a_graph, now

JOBS = int(os.environ.get("CHAOS_JOBS", "40"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))
WORKERS = 3
LEASE = timedelta(seconds=3)
BEAT = timedelta(seconds=0.5)
NOISE = 0.02  # of a worker's calls fail
CALM_SECONDS = 0.15  # on average, between two misfortunes
SETTLES = 60.0 + 2.0 * JOBS  # seconds, once nothing fails any more
REPOSITORY = Path(__file__).parent.parent.parent
LIMITS = Limits(silent=4.0, pending=4.0, gone=2.0, disobedient=2.0)
POLICY = Policy(max_failures=1000, max_prompts=40)


class SeenStore(InMemoryJobStore):
    """Every row that is ever written is held against the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.chronicle = Chronicle()
        self.broken: list[AssertionError] = []

    def save(self, before: Job, after: Job) -> Job:
        with self._lock:
            saved = super().save(before, after)
            try:
                self.chronicle.see(saved)
            except AssertionError as error:  # a worker must not swallow it
                self.broken.append(error)
        return saved


@dataclass
class Crew:
    """One place for a worker: whoever dies there is followed by another."""

    number: int
    world: World
    luck: random.Random
    line: Line = field(init=False)
    engine: EngineProcess = field(init=False)
    url: str = field(init=False)
    drain: asyncio.Event = field(default_factory=asyncio.Event)
    life: asyncio.Task[None] | None = None
    noise: float = NOISE

    def __post_init__(self) -> None:
        self.port = a_free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    async def keep_working(self) -> None:
        """One worker after the other, until cancelled."""
        while True:
            self.drain, self.line = asyncio.Event(), Line(self.luck, self.noise)
            self.life = asyncio.create_task(self._one_life())
            await asyncio.wait({self.life})

    async def _one_life(self) -> None:
        base = self.world.base / f"engine-{self.number}"
        data = ["--port", str(self.port), "--data-dir", str(base), "--step-ms", "20"]
        command = [sys.executable, "-m", "comfyui_sim", *data]
        self.engine = EngineProcess(
            command, REPOSITORY, environ=os.environ, metrics=self.world.metrics, policy=POLICY
        )
        async with (
            self.engine.kept(),
            ComfyEngine.connected(self.url, self.engine, LIMITS) as comfy,
        ):
            await self._worker(comfy, base).work(self.drain)

    def _worker(self, engine: ComfyEngine, base: Path) -> Worker:
        store, queue = self.line.using(self.world.jobs), self.line.using(self.world.queue)
        artifacts = self.line.using(self.world.artifacts)
        beat = Heartbeat(store=store, queue=queue, clock=now, lease=LEASE, interval=BEAT)
        tools = Toolbox(
            store=store,
            clock=now,
            engine=engine,
            finisher=Finisher(store=store, queue=queue, clock=now),
            heartbeat=beat,
            collector=Collector(http=engine.http, artifacts=artifacts),
            workspace=Workspace(base),
            inputs=Inputs(engine.http, InMemoryUploadStore()),
            metrics=self.world.metrics,
        )
        terms = Terms(worker_id=random_worker_id(), lease=LEASE)
        return Worker(queue=queue, terms=terms, tools=tools, long_poll_seconds=1)

    # --- misfortunes ------------------------------------------------------------------------------

    async def kill_worker(self) -> None:
        """kill -9: its engine dies with it, and nothing more of it is heard."""
        self.line.is_cut = True
        await self.kill_engine()
        self.drain.set()

    async def tell_worker_to_go(self) -> None:
        """SIGTERM."""
        self.drain.set()

    async def kill_engine(self) -> None:
        """The OOM killer."""
        if self.engine.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.engine.pid, signal.SIGKILL)

    async def drop_sockets(self) -> None:
        """Every socket of the engine is cut."""
        await self._faults(drop_sockets=True)

    async def mute_sockets(self) -> None:
        """Nobody hears anything of the engine, for good."""
        await self._faults(mute_sockets=True)

    async def stall(self) -> None:
        """The engine answers and does nothing, for good."""
        await self._faults(stall=True)

    async def break_cuda(self) -> None:
        """The next sampler meets a broken GPU."""
        await self._faults(nodes={"KSampler": {"kind": "cuda_error", "times": 1}})

    async def _faults(self, **switches: Any) -> None:
        with suppress(httpx.HTTPError):
            await self.world.http.post(f"{self.url}/sim/faults", json=switches)


MISFORTUNES = {
    "kill_worker": 2,
    "tell_worker_to_go": 2,
    "kill_engine": 1,
    "drop_sockets": 4,
    "mute_sockets": 1,
    "stall": 1,
    "break_cuda": 1,
}


@dataclass
class Chaos:
    """What happens to whom, drawn from one seed."""

    world: World
    luck: random.Random
    crews: list[Crew]
    jobs: list[Job] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)

    async def submit_all(self) -> None:
        for number in range(JOBS):
            priority = self.luck.choice(list(Priority))
            self.jobs.append(self.world.submit(self._graph(number), priority=priority))
            await asyncio.sleep(self.luck.expovariate(1 / 0.05))

    def _graph(self, number: int) -> Mapping[str, Any]:
        draw = self.luck.random()
        if draw < 0.04:
            return a_fault("exit")
        if draw < 0.08:
            return a_fault("raise")
        return EMPTY_IMAGE if draw < 0.2 else a_graph(seed=number, steps=self.luck.randint(1, 30))

    async def strike(self) -> None:
        while True:
            await asyncio.sleep(self.luck.expovariate(1 / CALM_SECONDS))
            name = self.luck.choices(list(MISFORTUNES), list(MISFORTUNES.values()))[0]
            self.done[name] += 1
            await getattr(self.luck.choice(self.crews), name)()

    async def meddle(self) -> None:
        """Cancels, and tickets twice and too late."""
        while True:
            await asyncio.sleep(self.luck.expovariate(1 / 0.2))
            if not self.jobs:
                continue
            job = self.luck.choice(self.jobs)
            if self.luck.random() < 0.3:
                self.done["cancel"] += 1
                cancel(job.id, job.owner, store=self.world.jobs, clock=now)
            else:
                self.done["ticket_again"] += 1
                self.world.queue.send(job.id, job.owner, job.priority)

    def sweeper(self, clock: Clock) -> Sweeper:
        world = self.world
        return Sweeper(store=world.jobs, queue=world.queue, artifacts=world.artifacts, clock=clock)

    async def sweep(self) -> None:
        sweeper = self.sweeper(now)
        while True:
            await asyncio.to_thread(sweeper.sweep)
            await asyncio.sleep(0.5)


def a_fault(kind: str) -> dict[str, Any]:
    """A graph whose node raises, or ends its engine."""
    fault = {"images": ["1", 0], "kind": kind, "nonce": 0}
    return {"1": EMPTY_IMAGE["1"], "2": {"class_type": "ProbeFault", "inputs": fault}}


@pytest.fixture
async def chaos(tmp_path: Path) -> AsyncIterator[Chaos]:
    luck = random.Random(SEED)
    queue = InMemoryJobQueue(now, visibility=LEASE)
    async with httpx.AsyncClient(timeout=5.0) as http:
        world = World("", tmp_path, http, jobs=SeenStore(), queue=queue)
        yield Chaos(world, luck, [Crew(n, world, luck) for n in range(WORKERS)])


@asynccontextmanager
async def background(*works: Any) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        assert result is None or isinstance(result, asyncio.CancelledError), repr(result)


@pytest.mark.timeout(900)
async def test_whatever_fails_no_job_is_lost_and_none_ends_twice(chaos: Chaos) -> None:
    store = chaos.world.jobs
    assert isinstance(store, SeenStore)
    async with background(chaos.sweep(), *(crew.keep_working() for crew in chaos.crews)):
        async with background(chaos.strike(), chaos.meddle()):
            await chaos.submit_all()
            await eventually(lambda: ended(chaos) >= JOBS // 2, within=SETTLES)
        for crew in chaos.crews:  # from now on nothing fails that was not broken before
            crew.noise = crew.line.noise = 0.0
            crew.drain.set()
        await eventually(lambda: ended(chaos) == JOBS, within=SETTLES)
        for crew in chaos.crews:
            crew.drain.set()
    judge(chaos, store)


def ended(chaos: Chaos) -> int:
    return sum(chaos.world.job(job).status.is_terminal for job in chaos.jobs)


def judge(chaos: Chaos, store: SeenStore) -> None:
    world = chaos.world
    assert not store.broken, store.broken[0]
    chaos.sweeper(lambda: now() + TIDY_DELAY).sweep()
    outcomes: Counter[str] = Counter()
    for submitted in chaos.jobs:
        record = store.read(submitted.id)
        assert record is not None
        check_record(record)
        check_tidy(record.job, world.artifacts.files)
        outcomes[record.job.status.value] += 1
        outcomes["failures"] += record.job.failures
        outcomes["interruptions"] += record.job.interruptions
        assert (record.job.status is Status.CANCELED) <= (
            record.job.cancel_requested_at is not None
        ), "canceled, and nobody had asked"
        for artifact in record.artifacts:
            assert len(world.artifacts.files[artifact.key].body) == artifact.bytes
        if record.job.status is Status.SUCCEEDED:
            assert record.artifacts, "succeeded with nothing to show"
    print(f"seed {SEED}: {dict(outcomes)}; struck: {dict(chaos.done)}")

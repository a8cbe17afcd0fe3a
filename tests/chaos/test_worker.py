"""Workers, engines, tickets and stores fail at random: no job is lost, and none ends twice.

Three workers, each with an engine process, work on the same in-memory ports. The clock of one is
wrong at first and jumps, also while it has a job. The seed decides which jobs and which faults
come; when a fault strikes depends on the speed of the machine. CHAOS_JOBS sets the number of jobs,
CHAOS_SEED the seed.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from comfyline.adapters.memory.jobs import InMemoryJobStore
from comfyline.service.jobs.cancel import cancel
from comfyline.service.jobs.due import TIDY_DELAY
from comfyline.service.jobs.job import Job, Status
from comfyline.service.queue.lanes import Priority
from gpu_worker.aws_clock import AwsClock
from gpu_worker.comfy.engine import ComfyEngine
from gpu_worker.comfy.watchdog import Patience
from gpu_worker.supervisor import EngineProcess, Policy
from gpu_worker.worker import Worker
from localcloud.state import free_port
from tests.support.builders import now
from tests.support.eventually import eventually
from tests.support.invariants import Chronicle, check_record, check_tidy
from tests.support.switches import Line
from tests.support.worker_world import EMPTY_IMAGE, WorkerWorld, a_graph

JOBS = int(os.environ.get("CHAOS_JOBS", "40"))
SEED = int(os.environ.get("CHAOS_SEED", "1"))
WORKERS = 3
LEASE = timedelta(seconds=3)
HEARTBEAT = timedelta(seconds=0.5)
NOISE = 0.02  # the share of a worker's calls that fail
CALM_SECONDS = 0.15  # on average, between two faults
SETTLE_SECONDS = 60.0 + 2.0 * JOBS  # the most that the jobs take once no more faults are made
REPOSITORY = Path(__file__).parent.parent.parent
PATIENCE = Patience(silent=4.0, pending=4.0, gone=2.0, disobedient=2.0)
POLICY = Policy(max_failures=1000, max_prompts=40)


# Seconds by which the clock of one machine is wrong at first, and to which it jumps.
CLOCK_ERROR = 180
CLOCK_JUMPS = (0, 0, 0, -180, 180, 1200)
CLOCK_PRECISION = timedelta(seconds=2)  # of a clock that follows AWS


class CheckedStore(InMemoryJobStore):
    """Checks each row that is written against the row before it, and by AWS's time."""

    def __init__(self) -> None:
        super().__init__()
        self.chronicle = Chronicle()
        self.broken: list[AssertionError] = []  # kept here, because a worker would swallow them

    def save(self, before: Job, after: Job) -> Job:
        with self._lock:
            saved = super().save(before, after)
            try:
                self.chronicle.see(saved)
                self._check_times(saved)
            except AssertionError as error:
                self.broken.append(error)
        return saved

    def renew(self, job: Job, until: datetime) -> Job:
        renewed = super().renew(job, until)
        try:
            self._check_times(renewed)
        except AssertionError as error:
            self.broken.append(error)
        return renewed

    def _check_times(self, job: Job) -> None:
        latest = now() + CLOCK_PRECISION
        assert all(entry.at <= latest for entry in job.history), "an event in the future"
        assert job.lease is None or job.lease.expires_at <= latest + LEASE, "too long a lease"


@dataclass
class Crew:
    """A place for one worker with its engine. A worker that ends there is replaced."""

    number: int
    world: WorkerWorld
    luck: random.Random
    clock_error: float = 0.0  # seconds
    line: Line = field(init=False)
    engine: EngineProcess = field(init=False)
    url: str = field(init=False)
    drain: asyncio.Event = field(default_factory=asyncio.Event)
    life: asyncio.Task[None] | None = None
    noise: float = NOISE

    def __post_init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    async def keep_working(self) -> None:
        """Run one worker after the other, until canceled; then drain the last one."""
        while True:
            self.drain = asyncio.Event()
            self.line = Line(self.luck, AwsClock(self._wall_clock), self.noise)
            self.life = asyncio.create_task(self._one_life())
            try:
                await asyncio.wait({self.life})
            finally:
                self.drain.set()
                await asyncio.wait({self.life})

    def _wall_clock(self) -> datetime:
        return now() + timedelta(seconds=self.clock_error)

    async def _one_life(self) -> None:
        base = self.world.base / f"engine-{self.number}"
        data = ["--port", str(self.port), "--data-dir", str(base), "--step-ms", "20"]
        command = [sys.executable, "-m", "comfyui_sim", *data]
        self.engine = EngineProcess(
            command, REPOSITORY, environ=os.environ, metrics=self.world.metrics, policy=POLICY
        )
        async with (
            self.engine.kept(),
            ComfyEngine.connected(self.url, self.engine, PATIENCE) as comfy,
        ):
            await self._worker(comfy, base).work(self.drain)

    def _worker(self, engine: ComfyEngine, base: Path) -> Worker:
        return self.world.worker(
            engine,
            store=self.line.using(self.world.store),
            queue=self.line.using(self.world.queue),
            artifacts=self.line.using(self.world.artifacts),
            base=base,
            clock=self.line.clock,
            clock_fault=lambda: self.line.clock.fault,
        )

    # --- faults -----------------------------------------------------------------------------------

    async def kill_worker(self) -> None:
        """kill -9 of the worker: its engine dies with it, and its calls no longer arrive."""
        self.line.is_cut = True
        await self.kill_engine()
        self.drain.set()

    async def drain_worker(self) -> None:
        """SIGTERM to the worker."""
        self.drain.set()

    async def kill_engine(self) -> None:
        """kill -9 of the engine, as by the kernel when memory runs out."""
        if self.engine.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.engine.pid, signal.SIGKILL)

    async def drop_sockets(self) -> None:
        """Every socket of the engine is closed."""
        await self._faults(drop_sockets=True)

    async def mute_sockets(self) -> None:
        """The engine's sockets send nothing any more."""
        await self._faults(mute_sockets=True)

    async def stall(self) -> None:
        """The engine answers, but executes nothing any more."""
        await self._faults(stall=True)

    async def break_cuda(self) -> None:
        """The next sampler raises a CUDA error."""
        await self._faults(nodes={"KSampler": {"kind": "cuda_error", "times": 1}})

    async def set_clock(self) -> None:
        """The clock of the machine jumps, to the right time or to a wrong one."""
        self.clock_error = self.luck.choice(CLOCK_JUMPS)

    async def _faults(self, **switches: Any) -> None:
        with suppress(httpx.HTTPError):
            await self.world.http.post(f"{self.url}/sim/faults", json=switches)


# A method of Crew -> how often it is drawn
FAULTS = {
    "kill_worker": 2,
    "drain_worker": 2,
    "kill_engine": 1,
    "drop_sockets": 4,
    "mute_sockets": 1,
    "stall": 1,
    "break_cuda": 1,
    "set_clock": 4,
}


@dataclass
class Chaos:
    """Draws jobs and faults from one seed."""

    world: WorkerWorld
    luck: random.Random
    crews: list[Crew]
    jobs: list[Job] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)  # how often each fault was made

    async def submit_all(self) -> None:
        for number in range(JOBS):
            priority = self.luck.choice(list(Priority))
            self.jobs.append(self.world.queued(self._graph(number), priority=priority))
            await asyncio.sleep(self.luck.expovariate(1 / 0.05))

    def _graph(self, number: int) -> Mapping[str, Any]:
        draw = self.luck.random()
        if draw < 0.04:
            return a_fault("exit")
        if draw < 0.08:
            return a_fault("raise")
        return EMPTY_IMAGE if draw < 0.2 else a_graph(seed=number, steps=self.luck.randint(1, 30))

    async def strike(self) -> None:
        """Make one fault after the other, until canceled."""
        while True:
            await asyncio.sleep(self.luck.expovariate(1 / CALM_SECONDS))
            name = self.luck.choices(list(FAULTS), list(FAULTS.values()))[0]
            self.done[name] += 1
            struck = self.crews[0] if name == "set_clock" else self.luck.choice(self.crews)
            await getattr(struck, name)()

    async def meddle(self) -> None:
        """Cancel jobs, and send tickets again, also those of ended jobs, until canceled."""
        while True:
            await asyncio.sleep(self.luck.expovariate(1 / 0.2))
            if not self.jobs:
                continue
            job = self.luck.choice(self.jobs)
            if self.luck.random() < 0.3:
                self.done["cancel"] += 1
                cancel(job.id, job.owner, store=self.world.store, clock=now)
            else:
                self.done["ticket_again"] += 1
                self.world.queue.send(job.id, job.owner, job.priority)

    async def sweep(self) -> None:
        """Sweep every half second, until canceled."""
        while True:
            await asyncio.to_thread(self.world.sweep)
            await asyncio.sleep(0.5)

    def ended(self) -> int:
        return sum(self.world.row(job.id).status.is_terminal for job in self.jobs)


def a_fault(kind: str) -> dict[str, Any]:
    """A graph with a node that raises, or that ends its engine."""
    fault = {"images": ["1", 0], "kind": kind, "nonce": 0}
    return {"1": EMPTY_IMAGE["1"], "2": {"class_type": "ProbeFault", "inputs": fault}}


@pytest.fixture
async def chaos(tmp_path: Path) -> AsyncIterator[Chaos]:
    luck = random.Random(SEED)
    async with httpx.AsyncClient(timeout=5.0) as http:
        world = WorkerWorld(
            "", tmp_path, http, store=CheckedStore(), lease=LEASE, heartbeat=HEARTBEAT
        )
        crews = [Crew(n, world, luck) for n in range(WORKERS)]
        crews[0].clock_error = CLOCK_ERROR
        yield Chaos(world, luck, crews)


@asynccontextmanager
async def background(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run these until the block ends; fails if one of them has failed."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        assert result is None or isinstance(result, asyncio.CancelledError), repr(result)


@pytest.mark.timeout(2 * SETTLE_SECONDS)
async def test_whatever_fails_no_job_is_lost_and_none_ends_twice(chaos: Chaos) -> None:
    store = chaos.world.store
    assert isinstance(store, CheckedStore)
    async with background(chaos.sweep(), *(crew.keep_working() for crew in chaos.crews)):
        async with background(chaos.strike(), chaos.meddle()):
            await chaos.submit_all()
            await eventually(lambda: chaos.ended() >= JOBS // 2, within=SETTLE_SECONDS)
        for crew in chaos.crews:  # from here on no new fault is made
            crew.noise = crew.line.noise = crew.clock_error = 0.0
            crew.drain.set()
        await eventually(lambda: chaos.ended() == JOBS, within=SETTLE_SECONDS)
        for crew in chaos.crews:
            crew.drain.set()
    check(chaos, store)


def check(chaos: Chaos, store: CheckedStore) -> None:
    world = chaos.world
    assert not store.broken, store.broken[0]
    world.sweep(clock=lambda: now() + TIDY_DELAY)
    outcomes: Counter[str] = Counter()
    for submitted in chaos.jobs:
        record = store.read(submitted.id)
        assert record is not None
        check_record(record)
        check_tidy(record.job, world.artifacts.files)
        outcomes[record.job.status.value] += 1
        outcomes["failures"] += record.job.failures
        outcomes["faults"] += record.job.faults
        outcomes["interruptions"] += record.job.interruptions
        assert (record.job.status is Status.CANCELED) <= (
            record.job.cancel_requested_at is not None
        ), "the job was canceled without a request"
        for artifact in record.artifacts:
            assert len(world.artifacts.files[artifact.key].body) == artifact.bytes
        if record.job.status is Status.SUCCEEDED:
            assert record.artifacts, "the job succeeded without a file"
    print(f"seed {SEED}: {dict(outcomes)}; faults: {dict(chaos.done)}")

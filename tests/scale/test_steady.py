"""Minutes of steady traffic: 200 posts a second, 1,000 workers that are busy most of the time.

A run of `make test` has a twentieth of both. Posts, workers, settle_jobs and the sweeper are the
use cases of the deployment at AWS's pace; the stream delivers some ends twice, and some late.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from comfyline.adapters.memory.jobs import InMemoryJobStore
from comfyline.contract.ids import OwnerId, random_worker_id
from comfyline.service.access.slots import Limits
from comfyline.service.errors import JobNotFound, TransitionRefused, Unavailable
from comfyline.service.intake.admit import Admission
from comfyline.service.jobs.change import Change
from comfyline.service.jobs.claim import Terms, claim
from comfyline.service.jobs.finish import Finisher, Succeed
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.report import report_started
from comfyline.service.jobs.settle import Settlement, Step
from comfyline.service.jobs.store import JobStore
from comfyline.service.jobs.sweep import Chore, Sweeper
from comfyline.service.ledger.count import count
from comfyline.service.queue.lanes import Priority
from comfyline.service.queue.tickets import Ticket
from functions._wiring import SWEEPS_AT_ONCE
from tests.scale.pace import DYNAMODB, S3, SQS, TRANSACTION, Pace
from tests.scale.report import Report, Row
from tests.scale.simulation import Simulation, VirtualExecutor
from tests.support.builders import LEASE
from tests.support.world import InMemoryDeployment

RUN_SECONDS = 4.0  # of a job, on average
SETTLERS = 16  # four shards of the stream, four batches of each at once
WINDOW, BATCH = 1.0, 100  # of the stream's reader
SWEEP_SECONDS = timedelta(seconds=40)
OWNERS = [OwnerId(f"owner-{n}") for n in range(20)]
LIMITS = Limits(max_active_jobs=2_000)


@dataclass
class Minute:
    """What was left over at the end of a minute."""

    waiting: int
    unsettled: int
    sweep_seconds: float = 0.0
    out_of_time: int = 0


@dataclass
class Traffic:
    """A deployment under load."""

    simulation: Simulation
    posts_per_second: float
    workers: int
    minutes: list[Minute] = field(default_factory=list)
    posted: int = 0
    ended: int = 0
    waits: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = InMemoryJobStore(self._changed)
        self.world = InMemoryDeployment(self.simulation.clock, store=self.store)
        self.streams = [deque[Job]() for _ in range(SETTLERS)]

    def _changed(self, change: Change) -> None:
        if change.ends_the_job:
            self.ended += 1
            for _ in range(2 if self.simulation.random.random() < 0.02 else 1):
                self.simulation.random.choice(self.streams).append(change.after)

    # --- the processes ----------------------------------------------------------------------------

    def run(self, minutes: int) -> None:
        simulation = self.simulation
        simulation.spawn(self._post_all)
        for _ in range(self.workers):
            simulation.spawn(self._work)
        for stream in self.streams:
            simulation.spawn(lambda stream=stream: self._settle(stream))
        for _ in range(minutes):
            began = simulation.seconds
            swept = self._sweep()
            took = simulation.seconds - began
            simulation.sleep(60 - took)
            unsettled = sum(map(len, self.streams))
            depth = self.world.queue.depth(Priority.NORMAL)
            self.minutes.append(Minute(depth, unsettled, took, swept["OutOfTime"]))

    def _post_all(self) -> None:
        while True:
            self.simulation.spawn(self._post)
            self.simulation.sleep(self.simulation.random.expovariate(self.posts_per_second))

    def _post(self) -> None:
        pace = Pace(self.simulation)
        owners = pace.of(self.world.owners, DYNAMODB, take_slot=2 * DYNAMODB + TRANSACTION)
        with suppress(Unavailable):  # the client gets 503
            self.world.submit(
                owner=self.simulation.random.choice(OWNERS),
                limits=LIMITS,
                store=pace.of(self.store, DYNAMODB),
                queue=pace.of(self.world.queue, SQS),
                owners=owners,
            )
            self.posted += 1

    def _work(self) -> None:
        simulation, pace = self.simulation, Pace(self.simulation)
        store, queue = pace.of(self.store, DYNAMODB), pace.of(self.world.queue, SQS)
        owners = pace.of(self.world.owners, DYNAMODB + TRANSACTION)
        admission = Admission(owners=owners, jobs=store, clock=simulation.clock)
        finisher = Finisher(
            store=store, queue=queue, clock=simulation.clock, free_slot=admission.free_slot
        )
        terms = Terms(worker_id=random_worker_id(), lease=LEASE)
        simulation.sleep(simulation.random.uniform(0, 2))
        while True:
            # A worker that AWS refuses is one that has died: the job's lease expires.
            with suppress(Unavailable, TransitionRefused, JobNotFound):
                tickets = queue.receive(Priority.NORMAL, wait_seconds=0, limit=1)
                job = tickets and claim(
                    tickets[0], terms, store=store, queue=queue, clock=simulation.clock
                )
                if job:
                    self._run_job(job, tickets[0], store, finisher)
                    continue
            simulation.sleep(1)

    def _run_job(self, job: Job, ticket: Ticket, store: JobStore, finisher: Finisher) -> None:
        simulation = self.simulation
        job = report_started(job, store=store, clock=simulation.clock)
        self.waits.append((simulation.clock() - job.queued_at).total_seconds())
        simulation.sleep(simulation.random.expovariate(1 / RUN_SECONDS))
        finisher.end(job, ticket, Succeed(cached=False), gpu_seconds=RUN_SECONDS)

    def _settle(self, stream: deque[Job]) -> None:
        pace = Pace(self.simulation)
        settlement = self._settlement(pace)
        while True:
            self.simulation.sleep(WINDOW)
            batch = [stream.popleft() for _ in range(min(BATCH, len(stream)))]
            if batch:
                settlement.settle(batch)

    def _settlement(self, pace: Pace) -> Settlement:
        store, clock = pace.of(self.store, DYNAMODB), self.simulation.clock
        # The worker has freed the slot already, so that a read finds nothing.
        owners = pace.of(self.world.owners, DYNAMODB)
        ledger = pace.of(self.world.ledger, TRANSACTION)
        admission = Admission(owners=owners, jobs=store, clock=clock)
        metrics = self.world.metrics
        counting = Step("count", lambda jobs: count(jobs, ledger=ledger, metrics=metrics))
        steps = (Step("free_slot", admission.free_slots), counting)
        return Settlement(steps=steps, store=store, clock=clock)

    def _sweep(self) -> dict[str, int]:
        simulation, pace = self.simulation, Pace(self.simulation)
        store = pace.of(self.store, DYNAMODB, due=4 * DYNAMODB)
        admission = Admission(
            owners=pace.of(self.world.owners, DYNAMODB), jobs=store, clock=simulation.clock
        )
        return Sweeper(
            store=store,
            queue=pace.of(self.world.queue, SQS),
            artifacts=pace.of(self.world.artifacts, 2 * S3),
            settlement=self._settlement(pace),
            clock=simulation.clock,
            executor=VirtualExecutor(simulation, SWEEPS_AT_ONCE),
            chores=(Chore("SlotDropped", admission.reconcile),),
        ).sweep(simulation.clock() + SWEEP_SECONDS)


@pytest.mark.timeout(1800)  # at full size
def test_steady_traffic_leaves_no_growing_backlog(report: Report, is_long: bool) -> None:
    scale, minutes = (1.0, 10) if is_long else (0.05, 4)
    traffic = Traffic(Simulation(), 200 * scale, round(1_000 * scale))
    traffic.simulation.run(lambda: traffic.run(minutes))
    load = f"steady: {200 * scale:g} posts/s, {traffic.workers} workers, {minutes} min"
    middle, last = traffic.minutes[minutes // 2 - 1], traffic.minutes[-1]
    second, waits = 200 * scale, sorted(traffic.waits)
    longest = max(minute.sweep_seconds for minute in traffic.minutes)
    left = sum(minute.out_of_time for minute in traffic.minutes)
    ended = 100 * traffic.ended / traffic.posted
    growth = last.waiting - middle.waiting
    report.check(
        Row(load, "ended, of those posted", ended, 96, "%", is_minimum=True),
        Row(load, "growth of the queue since half-time", growth, 5 * second, "tickets"),
        Row(load, "ends that are not settled", last.unsettled, 3 * second, ""),
        Row(load, "the longest round of the sweeper", longest, 40, "s"),
        Row(load, "jobs that the sweeper had no time for", left, 0, ""),
        Row(load, "from post to start, p99", waits[len(waits) * 99 // 100], 10, "s"),
    )
    active = len(traffic.world.owners.slots(0))
    assert active <= traffic.posted - traffic.ended + 5 * second, "slots leak"

"""Submit, claim and finish die at every call they make; the sweeper and the next worker go on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from comfyline.domain.ids import JobId, OwnerId, random_worker_id
from comfyline.domain.job import Job, JobError, Priority, Status
from comfyline.memory import (
    InMemoryArtifactStore,
    InMemoryJobQueue,
    InMemoryJobStore,
    InMemoryOwnerStore,
    InMemoryUploadStore,
)
from comfyline.ports import Limits, Ticket
from comfyline.usecases.admit import Admission
from comfyline.usecases.claim import Terms, claim
from comfyline.usecases.finish import Finisher
from comfyline.usecases.report import report_started
from comfyline.usecases.submit import Accepted, Caller, Defaults, Submitter
from comfyline.usecases.sweep import Sweeper
from comfyline.wire import TextToImageRequest
from tests.support.builders import LEASE, FrozenClock, an_artifact
from tests.support.crashes import Process, every_crash
from tests.support.invariants import Chronicle, check_record, check_ticketed

NOBODY = Process(10**9, answered=False)  # a process that lives
FOX = OwnerId("fox")
UNLIMITED = Limits()
SENT = {"prompt": "a red fox", "seed": 42}
DEFAULTS = Defaults(
    checkpoint="model.safetensors",
    start_deadline=timedelta(days=1),
    execution_timeout=timedelta(minutes=10),
    retention=timedelta(days=7),
)


class World:
    """The service in memory, and what its processes do in it."""

    def __init__(self, limits: Limits = UNLIMITED) -> None:
        self.limits = limits
        self.clock = FrozenClock()
        self.store = InMemoryJobStore()
        self.queue = InMemoryJobQueue(self.clock, visibility=LEASE)
        self.artifacts = InMemoryArtifactStore()
        self.owners = InMemoryOwnerStore()
        self.seen = Chronicle()

    def submit(self, process: Process = NOBODY) -> Accepted:
        store, queue = process.using(self.store), process.using(self.queue)
        owners = process.using(self.owners)
        submitter = Submitter(
            store=store,
            queue=queue,
            uploads=InMemoryUploadStore(),
            admission=Admission(owners=owners, jobs=store, clock=self.clock),
            clock=self.clock,
            defaults=DEFAULTS,
        )
        caller = Caller(owner=FOX, limits=self.limits, idempotency_key="once")
        return submitter.submit(TextToImageRequest.model_validate(SENT), SENT, caller)

    def ticket(self) -> Ticket | None:
        return next(iter(self.queue.receive(Priority.NORMAL, wait_seconds=0)), None)

    def claim(self, ticket: Ticket, process: Process = NOBODY) -> Job | None:
        terms = Terms(worker_id=random_worker_id(), lease=LEASE)
        store, queue = process.using(self.store), process.using(self.queue)
        return claim(ticket, terms, store=store, queue=queue, clock=self.clock)

    def finisher(self, process: Process = NOBODY) -> Finisher:
        store, queue = process.using(self.store), process.using(self.queue)
        return Finisher(store=store, queue=queue, clock=self.clock)

    def sweep(self) -> None:
        Sweeper(
            store=self.store, queue=self.queue, artifacts=self.artifacts, clock=self.clock
        ).sweep()
        self.admission().reconcile_all()

    def admission(self) -> Admission:
        return Admission(owners=self.owners, jobs=self.store, clock=self.clock)

    def slots(self) -> set[JobId]:
        return {job_id for _, slots in self.owners.slots(0) for job_id in slots}

    def started(self) -> tuple[Job, Ticket]:
        """A worker that has begun."""
        self.submit()
        ticket = self.ticket()
        assert ticket is not None
        job = self.claim(ticket)
        assert job is not None
        return report_started(job, store=self.store, clock=self.clock), ticket

    def look(self, job_id: JobId) -> Job:
        record = self.store.read(job_id)
        assert record is not None
        check_record(record)
        return self.seen.see(record.job)

    def comes_to_its_end(self, job_id: JobId) -> Job:
        """Swept and worked on by a healthy worker until it has ended."""
        for _ in range(10):
            self.clock.advance(LEASE + timedelta(seconds=3))
            self.sweep()
            job = self.look(job_id)
            tickets = self.queue.receive(Priority.NORMAL, wait_seconds=0, limit=10)
            check_ticketed(job, {ticket.job_id for ticket in tickets})
            for ticket in tickets:
                self.work(ticket)
            if self.look(job_id).status.is_terminal:
                return self.look(job_id)
        pytest.fail(f"still {self.look(job_id).status}")

    def work(self, ticket: Ticket) -> None:
        job = self.claim(ticket)
        if job is not None:
            job = report_started(self.seen.see(job), store=self.store, clock=self.clock)
            files = [an_artifact(job)]
            self.finisher().succeed(job, ticket, files, cached=False, gpu_seconds=1.0)


def test_a_submission_that_dies_was_accepted_or_may_be_repeated() -> None:
    worlds: list[World] = []

    def run(process: Process) -> None:
        worlds.append(World())
        worlds[-1].submit(process)

    died = []
    for process in every_crash(run):
        world = worlds[-1]
        world.clock.advance(1)
        again = world.submit()
        died.append((process.dies_at, process.answered, again.replayed))
        assert world.comes_to_its_end(again.job.id).status is Status.SUCCEEDED
        assert world.look(again.job.id).attempt == 1
    accepted_at = [(n, answered) for n, answered, replayed in died if replayed]
    # put_request, add, send: the Put is the acceptance.
    assert accepted_at == [(3, False), (2, True), (3, True)]
    assert len(died) == 6


def test_a_capped_submission_that_dies_leaves_a_slot_only_to_its_job() -> None:
    worlds: list[World] = []

    def run(process: Process) -> None:
        worlds.append(World(Limits(max_active_jobs=1)))
        worlds[-1].submit(process)

    for _ in every_crash(run):
        world = worlds[-1]
        again = world.submit()  # full or not, the same intent finds its own slot or its own job
        assert world.slots() == {again.job.id}
        assert world.look(again.job.id).has_slot
        ended = world.comes_to_its_end(again.job.id)
        world.sweep()
        assert (ended.status, world.slots()) == (Status.SUCCEEDED, set())


def test_a_slot_whose_post_died_for_ever_is_dropped() -> None:
    worlds: list[World] = []

    def run(process: Process) -> None:
        worlds.append(World(Limits(max_active_jobs=1)))
        worlds[-1].submit(process)

    for _ in every_crash(run):
        world = worlds[-1]
        world.clock.advance(timedelta(minutes=2))
        world.sweep()
        jobs = {job.id for job in world.store.get_many(list(world.slots()))}
        assert world.slots() == jobs


def test_a_claim_that_dies_costs_an_attempt_at_most() -> None:
    worlds: list[World] = []

    def run(process: Process) -> None:
        world = World()
        worlds.append(world)
        world.submit()
        ticket = world.ticket()
        assert ticket is not None
        world.claim(ticket, process)

    attempts = []
    for _ in every_crash(run):
        world = worlds[-1]
        ended = world.comes_to_its_end(world.submit().job.id)
        assert ended.status is Status.SUCCEEDED
        attempts.append((ended.attempt, ended.failures))
    # get, save: only the save that arrived was an attempt, lost without notice.
    assert attempts == [(1, 0), (1, 0), (1, 0), (2, 1)]


ENDINGS: list[tuple[Status, Callable[[Finisher, Job, Ticket], Job]]] = [
    (
        Status.SUCCEEDED,
        lambda f, j, t: f.succeed(j, t, [an_artifact(j)], cached=False, gpu_seconds=1.0),
    ),
    (Status.FAILED, lambda f, j, t: f.fail(j, t, JobError(type="boom", message="it broke"))),
    (Status.QUEUED, lambda f, j, t: f.retry(j, t, JobError(type="boom", message="it broke"))),
    (Status.QUEUED, lambda f, j, t: f.give_back(j, t)),
]


@pytest.mark.parametrize(("status", "end"), ENDINGS)
def test_an_ending_that_dies_is_made_once(
    status: Status, end: Callable[[Finisher, Job, Ticket], Job]
) -> None:
    worlds: list[tuple[World, Job]] = []

    def run(process: Process) -> None:
        world = World()
        job, ticket = world.started()
        worlds.append((world, world.seen.see(job)))
        end(world.finisher(process), job, ticket)

    for _ in every_crash(run):
        world, job = worlds[-1]
        after = world.look(job.id)
        assert after.status in (Status.RUNNING, status)
        ended = world.comes_to_its_end(job.id)
        assert ended.status in (Status.SUCCEEDED, status)
        assert ended.attempt <= 2
        if after.status.is_terminal:
            assert ended == after
    assert len(worlds) >= 6  # two calls at least, each died at twice, and the two that lived

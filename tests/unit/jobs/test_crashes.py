"""Submit, claim and finish die at every call they make; the sweeper and the next worker go on."""

from __future__ import annotations

from datetime import timedelta

import pytest

from comfyline.contract.ids import JobId
from comfyline.service.access.slots import OWNER_SHARDS, Limits
from comfyline.service.intake.admit import Admission
from comfyline.service.intake.submit import Accepted
from comfyline.service.jobs.due import TIDY_DELAY
from comfyline.service.jobs.finish import Ending, Fail, Finisher, GiveBack, Retry, Succeed
from comfyline.service.jobs.job import Job, JobError, Status
from comfyline.service.jobs.progress import Progress
from comfyline.service.jobs.report import report_progress, report_started
from comfyline.service.queue.tickets import Ticket
from tests.support.builders import LEASE, an_artifact
from tests.support.crashes import Process, every_crash
from tests.support.invariants import Chronicle, check_record, check_ticketed, check_tidy
from tests.support.world import UNLIMITED, World

NOBODY = Process(10**9, answered=False)  # a process that lives


class Town(World):
    """The service in memory, and what its processes do in it until they die."""

    def __init__(self, limits: Limits = UNLIMITED) -> None:
        super().__init__()
        self.limits = limits
        self.seen = Chronicle()

    def post(self, process: Process = NOBODY) -> Accepted:
        return self.submit(
            key="once",
            limits=self.limits,
            store=process.using(self.store),
            queue=process.using(self.queue),
            owners=process.using(self.owners),
        )

    def take(self, ticket: Ticket, process: Process = NOBODY) -> Job | None:
        store, queue = process.using(self.store), process.using(self.queue)
        return self.claim(ticket, store=store, queue=queue)

    def ender(self, process: Process = NOBODY) -> Finisher:
        return self.finisher(process.using(self.store), process.using(self.queue))

    def attempt(self, ticket: Ticket, process: Process = NOBODY) -> None:
        """All that a worker does for a ticket."""
        store, clock = process.using(self.store), self.clock
        job = self.take(ticket, process)
        if job is None:
            return
        job = report_started(self.seen.see(job), store=store, clock=clock)
        job = report_progress(job, Progress(fraction=0.5), store=store, clock=clock)
        files = [self.upload(job, process.using(self.artifacts))]
        self.ender(process).end(
            job, ticket, Succeed(cached=False), artifacts=files, gpu_seconds=1.0
        )

    def put_right(self) -> None:
        """What the schedule does each minute."""
        self.sweep()
        Admission(owners=self.owners, jobs=self.store, clock=self.clock).reconcile_all()

    def slots(self) -> set[JobId]:
        shards = (self.owners.slots(shard) for shard in range(OWNER_SHARDS))
        return {job_id for shard in shards for _, slots in shard for job_id in slots}

    def look(self, job_id: JobId) -> Job:
        record = self.record(job_id)
        check_record(record)
        return self.seen.see(record.job)

    def comes_to_its_end(self, job_id: JobId) -> Job:
        """Swept and worked on by a healthy worker until it has ended."""
        for _ in range(10):
            self.clock.advance(LEASE + timedelta(seconds=3))
            self.put_right()
            job = self.look(job_id)
            tickets = self.tickets()
            check_ticketed(job, {ticket.job_id for ticket in tickets})
            for ticket in tickets:
                self.attempt(ticket)
            if self.look(job_id).status.is_terminal:
                return self.look(job_id)
        pytest.fail(f"still {self.look(job_id).status}")


def test_a_submission_that_dies_was_accepted_or_may_be_repeated() -> None:
    worlds: list[Town] = []

    def run(process: Process) -> None:
        worlds.append(Town())
        worlds[-1].post(process)

    died = []
    for process in every_crash(run):
        world = worlds[-1]
        world.clock.advance(1)
        again = world.post()
        died.append((process.dies_at, process.answered, again.replayed))
        assert world.comes_to_its_end(again.job.id).status is Status.SUCCEEDED
        assert world.look(again.job.id).attempt == 1
    accepted_at = [(n, answered) for n, answered, replayed in died if replayed]
    # put_request, add, send: the Put is the acceptance.
    assert accepted_at == [(3, False), (2, True), (3, True)]
    assert len(died) == 6


def test_a_capped_submission_that_dies_leaves_a_slot_only_to_its_job() -> None:
    worlds: list[Town] = []

    def run(process: Process) -> None:
        worlds.append(Town(Limits(max_active_jobs=1)))
        worlds[-1].post(process)

    for _ in every_crash(run):
        world = worlds[-1]
        again = world.post()  # full or not, the same intent finds its own slot or its own job
        assert world.slots() == {again.job.id}
        assert world.look(again.job.id).has_slot
        ended = world.comes_to_its_end(again.job.id)
        world.put_right()
        assert (ended.status, world.slots()) == (Status.SUCCEEDED, set())


def test_a_slot_whose_post_died_for_ever_is_dropped() -> None:
    worlds: list[Town] = []

    def run(process: Process) -> None:
        worlds.append(Town(Limits(max_active_jobs=1)))
        worlds[-1].post(process)

    for _ in every_crash(run):
        world = worlds[-1]
        world.clock.advance(timedelta(minutes=2))
        world.put_right()
        jobs = {job.id for job in world.store.get_many(list(world.slots()))}
        assert world.slots() == jobs


def test_a_claim_that_dies_costs_an_attempt_at_most() -> None:
    worlds: list[Town] = []

    def run(process: Process) -> None:
        world = Town()
        worlds.append(world)
        world.post()
        ticket = world.ticket()
        world.take(ticket, process)

    attempts = []
    for _ in every_crash(run):
        world = worlds[-1]
        ended = world.comes_to_its_end(world.post().job.id)
        assert ended.status is Status.SUCCEEDED
        attempts.append((ended.attempt, ended.failures))
    # get, save: only the save that arrived was an attempt, lost without notice.
    assert attempts == [(1, 0), (1, 0), (1, 0), (2, 1)]


def test_a_worker_that_dies_anywhere_in_an_attempt_costs_that_attempt_at_most() -> None:
    worlds: list[Town] = []

    def run(process: Process) -> None:
        world = Town()
        worlds.append(world)
        world.post()
        world.attempt(world.ticket(), process)

    died = 0
    for _ in every_crash(run):
        died += 1
        world = worlds[-1]
        job_id = world.post().job.id
        ended = world.comes_to_its_end(job_id)
        assert (ended.status, ended.interruptions) == (Status.SUCCEEDED, 0)
        assert (ended.attempt, ended.failures) in [(1, 0), (2, 1)]
        world.clock.advance(TIDY_DELAY)
        world.put_right()
        check_tidy(world.look(job_id), world.artifacts.files)
        assert len(world.artifacts.files) == 1
    # get, claim, start, progress, file, list, end, ticket; before and after each
    assert died == 2 * 8


BOOM = JobError(type="boom", message="it broke")
ENDINGS: list[tuple[Status, Ending]] = [
    (Status.SUCCEEDED, Succeed(cached=False)),
    (Status.FAILED, Fail(BOOM)),
    (Status.QUEUED, Retry(BOOM)),
    (Status.QUEUED, GiveBack()),
]


@pytest.mark.parametrize(("status", "ending"), ENDINGS)
def test_an_ending_that_dies_is_made_once(status: Status, ending: Ending) -> None:
    worlds: list[tuple[Town, Job]] = []

    def run(process: Process) -> None:
        world = Town()
        world.post()
        job, ticket = world.started()
        worlds.append((world, world.seen.see(job)))
        files = [an_artifact(job)] if isinstance(ending, Succeed) else []
        world.ender(process).end(job, ticket, ending, artifacts=files)

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

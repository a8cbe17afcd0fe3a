"""A crash at any call of submit, claim and finish: the sweeper and the next worker recover."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from comfyline.contract.ids import JobId
from comfyline.service.access.slots import OWNER_SHARDS, Limits
from comfyline.service.intake.admit import Admission, slot_of
from comfyline.service.intake.submit import Accepted
from comfyline.service.jobs.due import TIDY_DELAY
from comfyline.service.jobs.finish import Ending, Fail, Finisher, GiveBack, Retry, Succeed
from comfyline.service.jobs.job import Job, JobError, Status
from comfyline.service.jobs.progress import Progress
from comfyline.service.jobs.report import report_progress, report_started
from comfyline.service.queue.tickets import Ticket
from tests.support.builders import LEASE, a_result, an_artifact
from tests.support.crashes import Process, every_crash
from tests.support.invariants import Chronicle, check_record, check_ticketed, check_tidy
from tests.support.world import NEVER, UNLIMITED, World

SURVIVOR = Process(10**9, answered=False)  # a process that does not crash


class CrashingWorld(World):
    """The service in memory, with actions of processes that may crash."""

    def __init__(self, limits: Limits = UNLIMITED) -> None:
        super().__init__()
        self.limits = limits
        self.seen = Chronicle()

    def post(self, process: Process = SURVIVOR) -> Accepted:
        return self.submit(
            key="once",
            limits=self.limits,
            store=process.using(self.store),
            queue=process.using(self.queue),
            owners=process.using(self.owners),
        )

    def take(self, ticket: Ticket, process: Process = SURVIVOR) -> Job | None:
        store, queue = process.using(self.store), process.using(self.queue)
        return self.claim(ticket, store=store, queue=queue)

    def finisher_of(self, process: Process = SURVIVOR) -> Finisher:
        return self.finisher(process.using(self.store), process.using(self.queue))

    def attempt(self, ticket: Ticket, process: Process = SURVIVOR) -> None:
        """Do everything that a worker does for a ticket."""
        store, clock = process.using(self.store), self.clock
        job = self.take(ticket, process)
        if job is None:
            return
        job = report_started(self.seen.see(job), store=store, clock=clock)
        job = report_progress(job, Progress(fraction=0.5), store=store, clock=clock)
        files = [self.upload(job, process.using(self.artifacts))]
        self.finisher_of(process).end(
            job,
            ticket,
            Succeed(cached=False, nodes_cached=0),
            result=a_result(*files),
            gpu_seconds=1.0,
        )

    def put_right(self) -> None:
        """What the schedule does each minute."""
        self.sweep()
        Admission(owners=self.owners, jobs=self.store, clock=self.clock).reconcile(NEVER)

    def slots(self) -> set[JobId]:
        shards = (self.owners.slots(shard) for shard in range(OWNER_SHARDS))
        return {slot.job_id for shard in shards for _, slot in shard}

    def checked(self, job_id: JobId) -> Job:
        record = self.record(job_id)
        check_record(record)
        return self.seen.see(record.job)

    def run_to_end(self, job_id: JobId) -> Job:
        """Sweep, and work like a worker that does not crash, until the job has ended."""
        for _ in range(10):
            self.clock.advance(LEASE + timedelta(seconds=3))
            self.put_right()
            job = self.checked(job_id)
            tickets = self.tickets()
            check_ticketed(job, {ticket.job_id for ticket in tickets})
            for ticket in tickets:
                self.attempt(ticket)
            if self.checked(job_id).status.is_terminal:
                return self.checked(job_id)
        pytest.fail(f"still {self.checked(job_id).status}")


def test_a_submission_that_crashes_was_accepted_or_can_be_repeated() -> None:
    worlds: list[CrashingWorld] = []

    def run(process: Process) -> None:
        worlds.append(CrashingWorld())
        worlds[-1].post(process)

    crashes = []
    for process in every_crash(run):
        world = worlds[-1]
        world.clock.advance(1)
        again = world.post()
        crashes.append((process.dies_at, process.answered, again.replayed))
        assert world.run_to_end(again.job.id).status is Status.SUCCEEDED
        assert world.checked(again.job.id).attempt == 1
    accepted_at = [(n, answered) for n, answered, replayed in crashes if replayed]
    # Calls: put_request, add, send. The Put of `add` is the acceptance.
    assert accepted_at == [(3, False), (2, True), (3, True)]
    assert len(crashes) == 6


def test_a_submission_under_a_cap_that_crashes_holds_one_slot_at_most() -> None:
    worlds: list[CrashingWorld] = []

    def run(process: Process) -> None:
        worlds.append(CrashingWorld(Limits(max_active_jobs=1)))
        worlds[-1].post(process)

    for _ in every_crash(run):
        world = worlds[-1]
        world.clock.advance(1)
        again = world.post()  # even at the cap: it takes the slot of the dead post, or is a replay
        assert [slot for _, slot in world.owners.slots(0)] == [slot_of(again.job)]
        assert world.checked(again.job.id).has_slot
        ended = world.run_to_end(again.job.id)
        world.put_right()
        assert (ended.status, world.slots()) == (Status.SUCCEEDED, set())


def test_the_slot_of_a_post_that_is_never_repeated_is_freed() -> None:
    worlds: list[CrashingWorld] = []

    def run(process: Process) -> None:
        worlds.append(CrashingWorld(Limits(max_active_jobs=1)))
        worlds[-1].post(process)

    for _ in every_crash(run):
        world = worlds[-1]
        world.clock.advance(timedelta(minutes=2))
        world.put_right()
        jobs = {job.id for job in world.store.get_many(list(world.slots()))}
        assert world.slots() == jobs


def test_a_claim_that_crashes_costs_one_attempt_at_most() -> None:
    worlds: list[CrashingWorld] = []

    def run(process: Process) -> None:
        world = CrashingWorld()
        worlds.append(world)
        world.post()
        ticket = world.ticket()
        world.take(ticket, process)

    attempts = []
    for _ in every_crash(run):
        world = worlds[-1]
        ended = world.run_to_end(world.post().job.id)
        assert ended.status is Status.SUCCEEDED
        attempts.append((ended.attempt, ended.failures))
    # Calls: get, save. Only a save that arrived counts as an attempt, which fails without notice.
    assert attempts == [(1, 0), (1, 0), (1, 0), (2, 1)]


def test_a_worker_that_crashes_at_any_call_costs_one_attempt_at_most() -> None:
    worlds: list[CrashingWorld] = []

    def run(process: Process) -> None:
        world = CrashingWorld()
        worlds.append(world)
        world.post()
        world.attempt(world.ticket(), process)

    crashes = 0
    for _ in every_crash(run):
        crashes += 1
        world = worlds[-1]
        job_id = world.post().job.id
        ended = world.run_to_end(job_id)
        assert (ended.status, ended.interruptions) == (Status.SUCCEEDED, 0)
        assert (ended.attempt, ended.failures) in [(1, 0), (2, 1)]
        world.clock.advance(TIDY_DELAY)
        world.put_right()
        check_tidy(world.checked(job_id), world.artifacts.files)
        assert len(world.artifacts.files) == 1
    # before and after each of: get, claim, start, progress, file, list, end, ticket
    assert crashes == 2 * 8


BOOM = JobError(type="boom", message="it broke")
ENDINGS: list[tuple[Status, Ending]] = [
    (Status.SUCCEEDED, Succeed(cached=False, nodes_cached=0)),
    (Status.FAILED, Fail(BOOM)),
    (Status.QUEUED, Retry(BOOM)),
    (Status.QUEUED, GiveBack()),
]


@pytest.mark.parametrize(("status", "ending"), ENDINGS)
def test_an_ending_that_crashes_happens_once(status: Status, ending: Ending) -> None:
    worlds: list[tuple[CrashingWorld, Job]] = []

    def run(process: Process) -> None:
        world = CrashingWorld()
        world.post()
        job, ticket = world.started()
        worlds.append((world, world.seen.see(job)))
        files = [an_artifact(job)] if isinstance(ending, Succeed) else []
        world.finisher_of(process).end(job, ticket, ending, result=a_result(*files))

    for _ in every_crash(run):
        world, job = worlds[-1]
        after = world.checked(job.id)
        assert after.status in (Status.RUNNING, status)
        ended = world.run_to_end(job.id)
        assert ended.status in (Status.SUCCEEDED, status)
        assert ended.attempt <= 2
        if after.status.is_terminal:
            settled = {"due_at": ended.due_at, "settle_pending": False}
            assert ended == replace(after, **settled)
    assert (
        len(worlds) >= 6
    )  # at least two calls, a crash before and after each, and two runs without a crash

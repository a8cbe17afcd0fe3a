"""An attempt ends: the row first, then the ticket; and only if it still holds the job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from comfyline.adapters.memory.ledger import InMemoryLedger
from comfyline.service.errors import JobNotFound, LeaseLost
from comfyline.service.jobs.cancel import cancel, purge
from comfyline.service.jobs.decide import MAX_FAILURES, MAX_INTERRUPTIONS
from comfyline.service.jobs.finish import (
    EndCanceled,
    Ending,
    Fail,
    Finisher,
    GiveBack,
    Retry,
    Succeed,
)
from comfyline.service.jobs.job import Job, JobError, Status
from comfyline.service.jobs.progress import Progress
from comfyline.service.jobs.report import report_progress, report_started
from comfyline.service.ledger.store import Usage
from comfyline.service.queue.tickets import Ticket
from tests.support.builders import LEASE, NOW, an_artifact
from tests.support.invariants import check_record
from tests.support.world import World, meanwhile

BOOM = JobError(type="boom", message="it broke", node_id="5", node_type="KSampler")

End = Callable[[Finisher, Job, Ticket], Job]


def succeed(finisher: Finisher, job: Job, ticket: Ticket) -> Job:
    made = [an_artifact(job)]
    return finisher.end(job, ticket, Succeed(cached=True), artifacts=made, gpu_seconds=2.0)


def stop(finisher: Finisher, job: Job, ticket: Ticket) -> Job:
    """Whoever stops a job has heard of its cancel."""
    asked = replace(job, cancel_requested_at=job.cancel_requested_at or NOW)
    return finisher.end(asked, ticket, EndCanceled(), gpu_seconds=2.0)


def ending_with(ending: Ending) -> End:
    return lambda finisher, job, ticket: finisher.end(job, ticket, ending, gpu_seconds=2.0)


ENDINGS: dict[str, End] = {
    "succeed": succeed,
    "fail": ending_with(Fail(BOOM)),
    "retry": ending_with(Retry(BOOM)),
    "give_back": ending_with(GiveBack()),
    "stop": stop,
}
every_ending = pytest.mark.parametrize("end", ENDINGS.values(), ids=ENDINGS)


def a_started_job(world: World) -> tuple[Job, Ticket]:
    world.submit()
    return world.started()


def ask_cancel(world: World, job: Job) -> Job:
    return cancel(job.id, world.owner, store=world.store, clock=world.clock).job


class TestSuccess:
    def test_is_told_with_every_file(self) -> None:
        world = World()
        job, ticket = a_started_job(world)
        done = succeed(world.finisher(), job, ticket)
        assert (done.status, done.cached, done.gpu_seconds) == (Status.SUCCEEDED, True, 2.0)
        record = world.record(job.id)
        assert (record.job, record.artifacts) == (done, (an_artifact(job),))
        check_record(record)

    def test_counts_though_its_cancel_was_asked(self) -> None:
        world = World()
        job, ticket = a_started_job(world)
        ask_cancel(world, job)
        assert succeed(world.finisher(), job, ticket).status is Status.SUCCEEDED


class TestFailure:
    def test_of_the_jobs_own_is_the_end_and_says_where(self) -> None:
        world = World()
        job, ticket = a_started_job(world)
        ended = world.finisher().end(job, ticket, Fail(BOOM))
        assert (ended.status, ended.failures) == (Status.FAILED, 1)
        assert ended.error is not None
        assert (ended.error.node_id, ended.error.attempt) == ("5", 1)

    def test_of_the_jobs_own_shows_what_was_made_before(self) -> None:
        world = World()
        job, ticket = a_started_job(world)
        world.finisher().end(job, ticket, Fail(BOOM), artifacts=[an_artifact(job)])
        assert world.record(job.id).artifacts == (an_artifact(job),)

    def test_not_of_the_jobs_own_is_tried_again_at_once_by_whoever_is_free(self) -> None:
        world = World()
        job, ticket = a_started_job(world)
        waiting = world.finisher().end(job, ticket, Retry(BOOM))
        assert (waiting.status, waiting.lease, waiting.failures) == (Status.QUEUED, None, 1)
        again, _ = world.claimed()
        assert (again.id, again.attempt) == (job.id, 2)

    def test_is_tried_again_only_so_often(self) -> None:
        world = World()
        world.submit()
        for _ in range(MAX_FAILURES):
            job, ticket = world.started()
            ended = world.finisher().end(job, ticket, Retry(BOOM))
        assert (ended.status, ended.attempt) == (Status.FAILED, MAX_FAILURES)
        world.clock.advance(LEASE)
        assert world.tickets() == []


class TestInterruption:
    def test_is_no_failure(self) -> None:
        world = World()
        job, ticket = a_started_job(world)
        waiting = world.finisher().end(job, ticket, GiveBack())
        assert (waiting.status, waiting.failures, waiting.interruptions) == (Status.QUEUED, 0, 1)
        assert world.ticket().job_id == job.id

    def test_before_the_start_leaves_the_start_deadline_running(self) -> None:
        world = World()
        world.submit()
        job, ticket = world.claimed()
        waiting = world.finisher().end(job, ticket, GiveBack())
        assert waiting.is_past_start_deadline(waiting.start_deadline)

    def test_is_forgiven_only_so_often(self) -> None:
        world = World()
        world.submit()
        for _ in range(MAX_INTERRUPTIONS):
            job, ticket = world.started()
            ended = world.finisher().end(job, ticket, GiveBack())
        assert ended.status is Status.FAILED
        assert ended.error is not None
        assert ended.error.type == "interrupted_too_often"


class TestTicket:
    @every_ending
    def test_is_deleted_with_the_end_and_else_handed_back_at_once(self, end: End) -> None:
        world = World()
        job, ticket = a_started_job(world)
        if end is stop:
            job = ask_cancel(world, job)
        ended = end(world.finisher(), job, ticket)
        assert ended == world.row(job.id)
        assert len(world.tickets()) == (0 if ended.status.is_terminal else 1)
        world.clock.advance(LEASE)
        assert len(world.tickets()) == (0 if ended.status.is_terminal else 1)


class TestGpuSeconds:
    @every_ending
    def test_every_ending_tells_what_the_attempt_has_used(self, end: End) -> None:
        world = World()
        job, ticket = a_started_job(world)
        if end is stop:
            job = ask_cancel(world, job)
        assert end(world.finisher(), job, ticket).gpu_seconds == 2.0

    @pytest.mark.parametrize("ending", ["retry", "give_back"])
    def test_what_is_not_wanted_any_more_has_used_it_too(self, ending: str) -> None:
        world = World()
        job, ticket = a_started_job(world)
        ask_cancel(world, job)
        ended = ENDINGS[ending](world.finisher(), job, ticket)
        assert (ended.status, ended.gpu_seconds) == (Status.CANCELED, 2.0)

    def test_add_up_over_the_attempts_and_count_once_for_the_owner(self) -> None:
        world = World()
        job, ticket = a_started_job(world)
        for ending in ("give_back", "retry"):
            told = [ENDINGS[ending](world.finisher(), job, ticket) for _ in range(2)]
            assert told == [world.row(job.id)] * 2  # the answer of the first may have been lost
            job, ticket = world.started()
        ended = succeed(world.finisher(), job, ticket)
        assert ended.gpu_seconds == 6.0
        ledger = InMemoryLedger()
        for _ in range(2):
            ledger.count([ended])
        assert ledger.usage(world.owner) == Usage(gpu_seconds=6.0, jobs=1)

    def test_given_back_once_too_often_has_used_the_last_attempt_too(self) -> None:
        world = World()
        world.submit()
        for _ in range(MAX_INTERRUPTIONS):
            ended = world.finisher().end(*world.started(), GiveBack(), gpu_seconds=0.5)
        assert (ended.status, ended.gpu_seconds) == (Status.FAILED, MAX_INTERRUPTIONS / 2)


class TestLeaseLost:
    @every_ending
    def test_to_another_worker_nothing_is_written(self, end: End) -> None:
        world = World()
        job, ticket = a_started_job(world)
        world.clock.advance(LEASE)
        theirs, their_ticket = world.started()
        with pytest.raises(LeaseLost):
            end(world.finisher(), job, ticket)
        assert world.row(job.id) == theirs
        assert world.tickets() == []
        assert succeed(world.finisher(), theirs, their_ticket).attempt == 2
        assert [a.key for a in world.record(job.id).artifacts] == [an_artifact(theirs).key]

    @every_ending
    def test_to_nobody_nothing_is_written(self, end: End) -> None:
        world = World()
        job, ticket = a_started_job(world)
        world.clock.advance(LEASE + timedelta(seconds=2))
        world.sweep()
        before = world.row(job.id)
        with pytest.raises(LeaseLost):
            end(world.finisher(), job, ticket)
        assert world.row(job.id) == before
        check_record(world.record(job.id))

    def test_with_the_record_itself(self) -> None:
        world = World()
        job, ticket = a_started_job(world)
        world.store.delete(job)
        with pytest.raises(JobNotFound):
            world.finisher().end(job, ticket, GiveBack())


def used_again(world: World) -> tuple[Job, Ticket]:
    """A running attempt whose job is canceled, swept and purged, and its key posted once more."""
    world.submit(key="once")
    asleep, ticket = world.started()
    ask_cancel(world, asleep)
    world.clock.advance(LEASE + timedelta(seconds=2))
    world.sweep()
    ports = {"store": world.store, "artifacts": world.artifacts, "clock": world.clock}
    purge(asleep.id, world.owner, **ports)
    world.submit(key="once")
    return asleep, ticket


class TestKeyUsedAgain:
    """The job was removed while its worker slept, and its key was used for another."""

    @every_ending
    def test_the_worker_that_wakes_writes_nothing(self, end: End) -> None:
        world = World()
        asleep, ticket = used_again(world)
        _, theirs = world.tickets()
        taken = world.claim(theirs)
        assert taken is not None
        working = report_started(taken, store=world.store, clock=world.clock)
        assert (working.id, working.attempt) == (asleep.id, asleep.attempt)
        with pytest.raises(JobNotFound):
            end(world.finisher(), asleep, ticket)
        with pytest.raises(JobNotFound):
            report_progress(asleep, Progress(fraction=0.5), store=world.store, clock=world.clock)
        assert world.row(asleep.id) == working
        succeed(world.finisher(), working, theirs)
        assert [a.key for a in world.record(asleep.id).artifacts] == [an_artifact(working).key]

    def test_the_old_ticket_is_one_more_of_the_new_job(self) -> None:
        world = World()
        used_again(world)
        old, new = world.tickets()
        job = world.claim(old)
        assert job is not None
        assert world.claim(new) is None
        succeed(world.finisher(), report_started(job, store=world.store, clock=world.clock), old)
        world.clock.advance(LEASE * 2)
        assert world.claim(world.ticket()) is None
        assert world.tickets() == []
        assert world.row(job.id).attempt == 1


class TestRace:
    @pytest.mark.parametrize("ending", ["retry", "give_back"])
    def test_a_cancel_that_comes_meanwhile_ends_the_job(self, ending: str) -> None:
        world = World()
        job, ticket = a_started_job(world)
        store = meanwhile(world.store, "save", lambda: ask_cancel(world, job))
        ended = ENDINGS[ending](world.finisher(store), job, ticket)
        assert ended.status is Status.CANCELED
        world.clock.advance(LEASE)
        assert world.tickets() == []

    def test_a_heartbeat_disturbs_no_ending(self) -> None:
        world = World()
        job, ticket = a_started_job(world)
        until = NOW + 2 * LEASE
        store = meanwhile(world.store, "save", lambda: world.store.renew(job, until))
        assert succeed(world.finisher(store), job, ticket).status is Status.SUCCEEDED

    def test_a_late_start_is_refused_once_the_attempt_has_ended(self) -> None:
        world = World()
        job, ticket = a_started_job(world)
        world.finisher().end(job, ticket, GiveBack())
        with pytest.raises(LeaseLost):
            report_started(world.row(job.id), store=world.store, clock=world.clock)

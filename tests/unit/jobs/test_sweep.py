"""The sweeper puts right what a crash or a lost message has left, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from io import BytesIO

import pytest

from comfyline.contract.ids import JobId
from comfyline.service.errors import Unavailable
from comfyline.service.jobs.cancel import cancel
from comfyline.service.jobs.decide import MAX_FAILURES
from comfyline.service.jobs.due import LEASE_GRACE, TICKET_GRACE, TIDY_DELAY
from comfyline.service.jobs.finish import EndCanceled, GiveBack, Succeed
from comfyline.service.jobs.job import Job, Status, artifact_key, preview_key
from tests.support.builders import LEASE, an_artifact
from tests.support.crashes import Process, every_crash
from tests.support.invariants import Chronicle, check_ticketed, check_tidy
from tests.support.world import DEFAULTS, World, meanwhile, raising

MOMENT = timedelta.resolution
MINUTE = timedelta(minutes=1)


def ticketed(world: World) -> list[JobId]:
    return [ticket.job_id for ticket in world.tickets()]


def an_unticketed_job(world: World) -> Job:
    """Accepted while the queue was out of reach."""
    queue = meanwhile(world.queue, "send", raising(Unavailable("throttled")))
    return world.submit({"prompt": "a red fox"}, queue=queue).job


def vanished(world: World) -> Job:
    """A worker has started the job and is never heard of again."""
    world.submit()
    job, _ = world.started()
    return job


class TestLostTicket:
    def test_is_sent_again_when_it_is_due_and_not_before(self) -> None:
        world = World()
        job = an_unticketed_job(world)
        world.clock.advance(TICKET_GRACE - MOMENT)
        assert (world.sweep(), ticketed(world)) == ({}, [])
        world.clock.advance(MOMENT)
        assert (world.sweep(), ticketed(world)) == ({"TicketResent": 1}, [job.id])
        assert world.row(job.id).version == job.version

    def test_is_not_sent_again_each_minute(self) -> None:
        world = World()
        world.submit()
        sent = 0
        for _ in range(24 * 60 - 1):
            world.clock.advance(MINUTE)
            sent += world.sweep()["TicketResent"]
        # 0.5, 2, 8 and 32 minutes after each other, then each hour; the sweep adds up to a minute.
        assert sent == 4 + 23

    def test_is_not_sent_for_a_job_that_is_claimed_meanwhile(self) -> None:
        world = World()
        job = world.submit().job
        world.clock.advance(TICKET_GRACE)
        world.sweep(store=meanwhile(world.store, "save", world.claimed))
        after = world.row(job.id)
        assert (after.attempt, after.ticket_sends, ticketed(world)) == (1, 0, [])

    def test_is_no_matter_once_the_job_has_waited_too_long(self) -> None:
        world = World()
        job = an_unticketed_job(world)
        world.clock.advance(DEFAULTS.start_deadline)
        assert (world.sweep(), ticketed(world)) == ({"Expired": 1}, [])
        assert world.row(job.id).status is Status.EXPIRED


class TestLease:
    def test_that_is_renewed_is_left_alone_and_looked_at_again(self) -> None:
        world = World()
        job = vanished(world)
        until = world.clock() + 2 * LEASE
        alive = world.store.renew(job, until)
        world.clock.advance(LEASE + LEASE_GRACE)
        assert world.sweep() == {"FoundAlive": 1}
        after = world.row(job.id)
        assert (after.lease, after.version) == (alive.lease, job.version)
        assert after.due_at == until + LEASE_GRACE

    def test_that_ran_out_is_a_failure_and_the_job_is_ticketed(self) -> None:
        world = World()
        job = vanished(world)
        world.clock.advance(LEASE + LEASE_GRACE)
        world.tickets()  # the vanished worker's own, in hand
        assert (world.sweep(), ticketed(world)) == ({"LeaseExpired": 1}, [job.id])
        after = world.row(job.id)
        assert (after.status, after.failures, after.lease) == (Status.QUEUED, 1, None)

    def test_that_ran_out_once_too_often_is_the_end(self) -> None:
        world = World()
        job = vanished(world)
        for _ in range(MAX_FAILURES - 1):
            world.clock.advance(LEASE + LEASE_GRACE)
            world.sweep()
            ticket, *_ = world.tickets()
            assert world.claim(ticket) is not None
        world.clock.advance(LEASE + LEASE_GRACE)
        assert world.sweep() == {"LeaseExpiredForGood": 1}
        assert world.row(job.id).status is Status.FAILED

    def test_of_a_job_past_its_execution_timeout_is_the_end(self) -> None:
        world = World()
        world.submit({"prompt": "a red fox", "execution_timeout_seconds": 60})
        job, _ = world.started()
        world.clock.advance(LEASE + LEASE_GRACE)
        assert world.sweep() == {"LeaseExpiredForGood": 1}
        error = world.row(job.id).error
        assert error is not None
        assert error.type == "execution_timeout"

    @pytest.mark.parametrize("ending", ["succeed", "renew"])
    def test_of_a_worker_that_speaks_at_the_last_moment_has_its_way(self, ending: str) -> None:
        world = World()
        world.submit()
        job, ticket = world.started()

        def speak() -> object:
            if ending == "renew":
                return world.store.renew(job, world.clock() + LEASE)
            return world.finisher().end(job, ticket, Succeed(cached=False), gpu_seconds=1.0)

        world.clock.advance(LEASE + LEASE_GRACE)
        world.sweep(store=meanwhile(world.store, "due", speak))
        expected = Status.SUCCEEDED if ending == "succeed" else Status.RUNNING
        assert (world.row(job.id).status, world.row(job.id).failures) == (expected, 0)


class TestRemoval:
    def test_takes_the_record_its_request_and_its_files(self) -> None:
        world = World()
        world.submit(key="once")
        job = world.succeeded()
        world.clock.advance(DEFAULTS.retention - MOMENT)
        assert world.sweep() == {}
        world.clock.advance(MOMENT)
        assert world.sweep() == {"Removed": 1}
        assert (world.store.read(job.id), world.artifacts.files) == (None, {})
        with pytest.raises(LookupError):
            world.store.graph(job)

    def test_takes_what_losing_attempts_have_left(self) -> None:
        world = World()
        world.submit()
        job, ticket = world.started()
        world.upload(job)
        world.finisher().end(job, ticket, GiveBack())
        job = world.succeeded()
        assert len(world.artifacts.files) == 2
        world.clock.advance(DEFAULTS.retention)
        world.sweep()
        assert world.artifacts.files == {}

    def test_touches_no_other_job(self) -> None:
        world = World()
        world.submit()
        old = world.succeeded()
        world.clock.advance(1)
        world.submit({"prompt": "a blue whale"})
        other = world.succeeded()
        world.clock.now = old.queued_at + DEFAULTS.retention
        world.sweep()
        assert world.store.get(old.id) is None
        assert list(world.artifacts.files) == [an_artifact(other).key]
        assert world.store.graph(other)

    def test_a_record_taken_over_meanwhile_keeps_its_files(self) -> None:
        world = World()
        world.submit(key="once")
        old = world.succeeded()
        world.clock.advance(DEFAULTS.retention)

        def post_and_run_again() -> None:
            world.submit(key="once")
            world.succeeded()

        artifacts = meanwhile(world.artifacts, "delete_prefix", post_and_run_again)
        assert world.sweep(artifacts=artifacts) == {"ChangedMeanwhile": 1}
        assert world.row(old.id).attempt == 2
        assert list(world.artifacts.files) == [an_artifact(world.row(old.id)).key]


def an_attempt_that_lost(world: World) -> Job:
    """Its worker has stored a file and was told to go."""
    world.submit()
    job, ticket = world.started()
    world.upload(job)
    world.finisher().end(job, ticket, GiveBack())
    return job


class TestLosingAttempts:
    """What they have stored is shown to nobody, and goes soon after the job's end."""

    def test_go_once_their_worker_has_surely_stopped(self) -> None:
        world = World()
        lost = an_attempt_that_lost(world)
        job = world.succeeded()
        world.clock.advance(TIDY_DELAY - MOMENT)
        world.upload(lost)  # a worker that knows nothing of it yet
        assert world.sweep() == {}
        world.clock.advance(MOMENT)
        assert world.sweep() == {"Tidied": 1}
        assert list(world.artifacts.files) == [artifact_key(job, 0, "image.png")]
        check_tidy(world.row(job.id), world.artifacts.files)
        assert replace(world.row(job.id), due_at=job.due_at, tidy_pending=True) == job
        assert world.sweep() == {}

    def test_of_a_canceled_job_nothing_stays(self) -> None:
        world = World()
        world.submit()
        job, ticket = world.started()
        world.upload(job)
        cancel(job.id, job.owner, store=world.store, clock=world.clock)
        world.finisher().end(world.row(job.id), ticket, EndCanceled())
        world.clock.advance(TIDY_DELAY)
        assert world.sweep() == {"Tidied": 1}
        assert world.artifacts.files == {}

    def test_previews_go_with_them_and_the_files_of_the_job_stay(self) -> None:
        world = World()
        world.submit({"prompt": "a fox", "previews": True})
        job = world.succeeded()
        world.artifacts.put(preview_key(job), BytesIO(b"picture"), "image/jpeg")
        world.clock.advance(TIDY_DELAY)
        assert world.sweep() == {"Tidied": 1}
        assert list(world.artifacts.files) == [artifact_key(job, 0, "image.png")]
        check_tidy(world.row(job.id), world.artifacts.files)

    def test_a_job_that_nobody_took_has_none(self) -> None:
        world = World()
        job = world.submit().job
        cancel(job.id, job.owner, store=world.store, clock=world.clock)
        world.clock.advance(TIDY_DELAY)
        assert world.sweep() == {}

    def test_what_comes_even_later_goes_with_the_record(self) -> None:
        world = World()
        lost = an_attempt_that_lost(world)
        world.succeeded()
        world.clock.advance(TIDY_DELAY)
        world.sweep()
        world.upload(lost)
        world.clock.advance(DEFAULTS.retention)
        world.sweep()
        assert world.artifacts.files == {}

    def test_files_out_of_reach_are_tried_again(self) -> None:
        world = World()
        an_attempt_that_lost(world)
        world.succeeded()
        world.clock.advance(TIDY_DELAY)
        artifacts = meanwhile(world.artifacts, "delete_prefix", raising(Unavailable("throttled")))
        assert world.sweep(artifacts=artifacts) == {"Unavailable": 1}
        assert world.sweep() == {"Tidied": 1}

    def test_a_record_taken_over_meanwhile_keeps_its_due_time(self) -> None:
        world = World()
        world.submit(key="once")
        job, ticket = world.started()
        world.finisher().end(job, ticket, GiveBack())
        old = world.succeeded()
        world.clock.advance(TIDY_DELAY)

        def taken_over() -> None:
            world.clock.advance(DEFAULTS.retention)
            world.submit(key="once")

        artifacts = meanwhile(world.artifacts, "delete_prefix", taken_over)
        world.sweep(artifacts=artifacts)
        row = world.row(old.id)
        assert (row.status, row.queued_at) == (Status.QUEUED, world.clock.now)

    def test_wherever_the_sweeper_dies_the_next_one_finds_them(self) -> None:
        world = World()

        def run(process: Process) -> None:
            nonlocal world
            world = World()
            an_attempt_that_lost(world)
            world.succeeded()
            world.clock.advance(TIDY_DELAY)
            world.sweep(store=process.using(world.store), artifacts=process.using(world.artifacts))

        died = 0
        for _ in every_crash(run):
            died += 1
            world.sweep()
            (key,) = world.artifacts.files
            check_tidy(world.row(JobId(key.split("/")[1])), world.artifacts.files)
        assert died == 6  # find, delete, note; before and after each


class TestTrouble:
    """One job that cannot be settled holds up no other, and is settled another time."""

    def test_a_queue_out_of_reach(self) -> None:
        world = World()
        jobs = {an_unticketed_job(world).id for _ in range(3)}
        world.clock.advance(TICKET_GRACE)
        queue = meanwhile(world.queue, "send", raising(Unavailable("throttled")))
        assert world.sweep(queue=queue) == {"TicketResent": 2, "Unavailable": 1}
        missed = jobs - set(ticketed(world))
        world.clock.advance(4 * TICKET_GRACE)
        world.tickets()
        world.sweep()
        assert missed <= set(ticketed(world))

    def test_files_out_of_reach(self) -> None:
        world = World()
        for n in range(2):
            world.submit({"prompt": f"fox {n}"})
            world.succeeded()
        world.clock.advance(DEFAULTS.retention)
        artifacts = meanwhile(world.artifacts, "delete_prefix", raising(Unavailable("throttled")))
        assert world.sweep(artifacts=artifacts) == {"Removed": 1, "Unavailable": 1}
        assert world.sweep() == {"Removed": 1}
        assert world.artifacts.files == {}

    def test_a_record_that_is_removed_meanwhile(self) -> None:
        world = World()
        job = an_unticketed_job(world)
        world.clock.advance(TICKET_GRACE)
        store = meanwhile(world.store, "save", lambda: world.store.delete(job))
        assert world.sweep(store=store) == {"ChangedMeanwhile": 1}
        assert ticketed(world) == []


# --- its own death --------------------------------------------------------------------------------


def a_lost_ticket(world: World) -> Job:
    job = an_unticketed_job(world)
    world.clock.advance(TICKET_GRACE)
    return job


def a_dead_lease(world: World) -> Job:
    job = vanished(world)
    world.clock.advance(LEASE + LEASE_GRACE)
    world.tickets()
    return job


def a_dead_lease_under_cancel(world: World) -> Job:
    job = vanished(world)
    cancel(job.id, world.owner, store=world.store, clock=world.clock)
    world.clock.advance(LEASE + LEASE_GRACE)
    return job


def an_overdue_job(world: World) -> Job:
    job = an_unticketed_job(world)
    world.clock.advance(DEFAULTS.start_deadline)
    return job


@pytest.mark.parametrize(
    "left", [a_lost_ticket, a_dead_lease, a_dead_lease_under_cancel, an_overdue_job]
)
def test_a_sweeper_that_dies_leaves_its_work_to_the_next(left: Callable[[World], Job]) -> None:
    worlds: list[tuple[World, Job]] = []

    def run(process: Process) -> None:
        world = World()
        worlds.append((world, left(world)))
        world.sweep(store=process.using(world.store), queue=process.using(world.queue))

    for _ in every_crash(run):
        world, job = worlds[-1]
        seen, found = Chronicle(), set(ticketed(world))
        for _ in range(5):
            seen.see(world.row(job.id))
            world.clock.advance(TICKET_GRACE)
            world.sweep()
            found |= set(ticketed(world))
        after = seen.see(world.row(job.id))
        assert (after.lease, after.failures) == (None, 1 if left is a_dead_lease else 0)
        check_ticketed(after, found)
    assert len(worlds) >= 4


def test_a_removal_that_dies_is_gone_on_with() -> None:
    worlds: list[World] = []

    def run(process: Process) -> None:
        world = World()
        worlds.append(world)
        world.submit()
        world.succeeded()
        world.clock.advance(DEFAULTS.retention)
        store, artifacts = process.using(world.store), process.using(world.artifacts)
        world.sweep(store=store, artifacts=artifacts)

    for process in every_crash(run):
        world = worlds[-1]
        # No file is ever left without a row by which it will be found.
        assert world.store.due(world.clock(), 1) or not world.artifacts.files, process
        world.sweep()
        assert (world.store.due(world.clock(), 1), world.artifacts.files) == ([], {})

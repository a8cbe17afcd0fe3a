"""The sweeper repairs what crashes and lost messages have left, and changes nothing else."""

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
    """A job whose ticket could not be sent."""
    queue = meanwhile(world.queue, "send", raising(Unavailable("throttled")))
    return world.submit({"prompt": "a red fox"}, queue=queue).job


def a_job_of_a_vanished_worker(world: World) -> Job:
    """A job that a worker has started before it vanished."""
    world.submit()
    job, _ = world.started()
    return job


class TestLostTicket:
    def test_is_sent_again_once_the_job_is_due(self) -> None:
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
        # After 0.5, 2, 8 and 32 minutes, then every hour. The sweep adds up to a minute to each.
        assert sent == 4 + 23

    def test_is_not_sent_if_the_job_is_claimed_meanwhile(self) -> None:
        world = World()
        job = world.submit().job
        world.clock.advance(TICKET_GRACE)
        world.sweep(store=meanwhile(world.store, "save", world.claimed))
        after = world.row(job.id)
        assert (after.attempt, after.ticket_sends, ticketed(world)) == (1, 0, [])

    def test_is_not_sent_if_the_job_is_overdue(self) -> None:
        world = World()
        job = an_unticketed_job(world)
        world.clock.advance(DEFAULTS.start_deadline)
        assert (world.sweep(), ticketed(world)) == ({"Expired": 1}, [])
        assert world.row(job.id).status is Status.EXPIRED


class TestLease:
    def test_a_renewed_lease_stays_and_the_job_is_due_after_it(self) -> None:
        world = World()
        job = a_job_of_a_vanished_worker(world)
        until = world.clock() + 2 * LEASE
        alive = world.store.renew(job, until)
        world.clock.advance(LEASE + LEASE_GRACE)
        assert world.sweep() == {"FoundAlive": 1}
        after = world.row(job.id)
        assert (after.lease, after.version) == (alive.lease, job.version)
        assert after.due_at == until + LEASE_GRACE

    def test_an_expired_lease_is_a_failure_and_the_job_gets_a_ticket(self) -> None:
        world = World()
        job = a_job_of_a_vanished_worker(world)
        world.clock.advance(LEASE + LEASE_GRACE)
        world.tickets()  # the ticket of the vanished worker, which is visible again
        assert (world.sweep(), ticketed(world)) == ({"LeaseExpired": 1}, [job.id])
        after = world.row(job.id)
        assert (after.status, after.failures, after.lease) == (Status.QUEUED, 1, None)

    def test_the_last_allowed_expiry_ends_the_job(self) -> None:
        world = World()
        job = a_job_of_a_vanished_worker(world)
        for _ in range(MAX_FAILURES - 1):
            world.clock.advance(LEASE + LEASE_GRACE)
            world.sweep()
            ticket, *_ = world.tickets()
            assert world.claim(ticket) is not None
        world.clock.advance(LEASE + LEASE_GRACE)
        assert world.sweep() == {"LeaseExpiredForGood": 1}
        assert world.row(job.id).status is Status.FAILED

    def test_an_expired_lease_past_the_execution_timeout_ends_the_job(self) -> None:
        world = World()
        world.submit({"prompt": "a red fox", "execution_timeout_seconds": 60})
        job, _ = world.started()
        world.clock.advance(LEASE + LEASE_GRACE)
        assert world.sweep() == {"LeaseExpiredForGood": 1}
        error = world.row(job.id).error
        assert error is not None
        assert error.type == "execution_timeout"

    @pytest.mark.parametrize("ending", ["succeed", "renew"])
    def test_a_write_of_the_worker_at_the_last_moment_wins(self, ending: str) -> None:
        world = World()
        world.submit()
        job, ticket = world.started()

        def write() -> object:
            if ending == "renew":
                return world.store.renew(job, world.clock() + LEASE)
            return world.finisher().end(job, ticket, Succeed(cached=False), gpu_seconds=1.0)

        world.clock.advance(LEASE + LEASE_GRACE)
        world.sweep(store=meanwhile(world.store, "due", write))
        expected = Status.SUCCEEDED if ending == "succeed" else Status.RUNNING
        assert (world.row(job.id).status, world.row(job.id).failures) == (expected, 0)


class TestRemoval:
    def test_takes_the_record_its_request_and_its_files(self) -> None:
        world = World()
        world.submit(key="once")
        job = world.settle(world.succeeded().id)
        world.clock.advance(DEFAULTS.retention - MOMENT)
        assert world.sweep() == {}
        world.clock.advance(MOMENT)
        assert world.sweep() == {"Removed": 1}
        assert (world.store.read(job.id), world.artifacts.files) == (None, {})
        with pytest.raises(LookupError):
            world.store.graph(job)

    def test_removes_the_files_of_attempts_that_lost(self) -> None:
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

    def test_does_not_touch_other_jobs(self) -> None:
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

    def test_a_new_job_that_takes_the_id_meanwhile_keeps_its_files(self) -> None:
        world = World()
        world.submit(key="once")
        old = world.settle(world.succeeded().id)
        world.clock.advance(DEFAULTS.retention)

        def post_and_run_again() -> None:
            world.submit(key="once")
            world.succeeded()

        artifacts = meanwhile(world.artifacts, "delete_prefix", post_and_run_again)
        assert world.sweep(artifacts=artifacts) == {"ChangedMeanwhile": 1}
        assert world.row(old.id).attempt == 2
        assert list(world.artifacts.files) == [an_artifact(world.row(old.id)).key]


def an_attempt_that_lost(world: World) -> Job:
    """An attempt whose worker stored a file and then gave the job back."""
    world.submit()
    job, ticket = world.started()
    world.upload(job)
    world.finisher().end(job, ticket, GiveBack())
    return job


class TestVoidFiles:
    """Readers are never shown the files of attempts that lost; they are removed after the end."""

    def test_are_removed_once_their_worker_has_surely_stopped(self) -> None:
        world = World()
        lost = an_attempt_that_lost(world)
        job = world.settle(world.succeeded().id)
        world.clock.advance(TIDY_DELAY - MOMENT)
        world.upload(lost)  # by a worker that has not learned yet that it lost
        assert world.sweep() == {}
        world.clock.advance(MOMENT)
        assert world.sweep() == {"Tidied": 1}
        assert list(world.artifacts.files) == [artifact_key(job, 0, "image.png")]
        check_tidy(world.row(job.id), world.artifacts.files)
        assert replace(world.row(job.id), due_at=job.due_at, tidy_pending=True) == job
        assert world.sweep() == {}

    def test_are_removed_with_a_settlement_that_was_missed(self) -> None:
        world = World()
        an_attempt_that_lost(world)
        job = world.succeeded()
        world.clock.advance(TIDY_DELAY)
        assert world.sweep() == {"Settled": 1, "Tidied": 1}
        assert world.row(job.id).due_at == job.expires_at
        assert world.sweep() == {}

    def test_of_a_canceled_job_are_all_its_files(self) -> None:
        world = World()
        world.submit()
        job, ticket = world.started()
        world.upload(job)
        cancel(job.id, job.owner, store=world.store, clock=world.clock)
        world.finisher().end(world.row(job.id), ticket, EndCanceled())
        world.settle(job.id)
        world.clock.advance(TIDY_DELAY)
        assert world.sweep() == {"Tidied": 1}
        assert world.artifacts.files == {}

    def test_include_previews_but_not_the_artifacts_of_the_job(self) -> None:
        world = World()
        world.submit({"prompt": "a fox", "previews": True})
        job = world.settle(world.succeeded().id)
        world.artifacts.put(preview_key(job), BytesIO(b"picture"), "image/jpeg")
        world.clock.advance(TIDY_DELAY)
        assert world.sweep() == {"Tidied": 1}
        assert list(world.artifacts.files) == [artifact_key(job, 0, "image.png")]
        check_tidy(world.row(job.id), world.artifacts.files)

    def test_a_job_that_was_never_claimed_has_none(self) -> None:
        world = World()
        job = world.submit().job
        cancel(job.id, job.owner, store=world.store, clock=world.clock)
        world.settle(job.id)
        world.clock.advance(TIDY_DELAY)
        assert world.sweep() == {}

    def test_that_are_stored_even_later_are_removed_with_the_record(self) -> None:
        world = World()
        lost = an_attempt_that_lost(world)
        world.succeeded()
        world.clock.advance(TIDY_DELAY)
        world.sweep()
        world.upload(lost)
        world.clock.advance(DEFAULTS.retention)
        world.sweep()
        assert world.artifacts.files == {}

    def test_are_removed_by_the_next_sweep_if_s3_is_unavailable(self) -> None:
        world = World()
        an_attempt_that_lost(world)
        world.settle(world.succeeded().id)
        world.clock.advance(TIDY_DELAY)
        artifacts = meanwhile(world.artifacts, "delete_prefix", raising(Unavailable("throttled")))
        assert world.sweep(artifacts=artifacts) == {"Unavailable": 1}
        assert world.sweep() == {"Tidied": 1}

    def test_a_new_job_that_takes_the_id_meanwhile_keeps_its_due_time(self) -> None:
        world = World()
        world.submit(key="once")
        job, ticket = world.started()
        world.finisher().end(job, ticket, GiveBack())
        old = world.succeeded()
        world.clock.advance(TIDY_DELAY)

        def post_again() -> None:
            world.clock.advance(DEFAULTS.retention)
            world.submit(key="once")

        artifacts = meanwhile(world.artifacts, "delete_prefix", post_again)
        world.sweep(artifacts=artifacts)
        row = world.row(old.id)
        assert (row.status, row.queued_at) == (Status.QUEUED, world.clock.now)

    def test_are_removed_by_the_next_sweep_after_a_crash_at_any_call(self) -> None:
        world = World()

        def run(process: Process) -> None:
            nonlocal world
            world = World()
            an_attempt_that_lost(world)
            world.settle(world.succeeded().id)
            world.clock.advance(TIDY_DELAY)
            world.sweep(store=process.using(world.store), artifacts=process.using(world.artifacts))

        died = 0
        for _ in every_crash(run):
            died += 1
            world.sweep()
            (key,) = world.artifacts.files
            check_tidy(world.row(JobId(key.split("/")[1])), world.artifacts.files)
        assert died == 8  # find live and ended jobs, delete, note; before and after each


class TestTrouble:
    """A job that cannot be handled now does not stop the others, and is handled later."""

    def test_an_unavailable_queue(self) -> None:
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

    def test_unavailable_files(self) -> None:
        world = World()
        for n in range(2):
            world.submit({"prompt": f"fox {n}"})
            world.settle(world.succeeded().id)
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


# --- crashes of the sweeper -----------------------------------------------------------------------


def a_lost_ticket(world: World) -> Job:
    job = an_unticketed_job(world)
    world.clock.advance(TICKET_GRACE)
    return job


def an_expired_lease(world: World) -> Job:
    job = a_job_of_a_vanished_worker(world)
    world.clock.advance(LEASE + LEASE_GRACE)
    world.tickets()
    return job


def an_expired_lease_while_canceling(world: World) -> Job:
    job = a_job_of_a_vanished_worker(world)
    cancel(job.id, world.owner, store=world.store, clock=world.clock)
    world.clock.advance(LEASE + LEASE_GRACE)
    return job


def an_overdue_job(world: World) -> Job:
    job = an_unticketed_job(world)
    world.clock.advance(DEFAULTS.start_deadline)
    return job


@pytest.mark.parametrize(
    "left", [a_lost_ticket, an_expired_lease, an_expired_lease_while_canceling, an_overdue_job]
)
def test_after_a_crash_the_next_sweep_completes_the_work(left: Callable[[World], Job]) -> None:
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
        assert (after.lease, after.failures) == (None, 1 if left is an_expired_lease else 0)
        check_ticketed(after, found)
    assert len(worlds) >= 4


def test_after_a_crash_the_next_sweep_completes_a_removal() -> None:
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
        assert ended_due(world) or not world.artifacts.files, process
        world.sweep()
        assert (ended_due(world), world.artifacts.files) == ([], {})
        assert world.ledger.usage(world.owner).jobs == 1


def ended_due(world: World) -> list[Job]:
    now = world.clock()
    return [job for settled in (False, True) for job in world.store.due(now, 1, settled=settled)]

"""A cancel ends a job at once if no worker holds it, and otherwise sets a flag for its worker."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from comfyline.contract.ids import JobId, OwnerId, random_job_id
from comfyline.service.access.slots import Limits
from comfyline.service.errors import JobNotFound, Unavailable
from comfyline.service.intake.admit import slot_of
from comfyline.service.jobs.cancel import Cancellation, cancel
from comfyline.service.jobs.finish import EndCanceled, GiveBack, Retry
from comfyline.service.jobs.job import Job, JobError, Status
from comfyline.service.jobs.report import report_started
from comfyline.service.jobs.settle import MAX_TRIES
from comfyline.service.jobs.store import JobStore
from comfyline.service.ledger.store import Usage
from comfyline.service.queue.tickets import Ticket
from tests.support.builders import LEASE, NOW, an_artifact, an_owner
from tests.support.crashes import Process, every_crash
from tests.support.ports import meanwhile, raising
from tests.support.world import DEFAULTS, World

BOOM = JobError(type="boom", message="it broke")


def canceled(
    world: World, job_id: JobId, owner: OwnerId | None = None, store: JobStore | None = None
) -> Cancellation:
    """Cancel the job as its owner; returns the result."""
    jobs = store or world.store
    return cancel(job_id, owner or world.owner, store=jobs, clock=world.clock)


class TestNoWorkerHoldsIt:
    def test_a_waiting_job_ends_at_once_and_never_runs(self) -> None:
        world = World()
        job = world.submit().job
        done = canceled(world, job.id)
        assert done.job == world.row(job.id)
        assert (done.job.status, done.job.finished_at) == (Status.CANCELED, world.clock())
        assert "before it ran" in done.message
        assert world.claim(world.ticket()) is None
        world.clock.advance(LEASE)
        assert world.tickets() == []

    def test_a_job_that_was_given_back_ends_at_once(self) -> None:
        world = World()
        world.submit()
        job, ticket = world.started()
        world.finisher().end(job, ticket, GiveBack())
        assert canceled(world, job.id).job.status is Status.CANCELED

    def test_a_job_whose_worker_vanished_before_the_start_ends_at_once(self) -> None:
        world = World()
        world.submit()
        job, _ = world.claimed()
        world.clock.advance(LEASE)
        assert canceled(world, job.id).job.status is Status.CANCELED

    def test_an_overdue_job_expires_instead(self) -> None:
        world = World()
        job = world.submit().job
        world.clock.advance(DEFAULTS.start_deadline)
        done = canceled(world, job.id)
        assert (done.job.status, done.job.cancel_requested_at) == (Status.EXPIRED, None)
        assert "expired" in done.message


class TestAWorkerHoldsIt:
    @pytest.mark.parametrize("hold", [World.claimed, World.started])
    def test_the_flag_is_set_and_the_worker_ends_the_job(
        self, hold: Callable[[World], tuple[Job, Ticket]]
    ) -> None:
        world = World()
        world.submit()
        job, ticket = hold(world)
        done = canceled(world, job.id)
        assert (done.job.shown_status, done.job.lease) == ("canceling", job.lease)
        assert "worker" in done.message
        stopped = world.finisher().end(done.job, ticket, EndCanceled(), gpu_seconds=2.0)
        assert (stopped.status, stopped.gpu_seconds) == (Status.CANCELED, 2.0)

    def test_the_worker_sees_the_flag_in_the_answer_to_its_next_write(self) -> None:
        world = World()
        world.submit()
        job, _ = world.claimed()
        canceled(world, job.id)
        assert world.store.renew(job, NOW + 2 * LEASE).is_canceling
        assert report_started(job, store=world.store, clock=world.clock).is_canceling

    @pytest.mark.parametrize("ending", ["retry", "give_back"])
    def test_any_end_of_the_attempt_cancels_the_job(self, ending: str) -> None:
        world = World()
        world.submit()
        job, ticket = world.started()
        canceled(world, job.id)
        finisher = world.finisher()
        ended = (
            finisher.end(job, ticket, Retry(BOOM), gpu_seconds=1.0)
            if ending == "retry"
            else finisher.end(job, ticket, GiveBack())
        )
        assert ended.status is Status.CANCELED
        world.clock.advance(LEASE)
        assert world.tickets() == []

    def test_if_the_worker_vanished_the_sweeper_cancels_the_job(self) -> None:
        world = World()
        world.submit()
        job, _ = world.started()
        canceled(world, job.id)
        world.clock.advance(LEASE + timedelta(seconds=2))
        assert world.sweep() == {"LeaseExpiredWhileCanceling": 1}
        assert world.row(job.id).status is Status.CANCELED


class TestNoEffect:
    def test_a_repeated_cancel_writes_nothing(self) -> None:
        world = World()
        world.submit()
        job, _ = world.started()
        first = canceled(world, job.id)
        world.clock.advance(1)
        process = Process(10**9, answered=False)
        again = canceled(world, job.id, store=process.using(world.store))
        assert (again, process.calls) == (first, 1)  # the read

    def test_an_ended_job_does_not_change(self) -> None:
        world = World()
        world.submit()
        job = world.succeeded()
        done = canceled(world, job.id)
        assert (done.job, world.row(job.id)) == (job, job)
        assert "already ended: succeeded" in done.message


class TestRace:
    def test_a_worker_that_claims_meanwhile_gets_the_flag(self) -> None:
        world = World()
        job = world.submit().job
        done = canceled(world, job.id, store=meanwhile(world.store, "save", world.claimed))
        assert done.job.shown_status == "canceling"

    def test_a_job_that_is_given_back_meanwhile_is_canceled(self) -> None:
        world = World()
        world.submit()
        job, ticket = world.started()
        store = meanwhile(
            world.store, "save", lambda: world.finisher().end(job, ticket, GiveBack())
        )
        assert canceled(world, job.id, store=store).job.status is Status.CANCELED

    def test_a_job_that_succeeds_meanwhile_stays_succeeded(self) -> None:
        world = World()
        job = world.submit().job
        done = canceled(world, job.id, store=meanwhile(world.store, "save", world.succeeded))
        assert done.job.status is Status.SUCCEEDED
        assert "succeeded before" in done.message


class TestNotFound:
    def test_an_unknown_job_or_one_of_another_owner(self) -> None:
        world = World()
        job = world.submit().job
        for job_id, owner in [(random_job_id(NOW), world.owner), (job.id, an_owner())]:
            with pytest.raises(JobNotFound):
                canceled(world, job_id, owner)
        assert world.row(job.id) == job

    def test_a_job_past_its_retention(self) -> None:
        world = World()
        world.submit()
        job = world.succeeded()
        world.clock.advance(DEFAULTS.retention)
        with pytest.raises(JobNotFound):
            canceled(world, job.id)

    def test_a_job_that_is_removed_meanwhile(self) -> None:
        world = World()
        job = world.submit().job
        store = meanwhile(world.store, "save", lambda: world.store.delete(job))
        with pytest.raises(JobNotFound):
            canceled(world, job.id, store=store)


class TestPurge:
    def test_removes_an_ended_jobs_record_request_and_files(self) -> None:
        world = World()
        world.submit()
        job, ticket = world.started()
        world.upload(job)
        world.finisher().end(job, ticket, GiveBack())
        job = world.succeeded()
        assert "removed" in world.purge(job.id)
        assert (world.store.read(job.id), world.artifacts.files) == (None, {})
        with pytest.raises(LookupError):
            world.store.graph(job)
        with pytest.raises(JobNotFound):
            world.purge(job.id)

    def test_cancels_a_job_that_has_not_ended(self) -> None:
        world = World()
        world.submit()
        job, _ = world.started()
        world.upload(job)
        assert "once it has ended" in world.purge(job.id)
        assert world.row(job.id).shown_status == "canceling"
        assert len(world.artifacts.files) == 1

    def test_a_job_of_another_owner_is_not_found(self) -> None:
        world = World()
        world.submit()
        job = world.succeeded()
        world.owner = an_owner()
        with pytest.raises(JobNotFound):
            world.purge(job.id)
        assert len(world.artifacts.files) == 1

    def test_two_concurrent_purges_both_succeed(self) -> None:
        world = World()
        world.submit()
        job = world.succeeded()
        store = meanwhile(world.store, "delete", lambda: world.purge(job.id))
        assert "removed" in world.purge(job.id, store=store)

    def test_keeps_a_new_job_that_takes_the_id_meanwhile(self) -> None:
        world = World()
        world.submit(key="once")
        old = world.succeeded()
        world.clock.advance(DEFAULTS.retention - timedelta.resolution)

        def post_and_run_again() -> None:
            world.clock.advance(timedelta.resolution)
            world.submit(key="once")
            world.succeeded()

        artifacts = meanwhile(world.artifacts, "delete_prefix", post_and_run_again)
        assert "removed" in world.purge(old.id, artifacts=artifacts)
        assert world.row(old.id).attempt == 2
        assert list(world.artifacts.files) == [an_artifact(world.row(old.id)).key]

    def test_after_a_crash_it_can_be_repeated_and_leaves_no_file(self) -> None:
        worlds: list[tuple[World, Job]] = []

        def run(process: Process) -> None:
            world = World()
            world.submit()
            worlds.append((world, world.succeeded()))
            store, artifacts = process.using(world.store), process.using(world.artifacts)
            settlement = world.settlement(
                store=store,
                owners=process.using(world.owners),
                ledger=process.using(world.ledger),
            )
            world.purge(worlds[-1][1].id, store=store, artifacts=artifacts, settlement=settlement)

        for process in every_crash(run):
            world, job = worlds[-1]
            if world.store.get(job.id) is not None:
                world.purge(job.id)
            assert (world.store.get(job.id), world.artifacts.files) == (None, {}), process
            assert world.ledger.usage(world.owner) == Usage(1.5, 1), process

    def test_counts_the_job_before_its_record_is_gone(self) -> None:
        world = World()
        world.submit(limits=Limits(max_active_jobs=1))
        job = world.succeeded()
        world.owners.take_slot(job.owner, slot_of(job), Limits(max_active_jobs=1), job.queued_at)
        assert job.settle_pending
        world.purge(job.id)
        assert world.ledger.usage(world.owner) == Usage(1.5, 1)
        assert dict(world.owners.slots(0)) == {}

    def test_is_refused_while_the_job_cannot_be_counted(self) -> None:
        world = World()
        world.submit()
        job = world.succeeded()
        times = MAX_TRIES
        ledger = meanwhile(world.ledger, "count", raising(Unavailable("throttled")), times=times)
        with pytest.raises(Unavailable):
            world.purge(job.id, settlement=world.settlement(ledger=ledger))
        assert world.row(job.id) == job
        assert len(world.artifacts.files) == 1

"""A worker claims a job by its ticket; the job's state decides what happens to the ticket."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from comfyline.contract.ids import JobId, random_job_id, random_worker_id
from comfyline.service.errors import Unavailable
from comfyline.service.jobs.cancel import cancel
from comfyline.service.jobs.claim import NOT_YET_SECONDS, Terms, claim
from comfyline.service.jobs.decide import MAX_FAILURES
from comfyline.service.jobs.finish import GiveBack
from comfyline.service.jobs.job import Job, Lease, Status
from comfyline.service.jobs.store import Work
from comfyline.service.queue.lanes import Priority
from tests.support.builders import LEASE, NOW, a_job, now
from tests.support.ports import meanwhile, raising
from tests.support.world import DEFAULTS, World

MOMENT = timedelta.resolution
SECOND = timedelta(seconds=1)


def ticketed(world: World) -> list[JobId]:
    return [ticket.job_id for ticket in world.tickets()]


def send_again(world: World, job: Job) -> None:
    """Send one more ticket of the job, as the sweeper or a replay does."""
    world.queue.send(job.id, job.owner, job.priority)


def vanish(world: World) -> Job:
    """A worker claims the only ticket, starts its job, and vanishes."""
    job, _ = world.started()
    world.clock.advance(LEASE)
    return job


class TestFreeJob:
    def test_a_claim_leases_the_job_to_the_worker(self) -> None:
        world, worker_id = World(), random_worker_id()
        world.submit()
        job = world.claim(world.ticket(), worker_id=worker_id)
        assert job is not None
        assert job == world.row(job.id)
        assert (job.status, job.attempt) == (Status.QUEUED, 1)
        assert job.lease == Lease(worker_id, NOW + LEASE)

    def test_the_ticket_becomes_visible_unless_the_worker_hides_it(self) -> None:
        world = World()
        world.submit()
        job, _ = world.claimed()
        world.clock.advance(LEASE - MOMENT)
        assert ticketed(world) == []
        world.clock.advance(MOMENT)
        assert ticketed(world) == [job.id]

    def test_a_job_that_ran_before_is_claimed_after_its_start_deadline(self) -> None:
        world = World()
        world.submit()
        job, ticket = world.started()
        world.finisher().end(job, ticket, GiveBack())
        world.clock.advance(DEFAULTS.start_deadline)
        again, _ = world.claimed()
        assert (again.attempt, again.interruptions) == (2, 1)


class TestUselessTicket:
    def test_the_ticket_of_a_missing_job_is_deleted(self) -> None:
        world = World()
        world.queue.send(random_job_id(NOW), world.owner, Priority.NORMAL)
        assert world.claim(world.ticket()) is None
        world.clock.advance(LEASE)
        assert ticketed(world) == []

    def test_the_tickets_of_an_ended_job_are_deleted(self) -> None:
        world = World()
        job = world.submit().job
        send_again(world, job)
        first, second = world.tickets()
        cancel(job.id, world.owner, store=world.store, clock=world.clock)
        assert [world.claim(first), world.claim(second)] == [None, None]
        world.clock.advance(LEASE)
        assert ticketed(world) == []

    def test_the_ticket_of_an_overdue_job_is_deleted_and_the_job_expires(self) -> None:
        world = World()
        job = world.submit().job
        world.clock.advance(DEFAULTS.start_deadline)
        assert world.claim(world.ticket()) is None
        assert world.row(job.id).status is Status.EXPIRED
        world.clock.advance(LEASE)
        assert ticketed(world) == []


class TestHeldJob:
    def test_a_second_ticket_is_hidden_until_the_lease_has_expired(self) -> None:
        world = World()
        world.submit()
        job, _ = world.claimed()
        world.clock.advance(LEASE / 2)
        send_again(world, job)
        assert world.claim(world.ticket()) is None
        assert world.row(job.id) == job
        world.clock.now = NOW + LEASE + SECOND - MOMENT
        assert len(world.tickets()) == 1  # the first ticket
        world.clock.now = NOW + LEASE + 2 * SECOND
        assert ticketed(world) == [job.id]

    def test_a_second_ticket_is_hidden_from_the_holder_too(self) -> None:
        world, worker_id = World(), random_worker_id()
        job = world.submit().job
        send_again(world, job)
        first, second = world.tickets()
        assert world.claim(first, worker_id=worker_id) is not None
        assert world.claim(second, worker_id=worker_id) is None
        assert world.row(job.id).attempt == 1


class TestVanishedWorker:
    def test_its_expired_lease_is_recorded_before_the_next_claim(self) -> None:
        world = World()
        world.submit()
        lost = vanish(world)
        job, _ = world.claimed()
        assert (job.attempt, job.failures) == (2, 1)
        assert [line.event for line in job.history[-2:]] == ["lease_expired", "claimed"]
        assert job.lease != lost.lease

    def test_the_last_allowed_failure_ends_the_job(self) -> None:
        world = World()
        world.submit()
        for _ in range(MAX_FAILURES):
            job = vanish(world)
        assert world.claim(world.ticket()) is None
        ended = world.row(job.id)
        assert (ended.status, ended.attempt) == (Status.FAILED, MAX_FAILURES)
        assert ended.error is not None
        assert ended.error.type == "worker_lost"
        world.clock.advance(LEASE)
        assert ticketed(world) == []

    def test_a_worker_lost_past_the_execution_timeout_ends_the_job(self) -> None:
        world = World()
        world.submit({"prompt": "a red fox", "execution_timeout_seconds": 60})
        job = vanish(world)
        assert world.claim(world.ticket()) is None
        error = world.row(job.id).error
        assert error is not None
        assert error.type == "execution_timeout"

    def test_a_worker_lost_while_canceling_ends_the_job_as_canceled(self) -> None:
        world = World()
        world.submit()
        job, _ = world.started()
        cancel(job.id, world.owner, store=world.store, clock=world.clock)
        world.clock.advance(LEASE)
        assert world.claim(world.ticket()) is None
        assert world.row(job.id).status is Status.CANCELED


class TestRace:
    def test_one_of_two_workers_gets_the_job_and_the_other_hides_its_ticket(self) -> None:
        world = World()
        job = world.submit().job
        send_again(world, job)
        ours, theirs = world.tickets()
        store = meanwhile(world.store, "save", lambda: world.claim(theirs))
        assert world.claim(ours, store=store) is None
        after = world.row(job.id)
        assert (after.attempt, after.failures) == (1, 0)
        world.clock.advance(LEASE)
        assert len(world.tickets()) == 1  # the winner's ticket
        world.clock.advance(2 * SECOND)
        assert len(world.tickets()) == 1

    @pytest.mark.parametrize(
        "end",
        [
            lambda w, j: cancel(j.id, w.owner, store=w.store, clock=w.clock),
            lambda w, j: w.store.delete(j),
        ],
        ids=["canceled", "removed"],
    )
    def test_a_job_that_ends_meanwhile_is_not_claimed(
        self, end: Callable[[World, Job], object]
    ) -> None:
        world = World()
        job = world.submit().job
        store = meanwhile(world.store, "save", lambda: end(world, job))
        assert world.claim(world.ticket(), store=store) is None
        world.clock.advance(LEASE)
        assert ticketed(world) == []

    def test_a_new_subscriber_does_not_disturb_a_claim(self) -> None:
        world = World()
        job = world.submit().job
        until = NOW + timedelta(hours=2)
        store = meanwhile(world.store, "save", lambda: world.store.watch(job.id, until))
        claimed = world.claim(world.ticket(), store=store)
        assert claimed is not None
        assert (claimed.attempt, claimed.watched_until) == (1, until)

    @pytest.mark.parametrize("passed", [0, 1, 2, 3, 4])
    def test_the_start_deadline_may_pass_during_a_claim(self, passed: int) -> None:
        world = World()
        job = world.submit({"prompt": "a red fox", "start_deadline_seconds": 1}).job
        now = job.start_deadline - passed * MOMENT

        def ticking() -> datetime:
            nonlocal now
            now += MOMENT
            return now

        claimed = world.claim(world.ticket(), clock=ticking)
        after = world.row(job.id)
        assert after.status is (Status.QUEUED if claimed else Status.EXPIRED)
        assert claimed in (None, after)


@pytest.mark.parametrize("call", ["work", "save"])
def test_if_the_store_is_unavailable_the_ticket_becomes_visible_again(call: str) -> None:
    world = World()
    job = world.submit().job
    store = meanwhile(world.store, call, raising(Unavailable("throttled")))
    with pytest.raises(Unavailable):
        world.claim(world.ticket(), store=store)
    assert world.row(job.id) == job
    world.clock.advance(LEASE)
    assert ticketed(world) == [job.id]


def test_a_graph_is_not_used_for_a_later_job_of_the_same_id() -> None:
    job = a_job()
    work = Work(job, {"1": {"class_type": "A", "inputs": {}}}, {})
    claimed = replace(job, attempt=1)
    assert work.of(claimed) == replace(work, job=claimed)
    for later in (replace(job, fingerprint="f" * 64), replace(job, queued_at=now())):
        assert work.of(later) == Work(later)


def test_a_job_that_this_worker_cannot_run_yet_is_not_claimed() -> None:
    world = World()
    job = world.submit().job
    asked: list[JobId] = []

    def may_run(work: Work) -> bool:
        asked.append(work.job.id)
        return False

    terms = Terms(worker_id=random_worker_id(), lease=LEASE)
    ticket = world.ticket()
    options = {"store": world.store, "queue": world.queue, "clock": world.clock}
    assert claim(ticket, terms, **options, may_run=may_run) is None
    assert (asked, world.row(job.id)) == ([job.id], job)
    assert not world.tickets()
    world.clock.advance(timedelta(seconds=NOT_YET_SECONDS))
    assert ticketed(world) == [job.id]

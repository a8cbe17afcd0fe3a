"""A ticket from the dead-letter queue: the job's state decides whether a new one is sent."""

from __future__ import annotations

from datetime import timedelta

import pytest

from comfyline.contract.ids import JobId
from comfyline.service.errors import Unavailable
from comfyline.service.jobs.decide import MAX_FAILURES
from comfyline.service.jobs.due import LEASE_GRACE
from comfyline.service.jobs.finish import Succeed
from comfyline.service.jobs.job import Status
from comfyline.service.jobs.redrive import send_again
from comfyline.service.jobs.store import JobStore
from comfyline.service.queue.tickets import JobQueue
from tests.support.builders import LEASE
from tests.support.crashes import Process, every_crash
from tests.support.invariants import Chronicle, check_ticketed
from tests.support.ports import meanwhile, raising
from tests.support.world import DEFAULTS, World


def redriven(
    world: World, job_id: JobId, store: JobStore | None = None, queue: JobQueue | None = None
) -> bool:
    return send_again(
        job_id, store=store or world.store, queue=queue or world.queue, clock=world.clock
    )


def ticketed(world: World) -> list[JobId]:
    return [ticket.job_id for ticket in world.tickets()]


def a_job_without_ticket(world: World) -> JobId:
    job = world.submit().job
    world.queue.delete(world.ticket())
    return job.id


def test_a_waiting_job_gets_a_new_ticket() -> None:
    world = World()
    job_id = a_job_without_ticket(world)
    assert redriven(world, job_id)
    assert ticketed(world) == [job_id]


def test_a_held_job_keeps_its_worker_and_gets_a_ticket() -> None:
    world = World()
    world.submit()
    job, ticket = world.started()
    world.queue.delete(ticket)
    assert redriven(world, job.id)
    assert world.row(job.id).lease == job.lease
    assert ticketed(world) == [job.id]


def test_an_expired_lease_is_recorded_first() -> None:
    world = World()
    world.submit()
    job, _ = world.started()
    world.clock.advance(LEASE + LEASE_GRACE)
    assert redriven(world, job.id)
    row = world.row(job.id)
    assert (row.status, row.failures, row.lease) == (Status.QUEUED, 1, None)


def test_a_job_without_a_remaining_attempt_ends() -> None:
    world = World()
    job_id = world.submit().job.id
    for _ in range(MAX_FAILURES):
        world.started()
        world.clock.advance(LEASE + timedelta(seconds=1))
    world.tickets()
    assert not redriven(world, job_id)
    row = world.row(job_id)
    assert (row.status, row.error and row.error.type) == (Status.FAILED, "worker_lost")
    assert ticketed(world) == []


def test_a_job_past_its_start_deadline_expires() -> None:
    world = World()
    job_id = a_job_without_ticket(world)
    world.clock.advance(DEFAULTS.start_deadline)
    assert not redriven(world, job_id)
    assert world.row(job_id).status is Status.EXPIRED


def test_an_ended_or_missing_job_gets_no_ticket() -> None:
    world = World()
    world.submit()
    job = world.succeeded()
    assert not redriven(world, job.id)
    assert not redriven(world, JobId("unknown"))
    assert world.row(job.id) == job
    assert ticketed(world) == []


def test_a_job_that_ends_meanwhile_gets_no_ticket() -> None:
    world = World()
    world.submit()
    job, ticket = world.started()

    def succeed() -> None:
        world.finisher().end(job, ticket, Succeed(cached=False, nodes_cached=0), gpu_seconds=1.0)

    assert not redriven(world, job.id, store=meanwhile(world.store, "save", succeed))
    assert ticketed(world) == []


def test_an_unavailable_queue_is_reported() -> None:
    world = World()
    job_id = a_job_without_ticket(world)
    queue = meanwhile(world.queue, "send", raising(Unavailable("throttled")))
    with pytest.raises(Unavailable):
        redriven(world, job_id, queue=queue)


def test_after_a_crash_at_any_call_the_dead_ticket_is_handled_again() -> None:
    chronicle = Chronicle()
    world, job_id = World(), JobId("")

    def run(process: Process) -> None:
        nonlocal world, job_id
        world = World()
        job_id = a_job_without_ticket(world)
        redriven(world, job_id, process.using(world.store), process.using(world.queue))

    crashes = 0
    for _ in every_crash(run):
        crashes += 1
        assert redriven(world, job_id)
        check_ticketed(chronicle.see(world.row(job_id)), ticketed(world))
    assert crashes == 6  # before and after each of: read, write, send

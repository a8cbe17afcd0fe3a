"""A ticket from the dead-letter queue: the job's state decides whether a new one is sent."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from comfyline.adapters.memory.queue import InMemoryDeadLetters
from comfyline.contract.ids import JobId
from comfyline.service.errors import Unavailable
from comfyline.service.jobs.decide import MAX_FAILURES
from comfyline.service.jobs.due import LEASE_GRACE
from comfyline.service.jobs.finish import Succeed
from comfyline.service.jobs.job import Status
from comfyline.service.jobs.redrive import (
    OF_NO_LIVE_JOB,
    OUT_OF_REACH,
    SENT_AGAIN,
    redrive,
    send_again,
)
from comfyline.service.jobs.store import JobStore
from comfyline.service.queue.tickets import JobQueue
from tests.support.builders import LEASE
from tests.support.crashes import Process, every_crash
from tests.support.invariants import Chronicle, check_ticketed
from tests.support.ports import meanwhile, raising, wrapped
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


class TestRedrive:
    """The whole queue, or a part of it."""

    def letters(self, world: World, count: int) -> tuple[InMemoryDeadLetters, list[JobId]]:
        letters = InMemoryDeadLetters(world.clock)
        ids = [a_job_without_ticket(world) for _ in range(count)]
        for job_id in ids:
            letters.add(job_id)
        return letters, ids

    def redriven(self, world: World, letters: InMemoryDeadLetters, **options: Any) -> Counter[str]:
        options = {"store": world.store, **options}
        return redrive(dead=letters, queue=world.queue, clock=world.clock, **options)

    def test_every_ticket_is_handled(self) -> None:
        world = World()
        letters, _ids = self.letters(world, 23)
        letters.add(None)
        assert self.redriven(world, letters) == {SENT_AGAIN: 23, OF_NO_LIVE_JOB: 1}
        assert letters.peek(100) == []

    def test_a_call_handles_no_more_than_its_limit(self) -> None:
        world = World()
        letters, _ = self.letters(world, 25)
        assert self.redriven(world, letters, limit=12).total() == 12
        assert self.redriven(world, letters, limit=50).total() == 13

    def test_a_ticket_out_of_reach_stays_and_stops_no_other(self) -> None:
        world = World()
        letters, ids = self.letters(world, 3)

        def throttled(_name: str, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
            if args == (ids[0],):
                raise Unavailable("throttled")
            return call(*args, **kwargs)

        store = wrapped(world.store, throttled)
        done = self.redriven(world, letters, store=store)
        assert done == {SENT_AGAIN: 2, OUT_OF_REACH: 1}
        world.clock.advance(timedelta(minutes=3))
        assert [letter.job_id for letter in letters.peek(10)] == ids[:1]

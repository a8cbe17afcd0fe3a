"""A worker was suspended while its job was removed and its Idempotency-Key was used again."""

from __future__ import annotations

from datetime import timedelta

import pytest

from comfyline.service.errors import JobNotFound
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.progress import Progress
from comfyline.service.jobs.report import report_progress, report_started
from comfyline.service.queue.tickets import Ticket
from tests.support.builders import LEASE, an_artifact
from tests.support.world import World
from tests.unit.jobs.endings import (
    End,
    every_ending,
    request_cancel,
    succeed,
)


def used_again(world: World) -> tuple[Job, Ticket]:
    """An attempt of a job that was canceled, swept, purged and then posted again with its key."""
    world.submit(key="once")
    suspended, ticket = world.started()
    request_cancel(world, suspended)
    world.clock.advance(LEASE + timedelta(seconds=2))
    world.sweep()
    world.purge(suspended.id)
    world.submit(key="once")
    return suspended, ticket


class TestKeyUsedAgain:
    """The job was removed while its worker was suspended, and its key was used for a new job."""

    @every_ending
    def test_the_resumed_worker_writes_nothing(self, end: End) -> None:
        world = World()
        suspended, ticket = used_again(world)
        _, theirs = world.tickets()
        taken = world.claim(theirs)
        assert taken is not None
        working = report_started(taken, store=world.store, clock=world.clock)
        assert (working.id, working.attempt) == (suspended.id, suspended.attempt)
        with pytest.raises(JobNotFound):
            end(world.finisher(), suspended, ticket)
        with pytest.raises(JobNotFound):
            report_progress(suspended, Progress(fraction=0.5), store=world.store, clock=world.clock)
        assert world.row(suspended.id) == working
        succeed(world.finisher(), working, theirs)
        assert [a.key for a in world.record(suspended.id).artifacts] == [an_artifact(working).key]

    def test_the_old_ticket_works_for_the_new_job(self) -> None:
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

"""A cap counts the jobs that have not ended, from the very moment at which a job ends."""

from __future__ import annotations

from datetime import timedelta

import pytest

from comfyline.adapters.memory.jobs import InMemoryJobStore
from comfyline.service.access.slots import Limits
from comfyline.service.errors import TooManyJobs, Unavailable
from comfyline.service.intake.admit import OLDEST_SLOTS, Admission
from comfyline.service.intake.submit import Accepted
from comfyline.service.jobs.cancel import cancel
from comfyline.service.jobs.change import Change
from comfyline.service.jobs.job import Job
from tests.support.builders import a_job, an_owner, succeeded
from tests.support.world import World, meanwhile, raising

ONE_JOB = Limits(max_active_jobs=1)
TIMES = 1000


class Impatient(World):
    """A client that posts its next job at the very moment at which the end of the last is stored.

    That is before the worker frees the slot, and long before settle_jobs does.
    """

    def __init__(self, jobs: int) -> None:
        super().__init__()
        self.left, self.ended = jobs, list[Job]()
        self.store = InMemoryJobStore(on_change=self.changed)

    def changed(self, change: Change) -> None:
        if change.ends_the_job:
            self.ended.append(change.after)
            if self.left:
                self.post()

    def post(self) -> Accepted:
        self.left -= 1
        return self.submit({"prompt": f"fox {self.left}"}, limits=ONE_JOB)


def test_a_cap_of_one_never_refuses_the_post_at_the_moment_of_done() -> None:
    world = Impatient(TIMES)
    world.post()
    for _ in range(TIMES):
        world.clock.advance(timedelta(milliseconds=1))
        world.succeeded()
    assert (len(world.ended), world.left) == (TIMES, 0)


def test_nor_does_it_with_settle_jobs_an_hour_behind() -> None:
    world = Impatient(TIMES)
    world.post()
    for n in range(TIMES):
        world.clock.advance(timedelta(seconds=10))
        world.succeeded()
        if n >= 360:  # the end of an hour ago
            assert world.settlement().settle([world.ended[n - 360]]) == []
    assert (len(world.ended), world.left) == (TIMES, 0)
    assert world.ledger.usage(world.owner).jobs == TIMES - 360


def test_nor_if_the_worker_cannot_free_the_slot() -> None:
    world = Impatient(3)
    world.owners = meanwhile(
        world.owners, "free_slot", raising(Unavailable("throttled")), times=10**6
    )
    world.post()
    for _ in range(3):
        world.clock.advance(1)
        assert world.succeeded().status == "succeeded"
    assert len(world.ended) == 3


def test_a_canceled_job_frees_its_slot_at_once() -> None:
    world = World()
    job = world.submit(limits=ONE_JOB).job
    free_slot = world.admission().free_slot
    cancel(job.id, world.owner, store=world.store, clock=world.clock, free_slot=free_slot)
    assert list(world.owners.slots(0)) == []


def test_a_job_that_has_not_ended_is_counted() -> None:
    world = World()
    world.submit(limits=ONE_JOB)
    with pytest.raises(TooManyJobs):
        world.submit({"prompt": "another"}, limits=ONE_JOB)


def test_a_refused_post_looks_at_the_oldest_slots_only() -> None:
    world, owner, limits = World(), an_owner(), Limits(max_active_jobs=OLDEST_SLOTS + 10)
    jobs = [a_job(owner=owner, has_slot=True) for _ in range(OLDEST_SLOTS + 10)]
    for job in jobs:
        world.clock.advance(1)
        world.owners.take_slot(owner, job.id, limits, world.clock())
    for job in jobs[:-1]:
        world.store.add(job)
    young = jobs[-1]
    world.clock.advance(1)
    world.store.add(succeeded(young, now=world.clock()))
    admission = Admission(owners=world.owners, jobs=world.store, clock=world.clock)
    with pytest.raises(TooManyJobs):
        admission.take(owner, a_job().id, limits)
    assert admission.reconcile() == 1  # the sweeper looks at all of them, once a minute
    assert admission.take(owner, a_job().id, limits) is not None

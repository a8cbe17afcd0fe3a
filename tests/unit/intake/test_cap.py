"""A cap counts the jobs that have not ended, from the very moment at which a job ends."""

from __future__ import annotations

from datetime import timedelta

import pytest

from comfyline.service.access.slots import Limits
from comfyline.service.errors import TooManyJobs, Unavailable
from comfyline.service.intake.admit import OLDEST_SLOTS, Admission
from comfyline.service.jobs.cancel import cancel
from tests.support.builders import a_job, an_owner, succeeded
from tests.support.impatient import ONE_JOB, ImpatientClient
from tests.support.ports import meanwhile, raising
from tests.support.world import NEVER, World

TIMES = 1000
HOUR = timedelta(hours=1)


def test_a_cap_of_one_never_refuses_the_post_at_the_moment_of_done() -> None:
    ImpatientClient(TIMES).run(timedelta(milliseconds=1))


def test_it_does_not_while_settle_jobs_is_an_hour_behind() -> None:
    client = ImpatientClient(TIMES)
    client.run(timedelta(seconds=10), settled_after=HOUR)
    assert client.ledger.usage(client.owner).jobs == TIMES - 360


def test_it_does_not_while_the_worker_cannot_free_the_slot() -> None:
    client = ImpatientClient(3)
    refused = raising(Unavailable("throttled"))
    client.owners = meanwhile(client.owners, "free_slot", refused, times=10**6)
    client.run(timedelta(seconds=1))


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
    assert admission.reconcile(NEVER) == 1  # the sweeper looks at all of them, once a minute
    assert admission.take(owner, a_job().id, limits) is not None

"""A cap counts the jobs that have not ended, from the very moment at which a job ends."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from comfyline.service.access.slots import Limits, Slot
from comfyline.service.errors import TooManyJobs, TooManyRequests, Unavailable
from comfyline.service.intake.admit import OLDEST_SLOTS, SLOT_GRACE, Admission, slot_of
from comfyline.service.jobs.cancel import cancel
from comfyline.service.jobs.finish import Finisher
from comfyline.service.jobs.job import Job
from tests.support.builders import a_job, an_owner, succeeded
from tests.support.impatient import ONE_JOB, ImpatientClient
from tests.support.ports import meanwhile, raising
from tests.support.world import NEVER, World

TIMES = 1000


class WithThrottledWorkers(ImpatientClient):
    """No worker can free a slot."""

    def finisher(self, *ports: Any) -> Finisher:
        refused = raising(Unavailable("throttled"))
        return replace(super().finisher(*ports), free_slot=lambda _job: refused())


HOUR = timedelta(hours=1)


def test_a_cap_of_one_never_refuses_the_post_at_the_moment_of_done() -> None:
    ImpatientClient(TIMES).run(timedelta(milliseconds=1))


def test_it_does_not_while_settle_jobs_is_an_hour_behind() -> None:
    client = ImpatientClient(TIMES)
    client.run(timedelta(seconds=10), settled_after=HOUR)
    assert client.ledger.usage(client.owner).jobs == TIMES - 360


def test_it_does_not_while_the_worker_cannot_free_the_slot() -> None:
    WithThrottledWorkers(3).run(timedelta(seconds=1))


class TestOtherProcessesMeanwhile:
    """A post at the cap is not refused for a slot that becomes free while it looks."""

    LIMITS = Limits(max_active_jobs=2)

    def at_the_cap(self, *, ended: int) -> tuple[World, Job, Job]:
        world = World()
        first, second = (a_job(owner=world.owner, has_slot=True) for _ in range(2))
        for n, job in enumerate((first, second)):
            world.store.add(succeeded(job) if n < ended else job)
            world.owners.take_slot(world.owner, slot_of(job), self.LIMITS, world.clock())
        return world, first, second

    def test_the_slots_are_freed_between_its_two_looks(self) -> None:
        world, *jobs = self.at_the_cap(ended=2)
        free = partial(world.admission().free_slots, jobs)
        owners = meanwhile(world.owners, "oldest_slots", free)
        assert world.submit(limits=self.LIMITS, owners=owners)

    def test_the_post_after_another_end_takes_the_slot_that_it_has_freed(self) -> None:
        world, first, second = self.at_the_cap(ended=1)

        def another_end() -> None:
            if not any(slot == slot_of(first) for _, slot in world.owners.slots(0)):
                world.store.save(second, succeeded(second))
                world.submit(limits=self.LIMITS)

        owners = meanwhile(world.owners, "take_slot", another_end, times=2)
        assert world.submit(limits=self.LIMITS, owners=owners)


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
    times = (world.clock() + timedelta(seconds=n) for n in range(OLDEST_SLOTS + 10))
    jobs = [a_job(owner=owner, has_slot=True, queued_at=at) for at in times]
    world.clock.advance(OLDEST_SLOTS + 10)
    for job in jobs:
        world.owners.take_slot(owner, slot_of(job), limits, world.clock())
    for job in jobs[:-1]:
        world.store.add(job)
    young = jobs[-1]
    world.clock.advance(1)
    world.store.add(succeeded(young, now=world.clock()))
    admission = Admission(owners=world.owners, jobs=world.store, clock=world.clock)
    with pytest.raises(TooManyJobs):
        admission.take(a_job(owner=owner), limits)
    world.clock.advance(SLOT_GRACE)
    assert admission.reconcile(NEVER) == 1  # the sweeper looks at every slot in its first minutes
    assert admission.take(a_job(owner=owner), limits) is not None


class TestTwoPostsOfOneJob:
    """Both take a slot, unless the cap is reached: then the second takes over the first one's."""

    def test_a_retry_at_the_cap_takes_over_the_slot_of_a_post_that_died(self) -> None:
        world = World()
        died, retry = a_job(owner=world.owner), a_job(owner=world.owner)
        retry = replace(retry, id=died.id, queued_at=died.queued_at + timedelta(seconds=1))
        admission = world.admission()
        admission.take(died, ONE_JOB)
        assert admission.take(retry, ONE_JOB) == slot_of(retry)
        assert world.owners.oldest_slots(world.owner, 5) == [slot_of(retry)]

    def test_whichever_puts_the_job_has_one_slot(self) -> None:
        world = World()
        slow = a_job(owner=world.owner, has_slot=True)
        fast = replace(slow, queued_at=slow.queued_at + timedelta(seconds=1))
        for first, second in ((slow, fast), (fast, slow)):
            admission, limits = world.admission(), Limits(max_active_jobs=1)
            slots = [admission.take(slow, limits), admission.take(fast, limits)]
            loser = slots[0] if first is fast else slots[1]
            admission.hand_over(loser, first)
            assert world.owners.oldest_slots(world.owner, 5) == [slot_of(first)]
            assert second != first
            world.owners.free_slot(world.owner, slot_of(first))

    def test_a_post_that_found_an_ended_job_leaves_no_slot(self) -> None:
        world = World()
        ended = succeeded(a_job(owner=world.owner, has_slot=True))
        replay = replace(ended, queued_at=ended.queued_at + timedelta(seconds=1))
        admission = world.admission()
        admission.hand_over(admission.take(replay, ONE_JOB), ended)
        assert world.owners.oldest_slots(world.owner, 5) == []

    def test_the_slot_of_a_post_that_died_after_it_lost_is_dropped_later(self) -> None:
        world = World()
        job = world.submit(key="once", limits=Limits(max_active_jobs=3)).job
        dead = Slot(job.id, job.queued_at - timedelta(seconds=1))
        world.owners.take_slot(world.owner, dead, Limits(max_active_jobs=3), world.clock())
        world.clock.advance(SLOT_GRACE)
        world.admission().reconcile(NEVER)
        assert world.owners.oldest_slots(world.owner, 5) == [slot_of(job)]


def test_a_slot_that_stays_behind_is_found_within_the_hour() -> None:
    """Even if the sweeper has missed its first minutes."""
    world = World()
    left = Slot(a_job().id, world.clock())
    world.owners.take_slot(world.owner, left, ONE_JOB, world.clock())
    world.clock.advance(timedelta(hours=5))
    dropped = 0
    for _ in range(60):
        world.clock.advance(timedelta(minutes=1))
        dropped += world.admission().reconcile(NEVER)
    assert dropped == 1


def test_a_round_without_time_drops_nothing() -> None:
    world = World()
    world.owners.take_slot(world.owner, Slot(a_job().id, world.clock()), ONE_JOB, world.clock())
    world.clock.advance(2 * SLOT_GRACE)
    assert world.admission().reconcile(world.clock()) == 0
    assert world.admission().reconcile(NEVER) == 1


def test_a_replay_takes_no_slot() -> None:
    """Otherwise a client that repeats a post would keep others out for a moment."""
    world, limits = World(), Limits(max_active_jobs=2)
    world.submit(key="first", limits=limits)
    world.clock.advance(1)
    full = world.admission()
    assert full.take(a_job(owner=world.owner), limits) is not None
    assert world.submit(key="first", limits=limits).replayed  # although the cap is reached
    assert len(world.owners.slots(0)) == 2


def test_a_replay_counts_towards_the_rate() -> None:
    world, limits = World(), Limits(max_active_jobs=5, jobs_per_minute=2)
    for _ in range(2):
        world.submit(key="first", limits=limits)
    with pytest.raises(TooManyRequests):
        world.submit(key="second", limits=limits)


def test_the_slot_of_a_replay_that_died_makes_room_for_another_post() -> None:
    world, limits = World(), Limits(max_active_jobs=2)
    job = world.submit(key="first", limits=limits).job
    dead = Slot(job.id, job.queued_at + timedelta(seconds=1))
    world.owners.take_slot(world.owner, dead, limits, world.clock())
    world.clock.advance(2 * SLOT_GRACE)
    assert not world.submit(key="second", limits=limits).replayed

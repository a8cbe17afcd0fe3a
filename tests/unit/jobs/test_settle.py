"""Settlement after crashes and with duplicate, late and reordered deliveries.

Each end is counted once, its slot is freed, and no job is removed before that.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from comfyline.adapters.memory.ledger import InMemoryLedger
from comfyline.service.errors import Unavailable
from comfyline.service.jobs.due import SETTLE_DELAY
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.settle import MAX_TRIES, ParkedStep, Settlement
from comfyline.service.ledger.store import Usage
from tests.support.crashes import Process, every_crash
from tests.support.invariants import Chronicle
from tests.support.ports import meanwhile, raising
from tests.support.world import DEFAULTS, World
from tests.unit.jobs.settling import SECOND, SettlingWorld, with_broken

# --- the steps ------------------------------------------------------------------------------------


def test_a_job_is_settled_once_all_its_steps_are_done() -> None:
    world = SettlingWorld()
    job = world.ended()
    assert (world.slots(), job.settle_pending) == (1, True)
    assert world.settlement().settle([job]) == []
    assert world.is_settled(job)
    assert world.row(job.id) == replace(job, settle_pending=False, due_at=None)


@pytest.mark.parametrize("broken", ["free_slot", "count"])
@pytest.mark.parametrize("error", [Unavailable("throttled"), RuntimeError("a bug")])
def test_a_failing_step_does_not_stop_the_others(broken: str, error: Exception) -> None:
    world = SettlingWorld()
    job = world.ended()
    settlement = with_broken(world.settlement(), broken, error)
    assert settlement.settle([job]) == [ParkedStep(broken, job.id, job.incarnation)]
    assert world.row(job.id) == job
    done = (world.slots() == 0, world.ledger.usage(world.owner).jobs == 1)
    assert done == (broken != "free_slot", broken != "count")


def test_a_step_that_fails_once_is_retried() -> None:
    world = SettlingWorld()
    job = world.ended()
    ledger = meanwhile(
        world.ledger, "count", raising(Unavailable("throttled")), times=MAX_TRIES - 1
    )
    assert world.settlement(ledger=ledger).settle([job]) == []
    assert world.is_settled(job)


def test_a_job_whose_step_fails_does_not_stop_the_others() -> None:
    world = SettlingWorld()
    jobs = []
    for n in range(3):
        world.submit({"prompt": f"fox {n}"})
        jobs.append(world.succeeded())

    class Poisoned(InMemoryLedger):
        def count(self, ended: Sequence[Job]) -> list[Job]:
            if jobs[1].id in {job.id for job in ended}:
                raise RuntimeError("a bug")
            return world.ledger.count(ended)

    failed = world.settlement(ledger=Poisoned()).settle(jobs)
    assert [parked.job_id for parked in failed] == [jobs[1].id]
    assert [world.row(job.id).is_settled for job in jobs] == [True, False, True]
    assert world.ledger.usage(world.owner).jobs == 2


def test_a_parked_step_settles_its_job() -> None:
    world = SettlingWorld()
    job = world.ended()
    unavailable = with_broken(world.settlement(), "count", Unavailable("throttled"))
    (parked,) = unavailable.settle([job])
    with pytest.raises(Unavailable):
        unavailable.settle_parked(parked)
    world.settlement().settle_parked(parked)
    assert world.is_settled(job)
    world.settlement().settle_parked(parked)  # SQS may deliver it again
    assert world.is_settled(job)


def test_a_parked_step_does_not_touch_a_later_job_of_the_same_id() -> None:
    world = SettlingWorld()
    job = world.ended()
    parked = ParkedStep("count", job.id, job.incarnation)
    world.store.delete(world.settlement().complete(job))
    world.settlement().settle_parked(parked)
    again = replace(job, queued_at=job.queued_at + SECOND)
    world.store.add(again)
    world.settlement().settle_parked(parked)
    assert world.row(job.id) == again
    assert world.ledger.usage(world.owner).jobs == 1


def test_a_job_that_older_code_has_ended_is_counted_too() -> None:
    """During a deployment, a worker of the old release ends jobs without the mark."""
    world = SettlingWorld()
    job = world.ended()
    old = replace(job, settle_pending=False, due_at=None)
    world.store.save(job, old)
    assert world.settlement().settle([old]) == []
    assert world.is_settled(job)
    assert world.row(job.id) == old


# --- crashes, duplicates, late and reordered deliveries -------------------------------------------


def settle_in(world: SettlingWorld, job: Job, process: Process) -> None:
    world.settlement(
        store=process.using(world.store),
        owners=process.using(world.owners),
        ledger=process.using(world.ledger),
    ).settle([job])


@pytest.mark.parametrize("repair", ["delivered again", "parked", "swept"])
def test_after_a_crash_of_settle_jobs_at_any_call_the_job_is_settled_later(repair: str) -> None:
    worlds: list[tuple[SettlingWorld, Job]] = []

    def run(process: Process) -> None:
        world = SettlingWorld()
        worlds.append((world, world.ended()))
        settle_in(*worlds[-1], process)

    crashes = 0
    for _ in every_crash(run):
        crashes += 1
        world, job = worlds[-1]
        seen = Chronicle()
        seen.see(world.row(job.id))
        if repair == "delivered again":
            world.settlement().settle([job])
        elif repair == "parked":
            world.settlement().settle_parked(ParkedStep("count", job.id, job.incarnation))
        else:
            world.clock.advance(SETTLE_DELAY)
            world.sweep()
        seen.see(world.row(job.id))
        assert world.is_settled(job)
    assert crashes == 2 * 3  # before and after each of: free the slot, count, write the note


@pytest.mark.parametrize("seed", range(20))
def test_ends_delivered_in_any_order_and_number_are_counted_once(seed: int) -> None:
    chance = random.Random(seed)
    world = World()
    jobs = []
    for n in range(5):
        world.submit({"prompt": f"fox {n}"})
        jobs.append(world.succeeded())
    deliveries = [chance.choices(jobs, k=chance.randint(1, 5)) for _ in range(10)]
    for batch in [*deliveries, jobs]:
        if chance.random() < 0.3:
            world.clock.advance(SETTLE_DELAY)
            world.sweep()
        assert world.settlement().settle(batch) == []
    assert world.ledger.usage(world.owner) == Usage(1.5 * 5, 5)
    assert all(world.row(job.id).is_settled for job in jobs)


def test_a_post_that_replaces_an_expired_record_settles_it_first() -> None:
    world = World()
    world.submit(key="once")
    old = world.succeeded()
    world.clock.advance(DEFAULTS.retention)
    accepted = world.submit(key="once")
    assert not accepted.replayed
    assert accepted.job.id == old.id
    assert world.ledger.usage(world.owner) == Usage(1.5, 1)


# --- two settlements at once ----------------------------------------------------------------------


def test_a_second_settlement_may_run_between_any_two_calls() -> None:
    for port, method in itertools.product(("store", "owners", "ledger"), SETTLING):
        world = SettlingWorld()
        job = world.ended()
        other = world.settlement()

        def settle_meanwhile(job: Job = job, other: Settlement = other) -> None:
            other.settle([job])

        ports: dict[str, Any] = {port: meanwhile(getattr(world, port), method, settle_meanwhile)}
        assert world.settlement(**ports).settle([job]) == []
        assert world.is_settled(job)


SETTLING = ("save", "free_slot", "count")

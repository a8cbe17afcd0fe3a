"""Settlement after crashes and with duplicate, late and reordered deliveries.

Each end is counted once, its slot is freed, and no job is removed before that.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from comfyline.adapters.memory.ledger import InMemoryLedger
from comfyline.service.access.slots import Limits
from comfyline.service.errors import Unavailable
from comfyline.service.jobs.cancel import cancel
from comfyline.service.jobs.due import SETTLE_DELAY
from comfyline.service.jobs.finish import Succeed
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.settle import MAX_TRIES, ParkedStep, Settlement, Step
from comfyline.service.jobs.sweep import SETTLE_PATIENCE
from comfyline.service.ledger.store import Usage
from tests.support.crashes import Process, every_crash
from tests.support.invariants import Chronicle
from tests.support.world import DEFAULTS, World, meanwhile, raising

ONE_JOB = Limits(max_active_jobs=1)
SECOND = timedelta(seconds=1)


class Town(World):
    """A service whose owner may have one job at a time."""

    def ended(self) -> Job:
        """A job that a worker has ended and that nothing has settled yet; its slot is taken."""
        self.submit(limits=ONE_JOB)
        job, ticket = self.started()
        finisher = replace(self.finisher(), free_slot=lambda _job: None)
        return finisher.end(job, ticket, Succeed(cached=False), gpu_seconds=1.5)

    def slots(self) -> int:
        return sum(len(slots) for _, slots in self.owners.slots(0))

    def is_settled(self, job: Job, *, jobs: int = 1) -> bool:
        row = self.row(job.id)
        usage = self.ledger.usage(self.owner)
        assert usage in (Usage(), Usage(1.5 * jobs, jobs)), "an end was counted twice"
        return row.is_settled and usage.jobs == jobs and self.slots() == 0


def names(failed: Sequence[ParkedStep]) -> list[str]:
    return [parked.step for parked in failed]


# --- the steps ------------------------------------------------------------------------------------


def test_a_job_is_settled_once_all_its_steps_are_done() -> None:
    world = Town()
    job = world.ended()
    assert (world.slots(), job.settle_pending) == (1, True)
    assert world.settlement().settle([job]) == []
    assert world.is_settled(job)
    assert world.row(job.id) == replace(job, settle_pending=False, due_at=job.expires_at)


@pytest.mark.parametrize("broken", ["free_slot", "count"])
@pytest.mark.parametrize("error", [Unavailable("throttled"), RuntimeError("a bug")])
def test_a_step_that_fails_stops_no_other(broken: str, error: Exception) -> None:
    world = Town()
    job = world.ended()
    settlement = with_broken(world.settlement(), broken, error)
    assert settlement.settle([job]) == [ParkedStep(broken, job.id, job.incarnation)]
    assert world.row(job.id) == job
    done = (world.slots() == 0, world.ledger.usage(world.owner).jobs == 1)
    assert done == (broken != "free_slot", broken != "count")


def with_broken(settlement: Settlement, name: str, error: Exception) -> Settlement:
    def fail(_jobs: Sequence[Job]) -> None:
        raise error

    steps = [Step(s.name, fail) if s.name == name else s for s in settlement.steps]
    return replace(settlement, steps=steps)


def test_a_step_that_fails_once_is_tried_again() -> None:
    world = Town()
    job = world.ended()
    ledger = meanwhile(
        world.ledger, "count", raising(Unavailable("throttled")), times=MAX_TRIES - 1
    )
    assert world.settlement(ledger=ledger).settle([job]) == []
    assert world.is_settled(job)


def test_a_job_with_a_fault_of_its_own_stops_no_other() -> None:
    world = Town()
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
    world = Town()
    job = world.ended()
    unavailable = with_broken(world.settlement(), "count", Unavailable("throttled"))
    (parked,) = unavailable.settle([job])
    with pytest.raises(Unavailable):
        unavailable.settle_parked(parked)
    world.settlement().settle_parked(parked)
    assert world.is_settled(job)
    world.settlement().settle_parked(parked)  # SQS may deliver it again
    assert world.is_settled(job)


def test_a_parked_step_is_not_for_a_later_job_of_the_same_id() -> None:
    world = Town()
    job = world.ended()
    parked = ParkedStep("count", job.id, job.incarnation)
    world.store.delete(world.settlement().complete(job))
    world.settlement().settle_parked(parked)
    again = replace(job, queued_at=job.queued_at + SECOND)
    world.store.add(again)
    world.settlement().settle_parked(parked)
    assert world.row(job.id) == again
    assert world.ledger.usage(world.owner).jobs == 1


def test_a_job_whose_end_older_code_has_written_is_counted_too() -> None:
    """During a deployment, a worker of the old release ends jobs without the mark."""
    world = Town()
    job = world.ended()
    old = replace(job, settle_pending=False, due_at=job.expires_at)
    world.store.save(job, old)
    assert world.settlement().settle([old]) == []
    assert world.is_settled(job)
    assert world.row(job.id) == old


# --- crashes, duplicates, late and reordered deliveries -------------------------------------------


def settle_dying(world: Town, job: Job, process: Process) -> None:
    world.settlement(
        store=process.using(world.store),
        owners=process.using(world.owners),
        ledger=process.using(world.ledger),
    ).settle([job])


@pytest.mark.parametrize("repair", ["delivered again", "parked", "swept"])
def test_wherever_settle_jobs_dies_the_job_is_settled_in_the_end(repair: str) -> None:
    worlds: list[tuple[Town, Job]] = []

    def run(process: Process) -> None:
        world = Town()
        worlds.append((world, world.ended()))
        settle_dying(*worlds[-1], process)

    died = 0
    for _ in every_crash(run):
        died += 1
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
    assert died == 2 * 3  # free the slot, count, note; before and after each


def test_wherever_the_sweeper_dies_the_next_one_settles_the_job() -> None:
    worlds: list[tuple[Town, Job]] = []

    def run(process: Process) -> None:
        world = Town()
        worlds.append((world, world.ended()))
        world.clock.advance(SETTLE_DELAY)
        settlement = world.settlement(
            store=process.using(world.store),
            owners=process.using(world.owners),
            ledger=process.using(world.ledger),
        )
        world.sweep(store=process.using(world.store), settlement=settlement)

    for _ in every_crash(run):
        world, job = worlds[-1]
        world.sweep()
        assert world.is_settled(job)


@pytest.mark.parametrize("seed", range(20))
def test_ends_in_any_order_and_number_are_counted_once(seed: int) -> None:
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


def test_a_delivery_after_the_removal_changes_nothing() -> None:
    world = Town()
    job = world.ended()
    world.settle(job.id)
    world.clock.advance(DEFAULTS.retention)
    assert world.sweep() == {"Removed": 1}
    assert world.settlement().settle([job]) == []
    assert world.store.get(job.id) is None
    assert world.ledger.usage(world.owner) == Usage(1.5, 1)


# --- the sweeper ----------------------------------------------------------------------------------


def test_the_sweeper_settles_what_settle_jobs_has_missed() -> None:
    world = Town()
    job = world.ended()
    world.clock.advance(SETTLE_PATIENCE)
    assert world.sweep() == {"Settled": 1}
    assert world.is_settled(job)
    assert world.sweep() == {}


def test_the_sweeper_leaves_a_young_end_to_settle_jobs() -> None:
    world = Town()
    world.submit()
    job, ticket = world.started()
    world.clock.advance(DEFAULTS.execution_timeout)
    world.store.renew(job, world.clock() + SECOND)
    job = world.finisher().end(job, ticket, Succeed(cached=False))
    assert job.due_at is not None
    assert job.due_at <= world.clock()
    assert world.sweep() == {}
    assert world.row(job.id) == job


def test_what_the_sweeper_cannot_settle_is_tried_once_an_hour_and_stops_nothing_else() -> None:
    world = Town()
    bad = world.ended()
    world.clock.advance(SETTLE_DELAY)
    broken = with_broken(world.settlement(), "count", RuntimeError("a bug"))
    assert world.sweep(settlement=broken) == {"SettlementFailed": 1}
    lost = world.submit({"prompt": "another"}).job
    world.tickets()
    world.clock.advance(timedelta(minutes=1))
    assert world.sweep(settlement=broken) == {"TicketResent": 1}
    assert world.row(lost.id).ticket_sends == 1
    world.clock.advance(SETTLE_DELAY - timedelta(minutes=1))
    cancel(lost.id, world.owner, store=world.store, clock=world.clock)
    assert world.sweep()["Settled"] == 1
    assert world.is_settled(bad)


def test_a_job_is_not_removed_before_it_is_counted() -> None:
    world = Town()
    job = world.ended()
    broken = with_broken(world.settlement(), "count", Unavailable("throttled"))
    for _ in range(3):
        world.clock.advance(DEFAULTS.retention)
        assert world.sweep(settlement=broken) == {"SettlementFailed": 1}
    assert world.row(job.id).settle_pending
    world.clock.advance(SETTLE_DELAY)
    assert world.sweep() == {"Settled": 1, "Removed": 1}
    assert world.ledger.usage(world.owner) == Usage(1.5, 1)


def test_a_post_that_takes_over_an_expired_record_settles_it_first() -> None:
    world = World()
    world.submit(key="once")
    old = world.succeeded()
    world.clock.advance(DEFAULTS.retention)
    accepted = world.submit(key="once")
    assert not accepted.replayed
    assert accepted.job.id == old.id
    assert world.ledger.usage(world.owner) == Usage(1.5, 1)


def test_jobs_that_ended_before_jobs_were_settled_are_removed_as_before() -> None:
    world = Town()
    job = world.ended()
    world.store.save(job, replace(job, settle_pending=False, due_at=job.expires_at))
    world.clock.advance(DEFAULTS.retention)
    assert world.sweep() == {"Removed": 1}
    assert world.ledger.usage(world.owner) == Usage()


# --- two settlers at once -------------------------------------------------------------------------


def test_a_second_settler_may_come_between_any_two_calls() -> None:
    for port, method in itertools.product(("store", "owners", "ledger"), SETTLING):
        world = Town()
        job = world.ended()
        other = world.settlement()

        def settle_meanwhile(job: Job = job, other: Settlement = other) -> None:
            other.settle([job])

        ports: dict[str, Any] = {port: meanwhile(getattr(world, port), method, settle_meanwhile)}
        assert world.settlement(**ports).settle([job]) == []
        assert world.is_settled(job)


SETTLING = ("save", "free_slot", "count")

"""One owner with a cap of 10,000 and 5,000 active jobs posts 150 jobs a second, and ends as many.

On DynamoDB's conflicts: of two transactions on one counter, the later one is canceled.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from comfyline.adapters.aws.access.slots import DynamoOwnerStore
from comfyline.adapters.memory.jobs import InMemoryJobStore
from comfyline.contract.ids import OwnerId
from comfyline.service.access.slots import OWNER_SHARDS, Limits, Refusal, Slot
from comfyline.service.errors import TooManyJobs, Unavailable
from comfyline.service.intake.admit import Admission
from tests.scale.pace import DYNAMODB, Pace, Transactional
from tests.scale.report import Report, Row
from tests.scale.simulation import Simulation
from tests.scale.table import Table
from tests.support.builders import NOW, a_job, an_owner

CAP, ACTIVE, RATE = 10_000, 5_000, 150
LIMITS = Limits(max_active_jobs=CAP)


@pytest.fixture
def dynamodb() -> Table:
    return Table()


class Owner:
    """One owner's slots at AWS's pace, and without it to look at them."""

    def __init__(self, dynamodb: Table, simulation: Simulation) -> None:
        self.simulation, self.name = simulation, an_owner()
        self.pace = Pace(simulation, is_scaled_out=True)
        self.client = Transactional(dynamodb, self.pace)
        self.store = DynamoOwnerStore(self.client, "owners", simulation.sleep)
        self.plain = DynamoOwnerStore(dynamodb, "owners")
        self.simulation = simulation

    def fill(self, slots: int) -> None:
        """Take slots without AWS's pace."""
        limits = Limits(max_active_jobs=slots)
        for n in range(slots):
            slot = Slot(a_job().id, NOW - timedelta(hours=1, seconds=n))
            assert self.plain.take_slot(self.name, slot, limits, NOW) is None

    def take(self, slot: Slot, limits: Limits) -> Refusal | None:
        """Take a slot at AWS's pace."""
        return self.store.take_slot(self.name, slot, limits, self.simulation.clock())

    def patiently(self, call: Callable[[], Any]) -> Any:
        """Repeat a call of which AWS throttles every try, as clients and settlement do."""
        while True:
            try:
                return call()
            except Unavailable:
                self.simulation.sleep(0.5)

    def counted(self) -> int:
        return sum(self.plain._counts(self.name).parts.values())

    def taken(self) -> int:
        shards = (self.plain.slots(shard) for shard in range(OWNER_SHARDS))
        return sum(owner == self.name for shard in shards for owner, _ in shard)


def test_100_slots_a_second_of_one_owner_with_5_000_active_jobs(
    report: Report, dynamodb: Table
) -> None:
    simulation = Simulation()
    owner = Owner(dynamodb, simulation)
    owner.fill(ACTIVE)
    seconds = 10
    took, posted_in, freed = list[float](), list[float](), 0

    def post(n: int) -> None:
        nonlocal freed
        simulation.sleep(n / RATE)
        start, slot = simulation.seconds, Slot(a_job().id, simulation.clock())
        assert owner.patiently(lambda: owner.take(slot, LIMITS)) is None
        took.append(simulation.seconds - start)
        posted_in.append(simulation.seconds)
        simulation.sleep(0.5)
        owner.patiently(lambda: owner.store.free_slot(owner.name, slot))
        freed += 1

    def traffic() -> None:
        for n in range(seconds * RATE):
            simulation.spawn(lambda n=n: post(n))
        while freed < seconds * RATE:
            simulation.sleep(0.1)

    simulation.run(traffic)
    load = f"slots: {RATE}/s taken and freed, cap {CAP}, {ACTIVE} active"
    took.sort()
    report.check(
        Row(load, "slots a second", len(took) / max(posted_in), 100, "/s", True),
        Row(load, "a slot, median", 1000 * took[len(took) // 2], 100, "ms"),
        Row(load, "a slot, p99", 1000 * took[len(took) * 99 // 100], 1000, "ms"),
        Row(load, "canceled transactions", owner.client.conflicts, len(took) / 2, ""),
    )
    assert owner.counted() == ACTIVE
    assert owner.taken() == ACTIVE


@pytest.mark.parametrize("cap", [1, 25, 40])
def test_a_crowd_never_gets_more_than_the_cap(report: Report, dynamodb: Table, cap: int) -> None:
    simulation = Simulation(seed=cap)
    owner = Owner(dynamodb, simulation)
    answers = list[Refusal | None]()
    crowd = 60

    def post() -> None:
        slot = Slot(a_job().id, simulation.clock())
        limits = Limits(max_active_jobs=cap)
        answers.append(owner.patiently(lambda: owner.take(slot, limits)))

    def all_at_once() -> None:
        for _ in range(crowd):
            simulation.spawn(post)
        while len(answers) < crowd:
            simulation.sleep(0.1)

    simulation.run(all_at_once)
    load = f"slots: {crowd} posts at once, cap {cap}"
    report.check(Row(load, "until all are answered", simulation.seconds, 5, "s"))
    assert answers.count(None) == owner.counted() == owner.taken() == min(cap, crowd)


def test_a_refusal_costs_the_same_for_any_cap(report: Report, dynamodb: Table) -> None:
    simulation = Simulation()
    owner = Owner(dynamodb, simulation)
    owner.fill(CAP)
    store = InMemoryJobStore()
    jobs = owner.pace.of(store, DYNAMODB)
    admission = Admission(owners=owner.store, jobs=jobs, clock=simulation.clock)
    now = simulation.clock()
    oldest = owner.plain.oldest_slots(owner.name, 25)
    for slot in oldest:  # their jobs still run
        store.add(a_job(id=slot.job_id, owner=owner.name, queued_at=slot.queued_at, has_slot=True))

    def refused() -> None:
        with pytest.raises(TooManyJobs):
            admission.take(a_job(owner=OwnerId(owner.name), queued_at=now), LIMITS)

    simulation.run(refused)
    load = f"slots: a refusal, cap {CAP}, {CAP} active"
    report.check(Row(load, "calls, with the counters", owner.pace.calls.total(), 3, ""))

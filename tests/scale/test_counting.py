"""settle_jobs is down for an hour, and then 40 of it count everything at once.

The stream delivers some ends twice and late, and the sweeper settles others meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from comfyline.adapters.aws.ledger.table import DynamoLedger
from comfyline.adapters.memory.jobs import InMemoryJobStore
from comfyline.adapters.memory.metrics import InMemoryMetrics
from comfyline.contract.ids import OwnerId
from comfyline.service.jobs.job import Job, JobError, Status
from comfyline.service.jobs.settle import Settlement, Step
from comfyline.service.ledger.count import count
from comfyline.service.ledger.failures import day_of
from comfyline.service.ledger.store import Usage
from comfyline.service.metrics import Metric
from tests.scale.pace import DYNAMODB, Pace, Transactional
from tests.scale.report import Report, Row
from tests.scale.simulation import Simulation
from tests.scale.table import Table
from tests.support.builders import a_job, failed, succeeded

OWNERS = [OwnerId(name) for name in ("fox", "fox", "fox", "whale", "owl")]  # one is busier
WRITERS, BATCH = 40, 100


@pytest.fixture
def dynamodb() -> Table:
    return Table()


class Outage:
    """Ended jobs that nothing has settled, and what settles them."""

    def __init__(
        self,
        simulation: Simulation,
        dynamodb: Table,
        jobs: int,
        ended: Callable[[Job], Job] = succeeded,
    ) -> None:
        self.simulation = simulation
        self.client = Transactional(dynamodb, Pace(simulation, is_scaled_out=True))
        self.ledger = DynamoLedger(dynamodb, "owners")
        self.store, self.metrics = InMemoryJobStore(), InMemoryMetrics()
        self.jobs = [ended(a_job(owner=OWNERS[n % len(OWNERS)])) for n in range(jobs)]
        for job in self.jobs:
            self.store.add(job)
        self.parked = 0

    def stored(self) -> list[Job]:
        return self.store.get_many([job.id for job in self.jobs])

    def batches(self) -> list[list[Job]]:
        """What the stream delivers: every end, and a third of them twice, in any order."""
        twice = self.simulation.random.sample(self.jobs, len(self.jobs) // 3)
        delivered = [*self.jobs, *twice]
        self.simulation.random.shuffle(delivered)
        return [delivered[n : n + BATCH] for n in range(0, len(delivered), BATCH)]

    def settle(self, batches: Sequence[Sequence[Job]]) -> None:
        """One instance of settle_jobs. A parked step is delivered again until it succeeds."""
        pace = Pace(self.simulation)
        ledger = DynamoLedger(self.client, "owners", self.simulation.sleep)
        step = Step("count", lambda jobs: count(jobs, ledger=ledger, metrics=self.metrics))
        store, clock = pace.of(self.store, DYNAMODB), self.simulation.clock
        settlement = Settlement(steps=[step], store=store, clock=clock)
        for batch in batches:
            parked = settlement.settle(batch)
            while parked:
                self.parked += len(parked)
                again = [job for job in batch if job.id in {step.job_id for step in parked}]
                parked = settlement.settle(again)


def settled_by_all(outage: Outage) -> None:
    """All writers settle at once."""
    simulation, batches, running = outage.simulation, outage.batches(), WRITERS

    def write(n: int) -> None:
        nonlocal running
        outage.settle(batches[n::WRITERS])
        running -= 1

    def all_writers() -> None:
        for n in range(WRITERS):
            simulation.spawn(lambda n=n: write(n))
        while running:
            simulation.sleep(0.1)

    simulation.run(all_writers)


def test_40_writers_count_failures_that_are_all_alike(report: Report, dynamodb: Table) -> None:
    """As after a change that breaks every workflow: all writers add to one group."""
    simulation = Simulation()
    error = JobError(type="node_error", message="no", node_type="KSampler", engine_version="e1")
    outage = Outage(simulation, dynamodb, 2_000, lambda job: failed(job, error))
    settled_by_all(outage)
    (group,) = outage.ledger.failures([day_of(outage.jobs[0])])
    load, total = f"counting: {WRITERS} writers, 2000 failures of one kind", len(outage.jobs)
    report.check(
        Row(load, "failures counted", group.jobs, total, "", is_minimum=True),
        Row(load, "failures counted", group.jobs, total, ""),
        Row(load, "ends a second", total / simulation.seconds, 100, "/s", is_minimum=True),
        Row(load, "steps parked and tried again", outage.parked, total / 100, ""),
    )


def test_40_writers_count_every_end_of_an_hour_once(
    report: Report, dynamodb: Table, is_long: bool
) -> None:
    simulation = Simulation()
    outage = Outage(simulation, dynamodb, 50_000 if is_long else 5_000)
    settled_by_all(outage)
    total = len(outage.jobs)
    load = f"counting: {WRITERS} writers, {total} ends, a third of them delivered twice"
    counted = outage.ledger.totals().jobs[Status.SUCCEEDED]
    report.check(
        Row(load, "ends counted", counted, total, "", is_minimum=True),
        Row(load, "ends counted", counted, total, ""),
        Row(load, "ends a second", total / simulation.seconds, 200, "/s", is_minimum=True),
        Row(load, "steps parked and tried again", outage.parked, total / 100, ""),
    )
    for owner in set(OWNERS):
        share = OWNERS.count(owner) * total // len(OWNERS)
        assert outage.ledger.usage(owner) == Usage(pytest.approx(1.25 * share), share)
    assert outage.metrics.sum(Metric.JOBS_ENDED, status="succeeded") == total
    # A note that was throttled every time is left to the sweeper.
    unsettled = [job for job in outage.stored() if not job.is_settled]
    assert len(unsettled) <= total / 1000
    step = Step("count", outage.ledger.count)
    clock = simulation.clock
    assert Settlement(steps=[step], store=outage.store, clock=clock).settle(unsettled) == []
    assert all(job.is_settled for job in outage.stored())
    assert outage.ledger.totals().jobs[Status.SUCCEEDED] == total

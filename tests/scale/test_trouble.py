"""Traffic while AWS is at its worst: jobs that are lost, done twice, miscounted or refused.

The indexes lag, the stream repeats and delays its records, or it delivers nothing for an hour. In
all of these, 2 % of the calls are throttled, some tickets are lost, and some workers do not free
the slot of their job.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from comfyline.contract.ids import JobId, OwnerId
from comfyline.service.jobs.job import JobRecord, Status
from comfyline.service.jobs.store import ListPosition
from comfyline.service.ledger.store import Usage
from comfyline.service.metrics import Metric
from tests.scale.report import Report, Row
from tests.scale.simulation import Simulation
from tests.scale.stream import Delivery
from tests.scale.traffic import Load, Traffic

LAG = 5.0  # seconds
CAPS = (1, 25)
BUSY = OwnerId("cap-25")
MINUTE, HOUR = 60.0, 3600.0  # seconds


def check_exact(report: Report, load: str, traffic: Traffic) -> None:
    """After all of it, every job has ended once, is counted once, and holds no slot."""
    ended, rows = traffic.ended, traffic.store.get_many([*traffic.ends])
    counted = sum(traffic.ledger.totals().jobs.values())
    refused = sum(traffic.refused.values())
    report.check(
        Row(load, "jobs lost", traffic.posted - ended, 0, ""),
        Row(load, "jobs that ended twice", sum(traffic.ends.values()) - ended, 0, ""),
        Row(load, "ends not counted, or counted twice", abs(counted - ended), 0, ""),
        Row(load, "slots left", traffic.slots(), 0, ""),
        Row(load, "posts refused for the slot of an ended job", refused, 0, ""),
        Row(load, "longest wait", max(traffic.waits), 125, "s"),
    )
    assert miscounted(traffic) == []
    assert traffic.world.metrics.sum(Metric.JOBS_ENDED, status="succeeded") == ended
    assert [job.id for job in rows if not job.is_settled] == []


def miscounted(traffic: Traffic) -> list[OwnerId]:
    """The owners with a usage that is not the sum over their ended jobs."""
    used = defaultdict[OwnerId, list[float]](list)
    for job in traffic.store.get_many([*traffic.ends]):
        used[job.owner].append(job.gpu_seconds)
    return [
        owner
        for owner, seconds in used.items()
        if traffic.ledger.usage(owner) != Usage(pytest.approx(sum(seconds)), len(seconds))
    ]


# --- indexes that lag -----------------------------------------------------------------------------


@dataclass
class Lister:
    """A client that reads the list of an owner's jobs again and again."""

    traffic: Traffic
    owner: OwnerId
    lists: int = 0
    missing: set[JobId] = field(default_factory=set)
    faults: list[str] = field(default_factory=list)

    def read_for_ever(self) -> None:
        simulation = self.traffic.simulation
        while not self.traffic.is_over:
            simulation.sleep(simulation.random.uniform(1, 3))
            self.check(simulation.random.choice([None, Status.QUEUED, Status.SUCCEEDED]))

    def check(self, status: Status | None) -> None:
        before = self.due_to_be_listed(status)
        read = [*self.pages(status)]
        places = [(record.job.queued_at, record.job.id) for record in read]
        self.lists += 1
        self.missing |= before & self.due_to_be_listed(status) - {job_id for _, job_id in places}
        if places != sorted(set(places), reverse=True):
            self.faults.append("a job is listed twice, or not in order")
        if any(status not in (None, record.job.status) for record in read):
            self.faults.append("a job of another state is listed")

    def pages(self, status: Status | None) -> Iterator[JobRecord]:
        store, after = self.traffic.store, None
        while page := store.page(self.owner, status=status, limit=50, after=after):
            yield from page
            after = ListPosition(page[-1].job.queued_at, page[-1].job.id)

    def due_to_be_listed(self, status: Status | None) -> set[JobId]:
        """The jobs of that state that have not changed for as long as an index may lag."""
        quiet = self.traffic.quiet_jobs(self.owner, LAG)
        return {job.id for job in quiet if status in (None, job.status)}


def test_indexes_that_lag_lose_and_double_nothing(report: Report, is_long: bool) -> None:
    simulation, minutes = Simulation(), 20 if is_long else 5
    traffic = Traffic(
        simulation,
        Load(
            posts_per_second=3,
            workers=45,
            caps=CAPS,
            index_lag=LAG,
            slots_left=0.05,
            tickets_lost=0.02,
        ),
    )
    lister = Lister(traffic, BUSY)

    def run() -> None:
        simulation.spawn(lister.read_for_ever)
        traffic.run(minutes)
        traffic.finish()

    simulation.run(run)
    load = f"indexes that lag by {LAG:g} s: {traffic.posted} jobs in {minutes} min"
    check_exact(report, load, traffic)
    report.check(
        Row(load, f"jobs not listed, {LAG:g} s after a change", len(lister.missing), 0, ""),
        Row(load, "lists read", lister.lists, 20 * minutes, "", is_minimum=True),
        Row(load, "tickets sent again", traffic.swept("TicketResent"), traffic.posted * 0.04, ""),
    )
    assert lister.faults == []


# --- a stream that repeats, delays and stops ------------------------------------------------------


def test_late_and_repeated_records_are_counted_once(report: Report, is_long: bool) -> None:
    simulation, minutes = Simulation(), 30 if is_long else 6
    delivery = Delivery(repeated=0.2, late=300, stalls=0.02)
    load = Load(
        posts_per_second=3,
        workers=45,
        caps=CAPS,
        delivery=delivery,
        slots_left=0.05,
        tickets_lost=0.02,
    )
    traffic = Traffic(simulation, load)
    simulation.run(lambda: (traffic.run(minutes), traffic.finish()))
    name = f"stream, a fifth twice and up to 5 min late: {traffic.posted} jobs"
    check_exact(report, name, traffic)
    repeated = traffic.stream.delivered - traffic.ended
    report.check(Row(name, "records delivered again", repeated, traffic.ended / 10, "", True))


def test_an_hour_without_the_stream_is_made_good(report: Report, is_long: bool) -> None:
    """The sweeper settles alone for 40 minutes, stops too, and then 40 readers catch up with it."""
    simulation, alone = Simulation(), HOUR * 2 / 3
    load = Load(
        posts_per_second=5 if is_long else 0.5,
        workers=250 if is_long else 50,
        caps=CAPS,
        run_seconds=30,
        delivery=Delivery(readers=40, down=(0, HOUR)),
        sweeper_down=(alone, HOUR),
        slots_left=0.05,
    )
    traffic = Traffic(simulation, load)
    seen = list[float]()

    def watch() -> None:
        simulation.sleep(alone)
        seen.append(len(traffic.unsettled(older_than=3 * MINUTE)))
        simulation.sleep(HOUR - alone)
        seen.append(len(traffic.unsettled(older_than=0)))
        while traffic.unsettled(older_than=MINUTE):
            simulation.sleep(1)
        seen.append(simulation.seconds - HOUR)

    def run() -> None:
        simulation.spawn(watch)
        traffic.run(65)
        traffic.finish()

    simulation.run(run)
    missed, behind, seconds = seen
    name = f"stream down for 1 h, then 40 readers: {traffic.posted} jobs"
    check_exact(report, name, traffic)
    report.check(
        Row(name, "not settled by the sweeper in 3 min", missed, 0, ""),
        Row(name, "not settled when both start again", behind, traffic.ended / 5, "", True),
        Row(name, "until these are settled", seconds, 30, "s"),
    )

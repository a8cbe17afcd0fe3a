"""One round of the sweeper after a bad hour: 10,000 due jobs of every kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import cycle

import pytest

from comfyline.adapters.memory.access import InMemoryKeyStore, InMemorySessionStore
from comfyline.adapters.memory.jobs import InMemoryJobStore
from comfyline.adapters.memory.live import InMemoryConnectionStore, InMemorySockets
from comfyline.contract.ids import ConnectionId, KeyId, OwnerId
from comfyline.service.access.keys import ApiKey
from comfyline.service.access.slots import Limits, Slot
from comfyline.service.intake.admit import Admission, slot_of
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.change import Change
from comfyline.service.jobs.due import TIDY_DELAY
from comfyline.service.jobs.job import Job, Lease
from comfyline.service.jobs.lifecycle import advance
from comfyline.service.jobs.settle import Settlement, Step
from comfyline.service.jobs.sweep import Chore, Sweeper
from comfyline.service.ledger.count import count
from comfyline.service.live.close_sockets import SocketCloser
from comfyline.service.live.sockets import Connection
from functions._live import POSTS_AT_ONCE
from functions._wiring import SWEEPS_AT_ONCE
from tests.scale.pace import DYNAMODB, S3, SOCKET, SQS, TRANSACTION, Pace
from tests.scale.report import Report, Row
from tests.scale.simulation import Simulation, VirtualExecutor
from tests.support.builders import LEASE, NOW, a_job, running, settled, succeeded
from tests.support.world import InMemoryDeployment

HOUR = timedelta(hours=1)
OWNER = OwnerId("fox")
DUE = 10_000
FLOOD = 50_000
LAMBDA_SECONDS, TO_SPARE = 55, 15  # the function's timeout, and the time that it does not use
# A query of a shard's index, and the rows of some 500 jobs in batches of 100.
READ_SHARD = 6 * DYNAMODB
# With a flood: one query, the owners of 3,125 jobs, and 2,000 rows. All shards together take the
# CPU for 5 s: 9.5 ms for 100 rows, 0.4 ms for 100 owners, 35 ms for the keys, and the SDK's work.
READ_FLOODED_SHARD = 53 * DYNAMODB + 5


def queued() -> Job:
    return a_job(owner=OWNER, queued_at=NOW - HOUR, has_slot=True)


def lost_ticket() -> Job:
    return queued()


def dead_lease() -> Job:
    job = running(queued())
    assert job.lease is not None
    return replace(job, lease=Lease(job.lease.worker_id, NOW - LEASE))


def alive() -> Job:
    job = running(queued())
    assert job.lease is not None
    return replace(job, lease=Lease(job.lease.worker_id, NOW + HOUR))


def missed_end() -> Job:
    return succeeded(queued(), now=NOW - HOUR / 2)


def untidy() -> Job:
    interrupted = advance(running(queued()), ev.Interrupted(attempt=1), NOW - HOUR)
    return settled(succeeded(interrupted, now=NOW - 2 * TIDY_DELAY))


URGENT: Sequence[Callable[[], Job]] = (dead_lease, lost_ticket)
PATIENT: Sequence[Callable[[], Job]] = (*[alive] * 3, *[missed_end] * 3, *[untidy] * 2)


class BadHour:
    """A deployment in which the sweeper has much to do; when each urgent thing was done."""

    def __init__(self, simulation: Simulation, due: int = DUE, urgent_percent: int = 20) -> None:
        self.simulation, self.done = simulation, dict[str, float]()
        self.store = InMemoryJobStore(self._changed)
        self.world = InMemoryDeployment(simulation.clock, store=self.store)
        self.keys, self.sessions = InMemoryKeyStore(), InMemorySessionStore()
        self.connections = InMemoryConnectionStore()
        self.sockets = InMemorySockets()
        self.urgent = set[str]()
        self.kinds = Counter[str]()
        of_urgent, of_patient = cycle(URGENT), cycle(PATIENT)
        for n in range(due):
            is_urgent = n * urgent_percent % 100 < urgent_percent
            make = next(of_urgent if is_urgent else of_patient)
            job = make()
            self.store.add(job)
            if is_urgent:
                self.urgent.add(job.id)
            if make is missed_end and self.kinds[make.__name__] % 3 == 0:
                self.world.owners.take_slot(OWNER, slot_of(job), Limits(50_000), NOW)
            self.kinds[make.__name__] += 1
        key = ApiKey(
            id=KeyId("disabled"),
            secret_sha256="0" * 64,
            owner=OWNER,
            scopes=frozenset({"jobs"}),
            created_at=NOW - HOUR,
            disabled_at=NOW,
        )
        self.keys.put(key)
        for n in range(200):
            end = NOW + 2 * HOUR
            socket = Connection(ConnectionId(f"socket-{n}"), OWNER, KeyId("disabled"), end)
            self.connections.open(socket)
        self.leaked = [Slot(a_job().id, NOW - timedelta(seconds=90 + n)) for n in range(50)]
        for slot in self.leaked:
            self.world.owners.take_slot(OwnerId("whale"), slot, Limits(50), NOW)

    def _changed(self, change: Change) -> None:
        if change.before is not None:
            self.done.setdefault(change.after.id, self.simulation.seconds)

    def sweeper(self, pace: Pace, read_shard: float = READ_SHARD) -> Sweeper:
        """The function's own use cases, at AWS's pace."""
        clock, world = self.simulation.clock, self.world
        store = pace.of(self.store, DYNAMODB, due=read_shard)
        owners = pace.of(world.owners, DYNAMODB, free_slot=DYNAMODB + TRANSACTION, slots=DYNAMODB)
        ledger = pace.of(world.ledger, TRANSACTION)
        admission = Admission(owners=owners, jobs=store, clock=clock)
        closer = SocketCloser(
            connections=pace.of(self.connections, DYNAMODB, close=2 * DYNAMODB),
            keys=pace.of(self.keys, DYNAMODB),
            sessions=pace.of(self.sessions, DYNAMODB),
            sockets=pace.of(self.sockets, SOCKET),
            encode=lambda notice: notice.code.encode(),
            clock=clock,
            executor=VirtualExecutor(self.simulation, POSTS_AT_ONCE),
        )
        counting = Step("count", lambda jobs: count(jobs, ledger=ledger, metrics=world.metrics))
        steps = (Step("free_slot", admission.free_slots), counting)
        return Sweeper(
            store=store,
            queue=pace.of(world.queue, SQS),
            artifacts=pace.of(world.artifacts, 2 * S3),  # a list and a delete
            settlement=Settlement(steps=steps, store=store, clock=clock),
            clock=clock,
            executor=VirtualExecutor(self.simulation, SWEEPS_AT_ONCE),
            chores=(
                self._timed(Chore("SocketClosed", closer.close_unwanted)),
                self._timed(Chore("SlotDropped", admission.reconcile)),
            ),
        )

    def _timed(self, chore: Chore) -> Chore:
        def run(ends_at: datetime) -> int:
            done = chore.run(ends_at)
            self.done[chore.outcome] = self.simulation.seconds
            return done

        return Chore(chore.outcome, run)


# One function's CPU handles some 600 urgent jobs a second.
@pytest.mark.parametrize(("urgent_percent", "seconds"), [(20, 10), (50, 12), (80, 20)])
def test_10_000_due_jobs_take_one_round_and_the_urgent_ones_its_beginning(
    report: Report, urgent_percent: int, seconds: int
) -> None:
    simulation = Simulation()
    world = BadHour(simulation, urgent_percent=urgent_percent)
    pace, kinds = Pace(simulation), world.kinds
    sweeper = world.sweeper(pace)
    ends_at = simulation.clock() + timedelta(seconds=LAMBDA_SECONDS - TO_SPARE)
    swept = simulation.run(lambda: sweeper.sweep(ends_at))
    urgent = [world.done.get(job_id, float("inf")) for job_id in world.urgent]
    load = f"sweeper: {DUE} due jobs, {urgent_percent} % urgent, {pace.calls.total()} calls"
    report.check(
        Row(load, "the whole round", simulation.seconds, 50, "s"),
        Row(load, "the last urgent job", max(urgent), seconds, "s"),
        Row(load, "the last socket of a disabled key", world.done["SocketClosed"], 10, "s"),
        Row(load, "the last leaked slot", world.done["SlotDropped"], 10, "s"),
        Row(load, "jobs left for the next round", swept["OutOfTime"], 0, ""),
    )
    assert len(world.urgent) == DUE * urgent_percent // 100
    assert swept["LeaseExpired"] + swept["Unavailable"] >= kinds["dead_lease"]
    assert swept["TicketResent"] + swept["Unavailable"] >= kinds["lost_ticket"]
    assert swept["Settled"] + swept["Unavailable"] >= kinds["missed_end"] - 10
    assert swept["SocketClosed"] == len(world.sockets.closed) == 200
    assert swept["SlotDropped"] >= len(world.leaked)
    assert world.world.owners.slots(0) == []
    again = simulation.run(lambda: world.sweeper(Pace(simulation)).sweep(ends_at + HOUR))
    assert again.total() <= 50, "more is left than throttles explain"
    assert world.world.ledger.usage(OWNER).jobs == kinds["missed_end"]


def test_without_time_the_round_ends_and_the_urgent_work_is_done(report: Report) -> None:
    simulation = Simulation()
    world = BadHour(simulation, 3_000)
    ends_at = simulation.clock() + timedelta(seconds=4)
    swept = simulation.run(lambda: world.sweeper(Pace(simulation)).sweep(ends_at))
    assert swept["OutOfTime"] > 0
    report.check(
        Row("sweeper: 4 s for 3,000 due jobs", "its end", simulation.seconds, 4 + TO_SPARE, "s"),
        Row(
            "sweeper: 4 s for 3,000 due jobs",
            "urgent jobs that are done",
            len(world.urgent & world.done.keys()),
            len(world.urgent),
            "",
            is_minimum=True,
        ),
    )


def test_50_000_due_jobs_of_one_owner_do_not_hold_up_another(report: Report) -> None:
    """The victim's worker has died, and its job is due after all of the flood's."""
    simulation = Simulation()
    world = BadHour(simulation, due=0)
    for _ in range(FLOOD):
        world.store.add(lost_ticket())
    victims = [replace(dead_lease(), owner=OwnerId("owl"), due_at=NOW) for _ in range(5)]
    for job in victims:
        world.store.add(job)
    sweeper = world.sweeper(Pace(simulation, throttled=0), READ_FLOODED_SHARD)
    ends_at = simulation.clock() + timedelta(seconds=10)
    swept = simulation.run(lambda: sweeper.sweep(ends_at))
    done = max(world.done.get(job.id, float("inf")) for job in victims)
    load = f"sweeper: {FLOOD} due jobs of one owner"
    report.check(Row(load, "the last of five dead leases of another", done, 10, "s"))
    assert swept["LeaseExpired"] == len(victims)
    assert swept["OutOfTime"] > FLOOD // 2

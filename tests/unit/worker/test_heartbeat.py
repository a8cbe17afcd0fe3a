"""The heart renews lease and visibility, says what it hears, and stops when it must."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest

from comfyline.adapters.memory.jobs import InMemoryJobStore
from comfyline.adapters.memory.queue import InMemoryJobQueue
from comfyline.service.errors import Unavailable
from comfyline.service.jobs.job import Job
from comfyline.service.queue.tickets import Ticket
from gpu_worker.heartbeat import GRACE, Heartbeat
from tests.support.builders import NOW, FrozenClock, a_job, claimed, running
from tests.support.eventually import eventually

LEASE = timedelta(seconds=20)


class FlakyStore(InMemoryJobStore):
    """Out of reach while `down`."""

    down = False
    misses = 0

    def renew(self, job: Job, until: datetime) -> Job:
        if self.down:
            self.misses += 1
            raise Unavailable("throttled")
        return super().renew(job, until)


@dataclass
class Chest:
    """One heart, the job it beats for, and what was heard of it."""

    job: Job
    clock: FrozenClock = field(default_factory=FrozenClock)
    store: FlakyStore = field(default_factory=FlakyStore)
    heard: list[Job] = field(default_factory=list)
    lost: int = 0

    def __post_init__(self) -> None:
        self.queue = InMemoryJobQueue(self.clock, visibility=LEASE)
        self.store.add(self.job)
        self.queue.send(self.job.id, self.job.owner, self.job.priority)
        (self.ticket,) = self.queue.receive(self.job.priority, wait_seconds=0)

    def start(self) -> asyncio.Task[None]:
        heart = Heartbeat(
            store=self.store,
            queue=self.queue,
            clock=self.clock,
            lease=LEASE,
            interval=timedelta(milliseconds=2),
        )
        beating = heart.keep(self.job, self.ticket, renewed=self.heard.append, lost=self._lose)
        return asyncio.create_task(beating)

    def _lose(self) -> None:
        self.lost += 1

    def tickets(self) -> list[Ticket]:
        return self.queue.receive(self.job.priority, wait_seconds=0)


async def stop(heart: asyncio.Task[None]) -> None:
    heart.cancel()
    await asyncio.gather(heart, return_exceptions=True)


async def test_a_beat_extends_the_lease_and_hides_the_ticket() -> None:
    chest = Chest(claimed(a_job(), lease=LEASE))
    chest.clock.advance(15)
    heart = chest.start()
    await eventually(lambda: chest.heard)
    await stop(heart)
    chest.clock.advance(19)
    assert chest.heard[0].has_live_lease(chest.clock())
    assert chest.tickets() == []
    chest.clock.advance(2)
    assert [ticket.job_id for ticket in chest.tickets()] == [chest.job.id]


async def test_the_answer_carries_the_cancel_flag() -> None:
    chest = Chest(replace(claimed(a_job(), lease=LEASE), cancel_requested_at=NOW))
    heart = chest.start()
    await eventually(lambda: chest.heard)
    await stop(heart)
    assert chest.heard[0].is_canceling


async def test_a_lost_lease_is_told_once_and_ends_the_heart() -> None:
    chest = Chest(replace(claimed(a_job(), lease=LEASE), lease=None))
    await asyncio.wait_for(chest.start(), 10)
    assert (chest.lost, chest.heard) == (1, [])


async def test_a_store_out_of_reach_is_borne_while_the_lease_lasts() -> None:
    chest = Chest(claimed(a_job(), lease=LEASE))
    chest.store.down = True
    heart = chest.start()
    await eventually(lambda: chest.store.misses)
    chest.clock.advance(19)
    chest.store.down = False
    await eventually(lambda: chest.heard)
    await stop(heart)
    assert chest.lost == 0


async def test_a_store_out_of_reach_for_longer_is_a_lost_lease() -> None:
    chest = Chest(claimed(a_job(), lease=LEASE))
    chest.store.down = True
    heart = chest.start()
    await eventually(lambda: chest.store.misses)
    chest.clock.advance(21)
    await asyncio.wait_for(heart, 10)
    assert chest.lost == 1


@pytest.mark.parametrize("late", [timedelta(seconds=1), timedelta(hours=5)])
async def test_the_heart_ends_when_the_job_has_overrun(late: timedelta) -> None:
    """Whatever the main loop does, a hung attempt gives its job up."""
    chest = Chest(running(a_job()))
    heart = chest.start()
    await eventually(lambda: chest.heard)
    chest.clock.advance(chest.job.execution_timeout + GRACE + late)
    await asyncio.wait_for(heart, 10)
    assert chest.lost == 1

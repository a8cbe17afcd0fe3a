"""The heartbeat renews lease and visibility, hands the rows on, and ends when it must."""

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
from tests.support.eventually import WITHIN, eventually

LEASE = timedelta(seconds=20)


class FlakyStore(InMemoryJobStore):
    """Unreachable while `down`."""

    down = False
    misses = 0

    def renew(self, job: Job, until: datetime) -> Job:
        if self.down:
            self.misses += 1
            raise Unavailable("throttled")
        return super().renew(job, until)


@dataclass
class Beating:
    """A heartbeat, its job, and the rows and losses that it has reported."""

    job: Job
    clock: FrozenClock = field(default_factory=FrozenClock)
    store: FlakyStore = field(default_factory=FlakyStore)
    rows: list[Job] = field(default_factory=list)
    lost: int = 0

    def __post_init__(self) -> None:
        self.queue = InMemoryJobQueue(self.clock, visibility=LEASE)
        self.store.add(self.job)
        self.queue.send(self.job.id, self.job.owner, self.job.priority)
        (self.ticket,) = self.queue.receive(self.job.priority, wait_seconds=0)

    def start(self) -> asyncio.Task[None]:
        heartbeat = Heartbeat(
            store=self.store,
            queue=self.queue,
            clock=self.clock,
            lease=LEASE,
            interval=timedelta(milliseconds=2),
        )
        keeping = heartbeat.keep(self.job, self.ticket, renewed=self.rows.append, lost=self._lose)
        return asyncio.create_task(keeping)

    def _lose(self) -> None:
        self.lost += 1

    def tickets(self) -> list[Ticket]:
        return self.queue.receive(self.job.priority, wait_seconds=0)


async def stop(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_beat_extends_the_lease_and_hides_the_ticket() -> None:
    beating = Beating(claimed(a_job(), lease=LEASE))
    beating.clock.advance(15)
    task = beating.start()
    await eventually(lambda: beating.rows)
    await stop(task)
    beating.clock.advance(19)
    assert beating.rows[0].has_live_lease(beating.clock())
    assert beating.tickets() == []
    beating.clock.advance(2)
    assert [ticket.job_id for ticket in beating.tickets()] == [beating.job.id]


async def test_the_answer_carries_the_cancel_flag() -> None:
    beating = Beating(replace(claimed(a_job(), lease=LEASE), cancel_requested_at=NOW))
    task = beating.start()
    await eventually(lambda: beating.rows)
    await stop(task)
    assert beating.rows[0].is_canceling


async def test_a_lost_lease_is_reported_once_and_ends_the_heartbeat() -> None:
    beating = Beating(replace(claimed(a_job(), lease=LEASE), lease=None))
    await asyncio.wait_for(beating.start(), WITHIN)
    assert (beating.lost, beating.rows) == (1, [])


async def test_an_unreachable_store_loses_nothing_while_the_lease_lasts() -> None:
    beating = Beating(claimed(a_job(), lease=LEASE))
    beating.store.down = True
    task = beating.start()
    await eventually(lambda: beating.store.misses)
    beating.clock.advance(19)
    beating.store.down = False
    await eventually(lambda: beating.rows)
    await stop(task)
    assert beating.lost == 0


async def test_a_store_that_stays_unreachable_means_a_lost_lease() -> None:
    beating = Beating(claimed(a_job(), lease=LEASE))
    beating.store.down = True
    task = beating.start()
    await eventually(lambda: beating.store.misses)
    beating.clock.advance(21)
    await asyncio.wait_for(task, WITHIN)
    assert beating.lost == 1


@pytest.mark.parametrize("late", [timedelta(seconds=1), timedelta(hours=5)])
async def test_the_heartbeat_ends_when_the_job_has_overrun(late: timedelta) -> None:
    """An attempt that hangs loses its job, even if the worker still runs."""
    beating = Beating(running(a_job()))
    task = beating.start()
    await eventually(lambda: beating.rows)
    beating.clock.advance(beating.job.execution_timeout + GRACE + late)
    await asyncio.wait_for(task, WITHIN)
    assert beating.lost == 1

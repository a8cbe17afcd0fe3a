"""Which ticket comes next, from which kind of poll, and that none is kept by who goes away."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from itertools import islice

import pytest

from comfyline.adapters.memory.queue import InMemoryJobQueue
from comfyline.contract.ids import JobId, OwnerId
from comfyline.service.errors import Unavailable
from comfyline.service.jobs.job import Priority
from comfyline.service.queue.tickets import Ticket
from gpu_worker import lanes as module
from gpu_worker.lanes import Lanes, look_pauses
from tests.support.eventually import eventually


class SpiedQueue(InMemoryJobQueue):
    """Remembers how it was polled; out of reach while `down`."""

    down = False

    def __init__(self) -> None:
        super().__init__(lambda: datetime.now(UTC))
        self.waits: list[int] = []

    def receive(self, priority: Priority, *, wait_seconds: int, limit: int = 1) -> list[Ticket]:
        self.waits.append(wait_seconds)
        if self.down:
            raise Unavailable("out of reach")
        return super().receive(priority, wait_seconds=wait_seconds, limit=limit)

    def fill(self, *priorities: Priority) -> None:
        for number, priority in enumerate(priorities):
            self.send(JobId(f"{priority}-{number}"), OwnerId("o"), priority)

    def visible(self) -> list[JobId]:
        """Every ticket that anybody can take now."""
        tickets = [
            ticket
            for priority in Priority
            for ticket in super(SpiedQueue, self).receive(priority, wait_seconds=0, limit=100)
        ]
        for ticket in tickets:
            self.hide(ticket, 0)
        return sorted(ticket.job_id for ticket in tickets)


@pytest.fixture
def queue() -> SpiedQueue:
    return SpiedQueue()


def idle() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


def busy() -> asyncio.Event:
    return asyncio.Event()


async def test_an_idle_worker_waits_on_all_lanes_at_once(queue: SpiedQueue) -> None:
    lanes = Lanes(queue, long_poll_seconds=1)
    taking = asyncio.create_task(lanes.take(idle()))
    await eventually(lambda: len(queue.waits) == 3)
    assert queue.waits == [1, 1, 1]
    queue.fill(Priority.LOW)
    assert (await asyncio.wait_for(taking, 10)).priority is Priority.LOW
    await lanes.close()


async def test_what_comes_too_much_is_put_back(queue: SpiedQueue) -> None:
    queue.fill(*Priority)
    lanes = Lanes(queue, long_poll_seconds=1)
    ticket = await lanes.take(idle())
    await lanes.close()
    assert len(queue.visible()) == 2
    assert ticket.job_id not in queue.visible()


async def test_a_busy_worker_only_looks(queue: SpiedQueue) -> None:
    queue.fill(Priority.NORMAL)
    assert (await Lanes(queue).take(busy())).priority is Priority.NORMAL
    assert set(queue.waits) == {0}


async def test_a_busy_worker_that_becomes_idle_waits_at_once(queue: SpiedQueue) -> None:
    lanes, state = Lanes(queue, long_poll_seconds=1), busy()
    taking = asyncio.create_task(lanes.take(state))
    await eventually(lambda: queue.waits == [0, 0, 0])
    state.set()
    await eventually(lambda: queue.waits[3:] == [1, 1, 1])
    queue.fill(Priority.HIGH)
    await asyncio.wait_for(taking, 10)
    await lanes.close()


async def test_a_busy_worker_looks_again(
    queue: SpiedQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.001)
    taking = asyncio.create_task(Lanes(queue).take(busy()))
    await eventually(lambda: len(queue.waits) > 6)
    queue.fill(Priority.LOW)
    assert (await asyncio.wait_for(taking, 10)).priority is Priority.LOW
    assert set(queue.waits) == {0}


def test_a_look_that_finds_nothing_makes_the_next_one_rarer() -> None:
    assert [*islice(look_pauses(), 5)] == [2, 4, 8, 16, 16]


async def test_lanes_are_served_by_weight_and_low_is_never_starved(queue: SpiedQueue) -> None:
    queue.fill(*[priority for priority in Priority for _ in range(20)])
    lanes = Lanes(queue)
    taken = Counter([(await lanes.take(busy())).priority for _ in range(14)])
    assert taken == {Priority.HIGH: 8, Priority.NORMAL: 4, Priority.LOW: 2}


async def test_an_empty_lane_gives_its_turn_away(queue: SpiedQueue) -> None:
    queue.fill(*[Priority.LOW] * 5)
    lanes = Lanes(queue)
    assert {(await lanes.take(busy())).priority for _ in range(5)} == {Priority.LOW}


@pytest.mark.parametrize("state", [idle, busy])
async def test_who_goes_away_keeps_no_ticket(queue: SpiedQueue, state: object) -> None:
    assert callable(state)
    lanes = Lanes(queue, long_poll_seconds=1)
    taking = asyncio.create_task(lanes.take(state()))
    await eventually(lambda: len(queue.waits) >= 3)
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    queue.fill(*Priority)
    await lanes.close()
    assert len(queue.visible()) == 3


async def test_a_lane_out_of_reach_is_tried_again(
    queue: SpiedQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    queue.down = True
    lanes = Lanes(queue, long_poll_seconds=1)
    taking = asyncio.create_task(lanes.take(idle()))
    await eventually(lambda: len(queue.waits) > 6)
    queue.down = False
    queue.fill(Priority.HIGH)
    await asyncio.wait_for(taking, 10)
    await lanes.close()

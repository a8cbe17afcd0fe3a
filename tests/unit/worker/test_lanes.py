"""Which ticket comes next, by which kind of poll, and that a worker that stops keeps none."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from itertools import islice

import pytest

from comfyline.adapters.memory.queue import InMemoryJobQueue
from comfyline.contract.ids import JobId, OwnerId
from comfyline.service.errors import Unavailable
from comfyline.service.queue.lanes import Priority
from comfyline.service.queue.tickets import Ticket
from gpu_worker import lanes as module
from gpu_worker.lanes import Lanes, short_poll_pauses
from tests.support.eventually import WITHIN, eventually


class SpiedQueue(InMemoryJobQueue):
    """Records each poll; unreachable while `down`."""

    down = False

    def __init__(self) -> None:
        super().__init__(lambda: datetime.now(UTC))
        self.waits: list[int] = []

    def receive(self, priority: Priority, *, wait_seconds: int, limit: int = 1) -> list[Ticket]:
        self.waits.append(wait_seconds)
        if self.down:
            raise Unavailable("unreachable")
        return super().receive(priority, wait_seconds=wait_seconds, limit=limit)

    def fill(self, *priorities: Priority) -> None:
        for number, priority in enumerate(priorities):
            self.send(JobId(f"{priority}-{number}"), OwnerId("o"), priority)

    def visible(self) -> list[JobId]:
        """The jobs of the tickets that a worker could receive now."""
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


async def test_an_idle_worker_polls_all_lanes_at_once(queue: SpiedQueue) -> None:
    lanes = Lanes(queue, long_poll_seconds=1)
    taking = asyncio.create_task(lanes.take(idle()))
    await eventually(lambda: len(queue.waits) == 3)
    assert queue.waits == [1, 1, 1]
    queue.fill(Priority.LOW)
    assert (await asyncio.wait_for(taking, WITHIN)).priority is Priority.LOW
    await lanes.close()


async def test_tickets_beyond_the_first_are_put_back(queue: SpiedQueue) -> None:
    queue.fill(*Priority)
    lanes = Lanes(queue, long_poll_seconds=1)
    ticket = await lanes.take(idle())
    await lanes.close()
    assert len(queue.visible()) == 2
    assert ticket.job_id not in queue.visible()


async def test_a_busy_worker_makes_short_polls(queue: SpiedQueue) -> None:
    queue.fill(Priority.NORMAL)
    assert (await Lanes(queue).take(busy())).priority is Priority.NORMAL
    assert set(queue.waits) == {0}


async def test_a_busy_worker_that_becomes_idle_makes_long_polls_at_once(queue: SpiedQueue) -> None:
    lanes, state = Lanes(queue, long_poll_seconds=1), busy()
    taking = asyncio.create_task(lanes.take(state))
    await eventually(lambda: queue.waits == [0, 0, 0])
    state.set()
    await eventually(lambda: queue.waits[3:] == [1, 1, 1])
    queue.fill(Priority.HIGH)
    await asyncio.wait_for(taking, WITHIN)
    await lanes.close()


async def test_a_busy_worker_polls_again(
    queue: SpiedQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHORT_POLL_SECONDS", 0.001)
    taking = asyncio.create_task(Lanes(queue).take(busy()))
    await eventually(lambda: len(queue.waits) > 6)
    queue.fill(Priority.LOW)
    assert (await asyncio.wait_for(taking, WITHIN)).priority is Priority.LOW
    assert set(queue.waits) == {0}


def test_a_short_poll_that_finds_nothing_doubles_the_pause() -> None:
    assert [*islice(short_poll_pauses(), 5)] == [2, 4, 8, 16, 16]


async def test_lanes_are_served_by_weight_and_low_is_never_starved(queue: SpiedQueue) -> None:
    queue.fill(*[priority for priority in Priority for _ in range(20)])
    lanes = Lanes(queue)
    taken = Counter([(await lanes.take(busy())).priority for _ in range(14)])
    assert taken == {Priority.HIGH: 8, Priority.NORMAL: 4, Priority.LOW: 2}


async def test_the_turn_of_an_empty_lane_goes_to_the_next(queue: SpiedQueue) -> None:
    queue.fill(*[Priority.LOW] * 5)
    lanes = Lanes(queue)
    assert {(await lanes.take(busy())).priority for _ in range(5)} == {Priority.LOW}


@pytest.mark.parametrize("state", [idle, busy])
async def test_a_worker_that_stops_keeps_no_ticket(queue: SpiedQueue, state: object) -> None:
    assert callable(state)
    lanes = Lanes(queue, long_poll_seconds=1)
    taking = asyncio.create_task(lanes.take(state()))
    await eventually(lambda: len(queue.waits) >= 3)
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    queue.fill(*Priority)
    await lanes.close()
    assert len(queue.visible()) == 3


async def test_an_unreachable_lane_is_polled_again(
    queue: SpiedQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    queue.down = True
    lanes = Lanes(queue, long_poll_seconds=1)
    taking = asyncio.create_task(lanes.take(idle()))
    await eventually(lambda: len(queue.waits) > 6)
    queue.down = False
    queue.fill(Priority.HIGH)
    await asyncio.wait_for(taking, WITHIN)
    await lanes.close()

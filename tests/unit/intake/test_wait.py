"""A post waits for the end of its job, in a room that has a bounded number of places."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from comfyline.adapters.memory.access import InMemorySemaphore
from comfyline.contract.limits import MAX_WAIT_SECONDS
from comfyline.service.access.slots import Limits
from comfyline.service.errors import Unavailable
from comfyline.service.intake.wait import PLACE_LIFETIME, WaitRoom
from comfyline.service.jobs.job import Job, JobRecord, Status
from comfyline.service.jobs.store import JobStore
from infra.declarations import WAITING_TIMEOUT
from tests.support.ports import meanwhile, raising
from tests.support.world import World

MAX_WAITS = 7


class Room:
    """A wait room in a world with one job; each pause moves the clock and does `on_pause`."""

    def __init__(self) -> None:
        self.world = World()
        self.places = InMemorySemaphore()
        self.job: Job = self.world.submit().job
        self.limits = Limits()
        self.on_pause: Callable[[], object] = lambda: None

    def wait(self, seconds: int, store: JobStore | None = None) -> JobRecord | None:
        room = WaitRoom(
            jobs=store or self.world.store,
            places=self.places,
            clock=self.world.clock,
            max_waits=MAX_WAITS,
            sleep=self._pause,
        )
        return room.wait(self.job, seconds, self.limits)

    def _pause(self, seconds: float) -> None:
        self.world.clock.advance(seconds)
        self.on_pause()

    def take(self, count: int) -> int:
        """Try to take `count` places, and return the number of places taken."""
        now = self.world.clock()
        until = now + PLACE_LIFETIME
        taken = [self.places.enter(MAX_WAITS, now=now, until=until) for _ in range(count)]
        return len([place for place in taken if place is not None])


@pytest.fixture
def room() -> Room:
    return Room()


def test_a_job_that_ends_in_time_is_returned_whole(room: Room) -> None:
    room.on_pause = room.world.succeeded  # the wait is over after one pause, or this would fail
    record = room.wait(5)
    assert record == room.world.record(room.job.id)
    assert record.job.status is Status.SUCCEEDED


@pytest.mark.parametrize("seconds", [0, 1, MAX_WAIT_SECONDS])
def test_a_job_that_does_not_end_is_none_when_the_time_is_over(room: Room, seconds: int) -> None:
    began = room.world.clock()
    assert room.wait(seconds) is None
    assert room.world.clock() - began == timedelta(seconds=seconds)


def test_a_job_that_is_removed_meanwhile_is_none_at_once(room: Room) -> None:
    room.on_pause = lambda: room.world.store.delete(room.world.row(room.job.id))
    began = room.world.clock()
    assert room.wait(MAX_WAIT_SECONDS) is None
    assert room.world.clock() - began < timedelta(seconds=1)


def test_a_full_room_waits_for_nothing(room: Room) -> None:
    assert room.take(MAX_WAITS) == MAX_WAITS
    began = room.world.clock()
    assert room.wait(5) is None
    assert room.world.clock() == began


def test_places_of_dead_functions_are_free_after_a_minute(room: Room) -> None:
    room.take(MAX_WAITS)
    room.world.succeeded()
    assert room.wait(5) is None
    room.world.clock.advance(PLACE_LIFETIME)
    assert room.wait(5) is not None


@pytest.mark.parametrize("error", [Unavailable("throttled"), RuntimeError("a bug")])
def test_a_wait_that_fails_leaves_its_place(room: Room, error: Exception) -> None:
    with pytest.raises(type(error)):
        room.wait(5, meanwhile(room.world.store, "get", raising(error)))
    assert room.take(MAX_WAITS + 1) == MAX_WAITS


def test_no_place_outlives_the_function_that_holds_it_nor_ends_before_it() -> None:
    assert timedelta(seconds=WAITING_TIMEOUT) * 2 <= PLACE_LIFETIME


def test_an_owner_waits_in_its_share_and_once_for_each_job() -> None:
    """Each wait of the block holds its place while the next one tries to enter."""
    room = Room()
    depth, deepest = 0, 0

    def another() -> None:
        nonlocal depth, deepest
        depth += 1
        deepest = max(deepest, depth)
        if depth < MAX_WAITS:
            room.job = room.world.submit({"prompt": f"number {depth}"}).job
            room.wait(1)
        depth -= 1

    room.on_pause = another
    room.wait(1)
    assert deepest == MAX_WAITS // 4 == 1
    room.limits = Limits(max_waits=3)
    room.wait(1)
    assert deepest == 3

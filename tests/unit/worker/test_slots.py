"""At most three jobs, at most two in the engine; idle means that the GPU has nothing to do."""

from __future__ import annotations

import asyncio

from gpu_worker.slots import Slots


async def has_room(slots: Slots) -> bool:
    try:
        await asyncio.wait_for(slots.room(), 0.01)
    except TimeoutError:
        return False
    return True


async def test_one_runs_one_waits_and_no_more_is_taken() -> None:
    slots = Slots()
    slots.enter()
    assert await has_room(slots)
    slots.enter()
    assert not await has_room(slots)


async def test_what_left_the_gpu_makes_room_for_one_ahead() -> None:
    slots = Slots()
    running, _ahead = slots.enter(), slots.enter()
    running.leave_engine()
    assert await has_room(slots)


async def test_finishing_jobs_that_pile_up_stop_the_claiming() -> None:
    slots = Slots()
    one, two = slots.enter(), slots.enter()
    one.leave_engine()
    slots.enter()
    two.leave_engine()
    assert not await has_room(slots)
    one.free()
    assert await has_room(slots)


async def test_who_waits_for_room_is_let_in() -> None:
    slots = Slots()
    one, _two = slots.enter(), slots.enter()
    waiting = asyncio.create_task(slots.room())
    await asyncio.sleep(0)
    one.leave_engine()
    await asyncio.wait_for(waiting, 10)


def test_idle_is_when_nothing_is_in_the_engine() -> None:
    slots = Slots()
    assert slots.idle.is_set()
    slot = slots.enter()
    assert not slots.idle.is_set()
    slot.leave_engine()
    assert slots.idle.is_set()


async def test_leaving_twice_counts_once() -> None:
    slots = Slots()
    one, _two = slots.enter(), slots.enter()
    one.leave_engine()
    one.leave_engine()
    one.free()
    slots.enter()
    assert not await has_room(slots)

"""At most three jobs, at most two of them in the engine; idle: the GPU has nothing to do."""

from __future__ import annotations

import asyncio

from gpu_worker.occupancy import Occupancy
from tests.support.eventually import WITHIN


async def has_room(occupancy: Occupancy) -> bool:
    try:
        await asyncio.wait_for(occupancy.room(), 0.01)
    except TimeoutError:
        return False
    return True


async def test_one_job_runs_one_waits_and_no_more_are_claimed() -> None:
    occupancy = Occupancy()
    occupancy.enter().enter_engine()
    assert await has_room(occupancy)
    occupancy.enter().enter_engine()
    assert not await has_room(occupancy)


async def test_after_the_first_job_the_next_is_looked_for_once_it_is_given_to_the_engine() -> None:
    occupancy = Occupancy(60)
    running = occupancy.enter()
    assert not await has_room(occupancy)
    running.enter_engine()
    assert await has_room(occupancy)
    running.leave_engine()
    first_again = occupancy.enter()
    assert not await has_room(occupancy)
    first_again.leave_engine()  # its claim has failed
    assert await has_room(occupancy)


async def test_in_a_backlog_jobs_are_claimed_side_by_side() -> None:
    occupancy = Occupancy(60)
    running = occupancy.enter()
    running.enter_engine()
    occupancy.enter()
    running.leave_engine()
    assert await has_room(occupancy)  # though the second one is still on its way


async def test_a_job_that_takes_long_to_the_engine_does_not_stop_the_claiming() -> None:
    occupancy = Occupancy(0.001)
    occupancy.enter()
    await asyncio.wait_for(occupancy.room(), WITHIN)


async def test_a_job_that_left_the_gpu_makes_room_for_one_ahead() -> None:
    occupancy = Occupancy()
    running, ahead = occupancy.enter(), occupancy.enter()
    ahead.enter_engine()
    running.leave_engine()
    assert await has_room(occupancy)


async def test_finishing_jobs_that_pile_up_stop_the_claiming() -> None:
    occupancy = Occupancy()
    first, second = occupancy.enter(), occupancy.enter()
    first.leave_engine()
    occupancy.enter().enter_engine()
    second.leave_engine()
    assert not await has_room(occupancy)
    first.free()
    assert await has_room(occupancy)


async def test_waiting_for_room_ends_when_there_is_some() -> None:
    occupancy = Occupancy()
    first, _second = occupancy.enter(), occupancy.enter()
    waiting = asyncio.create_task(occupancy.room())
    await asyncio.sleep(0)
    first.leave_engine()
    await asyncio.wait_for(waiting, WITHIN)


def test_idle_means_that_no_job_is_in_the_engine() -> None:
    occupancy = Occupancy()
    assert occupancy.idle.is_set()
    place = occupancy.enter()
    assert not occupancy.idle.is_set()
    place.leave_engine()
    assert occupancy.idle.is_set()


async def test_leaving_twice_counts_once() -> None:
    occupancy = Occupancy()
    first, _second = occupancy.enter(), occupancy.enter()
    first.leave_engine()
    first.leave_engine()
    first.free()
    occupancy.enter()
    assert not await has_room(occupancy)

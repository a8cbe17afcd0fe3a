"""This unless that, the first of several, and work beside a block."""

from __future__ import annotations

import asyncio

import pytest

from gpu_worker.racing import background, first_of, unless
from tests.support.eventually import WITHIN


async def answer(after: asyncio.Event) -> str:
    await after.wait()
    return "answer"


def set_event() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event


async def test_work_that_ends_first_gives_its_result() -> None:
    assert await unless(asyncio.Event(), answer(set_event())) == "answer"


async def test_a_stop_that_comes_first_cancels_the_work() -> None:
    ended = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    assert await unless(set_event(), work()) is None
    await asyncio.wait_for(ended.wait(), WITHIN)


async def test_work_that_ends_within_the_grace_period_gives_its_result() -> None:
    stop, go_on = asyncio.Event(), asyncio.Event()
    waiting = asyncio.create_task(unless(stop, answer(go_on), grace_seconds=10))
    stop.set()
    await asyncio.sleep(0.01)
    assert not waiting.done()
    go_on.set()
    assert await asyncio.wait_for(waiting, WITHIN) == "answer"


async def test_the_grace_period_ends() -> None:
    never = answer(asyncio.Event())
    assert await asyncio.wait_for(unless(set_event(), never, grace_seconds=0.01), WITHIN) is None


async def test_an_error_of_the_work_is_raised() -> None:
    async def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await unless(asyncio.Event(), broken())


async def test_the_first_of_several_is_enough() -> None:
    never = asyncio.Event()
    await asyncio.wait_for(first_of(never.wait(), set_event().wait()), WITHIN)
    await asyncio.wait_for(first_of(never.wait(), timeout=0.001), WITHIN)


async def test_background_work_runs_until_the_block_ends() -> None:
    log: list[str] = []

    async def work() -> None:
        log.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            log.append("ended")

    async with background(work(), work()):
        await asyncio.sleep(0)
        assert log == ["begun", "begun"]
    assert log == ["begun", "begun", "ended", "ended"]

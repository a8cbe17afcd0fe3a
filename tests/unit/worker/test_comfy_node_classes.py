"""When the engine is asked for its node classes."""

from __future__ import annotations

import asyncio

import httpx

from gpu_worker.comfy.http import ComfyHttp
from gpu_worker.comfy.node_classes import NodeClasses
from tests.support import mocked_engine, recordings


class Engine:
    """Answers `GET /object_info` with `answer`, and counts the requests."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer, self.asked = answer, 0
        self.nodes = NodeClasses(ComfyHttp(mocked_engine.session(self)))

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/object_info"
        self.asked += 1
        await asyncio.sleep(0)
        return self.answer


def known() -> httpx.Response:
    return httpx.Response(200, json=recordings.object_info())


async def test_the_engine_is_asked_once() -> None:
    engine = Engine(known())
    first, second = await asyncio.gather(engine.nodes.get(), engine.nodes.get())
    assert first.is_output("SaveImage")
    assert first is second
    assert engine.asked == 1


async def test_a_started_engine_is_asked_again() -> None:
    engine = Engine(known())
    await engine.nodes.get()
    engine.answer = httpx.Response(200, json={})
    engine.nodes.engine_started()
    await engine.nodes.wait_started()
    assert not await engine.nodes.get()
    assert engine.asked == 2


async def test_an_engine_that_does_not_tell_is_unknown_until_it_tells() -> None:
    engine = Engine(httpx.Response(500, text="oops"))
    assert not await engine.nodes.get()
    engine.answer = known()
    assert (await engine.nodes.get()).knows("SaveImage")


async def test_an_answer_from_before_a_start_is_not_kept() -> None:
    engine = Engine(known())
    asking = asyncio.create_task(engine.nodes.get())
    await asyncio.sleep(0)
    engine.nodes.engine_started()
    await asking
    await engine.nodes.get()
    assert engine.asked == 2


async def test_every_start_is_waited_for_once() -> None:
    engine = Engine(known())
    engine.nodes.engine_started()
    await engine.nodes.wait_started()
    waiting = asyncio.create_task(engine.nodes.wait_started())
    await asyncio.sleep(0)
    assert not waiting.done()
    engine.nodes.engine_started()
    await waiting

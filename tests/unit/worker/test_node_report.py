"""When a worker publishes what its engine has."""

from __future__ import annotations

import asyncio

import httpx

from comfyline.adapters.memory.graphs import InMemoryEngineNodesStore
from comfyline.service.errors import Unavailable
from comfyline.service.graphs.engine_nodes import EngineNodes
from gpu_worker.comfy.http import ComfyHttp
from gpu_worker.comfy.node_classes import NodeClasses
from gpu_worker.node_report import publish_for_ever
from gpu_worker.racing import background
from tests.support import mocked_engine, recordings
from tests.support.eventually import eventually

NODES = EngineNodes.parse(recordings.object_info())


class Engine:
    """Answers 500 as often as `failures` says, then describes its nodes."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.nodes = NodeClasses(ComfyHttp(mocked_engine.session(self)))

    def __call__(self, _request: httpx.Request) -> httpx.Response:
        self.failures -= 1
        if self.failures >= 0:
            return httpx.Response(500)
        return httpx.Response(200, json=recordings.object_info())


class Store(InMemoryEngineNodesStore):
    """Is out of reach as often as `failures` says."""

    def __init__(self, failures: int = 0) -> None:
        super().__init__()
        self.failures, self.written = failures, 0

    def publish(self, version: str, nodes: EngineNodes) -> bool:
        self.failures -= 1
        if self.failures >= 0:
            raise Unavailable
        self.written += 1
        return super().publish(version, nodes)


async def published(engine: Engine, store: Store) -> EngineNodes:
    """The description that the worker publishes after one start of the engine."""
    async with background(publish_for_ever(engine.nodes, store, "v1", again_seconds=0)):
        engine.nodes.engine_started()
        await eventually(lambda: store.written == 1)
    return store.read("v1")


async def test_a_start_is_published() -> None:
    assert await published(Engine(), Store()) == NODES


async def test_it_is_tried_until_it_is_stored() -> None:
    assert await published(Engine(failures=2), Store(failures=2)) == NODES


async def test_every_start_is_published() -> None:
    engine, store = Engine(), Store()
    async with background(publish_for_ever(engine.nodes, store, "v1", again_seconds=0)):
        for starts in (1, 2):
            engine.nodes.engine_started()
            await eventually(lambda starts=starts: store.written == starts)


async def test_an_engine_that_has_not_started_is_not_asked() -> None:
    store = Store()
    async with background(publish_for_ever(Engine().nodes, store, "v1", again_seconds=0)):
        await asyncio.sleep(0)
    assert store.written == 0

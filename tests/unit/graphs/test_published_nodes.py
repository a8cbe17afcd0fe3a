"""How often the published node classes are read, and what a failure costs."""

from __future__ import annotations

from datetime import timedelta

from comfyline.adapters.memory.graphs import InMemoryEngineNodesStore
from comfyline.service.errors import Unavailable
from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.published_nodes import KEPT, KEPT_UNKNOWN, PublishedNodes
from tests.support.builders import FrozenClock

NODES = EngineNodes.parse({"SaveImage": {"output_node": True}})


class Store(InMemoryEngineNodesStore):
    """Counts the reads, and fails them while `is_down`."""

    def __init__(self) -> None:
        super().__init__()
        self.reads, self.is_down = 0, False

    def read(self, version: str) -> EngineNodes:
        self.reads += 1
        if self.is_down:
            raise Unavailable
        return super().read(version)


def test_known_nodes_are_read_once_in_a_while() -> None:
    clock, store = FrozenClock(), Store()
    store.publish("v1", NODES)
    published = PublishedNodes(store, "v1", clock)
    assert store.reads == 0
    assert published.get() == published.get() == NODES
    assert store.reads == 1
    clock.now += KEPT
    published.get()
    assert store.reads == 2


def test_unknown_nodes_are_soon_looked_for_again() -> None:
    clock, store = FrozenClock(), Store()
    published = PublishedNodes(store, "v1", clock)
    assert not published.get()
    store.publish("v1", NODES)
    assert not published.get()
    clock.now += KEPT_UNKNOWN
    assert published.get() == NODES


def test_a_store_out_of_reach_makes_them_unknown() -> None:
    clock, store = FrozenClock(), Store()
    store.publish("v1", NODES)
    store.is_down = True
    published = PublishedNodes(store, "v1", clock)
    assert not published.get()
    assert not published.get()
    assert store.reads == 1
    store.is_down = False
    clock.now += KEPT_UNKNOWN + timedelta(microseconds=1)
    assert published.get() == NODES


def test_other_versions_are_not_read() -> None:
    store = Store()
    store.publish("v2", NODES)
    assert not PublishedNodes(store, "v1", FrozenClock()).get()

"""Which nodes ComfyUI executes, against a slow and simple reading of the same rules."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given

from comfyline.service.graphs.catalogue import NEVER_OUTPUTS
from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.graph import Graph
from comfyline.service.graphs.needs import (
    ALWAYS_OUTPUTS,
    broken,
    dangling,
    needed_for_certain,
    needed_perhaps,
    sources_of,
)
from tests.support import recordings
from tests.unit.graphs.graphs import EMPTY, GOOD, GRAPHS, SAVE, node

UNKNOWN = EngineNodes()
KNOWN = EngineNodes.parse(recordings.object_info())


def reached(graph: Graph, start: str) -> set[str]:
    """Every node that a path of links leads to, without the start unless a cycle leads back."""
    found: set[str] = set()
    while True:
        ends = {source for n in {start, *found} & graph.keys() for source in sources_of(graph[n])}
        if ends <= found:
            return found
        found |= ends


@given(GRAPHS)
def test_broken_is_what_leads_to_a_missing_node_or_a_cycle(graph: Graph) -> None:
    def is_broken(node_id: str) -> bool:
        ends = reached(graph, node_id)
        return not ends <= graph.keys() or any(
            end in reached(graph, end) for end in {node_id, *ends}
        )

    assert broken(graph) == {node_id for node_id in graph if is_broken(node_id)}


@given(GRAPHS)
def test_needed_is_an_output_or_what_it_leads_to(graph: Graph) -> None:
    def needed(outputs: Iterable[str]) -> set[str]:
        starts = [n for n in graph if graph[n]["class_type"] in outputs]
        return {n for start in starts for n in {start, *reached(graph, start)} & graph.keys()}

    assert needed_for_certain(graph, UNKNOWN) == needed({"SaveImage"})
    assert needed_perhaps(graph, UNKNOWN) == needed({"SaveImage", "Unknown"})
    assert needed_for_certain(graph, KNOWN) <= needed_perhaps(graph, KNOWN)


@given(GRAPHS)
def test_every_dangling_link_is_found(graph: Graph) -> None:
    found = {(node_id, source) for node_id, _, source in dangling(graph)}
    links = {(n, source) for n in graph for source in sources_of(graph[n])}
    assert found == {(n, source) for n, source in links if source not in graph}


def test_what_the_engine_says_goes_before_what_is_known_of_comfyui() -> None:
    turned = EngineNodes.parse(
        {"SaveImage": {"output_node": False}, "ImageInvert": {"output_node": True}}
    )
    graph = {**GOOD, "3": node("ImageInvert", image=["1", 0])}
    assert needed_for_certain(graph, turned) == needed_perhaps(graph, turned) == {"1", "3"}


def test_a_class_of_an_unknown_engine_may_be_an_output() -> None:
    graph = {"1": EMPTY, "3": node("Unknown", image=["1", 0])}
    assert needed_for_certain(graph, KNOWN) == set()
    assert needed_perhaps(graph, KNOWN) == {"1", "3"}


def test_the_two_lists_agree_with_the_recorded_engine() -> None:
    assert not ALWAYS_OUTPUTS & NEVER_OUTPUTS
    assert all(KNOWN.is_output(name) for name in ALWAYS_OUTPUTS if KNOWN.knows(name))
    assert not any(KNOWN.is_output(name) for name in NEVER_OUTPUTS)


@pytest.mark.parametrize("nodes", [UNKNOWN, KNOWN])
def test_a_long_chain_needs_no_deep_stack(nodes: EngineNodes) -> None:
    chain = {str(n): node("ImageInvert", image=[str(n - 1), 0]) for n in range(2, 9_000)}
    graph = {"1": EMPTY, **chain, "end": {**SAVE, "inputs": {"images": ["8999", 0]}}}
    assert needed_for_certain(graph, nodes) == graph.keys()
    assert broken(graph) == set()
    assert len(broken({**graph, "1": node("ImageInvert", image=["5", 0])})) == len(graph)

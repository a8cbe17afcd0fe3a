"""Fit a graph to the engine that runs it: leave out broken nodes that no output needs.

ComfyUI executes what its output nodes need. It usually ignores a broken branch that no output
needs, but some of these branches stop it. Nothing is left out unless the engine's own description
proves that no output needs it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.graph import Graph
from comfyline.service.graphs.needs import broken, dangling, needed_perhaps

MAX_WARNINGS = 50  # one more counts the others, so that the result of a job stays small


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A node or an input that was left out. A warning in the job's result says so."""

    type: str
    message: str
    node_id: str | None = None
    node_type: str | None = None


@dataclass(frozen=True, slots=True)
class Fitted:
    """The graph for the engine, and the parts that were left out."""

    graph: Graph
    left_out: tuple[LeftOut, ...] = ()


def fitted(graph: Graph, nodes: EngineNodes) -> Fitted:
    """Leave out the broken nodes that no output needs, and links that would stop ComfyUI.

    A node is broken if it depends on a missing node or on a cycle. The graph is returned unchanged
    if it has no broken node, or if the engine's classes are unknown.
    """
    unneeded = broken(graph) - needed_perhaps(graph, nodes) if nodes else set()
    left = {node_id: node for node_id, node in graph.items() if node_id not in unneeded}
    ignored = [
        (node_id, name)
        for node_id, name, _ in dangling(left)
        if not nodes.declares(left[node_id]["class_type"], name)
    ]
    if not unneeded and not ignored:
        return Fitted(graph)
    warnings = (*_node_warnings(graph, unneeded), *_input_warnings(graph, ignored))
    for node_id, name in ignored:
        inputs = {key: value for key, value in left[node_id]["inputs"].items() if key != name}
        left[node_id] = {**left[node_id], "inputs": inputs}
    return Fitted(left, _first(warnings))


def _node_warnings(graph: Graph, unneeded: set[str]) -> Iterator[LeftOut]:
    reasons = {
        node_id: f"links to the missing node {source}" for node_id, _, source in dangling(graph)
    }
    for node_id in (n for n in graph if n in unneeded):
        reason = reasons.get(node_id, "depends on such a node, or on a cycle of nodes")
        yield LeftOut(
            type="node_left_out",
            message=f"Node {node_id} was left out: it {reason}, and no output needs it.",
            node_id=node_id,
            node_type=graph[node_id]["class_type"],
        )


def _input_warnings(graph: Graph, ignored: list[tuple[str, str]]) -> Iterator[LeftOut]:
    for node_id, name in ignored:
        class_type = graph[node_id]["class_type"]
        yield LeftOut(
            type="input_left_out",
            message=f"Input {name} of node {node_id} was left out: it links to a missing node, and "
            f"{class_type} has no such input.",
            node_id=node_id,
            node_type=class_type,
        )


def _first(warnings: tuple[LeftOut, ...]) -> tuple[LeftOut, ...]:
    more = len(warnings) - MAX_WARNINGS
    if more <= 0:
        return warnings
    rest = LeftOut(type=warnings[-1].type, message=f"{more} more were left out.")
    return (*warnings[:MAX_WARNINGS], rest)

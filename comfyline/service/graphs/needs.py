"""Which nodes of a graph ComfyUI executes: the output nodes, and the nodes that they depend on.

ComfyUI judges nothing else: a node that no output needs may link to a missing node or be part of a
cycle. Only the engine knows which classes are output nodes, so there are two answers here: the
nodes that are needed for certain, and those that may be needed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from comfyline.service.graphs.catalogue import NEVER_OUTPUTS
from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.graph import Graph, is_link

# Output nodes of ComfyUI itself, for as long as no worker has published the engine's classes.
ALWAYS_OUTPUTS = frozenset(
    {
        "PreviewAny",
        "PreviewAudio",
        "PreviewImage",
        "SaveAnimatedPNG",
        "SaveAnimatedWEBP",
        "SaveAudio",
        "SaveAudioMP3",
        "SaveAudioOpus",
        "SaveGLB",
        "SaveImage",
        "SaveLatent",
        "SaveVideo",
        "SaveWEBM",
    }
)


def is_output(class_type: str, nodes: EngineNodes) -> bool:
    """Whether nodes of the class are outputs for certain."""
    return nodes.is_output(class_type) or (
        class_type in ALWAYS_OUTPUTS and not nodes.knows(class_type)
    )


def may_be_output(class_type: str, nodes: EngineNodes) -> bool:
    """Whether nodes of the class are outputs, as far as is known."""
    if nodes.knows(class_type):
        return nodes.is_output(class_type)
    return class_type not in NEVER_OUTPUTS


def needed_for_certain(graph: Graph, nodes: EngineNodes) -> set[str]:
    """The nodes that ComfyUI executes, unless it refuses the outputs that need them."""
    return _with_sources(graph, (n for n in graph if is_output(graph[n]["class_type"], nodes)))


def needed_perhaps(graph: Graph, nodes: EngineNodes) -> set[str]:
    """The nodes that ComfyUI may execute. No output depends on any other node."""
    return _with_sources(graph, (n for n in graph if may_be_output(graph[n]["class_type"], nodes)))


def broken(graph: Graph) -> set[str]:
    """The nodes that cannot be executed: they depend on a missing node, or on a cycle."""
    missing = {node_id: len(set(sources_of(node))) for node_id, node in graph.items()}
    targets = defaultdict[str, list[str]](list)
    for node_id, node in graph.items():
        for source in set(sources_of(node)):
            targets[source].append(node_id)
    ready = [node_id for node_id, sources in missing.items() if sources == 0]
    for source in ready:  # grows meanwhile
        for target in targets[source]:
            missing[target] -= 1
            if missing[target] == 0:
                ready.append(target)
    return graph.keys() - set(ready)


def dangling(graph: Graph) -> Iterator[tuple[str, str, str]]:
    """Every link to a missing node: its node, its input, and the missing node."""
    for node_id, node in graph.items():
        for name, value in node["inputs"].items():
            if is_link(value) and value[0] not in graph:
                yield node_id, name, value[0]


def sources_of(node: Mapping[str, Any]) -> Iterator[str]:
    """The nodes that the node links to, whether or not they exist."""
    return (value[0] for value in node["inputs"].values() if is_link(value))


def _with_sources(graph: Graph, node_ids: Iterable[str]) -> set[str]:
    """These nodes, and every node that they depend on."""
    found = dict.fromkeys(node_ids)
    left = list(found)
    while left:
        for source in sources_of(graph[left.pop()]):
            if source in graph and source not in found:
                found[source] = None
                left.append(source)
    return set(found)

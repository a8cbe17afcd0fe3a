"""Change a graph so that a cached one writes its files again, and as little as possible.

ComfyUI does not execute a node whose inputs it has seen, and then answers with the names of files
that are gone. It compares all inputs that a graph has, also those that no node declares, and gives
a node only the inputs that it declares. So each node that writes gets an input that it never sees.
Nodes before it stay cached.
"""

from __future__ import annotations

import posixpath

from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.graph import Graph, is_link, with_input

MARKER = "comfyline"  # the input's name
# A node with such an input writes a file, also where it is no output node (Hy3DExportMesh).
PREFIXES = ("filename_prefix", "save_prefix")
_DEFAULT_PREFIX = "ComfyUI"


def marked(graph: Graph, nodes: EngineNodes, value: str) -> Graph:
    """The graph with `value` as a further input of each node that may write a file."""
    linked = {
        link[0] for node in graph.values() for link in node["inputs"].values() if is_link(link)
    }

    def writes(node_id: str) -> bool:
        node = graph[node_id]
        if any(prefix in node["inputs"] for prefix in PREFIXES):
            return True
        if nodes.knows(node["class_type"]):
            return nodes.is_output(node["class_type"])
        return node_id not in linked

    return {
        node_id: with_input(node, MARKER, value) if writes(node_id) else node
        for node_id, node in graph.items()
    }


def with_inner_prefixes(graph: Graph) -> Graph:
    """The graph with each `filename_prefix` that leads out of the output folder led back into it.

    ComfyUI fails on such a prefix; callers have always got their file. Others stay as they are.
    """
    changed = dict(graph)
    for node_id, node in graph.items():
        prefix = node["inputs"].get("filename_prefix")
        if isinstance(prefix, str) and _leads_out(prefix):
            inner = posixpath.normpath(f"/{prefix}").lstrip("/") or _DEFAULT_PREFIX
            changed[node_id] = with_input(node, "filename_prefix", inner)
    return changed


def _leads_out(prefix: str) -> bool:
    return posixpath.normpath(prefix).startswith(("/", ".."))

"""Change a graph as little as possible so that its nodes write and read their files again.

ComfyUI does not execute a node again if its inputs are in the cache. It then answers with the names
of files that the worker has removed. ComfyUI compares all inputs in a graph, also those that no
node class declares, but gives a node only the inputs that its class declares. So each node that
writes files gets one further input, which the node never sees. The nodes before it stay cached.
So does each node that reads folders (`gpu_worker.comfy.readers`), and each node of a graph that
saves models: a later prompt, which may be another owner's, would get what was in their files.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from comfyline.service.graphs.engine_nodes import EngineNodes
from comfyline.service.graphs.graph import Graph, is_link, with_input
from gpu_worker.comfy.readers import reads_folders, saves_models
from gpu_worker.comfy.shapes import fields

CACHE_BUSTER = "comfyline"  # the input's name
# A node with such an input writes a file, even if it is not an output node (Hy3DExportMesh).
PREFIXES = ("filename_prefix", "save_prefix")
_DEFAULT_PREFIX = "ComfyUI"


def with_cache_buster(graph: Graph, nodes: EngineNodes, value: str) -> Graph:
    """The graph with `value` as a further input of each node that writes files or reads folders."""
    if saves_models(graph):
        return never_cached(graph, value)
    linked = {
        link[0] for node in graph.values() for link in node["inputs"].values() if is_link(link)
    }

    def is_marked(node_id: str) -> bool:
        node = graph[node_id]
        if reads_folders(node) or any(prefix in node["inputs"] for prefix in PREFIXES):
            return True
        if nodes.knows(node["class_type"]):
            return nodes.is_output(node["class_type"])
        return node_id not in linked

    return {
        node_id: with_input(node, CACHE_BUSTER, value) if is_marked(node_id) else node
        for node_id, node in graph.items()
    }


def must_run(node: Mapping[str, Any]) -> bool:
    """Whether ComfyUI executes the node each time, because it has the further input."""
    return CACHE_BUSTER in fields(node.get("inputs"))


def never_cached(graph: Graph, value: str) -> Graph:
    """The graph with `value` as a further input of each node: ComfyUI executes all of them."""
    return {node_id: with_input(node, CACHE_BUSTER, value) for node_id, node in graph.items()}


def with_inner_prefixes(graph: Graph) -> Graph:
    """The graph with each `filename_prefix` inside of the output folder: `../x` becomes `x`.

    ComfyUI fails on a prefix that leads out of the folder, but this service has always accepted it.
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

"""The checkpoint that a graph loads, for people who look at workers."""

from __future__ import annotations

from comfyline.service.graphs.graph import Graph

# The inputs by which ComfyUI's own loaders and those of most packs name a checkpoint.
_INPUTS = ("ckpt_name", "unet_name")


def checkpoint_of(graph: Graph) -> str | None:
    """The first checkpoint that the graph names; None if none is found."""
    for node in graph.values():
        for name in _INPUTS:
            if isinstance(value := node.get("inputs", {}).get(name), str):
                return value
    return None

"""The prompt that brings the simulator's cache into the state of the recorded server's cache."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from tests.contract.comfyui_sim.differences import CACHED_BEFORE

Events = list[dict[str, Any]]


def graph_before(name: str, events: Events) -> dict[str, Any] | None:
    """A graph to run before the recording; None if its first prompt found nothing in the cache.

    It is the first graph of the recording. Nodes that were not in the cache are changed, as far as
    their inputs come from nodes that were.
    """
    posts = (event for event in events if event.get("path") == "/prompt")
    first = next((event for event in posts if event["method"] == "POST"), None)
    if first is None or not (cached := _cached_before(name, events, first)):
        return None
    graph: dict[str, Any] = copy.deepcopy(first["request_json"]["prompt"])
    for node_id, node in graph.items():
        if node_id not in cached and not _links(node) - set(cached):
            _vary(node["inputs"])
    return graph


def _cached_before(name: str, events: Events, first: dict[str, Any]) -> list[str]:
    if name in CACHED_BEFORE:
        return CACHED_BEFORE[name]
    prompt_id = first.get("response_json", {}).get("prompt_id")
    for event in events:
        content = event.get("json", {})
        if content.get("type") == "execution_cached" and event["kind"] == "ws":
            is_first = content["data"]["prompt_id"] == prompt_id
            return list(content["data"]["nodes"]) if is_first else []
    return []


def _links(node: Mapping[str, Any]) -> set[str]:
    return {value[0] for value in node["inputs"].values() if isinstance(value, list)}


def _vary(inputs: dict[str, Any]) -> None:
    """Change one widget, so that the cache does not find the node."""
    name = next(
        name for name in ("seed", "nonce", "color", "width", "filename_prefix") if name in inputs
    )
    inputs[name] = inputs[name] + ("x" if name == "filename_prefix" else 64)

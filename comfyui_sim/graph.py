"""The order in which nodes run, and the signatures by which the cache finds their results."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from comfyui_sim.node_types import NodeType
from comfyui_sim.options import Folders

Prompt = Mapping[str, Mapping[str, Any]]


def is_link(value: Any) -> bool:
    """Whether an input is a link: [node id, output slot]."""
    return isinstance(value, list)


def links(node: Mapping[str, Any]) -> list[str]:
    """The node ids that a node's inputs link to, in the order of its inputs."""
    return [value[0] for value in node["inputs"].values() if is_link(value)]


class Order:
    """The next node is the first one, counted from the outputs, that has all its inputs.

    This order is the one in the recordings. ComfyUI promises no order.
    """

    def __init__(
        self, prompt: Prompt, outputs: list[str], is_cached: Callable[[str], bool]
    ) -> None:
        self._waits_for: dict[str, set[str]] = {}
        self._feeds: dict[str, list[str]] = {}
        for output in outputs:
            self._add(prompt, output, is_cached)

    def _add(self, prompt: Prompt, output: str, is_cached: Callable[[str], bool]) -> None:
        stack = [output]
        while stack:
            node_id = stack.pop()
            if node_id in self._waits_for:
                continue
            sources = [] if is_cached(node_id) else links(prompt[node_id])
            sources = [source for source in sources if not is_cached(source)]
            self._waits_for[node_id] = set(sources)
            self._feeds.setdefault(node_id, [])
            for source in dict.fromkeys(sources):
                self._feeds.setdefault(source, []).append(node_id)
            stack.extend(sources)

    def __bool__(self) -> bool:
        return bool(self._waits_for)

    def next(self) -> str:
        """The node to run now. It stays the next one until `complete` is called."""
        return next(node_id for node_id, waits in self._waits_for.items() if not waits)

    def complete(self, node_id: str) -> None:
        """Remove a node that has run. The nodes that use its outputs no longer wait for it."""
        del self._waits_for[node_id]
        for user in self._feeds[node_id]:
            self._waits_for[user].discard(node_id)


def needed(prompt: Prompt, outputs: list[str]) -> list[str]:
    """The nodes that the outputs depend on, and the outputs, in the order of the prompt."""
    found: set[str] = set()
    stack = list(outputs)
    while stack:
        node_id = stack.pop()
        if node_id not in found:
            found.add(node_id)
            stack.extend(links(prompt[node_id]))
    return [node_id for node_id in prompt if node_id in found]


def signatures(
    prompt: Prompt, node_ids: list[str], types: Mapping[str, NodeType], folders: Folders
) -> dict[str, str]:
    """For each node, a hash of all that its result depends on; node ids do not matter.

    The nodes must have been validated.
    """
    known: dict[str, str] = {}

    def sign(node_id: str) -> str:
        if node_id not in known:
            node = prompt[node_id]
            node_type = types[node["class_type"]]
            facts: list[Any] = [node_type.name]
            for name, value in sorted(node["inputs"].items()):
                facts.append([name, [sign(value[0]), value[1]] if is_link(value) else value])
            if node_type.content is not None:
                facts.append(node_type.content(folders, node["inputs"]))
            known[node_id] = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        return known[node_id]

    return {node_id: sign(node_id) for node_id in node_ids}

"""The order in which nodes run, and the signatures by which the cache finds their results."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from comfyui_sim.node_types import NodeType
from comfyui_sim.options import Folders

Prompt = Mapping[str, Mapping[str, Any]]


def is_link(value: Any) -> bool:
    """Whether an input is a link: [node id, output slot]."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], (int, float))
    )


class Broken(Exception):
    """The graph needs a node that it does not hold, or a node has no inputs."""


def links(prompt: Prompt, node_id: str) -> list[str]:
    """The node ids that a node's inputs link to, in the order of its inputs.

    Raises:
        Broken: there is no such node, or it has no inputs.
    """
    return [value[0] for value in _inputs(prompt, node_id).values() if is_link(value)]


def _inputs(prompt: Prompt, node_id: str) -> Mapping[str, Any]:
    try:
        inputs: Mapping[str, Any] = prompt[node_id]["inputs"]
    except KeyError as missing:
        raise Broken(f"node {node_id} has no {missing}") from None
    return inputs


class Order:
    """The next node is the first one, counted from the outputs, that has all its inputs.

    This order is the one in the recordings. ComfyUI promises no order.

    Raises:
        Broken: a node that is needed does not exist.
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
            sources = [] if is_cached(node_id) else links(prompt, node_id)
            sources = [source for source in sources if not is_cached(source)]
            self._waits_for[node_id] = set(sources)
            self._feeds.setdefault(node_id, [])
            for source in dict.fromkeys(sources):
                self._feeds.setdefault(source, []).append(node_id)
            stack.extend(sources)

    def __bool__(self) -> bool:
        return bool(self._waits_for)

    def next(self) -> str | None:
        """The node to run now, until `complete` is called; None if all nodes left form cycles."""
        return next((node_id for node_id, waits in self._waits_for.items() if not waits), None)

    def left(self) -> list[str]:
        """The nodes that have not run."""
        return list(self._waits_for)

    def complete(self, node_id: str) -> None:
        """Remove a node that has run. The nodes that use its outputs no longer wait for it."""
        del self._waits_for[node_id]
        for user in self._feeds[node_id]:
            self._waits_for[user].discard(node_id)


def signatures(prompt: Prompt, types: Mapping[str, NodeType], folders: Folders) -> dict[str, str]:
    """For each node, a hash of all that its result depends on.

    Node ids matter only to classes that know their own. A value that does not equal itself (NaN)
    and a link to a node that does not exist give a hash that never occurs again.

    Raises:
        Broken: a node has no inputs.
    """
    changes = {node_id: _change(prompt, node_id, types, folders) for node_id in prompt}
    return {node_id: _sign(prompt, types, changes, node_id) for node_id in prompt}


def _change(prompt: Prompt, node_id: str, types: Mapping[str, NodeType], folders: Folders) -> Any:
    """What IS_CHANGED says; a prompt may bring the answer itself under `is_changed`."""
    node, values = prompt[node_id], _inputs(prompt, node_id).items()
    content = types[node["class_type"]].content
    if content is None:
        return False
    if "is_changed" in node:
        return node["is_changed"]
    try:
        return content(folders, {name: None if is_link(value) else value for name, value in values})
    except (AttributeError, KeyError, OSError, TypeError):
        return float("nan")


def _sign(
    prompt: Prompt, types: Mapping[str, NodeType], changes: Mapping[str, Any], node_id: str
) -> str:
    family = _family(prompt, node_id)
    facts: list[Any] = []
    for member in family:
        if member not in prompt:
            facts.append([float("nan")])
            continue
        node = prompt[member]
        node_type = types[node["class_type"]]
        own_id = member if "UNIQUE_ID" in node_type.hidden.values() else None
        inputs = [
            [name, {"from": family.index(value[0]), "slot": value[1]} if is_link(value) else value]
            for name, value in sorted(node["inputs"].items())
        ]
        facts.append([node_type.name, changes[member], own_id, inputs])
    try:
        text = json.dumps(facts, allow_nan=False, sort_keys=True)
    except ValueError:
        text = f"{node_id} {time.monotonic_ns()}"
    return hashlib.sha256(text.encode()).hexdigest()


def _family(prompt: Prompt, node_id: str) -> list[str]:
    """The node and all nodes that it depends on, in an order that their inputs determine."""
    found = [node_id]
    for member in found:  # grows while it is read
        node = prompt.get(member, {"inputs": {}})
        sources = (value[0] for _, value in sorted(node["inputs"].items()) if is_link(value))
        found += [source for source in dict.fromkeys(sources) if source not in found]
    return found

"""Fold ComfyUI's messages about many nodes into one fraction.

- The weight of a node is 1 plus the number in its `steps` widget. So a graph with one sampler moves
  with the sampler's steps instead of jumping.
- Not every node with that widget steps: a scheduler hands its steps to a sampler. So a node that
  ends without having stepped passes its weight beyond 1 to the nodes that take its output.
- A cached node does not run, so its weight does not count. A node is done when it has finished, and
  partly done by its own steps. A node that expands into others moves with the nodes inside it, but
  it is done only when it finishes itself.
- The fraction never falls and stays below 1; only the end of the job is 1. A node that turns out
  not to be needed makes the fraction jump at the end, because that cannot be known before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from comfyline.service.jobs.progress import Progress

ALMOST_DONE = 0.99  # the most before the end, because the outputs still have to be stored


class ProgressFold:
    """Each method takes one message and returns the new progress, or None if it has not changed."""

    def __init__(self, graph: Mapping[str, Mapping[str, Any]]) -> None:
        self._types = {node: str(spec.get("class_type")) for node, spec in graph.items()}
        self._weights = {node: _weight(spec) for node, spec in graph.items()}
        self._takers = _takers(graph)
        self._cached: set[str] = set()  # nodes that need not run
        self._parts: dict[str, float] = {}  # how much of each node is done, 0..1
        self._steps: dict[str, tuple[int, int]] = {}  # step and steps of the nodes that step
        self._node: str | None = None  # the node that runs now
        self._fraction = 0.0  # the highest so far
        self._last = Progress(nodes_total=len(graph))

    def cached(self, nodes: Iterable[str]) -> Progress | None:
        """These nodes need not run."""
        self._cached.update(node for node in nodes if node in self._weights)
        return self._news()

    def executing(self, node: str) -> Progress | None:
        """This node runs now. The one before it is done, because one node runs at a time."""
        if self._node not in (None, node):
            self._finish(self._node)
        self._node = node
        return self._news()

    def finished(self, node: str) -> Progress | None:
        """This node has made its output."""
        self._finish(node)
        return self._news()

    def stepped(self, node: str, value: Any, maximum: Any) -> Progress | None:
        """This node is at step `value` of `maximum`."""
        self._step(node, value, maximum)
        return self._news()

    def states(self, nodes: Mapping[str, Any]) -> Progress | None:
        """The states of all nodes started so far, as a `progress_state` message lists them."""
        for node_id, state in nodes.items():
            if not isinstance(state, dict):
                continue
            node = str(state.get("display_node_id") or node_id)
            if node != node_id:
                self._step(node, state.get("value"), state.get("max"), most=ALMOST_DONE)
            elif state.get("state") == "finished":
                self._finish(node)
            else:
                self._step(node, state.get("value"), state.get("max"))
        return self._news()

    def _finish(self, node: str | None) -> None:
        if node is None or node not in self._weights or self._parts.get(node) == 1.0:
            return
        self._parts[node] = 1.0
        if node not in self._steps:
            self._pass_weight_on(node)

    def _pass_weight_on(self, node: str) -> None:
        extra, self._weights[node] = self._weights[node] - 1.0, 1.0
        waiting = [t for t in self._takers[node] if self._parts.get(t) != 1.0 and t != node]
        for taker in waiting:
            self._weights[taker] += extra / len(waiting)

    def _step(self, node: str, value: Any, maximum: Any, *, most: float = 1.0) -> None:
        if node not in self._weights or not _is_count(value) or not _is_count(maximum):
            return
        if maximum <= 1 or value > maximum:  # every node counts to 1, only steps count further
            return
        self._parts[node] = max(self._parts.get(node, 0.0), min(value / maximum, most))
        self._steps[node] = (int(value), int(maximum))

    def _news(self) -> Progress | None:
        self._fraction = max(self._fraction, min(self._share_done(), ALMOST_DONE))
        step, steps = self._steps.get(self._node or "", (None, None))
        node_type = self._types.get(self._node or "")
        progress = Progress(
            fraction=round(self._fraction, 4),
            node=self._node,
            node_type=node_type,
            step=step,
            steps=steps,
            nodes_done=len({n for n, part in self._parts.items() if part >= 1.0} | self._cached),
            nodes_total=len(self._weights),
            message=node_type if step is None else f"step {step}/{steps}",
        )
        if progress == self._last:
            return None
        self._last = progress
        return progress

    def _share_done(self) -> float:
        """The share of the nodes that must run; 1 if everything is cached."""
        must_run = {node: w for node, w in self._weights.items() if node not in self._cached}
        done = sum(weight * self._parts.get(node, 0.0) for node, weight in must_run.items())
        return done / sum(must_run.values()) if must_run else float(bool(self._cached))


def _takers(graph: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """For each node the nodes that take its output."""
    takers: dict[str, list[str]] = {node: [] for node in graph}
    for node, spec in graph.items():
        inputs = spec.get("inputs")
        for value in inputs.values() if isinstance(inputs, dict) else ():
            if isinstance(value, list) and len(value) == 2 and str(value[0]) in takers:
                takers[str(value[0])].append(node)
    return {node: list(dict.fromkeys(found)) for node, found in takers.items()}


def _weight(spec: Mapping[str, Any]) -> float:
    inputs = spec.get("inputs")
    steps: Any = inputs.get("steps") if isinstance(inputs, dict) else None
    return 1.0 + float(steps) if _is_count(steps) and 1 < steps <= 10_000 else 1.0


def _is_count(value: Any) -> bool:
    # NaN compares false with everything, so the range excludes it.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9

"""One fraction out of many nodes.

- A node weighs 1, and as many more as its `steps` widget says: a graph with one sampler then moves
  with the sampler instead of jumping.
- Not every node with that widget is the one that steps: a scheduler hands its steps on. So a node
  that ends without having stepped passes what it weighs beyond 1 to the nodes that take its output.
- What is cached need not run and weighs nothing. A node is done when it is finished, and partly
  done by its own steps. What runs inside a node that expands into others moves it, but never ends
  it.
- The fraction never falls, and stays below 1: only the end of the job is 1. A node that turns out
  not to be needed is missing at the end, which nobody can know before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from comfyline.service.jobs.progress import Progress

ALMOST_DONE = 0.99  # outputs have yet to be stored


class ProgressFold:
    """Folds what is heard of the nodes; each method returns how far it all is, if that is news."""

    def __init__(self, graph: Mapping[str, Mapping[str, Any]]) -> None:
        self._types = {node: str(spec.get("class_type")) for node, spec in graph.items()}
        self._weights = {node: _weight(spec) for node, spec in graph.items()}
        self._takers = _takers(graph)
        self._cached: set[str] = set()
        self._parts: dict[str, float] = {}
        self._steps: dict[str, tuple[int, int]] = {}
        self._node: str | None = None
        self._fraction = 0.0
        self._last = Progress(nodes_total=len(graph))

    def cached(self, nodes: Iterable[str]) -> Progress | None:
        """These need not run."""
        self._cached.update(node for node in nodes if node in self._weights)
        return self._news()

    def executing(self, node: str) -> Progress | None:
        """This one runs now; what ran before it is done, as one runs at a time."""
        if self._node not in (None, node):
            self._finish(self._node)
        self._node = node
        return self._news()

    def finished(self, node: str) -> Progress | None:
        """This one has made its output."""
        self._finish(node)
        return self._news()

    def stepped(self, node: str, value: Any, maximum: Any) -> Progress | None:
        """This one is at `value` of `maximum`."""
        self._step(node, value, maximum)
        return self._news()

    def states(self, nodes: Mapping[str, Any]) -> Progress | None:
        """All nodes that were started so far, as `progress_state` lists them."""
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
            self._hand_on(node)

    def _hand_on(self, node: str) -> None:
        extra, self._weights[node] = self._weights[node] - 1.0, 1.0
        waiting = [t for t in self._takers[node] if self._parts.get(t) != 1.0 and t != node]
        for taker in waiting:
            self._weights[taker] += extra / len(waiting)

    def _step(self, node: str, value: Any, maximum: Any, *, most: float = 1.0) -> None:
        if node not in self._weights or not _is_count(value) or not _is_count(maximum):
            return
        if maximum <= 1 or value > maximum:  # every node counts to 1; only a bar counts further
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
        """Of what must run; all of it, if nothing must."""
        wanted = {node: w for node, w in self._weights.items() if node not in self._cached}
        done = sum(weight * self._parts.get(node, 0.0) for node, weight in wanted.items())
        return done / sum(wanted.values()) if wanted else float(bool(self._cached))


def _takers(graph: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """The nodes that take each node's output."""
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
    # NaN compares false with everything, so it fails the range.
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9

"""What was measured, in memory and in order, for tests to ask."""

from __future__ import annotations

from collections.abc import Mapping

from comfyline.service.metrics import Metric


class InMemoryMetrics:
    """`Metrics` in memory: what was recorded, in order."""

    def __init__(self) -> None:
        self.recorded: list[tuple[Metric, float, Mapping[str, str]]] = []

    def record(self, metric: Metric, value: float = 1, **dimensions: str) -> None:
        """See Metrics."""
        assert set(dimensions) == ({metric.dimension} if metric.dimension else set())
        self.recorded.append((metric, value, dimensions))

    def sum(self, metric: Metric, **dimensions: str) -> float:
        """Of what was recorded of that metric with those dimensions."""
        return sum(value for one, value, of in self.recorded if (one, of) == (metric, dimensions))

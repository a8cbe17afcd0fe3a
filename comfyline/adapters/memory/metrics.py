"""Metrics in memory, which tests read."""

from __future__ import annotations

from collections.abc import Mapping

from comfyline.service.metrics import Metric


class InMemoryMetrics:
    """`Metrics` in memory. `recorded` holds every call, in order."""

    def __init__(self) -> None:
        self.recorded: list[tuple[Metric, float, Mapping[str, str]]] = []

    def record(self, metric: Metric, value: float = 1, **dimensions: str) -> None:
        """See Metrics."""
        assert set(dimensions) == ({metric.dimension} if metric.dimension else set())
        self.recorded.append((metric, value, dimensions))

    def sum(self, metric: Metric, **dimensions: str) -> float:
        """The sum of the values that were recorded of this metric with these dimensions."""
        wanted = metric, dimensions
        return sum(value for recorded, value, of in self.recorded if (recorded, of) == wanted)

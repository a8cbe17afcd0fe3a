"""What is measured while it happens, noted at once by whoever sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from comfyline.metrics import Metric


class Metrics(Protocol):
    """Takes what is measured while it happens."""

    def record(self, metric: Metric, value: float = 1, **dimensions: str) -> None:
        """Note a fact, at once and from any thread.

        `dimensions` has what the metric names as its dimension, and nothing else.
        """

"""Metrics as log lines in CloudWatch's embedded format: no call, no permission, no agent."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Mapping, Sequence

from aws_lambda_powertools.metrics import EphemeralMetrics

from comfyline.service.metrics import Metric
from comfyline.service.storage_names import METRICS_SERVICE

# CloudWatch reads up to 100 values of a metric in a line. Powertools prints a line by itself when
# it has so many.
MAX_VALUES = 99


class EmfMetrics:
    """`Metrics` that writes a line for each fact at once. An empty namespace records nothing."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    def record(self, metric: Metric, value: float = 1, **dimensions: str) -> None:
        """See Metrics."""
        if self._namespace:
            _write(self._namespace, {metric: [value]}, dimensions)


class BufferedEmfMetrics:
    """`Metrics` that keeps facts until `flush` writes them, with many values in one line.

    For a process that records several facts per job: a line for each of them would cost as much as
    the rest of the job's log. A process that is killed loses the facts that it has
    recorded since the last flush.
    """

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._values: dict[tuple[Metric, frozenset[tuple[str, str]]], list[float]] = {}
        self._lock = threading.Lock()  # facts come from any thread

    def record(self, metric: Metric, value: float = 1, **dimensions: str) -> None:
        """See Metrics."""
        if self._namespace:
            with self._lock:
                key = metric, frozenset(dimensions.items())
                self._values.setdefault(key, []).append(round(value, 3))

    def flush(self) -> None:
        """Write everything that was recorded since the last flush."""
        with self._lock:
            kept, self._values = self._values, {}
        lines: dict[tuple[frozenset[tuple[str, str]], int], dict[Metric, list[float]]] = {}
        for (metric, dimensions), values in kept.items():
            for start in range(0, len(values), MAX_VALUES):
                line = lines.setdefault((dimensions, start), {})
                line[metric] = values[start : start + MAX_VALUES]
        for (dimensions, _start), metrics in lines.items():
            _write(self._namespace, metrics, dict(dimensions))


def _write(
    namespace: str, metrics: Mapping[Metric, Sequence[float]], dimensions: Mapping[str, str]
) -> None:
    """Write one line; its metrics share the dimensions."""
    line = EphemeralMetrics(namespace=namespace, service=METRICS_SERVICE)
    for name, value in dimensions.items():
        line.add_dimension(name, value)
    for metric, values in metrics.items():
        for number in values:
            line.add_metric(metric.value, metric.unit.value, number)
    text = json.dumps(line.serialize_metric_set(), separators=(",", ":"))
    # One write, because print makes two, and another thread's line may fall between them.
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()

"""Metrics as lines of the log in CloudWatch's embedded format: no call, no permission, no agent."""

from __future__ import annotations

import json
import sys

from aws_lambda_powertools.metrics import EphemeralMetrics

from comfyline.service.metrics import Metric
from comfyline.service.storage_names import METRICS_SERVICE


class EmfMetrics:
    """`Metrics`, a line for each fact; an empty namespace records nothing."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace

    def record(self, metric: Metric, value: float = 1, **dimensions: str) -> None:
        """See Metrics."""
        if not self._namespace:
            return
        one = EphemeralMetrics(namespace=self._namespace, service=METRICS_SERVICE)
        for name, said in dimensions.items():
            one.add_dimension(name, said)
        one.add_metric(metric.value, metric.unit.value, value)
        line = json.dumps(one.serialize_metric_set(), separators=(",", ":"))
        # One write: print makes two, between which another thread's line may fall.
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

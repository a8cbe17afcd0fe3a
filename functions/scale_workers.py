"""The minute's schedule, and jobs for a fleet that is asleep: keep as many workers as needed."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger

from comfyline.service.fleet.scale import Scaled
from comfyline.service.metrics import Metric, Metrics
from comfyline.service.settings import ScaleWorkersSettings
from functions import _wiring

logger = Logger(service="scale_workers")


def handler(event: Any, _context: Any) -> None:
    """One round. The schedule's event has no records; a stream's has one for each new job."""
    settings = _wiring.settings(ScaleWorkersSettings)
    scaled = _wiring.scaler(settings).scale(arrived=len(event.get("Records", [])))
    if scaled is None:
        return
    seen = scaled.seen
    if scaled.resized:
        counts = {"waiting": seen.waiting, "in_flight": seen.in_flight, "running": seen.running}
        logger.info("resized", extra={"action": "resized", "workers": scaled.workers} | counts)
    if seen.waiting or seen.in_flight or seen.running or scaled.workers:
        _measure(
            scaled, _wiring.metrics(settings)
        )  # a metric is paid for by the hour that it is used


def _measure(scaled: Scaled, metrics: Metrics) -> None:
    seen = scaled.seen
    measured = {
        Metric.TICKETS_WAITING: seen.waiting,
        Metric.TICKETS_IN_FLIGHT: seen.in_flight,
        Metric.TICKETS_UNSERVED: 0 if seen.running else seen.waiting,
        Metric.OLDEST_WAIT: seen.oldest_wait.total_seconds(),
        Metric.WORKERS_RUNNING: seen.running,
        Metric.WORKERS_DESIRED: scaled.workers,
    }
    for metric, value in measured.items():
        metrics.record(metric, value)

"""The minute's schedule, and jobs for a fleet that is asleep: keep as many workers as needed."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from comfyline.settings import ScaleWorkersSettings
from comfyline.usecases.scale import Scaled
from functions import _wiring

NAMESPACE = "Comfyline"

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
        _measure(scaled, settings.environment)  # a metric is paid for by the hour that it is used


def _measure(scaled: Scaled, environment: str) -> None:
    seen = scaled.seen
    metrics = Metrics(namespace=NAMESPACE, service="scale_workers")
    metrics.add_dimension("environment", environment)
    measured = {
        "TicketsWaiting": seen.waiting,
        "TicketsInFlight": seen.in_flight,
        "WorkersRunning": seen.running,
        "WorkersDesired": scaled.workers,
        "TicketsUnserved": 0 if seen.running else seen.waiting,
    }
    for name, value in measured.items():
        metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
    seconds = seen.oldest_wait.total_seconds()
    metrics.add_metric(name="OldestWait", unit=MetricUnit.Seconds, value=seconds)
    metrics.flush_metrics()

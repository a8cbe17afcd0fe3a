"""Keep as many workers as the jobs need: every minute, and when a job comes to an idle fleet."""

from __future__ import annotations

from comfyline.service.fleet.scale import Scaled
from comfyline.service.metrics import Metric, Metrics
from functions._handlers import Event, lambda_handler, logger
from functions._wiring import Wiring


@lambda_handler
def handler(event: Event, wiring: Wiring) -> None:
    """Run one round. settle_jobs says how many jobs have arrived; the schedule says nothing."""
    scaled = wiring.scaler.scale(arrived=event.get("arrived", 0))
    if scaled is None:
        return
    seen = scaled.seen
    if scaled.resized:
        counts = {"waiting": seen.waiting, "in_flight": seen.in_flight, "running": seen.running}
        logger.info("resized", extra={"action": "resized", "workers": scaled.workers} | counts)
    if seen.waiting or seen.in_flight or seen.running or scaled.workers:
        # Not for an idle fleet, because CloudWatch bills each hour in which a metric has a value.
        _measure(scaled, wiring.aws.metrics)


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

"""Keep as many workers as the jobs need: every minute, and when a job comes to an idle fleet."""

from __future__ import annotations

from comfyline.service.fleet.scale import Scaled
from comfyline.service.metrics import Metric, Metrics
from functions._handlers import Event, at_start, lambda_handler, logger
from functions._wiring import Wiring

at_start(lambda wiring: (wiring.aws.backlog, wiring.aws.fleet, wiring.aws.scaling_memory))


@lambda_handler
def handler(event: Event, wiring: Wiring) -> None:
    """Run one round. settle_jobs says how many jobs have arrived; the schedule says nothing."""
    scaled = wiring.fleet.scaler.scale(arrived=event.get("arrived", 0))
    if scaled is None:
        return
    seen = scaled.seen
    if scaled.resized:
        counts = {"waiting": seen.waiting, "in_flight": seen.in_flight, "ready": seen.running}
        asked = {"ondemand": scaled.asked.ondemand, "spot": scaled.asked.spot}
        logger.info("resized", extra={"action": "resized", **asked, **counts})
    if scaled.is_held:
        logger.warning("fleet held small", extra={"action": "fleet_held", "ready": seen.running})
    running = scaled.size.running.total
    if seen.waiting or seen.in_flight or running or scaled.asked.total:
        # Not for an idle fleet, because CloudWatch bills each hour in which a metric has a value.
        _measure(scaled, wiring.aws.metrics)


def _measure(scaled: Scaled, metrics: Metrics) -> None:
    seen, size = scaled.seen, scaled.size
    measured = {
        Metric.TICKETS_WAITING: seen.waiting,
        Metric.TICKETS_IN_FLIGHT: seen.in_flight,
        Metric.TICKETS_UNSERVED: 0 if seen.running else seen.waiting,
        Metric.OLDEST_WAIT: seen.oldest_wait.total_seconds(),
        Metric.WORKERS_RUNNING: size.running.total,
        Metric.WORKERS_ON_SPOT: size.running.spot,
        Metric.WORKERS_READY: seen.running,
        Metric.WORKERS_DESIRED: scaled.asked.total,
        Metric.WORKERS_UNFILLED: scaled.unfilled,
    }
    for metric, value in measured.items():
        metrics.record(metric, value)

"""GET /metrics: the service for Prometheus, whichever of its Lambdas and workers did the work."""

from __future__ import annotations

from collections.abc import Iterator

from aws_lambda_powertools import Logger
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from comfyline.service.ledger.count import Measured
from comfyline.service.ledger.totals import Distribution
from functions._http import Answer, Request, http_handler
from functions._wiring import Wiring

logger = Logger(service="get_metrics")


@http_handler(logger, scope="admin")
def handler(_request: Request, wiring: Wiring) -> Answer:
    """200 with the text format. A pause of the service does not stop it."""
    return Answer(shown(wiring.meter.read()), headers={"content-type": CONTENT_TYPE_PLAIN_0_0_4})


def shown(measured: Measured) -> str:
    """What was measured, as Prometheus reads it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Of(measured))
    return generate_latest(registry).decode()


class _Of(Collector):
    def __init__(self, measured: Measured) -> None:
        self._measured = measured

    def collect(self) -> Iterator[Metric]:
        totals, now = self._measured.totals, self._measured
        jobs = CounterMetricFamily("comfyui_jobs", "Jobs that have ended.", labels=["status"])
        for status, count in totals.jobs.items():
            jobs.add_metric([status.value], count)
        depth = GaugeMetricFamily("comfyui_queue_depth", "Waiting jobs.", labels=["priority"])
        for lane, waiting in now.queue_depth.items():
            depth.add_metric([lane.value], waiting)
        yield jobs
        yield _histogram("comfyui_job_duration_seconds", "From start to end.", totals.durations)
        yield _histogram("comfyui_job_wait_seconds", "From post to start.", totals.waits)
        gpu = totals.gpu_seconds
        yield CounterMetricFamily("comfyui_gpu_seconds", "Of jobs that have ended.", value=gpu)
        given_back = totals.interruptions
        yield CounterMetricFamily("comfyui_interruptions", "Likewise.", value=given_back)
        yield depth
        yield GaugeMetricFamily("comfyui_active_workers", "That are up.", value=now.active_workers)
        yield GaugeMetricFamily("comfyui_running_jobs", "On a GPU.", value=now.running_jobs)


def _histogram(name: str, says: str, found: Distribution) -> Metric:
    bounds = [("+Inf" if bound == float("inf") else str(bound), n) for bound, n in found.buckets]
    return HistogramMetricFamily(name, says, buckets=bounds, sum_value=found.seconds)

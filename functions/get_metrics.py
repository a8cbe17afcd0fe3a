"""GET /metrics: the totals of the whole service in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

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
from comfyline.service.ledger.totals import Distribution, Totals
from functions._handlers import at_start
from functions._http import Answer, http_handler
from functions._request import Request
from functions._wiring import Wiring

at_start(lambda wiring: wiring.meter)


@http_handler(scope="admin")
def handler(_request: Request, wiring: Wiring) -> Answer:
    """200 with the metrics, also while the service is paused."""
    return Answer(shown(wiring.meter.read()), headers={"content-type": CONTENT_TYPE_PLAIN_0_0_4})


def shown(measured: Measured) -> str:
    """The metrics in the text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Measured(measured))
    return generate_latest(registry).decode()


class _Measured(Collector):
    def __init__(self, measured: Measured) -> None:
        self._measured = measured

    def collect(self) -> Iterator[Metric]:
        yield from _of_ended_jobs(self._measured.totals)
        yield from _of_the_moment(self._measured)


def _of_ended_jobs(totals: Totals) -> Iterator[Metric]:
    jobs = CounterMetricFamily("comfyui_jobs", "Ended jobs by status.", labels=["status"])
    for status, count in totals.jobs.items():
        jobs.add_metric([status.value], count)
    yield jobs
    run_time = "Time from the first start of a job to its end."
    yield _histogram("comfyui_job_duration_seconds", run_time, totals.durations)
    wait = "Time from the post of a job to its first start."
    yield _histogram("comfyui_job_wait_seconds", wait, totals.waits)
    gpu_time = "GPU time of ended jobs."
    yield CounterMetricFamily("comfyui_gpu_seconds", gpu_time, value=totals.gpu_seconds)
    interruptions = "Interruptions of ended jobs."
    yield CounterMetricFamily("comfyui_interruptions", interruptions, value=totals.interruptions)


def _of_the_moment(now: Measured) -> Iterator[Metric]:
    depth = GaugeMetricFamily(
        "comfyui_queue_depth", "Tickets that wait in a lane.", labels=["priority"]
    )
    for lane, waiting in now.queue_depth.items():
        depth.add_metric([lane.value], waiting)
    yield depth
    alive = "Workers that reported themselves alive within the last 60 s."
    yield GaugeMetricFamily("comfyui_active_workers", alive, value=now.active_workers)
    unhealthy = "Active workers that take no job: disk, memory, GPU or clock is out of order."
    yield GaugeMetricFamily("comfyui_unhealthy_workers", unhealthy, value=now.unhealthy_workers)
    running = "Jobs that run on a GPU."
    yield GaugeMetricFamily("comfyui_running_jobs", running, value=now.running_jobs)


def _histogram(name: str, help_text: str, found: Distribution) -> Metric:
    bounds = [("+Inf" if bound == float("inf") else str(bound), n) for bound, n in found.buckets]
    return HistogramMetricFamily(name, help_text, buckets=bounds, sum_value=found.seconds)

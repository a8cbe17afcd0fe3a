"""What a worker measures: facts go to the log and to whoever scrapes it, timings to the latter.

Prometheus asks for counters that only grow; a restart sets them to zero, which its `rate` knows.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from comfyline.service.metrics import Metric, Metrics
from gpu_worker.comfy.engine import ComfyEngine

# From a claim, some milliseconds, to a long video.
BUCKETS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 60, 120, 300, 600, 1200)


class Stage(StrEnum):
    """Where a job's time goes on a worker, in order."""

    CLAIM = "claim"
    INPUTS = "inputs"  # the graph is read, its files are placed
    AHEAD = "queued_ahead"  # in the engine, behind the job before it
    RUN = "run"
    COLLECT = "collect"  # outputs are stored
    FINISH = "finish"  # the last write, and the ticket


@contextmanager
def timed(metrics: Metrics, stage: Stage) -> Iterator[None]:
    """Record how long the block takes, however it ends."""
    began = time.monotonic()
    try:
        yield
    finally:
        metrics.record(Metric.STAGE_TIME, time.monotonic() - began, stage=stage.value)


class Both:
    """Each fact to two takers."""

    def __init__(self, one: Metrics, other: Metrics) -> None:
        self._takers = (one, other)

    def record(self, metric: Metric, value: float = 1, **dimensions: str) -> None:
        """See Metrics."""
        for taker in self._takers:
            taker.record(metric, value, **dimensions)


class PrometheusMetrics:
    """`Metrics` of this process, to be scraped; what is not a worker's is passed over."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._takers: Mapping[Metric, Counter | Histogram] = {
            Metric.JOBS_CLAIMED: self._counter(
                Metric.JOBS_CLAIMED, "jobs_claimed", "Jobs that this worker has taken."
            ),
            Metric.ATTEMPTS_ENDED: self._counter(
                Metric.ATTEMPTS_ENDED,
                "attempts",
                "Attempts that have ended, by outcome.",
            ),
            Metric.ENGINE_RESTARTS: self._counter(
                Metric.ENGINE_RESTARTS, "engine_restarts", "Times that ComfyUI was started again."
            ),
            Metric.GPU_BUSY: self._counter(
                Metric.GPU_BUSY, "gpu_busy_seconds", "Seconds of prompts that have left the GPU."
            ),
            Metric.STAGE_TIME: Histogram(
                "comfyline_worker_stage_seconds",
                "How long jobs have been in each stage.",
                _labels(Metric.STAGE_TIME),
                buckets=BUCKETS,
                registry=self._registry,
            ),
        }

    def record(self, metric: Metric, value: float = 1, **dimensions: str) -> None:
        """See Metrics."""
        taker = self._takers.get(metric)
        match taker and (taker.labels(**dimensions) if dimensions else taker):
            case Counter() as counter:
                counter.inc(value)
            case Histogram() as histogram:
                histogram.observe(value)

    def watch(self, engine: ComfyEngine) -> None:
        """Show, from now on, how the engine is when somebody asks. Once."""
        up = Gauge("comfyline_worker_engine_up", "ComfyUI is connected.", registry=self._registry)
        up.set_function(lambda: engine.is_up)
        leases = Gauge("comfyline_worker_leases", "Jobs that are held.", registry=self._registry)
        leases.set_function(lambda: engine.holders)

    @contextmanager
    def served(self, host: str, port: int) -> Iterator[int]:
        """Served over HTTP while the block lasts, at the port that it yields; 0 takes a free one.

        Raises:
            OSError: the port is taken.
        """
        server, thread = start_http_server(port, host, self._registry)
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _counter(self, metric: Metric, name: str, says: str) -> Counter:
        labels = _labels(metric)
        return Counter(f"comfyline_worker_{name}", says, labels, registry=self._registry)


def _labels(metric: Metric) -> tuple[str, ...]:
    return () if metric.dimension is None else (metric.dimension,)

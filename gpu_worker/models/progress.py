"""How far the fetching of the models is, as lines of the log and as metrics."""

from __future__ import annotations

import logging
import time
from threading import Lock

from comfyline.service.metrics import Metric, Metrics

_log = logging.getLogger(__name__)


class Progress:
    """Counts what all connections receive."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._started_at = time.monotonic()
        self._lock = Lock()  # `received` is called by every connection's thread
        self._wanted = 0  # bytes, of this round and those before
        self._bytes = 0
        self._reported = 0  # of the bytes
        self._reported_at = self._started_at

    def begin(self, missing_bytes: int) -> None:
        """So many bytes are still to be fetched."""
        self._wanted = self._bytes + missing_bytes

    def received(self, count: int) -> None:
        """Count bytes; any thread may call this."""
        with self._lock:
            self._bytes += count

    def report(self) -> None:
        """Log how far it is, and record the bytes since the last report."""
        now, got = time.monotonic(), self._bytes
        fresh, seconds = got - self._reported, max(now - self._reported_at, 1e-3)
        self._reported, self._reported_at = got, now
        self._metrics.record(Metric.MODELS_FETCHED, fresh)
        _log.info(
            "models are fetched",
            extra={
                "action": "models_progress",
                "bytes": got,
                "of_bytes": self._wanted,
                "megabytes_per_second": round(fresh / seconds / 1e6, 1),
            },
        )

    def end(self, models: int) -> None:
        """Log and record that all models are there."""
        seconds = round(time.monotonic() - self._started_at, 1)
        self._metrics.record(Metric.MODELS_FETCHED, self._bytes - self._reported)
        self._metrics.record(Metric.MODELS_TIME, seconds)
        _log.info(
            "models ready",
            extra={
                "action": "models_ready",
                "models": models,
                "fetched_bytes": self._bytes,
                "seconds": seconds,
            },
        )

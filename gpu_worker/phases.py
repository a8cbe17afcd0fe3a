"""Where a job's time goes on a worker, as a metric for each phase."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from comfyline.service.metrics import Metric, Metrics


class Phase(StrEnum):
    """The phases of an attempt, in order."""

    CLAIM = "claim"
    INPUTS = "inputs"  # the graph is read, and uploads are handed to the engine
    QUEUED_AHEAD = "queued_ahead"  # the prompt waits in the engine behind the job before it
    RUN = "run"  # the GPU executes the prompt
    COLLECT = "collect"  # the files that the prompt made are stored
    FINISH = "finish"  # the terminal write, then the ticket


@contextmanager
def timed(metrics: Metrics, phase: Phase) -> Iterator[None]:
    """Record how long the block takes, also if it raises."""
    began = time.monotonic()
    try:
        yield
    finally:
        record(metrics, phase, time.monotonic() - began)


def record(metrics: Metrics, phase: Phase, seconds: float) -> None:
    """Record a phase that was measured elsewhere."""
    metrics.record(Metric.PHASE_TIME, seconds, phase=phase.value)

"""Count what has ended, and say what there is to measure.

The stream tells an end at least once; the ledger counts it once. What the stream gives up on after
its retries is not counted, and lies where such changes lie.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from comfyline.service.clock import Clock
from comfyline.service.fleet.workers import PresenceStore
from comfyline.service.jobs.job import Job
from comfyline.service.ledger.store import Ledger
from comfyline.service.ledger.totals import Totals, times_of
from comfyline.service.metrics import Metric, Metrics
from comfyline.service.queue.lanes import Priority
from comfyline.service.queue.tickets import JobQueue


def count(ended: Sequence[Job], *, ledger: Ledger, metrics: Metrics) -> None:
    """Count ended jobs, and record those that were not counted before.

    Raises:
        Unavailable: some may not be counted; the same call may be made again.
    """
    for job in ledger.count(ended):
        metrics.record(Metric.JOBS_ENDED, status=job.status.value)
        for metric, value in _measures(job):
            metrics.record(metric, value)


def _measures(job: Job) -> Iterator[tuple[Metric, float]]:
    if times := times_of(job):
        yield from zip((Metric.JOB_WAIT, Metric.JOB_TIME), times, strict=True)
    if job.gpu_seconds:
        yield Metric.GPU_TIME, job.gpu_seconds
    if job.interruptions:
        yield Metric.INTERRUPTIONS, job.interruptions


@dataclass(frozen=True, slots=True)
class Measured:
    """The service as it is now, and what it has done."""

    totals: Totals
    queue_depth: Mapping[Priority, int]
    active_workers: int
    running_jobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """Reads what there is to measure."""

    ledger: Ledger
    queue: JobQueue
    presence: PresenceStore
    clock: Clock

    def read(self) -> Measured:
        """All of it: a handful of calls, however many jobs and workers there are."""
        workers = self.presence.active(self.clock())
        return Measured(
            totals=self.ledger.totals(),
            queue_depth={lane: self.queue.depth(lane) for lane in Priority},
            active_workers=len(workers),
            running_jobs=sum(worker.running_jobs for worker in workers),
        )

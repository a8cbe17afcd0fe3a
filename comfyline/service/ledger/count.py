"""Count ended jobs in the ledger, and read the figures of /metrics.

Settlement passes each ended job to `count` at least once, and the ledger counts it exactly once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from comfyline.service.clock import Clock
from comfyline.service.fleet.workers import PresenceStore
from comfyline.service.jobs.job import Job
from comfyline.service.ledger.store import Ledger, counted_together
from comfyline.service.ledger.totals import Totals, times_of
from comfyline.service.metrics import Metric, Metrics
from comfyline.service.queue.lanes import Priority
from comfyline.service.queue.tickets import JobQueue


def count(ended: Sequence[Job], *, ledger: Ledger, metrics: Metrics) -> None:
    """Count ended jobs, and record a metric for each job that was not counted before.

    Raises:
        Unavailable: some jobs may not be counted; the same call may be repeated.
    """
    # Group by group: if a later group fails, the earlier ones are counted, and the next call does
    # not name their jobs again.
    for part in counted_together(ended):
        for job in ledger.count(part):
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
    """The figures of /metrics: the totals of ended jobs, and the present load."""

    totals: Totals
    queue_depth: Mapping[Priority, int]
    active_workers: int
    unhealthy_workers: int  # of the active ones
    running_jobs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """Reads the figures of /metrics."""

    ledger: Ledger
    queue: JobQueue
    presence: PresenceStore
    clock: Clock

    def read(self) -> Measured:
        """Read all figures in five calls, for any number of jobs and workers."""
        workers = self.presence.active(self.clock())
        return Measured(
            totals=self.ledger.totals(),
            queue_depth={lane: self.queue.depth(lane) for lane in Priority},
            active_workers=len(workers),
            unhealthy_workers=sum(worker.unhealthy is not None for worker in workers),
            running_jobs=sum(worker.running_jobs for worker in workers),
        )

"""Which event an occurrence is, if that depends on the job's counters, cancel flag or the time.

Nothing here changes a job: `advance` in `lifecycle.py` does, and checks the choice again.
"""

from __future__ import annotations

from datetime import datetime

from comfyline.service.jobs import events as ev
from comfyline.service.jobs.job import Job, JobError, Status

MAX_FAILURES = 3  # a fault that is not the job's own rarely strikes three workers in a row
# One fault of disk, memory or GPU on a healthy worker may be a coincidence; two are not.
MAX_FAULTS = 2
MAX_UNHEALTHY_WORKERS = 3  # more unhealthy workers than this are an outage, not bad luck
MAX_INTERRUPTIONS = 10  # a spot pool that reclaims workers more often than this cannot run the job

_TIMED_OUT = "The job ran longer than its execution timeout."
_WORKER_LOST = f"The worker was lost {MAX_FAILURES} times while it held this job."


def on_failure(job: Job, attempt: int, error: JobError, *, gpu_seconds: float = 0.0) -> ev.Event:
    """The worker reports that `attempt` failed and that the job did not cause the failure."""
    if job.is_canceling:
        return ev.FailedWhileCanceling(attempt=attempt, gpu_seconds=gpu_seconds)
    kind = ev.FailedForGood if job.failures + 1 >= MAX_FAILURES else ev.Failed
    return kind(attempt=attempt, error=error, gpu_seconds=gpu_seconds)


def on_fault(
    job: Job, attempt: int, error: JobError, *, is_healthy: bool, gpu_seconds: float = 0.0
) -> ev.Event:
    """Disk, memory or GPU failed under `attempt`. `is_healthy`: the worker passed its probe since.

    A worker that is healthy shows that the job caused the fault.
    """
    if job.is_canceling:
        return ev.FailedWhileCanceling(attempt=attempt, gpu_seconds=gpu_seconds)
    kind = _fault_of_job(job) if is_healthy else _fault_of_worker(job)
    return kind(attempt=attempt, error=error, gpu_seconds=gpu_seconds)


def _fault_of_job(job: Job) -> type[ev.Faulted | ev.FaultedForGood]:
    return ev.FaultedForGood if job.faults + 1 >= MAX_FAULTS else ev.Faulted


def _fault_of_worker(job: Job) -> type[ev.WorkerUnhealthy | ev.WorkerUnhealthyForGood]:
    is_last = job.unhealthy_workers + 1 >= MAX_UNHEALTHY_WORKERS
    return ev.WorkerUnhealthyForGood if is_last else ev.WorkerUnhealthy


def on_interruption(job: Job, attempt: int, *, gpu_seconds: float = 0.0) -> ev.Event:
    """The worker must stop (spot notice, SIGTERM, scale-in) and gives `attempt` back."""
    if job.is_canceling:
        return ev.InterruptedWhileCanceling(attempt=attempt, gpu_seconds=gpu_seconds)
    is_last = job.interruptions + 1 >= MAX_INTERRUPTIONS
    kind = ev.InterruptedForGood if is_last else ev.Interrupted
    return kind(attempt=attempt, gpu_seconds=gpu_seconds)


def on_lease_expiry(job: Job, now: datetime) -> ev.Event:
    """The worker that held `job` has vanished without notice."""
    if job.is_canceling:
        return ev.LeaseExpiredWhileCanceling()
    if job.attempt_started_at and now >= job.attempt_started_at + job.execution_timeout:
        return ev.LeaseExpiredForGood(error=error_of(job, "execution_timeout", _TIMED_OUT))
    if job.failures + 1 >= MAX_FAILURES:
        return ev.LeaseExpiredForGood(error=error_of(job, "worker_lost", _WORKER_LOST))
    return ev.LeaseExpired()


def on_cancel(job: Job, now: datetime) -> ev.Event:
    """The caller asks for `job` to be canceled."""
    is_held = job.has_live_lease(now) or job.status is Status.RUNNING
    return ev.CancelRequested() if is_held else ev.Canceled()


def on_due_time(job: Job, now: datetime) -> ev.Event | None:
    """The sweeper finds that `job` is due; None if it has ended."""
    if job.status.is_terminal:
        return None
    if job.has_live_lease(now):
        return ev.FoundAlive()
    if job.lease is not None:
        return on_lease_expiry(job, now)
    if job.is_past_start_deadline(now):
        return ev.Expired()
    return ev.TicketResent()


def error_of(job: Job, error_type: str, message: str) -> JobError:
    """An error of the job's current attempt."""
    return JobError(type=error_type, message=message, attempt=job.attempt)

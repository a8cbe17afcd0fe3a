"""A worker tells how its attempt goes; each answer is the row, with the cancel flag on it."""

from __future__ import annotations

from comfyline.domain.events import Progressed, Started
from comfyline.domain.job import Job
from comfyline.domain.progress import Progress
from comfyline.ports import Clock, JobStore
from comfyline.usecases.change import change


def report_started(job: Job, *, store: JobStore, clock: Clock) -> Job:
    """ComfyUI has begun the attempt.

    Raises:
        LeaseLost: the attempt no longer holds the job.
    """
    event = Started(attempt=job.attempt)
    return change(store, clock, job, lambda _current: event)


def report_progress(job: Job, progress: Progress, *, store: JobStore, clock: Clock) -> Job:
    """The attempt is as far as `progress`.

    Raises:
        LeaseLost: the attempt no longer holds the job.
    """
    event = Progressed(attempt=job.attempt, progress=progress)
    return change(store, clock, job, lambda _current: event)

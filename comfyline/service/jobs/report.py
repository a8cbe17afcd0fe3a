"""A worker tells how its attempt goes; each answer is the row, with the cancel flag on it."""

from __future__ import annotations

from collections.abc import Sequence

from comfyline.service.clock import Clock
from comfyline.service.jobs.change import change
from comfyline.service.jobs.events import Progressed, Started, Stored
from comfyline.service.jobs.job import Artifact, Job
from comfyline.service.jobs.progress import Progress
from comfyline.service.jobs.store import JobStore


def report_started(job: Job, *, store: JobStore, clock: Clock) -> Job:
    """ComfyUI has begun the attempt.

    Raises:
        LeaseLost: the attempt no longer holds the job.
    """
    event = Started(attempt=job.attempt)
    return change(store, clock, job, lambda _current: event)


def report_progress(
    job: Job, progress: Progress, *, previewed: int = 0, store: JobStore, clock: Clock
) -> Job:
    """The attempt is as far as `progress`, and has stored so many previews, each over the last.

    Raises:
        LeaseLost: the attempt no longer holds the job.
    """
    event = Progressed(attempt=job.attempt, progress=progress, previewed=previewed)
    return change(store, clock, job, lambda _current: event)


def report_stored(job: Job, files: Sequence[Artifact], *, store: JobStore, clock: Clock) -> Job:
    """These files of the attempt are stored and more are to come: listed first, then announced.

    Raises:
        LeaseLost: the attempt no longer holds the job.
    """
    store.put_artifacts(job, files)
    event = Stored(attempt=job.attempt, count=len(files))
    return change(store, clock, job, lambda _current: event)

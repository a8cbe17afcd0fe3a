"""Report a worker's progress on its attempt.

Each function returns the row as stored, so that the worker sees the cancel flag without a read.
"""

from __future__ import annotations

from collections.abc import Sequence

from comfyline.service.clock import Clock
from comfyline.service.jobs.change import change
from comfyline.service.jobs.events import Progressed, Started, Stored
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.progress import Progress
from comfyline.service.jobs.result import Artifact
from comfyline.service.jobs.store import JobStore


def report_started(job: Job, *, store: JobStore, clock: Clock) -> Job:
    """ComfyUI has started the attempt's prompt.

    Raises:
        LeaseLost: the attempt no longer holds the job.
    """
    event = Started(attempt=job.attempt)
    return change(store, clock, job, lambda _current: event)


def report_progress(
    job: Job, progress: Progress, *, previewed: int = 0, store: JobStore, clock: Clock
) -> Job:
    """The attempt has reached `progress` and has stored `previewed` previews so far.

    Each preview replaces the one before it.

    Raises:
        LeaseLost: the attempt no longer holds the job.
    """
    event = Progressed(attempt=job.attempt, progress=progress, previewed=previewed)
    return change(store, clock, job, lambda _current: event)


def report_stored(job: Job, files: Sequence[Artifact], *, store: JobStore, clock: Clock) -> Job:
    """`files` are all files of the attempt that are stored so far; more will come.

    Their list is written before the row, because the row's count makes clients read the list.

    Raises:
        LeaseLost: the attempt no longer holds the job.
    """
    store.list_stored(job, files, known=job.stored)
    event = Stored(attempt=job.attempt, count=len(files))
    return change(store, clock, job, lambda _current: event)

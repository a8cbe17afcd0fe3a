"""Events of a job in tests: each function makes the next event from the stored job."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from comfyline.contract.ids import random_worker_id
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.decide import on_interruption
from comfyline.service.jobs.job import Job, JobError
from comfyline.service.jobs.progress import Progress

Happening = ev.Event | Callable[[Job], ev.Event]


def claim(job: Job) -> ev.Event:
    until = job.queued_at + timedelta(hours=1)
    return ev.Claimed(worker_id=random_worker_id(), lease_expires_at=until)


def start(job: Job) -> ev.Event:
    return ev.Started(attempt=job.attempt)


def at(fraction: float) -> Happening:
    """Progress of this fraction, in a sampler."""
    progress = Progress(fraction=fraction, step=1, steps=2, node_type="KSampler", message="half")
    return lambda job: ev.Progressed(attempt=job.attempt, progress=progress)


def with_preview(number: int) -> Happening:
    """Progress 0.5, after this number of previews was stored."""
    progress = Progress(fraction=0.5)
    return lambda job: ev.Progressed(attempt=job.attempt, progress=progress, previewed=number)


def succeed(job: Job) -> ev.Event:
    return ev.Succeeded(attempt=job.attempt)


def succeed_with(stored: int) -> Happening:
    """Success, with so many files in the result."""
    return lambda job: ev.Succeeded(attempt=job.attempt, stored=stored)


def interrupt(job: Job) -> ev.Event:
    return on_interruption(job, job.attempt)


def fail_once(job: Job) -> ev.Event:
    return ev.Failed(attempt=job.attempt, error=JobError(type="oom", message="no memory"))

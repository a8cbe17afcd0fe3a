"""What can happen to a job. Past tense; `lifecycle.py` says what each does.

An event of a worker carries `attempt`, its fencing token: it is refused unless that attempt still
holds the job. Where the same occurrence ends differently by the job's counters or its cancel flag,
each ending is an event of its own, so that the table stays the whole truth.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from comfyline.contract.ids import WorkerId
from comfyline.service.jobs.job import JobError
from comfyline.service.jobs.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerEvent(Event):
    """Base of what the attempt that holds the job reports."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnded(WorkerEvent):
    """Base of the ends of an attempt, which tell how long it has had the GPU."""

    gpu_seconds: float = 0.0


# --- from workers -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed(Event):
    """A worker takes the job under a lease."""

    worker_id: WorkerId
    lease_expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed(WorkerEvent):
    """The heartbeat; no client sees it."""

    lease_expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Started(WorkerEvent):
    """ComfyUI has begun to execute the prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed(WorkerEvent):
    """The attempt is further than it was, or has a newer preview: its `previewed`th."""

    progress: Progress
    previewed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored(WorkerEvent):
    """The first `count` of the attempt's files are stored and listed, with more to come."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded(AttemptEnded):
    """Every output is stored."""

    cached: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(AttemptEnded):
    """The attempt failed by no fault of the job; it may be tried again."""

    error: JobError


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedForGood(AttemptEnded):
    """The job's own error, or one failure too many."""

    error: JobError


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedWhileCanceling(AttemptEnded):
    """The attempt failed and nobody wants another."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted(AttemptEnded):
    """The worker gives the job back: it was told to go. Not a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InterruptedForGood(AttemptEnded):
    """Given back once too often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InterruptedWhileCanceling(AttemptEnded):
    """Given back, and nobody wants it any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped(AttemptEnded):
    """The worker ended the job because its cancel was asked."""


# --- from callers -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Canceled(Event):
    """The caller cancels a job that nobody holds: it never runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRequested(Event):
    """The caller cancels a job that a worker holds: the worker will end it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched(Event):
    """Somebody follows the job live; no client sees it."""

    until: datetime


# --- from the clock ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired(Event):
    """The job waited past its start deadline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseExpired(Event):
    """The worker vanished without notice: a failure, or a job that kills its worker would loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseExpiredForGood(Event):
    """The worker vanished, once too often or past the job's execution timeout."""

    error: JobError


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseExpiredWhileCanceling(Event):
    """The worker vanished before it could end a job whose cancel was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketResent(Event):
    """The sweeper has sent the ticket once more; no client sees it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tidied(Event):
    """The sweeper has removed the files that no reader is shown; no client sees it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundAlive(Event):
    """The sweeper looked and the lease was live; no client sees it."""

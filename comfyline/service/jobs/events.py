"""The events of a job, in the past tense. The table in `lifecycle.py` says what each one does.

A worker's event carries `attempt`, the fencing token: it is refused unless that attempt still holds
the job. Where the result depends on the job's counters or its cancel flag, there is one event for
each result, so that the table has no hidden cases.

A class without fields of its own needs no decorator: it has the methods of its base. Each decorated
class adds a third of a millisecond of CPU to every cold start.
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
    """Base of the events that the attempt that holds the job reports."""

    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptEnded(WorkerEvent):
    """Base of the events that end an attempt; `gpu_seconds` is how long it has had the GPU."""

    gpu_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailed(AttemptEnded):
    """Base of the events that end an attempt because of an error."""

    error: JobError


# --- from workers -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed(Event):
    """A worker took the job under a lease."""

    worker_id: WorkerId
    lease_expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed(WorkerEvent):
    """The worker's heartbeat extended the lease."""

    lease_expires_at: datetime


class Started(WorkerEvent):
    """ComfyUI has started to execute the prompt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed(WorkerEvent):
    """The attempt is further than before, or it has a newer preview: number `previewed`."""

    progress: Progress
    previewed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored(WorkerEvent):
    """The first `count` files of the attempt are stored and listed; more will come."""

    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded(AttemptEnded):
    """Every output is stored. See `Succeed`."""

    cached: bool = False
    nodes_cached: int = 0
    stored: int | None = None  # how many files its result lists; None: as many as before


class Failed(AttemptFailed):
    """The attempt failed and the job did not cause it; the job is queued again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedForGood(AttemptFailed):
    """The job itself is at fault, or this was its last allowed failure."""

    stored: int | None = None  # how many files its result lists; None: as many as before


class Faulted(AttemptFailed):
    """Disk, memory or GPU failed under the job, and the worker has proved to be healthy since.

    So the job probably caused the fault. It is queued again, for another worker to confirm that.
    """


class FaultedForGood(AttemptFailed):
    """Disk, memory or GPU failed under the job again: the job causes the fault."""


class WorkerUnhealthy(AttemptFailed):
    """The attempt failed because its worker is unhealthy; the job is queued again.

    This counts neither as a failure nor as a fault of the job.
    """


class WorkerUnhealthyForGood(AttemptFailed):
    """The attempt failed because its worker is unhealthy, as too many workers before it."""


class FailedWhileCanceling(AttemptEnded):
    """The attempt failed after a cancel was requested: the job ends as canceled, with no retry."""


class Interrupted(AttemptEnded):
    """The worker gave the job back (spot notice, SIGTERM, scale-in). This is not a failure."""


class InterruptedForGood(AttemptEnded):
    """The job was given back, and this was its last allowed interruption."""


class InterruptedWhileCanceling(AttemptEnded):
    """The job was given back after a cancel was requested: it ends as canceled."""


class Stopped(AttemptEnded):
    """The worker stopped the job because a cancel was requested."""


# --- from callers -----------------------------------------------------------------------------


class Canceled(Event):
    """The caller canceled a job that no worker holds: it ends at once."""


class CancelRequested(Event):
    """The caller canceled a job that a worker holds: that worker will end it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched(Event):
    """A client subscribed to the job's live updates."""

    until: datetime


# --- from the clock ---------------------------------------------------------------------------


class Expired(Event):
    """The job waited past its start deadline without a start."""


class LeaseExpired(Event):
    """The worker vanished without notice.

    This counts as a failure, so that a job that kills its worker does not loop for ever.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseExpiredForGood(Event):
    """The worker vanished past the execution timeout, or this was the last allowed failure."""

    error: JobError


class LeaseExpiredWhileCanceling(Event):
    """A cancel was requested, but the worker vanished before it could end the job."""


class TicketResent(Event):
    """The sweeper sent the job's ticket again, because the last one may have been lost."""


class Tidied(Event):
    """The sweeper removed the void files of an ended job."""


class Settled(Event):
    """Every step of the settlement is done; no client sees it."""


class SettlementFailed(Event):
    """The sweeper could not settle the job and tries again later; no client sees it."""


class FoundAlive(Event):
    """The sweeper found the job due while its lease was live."""

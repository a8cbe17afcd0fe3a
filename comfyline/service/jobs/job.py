"""A job and its parts, as values. How a job may change is in `lifecycle.py` and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from comfyline.contract.ids import JobId, OwnerId, WorkerId
from comfyline.service.jobs.progress import Progress
from comfyline.service.storage_names import JOBS_PREFIX

SCHEMA = 1  # code reads one older and one newer, so that workers and functions upgrade in any order

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Graph = Mapping[str, Mapping[str, Any]]


class Status(StrEnum):
    """The states of a job. A cancel is a flag, not a state."""

    QUEUED = "queued"  # waiting, or claimed by a worker whose engine has not started it yet
    RUNNING = "running"  # ComfyUI has started it
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"  # waited past its start deadline and never ran

    @property
    def is_terminal(self) -> bool:
        """A terminal job never changes again."""
        return self in TERMINAL


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.EXPIRED})


class Priority(StrEnum):
    """The lane a job waits in."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class PictureFormat(StrEnum):
    """What still pictures can be stored as instead of what the engine wrote."""

    WEBP = "webp"
    JPEG = "jpeg"


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureEncoding:
    """How the job's still pictures are to be stored."""

    format: PictureFormat
    quality: int  # 1 to 100


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's hold on a job. The fencing token is the job's `attempt`."""

    worker_id: WorkerId
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Why an attempt failed, without server paths or tracebacks."""

    type: str
    message: str
    node_id: str | None = None
    node_type: str | None = None
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One change of state in a job's history."""

    version: int
    at: datetime
    event: str
    status: Status
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One stored output file. `key` is its place in the artifact store."""

    key: str
    name: str
    kind: str
    content_type: str
    bytes: int
    sha256: str
    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JobParams:
    """What the caller asked for, to be shown again; kept apart from the hot row."""

    params: Mapping[str, Any]
    metadata: Mapping[str, str] = field(default_factory=dict)
    retry_of: JobId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The hot row: everything that a state change needs, and nothing that is large."""

    id: JobId
    owner: OwnerId
    fingerprint: str  # of the request as sent; also names the job's input and params items
    priority: Priority
    queued_at: datetime
    start_deadline: datetime  # before the first start; past it the job expires
    execution_timeout: timedelta  # of one attempt, from ComfyUI's execution_start
    retention: timedelta  # from the end
    request_id: str | None = None
    output: PictureEncoding | None = None  # None: files stay as the engine wrote them
    wants_previews: bool = False  # pictures of it in the making, while somebody watches
    has_slot: bool = False  # its owner is capped: the end of the job frees a slot
    schema: int = SCHEMA

    status: Status = Status.QUEUED
    version: int = 1  # raised by every change that a client can see
    attempt: int = 0  # counts claims; the fencing token, nothing else
    failures: int = 0
    interruptions: int = 0
    ticket_sends: int = 0  # by the sweeper since the job began to wait, beyond the first
    lease: Lease | None = None
    cancel_requested_at: datetime | None = None
    started_at: datetime | None = None  # of the first start
    attempt_started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None  # set by the terminal change alone
    due_at: datetime | None = None  # when the sweeper must look at this job
    tidy_pending: bool = False  # it has ended, and its void files are yet to be removed
    watched_until: datetime | None = None
    progress: Progress = field(default_factory=Progress)
    stored: int = 0  # the attempt's files that are listed and announced before its end
    previewed: int = 0  # the attempt's previews so far, of which the newest is stored
    error: JobError | None = None
    cached: bool = False
    gpu_seconds: float = 0.0
    history: tuple[HistoryEntry, ...] = ()

    @property
    def incarnation(self) -> str:
        """Tells the job from every other of the same id: once its record is gone, a post with the
        same key makes a new one, which counts its attempts from the start.
        """
        return format((self.queued_at - _EPOCH) // timedelta.resolution, "x")

    @property
    def attempt_path(self) -> str:
        """What no other attempt of any job has, as a relative path."""
        return f"{self.id}/{self.incarnation}-{self.attempt}"

    @property
    def artifact_prefix(self) -> str:
        """What all keys of the job's files begin with, and those of no other job of its id."""
        return f"{JOBS_PREFIX}{self.id}/{self.incarnation}-"

    @property
    def is_canceling(self) -> bool:
        """A cancel was asked and a worker has yet to end the job."""
        return self.cancel_requested_at is not None and not self.status.is_terminal

    @property
    def lists_files(self) -> bool:
        """Its attempt's artifact list is for clients to see.

        What was made before a node failed is kept; what a running attempt has made may yet be void;
        any other end shows nothing.
        """
        is_storing = self.status is Status.RUNNING and self.stored > 0
        return is_storing or self.status in (Status.SUCCEEDED, Status.FAILED)

    def has_live_lease(self, now: datetime) -> bool:
        """Some worker holds the job at `now`."""
        return self.lease is not None and self.lease.expires_at > now

    def is_past_start_deadline(self, now: datetime) -> bool:
        """It has waited too long for its first start."""
        return (
            self.status is Status.QUEUED and self.started_at is None and now >= self.start_deadline
        )

    @property
    def is_untouched(self) -> bool:
        """No worker has claimed the job and nothing has ended it.

        Its history then holds the submission alone. `attempt == 0` would not tell: a job that
        replaces an expired record of its id continues that record's count.
        """
        return len(self.history) == 1

    def is_past_retention(self, now: datetime) -> bool:
        """Its record is void by the clock, whether or not it has been removed yet."""
        return self.expires_at is not None and now >= self.expires_at


def artifact_key(job: Job, number: int, name: str) -> str:
    """The place of one file of the job's attempt; `name` is safe in a path."""
    return f"{JOBS_PREFIX}{job.attempt_path}/{number}_{name}"


def preview_key(job: Job) -> str:
    """The place of the newest preview of the job's attempt; no file of an attempt has that name."""
    return f"{JOBS_PREFIX}{job.attempt_path}/preview"


def void_prefixes(job: Job) -> list[str]:
    """What the keys of an ended job's files begin with that no reader is shown: those of attempts
    that lost, and the previews.
    """
    shown = job.attempt if job.lists_files else None
    attempts = (n for n in range(1, job.attempt + 1) if n != shown)
    lost = [f"{job.artifact_prefix}{attempt}/" for attempt in attempts]
    return [*lost, preview_key(job)] if job.wants_previews and shown else lost


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job with its sibling items, as a reader shows it."""

    job: Job
    params: JobParams
    artifacts: tuple[Artifact, ...] = ()

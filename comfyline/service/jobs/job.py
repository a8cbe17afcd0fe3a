"""A job and its parts, as values. Only `lifecycle.py` decides how a job may change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Literal

from comfyline.contract.ids import JobId, OwnerId, Principal, UserId, WorkerId, principal_of
from comfyline.service.graphs.graph import MAX_NAME
from comfyline.service.jobs.progress import Progress
from comfyline.service.jobs.result import Artifact, JobResult
from comfyline.service.queue.lanes import Priority
from comfyline.service.storage_names import JOBS_PREFIX
from comfyline.service.texts import shorten

SCHEMA = 1  # code reads one older and one newer, so upgrades may happen in any order

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Status(StrEnum):
    """The states of a job. A cancel is a flag, not a state."""

    QUEUED = "queued"  # waiting, or claimed by a worker but not started by ComfyUI yet
    RUNNING = "running"  # ComfyUI has started it
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"  # waited past its start deadline without a start

    @property
    def is_terminal(self) -> bool:
        """A terminal job never changes again."""
        return self in TERMINAL


TERMINAL = frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.EXPIRED})


class PictureFormat(StrEnum):
    """The formats into which a job's still pictures can be converted."""

    WEBP = "webp"
    JPEG = "jpeg"


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureEncoding:
    """The format and quality in which a job's still pictures are stored."""

    format: PictureFormat
    quality: int  # 1 to 100


@dataclass(frozen=True, slots=True)
class Lease:
    """A worker's hold on a job. The fencing token is the job's `attempt`."""

    worker_id: WorkerId
    expires_at: datetime


MAX_ERROR_TYPE, MAX_ERROR_MESSAGE = 100, 1000  # characters


@dataclass(frozen=True, slots=True, kw_only=True)
class JobError:
    """Why an attempt failed, without server paths or tracebacks.

    Longer texts are cut: ComfyUI repeats the values of the caller in its refusals, and a node may
    raise any text. The error is in the job's row, in each list and in the last message of a socket.
    """

    type: str
    message: str
    node_id: str | None = None
    node_type: str | None = None
    attempt: int | None = None
    engine_version: str | None = None  # of the worker's image and lock; None: no worker has told

    def __post_init__(self) -> None:
        shorten(
            self,
            type=MAX_ERROR_TYPE,
            message=MAX_ERROR_MESSAGE,
            node_id=MAX_NAME,
            node_type=MAX_NAME,
        )


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One change of state in a job's history."""

    version: int
    at: datetime
    event: str
    status: Status
    attempt: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobParams:
    """The caller's parameters, to be shown again. They are not in the row, to keep it small."""

    params: Mapping[str, Any]
    metadata: Mapping[str, str] = field(default_factory=dict)
    retry_of: JobId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobOptions:
    """What the caller chose for the run of the job. A retry keeps it."""

    output: PictureEncoding | None = None  # None: files stay as ComfyUI wrote them
    wants_previews: bool = False  # of unfinished pictures, while a client watches
    has_pnginfo: bool = False  # the store has what ComfyUI writes into the pictures
    strict: bool = False  # a graph of which ComfyUI would run only a part fails


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """The job's row: everything that a change of state needs, and nothing large."""

    id: JobId
    owner: OwnerId
    fingerprint: str  # of the request as sent; part of the names of the sibling items
    priority: Priority
    queued_at: datetime
    start_deadline: datetime  # before the first start; past it the job expires
    execution_timeout: timedelta  # of one attempt, counted from ComfyUI's execution_start
    retention: timedelta  # counted from the job's end
    user: UserId | None = None  # of the owner; None: the owner itself has made the job
    request_id: str | None = None
    call_id: str | None = None  # random; of the call that has put the job
    options: JobOptions = field(default_factory=JobOptions)
    has_slot: bool = False  # its owner has a cap: the end of the job frees a slot
    schema: int = SCHEMA

    status: Status = Status.QUEUED
    version: int = 1  # raised by every change that a client can see
    attempt: int = 0  # counts claims; the fencing token, nothing else
    failures: int = 0
    faults: int = 0  # of disk, memory or GPU, on workers that proved to be healthy
    unhealthy_workers: int = 0  # how many workers proved to be unhealthy while they ran this job
    interruptions: int = 0
    # How often the sweeper has found the job waiting since it began to wait. Each time it sends the
    # ticket again, unless the job waits in a long queue.
    ticket_sends: int = 0
    lease: Lease | None = None
    cancel_requested_at: datetime | None = None
    started_at: datetime | None = None  # the first start
    attempt_started_at: datetime | None = None
    finished_at: datetime | None = None
    expires_at: datetime | None = None  # end of the retention; set only when the job ends
    due_at: datetime | None = None  # when the sweeper must look at this job
    tidy_pending: bool = False  # the job has ended and its void files are not removed yet
    settle_pending: bool = False  # the job has ended and is not settled yet: see settle.py
    watched_until: datetime | None = None  # by a client that is subscribed to this job
    owner_watched_until: datetime | None = None  # by a client that follows all of its owner's jobs
    progress: Progress = field(default_factory=Progress)
    stored: int = 0  # files of the attempt that are listed; all of them once it has ended
    previewed: int = 0  # previews of the attempt so far; only the newest is kept
    error: JobError | None = None
    cached: bool = False
    nodes_cached: int = 0
    gpu_seconds: float = 0.0
    history: tuple[HistoryEntry, ...] = ()

    @property
    def principal(self) -> Principal:
        """In whose name the job was made, which uploads it may use, and who may see it."""
        return principal_of(self.owner, self.user)

    def is_visible_to(self, caller: Principal) -> bool:
        """Whether the caller is the job's owner, or the user in whose name it was made."""
        return caller in (self.owner, self.principal)

    @property
    def incarnation(self) -> str:
        """Distinguishes this job from other jobs of the same id.

        After a job's record is gone, a post with the same Idempotency-Key makes a new job with the
        same id. The new job counts its attempts from 0.
        """
        return format((self.queued_at - _EPOCH) // timedelta.resolution, "x")

    def is_of_same_post(self, other: Job) -> bool:
        """Whether both are states of the job that one call of the API has put.

        The SDK repeats a write whose answer was lost, and the row may have changed meanwhile.
        """
        is_known = self.call_id is not None and self.call_id == other.call_id
        return self == other or (is_known and self.incarnation == other.incarnation)

    @property
    def attempt_path(self) -> str:
        """A relative path that is unique to this attempt of this job."""
        return f"{self.id}/{self.incarnation}-{self.attempt}"

    @property
    def artifact_prefix(self) -> str:
        """The common prefix of the keys of this job's files. No other job of the same id has it."""
        return f"{JOBS_PREFIX}{self.id}/{self.incarnation}-"

    @property
    def is_settled(self) -> bool:
        """The job has ended, and everything that its end requires is done."""
        return self.status.is_terminal and not self.settle_pending

    @property
    def is_canceling(self) -> bool:
        """A cancel was requested and the worker has not ended the job yet."""
        return self.cancel_requested_at is not None and not self.status.is_terminal

    @property
    def shown_status(
        self,
    ) -> Literal["queued", "running", "canceling", "succeeded", "failed", "canceled", "expired"]:
        """The job's state; `canceling` until the worker of a canceled job has ended it."""
        return "canceling" if self.is_canceling else self.status.value

    @property
    def changed_at(self) -> datetime:
        """When the state of the job has changed last."""
        return self.history[-1].at if self.history else self.queued_at

    @property
    def expires_at_the_latest(self) -> datetime:
        """The latest end of the retention of a job that has not ended."""
        return self.start_deadline + self.execution_timeout + self.retention

    @property
    def lists_files(self) -> bool:
        """Clients are shown the artifact list of the job's last attempt.

        A failed job shows the files that it made before the failure. A running job shows the files
        that are stored so far. A canceled or expired job shows no files.
        """
        is_storing = self.status is Status.RUNNING and self.stored > 0
        return is_storing or self.status in (Status.SUCCEEDED, Status.FAILED)

    def has_live_lease(self, now: datetime) -> bool:
        """Whether a worker holds the job at `now`."""
        return self.lease is not None and self.lease.expires_at > now

    def is_watched(self, now: datetime) -> bool:
        """Whether a client follows the job at `now`, alone or with all jobs of its owner."""
        ends = (self.watched_until, self.owner_watched_until)
        return any(end is not None and end >= now for end in ends)

    def is_past_start_deadline(self, now: datetime) -> bool:
        """The job has waited too long for its first start."""
        return (
            self.status is Status.QUEUED and self.started_at is None and now >= self.start_deadline
        )

    def is_past_retention(self, now: datetime) -> bool:
        """Readers must ignore the record, even if it has not been removed yet."""
        return self.expires_at is not None and now >= self.expires_at


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job with its parameters and its result, as readers show it.

    The result has at least the first MAX_ARTIFACTS_PER_PAGE of the `artifacts_total` artifacts.
    `thumbnails`: the numbers of the artifacts that have one, ascending.
    """

    job: Job
    params: JobParams
    result: JobResult = field(default_factory=JobResult)
    artifacts_total: int = 0
    thumbnails: tuple[int, ...] = ()

    @property
    def files_total(self) -> int:
        """How many files the ended job has made, also if its result was not read."""
        is_shown = self.job.status.is_terminal and self.job.lists_files
        return max(self.job.stored, self.artifacts_total) if is_shown else 0

    @property
    def artifacts(self) -> tuple[Artifact, ...]:
        """The first artifacts of the result."""
        return self.result.artifacts

"""Audit: check that everything which a deployment holds fits together.

A finding is an error, or an item that nothing will remove. A leftover is an item that a crash may
leave behind and that is removed later: by the sweeper at the end of the job's retention, by a TTL,
or by the bucket's lifecycle rules. An item that has changed recently is not judged, because the
change may be only half done.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property

from comfyline.contract.ids import ConnectionId, JobId, OwnerId
from comfyline.service.files.uploads import UPLOAD_LIFETIME
from comfyline.service.jobs.due import SETTLE_DELAY
from comfyline.service.jobs.invariants import row_faults
from comfyline.service.jobs.job import Job, Status
from comfyline.service.jobs.result import Artifact
from comfyline.service.storage_names import (
    ARTIFACT_EXPIRY_DAYS,
    JOBS_PREFIX,
    MODELS_PREFIX,
    UPLOADS_PREFIX,
)

# Items that changed within this time are not judged. It covers the time between two writes of one
# change, and the time that reading everything takes.
GRACE = timedelta(minutes=2)
SWEEP_LAG = timedelta(minutes=3)  # the sweeper starts every minute and may run for a minute
TTL_LAG = timedelta(days=3)  # DynamoDB deletes an expired item within a few days, says its manual
LIFECYCLE_LAG = timedelta(days=3)  # S3 deletes an expired object within a day or two
ARTIFACT_LIFETIME = timedelta(days=ARTIFACT_EXPIRY_DAYS)

_ARTIFACT_KEY = re.compile(rf"{JOBS_PREFIX}(?P<job>[^/]+)/(?P<attempt>[0-9a-f]+-\d+)/.+")


@dataclass(frozen=True, slots=True)
class Sibling:
    """An item in a job's partition other than the job's row, such as its input."""

    job_id: JobId
    name: str  # its sort key
    queued_at: datetime  # of the job that it was written for
    ends_at: datetime | None  # its TTL
    attempt: str | None = None  # only of a list of artifacts: the end of its `attempt_path`


@dataclass(frozen=True, slots=True)
class HeldSlot:
    """A slot that is taken for a job."""

    owner: OwnerId
    job_id: JobId
    taken_at: datetime


@dataclass(frozen=True, slots=True)
class Socket:
    """A socket's row in the connections table. The socket may be closed already."""

    id: ConnectionId
    ends_at: datetime
    is_open: bool


@dataclass(frozen=True, slots=True)
class Subscription:
    """The subscription of a socket to a job."""

    connection_id: ConnectionId
    job_id: JobId
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in the bucket."""

    key: str
    bytes: int
    stored_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """Everything that a deployment holds. `read_at` is the time at which reading began."""

    read_at: datetime
    jobs: Mapping[JobId, Job]
    unreadable: Sequence[str] = ()  # keys of items that cannot be read
    siblings: Sequence[Sibling] = ()
    artifacts: Mapping[str, Sequence[Artifact]] = field(default_factory=dict)  # by attempt path
    slots: Sequence[HeldSlot] = ()
    sockets: Mapping[ConnectionId, Socket] = field(default_factory=dict)
    subscriptions: Sequence[Subscription] = ()
    files: Mapping[str, StoredFile] = field(default_factory=dict)
    tickets: int = 0  # in all lanes, waiting or held by a worker
    dead_tickets: int = 0


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One item that is wrong, or a leftover."""

    kind: str
    subject: str  # the id or key of the item
    message: str
    is_leftover: bool = False

    def __str__(self) -> str:
        return f"{self.message} (leftover)" if self.is_leftover else self.message


@dataclass(frozen=True, slots=True)
class Report:
    """The result of an audit. `counts` holds the number of items of each kind."""

    findings: Sequence[Finding]
    leftovers: Sequence[Finding]
    counts: Mapping[str, int]

    def is_clean(self, *, strict: bool) -> bool:
        """Whether there are no findings and, if `strict`, no leftovers either."""
        return not self.findings and not (strict and self.leftovers)


def audit(held: Holdings, grace: timedelta = GRACE) -> Report:
    """Check everything. Findings and leftovers are sorted by kind and subject."""
    findings = sorted(set(_Audit(held, grace).findings()))
    return Report(
        findings=[finding for finding in findings if not finding.is_leftover],
        leftovers=[finding for finding in findings if finding.is_leftover],
        counts=_counts(held),
    )


def _counts(held: Holdings) -> dict[str, int]:
    by_status = Counter(job.status.value for job in held.jobs.values())
    return {
        **{status.value: by_status[status.value] for status in Status},
        "tickets": held.tickets,
        "slots": len(held.slots),
        "sockets": sum(socket.is_open for socket in held.sockets.values()),
        "subscriptions": len(held.subscriptions),
        "files": len(held.files),
        "bytes": sum(file.bytes for file in held.files.values()),
    }


class _Audit:
    def __init__(self, held: Holdings, grace: timedelta) -> None:
        self._held = held
        self._settled = held.read_at - grace  # changes that began before this are complete

    def findings(self) -> Iterator[Finding]:
        for job in self._held.jobs.values():
            yield from self._of_row(job)
            yield from self._of_artifacts(job)
        yield from (Finding("row", key, "cannot be read") for key in self._held.unreadable)
        for sibling in self._held.siblings:
            yield from self._of_sibling(sibling)
        for file in self._held.files.values():
            yield from self._of_file(file)
        for slot in self._held.slots:
            yield from self._of_slot(slot)
        yield from self._of_sockets()
        yield from self._of_tickets()

    # --- jobs -------------------------------------------------------------------------------------

    def _of_row(self, job: Job) -> Iterator[Finding]:
        yield from (Finding("row", job.id, fault) for fault in row_faults(job))
        if job.settle_pending and job.finished_at is not None:
            latest = job.finished_at + SETTLE_DELAY + SWEEP_LAG
            if latest < self._held.read_at:
                yield Finding("settlement", job.id, "has ended, but is neither counted nor freed")
        if job.due_at is not None and job.due_at + SWEEP_LAG < self._held.read_at:
            yield Finding("overdue", job.id, f"was due at {job.due_at:%c} and was not swept")

    def _of_artifacts(self, job: Job) -> Iterator[Finding]:
        # Checks only a job that ended a while ago and that the sweeper is not about to remove.
        is_settled = job.finished_at is not None and job.finished_at < self._settled
        is_kept = job.expires_at is not None and job.expires_at > self._held.read_at
        if not (is_settled and is_kept and job.lists_files):
            return
        listed = self._held.artifacts.get(job.attempt_path)
        if listed is None and job.status is Status.SUCCEEDED:
            yield Finding("artifact", job.id, "succeeded, but has no list of artifacts")
        for artifact in listed or ():
            yield from self._of_artifact(artifact)

    def _of_artifact(self, artifact: Artifact) -> Iterator[Finding]:
        file = self._held.files.get(artifact.key)
        if file is None:
            yield Finding("artifact", artifact.key, "is listed, but not in the bucket")
        elif file.bytes != artifact.bytes:
            message = f"has {file.bytes} bytes in the bucket, but {artifact.bytes} in the list"
            yield Finding("artifact", artifact.key, message)

    def _of_sibling(self, sibling: Sibling) -> Iterator[Finding]:
        subject = f"{sibling.job_id} {sibling.name}"
        job = self._held.jobs.get(sibling.job_id)
        if self._is_never_removed(sibling.ends_at):
            yield Finding("item", subject, "has no TTL, or DynamoDB should have deleted it")
        elif job is None and sibling.queued_at < self._settled:
            yield Finding("item", subject, "belongs to no job", is_leftover=True)
        elif job is not None and sibling.queued_at < job.queued_at:
            yield Finding("item", subject, "belongs to an earlier job", is_leftover=True)
        elif job is not None and sibling.attempt and not _has_claimed(job, sibling.attempt):
            yield Finding("item", subject, "belongs to an attempt that no worker has claimed")

    def _is_never_removed(self, ends_at: datetime | None) -> bool:
        return ends_at is None or ends_at + TTL_LAG < self._held.read_at

    # --- files ------------------------------------------------------------------------------------

    def _of_file(self, file: StoredFile) -> Iterator[Finding]:
        if file.stored_at >= self._settled or file.key.startswith(MODELS_PREFIX):
            return
        match = _ARTIFACT_KEY.fullmatch(file.key)
        if match:
            yield from self._of_output(file, JobId(match["job"]), match["attempt"])
        elif not file.key.startswith(UPLOADS_PREFIX):
            yield Finding("file", file.key, "has a key that no part of the service uses")
        elif file.stored_at + UPLOAD_LIFETIME + LIFECYCLE_LAG < self._held.read_at:
            yield Finding("file", file.key, "is an upload that S3 should have deleted")

    def _of_output(self, file: StoredFile, job_id: JobId, attempt: str) -> Iterator[Finding]:
        job = self._held.jobs.get(job_id)
        if job is None or _is_earlier(attempt, job):
            is_late = file.stored_at + ARTIFACT_LIFETIME + LIFECYCLE_LAG < self._held.read_at
            yield Finding("file", file.key, "belongs to no job", is_leftover=not is_late)
        elif not _has_claimed(job, attempt):
            yield Finding("file", file.key, "belongs to an attempt that no worker has claimed")
        elif job.status.is_terminal and file.key not in self._listed_keys:
            yield Finding("file", file.key, "is not in the list of its ended job", is_leftover=True)

    @cached_property
    def _listed_keys(self) -> frozenset[str]:
        """The keys of all artifacts that clients are shown."""
        jobs = (job for job in self._held.jobs.values() if job.lists_files)
        lists = (self._held.artifacts.get(job.attempt_path, ()) for job in jobs)
        return frozenset(artifact.key for listed in lists for artifact in listed)

    # --- slots, sockets and tickets ---------------------------------------------------------------

    def _of_slot(self, slot: HeldSlot) -> Iterator[Finding]:
        job = self._held.jobs.get(slot.job_id)
        freed_from = job.finished_at if job else slot.taken_at
        if freed_from and freed_from + SWEEP_LAG < self._held.read_at:
            state = job.status.value if job else "missing"
            yield Finding("slot", f"{slot.owner} {slot.job_id}", f"is taken for a {state} job")

    def _of_sockets(self) -> Iterator[Finding]:
        for socket in self._held.sockets.values():
            if self._is_never_removed(socket.ends_at):
                yield Finding("socket", socket.id, "should have been deleted by its TTL")
            elif not socket.is_open:
                yield Finding("socket", socket.id, "is closed", is_leftover=True)
        for subscription in self._held.subscriptions:
            subject = f"{subscription.connection_id} {subscription.job_id}"
            if self._is_never_removed(subscription.ends_at):
                yield Finding("subscription", subject, "should have been deleted by its TTL")
            elif subscription.connection_id not in self._held.sockets:
                yield Finding("subscription", subject, "has no socket", is_leftover=True)

    def _of_tickets(self) -> Iterator[Finding]:
        held = self._held
        if held.tickets and all(job.status.is_terminal for job in held.jobs.values()):
            yield Finding("ticket", "lanes", f"{held.tickets} left, but every job has ended")
        if held.dead_tickets:
            yield Finding(
                "ticket", "dead letters", f"{held.dead_tickets} waiting: see docs/runbook.md"
            )


def _is_earlier(attempt: str, job: Job) -> bool:
    """Whether the attempt is of an earlier job of the same id, which was past its retention."""
    return int(attempt.partition("-")[0], 16) < int(job.incarnation, 16)


def _has_claimed(job: Job, attempt: str) -> bool:
    """Whether the job's row counts this attempt."""
    claimed = {f"{job.incarnation}-{number}" for number in range(1, job.attempt + 1)}
    return attempt in claimed

"""Accept a job: its slot, its request, then one conditional Put, then its ticket.

take ──> put_request ──> add ─────────────> send ──> 202
  │         │             │                   └─ lost: the sweeper sends it again when it is due
  │         │             └─ the acceptance: what fails before it leaves nothing but orphans that
  │         │                end by themselves, what fails after it leaves a job that will run
  │         └─ content-addressed under the job, so it never clashes and needs no transaction
  └─ named by the job, so a retry takes the same one; an owner without limits needs none
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from comfyline.contract.ids import (
    JobId,
    OwnerId,
    derived_job_id,
    random_job_id,
    retry_job_id,
    reused_job_id,
)
from comfyline.contract.v1.requests import TextToImageRequest, WorkflowRequest
from comfyline.service.access.slots import Limits, Taken
from comfyline.service.clock import Clock
from comfyline.service.errors import (
    Conflict,
    IdempotencyKeyReused,
    JobNotFound,
    JobNotRetryable,
    RequestRefused,
    RequestTooLarge,
    Unavailable,
)
from comfyline.service.files.check_uploads import check_uploads
from comfyline.service.files.uploads import UploadStore
from comfyline.service.graphs import graph as workflow
from comfyline.service.graphs.catalogue import Catalogue
from comfyline.service.graphs.compile import compiled
from comfyline.service.intake.admit import Admission
from comfyline.service.jobs.change import current_or_not_found
from comfyline.service.jobs.job import (
    Graph,
    Job,
    JobParams,
    PictureEncoding,
    PictureFormat,
    Priority,
    Status,
)
from comfyline.service.jobs.lifecycle import submitted
from comfyline.service.jobs.read import expire_if_overdue, read_job
from comfyline.service.jobs.store import JobStore
from comfyline.service.queue.tickets import JobQueue

# A replay within this time finds the ticket of the first post still on its way.
TICKET_IN_FLIGHT = timedelta(seconds=2)
# A request that failed this often and is still reused gets a job of its own each time.
MAX_REUSES = 32
RETRYABLE = frozenset({Status.FAILED, Status.CANCELED, Status.EXPIRED})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What a deployment assumes where a request is silent."""

    checkpoint: str
    start_deadline: timedelta
    execution_timeout: timedelta
    retention: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who posts, under which limits, and what a retry of the same post repeats."""

    owner: OwnerId
    limits: Limits = field(default_factory=Limits)
    idempotency_key: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The job that stands for the request; `replayed` if an earlier post had made it."""

    job: Job
    replayed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitter:
    """Accepts requests, each exactly once per (owner, idempotency key)."""

    store: JobStore
    queue: JobQueue
    uploads: UploadStore
    admission: Admission
    clock: Clock
    defaults: Defaults
    catalogue: Catalogue = field(default_factory=Catalogue)
    new_id: Callable[[datetime], JobId] = random_job_id

    def submit(
        self, request: TextToImageRequest | WorkflowRequest, sent: Any, caller: Caller
    ) -> Accepted:
        """Accept a new request; `sent` is its JSON exactly as it came.

        Raises:
            InvalidRequest, RequestTooLarge, TooManyJobs, TooManyRequests: nothing was accepted.
            IdempotencyKeyReused: the key names a job that was made from another body.
            Unavailable: the store is out of reach; the post may be repeated.
        """
        checkpoint = self.defaults.checkpoint
        parts = compiled(request, checkpoint=checkpoint, catalogue=self.catalogue)
        draft = self._draft(request, workflow.fingerprint(sent), caller)
        for job_id in self._ids(draft, caller, may_reuse=_may_reuse(request)):
            job = replace(draft, id=job_id)
            accepted = self._accept(job, *parts.for_job(job_id), caller)
            if caller.idempotency_key or accepted.job.status not in RETRYABLE:
                break
        return accepted

    def retry(self, job_id: JobId, caller: Caller) -> Accepted:
        """A new job from the same input as one that failed, was canceled or expired.

        Without an idempotency key there is one retry for each job and state.

        Raises:
            JobNotFound: unknown, past its retention, or somebody else's.
            JobNotRetryable: it has not ended, or it succeeded.
            As submit.
        """
        record = read_job(job_id, caller.owner, store=self.store, clock=self.clock)
        old = record.job
        if old.status not in RETRYABLE:
            raise JobNotRetryable(f"The job is {old.status}; one that failed, was canceled or "
                                  "expired can be retried.")  # fmt: skip
        key = caller.idempotency_key
        new_id = derived_job_id(old.owner, key) if key else _only_retry(old)
        job = self._successor(old, new_id, caller)
        try:
            graph = self.store.graph(old)
        except LookupError as error:
            raise JobNotFound(job_id) from error
        return self._accept(job, replace(record.params, retry_of=old.id), graph, caller)

    # --- the job that a request would make --------------------------------------------------------

    def _draft(
        self, request: TextToImageRequest | WorkflowRequest, fingerprint: str, caller: Caller
    ) -> Job:
        now, defaults = self.clock(), self.defaults
        timeout = _seconds(request.execution_timeout_seconds, defaults.execution_timeout)
        return Job(
            id=self.new_id(now),
            owner=caller.owner,
            fingerprint=fingerprint,
            priority=Priority(request.priority),
            queued_at=now,
            start_deadline=now + _seconds(request.start_deadline_seconds, defaults.start_deadline),
            execution_timeout=timeout,
            retention=defaults.retention,
            request_id=caller.request_id,
            output=_output(request),
            wants_previews=request.previews,
        )

    def _ids(self, draft: Job, caller: Caller, *, may_reuse: bool) -> Iterator[JobId]:
        """The ids to try, until one is free or stands for the request."""
        if caller.idempotency_key is not None:
            return iter([derived_job_id(draft.owner, caller.idempotency_key)])
        if not may_reuse:
            return iter([draft.id])
        ids = (reused_job_id(draft.owner, draft.fingerprint, n) for n in range(MAX_REUSES))
        return chain(ids, [draft.id])

    def _successor(self, old: Job, job_id: JobId, caller: Caller) -> Job:
        now = self.clock()
        return Job(
            id=job_id,
            owner=old.owner,
            fingerprint=workflow.fingerprint({"retry_of": old.id}),
            priority=old.priority,
            queued_at=now,
            start_deadline=now + (old.start_deadline - old.queued_at),
            execution_timeout=old.execution_timeout,
            retention=self.defaults.retention,
            request_id=caller.request_id,
            output=old.output,
            wants_previews=old.wants_previews,
        )

    # --- from the job to its acceptance -----------------------------------------------------------

    def _accept(self, job: Job, params: JobParams, graph: Graph, caller: Caller) -> Accepted:
        try:
            check_uploads(job, graph, uploads=self.uploads)
            taken = self.admission.take(job.owner, job.id, caller.limits)
        except RequestRefused:
            # A replay comes before every refusal that was not there when the job was accepted.
            if (earlier := self._earlier(job)) is None:
                raise
            return Accepted(self._replayed(earlier, job), replayed=True)
        job = submitted(replace(job, has_slot=taken is not None))
        existing, is_new = self._put(job, params, graph, taken)
        if is_new:
            self._send(existing)
            return Accepted(existing, replayed=False)
        if existing.status.is_terminal or not existing.has_slot:
            self.admission.give_back(job.owner, job.id, taken)
        return Accepted(self._replayed(existing, job), replayed=True)

    def _put(
        self, job: Job, params: JobParams, graph: Graph, taken: Taken | None
    ) -> tuple[Job, bool]:
        """The job that has the id now, as stored, and whether this post has put it there."""
        try:
            self.store.put_request(job, params, graph)
        except RequestTooLarge:
            self.admission.give_back(job.owner, job.id, taken)
            raise
        existing = self.store.add(job)
        if existing is None:
            return job, True
        if existing.is_past_retention(job.queued_at):
            return self._take_over(existing, job)
        return existing, False

    def _take_over(self, expired: Job, job: Job) -> tuple[Job, bool]:
        """Put `job` where a record past its retention still lies, unless another post was faster.

        It goes on counting where the old one ended, so that its tickets and workers stay fenced.
        """
        heir = submitted(replace(job, attempt=expired.attempt, version=expired.version + 1))
        try:
            self.store.replace(expired, heir)
        except Conflict as conflict:
            return current_or_not_found(job, conflict), False
        return heir, True

    def _earlier(self, job: Job) -> Job | None:
        earlier = self.store.get(job.id)
        is_over = earlier is None or earlier.is_past_retention(job.queued_at)
        return None if is_over else earlier

    def _replayed(self, existing: Job, job: Job) -> Job:
        if existing.fingerprint != job.fingerprint:
            raise IdempotencyKeyReused(
                "This Idempotency-Key was used for a request with another body. Use a new key for "
                "a new request."
            )
        existing = expire_if_overdue(self.clock(), self.store, existing)
        age = job.queued_at - existing.queued_at
        if existing.is_untouched and age > TICKET_IN_FLIGHT:
            self._send(existing)
        return existing

    def _send(self, job: Job) -> None:
        # The Put was the acceptance: a ticket that cannot be sent now is the sweeper's to send.
        try:
            self.queue.send(job.id, job.owner, job.priority)
        except Unavailable:
            _log.warning("ticket not sent", extra={"action": "ticket_not_sent", "job_id": job.id})


def _seconds(asked: int | None, default: timedelta) -> timedelta:
    return default if asked is None else timedelta(seconds=asked)


def _output(request: TextToImageRequest | WorkflowRequest) -> PictureEncoding | None:
    if request.output is None:
        return None
    wanted = PictureFormat(request.output.format)
    return PictureEncoding(format=wanted, quality=request.output.quality)


def _may_reuse(request: TextToImageRequest | WorkflowRequest) -> bool:
    """An explicit seed makes the parameter form's result the same each time; nothing else does."""
    if request.reuse is not None:
        return request.reuse
    return isinstance(request, TextToImageRequest) and request.seed is not None


def _only_retry(old: Job) -> JobId:
    return retry_job_id(old.owner, old.id, old.version)

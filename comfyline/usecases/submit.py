"""Accept a job: its request, then one conditional Put, then its ticket.

put_request ──> add ─────────────> send ──> 202
    │            │                   └─ lost: the sweeper sends it again when the row is due
    │            └─ the acceptance: what fails before it leaves nothing but orphans with a TTL,
    │               what fails after it leaves a job that will run
    └─ content-addressed under the job, so it never clashes and needs no transaction
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from comfyline.domain import workflow
from comfyline.domain.errors import Conflict, IdempotencyKeyReused, RequestTooLarge, Unavailable
from comfyline.domain.ids import JobId, OwnerId, derived_job_id, random_job_id
from comfyline.domain.job import Graph, Job, JobParams, Priority
from comfyline.domain.lifecycle import submitted
from comfyline.ports import Clock, JobQueue, JobStore
from comfyline.usecases.change import current_or_not_found
from comfyline.usecases.read import as_of
from comfyline.wire import MAX_BATCH_SIZE, MAX_PIXELS, TextToImageRequest, WorkflowRequest

# A replay within this time finds the ticket of the first post still on its way.
TICKET_IN_FLIGHT = timedelta(seconds=2)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What a deployment assumes where a request is silent."""

    checkpoint: str
    start_deadline: timedelta
    execution_timeout: timedelta
    retention: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A request that was parsed, and who sent it. `sent` is the JSON exactly as it came."""

    owner: OwnerId
    request: TextToImageRequest | WorkflowRequest
    sent: Any
    idempotency_key: str | None = None
    request_id: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The job that stands for the request; `replayed` if an earlier post had made it."""

    job: Job
    replayed: bool


def submit(
    submission: Submission,
    *,
    store: JobStore,
    queue: JobQueue,
    clock: Clock,
    defaults: Defaults,
    new_id: Callable[[datetime], JobId] = random_job_id,
) -> Accepted:
    """Accept the request exactly once per (owner, idempotency key).

    Raises:
        InvalidRequest, RequestTooLarge: nothing was stored that counts.
        IdempotencyKeyReused: the key names a job that was made from another body.
        Unavailable: the store is out of reach; the post may be repeated.
    """
    job = _job_of(submission, clock(), defaults, new_id)
    params, graph = _compiled(submission.request, job.id, defaults.checkpoint)
    store.put_request(job, params, graph)
    stored, is_new = _put(store, job)
    if is_new:
        _send(queue, stored)
        return Accepted(stored, replayed=False)
    return Accepted(_replayed(store, queue, clock, stored, job), replayed=True)


def _job_of(
    submission: Submission,
    now: datetime,
    defaults: Defaults,
    new_id: Callable[[datetime], JobId],
) -> Job:
    request, key = submission.request, submission.idempotency_key
    return submitted(
        Job(
            id=derived_job_id(submission.owner, key) if key else new_id(now),
            owner=submission.owner,
            fingerprint=workflow.fingerprint(submission.sent),
            priority=Priority(request.priority),
            queued_at=now,
            start_deadline=now + _seconds(request.start_deadline_seconds, defaults.start_deadline),
            execution_timeout=_seconds(
                request.execution_timeout_seconds, defaults.execution_timeout
            ),
            retention=defaults.retention,
            request_id=submission.request_id,
        )
    )


def _seconds(asked: int | None, default: timedelta) -> timedelta:
    return default if asked is None else timedelta(seconds=asked)


def _compiled(
    request: TextToImageRequest | WorkflowRequest, job_id: JobId, checkpoint: str
) -> tuple[JobParams, Graph]:
    if isinstance(request, WorkflowRequest):
        graph = workflow.validate_graph(request.workflow)
        return JobParams(params={}, metadata=request.metadata), graph
    _check_size(request)
    options = {"priority", "start_deadline_seconds", "execution_timeout_seconds", "metadata"}
    params = request.model_dump(exclude=options)
    params["seed"] = workflow.drawn_seed(job_id) if request.seed is None else request.seed
    params["model"] = request.model or checkpoint
    graph = workflow.text_to_image_graph(params, checkpoint=params["model"])
    return JobParams(params=params, metadata=request.metadata), graph


def _check_size(request: TextToImageRequest) -> None:
    if request.width * request.height > MAX_PIXELS:
        raise RequestTooLarge(f"An image has at most {MAX_PIXELS} pixels.")
    if request.batch_size > MAX_BATCH_SIZE:
        raise RequestTooLarge(f"A batch has at most {MAX_BATCH_SIZE} images.")


def _put(store: JobStore, job: Job) -> tuple[Job, bool]:
    """The job that has the id now, as stored, and whether this post has put it there."""
    existing = store.add(job)
    if existing is None:
        return job, True
    if existing.is_past_retention(job.queued_at):
        return _take_over(store, existing, job)
    return existing, False


def _take_over(store: JobStore, expired: Job, job: Job) -> tuple[Job, bool]:
    """Put `job` where a record past its retention still lies, unless another post was faster.

    It goes on counting where the old one ended, so that its tickets and workers stay fenced.
    """
    heir = submitted(replace(job, attempt=expired.attempt, version=expired.version + 1))
    try:
        store.replace(expired, heir)
    except Conflict as conflict:
        return current_or_not_found(job, conflict), False
    return heir, True


def _replayed(store: JobStore, queue: JobQueue, clock: Clock, existing: Job, job: Job) -> Job:
    if existing.fingerprint != job.fingerprint:
        raise IdempotencyKeyReused(
            "This Idempotency-Key was used for a request with another body. Use a new key for a "
            "new request."
        )
    existing = as_of(clock(), store, existing)
    age = job.queued_at - existing.queued_at
    if _is_untouched(existing) and age > TICKET_IN_FLIGHT:
        _send(queue, existing)
    return existing


def _is_untouched(job: Job) -> bool:
    """Nobody has claimed or ended it; `attempt` cannot tell, since a take-over carries it on."""
    return len(job.history) == 1


def _send(queue: JobQueue, job: Job) -> None:
    # The Put was the acceptance: a ticket that cannot be sent now is the sweeper's to send.
    try:
        queue.send(job.id, job.owner, job.priority)
    except Unavailable:
        _log.warning("ticket not sent", extra={"action": "ticket_not_sent", "job_id": job.id})

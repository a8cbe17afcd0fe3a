"""Read jobs for their owner, as they are by the clock.

The answer does not depend on when the sweeper last ran: a read expires a job that is past its start
deadline, and ignores a record that is past its retention.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from comfyline.contract.ids import JOB_ID_PATTERN, JobId, OwnerId
from comfyline.service.clock import Clock
from comfyline.service.errors import (
    FieldError,
    InvalidRequest,
    JobNotFound,
    TransitionRefused,
    Unavailable,
)
from comfyline.service.jobs.change import change
from comfyline.service.jobs.events import Event, Expired
from comfyline.service.jobs.job import Job, JobRecord, Status
from comfyline.service.jobs.store import JobStore, ListPosition
from comfyline.service.queue.lanes import Priority


def read_job(job_id: JobId, owner: OwnerId, *, store: JobStore, clock: Clock) -> JobRecord:
    """The owner's job, expired first if it is overdue.

    Raises:
        JobNotFound: the job does not exist, is past its retention, or has another owner.
    """
    record = store.read(job_id)
    now = clock()
    if record is None:
        raise JobNotFound(job_id)
    job = owned(record.job, job_id, owner, now)
    return replace(record, job=expire_if_overdue(now, store, job))


def owned(job: Job | None, job_id: JobId, owner: OwnerId, now: datetime) -> Job:
    """`job`, which was read by its id, if the owner may see it.

    Raises:
        JobNotFound: unknown, past its retention, or another owner's.
    """
    if job is None or job.owner != owner or job.is_past_retention(now):
        raise JobNotFound(job_id)
    return job


def expire_if_overdue(now: datetime, store: JobStore, job: Job) -> Job:
    """The state of `job` at `now`. If it waited past its start deadline, this writes its expiry.

    The sweeper would write the same within a minute. If the job can no longer expire, or is gone,
    because another writer was faster, the result is `job` as it was read.
    """

    def expired_if_overdue(current: Job) -> Event | None:
        is_overdue = current.is_past_start_deadline(now) and not current.has_live_lease(now)
        return Expired() if is_overdue else None

    try:
        return change(store, lambda: now, job, expired_if_overdue)
    except (TransitionRefused, JobNotFound):
        return job


def queue_position(job: Job, *, depth: Callable[[Priority], int]) -> int | None:
    """The approximate place of a waiting job: at most the tickets in its lane and those before it.

    `depth` counts the tickets of a lane. None once a worker holds the job or it has ended. Also
    None if the queue does not answer, because a job can be shown without its place.
    """
    if job.status is not Status.QUEUED or job.lease is not None:
        return None
    lanes = list(Priority)[: list(Priority).index(job.priority) + 1]
    try:
        return max(1, sum(depth(lane) for lane in lanes))
    except Unavailable:
        return None


def read_page(
    owner: OwnerId,
    *,
    status: Status | None,
    limit: int,
    cursor: str | None,
    store: JobStore,
    clock: Clock,
) -> tuple[list[JobRecord], str | None]:
    """One page of the owner's jobs, newest first, and the cursor of the next.

    Raises:
        InvalidRequest: the cursor was not made by this API.
    """
    after = _position(cursor) if cursor else None
    records = store.page(owner, status=status, limit=limit, after=after)
    now = clock()
    shown = [
        replace(record, job=expire_if_overdue(now, store, record.job))
        for record in records
        if not record.job.is_past_retention(now)
    ]
    if status is not None:  # an overdue job has just left the status that the caller asked for
        shown = [record for record in shown if record.job.status is status]
    return shown, cursor_after(records[-1].job) if len(records) == limit else None


def cursor_after(job: Job) -> str:
    """The cursor of the page that begins after `job`."""
    text = json.dumps([job.queued_at.isoformat(), job.id])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _position(cursor: str) -> ListPosition:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        queued_at, job_id = json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
        if not re.fullmatch(JOB_ID_PATTERN, job_id):
            raise ValueError(f"{job_id} is not a job id")
        return ListPosition(datetime.fromisoformat(queued_at).astimezone(UTC), JobId(job_id))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise wrong_cursor() from error


def wrong_cursor() -> InvalidRequest:
    """The error of a cursor that was not made by this API."""
    detail = "The cursor was not made by this API. Use the cursor of the previous page unchanged."
    return InvalidRequest(detail, [FieldError(("query", "cursor"), detail)])

"""Show jobs to their owner, truly by the clock.

A job past its start deadline that nobody has ended yet is ended by the reader that finds it, and a
record past its retention is gone, whether or not the sweeper has come by.
"""

from __future__ import annotations

import base64
import json
import re
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
from comfyline.service.jobs.job import Job, JobRecord, Priority, Status
from comfyline.service.jobs.store import JobStore, ListPosition
from comfyline.service.queue.tickets import JobQueue


def read_job(job_id: JobId, owner: OwnerId, *, store: JobStore, clock: Clock) -> JobRecord:
    """The owner's job as it is now.

    Raises:
        JobNotFound: unknown, past its retention, or somebody else's.
    """
    record = store.read(job_id)
    now = clock()
    if record is None or record.job.owner != owner or record.job.is_past_retention(now):
        raise JobNotFound(job_id)
    return replace(record, job=expire_if_overdue(now, store, record.job))


def expire_if_overdue(now: datetime, store: JobStore, job: Job) -> Job:
    """`job`, expired if by the clock it should be."""

    def expire_if_overdue(current: Job) -> Event | None:
        overdue = current.is_past_start_deadline(now) and not current.has_live_lease(now)
        return Expired() if overdue else None

    try:
        return change(store, lambda: now, job, expire_if_overdue)
    except (TransitionRefused, JobNotFound):  # changed or removed since: so it was when read
        return job


def queue_position(job: Job, *, queue: JobQueue) -> int | None:
    """About where a queued job stands: it is no further back than the tickets that wait before it.

    None once a worker holds it or it has ended, and where the queue is out of reach: a job can be
    shown without it.
    """
    if job.status is not Status.QUEUED or job.lease is not None:
        return None
    before = list(Priority)[: list(Priority).index(job.priority) + 1]
    try:
        return max(1, sum(queue.depth(priority) for priority in before))
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
        InvalidRequest: the cursor is not one of ours.
    """
    after = _position(cursor) if cursor else None
    records = store.page(owner, status=status, limit=limit, after=after)
    now = clock()
    shown = [
        replace(record, job=expire_if_overdue(now, store, record.job))
        for record in records
        if not record.job.is_past_retention(now)
    ]
    if status is not None:  # a job that was overdue has just left the state that was asked for
        shown = [record for record in shown if record.job.status is status]
    return shown, _cursor(records[-1].job) if len(records) == limit else None


def _cursor(job: Job) -> str:
    text = json.dumps([job.queued_at.isoformat(), job.id])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _position(cursor: str) -> ListPosition:
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        queued_at, job_id = json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
        if not re.fullmatch(JOB_ID_PATTERN, job_id):
            raise ValueError(f"{job_id} is no job id")
        return ListPosition(datetime.fromisoformat(queued_at).astimezone(UTC), JobId(job_id))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        detail = "The cursor is not one that this API has given."
        raise InvalidRequest(detail, [FieldError(("query", "cursor"), detail)]) from error

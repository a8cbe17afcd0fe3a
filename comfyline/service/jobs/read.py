"""Read jobs for their owner, as they are by the clock.

The answer does not depend on when the sweeper last ran: a read expires a job that is past its start
deadline, and ignores a record that is past its retention.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from comfyline.contract.ids import JOB_ID_PATTERN, JobId, OwnerId, Principal
from comfyline.contract.limits import MAX_SEARCHED_JOBS
from comfyline.service.clock import Clock
from comfyline.service.errors import (
    FieldError,
    InvalidCursor,
    JobNotFound,
    TransitionRefused,
    Unavailable,
)
from comfyline.service.graphs.graph import Graph
from comfyline.service.jobs.change import change
from comfyline.service.jobs.events import Event, Expired
from comfyline.service.jobs.job import Job, JobRecord, Status
from comfyline.service.jobs.store import JobStore, ListPosition
from comfyline.service.queue.lanes import Priority

# A list that is filtered by metadata reads so many jobs with each query of the index.
SEARCHED_AT_ONCE = 100


def read_job(job_id: JobId, caller: Principal, *, store: JobStore, clock: Clock) -> JobRecord:
    """The caller's job, expired first if it is overdue.

    Raises:
        JobNotFound: the job does not exist, is past its retention, or is not visible to the caller.
    """
    record = store.read(job_id)
    now = clock()
    if record is None:
        raise JobNotFound(job_id)
    job = owned(record.job, job_id, caller, now)
    return replace(record, job=expire_if_overdue(now, store, job))


def owned(job: Job | None, job_id: JobId, caller: Principal, now: datetime) -> Job:
    """`job`, which was read by its id, if the caller may see it.

    Raises:
        JobNotFound: unknown, past its retention, or another owner's or user's.
    """
    if job is None or not job.is_visible_to(caller) or job.is_past_retention(now):
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFilter:
    """Which of an owner's jobs a list shows: those in the state, with all pairs of the metadata."""

    status: Status | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)

    def shows(self, record: JobRecord) -> bool:
        """Whether the job is one of the list."""
        is_in_state = self.status in (None, record.job.status)
        return is_in_state and self.metadata.items() <= dict(record.params.metadata).items()


def read_page(
    owner: OwnerId,
    *,
    asked: ListFilter,
    limit: int,
    cursor: str | None,
    store: JobStore,
    clock: Clock,
) -> tuple[list[JobRecord], str | None]:
    """One page of the owner's jobs, newest first, and the cursor of the next.

    With metadata, the page is made of the next MAX_SEARCHED_JOBS jobs: it may be empty although
    later pages are not.

    Raises:
        InvalidCursor: the cursor was not made by this API.
    """
    after = ListPosition(*place_of(cursor)) if cursor else None
    size, most = (SEARCHED_AT_ONCE, MAX_SEARCHED_JOBS) if asked.metadata else (limit, limit)
    shown: list[JobRecord] = []
    for _ in range(0, most, size):
        records = store.page(owner, status=asked.status, limit=size, after=after)
        for record in records:
            current = _current(record, store, clock)
            if current is None or not asked.shows(current):
                continue
            shown.append(current)
            if asked.metadata and len(shown) == limit:
                return shown, cursor_after(record.job)
        if len(records) < size:
            return shown, None
        after = ListPosition(records[-1].job.queued_at, records[-1].job.id)
    return shown, cursor_after(records[-1].job)


def _current(record: JobRecord, store: JobStore, clock: Clock) -> JobRecord | None:
    """The record as it is by the clock; None past its retention."""
    now = clock()
    if record.job.is_past_retention(now):
        return None
    return replace(record, job=expire_if_overdue(now, store, record.job))


def read_graph(job_id: JobId, caller: Principal, *, store: JobStore, clock: Clock) -> Graph:
    """The graph that the caller's job runs.

    Raises:
        JobNotFound: the job does not exist, is past its retention, or is not visible to the caller.
    """
    job = owned(store.get(job_id), job_id, caller, clock())
    try:
        return store.graph(job)
    except LookupError as error:
        raise JobNotFound(job_id) from error


def cursor_after(job: Job) -> str:
    """The cursor of the page that begins after `job`."""
    return cursor_of(job.queued_at, job.id)


def cursor_of(time: datetime, job_id: JobId) -> str:
    """A cursor from which `place_of` reads the same."""
    text = json.dumps([time.isoformat(), job_id])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def place_of(cursor: str) -> tuple[datetime, JobId]:
    """The time and the job in a cursor.

    Raises:
        InvalidCursor: the cursor was not made by this API.
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        time, job_id = json.loads(base64.urlsafe_b64decode(padded.encode("ascii")))
        if not re.fullmatch(JOB_ID_PATTERN, job_id):
            raise ValueError(f"{job_id} is not a job id")
        return datetime.fromisoformat(time).astimezone(UTC), JobId(job_id)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise wrong_cursor() from error


def wrong_cursor() -> InvalidCursor:
    """The error of a cursor that was not made by this API."""
    detail = "The cursor was not made by this API. Use the cursor of the previous page unchanged."
    return InvalidCursor(detail, [FieldError(("query", "cursor"), detail)])

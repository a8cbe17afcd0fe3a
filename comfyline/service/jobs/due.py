"""When the sweeper must look at a job next.

The table in `lifecycle.py` names one of these functions per event; only `advance` calls them, with
the job that results from the event. `due_at` is an indexed field, so each change of it costs two
more writes. Events that happen often therefore leave it unchanged.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from comfyline.service.jobs.job import Job

TICKET_GRACE = timedelta(seconds=30)  # a ticket that was not claimed by then may have been lost
TICKET_GRACE_FACTOR = 4  # each ticket waits longer, so that a backlog is not sent again each minute
MAX_TICKET_GRACE = timedelta(hours=1)
# The grace has reached MAX_TICKET_GRACE by then. Without this bound, the power overflows after a
# day of tickets.
MAX_TICKET_GRACE_STEPS = 4

LEASE_GRACE = timedelta(seconds=2)  # clocks differ: the worker must see its lease end first

# From the end of a job to the removal of its void files. A worker that lost its lease learns of it
# within the lease's length and stores files for a minute more at most. The files of one that was
# suspended for longer are removed with the job.
TIDY_DELAY = timedelta(minutes=5)

# A job that settle_jobs has missed is due this long after its end at the latest, and again this
# long after each settlement that the sweeper could not complete.
SETTLE_DELAY = timedelta(hours=1)


def unchanged(job: Job, _now: datetime) -> datetime | None:
    """As before, because the event happens often or concerns no deadline."""
    return job.due_at


def if_ticket_is_lost(job: Job, now: datetime) -> datetime:
    """When the ticket of a waiting job has probably been lost, or at its start deadline."""
    factor = int(TICKET_GRACE_FACTOR ** min(job.ticket_sends, MAX_TICKET_GRACE_STEPS))
    grace = min(TICKET_GRACE * factor, MAX_TICKET_GRACE)
    if job.started_at is None:
        return min(now + grace, job.start_deadline)
    return now + grace


def by_end_of_lease(job: Job, now: datetime) -> datetime:
    """When the lease has surely expired, or earlier if the job was due earlier.

    A claim keeps an earlier due time, because most jobs have ended by that time, and each change
    of the due time writes the index. If the sweeper finds the lease still live, it moves the due
    time to the end of the lease (FoundAlive).
    """
    end = at_end_of_lease(job, now)
    return end if job.due_at is None else min(job.due_at, end)


def at_end_of_lease(job: Job, _now: datetime) -> datetime:
    """The time at which the lease has surely expired."""
    assert job.lease is not None  # the guards of the events that use this require a lease
    return job.lease.expires_at + LEASE_GRACE


def at_end(job: Job, now: datetime) -> datetime | None:
    """When the sweeper must look at a job that has just ended.

    Without void files, an earlier due time stays, because settle_jobs has settled nearly every job
    before it comes, and removes it then: so the end does not write the index.
    """
    first = of_ended(job, now)
    if job.tidy_pending or job.due_at is None or first is None:
        return first
    return min(job.due_at, first)


def of_ended(job: Job, _now: datetime) -> datetime | None:
    """When the void files are to be removed, or else when the job is to be settled.

    None when both are done: after the retention, TTL and the bucket's lifecycle rule remove the
    rest.
    """
    assert job.finished_at is not None  # set by the terminal write
    if job.tidy_pending:
        return job.finished_at + TIDY_DELAY
    return job.finished_at + SETTLE_DELAY if job.settle_pending else None


def next_settlement(job: Job, now: datetime) -> datetime | None:
    """When the sweeper tries again to settle a job: a job that always fails must not fill rounds.

    This may be after the end of the retention, because a job is settled before it is removed. It
    does not put off the removal of void files.
    """
    return of_ended(job, now) if job.tidy_pending else now + SETTLE_DELAY

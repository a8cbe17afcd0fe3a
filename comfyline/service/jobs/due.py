"""When the sweeper must look at a job next.

The table in `lifecycle.py` names one of these functions per event; only `advance` calls them, with
the job as it is after the event. `due_at` is an indexed field, so each change of it costs two more
writes. Events that happen often therefore leave it unchanged.
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

    A claim keeps an earlier due time, because most jobs have ended by then and the index is not
    written for nothing. If the sweeper finds the lease still live, it moves the due time to the end
    of the lease (FoundAlive).
    """
    end = at_end_of_lease(job, now)
    return end if job.due_at is None else min(job.due_at, end)


def at_end_of_lease(job: Job, _now: datetime) -> datetime:
    """When the lease has surely expired."""
    assert job.lease is not None  # the guards of the events that use this require a lease
    return job.lease.expires_at + LEASE_GRACE


def after_end(job: Job, now: datetime) -> datetime | None:
    """When the void files of a job that ends now can be removed; without any, at its removal."""
    return now + TIDY_DELAY if job.tidy_pending else job.expires_at


def at_removal(job: Job, _now: datetime) -> datetime | None:
    """At the end of the retention."""
    return job.expires_at

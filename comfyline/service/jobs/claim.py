"""A worker takes a job from a ticket."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from comfyline.contract.ids import JobId, WorkerId
from comfyline.service.clock import Clock
from comfyline.service.errors import Conflict
from comfyline.service.jobs.change import apply
from comfyline.service.jobs.decide import on_lease_expiry
from comfyline.service.jobs.events import Claimed, Event, Expired
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.store import JobStore
from comfyline.service.queue.tickets import JobQueue, Ticket

HIDE_AFTER_LEASE = timedelta(seconds=1)  # the lease is over by then, on clocks that differ a little


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """For whom a lease is, and how long."""

    worker_id: WorkerId
    lease: timedelta


def claim(
    ticket: Ticket, terms: Terms, *, store: JobStore, queue: JobQueue, clock: Clock
) -> Job | None:
    """The job, leased to this worker, or None where there is nothing to do now.

    A ticket of an ended or missing job is deleted; one of a job that another worker holds is
    hidden until that lease is over. What a vanished worker left is accounted for first.
    """
    job, claimed = _settle(ticket.job_id, terms, store, clock)
    if claimed:
        return job
    if job is None or job.status.is_terminal:
        queue.delete(ticket)
    elif job.lease is not None:
        queue.hide(ticket, _seconds_until_free(job.lease.expires_at, clock()))
    return None


def _settle(job_id: JobId, terms: Terms, store: JobStore, clock: Clock) -> tuple[Job | None, bool]:
    """Bring the job to where it is ours, another's or ended, one event at a time."""
    job = store.get(job_id)
    while job is not None:
        now = clock()  # read once: what is allowed at one moment may not be at the next
        event = _next_step(job, now, terms)
        if event is None:
            break
        try:
            job = apply(store, now, job, event)
        except Conflict as conflict:
            job = conflict.current
        else:
            if isinstance(event, Claimed):
                return job, True
    return job, False


def _next_step(job: Job, now: datetime, terms: Terms) -> Event | None:
    if job.status.is_terminal or job.has_live_lease(now):
        return None
    if job.lease is not None:
        return on_lease_expiry(job, now)
    if job.is_past_start_deadline(now):
        return Expired()
    return Claimed(worker_id=terms.worker_id, lease_expires_at=now + terms.lease)


def _seconds_until_free(expires_at: datetime, now: datetime) -> int:
    return max(0, int((expires_at - now + HIDE_AFTER_LEASE).total_seconds()) + 1)

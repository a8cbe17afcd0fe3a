"""A worker takes a job from a ticket."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from comfyline.contract.ids import JobId, WorkerId
from comfyline.service.clock import Clock
from comfyline.service.jobs.change import apply
from comfyline.service.jobs.decide import on_lease_expiry
from comfyline.service.jobs.events import Claimed, Event, Expired
from comfyline.service.jobs.job import Job
from comfyline.service.jobs.store import Conflict, JobStore, Work
from comfyline.service.queue.tickets import JobQueue, Ticket

# A job that this worker cannot run yet is offered again so soon, to this worker or another one.
NOT_YET_SECONDS = 5
HIDE_AFTER_LEASE = timedelta(seconds=1)  # clocks differ: the lease has surely expired by then


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """The worker that claims, and the length of its lease."""

    worker_id: WorkerId
    lease: timedelta


def claim(
    ticket: Ticket,
    terms: Terms,
    *,
    store: JobStore,
    queue: JobQueue,
    clock: Clock,
    may_run: Callable[[Work], bool] = lambda _work: True,
) -> Work | None:
    """The ticket's job, leased to this worker; None if this worker cannot run it now.

    The ticket of an ended or missing job is deleted. The ticket of a job that another worker holds
    is hidden until that lease has expired. A lease that has expired is counted as a failure first.
    A job for which `may_run` is false is not claimed, and its ticket is hidden for a few seconds.
    """
    work, job = _settle(ticket.job_id, terms, store, clock, may_run)
    if work is not None:
        return work
    if job is None or job.status.is_terminal:
        queue.delete(ticket)
    elif job.lease is not None:
        queue.hide(ticket, _seconds_until_free(job.lease.expires_at, clock()))
    else:
        queue.hide(ticket, NOT_YET_SECONDS)
    return None


def _settle(
    job_id: JobId,
    terms: Terms,
    store: JobStore,
    clock: Clock,
    may_run: Callable[[Work], bool],
) -> tuple[Work | None, Job | None]:
    """Apply events until this worker holds the job, another worker holds it, or it has ended.

    Returns the work if this worker holds the job, and the current row.
    """
    found = store.work(job_id)
    job = None if found is None else found.job
    while job is not None:
        now = clock()  # the same for the choice and the check of the event, or the check may fail
        event = _next_step(job, now, terms)
        if event is None or (isinstance(event, Claimed) and found and not may_run(found.of(job))):
            break
        try:
            job = apply(store, now, job, event)
        except Conflict as conflict:
            job = conflict.current
        else:
            if isinstance(event, Claimed) and found is not None:
                return found.of(job), job
    return None, job


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

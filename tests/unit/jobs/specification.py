"""A second copy of the lifecycle's table, and jobs and events for its tests.

`SPECIFICATION` repeats the table of lifecycle.py on purpose: a change of the lifecycle has to be
made in both places, so that no row changes by accident.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from comfyline.contract.ids import random_worker_id
from comfyline.service.jobs import events as ev
from comfyline.service.jobs.job import Job, JobError, Lease, Status
from comfyline.service.jobs.progress import Progress
from tests.support.builders import LEASE, NOW, a_job, claimed, running

ERROR = JobError(type="boom", message="it broke")

Q, R = Status.QUEUED, Status.RUNNING
S, F, C, X = Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.EXPIRED


# Event: the states to which it leads from queued and from running; None if it cannot happen.
SPECIFICATION: dict[type[ev.Event], tuple[Status | None, Status | None]] = {
    ev.Claimed: (Q, None),
    ev.Renewed: (Q, R),
    ev.Started: (R, None),
    ev.Progressed: (None, R),
    ev.Stored: (None, R),
    ev.Succeeded: (None, S),
    ev.Failed: (Q, Q),
    ev.FailedForGood: (F, F),
    ev.Faulted: (Q, Q),
    ev.FaultedForGood: (F, F),
    ev.WorkerUnhealthy: (Q, Q),
    ev.WorkerUnhealthyForGood: (F, F),
    ev.FailedWhileCanceling: (C, C),
    ev.Interrupted: (Q, Q),
    ev.InterruptedForGood: (F, F),
    ev.InterruptedWhileCanceling: (C, C),
    ev.Stopped: (C, C),
    ev.Canceled: (C, None),
    ev.CancelRequested: (Q, R),
    ev.Watched: (Q, R),
    ev.Expired: (X, None),
    ev.LeaseExpired: (Q, Q),
    ev.LeaseExpiredForGood: (F, F),
    ev.LeaseExpiredWhileCanceling: (C, C),
    ev.TicketResent: (Q, None),
    ev.FoundAlive: (Q, R),
    ev.Tidied: (None, None),
    ev.Settled: (None, None),
    ev.SettlementFailed: (None, None),
}
# The events of an ended job, which leave its state unchanged.
OF_ENDED = {ev.Tidied, ev.Settled, ev.SettlementFailed}

FREE = {ev.Claimed, ev.Canceled, ev.Expired, ev.TicketResent}
LEASE_EXPIRED = {ev.LeaseExpired, ev.LeaseExpiredForGood, ev.LeaseExpiredWhileCanceling}
CANCELING = {
    ev.Stopped,
    ev.FailedWhileCanceling,
    ev.InterruptedWhileCanceling,
    ev.LeaseExpiredWhileCanceling,
}
# No client can see heartbeats, watches, and the notes of the sweeper and of settle_jobs.
UNSEEN = {ev.Renewed, ev.Watched, ev.TicketResent, ev.FoundAlive} | OF_ENDED

_ARGUMENTS: dict[type[ev.Event], dict[str, Any]] = {
    ev.Claimed: {"worker_id": random_worker_id(), "lease_expires_at": NOW + LEASE},
    ev.Renewed: {"lease_expires_at": NOW + 2 * LEASE},
    ev.Progressed: {"progress": Progress(fraction=0.5)},
    ev.Stored: {"count": 2},
    ev.Failed: {"error": ERROR},
    ev.FailedForGood: {"error": ERROR},
    ev.Faulted: {"error": ERROR},
    ev.FaultedForGood: {"error": ERROR},
    ev.WorkerUnhealthy: {"error": ERROR},
    ev.WorkerUnhealthyForGood: {"error": ERROR},
    ev.LeaseExpiredForGood: {"error": ERROR},
    ev.Watched: {"until": NOW + LEASE},
}


def event_of(kind: type[ev.Event], attempt: int) -> ev.Event:
    """An event of this kind; if workers report it, of this attempt."""
    arguments = dict(_ARGUMENTS.get(kind, {}))
    if issubclass(kind, ev.WorkerEvent):
        arguments["attempt"] = attempt
    return kind(**arguments)


def job_for(kind: type[ev.Event], status: Status) -> Job:
    """A job in this state that meets the guard of `kind`."""
    job = running(a_job()) if status is R else claimed(a_job())
    if kind in FREE and status is Q:
        job = a_job()
    if kind in LEASE_EXPIRED:
        assert job.lease is not None
        job = replace(job, lease=Lease(job.lease.worker_id, NOW))
    if kind in CANCELING:
        job = replace(job, cancel_requested_at=NOW)
    if kind is ev.Expired:
        job = replace(job, start_deadline=NOW)
    if status.is_terminal:
        job = replace(job, status=status, finished_at=NOW, expires_at=NOW + job.retention)
        job = replace(job, tidy_pending=True, settle_pending=True)
    return job


def state_after(kind: type[ev.Event], status: Status) -> Status | None:
    """The state to which `kind` leads from `status`; None if it cannot happen."""
    if status.is_terminal:
        return status if kind in OF_ENDED else None
    return dict(zip((Q, R), SPECIFICATION[kind], strict=True))[status]


def a_job_before(kind: type[ev.Event]) -> Job:
    """A job to which an event of this kind can happen."""
    return job_for(kind, next(status for status in Status if state_after(kind, status) is not None))
